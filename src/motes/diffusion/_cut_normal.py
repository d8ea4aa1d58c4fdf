"""A normal variable that is cut to an interval.

    z ~ N(0, 1) given a <= z <= b,    mass = Phi(b) - Phi(a)

All is right far out in the tails and for short intervals, where a difference of two cdfs has no digits left, and in
float32. Functions act elementwise; by symmetry each looks at the side below 0.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr, ndtr, ndtri

LOG_2PI = float(np.log(2 * np.pi))
REACH = 40.0  # from 0, or from the end that is nearest to 0: nothing that counts is further away
FAR = -5.0  # where the tail begins
SHORT = 0.01  # the curvature of the log-density within so short an interval is nothing
NODES, NODE_WEIGHTS = np.polynomial.legendre.leggauss(16)


def mean_density(a: jax.Array, width: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The log of the mean of the standard normal density over [a, a + width], and E[z] of a normal cut to it."""
    middle = a + width / 2
    sign = jnp.where(middle > 0, -1.0, 1.0)  # by symmetry, look at the side below 0
    middle = sign * middle
    # The density falls by exp(slope) from one end to the other. Where it hardly does, and the interval is short, a
    # difference of two cdfs would cancel, while Gauss's rule is exact to the last digit.
    short = (width < 2) & (width * middle > -8)
    log_mean_short, z_short = _mean_density_short(jnp.where(short, middle, 0.0), jnp.where(short, width, 1.0))
    log_mean_long, z_long = _mean_density_long(jnp.where(short, -4.0, middle), jnp.where(short, 4.0, width))
    return jnp.where(short, log_mean_short, log_mean_long), sign * jnp.where(short, z_short, z_long)


def moments(a: jax.Array, width: jax.Array) -> tuple[jax.Array, jax.Array]:
    """E[z] and the variance of a normal cut to [a, a + width]."""
    # An interval that moves by da takes the mean along by (1 - variance) da.
    mean, moved = jax.jvp(lambda a: mean_density(a, width)[1], (a,), (jnp.ones_like(a),))
    middle = a + width / 2
    short = (width < 2) & (width * jnp.abs(middle) < 8)  # where 1 - moved has no digits left
    weight, step = _nodes(jnp.where(short, middle, 0.0), jnp.where(short, width, 1.0))
    share = weight / weight.sum(axis=-1, keepdims=True)
    away = step - (share * step).sum(axis=-1, keepdims=True)
    return mean, jnp.where(short, (share * away**2).sum(axis=-1), 1 - moved)


def _mean_density_short(middle: jax.Array, width: jax.Array) -> tuple[jax.Array, jax.Array]:
    weight, step = _nodes(middle, width)
    mean = weight.sum(axis=-1)  # over the density in the middle
    z = middle + (weight * step).sum(axis=-1) / mean
    return jnp.log(mean) - middle**2 / 2 - LOG_2PI / 2, z


def _nodes(middle: jax.Array, width: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Weights of Gauss's rule for the density over that in the middle, and the steps from there, (..., 16)."""
    step = width[..., None] / 2 * jnp.asarray(NODES, float)
    return jnp.asarray(NODE_WEIGHTS, float) / 2 * jnp.exp(-middle[..., None] * step - step**2 / 2), step


def _mean_density_long(middle: jax.Array, width: jax.Array) -> tuple[jax.Array, jax.Array]:
    # Everything is said relative to phi(c), c the place nearest to 0, so that no two large squares are ever subtracted:
    # for an interval below 0 that is its end b, and phi(a) / phi(b) = exp(slope).
    a, b, slope = middle - width / 2, middle + width / 2, middle * width
    below = b < 0
    outer, inner = jnp.where(below, a, -1.0), jnp.where(below, b, -1.0)
    log_a = jnp.where(below, slope + _log_mills(outer), log_ndtr(a) + LOG_2PI / 2)  # log Phi(a) / phi(c)
    log_b = jnp.where(below, _log_mills(inner), jnp.log(ndtr(jnp.where(below, 0.0, b))) + LOG_2PI / 2)
    log_mass = log_b + jnp.log1p(-jnp.exp(log_a - log_b))
    fall = jnp.where(below, jnp.expm1(slope), jnp.exp(-(a**2) / 2) - jnp.exp(-(b**2) / 2))
    return log_mass - jnp.minimum(b, 0) ** 2 / 2 - LOG_2PI / 2 - jnp.log(width), fall * jnp.exp(-log_mass)


def _log_mills(b: jax.Array) -> jax.Array:
    """log(Phi(b) / phi(b)) for b < 0."""
    far = b < FAR
    near = jnp.where(far, 0.0, b)
    return jnp.where(far, _log_mills_far(jnp.where(far, b, FAR)), jnp.log(ndtr(near)) + near**2 / 2 + LOG_2PI / 2)


def _log_mills_far(b: jax.Array) -> jax.Array:
    """The same for b <= FAR."""
    # Laplace's continued fraction x + 1 / (x + 2 / (x + 3 / ...)); 40 terms are exact in float64. A loop, not unrolled:
    # forty nested divisions take the compiler seconds.
    return -jnp.log(jax.lax.fori_loop(0, 40, lambda k, rest: -b + (40 - k) / rest, -b))


def log_mass(a: jax.Array, b: jax.Array) -> jax.Array:
    """log(Phi(b) - Phi(a)) for -inf <= a < b <= inf."""
    a, b = _within_reach(a, b)
    width = jnp.maximum(b - a, jnp.finfo(a.dtype).tiny)
    return mean_density(a, width)[0] + jnp.log(width)


def draw(u: jax.Array, a: jax.Array, b: jax.Array) -> jax.Array:
    """z between a and b, -inf <= a < b <= inf, from u uniform on (0, 1)."""
    a, b = _within_reach(a, b)
    above = a + b > 0
    low, high = jnp.where(above, -b, a), jnp.where(above, -a, b)
    short = high - low < SHORT
    z = jnp.where(short, _draw_short(u, low, high), _draw_long(u, low, jnp.where(short, low + SHORT, high)))
    return jnp.clip(jnp.where(above, -z, z), a, b)


def _within_reach(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jnp.maximum(a, jnp.minimum(b, 0) - REACH), jnp.minimum(b, jnp.maximum(a, 0) + REACH)


def _draw_short(u: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    # Here the density is exponential. A slope of 0 is as good as this one, which can be divided by.
    width = high - low
    slope = jnp.maximum(-(low + high) / 2 * width, jnp.finfo(u.dtype).eps ** 0.5)
    return high + width / slope * jnp.log(u + (1 - u) * jnp.exp(-slope))


def _draw_long(u: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    far = high < FAR
    near = jnp.where(far, 0.0, high)
    below = ndtr(low)
    p = below + u * (ndtr(near) - below)
    z_near = ndtri(jnp.minimum(p, 1 - jnp.finfo(p.dtype).eps))
    return jnp.where(far, _draw_far(u, jnp.where(far, low, FAR - 1), jnp.where(far, high, FAR)), z_near)


def _draw_far(u: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    # z = high - step with log Phi(high) - log Phi(z) = fall. Squares are never subtracted: what is left of them is
    # step (step / 2 - high). Newton's method from the root without the Mills ratios, which is right to 1 / high^2.
    at_high = _log_mills_far(high)
    ratio = jnp.exp((high - low) * (high + low) / 2 + _log_mills_far(low) - at_high)
    fall = -jnp.log(u + (1 - u) * ratio)
    step = 2 * fall / (jnp.sqrt(high**2 + 2 * fall) - high)
    for _ in range(2):
        at_z = _log_mills_far(high - step)
        step = step - (step * (step / 2 - high) + at_high - at_z - fall) * jnp.exp(at_z)
    return high - step
