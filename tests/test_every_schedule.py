"""Oracles, samplers and likelihoods under schedules without steps: they know a schedule by its few methods alone."""

import jax
import numpy as np
import pytest
from tests.reference import CONTINUOUS, ExactGaussian, float64

from motes.points import sample
from motes.points.samplers import SAMPLERS
from motes.points.sampling import LogSNRGrid, ReverseProcess

each = pytest.mark.parametrize("schedule", CONTINUOUS.values(), ids=CONTINUOUS)
MEAN, STD = 0.3, 0.5
POINTS = np.random.default_rng(0).normal(size=(64, 2))


def level(schedule):
    """r at t = 1."""
    with float64():
        return float(schedule.sigma(1.0)) / float(schedule.alpha(1.0))


@pytest.mark.slow(but=["dpmpp_2m-rectified_flow"])
@each
@pytest.mark.parametrize("name", ["heun", "dpmpp_2m", "ddim", pytest.param("adaptive", marks=pytest.mark.long)])
def test_samplers_follow_the_flow_of_a_gaussian(schedule, name):
    # In y = x / alpha the flow keeps (y - MEAN) / sqrt(STD^2 + r^2).
    r = level(schedule)
    start = (POINTS * float(schedule.prior_std)).astype(np.float32)
    y = start / float(schedule.alpha(1.0))
    expected = MEAN + (y - MEAN) * STD / np.sqrt(STD**2 + r**2)
    grid = LogSNRGrid(200 if name != "ddim" else 1000, 1e-3)(schedule)
    key, exact = jax.random.key(0), ExactGaussian(schedule, MEAN, STD)
    found, _ = sample(ReverseProcess(exact, SAMPLERS[name](), grid, 2), 64, key=key, start=start)
    # Second order in steps of 0.05 in the log-SNR, first order in those of 0.01.
    assert np.allclose(found, expected, atol=5e-3)


@pytest.mark.slow
@pytest.mark.long(but=["continuous_cosine"])
@pytest.mark.parametrize("name", CONTINUOUS)
def test_ancestral_sampling_has_the_moments_of_the_data(name):
    schedule, n = CONTINUOUS[name], 20_000
    grid = LogSNRGrid(200, 1e-3)(schedule)
    process = ReverseProcess(ExactGaussian(schedule, 0.0, STD), SAMPLERS["ancestral"](), grid, 2)
    found, _ = sample(process, n, key=jax.random.key(1))
    # Five standard errors, a false alarm in 10^5; and 2% for 200 steps, whose variance is beta.
    assert (np.abs(found.mean(axis=0)) < 5 * STD / np.sqrt(n) + 2e-3).all()
    assert (np.abs(found.std(axis=0) / STD - 1) < 5 / np.sqrt(2 * n) + 0.02).all()
