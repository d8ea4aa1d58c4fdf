"""What goes over the socket: JSON to the server, and to the page binary frames of float32.

A frame is the length of its header (uint32, little-endian), the header (JSON in UTF-8, padded with spaces so that what
follows begins at a multiple of 4), and the arrays that the header names, one after another (float32, little-endian).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Answer(NamedTuple):
    """Words and numbers, and arrays by name."""

    header: dict[str, Any]
    arrays: Mapping[str, NDArray[Any]] = MappingProxyType({})


def frame(header: Mapping[str, Any], arrays: Mapping[str, ArrayLike]) -> bytes:
    """The bytes of an answer. What is not finite in a header becomes null, for JSON has no word for it."""
    whole = {name: np.asarray(array, dtype="<f4", order="C") for name, array in arrays.items()}
    shapes = [{"name": name, "shape": array.shape} for name, array in whole.items()]
    text = json.dumps(_finite({**header, "arrays": shapes}), ensure_ascii=False, allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    return b"".join([struct.pack("<I", len(text)), text, *(array.tobytes() for array in whole.values())])


def parts(data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the arrays of a frame."""
    (length,) = struct.unpack_from("<I", data)
    header: dict[str, Any] = json.loads(data[4 : 4 + length])
    arrays, place = {}, 4 + length
    for one in header.pop("arrays"):
        count = int(np.prod(one["shape"], dtype=int))
        arrays[one["name"]] = np.frombuffer(data, "<f4", count, place).reshape(one["shape"])
        place += 4 * count
    return header, arrays


def _finite(part: Any) -> Any:
    if isinstance(part, Mapping):
        return {str(key): _finite(one) for key, one in part.items()}
    if isinstance(part, list | tuple):
        return [_finite(one) for one in part]
    if isinstance(part, float | np.floating):
        return float(part) if np.isfinite(part) else None
    return int(part) if isinstance(part, np.integer) else part
