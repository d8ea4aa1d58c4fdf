"""What there is to see of a model of a table: its figures, and its diagnosis with these."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data._frames import Frame
from motes.diagnosis._of_tables import TableDiagnosis, diagnose_table
from motes.errors import UsageError
from motes.evaluation._associations import associations
from motes.evaluation._views import view_of
from motes.models._table_sources import TableSource, evaluation_source
from motes.models._tables import TableModel
from motes.runs._folder import TABLE_FIGURES, make_folder, write

ROWS = 2000  # synthetic and real rows of a figure, at most
SHOWN = 5  # columns of the matrix of pairs
LEVELS = 20  # labels of a column between which associations are taken


def table_diagnosis(model: TableModel, source: Any, *, seed: int = 0) -> TableDiagnosis:
    """The diagnosis of a model of a table by the rows held out of its training, another file's, or rows in memory.

    Raises:
        UsageError: rows that are not to be had, or none that the model has not seen.
        DataError: rows that cannot be used.
    """
    origin = evaluation_source(model, source)
    if origin.held_out is None:
        raise UsageError(
            f"got the rows of the training alone ({origin.name}); expected rows that the model has not seen. Give "
            "others, or train on a file with data.held_out above 0."
        )
    known = origin.training if origin.known else None
    of = f"held-out rows of {origin.name}" if origin.known else f"rows of {origin.name}"
    return diagnose_table(model, origin.held_out, known, evaluated_against=of, seed=seed)


def keep_table_diagnosis(found: TableDiagnosis, out: Path, style: str) -> list[Path]:
    """Write the numbers of a diagnosis and its figure into the folder `out`; returns their paths."""
    from motes import figures
    from motes.runs._pictures import save  # matplotlib is slow to load

    make_folder(out)
    numbers = out / "diagnosis.json"
    write(numbers, json.dumps(found.to_dict(), indent=2) + "\n")
    title = f"{found.rows:,} {found.evaluated_against}"
    simple = found.mixture - found.alone
    figure = figures.column_gains(found.columns, found.gain, found.errors, simple, title=title, style=style)
    return [numbers, save(figure, out / "column_gains.png")]


def draw_table(model: TableModel, origin: TableSource, out: Path, style: str, seed: int) -> Iterator[Path]:
    """Write the pictures of a model into `out`/figures: its columns, pairs of them, and the loss of a fresh training.

    Args:
        model: trained.
        origin: real rows, to be drawn beside the synthetic ones.
        out: the folder.
        style: "dark" or "light".
        seed: of the synthetic rows.
    """
    from motes import figures
    from motes.runs._pictures import save  # matplotlib is slow to load

    folder = out / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    real = model.schema.frame(origin.training)
    real = real.take(np.sort(np.random.default_rng([seed, 271828]).permutation(len(real))[:ROWS]))
    synthetic = model.sample(min(ROWS, len(real)), seed=seed)
    title = f"{len(synthetic):,} synthetic rows"
    ours, theirs = ({name: rows[name] for name in rows.names} for rows in (synthetic.without(()), real))
    yield save(figures.marginals(ours, theirs, title=title, style=style), folder / TABLE_FIGURES[0])
    some = linked_columns(model, real)
    if len(some) > 1:
        ours, theirs = ({name: entries[name] for name in some} for entries in (ours, theirs))
        yield save(figures.pairs(ours, theirs, title=title, seed=seed, style=style), folder / TABLE_FIGURES[1])
    training = model.training
    if training is not None and len(training.losses):
        steps = np.arange(len(training.losses)) + 1
        looks = training.held_out.T if len(training.held_out) else None
        window = max(len(steps) // 40, 1)
        axes = figures.loss_curve(steps, training.losses, held_out=looks, window=window, style=style)
        yield save(axes, folder / TABLE_FIGURES[2])


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
