"""Rows that come block by block, as often as they are requested: of a file there need never be more in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from motes.data._datasets import named
from motes.data._files import parquet_file, read_frame, reading, suffix_of
from motes.data._frames import Frame, as_frame
from motes.data._text_options import SEPARATORS, TextOptions
from motes.data._texts import text_in_parts

BLOCK = 65_536  # rows that are worked on before the next ones


@dataclass(frozen=True)
class Blocks:
    """Rows of a table.

    Attributes:
        rows: how many there are.
        read: goes through them from the first on, BLOCK at a time.
        whole: all of them at once.

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
        """Rows that are in memory.

        Example:
            >>> from motes.data import Blocks, as_frame
            >>> Blocks.of_frame(as_frame(people)).rows
            40
        """
        return cls(len(frame), lambda: _cut([frame]), lambda: frame)

    @classmethod
    def of_file(cls, path: str | Path, text: TextOptions = TextOptions()) -> Blocks:
        """Those of a data set, or of a file; of Parquet and of large texts they are read when they are requested.

        `text` says how a text is written.

        Raises:
            UsageError, DataError: as `motes.data._files.read_frame`.

        Example:
            >>> from motes.data import Blocks
            >>> Blocks.of_file("penguins").rows
            344
        """
        text.check_for(path)
        if (frame := named(path)) is not None:
            return cls.of_frame(frame)
        path = Path(path)
        suffix, whole = suffix_of(path), partial(read_frame, path, text)
        if suffix in SEPARATORS:
            with reading(path):
                parts = text_in_parts(path, text)
            if parts is not None:
                rows, read = parts
                return cls(rows, lambda: _cut(read()), whole)
        elif suffix == ".parquet":
            with parquet_file(path) as file:
                rows = file.metadata.num_rows
            if rows:
                return cls(rows, partial(_of_parquet, path), whole)
        return cls.of_frame(whole())

    def each(self, change: Callable[[Frame], Frame]) -> Blocks:
        """The rows of every block after a `change`, which keeps them in their order.

        Example:
            >>> from motes.data import Blocks, as_frame
            >>> ages = Blocks.of_frame(as_frame(people)).each(lambda block: block.select(["age"]))
            >>> ages.whole().names
            ('age',)
        """
        return Blocks(self.rows, lambda: map(change, self.read()), lambda: change(self.whole()))


def _cut(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Their rows, BLOCK at most at a time."""
    for frame in frames:
        for start in range(0, max(len(frame), 1), BLOCK):
            yield frame.take(slice(start, start + BLOCK))


def _of_parquet(path: Path) -> Iterator[Frame]:
    from pyarrow import Table

    with parquet_file(path) as file:
        for batch in file.iter_batches(BLOCK):
            yield as_frame(Table.from_batches([batch]), name=f"'{path}'")
