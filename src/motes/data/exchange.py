"""JSON lines, Excel workbooks, databases and queries. Their cells have types, so no number is ever read from text.

Text in ISO format, such as 2024-12-31, becomes dates in JSON lines and SQLite, which have no dates of their own.
"""

import json
import sqlite3
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime, time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from motes.data.arrays import Series, is_missing, of_values, warn
from motes.data.frames import Frame, as_frame, unique_names
from motes.data.natives import of_arrow
from motes.data.text import TYPES
from motes.errors import DataError, UsageError, check_unicode

READING = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE)
SHOWN = 40  # characters of an invalid cell to show


def _import(package: str, path: Path, extra: str) -> Any:
    try:
        return import_module(package)
    except ImportError:
        raise UsageError(
            f"'{path}' needs {package}, which is not installed: pip install {package}, or motes with the extra {extra}."
        ) from None


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _convert(columns: Mapping[str, Sequence[Any]], name: str, before: int = 0) -> Frame:
    """Convert columns of Python values; `before` is the number of rows above the first, for messages."""
    made = {}
    for column, cells in zip(unique_names([*columns], name), columns.values(), strict=True):
        values = np.empty(len(cells), object)
        values[:] = cells
        series = of_values(values, column, name, before)
        made[column] = (series.type == "label" and _dates(values, column, name)) or series
    return Frame(made)


def _dates(texts: Any, column: str, name: str) -> Series | None:
    """Convert texts (n,) to dates; None if they are not all dates in ISO format."""
    entries = pa.array([None if is_missing(text) else text for text in texts], pa.string())
    for kind in filter(pa.types.is_temporal, TYPES):
        try:
            dates = entries.cast(kind)
        except pa.ArrowInvalid:
            continue
        if getattr(kind, "tz", None):
            warn(f"{name}, column '{column}': times with a time zone are read in UTC and returned in UTC.")
        return of_arrow(dates, column, name)
    return None


# --- JSON lines -------------------------------------------------------------------------------------------------------


def read_json_lines(path: Path) -> Frame:
    """Read one JSON object per line, whose keys are the columns. Keys that a line lacks are missing, and so is null.

    Raises:
        DataError: for a line that is not a flat JSON object, or a column of several types; the message names the line.
    """
    columns: dict[str, list[Any]] = {}
    rows = 0
    for row in _objects(path):
        for column, value in row.items():
            cells = columns.setdefault(column, [])
            cells.extend([None] * (rows - len(cells)))
            cells.append(value)
        rows += 1
    if not columns:
        raise DataError(f"'{path}' is empty; expected a JSON object in each line.")
    return _convert({name: [*cells, *[None] * (rows - len(cells))] for name, cells in columns.items()}, f"'{path}'")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(row := dict(pairs)) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key '{next(key for key in keys if keys.count(key) > 1)}' occurs twice")
    return row


def _objects(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            where = f"line {number:,} of '{path}'"
            try:
                row = json.loads(line, object_pairs_hook=_unique)
            except UnicodeDecodeError as error:
                raise DataError(f"{where} is not UTF-8 text ({error}). Save the file as UTF-8.") from None
            except RecursionError:
                raise DataError(f"{where} is nested too deeply; expected a JSON object without lists.") from None
            except ValueError as error:
                raise DataError(
                    f"{where} is not JSON: {getattr(error, 'msg', error)}. Expected a JSON object in each line."
                ) from None
            if not isinstance(row, dict):
                raise DataError(
                    f'{where}: got {_shorten(row)}; expected a JSON object, such as {{"age": 31}}. One object per line.'
                )
            for column, value in row.items():
                if isinstance(value, dict | list):
                    raise DataError(
                        f"{where}, key '{column}': got {_shorten(value)}; expected a number, a text, true, false or "
                        "null. Give each part its own key, as pandas.json_normalize does."
                    )
            yield row


# --- Excel ------------------------------------------------------------------------------------------------------------


def read_workbook(path: Path, sheet: str | None = None) -> Frame:
    """Read a sheet of an Excel file: a row of column names, and the rows below it.

    The values of formulas are those that Excel saved. The error #N/A is a missing entry.

    Raises:
        UsageError: if openpyxl is not installed, for an unknown sheet, or for several sheets without a choice.
        DataError: for merged cells, formulas without values, another error such as #DIV/0!, a column without a name, or
            rows below an empty row; the message names the cell.
    """
    with _workbook(path, read_only=True, data_only=True) as book:
        chosen = _choose_sheet(path, book.worksheets, sheet)
        name = f"'{path}', sheet '{chosen.title}'"
        rows = [[_value(cell, name) for cell in row] for row in chosen.iter_rows(min_row=1, min_col=1)]
    filled = [i for i, row in enumerate(rows) if any(cell is not None for cell in row)]
    top, end = filled[0], filled[-1] + 1
    if end - top > len(filled):
        gap = next(i for i in range(top, end) if i not in {*filled})
        raise DataError(
            f"{name}: row {gap + 1} is empty, and rows follow; expected one table. If row {top + 1} is a title or row "
            f"{gap + 2} begins another table, remove the rows that do not belong to the table."
        )
    width = max(map(len, rows))
    columns = list(zip(*([*row, *[None] * (width - len(row))] for row in rows[top:end]), strict=True))
    if any(cell is None for column in columns for cell in column):
        _explain_empty(path, chosen.title, name, top, columns)
    made: dict[str, list[Any]] = {}
    for j, (head, *cells) in enumerate(columns, start=1):
        if head is None and all(cell is None for cell in cells):
            continue
        if not isinstance(head, str) or not head.strip():
            got = "is empty" if head is None else f"holds {_shorten(head)}"
            raise DataError(
                f"{name}: cell {_address(top + 1, j)} {got}; expected the name of a column. Insert a row of names, or "
                "remove the rows above it."
            )
        if head.strip() in made:
            raise DataError(f"{name}: cell {_address(top + 1, j)} repeats the name '{head}'. Give each column its own.")
        made[head.strip()] = _without_clock(cells)
    return _convert(made, name, top + 1)


@contextmanager
def _workbook(path: Path, **options: bool) -> Iterator[Any]:
    openpyxl = _import("openpyxl", path, "excel")
    with path.open("rb") as file:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of styles and other parts that openpyxl does not support
                book = openpyxl.load_workbook(file, **options)
        except (KeyError, ValueError, SyntaxError, zipfile.BadZipFile, EOFError) as error:
            what = str(error).rstrip(".")
            raise DataError(
                f"'{path}' is not an Excel workbook of type .xlsx, or it is encrypted or damaged: {what}."
            ) from None
        yield book


def _choose_sheet(path: Path, sheets: Sequence[Any], name: str | None) -> Any:
    has_cells = lambda sheet: any(cell is not None for row in sheet.iter_rows(values_only=True) for cell in row)
    for sheet in sheets:
        sheet.reset_dimensions()  # some programs write wrong ones
    filled = [sheet for sheet in sheets if sheet.title == name or (name is None and has_cells(sheet))]
    if len(filled) == 1 and has_cells(filled[0]):
        return filled[0]
    titles = ", ".join(f"'{sheet.title}'" for sheet in (sheets if name else filled))
    if name is not None:
        raise UsageError(f"'{path}' has no entries in a sheet '{name}'. Sheets: {titles}.")
    if not filled:
        raise DataError(f"'{path}' is empty; expected a sheet with rows and columns.")
    raise UsageError(f"'{path}' has entries in {len(filled)} sheets: {titles}. Choose one with --sheet NAME.")


def _value(cell: Any, name: str) -> Any:
    if cell.data_type != "e":
        return cell.value
    if cell.value == "#N/A":
        return None
    raise DataError(
        f"{name}: cell {cell.coordinate} holds the error {cell.value}; expected a value. Mend its formula, or clear it."
    )


def _address(row: int, column: int) -> str:
    from openpyxl.utils import get_column_letter

    return f"{get_column_letter(column)}{row}"


def _explain_empty(path: Path, sheet: str, name: str, top: int, columns: Sequence[Sequence[Any]]) -> None:
    """Refuse empty cells that are part of merged cells, or that are formulas without values."""
    with _workbook(path) as book:  # this takes longer and more memory, so only if there are empty cells
        for merged in book[sheet].merged_cells.ranges:
            if merged.max_row > top:
                what = "names" if merged.min_row <= top + 1 else "entries"
                raise DataError(
                    f"{name}: the cells {merged.coord} are merged; expected {what} in cells of their own. Unmerge and "
                    "fill them, or remove them if they are a title."
                )
        for j, column in enumerate(columns, start=1):
            cells = [book[sheet].cell(top + 1 + i, j) for i in range(len(column))]
            formulas = [(cell, value) for cell, value in zip(cells, column, strict=True) if cell.data_type == "f"]
            if formulas and all(value is None for _, value in formulas):  # some may be empty on purpose, but not all
                cell = formulas[0][0]
                raise DataError(
                    f"{name}: cell {cell.coordinate} holds the formula {cell.value} without its value. Open the file "
                    "in Excel or LibreOffice and save it, which computes the values."
                )


def _without_clock(cells: list[Any]) -> list[Any]:
    """Convert midnights to days if a column holds nothing else: Excel has no separate type for days."""
    moments = [cell for cell in cells if cell is not None]
    if not all(isinstance(cell, datetime) and cell.time() == time() for cell in moments):
        return cells
    return [None if cell is None else cell.date() for cell in cells]


# --- SQL --------------------------------------------------------------------------------------------------------------
#
# SQLite files are read by Python's own library, DuckDB and Parquet files by DuckDB. A model file contains the query of
# its training rows, so queries can only read, and only this file.


def read_query(path: Path, sql: str | None = None) -> Frame:
    """Read the result of a query in a SQLite or DuckDB database, or in a Parquet file, whose rows are the table `rows`.

    Without a query, this is the only table of a database.

    Raises:
        UsageError: if DuckDB is not installed, for a query that fails, or several tables without a query.
        DataError: if the file is not a database or has no tables; a column of several types.
    """
    check_unicode(sql or "", f"the query of '{path}'", UsageError)
    with path.open("rb") as file:
        is_sqlite = file.read(16) in (b"SQLite format 3\0", b"")
    with (_sqlite if is_sqlite else _duckdb)(path) as run:
        if sql is None:
            names = run("SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name")["name"].tolist()
            names = [name for name in names if not name.startswith("sqlite_")]
            if not names:
                raise DataError(f"'{path}' has no tables.")
            if len(names) > 1:
                raise UsageError(
                    f"'{path}' has {len(names)} tables: {', '.join(names)}. Choose one, or a part of them, with --sql, "
                    f"such as --sql 'SELECT * FROM {names[0]}'."
                )
            sql = 'SELECT * FROM "{}"'.format(names[0].replace('"', '""'))
        return run(sql)


Run = Callable[[str], Frame]


def _failed(path: Path, error: Exception) -> UsageError:
    first = str(error).partition("\n")[0].rstrip(".")
    return UsageError(f"the query of '{path}' failed: {first}. Expected one SELECT, which reads only this file.")


@contextmanager
def _sqlite(path: Path) -> Iterator[Run]:
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        connection.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in READING else sqlite3.SQLITE_DENY)

        def run(sql: str) -> Frame:
            try:
                cursor = connection.execute(sql)
                rows = cursor.fetchall()
            except (sqlite3.Error, sqlite3.Warning) as error:
                raise _failed(path, error) from None
            if cursor.description is None:
                raise _failed(path, ValueError("it returns no rows"))
            names = unique_names([about[0] for about in cursor.description], f"'{path}'")
            return _convert(
                dict(zip(names, zip(*rows, strict=True) if rows else [()] * len(names), strict=True)), f"'{path}'"
            )

        yield run


@contextmanager
def _duckdb(path: Path) -> Iterator[Run]:
    # In one thread, a query always adds numbers and returns rows in the same order, so that a run can be repeated.
    duckdb, config = _import("duckdb", path, "sql"), {"enable_external_access": "false", "threads": "1"}
    is_parquet = path.suffix.lower() == ".parquet"
    try:
        opened = duckdb.connect(":memory:" if is_parquet else str(path), read_only=not is_parquet, config=config)
    except duckdb.Error as error:
        raise DataError(f"'{path}' cannot be opened as a database of DuckDB or SQLite: {error}") from None
    with closing(opened) as connection:
        if is_parquet:
            from pyarrow.dataset import dataset

            connection.register("rows", dataset(path))

        def run(sql: str) -> Frame:
            try:
                types = [statement.type for statement in connection.extract_statements(sql)]
                if types not in ([duckdb.StatementType.SELECT], [duckdb.StatementType.MULTI]):  # MULTI: with a PIVOT
                    what = types[0].name if len(types) == 1 else f"{len(types)} statements"
                    raise _failed(path, ValueError(f"got {what}"))
                table = connection.sql(sql).to_arrow_table()
            except duckdb.Error as error:
                raise _failed(path, error) from None
            for j, field in enumerate(table.schema):
                if pa.types.is_decimal(field.type) and field.type.scale == 0:  # sums of whole numbers
                    with suppress(pa.ArrowInvalid):
                        table = table.set_column(j, field.name, table[j].cast(pa.int64()))
            return as_frame(table, name=f"'{path}'")

        yield run
