"""The folder of a run and its checkpoints."""

import json
import os
import re
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from itertools import count
from pathlib import Path
from typing import Any

from motes.cli.options import FORMATS, Options
from motes.errors import DataError, ModelFileError, MotesError, Terminated, TrainingError, UsageError
from motes.points import Denoiser, PointModel
from motes.progress import Reporter
from motes.replacing import replacing, unfinished
from motes.training import Recipe
from motes.training.averages import with_weights
from motes.training.checkpoints import SUFFIX, State, read_checkpoint, write_checkpoint
from motes.training.model import AVERAGES

MODEL = "model.safetensors"
HISTORY = "history.jsonl"
METRICS = "metrics.json"  # written after all files but the figures: if it exists, the run is complete
ARTEFACTS = (MODEL, AVERAGES, "recipe.toml", "samples.csv", HISTORY, METRICS, "report.html")
FIGURES = ("data", "samples", "comparison", "forward", "reverse", "loss", "snapshots")
TABLE_FIGURES = ("marginals", "pairs", "loss")
PICTURES = (
    "diffusion.gif",
    *(f"figures/{name}.{end}" for name in dict.fromkeys((*FIGURES, *TABLE_FIGURES)) for end in FORMATS),
)
EVALUATION = tuple(f"{name}.{end}" for name in ("comparison", "marginals", "pairs") for end in FORMATS)
DIAGNOSED = ("excess", "error_split", "scores", "densities", "column_gains", "ranks")
DIAGNOSIS = (
    "diagnosis.json",
    *(f"{name}.{end}" for name in DIAGNOSED for end in FORMATS),
)
RESULTS = (METRICS, "samples.csv", "report.html", *PICTURES)  # derived from a model
LOCK = ".lock"


def make_folder(out: Path) -> None:
    """Create the folder of results.

    Raises:
        UsageError: if `out` is a file.
    """
    if out.is_file():
        raise UsageError(f"'{out}' is a file; expected the name of a folder.")
    out.mkdir(parents=True, exist_ok=True)


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
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 20).decode() or "(unknown)"
            os.close(handle)
            raise UsageError(
                f"'{out}' is in use: process {holder} is training there. Wait until it ends, or choose another --out."
            ) from None
        except OSError as error:
            warn(f"'{out}' cannot be locked ({error.strerror}): make sure that no other process trains there.")
            break
        if _is_same_file(handle, path):
            break
        os.close(handle)  # the process that had the lock has removed the file meanwhile
    try:
        os.ftruncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
        yield
    finally:
        try:
            with suppress(OSError):  # a leftover file is harmless
                path.unlink(missing_ok=True)
        finally:
            os.close(handle)


def _is_same_file(handle: int, path: Path) -> bool:
    """Return whether an open file is the file at a path."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def write(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def remove_unfinished(out: Path, names: Sequence[str]) -> None:
    """Remove temporary copies of these files that a killed process has left behind."""
    for name in names:
        for path in unfinished(out / name):
            path.unlink()


def present(out: Path, names: Sequence[str]) -> list[Path]:
    """Return the paths of the files that exist."""
    return [out / name for name in names if (out / name).exists()]


def refuse_files(out: Path, names: Sequence[str]) -> None:
    """Check that none of these files would be overwritten in a folder.

    Raises:
        UsageError: if the folder contains one.
    """
    if there := present(out, names):
        raise UsageError(
            f"'{out}' already contains {there[0].relative_to(out)}. Choose another --out, or replace it with "
            "--overwrite."
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
    def steps(self) -> int | None:
        """Number of steps in the recipe; None if it is chosen from the data."""
        return self.recipe.training_steps

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
        self._last = self._asked = time.perf_counter()
        self._wait = every

    def due(self) -> bool:
        """Return whether it is time for another checkpoint."""
        self._asked = time.perf_counter()
        return self._asked - self._last >= self._wait

    def save(self, step: int, state: State) -> None:
        """Write the state after `step` steps atomically, and remove all checkpoints but the last two."""
        folder = self._out / CHECKPOINTS
        try:
            folder.mkdir(exist_ok=True)
            texts = {**self.about, "numbers": json.dumps(state.numbers)}
            write_checkpoint(folder / f"{step:012d}{SUFFIX}", state.arrays, texts)
            self._keep(LAST)
        except OSError as error:
            files = checkpoints_in(self._out)
            still = f"the last one is from step {step_of(files[0]):,}" if files else "there is none yet"
            self._warn(f"no checkpoint of step {step:,}: {error.strerror or error}; {still}. The training continues.")
        self._last = time.perf_counter()
        self._wait = max(self._every, (self._last - self._asked) / COST)

    def finish(self) -> None:
        """Keep only the last checkpoint of a complete run, from which it can continue with more steps."""
        self._keep(1)

    def _keep(self, count: int) -> None:
        for path in checkpoints_in(self._out)[count:]:
            path.unlink()


def checkpoints_in(out: Path) -> list[Path]:
    """Return the checkpoints in the folder of a run, the newest first."""
    found = (path for path in (out / CHECKPOINTS).glob(f"*{SUFFIX}") if re.fullmatch("[0-9]{12,18}", path.stem))
    return sorted(found, key=step_of, reverse=True)


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

    A training that ends before anything was learned leaves no files that would block the next one.

    Raises:
        UsageError: if another process uses the folder, if it contains another run, or, with `resume`, if it contains
            no checkpoint or one of another training.
    """
    if options.resume:
        _read_newest(out)  # before the folder is created
    make_folder(out)
    with locked(out, reporter.warn):
        remove_unfinished(out, (*ARTEFACTS, *PICTURES, f"{CHECKPOINTS}/*{SUFFIX}"))
        state, about = None, training.about
        if options.resume:
            state, named = _resume(out, training, reporter)
            about["named"] = named
        else:
            prepare(out, options.overwrite)
        write_recipe(out, training)
        try:
            yield Checkpoints(out, about, state, every=options.checkpoint_every, warn=reporter.warn)
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
    there, files = present(out, ARTEFACTS + PICTURES), checkpoints_in(out)
    if files and not overwrite and not (out / METRICS).exists():
        raise UsageError(
            f"'{out}' contains a run that was interrupted after {step_of(files[0]):,} steps. Continue it with "
            "--resume, replace it with --overwrite, or choose another --out."
        )
    if (there or files) and not overwrite:
        name = (there or files)[0].relative_to(out)
        raise UsageError(
            f"'{out}' contains another run ({name}). Choose another --out, or replace it with --overwrite."
        )
    for path in there:
        path.unlink()
    _clear_checkpoints(out)


def write_recipe(out: Path, training: RunTraining) -> None:
    """Write the recipe of a run, with the command that repeats it."""
    again = f"motes train {shlex.quote(training.source)} --recipe recipe.toml --seed {training.seed}"
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
        recipe, rows = json.loads(texts["recipe"]), (int(texts["seed"]), texts["fingerprint"])
        if not _agrees(recipe, model.recipe.to_dict()) or rows != (model.seed, model.fingerprint):
            return []
        best = state.arrays.get("best/step")
        end = state.numbers["course/step"] if best is None else int(best.max())  # step of the final weights
        which = 0 if model.recipe.training.weights == "averaged" else 1
        shots = state.part("course").part("snapshots").arrays
        before = [step for step in sorted(map(int, shots)) if step < end]
        return [
            *((step, with_weights(model.denoiser, shots[str(step)].reshape(2, -1)[which])) for step in before),
            (end, model.denoiser),
        ]
    return []


def _agrees(some: dict[str, Any], whole: dict[str, Any]) -> bool:
    """Return whether a complete recipe, with the values chosen from the data, agrees with all values of another."""
    parts = ((part, whole.get(key)) for key, part in some.items())
    return all(_agrees(a, b) if isinstance(a, dict) and isinstance(b, dict) else a == b for a, b in parts)


def _clear_checkpoints(out: Path) -> None:
    folder = out / CHECKPOINTS
    if folder.is_dir():
        for path in checkpoints_in(out):
            path.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()


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


def _read_newest(
    out: Path, warn: Callable[[str], None] = lambda message: None
) -> tuple[State, dict[str, str], list[Path]]:
    """Return the newest intact state in the folder of a run, its metadata, and the damaged files that are newer.

    Raises:
        UsageError: if there is none.
    """
    damaged: list[Path] = []
    for path in checkpoints_in(out):
        try:
            state, texts = _read(path)
        except ModelFileError as error:
            damaged.append(path)
            warn(f"{error} Using the checkpoint before it, and keeping this file as '{_damaged_name(path).name}'.")
            continue
        if texts["motes"] != version("motes"):
            raise UsageError(
                f"the run in '{out}' was trained by motes {texts['motes']}; this is motes {version('motes')}, which "
                "cannot continue it. Train anew: --overwrite, or another --out."
            )
        return state, texts, damaged
    if damaged:
        raise UsageError(f"all checkpoints in '{out}' are damaged. Train anew: --overwrite, or another --out.")
    raise UsageError(
        f"there is no checkpoint in '{out}' to resume from: no run, or one that ended before its first. Omit "
        "--resume, and add --overwrite if the folder contains files of a run."
    )


def _resume(out: Path, training: RunTraining, reporter: Reporter) -> tuple[State, str]:
    """Return the state to resume from and the recipe's name at the start of the run.

    Results of the model so far are removed, since the model will change.
    """
    state, texts, damaged = _read_newest(out, reporter.warn)
    _check_same(out, training, texts)
    done, complete = state.numbers["course/step"], (out / METRICS).exists()
    section = training.recipe.TRAINING
    before = json.loads(texts["recipe"]).get(section, {}).get("steps")
    if complete and training.steps == before:
        raise UsageError(
            f"the run in '{out}' is complete after {done:,} steps; nothing is left to do. For more steps: --resume "
            f"--set {section}.steps={2 * state.numbers['course/steps']}."
        )
    if training.steps is not None and (training.steps < done or (complete and training.steps == done)):
        raise UsageError(
            f"got {section}.steps = {training.steps:,}; the run in '{out}' has already done {done:,}. Give more."
        )
    for path in damaged:
        path.rename(_damaged_name(path))
    for path in present(out, RESULTS):
        path.unlink()
    reporter.say(f"resuming after {done:,} steps")
    return state, texts["named"]


def _damaged_name(path: Path) -> Path:
    """Return an unused name under which a damaged checkpoint is kept, but not read as a checkpoint."""
    names = (path.with_suffix(f".damaged{number or ''}") for number in count())
    return next(name for name in names if not name.exists())


def flat(recipe: dict[str, Any]) -> dict[str, Any]:
    """Flatten a recipe into a dict of section.key -> value."""
    made: dict[str, Any] = {}
    for section, values in recipe.items():
        made |= (
            {f"{section}.{key}": one for key, one in values.items()} if isinstance(values, dict) else {section: values}
        )
    return made


def _check_same(out: Path, training: RunTraining, texts: Mapping[str, str]) -> None:
    """Refuse to resume another training; only the number of steps may differ."""
    anew = "Train anew: --overwrite, or another --out."
    if training.seed != int(texts["seed"]):
        raise UsageError(
            f"got --seed {training.seed}; the run in '{out}' has seed {texts['seed']}. Use that one. {anew}"
        )
    ours, theirs = flat(training.recipe.to_dict()), flat(json.loads(texts["recipe"]))
    for key in sorted(ours.keys() | theirs.keys()):
        got, kept = (json.dumps(values[key]) if key in values else "nothing" for values in (ours, theirs))
        if got != kept and key not in ("about", "training.steps", "table.steps"):
            raise UsageError(
                f"got {key} = {got}; the run in '{out}' has {kept}. Only the number of steps may change with --resume. "
                f"{anew}"
            )
    if training.fingerprint != texts["fingerprint"]:
        raise UsageError(
            f"the rows of '{training.source}' are not the training rows of the run in '{out}'. Give the same data. "
            f"{anew}"
        )
