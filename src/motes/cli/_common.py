"""The application that the commands belong to, and what they share: options, JAX's cache, notes."""

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from cyclopts import App, Parameter

from motes.data._text_options import TextOptions
from motes.errors import UsageError
from motes.runs._drawing import Drawing

if TYPE_CHECKING:
    from motes.models._model import Model

AnyModel = TypeVar("AnyModel", bound="Model")

app = App(
    name="motes",
    help="Diffusion models for points and tables: train one in seconds, watch it work, sample it.",
    help_epilogue="Exit codes: 0 done, 1 failed or output lost, 2 misuse, 130 interrupted, 143 ended by "
    "SIGTERM. `--debug` shows where an error came from. `--import FILE.py` runs a file that registers classes of your "
    "own for recipes.",
    version=lambda: _version(),
    version_flags=["--version"],
    help_flags=["--help", "-h"],
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)


def whole(type_: object, tokens: Any) -> int:
    """A whole number, such as 1000000 or 1e6; 1.5 is none."""
    text = tokens[0].value
    try:
        return int(text)
    except ValueError:
        pass
    try:
        number = Decimal(text)  # of which 1e23 is the whole number that it says
        if number == number.to_integral_value() and number.adjusted() < DIGITS:
            return int(number)
    except InvalidOperation:
        pass
    raise ValueError(f"got {text}; expected a whole number.")


DIGITS = 20  # of a whole number: more than any option has
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


def check_out(out: Path, overwrite: bool) -> None:
    """Refuse a file that cannot be written, or that is there already, before the work.

    Raises:
        UsageError: no such folder, a folder, or a file that nobody asked to replace.
    """
    if not out.parent.is_dir():
        raise UsageError(f"'{out}': there is no folder '{out.parent}'. Make it first.")
    if out.is_dir():
        raise UsageError(f"'{out}' is a folder; expected the name of a file.")
    if out.exists() and not overwrite:
        raise UsageError(f"'{out}' is there already. Choose another --out, or replace it with --overwrite.")


def check_rows_out(out: Path, overwrite: bool) -> None:
    """`check_out` of a file that rows are written to.

    Raises:
        UsageError: as `check_out`, or a kind of file that is not written.
    """
    from motes.data._writing import check_writable

    check_writable(out, {})
    check_out(out, overwrite)


def refuse_others(model: "Model", *, points: Mapping[str, object], tables: Mapping[str, object]) -> None:
    """Refuse options that models of the other kind have.

    Args:
        model: of points or of a table.
        points, tables: names of the options of either kind, and what was given of each: None, False or nothing where
            nothing was.

    Raises:
        UsageError: one was given; it names the first.
    """
    mine, other, options = ("tables", "points", points) if model.kind == "table" else ("points", "tables", tables)
    for name, value in options.items():
        if value:
            raise UsageError(f"got {name} for a model of {mine}; {name} is for models of {other}. Leave it out.")


def text_changes(text: TextOptions) -> Iterator[str]:
    """The changes of a recipe that reading options are: a run remembers them."""
    from json import dumps

    for name, value in asdict(text).items():
        if value != getattr(TextOptions(), name):
            yield f"text.{name}={dumps(value)}"  # which TOML writes alike


def read_by(model: "AnyModel", text: TextOptions, source: str | Path | None) -> "AnyModel":
    """The model, which reads files as those of its training, but for the options that were given for this `source`.

    Raises:
        UsageError: options for what is no text file.
    """
    text.check_for(source or model.source or "the model's own rows")
    model.recipe = replace(model.recipe, text=text.over(model.recipe.text))
    return model


def note(text: str) -> None:
    print(text, file=sys.stderr)


def _version() -> str:
    from importlib.metadata import version

    return f"motes {version('motes')}"


def start_jax() -> None:
    """Keep compiled programs from one command to the next; a cache that cannot be used does no harm."""
    import warnings

    from platformdirs import user_cache_dir

    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(user_cache_dir("motes")) / "compiled"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    warnings.filterwarnings("ignore", message=".*persistent compilation cache.*")


def print_result(result: object, plain: Any, as_json: bool) -> None:
    from json import dumps

    print(dumps(plain, indent=2) if as_json else result)
