"""`DiffusionModel`: a diffusion model of a table, with the manners of a scikit-learn estimator.

model = DiffusionModel().fit(table)
model.sample(1000, given={"age": 40})
model.score_samples(table)
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, DensityMixin, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)

from motes.data.natives import collected, is_frame
from motes.data.templates import packed, template_of, unpacked
from motes.errors import ModelFileError, UsageError, check_count
from motes.learning.checkpoints import read_checkpoint, write_checkpoint
from motes.model import model_path
from motes.recipes import Recipe
from motes.tabular import TableModel, fit_table

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
        max_steps: of training, in the place of the recipe's.
        changes: to the recipe, such as {"network.width": 256}.
        columns: what columns are, such as {"age": "integer"}, in the place of what is inferred; see docs/tables.md.
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
        labels, weights = None, None
        if y is not None:
            labels = _labels(y, n)
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
            labels=labels,
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
        self.template_ = template_of(X)
        if labels is not None:
            self.classes_ = np.unique(labels)
        elif hasattr(self, "classes_"):
            del self.classes_
        return self

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
            given: what is known of them: column -> value, or (low, high), both included, one of which may be None. The
                columns of an array without names are called x, y or x0, x1, ...
            y: their class, one for all rows or one for each.
            random_state: in the place of the estimator's.
            return_effective: give the effective sample size as well; it is `n_samples` unless intervals are given.

        Raises:
            UsageError, DataError: what does not fit.
        """
        check_is_fitted(self)
        seed = _seed(self.random_state if random_state is None else random_state)
        drawn = self.model_.sample(n_samples, given=given, label=y, seed=seed)
        rows = drawn.like(self.template_)
        return (rows, drawn.effective) if return_effective else rows

    def score_samples(self, X: Any, y: Any = None) -> Array:
        """log p of each row, (n,), in nats of the data's units: of its known cells, a mass for discrete columns.

        With `y`, the class of each row, it is log p(row | y).
        """
        check_is_fitted(self)
        return self.model_.score_samples(self._validated(X), label=y)

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of `score_samples`, over the rows of X; `y` is not used."""
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
        X = self._validated(X)
        made = [frame.like(X) for frame in self.model_.impute(X, draws=1 if draws is None else draws, seed=seed)]
        if hasattr(X, "iloc"):  # pandas, or what has its manners
            for table in made:
                table.index = X.index
        return made[0] if draws is None else made

    def transform(self, X: Any) -> Any:
        """`impute` with one draw, always the same."""
        return self.impute(X, random_state=0 if self.random_state is None else self.random_state)

    @available_if(_has_classes)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Array:
        """p(y | row) of each row, (n, classes) in the order of `classes_`."""
        check_is_fitted(self)
        return self.model_.predict_proba(self._validated(X))

    @available_if(_has_classes)  # type: ignore[untyped-decorator]
    def predict(self, X: Any) -> NDArray[Any]:
        """The likeliest class of each row, (n,)."""
        chosen = self.predict_proba(X).argmax(axis=1)
        return self.classes_[chosen]

    # --- on disk ---

    def save(self, path: str | Path) -> None:
        """Write one `.safetensors` file, which `DiffusionModel.load` and the command line read.

        Raises:
            UsageError: parameters that no file can hold.
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
            tensors["estimator.classes"] = np.frombuffer(json.dumps(self.classes_.tolist()).encode(), np.uint8)
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
                made.classes_ = np.array(json.loads(tensors["estimator.classes"].tobytes()))
        except (KeyError, TypeError, ValueError) as error:
            raise ModelFileError(
                f"'{path}' was not saved by a DiffusionModel ({error!r}). `motes.load` reads any model."
            ) from None
        made.model_, made.n_iter_, made.n_features_in_ = model, len(made.history_), len(model.columns)
        if not isinstance(made.template_, np.ndarray):
            made.feature_names_in_ = np.array(model.columns, dtype=object)
        return made

    # --- checks ---

    def _validated(self, X: Any, *, reset: bool = False) -> Any:
        """X in the type that it came in, checked as scikit-learn does it, but for what `as_frame` checks better."""
        if is_frame(X):
            X = collected(X, "X")
            validate_data(self, X, reset=reset, skip_check_array=True)
            return X
        if isinstance(X, list | tuple) and np.asarray(X, dtype=object).ndim == 2 and np.asarray(X).dtype.kind in "US":
            X = np.asarray(X, dtype=object)  # [1, "a"] holds a number
        return validate_data(self, X, reset=reset, dtype=None, ensure_all_finite=False, ensure_min_samples=1 + reset)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def _labels(y: Any, n: int) -> NDArray[Any]:
    """The class of each row, (n,): whole numbers or texts."""
    labels = column_or_1d(y, warn=True)
    check_consistent_length(labels, np.empty(n))
    if labels.dtype.kind == "f" and (np.rint(labels) == labels).all():
        labels = labels.astype(np.int64)
    return labels


def _seed(random_state: Any) -> int:
    """A seed of motes of whatever scikit-learn takes for one; None: another one every time."""
    if isinstance(random_state, int | np.integer) and not isinstance(random_state, bool):
        return int(random_state)
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return int(check_random_state(random_state).randint(2**31))
