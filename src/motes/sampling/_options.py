"""How a sample is drawn, where that differs from the recipe: one object for every call that draws points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from motes.errors import UsageError, unknown
from motes.sampling._guidance import Guidance
from motes.sampling._loop import Sampler


@dataclass(frozen=True)
class Sampling:
    """How points are drawn; what is None is as the recipe says.

    Attributes:
        sampler: a name (see `motes samplers`), or a sampler with its options, such as `DDIM(eta=0.5)`.
        steps: of the grid.
        grid: a name such as "karras", or times (N+1,) that fall from 1 to 0.
        guidance: a weight, by which points become more typical of their class, or a `Guidance`; None: no guidance.

    Raises:
        UsageError: a value of another type, steps beside times, or a weight below 0.

    Example:
        >>> how = motes.Sampling(sampler="ddim", steps=8)
        >>> (model.sample(3, how=how) == model.sample(3, how={"sampler": "ddim", "steps": 8})).all().item()
        True
    """

    sampler: str | Sampler | None = None
    steps: int | None = None
    grid: ArrayLike | None = None
    guidance: float | Guidance | None = None

    def __post_init__(self) -> None:
        if not (self.sampler is None or isinstance(self.sampler, str | Sampler)):
            raise UsageError(
                f"sampler = {self.sampler!r}; expected a name, such as 'heun' (see `motes samplers`), or a sampler "
                "with its options, such as Heun()."
            )
        if self.grid is not None and not isinstance(self.grid, str):
            if self.steps is not None:
                raise UsageError(
                    f"steps = {self.steps} beside a grid of times: the times say how many steps there are."
                )
            object.__setattr__(self, "grid", _times(self.grid))
        if not (self.guidance is None or isinstance(self.guidance, Guidance)):
            Guidance(self.guidance)  # which checks the weight

    @classmethod
    def of(cls, how: Sampling | Mapping[str, Any] | None) -> Sampling:
        """`how` itself, or what a mapping names, such as {"steps": 50}; None: all as the recipe says.

        Raises:
            UsageError: a key that is no field, or another type.

        Example:
            >>> motes.Sampling.of({"sampler": "ddim", "steps": 8})
            Sampling(sampler='ddim', steps=8, grid=None, guidance=None)
        """
        if how is None or isinstance(how, Sampling):
            return how or cls()
        if not isinstance(how, Mapping):
            raise UsageError(
                f"how = {how!r}; expected motes.Sampling(...), or a mapping such as {{'sampler': 'heun', 'steps': 50}}."
            )
        names = [one.name for one in fields(cls)]
        for name in how:
            if name not in names:
                raise UsageError(unknown("option", str(name), names, " in `how`"))
        return cls(**how)


def _times(grid: ArrayLike) -> tuple[float, ...]:
    """As a tuple, so that two objects can be compared."""
    try:
        times = np.asarray(grid, float)
    except (TypeError, ValueError):
        times = np.empty(())
    if times.ndim != 1:
        raise UsageError(f"grid = {grid!r}; expected a name, such as 'karras', or times (N+1,) that fall from 1 to 0.")
    return tuple(times.tolist())
