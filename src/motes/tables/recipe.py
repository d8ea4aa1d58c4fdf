"""Recipes for tables."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from motes.errors import RecipeError
from motes.ranges import Checked, number
from motes.tables.user_rules import parse_rule
from motes.training import Recipe
from motes.training.recipe import Data


@dataclass(frozen=True)
class TableOptions(Checked):
    """Options of masked diffusion: tokens, network and training. Omitted options are chosen from the data."""

    bins: int = number(128, 2, 10_000)  # maximum number of bins of a column of numbers
    missing: Literal["learn", "ignore"] = "learn"  # missing entries: learned and drawn, or treated as unknown
    relations: bool = True  # search for relations, inequalities and dependencies, and keep them
    width: int | None = number(None, 1, 16_384)  # width of the network
    depth: int | None = number(None, 1, 256)  # number of blocks of the network
    dropout: float | None = number(None, 0, 0.9)  # dropout rate in training
    components: int = number(6, 1, 1000)  # maximum number of components of the Gaussian mixture
    members: int | None = number(None, 1, 256)  # networks, each trained without a part of the rows
    own: int = number(2, 0, 1000)  # additional Gaussians of the network, for each column of numbers
    steps: int | None = number(None, 1, 10**9)  # maximum number of training steps
    batch: int | None = number(None, 8, 10**7)  # rows per step
    fixed: float = number(0.5, 0, 1)  # share of training in the fixed order of drawing and scoring
    learning_rate: float = number(2e-3, 0, 1000, open_low=True)  # maximum, reached after the warm-up
    ema: float = number(0.99, 0, 1)
    averages: int = number(0, 0, 1000)  # number of stored snapshots of two averages; 0: none
    clip_norm: float = number(1.0, 0, 1e12, open_low=True)
    weight_decay: float | None = number(None, 0, 1e6)  # of all weights but biases, in units of the learning rate
    check_every: int | None = number(None, 1, 10**9)  # steps between two validations
    patience: int = number(6, 1, 10**9)  # validations without improvement, after which training stops
    calibrate: bool = True  # match shares of tokens, and regressions between columns, in synthetic rows


@dataclass(frozen=True)
class RuleOptions(Checked):
    """Rules that every synthetic row obeys."""

    hold: tuple[str, ...] = ()  # such as ["end <= start + 30"]; see docs/rules.md

    def __post_init__(self) -> None:
        for text in self.hold:
            parse_rule(text)


@dataclass(frozen=True, repr=False)
class TableRecipe(Recipe):
    """A recipe for a table: it trains a `TableModel`.

    Raises:
        RecipeError: options of points.

    Example:
        >>> motes.load_recipe("table", {"table.steps": 100}).table.steps
        100
    """

    data: Data = Data(encode=True)
    table: TableOptions = TableOptions()
    rules: RuleOptions = RuleOptions()

    SECTIONS: ClassVar[tuple[str, ...]] = ("data", "text", "table", "rules")
    TRAINING: ClassVar[str] = "table"

    def __post_init__(self) -> None:
        super().__post_init__()
        data = self.data
        if not data.encode:
            raise RecipeError("got data.encode = false for a table; expected true. Choose a recipe for points.")
        for key, value, remedy in (
            ("bounds", data.bounds, "Numbers of a table stay within the observed range."),
            ("given", data.given, "A table can be conditioned on any columns when you sample: --given COLUMN=VALUE."),
            ("label", data.label, "A class of a table is a column: sample one class with --given COLUMN=CLASS."),
        ):
            if value:
                shown = f"'{value}'" if isinstance(value, str) else list(value)
                raise RecipeError(
                    f"got data.{key} = {shown} for a table; expected no data.{key}. Leave it out. {remedy}"
                )

    def __repr__(self) -> str:
        return "TableRecipe()"
