"""Where the error of a model's samples comes from: from the start, from the network, or from the steps.

    d^2(model) = d^2(real) + prior + learning + discretisation,    d the sliced W2 to real points

One thing after the other is put right, and each part is what that takes off d^2: first the samples start from noised
real points instead of the prior, then the exact denoiser takes the network's place, then the steps become so fine that
a quarter of their error is left at most. What remains is d^2(real), the reference value: that of two real draws.
Every set of samples has the same noise, so that the differences are far less noisy than the distances.

Where the distribution is unknown there is no exact denoiser: the steps are refined second, and what is then left above
the distance of two real draws is counted as learning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from motes._seeds import seed_key
from motes.diffusion._denoiser import Denoiser
from motes.evaluation._transport import directions_in
from motes.learning._networks import StepGated
from motes.models._points import PointModel
from motes.models._sources import PointSource
from motes.sampling._grids import refined
from motes.sampling._loop import ReverseProcess, sample

Array = NDArray[np.float64]

ROWS = 8192
FINEST = 128  # steps that a fine grid has at least
DIRECTIONS = 64
GROUPS = 8  # of the jackknife
PRIOR, LEARNING, DISCRETISATION = "prior", "learning", "discretisation"


@dataclass(frozen=True)
class Part:
    """One share of the squared sliced W2, and its standard error; noise may bring it below 0."""

    value: float
    error: float


@dataclass(frozen=True)
class ErrorSplit:
    """Squared sliced W2 distances, in units of the data's variance.

    Attributes:
        rows: of each set of samples.
        total: of the model to real points.
        reference_value: of exact samples, or, where the distribution is unknown, of other real points.
        parts: what each cause adds; together with the reference value they are the total.

    Example:
        >>> split = model.diagnose("moons", n=64).split
        >>> list(split.parts)
        ['prior', 'learning', 'discretisation']
    """

    rows: int
    total: float
    reference_value: float
    parts: dict[str, Part]

    def __repr__(self) -> str:
        return f"ErrorSplit({self.rows:,} rows, {self.total:.3g} in all, {self.reference_value:.3g} of real rows)"

    def __str__(self) -> str:
        lines = [("two real draws", self.reference_value, "")]
        lines += [(name, part.value, f"± {part.error:.5f}") for name, part in self.parts.items()]
        width = max(len(name) for name, *_ in lines)
        return "\n".join(
            f"{name:<{width}}  {value:>8.5f} {error:<9} {round(value / self.total, 2) + 0.0:>5.0%}  "
            f"{'█' * round(30 * max(value, 0) / max(self.total, self.reference_value))}".rstrip()
            for name, value, error in lines
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON.

        Example:
            >>> sorted(model.diagnose("moons", n=64).split.to_dict())
            ['parts', 'reference_value', 'rows', 'total']
        """
        parts = {name: {"value": part.value, "error": part.error} for name, part in self.parts.items()}
        return {"rows": self.rows, "total": self.total, "reference_value": self.reference_value, "parts": parts}


def split_error(
    model: PointModel,
    origin: PointSource,
    n: int = ROWS,
    *,
    seed: int = 0,
    on_block: Callable[[int], None] | None = None,
) -> ErrorSplit:
    """Split the distance of a model's samples to real points.

    Args:
        model: trained.
        origin: its data.
        n: rows of each set, fewer where there are not so many real ones.
        seed: of samples, noise and real points.
        on_block: called with the number of rows sampled so far, of `4 n` at most.
    """
    reference, other = origin.real(n)
    n, truth = len(reference), origin.truth
    starts = _starts(model, truth.sample(n, seed=seed) if truth else other, seed_key(seed, "start"))
    own, fine = model.recipe.make_grid(), _fine(model)
    exact = truth.oracle(model.denoiser.schedule, model.standardiser) if truth else None
    plan: list[tuple[str, Denoiser, Array, jax.Array]]
    plan = [("", model.denoiser, starts[0], own), (PRIOR, model.denoiser, starts[1], own)]
    if exact is not None:
        plan += [(LEARNING, exact, starts[1], own), (DISCRETISATION, exact, starts[1], fine)]
    elif not isinstance(model.recipe.network, StepGated):  # which knows no times between its steps
        plan += [(DISCRETISATION, model.denoiser, starts[1], fine)]
    sets = list(_sampled(model, plan, n, seed, on_block))
    names = [name for name, *_ in plan[1:]]
    if exact is None:
        sets.append(other)
        names.append(LEARNING if DISCRETISATION in names else f"{LEARNING}, {DISCRETISATION}")
    squares, errors = _distances(sets, reference)
    parts = {
        name: Part(before - after, error)
        for name, before, after, error in zip(names, squares[:-1], squares[1:], errors, strict=True)
    }
    return ErrorSplit(n, float(squares[0]), float(squares[-1]), parts)


def _starts(model: PointModel, x: Array, key: jax.Array) -> tuple[Array, Array]:
    """Points at t = 1, from the prior and from noised real points `x`, with the same noise."""
    schedule = model.denoiser.schedule
    z, eps = model.standardiser.forward(x), np.asarray(jax.random.normal(key, x.shape), np.float64)
    alpha, sigma, prior = float(schedule.alpha(1.0)), float(schedule.sigma(1.0)), float(schedule.prior_std)
    return prior * eps, alpha * z + sigma * eps


def _fine(model: PointModel) -> jax.Array:
    own, order = model.recipe.make_grid(), model.recipe.sampler.order
    return refined(own, max(ceil(4 ** (1 / order)), ceil(FINEST / (len(own) - 1))))


def _sampled(
    model: PointModel, plan: list[Any], n: int, seed: int, on_block: Callable[[int], None] | None
) -> Iterator[Array]:
    for number, (_, denoiser, start, grid) in enumerate(plan):

        def report(done: int, before: int = number * n) -> None:
            if on_block:
                on_block(before + done)

        process = ReverseProcess(denoiser, model.recipe.sampler, grid, model.dim)
        points, _ = sample(process, n, key=seed_key(seed, "split"), start=start, on_block=report)
        yield model.standardiser.inverse(points)


def _distances(sets: list[Array], reference: Array) -> tuple[Array, Array]:
    """Squared sliced W2 of each set to the reference, (n, d) each; the standard error of each difference of neighbours.

    By the jackknife over groups of rows, the same rows of every set.
    """
    axes = directions_in(reference.shape[1], DIRECTIONS, np.random.default_rng(0))
    lines, real = [(points @ axes).T for points in sets], (reference @ axes).T  # (directions, n) each
    unit = float(reference.var(axis=0).mean())
    group = np.arange(len(reference)) % GROUPS

    def squares(keep: NDArray[np.bool_]) -> Array:
        there = np.sort(real[:, keep])
        return np.array([np.mean((np.sort(line[:, keep]) - there) ** 2) for line in lines]) / unit

    without = np.stack([np.diff(squares(group != g)) for g in range(GROUPS)])
    spread = ((without - without.mean(axis=0)) ** 2).sum(axis=0) * (GROUPS - 1) / GROUPS
    return squares(group >= 0), np.sqrt(spread)
