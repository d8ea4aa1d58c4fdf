"""Small tables by name: penguins, which comes with motes, and tables that come with scikit-learn.

name -> Frame

Nothing is downloaded. A data set is never named as a shape is. A name means the data set, whatever lies in the folder:
it hides no file that could be read, because a file that is read has a suffix.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from motes.data.arrays import of_values
from motes.data.frames import Frame
from motes.data.shapes import SHAPES
from motes.errors import UsageError, unknown
from motes.text_options import TextOptions

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Dataset:
    """One table.

    Attributes:
        name: by which it is known.
        about: what a row is.
        target: the column that is usually predicted from the others.
        rows: how many there are.
        columns: how many there are.
        source: the package that it comes with, and its licence where that is another than the package's.
        read: gives the rows; nothing is read or imported before.
    """

    name: str
    about: str
    target: str
    rows: int
    columns: int
    source: str
    read: Callable[[], Frame]


def dataset(name: str) -> "pd.DataFrame":
    """A small table by name, to try things with.

    Args:
        name: one of those that `motes datasets` lists, such as "penguins".

    Returns:
        A pandas frame. Labels are text, missing entries are NaN, and names of columns are words without spaces.

    Raises:
        UsageError: an unknown name, or pandas is not installed.

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
    """The rows of a data set.

    Raises:
        UsageError: a shape, or an unknown name; the message lists the names.
    """
    if name in SHAPES:
        raise UsageError(
            f"got '{name}', which is a shape; expected a data set ({', '.join(DATASETS)}) or a file, such as "
            f"table.csv. `motes train {name}` and motes.make_shape('{name}', n) take shapes."
        )
    if name not in DATASETS:
        raise UsageError(f"{unknown('data set', name, DATASETS)} Or give a file, such as table.csv.")
    return DATASETS[name].read()


def named(source: str | Path) -> Frame | None:
    """The rows of the data set that a source names; None where the source is a file.

    Raises:
        UsageError: a word that names a shape or nothing.
    """
    path = Path(source)
    a_file = path.suffix or path.name != str(source) or path.exists()
    return None if a_file and str(source) not in DATASETS else read_dataset(str(source))


def is_here(source: str) -> bool:
    """Whether a source is a data set, or a file that is there."""
    return source in DATASETS or (bool(Path(source).suffix) and Path(source).is_file())


# --- shipped with motes ---------------------------------------------------------------------------------------------


def _penguins() -> Frame:
    from motes.data.text import TextInMemory, read_text

    content = (resources.files("motes") / "data" / "datasets" / "penguins.csv").read_bytes()
    return read_text(TextInMemory("penguins.csv", content), TextOptions())


# --- shipped with scikit-learn, imported late: it is slow to load ----------------------------------------------------


def _of_sklearn(loader: str, target: str, labels: tuple[str, ...], **options: Any) -> Frame:
    """A table of scikit-learn's with the column `target` at its end.

    Args:
        loader: the function of `sklearn.datasets`.
        target: the name of what is predicted; scikit-learn has none.
        labels: of its classes; none where scikit-learn has names for them.
        options: of the loader.
    """
    from sklearn import datasets

    bunch = getattr(datasets, loader)(**options)
    # 'petal length (cm)' would need quotes in a shell.
    names = [re.sub(r"\W+", "_", str(name)).strip("_") for name in bunch.feature_names]
    columns = {name: _plain(bunch.data[:, j]) for j, name in enumerate(names)}
    classes = labels or bunch.get("target_names")
    columns[target] = _plain(bunch.target) if classes is None else np.asarray(classes, dtype=str)[bunch.target]
    return Frame({name: of_values(values, name, f"'{loader}'") for name, values in columns.items()})


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    """Whole numbers as such: 127 rather than 127.0."""
    whole = values.astype(np.int64)
    return whole if (whole == values).all() else values


def _sklearn(name: str, about: str, target: str, rows: int, columns: int, *labels: str, **options: Any) -> Dataset:
    read = partial(_of_sklearn, f"load_{name}", target, labels, **options)
    return Dataset(name, about, target, rows, columns, "scikit-learn", read)


DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")  # numbers would have an order

DATASETS: dict[str, Dataset] = {
    one.name: one
    for one in [
        Dataset(
            "penguins",
            "a penguin of one of three islands; entries are missing",
            "species",
            344,
            8,
            "motes (palmerpenguins, CC0)",
            _penguins,
        ),
        _sklearn("iris", "a flower", "species", 150, 5),
        _sklearn("wine", "the chemistry of a wine", "cultivar", 178, 14),
        _sklearn("breast_cancer", "the cell nuclei of a tumour", "diagnosis", 569, 31),
        _sklearn("diabetes", "a patient; the disease a year later", "progression", 442, 11, scaled=False),
        _sklearn("digits", "the pixels of a handwritten digit", "digit", 1797, 65, *DIGITS),
    ]
}
