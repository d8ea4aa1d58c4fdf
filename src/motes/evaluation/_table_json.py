"""The details of a table's evaluation as a dictionary for JSON: plain lists, numbers and texts, and no row."""

from typing import Any

import numpy as np

from motes.evaluation._results import Array, Metric
from motes.evaluation._shares import Contrast
from motes.evaluation._table_results import ColumnResult, TableDetails


def as_dict(found: TableDetails) -> dict[str, Any]:
    """None for what is not a number. Verdicts are in the entries of the record."""
    return {
        "columns": [_column(column) for column in found.columns],
        "associations": _associations(found),
        "classifier": {
            "accuracy": _metric(found.classifier.accuracy),
            "reference_value": _metric(found.classifier.reference),
            "permutation_importance": dict(found.classifier.importance),
        },
        "utility": _utility(found),
        "likelihood": _likelihood(found),
        "privacy": _privacy(found),
    }


def _associations(found: TableDetails) -> dict[str, Any] | None:
    if (pairs := found.associations) is None:
        return None
    return {
        "names": list(pairs.names),
        "synthetic": _matrix(pairs.synthetic),
        "real": _matrix(pairs.real),
        "mean_difference": _metric(pairs.difference),
        "reference_value": pairs.reference_value,
        "largest": [
            {"columns": list(pair.columns), "synthetic": _plain(pair.synthetic), "real": _plain(pair.real),
             "low": _plain(pair.low), "high": _plain(pair.high), "distance": pair.distance, "p_value": pair.p_value}
            for pair in pairs.largest
        ],
    }  # fmt: skip


def _column(column: ColumnResult) -> dict[str, Any]:
    quantiles = None
    if column.quantiles is not None:
        quantiles = dict(zip(("synthetic", "real"), map(list, column.quantiles), strict=True))
    return {
        "name": column.name,
        "kind": column.kind,
        "distance": None if column.distance is None else {"name": column.distance.name, **_interval(column.distance)},
        "reference_value": column.reference_value,
        "w1": column.w1,
        "quantiles": quantiles,
        "contrast": _contrast(column.contrast),
        "missing": {
            "synthetic": column.missing[0],
            "real": column.missing[1],
            "contrast": _contrast(column.missing_contrast),
        },
    }


def _contrast(one: Contrast | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {"of": one.text, "synthetic": one.synthetic, "real": one.real, "difference": one.difference,
            "low": one.low, "high": one.high}  # fmt: skip


def _utility(found: TableDetails) -> dict[str, Any] | None:
    if found.utility is None:
        return None
    use, plain = found.utility.utility, {"target": found.utility.target}
    if use is None:
        return plain
    return plain | {
        "score": use.score,
        "synthetic": _metric(use.synthetic),
        "real": _metric(use.real),
        "difference": _metric(use.difference),
        "relative_utility": _metric(use.relative),
        "more": {name: {"synthetic": ours, "real": theirs} for name, (ours, theirs) in use.more.items()},
    }


def _likelihood(found: TableDetails) -> dict[str, Any] | None:
    if (like := found.likelihood) is None:
        return None
    return {
        "held_out": _metric(like.held_out),
        "training": _metric(like.training),
        "difference": _metric(like.difference),
        "impossible": {"held_out": like.impossible[0], "training": like.impossible[1]},
    }


def _privacy(found: TableDetails) -> dict[str, Any]:
    private, copies = found.privacy, found.privacy.copies
    records = None
    if private.records is not None:
        records = {
            name: {"synthetic": ours, "held_out": theirs}
            for name, (ours, theirs) in private.records.quantiles().items()
        }
    return {
        "dcr_share": None if private.records is None else _metric(private.records.share),
        "distances": records,
        "copies": {
            name: {"copies": count, "rows": rows}
            for name, (count, rows) in (
                ("synthetic", copies.synthetic), ("held_out", copies.held_out), ("training", copies.repeated)
            )
        },
    }  # fmt: skip


def _metric(metric: Metric | None) -> dict[str, float | None] | None:
    return None if metric is None else {**_interval(metric), "p_value": metric.p_value}


def _interval(metric: Metric) -> dict[str, float]:
    return {"value": metric.value, "low": metric.low, "high": metric.high}


def _matrix(values: Array) -> list[list[float | None]]:
    return [[_plain(value) for value in row] for row in values.tolist()]


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else value
