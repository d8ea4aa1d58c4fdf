"""The interface of trained models, their provenance, and how training continues from a model."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from motes.arguments import check_arguments
from motes.data import as_frame
from motes.data.frames import keep
from motes.data.records import check_types
from motes.errors import ModelFileError, UsageError, check_seed
from motes.progress import OnProgress, silent
from motes.training import checkpoints
from motes.training.averages import Averages
from motes.training.recipe import Recipe


@dataclass(frozen=True)
class Provenance:
    """The origin of a model.

    Attributes:
        source: name of the shape or file that it was trained on; "" for an array.
        fingerprint: hash of the training rows, which identifies them.
        seed: seed of the training.

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
    """Return the provenance of a model and the length of its average, as the texts that a file stores."""
    length = {} if model.length is None else {"length": repr(model.length)}
    return {"source": model.source, "fingerprint": model.fingerprint, "seed": str(model.seed)} | length


def read_provenance(about: Mapping[str, str]) -> tuple[Provenance, float | None]:
    """Read the provenance of a model from the texts of its file, and the length of its average.

    Raises:
        KeyError, ValueError: they are missing, malformed or out of range.
    """
    length = float(about["length"]) if "length" in about else None
    require(length is None or 0 < length < 1, f"an average over {length} of the training")
    return Provenance(about["source"], about["fingerprint"], check_seed(int(about["seed"]))), length


def require(holds: bool, otherwise: str) -> None:
    """Check a condition on the contents of a model file.

    Raises:
        ValueError: the condition does not hold; the message is `otherwise`.
    """
    if not holds:
        raise ValueError(otherwise)


def is_covariance(matrix: NDArray[np.float64]) -> bool:
    """Return whether a square matrix is symmetric and positive definite."""
    if not np.isfinite(matrix).all() or not np.allclose(matrix, matrix.T, rtol=1e-4, atol=1e-6):
        return False
    return not len(matrix) or bool(np.linalg.eigvalsh(matrix).min() > 0)


# --- Averages of the weights, stored next to the model file ---------------------------------------------------------
#
# Averages of any other length are computed from them.


AVERAGES = "averages.safetensors"


def read_averages(folder: Path, run: str, parameters: int) -> Averages | None:
    """Read the file that `Model.save_averages` wrote for a model with `parameters` weights; None if there is none.

    Raises:
        ModelFileError: a damaged file, or one of another training.
    """
    path = folder / AVERAGES
    if not path.is_file():
        return None
    tensors, about = checkpoints.read_checkpoint(path)
    with checkpoints.reading(path):
        found = Averages(**tensors)
        check_types(found)
        if about.get("run") != run or found.weights.shape != (*found.steps.shape, parameters):
            raise ModelFileError(f"'{path}' belongs to another model than the one next to it.")
        if found.steps.shape != found.lengths.shape or not len(found.steps) or found.steps.min() < 1:
            raise ValueError("steps and lengths of its averages do not match")
    return found


# --- The interface of trained models, in the units, types and kind of table of the training rows -----------------


Array = NDArray[np.float64]
ROWS = 10_000  # default number of synthetic rows in an evaluation


@check_arguments
class Model(ABC):
    """A trained model: a `PointModel`, a `PosteriorModel` or a `TableModel`, from `motes.fit` or `motes.load`.

    Attributes:
        kind: "points", "posterior" or "table".
        recipe: the recipe of its training.
        source: the shape, data set or file that it was trained on; "" for rows in memory.
        fingerprint: hash of the training rows, which identifies them.
        seed: seed of the training.
        training: losses and times of the training; None for a loaded model.
        folder: the folder that it was loaded from; None if it was trained in this process.
        length: length of the average of its weights, if it comes from `averaged_over`; None for the recipe's average.
        template: an empty table of the kind that `sample` returns.

    Example:
        >>> import motes
        >>> model = motes.fit(motes.make_shape("moons", 200), changes={"training.steps": 2}, verbose=False)
        >>> model.sample(3).shape
        (3, 2)
        >>> people = {"age": [31, 47, 25, 62] * 10, "smoker": ["no", "yes", "no", "no"] * 10}
        >>> table = motes.fit(people, changes={"table.steps": 2}, verbose=False)
        >>> sorted(table.sample(3))
        ['age', 'smoker']

        Two training steps do not give a good model, but are enough to show how to use one. The examples of the
        methods use this `model` and `table`.
    """

    kind: ClassVar[str]
    about: ClassVar[str]  # the kind of data that it models, for messages

    def __init__(self, recipe: Recipe, provenance: Provenance, training: Any, template: Any):
        self.recipe = recipe
        self.source, self.fingerprint, self.seed = provenance.source, provenance.fingerprint, provenance.seed
        self.training, self.template = training, template
        self.folder: Path | None = None
        self.length: float | None = None

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""

    @property
    @abstractmethod
    def example(self) -> Any:
        """A valid row, such as the training rows.

        Example:
            >>> table.example["smoker"].tolist()
            ['no']
        """

    @property
    @abstractmethod
    def parameters(self) -> int:
        """The number of trained parameters."""

    def __repr__(self) -> str:
        on = f", trained on {self.source}" if self.source else ""
        return f"{type(self).__name__}({len(self.columns)} columns{on}, {self.parameters:,} parameters)"

    @abstractmethod
    def sample(self, n: int, *, given: Any = None, seed: int = 0, on_progress: OnProgress = silent) -> Any:
        """Draw `n` synthetic rows, in the same kind of table as the training rows. The same seed gives the same rows.

        A model of an array, a data frame or a dict returns the same type. If the training rows were read from a file,
        it returns a `Frame`, which has `to_pandas()`, `to_polars()`, `to_arrow()` and `to_numpy()`.

        Example:
            >>> model.sample(3).shape, len(table.sample(3)["age"])
            ((3, 2), 3)
        """

    def sample_shards(
        self, n: int, *, shards: int, out: str | Path, executor: Executor | None = None, seed: int = 0, **options: Any
    ) -> list[Path]:
        """Write `n` synthetic rows as Parquet files into a folder, which need not fit into memory; return their paths.

        The same call continues after any interruption, and the files have the same bytes with any executor. See
        docs/cluster.md; `options` are passed to `motes.cluster.sample_shards`.

        Example:
            >>> [path.name for path in table.sample_shards(10, shards=2, out="people")]
            ['shard-00000.parquet', 'shard-00001.parquet']
        """
        from motes.cluster import sample_shards

        return sample_shards(self, n, shards=shards, out=out, executor=executor, seed=seed, **options)

    @abstractmethod
    def likelihood(self, data: Any, *, on_progress: OnProgress = silent) -> Any:
        """Return log p of each row, in nats and in the data's units, with information about its error.

        Example:
            >>> table.likelihood({"age": [31, 25], "smoker": ["yes", "no"]}).log_prob.shape
            (2,)
        """

    def score_samples(self, data: Any, **options: Any) -> Array:
        """Return log p of each row, (n,), in nats and in the data's units; discrete columns contribute a probability.

        `options` are passed to `likelihood`, which also returns information about the error.

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
        """Compare synthetic rows with real ones: held-out rows, a fresh draw of a shape, or `data`.

        Example:
            >>> model.evaluate(motes.make_shape("moons", 200, seed=1), n=200).severity
            'large'
        """

    @abstractmethod
    def diagnose(self, data: Any = None, *, seed: int = 0) -> Any:
        """List the problems of the model, and how to fix them.

        Example:
            >>> table.diagnose({"age": [31, 47, 25, 62] * 5, "smoker": ["no", "yes", "no", "no"] * 5}).rows
            10
        """

    @abstractmethod
    def plot(self, *, n: int = 2000, seed: int = 0, style: str = "light") -> Any:
        """Draw a figure of samples.

        Example:
            >>> model.plot(n=100).get_title()
            '100 samples'
        """

    def report(self, path: str | Path, data: Any = None, **options: Any) -> Path:
        """Write the evaluation as one HTML page, and return its path. `options` are passed to `evaluate`.

        Raises:
            UsageError: see `evaluate`; or a name that does not end in .html, or a folder that does not exist or is not
                writable.
            DataError: see `evaluate`.

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
        """The stored averages of the weights; None if the training stored none, which is the default for tables."""
        if self.training is not None or self.folder is None:
            return self.training.averages if self.training else None
        return read_averages(self.folder, self._run, self._averaged)

    @abstractmethod
    def averaged_over(self, sigma_rel: float) -> Self:
        """Return the same model with its weights averaged over another share of the training, from 0.02 to 0.25.

        The share is the standard deviation of the averaged steps divided by the number of steps (Karras et al. 2024,
        section 3).

        Raises:
            UsageError: a share out of range, or a training that stored no averages: set `training.averages` for points,
                or `table.averages` for a table.
            ModelFileError: the file of averages is damaged or belongs to another model.

        Example:
            >>> model.averaged_over(0.1).sample(3).shape
            (3, 2)
        """

    def check_averages(self) -> Averages:
        """Return the averages that the training stored.

        Raises:
            UsageError: there are none.
            ModelFileError: the file of averages is damaged or belongs to another model.

        Example:
            >>> type(model.check_averages()).__name__
            'Averages'
        """
        if self.averages is None:
            raise UsageError(
                f"this model has no averages to choose from. `motes train` writes them to {AVERAGES} next to the "
                f"model, with --set {self.recipe.TRAINING}.averages=32."
            )
        return self.averages

    def save_averages(self, folder: Path) -> None:
        """Write the averages that `averaged_over` needs into a folder, if the training stored any.

        Raises:
            OSError: the folder does not exist, is not writable, or is full.

        Example:
            >>> from pathlib import Path
            >>> Path("run").mkdir()
            >>> model.save_averages(Path("run"))
            >>> [path.name for path in Path("run").iterdir()]
            ['averages.safetensors']
        """
        if self.averages is not None:
            checkpoints.write_checkpoint(folder / AVERAGES, vars(self.averages), {"run": self._run})

    @property
    def _averaged(self) -> int:
        """The number of weights in each average."""
        return self.parameters

    @property
    def _run(self) -> str:
        """Text that identifies its training, independent of how its text files are read."""
        written = {section: part for section, part in self.recipe.to_dict().items() if section != "text"}
        return json.dumps([written, self.fingerprint, self.seed])

    # --- on disk ---

    @abstractmethod
    def parts(self) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
        """Return arrays and texts by name, from which `motes.load` rebuilds the model.

        Example:
            >>> tensors, about = model.parts()
            >>> sorted(about)[:3]
            ['classes', 'columns', 'fingerprint']
        """

    def save(self, path: str | Path) -> None:
        """Write the model to one `.safetensors` file, atomically. `motes.load` and the command line read it.

        Args:
            path: name of the file; `.safetensors` is appended if it has no suffix.

        Raises:
            UsageError: a name with another suffix, a kind of table that cannot be stored in a file, or a denoiser that
                the recipe does not describe, so that `motes.load` could not rebuild it.
            OSError: the folder does not exist, is not writable, or is full.

        Example:
            >>> model.save("moons.safetensors")
            >>> motes.load("moons.safetensors")
            PointModel(2 columns, 10,082 parameters)
        """
        checkpoints.write_checkpoint(checkpoints.complete_name(path), *self._contents())

    @property
    def checksum(self) -> str:
        """The SHA-256 checksum of the contents of its file, which identifies the model and the version of motes."""
        return checkpoints.checksum(*self._contents())

    def _contents(self) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
        """Return the arrays and texts of its file."""
        tensors, about = self.parts()
        keep(self.template, tensors, about)
        return tensors, about

    # --- rows in and out ---

    def _native(self, rows: Any) -> Any:
        """Convert an array of points or a `Frame` to the kind of table of the training rows."""
        return as_frame(rows, self.columns).like(self.template)


def with_index(table: Any, like: Any) -> Any:
    """Give a pandas table the index of `like`, if both are pandas tables, and return it."""
    if hasattr(table, "iloc") and hasattr(like, "iloc"):
        table.index = like.index
    return table


# --- Continue training from a model ---------------------------------------------------------------------------------
#
# A model that was trained in this process has the complete state of its training.
#
# the same rows, weights, recipe and seed    continues the same training, up to `steps` steps in total
# anything else                              adds `steps` steps; keeps the weights, their averages and the optimiser's
#                                            state, but not the position in the rows and the validations
# no state, as in a loaded model             starts a new training of `steps` steps from the weights


OF_OTHER_THINGS = ("about", "sampler", "grid", "text")  # sections of a recipe that do not affect training


def run_of(recipe: Recipe, seed: int, *rows: Any) -> str:
    """Return a hash of a training, which ignores the number of steps; `rows` are all arrays that it learns from."""
    written = {section: part for section, part in recipe.to_dict().items() if section not in OF_OTHER_THINGS}
    for section in ("training", "table"):
        written.get(section, {}).pop("steps", None)
    found = hashlib.sha256(json.dumps([written, seed], sort_keys=True, default=str).encode())
    for part in rows:
        found.update(b"none" if part is None else np.ascontiguousarray(part).tobytes())
    return found.hexdigest()
