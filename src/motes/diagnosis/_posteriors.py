"""How good a model of points given what was observed is: calibration and log p, as an evaluation and as a diagnosis."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.diagnosis._calibration import LEVELS, Calibration, calibration
from motes.diagnosis._evaluating import about
from motes.errors import DataError, UsageError, check_process
from motes.evaluation._posteriors import PosteriorDetails, evaluation_of_posteriors
from motes.evaluation._record import Evaluation
from motes.models._posteriors import PosteriorModel
from motes.models._references import simulations_of_source

Array = NDArray[np.float64]

ROWS = 2000  # at most


def rows_of(model: PosteriorModel, data: Any, given: Any, n: int) -> tuple[Any, Any, str, str]:
    """At most `n` rows, what was observed with each, the name of their source, and what they are in words.

    Raises:
        UsageError: rows without what was observed, or a source that is not there.
        DataError: rows that cannot be used.
    """
    if data is None or isinstance(data, str):
        if given is not None:
            raise UsageError("got given without rows in memory; a file has both. Leave given out, or give the rows.")
        table, name, against = simulations_of_source(model, data)
        if table.given is None:
            raise DataError(f"'{name}' has no columns that were observed. Give a file that has them.")
        return table.x[:n], table.given.x[:n], name, against
    if given is None:
        raise UsageError(
            f"this model is of points given {', '.join(model.context.columns)}; got rows without them. Give both: "
            "evaluate(theta, given=x), diagnose(theta, given=x)."
        )
    return data, given, "rows in memory", "rows with what was observed"


def diagnose_posteriors(
    model: PosteriorModel, data: Any = None, given: Any = None, *, n: int = ROWS, seed: int = 0
) -> Calibration:
    """Whether posteriors are as wide as they should be, and what to do; see `calibration`.

    Args:
        model: trained.
        data: rows (m, d) in memory, or a file; None: the held-out rows of the file that it was trained on.
        given: what was observed with each row in memory.
        n: rows of a file, at most.
        seed: of the draws.

    Raises:
        UsageError: rows that are not to be had, or fewer than 50.
        DataError: rows that cannot be used.
    """
    check_process()
    theta, x, _, _ = rows_of(model, data, given, min(n, ROWS))
    return calibration(model, theta, x, seed=seed)


def evaluate_posteriors(
    model: PosteriorModel, data: Any = None, given: Any = None, *, n: int = ROWS, seed: int = 0
) -> Evaluation[PosteriorDetails]:
    """The same as a record, with log p of the rows; the arguments are those of `diagnose_posteriors`."""
    theta, x, name, against = rows_of(model, data, given, min(n, ROWS))
    check_process()
    found = calibration(model, theta, x, seed=seed)
    log_prob = model.score_samples(np.asarray(theta, np.float64), given=x)
    details = PosteriorDetails(found.columns, found.draws, {level: found.coverage(level) for level in LEVELS})
    widths = dict(zip(found.names, found.widths, strict=False))
    p_values = dict(zip(found.names, found.p_values.tolist(), strict=True))
    record = evaluation_of_posteriors(widths, p_values, log_prob, details, seed=seed)
    return replace(record, source=name, evaluated_against=against, about=about(model))
