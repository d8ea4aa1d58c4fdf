"""The animation of a model of points: its times, and the clouds of points at these times.

Clouds are shown in the data's units. If the schedule lets x_t grow, alpha_t^2 + sigma_t^2 > 1, the figures show
x_t / sqrt(alpha_t^2 + sigma_t^2), which keeps one scale from data to noise.

Distance of a time = sliced W2 between the cloud shown at that time and the data, in standard deviations of the data.

With equal steps of t, or of the noise level, many clouds would look the same. So panels are about equal steps of the
distance apart, at round times. Frames of the animation are equal steps of a mean of the distance and the angle
arctan(sigma_t / alpha_t); the angle still changes when points move but their distribution no longer does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi

import numpy as np
from numpy.typing import NDArray

from motes.data.readings import default_columns
from motes.points import Denoiser, PointModel, Sampling
from motes.rasters import Limits, View, limits_of

Array = NDArray[np.float64]

PANELS = 10
FRAMES = 101  # frames of the animation in each direction
MEASURED = 1000  # points from which the distance is computed
TIMES = 200  # time steps between 1 and 0 for the distance, if the schedule has no steps
DIRECTIONS = 8
NEAR = 1 / 3  # maximum shift of a panel to a rounder time, in steps between panels


class ModelView:
    """A model's points at some places of a time grid, the model's own or another, from noise to data.

    Attributes:
        shown: indices of the two columns that are drawn, the first ones that are not constant.
        columns: names of these columns; None for points of the plane.
        grid: times (N+1,).
        places: indices into the grid.
        times: t at each place, falling.
        note: footnote on the scaling of x_t, if it is scaled.
        steps: T of a discrete schedule, if every time is the time of a step; otherwise None.
        zoom: divisor of x_t at each place.
        angles: arctan(sigma_t / alpha_t) at each place.

    Example:
        >>> from motes.plots.chains import ModelView
        >>> view = ModelView(model, places=[0, 24, 48])
        >>> view.times.round(3).tolist()
        [1.0, 0.656, 0.0]
    """

    def __init__(self, model: PointModel, places: Sequence[int], grid: NDArray[np.float32] | None = None):
        self.model = model
        self.grid = model.grid if grid is None else grid
        varies = model.standardiser.varies
        self.shown = np.argsort(~varies, kind="stable")[:2]
        # Points of the plane need no names; named columns have their own units, so their axes are scaled separately.
        plane = model.columns == default_columns(2) and varies.all()
        self.columns = None if plane else (model.columns[self.shown[0]], model.columns[self.shown[1]])
        self.places = list(places)
        self.times = self.grid[self.places].astype(float)
        # T, if every time is the time of a step.
        steps = model.recipe.steps
        on_steps = steps is not None and np.allclose(self.times * steps, (self.times * steps).round(), atol=1e-4)
        self.steps = steps if on_steps else None
        schedule = model.recipe.make_schedule()
        scales = schedule.alpha(self.times), schedule.sigma(self.times)
        self._alpha, self._sigma = (np.asarray(scale, float)[:, None, None] for scale in scales)
        self.zoom = np.sqrt(self._alpha**2 + self._sigma**2)
        self.angles = np.arctan2(self._sigma, self._alpha).ravel()
        self.note = "" if np.allclose(self.zoom, 1, atol=1e-4) else "shown: xₜ / √(αₜ² + σₜ²)"

    def drawn(self, limits: Limits) -> View:
        """Return the `View` for figures with these axis limits.

        Example:
            >>> from motes.plots.chains import ModelView
            >>> ModelView(model, places=[0, 32]).drawn(((-3.0, 3.0), (-2.0, 2.0))).limits
            ((-3.0, 3.0), (-2.0, 2.0))
        """
        return View(limits, self.steps, self.columns, self.note)

    def forward(self, x: Array, *, seed: int) -> Array:
        """Return clouds of q(x_t | x_0) for the points `x` (n, d): (len(places), n, 2). Each point keeps its noise.

        Example:
            >>> from motes.plots.chains import ModelView
            >>> ModelView(model, places=[0, 16, 32]).forward(motes.make_shape("moons", 50), seed=0).shape
            (3, 50, 2)
        """
        z = self.model.standardiser.forward(x)
        eps = np.random.default_rng([seed, 1]).standard_normal(z.shape)
        return self.model.standardiser.inverse((self._alpha * z + self._sigma * eps) / self.zoom)[..., self.shown]

    def reverse(self, n: int, *, seed: int, denoiser: Denoiser | None = None) -> Array:
        """Return clouds of a reverse chain of `n` points, (len(places), n, 2), with another denoiser if given.

        Example:
            >>> from motes.plots.chains import ModelView
            >>> ModelView(model, places=[0, 16, 32]).reverse(50, seed=0).shape
            (3, 50, 2)
        """
        model = self.model if denoiser is None else self.model.with_denoiser(denoiser)
        drawn = model.draw_points(n, record=self.places, seed=seed, sampling=Sampling(grid=self.grid))
        z = model.standardiser.forward(drawn.noisy)
        return model.standardiser.inverse(z / self.zoom)[..., self.shown]


@dataclass(frozen=True)
class Film:
    """The forward process and the reverse chain at the same times, from noise to data, on the same axes.

    Attributes:
        view: the model at these times.
        forward, reverse: the clouds (m, n, 2).
        limits: limits of the axes.
        panels: indices of the times for a row of panels, from noise to data.
    """

    view: ModelView
    forward: Array
    reverse: Array
    limits: Limits
    panels: list[int]


def shoot(model: PointModel, x: Array, *, n: int = 10_000, seed: int = 0) -> Film:
    """Compute the animation of a model with up to `n` of the points `x`: up to 101 frames in each direction."""
    distances = Distances.of(model, x)
    panels = distances.panels(PANELS)
    grid = distances.film(model.grid)
    at = [int(np.argmin(np.abs(grid - t))) for t in panels]
    places = sorted({*evenly(len(grid), FRAMES), *at})
    view = ModelView(model, places, grid)
    n = min(n, len(x))
    forward = view.forward(x[:n], seed=seed)
    reverse = view.reverse(n, seed=seed)
    limits = limits_of(forward[0], forward[-1], reverse[0], equal=view.columns is None)
    return Film(view, forward, reverse, limits, [places.index(place) for place in at])


@dataclass(frozen=True)
class Distances:
    """Distances between the clouds as shown and the data.

    Attributes:
        times: falling from 1 to 0, (m,).
        values: distances, falling to 0, (m,).
        angles: arctan(sigma_t / alpha_t), (m,).
        steps: T of a discrete schedule, if the sampler's times are its steps; otherwise None.
    """

    times: Array
    values: Array
    angles: Array
    steps: int | None

    @classmethod
    def of(cls, model: PointModel, x: Array) -> Distances:
        """Compute the distances for the points `x` (n, d)."""
        view = ModelView(model, range(len(model.grid)))
        steps = view.steps
        if steps is None:
            view = ModelView(model, range(TIMES + 1), np.linspace(1, 0, TIMES + 1).astype(np.float32))
        clouds = view.forward(x[:MEASURED], seed=0)
        spread = clouds[-1].std(axis=0)
        angles = pi * np.arange(DIRECTIONS) / DIRECTIONS
        directions = np.stack([np.cos(angles), np.sin(angles)]) / np.where(spread > 0, spread, 1.0)[:, None]
        projected = np.sort(clouds @ directions, axis=1)
        found = np.sqrt(((projected - projected[-1]) ** 2).mean(axis=(1, 2)))
        # By chance a distance may rise towards the data; the maximum makes it monotone.
        return cls(view.times, np.maximum.accumulate(found[::-1])[::-1], view.angles, steps)

    def panels(self, count: int) -> list[float]:
        """Return up to `count` round times from 1 to 0, about equal steps of the distance apart."""
        every = np.linspace(self.values[0], 0, count)
        off = NEAR * self.values[0] / (count - 1)
        chosen = {1.0, 0.0}
        for value in every[1:-1].tolist():
            near = np.array([value - off, value, value + off])
            low, middle, high = np.interp(near, self.values[::-1], self.times[::-1]).tolist()
            chosen.add(self._roundest(low, middle, high))
        return sorted(chosen, reverse=True)

    def film(self, grid: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the times of a sampler and of the panels, and further times in between for a smooth animation.

        For a sampler with the steps of a discrete schedule, the times are these steps.
        """
        if self.steps is not None:
            return grid
        return self.between(np.union1d(grid, np.array(self.panels(PANELS), np.float32))[::-1], FRAMES)

    def between(self, times: NDArray[np.float32], count: int) -> NDArray[np.float32]:
        """Add times between `times`, which fall from 1 to 0: `count` in all, about equal steps of motion apart."""
        motion = 0.5 * (self.values / self.values[0] + self.angles / self.angles[0])
        known = np.interp(times[::-1], self.times[::-1], motion[::-1])[::-1]
        gaps, parts = -np.diff(known), np.ones(len(times) - 1, int)
        for _ in range(count - len(times)):
            parts[np.argmax(gaps / parts)] += 1
        between = zip(known, known[1:], parts, strict=False)
        wanted = np.concatenate([a + (b - a) * np.arange(k) / k for a, b, k in between])
        more = np.interp(wanted[::-1], motion[::-1], self.times[::-1])[::-1]
        return np.union1d(more[~np.isin(wanted, known)].astype(np.float32), times)[::-1]

    def _roundest(self, low: float, middle: float, high: float) -> float:
        """Return the roundest time k/T from `low` to `high`, one of the sampler's own steps; T = 1000 without steps."""
        scale = self.steps or 1000
        numbers = np.arange(scale + 1) if self.steps is None else np.round(self.times * scale)
        inside = numbers[(low * scale <= numbers) & (numbers <= high * scale)]
        for unit in (500, 200, 100, 50, 20, 10, 5, 2, 1):
            if len(near := inside[inside % unit == 0]):
                return float(near[np.argmin(np.abs(near / scale - middle))] / scale)
        return middle if self.steps is None else float(self.times[np.argmin(np.abs(self.times - middle))])


def evenly(n: int, wanted: int) -> list[int]:
    """Return at most `wanted` of the numbers 0 ... n-1, evenly spread and including both ends.

    Example:
        >>> from motes.plots.chains import evenly
        >>> evenly(101, 5)
        [0, 25, 50, 75, 100]
    """
    return sorted(set(np.linspace(0, n - 1, min(wanted, n)).round().astype(int).tolist()))
