"""What is wrong with a model that is trained, in words, with fixes that a page can apply."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from motes.data._shapes import SHAPES
from motes.diagnosis._after import diagnose_model
from motes.errors import UsageError
from motes.explorer._limits import Limits
from motes.explorer._planning import said
from motes.explorer._subjects import Subject

ROWS = 2_000  # of each set of samples


def diagnosed(subject: Subject, limits: Limits, on_block: Callable[[int], None]) -> dict[str, Any]:
    """The findings of `model.diagnose`, where the error of the samples comes from, and what was not looked at.

    Raises:
        UsageError: the rows that the model was trained on are not here.
    """
    origin = subject.origin
    if origin is None:
        raise UsageError(f"the rows that '{subject.name}' was trained on are not here, so nothing is compared with it.")
    source = origin.name if origin.name in SHAPES else origin.training
    found = diagnose_model(subject.model, source, n=ROWS, on_block=on_block)
    parts = {name: part.value for name, part in found.split.parts.items()}
    return {
        "findings": [said(finding, subject.model.recipe, limits) for finding in found.findings],
        "against": found.evaluated_against,
        "total": found.split.total,
        "real": found.split.reference_value,
        "parts": parts,
        "notes": [*found.notes, *found.split.doubts],
    }
