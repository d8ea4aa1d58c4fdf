"""Diagnosis of a trained model of points: problems, fixes, and the sources of the error of its samples.

A check is a function that yields findings, each with its evidence and a fix; it yields nothing if there is no problem.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from motes import points
from motes.data.arrays import Array, Mask
from motes.encoding import JsonRecord
from motes.errors import MotesError
from motes.evaluation.findings import SURE, Finding, changed, ema_fitting, find_problems, headline, named
from motes.evaluation.losses import ExcessLoss, excess_loss, noise_levels
from motes.evaluation.metrics import directions_in, mode_coverage
from motes.evaluation.points import UNLEARNED
from motes.evaluation.sources import PointSource, compared_with
from motes.points import Denoiser, Oracle, PointModel, PointRecipe, ReverseProcess, Sampler, Truth
from motes.points.exact import MixtureOracle
from motes.points.networks import Residual, StepGated
from motes.points.sampling import seed_key
from motes.progress import OnProgress, silent

# --- The error of the samples, split into its sources: the prior, the network and the steps -------------------------
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


FINE = (64, 128, 256, 512)  # steps of the reference grid: the fewest for which halving changes nothing
LOWEST = 0.004  # last noise level of the reference grid, in standard deviations of the data
CHECKED = 2048  # rows that are also sampled with halved steps
UNCHANGED = 0.1  # largest accepted change by halved steps, relative to the reference value
DIRECTIONS = 64
GROUPS = 8  # groups of the jackknife


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
        truth, schedule = origin.truth, model.denoiser.schedule
        exact = truth.oracle(schedule, model.standardiser) if truth else None
        z = model.standardiser.forward(truth.sample(len(reference), seed=seed) if truth else other)
        eps = np.asarray(jax.random.normal(seed_key(seed, "start"), z.shape), np.float64)
        noised = float(schedule.alpha(1.0)) * z + float(schedule.sigma(1.0)) * eps
        return cls(model, origin, seed, reference, other, exact, (float(schedule.prior_std) * eps, noised))

    @property
    def denoiser(self) -> Denoiser | None:
        """The denoiser for comparing grids: the exact one, or the network if it is defined between its steps."""
        if self.exact is None and isinstance(self.model.recipe.network, StepGated):
            return None
        return self.exact or self.model.denoiser

    @property
    def random(self) -> bool:
        """Whether grids are compared with a stochastic sampler, which draws different noise for different steps."""
        return self.exact is None and self.model.recipe.sampler.stochastic

    def process(self, sampler: Sampler, grid: jax.Array) -> ReverseProcess:
        """Build the reverse process with the denoiser for comparing grids."""
        assert self.denoiser is not None  # otherwise no grids are compared
        return ReverseProcess(self.denoiser, sampler, grid, self.model.dim)

    def sampled(self, process: ReverseProcess, start: Array, on_progress: OnProgress = silent) -> Array:
        """Sample from `start`, (n, d) in the data's units."""
        key = seed_key(self.seed, "split")
        x, _ = points.sample(process, len(start), key=key, start=start, on_progress=on_progress)
        return self.model.standardiser.inverse(x)

    @cached_property
    def fine(self) -> tuple[ReverseProcess | None, tuple[str, ...]]:
        """Steps so fine that halving them changes nothing, and a doubt if there are none.

        None if the distribution is unknown and the network is defined only at its own steps.
        """
        if self.denoiser is None:
            return None, ()
        few = Setting.of(self.model, self.origin, CHECKED, self.seed)
        allowed = UNCHANGED * squared_distances([few.other], few.reference)[0][0]
        change, sets = np.inf, [few.sampled(_fine_steps(self, FINE[0]), few.starts[1])]
        for steps in FINE[1:]:
            sets = [sets[-1], few.sampled(_fine_steps(self, steps), few.starts[1])]
            (before, now), (error,) = squared_distances(sets, few.reference)
            change = abs(now - before)
            if change <= (max(allowed, SURE * error) if self.random else allowed):
                return _fine_steps(self, steps // 2), ()
        return _fine_steps(self, FINE[-1]), (
            f"half as many steps as the finest grid, {FINE[-1]}, change the squared distance by {change:.2g}.",
        )


def _fine_steps(setting: Setting, steps: int) -> ReverseProcess:
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
    sampler = recipe.sampler if setting.random else points.DPMSolver3M()
    return setting.process(sampler, points.KarrasGrid(steps, lowest)(schedule))


def squared_distances(sets: list[Array], reference: Array) -> tuple[Array, Array]:
    """Compute the squared sliced W2 of each set to the reference, (n, d) each, and standard errors of differences.

    The standard errors belong to the differences of successive sets. They are jackknife estimates over groups of rows,
    which are the same rows of every set.
    """
    axes = directions_in(reference.shape[1], DIRECTIONS, np.random.default_rng(0))
    lines, real = [(points @ axes).T for points in sets], (reference @ axes).T  # (directions, n) each
    unit = float(reference.var(axis=0).mean())
    group = np.arange(len(reference)) % GROUPS

    def squares(keep: Mask) -> Array:
        there = np.sort(real[:, keep])
        return np.array([np.mean((np.sort(line[:, keep]) - there) ** 2) for line in lines]) / unit

    without = np.stack([np.diff(squares(group != g)) for g in range(GROUPS)])
    spread = ((without - without.mean(axis=0)) ** 2).sum(axis=0) * (GROUPS - 1) / GROUPS
    return squares(group >= 0), np.sqrt(spread)


# --- The parts -----------------------------------------------------------------------------------------------------


ROWS = 8192
REAL_DRAWS, APART = 8, 2.0  # pairs of real samples; accepted factor beyond the range of their distances
PRIOR, LEARNING, DISCRETISATION = "prior", "learning", "discretisation"


@dataclass(frozen=True)
class ErrorPart(JsonRecord):
    """One part of the squared sliced W2, with its standard error. Noise can make it negative."""

    value: float
    error: float

    def surely_above(self, threshold: float) -> bool:
        """Test whether the part exceeds a threshold by three standard errors."""
        return self.value - SURE * self.error > threshold


@dataclass(frozen=True)
class ErrorSplit(JsonRecord):
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
        width, longest = max(len(name) for name, *_ in lines), max(self.total, self.reference_value)
        table = [
            f"{name:<{width}}  {value:>8.5f} {error:<9}  {_bar(value, longest)}".rstrip()
            for name, value, error in lines
        ]
        return "\n".join([*table, *(f"This split cannot tell: {doubt}" for doubt in self.doubts)])

    @property
    def significant(self) -> dict[str, float]:
        """The parts that are surely above 0, the largest first; empty if there are doubts."""
        sure = {name: one.value for name, one in self.parts.items() if one.surely_above(0.0) and not self.doubts}
        return dict(sorted(sure.items(), key=lambda pair: -pair[1]))


def _bar(value: float, longest: float) -> str:
    return "█" * round(30 * max(value, 0) / longest) if np.isfinite(value) and 0 < longest < np.inf else ""


def split_error(setting: Setting, on_progress: OnProgress = silent) -> ErrorSplit:
    """Split the distance between a model's samples and real points into its sources.

    Args:
        setting: the model, its data and its starting points.
        on_progress: called with the number of rows sampled so far, out of at most 4 sets.
    """
    model, n, (prior, noised) = setting.model, len(setting.reference), setting.starts
    own, (fine, doubts) = model.reverse_process(None, None), setting.fine
    plan = {"": (own, prior), PRIOR: (own, noised)}  # by the source corrected last
    if setting.exact is not None:
        plan[LEARNING] = setting.process(own.sampler, own.grid), noised
    if fine is not None:
        plan[DISCRETISATION] = fine, noised
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
NEAR = points.KarrasGrid().sigma_min


def coarse_grid(setting: Setting, split: ErrorSplit) -> Iterator[Finding]:
    """Find a grid so coarse that finer steps significantly reduce the distance to the data."""
    part = split.parts.get(DISCRETISATION)
    if split.doubts or part is None or not part.surely_above(COARSE * split.reference_value):
        return
    recipe = setting.model.recipe
    steps, distance = len(setting.model.grid) - 1, math.sqrt(part.value)
    last = getattr(recipe.grid, "sigma_min", 0.0)
    far = f", the last one from a noise level of {last:g}," if last > 2 * NEAR else ""
    meaning = (
        f"{steps} steps{far} are too coarse: finer steps remove a sliced W2 of {distance:.2g} (between two real "
        f"samples: {math.sqrt(split.reference_value):.2g})."
    )
    yield Finding("coarse_grid", distance, meaning, steps_fix(setting))


def steps_fix(setting: Setting) -> dict[str, Any]:
    """Return the first changes that remove nearly all of the discretisation error, otherwise the best ones; {} if none
    halve it."""
    few, (fine, _) = Setting.of(setting.model, setting.origin, CHECKED, setting.seed), setting.fine
    assert fine is not None  # otherwise the split has no such part
    recipe = setting.model.recipe
    square = lambda process: squared_distances([few.sampled(process, few.starts[1])], few.reference)[0][0]
    least = square(fine)
    own = square(few.process(recipe.sampler, recipe.make_grid())) - least
    best: dict[str, Any] = {}
    left = HALVED if own > 0 else 0.0
    for changes in _candidates(recipe):
        try:
            other = recipe.changed(changes)
            process = few.process(other.sampler, other.make_grid())
        except MotesError:  # invalid for this recipe
            continue
        share = (square(process) - least) / max(own, 1e-300)
        if share < left:
            best, left = changes, share
        if left < MOSTLY:
            break
    return best


def _candidates(recipe: PointRecipe) -> Iterator[dict[str, Any]]:
    """Yield changes of the steps, the smallest first."""
    steps = len(recipe.make_grid()) - 1
    more = {"grid.steps": recipe.steps if recipe.steps and steps < recipe.steps else max(MANY, 2 * steps)}
    near = {"grid.sigma_min": NEAR} if getattr(recipe.grid, "sigma_min", 0.0) > NEAR else {}
    if near:
        yield near
    yield more | near
    yield {"grid.kind": "karras", "grid.steps": max(MANY, steps), "grid.sigma_min": NEAR}


# --- The diagnosis --------------------------------------------------------------------------------------------------


EXACT = "the exact denoiser"


@dataclass(frozen=True)
class Diagnosis(JsonRecord):
    """The result of `motes diagnose` for a model of points.

    Attributes:
        source, evaluated_against: name and description of the rows used.
        findings: the problems; empty if none were detected.
        excess: the network's loss on held-out rows, minus the loss of `reference`.
        reference: "the exact denoiser", or the best of some mixtures of Gaussians.
        split: the sources of the error of the samples.
        notes: what could not be checked, and why.

    Example:
        >>> found = model.diagnose("moons", n=64)
        >>> found.reference, found.evaluated_against
        ('the exact denoiser', 'a fresh draw')
    """

    source: str
    evaluated_against: str
    findings: list[Finding]
    excess: ExcessLoss
    reference: str
    split: ErrorSplit
    notes: list[str]

    def __repr__(self) -> str:
        return f"Diagnosis of {self.source}: {named(self.findings)}"

    def __str__(self) -> str:
        lines = [f"{headline(self.findings)}, evaluated against {self.evaluated_against} of {self.source}.", ""]
        lines += [f"{finding}\n" for finding in self.findings]
        lines += [f"Sources of the error (squared sliced W2, {self.split.rows:,} rows)", str(self.split), ""]
        return "\n".join([*lines, self._loss(), *self.notes])

    def _loss(self) -> str:
        nats, error = self.excess.nats, f"(± {self.excess.nats_error:.1g})"
        if nats < 0:
            return f"The network's loss is {-nats:.2g} {error} nats per row below the loss of {self.reference}."
        sign = "at most " if self.reference == EXACT else ""
        return (
            f"The network's loss above {self.reference} costs {sign}{nats:.2g} {error} nats per row, mostly at noise "
            f"level {self.excess.worst:.2g}."
        )


def diagnose_model(
    model: PointModel, source: Any = None, *, n: int = ROWS, seed: int = 0, on_progress: OnProgress = silent
) -> Diagnosis:
    """Find the problems of a trained model and the sources of the error of its samples.

    Args:
        model: a trained model.
        source: a shape, a file or an array to compare with; None uses the data it was trained on.
        n: rows of each set of samples; fewer if there are fewer real rows.
        seed: for all random draws.
        on_progress: called with the number of rows sampled so far, out of at most `5 n`.

    Raises:
        UsageError: data that is not available, has other columns than the model, or too few rows.
        DataError: data that cannot be used.

    Example:
        >>> from motes.evaluation.diagnosis import diagnose_model
        >>> diagnose_model(model, "moons", n=64).split.rows
        64
    """
    origin, real, _ = compared_with(model, source, n)
    counted = lambda before: lambda now: on_progress(now.after(before, 5 * n))
    samples = model.draw(n, seed=seed, on_progress=counted(0))
    setting = Setting.of(model, origin, n, seed)
    split = split_error(setting, counted(n))
    excess, compared = excess_of(model, origin, real, seed)
    notes, gap = [f"Note: {note}" for note in origin.notes], 0.0
    findings = [_complete(finding, split) for finding in find_problems(origin.training, model.recipe)]
    findings += coarse_grid(setting, split)
    unseen = origin.held_out is not None or origin.truth is not None
    if origin.known and unseen:
        gap, p_value = _memory_gap(model, origin, real, seed)
        if p_value < ALPHA:  # otherwise, another cause brings samples close to training rows, such as modes too narrow
            findings += [*_memorising(model, origin, samples, real), *_overtrained(model, origin, gap)]
    else:
        why = "the training rows are not available" if unseen else "no rows were held out"
        notes.append(f"Overtraining and memorisation were not checked: {why}.")
    findings += undertrained(model, excess, max(gap, 0.0), findings)
    if any(finding.name == "too_few_steps" for finding in findings):  # which is why the average is too long
        findings = [finding for finding in findings if finding.name != "ema_too_long"]
    findings = _by_part(findings, split)
    findings += _modes(model, origin, samples, findings, split, seed)
    return Diagnosis(origin.name, origin.evaluated_against, findings, excess, compared, split, notes)


# --- the order of the findings --------------------------------------------------------------------------------------

OF_THE_ROWS = ("degenerate_column", "dependent_columns", "duplicate_rows")
PARTS = {  # the part of the error that a finding adds to; learning, unless it is listed; "" for all parts
    **dict.fromkeys(("unscaled_columns", *OF_THE_ROWS), ""),
    "prior_mismatch": PRIOR,
    "wasted_steps": DISCRETISATION,
    "coarse_grid": DISCRETISATION,
}


def _by_part(findings: list[Finding], split: ErrorSplit) -> list[Finding]:
    """Sort findings: those about the data first, then by the size of the part of the error that they add to."""
    sizes = {"": math.inf, **split.significant}
    if any(finding.name == "wrong_times" for finding in findings):
        # At noise levels that the network has not learned, steps can be erratic, which says nothing about the grid.
        sizes[DISCRETISATION] = -1.0
    return sorted(findings, key=lambda finding: -sizes.get(PARTS.get(finding.name, LEARNING), 0.0))


def _complete(finding: Finding, split: ErrorSplit) -> Finding:
    """Add to `prior_mismatch` its effect on the samples."""
    if finding.name != "prior_mismatch":
        return finding
    part = split.parts[PRIOR]
    message = (
        f"It alone causes a sliced W2 of {math.sqrt(part.value):.2g} (between two real samples: "
        f"{math.sqrt(split.reference_value):.2g})."
        if part.surely_above(0.0)
        else f"Its effect on {split.rows:,} samples is not significant."
    )
    return replace(finding, meaning=f"{finding.meaning} {message}")


def _see(found: list[Finding], *names: str) -> str:
    """Return a sentence that refers to the first finding that is one of `names`; "" if there is none."""
    return next((f" See {finding.name}." for finding in found if finding.name in names), "")


# --- the samples ----------------------------------------------------------------------------------------------------

CLOSER = 0.6  # largest accepted share of pairs in which the sample is closer to the training rows than a held-out row
MISPLACED = 0.02  # largest accepted share of samples in the wrong mode
FEW_ROWS = 200  # with fewer held-out rows, distances between training rows are used as well


def _memorising(model: PointModel, origin: PointSource, samples: Array, unseen: Array) -> Iterator[Finding]:
    from sklearn.neighbors import NearestNeighbors

    samples = samples[np.isfinite(samples).all(axis=1)]  # a too high learning rate can make some infinite
    if not len(samples):
        return
    rows = model.standardiser.forward(origin.training.x)
    near = NearestNeighbors(n_neighbors=2).fit(rows)
    ours, real = (near.kneighbors(model.standardiser.forward(x))[0][:, 0] for x in (samples, unseen))
    if len(real) < FEW_ROWS:
        real = np.append(real, near.kneighbors(rows)[0][:, 1])
    further, nearer = 1 - _places(ours, real), _places(real, ours)
    value = float(further.mean())
    error = math.hypot(further.std() / math.sqrt(len(ours)), nearer.std() / math.sqrt(len(real)))
    if value - SURE * error > CLOSER:
        copies = float(np.mean(ours < 1e-3 * np.median(real)))
        meaning = (
            f"In {value:.0%} of cases, a sample is closer to a training row than a held-out row is (50% expected), and "
            f"{copies:.0%} of the samples are copies of training rows."
        )
        yield Finding("memorising", value, meaning, _less(model))


def _places(x: Array, among: Array) -> Array:
    """Return the share of `among` (m,) below each number x (n,), (n,); equal numbers count as half."""
    among = np.sort(among)
    return (np.searchsorted(among, x, "left") + np.searchsorted(among, x, "right")) / 2 / len(among)


def _modes(
    model: PointModel, origin: PointSource, samples: Array, found: list[Finding], split: ErrorSplit, seed: int
) -> Iterator[Finding]:
    """Find samples in the wrong modes; the first of the other findings, if any, is named as the cause."""
    modes = origin.modes
    if modes is None or not np.isfinite(samples).all():
        return
    coverage = mode_coverage(samples, modes, seed=seed)
    if coverage.distance.low <= MISPLACED:
        return
    off = [share - true for share, true in zip(coverage.shares, modes.shares, strict=True)]
    worst = int(np.argmax(np.abs(off)))
    blamed = [finding.name for finding in found if finding.name not in OF_THE_ROWS]
    cause = _see(found, *blamed[:1])
    largest = next(iter(split.significant), "")
    meaning = (
        f"{coverage.distance:.1%} of the samples are in the wrong mode; mode {worst} has {coverage.shares[worst]:.1%} "
        f"instead of {modes.shares[worst]:.1%}."
        + (cause or (f" Most of the error comes from {largest}." if largest else ""))
    )
    fix = {} if cause or largest != LEARNING else _more(model)
    yield Finding("misplaced_mass", float(coverage.distance), meaning, fix)


# --- the network: its excess loss, overfitting, and poor training ---------------------------------------------------

EXCESS_ROWS = 2048
ALPHA = 1e-3  # level of the rank test
OVERLEARNED = 0.3  # largest accepted difference between held-out and training rows, in nats per row
NARROWEST = 0.05  # smallest width of one of several Gaussians, in standard deviations of the data
REFERENCE_ROWS = 10_000
GAUSSIANS = (1, 4, 16)
EACH = 20  # fewest rows per Gaussian and column


def excess_over_exact(model: PointModel, truth: Truth, unseen: Array, seed: int) -> ExcessLoss:
    """Compute the network's loss on held-out rows minus the loss of the exact denoiser."""
    return excess_over(model, truth.oracle(model.denoiser.schedule, model.standardiser), unseen, "excess", seed)


def excess_over(
    model: PointModel, reference: Oracle, rows: Array, purpose: str, seed: int, *, exact: bool = True, repeats: int = 1
) -> ExcessLoss:
    """Compute the network's loss on `rows` minus the loss of another denoiser, over the model's noise levels.

    `purpose` selects the noise; the other arguments are as in `excess_loss`.
    """
    z, (t, _) = model.standardiser.forward(rows), noise_levels(model.denoiser.schedule, model.lowest_noise)
    key = seed_key(seed, purpose)
    return excess_loss(model.denoiser, reference, z, t, key=key, exact=exact, repeats=repeats)


def excess_of(model: PointModel, origin: PointSource, unseen: Array, seed: int) -> tuple[ExcessLoss, str]:
    """Compute the excess loss on held-out rows, and the name of the reference: the exact denoiser or a mixture."""
    unseen = unseen[:EXCESS_ROWS]
    if origin.truth is not None:
        return excess_over_exact(model, origin.truth, unseen, seed), EXACT
    rows, z = map(model.standardiser.forward, (origin.training.x, unseen))
    name, reference = fit_mixture(rows, z, model.denoiser.schedule)
    return excess_over(model, reference, unseen, "excess", seed, exact=False), name


def fit_mixture(rows: Array, unseen: Array, schedule: points.Schedule) -> tuple[str, MixtureOracle]:
    """Fit the number of Gaussians to `rows` that makes held-out rows most likely; return a name as well."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    rows = rows[:REFERENCE_ROWS]
    counts = [count for count in GAUSSIANS if count == 1 or count * EACH * rows.shape[1] <= len(rows)]
    # A smallest variance prevents one of several Gaussians from memorising equal entries.
    least = {count: 1e-6 if count == 1 else NARROWEST**2 for count in counts}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a reference may be suboptimal
        fits = [GaussianMixture(count, reg_covar=least[count], random_state=0).fit(rows) for count in counts]
    best = max(fits, key=lambda fit: float(fit.score(unseen)))
    name = "a Gaussian" if best.n_components == 1 else f"a mixture of {best.n_components} Gaussians"
    return name, MixtureOracle(best.weights_, best.means_, best.covariances_, schedule)


def _memory_gap(model: PointModel, origin: PointSource, unseen: Array, seed: int) -> tuple[float, float]:
    """Return the loss on held-out rows minus the loss on training rows, in nats, and the p-value of a rank test.

    A rank test, because a few outliers may cost the network more than all other rows together.
    """
    from scipy.stats import mannwhitneyu

    schedule, rows = model.denoiser.schedule, model.standardiser.forward(origin.training.x)
    # A common reference removes part of the noise from both losses.
    gaussian = points.GaussianOracle(rows.mean(axis=0), np.cov(rows.T, bias=True), schedule)
    reference = gaussian if origin.truth is None else origin.truth.oracle(schedule, model.standardiser)
    repeats = max(EXCESS_ROWS // len(rows), 1)  # with few rows, each is evaluated with several noises
    new, seen = (
        excess_over(model, reference, x[:EXCESS_ROWS], name, seed, exact=False, repeats=repeats)
        for x, name in ((unseen, "unseen"), (origin.training.x, "seen"))
    )
    p_value = mannwhitneyu(new.nats_of_row, seen.nats_of_row, alternative="greater").pvalue
    return new.nats - seen.nats, float(p_value)


def _overtrained(model: PointModel, origin: PointSource, gap: float) -> Iterator[Finding]:
    if gap > OVERLEARNED:
        meaning = (
            f"The loss on training rows is {gap:.2g} nats per row lower than on held-out rows: the network memorises "
            f"these {len(origin.training.x):,} rows instead of learning their distribution."
        )
        yield Finding("overtrained", gap, meaning, _less(model))


def undertrained(model: PointModel, excess: ExcessLoss, gap: float, found: list[Finding]) -> Iterator[Finding]:
    """Find a poorly trained network, named after the likeliest cause; the fix corrects all causes."""
    # A few outliers can dominate the mean, but not the median.
    lower = max(excess.nats - SURE * excess.nats_error, float(np.median(excess.nats_of_row)))
    if lower - gap <= UNLEARNED:
        return
    checks = (*_rare_times(model, excess), *_rare_labels(model), *_training(model), *_network_size(model))
    causes = [one for one in checks if changed(model.recipe, one.changes) is not None]
    few = any(one.name == "too_few_steps" for one in causes)
    see = _see(found, "unscaled_columns") or ("" if few else _see(found, "ema_too_long", "ema_too_short"))
    changes = {key: value for one in causes for key, value in one.changes.items()}
    why = f": {', and '.join(one.meaning for one in causes)}" if causes else ""
    meaning = (
        f"The network's error costs up to {excess.nats:.3g} nats per row, mostly at noise level "
        f"{excess.worst:.2g}{why}.{see}"
    )
    name = causes[0].name if causes and not see else "undertrained"
    yield Finding(name, excess.nats, meaning, {} if see else changes or _more(model))


def _more(model: PointModel) -> dict[str, Any]:
    """Return changes for longer training of a larger network."""
    return {"training.steps": 2 * model.recipe.training.steps} | _wider(model, 2)


def _less(model: PointModel) -> dict[str, Any]:
    """Return changes for an eighth of the training with half the network."""
    part = model.recipe.training
    steps = max(part.steps // 8, 1)
    return {"training.steps": steps} | ema_fitting(part.ema, steps) | _wider(model, 0.5)


def _wider(model: PointModel, factor: float) -> dict[str, Any]:
    """Return the change of the width by a factor; {} if the network has no width."""
    width = getattr(model.recipe.network, "width", None)
    return {} if width is None else {"network.width": max(int(factor * width), 8)}


# --- causes of poor training that the recipe shows; the meaning of a finding is the end of a sentence ---------------

OFTEN = 3.0  # a noise level is too rare if better training times cover it this many times as often
MOST = 0.5  # smallest share of the excess loss at such levels
DROPPED = 0.02  # smallest share of rows with a dropped label
FEW = 1000  # steps
TRAVEL = 4.0  # smallest sum of all learning rates: about the distance that Adam can move a weight
FAST = 0.03  # the highest learning rate
SMALL = 4.0  # a network is too small if its width times depth is this many times below the default's
PLACES = 4096


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


def _rare_times(model: PointModel, excess: ExcessLoss) -> Iterator[Finding]:
    recipe = model.recipe
    log_noise = np.log(excess.noise)
    nats = np.maximum(excess.excess, 0) * np.diff(_bin_edges(log_noise))
    if recipe.steps is not None:
        changes: dict[str, Any] = {"times.kind": "steps"}
    else:  # the middle of the range, and a spread that reaches its ends
        changes = {} if isinstance(recipe.times, points.LogNormalTimes) else {"times.kind": "log_normal"}
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
        yield Finding("wrong_times", 0.0, f"training rarely covers noise levels from {low:.2g} to {high:.2g}", changes)


def _rare_labels(model: PointModel) -> Iterator[Finding]:
    share, usual = model.recipe.training.label_dropout, points.Training.label_dropout
    if model.classes is not None and share < DROPPED:
        meaning = f"it is used without labels, but training dropped labels with probability {share:.2g} only"
        yield Finding("label_rarely_dropped", share, meaning, {"training.label_dropout": usual})


def _training(model: PointModel) -> Iterator[Finding]:
    part = model.recipe.training
    rate, steps = part.learning_rate, part.steps
    if steps < FEW:
        changes = {"training.steps": points.Training.steps} | ema_fitting(part.ema, points.Training.steps)
        yield Finding("too_few_steps", steps, f"{steps:,} training steps are too few", changes)
    travel = rate * max(steps, FEW) * (0.5 if part.decay == "cosine" else 1)
    better = {"training.learning_rate": points.Training.learning_rate}
    if travel < TRAVEL:
        meaning = f"the learning rate of {rate:g} is too low for {steps:,} steps"
        yield Finding("learning_rate_too_low", rate, meaning, better)
    elif rate > FAST:
        yield Finding("learning_rate_too_high", rate, f"the learning rate of {rate:g} is too high", better)


def _network_size(model: PointModel) -> Iterator[Finding]:
    own: dict[str, int] = {key: getattr(model.recipe.network, key, 0) for key in ("width", "depth")}
    usual: dict[str, int] = {key: getattr(Residual(), key) for key in own}
    size = math.prod(own.values())
    if 0 < SMALL * size <= math.prod(usual.values()):
        meaning = f"a network of width {own['width']} and depth {own['depth']} is too small"
        better = {f"network.{key}": usual[key] for key in own if own[key] < usual[key]}
        yield Finding("network_too_small", size, meaning, better)
