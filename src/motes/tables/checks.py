"""What a file of a table's model says, checked before anything is made of it."""

from typing import Any

import numpy as np

from motes.tables.orders import AnyOrder
from motes.tables.sampling import Constraint
from motes.training.model import is_covariance, require


def check_table(orders: AnyOrder, rows: Any) -> None:
    """Refuse orders, biases and rules that do not fit the schema and the network.

    Args:
        orders: whose schema and network were checked.
        rows: encoded ones of all codes, which the relations read.

    Raises:
        ArithmeticError, LookupError, TypeError, ValueError: they do not.
    """
    schema, layout, base = orders.schema, orders.layout, orders.models.base
    order, p = orders.order, len(schema.parts)
    whole = order.shape == (p,) and order.dtype.kind == "i"
    require(whole and sorted(order.tolist()) == list(range(p)), "its order of the parts is none")
    place = np.argsort(order)
    parts = [schema.parts_of(column) for column in schema.learned]
    require(all(np.all(np.diff(place[own]) > 0) for own in parts), "its order has a fine part before a coarse one")
    members = len(orders.models.network.hidden)
    shapes = [group.log_masses.shape for group in layout.groups] + [(len(layout.lines), layout.bins.edges.shape[1] - 1)]
    biases = [one.shape == (members, *shape) for one, shape in zip(orders.bias, shapes, strict=True)]
    require(all(biases) and all(np.isfinite(one).all() for one in orders.bias), "its biases")
    covariances = np.asarray(base.covariances, np.float64)
    require(all(is_covariance(one) for member in covariances for one in member), "the covariances of its mixture")
    _check_constraint(orders.constraint)
    with np.errstate(all="ignore"):
        orders.reader.read(rows)


def _check_constraint(constraint: Constraint) -> None:
    patterns, counts, rules = constraint.patterns, constraint.counts, constraint.rules
    if not rules:
        return
    fine = patterns.shape == (*counts.shape, len(rules)) and counts.ndim == 1
    fine = fine and bool(((patterns >= -1) & (patterns < [len(rule.shares) for rule in rules])).all())
    require(fine and counts.dtype.kind in "iu" and bool((counts > 0).all()), "how often rows break its rules")
    require(bool((patterns != 0).all(axis=1).any()), "that no row keeps its rules")
