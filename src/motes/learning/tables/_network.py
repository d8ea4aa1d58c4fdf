"""One network for all columns of a table: the visible parts of a row in, the distributions of all others out.

    h_0 = sum over visible j of (E_j[code_j] + C_j basis(u_j) + a_j y_j) + sum over hidden j of H_j
    h_{i+1} = h_i + W_i gelu(V_i norm(h_i) + b_i)

A number that is visible comes at full precision: as its place y on the line and its rank u, not only as its code. The
output of part j is linear in norm(h): a logit for each code, smooth along the line where there is one, and the numbers
that move its density, if it has one. All outputs are zero at first: training starts from the marginals and the base.
"""

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from motes._precision import put
from motes.learning.tables._layout import DECAY, WAVES, Group, Layout

SHARED = 8
REACH = 8.0  # standard deviations, beyond which a visible number is not told from one at this distance


class Rows(NamedTuple):
    """n encoded rows, (n, p) each and `given` (n, p, R), or one part of them, (n,); see `motes.tables._parts.Encoded`.

    Attributes:
        codes, y, low, high, observed: as there.
        u: the share of the training rows below y.
        cell: high - low, which single precision would lose of a narrow one.
        inner: log of what an even spread over the code has at the value: a share of it, or a density in y.
        holds, could: bit r says whether relation r of the part holds, and whether it could; see `_links.py`.
        given: the places that the part's relations give; 0 where there is none.
        alone: the value is a code of its own without width (a label, an atom, missing), which no density holds.
    """

    codes: jax.Array
    y: jax.Array
    u: jax.Array
    low: jax.Array
    high: jax.Array
    cell: jax.Array
    inner: jax.Array
    holds: jax.Array
    could: jax.Array
    given: jax.Array
    alone: jax.Array
    observed: jax.Array


class Heads(NamedTuple):
    """The output layers in the form in which rows use them.

    Attributes:
        codes: of each group of parts; (G, K, H), or (G, WAVES, H) where no code is free, see `code_logits`.
        code_bias: (G, K), the log-masses of the marginals included.
        lines, line_bias: (L, Q, H) and (L, Q).
        links, link_bias: (J, R, H) and (J, R).
    """

    codes: tuple[jax.Array, ...]
    code_bias: tuple[jax.Array, ...]
    lines: jax.Array
    line_bias: jax.Array
    links: jax.Array
    link_bias: jax.Array


class MaskedNetwork(eqx.Module):
    """The network of the module's equation.

    Args:
        layout: the parts of the table.
        width: H, of the state.
        depth: blocks.
        line_outputs: Q, numbers for each density.
        dropout: share of the units that training leaves out.
        key: of the first weights; None: shapes in the place of arrays.
    """

    hidden: jax.Array  # (p, H)
    embed: jax.Array  # (S, H), S codes of the loose groups
    waves: jax.Array  # (p, WAVES, H)
    slopes: jax.Array  # (p, H)
    into: tuple[jax.Array, ...]  # (H, F)
    bias: tuple[jax.Array, ...]  # (F,)
    back: tuple[jax.Array, ...]  # (F, H)
    out_waves: tuple[jax.Array, ...]  # (G, WAVES, H)
    out_free: tuple[jax.Array, ...]  # (G, K, H); of a group without free codes (G, 0, H)
    out_bias: tuple[jax.Array, ...]  # (G, K)
    lines: jax.Array  # (L, Q, H)
    line_bias: jax.Array  # (L, Q)
    links: jax.Array  # (J, R, H)
    link_bias: jax.Array  # (J, R)
    dropout: float = eqx.field(static=True)

    def __init__(
        self, layout: Layout, width: int, depth: int, line_outputs: int, dropout: float, *, key: jax.Array | None
    ):
        p, total, lines = layout.parts, len(layout.free), len(layout.lines)
        rng = None if key is None else np.random.default_rng(np.asarray(jax.random.key_data(key)))  # compiles nothing

        def zeros(shape: tuple[int, ...]) -> Any:
            return jax.ShapeDtypeStruct(shape, np.float32) if rng is None else put(np.zeros(shape))

        def draw(shape: tuple[int, ...], scale: float) -> Any:
            return zeros(shape) if rng is None else put(scale * rng.standard_normal(shape))

        inner, share = 2 * width, 1 / math.sqrt(p)
        self.hidden = draw((p, width), share)
        self.embed = draw((total, width), share)
        self.waves = draw((p, WAVES, width), share)
        self.slopes = draw((p, width), share)
        self.into = tuple(draw((width, inner), 1 / math.sqrt(width)) for _ in range(depth))
        self.bias = tuple(zeros((inner,)) for _ in range(depth))
        self.back = tuple(draw((inner, width), 0.5 / math.sqrt(inner)) for _ in range(depth))
        self.out_waves = tuple(zeros((len(g.parts), WAVES, width)) for g in layout.groups)
        self.out_free = tuple(
            zeros((len(g.parts), g.log_masses.shape[1] if g.loose else 0, width)) for g in layout.groups
        )
        self.out_bias = tuple(zeros(g.log_masses.shape) for g in layout.groups)
        self.lines = zeros((lines, line_outputs, width))
        self.line_bias = zeros((lines, line_outputs))
        self.links = zeros((*layout.links.log_odds.shape, width))
        self.link_bias = zeros(layout.links.log_odds.shape) if key is None else put(layout.links.log_odds)
        self.dropout = dropout

    @property
    def units(self) -> int:
        """Of the state and of the blocks, some of which training leaves out."""
        return self.hidden.shape[-1] + sum(part.shape[-1] for part in self.bias)

    def state(self, layout: Layout, rows: Rows, visible: jax.Array, bits: jax.Array | None = None) -> jax.Array:
        """norm(h), (n, H), of rows of which the parts `visible` (n, p) are seen.

        With random `bits`, bytes (n / SHARED, units), units are left out.
        """
        at = layout.loose
        h = jnp.where(visible[..., None], jnp.clip(rows.y, -REACH, REACH)[..., None] * self.slopes, self.hidden).sum(1)
        if len(at):
            place = layout.offsets[at] + jnp.where(visible[:, at], rows.codes[:, at], 0)
            known = jnp.asarray(layout.free)[place] * visible[:, at]
            h = h + (known[..., None] * self.embed[place]).sum(1)
        on_line = visible & jnp.asarray(layout.on_line)
        h = h + jnp.einsum("npr,prh->nh", waves_of(rows.u) * on_line[..., None], self.waves)
        first = 0
        for into, bias, back in zip(self.into, self.bias, self.back, strict=True):
            mine = None if bits is None else bits[:, first : first + len(bias)]
            h = h + thinned(jax.nn.gelu(normed(h) @ into + bias), self.dropout, mine) @ back
            first += len(bias)
        return thinned(normed(h), self.dropout, None if bits is None else bits[:, first:])

    def heads(self, layout: Layout) -> Heads:
        """The output layers; free and smooth parts of a code's weights are one here."""
        codes = tuple(
            jnp.asarray(g.free)[..., None] * free + jnp.einsum("gkr,grh->gkh", jnp.asarray(g.basis), waves)
            if g.loose
            else waves
            for g, free, waves in zip(layout.groups, self.out_free, self.out_waves, strict=True)
        )
        bias = tuple(jnp.asarray(g.log_masses) + b for g, b in zip(layout.groups, self.out_bias, strict=True))
        return Heads(codes, bias, self.lines, self.line_bias, self.links, self.link_bias)


def code_logits(group: Group, codes: jax.Array, bias: jax.Array, state: jax.Array) -> jax.Array:
    """The logits (n, G, K) of a group's codes; without free ones the basis takes them from a few numbers a part."""
    if group.loose:
        return jnp.einsum("nh,gkh->ngk", state, codes) + bias
    return jnp.einsum("ngr,gkr->ngk", jnp.einsum("nh,grh->ngr", state, codes), jnp.asarray(group.basis)) + bias


def waves_of(u: jax.Array) -> jax.Array:
    """The smooth basis at ranks u (...), (..., WAVES)."""
    waves = jnp.arange(1, WAVES + 1)
    return jnp.cos(math.pi * u[..., None] * waves) / jnp.sqrt(1 + (waves / DECAY) ** 2)


def normed(h: jax.Array) -> jax.Array:
    """h (..., H) over its root mean square (Zhang & Sennrich 2019, eq. 4, without a gain)."""
    return h * jax.lax.rsqrt(jnp.square(h).mean(-1, keepdims=True) + 1e-6)


def thinned(h: jax.Array, dropout: float, bits: jax.Array | None) -> jax.Array:
    """h (n, F) with that share of its units left out, and the others the larger for it (Srivastava et al. 2014).

    SHARED rows have a mask together, from random bytes (n / SHARED, F).
    """
    if bits is None or not dropout:
        return h
    out = round(256 * dropout)
    return h * jnp.repeat((bits >= out) * (256 / (256 - out)), SHARED, axis=0)[: len(h)]
