"""What a person sees while something lasts: a bar in a terminal, plain lines elsewhere. All of it on stderr."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

LINES = 10  # plain lines from start to end where there is no terminal,
SOON = 5.0  # and one after so many seconds, after twice as many, and so on


class Progress(NamedTuple):
    """How far work has come.

    Attributes:
        done: the rows, frames or other parts that are finished; of a training, the steps.
        total: how many there are; None where that is not known.
        loss: of a training: the mean over the newest tenth of its steps; of a table, in nats per row.
        held_out: of a training: the newest loss of validation rows, where there are any.
        seconds: of a training: how long it has taken, with earlier processes.
    """

    done: int
    total: int | None = None
    loss: float = float("nan")
    held_out: float | None = None
    seconds: float = 0.0

    def after(self, before: int, total: int) -> "Progress":
        """The progress of work with `total` parts, of which `before` were done before these.

        Example:
            >>> from motes.progress import Progress
            >>> Progress(3, total=10).after(10, 30)[:2]
            (13, 30)
        """
        return self._replace(done=before + self.done, total=total)


OnProgress = Callable[[Progress], None]
"""What `on_progress` of any work is: called now and then. What it raises ends the work."""


def silent(now: Progress) -> None:
    """Report nothing."""


class Reporter:
    """Tells how far the work has come.

    Args:
        quiet: say nothing but warnings.
    """

    def __init__(self, quiet: bool = False):
        self.quiet = quiet
        self.console = Console(stderr=True, highlight=False)
        # A terminal would break lines inside words; a file or another program gets each line whole.
        self.console.soft_wrap = not self.console.is_terminal

    @classmethod
    def where_seen(cls) -> "Reporter":
        """One that talks in a terminal and in a notebook, and is quiet elsewhere."""
        made = cls()
        made.quiet = not (made.console.is_terminal or made.console.is_jupyter)
        return made

    def say(self, text: str) -> None:
        """One line."""
        if not self.quiet:
            self.console.print(text, markup=False)

    def warn(self, text: str) -> None:
        """One line that is said even when quiet."""
        self.console.print(f"warning: {text}", markup=False)

    @contextmanager
    def counting(
        self, label: str, unit: str, *, total: int | None = None, note: Callable[[Progress], str] = lambda now: ""
    ) -> Iterator[OnProgress]:
        """Yields the `on_progress` of work whose parts are called `unit`, such as steps, rows or frames.

        `total` says how many there are where the work does not know it, and `note` adds a word on each `Progress`.
        """
        begin = time.perf_counter()
        if self.quiet:
            yield silent
        elif self.console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn(unit + " {task.fields[note]}"),
                TimeRemainingColumn(compact=True),
            )
            with Bar(*columns, console=self.console, transient=True) as bar:
                task = bar.add_task(label, total=total, note="")
                yield lambda now: bar.update(task, completed=now.done, total=total or now.total, note=note(now))
        else:
            printed, due, first = 0, SOON, (0, 0.0)

            def line(now: Progress) -> None:
                nonlocal printed, due, first
                done, whole, seconds = now.done, total or now.total or 1, time.perf_counter() - begin
                first = first if first[0] else (done, seconds)
                if done * LINES // whole > printed or (done and seconds > due):
                    printed, due = done * LINES // whole, max(due, 2 * seconds)
                    # What comes before the first parts are done, such as compiling, says nothing of the rest.
                    done_since, since = done - first[0], seconds - first[1]
                    after = f", {since * (whole - done) / done_since:.0f} s left" if done_since and done < whole else ""
                    self.say(f"{label}: {done:,}/{whole:,} {unit} {note(now)}".rstrip() + after)

            yield line


@contextmanager
def watching(
    reporter: Reporter, also: OnProgress = silent, *, unit: str = "", least: float | None = None
) -> Iterator[OnProgress]:
    """Yields the `on_progress` of a training whose progress is shown; `also` is called as well.

    `unit` is that of the loss, and `least` how low its mean can go: what is above it is shown in brackets. The loss is
    that of a few steps, whose noise may take it below the least.
    """

    def note(now: Progress) -> str:
        if not now.done:
            return ""
        held = "" if now.held_out is None else f", held out {now.held_out:.4f}"
        above = ""
        if least is not None:
            gap = now.loss - least
            above = f" ({gap:+.4f})" if gap >= 0 else " (the least possible, within its noise)"
        return f"loss {now.loss:.4f}{above}{held}{unit}, {now.done / now.seconds:,.0f} steps/s"

    with reporter.counting("training", "steps", note=note) as count:

        def show(now: Progress) -> None:
            count(now)
            also(now)

        yield show
