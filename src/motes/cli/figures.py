"""Figures of a run: of points, of tables and of diagnoses."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from motes import plots
from motes.cli.drawing import Album
from motes.cli.folders import ABOVE, LEAST
from motes.data import SHAPES, Frame
from motes.data.readings import default_columns
from motes.evaluation import Diagnosis, TableDiagnosis
from motes.evaluation.associations import associations
from motes.evaluation.marginals import view_of
from motes.evaluation.points import PointDetails
from motes.evaluation.sources import Source
from motes.plots import ModelView
from motes.plots.chains import Film
from motes.points import Denoiser, Oracle, PointModel, Truth
from motes.points.networks import StepGated
from motes.progress import OnProgress, Progress, silent
from motes.rasters import Limits
from motes.tables.model import TableModel

Array = NDArray[np.float64]

SNAPSHOT_POINTS = 2_000
HOLD = 30  # frames that the film rests at either end
SMOOTHED = 40  # of the windows of a training's history, over one of which the mean of its loss is taken


def stills(film: Film, x: Array, album: Album, *, seed: int) -> Iterator[Path]:
    """Write the data, the samples, both with their difference, rows of the forward process and the reverse chain."""
    view, x = film.view, x[:, film.view.shown]
    box, count = plots.limits_of(x, robust=0.0, equal=view.columns is None), film.reverse.shape[1]
    samples = view.model.draw(count, seed=seed)[:, view.shown]  # the film may have come there by other steps
    for name, points in (("data", x), ("samples", samples)):
        axes = plots.scatter(points, columns=view.columns, title=name, limits=box, style=album.look)
        yield album.save(axes, name, _points(points))
    figure = plots.comparison(x, samples, columns=view.columns, limits=box, style=album.look)
    yield album.save(figure, "comparison", f"{len(x):,} real and {len(samples):,} synthetic points")
    for name, clouds, order in (("forward", film.forward, film.panels[::-1]), ("reverse", film.reverse, film.panels)):
        shown = view.drawn(film.limits)
        figure = plots.row(clouds[order], view.times[order], process=name, view=shown, style=album.look)
        yield album.save(figure, name, _points(clouds[0]))


def comparisons(found: PointDetails, album: Album) -> Iterator[Path]:
    """Write real and synthetic points of the plane side by side, with the difference of their densities.

    Nothing where there are other than two columns.
    """
    if found.real is None or found.synthetic is None:
        return
    names = tuple(column.name for column in found.columns)
    columns = None if names == default_columns(2) else (names[0], names[1])
    figure = plots.comparison(found.real, found.synthetic, columns=columns, style=album.look)
    yield album.save(figure, "comparison")


def loss_figure(history: Sequence[Mapping[str, float]], album: Album) -> Iterator[Path]:
    """Write the loss of a training by the lines of its history; nothing where there are none."""
    lines = [line for line in history if "loss" in line]
    if not lines:
        return
    best, label = None, ""
    for name, key in ABOVE.items():
        if key in lines[0]:
            best, label = float(np.median([line["loss"] - line[key] for line in lines if key in line])), LEAST[name]
    looks = [(line["step"], line["held_out"]) for line in history if "held_out" in line]
    axes = plots.loss_curve(
        [line["step"] for line in lines],
        [line["loss"] for line in lines],
        best=best,
        best_label=label,
        held_out=np.array(looks).T if looks else None,
        window=max(len(lines) // SMOOTHED, 1),
        style=album.look,
    )
    yield album.save(axes, "loss")


def snapshots(film: Film, shots: Sequence[tuple[int, Denoiser]], album: Album, *, seed: int) -> Iterator[Path]:
    """Write the reverse chain at each snapshot of a training, by step and denoiser; nothing where there are none."""
    if not shots:
        return
    view = ModelView(film.view.model, [film.view.places[i] for i in film.panels], film.view.grid)
    rows = {f"step {step:,}": view.reverse(SNAPSHOT_POINTS, seed=seed, denoiser=denoiser) for step, denoiser in shots}
    figure = plots.grid(rows, view.times, process="reverse", view=view.drawn(film.limits), style=album.look)
    yield album.save(figure, "snapshots", f"{SNAPSHOT_POINTS:,} points")


def _points(x: Array) -> str:
    return f"{len(x):,} points"


def animate(film: Film, path: Path, *, style: plots.Style, on_progress: OnProgress = silent) -> None:
    """Write forward then reverse as a `.gif` or `.mp4`."""

    def counted_frames() -> Iterator[NDArray[np.uint8]]:
        frames = plots.frames(
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
            on_progress(Progress(number, 2 * (len(film.view.places) + HOLD)))

    with warnings.catch_warnings():
        # JAX warns of any fork; the one that starts the video's encoder runs nothing of JAX.
        warnings.filterwarnings("ignore", message=".*os.fork.*", category=RuntimeWarning)
        plots.save_animation(counted_frames(), path)


# --- The figures of a model of a table: distributions of its columns, and pairs of those that belong together -------


ROWS = 2000  # synthetic and real rows of a figure, at most
SHOWN = 5  # columns of the matrix of pairs
LEVELS = 20  # labels of a column between which associations are taken


def table_figures(model: TableModel, origin: Source[Frame], album: Album, *, seed: int) -> Iterator[Path]:
    """Write the figures of a table: its columns, and pairs of them.

    Args:
        model: trained.
        origin: real rows, to be drawn beside the synthetic ones.
        album: of the figures.
        seed: of the synthetic rows and of the choice of real ones.
    """
    real = model.schema.contents(origin.training)
    real = real.take(np.sort(np.random.default_rng([seed, 271828]).permutation(len(real))[:ROWS]))
    synthetic = model.draw(min(ROWS, len(real)), seed=seed)
    title = f"{len(synthetic):,} synthetic rows"
    ours, theirs = ({name: rows[name] for name in real.names} for rows in (synthetic, real))
    rows = f"{len(synthetic):,} synthetic and {len(real):,} real rows"
    yield album.save(plots.marginals(ours, theirs, title=title, style=album.look), "marginals", rows)
    some = linked_columns(model, real)
    if len(some) > 1:
        ours, theirs = ({name: entries[name] for name in some} for entries in (ours, theirs))
        yield album.save(plots.pairs(ours, theirs, title=title, seed=seed, style=album.look), "pairs", rows)


def linked_columns(model: TableModel, rows: Frame) -> list[str]:
    """Up to five columns: those that are most strongly associated with one another, in the order of the table."""
    view = view_of(model.schema, {"real": rows})
    merged, levels = view.merged(LEVELS)
    found = np.nan_to_num(np.abs(associations(merged["real"], view.discrete, levels)))
    np.fill_diagonal(found, 0.0)
    chosen: list[int] = []
    while len(chosen) < min(SHOWN, len(view.names)):
        chosen.append(_next(found, chosen))
    return [view.names[j] for j in sorted(chosen)]


def _next(found: NDArray[np.float64], chosen: list[int]) -> int:
    """The column with the strongest association: with any at first, then with a chosen one."""
    strength = found.max(axis=1) if not chosen else found[:, chosen].max(axis=1)
    strength[chosen] = -1.0
    return int(strength.argmax())


# --- The figures of a diagnosis: what was found out is evaluated on grids here, and shown by `motes.plots` ----------
#
# Points of the plane are shown in the data's units, u, and where a schedule lets x_t grow, after division by
# sqrt(alpha_t^2 + sigma_t^2). Scores and densities are those of the points as shown: grad log q(u) and log q(u).


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
        >>> from motes.cli.drawing import Album, Drawing
        >>> from motes.cli.figures import diagnosis_figures
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

    def __init__(self, model: PointModel, x: Array, t: float):
        schedule = model.denoiser.schedule
        alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
        self.t, self.zoom = t, float(np.hypot(alpha, sigma))
        self.model, self.noise = model, sigma / alpha
        z = model.standardiser.forward(x)
        eps = np.random.default_rng(2).standard_normal(z.shape)
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
