"""The pictures of a model of points: figures are made of its clouds in `motes.plots`."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motes import plots
from motes.data._text_lines import default_columns
from motes.diffusion._denoiser import Denoiser
from motes.evaluation._points import PointDetails
from motes.runs._drawing import Album
from motes.runs._film import Film, ModelView
from motes.runs._folder import ABOVE, LEAST

Array = NDArray[np.float64]

SNAPSHOT_POINTS = 2_000
HOLD = 30  # frames that the film rests at either end
SMOOTHED = 40  # of the windows of a training's history, over one of which the mean of its loss is taken


def stills(film: Film, x: Array, album: Album, *, seed: int) -> Iterator[Path]:
    """Write the data, the samples, both with their difference, rows of the forward process and the reverse chain."""
    view, box = film.view, plots.limits_of(x[:, :2], robust=0.0, equal=film.view.columns is None)
    count = film.reverse.shape[1]
    samples = view.model.draw(count, seed=seed)[:, :2]  # the film may have come there by other steps
    for name, points in (("data", x[:, :2]), ("samples", samples)):
        axes = plots.scatter(points, columns=view.columns, title=name, limits=box, style=album.look)
        yield album.save(axes, name, _points(points))
    figure = plots.comparison(x[:, :2], samples, columns=view.columns, limits=box, style=album.look)
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


def animate(film: Film, path: Path, *, style: plots.Style, on_frame: Callable[[int], None] | None = None) -> None:
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
            if on_frame:
                on_frame(number)

    with warnings.catch_warnings():
        # JAX warns of any fork; the one that starts the video's encoder runs nothing of JAX.
        warnings.filterwarnings("ignore", message=".*os.fork.*", category=RuntimeWarning)
        plots.save_animation(counted_frames(), path)
