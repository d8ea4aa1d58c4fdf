"""Text files into columns: the layout of the lines, quotes and the cells."""

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from motes.data import readings
from motes.data.arrays import Series
from motes.data.frames import Frame, as_frame
from motes.errors import DataError
from motes.text_options import TextOptions

LONGEST = 2**24  # bytes of one row, beyond which the rest of a text is no longer cut into parts
START = 2**20  # bytes by which the types of columns are known
PART = 2**22  # bytes that are in memory at once, where rows come part by part
CODE = r"^\s*(0\d+|[+-]?0[xX][0-9a-fA-F]+|[+-]?\d{19,}|\+\d{8,})\s*$"  # what may be a name, and is no number then
CODE_AT_START = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:[+-]?0[xX]|0\d|[+-]?\d{19}|\+\d{8})")
Types = dict[str, Any]  # column -> Arrow's type


@dataclass(frozen=True)
class TextLayout:
    """How a text is written, the names of its columns, and the lines before the first row."""

    path: readings.TextFile
    options: TextOptions
    names: tuple[str, ...]
    skip: int

    @classmethod
    def of(cls, path: readings.TextFile, options: TextOptions) -> "TextLayout":
        return cls(path, options, *readings.header_of(path, options))

    def parsed(
        self,
        source: Any,
        types: Types,
        *,
        encode: bool = False,
        first: bool = True,
        lenient: bool = False,
    ) -> Any:
        """What pyarrow makes of a part of the text, or of all of it: its first one or another.

        Args:
            source: of the part.
            types: of columns; those of others are found.
            encode: make a dictionary of words.
            first: it begins where the file does.
            lenient: leave out lines that are no rows.
        """
        from pyarrow import csv

        handler = _skip if lenient else _skip_blank
        missing = [*csv.ConvertOptions().null_values, *self.options.na]
        # Without threads: after an error one is left behind, which now and then ends the process with it.
        return csv.read_csv(
            source,
            csv.ReadOptions(column_names=self.names, skip_rows=self.skip if first else 0, use_threads=False),
            csv.ParseOptions(
                delimiter=self.options.separator(str(self.path)), newlines_in_values=True, invalid_row_handler=handler
            ),
            csv.ConvertOptions(
                strings_can_be_null=True,
                auto_dict_encode=encode,
                column_types=types,
                null_values=missing,
                decimal_point=self.options.decimal or ".",
            ),
        )

    def parts(self) -> Iterator[tuple[bytes, bool]]:
        """The bytes of the text, cut where lines end, and whether they are its first ones."""
        with readings.open_text(self.path, self.options) as file:
            rest, first = b"", True
            while more := file.read(PART):
                rest += more
                if end := last_end(rest):
                    yield rest[:end], first
                    rest, first = rest[end:], False
                elif len(rest) > LONGEST:  # an odd quote, such as that of 5" pipes: to look again would be quadratic
                    rest += file.read()
            if rest:
                yield rest, first

    def codes(self) -> set[str]:
        """The columns in which digits are a name, such as 01234, of which a number would lose some."""
        import pyarrow as pa
        from pyarrow import compute

        found: set[str] = set()
        may_hold = _may_hold_codes(self.options.separator(str(self.path)))
        raw = dict.fromkeys(self.names, pa.binary())  # which may be no UTF-8
        for part, first in self.parts():
            if may_hold(part):
                table = self.parsed(io.BytesIO(part), raw, first=first, lenient=True)
                for name in set(self.names) - found:
                    like = compute.match_substring_regex(table[name], CODE)
                    if any(readings.is_code(entry.decode()) for entry in table[name].filter(like).unique().to_pylist()):
                        found.add(name)
        return found


def _may_hold_codes(separator: str) -> Callable[[bytes], bool]:
    """Looks for what may be a code in raw text: nearly always there is none, and nothing has to be parsed for it."""
    starts = (separator, f"{separator} ", "\n", '"')
    # One pattern for each start: a literal is found about ten times faster than one of several letters.
    found = [
        re.compile(re.escape(start.encode()) + rb"(?:[+-]?0[xX]|0\d|[+-]?\d{19}|\+\d{8})").search for start in starts
    ]
    return lambda part: any(search(part) for search in found) or CODE_AT_START.match(part) is not None


def is_small(path: Path) -> bool:
    """Whether a text is no larger than one part."""
    return path.stat().st_size <= PART


def start_of(file: Any) -> io.BytesIO:
    """The first lines. (pyarrow's own reader by blocks leaves a thread behind, which can end the process with it.)"""
    raw = file.read(START)
    return io.BytesIO(raw if not file.read(1) else raw[: raw.rfind(b"\n") + 1] or raw)


def last_end(raw: bytes) -> int:
    """Where the last row ends that is whole, 0 where none is: a line's end between quotes is part of a cell."""
    end = raw.rfind(b"\n") + 1
    quotes = raw.count(b'"', 0, end)
    while end and quotes % 2:
        before = raw.rfind(b"\n", 0, end - 1) + 1
        quotes -= raw.count(b'"', before, end)
        end = before
    return end


def _skip(row: Any) -> str:
    return "skip"


def _skip_blank(row: Any) -> str:
    return "error" if row.text is None or row.text.strip() else "skip"


# --- Quotes that open in a text file of rows and columns, and swallow the rows behind them until one closes ---------


CELL = re.compile(rb'[^"]*+(?:""[^"]*+)*+"')  # what follows an opening quote, up to the closing one
TAIL = 2**16  # bytes at the end of a file, in which its last line is looked for


class LongCells:
    """The cells that go over several lines, found in one part of a text after another."""

    def __init__(self, layout: TextLayout):
        self.layout = layout
        self._rows = 0
        self._found: dict[str, tuple[int, int, int]] = {}  # column -> cells, lines of the longest, and its row
        self._at_end = False

    def add(self, table: Any) -> None:
        """Look at the rows of the next part, an Arrow table."""
        from pyarrow import compute, types

        self._at_end = False
        for name in table.column_names:
            column = table[name]
            if types.is_dictionary(column.type):
                hold = [compute.match_substring(chunk.dictionary, "\n") for chunk in column.chunks]
                if not any(compute.any(one).as_py() for one in hold):
                    continue
                column = column.cast(column.type.value_type)
            if not types.is_string(column.type):
                continue
            breaks = compute.count_substring(column, "\n")
            if cells := compute.sum(compute.greater(breaks, 0)).as_py():
                most = compute.max(breaks).as_py()
                before, longest, row = self._found.get(name, (0, 0, 0))
                if most + 1 > longest:
                    longest, row = most + 1, self._rows + compute.index(breaks, most).as_py() + 1
                self._found[name] = before + cells, longest, row
                self._at_end |= bool(breaks[-1].as_py())
        self._rows += len(table)

    def say(self) -> None:
        """Warn of cells of several lines, and refuse a quote that is still open at the end of the file.

        Raises:
            DataError: it names the line and the row in which the quote opens.
        """
        layout = self.layout
        text = _all_of(layout) if self._at_end else _last_line(layout)  # the last cell may be all that follows a quote
        opened = _open_quote(text, layout.options.separator(str(layout.path)))
        if opened is not None:
            line, lines = text.count(b"\n", 0, opened) + 1, text.count(b"\n", opened, len(text.rstrip())) + 1
            where = f"row {self._rows:,} of '{layout.path}'" + (f" (line {line:,})" if self._at_end else "")
            swallows = f": the {lines - 1:,} lines after it would be part of that cell" if lines > 1 else ""
            raise DataError(
                f"{where}: a quote opens in the last column, '{layout.names[-1]}', and nothing closes it before the "
                f'end of the file{swallows}. Remove the quote, or write the cell in quotes with "" for a quote in it.'
            )
        for name, (cells, longest, row) in self._found.items():
            some = "1 cell goes" if cells == 1 else f"{cells:,} cells go"
            readings.say(
                f"'{layout.path}', column '{name}': {some} over several lines; the longest has {longest:,}, in row "
                f"{row:,}. If it should not, a quote is missing or too many there, and rows are part of the cell."
            )


def _open_quote(text: bytes, separator: str) -> int | None:
    """Where in a text a cell begins with a quote that nothing closes; None: nowhere."""
    opening = re.compile(rb'(?:\A(?:\xef\xbb\xbf)?|[\r\n%b])"' % re.escape(separator.encode()))
    at = 0
    while (opened := opening.search(text, at)) is not None:
        if (closed := CELL.match(text, opened.end())) is None:
            return opened.end()
        at = closed.end()
    return None


def _all_of(layout: TextLayout) -> bytes:
    with readings.open_text(layout.path, layout.options) as file:
        whole: bytes = file.read()
    return whole


def _last_line(layout: TextLayout) -> bytes:
    with readings.open_text(layout.path, layout.options) as file:
        if layout.options.encoding is None:
            size = file.seek(0, 2)
            file.seek(max(size - TAIL, 0))
        end: bytes = file.read().rstrip(b"\r\n")
    return end.rpartition(b"\n")[2]


# --- Text of rows and columns -> frames, as a whole or block by block -----------------------------------------------
#
# pyarrow reads it.


NO_ROWS = "names its columns and has no rows."
# Column of text -> the ways of writing numbers or dates with which it agrees.
Ways = Mapping[str, frozenset[readings.Way]]


def read_text(path: readings.TextFile, options: TextOptions) -> Frame:
    """The columns of a whole text, in a file or in memory.

    Raises:
        DataError: as `motes.data.files.read_frame`.
    """
    import pyarrow as pa

    layout = TextLayout.of(path, options)
    names = layout.names
    try:
        table, codes = _whole(pa, layout)
    except UnicodeError as error:
        raise readings.not_encoded(path, options, error) from None
    except pa.ArrowInvalid as error:
        _find(path, options, lambda line, cells: _ragged(layout, line, cells))
        if "skip initial" in str(error):  # the header, and not so much as a line's end after it
            raise DataError(f"'{path}' {NO_ROWS}") from None
        raise DataError(f"'{path}' is not a text of rows and columns: {str(error).rstrip('.')}.") from None
    if not len(table):
        raise DataError(f"'{path}' {NO_ROWS}")
    if any("binary" in str(kind) for kind in table.schema.types):  # what pyarrow makes of bytes that are no text
        _find(path, options, lambda line, cells: _not_utf8(layout, line, cells))
    quoted = LongCells(layout)
    quoted.add(table)
    quoted.say()
    made: dict[str, Series] = {}
    ways: dict[str, frozenset[readings.Way]] = {}
    ambiguous: dict[str, str] = {}
    left, types_read = dict(zip(names, table.columns, strict=True)), dict(zip(names, table.schema.types, strict=True))
    del table
    for name in names:  # one at a time, so that what Arrow holds of it can go
        made[name] = as_frame(pa.table({name: left.pop(name)}), name=f"'{path}'").columns[name]
        if texts := _texts(made[name], options):
            ways[name] = _ways(made[name], texts, options)
            _add_ambiguous(ambiguous, name, texts, ways[name], options)
    _say_zones(layout, types_read)
    types = {name: one.type for name, one in made.items()}
    found = _say_ways(layout, ways, codes, types, ambiguous)
    read = {name: _read(one, found.get(name)) for name, one in made.items()}
    return Frame(read, text=_found(options, found, types))


def _whole(pa: Any, layout: TextLayout) -> tuple[Any, set[str]]:
    """The text as an Arrow table, and its columns of codes.

    Its types are those of its start: pyarrow keeps all of a text whose types are open.
    """
    text = pa.dictionary(pa.int32(), pa.string())
    codes = layout.codes()
    labels = dict.fromkeys(codes, text)
    with readings.open_text(layout.path, layout.options) as file:
        try:
            types = _types(pa, [layout.parsed(start_of(file), {}, lenient=True).schema])
            file.seek(0)
            return layout.parsed(file, (types or {}) | labels), codes
        except pa.ArrowInvalid:  # the start was cut within a cell, or is unlike the rest
            file.seek(0)
            return layout.parsed(file, labels, encode=True), codes


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


def _type_of(pa: Any, kind: Any) -> str:
    """The type of a series that an Arrow type becomes, of those that matter here."""
    return "real" if pa.types.is_floating(kind) else "date" if pa.types.is_temporal(kind) else ""


# --- part by part ---------------------------------------------------------------------------------------------------


def text_in_parts(path: Path, options: TextOptions) -> tuple[int, Callable[[], Iterator[Frame]]] | None:
    """How many rows a large text has, and what goes through them in parts that fit in memory.

    It has gone through them once then, to know what each column is. None where that takes the whole text: it is small,
    something is wrong with it, or the parts of a column are unlike each other.
    """
    import pyarrow as pa

    if is_small(path):
        return None
    layout = TextLayout.of(path, options)
    rows, schemas, quoted = 0, list[Any](), LongCells(layout)
    ways, ambiguous = dict[str, frozenset[readings.Way]](), dict[str, str]()
    try:
        codes = layout.codes()
        labels = dict.fromkeys(codes, pa.string())
        for part, first in layout.parts():
            table = layout.parsed(io.BytesIO(part), labels, first=first)
            rows += len(table)
            schemas.append(table.schema)
            quoted.add(table)
            open_ = [name for name in layout.names if ways.get(name) != frozenset()]
            for name, one in as_frame(table.select(open_), name=f"'{path}'").columns.items():
                if texts := _texts(one, options):
                    agreed = _ways(one, texts, options)
                    ways[name] = ways.get(name, agreed) & agreed
                    _add_ambiguous(ambiguous, name, texts, ways[name], options)
    except (pa.ArrowInvalid, DataError, UnicodeError):
        return None
    types = _types(pa, schemas) if rows else None
    if types is None or any("binary" in str(kind) for kind in types.values()):
        return None
    quoted.say()
    _say_zones(layout, types)
    types_here = {name: _type_of(pa, kind) for name, kind in types.items()}
    found = _say_ways(layout, ways, codes, types_here, ambiguous)

    def read() -> Iterator[Frame]:
        for part, first in layout.parts():
            series = as_frame(layout.parsed(io.BytesIO(part), types, first=first), name=f"'{path}'").columns
            yield Frame({name: _read(one, found.get(name)) for name, one in series.items()})

    return rows, read


# --- what texts say ------------------------------------------------------------------------------------------------


def _add_ambiguous(
    ambiguous: dict[str, str], name: str, texts: Sequence[str], ways: frozenset[readings.Way], options: TextOptions
) -> None:
    """Keep a text of a column that two of the stated date formats read as different dates."""
    dates = name not in ambiguous and any(isinstance(way, readings.AnyDates) for way in ways)
    if dates and (words := readings.two_readings(texts, options.date_format)) is not None:
        ambiguous[name] = words


def _say_ways(
    layout: TextLayout, ways: Ways, codes: set[str], types: Mapping[str, str], ambiguous: Mapping[str, str]
) -> dict[str, readings.Way]:
    """How each column is read that is read otherwise than it is written, after saying so.

    Args:
        layout: of the file.
        ways: those with which each column of text agrees.
        codes: columns in which digits are a name.
        types: of the other columns, as they are written.
        ambiguous: column -> a text of it that two date formats fit, in words.
    """
    options, where = layout.options, f"'{layout.path}'"
    found = {name: way for name, all_ in ways.items() if (way := readings.chosen(all_, options)) is not None}
    for name in layout.names:
        way = found.get(name)
        if isinstance(way, readings.AnyDates | readings.NumberFormat):
            readings.say_read(layout.path, name, way, options)
            if isinstance(way, readings.AnyDates) and name in ambiguous:
                readings.say(
                    f"{where}, column '{name}': entries {ambiguous[name]}, which make different dates of them. "
                    "The first --date-format counts."
                )
        elif name in codes and way is None:
            readings.say(
                f"{where}, column '{name}': read as labels: 0, 0x or + in front, or more than 64 bits: a name."
            )
        elif way is None and readings.chosen(ways.get(name, ()), replace(options, decimal=None)) is not None:
            other = "," if options.decimal == "." else "."
            readings.say(
                f"{where}, column '{name}': no numbers with the decimal sign '{options.decimal}'. Say --decimal {other}"
            )
    plain = [name for name, type_ in types.items() if type_ == "real"]
    commas = [name for name, way in found.items() if isinstance(way, readings.NumberFormat) and way.decimal == ","]
    if commas and plain and options.decimal is None:
        readings.say(
            f"{where}: column '{commas[0]}' is read with the decimal sign ',' and column '{plain[0]}' with '.'. If one "
            "is wrong, say --decimal , or --decimal ."
        )
    dates = any(isinstance(way, readings.AnyDates) for way in found.values()) or "date" in types.values()
    if options.date_format and not dates:
        readings.say(f"{where}: no column agrees with the date format {' or '.join(options.date_format)}.")
    return found


def _say_zones(layout: TextLayout, types: Types) -> None:
    """Say of which columns the times have a time zone, which is not given back."""
    for name, kind in types.items():
        if getattr(kind, "tz", None) is not None:
            readings.say(
                f"'{layout.path}', column '{name}': times with a time zone are read in UTC, and given back in UTC."
            )


def _found(options: TextOptions, found: Mapping[str, readings.Way], types: Mapping[str, str]) -> TextOptions:
    """The options by which later rows, which may be few, are read as these were."""
    forms = (
        *options.date_format,
        *(form for way in found.values() if isinstance(way, readings.AnyDates) for form in way.forms),
    )
    signs = {way.decimal for way in found.values() if isinstance(way, readings.NumberFormat) and way.decimal}
    certain = len(signs) == 1 and ("real" not in types.values() or signs == {"."})
    decimal = options.decimal or (signs.pop() if certain else None)
    return replace(options, decimal=decimal, date_format=tuple(dict.fromkeys(forms)))


def _texts(series: Series, options: TextOptions) -> list[str]:
    """The distinct entries of a column that may be written in a way of its own; of whole numbers only a date may be."""
    if series.type == "whole" and options.date_format:
        return [str(value) for value in np.unique(series.known)]
    return [str(label) for label in series.labels]


def _ways(series: Series, texts: Sequence[str], options: TextOptions) -> frozenset[readings.Way]:
    """Those with which these texts of a column agree."""
    ways = readings.ways_of(texts, options)
    return ways if series.type == "label" else frozenset(way for way in ways if isinstance(way, readings.AnyDates))


def _read(series: Series, way: readings.Way | None) -> Series:
    """A column in the way in which it is written; None: as it is."""
    if way is None:
        return series
    texts, codes = list(map(str, series.labels)), series.values
    if series.type == "whole":
        distinct, codes = np.unique(series.values, return_inverse=True)
        texts = list(map(str, distinct))
    # What stands where an entry is missing need not be in this way.
    values = [0 if (value := way.value(text)) is None else value for text in texts] or [0]
    made = np.array(values, np.float64 if way.type == "real" else np.int64)[codes]
    gone = series.missing | np.isnan(made)
    if way.type == "real":
        return Series("real", np.where(gone, np.nan, made), gone)
    return Series(way.type, np.where(gone, 0, made), gone, days=isinstance(way, readings.AnyDates) and way.days)


# --- what is wrong --------------------------------------------------------------------------------------------------


def _find(path: readings.TextFile, options: TextOptions, complaint: Callable[[int, list[str]], str | None]) -> None:
    """Go through a file again, by lines, for the first one of which there is something to say."""
    for line, cells in readings.lines_of(path, options):
        if message := complaint(line, cells):
            raise DataError(message)


def _ragged(layout: TextLayout, line: int, cells: list[str]) -> str | None:
    if line <= layout.skip or len(cells) == len(layout.names):
        return None
    got = f"{len(cells)} cell{'s' * (len(cells) != 1)}; expected {len(layout.names)}."
    if len(layout.names) == 1 and layout.skip == 1:
        got += f" Line 1 has 1, '{layout.names[0]}'; if it is a title, remove all lines above the names of the columns."
    if not (breaks := sum(cell.count("\n") for cell in cells)):
        return f"line {line} of '{layout.path}' has {got}"
    return (
        f"the row that ends in line {line} of '{layout.path}' has {got} It goes over {breaks + 1:,} lines, for a quote "
        "opens in it that is closed late or never. Remove that quote, or close it."
    )


def _not_utf8(layout: TextLayout, line: int, cells: list[str]) -> str | None:
    for name, cell in zip(layout.names, cells, strict=False):
        if message := readings.not_utf8([cell]):
            return f"line {line} of '{layout.path}', column '{name}': {message}"
    return None
