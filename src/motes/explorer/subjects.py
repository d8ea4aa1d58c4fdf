"""The models that the page shows: what each learned from, and its exact distribution where that is known.

Points are shown as u = x_t / sqrt(alpha_t^2 + sigma_t^2) in standardised units, brought back to the data's units: one
scale from data to noise, as in the figures.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from motes.data import DATASETS, SHAPES, make_shape
from motes.data.datasets import is_here
from motes.data.readings import default_columns
from motes.errors import MotesError, UsageError, unknown
from motes.evaluation.sources import PointSource, read_points
from motes.explorer.origins import OneClass, Sketch, some_rows
from motes.explorer.tables import TableSubject
from motes.loading import load
from motes.points import Denoiser, Given, Guided, Oracle, PointModel
from motes.recipes.loading import kinds_of
from motes.tables.model import TableModel

Array = NDArray[np.float64]
T = TypeVar("T", "Subject", TableSubject)

PLACES = 1024  # of the clock, beside 0
BEND = 1.6  # of the clock: how much longer it stays near the data, where the shape is
REACH = 3.2  # standard deviations that are seen at least, on either side
OURS = resources.files("motes") / "explorer" / "models"


def shipped() -> list[str]:
    """Names of the shapes whose trained models come with motes.

    Example:
        >>> from motes.explorer.subjects import shipped
        >>> "moons" in shipped()
        True
    """
    return [name for name in SHAPES if (OURS / f"{name}.safetensors").is_file()]


def shipped_tables() -> list[str]:
    """Names of the tables whose trained models come with motes.

    Example:
        >>> from motes.explorer.subjects import shipped_tables
        >>> shipped_tables()
        ['penguins']
    """
    return sorted(name for name in DATASETS if (OURS / f"{name}.safetensors").is_file())


@dataclass(eq=False)
class Subject:
    """A model, and what its samples are compared with.

    Attributes:
        name: that the page calls it by.
        model: of points, of at least two columns. The first two are drawn.
        origin: the rows that it was trained on, which are looked for by the model's own account; None where they are
            not at hand.
        key: by which what is computed of it is known; the name, if left out.
        family: by which the rows are known that it is compared with, and its schedule; the key, if left out.
        python: the expression whose value is the model in Python; "" where there is none.
        label: the number of the class that is shown, of a model that knows classes; None: all together.
        guidance: the weight by which points are led to that class; 1 is none.

    Raises:
        UsageError: fewer columns, or constant ones.

    Example:
        >>> from motes.explorer.subjects import Subject
        >>> subject = Subject("moons", model)
        >>> subject.name, subject.has_layers
        ('moons', True)
    """

    name: str
    model: PointModel
    origin: PointSource | Sketch | OneClass | None = None
    key: str = ""
    family: str = ""
    python: str = ""
    label: int | None = None
    guidance: float = 1.0

    def __post_init__(self) -> None:
        if self.model.dim < 2:
            raise UsageError(f"got a model of {self.model.dim} column; expected at least two, which the page draws.")
        if self.model.constants:
            kept = ", ".join(self.model.constants)
            raise UsageError(f"got a model of constant columns: {kept}. The page draws others: train one without them.")
        self.key = self.key or self.name
        self.family = self.family or self.key
        source = self.model.source
        if self.origin is None and (source in SHAPES or is_here(source)):
            with suppress(MotesError):
                self.origin = read_points(source, self.model.recipe, self.model.seed)

    def of_class(self, label: int, guidance: float) -> Subject:
        """The same model, showing one of its classes.

        Raises:
            UsageError: it knows no such class.

        Example:
            >>> from motes.explorer.subjects import Subject
            >>> changes = {"training.steps": 2, "data.label": "class"}
            >>> moons = Subject("moons", motes.fit("moons", changes=changes, verbose=False))
            >>> moons.of_class(1, guidance=2.0).data(5, seed=0).shape
            (5, 2)
        """
        classes = self.model.classes
        if classes is None or not 0 <= label < len(classes):
            known = "no classes" if classes is None else f"the classes 0 to {len(classes) - 1}"
            raise UsageError(
                f"got class {label}, and '{self.name}' knows {known}; expected one of these, or all together."
            )
        origin = self.origin
        if origin is not None and not isinstance(origin, OneClass) and origin.training.labels is not None:
            origin = OneClass(origin, classes.names[label])
        key, family = f"{self.key} {label} {guidance:g}", f"{self.family} {label}"
        return replace(self, origin=origin, key=key, family=family, label=label, guidance=guidance)

    @property
    def label_name(self) -> str | int | None:
        """What the class that is shown is called; None: all of them."""
        return None if self.label is None or self.model.classes is None else self.model.classes.names[self.label]

    def known(self, n: int) -> Given | None:
        """What `n` points are conditioned on; None: nothing.

        Example:
            >>> from motes.explorer.subjects import Shelf
            >>> Shelf().subject("moons").known(3) is None
            True
        """
        return self.model.given(self.label_name, n)

    @cached_property
    def denoiser(self) -> Denoiser:
        """The learned one, of the class that is shown, with guidance where there is any."""
        whole = self.model.denoiser
        if self.label is None:
            return whole
        guided = whole if self.guidance == 1 else Guided(whole, whole, self.guidance)
        return guided.given(Given(jnp.array(self.label)))

    @cached_property
    def oracle(self) -> Oracle | None:
        """The exact one of a shape; None where the distribution is not known."""
        truth = self.origin.truth if self.origin is not None else None
        return truth.oracle(self.denoiser.schedule, self.model.standardiser) if truth is not None else None

    @property
    def has_layers(self) -> bool:
        """Whether there is a plane on which a score can be drawn."""
        return self.model.dim == 2

    def data(self, n: int, seed: int) -> Array:
        """Up to `n` real points (m, d), in the data's units: of a shape a fresh draw, of a file its training rows.

        Example:
            >>> from motes.explorer.subjects import Shelf
            >>> moons = Shelf().subject("moons")
            >>> moons.data(5, seed=0).shape
            (5, 2)
        """
        origin = require_origin(self)
        if isinstance(origin, Sketch | OneClass):
            return origin.draw(n, seed)
        if origin.name in SHAPES:
            return make_shape(origin.name, n, seed=seed, noise=origin.noise)
        return some_rows(origin.training.x, n, seed)

    def noise(self, n: int, seed: int) -> Array:
        """The noise that is added to `data`, (n, d), in standardised units.

        Example:
            >>> from motes.explorer.subjects import Shelf
            >>> moons = Shelf().subject("moons")
            >>> moons.noise(5, seed=0).shape
            (5, 2)
        """
        return np.random.default_rng([seed, 1]).standard_normal((n, self.model.dim))

    # --- the clock and the scale ---

    @cached_property
    def clock(self) -> tuple[Array, Array, Array]:
        """t, alpha_t and sigma_t at each place of the clock, (PLACES + 1,), from data to noise.

        The angle arctan(sigma_t / alpha_t), which says how data and noise are mixed, is a power of the place. So the
        picture changes as evenly under one schedule as under another, and longer where the shape is.

        Example:
            >>> from motes.explorer.subjects import Shelf
            >>> moons = Shelf().subject("moons")
            >>> t, alpha, sigma = moons.clock
            >>> float(t[0]), float(sigma[0]), float(t[-1])
            (0.0, 0.0, 1.0)
        """
        schedule = self.denoiser.schedule
        angle = self._most * (np.arange(1, PLACES) / PLACES) ** BEND
        t = np.asarray(schedule.t_of_log_snr(-2 * np.log(np.tan(angle))), float)
        t = np.concatenate([[0.0], np.clip(t, 0, 1), [1.0]])
        return t, np.asarray(schedule.alpha(t), float), np.asarray(schedule.sigma(t), float)

    def places(self, t: Array) -> Array:
        """The places of times on the clock, from 0 to PLACES, as real numbers.

        Example:
            >>> from motes.explorer.subjects import Shelf
            >>> moons = Shelf().subject("moons")
            >>> t = moons.clock[0]
            >>> moons.places(t[[0, 10]]).round().tolist()
            [0.0, 10.0]
        """
        schedule = self.denoiser.schedule
        angle = np.arctan2(np.asarray(schedule.sigma(t), float), np.asarray(schedule.alpha(t), float))
        return PLACES * np.clip(angle / self._most, 0, 1) ** (1 / BEND)

    @property
    def _most(self) -> float:
        """The angle at t = 1."""
        schedule = self.denoiser.schedule
        return float(np.arctan2(schedule.sigma(1.0), schedule.alpha(1.0)))

    def zoom(self, t: Array | float) -> Array:
        """sqrt(alpha_t^2 + sigma_t^2), by which x_t is divided.

        Example:
            >>> from motes.explorer.subjects import Shelf
            >>> moons = Shelf().subject("moons")
            >>> float(moons.zoom(0.0))
            1.0
        """
        schedule = self.denoiser.schedule
        return np.asarray(np.hypot(schedule.alpha(t), schedule.sigma(t)), float)

    def shown(self, z: Array, t: Array | float) -> Array:
        """Standardised points x_t (..., n, d) at times t (...,) as they are drawn, (..., n, 2).

        Example:
            >>> from motes.explorer.subjects import Shelf
            >>> moons = Shelf().subject("moons")
            >>> moons.shown(np.zeros((3, 2)), 0.5).shape
            (3, 2)
        """
        return self.model.standardiser.inverse(z / self.zoom(t)[..., None, None])[..., :2]

    def standardised(self, u: Array, t: float) -> Array:
        """Drawn points (n, 2) as x_t in standardised units, of a model of two columns.

        Example:
            >>> from motes.explorer.subjects import Shelf
            >>> moons = Shelf().subject("moons")
            >>> u = moons.data(4, seed=0)
            >>> bool(np.allclose(moons.shown(moons.standardised(u, 0.5), 0.5), u, atol=1e-4))
            True
        """
        return self.model.standardiser.forward(u) * self.zoom(t)

    @cached_property
    def earliest(self) -> float:
        """The time below which the network was never asked: the score is shown no nearer to the data."""
        lowest = self.model.lowest_noise
        return float(self.denoiser.schedule.t_of_log_snr(-2 * np.log(lowest)))

    @cached_property
    def box(self) -> list[list[float]]:
        """What is seen, [[left, right], [bottom, top]]; square where both columns have one unit."""
        units, reach = self.model.standardiser, REACH
        mean, scale = units.mean[:2], units.scale[:2]
        if self.origin is not None:
            away = np.abs(units.forward(self.origin.training.x)[:, :2])
            reach = max(reach, float(1.1 * np.quantile(away, 0.999)))
        if self.model.columns[:2] == default_columns(2):
            scale = np.full(2, scale.max())
        return [[float(m - reach * s), float(m + reach * s)] for m, s in zip(mean, scale, strict=True)]

    # --- in words ---

    def about(self) -> dict[str, object]:
        """What the page says of it.

        Example:
            >>> from motes.explorer.subjects import Shelf
            >>> moons = Shelf().subject("moons")
            >>> moons.about()["columns"]
            ['x', 'y']
        """
        model, recipe = self.model, self.model.recipe
        sampler = type(recipe.sampler).__name__
        name = next((key for key, kind in kinds_of("sampler").items() if kind.__name__ == sampler), "heun")
        return {
            "name": self.name,
            "title": SHAPES[model.source].about if model.source in SHAPES else model.source,
            "columns": list(model.columns[:2]),
            "parameters": model.parameters,
            "box": self.box,
            "mean": model.standardiser.mean[:2].tolist(),
            "scale": model.standardiser.scale[:2].tolist(),
            "data": self.origin is not None,
            "exact": self.oracle is not None,
            "layers": self.has_layers,
            "earliest": self.earliest,
            "sampler": name,
            "steps": len(model.grid) - 1,
            "python": self.python,
            "classes": [] if model.classes is None else [str(name) for name in model.classes.names],
        }


def samplers() -> list[dict[str, object]]:
    """Every sampler: its name, when to pick it, what a step costs."""
    said = ("order", "evaluations", "stochastic", "when")
    return [{"name": name} | {one: getattr(kind(), one) for one in said} for name, kind in kinds_of("sampler").items()]


def shapes() -> list[dict[str, object]]:
    """Every shape that can be trained on: its name, what it is, the noise that it has, and how many classes."""
    said = ("name", "about", "noise", "classes")
    return [{one: getattr(shape, one) or 0 for one in said} for shape in SHAPES.values()]


class Shelf:
    """The models that the page may choose from: those that come with motes, and one of your own.

    Args:
        own: of points or of a table, shown first, where there is one.

    Attributes:
        names: of the models of points.
        tables: names of the models of tables.
        opens: "points" or "table", what a page shows first.

    Example:
        >>> from motes.explorer.subjects import Shelf, Subject
        >>> Shelf(Subject("mine", model)).names[0]
        'mine'
    """

    def __init__(self, own: Subject | TableSubject | None = None):
        self._lock = Lock()
        self._subjects: dict[str, Subject] = {own.name: own} if isinstance(own, Subject) else {}
        self._tables: dict[str, TableSubject] = {own.name: own} if isinstance(own, TableSubject) else {}
        self.names = [*self._subjects, *(name for name in shipped() if name not in self._subjects)]
        self.tables = [*self._tables, *(name for name in shipped_tables() if name not in self._tables)]
        self.opens = "table" if isinstance(own, TableSubject) else "points"

    def subject(self, name: str) -> Subject:
        """The subject of that name, loaded where it is not yet.

        Raises:
            UsageError: there is none of that name. A name is never taken for a path.

        Example:
            >>> from motes.explorer.subjects import Shelf
            >>> Shelf().subject("moons").model.source
            'moons'
        """
        python = f'motes.explorer.subjects.Shelf().subject("{name}").model'
        return self._find("model", name, self.names, self._subjects, lambda model: Subject(name, model, python=python))

    def table(self, name: str) -> TableSubject:
        """The table of that name, loaded where it is not yet.

        Raises:
            UsageError: there is none of that name. A name is never taken for a path.

        Example:
            >>> from motes.explorer.subjects import Shelf
            >>> Shelf().table("penguins").model.source
            'penguins'
        """
        python = f'motes.explorer.subjects.Shelf().table("{name}").model'
        return self._find(
            "table", name, self.tables, self._tables, lambda model: TableSubject(name, model, python=python)
        )

    def _find(self, what: str, name: str, names: list[str], loaded: dict[str, T], show: Callable[[Any], T]) -> T:
        if name not in names:
            raise UsageError(unknown(what, name[:80], names))
        with self._lock:
            if name not in loaded:
                with resources.as_file(OURS / f"{name}.safetensors") as path:
                    loaded[name] = show(load(path))
            return loaded[name]


def require_origin(subject: Subject) -> PointSource | Sketch | OneClass:
    """The rows that a model was trained on.

    Raises:
        UsageError: they are not at hand.
    """
    if subject.origin is None:
        raise UsageError(f"the rows that '{subject.name}' was trained on are not here, so nothing is compared with it.")
    return subject.origin


def open_subject(source: str, train: Callable[[str], PointModel]) -> Subject | TableSubject:
    """Open the model that a word on the command line names: a shape, a table, or the file or the folder of a model.

    Args:
        source: the word.
        train: makes a model of a shape whose model does not come with motes.

    Raises:
        UsageError: an unknown name, or a model of one column, of points given observations or within bounds.
        ModelFileError: no model.

    Example:
        >>> from motes.explorer.subjects import open_subject
        >>> open_subject("moons", train=motes.fit).model.source
        'moons'
    """
    if source in shipped():
        return Shelf().subject(source)
    if source in shipped_tables():
        return Shelf().table(source)
    if source in SHAPES:
        return Subject(source, train(source), python=f'motes.fit("{source}")')
    _check_source(source)
    model, path = load(source), Path(source)
    name = path.parent.name if path.name == "model.safetensors" else path.stem
    python = f"motes.load({json.dumps(source)})"
    match model:
        case TableModel():
            return TableSubject(name or model.source or "your table", model, python=python)
        case PointModel() if model.standardiser.support is None:
            return Subject(name or model.source or "your model", model, python=python)
        case PointModel():
            kind = "points within bounds"
        case _:
            kind = "points given observations"
    raise UsageError(f"'{source}' is a model of {kind}; the explorer shows other points. Give a model of these.")


def _check_source(source: str) -> None:
    """Refuse a bare name that is no file: a data set whose model has to be trained first, or a name that is unknown.

    Raises:
        UsageError: it says the nearest name, or the commands that lead to a model.
    """
    path = Path(source)
    if path.exists() or path.suffix or path.name != source:
        return
    if source in DATASETS:
        raise UsageError(
            f"got '{source}', a data set without a model; expected a model. Train one: motes train {source}, then "
            f"motes explore runs/{source}."
        )
    message = unknown("shape or data set", source, [*SHAPES, *DATASETS])
    raise UsageError(f"{message} Or give a run's folder, or its model.safetensors.")
