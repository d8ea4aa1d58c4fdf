"""What points are conditioned on: columns of numbers x beside the points theta, in p(theta | x).

    c_j = T_j(x_j),    or 0, and 1 in a place of its own, where x_j is missing
    e / sqrt(1 + e^2),    e = (end - prediction) / width    for both ends of some columns of theta

T_j is the map of a column of numbers in a table (`motes.tables.kinds._curves`): to mean 0 and standard deviation 1, and
by a power, a logarithm or asinh first, where that makes the column clearly more normal; by asinh where its tails are
heavy, too. The network sees no heavy tails. Moderate ones stay as they are: a spread of bent numbers is harder to
learn. Where posteriors are narrow beside a uniform prior, the network is also conditioned on the distances from the
predicted theta to both ends of the interval. Far from the ends a posterior keeps its shape; near one it is cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data._arrays import plain, rows_of
from motes.data._frames import Frame, as_frame
from motes.data._points import numbers_of
from motes.data._records import from_json, to_json
from motes.data._series import TYPE_WORDS
from motes.data._tables import Table, as_table
from motes.errors import DataError, UsageError, unknown
from motes.models._novelty import NoveltyDetector
from motes.models._priors import Prior
from motes.models._regressions import Regression, widths_are_predictable
from motes.tables.kinds._curves import CURVES, Curve, Straight, fit_curve, standardised

Array = NDArray[np.float64]

FEW = 20  # distinct numbers, of which fewer show no shape
TAILS = 0.2  # nats per row that asinh must gain beside: Laplace's distribution gains 0.08 in all, Student's t_3 0.32
NARROW = 0.25  # width of what a regression leaves, as a share of the prior's: at 0.4 the ends do more harm than good
NAME = "given"


@dataclass(frozen=True)
class Context:
    """The columns that points are conditioned on.

    Attributes:
        columns: their names, c of them.
        curves: the map of each.
        prior: of the points, whatever is observed.
        gaps: whether each has missing entries in the training, which observations may have then as well.
        regression: of the points on them, of which a network learns what is left; None: all.
        edges: indices of the columns of the points whose ends the network is conditioned on.
        novelty: which observations are unlike those of the training; None: not known.
    """

    columns: tuple[str, ...]
    curves: tuple[Curve, ...]
    prior: Prior
    gaps: tuple[bool, ...]
    regression: Regression | None = None
    edges: tuple[int, ...] = ()
    novelty: NoveltyDetector | None = None

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def inputs(self) -> int:
        """How many numbers the network is given: one for each column, one more for each with gaps, two for ends."""
        return len(self) + sum(self.gaps) + 2 * len(self.edges)

    @classmethod
    def fit(cls, table: Table, prior: Prior, weights: Array | None = None, *, standardise: bool = True) -> Context:
        """The maps of the columns of `table`, whose rows count by `weights` (n,), or once each."""
        missing = np.isnan(table.x)
        gaps = tuple(bool(column.any()) for column in missing.T)
        curves: tuple[Curve, ...] = (Straight(0.0, 1.0),) * len(table.columns)
        if standardise:
            counts = np.ones(len(table)) if weights is None else weights
            curves = tuple(_curve_of(x[~out], counts[~out]) for x, out in zip(table.x.T, missing.T, strict=True))
        found = cls(table.columns, curves, prior, gaps)
        return replace(found, novelty=NoveltyDetector.fit(found.mapped(table.x), ~missing))

    def with_regression(self, regression: Regression) -> Context:
        """The same with a regression of the points on these columns, and the ends that matter then."""
        deviation = np.sqrt(np.diag(np.array(self.prior.covariance)))
        narrow = self.prior.uniform & (np.diag(regression.root) < NARROW * deviation)
        return replace(self, regression=regression, edges=tuple(np.flatnonzero(narrow).tolist()))

    def predicts_widths(self, left: ArrayLike, context: ArrayLike | None) -> bool:
        """Whether what the network is given, (n, inputs), predicts how much a regression leaves of a row, (n, d)."""
        if self.regression is None or context is None:
            return False
        known, left = np.asarray(context, np.float64)[:, : len(self.regression.slope)], np.asarray(left, np.float64)
        # A width may be that of one direction, and a column the sum of several.
        directions = np.linalg.eigh(self.regression.root)[1]
        return widths_are_predictable(np.hstack([left, left @ directions]), known)

    def left(self, z: Array, context: Array) -> Array:
        """Points z (..., n, d) -> what the regression leaves of them, where so much is known of each, (n, inputs)."""
        return z if self.regression is None else self.regression.forward(z, context)

    def whole(self, u: Array, context: Array) -> Array:
        """The inverse of `left`."""
        return u if self.regression is None else self.regression.inverse(u, context)

    def forward(self, rows: Array) -> Array:
        """Data units (n, c) -> what the network is given, (n, inputs)."""
        return self.with_ends(self.mapped(rows))

    def mapped(self, rows: Array) -> Array:
        """Data units (n, c) -> what the regression takes: each column by its map, and where entries are missing."""
        missing = np.isnan(rows)
        known = np.where(missing, 0.0, rows)
        with np.errstate(invalid="ignore", divide="ignore"):  # 0 may be no number of the column
            mapped = np.stack([one.forward(column) for one, column in zip(self.curves, known.T, strict=True)], axis=1)
        return np.concatenate([np.where(missing, 0.0, mapped), missing[:, np.array(self.gaps)]], axis=1)

    def with_ends(self, numbers: Array) -> Array:
        """What `mapped` gives, with the distances from the prediction to the ends of `edges`: (n, inputs)."""
        if self.regression is None:
            return numbers
        predicted, width = self.regression.mean(numbers), np.diag(self.regression.root)
        made = [numbers]
        for j in self.edges:
            away = (np.array(self.prior.intervals[j]) - predicted[:, j, None]) / width[j]
            made.append(away / np.sqrt(1 + away**2))
        return np.concatenate(made, axis=1)

    def rows(self, given: Any) -> tuple[Array, bool]:
        """Observations (m, c) in the data's units, and whether it is a single one without an axis of its own.

        Args:
            given: one observation, (c,) or a mapping column -> number; or m of them, (m, c) or a table of m rows.

        Raises:
            UsageError: nothing, other columns, or another number of them.
            DataError: an entry that is not a finite number, but for a missing one, NaN or None, of a column with gaps;
                the message names the row and the column.
        """
        if given is None or (isinstance(given, Mapping) and not given):
            raise UsageError(
                f"this model is of points given {', '.join(self.columns)}; got no observation. Give one: "
                f"given={self._example}."
            )
        from motes.data._natives import is_frame

        given = plain(given, NAME)
        if isinstance(given, Frame) or is_frame(given):
            return self._finite(self._of_frame(as_frame(given, name=NAME))), False
        if hasattr(given, "keys"):  # a mapping, or one row of a data frame
            entries = {str(name): given[name] for name in given.keys()}  # noqa: SIM118 - a pandas row iterates values
            self._check_names(entries)
            one = all(np.ndim(value) == 0 for value in entries.values())
            columns = {name: [value] if one else value for name, value in entries.items()}
            return self._finite(self._of_frame(as_frame(columns, name=NAME))), one
        try:
            numbers = np.asarray(given, np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"{NAME} holds something that is not a number ({error}). Expected numbers.") from None
        one = numbers.ndim < 2
        rows = numbers.reshape(1, -1) if one else numbers
        if rows.ndim != 2 or rows.shape[1] != len(self) or not len(rows):
            raise UsageError(
                f"{NAME} has shape {numbers.shape}; expected ({len(self)},) for one observation of "
                f"{', '.join(self.columns)}, or (m, {len(self)}) for m of them, such as {self._example}."
            )
        return self._finite(rows), one

    def novel(self, rows: Array) -> list[str]:
        """Say where observations (m, c) are unlike those of the training: in a column, or in all of them together.

        With a probability of 1 % something is said of observations that are like the training's, however many.
        """
        if self.novelty is None:
            return []
        ends = lambda j: self.curves[j].inverse(self.novelty.ends[j])
        who = lambda row: _observation(row, len(rows))
        return self.novelty.describe(self.mapped(rows), rows, self.columns, ends, who, "the training")

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "columns": self.columns,
            "curves": to_json(self.curves, {}),
            "prior": self.prior.to_dict(),
            "gaps": self.gaps,
            "regression": None if self.regression is None else self.regression.to_dict(),
            "edges": self.edges,
            "novelty": None if self.novelty is None else self.novelty.to_dict(),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Context:
        """What `to_dict` gave."""
        prior, found = Prior.from_dict(values["prior"]), values["regression"]
        regression = None if found is None else Regression.from_dict(found)
        curves, gaps = from_json(values["curves"], {}, CURVES), tuple(values["gaps"])
        edges, novelty = tuple(values.get("edges", ())), values.get("novelty")
        detector = None if novelty is None else NoveltyDetector.from_dict(novelty)
        return cls(tuple(values["columns"]), curves, prior, gaps, regression, edges, detector)

    @property
    def _example(self) -> str:
        entries = ", ".join(f"'{name}': 0.5" for name in self.columns[:2])
        return f"{{{entries}{', ...' if len(self) > 2 else ''}}}"

    def _of_frame(self, frame: Frame) -> Array:
        self._check_names(frame.columns)
        made = []
        for name in self.columns:
            series = frame.columns[name]
            if series.type not in ("real", "whole") and not series.missing.all():
                raise DataError(f"{NAME}, column '{name}': got {TYPE_WORDS[series.type]}; expected numbers.")
            made.append(np.where(series.missing, np.nan, series.values.astype(np.float64)))
        return np.stack(made, axis=1)

    def _check_names(self, names: Mapping[str, Any]) -> None:
        for name in names:
            if name not in self.columns:
                raise UsageError(f"{NAME}: {unknown('observed column', name, self.columns)}")
        lacking = [name for name in self.columns if name not in names]
        if lacking:
            raise UsageError(
                f"{NAME} has no '{lacking[0]}'; expected all of {', '.join(self.columns)}. Give it as well."
            )

    def _finite(self, rows: Array) -> Array:
        bad = np.argwhere(np.isinf(rows) | (np.isnan(rows) & ~np.array(self.gaps)))
        if len(bad):
            i, j = bad[0]
            more = ", as in all of the training" if np.isnan(rows[i, j]) else ""
            raise DataError(
                f"{NAME}, row {i + 1}, column '{self.columns[j]}': got {rows[i, j]}; expected a finite number{more}. "
                "Leave out such rows, or fill them in first."
            )
        return rows


def context_table(given: Any, n: int, points: Sequence[str]) -> Table:
    """Rows to condition on, one for each of `n` points whose columns are `points`, as numbers with named columns.

    Args:
        given: an array (n, c) or (n,), a dict of columns, a data frame or a `Table`; missing entries are NaN.
        n: how many points there are.
        points: names of their columns.

    Raises:
        DataError: entries that are neither finite numbers nor missing, another number of rows, a column that does not
            vary, or one that is called like a column of the points.
    """
    given = plain(given, NAME)
    if isinstance(given, np.ndarray | list | tuple):
        rows = rows_of(given, NAME)
        rows = rows[:, None] if rows.ndim == 1 else rows
        table = as_table(rows, _named(rows), name=NAME, missing=True)
    elif isinstance(given, Table):
        table = given
    else:
        table = numbers_of(as_frame(given, name=NAME), NAME, to_learn=True, missing=True)
    if len(table) != n:
        raise DataError(f"{NAME} has {len(table)} rows, and there are {n} points; expected one row for each point.")
    both = [name for name in table.columns if name in points]
    if both:
        raise DataError(f"the points and {NAME} both have a column '{both[0]}'; expected two names. Rename one.")
    return table


def _observation(row: int, rows: int) -> str:
    return "the observation" if rows == 1 else f"row {row + 1} of the observations"


def _named(rows: ArrayLike) -> list[str]:
    return [f"{NAME}{j}" for j in range(np.shape(rows)[1] if np.ndim(rows) == 2 else 0)]


def _curve_of(column: Array, counts: Array) -> Curve:
    x, places = np.unique(column, return_inverse=True)
    each = np.bincount(places, counts).astype(np.float64)
    straight = Straight(float(np.median(x)), float(np.ptp(x)) or 1.0)
    return standardised(fit_curve(x, each, tails=TAILS) if len(x) >= FEW else straight, x, each)
