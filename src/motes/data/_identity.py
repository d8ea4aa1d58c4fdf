"""By what rows are known again: their content, and nothing else.

    a row is held out    where    hash(its content, seed) < share

Rows that are appended, removed or moved leave all others where they are, and equal rows are always on the same side.
The hash of a label is that of its text, so that another label changes no other row.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data._frames import Frame
from motes.data._series import Mask, Series
from motes.errors import check_seed

Words = NDArray[np.uint64]

EXACT = 2**53  # from which whole numbers are no longer exact as floats


def content_keys(frame: Frame) -> Words:
    """64 bits of each row, (n,), equal for equal rows, whatever other rows and in which order the columns are."""
    columns = sorted(frame.columns.items())
    return words_of([(_words(series), series.missing) for _, series in columns], len(frame))


def fingerprint_of(frame: Frame) -> str:
    """By which all rows of a table are known again, in any order of rows and of columns.

    Example:
        >>> from motes.data._frames import as_frame
        >>> a, b = as_frame({"x": [1, 2], "y": ["a", "b"]}), as_frame({"y": ["b", "a"], "x": [2, 1]})
        >>> fingerprint_of(a) == fingerprint_of(b)
        True
    """
    return hashlib.sha256(np.sort(content_keys(frame)).tobytes()).hexdigest()[:16]


def held_out_of(frame: Frame, share: float, seed: int, least: int = 0) -> Mask:
    """Which rows (n,) of a table are held out, by the equation of this module.

    Args:
        frame: n rows; the order of rows and of columns has no bearing.
        share: from 0 to 1; the share of distinct rows that are held out is a binomial one around it.
        seed: of the choice.
        least: rows that are held out: where the share gives fewer, those with the smallest hashes. A row that is
            appended then never makes another one held out, but one that is removed may.

    Example:
        >>> from motes.data._frames import as_frame
        >>> rows = as_frame([[1.0], [2.0], [1.0], [3.0]])
        >>> out = held_out_of(rows, 0.5, seed=0)
        >>> bool(out[0] == out[2])
        True
    """
    start = mixed(np.array([check_seed(seed)], np.uint64) + np.uint64(0x9E3779B97F4A7C15))
    words = mixed(content_keys(frame) ^ start)
    out = words.astype(np.float64) < share * 2.0**64
    return words <= np.sort(words)[least - 1] if share and out.sum() < least <= len(words) else out


def _words(series: Series) -> NDArray[np.int64]:
    """64 bits of each entry that is not missing: of a label those of its text, of a number those of the float."""
    known = series.known
    if series.type == "label":
        texts = [hashlib.blake2b(str(label).encode(), digest_size=8).digest() for label in series.labels]
        table = np.frombuffer(b"".join(texts) or bytes(8), np.int64)
        return table[known]
    if series.type == "date":
        return known.astype(np.int64)
    floats = known.astype(np.float64) + 0.0  # -0.0 is 0.0, and 3 is 3.0
    if series.type != "whole":
        return floats.view(np.int64)
    return np.where(np.abs(floats) < EXACT, floats.view(np.int64), known.astype(np.int64))


def words_of(columns: Iterable[tuple[NDArray[Any], Mask]], n: int) -> NDArray[np.uint64]:
    """64 bits of each of n rows, (n,): equal for equal cells, and as good as random otherwise.

    Args:
        columns: the known entries (m,) and the mask of the missing ones (n,) of each column.
        n: how many rows.
    """
    words = np.zeros(n, np.uint64)
    for known, missing in columns:
        values = known + 0.0 if known.dtype.kind == "f" else known.astype(np.int64)  # -0.0 is 0.0
        words = mixed(words + np.uint64(0x9E3779B97F4A7C15))
        words[~missing] ^= values.view(np.uint64)
        words[missing] ^= np.uint64(0x5851F42D4C957F2D)  # which no cell is likely to hold
    return mixed(words)


def mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A scrambling of 64 bits in which each depends on all (Steele et al. 2014, SplitMix64)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))
