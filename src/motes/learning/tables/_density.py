"""What one row is worth under the outputs of the network: codes, and densities beside them.

A part on a line has two experts and a gate g between them, all given the visible parts:

    p(x_j | visible) = g_j a(x_j) + (1 - g_j) sum_c w_c N(x_j; m_c, s_c^2)

a is the softmax over the codes of the part, spread evenly over each code; the normals are those of the base, moved by
the network, and some of the network's own. Where relation r gives the value y_r (see `_links.py`), some more normals
begin at y_r: a value may be near to what a relation gives, and not only equal to it. A missing entry is a code on which
both experts agree: it has the probability a(missing), whatever the gate, and the normals have 1 - a(missing) in all.
The first and the last cell of a lattice with ends reach to infinity.
A value on a lattice has the mass of its cell, a real number a density in y, and a value that is a code of its own the
probability of the code. All are exact, so p is normalised.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from motes.learning.tables._base import Components
from motes.learning.tables._layout import NEVER

HALF_LOG_TWO_PI = 0.9189385332046727
SHIFT, STRETCH, WEIGHT = 6.0, 4.0, 12.0  # how far the network moves a mean (in sds), a log sd, a log weight
NARROW = 0.3  # of a cell, in standard deviations, up to which a parabola is the normal density to 1e-6
ROOT_TWO = 2**0.5
TINY = 1e-30  # the least mass of a cell under one normal
WIDE = 100.0  # the standard deviation of a normal that never moves,
LOG_WIDE = -14.0  # and its log weight: one in a million
LOG_REST = math.log1p(-math.exp(LOG_WIDE))  # of the other normals together
CERTAIN = -1e-6  # log of the probability of a missing entry, at most: what it leaves to values has a logarithm
FINEST = 1e-4  # the least standard deviation of a normal


class Normals(NamedTuple):
    """A mixture of normals for each of some numbers; (..., C) each, the weights sum to 1."""

    log_weights: jax.Array
    means: jax.Array
    sds: jax.Array


class Near(NamedTuple):
    """What R relations give for some numbers, (..., R): places y_r, and whether there is one."""

    y: jax.Array
    could: jax.Array


def moved(base: Components, outputs: jax.Array, near: Near) -> tuple[jax.Array, Normals]:
    """log g and log (1 - g), (n, L, 2), and the normals (n, L, N + 1), from outputs (n, L, 1 + 3 N).

    N counts the components of the base, the network's own normals and those near the places that relations give.
    The last normal is wide, has next to no weight, and never moves: without it a number far from all others would be
    impossible but in name.
    """
    gate, numbers = outputs[..., 0], outputs[..., 1:]
    gate = jnp.stack([jax.nn.log_sigmoid(gate), jax.nn.log_sigmoid(-gate)], -1)
    weight, shift, stretch = jnp.split(numbers, 3, axis=-1)
    close = near.y.shape[-1] * len(CLOSE)
    own = weight.shape[-1] - base.means.shape[-1] - close
    each = lambda part: jnp.repeat(part, len(CLOSE), -1)
    pad = lambda part, start, rest: jnp.concatenate(
        [part, *(jnp.broadcast_to(one, (*part.shape[:-1], count)) for one, count in ((start, own), (rest, close)))], -1
    )
    places = jnp.linspace(-1.5, 1.5, own) if own > 1 else jnp.zeros(own)
    log_weights = pad(base.log_weights, OWN_WEIGHT, jnp.where(each(near.could), CLOSE_WEIGHT, NEVER))
    log_weights = log_weights + WEIGHT * jnp.tanh(weight / WEIGHT)
    spread = pad(base.sds, 1.0, jnp.tile(jnp.array(CLOSE), near.y.shape[-1]))
    sds = spread * jnp.exp(STRETCH * jnp.tanh(stretch / STRETCH))
    means = pad(base.means, places, each(near.y)) + spread * SHIFT * jnp.tanh(shift / SHIFT)
    last = lambda value: jnp.full((*means.shape[:-1], 1), value)
    log_weights = jnp.concatenate([jax.nn.log_softmax(log_weights, -1) + LOG_REST, last(LOG_WIDE)], -1)
    means, sds = jnp.concatenate([means, last(0.0)], -1), jnp.concatenate([jnp.maximum(sds, FINEST), last(WIDE)], -1)
    return gate, Normals(log_weights, means, sds)


OWN_WEIGHT = -7.0  # of the network's own normals at first: at -4 they cost more than training wins back
CLOSE = (0.005, 0.05)  # standard deviations of the normals near what a relation gives, at first,
CLOSE_WEIGHT = -3.0  # and their log weights


def masses(normals: Normals, edges: jax.Array) -> jax.Array:
    """The mass of each normal (..., C), by its weight, between neighbouring edges (..., T+1), (..., T, C)."""
    z = (edges[..., None] - normals.means[..., None, :]) / (ROOT_TWO * normals.sds[..., None, :])
    return 0.5 * jnp.exp(normals.log_weights)[..., None, :] * jnp.diff(jax.lax.erf(z), axis=-2)


def log_mixture(normals: Normals, low: jax.Array, high: jax.Array, cell: jax.Array) -> jax.Array:
    """log of the mass between low and high (...), `cell` apart, or of the density where that is 0."""
    terms = log_mass(low[..., None], high[..., None], normals.means, normals.sds, cell[..., None])
    return jax.nn.logsumexp(normals.log_weights + terms, axis=-1)


def log_mass(low: jax.Array, high: jax.Array, mean: jax.Array, sd: jax.Array, cell: jax.Array) -> jax.Array:
    """log of the mass of N(mean, sd^2) from low to high; of the density at low where they are the same.

    `cell` is high - low, where it has more digits than these.
    """
    a, b = (low - mean) / sd, (high - mean) / sd
    width = cell / sd  # b - a would lose the digits of a narrow cell far away
    narrow = width < NARROW
    middle = jnp.where(narrow, (a + b) / 2, 0.0)
    square = jnp.square(middle)
    curve = jnp.where(narrow, (square - 1) * jnp.square(width) / 24, 0.0)  # log(1 + c) = c to 1e-5 here
    slim = jnp.log(jnp.where(cell > 0, jnp.where(narrow, width, 1.0), 1 / sd)) - 0.5 * square - HALF_LOG_TWO_PI + curve
    # On the side of the mean where the error function has digits.
    a, b = jnp.where(narrow, -1.0, a) / ROOT_TWO, jnp.where(narrow, 1.0, b) / ROOT_TWO
    a, b = jnp.where(a + b > 0, a, -b), jnp.where(a + b > 0, b, -a)
    mass = jnp.maximum(0.5 * (jax.lax.erfc(a) - jax.lax.erfc(b)), TINY)
    return jnp.where(narrow, slim, jnp.log(mass))


def log_present(log_missing: jax.Array) -> jax.Array:
    """log of the probability that an entry has a value (...), from that of a missing one."""
    return jnp.log(-jnp.expm1(jnp.minimum(log_missing, CERTAIN)))


def log_value(
    gate: jax.Array, log_code: jax.Array, inner: jax.Array, log_normal: jax.Array, on_code: jax.Array
) -> jax.Array:
    """log p of a value of a part with both experts, (...).

    Args:
        gate: log g and log (1 - g), (..., 2).
        log_code: log probability of the value's code.
        inner: log of the share (or density) that an even spread over the code has at the value.
        log_normal: log of the same of the normals.
        on_code: whether the value is a code of its own without width (an atom, or missing), which no density holds.
    """
    first = gate[..., 0] + log_code + inner
    second = gate[..., 1] + jnp.where(on_code, 0.0, log_normal)
    return jnp.where(on_code, first, jnp.logaddexp(first, second))
