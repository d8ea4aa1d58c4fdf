"""Training states and model files: safetensors with JSON, written atomically.

    train(steps) = train(steps, from the state after k steps of it),    to the bit, for every k

A loop provides its state as named arrays and numbers; a `Checkpointer` decides when and where to write it. With other
rows, training continues without the parts of the state that belong to the rows: the position in their order, and the
validations.
"""

import hashlib
import json
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, cast

import equinox as eqx
import jax
import numpy as np
from numpy.typing import NDArray

from motes.errors import ModelFileError, MotesError, UnknownKindError, UsageError, check_process
from motes.progress import OnProgress, silent
from motes.replacing import replacing

T = TypeVar("T")
Arrays = dict[str, NDArray[Any]]
BATCHES, WATCH = "batches", "watch"  # parts of a state that belong to the rows


class State(NamedTuple):
    """The state that a training needs to continue.

    Attributes:
        arrays: name -> array.
        numbers: name -> value that JSON can store.
    """

    arrays: Arrays
    numbers: dict[str, Any]

    def part(self, name: str) -> "State":
        """Return the state that `named` stored under a name."""
        start = f"{name}/"
        own = lambda parts: {key.removeprefix(start): one for key, one in parts.items() if key.startswith(start)}
        return State(own(self.arrays), own(self.numbers))

    def has(self, name: str) -> bool:
        """Return whether `named` stored anything under a name."""
        return any(key.startswith(f"{name}/") for key in (*self.arrays, *self.numbers))

    def with_other_rows(self) -> "State":
        """Return the state without the parts that belong to the training rows."""
        rest = lambda parts: {key: one for key, one in parts.items() if key.split("/")[0] not in (BATCHES, WATCH)}
        return State(rest(self.arrays), rest(self.numbers))

    def tree(self, name: str, like: T) -> T:
        """Return the tree that `tree_state` stored under a name; `like` has the same shapes.

        Raises:
            ModelFileError: arrays of other names, shapes or types than in `like`.
        """
        own = self.part(name).arrays
        otherwise = lambda key, got, expected: (
            f"the training state, {name}/{key}: got {got}; expected {expected}. It is from another version of motes "
            "or other data: start a new training."
        )
        return jax.device_put(_fill_leaves(like, own, eqx.is_array, otherwise))


def tree_state(tree: Any) -> State:
    """Return the arrays of a tree, named by their paths."""
    return State(arrays_of(tree), {})


def named(parts: Mapping[str, State]) -> State:
    """Merge states into one, each under its name."""
    every = [(f"{name}/", part) for name, part in parts.items()]
    return State(
        {name + key: one for name, part in every for key, one in part.arrays.items()},
        {name + key: one for name, part in every for key, one in part.numbers.items()},
    )


class Checkpointer(Protocol):
    """Saves states of one training.

    Attributes:
        state: the state to continue from; None: start anew.
    """

    state: State | None

    def due(self) -> bool:
        """Return whether it is time to save a state."""

    def save(self, step: int, state: State, may_wait: Callable[[], bool] = lambda: False) -> None:
        """Save the state after `step` steps. An exception ends the training.

        `may_wait` returns whether to wait until the state can be saved: at the end, unless a signal has arrived.
        """


@dataclass(frozen=True)
class FitSession:
    """Options of a training that do not affect what is learned, and the model or state to continue from.

    Attributes:
        keeper: saves the complete state at intervals and at the end, and may have a state to continue from, of a
            training with the same arguments except the number of steps. With other steps, patience starts again.
        on_progress: called with the progress, before the first step and then a few times per second.
        source: name of the rows in the model file and in messages.
        start: a `Model` with the same columns and network to continue from, with its units, its classes or its schema,
            and with the complete state of its training. A loaded model has only its weights.
        state: the state to continue from, without a keeper; None: start anew.
        more: add the recipe's steps to the steps of the start, even if all rows are the same.
        scratch: folder for the file of rows that do not fit into memory; None: a temporary folder.
    """

    keeper: Checkpointer | None = None
    on_progress: OnProgress = silent
    source: str = ""
    start: Any = None
    state: State | None = None
    more: bool = False
    scratch: Path | None = None

    @property
    def kept(self) -> State | None:
        """The state to continue from, if there is one."""
        return self.state if self.keeper is None else self.keeper.state

    @property
    def name(self) -> str:
        """The name of the rows in messages."""
        return f"'{self.source}'" if self.source else "the data"

    def start_as(self, kind: type[Any]) -> Any:
        """Return the model to continue from, after checking its kind.

        Raises:
            UsageError: it is a model of another kind.
        """
        if self.start is not None and not isinstance(self.start, kind):
            got = self.start.about
            raise UsageError(f"start is a model of {got}; expected one of {kind.about}, as the recipe says.")
        return self.start


# --- Files with arrays and a few texts ------------------------------------------------------------------------------
#
# The format is safetensors, so reading a file runs no code. It is written under a temporary name and then renamed, and
# has a checksum of its contents, so that damaged files are refused.


FORMAT = "4"
SUFFIX = ".safetensors"
M = TypeVar("M", bound=eqx.Module)


def write_checkpoint(path: Path, tensors: Mapping[str, NDArray], about: Mapping[str, str]) -> None:
    """Write `tensors` and the texts `about` to a file, atomically.

    Raises:
        UsageError: see `check_name`.
        OSError: the folder does not exist, is not writable, or is full.
    """
    from safetensors.numpy import save

    check_name(path)
    tensors = {name: np.asarray(one, order="C") for name, one in tensors.items()}  # safetensors takes no views
    texts = {**_versioned(about), "sha256": checksum(tensors, about)}
    with replacing(path, durable=True) as temporary:
        temporary.write_bytes(save(tensors, metadata=texts))


def checksum(tensors: Mapping[str, NDArray], about: Mapping[str, str]) -> str:
    """Return the checksum that `write_checkpoint` stores with these contents."""
    return _digest(tensors, _versioned(about))


def _versioned(about: Mapping[str, str]) -> dict[str, str]:
    return {"format": FORMAT, "motes": version("motes"), **about}


def check_name(path: Path) -> None:
    """Check that a file name ends in .safetensors.

    Raises:
        UsageError: it does not.
    """
    if path.suffix.lower() != SUFFIX:
        raise UsageError(f"'{path}' ends in '{path.suffix}'; expected a name that ends in {SUFFIX}.")


def complete_name(path: str | Path) -> Path:
    """Return the name of a model file, with .safetensors appended if it has no suffix.

    Raises:
        UsageError: see `check_name`.
    """
    path = Path(path)
    path = path if path.suffix else path.with_name(path.name + SUFFIX)
    check_name(path)
    return path


def read_checkpoint(path: Path) -> tuple[dict[str, NDArray], dict[str, str]]:
    """Read a file that `write_checkpoint` wrote.

    Raises:
        ModelFileError: the file does not exist, has another format, or is damaged.
    """
    from safetensors import SafetensorError, safe_open

    check_process()  # computation follows
    if not path.is_file():
        raise ModelFileError(f"there is no model file '{path}'. `motes train` writes one.")
    try:
        with safe_open(path, framework="numpy") as file:
            about = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, struct.error) as error:
        raise ModelFileError(f"'{path}' is damaged or not a model of motes: {error}.") from None
    if "motes" not in about or "format" not in about:
        raise ModelFileError(f"'{path}' is a safetensors file, but not a model of motes.")
    if about["format"] != FORMAT:
        raise ModelFileError(
            f"'{path}' has format {about['format']}, written by motes {about['motes']}; "
            f"motes {version('motes')} reads format {FORMAT}."
        )
    if about.pop("sha256", None) != _digest(tensors, about):
        raise ModelFileError(f"'{path}' is damaged: its contents do not match its checksum.")
    return tensors, about


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Convert errors from malformed texts and arrays of a file to ModelFileError, within a `with` block.

    Raises:
        ModelFileError: instead of the original error.
    """
    try:
        yield
    except ModelFileError:
        raise
    except UnknownKindError as error:
        raise ModelFileError(f"'{path}': {error}") from None
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError, MotesError) as error:
        what = error if isinstance(error, ValueError | MotesError) else repr(error)
        raise ModelFileError(f"'{path}' is not a complete model of motes: {what}") from None


def arrays_of(tree: Any) -> Arrays:
    """Return the arrays of a tree, named by their paths."""
    leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(tree, eqx.is_array))
    return {_path_name(path): np.array(leaf, order="C") for path, leaf in leaves}


def filled(skeleton: M, tensors: Mapping[str, NDArray], path: Path) -> M:
    """Return `skeleton` with its arrays from `tensors`, which must have exactly the expected names and shapes."""
    is_wanted = lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct)
    otherwise = lambda name, got, expected: f"'{path}': weights '{name}': got {got}; its recipe needs {expected}."
    module = _fill_leaves(skeleton, tensors, is_wanted, otherwise)
    leaves = jax.tree_util.tree_leaves_with_path(skeleton)
    wanted = {_path_name(key) for key, leaf in leaves if is_wanted(leaf)}
    if extra := tensors.keys() - wanted:
        raise ModelFileError(f"'{path}' has weights that its recipe does not use: {', '.join(sorted(extra))}.")
    for name in wanted:
        if not np.isfinite(tensors[name]).all():
            raise ModelFileError(f"'{path}': weights '{name}' are not all finite.")
    # A custom network may have functions, such as activations, in addition to its arrays.
    arrays, rest = eqx.partition(module, lambda leaf: isinstance(leaf, np.ndarray))
    return cast(M, eqx.combine(jax.device_put(arrays), rest))


def _fill_leaves(
    like: T, arrays: Mapping[str, NDArray], is_wanted: Callable[[Any], bool], otherwise: Callable[[str, str, str], str]
) -> T:
    """Return `like` with its wanted leaves replaced by `arrays`, by their paths.

    Raises:
        ModelFileError: a missing or different array; `otherwise` makes the message from its name, what was found and
            what was expected.
    """

    def take(path: Any, leaf: Any) -> Any:
        if not is_wanted(leaf):
            return leaf
        found, name = arrays.get(_path_name(path)), _path_name(path)
        if found is None or (found.shape, found.dtype) != (leaf.shape, leaf.dtype):
            got = "nothing" if found is None else f"{found.dtype} {found.shape}"
            raise ModelFileError(otherwise(name, got, f"{leaf.dtype} {leaf.shape}"))
        return found

    tree: T = jax.tree_util.tree_map_with_path(take, like)
    return tree


def _path_name(path: Any) -> str:
    return jax.tree_util.keystr(path).lstrip(".")


def _digest(tensors: Mapping[str, NDArray], about: Mapping[str, str]) -> str:
    sha = hashlib.sha256(json.dumps(dict(about), sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        sha.update(f"{name} {tensor.dtype.str} {tensor.shape}".encode())
        sha.update(np.ascontiguousarray(tensor).tobytes())
    return sha.hexdigest()
