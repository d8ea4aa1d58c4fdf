"""Exact denoisers against Bayes' rule summed up in NumPy, against one another, and at the ends of time."""

import subprocess
import sys
from contextlib import nullcontext

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp
from tests.reference import CENTRES, LOG_WEIGHTS, SCHEDULES, WIDTHS, ExactGaussian, ExactMixture, float64

from motes.points.exact import BoxesOracle, EmpiricalOracle, Exact, GaussianOracle, MixtureOracle, Oracle
from motes.points.schedules import VarianceExploding

VP, VE = SCHEDULES["linear"], SCHEDULES["exploding"]
both = pytest.mark.parametrize("schedule", [VP, VE], ids=["discrete", "exploding"])
RNG = np.random.default_rng(0)
POINTS = RNG.standard_normal((40, 2)) * [1.0, 0.5]
TILTED = np.array([[0.5, 0.3], [0.3, 0.4]])
COVARIANCES = np.array([TILTED, [[0.2, -0.1], [-0.1, 0.3]]])
MEANS = np.array([[0.5, -0.2], [-1.0, 0.8]])
LOWS, HIGHS = np.array([[-1.0, -0.5], [0.2, 0.1]]), np.array([[0.0, 0.3], [1.3, 0.9]])
SPREAD = np.array([0.2, 0.3])


def oracles(schedule) -> dict[str, Oracle]:
    return {
        "gaussian": GaussianOracle(MEANS[0], TILTED, schedule),
        "mixture": MixtureOracle([0.3, 0.7], MEANS, COVARIANCES, schedule),
        "blurred": EmpiricalOracle(POINTS, schedule, np.arange(1, 41), SPREAD),
        "empirical": EmpiricalOracle(POINTS, schedule),
        "boxes": BoxesOracle(LOWS, HIGHS, [1, 2], schedule, SPREAD),
        "sharp boxes": BoxesOracle(LOWS, HIGHS, [1, 2], schedule),
    }


@eqx.filter_jit
def at(oracle, x, t):
    """Everything an oracle says at x (n, d), and the gradient of its log-probability: one program for all t."""
    exact = jax.vmap(oracle.exact, (0, None))(x, t)
    return exact, jax.vmap(oracle.eps, (0, None))(x, t), jax.vmap(jax.grad(oracle.log_prob), (0, None))(x, t)


each = pytest.mark.parametrize("name", oracles(VP))


def assert_same(ours, theirs, **tolerance):
    for a, b, field in zip(ours, theirs, ours._fields, strict=True):
        np.testing.assert_allclose(a, b, err_msg=field, **tolerance)


# --- against Bayes' rule -------------------------------------------------------------------------------------------


def bayes(schedule, nodes, weights, x, t):
    """E[x_0 | x_t] and log q_t(x_t) for x (n, d) where x_0 sits on `nodes` (m, d) with `weights` (m,)."""
    alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
    log_joint = np.log(weights) + stats.norm.logpdf(x[:, None], alpha * nodes, sigma).sum(axis=2)  # (n, m)
    log_q = logsumexp(log_joint, axis=1)
    return np.exp(log_joint - log_q[:, None]) @ nodes, log_q


def cells(low, high, count=300):
    """Midpoints (count^2, 2) of a grid on a box, and the area of a cell."""
    sides = [lo + (hi - lo) * (np.arange(count) + 0.5) / count for lo, hi in zip(low, high, strict=True)]
    return np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 2), np.prod((high - low) / count)


def prior(name):
    """Nodes and weights of a fine quadrature of the data's distribution, from SciPy's densities."""
    if name == "sharp boxes":
        parts = [cells(low, high) for low, high in zip(LOWS, HIGHS, strict=True)]
        weights = np.repeat([1 / 3, 2 / 3], 300**2) / 300**2
        return np.concatenate([nodes for nodes, _ in parts]), weights
    cdf = stats.norm.cdf
    nodes, area = cells(np.array([-6.0, -6.0]), np.array([6.0, 6.0]))
    match name:
        case "gaussian":
            density = stats.multivariate_normal(MEANS[0], TILTED).pdf(nodes)
        case "mixture":
            density = sum(
                w * stats.multivariate_normal(m, c).pdf(nodes)
                for w, m, c in zip([0.3, 0.7], MEANS, COVARIANCES, strict=True)
            )
        case "boxes":
            density = sum(
                w * np.prod((cdf((nodes - lo) / SPREAD) - cdf((nodes - hi) / SPREAD)) / (hi - lo), axis=1)
                for w, lo, hi in zip([1 / 3, 2 / 3], LOWS, HIGHS, strict=True)
            )
    keep = density > 1e-30
    return nodes[keep], density[keep] * area


@pytest.mark.slow(but=["sharp boxes-exploding"])
@both
@pytest.mark.parametrize("name", ["gaussian", "mixture", "boxes", "sharp boxes"])
def test_bayes_rule_summed_over_a_grid_agrees(name, schedule):
    nodes, weights = prior(name)
    x = np.array([[0.3, -0.2], [-2.0, 1.0], [1.5, 2.5]])
    with float64():
        oracle = oracles(schedule)[name]
        for t in [0.7, 1.0]:
            ours = oracle.rows(x, t)
            x0, log_q = bayes(schedule, nodes, weights, x, t)
            # A midpoint rule at a sharp edge is off by a 24th of a squared cell, 1e-5 or so of the answer.
            np.testing.assert_allclose(ours.x0, x0, atol=1e-4 if "sharp" in name else 1e-8)
            np.testing.assert_allclose(ours.log_prob, log_q, atol=1e-4 if "sharp" in name else 1e-8)


@both
def test_a_finite_data_set_is_bayes_rule_itself(schedule):
    x = RNG.standard_normal((5, 2)) * 2
    with float64():
        for t in [0.05, 0.4, 1.0]:
            weights = np.arange(1.0, 41)
            oracle = EmpiricalOracle(POINTS, schedule, weights)
            ours, (x0, log_q) = oracle.rows(x, t), bayes(schedule, POINTS, weights / weights.sum(), x, t)
            np.testing.assert_allclose(ours.x0, x0, rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(ours.log_prob, log_q, rtol=1e-9)


@pytest.mark.slow
@both
def test_the_denoisers_of_the_other_tests_agree(schedule):
    x = jnp.array([0.4, -1.1])
    with float64():
        for t in [0.1, 0.5, 1.0]:
            ours = eqx.filter_jit(GaussianOracle([0.5, 0.5], 0.49 * np.eye(2), schedule))(x, t)
            np.testing.assert_allclose(ours, ExactGaussian(schedule, 0.5, 0.7)(x, t), rtol=1e-9)
            mixture = MixtureOracle(np.exp(LOG_WEIGHTS), CENTRES, WIDTHS[:, None, None] ** 2 * np.eye(2), schedule)
            np.testing.assert_allclose(eqx.filter_jit(mixture)(x, t), ExactMixture(schedule)(x, t), rtol=1e-6)


# --- against one another -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_special_cases_of_one_another_agree():
    schedule = VP
    x = RNG.standard_normal((6, 2)) * 2
    diagonal = np.diag(SPREAD**2)
    pairs = [
        (GaussianOracle(MEANS[0], TILTED, schedule), MixtureOracle([2.0], MEANS[:1], TILTED[None], schedule)),
        (
            EmpiricalOracle(POINTS, schedule, spread=SPREAD),
            MixtureOracle(np.ones(40), POINTS, np.broadcast_to(diagonal, (40, 2, 2)), schedule),
        ),
        (GaussianOracle(MEANS[0], diagonal, schedule), EmpiricalOracle(MEANS[:1], schedule, spread=SPREAD)),
        (EmpiricalOracle(POINTS, schedule), EmpiricalOracle(POINTS, schedule, spread=[0.0, 0.0])),
        # A box too small to be told from a point.
        (
            GaussianOracle(MEANS[0], diagonal, schedule),
            BoxesOracle(MEANS[:1] - 1e-6, MEANS[:1] + 1e-6, None, schedule, SPREAD),
        ),
        # A box cut in two.
        (
            BoxesOracle([[-1, 0]], [[2, 1]], None, schedule, SPREAD),
            BoxesOracle([[-1, 0], [0, 0]], [[0, 1], [2, 1]], [1, 2], schedule, SPREAD),
        ),
    ]
    with float64():
        for one, other in pairs:
            for t in [0.02, 0.5, 1.0]:
                assert_same(one.rows(x, t), other.rows(x, t), rtol=1e-8, atol=1e-8)


@pytest.mark.slow
@each
def test_float32_keeps_what_float64_has(name):
    schedule = VE
    oracle, x = oracles(schedule)[name], RNG.standard_normal((50, 2))
    for t in [0.1, 0.3, 0.7, 1.0]:
        single = oracle.rows(x.astype(np.float32), t)
        with float64():
            double = Exact(*map(np.asarray, oracle.rows(x.astype(np.float32), t)))
        scale = float(schedule.sigma(t)) or 1.0
        np.testing.assert_allclose(single.x0, double.x0, atol=1e-4)
        np.testing.assert_allclose(single.score * scale, double.score * scale, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(single.log_prob, double.log_prob, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_blocks_and_the_order_of_atoms_change_nothing(monkeypatch):
    x = RNG.standard_normal((5, 3))
    atoms, weights = RNG.standard_normal((1001, 3)), RNG.random(1001)
    weights[::10] = 0  # these do not count, wherever they fall
    order = RNG.permutation(1001)
    with float64():
        whole = EmpiricalOracle(atoms, VP, weights)
        for block, rows, factor in ((64, slice(None), 1), (1, slice(None), 3), (100, order, 1)):
            monkeypatch.setattr("motes.points.exact.ATOMS", block)
            other = EmpiricalOracle(atoms[rows], VP, factor * weights[rows])
            for t in [0.01, 0.5]:
                assert_same(whole.rows(x, t), other.rows(x, t), rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_a_row_does_not_depend_on_the_rows_beside_it():
    oracle = EmpiricalOracle(POINTS, VP)
    x = RNG.standard_normal((2500, 2)).astype(np.float32)
    assert_same(oracle.rows(x[2100:2101], 0.3), [part[2100:2101] for part in oracle.rows(x, 0.3)], rtol=1e-6)


# --- one truth, said four ways -------------------------------------------------------------------------------------


@pytest.mark.slow
@each
def test_score_gradient_tweedies_formula_and_noise_are_one_truth(name):
    schedule = VP  # its alpha_t is not 1
    x = np.concatenate([RNG.standard_normal((6, 2)), RNG.standard_normal((3, 2)) * 30])
    with float64():
        oracle, x = oracles(schedule)[name], jnp.asarray(x)
        for t in [0.01, 0.2, 0.6, 1.0]:
            exact, eps, gradient = at(oracle, x, jnp.asarray(t))
            np.testing.assert_allclose(gradient, exact.score, rtol=1e-6, atol=1e-9)
            if t > 0.5:  # not so early that the formulas lose their digits
                alpha, sigma = schedule.alpha(t), schedule.sigma(t)
                np.testing.assert_allclose((x + sigma**2 * exact.score) / alpha, exact.x0, atol=1e-9)
                np.testing.assert_allclose((x - alpha * exact.x0) / sigma, eps, rtol=1e-6)


@eqx.filter_jit
def variances(oracle, kind, x, t):
    return jax.vmap(kind.variance, (None, 0, None))(oracle, jnp.asarray(x, float), t)


@both
@pytest.mark.parametrize("name", ["blurred", "empirical"])
def test_the_variance_by_moments_is_the_derivative_of_the_score(name, schedule):
    x = jnp.asarray(RNG.standard_normal((6, 2)) * 1.5)
    with float64():
        oracle = oracles(schedule)[name]
        for t in jnp.array([0.05, 0.4, 1.0]):
            moments, derivative = (variances(oracle, kind, x, t) for kind in (EmpiricalOracle, Oracle))
            np.testing.assert_allclose(moments, derivative, rtol=1e-6, atol=1e-12)


@both
def test_the_variance_keeps_its_digits_in_float32_where_there_is_little_noise(schedule):
    # What a noise of 1e-3 leaves open of data that is smooth at that scale is its square.
    t = schedule.t_of_log_snr(jnp.asarray(-2 * np.log(1e-3)))
    found = variances(oracles(schedule)["blurred"], EmpiricalOracle, jnp.asarray(POINTS[:5], float), t)
    np.testing.assert_allclose(found, 1e-6, rtol=2e-3)


# --- the ends of time, and far away --------------------------------------------------------------------------------


@pytest.mark.slow
@each
@pytest.mark.parametrize(
    ("schedule", "double"),
    [(VP, True), (VarianceExploding(80.0), False)],
    ids=["float64", "float32"],
)
def test_everything_is_finite_everywhere(name, schedule, double):
    x = np.array([[0, 0], [0.2, 0.1], [1e3, 0], [-1e3, 1e3], [0, 1e-20], POINTS[3]], dtype=np.float32)
    with float64() if double else nullcontext():
        oracle = oracles(schedule)[name]
        for t in [0.0, 1e-6, 1e-3, 0.01, 0.1, 0.5, 0.999, 1.0]:
            exact, eps, gradient = at(oracle, jnp.asarray(x), jnp.asarray(t))
            assert all(np.isfinite(part).all() for part in (*exact, eps, gradient)), t
            # And stays in reach: no blur that wide, no answer beyond the data and the point.
            assert (np.abs(exact.x0) <= np.abs(x).max(axis=1, keepdims=True) + 3).all(), t


@pytest.mark.parametrize("name", ["gaussian", "mixture", "blurred", "boxes"])
def test_at_time_0_a_full_support_gives_the_point_back(name):
    x = RNG.standard_normal((20, 2))
    np.testing.assert_allclose(oracles(VP)[name].rows(x, 0.0).x0, x, atol=1e-5)


def test_at_time_0_a_density_is_the_datas():
    x = RNG.standard_normal((20, 2))
    with float64():
        ours = oracles(VP)["gaussian"].rows(x, 0.0).log_prob
        np.testing.assert_allclose(ours, stats.multivariate_normal(MEANS[0], TILTED).logpdf(x), rtol=1e-9)
        inside = oracles(VE)["sharp boxes"].rows([[-0.5, 0.0], [0.7, 0.5]], 0.0)
        np.testing.assert_allclose(inside.log_prob, np.log([1 / 3 / 0.8, 2 / 3 / 0.88]), rtol=1e-9)
        np.testing.assert_allclose(inside.score, 0, atol=1e-9)


def test_at_time_0_atoms_and_boxes_give_their_nearest_point():
    x = RNG.standard_normal((30, 2)) * 2
    nearest = POINTS[np.argmin(((x[:, None] - POINTS) ** 2).sum(axis=2), axis=1)]
    for t in [0.0, 1e-6]:
        np.testing.assert_allclose(oracles(VP)["empirical"].rows(x, t).x0, nearest, atol=1e-6)
    inside = np.clip(x[:, None], LOWS, HIGHS)  # (n, m, 2)
    which = np.argmin(((x[:, None] - inside) ** 2).sum(axis=2), axis=1)
    np.testing.assert_allclose(oracles(VP)["sharp boxes"].rows(x, 0.0).x0, inside[np.arange(30), which], atol=1e-5)


# --- size ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_a_hundred_thousand_atoms_fit_in_a_gibibyte():
    code = (
        "import numpy as np\n"
        "from motes.points.exact import EmpiricalOracle\n"
        "from motes.points.schedules import VarianceExploding\n"
        "rng = np.random.default_rng(0)\n"
        "oracle = EmpiricalOracle(rng.standard_normal((100_000, 2)), VarianceExploding())\n"
        "assert np.isfinite(oracle.rows(rng.standard_normal((3_000, 2)), 0.4).x0).all()\n"
        # Not getrusage, which counts what the parent held when it forked.
        "print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    run = subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, capture_output=True, text=True)
    assert int(run.stdout) < 2**20  # KiB


# --- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianOracle([0, 0], np.eye(3), VP), "expected"),
        (lambda: GaussianOracle([0, 0], [[1, 0.5], [0, 1]], VP), "symmetric"),
        (lambda: GaussianOracle([0, 0], [[1, 2], [2, 1]], VP), "eigenvalue"),
        (lambda: MixtureOracle([1, 0], MEANS, COVARIANCES, VP), "above 0"),
        (lambda: MixtureOracle([1], MEANS, COVARIANCES, VP), "expected"),
        (lambda: MixtureOracle([1, 1], MEANS, TILTED, VP), "expected"),
        (lambda: EmpiricalOracle([1.0, 2.0], VP), "expected"),
        (lambda: EmpiricalOracle([[1.0, np.nan]], VP), "finite"),
        (lambda: EmpiricalOracle(POINTS, VP, spread=0.1), "standard deviations"),
        (lambda: EmpiricalOracle(POINTS, VP, weights=np.zeros(40)), "not all 0"),
        (lambda: BoxesOracle(HIGHS, LOWS, None, VP), "corner"),
        (lambda: BoxesOracle(LOWS, HIGHS[:1], None, VP), "expected"),
        (lambda: oracles(VP)["boxes"].rows([0.0, 0.0], 0.1), "expected"),
    ],
)
def test_parameters_that_make_no_law_are_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()
