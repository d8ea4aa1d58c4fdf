"""Progress reporting on stderr: a bar in a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

LINES = 10  # plain lines from start to end without a terminal,
SOON = 5.0  # and one after this many seconds, after twice as many, and so on


class Progress(NamedTuple):
    """The progress of a computation.

    Attributes:
        done: number of finished rows, frames or other parts; in training, steps.
        total: number of all parts; None if unknown.
        loss: in training: the mean over the newest tenth of the steps; for a table, in nats per row.
        held_out: in training: the newest loss of the validation rows, if there are any.
        seconds: in training: duration so far, including earlier processes.
    """

    done: int
    total: int | None = None
    loss: float = float("nan")
    held_out: float | None = None
    seconds: float = 0.0

    def after(self, before: int, total: int) -> "Progress":
        """Return the progress of a computation with `total` parts, `before` of them finished earlier.

        Example:
            >>> from motes.progress import Progress
            >>> Progress(3, total=10).after(10, 30)[:2]
            (13, 30)
        """
        return self._replace(done=before + self.done, total=total)


# The type of `on_progress`: a function that is called now and then. An exception in it ends the computation.
OnProgress = Callable[[Progress], None]


def silent(now: Progress) -> None:
    """Report nothing."""


class Reporter:
    """Prints messages, warnings and progress. A line that cannot be written, such as to a full disk, is dropped.

    Args:
        quiet: print only warnings.
    """

    def __init__(self, quiet: bool = False):
        self.quiet = quiet
        self.console = Console(stderr=True, highlight=False)
        # Lines are wrapped only in a terminal: a file or another program gets each line whole.
        self.console.soft_wrap = not self.console.is_terminal

    @classmethod
    def where_seen(cls) -> "Reporter":
        """Return a reporter that prints in a terminal or a notebook, and is quiet elsewhere."""
        reporter = cls()
        reporter.quiet = not (reporter.console.is_terminal or reporter.console.is_jupyter)
        return reporter

    def say(self, text: str) -> None:
        """Print one line, unless quiet."""
        if not self.quiet:
            self._print(text)

    def warn(self, text: str) -> None:
        """Print a warning in one line, even when quiet."""
        self._print(f"warning: {text}")

    def _print(self, text: str) -> None:
        with suppress(OSError):
            self.console.print(text, markup=False)

    @contextmanager
    def counting(
        self, label: str, unit: str, *, total: int | None = None, note: Callable[[Progress], str] = lambda now: ""
    ) -> Iterator[OnProgress]:
        """Yield an `on_progress` that reports a computation with parts called `unit`, such as steps, rows or frames.

        `total` is the number of parts, if the computation does not know it; `note` returns a text for each `Progress`.
        """
        begin = time.perf_counter()
        if self.quiet:
            yield silent
        elif self.console.is_terminal:
            count, said = MofNCompleteColumn(), TextColumn(unit + " {task.fields[note]}")
            columns = TextColumn("{task.description}"), BarColumn(), count, said, TimeRemainingColumn(compact=True)
            bar = Bar(*columns, console=self.console, transient=True)
            task = bar.add_task(label, total=total, note="")

            def draw(now: Progress) -> None:
                bar.start()  # the first time; before that, another computation may draw its bar
                bar.update(task, completed=now.done, total=total or now.total, note=note(now))

            try:
                yield draw
            finally:
                bar.stop()
        else:
            printed, due, first = 0, SOON, (0, 0.0)

            def line(now: Progress) -> None:
                nonlocal printed, due, first
                done, whole, seconds = now.done, total or now.total or 1, time.perf_counter() - begin
                first = first if first[0] else (done, seconds)
                if done * LINES // whole > printed or (done and seconds > due):
                    printed, due = done * LINES // whole, max(due, 2 * seconds)
                    # The time before the first parts, such as for compiling, is no guide to the rest.
                    done_since, since = done - first[0], seconds - first[1]
                    after = f", {since * (whole - done) / done_since:.0f} s left" if done_since and done < whole else ""
                    self.say(f"{label}: {done:,}/{whole:,} {unit} {note(now)}".rstrip() + after)

            yield line


@contextmanager
def watching(
    reporter: Reporter, also: OnProgress = silent, *, unit: str = "", least: float | None = None
) -> Iterator[OnProgress]:
    """Yield an `on_progress` that reports a training; `also` is called as well.

    `unit` is the unit of the loss. `least` is the theoretical minimum of its mean; the gap to it is shown in brackets.
    The loss is a mean over a few steps, so noise may take it below the minimum.
    """

    def note(now: Progress) -> str:
        if not now.done:
            return ""
        held = "" if now.held_out is None else f", held out {now.held_out:.4f}"
        above = ""
        if least is not None:
            gap = now.loss - least
            above = f" ({gap:+.4f})" if gap >= 0 else " (at the theoretical minimum, within noise)"
        return f"loss {now.loss:.4f}{above}{held}{unit}, {now.done / now.seconds:,.0f} steps/s"

    with reporter.counting("training", "steps", note=note) as count:

        def show(now: Progress) -> None:
            count(now)
            also(now)

        yield show
