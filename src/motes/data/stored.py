"""Rows that do not fit into memory: a sample of them, and a file from which any rows are read.

    frame = read_sample("rows")     # one pass: a uniform sample; frame.many is all rows
    stored = frame.many.store()     # one pass: the rows as records of a few bytes an entry
    stored.read(numbers)            # the rows with these numbers

The sample contains `SAMPLE` rows, chosen by their numbers. In addition, it has a row with each smallest and largest
number, a missing entry, and each of the first labels of a column, so that the ranges of the columns are exact.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import tempfile
import weakref
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data.arrays import Label, Mask, Series
from motes.data.files import Blocks, files_of
from motes.data.frames import Frame, joined
from motes.data.points import Words, fingerprint_of, mixed
from motes.errors import DataError
from motes.progress import Progress, Reporter
from motes.replacing import replacing
from motes.text_options import TextOptions

SAMPLE = 200_000  # rows of the sample of a larger source
LABELS = 1000  # labels of a column that the sample contains in any case
KEY = np.array([577215], np.uint64)  # of the choice of the sample
ROUNDS = 4  # of the Feistel network
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
UNSEEN = "\0unseen"  # stands for labels that the sample does not contain
PIECE = 1024  # rows that are read from the file at once
FLUSHED = 16  # blocks that are written between two notes of the progress
INTEGERS = (np.int8, np.int16, np.int32, np.int64)  # the smallest number of each stands for a missing entry


def shuffled(places: NDArray[np.integer], n: int, keys: Words) -> NDArray[np.int64]:
    """Return the rows at `places` (m,) of a random order of n rows; `keys`, (m,) or (1,), choose the order.

    A Feistel network permutes the numbers below a power of 4; a number that is not below n is permuted again (Black &
    Rogaway 2002). So any part of the order is computed without the others.

    Example:
        >>> from motes.data.stored import shuffled
        >>> sorted(shuffled(np.arange(5), 5, np.array([7], np.uint64)).tolist())
        [0, 1, 2, 3, 4]
    """
    half = np.uint64(max((n - 1).bit_length() + 1, 2) // 2)
    mask = (np.uint64(1) << half) - np.uint64(1)
    keys = np.broadcast_to(keys, places.shape)
    found, outside = places.astype(np.uint64), np.ones(places.shape, bool)
    while outside.any():
        left, right, key = found[outside] >> half, found[outside] & mask, mixed(keys[outside])
        for _ in range(ROUNDS):
            key = key + GOLDEN
            left, right = right, left ^ (mixed(right ^ key) & mask)
        found[outside] = (left << half) | right
        outside = found >= np.uint64(n)
    return found.astype(np.int64)


def read_sample(
    source: str | Path | Sequence[str | Path],
    most: int,
    text: TextOptions = TextOptions(),
    reporter: Reporter | None = None,
) -> Frame:
    """Read all rows of a source, or a sample if rows times columns are more than `most`; see the module.

    Args:
        source: a data set, a file, a folder, a pattern or a list of files; see `motes.data.files.files_of`.
        most: maximum number of entries in memory.
        text: the format of text files.
        reporter: shows the progress, and that only a sample is read; None: nothing.

    Returns:
        The rows; if they are a sample, `many` is all rows.

    Raises:
        UsageError, DataError: as in `Blocks.of_files`, for an infinite number, or if a file changes meanwhile.

    Example:
        >>> from motes.data.stored import read_sample
        >>> len(rows := read_sample("penguins", 10_000)), rows.many
        (344, None)
    """
    blocks = Blocks.of_files(source, text)
    first = next(blocks.read())
    if blocks.rows * len(first.names) <= most:
        return blocks.whole()
    reporter = reporter or Reporter(quiet=True)
    name, stamps = describe(source), tuple(_stamp(path) for path in files_of(source) if path.is_file())
    reporter.say(
        f"'{name}' has {blocks.rows:,} rows of {len(first.names)} columns, more than data.in_memory = {most:,} "
        f"entries. Training reads them from disk; all else uses a sample of {min(SAMPLE, blocks.rows):,} rows"
    )
    made = ManyRows(name, blocks, stamps, reporter, Frame({})).with_sample()
    return replace(made.frame, many=made, text=first.text)


def describe(source: str | Path | Sequence[str | Path]) -> str:
    """Return the name of a source for messages and model files."""
    if isinstance(source, str | Path):
        return str(source)
    return str(source[0]) + (f" and {len(source) - 1:,} more files" if len(source) > 1 else "")


def name_rows(name: str, rows: Frame) -> str:
    """Return the name of rows in messages, which says if they are a sample: its row numbers are not those of a file."""
    return f"the sample of '{name}'" if rows.many is not None and rows.many.notes else f"'{name}'"


def _stamp(path: Path) -> tuple[str, int, int]:
    """Return what identifies a version of a file: its name, its size and the time of its last change."""
    about = path.stat()
    return str(path), about.st_size, about.st_mtime_ns


@dataclass
class Extent:
    """What a column contains in the rows so far.

    Attributes:
        low, high: the smallest and the largest value, as a number; None if there is none.
        single: whether all real numbers are exact in single precision.
        labels: the first labels.
        has_missing: whether an entry is missing.
    """

    low: Any = None
    high: Any = None
    single: bool = True
    labels: set[Label] = field(default_factory=set)
    has_missing: bool = False

    def look(self, series: Series) -> Iterator[int]:
        """Update the extent; yield the places of new extremes, of new labels, and of the first missing entry."""
        if series.missing.any() and not self.has_missing:
            self.has_missing = True
            yield int(series.missing.argmax())
        here = np.flatnonzero(~series.missing)
        values = series.values[here]
        if not len(here) or series.type == "other":
            return
        if series.type == "label":
            if len(self.labels) < LABELS:
                codes, first = np.unique(values, return_index=True)
                for code, place in zip(codes.tolist(), first.tolist(), strict=True):
                    if series.labels[code] not in self.labels and len(self.labels) < LABELS:
                        self.labels.add(series.labels[code])
                        yield int(here[place])
            return
        with np.errstate(over="ignore"):
            self.single = self.single and series.type == "real" and bool((values.astype(np.float32) == values).all())
        if self.low is None or values.min() < self.low:
            self.low = values.min()
            yield int(here[values.argmin()])
        if self.high is None or values.max() > self.high:
            self.high = values.max()
            yield int(here[values.argmax()])


@dataclass(frozen=True, eq=False)
class ManyRows:
    """All rows of some files; only a sample of them is in memory.

    Attributes:
        name: their name in messages.
        blocks: all rows, block by block.
        stamps: name, size and time of each file.
        reporter: shows the progress of the passes.
        frame: the sample.
        extents: column -> what it contains in all rows.
        convert: converts rows of the files to the rows that `keep` and the model use, such as points.
        keep: returns which of the converted rows are used; None for all.
        about: texts that identify `keep`.
    """

    name: str
    blocks: Blocks
    stamps: tuple[tuple[str, int, int], ...]
    reporter: Reporter
    frame: Frame
    extents: dict[str, Extent] = field(default_factory=dict)
    convert: Callable[[Frame], Any] = lambda rows: rows
    keep: Callable[[Any], Mask] | None = None
    about: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"ManyRows({self.blocks.rows:,} rows of {self.name})"

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence that says that the sample is not all rows; none if it is."""
        few, all_rows = len(self.frame), self.blocks.rows
        return (f"a sample of {few:,} of the {all_rows:,} rows of '{self.name}' represents all rows.",) * (
            few < all_rows
        )

    def only(self, keep: Callable[[Any], Mask], about: str) -> ManyRows:
        """Return the rows that `keep` selects among these; `about` identifies it."""
        before = self.keep
        both = keep if before is None else lambda rows: before(rows) & keep(rows)
        return replace(self, keep=both, about=(*self.about, about))

    def _read(self, label: str) -> Generator[tuple[int, Frame]]:
        """Yield the number of the first row of each block, and its rows.

        Raises:
            DataError: if a file changes meanwhile.
        """
        begin, n = 0, self.blocks.rows
        with self.reporter.counting(label, "rows", total=n) as count:
            for block in self.blocks.read():
                yield begin, block
                begin += len(block)
                count(Progress(begin, n))
        for stamp in self.stamps:
            path = Path(stamp[0])
            if not path.is_file() or _stamp(path) != stamp:
                raise DataError(
                    f"'{path}' changed while it was read; expected the same rows in each pass. Start again."
                )

    def with_sample(self) -> ManyRows:
        """Return the same rows with their sample and its extents.

        Raises:
            DataError: for an infinite number, or if a file changes meanwhile.
        """
        extents: dict[str, Extent] = {}
        chosen = np.sort(shuffled(np.arange(min(SAMPLE, self.blocks.rows)), self.blocks.rows, KEY))
        parts: list[Frame] = []
        with closing(self._read("reading a sample")) as blocks:
            for begin, block in blocks:
                ends = np.searchsorted(chosen, [begin, begin + len(block)])
                some = [chosen[slice(*ends)] - begin]
                for name, series in block.columns.items():
                    series.check_finite(name, f"'{self.name}', rows {begin + 1:,} to {begin + len(block):,}")
                    some.append(np.fromiter(extents.setdefault(name, Extent()).look(series), np.int64))
                part = block.take(np.unique(np.concatenate(some)))
                parts.append(Frame({name: _with_own_labels(series) for name, series in part.columns.items()}))
        return replace(self, frame=joined(parts, sum(map(len, parts))), extents=extents)

    def store(self, names: Sequence[str], folder: Path | None = None) -> StoredRows:
        """Write the rows to a file, or find the file of an earlier call, and complete it if that was interrupted.

        Args:
            names: the columns to write.
            folder: the folder of the file; None: a temporary folder.

        Raises:
            DataError: if a file changes meanwhile.
            OSError: if the disk is full.
        """
        columns = {name: StoredColumn.of(self.frame.columns[name], self.extents[name]) for name in names}
        dtype = np.dtype([(str(j), one.dtype) for j, one in enumerate(columns.values())])
        labels = [list(map(str, one.series.labels)) for one in columns.values()]
        identity = json.dumps([self.stamps, fingerprint_of(self.frame), *columns, dtype.descr, labels, self.about])
        temporary = None if folder else tempfile.TemporaryDirectory(prefix="motes-", ignore_cleanup_errors=True)
        place = folder or Path(temporary.name)  # type: ignore[union-attr]
        place.mkdir(parents=True, exist_ok=True)
        path = place / f"rows-{hashlib.sha256(identity.encode()).hexdigest()[:16]}.bin"
        note = path.with_suffix(".json")
        with _waiting_for(path.with_suffix(".lock")):
            written: dict[str, Any] = {"read": 0, "rows": 0, "unseen": {}}
            if note.is_file() and path.is_file():
                written = json.loads(note.read_text())
            if written["read"] < self.blocks.rows:
                try:
                    written = self._write(path, columns, dtype, **written)
                except OSError as error:
                    error.filename = error.filename or str(path)  # a full disk gives no name
                    raise
        for name, count in written["unseen"].items():
            self.reporter.warn(
                f"column '{name}' has labels that are neither in the sample nor among the first {LABELS:,}; their "
                f"{count:,} entries count as unknown in training"
            )
        stored = StoredRows(path, dtype, columns, written["rows"])
        if temporary is not None:
            weakref.finalize(stored, temporary.cleanup)
        return stored

    def _write(
        self,
        path: Path,
        columns: Mapping[str, StoredColumn],
        dtype: np.dtype[Any],
        read: int,
        rows: int,
        unseen: dict[str, int],
    ) -> dict[str, Any]:
        """Write the records after the first `rows`, which come from the first `read` rows of the files.

        At intervals, and at the end, both numbers are written to a file; they are also returned. `unseen` counts the
        entries of each column whose labels the sample does not contain.
        """
        done, note = read, path.with_suffix(".json")

        def flush() -> dict[str, Any]:
            file.flush()
            os.fsync(file.fileno())
            with replacing(note, durable=True) as new:
                new.write_text(json.dumps(written := {"read": read, "rows": rows, "unseen": unseen}))
            return written

        with path.open("r+b" if read else "wb") as file, closing(self._read("writing rows")) as blocks:
            file.truncate(rows * dtype.itemsize)
            file.seek(rows * dtype.itemsize)
            for k, (begin, block) in enumerate(blocks):
                if begin < done:
                    continue
                kept = block if self.keep is None else block.take(np.flatnonzero(self.keep(self.convert(block))))
                records = np.empty(len(kept), dtype)
                for j, (name, column) in enumerate(columns.items()):
                    records[str(j)] = column.encode(kept.columns[name])
                    if column.series.type == "label":
                        lost = int((records[str(j)] == len(column.series.labels) - 1).sum())
                        unseen = unseen | ({name: unseen.get(name, 0) + lost} if lost else {})
                file.write(records.tobytes())
                read, rows = begin + len(block), rows + len(kept)
                if k % FLUSHED == 0 and read < self.blocks.rows:
                    flush()
            return flush()


@contextmanager
def _waiting_for(path: Path) -> Iterator[None]:
    """Wait until no other process, such as another one of the same training, has this lock, and hold it."""
    with path.open("w") as file:
        with suppress(ImportError):  # only POSIX has it
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _with_own_labels(series: Series) -> Series:
    """Return a column of labels without the labels that no entry has, so that samples of many blocks stay small."""
    if series.type != "label" or series.ordered:
        return series
    codes, place = np.unique(series.values, return_inverse=True)
    labels = tuple(series.labels[code] for code in codes.tolist() if code < len(series.labels))
    return replace(series, values=place.reshape(-1), labels=labels)


@dataclass(frozen=True)
class StoredColumn:
    """The form of one column in the file.

    Attributes:
        series: an empty series, with the type and the labels of the column.
        dtype: the type of its numbers in the file.
    """

    series: Series
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, series: Series, extent: Extent) -> StoredColumn:
        """Choose the smallest type that holds all entries without loss."""
        empty = series.take(slice(0))
        if series.type == "real":
            return cls(empty, np.dtype(np.float32 if extent.single else np.float64))
        low, high = int(extent.low or 0), int(extent.high or 0)
        if series.type == "label":
            empty = replace(empty, labels=(*empty.labels, UNSEEN))
            low, high = 0, len(series.labels)
        fits = (kind for kind in INTEGERS if np.iinfo(kind).min < low and high <= np.iinfo(kind).max)
        return cls(empty, np.dtype(next(fits, np.int64)))

    @cached_property
    def _codes(self) -> Mapping[Label, int]:
        return {label: code for code, label in enumerate(self.series.labels)}

    def encode(self, series: Series) -> NDArray[Any]:
        """Convert a column to the type of the file."""
        if self.dtype.kind == "f":
            return np.where(series.missing, np.nan, series.values).astype(self.dtype)
        values = series.values
        if series.type == "label":
            unseen = len(self.series.labels) - 1
            values = np.array([self._codes.get(label, unseen) for label in series.labels] or [0])[values]
        return np.where(series.missing, np.iinfo(self.dtype).min, values).astype(self.dtype)

    def decode(self, values: NDArray[Any]) -> Series:
        """Convert numbers of the file to a column."""
        missing = np.isnan(values) if self.dtype.kind == "f" else values == np.iinfo(self.dtype).min
        kind = self.series.values.dtype
        return replace(
            self.series, values=np.where(missing & (kind.kind != "f"), 0, values).astype(kind), missing=missing
        )


@dataclass(frozen=True, eq=False)
class StoredRows:
    """Rows in a file of records.

    Attributes:
        path, dtype: the file, and the type of a record.
        columns: the form of each column.
        rows: number of rows.
    """

    path: Path
    dtype: np.dtype[Any]
    columns: Mapping[str, StoredColumn]
    rows: int

    def __len__(self) -> int:
        return self.rows

    def read(self, rows: NDArray[np.integer]) -> Frame:
        """Return the rows with these numbers (m,)."""
        records, order = np.empty(len(rows), self.dtype), np.argsort(rows)
        with self.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            advise = getattr(mapped, "madvise", lambda advice: None)  # not on Windows
            advise(getattr(mmap, "MADV_RANDOM", 0))  # otherwise the system reads many rows around each
            whole = np.frombuffer(mapped, self.dtype, self.rows)
            for begin in range(0, len(rows), PIECE):
                some = order[begin : begin + PIECE]
                records[some] = whole[rows[some]]
                advise(getattr(mmap, "MADV_DONTNEED", 0))  # otherwise the pages stay in the memory of this process
            del whole  # otherwise the map cannot be closed
        return Frame({name: one.decode(records[str(j)]) for j, (name, one) in enumerate(self.columns.items())})
