"""Losses: what training minimises, the variational bound, and targets with less noise than x_0.

    L_simple = E |eps - eps_hat(alpha_t x_0 + sigma_t eps, t)|^2        (Ho et al. 2020, eq. 14)

and its relatives E w |x_0 - x0_hat(x_t, t)|^2, which differ in the weight w and have the same optimum, E[x_0 | x_t].
With SNR = alpha_t^2 / sigma_t^2, L_simple is that of w = SNR, since alpha_t (x_0 - x0_hat) = sigma_t (eps_hat - eps).

A loss acts on one row and returns named terms; the trainer sums the terms and takes the mean over rows. Anything of
this signature is a loss: `loss(denoiser, x0 (d,), t (), eps (d,)) -> {"name": ()}`. One that is a squared error of
x_0 says so, `squared`: the mean of x_0 over the rows of a batch is then as good a target (`stable_target`).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.errors import UsageError
from motes.points.denoisers import Denoiser, VarianceDenoiser
from motes.points.process import log_variance_between, q_posterior, q_sample, q_transition
from motes.points.schedules import DiscreteVP, Schedule
from motes.ranges import check_fields, number

Loss = Callable[[Denoiser, jax.Array, jax.Array, jax.Array], dict[str, jax.Array]]


class Simple(eqx.Module):
    """Squared error of the noise, the mean over columns: the simple loss.

    Example:
        >>> from motes.points import GaussianOracle, Simple, VarianceExploding
        >>> denoiser = GaussianOracle([0.0], [[1.0]], VarianceExploding(sigma_max=1.0))
        >>> terms = Simple()(denoiser, jnp.array([1.0]), jnp.array(1.0), jnp.array([0.0]))  # x_t = 1, eps_hat = 0.5
        >>> print(terms["eps"].round(4))
        0.25
    """

    squared: ClassVar[bool] = True

    def __call__(self, denoiser: Denoiser, x0: jax.Array, t: jax.Array, eps: jax.Array) -> dict[str, jax.Array]:
        x_t = q_sample(denoiser.schedule, x0, t, eps)
        return {"eps": jnp.mean((denoiser.eps(x_t, t) - eps) ** 2)}


# --- squared errors of x_0 with a weight --------------------------------------------------------------------------


class Weighted(eqx.Module):
    """Squared error of x_0 times a weight, the mean over columns; a new one is its weight.

    Example:
        >>> from motes.points import VarianceExploding, Weighted
        >>> class Flat(Weighted):
        ...     def weight(self, schedule, t):
        ...         return jnp.ones_like(t)
        >>> print(Flat().weight(VarianceExploding(), jnp.array(0.5)))
        1.0
    """

    squared: ClassVar[bool] = True

    def __check_init__(self) -> None:
        check_fields(self)

    @abstractmethod
    def weight(self, schedule: Schedule, t: jax.Array) -> jax.Array:
        """w, a number, at the time t ().

        Example:
            >>> from motes.points import VarianceExploding
            >>> from motes.points.losses import SNR
            >>> print(SNR().weight(VarianceExploding(sigma_max=2.0), jnp.array(1.0)).round(4))  # 1 / 2^2
            0.25
        """

    def __call__(self, denoiser: Denoiser, x0: jax.Array, t: jax.Array, eps: jax.Array) -> dict[str, jax.Array]:
        x_t = q_sample(denoiser.schedule, x0, t, eps)
        return {"x0": self.weight(denoiser.schedule, t) * jnp.mean((denoiser(x_t, t) - x0) ** 2)}


def snr(schedule: Schedule, t: jax.Array) -> jax.Array:
    """alpha_t^2 / sigma_t^2."""
    return jnp.exp(schedule.log_snr(t))


class EDM(Weighted):
    """w = SNR + 1 = (r^2 + 1) / r^2 with r = sigma_t / alpha_t.

    It makes a fresh network's loss 1 at every t, for data of unit variance (Karras et al. 2022, table 1).

    Example:
        >>> from motes.points import EDM, VarianceExploding
        >>> print(EDM().weight(VarianceExploding(sigma_max=2.0), jnp.array(1.0)).round(4))
        1.25
    """

    def weight(self, schedule: Schedule, t: jax.Array) -> jax.Array:
        return 1 + snr(schedule, t)


class X0(Weighted):
    """w = 1: the error of x_0 as it is. Little noise counts for next to nothing.

    Example:
        >>> from motes.points import VarianceExploding
        >>> from motes.points.losses import X0
        >>> print(X0().weight(VarianceExploding(), jnp.array(1.0)))
        1.0
    """

    def weight(self, schedule: Schedule, t: jax.Array) -> jax.Array:
        return jnp.ones_like(t)


class SNR(Weighted):
    """w = SNR: `Simple`, computed from x0_hat.

    Example:
        >>> from motes.points import VarianceExploding
        >>> from motes.points.losses import SNR
        >>> print(SNR().weight(VarianceExploding(sigma_max=2.0), jnp.array(1.0)).round(4))
        0.25
    """

    def weight(self, schedule: Schedule, t: jax.Array) -> jax.Array:
        return snr(schedule, t)


class TruncatedSNR(Weighted):
    """w = max(SNR, 1), so that nearly pure noise counts too (Salimans & Ho 2022, section 4).

    Example:
        >>> from motes.points import VarianceExploding
        >>> from motes.points.losses import TruncatedSNR
        >>> print(TruncatedSNR().weight(VarianceExploding(sigma_max=2.0), jnp.array(1.0)))
        1.0
    """

    def weight(self, schedule: Schedule, t: jax.Array) -> jax.Array:
        return jnp.maximum(snr(schedule, t), 1)


class MinSNR(Weighted):
    """w = min(SNR, gamma), so that little noise does not count for all (Hang et al. 2023).

    Example:
        >>> from motes.points import VarianceExploding
        >>> from motes.points.losses import MinSNR
        >>> print(MinSNR(gamma=5.0).weight(VarianceExploding(), jnp.array(0.1)))
        5.0
    """

    gamma: float = number(5.0, 0, 1e9, open_low=True)

    def weight(self, schedule: Schedule, t: jax.Array) -> jax.Array:
        return jnp.minimum(snr(schedule, t), self.gamma)


class ELBO(Weighted):
    """w = -(dSNR/dt) / 2: the variational bound of infinitely many steps (Kingma et al. 2021, section 5).

    With t uniform on [s, 1] the expected loss times (1 - s) is the part of the bound between these times, in nats a
    column. With any other distribution of t it is another loss.

    Example:
        >>> from motes.points import RectifiedFlow
        >>> from motes.points.losses import ELBO
        >>> print(ELBO().weight(RectifiedFlow(), jnp.array(0.5)).round(2))
        4.12
    """

    def weight(self, schedule: Schedule, t: jax.Array) -> jax.Array:
        alpha_rate, sigma_rate = schedule.rates(t)
        return snr(schedule, t) * (sigma_rate / schedule.sigma(t) - alpha_rate / schedule.alpha(t))


# --- The variational bound of Sohl-Dickstein et al. 2015, term by term (Ho et al. 2020, eq. 5) ----------------------
#
#     -log p(x_0) <= KL(q(x_T|x_0) || p(x_T)) + sum_k KL(q(x_{k-1}|x_k,x_0) || p(x_{k-1}|x_k)) - log p(x_0|x_1)
#                    prior                      one per step                                    reconstruction
#
# Points are real numbers, so the decoder p(x_0|x_1) is the Gaussian of the last reverse step, not images' 8-bit one.


Variance = Literal["beta", "posterior", "learned"]
SHARES = {"beta": 1.0, "posterior": 0.0}  # of log beta in the log of the variance


class Bound(NamedTuple):
    """Terms in nats, one row per point; smaller is better. `kl[:, k-1]` belongs to the step from x_{k+1} to x_k.

    Example:
        >>> from motes.points import GaussianOracle, LinearBetas, variational_bound
        >>> oracle = GaussianOracle([0.0], [[1.0]], LinearBetas(4, 0.1, 0.5).schedule())
        >>> bound = variational_bound(oracle, np.zeros((3, 1)), key=jax.random.key(0))
        >>> bound.nats.shape, bound.bits_per_dim.shape
        ((3,), (3,))
    """

    prior: NDArray[np.float32]  # (n,)
    kl: NDArray[np.float32]  # (n, T-1), k = 1 ... T-1
    reconstruction: NDArray[np.float32]  # (n,)
    dim: int

    def __repr__(self) -> str:
        return f"Bound({len(self.prior):,} rows, mean {self.nats.mean():.4g} nats)"

    @property
    def nats(self) -> NDArray[np.float32]:
        """The whole bound on -log p(x_0), (n,) in nats."""
        return self.prior + self.kl.sum(axis=1) + self.reconstruction

    @property
    def bits_per_dim(self) -> NDArray[np.float32]:
        """The whole bound, (n,) in bits per column."""
        return self.nats / (self.dim * math.log(2))


def variational_bound(
    denoiser: Denoiser, x0: ArrayLike, *, key: jax.Array, variance: Variance = "beta", draws: int = 1
) -> Bound:
    """Estimate the bound for each row, with `draws` noisy x_t per step.

    Args:
        denoiser: one with a discrete schedule.
        x0: points (n, d) in the units that the denoiser was trained in.
        key: randomness of x_t.
        variance: of the reverse step, beta, that of the posterior (clipped at the last step), or the denoiser's own.
        draws: more make each term less noisy; the terms stay unbiased.

    Raises:
        TypeError: a schedule without steps.
        UsageError: the learned variance of a denoiser that has learned none.
        ValueError: another variance.

    Example:
        >>> from motes.points import GaussianOracle, LinearBetas, variational_bound
        >>> oracle = GaussianOracle([0.0], [[1.0]], LinearBetas(100).schedule())
        >>> x0 = np.random.default_rng(0).standard_normal((500, 1))
        >>> bound = variational_bound(oracle, x0, key=jax.random.key(0))
        >>> bound.nats.mean().round(1)  # the entropy of N(0, 1) is 1.42
        np.float32(1.4)
    """
    schedule = denoiser.schedule
    if not isinstance(schedule, DiscreteVP):
        raise TypeError(
            f"the bound is a sum over steps; expected a DiscreteVP schedule, got {type(schedule).__name__}."
        )
    check_variance(variance)
    if variance == "learned":
        check_knows_variance(denoiser)
    points = jnp.asarray(x0, dtype=float)
    terms = _terms(denoiser, points, key, variance, draws)
    prior, steps = (np.asarray(term) for term in terms)
    return Bound(prior, steps[1:].T, steps[0], points.shape[1])


def step_term(
    schedule: Schedule,
    x_t: jax.Array,
    x0: jax.Array,
    x0_hat: jax.Array,
    log_variance: jax.Array,
    t: jax.Array,
    s: jax.Array,
) -> jax.Array:
    """What the step from x_t to x_s adds to the bound, column by column, (d,) in nats.

    It is KL(q(x_s|x_t,x_0) || p(x_s|x_t)), or -log p(x_0|x_t) where s = 0; `log_variance` is that of p, (d,) or ().
    """
    truth, guess = q_posterior(schedule, x_t, x0, t, s), q_posterior(schedule, x_t, x0_hat, t, s)
    error = (truth.mean - guess.mean) ** 2 * jnp.exp(-log_variance)
    gap = jnp.log(truth.variance) - log_variance  # -inf at s = 0
    return 0.5 * jnp.where(s > 0, error + jnp.expm1(gap) - gap, error + jnp.log(2 * jnp.pi) + log_variance)


def check_variance(variance: str) -> None:
    """Raise ValueError unless `variance` is one that a reverse step can have."""
    if variance not in get_args(Variance):
        raise ValueError(f"variance = {variance!r}; expected 'beta', 'posterior' or 'learned'.")


def check_knows_variance(denoiser: Denoiser) -> None:
    """Raise UsageError unless `denoiser` knows how wide a reverse step is."""
    if not isinstance(denoiser, VarianceDenoiser):
        raise UsageError(
            f"variance = 'learned' is the denoiser's own, and {type(denoiser).__name__} knows none. Train with "
            "denoiser.variance = 'learned' and loss.kind = 'hybrid', or take 'beta' or 'posterior'."
        )


@eqx.filter_jit
def _terms(
    denoiser: Denoiser, x0: jax.Array, key: jax.Array, variance: Variance, draws: int
) -> tuple[jax.Array, jax.Array]:
    schedule = denoiser.schedule
    assert isinstance(schedule, DiscreteVP)

    def term(k: jax.Array, point: jax.Array, key: jax.Array) -> jax.Array:
        # One step of one point from one draw of x_t: the KL, or -log p(x_0|x_1) where k = 0.
        t, s = schedule.t_of_step(k), k / schedule.steps
        x_t = q_sample(schedule, point, t, jax.random.normal(key, point.shape))
        if variance == "learned":
            assert isinstance(denoiser, VarianceDenoiser)
            log_variance = denoiser.log_variance(x_t, t, s)
        else:
            log_variance = log_variance_between(schedule, SHARES[variance], t, s)
        return jnp.sum(step_term(schedule, x_t, point, denoiser(x_t, t), log_variance, t, s))

    def step(k: jax.Array) -> jax.Array:
        keys = jax.random.split(jax.random.fold_in(key, k), (draws, len(x0)))
        per_draw = jax.vmap(jax.vmap(term, (None, 0, 0)), (None, None, 0))(k, x0, keys)  # (draws, n)
        return per_draw.mean(axis=0)

    def prior(point: jax.Array) -> jax.Array:
        q = q_transition(schedule, point, jnp.zeros(()), jnp.ones(()))
        return 0.5 * jnp.sum(q.mean**2 + q.variance - 1 - jnp.log(q.variance))

    return jax.vmap(prior)(x0), jax.lax.map(step, jnp.arange(schedule.steps))  # (n,), (T, n)


# --- the variance of a reverse step as well ----------------------------------------------------------------------


class Hybrid(eqx.Module):
    """L_simple + weight L_vlb, for a denoiser that learns the variance of its steps (Nichol & Dhariwal 2021, eq. 16).

    L_vlb is the variational bound without its prior, T times one step's term, in nats a column. It teaches the variance
    alone: x0_hat in it is held fixed. t must be one of the schedule's steps.

    Example:
        >>> changes = {"denoiser.variance": "learned", "loss.kind": "hybrid", "loss.weight": 0.01}
        >>> motes.load_recipe("ddpm", changes).loss
        Hybrid(weight=0.01)
    """

    weight: float = number(0.001, 0, 1e9, open_low=True)

    def __check_init__(self) -> None:
        check_fields(self)

    def __call__(self, denoiser: Denoiser, x0: jax.Array, t: jax.Array, eps: jax.Array) -> dict[str, jax.Array]:
        schedule = denoiser.schedule
        assert isinstance(denoiser, VarianceDenoiser) and isinstance(schedule, DiscreteVP)
        x_t, s = q_sample(schedule, x0, t, eps), (jnp.round(t * schedule.steps) - 1) / schedule.steps
        x0_hat, eps_hat = denoiser.x0_and_eps(x_t, t)
        log_variance = denoiser.log_variance(x_t, t, s)
        term = step_term(schedule, x_t, x0, jax.lax.stop_gradient(x0_hat), log_variance, t, s)  # (d,)
        return {"eps": jnp.mean((eps_hat - eps) ** 2), "vlb": self.weight * schedule.steps * jnp.mean(term)}


# --- Targets with less noise than x_0: its mean over the rows of the batch, given x_t -------------------------------
#
#     x_0*_i = sum_j w_ij x_j,    w_ij ~ exp(-|x_t_i - alpha_t x_j|^2 / (2 sigma_t^2)),    j over the batch
#
# A batch and x_t do not tell which of its rows was noised: row j with probability w_ij. So the mean over them has the
# expected gradient of x_0 itself, and less noise (Rao-Blackwell; a stable target field, Xu et al. 2023,
# "Stable target field for reduced variance score estimation in diffusion models").


GROUP = 512  # rows of a batch that may stand for each other


class Target(NamedTuple):
    """What the rows of a batch regress on.

    Attributes:
        x0: (b, d).
        eps: (b, d), the noise that leads from there to the same x_t.
        deviation: (b,), the standard deviation of x_0 around it, the same in each column.
    """

    x0: jax.Array
    eps: jax.Array
    deviation: jax.Array


def stable_target(schedule: Schedule, x0: jax.Array, t: jax.Array, eps: jax.Array, alike: jax.Array) -> Target:
    """The mean of x_0 over the batch for each row noised by `eps` (b, d) at its time t (b,).

    Args:
        schedule: of the noise.
        x0: rows of the batch (b, d).
        t, eps: of each row.
        alike: (b, b), whether row i may have been row j; it may have been itself.
    """
    alpha, sigma = schedule.alpha(t)[:, None], schedule.sigma(t)[:, None]

    def add(sums: tuple[jax.Array, jax.Array], column: tuple[jax.Array, jax.Array]) -> tuple[Any, None]:
        x, noise = column
        apart = x[:, None] - x  # differences from row i: squares of x_t would lose little noise in rounding
        return (sums[0] + apart**2, sums[1] + noise[:, None] * apart), None

    nothing = jnp.zeros(alike.shape, x0.dtype)
    # Column by column: a sum over the last axis of (b, b, d) takes four times as long.
    (square, along), _ = jax.lax.scan(add, (nothing, nothing), (x0.T, eps.T), unroll=min(len(x0.T), 8))
    logits = -(alpha / sigma) * (alpha / sigma * square / 2 + along)
    weights = jax.nn.softmax(jnp.where(alike, logits, -jnp.inf), axis=1)
    mean = weights @ x0
    moved = x0 - mean
    variance = jnp.sum(weights * square, axis=1) - jnp.sum(moved**2, axis=1)
    deviation = jnp.sqrt(jnp.maximum(variance, 0) / x0.shape[1])
    return Target(mean, eps + alpha / sigma * moved, deviation)


def in_groups(function: Callable[..., Any], rows: Any, among: jax.Array) -> Any:
    """`function(*rows, among)` of groups of a batch, at most `GROUP` rows each, so that its cost grows with the batch.

    `rows` and what the function gives have an axis of the batch; `among` (b,) is false for rows that do not count.
    """
    count = -(-len(among) // GROUP)
    if count == 1:
        return function(*rows, among)
    more = -len(among) % count

    def divided(part: jax.Array, mode: str = "edge") -> jax.Array:
        return jnp.pad(part, ((0, more), *[(0, 0)] * (part.ndim - 1)), mode).reshape(count, -1, *part.shape[1:])

    groups = jax.tree.map(divided, rows), divided(among, "constant")
    found = jax.lax.map(lambda group: function(*group[0], group[1]), groups)
    return jax.tree.map(lambda part: part.reshape(-1, *part.shape[2:])[: len(among)], found)


class Constant(Denoiser):
    """x_0 is the same whatever x_t."""

    schedule: Schedule
    x0: jax.Array

    def __call__(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        return self.x0


LOSSES: dict[str, type] = {
    "simple": Simple,
    "edm": EDM,
    "x0": X0,
    "snr": SNR,
    "truncated_snr": TruncatedSNR,
    "elbo": ELBO,
    "min_snr": MinSNR,
    "hybrid": Hybrid,
}
"""`[loss]` of a recipe."""
