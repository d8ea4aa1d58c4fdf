"""The figures of a model of a table: distributions of its columns, and pairs of those that belong together."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motes import plots
from motes.data._frames import Frame
from motes.evaluation._associations import associations
from motes.evaluation._views import view_of
from motes.models._sources import Source
from motes.models._tables import TableModel
from motes.runs._drawing import Album

ROWS = 2000  # synthetic and real rows of a figure, at most
SHOWN = 5  # columns of the matrix of pairs
LEVELS = 20  # labels of a column between which associations are taken


def table_figures(model: TableModel, origin: Source[Frame], album: Album, *, seed: int) -> Iterator[Path]:
    """Write the figures of a table: its columns, and pairs of them.

    Args:
        model: trained.
        origin: real rows, to be drawn beside the synthetic ones.
        album: of the figures.
        seed: of the synthetic rows and of the choice of real ones.
    """
    real = model.schema.contents(origin.training)
    real = real.take(np.sort(np.random.default_rng([seed, 271828]).permutation(len(real))[:ROWS]))
    synthetic = model.draw(min(ROWS, len(real)), seed=seed)
    title = f"{len(synthetic):,} synthetic rows"
    ours, theirs = ({name: rows[name] for name in real.names} for rows in (synthetic, real))
    rows = f"{len(synthetic):,} synthetic and {len(real):,} real rows"
    yield album.save(plots.marginals(ours, theirs, title=title, style=album.look), "marginals", rows)
    some = linked_columns(model, real)
    if len(some) > 1:
        ours, theirs = ({name: entries[name] for name in some} for entries in (ours, theirs))
        yield album.save(plots.pairs(ours, theirs, title=title, seed=seed, style=album.look), "pairs", rows)


def linked_columns(model: TableModel, rows: Frame) -> list[str]:
    """Up to five columns: those that are most strongly associated with one another, in the order of the table."""
    view = view_of(model.schema, {"real": rows})
    merged, levels = view.merged(LEVELS)
    found = np.nan_to_num(np.abs(associations(merged["real"], view.discrete, levels)))
    np.fill_diagonal(found, 0.0)
    chosen: list[int] = []
    while len(chosen) < min(SHOWN, len(view.names)):
        chosen.append(_next(found, chosen))
    return [view.names[j] for j in sorted(chosen)]


def _next(found: NDArray[np.float64], chosen: list[int]) -> int:
    """The column with the strongest association: with any at first, then with a chosen one."""
    strength = found.max(axis=1) if not chosen else found[:, chosen].max(axis=1)
    strength[chosen] = -1.0
    return int(strength.argmax())
