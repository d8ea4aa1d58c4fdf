"""A trained model of a table of any columns, in the data's own units and types.

    p(x) = product over columns of p(x_j | those before it),    in one order, which is the model's distribution

It is a `Schema` between the table and codes, and the members that were learned of the codes. It answers for any subset
of the columns: what is known is seen first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from numpy.typing import NDArray

from motes.data._blocks import Blocks
from motes.data._frames import Frame, joined
from motes.data._templates import KEY
from motes.errors import DataError, ModelFileError, UsageError, check_count, check_process
from motes.learning._averages import Averages
from motes.learning._checkpoints import arrays_of, complete_name, filled, read_checkpoint, reading, write_checkpoint
from motes.learning._weights import weights_of, with_weights
from motes.learning.tables._course import Trained
from motes.learning.tables._fitting import options_of
from motes.learning.tables._layout import layout_of
from motes.learning.tables._links import Linker
from motes.learning.tables._model import MaskedModel, knows_labels, skeleton_of
from motes.learning.tables._rows import Reader
from motes.models._checks import check_origin, check_table
from motes.models._kept_averages import checked, read_averages, run_name, write_averages
from motes.models._points import PointModel, model_path
from motes.models._provenance import Provenance, provenance_of, texts_of
from motes.models._table_adjusting import adjusted
from motes.models._table_draws import Drawn, draw_blocks
from motes.models._table_fillings import fill_blocks
from motes.models._table_predictions import (
    DRAWS,
    QUANTILES,
    Predicted,
    label_probabilities,
    predict_blocks,
    rows_without,
)
from motes.recipes import TableRecipe
from motes.sampling._constraint import Constraint, observed_sides
from motes.sampling._orders import AnyOrder
from motes.sampling._unmasking import Unmasker
from motes.tables._checks import check_schema
from motes.tables._parts import IMPOSSIBLE
from motes.tables._schema import Schema

Array = NDArray[np.float64]
Integers = NDArray[np.integer]


FORMAT = "3"  # of what a file holds of a table


class RowLikelihood(NamedTuple):
    """log p of rows.

    Attributes:
        log_prob: (n,), nats a row, in the data's units.
        spread: (n,), the standard deviation over orders; NaN with one order.
        impossible: (n,), how many entries are none that the training could have held.

    Example:
        >>> found = table.inner.likelihood({"age": [31, 99], "smoker": ["yes", "no"]})
        >>> found.log_prob.shape, found.impossible.tolist()
        ((2,), [0, 1])
    """

    log_prob: Array
    spread: Array
    impossible: NDArray[np.int64]

    def __repr__(self) -> str:
        return f"RowLikelihood({len(self.log_prob):,} rows, mean log p {self.log_prob.mean():.4g})"


class TableModel:
    """What was learned of a table.

    Attributes:
        orders: what was learned, in the model's own order of the parts and in any other.
        recipe: what it was trained by.
        source, fingerprint, seed: its `Provenance`.
        training: losses, where it was trained in this process; None where it was loaded.
        folder: where it was loaded from; None where it was trained in this process.
        length: of the average that its weights are, where `averaged_over` made it; None for the recipe's own.

    Example:
        >>> inner = table.inner
        >>> inner.columns, [column.kind for column in inner.schema.columns]
        (('age', 'smoker'), ['integer', 'categorical'])
    """

    def __init__(
        self,
        orders: AnyOrder,
        recipe: TableRecipe,
        *,
        provenance: Provenance = Provenance(),
        training: Trained | None = None,
    ):
        self.orders = orders
        self.recipe = recipe
        self.source, self.fingerprint, self.seed = provenance.source, provenance.fingerprint, provenance.seed
        self.training = training
        self.folder: Path | None = None
        self.length: float | None = None
        self._lowest: dict[tuple[tuple[str, ...], int], float] = {}

    def __repr__(self) -> str:
        on = f" of {self.source}" if self.source else ""
        return f"TableModel{on} ({len(self.columns)} columns, {self.parameters:,} parameters)"

    @property
    def schema(self) -> Schema:
        """Between the table and codes."""
        return self.orders.schema

    @property
    def models(self) -> MaskedModel:
        """The members, with a leading axis."""
        return self.orders.models

    @property
    def order(self) -> Integers:
        """Place -> part, in which rows are drawn and scored, (p,)."""
        return self.orders.order

    @property
    def constraint(self) -> Constraint:
        """The rules between columns that rows keep."""
        return self.orders.constraint

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns."""
        return self.schema.names

    @property
    def example(self) -> Frame:
        """A row that the training could have held: the first code of every part.

        Example:
            >>> table.inner.example["smoker"].tolist()
            ['no']
        """
        return self.schema.decode(*np.zeros((3, 1, len(self.schema.parts))))

    @property
    def parameters(self) -> int:
        """How many numbers were learned."""
        return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(self.models, eqx.is_array)))

    @property
    def reader(self) -> Reader:
        """Between entries and what the network takes."""
        return self.orders.reader

    @property
    def unmasker(self) -> Unmasker:
        """The model's distribution: members in its own order, with its biases."""
        return self.orders.own

    # --- averages ---

    @cached_property
    def averages(self) -> Averages | None:
        """What its training stored to make averages of any length from, read from its folder where it was loaded."""
        if self.training is not None or self.folder is None:
            return self.training.averages if self.training else None
        return read_averages(self.folder, self._run, int(weights_of(self.models.network).size))

    def averaged_over(self, sigma_rel: float) -> TableModel:
        """The same model with another average of its weights, over this share of its training, such as 0.1.

        It is the standard deviation of the steps that count, as a share of all steps that were taken: it ends at the
        last one, also where validation rows found earlier weights best. Biases and rules are set anew.

        Raises:
            UsageError: a length out of range, or no averages were kept.
            ModelFileError: they are damaged, or of another model.

        Example:
            >>> longer = motes.fit(people, changes={"table.steps": 2, "table.averages": 2}, verbose=False)
            >>> longer.inner.averaged_over(0.1).length
            0.1
        """
        found = self.check_averages().over(sigma_rel)
        models = MaskedModel(with_weights(self.models.network, found), self.models.base)
        orders = replace(self.orders, models=models)
        calibrate = self.recipe.table.calibrate
        made = adjusted(orders.plain, self.schema, self.seed, calibrate=calibrate)
        if made.interrupted:
            raise KeyboardInterrupt
        orders = replace(orders, schema=made.schema, bias=tuple(made.bias), constraint=made.constraint)
        copied = copy(self)
        vars(copied).pop("averages", None)
        copied.orders, copied.length, copied._lowest = orders, sigma_rel, {}
        return copied

    def check_averages(self) -> Averages:
        """The averages that its training stored.

        Raises:
            UsageError: there are none.
            ModelFileError: they are damaged, or of another model.

        Example:
            >>> longer = motes.fit(people, changes={"table.steps": 2, "table.averages": 2}, verbose=False)
            >>> type(longer.inner.check_averages()).__name__
            'Averages'
        """
        return checked(self.averages, "; of a table with --set table.averages=32.")

    def save_averages(self, folder: Path) -> None:
        """Write what `averaged_over` needs beside the model file, where its training has kept anything.

        Raises:
            OSError: the folder is not there, cannot be written, or is full.

        Example:
            >>> from pathlib import Path
            >>> Path("run").mkdir()
            >>> longer = motes.fit(people, changes={"table.steps": 2, "table.averages": 2}, verbose=False)
            >>> longer.inner.save_averages(Path("run"))
            >>> [path.name for path in Path("run").iterdir()]
            ['averages.safetensors']
        """
        if self.averages is not None:
            write_averages(self.averages, folder, self._run)

    @property
    def _run(self) -> str:
        return run_name(self.recipe, self.fingerprint, self.seed)

    # --- drawing ---

    def sample(
        self,
        n: int,
        *,
        given: Mapping[str, Any] | None = None,
        seed: int = 0,
        exact: bool = False,
        placeholders: bool = False,
        on_block: Callable[[int], None] | None = None,
    ) -> Drawn:
        """Draw `n` new rows. `Frame.like` gives them the type of any table of these columns.

        Args:
            n: how many.
            given: what is known of them: column -> a value; a set: one of its values; (low, high), one of which may be
                None; None: missing; `Not(value)`.
            seed: of the draws.
            exact: under conditions, weigh rows by the model's own order and draw them again; see docs/conditions.md.
            placeholders: number the rows in columns that are set aside, as in `name-000001`; otherwise these are empty.
            on_block: called with the number of rows drawn so far.

        Raises:
            UsageError: what does not fit the columns or the model, or has probability 0.
            DataError: a value that its column cannot hold.

        Example:
            >>> table.inner.sample(5, given={"smoker": {"yes", "no"}}).names
            ('age', 'smoker')
        """
        check_process()
        effective, evidence, total = 0.0, [], 0

        def counted() -> Iterator[Frame]:
            nonlocal effective, total
            for rows in self.blocks(n, given=given, seed=seed, exact=exact):
                effective += rows.effective
                evidence.append(rows.log_evidence)
                total += len(rows)
                if on_block is not None:
                    on_block(total)
                yield rows

        made = joined(counted(), check_count(n, "rows"))
        if placeholders:
            made = self.schema.with_placeholders(made)
        return Drawn(made.columns, effective, _log_mean(np.array(evidence)))

    def blocks(
        self, n: int, *, given: Mapping[str, Any] | None = None, seed: int = 0, exact: bool = False
    ) -> Iterator[Drawn]:
        """The rows of `sample`, some at a time: they need never be in memory together.

        A block of candidates of which none meets the conditions comes as no rows.

        Example:
            >>> sum(len(block) for block in table.inner.blocks(100))
            100
        """
        return draw_blocks(self.orders, n, given or {}, seed, exact=exact)

    # --- scoring ---

    def score_samples(self, data: Any, *, orders: int = 1, smooth: bool = False) -> Array:
        """log p of the observed entries of each row, (n,), in nats of the data's units; a mass for discrete columns.

        Example:
            >>> table.inner.score_samples({"age": [31], "smoker": ["yes"]}).shape
            (1,)
        """
        return self.likelihood(data, orders=orders, smooth=smooth).log_prob

    def likelihood(
        self,
        data: Any,
        *,
        orders: int = 1,
        smooth: bool = False,
        seed: int = 0,
        on_block: Callable[[int], None] | None = None,
        name: str = "the data",
    ) -> RowLikelihood:
        """log p of rows by the chain rule.

        Args:
            data: n rows, or `Blocks` of them, which need never be in memory as a whole.
            orders: of the columns, of whose p the mean is taken; 1: the model's own, which is its distribution.
            smooth: give an entry that the training could not have held the mass 1 / (rows + 1) instead of 0.
            seed: of the other orders.
            on_block: called with the number of rows scored so far.
            name: what messages call the data.

        Example:
            >>> found = table.inner.likelihood({"age": [31, 47], "smoker": ["yes", None]}, orders=2)
            >>> found.log_prob.shape
            (2,)
        """
        check_process()
        orders = check_count(orders, "orders")
        rows = data if isinstance(data, Blocks) else Blocks.of_frame(self.schema.frame(data, name=name))
        unmaskers = [self.unmasker, *(self.orders.random(seed, k) for k in range(1, orders))]
        found, impossible, done = [], [], 0
        for part in rows.read():
            encoded = self.schema.encode(part, name=name, unseen="mark")
            if not len(encoded):
                continue
            strange = (encoded.codes == IMPOSSIBLE).sum(axis=1) + encoded.other
            loss = np.log(self.schema.rows + 1.0) if smooth else np.inf
            each = np.stack([self.orders.log_prob(one, encoded) for one in unmaskers])
            if columns := self.constraint.columns:
                each += self.constraint.log_factor(observed_sides(self.schema, columns, part, encoded))
            found.append(np.where(strange > 0, each - np.where(strange > 0, strange, 1) * loss, each))
            impossible.append(strange)
            done += len(encoded)
            if on_block is not None:
                on_block(done)
        if not found:
            raise DataError(f"{name} has no rows; expected at least 1.")
        every = np.concatenate(found, axis=1)
        mean = np.logaddexp.reduce(every, axis=0) - np.log(orders)
        with np.errstate(invalid="ignore"):
            spread = every.std(axis=0) if orders > 1 else np.full(every.shape[1], np.nan)
        return RowLikelihood(mean, spread, np.concatenate(impossible).astype(np.int64))

    def score_columns(self, rows: Frame, columns: Collection[str]) -> Array:
        """log p of some columns of rows (n,), as `score_samples`, where nothing is known of the others.

        Example:
            >>> from motes.data import as_frame
            >>> bool((table.inner.score_columns(as_frame(people), ["smoker"]) <= 0).all())
            True
        """
        encoded, constraint = self.schema.encode(rows), self.constraint
        here = np.array([part.column in columns for part in self.schema.parts])
        encoded = replace(encoded, observed=encoded.observed & here)
        found: Array = self.orders.log_prob(self.unmasker, encoded)
        if constraint.columns:
            found = found + constraint.log_factor(observed_sides(self.schema, constraint.columns, rows, encoded))
        return found

    def lowest(self, columns: tuple[str, ...], rows: int) -> float:
        """The least log p of these columns among so many drawn rows, always the same ones; it is computed once.

        Example:
            >>> table.inner.lowest(("smoker",), rows=64) <= 0
            True
        """
        if (columns, rows) not in self._lowest:
            self._lowest[columns, rows] = float(self.score_columns(self.sample(rows), columns).min())
        return self._lowest[columns, rows]

    # --- filling in ---

    def impute(
        self,
        data: Any,
        *,
        draws: int = 1,
        seed: int = 0,
        on_block: Callable[[int], None] | None = None,
        name: str = "the data",
    ) -> list[Frame]:
        """Fill in the missing entries, `draws` times, each time with a draw given the observed ones of the row.

        Args:
            data: rows (n); what is observed comes back to the bit, in the columns and the order that they have here.
            draws: how many tables; their spread is what is not known.
            seed: of the draws.
            on_block: called with the number of rows filled in so far, of all draws together.
            name: what messages call the data.

        Raises:
            DataError: an entry that its column cannot hold; the message names row and column.

        Example:
            >>> frames = table.inner.impute({"age": [31, 47], "smoker": ["no", None]}, draws=3)
            >>> len(frames), frames[0]["age"].tolist()
            (3, [31, 47])
        """
        check_process()
        given = self.schema.named(data, name=name)
        rows, names = Blocks.of_frame(self.schema.frame(given, name=name)), self.schema.here(given)
        parts = self.fillings(rows, draws=draws, seed=seed, on_block=on_block, name=name)
        return [joined(part, rows.rows).select(names) for part in parts]

    def fillings(
        self,
        rows: Blocks,
        *,
        draws: int = 1,
        seed: int = 0,
        on_block: Callable[[int], None] | None = None,
        name: str = "the data",
    ) -> Iterator[Iterator[Frame]]:
        """The tables of `impute` block by block, one after the other; `rows` have the columns of the schema.

        Example:
            >>> from motes.data import Blocks, as_frame
            >>> rows = Blocks.of_frame(as_frame({"age": [31, 47], "smoker": ["no", None]}))
            >>> [sum(len(block) for block in filled) for filled in table.inner.fillings(rows, draws=2)]
            [2, 2]
        """
        return fill_blocks(self.orders, rows, draws, seed, on_block, name)

    # --- one column given the others ---

    def predict(
        self,
        data: Any,
        column: str,
        *,
        quantiles: Sequence[float] = QUANTILES,
        draws: int = DRAWS,
        seed: int = 0,
        on_block: Callable[[int], None] | None = None,
        name: str = "the data",
    ) -> Predicted:
        """The distribution of one column given the other observed entries of each row.

        Args:
            data: n rows. They need not have `column`; what they hold there is not looked at. Missing entries stay
                hidden. An entry that the training could not have held counts as not observed.
            column: one of the columns that vary.
            quantiles: of a number or a date, shares between 0 and 1.
            draws: of a number or a date, for each row, from which its figures are computed.
            seed: of the draws.
            on_block: called with the number of rows done so far.
            name: what messages call the data.

        Returns:
            n rows. Of labels: "label", the most probable one, and "p(a)" for each label a. Of numbers: "mean", "sd" and
            a column such as "q0.05" for each quantile, in the data's units. Quantiles are values that the column can
            hold. Of dates the same, with "sd" in days.

        Raises:
            UsageError: a column that there is not or that does not vary, or quantiles that are no shares.
            DataError: another column too few or too many, no rows, or entries of another type.

        Example:
            >>> table.inner.predict({"smoker": ["no"]}, "age", quantiles=(0.1, 0.9)).names
            ('mean', 'sd', 'q0.1', 'q0.9')
        """
        check_process()
        rows = Blocks.of_frame(rows_without(self.schema, data, column, name))
        parts = list(predict_blocks(self.orders, rows, column, quantiles, draws, seed, on_block, name))
        return Predicted(joined(parts, rows.rows).columns, sum(part.ignored for part in parts))

    def predictions(
        self,
        rows: Blocks,
        column: str,
        *,
        quantiles: Sequence[float] = QUANTILES,
        draws: int = DRAWS,
        seed: int = 0,
        on_block: Callable[[int], None] | None = None,
        name: str = "the data",
    ) -> Iterator[Predicted]:
        """The rows of `predict`, some at a time; `rows` are those of `table_predictions.rows_without`.

        Example:
            >>> from motes.data import Blocks, as_frame
            >>> rows = Blocks.of_frame(as_frame(people).without(["smoker"]))
            >>> [block.names for block in table.inner.predictions(rows, "smoker")]
            [('label', 'p(no)', 'p(yes)')]
        """
        return predict_blocks(self.orders, rows, column, quantiles, draws, seed, on_block, name)

    def predict_proba(self, data: Any, column: str, *, name: str = "the data") -> tuple[Array, list[Any]]:
        """p(label | the other observed entries) of each row, (n, l), and the l labels of a categorical column.

        `data` is as in `predict`.

        Raises:
            UsageError: a column that is not learned, or has no labels.
            DataError: as `predict`.

        Example:
            >>> p, labels = table.inner.predict_proba({"age": [31, 47]}, "smoker")
            >>> p.sum(axis=1).round(3).tolist(), labels
            ([1.0, 1.0], ['no', 'yes'])
        """
        check_process()
        return label_probabilities(self.orders, data, column, name)

    # --- on disk ---

    def save(self, path: str | Path) -> None:
        """Write one `.safetensors` file, whole or not at all.

        Raises:
            UsageError: a name that does not end in .safetensors.
            OSError: the folder is not there, cannot be written, or is full.

        Example:
            >>> table.inner.save("people.safetensors")
            >>> motes.load("people.safetensors").columns
            ('age', 'smoker')
        """
        write_checkpoint(complete_name(path), *self.parts())

    def parts(self) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
        """Arrays and texts by name, of which `of_parts` makes the same model.

        Example:
            >>> tensors, about = table.inner.parts()
            >>> sorted(about)[:3]
            ['fingerprint', 'recipe', 'schema']
        """
        arrays, about = self.schema.to_state()
        tensors = arrays_of(self.models) | {f"schema.{name}": array for name, array in arrays.items()}
        tensors["order"] = np.asarray(self.orders.order, np.int32)
        tensors |= {f"bias.{g}": np.asarray(one) for g, one in enumerate(self.orders.bias)}
        if self.constraint.rules:
            tensors |= {"cases.patterns": self.constraint.patterns, "cases.counts": self.constraint.counts}
        texts = {"schema": json.dumps(about), "recipe": self.recipe.to_toml()}
        return tensors, texts | texts_of(self) | {"table": FORMAT}

    @classmethod
    def of_parts(cls, tensors: dict[str, NDArray[Any]], about: Mapping[str, str], path: Path) -> TableModel:
        """What `parts` gave, perhaps with what `motes.Model` or an estimator added; `path` is where it comes from.

        Raises:
            ModelFileError: anything else.

        Example:
            >>> from pathlib import Path
            >>> from motes.models import TableModel
            >>> TableModel.of_parts(*table.inner.parts(), Path("people.safetensors")).columns
            ('age', 'smoker')
        """
        import tomllib

        if about.get("table") != FORMAT:
            got = about.get("table", "1")
            raise ModelFileError(
                f"'{path}' is a model of a table in format {got}; this version of motes reads format {FORMAT}. "
                "Train it again."
            )
        tensors = {name: array for name, array in tensors.items() if name != KEY and not name.startswith("estimator.")}
        with reading(path):
            provenance, length = provenance_of(about)
            check_origin(provenance, length)
            arrays = {
                name.removeprefix("schema."): tensors.pop(name) for name in [*tensors] if name.startswith("schema.")
            }
            schema = Schema.from_state(arrays, json.loads(about["schema"]))
            recipe, order = TableRecipe.parse(tomllib.loads(about["recipe"])), tensors.pop("order")
            bias = [tensors.pop(f"bias.{g}") for g in range(sum(name.startswith("bias.") for name in tensors))]
            constraint = Constraint.none()
            if schema.rules:
                constraint = Constraint.counted(schema, tensors.pop("cases.patterns"), tensors.pop("cases.counts"))
            worth = schema.rows if len(tensors["network.hidden"]) == 1 else 0  # several members learned few entries
            labels = knows_labels(schema.parts, tensors["base.means"])
            skeleton = skeleton_of(
                layout_of(schema.parts, Linker.of(schema).links, schema.missing_patterns, labels=labels),
                tensors,
                options_of(recipe.table, worth, len(schema.parts))[0].dropout,
            )
            models = filled(skeleton, tensors, path)
            orders = AnyOrder(schema, models, np.asarray(order), tuple(bias), constraint)
            check_table(orders, check_schema(schema))
        made = cls(orders, recipe, provenance=provenance)
        made.folder, made.length = path.parent, length
        return made

    def __getstate__(self) -> dict[str, Any]:
        # Arrays of NumPy, so that it can be read where there is another device, or none.
        return dict(zip(("tensors", "about"), self.parts(), strict=True))

    def __setstate__(self, state: dict[str, Any]) -> None:
        made = TableModel.of_parts(dict(state["tensors"]), state["about"], Path("pickle"))
        self.__dict__.update(vars(made), folder=None)


def read_model(path: str | Path) -> PointModel | TableModel:
    """Read a model file, or the one in the folder of a run. No code in it is run.

    Raises:
        ModelFileError: no such file, another format, or any damage.
    """
    path = model_path(path)
    return of_checkpoint(*read_checkpoint(path), path)


def of_checkpoint(tensors: dict[str, NDArray[Any]], about: Mapping[str, str], path: Path) -> PointModel | TableModel:
    """The model of the arrays and texts of a file.

    Raises:
        ModelFileError: it is damaged.
    """
    return (TableModel if "schema" in about else PointModel).of_parts(tensors, about, path)


def load_points(path: str | Path, requested: str) -> PointModel:
    """Read the model file of points.

    Raises:
        UsageError: it is that of a table, to which what is asked does not apply.
        ModelFileError: as `read_model`.
    """
    model = read_model(path)
    if isinstance(model, TableModel):
        raise UsageError(
            f"got '{path}', a model of a table; expected a model of points, for `{requested}`. Give another one."
        )
    return model


def _log_mean(logs: Array) -> float:
    return float(np.logaddexp.reduce(logs) - np.log(len(logs))) if len(logs) else 0.0
