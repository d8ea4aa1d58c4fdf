"""Where a model is from: what its file keeps beside what was learned."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Provenance:
    """Where a model is from.

    Attributes:
        source: what it was trained on, a shape's name or a file's; "" for an array.
        fingerprint: of the rows that it was trained on, by which they are known again.
        seed: of the training.

    Example:
        >>> from motes.models import PointModel, Provenance
        >>> known = Provenance("moons", model.fingerprint, seed=0)
        >>> same = PointModel(model.denoiser, model.standardiser, model.columns, model.recipe, provenance=known)
        >>> same.source
        'moons'
    """

    source: str = ""
    fingerprint: str = ""
    seed: int = 0


def texts_of(model: Any) -> dict[str, str]:
    """What a file keeps of where a model is from, and of the average that its weights are."""
    length = {} if model.length is None else {"length": repr(model.length)}
    return {"source": model.source, "fingerprint": model.fingerprint, "seed": str(model.seed)} | length


def provenance_of(about: Mapping[str, str]) -> tuple[Provenance, float | None]:
    """That of a file, and the length of the average.

    Raises:
        KeyError, ValueError: they are not in it.
    """
    length = float(about["length"]) if "length" in about else None
    return Provenance(about["source"], about["fingerprint"], int(about["seed"])), length
