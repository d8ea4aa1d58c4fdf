"""The first rows of a table, as text and as HTML: what `print` and a notebook show."""

from collections.abc import Mapping
from html import escape
from typing import Any

from motes.data._series import Series

ROWS = 10
COLUMNS = 12
WIDTH = 24  # characters of an entry


def preview_text(columns: Mapping[str, Series], n: int) -> str:
    """The first rows of `columns`, name -> `Series` of n entries, one line each, and how many there are."""
    head, rows = _cells(columns)
    widths = [max(len(line[j]) for line in (head, *rows)) for j in range(len(head))]
    lines = ["  ".join(entry.rjust(width) for entry, width in zip(line, widths, strict=True)) for line in (head, *rows)]
    return "\n".join([*lines, _size(columns, n)])


def preview_html(columns: Mapping[str, Series], n: int) -> str:
    """The same as an HTML table."""
    head, rows = _cells(columns)
    cells = lambda line, tag: "".join(f"<{tag}>{escape(entry)}</{tag}>" for entry in line)
    body = "".join(f"<tr>{cells(line, 'td')}</tr>" for line in rows)
    return f"<table><thead><tr>{cells(head, 'th')}</tr></thead>{body}</table><p>{_size(columns, n)}</p>"


def _cells(columns: Mapping[str, Series]) -> tuple[list[str], list[list[str]]]:
    some = list(columns.items())[:COLUMNS]
    entries = [[_text(value) for value in series.take(slice(ROWS)).cells()] for _, series in some]
    more = len(columns) > COLUMNS
    head = [_cut(name) for name, _ in some] + ["…"] * more
    return head, [[*row, *["…"] * more] for row in zip(*entries, strict=True)]


def _text(value: Any) -> str:
    if value is None or value != value:
        return ""
    return _cut(f"{value:.6g}" if isinstance(value, float) else str(value))


def _cut(text: str) -> str:
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"


def _size(columns: Mapping[str, Series], n: int) -> str:
    return f"{n:,} rows of {len(columns):,} columns"
