"""The parts of a table as arrays that a compiled program can use.

Part j has K_j codes. Parts of about the same size share one padded array, so that a table of 200 columns is a few
products of matrices and not 200. A part on a line (numbers, dates, ordered labels) has a place u in [0, 1] for each
code, its mid-rank over the training rows, where the smooth basis is evaluated:

    basis_r(u) = cos(pi r u) / sqrt(1 + (r / DECAY)^2),    r = 1, ..., WAVES
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from motes.tables.parts import Part

Array = NDArray[np.float64]

WAVES = 24
DECAY = 1.5  # 4 memorises: held-out rows of Magic are 0.17 nats less likely
SIZES = (8, 40, 160, 1024)  # parts of up to so many codes share an array; larger ones share the last
GRID = 24  # codes from which a grid of single values is given a density as well,
HEAVY = 0.1  # unless one of them holds so large a share of the rows
FREE = 0.1  # how freely a code of a line moves beside the smooth basis


class Group(NamedTuple):
    """Parts of about the same number of codes, padded to the largest.

    Attributes:
        parts: their places among all parts, (G,).
        log_masses: (G, K), minus infinity beyond the codes of a part.
        basis: (G, K, WAVES), zero for codes without a place on a line.
        free: (G, K), the scale of what each code learns for itself.
    """

    parts: NDArray[np.int32]
    log_masses: NDArray[np.float32]
    basis: NDArray[np.float32]
    free: NDArray[np.float32]


@dataclass(frozen=True)
class Layout:
    """All parts of a table.

    Attributes:
        sizes: number of codes of each part, (p,).
        groups: the parts by size.
        lines: places of the parts with a density, (L,).
    """

    sizes: tuple[int, ...]
    groups: tuple[Group, ...]
    lines: NDArray[np.int32]

    @property
    def parts(self) -> int:
        """p."""
        return len(self.sizes)

    @property
    def codes(self) -> int:
        """S, the codes of all groups, padding included."""
        return sum(group.log_masses.size for group in self.groups)

    @property
    def free(self) -> NDArray[np.float32]:
        """(S,): how freely each code moves beside the smooth basis."""
        return np.concatenate([group.free.ravel() for group in self.groups])

    @property
    def on_line(self) -> NDArray[np.bool_]:
        """(p,): which parts lie on a line."""
        made = np.zeros(self.parts, bool)
        for group in self.groups:
            made[group.parts] = (group.basis != 0).any(axis=(1, 2))
        return made

    @property
    def line_place(self) -> NDArray[np.int32]:
        """(p,): the place of each part among the lines; -1 for the others."""
        made = np.full(self.parts, -1, np.int32)
        made[self.lines] = np.arange(len(self.lines))
        return made

    @property
    def offsets(self) -> NDArray[np.int32]:
        """(p,): where the codes of each part begin in one long table of all groups, padding included."""
        made = np.zeros(self.parts, np.int32)
        start = 0
        for group in self.groups:
            padded = group.log_masses.shape[1]
            made[group.parts] = start + padded * np.arange(len(group.parts))
            start += padded * len(group.parts)
        return made


def layout_of(parts: Sequence[Part]) -> Layout:
    """Arrays of the parts of a table."""
    sizes = tuple(len(part.masses) for part in parts)
    bucket = np.searchsorted(SIZES, sizes)
    groups = []
    for b in np.unique(bucket):
        places = np.flatnonzero(bucket == b)
        padded = max(sizes[j] for j in places)
        groups.append(_group([parts[int(j)] for j in places], places, padded))
    lines = np.array([j for j, part in enumerate(parts) if has_density(part)], np.int32)
    return Layout(sizes, tuple(groups), lines)


def has_density(part: Part) -> bool:
    """Whether a part has normals beside its codes: its bins need them, a grid of values without a heavy one may."""
    few = part.edges is not None and len(part.masses) >= GRID and part.masses.max() <= HEAVY
    return part.smooth or few


def rank_edges(part: Part) -> Array:
    """The share of the training rows below each edge of a part on a line, (L+1,)."""
    assert part.edges is not None
    masses = part.masses[: len(part.edges) - 1]
    return np.append(0.0, np.cumsum(masses)) / masses.sum()


def _group(parts: Sequence[Part], places: NDArray[np.intp], padded: int) -> Group:
    log_masses = np.full((len(parts), padded), -np.inf, np.float32)
    basis = np.zeros((len(parts), padded, WAVES), np.float32)
    free = np.ones((len(parts), padded), np.float32)
    waves = np.arange(1, WAVES + 1)
    for i, part in enumerate(parts):
        log_masses[i, : len(part.masses)] = np.log(part.masses)
        if part.edges is None:
            continue
        ends = rank_edges(part)
        middle = (ends[1:] + ends[:-1]) / 2
        basis[i, : len(middle)] = np.cos(np.pi * middle[:, None] * waves) / np.sqrt(1 + (waves / DECAY) ** 2)
        free[i, : len(middle)] = FREE if part.smooth else 1.0
    return Group(places.astype(np.int32), log_masses, basis, free)
