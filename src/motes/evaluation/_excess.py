"""What a network has not learned, noise level by noise level, and what that costs in nats.

    excess(r) = E |eps_hat - eps|^2 - E |eps* - eps|^2,    eps* the exact answer, r = sigma_t / alpha_t

    KL(q(x_0) || p(x_0)) <= integral of excess(r) d log r + KL(q(x_1) || p(x_1))

for the reverse SDE's p (Song et al. 2021, "Maximum likelihood training of score-based diffusion models", theorem 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from motes.diffusion._denoiser import Denoiser
from motes.diffusion._discrete import DiscreteVP
from motes.diffusion._oracles import ROWS, Oracle
from motes.diffusion._process import q_sample
from motes.diffusion._schedules import Schedule
from motes.errors import UsageError

Array = NDArray[np.float64]

LEVELS = 25


@dataclass(frozen=True)
class ExcessLoss:
    """Squared errors of the noise, the sum over columns, at each of m noise levels.

    Attributes:
        t: the times (m,), and `noise`, r = sigma_t / alpha_t at each, rising.
        loss, least: of the denoiser, and of what it is held against, (m,).
        excess: what is between them, (m,), and `error`, its standard error.
        nats_of_row: excess integrated over log r for each of the n rows, (n,).

    Example:
        >>> from motes.diffusion import GaussianOracle, VarianceExploding
        >>> from motes.evaluation import excess_loss, noise_levels
        >>> schedule = VarianceExploding(sigma_max=10.0)
        >>> exact, wrong = (GaussianOracle([0.0], [[variance]], schedule) for variance in (1.0, 4.0))
        >>> x0 = np.random.default_rng(0).standard_normal((100, 1))
        >>> found = excess_loss(wrong, exact, x0, noise_levels(schedule, 0.01, 5)[0], key=jax.random.key(0))
        >>> found.excess.shape, found.nats > 0
        ((5,), True)
    """

    t: Array
    noise: Array
    loss: Array
    least: Array
    excess: Array
    error: Array
    nats_of_row: Array

    def __repr__(self) -> str:
        return f"ExcessLoss({len(self.t)} noise levels, {self.nats:.3g} nats)"

    def to_dict(self) -> dict[str, list[float]]:
        """For JSON: the curves by noise level.

        Example:
            >>> sorted(model.diagnose("moons", n=64).excess.to_dict())
            ['error', 'excess', 'least', 'loss', 'noise']
        """
        return {name: getattr(self, name).tolist() for name in ("noise", "loss", "least", "excess", "error")}

    @property
    def nats(self) -> float:
        """A bound on what the network's error costs, in nats a row."""
        return float(self.nats_of_row.mean())

    @property
    def nats_error(self) -> float:
        """Its standard error."""
        return float(self.nats_of_row.std() / np.sqrt(len(self.nats_of_row)))

    @property
    def worst(self) -> float:
        """The noise level that adds most."""
        return float(self.noise[np.argmax(self.excess)])


def noise_levels(schedule: Schedule, lowest: float, count: int = LEVELS) -> tuple[Array, Array]:
    """Times, and the noise level at each, about equally far apart in log r, from `lowest` to that of t = 1.

    Of a discrete schedule they are its own steps, because a network may know no others.

    Example:
        >>> from motes.diffusion import VarianceExploding
        >>> from motes.evaluation import noise_levels
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
    """The loss of a denoiser above that of an oracle, on the same rows and noise.

    Args:
        denoiser: learned, or any other.
        reference: what it is held against, under the same schedule.
        x0: rows that the denoiser was not trained on, in its units (n, d), n >= 2.
        t: times (m,), rising, above 0, m >= 2.
        key: of the noise.
        exact: `reference` knows the distribution of the rows. Then the excess is E |eps_hat - eps*|^2, which is the
            same, never below 0, and less noisy than a difference of losses.
        repeats: noises for each row at each time; the errors are those of independent rows, not of noises.

    Raises:
        UsageError: shapes other than these.

    Example:
        >>> from motes.diffusion import GaussianOracle, VarianceExploding
        >>> from motes.evaluation import excess_loss, noise_levels
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
        raise UsageError(f"t = {t}; expected at least 2 rising times above 0, up to 1.")
    count = repeats * len(rows)
    padded = np.pad(np.tile(rows, (repeats, 1)), ((0, -count % ROWS), (0, 0)), mode="edge")
    blocks = [
        _errors(denoiser, reference, jnp.asarray(padded[i : i + ROWS], float), jnp.asarray(times, float), key, i)
        for i in np.arange(0, count, ROWS)
    ]
    all_draws = np.concatenate(blocks, axis=2)[..., :count].astype(np.float64)  # (3, m, repeats n)
    loss, least, apart = all_draws.reshape(3, len(times), repeats, len(rows)).mean(axis=2)  # (m, n) each
    above = apart if exact else loss - least
    noise = np.exp(-np.asarray(denoiser.schedule.log_snr(times), np.float64) / 2)
    return ExcessLoss(
        times,
        noise,
        loss.mean(axis=1),
        least.mean(axis=1),
        above.mean(axis=1),
        above.std(axis=1) / np.sqrt(len(rows)),
        np.trapezoid(above, np.log(noise), axis=0),
    )


@eqx.filter_jit
def _errors(
    denoiser: Denoiser, reference: Oracle, x0: jax.Array, times: jax.Array, key: jax.Array, first: ArrayLike
) -> jax.Array:
    """|eps_hat - eps|^2, |eps* - eps|^2 and |eps_hat - eps*|^2 at each time for each row, (3, m, n)."""

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
