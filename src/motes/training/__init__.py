"""What trainings of points and of tables share: programs, averages, batches, checkpoints, recipes."""

from motes.training.model import Model, Provenance
from motes.training.programs import cache_programs
from motes.training.recipe import Recipe

__all__ = [
    "Model",
    "Provenance",
    "Recipe",
    "cache_programs",
]
