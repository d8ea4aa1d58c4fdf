"""Ctrl-C and SIGTERM: their handlers, and computations that hold them back."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

Handler = Callable[[int, Any], object]


@contextmanager
def handling(number: int, handler: Handler) -> Iterator[None]:
    """Call `handler` for a signal. Only the main thread can; elsewhere, nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """Hold the first SIGINT or SIGTERM back until the current steps are done; yields a list that then contains it.

    A second Ctrl-C interrupts as usual. SIGTERM is only held back if the program has a handler for it, which is then
    called at the end.
    """
    before, asked = _handlers(), list[int]()

    def ask(number: int, frame: object) -> None:
        asked.append(number)
        signal.signal(number, before[number])

    with ExitStack() as stack:
        for number in before:
            stack.enter_context(handling(number, ask))
        yield asked
    if signal.SIGTERM in asked:
        signal.raise_signal(signal.SIGTERM)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold SIGINT and SIGTERM back to the end, where an exception of their handlers would crash the process.

    JAX's library aborts while it loads, and SciPy's threads go on with the memory of a function that has ended.
    """
    held = list[int]()
    try:
        with ExitStack() as stack:
            for number in _handlers():
                stack.enter_context(handling(number, lambda number, frame: held.append(number)))
            yield
    finally:
        for number in held[:1]:
            signal.raise_signal(number)


def _handlers() -> dict[int, Any]:
    """Return the handlers of the signals that can be held back."""
    if threading.current_thread() is not threading.main_thread():
        return {}  # only the main thread receives signals
    interrupt, end = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    # Respect a process that ignores Ctrl-C, such as a background job.
    found = {} if interrupt is signal.SIG_IGN else {int(signal.SIGINT): interrupt}
    return found | ({int(signal.SIGTERM): end} if callable(end) else {})
