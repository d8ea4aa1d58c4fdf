"""The tests that a table is put to, with as many rows of each set as each of them can take."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from motes.data._series import Mask
from motes.errors import UsageError
from motes.evaluation._associations import Associations, Layout, compare_associations, ranked
from motes.evaluation._interactions import Interactions, compare_interactions
from motes.evaluation._pairs import OWN_STREAM
from motes.evaluation._privacy import ClosestRecords, Copies, Points, closest_records, count_copies
from motes.evaluation._results import Array, Metric
from motes.evaluation._shares import Shares, compare_shares
from motes.evaluation._table_verdicts import unknown
from motes.evaluation._text import shown
from motes.evaluation._two_sample import Discrimination, c2st_of_columns
from motes.evaluation._utility import Task, Utility, utility
from motes.evaluation._verdicts import Verdict
from motes.evaluation._views import NormalScores, View

FEWEST = 20  # held-out rows for a classifier, for a target and for distances
ROWS = 20_000  # of each set, for a classifier
PAIR_ROWS = 50_000  # of each set, for associations; fewer of wide tables
PRODUCTS = 4e9  # in the sums of all associations
SHUFFLES = 100  # of all columns together, for permutation importance
LABELS_OF_PAIRS = 20  # of a column; the rarest become one
LABELS_OF_TREES = 100
TASK_ROWS = 10_000  # to learn a target from, and half as many to be tested on
CLASSES = 20  # labels of a target
DISTANCES = 3e8  # between rows, of synthetic and held-out ones together
NEAREST = 5000  # rows of each whose closest training row is sought, at least 500


class Pairs(NamedTuple):
    """All pairs of the columns `names`; for a column with missing entries one more says where these are."""

    names: tuple[str, ...]
    values: Associations
    tests: Interactions


class Comparison:
    """The rows to be compared, and what is to be noted in the end.

    Attributes:
        synthetic, held_out, training, real: entries (n, d) of each set; the last is both kinds of real rows.
        hidden: (d,), columns where missing entries are not learned, and no synthetic row has one.
        notes: what was left out or taken otherwise, a sentence each.
    """

    def __init__(self, view: View, seed: int):
        self.view, self.seed, self.notes = view, seed, list[str]()
        self.synthetic, self.held_out, self.training = view.x.values()
        self.real = np.concatenate([self.training, self.held_out])
        coded = np.array([column.coded for column in view.columns])
        self.hidden: Mask = ~coded & ~np.isnan(self.synthetic).any(axis=0) & np.isnan(self.real).any(axis=0)
        if self.hidden.any():
            names = [name for name, hidden in zip(view.names, self.hidden.tolist(), strict=True) if hidden]
            self.notes.append(
                f"no synthetic row has a missing entry in {', '.join(names)}, because missing entries are not "
                "learned there; the classifier and the distances to training rows see the synthetic rows with the "
                "missing entries of training rows drawn at random."
            )

    def rng(self, use: int) -> np.random.Generator:
        """For one purpose."""
        return np.random.default_rng([OWN_STREAM, 1000 + use, self.seed])

    # --- with all rows ---

    def shares(self) -> Shares:
        """Every column as shares of rows."""
        kinds = [column.kind for column in self.view.columns]
        return compare_shares(
            self.view, self.synthetic, self.real, self.hidden.tolist(), lambda j, x: shown(kinds[j], x), self.rng(1)
        )

    def pairs(self) -> Pairs | None:
        """Associations, and the test of each pair; None for a single column."""
        if len(self.view.names) < 2:
            return None
        x, levels = self._merged(LABELS_OF_PAIRS, "associations")
        gaps = np.any([np.isnan(rows).any(axis=0) for rows in x.values()], axis=0)
        # Whether an entry is missing is one more column, of two labels.
        patterns = np.flatnonzero(gaps & ~self.hidden)
        x = {name: np.concatenate([rows, np.isnan(rows[:, patterns])], axis=1) for name, rows in x.items()}
        discrete = np.append(self.view.discrete, np.ones(len(patterns), bool))
        names = (*self.view.names, *(f"{self.view.names[j]} missing" for j in patterns))
        layout = Layout(discrete, (*levels, *(2 for _ in patterns)), np.append(gaps, np.zeros(len(patterns), bool)))
        most = int(np.clip(PRODUCTS / layout.width**2, 1000, PAIR_ROWS))
        sets = []
        for use, name in enumerate(("synthetic", "real"), start=2):
            rows = x[name] if name in x else np.concatenate([x["training"], x["held_out"]])
            if len(rows) > most:
                self.notes.append(
                    f"associations of {name} rows are those of {most:,} rows, drawn from {len(rows):,} at random."
                )
            sets.append(self._some(rows, most, use))
        design = layout.design(ranked(np.concatenate(sets), discrete))
        both = design[: len(sets[0])], design[len(sets[0]) :]
        tests = compare_interactions(layout, *both, self.rng(20))
        return Pairs(names, compare_associations(layout, *both, self.rng(4)), tests)

    def copies(self) -> Copies:
        """Exact copies of training rows."""
        return count_copies(self.synthetic, self.held_out, self.training)

    # --- with held-out rows ---

    def classifier(self) -> tuple[Discrimination, Metric, int] | Verdict:
        """Boosted trees that tell synthetic from held-out rows; training from held-out rows for reference; rows."""
        n = min(len(self.held_out), len(self.synthetic), len(self.training), ROWS)
        if n < FEWEST:
            return self._too_few(self.held_out)
        x, _ = self._merged(LABELS_OF_TREES, "the classifier")
        synthetic, held_out, training = (self._some(rows, n, 5 + use) for use, rows in enumerate(x.values()))
        if n < len(self.held_out):
            self.notes.append(f"the classifier sees {n:,} of the {len(self.held_out):,} held-out rows.")
        synthetic = self._with_gaps(synthetic, 8)
        shuffles = int(np.clip(SHUFFLES // len(self.view.names), 1, 5))
        found = c2st_of_columns(synthetic, held_out, self.view.discrete, self.rng(9), shuffles=shuffles)
        reference = c2st_of_columns(training, held_out, self.view.discrete, self.rng(10), shuffles=0)
        return found, reference.accuracy, n

    def utility(self, target: str) -> Utility | Verdict:
        """A target learned from synthetic and from training rows.

        Raises:
            UsageError: a target of one value.
        """
        j, discrete = self.view.names.index(target), self.view.discrete
        x, _ = self._merged(LABELS_OF_TREES, "learning the target")
        rows = {name: self.rng(11 + use).permutation(len(cells)) for use, (name, cells) in enumerate(x.items())}
        y, classes = self._target(target, {name: self.view.x[name][rows[name], j] for name in x}, bool(discrete[j]))
        others = np.arange(len(self.view.names)) != j

        def task(name: str, most: int) -> Task:
            known = np.flatnonzero(~np.isnan(y[name]))[:most]
            return Task(x[name][rows[name][known]][:, others], y[name][known])

        synthetic, real = task("synthetic", TASK_ROWS), task("training", TASK_ROWS)
        test = task("held_out", TASK_ROWS // 2)
        if len(test.y) < FEWEST:
            return unknown(len(test.y), FEWEST, f"held-out rows with a value of '{target}'")
        try:
            return utility(synthetic, real, test, discrete[others], target=target, classes=classes, rng=self.rng(14))
        except ValueError as error:
            return Verdict("unknown", f"could not be determined: {error}")

    def _target(self, target: str, x: dict[str, Array], discrete: bool) -> tuple[dict[str, Array], int | None]:
        """Codes from 0 and how many, or normal scores of numbers; NaN for rows to leave out."""
        seen, counts = np.unique(x["training"][~np.isnan(x["training"])], return_counts=True)
        if len(seen) < 2:
            raise UsageError(f"target '{target}' has one value in the training rows; expected a column that varies.")
        if not discrete and len(seen) > 2:
            scores = NormalScores.of(x["training"])
            return {name: scores(values) for name, values in x.items()}, None
        if len(seen) > CLASSES:
            self.notes.append(f"of target '{target}' the {CLASSES} most frequent of {len(seen)} labels are learned.")
        classes = np.sort(seen[np.argsort(-counts, kind="stable")[:CLASSES]])
        codes = {}
        for name, values in x.items():
            code = np.clip(np.searchsorted(classes, values), 0, len(classes) - 1)
            codes[name] = np.where(classes[code] == values, code.astype(np.float64), np.nan)
        return codes, len(classes)

    def records(self, copies: Copies) -> ClosestRecords | Verdict:
        """Distances to the closest training row, of rows that are no copies: these are counted apart."""
        most = int(np.clip(DISTANCES / 2 / len(self.training), 500, NEAREST))
        synthetic = self._some(self._with_gaps(self.synthetic, 15)[~copies.copied], most, 16)
        held_out = self._some(self.held_out[~copies.known], most, 17)
        if len(held_out) < FEWEST:
            return self._too_few(held_out)
        if not len(synthetic):
            return Verdict("unknown", "could not be determined: all synthetic rows are copies of training rows")
        if max(len(self.synthetic), len(self.held_out)) > most:
            self.notes.append(
                f"the closest of all {len(self.training):,} training rows is sought for {most:,} rows of each set."
            )
        scores = [NormalScores.of(column) for column in self.training[:, ~self.view.discrete].T]
        return closest_records(*(self._points(rows, scores) for rows in (synthetic, held_out, self.training)))

    def _points(self, x: Array, scores: list[NormalScores]) -> Points:
        numbers, codes = x[:, ~self.view.discrete], x[:, self.view.discrete]
        z = [score(column) for score, column in zip(scores, numbers.T, strict=True)]
        return Points(np.stack(z, axis=1) if z else numbers, np.where(np.isnan(codes), -1, codes).astype(np.int64))

    # --- rows ---

    def _too_few(self, held_out: Array) -> Verdict:
        return unknown(len(held_out), FEWEST)

    def _some(self, x: Array, n: int, use: int) -> Array:
        """n rows in random order, or all if there are fewer."""
        rows: NDArray[np.intp] = self.rng(use).permutation(len(x))[:n]
        return x[rows]

    def _with_gaps(self, synthetic: Array, use: int) -> Array:
        """Synthetic rows with the missing entries of training rows drawn at random, in the hidden columns."""
        if not self.hidden.any():
            return synthetic
        rows = self.rng(use).integers(0, len(self.training), len(synthetic))
        return np.where(np.isnan(self.training[rows]) & self.hidden, np.nan, synthetic)

    def _merged(self, most: int, use: str) -> tuple[dict[str, Array], tuple[int, ...]]:
        over = [name for name, labels in zip(self.view.names, self.view.labels, strict=True) if len(labels) > most]
        if over:
            self.notes.append(f"for {use} the rarest labels of {', '.join(over)} are one, so that {most} are left.")
        return self.view.merged(most)
