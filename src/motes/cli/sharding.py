"""Work divided into shards, with several processes or a cluster; `motes check` verifies the shards."""

import asyncio
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from motes.cli.common import MaybeWhole, Quiet, app, note, start_jax, terminated_by_sigterm
from motes.cli.importing import FILES, run_file
from motes.errors import MotesError, UsageError, check_count
from motes.progress import Reporter

if TYPE_CHECKING:
    from motes.cluster import ShardTask

PATIENCE = 10  # seconds to wait for a scheduler


@Parameter(name="*")
@dataclass(frozen=True)
class EngineOptions:
    """Options for dividing work among processes.

    Attributes:
        workers: Work with this many processes (default: this process).
        cluster: Work with a Dask cluster: the address of its scheduler, such as tcp://HOST:8786, or 'local' for a new
            cluster of --workers processes here.
    """

    workers: MaybeWhole = None
    cluster: str | None = None

    def __post_init__(self) -> None:
        if self.workers is not None:
            check_count(self.workers, "workers")
            if self.cluster not in (None, "local"):
                raise UsageError(
                    f"got --workers and --cluster {self.cluster}, whose workers run already. Omit --workers."
                )

    @contextmanager
    def executor(self) -> Iterator[Executor | None]:
        """Yield the executor of the work; None for this process."""
        with ExitStack() as stack:
            if self.cluster is not None:
                yield _connect(self.cluster, self.workers, stack)
            elif self.workers is not None:
                spawn = multiprocessing.get_context("spawn")
                yield stack.enter_context(ProcessPoolExecutor(self.workers, spawn, _start_worker, ([*FILES.values()],)))
            else:
                yield None


@Parameter(name="*")
@dataclass(frozen=True)
class WorkOptions(EngineOptions):
    """Options for writing shards.

    Attributes:
        shard: Write only this shard, or the answers to this one of several files, counted from 0, as a task of a job
            array does.
    """

    shard: MaybeWhole = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shard is not None and (self.workers is not None or self.cluster is not None):
            other = "--cluster" if self.workers is None else "--workers"
            raise UsageError(f"got --shard and {other}; expected one of them: one shard needs no other process.")

    @property
    def given(self) -> str:
        """The first of these options that was given, "" if none was."""
        return next((f"--{name}" for name in ("shard", "workers", "cluster") if getattr(self, name) is not None), "")

    def divides(self, source: str | Path) -> bool:
        """Return whether the answers to `source` are shards: of several files, or of the row groups of a Parquet file.

        Raises:
            UsageError: if the options divide work that consists of one part.
        """
        from motes.data.files import is_several, parts_of

        if not is_several(source) and self.given and len(parts_of(source)) == 1:
            raise UsageError(
                f"got {self.given} and '{source}', which is a single part; expected a folder, a pattern such as "
                "'rows/*.parquet', or a Parquet file of several row groups."
            )
        return is_several(source) or bool(self.given)


@Parameter(name="*")
@dataclass(frozen=True)
class ShardOptions(WorkOptions):
    """Options for drawing rows as shards.

    Attributes:
        shards: Write the rows as this many Parquet files into the folder --out; the same command continues.
    """

    shards: MaybeWhole = None

    def __post_init__(self) -> None:
        if self.shards is None and self.given:
            raise UsageError(f"got {self.given} without --shards; expected also --shards N and --out FOLDER.")
        super().__post_init__()


def _connect(address: str, workers: int | None, stack: ExitStack) -> Executor:
    """Return the executor of a Dask cluster, which `stack` leaves.

    Raises:
        UsageError: if Dask is not installed.
        MotesError: if there is no scheduler at this address.
    """
    try:
        import distributed
    except ImportError:
        raise UsageError(f"--cluster {address} needs Dask: pip install distributed.") from None
    for name in ("distributed", "distributed.client"):  # which have levels of their own
        logging.getLogger(name).setLevel(logging.CRITICAL)  # the command reports failures itself
    files = [path.absolute() for path in FILES.values()]

    class Imports(distributed.WorkerPlugin):
        def setup(self, worker: Any) -> None:
            for file in files:
                run_file(file)

    stack.enter_context(suppress(TimeoutError))  # of workers that end late, after the work
    if address == "local":
        options: Any = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None}
        deaf = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"  # Ctrl-C is for the main process
        started = distributed.LocalCluster(**options, silence_logs=logging.CRITICAL, preload=[deaf])
        address = stack.enter_context(started).scheduler_address
    try:
        asyncio.run(_greet(address))  # a client that cannot connect prints a traceback when it is deleted
    except Exception as error:
        what = str(error).rstrip(".") or type(error).__name__
        raise MotesError(
            f"got --cluster {address}, where no Dask scheduler answers ({what}). Start one with `dask scheduler`, or "
            "use --cluster local."
        ) from None
    client = stack.enter_context(distributed.Client(address, timeout=PATIENCE, set_as_default=False))
    if files:
        client.register_plugin(Imports())
    return client.get_executor(pure=False)


async def _greet(address: str) -> None:
    """Connect to a scheduler and hang up, which fails if there is none."""
    from distributed.comm.core import connect

    (await asyncio.wait_for(connect(address, timeout=PATIENCE), PATIENCE + 1)).abort()


def write_shards(
    task: "ShardTask",
    out: Path | None,
    work: WorkOptions,
    *,
    source: str | Path | None = None,
    overwrite: bool,
    quiet: bool,
    verb: str = "sampling",
) -> int:
    """Write the shards of a task into a folder, as a command asks for, and print how many rows they have.

    Raises:
        UsageError: without a folder, or with `overwrite`.
    """
    from motes import cluster

    what = "--shards" if source is None else f"'{source}', which is answered in several parts,"
    if out is None:
        raise UsageError(f"got {what} without --out; expected --out FOLDER, for the shards.")
    if overwrite:
        raise UsageError(f"got --overwrite with {what}; shards continue what is in the folder. Delete it first.")
    with terminated_by_sigterm(), work.executor() as executor, Reporter(quiet).counting(verb, "shards") as count:
        options: Any = {"out": out, "shard": work.shard, "executor": executor, "on_progress": count}
        paths = cluster.write_shards(task, source, **options)
    records = [cluster.read_record(path) for path in paths]
    rows = sum(record["rows"] for record in records)
    print(f"{rows:,} rows in {len(paths):,} shards in {out}" if work.shard is None else f"shard {paths[0]}")
    if ignored := sum(record["ignored"] for record in records):
        note(f"warning: {ignored:,} impossible entries, such as unseen labels, in the rows that were read.")
    return 0


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
    folder: Annotated[Path, Parameter(help="A folder of shards.")],
    /,
    *,
    quiet: Quiet = False,
) -> int:
    """Verify the checksums of a folder of shards. Exit code 1 if a file is missing or corrupt."""
    start_jax()
    from motes.cluster import check_shards, read_manifest, read_record

    names = read_manifest(folder)["names"]
    with Reporter(quiet).counting("checking", "shards") as count:
        problems = check_shards(folder, count)
    for name, problem in problems.items():
        print(f"{name}: {problem}")
    if problems:
        note(f"motes: {len(problems):,} missing or corrupt files. Delete the corrupt ones and repeat the command.")
        return 1
    rows = sum(read_record(folder / name)["rows"] for name in names)
    print(f"{rows:,} rows in {len(names):,} shards: no problems detected")
    return 0
