"""Exact masked denoisers: what a perfect network would answer, for rows whose distribution is known.

    p(x_j | visible columns) = p(x_j, visible columns) / p(visible columns)

`EnumeratedOracle` sums a table of all probabilities; `ProductMixtureOracle` is a mixture of distributions in which the
columns are independent, for any number of columns. Each stands wherever a learned `MaskedDenoiser` does. All is
computed in log-space, in float32 and in float64, and probabilities of zero are as good as others.

Where the visible columns have probability zero no conditional exists. There `log_prob` is -inf, and `log_probs` gives
each masked column's distribution without any condition, so that a sampler that ran into such a row ends in codes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jax.typing import ArrayLike
from numpy.typing import NDArray

from motes.diffusion.masked._denoiser import MaskedDenoiser
from motes.diffusion.masked._process import carry_over, log_prob_of

# Parameters stay in NumPy's float64 and take the precision of the program that uses them.
Array = NDArray[np.float64]


class MaskedExact(NamedTuple):
    """All that there is to know of a row with some visible columns."""

    log_probs: jax.Array
    """log p(x_j | visible columns), (d, K)."""
    log_prob: jax.Array
    """log p(visible columns) in nats, ()."""


class MaskedOracle(MaskedDenoiser):
    """A masked denoiser that is exact. A new one is `exact` and a sampler of its own.

    Example:
        >>> from motes.diffusion.masked import EnumeratedOracle, MaskedOracle
        >>> isinstance(EnumeratedOracle([[0.5, 0.0], [0.0, 0.5]]), MaskedOracle)
        True
    """

    @abstractmethod
    def exact(self, codes: jax.Array, visible: jax.Array) -> MaskedExact:
        """The conditionals and the probability of the visible columns, for codes (d,) and booleans visible (d,).

        Example:
            >>> from motes.diffusion.masked import EnumeratedOracle
            >>> exact = EnumeratedOracle([[0.5, 0.0], [0.25, 0.25]]).exact(jnp.array([1, 0]), jnp.array([True, False]))
            >>> print(jnp.exp(exact.log_probs[1]).round(3), jnp.exp(exact.log_prob).round(3))
            [0.5 0.5] 0.5
        """

    @abstractmethod
    def sample(self, key: jax.Array) -> jax.Array:
        """One row, (d,).

        Example:
            >>> from motes.diffusion.masked import EnumeratedOracle
            >>> row = EnumeratedOracle([[0.5, 0.0], [0.0, 0.5]]).sample(jax.random.key(0))
            >>> row.tolist() in ([0, 0], [1, 1])
            True
        """

    def log_probs(self, codes: jax.Array, visible: jax.Array) -> jax.Array:
        return self.exact(codes, visible).log_probs

    def log_prob_visible(self, codes: jax.Array, visible: jax.Array) -> jax.Array:
        """log p(visible columns) in nats, (): 0 where none is visible, -inf for a code that its column lacks.

        Example:
            >>> from motes.diffusion.masked import EnumeratedOracle
            >>> oracle = EnumeratedOracle([[0.5, 0.0], [0.25, 0.25]])
            >>> log_prob = oracle.log_prob_visible(jnp.array([0, 0]), jnp.array([False, True]))
            >>> print(jnp.exp(log_prob).round(3))  # p(the second column is 0)
            0.75
        """
        return self.exact(codes, visible).log_prob

    def log_prob(self, x: jax.Array) -> jax.Array:
        """log p(x) of a whole row (d,) in nats, ().

        Example:
            >>> from motes.diffusion.masked import EnumeratedOracle
            >>> print(jnp.exp(EnumeratedOracle([[0.5, 0.0], [0.25, 0.25]]).log_prob(jnp.array([1, 0]))).round(3))
            0.25
        """
        return self.log_prob_visible(x, jnp.ones(len(self.sizes), bool))


class EnumeratedOracle(MaskedOracle):
    """Any distribution of a few columns, from the probabilities of all rows.

    Args:
        table: (K_1, ..., K_d), at least 0; only their ratios count.

    Raises:
        ValueError: numbers other than these.

    Example:
        >>> from motes.diffusion.masked import EnumeratedOracle
        >>> equal = EnumeratedOracle([[0.5, 0.0], [0.0, 0.5]])  # two columns that are always equal
        >>> jnp.exp(equal.log_probs(jnp.array([1, 0]), jnp.array([True, False])))[1].tolist()
        [0.0, 1.0]
    """

    sizes: tuple[int, ...] = eqx.field(static=True)
    _log_table: Array

    def __init__(self, table: ArrayLike):
        p = np.asarray(table, dtype=np.float64)
        if p.ndim < 1 or not p.size:
            raise ValueError(f"got a table of shape {p.shape}; expected (K_1, ..., K_d), one axis for each column.")
        self.sizes = p.shape
        self._log_table = _log_shares(p.reshape(1, -1), "the table").reshape(p.shape)

    def exact(self, codes: jax.Array, visible: jax.Array) -> MaskedExact:
        d, most = len(self.sizes), max(self.sizes)
        log_table = jnp.asarray(self._log_table, float)
        joint = log_table
        for j, size in enumerate(self.sizes):
            differs = visible[j] & (jnp.arange(size) != codes[j])
            joint = joint + jnp.where(differs, -jnp.inf, 0).reshape((size,) + (1,) * (d - 1 - j))
        log_prob = logsumexp(joint)
        possible = log_prob > -jnp.inf
        joint = jnp.where(possible, joint - jnp.where(possible, log_prob, 0), log_table)
        columns = [logsumexp(joint, axis=[i for i in range(d) if i != j]) for j in range(d)]  # d of (K_j,)
        padded = [jnp.pad(c, (0, most - len(c)), constant_values=-jnp.inf) for c in columns]
        return MaskedExact(carry_over(jnp.stack(padded), codes, visible), log_prob)

    def sample(self, key: jax.Array) -> jax.Array:
        row = jax.random.categorical(key, jnp.asarray(self._log_table, float).ravel())
        return jnp.stack(jnp.unravel_index(row, self.sizes))


class ProductMixtureOracle(MaskedOracle):
    """p(x) = sum_c weights_c prod_j probs_cj(x_j).

    Args:
        weights: (C,), at least 0; only their ratios count.
        probs: (C, d, K), at least 0, one distribution of codes for each component and column; only ratios count.
        sizes: (d,), the number of codes of each column, where a column has fewer than K. None: K for all.

    Raises:
        ValueError: shapes or numbers other than these, or a probability above 0 of a code that its column lacks.

    Example:
        >>> from motes.diffusion.masked import ProductMixtureOracle
        >>> oracle = ProductMixtureOracle([1, 3], [[[1, 0], [1, 0]], [[0, 1], [0, 1]]])
        >>> round(float(jnp.exp(oracle.log_prob(jnp.array([1, 1])))), 6)
        0.75
    """

    sizes: tuple[int, ...] = eqx.field(static=True)
    _log_weights: Array
    _log_probs: Array

    def __init__(self, weights: ArrayLike, probs: ArrayLike, sizes: Sequence[int] | None = None):
        w, p = np.asarray(weights, dtype=np.float64), np.asarray(probs, dtype=np.float64)
        if w.ndim != 1 or p.ndim != 3 or len(p) != len(w) or not p.size:
            raise ValueError(f"got weights of shape {w.shape}, probs of shape {p.shape}; expected (C,) and (C, d, K).")
        _, d, most = p.shape
        self.sizes = (most,) * d if sizes is None else tuple(int(size) for size in sizes)
        if len(self.sizes) != d or not all(1 <= size <= most for size in self.sizes):
            raise ValueError(f"got sizes {self.sizes}; expected {d} numbers from 1 to K = {most}, one for each column.")
        for j, size in enumerate(self.sizes):
            if p[:, j, size:].any():
                raise ValueError(f"got a probability above 0 of a code beyond the {size} codes of column {j}.")
        self._log_weights = _log_shares(w[None], "the weights")[0]
        self._log_probs = _log_shares(p, "a column of a component")

    def exact(self, codes: jax.Array, visible: jax.Array) -> MaskedExact:
        log_weights, log_probs = jnp.asarray(self._log_weights, float), jnp.asarray(self._log_probs, float)
        of_codes = jax.vmap(log_prob_of, (0, None))(log_probs, codes)  # (C, d)
        joint = log_weights + jnp.where(visible, of_codes, 0).sum(axis=1)  # (C,)
        log_prob = logsumexp(joint)
        possible = log_prob > -jnp.inf
        posterior = jnp.where(possible, joint - jnp.where(possible, log_prob, 0), log_weights)
        columns = logsumexp(posterior[:, None, None] + log_probs, axis=0)  # (d, K)
        return MaskedExact(carry_over(columns, codes, visible), log_prob)

    def sample(self, key: jax.Array) -> jax.Array:
        of_component, of_codes = jax.random.split(key)
        component = jax.random.categorical(of_component, jnp.asarray(self._log_weights, float))
        return jax.random.categorical(of_codes, jnp.asarray(self._log_probs, float)[component])


def _log_shares(weights: Array, what: str) -> Array:
    """Logarithms of weights (..., k), scaled so that each row of weights sums to 1."""
    total = weights.sum(axis=-1, keepdims=True)
    if not np.isfinite(weights).all() or (weights < 0).any() or (total <= 0).any():
        raise ValueError(f"got {what} with a number below 0, not finite, or zeros alone; expected probabilities.")
    with np.errstate(divide="ignore"):  # log 0 = -inf is meant
        return np.asarray(np.log(weights / total))
