"""What samples of a model are compared with, what they start from, and steps so fine that halves change nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import jax
import numpy as np
from numpy.typing import NDArray

from motes._seeds import seed_key
from motes.diffusion._denoiser import Denoiser
from motes.evaluation._transport import directions_in
from motes.learning._networks import StepGated
from motes.models._points import PointModel
from motes.models._sources import PointSource
from motes.recipes import PointRecipe
from motes.sampling._dpm import DPMSolver3M
from motes.sampling._grids import KarrasGrid
from motes.sampling._loop import ReverseProcess, Sampler, sample

Array = NDArray[np.float64]

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

    def sampled(
        self, denoiser: Denoiser, start: Array, steps: Steps, on_block: Callable[[int], None] | None = None
    ) -> Array:
        """What a denoiser makes of `start` by these steps, (n, d) in the data's units."""
        process = ReverseProcess(denoiser, steps.sampler, steps.grid, self.model.dim)
        key = seed_key(self.seed, "split")
        points, _ = sample(process, len(start), key=key, start=start, on_block=on_block)
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
    z, eps = model.standardiser.forward(x), np.asarray(jax.random.normal(key, x.shape), np.float64)
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
