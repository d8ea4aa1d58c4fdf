"""Interactive training: play, pause, single steps, and snapshots of earlier moments.

The training gives the same bits as `motes.fit`: the same batches, times and noise at any pace. You can change its
[training] section on the way; it then continues from its complete state, including the optimiser's.
"""

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from motes.data.points import Classes, fingerprint_of, frame_of
from motes.errors import MotesError, UsageError
from motes.evaluation.losses import expected_loss
from motes.evaluation.sources import PointSource, Source
from motes.explorer.origins import Sketch
from motes.explorer.subjects import Subject
from motes.points import Denoiser, PointModel, PointRecipe, Rows
from motes.points.fitting import choose_options, standardiser_of
from motes.points.training import point_task
from motes.seeds import seed_key
from motes.training import Provenance
from motes.training.averages import with_weights
from motes.training.checkpoints import State
from motes.training.loop import TrainingState

TRAINING = "training"  # name of the model in training on the page
LOOK = 0.4  # seconds between two snapshots
STRIDE = 0.2  # seconds of training at a time
SNAPSHOTS = 48  # maximum number of snapshots; then every other one is dropped
FLOOR_DRAWS = 20_000

_numbers = itertools.count()


class Moment(NamedTuple):
    """Last and averaged weights at some step, (p,) each."""

    last: NDArray[np.float32]
    average: NDArray[np.float32]


class Live:
    """One training in its own thread.

    Args:
        origin: the training data.
        recipe: the recipe.
        seed: random seed.
        on_news: called in that thread whenever the state has changed.
        python: returns the Python call that trains the same model, for "last" or "averaged" weights; "" if there is
            none.

    Attributes:
        changes: the steps after which the [training] section was changed.
    """

    def __init__(
        self,
        origin: PointSource | Sketch,
        recipe: PointRecipe,
        seed: int,
        on_news: Callable[[], None],
        *,
        python: Callable[[str], str] = lambda weights: "",
    ):
        table = origin.training
        recipe = choose_options(recipe, len(table.x))
        units = standardiser_of(table, recipe)
        classes = None if table.labels is None else Classes.of(table.labels)
        denoiser = recipe.make_denoiser(table.x.shape[1], seed_key(seed, "weights"), len(classes) if classes else 0)
        source = origin.name if isinstance(origin, Source) else ""
        provenance = Provenance(source, fingerprint_of(frame_of(replace(table, labels=None))), seed)
        self.origin, self.recipe, self.number = origin, recipe, next(_numbers)
        self._described = partial(PointModel, denoiser, units, table.columns, classes=classes, provenance=provenance)
        self._model = self._described(recipe=recipe)
        numbers = None if classes is None else classes.numbers(table.labels, len(table))
        self._rows = Rows(units.forward(table.x), numbers)
        self._state = self._start_state(recipe, None)
        self._python, self.changes = python, list[int]()
        self._on_news, self._changed = on_news, threading.Condition()
        self._wanted, self._pace, self._closed = 0, 0, False
        self._next: PointRecipe | None = None
        self.snapshots: dict[int, Moment] = {}
        self.floor: float | None = None
        self.error: str | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"explorer-training-{self.number}")
        self._thread.start()

    # --- control ---

    def play(self, pace: int) -> None:
        """Train to the end, at most `pace` steps per second; 0: at full speed."""
        self._request(wanted=self.recipe.training.steps, pace=pace)

    def pause(self) -> None:
        """Pause after the steps under way."""
        self._request(wanted=0)

    def step(self, count: int) -> None:
        """Train for some steps."""
        self._request(wanted=count, pace=0)

    def change(self, recipe: PointRecipe) -> None:
        """Continue with another [training] section, such as another learning rate or more steps.

        Raises:
            UsageError: if the recipe differs in another section, or its number of steps is already reached.
        """
        recipe = choose_options(recipe, len(self.origin.training.x))
        same = replace(recipe, training=self.recipe.training, sampler=self.recipe.sampler, grid=self.recipe.grid)
        if same != self.recipe:
            raise UsageError(
                "got a recipe that differs outside of [training]; expected the same one. Start a new training."
            )
        if recipe.training.steps <= self.done:
            raise UsageError(
                f"got training.steps = {recipe.training.steps:,}; expected more than the {self.done:,} steps done."
            )
        with self._changed:
            self._next = recipe
            self._changed.notify()

    def close(self) -> None:
        """End the thread after the steps under way."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    @property
    def plays(self) -> bool:
        """Whether the training is running."""
        return self._wanted > 0 and self._state.goes_on and not self._closed

    @property
    def done(self) -> int:
        """Number of steps done."""
        return self._state.done

    # --- state ---

    def news(self, since: int) -> tuple[dict[str, Any], NDArray[np.float32]]:
        """Return the state of the training, and the losses after the first `since` steps."""
        after = self._state.losses[since:]
        about = {
            "run": self.number,
            "step": since + len(after),
            "steps": self.recipe.training.steps,
            "plays": self.plays,
            "snapshots": sorted(self.snapshots),
            "floor": self.floor,
            "error": self.error,
            "changes": self.changes,
            "since": since,
        }
        return about, after

    def subject(self, step: int, averaged: bool) -> Subject:
        """Return the model after `step` steps.

        Raises:
            UsageError: if there is no snapshot of this step.
        """
        found = self.snapshots.get(step)
        if found is None:
            raise UsageError(f"got snapshot = {step}; expected one of {', '.join(map(str, sorted(self.snapshots)))}.")
        denoiser = with_weights(self._model.denoiser, found.average if averaged else found.last)
        family = f"{TRAINING} {self.number}"
        model = self._model.with_denoiser(denoiser)
        whole = step == self.recipe.training.steps and not self.changes
        python = self._python("averaged" if averaged else "last") if whole else ""
        key = f"{family} {step} {averaged}"
        return Subject(TRAINING, model, origin=self.origin, key=key, family=family, python=python)

    # --- the thread ---

    def _request(self, *, wanted: int, pace: int = 0) -> None:
        with self._changed:
            self._wanted, self._pace = wanted, pace
            self._changed.notify()
        self._on_news()

    def _run(self) -> None:
        try:
            self._take_snapshot()
            self._on_news()
            self._train()
        except MotesError as error:
            self.error = str(error)
        except Exception as error:
            self.error = f"{type(error).__name__}: {error}"
        self._wanted = 0
        self._on_news()

    def _train(self) -> None:
        stride, looked, fresh = 8, 0.0, True
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self.plays or self._closed or self._next is not None)
                if self._closed:
                    return
                pace, wanted, following, self._next = self._pace, self._wanted, self._next, None
            if following is not None:
                self._follow(following)
                fresh = True
                continue
            begin = time.perf_counter()
            most = max(round(pace * STRIDE), 1) if pace else stride
            count = self._state.advance(min(most, wanted))
            lasted = time.perf_counter() - begin
            if not pace and not fresh:  # the first call includes compilation
                stride = max(int(count * STRIDE / lasted), 1)
            fresh = False
            with self._changed:
                self._wanted = max(self._wanted - count, 0)
            if time.perf_counter() - looked > LOOK or not self.plays:
                self._take_snapshot()
                looked = time.perf_counter()
            self._on_news()
            if self.floor is None:
                self.floor = self._irreducible_loss()
            if pace:
                with self._changed:  # a pause interrupts the wait
                    self._changed.wait_for(lambda: self._closed or not self._wanted, max(count / pace - lasted, 0))

    def _follow(self, recipe: PointRecipe) -> None:
        """Continue with another recipe."""
        self._take_snapshot()
        self._state = self._start_state(recipe, self._state.complete())
        self.recipe, self._model = recipe, self._described(recipe=recipe)
        self.changes = [*self.changes, self.done]
        if self._wanted:
            self._wanted = recipe.training.steps
        self._on_news()

    def _start_state(self, recipe: PointRecipe, state: State | None) -> TrainingState[Denoiser]:
        """Return the training with a recipe, from the start or from a state."""
        task = point_task(
            self._model.denoiser,
            self._rows,
            key=seed_key(self._model.seed, "training"),
            loss=recipe.loss,
            times=recipe.times,
            options=recipe.training,
        )
        return TrainingState(task, state)

    def _irreducible_loss(self) -> float:
        """Return the loss of the exact denoiser, which no network can beat."""
        subject = self.subject(min(self.snapshots), averaged=False)
        if subject.oracle is None:
            return float("nan")
        x0 = subject.model.standardiser.forward(self.origin.training.x)
        key, recipe = seed_key(0, "floor"), self.recipe
        return expected_loss(subject.oracle, recipe.loss, x0, recipe.times, key=key, draws=FLOOR_DRAWS).mean

    def _take_snapshot(self) -> None:
        now = self._state.weights
        kept = {**self.snapshots, self.done: Moment(np.ravel(now.last), np.ravel(now.average))}
        if len(kept) > SNAPSHOTS:
            steps = sorted(kept)
            kept = {step: kept[step] for step in [*steps[:-1:2], steps[-1]]}
        self.snapshots = kept  # replaced as a whole, since other threads read it
