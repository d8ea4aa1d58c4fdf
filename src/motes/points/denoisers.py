"""Denoisers: the common interface of networks and exact solutions.

    x0_hat = denoiser(x_t, t),    E[x_0 | x_t] or an estimate of it

A denoiser acts on one point, x_t of shape (d,), at one time; `vmap` it for more. The same estimate can be converted to
eps, v, the score or the velocity. Exact denoisers (`points/exact.py`) can replace learned ones anywhere. A network is
wrapped in a denoiser that defines what it predicts: x_0, eps, v, the velocity or a preconditioned mixture.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from motes.points.schedules import Schedule


class Given(NamedTuple):
    """The conditioning of one row, in addition to x_t; None for what does not apply.

    Attributes:
        label: its class, 0, 1, ..., (); -1 if unknown.
        context: numbers to condition on, such as an observation, (c,), in the units that the denoiser was trained in.

    Example:
        >>> from motes.points import Given
        >>> Given(label=jnp.array(2)).label.item()
        2
    """

    label: Array | None = None
    context: Array | None = None


class Denoiser(eqx.Module):
    """Base class of denoisers, which return E[x_0 | x_t], or an estimate, under `schedule`.

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
    def __call__(self, x_t: Array, t: Array) -> Array:
        """Return x0_hat (d,) for x_t (d,) at time t."""

    def x0_and_eps(self, x_t: Array, t: Array) -> tuple[Array, Array]:
        """Return x0_hat (d,) and eps_hat (d,) for x_t (d,) at time t > 0. In compiled code an unused result is free.

        Override it if eps_hat can be computed more accurately than by a division by sigma_t.

        Example:
            >>> from motes.points import GaussianOracle, VarianceExploding
            >>> denoiser = GaussianOracle(np.zeros(1), np.eye(1), VarianceExploding(sigma_max=1.0))
            >>> x0_hat, eps_hat = denoiser.x0_and_eps(jnp.array([2.0]), 1.0)
            >>> print(x0_hat, eps_hat)  # x_t = x0_hat + eps_hat, in equal parts
            [1.] [1.]
        """
        x0 = self(x_t, t)
        return x0, (x_t - self.schedule.alpha(t) * x0) / self.schedule.sigma(t)

    def eps(self, x_t: Array, t: Array) -> Array:
        """Return eps_hat (d,), the same estimate in terms of noise, for x_t (d,) at time t > 0.

        Example:
            >>> from motes.points import GaussianOracle, VarianceExploding
            >>> denoiser = GaussianOracle(np.zeros(1), np.eye(1), VarianceExploding(sigma_max=1.0))
            >>> print(denoiser.eps(jnp.array([2.0]), 1.0))
            [1.]
        """
        return self.x0_and_eps(x_t, t)[1]

    def v(self, x_t: Array, t: Array) -> Array:
        """Return v = alpha_t eps_hat - sigma_t x0_hat, (d,), for t > 0 (Salimans & Ho 2022, section 4).

        Example:
            >>> from motes.points import GaussianOracle, VarianceExploding
            >>> denoiser = GaussianOracle(np.zeros(1), np.eye(1), VarianceExploding(sigma_max=1.0))
            >>> print(denoiser.v(jnp.array([2.0]), 1.0))
            [0.]
        """
        x0, eps = self.x0_and_eps(x_t, t)
        return self.schedule.alpha(t) * eps - self.schedule.sigma(t) * x0

    def score(self, x_t: Array, t: Array) -> Array:
        """Return the score -eps_hat / sigma_t, (d,), for t > 0: an estimate of grad log q_t(x_t).

        Example:
            >>> from motes.points import GaussianOracle, VarianceExploding
            >>> denoiser = GaussianOracle(np.zeros(1), np.eye(1), VarianceExploding(sigma_max=1.0))
            >>> print(denoiser.score(jnp.array([2.0]), 1.0))  # of N(0, 2)
            [-1.]
        """
        return -self.eps(x_t, t) / self.schedule.sigma(t)

    def velocity(self, x_t: Array, t: Array) -> Array:
        """Return the velocity dx_t/dt = alpha_t' x0_hat + sigma_t' eps_hat of the probability flow, (d,), for t > 0.

        Under a discrete schedule it jumps at each step; at the jump it is the velocity of later times.

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
        """Return the denoiser conditioned on `known`, E[x_0 | x_t, label, context].

        Raises:
            TypeError: a denoiser that cannot be conditioned on it.

        Example:
            >>> from motes.points import GaussianOracle, Given, VarianceExploding
            >>> from motes.points.exact import LabelledOracle
            >>> schedule = VarianceExploding(sigma_max=1.0)
            >>> left, right = (GaussianOracle([mean], [[1e-4]], schedule) for mean in (-1.0, 1.0))
            >>> both = LabelledOracle([left, right], [0.5, 0.5])
            >>> right_alone = both.given(Given(label=jnp.array(1)))
            >>> print(both(jnp.array([0.0]), 1.0).round(3), right_alone(jnp.array([0.0]), 1.0).round(3))
            [0.] [1.]
        """
        raise TypeError(f"{type(self).__name__} cannot be conditioned on anything.")


class JointDenoiser(Denoiser):
    """Base class of denoisers that compute x_0 and eps together, in `x0_and_eps`."""

    def __call__(self, x_t: Array, t: Array) -> Array:
        return self.x0_and_eps(x_t, t)[0]


class VarianceDenoiser(Denoiser):
    """A denoiser that also estimates the variance of a reverse step.

    Example:
        >>> from motes.points import GaussianOracle, VarianceExploding
        >>> from motes.points.denoisers import VarianceDenoiser
        >>> isinstance(GaussianOracle([0.0], [[1.0]], VarianceExploding()), VarianceDenoiser)
        True
    """

    @abstractmethod
    def log_variance(self, x_t: Array, t: Array, s: Array) -> Array:
        """Return the log of the variance of each column of x_s given x_t, (d,), for s < t.

        Example:
            >>> from motes.points import GaussianOracle, VarianceExploding
            >>> denoiser = GaussianOracle([0.0], [[1.0]], VarianceExploding(sigma_max=1.0))
            >>> print(jnp.exp(denoiser.log_variance(jnp.array([2.0]), 1.0, 0.0)).round(3))  # Var[x_0 | x_t]
            [0.5]
        """


# --- A network plus a schedule: learned denoisers -------------------------------------------------------------------
#
# They differ in what the network predicts: eps, x_0, v or the velocity from unscaled x_t and t, or, if preconditioned,
# the part of x_0 that x_t itself does not determine. Each works with any schedule, but some are easier to learn: x_t
# should have a scale near 1 (it does not if variance explodes), and so should the target (the velocity of a rectified
# flow does, but it is unbounded at t = 0 if variance is preserved). `Preconditioned` ensures both for every schedule.
# `Conditional` conditions any of them on classes and on numbers.


# (x (d,), time feature ()) -> (d,): any Equinox module with this call. Some also take a context (c,).
Network = Callable[..., Array]


class Learned(JointDenoiser):
    """Base class of denoisers that use a network; a subclass defines `__call__` or `x0_and_eps`."""

    network: Network
    schedule: Schedule

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.network!r}, {self.schedule!r})"

    def in_context(self, context: Array) -> "Learned":
        """Return the denoiser with `context` (c,) as the third input of its network.

        Example:
            >>> from motes.points import NoisePredictor, VarianceExploding
            >>> denoiser = NoisePredictor(lambda x, t, context: x * context[0], VarianceExploding(sigma_max=1.0))
            >>> print(denoiser.in_context(jnp.array([0.25])).eps(jnp.array([2.0]), 1.0))
            [0.5]
        """
        return eqx.tree_at(lambda denoiser: denoiser.network, self, InContext(self.network, context))


class NoisePredictor(Learned):
    """A denoiser whose network predicts eps_hat from x_t and t (Ho et al. 2020).

    Example:
        >>> from motes.points import NoisePredictor, VarianceExploding
        >>> denoiser = NoisePredictor(lambda x, t: jnp.full_like(x, 0.5), VarianceExploding(sigma_max=10.0))
        >>> print(denoiser(jnp.array([6.0]), 1.0))  # 6 - 10 * 0.5
        [1.]
    """

    def x0_and_eps(self, x_t: Array, t: Array) -> tuple[Array, Array]:
        eps = self.network(x_t, t)
        return (x_t - self.schedule.sigma(t) * eps) / self.schedule.alpha(t), eps


class X0Predictor(Learned):
    """A denoiser whose network predicts x0_hat from x_t and t (Salimans & Ho 2022, section 4).

    Example:
        >>> from motes.points import VarianceExploding
        >>> from motes.points.denoisers import X0Predictor
        >>> denoiser = X0Predictor(lambda x, t: jnp.ones_like(x), VarianceExploding(sigma_max=10.0))
        >>> print(denoiser(jnp.array([6.0]), 1.0), denoiser.eps(jnp.array([6.0]), 1.0))
        [1.] [0.5]
    """

    def __call__(self, x_t: Array, t: Array) -> Array:
        return self.network(x_t, t)


class VPredictor(Learned):
    """A denoiser whose network predicts v_hat from x_t and t (Salimans & Ho 2022, section 4).

    Example:
        >>> from motes.points.denoisers import VPredictor
        >>> from motes.points import VarianceExploding
        >>> denoiser = VPredictor(lambda x, t: jnp.full_like(x, -9.5), VarianceExploding(sigma_max=10.0))
        >>> print(denoiser(jnp.array([6.0]), 1.0).round(4), denoiser.eps(jnp.array([6.0]), 1.0).round(4))
        [1.] [0.5]
    """

    def x0_and_eps(self, x_t: Array, t: Array) -> tuple[Array, Array]:
        alpha, sigma, v = self.schedule.alpha(t), self.schedule.sigma(t), self.v(x_t, t)
        total = alpha**2 + sigma**2  # 1 if variance is preserved
        return (alpha * x_t - sigma * v) / total, (sigma * x_t + alpha * v) / total

    def v(self, x_t: Array, t: Array) -> Array:
        return self.network(x_t, t)


class VelocityPredictor(Learned):
    """A denoiser whose network predicts the velocity from x_t and t (Lipman et al. 2023; Liu et al. 2022).

    Example:
        >>> from motes.points import RectifiedFlow
        >>> from motes.points.denoisers import VelocityPredictor
        >>> denoiser = VelocityPredictor(lambda x, t: jnp.full_like(x, 2.0), RectifiedFlow())
        >>> print(denoiser(jnp.array([2.0]), 0.5).round(3))  # a straight line back from x_t
        [1.]
    """

    def x0_and_eps(self, x_t: Array, t: Array) -> tuple[Array, Array]:
        alpha, sigma, u = self.schedule.alpha(t), self.schedule.sigma(t), self.velocity(x_t, t)
        alpha_rate, sigma_rate = self.schedule.rates(t)
        # Divided by sigma_t', which at t = 0 is infinite if variance is preserved and 0 if it explodes.
        delay = jnp.where(sigma > 0, sigma / sigma_rate, 0)
        eps = (alpha * u - alpha_rate * x_t) / (alpha * sigma_rate - alpha_rate * sigma)
        return (x_t - delay * u) / (alpha - alpha_rate * delay), eps

    def velocity(self, x_t: Array, t: Array) -> Array:
        return self.network(x_t, t)


class Preconditioned(Learned):
    """A denoiser that scales its network's input and output to unit variance (Karras et al. 2022, eq. 7, table 1).

    With the noise-to-signal ratio r = sigma_t / alpha_t and y = x_t / alpha_t,
    x0_hat = c_skip y + c_out F(c_in y, log(r) / 4), for data of standard deviation `sigma_data`.

    Example:
        >>> from motes.points import Preconditioned, VarianceExploding
        >>> untrained = Preconditioned(lambda x, time: jnp.zeros_like(x), VarianceExploding(sigma_max=1.0))
        >>> print(untrained(jnp.array([2.0]), 1.0))  # that of N(0, 1), for data of unit variance
        [1.0]
    """

    sigma_data: float = eqx.field(static=True, default=1.0)

    def __call__(self, x_t: Array, t: Array) -> Array:
        alpha = self.schedule.alpha(t)
        y = x_t / alpha
        ratio = self.schedule.sigma(t) / alpha
        total = jnp.sqrt(ratio**2 + self.sigma_data**2)
        # At t = 0 the network has no effect, c_out = 0; the floor keeps its input finite.
        c_noise = jnp.log(jnp.maximum(ratio, 1e-6)) / 4
        c_skip, c_out = (self.sigma_data / total) ** 2, ratio * self.sigma_data / total
        return c_skip * y + c_out * self.network(y / total, c_noise)


class InContext(eqx.Module):
    """A network with a fixed third input."""

    network: Network
    context: Array

    def __call__(self, x: Array, time: Array) -> Array:
        return self.network(x, time, self.context)


# --- Conditional denoisers: given a class and numbers, or some of the columns -----------------------------------------
#
#     E[x_0 | x_t, label, context],    E[x_0 | x_t, x_0 where m = 1],    m in {0, 1}^d the observed mask
#
# The conditioning is the third input of the network. In training, a mask is drawn for each row of a batch, so that one
# network learns the joint distribution (m = 0) and all conditional distributions (Gloeckler et al. 2024, who use a
# transformer).


class Conditional(JointDenoiser):
    """A denoiser E[x_0 | x_t, label, context]: the one-hot class and the context are its network's third input.

    With zeros instead of the class it denoises all classes together, which it learns from rows whose label is withheld
    (Ho & Salimans 2022). The context is never withheld, so it is required.
    """

    denoiser: Learned
    classes: int = eqx.field(static=True)
    context: int = eqx.field(static=True)
    schedule: Schedule

    def __init__(self, denoiser: Learned, classes: int = 0, context: int = 0):
        self.denoiser, self.classes, self.context, self.schedule = denoiser, classes, context, denoiser.schedule

    def given(self, known: Given) -> Denoiser:
        """Return the denoiser conditioned on a class and a context.

        Raises:
            TypeError: a label for a denoiser without classes, or the wrong number of context numbers.
        """
        if known.label is not None and not self.classes:
            raise TypeError("got a label; this denoiser has no classes. Leave it out.")
        numbers = jnp.zeros(0) if known.context is None else known.context
        if numbers.shape != (self.context,):
            raise TypeError(
                f"got a context of shape {numbers.shape}; this denoiser is conditioned on ({self.context},) numbers. "
                "Give them: denoiser.given(Given(context=...))."
            )
        label = jnp.array(-1) if known.label is None else known.label
        one_hot = jax.nn.one_hot(label, self.classes, dtype=jnp.result_type(float))
        return self.denoiser.in_context(jnp.concatenate([one_hot, numbers.astype(one_hot.dtype)]))

    def x0_and_eps(self, x_t: Array, t: Array) -> tuple[Array, Array]:
        return self.given(Given()).x0_and_eps(x_t, t)


class AnyConditional(JointDenoiser):
    """A denoiser given any columns, E[x_0 | x_t, x_0 where m = 1].

    The context of `given` (2 d,) is the point, whose values are used where m = 1, followed by the mask m; without it
    nothing is observed. In observed columns it returns the observed values; with `apart`, it treats them as independent
    N(0, 1) columns, whose log-density is known.

    Example:
        >>> from motes.points import Given, VarianceExploding
        >>> from motes.points.denoisers import X0Predictor
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
        """Return the denoiser conditioned on some columns.

        Raises:
            TypeError: a label, or a context without two numbers for each column.

        Example:
            >>> from motes.points import Given
            >>> theta = motes.make_shape("moons", 200)
            >>> both = motes.fit(theta, "any", given=theta[:, :1], changes={"training.steps": 2}, verbose=False)
            >>> known = both.denoiser.given(Given(context=jnp.array([0.0, 0.0, 0.5, 0.0, 0.0, 1.0])))
            >>> float(known(jnp.zeros(3), jnp.array(0.5))[2])
            0.5
        """
        if known.label is not None:
            raise TypeError("got a label; this denoiser has no classes. Leave it out.")
        if known.context is None or known.context.shape != (2 * self.dim,):
            raise TypeError(
                f"got a context {known.context}; expected ({2 * self.dim},) numbers: a point, and the mask of its "
                "observed columns."
            )
        values, mask = jnp.split(jnp.asarray(known.context, jnp.result_type(float)), 2)
        shown = jnp.where(mask > 0, values, 0.0)
        inner = self.denoiser.in_context(jnp.concatenate([shown, mask]))
        return Observed(denoiser=inner, values=shown, mask=mask > 0, apart=self.apart, schedule=self.schedule)

    def x0_and_eps(self, x_t: Array, t: Array) -> tuple[Array, Array]:
        return self.given(Given(context=jnp.zeros(2 * self.dim))).x0_and_eps(x_t, t)


class Observed(Denoiser):
    """A denoiser of points whose columns have known values where `mask` is true."""

    denoiser: Denoiser
    values: Array
    mask: Array
    apart: bool = eqx.field(static=True)
    schedule: Schedule

    def __call__(self, x_t: Array, t: Array) -> Array:
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        x0 = self.denoiser(jnp.where(self.mask, alpha * self.values, x_t), t)
        return jnp.where(self.mask, alpha * x_t / (alpha**2 + sigma**2) if self.apart else self.values, x0)
