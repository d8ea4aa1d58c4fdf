"""A custom schedule: alpha_t and sigma_t as curves through given points at equally spaced times.

    alpha(k/K) = a_k,    sigma(k/K) = s_k,    k = 1 ... K;    alpha(0) = 1, sigma(0) = 0

Between two points each curve is a monotone cubic (Fritsch & Carlson 1980). So the log-SNR falls wherever it falls from
point to point, and both curves have a continuous slope.
"""

from __future__ import annotations

from functools import cache

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray

from motes.points.schedules import Schedule

LEAST, MOST = 1e-3, 1e3  # range of values: near 0, a sum of cubics loses its digits in float32
FEWEST_KNOTS, MOST_KNOTS = 2, 64


class KnotSchedule(Schedule):
    """A schedule that interpolates alpha_t and sigma_t between their values at t = 1/K, 2/K, ..., 1.

    Args:
        alphas: alpha at these times, K numbers that start at 1 or below, never rise, and stay at 0.001 or above.
        sigmas: sigma at these times, K numbers that rise from above 0 to at most 1000.

    Raises:
        ValueError: other numbers, or different numbers of alphas and sigmas, 2 to 64 of each.

    Example:
        >>> from motes.points.knots import KnotSchedule
        >>> schedule = KnotSchedule(alphas=(0.9, 0.4, 0.05), sigmas=(0.3, 0.8, 1.0))
        >>> print(schedule.alpha(1 / 3).round(3), schedule.sigma(1.0).round(3))
        0.9 1.0
    """

    alphas: tuple[float, ...] = eqx.field(static=True, default=(0.92, 0.71, 0.39, 0.01))
    sigmas: tuple[float, ...] = eqx.field(static=True, default=(0.38, 0.71, 0.92, 1.0))

    def __check_init__(self) -> None:
        if not FEWEST_KNOTS <= len(self.alphas) == len(self.sigmas) <= MOST_KNOTS:
            raise ValueError(
                f"got {len(self.alphas)} alphas and {len(self.sigmas)} sigmas; expected the same number of both, "
                f"{FEWEST_KNOTS} to {MOST_KNOTS}."
            )
        if not (np.diff([1.0, *self.alphas]) <= 0).all() or self.alphas[-1] < LEAST:
            raise ValueError(f"alphas = {self.alphas}; expected numbers from 1 down to {LEAST:g} that never rise.")
        if not (np.diff([0.0, *self.sigmas]) > 0).all() or self.sigmas[-1] > MOST:
            raise ValueError(f"sigmas = {self.sigmas}; expected rising numbers above 0 and up to {MOST:g}.")

    def alpha(self, t: ArrayLike) -> Array:
        return _interpolate((1.0, *self.alphas), t)

    def sigma(self, t: ArrayLike) -> Array:
        return _interpolate((0.0, *self.sigmas), t)


def _interpolate(values: tuple[float, ...], t: ArrayLike) -> Array:
    """Evaluate the monotone cubic through `values` at t = 0, 1/K, ..., 1."""
    knots = len(values) - 1
    y, slopes = jnp.asarray(values, float), jnp.asarray(_slopes(values), float)
    place = jnp.asarray(t, float) * knots
    k = jnp.clip(place.astype(int), 0, knots - 1)
    s, rest = place - k, k + 1 - place  # s + rest = 1; as two differences each keeps its digits near 0
    return (
        (1 + 2 * s) * rest**2 * y[k]
        + (1 + 2 * rest) * s**2 * y[k + 1]
        + s * rest * (rest * slopes[k] - s * slopes[k + 1])
    )


@cache
def _slopes(values: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the slope at each knot, per knot spacing."""
    from scipy.interpolate import PchipInterpolator

    places, rises = np.arange(len(values), dtype=float), np.diff(values)
    slopes = np.array(PchipInterpolator(places, values).derivative()(places))
    # At the ends the slopes may be 0, but noise must be added at any time: velocity predictors divide by the slope.
    for end in (0, -1):
        if abs(slopes[end]) < abs(rises[end]) / 3:
            slopes[end] = rises[end] / 3
    return slopes
