"""Every way of drawing t has the same mean; drawing by importance has it with less noise."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import integrate, special, stats
from tests.reference import SCHEDULES, Point, TrainingBy, Z

import motes
from fits import fit_points
from motes.points.times import (
    CELLS,
    DRAWS,
    ENOUGH,
    RECENT,
    UNIFORM,
    LogitNormalTimes,
    LogNormalTimes,
    LossMemory,
    StepTimes,
    UniformTimes,
    chances,
    nothing_seen,
    seen_with,
)
from motes.points.training import train

STEPS = SCHEDULES["cosine"]  # T = 50: its steps do not fall on the cells
EXPLODING = SCHEDULES["exploding"]
MEAN, STD = -0.5, 0.8


def normal_mean(f, place):
    """E f(place(z)) for z ~ N(0, 1)."""
    density = stats.norm.pdf
    return integrate.quad(lambda z: f(place(z)) * density(z), -8, 8, limit=500, points=[-2, -1, 0, 1, 2])[0]


# For each distribution: how it is made, its schedule, and the mean of a function under it.
DISTRIBUTIONS = {
    "steps": (StepTimes, STEPS, lambda f: np.mean([f((k + 1) / 50) for k in range(50)])),
    "uniform": (
        partial(UniformTimes, 0.1),
        EXPLODING,
        lambda f: integrate.quad(f, 0.1, 1, limit=500, points=[0.6, 0.7, 0.8])[0] / 0.9,
    ),
    "log_normal": (
        partial(LogNormalTimes, MEAN, STD),
        EXPLODING,
        lambda f: normal_mean(f, lambda z: (np.exp(MEAN + STD * z) / 20) ** (1 / 7)),
    ),
    "logit_normal": (
        partial(LogitNormalTimes, MEAN, STD),
        EXPLODING,
        lambda f: normal_mean(f, lambda z: special.expit(MEAN + STD * z)),
    ),
}
BY_IMPORTANCE = UniformTimes(draw="importance")
each_distribution = pytest.mark.parametrize("distribution", DISTRIBUTIONS)


def peak(t):
    """A loss with a sharp peak on a gentle slope."""
    return 0.1 * t + np.exp(-(((t - 0.7) / 0.03) ** 2))


def uneven(seed=0):
    """What might have been seen: cells up to 30 times as dear as others."""
    return LossMemory(jnp.asarray(np.random.default_rng(seed).uniform(0.03, 1, CELLS) ** 4), jnp.full(CELLS, 50.0))


def batches(times, memory, count, n, schedule=EXPLODING, seed=0):
    """t and weights of `count` batches, (count, n) each."""
    draw = jax.jit(jax.vmap(lambda key: times.batch(schedule, key, n, memory)))
    drawn = draw(jax.random.split(jax.random.key(seed), count))
    t = np.asarray(drawn.t, float)
    return t, np.ones_like(t) if drawn.weight is None else np.asarray(drawn.weight, float)


def assert_mean(values, expected):
    """The mean of independent `values` is the expected one; a false alarm in 10^6."""
    error = values.std() / np.sqrt(len(values))
    assert abs(values.mean() - expected) < Z * error + 1e-5  # float32 in the place of t
    assert Z * error < 0.1 * expected  # which says something


@pytest.mark.slow(only=["importance-log_normal", "importance-logit_normal", "importance-steps", "uniform-steps"])
@each_distribution
@pytest.mark.parametrize("draw", DRAWS)
def test_the_weighted_mean_of_any_function_is_its_mean_under_the_law(distribution, draw):
    make, schedule, mean = DISTRIBUTIONS[distribution]
    t, weight = batches(make(draw=draw), uneven() if draw == "importance" else None, 2000, 48, schedule)
    assert_mean((weight * peak(t)).mean(axis=1), mean(peak))


@pytest.mark.slow
def test_nothing_is_preferred_until_every_cell_has_been_seen_often_enough():
    seen = uneven()._replace(number=jnp.full(CELLS, 50.0).at[3].set(ENOUGH - 1))
    assert np.allclose(chances(seen), 1 / CELLS)
    assert (batches(BY_IMPORTANCE, nothing_seen(), 1, 64)[1] == 1).all()


@pytest.mark.slow
def test_chances_are_the_roots_of_the_mean_squares_and_a_uniform_share():
    seen = uneven()
    root = np.sqrt(np.asarray(seen.squares, float))
    assert np.allclose(chances(seen), (1 - UNIFORM) * root / root.sum() + UNIFORM / CELLS, rtol=1e-5)
    assert (batches(BY_IMPORTANCE, seen, 10, 256)[1] <= 1 / UNIFORM + 1e-3).all()
    # A loss that is 0 everywhere prefers nothing.
    assert np.allclose(chances(seen._replace(squares=jnp.zeros(CELLS))), 1 / CELLS)


def test_what_is_remembered_is_the_mean_of_the_squares_then_one_that_forgets():
    rng = np.random.default_rng(0)
    memory, squares, count = BY_IMPORTANCE.init(), np.zeros(CELLS), np.zeros(CELLS)
    learn = jax.jit(seen_with)
    for _ in range(40):
        cell, losses, counts = rng.integers(0, CELLS, 2000), rng.exponential(size=2000), rng.random(2000) < 0.8
        memory = learn(memory, jnp.asarray(cell), jnp.asarray(losses), jnp.asarray(counts))
        for c in range(CELLS):
            fresh = losses[(cell == c) & counts] ** 2
            count[c] += len(fresh)
            squares[c] += len(fresh) / min(count[c], RECENT) * (fresh.mean() - squares[c])
    assert (count > RECENT).all()
    assert np.array_equal(memory.number, count)
    assert np.allclose(memory.squares, squares, rtol=1e-4)


@pytest.mark.slow
def test_a_loss_with_a_sharp_peak_is_estimated_with_less_noise():
    rng, noise = np.random.default_rng(2), lambda shape: rng.exponential(size=shape)  # a row's loss is a random one
    times = BY_IMPORTANCE
    batch = jax.jit(lambda key, seen: times.batch(EXPLODING, key, 512, seen))
    memory, learn = times.init(), jax.jit(times.learn)
    for key in jax.random.split(jax.random.key(3), 100):
        drawn = batch(key, memory)
        losses = peak(np.asarray(drawn.t)) * noise(512)
        memory = learn(memory, drawn, jnp.asarray(losses), jnp.ones(512, bool))
    variance = {}
    ways = {"importance": times, "stratified": UniformTimes(), "uniform": UniformTimes(draw="uniform")}
    for name, how in ways.items():
        t, weight = batches(how, memory, 2000, 64)
        variance[name] = (weight * peak(t) * noise(t.shape)).mean(axis=1).var()
    # Of 2000 batches each variance is known to 4% or so (a batch's mean is near to normal): a third is 15 errors away.
    assert variance["importance"] < variance["stratified"] / 2 < variance["uniform"] / 2


@pytest.mark.parametrize("last_batch", ["fill", "partial"])  # partial: 30 of the 64 rows count
def test_the_loss_that_is_reported_is_comparable_with_that_of_other_draws(last_batch):
    # A denoiser that does not learn, and a loss that is peak(t): the mean over the steps is the mean under the
    # distribution.
    def loss(denoiser, x0, t, eps):
        return {"peak": 0.1 * t + jnp.exp(-(((t - 0.7) / 0.03) ** 2)) + 0 * denoiser.where.sum()}

    result = train(
        Point(jnp.zeros(2), EXPLODING),
        np.zeros((30, 2)),
        key=jax.random.key(0),
        loss=loss,
        times=UniformTimes(0.1, "importance"),
        options=TrainingBy(steps=600, batch=64, last_batch=last_batch, rule=optax.sgd(0.0)),
    )
    assert_mean(result.losses.astype(float), DISTRIBUTIONS["uniform"][2](peak))


@pytest.mark.slow
def test_training_by_importance_learns_and_is_reproducible():
    x, fresh = motes.make_shape("moons", 2000, seed=0), motes.make_shape("moons", 2000, seed=1)
    changes = {"training.steps": 400, "grid.steps": 20, "training.ema": 0.95, "times.draw": "importance"}
    one, two = (fit_points(x, changes=changes) for _ in range(2))
    assert np.array_equal(one.training.losses, two.training.losses)
    gauss = np.random.default_rng(2).multivariate_normal(x.mean(axis=0), np.cov(x.T), 2000)
    assert motes.sliced_w2(one.sample(2000, seed=3), fresh) < 0.5 * motes.sliced_w2(gauss, fresh)
