"""What each column of a table is: inferred from its cells, or said by whoever knows better.

infer(frame, {"age": "integer", "size": {"kind": "ordered", "order": ["S", "M", "L"]}})
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from motes.data.bijections import deviation
from motes.data.frames import Frame, Label, Series, moment_of
from motes.data.peaks import ROWS
from motes.errors import DataError, UsageError, unknown

Kind = Literal["real", "flat", "integer", "bounded", "positive", "heavy", "boolean", "categorical", "ordered", "date"]
DROP = "drop"  # the kind of a column that is left out, and so is no column of what is learned
Option = Literal["low", "high", "step", "order", "decimals"]

OPTIONS: dict[str, tuple[Option, ...]] = {
    "integer": ("low", "high", "step"),
    "bounded": ("low", "high", "decimals"),
    "real": ("decimals",),
    "flat": ("decimals",),
    "positive": ("decimals",),
    "heavy": ("decimals",),
    "ordered": ("order",),
}
SKEWED = 1.0  # skewness from which a logarithm is tried
FLAT = (-1.4, -1.0)  # excess kurtosis of a law that is as if cut off at both ends: -1.2 if uniform, -2 in two heaps
EDGE = 0.03  # share of the rows in each outer twentieth of such a law; of a uniform one it is 0.05
NEAR = 2.0  # standard deviations from 0 within which it counts that no number is below
HEAVY = 8.0  # excess kurtosis from which tails are heavy; that of a normal law is 0, of an exponential one 6
ATOM = 0.2  # share of the rows that hold one and the same real number, from which it is said
ENOUGH = 20  # rows: that all are even, say, is then no accident
MANY_MISSING = 0.5
DECIMALS = 6  # and no more are taken for rounding
COARSE = 100  # steps of floating-point numbers to one unit of the last decimal, at least
HUGE = 1e150  # whose square is no float


@dataclass(frozen=True)
class Column:
    """What a column is, and why.

    Attributes:
        name: of the column.
        kind: what it is treated as.
        why: the evidence, in a phrase.
        constant: it holds one value or none, so that there is nothing to learn.
        missing: number of cells without a value.
        warnings: what whoever trains on it should know.
        low, high: ends of the interval of a bounded or an integer column, which belong to it.
        step: between the whole numbers of an integer column.
        order: of the labels of an ordered column.
        decimals: to which the real numbers are rounded; None: to none.
    """

    name: str
    kind: Kind
    why: str
    constant: bool = False
    missing: int = 0
    warnings: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    step: int | None = None
    order: tuple[Label, ...] | None = None
    decimals: int | None = None


def infer(frame: Frame, overrides: Mapping[str, Any] | None = None, *, name: str = "the data") -> list[Column]:
    """What each column of `frame` is.

    Args:
        frame: rows to learn from.
        overrides: column -> kind, or a mapping with "kind" and the options of that kind: integer has low, high and
            step; bounded has low and high (0 and 1 if left out); ordered has order, its labels from first to last;
            all kinds of real numbers have decimals, to which new ones are rounded.
        name: what messages call the source.

    Raises:
        UsageError: an override for no column, of no kind, or with an option that the kind does not have.
        DataError: a cell that is infinite, or cells of no kind that is known; the message names row and column.
    """
    given = {column: _override(column, value, frame.names) for column, value in (overrides or {}).items()}
    return [_column(column, series, given.get(column), name) for column, series in frame.columns.items()]


def _column(column: str, series: Series, given: dict[str, Any] | None, name: str) -> Column:
    check_known(series, f' Or leave the column out, by kind "{DROP}".')
    check_finite(series, column, name)
    known = series.known
    missing = int(series.missing.sum())
    warnings = []
    if is_constant(known):
        kind, why = _plain_kind(series), f"{_said(series)} in all {len(known):,} rows that have a value"
        warnings.append("constant: kept aside, and given back as it is")
        if not len(known):
            why, warnings = "no row has a value", ["all missing: kept aside, and given back as it is"]
        if given is not None:
            kind = given["kind"]
        return Column(column, kind, why, True, missing, tuple(warnings))
    if missing > MANY_MISSING * len(series):
        warnings.append(f"{missing / len(series):.0%} missing")
    if series.type == "real" and np.abs(known).max() >= HUGE:
        warnings.append(f"reaches {np.abs(known).max():g}")
    if given is not None:
        options = {key: value for key, value in given.items() if key != "kind"}
        warnings += _never_seen(series, options.get("order", ()))
        return Column(column, given["kind"], "as you say", False, missing, tuple(warnings), **options)
    kind, why, more = _inferred(series, known)
    low, high = (0.0, 1.0) if kind == "bounded" else (None, None)
    decimals = None
    if "decimals" in OPTIONS.get(kind, ()):
        decimals = decimals_of(known)
        more = _atoms(known, kind)
    if decimals:
        why = f"{why}, {decimals} decimal{'s' if decimals > 1 else ''}"
    return Column(column, kind, why, False, missing, (*warnings, *more), low, high, decimals=decimals)


def _inferred(series: Series, known: NDArray[Any]) -> tuple[Kind, str, list[str]]:
    """Kind, why, and warnings of a column that varies."""
    if series.type == "truth":
        return "boolean", f"true in {known.mean():.0%} of the rows", []
    if series.type == "date":
        first, last = known.min(), known.max()
        form = "D" if series.days else "s"
        return "date", f"dates from {_date(first, form)} to {_date(last, form)}", []
    if series.type == "label":
        kind: Kind = "ordered" if series.ordered else "categorical"
        count = len(np.unique(known))
        return kind, f"{count:,} labels{', in order' if series.ordered else ''}", _label_warnings(series, count)
    if is_whole(known):
        seen = np.unique(known)
        step = common_step(known, seen)
        steps = f" in steps of {step}" if step > 1 else ""
        named = len(known) == len(seen) == seen[-1] - seen[0] + 1 and len(known) >= ENOUGH
        more = [f'a number for each row: leave it out, by kind "{DROP}", if it is a row\'s name'] if named else []
        return "integer", f"{len(seen):,} distinct whole numbers from {seen[0]:.0f} to {seen[-1]:.0f}{steps}", more
    return *_inferred_real(known), []


def _inferred_real(known: NDArray[np.float64]) -> tuple[Kind, str]:
    low, high = float(known.min()), float(known.max())
    skewness, kurtosis = shape_of(known)
    if low >= 0 and high <= 1 and low < 0.01 and high > 0.99 and len(np.unique(known)) > 20:
        return "bounded", f"between 0 and 1, from {low:.2g} to {high:.2g}"
    logarithm = low >= 0 and wants_logarithm(known)
    near = 0 <= low <= NEAR * deviation(known) and kurtosis <= HEAVY and len(known) >= ENOUGH
    if logarithm or near:
        zeros = int((known == 0).sum())
        where = "all above 0" if not zeros else f"none below 0, 0 in {zeros / len(known):.0%}"
        skewed = f", skewness {skewness:.1f}: logarithm" if logarithm else f", up to {high:.4g}"
        return "positive", where + skewed
    if is_flat(known):
        return "flat", f"numbers from {low:.4g} to {high:.4g}, as if cut off at both ends"
    if kurtosis > HEAVY:
        return "heavy", f"excess kurtosis {kurtosis:.0f}, that of a normal law is 0: tails drawn in"
    return "real", f"numbers from {low:.4g} to {high:.4g}"


def _atoms(known: NDArray[np.float64], kind: Kind) -> list[str]:
    """A warning where one real number comes often, but too seldom to be set apart: no density can hold that."""
    values, counts = np.unique(known, return_counts=True)
    ends = {"positive": [0.0], "bounded": [0.0, 1.0]}.get(kind, [])
    counts[np.isin(values, ends)] = 0
    most = int(counts.argmax())
    if counts[most] >= ROWS or counts[most] <= max(1, ATOM * len(known)):
        return []
    return [f"{values[most]:g} in {counts[most] / len(known):.0%} of the rows, which a continuous law only comes near"]


def _label_warnings(series: Series, count: int) -> list[str]:
    seen = [series.labels[code] for code in np.unique(series.known)]
    for said, reads in (("numbers", _reads_as_number), ("dates", _reads_as_date)):
        odd = [label for label in seen if not reads(label)]
        if 0 < len(odd) <= len(seen) // 2:
            row = int(np.flatnonzero((series.values == series.labels.index(odd[0])) & ~series.missing)[0]) + 1
            return [f"{said} but for {len(odd):,} of its labels, such as '{odd[0]}' in row {row}"]
    if "," in "".join(map(str, seen)) and all(_reads_as_number(str(label).replace(",", ".", 1)) for label in seen):
        return ["numbers with ',' for the decimal point, it seems, and taken for labels: write them with '.'"]
    if count == len(series.known) > 20:
        return [f'every row has a label of its own: a name to leave out, by kind "{DROP}", rather than a category']
    return []


def _never_seen(series: Series, order: Sequence[Label]) -> list[str]:
    seen = np.unique(series.known).tolist()
    if series.type == "label":
        seen = [series.labels[code] for code in seen]
    never = [str(label) for label in order if label not in seen]
    return [f"never seen, so never given back: {', '.join(never)}"] if never else []


def _reads_as_number(label: Label) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True


def _reads_as_date(label: Label) -> bool:
    if not re.match(r"\d{4}-\d\d-\d\d([T ]|$)", str(label)):  # NumPy takes 2020 and "now" for dates too
        return False
    try:
        moment_of(str(label))
    except ValueError:
        return False
    return True


def _plain_kind(series: Series) -> Kind:
    if series.type == "real" and len(series.known) and is_whole(series.known):
        return "integer"
    kinds: dict[str, Kind] = {
        "real": "real", "whole": "integer", "truth": "boolean", "label": "categorical", "date": "date",
    }  # fmt: skip
    return kinds[series.type]


def _said(series: Series) -> str:
    """The one value of a constant column."""
    row = int(np.flatnonzero(~series.missing)[0]) if len(series.known) else 0
    return str(cell_at(series, row)) if len(series) else ""


def cell_at(series: Series, row: int) -> Any:
    """One cell as a plain Python value."""
    return series.take(slice(row, row + 1)).cells()[0]


def _date(value: int, form: str) -> str:
    return str(np.datetime64(int(value), "us").astype(f"M8[{form}]"))


# --- what cells look like -------------------------------------------------------------------------------------------


def check_known(series: Series, remedy: str = "") -> None:
    """Refuse cells that are of no kind that is known.

    Raises:
        DataError: it names the column, and says the `remedy` as well.
    """
    if series.type == "other":
        raise DataError(f"{series.labels[0]}{remedy}")


def check_finite(series: Series, column: str, name: str) -> None:
    """Refuse an infinite cell.

    Raises:
        DataError: it names row and column.
    """
    if series.type != "real":
        return
    endless = np.flatnonzero(np.isinf(series.values) & ~series.missing)
    if len(endless):
        row = endless[0]
        more = f" ({len(endless):,} such cells in this column)" if len(endless) > 1 else ""
        raise DataError(
            f"{name}, row {row + 1}, column '{column}': {series.values[row]} is not a finite number{more}. "
            "Leave the cell empty, which says that it is missing, or remove the row."
        )


def is_constant(known: NDArray[Any]) -> bool:
    """Whether there is nothing to learn; a spread below rounding of the column's own size is no spread."""
    if not len(known):
        return True
    if known.dtype.kind != "f":
        return bool((known == known[0]).all())
    largest = np.abs(known).max()
    # In units of the largest, whose square is a float.
    return bool(largest == 0 or (known / largest).std() <= 1e-14)


def is_whole(known: NDArray[Any]) -> bool:
    """Whether all are whole numbers that float64 tells apart."""
    if known.dtype.kind != "f":
        return True
    return bool((np.rint(known) == known).all() and np.abs(known).max() < 2**53)


def common_step(known: NDArray[Any], seen: NDArray[Any]) -> int:
    """The largest step of which all whole numbers `seen` are multiples, counted from one of them; 1 of few rows."""
    return int(np.gcd.reduce(np.diff(seen.astype(np.int64)))) if len(known) >= ENOUGH else 1


def decimals_of(x: NDArray[np.float64]) -> int | None:
    """The fewest decimals that all of x (n,) have; None: more than six, or few rows."""
    largest, single = np.abs(x).max(), is_single(x)
    if len(x) < ENOUGH:
        return None
    step = np.finfo(np.float32 if single else np.float64).eps * largest
    for places in range(1, DECIMALS + 1):
        if 10.0**-places < COARSE * step:
            return None
        found = np.rint(x * 10.0**places) / 10.0**places
        if (found.astype(np.float32) == x.astype(np.float32) if single else found == x).all():
            return places
    return None


def is_single(x: NDArray[np.float64]) -> bool:
    """Whether all of x (n,) are numbers of single precision."""
    return bool(np.abs(x).max() < np.finfo(np.float32).max and (x.astype(np.float32) == x).all())


def is_flat(x: NDArray[Any]) -> bool:
    """Whether x (n,) looks cut off at both ends; of few rows it cannot be told."""
    if len(x) < ENOUGH or not FLAT[0] < shape_of(x)[1] < FLAT[1]:
        return False
    low, high = float(x.min()), float(x.max())
    edge = 0.05 * (high - low)
    return min((x <= low + edge).mean(), (x >= high - edge).mean()) > EDGE


def wants_logarithm(x: NDArray[np.float64]) -> bool:
    """Whether it makes numbers x (n,), none below 0, far less skewed."""
    above, skewness = x[x > 0], shape_of(x)[0]
    return bool(skewness > SKEWED and not is_constant(above) and abs(shape_of(np.log(above))[0]) < skewness / 2)


def shape_of(x: NDArray[Any]) -> tuple[float, float]:
    """Skewness and excess kurtosis of x (n,), which varies."""
    x = x / np.abs(x).max()
    z = (x - x.mean()) / x.std()
    square = z * z
    return float((square * z).mean()), float((square * square).mean()) - 3


# --- overrides ------------------------------------------------------------------------------------------------------


def overrides_of(changes: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Overrides from keys and values of a command line: "columns.age" and "integer".

    Raises:
        UsageError: a key that does not begin with "columns.".
    """
    made = {}
    for key, value in changes:
        section, _, column = key.partition(".")
        if section != "columns" or not column:
            raise UsageError(f"--set {key}: expected columns.NAME=KIND, such as columns.age=integer.")
        made[column] = value
    return made


def kept_of(names: Sequence[str], overrides: Mapping[str, Any] | None) -> tuple[list[str], dict[str, Any]]:
    """The columns that are not dropped, and the overrides of those.

    Raises:
        UsageError: a column to be dropped that there is not.
    """
    given = dict(overrides or {})
    drop = [column for column, value in given.items() if value in (DROP, {"kind": DROP})]
    for column in drop:
        if column not in names:
            raise UsageError(unknown("column", column, names))
        del given[column]
    return [column for column in names if column not in drop], given


def _override(column: str, value: Any, names: Sequence[str]) -> dict[str, Any]:
    """{"kind": ..., and its options}, checked."""
    if column not in names:
        raise UsageError(unknown("column", column, names))
    given = {"kind": value} if isinstance(value, str) else value
    if not isinstance(given, Mapping) or "kind" not in given:
        raise UsageError(
            f'column \'{column}\' = {value!r}; expected a kind, such as "integer", or {{kind = "ordered", '
            'order = ["S", "M", "L"]}.'
        )
    kind = given["kind"]
    if kind not in get_args(Kind):
        raise UsageError(f"column '{column}': " + unknown("kind", str(kind), (*get_args(Kind), DROP)))
    allowed = OPTIONS.get(kind, ())
    made: dict[str, Any] = {"kind": kind}
    for key, option in given.items():
        if key == "kind":
            continue
        if key not in allowed:
            has = f"it has {', '.join(allowed)}" if allowed else "it has none"
            raise UsageError(f"column '{column}': kind '{kind}' has no option '{key}'; {has}.")
        made[key] = _option(column, kind, key, option)
    low, high = made.get("low"), made.get("high")
    if kind == "bounded":
        made["low"], made["high"] = low, high = 0.0 if low is None else low, 1.0 if high is None else high
    if low is not None and high is not None and low >= high:
        raise UsageError(f"column '{column}': low = {low:g} and high = {high:g}; expected low < high.")
    return made


def _option(column: str, kind: str, key: str, value: Any) -> Any:
    if key == "order":
        fits = isinstance(value, list | tuple) and len(value) > 1 and len(set(map(str, value))) == len(value)
        if not fits or not all(isinstance(label, str | int | float) for label in value):
            raise UsageError(f"column '{column}': order = {value!r}; expected two labels or more, each once.")
        return tuple(value)
    whole = kind == "integer" or key == "decimals"
    number = isinstance(value, int | float) and not isinstance(value, bool) and np.isfinite(value)
    outside = (key == "step" and value < 1) or (key == "decimals" and not 1 <= value <= DECIMALS)
    if not number or (whole and value != int(value)) or outside:
        said = "a whole number" if whole else "a finite number"
        said += {"step": " of at least 1", "decimals": f" from 1 to {DECIMALS}"}.get(key, "")
        raise UsageError(f"column '{column}': {key} = {value!r}; expected {said}.")
    return int(value) if whole else float(value)
