"""Diagnosis of a model of a table: overfitting, impossible rows, and their fixes.

    gain_j = mean over held-out rows of  log p(x_j | the columns before it) - log p(x_j alone)

The sum of the gains is the advantage over independent columns. The same gains of the base mixture alone, without the
network, show what a simple model would achieve. A check is a function that yields findings, each with a fix.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from motes.data import Frame
from motes.encoding import JsonRecord
from motes.errors import UsageError, check_process
from motes.evaluation.findings import SURE, Finding, headline, named, rounded
from motes.evaluation.results import Array, standard_error
from motes.evaluation.sources import random_rows, source_of
from motes.tables import Encoded
from motes.tables.model import TableModel
from motes.tables.parts import IMPOSSIBLE

ROWS = 2000  # most training rows and most held-out rows that are used
FEWEST = 10  # held-out rows
ORDERS = 4


@dataclass(frozen=True)
class TableDiagnosis(JsonRecord):
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
    of += "".join(f" ({note.rstrip('.')})" for note in origin.notes)
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
    if len(unseen) < FEWEST:
        raise UsageError(f"got {len(unseen)} held-out rows; expected at least {FEWEST}. Give a file with more rows.")
    unseen, seen = random_rows(unseen, ROWS, seed), None if training is None else random_rows(training, ROWS, seed)
    encoded = model.schema.encode(unseen, unseen="mark")
    held_out = model.score_samples(unseen)
    possible = np.isfinite(held_out)
    if not possible.any():
        raise UsageError(
            f"all {len(unseen)} held-out rows are impossible under this model; expected rows of its table."
        )
    seen_log_prob = None if seen is None else model.score_samples(seen)
    own, base, alone = _log_prob_by_column(model, encoded)
    errors = (own - alone).std(axis=0) / np.sqrt(len(own))
    spread = model.likelihood(unseen, orders=ORDERS, seed=seed).spread
    first = model.schema.parts[int(model.orders.order[0])].column
    found = TableDiagnosis(
        evaluated_against, len(unseen), model.schema.learned, first, alone.mean(0), base.mean(0), own.mean(0), errors,
        float(held_out[possible].mean()),
        None if seen_log_prob is None else float(seen_log_prob[np.isfinite(seen_log_prob)].mean()),
        float(spread[possible].mean()), (),
    )  # fmt: skip
    added, findings = (own - base).sum(axis=1), list[Finding]()
    if seen is not None:
        seen_own, seen_base, _ = _log_prob_by_column(model, model.schema.encode(seen, unseen="mark"))
        findings += _overlearned((seen_own - seen_base).sum(axis=1), added, model)
    findings += _worse_than_alone(found, model)
    findings += [*_worse_than_mixture(added, model), *_impossible_rows(encoded, model)]
    return replace(found, findings=tuple(findings))


def _log_prob_by_column(model: TableModel, encoded: Encoded) -> tuple[Array, Array, Array]:
    """Return log p of each column, (n, c): given the columns before it under the model and the mixture, and alone."""
    orders, slices = model.orders, [model.schema.parts_of(column) for column in model.schema.learned]
    of_model, of_base = orders.own.log_prob_parts(encoded), orders.of_the_base.log_prob_parts(encoded)
    own, base, alone = (
        np.stack([parts[:, some].sum(axis=1) for some in slices], axis=1)
        for parts in (of_model, of_base, orders.log_prob_alone(encoded))
    )
    return own, base, alone


# --- The checks -----------------------------------------------------------------------------------------------------

HARMFUL = 0.02  # largest accepted loss of a column through the other columns, in nats per row
OVERLEARNED = 0.5  # largest accepted difference between training and held-out rows, in nats per row
ENOUGH = 10.0  # weight decay of a fix; recipes have 0 to 1
SMALL = 1e-3  # largest accepted share of impossible held-out rows


def _worse_than_alone(found: TableDiagnosis, model: TableModel) -> Iterator[Finding]:
    for k in np.flatnonzero(found.gain + HARMFUL < -SURE * found.errors):
        meaning = (
            f"Given the columns before it, '{found.columns[k]}' is less likely than under its own distribution: the "
            "network has memorised its training rows. The number is the gain in nats per row."
        )
        yield Finding("worse_than_alone", float(found.gain[k]), meaning, {"table.weight_decay": _larger_decay(model)})


def _overlearned(to_seen: Array, to_unseen: Array, model: TableModel) -> Iterator[Finding]:
    """Find overfitting from what the network adds to training rows (n,) and to held-out rows (m,).

    With few rows, any model makes its training rows more likely than others, and more regularisation would cost
    held-out rows as well. It is a problem only if the network gains nothing on held-out rows.
    """
    gap = float(to_seen.mean() - to_unseen.mean())
    error = np.hypot(standard_error(to_seen), standard_error(to_unseen))
    if gap - OVERLEARNED > SURE * error and to_unseen.mean() < 0:
        meaning = (
            f"The network increases the log-likelihood of training rows by {gap:.2g} nats per row more than for "
            "held-out rows, which are no more likely than under the mixture alone. More rows also help."
        )
        yield Finding("overlearned", gap, meaning, {"table.weight_decay": _larger_decay(model)})


def _worse_than_mixture(to_unseen: Array, model: TableModel) -> Iterator[Finding]:
    loss = -float(to_unseen.mean())
    if loss - HARMFUL * len(model.schema.learned) > SURE * standard_error(to_unseen):
        meaning = (
            f"Held-out rows are more likely under the mixture alone than with the network, by {loss:.2g} nats per row."
        )
        yield Finding("worse_than_mixture", loss, meaning, {"table.weight_decay": _larger_decay(model)})


def _impossible_rows(encoded: Encoded, model: TableModel) -> Iterator[Finding]:
    share = float(((encoded.codes == IMPOSSIBLE).any(axis=1) | encoded.other).mean())
    if share > SMALL:
        counts = (encoded.codes == IMPOSSIBLE).sum(axis=0)
        where = f", most of them in '{model.schema.parts[int(counts.argmax())].column}'" if counts.any() else ""
        meaning = (
            f"{share:.1%} of the held-out rows contain values that are impossible under the model{where}. Use more "
            "rows, or a wider range, such as --set 'columns.NAME={kind=\"real\", low=0, high=100}'."
        )
        yield Finding("impossible_rows", share, meaning)


def _larger_decay(model: TableModel) -> float:
    """Return a weight decay that at least halves the error of a network that has memorised its rows."""
    return rounded(max(ENOUGH, 3 * (model.recipe.table.weight_decay or 0)))
