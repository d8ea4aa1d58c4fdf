"""A whole run, from a source to a folder of results.

    model.safetensors  averages.safetensors  recipe.toml  samples.csv  history.jsonl  metrics.json  figures/*.png
    diffusion.gif  checkpoints/*.safetensors

What was learned is written first, so that nothing that fails or is interrupted later can lose it; and checkpoints of a
training while it lasts, so that it can go on however it ended.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes._progress import Reporter
from motes.data._frames import Frame, as_frame, of_values
from motes.data._tables import Table
from motes.data._writing import write_frame
from motes.diagnosis._after import Diagnosis
from motes.diagnosis._before import diagnose
from motes.diagnosis._evaluating import least_loss
from motes.errors import TrainingError, UsageError
from motes.evaluation._irreducible import BOUND, EXACT, Estimate
from motes.evaluation._metrics import c2st, sliced_w2
from motes.learning._course import Progress, Trained
from motes.models._point_fitting import fit_points
from motes.models._points import PointModel
from motes.models._sources import Source, read_source, source_of
from motes.recipes import load_recipe
from motes.runs._folder import (
    FIGURES,
    METRICS,
    MODEL,
    PICTURES,
    TRAINING_FIGURES,
    Checkpoints,
    Options,
    Training,
    begun,
    make_folder,
    present,
    write,
)
from motes.sampling._options import Sampling

Array = NDArray[np.float64]

DIAGNOSIS = ("diagnosis.json", "excess.png", "error_split.png", "scores.png", "densities.png", "column_gains.png")
SAMPLES = 10_000
LEAST = {EXACT: "irreducible loss", BOUND: "bound for memorising"}


def train_run(
    source: str, out: Path, recipe: str, changes: Sequence[str], options: Options, reporter: Reporter
) -> tuple[PointModel, dict[str, Any]]:
    """Train on `source` and leave everything in the folder `out`; returns the model and its metrics.

    After Ctrl-C during the training, the model, the recipe and the history of what was learned are there.

    Raises:
        UsageError, DataError, RecipeError: nothing was begun.
        TrainingError: the loss was not finite; the last good model is there.
    """
    chosen = load_recipe(recipe, changes)
    origin = read_source(source, chosen, options.seed)
    training = Training(source, str(recipe), chosen, options.seed, fingerprint_of(origin.table))
    with begun(out, training, options, reporter) as checkpoints:
        for finding in diagnose(origin.table, chosen):
            reporter.warn(str(finding))
        least = least_loss(origin, chosen, seed=options.seed)
        model = _trained(origin, training, out, least, checkpoints, reporter)
        assert model.training is not None  # it was trained just now
        if model.training.interrupted:
            return model, {}
        say_trained(model.training, reporter)
        rows, samples = labelled_rows(model, SAMPLES, options.seed, reporter)
        write_frame(out / "samples.csv", rows)
        metrics = _metrics(model, samples, origin, least, checkpoints.about["named"], options.seed)
        write(out / METRICS, json.dumps(metrics, indent=2) + "\n")
        checkpoints.finish()
        if options.figures:
            draw_run(model, origin.table.x, out, out / "diffusion.gif", options.style, options.seed, reporter, least)
    return model, metrics


def _trained(
    origin: Source, training: Training, out: Path, least: Estimate, checkpoints: Checkpoints, reporter: Reporter
) -> PointModel:
    """Train, and write what was learned."""
    reporter.say(
        f"{LEAST[least.label]} {least.mean:.4f} ± {least.error:.1g}; what the loss has above it is in brackets"
    )
    with reporter.counting("training", training.recipe.training.steps, "steps") as count:

        def report(now: Progress) -> None:
            unseen = "" if now.held_out is None else f", held out {now.held_out:.4f}"
            loss = f"loss {now.loss:.4f} ({now.loss - least.mean:+.4f})"
            count(now.step, f"{loss}{unseen}, {now.step / now.seconds:,.0f} steps/s")

        try:
            model = fit_points(
                origin.table, training.recipe, seed=training.seed, source=training.source, keeper=checkpoints,
                on_progress=report,
            )  # fmt: skip
            refuse_nothing(model)
        except TrainingError as error:
            if isinstance(error.result, PointModel):
                _write_learned(error.result, out, least)
                error.args = (f"{error} They are in '{out / MODEL}'.",)
            raise
    _write_learned(model, out, least)
    return model


def _write_learned(model: PointModel, out: Path, least: Estimate) -> None:
    model.save(out / MODEL)
    write_history(model, out, least)
    model.save_averages(out)


def fingerprint_of(table: Table) -> str:
    """The same for the same rows with the same labels in the same order, and for no others."""
    labels = "" if table.labels is None else "\0".join(map(str, table.labels.tolist()))
    return hashlib.blake2b(f"{table.fingerprint} {labels}".encode(), digest_size=16).hexdigest()


def say_trained(trained: Trained, reporter: Reporter) -> None:
    """How long it took, and after how many steps held-out rows found the weights best."""
    held = trained.held_out
    best = "" if held is None else f"; the weights after {held.best:,} were the best"
    reporter.say(f"trained {trained.steps:,} steps in {trained.seconds:.1f} s{best}")


def sample_rows(
    model: PointModel, n: int, seed: int, reporter: Reporter, how: Sampling | None = None, label: Any = None
) -> Array:
    """`model.sample` with its progress shown."""
    with reporter.counting("sampling", n, "rows") as count:
        return model.sample(n, seed=seed, label=label, how=how, on_block=count)


def labelled_rows(
    model: PointModel, n: int, seed: int, reporter: Reporter, how: Sampling | None = None, label: Any = None
) -> tuple[Frame, Array]:
    """Samples with the column of their class, where the model was trained with classes; and the points (n, d) alone.

    Where no class is requested, each row's is drawn: a class is as frequent as it was in the training.
    """
    if model.classes is None:
        points = sample_rows(model, n, seed, reporter, how, label)
        return as_frame(Table(points, model.columns)), points
    names = np.array(model.classes.names)
    labels = np.full(n, label)
    if label is None:
        labels = np.random.default_rng([seed, 662607]).choice(names, n, p=model.classes.weights)
    points = sample_rows(model, n, seed, reporter, how, labels)
    column = of_values(names[model.classes.numbers(labels, n)], "label", "the samples")
    return Frame({**as_frame(Table(points, model.columns)).columns, model.recipe.data.label or "label": column}), points


def draw_run(
    model: PointModel,
    x: Array,
    out: Path,
    animation: Path,
    style: str,
    seed: int,
    reporter: Reporter,
    least: Estimate | None = None,
) -> list[Path]:
    """Write every picture of a model into `out`/figures and the animation beside it; returns their paths.

    `least` is how low the loss of its training could go, for a model that was trained just now.
    """
    from motes.runs._pictures import HOLD, animate, shoot, stills, training_pictures  # matplotlib is slow to load

    begin = time.perf_counter()
    folder = out / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    film, paths = shoot(model, x, seed=seed), []
    expected = len(FIGURES) if model.training else len(FIGURES) - len(TRAINING_FIGURES)
    with reporter.counting("figures", expected, "figures") as count:
        best = (least.mean, LEAST[least.label]) if least else None
        later = training_pictures(film, folder, best, style=style, seed=seed)
        for path in chain(stills(film, x, folder, style=style, seed=seed), later):
            paths.append(path)
            count(len(paths))
    with reporter.counting("animation", 2 * (len(film.view.places) + HOLD), "frames") as count:
        animate(film, animation, style=style, on_frame=count)
    reporter.say(f"drew {len(paths)} figures and {animation.name} in {time.perf_counter() - begin:.1f} s")
    return [*paths, animation]


def keep_diagnosis(
    found: Diagnosis, model: PointModel, source: str | None, out: Path, *, t: float | None, style: str
) -> list[Path]:
    """Write the figures and numbers of a diagnosis into the folder `out`; returns their paths."""
    from motes.runs._exhibits import exhibits  # matplotlib is slow to load

    make_folder(out)
    write(out / DIAGNOSIS[0], json.dumps(found.to_dict(), indent=2) + "\n")
    distribution = source_of(model, source).truth
    return [out / DIAGNOSIS[0], *exhibits(model, found, distribution, out, t=t, style=style)]


def refuse_diagnosis(out: Path) -> None:
    """Raise UsageError where the folder holds a diagnosis that would be overwritten."""
    if there := present(out, DIAGNOSIS):
        raise UsageError(f"'{out}' holds {there[0].name}. Choose another --out, or replace it with --overwrite.")


def refuse_pictures(out: Path) -> None:
    """Raise UsageError where the folder holds pictures that would be overwritten."""
    if there := present(out, PICTURES):
        raise UsageError(
            f"'{out}' holds other pictures ({there[0].relative_to(out)}). "
            "Choose another --out, or replace them with --overwrite."
        )


def refuse_nothing(model: PointModel) -> None:
    """Raise KeyboardInterrupt where that came before the first step."""
    if model.training is not None and model.training.interrupted and not model.training.steps:
        raise KeyboardInterrupt


def _metrics(
    model: PointModel, samples: Array, source: Source, least: Estimate, recipe: str, seed: int
) -> dict[str, Any]:
    training = model.training
    assert training is not None  # it was trained just now
    reference, other = source.real(SAMPLES)
    synthetic = samples[: len(reference)]
    distance, accuracy = sliced_w2(synthetic, reference), c2st(synthetic, reference)
    return {
        "source": model.source,
        "recipe": recipe,
        "seed": seed,
        "sliced_w2": distance,
        "sliced_w2_interval": [distance.low, distance.high],
        "sliced_w2_reference_value": sliced_w2(other, reference),
        "c2st": accuracy,
        "c2st_interval": [accuracy.low, accuracy.high],
        "c2st_reference_value": c2st(other, reference),
        "evaluated_against": source.evaluated_against,
        "evaluated_rows": len(reference),
        "train_seconds": training.seconds,
        "steps": training.steps,
        "loss": float(training.losses[-500:].mean()),
        "least_loss": least.mean,
        "least_loss_error": least.error,
        "least_loss_is": least.label,
        "parameters": model.parameters,
        "rows": len(source.table.x),
        "motes": version("motes"),
    }


def write_history(model: PointModel, out: Path, least: Estimate | None = None) -> None:
    """The losses of a training, and how far they are above the least, where that is known."""
    training = model.training
    assert training is not None  # it was trained just now
    lines = []
    for step, loss in zip(*training.running_loss(), strict=True):
        line = {"step": int(step), "loss": float(f"{loss:.6g}")}
        if least is not None:
            line["excess" if least.label == EXACT else "above_bound"] = float(f"{loss - least.mean:.4g}")
        lines.append(line)
    if (looks := training.held_out) is not None:
        looked = zip(looks.steps.tolist(), looks.losses.tolist(), strict=True)
        lines += [{"step": step, "held_out": float(f"{loss:.6g}")} for step, loss in looked]
    write(out / "history.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
