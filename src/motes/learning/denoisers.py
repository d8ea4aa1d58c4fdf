"""A network plus a schedule: learned denoisers.

x0_hat = denoiser(x_t, t), an estimate of E[x_0 | x_t]

They differ in what the network says: eps, x_0, v or the velocity, from x_t and t as they are, or, preconditioned, the
part of x_0 that x_t itself, or a Gaussian law, does not tell. Any of them works under any schedule; what is easy to
learn depends on it: x_t should keep a spread near 1 (not so where noise explodes), and so should the target (a velocity
does along straight lines, and has no bound at t = 0 where variance is preserved). `Preconditioned` sees to both under
every schedule. `Conditional` makes any of them one that can be told classes and cells.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from motes.diffusion.denoiser import Cells, Denoiser, Given, Settled, VarianceDenoiser
from motes.diffusion.process import (
    eps_from_v,
    eps_from_velocity,
    log_variance_between,
    x0_from_eps,
    x0_from_v,
    x0_from_velocity,
)
from motes.diffusion.schedules import Schedule
from motes.learning.gaussian import Gaussian

JITTER = 1e-6  # of the sum of all variances

Network = Callable[..., jax.Array]
"""(x (d,), time feature ()) -> (d,); any Equinox module with this call will do. Some take a context (c,) as well."""


class Learned(Denoiser):
    """A denoiser with a network in it."""

    network: eqx.AbstractVar[Network]

    def in_context(self, context: jax.Array, cells: Cells | None) -> "Learned":
        """With a network that is told `context` as its third input, and the cells of a row, where they are known."""
        return eqx.tree_at(lambda denoiser: denoiser.network, self, InContext(self.network, context, cells))


class NoisePredictor(Learned):
    """The network gives eps_hat from x_t and t (Ho et al. 2020)."""

    network: Network
    schedule: Schedule

    def __call__(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        return self.x0_and_eps(x_t, t)[0]

    def x0_and_eps(self, x_t: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        eps = self.network(x_t, t)
        return x0_from_eps(self.schedule, x_t, eps, t), eps


class X0Predictor(Learned):
    """The network gives x0_hat from x_t and t (Salimans & Ho 2022, section 4)."""

    network: Network
    schedule: Schedule

    def __call__(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        return self.network(x_t, t)


class VPredictor(Learned):
    """The network gives v_hat from x_t and t (Salimans & Ho 2022, section 4)."""

    network: Network
    schedule: Schedule

    def __call__(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        return self.x0_and_eps(x_t, t)[0]

    def x0_and_eps(self, x_t: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        v = self.v(x_t, t)
        return x0_from_v(self.schedule, x_t, v, t), eps_from_v(self.schedule, x_t, v, t)

    def v(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        return self.network(x_t, t)


class VelocityPredictor(Learned):
    """The network gives the velocity of the probability flow from x_t and t (Lipman et al. 2023; Liu et al. 2022)."""

    network: Network
    schedule: Schedule

    def __call__(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        return self.x0_and_eps(x_t, t)[0]

    def x0_and_eps(self, x_t: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        u = self.velocity(x_t, t)
        return x0_from_velocity(self.schedule, x_t, u, t), eps_from_velocity(self.schedule, x_t, u, t)

    def velocity(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        return self.network(x_t, t)


class Preconditioned(Learned):
    """The network's input and output are scaled to unit variance at every t (Karras et al. 2022, eq. 7, table 1).

    With the noise-to-signal ratio r = sigma_t / alpha_t and y = x_t / alpha_t,
    x0_hat = c_skip y + c_out F(c_in y, log(r) / 4), for data of standard deviation `sigma_data`.
    """

    network: Network
    schedule: Schedule
    sigma_data: float = eqx.field(static=True, default=1.0)

    def __call__(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        alpha = self.schedule.alpha(t)
        y = x_t / alpha
        ratio = self.schedule.sigma(t) / alpha
        total = jnp.sqrt(ratio**2 + self.sigma_data**2)
        # At t = 0 the network does not count, c_out = 0; the floor keeps its input finite.
        c_noise = jnp.log(jnp.maximum(ratio, 1e-6)) / 4
        c_skip, c_out = (self.sigma_data / total) ** 2, ratio * self.sigma_data / total
        return c_skip * y + c_out * self.network(y / total, c_noise)


class GaussianPreconditioned(Learned):
    """The network adds to what a Gaussian law of the data would tell: a silent one is exact for Gaussian data.

    In the principal axes of the law's covariance, with variances lambda, and w = axes^T (y - mean), it has the
    direction i scaled to unit variance at every t, and so has its own answer:

        eps_hat = axes (r / (lambda + r^2) w - sqrt(lambda / (lambda + r^2)) F(w / sqrt(lambda + r^2), log(r) / 4))

    and x0_hat = y - r eps_hat, r = sigma_t / alpha_t and y = x_t / alpha_t as in `Preconditioned`, which is the case of
    N(0, sigma_data^2 I). Columns that depend on each other linearly thus cost a network nothing.

    Of known and absent `cells` the Gaussian part makes all that a Gaussian can: it is the law given the known cells.
    """

    network: Network
    schedule: Schedule
    law: Gaussian
    cells: Cells | None = None

    def in_context(self, context: jax.Array, cells: Cells | None) -> "Learned":
        return GaussianPreconditioned(
            network=InContext(self.network, context), schedule=self.schedule, law=self.law, cells=cells
        )

    def __call__(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        return self.x0_and_eps(x_t, t)[0]

    def x0_and_eps(self, x_t: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        alpha, law = self.schedule.alpha(t), self.law
        y, ratio = x_t / alpha, self.schedule.sigma(t) / alpha
        away, total = y - law.mean, law.variances + ratio**2
        pull = law.axes @ (law.axes.T @ away / total)  # -score of the law blurred by r
        if self.cells is not None:
            solved = _given_cells(law, self.cells, away, ratio)
            told = self.cells.settled.any()
            away, pull = (jnp.where(told, ours, plain) for ours, plain in zip(solved, (away, pull), strict=True))
        said = self.network(law.axes.T @ away / jnp.sqrt(total), jnp.log(jnp.maximum(ratio, 1e-6)) / 4)
        eps = ratio * pull - law.axes @ (jnp.sqrt(law.variances / total) * said)
        return y - ratio * eps, eps


def _given_cells(law: Gaussian, cells: Cells, away: jax.Array, ratio: jax.Array) -> tuple[jax.Array, jax.Array]:
    """x - mean with known values and, for the absent ones, what is expected; and (C + R)^-1 of it where it is seen.

    C is the covariance, R the variance of the noise: r^2 where a cell is asked for, none where it is known.
    """
    seen = ~cells.absent
    away = jnp.where(seen, jnp.where(cells.known, cells.values - law.mean, away), 0.0)
    covariance = law.covariance * jnp.outer(seen, seen)
    noise = jnp.where(seen, jnp.where(cells.known, 0.0, ratio**2), 1.0)
    # Rounding must not make it indefinite; the network mends what this costs.
    jitter = JITTER * law.variances.sum()
    factor = jax.scipy.linalg.cho_factor(covariance + jnp.diag(noise + jitter), lower=True)
    pull = jax.scipy.linalg.cho_solve(factor, away)
    return jnp.where(seen, away, law.covariance @ pull), pull


class InContext(eqx.Module):
    """A network whose third input is set, and of its first one the cells that are settled."""

    network: Network
    context: jax.Array
    cells: Cells | None = None

    def __call__(self, x: jax.Array, time: jax.Array) -> jax.Array:
        if self.cells is not None:
            x = jnp.where(self.cells.settled, self.cells.values, x)
        return self.network(x, time, self.context)


class Conditional(Denoiser):
    """E[x_0 | x_t, label, known cells]: the network of `denoiser` is told what is known as a third input.

    That is the class, one-hot, and for each of `columns` whether its cell is known, and whether it is absent. Known
    values stand in the place of noisy ones. Zeros are the answer for all classes together, and for no cell known: it
    learns them from rows whose label is withheld (Ho & Salimans 2022), and from rows shown without cells.
    """

    denoiser: Learned
    classes: int = eqx.field(static=True)
    columns: int = eqx.field(static=True)
    schedule: Schedule

    def __init__(self, denoiser: Learned, classes: int = 0, columns: int = 0):
        self.denoiser, self.classes, self.columns = denoiser, classes, columns
        self.schedule = denoiser.schedule

    @staticmethod
    def context(classes: int, columns: int) -> int:
        """How long the third input of the network is."""
        return classes + 2 * columns

    def given(self, known: Given) -> Denoiser:
        label = jnp.array(-1) if known.label is None else known.label
        context = jax.nn.one_hot(label, self.classes)
        cells = known.cells
        if self.columns:
            nothing = jnp.zeros(self.columns, bool)
            flags = jnp.concatenate([cells.known, cells.absent] if cells else [nothing, nothing])
            context = jnp.concatenate([context, flags.astype(context.dtype)])
        elif cells is not None:
            raise TypeError("this network was not trained with masks, and can be told no cells of a row.")
        told = self.denoiser.in_context(context, cells)
        return told if cells is None else Settled(told, cells)

    def __call__(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        return self.x0_and_eps(x_t, t)[0]

    def x0_and_eps(self, x_t: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        return self.given(Given()).x0_and_eps(x_t, t)


class Half(eqx.Module):
    """The first or the second d of the 2 d numbers that a network gives for a point (d,)."""

    network: Network
    second: bool = eqx.field(static=True)

    def __call__(self, x: jax.Array, time: jax.Array) -> jax.Array:
        said = self.network(x, time)
        return said[x.size :] if self.second else said[: x.size]


class LearnedVariance(VarianceDenoiser):
    """The network gives 2 d numbers from x_t and t: what `kind` reads as x0_hat, and v, which says how wide a step is.

    The variance lies a share (v + 1) / 2 of the way from the posterior's to beta, in logarithms; v = -1 and v = 1 are
    the two, and nothing keeps v between them (Nichol & Dhariwal 2021, eq. 15).
    """

    network: Network
    schedule: Schedule
    kind: Callable[..., Denoiser] = eqx.field(static=True, default=NoisePredictor)

    def __call__(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        return self._mean(x_t, t)

    def x0_and_eps(self, x_t: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        return self._mean.x0_and_eps(x_t, t)

    def log_variance(self, x_t: jax.Array, t: jax.Array, s: jax.Array) -> jax.Array:
        v = Half(self.network, second=True)(x_t, t)
        return log_variance_between(self.schedule, (v + 1) / 2, t, s)

    @property
    def _mean(self) -> Denoiser:
        return self.kind(network=Half(self.network, second=False), schedule=self.schedule)


DENOISERS: dict[str, Callable[..., Learned]] = {
    "eps": NoisePredictor,
    "x0": X0Predictor,
    "v": VPredictor,
    "velocity": VelocityPredictor,
    "edm": Preconditioned,
}
