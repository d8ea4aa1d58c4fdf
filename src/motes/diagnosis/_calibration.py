"""Are posteriors as wide as they should be? Checked by simulations whose parameters are known.

    theta ~ p(theta),  x ~ p(x | theta),  theta_1, ..., theta_L ~ model given x

Where the model is the posterior, theta is one more draw of it, so that its rank among the L draws is uniform on
0, ..., L: in each column (simulation-based calibration, Talts et al. 2018), and in the distance to a point, which sees
all columns together (TARP, Lemos et al. 2023). An interval of level a then holds theta with probability a.

    u = (rank + a uniform number) / (L + 1),    z = Phi^-1(u),    width = 1 / (standard deviation of z)

z is standard normal then. Kolmogorov's test of u finds shifts, and the chi-squared test of the squares of z finds
posteriors that are too narrow or too wide. A rank is bounded, so that a few far misses do not move the width.

The width of all d columns together is taken from the rank of theta by the Mahalanobis distance to the mean of theta and
the draws, in which theta is one of L + 1 that may be exchanged:

    q = F^-1(u),    F of chi-squared with d degrees of freedom,    width^2 = m d / (sum of q)

The sum of q is chi-squared with m d degrees of freedom, in any units and for any form of the posterior.

Posteriors that are a little too narrow in every column are found by it with far fewer simulations.

The point of a row is the true theta of the most similar x among the rows before it. A posterior that does not depend on
x passes every test whose points know nothing of x either. Only rows before it, so that the ranks stay independent.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from motes.errors import DataError, UsageError, check_count, check_seed
from motes.evaluation._posteriors import FALSE_ALARMS, JOINT, calibration_verdicts, detectable_width
from motes.evaluation._results import Metric, share
from motes.evaluation._text import p_value
from motes.evaluation._verdicts import Verdict
from motes.models._posteriors import PosteriorModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

LEVELS = (0.5, 0.8, 0.9, 0.95)  # of intervals
FEWEST = 50  # simulations


@dataclass(frozen=True, eq=False)
class Calibration:
    """How far the ranks of the true parameters among draws are from uniform.

    Attributes:
        columns: names of the d columns.
        ranks: of each simulation, in each column and then in the distance to a point, (m, d + 1), from 0 to `draws`.
        draws: L.
        widths: of each column, 1 / the standard deviation of the normal scores of its ranks: 1 is right, 0.8 is 20 %
            too narrow. Of several columns one more, of all together. With the p-value of the hypothesis that it is 1,
            and an interval at the level of all tests together (Bonferroni): it excludes 1 exactly where a difference
            is found.
        p_values: of the hypothesis that the ranks are uniform, (d + 1,).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> theta = rng.normal(size=(200, 2))
        >>> x = theta + rng.normal(size=(200, 2))
        >>> posterior = motes.fit(theta, given=x, changes={"training.steps": 2}, verbose=False)
        >>> found = motes.calibration(posterior, theta, x, draws=19)
        >>> found.ranks.shape, len(found.coverage(0.9))
        ((200, 3), 3)
    """

    columns: tuple[str, ...]
    ranks: NDArray[np.int64]
    draws: int
    widths: tuple[Metric, ...]
    p_values: Array

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, and all of them together."""
        return (*self.columns, JOINT)

    @property
    def p_value(self) -> float:
        """Of the hypothesis that all widths are 1 and all ranks uniform (Bonferroni)."""
        return min(one.p_value or 0.0 for one in self.verdicts.values())

    @property
    def calibrated(self) -> bool:
        """Whether these simulations show no miscalibration, with false alarms in 2.5 % of right posteriors."""
        return self.p_value >= FALSE_ALARMS

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """What an evaluation says of each width, "width of rate", and of all ranks, "ranks of rate"."""
        widths = dict(zip(self.names, self.widths, strict=False))
        return calibration_verdicts(widths, dict(zip(self.names, self.p_values.tolist(), strict=True)), len(self.ranks))

    def coverage(self, level: float) -> dict[str, Metric]:
        """How often an interval of this level holds the true value: of each column, central; of all, by the distance.

        Raises:
            ValueError: a level that is not between 0 and 1.

        Example:
            >>> from motes.diagnosis import Calibration
            >>> ranks = np.arange(100)[:, None] * [1, 1]
            >>> found = Calibration(("rate",), ranks, 99, (), np.ones(2))
            >>> print(found.coverage(0.9)["rate"])
            0.9 (0.8256 to 0.9448)
        """
        if not 0 < level < 1:
            raise ValueError(f"level = {level}; expected a number between 0 and 1.")
        # A rank stands for the places from r / (L + 1) to (r + 1) / (L + 1), of which a part may be inside.
        low, high = np.full((2, len(self.names)), [[(1 - level) / 2], [(1 + level) / 2]])
        low[-1], high[-1] = 0.0, level  # a ball around the point, and not a ring
        first, last = self.ranks / (self.draws + 1), (self.ranks + 1) / (self.draws + 1)
        part = np.clip(np.minimum(last, high) - np.maximum(first, low), 0, None) * (self.draws + 1)
        n = len(part)
        return {
            name: share("coverage", float(column.mean()), float(column.var() / n), n)
            for name, column in zip(self.names, part.T, strict=True)
        }

    @property
    def findings(self) -> list[str]:
        """A sentence for each column whose posteriors differ, and for all together if they do, and what to do."""
        found, said = self.verdicts, []
        widths = dict(zip(self.names, self.widths, strict=False))
        for name in self.names:
            wrong = [one.text for key, one in found.items() if key.endswith(f" of {name}") and one.differs]
            whose = f"the joint posterior of {JOINT} is" if name == JOINT else f"posteriors of '{name}' are"
            if wrong:
                said.append(f"{whose} {wrong[0]}. Train {_remedy(widths.get(name))}.")
        return said

    def plot(self, style: str = "light") -> Axes:
        """The ranks of each column, and of all together, beside the band in which uniform ones lie.

        Example:
            >>> from motes.diagnosis import Calibration
            >>> found = Calibration(("rate",), np.arange(100)[:, None] * [1, 1], 99, (), np.ones(2))
            >>> [line.get_label() for line in found.plot().get_lines()][1:]
            ['rate', 'all columns']
        """
        from motes.plots import rank_curves

        return rank_curves(dict(zip(self.names, self.ranks.T, strict=True)), self.draws, style=style)

    def __repr__(self) -> str:
        return f"Calibration({len(self.ranks):,} simulations, {self.draws} draws each, p = {self.p_value:.2g})"

    def __str__(self) -> str:
        cover = {level: self.coverage(level) for level in LEVELS}
        head = f"{'':<16}{'width':>22}{'p':>9}{'p of ranks':>12}"
        lines = [head + "".join(f"{f'{level:.0%} holds':>12}" for level in LEVELS)]
        found = self.verdicts
        for name, width in zip_longest(self.names, self.widths):
            own = "" if width is None else f"{width:.3f} ({width.low:.3f} to {width.high:.3f})"
            p = "" if width is None else p_value(found[f"width of {name}"].p_value)
            lines.append(
                f"{name[:15]:<16}{own:>22}{p:>9}{p_value(found[f'ranks of {name}'].p_value):>12}"
                + "".join(f"{float(cover[level][name]):>12.1%}" for level in LEVELS)
            )
        m, rate = len(self.ranks), f"{FALSE_ALARMS:.1%} of right posteriors"
        fine = f"no miscalibration detected in {m:,} simulations (p = {self.p_value:.2g}; false alarms: {rate}). "
        fine += f"The tests could detect widths that are {detectable_width(m, len(found)):.0%} or more off."
        return "\n".join([*lines, "", *(self.findings or [fine])])

    def to_dict(self) -> dict[str, Any]:
        """For JSON.

        Example:
            >>> from motes.diagnosis import Calibration
            >>> sorted(Calibration(("rate",), np.zeros((9, 2), int), 9, (), np.ones(2)).to_dict())
            ['columns', 'coverage', 'draws', 'findings', 'p_value', 'p_values', 'simulations', 'widths']
        """
        return {
            "columns": self.columns,
            "simulations": len(self.ranks),
            "draws": self.draws,
            "p_value": self.p_value,
            "p_values": dict(zip(self.names, self.p_values.tolist(), strict=True)),
            "widths": {name: width.to_dict() for name, width in zip(self.names, self.widths, strict=False)},
            "coverage": {
                f"{level:g}": {name: one.to_dict() for name, one in self.coverage(level).items()} for level in LEVELS
            },
            "findings": self.findings,
        }


def calibration(model: PosteriorModel, theta: Any, x: Any, *, draws: int = 99, seed: int = 0) -> Calibration:
    """Check a model of points given x on simulations that it has not seen.

    Args:
        model: trained by `motes.fit(theta, given=x)`.
        theta: parameters, drawn from the prior (m, d), in any kind of table.
        x: what was simulated with them, (m, c) or a table; at least 50 rows, and some hundred to see little.
        draws: of the posterior of each row.
        seed: of the draws.

    Raises:
        UsageError: a model that is conditioned on nothing, or too few rows.
        DataError: rows that cannot be used.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> theta = rng.normal(size=(200, 2))
        >>> x = theta + rng.normal(size=(200, 2))
        >>> posterior = motes.fit(theta, given=x, changes={"training.steps": 2}, verbose=False)
        >>> motes.calibration(posterior, theta, x, draws=19).columns
        ('x', 'y')
    """
    rows, observed = simulations_of(model, theta, x, "calibration")
    draws, seed = check_count(draws, "draws"), check_seed(seed)
    drawn = model.draw(draws, observed, seed=seed)
    x = model.context.mapped(observed)
    return calibration_of(model.columns, rows, drawn, x, np.random.default_rng([seed, 173205]))


def simulations_of(model: PosteriorModel, theta: Any, x: Any, call: str) -> tuple[Array, Array]:
    """Parameters (m, d) and what was simulated with them (m, c).

    Raises:
        UsageError: a model that is conditioned on nothing, or too few rows; `call` says what for.
        DataError: rows that cannot be used.
    """
    if not isinstance(model, PosteriorModel):
        raise UsageError(f"{call}: this model is conditioned on nothing. Train one: motes.fit(theta, given=x).")
    rows = model.matrix(theta, "theta")
    observed, _ = model.context.rows(x)
    if rows.ndim != 2 or rows.shape != (len(observed), model.dim):
        raise DataError(f"theta has shape {rows.shape}; expected ({len(observed)}, {model.dim}), a row for each of x.")
    if not np.isfinite(rows).all():
        raise DataError("theta holds an entry that is not a finite number. Leave out such rows.")
    if len(rows) < FEWEST:
        raise UsageError(f"got {len(rows)} simulations; expected at least {FEWEST}, and some hundred to see little.")
    return rows, observed


def calibration_of(
    columns: tuple[str, ...], theta: Array, drawn: Array, x: Array, rng: np.random.Generator
) -> Calibration:
    """That of parameters theta (m, d), and of draws (m, L, d) from the posterior of each.

    Args:
        columns: d names.
        theta: the parameters that each observation was simulated with.
        drawn: what a model thinks they are.
        x: what was simulated (m, c), each column of about the same spread.
        rng: breaks ties, spreads ranks for the tests, and makes the points of the first rows.
    """
    from scipy import stats
    from scipy.special import ndtri

    scale = np.where(theta.std(axis=0) > 0, theta.std(axis=0), 1.0)
    away = lambda values, point: np.linalg.norm((values - point) / scale, axis=-1)
    points, d = _points(theta, x, rng), len(columns)
    both = np.concatenate([theta[:, None], drawn], axis=1)
    both = np.concatenate([both, away(both, points[:, None])[..., None], _mahalanobis(both)[..., None]], axis=2)
    true, others = both[:, :1], both[:, 1:]
    equal = (others == true).sum(axis=1)
    ranks = (others < true).sum(axis=1) + rng.integers(0, equal + 1)
    # A uniform place within the rank makes the tests of a continuous uniform distribution exact.
    places = (ranks + rng.random(ranks.shape)) / (drawn.shape[1] + 1)
    p_values = np.array([stats.kstest(column, "uniform").pvalue for column in places.T[:-1]])
    scores = ndtri(np.maximum(places[:, :d], np.finfo(np.float64).tiny))
    totals = [((column - column.mean()) ** 2).sum() for column in scores.T]
    free = [len(theta) - 1] * d
    if d > 1:  # of one column it would be the same test twice
        totals.append(stats.chi2.ppf(places[:, -1], d).sum())
        free.append(len(theta) * d)
    tests = len(totals) + len(p_values)
    widths = tuple(_width(float(total), n, tests) for total, n in zip(totals, free, strict=True))
    return Calibration(columns, ranks[:, :-1], drawn.shape[1], widths, p_values)


def _mahalanobis(values: Array) -> Array:
    """Distances of values (m, l, d) to the mean of their row, by its covariance, (m, l)."""
    with np.errstate(all="ignore"):  # draws that are not finite, of which sampling warns, say nothing here
        away = values - values.mean(axis=1, keepdims=True)
        away = np.nan_to_num(away / away.std(axis=1, keepdims=True), nan=0.0, posinf=0.0, neginf=0.0)
    inverse = np.linalg.pinv(np.swapaxes(away, 1, 2) @ away, hermitian=True)
    return np.asarray(((away @ inverse) * away).sum(axis=2))


def _points(theta: Array, x: Array, rng: np.random.Generator) -> Array:
    """What distances are taken to, (m, d): the theta of a similar x among earlier rows, in rounds of twice as many."""
    from scipy.spatial import cKDTree

    m = len(theta)
    points = theta.mean(axis=0) + theta.std(axis=0) * rng.standard_normal(theta.shape)
    for start, end in ((m // 8, m // 4), (m // 4, m // 2), (m // 2, m)):
        points[start:end] = theta[cKDTree(x[:start]).query(x[start:end])[1]]
    return points


def _width(total: float, free: int, tests: int) -> Metric:
    """The root of free / total, a chi-squared number of so many degrees of freedom; the interval for so many tests."""
    from scipy import stats

    below, above = stats.chi2.cdf(total, free), stats.chi2.sf(total, free)
    level = FALSE_ALARMS / tests / 2
    value, low, high = np.sqrt(np.array([free, *stats.chi2.ppf([level, 1 - level], free)]) / total).tolist()
    return Metric("width", value, low, high, float(min(1.0, 2 * min(below, above))))


def _remedy(width: Metric | None) -> str:
    if width is not None and width.high < 1:
        return "on more simulations, or stop earlier: training.validation = 0.1"
    if width is not None and width.low > 1:
        return "for more steps, training.steps, or with a wider network, network.width"
    return "for more steps, training.steps, or on more simulations"
