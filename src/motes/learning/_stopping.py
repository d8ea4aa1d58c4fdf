"""When to stop: the loss of rows that are held out of the training.

    L(weights) = sum_i v_i sum_k loss(x_i, t_ik, eps_ik) / sum_i v_i K

The times, the noise and the withheld labels are the same at every look, so that two losses differ by the weights
of the network alone: far smaller differences show than the losses are sure to.
"""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from motes.diffusion._denoiser import Denoiser
from motes.learning._losses import Loss
from motes.learning._options import Training
from motes.learning._programs import training_program
from motes.learning._resuming import State
from motes.learning._rows import OnDevice, Rows
from motes.learning._times import Times
from motes.learning._weights import with_weights

LEAST = 2048  # rows times draws for a look
BLOCK = 512
MANY, ENOUGH, MOST = 500, 0.05, 2_000  # held-out rows: a share of many rows, within these bounds
APART = 1  # beside the numbers of the key, so that these draws are not those of the training


def with_validation(rows: Rows, share: float, key: jax.Array) -> Rows:
    """Rows of which a share is held out of the training, by weights of 0: the compiled program is that of all rows."""
    unseen = validation_rows(np.asarray(rows.x), share, key)
    weights = np.ones(len(rows.x)) if rows.weights is None else rows.weights.copy()
    weights[unseen] = 0
    return replace(rows, weights=weights, held=rows[unseen])


def validation_rows(x: NDArray[Any], share: float, key: jax.Array) -> NDArray[np.int64]:
    """Numbers of rows of `x` (n, d) to hold out, in their order; equal rows are all among them, or none is."""
    rng, n = np.random.default_rng(np.asarray(jax.random.key_data(key))), len(x)
    most = np.clip(round(ENOUGH * n), MANY, MOST)
    m = int(np.clip(round(share * n), 1, most))
    _, value, copies = np.unique(x, axis=0, return_inverse=True, return_counts=True)
    value, order = value.reshape(-1), rng.permutation(n)
    _, first = np.unique(value[order], return_index=True)
    values = value[order][np.sort(first)]  # in the order in which they come
    before = np.cumsum(copies[values]) - copies[values]
    chosen = values[: min(int((before < m).sum()), max(len(values) - 1, 1))]
    return np.flatnonzero(np.isin(value, chosen))


class HeldOut(NamedTuple):
    """The losses of the averaged weights on held-out rows."""

    steps: NDArray[np.int64]
    """After how many steps each was taken, (k,), from 0 on."""
    losses: NDArray[np.float64]
    """(k,)."""

    @property
    def best(self) -> int:
        """The step after which the loss was least; these weights are the ones that are kept."""
        return int(self.steps[self.losses.argmin()])


class EarlyStopping:
    """Looks at the weights now and then, and remembers the best.

    Args:
        held: the rows.
        denoiser: whose weights they are.
        loss: per row.
        times: their distribution is that of the times.
        key: of the times, the noise and the withheld labels.
        options: how often it looks, its patience, and how often labels are withheld.
    """

    def __init__(
        self,
        held: Rows,
        denoiser: Denoiser,
        loss: Loss,
        times: Times,
        key: jax.Array,
        options: Training,
    ):
        self.every, self._patience = options.check_every, options.patience
        self._steps: list[int] = []
        self._losses: list[float] = []
        self.best: Any = None
        self._since = 0  # the look from which patience counts
        m = len(held.x)
        draws = -(-LEAST // m)
        weights = np.ones(m) if held.weights is None else np.asarray(held.weights, np.float64)
        blocks = -(-m * draws // BLOCK)
        pad = blocks * BLOCK - m * draws
        index = np.pad(np.tile(np.arange(m, dtype=np.int32), draws), (0, pad))
        share = np.pad(np.tile(weights / (weights.sum() * draws), draws), (0, pad))
        # By NumPy, since these draws are made once, and a program for them would take far longer to compile.
        rng = np.random.default_rng([*np.asarray(jax.random.key_data(key)), APART])
        count = blocks * BLOCK
        rows = OnDevice.of(held, options.label_dropout)
        # Every part of the range of times in equal measure, in an order that has nothing to do with the rows.
        u = (rng.permutation(count) + rng.random(count)) / count
        eps, chances = rng.standard_normal((count, held.x.shape[1])), rng.random(count)
        in_blocks = lambda part: jax.device_put(part.reshape(blocks, BLOCK, *part.shape[1:]))
        kept = (in_blocks(part.astype(jnp.result_type(float))) for part in (share, u, eps, chances))
        self._loss = partial(_loss, denoiser, loss, times, rows, _Draws(in_blocks(index), *kept))

    def look(self, state: Any, step: int, weights: jax.Array) -> None:
        """Evaluate `weights`; `state` is kept where they are the best so far."""
        value = float(self._loss(weights))
        value = value if np.isfinite(value) else np.inf
        if not self._losses or value < min(self._losses):
            self.best = state
        self._steps.append(step)
        self._losses.append(value)

    @property
    def last(self) -> float:
        """The newest loss."""
        return self._losses[-1]

    @property
    def in_vain(self) -> bool:
        """Whether patience is at its end."""
        return len(self._losses) - max(int(np.argmin(self._losses)), self._since) > self._patience

    @property
    def seen(self) -> HeldOut:
        """All looks so far."""
        return HeldOut(np.array(self._steps, np.int64), np.array(self._losses))

    @property
    def state(self) -> State:
        """All looks so far, and from which one patience counts; `best` is not in it."""
        seen = self.seen
        return State({"steps": seen.steps, "losses": seen.losses}, {"since": self._since})

    def go_on(self, state: State, best: Any, *, anew: bool) -> None:
        """Go on where another watch of the same rows was. `best` was its best state; `anew`: with all the patience."""
        self._steps, self._losses = state.arrays["steps"].tolist(), state.arrays["losses"].tolist()
        self.best, self._since = best, len(self._losses) - 1 if anew else state.numbers["since"]


class _Draws(NamedTuple):
    row: jax.Array  # its number, (blocks, BLOCK)
    share: jax.Array  # of the mean
    u: jax.Array  # what places its time
    eps: jax.Array  # (blocks, BLOCK, d)
    chances: jax.Array  # of withheld labels, (blocks, BLOCK)


@training_program
def _loss(denoiser: Denoiser, loss: Loss, times: Times, rows: OnDevice, draws: _Draws, weights: jax.Array) -> jax.Array:
    """The mean loss, block by block."""
    model = with_weights(denoiser, weights)

    def block(some: _Draws) -> jax.Array:
        t = times.place(denoiser.schedule, some.u)
        return jnp.sum(some.share * rows.losses(model, loss, some.row, t, some.eps, some.chances))

    return jax.lax.map(block, draws).sum()
