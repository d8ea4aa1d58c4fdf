"""The one loop that samplers run in: rows, blocks, keys, and the chain that is kept."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.reference import SCHEDULES, ExactGaussian, Z, assert_moments, float64

from motes.points import Ancestral, DiscreteVP, Heun, RectifiedFlow, ReverseProcess, Sampler, UniformGrid, sample

VP = SCHEDULES["linear"]
VE = SCHEDULES["exploding"]
KEY = jax.random.key(0)
N = 20_000

GRID = UniformGrid(5)(VP)
ANCESTRAL = Ancestral(denoise_last=False)
DENOISER = ExactGaussian(DiscreteVP([0.1, 0.2, 0.3, 0.4, 0.5]), 0.5, 0.7)


@pytest.fixture(autouse=True)
def blocks_of_eight(monkeypatch):
    monkeypatch.setattr("motes.points.sampling.FEW", 8)


def small(n=10, *, sampler=ANCESTRAL, grid=GRID, key=KEY, **options):
    return sample(ReverseProcess(DENOISER, sampler, grid, 2), n, key=key, **options)


@pytest.mark.slow
def test_the_first_rows_are_those_of_a_smaller_draw():
    x = small(21)[0]
    assert x.shape == (21, 2)
    for m in (1, 7, 8, 9):
        assert np.array_equal(small(m)[0], x[:m])


@pytest.mark.slow
@pytest.mark.parametrize("block", [1, 5, 64])
def test_the_size_of_the_blocks_does_not_matter(block, monkeypatch):
    # Programs of different widths may round differently.
    eight = small(21)[0]
    monkeypatch.setattr("motes.points.sampling.FEW", block)
    assert np.allclose(small(21)[0], eight, rtol=1e-5, atol=1e-6)


def test_no_row_and_no_step_reuses_the_noise_of_another(monkeypatch):
    # What a step adds to an affine function of its start is its noise: that of one step says nothing of another's.
    monkeypatch.setattr("motes.points.sampling.BLOCK", 4000)
    _, chain = small(4001, record=range(6))
    noise = [
        (chain[i + 1] - np.polyval(np.polyfit(chain[i].ravel(), chain[i + 1].ravel(), 1), chain[i])) for i in range(5)
    ]
    flat = np.stack([part / part.std() for part in noise]).reshape(5, -1)
    correlation = np.corrcoef(flat)[np.triu_indices(5, 1)]
    assert (np.abs(correlation) < Z / np.sqrt(flat.shape[1])).all()  # a false alarm in 10^5 of ten


def test_recorded_places_are_kept_in_the_order_asked_for():
    x, chain = small(10, record=range(6))
    assert chain.shape == (6, 10, 2)
    assert np.array_equal(chain[5], x)
    _, some = small(10, record=[4, 0, 5])
    assert np.allclose(some, chain[[4, 0, 5]], rtol=1e-6)
    assert small(10)[1].shape == (0, 10, 2)


@pytest.mark.slow
def test_a_recorded_place_is_the_point_at_that_time():
    # Going on from a recorded place by hand arrives at the next one: place i belongs to grid[i].
    _, chain = small(1, sampler=Heun(), record=range(6))
    for i in range(5):
        t, s = GRID[i : i + 2]
        x_s, _ = Heun().step(DENOISER, jnp.asarray(chain[i, 0]), t, s, None, KEY)
        assert np.allclose(x_s, chain[i + 1, 0], rtol=1e-4, atol=1e-5)


def test_blocks_are_counted_as_they_are_done():
    done = []
    small(21, on_progress=lambda now: done.append(now.done))
    assert done == [8, 16, 21]


class Counting(Sampler):
    """Moves nothing but a count, which it adds at the end: the state of a step is that of the step before."""

    order: ClassVar[int] = 0
    evaluations: ClassVar[int] = 0
    stochastic: ClassVar[bool] = False

    def init(self, x_t, grid):
        return jnp.zeros(())

    def step(self, denoiser, x_t, t, s, state, key):
        return jnp.where(s > 0, x_t, state), state + 1


def test_a_new_sampler_keeps_a_state_of_its_own():
    assert np.array_equal(small(3, sampler=Counting())[0], np.full((3, 2), 4.0))


class Width(Sampler):
    """Moves every point to the number of bytes that it is computed in."""

    order: ClassVar[int] = 0
    evaluations: ClassVar[int] = 0
    stochastic: ClassVar[bool] = False

    def step(self, denoiser, x_t, t, s, state, key):
        return jnp.full_like(x_t, x_t.dtype.itemsize), state


def test_every_block_is_computed_in_the_callers_precision():
    assert np.array_equal(small(21, sampler=Width())[0], np.full((21, 2), 4.0))
    with float64():
        assert np.array_equal(small(21, sampler=Width())[0], np.full((21, 2), 8.0))


@pytest.mark.parametrize("n", [0, -3])
def test_no_points_is_an_error(n):
    with pytest.raises(ValueError, match=f"n = {n} points"):
        small(n)


@pytest.mark.parametrize("place", [-1, 6])
def test_a_place_outside_the_grid_is_an_error(place):
    with pytest.raises(ValueError, match=f"index {place}; .* 0 to 5"):
        small(3, record=[0, place])


@pytest.mark.parametrize("grid", [[1.0], [0.0, 1.0], [1.0, 0.5, 0.5, 0.0], [1.0, 0.5]])
def test_a_grid_that_does_not_fall_from_1_to_0_is_an_error(grid):
    with pytest.raises(ValueError, match="grid"):
        small(3, grid=jnp.array(grid))


def test_a_start_that_is_given_is_the_start():
    process = ReverseProcess(ExactGaussian(VP, 0.0, 1.0), Ancestral(), GRID, 2)
    draw = lambda n, **more: sample(process, n, key=KEY, **more)
    _, (prior,) = draw(9, record=[0])
    x, (start,) = draw(9, start=prior, record=[0])
    np.testing.assert_array_equal(start, prior)
    np.testing.assert_array_equal(x, draw(9)[0])  # and nothing else has changed
    _, (other,) = draw(9, start=-np.asarray(prior), record=[0])
    np.testing.assert_array_equal(other, -np.asarray(prior))
    with pytest.raises(ValueError, match=r"start has shape \(9, 2\); expected \(8, 2\)"):
        draw(8, start=prior)


def test_sampling_starts_from_the_spread_that_the_schedule_ends_in():
    for schedule, std in ((VP, 1.0), (VE, np.sqrt(401)), (RectifiedFlow(0.5), np.sqrt(0.5))):
        process = ReverseProcess(ExactGaussian(schedule), Heun(), jnp.array([1.0, 0.0]), 2)
        _, (start,) = sample(process, N, key=KEY, record=[0])
        assert_moments(start, 0.0, std**2)
        assert abs(np.corrcoef(start.T)[0, 1]) < Z / np.sqrt(N)
