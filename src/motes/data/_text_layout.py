"""How a text of rows and columns is written, and what pyarrow makes of its parts."""

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from motes.data._readings import is_code
from motes.data._text_lines import TextFile, header_of, open_text
from motes.data._text_options import TextOptions

LONGEST = 2**24  # bytes of one row, beyond which the rest of a text is no longer cut into parts
START = 2**20  # bytes by which the types of columns are known
PART = 2**22  # bytes that are in memory at once, where rows come part by part
CODE = r"^\s*(0\d+|[+-]?0[xX][0-9a-fA-F]+|[+-]?\d{19,}|\+\d{8,})\s*$"  # what may be a name, and is no number then
CODE_AT_START = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:[+-]?0[xX]|0\d|[+-]?\d{19}|\+\d{8})")
Types = dict[str, Any]  # column -> Arrow's type


@dataclass(frozen=True)
class Layout:
    """How a text is written, the names of its columns, and the lines before the first row."""

    path: TextFile
    options: TextOptions
    names: tuple[str, ...]
    skip: int

    @classmethod
    def of(cls, path: TextFile, options: TextOptions) -> "Layout":
        return cls(path, options, *header_of(path, options))

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
        with open_text(self.path, self.options) as file:
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
                    if any(is_code(entry.decode()) for entry in table[name].filter(like).unique().to_pylist()):
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
