"""Points on their way from noise to data, as a sampler of the library draws them, in float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from motes._seeds import seed_key
from motes.explorer._subjects import Subject
from motes.sampling._loop import sample
from motes.sampling._options import Sampling

Array = NDArray[np.float64]
OnBlock = Callable[[int], None]

STOPS = 65  # places of a chain that are kept, at most


class Chain(NamedTuple):
    """Points on their way from noise to data."""

    sampler: str
    steps: int
    stops: NDArray[np.int64]
    """How many steps were done, (k,)."""
    times: Array
    """After these steps, falling, (k,)."""
    points: NDArray[np.float32]
    """x_t in standardised units, (k, n, d)."""


def draw(subject: Subject, sampler: str, steps: int, n: int, seed: int, on_block: OnBlock) -> Chain:
    """The chain whose end is `model.sample(n, seed=seed, how={"sampler": sampler, "steps": steps})`.

    Of a class that is shown it has the `label`, and its guidance. Samplers of one seed start from the same noise.

    Raises:
        MotesError: a sampler that the model cannot be sampled by.
    """
    model = subject.model
    own = steps == len(model.grid) - 1  # the recipe's own times, which may be given one by one
    guidance = None if subject.guidance == 1 else subject.guidance
    known, how = subject.known(n), Sampling(sampler=sampler, steps=None if own else steps, guidance=guidance)
    process = model.reverse_process(how, known)
    last = len(process.grid) - 1
    stops = np.unique(np.linspace(0, last, min(STOPS, last + 1)).round().astype(int))
    key = seed_key(seed, "sample")
    _, points = sample(process, n, key=key, given=known, record=stops.tolist(), on_block=on_block)
    return Chain(sampler, last, stops, np.asarray(process.grid, float)[stops], points)
