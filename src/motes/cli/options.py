"""Options that commands share. What a class says of its attributes is their help."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from motes.cli.common import whole
from motes.errors import UsageError
from motes.text_options import TextOptions

if TYPE_CHECKING:
    from motes.points import Sampling

FILES = ".csv, .tsv, .parquet, .npy or .npz file"
TABLE = f"{FILES}, or a data set by its name (see `motes datasets`)"
Whole = Annotated[int, Parameter(converter=whole)]
Count = Annotated[int, Parameter(alias="-n", converter=whole)]
Seed = Annotated[int, Parameter(converter=whole, help="The same seed gives the same result.")]
Quiet = Annotated[bool, Parameter(alias="-q", help="Say nothing but results and errors.")]
Json = Annotated[bool, Parameter(help="Print JSON.")]
Run = Annotated[Path, Parameter(help="A run's folder, or its model.safetensors.")]
Data = Annotated[Path, Parameter(help=f"A {TABLE}, with the columns of the model.")]
Reference = Annotated[
    str | None,
    Parameter(help=f"What to compare with; what it was trained on if left out: a {TABLE}. Of points also a shape."),
]
RowsFile = Annotated[Path | None, Parameter(help=f"A {FILES}; standard output, as CSV, if left out.")]
Replace = Annotated[bool, Parameter(help="Replace the file that is there.")]
Given = Annotated[
    list[str],
    Parameter(
        help="A condition on the rows: COLUMN=VALUE or COLUMN=LOW..HIGH, such as price=..500; for tables also "
        "COLUMN=ONE,ANOTHER, COLUMN!=VALUE, and COLUMN= for a missing entry. Repeatable."
    ),
]
Label = Annotated[str | None, Parameter(help="Of points: a class that the model was trained with (data.label).")]
Text = Annotated[TextOptions, Parameter(name="*", allow_leading_hyphen=True)]  # --na -


def text_changes(text: TextOptions) -> Iterator[str]:
    """The changes of a recipe that reading options are: a run remembers them."""
    for name, value in asdict(text).items():
        if value != getattr(TextOptions(), name):
            yield f"text.{name}={json.dumps(value)}"  # which TOML writes alike


FORMATS = ("png", "svg", "pdf")
DPI = (20, 1200)
INCHES = (2.0, 40.0)


@dataclass(frozen=True)
class Drawing:
    """How figures look and how they are written.

    Attributes:
        style: Look of the figures.
        axes: Draw axes around points, and small print that says source, recipe, rows and seed; as the style has it if
            left out: light yes, dark no.
        format: Of the figures.
        dpi: Dots per inch of the figures, of those in SVG and PDF of the points alone.
        size: Width of each figure in inches; the height follows.

    Raises:
        UsageError: a resolution or a width out of range.
    """

    style: Literal["dark", "light"] = "dark"
    axes: Annotated[bool | None, Parameter(negative="--no-axes")] = None
    format: Literal["png", "svg", "pdf"] = "png"
    dpi: int = 120
    size: float | None = None

    def __post_init__(self) -> None:
        if not DPI[0] <= self.dpi <= DPI[1]:
            raise UsageError(f"got --dpi {self.dpi}; expected {DPI[0]} to {DPI[1]} dots per inch.")
        if self.size is not None and not INCHES[0] <= self.size <= INCHES[1]:
            raise UsageError(f"got --size {self.size:g}; expected a width of {INCHES[0]:g} to {INCHES[1]:g} inches.")


Drawn = Annotated[Drawing, Parameter(name="*")]


@dataclass(frozen=True)
class Options:
    """How a run is carried out; what is learned is in the recipe.

    Attributes:
        seed: of everything random.
        overwrite: Replace the run that is in the folder.
        resume: Go on with the run in the folder, which was cut short; or with --set training.steps=N, for a table
            table.steps=N, with one that is complete.
        checkpoint_every: Seconds of training from one checkpoint to the next, at least.
        figures: Draw the figures and the animation.
        drawing: how they look.

    Raises:
        UsageError: both `resume` and `overwrite`, or a negative time.
    """

    seed: Annotated[int, Parameter(parse=False)] = 0
    overwrite: bool = False
    resume: bool = False
    checkpoint_every: float = 30.0
    figures: Annotated[bool, Parameter(negative="--no-figures")] = True
    drawing: Drawn = Drawing()

    def __post_init__(self) -> None:
        if self.resume and self.overwrite:
            raise UsageError("got resume and overwrite; expected one of them: go on with the run, or replace it.")
        if not self.checkpoint_every >= 0:
            raise UsageError(f"got checkpoint_every = {self.checkpoint_every:g}; expected seconds, at least 0.")


@Parameter(name="*")
@dataclass(frozen=True)
class PointOptions:
    """How points are drawn, where that differs from the recipe.

    Attributes:
        label: Of points: a class that the model was trained with (data.label).
        iid: Of points given observations: a file of several ones of the same row, instead of --given.
        sampler: Of points: instead of the recipe's; see `motes samplers`.
        steps: Of points: instead of the recipe's.
        grid: Of points: instead of the recipe's, where the steps lie.
        guidance: Of points: 1 means no guidance; more makes rows more typical of their class.
        guidance_interval: The times of guidance, between 0 (data) and 1 (noise).
        weak: A worse copy of the model, to be guided away from: autoguidance.
    """

    label: str | None = None
    iid: Path | None = None
    sampler: str | None = None
    steps: Annotated[int | None, Parameter(converter=whole)] = None
    grid: str | None = None
    guidance: float | None = None
    guidance_interval: tuple[float, float] = (0.0, 1.0)
    weak: Path | None = None

    def __post_init__(self) -> None:
        if self.guidance is None and (self.weak is not None or self.guidance_interval != (0.0, 1.0)):
            raise UsageError("--weak and --guidance-interval are about guidance; give a weight, such as --guidance 2.")

    @property
    def given(self) -> dict[str, bool]:
        """Option -> whether it was given, to be refused by a model of a table."""
        names = "label", "iid", "sampler", "steps", "grid", "guidance"
        return {f"--{name}": getattr(self, name) is not None for name in names}

    def how(self) -> "Sampling":
        """As a model takes it."""
        from motes.loading import load_as
        from motes.points import Guidance, Sampling
        from motes.points.model import GaussianModel

        guide = None
        if self.guidance is not None:
            weak = load_as(GaussianModel, self.weak, "--weak") if self.weak else None
            guide = Guidance(self.guidance, *self.guidance_interval, weak)
        return Sampling(self.sampler, self.steps, self.grid, guide)
