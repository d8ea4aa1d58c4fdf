"""Does a synthetic table resemble a real one? Every verdict is a test of a difference, and all of them are one family.

    found = evaluate_tables(samples, held_out, training, schema, target="income")
    print(found)

Columns and pairs of columns are compared over all synthetic and all real rows, training rows and held-out ones
together. What needs rows that training has not seen (classifier, utility, likelihood, distances) uses held-out rows.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from motes.data._frames import Frame
from motes.errors import UsageError, check_seed, unknown
from motes.evaluation import _table_verdicts as verdicts
from motes.evaluation._entries import Entry
from motes.evaluation._families import ALPHA, Adjustment, weighted_holm
from motes.evaluation._privacy import NEAR, ClosestRecords, Copies
from motes.evaluation._record import Evaluation
from motes.evaluation._results import Metric, corrected
from motes.evaluation._table_columns import columns_of
from motes.evaluation._table_details import Examples, TableDetails
from motes.evaluation._table_likelihoods import Likelihoods, likelihoods
from motes.evaluation._table_results import (
    AssociationResult,
    ClassifierResult,
    LikelihoodResult,
    PairResult,
    PrivacyResult,
    UtilityResult,
)
from motes.evaluation._table_tests import Comparison, Pairs
from motes.evaluation._two_sample import Discrimination
from motes.evaluation._utility import Utility
from motes.evaluation._verdicts import Verdict
from motes.evaluation._views import view_of
from motes.tables._schema import Schema

FEWEST = 20  # synthetic rows
FEWEST_TRAINING = 2
PAIRS_NAMED = 5
EXAMPLES = 10

# Of the probability of a false alarm. Columns are many tests, and those that a few hundred rows can decide; each other
# section is one test, or tests that are clear at once where something is wrong.
WEIGHTS = {
    "columns": 0.7,
    "associations": 0.12,
    "copies": 0.06,
    "classifier": 0.06,
    "dcr": 0.02,
    "utility": 0.02,
    "likelihood": 0.02,
}

Adjustments = Mapping[str, Adjustment]


def evaluate_tables(
    samples: Frame,
    held_out: Frame | None,
    training: Frame,
    schema: Schema,
    *,
    target: str | None = None,
    log_prob: tuple[ArrayLike, ArrayLike] | None = None,
    seed: int = 0,
) -> Evaluation[TableDetails]:
    """Compare synthetic rows with real ones: columns, associations, a classifier, utility, likelihood, privacy.

    The more synthetic rows there are, the smaller the differences of shares that can be seen: with ten times as many as
    real rows, what is left is the chance in the real ones. If no synthetic row has a missing entry in a column where
    missing entries are not learned, the verdict on that is "not modelled"; the classifier and the distances then see
    these rows with the missing entries of training rows drawn at random, so that values are compared.

    Args:
        samples: synthetic rows, at least 20.
        held_out: real rows that the model has not seen; None or fewer than 20 leave some questions open.
        training: the rows that the model was trained on, at least 2.
        schema: of the model.
        target: a column that is predicted from the others, after training on synthetic and on real rows.
        log_prob: the model's log p in nats of held-out rows and of training rows, (m,) and (k,); minus infinity for a
            row of density 0.
        seed: of all choices; it has no bearing on rows that were drawn with the same seed.

    Raises:
        UsageError: too few rows, no such target, a target that does not vary, or log p that does not fit.
        DataError: columns or entries that are not those of the schema.

    Example:
        >>> from motes.data import as_frame
        >>> from motes.evaluation import evaluate_tables
        >>> from motes.tables import Schema
        >>> draws = np.random.default_rng(0).normal(size=(3, 200, 2)).round(2)
        >>> synthetic, held_out, training = map(as_frame, draws)
        >>> evaluate_tables(synthetic, held_out, training, Schema.fit(training)).headline
        'No difference between synthetic and real rows was found.'
    """
    from threadpoolctl import threadpool_limits

    seed = check_seed(seed)
    if held_out is None:
        held_out = schema.frame(training).take(slice(0))
    frames = {"synthetic": samples, "held_out": held_out, "training": training}
    _check(samples, training, schema, target)
    like = None if log_prob is None else likelihoods(*log_prob)
    view = view_of(schema, frames)
    compare = Comparison(view, seed)
    with threadpool_limits(1):  # the threads of small matrices wait for each other
        shares, pairs, classifier, copies = compare.shares(), compare.pairs(), compare.classifier(), compare.copies()
        use, records = None if target is None else compare.utility(target), compare.records(copies)
    p_values = {"columns": shares.p_value, "copies": _p(copies.share)}
    if pairs is not None:
        p_values["associations"] = pairs.tests.p_value
    if not isinstance(classifier, Verdict):
        p_values["classifier"] = _p(classifier[0].accuracy)
    if isinstance(use, Utility):
        p_values["utility"] = _p(use.difference)
    if like is not None and like.difference is not None:
        p_values["likelihood"] = verdicts.joint_p_value(like.p_values)
    if isinstance(records, ClosestRecords):
        p_values["dcr"] = _p(records.share)
    adjust = weighted_holm(p_values, WEIGHTS)
    shares = shares.corrected(adjust["columns"])
    details = TableDetails(
        columns=columns_of(
            view, compare.synthetic, compare.real, shares, compare.hidden, adjust["columns"], compare.rng(18)
        ),
        associations=None if pairs is None else _associations(pairs, adjust["associations"]),
        classifier=_classifier(view.names, classifier, adjust),
        utility=None if target is None or use is None else _utility(target, use, adjust),
        likelihood=None if like is None else _likelihood(like, len(schema.learned), adjust),
        privacy=_privacy(records, copies, adjust),
        examples=_examples(schema, frames, compare.rng(19)),
    )
    against = "training rows and held-out rows" if len(held_out) else "training rows"
    sizes = {name: len(x) for name, x in view.x.items()}
    notes = (*_set_aside(schema), *compare.notes)
    return Evaluation("", against, sizes, tuple(_entries(details)), details, notes, seed)


def _set_aside(schema: Schema) -> Iterator[str]:
    if schema.identifiers:
        names = ", ".join(f"'{name}'" for name in schema.identifiers)
        yield f"set aside, because nearly every row has its own value, and so neither learned nor compared: {names}."


def _check(samples: Frame, training: Frame, schema: Schema, target: str | None) -> None:
    names = [column.name for column in schema.compared]
    if target is not None:
        schema.check_not_aside(target)
    if target is not None and target not in names:
        raise UsageError(unknown("column", target, names))
    if target is not None and len(names) == 1:
        raise UsageError(f"target '{target}' is the only column; expected other columns to predict it from.")
    for name, rows, fewest in (("synthetic", samples, FEWEST), ("training", training, FEWEST_TRAINING)):
        if len(rows) < fewest:
            raise UsageError(f"got {len(rows)} {name} rows; expected at least {fewest}.")


def _p(metric: Metric) -> float:
    return 1.0 if metric.p_value is None else metric.p_value


# --- the record -----------------------------------------------------------------------------------------------------


def _entries(found: TableDetails) -> Iterator[Entry]:
    for column in found.columns:
        measure = "total variation distance" if column.discrete else "Kolmogorov-Smirnov distance"
        yield Entry.of("columns", column.name, measure, column.verdict, column.distance, column.reference_value)
    for column in found.columns:
        if column.missing_verdict is not None:
            ours, theirs = column.missing
            measure = "share of missing entries"
            yield Entry("missing", column.name, measure, column.missing_verdict, ours, reference_value=theirs)
    if (pairs := found.associations) is not None:
        measure = "mean absolute difference of the associations"
        yield Entry.of("associations", "all pairs", measure, pairs.verdict, pairs.difference, pairs.reference_value)
    one = found.classifier
    yield Entry.of("classifier", "c2st_boosting", "accuracy on held-out rows", one.verdict, one.accuracy, one.reference)
    if (use := found.utility) is not None:
        trained = use.utility
        measure = "score after training" if trained is None else f"{trained.score} after training"
        scores = (None, None) if trained is None else (trained.synthetic, trained.real)
        yield Entry.of("utility", use.target, measure, use.verdict, *scores)
    if (like := found.likelihood) is not None:
        measure = "mean log-likelihood of training rows less that of held-out rows, in nats per row"
        reference = None if like.difference is None else 0.0
        yield Entry.of("likelihood", "difference", measure, like.verdict, like.difference, reference)
    private, (copies, n), (theirs, m) = found.privacy, found.privacy.copies.synthetic, found.privacy.copies.held_out
    share = None if private.records is None else private.records.share
    measure = "share of synthetic rows nearer to a training row than 95 % of the held-out rows"
    yield Entry.of("dcr", "dcr_share", measure, private.records_verdict, share, None if share is None else NEAR)
    measure, reference = "share of synthetic rows that equal a training row", theirs / m if m else None
    yield Entry("copies", "copies", measure, private.copies_verdict, copies / n, reference_value=reference)


# --- results with verdicts ------------------------------------------------------------------------------------------


def _associations(found: Pairs, adjust: Adjustment) -> AssociationResult:
    names, values, tests = found
    places = list(zip(*np.triu_indices(len(names), 1), strict=True))
    largest = []
    for pair in np.lexsort((-tests.distance, tests.p_values))[:PAIRS_NAMED].tolist():
        i, j = places[pair]
        both = float(values.a[i, j]), float(values.b[i, j])
        p_value = adjust(float(tests.p_values[pair]))
        largest.append(PairResult((names[i], names[j]), *both, float(tests.distance[pair]), p_value))
    verdict = verdicts.of_associations(tests, tuple(largest), adjust)
    return AssociationResult(names, values.a, values.b, values.mean, values.mean_by_chance, tuple(largest), verdict)


def _classifier(
    names: tuple[str, ...], found: tuple[Discrimination, Metric, int] | Verdict, adjust: Adjustments
) -> ClassifierResult:
    if isinstance(found, Verdict):
        return ClassifierResult(None, None, (), found)
    trees, reference, rows = found
    order = np.argsort(-trees.importance, kind="stable")
    columns = tuple((names[j], float(trees.importance[j])) for j in order)
    verdict = verdicts.of_classifier(trees.accuracy, rows, columns, adjust["classifier"])
    accuracy = corrected(trees.accuracy, adjust["classifier"].sigmas, 0.5, verdict.differs)
    return ClassifierResult(accuracy, reference, columns, verdict)


def _utility(target: str, found: Utility | Verdict, adjust: Adjustments) -> UtilityResult:
    if isinstance(found, Verdict):
        return UtilityResult(target, None, found)
    verdict = verdicts.of_utility(found, adjust["utility"])
    difference = corrected(found.difference, adjust["utility"].sigmas, 0.0, verdict.differs)
    return UtilityResult(target, replace(found, difference=difference), verdict)


def _likelihood(found: Likelihoods, width: int, adjust: Adjustments) -> LikelihoodResult:
    difference = found.difference
    if difference is None:
        verdict = verdicts.unknown(min(found.rows), 2, "rows with a density above 0")
    else:
        verdict = verdicts.of_likelihood(difference, found.impossible, found.p_values, width, adjust["likelihood"])
        differs = verdict.differs and found.p_values[0] <= found.p_values[1]
        difference = corrected(difference, adjust["likelihood"].sigmas, 0.0, differs)
    return LikelihoodResult(found.held_out, found.training, difference, found.impossible, verdict)


def _privacy(records: ClosestRecords | Verdict, copies: Copies, adjust: Adjustments) -> PrivacyResult:
    copied = verdicts.of_copies(copies, adjust["copies"])
    if isinstance(records, Verdict):
        return PrivacyResult(None, records, copies, copied)
    share, adjusted = records.share, adjust["dcr"]
    found = replace(records, share=corrected(share, adjusted.sigmas, NEAR, adjusted(_p(share)) < ALPHA))
    return PrivacyResult(found, verdicts.of_records(found, adjusted), copies, copied)


def _examples(schema: Schema, frames: Mapping[str, Frame], rng: np.random.Generator) -> Examples:
    """Some synthetic and some training rows as text."""
    texts = []
    for name in ("synthetic", "training"):
        frame = schema.contents(frames[name])
        texts.append(_texts(frame.take(np.sort(rng.permutation(len(frame))[:EXAMPLES]))))
    return Examples(tuple(column.name for column in schema.compared), texts[0], texts[1])


def with_unlikely(found: Evaluation[TableDetails], held_out: Frame, log_prob: ArrayLike) -> Evaluation[TableDetails]:
    """The record with those of the held-out rows (m) as examples that have the lowest `log_prob` (m,)."""
    values = np.asarray(log_prob, np.float64)
    lowest = np.argsort(values, kind="stable")[:EXAMPLES]
    rows, numbers = _texts(held_out.take(lowest)), tuple(values[lowest].tolist())
    examples = replace(found.details.examples, unlikely=rows, log_prob=numbers)
    return replace(found, details=replace(found.details, examples=examples))


def _texts(rows: Frame) -> tuple[tuple[str, ...], ...]:
    columns = [series.cells() for series in rows.columns.values()]
    return tuple(tuple(map(_text, row)) for row in zip(*columns, strict=True))


def _text(entry: Any) -> str:
    if entry is None:
        return ""
    if isinstance(entry, datetime.datetime) and entry.time() == datetime.time():
        return str(entry.date())
    return f"{entry:.7g}" if isinstance(entry, float) else str(entry)
