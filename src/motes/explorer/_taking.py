"""What a visitor takes away: the page without a server, the recipe, the model, the film."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.errors import UsageError
from motes.explorer._exporting import page_alone
from motes.explorer._subjects import Subject

FORMS = ("page", "recipe", "model", "film")
FILM_POINTS, FILM_SIZE = 4_000, 360


def taken(subject: Subject, form: str, seed: int, on_block: Callable[[int], None]) -> dict[str, Any]:
    """A file of that form: `text`, or bytes as `base64`.

    Raises:
        UsageError: a model of which there is none.
    """
    if form == "page":
        return {"text": page_alone(subject)}
    if form == "recipe":
        return {"text": subject.model.recipe.to_toml()}
    # A model and a film are written by the library's own writers, into a folder that is gone afterwards.
    try:
        with TemporaryDirectory(prefix="motes-explorer-") as folder:
            path = Path(folder) / ("model.safetensors" if form == "model" else "film.gif")
            if form == "model":
                subject.as_model().save(path)
            else:
                _film(subject, path, seed, on_block)
            return {"base64": b64encode(path.read_bytes()).decode()}
    except OSError as error:
        raise UsageError(
            f"no temporary file can be written ({error.strerror or error}). Make room, or start `motes explore` with "
            "TMPDIR set to a folder that has some."
        ) from None


def _film(subject: Subject, path: Path, seed: int, on_block: Callable[[int], None]) -> None:
    """Real points that dissolve, and noise that becomes points: the film of a run, with fewer points and pixels."""
    from motes import figures
    from motes.runs._film import shoot

    if subject.origin is None:
        raise UsageError(f"the rows that '{subject.name}' was trained on are not here, and the film begins with them.")
    film = shoot(subject.model, subject.data(FILM_POINTS, seed), n=FILM_POINTS, seed=seed)
    on_block(0)

    def frames() -> Iterator[NDArray[np.uint8]]:
        times = film.view.times
        made = figures.frames(
            film.forward[::-1], times[::-1], film.reverse, times, view=film.view.drawn(film.limits), size=FILM_SIZE
        )
        for frame in made:
            on_block(0)
            yield frame

    figures.save_gif(frames(), path)
