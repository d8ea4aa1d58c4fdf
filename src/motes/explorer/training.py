"""Trainings requested by a page: their recipes within limits, previews, and start.

A page names a recipe of motes and changes of its keys. Findings and fixes come from `motes.diagnose`; a fix consists of
such changes too.
"""

import io
import math
import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields
from functools import lru_cache, partial
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from motes.data import SHAPES
from motes.data.arrays import Series
from motes.data.points import as_table
from motes.errors import DataError, UsageError
from motes.evaluation import Finding
from motes.evaluation.diagnosis import diagnose_model
from motes.evaluation.findings import PRIOR_NATS, constant_columns, prior_kl
from motes.evaluation.sources import PointSource, divided, read_points
from motes.explorer.live import Live
from motes.explorer.messages import Answer, Limits, Request
from motes.explorer.subjects import Origin, Subject, require_origin
from motes.fitting import diagnose
from motes.points import DiscreteVP, PointRecipe
from motes.points.schedules import MOST_KNOTS, KnotSchedule
from motes.progress import OnProgress
from motes.recipes import kinds_of, load_recipe
from motes.text_options import TextOptions
from motes.training.recipe import Data, keys_of, members_of

RECIPES = ("default", "ddpm", "tutorial")
CHANGES, LONGEST, LARGEST = 60, 40, 1e6  # limits of changes: their number, letters of a text, size of a number
KNOTS = 8  # knots of the curves that a page drags
TIMES = 129  # times at which curves are shown
SECTIONS = ("schedule", "network", "denoiser", "loss", "times", "training", "sampler", "grid", "data")
DATA = ("rows", "noise", "standardise", "label")
AVERAGES = "training.averages"  # always 0: only snapshots are stored
PREVIEW_ROWS, DIAGNOSIS_ROWS = 2_000, 2_000
KEPT_FILES = 8  # maximum number of files; then the oldest is dropped
LEAST_NOISE = 1e-3  # minimum noise of a drawing, in its own units
COLOURS = 4  # maximum colours of a drawing
FILE = "the file"
FEWEST_ROWS = 2  # of a file
LARGEST_NUMBER = 1e12  # in a column of a file


class Upload(NamedTuple):
    """The columns of numbers in a file: their names, and the rows (n, d).

    Attributes:
        notes: remarks on conversions and on omitted columns.
    """

    columns: tuple[str, ...]
    x: NDArray[np.float64]
    notes: tuple[str, ...] = ()


class Trainings:
    """The trainings of all pages, and their files.

    Args:
        limits: limits of a training, and of the number of trainings.

    Example:
        >>> from motes.explorer.messages import Limits, Request
        >>> from motes.explorer.training import Trainings
        >>> asked = Request("train", 1, "", {"recipe": "default", "seed": 0, "shape": "moons"})
        >>> live = Trainings(Limits()).start(asked, on_news=lambda: None)
        >>> live.recipe.training.steps, live.done
        (6000, 0)
        >>> live.close()
    """

    def __init__(self, limits: Limits):
        self.limits = limits
        self._running: list[Live] = []
        self._files: dict[str, Upload] = {}
        self._lock = Lock()

    def upload(self, data: bytes) -> tuple[str, Upload]:
        """Keep a file of numbers; return the key by which a page requests it, and its columns.

        Raises:
            DataError: if the file has another form or is too large.

        Example:
            >>> from motes.explorer.messages import Limits
            >>> from motes.explorer.training import Trainings
            >>> word, file = Trainings(Limits()).upload(b"a,b\\n1,2\\n3,4\\n")
            >>> file.columns
            ('a', 'b')
        """
        file, word = read_upload(data, self.limits), secrets.token_urlsafe(12)
        with self._lock:
            self._files[word] = file
            while len(self._files) > KEPT_FILES:
                del self._files[next(iter(self._files))]
        return word, file

    def start(self, request: Request, on_news: Callable[[], None]) -> Live:
        """Start the training that a request describes; it waits before its first step.

        Raises:
            MotesError: if it cannot be trained, or if too many trainings are running.

        Example:
            >>> from motes.explorer.messages import Limits, Request
            >>> from motes.explorer.training import Trainings
            >>> asked = Request("train", 1, "", {"recipe": "ddpm", "seed": 0, "shape": "rings"})
            >>> live = Trainings(Limits()).start(asked, on_news=lambda: None)
            >>> live.origin.name
            'rings'
            >>> live.close()
        """
        recipe, seed = _parse_recipe(request, self.limits), request.seed
        origin = self._origin(request, recipe, seed)
        live = Live(origin, recipe, seed, on_news, python=partial(_python, request, origin, recipe, seed))
        with self._lock:
            self._running = [one for one in self._running if not one.closed]
            if len(self._running) >= self.limits.trainings:
                live.close()
                raise UsageError(f"{self.limits.trainings} trainings are running, the maximum. Close another page.")
            self._running.append(live)
        return live

    def preview(self, request: Request) -> Answer:
        """Compute a preview of a training: its recipe, its curves and the expected problems.

        Raises:
            MotesError: if it cannot be trained.

        Example:
            >>> from motes.explorer.messages import Limits, Request
            >>> from motes.explorer.training import Trainings
            >>> asked = Request("plan", 1, "", {"recipe": "default", "seed": 0, "shape": "moons"})
            >>> sorted(Trainings(Limits()).preview(asked).arrays)
            ['alpha', 'betas', 'log_snr', 'sigma', 't']
        """
        recipe = _parse_recipe(request, self.limits)
        table = self._origin(request, recipe, request.seed).training
        schedule = recipe.make_schedule()
        t = np.linspace(0, 1, TIMES)
        curves = {name: np.asarray(getattr(schedule, name)(t), float) for name in ("alpha", "sigma", "log_snr")}
        few = table.take(np.arange(min(PREVIEW_ROWS, len(table))))
        betas = schedule.betas if isinstance(schedule, DiscreteVP) else np.zeros(0)
        return Answer(
            {
                "recipe": recipe.to_dict(),
                "toml": recipe.to_toml(),
                "kinds": {section: list(kinds_of(section)) for section in ("schedule", "loss", "denoiser")},
                "knots": _knots(recipe),
                "steps": recipe.steps,
                "left": float(schedule.alpha(1.0)) ** 2,
                "prior": prior_kl(few.x, recipe),
                "allowed": PRIOR_NATS,
                "findings": [_describe_finding(finding, recipe, self.limits) for finding in diagnose(few, recipe)],
            },
            {"t": t, "betas": betas, **curves},
        )

    def _origin(self, request: Request, recipe: PointRecipe, seed: int) -> Origin:
        if "upload" in request.options:
            with self._lock:
                file = self._files.get(str(request.options["upload"]))
            if file is None:
                raise UsageError(f"the file is no longer in memory, which keeps {KEPT_FILES}. Upload it again.")
            places = [request.whole(name, 0, len(file.columns) - 1) for name in ("first", "second")]
            if places[0] == places[1]:
                raise UsageError("got one column twice; expected two columns. Choose another.")
            table = as_table(file.x[:, places], [file.columns[k] for k in places], name=FILE)
            if kept := constant_columns(table):
                raise UsageError(f"{kept[0].meaning} Expected two columns that vary. Choose another.")
            return Origin.of(PointSource(**vars(divided("your file", table, recipe, seed))))
        if "sketch" in request.options:
            noise = recipe.data.noise
            if noise is None or noise < LEAST_NOISE:
                raise UsageError(f"got data.noise = {noise} for a drawing; expected a number from {LEAST_NOISE:g}.")
            points = request.points("sketch", self.limits.nodes)
            colours = request.choices("colours", len(points), COLOURS) if "colours" in request.options else None
            return Origin.drawing(points, noise, recipe.data.rows, seed, colours)
        return _shape(request.word("shape", SHAPES), recipe, seed)


# --- files: only text with columns of numbers; nothing is written to disk, and the name of a file is not used ---------


def read_upload(data: bytes, limits: Limits) -> Upload:
    """Read the columns of a text file that contain only numbers, as `motes train` does.

    Raises:
        DataError: if the file has another form or is too large.
    """
    from motes.data.text import Text, TextInMemory, read_text  # pyarrow loads with the first file

    file, text, notes = TextInMemory(FILE, data), TextOptions(sep=_separator(data)), list[str]()
    if (width := len(Text(file, text, notes.append).names)) > limits.columns:
        raise DataError(f"{FILE} has {width} columns; expected at most {limits.columns}.")
    frame = read_text(file, text, notes.append)
    if not FEWEST_ROWS <= len(frame) <= limits.rows:
        raise DataError(f"{FILE} has {len(frame):,} rows; expected {FEWEST_ROWS} to {limits.rows:,}.")
    columns = {name: series.values for name, series in frame.columns.items() if _holds_numbers(series)}
    if len(columns) < 2:
        raise DataError(f"{len(columns)} columns of {FILE} contain only numbers; expected at least two.")
    if others := [name for name in frame.columns if name not in columns]:
        notes.append(f"Omitted columns, which do not contain only numbers: {', '.join(others)}.")
    return Upload(tuple(columns), np.array(list(columns.values()), float).T, tuple(dict.fromkeys(notes)))


def _separator(data: bytes) -> str:
    """Find the separator in the first line that is not a comment. A comma next to another one may be decimal."""
    first = next((line for line in io.BytesIO(data) if not line.lstrip().startswith(b"#")), b"")
    return next((mark for mark in ("\t", ";", ",") if mark.encode() in first), ",")


def _holds_numbers(series: Series) -> bool:
    if series.type not in ("real", "whole") or series.missing.any():
        return False
    return bool((np.isfinite(series.values) & (np.abs(series.values) < LARGEST_NUMBER)).all())


# --- requests -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def _shape(name: str, recipe: PointRecipe, seed: int) -> Origin:
    """Read the rows of a shape, cached while curves are dragged."""
    return Origin.of(read_points(name, recipe, seed))


def _python(request: Request, origin: Origin, recipe: PointRecipe, seed: int, weights: str) -> str:
    """Return the Python call that trains the same model with these weights; "" if Python has no access to the rows."""
    if origin.name not in SHAPES:
        return ""
    changes, named = dict(request.options.get("changes", {})), request.options["recipe"]
    if weights != recipe.training.weights:
        changes["training.weights"] = weights
    first = "" if named == "default" else f', "{named}"'
    return f'motes.fit("{origin.name}"{first}, changes={changes}, seed={seed})'


# --- the recipe -----------------------------------------------------------------------------------------------------


def _parse_recipe(request: Request, limits: Limits) -> PointRecipe:
    """Parse the recipe of a request from its `recipe` and `changes`.

    Raises:
        MotesError: for an unknown recipe, key or value, or more work than the limits allow.
    """
    name = request.word("recipe", RECIPES)
    changes = _check_changes(request.options.get("changes", {}))
    recipe = load_recipe(name, changes | {AVERAGES: 0})
    assert isinstance(recipe, PointRecipe)  # true for all `RECIPES`
    _check_size(recipe, limits, changes)
    return recipe


def _check_changes(got: object) -> dict[str, Any]:
    """Check the changes of a recipe that a page sends, before they are used.

    Raises:
        UsageError: for anything other than keys that a page may set, with plain values.
    """
    if not isinstance(got, Mapping) or len(got) > CHANGES:
        raise UsageError(f"got changes = {type(got).__name__}; expected up to {CHANGES} keys of a recipe with values.")
    for key, value in got.items():
        section, _, name = str(key).partition(".")
        if section not in SECTIONS or (section == "data" and name not in DATA) or key == AVERAGES:
            raise UsageError(f"got key '{str(key)[:LONGEST]}'; expected one of {', '.join(SECTIONS)}, like grid.steps.")
        values = value if isinstance(value, list) else [value]
        if len(values) > MOST_KNOTS or not all(map(_is_plain, values)):
            raise UsageError(
                f"got {key} = {repr(value)[:LONGEST]}; expected a text, a number up to {LARGEST:g}, or a short list."
            )
    return dict(got)


def _is_plain(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= LONGEST
    return isinstance(value, int | float) and abs(value) <= LARGEST  # False for infinite numbers and NaN


def _check_size(recipe: PointRecipe, limits: Limits, changed: Collection[str]) -> None:
    """Check that a recipe with its changes stays within the limits of a page.

    Every number of a recipe has a range (`motes.ranges.number`). Whole numbers cost time and memory and have a lower
    maximum here. A number without a range, which your own classes may have, cannot be set.

    Raises:
        UsageError: if a limit is exceeded.
    """
    most_of = {
        "network.width": limits.width,
        "network.depth": limits.depth,
        "training.batch": limits.batch,
        "training.snapshots": limits.number,
        "data.rows": limits.rows,
        "data.in_memory": Data().in_memory,  # a page has few rows
        "schedule.steps": limits.schedule_steps,
        "grid.steps": limits.steps,
    }
    for section in SECTIONS:
        part = getattr(recipe, section)
        ranges = {field.name: field.metadata.get("range") for field in fields(part)}
        bounded = {name for name, one in ranges.items() if one and math.isfinite(one.low) and math.isfinite(one.high)}
        otherwise = limits.training_steps if section == "training" else limits.number  # numbers of steps, or any other
        for key, annotation in keys_of(type(part)).items():
            name, value, kinds = f"{section}.{key}", getattr(part, key), {int, float} & {*members_of(annotation)}
            if name in changed and kinds and key not in bounded:
                raise UsageError(f"got {name}, a number without bounds; expected a key with bounds. Omit it.")
            most = most_of.get(name, otherwise)
            # The page shows the recipe's own grid at first, of any size.
            if int in kinds and value is not None and value > most and (name in changed or section != "grid"):
                whose = "" if name in changed else " of the recipe"
                raise UsageError(f"got {name} = {value:,}{whose}; expected at most {most:,} on the page. Change it.")
    layers = getattr(recipe.network, "depth", 1) * getattr(recipe.network, "members", 1)
    if layers > limits.layers:
        raise UsageError(f"got network.depth times network.members = {layers:,}; expected at most {limits.layers:,}.")


# --- before and after the training -------------------------------------------------------------------------------


def _knots(recipe: PointRecipe) -> dict[str, list[float]]:
    """Return knots on the curves of a schedule, where dragging starts."""
    schedule = recipe.make_schedule()
    if isinstance(schedule, KnotSchedule):
        return {"alphas": list(schedule.alphas), "sigmas": list(schedule.sigmas)}
    t, curves = np.arange(1, KNOTS + 1) / KNOTS, {"alphas": schedule.alpha, "sigmas": schedule.sigma}
    return {name: np.asarray(curve(t), float).tolist() for name, curve in curves.items()}


def _describe_finding(finding: Finding, recipe: PointRecipe, limits: Limits) -> dict[str, Any]:
    """Return a finding for the page: its fix as changes of a recipe, and why they cannot be set here, or ""."""
    try:
        changes = _check_changes(finding.changes)
        _check_size(recipe.changed(changes), limits, changes)
        beyond = ""
    except UsageError as error:
        beyond = str(error)
    shown = "name", "meaning", "fix", "changes"
    return {name: getattr(finding, name) for name in shown} | {"beyond": beyond}


def diagnose_subject(subject: Subject, limits: Limits, on_progress: OnProgress) -> dict[str, Any]:
    """Return the findings of `model.diagnose`, the split of the sampling error, and notes on omitted checks.

    Raises:
        UsageError: if the training rows are not available.
    """
    origin = require_origin(subject)
    source = origin.name if origin.name in SHAPES else origin.training
    found = diagnose_model(subject.model, source, n=DIAGNOSIS_ROWS, on_progress=on_progress)
    return {
        "findings": [_describe_finding(finding, subject.model.recipe, limits) for finding in found.findings],
        "against": found.evaluated_against,
        "total": found.split.total,
        "real": found.split.reference_value,
        "parts": {name: part.value for name, part in found.split.parts.items()},
        "notes": [*found.notes, *found.split.doubts],
    }
