"""Figures of a run, of an evaluation and of a diagnosis, in a folder."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from motes import plots
from motes.cli import folders
from motes.cli.options import Drawing
from motes.data import SHAPES, Frame
from motes.data.readings import default_columns
from motes.evaluation import Calibration, Diagnosis, Evaluation, TableDiagnosis
from motes.evaluation.associations import associations
from motes.evaluation.marginals import view_of
from motes.evaluation.points import PointDetails
from motes.evaluation.sources import Source, source_of
from motes.evaluation.table_results import TableDetails
from motes.plots.chains import Film, ModelView, shoot
from motes.plots.curves import column_gains, error_split, excess_curve, rank_curves
from motes.plots.fields import density_row, score_fields, time_heading
from motes.points import Denoiser, Oracle, PointModel, PosteriorModel, Truth
from motes.points.fitting import CHOSEN
from motes.points.networks import StepGated
from motes.points.posterior_model import CONTOURS
from motes.progress import OnProgress, Progress, Reporter, silent
from motes.rasters import Limits
from motes.recipe_files import recipe_names
from motes.recipes import load_recipe
from motes.replacing import replacing
from motes.tables.model import TableModel
from motes.training import Model, Recipe

Array = NDArray[np.float64]

DRAWS = 5000  # from a posterior
NAMED = 4  # entries of an observation in the title of a figure
SNAPSHOT_POINTS = 2_000
HOLD = 30  # still frames at either end of the animation
SMOOTHED = 40  # windows in a training's history over which the loss is averaged


@dataclass(frozen=True)
class Album:
    """A folder of figures with a common style.

    Attributes:
        folder: the folder.
        drawing: style and format of the figures.
        about: origin of their rows, for the footnote.
    """

    folder: Path
    drawing: Drawing
    about: str

    @property
    def look(self) -> plots.Style:
        """The style of the figures, with or without axes."""
        style, axes = plots.STYLES[self.drawing.style], self.drawing.axes
        return style if axes is None else replace(style, axes=axes)

    def save(self, drawn: Figure | Axes, name: str, rows: str = "") -> Path:
        """Write a figure under a name without suffix, with `rows` in its footnote, and return its path."""
        figure = drawn if isinstance(drawn, Figure) else drawn.figure
        assert isinstance(figure, Figure)  # the axes are new
        if self.drawing.size is not None:
            plots.resize(figure, self.drawing.size)
        if self.look.axes:
            plots.footnote(figure, " · ".join(part for part in (self.about, rows) if part), self.look)
        path = self.folder / f"{name}.{self.drawing.format}"
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=self.drawing.dpi)
        return path


def origin_words(model: Model, seed: int) -> str:
    """Describe the origin of a figure's rows: the training data, the recipe and the seeds."""
    source = Path(model.source).name if model.source else "rows in memory"
    seeds = f"seed {model.seed}" if model.seed == seed else f"trained with seed {model.seed}, drawn with seed {seed}"
    return f"{source} · {recipe_words(model.recipe)} · {seeds}"


def recipe_words(recipe: Recipe) -> str:
    """Name the built-in recipe closest to this one, and count the options that differ.

    Options that the built-in recipe leaves to the data are not counted: a trained model states the values that were
    chosen for it.

    Example:
        >>> recipe_words(motes.load_recipe("ddpm", {"training.steps": 10}))
        'recipe ddpm with 1 change'
    """
    own = folders.flat(recipe.to_dict())
    changes = {}
    for name in recipe_names():
        theirs = folders.flat(load_recipe(name).to_dict())
        ignored = {"about", *(key for key in CHOSEN if key not in theirs)}
        changes[name] = sum(own.get(key) != theirs.get(key) for key in (own.keys() | theirs.keys()) - ignored)
    name = min(changes, key=lambda one: changes[one])
    count = changes[name]
    return f"recipe {name}" + (f" with {count} change{'s' * (count > 1)}" if count else "")


# --- The figures of a run, of an evaluation and of a diagnosis -----------------------------------------------------


def draw_run(
    model: Any,
    origin: Source[Any],
    out: Path,
    reporter: Reporter,
    *,
    drawing: Drawing,
    seed: int,
    home: Path | None = None,
) -> list[Path]:
    """Write every figure of a model into `out`/figures, and for points the animation into `out`; return the paths.

    Args:
        model: trained model.
        origin: real rows.
        out: the folder.
        reporter: shows the progress.
        drawing: style and format of the figures.
        seed: seed of the samples in the figures.
        home: the folder of the run, with its history and checkpoints (default: `out`).
    """
    begin, home = time.perf_counter(), home or out
    album = Album(out / "figures", drawing, origin_words(model, seed))
    album.folder.mkdir(parents=True, exist_ok=True)
    history, paths, film = folders.history_in(home), list[Path](), None
    some: Iterable[Path]
    if model.kind == "points":
        shots, x = folders.snapshots_in(home, model), origin.training.x
        film = shoot(model, x, seed=seed)
        some = chain(stills(film, x, album, seed=seed), snapshots(film, shots, album, seed=seed))
        total = len(folders.FIGURES) - (not shots) - (not history)
    else:
        some = table_figures(model, origin, album, seed=seed)
        total = len(folders.TABLE_FIGURES) - (not history)
    with reporter.counting("figures", "figures") as count:
        for path in chain(some, loss_figure(history, album)):
            paths.append(path)
            count(Progress(len(paths), total))
    said = f"drew {len(paths)} figures"
    if film is not None:
        paths.append(out / "diffusion.gif")
        with reporter.counting("animation", "frames") as count:
            animate(film, paths[-1], style=album.look, on_progress=count)
        said += f" and {paths[-1].name}"
    reporter.say(f"{said} in {time.perf_counter() - begin:.1f} s")
    return paths


def draw_posterior(
    model: PosteriorModel,
    given: Mapping[str, Any],
    out: Path,
    reporter: Reporter,
    *,
    drawing: Drawing,
    seed: int,
    home: Path | None = None,
) -> list[Path]:
    """Write the pairs of columns of a posterior given one observation, and the loss, into `out`/figures.

    Args:
        model: posterior model.
        given: column -> observed value.
        out, reporter, drawing, seed, home: as for `draw_run`.

    Returns:
        The paths of the figures.

    Raises:
        UsageError: if there is no observation, or if it has other columns.
    """
    begin, album = time.perf_counter(), Album(out / "figures", drawing, origin_words(model, seed))
    for warning in model.reliability_warnings(given):
        reporter.warn(warning)
    drawn = model.draw(DRAWS, given, seed=seed)
    album.folder.mkdir(parents=True, exist_ok=True)
    words = [f"{name} = {value:g}" for name, value in given.items()]
    title = "given " + ", ".join(words[:NAMED]) + (", …" if len(words) > NAMED else "")
    figure = plots.pairs(model.varying(drawn), contours=CONTOURS, title=title, seed=seed, style=album.look)
    paths = [album.save(figure, "pairs", f"{DRAWS:,} draws"), *loss_figure(folders.history_in(home or out), album)]
    reporter.say(f"drew {len(paths)} figures in {time.perf_counter() - begin:.1f} s")
    return paths


def draw_evaluation(
    found: Evaluation[Any],
    model: Any,
    source: str | None,
    out: Path,
    *,
    drawing: Drawing,
    seed: int,
) -> list[Path]:
    """Write the figures of an evaluation into the folder `out`; return their paths.

    For points with two columns: real and synthetic points side by side, with the difference of their densities. For a
    table: its columns and pairs of columns, with rows drawn with `seed`.
    """
    folders.make_folder(out)
    album = Album(out, drawing, origin_words(model, seed))
    if isinstance(found.details, PointDetails):
        return list(comparisons(found.details, album))
    if isinstance(found.details, TableDetails):
        return list(table_figures(model, source_of(model, source), album, seed=seed))
    return []


def keep_diagnosis(
    found: Diagnosis | TableDiagnosis | Calibration,
    model: Any,
    source: str | None,
    out: Path,
    *,
    t: float | None,
    drawing: Drawing,
    seed: int,
) -> list[Path]:
    """Write the figures and numbers of a diagnosis into the folder `out`; return their paths.

    `t` is the time of the score figure for points; None: the time of the largest excess loss. `seed` is the seed of
    the diagnosis.
    """
    folders.make_folder(out)
    numbers, album = out / folders.DIAGNOSIS[0], Album(out, drawing, origin_words(model, seed))
    folders.write(numbers, json.dumps(found.to_dict(), indent=2) + "\n")
    if isinstance(found, TableDiagnosis):
        return [numbers, gains_figure(found, album)]
    if isinstance(found, Calibration):
        ranks = dict(zip(found.names, found.ranks.T, strict=True))
        return [numbers, album.save(rank_curves(ranks, found.draws, style=album.look), "ranks")]
    return [numbers, *diagnosis_figures(model, found, source_of(model, source).truth, album, t=t)]


# --- The figures of a model of points ---------------------------------------------------------------------------------


def stills(film: Film, x: Array, album: Album, *, seed: int) -> Iterator[Path]:
    """Write the data, the samples, both with their difference, rows of the forward process and the reverse chain."""
    view, x = film.view, x[:, film.view.shown]
    box, count = plots.limits_of(x, robust=0.0, equal=view.columns is None), film.reverse.shape[1]
    samples = view.model.draw(count, seed=seed)[:, view.shown]  # the film may use other steps
    for name, points in (("data", x), ("samples", samples)):
        axes = plots.scatter(points, columns=view.columns, title=name, limits=box, style=album.look)
        yield album.save(axes, name, _count_points(points))
    figure = plots.comparison(x, samples, columns=view.columns, limits=box, style=album.look)
    yield album.save(figure, "comparison", f"{len(x):,} real and {len(samples):,} synthetic points")
    for name, clouds, order in (("forward", film.forward, film.panels[::-1]), ("reverse", film.reverse, film.panels)):
        shown = view.drawn(film.limits)
        figure = plots.row(clouds[order], view.times[order], process=name, view=shown, style=album.look)
        yield album.save(figure, name, _count_points(clouds[0]))


def comparisons(found: PointDetails, album: Album) -> Iterator[Path]:
    """Write real and synthetic points side by side with the difference of their densities, if they have two columns."""
    if found.real is None or found.synthetic is None:
        return
    names = tuple(column.name for column in found.columns)
    columns = None if names == default_columns(2) else (names[0], names[1])
    figure = plots.comparison(found.real, found.synthetic, columns=columns, style=album.look)
    yield album.save(figure, "comparison")


def loss_figure(history: Sequence[Mapping[str, float]], album: Album) -> Iterator[Path]:
    """Write the loss curve from the lines of a training's history; nothing if there are none."""
    lines = [line for line in history if "loss" in line]
    if not lines:
        return
    gaps = [line["loss"] - line["excess"] for line in lines if "excess" in line]
    looks = [(line["step"], line["held_out"]) for line in history if "held_out" in line]
    axes = plots.loss_curve(
        [line["step"] for line in lines],
        [line["loss"] for line in lines],
        best=float(np.median(gaps)) if gaps else None,
        held_out=np.array(looks).T if looks else None,
        window=max(len(lines) // SMOOTHED, 1),
        style=album.look,
    )
    yield album.save(axes, "loss")


def snapshots(film: Film, shots: Sequence[tuple[int, Denoiser]], album: Album, *, seed: int) -> Iterator[Path]:
    """Write the reverse chain at each snapshot (step, denoiser) of a training; nothing if there are none."""
    if not shots:
        return
    view = ModelView(film.view.model, [film.view.places[i] for i in film.panels], film.view.grid)
    rows = {f"step {step:,}": view.reverse(SNAPSHOT_POINTS, seed=seed, denoiser=denoiser) for step, denoiser in shots}
    figure = plots.grid(rows, view.times, view=view.drawn(film.limits), style=album.look)
    yield album.save(figure, "snapshots", f"{SNAPSHOT_POINTS:,} points")


def _count_points(x: Array) -> str:
    return f"{len(x):,} points"


def animate(film: Film, path: Path, *, style: plots.Style, on_progress: OnProgress = silent) -> None:
    """Write the forward and then the reverse process as a GIF."""

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

    plots.save_gif(counted_frames(), path)


# --- The figures of a model of a table: the distributions of its columns, and pairs of associated columns -----------


ROWS = 2000  # maximum number of synthetic, and of real, rows in a figure
SHOWN = 5  # columns in the matrix of pairs
LEVELS = 20  # labels of a column in the associations; rarer ones are merged


def table_figures(model: TableModel, origin: Source[Frame], album: Album, *, seed: int) -> Iterator[Path]:
    """Write the figures of a table: its columns and pairs of columns.

    Args:
        model: trained model.
        origin: real rows, drawn next to the synthetic ones.
        album: folder and style of the figures.
        seed: seed of the synthetic rows and of the choice of real ones.
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
    """Return up to five columns with the strongest associations between them, in the order of the table."""
    view = view_of(model.schema, {"real": rows})
    merged, levels = view.merged(LEVELS)
    found = np.nan_to_num(np.abs(associations(merged["real"], view.discrete, levels)))
    np.fill_diagonal(found, 0.0)
    chosen: list[int] = []
    while len(chosen) < min(SHOWN, len(view.names)):
        chosen.append(_choose_next(found, chosen))
    return [view.names[j] for j in sorted(chosen)]


def _choose_next(found: NDArray[np.float64], chosen: list[int]) -> int:
    """Return the column with the strongest association: first with any other, then with a chosen one."""
    strength = found.max(axis=1) if not chosen else found[:, chosen].max(axis=1)
    strength[chosen] = -1.0
    return int(strength.argmax())


# --- The figures of a diagnosis: scores and densities are computed on grids here, and drawn by `motes.plots` --------
#
# Points are shown in the data's units, u, and if the schedule lets x_t grow, divided by sqrt(alpha_t^2 + sigma_t^2).
# Scores and densities refer to the points as shown: grad log q(u) and log q(u).


GRID = 128  # cells per side
DEEP = 15.0  # nats below the maximum density of slightly blurred data, within which the model's density is computed
SURE = 1.0  # nats of error up to which the model's density is drawn
NOISES = (0.0, 0.1, 0.4, 1.5)  # noise levels of the density maps, in standard deviations of the data
FLOOR = 7.0  # nats below the maximum, at which the density maps end
WIDER = 1.05  # factor by which the box exceeds the range of the points, so that densities above FLOOR fit in
BACKDROP = 1500  # points from which the box of a figure is chosen


def gains_figure(found: TableDiagnosis, album: Album) -> Path:
    """Write the figure of how well a table's model predicts each column."""
    title = f"{found.rows:,} {found.evaluated_against}"
    simple = found.mixture - found.alone
    names = [f"{name} (first)" if name == found.first else name for name in found.columns]
    figure = column_gains(names, found.gain, found.errors, simple, title=title, style=album.look)
    return album.save(figure, "column_gains")


def diagnosis_figures(
    model: PointModel, found: Diagnosis, truth: Truth | None, album: Album, *, t: float | None
) -> Iterator[Path]:
    """Write the figures excess and error_split, and for a shape with a known distribution scores and densities.

    `t` is the time of the scores; None: the time of the largest excess.

    Example:
        >>> from pathlib import Path
        >>> from motes.cli.figures import Album, diagnosis_figures
        >>> from motes.cli.options import Drawing
        >>> found = model.diagnose("moons", n=64)
        >>> album = Album(Path("."), Drawing("light"), "moons")
        >>> [path.name for path in diagnosis_figures(model, found, None, album, t=None)]
        ['excess.png', 'error_split.png']
    """
    excess, dim = found.excess, model.dim
    curves = (part / dim for part in (excess.loss, excess.least, excess.excess, excess.error))
    axes = excess_curve(excess.noise, *curves, label=found.reference, style=album.look)
    unit = "standard deviations of the data" if model.recipe.data.standardise else "units of the data"
    axes.set_xlabel(f"{axes.get_xlabel()} ({unit})")
    yield album.save(axes, "excess")
    split = found.split
    parts = {name: part.value for name, part in split.parts.items()}
    error = {name: part.error for name, part in split.parts.items()}
    axes = error_split(parts, split.reference_value, error, shares=split.adds_up, style=album.look)
    yield album.save(axes, "error_split")
    if truth is None or found.source not in SHAPES:
        return
    exact = truth.oracle(model.denoiser.schedule, model.standardiser)
    x = truth.sample(BACKDROP, seed=1)
    at = float(excess.t[np.argmax(excess.excess)]) if t is None else t
    steps = model.recipe.steps
    if steps is not None:  # the nearest step: a network may be defined only at its steps
        at = max(round(at * steps), 1) / steps
    yield album.save(_plot_scores(model, exact, x, at, album.look), "scores")
    yield album.save(_plot_densities(model, exact, x, album.look), "densities")


class _Plane:
    """A grid over the points as shown at time t."""

    def __init__(self, model: PointModel, x: Array, t: float):
        schedule = model.denoiser.schedule
        alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
        self.t, self.zoom = t, float(np.hypot(alpha, sigma))
        self.model, self.noise = model, sigma / alpha
        z = model.standardiser.forward(x)
        eps = np.random.default_rng(2).standard_normal(z.shape)
        self.points = model.standardiser.inverse((alpha * z + sigma * eps) / self.zoom)

    def axes(self, cells: int, limits: tuple[tuple[float, float], tuple[float, float]]) -> tuple[Array, Array]:
        """Return the centres of the cells along x and along y."""
        x, y = (low + (high - low) * (np.arange(cells) + 0.5) / cells for low, high in limits)
        return x, y

    def x_t(self, x: Array, y: Array) -> Array:
        """Return the grid in the denoiser's units, (nx ny, 2)."""
        u = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2)
        return self.model.standardiser.forward(u) * self.zoom

    def log_density(self, exact: Oracle, x: Array, y: Array) -> Array:
        """Return log q(u), (nx, ny), in nats and the data's units."""
        log_q = np.asarray(exact.rows(self.x_t(x, y), self.t).log_prob, np.float64)
        log_det = -np.log(self.model.standardiser.scale).sum() + 2 * np.log(self.zoom)
        return (log_q + log_det).reshape(len(x), len(y))

    def score(self, denoiser: Denoiser, x: Array, y: Array) -> Array:
        """Return grad log q(u), (nx, ny, 2)."""
        field = np.asarray(
            _compute_scores(denoiser, jnp.asarray(self.x_t(x, y), float), jnp.asarray(self.t, float)), float
        )
        return (field * self.zoom / self.model.standardiser.scale).reshape(len(x), len(y), 2)


@eqx.filter_jit
def _compute_scores(denoiser: Denoiser, x_t: jax.Array, t: jax.Array) -> jax.Array:
    scores: jax.Array = jax.lax.map(lambda x: denoiser.score(x, t), x_t, batch_size=256)
    return scores


def _plot_scores(model: PointModel, exact: Oracle, x: Array, t: float, style: plots.Style) -> Figure:
    plane = _Plane(model, x, t)
    across, up = plane.axes(GRID, _find_box([plane]))
    learned, truth = (plane.score(denoiser, across, up) for denoiser in (model.denoiser, exact))
    heading = time_heading(t, steps=model.recipe.steps, noise=plane.noise)
    log_p = plane.log_density(exact, across, up)
    return score_fields((across, up), learned, truth, log_p, heading=heading, style=style)


def _plot_densities(model: PointModel, exact: Oracle, x: Array, style: plots.Style) -> Figure:
    schedule = model.denoiser.schedule
    times = [0.0 if r == 0 else float(schedule.t_of_log_snr(-2 * np.log(r))) for r in NOISES]
    planes = [_Plane(model, x, t) for t in times]
    across, up = planes[0].axes(GRID, _find_box(planes))
    maps = [plane.log_density(exact, across, up) for plane in planes]
    titles = ["data" if plane.noise == 0 else f"noise level {plane.noise:.2g}" for plane in planes]
    if isinstance(model.recipe.network, StepGated):
        figure = density_row((across, up), maps, titles, floor=FLOOR, style=style)
        plots.footnote(figure, "No panel for the model: a network defined only at whole steps has no density.", style)
        return figure
    u = np.stack(np.meshgrid(across, up, indexing="ij"), axis=-1)
    learned = np.full(u.shape[:2], -np.inf)
    near = maps[1] > maps[1].max() - DEEP  # far from the data, no solver is accurate, and the map would show nothing
    found = model.likelihood(u[near])
    learned[near] = np.where(found.error < SURE, found.log_prob, -np.inf)
    return density_row((across, up), [learned, *maps], ["model", *titles], floor=FLOOR, style=style)


def _find_box(planes: Sequence[_Plane]) -> Limits:
    """Return a box around the points of all planes, wide enough not to cut off a density."""
    box = np.array(plots.limits_of(*(plane.points for plane in planes), robust=0.0))
    middle, half = box.mean(axis=1), WIDER * np.ptp(box, axis=1) / 2
    (left, low), (right, high) = (middle - half).tolist(), (middle + half).tolist()
    return (left, right), (low, high)
