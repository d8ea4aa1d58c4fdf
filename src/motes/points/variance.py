"""Variances of reverse steps, fixed or learned; the variational bound; and the loss that trains learned variances.

    -log p(x_0) <= KL(q(x_T|x_0) || p(x_T)) + sum_k KL(q(x_{k-1}|x_k,x_0) || p(x_{k-1}|x_k)) - log p(x_0|x_1)
                   prior                      one per step                                    reconstruction

(Sohl-Dickstein et al. 2015; Ho et al. 2020, eq. 5.) Points are real numbers, so the decoder p(x_0|x_1) is the Gaussian
of the last reverse step, not the 8-bit decoder of images. The bound, estimated step by step, also trains a network's
step variances (Nichol & Dhariwal 2021).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray

from motes.errors import UsageError
from motes.points.denoisers import Denoiser, JointDenoiser, Network, NoisePredictor, VarianceDenoiser
from motes.points.process import q_posterior, q_sample, q_transition
from motes.points.schedules import DiscreteVP, Schedule
from motes.ranges import CheckedModule, number

Variance = Literal["beta", "posterior", "learned"]
SHARES = {"beta": 1.0, "posterior": 0.0}  # of log beta in the log of the variance


def log_variance_between(schedule: Schedule, share: Array | float, t: Array | float, s: Array | float) -> Array:
    """Return share log beta + (1 - share) log of the posterior's variance, for s < t (Nichol & Dhariwal 2021, eq. 15).

    beta is the variance of q(x_t | x_s). At s = 0, where the posterior's variance is 0, the variance of the previous
    step, from min(2t, 1) to t, is used instead; beta if there is no previous step.
    """
    nothing, last, before = jnp.zeros(()), jnp.asarray(s) <= 0, jnp.minimum(2 * jnp.asarray(t), 1)
    beta = q_transition(schedule, nothing, s, t).variance
    least = q_posterior(schedule, nothing, nothing, jnp.where(last, before, t), jnp.where(last, t, s)).variance
    return share * jnp.log(beta) + (1 - share) * jnp.log(jnp.where(last & (before <= t), beta, least))


class LearnedVariance(JointDenoiser, VarianceDenoiser):
    """A denoiser whose network returns 2 d numbers: the prediction of `kind`, and v, which sets the step variance.

    The log of the variance is interpolated with share (v + 1) / 2 between the posterior's variance (v = -1) and beta
    (v = 1); v is not bounded (Nichol & Dhariwal 2021, eq. 15).

    Example:
        >>> recipe = motes.load_recipe("ddpm", {"denoiser.variance": "learned", "loss.kind": "hybrid"})
        >>> denoiser = recipe.make_denoiser(dim=2, key=jax.random.key(0))
        >>> type(denoiser).__name__, denoiser.kind.__name__
        ('LearnedVariance', 'NoisePredictor')
    """

    network: Network
    schedule: Schedule
    kind: Callable[..., Denoiser] = eqx.field(static=True, default=NoisePredictor)

    def x0_and_eps(self, x_t: Array, t: Array) -> tuple[Array, Array]:
        mean = self.kind(network=lambda x, time: self.network(x, time)[: x.size], schedule=self.schedule)
        return mean.x0_and_eps(x_t, t)

    def log_variance(self, x_t: Array, t: Array, s: Array) -> Array:
        v = self.network(x_t, t)[x_t.size :]
        return log_variance_between(self.schedule, (v + 1) / 2, t, s)


def check_knows_variance(denoiser: Denoiser) -> None:
    """Raise UsageError unless `denoiser` estimates the variance of a reverse step."""
    if not isinstance(denoiser, VarianceDenoiser):
        raise UsageError(
            f"variance = 'learned' is the denoiser's own, and {type(denoiser).__name__} has none. Train with "
            "denoiser.variance = 'learned' and loss.kind = 'hybrid', or use 'beta' or 'posterior'."
        )


# --- The variational bound --------------------------------------------------------------------------------------------


class Bound(NamedTuple):
    """Terms of the variational bound in nats, one row per point; smaller is better.

    `kl[:, k-1]` belongs to the step from x_{k+1} to x_k.

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
    denoiser: Denoiser, x0: ArrayLike, *, key: Array, variance: Variance = "beta", draws: int = 1
) -> Bound:
    """Estimate the variational bound for each row, with `draws` noisy x_t per step.

    Args:
        denoiser: a denoiser with a discrete schedule.
        x0: points (n, d) in the units that the denoiser was trained in.
        key: random key of x_t.
        variance: variance of the reverse steps: "beta", "posterior" (clipped at the last step), or "learned", the
            denoiser's own.
        draws: more draws make each term less noisy; the terms are always unbiased.

    Raises:
        TypeError: a schedule without steps.
        UsageError: variance "learned" with a denoiser that has not learned one, or an unknown variance.

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
    if variance not in get_args(Variance):
        raise UsageError(f"variance = {variance!r}; expected one of {', '.join(get_args(Variance))}.")
    if variance == "learned":
        check_knows_variance(denoiser)
    points = jnp.asarray(x0, dtype=float)
    prior, steps = map(np.asarray, _compute_terms(denoiser, points, key, variance, draws))
    return Bound(prior, steps[1:].T, steps[0], points.shape[1])


def step_term(
    schedule: Schedule, x_t: Array, x0: Array, x0_hat: Array, log_variance: Array, t: Array, s: Array
) -> Array:
    """Return the term of the bound for the step from x_t to x_s, for each column (d,) in nats.

    It is KL(q(x_s|x_t,x_0) || p(x_s|x_t)), or -log p(x_0|x_t) if s = 0; `log_variance` is the log of the variance of p,
    (d,) or ().
    """
    truth, guess = q_posterior(schedule, x_t, x0, t, s), q_posterior(schedule, x_t, x0_hat, t, s)
    error = (truth.mean - guess.mean) ** 2 * jnp.exp(-log_variance)
    gap = jnp.log(truth.variance) - log_variance  # -inf at s = 0
    return 0.5 * jnp.where(s > 0, error + jnp.expm1(gap) - gap, error + jnp.log(2 * jnp.pi) + log_variance)


@eqx.filter_jit
def _compute_terms(denoiser: Denoiser, x0: Array, key: Array, variance: Variance, draws: int) -> tuple[Array, Array]:
    schedule = denoiser.schedule
    assert isinstance(schedule, DiscreteVP)

    def term(k: Array, point: Array, key: Array) -> Array:
        # One step of one point from one draw of x_t: the KL, or -log p(x_0|x_1) if k = 0.
        t, s = schedule.t_of_step(k), k / schedule.steps
        x_t = q_sample(schedule, point, t, jax.random.normal(key, point.shape))
        if variance == "learned":
            assert isinstance(denoiser, VarianceDenoiser)
            log_variance = denoiser.log_variance(x_t, t, s)
        else:
            log_variance = log_variance_between(schedule, SHARES[variance], t, s)
        return jnp.sum(step_term(schedule, x_t, point, denoiser(x_t, t), log_variance, t, s))

    def step(k: Array) -> Array:
        keys = jax.random.split(jax.random.fold_in(key, k), (draws, len(x0)))
        per_draw = jax.vmap(jax.vmap(term, (None, 0, 0)), (None, None, 0))(k, x0, keys)  # (draws, n)
        return per_draw.mean(axis=0)

    def prior(point: Array) -> Array:
        q = q_transition(schedule, point, jnp.zeros(()), jnp.ones(()))
        return 0.5 * jnp.sum(q.mean**2 + q.variance - 1 - jnp.log(q.variance))

    return jax.vmap(prior)(x0), jax.lax.map(step, jnp.arange(schedule.steps))  # (n,), (T, n)


# --- The loss of a denoiser with learned step variances ---------------------------------------------------------------


class Hybrid(CheckedModule):
    """The loss L_simple + weight L_vlb, for learned step variances (Nichol & Dhariwal 2021, eq. 16).

    L_vlb is the variational bound without its prior term, T times one step's term, in nats per column. It only trains
    the variance: x0_hat in it is held fixed. t must be one of the schedule's steps.

    Example:
        >>> changes = {"denoiser.variance": "learned", "loss.kind": "hybrid", "loss.weight": 0.01}
        >>> motes.load_recipe("ddpm", changes).loss
        Hybrid(weight=0.01)
    """

    weight: float = number(0.001, 0, 1e9, open_low=True)

    def __call__(self, denoiser: Denoiser, x0: Array, t: Array, eps: Array) -> dict[str, Array]:
        schedule = denoiser.schedule
        assert isinstance(denoiser, VarianceDenoiser) and isinstance(schedule, DiscreteVP)
        x_t, s = q_sample(schedule, x0, t, eps), (jnp.round(t * schedule.steps) - 1) / schedule.steps
        x0_hat, eps_hat = denoiser.x0_and_eps(x_t, t)
        log_variance = denoiser.log_variance(x_t, t, s)
        term = step_term(schedule, x_t, x0, jax.lax.stop_gradient(x0_hat), log_variance, t, s)  # (d,)
        return {"eps": jnp.mean((eps_hat - eps) ** 2), "vlb": self.weight * schedule.steps * jnp.mean(term)}
