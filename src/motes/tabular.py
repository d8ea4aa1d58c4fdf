"""A trained model of a table of any columns, in the data's own units and types.

    log p(x) = log p(z) + sum over the known columns of log |dz/dx|,    z = encoder(x)

It is a `Model` of the matrix z and the `Encoder` between that and the table. It answers for any subset of the columns.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.build import build_draw, seed_key
from motes.conditions import conditions_of
from motes.data.bijections import Identity
from motes.data.cells import Reals
from motes.data.classes import Classes
from motes.data.codecs import Codec
from motes.data.columns import Column, cell_at
from motes.data.encoder import Encoded, Encoder
from motes.data.frames import Frame, Mask, as_frame, words_of
from motes.data.tables import Standardiser, Table
from motes.diffusion.denoiser import Cells, Given
from motes.errors import DataError, ModelFileError, RecipeError, TrainingError, UsageError, check_count, check_seed
from motes.fitting import fit
from motes.learning.checkpoints import read_checkpoint, write_checkpoint
from motes.learning.training import Progress
from motes.model import Guidance, Model, model_path
from motes.parts import GaussianPart
from motes.recipes import Recipe, load_recipe
from motes.sampling.likelihood import TOLERANCE, Likelihood, log_likelihood
from motes.sampling.loop import Sampler, sample
from motes.sampling.particles import conditional_rows, conditional_sample
from motes.sampling.rejection import rows_inside

Array = NDArray[np.float64]

MOST_REPEATS = 8  # of a row for its weight


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
        n, seed = check_count(n, "rows"), check_seed(seed)
        asked = conditions_of(self.encoder, given or {})
        how, times = build_draw(self.recipe, sampler, steps, grid)
        known = asked.rows(n) if asked.valued.any() else None
        cells = self.encoder.encode(known, seed) if known is not None and self.masked else None
        told = self._told(label, n, None if cells is None else (cells.z, cells.known))
        denoiser, key = self.model.guided(guidance, told), seed_key(seed, "sample")
        boxed = asked.limited if self.masked else asked.limited | asked.valued
        drawn: NDArray[np.floating] | None
        effective = float(n)
        if not boxed.any():
            width = self.encoder.width
            drawn, _ = sample(denoiser, n, width, key=key, sampler=how, grid=times, given=told, on_block=on_block)
        else:
            low, high = np.where(boxed, asked.low, -np.inf), np.where(boxed, asked.high, np.inf)
            _check_one_label(told)
            drawn = rows_inside(denoiser, low, high, n, key=key, sampler=how, grid=times, given=told, on_block=on_block)
            if drawn is None:
                if sampler is not None:
                    raise UsageError(
                        f"sampler = {sampler!r}, but rows of what is given are so rare that they are drawn by "
                        "particles, which have a sampler of their own. Leave it out."
                    )
                one = jax.tree.map(lambda part: part[0], told)
                counted = None if on_block is None else (lambda done: on_block(min(done, n)))  # particles are no rows
                found = conditional_sample(denoiser, low, high, n, key=key, grid=times, given=one, on_block=counted)
                order = np.random.default_rng([seed, 173205]).permutation(n)  # rows of one particle stand side by side
                drawn, effective = found.rows[order], min(found.ess, float(n))
            drawn = _inside(drawn, low, high)
        rows = self.encoder.decode(drawn)
        rows = rows if known is None else self.encoder.put(rows, known)
        return Drawn(asked.within(rows).columns, effective)

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
        frame, draws, seed = self.encoder.frame(data, name=name), check_count(draws, "draws"), check_seed(seed)
        missing = np.stack([frame.columns[column].missing for column in self.encoder.learned], axis=1)
        holes = np.flatnonzero(missing.any(axis=1))
        told: Callable[[int], None] | None = None
        made: list[Frame] = []
        if on_block is not None:
            tell = on_block
            told = lambda done: tell(len(made) * len(holes) + done)
        for word in np.random.SeedSequence([seed, 577215]).generate_state(draws):
            made.append(self._filled(frame, holes, int(word), told, name))  # noqa: PERF401 - `told` counts them
        return made

    def _filled(
        self,
        frame: Frame,
        holes: NDArray[np.int64],
        seed: int,
        on_block: Callable[[int], None] | None,
        name: str,
    ) -> Frame:
        """One draw of `impute`."""
        encoded = self.encoder.encode(frame, seed, name=name)
        if len(holes):
            z, known = encoded.z[holes], encoded.known[holes]
            how, grid = build_draw(self.recipe)
            key = seed_key(seed, "impute")
            denoiser, (m, width) = self.model.denoiser, z.shape
            if self.masked:
                told = self._told(None, m, (z, known))
                drawn, _ = sample(denoiser, m, width, key=key, sampler=how, grid=grid, given=told, on_block=on_block)
            else:
                drawn = conditional_rows(denoiser, z, known, key=key, grid=grid, on_block=on_block)[0][:, 0]
            encoded.z[holes] = drawn
        return self.encoder.put(self.encoder.decode(encoded.z), frame)

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
        """`score_samples` with its errors; see `motes.sampling.likelihood.log_likelihood`."""
        encoded = self.encoded(data, name)
        told = self.model.given(label, len(encoded.z))
        if (cells := self._absent(encoded)) is not None:
            told = (told or Given())._replace(cells=cells)
        found = log_likelihood(self.model.denoiser, encoded.z, given=told, tolerance=tolerance, on_block=on_block)
        return found._replace(log_prob=found.log_prob + encoded.log_det)

    def predict_proba(self, data: Any, *, on_block: Callable[[int], None] | None = None) -> Array:
        """p(label | known cells) of each row, (n, classes) in the order of `classes.names`.

        Raises:
            UsageError: a model without classes, or missing cells and one without masks.
            DataError: a cell that its column cannot hold; the message names row and column.
        """
        encoded = self.encoded(data)
        return self.model.class_probabilities(encoded.z, cells=self._absent(encoded), on_block=on_block)

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

    def _told(self, label: Any, n: int, cells: tuple[Array, Mask] | None) -> Given | None:
        """What a denoiser is told of n rows: their class, and their cells as z (n, d) with those that are known."""
        told = self.model.given(label, n)
        if cells is None:
            return told
        values, known = cells
        return (told or Given())._replace(cells=Cells(values, known, np.zeros_like(known)))  # type: ignore[arg-type]

    def _absent(self, encoded: Encoded) -> Cells | None:
        """Which cells nobody asks for, where some are missing."""
        if encoded.known.all():
            return None
        if not self.masked:
            row, j = np.argwhere(~encoded.known)[0]
            raise UsageError(
                f"row {row + 1} has no '{self.encoder.learned[j]}', and this model was trained without masks, so that "
                "it knows the likelihood of whole rows alone. Train with --set training.masks=0.5, or impute first."
            )
        return Cells(encoded.z, np.zeros_like(encoded.known), ~encoded.known)  # type: ignore[arg-type]

    # --- on disk ---

    def save(self, path: str | Path) -> None:
        """Write one `.safetensors` file, whole or not at all.

        Raises:
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


def fit_table(
    data: Any,
    recipe: str | Path | Recipe = "table",
    *,
    changes: Sequence[str] | Mapping[str, Any] = (),
    columns: Mapping[str, Any] | None = None,
    labels: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    seed: int = 0,
    source: str = "",
    encoder: Encoder | None = None,
    start: TableModel | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> TableModel:
    """Train a model on the rows of a table of any columns.

    Args:
        data: whatever `motes.data.frames.as_frame` takes: a NumPy array, a pandas, polars or Arrow table, ...
        recipe: a name, a `.toml` file or a `Recipe`; its section [columns] says what columns are.
        changes: to it, such as {"training.steps": 8000}.
        columns: what columns are, in the place of what the recipe says or what is inferred; see `data.columns.infer`.
        labels: the class of each row (n,), whole numbers or texts.
        weights: how much each row counts (n,), at least 0: 2 is as good as the row twice, and 0 as no such row.
        seed: the same data, recipe and seed give the same weights, to the bit, on the same machine.
        source: what the data is called in the model file and in messages.
        encoder: one that was fitted to these rows already.
        start: a model of the same columns, to go on from, with its encoder.
        on_progress: called a few times a second with a `Progress`.

    Raises:
        DataError: data that cannot be used; the message names the row and the column.
        UsageError, RecipeError: a recipe that cannot be followed, columns that there are not.
        TrainingError: the loss was not finite; `result` is the model of the last good weights.
    """
    chosen = load_recipe(recipe, changes)
    if start is not None and isinstance(start.recipe.denoiser, GaussianPart):
        chosen = replace(chosen, denoiser=start.recipe.denoiser)  # which says how many components rows have chosen
    name = f"'{source}'" if source else "the data"
    frame = as_frame(data, name=name)
    ordered, labels, weights = _in_order(frame, labels, weights)

    def encoded_by(frame: Frame) -> tuple[Encoder, Encoded]:
        fitted = encoder if start is None else start.encoder
        if fitted is None:
            overrides = {**chosen.columns, **(columns or {})}
            fitted = Encoder.fit(frame, overrides, standardise=chosen.data.standardise, name=name)
        return fitted, fitted.encode(frame, seed, name=name)

    try:
        fitted, encoded = encoded_by(ordered)
    except DataError:
        encoded_by(frame)  # which says it with the number that the row came with
        raise
    if not encoded.known.all() and not chosen.training.masks:
        column, holes = next(
            (n, s.missing) for n, s in frame.columns.items() if n in fitted.learned and s.missing.any()
        )
        raise RecipeError(
            f"{(~encoded.known).sum():,} cells of {name} are missing, the first in row {holes.argmax() + 1}, column "
            f"'{column}', and training.masks = 0. Set training.masks = 0.5, so that it learns from rows "
            "with holes."
        )
    try:
        model = fit(
            Table(encoded.z, fitted.learned),
            chosen,
            labels=labels,
            classes=None if start is None else start.classes,
            weights=weights,
            present=None if encoded.known.all() else encoded.known,
            standardiser=Standardiser.identity(fitted.width),
            start=None if start is None else start.model.denoiser,
            seed=seed,
            source=source,
            on_progress=on_progress,
        )
    except TrainingError as error:
        if isinstance(error.result, Model):
            error.result = TableModel(error.result, fitted)
        raise
    return TableModel(model, fitted)


def _in_order(
    frame: Frame, labels: ArrayLike | None, weights: ArrayLike | None
) -> tuple[Frame, NDArray[Any] | None, NDArray[Any] | None]:
    """Rows in an order of their own, so that the order in which they came has no bearing on what is learned.

    Small whole weights are rows that come so often.
    """
    n = len(frame)
    rows = np.arange(n)
    columns = [(series.known, series.missing) for series in frame.columns.values()]
    if labels is not None and np.shape(labels) == (n,):  # or `fit` will refuse them
        columns.append((np.unique(np.asarray(labels).astype(str), return_inverse=True)[1], np.zeros(n, bool)))
    if weights is not None and np.shape(weights) == (n,):
        heavy = np.asarray(weights, float)
        columns.append((heavy, np.zeros(n, bool)))
        if np.isin(heavy, np.arange(MOST_REPEATS + 1)).all() and heavy.any():
            rows, weights = np.repeat(rows, heavy.astype(int)), None
            columns.pop()
    rows = rows[np.argsort(words_of(columns, n)[rows], kind="stable")]
    taken = [None if part is None else np.asarray(part)[rows] for part in (labels, weights)]
    return frame.take(rows), taken[0], taken[1]


def _check_one_label(told: Given | None) -> None:
    if told is not None and told.label is not None and np.ptp(np.asarray(told.label)):
        raise UsageError(
            "an interval, or a model without masks that is told cells, and a label for each row: such rows are drawn "
            "together, for one label. Ask label by label."
        )


def _inside(z: NDArray[np.floating], low: Array, high: Array) -> Array:
    """Points within the box: single precision may have put one just beyond an end of it."""
    return np.clip(z.astype(np.float64), np.nextafter(low, high), np.nextafter(high, low))
