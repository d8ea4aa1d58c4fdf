"""`motes sample --shards`, which writes shards with several processes, and `motes check`, which verifies them."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from motes.cli.common import Quiet, app, note, start_jax, terminated_by_sigterm, whole
from motes.cli.importing import FILES, run_file
from motes.errors import UsageError, check_count
from motes.progress import Reporter

Number = Annotated[int | None, Parameter(converter=whole)]


@Parameter(name="*")
@dataclass(frozen=True)
class ShardOptions:
    """Options for writing rows as shards.

    Attributes:
        shards: Write the rows as this many Parquet files into the folder --out; the same command continues.
        shard: Write only this shard, from 0 to SHARDS - 1, as a task of a job array does.
        workers: Write the shards with this many processes (default: this process).
    """

    shards: Number = None
    shard: Number = None
    workers: Number = None

    def __post_init__(self) -> None:
        for name, value in (("--shard", self.shard), ("--workers", self.workers)):
            if value is not None and self.shards is None:
                raise UsageError(f"got {name} without --shards; expected also --shards N and --out FOLDER.")
        if self.shard is not None and self.workers is not None:
            raise UsageError("got --shard and --workers; expected one of them: one shard needs no other process.")
        if self.workers is not None:
            check_count(self.workers, "workers")


def write_shards(model: Any, n: int, out: Path | None, chosen: ShardOptions, quiet: bool, **drawing: Any) -> int:
    """Write shards into a folder as `motes sample` asks for; `drawing` are the options of the model's `sample`."""
    from motes.cluster import sample_shards

    if out is None:
        raise UsageError("got --shards without --out; expected --out FOLDER, for the shards.")
    assert chosen.shards is not None  # otherwise there is nothing to write here
    options = {name: value for name, value in drawing.items() if value is not None and value is not False}
    with (
        terminated_by_sigterm(),
        process_pool(chosen.workers) as executor,
        Reporter(quiet).counting("sampling", "shards") as count,
    ):
        paths = sample_shards(
            model, n, shards=chosen.shards, out=out, shard=chosen.shard, executor=executor, on_progress=count, **options
        )
    print(f"{n:,} rows in {len(paths):,} shards in {out}" if chosen.shard is None else f"shard {paths[0]}")
    return 0


def process_pool(workers: int | None) -> AbstractContextManager[Executor | None]:
    """Return an executor with this many processes, which run the files of --import first; None: no executor."""
    if workers is None:
        return nullcontext()
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start_worker, ([*FILES.values()],))


def _start_worker(files: Sequence[Path]) -> None:
    """Prepare a process: the main process receives Ctrl-C, and this one ends with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    start_jax()
    for file in files:
        run_file(file)


def _end_with(parent: Any) -> None:
    parent.join()
    os._exit(1)


@app.command
def check(
    folder: Annotated[Path, Parameter(help="A folder of shards, from `motes sample --shards`.")],
    /,
    *,
    quiet: Quiet = False,
) -> int:
    """Verify the checksums of a folder of shards. Exit code 1 if a file is missing or corrupt."""
    start_jax()
    from motes.cluster import check_shards, read_manifest

    about = read_manifest(folder)
    with Reporter(quiet).counting("checking", "shards") as count:
        problems = check_shards(folder, count)
    for name, problem in problems.items():
        print(f"{name}: {problem}")
    if problems:
        note(f"motes: {len(problems):,} missing or corrupt files. Delete the corrupt ones and repeat `motes sample`.")
        return 1
    print(f"{about['rows']:,} rows in {about['shards']:,} shards: no problems detected")
    return 0
