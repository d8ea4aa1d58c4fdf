"""The lines of a text file of rows and columns: its encoding, its comments, the names of its columns."""

import codecs
import csv
import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from motes.data._readings import AnyDates, Numbers, is_number
from motes.data._text_options import TextOptions
from motes.errors import DataError

LOOKED_AT = 4096  # bytes, by which a file that is no text is known
SHOWN = 20  # bytes of what is no text
_said: ContextVar[list[str] | None] = ContextVar("said", default=None)  # where `say` leaves its texts; None: it warns
MARKS = {codecs.BOM_UTF16_LE: "UTF-16", codecs.BOM_UTF16_BE: "UTF-16", b"PK\x03\x04": "a zip archive, such as .xlsx"}


@dataclass(frozen=True)
class TextInMemory:
    """A text in memory, which is opened as a file is.

    Attributes:
        name: what messages call it.
        content: its bytes.
    """

    name: str
    content: bytes

    def __str__(self) -> str:
        return self.name

    def open(
        self, mode: str = "r", *, newline: str | None = None, encoding: str | None = None, errors: str | None = None
    ) -> Any:
        """As `Path.open`."""
        raw = io.BytesIO(self.content)
        return raw if "b" in mode else io.TextIOWrapper(raw, encoding, errors, newline)


TextFile = Path | TextInMemory


class Header(NamedTuple):
    """The names of the columns, and how many lines come before the first row."""

    names: tuple[str, ...]
    skip: int


def open_text(path: TextFile, options: TextOptions) -> Any:
    """The bytes of a text, in UTF-8."""
    file = path.open("rb")
    return file if options.encoding is None else codecs.EncodedFile(file, "utf-8", options.encoding)


def check_text(path: TextFile, options: TextOptions) -> None:
    """Refuse a file that is no text, or one in an encoding that shows at its start.

    Raises:
        DataError: it says what the file is.
    """
    if options.encoding is not None:
        return
    with path.open("rb") as file:
        start = file.read(LOOKED_AT)
    for mark, what in MARKS.items():
        if start.startswith(mark):
            cure = "Read it with --encoding utf-16, or save it as UTF-8" if what == "UTF-16" else "Export it as .csv"
            raise DataError(f"got '{path}', which is {what}; expected text in UTF-8. {cure}.")
    if b"\0" in start:
        raise DataError(
            f"got '{path}', which holds a byte 0 at place {start.index(0) + 1}; expected text in UTF-8. If it is text "
            "in another encoding, name it, such as --encoding utf-16."
        )


def lines_of(path: TextFile, options: TextOptions) -> Iterator[tuple[int, list[str]]]:
    """The number and the entries of each line that is not blank; bytes that are no UTF-8 are kept as surrogates.

    Raises:
        DataError: no text, or a line of which no entries can be made.
    """
    check_text(path, options)
    errors = "surrogateescape" if options.encoding is None else "strict"
    with path.open(newline="", encoding=options.encoding or "utf-8-sig", errors=errors) as file:
        reader = csv.reader(file, delimiter=options.separator(str(path)))
        before = 0
        try:
            for entries in reader:
                before = reader.line_num
                if "".join(entries).strip() or len(entries) > 1:
                    yield before, entries
        except csv.Error as error:
            if "field limit" not in str(error) or reader.line_num <= before + 1:
                raise DataError(f"line {reader.line_num} of '{path}' is no row of cells: {error}.") from None
            raise DataError(
                f"line {before + 1} of '{path}' has a cell of more than {csv.field_size_limit():,} characters, over "
                f"{reader.line_num - before:,} lines or more: a quote opens there that is closed late or never. Remove "
                "that quote, or close it."
            ) from None
        except UnicodeError as error:
            raise not_encoded(path, options, error) from None


def not_encoded(path: TextFile, options: TextOptions, error: Exception) -> DataError:
    """What is to be said of a text in another encoding than the one that was named."""
    return DataError(f"got '{path}', which is no text in {options.encoding} ({error}). Name another --encoding.")


def not_utf8(entries: Sequence[str]) -> str | None:
    """What is to be said of entries of `lines_of` of which one is no UTF-8; None where all are."""
    for entry in entries:
        if any("\udc80" <= letter <= "\udcff" for letter in entry):
            got = entry.encode("utf-8", "surrogateescape")
            more = "..." if len(got) > SHOWN else ""
            return (
                f"got {got[:SHOWN]!r}{more}; expected UTF-8 text. Save the file as UTF-8, or name its encoding, such "
                "as --encoding latin-1."
            )
    return None


def header_of(path: TextFile, options: TextOptions) -> Header:
    """The names of the columns, from the first line that is neither blank nor a comment.

    A line without a number names the columns. Otherwise it is a row, and the names are x, y or x0, x1, ... Lines at the
    start with a "#" are comments; but the last of them names the columns if it has as many entries as the next line.

    Raises:
        DataError: a name twice, entries that another character separates, or nothing there.
    """
    comments: list[tuple[int, list[str]]] = []
    for line, entries in lines_of(path, options):
        if entries[0].lstrip().startswith("#"):
            comments.append((line, entries))
            continue
        if comments and len(comments[-1][1]) == len(entries) > 1:
            line, entries = comments.pop()
        break
    else:
        if not comments:
            raise DataError(f"'{path}' is empty; expected rows and columns.")
        line, entries = comments.pop()
    if comments:
        say(f"'{path}': {len(comments)} lines of comments before the columns are left out, from line {comments[0][0]}.")
    if message := not_utf8(entries):
        raise DataError(f"line {line} of '{path}', the names of its columns: {message}")
    names, named = _names(entries, path, options)
    return Header(names, line if named else line - 1)


def _names(first: Sequence[str], path: TextFile, options: TextOptions) -> tuple[tuple[str, ...], bool]:
    """The names of the columns of a text whose first line has the entries `first`, and whether that line names them."""
    named = not any(is_number(entry) or _decimal_comma(entry, options) for entry in first)
    names = [entry.strip() for entry in first] if named else list(default_columns(len(first)))
    separator = options.separator(str(path))
    for other in {",", ";", "\t", "|"} - {separator}:
        if len(names) == 1 and other in first[0]:
            shown = other.replace("\t", "\\t")
            raise DataError(
                f"got '{path}' with one column, {first[0][:SHOWN]!r}, that has '{shown}' in it; expected {separator!r} "
                f"between entries. If '{shown}' separates them, say --sep '{shown}'."
            )
    if unnamed := [j for j, name in enumerate(names) if not name]:
        for j in unnamed:
            names[j] = f"column {j + 1}"
        say(f"'{path}': column {unnamed[0] + 1} has no name, and is called '{names[unnamed[0]]}'.")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"'{path}' has two columns named '{twice}'; give each its own name.")
    return tuple(names), named


def _decimal_comma(entry: str, options: TextOptions) -> bool:
    return options.decimal == "," and is_number(entry.replace(",", "."))


def say(text: str) -> None:
    """Warn that something is read otherwise than it is written. Python says the same text once."""
    said = _said.get()
    if said is None:
        warnings.warn(text, UserWarning, stacklevel=1)
    else:
        said.append(text)


@contextmanager
def collected() -> Iterator[list[str]]:
    """A list of what `say` is given in this thread meanwhile, in the place of warnings, which belong to all threads."""
    texts: list[str] = []
    token = _said.set(texts)
    try:
        yield texts
    finally:
        _said.reset(token)


def say_read(path: TextFile, column: str, way: Numbers | AnyDates, options: TextOptions) -> None:
    """Say how a column is read, where nobody requested that."""
    requested = (
        {*way.forms} <= {*options.date_format} if isinstance(way, AnyDates) else not way.unit and options.decimal
    )
    if not requested:
        say(f"'{path}', column '{column}': read as {way.words}.")


def default_columns(dim: int) -> tuple[str, ...]:
    """x, y for the plane; x0, x1, ... otherwise."""
    return ("x", "y") if dim == 2 else tuple(f"x{j}" for j in range(dim))
