"""Rows of a table under conditions, filled in, and scored: blocks of an `Unmasker`'s rows.

Known values are seen first. Columns of which something else is known come next, each within what is left of it, and
then the others. A row drawn so has the weight

    w = product over conditioned columns of p(condition on j | those before)

and rows are drawn again by their weights (sequential importance resampling: Gordon, Salmond & Smith 1993). The mean of
w times p(known values) is the probability of the whole condition.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from numpy.typing import NDArray

from motes.learning.tables._links import Derived, shares_of
from motes.learning.tables._network import Rows
from motes.sampling._loop import cores
from motes.sampling._unmasking import ROWS, Unmasker, Within
from motes.tables._conditions import Restriction
from motes.tables._parts import Array
from motes.tables._schema import Schema

T = TypeVar("T")


class Block(NamedTuple):
    """Some drawn rows.

    Attributes:
        codes, y, u: (n, p), for `Schema.decode`.
        log_weights: (n,); all the same where the rows need not be drawn again.
    """

    codes: NDArray[np.int32]
    y: Array
    u: Array
    log_weights: Array


def draw_block(
    unmasker: Unmasker,
    schema: Schema,
    rows: int,
    seed: int,
    block: int,
    known: Rows | None = None,
    conditions: Mapping[str, Restriction] | None = None,
    *,
    exact: bool = False,
) -> Block:
    """One block of rows.

    Args:
        unmasker: in an order in which the known parts come first, or with such an order of each row.
        schema: of the table.
        rows: n, of the compiled program.
        seed, block: of the random numbers.
        known: (n, p), entries that are observed are seen and not drawn.
        conditions: column -> what is left of it.
        exact: each row asks all members for every part, so that `log_within` is exact. What is left out of a part by
            its range or by its column's earlier parts has the same share under all members otherwise.
    """
    p = unmasker.layout.parts
    rng = np.random.Generator(np.random.Philox(key=[seed, block]))
    codes, y, log_weights = np.zeros((rows, p), np.int32), np.zeros((rows, p)), np.zeros(rows)
    u_rare = rng.random((rows, p))
    seen, visible = unmasker.start(rows), np.zeros((rows, p), bool)
    if known is not None:
        visible = np.array(known.observed)
        codes, y = np.where(visible, known.codes, 0), np.where(visible, known.y, 0.0).astype(np.float64)
        for k, j in enumerate(map(int, unmasker.order)):
            if visible[:, j].any():
                seen = unmasker.show(seen, k, codes[:, j], y[:, j], known.u[:, j], visible[:, j])
    for k, j in enumerate(map(int, unmasker.order)):
        hidden = ~visible[:, j]
        if not hidden.any():
            continue
        within, restriction = _within(unmasker, schema, j, codes, y, conditions or {})
        derived = unmasker.derived(j, codes, y, visible)
        split = restriction is None and unmasker.ranks is None and not exact
        found = unmasker.draw(seen, k, within, rng, derived, split=split)
        new_codes, new_y, ranks, log_within = found
        codes[hidden, j], y[hidden, j], visible[:, j] = new_codes[hidden], new_y[hidden], True
        if restriction is not None:
            log_weights[hidden] += log_within[hidden]
            if restriction.shares() is not None:
                u_rare[hidden, j] = restriction.narrowed(codes[:, j], u_rare[:, j])[hidden]
        if k < p - 1:
            seen = unmasker.show(seen, k, codes[:, j], y[:, j], ranks, hidden)
    for column, restriction in (conditions or {}).items():
        at = schema.parts_of(column)
        log_weights = np.where(restriction.holds(codes[:, at], y[:, at]), log_weights, -np.inf)
    return Block(codes, y, u_rare, log_weights)


def _within(
    unmasker: Unmasker,
    schema: Schema,
    j: int,
    codes: NDArray[np.int32],
    y: Array,
    conditions: Mapping[str, Restriction],
) -> tuple[Within, Restriction | None]:
    """What of part j may be drawn after the earlier parts of its column, and what says so, if anything does."""
    column = schema.parts[j].column
    at = schema.parts_of(column)
    before = slice(at.start, j)
    within = unmasker.everything(j)
    possible = schema.allowed(j, codes[:, before], y[:, before]) if j > at.start else None
    if possible is not None:
        within = within._replace(shares=np.asarray(possible, float))
    restriction = conditions.get(column)
    if restriction is None:
        return within, None
    allowed = restriction.allowed(j - at.start, codes[:, before], y[:, before]).astype(float)
    share = restriction.shares()
    if share is not None and j == at.start:
        allowed = allowed * share
    low, high = restriction.interval(j - at.start, codes[:, before], y[:, before])
    low, high = np.maximum(low, within.low), np.minimum(high, within.high)
    scale = unmasker.reader.scales[j]
    if scale is not None:  # of a code at the end of the interval a part remains
        inside = scale.inside(low, high)
        part = np.ones((len(inside), unmasker.layout.sizes[j]))
        part[:, : inside.shape[1]] = inside
        allowed = allowed * (part if len(part) > 1 else part[0])
    return Within(within.shares * allowed, low, high), restriction


def again(block: Block, n: int, seed: int, number: int) -> tuple[NDArray[np.intp], float, float]:
    """Which rows of a block stand for its n rows, their effective number, and the log of the mean weight."""
    weights = block.log_weights
    top = weights.max()
    if not np.isfinite(top):
        return np.zeros(0, np.intp), 0.0, -np.inf
    share = np.exp(weights - top)
    mean = top + np.log(share.mean())
    if np.ptp(weights) < 1e-5:
        return np.arange(n), float(n), float(mean)
    share /= share.sum()
    effective = float(1 / (share**2).sum())
    rng = np.random.default_rng([seed, 299792, number])
    # Systematic resampling, the rows of it in any order.
    places = (np.arange(n) + rng.random()) / n
    chosen = np.minimum(np.searchsorted(np.cumsum(share), places), len(share) - 1)
    return rng.permutation(chosen), effective, float(mean)


def log_prob_rows(unmasker: Unmasker, rows: Rows) -> Array:
    """log p of the observed entries of n rows, (n,), by the chain rule in the order."""
    return log_prob_parts(unmasker, rows).sum(axis=1)


def log_prob_parts(unmasker: Unmasker, rows: Rows) -> Array:
    """log p of each observed entry given the observed ones before it in the order, (n, p); 0 of the others."""
    n = len(rows.codes)
    made = np.zeros(rows.codes.shape)
    for start in range(0, n, ROWS):
        some = slice(start, start + ROWS)
        take = lambda part, some=some: _padded(part[some], ROWS)
        count = len(made[some])
        made[some] = _log_prob_block(unmasker, Rows(*map(take, rows)), count)[:count]
    return made


def _log_prob_block(unmasker: Unmasker, rows: Rows, count: int) -> Array:
    made = np.zeros(rows.codes.shape)
    seen = unmasker.start(len(made))
    last = unmasker.layout.parts - 1
    for k, j in enumerate(map(int, unmasker.order)):
        here = rows.observed[:, j]
        if here.any():
            entry = jax.tree.map(lambda part, j=j: np.asarray(part)[:, j], rows)
            made[:, j] = np.where(here, unmasker.log_prob(seen, k, entry, count), 0.0)
            if k < last:
                seen = unmasker.show(seen, k, entry.codes, entry.y, entry.u, here)
    return made


def _with_dependencies(shares: Array, links: Any, derived: Sequence[Derived]) -> Array:
    """p (n, K), the mean over members, from softmaxes (M, n, K) and from rho (M, n, R) of the dependencies."""
    if not derived:
        return np.asarray(shares.mean(0))
    pi, rest = shares_of(links, derived)
    made = shares * rest[..., None]
    for r, one in enumerate(derived):
        made[:, np.arange(len(one.codes)), one.codes] += pi[..., r]
    return np.asarray(made.mean(0))


def _padded(part: Any, n: int) -> Any:
    """A part of fewer than n rows, with its first row again and again at its end."""
    return part if len(part) == n else np.concatenate([part, np.repeat(part[:1], n - len(part), axis=0)])


def in_turn(work: Callable[[int], T], count: int) -> Iterator[T]:
    """work(0), work(1), ... in this order, two at a time: one computes while the other is on the way to values."""
    with ThreadPoolExecutor(min(2, cores())) as pool:
        waiting = [pool.submit(work, number) for number in range(min(3, count))]
        try:
            for number in range(count):
                yield waiting.pop(0).result()
                if number + 3 < count:
                    waiting.append(pool.submit(work, number + 3))
        finally:
            for one in waiting:
                one.cancel()


def last_codes(unmasker: Unmasker, rows: Rows, count: int) -> Array:
    """The distribution (n, count) of the first codes of the last part, of labels, given what is observed."""
    n = len(rows.codes)
    made = []
    for start in range(0, n, ROWS):
        some = jax.tree.map(lambda part, start=start: _padded(part[start : start + ROWS], ROWS), rows)
        seen = unmasker.start(ROWS)
        for k, j in enumerate(map(int, unmasker.order[:-1])):
            codes, y, u, here = (part[:, j] for part in (some.codes, some.y, some.u, some.observed))
            seen = unmasker.show(seen, k, codes, y, u, here)
        j = int(unmasker.order[-1])
        derived = unmasker.derived(j, *(np.asarray(part) for part in (some.codes, some.y, some.observed)))
        views = unmasker.view(seen, len(unmasker.order) - 1, derived)
        made.append(
            _with_dependencies(np.exp(np.asarray(views.log_codes, np.float64)), views.links, derived)[:, :count]
        )
    found = np.concatenate(made)[:n]
    return found / found.sum(axis=1, keepdims=True)
