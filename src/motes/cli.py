"""The command line. It parses, calls `motes.runs` and `motes.load`, and prints; JAX loads only where it is needed."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from cyclopts import App, CycloptsError, Parameter
from rich.console import Console

from motes.errors import MotesError, UsageError, unknown

app = App(
    name="motes",
    help="Diffusion models for points: train one in seconds, watch it work, sample it.",
    help_epilogue="Exit codes: 0 done, 1 failed, 2 misuse, 130 interrupted. `--debug` shows where an error came from.",
    version=lambda: _version(),
    version_flags=["--version"],
    help_flags=["--help", "-h"],
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)


def _whole(type_: object, tokens: Any) -> int:
    """A whole number; 1.5 is none."""
    return int(tokens[0].value)


Style = Annotated[Literal["dark", "light"], Parameter(help="Look of the figures.")]
Seed = Annotated[int, Parameter(help="The same seed gives the same result.")]
Quiet = Annotated[bool, Parameter(alias="-q", negative="", help="Say nothing but results and errors.")]
Json = Annotated[bool, Parameter(negative="", help="Print JSON.")]
Judge = Annotated[
    str | None,
    Parameter(help="A shape, or a .csv or .npy file, to judge by; what it was trained on if left out."),
]
Label = Annotated[str | None, Parameter(help="A class that the model was trained with (data.label).")]
Changes = Annotated[
    list[str],
    Parameter(
        name="--set",
        negative="",
        help="Change one value of the recipe, such as training.steps=8000. Repeatable.",
    ),
]


@app.command
def train(
    source: Annotated[str, Parameter(help="A shape (see `motes shapes`), or a .csv or .npy file.")],
    /,
    *,
    out: Annotated[Path | None, Parameter(help="Folder of the results; runs/SOURCE if left out.")] = None,
    recipe: Annotated[str, Parameter(help="A name (see `motes recipes`), or a .toml file.")] = "default",
    changes: Changes = [],  # noqa: B006 - never changed
    seed: Seed = 0,
    overwrite: Annotated[bool, Parameter(negative="", help="Replace the run that is in the folder.")] = False,
    figures: Annotated[bool, Parameter(help="Draw the figures and the animation.")] = True,
    style: Style = "dark",
    quiet: Quiet = False,
) -> int:
    """Train a model on points, and leave it with its samples, metrics and pictures in a folder."""
    _start_jax()
    from motes.progress import Reporter
    from motes.runs import Options, train_run

    reporter = Reporter(quiet)
    out = out or _free(Path("runs") / Path(source).stem)
    options = Options(seed=seed, overwrite=overwrite, figures=figures, style=style)
    model, metrics = train_run(source, out, recipe, changes, options, reporter)
    training = model.training
    assert training is not None
    if training.interrupted:
        _note(
            f"Interrupted after {training.steps:,} of {model.recipe.training.steps:,} steps. "
            f"What was learned is in '{out / 'model.safetensors'}'."
        )
        return 130
    for name, key in (("sliced W2", "sliced_w2"), ("C2ST", "c2st")):
        low, high = metrics[key + "_interval"]
        print(
            f"{name:<10} {metrics[key]:.4f}  ({low:.4f} to {high:.4f}; two real draws: {metrics[key + '_floor']:.4f})"
        )
    print(f"C2ST 0.5 cannot be told apart; measured against {metrics['measured_against']}")
    print(f"results in {out}")
    return 0


@app.command
def columns(
    file: Annotated[Path, Parameter(help="A .csv, .tsv, .parquet, .npy or .npz file.")],
    /,
    *,
    changes: Annotated[
        list[str],
        Parameter(name="--set", negative="", help="Say what a column is, such as columns.age=integer. Repeatable."),
    ] = [],  # noqa: B006 - never changed
    json: Json = False,
) -> int:
    """Show what each column of a table will be treated as, and why."""
    from motes.data.columns import overrides_of
    from motes.data.encoder import Encoder
    from motes.data.files import read_frame
    from motes.recipes import split_change

    overrides = overrides_of([split_change(change) for change in changes])
    encoder = Encoder.fit(read_frame(file), overrides, name=f"'{file}'")
    described = encoder.described()
    if json:
        _print_result(None, {"rows": encoder.rows, "width": encoder.width, "columns": described}, True)
        return 0
    table = [("column", "kind", "becomes", "missing", "why")]
    table += [(c["name"], c["kind"], c["becomes"], f"{c['missing']:.0%}", c["why"]) for c in described]
    widths = [max(len(row[j]) for row in table) for j in range(4)]
    for row in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, (*widths, 0), strict=True)).rstrip())
    print(f"\n{encoder.rows:,} rows; {encoder.width} of {len(described)} columns are learned.")
    for warning in encoder.warnings:
        _note(f"warning: {warning}")
    return 0


@app.command
def sample(
    model: Annotated[Path, Parameter(help="A model.safetensors.")],
    /,
    *,
    n: Annotated[int, Parameter(alias="-n", converter=_whole, help="How many rows.")] = 1000,
    out: Annotated[Path | None, Parameter(help="A .csv or .npy file; standard output, as CSV, if left out.")] = None,
    sampler: Annotated[str | None, Parameter(help="Instead of the recipe's; see `motes samplers`.")] = None,
    steps: Annotated[int | None, Parameter(converter=_whole, help="Instead of the recipe's.")] = None,
    grid: Annotated[str | None, Parameter(help="Instead of the recipe's, where the steps lie.")] = None,
    label: Label = None,
    guidance: Annotated[float | None, Parameter(help="1 is none; more makes rows more typical of their class.")] = None,
    guidance_interval: Annotated[
        tuple[float, float], Parameter(help="The times of guidance, between 0 (data) and 1 (noise).")
    ] = (0.0, 1.0),
    weak: Annotated[
        Path | None, Parameter(help="A worse copy of the model, to be guided away from: autoguidance.")
    ] = None,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> int:
    """Draw new points from a model."""
    _start_jax()
    from motes.data.tables import check_suffix, write_csv, write_table
    from motes.model import Guidance, load
    from motes.progress import Reporter
    from motes.runs import Draw, sample_rows

    if out is not None:
        check_suffix(out)
    if guidance is None and (weak is not None or guidance_interval != (0.0, 1.0)):
        raise UsageError("--weak and --guidance-interval are about guidance; give a weight, such as --guidance 2.")
    trained = load(model)
    how = None if guidance is None else Guidance(guidance, *guidance_interval, load(weak) if weak else None)
    rows = sample_rows(trained, n, seed, Reporter(quiet), Draw(sampler, steps, grid, label, how))
    if out is None:
        write_csv(sys.stdout, rows, trained.columns)
    else:
        write_table(out, rows, trained.columns)
        print(f"{n:,} rows in {out}")
    return 0


@app.command
def score(
    model: Annotated[Path, Parameter(help="A model.safetensors.")],
    source: Annotated[str, Parameter(help="A .csv or .npy file, or a shape, which is drawn afresh.")],
    /,
    *,
    out: Annotated[Path, Parameter(help="A .csv or .npy file for the log-likelihood of each row.")],
    label: Label = None,
    quiet: Quiet = False,
) -> int:
    """How likely a model finds points: the log-likelihood of each, in nats."""
    _start_jax()
    from motes.data.tables import check_suffix, write_table
    from motes.model import load
    from motes.progress import Reporter
    from motes.runs import score_source

    check_suffix(out)
    found = score_source(load(model), source, label, Reporter(quiet))
    write_table(out, found.log_prob[:, None], ["log_prob"])
    n = len(found.log_prob)
    # Of one row the mean has no standard error that could be known.
    spread = f" ± {found.log_prob.std(ddof=1) / n**0.5:.4f}" if n > 1 else ""
    print(f"mean log-likelihood {found.log_prob.mean():.4f}{spread} nats per row, {n:,} rows in {out}")
    if lost := int((~(found.error <= 0.01)).sum()):
        _note(f"warning: {lost:,} rows are not exact to 0.01 nats: too far from all data.")
    return 0


@app.command
def ema(
    model: Annotated[Path, Parameter(help="A model.safetensors, or the folder of a run.")],
    source: Judge = None,
    /,
    *,
    out: Annotated[Path | None, Parameter(help="A .safetensors file for the model with the new average.")] = None,
    length: Annotated[
        float | None, Parameter(help="Of the average, from 0.02 to 0.25 of the training; the best one if left out.")
    ] = None,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> int:
    """Average a model's weights over another length of its training; tries several, if none is given."""
    _start_jax()
    from motes.judging import LENGTHS, judge_lengths
    from motes.model import load
    from motes.progress import Reporter

    if length is not None and out is None:
        raise UsageError(f"--length {length:g} says which average to write; say where with --out FILE.")
    if out is not None and out.suffix != ".safetensors":
        raise UsageError(f"'{out}' ends in '{out.suffix}'; expected a name that ends in .safetensors.")
    trained = load(model)
    if length is None:
        with Reporter(quiet).counting("judging", len(LENGTHS) + 1, "lengths") as count:
            found = judge_lengths(trained, source, seed=seed, on_length=count)
        print(found)
        length = found.best
    if out is not None:
        trained.averaged_over(length).save(out)
        print(f"the average over {length:g} of the training in {out}")
    return 0


@app.command
def draw(
    model: Annotated[Path, Parameter(help="A model.safetensors.")],
    source: Annotated[str | None, Parameter(help="The data; what it was trained on if left out.")] = None,
    /,
    *,
    out: Annotated[Path | None, Parameter(help="Folder of the pictures; that of the model if left out.")] = None,
    overwrite: Annotated[bool, Parameter(negative="", help="Replace the pictures of another model there.")] = False,
    video: Annotated[
        bool, Parameter(negative="", help="An MP4 instead of a GIF (pip install 'motes[video]').")
    ] = False,
    style: Style = "dark",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> int:
    """Draw the pictures and the animation of a model."""
    _start_jax()
    from motes.model import load
    from motes.progress import Reporter
    from motes.runs import draw_run, refuse_pictures
    from motes.sources import source_of

    if video and find_spec("imageio_ffmpeg") is None:
        raise UsageError("--video needs the video extra: pip install 'motes[video]'. Without --video it is a GIF.")
    trained = load(model)
    home = model if model.is_dir() else model.parent
    out = out or home
    if out.resolve() != home.resolve() and not overwrite:
        refuse_pictures(out)
    table = source_of(trained, source).table
    animation = out / ("diffusion.mp4" if video else "diffusion.gif")
    for path in draw_run(trained, table.x, out, animation, style, seed, Reporter(quiet)):
        print(path)
    return 0


@app.command
def evaluate(
    model: Annotated[Path, Parameter(help="A model.safetensors, or the folder of a run.")],
    source: Judge = None,
    /,
    *,
    n: Annotated[int, Parameter(alias="-n", converter=_whole, help="Samples, and real points, at most.")] = 10_000,
    json: Json = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> int:
    """Measure how far a model's samples are from real points, each number beside that of real points."""
    _start_jax()
    from motes.judging import evaluate
    from motes.model import load
    from motes.progress import Reporter

    trained, reporter = load(model), Reporter(quiet)
    with reporter.counting("sampling", n, "rows") as count:
        result = evaluate(trained, source, n=n, seed=seed, on_block=count)
    _print_result(result, result.to_dict(), json)
    return 0


@app.command
def diagnose(
    model: Annotated[Path, Parameter(help="A model.safetensors, or the folder of a run.")],
    source: Judge = None,
    /,
    *,
    out: Annotated[Path | None, Parameter(help="Folder for figures and numbers; none if left out.")] = None,
    n: Annotated[int, Parameter(alias="-n", converter=_whole, help="Samples, and real points, at most.")] = 8192,
    t: Annotated[float | None, Parameter(help="The time of the score figure; the worst one if left out.")] = None,
    json: Json = False,
    overwrite: Annotated[bool, Parameter(negative="", help="Replace the diagnosis that is in the folder.")] = False,
    style: Style = "dark",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> int:
    """Find out what is wrong with a model, how to mend it, and where the error of its samples comes from."""
    _start_jax()
    from motes.diagnosis.after import diagnose_model
    from motes.model import load
    from motes.progress import Reporter
    from motes.runs import keep_diagnosis, refuse_diagnosis

    if t is not None and not 0 < t <= 1:
        raise UsageError(f"--t {t:g}; expected a time above 0 (data), up to 1 (noise).")
    if t is not None and out is None:
        raise UsageError("--t is the time of a figure; say where to draw it with --out FOLDER.")
    if out is not None and not overwrite:
        refuse_diagnosis(out)
    trained, reporter = load(model), Reporter(quiet)
    with reporter.counting("diagnosing", 5 * n, "rows") as count:
        found = diagnose_model(trained, source, n=n, seed=seed, on_block=count)
    _print_result(found, [finding.to_dict() for finding in found.findings], json)
    if out is not None:
        for path in keep_diagnosis(found, trained, source, out, t=t, style=style):
            reporter.say(str(path))
    return 0


def _print_result(result: object, plain: Any, as_json: bool) -> None:
    from json import dumps

    print(dumps(plain, indent=2) if as_json else result)


@app.command
def shapes(
    name: Annotated[str | None, Parameter(help="Only this one.")] = None,
    /,
    *,
    out: Annotated[Path | None, Parameter(help="Write the pictures to a .png file instead.")] = None,
    n: Annotated[int, Parameter(alias="-n", converter=_whole, help="Points in each picture.")] = 4000,
    noise: Annotated[float | None, Parameter(help="Blur; each shape's own if left out.")] = None,
    style: Style = "dark",
    seed: Seed = 0,
) -> int:
    """List the shapes that can be trained on, with a picture each."""
    from motes.data.shapes import SHAPES, draw, draw_labelled
    from motes.figures.terminal import braille

    if name is not None and name not in SHAPES:
        raise UsageError(unknown("shape", name, SHAPES))
    chosen = [SHAPES[name]] if name else list(SHAPES.values())
    if out is not None:
        from motes.data.tables import replacing
        from motes.figures import sheet

        if out.suffix.lower() != ".png":
            raise UsageError(f"'{out}' ends in '{out.suffix}'; expected a name that ends in .png.")
        clouds: dict[str, Any] = {
            shape.name: (draw_labelled if shape.classes else draw)(shape.name, n, seed=seed, noise=noise)
            for shape in chosen
        }
        with replacing(out) as temporary:
            sheet(clouds, style=style).savefig(temporary)
        print(f"{len(chosen)} shapes in {out}")
        return 0
    pictures = [braille(draw(shape.name, n, seed=seed, noise=noise)) for shape in chosen]
    for shape, picture in zip(chosen, pictures, strict=True):
        classes = f"{shape.classes} classes" if shape.classes else "no classes"
        print(f"{shape.name}: {shape.about} (noise {shape.noise:g}, {classes})")
        print(picture + "\n")
    return 0


@app.command
def recipes(
    name: Annotated[str | None, Parameter(help="Print the file of this one, to start your own from.")] = None,
    /,
) -> int:
    """List the recipes, or print one."""
    from motes.recipes import load_recipe, recipe_names, recipe_text

    if name is not None:
        print(recipe_text(name), end="")
        return 0
    for known in recipe_names():
        print(f"{known:<10} {load_recipe(known).about}")
    print(
        "\nmotes recipes NAME prints one; motes train SOURCE --recipe NAME --set section.key=value uses and changes it."
    )
    return 0


@app.command
def samplers() -> int:
    """List the samplers: how exact each is, what a step costs, and when to pick it."""
    from motes.parts import GridPart
    from motes.sampling.samplers import SAMPLERS

    print(f"{'sampler':<19} {'order':>5} {'evaluations':>11} {'noise':>5}  when to pick it")
    for name, sampler in SAMPLERS.items():
        one = sampler()
        cost = "adaptive" if one.evaluations is None else f"{one.evaluations} a step"
        print(f"{name:<19} {one.order:>5} {cost:>11} {'yes' if one.stochastic else 'no':>5}  {one.when}")
    print("order: the error falls as 1 / steps^order; where noise is drawn, that of the law of the points.\n")
    for grid in get_args(GridPart):
        print(f"grid {grid().kind:<15} {grid.__doc__}")
    print(
        "\nmotes sample MODEL --sampler NAME --steps N --grid NAME uses them. Options, and times of your own, are set"
    )
    print("in a recipe: --set sampler.kind=ddim --set sampler.eta=0.5.")
    return 0


def main() -> None:
    """Entry point: exit codes 0 (done), 1 (failed), 2 (misuse), 130 (interrupted)."""
    words = sys.argv[1:]
    if sys.stdout is None:  # closed by the shell
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    elif hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")  # a terminal that knows no braille shows question marks
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        code = _run(words, debug)
    except BrokenPipeError:
        code = 1
    try:
        sys.stdout.flush()
    except OSError:
        # The reader of our output has gone, as `head` does, or its disk is full, which `_run` has said. Nothing is left
        # to say, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)


def _run(words: list[str], debug: bool) -> int:
    try:
        result = app(words or ["--help"], exit_on_error=False, print_error=False, console=Console(soft_wrap=False))
        sys.stdout.flush()  # here, where an error is told as any other
        return result if isinstance(result, int) else 0
    except CycloptsError as error:
        code, text = 2, f"{error}\nSee `motes --help`."
        if debug:
            raise
    except MotesError as error:
        code, text = error.exit_code, str(error)
        if debug:
            raise
    except BrokenPipeError:
        raise
    except OSError as error:
        where = f" '{error.filename}'" if error.filename else ""
        code, text = 1, f"cannot use{where}: {error.strerror or error}."
        if debug:
            raise
    except KeyboardInterrupt:
        code, text = (
            130,
            "interrupted. The files that were finished are kept; `motes draw` makes the pictures of a model.",
        )
        if debug:
            raise
    except MemoryError:
        code, text = 1, "out of memory. Ask for fewer rows or a smaller network."
    except Exception as error:
        if debug:
            raise
        code = 1
        text = f"{type(error).__name__}: {error}\nThis should not happen; `--debug` shows where."
    _note(f"motes: {text}")
    return code


def _note(text: str) -> None:
    print(text, file=sys.stderr)


def _version() -> str:
    from importlib.metadata import version

    return f"motes {version('motes')}"


def _free(folder: Path) -> Path:
    """The folder, or the first of folder-2, folder-3, ... that is free: a default never stands in the way."""
    number, free = 1, folder
    while free.exists():
        number += 1
        free = folder.with_name(f"{folder.name}-{number}")
    return free


def _start_jax() -> None:
    """Keep compiled programs from one command to the next; a cache that cannot be used does no harm."""
    import warnings

    from platformdirs import user_cache_dir

    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(user_cache_dir("motes")) / "compiled"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    warnings.filterwarnings("ignore", message=".*persistent compilation cache.*")
