"""Mixtures of rows with missing cells."""

import numpy as np
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from motes.learning.choice import choose
from motes.learning.evidence import Evidence
from motes.learning.gaps import Components, filled, improved
from motes.learning.mixture import Choice, Mixture

RNG = np.random.default_rng(0)
BEGIN = Components(
    np.array([0.7, 0.3]),
    np.array([[0.0, 0.0, 0.0], [1.0, -1.0, 0.5]]),
    np.stack([np.eye(3) + 0.3, np.diag([0.5, 1.0, 2.0])]),
)


def holed(n, share, seed):
    """Rows of two components, and which of their cells are known; at least one of each row."""
    rng = np.random.default_rng(seed)
    which = rng.random(n) < 0.4
    x = rng.standard_normal((n, 3)) @ np.array([[1.0, 0.9, 0.3], [0, 0.3, 0.5], [0, 0, 0.4]]) + 3.0 * which[:, None]
    present = rng.random(x.shape) > share
    present[np.arange(n), rng.integers(3, size=n)] = True
    return x, present


def one_row(x, known, parts):
    """The log-likelihood of its known cells with each component, and the rest in their mean and covariance."""
    for weight, mean, covariance in zip(*parts, strict=True):
        o, m = np.flatnonzero(known), np.flatnonzero(~known)
        gain = covariance[np.ix_(m, o)] @ np.linalg.inv(covariance[np.ix_(o, o)])
        row, spread = x.copy(), np.zeros((3, 3))
        row[m] = mean[m] + gain @ (x[o] - mean[o])
        spread[np.ix_(m, m)] = covariance[np.ix_(m, m)] - gain @ covariance[np.ix_(o, m)]
        told = multivariate_normal(mean[o], covariance[np.ix_(o, o)]).logpdf(x[o])
        yield np.log(weight) + told, row, spread


def log_prob(x, present, parts):
    return sum(logsumexp([p for p, _, _ in one_row(*row, parts)]) for row in zip(x, present, strict=True))


def test_a_round_is_the_textbooks_row_by_row():
    x, present = holed(40, 0.4, 1)
    blur = 0.01 * np.eye(3)
    found, held = improved(np.where(present, x, np.nan), present, BEGIN, blur, 1)
    told = [list(one_row(*row, BEGIN)) for row in zip(x, present, strict=True)]
    share = np.array([[p for p, _, _ in row] for row in told])
    share = np.exp(share - logsumexp(share, axis=1, keepdims=True))
    np.testing.assert_allclose(held, share, atol=1e-12)
    np.testing.assert_allclose(found.weights, share.mean(axis=0), atol=1e-12)
    for k in range(2):
        rows, spread = np.array([row[k][1] for row in told]), np.array([row[k][2] for row in told])
        mean = share[:, k] @ rows / share[:, k].sum()
        away = rows - mean
        second = np.einsum("n,ni,nj->ij", share[:, k], away, away) + np.einsum("n,nij->ij", share[:, k], spread)
        np.testing.assert_allclose(found.means[k], mean, atol=1e-12)
        np.testing.assert_allclose(found.covariances[k], second / share[:, k].sum() + blur, atol=1e-12)


def test_the_likelihood_of_what_is_known_never_falls():
    x, present = holed(200, 0.4, 2)
    parts, seen = BEGIN, []
    for _ in range(8):
        seen.append(log_prob(x, present, parts))
        parts, _ = improved(x, present, parts, np.zeros((3, 3)), 1)
    assert (np.diff(seen) > -1e-9).all() and seen[-1] > seen[0] + 1


def test_what_is_filled_in_comes_from_rows_that_are_alike():
    """Rows of two heaps keep to their own."""
    rng = np.random.default_rng(3)
    heap = rng.integers(2, size=400)
    x = 10.0 * heap[:, None] + rng.standard_normal((400, 3))
    present = rng.random(x.shape) > 0.3
    present[:, 0] |= ~present.any(axis=1)
    whole = filled(np.where(present, x, 1e9), present)
    np.testing.assert_array_equal(whole[present], x[present])
    assert ((whole > 5) == (heap[:, None] == 1)).mean() > 0.995


def test_columns_that_hang_together_are_found_with_a_third_of_the_cells_missing():
    """Covariances pair by pair would be of no law here: the least variance is 0.009, their errors 0.03."""
    rng = np.random.default_rng(4)
    root = np.hstack([rng.standard_normal((6, 2)), 0.1 * np.eye(6)])
    exact = root @ root.T
    exact /= np.sqrt(np.outer(np.diag(exact), np.diag(exact)))
    x, fresh = (rng.multivariate_normal(np.zeros(6), exact, n) for n in (2000, 4000))
    present = rng.random(x.shape) > 0.3
    law = Mixture.fit(Evidence(np.where(present, x, 1e9), present=present), Choice())
    (covariance,) = np.asarray(law.covariances, float)
    told = multivariate_normal(law.means[0], (covariance + covariance.T) / 2).logpdf(fresh)
    lost = multivariate_normal(np.zeros(6), exact).logpdf(fresh) - told
    # 27 numbers of 2,000 rows cost 27 / 4,000 nats if none is missing; half of all pairs are, and the rounds end early.
    assert lost.mean() < 0.03


def test_heaps_are_found_with_missing_cells():
    """And rows that nothing was missing of are about as likely as by a mixture of such."""
    x, present = holed(1500, 0.3, 5)
    fresh, _ = holed(2000, 0.3, 6)
    mean, std = x.mean(axis=0), x.std(axis=0)
    x, fresh = (x - mean) / std, (fresh - mean) / std

    def likely(present):
        rows = Evidence(x, present=present)
        law = Mixture.fit(rows, choose(rows, 4))
        each = np.asarray(law.covariances, float)
        parts = np.exp(np.asarray(law.log_weights, float)), np.asarray(law.means), (each + each.swapaxes(1, 2)) / 2
        return log_prob(fresh, np.ones_like(fresh, bool), parts)

    whole, holes, one = likely(None), likely(present), multivariate_normal(np.zeros(3), np.cov(x.T)).logpdf(fresh).sum()
    assert (whole - one) / 2000 > 0.3  # nats a row, which the heaps are worth
    assert (whole - holes) / 2000 < 0.05
