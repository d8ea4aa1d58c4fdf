"""Why a network has not learned: what of its recipe is far from what trains well, and the options that undo it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from motes.diagnosis._before import ema_fitting
from motes.diagnosis._prior import changed
from motes.evaluation._excess import ExcessLoss
from motes.learning._networks import Residual
from motes.learning._options import Training
from motes.learning._times import LogNormalTimes
from motes.models._points import PointModel
from motes.recipes import PointRecipe

Array = NDArray[np.float64]

OFTEN = 3.0  # how many times more often than it does training should see a noise level that it sees too rarely
MOST = 0.5  # of the excess loss lies at such levels
DROPPED = 0.02  # share of rows without label that a network needs at least
FEW = 1000  # steps
TRAVEL = 4.0  # the least sum of all learning rates: Adam moves a weight by about so much
FAST = 0.03  # the highest learning rate
SMALL = 4.0  # how many times smaller than the default's a network may be, in width times depth
PLACES = 4096


class Cause(NamedTuple):
    """What of a recipe keeps a network from learning.

    Attributes:
        name: of the finding.
        meaning: the cause in words, the end of a sentence.
        changes: of the recipe.
    """

    name: str
    meaning: str
    changes: dict[str, Any]


def causes_of(model: PointModel, excess: ExcessLoss) -> list[Cause]:
    """What may have kept the network of a model from learning, the furthest from what trains well first."""
    found = [*_times(model.recipe, excess), *_labels(model), *_training(model.recipe), *_size(model.recipe)]
    return [cause for cause in found if changed(model.recipe, cause.changes) is not None]


def visits(recipe: PointRecipe, noise: Array) -> Array:
    """How often training sees each noise level (m,), over how often it would if all of the range were seen alike."""
    schedule = recipe.make_schedule()
    t = np.asarray(recipe.times.place(schedule, jnp.asarray((np.arange(PLACES) + 0.5) / PLACES)))
    seen = -np.asarray(schedule.log_snr(t), np.float64) / 2
    edges = _edges(np.log(noise))
    counts, _ = np.histogram(seen, edges)
    return counts / PLACES / np.diff(edges) * (edges[-1] - edges[0])


def _edges(levels: Array) -> Array:
    """Around each of m rising numbers, (m + 1,)."""
    middle = (levels[1:] + levels[:-1]) / 2
    return np.concatenate([[2 * levels[0] - middle[0]], middle, [2 * levels[-1] - middle[-1]]])


def _times(recipe: PointRecipe, excess: ExcessLoss) -> Iterator[Cause]:
    log_noise = np.log(excess.noise)
    nats = np.maximum(excess.excess, 0) * np.diff(_edges(log_noise))
    changes: dict[str, Any] = {"times.kind": "steps"}
    better = None if recipe.steps is None else changed(recipe, changes)
    if better is None:
        # The middle of the range, and a spread that reaches its ends: for the noise of `default` nearly its own.
        own = isinstance(recipe.times, LogNormalTimes)
        changes = {} if own else {"times.kind": "log_normal"}
        changes |= {
            "times.mean": round(float(log_noise[0] + log_noise[-1]) / 2, 2),
            "times.std": round(float(log_noise[-1] - log_noise[0]) / 5.2, 2),
        }
        better = changed(recipe, changes)
    if better is None:
        return
    rare = visits(better, excess.noise) > OFTEN * visits(recipe, excess.noise)
    if nats[rare].sum() > MOST * nats.sum():
        low, high = excess.noise[rare].min(), excess.noise[rare].max()
        yield Cause("wrong_times", f"training sees noise levels from {low:.2g} to {high:.2g} too rarely", changes)


def _labels(model: PointModel) -> Iterator[Cause]:
    part = model.recipe.training
    if model.classes is not None and part.label_dropout < DROPPED:
        yield Cause(
            "label_rarely_dropped",
            f"it is asked without a label, and training withheld the labels of {part.label_dropout:.2g} of the rows",
            {"training.label_dropout": Training.label_dropout},
        )


def _training(recipe: PointRecipe) -> Iterator[Cause]:
    part = recipe.training
    rate, steps = part.learning_rate, part.steps
    if steps < FEW:
        changes = {"training.steps": Training.steps} | ema_fitting(part.ema, Training.steps)
        yield Cause("too_few_steps", f"{steps:,} steps of training are few", changes)
    travel = rate * max(steps, FEW) * (0.5 if part.decay == "cosine" else 1)
    if travel < TRAVEL:
        better = {"training.learning_rate": Training.learning_rate}
        yield Cause("learning_rate_too_low", f"the learning rate of {rate:g} is too low for {steps:,} steps", better)
    elif rate > FAST:
        better = {"training.learning_rate": Training.learning_rate}
        yield Cause("learning_rate_too_high", f"the learning rate of {rate:g} is high", better)


def _size(recipe: PointRecipe) -> Iterator[Cause]:
    own: dict[str, int] = {key: getattr(recipe.network, key, 0) for key in ("width", "depth")}
    usual: dict[str, int] = {key: getattr(Residual(), key) for key in own}
    if not all(own.values()) or SMALL * math.prod(own.values()) > math.prod(usual.values()):
        return
    better = {f"network.{key}": usual[key] for key in own if own[key] < usual[key]}
    yield Cause("network_too_small", f"a network of width {own['width']} and depth {own['depth']} is small", better)
