"""Trained models of points (columns of real numbers), by Gaussian diffusion.

A `PointModel` learns the distribution of points; a `PosteriorModel` (`points/posterior_model.py`) learns the
distribution of points given observations.
"""

from __future__ import annotations

import json
import math
import warnings
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, final

import equinox as eqx
import jax
import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from motes.arguments import check_arguments
from motes.data import Standardiser, Support, Table, as_frame
from motes.data.arrays import Array, plain
from motes.data.frames import KEY, Template
from motes.data.points import MOST, Classes, as_table, matrix_of
from motes.data.records import check_types
from motes.errors import DataError, UsageError, check_count, check_process, check_seed, unknown
from motes.points.denoisers import AnyConditional, Denoiser, Given
from motes.points.guidance import Guidance, Guided, Sampling
from motes.points.likelihood import TOLERANCE, Likelihood, log_likelihood
from motes.points.networks import StepGatedMLP
from motes.points.particles import conditional_rows, sample_inside
from motes.points.posterior import Context, NoveltyDetector
from motes.points.recipe import PointRecipe
from motes.points.samplers import Ancestral
from motes.points.sampling import ReverseProcess, sample, seed_key
from motes.points.variance import Bound, Variance, variational_bound
from motes.progress import OnProgress, Progress, Reporter, silent
from motes.training import Model, Provenance, Trained
from motes.training.averages import weights_of, with_weights
from motes.training.checkpoints import arrays_of, filled, reading
from motes.training.model import ROWS, read_provenance, require, texts_of, with_index

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from motes.evaluation import Diagnosis, Evaluation
    from motes.evaluation.points import PointDetails


SamplingLike = Sampling | Mapping[str, Any] | None

FAR = 5.0  # standard deviations from the mean beyond which a condition is far
LARGEST = 1e300  # largest mean or scale in a file, so that values several scales away are still finite
OWN = 2000  # number of the model's own samples with which conditions are compared


class PointDraws(NamedTuple):
    """Points that a model drew, in the data's units.

    Attributes:
        points: (n, d), or (m, n, d) for m observations.
        noisy: the noisy points at each recorded step, (len(record), n, d), or (len(record), m, n, d).
        effective: effective sample size of the points.
    """

    points: Array
    noisy: Array
    effective: float


@dataclass(frozen=True)
class DrawOptions:
    """The options of `sample` for one call, checked, and the steps to record."""

    label: Any = None
    seed: int = 0
    sampling: SamplingLike = None
    record: Sequence[int] = ()
    on_progress: OnProgress = silent

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", check_seed(self.seed))
        object.__setattr__(self, "sampling", Sampling.of(self.sampling))


@check_arguments
class GaussianModel(Model):
    """Base class of `PointModel` and `PosteriorModel`: a denoiser in standardised units, and how it is called.

    Attributes:
        denoiser: estimates E[x_0 | x_t], in standardised units.
        standardiser: converts between standardised units and the data's units.
        classes: the classes of its rows if it was trained with labels; otherwise None.
        context: the columns that its points are conditioned on; None for a `PointModel`.

    Example:
        >>> model.columns, model.dim, model.source
        (('x', 'y'), 2, '')
    """

    recipe: PointRecipe
    about = "points"

    def __init__(
        self,
        denoiser: Denoiser,
        standardiser: Standardiser,
        columns: Sequence[str],
        recipe: PointRecipe,
        *,
        classes: Classes | None = None,
        context: Context | None = None,
        provenance: Provenance = Provenance(),
        training: Trained[Denoiser] | None = None,
        template: Any = None,
    ):
        super().__init__(recipe, provenance, training, np.empty((0, len(columns))) if template is None else template)
        self.denoiser, self.standardiser, self.classes, self.context = denoiser, standardiser, classes, context
        self._columns = tuple(columns)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the d columns."""
        return self._columns

    @property
    def dim(self) -> int:
        """Number of columns that the network learned: all except constant ones."""
        return int(self.standardiser.varies.sum())

    @property
    def constants(self) -> dict[str, float]:
        """Columns that are constant in the training rows, with their values. Every sample contains them unchanged.

        log p of a row with another value is minus infinity.

        Example:
            >>> rows = {"x": np.arange(100.0), "c": np.full(100, 3.0)}
            >>> kept = motes.fit(rows, "default", changes={"training.steps": 2}, verbose=False)
            >>> kept.constants, kept.sample(2)["c"].tolist(), kept.score_samples({"x": [5.0], "c": [4.0]}).tolist()
            ({'c': 3.0}, [3.0, 3.0], [-inf])
        """
        units = self.standardiser
        kept = zip(self.columns, units.mean.tolist(), units.varies, strict=True)
        return {name: value for name, value, varies in kept if not varies}

    def varying(self, points: Array) -> dict[str, Array]:
        """Return a dict of the columns that are not constant: name -> numbers (...,), from points (..., d).

        Example:
            >>> [*model.varying(np.zeros((3, 2)))]
            ['x', 'y']
        """
        parts = zip(self.columns, np.moveaxis(points, -1, 0), self.standardiser.varies, strict=True)
        return {name: part for name, part, varies in parts if varies}

    def check_constants(self, x: Array, name: str) -> None:
        """Check that rows x (n, d) have the training's value in every constant column.

        Raises:
            DataError: another value; the message names the row and the column.

        Example:
            >>> model.check_constants(np.zeros((3, 2)), "the data")
        """
        different = np.argwhere(self.standardiser.differs(x))
        if len(different):
            (i, j), expected = different[0], self.standardiser.mean
            raise DataError(
                f"{name}, row {i + 1}, column '{self.columns[j]}': got {x[i, j]:g}; expected {expected[j]:g}, the "
                "column's only value in the training rows. Leave out such rows, or train a model that includes them."
            )

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        return int(weights_of(self.denoiser).size)

    @property
    def grid(self) -> NDArray[np.float32]:
        """Times at which its sampler stops, from 1 down to 0, (N+1,)."""
        return np.asarray(self.recipe.make_grid())

    @property
    def example(self) -> Array:
        """An example row (1, d) in the data's units: the centre of the training data.

        Example:
            >>> model.example.shape
            (1, 2)
        """
        return self.standardiser.inverse(np.zeros((1, self.dim)))

    @property
    def lowest_noise(self) -> float:
        """The noise level sigma_t / alpha_t at the last time at which its sampler calls the network."""
        return float(np.exp(-np.asarray(self.denoiser.schedule.log_snr(self.grid[-2])) / 2))

    def with_denoiser(self, denoiser: Denoiser, *, length: float | None = None) -> Self:
        """Return a copy of the model with another denoiser: other weights, or an exact denoiser.

        `length` is the length of the moving average of the weights, if it differs from the recipe's.

        Example:
            >>> exact = motes.truth("moons").oracle(model.denoiser.schedule, model.standardiser)
            >>> model.with_denoiser(exact).sample(3).shape
            (3, 2)
        """
        made = copy(self)
        vars(made).pop("_own_samples", None)
        vars(made).update(denoiser=denoiser, length=length)
        return made

    def averaged_over(self, sigma_rel: float) -> Self:
        """Return a copy of the model whose weights are averaged over another share of the training, 0.02 to 0.25.

        `sigma_rel` is the standard deviation of the averaging weights over the steps, divided by the number of steps
        (Karras et al. 2024, section 3).

        Raises:
            UsageError: a length out of range, or no snapshots were kept (see `training.averages`).
            ModelFileError: the snapshots are damaged, or belong to another model.

        Example:
            >>> model.averaged_over(0.1).length
            0.1
        """
        found = self.check_averages().over(sigma_rel)
        return self.with_denoiser(with_weights(self.denoiser, found), length=sigma_rel)

    # --- the reverse process ---

    def reverse_process(self, sampling: SamplingLike, given: Given | None) -> ReverseProcess:
        """Build the reverse process of points with conditioning `given`: the recipe's, with the changes in `sampling`.

        Raises:
            UsageError, RecipeError: invalid names, numbers or times; guidance without a label or a weak model.

        Example:
            >>> process = model.reverse_process({"sampler": "heun", "steps": 8}, given=None)
            >>> type(process.sampler).__name__, process.grid.shape
            ('Heun', (9,))
        """
        sampling = Sampling.of(sampling)
        sampler, grid = self.recipe.sampler_and_grid(sampling)
        return ReverseProcess(self._guided(sampling.guidance, given), sampler, grid, self.dim)

    def _guided(self, guidance: float | Guidance | None, given: Given | None) -> Denoiser:
        """Return the denoiser, with guidance if it is requested.

        Raises:
            UsageError: guidance without a label or a weak model.
        """
        if guidance is None:
            return self.denoiser
        options = guidance if isinstance(guidance, Guidance) else Guidance(guidance)
        weak: GaussianModel = self if options.weak is None else options.weak
        if options.weak is None and (given is None or given.label is None):
            why = "got no label. Pass a label" if self.classes else "this model has no classes. Train with labels"
            raise UsageError(
                f"guidance {options.weight:g} needs the label of a class, and {why}, or guide with a weaker copy "
                "of the model: Guidance(weight, weak=model), --weak MODEL."
            )
        if not isinstance(weak, GaussianModel):
            raise UsageError(f"guidance: got weak = {weak!r}; expected a model of points, weaker than this one.")
        if weak._inputs != self._inputs:
            raise UsageError(
                "the weak model does not match this one: expected the same data, columns, classes and schedule, but "
                "fewer training steps, a smaller network, or more averaging."
            )
        knows = options.weak is not None and given is not None
        return Guided(self.denoiser, weak.denoiser, options, weak_knows=knows)

    @property
    def _inputs(self) -> tuple[Any, ...]:
        """What the denoiser's inputs mean; models with equal ones can guide each other."""
        names, units = self.classes and self.classes.names, self.standardiser
        return self.columns, self.denoiser.schedule, names, self.context, units.scale.tolist(), units.support

    def _class_numbers(self, label: Any, n: int) -> NDArray[np.int32] | None:
        """Return the class index of each of n rows, (n,); None without a label."""
        if label is None:
            return None
        if self.classes is None:
            raise UsageError(
                f"label = {label}, but this model has no classes. Train a model with labels: data.label names their "
                "column ('class' for a shape); in Python, pass `labels` to `fit`."
            )
        return self.classes.numbers(label, n)

    # --- samples ---

    def draw_points(self, n: int, *, given: Any = None, **options: Any) -> PointDraws:
        """Draw the points of `sample` as arrays, whatever the training rows were.

        Takes the options of `sample`, and `record`: the steps of the reverse process whose noisy points are also
        returned, as indices into `grid`; 0 is the start.

        Example:
            >>> drawn = model.draw_points(3, record=[0, 8], sampling={"sampler": "heun", "steps": 8})
            >>> drawn.noisy.shape, bool((drawn.noisy[1] == drawn.points).all()), drawn.effective
            ((2, 3, 2), True, 3.0)
        """
        check_process()
        return self._draw(check_count(n, "points"), given, DrawOptions(**options))

    @abstractmethod
    def _draw(self, n: int, given: Any, options: DrawOptions) -> PointDraws:
        """Draw n points, for each observation."""

    def _run_sampler(self, n: int, known: Given | None, options: DrawOptions) -> tuple[NDArray[np.float32], ...]:
        """Draw n points in the units of the network, (n, d), and the noisy points of the recorded steps."""
        process, key = self.reverse_process(options.sampling, known), seed_key(options.seed, "sample")
        return sample(process, n, key=key, given=known, record=options.record, on_progress=options.on_progress)

    def draw(self, n: int, given: Any = None, **options: Any) -> Array:
        """Draw the points of `sample` as an array, (n, d), whatever the training rows were.

        For m observations of a posterior, the array is (m, n, d). Takes the options of `sample`.

        Example:
            >>> model.draw(3, seed=1, sampling={"sampler": "heun", "steps": 8}).shape
            (3, 2)
        """
        return self.draw_points(n, given=given, **options).points

    def chain(self, n: int, record: Sequence[int], **options: Any) -> tuple[Any, Any]:
        """Draw samples like `sample`, and also return the noisy points at some steps of the reverse process.

        `record` lists indices into `grid`; 0 is the start. The second result is a table for each recorded step, or one
        array (len(record), n, d) if tables are arrays. All are in the data's units, so noise looks as wide as the data.
        Takes the options of `sample`.

        Raises:
            UsageError: several observations, or a condition of a `PointModel`.

        Example:
            >>> points, noisy = model.chain(5, [0, 16])
            >>> noisy.shape
            (2, 5, 2)
        """
        drawn = self.draw_points(n, record=record, **options)
        if drawn.points.ndim > 2:
            raise UsageError(f"chain: got {len(drawn.points)} observations; expected one, such as given=x[0].")
        return self._native(drawn.points), self._tables(drawn.noisy)

    def _tables(self, points: Array) -> Any:
        """Convert points (..., n, d) to tables like the training rows: one, a list, or one array if they are arrays."""
        if points.ndim == 2:
            return self._native(points)
        tables = [self._native(one) for one in points]
        return np.stack(tables) if tables and isinstance(tables[0], np.ndarray) else tables

    # --- rows in ---

    def matrix(self, data: Any, name: str = "the data") -> Array:
        """Convert rows in any kind of table to numbers (n, d), in the order of the model's columns; NaN if missing.

        Raises:
            UsageError: columns other than the model's.
            DataError: a column that does not hold numbers.

        Example:
            >>> model.matrix({"y": [1.0], "x": [0.0]}).tolist()
            [[0.0, 1.0]]
        """
        data = plain(data)
        if isinstance(data, Table | list | tuple) or (isinstance(data, np.ndarray) and data.dtype.kind in "fiub"):
            return data.x if isinstance(data, Table) else np.asarray(data, np.float64)
        return matrix_of(self.columns, as_frame(data, self.columns if isinstance(data, np.ndarray) else None), name)

    def _rows(self, data: Any) -> Array:
        """Convert rows like `matrix`, without missing entries.

        Raises:
            DataError: rows with missing or invalid entries.
        """
        return as_table(self.matrix(data), self.columns, to_learn=False).x

    # --- on disk ---

    def parts(self) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
        """Return the arrays and texts by name from which `motes.loading` rebuilds the model.

        Raises:
            UsageError: the recipe describes another denoiser, so that `load` could not rebuild it.

        Example:
            >>> tensors, about = model.parts()
            >>> sorted(about)[:3]
            ['classes', 'columns', 'fingerprint']
        """
        described: Any = jax.tree.structure(skeleton_of(self.recipe, self.dim, self.classes, self.context))
        if described != jax.tree.structure(self.denoiser):
            raise UsageError(
                "this model's denoiser is not the one that its recipe describes, so it could not be rebuilt from a "
                "file. Save its arrays with equinox.tree_serialise_leaves instead."
            )
        tensors = arrays_of(self.denoiser)
        tensors["standardiser.mean"] = self.standardiser.mean
        tensors["standardiser.scale"] = self.standardiser.scale
        if self.standardiser.support is not None:
            tensors["support.low"], tensors["support.high"] = vars(self.standardiser.support).values()
        about = {
            "recipe": json.dumps(self.recipe.to_dict()),
            "columns": json.dumps(self.columns),
            "classes": json.dumps(self.classes.to_dict() if self.classes else None),
        }
        if self.context is not None:
            about["context"], arrays = self.context.to_state()
            tensors |= {f"context.{name}": array for name, array in arrays.items()}
        return tensors, about | texts_of(self)

    @classmethod
    def of_parts(cls, tensors: Mapping[str, NDArray[Any]], about: Mapping[str, str], path: Path) -> Self:
        """Restore a model from `parts`, with any additions of `save`, from the file `path`.

        Raises:
            ModelFileError: something is missing, malformed or does not match the rest.

        Example:
            >>> from pathlib import Path
            >>> type(model).of_parts(*model.parts(), Path("moons.safetensors")).columns
            ('x', 'y')
        """
        tensors = {name: array for name, array in tensors.items() if name != KEY}
        with reading(path):
            provenance, length = read_provenance(about)
            recipe = PointRecipe.parse(json.loads(about["recipe"]), "its recipe")
            columns = _read_columns(about["columns"])
            standardiser = _read_units(tensors, columns)
            dim, classes, context = int(standardiser.varies.sum()), _read_classes(about), None
            if cls.kind == "posterior":
                names = [name for name in tensors if name.startswith("context.")]
                arrays = {name.removeprefix("context."): tensors.pop(name) for name in names}
                context = Context.from_state(about["context"], arrays)
                context.check(columns, dim)
            # A network has at most as many layers as the file has arrays; checked before JAX traces them.
            layers = getattr(recipe.network, "depth", 0) * getattr(recipe.network, "members", 1)
            require(
                layers <= len(tensors), f"its recipe requires {layers:,} layers, but it has {len(tensors):,} arrays"
            )
            denoiser = filled(skeleton_of(recipe, dim, classes, context), tensors, path)
        model = cls(denoiser, standardiser, columns, recipe, classes=classes, context=context, provenance=provenance)
        model.folder, model.length = path.parent, length
        return model


@check_arguments
@final
class PointModel(GaussianModel):
    """A trained model of points.

    Example:
        >>> model = motes.fit(motes.make_shape("moons", 200), changes={"training.steps": 2}, verbose=False)
        >>> model.columns, model.sample(3).shape
        (('x', 'y'), (3, 2))
    """

    kind = "points"

    # --- samples ---

    def sample(
        self,
        n: int,
        *,
        given: Any = None,
        label: Any = None,
        seed: int = 0,
        sampling: SamplingLike = None,
        on_progress: OnProgress = silent,
    ) -> Any:
        """Draw `n` synthetic points, in the kind of table that the training rows had.

        A model trained on an array, a data frame or a dict returns the same. If the training rows were read from a
        file, it returns a `Frame` with `to_pandas()`, `to_polars()`, `to_arrow()` and `to_numpy()`.

        Args:
            n: number of points.
            given: conditions: column -> a number, or (low, high), one of which may be None.
            label: the class of all points, or one for each point (n,); None draws from all classes.
            seed: the same seed gives the same points.
            sampling: changes to the recipe's sampling, `motes.Sampling(sampler=, steps=, grid=, guidance=)` or a
                mapping such as {"sampler": "ddim", "steps": 50}; see docs/samplers.md.
            on_progress: called with the number of points drawn so far.

        A `UserWarning` names a condition that is so improbable that the samples are unreliable.

        Raises:
            UsageError, RecipeError: arguments that do not fit the columns or the model.

        Example:
            >>> model.sample(3).shape, bool(model.sample(3, given={"x": (0.0, None)})[:, 0].min() >= 0)
            ((3, 2), True)
        """
        for message in self.reliability_warnings(given):
            warnings.warn(message, UserWarning, stacklevel=3)
        return self._native(self.draw(n, given, label=label, seed=seed, sampling=sampling, on_progress=on_progress))

    def _draw(self, n: int, given: Mapping[str, Any] | None, options: DrawOptions) -> PointDraws:
        # Under conditions, points come from rejection or sequential Monte Carlo, whichever is cheaper. The conditions
        # are a box in standardised units, low <= z <= high with z = (x - mean) / scale; a known number is an interval
        # of width 0.
        box, units = self._parse_conditions(given), self.standardiser
        if box is None:
            z, noisy = self._run_sampler(n, self.given(options.label, n), options)
            return PointDraws(units.inverse(z), units.inverse(noisy), float(n))
        if options.record:
            raise UsageError(
                "chain: got a condition, under which points have no chain of their own. Leave out `given`."
            )
        low, high = box
        none = np.empty((0, n, len(self.columns)))
        if self.recipe.conditions.learned and ((low == high) | (np.isinf(low) & np.isinf(high))).all():
            rows = np.broadcast_to(np.where(low == high, low, np.nan), (n, len(self.columns)))
            return PointDraws(self._fill_missing(rows, options), none, float(n))
        known, key = self.given(options.label, n), seed_key(options.seed, "sample")
        process, bounds = self.reverse_process(options.sampling, known), (units.forward(low), units.forward(high))
        only, tell = Sampling.of(options.sampling).sampler is not None, options.on_progress
        z, effective = sample_inside(process, bounds, n, key=key, given=known, only=only, on_progress=tell)
        # Rounding may put a point just beyond an end; a known number is returned bit for bit.
        return PointDraws(np.clip(units.inverse(z), low, high), none, effective)

    def _parse_conditions(self, given: Mapping[str, Any] | None) -> tuple[Array, Array] | None:
        """Return the box of conditions, see `box_of`; None without conditions.

        Raises:
            UsageError: invalid conditions, or another number in a constant column.
        """
        if given is None or (isinstance(given, Mapping) and not given):
            return None
        low, high = box_of(self.columns, given)
        for j in np.flatnonzero(self.standardiser.differs(np.clip(self.standardiser.mean, low, high))):
            name = self.columns[j]
            raise UsageError(
                f"column '{name}': got {given[name]!r}; expected {self.constants[name]:g}, its only value in the "
                "training rows."
            )
        return low, high

    def reliability_warnings(self, given: Any) -> list[str]:
        """Return a sentence for each condition that is unlike the training rows; for recipe `any` also for all jointly.

        A condition is far if it lies more than 5 standard deviations from the mean of the training rows. A model that
        has learned all conditional distributions (recipe `any`) also compares the given numbers with 2,000 of its own
        samples; the false alarm rate is about 1 % or less.

        The list is empty for a model trained without standardisation, which does not know the means.

        Example:
            >>> model.reliability_warnings({"x": 0.5})
            []
        """
        box = self._parse_conditions(given)
        if box is None or not self.recipe.data.standardise:
            return []
        low, high = (self.standardiser.forward(end) for end in box)
        away = np.maximum(np.maximum(low, -high), 0.0)
        far = [
            f"the condition on '{name}' is {one:.0f} standard deviations from the mean of the training rows, "
            "which contain no such point. The samples are unreliable."
            for name, one in zip(self.varying(box[0]), away, strict=True)
            if one > FAR
        ]
        return far or (self._describe_novelty(*box) if self.recipe.conditions.learned else [])

    @cached_property
    def _own_samples(self) -> Array:
        """Samples of the joint distribution (n, d), in standardised units, with which conditions are compared."""
        return self.standardiser.forward(self._fill_missing(np.full((OWN, len(self.columns)), np.nan), DrawOptions()))

    def _describe_novelty(self, low: Array, high: Array) -> list[str]:
        """Return a sentence for each way in which the known numbers of a box differ from the model's own samples."""
        varies = self.standardiser.varies
        there = (low == high) & varies
        if not there.any():
            return []
        units, own = self.standardiser.of(there), self._own_samples[:, there[varies]]
        own = own[np.isfinite(own).all(axis=1)]
        if len(own) < OWN // 2:  # sampling warns of rows that are not finite
            return []
        detector = NoveltyDetector.fit(own, np.ones(own.shape, bool))
        names = [name for name, known in zip(self.columns, there, strict=True) if known]
        row, ends = low[None, there], units.inverse(detector.ends.T).T
        return detector.describe(units.forward(row), row, names, ends, lambda _: "the condition", f"{OWN:,} draws")

    def given(self, label: Any, n: int) -> Given | None:
        """Return the denoiser's conditioning for `n` rows of one class, or of one class each; None without a label.

        Raises:
            UsageError: an unknown label, or a model without classes.

        Example:
            >>> model.given(None, n=3) is None
            True
        """
        numbers = self._class_numbers(label, n)
        return None if numbers is None else Given(numbers)  # type: ignore[arg-type]

    def observed(self, rows: NDArray[np.float64]) -> Given:
        """Return the conditioning of an `AnyConditional` denoiser for rows (n, d), NaN if unknown.

        Example:
            >>> theta = motes.make_shape("moons", 200)
            >>> both = motes.fit(theta, "any", given=theta[:, :1], changes={"training.steps": 2}, verbose=False)
            >>> both.observed(np.array([[np.nan, 0.5, 0.1]])).context.shape
            (1, 6)
        """
        there = ~np.isnan(rows)
        # Unknown entries are masked below; the filler is a training value, which is within all bounds.
        z = self.standardiser.forward(np.where(there, rows, self.standardiser.inverse(np.zeros(self.dim))))
        there = there[:, self.standardiser.varies]
        return Given(context=np.hstack([np.where(there, z, 0.0), there]))  # type: ignore[arg-type]

    # --- likelihood ---

    def likelihood(
        self,
        data: Any,
        *,
        given: Any = (),
        label: Any = None,
        tolerance: float = TOLERANCE,
        on_progress: OnProgress = silent,
    ) -> Likelihood:
        """Compute log p of each row by the probability flow, in nats of the data's units, with its errors.

        It is the log-density of the samples that `sample` draws with Heun's method, except for that sampler's error;
        `bound` bounds the log-density of the chain of noisy steps, which is another distribution. log p is minus
        infinity outside the bounds, and for a wrong value in a constant column.

        Args:
            data: n rows, in any kind of table.
            given: for recipe "any": columns to condition on; log p of the other columns is returned.
            label: computes log p(x | label): one class for all rows, or one for each row (n,).
            tolerance: error of the integration, in nats per row.
            on_progress: called with the number of rows scored so far.

        Raises:
            DataError: rows with missing or invalid entries; the message names the row and the column.
            UsageError: an argument out of range, an unknown label, or a network that is only defined at the
                schedule's steps.

        Example:
            >>> found = model.likelihood(motes.make_shape("moons", 3))
            >>> found.log_prob.shape, found.error.shape
            ((3,), (3,))
        """
        check_process()
        named = [] if given is None else [*given] if isinstance(given, Mapping) else given
        names = tuple(np.atleast_1d(named).ravel().tolist())
        if names and not self.recipe.conditions.learned:
            raise UsageError(
                "got an observation, but this model is not conditioned on anything. Train one that is: "
                "motes.fit(theta, given=x)."
            )
        rows = self._rows(data)
        options: dict[str, Any] = {"tolerance": tolerance, "on_progress": on_progress}
        if isinstance(getattr(self.denoiser, "network", None), StepGatedMLP):
            raise UsageError(
                "got a network of kind 'step_gated', which is only defined at the schedule's steps; expected one that "
                "is defined at all times, since otherwise the flow jumps and has no density. Train with network.kind = "
                "'residual', or use the variational bound, model.bound in Python."
            )
        if names:
            self._check_given(names)
            return self._likelihood_given(rows, np.isin(self.columns, names), **options)
        z, known = self.standardiser.forward(rows), self.given(label, len(rows))
        found = log_likelihood(self.denoiser, z, given=known, **options)
        return found._replace(log_prob=found.log_prob + self.standardiser.log_det(rows))

    def _check_given(self, names: tuple[Any, ...]) -> None:
        """Check that log p can be conditioned on the columns `names`."""
        for name in names:
            if name not in self.columns:
                raise UsageError(unknown("given column", str(name), self.columns))
        if {*self.columns} - {*self.constants} <= {*names}:
            raise UsageError("all columns are given or constant; expected at least one column left to score.")

    def _likelihood_given(self, rows: NDArray[np.float64], there: NDArray[np.bool_], **options: Any) -> Likelihood:
        """Return log p of the other columns given the columns where `there` (d,) is true."""
        z, known = self.standardiser.forward(rows), self.observed(np.where(there, rows, np.nan))
        # Observed columns are treated as independent N(0, 1) columns at 0, so their log-density can be subtracted.
        assert isinstance(self.denoiser, AnyConditional)  # as its recipe says
        apart, observed = AnyConditional(self.denoiser.denoiser, self.dim, apart=True), there[self.standardiser.varies]
        found = log_likelihood(apart, np.where(observed, 0.0, z), given=known, **options)
        normal = -0.5 * math.log(2 * math.pi) * observed.sum()
        return found._replace(log_prob=found.log_prob - normal + self.standardiser.of(~there).log_det(rows[:, ~there]))

    def bound(self, data: Any, *, variance: Variance | None = None, seed: int = 0, draws: int = 1) -> Bound:
        """Estimate the variational bound on -log p(x) of rows (n, d), term by term, in nats of the data's units.

        Args:
            data: rows, in any kind of table.
            variance: variance of a reverse step, "beta", "posterior" or "learned". None uses the variance of the
                recipe's ancestral sampler; with another sampler, the learned variance if there is one, otherwise beta.
            seed: random seed of the noise.
            draws: number of noise draws per step.

        Raises:
            UsageError: a recipe whose schedule has no steps; an unknown variance.

        Example:
            >>> steps = motes.fit(motes.make_shape("moons", 200), "ddpm", changes={"training.steps": 2}, verbose=False)
            >>> bound = steps.bound(motes.make_shape("moons", 3), variance="posterior")
            >>> bound.nats.shape, bound.kl.shape
            ((3,), (3, 99))
            >>> steps.bound([[0.5, 0.2]]).nats.shape
            (1,)
        """
        check_process()
        if self.recipe.steps is None:
            raise UsageError(
                "the bound is a sum over steps, and this model's schedule has none. Train with recipe 'ddpm'."
            )
        rows = self._rows(data)
        z = self.standardiser.forward(rows)
        part = self.recipe.sampler
        if variance is None:
            own: Variance = "learned" if self.recipe.denoiser.variance == "learned" else "beta"
            variance = part.variance if isinstance(part, Ancestral) else own
        bound = variational_bound(self.denoiser, z, key=seed_key(seed, "bound"), variance=variance, draws=draws)
        # Only the decoder is a density of x_0, so the change of units belongs to its term.
        log_det = self.standardiser.log_det(rows).astype(bound.reconstruction.dtype)
        return bound._replace(reconstruction=bound.reconstruction - log_det)

    # --- classes ---

    def predict_proba(self, data: Any, *, on_progress: OnProgress = silent) -> tuple[Array, list[Any]]:
        """Return p(label | x) of each row, (n, classes), and the labels.

        It uses Bayes' rule with log p(x | label) and the class frequencies of the training rows.

        Raises:
            UsageError: a model without classes.
            DataError: rows with missing or invalid entries.

        Example:
            >>> x, labels = motes.data.make_labelled_shape("moons", 200)
            >>> labelled = motes.fit(x, labels=labels, changes={"training.steps": 2}, verbose=False)
            >>> labelled.predict_proba(x[:3])[0].sum(axis=1).round(3).tolist()
            [1.0, 1.0, 1.0]
        """
        check_process()
        rows = self._rows(data)
        if self.classes is None:
            raise UsageError("this model has no classes. Train a model with labels: pass `labels` to `fit`.")
        n, count = len(rows), len(self.classes)
        known = Given(np.repeat(np.arange(count, dtype=np.int32), n))  # type: ignore[arg-type]
        tell = lambda now: on_progress(Progress(now.done // count, n))
        z = np.tile(self.standardiser.forward(rows), (count, 1))
        log_prob = log_likelihood(self.denoiser, z, given=known, on_progress=tell).log_prob.reshape(count, n)
        p = np.asarray(softmax(log_prob + np.log(self.classes.weights)[:, None], axis=0).T)
        return p, list(self.classes.names)

    def predict(self, data: Any) -> NDArray[Any]:
        """Return the most likely label of each row, (n,).

        Raises:
            UsageError, DataError: as in `predict_proba`.

        Example:
            >>> x, labels = motes.data.make_labelled_shape("moons", 200)
            >>> labelled = motes.fit(x, labels=labels, changes={"training.steps": 2}, verbose=False)
            >>> labelled.predict(x[:3]).shape
            (3,)
        """
        p, labels = self.predict_proba(data)
        return np.array(labels)[p.argmax(axis=1)]

    # --- imputation ---

    def impute(self, data: Any, *, draws: int | None = None, seed: int = 0, on_progress: OnProgress = silent) -> Any:
        """Fill in missing entries with draws given the observed entries of each row, which are returned bit for bit.

        Args:
            data: rows (n, d) with missing entries, in any kind of table.
            draws: number of completed tables, returned as a list; None returns one table.
            seed: random seed.
            on_progress: called with the number of rows filled in so far, over all draws.

        Raises:
            DataError: the wrong number of columns, an infinite number, or a wrong number in a constant column.
            UsageError: a row that is impossible under the model.

        Example:
            >>> model.impute([[0.5, np.nan], [0.1, 0.2]]).shape
            (2, 2)
        """
        check_process()
        count, kind = 1 if draws is None else check_count(draws, "draws"), Template.of(data)
        x = self._check_incomplete(self.matrix(data))
        holes, tables = np.isnan(x).any(axis=1), []
        rows = int(holes.sum())
        for number, word in enumerate(np.random.SeedSequence([check_seed(seed), 577215]).generate_state(count)):
            tell = lambda now, before=number * rows: on_progress(now.after(before, count * rows))
            filled = x.copy()
            if rows:
                filled[holes] = self._fill_missing(x[holes], DrawOptions(seed=int(word), on_progress=tell))
            tables.append(with_index(as_frame(filled, self.columns).like(kind), data))
        return tables[0] if draws is None else tables

    def _check_incomplete(self, x: Array) -> Array:
        """Check rows (n, d) with missing entries, and return them with the numbers of the constant columns."""
        if x.ndim != 2 or x.shape[1] != len(self.columns):
            raise DataError(f"the data has shape {x.shape}; expected (rows, {len(self.columns)}).")
        if np.isinf(x).any():
            row, j = np.argwhere(np.isinf(x))[0]
            raise DataError(
                f"the data, row {row + 1}, column '{self.columns[j]}': got {x[row, j]}; expected a finite number."
            )
        self.check_constants(x, "the data")
        return np.where(np.isnan(x) & ~self.standardiser.varies, self.standardiser.mean, x)

    def _fill_missing(self, rows: Array, options: DrawOptions) -> Array:
        """Fill in the NaN entries of rows (n, d) given the others: by the network if it learned all conditionals."""
        known, units = ~np.isnan(rows), self.standardiser
        if self.recipe.conditions.learned:
            z: NDArray[np.floating] = self._run_sampler(len(rows), self.observed(rows), options)[0]
        else:
            there, key, grid = known[:, units.varies], seed_key(options.seed, "impute"), self.recipe.make_grid()
            z = units.forward(np.where(known, rows, 0.0))
            drawn, _ = conditional_rows(self.denoiser, z, there, key=key, grid=grid, on_progress=options.on_progress)
            z = drawn[:, 0]
        return np.where(known, rows, units.inverse(z))

    # --- evaluation ---

    def evaluate(
        self, data: Any = None, *, n: int = ROWS, seed: int = 0, verbose: bool = False
    ) -> Evaluation[PointDetails]:
        """Compare samples with real points: held-out rows, fresh draws of a shape, or other rows.

        Args:
            data: a shape, a data set, a file or rows in memory; None uses the source that the model was trained on.
            n: maximal number of samples.
            seed: random seed of the samples and the metrics.
            verbose: show progress.

        Raises:
            UsageError: there are no real rows to compare with.
            DataError: rows with other columns, or with missing or invalid entries.

        Example:
            >>> found = model.evaluate(motes.make_shape("moons", 200, seed=1), n=200)
            >>> found.severity  # two steps of training are too few
            'large'
        """
        from motes.evaluation.models import evaluate_point_model

        return evaluate_point_model(self, self._source(data), n=n, seed=seed, reporter=Reporter(not verbose))

    def diagnose(
        self, data: Any = None, *, n: int = 8192, seed: int = 0, on_progress: OnProgress = silent
    ) -> Diagnosis:
        """Find problems of the model and their fixes, and split the error of the samples by source.

        Args:
            data: as in `evaluate`.
            n: maximal number of samples.
            seed: random seed.
            on_progress: called with the number of points drawn so far.

        Raises:
            UsageError: there are no real rows to compare with, or too few.

        Example:
            >>> model.diagnose("moons", n=64).split.rows
            64
        """
        from motes.evaluation.diagnosis import diagnose_model

        return diagnose_model(self, self._source(data), n=n, seed=seed, on_progress=on_progress)

    def plot(self, data: Any = None, *, n: int = 2000, seed: int = 0, style: str = "light") -> Axes | Figure:
        """Plot samples: a scatter plot of two columns, or the distribution of each column that is not constant.

        Args:
            data: real rows to draw as areas, in any kind of table; only for more than two columns.
            n: number of samples.
            seed: random seed of the samples.
            style: "light" or "dark".

        Example:
            >>> axes = model.plot(n=100)
            >>> axes.get_title()
            '100 samples'
        """
        from motes import plots

        shown, title = self.varying(self.draw(check_count(n, "samples"), seed=seed)), f"{n:,} samples"
        if self.dim == 2:
            if data is not None:
                raise UsageError("got data, but this model has two columns. Plot the data with motes.plots.scatter.")
            return plots.scatter(np.stack([*shown.values()], axis=1), title=title, style=style)
        real = None if data is None else self.varying(self.matrix(data))
        return plots.marginals(shown, real, title=title, style=style)

    def _source(self, data: Any) -> Any:
        return data if data is None or isinstance(data, str | Path) else self.matrix(data)


def box_of(columns: Sequence[str], given: Mapping[str, Any]) -> tuple[Array, Array]:
    """Convert conditions to the bounds (d,), (d,) of a box in the data's units; infinite without a condition.

    Args:
        columns: names of the columns.
        given: column -> a number, or (low, high), both included, one of which may be None.

    Raises:
        UsageError: an unknown column, anything but finite numbers, or low > high.
    """
    if not isinstance(given, Mapping):
        raise UsageError(
            f"given: got {type(given).__name__}; expected a dict, column -> condition, such as "
            f"{{'{columns[-1]}': 0.5}}. Choose from: {', '.join(columns)}."
        )
    low, high = np.full((2, len(columns)), [[-np.inf], [np.inf]])
    for name, value in given.items():
        if name not in columns:
            raise UsageError(unknown("column", str(name), columns))
        j, interval = columns.index(name), isinstance(value, tuple)
        ends = value if interval else (value, value)
        if len(ends) != 2 or ends == (None, None) or (not interval and value is None):
            raise UsageError(f"column '{name}': got {value!r}; expected a number, or (low, high).")
        for at, end in ((low, ends[0]), (high, ends[1])):
            if end is None:
                continue
            if isinstance(end, bool) or not isinstance(end, int | float | np.number) or not np.isfinite(end):
                raise UsageError(f"column '{name}': got {end!r}; expected a finite number. An open end is None.")
            at[j] = end
        if low[j] > high[j]:
            raise UsageError(f"column '{name}': got {low[j]:g} to {high[j]:g}; expected low <= high.")
    return low, high


def skeleton_of(recipe: PointRecipe, dim: int, classes: Classes | None, context: Context | None) -> Denoiser:
    """Build the denoiser of a recipe with shapes instead of arrays."""
    counts = (len(classes) if classes else 0, context.inputs if context else 0)
    return eqx.filter_eval_shape(recipe.make_denoiser, dim, jax.random.key(0), *counts)


# --- The contents of a model file -----------------------------------------------------------------------------------


def _read_columns(text: str) -> tuple[str, ...]:
    """Parse the column names of points.

    Raises:
        ValueError: invalid names.
    """
    names = json.loads(text)
    fine = isinstance(names, list) and len(names) > 0 and all(isinstance(name, str) for name in names)
    require(fine and len({*names}) == len(names), "its columns have no names, or the same name twice")
    return tuple(names)


def _read_units(tensors: dict[str, NDArray[Any]], columns: Sequence[str]) -> Standardiser:
    """Build the standardiser of the data's units; its arrays are removed from `tensors`.

    Raises:
        KeyError, ValueError: missing or invalid arrays, or another number of columns.
    """

    def take(name: str) -> NDArray[np.float64]:
        array = tensors.pop(name)
        shape = (len(columns),)
        if array.shape != shape or array.dtype != np.float64 or np.isnan(array).any():
            raise ValueError(f"'{name}' is {array.dtype} {array.shape}; expected {shape} numbers of float64")
        return array

    support = Support(take("support.low"), take("support.high")) if "support.low" in tensors else None
    require(support is None or bool((support.low < support.high).all()), "its bounds do not rise")
    mean, scale = take("standardiser.mean"), take("standardiser.scale")
    finite = (np.abs(mean) < LARGEST).all() and (scale < LARGEST).all() and (scale >= 0).all() and (scale > 0).any()
    require(bool(finite), "'standardiser.scale' is below 0, or 0 everywhere, or its numbers are not finite")
    return Standardiser(mean, scale, support)


def _read_classes(about: Mapping[str, str]) -> Classes | None:
    """Parse the classes of the rows; None if there are none.

    Raises:
        ValueError: they are malformed.
    """
    labels = json.loads(about["classes"])
    if not labels:
        return None
    classes = Classes.from_dict(labels)
    check_types(classes)
    names = {str(name) for name in classes.names}
    require(len(names) == len(classes.names) == len(classes.counts) and 2 <= len(names) <= MOST, "its classes")
    require(min(classes.counts) >= 0 and sum(classes.counts) > 0, "how many rows its classes had")
    return classes
