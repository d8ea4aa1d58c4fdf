"""Guidance: away from a weaker denoiser, by more than the whole way to a stronger one.

    x0_hat = weak + weight (strong - weak)

With `strong` that of a class and `weak` that of all classes it is classifier-free guidance (Ho & Salimans 2022, eq. 6,
whose w is weight - 1), with `weak` a worse copy of `strong` it is autoguidance (Karras et al. 2024, eq. 3). A weight of
1 is `strong` itself. With another weight the points have no distribution that could be written down: it is a picture of
what is typical of a class, sharper than the class is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from motes.diffusion._denoiser import Denoiser, Given
from motes.diffusion._schedules import Schedule
from motes.errors import UsageError


@dataclass(frozen=True)
class Guidance:
    """How far samples are led away from a weaker denoiser, and when.

    Attributes:
        weight: 1 leaves the model as it is; 2 to 4 makes points more typical of their class, and less various.
        low, high: the times between which it is used, 0 = data, 1 = noise.
        weak: a worse copy of the model of points, to be led away from that ("autoguidance"); None: from all classes
            together.

    Raises:
        UsageError: numbers out of range.

    Example:
        >>> x, labels = motes.make_labelled_shape("moons", 200)
        >>> labelled = motes.fit(x, labels=labels, changes={"training.steps": 2}, verbose=False)
        >>> labelled.sample(3, label=1, how={"guidance": motes.Guidance(2.0, high=0.8)}).shape
        (3, 2)
    """

    weight: float
    low: float = 0.0
    high: float = 1.0
    weak: Any = None

    def __post_init__(self) -> None:
        weight: object = self.weight  # of which nobody has checked the type
        if isinstance(weight, bool) or not isinstance(weight, int | float | np.number) or not 0 <= weight < math.inf:
            raise UsageError(f"guidance weight = {weight!r}; expected a finite number at least 0. 1 is no guidance.")
        if not 0 <= self.low < self.high <= 1:
            raise UsageError(
                f"guidance from t = {self.low} to {self.high}; expected 0 <= low < high <= 1, 0 being data and 1 noise."
            )


class Guided(Denoiser):
    """The equation above where low <= t <= high (Kynkaanniemi et al. 2024), and `strong` elsewhere.

    Args:
        strong: the denoiser that is guided.
        weak: what it is led away from.
        weight: how far; 0 is `weak`, 1 is `strong`.
        low, high: the interval of t.
        weak_knows: whether `weak` is given the class as well, as in autoguidance.

    Example:
        >>> from motes.diffusion import GaussianOracle, VarianceExploding
        >>> from motes.sampling import Guided
        >>> schedule = VarianceExploding(sigma_max=1.0)
        >>> strong, weak = (GaussianOracle([mean], [[1.0]], schedule) for mean in (1.0, 0.0))
        >>> print(strong(jnp.array([0.0]), 1.0), Guided(strong, weak, 3.0)(jnp.array([0.0]), 1.0))
        [0.5] [1.5]
    """

    strong: Denoiser
    weak: Denoiser
    weight: jax.Array
    low: jax.Array
    high: jax.Array
    weak_knows: bool = eqx.field(static=True)
    schedule: Schedule

    def __init__(
        self,
        strong: Denoiser,
        weak: Denoiser,
        weight: float,
        *,
        low: float = 0.0,
        high: float = 1.0,
        weak_knows: bool = False,
    ):
        self.strong, self.weak, self.weak_knows, self.schedule = strong, weak, weak_knows, strong.schedule
        # As arrays, so that another weight is not another program.
        self.weight, self.low, self.high = jnp.array(weight), jnp.array(low), jnp.array(high)

    def given(self, known: Given) -> Guided:
        strong = self.strong.given(known)
        # The class is what it is led away from; what else is known holds on both sides.
        less = known if self.weak_knows else known._replace(label=None)
        weak = self.weak.given(less) if jax.tree.leaves(less) else self.weak
        return eqx.tree_at(lambda guided: (guided.strong, guided.weak), self, (strong, weak))

    def __call__(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        return self.x0_and_eps(x_t, t)[0]

    def x0_and_eps(self, x_t: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        weight = jnp.where((self.low <= t) & (t <= self.high), self.weight, 1.0)
        strong, weak = self.strong.x0_and_eps(x_t, t), self.weak.x0_and_eps(x_t, t)
        x0, eps = (b + weight * (a - b) for a, b in zip(strong, weak, strict=True))
        return x0, eps
