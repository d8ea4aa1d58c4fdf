"""The command line: parses options, calls the packages below and prints. Only commands that use JAX load it."""

import _thread
import os
import signal
import sys
import time
import warnings
from typing import TYPE_CHECKING

from cyclopts import CycloptsError
from rich.console import Console

from motes.cli import asking, listing, sharding, sweeping, training
from motes.cli.common import app, misuse, note, with_standard_input
from motes.cli.importing import describe_fault, without_imports
from motes.cli.processes import end_worker
from motes.errors import MotesError, Terminated

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

__all__ = ["app", "asking", "listing", "main", "sharding", "sweeping", "training"]

STDOUT = "standard output"


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 failed or output lost, 2 wrong usage, 130 Ctrl-C, 143 SIGTERM."""
    if sys.stdout is None:  # Python would print nothing, without an error
        note(f"motes: cannot use '{STDOUT}': it is closed.")
        sys.exit(1)
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a terminal without braille shows question marks
    warnings.showwarning = lambda message, *where: note(f"warning: {message}")
    sys.unraisablehook = _repeat_interrupt
    words = [word for word in sys.argv[1:] if word != "--debug"]
    try:
        code = _run(words, debug="--debug" in sys.argv)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the end of the command has been reported
        sys.stdout.flush()
    except OSError:
        # The reader of the output has gone, such as `head`, or the disk is full, which `_run` has reported. Nothing
        # more can be printed, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    try:
        sys.stderr.flush()
    except OSError:  # only lines of progress are lost
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    end_worker(code)
    sys.exit(code)


def _run(words: list[str], debug: bool) -> int:
    try:
        words = with_standard_input(without_imports(words))
        result = app(words or ["--help"], exit_on_error=False, print_error=False, console=Console(soft_wrap=False))
        sys.stdout.flush()  # here, so that an error is reported like any other
        return result if isinstance(result, int) else 0
    except BrokenPipeError:
        raise
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            raise
        code, text = _describe_error(error, words)
    note(f"motes: {text}")
    return code


def _repeat_interrupt(lost: "UnraisableHookArgs") -> None:
    """Interrupt once more if Python dropped the exception, as in callbacks of the garbage collector, which JAX has."""
    numbers: dict[object, signal.Signals] = {KeyboardInterrupt: signal.SIGINT, Terminated: signal.SIGTERM}
    if lost.exc_type not in numbers:
        sys.__unraisablehook__(lost)
        return

    def interrupt() -> None:
        time.sleep(0.01)  # until the callback has ended
        _thread.interrupt_main(numbers[lost.exc_type])

    _thread.start_new_thread(interrupt, ())


def _describe_error(error: BaseException, words: list[str]) -> tuple[int, str]:
    """Return the exit code and the message for an error."""
    match error:
        case CycloptsError():
            return 2, misuse(error)
        case MotesError():
            return error.exit_code, str(error)
        case OSError():
            # An error of any file names it; printing does not.
            return 1, f"cannot use '{error.filename or STDOUT}': {error.strerror or error}."
        case KeyboardInterrupt():
            text = f"interrupted. {error}" if str(error) else "interrupted. Finished files are kept."
            if "train" in words[:1]:
                text += " `motes plot` draws the figures, `motes evaluate --report` writes a report."
            return 130, text
        case MemoryError():
            return 1, "out of memory. Use fewer rows or a smaller network."
    if fault := describe_fault(error):
        return 1, f"{fault}\nThe error is in this file, not in motes."
    return 1, f"{type(error).__name__}: {error}\nThis is a bug; `--debug` shows where."
