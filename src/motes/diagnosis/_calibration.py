"""Are posteriors as wide as they should be? Checked by simulations whose parameters are known.

    theta ~ p(theta),  x ~ p(x | theta),  theta_1, ..., theta_L ~ model given x

Where the model is the posterior, theta is one more draw of it, so that its rank among the L draws is uniform on
0, ..., L: in each column (simulation-based calibration, Talts et al. 2018), and in the distance to a random point,
which sees all columns together (TARP, Lemos et al. 2023). An interval of level a then holds theta with probability a.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from motes.data._frames import as_frame
from motes.errors import DataError, UsageError, check_count, check_seed
from motes.evaluation._families import ALPHA
from motes.evaluation._posteriors import calibration_verdict
from motes.evaluation._results import Metric, Z, share
from motes.evaluation._verdicts import Verdict
from motes.models._columns import matrix_of
from motes.models._contexts import Context
from motes.models._points import PointModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.float64]

LEVELS = (0.5, 0.8, 0.9, 0.95)  # of intervals
JOINT = "all columns"
FEWEST = 50  # simulations


@dataclass(frozen=True, eq=False)
class Calibration:
    """How far the ranks of the true parameters among draws are from uniform.

    Attributes:
        columns: names of the d columns.
        ranks: of each simulation, in each column and then in the distance to a random point, (m, d + 1), from 0 to
            `draws`.
        draws: L.
        widths: of each column, the standard deviation of the draws over that which their errors call for: 1 is right,
            0.8 is 20 % too narrow.
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
        """Of the hypothesis that the ranks are uniform in all columns and in the distance (Bonferroni)."""
        return float(min(1.0, len(self.p_values) * self.p_values.min()))

    @property
    def calibrated(self) -> bool:
        """Whether these simulations show no miscalibration, at the level 0.05 of all tests together."""
        return self.p_value >= ALPHA

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """What an evaluation says of each column, and then of all together."""
        widths = [*self.widths, None]
        adjusted = np.minimum(1.0, len(self.p_values) * self.p_values).tolist()
        return {
            name: calibration_verdict(width, p) for name, width, p in zip(self.names, widths, adjusted, strict=True)
        }

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
        if self.calibrated:
            return []
        widths = dict(zip(self.columns, self.widths, strict=True))
        whose = {name: f"'{name}'" for name in self.columns} | {JOINT: f"{JOINT} together"}
        return [
            f"posteriors of {whose[name]} are {verdict.text}. Train {_remedy(widths.get(name))}."
            for name, verdict in self.verdicts.items()
            if verdict.differs
        ]

    def plot(self, style: str = "light") -> Axes:
        """The ranks of each column, and of all together, beside the band in which uniform ones lie.

        Example:
            >>> from motes.diagnosis import Calibration
            >>> found = Calibration(("rate",), np.arange(100)[:, None] * [1, 1], 99, (), np.ones(2))
            >>> [line.get_label() for line in found.plot().get_lines()][1:]
            ['rate', 'all columns']
        """
        from motes.figures import rank_curves

        return rank_curves(dict(zip(self.names, self.ranks.T, strict=True)), self.draws, style=style)

    def __repr__(self) -> str:
        return f"Calibration({len(self.ranks):,} simulations, {self.draws} draws each, p = {self.p_value:.2g})"

    def __str__(self) -> str:
        cover = {level: self.coverage(level) for level in LEVELS}
        lines = [f"{'':<16}{'width':>22}{'p':>8}" + "".join(f"{f'{level:.0%} holds':>14}" for level in LEVELS)]
        for j, name in enumerate(self.names):
            width = "" if j == len(self.columns) else f"{self.widths[j]:.3f} ({_ends(self.widths[j])})"
            lines.append(
                f"{name[:15]:<16}{width:>22}{self.p_values[j]:8.2g}"
                + "".join(f"{float(cover[level][name]):>14.1%}" for level in LEVELS)
            )
        fine = f"no miscalibration shows in {len(self.ranks):,} simulations (p = {self.p_value:.2g})"
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
            "widths": {name: width.to_dict() for name, width in zip(self.columns, self.widths, strict=False)},
            "coverage": {
                f"{level:g}": {name: one.to_dict() for name, one in self.coverage(level).items()} for level in LEVELS
            },
            "findings": self.findings,
        }


def calibration(model: Any, theta: Any, x: Any, *, draws: int = 99, seed: int = 0) -> Calibration:
    """Check a model of points given x on simulations that it has not seen.

    Args:
        model: trained by `motes.fit(theta, given=x)`; or the `PointModel` inside.
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
    inner, _, rows, observed = simulations_of(model, theta, x, "calibration")
    draws, seed = check_count(draws, "draws"), check_seed(seed)
    drawn = inner.sample(draws, given=observed, seed=seed)
    return calibration_of(inner.columns, rows, drawn, np.random.default_rng([seed, 173205]))


def simulations_of(model: Any, theta: Any, x: Any, call: str) -> tuple[PointModel, Context, Array, Array]:
    """The model inside, what it is conditioned on, parameters (m, d) and what was simulated with them (m, c).

    Raises:
        UsageError: a model that is conditioned on nothing, or too few rows; `call` says what for.
        DataError: rows that cannot be used.
    """
    inner = getattr(model, "inner", model)
    if not isinstance(inner, PointModel) or inner.context is None:
        raise UsageError(f"{call}: this model is conditioned on nothing. Train one: motes.fit(theta, given=x).")
    plain = isinstance(theta, np.ndarray | list | tuple)
    rows = np.asarray(theta, np.float64) if plain else matrix_of(inner, as_frame(theta, name="theta"), "theta")
    observed, _ = inner.context.rows(x)
    if rows.ndim != 2 or rows.shape != (len(observed), inner.dim):
        raise DataError(f"theta has shape {rows.shape}; expected ({len(observed)}, {inner.dim}), a row for each of x.")
    if not np.isfinite(rows).all():
        raise DataError("theta holds an entry that is not a finite number. Leave out such rows.")
    if len(rows) < FEWEST:
        raise UsageError(f"got {len(rows)} simulations; expected at least {FEWEST}, and some hundred to see little.")
    return inner, inner.context, rows, observed


def calibration_of(columns: tuple[str, ...], theta: Array, drawn: Array, rng: np.random.Generator) -> Calibration:
    """That of parameters theta (m, d), and of draws (m, L, d) from the posterior of each.

    Args:
        columns: d names.
        theta: the parameters that each observation was simulated with.
        drawn: what a model thinks they are.
        rng: breaks ties, places the points that distances are taken to, and spreads ranks for the test.
    """
    from scipy import stats

    scale = theta.std(axis=0)
    # Points that know nothing of the theta and the draws that they are compared with.
    points = theta.mean(axis=0) + scale * rng.standard_normal(theta.shape)
    away = lambda values, point: np.linalg.norm((values - point) / np.where(scale > 0, scale, 1.0), axis=-1)
    true = np.column_stack([theta, away(theta, points)])
    others = np.concatenate([drawn, away(drawn, points[:, None])[..., None]], axis=2)
    equal = (others == true[:, None]).sum(axis=1)
    ranks = (others < true[:, None]).sum(axis=1) + rng.integers(0, equal + 1)
    # A uniform place within the rank makes the test of a continuous uniform distribution exact.
    places = (ranks + rng.random(ranks.shape)) / (drawn.shape[1] + 1)
    p_values = np.array([stats.kstest(column, "uniform").pvalue for column in places.T])
    return Calibration(columns, ranks, drawn.shape[1], tuple(map(_width, theta.T, np.moveaxis(drawn, 2, 0))), p_values)


def _width(theta: Array, drawn: Array) -> Metric:
    """The root of the variance of draws (m, L) over the squared errors of their means; interval by the delta method.

    The mean of L draws has an error of its own, a share 1 / L of the variance.
    """
    errors = (theta - drawn.mean(axis=1)) ** 2
    variance = drawn.var(axis=1, ddof=1) * (1 + 1 / drawn.shape[1])
    tiny = float(np.finfo(np.float64).tiny)  # of draws that are all the truth
    total, wrong = max(float(variance.mean()), tiny), max(float(errors.mean()), tiny)
    value = float(np.sqrt(total / wrong))
    away = variance / total - errors / wrong
    half = Z * float(away.std(ddof=1)) / 2 / np.sqrt(len(theta))  # of the logarithm
    return Metric("width", value, value * float(np.exp(-half)), value * float(np.exp(half)))


def _remedy(width: Metric | None) -> str:
    if width is not None and width.high < 1:
        return "on more simulations, or stop earlier: training.validation = 0.1"
    if width is not None and width.low > 1:
        return "for more steps, training.steps, or with a wider network, network.width"
    return "for more steps, training.steps, or on more simulations"


def _ends(metric: Metric) -> str:
    return f"{metric.low:.3f} to {metric.high:.3f}"
