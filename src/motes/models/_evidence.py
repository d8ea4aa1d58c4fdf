"""How probable a condition is to a model of a table, and what to say where it is hardly ever met."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from motes.data._frames import Frame
from motes.errors import check_process
from motes.models._tables import TableModel
from motes.sampling._constraint import broken_by, observed_sides
from motes.tables._given import Conditions, conditions_of
from motes.tables._schema import Schema

RARE = -9.2  # log probability of a condition, below which a warning names it: one row in 10,000
USUAL = 256  # drawn rows, to which the density of known numbers is compared
FAR = np.log(20)  # nats below all of these: as rare as RARE, one row in about 5,000


class Evidence(NamedTuple):
    """What is known of a condition after rows were drawn under it.

    Attributes:
        log_prob: log p of the condition, in nats of the data's units; None of points, where it is not computed.
        density: columns of which the value is a density, not a probability.
        effective: how many independent rows those that were drawn are worth.
        warnings: why the answer should not be believed, a sentence each.
    """

    log_prob: float | None
    density: tuple[str, ...]
    effective: float
    warnings: tuple[str, ...]


def evidence_of(
    model: TableModel, given: Mapping[str, Any], log_evidence: Sequence[float], effective: float
) -> Evidence:
    """How likely a condition is, and what to say where it is hardly ever met.

    Args:
        model: that drew the rows.
        given: the condition.
        log_evidence: of each block of rows.
        effective: the sum over the blocks.
    """
    check_process()
    log_prob = float(np.logaddexp.reduce(log_evidence) - np.log(len(log_evidence)))
    requested = conditions_of(model.schema, given)
    valued = [
        name for name, one in requested.row.columns.items() if not one.missing[0] and name in model.schema.learned
    ]
    density, warnings = _densities(model.schema, requested.row), list(_broken(model, requested, valued))
    if not density:
        return Evidence(log_prob, (), effective, (*warnings, *_rare(given, log_prob)))
    known = float(model.score_columns(requested.row, valued)[0])
    least = model.lowest(tuple(valued), USUAL)
    warnings += _rare(requested.others, log_prob - known) if requested.others else []
    if known < least - FAR:
        warnings.append(
            f"the log density of {_named(valued)} is {known:.2f} nats, and {least:.2f} is the lowest among {USUAL} "
            "drawn rows: the training held hardly any such row, so that the answer is a guess."
        )
    return Evidence(log_prob, density, effective, tuple(warnings))


def _broken(model: TableModel, requested: Conditions, valued: Sequence[str]) -> Iterator[str]:
    """The rules of all training rows that known values break."""
    sides = observed_sides(model.schema, valued, requested.row, model.schema.encode(requested.row))
    for rule in model.constraint.rules if sides else ():
        if rule.shares[0] == 0 and broken_by((rule,), sides).any():
            yield f"what is given breaks {rule.words} of the training, so that rules say nothing of the other columns."


def _rare(columns: Mapping[str, Any], log_prob: float) -> Iterator[str]:
    if log_prob < RARE:
        yield (
            f"the condition on {_named(columns)} has probability {np.exp(log_prob):.2g}, below 1 in 10,000: the "
            "training held hardly any such row. The answer is a guess."
        )


def _named(columns: Any) -> str:
    return ", ".join(f"'{name}'" for name in columns)


def _densities(schema: Schema, row: Frame) -> tuple[str, ...]:
    """The columns of which the value of one row has a density and no probability."""
    encoded = schema.encode(row)
    found = []
    for j, part in enumerate(schema.parts):
        code = int(encoded.codes[0, j])
        if part.smooth and part.edges is not None and encoded.observed[0, j] and code < len(part.edges) - 1:
            wide = part.edges[code] < part.edges[code + 1]
            # A rounded number counts by its density too: in the data's units, its mass over the width of its cell.
            if wide and (encoded.low[0, j] == encoded.high[0, j] or encoded.log_unit[0, j] != 0):
                found.append(part.column)
    return tuple(dict.fromkeys(found))
