"""`DiffusionModel`: a diffusion model of a table, with scikit-learn's interface.

    p(row, y) = p(row | y) p(y),    the class y of a row is an additional column of the table

`ClassColumn` is this column: rows (n, d) and classes (n,) become columns (n, d + 1), the last with the labels.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, DensityMixin, OneToOneFeatureMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state, validation
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted, validate_data

from motes.arguments import check_argument_types, check_arguments
from motes.data import Frame, arrays, as_frame, frames, natives
from motes.errors import DataError, ModelFileError, RecipeError, UsageError, check_count, check_seed
from motes.fitting import warn_if_interrupted
from motes.loading import model_path, of_parts
from motes.recipes import load_recipe
from motes.tables.fitting import fit_table
from motes.tables.model import TableModel
from motes.tables.parts import IMPOSSIBLE
from motes.tables.recipe import TableRecipe
from motes.training import Recipe
from motes.training.checkpoints import FitSession, complete_name, read_checkpoint, reading, write_checkpoint
from motes.training.model import with_index

Codes = NDArray[np.integer]
Classes = NDArray[Any]


@dataclass(frozen=True, eq=False)
class ClassColumn:
    """The column of classes.

    Attributes:
        column: its name: "y", or "y_", "y__", ... if that is taken.
        classes: the sorted distinct classes (c,), of any sortable type.
    """

    column: str
    classes: Classes

    @classmethod
    def of(cls, labels: Classes, taken: Collection[str]) -> Self:
        """Build the column from labels (n,); `taken` contains the names of the other columns."""
        column = "y"
        while column in taken:
            column += "_"
        return cls(column, np.unique(labels))

    @property
    def names(self) -> tuple[arrays.Label, ...]:
        """The classes as labels of the column: whole numbers, booleans and texts unchanged, anything else as text."""
        classes = self.classes
        if classes.dtype.kind == "f" and (np.rint(classes) == classes).all():
            return tuple(classes.astype(np.int64).tolist())
        labels = (classes.astype(str) if classes.dtype.kind == "M" else classes).tolist()
        return tuple(labels if all(isinstance(one, str | int) for one in labels) else map(str, labels))

    def codes(self, y: Any, n: int, *, refuse: bool = False) -> Codes:
        """Return the index of each row's class, (n,), or -1 for an unknown class; `y` has n classes or one for all.

        Raises:
            UsageError: if `y` has another shape, or with `refuse` an unknown class.
        """
        given = np.asarray(y)
        if given.shape not in ((), (n,)):
            raise UsageError(f"y has shape {given.shape}; expected one class, or ({n},), one for each row.")
        if self.classes.dtype.kind == "M":
            given = given.astype(self.classes.dtype)
        place = {one: code for code, one in enumerate(self.classes.tolist())}
        labels = given.reshape(-1).tolist()
        codes = np.array([place.get(one, -1) for one in labels], np.int64)
        if refuse and (codes < 0).any():
            wrong, known = labels[int((codes < 0).argmax())], ", ".join(map(str, place))
            raise UsageError(f"class {wrong!r} was not in the first fit. Its classes: {known}.")
        return np.broadcast_to(codes, n) if given.shape == () else codes

    def beside(self, frame: Frame, codes: Codes) -> Frame:
        """Add this column to a frame: the classes with these indices (n,), missing where an index is below 0."""
        series = arrays.Series("label", np.maximum(codes, 0), codes < 0, self.names)
        return Frame({**frame.columns, self.column: series})

    def packed(self) -> NDArray[np.uint8]:
        """Return the name, dtype and classes as bytes of JSON.

        Raises:
            UsageError: if JSON cannot represent the classes.
        """
        labels = (self.classes.astype(str) if self.classes.dtype.kind == "M" else self.classes).tolist()
        try:
            return np.frombuffer(json.dumps([self.column, self.classes.dtype.str, labels]).encode(), np.uint8)
        except TypeError as error:
            raise UsageError(f"these classes cannot be saved: {error}. Use texts or numbers as labels.") from None

    @classmethod
    def unpacked(cls, raw: NDArray[np.uint8]) -> Self:
        """Read the result of `packed`.

        Raises:
            TypeError, ValueError: if `raw` is invalid.
        """
        column, dtype, labels = json.loads(raw.tobytes())
        found, kind = np.array(labels), np.dtype(dtype)
        if found.ndim != 1 or len(np.unique(found)) != len(found) or kind.itemsize > max(found.itemsize, 16):
            raise ValueError(f"its classes have type {kind} and shape {found.shape}; expected distinct classes (c,)")
        return cls(column, np.array(labels, kind))


# --- The estimator --------------------------------------------------------------------------------------------------
#
# model = DiffusionModel().fit(table)
# model.sample(1000, given={"age": 40})
# model.score_samples(table)


def _has_classes(model: DiffusionModel) -> bool:
    if getattr(model, "model_", None) is not None and model._target is None:
        raise AttributeError("this model was fitted without labels; use fit(X, y).")
    return True


@check_arguments
class DiffusionModel(TransformerMixin, OneToOneFeatureMixin, DensityMixin, BaseEstimator):
    """A diffusion model of a table: draws synthetic rows, scores rows, fills in missing entries, predicts classes.

    Args:
        recipe: the name of a recipe for tables ("table"), a `.toml` file or a `Recipe`.
        max_steps: training steps. By default, the recipe chooses them from the data.
        changes: changes to the recipe, such as {"table.width": 256}.
        columns: kinds of columns, such as {"age": "integer"}, instead of the inferred ones; "drop" leaves a column out.
            See docs/tables.md.
        warm_start: whether `fit` continues the previous training from its complete state, if the columns are the same.
            With the same rows, recipe and seed, `max_steps` is the total of all fits: a fit with 20 steps and one with
            40 are like `motes train` with 20 steps and `--resume` to 40. Otherwise `fit` acts like `partial_fit`.
        random_state: the seed of `fit`, and the default seed of draws. With None, each call uses a new seed, except
            that a fit that continues a training keeps the seed of the first fit.

    Attributes:
        model_: the `motes.TableModel` of the columns of X; after a fit with labels, its last column is y.
        n_features_in_, feature_names_in_: the number of columns of X, and their names if they have any.
        classes_: the sorted distinct labels, after a fit with labels.
        n_iter_: training steps, summed over the fits that continued one another.
        history_: the loss of each step, (n_iter_,).

    Example:
        >>> ages, smokers = np.array([[31.0], [47.0], [25.0], [62.0]] * 10), ["no", "yes", "no", "no"] * 10
        >>> estimator = motes.DiffusionModel(max_steps=2, random_state=0).fit(ages, smokers)
        >>> estimator.sample(5, given={0: (None, 30)}, y="no").tolist()
        [[25.0], [25.0], [25.0], [25.0], [25.0]]

        The examples of the methods use this estimator, which is hardly trained.
    """

    _target: ClassColumn | None

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

    # --- fitting ---

    def fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the distribution of the rows of X.

        Args:
            X: rows (n, d): a NumPy array, or a pandas, polars or Arrow table. NaN, None and null are missing entries.
            y: the class of each row (n,), of any sortable type, for `predict_proba` and `sample(y=...)`.
            sample_weight: sample weights (n,), as `weights` of `motes.fit`.

        Problems with columns, such as constant ones, cause warnings. Ctrl-C ends the training and keeps what was
        learned so far, with a `ConvergenceWarning` that gives the number of steps.

        Raises:
            DataError: if the data cannot be used; the message names the row and the column.
            RecipeError, UsageError: for an invalid recipe, or `columns` that do not match the data.

        Example:
            >>> ages, smokers = np.array(people["age"], float)[:, None], people["smoker"]
            >>> motes.DiffusionModel(max_steps=2, random_state=0).fit(ages, smokers).classes_.tolist()
            ['no', 'yes']
        """
        start = getattr(self, "model_", None) if self.warm_start else None
        return self._fit(X, y, sample_weight, FitSession(start=start))

    def partial_fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Continue the training on these rows. The first call determines the columns and classes; see `fit`.

        Each call adds `max_steps` steps, starting from the weights, their averages and the optimiser's state. The
        learning rate follows the schedule of all steps together: it rises again, and falls to zero at the end. After
        `load` or unpickling, only the weights are available, and a new training starts from them.

        If the first rows had y, later rows may lack it; their classes are then unknown.

        Example:
            >>> ages, smokers = np.array(people["age"], float)[:, None], people["smoker"]
            >>> longer = motes.DiffusionModel(max_steps=2, random_state=0)
            >>> longer.partial_fit(ages, smokers).partial_fit(ages, smokers).n_iter_
            4
        """
        return self._fit(X, y, sample_weight, FitSession(start=getattr(self, "model_", None), more=True))

    def _fit(self, X: Any, y: Any, sample_weight: ArrayLike | None, session: FitSession) -> Self:
        check_argument_types(DiffusionModel.__init__, self.get_params(deep=False))
        start = session.start_as(TableModel)
        X = self._validate(X, reset=start is None)
        n = X.shape[0]
        labels = None if y is None else _check_labels(y, n)
        weights = None
        if sample_weight is not None:
            weights = validation._check_sample_weight(arrays.plain(sample_weight), np.empty((n, 1)), dtype=np.float64)
        frame = as_frame(X, self._columns if start is not None and isinstance(X, np.ndarray) else None)
        if start is not None:
            target = self._target if labels is None else self._class_column(labels)
        else:
            target = None if labels is None else ClassColumn.of(labels, {*frame.names, *(self.columns or {})})
        if target is not None:
            codes = np.full(n, -1) if labels is None else target.codes(labels, n, refuse=True)
            frame = target.beside(frame, codes)
        changes = dict(self.changes or {})
        if self.max_steps is not None:
            changes["table.steps"] = check_count(self.max_steps, "steps")
        seed = start.seed if start is not None and self.random_state is None else _as_seed(self.random_state)
        # A training state includes all earlier losses; without one, the new losses are appended to them.
        apart = start is not None and (start.training is None or start.training.state is None)
        # The classes are always learned, even if they look like ids.
        columns = {**(self.columns or {}), **({} if target is None else {target.column: "categorical"})}
        recipe = load_recipe(self.recipe, changes)
        if not isinstance(recipe, TableRecipe):
            raise RecipeError(
                "this recipe is for points, but the data is a table. Use recipe 'table', or motes.fit for points."
            )
        model = fit_table(frame, recipe, columns=columns, weights=weights, seed=seed, session=session)
        warn_if_interrupted(model, ConvergenceWarning, stacklevel=5)
        training = model.training
        assert training is not None  # it was trained just now
        before: NDArray[np.float32] = self.history_ if apart else training.losses[:0]
        self.history_: NDArray[np.float32] = np.concatenate([before, training.losses])
        self.n_iter_ = len(self.history_)
        self.model_, self._target = model, target
        if target is not None:
            self.classes_ = target.classes
        elif hasattr(self, "classes_"):
            del self.classes_
        if start is None:  # a later table may have fewer categories
            self.template_ = frames.Template.of(X).without(self._dropped).without_values(model.schema.identifiers)
            for message in model.schema.warnings:
                warnings.warn(message, UserWarning, stacklevel=4)
        return self

    # --- columns and rows of the model ---

    @property
    def _columns(self) -> tuple[str, ...]:
        """The names of the columns of X, including dropped columns."""
        schema = self.model_.schema
        names = schema.input_columns or schema.names
        return names if self._target is None else names[:-1]

    @property
    def _modelled_columns(self) -> tuple[str, ...]:
        """The names of the columns of X that are not dropped."""
        names = self.model_.schema.names
        return names if self._target is None else names[:-1]

    @property
    def _dropped(self) -> list[int]:
        """The indices of the dropped columns."""
        dropped = self.model_.schema.dropped
        return [place for place, name in enumerate(self._columns) if name in dropped]

    def _frame_with_classes(self, X: Any, codes: NDArray[np.integer] | None = None) -> Frame:
        """Return the rows of X with the column y: indices (n,) into `classes_`, -1 or None for unknown classes."""
        frame = as_frame(X, self._columns if isinstance(X, np.ndarray) else None)
        if self._target is None:
            return frame
        return self._target.beside(frame, np.full(len(frame), -1) if codes is None else codes)

    def _class_column(self, y: Any) -> ClassColumn:
        """Return the column of classes.

        Raises:
            UsageError: if the model was fitted without labels.
        """
        if self._target is None:
            raise UsageError(f"got y = {y!r}, but this model was fitted without labels. Fit it with labels: fit(X, y).")
        return self._target

    def _named_conditions(self, given: Mapping[Any, Any] | None) -> dict[str, Any]:
        """Return conditions by column name. For a model of an array, keys may be column indices."""
        if given is None:
            return {}
        names = self._columns
        by_place = self.template_.library == "numpy"
        place = lambda key: by_place and hasattr(key, "__index__") and 0 <= key.__index__() < len(names)
        return {names[key.__index__()] if place(key) else str(key): value for key, value in given.items()}

    # --- sampling, scoring, imputation, prediction ---

    def sample(
        self,
        n_samples: int = 1,
        *,
        given: Mapping[Any, Any] | None = None,
        y: Any = None,
        importance_resample: bool = False,
        placeholders: bool = False,
        random_state: Any = None,
        return_effective: bool = False,
    ) -> Any:
        """Draw synthetic rows, with the type, names and dtypes of the X of the first `fit`.

        Args:
            n_samples: the number of rows.
            given: conditions: column -> a value; a set of possible values; an interval (low, high), both ends included,
                None for an open end; None for missing; or a condition such as `motes.tables.Not(value)`. Columns
                are named; columns of an array also have the indices 0, 1, ...
            y: the class: one for all rows, or one for each (n_samples,).
            importance_resample: resample rows under conditions with importance weights, so that they follow the model's
                distribution; see docs/conditions.md.
            placeholders: whether columns that were set aside (ids, names, e-mail addresses) contain numbered
                placeholders, such as `name-000001`. Otherwise they are missing; see docs/tables.md.
            random_state: the seed; default: the estimator's.
            return_effective: whether to return the effective sample size too; without weights, it is `n_samples`.

        Raises:
            UsageError, DataError: for invalid conditions or options.

        Example:
            >>> estimator.sample(3, y="yes").shape
            (3, 1)
        """
        check_is_fitted(self)
        n = check_count(n_samples, "rows")
        requested = self._named_conditions(given)
        seed = check_seed(_as_seed(self.random_state if random_state is None else random_state))
        draw = partial(self.model_.draw, importance_resample=importance_resample)
        if y is None:
            parts, places = [draw(n, given=requested, seed=seed)], np.arange(n)
        else:
            target = self._class_column(y)
            codes = target.codes(y, n, refuse=True)
            if target.column in requested:
                raise UsageError(f"got y and given[{target.column!r}], which are the same column. Leave one out.")
            parts, alone = [], target.column in self.model_.schema.kept
            for code in np.unique(codes).tolist():  # each class has its own random numbers
                mine = int(np.random.SeedSequence([seed, 271828, code]).generate_state(1)[0])
                condition = requested if alone else requested | {target.column: target.names[code]}
                count = int((codes == code).sum())
                parts.append(draw(count, given=condition, seed=mine))
            places = np.argsort(np.argsort(codes, kind="stable"), kind="stable")
        frame = frames.joined(parts, n).take(places)
        if placeholders:
            frame = self.model_.schema.with_placeholders(frame)
        rows = frame.select(self._modelled_columns).like(self.template_)
        return (rows, sum(part.effective for part in parts)) if return_effective else rows

    def score_samples(self, X: Any, y: Any = None, *, orders: int = 1, laplace: bool = False) -> arrays.Array:
        """Return the log-likelihood of each row, (n,), in nats and in the data's units.

        Args:
            X: rows (n, d). A row with an entry that the model considers impossible, such as an unseen label, has
                log p = -inf.
            y: the class of each row (n,), or one for all: returns log p(row | y) = log p(row, y) - log p(y).
            orders: the number of column orders over which p is averaged; 1 uses the model's fixed order, which defines
                its distribution.
            laplace: whether impossible entries have the probability 1 / (training rows + 1) instead of 0.

        Example:
            >>> estimator.score_samples([[31.0], [25.0]], y=["yes", "no"]).shape
            (2,)
        """
        check_is_fitted(self)
        X = self._validate(X)
        if y is None:
            return self.model_.score_samples(self._frame_with_classes(X), orders=orders, laplace=laplace)
        target = self._class_column(y)
        codes = target.codes(y, X.shape[0])
        joint = self.model_.score_samples(self._frame_with_classes(X, codes), orders=orders, laplace=laplace)
        return np.where(codes >= 0, joint - self._log_prior(target)[codes], joint if laplace else -np.inf)

    def _log_prior(self, target: ClassColumn) -> arrays.Array:
        """Return the model's log p(y) of each class, (c,)."""
        schema, count = self.model_.schema, len(target.classes)
        if target.column in schema.kept:
            return np.zeros(count)
        unknown = Frame(dict.fromkeys(self._modelled_columns, arrays.Series.unknown(count)))
        frame = target.beside(unknown, np.arange(count))
        encoded = schema.only(schema.encode(frame, unseen="mark"), [target.column])
        possible = (encoded.codes[:, schema.parts_of(target.column)] != IMPOSSIBLE).all(axis=1)
        return np.where(possible, self.model_.orders.own.log_prob(encoded), -np.inf)

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean of `score_samples(X, laplace=True)`, for comparing models; `y` is ignored.

        Warns if there are impossible entries, such as unseen labels; each has the probability 1 / (training rows + 1).

        Example:
            >>> estimator.score([[31.0], [25.0]]) < 0
            True
        """
        check_is_fitted(self)
        found = self.model_.likelihood(self._frame_with_classes(self._validate(X)), laplace=True)
        if count := int(found.impossible.sum()):
            mass = f"1/{self.model_.schema.rows + 1:,}"
            warnings.warn(
                f"{count:,} entries, in {np.count_nonzero(found.impossible):,} of {len(found.impossible):,} rows, are "
                f"impossible to the model, such as unseen labels; each is scored with probability {mass}.",
                UserWarning,
                stacklevel=3,
            )
        return float(np.mean(found.log_prob))

    def impute(self, X: Any, *, draws: int | None = None, random_state: Any = None) -> Any:
        """Fill in missing entries with draws given the observed entries of the row, which are returned unchanged.

        Args:
            X: rows (n, d) with missing entries.
            draws: the number of filled-in tables, returned as a list; None returns one table.
            random_state: the seed; default: the estimator's.

        Raises:
            DataError: for an entry that is invalid in its column; the message names the row and the column.

        Example:
            >>> estimator.impute(np.array([[31.0], [np.nan]]))[0].tolist()
            [31.0]
        """
        check_is_fitted(self)
        seed = _as_seed(self.random_state if random_state is None else random_state)
        X = self._validate(X)
        frame = as_frame(X, self._columns if isinstance(X, np.ndarray) else None).select(self._modelled_columns)
        if self._target is not None:  # drawn with the row's missing entries; a complete row may have any class
            whole = ~np.any([series.missing for series in frame.columns.values()], axis=0)
            frame = self._target.beside(frame, np.where(whole, 0, -1))
        tables = self.model_.impute(frame, draws=1 if draws is None else draws, seed=seed)
        template = frames.Template.of(X).without(self._dropped)
        made = [with_index(table.select(self._modelled_columns).like(template), X) for table in tables]
        return made[0] if draws is None else made

    def transform(self, X: Any) -> Any:
        """Fill in missing entries as `impute` does, with a fixed seed; `set_output` chooses the type.

        Example:
            >>> estimator.transform(np.array([[31.0], [np.nan]])).shape
            (2, 1)
        """
        made = self.impute(X, random_state=0 if self.random_state is None else self.random_state)
        return natives.in_library(made, _get_output_config("transform", self)["dense"])

    @available_if(_has_classes)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> arrays.Array:
        """Return p(y | row) of each row, (n, classes), in the order of `classes_`.

        An impossible entry, such as an unseen label, counts as missing. To predict another column, use
        `model_.predict`.

        Example:
            >>> estimator.predict_proba([[31.0], [47.0]]).sum(axis=1).round(3).tolist()
            [1.0, 1.0]
        """
        check_is_fitted(self)
        X, target = self._validate(X), self._class_column(None)
        made = np.zeros((X.shape[0], len(target.classes)))
        if target.column in self.model_.schema.kept:
            return made + 1.0
        p, labels = self.model_.predict_proba(self._frame_with_classes(X), target.column)
        place = {name: code for code, name in enumerate(target.names)}
        made[:, [place[label] for label in labels]] = p
        return made

    @available_if(_has_classes)  # type: ignore[untyped-decorator]
    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable class of each row, (n,).

        Example:
            >>> estimator.predict([[31.0], [47.0]]).shape
            (2,)
        """
        chosen = self.predict_proba(X).argmax(axis=1)  # first: it checks that the estimator is fitted
        return self.classes_[chosen]

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Return the column names of `transform`: the columns of X that are not dropped.

        Example:
            >>> estimator.get_feature_names_out().tolist()
            ['x0']
        """
        check_is_fitted(self)
        return np.delete(super().get_feature_names_out(input_features), self._dropped)

    # --- on disk ---

    def save(self, path: str | Path) -> None:
        """Save the model to a `.safetensors` file, for `DiffusionModel.load` and the command line.

        The file contains the weights but not the training state, which is several times larger. After `load`, a fit
        that continues is a new training that starts from the weights.

        Raises:
            UsageError: if the name has a suffix other than .safetensors, or parameters cannot be saved.
            OSError: if the folder does not exist, cannot be written, or is full.

        Example:
            >>> estimator.save("people.safetensors")
            >>> motes.DiffusionModel.load("people.safetensors").classes_.tolist()
            ['no', 'yes']
        """
        check_is_fitted(self)
        tensors, about = self.model_.parts()
        mine = {"columns": self.columns, "warm_start": self.warm_start, "random_state": self.random_state}
        try:
            about["estimator"] = json.dumps(mine)
        except TypeError as error:
            raise UsageError(
                f"a parameter cannot be saved: {error}. Set random_state to a whole number or None."
            ) from None
        frames.keep(self.template_, tensors, about)
        tensors["estimator.history"] = self.history_
        if self._target is not None:
            tensors["estimator.target"] = self._target.packed()
        write_checkpoint(complete_name(path), tensors, about)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Load a model of a table, saved by an estimator, by `motes.Model` or on the command line.

        Loading runs no code from the file. `recipe` is the complete recipe of the training. A model that was trained
        from a file returns rows as a `motes.data.Frame`.

        Raises:
            ModelFileError: if there is no such file, or it has another format or is damaged.

        Example:
            >>> table.save("people.safetensors")
            >>> motes.DiffusionModel.load("people.safetensors").feature_names_in_.tolist()
            ['age', 'smoker']
        """
        path = model_path(path)
        tensors, about = read_checkpoint(path)
        model = of_parts(tensors, about, path)
        if not isinstance(model, TableModel):
            raise ModelFileError(f"'{path}' is a model of points; expected a model of a table. Use `motes.load`.")
        with reading(path):
            made = cls(model.recipe, **json.loads(about.get("estimator", "{}")))
            # A model from the command line has no template: its rows came from a file.
            made.template_ = frames.kept(tensors, about) or frames.Template("frame")
            made.history_, made._target = tensors.get("estimator.history", np.zeros(0, np.float32)), None
            if "estimator.target" in tensors:
                made._target = ClassColumn.unpacked(tensors["estimator.target"])
                if made._target.column != model.columns[-1]:
                    raise ValueError("its last column is not the column of classes")
                made.classes_ = made._target.classes
        made.model_, made.n_iter_ = model, len(made.history_)
        made.n_features_in_ = len(made._columns)
        if made.template_.library != "numpy":
            made.feature_names_in_ = np.array(made._columns, dtype=object)
        return made

    # --- checks ---

    def _validate(self, X: Any, *, reset: bool = False) -> Any:
        """Check X as scikit-learn does, and return it in its own type; `as_frame` does the remaining checks."""
        X = arrays.plain(X, "X")
        if natives.is_frame(X):
            X = natives.collected(X, "X")
            frames.unique_names(natives.names_of(X), "X")
            validate_data(self, X, reset=reset, skip_check_array=True)
            return X
        if isinstance(X, list | tuple):
            arrays.check_even(X, "X")
            if np.asarray(X, dtype=object).ndim == 2 and np.asarray(X).dtype.kind in "US":
                X = np.asarray(X, dtype=object)  # keeps the number in [1, "a"] a number
        return validate_data(self, X, reset=reset, dtype=None, ensure_all_finite=False, ensure_min_samples=2 * reset)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def _check_labels(y: Any, n: int) -> NDArray[Any]:
    """Check the class of each row, (n,), of any sortable type.

    Raises:
        DataError: if a class is missing or classes cannot be sorted; the message names the row or the types.
    """
    labels: NDArray[Any] = validation.column_or_1d(arrays.plain(y, "y"), warn=True)
    validation.check_consistent_length(labels, np.empty(n))
    for i, label in enumerate(labels.tolist()):
        if arrays.is_missing(label):
            raise DataError(f"the label of row {i + 1} is {label!r}; expected a class. Remove rows without a class.")
    try:
        np.unique(labels)
    except TypeError:
        kinds = " and ".join(sorted({type(label).__name__ for label in labels.tolist()}))
        raise DataError(
            f"the labels have types {kinds}, which cannot be sorted; expected one type. Convert them to one type."
        ) from None
    return labels


def _as_seed(random_state: Any) -> int:
    """Convert scikit-learn's `random_state` to a seed of motes; None gives a new seed each time."""
    if isinstance(random_state, int | np.integer) and not isinstance(random_state, bool):
        return int(random_state)
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return int(check_random_state(random_state).randint(2**31))
