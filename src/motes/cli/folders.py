"""The folder of a run, and the checkpoints in it."""

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
from motes.evaluation.losses import BOUND, EXACT
from motes.points import Denoiser, PointModel
from motes.progress import Reporter
from motes.replacing import replacing, unfinished
from motes.training import Recipe
from motes.training.averages import with_weights
from motes.training.checkpoints import SUFFIX, State, read_checkpoint, write_checkpoint
from motes.training.model import AVERAGES

MODEL = "model.safetensors"
HISTORY = "history.jsonl"
METRICS = "metrics.json"  # written last but for pictures: where it is, the run is complete
ARTEFACTS = (MODEL, AVERAGES, "recipe.toml", "samples.csv", HISTORY, METRICS, "report.html")
LEAST = {EXACT: "irreducible loss", BOUND: "bound for memorising"}  # names of the least possible loss
ABOVE = {EXACT: "excess", BOUND: "above_bound"}  # and what a line of the history calls the loss above it
FIGURES = ("data", "samples", "comparison", "forward", "reverse", "loss", "snapshots")
TABLE_FIGURES = ("marginals", "pairs", "loss")
PICTURES = (
    "diffusion.gif",
    "diffusion.mp4",
    *(f"figures/{name}.{end}" for name in dict.fromkeys((*FIGURES, *TABLE_FIGURES)) for end in FORMATS),
)
EVALUATION = tuple(f"{name}.{end}" for name in ("comparison", "marginals", "pairs") for end in FORMATS)
DIAGNOSED = ("excess", "error_split", "scores", "densities", "column_gains", "ranks")
DIAGNOSIS = (
    "diagnosis.json",
    *(f"{name}.{end}" for name in DIAGNOSED for end in FORMATS),
)
RESULTS = (METRICS, "samples.csv", "report.html", *PICTURES)  # which are made of a model
LOCK = ".lock"


def make_folder(out: Path) -> None:
    """Make the folder of results.

    Raises:
        UsageError: it is a file.
    """
    if out.is_file():
        raise UsageError(f"'{out}' is a file; expected the name of a folder.")
    out.mkdir(parents=True, exist_ok=True)


@contextmanager
def locked(out: Path, warn: Callable[[str], None]) -> Iterator[None]:
    """Keep other processes from training in the folder `out`. The system ends it with the process, however that ends.

    Raises:
        UsageError: another process trains there.
    """
    try:
        import fcntl
    except ImportError:  # which only POSIX has
        yield
        return
    path = out / LOCK
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 20).decode() or "another one"
            os.close(handle)
            raise UsageError(
                f"'{out}' is in use: process {holder} trains there. Wait until it ends, or choose another --out."
            ) from None
        except OSError as error:
            warn(f"'{out}' cannot be locked ({error.strerror}): take care that no other process trains there.")
            break
        if _is_at(handle, path):
            break
        os.close(handle)  # whoever had the lock has removed the file meanwhile
    try:
        os.ftruncate(handle, 0)
        os.write(handle, str(os.getpid()).encode())
        yield
    finally:
        try:
            with suppress(OSError):  # its name alone does no harm
                path.unlink(missing_ok=True)
        finally:
            os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    """Whether an open file is the one at a path."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def write(path: Path, text: str) -> None:
    """A text file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def remove_unfinished(out: Path, names: Sequence[str]) -> None:
    """Remove what a process that was killed has left of these files, under their temporary names."""
    for name in names:
        for path in unfinished(out / name):
            path.unlink()


def present(out: Path, names: Sequence[str]) -> list[Path]:
    """The paths of those files that there are."""
    return [out / name for name in names if (out / name).exists()]


def refuse_files(out: Path, names: Sequence[str]) -> None:
    """Refuse a folder in which one of these files would be overwritten.

    Raises:
        UsageError: it holds one.
    """
    if there := present(out, names):
        raise UsageError(
            f"'{out}' holds {there[0].relative_to(out)}. Choose another --out, or replace it with --overwrite."
        )


def history_in(out: Path) -> list[dict[str, float]]:
    """The lines of history.jsonl in a folder, as `motes.cli.run.history` made them; nothing where there is none.

    Raises:
        DataError: a line that is not one of theirs.
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
                f"line {number} of '{path}' is not the loss of a step, as `motes train` writes it. Remove the file; "
                "there is no figure of the loss without it."
            ) from None
    return made


# --- A training in the folder of a run, and how it goes on after an end that came too early -------------------------
#
#     checkpoints/000000001200.safetensors    the complete state of the training after 1200 steps; the last two are kept
#
# A run that is complete keeps the last one, from which a training with more steps goes on.


CHECKPOINTS = "checkpoints"
LAST = 2  # checkpoints that are kept
COST = 0.02  # share of the time that writing them takes, at most


@dataclass(frozen=True)
class RunTraining:
    """What is trained, by which a training is known again.

    Attributes:
        source: the shape, the data set or the file.
        named: the recipe, as whoever trains names it.
        recipe: of the training.
        seed: of everything random.
        fingerprint: of the rows that are trained on.
    """

    source: str
    named: str
    recipe: Recipe
    seed: int
    fingerprint: str

    @property
    def steps(self) -> int | None:
        """As the recipe says; None: what suits the rows."""
        return self.recipe.training_steps

    @property
    def about(self) -> dict[str, str]:
        """As texts of a file."""
        recipe = json.dumps(self.recipe.to_dict())
        return {"named": self.named, "recipe": recipe, "seed": str(self.seed), "fingerprint": self.fingerprint}


class Checkpoints:
    """Keeps the state of a training in the folder of a run: a `motes.training.checkpoints.Checkpointer`.

    Args:
        out: the folder.
        about: of the training.
        state: to go on from; None: the training begins.
        every: seconds from one checkpoint to the next, at least: writing them takes at most 2 per cent of the time.
        warn: called with a sentence where a checkpoint cannot be written. The training goes on: the last one is whole.
    """

    def __init__(
        self, out: Path, about: Mapping[str, str], state: State | None, *, every: float, warn: Callable[[str], None]
    ):
        self.state, self.about = state, about
        self._out, self._every, self._warn = out, every, warn
        self._last = self._asked = time.perf_counter()
        self._wait = every

    def due(self) -> bool:
        """Whether it is time for another one."""
        self._asked = time.perf_counter()
        return self._asked - self._last >= self._wait

    def save(self, step: int, state: State) -> None:
        """Write the state after `step` steps, whole or not at all, and remove all but the last two."""
        folder = self._out / CHECKPOINTS
        try:
            folder.mkdir(exist_ok=True)
            texts = {**self.about, "numbers": json.dumps(state.numbers)}
            write_checkpoint(folder / f"{step:012d}{SUFFIX}", state.arrays, texts)
            self._keep(LAST)
        except OSError as error:
            files = checkpoints_in(self._out)
            still = f"that of step {step_of(files[0]):,} is there" if files else "there is none yet"
            self._warn(f"no checkpoint of step {step:,}: {error.strerror or error}; {still}. The training goes on.")
        self._last = time.perf_counter()
        self._wait = max(self._every, (self._last - self._asked) / COST)

    def finish(self) -> None:
        """The run is complete: only the last checkpoint is of use, to go on with more steps."""
        self._keep(1)

    def _keep(self, count: int) -> None:
        for path in checkpoints_in(self._out)[count:]:
            path.unlink()


def checkpoints_in(out: Path) -> list[Path]:
    """The checkpoints in the folder of a run, the newest first."""
    found = (path for path in (out / CHECKPOINTS).glob(f"*{SUFFIX}") if re.fullmatch("[0-9]{12,18}", path.stem))
    return sorted(found, key=step_of, reverse=True)


def step_of(path: Path) -> int:
    """After how many steps a checkpoint was written."""
    return int(path.stem)


def seed_of(out: Path) -> int:
    """The seed of the run in a folder, to go on with it.

    Raises:
        UsageError: there is nothing to go on from.
    """
    return int(_newest(out)[1]["seed"])


@contextmanager
def keeping_checkpoints(
    out: Path, training: RunTraining, options: Options, reporter: Reporter
) -> Iterator[Checkpoints]:
    """Yields what keeps the states of a training in the folder `out`, which no other process may use meanwhile.

    A training that ends before anything was learned leaves nothing that stands in the way of the next.

    Raises:
        UsageError: another process uses the folder; it holds another run; or there is nothing to go on with, or
            something else than this training.
    """
    if options.resume:
        _newest(out)  # before a folder is made
    make_folder(out)
    with locked(out, reporter.warn):
        remove_unfinished(out, (*ARTEFACTS, *PICTURES, f"{CHECKPOINTS}/*{SUFFIX}"))
        state, about = None, training.about
        if options.resume:
            state, named = _gone_on(out, training, reporter)
            about["named"] = named
        else:
            prepare(out, options.overwrite)
        write_recipe(out, training)
        try:
            yield Checkpoints(out, about, state, every=options.checkpoint_every, warn=reporter.warn)
        except (KeyboardInterrupt, MotesError) as error:
            if isinstance(error, TrainingError) and not options.resume:
                _clear_checkpoints(out)  # from each of them it would break down again
            files = checkpoints_in(out)
            if isinstance(error, Terminated) and files:
                error.args = (f"{error} The training after {step_of(files[0]):,} steps is kept: go on with --resume.",)
            if not files and not (out / MODEL).exists():
                (out / "recipe.toml").unlink(missing_ok=True)
            raise


def prepare(out: Path, overwrite: bool) -> None:
    """Refuse a folder that holds a run, or clear that run away.

    Raises:
        UsageError: it holds one, and nobody asked to replace it.
    """
    there, files = present(out, ARTEFACTS + PICTURES), checkpoints_in(out)
    if files and not overwrite and not (out / METRICS).exists():
        raise UsageError(
            f"'{out}' holds a run that was cut short after {step_of(files[0]):,} steps. Go on with it with --resume, "
            "replace it with --overwrite, or choose another --out."
        )
    if (there or files) and not overwrite:
        name = (there or files)[0].relative_to(out)
        raise UsageError(f"'{out}' holds another run ({name}). Choose another --out, or replace it with --overwrite.")
    for path in there:
        path.unlink()
    _clear_checkpoints(out)


def write_recipe(out: Path, training: RunTraining) -> None:
    """What ran, and how to run it again."""
    again = f"motes train {shlex.quote(training.source)} --recipe recipe.toml --seed {training.seed}"
    header = f"# What ran, by motes {version('motes')}; to run it again: {again}\n"
    write(out / "recipe.toml", header + training.recipe.to_toml())


def snapshots_in(out: Path, model: PointModel) -> list[tuple[int, Denoiser]]:
    """Step and denoiser of each snapshot of a model's training, the model itself last; of the newest checkpoint.

    Nothing where no checkpoint can be read, or where the folder is that of another training.
    """
    for path in checkpoints_in(out):
        try:
            state, texts = _read(path)
        except ModelFileError:
            continue
        recipe, rows = json.loads(texts["recipe"]), (int(texts["seed"]), texts["fingerprint"])
        if not _is_said(recipe, model.recipe.to_dict()) or rows != (model.seed, model.fingerprint):
            return []
        best = state.arrays.get("best/step")
        end = state.numbers["course/step"] if best is None else int(best.max())  # of the weights that are kept
        which = 0 if model.recipe.training.weights == "averaged" else 1
        shots = state.part("course").part("snapshots").arrays
        before = [step for step in sorted(map(int, shots)) if step < end]
        return [
            *((step, with_weights(model.denoiser, shots[str(step)].reshape(2, -1)[which])) for step in before),
            (end, model.denoiser),
        ]
    return []


def _is_said(some: dict[str, Any], whole: dict[str, Any]) -> bool:
    """Whether all that a recipe says is in a whole one, which also says what suits the rows where it was left out."""
    parts = ((part, whole.get(key)) for key, part in some.items())
    return all(_is_said(a, b) if isinstance(a, dict) and isinstance(b, dict) else a == b for a, b in parts)


def _clear_checkpoints(out: Path) -> None:
    folder = out / CHECKPOINTS
    if folder.is_dir():
        for path in checkpoints_in(out):
            path.unlink()
        if not any(folder.iterdir()):
            folder.rmdir()


def _read(path: Path) -> tuple[State, dict[str, str]]:
    """The state in a checkpoint, and the texts beside it.

    Raises:
        ModelFileError: it is damaged, or no checkpoint.
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


def _newest(out: Path, warn: Callable[[str], None] = lambda message: None) -> tuple[State, dict[str, str], list[Path]]:
    """The newest whole state in the folder of a run, the texts beside it, and the damaged files that are newer.

    Raises:
        UsageError: there is none.
    """
    damaged: list[Path] = []
    for path in checkpoints_in(out):
        try:
            state, texts = _read(path)
        except ModelFileError as error:
            damaged.append(path)
            warn(f"{error} Going back to the checkpoint before it, and keeping this file as '{_aside(path).name}'.")
            continue
        if texts["motes"] != version("motes"):
            raise UsageError(
                f"the run in '{out}' was trained by motes {texts['motes']}; this is motes {version('motes')}, which "
                "cannot go on with it. Train anew: --overwrite, or another --out."
            )
        return state, texts, damaged
    if damaged:
        raise UsageError(f"all checkpoints in '{out}' are damaged. Train anew: --overwrite, or another --out.")
    raise UsageError(
        f"there is no checkpoint in '{out}' to go on from: no run, or one that ended before its first. Leave out "
        "--resume, with --overwrite where the folder holds files of a run."
    )


def _gone_on(out: Path, training: RunTraining, reporter: Reporter) -> tuple[State, str]:
    """The state to go on from, and how the recipe was named when the run began.

    What was made of the model so far is removed, since it will be another one.
    """
    state, texts, damaged = _newest(out, reporter.warn)
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
            f"got {section}.steps = {training.steps:,}; the run in '{out}' has taken {done:,} already. Give more."
        )
    for path in damaged:
        path.rename(_aside(path))
    for path in present(out, RESULTS):
        path.unlink()
    reporter.say(f"going on after {done:,} steps")
    return state, texts["named"]


def _aside(path: Path) -> Path:
    """A free name next to a checkpoint that cannot be read, under which it is no checkpoint."""
    names = (path.with_suffix(f".damaged{number or ''}") for number in count())
    return next(name for name in names if not name.exists())


def flat(recipe: dict[str, Any]) -> dict[str, Any]:
    """section.key -> value."""
    made: dict[str, Any] = {}
    for section, values in recipe.items():
        made |= (
            {f"{section}.{key}": one for key, one in values.items()} if isinstance(values, dict) else {section: values}
        )
    return made


def _check_same(out: Path, training: RunTraining, texts: Mapping[str, str]) -> None:
    """Refuse to go on with another training, of which the steps alone may differ."""
    anew = "Train anew: --overwrite, or another --out."
    if training.seed != int(texts["seed"]):
        raise UsageError(f"got --seed {training.seed}; the run in '{out}' has seed {texts['seed']}. Give that. {anew}")
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
            f"the rows of '{training.source}' are not those that the run in '{out}' was trained on. Give the same "
            f"data. {anew}"
        )
