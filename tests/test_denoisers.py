"""One estimate, read as anything; and a network that says any of these, read as the estimate."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from tests.reference import CONTINUOUS, SCHEDULES, ExactGaussian, ExactMixture, Silent, float64

from motes.points.denoisers import NoisePredictor, Preconditioned, VelocityPredictor, VPredictor, X0Predictor
from motes.points.likelihood import InSingle
from motes.points.networks import ResidualMLP, StepGatedMLP, softplus
from motes.points.recipe import DENOISERS

ALL = SCHEDULES | CONTINUOUS
each = pytest.mark.parametrize("schedule", ALL.values(), ids=ALL)
X_T = np.array([0.8, -0.4])
TIMES = [0.083, 0.4621, 0.97, 1.0]  # on no step of a discrete schedule but the last


def says(quantity):
    """A network that says what an exact denoiser of a mixture says."""
    return lambda schedule: lambda x, t: getattr(ExactMixture(schedule), quantity)(x, t)


@pytest.mark.slow(but=["X0Predictor-__call__-exploding"])
@each
@pytest.mark.parametrize(
    ("predictor", "quantity"),
    [(NoisePredictor, "eps"), (X0Predictor, "__call__"), (VPredictor, "v"), (VelocityPredictor, "velocity")],
)
def test_whatever_a_network_says_the_estimates_are_the_same(schedule, predictor, quantity):
    with float64():
        exact, learned = ExactMixture(schedule), predictor(says(quantity)(schedule), schedule)
        for t in TIMES:
            # Digits that sigma_t or alpha_t divides by.
            loose = dict(rtol=1e-8, atol=1e-12 / float(schedule.alpha(t) * schedule.sigma(t) ** 2))
            for read in ("__call__", "eps", "v", "score", "velocity"):
                assert np.allclose(getattr(learned, read)(X_T, t), getattr(exact, read)(X_T, t), **loose), read


@pytest.mark.slow(only=["functions", "knots", "tutorial"])
@each
def test_a_preconditioned_network_that_knows_the_rest_gives_the_same_estimate(schedule):
    def rest(x, c_noise):
        # x_t / alpha_t and r from what the network sees, for sigma_data = 1.
        r = jnp.exp(4 * c_noise)
        t = schedule.t_of_log_snr(-2 * jnp.log(r))
        y = x * jnp.sqrt(1 + r**2)
        x0 = ExactMixture(schedule)(schedule.alpha(t) * y, t)
        return (x0 - y / (1 + r**2)) / (r / jnp.sqrt(1 + r**2))

    with float64():
        for t in TIMES[:-1]:
            ours, exact = (read(X_T, t) for read in (Preconditioned(rest, schedule), ExactMixture(schedule)))
            assert np.allclose(ours, exact, rtol=1e-6, atol=1e-9)


@each
def test_each_reading_is_its_definition(schedule):
    with float64():
        denoiser = ExactMixture(schedule)
        for t in TIMES:
            alpha, sigma, x0 = float(schedule.alpha(t)), float(schedule.sigma(t)), denoiser(X_T, t)
            eps, (alpha_rate, sigma_rate) = (X_T - alpha * x0) / sigma, schedule.rates(t)
            assert np.allclose(denoiser.eps(X_T, t), eps, rtol=1e-12)
            assert np.allclose(denoiser.v(X_T, t), alpha * eps - sigma * x0, rtol=1e-12)
            assert np.allclose(denoiser.score(X_T, t), (alpha * x0 - X_T) / sigma**2, rtol=1e-12)
            assert np.allclose(denoiser.velocity(X_T, t), alpha_rate * x0 + sigma_rate * eps, rtol=1e-12)


@each
@pytest.mark.parametrize("t", [0.0, 1e-3, 1.0])
def test_x0_from_the_velocity_is_finite_from_0_to_1(schedule, t):
    x0 = VelocityPredictor(lambda x, t: jnp.array([0.3, 0.1]), schedule)(X_T, t)
    assert np.isfinite(x0).all()
    if t == 0:
        assert np.allclose(x0, X_T, rtol=1e-6)


@each
def test_the_velocity_of_a_gaussian_is_the_slope_of_its_flow(schedule):
    # The flow keeps a Gaussian's quantiles: x_t = alpha_t mean + sqrt(alpha_t^2 std^2 + sigma_t^2) z with z kept.
    mean, std = 0.4, 0.7
    z = jnp.array([1.3, -0.2])

    def flow(t):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        return alpha * mean + jnp.sqrt((alpha * std) ** 2 + sigma**2) * z

    with float64():
        for t in [*TIMES[:-1], 1 - 1e-9]:  # at 1 a discrete schedule has no slope to both sides
            x_t, slope = jax.jvp(flow, (jnp.asarray(t),), (jnp.asarray(1.0),))
            assert np.allclose(ExactGaussian(schedule, mean, std).velocity(x_t, t), slope, rtol=1e-8)


def test_a_reading_costs_one_call_of_the_network():
    def program(read):
        denoiser = NoisePredictor(lambda x, t: jnp.sinh(x), CONTINUOUS["rectified_flow"])
        return jax.jit(lambda x, t: getattr(denoiser, read)(x, t)).lower(X_T, 0.5).as_text()

    for read in ("__call__", "eps", "v", "score", "velocity"):
        assert program(read).count("chlo.sinh") == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", DENOISERS)
@pytest.mark.parametrize("t", [1e-4, 0.5, 1.0])
def test_a_fresh_network_of_any_kind_is_finite_in_single_precision(kind, t):
    for schedule in ALL.values():
        denoiser = DENOISERS[kind]().denoiser(Silent(), schedule)
        for read in ("__call__", "eps", "v", "velocity"):
            assert np.isfinite(getattr(denoiser, read)(X_T, t)).all(), (type(schedule), read)


# --- networks: sizes, initial weights, and which weights count when --------------------------------------------------


STEPS = 100


@pytest.fixture(scope="module")
def network():
    return eqx.filter_jit(StepGatedMLP)(2, steps=STEPS, key=jax.random.key(0))  # one program for all its draws


@pytest.mark.slow
def test_the_tutorials_network_has_72066_parameters(network):
    assert sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(network, eqx.is_array))) == 72_066


def test_gates_start_uniform_between_0_and_1(network):
    for gate in network.gates:
        assert gate.shape == (STEPS, 128)
        # 12,800 draws each: a false alarm in 3e5 over the three.
        assert stats.kstest(np.asarray(gate).ravel(), "uniform").pvalue > 1e-6
    assert not np.array_equal(network.gates[0], network.gates[1])


def test_linear_layers_start_uniform_within_one_over_the_root_of_their_inputs(network):
    # PyTorch's Linear: weights and biases alike.
    assert [layer.weight.shape for layer in (*network.layers, network.out)] == [
        (128, 2), (128, 128), (128, 128), (2, 128),
    ]  # fmt: skip
    for layer in (*network.layers, network.out):
        bound = layer.weight.shape[1] ** -0.5
        for values in (layer.weight, layer.bias):
            values = np.asarray(values).ravel()
            assert (np.abs(values) <= bound).all()
            # A false alarm in 10^5 over the eight.
            assert stats.kstest(values, stats.uniform(-bound, 2 * bound).cdf).pvalue > 1e-6


@pytest.mark.slow
def test_the_network_is_the_tutorials_formula(network):
    x = np.array([0.3, -1.2])
    for k in (1, 2, 57, 100):
        h = x
        for layer, gate in zip(network.layers, network.gates, strict=True):
            linear = np.asarray(layer.weight, float) @ h + np.asarray(layer.bias, float)
            h = np.logaddexp(0, np.asarray(gate, float)[k - 1] * linear)
        expected = np.asarray(network.out.weight, float) @ h + np.asarray(network.out.bias, float)
        # 128 products of numbers around 1, in float32.
        assert np.allclose(network(jnp.asarray(x), jnp.asarray(k / STEPS)), expected, atol=1e-5)


def test_only_the_gates_of_the_step_itself_count(network):
    def output(gates, time):
        return eqx.tree_at(lambda net: net.gates, network, gates)(jnp.array([0.3, -1.2]), time).sum()

    times = jnp.arange(1, STEPS + 1) / STEPS
    slopes = jax.jit(jax.vmap(jax.grad(output), (None, 0)))(network.gates, times)
    for slope in slopes:  # (times, rows, width)
        counts = np.abs(np.asarray(slope)).max(axis=2) > 0
        assert np.array_equal(counts, np.eye(STEPS, dtype=bool))


@pytest.mark.parametrize(("dim", "steps", "width", "depth"), [(1, 1, 4, 1), (5, 7, 8, 2)])
def test_sizes_are_as_asked(dim, steps, width, depth):
    network, out = eqx.filter_eval_shape(
        lambda key: (made := StepGatedMLP(dim, steps, width, depth, key=key), made(jnp.ones(dim), jnp.asarray(1.0))),
        jax.random.key(0),
    )
    parameters = sum(leaf.size for leaf in jax.tree.leaves(network) if isinstance(leaf, jax.ShapeDtypeStruct))
    linear = (dim + 1) * width + (depth - 1) * (width + 1) * width + (width + 1) * dim
    assert parameters == linear + depth * steps * width
    assert out.shape == (dim,)


# --- softplus ------------------------------------------------------------------------------------------------------

POINTS = np.concatenate([np.linspace(-30, 30, 1001), [-1e4, -88, 88, 1e4, 0.0]]).astype(np.float32)


def test_softplus_is_log_of_1_plus_exp():
    # float32 rounding of 1 is 6e-8; of the answer, 6e-8 of it.
    expected = np.logaddexp(0, POINTS.astype(float))
    assert np.allclose(jax.jit(softplus)(POINTS), expected, rtol=2e-7, atol=2e-7)


def test_the_derivative_of_softplus_is_the_logistic_function():
    with np.errstate(over="ignore"):
        expected = 1 / (1 + np.exp(-POINTS.astype(float)))
    slope = jax.jit(jax.vmap(jax.grad(softplus)))(POINTS)
    assert np.allclose(slope, expected, rtol=1e-6, atol=1e-7)
    assert float(jax.grad(softplus)(0.0)) == 0.5  # exactly: nothing special happens at the kink of |x|


# --- the residual network ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_in_single_precision_no_matrix_is_of_double():
    network = ResidualMLP(2, 8, 2, context=3, key=jax.random.key(0))
    arguments = np.array([0.3, -1.2]), np.array(0.7), np.ones(3)
    single = InSingle(network)(*(jnp.asarray(part) for part in arguments))
    with float64():
        told = [jnp.asarray(part) for part in arguments]
        program = str(jax.make_jaxpr(InSingle(network))(*told))
        assert "f64[8,8]" not in program and "f32[8,8]" in program and "f64[8]" not in program
        answer = InSingle(network)(*told)
    assert answer.dtype == np.float64
    np.testing.assert_array_equal(answer, single)
