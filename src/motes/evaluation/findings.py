"""Findings, and checks for common problems before training."""

import json
import math
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from motes.data import Standardiser, Support, Table
from motes.encoding import JsonRecord
from motes.errors import MotesError
from motes.evaluation.results import Array
from motes.points import PointRecipe, RectifiedFlow, VarianceExploding
from motes.points.schedules import BetasBetween, LinearVP

SURE = 3.0  # standard errors by which a finding must exceed its threshold


@dataclass(frozen=True)
class Finding(JsonRecord):
    """A problem of the data, the recipe or the model.

    Attributes:
        name: short and stable, so that programs can test for it.
        value: the number that revealed the problem.
        meaning: an explanation, one or more sentences.
        changes: recipe changes that fix it, for `motes.load_recipe`; empty if only other data can fix it.

    Example:
        >>> finding = motes.diagnose(motes.make_shape("moons", 1000), "tutorial")[0]
        >>> finding.name, finding.changes["data.standardise"], finding.fix.split()[:2]
        ('prior_mismatch', True, ['--set', 'data.standardise=true'])
    """

    name: str
    value: float
    meaning: str
    changes: Mapping[str, Any] = field(default_factory=dict)

    json_names = ("name", "value", "meaning", "fix")

    @property
    def fix(self) -> str:
        """The changes as options of `motes train`; "" if there are none."""
        return as_options(self.changes)

    def __repr__(self) -> str:
        return f"Finding({self.name!r}, {self.value:.3g})"

    def __str__(self) -> str:
        fix = f" Fix it with {self.fix}" if self.fix else ""
        return f"{self.name} = {self.value:.3g}. {self.meaning}{fix}"


def headline(findings: Sequence[Finding]) -> str:
    """Return the number of findings in words.

    Example:
        >>> headline([])
        'No problems detected'
    """
    count = len(findings)
    return f"{count} finding{'s' if count > 1 else ''}" if count else "No problems detected"


def named(findings: Sequence[Finding]) -> str:
    """Return the number and the names of the findings.

    Example:
        >>> named([])
        'no findings'
    """
    names = ", ".join(finding.name for finding in findings)
    return f"{headline(findings)} ({names})" if findings else "no findings"


# --- The prior mismatch: KL between the noised data at t = 1 and the distribution that sampling starts from ---------
#
#     KL(q(x_1) || p(x_1)) = KL(g || p) + KL(q(x_1) || g),    p = N(0, prior_std^2 I)
#
# g is the Gaussian with the mean and covariance of q(x_1). The first part is a formula. The second one, which does not
# depend on the covariance alone, is a mean over draws: q(x_1) is a mixture of one Gaussian around each row.


ATOMS = 1000  # rows that represent all rows; also the number of draws
PRIOR_NATS = 0.02  # a smaller mismatch is not detectable in 10,000 samples
SIGMAS = (10.0, 20.0, 40.0, 80.0, 160.0, 320.0)  # candidates for schedule.sigma_max


def as_learned(x: Array, recipe: PointRecipe) -> Array:
    """Return rows (n, d) in the units that the recipe trains in."""
    return Standardiser.fit(x).forward(x) if recipe.data.standardise else x


def prior_kl(x: Array, recipe: PointRecipe) -> float:
    """Compute the KL in nats from q(x_1) to the prior, with rows `x` (n, d), in the data's units, as draws of x_0.

    At most 1,000 of the rows are used. Repeated calls return the same value.
    """
    from scipy.spatial.distance import cdist
    from scipy.special import logsumexp

    schedule, rng = recipe.make_schedule(), np.random.default_rng(0)
    alpha, sigma, prior = float(schedule.alpha(1.0)), float(schedule.sigma(1.0)), float(schedule.prior_std)
    z = as_learned(x, recipe)
    z = alpha * z[np.sort(rng.permutation(len(z))[:ATOMS])]
    n, d = z.shape
    mean, covariance = z.mean(axis=0), np.cov(z.T, bias=True) + sigma**2 * np.eye(d)
    log_det = np.linalg.slogdet(covariance)[1]
    gaussian = 0.5 * ((np.trace(covariance) + mean @ mean) / prior**2 - d - log_det) + d * np.log(prior)
    draws = z[rng.integers(n, size=ATOMS)] + sigma * rng.standard_normal((ATOMS, d))
    away = draws - mean
    squares = np.einsum("ij,ij->i", away, np.linalg.solve(covariance, away.T).T)
    log_g = -0.5 * (squares + log_det)  # without the constant of both
    log_q = logsumexp(-0.5 * (cdist(draws, z) / sigma) ** 2, axis=1) - np.log(n) - d * np.log(sigma)
    return float(gaussian) + max(float(np.mean(log_q - log_g)), 0.0)


def prior_fix(x: Array, recipe: PointRecipe) -> dict[str, Any]:
    """Find changes after which the recipe ends in its prior, tried on rows (n, d) of the data; {} if none do."""
    for changes in _candidates(recipe):
        other = changed(recipe, changes)
        if other is not None and prior_kl(x, other) < PRIOR_NATS / 2:
            return changes
    return {}


def changed(recipe: PointRecipe, changes: Mapping[str, Any]) -> PointRecipe | None:
    """Return the recipe with these changes; None if they are invalid."""
    try:
        return recipe.changed(changes)
    except MotesError:
        return None


def as_options(changes: Mapping[str, Any]) -> str:
    """Return changes of a recipe as options of the command line.

    Example:
        >>> as_options({"data.standardise": True, "training.steps": 100})
        '--set data.standardise=true --set training.steps=100'
    """
    return " ".join("--set " + shlex.quote(f"{key}={_format_value(value)}") for key, value in changes.items())


def _format_value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _candidates(recipe: PointRecipe) -> list[dict[str, Any]]:
    """List changes that may end a recipe in noise, the smallest first; standardising the data comes before others."""
    found = _schedules(recipe)
    if recipe.data.standardise:
        return found
    scaled = {"data.standardise": True}
    return [scaled, *(scaled | changes for changes in found), *found]


def quad_betas(steps: int) -> dict[str, Any]:
    """Return the betas of `ddpm`, which has 100 steps, scaled so that their sum is the same for any number of steps."""
    return {"schedule.start": rounded(2e-3 / steps), "schedule.end": rounded(min(15 / steps, 0.999))}


def rounded(value: float) -> float:
    """Round a value of an option to six digits, for readability."""
    return float(f"{value:.6g}")


def _schedules(recipe: PointRecipe) -> list[dict[str, Any]]:
    part = recipe.schedule
    if isinstance(part, VarianceExploding):
        return [{"schedule.sigma_max": sigma} for sigma in SIGMAS if sigma > part.sigma_max]
    if recipe.steps is not None:
        quad = quad_betas(recipe.steps)
        own = [quad] if isinstance(part, BetasBetween) and recipe.kind("schedule") == "quad" else []
        return [*own, {"schedule.kind": "quad"} | quad, {"schedule.kind": "cosine"}]
    if isinstance(part, LinearVP):
        return [{"schedule.beta_min": 0.1, "schedule.beta_max": 20.0}, {"schedule.beta_max": 40.0}]
    if isinstance(part, RectifiedFlow):
        return [{"schedule.alpha_1": 0.01}, {"schedule.alpha_1": 0.001}]
    return [{"schedule.kind": "continuous_cosine", "schedule.alpha_1": alpha} for alpha in (0.01, 0.001)]


# --- Checks before training -----------------------------------------------------------------------------------------


def find_problems(table: Table, recipe: PointRecipe) -> list[Finding]:
    """Return the findings of all checks on the columns that vary, the worst kind first."""
    varies = Standardiser.fit(table.x).varies
    columns = tuple(name for name, one in zip(table.columns, varies, strict=True) if one)
    varying = replace(table, x=table.x[:, varies], columns=columns)
    return [finding for check in CHECKS for finding in check(varying, recipe)] if columns else []


def constant_columns(table: Table) -> list[Finding]:
    """Return a finding for each constant column, which the model keeps aside."""
    units, found = Standardiser.fit(table.x), []
    for j in np.flatnonzero(~units.varies):
        value = float(units.mean[j])
        meaning = (
            f"Column '{table.columns[j]}' is constant ({value:g}) and kept aside: all samples have this value, and "
            "other values are impossible."
        )
        found.append(Finding("constant_column", value, meaning))
    return found


# --- the checks; each yields nothing if there is no problem ----------------------------------------------------------

PURE_NOISE = 1e-3  # a step with a lower signal-to-noise ratio is wasted
WASTED = 0.05  # largest accepted share of wasted steps
SCALES = (0.3, 3.0)  # standard deviations that need no standardisation
LEVELS = 10  # a column with fewer distinct values is not continuous
SIMULATIONS = 200  # fewest simulations for a posterior
UNIFORM = (0.02, 1.2)  # a column looks uniform if its Kolmogorov distance is below a + b / sqrt(rows)
DUPLICATES = 0.01  # largest accepted share of copies among the rows
MEMORY = (0.01, 0.25)  # accepted length of the average of the weights, as a share of the training
BEST = 1 / 8  # the length that a fix sets
FEWEST_STEPS = 100  # a shorter training is too short for any average


def _prior_mismatch(table: Table, recipe: PointRecipe) -> Iterator[Finding]:
    value = prior_kl(table.x, recipe)
    if value > PRIOR_NATS:
        left = float(recipe.make_schedule().alpha(1.0)) ** 2
        meaning = (
            f"Sampling starts from another distribution than the forward process ends in: {left:.0%} of the signal's "
            f"power remains at t = 1, and the KL between the two is {value:.2g} nats."
        )
        yield Finding("prior_mismatch", value, meaning, prior_fix(table.x, recipe))


def _noise_range(table: Table, recipe: PointRecipe) -> Iterator[Finding]:
    if (steps := recipe.steps) is None:
        return
    power = float(np.mean(as_learned(table.x, recipe).var(axis=0)))
    wasted = _wasted_share(recipe, steps, power)
    if wasted > WASTED:
        meaning = (
            f"{wasted:.0%} of the steps have a signal-to-noise ratio below {PURE_NOISE:g}, so the others are coarser "
            "than necessary."
        )
        # The fix: the betas of `ddpm`, if they end in noise and waste at most half the accepted share of steps.
        changes = {"schedule.kind": "quad"} | quad_betas(steps)
        other = recipe.changed(changes)
        ends = _wasted_share(other, steps, power) <= WASTED / 2 and prior_kl(table.x, other) < PRIOR_NATS
        yield Finding("wasted_steps", wasted, meaning, changes if ends else {})


def _wasted_share(recipe: PointRecipe, steps: int, power: float) -> float:
    """Return the share of a recipe's steps that are pure noise, for columns with this mean power."""
    log_snr = np.asarray(recipe.make_schedule().log_snr(np.arange(1, steps + 1) / steps))
    return float(np.mean(log_snr + math.log(power) < math.log(PURE_NOISE)))


def _unscaled_columns(table: Table, recipe: PointRecipe) -> Iterator[Finding]:
    if recipe.data.standardise:
        return
    spread = table.x.std(axis=0)
    worst = int(np.argmax(np.abs(np.log(spread))))
    if not SCALES[0] < spread[worst] < SCALES[1]:
        meaning = (
            f"Column '{table.columns[worst]}' has standard deviation {spread[worst]:.3g}; the noise schedule "
            "and the network assume about 1."
        )
        yield Finding("unscaled_columns", float(spread[worst]), meaning, {"data.standardise": True})


def _degenerate_columns(table: Table, recipe: PointRecipe) -> Iterator[Finding]:
    n = len(table.x)
    levels = [len(np.unique(column)) for column in table.x.T]
    whole = (table.x == np.round(table.x)).all(axis=0).tolist()
    few = int(np.argmin([level if level < LEVELS or one else np.inf for level, one in zip(levels, whole, strict=True)]))
    if levels[few] < min(LEVELS, n) or (whole[few] and levels[few] < n / 2):
        only = "whole numbers only" if whole[few] else f"only {levels[few]} distinct values"
        meaning = f"Column '{table.columns[few]}' has {only}; samples will fall between them."
        yield Finding("degenerate_column", levels[few], meaning)
    z = Standardiser.fit(table.x).forward(table.x)
    together = np.abs(np.triu(z.T @ z / len(z), 1))
    a, b = np.unravel_index(np.argmax(together), together.shape)
    if together[a, b] > 1 - 1e-6:
        meaning = (
            f"Columns '{table.columns[a]}' and '{table.columns[b]}' are perfectly correlated, so the data lies on a "
            "plane and has no density."
        )
        yield Finding("dependent_columns", float(together[a, b]), meaning)


def _duplicate_rows(table: Table, recipe: PointRecipe) -> Iterator[Finding]:
    rows = table.x if table.given is None else np.hstack([table.x, table.given.x])
    share = 1 - len(np.unique(rows, axis=0)) / len(rows)
    if share > DUPLICATES:
        meaning = f"{share:.0%} of the rows are copies of other rows, and a model will learn to repeat them."
        yield Finding("duplicate_rows", share, meaning)


def _few_simulations(table: Table, recipe: PointRecipe) -> Iterator[Finding]:
    if table.given is not None and len(table.x) < SIMULATIONS:
        meaning = (
            f"{len(table.x)} simulations are too few to learn a posterior; expected at least {SIMULATIONS}, preferably "
            "1,000 or more."
        )
        yield Finding("few_simulations", len(table.x), meaning)


def _bounds_left_out(table: Table, recipe: PointRecipe) -> Iterator[Finding]:
    """Find columns without bounds that look uniform between two ends, like a prior."""
    from scipy.stats import kstest

    if table.given is None or len(table.x) < SIMULATIONS:
        return
    support = Support.of(recipe.data.bounds, table.columns)
    found = {}
    for j, (name, column) in enumerate(zip(table.columns, table.x.T, strict=True)):
        bounded = support is not None and (np.isfinite(support.low[j]) or np.isfinite(support.high[j]))
        low, high = float(column.min()), float(column.max())
        if not bounded and high > low and not (column == np.round(column)).all():
            found[name] = kstest((column - low) / (high - low), "uniform").statistic, f"{low:.4g} to {high:.4g}"
    threshold = UNIFORM[0] + UNIFORM[1] / np.sqrt(len(table.x))
    ends = {name: end for name, (distance, end) in found.items() if distance < threshold}
    if ends:
        listed = ", ".join(f"'{name}' ({end})" for name, end in ends.items())
        meaning = (
            f"Columns that look uniform between two ends: {listed}. Without bounds, many samples will lie beyond them. "
            f"Give the bounds of the prior, in Python with fit(..., bounds={{'{next(iter(ends))}': (LOW, HIGH)}})."
        )
        yield Finding("bounds_left_out", len(ends), meaning, {"data.bounds": [f"{name}=LOW..HIGH" for name in ends]})


def _average_of_weights(table: Table, recipe: PointRecipe) -> Iterator[Finding]:
    part, steps = recipe.training, recipe.training.steps
    length = 1 / max(1 - part.ema, 1e-12)
    share = length / steps
    if part.weights == "averaged" and share > MEMORY[1] and steps >= FEWEST_STEPS:
        meaning = (
            f"The average of the weights spans {length:,.0f} of {steps:,} steps, so it still contains the untrained "
            "weights of the first steps."
        )
        yield Finding("ema_too_long", share, meaning, ema_fitting(part.ema, steps))
    if part.decay == "constant" and (part.weights == "last" or share < MEMORY[0]):
        averaged, share = ({"training.weights": "averaged"}, 0.0) if part.weights == "last" else ({}, share)
        changes = averaged | ema_fitting(part.ema, steps) | {"training.decay": "cosine"}
        meaning = (
            "The learning rate never falls and hardly any steps are averaged, so the samples contain the jitter of "
            "the last steps."
        )
        yield Finding("ema_too_short", share, meaning, changes)


def ema_fitting(ema: float, steps: int) -> dict[str, Any]:
    """Return the change of `training.ema` that suits this number of training steps; {} if none is needed."""
    if MEMORY[0] <= 1 / max(1 - ema, 1e-12) / steps <= MEMORY[1]:
        return {}
    return {"training.ema": rounded(max(1 - 1 / (BEST * steps), 0.0))}


CHECKS: tuple[Callable[[Table, PointRecipe], Iterator[Finding]], ...] = (
    _unscaled_columns,
    _prior_mismatch,
    _noise_range,
    _degenerate_columns,
    _duplicate_rows,
    _few_simulations,
    _bounds_left_out,
    _average_of_weights,
)
