"""How the numbers of an evaluation are written, and a table of texts for a terminal."""

from collections.abc import Sequence

import numpy as np

from motes.evaluation._results import Metric


def number(value: float | None) -> str:
    """To four digits or to the unit; a dash for none.

    Example:
        >>> number(3.14159), number(12345.6), number(None)
        ('3.142', '12,346', '-')
    """
    if value is None or np.isnan(value):
        return "-"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"


def shown(kind: str, value: float) -> str:
    """A number of a column as text: of a date the day, and the time where it has one."""
    if kind != "date":
        return number(value)
    moment = np.datetime64(round(value), "us")
    return str(moment.astype("M8[D]" if value % 86_400e6 == 0 else "M8[s]"))


def p_value(value: float | None, equals: str = "") -> str:
    """A p-value; "= " in front of one that is not "< 0.001", where it follows a p."""
    return "-" if value is None else "< 0.001" if value < 0.001 else f"{equals}{value:.2g}"


def between(ends: tuple[float, float] | None) -> str:
    """A range, of which one end may be infinite.

    Example:
        >>> between((0.46, 0.54)), between((-np.inf, 0.061)), between((0.95, np.inf))
        ('0.46 to 0.54', 'up to 0.061', '0.95 or more')
    """
    if ends is None:
        return "-"
    low, high = ends
    if np.isinf(low):
        return "any" if np.isinf(high) else f"up to {number(high)}"
    return f"{number(low)} or more" if np.isinf(high) else f"{number(low)} to {number(high)}"


def difference(gap: float, low: float, high: float) -> str:
    """A difference with its interval; a dash for NaN."""
    return "-" if np.isnan(gap) else f"{gap:+.3f} ({low:+.3f} to {high:+.3f})"


def with_interval(metric: Metric | None) -> str:
    """A value with its interval; p-values of single tests are not shown, for those of verdicts are adjusted."""
    return "-" if metric is None else f"{metric.value:.4g} ({metric.low:.4g} to {metric.high:.4g})"


def aligned(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table of texts, each column as wide as its longest entry."""
    table = [head, *lines]
    widths = [max(len(line[i]) for line in table) for i in range(len(head))]
    return "\n".join("  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)).rstrip()
                     for line in table)  # fmt: skip


def listed(parts: Sequence[str]) -> str:
    """One thing, another and a third.

    Example:
        >>> listed(["shares", "pairs", "rows"])
        'shares, pairs and rows'
    """
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + f" and {parts[-1]}" if parts else ""


def capital(text: str) -> str:
    """With a capital letter in front."""
    return text[:1].upper() + text[1:]
