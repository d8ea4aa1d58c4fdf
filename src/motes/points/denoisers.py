"""Denoisers: the one interface that networks and exact answers share.

    x0_hat = denoiser(x_t, t),    E[x_0 | x_t] or an estimate of it

A denoiser acts on one point, x_t of shape (d,), at one time; `vmap` it for more. The same estimate can be read as eps,
v, score or velocity. Exact denoisers (`points/exact.py`) can stand in for learned ones anywhere. A network is wrapped
by a denoiser that says what it predicts: x_0, eps, v, the velocity or a preconditioned mixture.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jax import Array

from motes.points import process
from motes.points.schedules import Schedule


class Given(NamedTuple):
    """What is known of one row beside x_t; None where the question does not arise.

    Example:
        >>> from motes.points import Given
        >>> Given(label=jnp.array(2)).label.item()
        2
    """

    label: Array | None = None
    """Its class, 0, 1, ..., (); -1 where that is not known."""
    context: Array | None = None
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
    def __call__(self, x_t: Array, t: Array) -> Array:
        """x0_hat (d,) for x_t (d,) at time t."""

    def x0_and_eps(self, x_t: Array, t: Array) -> tuple[Array, Array]:
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

    def eps(self, x_t: Array, t: Array) -> Array:
        """eps_hat (d,) for x_t (d,) at time t > 0: the same estimate, said as noise.

        Example:
            >>> from motes.points import GaussianOracle, VarianceExploding
            >>> denoiser = GaussianOracle(np.zeros(1), np.eye(1), VarianceExploding(sigma_max=1.0))
            >>> print(denoiser.eps(jnp.array([2.0]), 1.0))
            [1.]
        """
        return self.x0_and_eps(x_t, t)[1]

    def v(self, x_t: Array, t: Array) -> Array:
        """alpha_t eps_hat - sigma_t x0_hat, (d,), for t > 0 (Salimans & Ho 2022, section 4).

        Example:
            >>> from motes.points import GaussianOracle, VarianceExploding
            >>> denoiser = GaussianOracle(np.zeros(1), np.eye(1), VarianceExploding(sigma_max=1.0))
            >>> print(denoiser.v(jnp.array([2.0]), 1.0))
            [0.]
        """
        x0, eps = self.x0_and_eps(x_t, t)
        return self.schedule.alpha(t) * eps - self.schedule.sigma(t) * x0

    def score(self, x_t: Array, t: Array) -> Array:
        """-eps_hat / sigma_t, (d,), for t > 0: grad log q_t(x_t), as far as the estimate is right.

        Example:
            >>> from motes.points import GaussianOracle, VarianceExploding
            >>> denoiser = GaussianOracle(np.zeros(1), np.eye(1), VarianceExploding(sigma_max=1.0))
            >>> print(denoiser.score(jnp.array([2.0]), 1.0))  # of N(0, 2)
            [-1.]
        """
        return -self.eps(x_t, t) / self.schedule.sigma(t)

    def velocity(self, x_t: Array, t: Array) -> Array:
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
    def log_variance(self, x_t: Array, t: Array, s: Array) -> Array:
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
# both under every schedule. `points/conditional.py` makes any of them a denoiser that
# can be conditioned on classes and on numbers.


# (x (d,), time feature ()) -> (d,); any Equinox module with this call will do. Some take a context (c,) as well.
Network = Callable[..., Array]


class Learned(Denoiser):
    """A denoiser with a network in it."""

    network: eqx.AbstractVar[Network]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.network!r}, {self.schedule!r})"

    def in_context(self, context: Array) -> "Learned":
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

    def __call__(self, x_t: Array, t: Array) -> Array:
        return self.x0_and_eps(x_t, t)[0]

    def x0_and_eps(self, x_t: Array, t: Array) -> tuple[Array, Array]:
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

    def __call__(self, x_t: Array, t: Array) -> Array:
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

    def __call__(self, x_t: Array, t: Array) -> Array:
        return self.x0_and_eps(x_t, t)[0]

    def x0_and_eps(self, x_t: Array, t: Array) -> tuple[Array, Array]:
        v = self.v(x_t, t)
        return process.x0_from_v(self.schedule, x_t, v, t), process.eps_from_v(self.schedule, x_t, v, t)

    def v(self, x_t: Array, t: Array) -> Array:
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

    def __call__(self, x_t: Array, t: Array) -> Array:
        return self.x0_and_eps(x_t, t)[0]

    def x0_and_eps(self, x_t: Array, t: Array) -> tuple[Array, Array]:
        u = self.velocity(x_t, t)
        return process.x0_from_velocity(self.schedule, x_t, u, t), process.eps_from_velocity(self.schedule, x_t, u, t)

    def velocity(self, x_t: Array, t: Array) -> Array:
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

    def __call__(self, x_t: Array, t: Array) -> Array:
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
    context: Array

    def __call__(self, x: Array, time: Array) -> Array:
        return self.network(x, time, self.context)
