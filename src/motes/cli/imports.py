"""The option `--import FILE.py`, which registers your own classes and commands before a command runs.

It is the only way in which a command runs code from outside motes. A recipe or a model file never does.
"""

import sys
import traceback
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from cyclopts import CommandCollisionError

from motes.cli.common import app, start_jax
from motes.errors import UsageError

OPTION = "--import"
_FILES: dict[str, Path] = {}  # resolved path, as in a traceback -> path on the command line
_COMMANDS: dict[str, set[str]] = {}  # resolved path -> the commands that the file registered


def without_imports(words: list[str]) -> list[str]:
    """Run the files of `--import FILE.py` in order, and return the remaining words of the command line.

    Raises:
        UsageError: if there is no file, or for an error in it.
    """
    rest: list[str] = []
    left = iter(words)
    for word in left:
        name, equals, file = word.partition("=")
        if name != OPTION:
            rest.append(word)
            continue
        file = file if equals else next(left, "")
        if not file:
            raise UsageError(f"got {OPTION} without a file; expected {OPTION} FILE.py, which registers classes.")
        run_file(Path(file))
    return rest


def run_file(path: Path) -> None:
    """Run a Python file as a module of its own.

    Raises:
        UsageError: if there is no such file, or for an error in it, with its line.
    """
    if path.suffix != ".py" or not path.is_file():
        raise UsageError(f"got {OPTION} {path}; expected an existing Python file, such as my_parts.py.")
    start_jax()
    place = str(path.resolve())
    _FILES[place] = path
    for command in _COMMANDS.pop(place, ()):  # from an earlier version of the file, as in a notebook
        del app[command]
    before = {*app}
    name = f"motes_import_{path.stem}"
    spec = spec_from_file_location(name, path.resolve())
    assert spec is not None and spec.loader is not None  # it ends in .py
    sys.modules[name] = module = module_from_spec(spec)  # where dataclasses look for the types of their fields
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"{OPTION} {_locate(path, error)}: {_describe(error)}") from error
    _COMMANDS[place] = {*app} - before


def _locate(path: Path, error: Exception) -> str:
    """Return the file and the line of the error in it."""
    here = [one.lineno for one in traceback.extract_tb(error.__traceback__) if one.filename == str(path.resolve())]
    line = error.lineno if isinstance(error, SyntaxError) else next(reversed(here), None)
    return f"{path}" if line is None else f"{path}, line {line}"


def fault_of_imports(error: BaseException) -> str | None:
    """Return message and line of an error raised in a file of --import; None if it was raised elsewhere."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename in _FILES:
            where = f"{_FILES[frame.filename]}, line {frame.lineno}"
            return f"{where}: {_describe(error)}\nThe error is in this file, not in motes."
    return None


def _describe(error: BaseException) -> str:
    if isinstance(error, UsageError):
        return str(error)
    if isinstance(error, CommandCollisionError):
        return f"{error} motes has a command of this name; choose another."
    return f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"
