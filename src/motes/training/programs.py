"""Compiled programs: their cache, their precision and the processors that they use."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import cache, wraps
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import DTypeLike

F = TypeVar("F", bound=Callable[..., Any])
A = TypeVar("A")
B = TypeVar("B")

LEVEL = 1  # of LLVM's passes, of 3


@cache
def _older_emitters() -> dict[str, Any]:
    """XLA's older code generator, where it still has it: a step of a table compiles in two thirds of the time."""
    older = tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11)
    return {"xla_cpu_use_fusion_emitters": False} if older else {}


def _compiled(function: F, level: Callable[[], int], **options: Any) -> F:
    """`equinox.filter_jit` with options of the compiler, on a processor."""

    @cache  # where JAX runs is not asked before there is something to run
    def program(level: int) -> Callable[..., Any]:
        options_here = {"xla_backend_optimization_level": level, **_older_emitters(), **options}
        to_jax: Any = {"compiler_options": options_here}
        return eqx.filter_jit(function, **to_jax if jax.default_backend() == "cpu" else {})

    @wraps(function)
    def run(*arguments: Any) -> Any:
        inside = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(arguments))
        return function(*arguments) if inside else program(level())(*arguments)  # a part of a program has no options

    return cast(F, run)


def training_program(function: F) -> F:
    """`equinox.filter_jit` with fewer of LLVM's passes and one thread for products of matrices.

    With fewer passes the first step is there in 0.81 to 0.94 of the time, and the ones after it are as fast
    (`benchmarks/passes.py`). The matrices of a step are small: a step of a table of 11 columns takes 41 ms with one
    thread and 64 ms with two.
    """
    return _compiled(function, lambda: LEVEL, xla_cpu_multi_thread_eigen=False)


def brief_program(function: F) -> F:
    """`equinox.filter_jit` with none of LLVM's passes, for what runs once and computes little.

    The initial weights of the default network are there in 0.5 s in the place of 2.0 s.
    """
    return _compiled(function, lambda: 0)


def drawing_program(*, static: tuple[int, ...] = ()) -> Callable[[F], F]:
    """`jax.jit` with the older code generator, for what runs once for each part of a block of rows."""

    def of(function: F) -> F:
        @cache
        def program() -> Callable[..., Any]:
            options: Any = {"compiler_options": _older_emitters()} if jax.default_backend() == "cpu" else {}
            return jax.jit(function, static_argnums=static, **options)

        return cast(F, wraps(function)(lambda *arguments: program()(*arguments)))

    return of


def cache_programs(folder: str | Path | None = None) -> Path:
    """Keep compiled programs in a folder, so that the next Python process need not compile them again.

    The command line does so always. Call it once, before the first fit. If you have told JAX where to keep programs, by
    `JAX_COMPILATION_CACHE_DIR` or `jax_compilation_cache_dir`, that stays as it is. A folder that is full or cannot be
    written to does no harm: programs are compiled as without it. You may delete the folder at any time.

    Args:
        folder: where to keep them; left out, that of the command line in your user cache.

    Returns:
        The folder in use.

    Example:
        >>> folder = motes.training.cache_programs()
    """
    import warnings

    from jax.experimental.compilation_cache import compilation_cache
    from platformdirs import user_cache_dir

    warnings.filterwarnings("ignore", message=".*persistent compilation cache.*")
    if jax.config.values["jax_compilation_cache_dir"] is None:
        path = Path(user_cache_dir("motes")) / "compiled" if folder is None else Path(folder)
        jax.config.update("jax_compilation_cache_dir", str(path))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        compilation_cache.reset_cache()  # it has looked for a folder at the first program, and would not look again
    return Path(jax.config.values["jax_compilation_cache_dir"])


def each_member(work: Callable[..., Any]) -> Callable[..., Any]:
    """`work` for each member, whose arrays have a leading axis. Members come in turn: a batch of matrices is slow."""

    def all_of(*members: Any) -> Any:
        if jax.tree.leaves(members)[0].shape[0] == 1:
            alone = work(*jax.tree.map(lambda part: part[0], members))
            return jax.tree.map(lambda part: part[None], alone)
        return jax.lax.map(lambda member: work(*member), members)

    return all_of


def cores() -> int:
    """How many processors this process may use: a container or `taskset` may give it fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def on_all_cores(work: Callable[[A], B], parts: Sequence[A], *, compiled: bool = False) -> Iterator[B]:
    """`work(part)` of each part, in their order, several at a time.

    The first is done alone unless the program is `compiled`, so that no two threads compile the same one. A program of
    matrices as narrow as those here hardly occupies more than a core.
    """
    alone = 0 if compiled else 1
    yield from map(work, parts[:alone])
    with ThreadPoolExecutor(cores()) as pool:
        yield from pool.map(work, parts[alone:])


# --- One size of blocks, so that all of them need one program -------------------------------------------------------


def blocks(rows: ArrayLike, size: int) -> Iterator[jax.Array]:
    """Rows (n, ...) in blocks (size, ...); the last row fills up the last block."""
    x = np.asarray(rows)
    padded = np.pad(x, ((0, -len(x) % size), *[(0, 0)] * (x.ndim - 1)), mode="edge")
    return (jnp.asarray(padded[i : i + size], float) for i in range(0, len(padded), size))


# --- Double precision, for as long as it is requested, and arrays brought to where JAX computes ---------------------


def float64(on: bool = True) -> AbstractContextManager[None]:
    """Inside `with float64():` JAX computes in double precision, inside `with float64(False):` in single."""
    # Recent JAX has it at the top, and drops it from where JAX 0.7 has it.
    home = jax if hasattr(jax, "enable_x64") else import_module("jax.experimental")
    scope: AbstractContextManager[None] = home.enable_x64(on)
    return scope


def put(array: Any, dtype: DTypeLike = np.float32) -> jax.Array:
    """A copy where JAX computes. `jnp.asarray` and `jnp.zeros` compile a program for each shape and type."""
    return jax.device_put(np.array(array, dtype))
