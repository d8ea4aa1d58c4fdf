"""How programs that train are compiled."""

from collections.abc import Callable
from functools import cache, wraps
from typing import Any, TypeVar, cast

import equinox as eqx
import jax

F = TypeVar("F", bound=Callable[..., Any])

LEVEL = 1  # of LLVM's passes, of 3


def _compiled(function: F, level: Callable[[], int], **options: Any) -> F:
    """`equinox.filter_jit` with options of the compiler, on a processor."""

    @cache  # where JAX runs is not asked before there is something to run
    def program(level: int) -> Callable[..., Any]:
        to_jax: Any = {"compiler_options": {"xla_backend_optimization_level": level, **options}}
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
