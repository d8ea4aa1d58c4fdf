"""A network plus a schedule: learned denoisers.

x0_hat = denoiser(x_t, t), an estimate of E[x_0 | x_t]

They differ in what the network estimates: eps, x_0, v or the velocity, from x_t and t as they are, or, preconditioned,
the part of x_0 that x_t itself does not tell. Any of them works under any schedule; what is easy to learn depends on
it: x_t should keep a spread near 1 (not so where noise explodes), and so should the target (a velocity does along
straight lines, and has no bound at t = 0 where variance is preserved). `Preconditioned` sees to both under every
schedule. `Conditional` makes any of them a denoiser that can be conditioned on classes and on numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp

from motes._ranges import Checked
from motes.diffusion._denoiser import Denoiser, Given, VarianceDenoiser
from motes.diffusion._process import (
    eps_from_v,
    eps_from_velocity,
    log_variance_between,
    x0_from_eps,
    x0_from_v,
    x0_from_velocity,
)
from motes.diffusion._schedules import Schedule

Network = Callable[..., jax.Array]
"""(x (d,), time feature ()) -> (d,); any Equinox module with this call will do. Some take a context (c,) as well."""


class Learned(Denoiser):
    """A denoiser with a network in it."""

    network: eqx.AbstractVar[Network]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.network!r}, {self.schedule!r})"

    def in_context(self, context: jax.Array) -> "Learned":
        """The same denoiser with `context` (c,) as the third input of its network.

        Example:
            >>> from motes.diffusion import VarianceExploding
            >>> from motes.learning import NoisePredictor
            >>> denoiser = NoisePredictor(lambda x, t, context: x * context[0], VarianceExploding(sigma_max=1.0))
            >>> print(denoiser.in_context(jnp.array([0.25])).eps(jnp.array([2.0]), 1.0))
            [0.5]
        """
        return eqx.tree_at(lambda denoiser: denoiser.network, self, InContext(self.network, context))


class NoisePredictor(Learned):
    """The network gives eps_hat from x_t and t (Ho et al. 2020).

    Example:
        >>> from motes.diffusion import VarianceExploding
        >>> from motes.learning import NoisePredictor
        >>> denoiser = NoisePredictor(lambda x, t: jnp.full_like(x, 0.5), VarianceExploding(sigma_max=10.0))
        >>> print(denoiser(jnp.array([6.0]), 1.0))  # 6 - 10 * 0.5
        [1.]
    """

    network: Network
    schedule: Schedule

    def __call__(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        return self.x0_and_eps(x_t, t)[0]

    def x0_and_eps(self, x_t: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        eps = self.network(x_t, t)
        return x0_from_eps(self.schedule, x_t, eps, t), eps


class X0Predictor(Learned):
    """The network gives x0_hat from x_t and t (Salimans & Ho 2022, section 4).

    Example:
        >>> from motes.diffusion import VarianceExploding
        >>> from motes.learning import X0Predictor
        >>> denoiser = X0Predictor(lambda x, t: jnp.ones_like(x), VarianceExploding(sigma_max=10.0))
        >>> print(denoiser(jnp.array([6.0]), 1.0), denoiser.eps(jnp.array([6.0]), 1.0))
        [1.] [0.5]
    """

    network: Network
    schedule: Schedule

    def __call__(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        return self.network(x_t, t)


class VPredictor(Learned):
    """The network gives v_hat from x_t and t (Salimans & Ho 2022, section 4).

    Example:
        >>> from motes.diffusion import VarianceExploding
        >>> from motes.learning import VPredictor
        >>> denoiser = VPredictor(lambda x, t: jnp.full_like(x, -9.5), VarianceExploding(sigma_max=10.0))
        >>> print(denoiser(jnp.array([6.0]), 1.0).round(4), denoiser.eps(jnp.array([6.0]), 1.0).round(4))
        [1.] [0.5]
    """

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
    """The network gives the velocity of the probability flow from x_t and t (Lipman et al. 2023; Liu et al. 2022).

    Example:
        >>> from motes.diffusion import RectifiedFlow
        >>> from motes.learning import VelocityPredictor
        >>> denoiser = VelocityPredictor(lambda x, t: jnp.full_like(x, 2.0), RectifiedFlow())
        >>> print(denoiser(jnp.array([2.0]), 0.5).round(3))  # a straight line back from x_t
        [1.]
    """

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

    Example:
        >>> from motes.diffusion import VarianceExploding
        >>> from motes.learning import Preconditioned
        >>> untrained = Preconditioned(lambda x, time: jnp.zeros_like(x), VarianceExploding(sigma_max=1.0))
        >>> print(untrained(jnp.array([2.0]), 1.0))  # that of N(0, 1), for data of unit variance
        [1.0]
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


class InContext(eqx.Module):
    """A network whose third input is set."""

    network: Network
    context: jax.Array

    def __call__(self, x: jax.Array, time: jax.Array) -> jax.Array:
        return self.network(x, time, self.context)


class Conditional(Denoiser):
    """E[x_0 | x_t, label, context]: the network of `denoiser` has the class, one-hot, and the context as third input.

    Zeros in the place of the class are the answer for all classes together: it learns them from rows whose label is
    withheld (Ho & Salimans 2022). The context is never withheld, so there is no answer without it.
    """

    denoiser: Learned
    classes: int = eqx.field(static=True)
    context: int = eqx.field(static=True)
    schedule: Schedule

    def __init__(self, denoiser: Learned, classes: int = 0, context: int = 0):
        self.denoiser, self.classes, self.context, self.schedule = denoiser, classes, context, denoiser.schedule

    def given(self, known: Given) -> Denoiser:
        """The denoiser of rows of a class and a context.

        Raises:
            TypeError: a label for a denoiser without classes, or not as many numbers as it is conditioned on.
        """
        if known.label is not None and not self.classes:
            raise TypeError("got a label; this denoiser knows no classes. Leave it out.")
        numbers = jnp.zeros(0) if known.context is None else known.context
        if numbers.shape != (self.context,):
            raise TypeError(
                f"got a context of shape {numbers.shape}; this denoiser is conditioned on ({self.context},) numbers. "
                "Give them: denoiser.given(Given(context=...))."
            )
        label = jnp.array(-1) if known.label is None else known.label
        one_hot = jax.nn.one_hot(label, self.classes, dtype=jnp.result_type(float))
        return self.denoiser.in_context(jnp.concatenate([one_hot, numbers.astype(one_hot.dtype)]))

    def __call__(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        return self.x0_and_eps(x_t, t)[0]

    def x0_and_eps(self, x_t: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        return self.given(Given()).x0_and_eps(x_t, t)


class Half(eqx.Module):
    """The first or the second d of the 2 d numbers that a network gives for a point (d,)."""

    network: Network
    second: bool = eqx.field(static=True)

    def __call__(self, x: jax.Array, time: jax.Array) -> jax.Array:
        message = self.network(x, time)
        return message[x.size :] if self.second else message[: x.size]


class LearnedVariance(VarianceDenoiser):
    """The network gives 2 d numbers from x_t and t: what `kind` reads as x0_hat, and v, which says how wide a step is.

    The variance lies a share (v + 1) / 2 of the way from the posterior's to beta, in logarithms; v = -1 and v = 1 are
    the two, and nothing keeps v between them (Nichol & Dhariwal 2021, eq. 15).

    Example:
        >>> recipe = motes.load_recipe("ddpm", {"denoiser.variance": "learned", "loss.kind": "hybrid"})
        >>> denoiser = recipe.make_denoiser(dim=2, key=jax.random.key(0))
        >>> type(denoiser).__name__, denoiser.kind.__name__
        ('LearnedVariance', 'NoisePredictor')
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


# --- what a recipe says of a denoiser --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prediction(Checked):
    """What the network estimates, `wraps`, and whether it learns how wide a reverse step is, too.

    Example:
        >>> from motes.learning import Prediction, X0Predictor
        >>> class Mine(Prediction):
        ...     wraps = X0Predictor
        >>> Mine().outputs(dim=2)
        2
    """

    wraps: ClassVar[type[Learned]]
    variance: Literal["fixed", "learned"] = "fixed"  # of a reverse step: learned, it is the network's to say

    def outputs(self, dim: int) -> int:
        """How many numbers the network gives for a point of `dim` columns.

        Example:
            >>> recipe = motes.load_recipe("ddpm", {"denoiser.variance": "learned", "loss.kind": "hybrid"})
            >>> recipe.denoiser.outputs(dim=2)
            4
        """
        return 2 * dim if self.variance == "learned" else dim

    def denoiser(self, network: Network, schedule: Schedule, classes: int = 0, context: int = 0) -> Denoiser:
        """`network` under `schedule`, for points in so many classes that are conditioned on `context` numbers.

        Example:
            >>> from motes.diffusion import VarianceExploding
            >>> recipe = motes.load_recipe("default")
            >>> denoiser = recipe.denoiser.denoiser(lambda x, time: jnp.zeros_like(x), VarianceExploding())
            >>> type(denoiser).__name__
            'Preconditioned'
        """
        if self.variance == "learned":
            return LearnedVariance(network=network, schedule=schedule, kind=self.wraps)
        denoiser = self.wraps(network=network, schedule=schedule)
        return Conditional(denoiser, classes, context) if classes or context else denoiser


class PredictEps(Prediction):
    """eps_hat."""

    wraps = NoisePredictor


class PredictX0(Prediction):
    """x0_hat."""

    wraps = X0Predictor


class PredictV(Prediction):
    """v_hat."""

    wraps = VPredictor


class PredictVelocity(Prediction):
    """The velocity of the probability flow."""

    wraps = VelocityPredictor


class PredictEDM(Prediction):
    """The part of x0_hat that x_t itself does not tell, scaled to unit variance."""

    wraps = Preconditioned


DENOISERS: dict[str, type] = {
    "eps": PredictEps,
    "x0": PredictX0,
    "v": PredictV,
    "velocity": PredictVelocity,
    "edm": PredictEDM,
}
"""`[denoiser]` of a recipe: each has a method `denoiser` that wraps a network."""
