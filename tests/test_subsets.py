"""A model trained with masks, told any of the 62 proper subsets of six columns, against the exact conditional laws."""

import itertools

import numpy as np
import pytest
from scipy import stats
from tests.reference import Z

from motes.build import build_draw, seed_key
from motes.diffusion.denoiser import Cells, Given
from motes.sampling.loop import sample
from motes.table_fitting import fit_table

D, DRAWS, ROWS = 6, 499, 4
SUBSETS = np.array([np.isin(np.arange(D), s) for r in range(1, D) for s in itertools.combinations(range(D), r)])
WEIGHTS = np.array([0.5, 0.3, 0.2])
RNG = np.random.default_rng(11)
MEANS = 1.5 * RNG.standard_normal((3, D))
ROOTS = RNG.standard_normal((3, D, D)) / np.sqrt(D)
COVARIANCES = ROOTS @ ROOTS.swapaxes(1, 2) + 0.3 * np.eye(D)


def rows_of(n, seed):
    rng = np.random.default_rng(seed)
    which = rng.choice(3, n, p=WEIGHTS)
    return MEANS[which] + np.einsum("nij,nj->ni", np.linalg.cholesky(COVARIANCES)[which], rng.standard_normal((n, D)))


def given(x, known):
    """Exact mean and covariance of the other cells."""
    log_p, means, covariances = [], [], []
    for weight, mean, c in zip(WEIGHTS, MEANS, COVARIANCES, strict=True):
        gain = c[np.ix_(~known, known)] @ np.linalg.inv(c[np.ix_(known, known)])
        law = stats.multivariate_normal(mean[known], c[np.ix_(known, known)])
        log_p.append(np.log(weight) + law.logpdf(x[known]))
        means.append(mean[~known] + gain @ (x - mean)[known])
        covariances.append(c[np.ix_(~known, ~known)] - gain @ c[np.ix_(known, ~known)])
    share = np.exp(log_p - np.logaddexp.reduce(log_p))
    mean = share @ np.array(means)
    away = np.array(means) - mean
    return mean, np.einsum("k,kij->ij", share, np.array(covariances)) + (share * away.T) @ away


@pytest.fixture(scope="module")
def drawn():
    """Four rows in the 62 ways, 499 draws each, (62, 4, 499, d), of a model that was trained for some seconds."""
    changes = {"training.steps": 100, "training.validation": 0.0, "training.ema": 0.9, "network.width": 16}
    model = fit_table(rows_of(20_000, 1), changes=changes, seed=1)
    x, units = rows_of(ROWS, 3), model.encoder.standardiser
    known = np.repeat(SUBSETS, ROWS * DRAWS, axis=0)
    z = np.where(known, np.tile(np.repeat(units.forward(x), DRAWS, axis=0), (len(SUBSETS), 1)), 0.0)
    sampler, grid = build_draw(model.recipe)
    told = Given(cells=Cells(z, known, np.zeros_like(known)))
    made, _ = sample(
        model.model.denoiser, len(z), D, key=seed_key(4, "subsets"), sampler=sampler, grid=grid, given=told
    )
    return x, units.inverse(made).reshape(len(SUBSETS), ROWS, DRAWS, D)


def test_of_every_subset_means_and_covariances_are_within_5_per_cent(drawn):
    x, made = drawn
    found = np.zeros((len(SUBSETS), 2))
    for i, known in enumerate(SUBSETS):
        for row, draws in zip(x, made[i][:, :, ~known], strict=True):
            mean, covariance = given(row, known)
            away = draws - draws.mean(axis=0)
            products = np.einsum("ni,nj->nij", away, away)
            # Squares of the errors, less what chance alone adds to them.
            of_mean = (draws.mean(axis=0) - mean) ** 2 - draws.var(axis=0) / DRAWS
            of_covariance = (products.mean(axis=0) - covariance) ** 2 - products.var(axis=0) / DRAWS
            found[i] += [
                np.mean(of_mean / np.diag(covariance)) / ROWS,
                of_covariance.sum() / (covariance**2).sum() / ROWS,
            ]
    # A sum of k squares of normal numbers is known to sqrt(2 k); here k is 1 at least for each row.
    chance = np.array([1.0, 2.0]) * np.sqrt(2 / ROWS) / DRAWS
    assert (found < 0.05**2 + Z * chance).all()
    assert (found.mean(axis=0) < 0.04**2).all()


def test_intervals_cover_the_truth_as_often_as_they_say(drawn):
    """Fresh rows of the exact conditional laws, among the draws of a model that was told the same."""
    x, made = drawn
    rng, inside = np.random.default_rng(6), []
    for i, known in enumerate(SUBSETS):
        for row, draws in zip(x, made[i][:, :, ~known], strict=True):
            log_p = [
                np.log(w) + stats.multivariate_normal(m[known], c[np.ix_(known, known)]).logpdf(row[known])
                for w, m, c in zip(WEIGHTS, MEANS, COVARIANCES, strict=True)
            ]
            k = rng.choice(3, size=20, p=np.exp(log_p - np.logaddexp.reduce(log_p)))
            for one in k:
                c = COVARIANCES[one]
                gain = c[np.ix_(~known, known)] @ np.linalg.inv(c[np.ix_(known, known)])
                rest = c[np.ix_(~known, ~known)] - gain @ c[np.ix_(known, ~known)]
                truth = rng.multivariate_normal(MEANS[one][~known] + gain @ (row - MEANS[one])[known], rest)
                places = (draws < truth).sum(axis=0)  # uniform on 0 ... 499
                inside.append((places >= 25) & (places < 475))
    covered = np.concatenate(inside)
    assert len(covered) > 10_000
    assert abs(covered.mean() - 0.9) < 0.02
