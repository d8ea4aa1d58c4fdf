"""Draw synthetic rows as frames: of a table, or points with the column of their class."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from motes.data import Frame, as_frame
from motes.data.arrays import of_values
from motes.points.model import SamplingLike
from motes.progress import OnProgress
from motes.tables.model import Evidence

LABEL = "label"  # column of the classes of points if their labels were passed in memory


def draw_frame(
    model: Any, n: int, on_progress: OnProgress, *, seed: int = 0, label: Any = None, sampling: SamplingLike = None
) -> tuple[Frame, Any]:
    """Return samples as a frame, for points with the column of their class, and as drawn by the model: points (n, d).

    If no class of points is requested, it is drawn for each row, with the frequencies of the training.
    """
    if model.kind == "table":
        rows = model.draw(n, seed=seed, on_progress=on_progress)
        return rows, rows
    classes = model.classes
    if classes is not None:
        names, chosen = np.array(classes.names), np.full(n, label)
        if label is None:
            chosen = np.random.default_rng([seed, 662607]).choice(names, n, p=classes.weights)
        label = chosen
    points = model.draw(n, seed=seed, on_progress=on_progress, label=label, sampling=sampling)
    frame = as_frame(points, model.columns)
    if classes is not None:
        series = of_values(names[classes.numbers(label, n)], LABEL, "the samples")
        frame = Frame({**frame.columns, model.recipe.data.label or LABEL: series})
    return frame, points


def types_of(model: Any) -> Mapping[str, Any]:
    """Return column -> type of the samples, for columns other than real numbers."""
    if model.kind == "table":
        types: Mapping[str, Any] = model.schema.types
        return types
    if model.classes is None:
        return {}
    labels = of_values(np.array(model.classes.names), LABEL, "the classes")
    return {model.recipe.data.label or LABEL: labels.type}


def draw_given(model: Any, n: int, given: Any, *, iid: bool, **options: Any) -> tuple[Frame, Evidence | None]:
    """Draw points, also under conditions; with `iid`, given several independent observations of one row."""
    if model.kind == "points" and not given:
        return draw_frame(model, n, **options)[0], None
    if model.kind == "posterior":
        return as_frame(model.draw(n, given, iid=iid, **options), model.columns), None
    found = model.draw_points(n, given=given, **options)
    evidence = Evidence(None, (), found.effective, tuple(model.reliability_warnings(given)))
    return as_frame(found.points, model.columns), evidence
