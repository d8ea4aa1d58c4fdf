"""Exact denoisers of a finite data set, of a curve by quadrature, and of boxes, blurred by Gaussian noise or not.

x_0 = u + spread z,    u one of the atoms, or uniform on one of the boxes,    z a standard normal
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from motes.diffusion._cut_normal import mean_density
from motes.diffusion._oracles import LOG_2PI, Array, Exact, Oracle, mixed, now, shares_of, total_of
from motes.diffusion._schedules import Schedule

ATOMS = 1024  # atoms that are compared with a point at once


class EmpiricalOracle(Oracle):
    """x_0 is one of `points`, blurred by independent Gaussian noise in each column.

    Without a blur it is the optimum of the training loss on these rows: a network that reached it would have learned
    them by heart. With one it is a kernel density estimate, or, with the nodes and weights of a quadrature rule, a
    curve plus noise. Atoms are taken `block` at a time: memory does not grow with their number beyond themselves.

    Args:
        points: (m, d).
        schedule: of the forward process.
        weights: (m,), at least 0; only their ratios count. None: all equal.
        spread: (d,), the standard deviation of the blur of each column. None: no blur.

    Raises:
        ValueError: shapes or numbers other than these.

    Example:
        >>> from motes.diffusion import EmpiricalOracle, VarianceExploding
        >>> oracle = EmpiricalOracle([[-1.0, 0.0], [1.0, 0.0]], VarianceExploding(sigma_max=1.0))
        >>> print(oracle(jnp.array([0.2, 3.0]), 0.1).round(3))  # with little noise: the nearest of the points
        [1. 0.]
    """

    schedule: Schedule
    spread: Array
    _atoms: Array
    _log_weights: Array

    def __init__(
        self,
        points: ArrayLike,
        schedule: Schedule,
        weights: ArrayLike | None = None,
        spread: ArrayLike | None = None,
        *,
        block: int = ATOMS,
    ):
        atoms = np.asarray(points, dtype=np.float64)
        if atoms.ndim != 2 or not atoms.size or not np.isfinite(atoms).all():
            raise ValueError(f"points have shape {atoms.shape}; expected (m, d) with m >= 1, all finite.")
        if block < 1:
            raise ValueError(f"block = {block} atoms; expected at least 1.")
        share = shares_of(weights, len(atoms))
        atoms, share = atoms[share > 0], share[share > 0]  # so that every block holds an atom that counts
        block = min(block, len(atoms))
        more = -len(atoms) % block
        log_weights = np.pad(np.log(share), (0, more), constant_values=-np.inf)
        self.schedule = schedule
        self.spread = _spread(spread, atoms.shape[1])
        self._log_weights = log_weights.reshape(-1, block)  # (blocks, b)
        padded = np.pad(atoms, ((0, more), (0, 0)), mode="edge").reshape(-1, block, atoms.shape[1])
        self._atoms = np.ascontiguousarray(padded.swapaxes(1, 2))  # (blocks, d, b): long rows are quick

    def exact(self, x_t: jax.Array, t: jax.Array) -> Exact:
        variances = now(self.spread) ** 2
        alpha, total = total_of(self.schedule, variances, t)  # (), (d,)
        log_mass, atom = self._sums(x_t, t, lambda atoms: atoms)  # the second is E[atom | x_t], (d,)
        away = x_t - alpha * atom
        log_prob = log_mass - 0.5 * jnp.sum(jnp.log(total) + LOG_2PI)
        return Exact(atom + alpha * variances / total * away, -away / total, log_prob)

    def variance(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        # As `Oracle` has it, from second moments: a fifth of the time of the derivative.
        variances, sigma = now(self.spread) ** 2, self.schedule.sigma(t)
        alpha, total = total_of(self.schedule, variances, t)
        near = alpha * x_t / (alpha**2 + sigma**2)  # squares of what is far from 0 would lose digits
        away = lambda atoms: atoms - near[:, None]
        first, second = jnp.split(self._sums(x_t, t, lambda a: jnp.concatenate([away(a), away(a) ** 2]))[1], 2)
        of_atom = jnp.maximum(second - first**2, 0)
        return (sigma**2 / total) ** 2 * of_atom + variances * sigma**2 / total

    def _sums(
        self, x_t: jax.Array, t: jax.Array, read: Callable[[jax.Array], jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
        """log sum_i w_i N(x_t; atom_i) but for a constant, (), and E[read(atom) | x_t] (k,), read: (d, b) -> (k, b)."""
        alpha, total = total_of(self.schedule, now(self.spread) ** 2, t)  # (), (d,)
        scale = 1 / jnp.sqrt(total)[:, None]

        def log_joint(atoms: jax.Array, log_weights: jax.Array) -> jax.Array:  # (b,), but for a constant
            # Differences first: |x|^2 - 2 x.a + |a|^2 would lose the digits that tell near atoms apart.
            return log_weights - 0.5 * jnp.sum(((x_t[:, None] - alpha * atoms) * scale) ** 2, axis=0)

        # Sums over all atoms of exp(log_joint - top) and of that times what is read, with the top so far (Milakov &
        # Gimelshein 2018).
        @jax.checkpoint
        def add(carry, block):  # type: ignore[no-untyped-def]
            top, mass, moment = carry
            atoms, log_weights = block
            log_p = log_joint(atoms, log_weights)
            higher = jnp.maximum(top, jax.lax.stop_gradient(log_p.max()))
            p, keep = jnp.exp(log_p - higher), jnp.exp(top - higher)
            return (higher, keep * mass + p.sum(), keep * moment + read(atoms) @ p), None

        blocks = now(self._atoms), now(self._log_weights)
        zero = jnp.zeros_like(x_t, dtype=jnp.result_type(x_t, total))
        moment = jnp.zeros_like(jax.eval_shape(read, blocks[0][0]), dtype=zero.dtype)[:, 0]
        start = jnp.full_like(zero[0], -jnp.inf), zero[0], moment
        (top, mass, moment), _ = jax.lax.scan(add, start, blocks)
        return top + jnp.log(mass), moment / mass


# --- boxes --------------------------------------------------------------------------------------------------------


class BoxesOracle(Oracle):
    """x_0 is uniform on one of some axis-aligned boxes, blurred by independent Gaussian noise in each column.

    Args:
        lows, highs: (m, d), the corners of each box, lows < highs.
        weights: (m,), above 0; only their ratios count.
        schedule: of the forward process.
        spread: (d,), the standard deviation of the blur of each column. None: no blur.

    Raises:
        ValueError: shapes or numbers other than these.

    Example:
        >>> from motes.diffusion import BoxesOracle, VarianceExploding
        >>> oracle = BoxesOracle([[0.0, 0.0]], [[1.0, 2.0]], [1.0], VarianceExploding(sigma_max=10.0))
        >>> print(jnp.exp(oracle.log_prob(jnp.array([0.5, 0.5]), 0.0)).round(3))  # uniform on an area of 2
        0.5
    """

    schedule: Schedule
    spread: Array
    _lows: Array
    _highs: Array
    _log_weights: Array

    def __init__(
        self,
        lows: ArrayLike,
        highs: ArrayLike,
        weights: ArrayLike | None,
        schedule: Schedule,
        spread: ArrayLike | None = None,
    ):
        self._lows, self._highs = np.array(lows, dtype=np.float64), np.array(highs, dtype=np.float64)
        if self._lows.ndim != 2 or self._lows.shape != self._highs.shape:
            raise ValueError(f"corners have shapes {self._lows.shape} and {self._highs.shape}; expected (m, d) twice.")
        if not (self._lows < self._highs).all() or not np.isfinite(self._highs - self._lows).all():
            raise ValueError("a box has a low corner that is not below its high one.")
        self.schedule = schedule
        self.spread = _spread(spread, self._lows.shape[1])
        self._log_weights = np.log(shares_of(weights, len(self._lows), positive=True))

    def exact(self, x_t: jax.Array, t: jax.Array) -> Exact:
        lows, highs, variances = now(self._lows), now(self._highs), now(self.spread) ** 2
        alpha, total = total_of(self.schedule, variances, t)  # (), (d,)
        scale = jnp.sqrt(total)
        # x_t = alpha u + scale z, u uniform in the box: given x_t, z is a standard normal cut to [a, a + width].
        log_mean, z = mean_density((x_t - alpha * highs) / scale, alpha * (highs - lows) / scale)  # (m, d)
        log_joint = now(self._log_weights) + jnp.sum(log_mean - jnp.log(scale), axis=1)
        place = jnp.clip(x_t - scale * z, alpha * lows, alpha * highs)  # alpha E[u | x_t]
        x0 = place / alpha + alpha * variances / total * (x_t - place)
        return mixed(log_joint, x0, -z / scale)


def _spread(spread: ArrayLike | None, dim: int) -> Array:
    s = np.zeros(dim) if spread is None else np.array(spread, dtype=np.float64)
    if s.shape != (dim,) or not np.isfinite(s).all() or (s < 0).any():
        raise ValueError(f"spread = {spread}; expected {dim} finite standard deviations, one a column, at least 0.")
    return s
