"""Rows in a box, by whatever is cheaper: by rejection where it is not rare, otherwise by particles."""

from collections.abc import Callable

import jax
import numpy as np
from numpy.typing import NDArray

from motes.diffusion._denoiser import Given
from motes.errors import UsageError
from motes.sampling._loop import ReverseProcess
from motes.sampling._particles import conditional_sample
from motes.sampling._rejection import rows_inside

Array = NDArray[np.float64]


def sample_inside(
    process: ReverseProcess,
    bounds: tuple[Array, Array],
    n: int,
    *,
    key: jax.Array,
    given: Given | None = None,
    only: bool = False,
    on_block: Callable[[int], None] | None = None,
) -> tuple[Array, float]:
    """Draw `n` rows with low <= z <= high: (n, d), and how many independent ones they are worth.

    Args:
        process: denoiser, sampler and grid; particles have a step of their own in the place of the sampler's.
        bounds: low and high, (d,) each, in the units that the denoiser was trained in; the same number in both is a
            known coordinate.
        n: how many rows.
        key: the same key gives the same rows.
        given: as for `sample`.
        only: refuse rather than to draw without the sampler, as particles do.
        on_block: called with the number of rows found so far.

    Raises:
        UsageError: a label for each row, or a box too rare for the sampler.
    """
    if given is not None and given.label is not None and np.ptp(np.asarray(given.label)):
        raise UsageError(
            "got a condition and a label for each row; expected one label, since conditioned rows are drawn together. "
            "Ask label by label."
        )
    drawn: NDArray[np.floating] | None
    drawn = rows_inside(process, bounds, n, key=key, given=given, on_block=on_block)
    effective = float(n)
    if drawn is None:
        if only:
            raise UsageError(
                f"the sampler {type(process.sampler).__name__} was chosen, but rows of what is given are so rare that "
                "they are drawn by particles, which have a sampler of their own. Leave it out."
            )
        one = jax.tree.map(lambda part: part[0], given)
        counted = None if on_block is None else (lambda done: on_block(min(done, n)))  # particles are no rows
        found = conditional_sample(process.denoiser, bounds, n, key=key, grid=process.grid, given=one, on_block=counted)
        # Rows of one particle stand side by side.
        order = np.random.default_rng(np.asarray(jax.random.key_data(key))).permutation(n)
        drawn, effective = found.rows[order], min(found.ess, float(n))
    low, high = bounds
    # Single precision may have put one just beyond an end.
    return np.clip(drawn.astype(np.float64), np.nextafter(low, high), np.nextafter(high, low)), effective
