"""The folder of a run: its files by their names, which one process at a time may write."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from motes.data._replacing import replacing, unfinished
from motes.errors import DataError, UsageError
from motes.evaluation._irreducible import BOUND, EXACT
from motes.models._kept_averages import AVERAGES
from motes.runs._drawing import FORMATS

MODEL = "model.safetensors"
HISTORY = "history.jsonl"
METRICS = "metrics.json"  # written last but for pictures: where it is, the run is complete
ARTEFACTS = (MODEL, AVERAGES, "recipe.toml", "samples.csv", HISTORY, METRICS, "report.html")
LEAST = {EXACT: "irreducible loss", BOUND: "bound for memorising"}  # names of the least possible loss
ABOVE = {EXACT: "excess", BOUND: "above_bound"}  # and what a line of the history calls the loss above it
FIGURES = ("data", "samples", "comparison", "forward", "reverse", "loss", "snapshots")
TABLE_FIGURES = ("marginals", "pairs", "loss")
PICTURES = (
    "diffusion.gif",
    "diffusion.mp4",
    *(f"figures/{name}.{end}" for name in dict.fromkeys((*FIGURES, *TABLE_FIGURES)) for end in FORMATS),
)
EVALUATION = tuple(f"{name}.{end}" for name in ("comparison", "marginals", "pairs") for end in FORMATS)
DIAGNOSED = ("excess", "error_split", "scores", "densities", "column_gains", "ranks")
DIAGNOSIS = (
    "diagnosis.json",
    *(f"{name}.{end}" for name in DIAGNOSED for end in FORMATS),
)
RESULTS = (METRICS, "samples.csv", "report.html", *PICTURES)  # which are made of a model
LOCK = ".lock"


def make_folder(out: Path) -> None:
    """Make the folder of results.

    Raises:
        UsageError: it is a file.
    """
    if out.is_file():
        raise UsageError(f"'{out}' is a file; expected the name of a folder.")
    out.mkdir(parents=True, exist_ok=True)


@contextmanager
def locked(out: Path, warn: Callable[[str], None]) -> Iterator[None]:
    """Keep other processes from training in the folder `out`. The system ends it with the process, however that ends.

    Raises:
        UsageError: another process trains there.
    """
    try:
        import fcntl
    except ImportError:  # which only POSIX has
        yield
        return
    path = out / LOCK
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 20).decode() or "another one"
            os.close(handle)
            raise UsageError(
                f"'{out}' is in use: process {holder} trains there. Wait until it ends, or choose another --out."
            ) from None
        except OSError as error:
            warn(f"'{out}' cannot be locked ({error.strerror}): take care that no other process trains there.")
            break
        if _is_at(handle, path):
            break
        os.close(handle)  # whoever had the lock has removed the file meanwhile
    try:
        os.ftruncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
        yield
    finally:
        try:
            with suppress(OSError):  # its name alone does no harm
                path.unlink(missing_ok=True)
        finally:
            os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    """Whether an open file is the one at a path."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def write(path: Path, text: str) -> None:
    """A text file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def remove_unfinished(out: Path, names: Sequence[str]) -> None:
    """Remove what a process that was killed has left of these files, under their temporary names."""
    for name in names:
        for path in unfinished(out / name):
            path.unlink()


def present(out: Path, names: Sequence[str]) -> list[Path]:
    """The paths of those files that there are."""
    return [out / name for name in names if (out / name).exists()]


def history_in(out: Path) -> list[dict[str, float]]:
    """The lines of history.jsonl in a folder, as `motes.runs._run.history` made them; nothing where there is none.

    Raises:
        DataError: a line that is not one of theirs.
    """
    path, made = out / HISTORY, []
    if not path.is_file():
        return []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            entries = json.loads(line)
            made.append({key: float(value) for key, value in entries.items()} | {"step": int(entries["step"])})
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            raise DataError(
                f"line {number} of '{path}' is not the loss of a step, as `motes train` writes it. Remove the file; "
                "there is no figure of the loss without it."
            ) from None
    return made
