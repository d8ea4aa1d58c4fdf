"""`--import FILE.py` registers your own classes and commands before a command runs.

It is the only way in which a command runs code from outside motes. A recipe or a model file never does.
"""

import sys
import traceback
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from motes.cli.common import start_jax
from motes.errors import UsageError

OPTION = "--import"
FILES: dict[str, Path] = {}  # resolved path, as in a traceback -> path on the command line, for each imported file


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
    FILES[str(path.resolve())] = path
    name = f"motes_import_{path.stem}"
    spec = spec_from_file_location(name, path.resolve())
    assert spec is not None and spec.loader is not None  # it ends in .py
    sys.modules[name] = module = module_from_spec(spec)  # where dataclasses look for the types of their fields
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UsageError(f"{OPTION} {describe_fault(error) or f'{path}: {error}'}") from error


def describe_fault(error: BaseException) -> str | None:
    """Return place and message of an error raised in a file of --import; None if it was raised elsewhere."""
    places = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):  # raised before the file runs
        places.append((error.filename or "", error.lineno))
    for file, line in reversed(places):
        if file in FILES:
            what = error if isinstance(error, UsageError) else f"{type(error).__name__}: {error}"
            return f"{FILES[file]}, line {line}: {what}"
    return None
