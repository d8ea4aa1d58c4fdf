"""Parses conditions of the command line into the conditions of a model's `sample`.

    age=40    city=Graz,Wien    price=10..500    price=..500    city!=Graz    age=    age!=

A text that equals a label is that label, even if it contains dots or commas.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from motes.data import Frame, read_frame
from motes.errors import MotesError, UsageError, unknown
from motes.tables import Among, Between, Missing, Not, Schema
from motes.tables.draws import conditions_of

LISTED = 20  # labels that a message lists, at most
EXPECTED = "expected COLUMN=VALUE, COLUMN=ONE,ANOTHER, COLUMN=LOW..HIGH, COLUMN!=VALUE, or COLUMN= for a missing entry"

DECIMAL_COMMA = re.compile(r"[+-]?\d[\d.]*,\d+")  # 99,50 or 1.299,50

Labels = Mapping[str, Any]  # label as text -> label as stored in its column


def conditions(words: Sequence[str], model: Any) -> dict[str, Any]:
    """Parse the values of --given into a dict of column -> condition, each checked against its column.

    Raises:
        UsageError: if "=" is missing, a column is unknown or given twice, or a value is impossible in its column.
    """
    if model.kind == "table":
        return table_conditions(words, model.schema)
    observed = model.kind == "posterior"
    return point_conditions(words, model.context.columns if observed else model.columns, observed=observed)


def table_conditions(words: Sequence[str], schema: Schema) -> dict[str, Any]:
    """Parse conditions on a table into a dict of column -> condition, each checked against its column.

    Raises:
        UsageError: if "=" is missing, a column is unknown or given twice, or a value is impossible in its column.

    Example:
        >>> schema = Schema.fit([[17, "S"], [35, "M"], [41, "M"]])
        >>> table_conditions(["x=17..35", "y!=S"], schema)
        {'x': Between(low=17, high=35), 'y': Not(condition='S')}
    """
    made: dict[str, Any] = {}
    for word, name, negated, text in _split_words(words, schema.names):
        schema.check_not_aside(name)
        try:
            condition = _parse_condition(text, schema, name)
            made[name] = Not(condition) if negated else condition
            conditions_of(schema, {name: made[name]})
        except MotesError as error:
            raise UsageError(f"--given {word}: {str(error).removeprefix('given, ')}") from None
    return made


def point_conditions(words: Sequence[str], columns: Sequence[str], *, observed: bool = False) -> dict[str, Any]:
    """Parse conditions on points into a dict of column -> number, or (low, high), one of them None for an open end.

    If the columns are `observed`, an empty entry is NaN, and intervals are refused.

    Raises:
        UsageError: for any other condition.
    """
    made: dict[str, Any] = {}
    for word, name, negated, text in _split_words(words, columns):
        if observed and not text and not negated:
            made[name] = np.nan
            continue
        if negated or not text or "," in text:
            raise UsageError(f"--given {word}: expected COLUMN=NUMBER or COLUMN=LOW..HIGH for a model of points.")
        try:
            found = _parse_values(text, name, _parse_number)
        except UsageError as error:
            raise UsageError(f"--given {word}: {error}") from None
        interval = isinstance(found, Between)
        if observed and interval:
            raise UsageError(f"--given {name}: got an interval; expected the observed number, such as {name}=0.5.")
        made[name] = (found.low, found.high) if interval else found
    return made


def observations(words: Sequence[str], path: Path, model: Any) -> Frame:
    """Read a file of observations, one per row, for a posterior model.

    Raises:
        UsageError: if `words` of --given are given too, if the model has no observed columns, or if there is no such
            file.
        DataError: if the file cannot be used.
    """
    if words:
        raise UsageError(f"got --given {words[0]} and --iid {path}; expected one of them. Put all into the file.")
    if model.kind != "posterior":
        raise UsageError(f"--iid {path}: this model has no observed columns. Train one with --given-columns.")
    frame = read_frame(path, model.recipe.text.fitting(str(path)))
    return frame.select([name for name in frame.names if name in model.context.columns])


def _split_words(words: Sequence[str], columns: Sequence[str]) -> Iterator[tuple[str, str, bool, str]]:
    """Yield each word, its column, whether its sign is "!=", and its value. Column names may contain these signs.

    Raises:
        UsageError: if "=" is missing, or a column is unknown or given twice.
    """
    longest, seen = sorted(columns, key=len, reverse=True), set()
    for word in words:
        signs = ((name, sign) for name in longest for sign in ("!=", "=") if word.startswith(name + sign))
        name, sign = next(signs, ("", ""))
        if not sign:
            typed, equals, _ = word.partition("=")
            wrong = unknown("column", typed.removesuffix("!"), columns) if equals else f"{EXPECTED}, such as age=40."
            raise UsageError(f"--given {word}: {wrong}")
        if name in seen:
            raise UsageError(f"--given {word}: column '{name}' is given twice. Give one condition per column.")
        seen.add(name)
        yield word, name, sign == "!=", word[len(name + sign) :]


def _parse_condition(text: str, schema: Schema, name: str) -> Any:
    if not text:
        return Missing()
    labels = _find_labels(schema, name)
    if labels is None:
        if name not in schema.kept and schema.kind_of(name).decimal and DECIMAL_COMMA.fullmatch(text):
            one, two = text.replace(".", "").replace(",", "."), text.replace(",", ", ")
            raise UsageError(f"got '{text}'; write {name}={one} for one number, or '{name}={two}' for two values.")
        return _parse_values(text, name, _parse_text if schema.types[name] == "date" else _parse_number)
    if text in labels:
        return labels[text]
    for low, high in _split_at_dots(text):
        if (not low or low in labels) and (not high or high in labels):
            return Between(labels.get(low), labels.get(high))
    if "," in text:
        return Among(tuple(_parse_label(part, labels) for part in _split_labels(text, labels)))
    return _parse_label(text, labels)


def _find_labels(schema: Schema, name: str) -> Labels | None:
    """Return the labels of a column; None for numbers and dates."""
    if name in schema.kept:
        series = schema.kept[name]
        return {str(label): label for label in series.cells()} if series.type in ("label", "truth") else None
    labels = getattr(schema.kind_of(name), "labels", None)
    return None if labels is None else {str(label): label for label in labels}


def _parse_label(text: str, labels: Labels) -> Any:
    if text in labels:
        return labels[text]
    if text.capitalize() in labels and set(labels) <= {"True", "False"}:
        return labels[text.capitalize()]
    message = unknown("label", text, tuple(labels))
    raise UsageError(message if len(labels) <= LISTED else message.partition(" Choose from:")[0])


def _split_labels(text: str, labels: Labels) -> list[str]:
    """Split a text at its commas; the longest run of parts that forms a label is kept as that label."""
    parts, made = text.split(","), []
    while parts:
        count = next((k for k in range(len(parts), 0, -1) if ",".join(parts[:k]) in labels), 1)
        made.append(",".join(parts[:count]))
        parts = parts[count:]
    return made


def _split_at_dots(text: str) -> list[tuple[str, str]]:
    """Return the texts before and after each ".." of a text."""
    places = [place for place, (a, b) in enumerate(pairwise(text)) if a == b == "."]
    return [(text[:place], text[place + 2 :]) for place in places]


def _parse_values(text: str, name: str, parse: Callable[[str, str], Any]) -> Any:
    """Parse a value, several values or an interval; `parse` parses one value for a column."""
    low, dots, high = text.partition("..")
    if not dots:
        values = tuple(parse(part, name) for part in text.split(","))
        return values[0] if len(values) == 1 else Among(values)
    if not low and not high:
        raise UsageError(f"expected at least one end, as in {name}=10.., {name}=..10 or {name}=10..20.")
    return Between(parse(low, name) if low else None, parse(high, name) if high else None)


def _parse_text(text: str, name: str) -> str:
    return text


def _parse_number(text: str, name: str) -> int | float:
    digits = text.lstrip("+-")
    if digits[:1] == "0" and digits[1:2].isdigit():  # most likely the end of 99,00
        raise UsageError(
            f"got '{text}'; expected a number with a decimal point, such as {name}=99.5. A comma separates values."
        )
    for read in (int, float):
        try:
            number = read(text)
        except ValueError:
            continue
        if not np.isfinite(number):
            raise UsageError(f"got {text}; expected a finite number. Omit an open end, as in {name}=10..")
        return number
    raise UsageError(f"got '{text}'; expected a number for column '{name}', or an interval such as {name}=10..20.")
