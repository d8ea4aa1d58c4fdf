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

Flags = NDArray[np.bool_]

LEAST = 512  # rows for which there is room
CHOICES = 4  # numbers for a row, beside one for each cell: for its label, and how many cells are known, and left out


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

        def on_device(part: NDArray[Any] | None) -> jax.Array | None:
            if part is None:
                return None
            return jax.device_put(np.pad(part, ((0, more), *[(0, 0)] * (part.ndim - 1))))

        # Converted by NumPy, and put there as it is: for anything else JAX compiles a little program first.
        points = on_device(np.asarray(x, jnp.result_type(float)))
        assert points is not None
        return cls(points, on_device(labels), on_device(present), dropout, masks)

    @property
    def chances(self) -> int:
        """How many numbers decide what is told of a row."""
        return CHOICES + self.x.shape[1]

    def told(self, index: jax.Array, chances: jax.Array, shown: Flags) -> Given:
        """What a network is told of the rows `index` (b,) this time.

        Args:
            index: of the rows.
            chances: what decides it, numbers in [0, 1), (b, `chances`).
            shown: whether some of the cells are shown, (b,).
        """
        label, cells = None, None
        if self.labels is not None:
            label = jnp.where(chances[:, 0] < self.dropout, -1, self.labels[index])
        if self.present is not None or shown.any():
            cells = self._cells(index, chances[:, 1:], shown[:, None])
        return Given(label, cells)

    def _cells(self, index: jax.Array, chances: jax.Array, shown: Flags) -> Cells:
        # Every subset of the columns must come up: rows differ in how many cells are known, and how many left out.
        x0 = self.x[index]
        some, inside, outside = jnp.split(chances[:, : CHOICES - 1], CHOICES - 1, axis=1)  # (b, 1) each
        place = chances[:, CHOICES - 1 :]  # (b, d)
        inside = jnp.where(shown, inside, 0.0)
        outside = jnp.where(shown & (some < 0.5), outside, 0.0)
        present = jnp.ones_like(x0, bool) if self.present is None else self.present[index]
        known = present & (place < inside)
        absent = ~present | (~known & (place < inside + (1 - inside) * outside))
        return Cells(jnp.where(known, x0, 0.0), known, absent)

    def losses(
        self,
        denoiser: Denoiser,
        loss: Loss,
        index: jax.Array,
        t: jax.Array,
        eps: jax.Array,
        chances: jax.Array,
        *,
        thin: jax.Array | None = None,
    ) -> jax.Array:
        """The loss of each of the rows `index` (b,) at the times t (b,) with the noise eps (b, d): (b,).

        `chances` (b, ...) decide what is told of them, and the key `thin` the units that are left out, if any are.
        """
        thins = None if thin is None else jax.random.split(thin, len(t))

        def row(given: Given, thin: jax.Array | None, *row: jax.Array) -> dict[str, jax.Array]:
            told = given.label is not None or given.cells is not None
            one = denoiser.given(given) if told else denoiser
            return loss(one if thin is None else thinned(one, thin), *row)

        def of(rows: NDArray[np.int64]) -> jax.Array:
            x0, given = self.x[index[rows]], self.told(index[rows], chances[rows], shown[rows])
            if given.cells is not None:
                x0 = jnp.where(given.cells.absent, 0.0, x0)  # what `Settled` answers there
            terms = jax.vmap(row)(given, None if thins is None else thins[rows], x0, t[rows], eps[rows])
            return jnp.stack(list(terms.values())).sum(axis=0)

        shown = _spread(len(t), self.masks)
        if self.present is not None or shown.all() or not shown.any():
            return of(np.arange(len(t)))
        # Whoever is told cells has to solve for them, row by row; the others need not wait for that.
        parts = [np.flatnonzero(shown), np.flatnonzero(~shown)]
        return jnp.concatenate([of(part) for part in parts])[np.argsort(np.concatenate(parts))]


def _spread(n: int, share: float) -> Flags:
    """A `share` of n places, as evenly as can be: times rise from place to place, and each part gets all of them."""
    return np.diff(np.floor(np.arange(n + 1) * share)) > 0


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
