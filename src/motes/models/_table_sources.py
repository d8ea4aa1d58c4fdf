"""The rows of a table's file, of which some are held out.

    a row is held out    where    hash(its content, seed) < share

It depends on nothing but the row: rows that are appended, removed or moved leave all others where they are, and equal
rows are always on the same side. The hash of a label is that of its text, so that another label changes no other row.
"""

import hashlib
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data._datasets import is_here
from motes.data._files import read_frame
from motes.data._frames import Frame, Mask, Series, mixed, words_of
from motes.data._text_options import TextOptions
from motes.errors import DataError, UsageError, check_seed
from motes.models._table_fitting import fingerprint_of, keys_of
from motes.models._tables import TableModel
from motes.recipes import Recipe
from motes.tables.kinds._base import Sample
from motes.tables.kinds._columns import Column, check_finite, checked_override, column_of, kept_of
from motes.tables.kinds._kinds import DROP

Words = NDArray[np.uint64]

FEWEST = 20  # rows of a file
LEAST = 10  # rows to learn from; where fewer are left, none are held out
MEMORY = "the data"
EXACT = 2**53  # from which whole numbers are no longer exact as floats


@dataclass(frozen=True)
class TableSource:
    """Rows of a file or a data set.

    Attributes:
        name: the file's or the data set's.
        training: the rows to train on.
        held_out: the rows that are not trained on; None where there are none.
        notes: what an evaluation with these rows should say, a sentence each.
        known: False where `training` is not what the model learned from.
    """

    name: str
    training: Frame
    held_out: Frame | None
    notes: tuple[str, ...] = ()
    known: bool = True


def read_rows(name: str, text: TextOptions) -> Frame:
    """All rows of a file, read as `text` says, or of a data set, with the numbers that they have there in messages.

    Raises:
        UsageError: no such file or data set.
        DataError: a file that cannot be used, an infinite number, or fewer than 20 rows.
    """
    frame = read_frame(name, text)
    for column, series in frame.columns.items():
        check_finite(series, column, f"'{name}'")
    if len(frame) < FEWEST:
        raise DataError(
            f"'{name}' has {len(frame)} rows; expected at least {FEWEST} to learn from and to evaluate with."
        )
    return frame


def table_source(name: str, frame: Frame, recipe: Recipe, seed: int) -> TableSource:
    """The rows of a file, a part of them held out as [data] and the seed say; dropped columns have no bearing."""
    kept = [column for column in frame.names if recipe.columns.get(column) not in (DROP, {"kind": DROP})]
    out = held_out_of(frame.select(kept), recipe.data.held_out, seed)
    if not out.any() or (~out).sum() < LEAST:
        return TableSource(name, frame, None)
    return TableSource(name, frame.take(np.flatnonzero(~out)), frame.take(np.flatnonzero(out)))


def held_out_of(frame: Frame, share: float, seed: int) -> Mask:
    """Which rows (n,) of a table are held out, by the equation of this module.

    Args:
        frame: n rows; the order of rows and of columns has no bearing.
        share: from 0 to 1; the share of distinct rows that are held out is a binomial one around it.
        seed: of the choice.

    Example:
        >>> from motes.data._frames import as_frame
        >>> rows = as_frame([[1.0], [2.0], [1.0], [3.0]])
        >>> out = held_out_of(rows, 0.5, seed=0)
        >>> bool(out[0] == out[2])
        True
    """
    start = mixed(np.array([check_seed(seed)], np.uint64) + np.uint64(0x9E3779B97F4A7C15))
    words = mixed(content_keys(frame) ^ start)
    return words.astype(np.float64) < share * 2.0**64


def content_keys(frame: Frame) -> Words:
    """64 bits of each row, (n,), equal for equal rows, whatever other rows and in which order the columns are."""
    columns = sorted(frame.columns.items())
    return words_of([(_words(series), series.missing) for _, series in columns], len(frame))


def _words(series: Series) -> NDArray[np.int64]:
    """64 bits of each entry that is not missing: of a label those of its text, of a number those of the float."""
    known = series.known
    if series.type == "label":
        texts = [hashlib.blake2b(str(label).encode(), digest_size=8).digest() for label in series.labels]
        table = np.frombuffer(b"".join(texts) or bytes(8), np.int64)
        return table[known]
    if series.type == "date":
        return known.astype(np.int64)
    floats = known.astype(np.float64) + 0.0  # -0.0 is 0.0, and 3 is 3.0
    exact = series.type != "whole" or np.abs(floats) < EXACT
    return np.where(exact, floats.view(np.int64), known.astype(np.int64))


def evaluation_source(model: TableModel, source: Any) -> TableSource:
    """The rows that a model is evaluated against: those held out of its training, another file's, or rows in memory.

    Raises:
        UsageError: a file or a data set that is not there, or a model of a table that was in memory.
        DataError: a file that cannot be used, or with other columns.
    """
    if source is not None and not isinstance(source, str | Path):
        return _in_memory(model, model.schema.frame(source))
    name = str(source or model.source)
    if not name:
        raise UsageError("this model was trained on a table in memory. Give a file or a data set as SOURCE.")
    if source is None and not is_here(name):
        raise UsageError(f"the data of this model, '{name}', is not here. Give it as SOURCE.")
    frame = read_rows(name, model.recipe.text.fitting(name))
    rows = model.schema.frame(frame, name=f"'{name}'")
    divided = table_source(name, frame, model.recipe, model.seed)
    if fingerprint_of(keys_of(model.schema.frame(divided.training))) == model.fingerprint:
        return divided
    if name == model.source:
        note = (
            f"'{name}' has changed since the training. Its held-out rows are new or were held out then, but among the "
            "training rows are some that the model did not learn from."
        )
        return TableSource(name, divided.training, divided.held_out, (note,), known=False)
    return _other(model, divided, rows)


def _in_memory(model: TableModel, rows: Frame) -> TableSource:
    """Rows in memory: those of the training, or rows to be compared with, of which one half stands for these."""
    if fingerprint_of(keys_of(rows)) == model.fingerprint:
        return TableSource(MEMORY, rows, None)
    return _halves(model, MEMORY, rows)


def _other(model: TableModel, divided: TableSource, rows: Frame) -> TableSource:
    """All rows of another file as held-out ones, beside the training rows where their file is here."""
    name = divided.name
    if is_here(model.source):
        there = read_rows(model.source, model.recipe.text.fitting(model.source))
        home = table_source(model.source, there, model.recipe, model.seed)
        training = model.schema.frame(home.training, name=f"'{model.source}'")
        equal = int(np.isin(content_keys(rows), content_keys(training)).sum())
        note = f"{equal:,} of the {len(rows):,} rows of '{name}' equal a training row"
        if divided.held_out is not None and 2 * equal > len(divided.training):
            # Another version of the table, of which the training may have seen what is not on the other side.
            held_out = model.schema.frame(divided.held_out)
            note += f", so that only the {len(held_out):,} are held out that never were among training rows."
            return TableSource(name, training, held_out, (note,))
        return TableSource(name, training, rows, (f"{note}.",) if equal else ())
    return _halves(model, name, rows)


def _halves(model: TableModel, name: str, rows: Frame) -> TableSource:
    """All rows as real ones: one half stands for the training rows, which are not here."""
    note = (
        "the rows of the training are not here, so that one half of the rows given stands for them: what is said of "
        "distances and copies says nothing about memory."
    )
    order = np.random.default_rng([model.seed, 314159]).permutation(len(rows))
    return TableSource(name, rows.take(np.sort(order[::2])), rows.take(np.sort(order[1::2])), (note,), known=False)


def columns_of(frame: Frame, recipe: Recipe, name: str) -> Iterator[Column]:
    """What each column of a whole file is, before any row is held out: a number for each row would have gaps then."""
    names, overrides = kept_of(frame.names, recipe.columns)
    for column in names:
        series = frame.columns[column]
        here = np.flatnonzero(~series.missing)
        if series.type == "other":
            continue  # which `Schema.fit` refuses
        sample = Sample(column, series.take(here), here, np.ones(len(here)), recipe.table.bins, name)
        given = checked_override(column, overrides[column], names) if column in overrides else {}
        yield column_of(sample, len(series) - len(here), given, recipe.table.missing)[0]


def warnings_of(columns: Iterable[Column]) -> Iterator[str]:
    """What whoever trains on columns should know, a sentence each, with the option that does what it advises."""
    for column in columns:
        for message in column.warnings:
            cure = f" That is --set {shlex.quote(f'columns.{column.name}={DROP}')}" if f'"{DROP}"' in message else ""
            yield f"column '{column.name}': {message}.{cure}"


def overrides_of(changes: Iterable[tuple[str, Any]]) -> Mapping[str, Any]:
    """column -> what it is, of changes such as ("columns.age", "integer").

    Raises:
        UsageError: a change of anything but columns.
    """
    made: dict[str, Any] = {}
    for key, value in changes:
        section, _, column = key.partition(".")
        if section != "columns" or not column:
            raise UsageError(f"got --set {key}; expected columns.NAME=KIND, such as columns.age=integer.")
        made[column] = value
    return made
