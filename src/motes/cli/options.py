"""Options shared by several commands. The docstring of a class gives the help texts of its attributes."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

from motes.cli.common import whole
from motes.errors import UsageError
from motes.text_options import TextOptions

if TYPE_CHECKING:
    from motes.points import Sampling

FILES = ".csv, .tsv, .parquet or .npy file"
TABLE = f"{FILES}, or the name of a data set (see `motes datasets`)"
Whole = Annotated[int, Parameter(converter=whole)]
Count = Annotated[int, Parameter(alias="-n", converter=whole)]
Seed = Annotated[int, Parameter(converter=whole, help="The same seed gives the same result.")]
Quiet = Annotated[bool, Parameter(alias="-q", help="Print only results and errors.")]
Json = Annotated[bool, Parameter(help="Print JSON.")]
Run = Annotated[Path, Parameter(help="A run's folder, or its model.safetensors.")]
Data = Annotated[Path, Parameter(help=f"A {TABLE}, with the model's columns.")]
Reference = Annotated[
    str | None,
    Parameter(help=f"Real rows to compare with (default: the training data): a {TABLE}. For points also a shape."),
]
RowsFile = Annotated[Path | None, Parameter(help=f"A {FILES} (default: standard output, as CSV).")]
Replace = Annotated[bool, Parameter(help="Replace an existing file.")]
Given = Annotated[
    list[str],
    Parameter(
        help="A condition on the rows: COLUMN=VALUE or COLUMN=LOW..HIGH, such as price=..500; for tables also "
        "COLUMN=ONE,ANOTHER, COLUMN!=VALUE, and COLUMN= for a missing entry. Repeatable."
    ),
]
Label = Annotated[str | None, Parameter(help="Points only: a class that the model was trained with (data.label).")]
Text = Annotated[TextOptions, Parameter(name="*", allow_leading_hyphen=True)]  # --na -


def text_changes(text: TextOptions) -> Iterator[str]:
    """Yield the recipe changes that correspond to options for reading text files, so that a run remembers them."""
    for name, value in asdict(text).items():
        if value != getattr(TextOptions(), name):
            yield f"text.{name}={json.dumps(value)}"  # JSON values are valid TOML


@dataclass(frozen=True)
class Drawing:
    """Style and file format of figures.

    Attributes:
        style: Colours of the figures.
        axes: Draw axes around points, and a footnote with source, recipe, rows and seed (default: on for light, off
            for dark).
        format: File format of the figures.
        dpi: Dots per inch of the figures; in SVG and PDF this affects only the points.
        size: Width of each figure in inches; the height follows.
    """

    style: Literal["dark", "light"] = "dark"
    axes: Annotated[bool | None, Parameter(negative="--no-axes")] = None
    format: Literal["png", "svg", "pdf"] = "png"
    dpi: Annotated[int, Parameter(validator=Number(gte=20, lte=1200))] = 120
    size: Annotated[float | None, Parameter(validator=Number(gte=2, lte=40))] = None


Drawn = Annotated[Drawing, Parameter(name="*")]


@dataclass(frozen=True)
class Options:
    """Options of a run that do not affect what is learned; the recipe has the others.

    Attributes:
        seed: random seed.
        overwrite: Replace the run in the folder.
        resume: Continue the interrupted run in the folder; with --set training.steps=N (for a table table.steps=N),
            continue a complete one.
        checkpoint_every: Minimum seconds of training between two checkpoints.
        figures: Draw the figures and the animation.
        drawing: style of the figures.

    Raises:
        UsageError: if both `resume` and `overwrite` are set.
    """

    seed: Annotated[int, Parameter(parse=False)] = 0
    overwrite: bool = False
    resume: bool = False
    checkpoint_every: Annotated[float, Parameter(validator=Number(gte=0))] = 30.0
    figures: Annotated[bool, Parameter(negative="--no-figures")] = True
    drawing: Drawn = Drawing()

    def __post_init__(self) -> None:
        if self.resume and self.overwrite:
            raise UsageError("got resume and overwrite; expected one of them: continue the run, or replace it.")


@Parameter(name="*")
@dataclass(frozen=True)
class PointOptions:
    """Options for sampling points that override the recipe.

    Attributes:
        label: Points only: a class that the model was trained with (data.label).
        iid: Posteriors only: a file of several independent observations of the same row, instead of --given.
        sampler: Points only: the sampler (default: the recipe's); see `motes samplers`.
        steps: Points only: the number of steps (default: the recipe's).
        grid: Points only: the time grid of the steps (default: the recipe's).
        guidance: Points only: weight of guidance. 1 means none; higher values make rows more typical of their class.
        guidance_interval: Apply guidance between these times, from 0 (data) to 1 (noise).
        weak: A weaker copy of the model, to guide away from (autoguidance).
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
            raise UsageError("--weak and --guidance-interval need guidance; set its weight, such as --guidance 2.")

    @property
    def given(self) -> dict[str, bool]:
        """Whether each option was given; a model of a table refuses them."""
        names = "label", "iid", "sampler", "steps", "grid", "guidance"
        return {f"--{name}": getattr(self, name) is not None for name in names}

    def how(self) -> "Sampling":
        """Return the sampling settings for a model's `draw`."""
        from motes.loading import load_as
        from motes.points import Guidance, Sampling
        from motes.points.model import GaussianModel

        guide = None
        if self.guidance is not None:
            weak = load_as(GaussianModel, self.weak, "--weak") if self.weak else None
            guide = Guidance(self.guidance, *self.guidance_interval, weak)
        return Sampling(self.sampler, self.steps, self.grid, guide)
