"""Standard output, of which no line is lost without an error."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

NAME = "standard output"


class StandardOutput:
    """Standard output, whose errors name it.

    Args:
        stream: to write to; None where the shell has closed it.
    """

    def __init__(self, stream: TextIO | None):
        self.closed_by_shell = stream is None
        # Something has to be in its place, or the next file that is opened would be.
        self.stream = open(os.devnull, "w") if stream is None else stream  # noqa: SIM115

    def write(self, text: str) -> int:
        """Write, or raise an OSError with a name."""
        if self.closed_by_shell:
            raise OSError(errno.EBADF, "it is closed", NAME)
        with _named():
            return self.stream.write(text)

    def flush(self) -> None:
        """Flush, or raise an OSError with a name."""
        with _named():
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def _named() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        error.filename = NAME
        raise
