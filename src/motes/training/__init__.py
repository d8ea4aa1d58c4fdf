"""What trainings of points and of tables share: the loop, programs, averages, batches, checkpoints, recipes."""

from motes.training.loop import Trained
from motes.training.model import Model, Provenance
from motes.training.programs import cache_programs
from motes.training.recipe import Recipe

__all__ = [
    "Model",
    "Provenance",
    "Recipe",
    "Trained",
    "cache_programs",
]
