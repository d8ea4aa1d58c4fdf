"""The models that the page shows, with their training data (shapes, files, drawings) and the exact distribution.

Points are shown as u = x_t / sqrt(alpha_t^2 + sigma_t^2), computed in standardised units and converted back to the
data's units: one scale from data to noise, as in the figures.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from threading import Lock
from typing import Any, cast

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from motes.data import DATASETS, SHAPES, Table
from motes.data.datasets import is_here
from motes.data.readings import default_columns
from motes.data.shapes import Distribution
from motes.errors import MotesError, UsageError, unknown
from motes.evaluation.sources import PointSource, read_points, reference_seeds
from motes.explorer.tables import Array, TableSubject
from motes.loading import load
from motes.points import Denoiser, Given, Oracle, PointModel, Truth
from motes.points.guidance import Guided
from motes.recipes import kinds_of

PLACES = 1024  # places of the clock, in addition to 0
BEND = 1.6  # exponent by which the clock runs slower near the data, where the shape is
REACH = 3.2  # minimum half-width of the view, in standard deviations
OURS = resources.files("motes") / "explorer" / "models"
DRAWING = "your drawing"
FEWEST_POINTS = 8  # minimum points of a drawing


def shipped(names: Iterable[str]) -> list[str]:
    """Return the names, of shapes or of data sets, that have a trained model that ships with motes.

    Example:
        >>> from motes.explorer.subjects import shipped
        >>> "moons" in shipped(motes.data.SHAPES), shipped(motes.data.DATASETS)
        (True, ['penguins'])
    """
    return [name for name in names if (OURS / f"{name}.safetensors").is_file()]


@dataclass(frozen=True)
class Origin:
    """Rows of a training, and more real points to compare samples with.

    Attributes:
        name: name of the data.
        training: training rows.
        truth: the exact distribution; None if it is unknown.
        seed: seed of the rows.
        source: the shape or file that all rows come from; None for a drawing, or for one class.
    """

    name: str
    training: Table
    truth: Truth | None
    seed: int
    source: PointSource | None = None

    @classmethod
    def of(cls, source: PointSource) -> Origin:
        """Return the origin for a shape or a file."""
        return cls(source.name, source.training, source.truth, source.seed, source)

    @classmethod
    def drawing(
        cls, points: ArrayLike, noise: float, rows: int, seed: int, colours: Sequence[int] | None = None
    ) -> Origin:
        """Return rows of a drawing: points (m, 2) along strokes, blurred, with `colours` (m,); None: one colour.

        Several colours are equally likely classes.

        Raises:
            UsageError: if there are too few points, or all lie on a line along an axis.
        """
        nodes = np.asarray(points, float)
        if len(nodes) < FEWEST_POINTS or (np.ptp(nodes, axis=0) < 1e-3).any():
            raise UsageError(f"got {len(nodes)} drawn points; expected at least {FEWEST_POINTS} that span the plane.")
        names, labels = np.unique(np.zeros(len(nodes), int) if colours is None else colours, return_inverse=True)
        weights = 1 / (len(names) * np.bincount(labels)[labels])
        classes = len(names) > 1
        own = labels if classes else np.full(len(nodes), -1)
        truth = Truth(DRAWING, Distribution(nodes, nodes, weights, noise, own))
        x, drawn = truth.labelled_sample(rows, seed=seed)
        return cls(DRAWING, Table(x, default_columns(2), drawn if classes else None), truth, seed)

    def of_class(self, label: str | int) -> Origin:
        """Return the rows of one class; all rows if they have no labels."""
        labels = self.training.labels
        if labels is None:
            return self
        training = self.training.take(np.flatnonzero(labels.astype(str) == str(label)))
        return replace(self, training=training, truth=self.truth and self.truth.of_class(int(label)), source=None)

    def draw(self, n: int, seed: int) -> Array:
        """Return up to `n` real points (m, d): fresh ones if the distribution is known, otherwise training rows."""
        if self.truth is not None:
            return self.truth.sample(n, seed=seed)
        rows = self.training.x
        return rows[np.random.default_rng([seed, 7]).permutation(len(rows))[:n]]

    def real(self, n: int) -> tuple[Array, Array]:
        """Return two sets of up to `n` real points: to compare with, and for the reference value."""
        if self.source is not None:
            return self.source.real(n)
        first, second = reference_seeds(self.seed)
        return self.draw(n, first), self.draw(n, second)


@dataclass(eq=False)
class Subject:
    """A model, and the data with which its samples are compared.

    Attributes:
        name: name on the page.
        model: model of points with at least two columns. The first two are drawn.
        origin: the training data, found by the source that the model records; None if it is not available.
        key: cache key of its answers (default: the name).
        family: cache key of its training rows and schedule (default: the key).
        python: the Python expression for the model; "" if there is none.
        label: number of the class that is shown, for a model with classes; None: all together.
        guidance: weight of the guidance towards that class; 1 means none.

    Raises:
        UsageError: if the model has fewer columns, or constant ones.

    Example:
        >>> from motes.explorer.subjects import Subject
        >>> subject = Subject("moons", model)
        >>> subject.name, subject.has_layers
        ('moons', True)
    """

    name: str
    model: PointModel
    origin: Origin | None = None
    key: str = ""
    family: str = ""
    python: str = ""
    label: int | None = None
    guidance: float = 1.0

    def __post_init__(self) -> None:
        if self.model.dim < 2:
            raise UsageError(f"got a model of {self.model.dim} column; the page needs at least two.")
        if self.model.constants:
            kept = ", ".join(self.model.constants)
            raise UsageError(f"got a model with constant columns: {kept}. Train one without them.")
        self.key = self.key or self.name
        self.family = self.family or self.key
        source = self.model.source
        if self.origin is None and (source in SHAPES or is_here(source)):
            with suppress(MotesError):
                self.origin = Origin.of(read_points(source, self.model.recipe, self.model.seed))

    def of_class(self, label: int, guidance: float) -> Subject:
        """Return the same model, showing one of its classes.

        Raises:
            UsageError: if the model has no such class.

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
            raise UsageError(f"got class {label}, but '{self.name}' has {known}; expected one of them, or all.")
        origin = self.origin and self.origin.of_class(classes.names[label])
        key, family = f"{self.key} {label} {guidance:g}", f"{self.family} {label}"
        return replace(self, origin=origin, key=key, family=family, label=label, guidance=guidance)

    @property
    def label_name(self) -> str | int | None:
        """Name of the class that is shown; None: all of them."""
        return None if self.label is None or self.model.classes is None else self.model.classes.names[self.label]

    @cached_property
    def denoiser(self) -> Denoiser:
        """The learned denoiser for the class that is shown, with guidance if its weight is not 1."""
        whole = self.model.denoiser
        if self.label is None:
            return whole
        guided = whole if self.guidance == 1 else Guided(whole, whole, self.guidance)
        return guided.given(Given(jnp.array(self.label)))

    @cached_property
    def oracle(self) -> Oracle | None:
        """The exact denoiser of a shape; None if the distribution is unknown."""
        truth = self.origin.truth if self.origin is not None else None
        return truth.oracle(self.denoiser.schedule, self.model.standardiser) if truth is not None else None

    @property
    def has_layers(self) -> bool:
        """Whether layers, such as the score, can be drawn: there are two columns."""
        return self.model.dim == 2

    def data(self, n: int, seed: int) -> Array:
        """Return up to `n` real points (m, d), in the data's units: fresh ones of a shape, or training rows of a file.

        Example:
            >>> from motes.explorer.subjects import Shelf
            >>> moons = Shelf().subject("moons")
            >>> moons.data(5, seed=0).shape
            (5, 2)
        """
        return require_origin(self).draw(n, seed)

    # --- the clock and the scale ---

    @cached_property
    def clock(self) -> tuple[Array, Array, Array]:
        """t, alpha_t and sigma_t at each place of the clock, (PLACES + 1,), from data to noise.

        The angle arctan(sigma_t / alpha_t), which sets the mix of data and noise, is a power of the place. So the
        picture changes at the same pace with any schedule, and more slowly near the data, where the shape is.

        Example:
            >>> from motes.explorer.subjects import Shelf
            >>> moons = Shelf().subject("moons")
            >>> t, alpha, sigma = moons.clock
            >>> float(t[0]), float(sigma[0]), float(t[-1])
            (0.0, 0.0, 1.0)
        """
        schedule = self.denoiser.schedule
        angle = self._angle(1.0) * (np.arange(1, PLACES) / PLACES) ** BEND
        t = np.asarray(schedule.t_of_log_snr(-2 * np.log(np.tan(angle))), float)
        t = np.concatenate([[0.0], np.clip(t, 0, 1), [1.0]])
        return t, np.asarray(schedule.alpha(t), float), np.asarray(schedule.sigma(t), float)

    def places(self, t: Array) -> Array:
        """Return the places of times on the clock, from 0 to PLACES, as real numbers.

        Example:
            >>> from motes.explorer.subjects import Shelf
            >>> moons = Shelf().subject("moons")
            >>> t = moons.clock[0]
            >>> moons.places(t[[0, 10]]).round().tolist()
            [0.0, 10.0]
        """
        return PLACES * np.clip(self._angle(t) / self._angle(1.0), 0, 1) ** (1 / BEND)

    def _angle(self, t: Array | float) -> Array:
        """Return the angle arctan(sigma_t / alpha_t)."""
        schedule = self.denoiser.schedule
        return np.arctan2(np.asarray(schedule.sigma(t), float), np.asarray(schedule.alpha(t), float))

    def zoom(self, t: Array | float) -> Array:
        """Return sqrt(alpha_t^2 + sigma_t^2), the divisor of x_t.

        Example:
            >>> from motes.explorer.subjects import Shelf
            >>> moons = Shelf().subject("moons")
            >>> float(moons.zoom(0.0))
            1.0
        """
        schedule = self.denoiser.schedule
        return np.asarray(np.hypot(schedule.alpha(t), schedule.sigma(t)), float)

    def shown(self, z: Array, t: Array | float) -> Array:
        """Convert standardised points x_t (..., n, d) at times t (...,) to drawn points, (..., n, 2).

        Example:
            >>> from motes.explorer.subjects import Shelf
            >>> moons = Shelf().subject("moons")
            >>> moons.shown(np.zeros((3, 2)), 0.5).shape
            (3, 2)
        """
        return self.model.standardiser.inverse(z / self.zoom(t)[..., None, None])[..., :2]

    def standardised(self, u: Array, t: float) -> Array:
        """Convert drawn points (n, 2) to x_t in standardised units, for a model with two columns.

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
        """The earliest time at which the network is evaluated; the score is not shown closer to the data."""
        return float(self.denoiser.schedule.t_of_log_snr(-2 * np.log(self.model.lowest_noise)))

    @cached_property
    def box(self) -> list[list[float]]:
        """The view, [[left, right], [bottom, top]]; square if both columns have the same unit."""
        units, reach = self.model.standardiser, REACH
        mean, scale = units.mean[:2], units.scale[:2]
        if self.origin is not None:
            away = np.abs(units.forward(self.origin.training.x)[:, :2])
            reach = max(reach, float(1.1 * np.quantile(away, 0.999)))
        if self.model.columns[:2] == default_columns(2):
            scale = np.full(2, scale.max())
        return [[float(m - reach * s), float(m + reach * s)] for m, s in zip(mean, scale, strict=True)]

    def cells(self, count: int) -> tuple[Array, Array]:
        """Return the centres of cells on both sides of the box (2, count), and all points (count^2, 2), row by row.

        Example:
            >>> from motes.explorer.subjects import Shelf
            >>> sides, points = Shelf().subject("moons").cells(4)
            >>> sides.shape, points.shape
            ((2, 4), (16, 2))
        """
        sides = np.array([low + (np.arange(count) + 0.5) / count * (high - low) for low, high in self.box])
        return sides, np.stack(np.meshgrid(*sides), axis=-1).reshape(-1, 2)

    # --- in words ---

    def about(self) -> dict[str, object]:
        """Return the facts about the model for the page.

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
    """Return every sampler with its name, cost per step and when to use it."""
    said = ("order", "evaluations", "stochastic", "when")
    return [{"name": name} | {one: getattr(kind(), one) for one in said} for name, kind in kinds_of("sampler").items()]


def shapes() -> list[dict[str, object]]:
    """Return every shape with its name, description, noise and number of classes."""
    said = ("name", "about", "noise", "classes")
    return [{one: getattr(shape, one) or 0 for one in said} for shape in SHAPES.values()]


class Shelf:
    """The models to choose from on the page: your own, and those that ship with motes under other names.

    Args:
        own: models of points or of tables, shown first.

    Attributes:
        names: names of the models of points.
        tables: names of the models of tables.
        opens: "points" or "table", shown first on the page.

    Example:
        >>> from motes.explorer.subjects import Shelf, Subject
        >>> Shelf(Subject("mine", model)).names[0]
        'mine'
    """

    def __init__(self, *own: Subject | TableSubject):
        self._lock = Lock()
        self._loaded: dict[str, Subject | TableSubject] = {one.name: one for one in own}
        self.names = [one.name for one in own if isinstance(one, Subject)]
        self.names += [name for name in shipped(SHAPES) if name not in self._loaded]
        self.tables = [one.name for one in own if isinstance(one, TableSubject)]
        self.tables += [name for name in shipped(DATASETS) if name not in self._loaded]
        self.opens = "table" if own and isinstance(own[0], TableSubject) else "points"

    def subject(self, name: str) -> Subject:
        """Return the model of points with a name; load it if necessary.

        Raises:
            UsageError: if there is no such name. A name is never read as a path.

        Example:
            >>> from motes.explorer.subjects import Shelf
            >>> Shelf().subject("moons").model.source
            'moons'
        """
        return cast(Subject, self._find(name, self.names))

    def table(self, name: str) -> TableSubject:
        """Return the model of a table with a name; load it if necessary.

        Raises:
            UsageError: if there is no such name. A name is never read as a path.

        Example:
            >>> from motes.explorer.subjects import Shelf
            >>> Shelf().table("penguins").model.source
            'penguins'
        """
        return cast(TableSubject, self._find(name, self.tables))

    def _find(self, name: str, names: list[str]) -> Subject | TableSubject:
        if name not in names:
            raise UsageError(unknown("model", name[:80], names))
        with self._lock:
            if name not in self._loaded:
                kind: Any = Subject if name in SHAPES else TableSubject
                method = "subject" if name in SHAPES else "table"
                python = f'motes.explorer.subjects.Shelf().{method}("{name}").model'
                with resources.as_file(OURS / f"{name}.safetensors") as path:
                    self._loaded[name] = kind(name, load(path), python=python)
            return self._loaded[name]


def require_origin(subject: Subject) -> Origin:
    """Return the training data of a model.

    Raises:
        UsageError: if they are not available.
    """
    if subject.origin is None:
        raise UsageError(f"the training rows of '{subject.name}' are not available to compare with.")
    return subject.origin


def open_subject(source: str, train: Callable[[str], Any]) -> Subject | TableSubject:
    """Open the model named on the command line: a shape, a table, or a model's file or folder.

    Args:
        source: the name or path.
        train: trains a model on a shape that has none in motes.

    Raises:
        UsageError: for an unknown name, a model of one column, a posterior, or a model of bounded points.
        ModelFileError: if the file is not a model.

    Example:
        >>> from motes.explorer.subjects import open_subject
        >>> open_subject("moons", train=motes.fit).model.source
        'moons'
    """
    if source in shipped(SHAPES):
        return Shelf().subject(source)
    if source in shipped(DATASETS):
        return Shelf().table(source)
    if source in SHAPES:
        return Subject(source, train(source), python=f'motes.fit("{source}")')
    path = Path(source)
    if path.name == source and not path.suffix and not path.exists():  # neither a file nor a path to one
        if source in DATASETS:
            raise UsageError(
                f"got '{source}', a data set without a model; expected a model. Train one: motes train {source}, then "
                f"motes explore runs/{source}."
            )
        message = unknown("shape or data set", source, [*SHAPES, *DATASETS])
        raise UsageError(f"{message} Or give a run's folder, or its model.safetensors.")
    model: Any = load(source)
    name = (path.parent.name if path.name == "model.safetensors" else path.stem) or model.source or "your model"
    python = f"motes.load({json.dumps(source)})"
    if model.kind == "table":
        return TableSubject(name, model, python=python)
    if model.kind == "points" and model.standardiser.support is None:
        return Subject(name, model, python=python)
    kind = "points within bounds" if model.kind == "points" else "points given observations"
    raise UsageError(f"'{source}' is a model of {kind}, which the explorer cannot show. Give another model.")
