"""What can be known to go wrong with a run before it is trained."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data._supports import Support
from motes.data._tables import Standardiser, Table, as_table
from motes.diagnosis._findings import Finding
from motes.diagnosis._prior import PRIOR_NATS, as_learned, as_options, prior_fix, prior_kl, quad_betas
from motes.diffusion._discrete import BetasBetween
from motes.errors import RecipeError
from motes.recipes import PointRecipe, Recipe, load_recipe

Array = NDArray[np.float64]


def diagnose(
    data: ArrayLike | Table,
    recipe: str | Path | Recipe = "default",
    *,
    changes: Sequence[str] | Mapping[str, Any] = (),
    columns: Sequence[str] | None = None,
) -> list[Finding]:
    """What can be known to go wrong before any training: cheap, and silent where all is well.

    Args:
        data: numbers (n, d), d >= 2.
        recipe, changes, columns: as for `motes.fit`.

    Returns:
        Findings, the worst kind first: the scale, the prior, the noise range, the columns, the rows, the average of the
        weights; where rows are given what was observed, also how many there are, and bounds that were left out.

    Raises:
        RecipeError: a recipe for a table.

    Example:
        >>> [finding.name for finding in motes.diagnose(motes.make_shape("moons", 1000))]
        []
        >>> [finding.name for finding in motes.diagnose(motes.make_shape("moons", 1000), "tutorial")]
        ['prior_mismatch', 'ema_too_short']
    """
    chosen = load_recipe(recipe, changes)
    if not isinstance(chosen, PointRecipe):
        raise RecipeError("got a recipe for a table; expected one for points, such as 'default'.")
    table = data if isinstance(data, Table) else as_table(data, columns)
    return [finding for check in CHECKS for finding in check(table, chosen)]


# --- the checks; each yields nothing where all is well --------------------------------------------------------------

PURE_NOISE = 1e-3  # a signal-to-noise ratio below it: such a step teaches and fixes nothing
WASTED = 0.05  # share of the steps that may be pure noise
SCALES = (0.3, 3.0)  # standard deviations that a network can be given as they are
LEVELS = 10  # a column of fewer different values is no continuous one
SIMULATIONS = 200  # of fewer no posterior is learned
UNIFORM = (0.02, 1.2)  # Kolmogorov's distance of a column from a uniform one: at most a + b / sqrt(rows)
DUPLICATES = 0.01  # share of the rows that may be copies
MEMORY = (0.01, 0.25)  # length of the average of the weights, as a share of the training
BEST = 1 / 8  # the one that a fix gives it
FEWEST_STEPS = 100  # a shorter training is too short, whatever is averaged


def _prior_mismatch(table: Table, recipe: PointRecipe) -> Iterator[Finding]:
    value = prior_kl(table.x, recipe)
    if value > PRIOR_NATS:
        left = float(recipe.make_schedule().alpha(1.0)) ** 2
        yield Finding(
            "prior_mismatch",
            value,
            f"Training ends in another distribution than sampling starts from: {left:.0%} of the signal's power is "
            f"left at t = 1, and the two are {value:.2g} nats apart.",
            prior_fix(table.x, recipe),
        )


def _noise_range(table: Table, recipe: PointRecipe) -> Iterator[Finding]:
    if recipe.steps is None:
        return
    power = float(np.mean(as_learned(table.x, recipe).var(axis=0)))
    wasted = _wasted(recipe, power)
    if wasted > WASTED:
        yield Finding(
            "wasted_steps",
            wasted,
            f"In {wasted:.0%} of the steps less than {PURE_NOISE:g} of the power is signal, so the others are coarser "
            "than they need be.",
            _shorter(table, recipe, power),
        )


def _wasted(recipe: PointRecipe, power: float) -> float:
    """The share of a recipe's steps that are pure noise, where the columns have this power on average."""
    assert recipe.steps is not None
    log_snr = np.asarray(recipe.make_schedule().log_snr(np.arange(1, recipe.steps + 1) / recipe.steps))
    return float(np.mean(log_snr + math.log(power) < math.log(PURE_NOISE)))


def _shorter(table: Table, recipe: PointRecipe, power: float) -> str:
    """The largest last beta with half as many steps of pure noise as are let pass, or the betas of `ddpm`."""
    part, steps = recipe.schedule, recipe.steps
    assert steps is not None
    if isinstance(part, BetasBetween):
        ends = part.end * 0.8 ** np.arange(1, 40)
        changes: list[dict[str, Any]] = [{"schedule.end": float(f"{end:.2g}")} for end in ends if end > part.start]
    else:
        changes = [{"schedule.kind": "quad"} | quad_betas(steps)]
    for change in changes:
        changed = recipe.changed(change)
        if _wasted(changed, power) <= WASTED / 2:
            return as_options(change) if prior_kl(table.x, changed) < PRIOR_NATS else ""
    return ""


def _unscaled_columns(table: Table, recipe: PointRecipe) -> Iterator[Finding]:
    if recipe.data.standardise:
        return
    spread = table.x.std(axis=0)
    worst = int(np.argmax(np.abs(np.log(spread))))
    if not SCALES[0] < spread[worst] < SCALES[1]:
        yield Finding(
            "unscaled_columns",
            float(spread[worst]),
            f"Column '{table.columns[worst]}' has standard deviation {spread[worst]:.3g}; noise and network are "
            "made for 1.",
            "--set data.standardise=true",
        )


def _degenerate_columns(table: Table, recipe: PointRecipe) -> Iterator[Finding]:
    n = len(table.x)
    levels = [len(np.unique(column)) for column in table.x.T]
    whole = (table.x == np.round(table.x)).all(axis=0).tolist()
    few = int(np.argmin([level if level < LEVELS or one else np.inf for level, one in zip(levels, whole, strict=True)]))
    if levels[few] < min(LEVELS, n) or (whole[few] and levels[few] < n / 2):
        only = "whole numbers only" if whole[few] else f"only {levels[few]} different values"
        yield Finding(
            "degenerate_column",
            levels[few],
            f"Column '{table.columns[few]}' has {only}; samples will fall between them.",
            "",
        )
    z = Standardiser.fit(table.x).forward(table.x)
    together = np.abs(np.triu(z.T @ z / len(z), 1))
    a, b = np.unravel_index(np.argmax(together), together.shape)
    if together[a, b] > 1 - 1e-6:
        yield Finding(
            "dependent_columns",
            float(together[a, b]),
            f"Columns '{table.columns[a]}' and '{table.columns[b]}' say the same, so the data lies on a plane and has "
            "no density.",
            "",
        )


def _duplicate_rows(table: Table, recipe: PointRecipe) -> Iterator[Finding]:
    rows = table.x if table.given is None else np.hstack([table.x, table.given.x])
    share = 1 - len(np.unique(rows, axis=0)) / len(rows)
    if share > DUPLICATES:
        yield Finding(
            "duplicate_rows",
            share,
            f"{share:.0%} of the rows are copies of others, and a model will learn to repeat them.",
            "",
        )


def _few_simulations(table: Table, recipe: PointRecipe) -> Iterator[Finding]:
    if table.given is not None and len(table.x) < SIMULATIONS:
        yield Finding(
            "few_simulations",
            len(table.x),
            f"{len(table.x)} rows with what was observed are too few to learn how one depends on the other; expected "
            f"at least {SIMULATIONS}, better 1,000 or more.",
            "",
        )


def _bounds_left_out(table: Table, recipe: PointRecipe) -> Iterator[Finding]:
    """Columns that look uniform between two ends, as a prior is, and have no bounds."""
    from scipy.stats import kstest

    if table.given is None or len(table.x) < SIMULATIONS:
        return
    support = Support.of(recipe.data.bounds, table.columns)
    found = {}
    for j, (name, column) in enumerate(zip(table.columns, table.x.T, strict=True)):
        bounded = support is not None and (np.isfinite(support.low[j]) or np.isfinite(support.high[j]))
        low, high = float(column.min()), float(column.max())
        if not bounded and high > low and not (column == np.round(column)).all():
            found[name] = kstest((column - low) / (high - low), "uniform").statistic, f"{low:.4g} to {high:.4g}"
    most = UNIFORM[0] + UNIFORM[1] / np.sqrt(len(table.x))
    ends = {name: end for name, (distance, end) in found.items() if distance < most}
    if ends:
        said = ", ".join(f"'{name}' ({end})" for name, end in ends.items())
        yield Finding(
            "bounds_left_out",
            len(ends),
            f"Columns that look uniform between two ends: {said}. Without bounds many draws will be beyond them. Give "
            f"the ends of the prior, in Python as fit(..., bounds={{'{next(iter(ends))}': (LOW, HIGH)}}).",
            "--set 'data.bounds=[" + ", ".join(f'"{name}=LOW..HIGH"' for name in ends) + "]'",
        )


def _average_of_weights(table: Table, recipe: PointRecipe) -> Iterator[Finding]:
    part, steps = recipe.training, recipe.training.steps
    length = 1 / max(1 - part.ema, 1e-12)
    share = length / steps
    if part.weights == "averaged" and share > MEMORY[1] and steps >= FEWEST_STEPS:
        yield Finding(
            "ema_too_long",
            share,
            f"The average of the weights remembers {length:,.0f} of {steps:,} steps, so it still holds the first, "
            "untrained ones.",
            as_options(ema_fitting(part.ema, steps)),
        )
    if part.decay == "constant" and (part.weights == "last" or share < MEMORY[0]):
        averaged = {"training.weights": "averaged"} if part.weights == "last" else {}
        yield Finding(
            "ema_too_short",
            0.0 if part.weights == "last" else share,
            "The learning rate never falls and hardly any steps are averaged, so the samples carry the jitter of the "
            "last steps.",
            as_options(averaged | ema_fitting(part.ema, steps) | {"training.decay": "cosine"}),
        )


def ema_fitting(ema: float, steps: int) -> dict[str, Any]:
    """The change to a decay that suits so many steps of training; nothing where it does."""
    if MEMORY[0] <= 1 / max(1 - ema, 1e-12) / steps <= MEMORY[1]:
        return {}
    return {"training.ema": max(1 - 1 / (BEST * steps), 0.0)}


CHECKS: tuple[Callable[[Table, PointRecipe], Iterator[Finding]], ...] = (
    _unscaled_columns,
    _prior_mismatch,
    _noise_range,
    _degenerate_columns,
    _duplicate_rows,
    _few_simulations,
    _bounds_left_out,
    _average_of_weights,
)
