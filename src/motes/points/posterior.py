"""Parts of posterior models: the observed columns, the prior, a linear regression and novelty detection.

In the units of the network, the prior has Gaussian and uniform columns:

    z ~ N(mean, covariance),    or independently z_j ~ U(low, high) + N(0, s^2 (high - low)^2)

A Gaussian prior is Gaussian in these units, and so is a log-normal prior with a lower bound. A uniform prior with both
bounds is uniform, with smooth edges (`motes.data.tables`).
"""

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data import Frame, Table, as_frame
from motes.data.arrays import Array, plain, rows_of
from motes.data.curves import CURVES, Straight, Transform, fit_curve, standardised
from motes.data.points import as_table, matrix_of
from motes.data.records import from_json, to_json
from motes.data.tables import shares
from motes.errors import DataError, UsageError, unknown
from motes.training.model import is_covariance, require

Interval = tuple[float, float]
Intervals = Sequence[Interval | None]  # one for each column

AWAY = 0.03  # Kolmogorov distance from which a column has another distribution
SURE = 1.95  # this distance times the square root of the rows, exceeded by chance in 1 of 1,000 cases
TOGETHER = 0.1  # correlation from which two columns are dependent
SURE_TOGETHER = 4.0  # this correlation times the square root of the rows, not exceeded by chance


@dataclass(frozen=True)
class Prior:
    """The prior of points, in the units of the network.

    Attributes:
        mean: (d,).
        covariance: (d, d).
        intervals: (low, high) of each column that is uniform and independent of the others; None for other columns.
        odd: names of the columns that are neither uniform nor Gaussian.
    """

    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    intervals: tuple[Interval | None, ...]
    odd: tuple[str, ...] = ()

    @classmethod
    def fit(
        cls, z: Array, columns: Sequence[str], weights: Array | None = None, intervals: Intervals | None = None
    ) -> "Prior":
        """Fit the prior to rows z (n, d) with sample `weights` (n,); None weights them equally.

        `intervals` are the bounds of the columns that have both (`Standardiser.intervals`).
        """
        share = np.full(len(z), 1 / len(z)) if weights is None else weights / weights.sum()
        mean = share @ z
        away = z - mean
        covariance = (away * share[:, None]).T @ away
        alone = _find_independent(covariance, share)
        found: list[Interval | None] = []
        odd = []
        for j, (name, ends) in enumerate(zip(columns, intervals or [None] * len(columns), strict=True)):
            uniform = ends is not None and alone[j] and not _is_different(z[:, j], share, ends)
            found.append(ends if uniform else None)
            if not uniform and _is_different(z[:, j], share):
                odd.append(name)
        return cls(tuple(mean.tolist()), tuple(map(tuple, covariance.tolist())), tuple(found), tuple(odd))

    @property
    def uniform(self) -> NDArray[np.bool_]:
        """True for each column that is uniform, (d,)."""
        return np.array([ends is not None for ends in self.intervals], bool)


def _is_different(column: Array, share: Array, ends: Interval | None = None) -> bool:
    """Test by Kolmogorov's distance if a column (n,) is not uniform between `ends`, or not Gaussian.

    `share` (n,) are the rows' weights, which sum to 1.
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


def _find_independent(covariance: Array, share: Array) -> NDArray[np.bool_]:
    """Return which columns have no significant correlation with any other, (d,); `share` (n,) are the rows' weights."""
    deviation = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(deviation, deviation) - np.eye(len(covariance))
    least = max(TOGETHER, SURE_TOGETHER * float(np.sqrt((share**2).sum())))
    return np.asarray((np.abs(correlation) < least).all(axis=1))


# --- Linear-regression preconditioner; a network learns the rest ----------------------------------------------------
#
#     z = c A + b + u L,    u with mean 0 and variance 1
#
# c A + b is the least-squares prediction of the points z from the context c, and L the symmetric square root of the
# residual covariance. L is diagonal in columns with a uniform prior, so that u also has a uniform prior there. A
# posterior may be 100 times as narrow as the prior; u has the scale of the posterior. If posteriors are Gaussian with a
# mean that is linear in c, nothing is left to learn.


RIDGES = 10.0 ** np.arange(9)  # in pseudo-rows with a typical context and points at 0
ROWS, COMPARED, NEIGHBOURS = 5000, 1000, 10  # rows used, rows compared, and neighbours of each
LEAST = 0.25  # rank correlation from which widths are predictable
SIGNIFICANT = 4.0  # rank correlation times the square root of the rows from which it is significant
NARROWEST = 1e-3  # lowest residual standard deviation, relative to that of the points


@dataclass(frozen=True, eq=False)
class Regression:
    """The linear regression z = c A + b + u L, and its inverse.

    Attributes:
        slope: A (c, d).
        offset: b (d,).
        residual_scale: L (d, d), symmetric.
    """

    slope: Array
    offset: Array
    residual_scale: Array

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Regression) and all(map(np.array_equal, vars(self).values(), vars(other).values()))

    @classmethod
    def fit(
        cls, z: Array, context: Array, weights: Array | None = None, alone: NDArray[np.bool_] | None = None
    ) -> tuple["Regression", Array]:
        """Fit the regression of rows z (n, d) on contexts (n, c) with sample `weights` (n,); return it with u (n, d).

        Columns that are `alone` (d,) are not mixed with others.

        The ridge has the smallest leave-one-out error. u (n, d) are the leave-one-out residuals: residuals of fitted
        rows are smaller than those of new rows, and posteriors learned from them would be too narrow.
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
        """Map z (..., n, d) to u (..., n, d), given the context (n, c)."""
        away = np.swapaxes(z - self.mean(context), -1, -2)
        return np.asarray(np.linalg.solve(self.residual_scale, away).swapaxes(-1, -2))

    def inverse(self, u: Array, context: Array) -> Array:
        """Map u (..., n, d) to z (..., n, d), given the context (n, c)."""
        return np.asarray(u @ self.residual_scale + self.mean(context))

    def mean(self, context: Array) -> Array:
        """Predict z, (n, d), from the first c numbers of the context, (n, at least c)."""
        return np.asarray(context[..., : len(self.slope)] @ self.slope + self.offset)

    @property
    def log_det(self) -> float:
        """The log-determinant log |du/dz|."""
        return -float(np.linalg.slogdet(self.residual_scale)[1])


def widths_are_predictable(left: Array, context: Array) -> bool:
    """Test if the context (n, c) predicts the size of the residuals `left` (n, d).

    It does if, in some column, a row's log absolute residual correlates with the mean over rows of similar context.
    """
    from scipy.spatial import cKDTree
    from scipy.stats import rankdata

    some = np.unique(np.linspace(0, len(left) - 1, ROWS).astype(int))
    compared = np.unique(np.linspace(0, len(some) - 1, COMPARED).astype(int))
    sizes, context = np.log(np.abs(left[some]) + NARROWEST), context[some]
    near = cKDTree(context).query(context[compared], min(NEIGHBOURS, len(some) - 1) + 1)[1][:, 1:]
    least = max(LEAST, SIGNIFICANT / np.sqrt(len(compared)))
    with np.errstate(invalid="ignore"):  # constant values predict nothing
        pairs = ((rankdata(size[near].mean(axis=1)), rankdata(size[compared])) for size in sizes.T)
        return any(np.corrcoef(*pair)[0, 1] > least for pair in pairs)


# --- Novelty detection: observations unlike the training rows -------------------------------------------------------
#
# For each column, and for all columns jointly:
#
#     column j        x_j is below the smallest or above the largest training value
#     all columns     d(x) = distance of (x - mean) W to the nearest of K centres,    W W^T = covariance^-1
#
# The centres come from k-means and are not training rows. d is compared with the distances of rows to centres fitted to
# other rows (five folds). A new row of the same distribution is called novel with a probability of at most about 1 %,
# half of it for the columns and half for the distance: by order statistics, which hold for any distribution, or, if
# there are too few rows for these, by an exponential tail beyond the most extreme row.


FALSE_ALARMS = 0.01  # probability that a new row of the training distribution is called novel
NOVELTY_ROWS, CENTRES, FOLDS = 5000, 64, 5  # limits of the joint distance; each centre needs at least 20 rows
WIDE = 100  # with more columns, each is scaled separately, since a covariance would dominate the model file
SMALLEST = 1e-6  # smallest variance in a direction, relative to the largest
ROUNDED = 1e-9  # relative tolerance for rounding
GUESS = "The model has not learned this region, so the samples are unreliable."


@dataclass(frozen=True, eq=False)
class NoveltyDetector:
    """A detector of rows unlike the training rows, in the units of `Context.mapped`.

    Attributes:
        rows: number of training rows.
        ends: the smallest and the largest value of each of c columns, (c, 2).
        tails: the scale of the exponential tail beyond each end, (c, 2).
        mean, axes: mean (p,) and whitening matrix W (p, p), or (p,) for many columns.
        centres: whitened centres (K, p).
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

    @classmethod
    def fit(cls, x: Array, observed: NDArray[np.bool_]) -> "NoveltyDetector":
        """Fit the detector to rows x (n, p), whose first c numbers are columns, `observed` (n, c) or not."""
        ends, tails = [], []
        for column, here in zip(x.T, observed.T, strict=False):
            known = column[here]
            ends.append((known.min(), known.max()))
            tails.append((_fit_tail(-known), _fit_tail(known)))
        some = x[np.unique(np.linspace(0, len(x) - 1, NOVELTY_ROWS).astype(int))]
        fold = np.arange(len(some)) % FOLDS
        parts = [_measure_distances(some[fold == k], *_fit_centres(some[fold != k])) for k in range(FOLDS)]
        apart = np.concatenate(parts)
        level, tail = FALSE_ALARMS / 2 * (len(apart) + 1), _fit_tail(apart)
        place = len(apart) - int(level)  # leaves the expected number of rows beyond the limit
        limit = np.sort(apart)[min(place, len(apart) - 1)] + (tail * np.log(1 / level) if level < 1 else 0.0)
        return cls(len(x), np.array(ends), np.array(tails), *_fit_centres(some), float(limit), tail)

    def beyond(self, x: Array, observed: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which columns of rows x (m, p) are outside the training range, wider if m rows are tested, (m, c)."""
        level = FALSE_ALARMS / 2 / (2 * len(self.ends)) / len(x) * (self.rows + 1)
        away = self.tails * max(-np.log(level), 0.0) + ROUNDED * np.abs(self.ends)
        low, high = (self.ends + away * [-1, 1]).T
        columns = x[:, : len(self.ends)]
        return np.asarray(observed & ((columns < low) | (columns > high)))

    def distances(self, x: Array) -> Array:
        """Return the distances of rows x (m, p) from the training rows, (m,); a row above 1 is novel."""
        limit = self.limit + self.tail * np.log(len(x))
        return np.asarray(_measure_distances(x, self.mean, self.axes, self.centres) / max(limit, ROUNDED))

    def describe(
        self, x: Array, rows: Array, names: Sequence[str], ends: Array, who: Callable[[int], str], source: str
    ) -> list[str]:
        """Return a sentence about columns of `rows` outside the training range, and one about all columns jointly.

        Args:
            x: rows in the units of the detector, (m, p).
            rows: the same rows in the data's units, (m, c), NaN if not observed.
            names: names of the c columns.
            ends: the smallest and the largest value of each column, in the data's units, (c, 2).
            who: returns the name of a row for messages.
            source: name of the rows compared with.
        """
        beyond = self.beyond(x, ~np.isnan(rows))
        sentences = []
        if len(columns := np.flatnonzero(beyond.any(axis=0))):
            j, *others = columns.tolist()
            (low, high), first = ends[j].tolist(), int(beyond[:, j].argmax())
            also = ", ".join(f"'{names[k]}'" for k in others[:3]) + (", ..." if len(others) > 3 else "")
            sentences.append(
                f"{who(first)} has '{names[j]}' = {rows[first, j]:.4g}, outside the range of {source}, {low:.4g} to "
                f"{high:.4g}" + (f"; so are values of {also} ({len(others)} more)" if others else "") + f". {GUESS}"
            )
        distances = np.where(beyond.any(axis=1), 0.0, self.distances(x))
        if distances.max() > 1:
            sentences.append(
                f"no row of {source} combines values like {who(int(distances.argmax()))}: its distance is "
                f"{distances.max():.2g} times the limit that 99.5 % of them stay within. {GUESS}"
            )
        return sentences


def _fit_tail(values: Array) -> float:
    """Return the scale of the exponential tail of values (n,), from the largest tenth, but at least ten of them."""
    largest = np.sort(values)[-max(len(values) // 10, 10) :]
    return float(largest.mean() - largest[0])


def _fit_centres(x: Array) -> tuple[Array, Array, Array]:
    """Return the mean, the whitening axes and the k-means centres of rows (n, p)."""
    from scipy.cluster.vq import kmeans2

    mean, away = x.mean(axis=0), x - x.mean(axis=0)
    if x.shape[1] > WIDE:
        variances, axes = (away**2).mean(axis=0), None
    else:
        variances, axes = np.linalg.eigh(away.T @ away / len(x))
    scale = 1 / np.sqrt(np.maximum(variances, SMALLEST * max(float(variances.max()), np.finfo(float).tiny)))
    unit = scale if axes is None else axes * scale
    z = _whiten(x, mean, unit)
    first = np.unique(z[np.linspace(0, len(z) - 1, int(np.clip(len(z) // 20, 1, CENTRES))).astype(int)], axis=0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="One of the clusters is empty")
        centres, _ = kmeans2(z, first, minit="matrix", iter=20)
    return mean, unit, centres


def _whiten(x: Array, mean: Array, axes: Array) -> Array:
    return np.asarray((x - mean) * axes if axes.ndim == 1 else (x - mean) @ axes)


def _measure_distances(x: Array, mean: Array, axes: Array, centres: Array) -> Array:
    from scipy.spatial import cKDTree

    return np.asarray(cKDTree(centres).query(_whiten(x, mean, axes))[0])


# --- Observed columns: the numbers x on which the points theta are conditioned in p(theta | x) ----------------------
#
#     c_j = T_j(x_j),    or 0 if x_j is missing, with an indicator of missing entries
#     e / sqrt(1 + e^2),    e = (end - prediction) / width    for both ends of some columns of theta
#
# T_j is the transform of a number column in a table (`motes.data.curves`): to mean 0 and standard deviation 1, after a
# power, a logarithm or asinh if that makes the column clearly more Gaussian; also after asinh if its tails are heavy,
# so that the network's inputs have no heavy tails. Moderate tails are not changed, since the scale of transformed
# numbers is harder to learn. If posteriors are narrow compared with a uniform prior, the network is also conditioned on
# the distances from the predicted theta to both ends of the interval, since a posterior near an end is truncated.


FEW = 20  # smallest number of distinct values for which a transform is fitted
TAILS = 0.2  # gain in nats per row required for asinh: a Laplace distribution gains 0.08, Student's t_3 0.32
NARROW = 0.25  # residual width relative to the prior's; at 0.4, conditioning on the ends does more harm than good
NAME = "given"


@dataclass(frozen=True)
class Context:
    """The columns that points are conditioned on.

    Attributes:
        columns: names of the c columns.
        curves: the transform of each column.
        prior: the prior of the points.
        has_missing: whether each column has missing entries in the training rows; observations may then have them too.
        regression: regression of the points on the columns, whose residuals the network learns; None: no regression.
        edges: indices of the point columns whose bounds the network is conditioned on.
        novelty: detector of observations unlike the training rows; None: no detector.
    """

    columns: tuple[str, ...]
    curves: tuple[Transform, ...]
    prior: Prior
    has_missing: tuple[bool, ...]
    regression: Regression | None = None
    edges: tuple[int, ...] = ()
    novelty: NoveltyDetector | None = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def inputs(self) -> int:
        """Number of inputs of the network: one per column, one more if it has missing entries, two per edge column."""
        return len(self) + sum(self.has_missing) + 2 * len(self.edges)

    @classmethod
    def fit(cls, table: Table, prior: Prior, weights: Array | None = None, *, standardise: bool = True) -> "Context":
        """Fit the transforms of the columns of `table`, with sample `weights` (n,)."""
        missing = np.isnan(table.x)
        has_missing = tuple(bool(column.any()) for column in missing.T)
        curves: tuple[Transform, ...] = (Straight(0.0, 1.0),) * len(table.columns)
        if standardise:
            counts = np.ones(len(table)) if weights is None else weights
            curves = tuple(_fit_transform(x[~out], counts[~out]) for x, out in zip(table.x.T, missing.T, strict=True))
        found = cls(table.columns, curves, prior, has_missing)
        return replace(found, novelty=NoveltyDetector.fit(found.mapped(table.x), ~missing))

    def with_regression(self, regression: Regression) -> "Context":
        """Return a copy with a regression of the points on these columns, and with the edge columns it implies."""
        deviation = np.sqrt(np.diag(np.array(self.prior.covariance)))
        narrow = self.prior.uniform & (np.diag(regression.residual_scale) < NARROW * deviation)
        return replace(self, regression=regression, edges=tuple(np.flatnonzero(narrow).tolist()))

    def predicts_widths(self, left: ArrayLike, context: ArrayLike | None) -> bool:
        """Test if the network's inputs (n, inputs) predict the size of the regression's residuals `left` (n, d)."""
        if self.regression is None or context is None:
            return False
        known, left = np.asarray(context, np.float64)[:, : len(self.regression.slope)], np.asarray(left, np.float64)
        # A width may belong to one direction, and a column may combine several directions.
        directions = np.linalg.eigh(self.regression.residual_scale)[1]
        return widths_are_predictable(np.hstack([left, left @ directions]), known)

    def subtract_prediction(self, z: Array, context: Array) -> Array:
        """Map points z (..., n, d) to the regression's residuals, given the network's inputs (n, inputs)."""
        return z if self.regression is None else self.regression.forward(z, context)

    def add_prediction(self, u: Array, context: Array) -> Array:
        """Map residuals back to points: the inverse of `subtract_prediction`."""
        return u if self.regression is None else self.regression.inverse(u, context)

    @property
    def log_det(self) -> float:
        """log |du / dz| of `subtract_prediction`."""
        return 0.0 if self.regression is None else self.regression.log_det

    def forward(self, rows: Array) -> Array:
        """Map rows in data units (n, c) to the network's inputs (n, inputs)."""
        return self.with_ends(self.mapped(rows))

    def mapped(self, rows: Array) -> Array:
        """Map rows in data units (n, c) to the regression's inputs: transformed columns and missing indicators."""
        missing = np.isnan(rows)
        known = np.where(missing, 0.0, rows)
        with np.errstate(invalid="ignore", divide="ignore"):  # 0 may be outside the transform's domain
            mapped = np.stack([one.forward(column) for one, column in zip(self.curves, known.T, strict=True)], axis=1)
        return np.concatenate([np.where(missing, 0.0, mapped), missing[:, np.array(self.has_missing)]], axis=1)

    def with_ends(self, numbers: Array) -> Array:
        """Append the distances from the prediction to the ends of `edges` to the result of `mapped`: (n, inputs)."""
        if self.regression is None:
            return numbers
        predicted, width = self.regression.mean(numbers), np.diag(self.regression.residual_scale)
        made = [numbers]
        for j in self.edges:
            away = (np.array(self.prior.intervals[j]) - predicted[:, j, None]) / width[j]
            made.append(away / np.sqrt(1 + away**2))
        return np.concatenate(made, axis=1)

    def rows(self, given: Any) -> tuple[Array, bool]:
        """Convert observations to rows (m, c) in the data's units, and return whether it is a single observation.

        Args:
            given: one observation, (c,) or a mapping column -> number; or m observations, (m, c) or a table of m rows.

        Raises:
            UsageError: no observation, other columns, or another number of columns.
            DataError: an entry that is not a finite number, or is missing (NaN, None) in a column that was complete in
                the training. The message names the row and the column.
        """
        if given is None or (isinstance(given, Mapping) and not given):
            raise UsageError(
                f"this model is conditioned on {', '.join(self.columns)}; got no observation. Pass one: "
                f"given={self._example}, on the command line --given {self.columns[0]}=0.5."
            )
        from motes.data.natives import is_frame

        given = plain(given, NAME)
        if isinstance(given, Frame) or is_frame(given):
            return self._read_frame(as_frame(given, name=NAME)), False
        if hasattr(given, "keys"):  # a mapping, or one row of a data frame
            entries = {str(name): given[name] for name in given.keys()}  # noqa: SIM118 - a pandas row iterates values
            one = all(np.ndim(value) == 0 for value in entries.values())
            columns = {name: [value] if one else value for name, value in entries.items()}
            return self._read_frame(as_frame(columns, name=NAME)), one
        try:
            numbers = np.asarray(given, np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"{NAME} contains something that is not a number ({error}). Expected numbers.") from None
        one = numbers.ndim < 2
        rows = numbers.reshape(1, -1) if one else numbers
        if rows.ndim != 2 or rows.shape[1] != len(self) or not len(rows):
            raise UsageError(
                f"{NAME} has shape {numbers.shape}; expected ({len(self)},) for one observation of "
                f"{', '.join(self.columns)}, or (m, {len(self)}) for m of them, such as {self._example}."
            )
        return self._check_finite(rows), one

    def novel(self, rows: Array) -> list[str]:
        """Describe how observations (m, c) are unlike the training rows: in a column, or in all columns jointly.

        The false alarm rate is 1 % for any number of observations.
        """
        if self.novelty is None:
            return []
        ends = np.array([one.inverse(two) for one, two in zip(self.curves, self.novelty.ends, strict=True)])
        who = lambda row: "the observation" if len(rows) == 1 else f"row {row + 1} of the observations"
        return self.novelty.describe(self.mapped(rows), rows, self.columns, ends, who, "the training data")

    def to_state(self) -> tuple[str, dict[str, Array]]:
        """Convert to JSON and named arrays."""
        arrays: dict[str, Array] = {}
        return json.dumps(to_json(self, arrays)), arrays

    @classmethod
    def from_state(cls, text: str, arrays: Mapping[str, Array]) -> "Context":
        """Rebuild from the result of `to_state`.

        Raises:
            KeyError, TypeError, ValueError: invalid input.
        """
        classes = CURVES | {one.__name__: one for one in (Context, Prior, Regression, NoveltyDetector)}
        plain = json.loads(text)
        found = from_json(plain, arrays, classes) if "type" in plain else None
        if not isinstance(found, Context):
            raise ValueError("its conditions are damaged, or of an earlier version of motes. Train it again.")
        return found

    def check(self, columns: Sequence[str], d: int) -> None:
        """Check that a context from a file fits points with these columns, d of which vary.

        Raises:
            ValueError: it does not; the message names the first fault.
        """
        names = self.columns
        require(0 < len(self) == len({*names}) and not {*names} & {*columns}, "the columns that it is given")
        alike = len(self.curves) == len(self.has_missing) == len(self)
        require(alike, "what it knows of the columns that it is given")
        prior = self.prior
        covariance = np.array(prior.covariance)
        require(len(prior.mean) == len(prior.intervals) == d and covariance.shape == (d, d), "the prior of its points")
        require(all(ends is None or ends[0] < ends[1] for ends in prior.intervals), "the intervals of its prior")
        require(is_covariance(covariance), "the covariance of its prior")
        require(all(0 <= edge < d and prior.intervals[edge] is not None for edge in self.edges), "its edges")
        known = len(self) + sum(self.has_missing)
        if (regression := self.regression) is not None:
            shapes = [part.shape for part in (regression.slope, regression.offset, regression.residual_scale)]
            require(shapes == [(known, d), (d,), (d, d)], "the shapes of its regression")
            finite = all(np.isfinite(part).all() for part in vars(regression).values())
            require(finite and is_covariance(regression.residual_scale), "the numbers of its regression")
        if (novelty := self.novelty) is not None:
            ends = novelty.ends.shape == novelty.tails.shape == (len(self), 2)
            axes = novelty.mean.shape == (known,) and novelty.axes.shape in ((known,), (known, known))
            centres = novelty.centres.ndim == 2 and novelty.centres.shape[1] == known and len(novelty.centres) > 0
            require(ends and axes and centres and novelty.rows > 0, "the shapes of its novelty detector")
            arrays = (novelty.ends, novelty.tails, novelty.mean, novelty.axes, novelty.centres)
            require(all(bool(np.isfinite(part).all()) for part in arrays), "the numbers of its novelty detector")

    @property
    def _example(self) -> str:
        entries = ", ".join(f"'{name}': 0.5" for name in self.columns[:2])
        return f"{{{entries}{', ...' if len(self) > 2 else ''}}}"

    def _read_frame(self, frame: Frame) -> Array:
        for name in frame.names:
            if name not in self.columns:
                raise UsageError(f"{NAME}: {unknown('observed column', name, self.columns)}")
        lacking = [name for name in self.columns if name not in frame.names]
        if lacking:
            raise UsageError(
                f"{NAME} has no '{lacking[0]}'; expected all of {', '.join(self.columns)}. Add this column."
            )
        return self._check_finite(matrix_of(self.columns, frame, NAME))

    def _check_finite(self, rows: Array) -> Array:
        bad = np.argwhere(np.isinf(rows) | (np.isnan(rows) & ~np.array(self.has_missing)))
        if len(bad):
            i, j = bad[0]
            more = ", as in all training rows" if np.isnan(rows[i, j]) else ""
            raise DataError(
                f"{NAME}, row {i + 1}, column '{self.columns[j]}': got {rows[i, j]}; expected a finite number{more}. "
                "Leave out such rows, or fill them in first."
            )
        return rows


def context_table(given: Any, n: int, points: Sequence[str]) -> Table:
    """Convert rows to condition on, one for each of `n` points, to numbers with named columns.

    Args:
        given: an array (n, c) or (n,), a dict of columns, a data frame or a `Table`; missing entries are NaN.
        n: number of points.
        points: column names of the points.

    Raises:
        DataError: entries that are neither finite numbers nor missing, another number of rows, a constant column, or a
            column with the same name as a column of the points.
    """
    given, names = plain(given, NAME), None
    if isinstance(given, np.ndarray | list | tuple):
        rows = rows_of(given, NAME)
        given = rows[:, None] if rows.ndim == 1 else rows
        names = _make_names(given)
    table = as_table(given, names, name=NAME, missing=True)
    if len(table) != n:
        raise DataError(f"{NAME} has {len(table)} rows, but there are {n} points; expected one row for each point.")
    both = [name for name in table.columns if name in points]
    if both:
        raise DataError(f"the points and {NAME} both have a column '{both[0]}'; expected different names. Rename one.")
    return table


def _make_names(rows: ArrayLike) -> list[str]:
    return [f"{NAME}{j}" for j in range(np.shape(rows)[1] if np.ndim(rows) == 2 else 0)]


def _fit_transform(column: Array, counts: Array) -> Transform:
    x, places = np.unique(column, return_inverse=True)
    each = np.bincount(places, counts).astype(np.float64)
    straight = Straight(float(np.median(x)), float(np.ptp(x)) or 1.0)
    return standardised(fit_curve(x, each, tails=TAILS) if len(x) >= FEW else straight, x, each)
