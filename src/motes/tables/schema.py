"""The schema of a table: its columns and their kinds; it encodes rows as tokens and decodes them.

Missing entries of a column may have a token of their own: the first part then has the K tokens of its kind, 0 to K - 1,
and token K for a missing entry.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data import Frame, as_frame
from motes.data.arrays import Array, Mask, Series, Type, check_weights, entry_error, of_values, plain, warn
from motes.data.curves import Asinh, Power, Straight
from motes.data.records import Arrays, from_json, to_json
from motes.errors import DataError, UsageError, unknown
from motes.tables.kinds import DROP
from motes.tables.kinds.base import Kind, Sample, shown
from motes.tables.kinds.binnings import Binning, Few, Grid
from motes.tables.kinds.columns import KINDS, MISSING, Column, Identifier, check_overrides, column_messages, column_of
from motes.tables.parts import IMPOSSIBLE, Condition, Encoded, Missing, Not, Part, Repeats, Restriction, WithMissing
from motes.tables.relations import Dependency, Exclusion, Inequality, MissingPatterns, Relation, Rule, find_relations
from motes.tables.relative import GroupMeans, Relative, find_relatives
from motes.tables.user_rules import BoundRule, UserRule, parse_rule

# --- Sample weights -------------------------------------------------------------------------------------------------


REPEATED = 100_000  # copied rows, up to which whole weights are whole numbers of copies; or four times the rows if more


def weighted(frame: Frame, weights: ArrayLike | None, name: str) -> tuple[NDArray[np.int64], Array]:
    """Repeat rows by their weights: return the row numbers, counted from 0, and the weight of each copy.

    For whole weights each copy has weight 1, so that counting rows counts the weights too.

    Args:
        frame: n rows.
        weights: (n,); None for weight 1 each.
        name: name of the rows in messages.

    Raises:
        DataError: if the weights do not fit the rows.
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
    """Return weights (n,) as numbers of rows: if they average less than 1, only their ratios count."""
    return weights * max(1.0, float((weights > 0).sum() / weights.sum()))


# --- The classes in a schema, named in model files ------------------------------------------------------------------


PARTS: tuple[type, ...] = (
    Asinh, Binning, Column, Dependency, Exclusion, Few, Grid, GroupMeans, Identifier, Inequality, MissingPatterns,
    Power, Relation, Relative, Repeats, Series, Straight, UserRule,
)  # fmt: skip


# --- A whole table <-> the tokens of its parts ----------------------------------------------------------------------
#
# schema = Schema.fit(table)
# encoded = schema.encode(table)                                    # tokens (n, p), places and intervals
# rows = schema.decode(encoded.codes, encoded.y, u).like(table)     # the same rows


FIELDS = ("y", "low", "high", "log_unit")
BINS = 128
SHOWN = 12  # columns printed by a schema, at most
BROKEN = 0.05  # maximum share of training rows that break a rule of the user
SHOWN_ROWS = 5  # maximum number of such rows in a message


@dataclass(frozen=True)
class Schema:
    """The columns of a table and the parts that encode them; created by `Schema.fit`.

    Attributes:
        columns: all columns, each with its kind and the reason for it.
        kinds: fitted kinds of the columns that vary, in their order.
        missing_shares: for each of these kinds, the share of missing rows if missing entries have a token of their own;
            otherwise 0.
        missing_patterns: the patterns of columns that are missing together.
        kept: the only value of each constant column, a series of length 1.
        rows: number of training rows.
        input_columns: names of all columns of the training data if some were dropped; otherwise empty.
        relations: relations between numbers that hold exactly in a share of the rows.
        dependencies: columns of labels that follow from another column.
        identifiers: columns that are set aside, with the format of their placeholders.
        rules: inequalities, relations and dependencies that hold in all or nearly all rows.
        stated: the rules of the user, see `with_rules`.
        relatives: histograms of numbers and dates at places relative to other columns.

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
    rules: tuple[Rule, ...] = ()
    stated: tuple[UserRule, ...] = ()
    relatives: tuple[Relative, ...] = ()

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
        """Choose the kind of each column, and fit its tokens.

        Args:
            data: training rows, in any form that `as_frame` accepts.
            overrides: column -> kind and its options; see docs/tables.md. A column of kind "drop" is neither
                learned nor returned, and it is ignored in later rows.
            missing: "learn" gives missing entries a token of their own, so that their pattern is learned; "ignore"
                treats them as unknown. An override sets it for one column: {"age": {"missing": "ignore"}}.
            bins: maximum number of tokens of a numeric part; fewer for few rows.
            weights: sample weights (n,), >= 0; None for 1 each. A weight of 2 is the same as the row twice.
            relations: search for relations and inequalities between columns.
            name: name of the data in messages.

        Raises:
            DataError: if there are no rows, there is nothing to learn, or an entry does not fit; the message names row
                and column.
            UsageError: if an override does not fit.

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
        given = check_overrides(input_columns, overrides)
        if not given:
            raise UsageError(f"all columns of {name} are dropped, so there is nothing to learn.")
        if isinstance(bins, bool) or not hasattr(bins, "__index__") or not bins >= 2:
            raise UsageError(f"bins = {bins!r}; expected a whole number of at least 2.")
        if missing not in MISSING:
            raise UsageError(f"missing = {missing!r}; expected {' or '.join(map(repr, MISSING))}.")
        rows, heavy = weighted(frame, weights, name)
        frame = frame.select([*given]) if weights is None else frame.select([*given]).take(rows)
        columns: list[Column] = []
        kinds: list[Kind] = []
        kept: dict[str, Series] = {}
        identifiers: dict[str, Identifier] = {}
        gone: list[Mask] = []  # for each kind, which entries have the token for missing entries
        samples: dict[str, Sample] = {}
        for column, series in frame.columns.items():
            option = shlex.quote(f"columns.{column}={DROP}")
            remedy = f" Or drop the column: columns={{{column!r}: {DROP!r}}} in Python, --set {option} in the shell."
            series.check_known(remedy)
            series.check_finite(column, name)
            here = np.flatnonzero(~series.missing)
            sample = Sample(column, series.take(here), rows[here], heavy[here], int(bins), name)
            found, options = column_of(sample, len(series) - len(here), given[column], missing)
            columns.append(found)
            if found.constant:
                one = series.take(here[:1]) if len(here) else series.take(slice(0, 1))
                kept[column] = one if len(here) else replace(one, values=np.zeros_like(one.values))
            elif not found.learned:
                identifiers[column] = Identifier.of(sample)
            else:
                kind = KINDS[found.kind].fit(sample, options)
                if kind.discrete and len(kind.parts) > 1:
                    raise UsageError(
                        f"column '{column}': the kind '{kind.name}' is discrete and has {len(kind.parts)} parts; "
                        "expected one part, whose tokens are its labels. Give it one part, or set `discrete = False`."
                    )
                kinds.append(kind)
                gone.append(series.missing & found.coded)
                samples[column] = sample
        if not kinds:
            raise _nothing_to_learn(columns, name)
        made = cls(
            tuple(columns),
            tuple(kinds),
            tuple(float(heavy[one].sum() / heavy.sum()) for one in gone),
            MissingPatterns.fit(np.stack(gone, axis=1), heavy),
            kept,
            len(frame),
            input_columns if len(given) < len(input_columns) else (),
            identifiers=identifiers,
        )
        if relations:
            made = replace(made, **find_relations(frame, kinds))
            made = replace(made, relatives=find_relatives(frame, kinds, made.relations))
        used = {column for one in made.relations for column in one.columns}
        used |= {column for one in made.relatives for column in (one.column, *one.given)}
        return made._refined(
            {name: one for name, one in samples.items() if name not in used and "kind" not in given[name]}
        )

    def _refined(self, samples: Mapping[str, Sample]) -> Schema:
        """Refine the kinds of columns that no relation uses, from their observed entries."""
        kinds = {one.column: one.refined(samples[one.column]) for one in self.kinds if one.column in samples}
        columns = list(self.columns)
        for i, one in enumerate(columns):
            if one.name in kinds and kinds[one.name].name != one.kind:
                columns[i] = replace(one, kind=kinds[one.name].name, why=f"{one.why}, written in several ways")
        return replace(self, columns=tuple(columns), kinds=tuple(kinds.get(one.column, one) for one in self.kinds))

    def with_rules(
        self, rules: Sequence[str], data: Any, *, weights: ArrayLike | None = None, name: str = "the data"
    ) -> Schema:
        """Return the schema with rules of the user instead of its own, after checking them on the training rows.

        A `UserWarning` names each rule that up to 5 % of the rows break, and the rows.

        Args:
            rules: the rules, such as ["end <= start + 30"]; see docs/rules.md.
            data: the training rows.
            weights: sample weights (n,); rows with weight 0 do not count.
            name: name of the data in messages.

        Raises:
            UsageError: if a rule cannot be read, or does not fit the columns.
            DataError: if more rows break a rule.

        Example:
            >>> from motes.tables import Schema
            >>> [str(rule) for rule in Schema.fit(people).with_rules(["age >= 18"], people).stated]
            ['age >= 18']
        """
        made = replace(self, stated=tuple(parse_rule(text) for text in dict.fromkeys(rules)))
        made.check_stated()
        if not rules:
            return made
        frame = as_frame(data, name=name)
        counts = np.ones(len(frame), bool) if weights is None else np.asarray(weights) > 0
        for rule in made.stated:
            broken = np.flatnonzero(rule.breaks(frame) & counts)
            if not len(broken):
                continue
            most = int(BROKEN * counts.sum())
            rows = ", ".join(f"{row + 1:,}" for row in broken[:SHOWN_ROWS]) + (
                ", ..." if len(broken) > SHOWN_ROWS else ""
            )
            got = f'{len(broken):,} of {counts.sum():,} rows of {name} break the rule "{rule}" (row {rows})'
            if len(broken) > most:
                digits = rule.digits(frame.columns)
                hint = (
                    "" if digits is None else f" Up to rounding, nearly all rows obey it: write round(..., {digits})."
                )
                raise DataError(f"{got}; expected at most {most:,}. Correct the rule, or the rows.{hint}")
            warn(f"{got}. They are learned like other rows, but no synthetic row breaks the rule.")
        return made

    def check_stated(self) -> None:
        """Check that the rules of the user fit the columns.

        Raises:
            UsageError: if a rule has a column that does not exist or is set aside, or compares different types.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).check_stated()
        """
        for rule in self.stated:
            for column in rule.columns:
                if column in self.dropped:
                    raise UsageError(
                        f"rule \"{rule}\": column '{column}' is dropped. Leave out the rule, or keep the column."
                    )
                if column not in self.names:
                    labels = {str(one) for kind in self._kinds.values() for one in getattr(kind, "labels", ())}
                    hint = f" The text '{column}' needs quotation marks." if column in labels else ""
                    raise UsageError(f'rule "{rule}": {unknown("column", column, self.names)}{hint}')
                if not rule.keys:
                    try:
                        self.check_not_aside(column)
                    except UsageError as error:
                        raise UsageError(f'rule "{rule}": {error}') from None
        for bound in self.bound:
            bound.cases(dict.fromkeys(bound.kinds, np.zeros(1)))

    @cached_property
    def bound(self) -> tuple[BoundRule, ...]:
        """The rules of the user between columns of which at least one varies, without unique keys."""
        made = []
        for rule in self.stated:
            kinds = {name: self._kinds[name] for name in rule.columns if name in self._kinds}
            if kinds and not rule.keys:
                made.append(
                    BoundRule(rule, kinds, {name: self.kept[name] for name in rule.columns if name in self.kept})
                )
        return tuple(made)

    @property
    def keys(self) -> tuple[UserRule, ...]:
        """The rules of the user that state a unique key, without those that are set aside."""
        return tuple(rule for rule in self.stated if rule.keys and not {*rule.keys} & {*self.identifiers})

    # --- columns and parts ---

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all columns."""
        return tuple(column.name for column in self.columns)

    @property
    def learned(self) -> tuple[str, ...]:
        """Names of the columns that vary."""
        return tuple(kind.column for kind in self.kinds)

    @property
    def compared(self) -> tuple[Column, ...]:
        """The columns by which rows are compared: all columns that are not set aside."""
        return tuple(column for column in self.columns if column.name not in self.identifiers)

    @property
    def dropped(self) -> tuple[str, ...]:
        """Names of the dropped columns."""
        return tuple(name for name in self.input_columns if name not in self.names)

    @cached_property
    def types(self) -> dict[str, Type]:
        """The type of each column in the rows that `decode` returns."""
        empty = np.zeros((0, len(self.parts)))
        return {name: series.type for name, series in self.decode(empty, empty, empty).columns.items()}

    @cached_property
    def _kinds(self) -> dict[str, Kind]:
        return {kind.column: kind for kind in self.kinds}

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The parts of all columns that vary, in their order; some columns have a token for missing entries."""
        made: list[Part] = []
        for kind, share in zip(self.kinds, self.missing_shares, strict=True):
            first, *rest = kind.parts
            if share:
                first = replace(first, masses=np.append(first.masses * (1 - share), share), missing=True)
            made += [first, *rest]
        return tuple(made)

    @cached_property
    def _slices(self) -> dict[str, slice]:
        columns = [part.column for part in self.parts]
        return {name: slice(at := columns.index(name), at + columns.count(name)) for name in self.learned}

    def parts_of(self, column: str) -> slice:
        """Return the slice of `parts` that belongs to a column.

        Raises:
            UsageError: if the column does not vary, or does not exist.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).parts_of("smoker")
            slice(1, 2, None)
        """
        if column not in self._slices:
            raise UsageError(f"column '{column}' is not learned. Choose from: {', '.join(self.learned)}.")
        return self._slices[column]

    def kind_of(self, column: str) -> Kind:
        """Return the fitted kind of a column.

        Raises:
            UsageError: if the column is set aside, is constant, or does not exist.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).kind_of("smoker").own_labels
            ('no', 'yes')
        """
        if column in self.kept:
            raise UsageError(
                f"column '{column}' is {self.kept[column].cells()[0]} in all training rows; expected a column "
                f"that varies. Choose from: {', '.join(self.learned)}."
            )
        self.check_not_aside(column)
        if column not in self._kinds:
            raise UsageError(unknown("column", column, self.learned))
        return self._kinds[column]

    @property
    def inequalities(self) -> tuple[Inequality, ...]:
        """The rules that compare two columns."""
        return tuple(rule for rule in self.rules if isinstance(rule, Inequality))

    @property
    def warnings(self) -> list[str]:
        """Warnings about the columns of the training data, one sentence each."""
        return column_messages(self.columns, shell=False)

    def described(self) -> list[dict[str, Any]]:
        """Describe each column: its name, kind, representation, the reason, the share of missing entries, warnings.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.fit(people).described()[1]["kind"]
            'categorical'
        """
        becomes = dict.fromkeys(self.kept, "kept aside") | dict.fromkeys(self.identifiers, "set aside")
        for kind, share in zip(self.kinds, self.missing_shares, strict=True):
            becomes[kind.column] = kind.becomes + (", missing" if share else "")
        return [
            {
                "name": column.name,
                "kind": column.kind,
                "becomes": becomes[column.name],
                "why": column.why,
                "missing": column.missing / self.rows,
                "warnings": list(column.warnings),
            }
            for column in self.columns
        ]

    @property
    def related(self) -> list[str]:
        """The relations, inequalities, dependencies and exclusions between the columns, one sentence each."""
        excluded = [one for one in self.rules if isinstance(one, Exclusion)]
        found: list[Rule] = [*self.relations, *self.inequalities, *self.dependencies, *excluded]
        return [one.words for one in found]

    def named(self, data: Any, *, name: str = "the data") -> Frame:
        """Return rows as a frame with their own columns; an array, with or without the dropped columns, gets names.

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

    def frame(self, data: Any, *, name: str = "the data") -> Frame:
        """Return rows with the columns of the training data, in that order; an array must already be in that order.

        The rows may lack columns that are set aside; their entries are then missing.

        Raises:
            DataError: if a column is missing or additional.

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
                f"{name} has no column '{gone[0]}'; expected {', '.join(self.names)}, as in training. "
                "If the column is unknown, pass it with all entries missing."
            )
        if more := [column for column in frame.names if column not in self.names + self.dropped]:
            raise DataError(
                f"{name} has a column '{more[0]}'; expected {', '.join(self.names)}, as in training. Remove it."
            )
        chosen = frame.select(self.names)
        for series in chosen.columns.values():
            series.check_known()
        return chosen

    # --- encoding and decoding ---

    def encode(self, data: Any, *, name: str = "the data", unseen: Literal["refuse", "mark"] = "refuse") -> Encoded:
        """Encode rows as tokens and places.

        Args:
            data: n rows, in any form that `as_frame` accepts.
            name: name of the rows in messages.
            unseen: "refuse" raises an error for an entry that its column cannot hold, such as an unseen label; "mark"
                gives it the token `IMPOSSIBLE`, and sets `other` for another value in a constant column.

        Raises:
            DataError: as in `frame`; if a column has another type; with "refuse", if a column cannot hold an entry.
                The message names row and column.

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
        other = self._find_other_values(frame, name, refuse=unseen == "refuse")
        labels: dict[str, NDArray[np.int64]] = {}
        for kind in self.kinds:
            series, at = frame.columns[kind.column], self._slices[kind.column]
            if self.parts[at.start].missing:
                codes[series.missing, at.start] = self.parts[at.start].count - 1
                observed[series.missing, at.start] = True
            if series.missing.all():  # a column without an observed entry has no type
                continue
            here = np.flatnonzero(~series.missing)
            values = kind.read(series, name)
            entries = kind.encode(values)
            if kind.column in self._rare_followers:
                labels[kind.column] = np.full(n, IMPOSSIBLE)
                labels[kind.column][here] = values
            strange = np.logical_or.reduce([part.codes == IMPOSSIBLE for part in entries])
            if unseen == "refuse" and strange.any():
                row = int(here[strange.argmax()])
                raise entry_error(name, kind.column, shown(series, row), kind.expected(series.values[row]), row)
            for j, part in zip(range(at.start, at.stop), entries, strict=True):
                codes[here, j], observed[here, j] = part.codes, True
                for field in FIELDS:
                    fields[field][here, j] = getattr(part, field)
        for column, places in labels.items():
            kind, at = self.kind_of(column), self._slices[column].start
            for rows, shares in self.rare_labels(kind, codes, observed):
                fields["log_unit"][rows, at] = np.log(shares[places[rows] - len(kind.own_labels)])
        return Encoded(codes, observed, **fields, other=other)

    def rare_labels(
        self, kind: Kind, codes: NDArray[np.int32], observed: Mask | None = None
    ) -> Iterator[tuple[NDArray[np.intp], Array]]:
        """Yield the probabilities of the labels that share a token, given the columns that follow from them.

            p(label | token, columns b) ~ rows of the label  product over b of (1 if b follows from it, else epsilon_b)

        with the odds epsilon_b against the dependency in the training rows. Missing entries and rare b say nothing.

        Args:
            kind: the kind of a column of labels.
            codes: (n, p), tokens of the rows.
            observed: (n, p), which entries are observed; None for all.

        Yields:
            Rows in which the column has this token, alike in the columns that follow, and the probabilities (l,).

        Example:
            >>> from motes.tables import Schema
            >>> cities = [f"city {k}" for k in range(300)]  # a third of them has four rows, the others have one
            >>> table = {"city": cities + 3 * cities[:100]}
            >>> schema = Schema.fit(table, {"city": "categorical"})
            >>> rows, shares = next(schema.rare_labels(schema.kinds[0], schema.encode(table).codes))
            >>> len(rows), len(shares)
            (200, 200)
        """
        own, at = len(kind.own_labels), self._slices[kind.column].start
        here = np.ones(codes.shape, bool) if observed is None else observed
        rows = np.flatnonzero((codes[:, at] == own) & here[:, at]) if len(kind.rare_rows) else np.zeros(0, np.intp)
        follows = self._rare_followers.get(kind.column, [])
        tokens = np.full((len(rows), len(follows)), -1)
        for k, dependency in enumerate(follows):
            j = self._slices[dependency.column].start
            known = here[rows, j] & (codes[rows, j] < len(self.kind_of(dependency.column).own_labels))
            tokens[:, k] = np.where(known, codes[rows, j], -1)
        cases, case = np.unique(tokens, axis=0, return_inverse=True)
        for k, given in enumerate(cases):
            weights = kind.rare_rows
            for dependency, token in zip(follows, given, strict=True):
                of_labels = dependency.codes[own:]
                agrees = (token < 0) | (of_labels < 0) | (of_labels == token)
                weights = weights * np.where(agrees, 1.0, 1 / dependency.share - 1)
            yield rows[case.ravel() == k], weights / weights.sum()

    @cached_property
    def _rare_followers(self) -> dict[str, list[Dependency]]:
        """The dependencies whose domain has labels that share a token, by the column of these labels."""
        followers: dict[str, list[Dependency]] = {}
        for dependency in self.dependencies:
            if len(dependency.codes) > len(self.kind_of(dependency.given).own_labels):
                followers.setdefault(dependency.given, []).append(dependency)
        return followers

    def valued(self, encoded: Encoded) -> Mask:
        """Return which encoded entries have a value, (n, p): those observed and not missing.

        Example:
            >>> from motes.tables import Schema
            >>> schema = Schema.fit({"age": [31, None, 25], "smoker": ["yes", "no", "no"]})
            >>> schema.valued(schema.encode({"age": [None], "smoker": ["no"]})).tolist()
            [[False, True]]
        """
        missing = [part.count - 1 if part.missing else part.count for part in self.parts]
        return encoded.observed & (encoded.codes != np.array(missing))

    def only(self, encoded: Encoded, columns: Collection[str]) -> Encoded:
        """Return encoded rows in which only these columns are observed, including missing entries with their own token.

        Example:
            >>> from motes.tables import Schema
            >>> schema = Schema.fit(people)
            >>> schema.only(schema.encode({"age": [31], "smoker": ["no"]}), ["smoker"]).observed.tolist()
            [[False, True]]
        """
        here = np.array([part.column in columns for part in self.parts])
        return replace(encoded, observed=encoded.observed & here)

    def _find_other_values(self, frame: Frame, name: str, *, refuse: bool) -> Mask:
        """Return the rows in which a constant column has another value, (n,)."""
        other = np.zeros(len(frame), bool)
        for column, one in self.kept.items():
            series = frame.columns[column]
            here = _differs(series, one)
            if here.any() and refuse:
                row = int(here.argmax())
                was = "missing" if one.missing[0] else shown(one, 0)
                raise entry_error(name, column, shown(series, row), f"{was}, as in all training rows", row)
            other |= here
        return other

    def decode(self, codes: ArrayLike, y: ArrayLike, u: ArrayLike, observed: Mask | None = None) -> Frame:
        """Decode tokens and places into possible rows; `Frame.like` converts them to the type of the training data.

        Args:
            codes: (n, p), tokens, from 0 to K - 1 for each part.
            y: (n, p), places; ignored for parts that are not smooth.
            u: (n, p), uniform numbers, which choose among the rare labels that share a token.
            observed: (n, p), False for entries to make missing (the first part of a column decides); None for none.

        Raises:
            DataError: if an array has another shape, a token does not exist, or a place is NaN.

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
        for kind in self.kinds:
            at = self._slices[kind.column]
            gone = np.zeros(len(codes), bool) if observed is None else ~np.asarray(observed, bool)[:, at.start]
            if self.parts[at.start].missing:
                gone = gone | (codes[:, at.start] == self.parts[at.start].count - 1)
            mine, places = np.where(gone[:, None], 0, codes[:, at]), np.where(gone[:, None], 0.0, y[:, at])
            for part, code, place in zip(self.parts[at], mine.T, places.T, strict=True):
                part.check(code, place)
            made[kind.column] = kind.series(kind.decode(mine, places, u[:, at]), gone)
        for name, one in self.kept.items():
            made[name] = one.take(np.zeros(len(codes), np.int64))
        made |= {name: one.nothing(len(codes)) for name, one in self.identifiers.items()}
        return Frame({name: made[name] for name in self.names})

    def put(self, made: Frame, given: Any) -> Frame:
        """Return the decoded rows `made` with the observed entries of `given`, to the bit, even impossible ones.

        Raises:
            DataError: as in `encode` with "mark".

        Example:
            >>> from motes.data import as_frame
            >>> from motes.tables import Schema
            >>> drawn = as_frame({"age": [31, 47], "smoker": ["yes", "no"]})
            >>> Schema.fit(people).put(drawn, {"age": [62, None], "smoker": [None, None]})["age"].tolist()
            [62, 47]
        """
        frame, columns = self.frame(given), dict(made.columns)
        encoded = self.encode(frame, unseen="mark")
        impossible = encoded.codes == IMPOSSIBLE
        strange = [kind.column for kind in self.kinds if impossible[:, self._slices[kind.column]].any()]
        for column in [*strange, *(self.kept if encoded.other.any() else ())]:  # their kind cannot hold them
            pairs = zip(frame.columns[column].cells(), made.columns[column].cells(), strict=True)
            cells = [drawn if entry is None else entry for entry, drawn in pairs]
            columns[column] = of_values(np.array(cells, object), column, "the data")
        for kind in self.kinds:
            series, drawn = frame.columns[kind.column], made.columns[kind.column]
            if kind.column not in strange and (here := ~series.missing).any():
                known, values = kind.read(series, "the data"), np.array(drawn.values)
                values[here] = kind.series(known, np.zeros(len(known), bool)).values
                columns[kind.column] = replace(drawn, values=values, missing=drawn.missing & series.missing)
        return Frame(columns | {column: frame.columns[column] for column in self.identifiers})

    def with_placeholders(self, made: Frame, start: int = 1) -> Frame:
        """Return the decoded rows `made` with placeholders in the columns that are set aside, numbered from `start`.

        Placeholders are texts such as `name-000001`, or whole numbers beyond the training values; none is a real value.
        They repeat as the real values do, unless a stated rule makes their column part of a unique key.

        Example:
            >>> from motes.tables import Schema
            >>> schema = Schema.fit({"name": [f"Ann {k}" for k in range(50)], "age": [31, 47] * 25})
            >>> rows = schema.decode([[0], [1]], np.zeros((2, 1)), np.full((2, 1), 0.5))
            >>> schema.with_placeholders(rows)["name"].tolist()
            ['name-000001', 'name-000002']
        """
        keys = {name for rule in self.stated for name in rule.keys}
        numbered = {
            name: one.placeholders(start, len(made), distinct=name in keys) for name, one in self.identifiers.items()
        }
        return Frame({**made.columns, **numbered})

    def contents(self, data: Any, *, name: str = "the data") -> Frame:
        """Return the rows of `frame` without the columns that are set aside; used to compare rows.

        Example:
            >>> from motes.tables import Schema
            >>> schema = Schema.fit({"name": [f"Ann {k}" for k in range(50)], "age": [31, 47] * 25})
            >>> schema.contents({"age": [31]}).names
            ('age',)
        """
        return self.frame(data, name=name).select([column.name for column in self.compared])

    def check_not_aside(self, column: str) -> None:
        """Check that a column is not set aside.

        Raises:
            UsageError: if it is.

        Example:
            >>> from motes.tables import Schema
            >>> schema = Schema.fit({"name": [f"Ann {k}" for k in range(50)], "age": [31, 47] * 25})
            >>> schema.check_not_aside("age")
        """
        if column in self.identifiers:
            about = next(one.personal for one in self.columns if one.name == column)
            why = f"it looks like {about}" if about else "nearly every training row has its own value there"
            raise UsageError(
                f"column '{column}' is set aside, because {why}, and the model did not learn it. Choose from: "
                f"{', '.join(self.learned)}; or set its kind and train again."
            )

    # --- possible values ---

    def allowed(self, part: int, codes: NDArray[np.int32], y: Array) -> Mask | None:
        """Return which tokens of a part are possible.

        Args:
            part: index in `parts`.
            codes, y: (n, i), tokens and places of the earlier parts of its column.

        Returns:
            (n, K), or None if all are possible.

        Example:
            >>> from motes.tables import Schema
            >>> schema = Schema.fit(people)
            >>> schema.allowed(1, np.zeros((3, 0), np.int32), np.zeros((3, 0))) is None  # all
            True
        """
        kind = self.kind_of(self.parts[part].column)
        start = self._slices[kind.column].start
        # The parts after a missing entry are not observed, so any token will do.
        return kind.allowed(part - start, np.minimum(codes, [p.count - 1 for p in kind.parts[: part - start]]), y)

    def restrict(self, column: str, condition: Condition) -> Restriction:
        """Return the restriction of the parts of a column to a condition.

        Args:
            column: a column that varies.
            condition: `Among`, `Between`, `Not` or `Missing`. A known value needs no restriction: it is encoded and
                stays visible.

        Raises:
            UsageError: if the column is not learned, the condition has no meaning for it, such as an interval of
                labels, or it is `Missing` and missing entries have no token.
            DataError: if the column cannot hold a value, or no training value meets the condition.

        Example:
            >>> from motes.tables import Among, Schema
            >>> left = Schema.fit(people).restrict("smoker", Among(("yes",)))
            >>> left.allowed(0, np.zeros((1, 0), np.int32), np.zeros((1, 0))).tolist()
            [False, True]
        """
        kind, first = self.kind_of(column), self.parts[self.parts_of(column).start]
        if isinstance(condition, Missing) and not first.missing:
            raise UsageError(
                f"column '{column}': missing entries were not learned, so you cannot request one. The training rows "
                'had none, or table.missing was "ignore". Leave the column out of the condition.'
            )
        match condition:
            case Missing() | Not(Missing()):
                inner = Restriction()
            case _:
                inner = kind.restrict(condition)
        return WithMissing(inner, first.count - 1, isinstance(condition, Missing)) if first.missing else inner

    # --- on disk ---

    def to_state(self) -> tuple[Arrays, dict[str, Any]]:
        """Return the schema as arrays by name and a dictionary for JSON; `from_state` restores it.

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
        """Restore a schema from `to_state`; `motes.tables.model.check_schema` checks that it is valid.

        Raises:
            ArithmeticError, LookupError, TypeError, ValueError: if the state is not a schema.

        Example:
            >>> from motes.tables import Schema
            >>> Schema.from_state(*Schema.fit(people).to_state()).names
            ('age', 'smoker')
        """
        # Kinds can be registered at any time.
        classes = {part.__name__: part for part in (*PARTS, *KINDS.values())}
        return cls(**{field: from_json(value, arrays, classes) for field, value in dict(about).items()})


def _nothing_to_learn(columns: Sequence[Column], name: str) -> DataError:
    """Return the error for a table in which no column varies, or only columns that are set aside."""
    aside = [column for column in columns if not (column.learned or column.constant)]
    if not aside:
        return DataError(
            f"no column of {name} varies, so there is nothing to learn. Pass rows in which a column has several values."
        )
    first, personal = aside[0], ", or ids or personal data," * any(column.personal for column in aside)
    return DataError(
        f"nearly every row of {name} has its own value{personal} in {', '.join(repr(one.name) for one in aside)}, and "
        "no other column varies, so there is nothing to learn. Add columns, or set the kind of one, such as "
        f'columns.{first.name} = "{first.alternative or "categorical"}".'
        + "".join(f" Column '{first.name}': {message}." for message in first.warnings)
    )


def _differs(series: Series, one: Series) -> Mask:
    """Return where entries differ from the value `one` of a constant column, except by rounding, (n,)."""
    was = one.cells()[0]
    if was is None:
        return ~series.missing
    if series.type == "label":
        other = np.array([label != was for label in series.labels] or [False])[series.values]
    elif one.type == "label" or (series.type == "date") != (one.type == "date"):
        other = np.ones(len(series), bool)
    else:
        value = one.values[0].astype(np.float64)
        other = np.abs(series.values - value) > 1e-9 * np.abs(value)
    return other & ~series.missing
