"""Mixtures of rows with missing cells, by expectation and maximisation over what is not there.

    E[x_m | x_o, k] = mean_m + C_mo C_oo^-1 (x_o - mean_o),    Cov[x_m | x_o, k] = C_mm - C_mo C_oo^-1 C_om

o and m are the known and the missing cells of a row (Ghahramani and Jordan 1994, section 3). Covariances cell pair by
cell pair, each over the rows that have both, need not be those of any law.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

DONORS = 2_000  # rows from which missing cells are filled in
CELLS = 5_000_000  # of all matrices, one for each row
LEAST_ROWS = 500
ENOUGH = 2e-4  # nats a cell: rounds that bring less are the last


class Components(NamedTuple):
    """Of a mixture: weights (k,), means (k, d) and covariances (k, d, d)."""

    weights: Array
    means: Array
    covariances: Array


def filled(x: Array, present: Mask) -> Array:
    """Rows (n, d) whose missing cells are those of the row that is most like them: what lies in heaps stays there."""
    from sklearn.impute import KNNImputer

    known = np.where(present, x, np.nan)
    donors = known[np.argsort((~present).sum(axis=1), kind="stable")[:DONORS]]
    return np.asarray(KNNImputer(n_neighbors=1, keep_empty_features=True).fit(donors).transform(known))


def rows_at_most(dim: int) -> int:
    """How many rows of so many columns `improved` should have, so that they fit in memory."""
    return max(CELLS // dim**2, LEAST_ROWS)


def improved(x: Array, present: Mask, begin: Components, blur: Array, rounds: int) -> tuple[Components, Array]:
    """The components after so many rounds, and how much of each row (n, k) they hold.

    Args:
        x: (n, d).
        present: (n, d), which cells are known; of the others nothing is read.
        begin: where the components begin, their covariances positive definite.
        blur: what is added to each covariance, (d, d).
        rounds: at least 1, and at most; a round that brings hardly anything is the last.
    """
    from scipy.special import logsumexp

    patterns, of = np.unique(present, axis=0, return_inverse=True)
    x, of = np.where(present, x, 0.0), of.reshape(-1)
    before = -np.inf
    for _ in range(rounds):
        told = [_told(x, present, patterns, of, *one) for one in zip(*begin[1:], strict=True)]
        joint = np.log(begin.weights) + np.stack([log_prob for log_prob, _, _ in told], axis=1)
        log_prob = logsumexp(joint, axis=1)
        held, now = np.exp(joint - log_prob[:, None]), float(log_prob.mean())
        if now < before + ENOUGH * x.shape[1]:
            break
        before = now
        counts = held.sum(axis=0) + 10 * np.finfo(float).eps
        means = np.stack([share @ rows for share, (_, rows, _) in zip(held.T, told, strict=True)]) / counts[:, None]
        each = []
        for share, mean, count, (_, rows, spread) in zip(held.T, means, counts, told, strict=True):
            away = rows - mean
            unknown = np.einsum("p,pij->ij", np.bincount(of, share, len(patterns)), spread)
            each.append(((away * share[:, None]).T @ away + unknown) / count + blur)
        begin = Components(counts / counts.sum(), means, np.stack(each))
    return begin, held


def _told(
    x: Array, present: Mask, patterns: Mask, of: NDArray[np.int64], mean: Array, covariance: Array
) -> tuple[Array, Array, Array]:
    """What a component says of rows: their log-density (n,) but for a constant of the row, the rows in the mean of what
    is not known (n, d), and its covariance for each pattern (p, d, d)."""
    both = patterns[:, :, None] & patterns[:, None, :]
    alone = np.eye(len(mean)) * ~patterns[:, :, None]
    square = np.where(both, covariance, alone)
    inverse = np.linalg.inv(square)
    _, log_volume = np.linalg.slogdet(square)
    told = np.where(patterns[:, None, :], covariance, 0.0)  # of all cells with the known ones
    spread = covariance - told @ inverse @ told.swapaxes(1, 2)
    spread[patterns[:, :, None] | patterns[:, None, :]] = 0
    away = np.where(present, x - mean, 0.0)
    scaled = np.einsum("nij,nj->ni", inverse[of], away)
    log_prob = -0.5 * ((scaled * away).sum(axis=1) + log_volume[of])
    return log_prob, np.where(present, x, mean + scaled @ covariance), spread
