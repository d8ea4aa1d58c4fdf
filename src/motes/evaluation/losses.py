"""The excess loss of a denoiser over the exact one at each noise level, and the irreducible loss.

    excess(r) = E |eps_hat - eps|^2 - E |eps* - eps|^2,    eps* the exact prediction, r = sigma_t / alpha_t

    KL(q(x_0) || p(x_0)) <= integral of excess(r) d log r + KL(q(x_1) || p(x_1))

for the reverse SDE's p (Song et al. 2021, "Maximum likelihood training of score-based diffusion models", theorem 1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from motes.encoding import JsonRecord
from motes.errors import UsageError
from motes.evaluation.results import Array
from motes.points import Denoiser, DiscreteVP, Oracle, Schedule, Times, q_sample
from motes.points.exact import ROWS
from motes.points.losses import Loss
from motes.training.programs import blocks, training_program

LEVELS = 25


@dataclass(frozen=True)
class ExcessLoss(JsonRecord):
    """Squared errors of the predicted noise, summed over columns, at each of m noise levels.

    Attributes:
        t: the times (m,); `noise`, r = sigma_t / alpha_t at each, increasing.
        loss, least: losses of the denoiser and of the reference, (m,).
        excess: the difference of the losses, (m,); `error`, its standard error.
        nats_of_row: excess integrated over log r for each of the n rows, (n,).

    Example:
        >>> from motes.points import GaussianOracle, VarianceExploding
        >>> from motes.evaluation.losses import excess_loss, noise_levels
        >>> schedule = VarianceExploding(sigma_max=10.0)
        >>> exact, wrong = (GaussianOracle([0.0], [[variance]], schedule) for variance in (1.0, 4.0))
        >>> x0 = np.random.default_rng(0).standard_normal((100, 1))
        >>> found = excess_loss(wrong, exact, x0, noise_levels(schedule, 0.01, 5)[0], key=jax.random.key(0))
        >>> found.excess.shape, found.nats > 0
        ((5,), True)
    """

    json_names = ("t", "noise", "loss", "least", "excess", "error", "nats", "nats_error")

    t: Array
    noise: Array
    loss: Array
    least: Array
    excess: Array
    error: Array
    nats_of_row: Array

    def __repr__(self) -> str:
        return f"ExcessLoss({len(self.t)} noise levels, {self.nats:.3g} nats)"

    @property
    def nats(self) -> float:
        """Upper bound on the loss of log-likelihood through the network's error, in nats per row."""
        return float(self.nats_of_row.mean())

    @property
    def nats_error(self) -> float:
        """Standard error of `nats`."""
        return float(self.nats_of_row.std() / np.sqrt(len(self.nats_of_row)))

    @property
    def worst(self) -> float:
        """The noise level with the largest excess."""
        return float(self.noise[np.argmax(self.excess)])


def noise_levels(schedule: Schedule, lowest: float, count: int = LEVELS) -> tuple[Array, Array]:
    """Return times and their noise levels, about equally spaced in log r, from `lowest` to the level at t = 1.

    For a discrete schedule they are its own steps, because a network may know no others.

    Example:
        >>> from motes.points import VarianceExploding
        >>> from motes.evaluation.losses import noise_levels
        >>> t, noise = noise_levels(VarianceExploding(sigma_max=10.0), lowest=0.1, count=3)
        >>> noise.round(2).tolist()
        [0.1, 1.0, 10.0]
    """
    highest = float(np.exp(-np.asarray(schedule.log_snr(1.0)) / 2))
    noise = np.geomspace(lowest, highest, count)
    t = np.asarray(schedule.t_of_log_snr(-2 * np.log(noise)), np.float64)
    if isinstance(schedule, DiscreteVP):
        t = np.unique(np.clip(np.round(t * schedule.steps), 1, None)) / schedule.steps
    t[-1] = 1.0
    return t, np.exp(-np.asarray(schedule.log_snr(t), np.float64) / 2)


def excess_loss(
    denoiser: Denoiser,
    reference: Oracle,
    x0: ArrayLike,
    t: ArrayLike,
    *,
    key: jax.Array,
    exact: bool = True,
    repeats: int = 1,
) -> ExcessLoss:
    """Return the loss of a denoiser above the loss of an oracle, on the same rows and noise.

    Args:
        denoiser: a learned denoiser, or any other.
        reference: the oracle to compare with, under the same schedule.
        x0: rows that the denoiser was not trained on, in its units (n, d), n >= 2.
        t: times (m,), increasing, above 0, m >= 2.
        key: key of the noise.
        exact: whether `reference` knows the distribution of the rows. Then the excess is computed as
            E |eps_hat - eps*|^2, which is equal, never below 0, and less noisy than a difference of losses.
        repeats: noise draws for each row at each time; standard errors treat rows, not noise draws, as independent.

    Raises:
        UsageError: shapes other than these.

    Example:
        >>> from motes.points import GaussianOracle, VarianceExploding
        >>> from motes.evaluation.losses import excess_loss, noise_levels
        >>> schedule = VarianceExploding(sigma_max=10.0)
        >>> exact = GaussianOracle([0.0], [[1.0]], schedule)
        >>> x0 = np.random.default_rng(0).standard_normal((100, 1))
        >>> found = excess_loss(exact, exact, x0, noise_levels(schedule, 0.01, 5)[0], key=jax.random.key(0))
        >>> round(found.nats, 3)
        0.0
    """
    rows, times = np.asarray(x0), np.asarray(t, np.float64)
    if repeats < 1:
        raise UsageError(f"repeats = {repeats}; expected at least 1.")
    if rows.ndim != 2 or len(rows) < 2:
        raise UsageError(f"x0 has shape {rows.shape}; expected (n, d) with n >= 2.")
    if times.ndim != 1 or len(times) < 2 or not (np.diff(times) > 0).all() or not (times[0] > 0 and times[-1] <= 1):
        raise UsageError(f"t = {t}; expected at least 2 increasing times above 0, up to 1.")
    count = repeats * len(rows)
    parts = [
        _compute_errors(denoiser, reference, block, jnp.asarray(times, float), key, i)
        for i, block in zip(np.arange(0, count, ROWS), blocks(np.tile(rows, (repeats, 1)), ROWS), strict=True)
    ]
    all_draws = np.concatenate(parts, axis=2)[..., :count].astype(np.float64)  # (3, m, repeats n)
    loss, least, apart = all_draws.reshape(3, len(times), repeats, len(rows)).mean(axis=2)  # (m, n) each
    above = apart if exact else loss - least
    noise = np.exp(-np.asarray(denoiser.schedule.log_snr(times), np.float64) / 2)
    nats, error = np.trapezoid(above, np.log(noise), axis=0), above.std(axis=1) / np.sqrt(len(rows))
    return ExcessLoss(times, noise, loss.mean(axis=1), least.mean(axis=1), above.mean(axis=1), error, nats)


@eqx.filter_jit
def _compute_errors(
    denoiser: Denoiser, reference: Oracle, x0: jax.Array, times: jax.Array, key: jax.Array, first: ArrayLike
) -> jax.Array:
    """Return |eps_hat - eps|^2, |eps* - eps|^2 and |eps_hat - eps*|^2 at each time for each row, (3, m, n)."""

    def at(t: jax.Array, number: jax.Array) -> jax.Array:
        noise = jax.random.normal(jax.random.fold_in(jax.random.fold_in(key, number), first), x0.shape)

        def one(pair: tuple[jax.Array, jax.Array]) -> jax.Array:
            row, eps = pair
            x_t = q_sample(denoiser.schedule, row, t, eps)
            ours, best = denoiser.eps(x_t, t), reference.eps(x_t, t)
            return jnp.stack([jnp.sum(a**2) for a in (ours - eps, best - eps, ours - best)])

        return jax.lax.map(one, (x0, noise), batch_size=256).T

    found: jax.Array = jax.lax.map(lambda pair: at(*pair), (times, jnp.arange(len(times))))  # (m, 3, n)
    return jnp.swapaxes(found, 0, 1)


# --- The irreducible loss: the theoretical minimum of a training loss -----------------------------------------------
#
#     L*(t) = E loss(oracle, x_0, t, eps),    x_0 from the data, eps ~ N(0, I)
#     Var[x_0 | x_t] = (sigma_t / alpha_t)^2 (1 + sigma_t^2 d score(x_t)/dx_t)    (of each column; Tweedie's formula)
#
# Given x_t, this variance is the mean squared error of the exact denoiser, so the mean is taken over x_t alone. That
# needs about a twentieth of the draws in the plane; with many columns, pairs of x_0 and eps are drawn instead.
#
# The excess of a network's loss over it is what the network has not learned.


FEW_COLUMNS = 8  # for more columns, a divergence costs more than it saves


class Estimate(NamedTuple):
    """A mean loss and its standard error."""

    mean: float
    error: float


def expected_loss(
    denoiser: Denoiser, loss: Loss, x0: ArrayLike, times: Times, *, key: jax.Array, draws: int = 50_000
) -> Estimate:
    """Return the mean loss over the times of the training; for an exact denoiser, the minimum of the training curve.

    The result has JAX's precision: float32 rounding hides noise below 1e-6 of the data, for exact and learned denoisers
    alike.

    Args:
        denoiser: an exact denoiser, in standardised units. A learned one gives its own loss, on the same rows and
            noise.
        loss: the loss; all its terms are summed. For an exact denoiser it must be a weighted squared error of x_0, such
            as `EDM`, or a sum of such errors for each column, such as `Hybrid`.
        x0: rows of the data, standardised (n, d).
        times: distribution of the times.
        key: key of the times, the rows and the noise.
        draws: pairs of a row and a noise; the counts of the rows differ by at most one.

    Raises:
        UsageError: rows of another shape.

    Example:
        >>> from motes.points import GaussianOracle, VarianceExploding
        >>> from motes.evaluation.losses import expected_loss
        >>> from motes.points.losses import X0
        >>> from motes.points.times import UniformTimes
        >>> oracle = GaussianOracle([0.0], [[1.0]], VarianceExploding(sigma_max=1.0))
        >>> x0 = np.random.default_rng(0).standard_normal((1000, 1))
        >>> 0 < expected_loss(oracle, X0(), x0, UniformTimes(), key=jax.random.key(0), draws=1000).mean < 0.5
        True
    """
    x = np.asarray(x0)
    if x.ndim != 2 or not len(x):
        raise UsageError(f"x0 has shape {x.shape}; expected (n, d) with n >= 1.")
    key_times, key_losses = jax.random.split(key)
    key_rows, key_eps = jax.random.split(key_losses)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key_rows)))  # NumPy needs no compilation
    rows, t = x[np.resize(rng.permutation(len(x)), draws)], times(denoiser.schedule, key_times, draws)
    parts = [
        _compute_block(denoiser, loss, block, some, key_eps, jnp.asarray(i * ROWS))
        for i, (block, some) in enumerate(zip(blocks(rows, ROWS), blocks(t, ROWS), strict=True))
    ]
    values = np.concatenate(parts)[:draws].astype(np.float64)  # each of its own row, time and noise
    # With stratified times, the standard error is an upper bound.
    return Estimate(float(values.mean()), float(values.std() / np.sqrt(draws)))


@training_program
def _compute_block(
    denoiser: Denoiser, loss: Loss, x0: jax.Array, t: jax.Array, key: jax.Array, start: jax.Array
) -> jax.Array:
    eps = jax.random.normal(jax.random.fold_in(key, start), x0.shape)

    def one(row: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        exact_and_few = isinstance(denoiser, Oracle) and x0.shape[1] <= FEW_COLUMNS
        at = _resample_x0(denoiser, *row) if exact_and_few else row
        return sum(loss(denoiser, *at).values(), start=jnp.zeros(()))

    return jax.lax.map(one, (x0, t, eps), batch_size=256)


def _resample_x0(
    oracle: Denoiser, x0: jax.Array, t: jax.Array, eps: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return an x_0 and eps with the same x_t, for which the oracle's error equals its average error given x_t."""
    assert isinstance(oracle, Oracle)
    alpha, sigma = oracle.schedule.alpha(t), oracle.schedule.sigma(t)
    x_t = alpha * x0 + sigma * eps
    typical = oracle(x_t, t) + jnp.sqrt(oracle.variance(x_t, t))
    return typical, t, (x_t - alpha * typical) / sigma
