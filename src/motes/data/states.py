"""What an encoder consists of <-> dictionaries that JSON can hold, to the bit."""

import dataclasses
from typing import Any

import numpy as np

from motes.data.bijections import Asinh, Cells, Heaps, Identity, Log, Logit, Quantiles, Softplus
from motes.data.cells import Labels, Reals, Steps
from motes.data.codecs import Codec
from motes.data.columns import Column
from motes.data.decimals import Decimals
from motes.data.frames import Series
from motes.data.peaks import Opened, Peaks

PARTS: dict[str, type] = {
    part.__name__: part
    for part in (
        Asinh,
        Cells,
        Codec,
        Column,
        Decimals,
        Heaps,
        Identity,
        Labels,
        Log,
        Logit,
        Opened,
        Peaks,
        Quantiles,
        Reals,
        Series,
        Softplus,
        Steps,
    )
}


def plain_of(value: Any) -> Any:
    """A part as {"is": its class, field: value, ...} without the fields that have their defaults; the rest as it is."""
    if dataclasses.is_dataclass(value):
        plain = {"is": type(value).__name__}
        for field in dataclasses.fields(value):
            now = getattr(value, field.name)
            if isinstance(now, np.ndarray) or now != field.default:
                plain[field.name] = plain_of(now)
        return plain
    if isinstance(value, np.ndarray):
        return {"is": "array", "dtype": value.dtype.str, "values": value.tolist()}
    if isinstance(value, np.generic):
        return value.item()
    return list(value) if isinstance(value, tuple) else value


def restored(plain: Any) -> Any:
    """What `plain_of` was given.

    Raises:
        KeyError, TypeError, ValueError: nothing that it made.
    """
    if isinstance(plain, list):
        return tuple(plain)
    if not isinstance(plain, dict):
        return plain
    fields = {key: value for key, value in plain.items() if key != "is"}
    if plain["is"] == "array":
        return np.array(fields["values"], dtype=fields["dtype"])
    return PARTS[plain["is"]](**{key: restored(value) for key, value in fields.items()})
