"""Rows in a box: rows are drawn until enough of them lie in it.

    x | low <= x <= high    is x, kept where low <= x <= high

They are exact and independent. It takes 1 / p(box) rows to find one, so it is for boxes that are not rare.
"""

import math
from collections.abc import Callable
from functools import partial

import jax
import numpy as np
from numpy.typing import NDArray

from motes.diffusion._denoiser import Given
from motes.sampling._loop import ReverseProcess, sample

ATTEMPTS = 50  # rows that may be drawn for each that is requested
ROUND = 2048  # rows that are drawn at once, or a multiple of them


def rows_inside(
    process: ReverseProcess,
    bounds: tuple[NDArray[np.float64], NDArray[np.float64]],
    n: int,
    *,
    key: jax.Array,
    given: Given | None = None,
    on_block: Callable[[int], None] | None = None,
) -> NDArray[np.float32] | None:
    """Draw `n` rows with low <= z <= high; None where the box is too rare for that, as that of a known number is.

    Args:
        process: denoiser, sampler and grid.
        bounds: low and high, (d,) each, in the units that the denoiser was trained in.
        n: how many rows.
        key: the same key gives the same rows.
        given: as for `sample`; rows that are drawn take in turn what is known of each of n.
        on_block: called with the number of rows found so far.
    """
    low, high = bounds
    if (low == high).any():
        return None
    most = max(ATTEMPTS * n, ROUND)
    kept, found, drawn = [], 0, 0
    # It goes on while the share of rows that are kept says that `most` will do.
    while found < n and drawn < most and found * most >= drawn * n:
        wanted = (n - found) * drawn / found if found else ROUND
        m = ROUND * math.ceil(min(wanted, max(n, ROUND)) / ROUND)
        known = jax.tree.map(partial(np.take, indices=np.arange(drawn, drawn + m) % n, axis=0), given)
        rows, _ = sample(process, m, key=key, given=known, skip=drawn)
        kept.append(rows[((low <= rows) & (rows <= high)).all(axis=1)])
        found, drawn = found + len(kept[-1]), drawn + m
        if on_block:
            on_block(min(found, n))
    return np.concatenate(kept)[:n] if found >= n else None
