"""A trained model of a table with columns of any kind, in the data's own units and types.

    p(x) = product over columns of p(x_j | columns before it),    in one fixed order, which defines the distribution

The model consists of a `Schema`, which encodes the table as tokens, and of the members, the networks trained on these
tokens. It conditions on any subset of the columns: known columns are revealed first.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, final

import equinox as eqx
import jax
import numpy as np
from numpy.typing import NDArray

from motes.arguments import check_arguments
from motes.data import Blocks, Frame, as_frame
from motes.data.frames import KEY, Template, joined
from motes.data.records import check_types
from motes.errors import DataError, ModelFileError, UsageError, check_count, check_process, check_seed
from motes.progress import OnProgress, Progress, Reporter, silent
from motes.tables.calibration import adjusted
from motes.tables.draws import AnsweredRows, DrawnRows, RowConditions, conditions_of, draw_blocks, fill_blocks
from motes.tables.kinds.columns import ROOM
from motes.tables.layout import layout_of
from motes.tables.network import MaskedModel, MaskedNetwork, skeleton_of
from motes.tables.parts import IMPOSSIBLE, Array, Encoded, Part
from motes.tables.predictions import DRAWS, QUANTILES, label_probabilities, predict_blocks, rows_without
from motes.tables.recipe import TableRecipe
from motes.tables.relations import PATTERNS, Exclusion, Inequality, Relation
from motes.tables.relative import CELLS, LARGEST, is_given, is_group
from motes.tables.rules import Constraint, broken_by, observed_sides
from motes.tables.schema import Schema
from motes.tables.unmasking import AnyOrderModel
from motes.training import Model, Provenance, Trained
from motes.training.averages import weights_of, with_weights
from motes.training.checkpoints import arrays_of, filled, reading
from motes.training.model import ROWS, is_covariance, read_provenance, require, texts_of, with_index

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from motes.evaluation import Evaluation, TableDiagnosis
    from motes.evaluation.tables import TableDetails


FORMAT = "6"  # version of the model file's table section
RARE = -9.2  # log-probability below which a condition is reported as rare: one row in 10,000
USUAL = 256  # synthetic rows with which the density of known numbers is compared
FAR = np.log(20)  # nats below all of these rows: as rare as RARE, one row in about 5,000


class Evidence(NamedTuple):
    """How probable a condition is, and how reliable the rows drawn under it are.

    Attributes:
        log_prob: log p of the condition, in nats and in the data's units; None for points, where it is not computed.
        density: columns that contribute a density instead of a probability.
        effective: effective sample size: the number of independent rows with the same information.
        warnings: reasons not to trust the rows, one sentence each.
        rules: the rules of the user, on which log p is conditioned as well; see docs/rules.md.

    Example:
        >>> table.evidence({"smoker": "yes"}, n=64).density
        ()
    """

    log_prob: float | None
    density: tuple[str, ...]
    effective: float
    warnings: tuple[str, ...]
    rules: tuple[str, ...] = ()


class RowLikelihood(NamedTuple):
    """The log-likelihood of rows.

    Attributes:
        log_prob: (n,), nats per row, in the data's units.
        spread: (n,), the standard deviation over the orders; NaN with one order.
        impossible: (n,), the number of entries that the model considers impossible, such as unseen labels.
        rules: the rules of the user, on which log p is conditioned; see docs/rules.md.

    Example:
        >>> found = table.likelihood({"age": [31, 99], "smoker": ["yes", "no"]})
        >>> found.log_prob.shape, found.impossible.tolist()
        ((2,), [0, 1])
    """

    log_prob: Array
    spread: Array
    impossible: NDArray[np.int64]
    rules: tuple[str, ...] = ()

    def __repr__(self) -> str:
        given = f" given {', '.join(self.rules)}" if self.rules else ""
        return f"RowLikelihood({len(self.log_prob):,} rows, mean log p{given} {self.log_prob.mean():.4g})"


@check_arguments
@final
class TableModel(Model):
    """A trained model of a table with columns of any kind.

    Attributes:
        orders: the trained networks, which generate and score rows in the model's fixed order or any other.

    Example:
        >>> table.columns, [column.kind for column in table.schema.columns]
        (('age', 'smoker'), ['integer', 'categorical'])
    """

    kind = "table"
    about = "a table"
    recipe: TableRecipe

    def __init__(
        self,
        orders: AnyOrderModel,
        recipe: TableRecipe,
        *,
        provenance: Provenance = Provenance(),
        training: Trained[MaskedNetwork] | None = None,
        template: Any = None,
    ):
        super().__init__(recipe, provenance, training, Frame({}) if template is None else template)
        self.orders = orders

    @property
    def schema(self) -> Schema:
        """The schema, which encodes the table as tokens."""
        return self.orders.schema

    @property
    def models(self) -> MaskedModel:
        """The members of the ensemble, with a leading axis."""
        return self.orders.models

    @property
    def constraint(self) -> Constraint:
        """The rules between columns that synthetic rows obey: those of the user, and those found in training rows."""
        return self.orders.constraint

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules of the user, which every synthetic row obeys."""
        return tuple(map(str, self.schema.stated))

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns."""
        return self.schema.names

    @property
    def example(self) -> Frame:
        """A possible row: the first token of every part.

        Example:
            >>> table.example["smoker"].tolist()
            ['no']
        """
        return self.schema.decode(*np.zeros((3, 1, len(self.schema.parts))))

    @property
    def parameters(self) -> int:
        """The number of trained parameters."""
        return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(self.models, eqx.is_array)))

    @property
    def _averaged(self) -> int:
        return int(weights_of(self.models.network).size)

    def averaged_over(self, sigma_rel: float) -> Self:
        """Return the same model with weights averaged over a share `sigma_rel` of its training, such as 0.1.

        `sigma_rel` is the standard deviation of the averaged steps as a share of all steps. With one member the average
        ends at the best step on validation rows, with several members at the last step. Biases and rules are estimated
        again.

        Raises:
            UsageError: if `sigma_rel` is out of range, or no averages were saved.
            ModelFileError: if the averages are damaged, or belong to another model.

        Example:
            >>> longer = motes.fit(people, changes={"table.steps": 2, "table.averages": 2}, verbose=False)
            >>> longer.averaged_over(0.1).length
            0.1
        """
        found = self.check_averages().over(sigma_rel)
        models = MaskedModel(with_weights(self.models.network, found), self.models.base)
        orders = replace(self.orders, models=models)
        orders, interrupted = adjusted(orders, self.seed, calibrate=self.recipe.table.calibrate)
        if interrupted:
            raise KeyboardInterrupt
        copied = copy(self)
        vars(copied).pop("averages", None)
        copied.orders, copied.length = orders, sigma_rel
        return copied

    # --- sampling ---

    def sample(
        self,
        n: int,
        *,
        given: Mapping[str, Any] | None = None,
        seed: int = 0,
        importance_resample: bool = False,
        placeholders: bool = False,
        on_progress: OnProgress = silent,
    ) -> Any:
        """Draw `n` synthetic rows, in the same form as the training rows. The same seed gives the same rows.

        If you trained on an array, a data frame or a dict, you get one back. If the training rows came from a file, you
        get a `Frame` with `to_pandas()`, `to_polars()`, `to_arrow()` and `to_numpy()`.

        Args:
            n: number of rows.
            given: conditions, column -> a value; a set of possible values; an interval (low, high), with None for an
                open end; None for a missing entry; or `Not(value)` from `motes.tables`.
            seed: random seed.
            importance_resample: under conditions, correct to the model's fixed order by importance resampling; see
                docs/conditions.md.
            placeholders: fill columns that are set aside (ids, names, e-mail addresses) with placeholders such as
                `name-000001` instead of leaving them empty; see docs/tables.md.
            on_progress: called with the number of rows drawn so far.

        A `UserWarning` names a condition so improbable that the rows are not reliable; `evidence` returns its
        probability.

        Raises:
            UsageError: if a condition does not fit the columns or the model, or has probability 0.
            DataError: if a column cannot hold the given value.

        Example:
            >>> rows = table.sample(5, given={"smoker": "yes", "age": (30, None)})
            >>> set(rows["smoker"]), bool(min(rows["age"]) >= 30)
            ({'yes'}, True)
        """
        rows = self.draw(
            n, given=given, seed=seed, importance_resample=importance_resample, placeholders=placeholders,
            on_progress=on_progress,
        )  # fmt: skip
        for message in evidence_of(self, given or {}, [rows.log_evidence], rows.effective).warnings:
            warnings.warn(message, UserWarning, stacklevel=3)
        return self._native(rows)

    def sample_sets(self, m: int = 5, *, seed: int = 0) -> list[Any]:
        """Draw `m` synthetic tables with as many rows as the training table, each from another member.

        Compute an estimate and its variance in each table, and pass them to `motes.pool` for an interval that includes
        the uncertainty of the training and of the draws. See docs/inference.md.

        Each member learned without another fold of the rows. There are five members below 2,000 distinct rows; train
        with `table.members` for another number. For rows that do not fit into memory, a table is as large as the sample
        from which the columns' kinds were inferred.

        Args:
            m: number of tables, at most the number of members.
            seed: random seed.

        Returns:
            m tables, in the same form as the training rows.

        Raises:
            UsageError: if the model has fewer members.

        Example:
            >>> [len(rows["age"]) for rows in table.sample_sets(2)]  # the training table has 40 rows
            [40, 40]
        """
        check_process()
        m, members = check_count(m, "tables"), self.orders.own.members
        if m > members:
            raise UsageError(
                f"got m = {m} tables and a model with {members} member{'s' * (members > 1)}; expected at most one "
                f"table per member. Train with changes={{'table.members': {m}}} in Python, or --set table.members={m} "
                "in the shell."
            )
        seeds = np.random.SeedSequence([check_seed(seed), 915965]).generate_state(m)
        blocks = (
            draw_blocks(self.orders.member(k), self.schema.rows, {}, int(own), importance_resample=False)
            for k, own in enumerate(seeds)
        )
        return [self._native(joined(rows, self.schema.rows)) for rows in blocks]

    def evidence(
        self, given: Mapping[str, Any], *, n: int = 8192, seed: int = 0, importance_resample: bool = False
    ) -> Evidence:
        """Estimate the probability of a condition, and the effective sample size of `n` rows drawn under it.

        Raises:
            UsageError: if the conditions do not fit the columns.
            DataError: if a column cannot hold the given value.

        Example:
            >>> found = table.evidence({"smoker": "yes"}, n=64)
            >>> bool(0.1 < np.exp(found.log_prob) < 0.4), round(found.effective)  # a quarter of the rows
            (True, 64)
        """
        rows = self.draw(n, given=given, seed=seed, importance_resample=importance_resample)
        return evidence_of(self, given, [rows.log_evidence], rows.effective)

    def draw(
        self,
        n: int,
        *,
        given: Mapping[str, Any] | None = None,
        seed: int = 0,
        importance_resample: bool = False,
        placeholders: bool = False,
        on_progress: OnProgress = silent,
    ) -> DrawnRows:
        """Draw the rows of `sample` as a `Frame`, with the effective sample size and the evidence of the conditions.

        Example:
            >>> table.draw(5, given={"smoker": {"yes", "no"}}).names
            ('age', 'smoker')
        """
        check_process()
        found = list[tuple[int, float, float]]()  # of each block: rows, effective sample size, evidence

        def counted() -> Iterator[Frame]:
            for rows in self.blocks(n, given=given, seed=seed, importance_resample=importance_resample):
                found.append((len(rows), rows.effective, rows.log_evidence))
                on_progress(Progress(sum(count for count, _, _ in found), n))
                yield rows

        made = joined(counted(), check_count(n, "rows"))
        if placeholders:
            made = self.schema.with_placeholders(made)
        _, effective, evidence = zip(*found, strict=True)
        return DrawnRows(made.columns, sum(effective), _log_mean(np.array(evidence)))

    def blocks(
        self, n: int, *, given: Mapping[str, Any] | None = None, seed: int = 0, importance_resample: bool = False
    ) -> Iterator[DrawnRows]:
        """Yield the rows of `draw` block by block, so that they need not fit into memory together.

        If no candidate of a block meets the conditions, the block is empty.

        Example:
            >>> sum(len(block) for block in table.blocks(100))
            100
        """
        return draw_blocks(self.orders, n, given or {}, seed, importance_resample=importance_resample)

    # --- scoring ---

    def likelihood(
        self,
        data: Any,
        *,
        orders: int = 1,
        laplace: bool = False,
        seed: int = 0,
        on_progress: OnProgress = silent,
        name: str = "the data",
    ) -> RowLikelihood:
        """Compute log p of rows by the chain rule.

        Args:
            data: n rows, or `Blocks` of rows, which need not fit into memory together.
            orders: number of column orders over which p is averaged; 1 uses the model's fixed order alone.
            laplace: give an impossible entry the probability 1 / (training rows + 1) instead of 0.
            seed: random seed of the other orders.
            on_progress: called with the number of rows scored so far.
            name: name of the data in messages.

        Example:
            >>> found = table.likelihood({"age": [31, 47], "smoker": ["yes", None]}, orders=2)
            >>> found.log_prob.shape
            (2,)
        """
        check_process()
        orders = check_count(orders, "orders")
        rows = data if isinstance(data, Blocks) else Blocks.of_frame(self.schema.frame(data, name=name))
        unmaskers = [self.orders.own, *(self.orders.random(seed, k) for k in range(1, orders))]
        found, impossible, done = [], [], 0
        for part in rows.read():
            encoded = self.schema.encode(part, name=name, unseen="mark")
            if not len(encoded):
                continue
            strange = (encoded.codes == IMPOSSIBLE).sum(axis=1) + encoded.other
            loss = np.log(self.schema.rows + 1.0) if laplace else np.inf
            parts = [self.orders.log_prob_parts(one, part, encoded) for one in unmaskers]
            each = np.stack([log_p.sum(axis=1) + factor for log_p, factor in parts])
            found.append(np.where(strange > 0, each - np.where(strange > 0, strange, 1) * loss, each))
            impossible.append(strange)
            done += len(encoded)
            on_progress(Progress(done, rows.rows))
        if not found:
            raise DataError(f"{name} has no rows; expected at least 1.")
        every = np.concatenate(found, axis=1)
        mean = np.logaddexp.reduce(every, axis=0) - np.log(orders)
        with np.errstate(invalid="ignore"):
            spread = every.std(axis=0) if orders > 1 else np.full(every.shape[1], np.nan)
        return RowLikelihood(mean, spread, np.concatenate(impossible).astype(np.int64), self.rules)

    # --- filling in ---

    def impute(self, data: Any, *, draws: int | None = None, seed: int = 0, on_progress: OnProgress = silent) -> Any:
        """Fill in missing entries with draws given the observed entries of their row, which stay the same to the bit.

        Args:
            data: rows (n, d) with missing entries, in any kind of table; the result has the same form. An impossible
                entry, such as an unseen label, stays; the other entries of its row are drawn as if it were unknown.
            draws: number of tables, returned as a list; their spread is the uncertainty. None returns one table.
            seed: random seed.
            on_progress: called with the number of rows filled in so far, over all draws.

        Raises:
            DataError: if a column has another type; the message names the row and the column.

        Example:
            >>> table.impute({"age": [31, 47], "smoker": ["no", None]})["age"].tolist()
            [31, 47]
            >>> draws = table.impute({"age": [31, 47], "smoker": ["no", None]}, draws=3)
            >>> len(draws), [one["smoker"][0] for one in draws]  # what is known comes back
            (3, ['no', 'no', 'no'])
        """
        check_process()
        count, kind = 1 if draws is None else check_count(draws, "draws"), Template.of(data)
        given = self.schema.named(data)
        rows, names = Blocks.of_frame(self.schema.frame(given)), [name for name in given.names if name in self.columns]
        kind = kind.without([j for j, name in enumerate(given.names) if name not in names])
        tables = fill_blocks(self.orders, rows, count, seed, on_progress, "the data")
        made = [with_index(joined(parts, rows.rows).select(names).like(kind), data) for parts in tables]
        return made[0] if draws is None else made

    # --- one column given the others ---

    def predict(
        self,
        data: Any,
        column: str,
        *,
        quantiles: Sequence[float] = QUANTILES,
        draws: int = DRAWS,
        seed: int = 0,
        on_progress: OnProgress = silent,
    ) -> Any:
        """Predict the distribution of one column given the other observed entries of each row.

        Args:
            data: n rows. They may lack `column`; if they have it, its values are not used. A missing entry
                counts as unknown, or as known to be missing if the model learned missing entries of its column. An
                impossible entry, such as an unseen label, counts as unknown.
            column: a column that varies.
            quantiles: for numbers and dates, numbers between 0 and 1.
            draws: for numbers and dates, the number of draws per row from which the columns are computed.
            seed: random seed.
            on_progress: called with the number of rows predicted so far.

        Returns:
            n rows, in the same form as `data`. For labels: "label", the most probable one, and "p(a)" for each label a.
            For numbers: "mean", "sd" and a column such as "q0.05" for each quantile, in the data's units. Quantiles are
            possible values of the column. For dates the same, with "sd" in days.

        Raises:
            UsageError: if the column does not exist or does not vary, or a quantile is not between 0 and 1.
            DataError: if another column is missing or additional, there are no rows, or an entry has another type.

        Example:
            >>> sorted(table.predict({"age": [31, 47]}, "smoker"))
            ['label', 'p(no)', 'p(yes)']
            >>> sorted(table.predict({"smoker": ["no"]}, "age", quantiles=(0.1, 0.9)))
            ['mean', 'q0.1', 'q0.9', 'sd']
        """
        check_process()
        rows = Blocks.of_frame(rows_without(self.schema, data, column, "the data"))
        parts = [*predict_blocks(self.orders, rows, column, quantiles, draws, seed, on_progress, "the data")]
        found = AnsweredRows(joined(parts, rows.rows).columns, sum(part.ignored for part in parts))
        return with_index(found.as_kind_of(data), data)

    def predict_proba(self, data: Any, column: str) -> tuple[Array, list[Any]]:
        """Return p(label | the other observed entries) for each row, (n, l), and the l labels of a column.

        The labels of a column of few numbers, such as 0 and 1, are these numbers. `data` is as in `predict`.

        Raises:
            UsageError: if the column is not learned, or has neither labels nor few numbers.
            DataError: as in `predict`.

        Example:
            >>> p, labels = table.predict_proba({"age": [31, 47]}, "smoker")
            >>> p.sum(axis=1).round(3).tolist(), labels
            ([1.0, 1.0], ['no', 'yes'])
        """
        check_process()
        return label_probabilities(self.orders, data, column)

    # --- evaluation ---

    def evaluate(
        self, data: Any = None, *, n: int = ROWS, target: str | None = None, seed: int = 0, verbose: bool = False
    ) -> Evaluation[TableDetails]:
        """Compare synthetic rows with real rows: the held-out rows of the training, or other rows.

        Args:
            data: a data set, a file or rows in memory; None uses the model's training data.
            n: number of synthetic rows.
            target: a column to predict, with a model trained on synthetic rows and one trained on real rows.
            seed: random seed of the rows and of the metrics.
            verbose: show progress.

        Raises:
            UsageError: if the rows are not available: pass a table that was in memory again.
            DataError: if the rows have other columns or cannot be used.

        Example:
            >>> table.evaluate({"age": [31, 47, 25, 62] * 5, "smoker": ["no", "yes"] * 10}, n=50).rows["synthetic"]
            50
        """
        from motes.evaluation.models import evaluate_table_model

        return evaluate_table_model(self, data, n=n, target=target, seed=seed, reporter=Reporter(not verbose))

    def diagnose(self, data: Any = None, *, seed: int = 0) -> TableDiagnosis:
        """Find problems of the model, the option that fixes each, and what the model learned about each column.

        Args:
            data: as in `evaluate`; up to 2,000 rows are scored.
            seed: random seed.

        Raises:
            UsageError: if the rows are not available, or too few.

        Example:
            >>> fresh = {"age": [31, 47, 25, 62] * 5, "smoker": ["no", "yes", "no", "no"] * 5}
            >>> table.diagnose(fresh).columns
            ('age', 'smoker')
        """
        from motes.evaluation.table_diagnosis import table_diagnosis

        return table_diagnosis(self, data, seed=seed)

    def plot(self, data: Any = None, *, n: int = 2000, seed: int = 0, style: str = "light") -> Figure:
        """Draw the distribution of each column in synthetic rows.

        Args:
            data: real rows, in any kind of table, shown as areas.
            n: number of synthetic rows.
            seed: random seed.
            style: "light" or "dark".

        Example:
            >>> len(table.plot(n=100).axes)
            2
        """
        from motes import plots

        shown = self.schema.contents(self.draw(check_count(n, "samples"), seed=seed))
        real = None if data is None else as_frame(data).select(shown.names)
        ours, theirs = ({name: rows[name] for name in shown.names} for rows in (shown, real or shown))
        return plots.marginals(ours, None if real is None else theirs, title=f"{n:,} samples", style=style)

    def report(self, path: str | Path, data: Any = None, *, show_rows: bool = False, **options: Any) -> Path:
        """Write the evaluation as one HTML page and return its path; `options` are passed to `evaluate`.

        The page shows no real rows unless `show_rows` is True; then it shows ten training rows.

        Raises:
            UsageError: as in `evaluate`; or if the name does not end in .html, or the folder does not exist or is not
                writable.
            DataError: as in `evaluate`.

        Example:
            >>> fresh = {"age": [31, 47, 25, 62] * 5, "smoker": ["no", "yes", "no", "no"] * 5}
            >>> table.report("report.html", fresh, n=50).name
            'report.html'
        """
        from motes.plots import write_page
        from motes.plots.report import check_page

        check_page(path)
        return write_page(self.evaluate(data, **options), path, show_rows=show_rows)

    # --- on disk ---

    def parts(self) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
        """Return the model as arrays and texts by name; `of_parts` restores it.

        Example:
            >>> tensors, about = table.parts()
            >>> sorted(about)[:3]
            ['fingerprint', 'recipe', 'schema']
        """
        arrays, about = self.schema.to_state()
        tensors = arrays_of(self.models) | {f"schema.{name}": array for name, array in arrays.items()}
        tensors |= {"order": np.asarray(self.orders.order, np.int32), "slopes": self.orders.slopes}
        tensors |= {f"bias.{g}": np.asarray(one) for g, one in enumerate(self.orders.bias)}
        tensors["tilt"] = self.orders.tilt
        if self.constraint.rules:
            tensors |= {"cases.patterns": self.constraint.patterns, "cases.counts": self.constraint.counts}
        texts = {"schema": json.dumps(about), "recipe": self.recipe.to_toml()}
        return tensors, texts | texts_of(self) | {"table": FORMAT}

    @classmethod
    def of_parts(cls, tensors: dict[str, NDArray[Any]], about: Mapping[str, str], path: Path) -> TableModel:
        """Restore a model from `parts`, with any additions of `Model.save` or an estimator, from the file `path`.

        Raises:
            ModelFileError: if the arrays and texts are not a model of a table.

        Example:
            >>> from pathlib import Path
            >>> from motes.tables.model import TableModel
            >>> TableModel.of_parts(*table.parts(), Path("people.safetensors")).columns
            ('age', 'smoker')
        """
        import tomllib

        if about.get("table") != FORMAT:
            got = about.get("table", "1")
            raise ModelFileError(
                f"'{path}' is a table model in format {got}; this version of motes reads format {FORMAT}. "
                "Train it again."
            )
        tensors = {name: array for name, array in tensors.items() if name != KEY and not name.startswith("estimator.")}
        with reading(path):
            provenance, length = read_provenance(about)
            of_schema = [name for name in tensors if name.startswith("schema.")]
            arrays = {name.removeprefix("schema."): tensors.pop(name) for name in of_schema}
            schema = Schema.from_state(arrays, json.loads(about["schema"]))
            rows_of_codes = check_schema(schema)
            recipe, order = TableRecipe.parse(tomllib.loads(about["recipe"])), tensors.pop("order")
            bias = [tensors.pop(f"bias.{g}") for g in range(sum(name.startswith("bias.") for name in tensors))]
            slopes, tilt, constraint = tensors.pop("slopes"), tensors.pop("tilt"), Constraint()
            if rules := (*schema.bound, *schema.rules):
                cases = tensors.pop("cases.patterns"), tensors.pop("cases.counts")
                constraint = Constraint.of(rules, *cases, schema.rows)
            models = filled(skeleton_of(layout_of(schema), tensors), tensors, path)
            orders = AnyOrderModel(schema, models, np.asarray(order), slopes, tuple(bias), tilt, constraint)
            check_table(orders, rows_of_codes)
        made = cls(orders, recipe, provenance=provenance)
        made.folder, made.length = path.parent, length
        return made

    def __getstate__(self) -> dict[str, Any]:
        # NumPy arrays, so that the pickle can be read on another device, or without one.
        return dict(zip(("tensors", "about"), self.parts(), strict=True)) | {"template": self.template}

    def __setstate__(self, state: dict[str, Any]) -> None:
        made = TableModel.of_parts(dict(state["tensors"]), state["about"], Path("pickle"))
        self.__dict__.update(vars(made), folder=None, template=state["template"])


def _log_mean(logs: Array) -> float:
    return float(np.logaddexp.reduce(logs) - np.log(len(logs))) if len(logs) else 0.0


def evidence_of(
    model: TableModel, given: Mapping[str, Any], log_evidence: Sequence[float], effective: float
) -> Evidence:
    """Return how probable a condition is, with warnings if it is rare.

    Args:
        model: the model that drew the rows.
        given: the condition.
        log_evidence: log-evidence of each block of rows.
        effective: effective sample size, summed over the blocks.
    """
    check_process()
    if not given:
        return Evidence(0.0, (), effective, ())
    log_prob, schema = _log_mean(np.array(log_evidence)), model.schema
    requested = conditions_of(schema, given)
    valued = requested.valued(schema)
    density, warnings = _density_columns(schema, requested.row), list(_warn_broken(model, requested, valued))
    if not density:
        return Evidence(log_prob, (), effective, (*warnings, *_warn_rare(given, log_prob)), model.rules)

    def log_probs(rows: Frame) -> Array:
        encoded = schema.only(schema.encode(rows), valued)
        parts, factor = model.orders.log_prob_parts(model.orders.own, rows, encoded)
        return np.asarray(parts.sum(axis=1) + factor)

    known, least = float(log_probs(requested.row)[0]), float(log_probs(model.draw(USUAL)).min())
    warnings += _warn_rare(requested.others, log_prob - known) if requested.others else []
    if known < least - FAR:
        warnings.append(
            f"the log-density of {_quote_names(valued)} is {known:.2f} nats; the lowest among {USUAL} synthetic rows "
            f"is {least:.2f}. The training data had hardly any such row, so the result is a guess."
        )
    return Evidence(log_prob, density, effective, tuple(warnings), model.rules)


def _warn_broken(model: TableModel, requested: RowConditions, valued: Sequence[str]) -> Iterator[str]:
    """Yield a warning for each rule without exceptions that the known values break."""
    sides = observed_sides(model.schema, valued, requested.row, model.schema.encode(requested.row))
    for rule in model.constraint.rules if sides else ():
        if rule.shares[0] == 0 and broken_by((rule,), sides).any():
            yield f"the condition breaks the rule {rule.words}, so rules do not apply to the other columns."


def _warn_rare(columns: Mapping[str, Any], log_prob: float) -> Iterator[str]:
    if log_prob < RARE:
        yield (
            f"the condition on {_quote_names(columns)} has probability {np.exp(log_prob):.2g}, below 1 in 10,000. The "
            "training data had hardly any such row, so the result is a guess."
        )


def _quote_names(columns: Any) -> str:
    return ", ".join(f"'{name}'" for name in columns)


def _density_columns(schema: Schema, row: Frame) -> tuple[str, ...]:
    """Return the columns whose value in `row` has a density instead of a probability."""
    encoded = schema.encode(row)
    found = []
    for j, part in enumerate(schema.parts):
        code = int(encoded.codes[0, j])
        if part.smooth and part.edges is not None and encoded.observed[0, j] and code < len(part.edges) - 1:
            wide = part.edges[code] < part.edges[code + 1]
            # A rounded number has a density too: the mass of its rounding interval over its width, in the data's units.
            if wide and (encoded.low[0, j] == encoded.high[0, j] or encoded.log_unit[0, j] != 0):
                found.append(part.column)
    return tuple(dict.fromkeys(found))


# --- Checks of a loaded model: that a fit could have produced it ------------------------------------------------------


SUM = 1e-6  # tolerance of the sum of shares


def check_table(orders: AnyOrderModel, rows: Encoded) -> None:
    """Check that orders, biases and rules fit the schema and the network.

    Args:
        orders: the model, whose schema and network are already checked.
        rows: the rows returned by `check_schema`, on which the relations are tried.

    Raises:
        ArithmeticError, LookupError, TypeError, ValueError: if they do not fit.
    """
    schema, layout, base = orders.schema, orders.layout, orders.models.base
    order, p = orders.order, len(schema.parts)
    whole = order.shape == (p,) and order.dtype.kind == "i"
    require(whole and sorted(order.tolist()) == list(range(p)), "its order of the parts is not a permutation")
    place = np.argsort(order)
    parts = [schema.parts_of(column) for column in schema.learned]
    require(all(np.all(np.diff(place[own]) > 0) for own in parts), "its order has a fine part before a coarse one")
    members = len(orders.models.network.hidden)
    shapes = [group.log_masses.shape for group in layout.groups]
    biases = [one.shape for one in orders.bias] == [(members, *shape) for shape in shapes]
    require(biases and all(np.isfinite(one).all() for one in orders.bias), "its biases")
    axes = len(layout.axes)
    square = orders.slopes.shape == (axes, axes) and orders.tilt.shape == (members, axes, axes)
    finite = all(np.isfinite(one).all() for one in (orders.slopes, orders.tilt))
    require(square and finite, "its regressions")
    covariances = np.asarray(base.covariances, np.float64)
    require(all(is_covariance(one) for member in covariances for one in member), "the covariances of its mixture")
    patterns, counts, rules = orders.constraint.patterns, orders.constraint.counts, orders.constraint.rules
    if rules:
        fine = patterns.shape == (*counts.shape, len(rules)) and counts.ndim == 1
        fine = fine and bool(((patterns >= -1) & (patterns < [len(rule.shares) for rule in rules])).all())
        require(fine and counts.dtype.kind in "iu" and bool((counts > 0).all()), "how often rows break its rules")
        require(bool((patterns != 0).all(axis=1).any()), "that no row keeps its rules")
    with np.errstate(all="ignore"):
        orders.reader.read(rows)


def check_schema(schema: Schema) -> Encoded:
    """Check that a schema is consistent, and return encoded rows that contain every token of every part.

    These rows are decoded and encoded again, so that for any kind the model can read the rows that it draws.

    Raises:
        ArithmeticError, LookupError, TypeError, ValueError: if the schema is inconsistent.
    """
    check_types(schema)
    learned, kept = schema.learned, schema.kept
    require(len({*schema.names}) == len(schema.names), "two columns have one name")
    apart = [*learned, *kept, *schema.identifiers]
    require(sorted(apart) == sorted(schema.names), "a column is neither learned nor constant nor set aside, or both")
    require(len(learned) > 0 and schema.rows > 0, "no column is learned")
    shares = schema.missing_shares
    require(len(shares) == len(learned) and all(0 <= share < 1 for share in shares), "shares of missing entries")
    weights, rates = schema.missing_patterns.weights, schema.missing_patterns.rates
    fine = weights.ndim == 1 and rates.shape == (len(weights), len(shares)) and len(weights) <= PATTERNS + 1
    fine = fine and bool((weights > 0).all() and abs(weights.sum() - 1) < SUM and ((rates >= 0) & (rates <= 1)).all())
    # The patterns must give each column its own share of missing entries.
    fine = fine and bool(((rates > 0).any(axis=0) == (np.array(shares) > 0)).all())
    require(fine and bool((abs(weights @ rates - shares) < SUM).all()), "which entries are missing together")
    for one in kept.values():
        require(one.values.shape == one.missing.shape == (1,), "a constant column has no single cell")
        one.cells()  # raises if the cell is invalid
    for aside in schema.identifiers.values():  # placeholders are texts, or whole numbers that fit their type
        most = {"label": 1, "whole": 2**63 - ROOM, "real": 2**53 - ROOM}.get(aside.type, 0)
        require(abs(aside.first) < most, "the placeholders of a column")
        require(all(min(pair) > 0 for pair in aside.repeats.items()), "how often the placeholders of a column repeat")
    with np.errstate(all="ignore"):
        schema.check_stated()
        for part in schema.parts:
            _check_part(part)
        _check_relations(schema)
        _check_relatives(schema)
        return _check_round_trip(schema)


def _check_part(part: Part) -> None:
    """Check the arrays of a part against the description of `Part`."""
    masses, count = part.masses, part.count - part.missing
    fine = masses.ndim == 1 and count > 0 and (masses > 0).all() and abs(masses.sum() - 1) < SUM
    require(bool(fine), f"the shares of '{part.name}'")
    if part.edges is not None:
        rising = part.edges.shape == (count + 1,) and (part.edges[:-1] <= part.edges[1:]).all()  # False with NaN
        require(bool(rising), f"the ends of '{part.name}' do not rise")
    require(part.single is None or part.single.shape == (count,), f"the codes of '{part.name}'")
    if (repeats := part.repeats) is not None:
        shares = repeats.again.shape == (count,) and ((repeats.again >= 0) & (repeats.again <= 1)).all()
        values = repeats.y.shape == repeats.within.shape and (np.diff(repeats.y) >= 0).all()
        require(bool(shares and values and (repeats.within > 0).all()), f"the repeated values of '{part.name}'")


def _check_relations(schema: Schema) -> None:
    """Check that relations, dependencies and rules are between learned columns of suitable kinds."""
    kinds = {kind.column: kind for kind in schema.kinds}
    for rule in (*schema.relations, *schema.dependencies, *schema.rules):
        columns = [kinds[column] for column in rule.columns]  # a KeyError if one is not learned
        require(len({*rule.columns}) == len(columns) > 1, "a relation of a column with itself")
        if isinstance(rule, Relation):
            gridded = all(kind.measure == "number" and kind.step is not None for kind in columns)
            require(gridded, "a relation of other columns than numbers")
            fits = len(rule.weights) == len(columns) and all(rule.weights)
            require(fits and 0 <= rule.share <= 1 and rule.step > 0, "the weights of a relation")
            rounded = len(rule.rounded) == (len(columns) if rule.within or rule.tolerance else 0)
            rounded &= 0 <= rule.within < 1 and rule.tolerance >= 0 and all(0 <= share <= 1 for share in rule.rounded)
            require(rounded, "the rounding of a relation")
        elif isinstance(rule, Inequality):
            alike = columns[0].measure == columns[1].measure is not None
            require(alike, "an inequality of other columns than numbers or dates")
            gaps = len(rule.ends) == (len(rule.within) + 1 if rule.within else 0) and (np.diff(rule.ends) > 0).all()
            fits = bool(gaps) and all(share > 0 for share in rule.within) and abs(sum(rule.shares) - 1) < SUM
            require(fits and 0 <= rule.share <= 1, "the gaps of an inequality")
        elif isinstance(rule, Exclusion):
            codes, counts = rule.codes, [len(kind.own_labels) for kind in columns]
            counts[1] = len(rule.numbers) or counts[1]
            require(rule.numbers.ndim == 1 and bool((np.diff(rule.numbers) > 0).all()), "the numbers of an exclusion")
            fits = codes.ndim == 2 and codes.shape[1] == 2 and bool(((codes >= 0) & (codes < counts)).all())
            require(fits and len(codes) > 0, "the pairs of an exclusion")
        else:
            given, column = len(columns[0].own_labels) + len(columns[0].rare_rows), len(columns[1].own_labels)
            codes = rule.codes
            inside = codes.ndim == 1 and len(codes) <= given and ((codes >= -1) & (codes < column)).all()
            fits = 0 <= rule.broken <= rule.rows <= rule.total > 0
            require(bool(inside) and fits, "the codes of a dependency")


def _check_relatives(schema: Schema) -> None:
    """Check that histograms are relative to learned columns of suitable kinds, and that their cells are valid."""
    kinds = {kind.column: kind for kind in schema.kinds}
    for relative in schema.relatives:
        kind, given, group = kinds[relative.column], [kinds[column] for column in relative.given], relative.group
        others = [kind, *(one for one in given if group is None or one.column != group.column)]
        alike = all(is_given(one) and one.measure == kind.measure for one in others)
        require(alike and len(given) > 0 and kind not in given, "a histogram relative to unsuitable columns")
        require(kind.parts[0].has_density and kind.lines[0] is not None, "a histogram of a column without a density")
        if group is not None:
            require(is_group(kinds[group.column]) and not relative.others, "a histogram relative to unsuitable groups")
            require(group.keys.ndim == 1 and len(group.keys) > 0, "the groups of a histogram")
            require(group.keys.shape == group.means.shape == group.weights.shape, "the groups of a histogram")
            require(bool((np.abs([group.keys, group.means]) < LARGEST).all()), "the means of groups")
            require(bool((np.diff(group.keys) > 0).all() and (group.weights > 1).all()), "the weights of groups")
        edges, masses = relative.edges, relative.masses
        fine = masses.ndim == 1 and edges.shape == (len(masses) + 1,) and 0 < len(masses) <= CELLS
        fine = fine and bool(np.isfinite(edges).all() and (np.diff(edges) > 0).all() and (masses > 0).all())
        weights = len(relative.weights) == len(relative.others) and bool(
            np.isfinite([*relative.weights, relative.gain]).all()
        )
        require(fine and bool(abs(masses.sum() - 1) < SUM) and weights, "the cells of a histogram")


def _check_round_trip(schema: Schema) -> Encoded:
    """Decode rows with every token of every part, encode them again, check and return them."""
    rows = np.arange(max(part.count for part in schema.parts))[:, None]
    codes = np.minimum(rows, [part.count - part.missing - 1 for part in schema.parts])
    y = np.zeros(codes.shape)
    for j, part in enumerate(schema.parts):
        ends = part.draw_range
        if part.edges is not None and ends is not None:
            require(bool(np.isfinite(ends).all()) and ends[0] <= ends[1], f"the range of '{part.name}'")
            inside = np.clip(part.edges, *ends)
            y[:, j] = ((inside[:-1] + inside[1:]) / 2)[codes[:, j]]
    frame = schema.decode(codes, y, np.full(codes.shape, 0.5))
    for series in frame.columns.values():
        series.take(slice(0, 1)).cells()
    encoded = schema.encode(frame, unseen="mark")
    counts = np.array([part.count for part in schema.parts])
    # A day that the month does not have becomes another day, which may not occur in the training rows.
    alone = np.array([len(kind.parts) == 1 for kind in schema.kinds for _ in kind.parts])
    require(bool(((encoded.codes >= np.where(alone, 0, -1)) & (encoded.codes < counts)).all()), "its codes")
    places = np.stack([encoded.y, encoded.log_unit])
    require(bool(np.isfinite(places).all() and (encoded.low <= encoded.high).all()), "its places")
    return encoded
