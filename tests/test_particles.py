"""Conditional draws by weighted particles, against the exact conditional distributions of Gaussians and mixtures of
them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from tests.reference import Z

from motes.errors import UsageError
from motes.points import Denoiser, Given, KarrasGrid, UniformGrid, conditional_rows, conditional_sample
from motes.points.exact import GaussianOracle, LabelledOracle, MixtureOracle
from motes.points.schedules import CosineBetas, Schedule, VarianceExploding

pytestmark = pytest.mark.optimised

D, PARTICLES = 6, 128
VE = VarianceExploding(80.0, 7.0)
GRID = KarrasGrid(32, 0.01)(VE)
COSINE = CosineBetas(50).schedule()
SHORT = KarrasGrid(8, 0.01)(VE)  # a Gaussian distribution is exact on any grid
SUBSETS = np.array([[i >> j & 1 for j in range(D)] for i in range(1, 2**D - 1)], bool)  # all 62 that are proper
INF = np.inf


def correlations(rng):
    a = rng.standard_normal((D, D))
    c = a @ a.T
    return c / np.sqrt(np.outer(np.diag(c), np.diag(c)))


class Mixture(NamedTuple):
    """A distribution with everything in closed form."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    def draw(self, n, rng):
        which = rng.choice(len(self.weights), size=n, p=self.weights)
        return np.array([rng.multivariate_normal(self.means[k], self.covariances[k]) for k in which])

    def given(self, x, known):
        """Log-density of the known entries; mean and covariance of the others."""
        if known.all():
            raise ValueError("nothing is left")
        block = lambda c, i, j: c[np.ix_(i, j)]
        log_p, means, covariances = [], [], []
        for w, m, c in zip(*self, strict=True):
            gain = block(c, ~known, known) @ np.linalg.inv(block(c, known, known))
            log_p.append(np.log(w) + stats.multivariate_normal(m[known], block(c, known, known)).logpdf(x[known]))
            means.append(m[~known] + gain @ (x[known] - m[known]))
            covariances.append(block(c, ~known, ~known) - gain @ block(c, known, ~known))
        total = np.logaddexp.reduce(log_p)
        share, means = np.exp(log_p - total), np.array(means)
        mean = share @ means
        away = means - mean
        return total, mean, np.einsum("k,kij->ij", share, np.array(covariances)) + (share * away.T) @ away


def standardised_mixture(seed):
    rng = np.random.default_rng(seed)
    weights, means = np.array([0.5, 0.3, 0.2]), rng.standard_normal((3, D))
    covariances = np.array([rng.uniform(0.15, 0.4) * correlations(rng) for _ in weights])
    away = means - weights @ means
    std = np.sqrt(np.einsum("k,kii->i", weights, covariances) + weights @ away**2)
    return Mixture(weights, away / std, covariances / np.outer(std, std))


MIXTURE = standardised_mixture(0)
GAUSSIAN = Mixture(np.ones(1), np.full((1, D), 0.2), correlations(np.random.default_rng(1))[None])
MEAN, COVARIANCE = GAUSSIAN.means[0], GAUSSIAN.covariances[0]
MIXED = MixtureOracle(*MIXTURE, VE)
NORMAL = GaussianOracle(MEAN, COVARIANCE, VE)


def whitened(gaussian, x, known, rows):
    """The unknown cells of `rows` (k, d), so that exact draws have mean 0 and covariance 1."""
    _, mean, covariance = gaussian.given(x, known)
    return np.linalg.solve(np.linalg.cholesky(covariance), (rows[:, ~known] - mean).T).T


def assert_white(white, tolerance):
    """Mean 0 and covariance 1 up to `tolerance` and chance, Z standard errors of each."""
    n, d = white.shape
    assert (np.abs(white.mean(axis=0)) < tolerance + Z / np.sqrt(n)).all()
    products = np.einsum("ni,nj->nij", white, white)
    assert (np.abs(products.mean(axis=0) - np.eye(d)) < tolerance + Z * products.std(axis=0) / np.sqrt(n)).all()


# --- known entries: every subset --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_of_a_gaussian_every_subset_has_its_conditional_law_and_no_particle_is_lost():
    rng, repeats = np.random.default_rng(2), 8
    known = np.tile(SUBSETS, (repeats, 1))
    x = GAUSSIAN.draw(len(SUBSETS), rng)[np.tile(np.arange(len(SUBSETS)), repeats)]
    rows, ess = conditional_rows(
        NORMAL, x, known, key=jax.random.key(3), grid=SHORT, draws=PARTICLES, particles=PARTICLES
    )
    assert (ess > 0.99 * PARTICLES).all()
    whites = [
        whitened(GAUSSIAN, x[i], subset, rows[i :: len(SUBSETS)].reshape(-1, D)) for i, subset in enumerate(SUBSETS)
    ]
    for white in whites:
        assert_white(white, 0.0)
    # All together: 190,000 numbers, so that an error of 1 per cent that all had in common would be seen.
    white = np.concatenate([white.ravel() for white in whites])
    assert abs(white.mean()) < Z / np.sqrt(len(white))
    assert abs(white.std() - 1) < Z / np.sqrt(2 * len(white))


def test_rows_with_the_same_known_cells_are_drawn_independently():
    known = np.tile(np.arange(D) < 2, (4, 1))
    rows, _ = conditional_rows(
        NORMAL, np.tile(MEAN, (4, 1)), known, key=jax.random.key(3), grid=SHORT, draws=PARTICLES, particles=PARTICLES
    )
    white = np.stack([whitened(GAUSSIAN, MEAN, known[0], of_row).ravel() for of_row in rows])
    assert np.abs(np.corrcoef(white) - np.eye(4)).max() < Z / np.sqrt(white.shape[1])


class Drawn(NamedTuple):
    x: np.ndarray
    known: np.ndarray
    rows: np.ndarray
    ess: np.ndarray


@pytest.fixture(scope="module")
def drawn():
    """Eight rows of the mixture for each of the 62 subsets, with 128 draws of each."""
    known = np.tile(SUBSETS, (8, 1))
    x = MIXTURE.draw(len(known), np.random.default_rng(4))
    found = conditional_rows(MIXED, x, known, key=jax.random.key(5), grid=GRID, draws=PARTICLES, particles=PARTICLES)
    return Drawn(x, known, *found)


@pytest.mark.slow
def test_of_a_mixture_every_subset_has_its_conditional_law_within_5_per_cent_and_chance(drawn):
    for i, subset in enumerate(SUBSETS):
        places = range(i, len(drawn.x), len(SUBSETS))
        white = [whitened(MIXTURE, drawn.x[j], subset, drawn.rows[j]) for j in places]
        assert_white(np.concatenate(white), 0.05)
    every = [whitened(MIXTURE, *row).ravel() for row in zip(drawn.x, drawn.known, drawn.rows, strict=True)]
    white = np.concatenate(every)
    n = drawn.ess.sum()  # no more than that is independent from row to row, and little of it within a row
    assert abs(white.mean()) < 0.01 + Z / np.sqrt(n)
    assert abs(white.std() - 1) < 0.02 + Z / np.sqrt(2 * n)


@pytest.mark.slow
def test_known_cells_come_back_bit_for_bit(drawn):
    shown = np.broadcast_to(drawn.x[:, None], drawn.rows.shape)
    mask = np.broadcast_to(drawn.known[:, None], drawn.rows.shape)
    assert drawn.rows.dtype == np.float64
    np.testing.assert_array_equal(drawn.rows[mask], shown[mask])
    assert np.isfinite(drawn.rows).all()
    x = drawn.x[:2].astype(np.float32)
    rows, _ = conditional_rows(
        MIXED, x, drawn.known[:2], key=jax.random.key(0), grid=GRID, draws=PARTICLES, particles=PARTICLES
    )
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows[mask[:2]], np.broadcast_to(x[:, None], rows.shape)[mask[:2]])


@pytest.mark.slow
def test_a_row_does_not_depend_on_its_neighbours(drawn):
    options = {"grid": GRID, "draws": PARTICLES, "particles": PARTICLES, "key": jax.random.key(5)}
    rows, ess = conditional_rows(MIXED, drawn.x[:20], drawn.known[:20], **options)
    np.testing.assert_array_equal(rows, drawn.rows[:20])
    np.testing.assert_array_equal(ess, drawn.ess[:20])


@pytest.mark.slow
def test_the_sample_size_that_is_told_is_the_one_that_the_means_have():
    # At twice a likely row few particles are left to tell, though in the end nearly all weigh the same.
    known, likely, found = np.array([1, 1, 0, 1, 1, 0], bool), MIXTURE.draw(1, np.random.default_rng(7))[0], []
    for x in (likely, 2 * likely):
        repeats = np.tile(x, (64, 1)), np.tile(known, (64, 1))
        options = {"key": jax.random.key(7), "grid": GRID, "draws": PARTICLES, "particles": PARTICLES}
        rows, ess = conditional_rows(MIXED, *repeats, **options)
        rows = rows[:, :, ~known]
        # A variance of 64 means is known to within 18 per cent.
        actual = rows.var(axis=(0, 1)) / rows.mean(axis=1).var(axis=0)
        assert actual.min() / 2 < np.median(ess) < 2 * actual.min()
        found.append(np.median(ess))
    assert found[1] < found[0] / 3


# --- boxes -----------------------------------------------------------------------------------------------------------

N = 4096


def of_box(low, high, denoiser=NORMAL, grid=SHORT, n=N, **more):
    return conditional_sample(denoiser, (low, high), n, key=jax.random.key(8), grid=grid, **more)


def on(column, low, high):
    lows, highs = np.full(D, -INF), np.full(D, INF)
    lows[column], highs[column] = low, high
    return lows, highs


@pytest.mark.slow(but=["-1.0-0.5", "1.0-inf"])
@pytest.mark.parametrize(
    ("a", "b"), [(-1.0, 0.5), (1.0, INF), (-INF, -2.0), (6.0, INF), (1.0, 1.01), (-INF, 5.0), (30.0, 31.0)]
)
def test_a_gaussian_in_an_interval_is_a_truncated_gaussian(a, b):
    column, std = 2, np.sqrt(COVARIANCE[2, 2])
    low, high = MEAN[column] + std * a, MEAN[column] + std * b
    found = of_box(*on(column, low, high))
    x = found.rows[:, column]
    assert ((low <= x) & (x <= high)).all()
    assert found.ess > 0.6 * N  # of 30 standard deviations; all but 2 per cent within 1
    cut = stats.truncnorm(a, b, MEAN[column], std)
    assert abs(x.mean() - cut.mean()) < Z * cut.std() / np.sqrt(N) + 1e-6
    spread = np.sqrt((cut.stats("k") + 2) / N)
    assert abs(x.var() / cut.var() - 1) < Z * spread + 1e-3
    # The others follow by regression.
    slope = COVARIANCE[column] / COVARIANCE[column, column]
    mean = MEAN + slope * (cut.mean() - MEAN[column])
    variance = np.diag(COVARIANCE) + slope**2 * (cut.var() - COVARIANCE[column, column])
    assert (np.abs(found.rows.mean(axis=0) - mean) < Z * np.sqrt(variance / N) + 1e-6).all()
    log_p = np.log(stats.norm.cdf(b) - stats.norm.cdf(a)) if a < 5 else stats.norm.logsf(a)
    assert abs(found.log_evidence - log_p) < 0.01 + 1e-4 * abs(log_p)


@pytest.mark.slow
def test_several_intervals_of_correlated_columns_beside_a_known_one():
    low, high = np.full(D, -INF), np.full(D, INF)
    low[0], high[0], high[2], low[4], low[5], high[5] = 0.8, 2.0, -0.3, 0.4, -0.5, -0.5
    found = of_box(low, high)
    known = np.arange(D) == 5
    log_p, mean, covariance = GAUSSIAN.given(low, known)
    every = np.random.default_rng(9).multivariate_normal(mean, covariance, 1_000_000)
    exact = every[((low[~known] <= every) & (every <= high[~known])).all(axis=1)]
    assert len(exact) > 2000
    x, std = found.rows[:, ~known], exact.std(axis=0)
    chance = Z * np.sqrt(1 / len(exact) + 1 / found.ess)
    assert ((low <= found.rows) & (found.rows <= high)).all()
    assert (np.abs(x.mean(axis=0) - exact.mean(axis=0)) < chance * std).all()
    assert (np.abs(x.std(axis=0) / std - 1) < chance).all()
    assert abs(found.log_evidence - log_p - np.log(len(exact) / len(every))) < 5 / np.sqrt(len(exact)) + 0.05


@pytest.mark.slow
def test_populations_count_by_their_evidence():
    """Of two particles each: if all counted alike, a mean would be off by 0.23 standard deviations."""
    low, high = np.full(D, -INF), np.full(D, INF)
    low[0], high[0], high[2], low[4] = 0.8, 2.0, -0.3, 0.4
    every = MIXTURE.draw(400_000, np.random.default_rng(3))
    exact = every[((low <= every) & (every <= high)).all(axis=1)]
    found = of_box(low, high, MIXED, GRID, n=8192, particles=2)
    chance = Z * np.sqrt(1 / len(exact) + 1 / found.ess)
    assert (np.abs(found.rows.mean(axis=0) - exact.mean(axis=0)) < chance * exact.std(axis=0)).all()


class Broken(Denoiser):
    """Answers with no numbers."""

    schedule: Schedule

    def __call__(self, x_t, t):
        return jnp.full_like(x_t, jnp.nan)


@pytest.mark.slow
def test_where_no_particle_survives_it_is_an_error():
    options = {"key": jax.random.key(0), "grid": jnp.array([1.0, 0.5, 0.0]), "particles": 4}
    with pytest.raises(UsageError, match="none of 8 particles survived"):
        conditional_sample(Broken(VE), ([1.0, -INF], [1.0, INF]), 5, **options)
    with pytest.raises(UsageError, match="none of 4 particles survived for row 0"):
        conditional_rows(Broken(VE), np.ones((1, 2)), np.array([[True, False]]), **options)


# --- classes ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_rows_of_a_class_are_drawn_from_its_distribution():
    # On the steps of a discrete schedule, which ends in a little less noise.
    classes = LabelledOracle([GaussianOracle(MEAN + away, COVARIANCE, COSINE) for away in (-2.0, 0.0)], [0.7, 0.3])
    low, high = on(2, 0.5, INF)
    found = of_box(low, high, denoiser=classes, grid=UniformGrid(10)(VE), given=Given(np.int32(1)))
    alone = of_box(low, high)
    std = alone.rows.std(axis=0)
    assert (np.abs(found.rows.mean(axis=0) - alone.rows.mean(axis=0)) < Z * std * np.sqrt(2 / N)).all()
    assert (np.abs(found.rows.std(axis=0) / std - 1) < 2 * Z / np.sqrt(N)).all()
    assert abs(found.log_evidence - alone.log_evidence) < 0.02


# --- misuse ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "message"),
    [
        ([0.0, 1.0], [0.0, 0.5], "column 1: got 1 to 0.5"),
        ([0.0, np.nan], [0.0, np.nan], "column 1: got nan"),
        ([INF, 0.0], [INF, 0.0], "column 0: got inf"),
        ([0.0], [0.0, 1.0], "shapes"),
        ([[0.0, 1.0]], [[0.0, 1.0]], "the bounds of one row"),
    ],
)
def test_a_box_that_is_none_is_an_error(low, high, message):
    with pytest.raises(UsageError, match=message):
        of_box(low, high)


def test_other_misfits_are_told():
    low, high = on(0, 0.0, 1.0)
    for options, message in (({"n": 0}, "n = 0 rows"), ({"particles": 1}, "particles = 1")):
        with pytest.raises(UsageError, match=message):
            of_box(low, high, **options)
    with pytest.raises(ValueError, match="grid"):
        of_box(low, high, grid=jnp.array([1.0, 0.5]))
    fill = lambda values, known, **more: conditional_rows(
        NORMAL, values, known, key=jax.random.key(0), grid=SHORT, **more
    )
    with pytest.raises(UsageError, match="of type bool"):
        fill(np.ones((2, D)), np.ones((2, D)))
    with pytest.raises(UsageError, match="draws = 9; expected at most the number of particles"):
        fill(np.ones((2, D)), np.ones((2, D), bool), draws=9, particles=8)
