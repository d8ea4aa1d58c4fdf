"""What tests of trainings that go on share: where states are kept, and how trees of arrays are compared."""

import json

import jax
import numpy as np
import pandas as pd

from motes.progress import Reporter
from motes.training.checkpoints import State, read_checkpoint, write_checkpoint


class Ended(Exception):
    """As if the process had been killed."""


class Told(Reporter):
    """Keeps what is said, and warnings by themselves."""

    def __init__(self, **options):
        super().__init__(**options)
        self.lines, self.warnings = [], []

    def say(self, text):
        self.lines.append(text)

    def warn(self, text):
        self.lines.append(f"warning: {text}")
        self.warnings.append(text)


class Memory:
    """Keeps states in memory, through JSON and safetensors as a file would have them, and ends the training there."""

    def __init__(self, folder, state=None, end=10**9):
        self.state, self.end, self.path = state, end, folder / "state.safetensors"
        self.saved = []

    def due(self):
        return True

    def save(self, step, state, may_wait=None):
        self.saved.append(step)
        write_checkpoint(self.path, state.arrays, {"numbers": json.dumps(state.numbers)})
        if step >= self.end:
            raise Ended

    @property
    def kept(self):
        arrays, texts = read_checkpoint(self.path)
        return State(arrays, json.loads(texts["numbers"]))


def learnable(n, seed=0):
    """n rows whose last column follows from the first, which a network can learn and its base cannot."""
    rng = np.random.default_rng(seed)
    a = rng.choice(["x", "y", "z"], n)
    d = np.where(rng.random(n) < 0.9, a, "w")
    return pd.DataFrame({"a": a, "b": rng.standard_normal(n).round(2), "d": d})


def bits(*trees):
    """All the arrays, and the scalars, of some trees."""
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(trees) if hasattr(leaf, "dtype")]
