"""Any columns of a point given any others: one network, which is shown some columns as they are and learns the others.

    E[x_0 | x_t, x_0 where m = 1],    m in {0, 1}^d the observed mask

A mask is drawn for each row of a batch, so that one network learns the joint distribution (m = 0) and all conditional
ones (Gloeckler et al. 2024, whose network is a transformer).
"""

from dataclasses import dataclass
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from motes._ranges import Checked, number
from motes.diffusion._denoiser import Denoiser, Given
from motes.diffusion._schedules import Schedule
from motes.learning._denoisers import Learned

Masks = NDArray[np.bool_]


@dataclass(frozen=True)
class Conditions(Checked):
    """How often training shows which columns; only the ratios of the four count, and all 0: none is ever shown.

    Example:
        >>> from motes.learning import Conditions
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
            >>> from motes.learning import Conditions
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
    """The equation above; `given` takes the context (2 d,): the points, of which the observed columns count, and m.

    Without it nothing is observed. Its answer in observed columns is what was observed; with `apart` it is that of
    N(0, 1), which is independent of the others, and whose log-density is known.

    Example:
        >>> from motes.diffusion import Given, VarianceExploding
        >>> from motes.learning import AnyConditional, X0Predictor
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
            >>> from motes.diffusion import Given
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
