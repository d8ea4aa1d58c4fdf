"""Interactive training: play, pause, single steps, and snapshots of earlier moments.

The training gives the same bits as `motes.fit`: the same batches, times and noise at any pace.
"""

import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data.points import Classes, fingerprint_of, frame_of
from motes.errors import MotesError, UsageError
from motes.evaluation.losses import expected_loss
from motes.explorer.messages import Request
from motes.explorer.subjects import Origin, Subject
from motes.points import PointModel, PointRecipe, Rows
from motes.points.fitting import choose_options, standardiser_of
from motes.points.sampling import seed_key
from motes.points.training import point_task
from motes.training import Provenance
from motes.training.averages import with_weights
from motes.training.loop import TrainingState

TRAINING = "training"  # name of the model in training on the page
LOOK = 0.4  # seconds between two snapshots
STRIDE = 0.2  # seconds of training at a time
SNAPSHOTS = 48  # maximum number of snapshots; then every other one is dropped
FLOOR_DRAWS = 20_000
DO = ("play", "pause", "step")
FASTEST = 10_000  # maximum steps per second

_numbers = itertools.count()


class Live:
    """One training in its own thread.

    Args:
        origin: the training data.
        recipe: the recipe.
        seed: random seed.
        on_news: called in that thread whenever the state has changed.
        python: returns the Python call that trains the same model, for "last" or "averaged" weights; "" if there is
            none.
    """

    def __init__(
        self, origin: Origin, recipe: PointRecipe, seed: int, on_news: Callable[[], None], python: Callable[[str], str]
    ):
        table = origin.training
        self.origin, self.recipe, self.number = origin, choose_options(recipe, len(table.x)), next(_numbers)
        units = standardiser_of(table, self.recipe)
        classes = None if table.labels is None else Classes.of(table.labels)
        key = seed_key(seed, "weights")
        denoiser = self.recipe.make_denoiser(table.x.shape[1], key, len(classes) if classes else 0)
        source = "" if origin.source is None else origin.name
        provenance = Provenance(source, fingerprint_of(frame_of(replace(table, labels=None))), seed)
        self._model = PointModel(denoiser, units, table.columns, self.recipe, classes=classes, provenance=provenance)
        rows = Rows(units.forward(table.x), None if classes is None else classes.numbers(table.labels, len(table)))
        parts: dict[str, Any] = {"loss": self.recipe.loss, "times": self.recipe.times, "options": self.recipe.training}
        self._state = TrainingState(point_task(denoiser, rows, key=seed_key(seed, "training"), **parts))
        self._python = python
        self._on_news, self._changed = on_news, threading.Condition()
        self._wanted, self._pace, self.closed = 0, 0, False
        self.snapshots: dict[int, NDArray[np.float32]] = {}  # step -> the last and the averaged weights, (2, p)
        self.floor: float | None = None
        self.error: str | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"explorer-training-{self.number}")
        self._thread.start()

    # --- control ---

    def control(self, request: Request) -> None:
        """Play, pause or step, as a page requests.

        Raises:
            UsageError: for an unknown command.
        """
        do = request.word("do", DO)
        if do == "play":
            self.advance(self.recipe.training.steps, request.whole("pace", 0, FASTEST, 0))
        else:
            self.advance(request.whole("count", 1, 1_000, 1) if do == "step" else 0)

    def advance(self, count: int, pace: int = 0) -> None:
        """Train for `count` more steps, at most `pace` per second (0: at full speed); 0 steps: pause."""
        with self._changed:
            self._wanted, self._pace = count, pace
            self._changed.notify()
        self._on_news()

    def close(self) -> None:
        """End the thread after the steps under way."""
        with self._changed:
            self.closed = True
            self._changed.notify()

    @property
    def plays(self) -> bool:
        """Whether the training is running."""
        return self._wanted > 0 and self._state.goes_on and not self.closed

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
        denoiser = with_weights(self._model.denoiser, found[int(averaged)])
        family = f"{TRAINING} {self.number}"
        model = self._model.with_denoiser(denoiser)
        ended = step == self.recipe.training.steps
        python = self._python("averaged" if averaged else "last") if ended else ""
        key = f"{family} {step} {averaged}"
        return Subject(TRAINING, model, origin=self.origin, key=key, family=family, python=python)

    # --- the thread ---

    def _run(self) -> None:
        try:
            self._take_snapshot()
            self._on_news()
            self._train()
        except Exception as error:
            self.error = str(error) if isinstance(error, MotesError) else f"{type(error).__name__}: {error}"
        self._wanted = 0
        self._on_news()

    def _train(self) -> None:
        stride, looked, compiled = 8, 0.0, False
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self.plays or self.closed)
                if self.closed:
                    return
                pace, wanted = self._pace, self._wanted
            begin = time.perf_counter()
            most = max(round(pace * STRIDE), 1) if pace else stride
            count = self._state.advance(min(most, wanted))
            lasted = time.perf_counter() - begin
            if compiled and not pace:  # the first call includes compilation
                stride = max(int(count * STRIDE / lasted), 1)
            compiled = True
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
                    self._changed.wait_for(lambda: self.closed or not self._wanted, max(count / pace - lasted, 0))

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
        kept = {**self.snapshots, self.done: np.stack([np.ravel(now.last), np.ravel(now.average)])}
        if len(kept) > SNAPSHOTS:
            steps = sorted(kept)
            kept = {step: kept[step] for step in [*steps[:-1:2], steps[-1]]}
        self.snapshots = kept  # replaced as a whole, since other threads read it
