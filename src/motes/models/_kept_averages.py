"""The averages of its weights that a training leaves beside the model file, from which any other length is made."""

import json
from pathlib import Path

from motes._ranges import check_types
from motes.errors import ModelFileError, UsageError
from motes.learning._averages import Averages
from motes.learning._checkpoints import read_checkpoint, reading, write_checkpoint
from motes.recipes import Recipe

AVERAGES = "averages.safetensors"


def run_name(recipe: Recipe, fingerprint: str, seed: int) -> str:
    """What tells a training from any other, however its files are read now."""
    written = {section: part for section, part in recipe.to_dict().items() if section != "text"}
    return json.dumps([written, fingerprint, seed])


def write_averages(averages: Averages, folder: Path, run: str) -> None:
    """Write the averages of a training, where `run` tells it from any other.

    Raises:
        OSError: the folder is not there, cannot be written, or is full.
    """
    write_checkpoint(folder / AVERAGES, vars(averages), {"run": run})


def read_averages(folder: Path, run: str, parameters: int) -> Averages | None:
    """What `write_averages` wrote for a model of so many weights; None: there is nothing.

    Raises:
        ModelFileError: damage, or those of another training.
    """
    path = folder / AVERAGES
    if not path.is_file():
        return None
    tensors, about = read_checkpoint(path)
    with reading(path):
        found = Averages(**tensors)
        check_types(found)
        if about.get("run") != run or found.weights.shape != (*found.steps.shape, parameters):
            raise ModelFileError(f"'{path}' belongs to another model than the one beside it.")
        if found.steps.shape != found.lengths.shape or not len(found.steps) or found.steps.min() < 1:
            raise ValueError("steps and lengths of its averages")
    return found


def checked(averages: Averages | None, option: str) -> Averages:
    """The averages that there are; `option` is the one that keeps them, as a message says.

    Raises:
        UsageError: there are none.
    """
    if averages is None:
        raise UsageError(f"this model has no averages to choose from. `motes train` leaves them in {AVERAGES}{option}")
    return averages
