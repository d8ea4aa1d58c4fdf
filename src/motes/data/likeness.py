"""The order of labels that have none: like ones side by side.

The heaps of a column of labels lie on one line. Where neighbours on it go with like cells of the other columns, the
other columns change smoothly along it, and a network learns them from fewer rows than in the order of the alphabet.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data.bijections import Heaps
from motes.data.cells import Labels
from motes.data.codecs import Codec
from motes.data.frames import Frame, Label, Mask

Array = NDArray[np.float64]
Fitted = tuple[Codec, NDArray[Any]]

ROWS = 20_000  # that say what is alike
LABELS = 16  # of another column, its most frequent ones, by which labels are compared
DOUBT = 10.0  # rows by which the mean of a label is drawn to that of all
ROUNDING = 1e-9  # of the largest place: nearer ones are the same


def by_likeness(frame: Frame, fitted: Sequence[Fitted]) -> list[Fitted]:
    """Codecs with the known cells that they encode, where labels without an order are put into one.

    It is that of the first principal component of the labels' means of all other columns, each in the units of its
    deviation, and labels as marks in those of chance (Greenacre 2017, chapter 4).
    """
    free = [_without_order(codec) for codec, _ in fitted]
    if len(fitted) == 1 or not any(free):
        return list(fitted)
    rows = range(0, len(frame), -(-len(frame) // ROWS))
    looks = [_look(codec, values, ~frame.columns[codec.column].missing, rows) for codec, values in fitted]
    made = []
    for j, ((codec, values), labels) in enumerate(zip(fitted, free, strict=True)):
        if labels:
            others = [look for i, look in enumerate(looks) if i != j]
            codec, values = _reordered(codec, labels, values, order_of(looks[j], others, len(labels)))
        made.append((codec, values))
    return made


def order_of(code: NDArray[Any], others: Sequence[Array | NDArray[np.int64]], labels: int) -> NDArray[np.int64]:
    """So many labels one after the other, (labels,), from what other columns are in the mean of their rows.

    Args:
        code: the label of each row (n,), -1 where it is missing.
        others: columns (n,): numbers of mean 0 and deviation 1, NaN where missing, or codes.
        labels: how many there are.
    """
    means = np.hstack([_means(code, one, labels) for one in others])
    counts = np.bincount(code[code >= 0], minlength=labels)
    if not means.size or not counts.any():
        return np.arange(labels)
    away = means - counts @ means / counts.sum()
    first = np.linalg.svd(np.sqrt(counts)[:, None] * away, full_matrices=False)[2][0]
    place = away @ first
    place *= 1.0 if place[0] <= place[-1] else -1.0
    largest = np.abs(place).max()
    return np.argsort(np.rint(place / (ROUNDING * largest)) if largest > 0 else place, kind="stable")


def _without_order(codec: Codec) -> tuple[Label, ...]:
    """Its labels, where they have no order and are more than two: the mirror image of an order is as good."""
    cells = codec.cells
    if isinstance(cells, Labels) and isinstance(codec.curve, Heaps) and len(cells.labels) > 2:
        return cells.labels
    return ()


def _look(codec: Codec, values: NDArray[Any], known: Mask, rows: range) -> Array | NDArray[np.int64]:
    """What a column says of some rows, (n,): codes, -1 where missing, or numbers of mean 0 and deviation 1, and NaN."""
    place = np.cumsum(known)[rows] - 1
    here = known[rows]
    if isinstance(codec.curve, Heaps):
        return np.where(here, values[place], -1)
    y, _ = codec.encode(values[place[here]], np.full(here.sum(), 0.5))
    made = np.full(len(rows), np.nan)
    with np.errstate(over="ignore", invalid="ignore"):
        spread = y.std() if len(y) else 0.0
        made[here] = (y - y.mean()) / spread if 0 < spread < np.inf else 0.0
    return made


def _means(code: NDArray[Any], look: Array | NDArray[np.int64], labels: int) -> Array:
    """What a column says of rows (n,), in the mean over those of each label: (labels, p)."""
    if look.dtype.kind == "f":
        known = (code >= 0) & ~np.isnan(look)
        counts = np.bincount(code[known], minlength=labels)
        return np.asarray(np.bincount(code[known], look[known], minlength=labels) / (counts + DOUBT))[:, None]
    known = (code >= 0) & (look >= 0)
    counts = np.bincount(look[known])
    often = np.argsort(-counts, kind="stable")[:LABELS]
    often = often[counts[often] > 0]
    share, place = counts[often] / max(counts.sum(), 1), np.full(len(counts), len(often))
    place[often] = np.arange(len(often))
    # With one more for the others: of two columns of names a table of all pairs would not fit in memory.
    width = len(often) + 1
    table = np.bincount(code[known] * width + place[look[known]], minlength=labels * width).reshape(labels, width)
    rows = table.sum(axis=1)[:, None]
    return np.asarray((table[:, :-1] - rows * share) / np.sqrt(share) / (rows + DOUBT))


def _reordered(codec: Codec, labels: tuple[Label, ...], values: NDArray[Any], order: NDArray[np.int64]) -> Fitted:
    counts = np.bincount(values, minlength=len(order))[order]
    cells = Labels(tuple(labels[code] for code in order.tolist()))
    return replace(codec, cells=cells, curve=Heaps.of(counts)), np.argsort(order)[values]
