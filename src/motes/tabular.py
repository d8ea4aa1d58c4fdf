"""A trained model of a table of any columns, in the data's own units and types.

    p(x) = product over columns of p(x_j | those before it),    in one order, which is the model's distribution

It is a `Schema` between the table and codes, and the members that were learned of the codes. It answers for any subset
of the columns: what is known is seen first.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from numpy.typing import NDArray

from motes.data.blocks import Blocks
from motes.data.frames import Frame, joined
from motes.errors import DataError, ModelFileError, UsageError, check_count, check_seed, unknown
from motes.learning.checkpoints import arrays_of, filled, read_checkpoint, write_checkpoint
from motes.learning.tables.fitting import options_of
from motes.learning.tables.layout import Layout, layout_of
from motes.learning.tables.model import MaskedModel, skeleton_of
from motes.learning.tables.network import Rows
from motes.learning.tables.rows import Reader
from motes.learning.tables.training import Trained
from motes.model import Model, model_path
from motes.recipes import Recipe, parse
from motes.sampling.rows import Block, again, draw_block, in_turn, last_codes, log_prob_rows
from motes.sampling.unmasking import FEW, ROWS, Unmasker
from motes.tables.conditions import Conditions, NotMissing, conditions_of
from motes.tables.kinds.labels import Categorical
from motes.tables.parts import IMPOSSIBLE, Encoded
from motes.tables.schema import Schema

Array = NDArray[np.float64]
Integers = NDArray[np.integer]

FAILED = 4  # blocks in a row, after which a condition counts as impossible
CANDIDATES = 4  # rows that `exact` draws for each that is requested
RARE = -9.2  # log probability of a condition, below which a warning names it: one row in 10,000


@dataclass(frozen=True)
class Drawn(Frame):
    """Rows, and what is known of them.

    Attributes:
        effective: the effective sample size: how many independent rows they are worth.
        log_evidence: log p of the conditions, in nats of the data's units; 0 where there are none.
    """

    effective: float = 0.0
    log_evidence: float = 0.0


class RowLikelihood(NamedTuple):
    """log p of rows.

    Attributes:
        log_prob: (n,), nats a row, in the data's units.
        spread: (n,), the standard deviation over orders; NaN with one order.
        impossible: (n,), how many entries are none that the training could have held.
    """

    log_prob: Array
    spread: Array
    impossible: NDArray[np.int64]


class TableModel:
    """What was learned of a table.

    Attributes:
        schema: between the table and codes.
        models: the members, with a leading axis.
        order: place -> part, in which rows are drawn and scored, (p,).
        bias: of the codes of each group in that order, (M, G, K), by which marginals are right.
        recipe, source, seed, fingerprint: of the training.
        training: losses, where it was trained in this process; None where it was loaded.
    """

    def __init__(
        self,
        schema: Schema,
        models: MaskedModel,
        order: Integers,
        bias: Sequence[Any],
        recipe: Recipe,
        *,
        source: str = "",
        seed: int = 0,
        fingerprint: str = "",
        training: Trained | None = None,
    ):
        self.schema, self.models, self.order, self.bias = schema, models, np.asarray(order), tuple(bias)
        self.recipe, self.source, self.seed, self.fingerprint, self.training = (
            recipe,
            source,
            seed,
            fingerprint,
            training,
        )

    def __repr__(self) -> str:
        on = f" of {self.source}" if self.source else ""
        return f"TableModel{on}({len(self.columns)} columns, {self.parameters:,} parameters)"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns."""
        return self.schema.names

    @property
    def parameters(self) -> int:
        """How many numbers were learned."""
        return sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(self.models, eqx.is_array)))

    @cached_property
    def layout(self) -> Layout:
        """The parts as arrays."""
        return layout_of(self.schema.parts)

    @cached_property
    def reader(self) -> Reader:
        """Between entries and what the network takes."""
        return Reader.of(self.schema)

    @cached_property
    def _ranges(self) -> list[tuple[float, float] | None]:
        return [self.schema.draw_range(j) for j in range(len(self.schema.parts))]

    def _in_order(self, order: Integers) -> Unmasker:
        return Unmasker.of(self.models, self.layout, self.reader, order, self._ranges)

    @cached_property
    def unmasker(self) -> Unmasker:
        """The model's distribution: members in its own order, with its biases."""
        return self._in_order(self.order).with_bias(self.bias)

    def _first(self, columns: Sequence[str]) -> Integers:
        """The order with the parts of these columns first."""
        place = {column: k for k, column in enumerate(columns)}
        rank = [place.get(self.schema.parts[j].column, len(place)) for j in self.order]
        return self.order[np.argsort(rank, kind="stable")]

    # --- drawing ---

    def sample(
        self,
        n: int,
        *,
        given: Mapping[str, Any] | None = None,
        seed: int = 0,
        exact: bool = False,
        on_block: Callable[[int], None] | None = None,
    ) -> Drawn:
        """Draw `n` new rows. `Frame.like` gives them the type of any table of these columns.

        Args:
            n: how many.
            given: what is known of them: column -> a value; a set: one of its values; (low, high), one of which may be
                None; None: missing; `Not(value)`.
            seed: of the draws.
            exact: draw rows again by their weights in the model's own order; see docs/conditions.md.
            on_block: called with the number of rows drawn so far.

        Raises:
            UsageError: what does not fit the columns or the model, or has probability 0.
            DataError: a value that its column cannot hold.
        """
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

        columns = joined(counted(), check_count(n, "rows")).columns
        return Drawn(columns, effective, _log_mean(np.array(evidence)))

    def blocks(
        self, n: int, *, given: Mapping[str, Any] | None = None, seed: int = 0, exact: bool = False
    ) -> Iterator[Drawn]:
        """The rows of `sample`, some at a time: they need never be in memory together.

        A block of candidates of which none meets the conditions comes as no rows.
        """
        n, seed = check_count(n, "rows"), check_seed(seed)
        asked = conditions_of(self.schema, given or {})
        here = {name for name, series in asked.row.columns.items() if not series.missing[0]}
        valued = [name for name in self.schema.learned if name in here]
        restrictions = {name: self.schema.restrict(name, condition) for name, condition in asked.others.items()}
        exact = exact and bool(valued)  # with nothing known there is no other order to disagree with
        weighed = exact or bool(restrictions)
        unmasker = self._in_order(self._first([*valued, *restrictions])) if valued or restrictions else self.unmasker
        log_known = self._log_known(unmasker, asked, valued)

        def work(number: int) -> Drawn:
            size = ROWS if number or weighed else FEW
            known = self._known(self.schema.encode(asked.rows(size)), valued) if valued else None
            block = draw_block(unmasker, self.schema, size, seed, number, known, restrictions)
            chosen, effective, evidence = np.arange(size), float(size), log_known
            if weighed:
                block = self._weighed(unmasker, block, log_known) if exact else block
                keep = size // CANDIDATES if exact else size
                chosen, effective, log_weight = again(block, keep, seed, number)
                effective, evidence = min(effective, float(keep)), log_weight + (0.0 if exact else log_known)
            rows = self.schema.decode(block.codes[chosen], block.y[chosen], block.u[chosen])
            if valued and len(chosen):
                rows = self.schema.put(rows, asked.rows(len(chosen)))
            return Drawn(rows.columns, effective, evidence)

        left, number, failed = n, 0, 0
        while left:
            most = ROWS // CANDIDATES if exact else ROWS
            count = -(-left // most) if number or weighed else 1 + -(-max(left - FEW, 0) // ROWS)
            for rows in in_turn(partial(_shifted, work, number), count):
                number, failed = number + 1, 0 if len(rows) else failed + 1
                if failed == FAILED:
                    said = f"no row of {FAILED * ROWS:,} met the conditions {dict(given or {})}"
                    raise UsageError(f"{said}; expected a condition that the model holds possible. Widen it.")
                m = min(left, len(rows))
                yield Drawn(rows.take(slice(m)).columns, min(rows.effective, float(m)), rows.log_evidence)
                left -= m

    def _log_known(self, unmasker: Unmasker, asked: Conditions, valued: list[str]) -> float:
        """log p of the known values, in the data's units."""
        if not valued:
            return 0.0
        encoded = self.schema.encode(asked.row)
        rows = self._known(encoded, valued)
        return float((log_prob_rows(unmasker, rows) + np.where(rows.observed, encoded.log_unit, 0.0).sum(axis=1))[0])

    def _known(self, encoded: Encoded, columns: Sequence[str]) -> Rows:
        """Rows of which these columns are seen: elsewhere, missing entries may have a code of their own."""
        rows = self.reader.read(encoded)
        seen = [part.column in columns for part in self.schema.parts]
        return rows._replace(observed=rows.observed & np.array(seen))

    def _weighed(self, unmasker: Unmasker, block: Block, log_known: float) -> Block:
        """The block with the weights that lead from the order it was drawn in to the model's distribution."""
        frame = self.schema.decode(block.codes, block.y, block.u)
        encoded = self.schema.encode(frame)
        theirs, ours = self._log_prob(unmasker, encoded), self._log_prob(self.unmasker, encoded)
        return block._replace(log_weights=block.log_weights + ours - theirs + log_known)

    # --- scoring ---

    def score_samples(self, data: Any, *, orders: int = 1, smooth: bool = False) -> Array:
        """log p of the observed entries of each row, (n,), in nats of the data's units; a mass for discrete columns."""
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
        """
        orders = check_count(orders, "orders")
        rows = data if isinstance(data, Blocks) else Blocks.of_frame(self.schema.frame(data, name=name))
        unmaskers = [self.unmasker, *(self._in_order(self._random(seed, k)) for k in range(1, orders))]
        found, impossible, done = [], [], 0
        for part in rows.read():
            encoded = self.schema.encode(part, name=name, unseen="mark")
            if not len(encoded):
                continue
            strange = (encoded.codes == IMPOSSIBLE).sum(axis=1) + encoded.other
            loss = np.log(self.schema.rows + 1.0) if smooth else np.inf
            each = np.stack([self._log_prob(one, encoded) for one in unmaskers])
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

    def _log_prob(self, unmasker: Unmasker, encoded: Encoded) -> Array:
        """log p of the observed and possible entries, (n,)."""
        rows = self.reader.read(encoded)
        return log_prob_rows(unmasker, rows) + np.where(rows.observed, encoded.log_unit, 0.0).sum(axis=1)

    def _random(self, seed: int, k: int) -> Integers:
        """The k-th other order: columns at random, their parts together."""
        columns = list(self.schema.learned)
        return self._first([columns[i] for i in np.random.default_rng([seed, 662607, k]).permutation(len(columns))])

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
            data: rows (n); what is observed comes back to the bit.
            draws: how many tables; their spread is what is not known.
            seed: of the draws.
            on_block: called with the number of rows filled in so far, of all draws together.
            name: what messages call the data.

        Raises:
            DataError: an entry that its column cannot hold; the message names row and column.
        """
        rows = Blocks.of_frame(self.schema.frame(data, name=name))
        parts = self.fillings(rows, draws=draws, seed=seed, on_block=on_block, name=name)
        return [joined(part, rows.rows) for part in parts]

    def fillings(
        self,
        rows: Blocks,
        *,
        draws: int = 1,
        seed: int = 0,
        on_block: Callable[[int], None] | None = None,
        name: str = "the data",
    ) -> Iterator[Iterator[Frame]]:
        """The tables of `impute` block by block, one after the other; `rows` have the columns of the schema."""
        draws, seed = check_count(draws, "draws"), check_seed(seed)
        done = 0

        def told(count: int) -> None:
            nonlocal done
            done += count
            if on_block is not None:
                on_block(done)

        for word in np.random.SeedSequence([seed, 577215]).generate_state(draws):
            yield self._filled(rows, int(word), told, name)

    def _filled(self, rows: Blocks, seed: int, told: Callable[[int], None], name: str) -> Iterator[Frame]:
        for number, part in enumerate(rows.read()):
            try:
                encoded = self.schema.encode(part, name=name)
            except DataError:
                self.schema.encode(rows.whole(), name=name)  # which says it with the row's number among all rows
                raise
            codes, y = encoded.codes.copy(), encoded.y.copy()
            u = np.random.default_rng([seed, number]).random(codes.shape)
            for j, one in enumerate(self.schema.parts):
                if one.missing:  # a missing entry is to be filled in, whether or not it has a code
                    encoded.observed[encoded.codes[:, j] == one.count - 1, j] = False
            holes = np.flatnonzero(~encoded.observed.all(axis=1))
            word = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
            read = self.reader.read(encoded)
            for pattern, some in _patterns(encoded.observed[holes]):
                self._fill(read, codes, y, u, holes[some], pattern, word)
                told(len(some))
            yield self.schema.put(self.schema.decode(codes, y, u), part)

    def _fill(
        self,
        read: Rows,
        codes: NDArray[np.int32],
        y: Array,
        u: Array,
        rows: Integers,
        seen: NDArray[np.bool_],
        seed: int,
    ) -> None:
        """Draw the missing entries of rows with the same observed parts `seen` (p,)."""
        parts = self.schema.parts
        known = [name for name in self.schema.learned if seen[self.schema.parts_of(name).start]]
        drawn = [part.column for part, here in zip(parts, seen, strict=True) if part.missing and not here]
        present = {name: self.schema.restrict(name, NotMissing()) for name in drawn}
        unmasker = self._in_order(self._first(known)) if known else self.unmasker
        for start in range(0, len(rows), ROWS):
            some = rows[start : start + ROWS]
            size = FEW if len(some) <= FEW else ROWS
            filled = np.concatenate([some, np.repeat(some[:1], size - len(some))])
            known_rows = jax.tree.map(lambda part, filled=filled: part[filled], read)
            number = int(some[0]) + start
            block = draw_block(unmasker, self.schema, size, seed, number, known_rows if known else None, present)
            codes[some], y[some], u[some] = block.codes[: len(some)], block.y[: len(some)], block.u[: len(some)]

    # --- one column given the others ---

    def predict_proba(self, data: Any, column: str, *, name: str = "the data") -> tuple[Array, list[Any]]:
        """p(label | the other observed columns) of each row, (n, K), and the K labels of a categorical column.

        An entry that the training could not have held counts as not observed.

        Raises:
            UsageError: a column that is not learned, or has no labels.
        """
        if column not in self.schema.learned:
            raise UsageError(unknown("column", column, self.schema.learned))
        at = self.schema.parts_of(column)
        kind = self.schema.kinds[self.schema.learned.index(column)]
        if not isinstance(kind, Categorical):
            raise UsageError(f"column '{column}' is {kind.name}; expected one of labels. Use `impute` with draws.")
        frame = self.schema.frame(data, name=name)
        encoded = self.schema.encode(frame, name=name, unseen="mark")
        others = [other for other in self.schema.learned if other != column]
        unmasker = self._in_order(self._first(others))
        rows = self.reader.read(encoded)
        observed = rows.observed.copy()
        observed[:, at] = False
        part = self.schema.parts[at.start]
        codes = last_codes(unmasker, rows._replace(observed=observed), part.count - part.missing)
        return kind.of_labels(codes), list(kind.labels)

    # --- on disk ---

    def save(self, path: str | Path) -> None:
        """Write one `.safetensors` file, whole or not at all.

        Raises:
            UsageError: a name that does not end in .safetensors.
            OSError: the folder is not there, cannot be written, or is full.
        """
        write_checkpoint(Path(path), *self.parts())

    def parts(self) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
        """Arrays and texts by name, of which `of_parts` makes the same model."""
        arrays, about = self.schema.to_state()
        tensors = arrays_of(self.models) | {f"schema.{name}": array for name, array in arrays.items()}
        tensors["order"] = np.asarray(self.order, np.int32)
        tensors |= {f"bias.{g}": np.asarray(one) for g, one in enumerate(self.bias)}
        texts = {"schema": json.dumps(about), "recipe": self.recipe.to_toml(), "source": self.source}
        return tensors, texts | {"seed": str(self.seed), "fingerprint": self.fingerprint}

    @classmethod
    def of_parts(cls, tensors: dict[str, NDArray[Any]], about: Mapping[str, str], path: Path) -> "TableModel":
        """What `parts` gave, perhaps with the arrays of an estimator; `path` is where it comes from.

        Raises:
            ModelFileError: anything else.
        """
        import tomllib

        tensors = {name: array for name, array in tensors.items() if not name.startswith("estimator.")}
        try:
            arrays = {
                name.removeprefix("schema."): tensors.pop(name) for name in [*tensors] if name.startswith("schema.")
            }
            schema = Schema.from_state(arrays, json.loads(about["schema"]))
            recipe, order = parse(tomllib.loads(about["recipe"])), tensors.pop("order")
            bias = [tensors.pop(f"bias.{g}") for g in range(sum(name.startswith("bias.") for name in tensors))]
            skeleton = skeleton_of(layout_of(schema.parts), tensors, options_of(recipe.table, schema.rows)[0].dropout)
            models = filled(skeleton, tensors, path)
            return cls(
                schema,
                models,
                order,
                bias,
                recipe,
                source=about["source"],
                seed=int(about["seed"]),
                fingerprint=about["fingerprint"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(f"'{path}' is not a whole model of a table: {error}") from None

    def __getstate__(self) -> dict[str, Any]:
        # Arrays of NumPy, so that it can be read where there is another device, or none.
        return dict(zip(("tensors", "about"), self.parts(), strict=True))

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(vars(TableModel.of_parts(dict(state["tensors"]), state["about"], Path("pickle"))))


def load(path: str | Path) -> Model | TableModel:
    """Read a model file, or the one in the folder of a run. No code in it is run.

    Raises:
        ModelFileError: no such file, another format, or any damage.
    """
    path = model_path(path)
    tensors, about = read_checkpoint(path)
    return (TableModel if "schema" in about else Model).of_parts(tensors, about, path)


def load_points(path: str | Path, asked: str) -> Model:
    """Read the model file of points.

    Raises:
        UsageError: it is that of a table, to which what is asked does not apply.
        ModelFileError: as `load`.
    """
    model = load(path)
    if isinstance(model, TableModel):
        raise UsageError(
            f"'{path}' is a model of a table, and `{asked}` is for models of points. "
            "`motes evaluate` says how good a model of a table is."
        )
    return model


def _shifted(work: Callable[[int], Drawn], first: int, number: int) -> Drawn:
    return work(first + number)


def _log_mean(logs: Array) -> float:
    return float(np.logaddexp.reduce(logs) - np.log(len(logs))) if len(logs) else 0.0


def _patterns(observed: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.bool_], Integers]]:
    """Each distinct row of (n, p), and which rows are like it."""
    if not len(observed):
        return
    patterns, place = np.unique(observed, axis=0, return_inverse=True)
    order = np.argsort(place.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(place.ravel()))
    yield from zip(patterns, np.split(order, ends[:-1]), strict=True)
