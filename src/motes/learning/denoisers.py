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
from motes.learning.mixture import Mixture

FAR = 2.0  # noise, in standard deviations of the data
JITTER = 1e-6  # of the sum of all variances, added to each

Network = Callable[..., jax.Array]
"""(x (d,), time feature ()) -> (d,); any Equinox module with this call will do. Some take a context (c,) as well."""


class Learned(Denoiser):
    """A denoiser with a network in it."""

    network: eqx.AbstractVar[Network]

    def in_context(self, context: jax.Array, known: Given) -> "Learned":
        """With a network that is told `context`, which says what is `known`, as its third input; and known cells."""
        return eqx.tree_at(lambda denoiser: denoiser.network, self, InContext(self.network, context, known.cells))


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
    """The network adds to what a Gaussian, or a mixture of some, would tell: a silent one is exact for such data.

    With r = sigma_t / alpha_t and y = x_t / alpha_t as in `Preconditioned`, the mixture's mean and covariance C, its
    principal axes, and w = axes^T (C + r^2)^(-1/2) (y - mean), which has unit variance in every direction at every t,

        eps_hat = r pull(y, r) - (C (C + r^2)^-1)^(1/2) F(near [w, (y - mean) / sqrt(1 + r^2)], log(r) / 4)

    and x0_hat = y - r eps_hat. -pull is the score of the mixture blurred by r; of one Gaussian N(0, sigma_data^2 I) it
    is -y / (sigma_data^2 + r^2), and all this is `Preconditioned`. Columns that depend on each other linearly, and rows
    in a few heaps, thus cost a network nothing. It sees the columns as they are as well, since values that come up
    often, and the edges of a law, lie along these. So it takes 2 d numbers, and gives d.

    Of known and absent `cells` the mixture makes all that it can: it is the law given the known cells. For the rows of
    a class its components have the weights that they have there.
    """

    network: Network
    schedule: Schedule
    law: Mixture
    cells: Cells | None = None

    def in_context(self, context: jax.Array, known: Given) -> "Learned":
        told = InContext(self.network, context)
        law = self.law.given(known.label)
        return GaussianPreconditioned(network=told, schedule=self.schedule, law=law, cells=known.cells)

    def __call__(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        return self.x0_and_eps(x_t, t)[0]

    def x0_and_eps(self, x_t: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        alpha, law = self.schedule.alpha(t), self.law
        y, ratio = x_t / alpha, self.schedule.sigma(t) / alpha
        seen, pull = y, _pull(law, y, ratio)
        if self.cells is not None:
            told = self.cells.settled.any()
            filled = _pull_given(law, self.cells, y, ratio)
            seen, pull = (jnp.where(told, ours, plain) for ours, plain in zip(filled, (seen, pull), strict=True))
        away, total = seen - law.mean, law.variances + ratio**2
        inputs = [law.axes.T @ away / jnp.sqrt(total), away / jnp.sqrt(1 + ratio**2)]
        near = 1 / jnp.sqrt(1 + (ratio / FAR) ** 2)
        said = self.network(near * jnp.concatenate(inputs), jnp.log(jnp.maximum(ratio, 1e-6)) / 4)
        eps = ratio * pull - law.axes @ (jnp.sqrt(law.variances / total) * (law.axes.T @ said))
        return y - ratio * eps, eps


def _pull(law: Mixture, y: jax.Array, ratio: jax.Array) -> jax.Array:
    """Minus the score of the law blurred by r, at y (d,)."""
    total = law.each_variances + ratio**2  # (k, d)
    along = jnp.einsum("kij,ki->kj", law.each_axes, y - law.means)  # (k, d)
    log_share = law.log_weights - 0.5 * jnp.sum(along**2 / total + jnp.log(total), axis=1)  # (k,)
    share = jax.nn.softmax(log_share)
    return jnp.einsum("k,kij,kj->i", share, law.each_axes, along / total)


def _pull_given(law: Mixture, cells: Cells, y: jax.Array, ratio: jax.Array) -> tuple[jax.Array, jax.Array]:
    """y with known values and, for absent cells, what is expected there; and the pull where cells are asked for."""
    seen = ~cells.absent
    noise = jnp.where(seen, jnp.where(cells.known, 0.0, ratio**2), 1.0)
    y = jnp.where(cells.known, cells.values, y)

    def one(log_weight: jax.Array, mean: jax.Array, covariance: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        away = jnp.where(seen, y - mean, 0.0)
        # Rounding must not make it indefinite; the network mends what this costs.
        noisy = jnp.diag(noise + JITTER * jnp.trace(covariance))
        factor = jnp.linalg.cholesky(covariance * jnp.outer(seen, seen) + noisy)
        pull = jax.scipy.linalg.cho_solve((factor, True), away)
        log_share = log_weight - 0.5 * away @ pull - jnp.log(jnp.diag(factor)).sum()
        return log_share, pull, mean + covariance @ pull

    log_share, pull, expected = jax.vmap(one)(law.log_weights, law.means, law.covariances)
    share = jax.nn.softmax(log_share)
    return jnp.where(seen, y, share @ expected), share @ pull


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
        told = self.denoiser.in_context(context, known)
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
