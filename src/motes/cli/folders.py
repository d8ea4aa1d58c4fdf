"""The folder of a run and its checkpoints."""

import errno
import json
import os
import re
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from motes.cli.common import Options
from motes.errors import DataError, ModelFileError, MotesError, Terminated, TrainingError, UsageError
from motes.points import Denoiser, PointModel
from motes.progress import Reporter
from motes.replacing import replacing, unfinished
from motes.text_options import STDIN
from motes.training import Recipe
from motes.training.averages import with_weights
from motes.training.checkpoints import SUFFIX, State, read_checkpoint, write_checkpoint
from motes.training.model import AVERAGES
from motes.training.processes import from_first, is_first

MODEL = "model.safetensors"
HISTORY = "history.jsonl"
METRICS = "metrics.json"  # written after all files but the figures: if it exists, the run is complete
ARTEFACTS = (MODEL, AVERAGES, "recipe.toml", "samples.csv", HISTORY, METRICS, "report.html")
FIGURES = ("data", "samples", "comparison", "forward", "reverse", "loss", "snapshots")
PICTURES = ("diffusion.*", *(f"figures/{name}.*" for name in (*FIGURES, "marginals", "pairs")))
DIAGNOSIS = (
    "diagnosis.json", "excess.*", "error_split.*", "scores.*", "densities.*", "column_gains.*", "ranks.*",
)  # fmt: skip
RESULTS = (METRICS, "samples.csv", "report.html", *PICTURES)  # derived from a model
LOCK = ".lock"
STORED = "stored"  # folder of rows that do not fit into memory, until the run is complete


@contextmanager
def locked(out: Path, warn: Callable[[str], None]) -> Iterator[None]:
    """Lock the folder `out` against training by other processes. The system unlocks it however the process ends.

    Raises:
        UsageError: if another process trains in the folder.
    """
    try:
        import fcntl
    except ImportError:  # only POSIX has it
        yield
        return
    path = out / LOCK
    with open(path, "a+", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise UsageError(
                f"'{out}' is in use: process {file.read() or '(unknown)'} is training there. Wait until it ends, or "
                "choose another --out."
            ) from None
        except OSError as error:
            warn(f"'{out}' cannot be locked ({error.strerror}): make sure that no other process trains there.")
        try:
            file.truncate(0)
            print(os.getpid(), end="", file=file, flush=True)
            yield
        finally:
            with suppress(OSError):  # a leftover file is harmless
                path.unlink(missing_ok=True)


def write(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def present(out: Path, names: Sequence[str]) -> list[Path]:
    """Return the paths of the files that exist; a name may be a pattern."""
    return [path for name in names for path in sorted(out.glob(name))]


def refuse_files(out: Path, names: Sequence[str]) -> None:
    """Check that none of these files would be overwritten in a folder.

    Raises:
        UsageError: if the folder contains one.
    """
    if there := present(out, names):
        raise UsageError(
            f"'{out}' already contains {there[0].relative_to(out)}. Choose another --out, or give --overwrite."
        )


def history_in(out: Path) -> list[dict[str, float]]:
    """Read the lines of history.jsonl, written by `motes.cli.run.history`; return [] if the file does not exist.

    Raises:
        DataError: if a line has another form.
    """
    path, made = out / HISTORY, []
    if not path.is_file():
        return []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            entries = json.loads(line)
            made.append({key: float(value) for key, value in entries.items()} | {"step": int(entries["step"])})
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            raise DataError(
                f"line {number} of '{path}' is not the loss of a step as `motes train` writes it. Remove the file; "
                "the figure of the loss is then omitted."
            ) from None
    return made


# --- Checkpoints of a training, and how to resume an interrupted one --------------------------------------------------
#
#     checkpoints/000000001200.safetensors    the complete state of the training after 1200 steps; the last two are kept
#
# A complete run keeps the last one, from which you can continue with more steps.


CHECKPOINTS = "checkpoints"
LAST = 2  # checkpoints to keep
COST = 0.02  # maximum share of the time spent on writing checkpoints
RETRY = 1.0  # seconds between two attempts on a full disk


@dataclass(frozen=True)
class RunTraining:
    """What identifies a training.

    Attributes:
        source: the shape, the data set or the file.
        named: the name or file of the recipe, as given by the user.
        recipe: recipe of the training.
        seed: random seed.
        fingerprint: hash of the training rows.
    """

    source: str
    named: str
    recipe: Recipe
    seed: int
    fingerprint: str

    @property
    def about(self) -> dict[str, str]:
        """The metadata of a checkpoint."""
        recipe = json.dumps(self.recipe.to_dict())
        return {"named": self.named, "recipe": recipe, "seed": str(self.seed), "fingerprint": self.fingerprint}


class Checkpoints:
    """Writer of checkpoints into the folder of a run: a `motes.training.checkpoints.Checkpointer`.

    Args:
        out: the folder.
        about: metadata of the training.
        state: state to resume from; None: start a new training.
        every: minimum seconds between two checkpoints; the interval grows so that writing takes at most 2 % of the
            time.
        warn: called with a message if a checkpoint cannot be written. The training continues, and the last checkpoint
            stays intact.
    """

    def __init__(
        self, out: Path, about: Mapping[str, str], state: State | None, *, every: float, warn: Callable[[str], None]
    ):
        self.state, self.about = state, about
        self._out, self._every, self._warn = out, every, warn
        self._next = time.perf_counter() + every

    def due(self) -> bool:
        """Return whether it is time for another checkpoint."""
        return time.perf_counter() >= self._next

    def save(self, step: int, state: State, may_wait: Callable[[], bool] = lambda: False) -> None:
        """Write the state after `step` steps atomically, and remove all checkpoints but the last two.

        On a full disk, while there is no checkpoint and if it may, wait until there is room.
        """
        begin, waiting = time.perf_counter(), False
        while error := self._write(step, state):
            files = checkpoints_in(self._out)
            if files or error.errno not in (errno.ENOSPC, errno.EDQUOT) or not may_wait():
                still = f"the last one is from step {step_of(files[0]):,}" if files else "there is none yet"
                self._warn(
                    f"no checkpoint of step {step:,}: {error.strerror or error}; {still}. The training continues."
                )
                break
            if not waiting:
                size = sum(array.nbytes for array in state.arrays.values()) / 1e6
                self._warn(
                    f"no checkpoint fits into '{self._out}': {error.strerror}. Free {size:.1f} MB for it, and as much "
                    "for the results. motes waits, because the training would be lost; Ctrl-C ends it."
                )
            waiting = True
            time.sleep(RETRY)
        end = time.perf_counter()
        self._next = end + max(self._every, (end - begin) / COST)

    def _write(self, step: int, state: State) -> OSError | None:
        """Write a checkpoint and remove old ones; return the error of the disk, if there is one."""
        folder = self._out / CHECKPOINTS
        try:
            folder.mkdir(exist_ok=True)
            texts = {**self.about, "numbers": json.dumps(state.numbers)}
            write_checkpoint(folder / f"{step:012d}{SUFFIX}", state.arrays, texts)
            keep_checkpoints(self._out, LAST)
        except OSError as error:
            return error
        return None

    def finish(self) -> None:
        """Keep only the last checkpoint of a complete run, from which it can continue with more steps."""
        keep_checkpoints(self._out, 1)


def checkpoints_in(out: Path) -> list[Path]:
    """Return the checkpoints in the folder of a run, the newest first."""
    found = (path for path in (out / CHECKPOINTS).glob(f"*{SUFFIX}") if re.fullmatch("[0-9]{12,18}", path.stem))
    return sorted(found, key=step_of, reverse=True)


def keep_checkpoints(out: Path, count: int) -> None:
    """Remove all checkpoints in the folder of a run but the newest `count`."""
    for path in checkpoints_in(out)[count:]:
        path.unlink()


def step_of(path: Path) -> int:
    """Return the step at which a checkpoint was written."""
    return int(path.stem)


def seed_of(out: Path) -> int:
    """Return the seed of the run in a folder.

    Raises:
        UsageError: if there is no checkpoint to resume from.
    """
    return int(_read_newest(out)[1]["seed"])


@contextmanager
def keeping_checkpoints(
    out: Path, training: RunTraining, options: Options, reporter: Reporter
) -> Iterator[Checkpoints]:
    """Lock the folder `out` and yield the writer of its checkpoints.

    A training that ends before anything was learned leaves no files that would block the next one. Of several processes
    of one training, only the first locks and writes.

    Raises:
        UsageError: if another process uses the folder, if it contains another run, or, with `resume`, if it contains
            no checkpoint or one of another training.
    """
    about = training.about
    writer = partial(Checkpoints, out, about, every=options.checkpoint_every, warn=reporter.warn)
    if not is_first():
        yield writer(from_first(None))
        return
    if options.resume:
        _read_newest(out)  # before the folder is created
    out.mkdir(parents=True, exist_ok=True)
    with locked(out, reporter.warn):
        for name in (*ARTEFACTS, *PICTURES, f"{CHECKPOINTS}/*{SUFFIX}"):
            for path in unfinished(out / name):  # left behind by a process that was killed
                path.unlink()
        state = None
        if options.resume:
            state, named = _resume(out, training, reporter)
            about["named"] = named
        else:
            prepare(out, options.overwrite)
        write_recipe(out, training)
        try:
            yield writer(from_first(state))
        except (KeyboardInterrupt, MotesError) as error:
            if isinstance(error, TrainingError) and not options.resume:
                _clear_checkpoints(out)  # from each of them it would diverge again
            files = checkpoints_in(out)
            if isinstance(error, Terminated) and files:
                error.args = (f"{error} The first {step_of(files[0]):,} steps are saved: continue with --resume.",)
            if not files and not (out / MODEL).exists():
                (out / "recipe.toml").unlink(missing_ok=True)
            raise


def prepare(out: Path, overwrite: bool) -> None:
    """Refuse a folder that contains a run, or remove that run.

    Raises:
        UsageError: if the folder contains a run and `overwrite` is False.
    """
    names, files = ARTEFACTS + PICTURES, checkpoints_in(out)
    if not overwrite:
        if files and not (out / METRICS).exists():
            raise UsageError(
                f"'{out}' contains a run that was interrupted after {step_of(files[0]):,} steps. Continue it with "
                "--resume, replace it with --overwrite, or choose another --out."
            )
        refuse_files(out, (*names, *(str(path.relative_to(out)) for path in files)))
    for path in present(out, names):
        path.unlink()
    _clear_checkpoints(out)


def write_recipe(out: Path, training: RunTraining) -> None:
    """Write the recipe of a run, with the command that repeats it."""
    source = "-" if training.source == STDIN else shlex.quote(training.source)
    again = f"motes train {source} --recipe recipe.toml --seed {training.seed}"
    header = f"# Written by motes {version('motes')}; to repeat this run: {again}\n"
    write(out / "recipe.toml", header + training.recipe.to_toml())


def snapshots_in(out: Path, model: PointModel) -> list[tuple[int, Denoiser]]:
    """Return step and denoiser of each snapshot in the newest checkpoint, and last of the model itself.

    The list is empty if no checkpoint can be read, or if the folder belongs to another training.
    """
    for path in checkpoints_in(out):
        try:
            state, texts = _read(path)
        except ModelFileError:
            continue
        recipe, rows = flat(json.loads(texts["recipe"])), (int(texts["seed"]), texts["fingerprint"])
        # The recipe of the model also has the values that were chosen from the data.
        if not recipe.items() <= flat(model.recipe.to_dict()).items() or rows != (model.seed, model.fingerprint):
            return []
        best = state.arrays.get("best/step")
        end = state.numbers["course/step"] if best is None else int(best.max())  # step of the final weights
        which = 0 if model.recipe.training.weights == "averaged" else 1
        shots = state.part("course").part("snapshots").arrays
        before = [step for step in sorted(map(int, shots)) if step < end]
        weights = {step: shots[str(step)].reshape(2, -1)[which] for step in before}
        return [*((step, with_weights(model.denoiser, one)) for step, one in weights.items()), (end, model.denoiser)]
    return []


def _clear_checkpoints(out: Path) -> None:
    keep_checkpoints(out, 0)
    with suppress(OSError):  # it does not exist, or contains other files
        (out / CHECKPOINTS).rmdir()


def _read(path: Path) -> tuple[State, dict[str, str]]:
    """Return the state in a checkpoint and its metadata.

    Raises:
        ModelFileError: if the file is damaged, or not a checkpoint.
    """
    arrays, texts = read_checkpoint(path)
    try:
        numbers, recipe = json.loads(texts["numbers"]), json.loads(texts["recipe"])
        steps = [numbers["course/step"], numbers["course/steps"], int(texts["seed"])]
        sections = [value for key, value in recipe.items() if key != "about"]
        whole = {"named", "fingerprint"} <= texts.keys() and all(isinstance(one, dict) for one in sections)
        if not whole or not all(type(step) is int for step in steps):
            raise TypeError
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        raise ModelFileError(f"'{path}' is not a checkpoint of a training.") from None
    return State(arrays, numbers), texts


def _read_newest(out: Path, warn: Callable[[str], None] = lambda message: None) -> tuple[State, dict[str, str]]:
    """Return the newest intact state in the folder of a run, and its metadata.

    Raises:
        UsageError: if there is none.
    """
    files = checkpoints_in(out)
    for path in files:
        try:
            state, texts = _read(path)
        except ModelFileError as error:
            warn(f"{error} Using the checkpoint before it.")
            continue
        if texts["motes"] != version("motes"):
            raise UsageError(
                f"the run in '{out}' was trained by motes {texts['motes']}; this is motes {version('motes')}, which "
                "cannot continue it. Train anew: --overwrite, or another --out."
            )
        return state, texts
    if files:
        raise UsageError(f"all checkpoints in '{out}' are damaged. Train anew: --overwrite, or another --out.")
    raise UsageError(
        f"there is no checkpoint in '{out}' to resume from: no run, or one that ended before its first. Omit "
        "--resume, and add --overwrite if the folder contains files of a run."
    )


def _resume(out: Path, training: RunTraining, reporter: Reporter) -> tuple[State, str]:
    """Return the state to resume from and the recipe's name at the start of the run.

    Results of the model so far are removed, since the model will change.
    """
    state, texts = _read_newest(out, reporter.warn)
    _check_same(out, training, texts)
    done, complete = state.numbers["course/step"], (out / METRICS).exists()
    section, steps = training.recipe.TRAINING, training.recipe.training_steps
    before = json.loads(texts["recipe"]).get(section, {}).get("steps")
    if complete and steps == before:
        raise UsageError(
            f"the run in '{out}' is complete after {done:,} steps; nothing is left to do. For more steps: --resume "
            f"--set {section}.steps={2 * state.numbers['course/steps']}."
        )
    if steps is not None and (steps < done or (complete and steps == done)):
        raise UsageError(f"got {section}.steps = {steps:,}; the run in '{out}' has already done {done:,}. Give more.")
    for path in checkpoints_in(out):
        if step_of(path) > done:  # it is damaged, and no longer read as a checkpoint
            path.rename(path.with_suffix(".damaged"))
    for path in present(out, RESULTS):
        path.unlink()
    reporter.say(f"resuming after {done:,} steps")
    return state, texts["named"]


def flat(recipe: dict[str, Any]) -> dict[str, Any]:
    """Flatten a recipe into a dict of section.key -> value."""
    made: dict[str, Any] = {}
    for section, values in recipe.items():
        whole = not isinstance(values, dict)
        made |= {section: values} if whole else {f"{section}.{key}": one for key, one in values.items()}
    return made


def _check_same(out: Path, training: RunTraining, texts: Mapping[str, str]) -> None:
    """Refuse to resume another training; only the number of steps may differ."""
    anew = "Train anew: --overwrite, or another --out."
    if training.seed != int(texts["seed"]):
        raise UsageError(f"got --seed {training.seed}; the run in '{out}' has seed {texts['seed']}. Use that. {anew}")
    ours, theirs = flat(training.recipe.to_dict()), flat(json.loads(texts["recipe"]))
    for key in sorted(ours.keys() | theirs.keys()):
        got, kept = (json.dumps(values[key]) if key in values else "nothing" for values in (ours, theirs))
        if got != kept and key not in ("about", "training.steps", "table.steps"):
            raise UsageError(
                f"got {key} = {got}; the run in '{out}' has {kept}. Only the number of steps may change. {anew}"
            )
    if training.fingerprint != texts["fingerprint"]:
        raise UsageError(
            f"the rows of '{training.source}' are not the training rows of the run in '{out}'. Give these. {anew}"
        )
