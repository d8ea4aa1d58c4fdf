"""How far the points of a chain are from real points with as much noise, on their way from noise to data."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from motes.evaluation._transport import sliced_w2_value
from motes.explorer._chains import Chain
from motes.explorer._frames import Answer
from motes.explorer._subjects import Subject

Array = NDArray[np.float64]

COMPARED = 2_000  # points of a distance
LOOKS = 17  # times of a distance
DIRECTIONS = 64


class RealPoints(NamedTuple):
    """Real points with noise: the same for all models that learn the same rows, and for every moment of a training."""

    looks: NDArray[np.int64]
    """Stops of a chain at which it is compared, (k,)."""
    blurred: Array
    """As they are drawn, in standardised units, (k, n, d)."""
    reference: Array
    """The distance between two such sets, (k,)."""


def real_points(subject: Subject, times: Array, n: int, on_block: Callable[[int], None]) -> RealPoints:
    """Up to `n` real points for a chain whose stops have these times."""
    assert subject.origin is not None  # it has been checked
    real, other = (subject.model.standardiser.forward(x) for x in subject.origin.real(COMPARED))
    n = min(len(real), n)
    noises = np.random.default_rng([subject.model.seed, 2]).standard_normal((2, n, real.shape[1]))
    looks = np.unique(np.linspace(0, len(times) - 1, min(LOOKS, len(times))).round().astype(int))
    schedule, found, between = subject.denoiser.schedule, [], []
    for t in times[looks]:
        alpha, sigma, zoom = float(schedule.alpha(t)), float(schedule.sigma(t)), float(subject.zoom(t))
        sets = [(alpha * x[:n] + sigma * noise) / zoom for x, noise in zip((real, other), noises, strict=True)]
        found.append(sets[0])
        between.append(sliced_w2_value(sets[1], sets[0], directions=DIRECTIONS))
        on_block(0)
    return RealPoints(looks, np.stack(found), np.array(between))


def distances(subject: Subject, chain: Chain, real: RealPoints, on_block: Callable[[int], None]) -> Answer:
    """Of a chain, at some of its stops."""
    zoom, found = subject.zoom(chain.times), []
    for k, blurred in zip(real.looks, real.blurred, strict=True):
        drawn = chain.points[k, : len(blurred)].astype(float) / zoom[k]
        found.append(sliced_w2_value(drawn, blurred, directions=DIRECTIONS))
        on_block(0)
    clock = subject.places(chain.times[real.looks])
    return Answer(
        {"compared": real.blurred.shape[1]}, {"clock": clock, "distance": np.array(found), "reference": real.reference}
    )
