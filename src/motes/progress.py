"""What a person sees while something lasts: a bar in a terminal, plain lines elsewhere. All of it on stderr."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

LINES = 10  # plain lines from start to end where there is no terminal,
SOON = 5.0  # and one after so many seconds, after twice as many, and so on


class Count(Protocol):
    """`count(done, note)`: how many parts are done, and a word on them."""

    def __call__(self, done: int, note: str = "") -> None: ...


def _silent(done: int, note: str = "") -> None: ...


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
    def counting(self, label: str, total: int, unit: str) -> Iterator[Count]:
        """Yields the `Count` of work that has `total` parts, such as steps, rows or frames."""
        begin = time.perf_counter()
        if self.quiet:
            yield _silent
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

                def move(done: int, note: str = "") -> None:
                    bar.update(task, completed=done, note=note)

                yield move
        else:
            printed, due, first = 0, SOON, (0, 0.0)

            def line(done: int, note: str = "") -> None:
                nonlocal printed, due, first
                seconds = time.perf_counter() - begin
                first = first if first[0] else (done, seconds)
                if done * LINES // total > printed or (done and seconds > due):
                    printed, due = done * LINES // total, max(due, 2 * seconds)
                    # What comes before the first parts are done, such as compiling, says nothing of the rest.
                    done_since, since = done - first[0], seconds - first[1]
                    after = f", {since * (total - done) / done_since:.0f} s left" if done_since and done < total else ""
                    self.say(f"{label}: {done:,}/{total:,} {unit} {note}".rstrip() + after)

            yield line


@contextmanager
def watching(
    reporter: Reporter,
    also: Callable[[Any], None] | None = None,
    *,
    unit: str = "",
    least: float | None = None,
) -> Iterator[Callable[[Any], None]]:
    """Yields the `on_progress` of a training whose progress is shown; `also` is called as well.

    `unit` is that of the loss, and `least` how low its mean can go: what is above it is shown in brackets. The loss is
    that of a few steps, whose noise may take it below the least.

    How many steps there are is known once the rows are read.
    """
    with ExitStack() as open_:
        counts: list[Count] = []

        def show(now: Any) -> None:
            if not counts:
                counts.append(open_.enter_context(reporter.counting("training", now.steps, "steps")))
            if now.step:
                known = now.held_out is not None and now.held_out == now.held_out
                held = f", held out {now.held_out:.4f}" if known else ""
                above = ""
                if least is not None:
                    gap = now.loss - least
                    above = f" ({gap:+.4f})" if gap >= 0 else " (the least possible, within its noise)"
                counts[0](now.step, f"loss {now.loss:.4f}{above}{held}{unit}, {now.step / now.seconds:,.0f} steps/s")
            if also is not None:
                also(now)

        yield show
