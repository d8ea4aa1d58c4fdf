"""The complete state of a training, from which it goes on as if it had never ended.

    train(steps) = train(steps, from the state after k steps of it),    to the bit, for every k

A loop says what its state is, as arrays and numbers by name; a `Keeper` says when it is written, and where. With other
rows it goes on without what belongs to the rows: the position in their order, and the looks at validation rows.
"""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

import equinox as eqx
import jax
import numpy as np
from numpy.typing import NDArray

from motes.errors import ModelFileError

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

        def take(path: Any, leaf: Any) -> Any:
            found, key = None, jax.tree_util.keystr(path)
            if eqx.is_array(leaf):
                found = own.get(key)
                if found is None or found.shape != leaf.shape or found.dtype != leaf.dtype:
                    got = "nothing" if found is None else f"{found.dtype} {found.shape}"
                    raise ModelFileError(
                        f"the state of a training, {name}{key}: got {got}; expected {leaf.dtype} {leaf.shape}. It is "
                        "of another version of motes or of other data: train anew."
                    )
            return leaf if found is None else found

        made: T = jax.tree_util.tree_map_with_path(take, like)
        return jax.device_put(made)


def tree_state(tree: Any) -> State:
    """The arrays of a tree, each by its path."""
    leaves = jax.tree_util.tree_leaves_with_path(eqx.filter(tree, eqx.is_array))
    return State({jax.tree_util.keystr(path): np.array(leaf, order="C") for path, leaf in leaves}, {})


def named(parts: Mapping[str, State]) -> State:
    """States as one, each under its name."""
    every = [(f"{name}/", part) for name, part in parts.items()]
    return State(
        {name + key: one for name, part in every for key, one in part.arrays.items()},
        {name + key: one for name, part in every for key, one in part.numbers.items()},
    )


class Keeper(Protocol):
    """Keeps states of one training.

    Attributes:
        state: to go on from; None: the training begins.
    """

    state: State | None

    def due(self) -> bool:
        """Whether it is time for a state again."""

    def save(self, step: int, state: State) -> None:
        """Keep the state after `step` steps. Whatever this raises ends the training."""


class GoingOn:
    """A keeper of nothing, with a state to go on from."""

    def __init__(self, state: State | None):
        self.state = state

    def due(self) -> bool:
        """Never."""
        return False

    def save(self, step: int, state: State) -> None:
        """What the training leaves has its last state."""


@dataclass(frozen=True)
class Session:
    """How a training is carried out, which has no bearing on what is learned.

    Attributes:
        keeper: keeps the complete state now and then and at the end, and may have one to go on from: that of a training
            with the same arguments, of which the steps alone may differ. With other steps patience counts anew.
        on_progress: called with where the training is, a few times a second.
    """

    keeper: Keeper | None = None
    on_progress: Callable[[Any], None] | None = None


class Stop:
    """Whether a signal has asked a training to end."""

    signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None


@contextmanager
def interruptible() -> Iterator[Stop]:
    """Keep the first SIGINT or SIGTERM until the steps under way are done, so that no step is torn.

    A second Ctrl-C is an ordinary interrupt. SIGTERM is left alone unless the program has a handler for it, which is
    then called at the end.
    """
    stop, before = Stop(), _handlers()

    def ask(number: int, frame: object) -> None:
        stop.signal = number
        signal.signal(number, before[number])

    for number in before:
        signal.signal(number, ask)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if stop.signal == signal.SIGTERM:
        signal.raise_signal(signal.SIGTERM)


def _handlers() -> dict[int, Any]:
    """The handlers of the signals that may wait for the steps under way."""
    if threading.current_thread() is not threading.main_thread():
        return {}  # signals only ever reach the main thread
    interrupt, end = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    # Who ignores Ctrl-C, as a job in the background does, has his reasons.
    found = {} if interrupt is signal.SIG_IGN else {int(signal.SIGINT): interrupt}
    return found | ({int(signal.SIGTERM): end} if callable(end) else {})
