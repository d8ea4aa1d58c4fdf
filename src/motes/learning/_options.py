"""How points are trained: the section `[training]` of a recipe."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import optax

from motes._ranges import Checked, number
from motes.learning._losses import Loss
from motes.learning._optimisers import rising_and_falling, with_inputs
from motes.learning._soap import scale_by_soap

SNAPSHOT_RATIO = 2  # of the steps of a snapshot to those of the one before


@dataclass(frozen=True)
class Training(Checked):
    """The optimiser, its learning rate, and the moving average of the weights.

    A subclass may have a `make_optimiser` of its own.

    Example:
        >>> from motes.learning import Training
        >>> options = Training(steps=2_000, learning_rate=1e-3)
        >>> options.steps, options.batch
        (2000, 512)
    """

    steps: int = number(5000, 1, 10**9)
    batch: int = number(512, 1, 10**7)
    last_batch: Literal["fill", "partial"] = "fill"  # a short last batch: from the next epoch, or left short
    target: Literal["row", "stable"] | None = None  # x_0, or its mean over the batch given x_t; None: suits the loss
    optimiser: Literal["adam", "soap"] = "soap"  # soap: Adam in a basis of its own for each matrix of weights
    learning_rate: float = number(2e-2, 0, 1000, open_low=True)
    decay: Literal["constant", "cosine"] = "cosine"
    warmup: int = number(100, 0, 10**9)  # steps over which the learning rate rises from 0
    clip_norm: float = number(1.0, 0, 1e12, open_low=True)
    ema: float = number(0.998, 0, 1)
    weights: Literal["averaged", "last"] = "averaged"  # the ones that are sampled from
    label_dropout: float = number(0.1, 0, 1)  # how often a row's label is withheld
    validation: float = number(0.0, 0, 0.9)  # share of the rows that says when to stop; 0: all steps are taken
    check_every: int = number(100, 1, 10**9)  # steps from one look at these rows to the next
    patience: int = number(10, 1, 10**9)  # looks without a better loss, after which training stops
    averages: int = number(32, 0, 1000)  # stores of two averages over the run, from which any other is made; 0: none
    snapshots: int = number(5, 0, 64)  # of the weights, each after twice as many steps as the one before; 0: none

    def make_optimiser(self, shapes: Sequence[tuple[int, ...]] = ()) -> optax.GradientTransformation:
        """Make the optimiser of one vector of weights, with the clipping and the learning rate that these options say.

        `equinox.filter_jit` takes its numbers as inputs: other numbers need no other program.

        Args:
            shapes: of the arrays that lie in the vector one after another, for "soap".

        Example:
            >>> from motes.learning import Training
            >>> optimiser = Training(learning_rate=1e-3, decay="constant", warmup=0).make_optimiser()
            >>> weights = jnp.zeros(2)
            >>> change, state = optimiser.update(jnp.array([3.0, -4.0]), optimiser.init(weights))
            >>> change.tolist()  # Adam's first step is as long for every weight
            [-0.001, 0.001]
        """
        falls = self.steps - self.warmup if self.decay == "cosine" else np.inf
        make = _soap(tuple(shapes)) if self.optimiser == "soap" else _adam
        return with_inputs(make, self.learning_rate, self.warmup, max(falls, 1), self.clip_norm)

    def stable_target(self, loss: Loss) -> bool:
        """Whether rows regress on the mean of x_0 over their batch: where nothing is said, if that suits the loss.

        Example:
            >>> from motes.learning import EDM, Hybrid, Training
            >>> Training().stable_target(EDM()), Training().stable_target(Hybrid())
            (True, False)
        """
        return getattr(loss, "squared", False) if self.target is None else self.target == "stable"

    def snapshot_steps(self) -> tuple[int, ...]:
        """The steps after which a snapshot of the weights is taken: as much happens from each to the next.

        Example:
            >>> from motes.learning import Training
            >>> Training(steps=2_000).snapshot_steps()
            (120, 250, 500, 1000, 2000)
        """
        exact = [self.steps / SNAPSHOT_RATIO**k for k in range(1, self.snapshots)]
        rounded = {int(float(f"{step:.2g}")) for step in exact if step >= 1}
        return (*sorted(rounded - {self.steps}), self.steps) if self.snapshots else ()


def _adam(rate: Any, warmup: Any, falls: Any, clip_norm: Any) -> optax.GradientTransformation:
    return optax.chain(optax.clip_by_global_norm(clip_norm), optax.adam(rising_and_falling(rate, warmup, falls)))


@cache  # programs are compared by it
def _soap(shapes: tuple[tuple[int, ...], ...]) -> Callable[..., optax.GradientTransformation]:
    def make(rate: Any, warmup: Any, falls: Any, clip_norm: Any) -> optax.GradientTransformation:
        rates = optax.scale_by_learning_rate(rising_and_falling(rate, warmup, falls))
        return optax.chain(optax.clip_by_global_norm(clip_norm), scale_by_soap(shapes), rates)

    return make
