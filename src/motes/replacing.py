"""Write files atomically."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield a temporary path next to `path`, and rename it to `path` at the end: readers see the old or the new file.

    `durable`: flush the file and its folder to the disk, so that this also holds after a power failure.
    """
    # An ordinary file follows the umask; files of `tempfile` are private.
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
        # A full disk gives no name, and users do not know the temporary one.
        if error.filename in (None, str(temporary)):
            error.filename = str(path)
            del error.filename2  # set by a rename
        raise
    finally:
        temporary.unlink(missing_ok=True)


def unfinished(path: Path) -> list[Path]:
    """Return temporary files left by processes that were killed while writing `path`; its name may be a pattern."""
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
