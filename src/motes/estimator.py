"""`DiffusionModel`: a diffusion model of a table, with the manners of a scikit-learn estimator.

model = DiffusionModel().fit(table)
model.sample(1000, given={"age": 40})
model.score_samples(table)
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, DensityMixin, OneToOneFeatureMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from motes.data.frames import is_missing, unique_names
from motes.data.natives import collected, in_library, is_frame, names_of
from motes.data.templates import packed, template_of, unpacked, without
from motes.errors import DataError, ModelFileError, UsageError, check_count
from motes.learning.checkpoints import read_checkpoint, write_checkpoint
from motes.model import model_path
from motes.recipes import Recipe
from motes.table_fitting import fit_table
from motes.tabular import TableModel

Array = NDArray[np.float64]


def _has_classes(model: "DiffusionModel") -> bool:
    fitted = getattr(model, "model_", None)
    if fitted is not None and fitted.classes is None:
        raise AttributeError("it was fitted without labels; fit(X, y) with y.")
    return True


class DiffusionModel(TransformerMixin, OneToOneFeatureMixin, DensityMixin, BaseEstimator):
    """A diffusion model of the rows of a table: it samples, scores, conditions and fills in.

    Args:
        recipe: a name ("table", "default", ...), a `.toml` file or a `Recipe`.
        max_steps: of training, in the place of the recipe's, which leaves it to the rows: 1,000 to 8,000.
        changes: to the recipe, such as {"network.width": 256}.
        columns: what columns are, such as {"age": "integer"}, in the place of what is inferred, or "drop" for those to
            be left out; see docs/tables.md.
        warm_start: go on from the last fit, with the same columns.
        random_state: of `fit`, and of draws that have none of their own.

    Attributes:
        model_: the `TableModel`.
        n_features_in_, feature_names_in_: columns of X, and their names where they have any.
        classes_: where `fit` was given labels.
        n_iter_: steps of training, of all fits that went on from one another.
        history_: loss of every step, (n_iter_,).
    """

    def __init__(
        self,
        recipe: str | Path | Recipe = "table",
        *,
        max_steps: int | None = None,
        changes: Mapping[str, Any] | None = None,
        columns: Mapping[str, Any] | None = None,
        warm_start: bool = False,
        random_state: Any = None,
    ):
        self.recipe = recipe
        self.max_steps = max_steps
        self.changes = changes
        self.columns = columns
        self.warm_start = warm_start
        self.random_state = random_state

    # --- learning ---

    def fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the law of the rows of X.

        Args:
            X: rows (n, d): a NumPy array, a pandas, polars or Arrow table. NaN, None and null are missing cells.
            y: the class of each row (n,), for `predict_proba` and `sample(y=...)`.
            sample_weight: how much each row counts (n,).

        What should be known of a column, such as that it is constant, is warned of. Ctrl-C ends the training with what
        was learned so far, and a `ConvergenceWarning` says how many steps that were.

        Raises:
            DataError: data that cannot be used; the message names the row and the column.
            RecipeError, UsageError: a recipe or columns that do not fit.
        """
        start = getattr(self, "model_", None) if self.warm_start else None
        return self._fit(X, y, sample_weight, start)

    def partial_fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Go on learning, from these rows; the first call decides what the columns are. See `fit`."""
        return self._fit(X, y, sample_weight, getattr(self, "model_", None))

    def _fit(self, X: Any, y: Any, sample_weight: ArrayLike | None, start: TableModel | None) -> Self:
        X = self._validated(X, reset=start is None)
        n = X.shape[0]
        classes = getattr(self, "classes_", None) if start and start.classes else None
        labels, weights, told = None, None, None
        if y is not None:
            labels = _labels(y, n)
            told = _names(labels) if classes is None else self._told(labels, classes)
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, np.empty((n, 1)), dtype=np.float64)
        changes = dict(self.changes or {})
        if self.max_steps is not None:
            changes["training.steps"] = check_count(self.max_steps, "steps")
        seed = _seed(self.random_state)
        model = fit_table(
            X,
            self.recipe,
            changes=changes,
            columns=self.columns,
            labels=told,
            weights=weights,
            seed=seed,
            start=start,
        )
        training = model.model.training
        assert training is not None  # it was trained just now
        before: NDArray[np.float32] = getattr(self, "history_", training.losses[:0]) if start else training.losses[:0]
        self.history_: NDArray[np.float32] = np.concatenate([before, training.losses])
        self.n_iter_ = len(self.history_)
        self.model_ = model
        self.template_ = without(template_of(X), self._dropped)
        if labels is not None:
            self.classes_ = np.unique(labels) if classes is None else classes
        elif hasattr(self, "classes_"):
            del self.classes_
        if start is None:
            for said in model.encoder.warnings:
                warnings.warn(said, UserWarning, stacklevel=3)
        if training.interrupted:
            warnings.warn(
                f"interrupted after {training.steps:,} of {model.recipe.training.steps:,} steps; the model is what was "
                "learned so far.",
                ConvergenceWarning,
                stacklevel=3,
            )
        return self

    def _told(self, y: Any, classes: NDArray[Any] | None = None) -> Any:
        """What the model calls the classes `y`, one or one for each row, of those that `fit` saw."""
        if y is None:
            return None
        classes = getattr(self, "classes_", None) if classes is None else classes
        if classes is None:
            raise UsageError(f"y = {y!r}, but this model was fitted without labels. Fit it with them: fit(X, y).")
        names = dict(zip(classes.tolist(), _names(classes).tolist(), strict=True))
        plain = np.asarray(y).tolist()
        try:
            return [names[one] for one in plain] if isinstance(plain, list) else names[plain]
        except (KeyError, TypeError):
            wrong = next(one for one in np.atleast_1d(np.asarray(y)).ravel().tolist() if one not in names)
            known = ", ".join(str(one) for one in names)
            raise UsageError(f"class {wrong!r} was not among those of the first fit: {known}.") from None

    # --- asking ---

    def sample(
        self,
        n_samples: int = 1,
        *,
        given: Mapping[str, Any] | None = None,
        y: Any = None,
        random_state: Any = None,
        return_effective: bool = False,
    ) -> Any:
        """Draw new rows, in the type, names and dtypes of the X that `fit` was given.

        Args:
            n_samples: how many.
            given: what is known of them: column -> value, or (low, high), both included, one of which may be None.
                Columns go by their names, those of an array by their places 0, 1, ...
            y: their class, one for all rows or one for each.
            random_state: in the place of the estimator's.
            return_effective: give the effective sample size as well; it is `n_samples` unless intervals are given.

        Raises:
            UsageError, DataError: what does not fit.
        """
        check_is_fitted(self)
        if given is not None and not isinstance(given, Mapping):
            raise UsageError(
                f'given is of type {type(given).__name__}; expected a mapping, such as {{"age": 40}}: column -> value.'
            )
        seed = _seed(self.random_state if random_state is None else random_state)
        drawn = self.model_.sample(n_samples, given=given, label=self._told(y), seed=seed)
        rows = drawn.like(self.template_)
        return (rows, drawn.effective) if return_effective else rows

    def score_samples(self, X: Any, y: Any = None) -> Array:
        """log p of each row, (n,), in nats of the data's units: of its known cells, a mass for discrete columns.

        With `y`, the class of each row, it is log p(row | y).
        """
        check_is_fitted(self)
        return self.model_.score_samples(self._validated(X), label=self._told(y))

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of `score_samples`, over the rows of X; `y` is ignored."""
        return float(np.mean(self.score_samples(X)))

    def impute(self, X: Any, *, draws: int | None = None, random_state: Any = None) -> Any:
        """Fill in the missing cells by draws from their law given the known ones, which come back to the bit.

        Args:
            X: rows (n, d) with holes.
            draws: a list of as many tables; None gives one table.
            random_state: in the place of the estimator's.
        """
        check_is_fitted(self)
        seed = _seed(self.random_state if random_state is None else random_state)
        X = without(self._validated(X), self._dropped)
        made = [frame.like(X) for frame in self.model_.impute(X, draws=1 if draws is None else draws, seed=seed)]
        if hasattr(X, "iloc"):  # pandas, or what has its manners
            for table in made:
                table.index = X.index
        return made[0] if draws is None else made

    def transform(self, X: Any) -> Any:
        """`impute` with one draw, always the same, in the type that `set_output` asks for."""
        made = self.impute(X, random_state=0 if self.random_state is None else self.random_state)
        return in_library(made, _get_output_config("transform", self)["dense"])

    @available_if(_has_classes)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Array:
        """p(y | row) of each row, (n, classes) in the order of `classes_`."""
        check_is_fitted(self)
        known = self.model_.classes
        assert known is not None  # it would have no such method
        order = [known.number(name) for name in _names(self.classes_)]  # there it is that of their texts
        return self.model_.predict_proba(self._validated(X))[:, order]

    @available_if(_has_classes)  # type: ignore[untyped-decorator]
    def predict(self, X: Any) -> NDArray[Any]:
        """The likeliest class of each row, (n,)."""
        chosen = self.predict_proba(X).argmax(axis=1)
        return self.classes_[chosen]

    @property
    def _dropped(self) -> list[int]:
        """Places of the columns of X that are left out."""
        encoder = self.model_.encoder
        return [encoder.came.index(name) for name in encoder.dropped]

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Names of the columns that `transform` gives: those of X that are not dropped."""
        check_is_fitted(self)
        return np.delete(super().get_feature_names_out(input_features), self._dropped)

    # --- on disk ---

    def save(self, path: str | Path) -> None:
        """Write one `.safetensors` file, which `DiffusionModel.load` and the command line read.

        Raises:
            UsageError: a name that does not end in .safetensors, or parameters that no file can hold.
            OSError: the folder is not there, cannot be written, or is full.
        """
        check_is_fitted(self)
        tensors, about = self.model_.parts()
        mine = {"columns": self.columns, "warm_start": self.warm_start, "random_state": self.random_state}
        try:
            about["estimator"] = json.dumps(mine)
        except TypeError as error:
            raise UsageError(
                f"a parameter that no file can hold: {error}. Set random_state to a whole number or None."
            ) from None
        about["template"], tensors["estimator.template"] = packed(self.template_)
        tensors["estimator.history"] = self.history_
        if hasattr(self, "classes_"):
            tensors["estimator.classes"] = _packed_classes(self.classes_)
        write_checkpoint(Path(path), tensors, about)

    @classmethod
    def load(cls, path: str | Path) -> "DiffusionModel":
        """Read what `save` wrote. No code in the file is run. Its `recipe` is the one that was followed, whole.

        Raises:
            ModelFileError: no such file, another format, or any damage.
        """
        path = model_path(path)
        tensors, about = read_checkpoint(path)
        try:
            mine, library = json.loads(about["estimator"]), about["template"]
            model = TableModel.of_parts(tensors, about, path)
            made = cls(model.recipe, **mine)
            made.template_ = unpacked(library, tensors["estimator.template"])
            made.history_ = tensors["estimator.history"]
            if "estimator.classes" in tensors:
                dtype, labels = json.loads(tensors["estimator.classes"].tobytes())
                made.classes_ = np.array(labels, np.dtype(dtype))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(
                f"'{path}' was not saved by a DiffusionModel ({error!r}). `motes.load` reads any model."
            ) from None
        came = model.encoder.came or model.columns
        made.model_, made.n_iter_, made.n_features_in_ = model, len(made.history_), len(came)
        if not isinstance(made.template_, np.ndarray):
            made.feature_names_in_ = np.array(came, dtype=object)
        return made

    # --- checks ---

    def _validated(self, X: Any, *, reset: bool = False) -> Any:
        """X in the type that it came in, checked as scikit-learn does it, but for what `as_frame` checks better."""
        if is_frame(X):
            X = collected(X, "X")
            unique_names(names_of(X), "X")
            validate_data(self, X, reset=reset, skip_check_array=True)
            return X
        if isinstance(X, list | tuple):
            _check_even(X)
            if np.asarray(X, dtype=object).ndim == 2 and np.asarray(X).dtype.kind in "US":
                X = np.asarray(X, dtype=object)  # [1, "a"] holds a number
        return validate_data(self, X, reset=reset, dtype=None, ensure_all_finite=False, ensure_min_samples=2 * reset)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def _labels(y: Any, n: int) -> NDArray[Any]:
    """The class of each row, (n,), of any type whose values have an order."""
    labels = column_or_1d(y, warn=True)
    check_consistent_length(labels, np.empty(n))
    for i, label in enumerate(labels.tolist()):
        if is_missing(label):
            raise DataError(f"the label of row {i + 1} is {label!r}; expected a class. Leave out rows without one.")
    try:
        np.unique(labels)
    except TypeError:
        kinds = " and ".join(sorted({type(label).__name__ for label in labels.tolist()}))
        raise DataError(f"the labels are of types {kinds}, which have no order. Give labels of one type.") from None
    return labels


def _names(labels: NDArray[Any]) -> NDArray[Any]:
    """What a model calls these classes: whole numbers and texts as they are, all else as text."""
    if labels.dtype.kind == "f" and (np.rint(labels) == labels).all():
        return labels.astype(np.int64)
    return labels if labels.dtype.kind in "iuU" else np.array([str(label) for label in labels.tolist()])


def _packed_classes(classes: NDArray[Any]) -> NDArray[np.uint8]:
    """dtype and labels, for JSON."""
    plain = (classes.astype(str) if classes.dtype.kind == "M" else classes).tolist()
    try:
        return np.frombuffer(json.dumps([classes.dtype.str, plain]).encode(), np.uint8)
    except TypeError as error:
        raise UsageError(f"classes that no file can hold: {error}. Give labels as texts or numbers.") from None


def _check_even(rows: Any) -> None:
    """Refuse rows of different lengths."""
    widths = [len(row) if hasattr(row, "__len__") and not isinstance(row, str) else -1 for row in rows]
    for i, width in enumerate(widths):
        if width != widths[0] and min(width, widths[0]) >= 0:
            raise DataError(f"X, row {i + 1} has {width} cells, and row 1 has {widths[0]}. Expected as many in each.")


def _seed(random_state: Any) -> int:
    """A seed of motes of whatever scikit-learn takes for one; None: another one every time."""
    if isinstance(random_state, int | np.integer) and not isinstance(random_state, bool):
        return int(random_state)
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return int(check_random_state(random_state).randint(2**31))
