"""Quotes that open in a text file of rows and columns, and swallow the rows behind them until one closes."""

import re
from typing import Any

from motes.data._text_layout import Layout
from motes.data._text_lines import open_text, say
from motes.errors import DataError

CELL = re.compile(rb'[^"]*+(?:""[^"]*+)*+"')  # what follows an opening quote, up to the closing one
TAIL = 2**16  # bytes at the end of a file, in which its last line is looked for


class LongCells:
    """The cells that go over several lines, found in one part of a text after another."""

    def __init__(self, layout: Layout):
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
            say(
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


def _all_of(layout: Layout) -> bytes:
    with open_text(layout.path, layout.options) as file:
        whole: bytes = file.read()
    return whole


def _last_line(layout: Layout) -> bytes:
    with open_text(layout.path, layout.options) as file:
        if layout.options.encoding is None:
            size = file.seek(0, 2)
            file.seek(max(size - TAIL, 0))
        end: bytes = file.read().rstrip(b"\r\n")
    return end.rpartition(b"\n")[2]
