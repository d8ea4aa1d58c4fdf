"""Figures of a run, of an evaluation and of a diagnosis, in a folder."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from motes import plots
from motes.cli import folders
from motes.cli.common import Drawing
from motes.data import Frame
from motes.evaluation import Calibration, Diagnosis, TableDiagnosis
from motes.evaluation.associations import associations
from motes.evaluation.marginals import view_of
from motes.evaluation.sources import PointSource, Source, source_of
from motes.explorer.points import log_density, scores
from motes.explorer.subjects import Origin, Subject
from motes.explorer.tables import Array
from motes.plots import curves
from motes.plots.chains import Film, ModelView, shoot
from motes.points import Denoiser, PointModel, PosteriorModel
from motes.points.fitting import CHOSEN
from motes.points.networks import StepGated
from motes.points.posterior_model import CONTOURS
from motes.progress import OnProgress, Progress, Reporter, silent
from motes.recipe_files import recipe_names
from motes.recipes import load_recipe
from motes.replacing import replacing
from motes.tables.model import TableModel
from motes.training import Model, Recipe

Rows = Source[Any] | Mapping[str, Any]  # real rows, or for a posterior one observation
Found = Diagnosis | TableDiagnosis | Calibration

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
        self.folder.mkdir(parents=True, exist_ok=True)
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
    changes = []
    for name in recipe_names():
        theirs = folders.flat(load_recipe(name).to_dict())
        ignored = {"about", *(key for key in CHOSEN if key not in theirs)}
        keys = (own.keys() | theirs.keys()) - ignored
        changes.append((sum(own.get(key) != theirs.get(key) for key in keys), name))
    count, name = min(changes, key=lambda one: one[0])  # the first of equals
    return f"recipe {name}" + (f" with {count} change{'s' * (count > 1)}" if count else "")


# --- The figures of a run, of an evaluation and of a diagnosis -----------------------------------------------------


def draw_run(
    model: Any, rows: Rows, out: Path, reporter: Reporter, *, drawing: Drawing, seed: int, home: Path | None = None
) -> list[Path]:
    """Write every figure of a model into `out`/figures, and for points the animation into `out`; return the paths.

    Args:
        model: trained model.
        rows: real rows; for a posterior, one observation.
        out: the folder.
        reporter: shows the progress.
        drawing: style and format of the figures.
        seed: seed of the samples in the figures.
        home: the folder of the run, with its history and checkpoints (default: `out`).

    Raises:
        UsageError: for a posterior, if there is no observation, or if it has other columns.
    """
    begin, home = time.perf_counter(), home or out
    album = Album(out / "figures", drawing, origin_words(model, seed))
    loss = loss_figure(folders.history_in(home), album)
    if isinstance(rows, Mapping):
        for warning in model.reliability_warnings(rows):
            reporter.warn(warning)
        drawn = model.draw(DRAWS, rows, seed=seed)
        paths = [posterior_figure(model, rows, drawn, album, seed=seed), *loss]
    elif model.kind == "points":
        film, shots = shoot(model, rows.training.x, seed=seed), folders.snapshots_in(home, model)
        paths = [*stills(film, rows.training.x, album, seed=seed), *snapshots(film, shots, album, seed=seed), *loss]
        paths.append(out / "diffusion.gif")
        with reporter.counting("animation", "frames") as count:
            animate(film, paths[-1], style=album.look, on_progress=count)
    else:
        paths = [*table_figures(model, rows, album, seed=seed), *loss]
    reporter.say(f"drew {len(paths)} figures in {time.perf_counter() - begin:.1f} s")
    return paths


def posterior_figure(model: PosteriorModel, given: Mapping[str, Any], drawn: Array, album: Album, *, seed: int) -> Path:
    """Write the pairs of columns of a posterior, from draws given one observation."""
    words = [f"{name} = {value:g}" for name, value in given.items()]
    title = "given " + ", ".join(words[:NAMED]) + (", …" if len(words) > NAMED else "")
    figure = plots.pairs(model.varying(drawn), contours=CONTOURS, title=title, seed=seed, style=album.look)
    return album.save(figure, "pairs", f"{DRAWS:,} draws")


def keep_diagnosis(
    found: Found, model: Any, source: str | None, out: Path, *, t: float | None, drawing: Drawing, seed: int
) -> list[Path]:
    """Write the figures and numbers of a diagnosis into the folder `out`; return their paths.

    `t` is the time of the score figure for points; None: the time of the largest excess loss. `seed` is the seed of
    the diagnosis.
    """
    out.mkdir(parents=True, exist_ok=True)
    numbers, album = out / folders.DIAGNOSIS[0], Album(out, drawing, origin_words(model, seed))
    folders.write(numbers, json.dumps(found.to_dict(), indent=2) + "\n")
    if isinstance(found, TableDiagnosis):
        names = [f"{name} (first)" if name == found.first else name for name in found.columns]
        title, simple = f"{found.rows:,} {found.evaluated_against}", found.mixture - found.alone
        axes = curves.column_gains(names, found.gain, found.errors, simple, title=title, style=album.look)
        return [numbers, album.save(axes, "column_gains")]
    if isinstance(found, Calibration):
        ranks = dict(zip(found.names, found.ranks.T, strict=True))
        return [numbers, album.save(curves.rank_curves(ranks, found.draws, style=album.look), "ranks")]
    return [numbers, *diagnosis_figures(model, found, source_of(model, source), album, t=t)]


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


def loss_figure(history: Sequence[Mapping[str, float]], album: Album) -> Iterator[Path]:
    """Write the loss curve from the lines of a training's history; nothing if there are none."""
    lines = [line for line in history if "loss" in line]
    if not lines:
        return
    gaps = [line["loss"] - line["excess"] for line in lines if "excess" in line]
    looks = [(line["step"], line["held_out"]) for line in history if "held_out" in line]
    steps, losses = ([line[name] for line in lines] for name in ("step", "loss"))
    best, held_out = float(np.median(gaps)) if gaps else None, np.array(looks).T if looks else None
    window = max(len(lines) // SMOOTHED, 1)
    axes = plots.loss_curve(steps, losses, best=best, held_out=held_out, window=window, style=album.look)
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
    view = film.view
    chains = film.forward[::-1], view.times[::-1], film.reverse, view.times

    def counted_frames() -> Iterator[NDArray[np.uint8]]:
        frames = plots.frames(*chains, view=view.drawn(film.limits), hold=HOLD, style=style)
        for number, frame in enumerate(frames, 1):
            yield frame
            on_progress(Progress(number, 2 * (len(view.places) + HOLD)))

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
    """Return the columns with the strongest association with any other, up to five, in the order of the table."""
    view = view_of(model.schema, {"real": rows})
    merged, levels = view.merged(LEVELS)
    found = np.nan_to_num(np.abs(associations(merged["real"], view.discrete, levels)))
    np.fill_diagonal(found, 0.0)
    return [view.names[j] for j in sorted(np.argsort(-found.max(axis=1), kind="stable")[:SHOWN])]


# --- The figures of a diagnosis: scores and densities are computed on grids here, and drawn by `motes.plots` --------
#
# Points are shown as in the explorer: in the data's units, divided by sqrt(alpha_t^2 + sigma_t^2). Scores and densities
# refer to the points as shown: grad log q(u) and log q(u).


GRID = 128  # cells per side
DEEP = 15.0  # nats below the maximum density of slightly blurred data, within which the model's density is computed
SURE = 1.0  # nats of error up to which the model's density is drawn
NOISES = (0.0, 0.1, 0.4, 1.5)  # noise levels of the density maps, in standard deviations of the data
FLOOR = 7.0  # nats below the maximum, at which the density maps end


def diagnosis_figures(
    model: PointModel, found: Diagnosis, origin: PointSource, album: Album, *, t: float | None
) -> Iterator[Path]:
    """Write the figures excess and error_split, and for a shape with a known distribution scores and densities.

    `origin` has the rows of the diagnosis. `t` is the time of the scores; None: the time of the largest excess.
    """
    excess, dim = found.excess, model.dim
    losses = (part / dim for part in (excess.loss, excess.least, excess.excess, excess.error))
    axes = curves.excess_curve(excess.noise, *losses, label=found.reference, style=album.look)
    unit = "standard deviations of the data" if model.recipe.data.standardise else "units of the data"
    axes.set_xlabel(f"{axes.get_xlabel()} ({unit})")
    yield album.save(axes, "excess")
    split = found.split
    parts = {name: part.value for name, part in split.parts.items()}
    error = {name: part.error for name, part in split.parts.items()}
    axes = curves.error_split(parts, split.reference_value, error, style=album.look)
    yield album.save(axes, "error_split")
    if origin.truth is None:
        return
    at = float(excess.t[np.argmax(excess.excess)]) if t is None else t
    steps = model.recipe.steps
    if steps is not None:  # the nearest step: a network may be defined only at its steps
        at = max(round(at * steps), 1) / steps
    subject = Subject(origin.name, model, Origin.of(origin))
    yield album.save(_plot_scores(subject, at, album.look), "scores")
    yield album.save(_plot_densities(subject, album.look), "densities")


def _exact_log_p(subject: Subject, u: Array, t: float) -> Array:
    assert subject.oracle is not None  # only shapes with a known distribution have these figures
    return log_density(subject, subject.oracle, u, t, silent).reshape(GRID, GRID).T


def _plot_scores(subject: Subject, t: float, style: plots.Style) -> Figure:
    assert subject.oracle is not None
    (x, y), u = subject.cells(GRID)
    schedule, units = subject.denoiser.schedule, subject.zoom(t) / subject.model.standardiser.scale
    learned, exact = (
        (scores(denoiser, subject.standardised(u, t), t)[1] * units).reshape(GRID, GRID, 2).swapaxes(0, 1)
        for denoiser in (subject.denoiser, subject.oracle)
    )
    noise = float(schedule.sigma(t) / schedule.alpha(t))
    heading = curves.time_heading(t, steps=subject.model.recipe.steps, noise=noise)
    return curves.score_fields((x, y), learned, exact, _exact_log_p(subject, u, t), heading=heading, style=style)


def _plot_densities(subject: Subject, style: plots.Style) -> Figure:
    (x, y), u = subject.cells(GRID)
    schedule = subject.denoiser.schedule
    times = [0.0 if r == 0 else float(schedule.t_of_log_snr(-2 * np.log(r))) for r in NOISES]
    maps = [_exact_log_p(subject, u, t) for t in times]
    titles = ["data", *(f"noise level {r:.2g}" for r in NOISES[1:])]
    if not isinstance(subject.model.recipe.network, StepGated):  # which has no density
        learned = np.full((GRID, GRID), -np.inf)
        near = maps[1] > maps[1].max() - DEEP  # far from the data, no solver is accurate, and nothing would be shown
        found = subject.model.likelihood(u.reshape(GRID, GRID, 2).swapaxes(0, 1)[near])
        learned[near] = np.where(found.error < SURE, found.log_prob, -np.inf)
        maps, titles = [learned, *maps], ["model", *titles]
    return curves.density_row((x, y), maps, titles, floor=FLOOR, style=style)
