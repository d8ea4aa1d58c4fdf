"""The figures of a diagnosis: what was found out is evaluated on grids here, and shown by `motes.plots`.

Points of the plane are shown in the data's units, u, and where a schedule lets x_t grow, after division by
sqrt(alpha_t^2 + sigma_t^2). Scores and densities are those of the points as shown: grad log q(u) and log q(u).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from motes import plots
from motes.data._shapes import SHAPES
from motes.diagnosis._after import Diagnosis
from motes.diagnosis._of_tables import TableDiagnosis
from motes.diffusion._denoiser import Denoiser
from motes.diffusion._oracles import Oracle
from motes.evaluation._truth import Truth
from motes.learning._networks import StepGated
from motes.models._points import PointModel
from motes.plots.arrays import Limits
from motes.runs._drawing import Album

Array = NDArray[np.float64]

GRID = 128  # cells of a side
DEEP = 15.0  # nats below the densest place of slightly blurred data, where the density of a model is taken
SURE = 1.0  # nats of error up to which it is drawn
NOISES = (0.0, 0.1, 0.4, 1.5)  # levels of the density maps, in standard deviations of the data
FLOOR = 7.0  # nats below the highest density, where the maps of densities end
COARSE = 24  # cells of a side, to see whether a map would be cut off
WIDER = 8, 1.12  # how often a box may grow, and by how much
BACKDROP = 1500  # points by which the box of a figure is chosen


def gains_figure(found: TableDiagnosis, album: Album) -> Path:
    """Write the figure of what a model of a table knows of each column."""
    title = f"{found.rows:,} {found.evaluated_against}"
    simple = found.mixture - found.alone
    names = [f"{name} (first)" if name == found.first else name for name in found.columns]
    figure = plots.column_gains(names, found.gain, found.errors, simple, title=title, style=album.look)
    return album.save(figure, "column_gains")


def diagnosis_figures(
    model: PointModel, found: Diagnosis, truth: Truth | None, album: Album, *, t: float | None
) -> Iterator[Path]:
    """Write excess and error_split, and for a shape whose distribution is known scores and densities.

    `t` is the time of the scores; None takes that of the largest excess.

    Example:
        >>> from pathlib import Path
        >>> from motes.runs import Album, Drawing, diagnosis_figures
        >>> found = model.diagnose("moons", n=64)
        >>> album = Album(Path("."), Drawing("light"), "moons")
        >>> [path.name for path in diagnosis_figures(model, found, None, album, t=None)]
        ['excess.png', 'error_split.png']
    """
    excess, dim = found.excess, model.dim
    axes = plots.excess_curve(
        excess.noise,
        excess.loss / dim,
        excess.least / dim,
        excess=excess.excess / dim,
        error=excess.error / dim,
        label=found.reference,
        style=album.look,
    )
    unit = "standard deviations of the data" if model.recipe.data.standardise else "units of the data"
    axes.set_xlabel(f"{axes.get_xlabel()} ({unit})")
    yield album.save(axes, "excess")
    split = found.split
    axes = plots.error_split(
        {name: part.value for name, part in split.parts.items()},
        reference_value=split.reference_value,
        total=split.total,
        error={name: part.error for name, part in split.parts.items()},
        style=album.look,
    )
    yield album.save(axes, "error_split")
    if truth is None or found.source not in SHAPES:
        return
    exact = truth.oracle(model.denoiser.schedule, model.standardiser)
    x = truth.sample(BACKDROP, seed=1)
    at = float(excess.t[np.argmax(excess.excess)]) if t is None else t
    steps = model.recipe.steps
    if steps is not None:  # the nearest one: a network may know no times between them
        at = max(round(at * steps), 1) / steps
    yield album.save(_scores(model, exact, x, at, album.look), "scores")
    yield album.save(_densities(model, exact, x, album.look), "densities")


class _Plane:
    """A grid over the points as they are shown at time t."""

    def __init__(self, model: PointModel, x: Array, t: float, seed: int = 2):
        schedule = model.denoiser.schedule
        alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
        self.t, self.zoom = t, float(np.hypot(alpha, sigma))
        self.model, self.noise = model, sigma / alpha
        z = model.standardiser.forward(x)
        eps = np.random.default_rng(seed).standard_normal(z.shape)
        self.points = model.standardiser.inverse((alpha * z + sigma * eps) / self.zoom)

    def axes(self, cells: int, limits: tuple[tuple[float, float], tuple[float, float]]) -> tuple[Array, Array]:
        """Middles of the cells along x and along y."""
        x, y = (low + (high - low) * (np.arange(cells) + 0.5) / cells for low, high in limits)
        return x, y

    def x_t(self, x: Array, y: Array) -> Array:
        """The grid in the denoiser's units, (nx ny, 2)."""
        u = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
        return self.model.standardiser.forward(u) * self.zoom

    def log_density(self, exact: Oracle, x: Array, y: Array) -> Array:
        """log q(u), (nx, ny), in nats of the data's units."""
        log_q = np.asarray(exact.rows(self.x_t(x, y), self.t).log_prob, np.float64)
        log_det = -np.log(self.model.standardiser.scale).sum() + 2 * np.log(self.zoom)
        return (log_q + log_det).reshape(len(x), len(y))

    def score(self, denoiser: Denoiser, x: Array, y: Array) -> Array:
        """grad log q(u), (nx, ny, 2)."""
        field = np.asarray(_score(denoiser, jnp.asarray(self.x_t(x, y), float), jnp.asarray(self.t, float)), float)
        return (field * self.zoom / self.model.standardiser.scale).reshape(len(x), len(y), 2)


@eqx.filter_jit
def _score(denoiser: Denoiser, x_t: jax.Array, t: jax.Array) -> jax.Array:
    scores: jax.Array = jax.lax.map(lambda x: denoiser.score(x, t), x_t, batch_size=256)
    return scores


def _scores(model: PointModel, exact: Oracle, x: Array, t: float, style: plots.Style) -> Figure:
    plane = _Plane(model, x, t)
    across, up = plane.axes(GRID, _uncut([plane], exact))
    learned, truth = (plane.score(denoiser, across, up) for denoiser in (model.denoiser, exact))
    heading = plots.time_heading(t, steps=model.recipe.steps, noise=plane.noise)
    log_p = plane.log_density(exact, across, up)
    return plots.score_fields((across, up), learned, truth, log_p=log_p, heading=heading, style=style)


def _densities(model: PointModel, exact: Oracle, x: Array, style: plots.Style) -> Figure:
    schedule = model.denoiser.schedule
    times = [0.0 if r == 0 else float(schedule.t_of_log_snr(-2 * np.log(r))) for r in NOISES]
    planes = [_Plane(model, x, t) for t in times]
    across, up = planes[0].axes(GRID, _uncut(planes, exact))
    maps = [plane.log_density(exact, across, up) for plane in planes]
    titles = ["data" if plane.noise == 0 else f"noise level {plane.noise:.2g}" for plane in planes]
    if isinstance(model.recipe.network, StepGated):
        figure = plots.density_row((across, up), maps, titles, floor=FLOOR, style=style)
        plots.footnote(figure, "The model has no panel: a network that knows whole steps alone has no density.", style)
        return figure
    u = np.stack(np.meshgrid(across, up, indexing="ij"), axis=-1)
    learned = np.full(u.shape[:2], -np.inf)
    near = maps[1] > maps[1].max() - DEEP  # far from all data no solver is sure, and nobody can see
    found = model.likelihood(u[near])
    learned[near] = np.where(found.error < SURE, found.log_prob, -np.inf)
    return plots.density_row((across, up), [learned, *maps], ["model", *titles], floor=FLOOR, style=style)


def _uncut(planes: Sequence[_Plane], exact: Oracle) -> Limits:
    """A box around the points of all planes that cuts no density off at its edges."""
    limits = plots.limits_of(*(plane.points for plane in planes))
    for _ in range(WIDER[0]):
        coarse = planes[0].axes(COARSE, limits)
        rims = [plane.log_density(exact, *coarse) for plane in planes]
        top = max(rim.max() for rim in rims)
        if all(max(rim[[0, -1]].max(), rim[:, [0, -1]].max()) < top - FLOOR for rim in rims):
            break
        limits = _wider(limits)
    return limits


def _wider(limits: Limits) -> Limits:
    """The box around the same middle, a little larger."""
    (left, right), (low, high) = (
        (float((a + b) / 2 - WIDER[1] * (b - a) / 2), float((a + b) / 2 + WIDER[1] * (b - a) / 2)) for a, b in limits
    )
    return (left, right), (low, high)
