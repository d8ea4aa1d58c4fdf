"""What Ctrl-C and SIGTERM do to a command that has something to keep."""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from motes.errors import Terminated

SHOW_CURSOR = "\x1b[?25h"
LONGEST = 4.5  # seconds from SIGTERM to the end: who sends it soon sends SIGKILL


@contextmanager
def ending_whole() -> Iterator[None]:
    """SIGTERM raises `Terminated`, at the latest a few seconds later; a second Ctrl-C ends the process at once.

    A training keeps the first of either until the steps under way are done (`learning.resuming.interruptible`).
    Python runs its own handlers between two of its instructions, which may be many seconds apart while a program is
    compiled. So there is a thread that the system tells of signals. What is on the disk is whole at any moment.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # signals only ever reach the main thread
        return
    read, write = os.pipe()
    os.set_blocking(write, False)
    before = signal.getsignal(signal.SIGTERM)
    former = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(read,), daemon=True).start()
    if before is signal.SIG_DFL:  # who ignores it has his reasons
        signal.signal(signal.SIGTERM, _terminated)
    try:
        yield
    finally:
        if before is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, before)
        signal.set_wakeup_fd(former)
        os.close(write)  # which ends the thread


@contextmanager
def terminated_by_sigterm() -> Iterator[None]:
    """SIGTERM raises `Terminated`, for what ends soon on its own once it is asked, as a server does."""
    before = signal.getsignal(signal.SIGTERM)
    if before is not signal.SIG_DFL or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGTERM, _terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def loading() -> Iterator[None]:
    """Ctrl-C waits until modules are loaded: in the midst of loading, JAX's library would abort the process.

    Raises:
        KeyboardInterrupt: at the end, where it was pressed meanwhile.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


def _terminated(number: int, frame: object) -> None:
    raise Terminated("ended by SIGTERM.")


def _watch(read: int) -> None:
    """Read the numbers of signals from a pipe, until it is closed."""
    interrupts = 0
    while numbers := os.read(read, 64):
        interrupts += numbers.count(signal.SIGINT)
        if interrupts > 1:
            _leave(130)
        if signal.SIGTERM in numbers:
            late = threading.Timer(LONGEST, _leave, (143,))
            late.daemon = True
            late.start()
    os.close(read)


def _leave(code: int) -> None:
    """End the process, whatever its main thread does."""
    if sys.stderr.isatty():
        sys.stderr.write(SHOW_CURSOR)  # a progress bar has hidden it
        sys.stderr.flush()
    os._exit(code)
