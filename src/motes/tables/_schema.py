"""A whole table <-> the codes of its parts.

schema = Schema.fit(table)
encoded = schema.encode(table)                                    # codes (n, p), places and cells
rows = schema.decode(encoded.codes, encoded.y, u).like(table)     # the same rows
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data._frames import Frame, as_frame
from motes.data._series import Series, Type
from motes.errors import DataError, UsageError
from motes.tables._conditions import Condition, Missing, Not, NotMissing, Presence, Restriction, WithMissing
from motes.tables._dependencies import Dependency, dependencies_in
from motes.tables._parts import IMPOSSIBLE, Array, Codes, Encoded, Entries, Mask, Part
from motes.tables._relations import Inequality, Relation, inequalities_in, relations_in
from motes.tables._states import Arrays, from_json, to_json
from motes.tables.kinds._base import Kind, Sample, Values, shown
from motes.tables.kinds._columns import (
    MISSING,
    Column,
    check_finite,
    check_known,
    checked_override,
    column_of,
    differs,
    kept_of,
)
from motes.tables.kinds._kinds import DROP, KINDS

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
        kept: the one value, a series of length 1, of each column that does not vary.
        rows: how many it was fitted to.
        input_columns: names of all columns of the training data, where some of them were dropped; otherwise none.
        relations: that hold exactly between numbers, in a share of the rows.
        dependencies: of columns of labels that follow from another one.
        inequalities: that all rows keep.

    Example:
        >>> from motes.tables import Schema
        >>> schema = Schema.fit(people, {"age": "integer"})
        >>> [(column.name, column.kind) for column in schema.columns]
        [('age', 'integer'), ('smoker', 'categorical')]
    """

    columns: tuple[Column, ...]
    kinds: tuple[Kind, ...]
    missing_shares: tuple[float, ...]
    kept: Mapping[str, Series]
    rows: int
    input_columns: tuple[str, ...] = ()
    relations: tuple[Relation, ...] = ()
    inequalities: tuple[Inequality, ...] = ()
    dependencies: tuple[Dependency, ...] = ()

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
        missing: Literal["hide", "code"] = "hide",
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
            missing: "hide": nothing is known of a missing entry; "code": it has a code of its own. An override may
                say so for one column: {"age": {"missing": "code"}}.
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
        frame, rows, counts = _weighted(frame.select(names), weights, name)
        columns, kinds, missing_shares = [], [], []
        for column, series in frame.columns.items():
            check_known(series, f' Or leave the column out, by kind "{DROP}".')
            check_finite(series, column, name)
            here = np.flatnonzero(~series.missing)
            sample = Sample(column, series.take(here), rows[here], counts[here], int(bins), name)
            found, options = column_of(sample, len(series) - len(here), given.get(column, {}), missing)
            columns.append(found)
            if not found.constant:
                kinds.append(KINDS[found.kind].fit(sample, options))
                missing_shares.append(float(counts[series.missing].sum() / counts.sum()) if found.coded else 0.0)
        if not kinds:
            raise DataError(f"no column of {name} varies, so there is nothing to learn.")
        kept = {column.name: _one(frame.columns[column.name]) for column in columns if column.constant}
        input_columns = input_columns if len(names) < len(input_columns) else ()
        made = cls(tuple(columns), tuple(kinds), tuple(missing_shares), kept, len(frame), input_columns)
        if not relations:
            return made
        return replace(
            made,
            relations=relations_in(frame, kinds),
            inequalities=inequalities_in(frame, kinds),
            dependencies=dependencies_in(frame, kinds),
        )

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
    def dropped(self) -> tuple[str, ...]:
        """The columns that were left out."""
        return tuple(name for name in self.input_columns if name not in self.names)

    @cached_property
    def types(self) -> dict[str, Type]:
        """The type of each column of the rows that `decode` gives."""
        nothing, none = np.zeros(0, np.int64), np.zeros(0, bool)
        types: dict[str, Type] = {kind.column: kind.series(nothing, none).type for kind in self.kinds}
        types |= {name: one.type for name, one in self.kept.items()}
        return {name: types[name] for name in self.names}

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The parts of all columns that vary, in their order."""
        return tuple(
            part
            for kind, missing_share in zip(self.kinds, self.missing_shares, strict=True)
            for part in _coded(kind, missing_share)
        )

    @cached_property
    def _slices(self) -> dict[str, slice]:
        made, start = {}, 0
        for kind in self.kinds:
            stop = start + len(kind.parts)
            made[kind.column] = slice(start, stop)
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

    @property
    def warnings(self) -> list[str]:
        """What whoever trains on this table should know, a sentence for each."""
        return [f"column '{column.name}': {message}." for column in self.columns for message in column.warnings]

    def described(self) -> list[dict[str, Any]]:
        """Each column in words: its name, kind, what it becomes for the network, why, how much is missing, warnings.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).described()[1]["kind"]
            'categorical'
        """
        becomes = {
            kind.column: kind.becomes + (", missing" if missing_share else "")
            for kind, missing_share in zip(self.kinds, self.missing_shares, strict=True)
        }
        return [
            {
                "name": column.name,
                "kind": column.kind,
                "becomes": becomes.get(column.name, "kept aside"),
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

    def frame(self, data: Any, *, name: str = "the data") -> Frame:
        """Rows with the columns of the training, in its order; an array has no names, so its order is taken for that.

        Raises:
            DataError: a column too few or too many.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).frame({"smoker": ["no"], "age": [25]}).names
            ('age', 'smoker')
        """
        order = None
        if isinstance(data, np.ndarray | list | tuple):  # with the dropped columns or without them
            order = (
                self.input_columns
                if self.input_columns and np.shape(data)[1:] == (len(self.input_columns),)
                else self.names
            )
        frame = as_frame(data, order, name=name)
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
        for kind, missing_share in zip(self.kinds, self.missing_shares, strict=True):
            series, at = frame.columns[kind.column], self._slices[kind.column]
            gone = series.missing
            here = ~gone if gone.any() else slice(None)
            entries = self._entries(kind, series, name, refuse=unseen == "refuse")
            for j, part in zip(range(at.start, at.stop), entries, strict=True):
                codes[here, j], observed[here, j] = part.codes, True
                for field in FIELDS:
                    fields[field][here, j] = getattr(part, field)
            if missing_share:
                codes[gone, at.start], observed[gone, at.start] = self.parts[at.start].count - 1, True
        return Encoded(codes, observed, **fields, other=other)

    def _entries(self, kind: Kind, series: Series, name: str, *, refuse: bool) -> list[Entries]:
        entries = kind.encode(kind.read(series, name))
        if refuse:
            for part in entries:
                if len(part.codes) and part.codes.min() == IMPOSSIBLE:
                    place = int(np.argmax(part.codes == IMPOSSIBLE))
                    raise self._refused(kind, series, int(np.flatnonzero(~series.missing)[place]), name)
        return entries

    def _refused(self, kind: Kind, series: Series, row: int, name: str) -> DataError:
        got = shown(series, row)
        expected = kind.expected(series.values[row])
        return DataError(f"{name}, row {row + 1}, column '{kind.column}': got {got}; expected {expected}.")

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
        for kind, missing_share in zip(self.kinds, self.missing_shares, strict=True):
            at = self._slices[kind.column]
            gone = np.zeros(len(codes), bool) if observed is None else ~np.asarray(observed, bool)[:, at.start]
            mine = codes[:, at]
            if missing_share:
                gone = gone | (mine[:, 0] == self.parts[at.start].count - 1)
            if gone.any():
                mine = np.where(gone[:, None], 0, mine)
            self._check_codes(mine, y[:, at], gone, at)
            values = kind.decode(mine, np.where(gone[:, None], 0.0, y[:, at]), u[:, at])
            made[kind.column] = kind.series(values, gone)
        for name, one in self.kept.items():
            made[name] = one.take(np.zeros(len(codes), np.int64))
        return Frame({name: made[name] for name in self.names})

    def _check_codes(self, codes: Codes, y: Array, gone: Mask, at: slice) -> None:
        for j, part in enumerate(self.parts[at]):
            most = part.count - part.missing
            if len(codes) and (codes[:, j].min() < 0 or codes[:, j].max() >= most):
                row = int(np.argmax((codes[:, j] < 0) | (codes[:, j] >= most)))
                raise DataError(f"row {row + 1}, '{part.name}': got code {codes[row, j]}; expected 0 to {most - 1}.")
            if part.smooth and np.isnan(y[~gone, j].sum()):
                row = int(np.argmax(np.isnan(y[:, j]) & ~gone))
                raise DataError(f"row {row + 1}, '{part.name}': got y = nan; expected a number.")

    def put(self, made: Frame, given: Any, *, name: str = "the data") -> Frame:
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
        frame = self.frame(given, name=name)
        self._other(frame, name, refuse=True)
        columns = dict(made.columns)
        for kind in self.kinds:
            series, mine = frame.columns[kind.column], columns[kind.column]
            self._entries(kind, series, name, refuse=True)
            here = ~series.missing
            if not here.any():
                continue
            known: Values = kind.read(series, name)
            values: NDArray[Any] = np.array(mine.values)
            values[here] = kind.series(known, np.zeros(len(known), bool)).values
            columns[kind.column] = replace(mine, values=values, missing=mine.missing & series.missing)
        return Frame(columns)

    # --- what is possible ---

    def draw_range(self, part: int) -> tuple[float, float] | None:
        """The interval of y in which a part is drawn: the observed one, or the user's low and high; None for labels.

        Example:
            >>> from motes.tables import Schema
            >>> schema = Schema.fit(people)
            >>> schema.draw_range(1) is None  # of labels
            True
        """
        kind = self._kind_of(part)
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
        kind = self._kind_of(part)
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
        self.parts_of(column)  # which checks the name
        place = self.learned.index(column)
        kind, coded = self.kinds[place], bool(self.missing_shares[place])
        counts = tuple(part.count for part in kind.parts)
        if isinstance(condition, Not) and isinstance(condition.condition, Missing | NotMissing):
            condition = NotMissing() if isinstance(condition.condition, Missing) else Missing()
        if isinstance(condition, Missing) and not coded:
            raise UsageError(
                f"column '{column}': missing entries have no code, so that none can be requested. "
                'Train with missing = "code" for this column, or leave it out.'
            )
        if isinstance(condition, Missing | NotMissing):
            return Presence(counts, coded, missing=isinstance(condition, Missing))
        inner = kind.restrict(condition)
        return WithMissing(inner, counts[0]) if coded else inner

    def _kind_of(self, part: int) -> Kind:
        column = self.parts[part].column
        return self.kinds[self.learned.index(column)]

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
        fields = (
            "columns",
            "kinds",
            "missing_shares",
            "kept",
            "rows",
            "input_columns",
            "relations",
            "inequalities",
            "dependencies",
        )
        return arrays, {field: to_json(getattr(self, field), arrays) for field in fields}

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> Schema:
        """What `to_state` gave.

        Raises:
            KeyError, TypeError, ValueError: anything else.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.from_state(*Schema.fit(people).to_state()).names
            ('age', 'smoker')
        """
        return cls(**{field: from_json(value, arrays) for field, value in about.items()})


def _coded(kind: Kind, missing_share: float) -> tuple[Part, ...]:
    """The parts of a column; the first has a code for missing entries if a share of them, `missing_share`, has one."""
    first, *rest = kind.parts
    if missing_share:
        first = replace(first, masses=np.append(first.masses * (1 - missing_share), missing_share), missing=True)
    return first, *rest


def _weighted(frame: Frame, weights: ArrayLike | None, name: str) -> tuple[Frame, NDArray[np.int64], Array]:
    """The rows of a weight above 0, their places in the data, and their weights."""
    rows = np.arange(len(frame))
    if weights is None:
        return frame, rows, np.ones(len(frame))
    given = np.asarray(weights, np.float64)
    if given.shape != (len(frame),) or not (np.isfinite(given).all() and (given >= 0).all() and given.any()):
        raise DataError(
            f"the weights of {name} have shape {given.shape}; "
            f"expected ({len(frame)},), finite, none below 0, some above."
        )
    some = given > 0
    return (frame if some.all() else frame.take(np.flatnonzero(some))), rows[some], given[some]


def _one(series: Series) -> Series:
    """The one value of a column that does not vary, or one missing entry."""
    row = int(np.argmin(series.missing))
    one = series.take(slice(row, row + 1))
    return replace(one, values=np.zeros_like(one.values)) if one.missing[0] else one
