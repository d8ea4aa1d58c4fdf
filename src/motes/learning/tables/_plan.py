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
    """The rows of a table.

    Attributes:
        rows: (n, p).
        keys: equal for equal rows, (n,).
        weights: how much each row counts, (n,); None: 1 each.
    """

    rows: Rows
    keys: NDArray[np.uint64]
    weights: NDArray[np.float64] | None = None


class Split(NamedTuple):
    """Which rows are for what.

    Attributes:
        learn: those that each member learns from; all as many.
        hold: those that say when it stops; all as many, none where nothing says so.
    """

    learn: list[NDArray[np.integer]]
    hold: list[NDArray[np.integer]]


class Plan(NamedTuple):
    """What of a table no gradient changes.

    Attributes:
        order: place -> part, in which rows are drawn and scored, (p,).
        units: the column of each part, (p,): parts of one column stay together, in their order.
    """

    order: Any
    units: Any
