"""The losses of a training, in windows of steps."""

import numpy as np
from numpy.typing import NDArray


def running_loss(losses: NDArray[np.float32], windows: int = 400) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The mean loss of equal windows of steps, (steps,) -> the last step of each window, and the mean, (w,) each.

    Example:
        >>> running_loss(np.array([4.0, 2.0, 1.0, 1.0]), windows=2)
        (array([2, 4]), array([3., 1.]))
    """
    steps = len(losses)
    if not steps:
        return np.zeros(0, np.int64), np.zeros(0)
    edges = np.unique(np.linspace(0, steps, min(windows, steps) + 1).round().astype(np.int64))
    sums = np.add.reduceat(losses.astype(np.float64), edges[:-1])
    return edges[1:], sums / np.diff(edges)
