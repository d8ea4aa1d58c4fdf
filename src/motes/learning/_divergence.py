"""Has a training diverged? It has in one of three forms, and each is named by the step at which it began.

a loss that is not finite
a weight, or an average of one, that is not finite
losses that stay above a limit, which those of a network that has learned nothing are far below
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

FIRST = 8  # losses that tell what a network begins with
WINDOW = 100  # so many losses in a row above the limit are a divergence
AT_END = 10  # and so many where the training ends
TIMES = 3.0  # of the loss of the first steps


def times_the_first(first: float) -> float:
    """The limit of a loss that is a squared error: some times that of the first steps, or as far above it."""
    return first + (TIMES - 1) * abs(first) if first else np.inf


class Guard:
    """Watches the losses of a training.

    Args:
        limit: the least loss of the first steps -> the limit.
        steps: of the training.
        losses: of earlier steps of this training, (k,).
    """

    def __init__(self, limit: Callable[[float], float], steps: int, losses: ArrayLike = ()):
        self._limit, self._steps = limit, steps
        self._first: list[float] = np.asarray(losses, np.float64)[:FIRST].tolist()
        self._run: list[float] = []  # the newest losses that are above the limit

    @property
    def sound(self) -> bool:
        """The newest loss is not above the limit."""
        return not self._run

    def fault(self, done: int, losses: NDArray[np.float32], finite: bool) -> str | None:
        """What is wrong, with its step; None: nothing.

        Args:
            done: steps before these.
            losses: of the newest steps, (k,).
            finite: whether all weights are, after the last of them.
        """
        if not np.isfinite(losses).all():
            wrong = int(np.argmin(np.isfinite(losses)))
            return f"the loss was {losses[wrong]} at step {done + wrong + 1:,} of {self._steps:,}"
        if not finite:
            return f"the weights were not finite after step {done + len(losses):,} of {self._steps:,}"
        self._first += losses[: FIRST - len(self._first)].tolist() if len(self._first) < FIRST else []
        for step, loss in enumerate(losses.tolist(), start=done + 1):
            self._run = [*self._run, loss] if loss > self.limit else []
            if len(self._run) == WINDOW:
                return self._stayed(step)
        return None

    def fault_at_end(self, done: int) -> str | None:
        """What is wrong where the training ends, after `done` steps; None: nothing."""
        return self._stayed(done) if len(self._run) >= AT_END else None

    @property
    def limit(self) -> float:
        """What losses stay below."""
        return self._limit(min(self._first))

    def _stayed(self, step: int) -> str:
        begin = step - len(self._run) + 1
        return (
            f"the loss was {self._run[0]:.3g} at step {begin:,} of {self._steps:,} and stayed above {self.limit:.3g} "
            f"up to step {step:,}; it began with {min(self._first):.3g}"
        )
