"""The classes of rows: names <-> the numbers 0, 1, ... that a network is told."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.errors import DataError, UsageError, unknown

Name = str | int
MOST = 1000


@dataclass(frozen=True)
class Classes:
    """Their names, in order, and how many training rows each had, or what their weights add up to."""

    names: tuple[Name, ...]
    counts: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def of(cls, labels: ArrayLike, weights: NDArray[np.float64] | None = None) -> "Classes":
        """Those that occur among `labels` (n,), whole numbers or texts, of rows with these weights (n,), or 1 each.

        Raises:
            DataError: anything else, fewer than two classes, or more than a thousand.
        """
        array = np.asarray(labels)
        if array.ndim != 1 or array.dtype.kind not in "iubUO":
            raise DataError(
                f"the labels have shape {array.shape} and type {array.dtype}; expected (n,), whole numbers or texts."
            )
        if array.dtype.kind == "O":
            for i, label in enumerate(array):
                if not isinstance(label, str | int | np.integer):
                    raise DataError(f"the label of row {i + 1} is {label!r}; expected a whole number or a text.")
        names, places = np.unique(array.astype(str) if array.dtype.kind == "O" else array, return_inverse=True)
        counts = np.bincount(places, weights)
        if not 2 <= len(names) <= MOST:
            raise DataError(
                f"the labels have {len(names)} class{'es' * (len(names) != 1)} in {len(array)} rows; expected 2 to "
                f"{MOST:,}. A label is the name of a group of rows."
            )
        return cls(tuple(_plain(name) for name in names), tuple(counts.tolist()))

    @property
    def weights(self) -> NDArray[np.float64]:
        """How frequent each class was, (c,), with sum 1."""
        return np.array(self.counts) / sum(self.counts)

    def number(self, name: object) -> int:
        """Which class is called `name`; '1' and 1 are the same.

        Raises:
            UsageError: none is.
        """
        names = [str(known) for known in self.names]
        if str(name) not in names:
            raise UsageError(unknown("label", str(name), names))
        return names.index(str(name))

    def numbers(self, labels: Any, n: int) -> NDArray[np.int32]:
        """The classes of `n` rows, (n,): from one name for all of them, or from a name for each.

        Raises:
            UsageError: an unknown name, or another number of them.
        """
        if np.ndim(labels) == 0:
            return np.full(n, self.number(labels), np.int32)
        if np.shape(labels) != (n,):
            raise UsageError(f"the labels have shape {np.shape(labels)}; expected one, or ({n},), one for each row.")
        names, places = np.unique(np.asarray(labels).astype(str), return_inverse=True)
        return np.array([self.number(name) for name in names], np.int32)[places]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"names": self.names, "counts": self.counts}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Classes":
        """What `to_dict` gave."""
        return cls(tuple(values["names"]), tuple(values["counts"]))


def _plain(name: Any) -> Name:
    return str(name) if isinstance(name, str) else int(name)
