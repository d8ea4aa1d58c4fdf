"""A `TableEvaluation` as text for a terminal, and as a dictionary for JSON."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from motes.evaluation.results import Array, Metric, Row
from motes.evaluation.table_results import ColumnResult, Judgement, TableEvaluation, number


def as_text(found: TableEvaluation) -> str:
    """Aligned columns, from the verdict to the notes."""
    rows = found.rows
    blocks = [
        f"{rows['made']:,} made rows against {rows['held out']:,} held-out rows; {rows['training']:,} were trained on.",
        found.verdict,
        _aligned(
            ("column", "kind", "distance", "95 % interval", "real draw", "missing", "verdict"),
            [_column_line(column) for column in found.columns],
        ),
    ]
    if found.associations is not None:
        lines = [(f"{a} ~ {b}", number(real), number(made), f"{p:.2g}")
                 for a, b, real, made, p in found.associations.largest]  # fmt: skip
        blocks.append(
            _headed("Associations, mean difference", found.associations.difference, found.associations.judgement)
            + (("\n" + _aligned(("pair", "real", "made", "p"), lines)) if lines else "")
        )
    telling = [f"{name} {fall:+.3f}" for name, fall in found.telling.columns[:5] if fall > 0]
    blocks.append(
        _headed("Classifier, accuracy", found.telling.accuracy, found.telling.judgement)
        + (f"\n  most telling columns: {', '.join(telling)}" if telling else "")
    )
    if found.usefulness is not None:
        use, judgement = found.usefulness
        kept = "" if use.kept is None else f"; kept {use.kept:.2f} ({use.kept.low:.2f} to {use.kept.high:.2f})"
        blocks.append(
            f"Usefulness for '{use.target}': {use.score} {use.made:.4g} from made rows, {use.real:.4g} from real ones"
            f"{kept}: {judgement.words}"
        )
    if found.likelihood is not None:
        like = found.likelihood
        blocks.append(
            f"Log-likelihood, nats per row: held out {like.held_out}, training {like.training}: {like.judgement.words}"
        )
    blocks.append(_privacy(found))
    if found.notes:
        blocks.append("\n".join(f"Note: {note}" for note in found.notes))
    return "\n\n".join(blocks)


def _privacy(found: TableEvaluation) -> str:
    private = found.privacy
    lines = [(name, number(made), number(real)) for name, (made, real) in private.closeness.quantiles().items()]
    (copies, n), (real_copies, m) = private.copies, private.real_copies
    lines.append(("exact copies", f"{copies:,} of {n:,}", f"{real_copies:,} of {m:,}"))
    near = private.closeness.near
    lines.append(("nearer than 95 % of the held-out rows", f"{near:.1%}, p = {near.p_value:.2g}", "5.0%"))
    return f"Privacy: {private.judgement.words}\n" + _aligned(
        ("distance to the closest training row", "made", "held out"), lines
    )


def _column_line(column: ColumnResult) -> tuple[str, ...]:
    made, real = column.missing
    missing = "-" if made == real == 0 else f"{made:.1%}, real {real:.1%}"
    words = "; ".join(one.words for one in (column.judgement, column.missing_judgement) if one.level != "good")
    row = column.distance
    metric = ("-", "", "-") if row is None else (number(row.metric), _interval(row.metric), number(row.floor))
    return (column.name, column.kind, *metric, missing, words or column.judgement.words)


def _headed(name: str, row: Row, judgement: Judgement) -> str:
    return f"{name} {row.metric} (real draw: {number(row.floor)}): {judgement.words}"


def _interval(metric: Metric) -> str:
    return f"{metric.low:.4g} to {metric.high:.4g}"


def _aligned(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    table = [head, *lines]
    widths = [max(len(line[i]) for line in table) for i in range(len(head))]
    return "\n".join("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
                     for line in table)  # fmt: skip


# --- for JSON -------------------------------------------------------------------------------------------------------


def as_dict(found: TableEvaluation) -> dict[str, Any]:
    """Plain lists, numbers and texts; None for what is not a number."""
    private, made = found.privacy, found.associations
    return {
        "verdict": found.verdict,
        "level": found.level,
        "rows": dict(found.rows),
        "seed": found.seed,
        "columns": [_column(column) for column in found.columns],
        "associations": None if made is None else {
            "names": list(made.names), "real": _matrix(made.real), "made": _matrix(made.made),
            **_row(made.difference), **_said(made.judgement),
            "largest": [{"columns": [a, b], "real": _plain(x), "made": _plain(y), "p_value": p}
                        for a, b, x, y, p in made.largest],
        },
        "classifier": {
            **_row(found.telling.accuracy),
            **_said(found.telling.judgement),
            "columns": [{"name": name, "fall": fall} for name, fall in found.telling.columns],
        },
        "usefulness": _usefulness(found),
        "likelihood": _likelihood(found),
        "privacy": {
            **_said(private.judgement),
            "near_share": _metric(private.closeness.near),
            "distances": {
                name: {"made": ours, "held_out": theirs}
                for name, (ours, theirs) in private.closeness.quantiles().items()
            },
            "copies": {"made": private.copies[0], "of": private.copies[1], "held_out": private.real_copies[0],
                       "of_held_out": private.real_copies[1], "p_value": private.copies_p},
        },
        "notes": list(found.notes),
    }  # fmt: skip


def _column(column: ColumnResult) -> dict[str, Any]:
    made, real = column.missing
    missing = {"made": made, "real": real, "p_value": column.missing_p, **_said(column.missing_judgement)}
    distance = None if column.distance is None else {"name": column.distance.metric.name, **_row(column.distance)}
    return {
        "name": column.name,
        "kind": column.kind,
        "distance": distance,
        "adjusted_p_value": column.p_value,
        "w1": column.w1,
        **_said(column.judgement),
        "missing": missing,
    }


def _usefulness(found: TableEvaluation) -> dict[str, Any] | None:
    if found.usefulness is None:
        return None
    use, judgement = found.usefulness
    return {
        "target": use.target,
        "score": use.score,
        "made": _metric(use.made),
        "real": _metric(use.real),
        "kept": None if use.kept is None else _metric(use.kept),
        "p_value": use.p_value,
        "more": {name: {"made": ours, "real": theirs} for name, (ours, theirs) in use.more.items()},
        **_said(judgement),
    }


def _likelihood(found: TableEvaluation) -> dict[str, Any] | None:
    if (like := found.likelihood) is None:
        return None
    return {
        "held_out": _metric(like.held_out),
        "training": _metric(like.training),
        "gap": _metric(like.gap),
        "impossible": {"held_out": like.impossible[0], "training": like.impossible[1]},
        **_said(like.judgement),
    }


def _row(row: Row) -> dict[str, Any]:
    return {**_metric(row.metric), "floor": _metric(row.floor)}


def _metric(metric: Metric) -> dict[str, float | None]:
    return {"value": metric.value, "low": metric.low, "high": metric.high, "p_value": metric.p_value}


def _said(judgement: Judgement) -> dict[str, str]:
    return {"level": judgement.level, "verdict": judgement.words}


def _matrix(values: Array) -> list[list[float | None]]:
    return [[_plain(value) for value in row] for row in values.tolist()]


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else value
