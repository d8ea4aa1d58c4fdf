"""How the Gaussian mixture of a table is chosen: by the likelihood of rows that are left out.

Few rows leave the small variances of a covariance too small. So left-out rows choose how far the covariance of all rows
is shrunk towards the identity; how many components there are, and by how much of that covariance, or of the identity,
each is blurred. The one suits columns that depend on each other everywhere, the other columns that do so because there
are heaps.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.learning.covariances import LEAST_VARIANCE, moments, shrunk
from motes.learning.evidence import Evidence
from motes.learning.mixture import SPREAD, Choice, begun, in_peace

Array = NDArray[np.float64]

SHARES = (0.0, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3)  # of the identity
NUMBERS = (2, 3, 4, 6, 8, 12, 16, 24, 32)  # of components
FEW_COMPONENTS, PATIENCE = 12, 2
STRAYS = 0.003  # the share of rows, if any, that lie far from all heaps and off every correlation
BLURS = (1e-6, 1e-5, 1e-4, 3e-4, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
# Of a component, as a share of the covariance of all rows, or of the identity.
FIRST_BLUR = 0.03
LEAST_BLUR = 0.05  # times the rows
FOLDS = 5
FEW = 1000  # rows up to which every fold is left out once; of more, one is enough
CHOSEN_BY = 8_000  # rows
WITH_MISSING = 1e-4  # the least share where cells are missing


def choose(evidence: Evidence, most: int, *, worth: float = 0.0) -> Choice:
    """What is best for these rows, with `most` components at most.

    Twice as many components must bring more than `worth` nats a row, and the first that do not are the last.
    """
    with in_peace():
        drawn = evidence.with_classes().drawn(CHOSEN_BY)
        best = _chosen(drawn, most, worth)
    return best if drawn.present is None else best._replace(share=max(best.share, WITH_MISSING))


def _chosen(drawn: Evidence, most: int, worth: float) -> Choice:
    """`choose` for rows of which each counts, with all cells."""
    share, score = _best_share(drawn.x)
    best, n = Choice(share), len(drawn.x)
    if most == 1 or n < 2 * FOLDS:
        return best
    mean, covariance = moments(drawn.x)
    ways = [_Way(drawn, mean, shrunk(covariance, share), evenly) for evenly in (False, True)]
    in_vain, patience = 0, 1 if worth else PATIENCE
    for components in NUMBERS:
        if components > min(most, n // (2 * FOLDS)) or in_vain == patience:
            break
        in_vain += 1
        if components > FEW_COMPONENTS:  # which have told the better way
            ways = [max(ways, key=lambda way: way.top)]
        for way in ways:
            if way.in_vain < PATIENCE:
                with_it, found = way.look(components, strays=components < most)
                if with_it > score + worth * np.log2(found.size / best.size):
                    best, score, in_vain = found._replace(share=share), with_it, 0
    return best


def _folds(n: int) -> Iterator[NDArray[np.bool_]]:
    """Which rows are left out, (n,)."""
    fold = np.arange(n) % FOLDS
    for k in range(FOLDS if n <= FEW else 1):
        yield fold == k


def _best_share(x: Array) -> tuple[float, float]:
    """Of SHARES, and the mean log-likelihood of left-out rows but for a constant."""
    scores, count = np.zeros(len(SHARES)), 0
    for out in _folds(len(x)):
        if not out.any():
            continue
        mean, covariance = moments(x[~out])
        variances, axes = np.linalg.eigh(covariance)
        square = (((x[out] - mean) @ axes) ** 2).sum(axis=0)  # (d,)
        count += out.sum()
        for i, share in enumerate(SHARES):
            # The axes stay, whatever the share of the identity.
            less = np.maximum((1 - share) * variances + share, LEAST_VARIANCE)
            scores[i] -= 0.5 * (np.sum(square / less) + out.sum() * np.log(2 * np.pi * less).sum())
    return SHARES[int(scores.argmax())], float(scores.max() / max(count, 1))


class _Way:
    """Mixtures whose components are blurred in one way: the best likelihood of left-out rows so far, and its blur."""

    def __init__(self, drawn: Evidence, mean: Array, covariance: Array, evenly: bool):
        self.evenly, self.top, self.blur, self.in_vain = evenly, -np.inf, FIRST_BLUR, 0
        w, root, self._plain = drawn.whitened(mean, covariance, evenly)
        self._w = w
        self._volume = float(np.linalg.slogdet(root)[1])
        self._stray = -0.5 * ((w @ root.T / SPREAD) ** 2 + np.log(2 * np.pi * SPREAD**2)).sum(axis=1)  # (n,)

    def look(self, components: int, *, strays: bool) -> tuple[float, Choice]:
        """The likelihood of left-out rows with the best of BLURS for so many components, and which it is.

        From the blur that was best so far it goes on as long as it helps, down or else up, and for each blur from the
        components that were found for the one before. One more component is for `strays`, if there may be one and it
        helps.
        """
        at, plain = BLURS.index(self.blur), self._plain
        learn = [~out for out in _folds(len(self._w))]
        parts = [(self._w[rows], None if plain is None else plain[rows]) for rows in learn]
        mixtures = [begun(components, *part, self.blur) for part in parts]
        # So few rows know nothing of smaller variances.
        least = next(at for at, blur in enumerate(BLURS) if blur * len(self._w) >= LEAST_BLUR)
        score, share = self._left_out(mixtures, strays)
        for step in (-1, 1):
            started = at
            while least <= at + step < len(BLURS):
                for mixture, (w, _) in zip(mixtures, parts, strict=True):
                    mixture.set_params(reg_covar=BLURS[at + step]).fit(w)
                with_it, of_strays = self._left_out(mixtures, strays)
                if with_it <= score:
                    break
                at, score, share = at + step, with_it, of_strays
            if at != started:
                break
        self.in_vain += 1
        if score > self.top:
            self.top, self.blur, self.in_vain = score, BLURS[at], 0
        return score, Choice(0.0, components, BLURS[at], self.evenly, share)

    def _left_out(self, mixtures: list[Any], strays: bool) -> tuple[float, float]:
        """The mean log-likelihood of left-out rows, and the weight of the component for strays."""
        found = []
        for mixture, out in zip(mixtures, _folds(len(self._w)), strict=True):
            heaps = mixture.score_samples(self._w[out]) - self._volume
            found.append([heaps, np.logaddexp(np.log1p(-STRAYS) + heaps, np.log(STRAYS) + self._stray[out])])
        without, with_it = np.concatenate(found, axis=1).mean(axis=1)
        return (float(with_it), STRAYS) if strays and with_it > without else (float(without), 0.0)
