"""The command `motes sweep`, which trains a model for each combination of settings and seeds."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from motes.cli import common as options
from motes.cli.common import app, start_jax, terminated_by_sigterm
from motes.cli.sharding import EngineOptions
from motes.cli.training import name_of
from motes.interrupts import uninterrupted
from motes.progress import Reporter
from motes.text_options import TextOptions


@app.command
def sweep(
    source: Annotated[str, Parameter(help=f"A shape (see `motes shapes`), or a {options.TABLE}.")],
    /,
    *,
    changes: Annotated[list[str], Parameter(name="--set")] = [],  # noqa: B006 - never changed
    seeds: options.Whole = 8,
    recipe: str | None = None,
    out: Path | None = None,
    engine: EngineOptions = EngineOptions(),
    text: options.Text = TextOptions(),
    quiet: options.Quiet = False,
) -> int:
    """Train a model for each combination of settings and seeds, and compare them. The same command continues.

    Args:
        changes: Values of one key of the recipe, such as training.learning_rate=1e-3,3e-3. Repeatable.
        seeds: Number of seeds: 0, 1, ...
        recipe: A name (see `motes recipes`) or a .toml file (default: chosen from SOURCE).
        out: Folder for the models, results.parquet and results.png (default: runs/SOURCE-sweep).
        engine: where the models are trained (default: this process, with a thread per processor).
    """
    start_jax()
    with uninterrupted():
        from motes.sweeping import sweep

    out = out or Path("runs") / f"{name_of(Path(source))}-sweep"
    changes = [*changes, *options.text_changes(text)]
    with (
        terminated_by_sigterm(),
        engine.executor() as executor,
        Reporter(quiet).counting("sweep", "models") as count,
    ):
        found = sweep(source, recipe, changes=changes, seeds=seeds, out=out, executor=executor, on_progress=count)
    print(found)
    print(f"\nresults in {out}")
    return 0
