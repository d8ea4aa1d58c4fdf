"""Samplers on exact denoisers: order of convergence, exact laws, and the bookkeeping of the one loop."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from tests.reference import SCHEDULES, ExactGaussian, ExactMixture, Z, ancestral_moments, float64, mixture_flow

from motes.diffusion.schedules import DiscreteVP, VarianceExploding
from motes.sampling.grids import karras_grid, uniform_grid
from motes.sampling.samplers import Ancestral, Heun, Sampler, sample

VP = SCHEDULES["linear"]
VE = SCHEDULES["exploding"]
KEY = jax.random.key(0)


def order_measured(errors, counts):
    """The slope of log error against log step."""
    return -np.polyfit(np.log(counts), np.log(errors), 1)[0]


# --- order ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", [VarianceExploding(20.0, 7.0), VP], ids=["exploding", "discrete"])
def test_heun_converges_with_the_order_that_it_declares(schedule):
    counts = [32, 96]
    errors = []
    with float64():
        largest = float(schedule.sigma(1.0) / schedule.alpha(1.0))
        for count in counts:
            # Down to a noise of 1e-6, so that what Euler's last step leaves is far below the rest.
            grid = karras_grid(schedule, count, 1e-6)
            x, (start,) = sample(
                ExactMixture(schedule), 50, 2, key=KEY, sampler=Heun(), grid=grid, record=[0], block=50
            )
            if count == counts[0]:
                # The flow in y = x / alpha, r = sigma / alpha, solved by SciPy from the same starts to 1e-10.
                y = start.astype(float) / float(schedule.alpha(1.0))
                flow = lambda r, y: mixture_flow(y.reshape(-1, 2), r).ravel()
                end = solve_ivp(flow, (largest, 0.0), y.ravel(), method="DOP853", rtol=1e-10, atol=1e-10)
                exact = end.y[:, -1].reshape(-1, 2)
            errors.append(np.sqrt(np.mean((x - exact) ** 2)))
    assert errors[-1] > 1e-5  # well above the float32 of the answer
    assert abs(order_measured(errors, counts) - Heun.order) < 0.3


def end_variances(sampler, schedule, counts, std):
    """Variance of the sampler's points for data N(0, std^2), to the last digit: each step is x_s = a x_t + b z."""
    denoiser, key = ExactGaussian(schedule, 0.0, std), jax.random.key(1)
    grids = [np.asarray(uniform_grid(count)) for count in counts]

    @jax.jit
    @jax.vmap
    def a_and_b(t, s):
        at = lambda x: sampler.step(denoiser, jnp.full(1, x), t, s, None, key)[0][0]
        return at(1.0) - at(0.0), at(0.0) / jax.random.normal(key, (1,))[0]

    steps = np.array(a_and_b(np.concatenate([g[:-1] for g in grids]), np.concatenate([g[1:] for g in grids])))
    for part in np.split(steps, np.cumsum(counts)[:-1], axis=1):
        variance = float(schedule.prior_std) ** 2
        for a, b in part.T:
            variance = a**2 * variance + b**2
        yield variance


@pytest.mark.parametrize("variance", ["beta", "posterior"])
def test_ancestral_converges_with_the_order_that_it_declares(variance):
    counts, std = [64, 128, 256], 0.5
    with float64():
        # Ending in a spread of 200 std, so that a start from N(0, prior_std^2 I) is no error to speak of.
        errors = np.abs([v - std**2 for v in end_variances(Ancestral(variance), VarianceExploding(100.0), counts, std)])
    assert abs(order_measured(errors, counts) - Ancestral.order) < 0.3


@pytest.mark.parametrize("noiseless_last", [True, False])
@pytest.mark.parametrize("variance", ["beta", "posterior"])
def test_each_ancestral_step_is_that_of_ho_et_al(variance, noiseless_last):
    with float64():
        (ours,) = end_variances(Ancestral(variance, noiseless_last), VP, [VP.steps], 0.5)
    _, theirs = ancestral_moments(VP.betas, 0.0, 0.5, variance, noiseless_last)
    assert np.isclose(ours, theirs, rtol=1e-9)


# --- laws ----------------------------------------------------------------------------------------------------------

N = 20_000


def assert_moments(x, mean, variance):
    """Mean and variance of each column of Gaussian points; Z standard errors, a false alarm in 4e5 of four."""
    error = np.sqrt(variance / len(x))
    assert (np.abs(x.mean(axis=0, dtype=float) - mean) < Z * error).all()
    assert (np.abs(x.var(axis=0, dtype=float) / variance - 1) < Z * np.sqrt(2 / len(x))).all()


def ancestral_points(mean, std, **options):
    return sample(
        ExactGaussian(VP, mean, std), N, 2, key=KEY, sampler=Ancestral(**options), grid=uniform_grid(VP.steps)
    )[0]


def test_ancestral_sampling_reproduces_a_gaussian():
    mean, std = 0.5, 0.7
    x = ancestral_points(mean, std, variance="posterior")
    assert_moments(x, *ancestral_moments(VP.betas, mean, std, "posterior"))
    # And that law is the data's, but for a hundred steps' worth of error.
    assert abs(x.mean() - mean) < 0.03
    assert abs(x.std() - std) < 0.03


@pytest.mark.parametrize("noiseless_last", [True, False])
def test_beta_variance_is_exact_for_standard_normal_data(noiseless_last):
    # x0_hat = alpha_t x_t makes the mean of each step sqrt(1 - beta) x_t; with variance beta x stays N(0, I).
    x = ancestral_points(0.0, 1.0, variance="beta", noiseless_last=noiseless_last)
    assert_moments(x, 0.0, 1 - VP.betas[0] if noiseless_last else 1.0)


@pytest.mark.parametrize("sampler", [Ancestral("beta"), Ancestral("posterior"), Heun()], ids=str)
def test_a_noiseless_last_step_ends_in_x0_hat(sampler):
    denoiser = ExactGaussian(VP, 0.5, 0.7)
    t = jnp.asarray(1 / VP.steps)
    x_t = jnp.array([0.3, -0.8])
    x, _ = jax.jit(sampler.step)(denoiser, x_t, t, jnp.asarray(0.0), None, KEY)
    assert np.allclose(x, denoiser(x_t, t), atol=1e-5)


def test_a_noisy_last_step_has_the_first_beta_for_its_variance():
    sampler = Ancestral("beta", noiseless_last=False)
    denoiser, t = ExactGaussian(VP, 0.5, 0.7), jnp.asarray(1 / VP.steps)
    x_t = jnp.array([0.3, -0.8])
    x, _ = sampler.step(denoiser, x_t, t, jnp.asarray(0.0), None, KEY)
    noise = (x - denoiser(x_t, t)) / jax.random.normal(KEY, (2,))
    assert np.allclose(noise, np.sqrt(VP.betas[0]), rtol=1e-4)


def test_heun_carries_a_gaussian_onto_a_gaussian():
    # For N(mean, std^2 I) the flow is affine: x_1 / alpha_1 - mean shrinks by std / sqrt(std^2 + r_1^2).
    mean, std, largest = 0.5, 0.7, 20.0
    grid = karras_grid(VE, 256, 0.002)
    x, (start,) = sample(ExactGaussian(VE, mean, std), 100, 2, key=KEY, sampler=Heun(), grid=grid, record=[0])
    # Second order with 256 steps, and float32 of numbers up to 80: 1e-4 of the deviation.
    assert np.allclose(x, mean + (start - mean) * std / np.hypot(std, largest), atol=1e-3)


def test_sampling_starts_from_the_spread_that_the_schedule_ends_in():
    for schedule, std in ((VP, 1.0), (VE, np.sqrt(401))):
        _, (start,) = sample(
            ExactGaussian(schedule), N, 2, key=KEY, sampler=Heun(), grid=jnp.array([1.0, 0.0]), record=[0]
        )
        assert_moments(start, 0.0, std**2)
        assert abs(np.corrcoef(start.T)[0, 1]) < Z / np.sqrt(N)


# --- the loop ------------------------------------------------------------------------------------------------------

SMALL = {"key": KEY, "sampler": Ancestral(noiseless_last=False), "grid": uniform_grid(5)}
DENOISER = ExactGaussian(DiscreteVP([0.1, 0.2, 0.3, 0.4, 0.5]), 0.5, 0.7)


def small(n=10, **options):
    return sample(DENOISER, n, 2, **{**SMALL, "block": 8, **options})


def test_the_first_rows_are_those_of_a_smaller_draw():
    x = small(21)[0]
    assert x.shape == (21, 2)
    for m in (1, 7, 8, 9):
        assert np.array_equal(small(m)[0], x[:m])


@pytest.mark.parametrize("block", [1, 5, 64])
def test_the_size_of_the_blocks_does_not_matter(block):
    # Programs of different widths may round differently.
    assert np.allclose(small(21, block=block)[0], small(21)[0], rtol=1e-5, atol=1e-6)


def test_rows_differ_and_so_do_keys():
    x = small(30)[0]
    assert len(np.unique(x, axis=0)) == 30
    assert not np.array_equal(small(30, key=jax.random.key(1))[0], x)
    assert np.array_equal(small(30)[0], x)


def test_no_row_and_no_step_reuses_the_noise_of_another():
    # What a step adds to an affine function of its start is its noise: that of one step says nothing of another's.
    _, chain = small(4000, block=4000, record=range(6))
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


def test_a_recorded_place_is_the_point_at_that_time():
    # Going on from a recorded place by hand arrives at the next one: place i belongs to grid[i].
    _, chain = small(1, sampler=Heun(), record=range(6))
    for i in range(5):
        t, s = SMALL["grid"][i : i + 2]
        x_s, _ = Heun().step(DENOISER, jnp.asarray(chain[i, 0]), t, s, None, KEY)
        assert np.allclose(x_s, chain[i + 1, 0], rtol=1e-4, atol=1e-5)


def test_a_place_recorded_twice_is_returned_twice():
    _, chain = small(3, record=[0, 2, 0, 2])
    assert np.array_equal(chain, small(3, record=[0, 2])[1][[0, 1, 0, 1]])
    assert chain.any()


@pytest.mark.parametrize("steps", [1, 2])
@pytest.mark.parametrize(("schedule", "sampler"), [(VP, Ancestral()), (VE, Heun())], ids=["ancestral", "heun"])
def test_one_and_two_steps_are_finite(schedule, sampler, steps):
    x, _ = sample(ExactGaussian(schedule), 3, 2, key=KEY, sampler=sampler, grid=uniform_grid(steps), block=4)
    assert np.isfinite(x).all()


def test_blocks_are_counted_as_they_are_done():
    done = []
    small(21, on_block=done.append)
    assert done == [8, 16, 21]


class Counting(Sampler):
    """Moves nothing but a count, which it adds at the end: the state of a step is that of the step before."""

    order: ClassVar[int] = 0

    def init(self, x_t):
        return jnp.zeros(())

    def step(self, denoiser, x_t, t, s, state, key):
        return jnp.where(s > 0, x_t, state), state + 1


def test_a_new_sampler_keeps_a_state_of_its_own():
    assert np.array_equal(small(3, sampler=Counting())[0], np.full((3, 2), 4.0))


def test_single_rows_and_single_columns_are_fine():
    x, chain = sample(ExactGaussian(VP), 1, 1, **SMALL, record=[5], block=4)
    assert x.shape == (1, 1)
    assert np.array_equal(chain, x[None])


@pytest.mark.parametrize("n", [0, -3])
def test_no_points_is_an_error(n):
    with pytest.raises(ValueError, match=f"n = {n} points"):
        small(n)


@pytest.mark.parametrize("place", [-1, 6])
def test_a_place_outside_the_grid_is_an_error(place):
    with pytest.raises(ValueError, match=f"place {place} .*from 0 to 5"):
        small(3, record=[0, place])


def test_a_misspelt_variance_is_an_error():
    with pytest.raises(ValueError, match="variance"):
        Ancestral(variance="postrior")


@pytest.mark.parametrize("grid", [[1.0], [0.0, 1.0], [1.0, 0.5, 0.5, 0.0], [1.0, 0.5]])
def test_a_grid_that_does_not_fall_from_1_to_0_is_an_error(grid):
    with pytest.raises(ValueError, match="grid"):
        small(3, grid=jnp.array(grid))


def test_a_start_that_is_given_is_the_start():
    exact = ExactGaussian(VP, 0.0, 1.0)
    draw = lambda n, **more: sample(exact, n, 2, key=KEY, sampler=Ancestral(), grid=uniform_grid(5), block=4, **more)
    _, (prior,) = draw(9, record=[0])
    x, (start,) = draw(9, start=prior, record=[0])
    np.testing.assert_array_equal(start, prior)
    np.testing.assert_array_equal(x, draw(9)[0])  # and nothing else has changed
    with pytest.raises(ValueError, match=r"start has shape \(9, 2\); expected \(8, 2\)"):
        draw(8, start=prior)
