"""Rows as a learner meets them: the class and the context that it is given with each, and the loss that it has there.

Training and early stopping see rows in this one way, so that their losses can be compared.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from motes.diffusion._denoiser import Denoiser, Given
from motes.learning._losses import Loss
from motes.learning._networks import droppable, each_alone, thinned
from motes.learning._targets import Constant, Target, in_groups, stable_target

LEAST = 512  # rows for which there is room
SHARED = 8  # rows that have units left out together: random numbers cost more than the layers that they thin


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows to learn from, and rows to stop by.

    Attributes:
        x: (n, d), in the units that the denoiser works in.
        labels: classes of the rows (n,), for a denoiser that knows classes; -1 where one is not known.
        context: numbers that the rows are conditioned on (n, c), for a denoiser that takes them.
        weights: of the rows (n,), at least 0, not all 0: a row is drawn that often, so that 2 is as good as two such
            rows, and 0 as none; None: 1 each.
        held: rows that are not trained on. The averages of the weights are evaluated by them now and then. The best are
            kept, and training ends before its last step where nothing better is found for long.
        masks: observed masks (m, d), of which each row of a batch takes one, for an `AnyConditional`.

    Example:
        >>> from motes.learning import Rows
        >>> x, labels = motes.make_labelled_shape("moons", 200)
        >>> rows = Rows(x, labels)
        >>> seen = Rows(x[50:], labels[50:], held=rows[np.arange(50)])
        >>> len(seen.x), len(seen.held.x)
        (150, 50)
    """

    x: NDArray[np.floating]
    labels: NDArray[np.integer] | None = None
    weights: NDArray[np.floating] | None = None
    held: "Rows | None" = None
    context: NDArray[np.floating] | None = None
    masks: NDArray[np.bool_] | None = None

    def __getitem__(self, some: NDArray[np.int64]) -> "Rows":
        """The rows with these numbers."""
        of = lambda part: None if part is None else part[some]
        return Rows(self.x[some], of(self.labels), of(self.weights), context=of(self.context), masks=self.masks)


class OnDevice(NamedTuple):
    """Points, what is known of each, and how often a class is withheld."""

    x: jax.Array  # (n, d)
    labels: jax.Array | None  # (n,)
    context: jax.Array | None  # (n, c)
    masks: jax.Array | None  # (m, d)
    dropout: NDArray[np.floating]  # (), an input of programs

    @classmethod
    def of(cls, rows: Rows, dropout: float) -> "OnDevice":
        """Where programs find them, a little longer there: few lengths need few programs."""
        n = len(rows.x)
        step = max(LEAST, 1 << n.bit_length() >> 4)  # at most an eighth more
        more = -n % step

        def put(part: NDArray[Any]) -> jax.Array:
            return jax.device_put(np.pad(part, ((0, more), *[(0, 0)] * (part.ndim - 1))))

        # Converted by NumPy, and put there as it is: for anything else JAX compiles a little program first.
        numbers = lambda part: put(np.asarray(part, jnp.result_type(float)))
        context = None if rows.context is None else numbers(rows.context)
        masks = None if rows.masks is None else jax.device_put(np.asarray(rows.masks, jnp.result_type(float)))
        labels = None if rows.labels is None else put(rows.labels)
        return cls(numbers(rows.x), labels, context, masks, np.asarray(dropout, jnp.result_type(float)))

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
        among: jax.Array | None = None,
    ) -> jax.Array:
        """The loss of each of the rows `index` (b,) at the times t (b,) with the noise eps (b, d): (b,).

        A class is withheld where `chances` (b,), numbers in [0, 1), lie below `dropout`; they pick the masks as well,
        where there are any. The key `thin`, in training, picks the units that are left out, if any are; each member of
        an ensemble is then trained by itself, and the loss is the mean of theirs. Of a batch in which the rows `among`
        (b,) count, each x_0 is estimated by its mean over those that are given the same (`stable_target`); the loss is
        then the mean of the losses of all x_0 that x_t may come from.
        """

        def row(denoiser: Denoiser, known: Given | None, *row: jax.Array) -> jax.Array:
            one = denoiser if known is None else denoiser.given(known)
            return jnp.stack(list(loss(one, *row).values())).sum()

        def of(denoiser: Denoiser, index: jax.Array, among: jax.Array | None, thin: jax.Array | None) -> jax.Array:
            x0, known = self.x[index], self._known(index, chances)
            if among is None:
                return of_targets(denoiser, known, x0, eps, thin)
            schedule = denoiser.schedule

            def target_of(
                index: jax.Array, known: Given | None, t: jax.Array, eps: jax.Array, among: jax.Array
            ) -> Target:
                return stable_target(schedule, self.x[index], t, eps, self._alike(index, known, among))

            target: Target = in_groups(target_of, (index, known, t, eps), among)

            def spread(x0: jax.Array, eps: jax.Array, deviation: jax.Array, t: jax.Array) -> jax.Array:
                missed = eps - schedule.alpha(t) / schedule.sigma(t) * deviation
                return row(Constant(schedule, x0), None, x0 + deviation, t, missed)

            losses = of_targets(denoiser, known, target.x0, target.eps, thin)
            return losses + jax.vmap(spread)(target.x0, target.eps, target.deviation, t)

        def of_targets(
            denoiser: Denoiser, known: Given | None, x0: jax.Array, eps: jax.Array, thin: jax.Array | None
        ) -> jax.Array:
            rows = known, x0, t, eps
            units = droppable(denoiser)
            if thin is None or not units:
                return jax.vmap(partial(row, denoiser))(*rows)
            bits = jax.random.bits(thin, (-(-len(t) // SHARED), units), jnp.uint8)  # a quarter of what floats cost
            of_rows = jnp.repeat(bits, SHARED, axis=0)[: len(t)]
            return jax.vmap(lambda bits, *one: row(thinned(denoiser, bits), *one))(of_rows, *rows)

        if thin is None:
            return of(denoiser, index, among, None)
        alone = each_alone(denoiser)
        keys = jax.random.split(thin, len(alone)) if len(alone) > 1 else [thin]
        # Each member meets the rows at other times and with other noise, or they would learn nearly the same.
        shift = len(t) // len(alone)
        parts = [
            of(one, jnp.roll(index, k * shift), None if among is None else jnp.roll(among, k * shift), key)
            for k, (one, key) in enumerate(zip(alone, keys, strict=True))
        ]
        return jnp.stack(parts).mean(axis=0)

    def _known(self, index: jax.Array, chances: jax.Array) -> Given | None:
        """What the rows `index` (b,) are conditioned on, where they are on anything; `chances` as in `losses`."""
        label = None if self.labels is None else jnp.where(chances < self.dropout, -1, self.labels[index])
        context = None if self.context is None else self.context[index]
        if self.masks is not None:
            mask = self.masks[(chances * len(self.masks)).astype(int)]
            context = jnp.concatenate([self.x[index], mask], axis=1)
        given = Given(label, context)
        return given if jax.tree.leaves(given) else None

    def _alike(self, index: jax.Array, known: Given | None, among: jax.Array) -> jax.Array:
        """Whether row i of a batch, given what is `known`, may have been row j of those `among` it, (b, b)."""
        alike = jnp.broadcast_to(among, (len(index), len(index)))
        if known is not None and known.label is not None:
            assert self.labels is not None  # or none would be known
            label = known.label[:, None]
            alike = alike & ((label == -1) | (label == self.labels[index]))
        if known is not None and known.context is not None:
            alike = alike & (known.context[:, None] == known.context).all(axis=-1)
        return alike | jnp.eye(len(index), dtype=bool)


def systematic(rng: np.random.Generator, weights: NDArray[np.floating], count: int | None = None) -> NDArray[np.int64]:
    """Draw `count` row numbers in random order, each row as often as its share of the weights (n,) says.

    That number is rounded up or down by chance (systematic sampling): no other way to draw is less noisy. None draws
    as many as there are weights above 0, so that rows of equal weight come once each.
    """
    order = rng.permutation(np.flatnonzero(weights))
    count = len(order) if count is None else count
    ends = np.cumsum(weights[order], dtype=np.float64)
    places = (np.arange(count) + rng.random()) / count
    picked = np.searchsorted(ends / ends[-1], places, side="right")
    return rng.permutation(order[np.minimum(picked, len(order) - 1)])
