"""A uniform distribution with edges that are smooth: U(0, 1) + N(0, s^2).

    F(y) = s (G(y / s) - G((y - 1) / s)),    G(z) = z Phi(z) + phi(z)
    f(y) = Phi(y / s) - Phi((y - 1) / s)

F^-1 maps (0, 1) to the whole line. It hardly differs from the identity but near 0 and 1, so that a column keeps its
shape inside its bounds; Phi^-1 would bend all of it. F(1 - y) = 1 - F(y): everything is computed on the lower half,
in logarithms, and is right to the last digits at both ends.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SMOOTH = 0.05  # s
LEAST = 2.0**-53  # of (0, 1): a number at an end counts as that far inside
OUT = 40.0  # times s below 0, where F is 0 in float64
NEAR = 1e-9  # a step of Newton's method after which the next one changes nothing


def quantile(below: Array, above: Array) -> Array:
    """y = F^-1(u) of u = `below` = 1 - `above`. Both are asked for, since 1 - u has no digits left near 1."""
    least = np.clip(np.minimum(below, above), LEAST, 0.5)
    # log F is concave. Newton's method goes to the left of the root at once, and then rises to it.
    y = least.copy()
    for _ in range(60):
        log_cdf = _log_cdf(y)
        step = (np.log(least) - log_cdf) * np.exp(log_cdf - log_density(y))
        y += step
        if not (np.abs(step) > NEAR).any():
            break
    return np.where(below <= above, y, 1 - y)


def shares(y: Array) -> tuple[Array, Array]:
    """F(y) and 1 - F(y)."""
    low = np.exp(_log_cdf(np.minimum(y, 1 - y)))
    return np.where(y <= 0.5, low, 1 - low), np.where(y <= 0.5, 1 - low, low)


def log_density(y: Array) -> Array:
    """log f(y)."""
    from scipy.special import log_ndtr

    inner = np.minimum(y, 1 - y)
    near = log_ndtr(inner / SMOOTH)
    return np.asarray(near + np.log1p(-np.exp(log_ndtr((inner - 1) / SMOOTH) - near)))


def _log_cdf(y: Array) -> Array:
    """log F(y) of y <= 1/2."""
    y = np.maximum(y, -OUT * SMOOTH)
    near = _log_g(y / SMOOTH)
    return np.asarray(np.log(SMOOTH) + near + np.log1p(-np.exp(_log_g((y - 1) / SMOOTH) - near)))


def _log_g(z: Array) -> Array:
    """log G(z), below 0 by the ratio of Phi to phi, of which neither is 0."""
    from scipy.special import erfcx, ndtr

    low, high = np.minimum(z, 0.0), np.maximum(z, 0.0)
    density = lambda z: np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    below = -(low**2) / 2 - np.log(2 * np.pi) / 2 + np.log1p(low * np.sqrt(np.pi / 2) * erfcx(-low / np.sqrt(2)))
    return np.where(z < 0, below, np.log(high * ndtr(high) + density(high)))
