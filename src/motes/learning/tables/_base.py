"""A Gaussian mixture of the numbers of a table, and what each component says of a number given what comes before it.

Its axes are the numbers, and the codes of labels of few values (`layout.Levels`): a normal of both is a regression of
the numbers on the labels that are known.

For one component in one order of the columns, covariance = L L^T, the visible numbers x are whitened one by one,

    e_k = (x_k - m_k - sum over l < k of L_kl e_l) / L_kk,    e_k = 0 where x_k is hidden,
    x_j | visible ~ N(m_j + sum over visible k of L_jk e_k,  sum over hidden k <= j of L_jk^2)

This is exact when the visible numbers are the first ones of the order. A hidden number in between is not learned from
those behind it: then it is an approximation from which the network corrects, and the density stays normalised.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Base(NamedTuple):
    """A mixture of C normals with A axes.

    Attributes:
        log_weights: (C,).
        means: (C, A).
        covariances: (C, A, A).
    """

    log_weights: jax.Array
    means: jax.Array
    covariances: jax.Array


class Ordered(NamedTuple):
    """A base in one order of its axes; or in an order of each of n rows, with n in front of every shape.

    Attributes:
        order: place in the order -> axis, (A,).
        log_weights: (C,).
        means: (C, A), in the order, as are the factors.
        factors: (C, A, A), lower triangular.
    """

    order: jax.Array
    log_weights: jax.Array
    means: jax.Array
    factors: jax.Array


class Components(NamedTuple):
    """What each component says of each axis, (n, A, C)."""

    log_weights: jax.Array
    means: jax.Array
    sds: jax.Array


def in_order(base: Base, order: jax.Array) -> Ordered:
    """The base with its axes in an order (A,)."""
    covariances = base.covariances[:, order][:, :, order]
    factors = jnp.linalg.cholesky(covariances) if covariances.size else covariances
    return Ordered(order, base.log_weights, base.means[:, order], factors)


def in_orders(base: Base, orders: jax.Array) -> Ordered:
    """The base with its axes in an order of each row, (n, A)."""
    return jax.vmap(in_order, (None, 0))(base, orders)


def components_given(base: Ordered, y: jax.Array, visible: jax.Array) -> Components:
    """The normals of every axis given those that are visible and come before it in the order.

    Args:
        base: in an order.
        y: (n, A), in the base's own order, as are the answers.
        visible: (n, A), which of them are seen.
    """
    x, seen = y[:, base.order], visible[:, base.order]
    deviations = jnp.where(seen[:, None], x[:, None] - base.means, 0.0)  # (n, C, A)
    whitened = _whitened(base.factors, deviations, seen)
    means = base.means + jnp.einsum("nck,cjk->ncj", whitened, base.factors)
    variances = jnp.einsum("nk,cjk->ncj", 1.0 - seen, jnp.square(base.factors))
    # Of a visible number the variance is none; nobody asks for it.
    sds = jnp.sqrt(jnp.where(seen[:, None], 1.0, variances))
    diagonal = jnp.diagonal(base.factors, axis1=1, axis2=2)
    terms = -0.5 * jnp.square(whitened) - jnp.log(diagonal)
    log_weights = jax.nn.log_softmax(base.log_weights + (terms * seen[:, None]).sum(-1), axis=-1)  # (n, C)
    back = jnp.argsort(base.order)
    means, sds = (jnp.moveaxis(part[:, :, back], 1, 2) for part in (means, sds))
    return Components(jnp.broadcast_to(log_weights[:, None], means.shape), means, sds)


def _whitened(factors: jax.Array, deviations: jax.Array, seen: jax.Array) -> jax.Array:
    """e (n, C, A) of the module's equation."""
    size = factors.shape[-1]

    def step(k: jax.Array, made: jax.Array) -> jax.Array:
        row = factors[:, k]  # (C, A)
        rest = deviations[:, :, k] - (made * row).sum(-1)
        return made.at[:, :, k].set(jnp.where(seen[:, k, None], rest / row[:, k], 0.0))

    return jax.lax.fori_loop(0, size, step, jnp.zeros_like(deviations))
