"""Load a model from a file. Loading runs no code from the file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.arguments import check_arguments
from motes.data import SHAPES, Frame, as_frame, frames
from motes.errors import NoModelError, UsageError
from motes.points import PointModel, PosteriorModel
from motes.tables.model import TableModel
from motes.training import Model
from motes.training.checkpoints import SUFFIX, read_checkpoint, reading


@check_arguments
def load(path: str | Path) -> Model:
    """Load a model from a model file or the folder of a run. Loading runs no code from the file.

    Raises:
        NoModelError: if there is no such file.
        ModelFileError: if the file has another format, is damaged, or needs a custom class that is not registered.

    Example:
        >>> model.save("moons.safetensors")
        >>> motes.load("moons.safetensors").sample(3).shape
        (3, 2)
    """
    path = model_path(path)
    return of_parts(*read_checkpoint(path), path)


def load_as(kind: type[Any], path: str | Path, requested: str) -> Any:
    """Load a model that must be of one kind.

    Raises:
        UsageError: if the model is of another kind, for which `requested` is not available.
        NoModelError, ModelFileError: as in `load`.
    """
    model = load(path)
    if not isinstance(model, kind):
        raise UsageError(
            f"'{path}' is a model of {model.about}; {requested} needs a model of {kind.about}. Pass another model."
        )
    return model


def of_parts(tensors: dict[str, NDArray[Any]], about: Mapping[str, str], path: Path) -> Model:
    """Build a model from the arrays and texts of a file: `Model.parts` and what `Model.save` or an estimator added.

    Raises:
        ModelFileError: if the file is damaged.
    """
    is_conditioned = about.get("context", "null") != "null"
    kind = TableModel if "schema" in about else PosteriorModel if is_conditioned else PointModel
    model: Model = kind.of_parts(tensors, about, path)
    with reading(path), np.errstate(all="ignore"):
        # The template of an estimator with classes lacks the column of classes that the model's rows have.
        template = None if "estimator.target" in tensors else frames.kept(tensors, about)
        if template is not None or model.source not in SHAPES:
            model.template = Frame({}) if template is None else template
        _check_template(model)
    return model


def _check_template(model: Model) -> None:
    """Refuse a template that cannot hold the model's columns; entries would be missing or silently changed."""
    example = as_frame(model.example, model.columns)
    group = {"whole": "a number", "real": "a number"}
    returned = as_frame(model._native(example))
    for (name, one), found in zip(example.columns.items(), returned.columns.values(), strict=True):
        expected, got = (group.get(each.type, each.type) for each in (one, found))
        if one.known.size and (not found.known.size or got != expected):
            raise ValueError(f"its table type returns column '{name}' as {got}; expected {expected}.")


def model_path(path: str | Path) -> Path:
    """Return the path of the model file; `path` may be the folder of a run.

    Raises:
        NoModelError: if the file does not exist.
    """
    path = Path(path)
    path = path / "model.safetensors" if path.is_dir() else path
    path = path if path.suffix or path.is_file() else path.with_name(path.name + SUFFIX)
    if not path.is_file():
        raise NoModelError(f"there is no model file '{path}'. `motes train` makes one.")
    return path
