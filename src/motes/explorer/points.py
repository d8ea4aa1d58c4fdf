"""Points on a page: chains of samples from noise to data, comparisons with real points, and layers of the plane.

    u = cos(a) x0 + sin(a) eps,    du/da = cos(a) eps - sin(a) x0,    tan(a) = sigma_t / alpha_t

u is drawn on the page. Its velocity along the angle a, which sets the pace of the clock, is v; it has a similar size
from data to noise, and so has eps_hat, the score times the noise level. log p is integrated in double precision; a
chain is drawn by a sampler of the library and stored in float32.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from motes.errors import UsageError
from motes.evaluation.metrics import sliced_w2_value
from motes.explorer.messages import Answer
from motes.explorer.subjects import Subject
from motes.explorer.tables import Array
from motes.points import Denoiser, Oracle, Sampling, log_likelihood, sample
from motes.points.exact import Later
from motes.points.sampling import seed_key
from motes.progress import OnProgress, Progress
from motes.training.programs import blocks

CHAIN_STOPS = 65  # maximum number of stored steps of a chain
COMPARED = 2_000  # points in a distance
LOOKS = 17  # times at which the distance is computed
DIRECTIONS = 64


class Chain(NamedTuple):
    """Points on their way from noise to data.

    Attributes:
        stops: numbers of steps done, (k,).
        times: times after these steps, falling, (k,).
        points: x_t in standardised units, (k, n, d).
    """

    sampler: str
    steps: int
    stops: NDArray[np.int64]
    times: Array
    points: NDArray[np.float32]


def draw(subject: Subject, sampler: str, steps: int, n: int, seed: int, on_progress: OnProgress) -> Chain:
    """Return the chain that ends in `model.sample(n, seed=seed, sampling={"sampler": sampler, "steps": steps})`.

    If one class is shown, the chain uses its `label` and guidance. With one seed, all samplers start from the same
    noise.

    Raises:
        MotesError: if the sampler cannot be used with the model.
    """
    model = subject.model
    own = steps == len(model.grid) - 1  # the recipe's own times, which may be an explicit list
    guidance = None if subject.guidance == 1 else subject.guidance
    known = model.given(subject.label_name, n)
    how = Sampling(sampler=sampler, steps=None if own else steps, guidance=guidance)
    process = model.reverse_process(how, known)
    last = len(process.grid) - 1
    stops = np.unique(np.linspace(0, last, min(CHAIN_STOPS, last + 1)).round().astype(int))
    key = seed_key(seed, "sample")
    _, points = sample(process, n, key=key, given=known, record=stops.tolist(), on_progress=on_progress)
    return Chain(sampler, last, stops, np.asarray(process.grid, float)[stops], points)


class RealPoints(NamedTuple):
    """Real points with noise, shared by all models of the same rows and all snapshots of a training.

    Attributes:
        looks: stops of a chain at which it is compared, (k,).
        blurred: points as drawn, in standardised units, (k, n, d).
        reference: distances between two such sets, (k,).
    """

    looks: NDArray[np.int64]
    blurred: Array
    reference: Array


def real_points(subject: Subject, times: Array, n: int, on_progress: OnProgress) -> RealPoints:
    """Return up to `n` real points for a chain with stops at these times."""
    assert subject.origin is not None  # checked before
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
    """Return the distances of a chain to real points, at some of its stops."""
    zoom, found = subject.zoom(chain.times), []
    for k, blurred in zip(real.looks, real.blurred, strict=True):
        drawn = chain.points[k, : len(blurred)].astype(float) / zoom[k]
        found.append(sliced_w2_value(drawn, blurred, directions=DIRECTIONS))
        on_progress(Progress(0))
    clock = subject.places(chain.times[real.looks])
    arrays = {"clock": clock, "distance": np.array(found), "reference": real.reference}
    return Answer({"compared": real.blurred.shape[1]}, arrays)


def nearest_row(subject: Subject, point: Array) -> dict[str, Any]:
    """Return the training point nearest to `point` (2,), in the data's units; {} without the training rows.

    The distance is in standard deviations.
    """
    if subject.origin is None:
        return {}
    training, units = subject.origin.training.x, subject.model.standardiser
    away = np.linalg.norm(units.forward(training) - units.forward(point[None]), axis=1)
    return {"at": training[away.argmin()].tolist(), "distance": float(away.min()), "rows": len(training)}


# --- layers of the plane ----------------------------------------------------------------------------------------------

BLOCK = 512  # rows of a compiled program
LEVEL = 0.02  # noise level, in standard deviations, below which a likelihood keeps the score constant
TOLERANCE = 0.01  # tolerance of a likelihood, in nats
LATEST = 1 - 1e-3  # from this time on, x_t is treated as the prior
QUANTITIES = ("score", "velocity")
POINTS = 600  # samples on the line
ALONG = 240  # points of the line at which the exact density is computed


def scores(denoiser: Denoiser, z: Array, t: float) -> tuple[Array, Array]:
    """Return E[x_0 | x_t] and the score of rows x_t (n, d) at time t > 0, (n, d) each, in standardised units."""
    parts = [_evaluate(denoiser, block, jnp.asarray(t)) for block in blocks(z, BLOCK)]
    x0, score = (np.concatenate([np.asarray(part[k], float) for part in parts])[: len(z)] for k in (0, 1))
    return x0, score


@eqx.filter_jit
def _evaluate(denoiser: Denoiser, x: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.vmap(lambda row: (denoiser(row, t), denoiser.score(row, t)))(x)


def log_density(subject: Subject, denoiser: Denoiser, u: Array, t: float, on_progress: OnProgress) -> Array:
    """Return log p of drawn points u (n, 2) at time t, (n,), in nats and the data's units; by the flow if learned."""
    units, zoom = subject.model.standardiser, float(subject.zoom(t))
    if t >= LATEST:
        z = units.forward(u)
        return units.log_det(u) - 0.5 * np.sum(z**2 + np.log(2 * np.pi), axis=1)
    if isinstance(denoiser, Oracle):
        log_q = np.asarray(denoiser.rows(subject.standardised(u, t), t).log_prob, float)
        return log_q + subject.model.dim * np.log(zoom) + units.log_det(u)
    later = denoiser if t <= subject.earliest else Later.of(denoiser, np.float32(t))
    found = log_likelihood(later, units.forward(u), tolerance=TOLERANCE, r_min=LEVEL, on_progress=on_progress)
    return found.log_prob + units.log_det(u)


def vectors(subject: Subject, quantity: str, x0: Array, score: Array, t: float) -> Array:
    """Return the vectors to draw at rows x_t, (n, 2), in the data's units, from E[x_0 | x_t] and the score.

    Both inputs are in standardised units. Both kinds of vectors point to the data: -eps_hat, and the velocity of the
    drawn points as the noise decreases.
    """
    schedule = subject.denoiser.schedule
    alpha, sigma, zoom = float(schedule.alpha(t)), float(schedule.sigma(t)), float(subject.zoom(t))
    towards = sigma * score
    if quantity == "velocity":
        towards = (alpha * towards + sigma * x0) / zoom
    return towards * subject.model.standardiser.scale


def sample_on_line(subject: Subject, axis: int, value: float, seed: int, on_progress: OnProgress) -> Answer:
    """Draw points (n, 2) given one coordinate, and compute p(other | coordinate) along the line if it is known.

    The points are `model.sample(n, given={column: value}, seed=seed)`, with the class and guidance that are shown.

    Raises:
        UsageError: if no particle survives there.
    """
    model = subject.model
    column, other = model.columns[axis], 1 - axis
    if subject.has_layers is False:
        raise UsageError(f"'{subject.name}' has {model.dim} columns; the line needs a model with two.")
    how = {} if subject.guidance == 1 else {"guidance": subject.guidance}
    drawn = model.draw_points(
        POINTS, given={column: value}, seed=seed, label=subject.label_name, sampling=how, on_progress=on_progress
    )
    found = {"points": drawn.points}
    if subject.oracle is not None:
        low, high = subject.box[other]
        along = np.linspace(low, high, ALONG)
        u = np.full((ALONG, 2), value)
        u[:, other] = along
        log_p = np.asarray(subject.oracle.rows(model.standardiser.forward(u), 0.0).log_prob, float)
        density = np.exp(log_p - log_p.max())
        found |= {"along": along, "density": density / np.trapezoid(density, along)}
    said = {"axis": axis, "value": value, "column": column, "effective": drawn.effective}
    return Answer(said | {"warnings": model.reliability_warnings({column: value})}, found)
