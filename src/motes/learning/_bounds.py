"""The variational bound of Sohl-Dickstein et al. 2015, term by term (Ho et al. 2020, eq. 5).

    -log p(x_0) <= KL(q(x_T|x_0) || p(x_T)) + sum_k KL(q(x_{k-1}|x_k,x_0) || p(x_{k-1}|x_k)) - log p(x_0|x_1)
                   prior                      one per step                                    reconstruction

Points are real numbers, so the decoder p(x_0|x_1) is the Gaussian of the last reverse step, not images' 8-bit one.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.diffusion._denoiser import Denoiser, VarianceDenoiser
from motes.diffusion._process import log_variance_between, q_posterior, q_sample, q_transition
from motes.diffusion._schedules import DiscreteVP, Schedule
from motes.errors import UsageError

Variance = Literal["beta", "posterior", "learned"]
SHARES = {"beta": 1.0, "posterior": 0.0}  # of log beta in the log of the variance


class Bound(NamedTuple):
    """Terms in nats, one row per point; smaller is better. `kl[:, k-1]` belongs to the step from x_{k+1} to x_k.

    Example:
        >>> from motes.diffusion import GaussianOracle, LinearBetas
        >>> from motes.learning import variational_bound
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
        >>> from motes.diffusion import GaussianOracle, LinearBetas
        >>> from motes.learning import variational_bound
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
