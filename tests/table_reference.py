"""A model of a table without a network: independent parts, uniform within their codes.

It uses `Part` and `Encoded` as `motes.tables.parts` states them, and nothing else.
"""

import numpy as np


def mass_below(low, high, y):
    """(m,): the mass below y of a distribution from low to high: uniform, or exponential where an end is infinite."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        uniform = np.clip((y - low) / (high - low), 0, 1)
        down, up = np.exp(np.minimum(y - high, 0)), 1 - np.exp(-np.maximum(y - low, 0))
        return np.where(np.isinf(low), down, np.where(np.isinf(high), up, uniform))


def log_density(low, high, y):
    """(m,): its log-density at y."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ends = np.where(np.isinf(low), y - high, low - y)
        return np.where(np.isinf(low) | np.isinf(high), ends, -np.log(high - low))


def log_prob(schema, rows, **options):
    """log p of each row, (n,), by the contract of `motes.tables.parts`."""
    encoded = schema.encode(rows, **options)
    total = np.zeros(len(encoded))
    for j, part in enumerate(schema.parts):
        codes = np.maximum(encoded.codes[:, j], 0)
        start = schema.parts_of(part.column).start
        earlier = slice(start, j)
        possible = schema.allowed(j, np.maximum(encoded.codes[:, earlier], 0), encoded.y[:, earlier])
        p = part.masses[codes] / (1.0 if possible is None else possible @ part.masses)
        p = p if possible is None else p * possible[np.arange(len(codes)), codes]
        with np.errstate(divide="ignore"):
            log_p = np.log(p) + encoded.log_unit[:, j]
        if part.edges is not None:
            log_p += _within(part, codes, encoded, j)
        total += np.where(encoded.observed[:, j], log_p, 0.0)
    return total


def _within(part, codes, encoded, j):
    place = np.minimum(codes, len(part.edges) - 2)
    ends = part.edges[place], part.edges[place + 1]
    low, y, high = (array[:, j] for array in (encoded.low, encoded.y, encoded.high))
    with np.errstate(divide="ignore"):
        cell = np.log(mass_below(*ends, high) - mass_below(*ends, low))
    missing = part.missing & (codes == part.count - 1)
    return np.where((ends[0] == ends[1]) | missing, 0.0, np.where(low < high, cell, log_density(*ends, y)))


def random_entries(schema, n, rng):
    """Codes by their masses, places evenly within the codes and the range of what is drawn, uniform numbers: (n, p)."""
    p = len(schema.parts)
    codes, y = np.zeros((n, p), np.int32), np.zeros((n, p))
    for j, part in enumerate(schema.parts):
        earlier = slice(schema.parts_of(part.column).start, j)
        possible = schema.allowed(j, codes[:, earlier], y[:, earlier])
        masses = np.broadcast_to(part.masses, (n, part.count)) * (1 if possible is None else possible)
        upto = np.cumsum(masses, axis=1)
        codes[:, j] = (rng.random((n, 1)) * upto[:, -1:] >= upto).sum(axis=1)
        if part.edges is not None:
            ends = np.clip(part.edges, *schema.parts[j].draw_range)
            place = np.minimum(codes[:, j], len(ends) - 2)
            y[:, j] = ends[place] + rng.random(n) * (ends[place + 1] - ends[place])
    return codes, y, rng.random((n, p))
