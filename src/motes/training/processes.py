"""One training on several devices, of one process or of the several processes of `jax.distributed`.

    gradient of a batch = sum over devices of the gradients of its parts

Each device has all weights and takes the same steps; the devices form a mesh with one axis, along which the rows of a
batch are split. A step needs one communication, in which the devices add up the gradients of one vector of weights per
member. What happens outside of the compiled loop, each process computes for itself, from copies of the same numbers.
Only the first process writes.
"""

import pickle
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.multihost_utils import broadcast_one_to_all, process_allgather
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from motes.errors import LostProcessError, UsageError

T = TypeVar("T")
A = TypeVar("A")

AXIS = "data"
LEAST_WORK = 20_000_000  # rows times weights in a step; fewer take less time than the communication of a step
SPLIT = PartitionSpec(None, None, AXIS)  # of arrays (chunk, M, rows or groups of rows, ...)


class Part(NamedTuple):
    """The part of a batch that one of several devices computes; used within the compiled program."""

    devices: int = 1

    def own(self, whole: T) -> T:
        """Return this device's part of arrays (size, ...)."""
        if self.devices == 1:
            return whole
        begin = lambda one: jax.lax.axis_index(AXIS) * (len(one) // self.devices)
        return jax.tree.map(lambda one: jax.lax.dynamic_slice_in_dim(one, begin(one), len(one) // self.devices), whole)

    def gather(self, parts: T) -> T:
        """Return the arrays (size, ...) of which each device has its part."""
        if self.devices == 1:
            return parts
        return jax.tree.map(lambda one: jax.lax.all_gather(one, AXIS, tiled=True), parts)

    def total(self, value: jax.Array, slope: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return a number () and a vector (p,), summed over the devices in one communication."""
        if self.devices == 1:
            return value, slope
        both = jax.lax.psum(jnp.append(slope, value), AXIS)
        return both[-1], both[:-1]


def on_each(mesh: Mesh | None, function: Callable[..., A]) -> Callable[..., A]:
    """Return `function(part, batches, *others)` without its first argument, on each device of a mesh.

    Each device gets its part of the arrays in `batches`, and all of the others; the result is the same on all.
    """
    if mesh is None:
        return partial(function, Part())

    def run(batches: Any, *others: Any) -> A:
        arrays, rest = eqx.partition(others, eqx.is_array)
        each = lambda batches, arrays: function(Part(mesh.size), batches, *eqx.combine(arrays, rest))
        copied = PartitionSpec()
        specs: Any = {"in_specs": (SPLIT, copied), "out_specs": copied, "check_vma": False}
        return jax.shard_map(each, mesh=mesh, **specs)(batches, arrays)

    return run


class Devices:
    """The devices of a training; with a single one, arrays stay as they are.

    Args:
        parts: the number of equal parts of a batch, which the number of devices divides. One process uses as many of
            its devices as possible, and several processes use all.

    Raises:
        UsageError: the number of devices of several processes does not divide `parts`.
    """

    def __init__(self, parts: int):
        devices = sorted(jax.devices(), key=lambda one: (one.process_index, one.id))
        count = next(count for count in range(len(devices), 0, -1) if parts % count == 0)
        if count < len(devices) and jax.process_count() > 1:
            raise UsageError(
                f"got {len(devices)} devices in {jax.process_count()} processes; expected a number that divides "
                f"{parts:,}, the number of parts of a batch, such as {count}. Use other processes or another batch."
            )
        mine = [k for k, device in enumerate(devices[:count]) if device.process_index == jax.process_index()]
        self._mine = slice(mine[0], mine[-1] + 1)
        self.mesh = Mesh(np.array(devices[:count]), (AXIS,)) if count > 1 else None

    def warn_if_short(self, work: int) -> None:
        """Warn if the steps of several processes are too short to be shared; `work` is rows times weights in each."""
        if jax.process_count() > 1 and is_first() and work < LEAST_WORK:
            warnings.warn(
                f"each step has only {work:,} rows times weights in each of {jax.process_count()} processes, so their "
                "communication may take longer than they save. Use a larger batch, or one process.",
                stacklevel=2,
            )

    def own(self, batch: T) -> T:
        """Return this process's part of arrays (M, size, ...)."""
        if self.mesh is None:
            return batch
        count = self.mesh.size
        each = lambda one: one.reshape(len(one), count, -1, *one.shape[2:])[:, self._mine]
        return jax.tree.map(lambda one: each(one).reshape(len(one), -1, *one.shape[2:]), batch)

    def split(self, batches: T) -> T:
        """Put the parts (chunk, M, size, ...) of all processes on the devices, each on its own."""
        return self._put(batches, SPLIT)

    def copied(self, tree: T) -> T:
        """Put the arrays of a tree on each device."""
        return self._put(tree, PartitionSpec())

    def _put(self, tree: T, spec: PartitionSpec) -> T:
        if self.mesh is None:
            return tree
        sharding = NamedSharding(self.mesh, spec)
        put = lambda one: jax.make_array_from_process_local_data(sharding, np.asarray(one))
        return jax.tree.map(lambda one: put(one) if isinstance(one, jax.Array | np.ndarray) else one, tree)

    def here(self, tree: T) -> T:
        """Return the arrays of a tree as one device of this process has them."""
        return tree if self.mesh is None else jax.tree.map(lambda one: one.addressable_data(0), tree)


# --- Agreement between processes --------------------------------------------------------------------------------------


@contextmanager
def together() -> Iterator[None]:
    """Convert errors of the communication to LostProcessError, within a `with` block or a decorated function.

    Raises:
        LostProcessError: instead of the original error.
    """
    try:
        yield
    except (jax.errors.JaxRuntimeError, ValueError) as error:  # either, depending on when JAX notices
        if jax.process_count() == 1 or (isinstance(error, ValueError) and "Gloo" not in str(error)):
            raise
        why = str(error).splitlines()[0][:160].rstrip(".")
        raise LostProcessError(f"another process of this training ended or cannot be reached: {why}.") from None


def is_first() -> bool:
    """Return whether this is the first process, the only one that writes."""
    return jax.process_index() == 0


def agree_on(steps: int) -> int:
    """Return the number of steps that all processes take next: the first one's, or 0 if any process wants to stop."""
    if jax.process_count() == 1:
        return steps
    each = process_allgather(np.int32(steps))
    return int(each[0]) if each.all() else 0


@together()
def from_first(value: T) -> T:
    """Return the value that the first process passes; the others may pass anything."""
    if jax.process_count() == 1:
        return value
    data = np.frombuffer(pickle.dumps(value if is_first() else None), np.uint8)
    size = int(broadcast_one_to_all(np.int32(len(data))))
    return pickle.loads(np.asarray(broadcast_one_to_all(np.resize(data, size))).tobytes())


@together()
def check_same(run: str) -> None:
    """Check that all processes train on the same rows, with the same recipe and seed; `run` is their hash.

    Raises:
        UsageError: in all processes, if one of them differs from the first.
    """
    if jax.process_count() == 1:
        return
    each = process_allgather(np.frombuffer(run.encode(), np.uint8))
    if others := np.flatnonzero((each != each[0]).any(axis=1)).tolist():
        raise UsageError(
            f"process {others[0]} got other rows, another recipe or another seed than process 0; expected the same "
            "call in all processes."
        )


@together()
def leave() -> None:
    """Leave the other processes, all of which do so at the same time; what follows, each does alone."""
    if jax.process_count() > 1:
        jax.distributed.shutdown()
