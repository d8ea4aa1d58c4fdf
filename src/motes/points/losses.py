"""Losses: what training minimises, and targets with less noise than x_0.

    L_simple = E |eps - eps_hat(alpha_t x_0 + sigma_t eps, t)|^2        (Ho et al. 2020, eq. 14)

and its relatives E w |x_0 - x0_hat(x_t, t)|^2, which differ in the weight w and have the same optimum, E[x_0 | x_t].
With SNR = alpha_t^2 / sigma_t^2, L_simple is that of w = SNR, since alpha_t (x_0 - x0_hat) = sigma_t (eps_hat - eps).

A loss acts on one row and returns named terms; the trainer sums the terms and takes the mean over rows. Anything of
this signature is a loss: `loss(denoiser, x0 (d,), t (), eps (d,)) -> {"name": ()}`. One that is a squared error of
x_0 says so, `squared`: the mean of x_0 over the rows of a batch is then as good a target (`stable_target`).
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
from motes.ranges import check_fields, number

Loss = Callable[[Denoiser, Array, Array, Array], dict[str, Array]]


class Simple(eqx.Module):
    """Squared error of the noise, the mean over columns: the simple loss.

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


class Weighted(eqx.Module):
    """Squared error of x_0 times a weight, the mean over columns; a new one is its weight.

    Example:
        >>> from motes.points import VarianceExploding, Weighted
        >>> class Flat(Weighted):
        ...     def weight(self, schedule, t):
        ...         return jnp.ones_like(t)
        >>> print(Flat().weight(VarianceExploding(), jnp.array(0.5)))
        1.0
    """

    squared: ClassVar[bool] = True

    def __check_init__(self) -> None:
        check_fields(self)

    @abstractmethod
    def weight(self, schedule: Schedule, t: Array) -> Array:
        """w, a number, at the time t ().

        Example:
            >>> from motes.points import VarianceExploding
            >>> from motes.points.losses import SNR
            >>> print(SNR().weight(VarianceExploding(sigma_max=2.0), jnp.array(1.0)).round(4))  # 1 / 2^2
            0.25
        """

    def __call__(self, denoiser: Denoiser, x0: Array, t: Array, eps: Array) -> dict[str, Array]:
        x_t = q_sample(denoiser.schedule, x0, t, eps)
        return {"x0": self.weight(denoiser.schedule, t) * jnp.mean((denoiser(x_t, t) - x0) ** 2)}


def snr(schedule: Schedule, t: Array) -> Array:
    """alpha_t^2 / sigma_t^2."""
    return jnp.exp(schedule.log_snr(t))


class EDM(Weighted):
    """w = SNR + 1 = (r^2 + 1) / r^2 with r = sigma_t / alpha_t.

    It makes a fresh network's loss 1 at every t, for data of unit variance (Karras et al. 2022, table 1).

    Example:
        >>> from motes.points import EDM, VarianceExploding
        >>> print(EDM().weight(VarianceExploding(sigma_max=2.0), jnp.array(1.0)).round(4))
        1.25
    """

    def weight(self, schedule: Schedule, t: Array) -> Array:
        return 1 + snr(schedule, t)


class X0(Weighted):
    """w = 1: the error of x_0 as it is. Little noise counts for next to nothing.

    Example:
        >>> from motes.points import VarianceExploding
        >>> from motes.points.losses import X0
        >>> print(X0().weight(VarianceExploding(), jnp.array(1.0)))
        1.0
    """

    def weight(self, schedule: Schedule, t: Array) -> Array:
        return jnp.ones_like(t)


class SNR(Weighted):
    """w = SNR: `Simple`, computed from x0_hat.

    Example:
        >>> from motes.points import VarianceExploding
        >>> from motes.points.losses import SNR
        >>> print(SNR().weight(VarianceExploding(sigma_max=2.0), jnp.array(1.0)).round(4))
        0.25
    """

    def weight(self, schedule: Schedule, t: Array) -> Array:
        return snr(schedule, t)


class TruncatedSNR(Weighted):
    """w = max(SNR, 1), so that nearly pure noise counts too (Salimans & Ho 2022, section 4).

    Example:
        >>> from motes.points import VarianceExploding
        >>> from motes.points.losses import TruncatedSNR
        >>> print(TruncatedSNR().weight(VarianceExploding(sigma_max=2.0), jnp.array(1.0)))
        1.0
    """

    def weight(self, schedule: Schedule, t: Array) -> Array:
        return jnp.maximum(snr(schedule, t), 1)


class MinSNR(Weighted):
    """w = min(SNR, gamma), so that little noise does not count for all (Hang et al. 2023).

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
    """w = -(dSNR/dt) / 2: the variational bound of infinitely many steps (Kingma et al. 2021, section 5).

    With t uniform on [s, 1] the expected loss times (1 - s) is the part of the bound between these times, in nats a
    column. With any other distribution of t it is another loss.

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
# A batch and x_t do not tell which of its rows was noised: row j with probability w_ij. So the mean over them has the
# expected gradient of x_0 itself, and less noise (Rao-Blackwell; a stable target field, Xu et al. 2023,
# "Stable target field for reduced variance score estimation in diffusion models").


GROUP = 512  # rows of a batch that may stand for each other


class Target(NamedTuple):
    """What the rows of a batch regress on.

    Attributes:
        x0: (b, d).
        eps: (b, d), the noise that leads from there to the same x_t.
        deviation: (b,), the standard deviation of x_0 around it, the same in each column.
    """

    x0: Array
    eps: Array
    deviation: Array


def stable_target(schedule: Schedule, x0: Array, t: Array, eps: Array, alike: Array) -> Target:
    """The mean of x_0 over the batch for each row noised by `eps` (b, d) at its time t (b,).

    Args:
        schedule: of the noise.
        x0: rows of the batch (b, d).
        t, eps: of each row.
        alike: (b, b), whether row i may have been row j; it may have been itself.
    """
    alpha, sigma = schedule.alpha(t)[:, None], schedule.sigma(t)[:, None]

    def add(sums: tuple[Array, Array], column: tuple[Array, Array]) -> tuple[Any, None]:
        x, noise = column
        apart = x[:, None] - x  # differences from row i: squares of x_t would lose little noise in rounding
        return (sums[0] + apart**2, sums[1] + noise[:, None] * apart), None

    nothing = jnp.zeros(alike.shape, x0.dtype)
    # Column by column: a sum over the last axis of (b, b, d) takes four times as long.
    (square, along), _ = jax.lax.scan(add, (nothing, nothing), (x0.T, eps.T), unroll=min(len(x0.T), 8))
    logits = -(alpha / sigma) * (alpha / sigma * square / 2 + along)
    weights = jax.nn.softmax(jnp.where(alike, logits, -jnp.inf), axis=1)
    mean = weights @ x0
    moved = x0 - mean
    variance = jnp.sum(weights * square, axis=1) - jnp.sum(moved**2, axis=1)
    deviation = jnp.sqrt(jnp.maximum(variance, 0) / x0.shape[1])
    return Target(mean, eps + alpha / sigma * moved, deviation)


def in_groups(function: Callable[..., Any], rows: Any, among: Array) -> Any:
    """`function(*rows, among)` of groups of a batch, at most `GROUP` rows each, so that its cost grows with the batch.

    `rows` and what the function gives have an axis of the batch; `among` (b,) is false for rows that do not count.
    """
    count = -(-len(among) // GROUP)
    if count == 1:
        return function(*rows, among)
    more = -len(among) % count

    def divided(part: Array, mode: str = "edge") -> Array:
        return jnp.pad(part, ((0, more), *[(0, 0)] * (part.ndim - 1)), mode).reshape(count, -1, *part.shape[1:])

    groups = jax.tree.map(divided, rows), divided(among, "constant")
    found = jax.lax.map(lambda group: function(*group[0], group[1]), groups)
    return jax.tree.map(lambda part: part.reshape(-1, *part.shape[2:])[: len(among)], found)


class Constant(Denoiser):
    """x_0 is the same whatever x_t."""

    schedule: Schedule
    x0: Array

    def __call__(self, x_t: Array, t: Array) -> Array:
        return self.x0
