"""Biases with which the marginals of drawn rows are those of the training rows.

A part that is drawn after others inherits their errors: its mean prediction over drawn rows is not the share of each
code among the training rows. Biases correct that. One for each bin t of a line tilts both experts,

    mean over drawn rows of  g a_t exp(b_t) / sum_s a_s exp(b_s) + (1 - g) q_t exp(b_t) / sum_s q_s exp(b_s)  =  share_t

of the values; the bias of missing entries, on which both experts agree, gives these their share. One for each code
moves the first expert within the bins. They belong to the model: rows are drawn and scored with them, so that the
density stays normalised.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from motes._precision import put
from motes.learning._programs import brief_program, training_program
from motes.learning.tables._density import masses
from motes.learning.tables._layout import BINS, NEVER, Layout
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
    one, gates, valued = jax.nn.one_hot(of_code, BINS + 1), jnp.exp(view.gate), of_code < BINS
    codes = gates[:, :1] * jnp.exp(view.log_codes)  # (n, K)
    of_codes, missing = ((codes * here).sum(-1, keepdims=True) for here in (valued, ~valued))
    first = jax.nn.softmax(jnp.where(valued, view.log_codes, NEVER), -1) @ one[:, :-1]  # (n, T), of the values
    second = masses(view.normals, edges).sum(-1)
    second, target = second / second.sum(-1, keepdims=True), shares @ one

    def of_values(tilt: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """What tilted codes and normals have of each bin (n, T), and missing entries (n, 1)."""
        weights = jnp.exp(tilt)
        a, q, gone = first * weights[:-1], second * weights[:-1], missing * weights[-1]
        times = a.sum(-1, keepdims=True)
        left = rest[:, None] / ((1 - missing) * times + gone)
        return of_codes * a * left, gates[:, 1:] * q / q.sum(-1, keepdims=True) * times * left, gone * left

    def closer(_: int, tilt: jax.Array) -> jax.Array:
        a, q, gone = of_values(tilt)
        return _moved(tilt, target, jnp.append((a + q).mean(0), gone.mean()), target)

    tilt = jax.lax.fori_loop(0, ROUNDS, closer, jnp.zeros(BINS + 1))
    # What the codes have of a bin goes to its codes in proportion to what the normals leave of them.
    a, _, _ = of_values(tilt)
    of_bin, share = jnp.append(a.mean(0), 0.0), jnp.where(valued, shares, 0.0)
    wanted = of_bin[of_code] * share / jnp.maximum(target[of_code], LEAST)
    log_codes = jnp.where(valued, view.log_codes + tilt[of_code], NEVER)
    within = jnp.where(valued, _of_codes(log_codes, a.sum(-1), wanted, share), 0.0)
    return tilt[of_code] + jnp.where(a.sum(-1).mean() > MOST * rest.mean(), within, 0.0), tilt[:-1]


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
