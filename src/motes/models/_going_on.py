"""How a training goes on from a model, which has the complete state of its own training.

the same rows, weights, recipe and seed    the same training, to `steps` steps in all
anything else                              `steps` steps more, with the weights, their averages and the optimiser's
                                           state, but not the position in the rows and the looks at validation rows
no state, as in a model that was loaded    `steps` steps of a new training, which begins from the weights
"""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import numpy as np

from motes.errors import UsageError
from motes.learning._resuming import GoingOn, Session, State
from motes.models._model import Model
from motes.recipes import Recipe

OF_OTHER_THINGS = ("about", "sampler", "grid", "text")  # what of a recipe has no bearing on the training


class Trained(Protocol):
    """What a training of points or of a table leaves."""

    state: State | None
    interrupted: bool


class Ahead(NamedTuple):
    """What is ahead of a training that goes on.

    Attributes:
        state: to go on from; None: there is none.
        steps: at which it ends, counted from its first one.
    """

    state: State | None
    steps: int


@dataclass(frozen=True)
class FitSession(Session):
    """How a model is fitted, beside what it learns.

    Attributes:
        source: what the rows are called in the model file and in messages.
        start: a model of the same columns and network to go on from, with its units, its classes or its schema, and
            with the complete state of its training. A model that was loaded has its weights alone.
        more: take the recipe's steps on top of those of the start, though all rows are the same.
    """

    source: str = ""
    start: Model | None = None
    more: bool = False

    @property
    def name(self) -> str:
        """Of the rows, in messages."""
        return f"'{self.source}'" if self.source else "the data"

    def start_as(self, kind: type[Any]) -> Any:
        """The start, where a model of this kind is learned.

        Raises:
            UsageError: it is of another kind.
        """
        if self.start is not None and not isinstance(self.start, kind):
            raise UsageError(f"start is a {type(self.start).__name__}; expected a {kind.__name__}, as the recipe says.")
        return self.start

    def going_on(self, state: State | None) -> "FitSession":
        """The same, of a training that goes on from `state`, unless a keeper has one of its own."""
        return self if self.keeper or state is None else replace(self, keeper=GoingOn(state))


def run_of(recipe: Recipe, seed: int, *rows: Any) -> str:
    """The same for trainings that differ in nothing but their steps; `rows`: all that they learn from."""
    written = {section: part for section, part in recipe.to_dict().items() if section not in OF_OTHER_THINGS}
    for section in ("training", "table"):
        written.get(section, {}).pop("steps", None)
    found = hashlib.sha256(json.dumps([written, seed], sort_keys=True, default=str).encode())
    for part in rows:
        found.update(b"none" if part is None else np.ascontiguousarray(part).tobytes())
    return found.hexdigest()


def mark(trained: Trained, run: str) -> None:
    """Write into a state of which training it is."""
    if trained.state is not None:
        trained.state.numbers["run"] = run


def ahead_of(trained: Trained | None, run: str, steps: int, key: str, *, more: bool = False) -> Ahead:
    """What is ahead of a training that goes on from what another one left.

    Args:
        trained: of the other one; None, or without a state, where the weights alone are there.
        run: `run_of` this one.
        steps: as its recipe says.
        key: of these steps in the recipe, for messages.
        more: take so many steps more, though it is the same training.

    Raises:
        UsageError: all steps of the same training were taken already.
    """
    if trained is None or trained.state is None:
        return Ahead(None, steps)
    state = trained.state
    done, total, same = state.numbers["course/step"], state.numbers["course/steps"], state.numbers["run"] == run
    if more or not same:
        return Ahead(state if same else state.with_other_rows(), done + steps)
    if steps < done or (steps in (done, total) and not trained.interrupted):
        raise UsageError(
            f"got {key} = {steps:,}, which are the steps of the whole training with these rows, and it is complete "
            f"after {done:,}. Give more, such as {key} = {2 * total}."
        )
    return Ahead(state, steps)
