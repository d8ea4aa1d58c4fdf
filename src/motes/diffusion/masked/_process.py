"""Masked diffusion of rows of codes: the process, the chain rule and sampling.

    x_t^j = MASK with probability m(t), and x_0^j otherwise, for each column j on its own

m(t) is the share of columns that is masked; Sahoo et al. 2024 (MDLM) and Shi et al. 2024 (MD4) write alpha_t for
1 - m(t). It is the absorbing-state process of Austin et al. 2021 (D3PM, section 3.1).

A row has d columns; column j holds a code 0, 1, ..., K_j - 1, or `MASK`: signed integers. Every function acts on one
row: `vmap` it for more. Log-probabilities of codes are (d, K), K the largest K_j, and -inf at the codes that a column
does not have. A MASK in x_0 itself is a missing entry: it stays masked, and the losses are those of the observed
columns.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from motes.diffusion.masked._denoiser import MaskedDenoiser
from motes.diffusion.masked._schedules import MaskedSchedule

MASK = -1

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
        x = x.at[column].set(jax.random.categorical(key, denoiser.log_probs(x, visible)[column]))  # itself, if visible
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
