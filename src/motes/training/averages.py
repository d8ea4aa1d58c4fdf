"""Averages of weights over a training, and weights as one vector.

    average(t) = int_0^t p(u) weights(u) du,    p(u) = (gamma + 1) u^gamma / t^(gamma + 1),    u in steps

The length of p is its standard deviation as a share of t: sigma_rel = sqrt((gamma + 1) / (gamma + 3)) / (gamma + 2).
Training keeps the averages of two lengths and stores them now and then. Any other profile is then put together from the
stored ones by least squares, and so is its average.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike as JaxArrayLike
from numpy.typing import ArrayLike, NDArray

from motes.errors import UsageError

Array = NDArray[np.float64]

LENGTHS = (0.05, 0.10)  # kept while training
SHORTEST, LONGEST = 0.02, 0.25  # of 32 stores a profile within is put together to 4%; it is 0.3% from 0.04 to 0.15
MISFIT = 0.1  # of a profile's norm: what is further away is refused
EVEN = 1 / math.sqrt(12)  # sigma_rel of gamma = 0, the plain mean


def gamma_of(sigma_rel: float) -> float:
    """The power whose profile has this length: the root above 0 of a cubic (appendix C, algorithm 2).

    Raises:
        ValueError: a length that no rising profile has.
    """
    if not 0 < sigma_rel <= EVEN:
        raise ValueError(f"sigma_rel = {sigma_rel:g}; expected above 0, at most {EVEN:.4f}, that of the plain mean.")
    square = sigma_rel**-2
    return float(np.roots([1, 7, 16 - square, 12 - square]).real.max())


def rates(lengths: Iterable[float], step: jax.Array) -> jax.Array:
    """1 - beta for each length at step 1, 2, ...: average += rate (weights - average), beta = (1 - 1/step)^(gamma+1).

    Step k then counts with exactly the part of p between k - 1 and k.
    """
    powers = jnp.array([gamma_of(length) + 1 for length in lengths])
    return -jnp.expm1(powers * jnp.log1p(-1 / step))


def inner_product(gamma_a: ArrayLike, t_a: ArrayLike, gamma_b: ArrayLike, t_b: ArrayLike) -> Array:
    """int p_a(u) p_b(u) du of two profiles (appendix C, algorithm 3), written so that no power overflows."""
    gamma_a, t_a, gamma_b, t_b = (np.asarray(x, np.float64) for x in (gamma_a, t_a, gamma_b, t_b))
    first, last = np.minimum(t_a, t_b), np.maximum(t_a, t_b)
    power = np.where(t_a > t_b, gamma_a, gamma_b)  # of the one that ends last
    return (gamma_a + 1) * (gamma_b + 1) / (gamma_a + gamma_b + 1) * (first / last) ** power / last


@dataclass(frozen=True, eq=False)
class Averages:
    """What training has stored: m averages, each with its length and the step that it ends at, the last ones too."""

    steps: NDArray[np.int64]  # (m,)
    lengths: Array  # (m,)
    weights: NDArray[np.float32]  # (m, p)

    @classmethod
    def of(cls, lengths: Sequence[float], stored: Mapping[int, NDArray[np.float32]]) -> "Averages":
        """Those that were stored after some steps: step -> averages (l, p) of these lengths."""
        steps = np.repeat(np.array(list(stored)), len(lengths))
        return cls(steps, np.tile(lengths, len(stored)), np.concatenate(list(stored.values())))

    def over(self, sigma_rel: float) -> NDArray[np.float32]:
        """The average (p,) of this length that ends at the last step.

        Raises:
            UsageError: a length out of range, or that too few stores were made for.
        """
        return (self.shares(sigma_rel) @ self.weights.astype(np.float64)).astype(np.float32)

    def shares(self, sigma_rel: float) -> Array:
        """How much of each stored profile makes the one requested, (m,): least squares, and they add up to 1."""
        if not SHORTEST <= sigma_rel <= LONGEST:
            raise UsageError(f"length {sigma_rel:g}; expected from {SHORTEST:g} to {LONGEST:g} of the training.")
        shares, misfit = self._fit(sigma_rel)
        if misfit > MISFIT:
            raise UsageError(
                f"length {sigma_rel:g} cannot be made of the {len(self.steps)} averages that were stored, which miss "
                f"it by {misfit:.0%}: the training ended early, or `averages` of its recipe is small. {LENGTHS[0]:g} "
                f"and {LENGTHS[1]:g} always can."
            )
        return shares

    def can_make(self, sigma_rel: float) -> bool:
        """Whether enough was stored for this length, one in range."""
        return self._fit(sigma_rel)[1] <= MISFIT

    def _fit(self, sigma_rel: float) -> tuple[Array, float]:
        """Shares (m,), and the distance of the profile that they make from the one requested, as a part of its norm."""
        t = self.steps / self.steps.max()
        gamma = np.array([gamma_of(length) for length in self.lengths])
        gram = inner_product(gamma[:, None], t[:, None], gamma, t)
        power = gamma_of(sigma_rel)
        wanted, square = inner_product(gamma, t, power, 1.0), inner_product(power, 1.0, power, 1.0)
        # Of norm 1, or the early profiles, which are narrow and high, would set the scale. The last row is the sum.
        norm = np.sqrt(np.diag(gram))
        edge = 1 / norm
        system = np.block([[gram / np.outer(norm, norm), edge[:, None]], [edge, np.zeros(1)]])
        found = np.linalg.lstsq(system, np.append(wanted / norm, 1.0), rcond=1e-12)[0]
        shares = found[:-1] / norm
        distance = square - 2 * shares @ wanted + shares @ gram @ shares
        return shares, math.sqrt(max(distance / square, 0.0))


# --- The weights of a denoiser: its floating-point arrays as one flat vector ----------------------------------------


D = TypeVar("D", bound=eqx.Module)


@eqx.filter_jit
def weights_of(denoiser: eqx.Module) -> jax.Array:
    """The weights (p,)."""
    return ravel_pytree(eqx.filter(denoiser, eqx.is_inexact_array))[0]


def shapes_of(denoiser: eqx.Module) -> tuple[tuple[int, ...], ...]:
    """The shapes of the arrays that the vector of weights holds, in its order."""
    return tuple(leaf.shape for leaf in jax.tree.leaves(eqx.filter(denoiser, eqx.is_inexact_array)))


@eqx.filter_jit
def with_weights(denoiser: D, flat: JaxArrayLike) -> D:
    """`denoiser` with its weights taken from the vector `flat` (p,)."""
    weights, rest = eqx.partition(denoiser, eqx.is_inexact_array)
    return eqx.combine(ravel_pytree(weights)[1](jnp.asarray(flat)), rest)


def ravelled(networks: Any) -> NDArray[np.float32]:
    """The weights (p,) of a network, or of several with a leading axis, as `weights_of` has them."""
    weights = eqx.filter(networks, eqx.is_inexact_array)
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(weights)])  # NumPy compiles nothing
