"""Conditions as words of a command line -> what the `sample` of a model takes.

    age=40    city=Graz,Wien    price=10..500    price=..500    city!=Graz    age=    age!=

A word that is a label as a whole is that label, whatever dots and commas are in it.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from motes.data import Frame, read_frame
from motes.errors import MotesError, UsageError, unknown
from motes.tables import Among, Between, Missing, Not, NotMissing, Schema
from motes.tables.draws import conditions_of

LISTED = 20  # labels; a message lists no more
EXPECTED = "expected COLUMN=VALUE, COLUMN=ONE,ANOTHER, COLUMN=LOW..HIGH, COLUMN!=VALUE, or COLUMN= for a missing entry"

Labels = Mapping[str, Any]  # as text -> as its column holds it


def conditions(words: Sequence[str], model: Any) -> dict[str, Any]:
    """Column -> condition of what was typed as --given, each checked against its column.

    Raises:
        UsageError: no "=", a column that there is not, or one twice; what its column cannot hold.
    """
    if model.kind == "table":
        return table_conditions(words, model.schema)
    observed = model.kind == "posterior"
    return point_conditions(words, model.context.columns if observed else model.columns, observed=observed)


def table_conditions(words: Sequence[str], schema: Schema) -> dict[str, Any]:
    """column -> condition, each checked against its column.

    Raises:
        UsageError: no "=", a column that there is not, or one twice; what its column cannot hold.

    Example:
        >>> schema = Schema.fit([[17, "S"], [35, "M"], [41, "M"]])
        >>> table_conditions(["x=17..35", "y!=S"], schema)
        {'x': Between(low=17, high=35), 'y': Not(condition='S')}
    """
    made: dict[str, Any] = {}
    for word, name, negated, text in _divided(words, schema.names):
        schema.check_not_aside(name)
        try:
            if negated:
                made[name] = Not(_condition(text, schema, name)) if text else NotMissing()
            else:
                made[name] = _condition(text, schema, name)
            conditions_of(schema, {name: made[name]})
        except MotesError as error:
            raise UsageError(f"--given {word}: {str(error).removeprefix('given, ')}") from None
    return made


def point_conditions(words: Sequence[str], columns: Sequence[str], *, observed: bool = False) -> dict[str, Any]:
    """column -> a number, or (low, high), one of which may be None.

    Of what was `observed` an empty entry is NaN, and there are no intervals.

    Raises:
        UsageError: anything else.
    """
    made: dict[str, Any] = {}
    for word, name, negated, text in _divided(words, columns):
        if observed and not text and not negated:
            made[name] = np.nan
            continue
        if negated or not text or "," in text:
            raise UsageError(
                f"--given {word}: expected COLUMN=NUMBER or COLUMN=LOW..HIGH, as this is a model of points."
            )
        try:
            made[name] = _number_or_interval(text, name)
        except UsageError as error:
            raise UsageError(f"--given {word}: {error}") from None
        if observed and isinstance(made[name], tuple):
            raise UsageError(f"--given {name}: got an interval; expected the number that was observed, as {name}=0.5.")
    return made


def observations(words: Sequence[str], path: Path, model: Any) -> Frame:
    """The rows of a file, each an observation, as a model of points takes them that is asked given one.

    Raises:
        UsageError: `words` of --given beside them, a model that is asked given nothing, or no such file.
        DataError: a file that cannot be used.
    """
    if words:
        raise UsageError(
            f"got --given {words[0]} and --iid {path}; expected one of both. Put the observations in a file."
        )
    if model.kind != "posterior":
        raise UsageError(
            f"--iid {path}: this model is conditioned on nothing. Train one with --given-columns, which names what is "
            "observed."
        )
    frame = read_frame(path, model.recipe.text.fitting(str(path)))
    return frame.select([name for name in frame.names if name in model.context.columns])


def _divided(words: Sequence[str], columns: Sequence[str]) -> Iterator[tuple[str, str, bool, str]]:
    """Each word with its column, whether "!=" was said, and the rest. A name may hold these signs itself.

    Raises:
        UsageError: no "=", a column that there is not, or one twice.
    """
    longest, seen = sorted(columns, key=len, reverse=True), set()
    for word in words:
        signs = ((name, sign) for name in longest for sign in ("!=", "=") if word.startswith(name + sign))
        name, sign = next(signs, ("", ""))
        if not sign:
            typed, equals, _ = word.partition("=")
            wrong = unknown("column", typed.removesuffix("!"), columns) if equals else f"{EXPECTED}; such as age=40."
            raise UsageError(f"--given {word}: {wrong}")
        if name in seen:
            raise UsageError(f"--given {word}: column '{name}' is given twice. Give one condition for each column.")
        seen.add(name)
        yield word, name, sign == "!=", word[len(name + sign) :]


def _condition(text: str, schema: Schema, name: str) -> Any:
    if not text:
        return _missing(schema, name)
    labels = _labels(schema, name)
    if labels is None:
        return _numbers_or_dates(text, schema, name)
    if text in labels:
        return labels[text]
    for low, high in _split_at_dots(text):
        if (not low or low in labels) and (not high or high in labels):
            return Between(labels.get(low), labels.get(high))
    if "," in text:
        return Among(tuple(_one_label(part, labels) for part in _parts(text, labels)))
    return _one_label(text, labels)


def _missing(schema: Schema, name: str) -> Missing:
    column = next(column for column in schema.columns if column.name == name)
    if not column.coded and name not in schema.kept:
        why = "Train without table.missing=ignore to draw them." if column.missing else "None was in the training."
        raise UsageError(f"missing entries of column '{name}' were not learned, so that none can be requested. {why}")
    return Missing()


def _labels(schema: Schema, name: str) -> Labels | None:
    """The labels of a column of labels; None for numbers and dates."""
    if name in schema.kept:
        series = schema.kept[name]
        return {str(label): label for label in series.cells()} if series.type in ("label", "truth") else None
    labels = getattr(schema.kind_of(name), "labels", None)
    return None if labels is None else {str(label): label for label in labels}


def _one_label(text: str, labels: Labels) -> Any:
    if text in labels:
        return labels[text]
    if text.capitalize() in labels and set(labels) <= {"True", "False"}:
        return labels[text.capitalize()]
    message = unknown("label", text, tuple(labels))
    raise UsageError(message if len(labels) <= LISTED else message.partition(" Choose from:")[0])


def _parts(text: str, labels: Labels) -> list[str]:
    """The labels between commas; as many parts as are a label together are that label."""
    parts, made = text.split(","), []
    while parts:
        count = next((k for k in range(len(parts), 0, -1) if ",".join(parts[:k]) in labels), 1)
        made.append(",".join(parts[:count]))
        parts = parts[count:]
    return made


def _split_at_dots(text: str) -> list[tuple[str, str]]:
    """What is before and after each ".." of a text."""
    places = [place for place, (a, b) in enumerate(pairwise(text)) if a == b == "."]
    return [(text[:place], text[place + 2 :]) for place in places]


def _numbers_or_dates(text: str, schema: Schema, name: str) -> Any:
    if schema.types[name] != "date":
        if "," in text and ".." not in text:
            return Among(tuple(_number(part, name) for part in text.split(",")))
        found = _number_or_interval(text, name)
        return Between(*found) if isinstance(found, tuple) else found
    low, dots, high = text.partition("..")
    if dots:
        return Between(low or None, high or None)
    return Among(tuple(text.split(","))) if "," in text else text


def _number_or_interval(text: str, name: str) -> Any:
    low, dots, high = text.partition("..")
    if not dots:
        return _number(text, name)
    if not low and not high:
        raise UsageError(f"expected an end, as in {name}=10.., {name}=..10 or {name}=10..20.")
    return _number(low, name) if low else None, _number(high, name) if high else None


def _number(text: str, name: str) -> int | float:
    for read in (int, float):
        try:
            number = read(text)
        except ValueError:
            continue
        if not np.isfinite(number):
            raise UsageError(f"got {text}; expected a finite number. An open end is left out, as in {name}=10..")
        return number
    raise UsageError(f"got '{text}'; expected a number, which is what column '{name}' holds.")
