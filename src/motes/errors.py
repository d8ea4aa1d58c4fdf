"""The errors that motes raises on purpose.

Each message says what motes got, what was expected and what to do. The command line prints it on one screen and
leaves with `exit_code`; in Python they are ordinary exceptions, most of them also a `ValueError`.
"""

import difflib
import os
from collections.abc import Iterable

__all__ = [  # noqa: RUF022 - in the order of the file
    "MotesError",
    "UsageError",
    "RecipeError",
    "UnknownKindError",
    "DataError",
    "TrainingError",
    "Terminated",
    "ModelFileError",
    "NoModelError",
]


class MotesError(Exception):
    """Base of every error that motes raises on purpose.

    Example:
        >>> try:
        ...     motes.load("nowhere.safetensors")
        ... except motes.MotesError as error:
        ...     print(type(error).__name__, error.exit_code)
        NoModelError 2
    """

    exit_code = 1


class UsageError(MotesError, ValueError):
    """A wrong name, option or combination: the call itself must change.

    Example:
        >>> motes.make_shape("moon", 10)
        Traceback (most recent call last):
            ...
        motes.errors.UsageError: unknown shape 'moon'. Did you mean 'moons'? Choose from: ...
    """

    exit_code = 2


class RecipeError(UsageError):
    """A recipe with an unknown key or a value that does not fit.

    Example:
        >>> motes.load_recipe("default", {"training.steps": 0})
        Traceback (most recent call last):
            ...
        motes.errors.RecipeError: recipe 'default': training.steps = 0; expected a number at least 1 and ...
    """


class UnknownKindError(RecipeError):
    """A recipe names a kind that no registered class has.

    Example:
        >>> motes.load_recipe("default", {"loss.kind": "hubber"})
        Traceback (most recent call last):
            ...
        motes.errors.UnknownKindError: recipe 'default': unknown loss.kind 'hubber'. Choose from: ...
    """


class DataError(MotesError, ValueError):
    """Data that cannot be used; the message names the row and column where there is one.

    Example:
        >>> motes.fit([[0.0, 1.0], [np.inf, 2.0], [3.0, 4.0]], verbose=False)
        Traceback (most recent call last):
            ...
        motes.errors.DataError: the data holds inf in row 2, column 'x' (1 such cell in all). ...
    """


class TrainingError(MotesError):
    """Training broke down; `result` holds the last good state.

    Example:
        >>> motes.errors.TrainingError("the loss was not finite", result=model.training).result.steps
        2
    """

    def __init__(self, message: str, result: object = None):
        super().__init__(message)
        self.result = result


class Terminated(MotesError):
    """The system has asked the process to end (SIGTERM).

    Example:
        >>> motes.errors.Terminated().exit_code
        143
    """

    exit_code = 143


class ModelFileError(MotesError):
    """A model file that is missing, damaged, or of another format.

    Example:
        >>> from pathlib import Path
        >>> size = Path("broken.safetensors").write_text("not a model")
        >>> motes.load("broken.safetensors")
        Traceback (most recent call last):
            ...
        motes.errors.ModelFileError: 'broken.safetensors' is damaged or not a model of motes: Error ...
    """


class NoModelError(ModelFileError, UsageError):
    """A model file that is not there: the call itself must change, as for any other file.

    Example:
        >>> motes.load("nowhere.safetensors")
        Traceback (most recent call last):
            ...
        motes.errors.NoModelError: there is no model file 'nowhere.safetensors'. `motes train` makes ...
    """

    exit_code = 2


_process: int | None = None  # the one in which JAX computes


def check_process() -> None:
    """Refuse to compute in a copy, made by fork, of a process that has computed: JAX's threads are not in the copy.

    Raises:
        UsageError: this process is such a copy, in which a computation would never end.
    """
    global _process
    if _process is None:
        _process = os.getpid()
    elif _process != os.getpid():
        raise UsageError(
            f"got a call in process {os.getpid()}, a fork of process {_process}, which has computed already; there "
            "JAX would wait forever for threads that a fork does not copy. Start new processes by 'spawn', such as "
            'multiprocessing.get_context("spawn").Pool(), and load the model in each.'
        )


def check_seed(seed: object) -> int:
    """`seed` itself, a whole number from 0 to 2**32 - 1.

    Raises:
        UsageError: anything else.
    """
    if isinstance(seed, bool) or not hasattr(seed, "__index__") or not 0 <= seed.__index__() < 2**32:
        raise UsageError(f"seed = {seed!r}; expected a whole number from 0 to 2**32 - 1.")
    return int(seed.__index__())


def check_count(n: object, what: str) -> int:
    """`n` itself, a whole number of at least 1.

    Raises:
        UsageError: anything else.
    """
    if isinstance(n, bool) or not hasattr(n, "__index__") or n.__index__() < 1:
        raise UsageError(f"n = {n!r} {what} requested; expected a whole number, at least 1.")
    return int(n.__index__())


def unknown(kind: str, got: str, choices: Iterable[str], where: str = "") -> str:
    """The sentence for a name that is not among `choices`: what it got, and where, the nearest one, and all of them."""
    choices = list(choices)
    near = difflib.get_close_matches(got, choices, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"unknown {kind} '{got}'{where}.{hint} Choose from: {', '.join(choices)}."
