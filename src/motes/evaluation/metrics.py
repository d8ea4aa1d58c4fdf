"""Metrics of two samples of points. Each is a class registered by name; you can register your own.

A metric is a function of two sets of points. Its test computes it again for every permutation of rows between the sets
(`motes.evaluation.points`). The built-in metrics have formulas for their intervals and fast code for the permutations.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.errors import UsageError
from motes.evaluation.pairs import BLOCKS, FOLDS, Modes, Pair, p_value_of
from motes.evaluation.results import Array, Metric, Row, Scale, Worse, Z, around, mean_of, root, share
from motes.interrupts import uninterrupted

RESAMPLES = 50
STREAM = 100  # the stream of `Pair.rng` for resamples; the built-in metrics use lower numbers

M = TypeVar("M", bound="type[PointMetric]")


class Measure:
    """A quantity compared with its reference value, and the words for a difference.

    Attributes:
        name: the name it is registered under.
        about: a phrase that says what it measures.
        section: section of the evaluation: "distances", "tests", "coverage", "modes" or "fit".
        worse: which values indicate a difference: "high", "low" or "both".
        small, large: a difference from the reference value is small below `small`, and large from `large` on.
        seen: what its test could detect, with {} for a number of `digits` digits; "" if unknown.
        words: a difference in words, with {0} for the value and {1} for the reference value.
        below: the words for a value below the range of chance, if they differ.
        scale: "root" if the test uses its square, "square" if it is a square itself.
        origin: its value if there is no difference; `seen` counts from it.
        possible: the range of its possible values.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    section: ClassVar[str] = "tests"
    worse: ClassVar[Worse] = "high"
    small: ClassVar[float] = 0.05
    large: ClassVar[float] = 0.2
    seen: ClassVar[str] = "a difference of {}"
    digits: ClassVar[int] = 2
    words: ClassVar[str] = "{0:.3g} (real draw: {1:.3g})"
    below: ClassVar[str] = ""
    scale: ClassVar[Scale] = "plain"
    origin: ClassVar[float] = 0.0
    possible: ClassVar[tuple[float, float]] = (-np.inf, np.inf)

    def in_words(self, value: float, reference: float) -> str:
        """Describe a difference in words.

        Example:
            >>> from motes.evaluation.metrics import METRICS
            >>> METRICS["modes_missed"].in_words(3.0, 0.0)
            'modes without a sample: 3'
        """
        return self.words.format(value, reference)

    def size(self, value: float, reference: float, columns: int) -> float:
        """Return the size of a difference, for `small` and `large`; a difference in nats is divided by `columns`.

        Example:
            >>> from motes.evaluation.metrics import METRICS
            >>> METRICS["c2st"].size(0.75, 0.5, columns=2)
            0.25
        """
        return abs(value - reference)


@dataclass(frozen=True)
class PointMetric(Measure, abc.ABC):
    """Base class of metrics of points. Register a subclass with `@motes.register("metric", "a_name")`.

    Attributes:
        about: a phrase that says what it measures.
        section: section of the evaluation: "distances", "tests", "coverage" or "modes".
        worse: which values indicate a difference: "high", "low" or "both".
        small, large: a difference from the reference value is small below `small`, and large from `large` on.
        seen: what its test could detect, with {} for a number.
        words: a difference in words, with {0} for the value and {1} for the reference value.
        quick: whether a quick evaluation includes it.

    Example:
        >>> from dataclasses import dataclass
        >>> from motes.evaluation import PointMetric
        >>> @motes.register("metric", "mean_gap")
        ... @dataclass(frozen=True)
        ... class MeanGap(PointMetric):
        ...     about = "distance of the means, in standard deviations of the data"
        ...     def __call__(self, a, b):
        ...         return float(np.linalg.norm(a.mean(axis=0) - b.mean(axis=0)))
        >>> made, real, *others = (motes.make_shape("moons", 100, seed=seed) for seed in range(4))
        >>> row = motes.compare(made + 1.0, real, *others)[-1]
        >>> row.metric.name, row.metric > row.reference
        ('mean_gap', True)
    """

    quick: ClassVar[bool] = False
    alone: ClassVar[bool] = False  # it has its own p-value and needs no permutations
    of_modes: ClassVar[bool] = False  # it is computed only if the modes are known

    @abc.abstractmethod
    def __call__(self, a: Array, b: Array) -> float:
        """Return the value for points `a` (n, d) and real `b` (m, d), each column in standard deviations of `b`.

        Example:
            >>> from motes.evaluation import PointMetric
            >>> class Gap(PointMetric):
            ...     about = "distance of the means"
            ...     def __call__(self, a, b):
            ...         return float(np.linalg.norm(a.mean(axis=0) - b.mean(axis=0)))
            >>> Gap()(np.zeros((3, 2)), np.ones((3, 2))).__round__(3)
            1.414
        """

    def measured(self, pair: Pair) -> Metric:
        """Return the value with a Gaussian interval, its standard error from the bootstrap (Efron 1979).

        Example:
            >>> from motes.evaluation.metrics import METRICS
            >>> from motes.evaluation.pairs import Pair
            >>> METRICS["sliced_w2"].measured(Pair.of([[0.0], [2.0]], [[1.0], [3.0]])).value
            1.0
        """
        rng, (a, b) = pair.rng(STREAM), pair.scaled
        resamples = [(rng.integers(len(a), size=len(a)), rng.integers(len(b), size=len(b))) for _ in range(RESAMPLES)]
        value = self._value(a, b)
        spread = float(np.std([self._value(a[i], b[j]) for i, j in resamples], ddof=1))
        return around(self.name, value, Z * spread)

    def exchanged(self, pair: Pair) -> Array:
        """Return the values of all permutations (1 + p,), the observed one first; squares unless `scale` is "plain".

        Example:
            >>> from motes.evaluation.metrics import METRICS
            >>> from motes.evaluation.pairs import Pair
            >>> pair = Pair.of(motes.make_shape("moons", 50), motes.make_shape("moons", 50, seed=1))
            >>> METRICS["precision"].exchanged(pair).shape
            (200,)
        """
        x = np.concatenate(pair.scaled)
        return np.array([self._value(x[mine], x[~mine]) for mine in pair.permutations.rows])

    def _value(self, a: Array, b: Array) -> float:
        value = self(a, b)
        if not np.ndim(value) == 0 or not np.isfinite(value):
            raise UsageError(
                f"got {value} from the metric '{self.name}'; expected a finite number. Correct its __call__."
            )
        return float(value)


METRICS: dict[str, PointMetric] = {}  # by name, in the order of every table; your own metrics come last


def metric(name: str) -> Callable[[M], M]:
    """Return a class decorator that adds a metric to evaluations under this name; `motes.register` calls it."""

    def add(cls: M) -> M:
        cls.name = name
        METRICS[name] = cls()
        return cls

    return add


def metrics_for(pair: Pair, brief: bool = False) -> list[PointMetric]:
    """Return the metrics that apply to the pair; with `brief`, only the quick ones."""
    known = [one for one in METRICS.values() if pair.modes is not None or not one.of_modes]
    return [one for one in known if one.quick or not brief]


class _FastMetric(PointMetric):
    """Base class of metrics with their own interval formula and fast permutations."""

    def __call__(self, a: Array, b: Array) -> float:
        return float(self.measured(Pair.of(a, b)))


class _OneOfSeveral(_FastMetric):
    """Base class of metrics that are computed together: `compute` and `permute` return the values of all `names`."""

    names: ClassVar[tuple[str, ...]]
    compute: ClassVar[Any]  # pair -> the metrics
    permute: ClassVar[Any]  # pair -> their values of all permutations

    def measured(self, pair: Pair) -> Metric:
        found: Metric = pair.once(self.compute)[self.names.index(self.name)]
        return found

    def exchanged(self, pair: Pair) -> Array:
        return np.asarray(pair.once(self.permute)[self.names.index(self.name)])


class _MeasuredByPermutation(_FastMetric):
    """Base class of metrics whose value is computed together with all permutations."""

    compute: ClassVar[Any]  # pair -> the metric, and its values of all permutations

    def measured(self, pair: Pair) -> Metric:
        found: Metric = pair.once(self.compute)[0]
        return found

    def exchanged(self, pair: Pair) -> Array:
        return np.asarray(pair.once(self.compute)[1])


# --- The sliced Wasserstein distance --------------------------------------------------------------------------------
#
# SW2^2(a, b) = mean over directions u of W2^2(a u, b u),    W2^2(p, q) = integral of (F_p^-1 - F_q^-1)^2
#
# It is divided by the reference's standard deviation. Its interval follows from the dual problem: to first order W2^2
# varies with its sample like the mean of a potential over the rows (del Barrio & Loubes 2019). That holds for
# distributions that differ; near 0 the value is mostly the distance between any two samples, as the reference value
# shows.


DIRECTIONS = 200
TESTED = 12  # the permutations use every 12th direction


def sliced_w2(a: ArrayLike, b: ArrayLike, *, directions: int = DIRECTIONS, seed: int = 0) -> Metric:
    """Return the sliced 2-Wasserstein distance divided by the standard deviation of `b`; 0 for equal sets.

    Args:
        a, b: points (n, d) and (m, d). The scale is the square root of the mean variance of the columns of `b`.
        directions: number of directions; evenly spread over the half circle for d = 2, random for d > 2.
        seed: seed of the random directions.

    Raises:
        ValueError: arrays that are not (n, d) and (m, d) with finite entries, or a `b` whose rows are all equal.

    Example:
        >>> a, b = motes.make_shape("moons", 500), motes.make_shape("moons", 500, seed=1)
        >>> motes.sliced_w2(a, a), motes.sliced_w2(a + 1.0, b) > motes.sliced_w2(a, b)
        (Metric(name='sliced_w2', value=0.0, low=0.0, high=0.0, p_value=None), True)
    """
    return _sliced_w2(Pair.of(a, b, seed), directions)


def _sliced_w2(pair: Pair, directions: int = DIRECTIONS) -> Metric:
    a, b, scale = pair.a, pair.b, pair.scale
    if directions < 1:
        raise ValueError(f"directions = {directions}; expected at least 1.")
    axes = directions_in(a.shape[1], directions, pair.rng_for_any_points(1))
    squares, f, g = np.zeros(axes.shape[1]), np.zeros(len(a)), np.zeros(len(b))
    for k, u in enumerate(axes.T):
        squares[k], f_u, g_u = _transport_1d(a @ u, b @ u)
        f += f_u
        g += g_u
    f, g, ratio = f / len(squares), g / len(squares), float(squares.mean()) / scale
    # The scale is random too: it varies like the mean over rows of b of the squared distance from their centre.
    g = g - ratio * ((b - b.mean(axis=0)) ** 2).mean(axis=1)
    half = Z * float(np.sqrt(f.var() / len(f) + g.var() / len(g))) / scale
    return root("sliced_w2", ratio, ratio - half, ratio + half)


def sliced_w2_value(a: ArrayLike, b: ArrayLike, *, directions: int = DIRECTIONS) -> float:
    """Return the value of `sliced_w2` without its interval, for two sets of equal size (n, d): fast, for animations.

    Raises:
        ValueError: as for `sliced_w2`, or sets of different sizes.
    """
    pair = Pair.of(a, b)
    if len(pair.a) != len(pair.b):
        raise ValueError(f"got {len(pair.a)} and {len(pair.b)} points; expected equal numbers. Use sliced_w2.")
    axes = directions_in(pair.a.shape[1], directions, pair.rng_for_any_points(1))
    p, q = (np.sort(axes.T @ x.T, axis=1) for x in (pair.a, pair.b))  # (directions, n)
    return float(np.sqrt(np.mean((p - q) ** 2) / pair.scale))


@metric("sliced_w2")
class _SlicedW2(_FastMetric):
    about = "sliced 2-Wasserstein distance, in standard deviations of the data"
    section = "distances"
    quick = True
    scale = "root"
    possible = (0.0, np.inf)
    seen = "a difference of {} standard deviations"

    def in_words(self, value: float, reference: float) -> str:
        return f"{value / reference:.2g} times as far as a real draw" if reference > 0 else "farther than a real draw"

    def measured(self, pair: Pair) -> Metric:
        return _sliced_w2(pair)

    def exchanged(self, pair: Pair) -> Array:
        """Return the squared distances of all permutations, averaged over every 12th direction."""
        x, first = np.concatenate([pair.a, pair.b]), pair.permutations.rows
        axes = directions_in(x.shape[1], DIRECTIONS, pair.rng_for_any_points(1))[:, ::TESTED]
        n, m = len(pair.a), len(pair.b)
        i, j, width = _match_ranks(n, m)
        squares = np.zeros(len(first))
        for u in axes.T:
            p = x @ u
            rank = np.argsort(p, kind="stable")
            p = p[rank]
            for k, mine in enumerate(np.ascontiguousarray(first.T[rank].T)):
                ours, theirs = p.compress(mine), p.compress(~mine)
                gap = ours - theirs if n == m else ours[i] - theirs[j]  # the first is much faster
                squares[k] += gap @ gap / n if n == m else gap @ (width * gap)
        return np.asarray(squares / axes.shape[1] / pair.scale)


def directions_in(dim: int, count: int, rng: np.random.Generator) -> Array:
    """Return unit vectors (dim, count): spread over the half circle for dim = 2, random above, one for dim = 1."""
    if dim == 1:
        return np.ones((1, 1))
    if dim == 2:
        angle = np.pi * (np.arange(count) + 0.5) / count
        return np.stack([np.cos(angle), np.sin(angle)])
    axes = rng.standard_normal((dim, count))
    return axes / np.linalg.norm(axes, axis=0)


def _transport_1d(p: Array, q: Array) -> tuple[float, Array, Array]:
    """Return W2^2 of two sets on a line, and the potentials at p and at q, up to a constant."""
    # The best transport matches quantiles; both quantile functions are steps, so the integral is a sum.
    rank_p, rank_q = np.argsort(p, kind="stable"), np.argsort(q, kind="stable")
    p, q = p[rank_p], q[rank_q]
    i, j, width = _match_ranks(len(p), len(q))
    gap = p[i] - q[j]
    square = float(np.sum(width * gap**2))
    away_p = np.asarray(np.bincount(i, width * gap) * len(p), dtype=np.float64)  # mean over each row's share
    away_q = np.asarray(np.bincount(j, width * gap) * -len(q), dtype=np.float64)
    f, g = np.zeros(len(p)), np.zeros(len(q))
    f[rank_p[1:]] = np.cumsum(np.diff(p) * (away_p[1:] + away_p[:-1]))  # f' = 2 (x - T(x)), by trapezia
    g[rank_q[1:]] = np.cumsum(np.diff(q) * (away_q[1:] + away_q[:-1]))
    return square, f, g


def _match_ranks(n: int, m: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Array]:
    """Return the matching of n and m ranked rows: indices of both, and the probability that each match carries."""
    if n == m:
        return np.arange(n), np.arange(n), np.full(n, 1 / n)
    edges = np.union1d(np.arange(n + 1) / n, np.arange(m + 1) / m)
    middle, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    return (middle * n).astype(np.intp), (middle * m).astype(np.intp), width


# --- Energy distance and maximum mean discrepancy -------------------------------------------------------------------
#
# D^2 = E k(a, a') + E k(b, b') - 2 E k(a, b)
#
# with k(x, y) = -|x - y| this is the energy distance (Székely & Rizzo 2013), with Gaussian kernels the maximum mean
# discrepancy (Gretton et al. 2012, eq. 3); both share one theory (Sejdinovic et al. 2013). It is 0 only for equal
# distributions. Every column is divided by the reference's standard deviation first.


Blocks = NDArray[np.intp]
Kernel = Callable[[Array], Array]  # squared distances -> k, both of any shape

KERNEL_ROWS = 10_000  # all pairs of these are compared
MEDIAN_ROWS = 1000
UNIT_ROWS = 500
WIDTHS = 5  # number of Gaussian kernels; their widths are 1/4, 1/2, 1, 2, 4 times the median


def energy_distance(a: ArrayLike, b: ArrayLike, *, seed: int = 0) -> Metric:
    """Return the energy distance sqrt(2 E|a - b| - E|a - a'| - E|b - b'|), as SciPy does for d = 1, and test equality.

    Args:
        a, b: points (n, d) and (m, d), at least 2 of each; columns are divided by their standard deviation in `b`.
        seed: seed of the permutations for the p-value, and of the choice of 10,000 rows of a larger set.

    Returns:
        The value includes each row's distance 0 to itself, as in SciPy, and so is above 0 for two real draws.
        The interval extends down to the one of the unbiased square.

    Raises:
        ValueError: arrays that are not (n, d) and (m, d) with finite entries, or a single row.

    Example:
        >>> from motes.evaluation import energy_distance
        >>> a, b = motes.make_shape("moons", 200), motes.make_shape("moons", 200, seed=1)
        >>> energy_distance(a + 1.0, b) > energy_distance(a, b)
        True
    """
    return METRICS["energy_distance"].measured(Pair.of(a, b, seed))


def mmd_squared(a: ArrayLike, b: ArrayLike, *, seed: int = 0) -> Metric:
    """Return the unbiased squared maximum mean discrepancy: its mean is 0 for equal distributions; it can be below 0.

    The kernel is the mean of five Gaussians, exp(-|x - y|^2 / (2 w^2)), whose widths w are 1/4, 1/2, 1, 2 and 4 times
    the median distance between rows of `b` (at most 1000 rows), so that the kernel depends on the reference alone.
    The interval treats the kernel as fixed. Over draws of `b`, which change the kernel, its coverage falls with the
    distance between the distributions (measured with n = 150: 97 % at 0, 92 % near, 85 % far).

    Args, raises: as for `energy_distance`.

    Example:
        >>> from motes.evaluation import mmd_squared
        >>> a, b = motes.make_shape("moons", 200), motes.make_shape("moons", 200, seed=1)
        >>> mmd_squared(a + 1.0, b) > mmd_squared(a, b)
        True
    """
    return METRICS["mmd_squared"].measured(Pair.of(a, b, seed))


def gaussians(median: float) -> Kernel:
    """Return the mean of Gaussian kernels with widths 1/4, 1/2, 1, 2 and 4 times `median`."""

    def kernel(squares: Array) -> Array:
        # Halving the width raises the kernel to the fourth power, so one exponential is enough, for the widest.
        k = np.exp(squares * (-0.5 / (4 * median) ** 2))
        total = k.copy()
        for _ in range(WIDTHS - 1):
            k *= k
            k *= k
            total += k
        total /= WIDTHS
        return total

    return kernel


def _minus_distance(squares: Array) -> Array:
    return -np.sqrt(squares)


def _median(pair: Pair) -> float:
    from scipy.spatial.distance import pdist

    b = pair.scaled[1]
    b = b if len(b) <= MEDIAN_ROWS else b[pair.rng(2).permutation(len(b))[:MEDIAN_ROWS]]
    distances = pdist(b)
    return float(np.median(distances)) or float(distances.mean()) or 1.0  # many equal rows; all equal


def _compare_kernels(pair: Pair, *, energy: bool) -> tuple[Metric, Array]:
    """Return the energy distance or MMD, and the biased D^2 of all permutations (1 + p,).

    It uses at most 10,000 permuted rows and as many others of each set.
    """
    block, fold, (a, b) = pair.permutations.block, pair.permutations.fold, pair.scaled
    first, order = pair.permutations.first.astype(np.float64), np.lexsort((pair.rng(13).random(len(block)), block))
    place = np.arange(len(order)) - np.searchsorted(block[order], block[order])  # of each row in its block
    order = order[place < np.where(fold[block[order]] < 0, KERNEL_ROWS, KERNEL_ROWS // BLOCKS)]
    mine, theirs = order[order < len(a)], order[order >= len(a)]
    a, b, (n, m) = a[mine], b[theirs - len(a)], (len(mine), len(theirs))
    if min(n, m) < 2:
        raise ValueError(f"sets of {n} and {m} rows; expected at least 2 of each, to compare rows within a set.")
    kernel = _minus_distance if energy else gaussians(_median(pair))
    aa, ab, bb, ba, permuted = _means(a, b, (block[mine], block[theirs]), first, kernel)
    within_a, within_b, between = float(aa.mean()), float(bb.mean()), float(ab.mean())
    # To first order D^2 varies like twice the mean over rows of these (Hoeffding). Near 0, the second order matters,
    # and their noise overstates the variance by a factor up to 2, so the interval is conservative.
    of_b = bb - ba + (_influence_on_units(pair, b) / 2 if energy else 0)
    half = Z * float(np.sqrt(4 * (aa - ab).var(ddof=1) / n + 4 * of_b.var(ddof=1) / m))
    p_value = p_value_of(permuted, 1e-12 * (abs(within_a) + abs(within_b)))
    square = within_a + within_b - 2 * between  # unbiased: without the distance 0 of each row to itself
    if not energy:
        return Metric("mmd_squared", square, square - half, square + half, p_value), permuted
    biased = square - within_a / n - within_b / m
    return root("energy_distance", biased, square - half, biased + half, p_value), permuted


def _influence_on_units(pair: Pair, b: Array) -> Array:
    """Return the influence of each row of `b` on the squared energy distance through the column units, (m,).

    A row changes log s_c, the log of the unit of column c, by (b_c^2 - 1) / 2, and |z| changes by z_c^2 / |z| per unit
    of log s_c. Gaussian kernels, whose widths follow the units of `b`, have no such term: their interval treats the
    kernel as fixed.
    """
    from scipy.spatial.distance import cdist

    rng, slope = pair.rng(10), np.zeros(b.shape[1])
    x, y = (points[rng.permutation(len(points))[:UNIT_ROWS]] for points in pair.scaled)
    for p, q, sign in ((x, x, 1), (y, y, 1), (x, y, -2)):
        distance = cdist(p, q)
        weight = np.divide(1, distance, out=np.zeros_like(distance), where=distance > 0)
        total = weight.sum(axis=1) @ p**2 + weight.sum(axis=0) @ q**2 - 2 * np.sum(p * (weight @ q), axis=0)
        slope += sign * total / (len(p) * (len(q) - (p is q)))
    return (b**2 - 1) @ slope / 2


def _means(
    a: Array, b: Array, blocks: tuple[Blocks, Blocks], first: Array, kernel: Kernel
) -> tuple[Array, Array, Array, Array, Array]:
    """Return mean kernel values and permuted statistics.

    For rows of a: the mean k to the other rows of a, and to all of b. For rows of b: to the other rows of b, and to
    all of a. Last, D^2 of all permutations (1 + p,), each row compared with itself too.

    Args:
        a, b: rows, sorted by block.
        blocks: the block of each row.
        first: (1 + p, blocks), 1 for a block of the first set.
        kernel: function of squared distances.
    """
    n, m, count = len(a), len(b), first.shape[1]
    aa, ab, bb, ba = np.zeros(n), np.zeros(n), np.zeros(m), np.zeros(m)
    between = np.zeros((count, count))  # sums over pairs of blocks; the other half follows by symmetry
    for (x, of_x), (y, of_y), own, other in (
        ((a, blocks[0]), (a, blocks[0]), aa, aa),
        ((b, blocks[1]), (b, blocks[1]), bb, bb),
        ((a, blocks[0]), (b, blocks[1]), ab, ba),
    ):
        for rows, columns, squares in _iterate_squares(x, y, half=x is y):
            k, share = kernel(squares), 1.0
            if x is y and rows == columns:
                np.fill_diagonal(k, 0)
                share = 0.5
            else:
                other[columns] += k.sum(axis=0)
            own[rows] += k.sum(axis=1)
            (rise, top), (run, left) = _find_starts(of_x[rows]), _find_starts(of_y[columns])
            between[np.ix_(top, left)] += share * np.add.reduceat(np.add.reduceat(k, run, axis=1), rise, axis=0)
    sizes = np.bincount(np.concatenate(blocks), minlength=count)
    return aa / (n - 1), ab / m, bb / (m - 1), ba / n, _permute_blocks(between, kernel, sizes, first)


def _find_starts(blocks: Blocks) -> tuple[Blocks, Blocks]:
    """Return the start of each block among rows sorted by block, and its number."""
    starts = np.flatnonzero(np.append(True, np.diff(blocks) != 0))
    return starts, blocks[starts]


def _permute_blocks(pairs: Array, kernel: Kernel, sizes: Blocks, first: Array) -> Array:
    """Return D^2 of all permutations of blocks of these sizes, each row compared with itself too."""
    k = pairs + pairs.T + np.diag(sizes * float(kernel(np.zeros(1))[0]))
    second = 1 - first
    n, m = np.maximum(first @ sizes, 1), np.maximum(second @ sizes, 1)
    to_first, to_second = first @ k, second @ k
    aa, bb, ab = np.sum(to_first * first, 1) / n**2, np.sum(to_second * second, 1) / m**2, np.sum(to_first * second, 1)
    return np.asarray(aa + bb - 2 * ab / (n * m))


def _iterate_squares(x: Array, y: Array, half: bool) -> Iterator[tuple[slice, slice, Array]]:
    """Yield squared distances in tiles that fit a cache; `half` skips tiles below the diagonal."""
    from scipy.spatial.distance import cdist

    size = 512
    for i in range(0, len(x), size):
        for j in range(i if half else 0, len(y), size):
            rows, columns = slice(i, min(i + size, len(x))), slice(j, min(j + size, len(y)))
            yield rows, columns, cdist(x[rows], y[columns], "sqeuclidean")


@metric("energy_distance")
class _EnergyDistance(_MeasuredByPermutation):
    compute = staticmethod(partial(_compare_kernels, energy=True))
    about = "energy distance of standardised columns"
    scale = "root"
    possible = (0.0, np.inf)
    words = "farther apart than by chance"
    seen = "an energy distance of {}"


@metric("mmd_squared")
class _MmdSquared(_MeasuredByPermutation):
    compute = staticmethod(partial(_compare_kernels, energy=False))
    about = "squared maximum mean discrepancy of Gaussian kernels"
    scale = "square"
    small, large = 0.005, 0.05
    words = "farther apart than by chance"
    seen = "a squared MMD of {}"


# --- Can a classifier tell the sets apart? (Lopez-Paz & Oquab 2017) -------------------------------------------------
#
# C2ST = the share of held-out rows that a classifier assigns to the correct set: 1/2 if the distributions are equal.


Indices = NDArray[np.intp]
SEARCHED = 1000  # rows in one call of a search
VOTERS = 50  # neighbours that vote, at most
SHUFFLES = 5  # shuffles of a column for its permutation importance
SHUFFLED_ROWS = 4000


def c2st(a: ArrayLike, b: ArrayLike, *, seed: int = 0) -> Metric:
    """Return the cross-validated accuracy of a nearest-neighbour classifier of `a` and `b`, and test equality.

    Args:
        a, b: points (n, d) and (m, d); columns are divided by their standard deviation in `b`.
        seed: seed of the folds, of the choice of rows if n and m differ, and of the permutations for the p-value.

    Returns:
        Balanced accuracy in five folds, a tie counting one half: 0.5 for indistinguishable sets, 1 for clearly
        different ones. 50 neighbours vote, at most a tenth of the points. Folds share training rows, so the interval is
        wider than for independent predictions, by the same factor as the spread of the permuted accuracies.

    Raises:
        ValueError: arrays that are not (n, d) and (m, d) with finite entries, or fewer than 10 rows of each.

    Example:
        >>> a, b = motes.make_shape("moons", 200), motes.make_shape("moons", 200, seed=1)
        >>> motes.c2st(a, b).p_value > 0.05, motes.c2st(a + 1.0, b).p_value < 0.05
        (True, True)
    """
    return _c2st(Pair.of(a, b, seed))[0]


def _c2st(pair: Pair) -> tuple[Metric, Array]:
    """Return the accuracy, and the accuracies of all permutations (1 + p,), the observed one first."""
    from scipy.spatial import cKDTree

    _check_folds(min(len(pair.a), len(pair.b)), FOLDS)
    shuffled = pair.permutations
    # In random order, so that which of several rows at one place is the nearest has nothing to do with its set.
    used = pair.rng(11).permutation(np.flatnonzero(shuffled.fold[shuffled.block] >= 0))
    x, block = np.concatenate(pair.scaled)[used], shuffled.block[used]
    fold, labels = shuffled.fold[block], shuffled.first[:, block].T.astype(np.int8)  # (rows, 1 + permutations)
    neighbours = min(VOTERS, max(len(x) // 10, 1))
    # Neighbours do not depend on labels, so one search serves all permutations.
    right = np.zeros(labels.shape[1])  # a tie counts one half
    for f in range(FOLDS):
        train, test = np.flatnonzero(fold != f), np.flatnonzero(fold == f)
        parts = _search(cKDTree(x[train]).query, x[test], k=neighbours)
        nearest = np.concatenate([indices for _, indices in parts]).reshape(len(test), neighbours)
        known, votes = labels[train], np.zeros((len(test), labels.shape[1]), dtype=np.int32)
        for column in nearest.T:
            votes += known[column]
        votes = np.sign(2 * votes - neighbours)  # 1: the first set, -1: the second, 0: a tie
        right += np.sum(1 + votes * (2 * labels[test] - 1), axis=0) / 2
    accuracy, of_chance = right[0] / len(x), right[1:].var() / (len(x) / 4)
    variance = accuracy * (1 - accuracy) / len(x) * max(of_chance, 1)
    return share("c2st", accuracy, variance, len(x), p_value_of(right)), right / len(x)


def _search(search: Callable[..., Any], *rows: Array, **options: Any) -> Iterator[Any]:
    """Yield the results of a search in a tree for blocks of rows, on all processors. Ctrl-C waits for the block."""
    for i in range(0, len(rows[0]), SEARCHED):
        with uninterrupted():
            found = search(*(part[i : i + SEARCHED] for part in rows), workers=-1, **options)
        yield found


def c2st_boosting(a: ArrayLike, b: ArrayLike, *, seed: int = 0) -> Metric:
    """Return the accuracy of boosted trees, fitted on half of the rows and tested on the other; see `c2st`.

    Trees can find a difference in one column of a hundred. They use one split only, because predictions from several
    folds are dependent, and a test that ignores this rejects one in ten pairs of equal sets (measured with n = m =
    100). The number of rows of a class among the rows assigned to it is hypergeometric; the p-value is Lancaster's
    mid-p: half the probability of the observed count plus the probability of larger ones.

    Args:
        a, b: points (n, d) and (m, d), at least 4 of each.
        seed: seed of the halves, and of the choice of rows if n and m differ.

    Raises:
        ValueError: as for `c2st`.

    Example:
        >>> from motes.evaluation import c2st_boosting
        >>> a, b = motes.make_shape("moons", 100), motes.make_shape("moons", 100, seed=1)
        >>> c2st_boosting(a + 1.0, b) > 0.7
        True
    """
    return METRICS["c2st_boosting"].measured(Pair.of(a, b, seed))


@metric("c2st")
class _C2st(_MeasuredByPermutation):
    compute = staticmethod(_c2st)
    about = "accuracy of a nearest-neighbour classifier (C2ST); 0.5 is guessing"
    quick = True
    worse = "both"
    below = "closer to the real rows than a real draw is: copies?"
    origin = 0.5
    possible = (0.0, 1.0)
    seen, digits = "an accuracy of {}", 3

    def in_words(self, value: float, reference: float) -> str:
        return f"a classifier is correct in {100 * value:.0f} of 100 cases"

    def size(self, value: float, reference: float, columns: int) -> float:
        return value - 0.5


@metric("c2st_boosting")
class _C2stBoosting(_C2st):
    """The accuracy of boosted trees, with its own test: permutations would need a new fit each."""

    about = "accuracy of boosted trees (C2ST); 0.5 is guessing"
    quick = False
    alone = True

    def measured(self, pair: Pair) -> Metric:
        numbers = np.zeros(pair.a.shape[1], bool)
        return c2st_of_columns(*pair.scaled, numbers, pair.rng(9), shuffles=0)[0]


def c2st_of_columns(
    a: Array, b: Array, discrete: NDArray[np.bool_], rng: np.random.Generator, *, shuffles: int = SHUFFLES
) -> tuple[Metric, Array]:
    """Return `c2st_boosting` and permutation importances for columns of numbers or codes, with missing entries.

    Args:
        a, b: numbers, or codes from 0 to at most 254 in `discrete` columns, (n, d) and (m, d); NaN for missing
            entries, which a tree can split on.
        discrete: whether each column is discrete, (d,).
        rng: generator of the halves, of the choice of rows if n and m differ, and of the shuffles.
        shuffles: shuffles of each column, in at most 4000 held-out rows; with 0 the importance is 0.

    Returns:
        The accuracy, as returned by `c2st_boosting`; and the permutation importance of each column, (d,): how much the
        accuracy falls if the column is shuffled in the held-out rows. It is low for two columns with the same
        information.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    x, y, train = _split_halves((a, b), rng)
    truth, importance = y[~train], np.zeros(x.shape[1])
    known = np.flatnonzero(~np.isnan(x[train]).all(axis=0))  # trees reject a column without observed entries
    if not len(known):
        return _test_accuracy(np.full(len(truth), 0.5), truth), importance
    test = x[~train][:, known]
    with threadpool_limits(1, "openmp"):
        trees: Any = HistGradientBoostingClassifier(
            max_iter=50, max_leaf_nodes=15, early_stopping=False, random_state=0, categorical_features=discrete[known]
        )
        trees.fit(x[train][:, known], y[train])
        accuracy = _test_accuracy(trees.predict_proba(test)[:, 1], truth)
        test, truth = test[:SHUFFLED_ROWS], truth[:SHUFFLED_ROWS]
        before = _score_accuracy(trees.predict_proba(test)[:, 1], truth)
        for k, j in enumerate(known):
            column = test[:, k].copy()
            for _ in range(shuffles):
                test[:, k] = rng.permutation(column)
                importance[j] += (before - _score_accuracy(trees.predict_proba(test)[:, 1], truth)) / shuffles
            test[:, k] = column
    return accuracy, importance


def _score_accuracy(second: Array, truth: Indices) -> float:
    """Return the accuracy, given each row's probability of the second set; a tie counts one half."""
    return float(np.mean(1 + np.sign(_margin(second)) * (2 * truth - 1)) / 2)


def _test_accuracy(second: Array, truth: Indices) -> Metric:
    from scipy.stats import hypergeom

    n, named, accuracy = len(truth), _margin(second) > 0, _score_accuracy(second, truth)
    count, null = np.sum(truth[named]), hypergeom(n, truth.sum(), named.sum())
    p_value = float(null.sf(count) + null.pmf(count) / 2)
    return share("c2st_boosting", accuracy, accuracy * (1 - accuracy) / n, n, p_value)


def _margin(second: Array) -> Array:
    # Trees too small to split predict 1/2.
    return np.where(np.abs(second - 0.5) < 1e-9, 0.0, second - 0.5)


def _split_halves(sets: tuple[Array, Array], rng: np.random.Generator) -> tuple[Array, Indices, NDArray[np.bool_]]:
    """Return shuffled rows, equally many from each set, the set (0 or 1) of each, and whether it is for training."""
    n = min(map(len, sets))
    _check_folds(n, 2)
    x, order = np.concatenate([rng.permutation(points)[:n] for points in sets]), rng.permutation(2 * n)
    return x[order], np.repeat([0, 1], n)[order], (np.tile(np.arange(n), 2) % 2 == 0)[order]


def _check_folds(n: int, folds: int) -> None:
    if n < 2 * folds:
        raise ValueError(f"{n} rows are too few for {folds} folds; expected at least {2 * folds} of each.")


# --- Precision, recall, density and coverage, by nearest neighbours -------------------------------------------------
#
# A ball around each row of a set reaches to its k-th neighbour in that set; the union of the balls approximates the
# support of the set.
#
# precision  share of synthetic rows within some real ball     recall    share of real rows within some synthetic ball
# density    mean number of real balls around such a row / k   coverage  share of real balls with a synthetic row in
#     them
#
# Precision and recall follow Kynkäänniemi et al. 2019, density and coverage Naeem et al. 2020. Columns
# are divided by the reference's standard deviation first.


NEIGHBOURS = 5


class Prdc(NamedTuple):
    """Precision, recall, density and coverage. Density is about 1 for two real draws and can be larger.

    Example:
        >>> from motes.evaluation.metrics import Prdc
        >>> Prdc._fields
        ('precision', 'recall', 'density', 'coverage')
    """

    precision: Metric
    recall: Metric
    density: Metric
    coverage: Metric

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={float(value):.3g}" for name, value in zip(self._fields, self, strict=True))
        return f"Prdc({shown})"


def prdc(a: ArrayLike, b: ArrayLike, *, neighbours: int = 5) -> Prdc:
    """Return precision, recall, density and coverage of the synthetic points `a` against the real ones `b`.

    Args:
        a, b: points (n, d) and (m, d); columns are divided by their standard deviation in `b`.
        neighbours: k. For two real draws of equal size, coverage is about 1 - 2^-k (Naeem et al. 2020).

    Returns:
        Four metrics. Their intervals add the noise of both sets: of the rows counted, and of the balls, each removed
        in turn (the jackknife) while the others keep their radii. They are too wide near 1. Elsewhere, the intervals
        of precision and recall are slightly too narrow, because one ball may contain many rows (measured with n = 300:
        coverage 87 to 98 %).

    Raises:
        ValueError: arrays that are not (n, d) and (m, d) with finite entries, or a set of at most `neighbours` rows.

    Example:
        >>> from motes.evaluation import prdc
        >>> a, b = motes.make_shape("moons", 200), motes.make_shape("moons", 200, seed=1)
        >>> found = prdc(a[a[:, 1] > 0.5], b)  # the upper part alone: precise, and without the rest
        >>> found.precision > 0.9, found.recall < 0.9
        (True, True)
    """
    return _prdc(Pair.of(a, b), neighbours)


def _prdc(pair: Pair, neighbours: int = NEIGHBOURS) -> Prdc:
    a, b = pair.scaled
    n, m, k = len(a), len(b), neighbours
    if k < 1 or min(n, m) <= k:
        raise ValueError(f"{k} neighbours among sets of {n} and {m} rows; expected at least 1 and more rows than that.")
    real, synthetic = _find_rows_in_balls(b, a, k), _find_rows_in_balls(a, b, k)
    around, inside = real.sum(axis=0), real.sum(axis=1)
    value = float(around.mean() / k)
    half = Z * float(np.sqrt((around / k).var() / n + (inside * (m / (k * n))).var() / m))
    density = Metric("density", value, max(value - half, 0.0), value + half)
    precision, recall = _share_covered("precision", real), _share_covered("recall", synthetic)
    return Prdc(precision, recall, density, _share_covered("coverage", real.T))


def _find_rows_in_balls(centres: Array, points: Array, k: int) -> Any:
    """Return a sparse matrix (balls, points): 1 for each point in the ball of a centre, 0 otherwise."""
    from scipy.sparse import csr_array
    from scipy.spatial import cKDTree

    # The k-th neighbour itself is in the ball, whichever way its distance is rounded.
    parts = _search(cKDTree(centres).query, centres, k=k + 1)
    radii = np.concatenate([distances[:, -1] for distances, _ in parts]) * (1 + 1e-12)
    balls = _search(cKDTree(points).query_ball_point, centres, radii)
    found = [np.array(ball, np.int32) for part in balls for ball in part]
    flat, ends = np.concatenate(found), np.cumsum([len(ball) for ball in found])
    return csr_array((np.ones(len(flat), np.int32), flat, np.append(0, ends)), shape=(len(centres), len(points)))


def _share_covered(name: str, hits: Any) -> Metric:
    """Return the share of columns with an entry in a sparse matrix of 0 and 1."""
    covered = hits.sum(axis=0)
    value, n = float(np.mean(covered > 0)), len(covered)
    # Each column is random, and so is each row, without which `alone` columns would not be covered.
    alone = hits @ (covered == 1)
    return share(name, value, value * (1 - value) / n + float((alone / n).var()) * len(alone), n)


def _permute_prdc(pair: Pair) -> Array:
    """Return the four values of all permutations (4, 1 + p), the observed one first; large balls are truncated."""
    from scipy.spatial import cKDTree

    # In random order, so that which of several rows at one place is the nearest has nothing to do with its set.
    order = pair.rng(12).permutation(len(pair.a) + len(pair.b))
    x = np.concatenate(pair.scaled)[order]
    # These neighbours nearly always include `NEIGHBOURS` of the row's own set.
    parts = _search(cKDTree(x).query, x, k=min(5 * NEIGHBOURS, len(x) - 1) + 1)
    near = np.concatenate([indices[:, 1:] for _, indices in parts])
    found = []
    for first in pair.permutations.rows[:, order]:
        own = first[near] == first[:, None]
        inside = ~own & (own.cumsum(axis=1, dtype=np.int8) < NEIGHBOURS)  # in the ball around the row
        around, hit = inside.sum(axis=1)[~first], np.zeros(len(x), bool)
        hit[near[inside]] = True
        density = around.sum() / (NEIGHBOURS * np.count_nonzero(first))
        found.append((hit[first].mean(), hit[~first].mean(), density, np.mean(around > 0)))
    return np.array(found).T


class _Neighbours(_OneOfSeveral):
    """Base class of the four; `words` takes the share of rows that lie outside the other set."""

    names = Prdc._fields
    compute, permute = staticmethod(_prdc), staticmethod(_permute_prdc)
    section = "coverage"
    quick = True
    small, large = 0.02, 0.1
    worse: ClassVar[Worse] = "low"
    possible = (0.0, 1.0)

    def in_words(self, value: float, reference: float) -> str:
        return self.words.format(1 - value, 1 - reference)


@metric("precision")
class _Precision(_Neighbours):
    about = "share of the samples inside the data"
    words = "{0:.1%} of the samples lie outside the data (real draw: {1:.1%})"


@metric("recall")
class _Recall(_Neighbours):
    about = "share of the data inside the samples"
    words = "{0:.1%} of the data lies outside the samples (real draw: {1:.1%})"


@metric("density")
class _Density(_Neighbours):
    about = "how densely samples lie around real points"
    worse = "both"
    small, large = 0.1, 0.5
    possible = (0.0, np.inf)

    def in_words(self, value: float, reference: float) -> str:
        how = "bunched up" if value > reference else "too thin"
        return f"samples are {how} around real points: {value / reference:.2g} times the density of a real draw"

    def size(self, value: float, reference: float, columns: int) -> float:
        return abs(value - reference) / (reference if reference > 0 else 1.0)


@metric("coverage")
class _Coverage(_Neighbours):
    about = "share of the real points with a sample nearby"
    words = "{0:.1%} of the data has no sample nearby (real draw: {1:.1%})"


# --- Coverage of known modes, given by centres or by labelled points ------------------------------------------------
#
# distance = 1/2 sum over modes of |share in the sample - true share|, the total variation


MISSED_BELOW = 0.1  # a mode is missed if its share is below this fraction of its true share


@dataclass(frozen=True)
class ModeCoverage:
    """The share of each mode, the distance of the shares from the true ones, and the number of modes missed.

    Example:
        >>> from motes.evaluation import Modes, mode_coverage
        >>> found = mode_coverage([[-1.1, 0.0], [-0.9, 0.1]], Modes.at([[-1.0, 0.0], [1.0, 0.0]]))
        >>> [float(share) for share in found.shares], float(found.missed)
        ([1.0, 0.0], 1.0)
    """

    shares: tuple[Metric, ...]
    distance: Metric
    missed: Metric

    def __repr__(self) -> str:
        return f"ModeCoverage({len(self.shares)} modes, {float(self.missed):g} missed)"


def mode_coverage(a: ArrayLike, modes: Modes, *, seed: int = 0) -> ModeCoverage:
    """Count the rows of `a` (n, d) by mode; every row counts for its nearest mode, at any distance.

    Args:
        a: points (n, d).
        modes: the modes of the distribution.
        seed: seed of the bootstrap for the interval of the distance.

    Returns:
        Shares with Wilson's intervals. The distance, with an interval of coverage at least 95 %, because the triangle
        inequality bounds the error by the distance between sampled and true shares. The number of modes missed, from
        the modes certainly missed to the modes not certainly present.

    Raises:
        ValueError: points whose dimension differs from the modes', or entries that are not finite.

    Example:
        >>> from motes.evaluation import Modes, mode_coverage
        >>> centres = motes.truth("eight_gaussians").modes
        >>> int(mode_coverage(motes.make_shape("eight_gaussians", 1000), Modes.at(centres)).missed)
        0
    """
    pair = Pair.of(a, modes.points, seed)
    n = len(pair.a)
    counts = np.bincount(_nearest(pair.a, modes), minlength=len(modes.shares))
    found, true = counts / n, modes.shares
    shares = tuple(share(f"share_of_mode_{k}", p, p * (1 - p) / n, n) for k, p in enumerate(found.tolist()))
    rng = pair.rng(6)
    error = rng.multinomial(n, found, size=2000) / n - found
    if modes.counted is not None:
        error -= rng.multinomial(modes.counted, true, size=2000) / modes.counted - true
    distance, noise = float(_total_variation(found - true)), float(np.quantile(_total_variation(error), 0.95))
    least = MISSED_BELOW * true
    missed, surely, maybe = (
        float(sum(value < bound for value, bound in zip(values, least, strict=True)))
        for values in (found, [s.high for s in shares], [s.low for s in shares])
    )
    off = Metric("mode_distance", distance, max(distance - noise, 0.0), min(distance + noise, 1.0))
    return ModeCoverage(shares, off, Metric("modes_missed", missed, surely, maybe))


def _measure_modes(pair: Pair) -> tuple[Metric, Metric]:
    assert pair.modes is not None  # checked by `metrics_for`
    found = mode_coverage(pair.a, pair.modes, seed=pair.seed)
    return found.distance, found.missed


def _permute_modes(pair: Pair) -> Array:
    """Return the distance and the number of modes missed for all permutations (2, 1 + p), the observed one first."""
    assert pair.modes is not None  # checked by `metrics_for`
    modes, shuffled = pair.modes, pair.permutations
    counts = np.zeros((shuffled.first.shape[1], len(modes.shares)))
    np.add.at(counts, (shuffled.block, _nearest(np.concatenate([pair.a, pair.b]), modes)), 1)
    found = shuffled.first @ counts / len(pair.a)
    return np.stack([_total_variation(found - modes.shares), np.sum(found < MISSED_BELOW * modes.shares, axis=1)])


class _ModeMetric(_OneOfSeveral):
    """Base class of metrics of modes. A permutation keeps half of a difference, so the power of the test is unknown."""

    names = ("mode_distance", "modes_missed")
    compute, permute = staticmethod(_measure_modes), staticmethod(_permute_modes)
    section = "modes"
    of_modes = True
    seen = ""


@metric("mode_distance")
class _ModeDistance(_ModeMetric):
    about = "share of the samples in the wrong mode"
    words = "{0:.1%} of the samples are in the wrong mode (real draw: {1:.1%})"
    small, large = 0.02, 0.1
    possible = (0.0, 1.0)


@metric("modes_missed")
class _ModesMissed(_ModeMetric):
    about = "modes without a sample"
    words = "modes without a sample: {0:.0f}"
    small = large = 0.0  # each is a large difference
    possible = (0.0, np.inf)


def _nearest(x: Array, modes: Modes) -> NDArray[np.int64]:
    """Return the mode of each row."""
    from scipy.spatial import cKDTree

    return modes.labels[cKDTree(modes.points / modes.unit).query(x / modes.unit)[1]]


def _total_variation(difference: Array) -> Array:
    return np.abs(difference).sum(axis=-1) / 2


# --- All metrics ----------------------------------------------------------------------------------------------------


def compare(
    a: ArrayLike,
    b: ArrayLike,
    real_a: ArrayLike,
    real_b: ArrayLike,
    *,
    modes: Modes | None = None,
    brief: bool = False,
    seed: int = 0,
) -> list[Row]:
    """Compute every metric of the sample `a` (n, d) against the real `b` (m, d), each with its reference value.

    The reference value is the same metric between two real draws: what even a perfect model gets at these sample
    sizes. For a shape, draw fresh points; split a table at random. `real_b` can be `b` itself, `real_a` cannot.

    Args:
        a, b: samples, and the real points to compare them with.
        real_a, real_b: real draws, (n, d) and (m, d).
        modes: the modes of the distribution, if known; adds `mode_distance` and `modes_missed`.
        brief: compute only sliced_w2, c2st, precision, recall, density and coverage.
        seed: seed of the metrics' own randomness, independent of samples drawn with the same seed.

    Returns:
        Rows in the order sliced_w2, energy_distance, mmd_squared, c2st, c2st_boosting, precision, recall, density,
        coverage, then every metric that you registered.

    Raises:
        ValueError: arrays of other shapes, entries that are not finite, real draws of other sizes, fewer than 10 rows,
            or real points that are all equal.

    Example:
        >>> made, real, *others = (motes.make_shape("moons", 100, seed=seed) for seed in range(4))
        >>> rows = motes.compare(made, real, *others)
        >>> [row.metric.name for row in rows[:3]]
        ['sliced_w2', 'energy_distance', 'mmd_squared']
    """
    from threadpoolctl import threadpool_limits

    pair, real = paired(a, b, real_a, real_b, seed, modes)
    with threadpool_limits(1):  # the threads of these small matrices wait for each other: 7 s, not 20, on busy cores
        return [Row(one.measured(pair), one.measured(real)) for one in metrics_for(pair, brief)]


def paired(
    a: ArrayLike, b: ArrayLike, real_a: ArrayLike, real_b: ArrayLike, seed: int, modes: Modes | None
) -> tuple[Pair, Pair]:
    """Return the pair of samples and real points, and the pair of real draws.

    Raises:
        ValueError: as for `compare`.
    """
    pair, real = Pair.of(a, b, seed, modes), Pair.of(real_a, real_b, seed, modes)
    sizes = [x.shape for x in (pair.a, pair.b, real.a, real.b)]
    if sizes[:2] != sizes[2:]:
        raise ValueError(
            f"got real draws of {sizes[2]} and {sizes[3]} for points of {sizes[0]} and {sizes[1]}; expected equal "
            "sizes. Draw equally many real rows, or compare equally many samples."
        )
    return pair, real


def negative_log_likelihood(log_prob: ArrayLike) -> Metric:
    """Return the mean of -log p over held-out rows, in the units of `log_prob` (nats per row), with its interval.

    Args:
        log_prob: log p of each row, (n,), at least 2.

    Raises:
        ValueError: another shape, or entries that are not finite.

    Example:
        >>> from motes.evaluation.metrics import negative_log_likelihood
        >>> negative_log_likelihood([-1.0, -2.0, -3.0]).value
        2.0
    """
    values = np.asarray(log_prob, dtype=np.float64)
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"log-probabilities of shape {values.shape}; expected (n,), one for each of at least 2 rows.")
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ValueError(f"the log-probability of row {row} is {values[row]}; expected finite ones.")
    return mean_of("negative_log_likelihood", -np.sort(values))
