"""Independent jobs on any executor: their progress, their end, and one error for whatever happens to a worker."""

from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, as_completed, wait

from motes.errors import MotesError, Terminated
from motes.progress import OnProgress, Progress, silent


def run_jobs(
    jobs: Iterable[Callable[[], object]],
    executor: Executor,
    *,
    total: int,
    so_far: Callable[[], str],
    on_progress: OnProgress = silent,
    stop: Callable[[], object] = lambda: None,
) -> None:
    """Run independent jobs. After an interruption, call this again with the jobs that did not finish.

    Args:
        jobs: functions that write their results.
        executor: runs them.
        total: the number of jobs with those that are complete already.
        so_far: returns how many are complete, and how to continue.
        on_progress: called with the number of complete jobs.
        stop: asks running jobs to end. It is called at the end, or when a job fails; then all of them are waited for.

    Raises:
        MotesError: of a job; or if the executor or one of its workers failed.
        KeyboardInterrupt, Terminated: after Ctrl-C or SIGTERM.

    Example:
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> from motes.jobs import run_jobs
        >>> with ThreadPoolExecutor(1) as executor:
        ...     run_jobs([lambda: 1], executor, total=3, so_far=str, on_progress=lambda now: print(now.done))
        3
    """
    futures = list[Future[object]]()
    try:
        try:
            futures += map(executor.submit, jobs)
            for done, future in enumerate(as_completed(futures), total - len(futures) + 1):
                future.result()
                on_progress(Progress(done, total))
        finally:
            stop()
            wait([future for future in futures if not future.cancel()])
    except KeyboardInterrupt:
        raise KeyboardInterrupt(so_far()) from None
    except Terminated as error:
        raise Terminated(f"{error} {so_far()}") from None
    except MotesError:
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}".rstrip(".: ")
        raise MotesError(f"a worker failed ({what}). {so_far()}") from error
