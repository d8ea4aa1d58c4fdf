"""One part of each of n rows is chosen by what the members of a model make of it: a code, a normal, or a relation.

A member is chosen by what it has within the interval that may be drawn, a bin by its share, and within the bin a code
or a normal. One uniform number does both last steps: what choosing leaves of it is uniform again.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from motes.learning._programs import drawing_program
from motes.learning.tables._density import TINY, masses
from motes.learning.tables._layout import BINS
from motes.learning.tables._reveal import Outlook

GOLDEN = 2654435769  # 2^32 over the golden ratio
EVEN = 1e-6  # by which rows that expect the same come in any order
ONE = 1 - 1e-6  # so that rounding does not reach beyond the last of several


class Choice(NamedTuple):
    """What was chosen for n rows, (n,) each.

    Attributes:
        link: a relation, counted from 1; 0: none,
        codes: or a code,
        normal, means, sds: or a normal,
        low, high: of which the part between these.
        rest: what is left of the uniform number that chose it, itself uniform.
        log_within: the log probability of what may be drawn.
    """

    link: jax.Array
    codes: jax.Array
    normal: jax.Array
    means: jax.Array
    sds: jax.Array
    low: jax.Array
    high: jax.Array
    rest: jax.Array
    log_within: jax.Array


class Chances(NamedTuple):
    """What is random in a choice. NumPy draws it: JAX would compile a program for each kind of number.

    Attributes:
        member, link, ties: uniform numbers, (n,).
        shift: 32 bits, ().
    """

    member: Any
    link: Any
    ties: Any
    shift: Any

    @classmethod
    def of(cls, rng: np.random.Generator, n: int) -> "Chances":
        """Of n rows."""
        member, link, ties = rng.random((3, n), np.float32)
        return cls(member, link, ties, np.asarray(rng.integers(2**32, dtype=np.uint32)))


class Binned(NamedTuple):
    """A density by bins: of each member and row, what each expert has of each bin."""

    bins: jax.Array
    """(K,), the bin of each code; BINS where it has none."""
    ends: jax.Array
    """(n, T+1), the edges of the bins within the interval that may be drawn."""
    code_shares: jax.Array
    """(M, n, T+1), of the codes."""
    normal_parts: jax.Array
    """(M, n, T, C), of each normal."""


def _binned(
    views: Outlook, lattice: tuple[jax.Array, jax.Array] | None, log_codes: jax.Array, low: Any, high: Any
) -> Binned | None:
    """The shares of the bins; None where the part has no density."""
    if views.normals is None or views.tilt is None or lattice is None:
        return None
    edges, of_code = lattice
    n = log_codes.shape[1]
    bins = jnp.pad(of_code, (0, max(0, log_codes.shape[-1] - len(of_code))), constant_values=BINS)
    bins = bins[: log_codes.shape[-1]]
    first, last = (jnp.broadcast_to(end, (n,))[:, None] for end in (low, high))
    ends = jnp.clip(edges, first, last)  # (n, T+1)
    tilt, total = views.tilt
    by = jnp.exp(views.gate[..., 1:] + tilt[..., :-1] - total[..., None])[..., None]
    normal_parts = by * masses(views.normals, ends)  # (M, n, T, C)
    code_shares = jnp.exp(log_codes + views.gate[..., :1]) @ jax.nn.one_hot(bins, BINS + 1)
    return Binned(bins, ends, code_shares, normal_parts)


@drawing_program()
def choose(
    views: Outlook,
    back: Any,
    lattice: tuple[jax.Array, jax.Array] | None,
    log_shares: Any,
    low: Any,
    high: Any,
    could: Any,
    fits: Any,
    chances: Chances,
) -> Choice:
    """Choose one part of each of n rows.

    Args:
        views: of the members, (M, n, ...); with `back` each row asked one of them, and they are (M, m, ...).
        back: place of each row among these rows of all members, (n,).
        lattice: edges of the bins (T+1,) and the bin of each code (K,); None for a part without a density.
        log_shares: (K,) or (n, K), of each code that may be drawn.
        low, high: the interval that may.
        could, fits: which relations give a value, and one that may be drawn, (n, R).
        chances: what is random.
    """
    if back is not None:
        views = jax.tree.map(lambda part: part.reshape(1, -1, *part.shape[2:])[:, back], views)
    members, n = views.gate.shape[:2]
    log_codes = views.log_codes + log_shares  # (M, n, K)
    binned = _binned(views, lattice, log_codes, low, high)
    if binned is None:
        shares = jnp.exp(log_codes)
    else:
        shares = binned.code_shares + jnp.pad(binned.normal_parts.sum(-1), ((0, 0), (0, 0), (0, 1)))
    both = jnp.log(shares.sum(-1))
    link = jnp.zeros(n, jnp.int32)
    if views.links is not None:
        rho = jnp.concatenate([both[..., None], jnp.where(fits, views.links, -jnp.inf)], -1)
        log_rest = jnp.logaddexp(0.0, jax.nn.logsumexp(jnp.where(could, views.links, -jnp.inf), -1))
        within = jax.nn.logsumexp(rho, -1) - log_rest
    else:
        within = both
    log_within = jax.nn.logsumexp(within, 0) - jnp.log(members)
    member = jnp.zeros(n, int) if members == 1 else picked(jnp.exp(_below_0(within.T)), chances.member)[0]
    if views.links is not None:
        link = picked(jnp.exp(_below_0(_of_member(rho, member))), chances.link)[0]
    # Rows that expect about the same get numbers spread evenly: their shares are nearer to what is expected of them.
    shares = _of_member(shares, member)
    expected = (shares @ jnp.arange(shares.shape[-1])) / shares.sum(-1)
    expected = expected + EVEN * chances.ties
    chosen, rest = picked(shares, spread_evenly(expected, chances.shift))
    if views.normals is None or binned is None:
        none = jnp.zeros(n)
        return Choice(link, chosen, none > 0, none, none, none, none, rest, log_within)
    of_member = lambda part: _of_member(part, member)
    binned = binned._replace(code_shares=of_member(binned.code_shares), normal_parts=of_member(binned.normal_parts))
    normal, codes, component, rest = _in_bin(binned, of_member(log_codes), shares, chosen, rest)
    means, sds = (_own(of_member(part), component) for part in (views.normals.means, views.normals.sds))
    low, high = (_own(binned.ends, jnp.minimum(chosen, BINS - 1) + end) for end in (0, 1))
    return Choice(link, codes, normal, means, sds, low, high, rest, log_within)


def _in_bin(
    binned: Binned, log_codes: jax.Array, shares: jax.Array, chosen: jax.Array, rest: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Whether a normal is chosen within the chosen bins, then which code and which normal, and what is left of `rest`.

    All are of one member, without the axis of the members, and (n,).
    """
    share = _own(binned.code_shares, chosen) / jnp.maximum(_own(shares, chosen), TINY)
    normal = rest >= share
    rest = jnp.where(normal, (rest - share) / jnp.maximum(1 - share, TINY), rest / jnp.maximum(share, TINY))
    rest = jnp.clip(rest, 0.0, ONE)
    codes, rest_of_code = picked(jnp.where(binned.bins == chosen[:, None], jnp.exp(log_codes), 0.0), rest)
    inside = jnp.minimum(chosen, BINS - 1)
    parts = jnp.take_along_axis(binned.normal_parts, inside[:, None, None], 1)[:, 0]  # (n, C)
    component, rest_of_normal = picked(parts, rest)
    return normal, codes, component, jnp.where(normal, rest_of_normal, rest_of_code)


def _of_member(part: jax.Array, member: jax.Array) -> jax.Array:
    """Of (M, n, ...), what the member (n,) of each row has."""
    return jnp.take_along_axis(part, member.reshape(1, len(member), *(1,) * (part.ndim - 2)), 0)[0]


def _own(part: jax.Array, which: jax.Array) -> jax.Array:
    """Of (n, K), the entry (n,) of each row that `which` (n,) says."""
    return jnp.take_along_axis(part, which[:, None], -1)[:, 0]


def _below_0(log_weights: jax.Array) -> jax.Array:
    """Logarithms (..., K) of which the largest is 0."""
    return log_weights - log_weights.max(-1, keepdims=True)


def spread_evenly(expected: jax.Array, start: Any) -> jax.Array:
    """Uniform numbers (n,), such that those of rows with neighbouring `expected` (n,) are spread evenly.

    They are a Kronecker sequence with a random start along the rank of the rows (Owen 2013, chapter 17): each of them
    is uniform, and with the rank they fill the unit square more evenly than independent ones would. `start` is 32
    random bits.
    """
    rank = jnp.argsort(jnp.argsort(expected)).astype(jnp.uint32)
    return ((start + rank * jnp.uint32(GOLDEN)) >> 8).astype(jnp.float32) * 2.0**-24


def picked(weights: jax.Array, u: jax.Array) -> tuple[jax.Array, jax.Array]:
    """One of K in proportion to its weight, (n, K) -> (n,), by uniform numbers (n,), and what is left of these."""
    upto = jnp.cumsum(weights, -1)
    mark = u * ONE * upto[:, -1]
    chosen = jnp.minimum((upto <= mark[:, None]).sum(-1), weights.shape[-1] - 1).astype(jnp.int32)
    take = lambda part: jnp.take_along_axis(part, chosen[:, None], -1)[:, 0]
    own = take(weights)
    return chosen, jnp.clip((mark - take(upto) + own) / jnp.maximum(own, 1e-30), 0.0, ONE)
