"""Text files of rows and columns. pyarrow parses the cells as text and then converts the columns.

A column has the first type that all of its entries have: whole numbers, true or false, days, times, numbers, or one of
the formats of `motes.data.readings`. Otherwise, its entries are labels.
"""

import codecs
import csv
import gzip
import io
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from pyarrow import compute
from pyarrow import csv as arrow_csv

from motes.data.arrays import Series, unsuitable, warn
from motes.data.frames import Frame, unique_names
from motes.data.natives import of_arrow
from motes.data.readings import Dates, NumberFormat, Way, chosen, default_columns, is_code, is_number, ways_of
from motes.errors import DataError, UsageError
from motes.text_options import STDIN, TextOptions, suffix_of

PART = 2**22  # bytes that are parsed at once
LONGEST = 2**24  # maximum bytes of one row; beyond it, the rest of the text is parsed in one part
LOOKED_AT = 4096  # bytes that are checked to detect files that are not text
SHOWN = 20  # bytes to show of a cell that is not text
END = "\3"  # the cells of a row that is appended to each part: an open quote would include it in a cell
CODE = (
    r"^(0\d+|\d{2,}[eE]\d+|[+-]?0[xX][0-9a-fA-F]+|[+-]?\d{19,}|\+\d{8,})$"  # candidates for codes that are not numbers
)
CLOCK = r"^\d\d?:\d\d(:\d\d)?$"
MARKS = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16", b"PK\x03\x04": "a zip archive, such as .xlsx",
    b"\x1f\x8b": "a gzip file"}  # fmt: skip
TYPES = [  # the Arrow types of text, the simplest first
    pa.int64(), pa.bool_(), pa.date32(), *(pa.timestamp(unit, zone) for zone in (None, "UTC") for unit in ("us", "ns")),
    pa.float64(),
]  # fmt: skip
Say = Callable[[str], None]


class TextInMemory(NamedTuple):
    """A text in memory, with its name in messages, that can be opened like a file."""

    name: str
    content: bytes

    def __str__(self) -> str:
        return self.name

    def open(self, mode: str) -> Any:
        """Open the bytes for reading."""
        return io.BytesIO(self.content)


class ZippedText(NamedTuple):
    """A text in a gzip file, that can be opened like a file."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def open(self, mode: str) -> Any:
        """Open the unpacked bytes for reading."""
        return gzip.open(self.path, mode)


TextFile = Path | TextInMemory | ZippedText


def text_file(path: Path) -> TextFile:
    """Return a text to open: a file, unpacked if its name ends in .gz, or standard input, which is read whole.

    Raises:
        UsageError: if standard input is a terminal or closed.
    """
    if suffix_of(path) == STDIN:
        return TextInMemory(STDIN, _read_whole(sys.stdin))
    return ZippedText(path) if suffix_of(path).endswith(".gz") else path


@lru_cache(1)  # it can be read once, and the rows are needed again
def _read_whole(stream: Any) -> bytes:
    if stream is None or stream.isatty():
        raise UsageError(
            "there is no text in standard input; expected rows as CSV. Use '-' as in: cat rows.csv | ... -"
        )
    return bytes(stream.buffer.read())


class Text:
    """A text of rows and columns.

    Attributes:
        path, options: the file and its format.
        say: the function that shows warnings.
        names: the names of the columns.
        skip: the number of lines before the first row.

    Raises:
        DataError: for a duplicate name, another separator, or an empty file.
    """

    def __init__(self, path: TextFile, options: TextOptions, say: Say = warn):
        self.path, self.options, self.say = path, options, say
        self.separator = options.separator(str(path))
        self.names, self.skip = self._read_names()

    def _read_names(self) -> tuple[tuple[str, ...], int]:
        """Read the names of the columns from the first line that is neither blank nor a comment.

        If this line contains a number, it is a row, and the names are x, y or x0, x1, ... Lines at the start that begin
        with "#" are comments, but the last of them names the columns if the next line is a row with as many entries.
        """
        holds_number = lambda entry: is_number(entry.replace(self.options.decimal or ".", "."))
        comments: list[tuple[int, list[str]]] = []
        for line, entries in self._read_lines():
            if entries[0].lstrip().startswith("#"):
                comments.append((line, entries))
                continue
            if comments and len(comments[-1][1]) == len(entries) > 1 and any(map(holds_number, entries)):
                line, entries = comments.pop()
                stated = ", ".join(map(str.strip, entries))
                self.say(f"'{self.path}': the comment in line {line} names the columns: {stated}.")
            break
        else:
            if not comments:
                raise DataError(f"'{self.path}' is empty; expected rows and columns.")
            line, entries = comments.pop()
        if comments:
            first = comments[0][0]
            self.say(f"'{self.path}': skipped {len(comments)} lines of comments before the columns, from line {first}.")
        if message := _check_entries_utf8(entries):
            raise DataError(f"line {line} of '{self.path}', the names of its columns: {message}")
        for other in {",", ";", "\t", "|"} - {self.separator}:
            if len(entries) == 1 and other in entries[0]:
                shown = other.replace("\t", "\\t")
                raise DataError(
                    f"'{self.path}' has one column, {entries[0][:SHOWN]!r}, which contains '{shown}'; expected "
                    f"{self.separator!r} between entries. If '{shown}' is the separator, use --sep '{shown}'."
                )
        if numbers := [entry for entry in entries if holds_number(entry)]:
            columns = default_columns(len(entries))
            if len(numbers) < len(entries):
                number = numbers[0].strip()
                self.say(
                    f"'{self.path}': line {line} contains the number {number}, so it is read as a row, and the columns "
                    f"are called {columns[0]} to {columns[-1]}. If it names the columns, use words, such as n{number}."
                )
            return columns, line - 1
        names = [entry.strip() or f"column {j}" for j, entry in enumerate(entries, start=1)]
        if unnamed := [name for entry, name in zip(entries, names, strict=True) if not entry.strip()]:
            self.say(f"'{self.path}': {unnamed[0]} has no name and is called '{unnamed[0]}'.")
        return unique_names(names, f"'{self.path}'"), line

    def _read_lines(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the number and the entries of each line that is not blank; bytes that are not UTF-8 become surrogates.

        Raises:
            DataError: if the file is not text, or a line cannot be split into entries.
        """
        encoding = self.options.encoding
        if encoding is None:
            _check_utf8(self.path)
        errors = "surrogateescape" if encoding is None else "strict"
        with self.path.open("rb") as raw, io.TextIOWrapper(raw, encoding or "utf-8-sig", errors, newline="") as file:
            reader, before = csv.reader(file, delimiter=self.separator), 0
            try:
                for entries in reader:
                    before = reader.line_num
                    if "".join(entries).strip() or len(entries) > 1:
                        yield before, entries
            except csv.Error as error:
                if "field limit" not in str(error) or reader.line_num <= before + 1:
                    raise DataError(
                        f"line {reader.line_num} of '{self.path}' is not a row of cells: {error}."
                    ) from None
                raise DataError(
                    f"line {before + 1} of '{self.path}' has a cell with more than {csv.field_size_limit():,} "
                    f"characters, over at least {reader.line_num - before:,} lines: a quote opens there and is closed "
                    "late or never. Remove or close it."
                ) from None
            except UnicodeError as error:
                raise self._encoding_error(error) from None

    def _encoding_error(self, error: Exception) -> DataError:
        return DataError(f"'{self.path}' is not text in {self.options.encoding} ({error}). Pass another --encoding.")

    def tables(self) -> Iterator[Any]:
        """Yield the rows as Arrow tables of text, part by part.

        Raises:
            DataError: for a row of another length, bytes that are not text, or an unclosed quote; the message names the
                line.
        """
        rows, parts = 0, self._read_parts()
        try:
            for part, line in parts:
                try:
                    table = self._parse(part, line, rows)
                except (pa.ArrowInvalid, DataError):  # cut within a cell, because of quotes as in 5" pipes
                    table = self._parse(b"".join((part, *(more for more, _ in parts))), line, rows)
                rows += len(table)
                yield table
        except UnicodeError as error:
            raise self._encoding_error(error) from None
        except pa.ArrowInvalid as error:
            for line, cells in self._read_lines():
                if message := self._check_line(line, cells):
                    raise DataError(message) from None
            raise DataError(f"'{self.path}' does not contain rows and columns: {str(error).rstrip('.')}.") from None
        if not rows:
            breaks = sum(name.count("\n") for name in self.names)
            quote = f" The names span {breaks + 1:,} lines: a quote opens in them and is closed late or never."
            raise DataError(f"'{self.path}' has no rows, only column names." + (quote if breaks else ""))

    def _read_parts(self) -> Iterator[tuple[bytes, int]]:
        """Yield the text in UTF-8, in parts that end at the end of a row, with the number of lines before each."""
        with self.path.open("rb") as raw:
            encoding = self.options.encoding
            file = raw if encoding is None else codecs.EncodedFile(raw, "utf-8", encoding)
            rest, line = b"", 0
            while more := file.read(PART):
                rest += more
                if end := _find_last_row_end(rest):
                    yield rest[:end], line
                    line += rest.count(b"\n", 0, end)
                    rest = rest[end:]
                elif len(rest) > LONGEST:  # an odd quote, as in 5" pipes: searching again would take quadratic time
                    rest += file.read()
            if rest:
                yield rest, line

    def _parse(self, part: bytes, line: int, rows: int) -> Any:
        """Parse a part to an Arrow table; `line` lines and `rows` rows precede it."""
        skip_blank = lambda row: "error" if row.text is None or row.text.strip() else "skip"
        names = self.names
        end = self.separator.join([END] * len(names))
        # Without threads: after an error, a remaining thread occasionally crashes the process.
        table = arrow_csv.read_csv(
            io.BytesIO(b"%b\n%b" % (part, end.encode())),
            arrow_csv.ReadOptions(column_names=names, skip_rows=0 if line else self.skip, use_threads=False),
            arrow_csv.ParseOptions(delimiter=self.separator, newlines_in_values=True, invalid_row_handler=skip_blank),
            arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                strings_can_be_null=True,
                null_values=[*arrow_csv.ConvertOptions().null_values, *self.options.na],
            ),
        )
        cell = table.columns[-1][-1].as_py() if len(table) else ""
        if cell == END:
            return table.slice(0, len(table) - 1)
        lines = (cell or "").partition(END)[0].rstrip().count("\n")
        opens = line + part.rstrip().count(b"\n") + 1 - lines
        raise DataError(
            f"row {rows + len(table):,} of '{self.path}' (line {opens:,}): a quote opens in the last column, "
            f"'{names[-1]}', and is not closed before the end of the file. Remove the quote, or write the "
            'cell in quotes with "" for each quote in it.'
        )

    def _check_line(self, line: int, cells: list[str]) -> str | None:
        """Return the message for an invalid line; None if the line is valid."""
        names = self.names
        if line <= self.skip:
            return None
        if len(cells) == len(names):
            name = next((name for name, cell in zip(names, cells, strict=True) if _check_entries_utf8([cell])), None)
            return name and f"line {line} of '{self.path}', column '{name}': {_check_entries_utf8(cells)}"
        got = f"{len(cells)} cell{'s' * (len(cells) != 1)}; expected {len(names)}."
        if len(names) == 1 and self.skip == 1:
            got += f" Line 1 has 1, '{names[0]}'; if it is a title, remove all lines above the column names."
        if not (breaks := sum(cell.count("\n") for cell in cells)):
            return f"line {line} of '{self.path}' has {got}"
        return (
            f"the row that ends in line {line} of '{self.path}' has {got} It spans {breaks + 1:,} lines, because a "
            "quote opens in it and is closed late or never. Remove or close it."
        )


def _check_utf8(path: TextFile) -> None:
    """Refuse a file whose start shows that it is not text or has another encoding.

    Raises:
        DataError: for such a file; the message says what it is.
    """
    with path.open("rb") as file:
        start = file.read(LOOKED_AT)
    for mark, what in MARKS.items():
        if start.startswith(mark):
            cures = {
                "UTF-16": "Read it with --encoding utf-16, or save it as UTF-8",
                "a gzip file": "Let its name end in .gz",
            }
            cure = cures.get(what, "Let its name end in .xlsx, or export it as .csv")
            raise DataError(f"got '{path}', which is {what}; expected text in UTF-8. {cure}.")
    if b"\0" in start:
        raise DataError(
            f"'{path}' contains a null byte at position {start.index(0) + 1}; expected text in UTF-8. If it is text in "
            "another encoding, pass the encoding, such as --encoding utf-16."
        )


def _check_entries_utf8(entries: Sequence[str]) -> str | None:
    """Return the message for entries that are not all UTF-8; None if they are."""
    for entry in entries:
        if any("\udc80" <= letter <= "\udcff" for letter in entry):
            got = entry.encode("utf-8", "surrogateescape")
            more = "..." if len(got) > SHOWN else ""
            return (
                f"got {got[:SHOWN]!r}{more}; expected UTF-8 text. Save the file as UTF-8, or pass its encoding, such "
                "as --encoding latin-1."
            )
    return None


def _find_last_row_end(raw: bytes) -> int:
    """Return the end of the last complete row, or 0; a line break between quotes does not end a row."""
    end = raw.rfind(b"\n") + 1
    quotes = raw.count(b'"', 0, end)
    while end and quotes % 2:
        before = raw.rfind(b"\n", 0, end - 1) + 1
        quotes -= raw.count(b'"', before, end)
        end = before
    return end


# --- columns ----------------------------------------------------------------------------------------------------------


class TextColumn:
    """The type of a column of text, inferred from the entries so far.

    Attributes:
        types: the Arrow types that all entries have, the simplest first; None if all entries are missing.
        ways: the formats of `readings` that all entries have, if they have no Arrow type.
        is_code: whether some entries are codes rather than numbers.
        is_clock: whether all entries are times of day.
        is_mixed: whether later entries ruled out the last type, so that earlier entries must be read again.
        breaks: the number of cells with line breaks, the lines of the longest, and its row.
    """

    def __init__(self, name: str, text: Text, *, in_parts: bool):
        self.name, self.text, self._in_parts = name, text, in_parts
        self.types: list[Any] | None = None
        self.ways: frozenset[Way] | None = None
        self.is_code, self.is_clock, self.is_mixed = False, True, False
        self.breaks, self._rows = (0, 0, 0), 0

    def look(self, entries: Any) -> Any:
        """Update the type with the next entries, Arrow text, and return them in the first type; None if they have none.

        Without later rows, the first type is enough.
        """
        options, before = self.text.options, self._rows
        self._rows += len(entries)
        if entries.null_count == len(entries):
            return None
        plain = compute.utf8_trim_whitespace(entries)
        made = ((kind, self._cast(plain, kind)) for kind in (TYPES if self.types is None else self.types))
        left = dict(islice((pair for pair in made if pair[1] is not None), None if self._in_parts else 1))
        codes = filter(is_code, plain.filter(compute.match_substring_regex(plain, CODE)).unique().to_pylist())
        code = next(codes, None)
        self.is_code = self.is_code or code is not None
        left = {} if self.is_code else left
        # Codes can only have the format of a date.
        self.is_mixed = bool(self.types) and not left and (not self.is_code or bool(options.date_format))
        self.types = [*left]
        if left and not (options.date_format and self.types[0] == pa.int64()):
            return left[self.types[0]]
        self.is_clock &= compute.all(compute.match_substring_regex(plain, CLOCK)).as_py()
        if self.ways != frozenset():
            texts = entries.drop_null().unique().to_pylist()
            # A code rules out all formats of numbers, so the other texts need not be parsed.
            agreed = ways_of(texts if code is None else [code, *texts], options)
            self.ways = agreed if self.ways is None else self.ways & agreed
        lines = compute.count_substring(entries, "\n")
        if most := compute.max(lines).as_py():
            cells, longest, row = self.breaks
            if most + 1 > longest:
                longest, row = most + 1, before + compute.index(lines, most).as_py() + 1
            self.breaks = cells + compute.sum(compute.greater(lines, 0)).as_py(), longest, row
        return next(iter(left.values()), None)

    def _cast(self, plain: Any, kind: Any) -> Any:
        """Convert entries to a type; None if some have another type."""
        if kind == pa.float64() and self.text.options.decimal == ",":
            if compute.any(compute.match_substring(plain, ".")).as_py():
                return None
            plain = compute.replace_substring(plain, ",", ".")
        if kind == pa.bool_() and compute.any(compute.match_substring_regex(plain, r"^[01]$")).as_py():
            return None  # Arrow reads them as true and false, too
        try:
            return plain.cast(kind)
        except pa.ArrowInvalid:
            return None

    @cached_property
    def way(self) -> Way | None:
        """The format of entries that have no Arrow type, or that are dates in a given format."""
        ways = self.ways or ()
        return chosen([way for way in ways if isinstance(way, Dates)] if self.types else ways, self.text.options)

    @property
    def type(self) -> str:
        """The name of the type: of the format, or Arrow's; "" for labels."""
        return self.way.type if self.way is not None else str(self.types[0]) if self.types else ""

    def read(self, entries: Any, made: Any = None) -> Series:
        """Convert entries to the type of the column; `made` is the result of `look` for these entries."""
        where = f"'{self.text.path}'"
        if self.types is None:
            entries = pa.nulls(len(entries))
        elif self.types and self.way is None:
            entries = self._cast(compute.utf8_trim_whitespace(entries), self.types[0]) if made is None else made
        elif self.is_clock and self.way is None:
            nothing = np.zeros(len(entries), np.int64)
            return Series("other", nothing, nothing > 0, (str(unsuitable(self.name, where, "Time")),))
        series = of_arrow(entries, self.name, where)
        return series if self.way is None else _convert_labels(series, self.way)


def _convert_labels(labels: Series, way: Way) -> Series:
    """Convert labels with their format."""
    # Texts that mean "missing" need not have this format.
    values = [0 if (value := way.value(str(label))) is None else value for label in labels.labels] or [0]
    made = np.array(values, np.float64 if way.type == "real" else np.int64)[labels.values]
    gone = labels.missing | np.isnan(made)
    if way.type == "real":
        return Series("real", np.where(gone, np.nan, made), gone)
    return Series(way.type, np.where(gone, 0, made), gone, days=isinstance(way, Dates) and way.days)


def read_text(path: TextFile, options: TextOptions, say: Say = warn) -> Frame:
    """Read a whole text, in a file or in memory.

    Raises:
        DataError: as in `motes.data.files.read_frame`.
    """

    text = Text(path, options, say)
    table = pa.concat_tables(text.tables())
    entries = dict(zip(text.names, table.columns, strict=True))
    del table
    found, made = {name: TextColumn(name, text, in_parts=False) for name in entries}, {}
    for name, column in found.items():  # one at a time, so that the memory of its text is freed
        typed = column.look(entries[name])
        made[name] = column.read(entries.pop(name), typed)
    _warn_conversions(text, found)
    return Frame(made, text=_detected_options(options, found))


def text_in_parts(path: TextFile, options: TextOptions) -> tuple[int, Callable[[], Iterator[Frame]]] | None:
    """Return the number of rows of a large text, and a function that reads them in parts that fit in memory.

    The types of the columns are inferred in a first pass. The result is None if the text has to be read whole: it is
    small, or a column changes its type between parts.

    Raises:
        DataError: as in `read_text`.
    """
    with path.open("rb") as file:
        if len(file.read(PART + 1)) <= PART:
            return None
    text, rows = Text(path, options), 0
    found = {name: TextColumn(name, text, in_parts=True) for name in text.names}
    for table in text.tables():
        rows += len(table)
        for name, column in found.items():
            column.look(table[name])
            if column.is_mixed:
                return None
    _warn_conversions(text, found)

    def read() -> Iterator[Frame]:
        for table in text.tables():
            made = {name: column.read(table[name]) for name, column in found.items()}
            yield Frame(made, text=_detected_options(options, found))

    return rows, read


def _warn_conversions(text: Text, found: Mapping[str, TextColumn]) -> None:
    """Warn about converted columns, ambiguous entries, and options that match no column."""
    options = text.options
    for name, column in found.items():
        way, where = column.way, f"'{text.path}', column '{name}':"
        if column.breaks[0]:
            count, longest, row = column.breaks
            cells = "1 cell spans" if count == 1 else f"{count:,} cells span"
            text.say(
                f"{where} {cells} several lines; the longest has {longest:,}, in row {row:,}. If this is wrong, a "
                "quote is missing or superfluous there, and rows became part of the cell."
            )
        if way is None and column.types and getattr(column.types[0], "tz", None):
            text.say(f"{where} times with a time zone are read in UTC and returned in UTC.")
        if isinstance(way, Dates | NumberFormat) and not way.is_requested(options):
            text.say(f"{where} read as {way.words}.")
        if column.is_code and way is None:
            text.say(
                f"{where} read as labels: 0, 0x or + in front, an E as in 12E3, or more than 64 bits, as in codes."
            )
        elif not column.types and way is None and chosen(column.ways or (), replace(options, decimal=None)) is not None:
            other = "," if options.decimal == "." else "."
            text.say(f"{where} no numbers with the decimal sign '{options.decimal}'. Use --decimal {other}")
    if options.date_format and not any(column.type.startswith(("date", "time")) for column in found.values()):
        forms = " or ".join(options.date_format)
        text.say(f"'{text.path}': no column matches the date format {forms}.")


def _detected_options(options: TextOptions, found: Mapping[str, TextColumn]) -> TextOptions:
    """Return the options with detected formats, so that later rows, which may be few, are read in the same way."""
    ways = [column.way for column in found.values()]
    forms = [*options.date_format, *(form for way in ways if isinstance(way, Dates) for form in way.forms)]
    signs = {way.decimal for way in ways if isinstance(way, NumberFormat) and way.decimal}
    certain = len(signs) == 1 and (signs == {"."} or not any(column.type == "double" for column in found.values()))
    decimal = options.decimal or (signs.pop() if certain else None)
    return replace(options, decimal=decimal, date_format=tuple(dict.fromkeys(forms)))
