"""Does it resemble the data? Made rows of a table beside real rows that the training has not seen.

    judge_table(made, judge, train, encoder, target="income")

Each number stands beside its floor: the same figure for training rows, as many of them as were made.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data.encoder import Encoder
from motes.data.frames import Frame, Mask
from motes.errors import UsageError, check_seed, unknown
from motes.evaluation import table_words as words
from motes.evaluation.associations import associations, compare_associations
from motes.evaluation.marginals import holm, kolmogorov_smirnov, share_difference, total_variation, wasserstein_1
from motes.evaluation.pairs import OWN_STREAM
from motes.evaluation.privacy import Closeness, Points, closeness, copies, fingerprints
from motes.evaluation.results import Array, Metric, Row, Z
from motes.evaluation.table_bars import bars_of, centre_of
from motes.evaluation.table_results import (
    LIKE_REAL,
    AssociationResult,
    ColumnResult,
    Judgement,
    LikelihoodResult,
    PrivacyResult,
    TableEvaluation,
    TellingResult,
)
from motes.evaluation.two_sample import c2st_of_columns
from motes.evaluation.usefulness import Task, Usefulness, usefulness
from motes.evaluation.verdicts import ALPHA
from motes.evaluation.views import View, counted, places, view_of

FEWEST = 20  # rows of each
ROWS = 20_000  # of each set, that are compared
SUMS = 2e8  # products of an association matrix: its rows are as many as that allows, at least 1000
LABELS_OF_PAIRS = 20  # of a column; the rarest become one
LABELS_OF_TREES = 100
TASK_ROWS = 10_000  # to learn a target from, and half as many to be tested on
CLASSES = 20  # labels of a target
PAIRS = 3e8  # distances between rows, of made and held-out ones together
NEAREST = 5000  # rows of each whose closest training row is sought, at least 500
PAIRS_NAMED = 5


def judge_table(
    made: Frame,
    judge: Frame,
    train: Frame,
    encoder: Encoder,
    *,
    target: str | None = None,
    log_prob: tuple[ArrayLike, ArrayLike] | None = None,
    seed: int = 0,
) -> TableEvaluation:
    """Hold made rows against real ones: columns, associations, a classifier, use, likelihood, privacy.

    Of more than 20,000 rows so many are drawn at random; copies are counted over all rows. The notes say what was left
    out. Where the made rows have no missing cell in a column that has some among the held-out rows, the classifier and
    the distances to training rows see them with the gaps of held-out rows drawn at random, so that values are compared.

    Args:
        made: rows that the model made.
        judge: held-out real rows.
        train: rows that the model has learned from.
        encoder: of the model.
        target: a column to be told from the others, by models trained on made and on real rows.
        log_prob: the model's log p in nats of held-out rows and of training rows, (m,) and (k,); minus infinity for a
            row that it holds impossible.
        seed: of all choices; it has no bearing on rows that were made with the same seed.

    Raises:
        UsageError: fewer than 20 rows of a kind, no such target, one that does not vary, or log p that does not fit.
        DataError: columns or cells that are not those of the encoder.
    """
    from threadpoolctl import threadpool_limits

    seed = check_seed(seed)
    if target is not None and target not in encoder.names:
        raise UsageError(unknown("column", target, encoder.names))
    if target is not None and len(encoder.names) == 1:
        raise UsageError(f"target '{target}' is the only column; there is nothing to tell it from.")
    sizes = {"made": len(made), "held out": len(judge), "training": len(train)}
    for name, n in sizes.items():
        if n < FEWEST:
            raise UsageError(f"{n} rows {name}; expected at least {FEWEST} to compare.")
    whole = view_of(encoder, {"the made rows": made, "the held-out rows": judge, "the training rows": train})
    likelihood = None if log_prob is None else _likelihood(log_prob, encoder.width)
    job = _Job(whole, encoder, seed)
    with threadpool_limits(1):  # the threads of small matrices wait for each other
        found = TableEvaluation(
            rows=sizes,
            columns=job.columns(),
            associations=job.associations() if len(whole.names) > 1 else None,
            telling=job.telling(),
            usefulness=None if target is None else job.usefulness(target),
            likelihood=likelihood,
            privacy=job.privacy(),
            notes=(),
            seed=seed,
        )
    return replace(found, notes=tuple(job.notes))


class _Job:
    """The rows to be compared, and what is to be said about them in the end."""

    def __init__(self, whole: View, encoder: Encoder, seed: int):
        self.encoder, self.seed, self.notes = encoder, seed, list[str]()
        self.all_made, self.all_real, self.training = whole.x.values()
        n, m = min(len(self.all_made), len(self.training), ROWS), min(len(self.all_real), ROWS)
        for name, count, total in (("made", n, len(self.all_made)), ("held-out", m, len(self.all_real))):
            if count < total:
                why = "as many as were trained on" if count == len(self.training) else "drawn at random"
                self.notes.append(f"{count:,} of the {total:,} {name} rows are compared, {why}.")
        chosen = {
            "made": _some(self.all_made, n, self.rng(1)),
            "real": _some(self.all_real, m, self.rng(2)),
            "floor": _some(self.training, n, self.rng(3)),
        }
        self.view = replace(whole, x=chosen)
        self.gaps: Mask = np.asarray(np.isnan(chosen["real"]).any(axis=0) & ~np.isnan(self.all_made).any(axis=0))
        if self.gaps.any():
            names = [name for name, gap in zip(whole.names, self.gaps.tolist(), strict=True) if gap]
            self.notes.append(
                f"no missing cell was made in {', '.join(names)}; the classifier and the distances to training rows "
                "see the made rows with the gaps of held-out rows."
            )

    def rng(self, use: int) -> np.random.Generator:
        return np.random.default_rng([OWN_STREAM, 1000 + use, self.seed])

    def with_gaps(self, made: Array, real: Array, use: int) -> Array:
        """Made rows with the missing cells of real rows drawn at random, in the columns where none was made."""
        if not self.gaps.any():
            return made
        rows = self.rng(use).integers(0, len(real), len(made))
        return np.where(np.isnan(real[rows]) & self.gaps, np.nan, made)

    # --- columns ---

    def columns(self) -> tuple[ColumnResult, ...]:
        found = [self._column(j) for j in range(len(self.view.names))]
        p_values = holm([np.nan if one.p_value is None else one.p_value for one in found])
        missing_p = holm([one.missing_p for one in found])
        judged = []
        for one, p, gone in zip(found, p_values, missing_p, strict=True):
            column = replace(one, p_value=None if np.isnan(p) else float(p), missing_p=float(gone))
            judgement = words.of_column(column) if column.distance is not None else one.judgement
            judged.append(replace(column, judgement=judgement, missing_judgement=words.of_missing(column)))
        return tuple(judged)

    def _column(self, j: int) -> ColumnResult:
        column, labels, discrete = self.view.columns[j], self.view.labels[j], bool(self.view.discrete[j])
        made, real, floor = (self.view.x[key][:, j] for key in ("made", "real", "floor"))
        gone = [int(np.isnan(cells).sum()) for cells in (made, real)]
        missing = share_difference(gone[0], len(made), gone[1], len(real))
        made, real, floor = (cells[~np.isnan(cells)] for cells in (made, real, floor))
        row, w1, centre, bars = None, None, None, None
        if len(made) and len(real) and len(floor):
            if discrete:
                counts = [counted(cells, len(labels)) for cells in (made, real, floor)]
                row = Row(total_variation(counts[0], counts[1]), total_variation(counts[2], counts[1]))
            else:
                row = Row(kolmogorov_smirnov(made, real), kolmogorov_smirnov(floor, real))
                w1 = wasserstein_1(made, real)
                centre = centre_of(made, column.kind), centre_of(real, column.kind)
            bars = bars_of(made, real, labels)
        nothing = LIKE_REAL if not len(real) and not len(made) else Judgement("bad", "no known cell to compare")
        return ColumnResult(
            column.name, column.kind, discrete, row, row.metric.p_value if row else None, w1, centre,
            (gone[0] / (gone[0] + len(made)), gone[1] / (gone[1] + len(real))), missing.p_value or 0.0,
            nothing, LIKE_REAL, bars,
        )  # fmt: skip

    # --- pairs of columns, and all of them together ---

    def associations(self) -> AssociationResult:
        cells, levels = self._merged(LABELS_OF_PAIRS, "associations")
        discrete = self.view.discrete
        width = 3 * int((~discrete).sum()) + sum(np.array(levels)[discrete])
        most = int(np.clip(SUMS / width**2, 1000, ROWS))
        made, real, floor = (cells[key][:most] for key in ("made", "real", "floor"))
        if max(len(cells["made"]), len(cells["real"])) > most:
            self.notes.append(f"associations are those of {most:,} rows of each set, drawn at random.")
        found = compare_associations(made, real, discrete, levels, self.rng(4))
        upper = np.triu_indices(len(discrete), 1)
        beside = np.abs(associations(floor, discrete, levels) - found.b)[upper]
        value = float(np.nan_to_num(beside).mean())
        names, gaps = self.view.names, np.nan_to_num(np.abs(found.a - found.b))
        order = sorted(zip(*upper, strict=True), key=lambda pair: (found.p_values[pair], -gaps[pair]))
        largest = tuple(
            (names[i], names[j], float(found.b[i, j]), float(found.a[i, j]), float(found.p_values[i, j]))
            for i, j in order[:PAIRS_NAMED]
        )
        count = int((found.p_values[upper] < ALPHA).sum())
        row = Row(found.mean, Metric("association_difference", value, value, value))
        judgement = words.of_associations(row, largest, count, len(upper[0]))
        return AssociationResult(names, found.a, found.b, row, largest, judgement)

    def telling(self) -> TellingResult:
        cells, _ = self._merged(LABELS_OF_TREES, "the classifier")
        made, real, floor = (cells[key] for key in ("made", "real", "floor"))
        found = c2st_of_columns(self.with_gaps(made, real, 5), real, self.view.discrete, self.rng(6))
        beside = c2st_of_columns(floor, real, self.view.discrete, self.rng(7), shuffles=0)
        order = np.argsort(-found.columns, kind="stable")
        columns = tuple((self.view.names[j], float(found.columns[j])) for j in order)
        row = Row(found.accuracy, beside.accuracy)
        return TellingResult(row, columns, words.of_telling(row, columns))

    def _merged(self, most: int, use: str) -> tuple[dict[str, Array], tuple[int, ...]]:
        over = [name for name, labels in zip(self.view.names, self.view.labels, strict=True) if len(labels) > most]
        if over:
            self.notes.append(f"for {use} the rarest labels of {', '.join(over)} are one, so that {most} are left.")
        return self.view.merged(most)

    # --- a target ---

    def usefulness(self, target: str) -> tuple[Usefulness, Judgement]:
        j = self.view.names.index(target)
        cells, _ = self._merged(LABELS_OF_TREES, "learning")
        y, classes = self._target(j, target)
        others = np.arange(len(self.view.names)) != j

        def task(key: str, most: int) -> Task:
            rows = np.flatnonzero(~np.isnan(y[key]))[:most]
            return Task(cells[key][rows][:, others], y[key][rows])

        made, real, test = task("made", TASK_ROWS), task("floor", TASK_ROWS), task("real", TASK_ROWS // 2)
        discrete = self.view.discrete[others]
        try:
            found = usefulness(made, real, test, discrete, target=target, classes=classes, rng=self.rng(8))
        except ValueError as error:
            raise UsageError(f"target '{target}': {error}") from None
        return found, words.of_usefulness(found)

    def _target(self, j: int, target: str) -> tuple[dict[str, Array], int | None]:
        """Codes from 0 and how many, or numbers as the network sees them; NaN for rows to leave out."""
        x = {key: cells[:, j] for key, cells in self.view.x.items()}
        seen, counts = np.unique(x["floor"][~np.isnan(x["floor"])], return_counts=True)
        if len(seen) < 2:
            raise UsageError(f"target '{target}' has one value in the training; expected one that varies.")
        if not self.view.discrete[j] and len(seen) > 2:
            numeric = [name for name, labels in zip(self.view.names, self.view.discrete, strict=True) if not labels]
            place = [name for name in self.encoder.learned if name in numeric].index(target)
            z = {key: places(self.encoder, self.view, cells)[0] for key, cells in self.view.x.items()}
            return {key: cells[:, place] for key, cells in z.items()}, None
        if len(seen) > CLASSES:
            self.notes.append(f"of target '{target}' the {CLASSES} most frequent of {len(seen)} labels are learned.")
        classes = np.sort(seen[np.argsort(-counts, kind="stable")[:CLASSES]])
        codes = {}
        for key, cells in x.items():
            code = np.clip(np.searchsorted(classes, cells), 0, len(classes) - 1)
            codes[key] = np.where(classes[code] == cells, code.astype(np.float64), np.nan)
        return codes, len(classes)

    # --- privacy ---

    def privacy(self) -> PrivacyResult:
        own = fingerprints(self.training)
        ours, theirs = (copies(fingerprints(cells), own) for cells in (self.all_made, self.all_real))
        near = self._closeness()
        n, m = len(self.all_made), len(self.all_real)
        p_value = words.more_copies(ours, n, theirs, m)
        judgement = words.of_privacy(near, ours, n, theirs, m, p_value)
        return PrivacyResult(near, (ours, n), (theirs, m), p_value, judgement)

    def _closeness(self) -> Closeness:
        made, real = self.view.x["made"], self.view.x["real"]
        most = int(np.clip(PAIRS / 2 / len(self.training), 500, NEAREST))
        if max(len(made), len(real)) > most:
            self.notes.append(
                f"the closest of all {len(self.training):,} training rows is sought for {most:,} rows of each set."
            )
        made, real = made[:most], real[:most]
        sets = (self.with_gaps(made, real, 9), real, self.training)
        parts, beyond = zip(*map(self._points, sets), strict=True)
        if sum(beyond):
            self.notes.append(
                f"{sum(beyond):,} numbers beyond what the encoder knows are taken at the nearest that it knows, "
                "in distances to training rows."
            )
        return closeness(*parts)

    def _points(self, x: Array) -> tuple[Points, int]:
        z, beyond = places(self.encoder, self.view, x)
        labels = x[:, self.view.discrete]
        return Points(z, np.where(np.isnan(labels), -1, labels).astype(np.int64)), beyond


def _some(x: Array, n: int, rng: np.random.Generator) -> Array:
    """n rows in random order."""
    rows: NDArray[np.intp] = rng.permutation(len(x))[:n]
    return x[rows]


def _likelihood(log_prob: tuple[ArrayLike, ArrayLike], width: int) -> LikelihoodResult:
    means, impossible = [], []
    for name, given in zip(("held-out", "training"), log_prob, strict=True):
        values = np.asarray(given, np.float64)
        if values.ndim != 1 or np.isnan(values).any() or (values == np.inf).any():
            raise UsageError(f"log p of the {name} rows, of shape {values.shape}; expected (n,), numbers or -inf.")
        here = values[np.isfinite(values)]
        if len(here) < 2:
            raise UsageError(f"log p of {len(here)} {name} rows; expected finite ones of at least 2.")
        impossible.append(len(values) - len(here))
        half = Z * float(here.std(ddof=1) / np.sqrt(len(here)))
        means.append(Metric("log_likelihood", float(here.mean()), float(here.mean()) - half, float(here.mean()) + half))
    held_out, training = means
    gap, error = training - held_out, float(np.hypot(training.high - training, held_out.high - held_out)) / Z
    metric = Metric("gap", gap, gap - Z * error, gap + Z * error, words.above(gap, error))
    rows = impossible[0], impossible[1]
    return LikelihoodResult(held_out, training, metric, rows, words.of_likelihood(metric, rows, width))
