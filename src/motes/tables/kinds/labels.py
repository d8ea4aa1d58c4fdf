"""Kinds of labels: one token for each label in the training rows.

A label has the probability of its token. If there are very many labels, the rare ones share one token, and each has its
share of their rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from motes.data.arrays import Label, Series, Type
from motes.data.readings import doubt
from motes.errors import DataError, UsageError
from motes.tables.kinds.base import Kind, Sample
from motes.tables.parts import (
    HERE,
    IMPOSSIBLE,
    Among,
    Array,
    Between,
    Codes,
    Entries,
    Mask,
    Not,
    Part,
    Restriction,
    SetOfValues,
    Values,
)

MANY = 256  # labels, above which the rare ones share a token
RARE = 2  # maximum number of rows of a rare label
MOST = 10_000  # maximum number of tokens


@dataclass(frozen=True, repr=False)
class Categorical(Kind):
    """Labels without an order.

    Attributes:
        labels: (l,), the training labels: first those with a token of their own, then the rare ones.
        counts: (l,), number of rows of each.
        own: number of labels with a token of their own.
        type, input_ordered: type of the input series, and whether its labels are ordered.
    """

    labels: tuple[Label, ...]
    counts: Array
    own: int
    type: Type
    input_ordered: bool = False

    name = "categorical"
    discrete: ClassVar[bool] = True

    @classmethod
    def infer(cls, sample: Sample) -> str | None:
        if sample.series.type != "label" or sample.series.ordered:
            return None
        return f"{len(sample.seen[0]):,} labels"

    @classmethod
    def warnings(cls, sample: Sample, options: Mapping[str, Any]) -> list[str]:
        series = sample.series
        if series.type != "label":
            return []
        seen, _ = _count_labels(sample)
        row_of = lambda label: int(sample.rows[np.argmax(series.values == series.labels.index(label))]) + 1
        return [why for why in (doubt(seen, row_of), _find_near_duplicates(seen)) if why]

    @classmethod
    def fit(cls, sample: Sample, options: Mapping[str, Any]) -> Self:
        labels, counts = _count_labels(sample)
        order = np.arange(len(labels))
        rare = np.zeros(len(labels), bool)
        if len(labels) > MANY:
            rare = counts <= RARE
            spare = (~rare).sum() - (MOST - 1)
            if spare > 0:
                rare[np.argsort(np.where(rare, np.inf, counts), kind="stable")[:spare]] = True
        order = np.concatenate([order[~rare], order[rare]])
        names = tuple(labels[place] for place in order)
        series = sample.series
        return cls(sample.column, names, counts[order], int((~rare).sum()), series.type, series.ordered)

    @property
    def parts(self) -> tuple[Part, ...]:
        rows = self.counts[: self.own]
        if self.own < len(self.labels):
            rows = np.append(rows, self.counts[self.own :].sum())
        return (Part(self.column, self.column, rows / rows.sum()),)

    def read(self, series: Series, name: str) -> Values:
        """Return indices into `labels`; `IMPOSSIBLE` for unseen labels."""
        index = {label: place for place, label in enumerate(self.labels)}
        if series.type == "date":
            self.check_type(series, (), f"one of its labels, such as {self.labels[0]}", name)
        if series.type == "label":
            table = np.array([index.get(label, IMPOSSIBLE) for label in series.labels], np.int64)
            return table[series.known]
        found, inverse = np.unique(series.known, return_inverse=True)
        return np.array([index.get(label, IMPOSSIBLE) for label in found.tolist()], np.int64)[inverse]

    def encode(self, values: Values) -> list[Entries]:
        codes = np.minimum(values, self.own)
        unit = np.zeros(len(self.labels))
        rare = self.counts[self.own :]
        unit[self.own :] = np.log(rare / rare.sum()) if len(rare) else 0.0
        return [Entries.of_codes(codes, unit[values])]

    @property
    def outcomes(self) -> Values:
        """All labels, as indices."""
        return np.arange(len(self.labels))

    def of_labels(self, shares: Array) -> Array:
        """Convert shares of the tokens (n, K) to shares of the labels (n, l); rare ones divide their token's share."""
        if self.own == len(self.labels):
            return shares
        rare = self.counts[self.own :] / self.counts[self.own :].sum()
        return np.concatenate([shares[:, : self.own], shares[:, self.own :] * rare], axis=1)

    def expected(self, value: Any) -> str:
        shown = ", ".join(str(label) for label in self.labels[:8])
        more = ", ..." if len(self.labels) > 8 else ""
        return f"one of the {len(self.labels):,} training labels: {shown}{more}"

    def decode(self, codes: Codes, y: Array, u: Array) -> Values:
        places = codes[:, 0].astype(np.int64)
        rare = places == self.own
        if rare.any():
            upto = np.cumsum(self.counts[self.own :])
            chosen = np.searchsorted(upto, u[rare, 0] * upto[-1], side="right")
            places[rare] = self.own + np.minimum(chosen, len(upto) - 1)
        return places

    def series(self, values: Values, missing: Mask) -> Series:
        if self.type != "label":  # numbers treated as labels
            dtype = {"truth": np.bool_, "whole": np.int64}.get(self.type, np.float64)
            return Series(self.type, np.array(self.labels, dtype)[values], missing)
        return Series("label", values, missing, self.labels, self.input_ordered)

    def restrict(self, condition: SetOfValues) -> Restriction:
        chosen = self._select_labels(condition)
        if not chosen.any():
            raise DataError(f"{HERE}, column '{self.column}': got {condition}; no training label meets it.")
        rows = self.counts * chosen
        if self.own < len(self.labels):
            rare = rows[self.own :].sum() / self.counts[self.own :].sum()
            return SomeLabels(np.append(chosen[: self.own], rare), self.own, self.counts[self.own :], rows[self.own :])
        return SomeLabels(chosen.astype(np.float64), self.own, rows[:0], rows[:0])

    def _select_labels(self, condition: Any) -> Mask:
        """Return which labels (l,) meet a condition, or equal a value."""
        chosen = np.zeros(len(self.labels), bool)
        match condition:
            case Among(values):
                chosen[[int(self.one(value)[0]) for value in values]] = True
            case Between():
                raise UsageError(
                    f"column '{self.column}' is {self.name}, without an order: got an interval from {condition.low} to "
                    f"{condition.high}; expected one label, or several as a set."
                )
            case Not(inner):
                chosen = ~self._select_labels(inner)
            case _:
                chosen[self.one(condition)] = True
        return chosen

    @property
    def own_labels(self) -> tuple[Label, ...]:
        return self.labels[: self.own]

    @property
    def becomes(self) -> str:
        rare = len(self.labels) - self.own
        return f"{self.own:,} labels" + (f", {rare:,} rare ones together" if rare else "")


@dataclass(frozen=True, repr=False)
class Boolean(Categorical):
    """Two labels."""

    name = "boolean"

    @classmethod
    def infer(cls, sample: Sample) -> str | None:
        values = sample.series.values
        return f"true in {values.mean():.0%} of the rows" if sample.series.type == "truth" else None

    @classmethod
    def fit(cls, sample: Sample, options: Mapping[str, Any]) -> Self:
        made = super().fit(sample, options)
        if len(made.labels) > 2:
            raise DataError(
                f"column '{sample.column}' of {sample.name} has {len(made.labels):,} values; a boolean column has two. "
                'Set its kind to "categorical".'
            )
        return made


@dataclass(frozen=True, repr=False)
class Ordered(Categorical):
    """Labels in an order: token k is the interval from k - 1/2 to k + 1/2 of y, standardised."""

    name = "ordered"
    options = ("order",)

    @classmethod
    def option(cls, column: str, key: str, value: Any) -> tuple[Any, ...]:
        fits = isinstance(value, list | tuple) and len(value) > 1 and len(set(map(str, value))) == len(value)
        if not fits or not all(isinstance(label, str | int | float) for label in value):
            raise UsageError(f"column '{column}': order = {value!r}; expected two labels or more, each once.")
        return tuple(value)

    @classmethod
    def infer(cls, sample: Sample) -> str | None:
        if sample.series.type != "label" or not sample.series.ordered:
            return None
        return f"{len(sample.seen[0]):,} labels, in order"

    @classmethod
    def warnings(cls, sample: Sample, options: Mapping[str, Any]) -> list[str]:
        seen, _ = _count_labels(sample)
        never = [str(label) for label in options.get("order", ()) if label not in seen]
        return [f"in no training row, so never drawn: {', '.join(never)}"] if never else []

    @classmethod
    def fit(cls, sample: Sample, options: Mapping[str, Any]) -> Self:
        labels, counts = _count_labels(sample)
        if (order := options.get("order")) is not None:
            if strange := [label for label in labels if label not in order]:
                raise DataError(
                    f"column '{sample.column}' of {sample.name} holds '{strange[0]}'; "
                    f"expected one of the {len(order)} labels of its order: {', '.join(map(str, order))}."
                )
            places = [labels.index(label) for label in order if label in labels]
            labels, counts = [labels[place] for place in places], counts[places]
        series = sample.series
        return cls(sample.column, tuple(labels), counts, len(labels), series.type, series.ordered)

    @property
    def edges(self) -> Array:
        """Edges of the labels' intervals of y, (L+1,)."""
        share, k = self.counts / self.counts.sum(), np.arange(len(self.labels))
        mean = share @ k
        deviation = np.sqrt(share @ (k - mean) ** 2) or 1.0
        return (np.arange(len(k) + 1) - 0.5 - mean) / deviation

    @property
    def parts(self) -> tuple[Part, ...]:
        return (Part(self.column, self.column, self.counts / self.counts.sum(), self.edges),)

    def encode(self, values: Values) -> list[Entries]:
        low, high = self.edges[:-1][values], self.edges[1:][values]
        return [Entries(values.astype(np.int32), (low + high) / 2, low, high, np.zeros(len(values)))]

    def draw_range(self, part: int) -> tuple[float, float] | None:
        return float(self.edges[0]), float(self.edges[-1])

    def _select_labels(self, condition: Any) -> Mask:
        if not isinstance(condition, Between):
            return super()._select_labels(condition)
        first = 0 if condition.low is None else int(self.one(condition.low)[0])
        last = len(self.labels) - 1 if condition.high is None else int(self.one(condition.high)[0])
        if first > last:
            raise DataError(
                f"{HERE}, column '{self.column}': got {condition.low} to {condition.high}; "
                f"expected the first label before the last. The order is {', '.join(map(str, self.labels))}."
            )
        return (np.arange(len(self.labels)) >= first) & (np.arange(len(self.labels)) <= last)

    @property
    def own_labels(self) -> tuple[Label, ...]:
        return ()


@dataclass(frozen=True)
class SomeLabels(Restriction):
    """A restriction to some of the labels.

    Attributes:
        remains: (K,), the allowed share of each token.
        own: number of labels with a token of their own.
        rare, chosen: (r,), the rows of each label that shares a token; in `chosen` 0 for labels that are not allowed.
    """

    remains: Array
    own: int
    rare: Array
    chosen: Array

    def allowed(self, part: int, codes: Codes, y: Array) -> Mask:
        return self.remains > 0

    def holds(self, codes: Codes, y: Array) -> Mask:
        return self.remains[codes[:, 0]] > 0

    def shares(self) -> Array | None:
        return self.remains if len(self.rare) else None

    def narrowed(self, codes: Codes, u: Array) -> Array:
        if not self.chosen.any():
            return u
        upto = np.cumsum(self.chosen)
        place = np.minimum(np.searchsorted(upto, u * upto[-1], side="right"), np.flatnonzero(self.chosen)[-1])
        middle = (
            np.cumsum(self.rare) - self.rare / 2
        ) / self.rare.sum()  # of the interval that `decode` maps to each label
        return np.where(codes == self.own, middle[place], u)


def _find_near_duplicates(labels: Sequence[Label]) -> str | None:
    """Name two labels that differ only in case or spaces, in a phrase; None if there are none."""
    first: dict[str, Label] = {}
    for label in labels:
        other = first.setdefault(" ".join(str(label).casefold().split()), label)
        if other != label:
            return f"'{other}' and '{label}' are different labels. Write them alike if they mean the same"
    return None


def _count_labels(sample: Sample) -> tuple[list[Label], Array]:
    """Return the labels that occur, in their order, and the number of rows of each."""
    series = sample.series
    if series.type == "date":
        raise DataError(
            f"column '{sample.column}' of {sample.name} holds dates; expected labels. Set its kind to \"date\"."
        )
    places, counts = sample.seen
    seen = [series.labels[place] for place in places] if series.type == "label" else places.tolist()
    return seen, counts


KINDS: tuple[type[Kind], ...] = (Boolean, Ordered, Categorical)
