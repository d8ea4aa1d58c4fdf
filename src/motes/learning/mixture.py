"""The Gaussian mixture nearest to a table: what of its law a network need not learn.

x_0 ~ sum_k weights_k N(means_k, axes_k diag(variances_k) axes_k^T)
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

from motes.learning.covariances import LEAST_VARIANCE, moments, principal, shrunk
from motes.learning.evidence import Evidence
from motes.learning.gaps import Components, improved
from motes.learning.weights import Fixed

Array = NDArray[np.float64]

MOST = 20_000  # rows that a mixture is fitted to
BEGINNINGS, SO_FEW = 5, 6  # from which that many components, or fewer, are found
SPREAD = 2.0  # the standard deviation in each column of rows that lie far from all heaps
ROUNDS, FEW_ROUNDS = 30, 5  # that a Gaussian and a mixture of rows with missing cells take at most
LEAST_ROWS = 1e-9  # by which a component holds each row: some are so few that none is left for it
UNSURE = 0.1  # of a row, which a class is thought to have wherever others are


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
    def fit(cls, evidence: Evidence, choice: Choice) -> "Mixture":
        """That of some rows, as left-out ones have chosen. Heaps that rows lie in are not blurred away."""
        dim, classes = evidence.x.shape[1], evidence.classes
        evidence = evidence.with_classes()
        drawn = evidence.drawn(MOST)
        least = LEAST_VARIANCE * np.eye(drawn.x.shape[1])
        if drawn.present is None:
            mean, covariance = moments(evidence.x, evidence.weights)
        else:
            mean, covariance = moments(drawn.x)
            begin = Components(np.ones(1), mean[None], (covariance + least)[None])
            one, _ = improved(drawn.x, drawn.present, begin, least, ROUNDS)
            mean, covariance = one.means[0], one.covariances[0]
        covariance = shrunk(covariance, choice.share)
        variances, axes = principal(covariance[:dim, :dim])
        if choice.components == 1:
            alone = (part[None] for part in (mean[:dim], axes, variances))
            return cls.of(mean[:dim], axes, variances, np.zeros(1), np.zeros((classes, 1)), *alone)
        w, root, plain = drawn.whitened(mean, covariance, choice.evenly)
        with in_peace():
            # Few components get stuck far from the best the easiest, and cost the least.
            often = BEGINNINGS if choice.components <= SO_FEW else 1
            found = begun(choice.components, w, plain, choice.blur, often)
        parts = Components(found.weights_, mean + found.means_ @ root.T, root @ found.covariances_ @ root.T)
        if drawn.present is None:
            held = found.predict_proba(w)
        else:
            blur = choice.blur * root @ root.T + least
            parts, held = improved(drawn.x, drawn.present, parts, blur, FEW_ROUNDS)
        shares, means, mean = parts.weights[None], parts.means[:, :dim], mean[:dim]  # (1 + classes, k), (k, d), (d,)
        if drawn.labels is not None:
            shares = np.vstack([shares, _shares(held, drawn.labels, shares[0], classes)])
        each = [principal(one[:dim, :dim]) for one in parts.covariances]
        if choice.strays:
            each.append((np.full(dim, SPREAD**2), np.eye(dim)))
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


def _shares(of_rows: Array, labels: NDArray[np.int32], whole: Array, classes: int) -> Array:
    """How much of each class the components hold, (classes, k), of which they hold `of_rows` (n, k)."""
    own = np.arange(classes)[:, None] == labels  # (classes, n)
    return (own @ of_rows + UNSURE * whole) / (own.sum(axis=1, keepdims=True) + UNSURE)


def begun(components: int, w: Array, plain: Array | None, blur: float, beginnings: int = 1) -> Any:
    """A mixture of scikit-learn, by expectation and maximisation; fitted again it goes on from where it is.

    It is the best of so many, each from clusters of the rows w (n, d); and of `plain` rows (n, p), if any are given:
    those of w are of one class each, and a class that shares heaps with others would not be found in them.
    """
    from sklearn.cluster import KMeans
    from sklearn.mixture import GaussianMixture

    kinds = {"reg_covar": blur, "random_state": 0, "warm_start": True}
    found = GaussianMixture(components, n_init=beginnings, **kinds).fit(w)
    if plain is None:
        return found
    own = KMeans(components, n_init=beginnings, random_state=0).fit(plain).labels_
    other = GaussianMixture(components, **_begin(own, w, components, blur), **kinds).fit(w)
    return max(found, other, key=lambda one: one.lower_bound_)


def _begin(own: NDArray[np.int32], w: Array, components: int, blur: float) -> dict[str, Array]:
    """Where components begin of which each has the rows of one cluster."""
    held = (own == np.arange(components)[:, None]) + LEAST_ROWS  # (k, n)
    counts = held.sum(axis=1)
    means, covariances = (np.stack(part) for part in zip(*(moments(w, share) for share in held), strict=True))
    return {
        "weights_init": counts / counts.sum(),
        "means_init": means,
        "precisions_init": np.linalg.inv(covariances + blur * np.eye(w.shape[1])),
    }


@contextmanager
def in_peace() -> Iterator[None]:
    """Mixtures near the top are near enough; and small matrices are not worth a second thread.

    On busy cores it costs more than it brings.
    """
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield
