"""The diagnosis of a table's model: bins, orders, overfitting, and what mends each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data import Frame
from motes.errors import UsageError, check_process
from motes.evaluation.findings import Finding, headline, named, rounded
from motes.evaluation.sources import table_source
from motes.tables import Encoded
from motes.tables.model import TableModel
from motes.tables.parts import IMPOSSIBLE
from motes.tables.recipe import TableOptions

Array = NDArray[np.float64]

EACH = 10  # training rows in a bin of the histogram, at least
LOST = 0.1  # nats a row: what the histogram may know more
REAL = 0.9  # share of different values among numbers that have a density


def few_bins(unseen: Frame, training: Frame, columns: tuple[str, ...], log_prob: Array, bins: int) -> Iterator[Finding]:
    """Found where the recipe has fewer bins than its default, and a histogram with as many explains unseen rows better.

    Args:
        unseen: rows that the model has not seen, n of them.
        training: rows that it has.
        columns: those that are learned, c of them.
        log_prob: log p of each of them given those before it, by the model, (n, c).
        bins: of the recipe.
    """
    if bins >= TableOptions.bins:
        return
    lost = {
        column: found
        for k, column in enumerate(columns)
        if (found := _lost(unseen, training, column, log_prob[:, k])) is not None
    }
    if not lost or max(lost.values()) < LOST:
        return
    worst = max(lost, key=lambda column: lost[column])
    yield Finding(
        "few_bins",
        lost[worst],
        f"With {bins} bins at most '{worst}' is learned too coarsely: a histogram of {TableOptions.bins} bins makes "
        "unseen values likelier, by so many nats a row.",
        {"table.bins": TableOptions.bins},
    )


def _lost(unseen: Frame, training: Frame, column: str, log_prob: Array) -> float | None:
    """Nats a row by which a histogram is surely better; None of a column without a density, and of too few rows."""
    seen, new = training.columns[column], unseen.columns[column]
    count = min(TableOptions.bins, len(seen.known) // EACH)
    if seen.type != "real" or count < 2 or len(np.unique(seen.known)) < REAL * len(seen.known):
        return None
    edges = np.unique(np.quantile(seen.known, np.linspace(0, 1, count + 1)))
    masses = np.histogram(seen.known, edges)[0] / len(seen.known)
    inside = ~new.missing & (new.values > edges[0]) & (new.values < edges[-1]) & np.isfinite(log_prob)
    if inside.sum() < EACH:
        return None
    at = np.searchsorted(edges, new.values[inside], "right") - 1
    more = np.log(masses[at] / np.diff(edges)[at]) - log_prob[inside]
    return float(more.mean() - SURE * more.std() / np.sqrt(len(more)))


# --- What is wrong with a model of a table, and what it knows of each column ----------------------------------------
#
#     gain_j = mean over unseen rows of  log p(x_j | the columns before it) - log p(x_j alone)
#
# The gains sum to what the model knows beyond independent columns. Beside them stand those of the base mixture alone,
# without the network: what a simple model would know.


ROWS = 2000  # of the training rows and of the unseen ones that are looked at, at most
FEWEST = 10  # unseen rows
ORDERS = 4
SURE = 3.0  # standard errors that a finding is beyond its threshold
HARMFUL = 0.02  # nats a row: a column that the other columns make less likely by more is one
OVERLEARNED = 0.5  # nats a row between what a network adds to rows seen and to rows unseen
DISAGREED = 0.1  # nats a column: the spread of log p over orders
ENOUGH = 10.0  # weight decay, where the recipe's own is from 0 to 1
SMALL = 1e-3  # share of the unseen rows that the training could not have held


@dataclass(frozen=True)
class TableDiagnosis:
    """All that was found out about a model of a table. Nats are of the data's units, means over rows.

    Attributes:
        evaluated_against: which rows, in words.
        rows: unseen rows.
        columns: those that are learned, c of them; `first` is the first in the order in which they are drawn.
        alone: log p of each column by its own distribution, (c,).
        mixture: of each column given those before it, by the base mixture without the network, (c,).
        model: the same of the model, (c,).
        errors: standard errors of model - alone, (c,).
        held_out, training: log p of unseen rows, and of training rows or None where these are not here.
        spread: the mean standard deviation of log p of a row over orders of the columns.
        findings: what is wrong; empty where all is well.

    Example:
        >>> fresh = {"age": [31, 47, 25, 62] * 5, "smoker": ["no", "yes", "no", "no"] * 5}
        >>> found = table.diagnose(fresh)
        >>> found.model.shape, found.gain.shape
        ((2,), (2,))
    """

    evaluated_against: str
    rows: int
    columns: tuple[str, ...]
    first: str
    alone: Array
    mixture: Array
    model: Array
    errors: Array
    held_out: float
    training: float | None
    spread: float
    findings: tuple[Finding, ...]

    @property
    def gain(self) -> Array:
        """(c,), nats a row."""
        return self.model - self.alone

    def __repr__(self) -> str:
        return f"TableDiagnosis by {self.rows:,} {self.evaluated_against}: {named(self.findings)}"

    def __str__(self) -> str:
        lines = [f"{headline(self.findings)}, evaluated against {self.rows:,} {self.evaluated_against}.", ""]
        lines += [f"{finding}\n" for finding in self.findings]
        lines += ["Nats a row: how likely unseen rows are", *self._totals(), ""]
        lines += ["What the columns before it say of each column (mixture alone in brackets)"]
        width = max(map(len, self.columns))
        for k in np.argsort(-self.gain, kind="stable"):
            simple = self.mixture[k] - self.alone[k]
            said = f"{self.gain[k]:8.3f} ± {self.errors[k]:.3f}  ({simple:.3f})"
            first = "       - first in the order: no column comes before it"
            lines.append(f"  {self.columns[k]:<{width}}  {first if self.columns[k] == self.first else said}")
        return "\n".join(lines)

    def _totals(self) -> Iterator[str]:
        yield f"  columns alone       {self.alone.sum():10.3f}"
        yield f"  mixture alone       {self.mixture.sum():10.3f}"
        yield f"  model               {self.held_out:10.3f}"
        if self.training is not None:
            yield f"  model, training rows{self.training:10.3f}"
        yield f"  spread over orders  {self.spread:10.3f}"

    def to_dict(self) -> dict[str, Any]:
        """For JSON.

        Example:
            >>> fresh = {"age": [31, 47, 25, 62] * 5, "smoker": ["no", "yes", "no", "no"] * 5}
            >>> sorted(table.diagnose(fresh).to_dict())[:3]
            ['columns', 'evaluated_against', 'findings']
        """
        columns = {
            name: {"alone": float(a), "mixture": float(b), "model": float(c), "error": float(e)}
            for name, a, b, c, e in zip(self.columns, self.alone, self.mixture, self.model, self.errors, strict=True)
        }
        return {
            "evaluated_against": self.evaluated_against,
            "rows": self.rows,
            "findings": [finding.to_dict() for finding in self.findings],
            "held_out": self.held_out,
            "training": self.training,
            "spread_over_orders": self.spread,
            "first": self.first,
            "columns": columns,
        }


def table_diagnosis(model: TableModel, source: Any, *, seed: int = 0) -> TableDiagnosis:
    """The diagnosis of a model of a table by the rows held out of its training, another file's, or rows in memory.

    Raises:
        UsageError: rows that are not to be had, or none that the model has not seen.
        DataError: rows that cannot be used.
    """
    check_process()
    origin = table_source(model, source)
    if origin.held_out is None:
        raise UsageError(
            f"got the rows of the training alone ({origin.name}); expected rows that the model has not seen. Give "
            "others, or train on a file with data.held_out above 0."
        )
    known = origin.training if origin.known else None
    of = f"held-out rows of {origin.name}" if origin.known else f"rows of {origin.name}"
    return diagnose_table(model, origin.held_out, known, evaluated_against=of, seed=seed)


def diagnose_table(
    model: TableModel, unseen: Frame, training: Frame | None, *, evaluated_against: str, seed: int = 0
) -> TableDiagnosis:
    """Find out what is wrong with a trained model of a table.

    Args:
        model: trained.
        unseen: rows that it has not seen.
        training: rows that it has; None where they are not here.
        evaluated_against: what `unseen` is, in words.
        seed: of which rows are taken, and of the orders.

    Raises:
        UsageError: fewer than 10 unseen rows.
        DataError: rows with other columns.
    """
    rng = np.random.default_rng([seed, 693147])
    if len(unseen) < FEWEST:
        raise UsageError(f"got {len(unseen)} unseen rows; expected at least {FEWEST}. Give a file of more rows.")
    unseen = _some(unseen, rng)
    encoded = model.schema.encode(model.schema.frame(unseen), unseen="mark")
    impossible = (encoded.codes == IMPOSSIBLE).any(axis=1) | encoded.other
    orders = model.orders
    columns, first = model.schema.learned, model.schema.parts[int(orders.order[0])].column
    (own, base), alone = _both(model, encoded), _by_column(model, orders.log_prob_alone(encoded))
    gain = own - alone
    errors = gain.std(axis=0) / np.sqrt(len(gain))
    rows = model.likelihood(unseen, orders=ORDERS, seed=seed)
    held_out = model.score_samples(unseen)
    possible = np.isfinite(held_out)
    trained_on = None if training is None else _some(training, rng)
    seen = None if trained_on is None else model.score_samples(trained_on)
    seen = None if seen is None else seen[np.isfinite(seen)]
    held_out = held_out[possible]
    if not len(held_out):
        raise UsageError(f"got {len(unseen)} unseen rows that this model holds impossible; expected rows of its table.")
    found = TableDiagnosis(
        evaluated_against, len(unseen), tuple(columns), first, alone.mean(0), base.mean(0), own.mean(0), errors,
        float(held_out.mean()), None if seen is None else float(seen.mean()), float(rows.spread[possible].mean()), (),
    )  # fmt: skip
    added = (own - base).sum(axis=1)
    findings = [*_worse_than_alone(found, model), *_worse_than_mixture(added, model), *_of_orders(found, model)]
    findings += _impossible(encoded, impossible, model)
    if training is not None and trained_on is not None:
        coarse = few_bins(unseen, training, tuple(columns), own, model.recipe.table.bins)
        findings = [*coarse, *_overlearned(_added(model, trained_on), added, model), *findings]
    return replace(found, findings=tuple(findings))


def _some(rows: Frame, rng: np.random.Generator) -> Frame:
    return rows if len(rows) <= ROWS else rows.take(np.sort(rng.permutation(len(rows))[:ROWS]))


def _error(x: Array) -> float:
    return float(x.std() / np.sqrt(len(x)))


def _both(model: TableModel, encoded: Encoded) -> tuple[Array, Array]:
    """Log p of each column given those before it, (n, c), by the model and by the mixture alone."""
    orders = model.orders
    return (
        _by_column(model, orders.log_prob_parts(model.unmasker, encoded)),
        _by_column(model, orders.log_prob_parts(orders.of_the_base, encoded)),
    )


def _added(model: TableModel, rows: Frame) -> Array:
    """What the network adds to the mixture's log p of rows, (n,)."""
    own, base = _both(model, model.schema.encode(model.schema.frame(rows), unseen="mark"))
    return (own - base).sum(axis=1)


def _by_column(model: TableModel, parts: Array) -> Array:
    """(n, p) of parts, summed over those of each column, (n, c)."""
    columns = model.schema.learned
    return np.stack([parts[:, model.schema.parts_of(column)].sum(axis=1) for column in columns], axis=1)


def _worse_than_alone(found: TableDiagnosis, model: TableModel) -> Iterator[Finding]:
    for k in np.flatnonzero(found.gain + HARMFUL < -SURE * found.errors):
        yield Finding(
            "worse_than_alone",
            float(found.gain[k]),
            f"Given the columns before it, '{found.columns[k]}' is less likely than by its own distribution, in nats a "
            "row: the network has learned its training rows by heart.",
            {"table.weight_decay": _more(model)},
        )


def _overlearned(to_seen: Array, to_unseen: Array, model: TableModel) -> Iterator[Finding]:
    """By what is added to rows seen (n,) and unseen (m,).

    Of few rows any model makes those likelier that it was fitted to, and more regularisation would cost unseen rows as
    well. It is a fault where the network gives unseen rows nothing.
    """
    gap, error = float(to_seen.mean() - to_unseen.mean()), float(np.hypot(_error(to_seen), _error(to_unseen)))
    if gap - OVERLEARNED > SURE * error and to_unseen.mean() < 0:
        yield Finding(
            "overlearned",
            gap,
            "The network makes training rows likelier than unseen ones by so many nats more than the mixture alone "
            "does, and unseen rows no likelier. More rows help as well.",
            {"table.weight_decay": _more(model)},
        )


def _worse_than_mixture(to_unseen: Array, model: TableModel) -> Iterator[Finding]:
    loss = -float(to_unseen.mean())
    if loss - HARMFUL * len(model.schema.learned) > SURE * _error(to_unseen):
        yield Finding(
            "worse_than_mixture",
            loss,
            "The mixture alone makes unseen rows likelier than the network does, by so many nats a row.",
            {"table.weight_decay": _more(model)},
        )


def _of_orders(found: TableDiagnosis, model: TableModel) -> Iterator[Finding]:
    """Orders of a table of few rows disagree by as much however it is trained, so the recipe has to show the cause."""
    if found.spread > DISAGREED * len(found.columns) and model.recipe.table.fixed > TableOptions.fixed:
        yield Finding(
            "orders_disagree",
            found.spread,
            "The log-likelihood of a row depends on the order of the columns, by so many nats (standard deviation): "
            f"{model.recipe.table.fixed:.0%} of the training was in one order. Conditions are answered as exactly as "
            "that, unless they are asked with --exact.",
            {"table.fixed": TableOptions.fixed},
        )


def _impossible(encoded: Encoded, impossible: NDArray[np.bool_], model: TableModel) -> Iterator[Finding]:
    share = float(impossible.mean())
    if share > SMALL:
        counts = (encoded.codes == IMPOSSIBLE).sum(axis=0)
        where = f", most of them in '{model.schema.parts[int(counts.argmax())].column}'" if counts.any() else ""
        yield Finding(
            "impossible_rows",
            share,
            f"So large a share of the unseen rows holds values that the training could not have held{where}. It takes "
            "more rows, or a wider range such as --set 'columns.NAME={kind=\"real\", low=0, high=100}'.",
        )


def _more(model: TableModel) -> float:
    """A weight decay by which a network that has learned its rows by heart errs at most half as much."""
    return rounded(max(ENOUGH, 3 * (model.recipe.table.weight_decay or 0)))
