"""Parts shared by all commands: the application, output, usage errors and signals."""

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cyclopts import App, CycloptsError, Parameter, UnknownOptionError

from motes.errors import Terminated, UsageError
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
    with suppress(InvalidOperation):
        number = Decimal(text)  # exact also for 1e23
        if number == number.to_integral_value() and number.adjusted() < DIGITS:
            return int(number)
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


def misuse(error: CycloptsError) -> str:
    """Return the message for an error of the parser, with the command that shows the options."""
    text = str(error).removeprefix("Invalid value for ")
    if isinstance(error, UnknownOptionError):
        got = error.token.keyword or error.token.value
        takes_recipe = any("--recipe" in one.names for one in error.argument_collection)
        if got == "-":
            text = "got '-'; expected a file: standard input is not read. Save the data as a .csv first."
        elif takes_recipe and (settings := _settings(got)):
            say = " or ".join(f"--set {setting}=..." for setting in settings)
            text = f"unknown option '{got}': it is a value of the recipe. Use {say}."
    return f"{text} See `{' '.join(('motes', *(error.command_chain or ())))} --help`."


def _settings(option: str) -> list[str]:
    """Return the recipe keys, as section.key, with the same name as an option."""
    from motes.recipes import load_recipe
    from motes.training.recipe import keys_of

    key, recipes = option.removeprefix("--").replace("-", "_"), (load_recipe("default"), load_recipe("table"))
    parts = {section: getattr(recipe, section) for recipe in recipes for section in recipe.SECTIONS}
    found = [section for section, part in parts.items() if key in keys_of(type(part))]
    return [f"{section}.{key}" for section in sorted(found, key=lambda one: one not in ("training", "table"))]


# --- Ctrl-C and SIGTERM ---------------------------------------------------------------------------------------------


@contextmanager
def terminated_by_sigterm() -> Iterator[None]:
    """Make SIGTERM raise `Terminated`, so that the command ends as after Ctrl-C.

    During training, a signal waits until the steps under way are done (`motes.training.checkpoints.interruptible`).
    """
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
