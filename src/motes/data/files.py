"""Files of any kinds of columns -> a `Frame`: `.csv`, `.tsv`, `.parquet`, `.npy`, `.npz`.

pyarrow, the extra `tables`, reads text and Parquet. Without it a text of numbers alone is read all the same.
"""

import csv
import io
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from motes.data.frames import Frame, Series, as_frame, of_values, unique_names
from motes.data.tables import header_of, is_number, load_npy, read_numbers
from motes.errors import DataError, UsageError

SUFFIXES = (".csv", ".tsv", ".parquet", ".npy", ".npz")
SEPARATORS = {".csv": ",", ".tsv": "\t"}
START = 2**20  # bytes by which the types of columns are known
BUFFER = 2**20  # bytes of a column of Parquet
NO_ROWS = "names its columns and has no rows."
EXTRA = "pip install 'motes[tables]'"
Lines = Iterator[tuple[int, list[str]]]


def suffix_of(path: str | Path) -> str:
    """The suffix of a file that can be read and written, in lower case.

    Raises:
        UsageError: another one.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"'{path}' ends in '{suffix}'; expected a name that ends in {', '.join(SUFFIXES)}.")
    return suffix


def read_frame(path: str | Path) -> Frame:
    """Read the columns of a file. Empty cells are missing; in text so are NA, NaN, null and their like.

    Raises:
        UsageError: no such file, another suffix, or pyarrow is needed and not installed.
        DataError: a file that cannot be read: ragged lines, two columns of one name, another encoding than UTF-8, a
            column of no kind that is known; the message names the line or the column.
    """
    path = Path(path)
    suffix = suffix_of(path)
    with _reading(path):
        if suffix in SEPARATORS:
            return _read_text(path, SEPARATORS[suffix])
        if suffix == ".parquet":
            return _read_parquet(path)
        return as_frame(load_npy(path), name=f"'{path}'") if suffix == ".npy" else _read_npz(path)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """What goes wrong with the file itself, in words."""
    if not path.is_file():
        raise UsageError(f"there is no file '{path}'.")
    try:
        yield
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror or error}.") from None


def width_of(path: Path) -> int:
    """How many columns a file has; of a text without reading more than its first line.

    Raises:
        UsageError, DataError: as `read_frame`.
    """
    separator = SEPARATORS.get(suffix_of(path))
    with _reading(path):
        return len(read_frame(path).names if separator is None else _names(path, separator)[0])


# --- text -----------------------------------------------------------------------------------------------------------


def _read_text(path: Path, separator: str) -> Frame:
    pa = pyarrow_or_none()
    if pa is None:
        try:
            return as_frame(read_numbers(path, separator, to_learn=False))
        except DataError as error:
            raise DataError(f"{error} Without pyarrow every cell has to be a number; for all else: {EXTRA}.") from None
    names, skip = _names(path, separator)
    try:
        table = _parsed(pa, path, separator, names, skip)
    except pa.ArrowInvalid as error:
        _find(path, separator, lambda line, cells: _ragged(path, line, cells, len(names)))
        if "skip initial" in str(error):  # the header, and not so much as a line's end after it
            raise DataError(f"'{path}' {NO_ROWS}") from None
        raise DataError(f"'{path}' is not a text of rows and columns: {str(error).rstrip('.')}.") from None
    if not len(table):
        raise DataError(f"'{path}' {NO_ROWS}")
    if any("binary" in str(kind) for kind in table.schema.types):  # what pyarrow makes of bytes that are no text
        _find(path, separator, lambda line, cells: _not_utf8(path, line, cells, names))
    made: dict[str, Series] = {}
    for name in names:  # one at a time, so that what Arrow holds of it can go
        made[name] = _renumbered(as_frame(table.select([name]), name=f"'{path}'").columns[name])
        table = table.drop_columns([name])
    return Frame(made)


def _parsed(pa: Any, path: Path, separator: str, names: tuple[str, ...], skip: int) -> Any:
    """The text as an Arrow table."""
    from pyarrow import csv as arrow

    reading = arrow.ReadOptions(column_names=names, skip_rows=skip)
    parsing = arrow.ParseOptions(delimiter=separator, newlines_in_values=True, invalid_row_handler=_skip_blank)

    def converting(**options: Any) -> Any:
        return arrow.ConvertOptions(strings_can_be_null=True, **options)

    lenient = arrow.ParseOptions(delimiter=separator, newlines_in_values=True, invalid_row_handler=_skip)
    try:
        start = arrow.read_csv(_start(path), reading, lenient, converting())
        types = {field.name: field.type for field in start.schema}
    except pa.ArrowInvalid:  # it was cut within a cell
        types = {}
    text = pa.dictionary(pa.int32(), pa.string())
    known = {name: text if kind == pa.string() else kind for name, kind in types.items() if kind != pa.null()}
    try:
        # By the types of its start: pyarrow keeps all of a text whose types are open.
        return arrow.read_csv(path, reading, parsing, converting(column_types=known))
    except pa.ArrowInvalid:
        return arrow.read_csv(path, reading, parsing, converting(auto_dict_encode=True))


def _start(path: Path) -> io.BytesIO:
    """The first lines. (pyarrow's own reader by blocks leaves a thread behind, which can end the process with it.)"""
    with path.open("rb") as file:
        raw = file.read(START)
        return io.BytesIO(raw if not file.read(1) else raw[: raw.rfind(b"\n") + 1] or raw)


def _skip(row: Any) -> str:
    return "skip"


def _skip_blank(row: Any) -> str:
    return "error" if row.text is None or row.text.strip() else "skip"


def _names(path: Path, separator: str) -> tuple[tuple[str, ...], int]:
    """The names of the columns, and how many lines come before the first row."""
    for line, cells in _lines(path, separator):
        if "".join(cells).strip() or len(cells) > 1:
            names, header = header_of(cells, path, separator)
            if said := _not_utf8(path, line, cells, names):
                raise DataError(said)
            return names, line if header else line - 1
    raise DataError(f"'{path}' is empty; expected rows and columns.")


def _lines(path: Path, separator: str) -> Lines:
    """The number and the cells of each line; bytes that are no text are kept as surrogates."""
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        reader = csv.reader(file, delimiter=separator)
        try:
            for cells in reader:
                yield reader.line_num, cells
        except csv.Error as error:
            raise DataError(f"line {reader.line_num} of '{path}' is no row of cells: {error}.") from None


def _find(path: Path, separator: str, complaint: Callable[[int, list[str]], str | None]) -> None:
    """Go through a file again, by lines, for the first one of which there is something to say."""
    for line, cells in _lines(path, separator):
        if said := complaint(line, cells):
            raise DataError(said)


def _ragged(path: Path, line: int, cells: list[str], width: int) -> str | None:
    if len(cells) == width or not ("".join(cells).strip() or len(cells) > 1):
        return None
    return f"line {line} of '{path}' has {len(cells)} cells; expected {width}."


def _not_utf8(path: Path, line: int, cells: list[str], names: tuple[str, ...]) -> str | None:
    for name, cell in zip(names, cells, strict=False):
        if any("\udc80" <= letter <= "\udcff" for letter in cell):
            came = cell.encode("utf-8", "surrogateescape")
            column = name.encode("utf-8", "replace").decode()
            return f"line {line} of '{path}', column '{column}': {came!r} is not UTF-8 text. Save the file as UTF-8."
    return None


def _renumbered(series: Series) -> Series:
    """Text whose labels are all numbers, such as +3, which pyarrow takes for a word."""
    if series.type != "label" or not series.labels or not all(is_number(str(label)) for label in series.labels):
        return series
    values = np.array([float(label) for label in series.labels])[series.values]
    return Series("real", np.where(series.missing, np.nan, values), series.missing | np.isnan(values))


# --- Parquet and NumPy ----------------------------------------------------------------------------------------------


def _read_parquet(path: Path) -> Frame:
    with parquet_file(path) as file:
        made: dict[str, Series] = {}
        for name in file.schema_arrow.names:  # one at a time, so that the file is never in memory twice
            made |= as_frame(file.read(columns=[name]), name=f"'{path}'").columns
        return Frame(made)


@contextmanager
def parquet_file(path: Path) -> Iterator[Any]:
    """A `pyarrow.parquet.ParquetFile` with a name of its own for each column.

    Raises:
        UsageError: no such file, or pyarrow is not installed.
        DataError: a file that cannot be read, or two columns of one name.
    """
    pa = pyarrow_or_none()
    if pa is None:
        raise UsageError(f"reading '{path}' needs pyarrow: {EXTRA}.")
    from pyarrow import parquet

    try:
        # Of a group of rows no more than is being read: some files are one single group.
        with _reading(path), parquet.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER) as file:
            unique_names(file.schema_arrow.names, f"'{path}'")
            yield file
    except pa.ArrowInvalid as error:
        raise DataError(f"'{path}' is not a Parquet file: {str(error).rstrip('.')}.") from None


def _read_npz(path: Path) -> Frame:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile):
        raise DataError(f"'{path}' is not an archive of arrays, as numpy.savez writes it without pickling.") from None
    if len(arrays) == 1 and next(iter(arrays.values())).ndim == 2:
        return as_frame(next(iter(arrays.values())), name=f"'{path}'")
    shapes = {array.shape for array in arrays.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        said = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise DataError(f"'{path}' holds {said or 'nothing'}; expected columns of the same length, or one matrix.")
    return Frame({name: of_values(array, name, f"'{path}'") for name, array in arrays.items()})


def pyarrow_or_none() -> Any:
    """The module, or None where it is not installed."""
    try:
        import pyarrow
    except ImportError:
        return None
    return pyarrow
