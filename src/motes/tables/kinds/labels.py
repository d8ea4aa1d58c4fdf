"""Kinds of labels: one token for each label in the training rows.

A label has the probability of its token. If there are very many labels, the rare ones share one token, and each has its
share of their rows.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from motes.data.arrays import HERE, Label, Series, Type
from motes.data.readings import doubt
from motes.errors import DataError, UsageError
from motes.tables.kinds.base import Kind, OnLine, Sample
from motes.tables.kinds.binnings import Few, Grid, Numbers, fit_few, in_ranges
from motes.tables.parts import IMPOSSIBLE, Array, Codes, Entries, Mask, Part, Restriction, SetOfValues, Values

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
        if sample.series.type == "truth":
            return f"true in {sample.series.values.mean():.0%} of the rows"
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
        rare = (counts <= RARE) & (len(labels) > MANY)
        if (spare := (~rare).sum() - (MOST - 1)) > 0:
            rare[np.argsort(np.where(rare, np.inf, counts), kind="stable")[:spare]] = True
        order = np.argsort(rare, kind="stable")
        names = tuple(labels[place] for place in order)
        series = sample.series
        return cls(sample.column, names, counts[order], int((~rare).sum()), series.type, series.ordered)

    @property
    def parts(self) -> tuple[Part, ...]:
        rows = self.rows_of_tokens(self.counts)
        return (Part(self.column, self.column, rows / rows.sum()),)

    def rows_of_tokens(self, rows: Array) -> Array:
        """Convert numbers of rows of the labels (l,) to those of the tokens, (K,)."""
        own, rare = rows[: self.own], rows[self.own :]
        return np.append(own, rare.sum()) if len(rare) else own

    @property
    def rare_rows(self) -> Array:
        return self.counts[self.own :]

    def read(self, series: Series, name: str) -> Values:
        """Return indices into `labels`; `IMPOSSIBLE` for unseen labels."""
        index = {label: place for place, label in enumerate(self.labels)}
        if series.type == "date":
            self.check_type(series, (), f"one of its labels, such as {self.labels[0]}", name)
        labels: Iterable[Any] = series.labels
        codes = series.known
        if series.type != "label":
            labels, codes = np.unique(series.known, return_inverse=True)
        return np.array([index.get(label, IMPOSSIBLE) for label in labels], np.int64)[codes]

    def encode(self, values: Values) -> list[Entries]:
        codes = np.minimum(values, self.own)
        unit, rare = np.zeros(len(self.labels)), self.rare_rows
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
        rare = self.rare_rows / self.rare_rows.sum()
        return np.concatenate([shares[:, : self.own], shares[:, self.own :] * rare], axis=1)

    def expected(self, value: Any) -> str:
        shown = ", ".join(str(label) for label in self.labels[:8])
        more = ", ..." if len(self.labels) > 8 else ""
        return f"one of the {len(self.labels):,} training labels: {shown}{more}"

    def decode(self, codes: Codes, y: Array, u: Array) -> Values:
        places = codes[:, 0].astype(np.int64)
        rare = places == self.own
        if rare.any():
            places[rare] = self.own + _place_among(u[rare, 0], self.rare_rows)
        return places

    def select_rare(self, u: Array, weights: Array) -> Array:
        return self._rare_middles[_place_among(u, weights)]

    @cached_property
    def _rare_middles(self) -> Array:
        """The middle of the interval of uniform numbers that `decode` maps to each rare label, (l - own,)."""
        return np.asarray((np.cumsum(self.rare_rows) - self.rare_rows / 2) / self.rare_rows.sum())

    def series(self, values: Values, missing: Mask) -> Series:
        if self.type != "label":  # numbers treated as labels
            dtype = {"truth": np.bool_, "whole": np.int64}.get(self.type, np.float64)
            return Series(self.type, np.array(self.labels, dtype)[values], missing)
        return Series("label", values, missing, self.labels, self.input_ordered)

    def restrict(self, condition: SetOfValues) -> Restriction:
        chosen = in_ranges(np.arange(len(self.labels)), self.ranges(condition))
        if not chosen.any():
            raise DataError(f"{HERE}, column '{self.column}': got {condition}; no training label meets it.")
        return SomeLabels(self, chosen)

    @property
    def own_labels(self) -> tuple[Label, ...]:
        return self.labels[: self.own]

    @property
    def becomes(self) -> str:
        rare = len(self.labels) - self.own
        return f"{self.own:,} labels" + (f", {rare:,} rare ones together" if rare else "")


@dataclass(frozen=True, repr=False)
class Ordered(OnLine, Categorical):
    """Labels in an order: token k is the cell of the whole number k."""

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

    @cached_property
    def line(self) -> Few:
        """The binning of the labels' places, 0 to l - 1."""
        return fit_few(np.arange(len(self.labels)), self.counts, Grid(step=1))

    def between(self, low: Any, high: Any) -> Numbers:
        return np.array([[0 if low is None else low, len(self.labels) - 1 if high is None else high]])

    @property
    def own_labels(self) -> tuple[Label, ...]:
        return ()


@dataclass(frozen=True)
class SomeLabels(Restriction):
    """A restriction to some of the labels, `chosen` (l,)."""

    kind: Categorical
    chosen: Mask

    def shares(self) -> Array:
        return self.kind.rows_of_tokens(self.kind.counts * self.chosen) / self.kind.rows_of_tokens(self.kind.counts)

    def allowed(self, part: int, codes: Codes, y: Array) -> Mask:
        return self.shares() > 0

    def holds(self, codes: Codes, y: Array) -> Mask:
        return self.shares()[codes[:, 0]] > 0

    def among(self, weights: Array) -> Array:
        return weights * self.chosen[self.kind.own :]


def _place_among(u: Array, weights: Array) -> NDArray[np.intp]:
    """Select places (n,) in proportion to weights (l,), by uniform numbers (n,)."""
    upto = np.cumsum(weights)
    return np.minimum(np.searchsorted(upto, u * upto[-1], side="right"), np.flatnonzero(weights)[-1])


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


KINDS: tuple[type[Kind], ...] = (Ordered, Categorical)
