"""Every sampler on exact denoisers: order of convergence, the distribution at every t, and what it says of itself."""

from typing import ClassVar
from unittest import mock

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from tests.reference import (
    CONTINUOUS,
    SCHEDULES,
    ExactGaussian,
    ExactMixture,
    Z,
    ancestral_moments,
    assert_moments,
    float64,
    mixture_flow,
)

from motes.points import Denoiser, DiscreteVP, RectifiedFlow, ReverseProcess, Sampler, Schedule, sample
from motes.points.samplers import (
    DDIM,
    SAMPLERS,
    Adaptive,
    Ancestral,
    AnnealedLangevin,
    DPMSolver2M,
    DPMSolver2MSDE,
    DPMSolver3M,
    EDMStochastic,
    Euler,
    EulerMaruyama,
    GradientEstimation,
    Heun,
)
from motes.points.sampling import KarrasGrid, LogSNRGrid, QuadraticGrid, UniformGrid

VP = SCHEDULES["linear"]
VE = SCHEDULES["exploding"]
KEY = jax.random.key(0)
each_schedule = pytest.mark.parametrize("schedule", [VE, VP], ids=["exploding", "discrete"])
slow_if_discrete = pytest.mark.parametrize(
    "schedule", [VE, pytest.param(VP, marks=pytest.mark.slow)], ids=["exploding", "discrete"]
)
each_sampler = pytest.mark.parametrize("sampler", [kind() for kind in SAMPLERS.values()], ids=list(SAMPLERS))


def of_each(samplers):
    return pytest.mark.parametrize("sampler", samplers, ids=lambda sampler: repr(sampler))


def walk(sampler, denoiser, grid, x, *, key_of=lambda number: jax.random.fold_in(KEY, number)):
    """The chain (N+1, n, d) of rows x (n, d), in the precision that JAX is in. All rows get the same keys."""
    step = jax.vmap(sampler.step, (None, 0, None, None, 0, None))

    @jax.jit
    def chain(x, grid):
        def move(carry, at):
            t, s, number = at
            x_s, state = step(denoiser, carry[0], t, s, carry[1], key_of(number))
            return (x_s, state), x_s

        state = jax.vmap(sampler.init, (0, None))(x, grid)
        return jax.lax.scan(move, (x, state), (grid[:-1], grid[1:], jnp.arange(1, len(grid))))[1]

    return np.concatenate([x[None], chain(jnp.asarray(x), jnp.asarray(grid))])


def order_measured(errors, counts):
    """The slope of log error against log step."""
    return -np.polyfit(np.log(counts), np.log(errors), 1)[0]


# --- the flow: order, where nothing is drawn at random ---------------------------------------------------------------


@pytest.fixture(scope="module")
def solved():
    """For each schedule starts (20, 2) and where the flow of the mixture carries them, by SciPy to 1e-11."""
    answers = {}
    for schedule in (VE, VP):
        with float64():
            first = schedule.alpha(1.0), schedule.sigma(1.0) / schedule.alpha(1.0)
        alpha, largest = (float(value) for value in first)
        y = np.random.default_rng(0).normal(size=(20, 2)) * largest
        flow = lambda r, y: mixture_flow(y.reshape(-1, 2), r).ravel()
        end = solve_ivp(flow, (largest, 0.0), y.ravel(), method="DOP853", rtol=1e-11, atol=1e-11)
        answers[schedule] = alpha * y, end.y[:, -1].reshape(-1, 2)
    return answers


FLOWS = [  # samplers whose order a test measures, with the numbers of steps between which it does
    (Euler(), (32, 96)),
    (Heun(), (32, 96)),
    (DPMSolver2M(), (32, 96)),
    (DPMSolver3M(), (64, 192)),
    (GradientEstimation(2.0), (192, 768)),
]
# Others are one of these without their noise, as DDIM(0) and EDMStochastic(0) are, or have their own tests here.
OTHERWISE = {"adaptive", "ancestral", "churn", "ddim", "dpmpp_2m_sde", "euler_maruyama", "langevin"}


def test_every_sampler_has_a_test_of_its_order_or_is_named_with_those_that_have_another():
    measured = {name for name, kind in SAMPLERS.items() if kind in {type(sampler) for sampler, _ in FLOWS}}
    assert measured.isdisjoint(OTHERWISE)
    assert measured | OTHERWISE == SAMPLERS.keys()


@slow_if_discrete
@pytest.mark.parametrize(
    ("sampler", "counts"), FLOWS, ids=lambda value: repr(value) if isinstance(value, eqx.Module) else ""
)
def test_the_flow_is_solved_with_the_order_that_is_declared(solved, schedule, sampler, counts):
    start, exact = solved[schedule]
    errors = []
    with float64():
        for count in counts:
            # Down to a noise of 1e-6, so that what the last step leaves is far below the rest.
            x = walk(sampler, ExactMixture(schedule), KarrasGrid(count, 1e-6)(schedule), start)[-1]
            errors.append(np.sqrt(np.mean((x - exact) ** 2)))
    assert not sampler.stochastic
    assert errors[-1] > 1e-8  # well above that of the reference
    assert abs(order_measured(errors, counts) - sampler.order) < 0.3


@pytest.mark.slow
def test_the_adaptive_solver_keeps_to_its_tolerance(solved):
    start, exact = solved[VE]
    errors, requested = [], []
    with float64():
        for tolerance in (1e-4, 1e-6):
            denoiser = Counted(ExactMixture(VE))
            sampler = Adaptive(tolerance, tolerance)
            x, asked_at = denoiser.watch(lambda: walk(sampler, denoiser, UniformGrid(1)(VP), start[:1])[-1])  # noqa: B023
            errors.append(np.abs(x - exact[:1]).max())
            requested.append(len(asked_at))
            assert errors[-1] < 10 * tolerance
    assert 20 < requested[0] < requested[1] < 600


@of_each([Euler(), DDIM(), DPMSolver2M(), DPMSolver3M(), Heun(), GradientEstimation()])
def test_a_linear_flow_is_solved_exactly_in_any_number_of_steps(sampler):
    # For data that is one point c the flow is a straight line, y = c + r eps with the same eps at every level.
    c, denoiser = 0.5, ExactGaussian(VE, 0.5, 0.0)
    with float64():
        start = np.array([[3.0, -20.0]])
        grid = UniformGrid(3)(VP)
        chain = walk(sampler, denoiser, grid, start)
        r = np.asarray(VE.sigma(grid))
    np.testing.assert_allclose(chain[:, 0], c + (start - c) * r[:, None] / r[0], rtol=1e-9, atol=1e-12)


@pytest.mark.slow(but=["dpmpp_2m-rectified_flow"])
@pytest.mark.parametrize("schedule", CONTINUOUS.values(), ids=CONTINUOUS)
@pytest.mark.parametrize("name", ["heun", "dpmpp_2m", "ddim", pytest.param("adaptive", marks=pytest.mark.long)])
def test_the_flow_of_a_gaussian_is_followed_under_schedules_without_steps(schedule, name):
    # In y = x / alpha the flow keeps (y - mean) / sqrt(std^2 + r^2).
    mean, std, alpha = 0.3, 0.5, float(schedule.alpha(1.0))
    start = np.random.default_rng(0).normal(size=(64, 2)).astype(np.float32) * float(schedule.prior_std)
    expected = mean + (start / alpha - mean) * std / np.hypot(std, float(schedule.sigma(1.0)) / alpha)
    grid = LogSNRGrid(200 if name != "ddim" else 1000, 1e-3)(schedule)
    process = ReverseProcess(ExactGaussian(schedule, mean, std), SAMPLERS[name](), grid, 2)
    # Second order in steps of 0.05 in the log-SNR, first order in those of 0.01.
    assert np.allclose(sample(process, 64, key=KEY, start=start)[0], expected, atol=5e-3)


# --- the diffusion: the distribution at every t, without Monte Carlo noise -------------------------------------------

NOISES = 8  # names of the noises of a step: more than any sampler here draws


def exact_distribution(sampler, schedule, grid, mean, std, start=None):
    """Mean and variance (N+1,) of x_t on the sampler's way for data N(mean, std^2), from the true distribution at t =
    1.

    Every step is affine in x_t and its noises. So each noise gets a coordinate of its own, and the mean another: the
    squares of a point's coordinates add up to its variance. The noises are told apart by keys that are plain numbers.
    """
    size = NOISES * len(grid) + 2
    drawn = lambda key, shape=(): jnp.zeros(size).at[key].set(1.0)
    split = lambda key, n=2: key + jnp.arange(n)
    denoiser = ExactGaussian(schedule, jnp.zeros(size).at[-1].set(mean), std)
    first = start or true_distribution(schedule, grid[0], mean, std)
    start = np.zeros(size)
    start[-2:] = np.sqrt(first[1]), first[0]
    with mock.patch("jax.random.normal", drawn), mock.patch("jax.random.split", split):
        chain = walk(sampler, denoiser, grid, start[None], key_of=lambda number: NOISES * (number - 1))[:, 0]
    return chain[:, -1], np.sum(chain[:, :-1] ** 2, axis=1)


def true_distribution(schedule, grid, mean, std):
    alpha, sigma = (np.asarray(values) for values in _alpha_and_sigma(schedule, grid))
    return alpha * mean, alpha**2 * std**2 + sigma**2


@eqx.filter_jit
def _alpha_and_sigma(schedule, grid):
    return schedule.alpha(grid), schedule.sigma(grid)


@slow_if_discrete
@pytest.mark.parametrize(
    ("sampler", "counts"),
    [
        (Ancestral("beta"), (128, 512)),
        (Ancestral("posterior"), (64, 256)),
        (DDIM(0.5), (64, 256)),
        (DDIM(1.0), (64, 256)),
        (EulerMaruyama(), (256, 1024)),
        (DPMSolver2MSDE(), (48, 192)),
        (EDMStochastic(), (64, 256)),
        (AnnealedLangevin(), (128, 512)),
    ],
    ids=lambda value: repr(value) if isinstance(value, eqx.Module) else "",
)
def test_the_law_converges_with_the_order_that_is_declared_at_the_end_and_on_the_way(schedule, sampler, counts):
    mean, std, errors = 0.5, 0.6, []
    assert sampler.stochastic
    with float64():
        for count in counts:
            grid = KarrasGrid(count, 1e-5)(schedule)
            found, true = (
                exact_distribution(sampler, schedule, grid, mean, std),
                true_distribution(schedule, grid, mean, std),
            )
            # At s = 0 all of them end in x0_hat, which adds next to nothing at a noise of 1e-5.
            errors.append(abs(found[1][-1] / true[1][-1] - 1))
    assert abs(order_measured(errors, counts) - sampler.order) < 0.3
    # The distribution at every t. Every sampler keeps the mean, and Langevin steps settle where they say they do.
    np.testing.assert_allclose(found[0], true[0], rtol=1e-6)
    wider = getattr(sampler, "snr", 0.0) ** 2
    assert (np.abs(found[1] / true[1] - 1) < 1.2 * wider + (0.06 if sampler.order == 1 else 0.005)).all()


# --- what is the same as what ----------------------------------------------------------------------------------------


@pytest.mark.slow(but=["DDIM(eta=0.0)-Euler()-exploding"])
@each_schedule
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (DDIM(1.0), Ancestral("posterior")),
        (DDIM(0.0), Euler()),
        (DPMSolver2MSDE(0.0), DPMSolver2M()),
        (GradientEstimation(1.0), Euler()),
        (EDMStochastic(0.0), Heun()),
    ],
    ids=lambda sampler: repr(sampler),
)
def test_some_samplers_are_others_under_another_name(schedule, one, other):
    start = 5.0 * np.array([[1.0, -0.7], [0.2, 0.4]])
    with float64():
        grid = KarrasGrid(9, 0.01)(schedule)
        chains = [walk(sampler, ExactMixture(schedule), grid, start) for sampler in (one, other)]
    np.testing.assert_allclose(*chains, rtol=1e-9, atol=1e-9)


@pytest.mark.slow(but=["1-posterior-True", "10-beta-False", "10-posterior-False", "10-posterior-True"])
@pytest.mark.parametrize("denoise_last", [True, False])
@pytest.mark.parametrize("variance", ["beta", "posterior"])
@pytest.mark.parametrize("every", [1, 10])
def test_each_ancestral_step_is_that_of_ho_et_al_on_every_step_and_on_every_tenth(variance, denoise_last, every):
    # On a sub-sequence the betas are those that lead from one of its alpha-bars to the next (Nichol & Dhariwal 2021).
    left = np.concatenate([[1.0], np.cumprod(1 - VP.betas)])[::every]
    with float64():
        grid = UniformGrid(VP.steps // every)(VP)
        found = exact_distribution(Ancestral(variance, denoise_last), VP, grid, 0.0, 0.5, start=(0.0, 1.0))
    _, theirs = ancestral_moments(1 - left[1:] / left[:-1], 0.0, 0.5, variance, denoise_last)
    assert found[1][-1] == pytest.approx(theirs, rel=1e-9)


# --- the last step, few steps, many steps ----------------------------------------------------------------------------


@pytest.mark.slow(but=["exploding-euler"])
@each_sampler
@each_schedule
def test_the_last_step_ends_in_x0_hat(schedule, sampler):
    denoiser, grid = ExactGaussian(schedule, 0.5, 0.7), jnp.array([1.0, 0.6, 0.3, 0.0])
    chain = walk(sampler, denoiser, grid, np.array([[0.3, -0.8]], np.float32))
    x0 = denoiser(jnp.asarray(chain[-2, 0]), grid[-2])
    if isinstance(sampler, Adaptive):  # which goes on to where the flow ends
        r = schedule.sigma(grid[-2]) / schedule.alpha(grid[-2])
        x0 = 0.5 + (chain[-2, 0] / schedule.alpha(grid[-2]) - 0.5) * 0.7 / np.hypot(0.7, r)
    np.testing.assert_allclose(chain[-1, 0], x0, atol=5e-4 if isinstance(sampler, Adaptive) else 1e-5)


# --- what a sampler says of itself -----------------------------------------------------------------------------------


class Counted(Denoiser):
    """A denoiser that notes the times at which it is asked."""

    inner: Denoiser
    schedule: Schedule
    requested: list = eqx.field(static=True)

    def __init__(self, inner):
        self.inner, self.schedule, self.requested = inner, inner.schedule, []

    def __call__(self, x_t, t):
        jax.debug.callback(lambda t: self.requested.append(float(t)), t)
        return self.inner(x_t, t)

    def watch(self, run):
        """What `run()` returns, and the times at which it asked."""
        self.requested.clear()
        done = jax.block_until_ready(run())
        jax.effects_barrier()
        return done, list(self.requested)


COUNTED = [kind() for kind in SAMPLERS.values() if kind is not Adaptive]


@pytest.mark.slow(but=["Euler()"])
@of_each([*COUNTED, AnnealedLangevin(2), DDIM(1.0), EDMStochastic(0.0)])
def test_a_step_asks_as_often_as_it_says_and_when_it_says(sampler):
    denoiser = Counted(ExactGaussian(VE, 0.5, 0.7))
    x, t, s = jnp.array([0.3, -0.8]), jnp.asarray(0.6), jnp.asarray(0.5)
    state = sampler.init(x, UniformGrid(10)(VP))
    (x_s, _), times = denoiser.watch(lambda: jax.jit(sampler.step)(denoiser, x, t, s, state, KEY))
    assert len(times) == sampler.evaluations
    assert all(np.isclose(time, [0.6, 0.5], atol=1e-5).any() for time in times) or sampler.off_grid
    _, times = denoiser.watch(lambda: jax.jit(sampler.step)(denoiser, x, t, jnp.asarray(0.0), state, KEY))
    assert len(times) == 1
    # Another key is another point where it draws at random, and nowhere else.
    other, _ = jax.jit(sampler.step)(denoiser, x, t, s, state, jax.random.key(1))
    assert sampler.stochastic == (not np.array_equal(x_s, other))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Ancestral(variance="postrior"), "variance = 'postrior'"),
        (lambda: DDIM(1.5), "eta = 1.5; expected a number at least 0 and at most 1"),
        (lambda: EDMStochastic(from_level=2.0, to_level=1.0), "from_level = 2, to_level = 1; expected from_level"),
    ],
)
def test_an_option_out_of_range_is_an_error(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_churn_adds_no_noise_outside_its_levels():
    x, t, s = jnp.array([0.3, -0.8]), jnp.asarray(0.6), jnp.asarray(0.5)
    grid = UniformGrid(10)(VE)
    step = jax.jit(lambda sampler: sampler.step(ExactMixture(VE), x, t, s, sampler.init(x, grid), KEY)[0])
    r = float(VE.sigma(0.6))
    assert np.allclose(step(EDMStochastic(from_level=1.1 * r)), step(Heun()), rtol=1e-6)
    assert np.allclose(step(EDMStochastic(to_level=0.9 * r)), step(Heun()), rtol=1e-6)
    assert not np.allclose(step(EDMStochastic(from_level=0.9 * r, to_level=1.1 * r)), step(Heun()), rtol=1e-2)


# --- grids -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 7])
def test_the_quadratic_grid_is_that_of_squares(steps):
    np.testing.assert_allclose(QuadraticGrid(steps)(VP), (np.arange(steps, -1, -1) / steps) ** 2, rtol=1e-6)


@each_schedule
def test_the_log_snr_grid_has_equal_steps_in_log_snr(schedule):
    with float64():
        grid = LogSNRGrid(12, 0.01)(schedule)
        alpha, sigma = _alpha_and_sigma(schedule, grid)
        r = np.asarray(sigma) / np.asarray(alpha)
    np.testing.assert_allclose(np.diff(np.log(r[:-1])), np.log(0.01 / r[0]) / 11, rtol=1e-6)
    with pytest.raises(ValueError, match=r"sigma_min = 50; expected above 0 and below the first noise level"):
        LogSNRGrid(12, 50.0)(schedule)


# --- the one loop that samplers run in: rows, blocks, keys, and the chain that is kept --------------------------------


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
