"""Small tables by name: penguins, which ships with motes, and tables that ship with scikit-learn.

name -> Frame

Nothing is downloaded. Names of data sets differ from names of shapes. They never hide a file, because files need a
suffix.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from glob import glob, has_magic
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from motes.data.arrays import of_values
from motes.data.frames import Frame
from motes.data.shapes import SHAPES
from motes.errors import UsageError, unknown
from motes.text_options import TextOptions, suffix_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Dataset:
    """A small table that ships with motes or scikit-learn.

    Attributes:
        name: the name.
        about: what a row is.
        target: the column that is usually predicted from the others.
        rows: the number of rows.
        columns: the number of columns.
        source: the package that it ships with, and its licence if it differs from the package's.
        read: returns the rows; nothing is read or imported before.
    """

    name: str
    about: str
    target: str
    rows: int
    columns: int
    source: str
    read: Callable[[], Frame]


def dataset(name: str) -> "pd.DataFrame":
    """Return a small example table as a pandas frame.

    Args:
        name: a name that `motes datasets` lists, such as "penguins".

    Returns:
        A pandas frame. Labels are text, missing entries are NaN, and column names are words without spaces.

    Raises:
        UsageError: if the name is unknown or pandas is not installed.

    Example:
        >>> motes.dataset("penguins").shape
        (344, 8)
    """
    frame = read_dataset(name)
    try:
        import pandas as pd
    except ImportError:
        raise UsageError(
            f"motes.dataset('{name}') needs pandas: pip install pandas. `motes train {name}` works without it."
        ) from None
    return pd.DataFrame({column: series.cells() for column, series in frame.columns.items()})


def read_dataset(name: str) -> Frame:
    """Read the rows of a data set.

    Raises:
        UsageError: for the name of a shape or an unknown name; the message lists the names.
    """
    if name in SHAPES:
        raise UsageError(
            f"got '{name}', which is a shape; expected a data set ({', '.join(DATASETS)}) or a file, such as "
            f"table.csv. For shapes, use `motes train {name}` and motes.make_shape('{name}', n)."
        )
    if name not in DATASETS:
        raise UsageError(f"{unknown('data set', name, DATASETS)} Or give a file, such as table.csv.")
    return DATASETS[name].read()


def named(source: str | Path) -> Frame | None:
    """Return the rows of the data set that a source names, or None if the source is a file.

    Raises:
        UsageError: for the name of a shape or an unknown name.
    """
    path = Path(source)
    a_file = suffix_of(source) or path.name != str(source) or path.exists()
    return None if a_file and str(source) not in DATASETS else read_dataset(str(source))


def is_here(source: str) -> bool:
    """Return whether a source is a data set, an existing file or folder, or a pattern of existing files."""
    path = Path(source)
    if source in DATASETS or (path.suffix and path.is_file()):
        return True
    return bool(source) and (path.is_dir() or (has_magic(source) and bool(glob(source, recursive=True))))


# --- shipped with motes ---------------------------------------------------------------------------------------------


def _load_penguins() -> Frame:
    from motes.data.text import TextInMemory, read_text

    content = (resources.files("motes") / "data" / "datasets" / "penguins.csv").read_bytes()
    return read_text(TextInMemory("penguins.csv", content), TextOptions())


# --- shipped with scikit-learn, imported late: it is slow to load ----------------------------------------------------


def _load_sklearn(loader: str, target: str, labels: tuple[str, ...], **options: Any) -> Frame:
    """Load a table of scikit-learn, with the column `target` last.

    Args:
        loader: the name of the function in `sklearn.datasets`.
        target: a name for the target, which scikit-learn does not name.
        labels: the names of the classes; empty if scikit-learn names them.
        options: options of the loader.
    """
    from sklearn import datasets

    bunch = getattr(datasets, loader)(**options)
    # 'petal length (cm)' would have to be quoted in a shell.
    names = [re.sub(r"\W+", "_", str(name)).strip("_") for name in bunch.feature_names]
    columns = {name: _as_whole(bunch.data[:, j]) for j, name in enumerate(names)}
    classes = labels or bunch.get("target_names")
    columns[target] = _as_whole(bunch.target) if classes is None else np.asarray(classes, dtype=str)[bunch.target]
    return Frame({name: of_values(values, name, f"'{loader}'") for name, values in columns.items()})


def _as_whole(values: NDArray[Any]) -> NDArray[Any]:
    """Convert whole numbers to integers: 127 instead of 127.0."""
    whole = values.astype(np.int64)
    return whole if (whole == values).all() else values


def _sklearn_dataset(
    name: str, about: str, target: str, rows: int, columns: int, *labels: str, **options: Any
) -> Dataset:
    read = partial(_load_sklearn, f"load_{name}", target, labels, **options)
    return Dataset(name, about, target, rows, columns, "scikit-learn", read)


DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")  # numbers would be ordered

DATASETS: dict[str, Dataset] = {
    one.name: one
    for one in [
        Dataset(
            "penguins", "a penguin of one of three islands; entries are missing", "species", 344, 8,
            "motes (palmerpenguins, CC0)", _load_penguins,
        ),
        _sklearn_dataset("iris", "a flower", "species", 150, 5),
        _sklearn_dataset("wine", "the chemistry of a wine", "cultivar", 178, 14),
        _sklearn_dataset("breast_cancer", "the cell nuclei of a tumour", "diagnosis", 569, 31),
        _sklearn_dataset("diabetes", "a patient; the disease a year later", "progression", 442, 11, scaled=False),
        _sklearn_dataset("digits", "the pixels of a handwritten digit", "digit", 1797, 65, *DIGITS),
    ]
}  # fmt: skip
