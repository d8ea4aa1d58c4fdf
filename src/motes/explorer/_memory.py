"""Has a model learned its training points by heart? Their likelihood beside that of others; how near samples are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from motes.data._shapes import SHAPES
from motes.errors import UsageError
from motes.explorer._classes import OneClass
from motes.explorer._sketches import Sketch
from motes.explorer._subjects import Subject

Array = NDArray[np.float64]
ROWS = 300  # of each kind, at most
SURE = 2.5  # standard errors of a difference


def by_heart(subject: Subject, drawn: Array, log_prob: Callable[[Array], Array]) -> dict[str, Any]:
    """Numbers that tell.

    Args:
        subject: with the rows that it was trained on.
        drawn: samples (n, d), in the data's units.
        log_prob: of rows (n, d), in nats.

    Raises:
        UsageError: no other real rows are here.
    """
    origin = subject.origin
    if origin is None or not (
        isinstance(origin, Sketch | OneClass) or origin.name in SHAPES or origin.held_out is not None
    ):
        raise UsageError(f"the rows that '{subject.name}' was trained on are not here, or none were held out.")
    training = origin.training.x
    rows = training[np.random.default_rng(0).permutation(len(training))[:ROWS]]
    fresh = origin.real(ROWS)[0]
    own, others = log_prob(rows), log_prob(fresh)
    error = float(np.hypot(*(part.std(ddof=1) / np.sqrt(len(part)) for part in (own, others))))
    gap = float(own.mean() - others.mean())
    tree = cKDTree(subject.model.standardiser.forward(training))
    near = {
        name: float(np.median(tree.query(subject.model.standardiser.forward(points))[0]))
        for name, points in (("drawn", drawn[:ROWS]), ("fresh", fresh))
    }
    return {
        "rows": len(training),
        "training": float(own.mean()),
        "fresh": float(others.mean()),
        "gap": gap,
        "standard_error": error,
        "nearest": near,
        "sure": gap > SURE * error,
    }


def nearest_row(subject: Subject, point: Array) -> dict[str, Any]:
    """The training point that is nearest to `point` (2,), in the data's units; {} where the training is not here.

    The distance is in standard deviations.
    """
    if subject.origin is None:
        return {}
    training, units = subject.origin.training.x, subject.model.standardiser
    away = np.linalg.norm(units.forward(training) - units.forward(point[None]), axis=1)
    return {"at": training[away.argmin()].tolist(), "distance": float(away.min()), "rows": len(training)}
