"""Rows of a model, drawn with their progress shown."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import partial
from typing import Any

import numpy as np

from motes._progress import Reporter
from motes.data._frames import Frame, as_frame
from motes.data._series import of_values
from motes.data._tables import Table
from motes.data._writing import Write
from motes.models._evidence import Evidence, evidence_of
from motes.models._point_conditions import sample_given, unlikely_conditions
from motes.models._points import PointModel
from motes.models._several import prior_warnings, sample_several
from motes.models._tables import TableModel
from motes.sampling._options import Sampling

SAMPLES = 10_000  # that a run draws
LABEL = "label"  # the column of the classes of points that were trained on with labels in memory


@dataclass(frozen=True)
class Request:
    """The rows that are requested of a model.

    Attributes:
        n: how many.
        given: conditions; see `motes.Model.sample`.
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


def drawn(model: PointModel | TableModel, request: Request, reporter: Reporter) -> tuple[Frame, Any]:
    """Samples as a table, points with the column of their class; and what the model itself gives: points (n, d).

    Where no class of points is requested, each row's is drawn: a class is as frequent as it was in the training.
    Conditions are for `write_samples`.
    """
    n, seed, label = request.n, request.seed, request.label
    with reporter.counting("sampling", n, "rows") as count:
        if isinstance(model, TableModel):
            rows = model.sample(n, seed=seed, on_block=count)
            return rows, rows
        if model.classes is None:
            points = model.sample(n, seed=seed, on_block=count, label=label, how=request.how)
            return as_frame(Table(points, model.columns)), points
        names = np.array(model.classes.names)
        labels = np.full(n, label)
        if label is None:
            labels = np.random.default_rng([seed, 662607]).choice(names, n, p=model.classes.weights)
        points = model.sample(n, seed=seed, on_block=count, label=labels, how=request.how)
    classes = of_values(names[model.classes.numbers(labels, n)], LABEL, "the samples")
    return Frame({**as_frame(Table(points, model.columns)).columns, class_column(model): classes}), points


def class_column(model: PointModel) -> str:
    """The column that the class of each sample is in."""
    return model.recipe.data.label or LABEL


def types_of(model: PointModel | TableModel) -> Mapping[str, Any]:
    """Column -> type of the samples, where it is not that of real numbers."""
    if isinstance(model, TableModel):
        return model.schema.types
    if model.classes is None:
        return {}
    return {class_column(model): of_values(np.array(model.classes.names), LABEL, "the classes").type}


def write_samples(
    model: PointModel | TableModel, request: Request, write: Write, reporter: Reporter
) -> Evidence | None:
    """Draw rows, under conditions or none, and write them, a table's some at a time; what is known of the conditions.

    Args:
        model: trained.
        request: how many rows, and under which conditions.
        write: takes some rows.
        reporter: shows the progress.
    """
    n, given, seed = request.n, request.given, request.seed
    if isinstance(model, PointModel):
        if model.context is not None:
            for warning in (
                *model.context.novel(model.context.rows(given)[0]),
                *(prior_warnings(model) if request.iid else ()),
            ):
                reporter.warn(warning)
            draw = partial(sample_several, model) if request.iid else model.sample
            with reporter.counting("sampling", n, "rows") as count:
                points = draw(n, given=given, seed=seed, label=request.label, how=request.how, on_block=count)
            write(as_frame(Table(points, model.columns)))
            return None
        if not given:
            write(drawn(model, request, reporter)[0])
            return None
        with reporter.counting("sampling", n, "rows") as count:
            points, effective = sample_given(
                model, n, given, seed=seed, on_block=count, label=request.label, how=request.how
            )
        write(as_frame(Table(points, model.columns)))
        return Evidence(None, (), effective, tuple(unlikely_conditions(model, given)))
    effective, log_evidence, done = 0.0, [], 0
    with reporter.counting("sampling", n, "rows") as count:
        for rows in model.blocks(n, given=given, seed=seed, exact=request.exact):
            write(model.schema.with_placeholders(rows, done + 1) if request.placeholders else rows)
            effective += rows.effective
            log_evidence.append(rows.log_evidence)
            done += len(rows)
            count(done)
    return evidence_of(model, given, log_evidence, effective) if given else None
