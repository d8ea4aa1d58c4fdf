"""How programs that train are compiled."""

from collections.abc import Callable
from functools import cache, wraps
from typing import Any, TypeVar, cast

import equinox as eqx
import jax

F = TypeVar("F", bound=Callable[..., Any])

LEVEL = 1  # of LLVM's passes, of 3


def training_program(function: F) -> F:
    """`equinox.filter_jit` with fewer of LLVM's passes and one thread for products of matrices, on a processor.

    With fewer passes the first step is there in 0.81 to 0.94 of the time, and the ones after it are as fast
    (`benchmarks/passes.py`). The matrices of a step are small: a step of a table of 11 columns takes 41 ms with one
    thread and 64 ms with two.
    """

    @cache  # where JAX runs is not asked before there is something to run
    def program(level: int) -> Callable[..., Any]:
        options = {"xla_backend_optimization_level": level, "xla_cpu_multi_thread_eigen": False}
        to_jax: Any = {"compiler_options": options}
        return eqx.filter_jit(function, **to_jax if jax.default_backend() == "cpu" else {})

    @wraps(function)
    def run(*arguments: Any) -> Any:
        return program(LEVEL)(*arguments)

    return cast(F, run)
