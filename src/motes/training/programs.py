"""Compiled programs: compiler options, cache, precision and number of processors."""

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

LEVEL = 1  # LLVM optimisation level, from 0 to 3
_ONE_THREAD = {"xla_cpu_multi_thread_eigen": False, "xla_cpu_enable_concurrency_optimized_scheduler": False}


@cache
def _jaxlib() -> tuple[int, ...]:
    """Return the first two numbers of jaxlib's version, which decides what options XLA has."""
    return tuple(map(int, version("jaxlib").split(".")[:2]))


def _older_emitters() -> dict[str, Any]:
    """Return the option for XLA's older code generator, if it exists: table steps compile in two thirds of the time."""
    return {"xla_cpu_use_fusion_emitters": False} if _jaxlib() < (0, 11) else {}


def _without_ynnpack() -> dict[str, Any]:
    """Return the option that leaves out YNNPACK, if XLA has it."""
    return {"xla_cpu_experimental_ynn_fusion_type": ""} if _jaxlib() >= (0, 10) else {}


def _compile(function: F, level: Callable[[], int], more: Callable[[], dict[str, Any]] = dict, **options: Any) -> F:
    """Apply `equinox.filter_jit`, with compiler options on CPUs; `more` options depend on the version of jaxlib."""

    @cache  # the backend is only queried when something runs
    def program(level: int) -> Callable[..., Any]:
        options_here = {"xla_backend_optimization_level": level, **_older_emitters(), **more(), **options}
        to_jax: Any = {"compiler_options": options_here}
        return eqx.filter_jit(function, **to_jax if jax.default_backend() == "cpu" else {})

    @wraps(function)
    def run(*arguments: Any) -> Any:
        inside = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(arguments))
        # Programs have no options inside others.
        return function(*arguments) if inside else program(level())(*arguments)

    return cast(F, run)


def training_program(function: F) -> F:
    """Apply `equinox.filter_jit` with fewer LLVM passes and one thread for matrix products.

    Fewer passes reduce the time to the first step to 0.81 to 0.94 of it, and later steps are as fast
    (`benchmarks/passes.py`). The matrices of a step are small: a step of a table with 11 columns takes 41 ms with one
    thread and 64 ms with two.
    """
    return _compile(function, lambda: LEVEL, xla_cpu_multi_thread_eigen=False)


def calibration_program(function: F) -> F:
    """Apply `training_program` without YNNPACK, whose sums over rows depend on the number of processors."""
    return _compile(function, lambda: LEVEL, _without_ynnpack, xla_cpu_multi_thread_eigen=False)


def brief_program(function: F) -> F:
    """Apply `equinox.filter_jit` without LLVM passes, for programs that run once and compute little.

    The initial weights of the default network then take 0.5 s instead of 2.0 s.
    """
    return _compile(function, lambda: 0)


def drawing_program(*, static: tuple[int, ...] = (), newer: bool = False) -> Callable[[F], F]:
    """Apply `jax.jit` for programs that run once per token of a block of rows, with the older code generator.

    With `newer`, use the newer one, with which programs take longer to compile: the network of a table is evaluated in
    0.53 of the time. The program uses one thread, because several blocks are drawn at once.
    """

    def of(function: F) -> F:
        @cache
        def program() -> Callable[..., Any]:
            options: dict[str, Any] = {"xla_backend_optimization_level": LEVEL, **_ONE_THREAD}
            options |= {} if newer else _older_emitters()
            on_cpu: Any = {"compiler_options": options} if jax.default_backend() == "cpu" else {}
            return jax.jit(function, static_argnums=static, **on_cpu)

        return cast(F, wraps(function)(lambda *arguments: program()(*arguments)))

    return of


def cache_programs(folder: str | Path | None = None) -> Path:
    """Cache compiled programs in a folder, so that later Python processes start faster.

    Call it once, before the first fit; the command line always does. If you have set JAX's own cache, by
    `JAX_COMPILATION_CACHE_DIR` or `jax_compilation_cache_dir`, it remains in use. If the folder is full or not
    writable, programs are compiled as without a cache. You can delete the folder at any time.

    Args:
        folder: the cache folder; default: the one of the command line, in your user cache.

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
        compilation_cache.reset_cache()  # JAX reads the folder only once, at the first program
    return Path(jax.config.values["jax_compilation_cache_dir"])


def each_member(work: Callable[..., Any]) -> Callable[..., Any]:
    """Apply `work` to each member, whose arrays have a leading axis; one by one, since batched matrices are slow."""

    def all_of(*members: Any) -> Any:
        if jax.tree.leaves(members)[0].shape[0] == 1:
            alone = work(*jax.tree.map(lambda part: part[0], members))
            return jax.tree.map(lambda part: part[None], alone)
        return jax.lax.map(lambda member: work(*member), members)

    return all_of


def cores() -> int:
    """Return the number of processors that this process may use, which a container or `taskset` may limit."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def on_all_cores(work: Callable[[A], B], parts: Sequence[A], *, compiled: bool = False) -> Iterator[B]:
    """Yield `work(part)` for each part, in order, with several parts computed in parallel.

    The first part is computed alone unless the program is `compiled`, so that no two threads compile the same program.
    With matrices as narrow as here, a program hardly uses more than one core.
    """
    alone = 0 if compiled else 1
    yield from map(work, parts[:alone])
    with ThreadPoolExecutor(cores()) as pool:
        yield from pool.map(work, parts[alone:])


# --- Blocks of equal size, which share one program ------------------------------------------------------------------


def blocks(rows: ArrayLike, size: int) -> Iterator[jax.Array]:
    """Split rows (n, ...) into blocks (size, ...); the last block is filled up with the last row."""
    x = np.asarray(rows)
    padded = np.pad(x, ((0, -len(x) % size), *[(0, 0)] * (x.ndim - 1)), mode="edge")
    return (jnp.asarray(padded[i : i + size], float) for i in range(0, len(padded), size))


# --- Double precision, and arrays on the device ---------------------------------------------------------------------


def float64(on: bool = True) -> AbstractContextManager[None]:
    """Return a context in which JAX computes in double precision, or in single precision for `float64(False)`."""
    # Recent JAX has it at the top level; JAX 0.7 has it in jax.experimental.
    home = jax if hasattr(jax, "enable_x64") else import_module("jax.experimental")
    scope: AbstractContextManager[None] = home.enable_x64(on)
    return scope


def put(array: Any, dtype: DTypeLike = np.float32) -> jax.Array:
    """Copy an array to the device, without the programs that `jnp.asarray` and `jnp.zeros` compile for each shape."""
    return jax.device_put(np.array(array, dtype))
