"""Biases with which the marginals of drawn rows are those of the training rows.

A part that is drawn after others inherits their errors: its mean prediction over drawn rows is not the share of each
code among the training rows. A bias b_k for each code, added to the logits in the order of drawing, corrects that:

    mean over drawn rows of  g a_k exp(b_k) / sum_l a_l exp(b_l)  =  share_k - mean of (1 - g) (the normals in code k)

The biases belong to the model: rows are drawn and scored with them, so that the density stays normalised.
"""

import jax
import jax.numpy as jnp

from motes.learning.tables.density import Normals, log_mass
from motes.learning.tables.reveal import Outlook

ROUNDS = 12  # of the fixed point
FLOOR = 0.05  # of a share, that the codes keep whatever the normals have
MOST = 0.5  # of the rows, that the codes have on average where they are moved
REACH = 2.0  # nats, that a bias is at most


@jax.jit
def bias_of(view: Outlook, shares: jax.Array, ends: jax.Array) -> jax.Array:
    """The biases (K,) of a part.

    Args:
        view: of one member, of n drawn rows.
        shares: (K,), of the codes among the training rows.
        ends: (L+1,), between which the codes lie, where the part has a density; L may be less than K.
    """
    gate = jnp.exp(view.gate[:, :1])
    target = shares
    if view.normals is not None:
        target = shares - jnp.pad(_normals_share(view.normals, gate[:, 0], ends), (0, len(shares) - len(ends) + 1))
    target = jnp.maximum(target, FLOOR * shares)

    def closer(_: int, bias: jax.Array) -> jax.Array:
        mean = (gate * jax.nn.softmax(view.log_codes + bias, axis=-1)).mean(0)
        bias = bias + jnp.where(
            shares > 0, jnp.log(jnp.maximum(target, 1e-12)) - jnp.log(jnp.maximum(mean, 1e-12)), 0.0
        )
        bias = bias - (shares * bias).sum()
        return jnp.clip(bias, -REACH, REACH)

    bias = jax.lax.fori_loop(0, ROUNDS, closer, jnp.zeros_like(shares))
    # Where the normals have most of the rows, the codes would be bent for faults that are not theirs.
    return jnp.where(gate.mean() > MOST, bias, 0.0)


def _normals_share(normals: Normals, gate: jax.Array, ends: jax.Array) -> jax.Array:
    """The share of the rows that the normals put into each code, (L,)."""

    def code(ends: tuple[jax.Array, jax.Array]) -> jax.Array:
        terms = log_mass(*ends, normals.means, normals.sds)
        mass = jnp.exp(jax.nn.logsumexp(normals.log_weights + terms, -1))
        # A point mass is no share of a density.
        return (jnp.where(ends[1] > ends[0], mass, 0.0) * (1 - gate)).mean()

    return jax.lax.map(code, (ends[:-1], ends[1:]))
