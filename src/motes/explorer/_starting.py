"""A training that a page asks for: what it learns, how, and whether there is room for it."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Any

from motes.data._shapes import SHAPES
from motes.data._tables import as_table
from motes.errors import UsageError
from motes.explorer._limits import Limits
from motes.explorer._live import Live, live_recipe
from motes.explorer._requests import Request
from motes.explorer._sketches import Sketch
from motes.explorer._uploads import Uploads
from motes.models._sources import PointSource, divided, read_points
from motes.recipes import Recipe, load_recipe

DO = ("start", "play", "pause", "step", "close")
FILE = "your file"
LEAST_NOISE = 1e-3  # of a drawing, in its own units
COLOURS = 4  # of a drawing
FASTEST = 10_000  # steps a second that can be asked for


class Seats:
    """The trainings under way, of all pages together.

    Args:
        limits: how many there may be.
    """

    def __init__(self, limits: Limits):
        self.limits = limits
        self._taken: set[object] = set()
        self._lock = Lock()

    def take(self, who: object) -> None:
        """Room for one more; nothing where `who` has it already.

        Raises:
            UsageError: there is none.
        """
        with self._lock:
            if who not in self._taken and len(self._taken) >= self.limits.trainings:
                raise UsageError(
                    f"{self.limits.trainings} trainings are under way, the most there may be. Close another page."
                )
            self._taken.add(who)

    def leave(self, who: object) -> None:
        """No more room is needed."""
        with self._lock:
            self._taken.discard(who)


def begun(request: Request, limits: Limits, uploads: Uploads, on_news: Callable[[], None]) -> Live:
    """The training that a request says, which stands at its first step.

    Raises:
        MotesError: what cannot be trained.
    """
    seed = request.whole("seed", 0, 2**32 - 1)
    changes: dict[str, Any] = {
        "training.steps": request.whole("steps", 1, limits.training_steps),
        "training.batch": request.whole("batch", 16, 2_048),
        "training.learning_rate": request.real("rate", 1e-5, 1.0),
        "training.warmup": min(100, request.whole("steps", 1, limits.training_steps) - 1),
        "network.width": request.whole("width", 1, limits.width),
        "network.depth": request.whole("depth", 1, limits.depth),
        "data.rows": request.whole("rows", 20, limits.rows),
    }
    if "noise" in request.options and "shape" in request.options:
        changes["data.noise"] = request.real("noise", 0.0, 2.0)
    recipe = live_recipe(load_recipe("default"), changes)
    return Live(_origin(request, recipe, seed, limits, uploads), recipe, seed, on_news)


def _origin(request: Request, recipe: Recipe, seed: int, limits: Limits, uploads: Uploads) -> PointSource | Sketch:
    if "upload" in request.options:
        found = uploads.get(request.options["upload"])
        places = [request.whole(name, 0, len(found.columns) - 1) for name in ("first", "second")]
        if places[0] == places[1]:
            raise UsageError("got one column twice; expected two columns. Choose another.")
        table = as_table(found.x[:, places], [found.columns[k] for k in places], name="the file")
        return PointSource(**vars(divided(FILE, table, recipe, seed)))
    if "sketch" in request.options:
        noise = request.real("noise", LEAST_NOISE, 2.0)
        points = request.points("sketch", limits.nodes)
        colours = request.choices("colours", len(points), COLOURS) if "colours" in request.options else None
        return Sketch.of(points, noise, recipe.data.rows, seed, colours)
    return read_points(request.word("shape", SHAPES), recipe, seed)


def obey(live: Live, request: Request) -> None:
    """Do with a training what a request says.

    Raises:
        UsageError: it says nothing that is known.
    """
    do = request.word("do", DO)
    if do == "play":
        live.play(request.whole("pace", 0, FASTEST, 0))
    elif do == "pause":
        live.pause()
    elif do == "step":
        live.step(request.whole("count", 1, 1_000, 1))
