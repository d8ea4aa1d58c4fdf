"""All that changes while a training goes on, and what is made of it at the end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from numpy.typing import NDArray

from motes.diffusion._denoiser import Denoiser
from motes.errors import UsageError
from motes.learning._averages import Averages
from motes.learning._batches import Batches
from motes.learning._options import Training
from motes.learning._resuming import BATCHES, WATCH, State, named, tree_state
from motes.learning._stopping import EarlyStopping, HeldOut
from motes.learning._weights import with_weights


class Progress(NamedTuple):
    """Where training stands: `loss` is the mean over the last `window` steps."""

    step: int
    steps: int
    loss: float
    seconds: float
    held_out: float | None = None  # the newest loss of held-out rows, where there are any


class Snapshot(NamedTuple):
    """Both kinds of weights after `step` steps."""

    step: int
    averaged: Denoiser
    last: Denoiser


@dataclass(repr=False)
class Trained:
    """What training leaves: `averaged` holds the moving average of the weights, `last` the weights themselves.

    With held-out rows both are those of the step `held_out.best`, as are the last of `snapshots` and of `averages`.

    Example:
        >>> trained = model.training
        >>> trained.steps, len(trained.losses), trained.interrupted
        (2, 2, False)
    """

    averaged: Denoiser
    last: Denoiser
    losses: NDArray[np.float32]  # one per step
    seconds: float
    interrupted: bool = False
    snapshots: list[Snapshot] = field(default_factory=list)
    averages: Averages | None = None  # from which `averaged_over` makes its own
    held_out: HeldOut | None = None  # the losses of held-out rows, where there were any
    state: State | None = None  # the complete one, after the last step

    def __repr__(self) -> str:
        end = f", loss {self.losses[-500:].mean():.4g}" if self.steps else ""
        return f"Trained({self.steps:,} steps in {self.seconds:.1f} s{end}{', interrupted' * self.interrupted})"

    @property
    def steps(self) -> int:
        """Steps that were taken."""
        return len(self.losses)

    @property
    def looks(self) -> NDArray[np.float64]:
        """(checks, 2): step and loss of the held-out rows."""
        if self.held_out is None:
            return np.zeros((0, 2))
        return np.stack([self.held_out.steps, self.held_out.losses], axis=1)

    @property
    def best(self) -> int | None:
        """The step of the weights that are kept; None where no rows were held out."""
        return None if self.held_out is None else self.held_out.best

    def averaged_over(self, sigma_rel: float) -> Denoiser:
        """With an average of the weights whose length is this share of the training (Karras et al. 2024, section 3).

        Raises:
            UsageError: a length out of range, or no averages were kept.

        Example:
            >>> type(model.training.averaged_over(0.1)).__name__
            'Preconditioned'
        """
        if self.averages is None:
            raise UsageError("no averages were kept in this training. Train with averages = 32, and at least a step.")
        return with_weights(self.last, self.averages.over(sigma_rel))


class Weights(NamedTuple):
    """All that a step of training changes."""

    weights: jax.Array  # (p,)
    average: jax.Array  # (p,)
    powers: jax.Array  # (lengths, p), averages with profiles that are powers
    optimiser: optax.OptState
    times: Any  # what they remember
    step: jax.Array


class Course:
    """All that changes while a training goes on, and what is made of it."""

    def __init__(
        self,
        denoiser: Denoiser,
        state: Weights,
        options: Training,
        batches: Batches,
        watch: EarlyStopping | None,
        *,
        lengths: tuple[float, ...],
    ):
        self.denoiser, self.state, self.batches, self.watch, self.lengths = denoiser, state, batches, watch, lengths
        self.steps, self.snapshot_steps = options.steps, options.snapshot_steps()
        self.store_every = -(-options.steps // options.averages) if options.averages else options.steps
        self.done = 0
        self.losses: list[NDArray[np.float32]] = []
        self.snapshots: list[tuple[int, Any, Any]] = []  # step, averaged and last weights
        self.stored: dict[int, NDArray[np.float32]] = {}  # step -> powers
        self._begin = time.perf_counter()
        self._sound = (state, 0, 0)  # state, steps, and parts of the losses

    def begin(self, kept: State | None) -> None:
        """Begin, or go on where a training was whose complete state is `kept`, with the same rows or with others."""
        if kept is not None:
            self._go_on(kept)
            self.mark_sound()
        if self.watch and not (kept is not None and kept.has(WATCH)):
            self.watch.look(self.state, self.done, self.state.average)

    @property
    def goes_on(self) -> bool:
        """Whether steps are left, and patience."""
        return self.done < self.steps and not (self.watch and self.watch.in_vain)

    def next_stop(self, most: int) -> int:
        """The step after which something is to be done; `most` steps from here at the latest."""
        every = [self.store_every, *([self.watch.every] if self.watch else [])]
        shots = [step for step in self.snapshot_steps if step > self.done]
        return min(self.steps, self.done + most, *(_next(self.done, one) for one in every), *shots[:1])

    def took(self, state: Weights, losses: NDArray[np.float32]) -> None:
        """Steps with these losses, (k,), have led to this state."""
        self.state, self.done = state, self.done + len(losses)
        self.losses.append(losses)
        if self.done in self.snapshot_steps:
            self.snapshots.append((self.done, state.average, state.weights))
        if self.lengths and self.done % self.store_every == 0:
            self.stored[self.done] = np.asarray(state.powers)
        if self.watch and (self.done % self.watch.every == 0 or self.done == self.steps):
            self.watch.look(state, self.done, state.average)

    def mark_sound(self) -> None:
        """What was learned so far is good, as far as losses tell."""
        self._sound = (self.state, self.done, len(self.losses))

    def back_to_sound(self) -> None:
        """Forget what came after it was good."""
        self.state, self.done, parts = self._sound
        self.losses = self.losses[:parts]
        self.snapshots = [shot for shot in self.snapshots if shot[0] <= self.done]
        self.stored = {step: powers for step, powers in self.stored.items() if step <= self.done}

    @property
    def joined(self) -> NDArray[np.float32]:
        """The losses of all steps."""
        return np.concatenate(self.losses) if self.losses else np.zeros(0, np.float32)

    @property
    def seconds(self) -> float:
        """Of the training, that of earlier processes included."""
        return time.perf_counter() - self._begin

    def progress(self) -> Progress:
        """Where it stands."""
        unseen = self.watch.last if self.watch else None
        return Progress(self.done, self.steps, _recent_mean(self.losses), self.seconds, unseen)

    def result(self, interrupted: bool = False) -> Trained:
        """What was learned so far."""
        best = self.watch.best if self.watch else self.state
        end = int(best.step)
        until = {step: powers for step, powers in self.stored.items() if step <= end} | {end: np.asarray(best.powers)}
        with_flat = lambda flat: with_weights(self.denoiser, flat)
        return Trained(
            with_flat(best.average),
            with_flat(best.weights),
            self.joined,
            self.seconds,
            interrupted,
            [Snapshot(step, *map(with_flat, both)) for step, *both in self._snapshots_until(best, end)],
            Averages.of(self.lengths, until) if self.lengths and end else None,
            self.watch.seen if self.watch else None,
            self.kept(),
        )

    def _snapshots_until(self, best: Weights, end: int) -> list[tuple[int, Any, Any]]:
        """Those up to the step `end`, of which the last has the weights that are kept."""
        shots = [shot for shot in self.snapshots if shot[0] < end]
        return [*shots, (end, best.average, best.weights)] if end and self.snapshot_steps else shots

    def kept(self) -> State:
        """The complete state."""
        parts = {"state": tree_state(self.state), BATCHES: self.batches.state}
        if self.watch:
            parts |= {WATCH: self.watch.state, "best": tree_state(self.watch.best)}
        shots = {str(step): both for step, *both in self.snapshots}
        arrays = {"losses": self.joined}
        arrays |= {f"snapshots/{step}": np.stack([np.asarray(one) for one in both]) for step, both in shots.items()}
        arrays |= {f"stored/{step}": powers for step, powers in self.stored.items()}
        return named(
            parts | {"course": State(arrays, {"step": self.done, "steps": self.steps, "seconds": self.seconds})}
        )

    def _go_on(self, kept: State) -> None:
        own = kept.part("course")
        state = kept.tree("state", self.state)
        if kept.has(BATCHES):
            self.batches.go_on(kept.part(BATCHES))
        if self.watch and kept.has("best"):
            best = kept.tree("best", state)
            if kept.has(WATCH):
                self.watch.go_on(kept.part(WATCH), best, anew=own.numbers["steps"] != self.steps)
            else:  # the best weights for other rows are among those that these rows compare
                self.watch.look(best, int(best.step), best.average)
        self.state, self.done, self.losses = state, own.numbers["step"], [own.arrays["losses"]]
        self._begin -= own.numbers["seconds"]
        # A file has its arrays in an order of its own.
        in_order = lambda name: sorted((int(step), one) for step, one in own.part(name).arrays.items())
        self.snapshots = [(step, *both) for step, both in in_order("snapshots")]
        self.stored = dict(in_order("stored"))


def _next(done: int, every: int) -> int:
    """The next multiple of `every` after `done`."""
    return done + every - done % every


def _recent_mean(losses: list[NDArray[np.float32]], window: int = 500) -> float:
    recent, have = [], 0
    for part in reversed(losses):
        recent.append(part)
        have += len(part)
        if have >= window:
            break
    return float(np.concatenate(recent[::-1])[-window:].mean())
