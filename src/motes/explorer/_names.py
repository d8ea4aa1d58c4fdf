"""What is said of a word on the command line that is neither a shape nor a model."""

from __future__ import annotations

from pathlib import Path

from motes.data._datasets import DATASETS
from motes.data._shapes import SHAPES
from motes.errors import UsageError, unknown


def check_source(source: str) -> None:
    """Refuse a bare name that is no file: a data set whose model has to be trained first, or a name that is unknown.

    Raises:
        UsageError: it says the nearest name, or the commands that lead to a model.
    """
    path = Path(source)
    if path.exists() or path.suffix or path.name != source:
        return
    if source in DATASETS:
        raise UsageError(
            f"got '{source}', a data set without a model; expected a model. Train one: motes train {source}, then "
            f"motes explore runs/{source}."
        )
    message = unknown("shape or data set", source, [*SHAPES, *DATASETS])
    raise UsageError(f"{message} Or give a run's folder, or its model.safetensors.")
