"""What is set once the members of a table are learned, from rows that they draw: biases of codes, and rules."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from motes.sampling._constraint import Constraint, estimated
from motes.sampling._unmasking import Unmasker
from motes.tables._schema import Schema

CHANGES = 0.2, 5.0  # of a share by rejection, that calibration makes up for


class Adjusted(NamedTuple):
    """What is set after the training: the schema with the rules that are kept, these, and the biases."""

    schema: Schema
    bias: Sequence[Any]
    constraint: Constraint
    interrupted: bool


def adjusted(unmasker: Unmasker, schema: Schema, seed: int, *, calibrate: bool) -> Adjusted:
    """Biases, and the share of rows that keep the rules of the schema, from drawn rows.

    Args:
        unmasker: of the members, without biases.
        schema: with the rules that training rows keep.
        seed: of the draws.
        calibrate: give drawn rows the training rows' shares of each code.

    Ctrl-C ends it with what there is: what was learned is worth more than its marginals. Before the first
    estimate that is a model without rules.
    """
    made = Adjusted(replace(schema, rules=()), unmasker.no_bias, Constraint.none(), interrupted=True)
    masses = [part.masses for part in schema.parts]
    try:
        if calibrate:
            made = made._replace(bias=unmasker.calibrated(masses, seed))
        found = estimated(unmasker.with_bias(made.bias), schema, seed)
        made = made._replace(schema=found.schema, constraint=found.constraint)
        if calibrate and found.constraint.bends:  # rejection changes the marginals: change the targets
            targets = [mass / np.clip(times, *CHANGES) for mass, times in zip(masses, found.changes, strict=True)]
            bias = unmasker.calibrated([target / target.sum() for target in targets], seed)
            again = estimated(unmasker.with_bias(bias), found.schema, seed)
            if again.schema.rules == found.schema.rules:
                made = made._replace(bias=bias, constraint=again.constraint)
        return made._replace(interrupted=False)
    except KeyboardInterrupt:
        return made
