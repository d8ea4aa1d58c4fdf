"""The record of an evaluation as text for a terminal: aligned columns, from the headline to the notes."""

from collections.abc import Sequence

import numpy as np

from motes.evaluation._points import PointDetails
from motes.evaluation._record import SECTIONS, Details, Entry, Evaluation, Verdict
from motes.evaluation._results import Metric
from motes.evaluation._table_results import ColumnResult, TableDetails, number


def as_text(found: Evaluation[Details]) -> str:
    """What was compared, the headline, the numbers and the notes, in this order."""
    blocks = [found.compared, found.headline]
    if isinstance(found.details, TableDetails):
        blocks += [_overview(found), *_of_table(found.details)]
    else:
        assert isinstance(found.details, PointDetails)  # there is no third kind
        blocks.append(_entries(found.entries))
    if found.notes:
        blocks.append("\n".join(f"Note: {note}" for note in found.notes))
    return "\n\n".join(blocks)


def _overview(found: Evaluation[Details]) -> str:
    """A line for each section."""
    lines = [
        (SECTIONS[key].title, _graded(one), _p(one.p_value), one.seen or "-") for key, one in found.verdicts.items()
    ]
    return _aligned(("section", "verdict", "p", "would have been seen"), lines)


def _entries(entries: Sequence[Entry]) -> str:
    """A line for each entry."""
    head = ("metric", "value", "95 % interval", "reference value", "p", "verdict")
    lines = [
        (one.name, number(one.value), "-" if one.interval is None else " to ".join(map(number, one.interval)),
         number(one.reference_value), _p(one.verdict.p_value), _graded(one.verdict))
        for one in entries
    ]  # fmt: skip
    return _aligned(head, lines)


def _of_table(found: TableDetails) -> list[str]:
    head = ("column", "kind", "distance", "reference value", "synthetic - real, 95 % interval", "p", "missing",
            "verdict")  # fmt: skip
    return [_aligned(head, [_column_line(column) for column in found.columns]), *_sections(found), _privacy(found)]


def _sections(found: TableDetails) -> list[str]:
    blocks = []
    if (pairs := found.associations) is not None:
        head = ("pair", "synthetic", "real", "synthetic - real, 95 % interval", "p")
        lines = [
            (" ~ ".join(pair.columns), number(pair.synthetic), number(pair.real),
             _between(pair.synthetic - pair.real, pair.low, pair.high), _p(pair.p_value))
            for pair in pairs.largest
        ]  # fmt: skip
        blocks.append(
            f"Associations: mean difference {number(pairs.difference)} "
            f"(reference value {number(pairs.reference_value)})\n{_aligned(head, lines)}"
        )
    if found.classifier.accuracy is not None:
        names = [f"{name} {importance:+.3f}" for name, importance in found.classifier.importance[:5] if importance > 0]
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


def _privacy(found: TableDetails) -> str:
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
        column.name, column.kind, number(column.distance), number(column.reference_value), gap,
        _p(column.verdict.p_value), missing, "; ".join(texts) or column.verdict.text,
    )  # fmt: skip


def _graded(one: Verdict) -> str:
    return f"{one.severity}: {one.text}" if one.differs else one.text


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
