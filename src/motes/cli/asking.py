"""`motes sample`, `motes score`, `motes impute`: what a model answers."""

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from motes.cli.common import FILES, Given, Label, Quiet, Replace, Run, Seed, app, check_out, note, start_jax, whole
from motes.errors import UsageError


@app.command
def sample(
    model: Run,
    /,
    *,
    n: Annotated[int, Parameter(alias="-n", converter=whole, help="How many rows.")] = 1000,
    out: Annotated[Path | None, Parameter(help=f"A {FILES}; standard output, as CSV, if left out.")] = None,
    overwrite: Replace = False,
    sampler: Annotated[str | None, Parameter(help="Instead of the recipe's; see `motes samplers`.")] = None,
    steps: Annotated[int | None, Parameter(converter=whole, help="Instead of the recipe's.")] = None,
    grid: Annotated[str | None, Parameter(help="Instead of the recipe's, where the steps lie.")] = None,
    given: Given = [],  # noqa: B006 - never changed
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
    """Draw new rows from a model: of a class, with known cells, or any."""
    start_jax()
    from motes.data.writing import check_writable, text_to, writing
    from motes.model import Guidance
    from motes.progress import Reporter
    from motes.runs import Draw
    from motes.table_runs import conditions_from, draw_blocks
    from motes.tabular import as_tabular, load, load_points

    if out is not None:
        check_writable(out, {})
        check_out(out, overwrite)
    if guidance is None and (weak is not None or guidance_interval != (0.0, 1.0)):
        raise UsageError("--weak and --guidance-interval are about guidance; give a weight, such as --guidance 2.")
    trained = as_tabular(load(model))
    if out is not None:
        check_writable(out, trained.encoder.types)
    how = None
    if guidance is not None:
        how = Guidance(guidance, *guidance_interval, load_points(weak, "--weak") if weak else None)
    known = conditions_from(given, trained.encoder)
    effective = 0.0
    with writing(out) if out is not None else nullcontext(text_to(sys.stdout)) as write:
        for rows in draw_blocks(trained, n, seed, Reporter(quiet), known, Draw(sampler, steps, grid, label, how)):
            write(rows)
            effective += rows.effective
    if out is not None:
        print(f"{n:,} rows in {out}")
    if effective < n:
        note(f"they are worth {effective:,.0f} independent rows: the effective sample size of the particles.")
    return 0


@app.command
def impute(
    model: Run,
    file: Annotated[Path, Parameter(help="A file with the columns of the model and empty cells.")],
    /,
    *,
    out: Annotated[Path, Parameter(help=f"A {FILES} for the whole rows.")],
    overwrite: Replace = False,
    draws: Annotated[int, Parameter(converter=whole, help="Fill in as often; a column 'draw' then counts them.")] = 1,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> int:
    """Fill in the empty cells of a table, by draws from their law given the other cells of the row."""
    start_jax()
    from motes.data.writing import check_writable
    from motes.progress import Reporter
    from motes.table_runs import impute_file
    from motes.tabular import as_tabular, load

    check_writable(out, {})
    check_out(out, overwrite)
    trained = as_tabular(load(model))
    check_writable(out, trained.encoder.types)
    rows, cells = impute_file(trained, str(file), out, draws=draws, seed=seed, reporter=Reporter(quiet))
    print(f"{cells:,} cells filled in, {rows:,} rows in {out}")
    return 0


@app.command
def score(
    model: Run,
    source: Annotated[
        str, Parameter(help=f"A {FILES}, or for points a .csv or .npy file or a shape, which is drawn afresh.")
    ],
    /,
    *,
    out: Annotated[Path, Parameter(help="A .csv or .npy file for the log-likelihood of each row.")],
    overwrite: Replace = False,
    label: Label = None,
    quiet: Quiet = False,
) -> int:
    """How likely a model finds points: the log-likelihood of each, in nats."""
    start_jax()
    from motes.data.tables import check_suffix, write_table
    from motes.progress import Reporter
    from motes.runs import score_source
    from motes.table_runs import score_file
    from motes.tabular import TableModel, load

    check_suffix(out)
    check_out(out, overwrite)
    trained = load(model)
    if isinstance(trained, TableModel):
        found = score_file(trained, source, label, Reporter(quiet))
    else:
        found = score_source(trained, source, label, Reporter(quiet))
    write_table(out, found.log_prob[:, None], ["log_prob"])
    n = len(found.log_prob)
    # Of one row the mean has no standard error that could be known.
    spread = f" ± {found.log_prob.std(ddof=1) / n**0.5:.4f}" if n > 1 else ""
    print(f"mean log-likelihood {found.log_prob.mean():.4f}{spread} nats per row, {n:,} rows in {out}")
    if lost := int((~(found.error <= 0.01)).sum()):
        note(f"warning: {lost:,} rows are not exact to 0.01 nats: too far from all data.")
    return 0
