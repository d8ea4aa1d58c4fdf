"""Rows as a learner meets them: what it is told of each, and the loss that it has there.

Training and judging by held-out rows see rows in this one way, so that their losses can be compared.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from motes.diffusion.denoiser import Cells, Denoiser, Given
from motes.learning.losses import Loss
from motes.learning.networks import thinned

LEAST = 512  # rows for which there is room


class Rows(NamedTuple):
    """Points, what can be told of them, and how often it is."""

    x: jax.Array  # (n, d)
    labels: jax.Array | None  # (n,)
    present: jax.Array | None  # (n, d)
    dropout: float
    masks: float

    @classmethod
    def of(
        cls,
        x: NDArray[np.floating],
        labels: NDArray[np.integer] | None,
        present: NDArray[np.bool_] | None,
        dropout: float,
        masks: float,
    ) -> "Rows":
        """Of arrays that are not on the device yet, where they are a little longer: few lengths need few programs."""
        n = len(x)
        step = max(LEAST, 1 << n.bit_length() >> 4)  # at most an eighth more
        more = -n % step

        def on_device(part: NDArray[Any] | None, dtype: Any = None) -> jax.Array | None:
            if part is None:
                return None
            return jnp.asarray(np.pad(part, ((0, more), *[(0, 0)] * (part.ndim - 1))), dtype)

        points = on_device(np.asarray(x), float)
        assert points is not None
        return cls(points, on_device(labels), on_device(present), dropout, masks)

    def told(self, index: jax.Array, key: jax.Array) -> Given:
        """What a network is told of the rows `index` (b,) this time."""
        label_key, *cell_keys = jax.random.split(key, 4)
        label, cells = None, None
        if self.labels is not None:
            label = jnp.where(jax.random.bernoulli(label_key, self.dropout, index.shape), -1, self.labels[index])
        if self.masks:
            cells = self._cells(index, cell_keys)
        return Given(label, cells)

    def _cells(self, index: jax.Array, keys: list[jax.Array]) -> Cells:
        # Every subset of the columns must come up: rows differ in how many cells are shown, and how many left out.
        x0, b = self.x[index], len(index)
        shown, out = jax.random.uniform(keys[0], (2, b))
        place = jax.random.uniform(keys[1], x0.shape)
        asked, some = jax.random.bernoulli(keys[2], jnp.array([[1 - self.masks], [0.5]]), (2, b))
        shown = jnp.where(asked, 0.0, shown)[:, None]
        out = jnp.where(asked | some, 0.0, out)[:, None]
        present = jnp.ones_like(x0, bool) if self.present is None else self.present[index]
        known = present & (place < shown)
        absent = ~present | (~known & (place < shown + (1 - shown) * out))
        return Cells(jnp.where(known, x0, 0.0), known, absent)

    def losses(
        self,
        denoiser: Denoiser,
        loss: Loss,
        index: jax.Array,
        t: jax.Array,
        eps: jax.Array,
        key: jax.Array,
        *,
        thin: jax.Array | None = None,
    ) -> jax.Array:
        """The loss of each of the rows `index` (b,) at the times t (b,) with the noise eps (b, d): (b,).

        `key` is for what is told of them, `thin` for the units that are left out, if any are.
        """
        x0, given = self.x[index], self.told(index, key)
        if given.cells is not None:
            x0 = jnp.where(given.cells.absent, 0.0, x0)  # what `Settled` answers there

        def row(given: Given, thin: jax.Array | None, *row: jax.Array) -> dict[str, jax.Array]:
            told = given.label is not None or given.cells is not None
            one = denoiser.given(given) if told else denoiser
            return loss(one if thin is None else thinned(one, thin), *row)

        terms = jax.vmap(row)(given, None if thin is None else jax.random.split(thin, len(t)), x0, t, eps)
        return jnp.stack(list(terms.values())).sum(axis=0)


def systematic(rng: np.random.Generator, weights: NDArray[np.floating]) -> NDArray[np.int64]:
    """As many row numbers as there are weights (n,) above 0, in random order, each as often as its share says.

    That number is rounded up or down by chance (systematic sampling). With equal weights each row comes once, and no
    other way to draw is less noisy.
    """
    order = rng.permutation(np.flatnonzero(weights))
    ends = np.cumsum(weights[order], dtype=np.float64)
    places = (np.arange(len(order)) + rng.random()) / len(order)
    picked = np.searchsorted(ends / ends[-1], places, side="right")
    return rng.permutation(order[np.minimum(picked, len(order) - 1)])
