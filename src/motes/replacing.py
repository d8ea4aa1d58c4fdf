"""Files that are written whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """A temporary name beside `path`, renamed to it at the end: a reader sees the old file or the new, never half.

    `durable`: so does who looks after the power has failed, since the file and its folder are flushed to the disk.
    """
    # An ordinary file, which follows the umask; those of `tempfile` are private.
    temporary = _temporary(path, secrets.token_hex(4))
    try:
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from None
    try:
        yield temporary
        if durable:
            _flush(temporary)
        temporary.replace(path)
        if durable:
            _flush(path.parent)
    except OSError as error:
        if error.filename in (None, str(temporary)):  # a full disk has no name; nobody knows the temporary one
            error.filename = str(path)
            del error.filename2  # of a rename
        raise
    finally:
        temporary.unlink(missing_ok=True)


def unfinished(path: Path) -> list[Path]:
    """What processes that were killed while they wrote `path` have left; its name may be a pattern."""
    return list(path.parent.glob(_temporary(path, "[0-9a-f]" * 8).name))


def _temporary(path: Path, mark: str) -> Path:
    return path.with_name(f".{path.name}.{mark}{path.suffix}")


def _flush(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
