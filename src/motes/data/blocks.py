"""Rows that come block by block, as often as they are asked for: of a file there need never be more in memory."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from motes.data.files import parquet_file, read_frame, suffix_of
from motes.data.frames import Frame, as_frame

BLOCK = 65_536  # rows that are worked on before the next ones


@dataclass(frozen=True)
class Blocks:
    """Rows of a table.

    Attributes:
        rows: how many there are.
        read: goes through them from the first on, BLOCK at a time.
        whole: all of them at once.
    """

    rows: int
    read: Callable[[], Iterator[Frame]]
    whole: Callable[[], Frame]

    @classmethod
    def of_frame(cls, frame: Frame) -> "Blocks":
        """Rows that are in memory."""
        starts = range(0, max(len(frame), 1), BLOCK)
        return cls(len(frame), lambda: (frame.take(slice(start, start + BLOCK)) for start in starts), lambda: frame)

    @classmethod
    def of_file(cls, path: str | Path) -> "Blocks":
        """Those of a file; of a Parquet file they are read when they are asked for.

        Raises:
            UsageError, DataError: as `motes.data.files.read_frame`.
        """
        path = Path(path)
        if suffix_of(path) != ".parquet":
            return cls.of_frame(read_frame(path))
        with parquet_file(path) as file:
            rows = file.metadata.num_rows
        if not rows:
            return cls.of_frame(read_frame(path))
        return cls(rows, partial(_of_parquet, path), partial(read_frame, path))

    def each(self, change: Callable[[Frame], Frame]) -> "Blocks":
        """The rows of every block after a `change`, which keeps them in their order."""
        return Blocks(self.rows, lambda: map(change, self.read()), lambda: change(self.whole()))


def _of_parquet(path: Path) -> Iterator[Frame]:
    from pyarrow import Table

    with parquet_file(path) as file:
        for batch in file.iter_batches(BLOCK):
            yield as_frame(Table.from_batches([batch]), name=f"'{path}'")
