"""A trained model, in the data's own units: `fit` it, `sample` it, `save` it, `load` it."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, overload

import equinox as eqx
import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.build import (
    build_denoiser,
    build_draw,
    build_grid,
    build_loss,
    build_optimiser,
    build_times,
    seed_key,
)
from motes.data.tables import Standardiser, Table, as_table
from motes.diffusion.denoiser import Denoiser
from motes.errors import ModelFileError, MotesError, TrainingError, UsageError, check_count, check_seed
from motes.learning.averages import Averages
from motes.learning.bounds import Bound, Variance, variational_bound
from motes.learning.checkpoints import arrays_of, filled, read_checkpoint, write_checkpoint
from motes.learning.training import Progress, Trained, train, with_weights
from motes.parts import AncestralPart
from motes.recipes import Recipe, load_recipe, parse
from motes.sampling.likelihood import TOLERANCE, Likelihood, Solver, log_likelihood
from motes.sampling.loop import Sampler, sample
from motes.sampling.stretch import Divergence

AVERAGES = "averages.safetensors"


class Model:
    """What was learned, and everything needed to sample it again.

    Attributes:
        denoiser: E[x_0 | x_t], in standardised units.
        standardiser: between those and the data's units.
        columns: names of the d columns.
        recipe: what it was trained by.
        source: what it was trained on, a shape's name or a file's; "" for an array.
        fingerprint: of the rows that it was trained on, by which they are known again.
        seed: of the training.
        training: losses and snapshots where it was trained in this process; None where it was loaded.
        folder: where it was loaded from; None where it was trained in this process.
        length: of the average that its weights are, where `averaged_over` made it; None for the recipe's own.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        standardiser: Standardiser,
        columns: Sequence[str],
        recipe: Recipe,
        *,
        source: str = "",
        fingerprint: str = "",
        seed: int = 0,
        training: Trained | None = None,
        folder: Path | None = None,
        length: float | None = None,
    ):
        self.denoiser = denoiser
        self.standardiser = standardiser
        self.columns = tuple(columns)
        self.recipe = recipe
        self.source = source
        self.fingerprint = fingerprint
        self.seed = seed
        self.training = training
        self.folder = folder
        self.length = length

    def __repr__(self) -> str:
        on = f" of {self.source}" if self.source else ""
        return f"Model{on}({self.dim} columns, {self.parameters:,} parameters)"

    def with_denoiser(self, denoiser: Denoiser, *, length: float | None = None) -> "Model":
        """The same model with other weights, or with an exact denoiser, in the place of its own.

        `length` is that of the average which the weights are, where it is not the recipe's.
        """
        return Model(
            denoiser,
            self.standardiser,
            self.columns,
            self.recipe,
            source=self.source,
            fingerprint=self.fingerprint,
            seed=self.seed,
            training=self.training,
            folder=self.folder,
            length=length,
        )

    @cached_property
    def averages(self) -> Averages | None:
        """What its training stored to make averages of any length from, read from its folder where it was loaded."""
        if self.training is not None or self.folder is None:
            return self.training.averages if self.training else None
        path = self.folder / AVERAGES
        if not path.is_file():
            return None
        tensors, about = read_checkpoint(path)
        if about.get("run") != self._run or tensors["weights"].shape[1] != self.parameters:
            raise ModelFileError(f"'{path}' belongs to another model than the one beside it.")
        return Averages(**tensors)

    def averaged_over(self, sigma_rel: float) -> "Model":
        """The same model with another average of its weights, over this share of its training, such as 0.1.

        It is the standard deviation of the steps that count, as a share of all: see `motes.learning.averages`.

        Raises:
            UsageError: a length out of range, or no averages were kept.
            ModelFileError: they are damaged, or of another model.
        """
        if self.averages is None:
            raise UsageError(
                f"this model has no averages to choose from. `motes train` leaves them beside it in {AVERAGES}, unless "
                "training.averages = 0."
            )
        return self.with_denoiser(with_weights(self.denoiser, self.averages.over(sigma_rel)), length=sigma_rel)

    def save_averages(self, folder: Path) -> None:
        """Write what `averaged_over` needs beside the model file, where its training has kept anything.

        Raises:
            OSError: the folder is not there, cannot be written, or is full.
        """
        if self.averages is not None:
            write_checkpoint(folder / AVERAGES, vars(self.averages), {"run": self._run})

    @property
    def _run(self) -> str:
        """What tells its training from any other."""
        return json.dumps([self.recipe.to_dict(), self.fingerprint, self.seed])

    @property
    def dim(self) -> int:
        """Number of columns."""
        return len(self.columns)

    @property
    def parameters(self) -> int:
        """Number of trained numbers."""
        return sum(array.size for array in jax.tree.leaves(eqx.filter(self.denoiser, eqx.is_inexact_array)))

    @property
    def lowest_noise(self) -> float:
        """sigma_t / alpha_t at the last time that its sampler asks the network about."""
        return float(np.exp(-np.asarray(self.denoiser.schedule.log_snr(self.grid[-2])) / 2))

    @property
    def grid(self) -> NDArray[np.float32]:
        """The times that its sampler stops at, from 1 down to 0, (N+1,)."""
        return np.asarray(build_grid(self.recipe))

    @overload
    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        sampler: str | Sampler | None = None,
        steps: int | None = None,
        grid: ArrayLike | None = None,
        on_block: Callable[[int], None] | None = None,
        return_log_prob: Literal[False] = False,
    ) -> NDArray[np.float64]: ...

    @overload
    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        sampler: str | Sampler | None = None,
        steps: int | None = None,
        grid: ArrayLike | None = None,
        on_block: Callable[[int], None] | None = None,
        return_log_prob: Literal[True],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        sampler: str | Sampler | None = None,
        steps: int | None = None,
        grid: ArrayLike | None = None,
        on_block: Callable[[int], None] | None = None,
        return_log_prob: bool = False,
    ) -> NDArray[np.float64] | tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Draw `n` new points, (n, d) in the data's units. The same seed gives the same points.

        Args:
            n: how many.
            seed: of the draw.
            sampler: in the place of the recipe's: a name (see `motes samplers`), or a sampler with its options.
            steps: of the grid, in the place of the recipe's.
            grid: in the place of the recipe's: a name such as "karras", or times (N+1,) that fall from 1 to 0.
            on_block: called with the number of points done so far.
            return_log_prob: give their log p (n,) as well, `score_samples` of them.

        Raises:
            UsageError, RecipeError: fewer than one point; names, numbers or times that do not fit.
        """
        points = self.chain(n, (), seed=seed, sampler=sampler, steps=steps, grid=grid, on_block=on_block)[0]
        return (points, self.score_samples(points)) if return_log_prob else points

    def chain(
        self,
        n: int,
        record: Sequence[int],
        *,
        seed: int = 0,
        sampler: str | Sampler | None = None,
        steps: int | None = None,
        grid: ArrayLike | None = None,
        on_block: Callable[[int], None] | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """As `sample`, with the points at some places of its grid on the way: (n, d) and (len(record), n, d).

        Both in the data's units, so noise looks as wide as the data. `Model.grid` holds the times of the recipe's grid.
        """
        n = check_count(n, "points")
        how, times = build_draw(self.recipe, sampler, steps, grid)
        points, kept = sample(
            self.denoiser,
            n,
            self.dim,
            key=seed_key(seed, "sample"),
            sampler=how,
            grid=times,
            record=record,
            on_block=on_block,
        )
        return self.standardiser.inverse(points), self.standardiser.inverse(kept)

    def score_samples(self, x: ArrayLike, *, on_block: Callable[[int], None] | None = None) -> NDArray[np.float64]:
        """log p of each row of x (n, d), (n,) in nats of the data's units. `likelihood` tells how exact it is."""
        return self.likelihood(x, on_block=on_block).log_prob

    def likelihood(
        self,
        x: ArrayLike,
        *,
        divergence: Divergence = "exact",
        probes: int = 32,
        seed: int = 0,
        solver: Solver = "grid",
        tolerance: float = TOLERANCE,
        on_block: Callable[[int], None] | None = None,
    ) -> Likelihood:
        """log p of each row of x (n, d) by the probability flow, in nats of the data's units, with its errors.

        See `motes.sampling.likelihood.log_likelihood`. It is the law that `sample` draws from where the sampler is
        Heun's, but for that sampler's own error; `bound` is about the chain of noisy steps, which is another law.

        Raises:
            DataError: rows that cannot be used.
            UsageError: an argument out of range.
        """
        rows = as_table(x, self.columns, to_learn=False).x
        try:
            found = log_likelihood(
                self.denoiser,
                self.standardiser.forward(rows),
                divergence=divergence,
                probes=probes,
                key=seed_key(seed, "likelihood"),
                solver=solver,
                tolerance=tolerance,
                on_block=on_block,
            )
        except ValueError as error:
            raise UsageError(str(error)) from None
        return found._replace(log_prob=found.log_prob + self.standardiser.log_det)

    def bound(self, x: ArrayLike, *, variance: Variance | None = None, seed: int = 0, draws: int = 1) -> Bound:
        """The variational bound on -log p(x) of rows (n, d), term by term, in nats of the data's units.

        Args:
            x: rows.
            variance: of a reverse step, "beta", "posterior" or "learned"; None takes that of the recipe's sampler, and
                with another sampler than ancestral the learned one, or beta where none was learned.
            seed: of the noise.
            draws: of it, for each step.

        Raises:
            UsageError: a recipe whose schedule has no steps; a variance that there is not.
        """
        if self.recipe.steps is None:
            raise UsageError(
                "the bound is a sum over steps, and this model's schedule has none. Train with recipe 'ddpm'."
            )
        z = self.standardiser.forward(as_table(x, self.columns).x)
        part = self.recipe.sampler
        if variance is None:
            own: Variance = "learned" if self.recipe.denoiser.variance == "learned" else "beta"
            variance = part.variance if isinstance(part, AncestralPart) else own
        try:
            bound = variational_bound(self.denoiser, z, key=seed_key(seed, "bound"), variance=variance, draws=draws)
        except ValueError as error:
            raise UsageError(str(error)) from None
        # Only the decoder speaks of x_0 itself, so the change of units belongs to its term.
        return bound._replace(reconstruction=bound.reconstruction - self.standardiser.log_det)

    # --- on disk ---

    def save(self, path: str | Path) -> None:
        """Write one `.safetensors` file, whole or not at all.

        Raises:
            UsageError: a denoiser that the recipe does not describe, so that `load` could not build it again.
            OSError: the folder is not there, cannot be written, or is full.
        """
        described: Any = jax.tree.structure(_skeleton(self.recipe, self.dim))
        if described != jax.tree.structure(self.denoiser):
            raise UsageError(
                "this model's denoiser is not the one that its recipe describes, and a file holds only what a recipe "
                "can build again. Save its arrays with equinox.tree_serialise_leaves instead."
            )
        tensors = arrays_of(self.denoiser)
        tensors["standardiser.mean"] = self.standardiser.mean
        tensors["standardiser.scale"] = self.standardiser.scale
        about = {
            "recipe": json.dumps(self.recipe.to_dict()),
            "columns": json.dumps(self.columns),
            "source": self.source,
            "fingerprint": self.fingerprint,
            "seed": str(self.seed),
        }
        if self.length is not None:
            about["length"] = repr(self.length)
        write_checkpoint(Path(path), tensors, about)

    @classmethod
    def load(cls, path: str | Path) -> "Model":
        """Read what `save` wrote. No code in the file is run.

        Raises:
            ModelFileError: no such file, another format, or any damage.
        """
        path = Path(path)
        if path.is_dir():  # that of a run
            path = path / "model.safetensors"
        tensors, about = read_checkpoint(path)
        try:
            recipe = parse(json.loads(about["recipe"]), f"the recipe in '{path}'")
            columns = json.loads(about["columns"])
            seed, source, fingerprint = int(about["seed"]), about["source"], about["fingerprint"]
            length = float(about["length"]) if "length" in about else None
            standardiser = Standardiser(tensors.pop("standardiser.mean"), tensors.pop("standardiser.scale"))
        except (KeyError, ValueError, MotesError) as error:
            raise ModelFileError(f"'{path}' is not a whole model of motes: {error}") from None
        skeleton = _skeleton(recipe, len(columns))
        denoiser = filled(skeleton, tensors, path)
        return cls(
            denoiser,
            standardiser,
            columns,
            recipe,
            source=source,
            fingerprint=fingerprint,
            seed=seed,
            folder=path.parent,
            length=length,
        )


def load(path: str | Path) -> Model:
    """Read a model file. See `Model.load`."""
    return Model.load(path)


def fit(
    data: ArrayLike | Table,
    recipe: str | Path | Recipe = "default",
    *,
    changes: Sequence[str] | Mapping[str, Any] = (),
    columns: Sequence[str] | None = None,
    seed: int = 0,
    source: str = "",
    on_progress: Callable[[Progress], None] | None = None,
) -> Model:
    """Train a model on the rows of `data`.

    Args:
        data: numbers (n, d), d >= 2.
        recipe: a name ("default", "ddpm", "tutorial"), a `.toml` file or a `Recipe`.
        changes: to it, such as {"training.steps": 8000}.
        columns: d names.
        seed: the same data, recipe and seed give the same weights, to the bit, on the same machine.
        source: what the data is called in the model file.
        on_progress: called a few times a second with a `Progress`.

    Returns:
        The model, with its losses in `model.training`. After Ctrl-C it is what was learned until then.

    Raises:
        DataError: data that cannot be used; the message names the place.
        RecipeError: a recipe that cannot be followed.
        TrainingError: the loss was not finite; `result` is the model of the last good weights.
    """
    chosen, seed = load_recipe(recipe, changes), check_seed(seed)
    table = data if isinstance(data, Table) else as_table(data, columns)
    dim = table.x.shape[1]
    standardiser = standardiser_of(table, chosen)
    part = chosen.training

    def model_of(trained: Trained) -> Model:
        denoiser = trained.averaged if part.weights == "averaged" else trained.last
        return Model(
            denoiser,
            standardiser,
            table.columns,
            chosen,
            source=source,
            fingerprint=table.fingerprint,
            seed=seed,
            training=trained,
        )

    try:
        trained = train(
            build_denoiser(chosen, dim, seed_key(seed, "weights")),
            standardiser.forward(table.x),
            loss=build_loss(chosen),
            times=build_times(chosen),
            optimiser=build_optimiser(part),
            steps=part.steps,
            batch=part.batch,
            key=seed_key(seed, "training"),
            ema=part.ema,
            last_batch=part.last_batch,
            snapshot_every=snapshot_steps(chosen, len(table.x)),
            averages=part.averages,
            on_progress=on_progress,
        )
    except TrainingError as error:
        if isinstance(error.result, Trained):
            error.result = model_of(error.result)
        raise
    return model_of(trained)


def standardiser_of(table: Table, recipe: Recipe) -> Standardiser:
    """Between the units of `table` and those that a recipe trains in."""
    return Standardiser.fit(table.x) if recipe.data.standardise else Standardiser.identity(table.x.shape[1])


def snapshot_steps(recipe: Recipe, rows: int) -> int:
    """Steps from one snapshot of the weights to the next."""
    part = recipe.training
    if part.snapshot_epochs:
        return part.snapshot_epochs * -(-rows // part.batch)
    return -(-part.steps // 5)


def _skeleton(recipe: Recipe, dim: int) -> Denoiser:
    """The denoiser of a recipe with shapes in the place of arrays."""
    return eqx.filter_eval_shape(build_denoiser, recipe, dim, jax.random.key(0))
