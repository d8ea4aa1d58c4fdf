"""The loss that is left when the denoiser is exact: how low a training curve can go.

    L*(t) = E loss(oracle, x_0, t, eps),    x_0 from the data, eps ~ N(0, I)
    Var[x_0 | x_t] = (sigma_t / alpha_t)^2 (1 + sigma_t^2 d score(x_t)/dx_t)      (column by column; Tweedie's formula)

Given x_t the exact denoiser misses x_0 by that much on average, so the mean is taken over x_t alone: it needs about a
twentieth of the draws (in the plane; where columns are many, pairs of x_0 and eps are drawn after all).

What a network's loss has above it, at the same t, is what it has not learned. Where the distribution is unknown, an
`EmpiricalOracle` of the training rows gives a lower bound instead, which only a network that has learned its rows by
heart could reach.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from motes.diffusion._blurred_oracles import EmpiricalOracle
from motes.diffusion._denoiser import Denoiser
from motes.diffusion._oracles import ROWS, Oracle
from motes.errors import UsageError
from motes.learning._losses import Loss
from motes.learning._programs import training_program
from motes.learning._times import Times

Array = NDArray[np.float64]

EXACT = "irreducible"
BOUND = "a bound for memorising"
LEARNED = "learned"

FEW_COLUMNS = 8  # a divergence of more costs more than it saves


class Estimate(NamedTuple):
    """A mean, its standard error, and what it is the mean of: `EXACT`, `BOUND` or `LEARNED`."""

    mean: float
    error: float
    label: str


@dataclass(frozen=True)
class LossCurve:
    """At each time of `t` (m,) the mean loss (m,) and its standard error (m,); the same rows and noise at each.

    Example:
        >>> from motes.diffusion import GaussianOracle, VarianceExploding
        >>> from motes.evaluation import irreducible_loss
        >>> from motes.learning import X0
        >>> oracle = GaussianOracle([0.0], [[1.0]], VarianceExploding(sigma_max=1.0))
        >>> x0 = np.random.default_rng(0).standard_normal((1000, 1))
        >>> curve = irreducible_loss(oracle, X0(), x0, [0.5, 1.0], key=jax.random.key(0))
        >>> curve.mean.shape, curve.label
        ((2,), 'irreducible')
    """

    t: Array
    mean: Array
    error: Array
    label: str

    def __repr__(self) -> str:
        return f"LossCurve({len(self.t)} times, {self.label})"


def irreducible_loss(
    denoiser: Denoiser, loss: Loss, x0: ArrayLike, t: ArrayLike, *, key: jax.Array, draws: int = 10_000
) -> LossCurve:
    """The loss of a denoiser at each of some times; for an exact one, the least that any can have.

    In the precision that JAX computes in: noise below 1e-6 of the data is lost in the rounding of float32, for an
    exact denoiser as for a learned one.

    Args:
        denoiser: exact, in standardised units. A learned one gives its own loss, on the same rows and noise.
        loss: the sum of its terms; for an exact denoiser a weighted squared error of x_0, as `EDM` is, or
            a sum of such errors of each column, as `Hybrid` is.
        x0: rows of the data, standardised (n, d).
        t: times (m,) in (0, 1].
        key: of the rows and the noise.
        draws: pairs of a row and a noise at each time; every row comes equally often, give or take one.

    Raises:
        UsageError: times out of range, or shapes other than these.

    Example:
        >>> from motes.diffusion import GaussianOracle, VarianceExploding
        >>> from motes.evaluation import irreducible_loss
        >>> from motes.learning import X0
        >>> oracle = GaussianOracle([0.0], [[1.0]], VarianceExploding(sigma_max=1.0))
        >>> x0 = np.random.default_rng(0).standard_normal((1000, 1))
        >>> curve = irreducible_loss(oracle, X0(), x0, [1.0], key=jax.random.key(0))
        >>> curve.mean.round(1).tolist()  # Var[x_0 | x_t] at t = 1
        [0.5]
    """
    times = np.atleast_1d(np.asarray(t, dtype=np.float64))
    if times.ndim != 1 or not ((times > 0) & (times <= 1)).all():
        raise UsageError(f"t = {t}; expected times above 0, up to 1.")
    values = np.stack([_losses(denoiser, loss, x0, jnp.full(draws, time), key) for time in times])  # (m, draws)
    return LossCurve(times, values.mean(axis=1), values.std(axis=1) / np.sqrt(draws), _label(denoiser))


def expected_loss(
    denoiser: Denoiser, loss: Loss, x0: ArrayLike, times: Times, *, key: jax.Array, draws: int = 50_000
) -> Estimate:
    """`irreducible_loss` averaged over the times that training draws: how low the training curve can go."""
    key_times, key_losses = jax.random.split(key)
    values = _losses(denoiser, loss, x0, times(denoiser.schedule, key_times, draws), key_losses)
    # An upper bound where the times are stratified.
    return Estimate(float(values.mean()), float(values.std() / np.sqrt(draws)), _label(denoiser))


def _label(denoiser: Denoiser) -> str:
    if not isinstance(denoiser, Oracle):
        return LEARNED
    by_heart = isinstance(denoiser, EmpiricalOracle) and not denoiser.spread.any()
    return BOUND if by_heart else EXACT


def _losses(denoiser: Denoiser, loss: Loss, x0: ArrayLike, t: jax.Array, key: jax.Array) -> Array:
    """One loss for each time (m,), each on a row and a noise of its own."""
    x = np.asarray(x0)
    if x.ndim != 2 or not len(x):
        raise UsageError(f"x0 has shape {x.shape}; expected (n, d) with n >= 1.")
    key_rows, key_eps = jax.random.split(key)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key_rows)))  # nothing to compile
    rows = x[np.resize(rng.permutation(len(x)), len(t))]
    more = -len(t) % ROWS
    rows, padded = np.pad(rows, ((0, more), (0, 0)), mode="edge"), jnp.pad(t, (0, more), mode="edge")
    parts = [
        _block(denoiser, loss, jnp.asarray(rows[i : i + ROWS], float), padded[i : i + ROWS], key_eps, jnp.asarray(i))
        for i in range(0, len(rows), ROWS)
    ]
    return np.concatenate(parts)[: len(t)].astype(np.float64)


@training_program
def _block(denoiser: Denoiser, loss: Loss, x0: jax.Array, t: jax.Array, key: jax.Array, start: jax.Array) -> jax.Array:
    eps = jax.random.normal(jax.random.fold_in(key, start), x0.shape)

    def one(row: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        exact_and_few = isinstance(denoiser, Oracle) and x0.shape[1] <= FEW_COLUMNS
        at = _given_x_t(denoiser, *row) if exact_and_few else row
        return sum(loss(denoiser, *at).values(), start=jnp.zeros(()))

    return jax.lax.map(one, (x0, t, eps), batch_size=256)


def _given_x_t(oracle: Denoiser, x0: jax.Array, t: jax.Array, eps: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Another x_0 and eps of the same x_t, which the oracle misses by as much as it misses all such x_0 on average."""
    assert isinstance(oracle, Oracle)
    alpha, sigma = oracle.schedule.alpha(t), oracle.schedule.sigma(t)
    x_t = alpha * x0 + sigma * eps
    missed = oracle(x_t, t) + jnp.sqrt(oracle.variance(x_t, t))
    return missed, t, (x_t - alpha * missed) / sigma
