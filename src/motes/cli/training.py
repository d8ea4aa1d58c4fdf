"""The commands `motes train`, `motes demo`, `motes columns` and `motes ema`."""

import json
import shlex
import shutil
import sys
from dataclasses import replace
from glob import has_magic
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from motes.cli import common as options
from motes.cli.common import app, load_model, note, start_jax, terminated_by_sigterm
from motes.cli.processes import ProcessOptions, joined, run_processes
from motes.errors import UsageError
from motes.interrupts import uninterrupted
from motes.progress import Reporter
from motes.text_options import STDIN, TextOptions, suffix_of

if TYPE_CHECKING:
    from motes.cli.answers import HeldOutScore
    from motes.evaluation import Evaluation
    from motes.training import Model


@app.command
def train(
    source: Annotated[
        str,
        Parameter(
            help=f"A shape (see `motes shapes`), or a {options.TABLE}; or a folder or a pattern of files, such as "
            "'rows/*.parquet'. A name takes precedence over a file of that name."
        ),
    ],
    /,
    *,
    out: Path | None = None,
    recipe: str | None = None,
    given_columns: str | None = None,
    rules: Annotated[list[str], Parameter(name="--rule")] = [],  # noqa: B006 - never changed
    changes: Annotated[list[str], Parameter(name="--set")] = [],  # noqa: B006 - never changed
    seed: options.MaybeWhole = None,
    run: Annotated[options.Options, Parameter(name="*")] = options.Options(),
    several: ProcessOptions = ProcessOptions(),
    text: options.Text = TextOptions(),
    quiet: options.Quiet = False,
) -> int:
    """Train a model on points or a table; write it into a folder with samples, metrics and figures.

    Args:
        out: Output folder (default: runs/SOURCE, or runs/SOURCE-2 and so on if that exists).
        recipe: A name (see `motes recipes`) or a .toml file (default: chosen from SOURCE).
        given_columns: Learn points given these columns of a file, such as x1,x2: p(other columns | these). Sets
            data.given.
        rules: A rule that every row of a table obeys, such as 'end <= start + 30'; see docs/rules.md. Repeatable. Sets
            rules.hold.
        changes: Change one value of the recipe, such as training.steps=8000, or for a table table.steps=2000.
            Repeatable.
        seed: The same seed gives the same result (default: 0, or with --resume the run's seed).
    """
    if several.are_started_here:
        if source == STDIN:
            raise UsageError("several processes cannot read standard input. Save the rows in a file first.")
        return run_processes(several)
    start_jax()
    with uninterrupted():
        from motes.cli.folders import seed_of
        from motes.cli.run import train_run
        from motes.fitting import choose_recipe

    changes = [*changes, *options.text_changes(text)]
    if given_columns is not None:
        names = [name.strip() for name in given_columns.split(",")]
        if not all(names):
            raise UsageError(f"--given-columns {given_columns}: expected names separated by commas, such as x1,x2.")
        changes.append(f"data.given={json.dumps(names)}")
    if rules:
        changes.append(f"rules.hold={json.dumps(rules)}")
    folder = Path("runs") / name_of(Path(source))
    out = out or (folder if run.resume or run.overwrite else _find_free_folder(folder))
    if run.resume:
        before = seed_of(out)
        seed, chosen = before if seed is None else seed, recipe or str(out / "recipe.toml")
    else:
        usual = "posterior" if given_columns else "table" if rules else choose_recipe(source, changes)
        chosen = recipe or usual
    settings = replace(run, seed=seed or 0)
    with terminated_by_sigterm(), joined(several):
        return _report(out, *train_run(source, out, chosen, changes, settings, Reporter(quiet)))


@app.command
def demo(
    *, out: Path | None = None, overwrite: bool = False, seed: options.Seed = 0, quiet: options.Quiet = False
) -> int:
    """Train a first model, on a swiss roll; then say what to open and what to type next.

    Args:
        out: Output folder (default: runs/demo).
        overwrite: Replace the run in the folder.
    """
    folder = Path("runs") / "demo"
    out = out or (folder if overwrite else _find_free_folder(folder))
    Reporter(quiet).say(
        "Training a diffusion model on 10,000 points of a swiss roll, which takes about a minute. It learns to turn "
        f"noise into new points of that shape. The model, its points and the pictures go into '{out}'."
    )
    code = train("swiss_roll", out=out, seed=seed, quiet=quiet, run=options.Options(overwrite=overwrite))
    if code == 0:
        motes = "motes" if shutil.which("motes") else sys.argv[0]
        lines = [f"explore {out}", f"sample {out} -n 5", "datasets", "train penguins"]
        lines.append("sample runs/penguins -n 5 --given species=Gentoo")
        print(f"\nOpen {out / 'diffusion.gif'} and the pictures in {out / 'figures'}. Then type, in this folder:\n")
        print("".join(f"    {motes} {line}\n" for line in lines))
        print("`motes --help` lists all commands.")
    return code


def _report(out: Path, model: "Model", found: "Evaluation[Any] | HeldOutScore | None") -> int:
    """Print the results of a run; return the exit code."""
    from motes.training.processes import is_first

    if not is_first():
        return 0
    if found is None:
        assert model.training is not None  # it was trained just now
        total = model.recipe.training_steps
        of = "" if total is None else f" of {total:,}"
        note(
            f"Interrupted after {model.training.steps:,}{of} steps. The model so far is in "
            f"'{out / 'model.safetensors'}'; continue the training with --resume."
        )
        return 130
    print(found)
    print(f"\nresults in {out}")
    return 0


@app.command
def columns(
    file: Annotated[Path, Parameter(help=f"A {options.TABLE}; or a folder or a pattern of files.")],
    /,
    *,
    changes: Annotated[list[str], Parameter(name="--set")] = [],  # noqa: B006 - never changed
    text: options.Text = TextOptions(),
    as_json: Annotated[options.Json, Parameter(name="--json")] = False,
) -> int:
    """Show the kind chosen for each column of a table, and why.

    Args:
        changes: Set the kind of a column, such as columns.age=integer. Repeatable.
    """
    from motes.data.stored import name_rows, read_sample
    from motes.evaluation.results import aligned
    from motes.evaluation.sources import overrides_of
    from motes.recipe_files import split_change
    from motes.tables import Schema, find_rules
    from motes.tables.kinds.columns import column_messages
    from motes.tables.relations import rows_of
    from motes.training.recipe import Data

    overrides = overrides_of([split_change(change) for change in changes])
    rows = read_sample(file, Data().in_memory, text, Reporter())
    schema = Schema.fit(rows, overrides, name=name_rows(str(file), rows))
    described, learned, rules = schema.described(), len(schema.learned), find_rules(rows, schema)
    if as_json:
        found = {"rows": schema.rows, "learned": learned, "columns": described, "relations": schema.related}
        found["rules"] = [{"rule": str(one.rule), "share": one.share} for one in rules]
        print(json.dumps(found, indent=2))
        return 0
    share = lambda missing: "<1%" if 0 < missing < 0.01 else f"{missing:.0%}"
    lines = [(" ".join(c["name"].split()), c["kind"], c["becomes"], share(c["missing"]), c["why"]) for c in described]
    print(aligned(("column", "kind", "becomes", "missing", "why"), lines))
    print(f"\n{schema.rows:,} rows; {learned} of {len(described)} columns are learned.")
    for remark in () if rows.many is None else rows.many.notes:
        print(f"Note: {remark}")
    if schema.dropped:
        print(f"Dropped, as requested: {', '.join(schema.dropped)}.")
    for message in schema.related:
        print(f"Found: {message}.")
    if rules:
        print("\nRules that hold; give the ones that synthetic rows must never break to `motes train`:")
        words = [f"--rule {shlex.quote(str(one.rule))}" for one in rules]
        for option, one in zip(words, rules, strict=True):
            print(f"  {option:<{max(map(len, words))}}  # {rows_of(one.share)}")
    for warning in column_messages(schema.columns, shell=True):
        note(f"warning: {warning}")
    return 0


@app.command
def ema(
    model: options.Run,
    source: options.Reference = None,
    /,
    *,
    out: Path | None = None,
    length: float | None = None,
    seed: options.Seed = 0,
    text: options.Text = TextOptions(),
    quiet: options.Quiet = False,
) -> int:
    """Average a model's weights over another part of its training, or find the best length.

    Args:
        out: A .safetensors file for the model with the new average.
        length: Length of the average, from 0.02 to 0.25 of the training (default: the best one).
    """
    start_jax()
    from motes.evaluation import compare_ema_lengths
    from motes.training.checkpoints import check_name

    if length is not None and out is None:
        raise UsageError(f"--length {length:g} needs a file for the new average: --out FILE.")
    if out is not None:
        check_name(out)
    trained = load_model(model, text, source)
    if length is None:
        with Reporter(quiet).counting("comparing", "lengths") as on_progress:
            found = compare_ema_lengths(trained, source, seed=seed, on_progress=on_progress)
        print(found)
        length = found.best
    if out is not None:
        trained.averaged_over(length).save(out)
        print(f"the average over {length:g} of the training in {out}")
    return 0


def name_of(source: Path) -> str:
    """Return the name of a source without its suffix; of a pattern, the name of its folder."""
    if str(source) == STDIN:
        return "stdin"
    path = next(path for path in (source, *source.parents) if not has_magic(str(path))).resolve()
    return path.name[: len(path.name) - len(suffix_of(path))]


def _find_free_folder(folder: Path) -> Path:
    """Return the folder, or the first of folder-2, folder-3, ... that does not exist yet, or only has rows for it."""
    from motes.cli.folders import STORED

    others = (folder.with_name(f"{folder.name}-{number}") for number in count(2))
    is_free = lambda path: not path.exists() or (path.is_dir() and {one.name for one in path.iterdir()} == {STORED})
    return next(path for path in chain([folder], others) if is_free(path))
