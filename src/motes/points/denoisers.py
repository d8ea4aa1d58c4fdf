"""Denoisers: the one interface that networks and exact answers share.

    x0_hat = denoiser(x_t, t),    E[x_0 | x_t] or an estimate of it

A denoiser acts on one point, x_t of shape (d,), at one time; `vmap` it for more. The same estimate can be read as eps,
v, score or velocity. Exact denoisers (`points/exact.py`) can stand in for learned ones anywhere. A network is wrapped
by a denoiser that says what it predicts: x_0, eps, v, the velocity or a preconditioned mixture.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from motes.points import process
from motes.points.schedules import Schedule
from motes.ranges import Checked, number


class Given(NamedTuple):
    """What is known of one row beside x_t; None where the question does not arise.

    Example:
        >>> from motes.points import Given
        >>> Given(label=jnp.array(2)).label.item()
        2
    """

    label: jax.Array | None = None
    """Its class, 0, 1, ..., (); -1 where that is not known."""
    context: jax.Array | None = None
    """Numbers that go with it, such as what was observed, (c,), in the units that the denoiser was trained in."""


class Denoiser(eqx.Module):
    """E[x_0 | x_t] under `schedule`.

    Example:
        >>> from motes.points import Denoiser, Schedule, VarianceExploding
        >>> class Zero(Denoiser):
        ...     schedule: Schedule
        ...     def __call__(self, x_t, t):
        ...         return jnp.zeros_like(x_t)
        >>> denoiser = Zero(VarianceExploding(sigma_max=10.0))
        >>> print(denoiser.eps(jnp.array([5.0]), 1.0), denoiser.score(jnp.array([5.0]), 1.0))
        [0.5] [-0.05]
    """

    schedule: eqx.AbstractVar[Schedule]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.schedule!r})"

    @abstractmethod
    def __call__(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        """x0_hat (d,) for x_t (d,) at time t."""

    def x0_and_eps(self, x_t: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        """x0_hat (d,) and eps_hat (d,) for x_t (d,) at time t > 0. What is not used of them costs nothing compiled.

        A denoiser that knows eps_hat better than by a division by sigma_t says so here.

        Example:
            >>> from motes.points import GaussianOracle, VarianceExploding
            >>> denoiser = GaussianOracle(np.zeros(1), np.eye(1), VarianceExploding(sigma_max=1.0))
            >>> x0_hat, eps_hat = denoiser.x0_and_eps(jnp.array([2.0]), 1.0)
            >>> print(x0_hat, eps_hat)  # x_t = x0_hat + eps_hat, in equal parts
            [1.] [1.]
        """
        x0 = self(x_t, t)
        return x0, process.eps_from_x0(self.schedule, x_t, x0, t)

    def eps(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        """eps_hat (d,) for x_t (d,) at time t > 0: the same estimate, said as noise.

        Example:
            >>> from motes.points import GaussianOracle, VarianceExploding
            >>> denoiser = GaussianOracle(np.zeros(1), np.eye(1), VarianceExploding(sigma_max=1.0))
            >>> print(denoiser.eps(jnp.array([2.0]), 1.0))
            [1.]
        """
        return self.x0_and_eps(x_t, t)[1]

    def v(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        """alpha_t eps_hat - sigma_t x0_hat, (d,), for t > 0 (Salimans & Ho 2022, section 4).

        Example:
            >>> from motes.points import GaussianOracle, VarianceExploding
            >>> denoiser = GaussianOracle(np.zeros(1), np.eye(1), VarianceExploding(sigma_max=1.0))
            >>> print(denoiser.v(jnp.array([2.0]), 1.0))
            [0.]
        """
        x0, eps = self.x0_and_eps(x_t, t)
        return self.schedule.alpha(t) * eps - self.schedule.sigma(t) * x0

    def score(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        """-eps_hat / sigma_t, (d,), for t > 0: grad log q_t(x_t), as far as the estimate is right.

        Example:
            >>> from motes.points import GaussianOracle, VarianceExploding
            >>> denoiser = GaussianOracle(np.zeros(1), np.eye(1), VarianceExploding(sigma_max=1.0))
            >>> print(denoiser.score(jnp.array([2.0]), 1.0))  # of N(0, 2)
            [-1.]
        """
        return -self.eps(x_t, t) / self.schedule.sigma(t)

    def velocity(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        """alpha_t' x0_hat + sigma_t' eps_hat, (d,), for t > 0: dx_t/dt on the probability flow.

        Under a discrete schedule it jumps at each step, where it is that of later times.

        Example:
            >>> from motes.points import GaussianOracle, RectifiedFlow
            >>> denoiser = GaussianOracle(np.zeros(1), np.eye(1), RectifiedFlow())
            >>> print(denoiser.velocity(jnp.array([2.0]), 0.5).round(3))
            [-0.04]
        """
        x0, eps = self.x0_and_eps(x_t, t)
        alpha_rate, sigma_rate = self.schedule.rates(t)
        return alpha_rate * x0 + sigma_rate * eps

    def given(self, known: Given) -> "Denoiser":
        """The denoiser of rows of which so much is known, E[x_0 | x_t, label, context].

        Raises:
            TypeError: one that cannot be conditioned on it.

        Example:
            >>> from motes.points import GaussianOracle, Given, LabelledOracle, VarianceExploding
            >>> schedule = VarianceExploding(sigma_max=1.0)
            >>> left, right = (GaussianOracle([mean], [[1e-4]], schedule) for mean in (-1.0, 1.0))
            >>> both = LabelledOracle([left, right], [0.5, 0.5])
            >>> right_alone = both.given(Given(label=jnp.array(1)))
            >>> print(both(jnp.array([0.0]), 1.0).round(3), right_alone(jnp.array([0.0]), 1.0).round(3))
            [0.] [1.]
        """
        raise TypeError(f"{type(self).__name__} cannot be conditioned on anything; it has one answer for all rows.")


class VarianceDenoiser(Denoiser):
    """A denoiser that knows as well how wide a reverse step should be.

    Example:
        >>> from motes.points import GaussianOracle, VarianceExploding
        >>> from motes.points.denoisers import VarianceDenoiser
        >>> isinstance(GaussianOracle([0.0], [[1.0]], VarianceExploding()), VarianceDenoiser)
        True
    """

    @abstractmethod
    def log_variance(self, x_t: jax.Array, t: jax.Array, s: jax.Array) -> jax.Array:
        """Log of the variance of each column of x_s given x_t, (d,), for s < t.

        Example:
            >>> from motes.points import GaussianOracle, VarianceExploding
            >>> denoiser = GaussianOracle([0.0], [[1.0]], VarianceExploding(sigma_max=1.0))
            >>> print(jnp.exp(denoiser.log_variance(jnp.array([2.0]), 1.0, 0.0)).round(3))  # Var[x_0 | x_t]
            [0.5]
        """


# --- A network plus a schedule: learned denoisers -------------------------------------------------------------------
#
# They differ in what the network estimates: eps, x_0, v or the velocity, from x_t and t as they are, or,
# preconditioned, the part of x_0 that x_t itself does not tell. Any of them works under any schedule; what is easy to
# learn depends on it: x_t should keep a spread near 1 (not so where noise explodes), and so should the target (a
# velocity does along straight lines, and has no bound at t = 0 where variance is preserved). `Preconditioned` sees to
# both under every schedule. `Conditional` makes any of them a denoiser that can be conditioned on classes and on
# numbers.


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
            >>> from motes.points import NoisePredictor, VarianceExploding
            >>> denoiser = NoisePredictor(lambda x, t, context: x * context[0], VarianceExploding(sigma_max=1.0))
            >>> print(denoiser.in_context(jnp.array([0.25])).eps(jnp.array([2.0]), 1.0))
            [0.5]
        """
        return eqx.tree_at(lambda denoiser: denoiser.network, self, InContext(self.network, context))


class NoisePredictor(Learned):
    """The network gives eps_hat from x_t and t (Ho et al. 2020).

    Example:
        >>> from motes.points import NoisePredictor, VarianceExploding
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
        return process.x0_from_eps(self.schedule, x_t, eps, t), eps


class X0Predictor(Learned):
    """The network gives x0_hat from x_t and t (Salimans & Ho 2022, section 4).

    Example:
        >>> from motes.points import VarianceExploding, X0Predictor
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
        >>> from motes.points import VPredictor, VarianceExploding
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
        return process.x0_from_v(self.schedule, x_t, v, t), process.eps_from_v(self.schedule, x_t, v, t)

    def v(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        return self.network(x_t, t)


class VelocityPredictor(Learned):
    """The network gives the velocity of the probability flow from x_t and t (Lipman et al. 2023; Liu et al. 2022).

    Example:
        >>> from motes.points import RectifiedFlow, VelocityPredictor
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
        return process.x0_from_velocity(self.schedule, x_t, u, t), process.eps_from_velocity(self.schedule, x_t, u, t)

    def velocity(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        return self.network(x_t, t)


class Preconditioned(Learned):
    """The network's input and output are scaled to unit variance at every t (Karras et al. 2022, eq. 7, table 1).

    With the noise-to-signal ratio r = sigma_t / alpha_t and y = x_t / alpha_t,
    x0_hat = c_skip y + c_out F(c_in y, log(r) / 4), for data of standard deviation `sigma_data`.

    Example:
        >>> from motes.points import Preconditioned, VarianceExploding
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
        return process.log_variance_between(self.schedule, (v + 1) / 2, t, s)

    @property
    def _mean(self) -> Denoiser:
        return self.kind(network=Half(self.network, second=False), schedule=self.schedule)


# --- what a recipe says of a denoiser --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prediction(Checked):
    """What the network estimates, `wraps`, and whether it learns how wide a reverse step is, too.

    Example:
        >>> from motes.points import Prediction, X0Predictor
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
            >>> from motes.points import VarianceExploding
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


# --- Any columns of a point given any others ------------------------------------------------------------------------
#
# One network, which is shown some columns as they are and learns the others.
#
#     E[x_0 | x_t, x_0 where m = 1],    m in {0, 1}^d the observed mask
#
# A mask is drawn for each row of a batch, so that one network learns the joint distribution (m = 0) and all conditional
# ones (Gloeckler et al. 2024, whose network is a transformer).


Masks = NDArray[np.bool_]


@dataclass(frozen=True)
class Conditions(Checked):
    """How often training shows which columns; only the ratios of the four count, and all 0: none is ever shown.

    Example:
        >>> from motes.points.denoisers import Conditions
        >>> half = Conditions(joint=1.0, posterior=1.0)
        >>> half.masks(np.array([False, True]), np.random.default_rng(0)).mean(axis=0).round(1).tolist()
        [0.0, 0.5]
    """

    PATTERNS: ClassVar[int] = 4096  # masks, of which each row of a batch takes one

    joint: float = number(0.0, 0, 1e6)  # no column
    posterior: float = number(0.0, 0, 1e6)  # those of `given`
    likelihood: float = number(0.0, 0, 1e6)  # all others
    random: float = number(0.0, 0, 1e6)  # any, each with one probability, which is drawn as well

    @property
    def learned(self) -> bool:
        """Whether conditional distributions are learned at all."""
        return any(self._shares)

    @property
    def _shares(self) -> tuple[float, ...]:
        return self.joint, self.posterior, self.likelihood, self.random

    def masks(self, observed: Masks, rng: np.random.Generator) -> Masks:
        """Many masks (m, d), in any order; `observed` (d,) are the columns of `given`.

        Example:
            >>> from motes.points.denoisers import Conditions
            >>> Conditions(random=1.0).masks(np.array([False, True, True]), np.random.default_rng(0)).shape
            (4096, 3)
        """
        m, d = self.PATTERNS, len(observed)
        share = np.array(self._shares) / sum(self._shares)
        kind = rng.permutation(np.searchsorted(np.cumsum(share), (np.arange(m) + 0.5) / m))
        at_random = rng.random((m, d)) < rng.random((m, 1))
        fixed = np.stack([np.zeros(d, bool), observed, ~observed])
        return np.where((kind < 3)[:, None], fixed[np.minimum(kind, 2)], at_random)


class AnyConditional(Denoiser):
    """E[x_0 | x_t, x_0 where m = 1]; `given` takes the context (2 d,): the points, known where m = 1, and m.

    Without it nothing is observed. Its answer in observed columns is what was observed; with `apart` it is that of
    N(0, 1), which is independent of the others, and whose log-density is known.

    Example:
        >>> from motes.points import Given, VarianceExploding, X0Predictor
        >>> from motes.points.denoisers import AnyConditional
        >>> network = lambda x, t, context: 0 * x
        >>> denoiser = AnyConditional(X0Predictor(network, VarianceExploding()), dim=2)
        >>> known = denoiser.given(Given(context=jnp.array([0.0, 0.5, 0.0, 1.0])))  # the second column is 0.5
        >>> print(known(jnp.ones(2), jnp.array(0.5)))
        [0.  0.5]
    """

    denoiser: Learned
    dim: int = eqx.field(static=True)
    apart: bool = eqx.field(static=True)
    schedule: Schedule

    def __init__(self, denoiser: Learned, dim: int, *, apart: bool = False):
        self.denoiser, self.dim, self.apart, self.schedule = denoiser, dim, apart, denoiser.schedule

    def given(self, known: Given) -> Denoiser:
        """The denoiser of rows of which some columns are known.

        Raises:
            TypeError: a label, or not two numbers for each column.

        Example:
            >>> from motes.points import Given
            >>> theta = motes.make_shape("moons", 200)
            >>> both = motes.fit(theta, "any", given=theta[:, :1], changes={"training.steps": 2}, verbose=False)
            >>> known = both.denoiser.given(Given(context=jnp.array([0.0, 0.0, 0.5, 0.0, 0.0, 1.0])))
            >>> float(known(jnp.zeros(3), jnp.array(0.5))[2])
            0.5
        """
        if known.label is not None:
            raise TypeError("got a label; this denoiser knows no classes. Leave it out.")
        if known.context is None or known.context.shape != (2 * self.dim,):
            raise TypeError(
                f"got a context {known.context}; expected ({2 * self.dim},) numbers: a point, and which columns of it "
                "are observed."
            )
        values, mask = jnp.split(jnp.asarray(known.context, jnp.result_type(float)), 2)
        shown = jnp.where(mask > 0, values, 0.0)
        inner = self.denoiser.in_context(jnp.concatenate([shown, mask]))
        return Observed(denoiser=inner, values=shown, mask=mask > 0, apart=self.apart, schedule=self.schedule)

    def __call__(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        return self.x0_and_eps(x_t, t)[0]

    def x0_and_eps(self, x_t: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        return self.given(Given(context=jnp.zeros(2 * self.dim))).x0_and_eps(x_t, t)


class Observed(Denoiser):
    """A denoiser of points of which some columns, where `mask`, have known values."""

    denoiser: Denoiser
    values: jax.Array
    mask: jax.Array
    apart: bool = eqx.field(static=True)
    schedule: Schedule

    def __call__(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        x0 = self.denoiser(jnp.where(self.mask, alpha * self.values, x_t), t)
        return jnp.where(self.mask, alpha * x_t / (alpha**2 + sigma**2) if self.apart else self.values, x0)
