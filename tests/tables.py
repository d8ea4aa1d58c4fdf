"""What tests of models of tables share: the smallest options, and a training that learns nothing in no time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import equinox as eqx
import jax
import numpy as np
import pytest

from motes.data import as_frame
from motes.progress import Progress
from motes.tables.model import TableModel
from motes.tables.rules import Constraint
from motes.tables.training import TableObjective, members_with
from motes.training import Trained
from motes.training.loop import train as trained

TINY = {
    "table.width": 8,
    "table.depth": 1,
    "table.components": 1,
    "table.own": 0,
    "table.batch": 32,
    "table.bins": 8,
    "table.calibrate": False,
}


@contextmanager
def untrained() -> Iterator[None]:
    """In the place of every training of a table: its steps pass, and the network stays what it was.

    A new network knows the columns' marginals and the Gaussian mixture of the numbers, so that answers are exact:
    labels are independent, each with its share of the weights.
    """

    def train(task, session):
        if not isinstance(task.objective, TableObjective):
            return trained(task, session)
        session.on_progress(Progress(task.steps, task.steps, 1.0, seconds=1.0))
        network = task.network(task.weights)
        return Trained(network, network, np.linspace(2, 1, task.steps, dtype=np.float32), 0.0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("motes.training.loop.train", train)
        yield


def kept_network(model: TableModel, which: str = "last"):
    """The members with the last weights of their training, or with the average of these."""
    return members_with(model.models.network, model.training.state.arrays[f"state/{which}"])


def of_random_weights(model: TableModel) -> TableModel:
    """The model with a network whose answers in one order have next to nothing to do with those in another."""
    leaves, tree = jax.tree.flatten(model.models.network)
    keys = jax.random.split(jax.random.key(0), len(leaves))
    moved = [leaf + 0.3 * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)]
    models = eqx.tree_at(lambda one: one.network, model.models, jax.tree.unflatten(tree, moved))
    return TableModel(replace(model.orders, models=models, constraint=Constraint()), model.recipe)


def predict_frame(model: TableModel, rows, column: str, **options):
    """What is predicted, as a frame."""
    return model.predict(as_frame(rows), column, **options)
