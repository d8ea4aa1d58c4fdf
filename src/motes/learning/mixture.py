"""The Gaussian mixture nearest to a table: what of its law a network need not learn.

    x_0 ~ sum_k weights_k N(means_k, axes_k diag(variances_k) axes_k^T)

Few rows leave the small variances of a covariance too small. So the likelihood of left-out rows chooses how far the
covariance of all rows is shrunk towards the identity; how many components there are, and by how much of that
covariance, or of the identity, each is blurred. The one suits columns that depend on each other everywhere, the other
columns that do so because there are heaps.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from motes.learning.gaps import Components, filled, improved, rows_at_most
from motes.learning.rows import systematic
from motes.learning.weights import Fixed

Array = NDArray[np.float64]

SHARES = (0.0, 1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3)  # of the identity
NUMBERS = (2, 3, 4, 6, 8, 12, 16, 24, 32)  # of components
FEW_COMPONENTS, PATIENCE = 12, 2
BEGINNINGS, SO_FEW = 5, 6  # from which that many components, or fewer, are found
STRAYS = 0.003  # the share of rows, if any, that lie far from all heaps and off every correlation
SPREAD = 2.0  # their standard deviation in each column
BLURS = (1e-6, 1e-5, 1e-4, 3e-4, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
# Of a component, as a share of the covariance of all rows, or of the identity.
FIRST_BLUR = 0.03
LEAST_ROWS = 1e-9  # of a component, where equal rows leave none for it
MARKED = 2.0  # how much more than all columns classes tell where components begin
LEAST_BLUR = 0.05  # times the rows
FOLDS = 5
FEW = 1000  # rows up to which every fold is left out once; of more, one is enough
MOST, CHOSEN_BY = 20_000, 8_000  # rows that a mixture is fitted to, and chosen by
WITH_MISSING = 1e-4  # the least share where cells are missing
ROUNDS, FEW_ROUNDS = 30, 5  # that a Gaussian and a mixture of such rows take at most
UNSURE = 0.1  # of a row, which a class is thought to have wherever others are
LEAST_VARIANCE = 1e-6  # of a direction: less noise than that no network is asked about


class Choice(NamedTuple):
    """What left-out rows have chosen."""

    share: float = 0.0
    components: int = 1
    blur: float = 0.0
    evenly: bool = False  # by the identity
    strays: float = 0.0  # the weight of one more component, a wide one

    @property
    def size(self) -> int:
        """How many components there are in all."""
        return self.components + (self.strays > 0)


class Mixture(Fixed):
    """A mixture by the principal axes of its components, and those of its covariance as a whole."""

    mean: jax.Array  # (d,)
    axes: jax.Array  # (d, d), a column each
    variances: jax.Array  # (d,)
    log_weights: jax.Array  # (k,)
    of_classes: jax.Array  # (classes, k), the same for the rows of each class
    means: jax.Array  # (k, d)
    each_axes: jax.Array  # (k, d, d)
    each_variances: jax.Array  # (k, d)

    @classmethod
    def standard(cls, dim: int, components: int = 1, classes: int = 0) -> "Mixture":
        """N(0, I), so many times."""
        law, log_weights = (np.zeros(dim), np.eye(dim), np.ones(dim)), np.full(components, -np.log(components))
        several = (np.repeat(part[None], components, axis=0) for part in law)
        return cls.of(*law, log_weights, np.tile(log_weights, (classes, 1)), *several)

    @classmethod
    def of(cls, *parts: Array) -> "Mixture":
        """Of NumPy arrays in the order of the attributes."""
        return cls(*(jax.device_put(np.asarray(part, jnp.result_type(float))) for part in parts))

    @classmethod
    def fit(
        cls,
        x: Array,
        choice: Choice,
        weights: Array | None = None,
        present: NDArray[np.bool_] | None = None,
        labels: NDArray[np.int32] | None = None,
        classes: int = 0,
        heaps: Array | None = None,
    ) -> "Mixture":
        """That of rows x (n, d) in standardised units, with weights (n,), of which the cells `present` (n, d) count.

        `labels` (n,) say to which of so many classes each belongs. `heaps` (d,) are the standard deviations of the
        heaps that rows lie in, such as those of labels, and 0 in columns without any: such heaps are not blurred away.
        """
        rows = _repeated(len(x), weights)
        if present is None:
            some, (mean, covariance) = x[rows], _moments(x, weights)
        else:
            rows = rows[: rows_at_most(x.shape[1])]
            x, present = x[rows], present[rows]
            some = filled(x, present)
            one, _ = improved(x, present, _alone(*_moments(some)), _least(x), ROUNDS)
            mean, covariance = one.means[0], one.covariances[0]
        covariance = _shrunk(covariance, choice.share)
        variances, axes = _principal(covariance)
        if choice.components == 1:
            alone = (part[None] for part in (mean, axes, variances))
            return cls.of(mean, axes, variances, np.zeros(1), np.zeros((classes, 1)), *alone)
        w, root = _whitened(some, mean, covariance, choice.evenly, heaps)
        marks = _marks(labels, classes, rows, x.shape[1])
        with _in_peace():
            # Few components get stuck far from the best the easiest, and cost the least.
            often = BEGINNINGS if choice.components <= SO_FEW else 1
            found = _expected(_mixture(choice.components, w, marks, often), w, choice.blur)
        parts = Components(found.weights_, mean + found.means_ @ root.T, root @ found.covariances_ @ root.T)
        if present is None:
            held = found.predict_proba(w)
        else:
            parts, held = improved(x, present, parts, choice.blur * root @ root.T + _least(x), FEW_ROUNDS)
        shares, means = parts.weights[None], parts.means  # (1 + classes, k)
        if labels is not None:
            shares = np.vstack([shares, _shares(held, labels[rows], shares[0], classes)])
        each = [_principal(one) for one in parts.covariances]
        if choice.strays:
            each.append((np.full(len(mean), SPREAD**2), np.eye(len(mean))))
            means = np.vstack([means, mean])
            shares = np.pad((1 - choice.strays) * shares, ((0, 0), (0, 1)), constant_values=choice.strays)
        each_variances, each_axes = (np.stack(part) for part in zip(*each, strict=True))
        log_weights = np.log(shares)
        return cls.of(mean, axes, variances, log_weights[0], log_weights[1:], means, each_axes, each_variances)

    def given(self, label: jax.Array | None) -> "Mixture":
        """The law of the rows of a class (); of all classes together where it is -1, or None."""
        if label is None or not len(self.of_classes):
            return self
        log_weights = jnp.where(label < 0, self.log_weights, self.of_classes[jnp.maximum(label, 0)])
        return eqx.tree_at(lambda law: law.log_weights, self, log_weights)

    @property
    def covariances(self) -> jax.Array:
        """Of the components, (k, d, d)."""
        return jnp.einsum("kij,kj,klj->kil", self.each_axes, self.each_variances, self.each_axes)


def choose(
    x: Array,
    most: int,
    weights: Array | None = None,
    present: NDArray[np.bool_] | None = None,
    labels: NDArray[np.int32] | None = None,
    classes: int = 0,
    heaps: Array | None = None,
    *,
    worth: float = 0.0,
) -> Choice:
    """What is best for rows x (n, d), with `most` components at most; as `Mixture.fit`.

    Twice as many components must bring more than `worth` nats a row, and the first that do not are the last.
    """
    with _in_peace():
        rows = _repeated(len(x), weights)[:CHOSEN_BY]
        if present is not None:
            rows = rows[: rows_at_most(x.shape[1])]
        some = x[rows] if present is None else filled(x[rows], present[rows])
        marks = _marks(labels, classes, rows, x.shape[1])
        best = _chosen(some, marks, heaps, most, worth)
    return best if present is None else best._replace(share=max(best.share, WITH_MISSING))


def _chosen(rows: Array, marks: Array, heaps: Array | None, most: int, worth: float) -> Choice:
    """`choose` for rows of which each counts."""
    share, score = _best_share(rows)
    best = Choice(share)
    if most == 1 or len(rows) < 2 * FOLDS:
        return best
    mean, covariance = _moments(rows)
    covariance = _shrunk(covariance, share)
    ways = [_Way(*_whitened(rows, mean, covariance, evenly, heaps), evenly, marks) for evenly in (False, True)]
    in_vain, patience = 0, 1 if worth else PATIENCE
    for components in NUMBERS:
        if components > min(most, len(rows) // (2 * FOLDS)) or in_vain == patience:
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


def _whitened(x: Array, mean: Array, covariance: Array, evenly: bool, heaps: Array | None) -> tuple[Array, Array]:
    """w (n, d), and the root (d, d) with x - mean = root @ w by which components are blurred."""
    by = np.eye(len(mean)) if evenly else covariance.copy()
    if heaps is not None:
        apart = heaps > 0
        by[apart] = by[:, apart] = 0
        by[apart, apart] = heaps[apart] ** 2
    variances, axes = _principal(by)
    std = np.sqrt(variances)
    return ((x - mean) @ axes) / std, axes * std


def _repeated(n: int, weights: Array | None) -> NDArray[np.int64]:
    """Which of n rows, in mixed order, MOST of them at most, so that each comes as often as its weight says."""
    rng = np.random.default_rng(0)
    return (rng.permutation(n) if weights is None else systematic(rng, weights))[:MOST]


def _shares(of_rows: Array, labels: NDArray[np.int32], whole: Array, classes: int) -> Array:
    """How much of each class the components hold, (classes, k), of which they hold `of_rows` (n, k)."""
    own = np.arange(classes)[:, None] == labels  # (classes, n)
    return (own @ of_rows + UNSURE * whole) / (own.sum(axis=1, keepdims=True) + UNSURE)


def _moments(x: Array, weights: Array | None = None) -> tuple[Array, Array]:
    """Mean and covariance."""
    part = np.full(len(x), 1 / len(x)) if weights is None else weights / weights.sum()
    mean = part @ x
    away = x - mean
    return mean, (away * part[:, None]).T @ away


def _alone(mean: Array, covariance: Array) -> Components:
    return Components(np.ones(1), mean[None], (covariance + _least(mean[None]))[None])


def _least(x: Array) -> Array:
    return LEAST_VARIANCE * np.eye(x.shape[1])


def _shrunk(covariance: Array, share: float) -> Array:
    return (1 - share) * covariance + share * np.eye(len(covariance))


def _principal(covariance: Array) -> tuple[Array, Array]:
    """Variances (d,) and axes (d, d)."""
    variances, axes = np.linalg.eigh(covariance)
    return np.maximum(variances, LEAST_VARIANCE), axes


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
        mean, covariance = _moments(x[~out])
        variances, axes = np.linalg.eigh(covariance)
        square = (((x[out] - mean) @ axes) ** 2).sum(axis=0)  # (d,)
        count += out.sum()
        for i, share in enumerate(SHARES):
            # The axes stay, whatever the share of the identity.
            shrunk = np.maximum((1 - share) * variances + share, LEAST_VARIANCE)
            scores[i] -= 0.5 * (np.sum(square / shrunk) + out.sum() * np.log(2 * np.pi * shrunk).sum())
    return SHARES[int(scores.argmax())], float(scores.max() / max(count, 1))


class _Way:
    """Mixtures whose components are blurred in one way: the best likelihood of left-out rows so far, and its blur."""

    def __init__(self, w: Array, root: Array, evenly: bool, marks: Array):
        self.evenly, self.top, self.blur, self.in_vain = evenly, -np.inf, FIRST_BLUR, 0
        self._w, self._marks, self._volume = w, marks, float(np.linalg.slogdet(root)[1])
        self._stray = -0.5 * ((w @ root.T / SPREAD) ** 2 + np.log(2 * np.pi * SPREAD**2)).sum(axis=1)  # (n,)

    def look(self, components: int, *, strays: bool) -> tuple[float, Choice]:
        """The likelihood of left-out rows with the best of BLURS for so many components, and which it is.

        From the blur that was best so far it goes on as long as it helps, down or else up, and for each blur from the
        components that were found for the one before. One more component is for `strays`, if there may be one and it
        helps.
        """
        learn = [~out for out in _folds(len(self._w))]
        mixtures = [_mixture(components, self._w[rows], self._marks[rows]) for rows in learn]
        # So few rows know nothing of smaller variances.
        least = next(at for at, blur in enumerate(BLURS) if blur * len(self._w) >= LEAST_BLUR)
        at = BLURS.index(self.blur)
        score, share = self._left_out(mixtures, at, strays)
        for step in (-1, 1):
            started = at
            while least <= at + step < len(BLURS):
                with_it, of_strays = self._left_out(mixtures, at + step, strays)
                if with_it <= score:
                    break
                at, score, share = at + step, with_it, of_strays
            if at != started:
                break
        self.in_vain += 1
        if score > self.top:
            self.top, self.blur, self.in_vain = score, BLURS[at], 0
        return score, Choice(0.0, components, BLURS[at], self.evenly, share)

    def _left_out(self, mixtures: list[Any], at: int, strays: bool) -> tuple[float, float]:
        """The mean log-likelihood of left-out rows, and the weight of the component for strays."""
        found = []
        for mixture, out in zip(mixtures, _folds(len(self._w)), strict=True):
            heaps = _expected(mixture, self._w[~out], BLURS[at]).score_samples(self._w[out]) - self._volume
            found.append([heaps, np.logaddexp(np.log1p(-STRAYS) + heaps, np.log(STRAYS) + self._stray[out])])
        without, with_it = np.concatenate(found, axis=1).mean(axis=1)
        return (float(with_it), STRAYS) if strays and with_it > without else (float(without), 0.0)


def _mixture(components: int, w: Array, marks: Array, beginnings: int = 1) -> Any:
    """The best of so many, or one that begins where it was left, if it was fitted before."""
    from sklearn.mixture import GaussianMixture

    begin = _classed(components, w, marks, beginnings) if marks.size else {"n_init": beginnings}
    return GaussianMixture(components, **begin, random_state=0, warm_start=True)


def _marks(labels: NDArray[np.int32] | None, classes: int, rows: NDArray[np.int64], dim: int) -> Array:
    """What tells the classes of some rows apart, (n, classes): as much as MARKED times all columns."""
    if labels is None or classes < 2:
        return np.zeros((len(rows), 0))
    own = (labels[rows, None] == np.arange(classes)).astype(np.float64)
    return MARKED * np.sqrt(dim / max(own.var(axis=0).sum(), LEAST_VARIANCE)) * own


def _classed(components: int, w: Array, marks: Array, beginnings: int) -> dict[str, Any]:
    """Where components begin of which each has rows of like classes."""
    from sklearn.cluster import KMeans

    own = KMeans(components, n_init=beginnings, random_state=0).fit(np.hstack([w, marks])).labels_
    shares = (np.bincount(own, minlength=components) + LEAST_ROWS) / len(own)
    means = np.stack([(own == k) @ w for k in range(components)]) / (len(own) * shares[:, None])
    each = [(w - mean)[own == k] for k, mean in enumerate(means)]
    covariances = [away.T @ away / (len(own) * share) for away, share in zip(each, shares, strict=True)]
    return {
        "weights_init": shares / shares.sum(),
        "means_init": means,
        "precisions_init": np.linalg.inv(covariances + FIRST_BLUR * np.eye(w.shape[1])),
    }


def _expected(mixture: Any, w: Array, blur: float) -> Any:
    """The other components, by expectation and maximisation."""
    return mixture.set_params(reg_covar=blur).fit(w)


@contextmanager
def _in_peace() -> Iterator[None]:
    """Mixtures near the top are near enough; and small matrices are not worth a second thread.

    On busy cores it costs more than it brings.
    """
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
