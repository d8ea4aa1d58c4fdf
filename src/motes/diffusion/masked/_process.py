"""Masked diffusion of rows of codes: the process, its bound, the chain rule and sampling.

    x_t^j = MASK with probability m(t), and x_0^j otherwise, for each column j on its own

m(t) is the share of columns that is masked; Sahoo et al. 2024 (MDLM) and Shi et al. 2024 (MD4) write alpha_t for
1 - m(t). It is the absorbing-state process of Austin et al. 2021 (D3PM, section 3.1).

A row has d columns; column j holds a code 0, 1, ..., K_j - 1, or `MASK`: signed integers. Every function acts on one
row: `vmap` it for more. Log-probabilities of codes are (d, K), K the largest K_j, and -inf at the codes that a column
does not have. A MASK in x_0 itself is a missing entry: it stays masked, and the losses are those of the observed
columns.
"""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import xlog1py, xlogy
from jax.typing import ArrayLike

from motes.diffusion.masked._denoiser import MaskedDenoiser

MASK = -1
MOST_COLUMNS = 16  # for a sum over all sets of visible columns

# --- schedules ----------------------------------------------------------------------------------------------------


class MaskedSchedule(eqx.Module):
    """m(t), which rises from m(0) = 0 to m(1) = 1; a new schedule is this and its inverse.

    Example:
        >>> from motes.diffusion.masked import MaskedSchedule
        >>> class Square(MaskedSchedule):
        ...     def share(self, t):
        ...         return jnp.asarray(t, float) ** 2
        ...     def t_of_share(self, share):
        ...         return jnp.sqrt(share)
        >>> print(Square().weight(0.5))  # m' / m
        4.0
    """

    @abstractmethod
    def share(self, t: ArrayLike) -> jax.Array:
        """m(t), the share of columns masked at time `t` in [0, 1].

        Example:
            >>> from motes.diffusion.masked import PolynomialMasking
            >>> print(PolynomialMasking(2.0).share(jnp.array([0.0, 0.5, 1.0])))
            [0. 0.25 1.  ]
        """

    @abstractmethod
    def t_of_share(self, share: ArrayLike) -> jax.Array:
        """The time in [0, 1] at which `share` of the columns is masked.

        Example:
            >>> from motes.diffusion.masked import PolynomialMasking
            >>> print(PolynomialMasking(2.0).t_of_share(0.25))
            0.5
        """

    def rate(self, t: ArrayLike) -> jax.Array:
        """m'(t), the derivative in t.

        Example:
            >>> from motes.diffusion.masked import PolynomialMasking
            >>> print(PolynomialMasking(2.0).rate(0.5))
            1.0
        """
        t = jnp.asarray(t, float)
        return jax.jvp(self.share, (t,), (jnp.ones_like(t),))[1]

    def weight(self, t: ArrayLike) -> jax.Array:
        """m'(t) / m(t), the weight of the cross-entropy for t > 0 (MD4, eq. 5, and table 4 with its sign changed).

        Example:
            >>> from motes.diffusion.masked import PolynomialMasking
            >>> print(PolynomialMasking(2.0).weight(0.5))  # m' / m = 1 / 0.25
            4.0
        """
        return self.rate(t) / self.share(t)


class LinearMasking(MaskedSchedule):
    """m(t) = t. MDLM calls it log-linear: linear is the share, and -log(1 - t) the integrated rate.

    Example:
        >>> from motes.diffusion.masked import LinearMasking
        >>> float(LinearMasking().weight(0.25))
        4.0
    """

    def share(self, t: ArrayLike) -> jax.Array:
        return jnp.asarray(t, float)

    def t_of_share(self, share: ArrayLike) -> jax.Array:
        return jnp.asarray(share, float)


class PolynomialMasking(MaskedSchedule):
    """m(t) = t^power (MD4, table 4). Equal steps of a sampler reveal few columns at first where 0 < power < 1.

    Raises:
        ValueError: a power that is not a finite number above 0.

    Example:
        >>> from motes.diffusion.masked import PolynomialMasking
        >>> print(PolynomialMasking(0.5).share(0.25))
        0.5
    """

    power: float = eqx.field(static=True)

    def __check_init__(self) -> None:
        if not 0 < self.power < math.inf:
            raise ValueError(f"got power = {self.power:g}; expected a finite number above 0; 1 is the linear schedule.")

    def share(self, t: ArrayLike) -> jax.Array:
        return jnp.asarray(t, float) ** self.power

    def t_of_share(self, share: ArrayLike) -> jax.Array:
        return jnp.asarray(share, float) ** (1 / self.power)


class CosineMasking(MaskedSchedule):
    """m(t) = cos(pi/2 (1 - t)), MD4, table 4. Equal steps of a sampler reveal few columns at first.

    Example:
        >>> from motes.diffusion.masked import CosineMasking
        >>> print(CosineMasking().share(0.5).round(3))
        0.707
    """

    def share(self, t: ArrayLike) -> jax.Array:
        return jnp.sin(jnp.pi / 2 * jnp.asarray(t, float))  # the same number, exact to the last digit near t = 0

    def t_of_share(self, share: ArrayLike) -> jax.Array:
        return 2 / jnp.pi * jnp.arcsin(jnp.asarray(share, float))


# --- the forward process and its posterior ------------------------------------------------------------------------


class Masking(NamedTuple):
    """A distribution of rows: column j is MASK with `probability[j]`, and `codes[j]` otherwise, independently."""

    codes: jax.Array
    """(d,), integers."""
    probability: jax.Array
    """(d,), in [0, 1]."""

    def sample(self, key: jax.Array) -> jax.Array:
        """One row, (d,)."""
        return jnp.where(jax.random.bernoulli(key, self.probability), MASK, self.codes)

    def log_prob(self, x: jax.Array) -> jax.Array:
        """Log-probability of row x (d,) in nats, ()."""
        of_code = jnp.where(x == self.codes, jnp.log1p(-self.probability), -jnp.inf)
        return jnp.where(x == MASK, jnp.log(self.probability), of_code).sum()


def q_sample(schedule: MaskedSchedule, x0: jax.Array, t: ArrayLike, key: jax.Array) -> jax.Array:
    """A row x_t (d,) from q(x_t | x_0), MDLM, eq. 4.

    Example:
        >>> from motes.diffusion.masked import LinearMasking, q_sample
        >>> q_sample(LinearMasking(), jnp.array([3, 0, 2]), 1.0, jax.random.key(0)).tolist()
        [-1, -1, -1]
    """
    return q_transition(schedule, x0, 0.0, t).sample(key)


def q_transition(schedule: MaskedSchedule, x_s: jax.Array, s: ArrayLike, t: ArrayLike) -> Masking:
    """q(x_t | x_s) for s < t: a visible column is masked with probability (m(t) - m(s)) / (1 - m(s)), MD4, eq. 16.

    Example:
        >>> from motes.diffusion.masked import LinearMasking, q_transition
        >>> step = q_transition(LinearMasking(), jnp.array([3, -1]), 0.5, 0.75)  # a visible column is masked with 1/2
        >>> print(jnp.exp(step.log_prob(jnp.array([-1, -1]))).round(3))
        0.5
    """
    m_s, m_t = schedule.share(s), schedule.share(t)
    return Masking(x_s, jnp.where(x_s == MASK, 1, (m_t - m_s) / (1 - m_s)))


def q_posterior(schedule: MaskedSchedule, x_t: jax.Array, x0: jax.Array, t: ArrayLike, s: ArrayLike) -> Masking:
    """q(x_s | x_t, x_0) for s < t: a masked column stays so with probability m(s) / m(t), MDLM, eq. 6, MD4, eq. 17.

    Example:
        >>> from motes.diffusion.masked import LinearMasking, q_posterior
        >>> back = q_posterior(LinearMasking(), jnp.array([-1, -1]), jnp.array([3, 1]), 0.8, 0.2)
        >>> print(jnp.exp(back.log_prob(jnp.array([-1, 1]))).round(3))  # stays masked with 0.2 / 0.8
        0.188
    """
    masked = x_t == MASK
    return Masking(jnp.where(masked, x0, x_t), jnp.where(masked, schedule.share(s) / schedule.share(t), 0))


def reverse_step(
    schedule: MaskedSchedule, x_t: jax.Array, log_probs: jax.Array, t: ArrayLike, s: ArrayLike, key: jax.Array
) -> jax.Array:
    """A row x_s (d,) from p(x_s | x_t), the posterior of an x_0 that the denoiser draws (MDLM, eq. 7, MD4, eq. 2).

    Args:
        x_t: (d,).
        log_probs: (d, K), log p(x_0^j | x_t) of every column.
        t, s: the times, s < t.

    Example:
        >>> from motes.diffusion.masked import EnumeratedOracle, LinearMasking, reverse_step
        >>> x_t = jnp.array([1, -1])
        >>> log_probs = EnumeratedOracle([[0.5, 0.0], [0.0, 0.5]]).log_probs(x_t, x_t != -1)
        >>> reverse_step(LinearMasking(), x_t, log_probs, 0.5, 0.0, jax.random.key(0)).tolist()
        [1, 1]
    """
    of_codes, of_masks = jax.random.split(key)
    # Codes and masks are drawn apart. In one categorical draw a code's probability would have the small factor
    # 1 - m(s)/m(t), and float32 then loses the rare codes (MD4, appendix G).
    x0_hat = jax.random.categorical(of_codes, log_probs)
    return q_posterior(schedule, x_t, x0_hat, t, s).sample(of_masks)


# --- what a denoiser says --------------------------------------------------------------------------------------------


def carry_over(log_probs: jax.Array, codes: jax.Array, visible: jax.Array) -> jax.Array:
    """log_probs (d, K) with a point mass at its code for every visible column (MDLM, section 3.2.3)."""
    point_mass = jnp.where(jnp.arange(log_probs.shape[1]) == codes[:, None], 0, -jnp.inf)
    return jnp.where(visible[:, None], point_mass, log_probs)


def log_prob_of(log_probs: jax.Array, codes: jax.Array) -> jax.Array:
    """log p(x_j = codes[j]) of every column, (d,); -inf for a code outside 0 ... K - 1."""
    last = log_probs.shape[1] - 1
    found = jnp.take_along_axis(log_probs, jnp.clip(codes, 0, last)[:, None], axis=1)[:, 0]
    return jnp.where((codes >= 0) & (codes <= last), found, -jnp.inf)


# --- the bound ----------------------------------------------------------------------------------------------------
# Three estimates of -log p(x_0), in nats, from one masked row. They differ in how x_t was drawn and in the weight of
# the cross-entropy of its masked columns.


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


# --- the chain rule -----------------------------------------------------------------------------------------------


def chain_terms(denoiser: MaskedDenoiser, x: jax.Array, order: jax.Array) -> jax.Array:
    """log p(x_j | the columns before j in the order) of every column j, (d,), in nats.

    Args:
        x: (d,), a row of codes.
        order: (d,), a permutation of 0 ... d - 1; `order[0]` is the first column.
    """
    rank = jnp.argsort(order)

    def term(column: jax.Array) -> jax.Array:
        visible = rank < rank[column]
        return log_prob_of(denoiser.log_probs(jnp.where(visible, x, MASK), visible), x)[column]

    return jax.lax.map(term, jnp.arange(x.size))


def chain_log_prob(denoiser: MaskedDenoiser, x: jax.Array, order: jax.Array) -> jax.Array:
    """log p(x) of row x (d,) by the chain rule in `order` (d,), in nats, () (ARDM, eq. 1).

    It is the log-probability of what `sample_in_order` draws in this order, and sums to one over all rows. Another
    order gives the same number only where the denoiser's conditionals agree, as an oracle's do. Its mean over all
    orders is minus the sum of the order-agnostic terms (ARDM, eq. 2).

    Example:
        >>> from motes.diffusion.masked import EnumeratedOracle, chain_log_prob
        >>> oracle = EnumeratedOracle([[0.5, 0.0], [0.25, 0.25]])
        >>> print(jnp.exp(chain_log_prob(oracle, jnp.array([1, 0]), jnp.array([0, 1]))).round(3))
        0.25
    """
    return chain_terms(denoiser, x, order).sum()


# --- sampling -----------------------------------------------------------------------------------------------------


def sample_in_order(
    denoiser: MaskedDenoiser, codes: jax.Array, visible: jax.Array, order: jax.Array, key: jax.Array
) -> jax.Array:
    """A row (d,) given its visible columns, drawn one column after another (ARDM, algorithm 1).

    Args:
        codes: (d,), read at the visible columns alone.
        visible: (d,), booleans: the columns that are conditioned on.
        order: (d,), a permutation of 0 ... d - 1; visible columns in it are passed over.

    Example:
        >>> from motes.diffusion.masked import EnumeratedOracle, sample_in_order
        >>> equal, order = EnumeratedOracle([[0.5, 0.0], [0.0, 0.5]]), jnp.array([0, 1])
        >>> sample_in_order(equal, jnp.array([1, 0]), jnp.array([True, False]), order, jax.random.key(0)).tolist()
        [1, 1]
    """

    def draw(row, step):  # type: ignore[no-untyped-def]
        x, visible = row
        column, key = step
        drawn = jax.random.categorical(key, denoiser.log_probs(x, visible)[column])
        x = x.at[column].set(jnp.where(visible[column], x[column], drawn))
        return (x, visible.at[column].set(True)), None

    start = jnp.where(visible, jnp.asarray(codes, int), MASK), jnp.asarray(visible)
    (x, _), _ = jax.lax.scan(draw, start, (jnp.asarray(order), jax.random.split(key, len(codes))))
    return x


def sample_by_schedule(
    denoiser: MaskedDenoiser,
    schedule: MaskedSchedule,
    codes: jax.Array,
    visible: jax.Array,
    steps: int,
    key: jax.Array,
) -> jax.Array:
    """A row (d,) given its visible columns, by `steps` reverse steps of equal length in t (MD4, algorithm 2).

    Columns that one step reveals are drawn independently of each other. The distribution is therefore exact for
    independent columns alone; otherwise its error falls as the steps grow in number.

    Args:
        codes: (d,), read at the visible columns alone.
        visible: (d,), booleans: the columns that are conditioned on.
        steps: T, network calls.

    Raises:
        ValueError: fewer steps than one.

    Example:
        >>> from motes.diffusion.masked import EnumeratedOracle, LinearMasking, sample_by_schedule
        >>> equal, known = EnumeratedOracle([[0.5, 0.0], [0.0, 0.5]]), jnp.array([True, False])
        >>> sample_by_schedule(equal, LinearMasking(), jnp.array([1, 0]), known, 4, jax.random.key(0)).tolist()
        [1, 1]
    """
    if steps < 1:
        raise ValueError(f"got {steps} steps; expected at least 1.")

    def step(x_t, at):  # type: ignore[no-untyped-def]
        t, s, key = at
        return reverse_step(schedule, x_t, denoiser.log_probs(x_t, x_t != MASK), t, s, key), None

    times = jnp.arange(steps, -1, -1) / steps
    start = jnp.where(visible, jnp.asarray(codes, int), MASK)
    x0, _ = jax.lax.scan(step, start, (times[:-1], times[1:], jax.random.split(key, steps)))
    return x0
