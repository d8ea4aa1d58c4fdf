"""The error of a model's samples, split into its sources: the prior, the network and the steps.

    d^2(model) = d^2(real) + prior + learning + discretisation,    d the sliced W2 to real points

The sources are corrected one after another, and each part is the reduction of d^2: first, samples start from real
points with noise instead of the prior; then, the exact denoiser replaces the network; finally, a grid so fine that
halving it changes nothing replaces the grid of the recipe. The remainder is d^2(real), the reference value: the
distance between two real samples. All sets of samples use the same noise, so the differences are much less noisy than
the distances.

If the distribution is unknown, there is no exact denoiser: the grid is refined second, and the remainder above the
reference value counts as learning.

The split checks itself and reports if it cannot tell: samples are finite, halving the finest steps changes nothing, and
with the exact denoiser and these steps, samples are as far from real points as real points are from each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from motes.encoding import Encoded
from motes.errors import MotesError
from motes.evaluation.findings import Finding
from motes.evaluation.metrics import directions_in
from motes.evaluation.sources import PointSource
from motes.points import Denoiser, DPMSolver3M, KarrasGrid, PointModel, PointRecipe, ReverseProcess, Sampler, sample
from motes.points.networks import StepGated
from motes.progress import OnProgress, silent
from motes.seeds import seed_key

Array = NDArray[np.float64]

FINE = (64, 128, 256, 512)  # steps of the reference grid: the fewest for which halving changes nothing
LOWEST = 0.004  # last noise level of the reference grid, in standard deviations of the data
CHECKED = 2048  # rows that are also sampled with halved steps
UNCHANGED = 0.1  # largest accepted change by halved steps, relative to the reference value
DIRECTIONS = 64
GROUPS = 8  # groups of the jackknife
SURE = 3.0  # standard errors by which a finding must exceed its threshold


class Steps(NamedTuple):
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
        few = Setting.of(self.model, self.origin, CHECKED, self.seed)
        allowed = UNCHANGED * squared_distances([few.other], few.reference)[0][0]
        change, sets = np.inf, [few.sampled(self.denoiser, few.starts[1], _fine_steps(self, FINE[0]))]
        for steps in FINE[1:]:
            sets = [sets[-1], few.sampled(self.denoiser, few.starts[1], _fine_steps(self, steps))]
            (before, now), (error,) = squared_distances(sets, few.reference)
            change = abs(now - before)
            if change <= (max(allowed, SURE * error) if self.random else allowed):
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
    return Steps(recipe.sampler if setting.random else DPMSolver3M(), KarrasGrid(steps, lowest)(schedule))


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


# --- The parts -----------------------------------------------------------------------------------------------------


ROWS = 8192
REAL_DRAWS, APART = 8, 2.0  # pairs of real samples; accepted factor beyond the range of their distances
PRIOR, LEARNING, DISCRETISATION = "prior", "learning", "discretisation"


@dataclass(frozen=True)
class ErrorPart(Encoded):
    """One part of the squared sliced W2, with its standard error. Noise can make it negative."""

    value: float
    error: float

    def surely_above(self, threshold: float) -> bool:
        """Test whether the part exceeds a threshold by three standard errors."""
        return self.value - SURE * self.error > threshold


@dataclass(frozen=True)
class ErrorSplit(Encoded):
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
    few, (fine, _) = Setting.of(setting.model, setting.origin, CHECKED, setting.seed), setting.fine
    assert fine is not None and few.denoiser is not None  # otherwise the split has no such part
    recipe = setting.model.recipe
    square = lambda steps: squared_distances([few.sampled(few.denoiser, few.starts[1], steps)], few.reference)[0][0]
    least = square(fine)
    own = square(Steps.of(recipe)) - least
    best: dict[str, Any] = {}
    left = HALVED if own > 0 else 0.0
    for changes in _candidates(recipe):
        try:
            steps = Steps.of(recipe.changed(changes))
        except MotesError:  # invalid for this recipe
            continue
        share = (square(steps) - least) / max(own, 1e-300)
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
