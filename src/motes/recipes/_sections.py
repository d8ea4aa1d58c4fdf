"""The sections of a recipe that make nothing: where the data comes from, and how a table is learned."""

from dataclasses import dataclass
from typing import Literal

from motes._ranges import Checked, number


@dataclass(frozen=True)
class Data(Checked):
    """Where the points come from and how they are scaled."""

    rows: int = number(10_000, 20, 10**8)  # drawn from a shape; a file is taken whole
    noise: float | None = number(None, 0, 1e6)  # blur of a shape; left out: the shape's own
    held_out: float = number(0.1, 0, 0.9)  # share of a file's rows that is not trained on, for evaluation
    encode: bool = False  # a table of any columns, each encoded by its kind; otherwise all are real numbers
    standardise: bool = True  # learn columns of mean 0 and standard deviation 1
    label: str | None = None  # the column that holds the class of each row, "class" for a shape; left out: none
    given: tuple[str, ...] = ()  # columns of numbers that points are conditioned on, such as ["x1", "x2"]
    bounds: tuple[str, ...] = ()  # of columns, such as ["rate=0..1", "size=0.."]: no sample is beyond them


@dataclass(frozen=True)
class Table(Checked):
    """A table by masked diffusion: its codes, its network, and how it is trained. What is left out suits the rows."""

    bins: int = number(128, 2, 10_000)  # codes of a column of numbers, at most
    missing: Literal["learn", "ignore"] = "learn"  # missing entries: learned and drawn, or left out as not known
    relations: bool = True  # find c = a + b, start <= end, and labels that follow from others; keep them
    width: int | None = number(None, 1, 16_384)  # of the network's state
    depth: int | None = number(None, 1, 256)  # blocks of the network
    dropout: float | None = number(None, 0, 0.9)  # share of the units that training leaves out
    components: int = number(6, 1, 1000)  # of the Gaussian mixture that numbers begin from, at most
    own: int = number(2, 0, 1000)  # normals of the network's own, for each column of numbers
    steps: int | None = number(None, 1, 10**9)  # of training, at most
    batch: int | None = number(None, 8, 10**7)  # rows of a step
    fixed: float = number(0.5, 0, 1)  # share of training in the order in which rows are drawn and scored
    learning_rate: float = number(2e-3, 0, 1000, open_low=True)  # at its highest
    ema: float = number(0.99, 0, 1)
    averages: int = number(0, 0, 1000)  # stores of two averages over training, from which any other is made; 0: none
    clip_norm: float = number(1.0, 0, 1e12, open_low=True)
    weight_decay: float | None = number(None, 0, 1e6)  # of weights that many codes share, in units of the learning rate
    check_every: int | None = number(None, 1, 10**9)  # steps from one look at the validation rows to the next
    patience: int = number(6, 1, 10**9)  # looks without a better one, after which training stops
    calibrate: bool = True  # give drawn rows the training rows' shares of each code
