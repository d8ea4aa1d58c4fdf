"""Samples on their way from noise to data, and how they compare with real points: distances and memorisation.

A chain is drawn by a sampler of the library and kept in float32.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from motes.data import SHAPES
from motes.errors import UsageError
from motes.evaluation.metrics import sliced_w2_value
from motes.evaluation.sources import PointSource
from motes.explorer.messages import Answer
from motes.explorer.subjects import Subject, require_origin
from motes.points import Sampling, sample
from motes.progress import OnProgress, Progress
from motes.seeds import seed_key

Array = NDArray[np.float64]

STOPS = 65  # places of a chain that are kept, at most
COMPARED = 2_000  # points of a distance
LOOKS = 17  # times of a distance
DIRECTIONS = 64
ROWS = 300  # of each kind, at most
CONFIDENCE = 2.5  # standard errors of a difference


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


def draw(subject: Subject, sampler: str, steps: int, n: int, seed: int, on_progress: OnProgress) -> Chain:
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
    _, points = sample(process, n, key=key, given=known, record=stops.tolist(), on_progress=on_progress)
    return Chain(sampler, last, stops, np.asarray(process.grid, float)[stops], points)


class RealPoints(NamedTuple):
    """Real points with noise: the same for all models that learn the same rows, and for every moment of a training."""

    looks: NDArray[np.int64]
    """Stops of a chain at which it is compared, (k,)."""
    blurred: Array
    """As they are drawn, in standardised units, (k, n, d)."""
    reference: Array
    """The distance between two such sets, (k,)."""


def real_points(subject: Subject, times: Array, n: int, on_progress: OnProgress) -> RealPoints:
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
        on_progress(Progress(0))
    return RealPoints(looks, np.stack(found), np.array(between))


def distances(subject: Subject, chain: Chain, real: RealPoints, on_progress: OnProgress) -> Answer:
    """Of a chain, at some of its stops."""
    zoom, found = subject.zoom(chain.times), []
    for k, blurred in zip(real.looks, real.blurred, strict=True):
        drawn = chain.points[k, : len(blurred)].astype(float) / zoom[k]
        found.append(sliced_w2_value(drawn, blurred, directions=DIRECTIONS))
        on_progress(Progress(0))
    clock = subject.places(chain.times[real.looks])
    return Answer(
        {"compared": real.blurred.shape[1]}, {"clock": clock, "distance": np.array(found), "reference": real.reference}
    )


def memorisation(subject: Subject, drawn: Array, log_prob: Callable[[Array], Array]) -> dict[str, Any]:
    """Whether training points are memorised: their likelihood next to that of others, and how near samples are.

    Args:
        subject: with the rows that it was trained on.
        drawn: samples (n, d), in the data's units.
        log_prob: of rows (n, d), in nats.

    Raises:
        UsageError: no other real rows are here.
    """
    origin = require_origin(subject)
    if isinstance(origin, PointSource) and origin.name not in SHAPES and origin.held_out is None:
        raise UsageError(f"no rows of '{subject.name}' were held out, so its training rows are compared with nothing.")
    training = origin.training.x
    rows = training[np.random.default_rng(0).permutation(len(training))[:ROWS]]
    fresh = origin.real(ROWS)[0]
    own, others = log_prob(rows), log_prob(fresh)
    error = float(np.hypot(*(part.std(ddof=1) / np.sqrt(len(part)) for part in (own, others))))
    gap = float(own.mean() - others.mean())
    tree = cKDTree(subject.model.standardiser.forward(training))
    near = {
        name: float(np.median(tree.query(subject.model.standardiser.forward(points))[0]))
        for name, points in (("drawn", drawn[:ROWS]), ("fresh", fresh))
    }
    return {
        "rows": len(training),
        "training": float(own.mean()),
        "fresh": float(others.mean()),
        "gap": gap,
        "standard_error": error,
        "nearest": near,
        "sure": gap > CONFIDENCE * error,
    }


def nearest_row(subject: Subject, point: Array) -> dict[str, Any]:
    """The training point that is nearest to `point` (2,), in the data's units; {} where the training is not here.

    The distance is in standard deviations.
    """
    if subject.origin is None:
        return {}
    training, units = subject.origin.training.x, subject.model.standardiser
    away = np.linalg.norm(units.forward(training) - units.forward(point[None]), axis=1)
    return {"at": training[away.argmin()].tolist(), "distance": float(away.min()), "rows": len(training)}
