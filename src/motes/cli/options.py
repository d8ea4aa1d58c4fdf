"""Options that commands share; each class is a group of them that travel together."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from motes.cli.common import check_rows_out, whole
from motes.cli.drawing import Drawing, Options
from motes.errors import UsageError
from motes.text_options import TextOptions

if TYPE_CHECKING:
    from motes.points import Sampling

Drawn = Annotated[Drawing, Parameter(name="*")]
Seed = Annotated[int, Parameter(converter=whole, help="The same seed gives the same result.")]
Quiet = Annotated[bool, Parameter(alias="-q", negative="", help="Say nothing but results and errors.")]
Json = Annotated[bool, Parameter(negative="", help="Print JSON.")]
FILES = ".csv, .tsv, .parquet, .npy or .npz file"
TABLE = f"{FILES}, or a data set by its name (see `motes datasets`)"
Run = Annotated[Path, Parameter(help="A run's folder, or its model.safetensors.")]
Reference = Annotated[
    str | None,
    Parameter(help=f"What to compare with; what it was trained on if left out: a {TABLE}. Of points also a shape."),
]
Replace = Annotated[bool, Parameter(negative="", help="Replace the file that is there.")]
Given = Annotated[
    list[str],
    Parameter(
        negative="",
        help="A condition on the rows: COLUMN=VALUE or COLUMN=LOW..HIGH, such as price=..500; for tables also "
        "COLUMN=ONE,ANOTHER, COLUMN!=VALUE, and COLUMN= for a missing entry. Repeatable.",
    ),
]
Label = Annotated[str | None, Parameter(help="Of points: a class that the model was trained with (data.label).")]
Text = Annotated[TextOptions, Parameter(name="*", negative="", allow_leading_hyphen=True)]  # --na -
Changes = Annotated[
    list[str],
    Parameter(
        name="--set",
        negative="",
        help="Change one value of the recipe, such as training.steps=8000, for a table table.steps=2000. Repeatable.",
    ),
]


@Parameter(name="*")
@dataclass(frozen=True)
class RowsOut:
    """Where rows are written to."""

    out: Annotated[Path | None, Parameter(help=f"A {FILES}; standard output, as CSV, if left out.")] = None
    overwrite: Replace = False

    def check(self) -> None:
        """Refuse a file before the work.

        Raises:
            UsageError: it cannot be written, or is there already.
        """
        if self.out is not None:
            check_rows_out(self.out, self.overwrite)


@Parameter(name="*")
@dataclass(frozen=True)
class PointOptions:
    """How points are drawn, where that differs from the recipe."""

    label: Label = None
    iid: Annotated[
        Path | None,
        Parameter(help="Of points given observations: a file of several ones of the same row, instead of --given."),
    ] = None
    sampler: Annotated[str | None, Parameter(help="Of points: instead of the recipe's; see `motes samplers`.")] = None
    steps: Annotated[int | None, Parameter(converter=whole, help="Of points: instead of the recipe's.")] = None
    grid: Annotated[str | None, Parameter(help="Of points: instead of the recipe's, where the steps lie.")] = None
    guidance: Annotated[
        float | None, Parameter(help="Of points: 1 means no guidance; more makes rows more typical of their class.")
    ] = None
    guidance_interval: Annotated[
        tuple[float, float], Parameter(negative="", help="The times of guidance, between 0 (data) and 1 (noise).")
    ] = (0.0, 1.0)
    weak: Annotated[Path | None, Parameter(help="A worse copy of the model, to be guided away from: autoguidance.")] = (
        None
    )

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


@Parameter(name="*")
@dataclass(frozen=True)
class Numbers:
    """What is predicted of a number or a date."""

    quantile: Annotated[
        list[float] | None,
        Parameter(negative="", help="Of a number or a date: a share; 0.05, 0.5, 0.95 if left out. Repeatable."),
    ] = None
    draws: Annotated[
        int | None,
        Parameter(converter=whole, help="Of a number or a date: draws for each row; 256 if left out."),
    ] = None


@Parameter(name="*")
@dataclass(frozen=True)
class Printed:
    """What is printed."""

    json: Json = False
    quiet: Quiet = False


@Parameter(name="*")
@dataclass(frozen=True)
class EvaluationOut:
    """Where an evaluation is written to."""

    report: Annotated[Path | None, Parameter(help="An .html file for the whole report.")] = None
    show_rows: Annotated[
        bool, Parameter(negative="", help="Of a table: show real rows in the report; none are shown otherwise.")
    ] = False
    out: Annotated[Path | None, Parameter(help="Folder for figures; none if left out.")] = None
    overwrite: Annotated[bool, Parameter(negative="", help="Replace the figures of an evaluation there.")] = False
    drawing: Drawn = Drawing()

    def __post_init__(self) -> None:
        if self.show_rows and self.report is None:
            raise UsageError("--show-rows is about the report; say where to write it with --report FILE.html.")


@Parameter(name="*")
@dataclass(frozen=True)
class DiagnosisOut:
    """Where a diagnosis is written to."""

    out: Annotated[Path | None, Parameter(help="Folder for figures and numbers; none if left out.")] = None
    overwrite: Annotated[bool, Parameter(negative="", help="Replace the diagnosis that is in the folder.")] = False
    t: Annotated[
        float | None, Parameter(help="Of points: the time of the score figure; the worst one if left out.")
    ] = None
    drawing: Drawn = Drawing()

    def __post_init__(self) -> None:
        if self.t is not None and not 0 < self.t <= 1:
            raise UsageError(f"--t {self.t:g}; expected a time above 0 (data), up to 1 (noise).")
        if self.t is not None and self.out is None:
            raise UsageError("--t is the time of a figure; say where to draw it with --out FOLDER.")


@Parameter(name="*")
@dataclass(frozen=True)
class Pictures:
    """Where pictures are drawn, and how they look."""

    out: Annotated[Path | None, Parameter(help="Folder of the pictures; that of the model if left out.")] = None
    overwrite: Annotated[bool, Parameter(negative="", help="Replace the pictures of another model there.")] = False
    video: Annotated[
        bool, Parameter(negative="", help="Of points: an MP4 instead of a GIF (pip install imageio-ffmpeg).")
    ] = False
    drawing: Drawn = Drawing()


@Parameter(name="*")
@dataclass(frozen=True)
class Scores:
    """Where scores are written to, and what is scored of a table."""

    out: Annotated[Path, Parameter(help="A .csv, .tsv, .parquet, .npy or .npz file for each row's log-likelihood.")]
    overwrite: Replace = False
    orders: Annotated[
        int,
        Parameter(
            converter=whole,
            help="Of a table: average p over so many orders of the columns; a column 'spread' shows the difference.",
        ),
    ] = 1
    smooth: Annotated[
        bool,
        Parameter(
            negative="", help="Of a table: a small probability, not 0, for what the training could not have held."
        ),
    ] = False


@Parameter(name="*")
@dataclass(frozen=True)
class Learning:
    """By which recipe a source is learned, and given what."""

    recipe: Annotated[
        str | None,
        Parameter(help="A name (see `motes recipes`), or a .toml file; the one that suits SOURCE if left out."),
    ] = None
    given_columns: Annotated[
        str | None,
        Parameter(
            help="Learn points given these columns of a file, such as x1,x2: p(the other columns | these); data.given."
        ),
    ] = None

    def changes(self) -> list[str]:
        """The change of a recipe that the columns are."""
        if self.given_columns is None:
            return []
        names = [name.strip() for name in self.given_columns.split(",")]
        if not all(names):
            raise UsageError(
                f"--given-columns {self.given_columns}: expected names with commas between, such as x1,x2."
            )
        return [f"data.given={json.dumps(names)}"]


@Parameter(name="*")
@dataclass(frozen=True)
class RunOptions:
    """How a run is carried out."""

    overwrite: Annotated[bool, Parameter(negative="", help="Replace the run that is in the folder.")] = (
        Options.overwrite
    )
    resume: Annotated[
        bool,
        Parameter(
            negative="",
            help="Go on with the run in the folder, which was cut short; or with --set training.steps=N, for a table "
            "table.steps=N, with one that is complete.",
        ),
    ] = Options.resume
    checkpoint_every: Annotated[
        float, Parameter(help="Seconds of training from one checkpoint to the next, at least.")
    ] = Options.checkpoint_every
    figures: Annotated[bool, Parameter(help="Draw the figures and the animation.")] = Options.figures
    drawing: Drawn = Options.drawing
