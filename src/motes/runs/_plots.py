"""The figures of a model and of its diagnosis, in a folder."""

import json
import time
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from motes._model import CONTOURS
from motes._progress import Reporter
from motes.diagnosis._after import Diagnosis
from motes.diagnosis._calibration import Calibration
from motes.diagnosis._of_tables import TableDiagnosis
from motes.errors import UsageError
from motes.evaluation._posteriors import PosteriorDetails
from motes.evaluation._record import Evaluation
from motes.models._points import PointModel
from motes.models._references import source_of
from motes.models._sources import PointSource, Source
from motes.models._tables import TableModel
from motes.runs._checkpoints import snapshots_in
from motes.runs._drawing import Album, Drawing, origin_words
from motes.runs._folder import (
    DIAGNOSIS,
    EVALUATION,
    FIGURES,
    PICTURES,
    TABLE_FIGURES,
    history_in,
    make_folder,
    present,
    write,
)

DRAWS = 5000  # of a posterior
NAMED = 4  # entries of an observation in the title of a figure

# matplotlib is slow to load, so that each function imports the figures that it draws.


def draw_run(
    model: PointModel | TableModel,
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
    from motes.runs._film import shoot
    from motes.runs._point_figures import HOLD, animate, loss_figure, snapshots, stills
    from motes.runs._table_figures import table_figures

    begin, home = time.perf_counter(), home or out
    album = Album(out / "figures", drawing, origin_words(model, seed))
    album.folder.mkdir(parents=True, exist_ok=True)
    history, paths, film = history_in(home), [], None
    shots = snapshots_in(home, model) if isinstance(model, PointModel) else []
    there = {"loss": bool(history), "snapshots": bool(shots)}
    names = [name for name in (FIGURES if isinstance(model, PointModel) else TABLE_FIGURES) if there.get(name, True)]
    with reporter.counting("figures", len(names), "figures") as count:
        if isinstance(model, TableModel):
            some = table_figures(model, origin, album, seed=seed)
        else:
            assert isinstance(origin, PointSource)  # or it would be the source of a table
            x = origin.training.x
            film = shoot(model, x, seed=seed)
            some = chain(stills(film, x, album, seed=seed), snapshots(film, shots, album, seed=seed))
        for path in chain(some, loss_figure(history, album)):
            paths.append(path)
            count(len(paths))
    said = f"drew {len(paths)} figures"
    if film is not None:
        paths.append(out / ("diffusion.mp4" if video else "diffusion.gif"))
        with reporter.counting("animation", 2 * (len(film.view.places) + HOLD), "frames") as count:
            animate(film, paths[-1], style=drawing.look, on_frame=count)
        said += f" and {paths[-1].name}"
    reporter.say(f"{said} in {time.perf_counter() - begin:.1f} s")
    return paths


def draw_posterior(
    model: PointModel,
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
    from motes.plots import pairs
    from motes.runs._point_figures import loss_figure

    begin, album = time.perf_counter(), Album(out / "figures", drawing, origin_words(model, seed))
    assert model.context is not None  # or nothing would have been observed
    for warning in model.context.novel(model.context.rows(given)[0]):
        reporter.warn(warning)
    drawn = model.sample(DRAWS, given=given, seed=seed)
    album.folder.mkdir(parents=True, exist_ok=True)
    words = [f"{name} = {value:g}" for name, value in given.items()]
    title = "given " + ", ".join(words[:NAMED]) + (", …" if len(words) > NAMED else "")
    columns = dict(zip(model.columns, drawn.T, strict=True))
    figure = pairs(columns, contours=CONTOURS, title=title, seed=seed, style=album.look)
    paths = [album.save(figure, "pairs", f"{DRAWS:,} draws"), *loss_figure(history_in(home or out), album)]
    reporter.say(f"drew {len(paths)} figures in {time.perf_counter() - begin:.1f} s")
    return paths


def draw_evaluation(
    found: Evaluation[Any],
    model: PointModel | TableModel,
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
    from motes.runs._point_figures import comparisons
    from motes.runs._table_figures import table_figures

    make_folder(out)
    album = Album(out, drawing, origin_words(model, seed))
    if isinstance(model, TableModel):
        return list(table_figures(model, source_of(model, source), album, seed=seed))
    if isinstance(found.details, PosteriorDetails):
        return []
    return list(comparisons(found.details, album))


def keep_diagnosis(
    found: Diagnosis | TableDiagnosis | Calibration,
    model: PointModel | TableModel,
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
    from motes.runs._diagnosis_figures import diagnosis_figures, gains_figure

    make_folder(out)
    numbers, album = out / DIAGNOSIS[0], Album(out, drawing, origin_words(model, seed))
    write(numbers, json.dumps(found.to_dict(), indent=2) + "\n")
    if isinstance(found, TableDiagnosis):
        return [numbers, gains_figure(found, album)]
    if isinstance(found, Calibration):
        from motes.plots import rank_curves

        ranks = dict(zip(found.names, found.ranks.T, strict=True))
        return [numbers, album.save(rank_curves(ranks, found.draws, style=album.look), "ranks")]
    assert isinstance(model, PointModel)  # of which the diagnosis is
    distribution = source_of(model, source).truth
    return [numbers, *diagnosis_figures(model, found, distribution, album, t=t)]


def refuse_evaluation(out: Path) -> None:
    """Raise UsageError where the folder holds figures of an evaluation that would be overwritten."""
    if there := present(out, EVALUATION):
        raise UsageError(f"'{out}' holds {there[0].name}. Choose another --out, or replace it with --overwrite.")


def refuse_diagnosis(out: Path) -> None:
    """Raise UsageError where the folder holds a diagnosis that would be overwritten."""
    if there := present(out, DIAGNOSIS):
        raise UsageError(f"'{out}' holds {there[0].name}. Choose another --out, or replace it with --overwrite.")


def refuse_pictures(out: Path) -> None:
    """Raise UsageError where the folder holds pictures that would be overwritten."""
    if there := present(out, PICTURES):
        raise UsageError(
            f"'{out}' holds other pictures ({there[0].relative_to(out)}). "
            "Choose another --out, or replace them with --overwrite."
        )
