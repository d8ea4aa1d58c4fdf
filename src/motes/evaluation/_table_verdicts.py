"""What the tests of a table say, in words: is there a difference, how large is it, and what could be detected?"""

import numpy as np
from scipy.special import ndtri

from motes.evaluation._families import ALPHA, POWER, Adjustment
from motes.evaluation._interactions import Interactions
from motes.evaluation._privacy import NEAR, ClosestRecords, Copies
from motes.evaluation._results import Metric, Z
from motes.evaluation._shares import Contrast
from motes.evaluation._table_results import PairResult
from motes.evaluation._text import shown
from motes.evaluation._utility import Utility
from motes.evaluation._verdicts import NO_DIFFERENCE, Verdict, graded

SHIFTED, STRETCHED = 0.1, 1.1  # from which a mean and a standard deviation are said to differ

Moments = tuple[tuple[float, float], tuple[float, float]]


def of_column(
    contrast: Contrast | None,
    beyond: float,
    moments: Moments | None,
    kind: str,
    adjust: Adjustment,
    detectable: float | None,
) -> Verdict:
    """A column by itself, by the contrast that differs most clearly.

    Args:
        contrast: None where the column does not vary.
        beyond: its distance, less what chance gives it.
        moments: (mean, standard deviation) of synthetic and real numbers.
        kind: of the column.
        adjust: for all tests of the table.
        detectable: the difference of shares that is found in 80 of 100 cases.
    """
    if contrast is None:
        return Verdict("good", NO_DIFFERENCE)
    p_value = adjust(contrast.p_value)
    seen = "" if detectable is None else f"a difference of {detectable:.2g} in a share of rows"
    if p_value >= ALPHA:
        return Verdict("good", NO_DIFFERENCE, p_value, detectable, seen)
    size = max(abs(contrast.difference), beyond)
    text = _share(contrast, kind) + ("" if moments is None or kind == "date" else _shape(moments))
    return Verdict(graded(size, "share"), text, p_value, detectable, seen)


def of_missing(contrast: Contrast, adjust: Adjustment, detectable: float | None) -> Verdict:
    """The share of missing entries of a column."""
    p_value = adjust(contrast.p_value)
    seen = "" if detectable is None else f"a difference of {detectable:.2g} in the share of missing entries"
    if p_value >= ALPHA:
        return Verdict("good", NO_DIFFERENCE, p_value, detectable, seen)
    text = f"missing in {contrast.synthetic:.1%} of the rows (real {contrast.real:.1%})"
    return Verdict(graded(abs(contrast.difference), "share"), text, p_value, detectable, seen)


def not_modelled(real: float) -> Verdict:
    """The share of missing entries of a column, where the model was told to ignore them."""
    return Verdict("unknown", f"not modelled, because table.missing is ignore (real {real:.1%})")


def _share(contrast: Contrast, kind: str) -> str:
    ours, theirs, text = contrast.synthetic, contrast.real, contrast.text
    if contrast.of == "label":
        if ours == 0:
            return f"{text} is never drawn (real {theirs:.1%})"
        return f"{text} in {ours:.1%} of the rows (real {theirs:.1%})"
    if text.startswith("at most") and ours + theirs > 1:  # the upper tail is read from above
        ours, theirs, text = 1 - ours, 1 - theirs, f"above {shown(kind, contrast.value)}"
    digits = 1 if min(ours, theirs) >= 0.01 else 2
    return f"{text} in {ours:.{digits}%} of the rows (real {theirs:.{digits}%})"


def _shape(moments: Moments) -> str:
    (mean, deviation), (real_mean, real_deviation) = moments
    if real_deviation <= 0:
        return ""
    said = ""
    shift, ratio = (mean - real_mean) / real_deviation, deviation / real_deviation
    if abs(shift) >= SHIFTED:
        said += f", mean {abs(shift):.2g} standard deviations too {'high' if shift > 0 else 'low'}"
    if not 1 / STRETCHED <= ratio <= STRETCHED:
        said += f", standard deviation {ratio:.2g} times that of real rows"
    return said


def of_associations(found: Interactions, largest: tuple[PairResult, ...], adjust: Adjustment) -> Verdict:
    """All pairs of columns; `largest` with adjusted p-values, the most significant first."""
    detectable = float(np.median(found.detectable(ALPHA / adjust.factor, float(ndtri(POWER)))))
    seen = f"a difference of {detectable:.2g} in an association (median over pairs)" if detectable > 0 else ""
    count = sum(adjust(float(p)) < ALPHA for p in found.p_values)
    p_value = adjust(found.p_value)
    if p_value >= ALPHA:
        return Verdict("good", NO_DIFFERENCE, p_value, detectable, seen)
    if not count:
        size = float(found.distance.mean())
        text = f"all pairs together differ, by {size:.2g} on average"
        return Verdict(graded(size, "association"), text, p_value, detectable, seen)
    worst = largest[0]
    size = max(pair.distance for pair in largest if pair.p_value < ALPHA)
    how = "" if abs(worst.synthetic - worst.real) > worst.distance / 3 else "other values go together; "
    text = (
        f"{count} of {len(found.p_values)} pairs differ, most clearly {worst.columns[0]} and {worst.columns[1]}: {how}"
        f"association {worst.synthetic:.2f} (real {worst.real:.2f})"
    )
    return Verdict(graded(size, "association"), text, p_value, detectable, seen)


def of_classifier(accuracy: Metric, rows: int, columns: tuple[tuple[str, float], ...], adjust: Adjustment) -> Verdict:
    """A classifier's accuracy on so many rows; columns with their importance."""
    p_value = adjust(1.0 if accuracy.p_value is None else accuracy.p_value)
    detectable = min(0.5 + _sigmas(adjust) * 0.5 / np.sqrt(rows), 1.0)
    seen = f"an accuracy of {detectable:.2f}"
    if p_value >= ALPHA:
        text = f"{NO_DIFFERENCE} (right in {100 * accuracy:.0f} of 100 cases; guessing is right in 50)"
        return Verdict("good", text, p_value, detectable, seen)
    names = [name for name, importance in columns[:3] if importance > max(0.1 * columns[0][1], 0.002)]
    by = f", most of all by {', '.join(names)}" if names else ""
    text = f"right in {100 * accuracy:.0f} of 100 cases, where guessing is right in 50{by}"
    return Verdict(graded(accuracy - 0.5, "accuracy"), text, p_value, detectable, seen)


def of_utility(found: Utility, adjust: Adjustment) -> Verdict:
    """What synthetic rows teach about a target."""
    difference = found.difference
    p_value = adjust(1.0 if difference.p_value is None else difference.p_value)
    detectable = _sigmas(adjust) * (difference.high - difference.low) / (2 * Z)
    seen = f"a loss of {detectable:.2g} in {found.score}" if detectable > 0 else ""
    if found.relative is None:
        text = f"'{found.target}' cannot be predicted from the other columns, not even after training on real rows"
        return Verdict("good", text, p_value, detectable, seen)
    relative = f"{max(found.relative, 0):.0%} of what real rows teach"
    if p_value >= ALPHA:
        return Verdict("good", f"{NO_DIFFERENCE} (synthetic rows teach {relative})", p_value, detectable, seen)
    text = f"synthetic rows teach {relative} about '{found.target}'"
    return Verdict(graded(1 - found.relative, "utility"), text, p_value, detectable, seen)


def of_likelihood(difference: Metric, impossible: tuple[int, int], p_values: tuple[float, float], width: int,
                  adjust: Adjustment) -> Verdict:  # fmt: skip
    """Are training rows more likely than held-out ones?

    Args:
        difference: training minus held-out, in nats per row.
        impossible: rows of density 0, (held out, training).
        p_values: of the difference, and of the impossible rows.
        width: number of learned columns.
        adjust: for all tests of the table.
    """
    p_value = adjust(joint_p_value(p_values))
    detectable = _sigmas(adjust) * (difference.high - difference.low) / (2 * Z)
    seen = f"a difference of {detectable:.2g} nats per row"
    rare = f"{impossible[0]:,} held-out rows are impossible to the model"
    if p_value >= ALPHA:
        text = "held-out rows are as likely as training rows" + (f" ({rare})" if impossible[0] else "")
        return Verdict("good", text, p_value, detectable, seen)
    if p_values[1] < p_values[0]:
        return Verdict("moderate", rare, p_value, detectable, seen)
    text = f"training rows are {difference:.2g} nats per row more likely than held-out rows: the model is overfitted"
    return Verdict(graded(difference / width, "likelihood"), text, p_value, detectable, seen)


def joint_p_value(p_values: tuple[float, float]) -> float:
    """Bonferroni's, of two tests; the second counts only where it says something."""
    first, second = p_values
    return first if second == 1 else min(2 * min(first, second), 1.0)


def of_records(found: ClosestRecords, adjust: Adjustment) -> Verdict:
    """The DCR share."""
    p_value = adjust(1.0 if found.share.p_value is None else found.share.p_value)
    detectable = found.detectable(ALPHA / adjust.factor)
    seen = "" if detectable is None else f"a share of {detectable:.1%}"
    ours = f"{found.share:.1%} ({found.share.low:.1%} to {found.share.high:.1%}) of the synthetic rows"
    text = f"{ours} are nearer to a training row than {1 - NEAR:.0%} of the held-out rows are; {NEAR:.0%} is neutral"
    severity = graded(found.share - NEAR, "dcr") if p_value < ALPHA else "good"
    return Verdict(severity, text, p_value, detectable, seen)


def of_copies(found: Copies, adjust: Adjustment) -> Verdict:
    """Synthetic rows that equal a training row."""
    (ours, n), (theirs, m), (twins, k) = found.synthetic, found.held_out, found.repeated
    p_value = adjust(1.0 if found.share.p_value is None else found.share.p_value)
    detectable = found.detectable(ALPHA / adjust.factor)
    seen = "" if detectable is None else f"{detectable:,} copies"
    held = f"{theirs:,} of {m:,} held-out rows are, and " if m else ""
    text = (
        f"{ours:,} of {n:,} synthetic rows are copies of training rows "
        f"({held}{twins:,} of {k:,} training rows equal another)"
    )
    severity = graded(float(found.share), "copies") if p_value < ALPHA else "good"
    return Verdict(severity, text, p_value, detectable, seen)


def unknown(got: int, fewest: int, what: str = "held-out rows") -> Verdict:
    """Too few rows for a test."""
    return Verdict("unknown", f"could not be determined: got {got:,} {what}; at least {fewest:,} are needed")


def _sigmas(adjust: Adjustment) -> float:
    """How many standard errors a one-sided test finds in 80 of 100 cases."""
    return float(ndtri(POWER)) + adjust.sigmas
