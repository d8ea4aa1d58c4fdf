"""A training that a visitor watches and holds in his hand: play, pause, some steps, and any moment of it again.

It is the training of `motes.fit`, to the bit: the same batches, times and noise, however it is paced.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from motes._seeds import seed_key
from motes.data._shapes import SHAPES
from motes.errors import MotesError, UsageError
from motes.evaluation._irreducible import expected_loss
from motes.explorer._sketches import Sketch
from motes.explorer._subjects import Subject
from motes.learning._rows import Rows
from motes.learning._training import ROOM, Stepwise
from motes.learning._weights import with_weights
from motes.models._point_fitting import standardiser_of
from motes.models._points import PointModel
from motes.models._provenance import Provenance
from motes.models._sources import PointSource
from motes.recipes import Recipe

NAME = "training"  # of the model under way, as the page calls it
LOOK = 0.4  # seconds between two snapshots
STRIDE = 0.2  # seconds of steps at a time
SNAPSHOTS = 48  # that are kept, at most; then every other one goes
FLOOR_DRAWS = 20_000

TRAINED = ("steps", "batch", "learning_rate", "warmup")  # keys of [training] that the page sets

_numbers = itertools.count()


class Snapshot(NamedTuple):
    """Weights after some steps, (p,) each."""

    last: NDArray[np.float32]
    average: NDArray[np.float32]


class Live:
    """One training, in a thread of its own.

    Args:
        origin: what it learns.
        recipe: how.
        seed: of everything random.
        on_news: called, in that thread, whenever there is something to tell.
    """

    def __init__(self, origin: PointSource | Sketch, recipe: Recipe, seed: int, on_news: Callable[[], None]):
        table = origin.training
        units = standardiser_of(table, recipe)
        denoiser = recipe.make_denoiser(table.x.shape[1], seed_key(seed, "weights"))
        source = origin.name if isinstance(origin, PointSource) else ""
        self.origin, self.recipe, self.number = origin, recipe, next(_numbers)
        self._model = PointModel(denoiser, units, table.columns, recipe, provenance=Provenance(source, "", seed))
        self._stepwise = Stepwise(
            denoiser,
            Rows(units.forward(table.x)),
            key=seed_key(seed, "training"),
            loss=recipe.loss,
            times=recipe.times,
            options=recipe.training,
        )
        self.python = _python(origin.name, recipe, seed) if origin.name in SHAPES else ""
        self._on_news, self._changed = on_news, threading.Condition()
        self._wanted, self._pace, self._closed = 0, 0, False
        self.snapshots: dict[int, Snapshot] = {}
        self.floor: float | None = None
        self.error: str | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"explorer-training-{self.number}")
        self._thread.start()

    # --- what the visitor does ---

    def play(self, pace: int) -> None:
        """Go on to the end, at most `pace` steps a second; 0: as fast as it goes."""
        self._ask(wanted=self.recipe.training.steps, pace=pace)

    def pause(self) -> None:
        """Stand still after the steps under way."""
        self._ask(wanted=0)

    def step(self, count: int) -> None:
        """Take some steps."""
        self._ask(wanted=count, pace=0)

    def close(self) -> None:
        """End the thread after the steps under way."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    @property
    def plays(self) -> bool:
        """Whether steps are wanted."""
        return self._wanted > 0 and self._stepwise.course.goes_on and not self._closed

    @property
    def done(self) -> int:
        """Steps that were taken."""
        return self._stepwise.course.done

    # --- what the visitor sees ---

    def news(self, since: int) -> tuple[dict[str, Any], NDArray[np.float32]]:
        """Where it stands, and the losses after the first `since` steps."""
        losses = self._stepwise.course.losses
        after = np.concatenate([*losses, np.zeros(0, np.float32)])[since:]
        about = {
            "run": self.number,
            "step": since + len(after),
            "steps": self.recipe.training.steps,
            "plays": self.plays,
            "snapshots": sorted(self.snapshots),
            "floor": self.floor,
            "error": self.error,
            "since": since,
        }
        return about, after

    def subject(self, step: int, averaged: bool) -> Subject:
        """The model as it was after `step` steps.

        Raises:
            UsageError: no snapshot was kept there.
        """
        found = self.snapshots.get(step)
        if found is None:
            raise UsageError(f"got snapshot = {step}; expected one of {', '.join(map(str, sorted(self.snapshots)))}.")
        denoiser = with_weights(self._model.denoiser, found.average if averaged else found.last)
        key = f"{NAME} {self.number} {step} {averaged}"
        model = self._model.with_denoiser(denoiser)
        return Subject(NAME, model, origin=self.origin, key=key, python=self.python)

    # --- the thread ---

    def _ask(self, *, wanted: int, pace: int = 0) -> None:
        with self._changed:
            self._wanted, self._pace = wanted, pace
            self._changed.notify()
        self._on_news()

    def _run(self) -> None:
        try:
            self._keep()
            self._on_news()
            self._train()
        except MotesError as error:
            self.error = str(error)
        except Exception as error:
            self.error = f"{type(error).__name__}: {error}"
        self._wanted = 0
        self._on_news()

    def _train(self) -> None:
        course, stride, looked = self._stepwise.course, 8, 0.0
        while course.goes_on:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted > 0 or self._closed)
                if self._closed:
                    return
                pace, wanted = self._pace, self._wanted
            begin = time.perf_counter()
            most = max(round(pace * STRIDE), 1) if pace else stride
            count = self._stepwise.go(min(most, wanted))
            lasted = time.perf_counter() - begin
            if not pace and course.done > count:  # the first call compiles, which says nothing of the next one
                stride = int(np.clip(count * STRIDE / lasted, 1, ROOM))
            with self._changed:
                self._wanted = max(self._wanted - count, 0)
            if time.perf_counter() - looked > LOOK or not self.plays:
                self._keep()
                looked = time.perf_counter()
            self._on_news()
            if self.floor is None:
                self.floor = self._least()
            if pace:
                with self._changed:  # which a pause interrupts
                    self._changed.wait_for(lambda: self._closed or not self._wanted, max(count / pace - lasted, 0))

    def _least(self) -> float:
        """The loss of the exact denoiser: no network gets below it."""
        subject = self.subject(min(self.snapshots), averaged=False)
        if subject.oracle is None:
            return float("nan")
        x0 = subject.model.standardiser.forward(self.origin.training.x)
        key, recipe = seed_key(0, "floor"), self.recipe
        return expected_loss(subject.oracle, recipe.loss, x0, recipe.times, key=key, draws=FLOOR_DRAWS).mean

    def _keep(self) -> None:
        state = self._stepwise.course.state
        kept = {**self.snapshots, self.done: Snapshot(np.asarray(state.weights), np.asarray(state.average))}
        if len(kept) > SNAPSHOTS:
            steps = sorted(kept)
            kept = {step: kept[step] for step in [*steps[:-1:2], steps[-1]]}
        self.snapshots = kept  # as a whole, for other threads read it


def live_recipe(recipe: Recipe, changes: dict[str, Any]) -> Recipe:
    """A recipe for a training that is watched: nothing of it is stored beside the snapshots."""
    from motes.recipes import load_recipe

    chosen = load_recipe(recipe, changes)
    return replace(chosen, training=replace(chosen.training, averages=0))


def _python(shape: str, recipe: Recipe, seed: int) -> str:
    """The call that trains the same model."""
    changes = {f"training.{name}": getattr(recipe.training, name) for name in TRAINED}
    changes |= {f"network.{name}": getattr(recipe.network, name) for name in ("width", "depth")}
    changes |= {"data.rows": recipe.data.rows, "data.noise": recipe.data.noise}
    given = {name: value for name, value in changes.items() if value is not None}
    return f'motes.fit("{shape}", changes={given}, seed={seed})'
