"""Biases with which the marginals of drawn rows are those of the training rows.

A part that is drawn after others inherits their errors: its mean prediction over drawn rows is not the share of each
code among the training rows. Biases correct that. One for each bin t of a line tilts both experts,

    mean over drawn rows of  g a_t exp(b_t) / sum_s a_s exp(b_s) + (1 - g) q_t exp(b_t) / sum_s q_s exp(b_s)  =  share_t

and one for each code moves the first expert within the bins. They belong to the model: rows are drawn and scored with
them, so that the density stays normalised.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from motes._precision import put
from motes.learning._programs import brief_program, training_program
from motes.learning.tables._density import masses
from motes.learning.tables._layout import BINS, Layout
from motes.learning.tables._model import each_member
from motes.learning.tables._reveal import Outlook, Place, Spot

ROUNDS = 12  # of the fixed point
FLOOR = 0.05  # of a share, that is kept whatever else has it
LEAST = 1e-12  # a share that is none
REACH = 2.0  # nats, that a bias is at most
MOST = 0.5  # of the rows, that the codes have on average where they are moved within the bins


def bias_of(
    layout: Layout, views: Outlook, place: Place, spot: Spot, shares: Any, rest: Any
) -> tuple[jax.Array, jax.Array | None]:
    """The biases of a part: of its codes (M, K), and of its bins (M, T) where it has a density.

    Args:
        layout: of the table.
        views: of the members, of n drawn rows each.
        place, spot: of the part.
        shares: (M, K), of the codes among the training rows, without what relations give.
        rest: (M, n), the share of each row that relations leave.
    """
    shares, rest = put(shares), put(rest)
    if not spot.line:
        return _of_labels(views.log_codes, rest, shares), None
    line, codes = int(place.line), shares.shape[1]
    of_code = layout.bins.of_code[line][:codes]
    of_code = np.pad(of_code, (0, codes - len(of_code)), constant_values=BINS)
    return _of_lines(views, of_code, layout.bins.edges[line], shares, rest)


@brief_program
def _of_labels(log_codes: jax.Array, rest: jax.Array, shares: jax.Array) -> jax.Array:
    one = lambda log_codes, rest, shares: _of_codes(log_codes, rest, shares, shares)
    return each_member(one)(log_codes, rest, shares)


@training_program
def _of_lines(views: Outlook, of_code: Any, edges: Any, shares: jax.Array, rest: jax.Array) -> Any:
    one = lambda view, shares, rest: _of_line(view, jnp.asarray(of_code), jnp.asarray(edges), shares, rest)
    return each_member(one)(views, shares, rest)


def _of_line(
    view: Outlook, of_code: jax.Array, edges: jax.Array, shares: jax.Array, rest: jax.Array
) -> tuple[jax.Array, jax.Array]:
    assert view.normals is not None
    one = jax.nn.one_hot(of_code, BINS + 1)
    first, second = jnp.exp(view.log_codes) @ one, masses(view.normals, edges).sum(-1)  # (n, T+1), (n, T)
    gates = jnp.exp(view.gate) * rest[:, None]
    target = shares @ one

    def closer(_: int, tilt: jax.Array) -> jax.Array:
        weights = jnp.exp(tilt)
        a, q = first * weights, second * weights[:-1]
        mean = (gates[:, :1] * a / a.sum(-1, keepdims=True)).mean(0)
        mean = mean + jnp.pad((gates[:, 1:] * q / q.sum(-1, keepdims=True)).mean(0), (0, 1))
        return _moved(tilt, target, mean, target).at[-1].set(0.0)

    tilt = jax.lax.fori_loop(0, ROUNDS, closer, jnp.zeros(BINS + 1))
    # What the codes have of a bin goes to its codes in proportion to what the normals leave of them.
    a = first * jnp.exp(tilt)
    of_bin = (gates[:, :1] * a / a.sum(-1, keepdims=True)).mean(0)
    wanted = of_bin[of_code] * shares / jnp.maximum(target[of_code], LEAST)
    within = _of_codes(view.log_codes + tilt[of_code], gates[:, 0], wanted, shares)
    return tilt[of_code] + jnp.where(gates[:, 0].mean() > MOST * rest.mean(), within, 0.0), tilt[:-1]


def _of_codes(log_codes: jax.Array, gate: jax.Array, target: jax.Array, shares: jax.Array) -> jax.Array:
    """The biases (K,) with which codes, of which each of n rows has a share `gate` (n,), have the `target` (K,)."""

    def closer(_: int, bias: jax.Array) -> jax.Array:
        mean = (gate[:, None] * jax.nn.softmax(log_codes + bias, axis=-1)).mean(0)
        return _moved(bias, target, mean, shares)

    return jax.lax.fori_loop(0, ROUNDS, closer, jnp.zeros_like(shares))


def _moved(bias: jax.Array, target: jax.Array, mean: jax.Array, shares: jax.Array) -> jax.Array:
    """A bias (K,) one step closer to where the mean (K,) is the target (K,)."""
    step = jnp.log(jnp.maximum(target, LEAST)) - jnp.log(jnp.maximum(mean, LEAST))
    bias = bias + jnp.where(shares > 0, step, 0.0)
    return jnp.clip(bias - (shares * bias).sum() / shares.sum(), -REACH, REACH)
