"""What a training of a table is given: options, rows, who learns which of them, and the order of the parts."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from motes.learning.tables._network import Rows


@dataclass(frozen=True)
class Options:
    """Of a training.

    Attributes:
        steps: at most.
        batch: rows of a step.
        groups: orders of a step.
        fixed: share of the groups that have the order in which rows are drawn.
        learning_rate: at its highest; it falls to nothing by a cosine.
        ema: the decay of the average of the weights, which is the model.
        clip_norm: of the gradient.
        weight_decay: of weights that many codes share, in units of the learning rate (Loshchilov & Hutter 2019).
        check_every: steps between two looks at the validation rows.
        patience: looks without a better one after which the training stops.
        averages: how often over the training two averages are stored, from which one of any length can be made.
    """

    steps: int
    batch: int
    groups: int
    fixed: float
    learning_rate: float
    ema: float
    clip_norm: float
    weight_decay: float
    check_every: int
    patience: int
    averages: int = 0


class Data(NamedTuple):
    """The distinct rows of a table, in the order of their content.

    Attributes:
        rows: (n, p).
        weights: how many rows each stands for, (n,), above 0.
        pieces: into how many equal parts a split can divide the weight of each, (n,). It is 1 where a copy on the other
            side would give the row away, and the weight itself for a row of labels and of numbers that come often:
            there are only so many different rows of these.
        values: (n, p), where an entry has a value: it is observed, and not as a missing one.
    """

    rows: Rows
    weights: NDArray[np.float64]
    pieces: NDArray[np.int64]
    values: NDArray[np.bool_]

    @property
    def worth(self) -> int:
        """How many complete rows have as many entries with a value, where copies of a row count once."""
        return round(float(self.pieces @ self.values.mean(axis=1)))


class Split(NamedTuple):
    """How much each row counts, and for what.

    Attributes:
        learn: for what each member learns from, (members, n).
        hold: for what says when it stops, (members, n); (0, n) where nothing says so.
    """

    learn: NDArray[np.float64]
    hold: NDArray[np.float64]


class Plan(NamedTuple):
    """What of a table no gradient changes.

    Attributes:
        order: place -> part, in which rows are drawn and scored, (p,).
        units: the column of each part, (p,): parts of one column stay together, in their order.
    """

    order: Any
    units: Any
