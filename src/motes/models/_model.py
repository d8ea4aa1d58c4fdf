"""What every trained model answers, in the units, types and kind of table of the rows that it was trained on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from motes.data._frames import Frame, as_frame
from motes.data._tables import Table
from motes.data._templates import keep
from motes.errors import UsageError
from motes.learning._averages import Averages
from motes.learning._checkpoints import complete_name, write_checkpoint
from motes.models._kept_averages import checked, read_averages, run_name, write_averages
from motes.models._provenance import Provenance
from motes.recipes import Recipe

Array = NDArray[np.float64]
OnBlock = Callable[[int], None] | None
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
    def sample(self, n: int, *, given: Any = None, seed: int = 0, on_block: OnBlock = None) -> Any:
        """Draw `n` new rows, in the kind of table that the training rows had. The same seed gives the same rows.

        Rows that were trained on as an array, a data frame or a dict come back as one. Where the training rows were
        read from a file, the rows are a `Frame`: `to_pandas()`, `to_polars()`, `to_arrow()`, `to_numpy()`.

        Example:
            >>> model.sample(3).shape, len(table.sample(3)["age"])
            ((3, 2), 3)
        """

    @abstractmethod
    def likelihood(self, data: Any, *, seed: int = 0, on_block: OnBlock = None) -> Any:
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
        from motes.plots.report import check_page, write_page

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
        return checked(self.averages, self._how_to_keep)

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
            write_averages(self.averages, folder, self._run)

    _how_to_keep: ClassVar[str]  # the end of the message where no averages were kept

    @property
    @abstractmethod
    def _averaged(self) -> int:
        """How many numbers its averages have."""

    @property
    def _run(self) -> str:
        return run_name(self.recipe, self.fingerprint, self.seed)

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
            PointModel(2 columns, 17,538 parameters)
        """
        tensors, about = self.parts()
        keep(self.template, tensors, about)
        write_checkpoint(complete_name(path), tensors, about)

    # --- rows in and out ---

    def _native(self, rows: Any) -> Any:
        """Rows, an array of points or a `Frame`, in the kind of table of the training rows."""
        frame = rows if isinstance(rows, Frame) else as_frame(Table(rows, self.columns))
        return frame.like(self.template)

    def _refuse(self, name: str, value: Any, instead: str) -> None:
        if value is not None:
            raise UsageError(f"got {name} = {value!r}, and this is a {type(self).__name__}. {instead}")


def with_index(table: Any, like: Any) -> Any:
    """A pandas table with the index of another one."""
    if hasattr(table, "iloc") and hasattr(like, "iloc"):
        table.index = like.index
    return table


def plain_given(given: Any) -> bool:
    """Whether nothing is given."""
    return given is None or (isinstance(given, Mapping) and not given)
