"""Read and write tables in files, whole or block by block."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from glob import glob, has_magic
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from motes.data.arrays import TYPE_WORDS, Series, Type
from motes.data.datasets import DATASETS, named
from motes.data.frames import Frame, as_frame, joined, unique_names
from motes.data.readings import is_number
from motes.errors import DataError, UsageError
from motes.replacing import replacing
from motes.text_options import DATABASES, SEPARATORS, STDIN, TextOptions, suffix_of

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".jsonl", ".parquet", ".npy")  # of files that motes reads and writes
READABLE = (*SUFFIXES, ".xlsx", *DATABASES)
BUFFER = 2**20  # bytes to buffer of a Parquet column


def readable_suffix(path: str | Path) -> str:
    """Return the suffix of a file to read; of standard input, `STDIN`.

    Raises:
        UsageError: if motes does not read such files.
    """
    suffix = suffix_of(path)
    if suffix not in (*READABLE, STDIN):
        raise UsageError(f"'{path}' ends in '{suffix}'; expected a name that ends in {', '.join(READABLE)}.")
    return suffix


def writable_suffix(path: str | Path) -> str:
    """Return the suffix of a file to write.

    Raises:
        UsageError: if motes does not write such files.
    """
    suffix = suffix_of(path)
    if suffix not in SUFFIXES:
        raise UsageError(f"'{path}' ends in '{suffix}'; expected a name that ends in {', '.join(SUFFIXES)}.")
    return suffix


def read_frame(path: str | Path, text: TextOptions = TextOptions()) -> Frame:
    """Read a file or a data set. Empty cells are missing; in text files also NA, NaN, null and similar.

    The nameless index of a data frame, which pandas writes to a Parquet file, is not a column.

    Args:
        path: the path of the file, or the name of a data set.
        text: how the file is read.

    Raises:
        UsageError: for a file or data set that does not exist, another suffix, options for another type of file, a
            missing package, an unknown sheet or table, or a query that fails.
        DataError: if the file cannot be read: ragged lines, duplicate column names, another encoding, a damaged file,
            merged cells, or a column of an unsupported type; the message names the line, the cell or the column.

    Warns:
        UserWarning: if the entries of a column are converted, such as "12 %" to 12.

    Example:
        >>> from motes.data import read_frame
        >>> read_frame("penguins").names[:3]
        ('species', 'island', 'bill_length_mm')
    """
    text.check_for(path)
    if (frame := named(path)) is not None:
        return frame
    path = Path(path)
    suffix = readable_suffix(path)
    with reading(path):
        if suffix in SEPARATORS:
            from motes.data.text import read_text, text_file  # here and below: pyarrow loads with the first file

            return read_text(text_file(path), text)
        if suffix == ".npy":
            return _read_array(path)
        if suffix == ".parquet" and text.sql is None:
            return _read_parquet(path)
        from motes.data import exchange

        if suffix == ".jsonl":
            return exchange.read_json_lines(path)
        if suffix == ".xlsx":
            return replace(exchange.read_workbook(path, text.sheet), text=text)
        return replace(exchange.read_query(path, text.sql), text=text)


def files_of(source: str | Path | Sequence[str | Path]) -> tuple[Path, ...]:
    """Return the files of a source: a file or a data set by name, a folder, a pattern, or a list of files.

    The files of a folder are those directly in it with a suffix of `READABLE`, sorted by name, except names that begin
    with "." or "_", such as `_SUCCESS`. A pattern may contain `*`, `?`, `[...]`, and `**` for any folders.

    Raises:
        UsageError: if there is no file, or if files have different suffixes.

    Example:
        >>> from motes.data import as_frame, write_frame
        >>> from motes.data.files import files_of
        >>> for k in range(2):
        ...     write_frame(f"part-{k}.csv", as_frame({"age": [31, 47]}))
        >>> [path.name for path in files_of("part-*.csv")]
        ['part-0.csv', 'part-1.csv']
    """
    if not isinstance(source, str | Path):
        found, nothing = list(map(Path, source)), "the list of files is empty"
    else:
        refuse_address(source)
        if not is_several(source):
            return (Path(source),)
        nothing = f"no file of '{source}' ends in {', '.join(READABLE)}"
        inside = Path(source).iterdir() if Path(source).is_dir() else map(Path, glob(str(source), recursive=True))
        found = sorted(
            path for path in inside if path.name[0] not in "._" and suffix_of(path) in READABLE and path.is_file()
        )
    if not found:
        raise UsageError(f"{nothing}; expected files of one table, such as rows/*.parquet.")
    first = readable_suffix(found[0])
    for path in found:
        if readable_suffix(path) != first:
            raise UsageError(
                f"got '{found[0]}' and '{path}'; expected files of one type. Use a pattern, such as *{first}."
            )
    return tuple(found)


class RowGroup(NamedTuple):
    """A row group of a Parquet file.

    Attributes:
        path: the file.
        number: number of the row group, from 0.
    """

    path: Path
    number: int

    def __str__(self) -> str:
        return f"{self.path}, row group {self.number}"


def parts_of(source: str | Path | Sequence[str | Path]) -> tuple[Path | RowGroup, ...]:
    """Return the absolute paths of the files of a source, or the row groups of a single Parquet file.

    Raises:
        UsageError, DataError: as in `files_of` and `Blocks.of_file`.

    Example:
        >>> import pandas as pd
        >>> from motes.data.files import parts_of
        >>> pd.DataFrame({"age": range(30)}).to_parquet("people.parquet", row_group_size=10)
        >>> [part.number for part in parts_of("people.parquet")]
        [0, 1, 2]
    """
    paths = tuple(path.absolute() for path in files_of(source))
    if len(paths) > 1 or paths[0].suffix.lower() != ".parquet":
        return paths
    with parquet_file(paths[0]) as file:
        count = file.metadata.num_row_groups
    return tuple(RowGroup(paths[0], k) for k in range(count)) if count > 1 else paths


def is_several(source: Any) -> bool:
    """Return whether a source is a folder, a pattern or a list of files, as opposed to a single file or a name."""
    if isinstance(source, str | Path):
        if str(source) in DATASETS:
            return False
        return Path(source).is_dir() or (has_magic(str(source)) and not Path(source).exists())
    return isinstance(source, list | tuple) and bool(source) and all(isinstance(one, str | Path) for one in source)


def refuse_address(source: str | Path) -> None:
    """Refuse web addresses: files must be on this machine.

    Raises:
        UsageError: for an address such as https://example.com/table.csv.
    """
    if found := re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/+", str(source)):  # a Path reduces // to /
        address = f"{found[1]}://{str(source)[found.end() :]}"
        raise UsageError(f"got the address {address}; expected a file on this machine. Download it first.")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Return a context that turns errors of opening and reading a file into errors of motes."""
    refuse_address(path)
    if suffix_of(path) != STDIN and not path.is_file():
        raise UsageError(f"there is no file '{path}'.")
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        what = f"damaged after line {lines:,}" if (lines := _count_lines(path)) else "not a gzip file, or damaged"
        raise DataError(f"'{path}' is {what} ({str(error).rstrip('.')}). Copy or download it again.") from None
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror or str(error).strip().rstrip('.')}.") from None


def _count_lines(path: Path) -> int:
    """Return the number of lines of a damaged gzip file that can be read."""
    lines = 0
    with suppress(EOFError, OSError, zlib.error), gzip.open(path) as file:
        while piece := file.read1():
            lines += piece.count(b"\n")
    return lines


def width_of(path: Path, text: TextOptions) -> int:
    """Return the number of columns of a file; of a text file, only the first line is read.

    Raises:
        UsageError, DataError: as in `read_frame`.
    """
    if readable_suffix(path) not in SEPARATORS:
        return len(read_frame(path, text).names)
    from motes.data.text import Text, text_file

    with reading(path):
        return len(Text(text_file(path), text).names)


# --- Parquet and NumPy ----------------------------------------------------------------------------------------------


def _read_parquet(path: Path) -> Frame:
    with parquet_file(path) as file:
        made: dict[str, Series] = {}
        for name in _column_names(file):  # one at a time, so that the rows are never in memory twice
            made |= as_frame(file.read(columns=[name]), name=f"'{path}'").columns
        return Frame(made)


def _column_names(file: Any) -> list[str]:
    """Return the columns of a Parquet file, without the nameless index that pandas writes beside them."""
    return [name for name in file.schema_arrow.names if not re.fullmatch(r"__index_level_\d+__", name)]


@contextmanager
def parquet_file(path: Path) -> Iterator[Any]:
    """Open a `pyarrow.parquet.ParquetFile`, and check that its column names differ.

    Raises:
        UsageError: if there is no such file.
        DataError: if the file cannot be read, or a column name occurs twice.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        # Without pre_buffer, because some files consist of a single row group, which would be buffered whole.
        with reading(path), parquet.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER) as file:
            unique_names(file.schema_arrow.names, f"'{path}'")
            yield file
    except pa.ArrowInvalid as error:
        raise DataError(f"'{path}' is not a Parquet file: {str(error).rstrip('.')}.") from None


def _read_array(path: Path) -> Frame:
    """Read the matrix in a `.npy` file."""
    name = f"'{path}'"
    try:
        with path.open("rb") as file:
            array = np.load(file, allow_pickle=False)
        if not isinstance(array, np.ndarray):
            raise ValueError("an archive")
    except OSError:
        raise
    except MemoryError as error:
        raise DataError(f"{name} is damaged, or contains more than fits in memory ({error}).") from None
    except Exception:  # from the header, which is read as Python code
        raise DataError(
            f"{name} is not a NumPy file of one array, as numpy.save writes it without pickling, or it is damaged."
        ) from None
    return as_frame(array, name=name)


# --- Write files: a `Frame`, or rows block by block, -> `SUFFIXES` ----------------------------------------------------


Write = Callable[[Frame], None]


def check_writable(path: str | Path, types: Mapping[str, Type]) -> None:
    """Check that a file can hold these columns, before any work is done.

    Args:
        path: the path of the file.
        types: the type of each column, by name.

    Raises:
        UsageError: for an unsupported suffix, a number as column name in a text file, or text or dates in a `.npy`
            file.
    """
    suffix = writable_suffix(path)
    if suffix in SEPARATORS and (numbers := [name for name in types if is_number(name)]):
        raise UsageError(f"a column named '{numbers[0]}' would be read back as a cell. Use a word as its name.")
    if suffix == ".npy" and (other := [name for name, type_ in types.items() if type_ in ("label", "date")]):
        raise UsageError(
            f"'{path}': column '{other[0]}' holds {TYPE_WORDS[types[other[0]]]}; a .npy file holds only numbers. "
            "Write a .parquet or .csv file."
        )


def write_frame(path: str | Path, frame: Frame) -> None:
    """Write a frame to a file in one step. Missing entries are empty cells; in a NumPy file they are NaN.

    Raises:
        UsageError: as in `check_writable`.
        OSError: if the folder does not exist or cannot be written.

    Example:
        >>> from motes.data import as_frame, read_frame, write_frame
        >>> write_frame("people.csv", as_frame({"age": [31, 47], "name": ["Ada", "Max"]}))
        >>> read_frame("people.csv")
        age  name
         31   Ada
         47   Max
        2 rows of 2 columns
    """
    with writing(path) as write:
        write(frame)


@contextmanager
def writing(path: str | Path) -> Iterator[Write]:
    """Return a context with a function that appends rows to a new file, which appears when the context ends.

    Text and Parquet files are written block by block, so that the rows need not fit in memory; a NumPy file is written
    at the end.

    Raises:
        UsageError: as in `check_writable`.
        OSError: if the folder does not exist or cannot be written.
    """
    path = Path(path)
    check_writable(path, {})
    suffix, parts = writable_suffix(path), list[Frame]()
    with replacing(path) as temporary, ExitStack() as files:
        append: Write = parts.append  # a NumPy file begins with the number of rows
        if suffix in SEPARATORS or suffix == ".jsonl":
            raw: Any = files.enter_context(temporary.open("wb"))
            if suffix.endswith(".gz"):  # without name and time, so that the same rows give the same bytes
                raw = files.enter_context(gzip.GzipFile("", "wb", fileobj=raw, mtime=0))
            file = files.enter_context(io.TextIOWrapper(raw, encoding="utf-8", newline=""))
            append = text_to(file, SEPARATORS[suffix]) if suffix in SEPARATORS else partial(_write_json_lines, file)
        elif suffix == ".parquet":
            append = _parquet_to(temporary, files)

        def write(frame: Frame) -> None:
            check_writable(path, {name: series.type for name, series in frame.columns.items()})
            append(frame)

        yield write
        if suffix == ".npy":
            with temporary.open("wb") as array:
                np.save(array, joined(parts, sum(map(len, parts))).like(np.empty((0, 0))))


def text_to(file: Any, separator: str = ",") -> Write:
    """Return a function that writes rows to an open text file, below one header, with numbers in full precision."""
    writer, begun = csv.writer(file, delimiter=separator, lineterminator="\n"), False

    def write(frame: Frame) -> None:
        nonlocal begun
        if not begun:
            writer.writerow(frame.names)
        begun = True
        writer.writerows(zip(*(series.cells() for series in frame.columns.values()), strict=True))

    return write


def _write_json_lines(file: Any, frame: Frame) -> None:
    for row in zip(*(series.cells() for series in frame.columns.values()), strict=True):
        line = json.dumps(dict(zip(frame.names, row, strict=True)), ensure_ascii=False, default=str)
        file.write(f"{line}\n")


def _parquet_to(path: Path, files: ExitStack) -> Write:
    """Return a function that appends rows to a file that `files` closes, in row groups of at least BLOCK rows."""
    from pyarrow import concat_tables, parquet

    opened, waiting = list[Any](), list[Any]()

    def flush() -> None:
        if waiting:
            opened[0].write_table(concat_tables(waiting))
            waiting.clear()

    def write(frame: Frame) -> None:
        waiting.append(frame.to_arrow())
        if not opened:
            opened.append(files.enter_context(parquet.ParquetWriter(path, waiting[0].schema)))
            files.callback(flush)
        if sum(map(len, waiting)) >= BLOCK:
            flush()

    return write


# --- Rows block by block, as often as requested, so that a file need not fit in memory ------------------------------


BLOCK = 65_536  # rows per block
FIRST = 1000  # rows of a Parquet file that show the types of its columns


@dataclass(frozen=True)
class Blocks:
    """The rows of a table, block by block.

    Attributes:
        rows: the number of rows.
        read: iterates over the rows from the first, BLOCK at a time.
        whole: returns all rows at once.

    Example:
        >>> from motes.data import Blocks
        >>> [len(block) for block in Blocks.of_file("penguins").read()]
        [344]
    """

    rows: int
    read: Callable[[], Iterator[Frame]]
    whole: Callable[[], Frame]

    def __repr__(self) -> str:
        return f"Blocks({self.rows:,} rows)"

    @classmethod
    def of_frame(cls, frame: Frame) -> Blocks:
        """Return the blocks of rows in memory.

        Example:
            >>> from motes.data import Blocks, as_frame
            >>> Blocks.of_frame(as_frame(people)).rows
            40
        """
        return cls(len(frame), lambda: _split([frame]), lambda: frame)

    @classmethod
    def of_file(cls, path: str | Path, text: TextOptions = TextOptions()) -> Blocks:
        """Return the blocks of a data set or a file. Parquet and large text files are read when blocks are requested.

        `text` is the format of a text file.

        Raises:
            UsageError, DataError: as in `motes.data.files.read_frame`.

        Example:
            >>> from motes.data import Blocks
            >>> Blocks.of_file("penguins").rows
            344
        """
        text.check_for(path)
        if (frame := named(path)) is not None:
            return cls.of_frame(frame)
        path = Path(path)
        suffix, whole = readable_suffix(path), partial(read_frame, path, text)
        if suffix in SEPARATORS:
            from motes.data.text import text_file, text_in_parts

            with reading(path):
                parts = text_in_parts(text_file(path), text)
            if parts is not None:
                rows, read = parts
                return cls(rows, lambda: _split(read()), whole)
        elif suffix == ".parquet" and text.sql is None:
            with parquet_file(path) as file:
                rows = file.metadata.num_rows
            if rows:
                return cls(rows, partial(_read_parquet_blocks, path), whole)
        return cls.of_frame(whole())

    @classmethod
    def of_row_group(cls, group: RowGroup) -> Blocks:
        """Return the blocks of a row group of a Parquet file.

        Raises:
            UsageError, DataError: as in `of_file`.

        Example:
            >>> import pandas as pd
            >>> from motes.data import Blocks
            >>> from motes.data.files import parts_of
            >>> pd.DataFrame({"age": range(25)}).to_parquet("people.parquet", row_group_size=10)
            >>> [Blocks.of_row_group(group).rows for group in parts_of("people.parquet")]
            [10, 10, 5]
        """
        with parquet_file(group.path) as file:
            rows = file.metadata.row_group(group.number).num_rows
        read = partial(_read_parquet_blocks, group.path, None, [group.number])
        return cls(rows, read, lambda: joined(read(), rows))

    @classmethod
    def of_files(cls, source: str | Path | Sequence[str | Path], text: TextOptions = TextOptions()) -> Blocks:
        """Return the blocks of all files of a source, in the order of `files_of`, as rows of one table.

        A column of whole numbers in some files and real numbers in others is real; a column that is entirely missing in
        a file has the type that it has in the others.

        Raises:
            UsageError: as in `files_of`.
            DataError: as in `of_file`, for an empty file, or files with other columns or types; the message names both
                files.

        Example:
            >>> from motes.data import Blocks, as_frame, write_frame
            >>> write_frame("a.csv", as_frame({"x": [1, 2]}))
            >>> write_frame("b.csv", as_frame({"x": [0.5]}))
            >>> Blocks.of_files(["a.csv", "b.csv"]).whole()["x"].tolist()
            [1.0, 2.0, 0.5]
        """
        paths = files_of(source)
        if len(paths) == 1:
            return cls.of_file(paths[0], text)
        names: tuple[str, ...] = ()
        found: dict[str, tuple[Series, Path]] = {}  # column -> an empty series of its type, and a file with this type
        rows = 0
        for path in paths:
            blocks = cls.of_file(path, text)
            if not blocks.rows:
                raise DataError(f"'{path}' has no rows; expected rows of one table in each file. Remove the file.")
            rows += blocks.rows
            is_parquet = suffix_of(path) == ".parquet" and text.sql is None
            first = next(_read_parquet_blocks(path, FIRST) if is_parquet else blocks.read())
            names = names or first.names
            if different := sorted({*first.names} ^ {*names}):
                one, other = (path, paths[0]) if different[0] in names else (paths[0], path)
                raise DataError(
                    f"'{one}' has no column '{different[0]}', and '{other}' has; expected the same in all files."
                )
            for name, series in first.columns.items():
                if not series.missing.all():
                    found[name] = _agreed(name, series, path, found.get(name))
                elif path == paths[-1]:
                    found.setdefault(name, (series.take(slice(0)), path))

        def read() -> Iterator[Frame]:
            for path in paths:  # opened again, so that small files need not stay in memory
                for block in cls.of_file(path, text).read():
                    made = {name: _converted(name, block.columns[name], path, *found[name]) for name in names}
                    yield Frame(made, text=block.text)

        return cls(rows, read, lambda: joined(read(), rows))

    def each(self, change: Callable[[Frame], Frame]) -> Blocks:
        """Return the blocks after a `change`, which must keep the order of the rows.

        Example:
            >>> from motes.data import Blocks, as_frame
            >>> ages = Blocks.of_frame(as_frame(people)).each(lambda block: block.select(["age"]))
            >>> ages.whole().names
            ('age',)
        """
        return Blocks(self.rows, lambda: map(change, self.read()), lambda: change(self.whole()))


def _split(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Split frames into blocks of at most BLOCK rows."""
    for frame in frames:
        for start in range(0, max(len(frame), 1), BLOCK):
            yield frame.take(slice(start, start + BLOCK))


def _read_parquet_blocks(path: Path, size: int | None = None, groups: list[int] | None = None) -> Iterator[Frame]:
    from pyarrow import Table

    with parquet_file(path) as file:
        for batch in file.iter_batches(size or BLOCK, groups, columns=_column_names(file)):
            yield as_frame(Table.from_batches([batch]), name=f"'{path}'")


def _agreed(name: str, series: Series, path: Path, before: tuple[Series, Path] | None) -> tuple[Series, Path]:
    """Return an empty series of the type of a column in this file and the files before, and a file with this type."""
    one = series.take(slice(0))
    if before is None:
        return one, path
    known, other = before
    if one.type == known.type:
        return replace(known, days=known.days and one.days), other
    if {one.type, known.type} == {"real", "whole"}:
        return (one, path) if one.type == "real" else before
    raise DataError(
        f"column '{name}' holds {TYPE_WORDS[one.type]} in '{path}' and {TYPE_WORDS[known.type]} in '{other}'; expected "
        "one type in all files. Convert the column in one of them."
    )


def _converted(name: str, series: Series, path: Path, known: Series, other: Path) -> Series:
    """Convert a column to the type that it has in all files."""
    if series.type != known.type and series.missing.all():
        nothing = np.full(len(series), np.nan if known.type == "real" else 0).astype(known.values.dtype)
        return replace(known, values=nothing, missing=series.missing)
    made, _ = _agreed(name, series, path, (known, other))
    return replace(series, type=made.type, values=series.values.astype(made.values.dtype), days=made.days)
