"""Parts shared by all commands: the application, output, usage errors and signals."""

import errno
import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

from cyclopts import (
    App,
    CycloptsError,
    MissingArgumentError,
    Parameter,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from motes.errors import Terminated, UsageError, unknown
from motes.text_options import TextOptions

app = App(
    name="motes",
    help="Diffusion models for points and tables: train one in seconds, watch it work, sample it.",
    help_epilogue="Exit codes: 0 done, 1 failed or output lost, 2 wrong usage, 130 Ctrl-C, 143 SIGTERM. `--debug` "
    "shows the traceback of an error. `--import FILE.py` runs a file that registers your own classes for recipes.",
    version=lambda: f"motes {version('motes')}",
    version_flags=["--version"],
    help_flags=["--help", "-h"],
    default_parameter=Parameter(negative=""),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)


def whole(type_: object, tokens: Any) -> int:
    """Parse a whole number, such as 1000000 or 1e6, but not 1.5."""
    text = tokens[0].value
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = Decimal(text)  # exact also for 1e23
        if number == number.to_integral_value() and number.adjusted() < DIGITS:
            return int(number)
    except InvalidOperation:
        pass
    raise ValueError(f"got {text}; expected a whole number.")


DIGITS = 20  # at most in a whole number: more than any option needs


def check_rows_out(out: Path | None, overwrite: bool, types: Mapping[str, Any] | None = None) -> None:
    """Check, before the work, that rows can be written to a file.

    Args:
        out: the file; None: standard output.
        overwrite: whether the file may already exist.
        types: types of the columns, if known; see `check_writable`.

    Raises:
        UsageError: if the folder does not exist, `out` is a folder, the file exists and `overwrite` is False, or its
            format cannot be written.
    """
    from motes.data.files import check_writable

    if out is None:
        return
    check_writable(out, types or {})
    if not out.parent.is_dir():
        raise UsageError(f"'{out}': there is no folder '{out.parent}'. Make it first.")
    if out.is_dir():
        raise UsageError(f"'{out}' is a folder; expected the name of a file.")
    if out.exists() and not overwrite:
        raise UsageError(f"'{out}' exists already. Choose another --out, or replace it with --overwrite.")


def refuse_others(model: Any, *, points: Mapping[str, object], tables: Mapping[str, object]) -> None:
    """Refuse options for the other kind of model.

    Args:
        model: model of points or of a table.
        points, tables: option -> given value for each kind; None, False or empty if it was not given.

    Raises:
        UsageError: if such an option was given; the message names the first.
    """
    mine, other, options = ("tables", "points", points) if model.kind == "table" else ("points", "tables", tables)
    for name, value in options.items():
        if value:
            raise UsageError(f"got {name} for a model of {mine}; {name} is for models of {other}. Leave it out.")


def load_model(path: Path, text: TextOptions = TextOptions(), source: str | Path | None = None) -> Any:
    """Load the model of a run. It reads files as during training, except for the options given for this `source`.

    Raises:
        UsageError: for text options if the source is not a text file, or if there is no such model.
        ModelFileError: if the file is not a model.
    """
    from motes.loading import load

    model = load(path)
    text.check_for(source or model.source or "the model's own rows")
    model.recipe = replace(model.recipe, text=text.over(model.recipe.text))
    return model


def note(text: str) -> None:
    print(text, file=sys.stderr)


def start_jax() -> None:
    """Cache compiled programs between commands; a cache that cannot be used is ignored."""
    import warnings

    from platformdirs import user_cache_dir

    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(user_cache_dir("motes")) / "compiled"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    warnings.filterwarnings("ignore", message=".*persistent compilation cache.*")


def print_result(result: Any, as_json: bool) -> None:
    """Print a result in words or as JSON."""
    print(json.dumps(result.to_dict(), indent=2) if as_json else result)


# --- Standard output: no line is lost without an error --------------------------------------------------------------


NAME = "standard output"


class StandardOutput:
    """Standard output with errors that name it.

    Args:
        stream: stream to write to; None if the shell has closed it.
    """

    def __init__(self, stream: TextIO | None):
        self.closed_by_shell = stream is None
        # Keep its file descriptor occupied; otherwise the next file that is opened would get it.
        self.stream = open(os.devnull, "w") if stream is None else stream  # noqa: SIM115

    def write(self, text: str) -> int:
        """Write, or raise an OSError that names standard output."""
        if self.closed_by_shell:
            raise OSError(errno.EBADF, "it is closed", NAME)
        with _name_errors():
            return self.stream.write(text)

    def flush(self) -> None:
        """Flush, or raise an OSError that names standard output."""
        with _name_errors():
            self.stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def _name_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        error.filename = NAME
        raise


# --- Errors of the parser in the form of all errors: what was given, what was expected, what to do ------------------


def misuse(error: CycloptsError) -> str:
    """Return the message for an error of the parser."""
    commands = " ".join(("motes", *(error.command_chain or ())))
    help_ = f"See `{commands} --help`."
    match error:
        case UnknownCommandError(unused_tokens=[got, *_]):
            names = [name for name in app if not name.startswith("-")]
            return f"{unknown('command', got, names)} {help_}"
        case MissingArgumentError(argument=argument) if argument is not None:
            given = error.keyword or next((token.keyword for token in argument.tokens if token.keyword), None)
            helped = app[commands.split()[-1]].assemble_argument_collection(parse_docstring=True)
            about = next(one.parameter.help or "" for one in helped if one.name == argument.name).rstrip(".")
            name = given or argument.name
            if given:
                return f"got {name} without a value; expected one. {about}. {help_}"
            return f"got no {name}; expected {about[:1].lower()}{about[1:]}. {help_}"
        case UnknownOptionError():
            got = error.token.keyword or error.token.value
            if got == "-":
                return f"got '-'; expected a file: standard input is not read. Save the data as a .csv first. {help_}"
            names = sorted({name for one in error.argument_collection for name in one.names if name.startswith("--")})
            if "--recipe" in names and (settings := _settings(got)):
                say = " or ".join(f"--set {setting}=..." for setting in settings)
                return f"unknown option '{got}': it is a value of the recipe. Use {say}. {help_}"
            return f"{unknown('option', got, names)} {help_}"
        case UnusedCliTokensError(unused_tokens=[got, *_]):
            return f"got '{got}', one word too many; expected only options after the last file or name. {help_}"
    return f"{str(error).removeprefix('Invalid value for ')} {help_}"


def _settings(option: str) -> list[str]:
    """Return the recipe keys, as section.key, with the same name as an option."""
    from motes.recipes import load_recipe
    from motes.training.recipe import keys_of

    key, recipes = option.removeprefix("--").replace("-", "_"), (load_recipe("default"), load_recipe("table"))
    parts = {section: getattr(recipe, section) for recipe in recipes for section in recipe.SECTIONS}
    found = [section for section, part in parts.items() if key in keys_of(type(part))]
    return [f"{section}.{key}" for section in sorted(found, key=lambda one: one not in ("training", "table"))]


# --- Ctrl-C and SIGTERM in commands that have something to save -----------------------------------------------------


SHOW_CURSOR = "\x1b[?25h"
LONGEST = 4.5  # seconds from SIGTERM to the end: SIGKILL often follows soon


@contextmanager
def ending_whole() -> Iterator[None]:
    """Make SIGTERM raise `Terminated`, within a few seconds, and a second Ctrl-C end the process at once.

    During training, the first signal waits until the steps under way are done (`learning.resuming.interruptible`).
    Python runs its own handlers between two of its instructions, which may be many seconds apart while a program is
    compiled. So a thread reads the signals from a pipe. The files on disk are complete at any moment.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals only ever reach the main thread
        return
    read, write = os.pipe()
    os.set_blocking(write, False)
    former = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(read,), daemon=True).start()
    try:
        with terminated_by_sigterm():
            yield
    finally:
        signal.set_wakeup_fd(former)
        os.close(write)  # which ends the thread


@contextmanager
def terminated_by_sigterm() -> Iterator[None]:
    """Make SIGTERM raise `Terminated`, for commands that then end soon on their own, such as a server."""
    before = signal.getsignal(signal.SIGTERM)
    if before is not signal.SIG_DFL or threading.current_thread() is not threading.main_thread():
        yield  # if a handler is set or the signal is ignored, leave it so
        return
    signal.signal(signal.SIGTERM, _raise_terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def loading() -> Iterator[None]:
    """Delay Ctrl-C until modules are loaded: while JAX's library is loading, it would abort the process.

    Raises:
        KeyboardInterrupt: at the end, if Ctrl-C was pressed meanwhile.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


def _raise_terminated(number: int, frame: object) -> None:
    raise Terminated("ended by SIGTERM.")


def _watch(read: int) -> None:
    """Read signal numbers from a pipe until it is closed."""
    interrupts = 0
    while numbers := os.read(read, 64):
        interrupts += numbers.count(signal.SIGINT)
        if interrupts > 1:
            _leave(130)
        if signal.SIGTERM in numbers:
            late = threading.Timer(LONGEST, _leave, (143,))
            late.daemon = True
            late.start()
    os.close(read)


def _leave(code: int) -> None:
    """End the process even if its main thread is busy."""
    if sys.stderr.isatty():
        sys.stderr.write(SHOW_CURSOR)  # a progress bar has hidden it
        sys.stderr.flush()
    os._exit(code)
