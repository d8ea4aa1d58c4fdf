"""`--import FILE.py`: classes of your own, registered before a command is carried out.

It is the one way in which a command runs code that is not of motes. A recipe or a model file never does.
"""

import sys
import traceback
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from motes.cli._common import start_jax
from motes.errors import UsageError

OPTION = "--import"


def without_imports(words: list[str]) -> list[str]:
    """The words of a command line without `--import FILE.py`, whose files are run in their order.

    Raises:
        UsageError: no file, or an error in it.
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
        UsageError: there is no such file, or an error in it, with its line.
    """
    if path.suffix != ".py" or not path.is_file():
        raise UsageError(f"got {OPTION} {path}; expected a Python file that is there, such as my_parts.py.")
    start_jax()
    name = f"motes_import_{path.stem}"
    spec = spec_from_file_location(name, path.resolve())
    assert spec is not None and spec.loader is not None  # it ends in .py
    sys.modules[name] = module = module_from_spec(spec)  # where dataclasses look for the types of their fields
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"{OPTION} {_line(path, error)}: {_said(error)}") from error


def _line(path: Path, error: Exception) -> str:
    """The file, and its line where the error is."""
    here = [one.lineno for one in traceback.extract_tb(error.__traceback__) if one.filename == str(path.resolve())]
    line = error.lineno if isinstance(error, SyntaxError) else next(reversed(here), None)
    return f"{path}" if line is None else f"{path}, line {line}"


def _said(error: Exception) -> str:
    if isinstance(error, UsageError):
        return str(error)
    return f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"
