"""Rows from which a Gaussian mixture is learned."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from motes.data.likeness import order_of
from motes.learning.covariances import moments, principal
from motes.learning.gaps import filled, rows_at_most
from motes.learning.rows import systematic

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

HEAP = 1 / 8  # the standard deviation of the heap of a class, where 1 lies between neighbours


class Evidence(NamedTuple):
    """Rows (n, d) in standardised units, and what is known of them."""

    x: Array
    weights: Array | None = None
    """How much each counts, (n,), at least 0; None: 1 each."""
    present: Mask | None = None
    """Which cells are known, (n, d); of the others nothing is read. None: all of them."""
    labels: NDArray[np.int32] | None = None
    """To which class each belongs, (n,)."""
    classes: int = 0
    heaps: Array | None = None
    """Standard deviations of the heaps that rows lie in, such as those of labels; 0 in columns without any, (d,)."""
    classed: bool = False
    """Whether the last column is the class."""

    def with_classes(self) -> "Evidence":
        """The class as one more column, the last: heaps on a line, like classes side by side.

        So a component has rows of one class, or of like ones, where that makes rows and classes together likelier.
        """
        if self.labels is None or self.classes < 2:
            return self
        known = self.x if self.present is None else np.where(self.present, self.x, np.nan)
        order = order_of(self.labels, list(known.T), self.classes)
        place = np.argsort(order)[self.labels] + HEAP * np.random.default_rng(0).standard_normal(len(self.x))
        mean, covariance = moments(place[:, None], self.weights)
        std = float(np.sqrt(covariance[0, 0]))
        heaps = np.zeros(self.x.shape[1]) if self.heaps is None else self.heaps
        return self._replace(
            x=np.column_stack([self.x, (place - mean) / std]),
            present=None if self.present is None else np.column_stack([self.present, np.ones(len(self.x), bool)]),
            heaps=np.append(heaps, HEAP / std),
            classed=True,
        )

    def drawn(self, most: int) -> "Evidence":
        """In mixed order, each row as often as its weight says; so many of them at most, and fewer with holes.

        What is missing is as in the rows most like them.
        """
        rng = np.random.default_rng(0)
        rows = rng.permutation(len(self.x)) if self.weights is None else systematic(rng, self.weights)
        rows = rows[: most if self.present is None else min(most, rows_at_most(self.x.shape[1]))]
        present = None if self.present is None else self.present[rows]
        return self._replace(
            x=self.x[rows] if present is None else filled(self.x[rows], present),
            weights=None,
            present=present,
            labels=None if self.labels is None else self.labels[rows],
        )

    def whitened(self, mean: Array, covariance: Array, evenly: bool) -> tuple[Array, Array, Array | None]:
        """w (n, d), and the root (d, d) with x - mean = root @ w by which components are blurred.

        That is a root of the covariance, or `evenly` the identity, and across heaps that of their widths. Where the
        last column is the class, w without what that has become, too: (n, d - 1).
        """
        by = np.eye(len(mean)) if evenly else covariance.copy()
        if self.heaps is not None:
            apart = self.heaps > 0
            by[apart] = by[:, apart] = 0
            by[apart, apart] = self.heaps[apart] ** 2
        variances, axes = principal(by)
        std = np.sqrt(variances)
        w, root = ((self.x - mean) @ axes) / std, axes * std
        # A heap is whitened by itself, so that the class is one of the columns of w.
        return w, root, np.delete(w, np.abs(root[-1]).argmax(), axis=1) if self.classed else None
