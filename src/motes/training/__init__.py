"""Training code shared by points and tables: the loop, programs, averages, batches, checkpoints and recipes."""

from motes.training.loop import Trained
from motes.training.model import Model, Provenance
from motes.training.programs import cache_programs
from motes.training.recipe import Recipe

__all__ = ["Model", "Provenance", "Recipe", "Trained", "cache_programs"]
