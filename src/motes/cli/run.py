"""A training run, from a source to a folder of results.

    model.safetensors  averages.safetensors  recipe.toml  samples.csv  history.jsonl  metrics.json  report.html
    figures/*.png  diffusion.gif  checkpoints/*.safetensors  stored/*.bin

The model is written first, so that a later failure or interruption cannot lose it. Checkpoints are written during
training, so that it can be resumed after any interruption.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from motes.cli.answers import SAMPLES, HeldOutScore, held_out_score
from motes.cli.common import Options
from motes.cli.figures import draw_run
from motes.cli.folders import HISTORY, METRICS, MODEL, STORED, RunTraining, keeping_checkpoints, write
from motes.data import write_frame
from motes.drawing import draw_frame
from motes.errors import TrainingError
from motes.evaluation import Evaluation
from motes.evaluation.losses import Estimate
from motes.evaluation.models import compare_points, compare_table, least_loss
from motes.fitting import PreparedRows, prepare_rows, train_model
from motes.plots import write_page
from motes.points import PointRecipe
from motes.progress import Reporter
from motes.recipes import load_recipe
from motes.training import Model, Recipe
from motes.training.batches import running_loss
from motes.training.processes import is_first, leave
from motes.training.recipe import Changes


def train_run(
    source: str, out: Path, recipe: str | Path | Recipe, changes: Changes, options: Options, reporter: Reporter
) -> tuple[Model, Evaluation[Any] | HeldOutScore | None]:
    """Train on `source`, write all results into the folder `out`, and return the model and its evaluation.

    After Ctrl-C during training, the folder contains the model, recipe and history so far, and the evaluation is None.
    Of several processes of one training, only the first writes and evaluates.
    For a posterior, the evaluation is a `HeldOutScore`, and there are no samples and figures, which would need an
    observation.

    Raises:
        UsageError, DataError, RecipeError: before training starts.
        TrainingError: if the training diverged; the last good model is in the folder.

    Example:
        >>> from pathlib import Path
        >>> from motes.progress import Reporter
        >>> from motes.cli.common import Options
        >>> from motes.cli.run import train_run
        >>> motes.data.write_frame("points.csv", motes.data.as_frame(motes.make_shape("moons", 200)))
        >>> options, quiet = Options(figures=False), Reporter(quiet=True)
        >>> changes = {"training.steps": 2}
        >>> trained, found = train_run("points.csv", Path("run"), "default", changes, options, quiet)
        >>> sorted(path.name for path in Path("run").iterdir() if path.is_file())
        ['averages.safetensors', 'history.jsonl', 'metrics.json', 'model.safetensors', 'recipe.toml', 'samples.csv']
    """
    ready = prepare_rows(source, load_recipe(recipe, changes), options.seed, reporter)
    training = RunTraining(source, str(recipe), ready.recipe, options.seed, ready.fingerprint)
    with keeping_checkpoints(out, training, options, reporter) as checkpoints:
        least = _estimate_least_loss(ready, options.seed, reporter)
        model: Any  # of any kind
        try:
            model = train_model(
                ready,
                options.seed,
                reporter,
                keeper=checkpoints,
                least=least and least.mean,
                scratch=options.scratch or out / STORED,
            )
        except TrainingError as error:
            if isinstance(error.result, Model):
                _write_learned(error.result, out, least)
                error.args = (f"{error} They are in '{out / MODEL}'.",)
            raise
        _write_learned(model, out, least)
        leave()
        learned = model.training
        if learned.interrupted or not is_first():
            return model, None
        best = "" if learned.best is None else f"; the weights after {learned.best:,.0f} were the best"
        reporter.say(f"trained {learned.steps:,} steps in {learned.seconds:.1f} s{best}")
        found: Evaluation[Any] | HeldOutScore
        if model.kind == "posterior":
            found = held_out_score(model, ready.origin)
            results = found._asdict()
        else:
            with reporter.counting("sampling", "rows") as count:
                rows, samples = draw_frame(model, SAMPLES, count, seed=options.seed)
            write_frame(out / "samples.csv", rows)
            reporter.say("comparing with held-out rows")
            if model.kind == "table":
                found = compare_table(model, ready.origin, samples, seed=options.seed)
            else:
                found = compare_points(model, ready.origin, samples, seed=options.seed, brief=True)
            results = found.to_dict()
        about = _describe_training(model, ready, checkpoints.about["named"], least)
        write(out / METRICS, json.dumps(about | results, indent=2) + "\n")
        checkpoints.finish()
        shutil.rmtree(out / STORED, ignore_errors=True)
        if options.figures and isinstance(found, Evaluation):
            write_page(found, out / "report.html")
            draw_run(model, ready.origin, out, reporter, drawing=options.drawing, seed=options.seed)
    return model, found


def _estimate_least_loss(ready: PreparedRows, seed: int, reporter: Reporter) -> Estimate | None:
    """Return the theoretical minimum of the loss of points; None if it is unknown."""
    origin, recipe = ready.origin, ready.recipe
    if not isinstance(recipe, PointRecipe) or recipe.conditions.learned or origin.training.given is not None:
        return None
    found = least_loss(origin, recipe, seed=seed)
    if found is not None:
        least = f"{found.mean:.4f} ± {found.error:.1g}"
        reporter.say(f"theoretical minimum of the loss: {least}; the gap to it is shown in brackets")
    return found


def _write_learned(model: Model, out: Path, least: Estimate | None) -> None:
    if not is_first():
        return
    model.save(out / MODEL)
    write(out / HISTORY, "".join(json.dumps(line) + "\n" for line in history(model, least)))
    model.save_averages(out)


def history(model: Model, least: Estimate | None = None) -> list[dict[str, float]]:
    """Return the mean losses over windows of steps with their gaps to the minimum, and the losses on held-out rows."""
    training = model.training
    assert training is not None  # it was trained just now
    lines: list[dict[str, float]] = []
    for step, loss in zip(*running_loss(training.losses), strict=True):
        line = {"step": int(step), "loss": float(f"{loss:.6g}")}
        if least is not None:
            line["excess"] = float(f"{loss - least.mean:.4g}")
        lines.append(line)
    return lines + [{"step": int(step), "held_out": float(f"{loss:.6g}")} for step, loss in training.looks.tolist()]


def _describe_training(model: Model, ready: PreparedRows, recipe: str, least: Estimate | None) -> dict[str, Any]:
    """Return the facts about the training for metrics.json."""
    training = model.training
    assert training is not None  # it was trained just now
    made: dict[str, Any] = {
        "recipe": recipe,
        "train_seconds": training.seconds,
        "training_rows": len(ready.origin.training),
        **({} if (many := ready.origin.training.many) is None else {"rows_on_disk": many.blocks.rows}),
        "steps": training.steps,
        "parameters": model.parameters,
        "loss": float(training.losses[-500:].mean()),
    }
    if least is not None:
        made |= {"least_loss": least.mean, "least_loss_error": least.error}
    return made
