"""The pictures of a model: samples are drawn here, figures are made of them in `motes.figures`.

Clouds are shown in the data's units. Where a schedule lets x_t grow, alpha_t^2 + sigma_t^2 > 1, what is drawn is
x_t / sqrt(alpha_t^2 + sigma_t^2), which keeps one scale from data to noise.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from motes import figures
from motes.data._replacing import replacing
from motes.data._text_lines import default_columns
from motes.diffusion._denoiser import Denoiser
from motes.figures._arrays import Limits
from motes.models._points import PointModel
from motes.models._tables import TableModel
from motes.sampling._grids import refined
from motes.sampling._options import Sampling

Array = NDArray[np.float64]

PANELS = 10
FRAMES = 100  # of the film in each direction, at most
SMOOTH = 64  # and at least, where times between those of the sampler make sense
SNAPSHOT_POINTS = 2_000
HOLD = 30  # frames that the film rests at either end


class ModelView:
    """How a model's points are shown at some places of a grid, its own or another, which runs from noise to data.

    Attributes:
        columns: names of the two that are drawn; None for points of the plane.
        grid: times (N+1,).
        places: the places.
        times: t of each, falling.
        note: small print that says what was divided, where anything was.
        steps: T of a discrete schedule, where each of them is the time of a step; otherwise None.
        zoom: what x_t is divided by at each.

    Example:
        >>> from motes.runs import ModelView
        >>> view = ModelView(model.inner, places=[0, 16, 32])
        >>> view.times.round(3).tolist()
        [1.0, 0.653, 0.0]
    """

    def __init__(self, model: PointModel, places: Sequence[int], grid: NDArray[np.float32] | None = None):
        self.model = model
        self.grid = model.grid if grid is None else grid
        # The plane needs no names; columns of a table have their own units, so their axes are scaled on their own.
        plane = model.columns == default_columns(2)
        self.columns = None if plane else (model.columns[0], model.columns[1])
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
        self.note = "" if np.allclose(self.zoom, 1, atol=1e-4) else "shown: xₜ / √(αₜ² + σₜ²)"

    def drawn(self, limits: Limits) -> figures.View:
        """As figures take it, in a box.

        Example:
            >>> from motes.runs import ModelView
            >>> ModelView(model.inner, places=[0, 32]).drawn(((-3.0, 3.0), (-2.0, 2.0))).limits
            ((-3.0, 3.0), (-2.0, 2.0))
        """
        return figures.View(limits, self.steps, self.columns, self.note)

    def panels(self) -> list[int]:
        """About ten of the places, both ends among them: equally many steps apart, or where a schedule has no steps,
        equally far apart in the angle arctan(sigma_t / alpha_t), so that the panels change evenly.

        Example:
            >>> from motes.runs import ModelView
            >>> ModelView(model.inner, places=[0, 16, 32]).panels()
            [0, 1, 2]
        """
        if self.steps is not None:
            return evenly(len(self.places), PANELS)
        angle = np.arctan2(self._sigma, self._alpha).ravel()
        wanted = np.linspace(angle[0], angle[-1], PANELS)
        return sorted({int(np.argmin(np.abs(angle - a))) for a in wanted})

    def forward(self, x: Array, *, seed: int) -> Array:
        """Clouds of q(x_t | x_0) for the points `x` (n, d): (len(places), n, 2). A point keeps its noise throughout.

        Example:
            >>> from motes.runs import ModelView
            >>> ModelView(model.inner, places=[0, 16, 32]).forward(motes.make_shape("moons", 50), seed=0).shape
            (3, 50, 2)
        """
        z = self.model.standardiser.forward(x)
        eps = np.random.default_rng([seed, 1]).standard_normal(z.shape)
        return self.model.standardiser.inverse((self._alpha * z + self._sigma * eps) / self.zoom)[..., :2]

    def reverse(self, n: int, *, seed: int, denoiser: Denoiser | None = None) -> Array:
        """Clouds of a reverse chain of `n` points, (len(places), n, 2); by another denoiser if one is given.

        Example:
            >>> from motes.runs import ModelView
            >>> ModelView(model.inner, places=[0, 16, 32]).reverse(50, seed=0).shape
            (3, 50, 2)
        """
        model = self.model if denoiser is None else self.model.with_denoiser(denoiser)
        z = model.standardiser.forward(model.chain(n, self.places, seed=seed, how=Sampling(grid=self.grid))[1])
        return model.standardiser.inverse(z / self.zoom)[..., :2]


@dataclass(frozen=True)
class Film:
    """The forward process and the reverse chain at the same times, from noise to data, on the same axes."""

    view: ModelView
    forward: Array  # (m, n, 2)
    reverse: Array  # (m, n, 2)
    limits: Limits


def shoot(model: PointModel, x: Array, *, n: int = 10_000, seed: int = 0) -> Film:
    """Up to 101 times of `film_grid`, both ends among them, with up to `n` points each."""
    grid = film_grid(model)
    view = ModelView(model, evenly(len(grid), FRAMES + 1), grid)
    n = min(n, len(x))
    forward = view.forward(x[:n], seed=seed)
    reverse = view.reverse(n, seed=seed)
    limits = figures.limits_of(forward[0], forward[-1], reverse[0], equal=view.columns is None)
    return Film(view, forward, reverse, limits)


def film_grid(model: PointModel) -> NDArray[np.float32]:
    """The times of the model's sampler, and where they are too few for smooth motion others between them.

    A schedule of steps keeps its own: the film is to show those.

    Example:
        >>> from motes.runs import film_grid
        >>> grid = film_grid(model.inner)
        >>> float(grid[0]), float(grid[-1]), len(grid) >= len(model.grid)
        (1.0, 0.0, True)
    """
    if model.recipe.steps is not None:
        return model.grid
    return np.asarray(refined(model.grid, ceil(SMOOTH / (len(model.grid) - 1))), np.float32)


def evenly(n: int, wanted: int) -> list[int]:
    """At most `wanted` of the numbers 0 ... n-1, evenly spread, both ends among them.

    Example:
        >>> from motes.runs import evenly
        >>> evenly(101, 5)
        [0, 25, 50, 75, 100]
    """
    return sorted(set(np.linspace(0, n - 1, min(wanted, n)).round().astype(int).tolist()))


def stills(film: Film, x: Array, folder: Path, *, style: str, seed: int) -> Iterator[Path]:
    """Write the data, the samples, a row of the forward process and one of the reverse chain."""
    view, box = film.view, figures.limits_of(x[:, :2], robust=0.0, equal=film.view.columns is None)
    samples = view.model.sample(film.reverse.shape[1], seed=seed)  # the film may have come there by other steps
    for name, points in (("data", x[:, :2]), ("samples", samples[:, :2])):
        axes = figures.scatter(points, columns=view.columns, title=name, limits=box, style=style)
        yield save(axes, folder / f"{name}.png")
    some = view.panels()
    for name, clouds, order in (("forward", film.forward, some[::-1]), ("reverse", film.reverse, some)):
        figure = figures.row(clouds[order], view.times[order], process=name, view=view.drawn(film.limits), style=style)
        yield save(figure, folder / f"{name}.png")


def loss_figure(
    model: PointModel | TableModel, folder: Path, *, best: tuple[float, str] | None, style: str
) -> Iterator[Path]:
    """Write the loss of a fresh training; nothing for a loaded model.

    `best` is the loss that none can be below, and its name.
    """
    training = model.training
    if training is None or not training.steps:
        return
    value, label = best or (None, "")
    axes = figures.loss_curve(
        np.arange(training.steps) + 1,
        training.losses,
        best=value,
        best_label=label,
        held_out=training.looks.T if len(training.looks) else None,
        window=max(training.steps // 40, 1),
        style=style,
    )
    yield save(axes, folder / "loss.png")


def snapshots(film: Film, folder: Path, *, style: str, seed: int) -> Iterator[Path]:
    """Write the reverse chain at each snapshot of a fresh training; nothing for a loaded model."""
    model, training = film.view.model, film.view.model.training
    if training is None or not training.snapshots:
        return
    view = ModelView(model, [film.view.places[i] for i in film.view.panels()], film.view.grid)
    averaged = model.recipe.training.weights == "averaged"
    rows = {
        f"step {shot.step:,}": view.reverse(
            SNAPSHOT_POINTS, seed=seed, denoiser=shot.averaged if averaged else shot.last
        )
        for shot in training.snapshots
    }
    figure = figures.grid(rows, view.times, process="reverse", view=view.drawn(film.limits), style=style)
    yield save(figure, folder / "snapshots.png")


def animate(film: Film, path: Path, *, style: str, on_frame: Callable[[int], None] | None = None) -> None:
    """Write forward then reverse as a `.gif` or `.mp4`."""

    def counted_frames() -> Iterator[NDArray[np.uint8]]:
        frames = figures.frames(
            film.forward[::-1],
            film.view.times[::-1],
            film.reverse,
            film.view.times,
            view=film.view.drawn(film.limits),
            hold=HOLD,
            style=style,
        )
        for number, frame in enumerate(frames, 1):
            yield frame
            if on_frame:
                on_frame(number)

    with warnings.catch_warnings():
        # JAX warns of any fork; the one that starts the video's encoder runs nothing of JAX.
        warnings.filterwarnings("ignore", message=".*os.fork.*", category=RuntimeWarning)
        figures.save_animation(counted_frames(), path)


def save(drawing: Figure | Axes, path: Path) -> Path:
    """Write a figure, whole or not at all."""
    figure = drawing.figure if isinstance(drawing, Axes) else drawing
    assert isinstance(figure, Figure)  # the axes were made just now
    with replacing(path) as temporary:
        figure.savefig(temporary)
    return path
