"""The figures of a model and of its diagnosis, in a folder."""

import json
import time
from collections.abc import Iterable, Mapping
from functools import singledispatch
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from motes.cli import folders
from motes.cli.drawing import Album, Drawing, origin_words
from motes.data import Frame
from motes.errors import UsageError
from motes.evaluation import Calibration, Diagnosis, Evaluation, TableDiagnosis
from motes.evaluation.points import PointDetails
from motes.evaluation.sources import Source, point_source, table_source
from motes.evaluation.table_results import TableDetails
from motes.points import PosteriorModel
from motes.points.posterior_model import CONTOURS
from motes.progress import Progress, Reporter
from motes.tables.model import TableModel
from motes.training import Model

if TYPE_CHECKING:
    from motes.plots.chains import Film


DRAWS = 5000  # of a posterior
NAMED = 4  # entries of an observation in the title of a figure

# matplotlib is slow to load, so that each function imports the figures that it draws.


def draw_run(
    model: Model,
    origin: Source[Any],
    out: Path,
    reporter: Reporter,
    *,
    drawing: Drawing,
    seed: int,
    home: Path | None = None,
    video: bool = False,
) -> list[Path]:
    """Write every figure of a model into `out`/figures, and the animation of points beside it; returns their paths.

    Args:
        model: trained.
        origin: real rows.
        out: the folder.
        reporter: shows the progress.
        drawing: how figures look.
        seed: of what is drawn for the figures.
        home: the folder of the run, for what its history and its checkpoint say of the training; `out` if left out.
        video: an .mp4 instead of a .gif.
    """
    from motes.cli.figures import animate, loss_figure

    begin, home = time.perf_counter(), home or out
    album = Album(out / "figures", drawing, origin_words(model, seed))
    album.folder.mkdir(parents=True, exist_ok=True)
    history, paths = folders.history_in(home), []
    count_of, some, film = _figures(model, origin, album, home, seed)
    with reporter.counting("figures", "figures") as count:
        for path in chain(some, loss_figure(history, album)):
            paths.append(path)
            count(Progress(len(paths), count_of + bool(history)))
    said = f"drew {len(paths)} figures"
    if film is not None:
        paths.append(out / ("diffusion.mp4" if video else "diffusion.gif"))
        with reporter.counting("animation", "frames") as count:
            animate(film, paths[-1], style=drawing.look, on_progress=count)
        said += f" and {paths[-1].name}"
    reporter.say(f"{said} in {time.perf_counter() - begin:.1f} s")
    return paths


@singledispatch
def _figures(model: Any, origin: Any, album: Album, home: Path, seed: int) -> "tuple[int, Iterable[Path], Film | None]":
    """How many figures there are beside the loss, the figures as they are drawn, and what the animation shows."""
    from motes.cli.figures import snapshots, stills
    from motes.plots.chains import shoot

    shots, x = folders.snapshots_in(home, model), origin.training.x
    film = shoot(model, x, seed=seed)
    some = chain(stills(film, x, album, seed=seed), snapshots(film, shots, album, seed=seed))
    return len(folders.FIGURES) - 1 - (not shots), some, film


@_figures.register(TableModel)
def _(
    model: TableModel, origin: Source[Frame], album: Album, home: Path, seed: int
) -> "tuple[int, Iterable[Path], Film | None]":
    from motes.cli.figures import table_figures

    return len(folders.TABLE_FIGURES) - 1, table_figures(model, origin, album, seed=seed), None


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
    """Write the pairs of columns of a model given one observation, and its loss, into `out`/figures; returns the paths.

    Args:
        model: of points that are conditioned on something.
        given: column -> what was observed.
        out, reporter, drawing, seed, home: as for `draw_run`.

    Raises:
        UsageError: no observation, or other columns.
    """
    from motes.cli.figures import loss_figure
    from motes.plots import pairs

    begin, album = time.perf_counter(), Album(out / "figures", drawing, origin_words(model, seed))
    for warning in model.doubts(given):
        reporter.warn(warning)
    drawn = model.draw(DRAWS, given, seed=seed)
    album.folder.mkdir(parents=True, exist_ok=True)
    words = [f"{name} = {value:g}" for name, value in given.items()]
    title = "given " + ", ".join(words[:NAMED]) + (", …" if len(words) > NAMED else "")
    figure = pairs(model.varying(drawn), contours=CONTOURS, title=title, seed=seed, style=album.look)
    paths = [album.save(figure, "pairs", f"{DRAWS:,} draws"), *loss_figure(folders.history_in(home or out), album)]
    reporter.say(f"drew {len(paths)} figures in {time.perf_counter() - begin:.1f} s")
    return paths


def draw_evaluation(
    found: Evaluation[Any],
    model: Model,
    source: str | None,
    out: Path,
    *,
    drawing: Drawing,
    seed: int,
) -> list[Path]:
    """Write the figures of an evaluation into the folder `out`; returns their paths.

    Of points of the plane: real and synthetic ones side by side, with the difference of their densities. Of a table:
    each column, and pairs of them, of rows that are drawn with `seed`.
    """
    folders.make_folder(out)
    return list(_evaluation_figures(found.details, model, source, Album(out, drawing, origin_words(model, seed)), seed))


@singledispatch
def _evaluation_figures(details: Any, model: Any, source: str | None, album: Album, seed: int) -> Iterable[Path]:
    """None, of posteriors."""
    return ()


@_evaluation_figures.register
def _(details: PointDetails, model: Any, source: str | None, album: Album, seed: int) -> Iterable[Path]:
    from motes.cli.figures import comparisons

    return comparisons(details, album)


@_evaluation_figures.register
def _(details: TableDetails, model: Any, source: str | None, album: Album, seed: int) -> Iterable[Path]:
    from motes.cli.figures import table_figures

    return table_figures(model, table_source(model, source), album, seed=seed)


def keep_diagnosis(
    found: Diagnosis | TableDiagnosis | Calibration,
    model: Model,
    source: str | None,
    out: Path,
    *,
    t: float | None,
    drawing: Drawing,
    seed: int,
) -> list[Path]:
    """Write the figures and numbers of a diagnosis into the folder `out`; returns their paths.

    `t` is the time of the figure of scores, of points; None takes that of the largest excess loss. `seed` is that of
    the diagnosis.
    """
    folders.make_folder(out)
    numbers, album = out / folders.DIAGNOSIS[0], Album(out, drawing, origin_words(model, seed))
    folders.write(numbers, json.dumps(found.to_dict(), indent=2) + "\n")
    return [numbers, *_diagnosis_figures(found, model, source, album, t)]


@singledispatch
def _diagnosis_figures(found: Any, model: Any, source: str | None, album: Album, t: float | None) -> Iterable[Path]:
    from motes.cli.figures import diagnosis_figures

    return diagnosis_figures(model, found, point_source(model, source).truth, album, t=t)


@_diagnosis_figures.register
def _(found: TableDiagnosis, model: Model, source: str | None, album: Album, t: float | None) -> Iterable[Path]:
    from motes.cli.figures import gains_figure

    return [gains_figure(found, album)]


@_diagnosis_figures.register
def _(found: Calibration, model: Model, source: str | None, album: Album, t: float | None) -> Iterable[Path]:
    from motes.plots import rank_curves

    ranks = dict(zip(found.names, found.ranks.T, strict=True))
    return [album.save(rank_curves(ranks, found.draws, style=album.look), "ranks")]


def refuse_evaluation(out: Path) -> None:
    """Raise UsageError where the folder holds figures of an evaluation that would be overwritten."""
    if there := folders.present(out, folders.EVALUATION):
        raise UsageError(f"'{out}' holds {there[0].name}. Choose another --out, or replace it with --overwrite.")


def refuse_diagnosis(out: Path) -> None:
    """Raise UsageError where the folder holds a diagnosis that would be overwritten."""
    if there := folders.present(out, folders.DIAGNOSIS):
        raise UsageError(f"'{out}' holds {there[0].name}. Choose another --out, or replace it with --overwrite.")


def refuse_pictures(out: Path) -> None:
    """Raise UsageError where the folder holds pictures that would be overwritten."""
    if there := folders.present(out, folders.PICTURES):
        raise UsageError(
            f"'{out}' holds other pictures ({there[0].relative_to(out)}). "
            "Choose another --out, or replace them with --overwrite."
        )
