"""One training by several processes, started here or by a cluster: `motes train --processes 2`.

Each process of the training is a child of a `motes train` that only watches, on each machine. It prints what the first
process prints, passes signals on, and ends with one line and exit code 1 when a process of the training dies. A child
alone could not do so, because JAX's library then aborts it.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import IO

from cyclopts import Parameter

from motes.cli.common import MaybeWhole, note
from motes.errors import LostProcessError, MotesError, UsageError, check_count
from motes.interrupts import handling

WORKER = "MOTES_WORKER"  # environment variable of a child: the file descriptors of the output and of messages
TASKS = "SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"  # number of processes that `srun` or `mpirun` started
WAIT = 120  # seconds for all processes to start
HEARTBEAT = 30  # seconds of silence after which a process counts as lost
GRACE = 20  # seconds that the other processes have to end by themselves
CONTINUE = "Continue from the last checkpoint with --resume."


@Parameter(name="*")
@dataclass(frozen=True)
class ProcessOptions:
    """Options for one training by several processes.

    Attributes:
        processes: Train with this many processes, on this machine unless --coordinator is given. `srun` and `mpirun`
            need no option.
        coordinator: HOST:PORT of process 0, if you start the processes yourself.
        process: The number of this process, from 0 to PROCESSES - 1, with --coordinator.
    """

    processes: MaybeWhole = None
    coordinator: str | None = None
    process: MaybeWhole = None

    def __post_init__(self) -> None:
        if self.processes is not None:
            check_count(self.processes, "processes")
        if self.coordinator is None and self.process is None:
            return
        if not re.fullmatch(r".+:\d+", self.coordinator or "") or self.processes is None or self.process is None:
            raise UsageError("expected all or none of --coordinator HOST:PORT, --processes N and --process K.")
        if not 0 <= self.process < self.processes:
            raise UsageError(f"got --process {self.process}; expected a number from 0 to {self.processes - 1}.")

    @property
    def are_started_here(self) -> bool:
        """Whether this process starts and watches those that train."""
        by_cluster = max(int(os.environ.get(name, 1)) for name in TASKS) > 1
        return WORKER not in os.environ and (by_cluster or (self.processes or 1) > 1)


def run_processes(chosen: ProcessOptions) -> int:
    """Run the processes of a training that belong on this machine, and return the exit code of the command."""
    if chosen.processes is None or chosen.coordinator is not None:
        words = {chosen.process: sys.argv[1:]}  # one of the processes, which the cluster or the user numbers
    else:
        address = f"127.0.0.1:{_free_port()}"
        more = lambda k: ["--coordinator", address, "--process", str(k)]
        words = {k: [*sys.argv[1:], *more(k)] for k in range(chosen.processes)}
    with ExitStack() as stack:
        logs = {k: stack.enter_context(tempfile.TemporaryFile("w+")) for k in words}
        streams = [stack.enter_context(open(os.dup(number), "w")) for number in (1, 2)]
        return _watch({k: _start(own, logs[k], streams) for k, own in words.items()}, logs)


def _start(words: list[str], log: IO[str], streams: Sequence[IO[str]]) -> subprocess.Popen[bytes]:
    numbers = [stream.fileno() for stream in streams]
    return subprocess.Popen(
        [sys.executable, "-m", "motes", *words],
        stdin=subprocess.PIPE,  # its end tells the child that this process has ended
        stdout=log,
        stderr=log,
        pass_fds=numbers,
        env=os.environ | {WORKER: ",".join(map(str, numbers))},
        start_new_session=True,  # Ctrl-C is passed on by `_watch`
    )


def _watch(children: Mapping[int | None, subprocess.Popen[bytes]], logs: Mapping[int | None, IO[str]]) -> int:
    """Wait for the children to end, and return the exit code; if they fail, print the cause in one line."""
    signals, end, killed = list[int](), float("inf"), set[int | None]()

    def pass_on(number: int, frame: object) -> None:
        signals.append(number)
        for child in children.values():
            child.send_signal(number)

    with handling(signal.SIGINT, pass_on), handling(signal.SIGTERM, pass_on):
        while running := {k for k, child in children.items() if child.poll() is None}:
            if len(signals) > 1 or any(child.returncode for child in children.values()):
                end = min(end, time.monotonic() + GRACE)
            if time.monotonic() > end:
                killed |= running
                for k in running:
                    children[k].kill()
            time.sleep(0.05)
    failed = {k: child.returncode for k, child in children.items() if child.returncode}
    if not failed:
        return 0
    # The cause comes first: a process that failed by itself, or was killed; the others lost it.
    lost = lambda k: k in killed or failed[k] in (-signal.SIGABRT, LostProcessError.exit_code)
    k = min(failed, key=lambda k: (lost(k), failed[k] < 0))
    logs[k].seek(0)
    text = logs[k].read()
    if "--debug" in sys.argv:
        note(text)
    if lost(k):
        note(f"motes: another process of this training ended or cannot be reached. {CONTINUE}")
    elif failed[k] < 0:
        note(f"motes: {'a process' if k is None else f'process {k}'} was ended by signal {-failed[k]}. {CONTINUE}")
    elif "motes: " in text:
        note(text[text.rindex("motes: ") :].strip())
    return 1 if lost(k) or failed[k] < 0 else failed[k]


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


# --- In a process of the training -----------------------------------------------------------------------------------


@contextmanager
def joined(chosen: ProcessOptions) -> Iterator[None]:
    """Join the other processes, if `run_processes` started this one.

    The first process prints where `motes train` does. What the others and JAX's library print goes into a log.

    Raises:
        MotesError: if the processes do not come together.
    """
    if WORKER not in os.environ:
        yield
        return
    import jax

    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        jax.distributed.initialize(
            chosen.coordinator,
            chosen.processes,
            chosen.process,
            initialization_timeout=WAIT,
            heartbeat_timeout_seconds=HEARTBEAT,
        )
    except (RuntimeError, ValueError) as error:
        why = str(error).splitlines()[0].rstrip(".")
        raise MotesError(
            f"the processes of this training did not come together: {why}. Start all of them within {WAIT} s, or pass "
            "--coordinator HOST:PORT --processes N --process K to each."
        ) from None
    with ExitStack() as stack:
        if jax.process_index() == 0:
            out, err = (stack.enter_context(open(int(one), "w")) for one in os.environ[WORKER].split(","))
            stack.enter_context(redirect_stdout(out))
            stack.enter_context(redirect_stderr(err))
        yield


def _end_with_parent() -> None:
    os.read(0, 1)
    os._exit(1)


def end_worker(code: int) -> None:
    """End this process at once if `run_processes` started it: JAX would wait for processes that may have ended."""
    if WORKER in os.environ:
        sys.stderr.flush()
        os._exit(code)
