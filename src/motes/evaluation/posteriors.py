"""Evaluation of posteriors: held-out scores, and calibration by ranks.

The width of a column is 1 / the standard deviation of the normal scores of its ranks; 1 is correct. A second test of
each column is that its ranks are uniform. These tests, and the same two for the joint posterior, are one family
(Bonferroni).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from motes.arguments import check_arguments
from motes.encoding import encode
from motes.errors import DataError, UsageError, check_count, check_seed
from motes.evaluation import results
from motes.evaluation.models import about
from motes.evaluation.results import Array, Entry, Evaluation, Metric, Verdict
from motes.evaluation.sources import simulations_of_source
from motes.points import PosteriorModel

if TYPE_CHECKING:
    from matplotlib.axes import Axes


JOINT = "all columns"
FALSE_ALARMS = 0.025  # P(false alarm | correct posteriors): 200 repeats show more than 5 % once in 80 times
MODERATE = (0.0, 1.0)  # thresholds that grade every difference as moderate


def evaluation_of_posteriors(found: Calibration, log_prob: Array, *, seed: int) -> Evaluation[Calibration]:
    """Return the evaluation record of a calibration.

    Args:
        found: the calibration.
        log_prob: log p of the true rows, each given its observation, (m,), in nats.
        seed: seed of the draws.
    """
    mean, half = float(-log_prob.mean()), 1.96 * results.standard_error(log_prob)
    about = "mean of -log p of rows given their observations, in nats per row; lower is better"
    judgement = Verdict("good", f"± {half:.2g} (95 %); no reference value")
    entries = *found.tests, Entry("fit", "negative_log_likelihood", about, judgement, mean)
    rows = {"synthetic": len(log_prob) * found.draws, "real": len(log_prob)}
    return Evaluation("", "rows with observations", rows, entries, found, (), seed)


def detectable_width(simulations: int, tests: int) -> float:
    """Return the deviation of a width from 1 that one of this number of tests detects in 80 of 100 cases."""
    return float((ndtri(results.POWER) - ndtri(FALSE_ALARMS / tests / 2)) / np.sqrt(2 * simulations))


# --- Calibration of posteriors, by simulations with known parameters ------------------------------------------------
#
#     theta ~ p(theta),  x ~ p(x | theta),  theta_1, ..., theta_L ~ model given x
#
# If the model is the posterior, theta is one more draw of it, so its rank among the L draws is uniform on 0, ..., L:
# in each column (simulation-based calibration, Talts et al. 2018), and in the distance to a point, which tests the
# joint posterior (TARP, Lemos et al. 2023). An interval of level a then contains theta with probability a.
#
#     u = (rank + a uniform number) / (L + 1),    z = Phi^-1(u),    width = 1 / (standard deviation of z)
#
# z is then standard normal. Kolmogorov's test of u detects shifts, and the chi-squared test of z^2 detects posteriors
# that are too narrow or too wide. Ranks are bounded, so a few outliers hardly change the width.
#
# The joint width of all d columns uses the rank of theta by Mahalanobis distance to the mean of theta and the draws,
# which are L + 1 exchangeable points:
#
#     q = F^-1(u),    F of chi-squared with d degrees of freedom,    width^2 = m d / (sum of q)
#
# The sum of q is chi-squared with m d degrees of freedom, in any units and for any shape of the posterior.
#
# It detects posteriors that are slightly too narrow in every column with far fewer simulations.
#
# The point of a row is the true theta of the most similar x among earlier rows: a posterior that ignores x passes every
# test whose points ignore x too. Only earlier rows are used, so that the ranks stay independent.


LEVELS = (0.5, 0.8, 0.9, 0.95)  # levels of the intervals
FEWEST = 50  # simulations


@dataclass(frozen=True, eq=False)
class Calibration(results.Details):
    """The result of `calibration`: ranks of the true parameters among posterior draws, and their tests.

    Attributes:
        columns: names of the d columns.
        ranks: rank of the truth in each simulation, (m, d + 1), from 0 to `draws`: in each column, then in the distance
            to a point.
        draws: posterior draws of each simulation, L.
        widths: 1 / the standard deviation of the normal scores of the ranks of each column: 1 is correct, 0.8 is 20 %
            too narrow; for several columns also the joint width. Each has the p-value of the hypothesis that it is 1,
            and an interval corrected for all tests (Bonferroni), which excludes 1 exactly if a difference is detected.
        p_values: p-values of the hypothesis that the ranks are uniform, (d + 1,).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> theta = rng.normal(size=(200, 2))
        >>> x = theta + rng.normal(size=(200, 2))
        >>> posterior = motes.fit(theta, given=x, changes={"training.steps": 2}, verbose=False)
        >>> found = motes.calibration(posterior, theta, x, draws=19)
        >>> found.ranks.shape, len(found.coverage(0.9))
        ((200, 3), 3)
    """

    json_names = ("columns", "draws", "p_value", "findings")
    kind = "posteriors"

    columns: tuple[str, ...]
    ranks: NDArray[np.int64]
    draws: int
    widths: tuple[Metric, ...]
    p_values: Array

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns, and "all columns" for the joint posterior."""
        return (*self.columns, JOINT)

    @property
    def p_value(self) -> float:
        """p-value of the hypothesis that all widths are 1 and all ranks uniform (Bonferroni)."""
        return min(one.p_value or 0.0 for one in self.verdicts.values())

    @property
    def calibrated(self) -> bool:
        """Whether no miscalibration is detected; false alarms occur for 2.5 % of correct posteriors."""
        return self.p_value >= FALSE_ALARMS

    @property
    def width_of(self) -> dict[str, Metric]:
        """The widths by name."""
        return dict(zip(self.names, self.widths, strict=False))

    @property
    def tests(self) -> list[Entry]:
        """Tests of widths, such as "width of rate", and of ranks, such as "ranks of rate" (Bonferroni)."""
        tests, found = len(self.widths) + len(self.p_values), []
        for name, p in zip(self.names, self.p_values.tolist(), strict=True):
            joint = name == JOINT
            if (width := self.width_of.get(name)) is not None:
                detectable = detectable_width(len(self.ranks) * (len(self.columns) if joint else 1), tests)
                off, how = abs(1 - width), "narrow (over-confident)" if width < 1 else "wide (under-confident)"
                text, seen = f"{off:.0%} too {how}", f"a width that is {detectable:.0%} off"
                adjusted = min(1.0, tests * results.p_of(width))
                verdict = results.judged(
                    adjusted, off, "width", text, detectable=detectable, seen=seen, alpha=FALSE_ALARMS
                )
                about = "width of the posterior, from normal scores of ranks; 1 is correct"
                chance = width / width.high, width / width.low
                found.append(Entry("calibration", f"width of {name}", about, verdict, width, 1.0, chance))
            text = "miscalibrated" if joint else "shifted or of the wrong shape"
            verdict = results.judged(min(1.0, tests * p), 0, MODERATE, text, alpha=FALSE_ALARMS)
            about = "uniformity of the ranks of true values among posterior draws"
            found.append(Entry("calibration", f"ranks of {name}", about, verdict))
        return found

    @property
    def verdicts(self) -> dict[str, Verdict]:
        """Verdicts of the tests by name."""
        return {one.name: one.verdict for one in self.tests}

    def coverage(self, level: float) -> dict[str, Metric]:
        """Return the coverage of intervals of this level: central ones of each column, and joint ones by distance.

        Raises:
            ValueError: a level that is not between 0 and 1.

        Example:
            >>> from motes.evaluation import Calibration
            >>> ranks = np.arange(100)[:, None] * [1, 1]
            >>> found = Calibration(("rate",), ranks, 99, (), np.ones(2))
            >>> print(found.coverage(0.9)["rate"])
            0.9 (0.8256 to 0.9448)
        """
        if not 0 < level < 1:
            raise ValueError(f"level = {level}; expected a number between 0 and 1.")
        # A rank r covers the interval from r / (L + 1) to (r + 1) / (L + 1), which may be partly inside.
        low, high = np.full((2, len(self.names)), [[(1 - level) / 2], [(1 + level) / 2]])
        low[-1], high[-1] = 0.0, level  # a ball around the point, and not a ring
        first, last = self.ranks / (self.draws + 1), (self.ranks + 1) / (self.draws + 1)
        part = np.clip(np.minimum(last, high) - np.maximum(first, low), 0, None) * (self.draws + 1)
        n = len(part)
        return {
            name: results.share("coverage", float(column.mean()), float(column.var() / n), n)
            for name, column in zip(self.names, part.T, strict=True)
        }

    @property
    def coverages(self) -> dict[float, dict[str, Metric]]:
        """Coverages at 50, 80, 90 and 95 %; see `coverage`."""
        return {level: self.coverage(level) for level in LEVELS}

    @property
    def findings(self) -> list[str]:
        """A sentence with a fix for each column whose posteriors are miscalibrated, and for the joint posterior."""
        found, sentences = self.verdicts, []
        for name in self.names:
            wrong = [one.text for key, one in found.items() if key.endswith(f" of {name}") and one.differs]
            whose = f"the joint posterior of {JOINT} is" if name == JOINT else f"posteriors of '{name}' are"
            if wrong:
                sentences.append(f"{whose} {wrong[0]}. Train {_suggest_fix(self.width_of.get(name))}.")
        return sentences

    def plot(self, style: str = "light") -> Axes:
        """Plot the ranks of each column and of the joint posterior, with the band expected for uniform ranks.

        Example:
            >>> from motes.evaluation import Calibration
            >>> found = Calibration(("rate",), np.arange(100)[:, None] * [1, 1], 99, (), np.ones(2))
            >>> [line.get_label() for line in found.plot().get_lines()][1:]
            ['rate', 'all columns']
        """
        from motes.plots.curves import rank_curves

        return rank_curves(dict(zip(self.names, self.ranks.T, strict=True)), self.draws, style=style)

    def __repr__(self) -> str:
        return f"Calibration({len(self.ranks):,} simulations, {self.draws} draws each, p = {self.p_value:.2g})"

    def __str__(self) -> str:
        cover, found = self.coverages, self.verdicts
        lines = []
        for name, width in zip_longest(self.names, self.widths):
            own = "" if width is None else results.with_interval(width)
            p_values = ["" if width is None else results.p_value(found[f"width of {name}"].p_value)]
            p_values.append(results.p_value(found[f"ranks of {name}"].p_value))
            lines.append((name, own, *p_values, *(f"{float(one[name]):.1%}" for one in cover.values())))
        head = ("", "width", "p", "p of ranks", *(f"{level:.0%} holds" for level in LEVELS))
        m, rate = len(self.ranks), f"{FALSE_ALARMS:.1%} of correct posteriors"
        fine = f"no miscalibration detected in {m:,} simulations (p = {self.p_value:.2g}; false alarms: {rate}). "
        fine += f"The tests could detect widths that are {detectable_width(m, len(found)):.0%} or more off."
        return "\n".join([results.aligned(head, lines), "", *(self.findings or [fine])])

    def to_dict(self) -> dict[str, Any]:
        p_values = dict(zip(self.names, self.p_values, strict=True))
        more = {"simulations": len(self.ranks), "p_values": p_values, "widths": self.width_of}
        return super().to_dict() | encode(more | {"coverage": self.coverages})


@check_arguments
def calibration(
    model: PosteriorModel, theta: Any, x: Any, *, iid: bool = False, draws: int = 99, seed: int = 0
) -> Calibration:
    """Test whether a model's posteriors are calibrated, on simulations that it was not trained on.

    Args:
        model: trained by `motes.fit(theta, given=x)`.
        theta: parameters drawn from the prior, (m, d), or any kind of table.
        x: their simulations, (m, c) or a table; at least 50 rows, and some hundred to detect small errors.
        iid: test the posteriors given several independent observations. x is then an array (m, k, c) with k
            simulations of each row of theta; each row takes a second or more.
        draws: posterior draws for each row.
        seed: seed of the draws.

    Raises:
        UsageError: a model without conditions, too few rows, or too many observations of each.
        DataError: rows that cannot be used.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> theta = rng.normal(size=(200, 2))
        >>> x = theta + rng.normal(size=(200, 2))
        >>> posterior = motes.fit(theta, given=x, changes={"training.steps": 2}, verbose=False)
        >>> motes.calibration(posterior, theta, x, draws=19).columns
        ('x', 'y')
    """
    draws, seed = check_count(draws, "draws"), check_seed(seed)
    if iid:
        try:
            trials = np.asarray(x, np.float64)
        except (TypeError, ValueError):  # a table, or rows with different numbers of observations
            trials = np.empty(())
        if trials.ndim != 3:
            raise UsageError(
                f"iid=True: x is {type(x).__name__} of shape {np.shape(trials)}; expected an array of shape (rows, "
                "observations of each, columns)."
            )
        rows, _ = simulations_of(model, theta, trials[:, 0])
        seeds = np.random.SeedSequence([seed, 161803]).generate_state(len(rows)).tolist()
        each = zip(trials, seeds, strict=True)
        drawn = np.stack([model.draw(draws, one, iid=True, seed=word) for one, word in each])
        x = model.context.mapped(trials.mean(axis=1))
    else:
        rows, observed = simulations_of(model, theta, x)
        drawn, x = model.draw(draws, observed, seed=seed), model.context.mapped(observed)
    varies, names = model.standardiser.varies, tuple(model.varying(rows))
    return calibration_of(names, rows[:, varies], drawn[..., varies], x, np.random.default_rng([seed, 173205]))


def simulations_of(model: PosteriorModel, theta: Any, x: Any) -> tuple[Array, Array]:
    """Return parameters (m, d) and their simulations (m, c).

    Raises:
        UsageError: a model without conditions, or too few rows.
        DataError: rows that cannot be used.
    """
    if not isinstance(model, PosteriorModel):
        raise UsageError("calibration: this model has no conditions. Train one that has: motes.fit(theta, given=x).")
    rows = model.matrix(theta, "theta")
    observed, _ = model.context.rows(x)
    expected = len(observed), len(model.columns)
    if rows.ndim != 2 or rows.shape != expected:
        raise DataError(f"theta has shape {rows.shape}; expected {expected}, a row for each row of x.")
    if not np.isfinite(rows).all():
        raise DataError("theta contains an entry that is not a finite number. Remove such rows.")
    model.check_constants(rows, "theta")
    if len(rows) < FEWEST:
        raise UsageError(f"got {len(rows)} simulations; expected at least {FEWEST}; small errors need some hundred.")
    return rows, observed


def calibration_of(
    columns: tuple[str, ...], theta: Array, drawn: Array, x: Array, rng: np.random.Generator
) -> Calibration:
    """Compute the calibration from parameters theta (m, d) and posterior draws (m, L, d).

    Args:
        columns: d names.
        theta: the true parameters of each observation.
        drawn: draws from the model's posterior of each observation.
        x: the observations (m, c), with columns of similar spread.
        rng: generator that breaks ties, makes ranks continuous, and draws the points of the first rows.
    """
    from scipy import stats

    scale = np.where(theta.std(axis=0) > 0, theta.std(axis=0), 1.0)
    away = lambda values, point: np.linalg.norm((values - point) / scale, axis=-1)
    points, d = _choose_points(theta, x, rng), len(columns)
    both = np.concatenate([theta[:, None], drawn], axis=1)
    both = np.concatenate([both, away(both, points[:, None])[..., None], _mahalanobis(both)[..., None]], axis=2)
    true, others = both[:, :1], both[:, 1:]
    equal = (others == true).sum(axis=1)
    ranks = (others < true).sum(axis=1) + rng.integers(0, equal + 1)
    # A uniform position within the rank makes tests of the continuous uniform distribution exact.
    places = (ranks + rng.random(ranks.shape)) / (drawn.shape[1] + 1)
    p_values = np.array([stats.kstest(column, "uniform").pvalue for column in places.T[:-1]])
    scores = ndtri(np.maximum(places[:, :d], np.finfo(np.float64).tiny))
    totals = [((column - column.mean()) ** 2).sum() for column in scores.T]
    free = [len(theta) - 1] * d
    if d > 1:  # for one column it would repeat the same test
        totals.append(stats.chi2.ppf(places[:, -1], d).sum())
        free.append(len(theta) * d)
    tests = len(totals) + len(p_values)
    widths = tuple(_measure_width(float(total), n, tests) for total, n in zip(totals, free, strict=True))
    return Calibration(columns, ranks[:, :-1], drawn.shape[1], widths, p_values)


def _mahalanobis(values: Array) -> Array:
    """Return the Mahalanobis distances of values (m, l, d) to the mean of their row, (m, l)."""
    with np.errstate(all="ignore"):  # draws that are not finite, for which sampling warns, are ignored
        away = values - values.mean(axis=1, keepdims=True)
        away = np.nan_to_num(away / away.std(axis=1, keepdims=True), nan=0.0, posinf=0.0, neginf=0.0)
    inverse = np.linalg.pinv(np.swapaxes(away, 1, 2) @ away, hermitian=True)
    return np.asarray(((away @ inverse) * away).sum(axis=2))


def _choose_points(theta: Array, x: Array, rng: np.random.Generator) -> Array:
    """Return the points for distances (m, d): theta of a similar x among earlier rows, in rounds of doubling size."""
    from scipy.spatial import cKDTree

    m = len(theta)
    points = theta.mean(axis=0) + theta.std(axis=0) * rng.standard_normal(theta.shape)
    for start, end in ((m // 8, m // 4), (m // 4, m // 2), (m // 2, m)):
        points[start:end] = theta[cKDTree(x[:start]).query(x[start:end])[1]]
    return points


def _measure_width(total: float, free: int, tests: int) -> Metric:
    """Return sqrt(free / total) for a chi-squared total with `free` degrees of freedom, and its Bonferroni interval."""
    from scipy import stats

    below, above = stats.chi2.cdf(total, free), stats.chi2.sf(total, free)
    level = FALSE_ALARMS / tests / 2
    value, low, high = np.sqrt(np.array([free, *stats.chi2.ppf([level, 1 - level], free)]) / total).tolist()
    return Metric("width", value, low, high, float(min(1.0, 2 * min(below, above))))


def _suggest_fix(width: Metric | None) -> str:
    if width is not None and width.high < 1:
        return "on more simulations, or stop earlier: training.validation = 0.1"
    if width is not None and width.low > 1:
        return "for more steps, training.steps, or with a wider network, network.width"
    return "for more steps, training.steps, or on more simulations"


# --- Evaluation and diagnosis of posterior models: calibration and log p --------------------------------------------


ROWS = 2000  # most rows used


def rows_of(model: PosteriorModel, data: Any, given: Any, n: int) -> tuple[Any, Any, str, str]:
    """Return at most `n` rows, their observations, the name of their source, and a description.

    Raises:
        UsageError: rows without observations, or a source that does not exist.
        DataError: rows that cannot be used.
    """
    if data is None or isinstance(data, str):
        if given is not None:
            raise UsageError("got given without rows in memory; a file has both. Omit given, or pass the rows.")
        table, name, against = simulations_of_source(model, data)
        if table.given is None:
            raise DataError(f"'{name}' has no observed columns. Use a file that has them.")
        n = min(n, ROWS)
        return table.x[:n], table.given.x[:n], name, against
    if given is None:
        raise UsageError(
            f"this model is conditioned on {', '.join(model.context.columns)}; got rows without them. Pass both: "
            "evaluate(theta, given=x), diagnose(theta, given=x)."
        )
    return data, given, "rows in memory", "rows in memory"


def evaluate_posteriors(
    model: PosteriorModel, data: Any = None, given: Any = None, *, n: int = ROWS, seed: int = 0
) -> Evaluation[Calibration]:
    """Return the calibration and log p of the rows as a record.

    Args:
        model: trained model.
        data: rows (m, d) in memory, or a file; None: the held-out rows of the file that it was trained on.
        given: the observation of each row in memory.
        n: largest number of rows taken from a file.
        seed: seed of the draws.

    Raises:
        UsageError: rows that are not available, or fewer than 50.
        DataError: rows that cannot be used.
    """
    theta, x, name, against = rows_of(model, data, given, n)
    found = calibration(model, theta, x, seed=seed)
    log_prob = model.score_samples(np.asarray(theta, np.float64), given=x)
    record = evaluation_of_posteriors(found, log_prob, seed=seed)
    return replace(record, source=name, evaluated_against=against, about=about(model))
