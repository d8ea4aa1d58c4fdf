"""Conditional denoisers: given a class, numbers, or some of the columns.

    E[x_0 | x_t, label, context],    E[x_0 | x_t, x_0 where m = 1],    m in {0, 1}^d the observed mask

The conditioning is the third input of the network. A mask is drawn for each row of a batch, so that one network learns
the joint distribution (m = 0) and all conditional distributions (Gloeckler et al. 2024, who use a transformer).
"""

from dataclasses import dataclass
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from motes.points.denoisers import Denoiser, Given, Learned
from motes.points.schedules import Schedule
from motes.ranges import Checked, number


class Conditional(Denoiser):
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

    def __call__(self, x_t: Array, t: Array) -> Array:
        return self.x0_and_eps(x_t, t)[0]

    def x0_and_eps(self, x_t: Array, t: Array) -> tuple[Array, Array]:
        return self.given(Given()).x0_and_eps(x_t, t)


# --- Any columns of a point given any others --------------------------------------------------------------------------


Masks = NDArray[np.bool_]


@dataclass(frozen=True)
class Conditions(Checked):
    """Frequencies of the columns that training conditions on. Only ratios count; all 0 disables conditioning.

    Example:
        >>> from motes.points.conditional import Conditions
        >>> half = Conditions(joint=1.0, posterior=1.0)
        >>> half.masks(np.array([False, True]), np.random.default_rng(0)).mean(axis=0).round(1).tolist()
        [0.0, 0.5]
    """

    PATTERNS: ClassVar[int] = 4096  # number of masks; each row of a batch uses one

    joint: float = number(0.0, 0, 1e6)  # conditions on no column
    posterior: float = number(0.0, 0, 1e6)  # conditions on the columns of `given`
    likelihood: float = number(0.0, 0, 1e6)  # conditions on all other columns
    random: float = number(0.0, 0, 1e6)  # conditions on random columns, with a random probability for all columns

    @property
    def learned(self) -> bool:
        """Whether conditional distributions are learned."""
        return any(self._shares)

    @property
    def _shares(self) -> tuple[float, ...]:
        return self.joint, self.posterior, self.likelihood, self.random

    def masks(self, observed: Masks, rng: np.random.Generator) -> Masks:
        """Draw masks (PATTERNS, d) in random order; `observed` (d,) are the columns of `given`.

        Example:
            >>> from motes.points.conditional import Conditions
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
    """A denoiser given any columns, E[x_0 | x_t, x_0 where m = 1].

    The context of `given` (2 d,) is the point, whose values are used where m = 1, followed by the mask m; without it
    nothing is observed. In observed columns it returns the observed values; with `apart`, it treats them as independent
    N(0, 1) columns, whose log-density is known.

    Example:
        >>> from motes.points import Given, VarianceExploding
        >>> from motes.points.denoisers import X0Predictor
        >>> from motes.points.conditional import AnyConditional
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

    def __call__(self, x_t: Array, t: Array) -> Array:
        return self.x0_and_eps(x_t, t)[0]

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
