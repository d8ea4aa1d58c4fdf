"""Posteriors: what rows are given, the prior, a linear regression and a detector of novel observations.

The prior, in the units of the network, has normal and uniform columns:

    z ~ N(mean, covariance),    or column by column z_j ~ U(low, high) + N(0, s^2 (high - low)^2)

A normal prior is one there, and so is a log-normal one with its lower bound. A uniform one with both of its bounds is
uniform there, with smooth edges (`motes.data.tables`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data import Frame, Table, as_frame
from motes.data.arrays import TYPE_WORDS, plain, rows_of
from motes.data.curves import CURVES, Straight, Transform, fit_curve, standardised
from motes.data.points import numbers_of
from motes.data.records import from_json, to_json
from motes.data.tables import as_table, shares
from motes.errors import DataError, UsageError, unknown

Array = NDArray[np.float64]

Interval = tuple[float, float]

AWAY = 0.03  # the distance between distribution functions, from which a column has another distribution
SURE = 1.95  # that distance times the root of the rows, from which it is no chance: of such rows 1 in 1,000
TOGETHER = 0.1  # the correlation, from which two columns are not independent
SURE_TOGETHER = 4.0  # that correlation times the root of the rows, from which it is no chance


@dataclass(frozen=True)
class Prior:
    """The moments of points in the units of the network.

    Attributes:
        mean: (d,).
        covariance: (d, d).
        intervals: low and high of each column that is uniform, independently of the others; None of other columns.
        odd: the columns that are neither uniform nor normal.
    """

    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    intervals: tuple[Interval | None, ...]
    odd: tuple[str, ...] = ()

    @classmethod
    def fit(
        cls,
        z: Array,
        columns: Sequence[str],
        weights: Array | None = None,
        intervals: Sequence[Interval | None] | None = None,
    ) -> Prior:
        """That of rows z (n, d), which count by `weights` (n,), or once each.

        `intervals` are the bounds of the columns that have both (`Standardiser.intervals`).
        """
        share = np.full(len(z), 1 / len(z)) if weights is None else weights / weights.sum()
        mean = share @ z
        away = z - mean
        covariance = (away * share[:, None]).T @ away
        alone = _independent(covariance, share)
        found: list[Interval | None] = []
        odd = []
        for j, (name, ends) in enumerate(zip(columns, intervals or [None] * len(columns), strict=True)):
            uniform = ends is not None and alone[j] and not _differs(z[:, j], share, ends)
            found.append(ends if uniform else None)
            if not uniform and _differs(z[:, j], share):
                odd.append(name)
        return cls(tuple(mean.tolist()), tuple(map(tuple, covariance.tolist())), tuple(found), tuple(odd))

    @property
    def uniform(self) -> NDArray[np.bool_]:
        """Whether each column is uniform, (d,)."""
        return np.array([ends is not None for ends in self.intervals], bool)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dict(vars(self))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Prior:
        """What `to_dict` gave."""
        intervals = (None if ends is None else (ends[0], ends[1]) for ends in values["intervals"])
        covariance = tuple(map(tuple, values["covariance"]))
        return cls(tuple(values["mean"]), covariance, tuple(intervals), tuple(values["odd"]))


def _differs(column: Array, share: Array, ends: Interval | None = None) -> bool:
    """Whether a column (n,), whose rows have these shares, is clearly not uniform between `ends`, or not normal.

    By Kolmogorov's distance.
    """
    from scipy.special import ndtr

    order = np.argsort(column)
    after = np.cumsum(share[order])
    if ends is None:
        mean = share @ column
        expected = ndtr((column[order] - mean) / np.sqrt(share @ (column - mean) ** 2))
    else:
        expected = shares((column[order] - ends[0]) / (ends[1] - ends[0]))[0]
    distance = max(np.abs(expected - after).max(), np.abs(expected - after + share[order]).max())
    return bool(distance > max(AWAY, SURE * np.sqrt((share**2).sum())))


def _independent(covariance: Array, share: Array) -> NDArray[np.bool_]:
    """Whether each column has no clear correlation with any other, (d,), where the rows have these shares."""
    deviation = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(deviation, deviation) - np.eye(len(covariance))
    least = max(TOGETHER, SURE_TOGETHER * float(np.sqrt((share**2).sum())))
    return np.asarray((np.abs(correlation) < least).all(axis=1))


# --- The linear part of points given what was observed; a network learns the rest -----------------------------------
#
#     z = c A + b + u L,    u of mean 0 and variance 1
#
# c A + b is the least-squares prediction of the points z from what is known of them, and L the symmetric root of the
# covariance of what it leaves. Columns with a uniform prior keep to their own axes, or it would not be one of u: there
# L is diagonal. A posterior may be 100 times as narrow as the prior: u has its width, and where posteriors are normal
# with a mean that is linear in c, nothing is left to learn.


RIDGES = 10.0 ** np.arange(9)  # in rows whose context is as wide as that of the others, and whose points are 0
ROWS, COMPARED, NEIGHBOURS = 5000, 1000, 10  # of so many rows so many are compared with so many that are near
LEAST = 0.25  # the rank correlation from which widths are predictable,
SIGNIFICANT = 4.0  # and the same times the root of the rows
NARROWEST = 1e-3  # standard deviation of what is left, as a share of that of the points


@dataclass(frozen=True, eq=False)
class Regression:
    """The linear regression z = c A + b + u L, and its inverse.

    Attributes:
        slope: A (c, d).
        offset: b (d,).
        root: L (d, d), symmetric.
    """

    slope: Array
    offset: Array
    root: Array

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Regression) and all(map(np.array_equal, vars(self).values(), vars(other).values()))

    @classmethod
    def fit(
        cls, z: Array, context: Array, weights: Array | None = None, alone: NDArray[np.bool_] | None = None
    ) -> tuple[Regression, Array]:
        """That of rows z (n, d) and what is known of each (n, c), which count by `weights` (n,), or once each.

        Columns that are `alone` (d,) are mixed with no other one.

        The ridge is the one by which each row is predicted best from all others. The second part is u (n, d) of the
        rows, each by its error where it is predicted from all others: the errors of rows that are in a fit are smaller
        than those of fresh ones, and posteriors learned from them would be too narrow.
        """
        n = len(z)
        count = np.ones(n) if weights is None else weights * (n / weights.sum())
        middle, mean = count @ context / n, count @ z / n
        x, y = context - middle, z - mean
        sizes, axes = np.linalg.eigh((x * count[:, None]).T @ x)
        rotated = x @ axes
        moment = (rotated * count[:, None]).T @ y

        def tried(ridge: float) -> tuple[float, Array, Array]:
            slope = moment / (np.maximum(sizes, 0.0) + ridge)[:, None]
            leverage = count * (1 / n + (rotated**2 / (np.maximum(sizes, 0.0) + ridge)).sum(axis=1))
            errors = (y - rotated @ slope) / (1 - np.minimum(leverage, 1 - 1 / n))[:, None]
            return float((count @ errors**2).sum()), axes @ slope, errors

        _, slope, errors = min(map(tried, RIDGES), key=lambda one: one[0])
        mixed = np.ones(z.shape[1], bool) if alone is None else ~alone
        pairs = np.outer(mixed, mixed) | np.eye(len(mixed), dtype=bool)
        squares, directions = np.linalg.eigh(np.where(pairs, (errors * count[:, None]).T @ errors / n, 0.0))
        least = NARROWEST**2 * float((count @ y**2).max()) / n
        root: Array = np.where(pairs, (directions * np.sqrt(np.maximum(squares, least))) @ directions.T, 0.0)
        found = cls(slope, mean - middle @ slope, root)
        return found, np.asarray(np.linalg.solve(root, errors.T).T, np.float64)

    def forward(self, z: Array, context: Array) -> Array:
        """z (..., n, d) -> u (..., n, d), where so much is known of each, (n, c)."""
        return np.asarray(np.linalg.solve(self.root, np.swapaxes(z - self.mean(context), -1, -2)).swapaxes(-1, -2))

    def inverse(self, u: Array, context: Array) -> Array:
        """u (..., n, d) -> z (..., n, d), where so much is known of each, (n, c)."""
        return np.asarray(u @ self.root + self.mean(context))

    def mean(self, context: Array) -> Array:
        """The prediction of z, (n, d), from the first c numbers of what is known, (n, at least c)."""
        return np.asarray(context[..., : len(self.slope)] @ self.slope + self.offset)

    @property
    def log_det(self) -> float:
        """log |du/dz|."""
        return -float(np.linalg.slogdet(self.root)[1])

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: part.tolist() for name, part in vars(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Regression:
        """What `to_dict` gave."""
        return cls(*(np.array(values[name], np.float64) for name in ("slope", "offset", "root")))


def widths_are_predictable(left: Array, context: Array) -> bool:
    """Whether what is known of rows, (n, c), predicts how large that is which a regression leaves of them, (n, d).

    It does where, in some column, the mean logarithm of those of rows that are near by c goes with that of the row.
    """
    from scipy.spatial import cKDTree
    from scipy.stats import rankdata

    some = np.unique(np.linspace(0, len(left) - 1, ROWS).astype(int))
    compared = np.unique(np.linspace(0, len(some) - 1, COMPARED).astype(int))
    sizes, context = np.log(np.abs(left[some]) + NARROWEST), context[some]
    near = cKDTree(context).query(context[compared], min(NEIGHBOURS, len(some) - 1) + 1)[1][:, 1:]
    least = max(LEAST, SIGNIFICANT / np.sqrt(len(compared)))
    with np.errstate(invalid="ignore"):  # what is the same everywhere predicts nothing
        pairs = ((rankdata(size[near].mean(axis=1)), rankdata(size[compared])) for size in sizes.T)
        return any(np.corrcoef(*pair)[0, 1] > least for pair in pairs)


# --- Is an observation unlike the rows of the training? Novelty detection -------------------------------------------
#
# Column by column and for all columns together.
#
#     column j        x_j is beyond the smallest or the largest value of the training
#     all columns     d(x) = distance of (x - mean) W to the nearest of K centres,    W W^T = covariance^-1
#
# The centres are those of k-means, and no rows of the training. d is compared with the distances of rows to the centres
# of other rows (five folds). A fresh row of the same distribution is called novel with a probability of at most about
# 1 %, half of it for the columns and half for the distance: by order statistics, which hold for any distribution, and
# where there are too few rows for these, by an exponential tail beyond the most extreme row.


FALSE_ALARMS = 0.01  # probability that a fresh row of the training's distribution is called novel
NOVELTY_ROWS, CENTRES, FOLDS = 5000, 64, 5  # of the joint distance: rows at most, and at least 20 rows for each centre
WIDE = 100  # columns: of more, each is scaled by itself, for the covariance would be most of the model file
SMALLEST = 1e-6  # variance in a direction, as a share of the largest
ROUNDED = 1e-9  # what is equal but for rounding is not beyond
GUESS = "The model has learned nothing there, so its answer is a guess."


@dataclass(frozen=True, eq=False)
class NoveltyDetector:
    """What is kept of the rows of the training, in the units of `Context.mapped`.

    Attributes:
        rows: how many there were.
        ends: the smallest and the largest value of each of c columns, (c, 2).
        tails: the scale of the exponential tail beyond each end, (c, 2).
        mean, axes: of the whitened numbers, (p,), and W (p, p), or (p,) of many columns.
        centres: (K, p), whitened.
        limit, tail: the distance beyond which a row is novel, and the scale of its exponential tail.
    """

    rows: int
    ends: Array
    tails: Array
    mean: Array
    axes: Array
    centres: Array
    limit: float
    tail: float

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NoveltyDetector) and all(
            map(np.array_equal, vars(self).values(), vars(other).values())
        )

    @classmethod
    def fit(cls, x: Array, observed: NDArray[np.bool_]) -> NoveltyDetector:
        """That of rows x (n, p), the first c numbers of which are `observed` (n, c) columns."""
        ends, tails = [], []
        for column, here in zip(x.T, observed.T, strict=False):
            known = column[here]
            ends.append((known.min(), known.max()))
            tails.append((_tail(-known), _tail(known)))
        some = x[np.unique(np.linspace(0, len(x) - 1, NOVELTY_ROWS).astype(int))]
        fold = np.arange(len(some)) % FOLDS
        apart = np.concatenate([_distances(some[fold == k], *_centres(some[fold != k])) for k in range(FOLDS)])
        level, tail = FALSE_ALARMS / 2 * (len(apart) + 1), _tail(apart)
        place = len(apart) - int(level)  # as many as are expected beyond
        limit = np.sort(apart)[min(place, len(apart) - 1)] + (tail * np.log(1 / level) if level < 1 else 0.0)
        return cls(len(x), np.array(ends), np.array(tails), *_centres(some), float(limit), tail)

    def beyond(self, x: Array, observed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which columns of which rows x (m, p) are beyond the training, (m, c)."""
        low, high = self._ends(len(x)).T
        columns = x[:, : len(self.ends)]
        return np.asarray(observed & ((columns < low) | (columns > high)))

    def distances(self, x: Array) -> Array:
        """How far rows x (m, p) are from the training, (m,): above 1 a row is novel."""
        limit = self.limit + self.tail * np.log(len(x))
        return np.asarray(_distances(x, self.mean, self.axes, self.centres) / max(limit, ROUNDED))

    def describe(
        self,
        x: Array,
        rows: Array,
        names: Sequence[str],
        ends: Callable[[int], Array],
        who: Callable[[int], str],
        source: str,
    ) -> list[str]:
        """A sentence for each column of `rows` that is beyond the training, and for all columns together.

        Args:
            x: rows in the units of the detector, (m, p).
            rows: the same in the data's units, (m, c), NaN where not observed.
            names: of the c columns.
            ends: the smallest and the largest value of a column, in the data's units.
            who: what a row is called.
            source: what the rows are compared with.
        """
        beyond = self.beyond(x, ~np.isnan(rows))
        said = []
        for j in np.flatnonzero(beyond.any(axis=0)).tolist():
            (low, high), first = ends(j).tolist(), int(beyond[:, j].argmax())
            said.append(
                f"{who(first)} has '{names[j]}' = {rows[first, j]:.4g}, and {source} had {low:.4g} to {high:.4g}. "
                f"{GUESS}"
            )
        distances = np.where(beyond.any(axis=1), 0.0, self.distances(x))
        if distances.max() > 1:
            said.append(
                f"no row of {source} combined values as {who(int(distances.argmax()))} does: it is "
                f"{distances.max():.2g} times as far from them as all but 0.5 % of them are. {GUESS}"
            )
        return said

    def _ends(self, m: int) -> Array:
        """From where on a value is beyond each end, where m rows are looked at, (c, 2)."""
        level = FALSE_ALARMS / 2 / (2 * len(self.ends)) / m * (self.rows + 1)
        away = self.tails * max(-np.log(level), 0.0) + ROUNDED * np.abs(self.ends)
        return np.asarray(self.ends + away * [-1, 1])

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: one.tolist() if isinstance(one, np.ndarray) else one for name, one in vars(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NoveltyDetector:
        """What `to_dict` gave."""
        arrays = {name: np.array(values[name], np.float64) for name in ("ends", "tails", "mean", "axes", "centres")}
        return cls(int(values["rows"]), **arrays, limit=float(values["limit"]), tail=float(values["tail"]))


def _tail(values: Array) -> float:
    """The scale of an exponential tail above values (n,): that of the largest tenth of them, or of the largest ten."""
    largest = np.sort(values)[-max(len(values) // 10, 10) :]
    return float(largest.mean() - largest[0])


def _centres(x: Array) -> tuple[Array, Array, Array]:
    """The mean, the axes and the centres of rows (n, p)."""
    from scipy.cluster.vq import kmeans2

    mean, away = x.mean(axis=0), x - x.mean(axis=0)
    if x.shape[1] > WIDE:
        variances, axes = (away**2).mean(axis=0), None
    else:
        variances, axes = np.linalg.eigh(away.T @ away / len(x))
    scale = 1 / np.sqrt(np.maximum(variances, SMALLEST * max(float(variances.max()), np.finfo(float).tiny)))
    unit = scale if axes is None else axes * scale
    z = _whitened(x, mean, unit)
    first = np.unique(z[np.linspace(0, len(z) - 1, int(np.clip(len(z) // 20, 1, CENTRES))).astype(int)], axis=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="One of the clusters is empty")
        centres, _ = kmeans2(z, first, minit="matrix", iter=20)
    return mean, unit, centres


def _whitened(x: Array, mean: Array, axes: Array) -> Array:
    return np.asarray((x - mean) * axes if axes.ndim == 1 else (x - mean) @ axes)


def _distances(x: Array, mean: Array, axes: Array, centres: Array) -> Array:
    from scipy.spatial import cKDTree

    return np.asarray(cKDTree(centres).query(_whitened(x, mean, axes))[0])


# --- What points are conditioned on: columns of numbers x beside the points theta, in p(theta | x) ------------------
#
#     c_j = T_j(x_j),    or 0, and 1 in a place of its own, where x_j is missing
#     e / sqrt(1 + e^2),    e = (end - prediction) / width    for both ends of some columns of theta
#
# T_j is the map of a column of numbers in a table (`motes.data.curves`): to mean 0 and standard deviation 1,
# and by a power, a logarithm or asinh first, where that makes the column clearly more normal; by asinh where its tails
# are heavy, too. The network sees no heavy tails. Moderate ones stay as they are: a spread of bent numbers is harder to
# learn. Where posteriors are narrow beside a uniform prior, the network is also conditioned on the distances from the
# predicted theta to both ends of the interval. Far from the ends a posterior keeps its shape; near one it is cut.


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
    curves: tuple[Transform, ...]
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
        curves: tuple[Transform, ...] = (Straight(0.0, 1.0),) * len(table.columns)
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
        from motes.data.natives import is_frame

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


def _curve_of(column: Array, counts: Array) -> Transform:
    x, places = np.unique(column, return_inverse=True)
    each = np.bincount(places, counts).astype(np.float64)
    straight = Straight(float(np.median(x)), float(np.ptp(x)) or 1.0)
    return standardised(fit_curve(x, each, tails=TAILS) if len(x) >= FEW else straight, x, each)
