"""The classes of a table's rows as one more column of it.

rows (n, d), classes (n,)  ->  columns (n, d + 1), of which the last holds labels
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data._frames import Frame
from motes.data._series import Label, Series, is_missing
from motes.errors import DataError, UsageError

Codes = NDArray[np.integer]
Classes = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Target:
    """The column of classes.

    Attributes:
        column: its name: "y", followed by as many "_" as make it new.
        classes: the distinct ones in their order, (c,), of any type that has an order.
    """

    column: str
    classes: Classes

    @classmethod
    def of(cls, labels: Classes, taken: Collection[str]) -> "Target":
        """Of labels (n,), beside columns whose names are `taken`."""
        column = "y"
        while column in taken:
            column += "_"
        return cls(column, np.unique(labels))

    @property
    def names(self) -> tuple[Label, ...]:
        """What the column calls the classes: whole numbers, true or false and texts as they are, all else as text."""
        classes = self.classes
        if classes.dtype.kind == "f" and (np.rint(classes) == classes).all():
            return tuple(classes.astype(np.int64).tolist())
        plain = (classes.astype(str) if classes.dtype.kind == "M" else classes).tolist()
        return tuple(plain if all(isinstance(one, str | int) for one in plain) else map(str, plain))

    def codes(self, y: Any, n: int, *, refuse: bool = False) -> Codes:
        """The place among the classes of that of each of n rows, (n,), or of the one of all; -1: no such class.

        Raises:
            UsageError: classes of another number of rows; with `refuse` an unknown class.
        """
        given = np.asarray(y)
        if given.shape not in ((), (n,)):
            raise UsageError(f"y has shape {given.shape}; expected one class, or ({n},), one for each row.")
        if self.classes.dtype.kind == "M":
            given = given.astype(self.classes.dtype)
        place = {one: code for code, one in enumerate(self.classes.tolist())}
        plain = given.reshape(-1).tolist()
        codes = np.array([place.get(one, -1) for one in plain], np.int64)
        if refuse and (codes < 0).any():
            wrong, known = plain[int((codes < 0).argmax())], ", ".join(map(str, place))
            raise UsageError(f"class {wrong!r} was not among those of the first fit: {known}.")
        return np.broadcast_to(codes, n) if given.shape == () else codes

    def beside(self, frame: Frame, codes: Codes) -> Frame:
        """The columns of a frame, and this one: classes by their places (n,), missing where they are below 0."""
        series = Series("label", np.maximum(codes, 0), codes < 0, self.names)
        return Frame({**frame.columns, self.column: series})

    def packed(self) -> NDArray[np.uint8]:
        """Column, dtype and classes as bytes of JSON.

        Raises:
            UsageError: classes that JSON cannot hold.
        """
        plain = (self.classes.astype(str) if self.classes.dtype.kind == "M" else self.classes).tolist()
        try:
            return np.frombuffer(json.dumps([self.column, self.classes.dtype.str, plain]).encode(), np.uint8)
        except TypeError as error:
            raise UsageError(f"classes that no file can hold: {error}. Give labels as texts or numbers.") from None

    @classmethod
    def unpacked(cls, raw: NDArray[np.uint8]) -> "Target":
        """What `packed` gave.

        Raises:
            TypeError, ValueError: anything else.
        """
        column, dtype, plain = json.loads(raw.tobytes())
        found, kind = np.array(plain), np.dtype(dtype)
        if found.ndim != 1 or len(np.unique(found)) != len(found) or kind.itemsize > max(found.itemsize, 16):
            raise ValueError(f"its classes are of {kind} and have shape {found.shape}; expected different ones, (c,)")
        return cls(column, np.array(plain, kind))


def check_labels(labels: Classes) -> None:
    """Refuse labels (n,) of which one is missing, or that have no order.

    Raises:
        DataError: it names the row, or the types.
    """
    for i, label in enumerate(labels.tolist()):
        if is_missing(label):
            raise DataError(f"the label of row {i + 1} is {label!r}; expected a class. Leave out rows without one.")
    try:
        np.unique(labels)
    except TypeError:
        kinds = " and ".join(sorted({type(label).__name__ for label in labels.tolist()}))
        raise DataError(
            f"the labels are of types {kinds}, which have no order; expected one type. Give labels of one type."
        ) from None
