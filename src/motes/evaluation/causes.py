"""The error of a model split by cause (prior, learning, discretisation), and the fix of each cause."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from motes.errors import MotesError
from motes.evaluation.findings import Finding, changed, ema_fitting
from motes.evaluation.losses import ExcessLoss, excess_loss, noise_levels
from motes.evaluation.metrics import directions_in
from motes.evaluation.points import UNLEARNED
from motes.evaluation.sources import PointSource
from motes.points import (
    Denoiser,
    DPMSolver3M,
    EmpiricalOracle,
    GaussianOracle,
    KarrasGrid,
    LogNormalTimes,
    Oracle,
    PointModel,
    PointRecipe,
    ReverseProcess,
    Sampler,
    Schedule,
    Training,
    Truth,
    sample,
)
from motes.points.exact import MixtureOracle
from motes.points.networks import Residual, StepGated
from motes.points.sampling import LogSNRGrid
from motes.progress import OnProgress, silent
from motes.seeds import seed_key

Array = NDArray[np.float64]

OFTEN = 3.0  # a noise level is too rare if better training times cover it this many times as often
MOST = 0.5  # smallest share of the excess loss at such levels
DROPPED = 0.02  # smallest share of rows with a dropped label
FEW = 1000  # steps
TRAVEL = 4.0  # smallest sum of all learning rates: about the distance that Adam can move a weight
FAST = 0.03  # the highest learning rate
SMALL = 4.0  # a network is too small if its width times depth is this many times below the default's
PLACES = 4096


class Cause(NamedTuple):
    """A cause in the recipe that keeps a network from learning.

    Attributes:
        name: name of the finding.
        meaning: the cause in words, the end of a sentence.
        changes: recipe changes that fix it.
    """

    name: str
    meaning: str
    changes: dict[str, Any]


def causes_of(model: PointModel, excess: ExcessLoss) -> list[Cause]:
    """List likely causes of a poorly trained network, in order of their checks."""
    found = [*_times(model.recipe, excess), *_labels(model), *_training(model.recipe), *_network_size(model.recipe)]
    return [cause for cause in found if changed(model.recipe, cause.changes) is not None]


def visits(recipe: PointRecipe, noise: Array) -> Array:
    """Return how often training covers each noise level (m,), relative to uniform coverage of the range."""
    schedule = recipe.make_schedule()
    t = np.asarray(recipe.times.place(schedule, jnp.asarray((np.arange(PLACES) + 0.5) / PLACES)))
    seen = -np.asarray(schedule.log_snr(t), np.float64) / 2
    edges = _bin_edges(np.log(noise))
    counts, _ = np.histogram(seen, edges)
    return counts / PLACES / np.diff(edges) * (edges[-1] - edges[0])


def _bin_edges(levels: Array) -> Array:
    """Return bin edges around m increasing numbers, (m + 1,)."""
    middle = (levels[1:] + levels[:-1]) / 2
    return np.concatenate([[2 * levels[0] - middle[0]], middle, [2 * levels[-1] - middle[-1]]])


def _times(recipe: PointRecipe, excess: ExcessLoss) -> Iterator[Cause]:
    log_noise = np.log(excess.noise)
    nats = np.maximum(excess.excess, 0) * np.diff(_bin_edges(log_noise))
    changes: dict[str, Any] = {"times.kind": "steps"}
    better = None if recipe.steps is None else changed(recipe, changes)
    if better is None:
        # The middle of the range, and a spread that reaches its ends.
        own = isinstance(recipe.times, LogNormalTimes)
        changes = {} if own else {"times.kind": "log_normal"}
        changes |= {
            "times.mean": round(float(log_noise[0] + log_noise[-1]) / 2, 2),
            "times.std": round(float(log_noise[-1] - log_noise[0]) / 5.2, 2),
        }
        better = changed(recipe, changes)
    if better is None:
        return
    rare = visits(better, excess.noise) > OFTEN * visits(recipe, excess.noise)
    if nats[rare].sum() > MOST * nats.sum():
        low, high = excess.noise[rare].min(), excess.noise[rare].max()
        yield Cause("wrong_times", f"training rarely covers noise levels from {low:.2g} to {high:.2g}", changes)


def _labels(model: PointModel) -> Iterator[Cause]:
    part = model.recipe.training
    if model.classes is not None and part.label_dropout < DROPPED:
        yield Cause(
            "label_rarely_dropped",
            f"it is used without labels, but training dropped labels with probability {part.label_dropout:.2g} only",
            {"training.label_dropout": Training.label_dropout},
        )


def _training(recipe: PointRecipe) -> Iterator[Cause]:
    part = recipe.training
    rate, steps = part.learning_rate, part.steps
    if steps < FEW:
        changes = {"training.steps": Training.steps} | ema_fitting(part.ema, Training.steps)
        yield Cause("too_few_steps", f"{steps:,} training steps are too few", changes)
    travel = rate * max(steps, FEW) * (0.5 if part.decay == "cosine" else 1)
    if travel < TRAVEL:
        better = {"training.learning_rate": Training.learning_rate}
        yield Cause("learning_rate_too_low", f"the learning rate of {rate:g} is too low for {steps:,} steps", better)
    elif rate > FAST:
        better = {"training.learning_rate": Training.learning_rate}
        yield Cause("learning_rate_too_high", f"the learning rate of {rate:g} is too high", better)


def _network_size(recipe: PointRecipe) -> Iterator[Cause]:
    own: dict[str, int] = {key: getattr(recipe.network, key, 0) for key in ("width", "depth")}
    usual: dict[str, int] = {key: getattr(Residual(), key) for key in own}
    if not all(own.values()) or SMALL * math.prod(own.values()) > math.prod(usual.values()):
        return
    better = {f"network.{key}": usual[key] for key in own if own[key] < usual[key]}
    yield Cause("network_too_small", f"a network of width {own['width']} and depth {own['depth']} is too small", better)


# --- The setting of the split: reference points, starting points, and a fine grid -----------------------------------
#
# Steps are fine enough if halving them changes nothing.


FINE = (64, 128, 256, 512)  # steps of the reference grid: the fewest for which halving changes nothing
LOWEST = 0.004  # last noise level of the reference grid, in standard deviations of the data
CHECKED = 2048  # rows that are also sampled with halved steps
UNCHANGED = 0.1  # largest accepted change by halved steps, relative to the reference value
DIRECTIONS = 64
GROUPS = 8  # groups of the jackknife
SURE = 3.0  # standard errors by which a finding must exceed its threshold


@dataclass(frozen=True)
class Steps:
    """A sampler and its grid of times (N+1,)."""

    sampler: Sampler
    grid: jax.Array

    @classmethod
    def of(cls, recipe: PointRecipe) -> Steps:
        """Return the sampler and the grid of a recipe."""
        return cls(recipe.sampler, recipe.make_grid())


@dataclass(frozen=True)
class Setting:
    """The reference points and the starting points of the samples of a model.

    Attributes:
        model, seed: the model, and the seed of the noise.
        origin: the data of the model.
        reference, other: real points (n, d), in the data's units.
        exact: the exact denoiser; None if the distribution is unknown.
        starts: points at t = 1 from the prior, and real points with noise; both with the same noise, (n, d) each.
    """

    model: PointModel
    origin: PointSource
    seed: int
    reference: Array
    other: Array
    exact: Denoiser | None
    starts: tuple[Array, Array]

    @classmethod
    def of(cls, model: PointModel, origin: PointSource, n: int, seed: int) -> Setting:
        """Prepare the setting of a model and its data, with at most `n` rows of each set."""
        reference, other = origin.real(n)
        truth = origin.truth
        real = truth.sample(len(reference), seed=seed) if truth else other
        exact = truth.oracle(model.denoiser.schedule, model.standardiser) if truth else None
        return cls(model, origin, seed, reference, other, exact, _starting_points(model, real, seed_key(seed, "start")))

    def few(self, n: int) -> Setting:
        """Return the setting with the first `n` rows of each set."""
        return replace(
            self,
            reference=self.reference[:n],
            other=self.other[:n],
            starts=(self.starts[0][:n], self.starts[1][:n]),
        )

    @property
    def denoiser(self) -> Denoiser | None:
        """The denoiser for comparing grids: the exact one, or the network if it is defined between its steps."""
        if self.exact is None and isinstance(self.model.recipe.network, StepGated):
            return None
        return self.exact or self.model.denoiser

    def sampled(self, denoiser: Denoiser, start: Array, steps: Steps, on_progress: OnProgress = silent) -> Array:
        """Sample with a denoiser from `start` with these steps, (n, d) in the data's units."""
        process = ReverseProcess(denoiser, steps.sampler, steps.grid, self.model.dim)
        key = seed_key(self.seed, "split")
        points, _ = sample(process, len(start), key=key, start=start, on_progress=on_progress)
        return self.model.standardiser.inverse(points)

    @cached_property
    def fine(self) -> tuple[Steps | None, tuple[str, ...]]:
        """Steps so fine that halving them changes nothing, and a doubt if there are none.

        None if the distribution is unknown and the network is defined only at its own steps.
        """
        if self.denoiser is None:
            return None, ()
        few, random = self.few(CHECKED), self.exact is None and self.model.recipe.sampler.stochastic
        allowed = UNCHANGED * squared_distances([few.other], few.reference)[0][0]
        change, sets = np.inf, [few.sampled(self.denoiser, few.starts[1], _fine_steps(self, FINE[0]))]
        for steps in FINE[1:]:
            sets = [sets[-1], few.sampled(self.denoiser, few.starts[1], _fine_steps(self, steps))]
            (before, now), (error,) = squared_distances(sets, few.reference)
            change = abs(now - before)
            if change <= max(allowed, SURE * error if random else 0.0):  # different steps draw different noise
                return _fine_steps(self, steps // 2), ()
        return _fine_steps(self, FINE[-1]), (
            f"half as many steps as the finest grid, {FINE[-1]}, change the squared distance by {change:.2g}.",
        )


def _fine_steps(setting: Setting, steps: int) -> Steps:
    """Return this number of steps, equal in a power of the noise level, from t = 1 down to almost no noise.

    With the exact denoiser all samplers agree, and a deterministic one has the least noise. A network has a different
    distribution for each sampler, so a stochastic sampler of the recipe is kept.
    """
    model = setting.model
    schedule, recipe = model.denoiser.schedule, model.recipe
    highest = float(np.exp(-np.asarray(schedule.log_snr(1.0)) / 2))
    unit = float(np.sqrt(model.standardiser.forward(setting.other).var(axis=0).mean()))
    lowest = min(LOWEST * unit, model.lowest_noise, highest / 10)
    if setting.exact is None and recipe.steps is not None:  # the network has learned nothing below its first step
        lowest = min(float(np.exp(-np.asarray(schedule.log_snr(1 / recipe.steps)) / 2)), highest / 10)
    random = setting.exact is None and recipe.sampler.stochastic
    return Steps(recipe.sampler if random else DPMSolver3M(), KarrasGrid(steps, lowest)(schedule))


def _starting_points(model: PointModel, x: Array, key: jax.Array) -> tuple[Array, Array]:
    """Return points at t = 1 from the prior, and real points `x` with noise; both with the same noise."""
    schedule = model.denoiser.schedule
    z = model.standardiser.forward(x)
    eps = np.asarray(jax.random.normal(key, z.shape), np.float64)
    alpha, sigma, prior = float(schedule.alpha(1.0)), float(schedule.sigma(1.0)), float(schedule.prior_std)
    return prior * eps, alpha * z + sigma * eps


def squared_distances(sets: list[Array], reference: Array) -> tuple[Array, Array]:
    """Compute the squared sliced W2 of each set to the reference, (n, d) each, and standard errors of differences.

    The standard errors belong to the differences of successive sets. They are jackknife estimates over groups of rows,
    which are the same rows of every set.
    """
    axes = directions_in(reference.shape[1], DIRECTIONS, np.random.default_rng(0))
    lines, real = [(points @ axes).T for points in sets], (reference @ axes).T  # (directions, n) each
    unit = float(reference.var(axis=0).mean())
    group = np.arange(len(reference)) % GROUPS

    def squares(keep: NDArray[np.bool_]) -> Array:
        there = np.sort(real[:, keep])
        return np.array([np.mean((np.sort(line[:, keep]) - there) ** 2) for line in lines]) / unit

    without = np.stack([np.diff(squares(group != g)) for g in range(GROUPS)])
    spread = ((without - without.mean(axis=0)) ** 2).sum(axis=0) * (GROUPS - 1) / GROUPS
    return squares(group >= 0), np.sqrt(spread)


# --- The excess loss of the network, overfitting, and the causes of poor training -----------------------------------


EXACT = "the exact denoiser"
EXCESS_ROWS = 2048
ALPHA = 1e-3  # level of the rank test
OVERLEARNED = 0.3  # largest accepted difference between held-out and training rows, in nats per row
SCALES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.45, 0.7)  # kernel widths, in standard deviations of the data
REFERENCE_ROWS = 10_000
GAUSSIANS = (1, 4, 16)
EACH = 20  # fewest rows per Gaussian and column
AVERAGING = ("ema_too_long", "ema_too_short")


def excess_over_exact(model: PointModel, truth: Truth, unseen: Array, seed: int) -> ExcessLoss:
    """Compute the network's loss on held-out rows minus the loss of the exact denoiser."""
    schedule, z = model.denoiser.schedule, model.standardiser.forward(unseen)
    t, _ = noise_levels(schedule, model.lowest_noise)
    return excess_loss(model.denoiser, truth.oracle(schedule, model.standardiser), z, t, key=seed_key(seed, "excess"))


def excess_of(model: PointModel, origin: PointSource, unseen: Array, seed: int) -> tuple[ExcessLoss, str]:
    """Compute the excess loss on held-out rows, and the name of the reference: the exact denoiser or a simple model."""
    schedule, z = model.denoiser.schedule, model.standardiser.forward(unseen[:EXCESS_ROWS])
    if origin.truth is not None:
        return excess_over_exact(model, origin.truth, unseen[:EXCESS_ROWS], seed), EXACT
    t, _ = noise_levels(schedule, model.lowest_noise)
    rows = model.standardiser.forward(origin.training.x)
    simple = _mixture(rows, z, schedule), ("a kernel density", _fit_kernels(rows, z, schedule))
    found = [(_excess_over(model, reference, z, t, seed_key(seed, "excess")), name) for name, reference in simple]
    return max(found, key=lambda pair: pair[0].nats)


def _excess_over(model: PointModel, reference: Oracle, z: Array, t: Array, key: Any, repeats: int = 1) -> ExcessLoss:
    """Compute the excess loss over a reference, which may be inexact."""
    return excess_loss(model.denoiser, reference, z[:EXCESS_ROWS], t, key=key, exact=False, repeats=repeats)


def _fit_gaussian(rows: Array, schedule: Schedule) -> Oracle:
    return GaussianOracle(rows.mean(axis=0), np.cov(rows.T, bias=True), schedule)


def _mixture(rows: Array, unseen: Array, schedule: Schedule) -> tuple[str, Oracle]:
    """Fit the number of Gaussians to `rows` that makes held-out rows most likely; return a name as well."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    rows = rows[:REFERENCE_ROWS]
    counts = [count for count in GAUSSIANS if count == 1 or count * EACH * rows.shape[1] <= len(rows)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a reference may be suboptimal
        fits = [
            GaussianMixture(count, reg_covar=_smallest_variance(count), random_state=0).fit(rows) for count in counts
        ]
    best = max(fits, key=lambda fit: float(fit.score(unseen)))
    name = "a Gaussian" if best.n_components == 1 else f"a mixture of {best.n_components} Gaussians"
    return name, MixtureOracle(best.weights_, best.means_, best.covariances_, schedule)


def _smallest_variance(count: int) -> float:
    """Return the smallest variance, which prevents one of several Gaussians from memorising equal entries."""
    return 1e-6 if count == 1 else SCALES[0] ** 2


def _fit_kernels(rows: Array, unseen: Array, schedule: Schedule) -> Oracle:
    """Fit a kernel density to `rows`, with the width that makes held-out rows most likely."""
    oracles = [
        EmpiricalOracle(rows[:REFERENCE_ROWS], schedule, spread=np.full(rows.shape[1], scale)) for scale in SCALES
    ]
    return max(oracles, key=lambda oracle: float(np.mean(oracle.rows(unseen, 0.0).log_prob)))


def learning(
    model: PointModel, origin: PointSource, real: Array, excess: ExcessLoss, found: list[Finding], seed: int
) -> Iterator[Finding]:
    """Find overtraining (a higher loss on held-out rows than on training rows) and undertraining."""
    from scipy.stats import mannwhitneyu

    schedule, rows = model.denoiser.schedule, model.standardiser.forward(origin.training.x)
    # A common reference removes part of the noise from both losses.
    reference = (
        origin.truth.oracle(schedule, model.standardiser) if origin.truth is not None else _fit_gaussian(rows, schedule)
    )
    repeats = max(EXCESS_ROWS // len(rows), 1)  # with few rows, each is evaluated with several noises
    unseen, seen = (
        _excess_over(model, reference, x, excess.t, seed_key(seed, name), repeats)
        for x, name in ((model.standardiser.forward(real), "unseen"), (rows, "seen"))
    )
    gap = unseen.nats - seen.nats
    # A rank test, because a few outliers may cost the network more than all other rows together.
    p_value = mannwhitneyu(unseen.nats_of_row, seen.nats_of_row, alternative="greater").pvalue
    if gap > OVERLEARNED and p_value < ALPHA:
        yield Finding(
            "overtrained",
            gap,
            f"The loss on training rows is {gap:.2g} nats per row lower than on held-out rows: the network memorises "
            f"these {len(rows):,} rows instead of learning their distribution.",
            less(model),
        )
    yield from undertrained(model, excess, max(gap, 0.0), found)


def undertrained(model: PointModel, excess: ExcessLoss, gap: float, found: list[Finding]) -> Iterator[Finding]:
    """Find a poorly trained network, named after the likeliest cause; the fix corrects all causes."""
    # A few outliers can dominate the mean, but not the median.
    lower = max(excess.nats - SURE * excess.nats_error, float(np.median(excess.nats_of_row)))
    if lower - gap <= UNLEARNED:
        return
    causes = causes_of(model, excess)
    few = any(cause.name == "too_few_steps" for cause in causes)
    cause = because(found, "unscaled_columns") or ("" if few else because(found, *AVERAGING))
    changes = {key: value for one in causes for key, value in one.changes.items()}
    why = f": {', and '.join(one.meaning for one in causes)}" if causes else ""
    yield Finding(
        causes[0].name if causes and not cause else "undertrained",
        excess.nats,
        f"The network's error costs up to {excess.nats:.2g} nats per row, mostly at noise level "
        f"{excess.worst:.2g}{why}.{see(cause)}",
        {} if cause else changes or more(model),
    )


def more(model: PointModel) -> dict[str, Any]:
    """Return changes for longer training of a larger network."""
    return {"training.steps": 2 * model.recipe.training.steps} | _wider(model, 2)


def less(model: PointModel) -> dict[str, Any]:
    """Return changes for an eighth of the training with half the network."""
    part = model.recipe.training
    steps = max(part.steps // 8, 1)
    return {"training.steps": steps} | ema_fitting(part.ema, steps) | _wider(model, 0.5)


def _wider(model: PointModel, factor: float) -> dict[str, Any]:
    """Return the change of the width by a factor; {} if the network has no width."""
    width = getattr(model.recipe.network, "width", None)
    return {} if width is None else {"network.width": max(int(factor * width), 8)}


def because(found: list[Finding], *names: str) -> str:
    """Return the first finding that is one of `names`; "" if there is none."""
    return next((finding.name for finding in found if finding.name in names), "")


def see(cause: str) -> str:
    """Return a sentence that refers to another finding; "" if there is none."""
    return f" See {cause}." if cause else ""


# --- Sources of the error of a model's samples: the prior, the network, and the steps -------------------------------
#
#     d^2(model) = d^2(real) + prior + learning + discretisation,    d the sliced W2 to real points
#
# The sources are corrected one after another, and each part is the reduction of d^2: first, samples start from real
# points with noise instead of the prior; then, the exact denoiser replaces the network; finally, a grid so fine that
# halving it changes nothing replaces the grid of the recipe. The remainder is d^2(real), the reference value: the
# distance between two real samples. All sets of samples use the same noise, so the differences are much less noisy than
# the distances.
#
# If the distribution is unknown, there is no exact denoiser: the grid is refined second, and the remainder above the
# reference value counts as learning.
#
# The split checks itself and reports if it cannot tell: samples are finite, halving the finest steps changes nothing,
# and with the exact denoiser and these steps, samples are as far from real points as real points are from each other.


ROWS = 8192
REAL_DRAWS, APART = 8, 2.0  # pairs of real samples; accepted factor beyond the range of their distances
PRIOR, LEARNING, DISCRETISATION = "prior", "learning", "discretisation"


@dataclass(frozen=True)
class ErrorPart:
    """One part of the squared sliced W2, with its standard error. Noise can make it negative."""

    value: float
    error: float

    def surely_above(self, threshold: float) -> bool:
        """Test whether the part exceeds a threshold by three standard errors."""
        return self.value - SURE * self.error > threshold


@dataclass(frozen=True)
class ErrorSplit:
    """Sources of the squared sliced W2 distance, in units of the data's variance.

    Attributes:
        rows: rows of each set of samples.
        total: distance of the model's samples to real points.
        reference_value: distance of exact samples or, if the distribution is unknown, of other real points.
        parts: contribution of each source; together with the reference value they sum to the total.
        doubts: reasons not to trust the parts, one sentence each; empty if there are none.

    Example:
        >>> split = model.diagnose("moons", n=64).split
        >>> list(split.parts)
        ['prior', 'learning', 'discretisation']
    """

    rows: int
    total: float
    reference_value: float
    parts: dict[str, ErrorPart]
    doubts: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"ErrorSplit({self.rows:,} rows, {self.total:.3g} in total, reference value {self.reference_value:.3g})"

    def __str__(self) -> str:
        lines = [("two real draws", self.reference_value, "")]
        lines += [(name, part.value, f"± {part.error:.5f}") for name, part in self.parts.items()]
        width = max(len(name) for name, *_ in lines)
        share = _percent if self.adds_up else lambda value, total: ""
        table = "\n".join(
            f"{name:<{width}}  {value:>8.5f} {error:<9} {share(value, self.total):>5}  "
            f"{_bar(value, max(self.total, self.reference_value))}".rstrip()
            for name, value, error in lines
        )
        notes = [f"This split cannot tell: {doubt}" for doubt in self.doubts]
        if not self.adds_up and np.isfinite(self.total):
            notes.append("Noise makes a part negative, so shares of the total are not shown.")
        return "\n".join([table, *notes])

    @property
    def adds_up(self) -> bool:
        """Whether each part is a share of the total from 0 to 1, up to rounding."""
        values = np.array([self.reference_value, *(part.value for part in self.parts.values())])
        return bool(np.isfinite(values).all() and self.total > 0 and (values > -0.005 * self.total).all())

    def to_dict(self) -> dict[str, Any]:
        """Return the split as a dict for JSON.

        Example:
            >>> sorted(model.diagnose("moons", n=64).split.to_dict())
            ['doubts', 'parts', 'reference_value', 'rows', 'total']
        """
        parts = {name: {"value": part.value, "error": part.error} for name, part in self.parts.items()}
        return {
            "rows": self.rows,
            "total": self.total,
            "reference_value": self.reference_value,
            "parts": parts,
            "doubts": list(self.doubts),
        }


def _percent(value: float, total: float) -> str:
    return f"{round(value / total, 2) + 0.0:.0%}"


def _bar(value: float, longest: float) -> str:
    return "█" * round(30 * max(value, 0) / longest) if np.isfinite(value) and 0 < longest < np.inf else ""


def split_error(setting: Setting, on_progress: OnProgress = silent) -> ErrorSplit:
    """Split the distance between a model's samples and real points into its sources.

    Args:
        setting: the model, its data and its starting points.
        on_progress: called with the number of rows sampled so far, out of at most 4 sets.
    """
    model, n, (prior, noised) = setting.model, len(setting.reference), setting.starts
    own, (fine, doubts) = Steps.of(model.recipe), setting.fine
    plan: dict[str, tuple[Denoiser, Array, Steps]]  # by the source corrected last
    plan = {"": (model.denoiser, prior, own), PRIOR: (model.denoiser, noised, own)}
    if setting.exact is not None and fine is not None:
        plan |= {LEARNING: (setting.exact, noised, own), DISCRETISATION: (setting.exact, noised, fine)}
    elif fine is not None:
        plan |= {DISCRETISATION: (model.denoiser, noised, fine)}
    counted = lambda number: lambda now: on_progress(now.after(number * n, len(plan) * n))
    sets = [setting.sampled(*how, counted(number)) for number, how in enumerate(plan.values())]
    names = [*plan][1:]
    if setting.exact is None:
        sets.append(setting.other)
        names.append(LEARNING if DISCRETISATION in names else f"{LEARNING}, {DISCRETISATION}")
    squares, errors = squared_distances(sets, setting.reference)
    parts = {
        name: ErrorPart(float(before - after), float(error))
        for name, before, after, error in zip(names, squares[:-1], squares[1:], errors, strict=True)
    }
    found = ErrorSplit(n, float(squares[0]), float(squares[-1]), parts)
    return replace(found, doubts=(*doubts, *_doubts(found, setting)))


def _doubts(found: ErrorSplit, setting: Setting) -> Iterator[str]:
    """Yield the reasons not to trust the parts."""
    if not np.isfinite([found.total, *(part.value for part in found.parts.values())]).all():
        yield "some samples are not finite numbers."
    if (truth := setting.origin.truth) is None:
        return
    draws = [truth.sample(found.rows, seed=seed) for seed in range(REAL_DRAWS)]
    real = [squared_distances([draw], setting.reference)[0][0] for draw in draws]
    if not min(real) / APART <= found.reference_value <= max(real) * APART:
        yield (
            f"with the exact denoiser and the finest steps the squared distance is {found.reference_value:.2g}, but "
            f"{min(real):.2g} to {max(real):.2g} between two real samples."
        )


# --- Coarse grids: too few steps, or a last step too far from the data; fixes are tried before they are printed -----


COARSE = 0.5  # largest accepted discretisation part, relative to the reference value
HALVED, MOSTLY = 0.5, 0.2  # largest remaining fraction of the error after a fix; fraction that ends the search
MANY = 64
NEAR = KarrasGrid().sigma_min


def coarse_grid(setting: Setting, split: ErrorSplit) -> Iterator[Finding]:
    """Find a grid so coarse that finer steps significantly reduce the distance to the data."""
    part = split.parts.get(DISCRETISATION)
    if split.doubts or part is None or not part.surely_above(COARSE * split.reference_value):
        return
    recipe = setting.model.recipe
    steps, distance = len(setting.model.grid) - 1, math.sqrt(part.value)
    last = getattr(recipe.grid, "sigma_min", 0.0)
    far = f", the last one from a noise level of {last:g}," if last > 2 * NEAR else ""
    yield Finding(
        "coarse_grid",
        distance,
        f"{steps} steps{far} are too coarse: finer steps remove a sliced W2 of {distance:.2g} (between two real "
        f"samples: {math.sqrt(split.reference_value):.2g}).",
        steps_fix(setting),
    )


def steps_fix(setting: Setting) -> dict[str, Any]:
    """Return the first changes that remove nearly all of the discretisation error, otherwise the best ones; {} if none
    halve it."""
    few, (fine, _) = setting.few(CHECKED), setting.fine
    assert fine is not None and few.denoiser is not None  # otherwise the split has no such part
    recipe = setting.model.recipe
    tried: list[tuple[dict[str, Any], Steps]] = []
    for changes in _candidates(recipe):
        try:
            tried.append((changes, Steps.of(recipe.changed(changes))))
        except MotesError:  # invalid for this recipe
            continue
    square = lambda steps: squared_distances([few.sampled(few.denoiser, few.starts[1], steps)], few.reference)[0][0]
    least = square(fine)
    own = square(Steps.of(recipe)) - least
    best: dict[str, Any] = {}
    left = HALVED if own > 0 else 0.0
    for changes, steps in tried:
        share = (square(steps) - least) / max(own, 1e-300)
        if share < left:
            best, left = changes, share
        if left < MOSTLY:
            break
    return best


def _candidates(recipe: PointRecipe) -> Iterator[dict[str, Any]]:
    """Yield changes of the steps, the smallest first."""
    steps = len(recipe.make_grid()) - 1
    more = {"grid.steps": max(MANY, 2 * steps)}
    far = isinstance(recipe.grid, KarrasGrid | LogSNRGrid) and recipe.grid.sigma_min > NEAR
    if far:
        yield {"grid.sigma_min": NEAR}
    if recipe.steps and steps < recipe.steps:
        yield {"grid.steps": recipe.steps}
    yield more
    if far:
        yield more | {"grid.sigma_min": NEAR}
    karras = {"grid.kind": "karras", "grid.steps": max(MANY, steps), "grid.sigma_min": NEAR}
    yield karras
    yield karras | {"sampler.kind": "dpmpp_3m"}
