"""Dataclasses as JSON."""

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar

import numpy as np


class JsonRecord:
    """Base class of dataclasses with a JSON form.

    Attributes:
        json_names: the fields and properties in the JSON form; default: all fields.
    """

    json_names: ClassVar[tuple[str, ...]] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return a dict for JSON: numbers, texts, lists and dicts.

        Example:
            >>> from motes.evaluation import Metric
            >>> Metric("share", 0.5, 0.25, 0.75).to_dict()
            {'value': 0.5, 'low': 0.25, 'high': 0.75, 'p_value': None}
        """
        names = self.json_names or [field.name for field in fields(self)]  # type: ignore[arg-type]
        return {name: encode(getattr(self, name)) for name in names}


def encode(value: Any) -> Any:
    """Return a value for JSON: named tuples become dicts, arrays lists, and numbers that are not finite None.

    Example:
        >>> encode({0.5: np.array([1.0, np.nan])})
        {'0.5': [1.0, None]}
    """
    if isinstance(value, JsonRecord):
        return value.to_dict()
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {str(name): encode(one) for name, one in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [encode(one) for one in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    return value
