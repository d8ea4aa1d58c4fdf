"""Checks of a loaded table model: that a fit could have produced it."""

import numpy as np

from motes.data.records import check_types
from motes.tables.kinds.columns import ROOM
from motes.tables.missing import PATTERNS
from motes.tables.orders import AnyOrderModel
from motes.tables.parts import Encoded, Part
from motes.tables.relations import Inequality, Relation
from motes.tables.schema import Schema
from motes.training.model import is_covariance, require

SUM = 1e-6  # tolerance of the sum of shares


def check_table(orders: AnyOrderModel, rows: Encoded) -> None:
    """Check that orders, biases and rules fit the schema and the network.

    Args:
        orders: the model, whose schema and network are already checked.
        rows: the rows returned by `check_schema`, on which the relations are tried.

    Raises:
        ArithmeticError, LookupError, TypeError, ValueError: if they do not fit.
    """
    schema, layout, base = orders.schema, orders.layout, orders.models.base
    order, p = orders.order, len(schema.parts)
    whole = order.shape == (p,) and order.dtype.kind == "i"
    require(whole and sorted(order.tolist()) == list(range(p)), "its order of the parts is not a permutation")
    place = np.argsort(order)
    parts = [schema.parts_of(column) for column in schema.learned]
    require(all(np.all(np.diff(place[own]) > 0) for own in parts), "its order has a fine part before a coarse one")
    members = len(orders.models.network.hidden)
    shapes = [group.log_masses.shape for group in layout.groups] + [(len(layout.lines), layout.bins.edges.shape[1] - 1)]
    biases = [one.shape == (members, *shape) for one, shape in zip(orders.bias, shapes, strict=True)]
    require(all(biases) and all(np.isfinite(one).all() for one in orders.bias), "its biases")
    covariances = np.asarray(base.covariances, np.float64)
    require(all(is_covariance(one) for member in covariances for one in member), "the covariances of its mixture")
    patterns, counts, rules = orders.constraint.patterns, orders.constraint.counts, orders.constraint.rules
    if rules:
        fine = patterns.shape == (*counts.shape, len(rules)) and counts.ndim == 1
        fine = fine and bool(((patterns >= -1) & (patterns < [len(rule.shares) for rule in rules])).all())
        require(fine and counts.dtype.kind in "iu" and bool((counts > 0).all()), "how often rows break its rules")
        require(bool((patterns != 0).all(axis=1).any()), "that no row keeps its rules")
    with np.errstate(all="ignore"):
        orders.reader.read(rows)


def check_schema(schema: Schema) -> Encoded:
    """Check that a schema is consistent, and return encoded rows that contain every token of every part.

    These rows are decoded and encoded again, so that for any kind the model can read the rows that it draws.

    Raises:
        ArithmeticError, LookupError, TypeError, ValueError: if the schema is inconsistent.
    """
    check_types(schema)
    learned, kept = schema.learned, schema.kept
    require(len({*schema.names}) == len(schema.names), "two columns have one name")
    apart = [*learned, *kept, *schema.identifiers]
    require(sorted(apart) == sorted(schema.names), "a column is neither learned nor constant nor set aside, or both")
    require(len(learned) > 0 and schema.rows > 0, "no column is learned")
    shares = schema.missing_shares
    require(len(shares) == len(learned) and all(0 <= share < 1 for share in shares), "shares of missing entries")
    weights, rates = schema.missing_patterns.weights, schema.missing_patterns.rates
    fine = weights.ndim == 1 and rates.shape == (len(weights), len(shares)) and len(weights) <= PATTERNS + 1
    fine = fine and bool((weights > 0).all() and abs(weights.sum() - 1) < SUM and ((rates >= 0) & (rates <= 1)).all())
    # The patterns must give each column its own share of missing entries.
    fine = fine and bool(((rates > 0).any(axis=0) == (np.array(shares) > 0)).all())
    require(fine and bool((abs(weights @ rates - shares) < SUM).all()), "which entries are missing together")
    for one in kept.values():
        require(one.values.shape == one.missing.shape == (1,), "a constant column has no single cell")
        one.cells()  # raises if the cell is invalid
    for aside in schema.identifiers.values():  # placeholders are texts, or whole numbers that fit their type
        most = {"label": 1, "whole": 2**63 - ROOM, "real": 2**53 - ROOM}.get(aside.type, 0)
        require(abs(aside.first) < most, "the placeholders of a column")
    with np.errstate(all="ignore"):
        for part in schema.parts:
            _check_part(part)
        _check_relations(schema)
        return _check_round_trip(schema)


def _check_part(part: Part) -> None:
    """Check the arrays of a part against the description of `Part`."""
    masses, count = part.masses, part.count - part.missing
    fine = masses.ndim == 1 and count > 0 and (masses > 0).all() and abs(masses.sum() - 1) < SUM
    require(bool(fine), f"the shares of '{part.name}'")
    if part.edges is not None:
        rising = part.edges.shape == (count + 1,) and (part.edges[:-1] <= part.edges[1:]).all()  # False with NaN
        require(bool(rising), f"the ends of '{part.name}' do not rise")
    require(part.single is None or part.single.shape == (count,), f"the codes of '{part.name}'")
    if (repeats := part.repeats) is not None:
        shares = repeats.again.shape == (count,) and ((repeats.again >= 0) & (repeats.again <= 1)).all()
        values = repeats.y.shape == repeats.within.shape and (np.diff(repeats.y) >= 0).all()
        require(bool(shares and values and (repeats.within > 0).all()), f"the repeated values of '{part.name}'")


def _check_relations(schema: Schema) -> None:
    """Check that relations, dependencies and rules are between learned columns of suitable kinds."""
    kinds = {kind.column: kind for kind in schema.kinds}
    for rule in (*schema.relations, *schema.dependencies, *schema.rules):
        columns = [kinds[column] for column in rule.columns]  # a KeyError if one is not learned
        require(len({*rule.columns}) == len(columns) > 1, "a relation of a column with itself")
        if isinstance(rule, Relation):
            gridded = all(kind.measure == "number" and kind.step is not None for kind in columns)
            require(gridded, "a relation of other columns than numbers")
            fits = len(rule.weights) == len(columns) and all(rule.weights)
            require(fits and 0 <= rule.share <= 1 and rule.step > 0, "the weights of a relation")
            rounded = 0 <= rule.within < 1 and len(rule.rounded) == (len(columns) if rule.within else 0)
            require(rounded and all(0 <= share <= 1 for share in rule.rounded), "the shares of a product")
        elif isinstance(rule, Inequality):
            alike = columns[0].measure == columns[1].measure is not None
            require(alike, "an inequality of other columns than numbers or dates")
            gaps = len(rule.ends) == (len(rule.within) + 1 if rule.within else 0) and (np.diff(rule.ends) > 0).all()
            fits = bool(gaps) and all(share > 0 for share in rule.within) and abs(sum(rule.shares) - 1) < SUM
            require(fits and 0 <= rule.share <= 1, "the gaps of an inequality")
        else:
            given, column = (len(kind.own_labels) for kind in columns)
            codes = rule.codes
            inside = codes.ndim == 1 and len(codes) <= given and ((codes >= -1) & (codes < column)).all()
            fits = 0 <= rule.broken <= rule.rows <= rule.total > 0
            require(bool(inside) and fits, "the codes of a dependency")


def _check_round_trip(schema: Schema) -> Encoded:
    """Decode rows with every token of every part, encode them again, check and return them."""
    rows = np.arange(max(part.count for part in schema.parts))[:, None]
    codes = np.minimum(rows, [part.count - part.missing - 1 for part in schema.parts])
    y = np.zeros(codes.shape)
    for j, part in enumerate(schema.parts):
        ends = part.draw_range
        if part.edges is not None and ends is not None:
            require(bool(np.isfinite(ends).all()) and ends[0] <= ends[1], f"the range of '{part.name}'")
            inside = np.clip(part.edges, *ends)
            y[:, j] = ((inside[:-1] + inside[1:]) / 2)[codes[:, j]]
    frame = schema.decode(codes, y, np.full(codes.shape, 0.5))
    for series in frame.columns.values():
        series.take(slice(0, 1)).cells()
    encoded = schema.encode(frame, unseen="mark")
    counts = np.array([part.count for part in schema.parts])
    # A day that the month does not have becomes another day, which may not occur in the training rows.
    alone = np.array([len(kind.parts) == 1 for kind in schema.kinds for _ in kind.parts])
    require(bool(((encoded.codes >= np.where(alone, 0, -1)) & (encoded.codes < counts)).all()), "its codes")
    places = np.stack([encoded.y, encoded.log_unit])
    require(bool(np.isfinite(places).all() and (encoded.low <= encoded.high).all()), "its places")
    return encoded
