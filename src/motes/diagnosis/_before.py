"""What can be known to go wrong with a run before it is trained.

KL(q(x_1) || p(x_1)),  both taken as Gaussians: the price of starting from another distribution than training ends in
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data._tables import Standardiser, Table, as_table
from motes.diagnosis._findings import Finding
from motes.diffusion._continuous import VarianceExploding
from motes.recipes import Recipe, load_recipe

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
        Findings, the worst kind first: the prior, the noise range, the columns, the rows, the average of the weights.

    Example:
        >>> [finding.name for finding in motes.diagnose(motes.make_shape("moons", 1000))]
        []
        >>> [finding.name for finding in motes.diagnose(motes.make_shape("moons", 1000), "tutorial")]
        ['prior_mismatch', 'ema_too_short']
    """
    chosen = load_recipe(recipe, changes)
    table = data if isinstance(data, Table) else as_table(data, columns)
    return [finding for check in CHECKS for finding in check(table, chosen)]


def prior_kl(x: Array, recipe: Recipe) -> float:
    """KL in nats from the Gaussian with the mean and covariance of q(x_1) to the prior N(0, prior_std^2 I).

    `x` holds rows (n, d) in the data's units; what the recipe does to them, and its schedule, decide the rest.
    """
    z = _as_learned(x, recipe)
    schedule = recipe.make_schedule()
    alpha, sigma, prior = float(schedule.alpha(1.0)), float(schedule.sigma(1.0)), float(schedule.prior_std)
    mean = alpha * z.mean(axis=0)
    covariance = alpha**2 * np.cov(z.T, bias=True) + sigma**2 * np.eye(z.shape[1])
    ratio = covariance / prior**2
    _, log_det = np.linalg.slogdet(ratio)
    return float(0.5 * (np.trace(ratio) + (mean @ mean) / prior**2 - z.shape[1] - log_det))


def _as_learned(x: Array, recipe: Recipe) -> Array:
    return Standardiser.fit(x).forward(x) if recipe.data.standardise else x


# --- the checks; each yields nothing where all is well --------------------------------------------------------------

PRIOR_NATS = 0.02  # a start that is wrong by less is lost among 10,000 samples
PURE_NOISE = 1e-3  # a signal-to-noise ratio below it: such a step teaches and fixes nothing
WASTED = 0.05  # share of the steps that may be pure noise
SCALES = (0.3, 3.0)  # standard deviations that a network can be given as they are
LEVELS = 10  # a column of fewer different values is no continuous one
DUPLICATES = 0.01  # share of the rows that may be copies
MEMORY = (1e-3, 0.25)  # length of the average of the weights, as a share of the training


def _prior_mismatch(table: Table, recipe: Recipe) -> Iterator[Finding]:
    value = prior_kl(table.x, recipe)
    if value > PRIOR_NATS:
        fix = [] if recipe.data.standardise else ["--set data.standardise=true"]
        schedule = recipe.make_schedule()
        left = float(schedule.alpha(1.0)) ** 2
        if left > 0.05 and recipe.steps is not None:
            fix.append("--set schedule.kind=quad --set schedule.start=2e-5 --set schedule.end=0.15")
        elif isinstance(recipe.schedule, VarianceExploding):
            fix.append("--set schedule.sigma_max=10")
        elif recipe.steps is None and left > 0.05:
            fix.append("--set schedule.kind=continuous_cosine --set schedule.alpha_1=0.01")
        yield Finding(
            "prior_mismatch",
            value,
            f"Training ends in another distribution than sampling starts from: {left:.0%} of the signal's power is "
            f"left at t = 1, and the two Gaussians are {value:.2g} nats apart.",
            " ".join(fix),
        )


def _noise_range(table: Table, recipe: Recipe) -> Iterator[Finding]:
    if recipe.steps is None:
        return
    log_snr = np.asarray(recipe.make_schedule().log_snr(np.arange(1, recipe.steps + 1) / recipe.steps))
    power = float(np.mean(_as_learned(table.x, recipe).var(axis=0)))
    wasted = float(np.mean(log_snr + math.log(power) < math.log(PURE_NOISE)))
    if wasted > WASTED:
        end = getattr(recipe.schedule, "end", None)
        yield Finding(
            "wasted_steps",
            wasted,
            f"In {wasted:.0%} of the steps less than {PURE_NOISE:g} of the power is signal, so the others are coarser "
            "than they need be.",
            f"--set schedule.end={end / 2:g}" if end else "--set schedule.kind=quad",
        )


def _unscaled_columns(table: Table, recipe: Recipe) -> Iterator[Finding]:
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


def _degenerate_columns(table: Table, recipe: Recipe) -> Iterator[Finding]:
    levels = [len(np.unique(column)) for column in table.x.T]
    few = int(np.argmin(levels))
    if levels[few] < min(LEVELS, len(table.x)):
        yield Finding(
            "degenerate_column",
            levels[few],
            f"Column '{table.columns[few]}' has only {levels[few]} different values; samples will fall between them.",
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


def _duplicate_rows(table: Table, recipe: Recipe) -> Iterator[Finding]:
    share = 1 - len(np.unique(table.x, axis=0)) / len(table.x)
    if share > DUPLICATES:
        yield Finding(
            "duplicate_rows",
            share,
            f"{share:.0%} of the rows are copies of others, and a model will learn to repeat them.",
            "",
        )


def _average_of_weights(table: Table, recipe: Recipe) -> Iterator[Finding]:
    part, steps = recipe.training, recipe.training.steps
    length = 1 / max(1 - part.ema, 1e-12)
    share = length / steps
    if part.weights == "averaged" and share > MEMORY[1]:
        ema = max(1 - 8 / steps, 0.0)
        yield Finding(
            "ema_too_long",
            share,
            f"The average of the weights remembers {length:,.0f} of {steps:,} steps, so it still holds the first, "
            "untrained ones.",
            f"--set training.ema={ema:.4g}",
        )
    if part.decay == "constant" and (part.weights == "last" or share < MEMORY[0]):
        ema = 1 - 1 / max(steps * 0.01, 2)
        yield Finding(
            "ema_too_short",
            0.0 if part.weights == "last" else share,
            "The learning rate never falls and hardly any steps are averaged, so the samples carry the jitter of the "
            "last steps.",
            f"--set training.weights=averaged --set training.ema={ema:.4g}",
        )


CHECKS: tuple[Callable[[Table, Recipe], Iterator[Finding]], ...] = (
    _prior_mismatch,
    _noise_range,
    _unscaled_columns,
    _degenerate_columns,
    _duplicate_rows,
    _average_of_weights,
)
