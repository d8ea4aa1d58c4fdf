"""Where the error of a model's samples comes from: from the start, from the network, or from the steps.

    d^2(model) = d^2(real) + prior + learning + discretisation,    d the sliced W2 to real points

One thing after the other is put right, and each part is what that takes off d^2: first the samples start from noised
real points instead of the prior, then the exact denoiser takes the network's place, then steps so fine take the place
of the recipe's own that halving them changes nothing. What remains is d^2(real), the reference value: that of two real
draws. Every set of samples has the same noise, so that the differences are far less noisy than the distances.

Where the distribution is unknown there is no exact denoiser: the steps are refined second, and what is then left above
the distance of two real draws is counted as learning.

The split checks itself, and says where it cannot tell: samples are finite, halving the finest steps changes nothing,
and with the exact denoiser and these steps the samples are as far from real points as real points are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.diagnosis._setting import SURE, Setting, Steps, squared_distances
from motes.diffusion._denoiser import Denoiser

Array = NDArray[np.float64]

ROWS = 8192
REAL_DRAWS, APART = 8, 2.0  # pairs of real draws; how far beyond the range of their distances the reference may be
PRIOR, LEARNING, DISCRETISATION = "prior", "learning", "discretisation"


@dataclass(frozen=True)
class Part:
    """One share of the squared sliced W2, and its standard error; noise may bring it below 0."""

    value: float
    error: float

    def surely_above(self, threshold: float) -> bool:
        """Whether it is beyond a threshold by three standard errors."""
        return self.value - SURE * self.error > threshold


@dataclass(frozen=True)
class ErrorSplit:
    """Squared sliced W2 distances, in units of the data's variance.

    Attributes:
        rows: of each set of samples.
        total: of the model to real points.
        reference_value: of exact samples, or, where the distribution is unknown, of other real points.
        parts: what each cause adds; together with the reference value they are the total.
        doubts: why the parts cannot be trusted, a sentence each; empty where they can.

    Example:
        >>> split = model.diagnose("moons", n=64).split
        >>> list(split.parts)
        ['prior', 'learning', 'discretisation']
    """

    rows: int
    total: float
    reference_value: float
    parts: dict[str, Part]
    doubts: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"ErrorSplit({self.rows:,} rows, {self.total:.3g} in all, {self.reference_value:.3g} of real rows)"

    def __str__(self) -> str:
        lines = [("two real draws", self.reference_value, "")]
        lines += [(name, part.value, f"± {part.error:.5f}") for name, part in self.parts.items()]
        width = max(len(name) for name, *_ in lines)
        share = _percent if self.adds_up else lambda value, total: ""
        table = "\n".join(
            f"{name:<{width}}  {value:>8.5f} {error:<9} {share(value, self.total):>5}  "
            f"{_bar(value, max(self.total, self.reference_value))}".rstrip()
            for name, value, error in lines
        )
        notes = [f"This split cannot tell: {doubt}" for doubt in self.doubts]
        if not self.adds_up and np.isfinite(self.total):
            notes.append("Noise takes a part below 0, so that shares of the total would say nothing.")
        return "\n".join([table, *notes])

    @property
    def adds_up(self) -> bool:
        """Whether each part is a share of the total from 0 to 1, but for rounding."""
        values = np.array([self.reference_value, *(part.value for part in self.parts.values())])
        return bool(np.isfinite(values).all() and self.total > 0 and (values > -0.005 * self.total).all())

    def to_dict(self) -> dict[str, Any]:
        """For JSON.

        Example:
            >>> sorted(model.diagnose("moons", n=64).split.to_dict())
            ['doubts', 'parts', 'reference_value', 'rows', 'total']
        """
        parts = {name: {"value": part.value, "error": part.error} for name, part in self.parts.items()}
        return {
            "rows": self.rows,
            "total": self.total,
            "reference_value": self.reference_value,
            "parts": parts,
            "doubts": list(self.doubts),
        }


def _percent(value: float, total: float) -> str:
    return f"{round(value / total, 2) + 0.0:.0%}"


def _bar(value: float, longest: float) -> str:
    return "█" * round(30 * max(value, 0) / longest) if np.isfinite(value) and 0 < longest < np.inf else ""


def split_error(setting: Setting, on_block: Callable[[int], None] | None = None) -> ErrorSplit:
    """Split the distance of a model's samples to real points.

    Args:
        setting: the model, its data, and what its samples start from.
        on_block: called with the number of rows sampled so far, of 4 times those of a set at most.
    """
    model, n, (prior, noised) = setting.model, len(setting.reference), setting.starts
    own, (fine, doubts) = Steps.of(model.recipe), setting.fine
    plan: dict[str, tuple[Denoiser, Array, Steps]]  # by what has been put right
    plan = {"": (model.denoiser, prior, own), PRIOR: (model.denoiser, noised, own)}
    if setting.exact is not None and fine is not None:
        plan |= {LEARNING: (setting.exact, noised, own), DISCRETISATION: (setting.exact, noised, fine)}
    elif fine is not None:
        plan |= {DISCRETISATION: (model.denoiser, noised, fine)}
    counted = lambda number: None if on_block is None else lambda done: on_block(number * n + done)
    sets = [setting.sampled(*how, counted(number)) for number, how in enumerate(plan.values())]
    names = [*plan][1:]
    if setting.exact is None:
        sets.append(setting.other)
        names.append(LEARNING if DISCRETISATION in names else f"{LEARNING}, {DISCRETISATION}")
    squares, errors = squared_distances(sets, setting.reference)
    parts = {
        name: Part(float(before - after), float(error))
        for name, before, after, error in zip(names, squares[:-1], squares[1:], errors, strict=True)
    }
    found = ErrorSplit(n, float(squares[0]), float(squares[-1]), parts)
    return replace(found, doubts=(*doubts, *_doubts(found, setting)))


def _doubts(found: ErrorSplit, setting: Setting) -> Iterator[str]:
    """Why parts that were found cannot be trusted."""
    if not np.isfinite([found.total, *(part.value for part in found.parts.values())]).all():
        yield "some samples are not finite numbers."
    if (truth := setting.origin.truth) is None:
        return
    draws = [truth.sample(found.rows, seed=seed) for seed in range(REAL_DRAWS)]
    real = [squared_distances([draw], setting.reference)[0][0] for draw in draws]
    if not min(real) / APART <= found.reference_value <= max(real) * APART:
        yield (
            f"with the exact denoiser and the finest steps the squared distance is {found.reference_value:.2g}, and "
            f"that of two real draws is {min(real):.2g} to {max(real):.2g}."
        )
