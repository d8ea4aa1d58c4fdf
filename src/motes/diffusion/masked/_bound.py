"""The bound on -log p(x_0), in nats: losses of one masked row, and the terms of a number of steps.

    step_loss              (1 - m(s)/m(t)) cross-entropy
    continuous_loss        m'(t)/m(t) cross-entropy
    order_agnostic_loss    d / (masked columns) cross-entropy

are three estimates of it from one masked row x_t. They differ in how x_t was drawn and in the weight of the
cross-entropy of its masked columns.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import xlog1py, xlogy
from jax.typing import ArrayLike

from motes.diffusion.masked._denoiser import MaskedDenoiser
from motes.diffusion.masked._process import MASK, log_prob_of
from motes.diffusion.masked._schedules import MaskedSchedule

MOST_COLUMNS = 16  # for a sum over all sets of visible columns


def cross_entropy(x0: jax.Array, x_t: jax.Array, log_probs: jax.Array) -> jax.Array:
    """-log p(x_0^j | x_t) of the masked columns of x_t, 0 at visible and missing ones, (d,)."""
    return jnp.where((x_t == MASK) & (x0 != MASK), -log_prob_of(log_probs, x0), 0)


def step_loss(
    schedule: MaskedSchedule, x0: jax.Array, x_t: jax.Array, log_probs: jax.Array, t: ArrayLike, s: ArrayLike
) -> jax.Array:
    """KL(q(x_s | x_t, x_0) || p(x_s | x_t)) of each column, (d,), for s < t: (1 - m(s)/m(t)) cross-entropy.

    MDLM, eq. 8. At s = 0 it is the reconstruction term -log p(x_0 | x_t).

    Example:
        >>> from motes.diffusion.masked import LinearMasking, step_loss
        >>> x0, x_t, log_probs = jnp.array([1, 0]), jnp.array([-1, 0]), jnp.log(jnp.full((2, 2), 0.5))
        >>> print(step_loss(LinearMasking(), x0, x_t, log_probs, 0.5, 0.25).round(3))  # (1 - 1/2) log 2, and 0
        [0.347 0.   ]
    """
    return (1 - schedule.share(s) / schedule.share(t)) * cross_entropy(x0, x_t, log_probs)


def continuous_loss(
    schedule: MaskedSchedule, x0: jax.Array, x_t: jax.Array, log_probs: jax.Array, t: ArrayLike
) -> jax.Array:
    """m'(t)/m(t) cross-entropy of each column, (d,), for t > 0 (MDLM, eq. 11, MD4, eq. 5).

    Its sum, averaged over t uniform in (0, 1] and x_t from `q_sample`, is the bound in the limit of many steps.

    Example:
        >>> from motes.diffusion.masked import LinearMasking, continuous_loss
        >>> x0, x_t, log_probs = jnp.array([1, 0]), jnp.array([-1, 0]), jnp.log(jnp.full((2, 2), 0.5))
        >>> print(continuous_loss(LinearMasking(), x0, x_t, log_probs, 0.5).round(3))  # 2 log 2, and 0
        [1.386 0.   ]
    """
    return schedule.weight(t) * cross_entropy(x0, x_t, log_probs)


def order_agnostic_loss(x0: jax.Array, x_t: jax.Array, log_probs: jax.Array) -> jax.Array:
    """d / (masked columns) cross-entropy of each column, (d,), Hoogeboom et al. 2022 (ARDM), section 3.

    Its sum, averaged over x_t from `keep_visible` with 0 ... d - 1 visible columns, each number as often as another, is
    the same bound as that of `continuous_loss`, whatever the schedule (ARDM, appendix C). Missing columns do not count.

    Example:
        >>> from motes.diffusion.masked import order_agnostic_loss
        >>> x0, x_t, log_probs = jnp.array([1, 0]), jnp.array([-1, 0]), jnp.log(jnp.full((2, 2), 0.5))
        >>> print(order_agnostic_loss(x0, x_t, log_probs).round(3))  # 2 / 1 log 2, and 0
        [1.386 0.   ]
    """
    observed = x0 != MASK
    masked = observed & (x_t == MASK)
    return observed.sum() / jnp.maximum(masked.sum(), 1) * cross_entropy(x0, x_t, log_probs)


def keep_visible(x0: jax.Array, count: ArrayLike, key: jax.Array) -> jax.Array:
    """x0 (d,) with `count` of its observed columns, chosen at random, left visible and the others masked."""
    return jnp.where(_random_rank(x0, key) < count, x0, MASK)


def order_agnostic_terms(denoiser: MaskedDenoiser, x0: jax.Array, key: jax.Array) -> jax.Array:
    """Mean cross-entropy of the masked columns where 0, 1, ..., d - 1 columns are visible, (d,), in one random order.

    An unbiased estimate of -L_1, ..., -L_d of ARDM, section 3. Their sum is the bound, in nats; see `discrete_bound`.
    Of a row with missing entries only the first terms, one for each observed column, are above 0.
    """
    rank = _random_rank(x0, key)
    return jax.lax.map(lambda count: _mean_cost(denoiser, x0, rank < count), jnp.arange(x0.size))


def exact_order_agnostic_terms(denoiser: MaskedDenoiser, x0: jax.Array) -> jax.Array:
    """What `order_agnostic_terms` estimates, (d,), for a row without missing entries: the mean over all visible sets.

    Raises:
        ValueError: a row of more than 16 columns.
    """
    d = x0.size
    if d > MOST_COLUMNS:
        raise ValueError(
            f"got a row of {d} columns; expected at most {MOST_COLUMNS}, as all 2^d sets of visible columns are "
            "visited; average order_agnostic_terms over keys."
        )
    sets = np.array(list(itertools.product([False, True], repeat=d)))[:-1]  # all columns visible leave nothing to say
    costs = jax.lax.map(lambda visible: _mean_cost(denoiser, x0, visible), jnp.asarray(sets), batch_size=256)
    sums = jax.ops.segment_sum(costs, sets.sum(axis=1), d)
    return sums / np.array([math.comb(d, count) for count in range(d)])


def _random_rank(x0: jax.Array, key: jax.Array) -> jax.Array:
    """The place of each column in a random order in which missing columns come last, (d,)."""
    return jnp.argsort(jnp.argsort(jnp.where(x0 == MASK, 2, jax.random.uniform(key, x0.shape))))


def _mean_cost(denoiser: MaskedDenoiser, x0: jax.Array, visible: jax.Array) -> jax.Array:
    x_t = jnp.where(visible, x0, MASK)
    losses = order_agnostic_loss(x0, x_t, denoiser.log_probs(x_t, x_t != MASK))
    return losses.sum() / jnp.maximum((x0 != MASK).sum(), 1)


class Bound(NamedTuple):
    """The terms of the bound on -log p(x_0) with T steps, in nats (D3PM, eq. 1).

    Example:
        >>> from motes.diffusion.masked import LinearMasking, discrete_bound
        >>> bound = discrete_bound(LinearMasking(), jnp.array([2.0, 1.0]), steps=4)
        >>> print(bound.prior, bound.diffusion.shape, bound.total.round(3))
        0.0 (3,) 3.25
    """

    prior: jax.Array
    """KL(q(x_1 | x_0) || p(x_1)), (): 0, as all of x_1 is masked."""
    diffusion: jax.Array
    """E KL(q(x_s | x_t, x_0) || p(x_s | x_t)) for t = 2/T, ..., 1, (T - 1,)."""
    reconstruction: jax.Array
    """-E log p(x_0 | x_{1/T}), ()."""

    @property
    def total(self) -> jax.Array:
        """Their sum, ()."""
        return self.prior + self.diffusion.sum() + self.reconstruction


def discrete_bound(schedule: MaskedSchedule, terms: jax.Array, steps: int) -> Bound:
    """The bound of `sample_by_schedule` with T = `steps`, from the (d,) terms of either `..._order_agnostic_terms`.

    At time t the number of masked columns is binomial, and given that number all sets of them are equally likely. So
    the d terms are all that the bound needs of the denoiser. It tends to their sum as T grows, for every schedule.

    Raises:
        ValueError: fewer steps than one.

    Example:
        >>> from motes.diffusion.masked import LinearMasking, discrete_bound
        >>> float(discrete_bound(LinearMasking(), jnp.array([2.0, 1.0]), steps=1).total)
        4.0
    """
    if steps < 1:
        raise ValueError(f"got {steps} steps; expected at least 1.")
    d = terms.size
    shares = schedule.share(jnp.arange(steps + 1) / steps)
    m_s, m_t = shares[:-1, None], shares[1:, None]  # (T, 1)
    masked = np.arange(d, 0, -1)
    ways = np.array([math.log(math.comb(d, int(count))) for count in masked])
    p = jnp.exp(ways + xlogy(masked, m_t) + xlog1py(d - masked, -m_t))  # of each number of masked columns, (T, d)
    losses = jnp.where(p > 0, (1 - m_s / m_t) * p * masked * terms, 0).sum(axis=1)  # a term may be infinite
    return Bound(jnp.zeros_like(losses[0]), losses[1:], losses[0])
