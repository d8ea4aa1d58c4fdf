"""A trained model of a table of any columns, in the data's own units and types.

    log p(x) = log p(z) + sum over the known columns of log |dz/dx|,    z = encoder(x)

It is a `Model` of the matrix z and the `Encoder` between that and the table. It answers for any subset of the columns.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.build import build_draw, seed_key
from motes.conditions import conditions_of
from motes.data.bijections import Identity
from motes.data.blocks import BLOCK, Blocks
from motes.data.cells import Reals
from motes.data.classes import Classes
from motes.data.codecs import Codec
from motes.data.columns import Column, cell_at
from motes.data.encoder import Encoded, Encoder
from motes.data.frames import Frame, Mask, joined
from motes.data.tables import Standardiser
from motes.diffusion.denoiser import Cells, Given
from motes.errors import DataError, ModelFileError, UsageError, check_count, check_seed
from motes.learning.checkpoints import read_checkpoint, write_checkpoint
from motes.model import Guidance, Model, model_path
from motes.recipes import Recipe
from motes.sampling.inside import sample_inside
from motes.sampling.likelihood import TOLERANCE, Likelihood, log_likelihood
from motes.sampling.loop import Sampler, sample
from motes.sampling.particles import conditional_rows

Array = NDArray[np.float64]
A = TypeVar("A")


@dataclass(frozen=True)
class Drawn(Frame):
    """Rows, and how many independent ones they are worth.

    Attributes:
        effective: the effective sample size. It is the number of rows, unless an interval is known, or a model without
            masks was told anything.
    """

    effective: float = 0.0


class TableModel:
    """What was learned of a table.

    Attributes:
        model: of the matrix z.
        encoder: between that and the table.
    """

    def __init__(self, model: Model, encoder: Encoder):
        self.model = model
        self.encoder = encoder

    def __repr__(self) -> str:
        on = f" of {self.model.source}" if self.model.source else ""
        return f"TableModel{on}({len(self.columns)} columns, {self.model.parameters:,} parameters)"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns."""
        return self.encoder.names

    @property
    def recipe(self) -> Recipe:
        """What it was trained by."""
        return self.model.recipe

    @property
    def classes(self) -> Classes | None:
        """Those of the rows, where it was trained with labels."""
        return self.model.classes

    @property
    def masked(self) -> bool:
        """Whether it was trained to be told any cells of a row; otherwise particles have to do it."""
        return self.recipe.training.masks > 0

    def sample(
        self,
        n: int,
        *,
        given: Mapping[str, Any] | None = None,
        seed: int = 0,
        label: Any = None,
        sampler: str | Sampler | None = None,
        steps: int | None = None,
        grid: ArrayLike | None = None,
        guidance: float | Guidance | None = None,
        on_block: Callable[[int], None] | None = None,
    ) -> Drawn:
        """Draw `n` new rows. `Frame.like` gives them the type of any table of these columns.

        Args:
            n: how many.
            given: what is known of them: column -> value, or (low, high), one of which may be None.
            seed, label, sampler, steps, grid, guidance, on_block: as for `Model.sample`.

        Raises:
            UsageError: what does not fit the columns or the model, or can hardly be; a sampler, but for particles.
            DataError: a value that its column cannot hold.
        """
        effective = 0.0

        def counted() -> Iterator[Frame]:
            nonlocal effective
            for rows in self.blocks(
                n,
                given=given,
                seed=seed,
                label=label,
                sampler=sampler,
                steps=steps,
                grid=grid,
                guidance=guidance,
                on_block=on_block,
            ):
                effective += rows.effective
                yield rows

        return Drawn(joined(counted(), check_count(n, "rows")).columns, effective)

    def blocks(
        self,
        n: int,
        *,
        given: Mapping[str, Any] | None = None,
        seed: int = 0,
        label: Any = None,
        sampler: str | Sampler | None = None,
        steps: int | None = None,
        grid: ArrayLike | None = None,
        guidance: float | Guidance | None = None,
        on_block: Callable[[int], None] | None = None,
    ) -> Iterator[Drawn]:
        """The rows of `sample`, some at a time: they need never be in memory together.

        With an interval, or a model without masks that is told anything, they come all at once.
        """
        n, seed = check_count(n, "rows"), check_seed(seed)
        asked = conditions_of(self.encoder, given or {})
        how, times = build_draw(self.recipe, sampler, steps, grid)
        labels = self.model.given(label, n)
        boxed = asked.limited if self.masked else asked.limited | asked.valued
        size = n if boxed.any() else BLOCK
        for start in range(0, n, size):
            m = min(size, n - start)
            tell = None if on_block is None else partial(_further, on_block, start)
            known = asked.rows(m) if asked.valued.any() else None
            told = _rows_of(labels, slice(start, start + m))
            if known is not None and self.masked:
                cells = self.encoder.encode(known, _seed_at(seed, start))
                told = _with_cells(told, _known(cells.z, cells.known))
            denoiser, key = self.model.guided(guidance, told), seed_key(seed, "sample")
            drawn: NDArray[np.floating]
            effective = float(m)
            if boxed.any():
                low, high = np.where(boxed, asked.low, -np.inf), np.where(boxed, asked.high, np.inf)
                drawn, effective = sample_inside(
                    denoiser,
                    low,
                    high,
                    m,
                    key=key,
                    sampler=how,
                    grid=times,
                    given=told,
                    only=sampler is not None,
                    on_block=tell,
                )
            else:
                drawn, _ = sample(
                    denoiser,
                    m,
                    self.encoder.width,
                    key=key,
                    sampler=how,
                    grid=times,
                    given=told,
                    skip=start,
                    on_block=tell,
                )
            rows = self.encoder.decode(drawn)
            rows = rows if known is None else self.encoder.put(rows, known)
            yield Drawn(asked.within(rows).columns, effective)

    def impute(
        self,
        data: Any,
        *,
        draws: int = 1,
        seed: int = 0,
        on_block: Callable[[int], None] | None = None,
        name: str = "the data",
    ) -> list[Frame]:
        """Fill in the missing cells, `draws` times, each time with a draw from their law given the other cells.

        Args:
            data: rows (n) with holes; what is known comes back to the bit.
            draws: how many tables; their spread is what is not known.
            seed: of the draws.
            on_block: called with the number of rows filled in so far, of all draws together.
            name: what messages call the data.

        Raises:
            DataError: a cell that its column cannot hold; the message names row and column.
            UsageError: cells that are impossible to the model.
        """
        rows = Blocks.of_frame(self.encoder.frame(data, name=name))
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
        """The tables of `impute` block by block, one after the other; `rows` have the columns of the encoder.

        So they need never be in memory as a whole, neither the rows that came nor those that are made.
        """
        draws, seed, finished = check_count(draws, "draws"), check_seed(seed), 0
        for word in np.random.SeedSequence([seed, 577215]).generate_state(draws):
            latest = 0

            def tell(done: int, before: int = finished) -> None:
                nonlocal latest
                latest = done
                if on_block is not None:
                    on_block(before + done)

            yield self._filled(rows, int(word), tell, name)
            finished += latest

    def _filled(self, rows: Blocks, seed: int, on_block: Callable[[int], None], name: str) -> Iterator[Frame]:
        """One draw of `impute`, block by block."""
        how, grid = build_draw(self.recipe)
        key, done, start = seed_key(seed, "impute"), 0, 0
        for part in rows.read():
            word = _seed_at(seed, start)
            encode = lambda rows, word=word: self.encoder.encode(rows, word, name=name)
            encoded = _said_of_all(encode, part, rows)
            holes = np.flatnonzero(~encoded.known.all(axis=1))
            if m := len(holes):
                z, known = encoded.z[holes], encoded.known[holes]
                tell = partial(_further, on_block, done)
                denoiser, width = self.model.denoiser, self.encoder.width
                if self.masked:
                    told = _with_cells(None, _known(z, known))
                    drawn, _ = sample(
                        denoiser, m, width, key=key, sampler=how, grid=grid, given=told, skip=done, on_block=tell
                    )
                else:
                    apart = key if not start else jax.random.fold_in(key, start)
                    drawn = conditional_rows(denoiser, z, known, key=apart, grid=grid, on_block=tell)[0][:, 0]
                encoded.z[holes] = drawn
                done += m
            start += len(part)
            yield self.encoder.put(self.encoder.decode(encoded.z), part)

    def score_samples(self, data: Any, *, label: Any = None, on_block: Callable[[int], None] | None = None) -> Array:
        """log p of the known cells of each row, (n,), in nats of the data's units; a mass for discrete columns.

        With a `label`, one for all rows or one for each (n,), it is log p(row | label).

        Raises:
            DataError: a cell that its column cannot hold; the message names row and column.
            UsageError: missing cells and a model without masks; an unknown label.
        """
        return self.likelihood(data, label=label, on_block=on_block).log_prob

    def likelihood(
        self,
        data: Any,
        *,
        label: Any = None,
        tolerance: float = TOLERANCE,
        on_block: Callable[[int], None] | None = None,
        name: str = "the data",
    ) -> Likelihood:
        """`score_samples` with its errors; see `motes.sampling.likelihood.log_likelihood`.

        `data` may be `Blocks` with the columns of the encoder too, which need never be in memory as a whole.
        """
        rows = data if isinstance(data, Blocks) else Blocks.of_frame(self.encoder.frame(data, name=name))
        labels, start, parts = self.model.given(label, rows.rows), 0, []
        for part in rows.read():
            encoded, cells = _said_of_all(lambda part: self._asked(part, name), part, rows)
            told = _rows_of(labels, slice(start, start + len(part)))
            if cells is not None:
                told = _with_cells(told, cells)
            tell = None if on_block is None else partial(_further, on_block, start)
            found = log_likelihood(self.model.denoiser, encoded.z, given=told, tolerance=tolerance, on_block=tell)
            parts.append(found._replace(log_prob=found.log_prob + encoded.log_det))
            start += len(part)
        return Likelihood(*map(np.concatenate, zip(*parts, strict=True)))

    def predict_proba(self, data: Any, *, on_block: Callable[[int], None] | None = None) -> Array:
        """p(label | known cells) of each row, (n, classes) in the order of `classes.names`.

        Raises:
            UsageError: a model without classes, or missing cells and one without masks.
            DataError: a cell that its column cannot hold; the message names row and column.
        """
        encoded, cells = self._asked(data, "the data")
        return self.model.class_probabilities(encoded.z, cells=cells, on_block=on_block)

    def encoded(self, data: Any, name: str = "the data") -> Encoded:
        """Rows of which a likelihood is asked, each with noise of its own.

        Raises:
            DataError: no rows, or a cell that its column cannot hold or that is too far for the network.
        """
        encoded = self.encoder.encode(data, None, name=name)
        if not len(encoded.z):
            raise DataError(f"{name} has no rows; expected at least 1.")
        far = ~(np.abs(encoded.z) <= np.finfo(np.float32).max)
        if far.any():
            row, j = np.argwhere(far)[0]
            column = self.encoder.learned[j]
            came = cell_at(self.encoder.frame(data, name=name).columns[column], int(row))
            raise DataError(
                f"{name}, row {row + 1}, column '{column}': {came} is too far from all that the training saw to have a "
                "likelihood in numbers. Remove the row, or leave the cell empty."
            )
        return encoded

    def _asked(self, data: Any, name: str) -> tuple[Encoded, Cells | None]:
        """Rows of which a likelihood is asked, and which of their cells nobody asks for, where some are missing."""
        encoded = self.encoded(data, name)
        if encoded.known.all():
            return encoded, None
        if not self.masked:
            row, j = np.argwhere(~encoded.known)[0]
            raise UsageError(
                f"row {row + 1} has no '{self.encoder.learned[j]}', and this model was trained without masks, so that "
                "it knows the likelihood of whole rows alone. Train with --set training.masks=0.5, or impute first."
            )
        return encoded, Cells(encoded.z, np.zeros_like(encoded.known), ~encoded.known)  # type: ignore[arg-type]

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
        tensors, about = self.model.parts()
        arrays, codecs = self.encoder.to_state()
        tensors |= {f"encoder.{name}": array for name, array in arrays.items()}
        return tensors, about | {"encoder": json.dumps(codecs)}

    @classmethod
    def of_parts(cls, tensors: dict[str, NDArray[Any]], about: Mapping[str, str], path: Path) -> "TableModel":
        """What `parts` gave, perhaps with the arrays of an estimator; `path` is where it comes from.

        Raises:
            ModelFileError: anything else.
        """
        tensors = {name: array for name, array in tensors.items() if not name.startswith("estimator.")}
        try:
            arrays = {name: tensors.pop(f"encoder.{name}") for name in ("mean", "scale")}
            encoder = Encoder.from_state(arrays, json.loads(about["encoder"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(f"'{path}' is not a whole model of a table: {error}") from None
        return cls(Model.of_parts(tensors, about, path), encoder)

    def __getstate__(self) -> dict[str, Any]:
        # Arrays of NumPy, so that it can be read where there is another device, or none.
        return dict(zip(("tensors", "about"), self.parts(), strict=True))

    def __setstate__(self, state: dict[str, Any]) -> None:
        whole = TableModel.of_parts(dict(state["tensors"]), state["about"], Path("pickle"))
        self.__dict__.update(vars(whole))


def load(path: str | Path) -> Model | TableModel:
    """Read a model file, or the one in the folder of a run. No code in it is run.

    Raises:
        ModelFileError: no such file, another format, or any damage.
    """
    path = model_path(path)
    tensors, about = read_checkpoint(path)
    return (TableModel if "encoder" in about else Model).of_parts(tensors, about, path)


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


def as_tabular(model: Model | TableModel) -> TableModel:
    """The model itself, or a model of points as one of a table of real columns, which can be told cells."""
    if isinstance(model, TableModel):
        return model
    width = model.dim
    real = tuple(Column(name, "real", "a model of points") for name in model.columns)
    codecs = tuple(Codec(name, "real", Reals(), Identity()) for name in model.columns)
    inner = model.with_standardiser(Standardiser.identity(width))
    return TableModel(inner, Encoder(real, codecs, {}, model.standardiser, 0))


def _rows_of(given: Given | None, rows: slice) -> Given | None:
    some: Given | None = jax.tree.map(lambda part: part[rows], given)
    return some


def _known(z: Array, known: Mask) -> Cells:
    """The cells z (n, d) of rows of which some are `known`, and the others asked for."""
    return Cells(z, known, np.zeros_like(known))  # type: ignore[arg-type]


def _with_cells(told: Given | None, cells: Cells) -> Given:
    return (told or Given())._replace(cells=cells)


def _seed_at(seed: int, start: int) -> int:
    """That of the rows from `start` on."""
    return seed if not start else int(np.random.SeedSequence([seed, start]).generate_state(1)[0])


def _further(tell: Callable[[int], None], before: int, done: int) -> None:
    tell(before + done)


def _said_of_all(work: Callable[[Frame], A], part: Frame, rows: Blocks) -> A:
    """`work(part)`; what does not fit is said with the number that the row has among all `rows`."""
    try:
        return work(part)
    except (DataError, UsageError):
        work(rows.whole())
        raise
