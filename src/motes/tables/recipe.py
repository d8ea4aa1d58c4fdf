"""A run with a table, written down."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from motes.errors import RecipeError
from motes.ranges import Checked, number
from motes.training import Recipe
from motes.training.recipe import Data


@dataclass(frozen=True)
class TableOptions(Checked):
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


@dataclass(frozen=True, repr=False)
class TableRecipe(Recipe):
    """A whole run with a table: it trains a `TableModel`.

    Raises:
        RecipeError: options of points.

    Example:
        >>> motes.load_recipe("table", {"table.steps": 100}).table.steps
        100
    """

    data: Data = Data(encode=True)
    table: TableOptions = TableOptions()

    SECTIONS: ClassVar[tuple[str, ...]] = ("data", "text", "table")
    TRAINING: ClassVar[str] = "table"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.data.encode:
            raise RecipeError("got data.encode = false for a table; expected true. Choose a recipe for points.")
        if self.data.bounds:
            raise RecipeError(
                f"got data.bounds = {list(self.data.bounds)} for a table; expected no data.bounds. A table "
                "holds nothing beyond what was seen: leave data.bounds out."
            )
        if self.data.given:
            raise RecipeError(
                f"got data.given = {list(self.data.given)} for a table; expected no data.given. Any columns of a table "
                "are conditioned on when rows are drawn: leave data.given out, and draw with --given COLUMN=VALUE."
            )
        if self.data.label is not None:
            raise RecipeError(
                f"got data.label = '{self.data.label}' for a table; expected no data.label. A class is a column like "
                "any other here: leave data.label out, and draw rows of one class with --given COLUMN=CLASS."
            )

    def __repr__(self) -> str:
        return "TableRecipe()"
