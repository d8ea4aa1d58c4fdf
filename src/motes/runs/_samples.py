"""Rows of a model, drawn with their progress shown."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import singledispatch
from typing import Any

import numpy as np

from motes._progress import Reporter
from motes.data._frames import Frame, as_frame
from motes.data._series import of_values
from motes.data._tables import Table
from motes.data._writing import Write
from motes.errors import UsageError
from motes.models._model import Model
from motes.models._points import PointModel
from motes.models._posteriors import PosteriorModel
from motes.models._tables import Evidence, TableModel, evidence_of
from motes.sampling._options import Sampling

SAMPLES = 10_000  # that a run draws
LABEL = "label"  # the column of the classes of points that were trained on with labels in memory


@dataclass(frozen=True)
class Request:
    """The rows that are requested of a model.

    Attributes:
        n: how many.
        given: conditions; see `sample` of the model.
        seed: of the draw.
        exact: of a table: weigh rows by the model's own order.
        placeholders: of a table: number the rows in columns that are set aside.
        iid: of points: `given` holds independent observations of one row.
        how, label: of points.
    """

    n: int
    _: KW_ONLY
    given: Any = field(default_factory=dict)
    seed: int = 0
    exact: bool = False
    placeholders: bool = False
    iid: bool = False
    how: Sampling | None = None
    label: Any = None


@singledispatch
def drawn(model: Model, request: Request, reporter: Reporter) -> tuple[Frame, Any]:
    """Samples as a table, points with the column of their class; and what the model itself gives: points (n, d).

    Where no class of points is requested, each row's is drawn: a class is as frequent as it was in the training.
    Conditions are for `write_samples`.
    """
    raise UsageError(f"a {type(model).__name__} draws points given an observation; see `write_samples`.")


@drawn.register
def _(model: TableModel, request: Request, reporter: Reporter) -> tuple[Frame, Any]:
    with reporter.counting("sampling", request.n, "rows") as count:
        rows = model.draw(request.n, seed=request.seed, on_block=count)
    return rows, rows


@drawn.register
def _(model: PointModel, request: Request, reporter: Reporter) -> tuple[Frame, Any]:
    n, seed, label = request.n, request.seed, request.label
    with reporter.counting("sampling", n, "rows") as count:
        if model.classes is None:
            points = model.draw(n, seed=seed, on_block=count, label=label, how=request.how)
            return as_frame(Table(points, model.columns)), points
        names = np.array(model.classes.names)
        labels = np.full(n, label)
        if label is None:
            labels = np.random.default_rng([seed, 662607]).choice(names, n, p=model.classes.weights)
        points = model.draw(n, seed=seed, on_block=count, label=labels, how=request.how)
    classes = of_values(names[model.classes.numbers(labels, n)], LABEL, "the samples")
    return Frame({**as_frame(Table(points, model.columns)).columns, class_column(model): classes}), points


def class_column(model: Model) -> str:
    """The column that the class of each sample is in."""
    return model.recipe.data.label or LABEL


def types_of(model: Any) -> Mapping[str, Any]:
    """Column -> type of the samples, where it is not that of real numbers."""
    if model.kind == "table":
        types: Mapping[str, Any] = model.schema.types
        return types
    if model.classes is None:
        return {}
    return {class_column(model): of_values(np.array(model.classes.names), LABEL, "the classes").type}


@singledispatch
def write_samples(model: Model, request: Request, write: Write, reporter: Reporter) -> Evidence | None:
    """Draw rows, under conditions or none, and write them, a table's some at a time; what is known of the conditions.

    Args:
        model: trained.
        request: how many rows, and under which conditions.
        write: takes some rows.
        reporter: shows the progress.
    """
    raise TypeError(f"got a {type(model).__name__}")


@write_samples.register
def _(model: PointModel, request: Request, write: Write, reporter: Reporter) -> Evidence | None:
    if not request.given:
        write(drawn(model, request, reporter)[0])
        return None
    how: dict[str, Any] = {"label": request.label, "seed": request.seed, "how": request.how}
    with reporter.counting("sampling", request.n, "rows") as count:
        points, effective = model.draw_given(request.n, request.given, on_block=count, **how)
    write(as_frame(Table(points, model.columns)))
    return Evidence(None, (), effective, tuple(model.unlikely_conditions(request.given)))


@write_samples.register
def _(model: PosteriorModel, request: Request, write: Write, reporter: Reporter) -> Evidence | None:
    for warning in model.doubts(request.given, iid=request.iid):
        reporter.warn(warning)
    draw = model.draw_iid if request.iid else model.draw
    how: dict[str, Any] = {"label": request.label, "seed": request.seed, "how": request.how}
    with reporter.counting("sampling", request.n, "rows") as count:
        points = draw(request.n, request.given, on_block=count, **how)
    write(as_frame(Table(points, model.columns)))
    return None


@write_samples.register
def _(model: TableModel, request: Request, write: Write, reporter: Reporter) -> Evidence | None:
    effective, log_evidence, done = 0.0, [], 0
    with reporter.counting("sampling", request.n, "rows") as count:
        for rows in model.blocks(request.n, given=request.given, seed=request.seed, exact=request.exact):
            write(model.schema.with_placeholders(rows, done + 1) if request.placeholders else rows)
            effective += rows.effective
            log_evidence.append(rows.log_evidence)
            done += len(rows)
            count(done)
    return evidence_of(model, request.given, log_evidence, effective) if request.given else None
