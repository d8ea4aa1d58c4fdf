"""Text of rows and columns -> frames, as a whole or block by block.

pyarrow reads it. Without it a text of numbers alone is read all the same.
"""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from motes.data.frames import Frame, Series, as_frame
from motes.data.natives import EXTRA, pyarrow_or_none
from motes.data.tables import header_of, is_number, read_numbers
from motes.errors import DataError

START = 2**20  # bytes by which the types of columns are known
PART = 2**22  # bytes that are in memory at once, where rows come part by part
NO_ROWS = "names its columns and has no rows."
Lines = Iterator[tuple[int, list[str]]]
Types = dict[str, Any]  # column -> Arrow's type


@dataclass(frozen=True)
class _Layout:
    """How a text is written: what is between two cells, the names of the columns, the lines before the first row."""

    path: Path
    separator: str
    names: tuple[str, ...]
    skip: int

    @classmethod
    def of(cls, path: Path, separator: str) -> "_Layout":
        return cls(path, separator, *names_of(path, separator))

    def parsed(self, source: Any, types: Types | None = None, *, first: bool = True, lenient: bool = False) -> Any:
        """What pyarrow makes of a part of the text, or of all of it: its first one or another.

        Args:
            source: of the part.
            types: of columns; None: they are found, and words come as a dictionary.
            first: it begins where the file does.
            lenient: leave out lines that are no rows.
        """
        from pyarrow import csv

        handler = _skip if lenient else _skip_blank
        # Without threads: after an error one is left behind, which now and then ends the process with it.
        return csv.read_csv(
            source,
            csv.ReadOptions(column_names=self.names, skip_rows=self.skip if first else 0, use_threads=False),
            csv.ParseOptions(delimiter=self.separator, newlines_in_values=True, invalid_row_handler=handler),
            csv.ConvertOptions(strings_can_be_null=True, auto_dict_encode=types is None, column_types=types),
        )


def read_text(path: Path, separator: str) -> Frame:
    """The columns of a whole text.

    Raises:
        DataError: as `motes.data.files.read_frame`.
    """
    pa = pyarrow_or_none()
    if pa is None:
        try:
            return as_frame(read_numbers(path, separator, to_learn=False))
        except DataError as error:
            raise DataError(f"{error} Without pyarrow every cell has to be a number; for all else: {EXTRA}.") from None
    layout = _Layout.of(path, separator)
    names = layout.names
    try:
        table = _whole(pa, layout)
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


def _whole(pa: Any, layout: _Layout) -> Any:
    """The text as an Arrow table, by the types of its start: pyarrow keeps all of a text whose types are open."""
    try:
        types = _types(pa, [layout.parsed(_start(layout.path), {}, lenient=True).schema])
        return layout.parsed(layout.path, types)
    except pa.ArrowInvalid:  # the start was cut within a cell, or is unlike the rest
        return layout.parsed(layout.path)


def _start(path: Path) -> io.BytesIO:
    """The first lines. (pyarrow's own reader by blocks leaves a thread behind, which can end the process with it.)"""
    with path.open("rb") as file:
        raw = file.read(START)
        return io.BytesIO(raw if not file.read(1) else raw[: raw.rfind(b"\n") + 1] or raw)


def _types(pa: Any, schemas: Sequence[Any]) -> Types | None:
    """What pyarrow would make of columns of which it made these in parts, where that is known; None where it is not.

    A column without a cell is left to it.
    """
    made: Types = {}
    text = pa.dictionary(pa.int32(), pa.string())
    wider = [(pa.int64(), pa.float64()), (pa.date32(), pa.timestamp("s")), (pa.timestamp("s"), pa.timestamp("ns"))]
    wider += [(pa.date32(), pa.timestamp("ns"))]
    for name in schemas[0].names:
        kinds = {schema.field(name).type for schema in schemas}
        kinds = {text if kind in (pa.string(), text) else kind for kind in kinds} - {pa.null()}
        for narrow, wide in wider:
            if wide in kinds:
                kinds.discard(narrow)
        if len(kinds) > 1:
            return None
        if kinds:
            made[name] = kinds.pop()
    return made


def _skip(row: Any) -> str:
    return "skip"


def _skip_blank(row: Any) -> str:
    return "error" if row.text is None or row.text.strip() else "skip"


# --- part by part ---------------------------------------------------------------------------------------------------


def text_in_parts(path: Path, separator: str) -> tuple[int, Callable[[], Iterator[Frame]]] | None:
    """How many rows a large text has, and what goes through them in parts that fit in memory.

    It has gone through them once then, to know what each column is. None where that takes the whole text: it is small,
    something is wrong with it, or the parts of a column are unlike each other.
    """
    pa = pyarrow_or_none()
    if pa is None or path.stat().st_size <= PART:
        return None
    layout = _Layout.of(path, separator)
    rows, schemas, words = 0, list[Any](), set[str]()
    try:
        for i, part in enumerate(_parts(path)):
            table = layout.parsed(part, first=i == 0)
            rows += len(table)
            schemas.append(table.schema)
            text = [field.name for field in table.schema if "string" in str(field.type)]
            series = as_frame(table.select(sorted(set(text) - words)), name=f"'{path}'").columns
            words |= {name for name, one in series.items() if one.labels and not _are_numbers(one)}
    except (pa.ArrowInvalid, DataError):
        return None
    types = _types(pa, schemas) if rows else None
    if types is None or any("binary" in str(kind) for kind in types.values()):
        return None

    def read() -> Iterator[Frame]:
        for i, part in enumerate(_parts(path)):
            series = as_frame(layout.parsed(part, types, first=i == 0), name=f"'{path}'").columns
            yield Frame({name: one if name in words else _renumbered(one) for name, one in series.items()})

    return rows, read


def _parts(path: Path) -> Iterator[io.BytesIO]:
    """The bytes of a text, cut where lines end."""
    with path.open("rb") as file:
        rest = b""
        while more := file.read(PART):
            rest += more
            end = _last_end(rest)
            if end:
                yield io.BytesIO(rest[:end])
                rest = rest[end:]
        if rest:
            yield io.BytesIO(rest)


def _last_end(raw: bytes) -> int:
    """Where the last row ends that is whole, 0 where none is: a line's end between quotes is part of a cell."""
    end = raw.rfind(b"\n") + 1
    quotes = raw.count(b'"', 0, end)
    while end and quotes % 2:
        before = raw.rfind(b"\n", 0, end - 1) + 1
        quotes -= raw.count(b'"', before, end)
        end = before
    return end


# --- lines ----------------------------------------------------------------------------------------------------------


def names_of(path: Path, separator: str) -> tuple[tuple[str, ...], int]:
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
    if not series.labels or not _are_numbers(series):
        return series
    values = np.array([float(label) for label in series.labels])[series.values]
    return Series("real", np.where(series.missing, np.nan, values), series.missing | np.isnan(values))


def _are_numbers(series: Series) -> bool:
    return all(is_number(str(label)) for label in series.labels)
