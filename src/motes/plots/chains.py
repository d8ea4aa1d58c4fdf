"""The film of a model of points: which times it stops at, and the clouds there.

Clouds are shown in the data's units. Where a schedule lets x_t grow, alpha_t^2 + sigma_t^2 > 1, what is drawn is
x_t / sqrt(alpha_t^2 + sigma_t^2), which keeps one scale from data to noise.

Distance of a time = sliced W2 of the cloud that is shown there to the data, in standard deviations of the data.

Equal steps of t, or of the noise level, would show the same cloud again and again. Panels are equal steps of the
distance apart, as near as round numbers come; so are the frames of the film, together with the angle
arctan(sigma_t / alpha_t), by which the single points move where their distribution no longer changes.
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
FRAMES = 101  # of the film in each direction
MEASURED = 1000  # points whose distance is taken
TIMES = 200  # steps between 1 and 0 at which it is, where a schedule has none of its own
DIRECTIONS = 8
NEAR = 1 / 3  # of the step between two panels, by which a rounder time may lie off


class ModelView:
    """How a model's points are shown at some places of a grid, its own or another, which runs from noise to data.

    Attributes:
        shown: places of the two columns that are drawn, the first ones that are not constant.
        columns: their names; None for points of the plane.
        grid: times (N+1,).
        places: the places.
        times: t of each, falling.
        note: small print that says what was divided, where anything was.
        steps: T of a discrete schedule, where each of them is the time of a step; otherwise None.
        zoom: what x_t is divided by at each.
        angles: arctan(sigma_t / alpha_t) of each.

    Example:
        >>> from motes.plots import ModelView
        >>> view = ModelView(model, places=[0, 24, 48])
        >>> view.times.round(3).tolist()
        [1.0, 0.656, 0.0]
    """

    def __init__(self, model: PointModel, places: Sequence[int], grid: NDArray[np.float32] | None = None):
        self.model = model
        self.grid = model.grid if grid is None else grid
        varies = model.standardiser.varies
        self.shown = np.argsort(~varies, kind="stable")[:2]
        # The plane needs no names; columns of a table have their own units, so their axes are scaled on their own.
        plane = model.columns == default_columns(2) and varies.all()
        self.columns = None if plane else (model.columns[self.shown[0]], model.columns[self.shown[1]])
        self.places = list(places)
        self.times = self.grid[self.places].astype(float)
        # T, where every time is that of a step.
        steps = model.recipe.steps
        on_steps = steps is not None and np.allclose(self.times * steps, (self.times * steps).round(), atol=1e-4)
        self.steps = steps if on_steps else None
        schedule = model.recipe.make_schedule()
        self._alpha, self._sigma = (
            np.asarray(f(self.times), float)[:, None, None] for f in (schedule.alpha, schedule.sigma)
        )
        self.zoom = np.sqrt(self._alpha**2 + self._sigma**2)
        self.angles = np.arctan2(self._sigma, self._alpha).ravel()
        self.note = "" if np.allclose(self.zoom, 1, atol=1e-4) else "shown: xₜ / √(αₜ² + σₜ²)"

    def drawn(self, limits: Limits) -> View:
        """As figures take it, in a box.

        Example:
            >>> from motes.plots import ModelView
            >>> ModelView(model, places=[0, 32]).drawn(((-3.0, 3.0), (-2.0, 2.0))).limits
            ((-3.0, 3.0), (-2.0, 2.0))
        """
        return View(limits, self.steps, self.columns, self.note)

    def forward(self, x: Array, *, seed: int) -> Array:
        """Clouds of q(x_t | x_0) for the points `x` (n, d): (len(places), n, 2). A point keeps its noise throughout.

        Example:
            >>> from motes.plots import ModelView
            >>> ModelView(model, places=[0, 16, 32]).forward(motes.make_shape("moons", 50), seed=0).shape
            (3, 50, 2)
        """
        z = self.model.standardiser.forward(x)
        eps = np.random.default_rng([seed, 1]).standard_normal(z.shape)
        return self.model.standardiser.inverse((self._alpha * z + self._sigma * eps) / self.zoom)[..., self.shown]

    def reverse(self, n: int, *, seed: int, denoiser: Denoiser | None = None) -> Array:
        """Clouds of a reverse chain of `n` points, (len(places), n, 2); by another denoiser if one is given.

        Example:
            >>> from motes.plots import ModelView
            >>> ModelView(model, places=[0, 16, 32]).reverse(50, seed=0).shape
            (3, 50, 2)
        """
        model = self.model if denoiser is None else self.model.with_denoiser(denoiser)
        z = model.standardiser.forward(model.draw_chain(n, self.places, seed=seed, how=Sampling(grid=self.grid))[1])
        return model.standardiser.inverse(z / self.zoom)[..., self.shown]


@dataclass(frozen=True)
class Film:
    """The forward process and the reverse chain at the same times, from noise to data, on the same axes.

    Attributes:
        view: of those times.
        forward, reverse: the clouds (m, n, 2).
        limits: of the axes.
        panels: which of the times a row of panels shows, from noise to data.
    """

    view: ModelView
    forward: Array
    reverse: Array
    limits: Limits
    panels: list[int]


def shoot(model: PointModel, x: Array, *, n: int = 10_000, seed: int = 0) -> Film:
    """The film of a model with up to `n` of the points `x`: 101 frames in each direction, fewer of fewer steps."""
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


def film_grid(model: PointModel, x: Array) -> NDArray[np.float32]:
    """The times of the model's sampler and of the panels, and between them as many as a film needs.

    A sampler that goes by the steps of a discrete schedule keeps its own: the film is to show those.

    Example:
        >>> from motes.plots import film_grid
        >>> grid = film_grid(model, motes.make_shape("moons", 100))
        >>> float(grid[0]), float(grid[-1]), len(grid)
        (1.0, 0.0, 101)
    """
    return Distances.of(model, x).film(model.grid)


@dataclass(frozen=True)
class Distances:
    """How far what is shown is from the data.

    Attributes:
        times: falling from 1 to 0, (m,).
        values: distances, falling to 0, (m,).
        angles: arctan(sigma_t / alpha_t), (m,).
        steps: T of a discrete schedule, where the sampler's times are those of its steps; otherwise None.
    """

    times: Array
    values: Array
    angles: Array
    steps: int | None

    @classmethod
    def of(cls, model: PointModel, x: Array) -> Distances:
        """For the points `x` (n, d)."""
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
        # By chance a cloud may come nearer again; a distance that falls can be divided.
        return cls(view.times, np.maximum.accumulate(found[::-1])[::-1], view.angles, steps)

    def panels(self, count: int) -> list[float]:
        """Up to `count` times from 1 to 0, equal steps of the distance apart, but for roundness."""
        every = np.linspace(self.values[0], 0, count)
        off = NEAR * self.values[0] / (count - 1)
        chosen = {1.0, 0.0}
        for value in every[1:-1].tolist():
            low, middle, high = (float(self._time(v)) for v in (value - off, value, value + off))
            chosen.add(self._roundest(low, middle, high))
        return sorted(chosen, reverse=True)

    def film(self, grid: NDArray[np.float32]) -> NDArray[np.float32]:
        """The times of a film for a sampler's `grid`; see `film_grid`."""
        if self.steps is not None:
            return grid
        return self.between(np.union1d(grid, np.array(self.panels(PANELS), np.float32))[::-1], FRAMES)

    def between(self, times: NDArray[np.float32], count: int) -> NDArray[np.float32]:
        """`times`, falling from 1 to 0, and others between them: `count` in all, about equal steps of motion apart."""
        motion = 0.5 * (self.values / self.values[0] + self.angles / self.angles[0])
        known = np.interp(times[::-1], self.times[::-1], motion[::-1])[::-1]
        gaps, parts = -np.diff(known), np.ones(len(times) - 1, int)
        for _ in range(count - len(times)):
            parts[np.argmax(gaps / parts)] += 1
        wanted = np.concatenate(
            [a + (b - a) * np.arange(k) / k for a, b, k in zip(known, known[1:], parts, strict=False)]
        )
        more = np.interp(wanted[::-1], motion[::-1], self.times[::-1])[::-1]
        return np.union1d(more[~np.isin(wanted, known)].astype(np.float32), times)[::-1]

    def _time(self, value: float) -> float:
        return float(np.interp(value, self.values[::-1], self.times[::-1]))

    def _roundest(self, low: float, middle: float, high: float) -> float:
        """The time with the fewest digits from `low` to `high`; of a schedule of steps one of its own."""
        units = [base * 10.0**power for power in (3, 2, 1, 0, -1, -2, -3) for base in (5, 2, 1)]
        scale = self.steps or 1
        own = None if self.steps is None else self.times
        for unit in units:
            near = np.round(
                np.arange(np.ceil(low * scale / unit), np.floor(high * scale / unit) + 1) * unit / scale, 12
            )
            if own is not None:
                near = own[np.isclose(own[:, None], near, atol=1e-6).any(axis=1)]
            if len(near):
                return float(near[np.argmin(np.abs(near - middle))])
        return middle if own is None else float(own[np.argmin(np.abs(own - middle))])


def evenly(n: int, wanted: int) -> list[int]:
    """At most `wanted` of the numbers 0 ... n-1, evenly spread, both ends among them.

    Example:
        >>> from motes.plots import evenly
        >>> evenly(101, 5)
        [0, 25, 50, 75, 100]
    """
    return sorted(set(np.linspace(0, n - 1, min(wanted, n)).round().astype(int).tolist()))
