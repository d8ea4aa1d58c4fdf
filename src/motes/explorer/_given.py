"""A known coordinate: points of a model on a line of the plane, beside the exact distribution along it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from motes.errors import UsageError
from motes.explorer._frames import Answer
from motes.explorer._subjects import Subject
from motes.models._point_conditions import far_conditions, sample_given

POINTS = 600  # on the line
ALONG = 240  # places of the line at which the exact density is computed


def on_line(subject: Subject, axis: int, value: float, seed: int, on_block: Callable[[int], None]) -> Answer:
    """Points (n, 2) given one coordinate, and where it is known p(other | coordinate) along the line.

    They are `model.sample(n, given={column: value}, seed=seed)`, with the class and the guidance that are shown.

    Raises:
        UsageError: no particle survives there.
    """
    model = subject.model
    column, other = model.columns[axis], 1 - axis
    if subject.has_layers is False:
        raise UsageError(f"'{subject.name}' has {model.dim} columns; the line is for models of two.")
    how = {} if subject.guidance == 1 else {"guidance": subject.guidance}
    points, effective = sample_given(
        model, POINTS, {column: value}, seed=seed, label=subject.label_name, how=how, on_block=on_block
    )
    found = {"points": points}
    if subject.oracle is not None:
        low, high = subject.box[other]
        along = np.linspace(low, high, ALONG)
        u = np.full((ALONG, 2), value)
        u[:, other] = along
        log_p = np.asarray(subject.oracle.rows(model.standardiser.forward(u), 0.0).log_prob, float)
        density = np.exp(log_p - log_p.max())
        found |= {"along": along, "density": density / np.trapezoid(density, along)}
    said = {"axis": axis, "value": value, "column": column, "effective": effective}
    return Answer(said | {"warnings": far_conditions(model, {column: value})}, found)
