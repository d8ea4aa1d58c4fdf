"""The one interface of everything that denoises.

    x0_hat = denoiser(x_t, t), E[x_0 | x_t] or an estimate of it

Learned denoisers and exact ones share it, so that one can stand in for the other anywhere. A denoiser acts on one
point, x_t of shape (d,), at one time; `vmap` it for more. The same estimate can be read as eps, v, score or velocity.
"""

from abc import abstractmethod
from typing import NamedTuple

import equinox as eqx
import jax

from motes.diffusion._process import eps_from_x0
from motes.diffusion._schedules import Schedule


class Given(NamedTuple):
    """What is known of one row beside x_t; None where the question does not arise.

    Example:
        >>> from motes.diffusion import Given
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
        >>> from motes.diffusion import Denoiser, Schedule, VarianceExploding
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
            >>> from motes.diffusion import GaussianOracle, VarianceExploding
            >>> denoiser = GaussianOracle(np.zeros(1), np.eye(1), VarianceExploding(sigma_max=1.0))
            >>> x0_hat, eps_hat = denoiser.x0_and_eps(jnp.array([2.0]), 1.0)
            >>> print(x0_hat, eps_hat)  # x_t = x0_hat + eps_hat, in equal parts
            [1.] [1.]
        """
        x0 = self(x_t, t)
        return x0, eps_from_x0(self.schedule, x_t, x0, t)

    def eps(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        """eps_hat (d,) for x_t (d,) at time t > 0: the same estimate, said as noise.

        Example:
            >>> from motes.diffusion import GaussianOracle, VarianceExploding
            >>> denoiser = GaussianOracle(np.zeros(1), np.eye(1), VarianceExploding(sigma_max=1.0))
            >>> print(denoiser.eps(jnp.array([2.0]), 1.0))
            [1.]
        """
        return self.x0_and_eps(x_t, t)[1]

    def v(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        """alpha_t eps_hat - sigma_t x0_hat, (d,), for t > 0 (Salimans & Ho 2022, section 4).

        Example:
            >>> from motes.diffusion import GaussianOracle, VarianceExploding
            >>> denoiser = GaussianOracle(np.zeros(1), np.eye(1), VarianceExploding(sigma_max=1.0))
            >>> print(denoiser.v(jnp.array([2.0]), 1.0))
            [0.]
        """
        x0, eps = self.x0_and_eps(x_t, t)
        return self.schedule.alpha(t) * eps - self.schedule.sigma(t) * x0

    def score(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        """-eps_hat / sigma_t, (d,), for t > 0: grad log q_t(x_t), as far as the estimate is right.

        Example:
            >>> from motes.diffusion import GaussianOracle, VarianceExploding
            >>> denoiser = GaussianOracle(np.zeros(1), np.eye(1), VarianceExploding(sigma_max=1.0))
            >>> print(denoiser.score(jnp.array([2.0]), 1.0))  # of N(0, 2)
            [-1.]
        """
        return -self.eps(x_t, t) / self.schedule.sigma(t)

    def velocity(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        """alpha_t' x0_hat + sigma_t' eps_hat, (d,), for t > 0: dx_t/dt on the probability flow.

        Under a discrete schedule it jumps at each step, where it is that of later times.

        Example:
            >>> from motes.diffusion import GaussianOracle, RectifiedFlow
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
            >>> from motes.diffusion import GaussianOracle, Given, LabelledOracle, VarianceExploding
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
        >>> from motes.diffusion import GaussianOracle, VarianceDenoiser, VarianceExploding
        >>> isinstance(GaussianOracle([0.0], [[1.0]], VarianceExploding()), VarianceDenoiser)
        True
    """

    @abstractmethod
    def log_variance(self, x_t: jax.Array, t: jax.Array, s: jax.Array) -> jax.Array:
        """Log of the variance of each column of x_s given x_t, (d,), for s < t.

        Example:
            >>> from motes.diffusion import GaussianOracle, VarianceExploding
            >>> denoiser = GaussianOracle([0.0], [[1.0]], VarianceExploding(sigma_max=1.0))
            >>> print(jnp.exp(denoiser.log_variance(jnp.array([2.0]), 1.0, 0.0)).round(3))  # Var[x_0 | x_t]
            [0.5]
        """
