"""A training that a page asks for: what it learns, what is known before it begins, and whether there is room for it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from threading import Lock

from motes.data._shapes import SHAPES
from motes.data._tables import as_table
from motes.errors import UsageError
from motes.explorer._frames import Answer
from motes.explorer._limits import Limits
from motes.explorer._live import Live
from motes.explorer._planning import plan, planned
from motes.explorer._requests import Request
from motes.explorer._sketches import Sketch
from motes.explorer._uploads import Uploads
from motes.models._sources import PointSource, divided, read_points
from motes.recipes import Recipe

DO = ("start", "play", "pause", "step", "change", "close")
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
    recipe, seed = planned(request, limits), _seed(request)
    origin = _origin(request, recipe, seed, limits, uploads)
    return Live(origin, recipe, seed, on_news, python=partial(_python, request, origin, recipe, seed))


def looked_ahead(request: Request, limits: Limits, uploads: Uploads) -> Answer:
    """What can be known of the training that a request says, before it begins.

    Raises:
        MotesError: what cannot be trained.
    """
    recipe = planned(request, limits)
    return plan(recipe, _origin(request, recipe, _seed(request), limits, uploads).training, limits)


def _seed(request: Request) -> int:
    return request.whole("seed", 0, 2**32 - 1)


def _python(request: Request, origin: PointSource | Sketch, recipe: Recipe, seed: int, weights: str) -> str:
    """The call that trains the same model and keeps these weights; "" for rows that Python has not."""
    if origin.name not in SHAPES:
        return ""
    changes, named = dict(request.options.get("changes", {})), request.options["recipe"]
    if weights != recipe.training.weights:
        changes["training.weights"] = weights
    first = "" if named == "default" else f', "{named}"'
    return f'motes.fit("{origin.name}"{first}, changes={changes}, seed={seed})'


def _origin(request: Request, recipe: Recipe, seed: int, limits: Limits, uploads: Uploads) -> PointSource | Sketch:
    if "upload" in request.options:
        found = uploads.get(request.options["upload"])
        places = [request.whole(name, 0, len(found.columns) - 1) for name in ("first", "second")]
        if places[0] == places[1]:
            raise UsageError("got one column twice; expected two columns. Choose another.")
        table = as_table(found.x[:, places], [found.columns[k] for k in places], name="the file")
        return PointSource(**vars(divided(FILE, table, recipe, seed)))
    if "sketch" in request.options:
        noise = recipe.data.noise
        if noise is None or noise < LEAST_NOISE:
            raise UsageError(f"got data.noise = {noise} for a drawing; expected a number from {LEAST_NOISE:g}.")
        points = request.points("sketch", limits.nodes)
        colours = request.choices("colours", len(points), COLOURS) if "colours" in request.options else None
        return Sketch.of(points, noise, recipe.data.rows, seed, colours)
    return _shape(request.word("shape", SHAPES), recipe, seed)


@lru_cache(maxsize=4)
def _shape(name: str, recipe: Recipe, seed: int) -> PointSource:
    """While curves are dragged the rows stay the same."""
    return read_points(name, recipe, seed)


def obey(live: Live, request: Request, limits: Limits) -> None:
    """Do with a training what a request says.

    Raises:
        MotesError: it says nothing that is known, or a recipe by which this training cannot go on.
    """
    do = request.word("do", DO)
    if do == "play":
        live.play(request.whole("pace", 0, FASTEST, 0))
    elif do == "pause":
        live.pause()
    elif do == "step":
        live.step(request.whole("count", 1, 1_000, 1))
    elif do == "change":
        live.change(planned(request, limits))
