"""`motes sample`, `motes score`, `motes impute`, `motes predict`: what a model answers."""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from math import exp
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from motes.cli.common import app, check_rows_out, note, read_by, refuse_others, start_jax, whole
from motes.cli.options import (
    FILES,
    TABLE,
    Count,
    Data,
    Given,
    Label,
    PointOptions,
    Quiet,
    Replace,
    RowsFile,
    Run,
    Seed,
    Text,
    Whole,
)
from motes.text_options import TextOptions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from motes.data.files import Write
    from motes.points.likelihood import Likelihood
    from motes.tables.model import Evidence, RowLikelihood


@app.command
def sample(
    model: Run,
    /,
    *,
    n: Count = 1000,
    out: RowsFile = None,
    overwrite: Replace = False,
    given: Given = [],  # noqa: B006 - never changed
    exact: bool = False,
    placeholders: bool = False,
    points: PointOptions = PointOptions(),
    seed: Seed = 0,
    quiet: Quiet = False,
) -> int:
    """Draw new rows from a model: under conditions, of a class, or any.

    Args:
        n: How many rows.
        exact: Of a table: weigh rows under conditions by the model's own order of its columns.
        placeholders: Of a table: fill columns that are set aside, such as ids and names, with placeholders.
    """
    start_jax()
    from motes.cli.answers import types_of, write_samples
    from motes.cli.condition_words import conditions, observations
    from motes.loading import load
    from motes.progress import Reporter

    check_rows_out(out, overwrite)
    trained = load(model)
    refuse_others(trained, points=points.given, tables={"--exact": exact, "--placeholders": placeholders})
    check_rows_out(out, overwrite, types_of(trained))
    known = conditions(given, trained) if points.iid is None else observations(given, points.iid, trained)
    with _written(out) as write:
        found = write_samples(
            trained, n, write, Reporter(quiet), given=known, seed=seed, exact=exact, placeholders=placeholders,
            iid=points.iid is not None, label=points.label, how=points.how(),
        )  # fmt: skip
    if found is not None:
        _say_known(found, given, n)
    if out is not None:
        print(f"{n:,} rows in {out}")
    return 0


def _say_known(found: "Evidence", given: Sequence[str], n: int) -> None:
    """How probable the conditions are, and what the rows under them are worth."""
    worth = f"{n:,} rows are worth {found.effective:,.0f} independent ones (effective sample size)."
    if found.log_prob is not None:
        density = f"a density, of {', '.join(found.density)}" if found.density else ""
        message = density or f"probability {min(exp(found.log_prob), 1.0):.4g}"
        note(f"log p({', '.join(given)}) = {found.log_prob:.4f} nats: {message}. The {worth}")
    elif found.effective < n:
        note(f"the {worth}")
    for warning in found.warnings:
        note(f"warning: {warning}")


def _written(out: Path | None) -> "AbstractContextManager[Write]":
    """Rows to a file, or to standard output as CSV."""
    from motes.data.files import text_to, writing

    return writing(out) if out is not None else nullcontext(text_to(sys.stdout))


@app.command
def impute(
    model: Run,
    file: Data,
    /,
    *,
    out: Annotated[Path, Parameter(help=f"A {FILES} for the whole rows.")],
    overwrite: Replace = False,
    draws: Whole = 1,
    seed: Seed = 0,
    text: Text = TextOptions(),
    quiet: Quiet = False,
) -> int:
    """Fill in the missing (empty) entries of a table, each with a draw given the observed entries of its row.

    Args:
        draws: Fill in as often; a column 'draw' then counts them.
    """
    start_jax()
    from motes.cli.answers import impute_file, types_of
    from motes.loading import load
    from motes.progress import Reporter

    check_rows_out(out, overwrite)
    trained = read_by(load(model), text, file)
    check_rows_out(out, overwrite, types_of(trained))
    rows, entries = impute_file(trained, str(file), out, draws=draws, seed=seed, reporter=Reporter(quiet))
    print(f"{entries:,} entries filled in, {rows:,} rows in {out}")
    return 0


@app.command
def predict(
    model: Run,
    file: Data,
    /,
    *,
    column: str,
    out: RowsFile = None,
    overwrite: Replace = False,
    quantile: list[float] | None = None,
    draws: Annotated[int | None, Parameter(converter=whole)] = None,
    seed: Seed = 0,
    text: Text = TextOptions(),
    quiet: Quiet = False,
) -> int:
    """One column of a table given the others of each row: probabilities of labels, mean and quantiles of numbers.

    Args:
        column: The column to predict from the others; FILE need not have it.
        quantile: Of a number or a date: a share; 0.05, 0.5, 0.95 if left out. Repeatable.
        draws: Of a number or a date: draws for each row; 256 if left out.
    """
    start_jax()
    from motes.cli.answers import predict_file
    from motes.loading import load_as
    from motes.progress import Reporter
    from motes.tables.model import TableModel
    from motes.tables.predictions import DRAWS, QUANTILES

    check_rows_out(out, overwrite)
    trained = read_by(load_as(TableModel, model, "`motes predict`"), text, file)
    count, ignored = predict_file(
        trained, str(file), column, _written(out), quantiles=quantile or QUANTILES,
        draws=DRAWS if draws is None else draws, seed=seed, reporter=Reporter(quiet),
    )  # fmt: skip
    if out is not None:
        print(f"'{column}' predicted in {count:,} rows in {out}")
    if ignored:
        note(f"warning: {ignored:,} impossible entries, which training could not have held, count as not observed.")
    return 0


@app.command
def score(
    model: Run,
    source: Annotated[str, Parameter(help=f"A {TABLE}; for points also a shape, which is drawn afresh.")],
    /,
    *,
    out: Path,
    overwrite: Replace = False,
    orders: Whole = 1,
    smooth: bool = False,
    label: Label = None,
    text: Text = TextOptions(),
    quiet: Quiet = False,
) -> int:
    """How likely a model finds rows: the log-likelihood of each, in nats.

    Args:
        out: A .csv, .tsv, .parquet, .npy or .npz file for each row's log-likelihood.
        orders: Of a table: average p over so many orders of the columns; a column 'spread' shows the difference.
        smooth: Of a table: a small probability, not 0, for what the training could not have held.
    """
    start_jax()
    from motes.cli.answers import score_file
    from motes.loading import load
    from motes.progress import Reporter

    check_rows_out(out, overwrite)
    trained: Any = read_by(load(model), text, source)
    refuse_others(trained, points={"--label": label is not None}, tables={"--orders": orders != 1, "--smooth": smooth})
    of_table = trained.kind == "table"
    options = {"orders": orders, "smooth": smooth} if of_table else {"label": label}
    found: Any = score_file(trained, source, Reporter(quiet), **options)
    if of_table:
        _say_table_scores(found, out, orders, smooth, trained.schema.rows)
    else:
        _say_point_scores(found, out)
    return 0


def _say_point_scores(found: "Likelihood", out: Path) -> None:
    from motes.data import write_table

    write_table(out, found.log_prob[:, None], ["log_prob"])
    print(f"{_mean(found.log_prob)}, {len(found.log_prob):,} rows in {out}")
    if lost := int((~(found.error <= 0.01)).sum()):
        note(f"warning: {lost:,} rows are not exact to 0.01 nats: too far from all data.")


def _say_table_scores(found: "RowLikelihood", out: Path, orders: int, smooth: bool, rows: int) -> None:
    import numpy as np

    from motes.data import write_table

    several = orders > 1
    columns = [found.log_prob, found.spread] if several else [found.log_prob]
    write_table(out, np.stack(columns, axis=1), ["log_prob", "spread"][: len(columns)])
    possible = np.isfinite(found.log_prob)
    if possible.any():
        spread = f", spread over {orders} orders {found.spread[possible].mean():.4f}" if several else ""
        of = "" if possible.all() else f" over the {possible.sum():,} possible rows"
        print(f"{_mean(found.log_prob[possible])}{of}{spread}; {len(possible):,} rows in {out}")
    else:
        print(f"no row has a likelihood above 0; {len(possible):,} rows in {out}")
    if entries := int(found.impossible.sum()):
        count, mass = int((found.impossible > 0).sum()), f"each has the mass 1 / {rows + 1:,}"
        what = mass if smooth else "log p = -inf there; --smooth gives each a small mass"
        note(f"warning: {entries:,} impossible entries in {count:,} rows, which training could not have held: {what}.")


def _mean(log_prob: "NDArray[np.float64]") -> str:
    """With its standard error, which one row does not have."""
    n = len(log_prob)
    error = f" ± {log_prob.std(ddof=1) / n**0.5:.4f}" if n > 1 else ""
    return f"mean log-likelihood {log_prob.mean():.4f}{error} nats per row"
