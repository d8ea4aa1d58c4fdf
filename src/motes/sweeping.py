"""Train many small models, one for each combination of settings and seeds, and compare them.

    a model and its metrics = a function of the rows, the recipe with its settings, and the seed

So it does not matter which process trains a model, and in which order, and you can repeat a call after any
interruption: complete models are kept, and the missing ones are trained.

    FOLDER/models/3f9a2c71d0b4/model.safetensors    a model, named by a hash of its rows, recipe and seed
    FOLDER/models/3f9a2c71d0b4/metrics.json         its settings and metrics, written last
    FOLDER/results.parquet                          the metrics of all models
    FOLDER/results.png                              a figure of them

The numbers of an optimiser and of a seed are inputs of the compiled programs. So models in one process that differ in
them alone share one program, whichever is trained first.
"""

import hashlib
import json
import secrets
import tomllib
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Executor, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from motes.arguments import check_arguments
from motes.data import DATASETS, SHAPES, Frame, as_frame, write_frame
from motes.errors import MotesError, UsageError, check_count
from motes.evaluation import Evaluation, metrics
from motes.evaluation.results import SECTIONS, Array, aligned, mean_of, number
from motes.fitting import choose_recipe, prepare_rows, train_model
from motes.jobs import run_jobs
from motes.points import PointRecipe
from motes.progress import OnProgress, Progress, Reporter, silent
from motes.recipe_files import split_change
from motes.recipes import load_recipe
from motes.replacing import replacing
from motes.tables.recipe import TableRecipe
from motes.training import Model, Recipe
from motes.training.programs import cores

METRICS, MODEL, RESULTS, FIGURE = "metrics.json", "model.safetensors", "results.parquet", "results.png"
THREADS = 8  # maximum number of trainings at a time in this process: each takes memory, and all share Python's lock
CONTINUE = "Repeat the same call or command to train the others."


@dataclass(frozen=True)
class Trial:
    """One model of a sweep. It can be pickled, so any engine can send it to its workers.

    Attributes:
        source: the shape, data set or file.
        recipe: the recipe with its settings.
        setting: the changed recipe keys and their values.
        seed: seed of the rows, the training and the evaluation.
        folder: folder of the model.
        stop: if this file appears, the training ends.
    """

    source: str
    recipe: PointRecipe | TableRecipe
    setting: dict[str, Any]
    seed: int
    folder: Path
    stop: Path

    def __str__(self) -> str:
        return _words(self.setting | {"seed": self.seed})

    def read(self) -> dict[str, Any]:
        """Return the record that `train` wrote; it is empty if the model is not complete."""
        try:
            return dict(json.loads((self.folder / METRICS).read_text()))
        except (OSError, ValueError):
            return {}

    def _check(self, now: Progress) -> None:
        if self.stop.exists():
            raise CancelledError

    def train(self) -> None:
        """Train and evaluate the model, and write it into its folder. A training that diverges is a result, too."""
        metrics, error, model = list[dict[str, Any]](), "", None
        try:
            ready = replace(prepare_rows(self.source, self.recipe, self.seed), warnings=())
            model = train_model(ready, self.seed, Reporter(quiet=True), on_progress=self._check)
            if model.training.interrupted:
                raise KeyboardInterrupt
            metrics = _metrics_of(model.evaluate(seed=self.seed))
        except MotesError as failed:  # the training diverged, or the model cannot be evaluated
            model, error = getattr(failed, "result", model), str(failed)
            if not isinstance(model, Model):
                failed.args = (f"{self}: {failed} {CONTINUE}",)
                raise
        self.folder.mkdir(parents=True, exist_ok=True)
        model.save(self.folder / MODEL)
        about = {"setting": self.setting, "seed": self.seed, "model": f"models/{self.folder.name}", "error": error}
        found = about | {"seconds": model.training.seconds, "metrics": metrics}
        with replacing(self.folder / METRICS, durable=True) as temporary:
            temporary.write_text(json.dumps(found, indent=2, default=str))


def _metrics_of(found: Evaluation[Any]) -> list[dict[str, Any]]:
    """Return the entries of an evaluation, and for a table the log-likelihood of its held-out rows.

    For a table, "metric" is a section of the evaluation; the entries of its columns are averaged later.
    """
    metrics, of_table = [], found.kind == "table"
    for one in found.entries:
        metric = SECTIONS[one.section].title.lower() if of_table else one.name
        measure = one.measure + ", mean over columns" * (one.section in ("columns", "missing"))
        metrics.append((metric, measure, one.name, one.value, one.reference_value))
    held_out = getattr(getattr(found.details, "likelihood", None), "held_out", None)
    if held_out is not None:
        metrics.append(("held-out log p", "mean log p of held-out rows, in nats", "held_out", float(held_out), None))
    return [dict(zip(("metric", "about", "name", "value", "reference_value"), one, strict=True)) for one in metrics]


# --- The results of all models ----------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Sweep:
    """The metrics of all models of a sweep. `print` shows their means over the seeds, `plot` draws them.

    Attributes:
        folder: the folder with the models.
        keys: the recipe keys with several values.
        models: the record of each model: "setting", "seed", "model" (its folder), "error" (of a training that
            diverged), "seconds" and "metrics".
    """

    folder: Path
    keys: tuple[str, ...]
    models: tuple[Mapping[str, Any], ...]

    @property
    def results(self) -> Frame:
        """The table in results.parquet: a row for each metric of each model."""
        names = "metric", "name", "value", "reference_value"
        rows = [(model, one) for model in self.models for one in model["metrics"] or [dict.fromkeys(names)]]
        columns = {key: _column([model["setting"][key] for model, _ in rows]) for key in self.keys}
        columns["seed"] = [model["seed"] for model, _ in rows]
        columns |= {name: [one[name] for _, one in rows] for name in names}
        return as_frame(columns | {name: [model[name] for model, _ in rows] for name in ("seconds", "model", "error")})

    @cached_property
    def _settings(self) -> tuple[tuple[str, ...], ...]:
        """The values of `keys` as texts, for each setting."""
        return tuple(dict.fromkeys(self._setting(model) for model in self.models))

    def _setting(self, model: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(_text(model["setting"][key]) for key in self.keys)

    @cached_property
    def _values(self) -> dict[str, list[Array]]:
        """Metric -> for each setting, the values and reference values of its seeds, (seeds, 2); NaN if unknown."""
        found = dict[str, list[list[Array]]]()
        for model in self.models:
            place = self._settings.index(self._setting(model))
            names = dict.fromkeys(one["metric"] for one in model["metrics"])
            for name in names:
                mine = [one for one in model["metrics"] if one["metric"] == name and one["value"] is not None]
                both = np.array([[one["value"], one["reference_value"]] for one in mine], np.float64).reshape(-1, 2)
                if len(both):
                    found.setdefault(name, [[] for _ in self._settings])[place].append(both.mean(axis=0))
        return {name: [np.reshape(seeds, (-1, 2)) for seeds in settings] for name, settings in found.items()}

    def __repr__(self) -> str:
        return f"Sweep({len(self.models)} models in '{self.folder}')"

    def __str__(self) -> str:
        lines = list[tuple[str, ...]]()
        for name, settings in self._values.items():
            for k, (setting, both) in enumerate(zip(self._settings, settings, strict=True)):
                mean, low, high = _interval(both[:, 0], name)
                text = f"{mean:.4g} ({low:.4g} to {high:.4g})" if len(both) > 1 else number(mean)
                reference = number(_interval(both[:, 1], name)[0])
                lines.append((name * (k == 0), *setting, text, reference, f"{len(both)}"))
        every = [one for model in self.models for one in model["metrics"]]
        about = {name: dict.fromkeys(one["about"] for one in every if one["metric"] == name) for name in self._values}
        failed = [model for model in self.models if model["error"]]
        words = lambda model: _words({key: model["setting"][key] for key in self.keys} | {"seed": model["seed"]})
        blocks = ["\n".join(f"{words(model)}: {model['error']}" for model in failed)] if failed else []
        if lines:
            head = "metric", *self.keys, "mean (95 % interval)", "reference value", "seeds"
            measures = [(name, " or ".join(words)) for name, words in about.items()]
            blocks = [aligned(head, lines), aligned(("metric", "what it is"), measures), *blocks]
        return "\n\n".join(blocks)

    def plot(self, style: str = "light") -> Any:
        """Draw each metric of each setting: its seeds, their mean with its interval, and the reference value."""
        from motes.plots.curves import seed_panels

        settings = [", ".join(setting) for setting in self._settings]
        values = {name: [both[:, 0] for both in parts] for name, parts in self._values.items()}
        intervals = {name: np.array([_interval(own, name) for own in parts]) for name, parts in values.items()}
        references = {name: _interval(np.concatenate(parts)[:, 1], name)[0] for name, parts in self._values.items()}
        return seed_panels(", ".join(self.keys), settings, values, intervals, references, style=style)


def _interval(values: Array, metric: str) -> tuple[float, float, float]:
    """Return the mean of a metric's values (seeds,) and its 95 % interval of possible values; NaN without values."""
    if len(values) < 2:
        return (float(values.sum()) if len(values) else np.nan,) * 3
    mean = mean_of("", values)
    ranges = {one.title.lower(): one.possible for one in SECTIONS.values()}
    ranges |= {name: one.possible for name, one in metrics.METRICS.items()}
    low, high = ranges.get(metric, (-np.inf, np.inf))
    return mean.value, max(mean.low, low), min(mean.high, high)


def _text(value: Any) -> str:
    """Return a value as a text, as on the command line."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _words(setting: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} = {_text(value)}" for key, value in setting.items())


def _column(values: list[Any]) -> list[Any]:
    """Return values as a column: numbers if all are numbers, otherwise texts."""
    return values if all(isinstance(value, int | float) for value in values) else [_text(value) for value in values]


# --- The grid, and the call -------------------------------------------------------------------------------------------


def _values_of(changes: Sequence[str] | Mapping[str, Any]) -> dict[str, list[Any]]:
    """Return the values of each changed key.

    Raises:
        RecipeError: a text without "=".
        UsageError: a key without values.
    """
    grid = dict[str, list[Any]]()
    if isinstance(changes, Mapping):
        for key, value in changes.items():
            several = isinstance(value, list | tuple | np.ndarray)
            grid[key] = [one.item() if hasattr(one, "item") else one for one in (value if several else [value])]
    else:
        for change in changes:
            (key, _), text = split_change(change), change.partition("=")[2]
            try:
                values = tomllib.loads(f"values = [{text}]")["values"]
            except tomllib.TOMLDecodeError:  # words
                values = [split_change(f"{key}={word}")[1] for word in text.split(",")]
            grid.setdefault(key, []).extend(values)
    for key, values in grid.items():
        if not values:
            raise UsageError(f"got {key} without values; expected one or more, separated by commas.")
    return grid


def _identify(source: str) -> str:
    """Return the name of a shape or data set, or the checksum of a file."""
    if source in SHAPES or source in DATASETS:
        return source
    with open(source, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@check_arguments
def sweep(
    source: str | Path,
    recipe: str | Path | Recipe | None = None,
    *,
    changes: Sequence[str] | Mapping[str, Any] = (),
    seeds: int = 8,
    out: str | Path,
    executor: Executor | None = None,
    on_progress: OnProgress = silent,
) -> Sweep:
    """Train a model for each combination of settings and each seed, evaluate it, and write everything into a folder.

    Each model is the one that `motes.fit(source, recipe, changes=setting, seed=seed)` returns, to the bit, and its
    metrics are those of `model.evaluate(seed=seed)`. Complete models in the folder are kept, so that the same call
    continues after any interruption, and a call with more values or seeds trains only the new models. A training that
    diverges is recorded as such.

    Args:
        source: the name of a shape, a data set or a file.
        recipe: as in `motes.fit`.
        changes: changes to the recipe, with a list of values for each key that varies, such as
            {"training.learning_rate": [1e-3, 3e-3], "training.steps": 2000}; or texts as on the command line, such as
            "training.learning_rate=1e-3,3e-3".
        seeds: number of seeds: 0, 1, ... The seed also draws the rows of a shape, or the held-out rows of a file.
        out: the folder; it is created if necessary. With an executor, all its workers must be able to write to it.
        executor: any `concurrent.futures.Executor` whose workers do not fork this process. By default, this process
            trains as many models at a time as it has processors, up to 8, and these share their compiled programs.
        on_progress: called with the number of complete models.

    Raises:
        UsageError, RecipeError, DataError: before any training starts: an unknown key, an invalid value, two equal
            settings, or rows that cannot be used.
        MotesError: of a model that cannot be trained; or if a worker failed.
        KeyboardInterrupt: after Ctrl-C; it says how many models are complete. Models in training are lost.

    Example:
        >>> motes.data.write_frame("points.csv", motes.data.as_frame(motes.make_shape("moons", 200)))
        >>> found = motes.sweep("points.csv", changes={"training.steps": [2, 3]}, seeds=2, out="sweep")
        >>> found
        Sweep(4 models in 'sweep')
        >>> str(found).split()[:2], found.results.names[:3]
        (['metric', 'training.steps'], ('training.steps', 'seed', 'metric'))
    """
    if not isinstance(source, str | Path):
        raise UsageError(
            f"got rows of type {type(source).__name__}; expected the name of a shape, a data set or a file, which each "
            "model reads by itself. Write the rows to a file first, such as a .parquet."
        )
    source, folder, grid = str(source), Path(out), _values_of(changes)
    settings = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    chosen = recipe or choose_recipe(source, {key: values[0] for key, values in grid.items()})
    recipes = [load_recipe(chosen, setting) for setting in settings]
    seeds, warnings = check_count(seeds, "seeds"), list[str]()
    for one in recipes:
        warnings += prepare_rows(source, one, 0).warnings  # refuses invalid options and rows before any training
    about = version("motes"), _identify(source)
    trials, stop = dict[Path, Trial](), folder.absolute() / f".stop.{secrets.token_hex(4)}"
    for seed, (one, setting) in product(range(seeds), zip(recipes, settings, strict=True)):
        text = json.dumps([about, one.to_dict(), seed], sort_keys=True, default=str)
        path = folder.absolute() / "models" / hashlib.sha256(text.encode()).hexdigest()[:12]
        if path in trials:
            both = _words(trials[path].setting), _words(setting)
            raise UsageError(f"got two settings of the same recipe: {both[0]}; and {both[1]}. Leave one out.")
        trials[path] = Trial(source, one, setting, seed, path, stop)
    for warning in dict.fromkeys(warnings):
        Reporter().warn(warning)
    (folder / "models").mkdir(parents=True, exist_ok=True)
    _train_all([*trials.values()], executor, on_progress)
    keys = tuple(key for key, values in grid.items() if len(values) > 1)
    # Another call may have trained a model, with other changes that make the same recipe.
    found = Sweep(folder, keys, tuple(trial.read() | {"setting": trial.setting} for trial in trials.values()))
    write_frame(folder / RESULTS, found.results)
    if found._values:
        with replacing(folder / FIGURE) as temporary:
            found.plot().savefig(temporary)
    return found


def _train_all(trials: Sequence[Trial], executor: Executor | None, on_progress: OnProgress) -> None:
    """Train all models that are not complete, with the executor, or with one thread per processor."""

    def so_far() -> str:
        complete = sum(bool(trial.read()) for trial in trials)
        return f"{complete:,} of {len(trials):,} models are complete. {CONTINUE}"

    jobs, stop = [trial.train for trial in trials if not trial.read()], trials[0].stop
    on_progress(Progress(len(trials) - len(jobs), len(trials)))
    with ExitStack() as stack:
        if executor is None:
            stack.enter_context(threadpool_limits(1))  # each thread computes by itself
            threads = ThreadPoolExecutor(min(cores(), THREADS), initializer=threadpool_limits, initargs=(1,))
            executor = stack.enter_context(threads)
        stack.callback(lambda: stop.unlink(missing_ok=True))
        run_jobs(jobs, executor, total=len(trials), so_far=so_far, on_progress=on_progress, stop=stop.touch)
