"""Losses that training minimises, and targets with less noise than x_0.

    L_simple = E |eps - eps_hat(alpha_t x_0 + sigma_t eps, t)|^2        (Ho et al. 2020, eq. 14)

and losses E w |x_0 - x0_hat(x_t, t)|^2, which differ in the weight w and have the same optimum, E[x_0 | x_t].
With SNR = alpha_t^2 / sigma_t^2, L_simple has w = SNR, since alpha_t (x_0 - x0_hat) = sigma_t (eps_hat - eps).

A loss acts on one row and returns named terms; training sums the terms and averages over rows. Any callable with this
signature is a loss: `loss(denoiser, x0 (d,), t (), eps (d,)) -> {"name": ()}`. A squared error of x_0 sets `squared`:
the mean of x_0 over the rows of a batch is then an equivalent target (`stable_target`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

from motes.points.denoisers import Denoiser
from motes.points.process import q_sample
from motes.points.schedules import Schedule
from motes.ranges import CheckedModule, number
from motes.training.processes import Part

Loss = Callable[[Denoiser, Array, Array, Array], dict[str, Array]]


class Simple(eqx.Module):
    """The simple loss: the squared error of the noise, averaged over columns.

    Example:
        >>> from motes.points import GaussianOracle, Simple, VarianceExploding
        >>> denoiser = GaussianOracle([0.0], [[1.0]], VarianceExploding(sigma_max=1.0))
        >>> terms = Simple()(denoiser, jnp.array([1.0]), jnp.array(1.0), jnp.array([0.0]))  # x_t = 1, eps_hat = 0.5
        >>> print(terms["eps"].round(4))
        0.25
    """

    squared: ClassVar[bool] = True

    def __call__(self, denoiser: Denoiser, x0: Array, t: Array, eps: Array) -> dict[str, Array]:
        x_t = q_sample(denoiser.schedule, x0, t, eps)
        return {"eps": jnp.mean((denoiser.eps(x_t, t) - eps) ** 2)}


# --- squared errors of x_0 with a weight --------------------------------------------------------------------------


class Weighted(CheckedModule):
    """Base class of weighted squared errors of x_0, averaged over columns; a subclass defines `weight`.

    Example:
        >>> from motes.points import VarianceExploding
        >>> from motes.points.losses import Weighted
        >>> class Flat(Weighted):
        ...     def weight(self, schedule, t):
        ...         return jnp.ones_like(t)
        >>> print(Flat().weight(VarianceExploding(), jnp.array(0.5)))
        1.0
    """

    squared: ClassVar[bool] = True

    @abstractmethod
    def weight(self, schedule: Schedule, t: Array) -> Array:
        """Return the weight w () at time t ().

        Example:
            >>> from motes.points import VarianceExploding
            >>> from motes.points.losses import MinSNR
            >>> print(MinSNR().weight(VarianceExploding(sigma_max=2.0), jnp.array(1.0)).round(4))  # 1 / 2^2
            0.25
        """

    def __call__(self, denoiser: Denoiser, x0: Array, t: Array, eps: Array) -> dict[str, Array]:
        x_t = q_sample(denoiser.schedule, x0, t, eps)
        return {"x0": self.weight(denoiser.schedule, t) * jnp.mean((denoiser(x_t, t) - x0) ** 2)}


def snr(schedule: Schedule, t: Array) -> Array:
    """Return the signal-to-noise ratio alpha_t^2 / sigma_t^2."""
    return jnp.exp(schedule.log_snr(t))


class EDM(Weighted):
    """The squared error of x_0 with weight w = SNR + 1 = (r^2 + 1) / r^2, r = sigma_t / alpha_t.

    An untrained network's loss is then 1 at every t, for data of unit variance (Karras et al. 2022, table 1).

    Example:
        >>> from motes.points import EDM, VarianceExploding
        >>> print(EDM().weight(VarianceExploding(sigma_max=2.0), jnp.array(1.0)).round(4))
        1.25
    """

    def weight(self, schedule: Schedule, t: Array) -> Array:
        return 1 + snr(schedule, t)


class X0(Weighted):
    """The squared error of x_0 with weight w = 1. Low noise levels hardly count.

    Example:
        >>> from motes.points import VarianceExploding
        >>> from motes.points.losses import X0
        >>> print(X0().weight(VarianceExploding(), jnp.array(1.0)))
        1.0
    """

    def weight(self, schedule: Schedule, t: Array) -> Array:
        return jnp.ones_like(t)


class TruncatedSNR(Weighted):
    """The squared error of x_0 with weight w = max(SNR, 1), so that high noise levels also count.

    See Salimans & Ho 2022, section 4.

    Example:
        >>> from motes.points import VarianceExploding
        >>> from motes.points.losses import TruncatedSNR
        >>> print(TruncatedSNR().weight(VarianceExploding(sigma_max=2.0), jnp.array(1.0)))
        1.0
    """

    def weight(self, schedule: Schedule, t: Array) -> Array:
        return jnp.maximum(snr(schedule, t), 1)


class MinSNR(Weighted):
    """The squared error of x_0 with weight w = min(SNR, gamma), so that low noise levels do not dominate.

    See Hang et al. 2023.

    Example:
        >>> from motes.points import VarianceExploding
        >>> from motes.points.losses import MinSNR
        >>> print(MinSNR(gamma=5.0).weight(VarianceExploding(), jnp.array(0.1)))
        5.0
    """

    gamma: float = number(5.0, 0, 1e9, open_low=True)

    def weight(self, schedule: Schedule, t: Array) -> Array:
        return jnp.minimum(snr(schedule, t), self.gamma)


class ELBO(Weighted):
    """The squared error of x_0 with weight w = -(dSNR/dt) / 2: the continuous-time variational bound.

    If t is uniform on [s, 1], the expected loss times (1 - s) is the part of the bound between these times, in nats per
    column (Kingma et al. 2021, section 5). With any other distribution of t it is another loss.

    Example:
        >>> from motes.points import RectifiedFlow
        >>> from motes.points.losses import ELBO
        >>> print(ELBO().weight(RectifiedFlow(), jnp.array(0.5)).round(2))
        4.12
    """

    def weight(self, schedule: Schedule, t: Array) -> Array:
        alpha_rate, sigma_rate = schedule.rates(t)
        return snr(schedule, t) * (sigma_rate / schedule.sigma(t) - alpha_rate / schedule.alpha(t))


# --- Targets with less noise than x_0: its mean over the rows of the batch, given x_t -------------------------------
#
#     x_0*_i = sum_j w_ij x_j,    w_ij ~ exp(-|x_t_i - alpha_t x_j|^2 / (2 sigma_t^2)),    j over the batch
#
# Given the batch and x_t, row j was the noised one with probability w_ij. So the mean over the rows has the same
# expected gradient as x_0 itself, with less noise (Rao-Blackwell; Xu et al. 2023, "Stable target field for reduced
# variance score estimation in diffusion models").
#
# With x_t_i = alpha x_i + sigma eps_i, the exponent is, up to a term that is the same for all j,
#
#     -(alpha / sigma)^2 |x_i - x_j|^2 / 2 - (alpha / sigma) eps_i . (x_i - x_j)


GROUP = 512  # rows of a batch that are averaged together


class Target(NamedTuple):
    """Regression targets of the rows of a batch.

    Attributes:
        x0: (b, d), the mean of x_0.
        eps: (b, d), the noise that leads from this mean to the same x_t.
        deviation: (b,), the standard deviation of x_0 around the mean, the same for each column.
    """

    x0: Array
    eps: Array
    deviation: Array


def stable_target(schedule: Schedule, x0: Array, t: Array, eps: Array, alike: Array) -> Target:
    """Compute the mean of x_0 over the batch given x_t, for each row.

    Args:
        schedule: noise schedule.
        x0: rows of the batch (b, d).
        t, eps: time (b,) and noise (b, d) of each row.
        alike: (b, b), whether x_t of row i may come from row j; true on the diagonal.
    """
    alpha, sigma = schedule.alpha(t)[:, None], schedule.sigma(t)[:, None]

    def add(sums: tuple[Array, Array], column: tuple[Array, Array]) -> tuple[Any, None]:
        x, noise = column
        difference = x[:, None] - x  # squares of x_t would lose low noise levels in rounding
        return (sums[0] + difference**2, sums[1] + noise[:, None] * difference), None

    zero = jnp.zeros(alike.shape, x0.dtype)
    # Column by column: a sum over the last axis of (b, b, d) takes four times as long.
    # `square` is |x_i - x_j|^2 and `along` is eps_i . (x_i - x_j).
    (square, along), _ = jax.lax.scan(add, (zero, zero), (x0.T, eps.T), unroll=min(len(x0.T), 8))
    logits = -(alpha / sigma) * (alpha / sigma * square / 2 + along)
    weights = jax.nn.softmax(jnp.where(alike, logits, -jnp.inf), axis=1)
    mean = weights @ x0
    moved = x0 - mean
    variance = jnp.sum(weights * square, axis=1) - jnp.sum(moved**2, axis=1)
    deviation = jnp.sqrt(jnp.maximum(variance, 0) / x0.shape[1])
    return Target(mean, eps + alpha / sigma * moved, deviation)


def in_groups(function: Callable[..., Any], rows: Any, among: Array, part: Part = Part()) -> Any:
    """Call `function(*rows, among)` on groups of at most `GROUP` rows, so that its cost is linear in the batch size.

    `rows` and the function's results have a leading batch axis; `among` (b,) is false for rows to ignore. If devices
    share the batch, only the results of the rows in this `part` are returned.
    """
    count = -(-len(among) // GROUP)
    if part.devices > 1:
        if count % part.devices or len(among) % count:  # groups of rows of several devices
            return part.own(in_groups(function, rows, among))
        return in_groups(function, *part.own((rows, among)))
    if count == 1:
        return function(*rows, among)
    more = -len(among) % count

    def divided(part: Array, mode: str = "edge") -> Array:
        return jnp.pad(part, ((0, more), *[(0, 0)] * (part.ndim - 1)), mode).reshape(count, -1, *part.shape[1:])

    groups = jax.tree.map(divided, rows), divided(among, "constant")
    found = jax.lax.map(lambda group: function(*group[0], group[1]), groups)
    return jax.tree.map(lambda part: part.reshape(-1, *part.shape[2:])[: len(among)], found)


class Constant(Denoiser):
    """A denoiser that returns the same x_0 for any x_t."""

    schedule: Schedule
    x0: Array

    def __call__(self, x_t: Array, t: Array) -> Array:
        return self.x0
