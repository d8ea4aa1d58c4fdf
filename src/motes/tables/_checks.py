"""Whether a schema that was read from a file is one that a fit could have made, before anything relies on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from motes._ranges import check_types
from motes.data._series import Series
from motes.tables._dependencies import Dependency
from motes.tables._missing import PATTERNS, MissingPatterns
from motes.tables._parts import Array, Encoded, Part
from motes.tables._relations import Relation
from motes.tables.kinds._dates import Date
from motes.tables.kinds._identifiers import ROOM, Identifier
from motes.tables.kinds._labels import Categorical
from motes.tables.kinds._numeric import Number

if TYPE_CHECKING:
    from motes.tables._schema import Schema

SUM = 1e-6  # by which shares may miss 1


def check_schema(schema: Schema) -> Encoded:
    """Refuse a schema that contradicts itself; the answer is a row of every code of every part.

    These rows are decoded and encoded again. So whatever a kind is made of, rows that a model draws are rows that it
    can read.

    Raises:
        ArithmeticError, LookupError, TypeError, ValueError: it does.
    """
    check_types(schema)
    learned, kept = schema.learned, schema.kept
    _require(len({*schema.names}) == len(schema.names), "two columns have one name")
    apart = [*learned, *kept, *schema.identifiers]
    _require(sorted(apart) == sorted(schema.names), "a column is neither learned nor constant nor set aside, or both")
    _require(len(learned) > 0 and schema.rows > 0, "there is nothing that was learned")
    shares = schema.missing_shares
    _require(len(shares) == len(learned) and all(0 <= share < 1 for share in shares), "shares of missing entries")
    _check_patterns(schema.missing_patterns, np.array(shares))
    for one in kept.values():
        _check_constant(one)
    for aside in schema.identifiers.values():
        _check_identifier(aside)
    with np.errstate(all="ignore"):
        for part in schema.parts:
            _check_part(part)
        _check_relations(schema)
        return _there_and_back(schema)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(f"its schema is malformed: {otherwise}")


def _check_constant(one: Series) -> None:
    """A column that does not vary has one cell."""
    _require(one.values.shape == one.missing.shape == (1,), "a constant column has no single cell")
    one.cells()  # which raises where it is none


def _check_identifier(aside: Identifier) -> None:
    """Placeholders are text, or whole numbers that their type holds."""
    most = {"label": 1, "whole": 2**63 - ROOM, "real": 2**53 - ROOM}.get(aside.type, 0)
    _require(abs(aside.first) < most, "the placeholders of a column")


def _check_patterns(patterns: MissingPatterns, shares: Array) -> None:
    """Columns are missing together as often as they are by themselves."""
    weights, rates = patterns.weights, patterns.rates
    shaped = weights.ndim == 1 and rates.shape == (len(weights), len(shares)) and len(weights) <= PATTERNS + 1
    _require(shaped, "which entries are missing together")
    fine = (weights > 0).all() and abs(weights.sum() - 1) < SUM and ((rates >= 0) & (rates <= 1)).all()
    fine &= ((rates > 0).any(axis=0) == (shares > 0)).all() and (abs(weights @ rates - shares) < SUM).all()
    _require(bool(fine), "which entries are missing together")


def _check_part(part: Part) -> None:
    """What `Part` says of its arrays."""
    masses, count = part.masses, part.count - part.missing
    fine = masses.ndim == 1 and count > 0 and (masses > 0).all() and abs(masses.sum() - 1) < SUM
    _require(bool(fine), f"the shares of '{part.name}'")
    if part.edges is not None:
        rising = part.edges.shape == (count + 1,) and (part.edges[:-1] <= part.edges[1:]).all()  # not so with NaN
        _require(bool(rising), f"the ends of '{part.name}' do not rise")
    _require(part.single is None or part.single.shape == (count,), f"the codes of '{part.name}'")
    if (repeats := part.repeats) is not None:
        shares = repeats.again.shape == (count,) and ((repeats.again >= 0) & (repeats.again <= 1)).all()
        values = repeats.y.shape == repeats.within.shape and (np.diff(repeats.y) >= 0).all()
        _require(bool(shares and values and (repeats.within > 0).all()), f"the repeated values of '{part.name}'")


def _check_relations(schema: Schema) -> None:
    """What holds between columns names columns that are learned, and are of the kinds that can have it."""
    kinds = {kind.column: kind for kind in schema.kinds}
    rules = schema.rules
    for relation in (*schema.relations, *(rule for rule in rules if isinstance(rule, Relation))):
        numbers = [kinds.get(column) for column in relation.columns]
        gridded = all(isinstance(kind, Number) and kind.grid is not None for kind in numbers)
        _require(gridded and len({*relation.columns}) == len(numbers) > 1, "a relation of other columns than numbers")
        fits = len(relation.weights) == len(numbers) and all(relation.weights)
        _require(fits and 0 <= relation.share <= 1 and relation.step > 0, "the weights of a relation")
    for one in schema.inequalities:
        pair = kinds.get(one.low), kinds.get(one.high)
        alike = any(all(isinstance(kind, family) for kind in pair) for family in (Number, Date))
        _require(alike and one.low != one.high, "an inequality of other columns than numbers or dates")
        gaps = len(one.ends) == (len(one.within) + 1 if one.within else 0) and (np.diff(one.ends) > 0).all()
        fits = bool(gaps) and all(share > 0 for share in one.within) and abs(sum(one.shares) - 1) < SUM
        _require(fits and 0 <= one.share <= 1, "the gaps of an inequality")
    for dependency in (*schema.dependencies, *(rule for rule in rules if isinstance(rule, Dependency))):
        given, column = (kinds.get(name) for name in dependency.columns)
        _require(isinstance(given, Categorical) and isinstance(column, Categorical), "a dependency of no labels")
        assert given is not None and column is not None  # as they are labels
        codes = dependency.codes
        most = given.parts[0].count
        inside = codes.ndim == 1 and len(codes) <= most and ((codes >= -1) & (codes < column.parts[0].count)).all()
        fits = 0 <= dependency.broken <= dependency.rows <= dependency.total > 0
        _require(bool(inside) and given is not column and fits, "the codes of a dependency")


def _there_and_back(schema: Schema) -> Encoded:
    rows = np.arange(max(part.count for part in schema.parts))[:, None]
    codes = np.minimum(rows, [part.count - part.missing - 1 for part in schema.parts])
    y = np.zeros(codes.shape)
    for j, part in enumerate(schema.parts):
        ends = schema.draw_range(j)
        if part.edges is not None and ends is not None:
            _require(bool(np.isfinite(ends).all()) and ends[0] <= ends[1], f"the range of '{part.name}'")
            inside = np.clip(part.edges, *ends)
            y[:, j] = ((inside[:-1] + inside[1:]) / 2)[codes[:, j]]
    frame = schema.decode(codes, y, np.full(codes.shape, 0.5))
    for series in frame.columns.values():
        series.take(slice(0, 1)).cells()
    encoded = schema.encode(frame, unseen="mark")
    counts = np.array([part.count for part in schema.parts])
    # A day that a month has not becomes another one, which may be none of the training.
    alone = np.array([len(kind.parts) == 1 for kind in schema.kinds for _ in kind.parts])
    _require(bool(((encoded.codes >= np.where(alone, 0, -1)) & (encoded.codes < counts)).all()), "its codes")
    places = np.stack([encoded.y, encoded.log_unit])
    _require(bool(np.isfinite(places).all() and (encoded.low <= encoded.high).all()), "its places")
    return encoded
