"""The schema of a table: its columns, their kinds, and rows as codes and back.

Missing entries of a column may have a code of their own: the first part then has the K codes of its kind, 0 to K - 1,
and the code K for a missing entry.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data import Frame, as_frame
from motes.data.arrays import Series, Type, check_weights, plain
from motes.data.curves import Asinh, Power, Straight
from motes.data.points import content_keys
from motes.data.records import Arrays, from_json, to_json
from motes.errors import DataError, UsageError, unknown
from motes.tables.kinds.base import Kind, Sample, shown
from motes.tables.kinds.columns import (
    DROP,
    IDENTIFIER,
    KINDS,
    MISSING,
    Column,
    Identifier,
    check_finite,
    check_known,
    checked_override,
    column_messages,
    column_of,
    differs,
    kept_of,
)
from motes.tables.kinds.dates import Calendar
from motes.tables.kinds.lines import Continuum, Few, Grid, Lattice
from motes.tables.missing import MissingPatterns
from motes.tables.parts import (
    IMPOSSIBLE,
    AnyValue,
    Array,
    Codes,
    Condition,
    Encoded,
    Entries,
    Mask,
    Missing,
    Not,
    NotMissing,
    Part,
    Restriction,
    WithMissing,
)
from motes.tables.relations import (
    BROKEN,
    Dependency,
    Inequality,
    Relation,
    Rule,
    dependencies_in,
    inequalities_in,
    relations_in,
)


@dataclass(frozen=True)
class CodedColumn:
    """A column kind and its missing entries.

    Attributes:
        kind: of the entries that have a value.
        missing_share: of the training rows, where missing entries have a code; 0: they have none.
    """

    kind: Kind
    missing_share: float

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The parts, q of them; the first has the code for missing entries, if there is one."""
        first, *rest = self.kind.parts
        if share := self.missing_share:
            first = replace(first, masses=np.append(first.masses * (1 - share), share), missing=True)
        return first, *rest

    @property
    def becomes(self) -> str:
        """What the column is for the network, in words."""
        return self.kind.becomes + (", missing" if self.missing_share else "")

    def encode(self, series: Series, name: str, *, refuse: bool) -> list[Entries]:
        """The entries that are not missing, (m,) of each part; codes are `IMPOSSIBLE` where the column cannot hold one.

        Raises:
            DataError: with `refuse` in place of such a code; the message names the row.
        """
        if series.missing.all():  # a column of which nothing is known has no type
            return [Entries.of_codes(np.zeros(0, np.int32)) for _ in self.parts]
        entries = self.kind.encode(self.kind.read(series, name))
        strange = np.logical_or.reduce([part.codes == IMPOSSIBLE for part in entries])
        if refuse and strange.any():
            row = int(np.flatnonzero(~series.missing)[strange.argmax()])
            got, expected = shown(series, row), self.kind.expected(series.values[row])
            raise DataError(f"{name}, row {row + 1}, column '{self.kind.column}': got {got}; expected {expected}.")
        return entries

    def decode(self, codes: Codes, y: Array, u: Array, gone: Mask) -> Series:
        """Codes, places and uniform numbers (n, q) -> n entries, missing where `gone` (n,) or where the code says so.

        Raises:
            DataError: a code that there is not, or a place that is NaN.
        """
        if self.missing_share:
            gone = gone | (codes[:, 0] == self.parts[0].count - 1)
        codes = np.where(gone[:, None], 0, codes)
        for j, part in enumerate(self.parts):
            most = part.count - part.missing
            strange = (codes[:, j] < 0) | (codes[:, j] >= most)
            if strange.any():
                row = int(strange.argmax())
                raise DataError(f"row {row + 1}, '{part.name}': got code {codes[row, j]}; expected 0 to {most - 1}.")
            if part.smooth and (nowhere := np.isnan(y[:, j]) & ~gone).any():
                raise DataError(f"row {int(nowhere.argmax()) + 1}, '{part.name}': got y = nan; expected a number.")
        return self.kind.series(self.kind.decode(codes, np.where(gone[:, None], 0.0, y), u), gone)

    def put(self, made: Series, series: Series, name: str) -> Series:
        """`made`, with the entries of `series` where they are not missing; the column can hold them."""
        here = ~series.missing
        if not here.any():
            return made
        known = self.kind.read(series, name)
        values = np.array(made.values)
        values[here] = self.kind.series(known, np.zeros(len(known), bool)).values
        return replace(made, values=values, missing=made.missing & series.missing)

    def restrict(self, condition: Condition) -> Restriction:
        """What a condition leaves of the parts.

        Raises:
            DataError, UsageError: those of `Schema.restrict`.
        """
        counts, coded = tuple(part.count for part in self.kind.parts), bool(self.missing_share)
        if isinstance(condition, Not) and isinstance(condition.condition, Missing | NotMissing):
            condition = NotMissing() if isinstance(condition.condition, Missing) else Missing()
        missing = isinstance(condition, Missing)
        if missing and not coded:
            raise UsageError(
                f"column '{self.kind.column}': missing entries were not learned, so that none can be requested. The "
                'training rows had none, or were learned with table.missing = "ignore". Leave the column out.'
            )
        inner = AnyValue(counts) if isinstance(condition, Missing | NotMissing) else self.kind.restrict(condition)
        return WithMissing(inner, counts[0], missing) if coded else inner


# --- Rows to learn from ---------------------------------------------------------------------------------------------


REPEATED = 100_000  # rows, to which whole weights are whole numbers of copies; beyond it, up to four times the rows


def weighted(frame: Frame, weights: ArrayLike | None, name: str) -> tuple[NDArray[np.int64], Array]:
    """Repeat rows as their weights say: which rows, counted from 0, and what is left of a weight for each copy.

    Whole weights leave 1, so that whatever counts rows counts weights as well.

    Args:
        frame: n rows.
        weights: (n,); None: one each.
        name: what messages call the rows.

    Raises:
        DataError: weights that do not fit.
    """
    rows = np.arange(len(frame))
    if weights is None:
        return rows, np.ones(len(frame))
    heavy = counting(check_weights(weights, len(frame), name))
    most = min(1.0, max(REPEATED, 4 * len(frame)) / heavy.sum())
    copies = np.where(heavy > 0, np.maximum(np.round(heavy * most), 1), 0).astype(np.int64)
    rows = np.repeat(rows, copies)
    return rows, (heavy / np.maximum(copies, 1))[rows]


def counting(weights: Array) -> Array:
    """Weights (n,) as numbers of rows: where they are less than 1 on average, only their ratios count."""
    return weights * max(1.0, float((weights > 0).sum() / weights.sum()))


def _one(series: Series) -> Series:
    """The one value of a column that does not vary, or one missing entry."""
    row = int(np.argmin(series.missing))
    one = series.take(slice(row, row + 1))
    return replace(one, values=np.zeros_like(one.values)) if one.missing[0] else one


def _fit_kind(column: Column, sample: Sample, options: Mapping[str, Any]) -> Kind:
    """The fitted kind of a column.

    Raises:
        DataError: entries that are not of this kind.
        UsageError: a kind of someone's own that contradicts itself.
    """
    kind = KINDS[column.kind].fit(sample, options)
    if kind.discrete and len(kind.parts) > 1:
        raise UsageError(
            f"column '{column.name}': the kind '{kind.name}' is discrete and has {len(kind.parts)} parts; expected one "
            "part, whose codes are its labels. Give it one part, or `discrete = False`."
        )
    return kind


def _nothing_to_learn(columns: Sequence[Column], name: str) -> DataError:
    """No column varies, or only those that are set aside."""
    aside = [column for column in columns if column.kind == IDENTIFIER and not column.constant]
    if not aside:
        return DataError(
            f"no column of {name} varies, so there is nothing to learn. Give rows in which a column has several values."
        )
    first = aside[0]
    return DataError(
        f"nearly every row of {name} has its own value in {', '.join(repr(column.name) for column in aside)}, and no "
        "other column varies, so there is nothing to learn. Add columns, or say what one is, such as "
        f'columns.{first.name} = "{first.alternative or "categorical"}".'
        + "".join(f" Column '{first.name}': {message}." for message in first.warnings)
    )


# --- The classes of what a schema consists of, which a model file names ---------------------------------------------


PARTS: tuple[type, ...] = (
    Asinh, Calendar, Column, Continuum, Dependency, Few, Grid, Identifier, Inequality, Lattice, MissingPatterns, Power,
    Relation, Series, Straight,
)  # fmt: skip


# --- A whole table <-> the codes of its parts -----------------------------------------------------------------------
#
# schema = Schema.fit(table)
# encoded = schema.encode(table)                                    # codes (n, p), places and cells
# rows = schema.decode(encoded.codes, encoded.y, u).like(table)     # the same rows


FIELDS = ("y", "low", "high", "log_unit")
BINS = 128
SHOWN = 12  # columns that a schema prints, at most


@dataclass(frozen=True)
class Schema:
    """The columns of a table and the parts that they become; `fit` makes it.

    Attributes:
        columns: all of them, as they are treated and why.
        kinds: those of the columns that vary, in their order.
        missing_shares: for each of these the share of its rows that are missing, where these have a code of their own;
            0 elsewhere.
        missing_patterns: which of these entries are missing together.
        kept: the one value, a series of length 1, of each column that does not vary.
        rows: how many it was fitted to.
        input_columns: names of all columns of the training data, where some of them were dropped; otherwise none.
        relations: that hold exactly between numbers, in a share of the rows.
        dependencies: of columns of labels that follow from another one.
        identifiers: of the columns that are set aside, how placeholders look.
        rules: inequalities, and those of the relations and dependencies, that all rows keep or nearly all.

    Example:
        >>> from motes.tables import Schema
        >>> schema = Schema.fit(people, {"age": "integer"})
        >>> [(column.name, column.kind) for column in schema.columns]
        [('age', 'integer'), ('smoker', 'categorical')]
    """

    columns: tuple[Column, ...]
    kinds: tuple[Kind, ...]
    missing_shares: tuple[float, ...]
    missing_patterns: MissingPatterns
    kept: Mapping[str, Series]
    rows: int
    input_columns: tuple[str, ...] = ()
    relations: tuple[Relation, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    identifiers: Mapping[str, Identifier] = dataclasses.field(default_factory=dict)
    rules: tuple[Inequality | Relation | Dependency, ...] = ()

    def __repr__(self) -> str:
        shown = [f"{column.name}: {column.kind}" for column in self.columns[:SHOWN]]
        more = [f"{len(self.columns) - SHOWN} more"] if len(self.columns) > SHOWN else []
        return f"Schema({len(self.columns)} columns of {self.rows:,} rows; {', '.join(shown + more)})"

    @classmethod
    def fit(
        cls,
        data: Any,
        overrides: Mapping[str, Any] | None = None,
        *,
        missing: Literal["learn", "ignore"] = "learn",
        bins: int = BINS,
        weights: ArrayLike | None = None,
        relations: bool = True,
        name: str = "the data",
    ) -> Schema:
        """Decide what each column is, and learn its codes.

        Args:
            data: rows to learn from, whatever `as_frame` takes.
            overrides: column -> kind and its options; see `checked_override`. One of kind "drop" is left out: it is not
                learned, not given back, and ignored in rows that come later.
            missing: "learn": a missing entry has a code of its own, so that the pattern is learned; "ignore": nothing
                is known of it. An override may say so for one column: {"age": {"missing": "ignore"}}.
            bins: codes of a numeric part, at most; fewer for few rows.
            weights: (n,), how many rows each stands for; None: one. A weight of 2 is as good as two such rows.
            relations: look for relations and inequalities between columns.
            name: what messages call the data.

        Raises:
            DataError: no rows, nothing to learn, or an entry that does not fit; the message names row and column.
            UsageError: an override that does not fit.

        Example:
            >>> from motes.tables import Schema
            >>> schema = Schema.fit([[17, "S"], [35, "M"], [41, "M"]], {"x": "integer"})
            >>> [part.count for part in schema.parts]
            [3, 2]
        """
        frame = as_frame(data, name=name)
        if not frame.columns:
            raise DataError(f"{name} has no columns; expected at least 1.")
        if not len(frame):
            raise DataError(f"{name} has no rows; expected at least 2 to learn from.")
        input_columns = frame.names
        names, overrides = kept_of(input_columns, overrides)
        if not names:
            raise UsageError(f"all columns of {name} are dropped, so there is nothing to learn.")
        if isinstance(bins, bool) or not hasattr(bins, "__index__") or not bins >= 2:
            raise UsageError(f"bins = {bins!r}; expected a whole number of at least 2.")
        if missing not in MISSING:
            raise UsageError(f"missing = {missing!r}; expected {' or '.join(map(repr, MISSING))}.")
        given = {column: checked_override(column, value, names) for column, value in overrides.items()}
        rows, heavy = weighted(frame, weights, name)
        frame = frame.select(names) if weights is None else frame.select(names).take(rows)
        columns: list[Column] = []
        kinds: list[Kind] = []
        identifiers: dict[str, Identifier] = {}
        gone: list[Mask] = []  # of each kind, where an entry has the code for missing ones
        for column, series in frame.columns.items():
            check_known(
                series,
                f" Or leave the column out: columns={{{column!r}: {DROP!r}}} in Python, "
                f"--set {shlex.quote(f'columns.{column}={DROP}')} in the shell.",
            )
            check_finite(series, column, name)
            here = np.flatnonzero(~series.missing)
            sample = Sample(column, series.take(here), rows[here], heavy[here], int(bins), name)
            found, options = column_of(sample, len(series) - len(here), given.get(column, {}), missing)
            columns.append(found)
            if found.learned:
                kinds.append(_fit_kind(found, sample, options))
                gone.append(series.missing & found.coded)
            elif not found.constant:
                identifiers[column] = Identifier.of(sample)
        if not kinds:
            raise _nothing_to_learn(columns, name)
        made = cls(
            tuple(columns),
            tuple(kinds),
            tuple(float(heavy[one].sum() / heavy.sum()) for one in gone),
            MissingPatterns.fit(np.stack(gone, axis=1), heavy),
            {column.name: _one(frame.columns[column.name]) for column in columns if column.constant},
            len(frame),
            input_columns if len(names) < len(input_columns) else (),
            identifiers=identifiers,
        )
        if not relations:
            return made
        frame = frame.take(np.argsort(content_keys(frame), kind="stable"))  # so that the same rows are looked at first
        related, follow = relations_in(frame, kinds), dependencies_in(frame, kinds)
        every: list[Relation | Dependency] = [*related, *follow]
        nearly = [one for one in every if one.shares[0] <= BROKEN]
        sums = [{*one.columns} for one in nearly if isinstance(one, Relation)]
        rules = (*inequalities_in(frame, kinds, sums), *nearly)
        return replace(made, relations=related, dependencies=follow, rules=rules)

    # --- what there is ---

    @property
    def names(self) -> tuple[str, ...]:
        """All columns of the table."""
        return tuple(column.name for column in self.columns)

    @property
    def learned(self) -> tuple[str, ...]:
        """The columns that vary."""
        return tuple(kind.column for kind in self.kinds)

    @property
    def compared(self) -> tuple[Column, ...]:
        """The columns by which rows are compared: all but those that are set aside."""
        return tuple(column for column in self.columns if column.name not in self.identifiers)

    @property
    def dropped(self) -> tuple[str, ...]:
        """The columns that were left out."""
        return tuple(name for name in self.input_columns if name not in self.names)

    @cached_property
    def types(self) -> dict[str, Type]:
        """The type of each column of the rows that `decode` gives."""
        nothing, none = np.zeros(0, np.int64), np.zeros(0, bool)
        types: dict[str, Type] = {kind.column: kind.series(nothing, none).type for kind in self.kinds}
        types |= {name: one.type for name, one in self.kept.items()}
        types |= {name: one.type for name, one in self.identifiers.items()}
        return {name: types[name] for name in self.names}

    @cached_property
    def _coded(self) -> dict[str, CodedColumn]:
        """The columns that vary, by their names."""
        pairs = zip(self.kinds, self.missing_shares, strict=True)
        return {kind.column: CodedColumn(kind, missing_share) for kind, missing_share in pairs}

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The parts of all columns that vary, in their order."""
        return tuple(part for column in self._coded.values() for part in column.parts)

    @cached_property
    def _slices(self) -> dict[str, slice]:
        made, start = {}, 0
        for name, column in self._coded.items():
            stop = start + len(column.parts)
            made[name] = slice(start, stop)
            start = stop
        return made

    def parts_of(self, column: str) -> slice:
        """Where the parts of a column are among `parts`.

        Raises:
            UsageError: a column that does not vary, or that there is not.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).parts_of("smoker")
            slice(1, 2, None)
        """
        if column not in self._slices:
            raise UsageError(f"column '{column}' is not learned. Choose from: {', '.join(self.learned)}.")
        return self._slices[column]

    def kind_of(self, column: str) -> Kind:
        """The fitted kind of a column.

        Raises:
            UsageError: a column that is set aside, has one value, or is not there.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).kind_of("smoker").own_labels
            ('no', 'yes')
        """
        if column in self.kept:
            raise UsageError(
                f"column '{column}' is {self.kept[column].cells()[0]} in all rows of the training; expected a column "
                f"that varies. Choose from: {', '.join(self.learned)}."
            )
        self.check_not_aside(column)
        if column not in self._coded:
            raise UsageError(unknown("column", column, self.learned))
        return self._coded[column].kind

    @property
    def inequalities(self) -> tuple[Inequality, ...]:
        """The rules that compare two columns."""
        return tuple(rule for rule in self.rules if isinstance(rule, Inequality))

    def without(self, rule: Rule) -> Schema:
        """Return the same schema, whose rows need not keep `rule`.

        Example:
            >>> from motes.tables import Schema
            >>> schema = Schema.fit({"from": [1, 2, 3, 4] * 25, "to": [2, 2, 5, 6] * 25})
            >>> len(schema.rules) - len(schema.without(schema.rules[0]).rules)
            1
        """
        return replace(self, rules=tuple(one for one in self.rules if one is not rule))

    @property
    def warnings(self) -> list[str]:
        """What whoever trains on this table should know, a sentence for each."""
        return column_messages(self.columns, shell=False)

    def described(self) -> list[dict[str, Any]]:
        """Each column in words: its name, kind, what it becomes for the network, why, how much is missing, warnings.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).described()[1]["kind"]
            'categorical'
        """
        becomes = {name: column.becomes for name, column in self._coded.items()}
        return [
            {
                "name": column.name,
                "kind": column.kind,
                "becomes": becomes.get(column.name, "set aside" if column.name in self.identifiers else "kept aside"),
                "why": column.why,
                "missing": column.missing / self.rows,
                "warnings": list(column.warnings),
            }
            for column in self.columns
        ]

    @property
    def related(self) -> list[str]:
        """What holds between the columns, a sentence for each relation, inequality and dependency."""
        found: list[Relation | Inequality | Dependency] = [*self.relations, *self.inequalities, *self.dependencies]
        return [one.words for one in found]

    def named(self, data: Any, *, name: str = "the data") -> Frame:
        """Rows with the columns that they have; those of an array, with the dropped columns or without them, get names.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).named([[25, "no"]]).names
            ('age', 'smoker')
        """
        data = plain(data, name)
        if not isinstance(data, np.ndarray | list | tuple):
            return as_frame(data, name=name)
        orders = self.names, self.input_columns, tuple(column.name for column in self.compared)
        order = next((names for names in orders if np.shape(data)[1:] == (len(names),)), self.names)
        return as_frame(data, order, name=name)

    def here(self, frame: Frame) -> list[str]:
        """The columns of a frame that the model has, in the order of the frame.

        Example:
            >>> from motes.data import as_frame
            >>> from motes.tables import Schema
            >>> Schema.fit(people, {"age": "drop"}).here(as_frame({"smoker": ["no"], "age": [25]}))
            ['smoker']
        """
        return [name for name in frame.names if name in self.names]

    def frame(self, data: Any, *, name: str = "the data") -> Frame:
        """Rows with the columns of the training, in its order; an array has no names, so its order is taken for that.

        The rows may lack columns that are set aside: their entries are then missing.

        Raises:
            DataError: a column too few or too many.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).frame({"smoker": ["no"], "age": [25]}).names
            ('age', 'smoker')
        """
        frame = self.named(data, name=name)
        if frame.columns:
            absent = {key: one.nothing(len(frame)) for key, one in self.identifiers.items() if key not in frame.columns}
            frame = Frame({**frame.columns, **absent})
        if gone := [column for column in self.names if column not in frame.columns]:
            raise DataError(
                f"{name} has no column '{gone[0]}'; expected {', '.join(self.names)}, as in the training. "
                "Give a column of which nothing is known with all entries missing."
            )
        if more := [column for column in frame.names if column not in self.names + self.dropped]:
            raise DataError(
                f"{name} has a column '{more[0]}'; expected {', '.join(self.names)}, as in the training. Remove it."
            )
        chosen = frame.select(self.names)
        for series in chosen.columns.values():
            check_known(series)
        return chosen

    # --- there and back ---

    def encode(self, data: Any, *, name: str = "the data", unseen: Literal["refuse", "mark"] = "refuse") -> Encoded:
        """Rows -> codes and places.

        Args:
            data: n rows, whatever `as_frame` takes.
            name: what messages call them.
            unseen: "refuse" an entry that its column cannot hold, such as a label that training did not see; or "mark"
                it: its code is `IMPOSSIBLE`, and `other` is True for another value in a column that was constant.

        Raises:
            DataError: what `frame` raises; a column of another type; with "refuse" an entry that its column cannot
                hold. The message names row and column.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).encode({"age": [31, 25], "smoker": ["yes", "no"]}).codes[:, 1].tolist()
            [1, 0]
        """
        if unseen not in ("refuse", "mark"):
            raise UsageError(f"unseen = {unseen!r}; expected 'refuse' or 'mark'.")
        frame = self.frame(data, name=name)
        n, p = len(frame), len(self.parts)
        codes, observed = np.zeros((n, p), np.int32), np.zeros((n, p), bool)
        fields = {field: np.zeros((n, p)) for field in FIELDS}
        other = self._other(frame, name, refuse=unseen == "refuse")
        for column, coded in self._coded.items():
            series, at = frame.columns[column], self._slices[column]
            gone = series.missing
            here = ~gone if gone.any() else slice(None)
            entries = coded.encode(series, name, refuse=unseen == "refuse")
            for j, part in zip(range(at.start, at.stop), entries, strict=True):
                codes[here, j], observed[here, j] = part.codes, True
                for field in FIELDS:
                    fields[field][here, j] = getattr(part, field)
            if coded.missing_share:
                codes[gone, at.start], observed[gone, at.start] = coded.parts[0].count - 1, True
        return Encoded(codes, observed, **fields, other=other)

    def valued(self, encoded: Encoded) -> Mask:
        """(n, p), where encoded entries have a value: they are observed, and not as missing ones.

        Example:
            >>> from motes.tables import Schema
            >>> schema = Schema.fit({"age": [31, None, 25], "smoker": ["yes", "no", "no"]})
            >>> schema.valued(schema.encode({"age": [None], "smoker": ["no"]})).tolist()
            [[False, True]]
        """
        missing = [part.count - 1 if part.missing else part.count for part in self.parts]
        return encoded.observed & (encoded.codes != np.array(missing))

    def only(self, encoded: Encoded, columns: Collection[str]) -> Encoded:
        """Encoded rows of which these columns alone are observed: a missing entry with a code of its own is, too.

        Example:
            >>> from motes.tables import Schema
            >>> schema = Schema.fit(people)
            >>> schema.only(schema.encode({"age": [31], "smoker": ["no"]}), ["smoker"]).observed.tolist()
            [[False, True]]
        """
        here = np.array([part.column in columns for part in self.parts])
        return replace(encoded, observed=encoded.observed & here)

    def _other(self, frame: Frame, name: str, *, refuse: bool) -> Mask:
        """(n,): where a constant column holds another value."""
        other = np.zeros(len(frame), bool)
        for column, one in self.kept.items():
            series = frame.columns[column]
            here = differs(series, one)
            if here.any() and refuse:
                row = int(here.argmax())
                was = "missing" if one.missing[0] else shown(one, 0)
                raise DataError(
                    f"{name}, row {row + 1}, column '{column}': got {shown(series, row)}; "
                    f"expected {was}, as in all rows of the training."
                )
            other |= here
        return other

    def decode(self, codes: ArrayLike, y: ArrayLike, u: ArrayLike, observed: Mask | None = None) -> Frame:
        """Codes and places -> rows that the training could have held; `Frame.like` gives them its type.

        Args:
            codes: (n, p), whole numbers of the K codes of each part.
            y: (n, p), places; those of parts that are not smooth are not looked at.
            u: (n, p), uniform numbers, by which a rare label is chosen among those that share its code.
            observed: (n, p), False where the entry becomes missing (that of the first part counts); None: nowhere.

        Raises:
            DataError: arrays of another shape, a code that there is not, or a place that is NaN.

        Example:
            >>> from motes.tables import Schema
            >>> schema = Schema.fit(people)
            >>> encoded = schema.encode({"age": [31, 25], "smoker": ["yes", "no"]})
            >>> schema.decode(encoded.codes, encoded.y, np.full((2, 2), 0.5))
            age  smoker
             31     yes
             25      no
            2 rows of 2 columns
        """
        codes, y, u = np.asarray(codes, np.int32), np.asarray(y, np.float64), np.asarray(u, np.float64)
        shape = (len(codes), len(self.parts))
        for field, array in (("codes", codes), ("y", y), ("u", u)):
            if array.shape != shape:
                raise DataError(f"{field} has shape {array.shape}; expected (rows, {shape[1]}).")
        made = {}
        for column, coded in self._coded.items():
            at = self._slices[column]
            gone = np.zeros(len(codes), bool) if observed is None else ~np.asarray(observed, bool)[:, at.start]
            made[column] = coded.decode(codes[:, at], y[:, at], u[:, at], gone)
        for name, one in self.kept.items():
            made[name] = one.take(np.zeros(len(codes), np.int64))
        made |= {name: one.nothing(len(codes)) for name, one in self.identifiers.items()}
        return Frame({name: made[name] for name in self.names})

    def put(self, made: Frame, given: Any) -> Frame:
        """`made`, which `decode` gave, with the observed entries of `given` in their places, to the bit.

        Raises:
            DataError: what `encode` raises.

        Example:
            >>> from motes.data import as_frame
            >>> from motes.tables import Schema
            >>> drawn = as_frame({"age": [31, 47], "smoker": ["yes", "no"]})
            >>> Schema.fit(people).put(drawn, {"age": [62, None], "smoker": [None, None]})["age"].tolist()
            [62, 47]
        """
        name = "the data"
        frame = self.frame(given, name=name)
        self.encode(frame, name=name)  # which checks the entries
        columns = dict(made.columns)
        for column, coded in self._coded.items():
            columns[column] = coded.put(columns[column], frame.columns[column], name)
        return Frame(columns | {column: frame.columns[column] for column in self.identifiers})

    def with_placeholders(self, made: Frame, start: int = 1) -> Frame:
        """`made`, which `decode` gave, with placeholders in the columns that are set aside, numbered from `start`.

        They look like `name-000001`, or are whole numbers beyond those of the training. None is one of its values.

        Example:
            >>> from motes.tables import Schema
            >>> schema = Schema.fit({"name": [f"Ann {k}" for k in range(50)], "age": [31, 47] * 25})
            >>> rows = schema.decode([[0], [1]], np.zeros((2, 1)), np.full((2, 1), 0.5))
            >>> schema.with_placeholders(rows)["name"].tolist()
            ['name-000001', 'name-000002']
        """
        numbered = {name: one.placeholders(start, len(made)) for name, one in self.identifiers.items()}
        return Frame({**made.columns, **numbered})

    def contents(self, data: Any, *, name: str = "the data") -> Frame:
        """The rows of `frame` without the columns that are set aside, by which rows are told apart.

        Example:
            >>> from motes.tables import Schema
            >>> schema = Schema.fit({"name": [f"Ann {k}" for k in range(50)], "age": [31, 47] * 25})
            >>> schema.contents({"age": [31]}).names
            ('age',)
        """
        return self.frame(data, name=name).select([column.name for column in self.compared])

    def check_not_aside(self, column: str) -> None:
        """Refuse a column that is set aside.

        Raises:
            UsageError: it is.

        Example:
            >>> from motes.tables import Schema
            >>> schema = Schema.fit({"name": [f"Ann {k}" for k in range(50)], "age": [31, 47] * 25})
            >>> schema.check_not_aside("age")
        """
        if column in self.identifiers:
            raise UsageError(
                f"column '{column}' is set aside, because nearly every training row has its own value there: the model "
                f"knows nothing of it. Choose from: {', '.join(self.learned)}; or train again and say what it is."
            )

    # --- what is possible ---

    def draw_range(self, part: int) -> tuple[float, float] | None:
        """The interval of y in which a part is drawn: the observed one, or the user's low and high; None for labels.

        Example:
            >>> from motes.tables import Schema
            >>> schema = Schema.fit(people)
            >>> schema.draw_range(1) is None  # of labels
            True
        """
        kind = self.kind_of(self.parts[part].column)
        return kind.draw_range(part - self._slices[kind.column].start)

    def allowed(self, part: int, codes: Codes, y: Array) -> Mask | None:
        """Which codes of a part are possible.

        Args:
            part: which of `parts`.
            codes, y: (n, i), of the earlier parts of its column.

        Returns:
            (n, K), or None: all of them.

        Example:
            >>> from motes.tables import Schema
            >>> schema = Schema.fit(people)
            >>> schema.allowed(1, np.zeros((3, 0), np.int32), np.zeros((3, 0))) is None  # all
            True
        """
        kind = self.kind_of(self.parts[part].column)
        start = self._slices[kind.column].start
        # What would follow a missing entry is not observed: any code stands for it.
        return kind.allowed(part - start, np.minimum(codes, [p.count - 1 for p in kind.parts[: part - start]]), y)

    def restrict(self, column: str, condition: Condition) -> Restriction:
        """What a condition leaves of the parts of a column.

        Args:
            column: one that varies.
            condition: `Among`, `Between`, `Not`, `Missing` or `NotMissing`. Of a known value nothing is needed: it is
                encoded, and left visible.

        Raises:
            UsageError: a column that is not learned, a condition that means nothing for it, such as an interval of
                labels, or `Missing` where missing entries have no code.
            DataError: a value that the column cannot hold, or a condition that nothing in the training fulfils.

        Example:
            >>> from motes.tables import Among, Schema
            >>> left = Schema.fit(people).restrict("smoker", Among(("yes",)))
            >>> left.allowed(0, np.zeros((1, 0), np.int32), np.zeros((1, 0))).tolist()
            [False, True]
        """
        self.check_not_aside(column)
        self.parts_of(column)  # which checks the name
        return self._coded[column].restrict(condition)

    # --- on disk ---

    def to_state(self) -> tuple[Arrays, dict[str, Any]]:
        """Arrays by name, and a dictionary that JSON can hold; `from_state` makes the same schema of them.

        Example:
            >>> from motes.tables import Schema
            >>> arrays, about = Schema.fit(people).to_state()
            >>> sorted(about)[:2]
            ['columns', 'dependencies']
        """
        arrays: Arrays = {}
        return arrays, {one.name: to_json(getattr(self, one.name), arrays) for one in dataclasses.fields(self)}

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> Schema:
        """What `to_state` gave; `motes.tables.checks.check_schema` says whether a fit could have made it.

        Raises:
            ArithmeticError, LookupError, TypeError, ValueError: anything else.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.from_state(*Schema.fit(people).to_state()).names
            ('age', 'smoker')
        """
        # A kind may have been registered since the last call.
        classes = {part.__name__: part for part in (*PARTS, *KINDS.values())}
        return cls(**{field: from_json(value, arrays, classes) for field, value in dict(about).items()})
