"""Diagnosis of a model of a table: bins, orders, overfitting, and their fixes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data import Frame
from motes.errors import UsageError, check_process
from motes.evaluation.findings import Finding, headline, named, rounded
from motes.evaluation.sources import source_of
from motes.tables import Encoded
from motes.tables.model import TableModel
from motes.tables.parts import IMPOSSIBLE
from motes.tables.recipe import TableOptions

Array = NDArray[np.float64]

EACH = 10  # fewest training rows per bin of the histogram
LOST = 0.1  # largest accepted advantage of the histogram, in nats per row
REAL = 0.9  # smallest share of distinct values among numbers with a density


def few_bins(unseen: Frame, training: Frame, columns: tuple[str, ...], log_prob: Array, bins: int) -> Iterator[Finding]:
    """Find columns whose held-out values a histogram with the default number of bins explains better than the model.

    Nothing is checked if the recipe has at least as many bins.

    Args:
        unseen: n held-out rows.
        training: the training rows.
        columns: names of the c learned columns.
        log_prob: the model's log p of each column given the columns before it, (n, c).
        bins: `table.bins` of the recipe.
    """
    if bins >= TableOptions.bins:
        return
    lost = {
        column: found
        for k, column in enumerate(columns)
        if (found := _histogram_advantage(unseen, training, column, log_prob[:, k])) is not None
    }
    if not lost or max(lost.values()) < LOST:
        return
    worst = max(lost, key=lambda column: lost[column])
    yield Finding(
        "few_bins",
        lost[worst],
        f"{bins} bins are too coarse for '{worst}': for held-out values, a histogram of up to {TableOptions.bins} bins "
        f"has a log-likelihood that is higher by {lost[worst]:.2g} nats per row.",
        {"table.bins": TableOptions.bins},
    )


def _histogram_advantage(unseen: Frame, training: Frame, column: str, log_prob: Array) -> float | None:
    """Return the significant advantage of a histogram in nats per row; None without a density or with too few rows."""
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


# --- The gain of each column, and the findings ----------------------------------------------------------------------
#
#     gain_j = mean over held-out rows of  log p(x_j | the columns before it) - log p(x_j alone)
#
# The sum of the gains is the advantage over independent columns. The same gains of the base mixture alone, without the
# network, show what a simple model would achieve.


ROWS = 2000  # most training rows and most held-out rows that are used
FEWEST = 10  # held-out rows
ORDERS = 4
SURE = 3.0  # standard errors by which a finding must exceed its threshold
HARMFUL = 0.02  # largest accepted loss of a column through the other columns, in nats per row
OVERLEARNED = 0.5  # largest accepted difference between training and held-out rows, in nats per row
DISAGREED = 0.1  # largest accepted spread of log p over orders, in nats per column
ENOUGH = 10.0  # weight decay of a fix; recipes have 0 to 1
SMALL = 1e-3  # largest accepted share of impossible held-out rows


@dataclass(frozen=True)
class TableDiagnosis:
    """The result of `motes diagnose` for a model of a table.

    Log-likelihoods are means over held-out rows, in nats, in the data's units.

    Attributes:
        evaluated_against: the origin of the held-out rows, in words.
        rows: number of held-out rows.
        columns, first: names of the c learned columns; the first column in the fixed order.
        alone: log p of each column under its own distribution, (c,).
        mixture: log p of each column given the columns before it, under the base mixture without the network, (c,).
        model: the same under the model, (c,).
        errors: standard errors of model - alone, (c,).
        held_out, training: log p of held-out and of training rows; None if the training rows are not available.
        spread: mean standard deviation of log p of a row over orders of the columns.
        findings: the problems; empty if none were detected.

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
        """Gain of each column in nats per row, (c,)."""
        return self.model - self.alone

    def __repr__(self) -> str:
        return f"TableDiagnosis by {self.rows:,} {self.evaluated_against}: {named(self.findings)}"

    def __str__(self) -> str:
        lines = [f"{headline(self.findings)}, evaluated against {self.rows:,} {self.evaluated_against}.", ""]
        lines += [f"{finding}\n" for finding in self.findings]
        lines += ["Log-likelihood of held-out rows, in nats per row", *self._totals(), ""]
        lines += ["Gain of each column from the columns before it (mixture alone in brackets)"]
        width = max(map(len, self.columns))
        for k in np.argsort(-self.gain, kind="stable"):
            simple = self.mixture[k] - self.alone[k]
            gain = f"{self.gain[k]:8.3f} ± {self.errors[k]:.3f}  ({simple:.3f})"
            first = "       - first in the order: no column comes before it"
            lines.append(f"  {self.columns[k]:<{width}}  {first if self.columns[k] == self.first else gain}")
        return "\n".join(lines)

    def _totals(self) -> Iterator[str]:
        yield f"  columns alone       {self.alone.sum():10.3f}"
        yield f"  mixture alone       {self.mixture.sum():10.3f}"
        yield f"  model               {self.held_out:10.3f}"
        if self.training is not None:
            yield f"  model, training rows{self.training:10.3f}"
        yield f"  spread over orders  {self.spread:10.3f}"

    def to_dict(self) -> dict[str, Any]:
        """Return the diagnosis as a dict for JSON.

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
    """Diagnose a model of a table with the rows held out of its training, another file, or rows in memory.

    Raises:
        UsageError: rows that are not available, or no held-out rows.
        DataError: rows that cannot be used.
    """
    check_process()
    origin = source_of(model, source)
    if origin.held_out is None:
        raise UsageError(
            f"got only the training rows ({origin.name}); expected rows that the model has not seen. Give other rows, "
            "or train on a file with data.held_out above 0."
        )
    known = origin.training if origin.known else None
    of = f"held-out rows of {origin.name}" if origin.known else f"rows of {origin.name}"
    return diagnose_table(model, origin.held_out, known, evaluated_against=of, seed=seed)


def diagnose_table(
    model: TableModel, unseen: Frame, training: Frame | None, *, evaluated_against: str, seed: int = 0
) -> TableDiagnosis:
    """Find the problems of a trained model of a table.

    Args:
        model: a trained model.
        unseen: held-out rows.
        training: the training rows; None if they are not available.
        evaluated_against: the origin of `unseen`, in words.
        seed: for the choice of rows and the orders.

    Raises:
        UsageError: fewer than 10 held-out rows.
        DataError: rows with other columns.
    """
    rng = np.random.default_rng([seed, 693147])
    if len(unseen) < FEWEST:
        raise UsageError(f"got {len(unseen)} held-out rows; expected at least {FEWEST}. Give a file with more rows.")
    unseen = _subsample(unseen, rng)
    encoded = model.schema.encode(model.schema.frame(unseen), unseen="mark")
    impossible = (encoded.codes == IMPOSSIBLE).any(axis=1) | encoded.other
    orders = model.orders
    columns, first = model.schema.learned, model.schema.parts[int(orders.order[0])].column
    (own, base), alone = _column_log_probs(model, encoded), _sum_by_column(model, orders.log_prob_alone(encoded))
    gain = own - alone
    errors = gain.std(axis=0) / np.sqrt(len(gain))
    rows = model.likelihood(unseen, orders=ORDERS, seed=seed)
    held_out = model.score_samples(unseen)
    possible = np.isfinite(held_out)
    trained_on = None if training is None else _subsample(training, rng)
    seen = None if trained_on is None else model.score_samples(trained_on)
    seen = None if seen is None else seen[np.isfinite(seen)]
    held_out = held_out[possible]
    if not len(held_out):
        raise UsageError(
            f"all {len(unseen)} held-out rows are impossible under this model; expected rows of its table."
        )
    found = TableDiagnosis(
        evaluated_against, len(unseen), tuple(columns), first, alone.mean(0), base.mean(0), own.mean(0), errors,
        float(held_out.mean()), None if seen is None else float(seen.mean()), float(rows.spread[possible].mean()), (),
    )  # fmt: skip
    added = (own - base).sum(axis=1)
    findings = [*_worse_than_alone(found, model), *_worse_than_mixture(added, model), *_orders_disagree(found, model)]
    findings += _impossible_rows(encoded, impossible, model)
    if training is not None and trained_on is not None:
        coarse = few_bins(unseen, training, tuple(columns), own, model.recipe.table.bins)
        findings = [*coarse, *_overlearned(_network_gain(model, trained_on), added, model), *findings]
    return replace(found, findings=tuple(findings))


def _subsample(rows: Frame, rng: np.random.Generator) -> Frame:
    return rows if len(rows) <= ROWS else rows.take(np.sort(rng.permutation(len(rows))[:ROWS]))


def _standard_error(x: Array) -> float:
    return float(x.std() / np.sqrt(len(x)))


def _column_log_probs(model: TableModel, encoded: Encoded) -> tuple[Array, Array]:
    """Return log p of each column given the columns before it, (n, c), under the model and under the mixture alone."""
    orders = model.orders
    return (
        _sum_by_column(model, orders.log_prob_parts(model.unmasker, encoded)),
        _sum_by_column(model, orders.log_prob_parts(orders.of_the_base, encoded)),
    )


def _network_gain(model: TableModel, rows: Frame) -> Array:
    """Return what the network adds to the mixture's log p of rows, (n,)."""
    own, base = _column_log_probs(model, model.schema.encode(model.schema.frame(rows), unseen="mark"))
    return (own - base).sum(axis=1)


def _sum_by_column(model: TableModel, parts: Array) -> Array:
    """Sum values of parts (n, p) over the parts of each column, (n, c)."""
    columns = model.schema.learned
    return np.stack([parts[:, model.schema.parts_of(column)].sum(axis=1) for column in columns], axis=1)


def _worse_than_alone(found: TableDiagnosis, model: TableModel) -> Iterator[Finding]:
    for k in np.flatnonzero(found.gain + HARMFUL < -SURE * found.errors):
        yield Finding(
            "worse_than_alone",
            float(found.gain[k]),
            f"Given the columns before it, '{found.columns[k]}' is less likely than under its own distribution: the "
            "network has memorised its training rows. The number is the gain in nats per row.",
            {"table.weight_decay": _larger_decay(model)},
        )


def _overlearned(to_seen: Array, to_unseen: Array, model: TableModel) -> Iterator[Finding]:
    """Find overfitting from what the network adds to training rows (n,) and to held-out rows (m,).

    With few rows, any model makes its training rows more likely than others, and more regularisation would cost
    held-out rows as well. It is a problem only if the network gains nothing on held-out rows.
    """
    gap, error = (
        float(to_seen.mean() - to_unseen.mean()),
        float(np.hypot(_standard_error(to_seen), _standard_error(to_unseen))),
    )
    if gap - OVERLEARNED > SURE * error and to_unseen.mean() < 0:
        yield Finding(
            "overlearned",
            gap,
            f"The network increases the log-likelihood of training rows by {gap:.2g} nats per row more than for "
            "held-out rows, which are no more likely than under the mixture alone. More rows also help.",
            {"table.weight_decay": _larger_decay(model)},
        )


def _worse_than_mixture(to_unseen: Array, model: TableModel) -> Iterator[Finding]:
    loss = -float(to_unseen.mean())
    if loss - HARMFUL * len(model.schema.learned) > SURE * _standard_error(to_unseen):
        yield Finding(
            "worse_than_mixture",
            loss,
            f"Held-out rows are more likely under the mixture alone than with the network, by {loss:.2g} nats per row.",
            {"table.weight_decay": _larger_decay(model)},
        )


def _orders_disagree(found: TableDiagnosis, model: TableModel) -> Iterator[Finding]:
    """Find disagreeing orders. With few rows they always disagree, so the recipe must also show the cause."""
    if found.spread > DISAGREED * len(found.columns) and model.recipe.table.fixed > TableOptions.fixed:
        yield Finding(
            "orders_disagree",
            found.spread,
            f"The log-likelihood of a row varies with the order of the columns, by {found.spread:.2g} nats (standard "
            f"deviation): {model.recipe.table.fixed:.0%} of the training used one order. Without --exact, answers to "
            "conditions have an error of this size.",
            {"table.fixed": TableOptions.fixed},
        )


def _impossible_rows(encoded: Encoded, impossible: NDArray[np.bool_], model: TableModel) -> Iterator[Finding]:
    share = float(impossible.mean())
    if share > SMALL:
        counts = (encoded.codes == IMPOSSIBLE).sum(axis=0)
        where = f", most of them in '{model.schema.parts[int(counts.argmax())].column}'" if counts.any() else ""
        yield Finding(
            "impossible_rows",
            share,
            f"{share:.1%} of the held-out rows contain values that are impossible under the model{where}. Use more "
            "rows, or a wider range, such as --set 'columns.NAME={kind=\"real\", low=0, high=100}'.",
        )


def _larger_decay(model: TableModel) -> float:
    """Return a weight decay that at least halves the error of a network that has memorised its rows."""
    return rounded(max(ENOUGH, 3 * (model.recipe.table.weight_decay or 0)))
