"""Columns of numbers whose codes are too coarse: a histogram of the training rows knows more of them than the model."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from motes.data._frames import Frame
from motes.diagnosis._findings import Finding
from motes.diagnosis._setting import SURE
from motes.recipes._tables import Table

Array = NDArray[np.float64]

EACH = 10  # training rows in a bin of the histogram, at least
LOST = 0.1  # nats a row: what the histogram may know more
REAL = 0.9  # share of different values among numbers that have a density


def few_bins(unseen: Frame, training: Frame, columns: tuple[str, ...], log_prob: Array, bins: int) -> Iterator[Finding]:
    """Found where the recipe has fewer bins than its default, and a histogram with as many explains unseen rows better.

    Args:
        unseen: rows that the model has not seen, n of them.
        training: rows that it has.
        columns: those that are learned, c of them.
        log_prob: log p of each of them given those before it, by the model, (n, c).
        bins: of the recipe.
    """
    if bins >= Table.bins:
        return
    lost = {
        column: found
        for k, column in enumerate(columns)
        if (found := _lost(unseen, training, column, log_prob[:, k])) is not None
    }
    if not lost or max(lost.values()) < LOST:
        return
    worst = max(lost, key=lambda column: lost[column])
    yield Finding(
        "few_bins",
        lost[worst],
        f"With {bins} bins at most '{worst}' is learned too coarsely: a histogram of {Table.bins} bins makes unseen "
        "values likelier, by so many nats a row.",
        f"--set table.bins={Table.bins}",
    )


def _lost(unseen: Frame, training: Frame, column: str, log_prob: Array) -> float | None:
    """Nats a row by which a histogram is surely better; None of a column without a density, and of too few rows."""
    seen, new = training.columns[column], unseen.columns[column]
    count = min(Table.bins, len(seen.known) // EACH)
    if seen.type != "real" or count < 2 or len(np.unique(seen.known)) < REAL * len(seen.known):
        return None
    edges = np.unique(np.quantile(seen.known, np.linspace(0, 1, count + 1)))
    masses = np.histogram(seen.known, edges)[0] / len(seen.known)
    inside = ~new.missing & (new.values > edges[0]) & (new.values < edges[-1]) & np.isfinite(log_prob)
    if inside.sum() < EACH:
        return None
    at = np.searchsorted(edges, new.values[inside], "right") - 1
    more = np.log(masses[at] / np.diff(edges)[at]) - log_prob[inside]
    return float(more.mean() - SURE * more.std() / np.sqrt(len(more)))
