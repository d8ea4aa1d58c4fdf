"""Averages of the weights over a training, and conversion of weights to one vector.

    average(t) = int_0^t p(u) weights(u) du,    p(u) = (gamma + 1) u^gamma / t^(gamma + 1),    u in steps

The length of p is its standard deviation as a share of t: sigma_rel = sqrt((gamma + 1) / (gamma + 3)) / (gamma + 2).
Training maintains averages of two lengths and stores snapshots of them. Averages of any other length are linear
combinations of the snapshots, whose coefficients fit its profile by least squares.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike as JaxArrayLike
from numpy.typing import ArrayLike, NDArray

from motes.errors import UsageError

Array = NDArray[np.float64]

LENGTHS = (0.05, 0.10)  # maintained during training
SHORTEST, LONGEST = 0.02, 0.25  # 32 snapshots fit a profile in this range to 4%, and to 0.3% from 0.04 to 0.15
MISFIT = 0.1  # maximum misfit, as a share of the profile's norm
EVEN = 1 / math.sqrt(12)  # sigma_rel of gamma = 0, the plain mean


class Weights(NamedTuple):
    """Everything that a training step changes, with a leading axis of M members."""

    last: jax.Array  # (M, p)
    average: jax.Array  # (M, p)
    powers: jax.Array  # (M, lengths, p), averages with power-function profiles
    optimiser: optax.OptState
    step: jax.Array  # (M,)


def gamma_of(sigma_rel: float) -> float:
    """Return the power gamma whose profile has this length: the positive root of a cubic (appendix C, algorithm 2).

    Raises:
        ValueError: a length that no increasing profile has.
    """
    if not 0 < sigma_rel <= EVEN:
        raise ValueError(
            f"sigma_rel = {sigma_rel:g}; expected above 0, at most {EVEN:.4f}, the length of the plain mean."
        )
    square = sigma_rel**-2
    return float(np.roots([1, 7, 16 - square, 12 - square]).real.max())


def rates(lengths: Iterable[float], step: jax.Array) -> jax.Array:
    """Return 1 - beta for each length at a step 1, 2, ..., where beta = (1 - 1/step)^(gamma+1).

    With average += rate (weights - average), the weight of step k is exactly the integral of p from k - 1 to k.
    """
    powers = jnp.array([gamma_of(length) + 1 for length in lengths])
    return -jnp.expm1(powers * jnp.log1p(-1 / step))


def inner_product(gamma_a: ArrayLike, t_a: ArrayLike, gamma_b: ArrayLike, t_b: ArrayLike) -> Array:
    """Return int p_a(u) p_b(u) du of two profiles (appendix C, algorithm 3), without overflow of powers."""
    gamma_a, t_a, gamma_b, t_b = (np.asarray(x, np.float64) for x in (gamma_a, t_a, gamma_b, t_b))
    first, last = np.minimum(t_a, t_b), np.maximum(t_a, t_b)
    power = np.where(t_a > t_b, gamma_a, gamma_b)  # power of the profile that ends last
    return (gamma_a + 1) * (gamma_b + 1) / (gamma_a + gamma_b + 1) * (first / last) ** power / last


@dataclass(frozen=True, eq=False)
class Averages:
    """The m averages that a training stored, including the last ones, each with its length and final step."""

    steps: NDArray[np.int64]  # (m,)
    lengths: Array  # (m,)
    weights: NDArray[np.float32]  # (m, p)

    @classmethod
    def of(cls, lengths: Sequence[float], stored: Mapping[int, NDArray[np.float32]]) -> "Averages":
        """Make them from step -> averages (l, p) of these lengths."""
        steps = np.repeat(np.array(list(stored)), len(lengths))
        return cls(steps, np.tile(lengths, len(stored)), np.concatenate(list(stored.values())))

    def over(self, sigma_rel: float) -> NDArray[np.float32]:
        """Return the average (p,) of this length that ends at the last step.

        Raises:
            UsageError: a length out of range, or one that needs more snapshots.
        """
        return (self.shares(sigma_rel) @ self.weights.astype(np.float64)).astype(np.float32)

    def shares(self, sigma_rel: float) -> Array:
        """Return coefficients (m,) of the stored profiles that fit the requested one by least squares, with sum 1."""
        if not SHORTEST <= sigma_rel <= LONGEST:
            raise UsageError(f"got length {sigma_rel:g}; expected from {SHORTEST:g} to {LONGEST:g} of the training.")
        shares, misfit = self._fit(sigma_rel)
        if misfit > MISFIT:
            raise UsageError(
                f"length {sigma_rel:g} cannot be computed from the {len(self.steps)} stored averages, which miss it by "
                f"{misfit:.0%}: the training ended early, or `averages` of its recipe is small. {LENGTHS[0]:g} and "
                f"{LENGTHS[1]:g} are always available."
            )
        return shares

    def can_make(self, sigma_rel: float) -> bool:
        """Return whether the snapshots suffice for this length, which must be in range."""
        return self._fit(sigma_rel)[1] <= MISFIT

    def _fit(self, sigma_rel: float) -> tuple[Array, float]:
        """Return coefficients (m,), and the distance of their profile from the requested one relative to its norm."""
        t = self.steps / self.steps.max()
        gamma = np.array([gamma_of(length) for length in self.lengths])
        gram = inner_product(gamma[:, None], t[:, None], gamma, t)
        power = gamma_of(sigma_rel)
        wanted, square = inner_product(gamma, t, power, 1.0), inner_product(power, 1.0, power, 1.0)
        # Normalised, since early profiles are narrow and high and would dominate. The last row is the sum constraint.
        norm = np.sqrt(np.diag(gram))
        edge = 1 / norm
        system = np.block([[gram / np.outer(norm, norm), edge[:, None]], [edge, np.zeros(1)]])
        found = np.linalg.lstsq(system, np.append(wanted / norm, 1.0), rcond=1e-12)[0]
        shares = found[:-1] / norm
        distance = square - 2 * shares @ wanted + shares @ gram @ shares
        return shares, math.sqrt(max(distance / square, 0.0))


# --- The weights of a denoiser as a vector: all its floating-point arrays -------------------------------------------


D = TypeVar("D", bound=eqx.Module)


def weights_of(networks: Any) -> NDArray[np.float32]:
    """Return the weights (p,) of a network, or of several with a leading axis, as a vector."""
    weights = eqx.filter(networks, eqx.is_inexact_array)
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(weights)])  # NumPy compiles nothing


def shapes_of(denoiser: eqx.Module) -> tuple[tuple[int, ...], ...]:
    """Return the shapes of the arrays in the vector of weights, in its order."""
    return tuple(leaf.shape for leaf in jax.tree.leaves(eqx.filter(denoiser, eqx.is_inexact_array)))


@eqx.filter_jit
def with_weights(denoiser: D, flat: JaxArrayLike) -> D:
    """Return `denoiser` with the weights of the vector `flat` (p,)."""
    weights, rest = eqx.partition(denoiser, eqx.is_inexact_array)
    return eqx.combine(ravel_pytree(weights)[1](jnp.asarray(flat)), rest)
