"""Validation during training: the loss of held-out rows, which decides the best step and when training ends."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.training.averages import Weights
from motes.training.checkpoints import State

LEAST_WAITED = 2  # minimum number of validations without improvement before `Validation.longer` ends training
SURE = 3.0  # if weights are worse than the initial ones by this number of standard errors,
HASTY = 3.0  # patience is divided by this number


class Validation:
    """Evaluates the averaged weights on held-out rows at intervals, and keeps the best ones.

    All members together decide which step is the best and when training ends, since each alone may have too few rows.

    Args:
        losses: weights (M, p) -> the losses of the rows, (M, n).
        shares: weights of the rows in the mean, (M, n), which sum to 1 for each member.
        every: maximum number of steps between two validations.
        patience: training ends after `patience * every` steps without improvement.
        longer: training also ends at this multiple of the best step, if later weights are significantly worse. The best
            step is then the last one that is not: held-out rows cannot tell it from the lowest loss, and it has learned
            more. None: the best step has the lowest loss.
        first: number of steps between the first validations; later ones are a sixth of the step apart.
    """

    def __init__(
        self,
        losses: Callable[[Any], NDArray[np.float64]],
        shares: NDArray[np.float64],
        every: int,
        patience: int,
        longer: float | None = None,
        first: int | None = None,
    ):
        self.losses, self.shares = losses, shares
        self._first, self._every = first or every, every
        self._patience, self._longer = patience, longer
        self.looks: list[tuple[int, float]] = []  # step and loss
        self.best: Weights | None = None
        self._least, self._least_loss = np.zeros_like(shares), np.inf  # the lowest loss, of each row and on average
        self._least_step, self._best_step = 0, 0
        self._waited, self._worse = 0.0, 0.0  # multiples of `every` since the best step; standard errors

    def mean(self, losses: NDArray[np.float64]) -> float:
        """Return the mean loss of the rows."""
        return float((self.shares * losses).sum(axis=1).mean())

    def look(self, now: Weights) -> None:
        """Evaluate the weights, and keep them if they are the best."""
        rows = self.losses(now.average)
        step, mean = int(np.asarray(now.step).mean()), self.mean(rows)
        mean = mean if np.isfinite(mean) else np.inf
        before = self.looks[-1][0] if self.looks else step
        self.looks.append((step, mean))
        self._waited += (step - before) / self._every
        if mean < self._least_loss:
            self._least, self._least_loss, self._least_step, self._worse = rows, mean, step, 0.0
        else:
            by, shares = self.mean(rows - self._least), self.shares / len(rows)
            error = np.sqrt((np.square(shares * (rows - self._least - by))).sum())
            self._worse = float(by / error) if error > 0 else (np.inf if by > 0 else 0.0)
        as_good = self._longer is not None and self._least_step > 0 and self._worse <= 1
        if self.best is None or self._least_step == step or as_good:
            self.best, self._best_step, self._waited = now, step, 0.0

    def following(self, done: int) -> int:
        """Return the step of the first validation after step `done`."""
        step = 0
        while step <= done and step < 6 * self._every:
            step += min(max(step // 6, self._first), self._every)
        return step if step > done else step + self._every * ((done - step) // self._every + 1)

    def is_over(self, done: int) -> bool:
        """Return whether later weights are not expected to improve on the best ones.

        A network may get worse before it improves, so training ends later if the initial weights are the best.
        """
        if self._longer is None:
            worse = False
        elif self._best_step:
            waited = sum(step > self._best_step for step, _ in self.looks)
            worse = self._worse > 1 and waited >= LEAST_WAITED and self._longer * self._best_step <= done
        else:
            worse = self._worse > SURE and self._waited >= self._patience / HASTY
        return worse or self._waited >= self._patience

    @property
    def state(self) -> State:
        """All validations so far, without `best`."""
        arrays = {"looks": np.array(self.looks), "least": self._least}
        numbers = {"least_loss": self._least_loss, "least_step": self._least_step, "best_step": self._best_step}
        return State(arrays, numbers | {"waited": self._waited, "worse": self._worse})

    def go_on(self, state: State, best: Weights, *, anew: bool) -> None:
        """Continue from a state with the same rows and its best weights; `anew`: reset the patience."""
        self.looks = [(int(step), loss) for step, loss in state.arrays["looks"].tolist()]
        self.best, self._least, self._best_step = best, state.arrays["least"], state.numbers["best_step"]
        self._least_loss, self._least_step = state.numbers["least_loss"], state.numbers["least_step"]
        if not anew:
            self._waited, self._worse = state.numbers["waited"], state.numbers["worse"]
