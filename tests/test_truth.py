"""What is true of each shape: against the points that are drawn, against integrals, and as a sampler's oracle."""

import numpy as np
import pytest
from scipy import stats
from tests.reference import float64

import motes
from motes.data.shapes import SHAPES, distribution
from motes.data.tables import Standardiser
from motes.errors import UsageError
from motes.evaluation import sliced_w2
from motes.points.schedules import VarianceExploding
from motes.points.shape_truth import MOST_PAIRS, truth

each = pytest.mark.parametrize("name", SHAPES)
pytestmark = pytest.mark.optimised

CURVES = [name for name in SHAPES if name not in ("checkerboard", "eight_gaussians")]
N = 20_000


def cells(name, count, noise=None):
    """Midpoints of a count x count grid over all of a shape, and its edges."""
    low, high = box(name, noise)
    edges = [np.linspace(lo, hi, count + 1) for lo, hi in zip(low, high, strict=True)]
    x, y = ((e[1:] + e[:-1]) / 2 for e in edges)
    return np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2), edges


def box(name, noise, margin=6.0):
    this = distribution(name, noise)
    return this.lows.min(axis=0) - margin * this.spread, this.highs.max(axis=0) + margin * this.spread


# --- density, score, entropy ---------------------------------------------------------------------------------------


@pytest.mark.slow
@each
def test_the_density_integrates_to_1(name):
    # Steps below the noise, where a sum is the integral to many digits; a board without noise is cut along its lines.
    count = 320 if name == "swiss_roll" else 200
    x, (a, b) = cells(name, count)
    spread = distribution(name).spread
    assert spread == 0 or max(a[1] - a[0], b[1] - b[0]) < 1.1 * spread
    total = np.exp(truth(name).log_density(x)).sum() * (a[1] - a[0]) * (b[1] - b[0])
    assert abs(total - 1) < 1e-3


@pytest.mark.slow(only=["None-swiss_roll", "None-pinwheel", "None-checkerboard"])
@each
@pytest.mark.parametrize("noise", [None, 0.6])
def test_points_that_are_drawn_have_that_density(name, noise):
    bins, within, spread = 12, 25, distribution(name, noise).spread
    _, edges = cells(name, bins, noise)
    if spread:  # steps below the noise are enough
        within = int(np.ceil(max(edge[1] - edge[0] for edge in edges) / (1.1 * spread)))
    counts, *_ = np.histogram2d(*motes.make_shape(name, N, seed=11, noise=noise).T, bins=edges)
    # Each cell's share, by a rule of midpoints.
    fine, (a, b) = cells(name, bins * within, noise)
    density = np.exp(truth(name, noise=noise).log_density(fine)).reshape(bins, within, bins, within)
    expected = N * density.sum(axis=(1, 3)) * (a[1] - a[0]) * (b[1] - b[0])
    enough = expected > 5
    # The cells with few points are one.
    found = np.append(counts[enough], N - counts[enough].sum())
    expected = np.append(expected[enough], max(N - expected[enough].sum(), 1.0))
    statistic = np.sum((found - expected) ** 2 / expected)
    # A false alarm in 1e5, were the points independent; evenly spaced ones (moons, circles) alarm less still.
    assert stats.chi2.sf(statistic, len(found) - 1) > 1e-5


@pytest.mark.slow(but=["eight_gaussians", "moons"])
@each
def test_the_score_is_the_slope_of_the_log_density(name):
    exact = truth(name, noise=0.1 if name == "checkerboard" else None)
    x, h = motes.make_shape(name, 50, seed=2, noise=0.1), 1e-4 * exact.distribution.spread
    steps = h * np.eye(2)
    slope = np.stack([exact.log_density(x + s) - exact.log_density(x - s) for s in steps], axis=1) / (2 * h)
    score = exact.score(x)
    assert np.allclose(slope, score, rtol=1e-4, atol=1e-4 / exact.distribution.spread)


@pytest.mark.slow
@each
def test_the_entropy_is_the_mean_of_the_drawn_points_surprise(name):
    exact = truth(name)
    entropy = exact.entropy()
    surprise = -exact.log_density(exact.sample(N, seed=3))
    # Z = 5: a false alarm in 2e6 for each shape.
    assert abs(surprise.mean() - entropy.value) <= 5 * surprise.std() / np.sqrt(N) + entropy.error + 1e-12
    assert entropy.error < 1e-3


def test_entropies_that_are_known():
    # One blob and which of eight it is; apart by 15 standard deviations, the blobs hardly know of one another.
    value, error = truth("eight_gaussians", noise=0.1).entropy()
    assert abs(value - (np.log(8) + 1 + np.log(2 * np.pi * 0.01))) < error
    assert truth("checkerboard").entropy() == (pytest.approx(np.log(8), abs=1e-12), 0.0)


def test_where_a_grid_would_be_too_fine_monte_carlo_takes_over(monkeypatch):
    by_grid = truth("moons").entropy()
    monkeypatch.setattr("motes.points.shape_truth.MOST_PAIRS", MOST_PAIRS / 1e6)
    by_draws = truth("moons").entropy()
    assert by_draws.error > by_grid.error
    # The stated error is three standard errors: a false alarm in 370, of a fixed seed.
    assert abs(by_draws.value - by_grid.value) < by_draws.error + by_grid.error
    assert by_draws == truth("moons").entropy()


def test_a_board_without_noise_has_a_hard_edge():
    exact = truth("checkerboard")
    x = [[-1.5, -1.5], [-0.5, -1.5], [9.0, 9.0]]
    assert np.allclose(exact.log_density(x), [-np.log(8), -np.inf, -np.inf])
    assert np.array_equal(exact.score(x), [[0, 0], [np.nan] * 2, [np.nan] * 2], equal_nan=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", CURVES)
def test_the_quadrature_has_the_error_that_it_states(name, monkeypatch):
    x = np.concatenate([motes.make_shape(name, 300, seed=4), cells(name, 15)[0]])
    coarse = np.exp(truth(name).log_density(x))
    monkeypatch.setattr("motes.data.shapes.PANEL", 0.8)
    fine = np.exp(truth(name).log_density(x))
    assert np.abs(coarse - fine).max() < 1e-7 * fine.max()


# --- samples, labels, modes ----------------------------------------------------------------------------------------


@each
def test_samples_of_the_truth_are_like_the_drawn_points(name):
    a, b, c = (
        truth(name).sample(4000, seed=0),
        motes.make_shape(name, 4000, seed=1),
        motes.make_shape(name, 4000, seed=2),
    )
    assert sliced_w2(a, b) < 3 * sliced_w2(b, c) + 0.02
    assert np.array_equal(a, truth(name).sample(4000, seed=0))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["moons", "checkerboard", "eight_gaussians", "two_spirals"])
def test_the_likeliest_label_is_nearly_always_the_true_one(name):
    x, labels = motes.data.make_labelled_shape(name, 2000, seed=6)
    assert (truth(name).labels(x) == labels).mean() > 0.97


def test_modes_are_where_they_are():
    assert np.allclose(np.linalg.norm(truth("eight_gaussians").modes, axis=1), 2)
    x, labels = motes.data.make_labelled_shape("checkerboard", 5000)
    means = [x[labels == k].mean(axis=0) for k in range(8)]
    assert np.allclose(truth("checkerboard").modes, means, atol=0.1)
    assert truth("rings").modes is None


# --- the oracle ----------------------------------------------------------------------------------------------------


def test_the_oracle_is_in_standardised_units():
    for name in ("moons", "checkerboard"):
        exact = truth(name, noise=0.1)
        z_of = Standardiser(np.array([0.3, -0.2]), np.array([0.9, 0.5]))
        x = motes.make_shape(name, 30, noise=0.1)
        with float64():
            oracle = exact.oracle(VarianceExploding(), z_of)
            at_0 = oracle.rows(z_of.forward(x), 0.0)
            assert np.allclose(np.asarray(at_0.log_prob) + z_of.log_det(x), exact.log_density(x))
            assert np.allclose(np.asarray(at_0.score) / z_of.scale, exact.score(x))


# --- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*CURVES, "eight_gaussians"])
def test_a_shape_without_noise_has_no_density(name):
    with pytest.raises(UsageError, match=rf"'{name}'.*noise > 0"):
        truth(name, noise=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: truth("moon"), "Did you mean 'moons'"),
        (lambda: truth("moons", noise=-1), "noise"),
        (lambda: truth("swiss_roll", noise=1e-4), "nodes"),
        (lambda: truth("moons").log_density([1.0, 2.0]), "expected"),
        (lambda: truth("moons").score([[1.0, np.nan]]), "finite"),
        (lambda: truth("moons").sample(0), "at least 1"),
        (lambda: truth("swiss_roll").labels([[0.0, 0.0]]), "no natural classes"),
    ],
)
def test_what_cannot_be_answered_is_an_error(call, message):
    with pytest.raises(UsageError, match=message):
        call()
