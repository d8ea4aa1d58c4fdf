"""What every trained model answers, what it was made from, and how a training goes on from it."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from motes.data import Frame, Table, as_frame
from motes.data.records import check_types
from motes.data.templates import keep
from motes.errors import ModelFileError, UsageError, check_seed
from motes.progress import OnProgress, silent
from motes.training import checkpoints
from motes.training.averages import Averages
from motes.training.recipe import Recipe


@dataclass(frozen=True)
class Provenance:
    """Where a model is from.

    Attributes:
        source: what it was trained on, a shape's name or a file's; "" for an array.
        fingerprint: of the rows that it was trained on, by which they are known again.
        seed: of the training.

    Example:
        >>> from motes.points import PointModel
        >>> from motes.training import Provenance
        >>> known = Provenance("moons", model.fingerprint, seed=0)
        >>> same = PointModel(model.denoiser, model.standardiser, model.columns, model.recipe, provenance=known)
        >>> same.source
        'moons'
    """

    source: str = ""
    fingerprint: str = ""
    seed: int = 0


def texts_of(model: Any) -> dict[str, str]:
    """What a file keeps of where a model is from, and of the average that its weights are."""
    length = {} if model.length is None else {"length": repr(model.length)}
    return {"source": model.source, "fingerprint": model.fingerprint, "seed": str(model.seed)} | length


def provenance_of(about: Mapping[str, str]) -> tuple[Provenance, float | None]:
    """That of a file, and the length of the average.

    Raises:
        KeyError, ValueError: they are not in it.
    """
    length = float(about["length"]) if "length" in about else None
    return Provenance(about["source"], about["fingerprint"], int(about["seed"])), length


def require(holds: bool, otherwise: str) -> None:
    """Refuse what a model file says.

    Raises:
        ValueError: it does not hold.
    """
    if not holds:
        raise ValueError(otherwise)


def is_covariance(matrix: NDArray[np.float64]) -> bool:
    """Whether a square matrix is symmetric and positive definite."""
    if not np.isfinite(matrix).all() or not np.allclose(matrix, matrix.T, rtol=1e-4, atol=1e-6):
        return False
    return not len(matrix) or bool(np.linalg.eigvalsh(matrix).min() > 0)


def check_origin(provenance: Provenance, length: float | None) -> None:
    """Refuse what no training has: the seed, the length of an average.

    Raises:
        ValueError: it is none.
    """
    check_seed(provenance.seed)
    require(length is None or 0 < length < 1, f"an average over {length} of the training")


# --- The averages of its weights that a training leaves beside the model file ---------------------------------------
#
# Any other length is made from them.


AVERAGES = "averages.safetensors"


def read_averages(folder: Path, run: str, parameters: int) -> Averages | None:
    """Read what `Model.save_averages` wrote for a model of so many weights; None: there is nothing.

    Raises:
        ModelFileError: damage, or those of another training.
    """
    path = folder / AVERAGES
    if not path.is_file():
        return None
    tensors, about = checkpoints.read_checkpoint(path)
    with checkpoints.reading(path):
        found = Averages(**tensors)
        check_types(found)
        if about.get("run") != run or found.weights.shape != (*found.steps.shape, parameters):
            raise ModelFileError(f"'{path}' belongs to another model than the one beside it.")
        if found.steps.shape != found.lengths.shape or not len(found.steps) or found.steps.min() < 1:
            raise ValueError("steps and lengths of its averages")
    return found


# --- What every trained model answers, in the units, types and kind of table of the rows that it was trained on -----


Array = NDArray[np.float64]
ROWS = 10_000  # that an evaluation draws


class Model(ABC):
    """A trained model: a `PointModel`, a `PosteriorModel` or a `TableModel`. `motes.fit` and `motes.load` make one.

    Attributes:
        kind: "points", "posterior" or "table".
        recipe: what it was trained by.
        source: the shape, data set or file that it was trained on; "" for rows in memory.
        fingerprint: of the rows that it was trained on, by which they are known again.
        seed: of the training.
        training: losses and times of the training; None where the model was loaded.
        folder: where it was loaded from; None where it was trained in this process.
        length: of the average that its weights are, where `averaged_over` made it; None for the recipe's own.
        template: an empty table of the kind that samples have.

    Example:
        >>> import motes
        >>> model = motes.fit(motes.make_shape("moons", 200), changes={"training.steps": 2}, verbose=False)
        >>> model.sample(3).shape
        (3, 2)
        >>> people = {"age": [31, 47, 25, 62] * 10, "smoker": ["no", "yes", "no", "no"] * 10}
        >>> table = motes.fit(people, changes={"table.steps": 2}, verbose=False)
        >>> sorted(table.sample(3))
        ['age', 'smoker']

        Two steps of training make no good model, and are enough to see how one is used. The examples of the methods go
        on with `model` and `table`.
    """

    kind: ClassVar[str]
    about: ClassVar[str]  # what it is of, in messages

    def __init__(self, recipe: Recipe, provenance: Provenance, training: Any, template: Any):
        self.recipe = recipe
        self.source, self.fingerprint, self.seed = provenance.source, provenance.fingerprint, provenance.seed
        self.training, self.template = training, template
        self.folder: Path | None = None
        self.length: float | None = None

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""

    @property
    @abstractmethod
    def example(self) -> Any:
        """A row that the training could have held.

        Example:
            >>> table.example["smoker"].tolist()
            ['no']
        """

    @property
    @abstractmethod
    def parameters(self) -> int:
        """Number of trained numbers."""

    def __repr__(self) -> str:
        on = f", trained on {self.source}" if self.source else ""
        return f"{type(self).__name__}({len(self.columns)} columns{on}, {self.parameters:,} parameters)"

    def _repr_html_(self) -> str:
        from html import escape

        names = ", ".join(self.columns[:12]) + (", …" if len(self.columns) > 12 else "")
        rows = {
            "trained on": self.source or "rows in memory",
            "columns": f"{len(self.columns)}: {names}",
            "parameters": f"{self.parameters:,}",
            "seed": str(self.seed),
        }
        cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows.items())
        return f"<table><caption>motes.{type(self).__name__}</caption>{cells}</table>"

    @abstractmethod
    def sample(self, n: int, *, given: Any = None, seed: int = 0, on_progress: OnProgress = silent) -> Any:
        """Draw `n` new rows, in the kind of table that the training rows had. The same seed gives the same rows.

        Rows that were trained on as an array, a data frame or a dict come back as one. Where the training rows were
        read from a file, the rows are a `Frame`: `to_pandas()`, `to_polars()`, `to_arrow()`, `to_numpy()`.

        Example:
            >>> model.sample(3).shape, len(table.sample(3)["age"])
            ((3, 2), 3)
        """

    @abstractmethod
    def likelihood(self, data: Any, *, seed: int = 0, on_progress: OnProgress = silent) -> Any:
        """log p of each row, in nats of the data's units, with what is known of its error.

        Example:
            >>> table.likelihood({"age": [31, 25], "smoker": ["yes", "no"]}).log_prob.shape
            (2,)
        """

    def score_samples(self, data: Any, **options: Any) -> Array:
        """log p of each row, (n,), in nats of the data's units; a mass for discrete columns.

        `options` are those of `likelihood`, which also tells how exact it is.

        Example:
            >>> table.score_samples({"age": [31, 25], "smoker": ["yes", "no"]}).shape
            (2,)
            >>> model.score_samples(motes.make_shape("moons", 3)).shape
            (3,)
        """
        found: Array = self.likelihood(data, **options).log_prob
        return found

    @abstractmethod
    def evaluate(self, data: Any = None, *, n: int = ROWS, seed: int = 0, verbose: bool = False) -> Any:
        """Compare with real rows: rows held out of the training, a fresh draw of a shape, or other rows.

        Example:
            >>> model.evaluate(motes.make_shape("moons", 200, seed=1), n=200).severity
            'large'
        """

    @abstractmethod
    def diagnose(self, data: Any = None, *, seed: int = 0) -> Any:
        """Find out what is wrong with the model and how to fix it.

        Example:
            >>> table.diagnose({"age": [31, 47, 25, 62] * 5, "smoker": ["no", "yes", "no", "no"] * 5}).rows
            10
        """

    @abstractmethod
    def plot(self, *, n: int = 2000, seed: int = 0, style: str = "light") -> Any:
        """A picture of samples.

        Example:
            >>> model.plot(n=100).get_title()
            '100 samples'
        """

    def report(self, path: str | Path, data: Any = None, **options: Any) -> Path:
        """Write the evaluation as one HTML page; returns its path. `options` are those of `evaluate`.

        Raises:
            UsageError: as `evaluate`; a name that does not end in .html, or a folder that is not there or cannot be
                written to.
            DataError: as `evaluate`.

        Example:
            >>> model.report("report.html", motes.make_shape("moons", 200, seed=1), n=200).name
            'report.html'
        """
        from motes.plots import write_page
        from motes.plots.report import check_page

        check_page(path)
        return write_page(self.evaluate(data, **options), path)

    # --- averages of the weights ---

    @cached_property
    def averages(self) -> Averages | None:
        """What averages of any length are made from; None where the training kept none, as of a table by default."""
        if self.training is not None or self.folder is None:
            return self.training.averages if self.training else None
        return read_averages(self.folder, self._run, self._averaged)

    @abstractmethod
    def averaged_over(self, sigma_rel: float) -> Self:
        """The same model with another average of its weights, over this share of its training, from 0.02 to 0.25.

        It is the standard deviation of the steps that count, as a share of all (Karras et al. 2024, section 3).

        Raises:
            UsageError: a length out of range, or a training that kept no averages: `training.averages` of points, and
                `table.averages` of a table, say how many are stored.
            ModelFileError: they are damaged, or of another model.

        Example:
            >>> model.averaged_over(0.1).sample(3).shape
            (3, 2)
        """

    def check_averages(self) -> Averages:
        """The averages that its training stored.

        Raises:
            UsageError: there are none.
            ModelFileError: they are damaged, or of another model.

        Example:
            >>> type(model.check_averages()).__name__
            'Averages'
        """
        if self.averages is None:
            raise UsageError(
                f"this model has no averages to choose from. `motes train` leaves them in {AVERAGES}{self._how_to_keep}"
            )
        return self.averages

    def save_averages(self, folder: Path) -> None:
        """Write what `averaged_over` needs beside the model file, where its training has kept anything.

        Raises:
            OSError: the folder is not there, cannot be written, or is full.

        Example:
            >>> from pathlib import Path
            >>> Path("run").mkdir()
            >>> model.save_averages(Path("run"))
            >>> [path.name for path in Path("run").iterdir()]
            ['averages.safetensors']
        """
        if self.averages is not None:
            checkpoints.write_checkpoint(folder / AVERAGES, vars(self.averages), {"run": self._run})

    _how_to_keep: ClassVar[str]  # the end of the message where no averages were kept

    @property
    @abstractmethod
    def _averaged(self) -> int:
        """How many numbers its averages have."""

    @property
    def _run(self) -> str:
        """What tells its training from any other, however its files are read now."""
        written = {section: part for section, part in self.recipe.to_dict().items() if section != "text"}
        return json.dumps([written, self.fingerprint, self.seed])

    # --- on disk ---

    @abstractmethod
    def parts(self) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
        """Arrays and texts by name, of which the same model can be made.

        Example:
            >>> tensors, about = model.parts()
            >>> sorted(about)[:3]
            ['classes', 'columns', 'context']
        """

    def save(self, path: str | Path) -> None:
        """Write one `.safetensors` file, whole or not at all, which `motes.load` and the command line read.

        Args:
            path: its name; `.safetensors` is appended to one without a suffix.

        Raises:
            UsageError: a name with another suffix, a kind of table that no file can hold, or a denoiser that the recipe
                does not describe, so that `load` could not build it again.
            OSError: the folder is not there, cannot be written, or is full.

        Example:
            >>> model.save("moons.safetensors")
            >>> motes.load("moons.safetensors")
            PointModel(2 columns, 10,082 parameters)
        """
        tensors, about = self.parts()
        keep(self.template, tensors, about)
        checkpoints.write_checkpoint(checkpoints.complete_name(path), tensors, about)

    # --- rows in and out ---

    def _native(self, rows: Any) -> Any:
        """Rows, an array of points or a `Frame`, in the kind of table of the training rows."""
        frame = rows if isinstance(rows, Frame) else as_frame(Table(rows, self.columns))
        return frame.like(self.template)


def with_index(table: Any, like: Any) -> Any:
    """A pandas table with the index of another one."""
    if hasattr(table, "iloc") and hasattr(like, "iloc"):
        table.index = like.index
    return table


# --- How a training goes on from a model, which has the complete state of its own training --------------------------
#
# the same rows, weights, recipe and seed    the same training, to `steps` steps in all
# anything else                              `steps` steps more, with the weights, their averages and the optimiser's
#                                            state, but not the position in the rows and the looks at validation rows
# no state, as in a model that was loaded    `steps` steps of a new training, which begins from the weights


OF_OTHER_THINGS = ("about", "sampler", "grid", "text")  # what of a recipe has no bearing on the training


@dataclass(frozen=True)
class FitSession(checkpoints.Session):
    """How a model is fitted, beside what it learns.

    Attributes:
        source: what the rows are called in the model file and in messages.
        start: a model of the same columns and network to go on from, with its units, its classes or its schema, and
            with the complete state of its training. A model that was loaded has its weights alone.
    """

    source: str = ""
    start: Model | None = None

    @property
    def name(self) -> str:
        """Of the rows, in messages."""
        return f"'{self.source}'" if self.source else "the data"

    def start_as(self, kind: type[Any]) -> Any:
        """The start, where a model of this kind is learned.

        Raises:
            UsageError: it is of another kind.
        """
        if self.start is not None and not isinstance(self.start, kind):
            got = self.start.about
            raise UsageError(f"start is a model of {got}; expected one of {kind.about}, as the recipe says.")
        return self.start


def run_of(recipe: Recipe, seed: int, *rows: Any) -> str:
    """The same for trainings that differ in nothing but their steps; `rows`: all that they learn from."""
    written = {section: part for section, part in recipe.to_dict().items() if section not in OF_OTHER_THINGS}
    for section in ("training", "table"):
        written.get(section, {}).pop("steps", None)
    found = hashlib.sha256(json.dumps([written, seed], sort_keys=True, default=str).encode())
    for part in rows:
        found.update(b"none" if part is None else np.ascontiguousarray(part).tobytes())
    return found.hexdigest()
