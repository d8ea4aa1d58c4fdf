"""Parts shared by all commands: the application, options, output, usage errors and signals.

The docstring of a class of options gives the help texts of its attributes.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from decimal import Decimal, InvalidOperation
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter, UnknownOptionError
from cyclopts.validators import Number

from motes.errors import Terminated, UsageError
from motes.interrupts import handling
from motes.text_options import STDIN, TextOptions

if TYPE_CHECKING:
    from motes.points import Sampling

app = App(
    name="motes",
    help="Diffusion models for points and tables: train one in seconds, watch it work, sample it.",
    help_epilogue="Exit codes: 0 done, 1 failed or output lost, 2 wrong usage, 130 Ctrl-C, 143 SIGTERM. `--debug` "
    "shows the traceback of an error. `--import FILE.py` runs a file that registers your own classes for recipes.",
    version=lambda: f"motes {version('motes')}",
    version_flags=["--version"],
    help_flags=["--help", "-h"],
    default_parameter=Parameter(negative=""),
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)


def whole(type_: object, tokens: Any) -> int:
    """Parse a whole number, such as 1000000 or 1e6, but not 1.5."""
    text = tokens[0].value
    with suppress(InvalidOperation):
        number = Decimal(text)  # exact also for 1e23
        if number == number.to_integral_value() and number.adjusted() < DIGITS:
            return int(number)
    raise ValueError(f"got {text}; expected a whole number.")


DIGITS = 20  # at most in a whole number: more than any option needs


# --- options shared by several commands -----------------------------------------------------------------------------


FILES = ".csv, .tsv, .jsonl, .parquet or .npy file, or a .csv.gz or .tsv.gz"
TABLE = (
    "file (.csv, .tsv, .csv.gz, .tsv.gz, .jsonl, .xlsx, .parquet, .npy, .sqlite or .duckdb), - for CSV from standard "
    "input, or the name of a data set (see `motes datasets`)"
)
Whole = Annotated[int, Parameter(converter=whole)]
MaybeWhole = Annotated[int | None, Parameter(converter=whole)]
Count = Annotated[int, Parameter(alias="-n", converter=whole)]
Seed = Annotated[int, Parameter(converter=whole, help="The same seed gives the same result.")]
Quiet = Annotated[bool, Parameter(alias="-q", help="Print only results and errors.")]
Json = Annotated[bool, Parameter(help="Print JSON.")]
Run = Annotated[Path, Parameter(help="A run's folder, or its model.safetensors.")]
SEVERAL = "Or a folder or a pattern such as 'rows/*.parquet': each file becomes a file of the folder --out."
Data = Annotated[Path, Parameter(help=f"A {TABLE}, with the model's columns. {SEVERAL}")]
Reference = Annotated[
    str | None,
    Parameter(help=f"Real rows to compare with (default: the training data): a {TABLE}. For points also a shape."),
]
RowsFile = Annotated[
    Path | None, Parameter(help=f"A {FILES} (default: standard output, as CSV); for several files a folder.")
]
RowsOut = Annotated[
    Path | None, Parameter(help=f"A {FILES}, or with --shards a folder (default: standard output, as CSV).")
]
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
        scratch: Folder for rows that are not read into memory (see data.in_memory), kept for later runs (default: in
            the run's folder, until the run is complete).

    Raises:
        UsageError: if both `resume` and `overwrite` are set.
    """

    seed: Annotated[int, Parameter(parse=False)] = 0
    overwrite: bool = False
    resume: bool = False
    checkpoint_every: Annotated[float, Parameter(validator=Number(gte=0))] = 30.0
    figures: Annotated[bool, Parameter(negative="--no-figures")] = True
    drawing: Drawn = Drawing()
    scratch: Path | None = None

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
    steps: MaybeWhole = None
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


# --- files, models and output ---------------------------------------------------------------------------------------


def check_rows_out(out: Path | None, overwrite: bool, types: Mapping[str, Any] | None = None) -> None:
    """Check, before the work, that rows can be written to a file.

    Args:
        out: the file; None: standard output.
        overwrite: whether the file may already exist.
        types: types of the columns, if known; see `check_writable`.

    Raises:
        UsageError: if the folder does not exist, `out` is a folder, the file exists and `overwrite` is False, or its
            format cannot be written.
    """
    from motes.data.files import check_writable

    if out is None:
        return
    check_writable(out, types or {})
    if not out.parent.is_dir():
        raise UsageError(f"'{out}': there is no folder '{out.parent}'. Make it first.")
    if out.is_dir():
        raise UsageError(f"'{out}' is a folder; expected the name of a file.")
    if out.exists() and not overwrite:
        raise UsageError(f"'{out}' exists already. Choose another --out, or replace it with --overwrite.")


def refuse_others(model: Any, *, points: Mapping[str, object], tables: Mapping[str, object]) -> None:
    """Refuse options for the other kind of model.

    Args:
        model: model of points or of a table.
        points, tables: option -> given value for each kind; None, False or empty if it was not given.

    Raises:
        UsageError: if such an option was given; the message names the first.
    """
    mine, other, options = ("tables", "points", points) if model.kind == "table" else ("points", "tables", tables)
    for name, value in options.items():
        if value:
            raise UsageError(f"got {name} for a model of {mine}; {name} is for models of {other}. Leave it out.")


def load_model(path: Path, text: TextOptions = TextOptions(), source: str | Path | None = None) -> Any:
    """Load the model of a run. It reads files as during training, except for the options given for this `source`.

    Raises:
        UsageError: for text options if the source is not a text file, or if there is no such model.
        ModelFileError: if the file is not a model.
    """
    from motes.loading import load

    model = load(path)
    text.check_for(source or model.source or "the model's own rows")
    model.recipe = replace(model.recipe, text=text.over(model.recipe.text))
    return model


def note(text: str) -> None:
    """Print a line on stderr, unless that cannot be written, such as a file on a full disk."""
    with suppress(OSError):
        print(text, file=sys.stderr)


def start_jax() -> None:
    """Cache compiled programs between commands; a cache that cannot be used is ignored."""
    import warnings

    from platformdirs import user_cache_dir

    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(user_cache_dir("motes")) / "compiled"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    warnings.filterwarnings("ignore", message=".*persistent compilation cache.*")


def print_result(result: Any, as_json: bool) -> None:
    """Print a result in words or as JSON."""
    print(json.dumps(result.to_dict(), indent=2) if as_json else result)


def with_standard_input(words: Sequence[str]) -> list[str]:
    """Return the words of a command with the name of standard input for each `-`, which would be parsed as an option.

    After --na and --sep, `-` stands for itself.
    """
    before = ["", *words[:-1]]
    pairs = zip(words, before, strict=False)
    return [STDIN if word == "-" and last not in ("--na", "--sep") else word for word, last in pairs]


def misuse(error: CycloptsError) -> str:
    """Return the message for an error of the parser, with the command that shows the options."""
    text = str(error).removeprefix("Invalid value for ")
    if isinstance(error, UnknownOptionError):
        got = error.token.keyword or error.token.value
        takes_recipe = any("--recipe" in one.names for one in error.argument_collection)
        if takes_recipe and (settings := _settings(got)):
            say = " or ".join(f"--set {setting}=..." for setting in settings)
            text = f"unknown option '{got}': it is a value of the recipe. Use {say}."
    return f"{text} See `{' '.join(('motes', *(error.command_chain or ())))} --help`."


def _settings(option: str) -> list[str]:
    """Return the recipe keys, as section.key, with the same name as an option."""
    from motes.recipes import load_recipe
    from motes.training.recipe import keys_of

    key, recipes = option.removeprefix("--").replace("-", "_"), (load_recipe("default"), load_recipe("table"))
    parts = {section: getattr(recipe, section) for recipe in recipes for section in recipe.SECTIONS}
    found = [section for section, part in parts.items() if key in keys_of(type(part))]
    return [f"{section}.{key}" for section in sorted(found, key=lambda one: one not in ("training", "table"))]


# --- Ctrl-C and SIGTERM ---------------------------------------------------------------------------------------------


@contextmanager
def terminated_by_sigterm() -> Iterator[None]:
    """Make SIGTERM raise `Terminated`, so that the command ends as after Ctrl-C.

    During training, a signal waits until the steps under way are done (`motes.interrupts.interruptible`).
    """
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield  # if a handler is set or the signal is ignored, leave it so
        return
    with handling(signal.SIGTERM, _raise_terminated):
        yield


def _raise_terminated(number: int, frame: object) -> None:
    raise Terminated("ended by SIGTERM.")
