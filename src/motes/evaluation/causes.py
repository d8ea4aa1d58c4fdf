"""The error of a model split by cause: prior, learning, steps; and what mends each."""

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
    LogSNRGrid,
    MixtureOracle,
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
from motes.points.networks import Residual, StepGated
from motes.progress import OnProgress, silent
from motes.seeds import seed_key

Array = NDArray[np.float64]

OFTEN = 3.0  # how many times more often than it does training should see a noise level that it sees too rarely
MOST = 0.5  # of the excess loss lies at such levels
DROPPED = 0.02  # share of rows without label that a network needs at least
FEW = 1000  # steps
TRAVEL = 4.0  # the least sum of all learning rates: Adam moves a weight by about so much
FAST = 0.03  # the highest learning rate
SMALL = 4.0  # how many times smaller than the default's a network may be, in width times depth
PLACES = 4096


class Cause(NamedTuple):
    """What of a recipe keeps a network from learning.

    Attributes:
        name: of the finding.
        meaning: the cause in words, the end of a sentence.
        changes: of the recipe.
    """

    name: str
    meaning: str
    changes: dict[str, Any]


def causes_of(model: PointModel, excess: ExcessLoss) -> list[Cause]:
    """What may have kept the network of a model from learning, the furthest from what trains well first."""
    found = [*_times(model.recipe, excess), *_labels(model), *_training(model.recipe), *_size(model.recipe)]
    return [cause for cause in found if changed(model.recipe, cause.changes) is not None]


def visits(recipe: PointRecipe, noise: Array) -> Array:
    """How often training sees each noise level (m,), over how often it would if all of the range were seen alike."""
    schedule = recipe.make_schedule()
    t = np.asarray(recipe.times.place(schedule, jnp.asarray((np.arange(PLACES) + 0.5) / PLACES)))
    seen = -np.asarray(schedule.log_snr(t), np.float64) / 2
    edges = _edges(np.log(noise))
    counts, _ = np.histogram(seen, edges)
    return counts / PLACES / np.diff(edges) * (edges[-1] - edges[0])


def _edges(levels: Array) -> Array:
    """Around each of m rising numbers, (m + 1,)."""
    middle = (levels[1:] + levels[:-1]) / 2
    return np.concatenate([[2 * levels[0] - middle[0]], middle, [2 * levels[-1] - middle[-1]]])


def _times(recipe: PointRecipe, excess: ExcessLoss) -> Iterator[Cause]:
    log_noise = np.log(excess.noise)
    nats = np.maximum(excess.excess, 0) * np.diff(_edges(log_noise))
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
        yield Cause("wrong_times", f"training sees noise levels from {low:.2g} to {high:.2g} too rarely", changes)


def _labels(model: PointModel) -> Iterator[Cause]:
    part = model.recipe.training
    if model.classes is not None and part.label_dropout < DROPPED:
        yield Cause(
            "label_rarely_dropped",
            f"it is asked without a label, and training withheld the labels of {part.label_dropout:.2g} of the rows",
            {"training.label_dropout": Training.label_dropout},
        )


def _training(recipe: PointRecipe) -> Iterator[Cause]:
    part = recipe.training
    rate, steps = part.learning_rate, part.steps
    if steps < FEW:
        changes = {"training.steps": Training.steps} | ema_fitting(part.ema, Training.steps)
        yield Cause("too_few_steps", f"{steps:,} steps of training are few", changes)
    travel = rate * max(steps, FEW) * (0.5 if part.decay == "cosine" else 1)
    if travel < TRAVEL:
        better = {"training.learning_rate": Training.learning_rate}
        yield Cause("learning_rate_too_low", f"the learning rate of {rate:g} is too low for {steps:,} steps", better)
    elif rate > FAST:
        better = {"training.learning_rate": Training.learning_rate}
        yield Cause("learning_rate_too_high", f"the learning rate of {rate:g} is high", better)


def _size(recipe: PointRecipe) -> Iterator[Cause]:
    own: dict[str, int] = {key: getattr(recipe.network, key, 0) for key in ("width", "depth")}
    usual: dict[str, int] = {key: getattr(Residual(), key) for key in own}
    if not all(own.values()) or SMALL * math.prod(own.values()) > math.prod(usual.values()):
        return
    better = {f"network.{key}": usual[key] for key in own if own[key] < usual[key]}
    yield Cause("network_too_small", f"a network of width {own['width']} and depth {own['depth']} is small", better)


# --- What samples of a model are compared with, what they start from, and steps that are fine enough ----------------
#
# Steps are fine enough where halves of them change nothing.


FINE = (64, 128, 256, 512)  # steps of the reference grid: the fewest whose halves change nothing
LOWEST = 0.004  # the last noise level of that grid, in standard deviations of the data
CHECKED = 2048  # rows that are sampled with halved steps as well
UNCHANGED = 0.1  # of the reference value: what halved steps may change
DIRECTIONS = 64
GROUPS = 8  # of the jackknife
SURE = 3.0  # standard errors that a finding is beyond its threshold


@dataclass(frozen=True)
class Steps:
    """How a denoiser is sampled: a sampler, and the times (N+1,) that it stops at."""

    sampler: Sampler
    grid: jax.Array

    @classmethod
    def of(cls, recipe: PointRecipe) -> Steps:
        """Those of a recipe."""
        return cls(recipe.sampler, recipe.make_grid())


@dataclass(frozen=True)
class Setting:
    """What samples of a model are compared with, and what they start from.

    Attributes:
        model, seed: whose samples, and of their noise.
        origin: the data of the model.
        reference, other: real points (n, d), in the data's units.
        exact: the exact denoiser; None where the distribution is unknown.
        starts: points at t = 1 from the prior, and noised real points, with the same noise, (n, d) each.
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
        """Of a model and its data, with at most `n` rows of each set."""
        reference, other = origin.real(n)
        truth = origin.truth
        real = truth.sample(len(reference), seed=seed) if truth else other
        exact = truth.oracle(model.denoiser.schedule, model.standardiser) if truth else None
        return cls(model, origin, seed, reference, other, exact, _starts(model, real, seed_key(seed, "start")))

    def few(self, n: int) -> Setting:
        """The same with the first `n` rows of each set."""
        return replace(
            self,
            reference=self.reference[:n],
            other=self.other[:n],
            starts=(self.starts[0][:n], self.starts[1][:n]),
        )

    @property
    def denoiser(self) -> Denoiser | None:
        """By which steps are compared: the exact denoiser, or the network where it knows times between its steps."""
        if self.exact is None and isinstance(self.model.recipe.network, StepGated):
            return None
        return self.exact or self.model.denoiser

    def sampled(self, denoiser: Denoiser, start: Array, steps: Steps, on_progress: OnProgress = silent) -> Array:
        """What a denoiser makes of `start` by these steps, (n, d) in the data's units."""
        process = ReverseProcess(denoiser, steps.sampler, steps.grid, self.model.dim)
        key = seed_key(self.seed, "split")
        points, _ = sample(process, len(start), key=key, start=start, on_progress=on_progress)
        return self.model.standardiser.inverse(points)

    @cached_property
    def fine(self) -> tuple[Steps | None, tuple[str, ...]]:
        """Steps so fine that halves of them change nothing, and a doubt where there are none.

        None for a network that knows no times between its own steps, where the distribution is unknown.
        """
        if self.denoiser is None:
            return None, ()
        few, random = self.few(CHECKED), self.exact is None and self.model.recipe.sampler.stochastic
        allowed = UNCHANGED * squared_distances([few.other], few.reference)[0][0]
        change, sets = np.inf, [few.sampled(self.denoiser, few.starts[1], _fine(self, FINE[0]))]
        for steps in FINE[1:]:
            sets = [sets[-1], few.sampled(self.denoiser, few.starts[1], _fine(self, steps))]
            (before, now), (error,) = squared_distances(sets, few.reference)
            change = abs(now - before)
            if change <= max(allowed, SURE * error if random else 0.0):  # other steps draw other noise
                return _fine(self, steps // 2), ()
        return _fine(self, FINE[-1]), (
            f"half as many steps as the finest, {FINE[-1]}, change the squared distance by {change:.2g}.",
        )


def _fine(setting: Setting, steps: int) -> Steps:
    """As many steps, equal in a power of the noise level, from t = 1 down to next to none.

    A solver of the flow is as good as any where the denoiser is exact, and is the one of least noise. A network has
    another distribution for each sampler, so that a random one is kept.
    """
    model = setting.model
    schedule, recipe = model.denoiser.schedule, model.recipe
    highest = float(np.exp(-np.asarray(schedule.log_snr(1.0)) / 2))
    unit = float(np.sqrt(model.standardiser.forward(setting.other).var(axis=0).mean()))
    lowest = min(LOWEST * unit, model.lowest_noise, highest / 10)
    if setting.exact is None and recipe.steps is not None:  # below its first step it has learned nothing
        lowest = min(float(np.exp(-np.asarray(schedule.log_snr(1 / recipe.steps)) / 2)), highest / 10)
    random = setting.exact is None and recipe.sampler.stochastic
    return Steps(recipe.sampler if random else DPMSolver3M(), KarrasGrid(steps, lowest)(schedule))


def _starts(model: PointModel, x: Array, key: jax.Array) -> tuple[Array, Array]:
    """Points at t = 1, from the prior and from noised real points `x`, with the same noise."""
    schedule = model.denoiser.schedule
    z = model.standardiser.forward(x)
    eps = np.asarray(jax.random.normal(key, z.shape), np.float64)
    alpha, sigma, prior = float(schedule.alpha(1.0)), float(schedule.sigma(1.0)), float(schedule.prior_std)
    return prior * eps, alpha * z + sigma * eps


def squared_distances(sets: list[Array], reference: Array) -> tuple[Array, Array]:
    """Squared sliced W2 of each set to the reference, (n, d) each; the standard error of each difference of neighbours.

    By the jackknife over groups of rows, the same rows of every set.
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


# --- What a network has not learned, what it has learned by heart, and why ------------------------------------------


EXACT = "the exact denoiser"
EXCESS_ROWS = 2048
ALPHA = 1e-3  # of the test of ranks
OVERLEARNED = 0.3  # nats between rows seen and rows unseen
SCALES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.45, 0.7)  # of a kernel, in standard deviations of the data
REFERENCE_ROWS = 10_000
GAUSSIANS = (1, 4, 16)
EACH = 20  # rows for each of their columns, at least
AVERAGING = ("ema_too_long", "ema_too_short")


def excess_over_exact(model: PointModel, truth: Truth, unseen: Array, seed: int) -> ExcessLoss:
    """The network's loss on rows above that of the exact denoiser."""
    schedule, z = model.denoiser.schedule, model.standardiser.forward(unseen)
    t, _ = noise_levels(schedule, model.lowest_noise)
    return excess_loss(model.denoiser, truth.oracle(schedule, model.standardiser), z, t, key=seed_key(seed, "excess"))


def excess_of(model: PointModel, origin: PointSource, unseen: Array, seed: int) -> tuple[ExcessLoss, str]:
    schedule, z = model.denoiser.schedule, model.standardiser.forward(unseen[:EXCESS_ROWS])
    if origin.truth is not None:
        return excess_over_exact(model, origin.truth, unseen[:EXCESS_ROWS], seed), EXACT
    t, _ = noise_levels(schedule, model.lowest_noise)
    rows = model.standardiser.forward(origin.training.x)
    simple = _mixture(rows, z, schedule), ("a kernel density", _kernels(rows, z, schedule))
    found = [(_above(model, reference, z, t, seed_key(seed, "excess")), name) for name, reference in simple]
    return max(found, key=lambda pair: pair[0].nats)


def _above(model: PointModel, reference: Oracle, z: Array, t: Array, key: Any, repeats: int = 1) -> ExcessLoss:
    """The excess over a reference that need not be exact."""
    return excess_loss(model.denoiser, reference, z[:EXCESS_ROWS], t, key=key, exact=False, repeats=repeats)


def _gaussian(rows: Array, schedule: Schedule) -> Oracle:
    return GaussianOracle(rows.mean(axis=0), np.cov(rows.T, bias=True), schedule)


def _mixture(rows: Array, unseen: Array, schedule: Schedule) -> tuple[str, Oracle]:
    """As many Gaussians of `rows` as make the unseen ones likeliest, and what to call them."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    rows = rows[:REFERENCE_ROWS]
    counts = [count for count in GAUSSIANS if count == 1 or count * EACH * rows.shape[1] <= len(rows)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a reference need not be the best one
        fits = [GaussianMixture(count, reg_covar=_least(count), random_state=0).fit(rows) for count in counts]
    best = max(fits, key=lambda fit: float(fit.score(unseen)))
    name = "a Gaussian" if best.n_components == 1 else f"a mixture of {best.n_components} Gaussians"
    return name, MixtureOracle(best.weights_, best.means_, best.covariances_, schedule)


def _least(count: int) -> float:
    """The least variance: one of several Gaussians could lie on equal entries of a column, and know them by heart."""
    return 1e-6 if count == 1 else SCALES[0] ** 2


def _kernels(rows: Array, unseen: Array, schedule: Schedule) -> Oracle:
    """A kernel density of `rows`, as wide as makes the unseen ones likeliest."""
    oracles = [
        EmpiricalOracle(rows[:REFERENCE_ROWS], schedule, spread=np.full(rows.shape[1], scale)) for scale in SCALES
    ]
    return max(oracles, key=lambda oracle: float(np.mean(oracle.rows(unseen, 0.0).log_prob)))


def learning(
    model: PointModel, origin: PointSource, real: Array, excess: ExcessLoss, found: list[Finding], seed: int
) -> Iterator[Finding]:
    """What the network does worse on unseen rows than on those it has seen, and what it has not learned at all."""
    from scipy.stats import mannwhitneyu

    schedule, rows = model.denoiser.schedule, model.standardiser.forward(origin.training.x)
    # The same denoiser takes part of the noise out of both losses.
    yardstick = (
        origin.truth.oracle(schedule, model.standardiser) if origin.truth is not None else _gaussian(rows, schedule)
    )
    repeats = max(EXCESS_ROWS // len(rows), 1)  # of few rows each is looked at under several noises
    unseen, seen = (
        _above(model, yardstick, x, excess.t, seed_key(seed, name), repeats)
        for x, name in ((model.standardiser.forward(real), "unseen"), (rows, "seen"))
    )
    gap = unseen.nats - seen.nats
    # By ranks, because a few rows far off may cost the network more than all the others together.
    p_value = mannwhitneyu(unseen.nats_of_row, seen.nats_of_row, alternative="greater").pvalue
    if gap > OVERLEARNED and p_value < ALPHA:
        yield Finding(
            "overtrained",
            gap,
            f"Rows that the network has seen cost it {gap:.2g} nats less than rows that it has not: it is learning "
            f"these {len(rows):,} rows and not their distribution.",
            less(model),
        )
    yield from undertrained(model, excess, max(gap, 0.0), found)


def undertrained(model: PointModel, excess: ExcessLoss, gap: float, found: list[Finding]) -> Iterator[Finding]:
    """What the network has not learned, named by the likeliest cause; its fix undoes all causes."""
    # Few rows far off can make any error of the mean; half of the rows can not.
    surely = max(excess.nats - SURE * excess.nats_error, float(np.median(excess.nats_of_row)))
    if surely - gap <= UNLEARNED:
        return
    causes = causes_of(model, excess)
    few = any(cause.name == "too_few_steps" for cause in causes)
    cause = because(found, "unscaled_columns") or ("" if few else because(found, *AVERAGING))
    changes = {key: value for one in causes for key, value in one.changes.items()}
    why = f": {', and '.join(one.meaning for one in causes)}" if causes else ""
    yield Finding(
        causes[0].name if causes and not cause else "undertrained",
        excess.nats,
        f"The network's error costs up to {excess.nats:.2g} nats a row, most of it at noise level "
        f"{excess.worst:.2g}{why}.{see(cause)}",
        {} if cause else changes or more(model),
    )


def more(model: PointModel) -> dict[str, Any]:
    """More training of a larger network."""
    return {"training.steps": 2 * model.recipe.training.steps} | _wider(model, 2)


def less(model: PointModel) -> dict[str, Any]:
    """An eighth of the training, of half the network."""
    part = model.recipe.training
    steps = max(part.steps // 8, 1)
    return {"training.steps": steps} | ema_fitting(part.ema, steps) | _wider(model, 0.5)


def _wider(model: PointModel, factor: float) -> dict[str, Any]:
    """The change of a network that has a width."""
    width = getattr(model.recipe.network, "width", None)
    return {} if width is None else {"network.width": max(int(factor * width), 8)}


def because(found: list[Finding], *names: str) -> str:
    """Which of `names` has been found already."""
    return next((finding.name for finding in found if finding.name in names), "")


def see(cause: str) -> str:
    return f" See {cause}." if cause else ""


# --- Where the error of a model's samples comes from: from the start, from the network, or from the steps -----------
#
#     d^2(model) = d^2(real) + prior + learning + discretisation,    d the sliced W2 to real points
#
# One thing after the other is put right, and each part is what that takes off d^2: first the samples start from noised
# real points instead of the prior, then the exact denoiser takes the network's place, then steps so fine take the place
# of the recipe's own that halving them changes nothing. What remains is d^2(real), the reference value: that of two
# real draws. Every set of samples has the same noise, so that the differences are far less noisy than the distances.
#
# Where the distribution is unknown there is no exact denoiser: the steps are refined second, and what is then left
# above the distance of two real draws is counted as learning.
#
# The split checks itself, and says where it cannot tell: samples are finite, halving the finest steps changes nothing,
# and with the exact denoiser and these steps the samples are as far from real points as real points are.


ROWS = 8192
REAL_DRAWS, APART = 8, 2.0  # pairs of real draws; how far beyond the range of their distances the reference may be
PRIOR, LEARNING, DISCRETISATION = "prior", "learning", "discretisation"


@dataclass(frozen=True)
class ErrorPart:
    """One share of the squared sliced W2, and its standard error; noise may bring it below 0."""

    value: float
    error: float

    def surely_above(self, threshold: float) -> bool:
        """Whether it is beyond a threshold by three standard errors."""
        return self.value - SURE * self.error > threshold


@dataclass(frozen=True)
class ErrorSplit:
    """Squared sliced W2 distances, in units of the data's variance.

    Attributes:
        rows: of each set of samples.
        total: of the model to real points.
        reference_value: of exact samples, or, where the distribution is unknown, of other real points.
        parts: what each cause adds; together with the reference value they are the total.
        doubts: why the parts cannot be trusted, a sentence each; empty where they can.

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
        return f"ErrorSplit({self.rows:,} rows, {self.total:.3g} in all, {self.reference_value:.3g} of real rows)"

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
            notes.append("Noise takes a part below 0, so that shares of the total would say nothing.")
        return "\n".join([table, *notes])

    @property
    def adds_up(self) -> bool:
        """Whether each part is a share of the total from 0 to 1, but for rounding."""
        values = np.array([self.reference_value, *(part.value for part in self.parts.values())])
        return bool(np.isfinite(values).all() and self.total > 0 and (values > -0.005 * self.total).all())

    def to_dict(self) -> dict[str, Any]:
        """For JSON.

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
    """Split the distance of a model's samples to real points.

    Args:
        setting: the model, its data, and what its samples start from.
        on_progress: called with the number of rows sampled so far, of 4 times those of a set at most.
    """
    model, n, (prior, noised) = setting.model, len(setting.reference), setting.starts
    own, (fine, doubts) = Steps.of(model.recipe), setting.fine
    plan: dict[str, tuple[Denoiser, Array, Steps]]  # by what has been put right
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
    """Why parts that were found cannot be trusted."""
    if not np.isfinite([found.total, *(part.value for part in found.parts.values())]).all():
        yield "some samples are not finite numbers."
    if (truth := setting.origin.truth) is None:
        return
    draws = [truth.sample(found.rows, seed=seed) for seed in range(REAL_DRAWS)]
    real = [squared_distances([draw], setting.reference)[0][0] for draw in draws]
    if not min(real) / APART <= found.reference_value <= max(real) * APART:
        yield (
            f"with the exact denoiser and the finest steps the squared distance is {found.reference_value:.2g}, and "
            f"that of two real draws is {min(real):.2g} to {max(real):.2g}."
        )


# --- Too few steps, or a grid that stops too far from the data: the fix is tried before it is printed ---------------


COARSE = 0.5  # of the reference value: what the steps may add to the squared distance
HALVED, MOSTLY = 0.5, 0.2  # what a fix leaves of the steps' error at most, and what is good enough to look no further
MANY = 64
NEAR = KarrasGrid().sigma_min


def coarse_grid(setting: Setting, split: ErrorSplit) -> Iterator[Finding]:
    """Found where finer steps surely bring the samples nearer to the data."""
    part = split.parts.get(DISCRETISATION)
    if split.doubts or part is None or not part.surely_above(COARSE * split.reference_value):
        return
    recipe = setting.model.recipe
    steps, distance = len(setting.model.grid) - 1, math.sqrt(part.value)
    last = getattr(recipe.grid, "sigma_min", 0.0)
    far = f", the last of them from a noise level of {last:g}," if last > 2 * NEAR else ""
    yield Finding(
        "coarse_grid",
        distance,
        f"{steps} steps{far} are too coarse: finer ones bring the samples nearer by a sliced W2 of {distance:.2g} (two "
        f"real draws: {math.sqrt(split.reference_value):.2g}).",
        steps_fix(setting),
    )


def steps_fix(setting: Setting) -> dict[str, Any]:
    """The first changes of several that leave next to nothing of the steps' error, or those that leave least; none
    where none halve it."""
    few, (fine, _) = setting.few(CHECKED), setting.fine
    assert fine is not None and few.denoiser is not None  # or there would be no such part of the error
    recipe = setting.model.recipe
    tried: list[tuple[dict[str, Any], Steps]] = []
    for changes in _candidates(recipe):
        try:
            tried.append((changes, Steps.of(recipe.changed(changes))))
        except MotesError:  # this recipe does not take them
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
    """Changes of the steps, the smallest first."""
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
