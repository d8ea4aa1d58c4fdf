"""The state of a training and model files: safetensors with JSON, written in one step, and how a training resumes.

    train(steps) = train(steps, from the state after k steps of it),    to the bit, for every k

A loop says what its state is, as arrays and numbers by name; a `Checkpointer` says when it is written, and where. With
other rows it goes on without what belongs to the rows: the position in their order, and the looks at validation rows.
"""

import hashlib
import json
import signal
import struct
import threading
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
BATCHES, WATCH = "batches", "watch"  # the parts of a state that belong to the rows


class State(NamedTuple):
    """All that a training needs to go on.

    Attributes:
        arrays: by name.
        numbers: by name; whatever JSON can hold.
    """

    arrays: Arrays
    numbers: dict[str, Any]

    def part(self, name: str) -> "State":
        """What `named` has put under a name."""
        start = f"{name}/"
        own = lambda parts: {key.removeprefix(start): one for key, one in parts.items() if key.startswith(start)}
        return State(own(self.arrays), own(self.numbers))

    def has(self, name: str) -> bool:
        """Whether `named` has put anything under a name."""
        return any(key.startswith(f"{name}/") for key in (*self.arrays, *self.numbers))

    def with_other_rows(self) -> "State":
        """The state without what belongs to the rows that were trained on."""
        rest = lambda parts: {key: one for key, one in parts.items() if key.split("/")[0] not in (BATCHES, WATCH)}
        return State(rest(self.arrays), rest(self.numbers))

    def tree(self, name: str, like: T) -> T:
        """A tree whose arrays `tree_state` has put under a name; `like` has the same shapes.

        Raises:
            ModelFileError: other arrays than those of `like`.
        """
        own = self.part(name).arrays
        otherwise = lambda key, got, expected: (
            f"the state of a training, {name}/{key}: got {got}; expected {expected}. It is of another version of motes "
            "or of other data: train anew."
        )
        return jax.device_put(_placed(like, own, eqx.is_array, otherwise))


def tree_state(tree: Any) -> State:
    """The arrays of a tree, each by its path."""
    return State(arrays_of(tree), {})


def named(parts: Mapping[str, State]) -> State:
    """States as one, each under its name."""
    every = [(f"{name}/", part) for name, part in parts.items()]
    return State(
        {name + key: one for name, part in every for key, one in part.arrays.items()},
        {name + key: one for name, part in every for key, one in part.numbers.items()},
    )


class Checkpointer(Protocol):
    """Keeps states of one training.

    Attributes:
        state: to go on from; None: the training begins.
    """

    state: State | None

    def due(self) -> bool:
        """Whether it is time for a state again."""

    def save(self, step: int, state: State) -> None:
        """Keep the state after `step` steps. Whatever this raises ends the training."""


@dataclass(frozen=True)
class Session:
    """How a training is carried out, which has no bearing on what is learned.

    Attributes:
        keeper: keeps the complete state now and then and at the end, and may have one to go on from: that of a training
            with the same arguments, of which the steps alone may differ. With other steps patience counts anew.
        on_progress: called with where the training is, before the first step and then a few times a second.
        state: to go on from where there is no keeper; None: the training begins.
        more: take the recipe's steps on top of those of the start, though all rows are the same.
    """

    keeper: Checkpointer | None = None
    on_progress: OnProgress = silent
    state: State | None = None
    more: bool = False

    @property
    def kept(self) -> State | None:
        """The state to go on from, if there is one."""
        return self.state if self.keeper is None else self.keeper.state


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Keep the first SIGINT or SIGTERM until the steps under way are done, so that no step is torn; yields it then.

    A second Ctrl-C is an ordinary interrupt. SIGTERM is left alone unless the program has a handler for it, which is
    then called at the end.
    """
    before = _handlers()
    asked: list[int] = []

    def ask(number: int, frame: object) -> None:
        asked.append(number)
        signal.signal(number, before[number])

    for number in before:
        signal.signal(number, ask)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if signal.SIGTERM in asked:
        signal.raise_signal(signal.SIGTERM)


def _handlers() -> dict[int, Any]:
    """The handlers of the signals that may wait for the steps under way."""
    if threading.current_thread() is not threading.main_thread():
        return {}  # signals only ever reach the main thread
    interrupt, end = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    # Who ignores Ctrl-C, as a job in the background does, has his reasons.
    found = {} if interrupt is signal.SIG_IGN else {int(signal.SIGINT): interrupt}
    return found | ({int(signal.SIGTERM): end} if callable(end) else {})


# --- Arrays and a few texts in one file that is either whole or refused ---------------------------------------------
#
# The file is safetensors, so no code runs when it is read. It is written under a temporary name and renamed, and
# carries a checksum over everything in it.


FORMAT = "4"
SUFFIX = ".safetensors"
M = TypeVar("M", bound=eqx.Module)


def write_checkpoint(path: Path, tensors: Mapping[str, NDArray], about: Mapping[str, str]) -> None:
    """Write `tensors` and the texts `about`, whole or not at all.

    Raises:
        UsageError: as `check_name`.
        OSError: the folder is not there, cannot be written, or is full.
    """
    from safetensors.numpy import save

    check_name(path)
    tensors = {name: np.asarray(one, order="C") for name, one in tensors.items()}  # safetensors takes no views
    texts = {"format": FORMAT, "motes": version("motes"), **about}
    texts["sha256"] = _digest(tensors, texts)
    with replacing(path, durable=True) as temporary:
        temporary.write_bytes(save(tensors, metadata=texts))


def check_name(path: Path) -> None:
    """Refuse a name that says it is another kind of file.

    Raises:
        UsageError: it does not end in .safetensors.
    """
    if path.suffix.lower() != SUFFIX:
        raise UsageError(f"'{path}' ends in '{path.suffix}'; expected a name that ends in {SUFFIX}.")


def complete_name(path: str | Path) -> Path:
    """The name of a model file: .safetensors is appended to one without a suffix.

    Raises:
        UsageError: as `check_name`.
    """
    path = Path(path)
    path = path if path.suffix else path.with_name(path.name + SUFFIX)
    check_name(path)
    return path


def read_checkpoint(path: Path) -> tuple[dict[str, NDArray], dict[str, str]]:
    """What `write_checkpoint` wrote.

    Raises:
        ModelFileError: no such file, another format, or any damage.
    """
    from safetensors import SafetensorError, safe_open

    check_process()  # whoever reads one is about to compute
    if not path.is_file():
        raise ModelFileError(f"there is no model file '{path}'. `motes train` makes one.")
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
    """Within it what a file says is checked, and becomes the parts of a model.

    Raises:
        ModelFileError: in the place of anything that malformed texts and arrays raise.
    """
    try:
        yield
    except ModelFileError:
        raise
    except UnknownKindError as error:
        raise ModelFileError(f"'{path}': {error}") from None
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError, MotesError) as error:
        what = error if isinstance(error, ValueError | MotesError) else repr(error)
        raise ModelFileError(f"'{path}' is not a whole model of motes: {what}") from None


def arrays_of(tree: Any) -> Arrays:
    """The arrays of a tree, each by its path."""
    leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(tree, eqx.is_array))
    return {_name_of(path): np.array(leaf, order="C") for path, leaf in leaves}


def filled(skeleton: M, tensors: Mapping[str, NDArray], path: Path) -> M:
    """`skeleton` with its arrays from `tensors`, which must be the very ones it wants."""
    is_wanted = lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct)
    otherwise = lambda name, got, expected: f"'{path}': weights '{name}': got {got}; its recipe asks for {expected}."
    module = _placed(skeleton, tensors, is_wanted, otherwise)
    leaves = jax.tree_util.tree_leaves_with_path(skeleton)
    wanted = {_name_of(key) for key, leaf in leaves if is_wanted(leaf)}
    if extra := tensors.keys() - wanted:
        raise ModelFileError(f"'{path}' has weights that its recipe does not ask for: {', '.join(sorted(extra))}.")
    for name in wanted:
        if not np.isfinite(tensors[name]).all():
            raise ModelFileError(f"'{path}': weights '{name}' are not all finite.")
    # A network of your own may hold functions, such as activations, beside its arrays.
    arrays, rest = eqx.partition(module, lambda leaf: isinstance(leaf, np.ndarray))
    return cast(M, eqx.combine(jax.device_put(arrays), rest))


def _placed(
    like: T, arrays: Mapping[str, NDArray], is_wanted: Callable[[Any], bool], otherwise: Callable[[str, str, str], str]
) -> T:
    """`like` with its wanted leaves taken from `arrays`, by their paths.

    Raises:
        ModelFileError: other arrays than those, `otherwise` with the name, what there is and what was expected.
    """

    def take(path: Any, leaf: Any) -> Any:
        if not is_wanted(leaf):
            return leaf
        found, name = arrays.get(_name_of(path)), _name_of(path)
        if found is None or (found.shape, found.dtype) != (leaf.shape, leaf.dtype):
            got = "nothing" if found is None else f"{found.dtype} {found.shape}"
            raise ModelFileError(otherwise(name, got, f"{leaf.dtype} {leaf.shape}"))
        return found

    made: T = jax.tree_util.tree_map_with_path(take, like)
    return made


def _name_of(path: Any) -> str:
    return jax.tree_util.keystr(path).lstrip(".")


def _digest(tensors: Mapping[str, NDArray], about: Mapping[str, str]) -> str:
    sha = hashlib.sha256(json.dumps(dict(about), sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        sha.update(f"{name} {tensor.dtype.str} {tensor.shape}".encode())
        sha.update(np.ascontiguousarray(tensor).tobytes())
    return sha.hexdigest()
