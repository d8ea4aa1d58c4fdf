"""The errors that motes raises on purpose.

Each message says what motes got, what it expected and what to do. The command line prints the message and exits with
`exit_code`. In Python, they are ordinary exceptions; most are also a `ValueError`.
"""

import difflib
import os
from collections.abc import Iterable

__all__ = [  # noqa: RUF022 - in the order of the file
    "MotesError", "UsageError", "RecipeError", "UnknownKindError", "DataError", "TrainingError", "Terminated",
    "ModelFileError", "NoModelError", "LostProcessError",
]  # fmt: skip


class MotesError(Exception):
    """The base class of all errors that motes raises on purpose.

    Example:
        >>> try:
        ...     motes.load("nowhere.safetensors")
        ... except motes.MotesError as error:
        ...     print(type(error).__name__, error.exit_code)
        NoModelError 2
    """

    exit_code = 1


class UsageError(MotesError, ValueError):
    """A wrong name, option or combination of options: change the call.

    Example:
        >>> motes.make_shape("moon", 10)
        Traceback (most recent call last):
            ...
        motes.errors.UsageError: unknown shape 'moon'. Did you mean 'moons'? Choose from: ...
    """

    exit_code = 2


class RecipeError(UsageError):
    """A recipe with an unknown key or an invalid value.

    Example:
        >>> motes.load_recipe("default", {"training.steps": 0})
        Traceback (most recent call last):
            ...
        motes.errors.RecipeError: recipe 'default': training.steps = 0; expected a number at least 1 and ...
    """


class UnknownKindError(RecipeError):
    """A recipe with a `kind` that is not registered.

    Example:
        >>> motes.load_recipe("default", {"loss.kind": "hubber"})
        Traceback (most recent call last):
            ...
        motes.errors.UnknownKindError: recipe 'default': unknown loss.kind 'hubber'. Choose from: ...
    """


class DataError(MotesError, ValueError):
    """Data that cannot be used; the message names the row and the column if there are any.

    Example:
        >>> motes.fit([[0.0, 1.0], [np.inf, 2.0], [3.0, 4.0]], verbose=False)
        Traceback (most recent call last):
            ...
        motes.errors.DataError: the data holds inf in row 2, column 'x' (1 such cell in all). ...
    """


class TrainingError(MotesError):
    """A training that diverged; `result` is the model with the last finite weights.

    Example:
        >>> motes.errors.TrainingError("the loss was not finite", result=model.training).result.steps
        2
    """

    def __init__(self, message: str, result: object = None):
        super().__init__(message)
        self.result = result


class Terminated(MotesError):
    """A request of the system to end the process (SIGTERM).

    Example:
        >>> motes.errors.Terminated().exit_code
        143
    """

    exit_code = 143


class ModelFileError(MotesError):
    """A model file that is missing, damaged, or in another format.

    Example:
        >>> from pathlib import Path
        >>> size = Path("broken.safetensors").write_text("not a model")
        >>> motes.load("broken.safetensors")
        Traceback (most recent call last):
            ...
        motes.errors.ModelFileError: 'broken.safetensors' is damaged or not a model of motes: Error ...
    """


class NoModelError(ModelFileError, UsageError):
    """A model file that does not exist.

    Example:
        >>> motes.load("nowhere.safetensors")
        Traceback (most recent call last):
            ...
        motes.errors.NoModelError: there is no model file 'nowhere.safetensors'. `motes train` makes ...
    """

    exit_code = 2


class LostProcessError(MotesError):
    """Another process of the same training ended, or cannot be reached.

    Its exit code is for `motes train`, which starts such processes and ends with 1.

    Example:
        >>> raise motes.errors.LostProcessError("another process ended. Continue from the last checkpoint.")
        Traceback (most recent call last):
            ...
        motes.errors.LostProcessError: another process ended. Continue from the last checkpoint.
    """

    exit_code = 75


_process: int | None = None  # the id of the process in which JAX computes


def check_process() -> None:
    """Refuse to compute in a fork of a process that has already used JAX, whose threads a fork does not copy.

    Raises:
        UsageError: if this process is such a fork; a computation would never end.
    """
    global _process
    if _process is None:
        _process = os.getpid()
    elif _process != os.getpid():
        raise UsageError(
            f"got a call in process {os.getpid()}, a fork of process {_process}, which has already used JAX. In a "
            "fork, JAX waits forever for threads that are not copied. Start new processes by 'spawn', such as "
            'multiprocessing.get_context("spawn").Pool(), and load the model in each.'
        )


def check_seed(seed: object) -> int:
    """Check and return a seed, a whole number from 0 to 2**32 - 1.

    Raises:
        UsageError: for anything else.
    """
    if isinstance(seed, bool) or not hasattr(seed, "__index__") or not 0 <= seed.__index__() < 2**32:
        raise UsageError(f"seed = {seed!r}; expected a whole number from 0 to 2**32 - 1.")
    return int(seed.__index__())


def check_count(n: object, what: str) -> int:
    """Check and return a count `n`, a whole number of at least 1.

    Raises:
        UsageError: for anything else.
    """
    if isinstance(n, bool) or not hasattr(n, "__index__") or n.__index__() < 1:
        raise UsageError(f"n = {n!r} {what} requested; expected a whole number, at least 1.")
    return int(n.__index__())


def check_unicode(text: str, what: str, error: type[MotesError] = DataError) -> None:
    """Refuse a text with a lone surrogate, such as "\\ud800", which cannot be written to a file.

    Raises:
        MotesError: an `error` for such a text, which `what` names.
    """
    try:
        text.encode()
    except UnicodeEncodeError as wrong:
        start = max(wrong.start - 20, 0)
        raise error(
            f"{what}: got {text[start : wrong.end + 20]!a} with the lone surrogate "
            f"{ascii(text[wrong.start])[1:-1]}; expected Unicode text. Replace or remove it."
        ) from None


def unknown(kind: str, got: str, choices: Iterable[str], where: str = "") -> str:
    """Return the message for a name that is not among `choices`, with the most similar choice and all choices."""
    choices = list(choices)
    near = difflib.get_close_matches(got, choices, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return f"unknown {kind} '{got}'{where}.{hint} Choose from: {', '.join(choices)}."
