"""Rules of users, such as "total == fee * seats": read, checked on rows, and solved for one of their columns.

    rule  = unique(column, ...) | claim | claim -> claim
    claim = value == value | != | < | <= | > | >=, also chained | value in {constants} | column | one_hot(column, ...)
          | not claim | claim and claim | claim or claim
    value = column | number | "text" | value + value | - | * | / | -value | round(value, digits)
          | year(value) | month(value) | day(value)

Python's parser reads the text, and only this grammar is accepted: no part of a rule is ever run as code. A claim about
a missing entry, or about a division by 0, is neither true nor false, and does not break a rule.
"""

from __future__ import annotations

import ast
import datetime
import keyword
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from motes.data import Frame, as_frame
from motes.data.arrays import DAY, EPOCH, Array, Label, Mask, Series
from motes.data.points import content_keys
from motes.errors import UsageError, check_unicode
from motes.tables.kinds.base import Kind

LONGEST = 10_000  # maximum number of characters of a rule
DEEPEST = 250  # maximum depth of nested expressions
DIGITS = 15  # maximum number of decimals in `round`
EQUAL = 1e-9  # relative difference up to which two numbers that are not both whole count as equal
HELPED = 0.95  # minimum share of the rows in which a rule holds after rounding
DATE_PARTS = {"year": "Y", "month": "M", "day": "D"}
GRAMMAR = (
    "columns (in backticks if a name has spaces or signs, as in `last visit`), numbers, texts in quotation marks, "
    "+ - * /, round(x, digits), comparisons, sets, and, or, not, ->, one_hot, unique"
)

Columns = Mapping[str, Series]


class Values(NamedTuple):
    """The values of an expression, (n,), or one value for all rows, ().

    Attributes:
        kind: "number", "date" (microseconds) or "text" (indices into `labels`, -1 if missing).
        x: the values as float64; NaN if missing.
        size: the size of the numbers from which they were computed, and so of their rounding errors.
        labels: the labels of texts; empty for others.
        ordered: whether these labels have an order.
    """

    kind: str
    x: Any
    size: Any
    labels: tuple[Label, ...] = ()
    ordered: bool = False


class ThreeValued(NamedTuple):
    """Which rows a claim is certainly true for, and for which it is certainly false, (n,) or ()."""

    holds: Any
    fails: Any


@dataclass(frozen=True)
class UserRule:
    """A rule of a user, as `parse_rule` returns it; `str(rule)` is its text.

    Example:
        >>> from motes.tables import parse_rule
        >>> rule = parse_rule("total == fee * seats")
        >>> rule.columns, rule.breaks({"fee": [2, 3], "seats": [4, 5], "total": [8, 16]}).tolist()
        (('total', 'fee', 'seats'), [False, True])
    """

    text: str

    def __post_init__(self) -> None:
        _ = self._claims  # a rule that cannot be read is refused here

    def __str__(self) -> str:
        return self.text

    @cached_property
    def _claims(self) -> tuple[ast.expr, ...]:
        """The claim, after the claim on which it depends if there is one."""
        return _Reader(self.text).claims()

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The names of its columns, each once."""
        return tuple(dict.fromkeys(name for claim in self._claims for name in _names_in(claim)))

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The columns of a `unique` key; empty for other rules."""
        claim = self._claims[-1]
        return self.columns if _called(claim) == "unique" else ()

    # --- on rows ---

    def breaks(self, frame: Any) -> Mask:
        """Return which rows break the rule, (n,).

        A row with a missing entry does not break it if the rule may hold for some value of the entry. For a unique key,
        the rows that repeat the key of an earlier row break it.

        Args:
            frame: n rows with its columns, in any kind of table.

        Raises:
            DataError: if a column does not exist.
            UsageError: if the rule compares different types, such as a text with a number.

        Example:
            >>> from motes.tables import parse_rule
            >>> bool(parse_rule("smoker == 'yes' -> age >= 18").breaks(people).any())
            False
        """
        rows = as_frame(frame).select(self.columns)
        if self.keys:
            return _repeats(rows)
        return np.broadcast_to(self.truth(rows.columns).fails, len(rows)).copy()

    def truth(self, rows: Columns) -> ThreeValued:
        """Return the rows for which the rule, which is not a key, certainly holds, and which certainly break it.

        Example:
            >>> from motes.data import as_frame
            >>> from motes.tables import parse_rule
            >>> parse_rule("age >= 30").truth(as_frame({"age": [31, None, 25]}).columns).fails.tolist()
            [False, False, True]
        """
        found = [self._claim(claim, rows) for claim in self._claims]
        return found[0] if len(found) == 1 else _either(ThreeValued(*found[0][::-1]), found[1])

    def _claim(self, node: ast.expr, rows: Columns) -> ThreeValued:
        """Evaluate a claim."""
        match node:
            case ast.BoolOp(op, parts):
                return reduce(_both if isinstance(op, ast.And) else _either, [self._claim(one, rows) for one in parts])
            case ast.UnaryOp(ast.Not(), inner):
                return ThreeValued(*self._claim(inner, rows)[::-1])
            case ast.Compare():
                return reduce(_both, [self._compare(*pair, rows) for pair in _pairs(node)])
            case ast.Call():
                found = reduce(_both, [self._claim(one, rows) for one in _one_hot_claims(node)])
                ones = [self._compare(name, ast.Eq(), ast.Constant(1), rows).holds.astype(int) for name in node.args]
                return found._replace(fails=found.fails | (sum(ones) > 1))  # two ones break it, whatever the others are
            case _:
                return self._compare(node, ast.Eq(), ast.Constant(1), rows)

    def _compare(self, left: ast.expr, op: ast.cmpop, right: ast.expr, rows: Columns) -> ThreeValued:
        """Evaluate one comparison."""
        if isinstance(op, ast.In | ast.NotIn):
            assert isinstance(right, ast.Set)
            found = reduce(_either, [self._compare(left, ast.Eq(), one, rows) for one in right.elts])
            return found if isinstance(op, ast.In) else ThreeValued(*found[::-1])
        a, b = self._alike(self._value(left, rows), self._value(right, rows), left, op)
        known = np.isfinite(a.x) & np.isfinite(b.x)
        a, b = (one._replace(x=np.where(known, one.x, 0.0)) for one in (a, b))
        equal = _equal(a, b)
        if isinstance(op, ast.Eq | ast.NotEq):  # of two numbers half-way, either is a correct rounding
            for rounded, other in ((left, b), (right, a)):
                if _called(rounded) == "round":
                    inner, digits = _rounding(rounded)
                    whole, exact = self._value(inner, rows), 10.0**-digits
                    with np.errstate(invalid="ignore"):
                        near = np.abs(other.x - whole.x) <= exact / 2 + EQUAL * (exact + whole.size)
                    equal = equal | near & _equal(other, other._replace(x=np.round(other.x, digits)))
        holds = {
            ast.Eq: equal, ast.NotEq: ~equal, ast.Lt: (a.x < b.x) & ~equal, ast.LtE: (a.x < b.x) | equal,
            ast.Gt: (a.x > b.x) & ~equal, ast.GtE: (a.x > b.x) | equal,
        }[type(op)]  # fmt: skip
        return ThreeValued(known & holds, known & ~holds)

    def _alike(self, a: Values, b: Values, node: ast.expr, op: ast.cmpop) -> tuple[Values, Values]:
        """Return two values as the same kind, so that they can be compared."""
        if "missing" in (a.kind, b.kind):
            return NOTHING, NOTHING
        if {a.kind, b.kind} == {"date", "text"}:
            as_date = lambda one: one if one.kind == "date" else self._date(one, node)
            return as_date(a), as_date(b)
        if a.kind != b.kind:
            raise self._error(node, f"got a comparison of a {a.kind} with a {b.kind}", "two of the same type")
        if a.kind == "text":
            if not isinstance(op, ast.Eq | ast.NotEq) and not (a.ordered or b.ordered):
                raise self._error(node, "got < or > between texts, which have no order", "== or in {...}")
            every = [one.labels for one in sorted((a, b), key=lambda one: not one.ordered)]
            place = {label: k for k, label in enumerate(dict.fromkeys([*every[0], *every[1]]))}
            coded = lambda one: np.array([*(place[label] for label in one.labels), np.nan])[one.x.astype(np.int64)]
            return a._replace(x=coded(a)), b._replace(x=coded(b))
        return a, b

    def _date(self, text: Values, node: ast.expr) -> Values:
        """Return a text as a date."""
        try:
            (value,) = text.labels
            micro = (datetime.datetime.fromisoformat(str(value)) - EPOCH) / datetime.timedelta(microseconds=1)
        except (ValueError, TypeError):  # TypeError with a time zone
            got = f"got a comparison of a date with {', '.join(map(repr, text.labels[:3]))}"
            raise self._error(node, got, "a date such as '2026-03-01'") from None
        return Values("date", np.float64(round(micro)), np.float64(1))

    def _value(self, node: ast.expr, rows: Columns) -> Values:
        """Evaluate an expression."""
        match node:
            case ast.Constant(str(text)):
                return Values("text", np.float64(0), np.float64(1), (text,))
            case ast.Constant(int() | float() as number):
                return _numbers(np.float64(number))
            case ast.Name(name):
                return _column(name, rows)
            case ast.UnaryOp(ast.USub(), inner):
                a = self._number(inner, rows)
                return a._replace(x=-a.x)
            case ast.BinOp(left, op, right):
                return self._arithmetic(node, self._value(left, rows), op, self._value(right, rows))
            case ast.Call():
                if _called(node) == "round":
                    inner, digits = _rounding(node)
                    a = self._number(inner, rows)
                    return a._replace(x=np.round(a.x, digits))
                a = self._value(node.args[0], rows)
                name = _called(node) or ""
                if a.kind not in ("date", "missing"):
                    raise self._error(node, f"got {name} of a {a.kind}", "a column of dates")
                return _date_part(a.x, DATE_PARTS[name])
        raise AssertionError(node)

    def _number(self, node: ast.expr, rows: Columns) -> Values:
        a = self._value(node, rows)
        if a.kind not in ("number", "missing"):
            raise self._error(node, f"got arithmetic with a {a.kind}", "numbers")
        return a

    def _arithmetic(self, node: ast.expr, a: Values, op: ast.operator, b: Values) -> Values:
        kind = _kind_of(a.kind, op, b.kind)
        if not kind:
            expected = "numbers, a date and a number of days, or the difference of two dates"
            raise self._error(node, f"got arithmetic with a {a.kind} and a {b.kind}", expected)
        if "date" in (a.kind, b.kind):  # in microseconds; the difference of two dates in days
            x, y = (one.x * (1 if one.kind == "date" else DAY) for one in (a, b))
            x = x + y if isinstance(op, ast.Add) else x - y
            return Values(kind, x if kind == "date" else x / DAY, np.ones_like(x))
        with np.errstate(all="ignore"):
            match op:
                case ast.Add():
                    return Values(kind, a.x + b.x, a.size + b.size)
                case ast.Sub():
                    return Values(kind, a.x - b.x, a.size + b.size)
                case ast.Mult():
                    return Values(kind, a.x * b.x, a.size * b.size)
            return Values(kind, a.x / b.x, a.size / np.abs(b.x))

    def _error(self, node: ast.expr, got: str, expected: str) -> UsageError:
        return _error(self.text, got, expected, _place(self.text, node))

    # --- solved for a column ---

    @cached_property
    def _equations(self) -> tuple[tuple[ast.expr, ast.expr], ...]:
        """The two sides of each equation that holds whenever the claim on which the rule depends does."""
        pairs = [pair for one in _conjuncts(self._claims[-1]) if isinstance(one, ast.Compare) for pair in _pairs(one)]
        return tuple((left, right) for left, op, right in pairs if isinstance(op, ast.Eq))

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """The columns for which it can be solved."""
        every = [name for claim in self._claims for name in _names_in(claim)]
        solvable = [name for pair in self._equations for side in pair for name in _names_in(side, solvable=True)]
        return tuple(name for name in dict.fromkeys(solvable) if every.count(name) == 1)

    @cached_property
    def alone(self) -> tuple[str, ...]:
        """The columns that stand alone on one side of an equation."""
        return tuple(side.id for pair in self._equations for side in pair if isinstance(side, ast.Name))

    def solve(self, target: str, rows: Columns) -> tuple[Array, Array]:
        """Return the interval in which a column must lie given the others, (n,) each; NaN where they do not tell.

        Args:
            target: one of `targets`.
            rows: the columns of the rule, (n,) each; the target may have any values of its type.

        Returns:
            Both ends, in numbers or in microseconds of dates; they differ if the column was rounded.

        Example:
            >>> from motes.data import as_frame
            >>> from motes.tables import parse_rule
            >>> rows = as_frame({"fee": [2, 3], "seats": [4, 5], "total": [0, 0]}).columns
            >>> parse_rule("total == fee * seats").solve("total", rows)[0].tolist()
            [8.0, 15.0]
        """
        low = high = np.float64(np.nan)
        for left, right in self._equations:
            if target in _names_in(right):
                left, right = right, left
            if target in _names_in(left):
                own, value = self._alike(self._value(left, rows), self._value(right, rows), left, ast.Eq())
                if own.kind != "text":
                    low, high = self._invert(left, target, value.x, value.x, rows)
                break
        known = np.isfinite(low) & np.isfinite(high)
        if len(self._claims) > 1:
            known = known & self._claim(self._claims[0], rows).holds
        n = len(rows[target])
        return np.broadcast_to(np.where(known, low, np.nan), n), np.broadcast_to(np.where(known, high, np.nan), n)

    def digits(self, rows: Columns) -> int | None:
        """Return the number of digits to which a column on one side must be rounded; None if that does not help.

        Example:
            >>> from motes.data import as_frame
            >>> from motes.tables import parse_rule
            >>> parse_rule("tax == 0.2 * net").digits(as_frame({"net": [9.99, 7.01], "tax": [2.0, 1.4]}).columns)
            2
        """
        for column in (one for one in self.alone if one in self.targets and rows[one].type == "real"):
            off = np.abs(rows[column].values - self.solve(column, rows)[0])
            off = off[np.isfinite(off)]
            for digits in (4, 3, 2, 1, 0):
                if len(off) and (off <= 0.5000001 * 10.0**-digits).mean() > HELPED:
                    return digits
        return None

    def _invert(self, node: ast.expr, target: str, low: Any, high: Any, rows: Columns) -> tuple[Any, Any]:
        """Return the interval of the column `target` for which an expression lies between low and high."""
        match node:
            case ast.UnaryOp(_, inner):
                return self._invert(inner, target, -high, -low, rows)
            case ast.Call():
                inner, digits = _rounding(node)
                half = 10.0**-digits / 2
                return self._invert(inner, target, low - half, high + half, rows)
            case ast.BinOp(left, op, right):
                first = target in _names_in(left)
                inner, other = (left, right) if first else (right, left)
                whole, own, b = (self._value(one, rows) for one in (node, inner, other))
                dates = "date" in (whole.kind, own.kind, b.kind)
                unit = lambda one: DAY if dates and one.kind == "number" else 1
                low, high, y = low * unit(whole), high * unit(whole), b.x * unit(b)
                with np.errstate(all="ignore"):
                    match op:
                        case ast.Add():
                            ends = low - y, high - y
                        case ast.Sub():
                            ends = (low + y, high + y) if first else (y - high, y - low)
                        case ast.Mult():
                            ends = low / y, high / y
                        case _:
                            ends = (low * y, high * y) if first else (y / low, y / high)
                low, high = np.minimum(*ends) / unit(own), np.maximum(*ends) / unit(own)
                return self._invert(inner, target, low, high, rows)
        return low, high


def parse_rule(text: str) -> UserRule:
    """Read a rule between columns; docs/rules.md has the grammar.

    Args:
        text: the rule, such as "end <= start + 30" or "plan == 'basic' -> seats == 1". Write column names that are not
            Python names in backticks; see `quoted`.

    Raises:
        UsageError: if it is not a rule; the message names the character.

    Example:
        >>> from motes.tables import parse_rule
        >>> str(parse_rule("signup <= `last visit`")), parse_rule("signup <= `last visit`").columns
        ('signup <= `last visit`', ('signup', 'last visit'))
        >>> parse_rule("total = fee * seats")
        Traceback (most recent call last):
            ...
        motes.errors.UsageError: rule "total = fee * seats", character 7: got '='; expected '==' between two values.
    """
    return UserRule(text)


def quoted(name: str) -> str:
    """Return a column name as it is written in a rule: in backticks unless it is a Python name.

    Example:
        >>> from motes.tables import quoted
        >>> quoted("age"), quoted("last visit")
        ('age', '`last visit`')
    """
    return name if name.isidentifier() and not keyword.iskeyword(name) else f"`{name.replace('`', '``')}`"


@dataclass(frozen=True, eq=False)
class BoundRule:
    """A rule of a user on the values of column kinds; it holds in every row, and has the attributes of a found rule.

    Attributes:
        rule: the rule, without a key.
        kinds: the kinds of its columns that vary.
        kept: the only value of its constant columns.
    """

    rule: UserRule
    kinds: Mapping[str, Kind]
    kept: Mapping[str, Series]

    shares: ClassVar[tuple[float, ...]] = (0.0, 1.0)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of its columns that vary."""
        return tuple(self.kinds)

    @property
    def words(self) -> str:
        """Its text."""
        return self.rule.text

    @cached_property
    def targets(self) -> tuple[str, ...]:
        """The columns for which it can be solved."""
        none = np.zeros(0)
        rows = self._rows(dict.fromkeys(self.kinds, none))
        return tuple(one for one in self.rule.targets if one in self.kinds and rows[one].type != "label")

    def cases(self, values: Mapping[str, Array]) -> NDArray[np.integer]:
        """Return 0 for rows that break it, otherwise 1, (n,), from values of the kinds; NaN for missing ones."""
        rows = self._rows(values)
        return np.where(np.broadcast_to(self.rule.truth(rows).fails, len(rows[self.columns[0]])), 0, 1)

    def solve(self, target: str, values: Mapping[str, Array], u: Array) -> tuple[Array, Array]:
        """Return a value of one of `targets` given the other columns, and its log-probability, (n,) each.

        Args:
            target: the column.
            values: values of the kinds, (n,) each; NaN if missing.
            u: (n,), uniform numbers, which choose among several values if the column was rounded.

        Returns:
            Numbers or microseconds, NaN where the others do not tell the value; and minus the logarithm of the number
            of values, or of the length of the interval if the values have no steps.
        """
        rows = self._rows({**values, target: np.zeros(len(u))})
        low, high = self.rule.solve(target, rows)
        kind, wide = self.kinds[target], high > low
        with np.errstate(divide="ignore", invalid="ignore"):
            if kind.step is None:
                return low + u * (high - low), np.where(wide, -np.log(high - low), 0.0)
            known = np.isfinite(low)
            first, last = (kind.nearest(np.where(known, end, 0.0)).astype(np.float64) for end in (low, high))
            first = np.where(wide & (first < low - EQUAL * kind.step), first + kind.step, first)
            last = np.where(wide & (last > high + EQUAL * kind.step), last - kind.step, last)
            count = np.maximum(np.rint((last - first) / kind.step) + 1, 1.0)
            return np.where(known, first + np.floor(u * count) * kind.step, np.nan), -np.log(count)

    def _rows(self, values: Mapping[str, Array]) -> Columns:
        made = {}
        for name, kind in self.kinds.items():
            x, nothing = values[name], np.zeros((1, len(kind.parts)))
            dtype = kind.decode(nothing.astype(np.int32), nothing, nothing).dtype
            gone = np.isnan(x)
            made[name] = kind.series(np.where(gone, 0, x).astype(dtype), gone)
        n = len(next(iter(made.values())))
        return made | {name: one.take(np.zeros(n, np.intp)) for name, one in self.kept.items()}


# --- Values ---------------------------------------------------------------------------------------------------------


def _numbers(x: Any) -> Values:
    return Values("number", x, np.abs(x))


NOTHING = Values("missing", np.float64(np.nan), np.float64(1))  # of a column without an entry, which has no type


def _column(name: str, rows: Columns) -> Values:
    """Return the values of a column."""
    series = rows[name]
    series.check_known()
    if len(series) and series.missing.all():
        return NOTHING
    if series.type == "label":
        codes = np.where(series.missing, -1, series.values)
        if any(isinstance(label, str) for label in series.labels):
            return Values("text", codes.astype(np.float64), np.float64(1), series.labels, series.ordered)
        return _numbers(np.array([*series.labels, np.nan], np.float64)[codes])
    x = np.where(series.missing, np.nan, series.values.astype(np.float64))
    return Values("date", x, np.float64(1)) if series.type == "date" else _numbers(x)


def _kind_of(a: str, op: ast.operator, b: str) -> str:
    """Return the kind of a + b etc.; "" if they have none."""
    if "missing" in (a, b):
        return "missing"
    if a == b == "number":
        return "number"
    if a == b == "date" and isinstance(op, ast.Sub):
        return "number"
    shifts = (a, b) == ("date", "number") or (b, a, type(op)) == ("date", "number", ast.Add)
    return "date" if shifts and isinstance(op, ast.Add | ast.Sub) else ""


def _date_part(x: Array, unit: str) -> Values:
    """Return the year ("Y"), the month ("M") or the day ("D") of dates."""
    known = np.isfinite(x)
    dates = np.where(known, x, 0).astype(np.int64).astype("M8[us]")
    month, year = dates.astype("M8[M]"), dates.astype("M8[Y]")
    made = {
        "Y": year.astype(np.int64) + 1970, "M": (month - year).astype(np.int64) + 1,
        "D": (dates.astype("M8[D]") - month).astype(np.int64) + 1,
    }[unit]  # fmt: skip
    return _numbers(np.where(known, made, np.nan))


def _equal(a: Values, b: Values) -> Mask:
    """Return where two values are equal, up to rounding errors."""
    with np.errstate(invalid="ignore"):  # the size of a missing number is missing
        near = np.abs(a.x - b.x) < (1.0 if a.kind == "date" else EQUAL * np.maximum(a.size, b.size))
    whole = (a.x == np.rint(a.x)) & (b.x == np.rint(b.x)) & (a.kind != "date")
    return (a.x == b.x) | (near & ~whole)


def _both(a: ThreeValued, b: ThreeValued) -> ThreeValued:
    return ThreeValued(a.holds & b.holds, a.fails | b.fails)


def _either(a: ThreeValued, b: ThreeValued) -> ThreeValued:
    return ThreeValued(a.holds | b.holds, a.fails & b.fails)


def _repeats(rows: Frame) -> Mask:
    """Return which rows without a missing entry repeat an earlier row, (n,)."""
    known = np.flatnonzero(~np.logical_or.reduce([series.missing for series in rows.columns.values()]))
    made = np.zeros(len(rows), bool)
    made[known] = True
    made[known[np.unique(content_keys(rows.take(known)), return_index=True)[1]]] = False
    return made


# --- The tree -------------------------------------------------------------------------------------------------------


def _called(node: ast.AST) -> str | None:
    """Return the name of the function of a call; None for other expressions."""
    return node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None


def _names_in(node: ast.AST, *, solvable: bool = False) -> list[str]:
    """Return the columns of an expression, each as often as it occurs; or those for which it can be solved."""
    if isinstance(node, ast.Name):
        return [node.id]
    if solvable and _called(node) in DATE_PARTS:
        return []
    within = node.args if isinstance(node, ast.Call) else ast.iter_child_nodes(node)
    return [name for one in within for name in _names_in(one, solvable=solvable)]


def _pairs(node: ast.Compare) -> Iterator[tuple[ast.expr, ast.cmpop, ast.expr]]:
    """Yield the comparisons of a chain."""
    return zip([node.left, *node.comparators], node.ops, node.comparators, strict=False)


def _rounding(node: ast.expr) -> tuple[ast.expr, int]:
    """Return the argument of `round` and its number of digits."""
    assert isinstance(node, ast.Call)
    inner, *digits = node.args
    return inner, ast.literal_eval(digits[0]) if digits else 0


def _conjuncts(node: ast.expr) -> list[ast.expr]:
    """Return the claims that a claim consists of, all of which must hold."""
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
        return [claim for one in node.values for claim in _conjuncts(one)]
    return _one_hot_claims(node) if _called(node) == "one_hot" else [node]


def _one_hot_claims(node: ast.expr) -> list[ast.expr]:
    """Return the claims of `one_hot`: each column is 0 or 1, and their sum is 1."""
    assert isinstance(node, ast.Call)
    zero, one = ast.Constant(0), ast.Constant(1)
    total = reduce(lambda a, b: ast.BinOp(a, ast.Add(), b), node.args)
    each: list[ast.expr] = [ast.Compare(name, [ast.In()], [ast.Set([zero, one])]) for name in node.args]
    return [ast.Compare(total, [ast.Eq()], [one]), *each]


# --- Reading --------------------------------------------------------------------------------------------------------


def _error(text: str, got: str, expected: str, place: int) -> UsageError:
    shown = text if len(text) <= 200 else f"{text[:200]}..."
    return UsageError(f'rule "{shown}", character {place}: {got}; expected {expected}.')


def _place(text: str, node: ast.AST) -> int:
    """Return the first character of an expression in a text, counted from 1."""
    return len(text.encode()[: getattr(node, "col_offset", 0)].decode(errors="ignore")) + 1


class _Reader:
    """Reads the text of one rule into claims, trees in the grammar of this module."""

    def __init__(self, text: str):
        if not isinstance(text, str) or not 0 < len(text.strip()) <= len(text) <= LONGEST:
            got = f"{len(text):,} characters" if isinstance(text, str) else f"{text!r}"
            raise UsageError(f"got {got} for a rule; expected a text of 1 to {LONGEST:,} characters, such as 'a <= b'.")
        self.text = text

    def claims(self) -> tuple[ast.expr, ...]:
        check_unicode(self.text, "a rule", UsageError)
        plain, arrow = self._plain()
        parts = [plain]
        if arrow is not None:
            parts = [plain[:arrow], " " * len(plain[: arrow + 2].encode()) + plain[arrow + 2 :]]
        made = tuple(self._parsed(part) for part in parts)
        for node in made:
            if _called(node) == "unique" and len(made) == 1:
                self._check_columns(node, 1)
            else:
                self._check_claim(node, 0)
        return made

    def _plain(self) -> tuple[str, int | None]:
        """Return the text with plain names for those in backticks, of the same length, and the place of "->"."""
        text, made, k, quote, depth, arrow = self.text, "", 0, "", 0, None
        while k < len(text):
            here, step = text[k], 1
            if quote:
                step = 2 if here == "\\" else 1
                quote = "" if here == quote else quote
            elif here in "\"'":
                quote = here
            elif here == "`":
                end = k + 1
                while end < len(text) and (text[end] != "`" or text[end : end + 2] == "``"):
                    end += 2 if text[end] == "`" else 1
                if not k + 1 < end < len(text):
                    raise self._error("got a backtick", "a column name between two backticks", k)
                step = end + 1 - k
                made += "_" * len(text[k : k + step].encode())
                k += step
                continue
            elif here in "([{":
                depth += 1
            elif here in ")]}":
                depth -= 1
                if depth < 0:
                    raise self._error(f"got '{here}'", "an opening bracket before it", k)
            elif text.startswith("->", k):
                if arrow is not None or depth:
                    raise self._error("got '->'", "at most one in a rule, outside brackets", k)
                arrow, step = len(made), 2
            elif here == "=" and text[k - 1 : k] not in (*"=!<>",) and text[k + 1 : k + 2] != "=":
                raise self._error("got '='", "'==' between two values", k)
            elif here == "#" or (not here.isprintable() and not here.isspace()):
                raise self._error(f"got {here!r}", GRAMMAR, k)
            made += " " * len(here.encode()) if here.isspace() and not quote else text[k : k + step]
            k += step
        if quote or depth:
            raise self._error("it ends too early", "a closing quotation mark" if quote else "a closing bracket", k)
        return made, arrow

    def _parsed(self, part: str) -> ast.expr:
        start = len(part.encode()) - len(part.lstrip().encode())
        try:
            tree = ast.parse(part.strip(), mode="eval").body
        except SyntaxError as error:
            read = part.strip()
            before = start + len((read[: error.offset - 1] if error.offset else read).encode())  # 0: at the end
            place = len(self.text.encode()[:before].decode(errors="ignore"))
            got = f"got {self.text[place]!r}" if place < len(self.text.rstrip()) else "it ends too early"
            raise self._error(got, GRAMMAR, place) from None
        except (ValueError, RecursionError, MemoryError):
            raise self._error("it cannot be read", f"at most {DEEPEST} nested expressions", 0) from None
        for node in ast.walk(tree):
            if isinstance(node, ast.expr):
                node.col_offset += start
                node.end_col_offset = (node.end_col_offset or 0) + start
        return tree

    def _error(self, got: str, expected: str, place: int) -> UsageError:
        return _error(self.text, got, expected, place + 1)

    def _refused(self, node: ast.AST, expected: str) -> UsageError:
        raw, end = self.text.encode(), getattr(node, "end_col_offset", 0)
        got = raw[getattr(node, "col_offset", 0) : end].decode(errors="ignore")
        return _error(self.text, f"got {got[:60]}", expected, _place(self.text, node))

    def _check_claim(self, node: ast.expr, depth: int) -> None:
        """Check that a tree is a claim, and give its columns their names."""
        self._check_depth(node, depth)
        match node:
            case ast.BoolOp(_, parts):
                for one in parts:
                    self._check_claim(one, depth + 1)
            case ast.UnaryOp(ast.Not(), inner):
                self._check_claim(inner, depth + 1)
            case ast.Name():
                self._check_value(node, depth)
            case ast.Call() if _called(node) == "one_hot":
                self._check_columns(node, 2)
            case ast.Compare(left, ops, others):
                self._check_value(left, depth + 1)
                for k, (op, other) in enumerate(zip(ops, others, strict=True)):
                    if isinstance(op, ast.In | ast.NotIn) and len(ops) == 1:
                        others[k] = self._constants(other)
                    elif isinstance(op, ast.Eq | ast.NotEq | ast.Lt | ast.LtE | ast.Gt | ast.GtE):
                        self._check_value(other, depth + 1)
                    else:
                        raise self._refused(node, "==, !=, <, <=, > or >=, or one 'in {...}' by itself")
                if not _names_in(node):
                    raise self._refused(node, "a column on one side at least")
            case _:
                raise self._refused(node, "a comparison, such as a <= b, or a column that is true or false")

    def _check_value(self, node: ast.expr, depth: int) -> None:
        """Check that a tree is a value, and give its columns their names."""
        self._check_depth(node, depth)
        match node:
            case ast.Name():
                node.id = self._name(node)
            case ast.Constant():
                self._check_constant(node)
            case ast.UnaryOp(ast.USub(), inner):
                self._check_value(inner, depth + 1)
            case ast.BinOp(left, ast.Add() | ast.Sub() | ast.Mult() | ast.Div(), right):
                self._check_value(left, depth + 1)
                self._check_value(right, depth + 1)
            case ast.Call(_, [inner], []) if _called(node) in ("round", *DATE_PARTS):
                self._check_value(inner, depth + 1)
            case ast.Call(_, [inner, digits], []) if _called(node) == "round":
                self._check_value(inner, depth + 1)
                node.args[1] = digits = self._folded(digits)
                whole = isinstance(digits, ast.Constant) and type(digits.value) is int
                if not (whole and abs(digits.value) <= DIGITS):  # type: ignore[attr-defined]
                    raise self._refused(digits, f"a whole number of digits, from -{DIGITS} to {DIGITS}")
            case _:
                raise self._refused(node, GRAMMAR)

    def _check_depth(self, node: ast.expr, depth: int) -> None:
        if depth > DEEPEST:
            raise self._refused(node, f"at most {DEEPEST} nested expressions")

    def _check_constant(self, node: ast.expr) -> None:
        value = node.value if isinstance(node, ast.Constant) else None
        if not isinstance(value, bool | int | float | str) or (not isinstance(value, str) and abs(value) > 1e300):
            raise self._refused(node, "a finite number, or a text in quotation marks")

    def _check_columns(self, node: ast.expr, least: int) -> None:
        """Check that the arguments of `one_hot` or `unique` are columns, and give them their names."""
        assert isinstance(node, ast.Call)
        for one in node.args:
            if not isinstance(one, ast.Name):
                raise self._refused(one, "a column")
            one.id = self._name(one)
        names = [one.id for one in node.args if isinstance(one, ast.Name)]
        if node.keywords or len({*names}) != len(names) or len(names) < least:
            raise self._refused(node, f"at least {least} different columns in brackets")

    def _constants(self, node: ast.expr) -> ast.Set:
        """Return a set of constants."""
        if not isinstance(node, ast.Set | ast.Tuple | ast.List) or not node.elts:
            raise self._refused(node, "a set of constants, such as {'basic', 'pro'}")
        made = [self._folded(one) for one in node.elts]
        for one in made:
            self._check_constant(one)
        return ast.Set(made)

    def _folded(self, node: ast.expr) -> ast.expr:
        """Return a negative number as one constant."""
        match node:
            case ast.UnaryOp(ast.USub(), ast.Constant(int() | float() as value)):
                return ast.copy_location(ast.Constant(-value), node)
        return node

    def _name(self, node: ast.Name) -> str:
        """Return the name of a column as it is written; Python's parser would change some letters."""
        assert node.end_col_offset is not None
        name = self.text.encode()[node.col_offset : node.end_col_offset].decode()
        return name[1:-1].replace("``", "`") if name.startswith("`") else name
