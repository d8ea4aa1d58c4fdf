"""What the measures of a table say, in words."""

from collections.abc import Sequence

import numpy as np

from motes.evaluation.privacy import NEAR, Closeness
from motes.evaluation.results import Metric, Row
from motes.evaluation.table_results import LIKE_REAL, ColumnResult, Judgement, Level
from motes.evaluation.usefulness import Usefulness
from motes.evaluation.verdicts import ALPHA

SLIGHT_SHARE = 0.05  # of the rows, beyond a real draw: a difference below it is slight
SLIGHT_ASSOCIATION = 0.1
SLIGHT_ACCURACY = 0.55
SLIGHT_KEPT = 0.95
SLIGHT_GAP = 0.05  # nats per row and learned column
SHIFTED, STRETCHED = 0.1, 1.1  # from which a mean and a deviation are said to differ


def of_column(column: ColumnResult) -> Judgement:
    """A column with a distance."""
    if column.distance is None or column.p_value is None or column.p_value >= ALPHA:
        return LIKE_REAL
    beyond = column.distance.metric - column.distance.floor  # of many labels any two draws are some way apart
    return Judgement(_graded(beyond, SLIGHT_SHARE), _labels(column) if column.discrete else _shape(column))


def _labels(column: ColumnResult) -> str:
    bars = column.bars
    if bars is None:
        return "other labels"
    # The label that chance explains least, not the one with most rows.
    both = bars.made + bars.real
    worst = int(
        np.argmax(np.divide(np.abs(bars.made - bars.real), np.sqrt(both), out=np.zeros_like(both), where=both > 0))
    )
    made, real = bars.made[worst], bars.real[worst]
    if made == 0:
        return f"'{bars.labels[worst]}' is never made (real {real:.1%})"
    return f"'{bars.labels[worst]}' in {made:.1%} of the rows (real {real:.1%})"


def _shape(column: ColumnResult) -> str:
    if column.centre is None:
        return "another shape"
    (mean, deviation), (real_mean, real_deviation) = column.centre
    said = []
    if real_deviation > 0:
        shift, ratio = (mean - real_mean) / real_deviation, deviation / real_deviation
        if abs(shift) >= SHIFTED:
            said.append(f"{abs(shift):.2g} standard deviations too {'high' if shift > 0 else 'low'}")
        if not 1 / STRETCHED <= ratio <= STRETCHED:
            said.append(f"{ratio:.2g} times as wide")
    return ", ".join(said) or f"another shape: {column.distance.metric:.1%} of the rows lie elsewhere"  # type: ignore[union-attr]


def of_missing(column: ColumnResult) -> Judgement:
    """The share of missing cells of a column."""
    made, real = column.missing
    if column.missing_p >= ALPHA:
        return LIKE_REAL
    if made == 0:  # whole rows, as it is meant; a note says so
        return LIKE_REAL
    return Judgement(_graded(abs(made - real), SLIGHT_SHARE), f"missing in {made:.1%} of the rows (real {real:.1%})")


def of_associations(
    row: Row, largest: Sequence[tuple[str, str, float, float, float]], count: int, pairs: int
) -> Judgement:
    """All pairs of columns: those that differ first of all, and if there is none, all together."""
    if count:
        a, b, real, made, _ = largest[0]
        worst = max(abs(x - y) for _, _, x, y, p in largest if p < ALPHA and not np.isnan(x - y))
        words = f"{count} of {pairs} pairs differ, most clearly {a} and {b}: {made:.2f} (real {real:.2f})"
        return Judgement(_graded(worst, SLIGHT_ASSOCIATION), words)
    if row.metric.p_value is not None and row.metric.p_value < ALPHA:
        words = f"on average {row.metric:.2g} apart (real draw {row.floor:.2g})"
        return Judgement(_graded(row.metric - row.floor, SLIGHT_ASSOCIATION), words)
    return LIKE_REAL


def of_telling(row: Row, columns: Sequence[tuple[str, float]]) -> Judgement:
    """A classifier's accuracy."""
    metric = row.metric
    if metric.p_value is None or metric.p_value >= ALPHA:
        return LIKE_REAL
    names = [name for name, fall in columns[:3] if fall > max(0.1 * columns[0][1], 0.002)]
    by = f", most of all by {', '.join(names)}" if names else ""
    return Judgement(
        "slight" if metric < SLIGHT_ACCURACY else "bad", f"right in {100 * metric:.0f} of 100 cases, not in 50{by}"
    )


def of_usefulness(found: Usefulness) -> Judgement:
    """What is kept of a target."""
    if found.kept is None:
        return Judgement("good", f"'{found.target}' cannot be told from the other columns, not even by real rows")
    kept = f"{max(found.kept, 0):.0%} of what real rows teach"
    if found.p_value >= ALPHA:
        return Judgement("good", f"teaches as much as real rows do ({kept})")
    return Judgement("slight" if found.kept >= SLIGHT_KEPT else "bad", f"teaches {kept}")


def of_likelihood(gap: Metric, impossible: tuple[int, int], width: int) -> Judgement:
    """Training rows more likely than held-out ones: learned by heart."""
    if impossible[0]:
        return Judgement("bad", f"{impossible[0]:,} held-out rows are impossible to the model")
    if gap.p_value is None or gap.p_value >= ALPHA:
        if gap > SLIGHT_GAP * width:
            return Judgement("good", f"training rows are {gap:.2g} nats more likely, which may be by chance")
        return Judgement("good", "held-out rows are as likely as those of the training")
    level = _graded(gap, SLIGHT_GAP * width)
    return Judgement(level, f"training rows are {gap:.2g} nats more likely than held-out ones: overfitted")


def of_privacy(near: Closeness, copies: int, n: int, real_copies: int, m: int, p_value: float) -> Judgement:
    """Rows too near to those of the training, and copies of them."""
    said = []
    if p_value < ALPHA:
        said.append(f"{copies:,} of {n:,} made rows are copies of training rows (held out: {real_copies:,} of {m:,})")
    if near.near.p_value is not None and near.near.p_value < ALPHA:
        said.append(f"{near.near:.1%} of the made rows are nearer to a training row than {1 - NEAR:.0%} of real rows")
    if said:
        return Judgement("bad", "; ".join(said))
    return Judgement("good", "no nearer to the training rows than held-out rows are")


def more_copies(copies: int, n: int, real_copies: int, m: int) -> float:
    """One-sided p of no more copies among n made rows than among m held-out ones (Fisher's exact test)."""
    from scipy.stats import hypergeom

    return float(hypergeom(n + m, copies + real_copies, n).sf(copies - 1))


def above(gap: float, error: float) -> float:
    """One-sided p of a mean that is not above 0."""
    from scipy.stats import norm

    return float(norm.sf(gap / error)) if error > 0 else float(gap <= 0)


def _graded(size: float, slight: float) -> Level:
    return "slight" if size < slight else "bad"
