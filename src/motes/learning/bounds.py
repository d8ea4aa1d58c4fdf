"""The variational bound of Sohl-Dickstein et al. 2015, term by term (Ho et al. 2020, eq. 5).

    -log p(x_0) <= KL(q(x_T|x_0) || p(x_T)) + sum_k KL(q(x_{k-1}|x_k,x_0) || p(x_{k-1}|x_k)) - log p(x_0|x_1)
                   prior                      one per step                                    reconstruction

Points are real numbers, so the decoder p(x_0|x_1) is the Gaussian of the last reverse step, not images' 8-bit one.
"""

import math
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.diffusion.denoiser import Denoiser
from motes.diffusion.process import q_posterior, q_sample, q_transition
from motes.diffusion.schedules import DiscreteVP

Variance = Literal["beta", "posterior"]


class Bound(NamedTuple):
    """Terms in nats, one row per point; smaller is better. `kl[:, k-1]` belongs to the step from x_{k+1} to x_k."""

    prior: NDArray[np.float32]  # (n,)
    kl: NDArray[np.float32]  # (n, T-1), k = 1 ... T-1
    reconstruction: NDArray[np.float32]  # (n,)
    dim: int

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
        variance: of the reverse step, beta or that of the posterior (clipped at the last step), as when sampling.
        draws: more make each term less noisy; the terms stay unbiased.

    Raises:
        TypeError: a schedule without steps.
        ValueError: another variance.
    """
    schedule = denoiser.schedule
    if not isinstance(schedule, DiscreteVP):
        raise TypeError(
            f"the bound is a sum over steps; expected a DiscreteVP schedule, got {type(schedule).__name__}."
        )
    if variance not in ("beta", "posterior"):
        raise ValueError(f"variance = {variance!r}; expected 'beta' or 'posterior'.")
    points = jnp.asarray(x0, dtype=float)
    terms = _terms(denoiser, points, key, variance, draws)
    prior, steps = (np.asarray(term) for term in terms)
    return Bound(prior, steps[1:].T, steps[0], points.shape[1])


@eqx.filter_jit
def _terms(
    denoiser: Denoiser, x0: jax.Array, key: jax.Array, variance: Variance, draws: int
) -> tuple[jax.Array, jax.Array]:
    schedule = denoiser.schedule
    assert isinstance(schedule, DiscreteVP)
    log_clipped = jnp.asarray(schedule.posterior_log_variance_clipped)

    def term(k: jax.Array, point: jax.Array, key: jax.Array) -> jax.Array:
        # One step of one point from one draw of x_t: the KL, or -log p(x_0|x_1) where k = 0.
        t, s = schedule.t_of_step(k), k / schedule.steps
        x_t = q_sample(schedule, point, t, jax.random.normal(key, point.shape))
        truth = q_posterior(schedule, x_t, point, t, s)
        guess = q_posterior(schedule, x_t, denoiser(x_t, t), t, s)
        spread = q_transition(schedule, x_t, s, t).variance if variance == "beta" else jnp.exp(log_clipped[k])
        error = jnp.sum((truth.mean - guess.mean) ** 2) / spread
        ratio = truth.variance / spread
        kl = 0.5 * (error + point.size * (ratio - 1 - jnp.log(ratio)))
        nll = 0.5 * (error + point.size * jnp.log(2 * jnp.pi * spread))
        return jnp.where(k == 0, nll, kl)

    def step(k: jax.Array) -> jax.Array:
        keys = jax.random.split(jax.random.fold_in(key, k), (draws, len(x0)))
        per_draw = jax.vmap(jax.vmap(term, (None, 0, 0)), (None, None, 0))(k, x0, keys)  # (draws, n)
        return per_draw.mean(axis=0)

    def prior(point: jax.Array) -> jax.Array:
        q = q_transition(schedule, point, jnp.zeros(()), jnp.ones(()))
        return 0.5 * jnp.sum(q.mean**2 + q.variance - 1 - jnp.log(q.variance))

    return jax.vmap(prior)(x0), jax.lax.map(step, jnp.arange(schedule.steps))  # (n,), (T, n)
