"""A `TableEvaluation` as text for a terminal, and as a dictionary for JSON."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from motes.evaluation.results import Array, Metric
from motes.evaluation.shares import Contrast
from motes.evaluation.table_results import TITLES, ColumnResult, TableEvaluation, Verdict, number


def as_text(found: TableEvaluation) -> str:
    """Aligned columns, from the headline to the notes."""
    rows = found.rows
    blocks = [
        f"{rows['synthetic']:,} synthetic rows; {rows['training']:,} training rows and {rows['held_out']:,} held-out "
        "rows are real.",
        found.headline,
        _aligned(
            ("section", "verdict", "p", "would have been seen"),
            [(TITLES[key], _graded(one), _p(one.p_value), one.seen or "-") for key, one in found.verdicts.items()],
        ),
        _aligned(
            ("column", "kind", "distance", "by chance", "synthetic - real, 95 % interval", "p", "missing", "verdict"),
            [_column_line(column) for column in found.columns],
        ),
        *_sections(found),
        _privacy(found),
    ]
    if found.notes:
        blocks.append("\n".join(f"Note: {note}" for note in found.notes))
    return "\n\n".join(blocks)


def _sections(found: TableEvaluation) -> list[str]:
    blocks = []
    if (pairs := found.associations) is not None:
        head = ("pair", "synthetic", "real", "synthetic - real, 95 % interval", "p")
        lines = [
            (" ~ ".join(pair.columns), number(pair.synthetic), number(pair.real),
             _between(pair.synthetic - pair.real, pair.low, pair.high), _p(pair.p_value))
            for pair in pairs.largest
        ]  # fmt: skip
        blocks.append(
            f"Associations: mean difference {number(pairs.difference)} (by chance {number(pairs.by_chance)})\n"
            + _aligned(head, lines)
        )
    if found.classifier.accuracy is not None:
        names = [f"{name} {importance:+.3f}" for name, importance in found.classifier.columns[:5] if importance > 0]
        blocks.append(
            f"Classifier: accuracy {_metric_text(found.classifier.accuracy)}; "
            f"training against held-out rows {_metric_text(found.classifier.reference)}"
            + (f"\n  permutation importance: {', '.join(names)}" if names else "")
        )
    if found.utility is not None and (use := found.utility.utility) is not None:
        blocks.append(
            f"Utility for '{use.target}': {use.score} {number(use.synthetic)} after training on synthetic rows, "
            f"{number(use.real)} on real ones; difference {_metric_text(use.difference)}"
            + ("" if use.relative is None else f"; relative utility {_metric_text(use.relative)}")
        )
    if (like := found.likelihood) is not None and like.difference is not None:
        blocks.append(
            f"Log-likelihood, nats per row: held-out {_metric_text(like.held_out)}, "
            f"training {_metric_text(like.training)}; difference {_metric_text(like.difference)}"
        )
    return blocks


def _privacy(found: TableEvaluation) -> str:
    private, copies = found.privacy, found.privacy.copies
    lines = []
    if private.records is not None:
        lines = [(name, number(ours), number(theirs)) for name, (ours, theirs) in private.records.quantiles().items()]
        share = private.records.share
        lines.append(("DCR share, 95 % interval", f"{share:.1%} ({share.low:.1%} to {share.high:.1%})", "5.0%"))
    (ours, n), (theirs, m) = copies.synthetic, copies.held_out
    lines.append(("exact copies", f"{ours:,} of {n:,}", f"{theirs:,} of {m:,}"))
    return "Privacy\n" + _aligned(("distance to the closest training row", "synthetic", "held-out"), lines)


def _column_line(column: ColumnResult) -> tuple[str, ...]:
    ours, theirs = column.missing
    missing = "-" if ours == theirs == 0 else f"{ours:.1%}, real {theirs:.1%}"
    texts = [one.text for one in (column.verdict, column.missing_verdict) if one is not None and one.differs]
    contrast = column.contrast
    gap = "-" if contrast is None else _between(contrast.difference, contrast.low, contrast.high)
    return (
        column.name, column.kind, number(column.distance), number(column.by_chance), gap, _p(column.verdict.p_value),
        missing, "; ".join(texts) or column.verdict.text,
    )  # fmt: skip


def _graded(one: Verdict) -> str:
    return f"{one.level}: {one.text}" if one.differs else one.text


def _p(value: float | None) -> str:
    return "-" if value is None else "< 0.001" if value < 0.001 else f"{value:.2g}"


def _between(gap: float, low: float, high: float) -> str:
    return "-" if np.isnan(gap) else f"{gap:+.3f} ({low:+.3f} to {high:+.3f})"


def _metric_text(metric: Metric | None) -> str:
    """A value with its interval; p-values of single tests are not shown, for those of verdicts are adjusted."""
    return "-" if metric is None else f"{metric.value:.4g} (95 % interval {metric.low:.4g} to {metric.high:.4g})"


def _aligned(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    table = [head, *lines]
    widths = [max(len(line[i]) for line in table) for i in range(len(head))]
    return "\n".join("  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)).rstrip()
                     for line in table)  # fmt: skip


# --- for JSON -------------------------------------------------------------------------------------------------------


def as_dict(found: TableEvaluation) -> dict[str, Any]:
    """Plain lists, numbers and texts; None for what is not a number."""
    return {
        "headline": found.headline,
        "level": found.level,
        "p_value": found.p_value,
        "rows": dict(found.rows),
        "seed": found.seed,
        "verdicts": {key: _verdict(one) for key, one in found.verdicts.items()},
        "columns": [_column(column) for column in found.columns],
        "associations": _associations(found),
        "classifier": {
            "accuracy": _metric(found.classifier.accuracy),
            "reference": _metric(found.classifier.reference),
            "columns": [{"name": name, "importance": value} for name, value in found.classifier.columns],
            "verdict": _verdict(found.classifier.verdict),
        },
        "utility": _utility(found),
        "likelihood": _likelihood(found),
        "privacy": _privacy_dict(found),
        "notes": list(found.notes),
    }


def _associations(found: TableEvaluation) -> dict[str, Any] | None:
    if (pairs := found.associations) is None:
        return None
    return {
        "names": list(pairs.names),
        "synthetic": _matrix(pairs.synthetic),
        "real": _matrix(pairs.real),
        "mean_difference": _metric(pairs.difference),
        "by_chance": pairs.by_chance,
        "largest": [
            {"columns": list(pair.columns), "synthetic": _plain(pair.synthetic), "real": _plain(pair.real),
             "low": _plain(pair.low), "high": _plain(pair.high), "distance": pair.distance, "p_value": pair.p_value}
            for pair in pairs.largest
        ],
        "verdict": _verdict(pairs.verdict),
    }  # fmt: skip


def _column(column: ColumnResult) -> dict[str, Any]:
    quantiles = None
    if column.quantiles is not None:
        quantiles = dict(zip(("synthetic", "real"), map(list, column.quantiles), strict=True))
    return {
        "name": column.name,
        "kind": column.kind,
        "distance": None if column.distance is None else {"name": column.distance.name, **_interval(column.distance)},
        "by_chance": column.by_chance,
        "w1": column.w1,
        "quantiles": quantiles,
        "contrast": _contrast(column.contrast),
        "verdict": _verdict(column.verdict),
        "missing": {
            "synthetic": column.missing[0],
            "real": column.missing[1],
            "contrast": _contrast(column.missing_contrast),
            "verdict": None if column.missing_verdict is None else _verdict(column.missing_verdict),
        },
    }


def _contrast(one: Contrast | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {"of": one.text, "synthetic": one.synthetic, "real": one.real, "difference": one.difference,
            "low": one.low, "high": one.high}  # fmt: skip


def _utility(found: TableEvaluation) -> dict[str, Any] | None:
    if found.utility is None:
        return None
    use, plain = found.utility.utility, {"target": found.utility.target, "verdict": _verdict(found.utility.verdict)}
    if use is None:
        return plain
    return plain | {
        "score": use.score,
        "synthetic": _metric(use.synthetic),
        "real": _metric(use.real),
        "difference": _metric(use.difference),
        "relative": _metric(use.relative),
        "more": {name: {"synthetic": ours, "real": theirs} for name, (ours, theirs) in use.more.items()},
    }


def _likelihood(found: TableEvaluation) -> dict[str, Any] | None:
    if (like := found.likelihood) is None:
        return None
    return {
        "held_out": _metric(like.held_out),
        "training": _metric(like.training),
        "difference": _metric(like.difference),
        "impossible": {"held_out": like.impossible[0], "training": like.impossible[1]},
        "verdict": _verdict(like.verdict),
    }


def _privacy_dict(found: TableEvaluation) -> dict[str, Any]:
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
        "dcr_verdict": _verdict(private.records_verdict),
        "copies": {
            name: {"copies": count, "rows": rows}
            for name, (count, rows) in (
                ("synthetic", copies.synthetic), ("held_out", copies.held_out), ("training", copies.repeated)
            )
        },
        "copies_verdict": _verdict(private.copies_verdict),
    }  # fmt: skip


def _metric(metric: Metric | None) -> dict[str, float | None] | None:
    return None if metric is None else {**_interval(metric), "p_value": metric.p_value}


def _interval(metric: Metric) -> dict[str, float]:
    return {"value": metric.value, "low": metric.low, "high": metric.high}


def _verdict(one: Verdict) -> dict[str, Any]:
    return {"level": one.level, "text": one.text, "p_value": one.p_value, "detectable": one.detectable}


def _matrix(values: Array) -> list[list[float | None]]:
    return [[_plain(value) for value in row] for row in values.tolist()]


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else value
