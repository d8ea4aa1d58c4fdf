"""Text of rows and columns -> frames, as a whole or block by block.

pyarrow reads it.
"""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from motes.data._frames import Frame, as_frame
from motes.data._quotes import LongCells
from motes.data._readings import AnyDates, Numbers, Way, chosen, two_readings, ways_of
from motes.data._series import Series
from motes.data._text_layout import Layout, Types, is_small, start_of
from motes.data._text_lines import TextFile, lines_of, not_encoded, not_utf8, open_text, say, say_read
from motes.data._text_options import TextOptions
from motes.errors import DataError

NO_ROWS = "names its columns and has no rows."
Ways = Mapping[str, frozenset[Way]]  # column of text -> the ways of writing numbers or dates with which it agrees


def read_text(path: TextFile, options: TextOptions) -> Frame:
    """The columns of a whole text, in a file or in memory.

    Raises:
        DataError: as `motes.data._files.read_frame`.
    """
    import pyarrow as pa

    layout = Layout.of(path, options)
    names = layout.names
    try:
        table, codes = _whole(pa, layout)
    except UnicodeError as error:
        raise not_encoded(path, options, error) from None
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
    ways: dict[str, frozenset[Way]] = {}
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


def _whole(pa: Any, layout: Layout) -> tuple[Any, set[str]]:
    """The text as an Arrow table, and its columns of codes.

    Its types are those of its start: pyarrow keeps all of a text whose types are open.
    """
    text = pa.dictionary(pa.int32(), pa.string())
    codes = layout.codes()
    labels = dict.fromkeys(codes, text)
    with open_text(layout.path, layout.options) as file:
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
    layout = Layout.of(path, options)
    rows, schemas, quoted = 0, list[Any](), LongCells(layout)
    ways, ambiguous = dict[str, frozenset[Way]](), dict[str, str]()
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
    ambiguous: dict[str, str], name: str, texts: Sequence[str], ways: frozenset[Way], options: TextOptions
) -> None:
    """Keep a text of a column that two of the stated date formats read as different dates."""
    dates = name not in ambiguous and any(isinstance(way, AnyDates) for way in ways)
    if dates and (words := two_readings(texts, options.date_format)) is not None:
        ambiguous[name] = words


def _say_ways(
    layout: Layout, ways: Ways, codes: set[str], types: Mapping[str, str], ambiguous: Mapping[str, str]
) -> dict[str, Way]:
    """How each column is read that is read otherwise than it is written, after saying so.

    Args:
        layout: of the file.
        ways: those with which each column of text agrees.
        codes: columns in which digits are a name.
        types: of the other columns, as they are written.
        ambiguous: column -> a text of it that two date formats fit, in words.
    """
    options, where = layout.options, f"'{layout.path}'"
    found = {name: way for name, all_ in ways.items() if (way := chosen(all_, options)) is not None}
    for name in layout.names:
        way = found.get(name)
        if isinstance(way, AnyDates | Numbers):
            say_read(layout.path, name, way, options)
            if isinstance(way, AnyDates) and name in ambiguous:
                say(
                    f"{where}, column '{name}': entries {ambiguous[name]}, which make different dates of them. "
                    "The first --date-format counts."
                )
        elif name in codes and way is None:
            say(f"{where}, column '{name}': read as labels: 0, 0x or + in front, or more than 64 bits: a name.")
        elif way is None and chosen(ways.get(name, ()), replace(options, decimal=None)) is not None:
            other = "," if options.decimal == "." else "."
            say(
                f"{where}, column '{name}': no numbers with the decimal sign '{options.decimal}'. Say --decimal {other}"
            )
    plain = [name for name, type_ in types.items() if type_ == "real"]
    commas = [name for name, way in found.items() if isinstance(way, Numbers) and way.decimal == ","]
    if commas and plain and options.decimal is None:
        say(
            f"{where}: column '{commas[0]}' is read with the decimal sign ',' and column '{plain[0]}' with '.'. If one "
            "is wrong, say --decimal , or --decimal ."
        )
    dates = any(isinstance(way, AnyDates) for way in found.values()) or "date" in types.values()
    if options.date_format and not dates:
        say(f"{where}: no column agrees with the date format {' or '.join(options.date_format)}.")
    return found


def _say_zones(layout: Layout, types: Types) -> None:
    """Say of which columns the times have a time zone, which is not given back."""
    for name, kind in types.items():
        if getattr(kind, "tz", None) is not None:
            say(f"'{layout.path}', column '{name}': times with a time zone are read in UTC, and given back in UTC.")


def _found(options: TextOptions, found: Mapping[str, Way], types: Mapping[str, str]) -> TextOptions:
    """The options by which later rows, which may be few, are read as these were."""
    forms = (*options.date_format, *(form for way in found.values() if isinstance(way, AnyDates) for form in way.forms))
    signs = {way.decimal for way in found.values() if isinstance(way, Numbers) and way.decimal}
    certain = len(signs) == 1 and ("real" not in types.values() or signs == {"."})
    decimal = options.decimal or (signs.pop() if certain else None)
    return replace(options, decimal=decimal, date_format=tuple(dict.fromkeys(forms)))


def _texts(series: Series, options: TextOptions) -> list[str]:
    """The distinct entries of a column that may be written in a way of its own; of whole numbers only a date may be."""
    if series.type == "whole" and options.date_format:
        return [str(value) for value in np.unique(series.known)]
    return [str(label) for label in series.labels]


def _ways(series: Series, texts: Sequence[str], options: TextOptions) -> frozenset[Way]:
    """Those with which these texts of a column agree."""
    ways = ways_of(texts, options)
    return ways if series.type == "label" else frozenset(way for way in ways if isinstance(way, AnyDates))


def _read(series: Series, way: Way | None) -> Series:
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
    return Series(way.type, np.where(gone, 0, made), gone, days=isinstance(way, AnyDates) and way.days)


# --- what is wrong --------------------------------------------------------------------------------------------------


def _find(path: TextFile, options: TextOptions, complaint: Callable[[int, list[str]], str | None]) -> None:
    """Go through a file again, by lines, for the first one of which there is something to say."""
    for line, cells in lines_of(path, options):
        if message := complaint(line, cells):
            raise DataError(message)


def _ragged(layout: Layout, line: int, cells: list[str]) -> str | None:
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


def _not_utf8(layout: Layout, line: int, cells: list[str]) -> str | None:
    for name, cell in zip(layout.names, cells, strict=False):
        if message := not_utf8([cell]):
            return f"line {line} of '{layout.path}', column '{name}': {message}"
    return None
