"""`DiffusionModel`: a diffusion model of a table, with the manners of a scikit-learn estimator.

    p(row, y) = p(row | y) p(y),    where the class y of a row is one more column of the table

`ClassColumn` is that column: rows (n, d) and classes (n,) become columns (n, d + 1), the last of labels.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass
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

from motes.data import Frame, as_frame
from motes.data.arrays import Label, Series, check_even, is_missing, plain
from motes.data.frames import joined, unique_names
from motes.data.natives import collected, in_library, is_frame, names_of
from motes.data.templates import keep, kept, template_of, without, without_values
from motes.errors import DataError, ModelFileError, RecipeError, UsageError, check_count, check_seed
from motes.fitting import warn_if_interrupted
from motes.loading import model_path, of_parts
from motes.recipes import load_recipe
from motes.tables.fitting import fit_table
from motes.tables.model import TableModel
from motes.tables.parts import IMPOSSIBLE
from motes.tables.recipe import TableRecipe
from motes.training import Recipe
from motes.training.checkpoints import complete_name, read_checkpoint, reading, write_checkpoint
from motes.training.model import FitSession

Codes = NDArray[np.integer]
Classes = NDArray[Any]


@dataclass(frozen=True, eq=False)
class ClassColumn:
    """The column of classes.

    Attributes:
        column: its name: "y", followed by as many "_" as make it new.
        classes: the distinct ones in their order, (c,), of any type that has an order.
    """

    column: str
    classes: Classes

    @classmethod
    def of(cls, labels: Classes, taken: Collection[str]) -> ClassColumn:
        """Of labels (n,), beside columns whose names are `taken`."""
        column = "y"
        while column in taken:
            column += "_"
        return cls(column, np.unique(labels))

    @property
    def names(self) -> tuple[Label, ...]:
        """What the column calls the classes: whole numbers, true or false and texts as they are, all else as text."""
        classes = self.classes
        if classes.dtype.kind == "f" and (np.rint(classes) == classes).all():
            return tuple(classes.astype(np.int64).tolist())
        plain = (classes.astype(str) if classes.dtype.kind == "M" else classes).tolist()
        return tuple(plain if all(isinstance(one, str | int) for one in plain) else map(str, plain))

    def codes(self, y: Any, n: int, *, refuse: bool = False) -> Codes:
        """The place among the classes of that of each of n rows, (n,), or of the one of all; -1: no such class.

        Raises:
            UsageError: classes of another number of rows; with `refuse` an unknown class.
        """
        given = np.asarray(y)
        if given.shape not in ((), (n,)):
            raise UsageError(f"y has shape {given.shape}; expected one class, or ({n},), one for each row.")
        if self.classes.dtype.kind == "M":
            given = given.astype(self.classes.dtype)
        place = {one: code for code, one in enumerate(self.classes.tolist())}
        plain = given.reshape(-1).tolist()
        codes = np.array([place.get(one, -1) for one in plain], np.int64)
        if refuse and (codes < 0).any():
            wrong, known = plain[int((codes < 0).argmax())], ", ".join(map(str, place))
            raise UsageError(f"class {wrong!r} was not among those of the first fit: {known}.")
        return np.broadcast_to(codes, n) if given.shape == () else codes

    def beside(self, frame: Frame, codes: Codes) -> Frame:
        """The columns of a frame, and this one: classes by their places (n,), missing where they are below 0."""
        series = Series("label", np.maximum(codes, 0), codes < 0, self.names)
        return Frame({**frame.columns, self.column: series})

    def packed(self) -> NDArray[np.uint8]:
        """Column, dtype and classes as bytes of JSON.

        Raises:
            UsageError: classes that JSON cannot hold.
        """
        plain = (self.classes.astype(str) if self.classes.dtype.kind == "M" else self.classes).tolist()
        try:
            return np.frombuffer(json.dumps([self.column, self.classes.dtype.str, plain]).encode(), np.uint8)
        except TypeError as error:
            raise UsageError(f"classes that no file can hold: {error}. Give labels as texts or numbers.") from None

    @classmethod
    def unpacked(cls, raw: NDArray[np.uint8]) -> ClassColumn:
        """What `packed` gave.

        Raises:
            TypeError, ValueError: anything else.
        """
        column, dtype, plain = json.loads(raw.tobytes())
        found, kind = np.array(plain), np.dtype(dtype)
        if found.ndim != 1 or len(np.unique(found)) != len(found) or kind.itemsize > max(found.itemsize, 16):
            raise ValueError(f"its classes are of {kind} and have shape {found.shape}; expected different ones, (c,)")
        return cls(column, np.array(plain, kind))


# --- The estimator --------------------------------------------------------------------------------------------------
#
# model = DiffusionModel().fit(table)
# model.sample(1000, given={"age": 40})
# model.score_samples(table)


Array = NDArray[np.float64]


def _has_classes(model: DiffusionModel) -> bool:
    if getattr(model, "model_", None) is not None and model._target is None:
        raise AttributeError("it was fitted without labels; fit(X, y) with y.")
    return True


class DiffusionModel(TransformerMixin, OneToOneFeatureMixin, DensityMixin, BaseEstimator):
    """A diffusion model of the rows of a table: it samples, scores, conditions and fills in.

    Args:
        recipe: a name of a recipe for tables ("table"), a `.toml` file or a `Recipe`.
        max_steps: of training, in the place of the recipe's, which suits the rows.
        changes: to the recipe, such as {"table.width": 256}.
        columns: what columns are, such as {"age": "integer"}, in the place of what is inferred, or "drop" for those to
            be left out; see docs/tables.md.
        warm_start: go on with the training of the last fit, from its complete state, where the columns are the same.
            With the same rows, recipe and seed `max_steps` are the steps of all fits together: a fit of 20 steps and
            one of 40 are `motes train` with 20 steps and `--resume` to 40. With anything else it is as `partial_fit`.
        random_state: of `fit`, and of draws that have none of their own. None: another one every time; a fit that goes
            on keeps that of the first.

    Attributes:
        model_: the `motes.TableModel` of the columns of X and, where `fit` was given labels, of one for y, the last.
        n_features_in_, feature_names_in_: columns of X, and their names where they have any.
        classes_: the distinct labels in their order, where `fit` was given labels.
        n_iter_: steps of training, of all fits that went on from one another.
        history_: loss of every step, (n_iter_,).

    Example:
        >>> ages, smokers = np.array([[31.0], [47.0], [25.0], [62.0]] * 10), ["no", "yes", "no", "no"] * 10
        >>> estimator = motes.DiffusionModel(max_steps=2, random_state=0).fit(ages, smokers)
        >>> estimator.sample(5, given={0: (None, 30)}, y="no").tolist()
        [[25.0], [25.0], [25.0], [25.0], [25.0]]

        The examples of the methods go on with this one, which has hardly been trained.
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

    # --- learning ---

    def fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the distribution of the rows of X.

        Args:
            X: rows (n, d): a NumPy array, a pandas, polars or Arrow table. NaN, None and null are missing entries.
            y: the class of each row (n,), for `predict_proba` and `sample(y=...)`: of any type with an order.
            sample_weight: how many rows each row stands for (n,), as the `weights` of `motes.fit`.

        What should be known of a column, such as that it is constant, is warned of. Ctrl-C ends the training with what
        was learned so far, and a `ConvergenceWarning` says how many steps that were.

        Raises:
            DataError: data that cannot be used; the message names the row and the column.
            RecipeError, UsageError: a recipe or columns that do not fit.

        Example:
            >>> ages, smokers = np.array(people["age"], float)[:, None], people["smoker"]
            >>> motes.DiffusionModel(max_steps=2, random_state=0).fit(ages, smokers).classes_.tolist()
            ['no', 'yes']
        """
        return self._fit(X, y, sample_weight, FitSession(start=self._before if self.warm_start else None))

    def partial_fit(self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None) -> Self:
        """Go on learning, from these rows; the first call decides what the columns and classes are. See `fit`.

        Each call takes `max_steps` steps more, from the weights, their averages and the optimiser's state. The learning
        rate is that of all steps together: it rises again, and falls to nothing at their end. After `load`, and in a
        pickle, the weights alone are there: a new training begins from them.

        Rows without y may follow rows with it: then nothing is known of their classes.

        Example:
            >>> ages, smokers = np.array(people["age"], float)[:, None], people["smoker"]
            >>> longer = motes.DiffusionModel(max_steps=2, random_state=0)
            >>> longer.partial_fit(ages, smokers).partial_fit(ages, smokers).n_iter_
            4
        """
        return self._fit(X, y, sample_weight, FitSession(start=self._before, more=True))

    def _fit(self, X: Any, y: Any, sample_weight: ArrayLike | None, session: FitSession) -> Self:
        start = session.start_as(TableModel)
        X = self._validated(X, reset=start is None)
        n = X.shape[0]
        labels = None if y is None else _labels(y, n)
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(plain(sample_weight), np.empty((n, 1)), dtype=np.float64)
        if start is None:
            frame, target = as_frame(X), None
            if labels is not None:
                target = ClassColumn.of(labels, {*frame.names, *(self.columns or {})})
                frame = target.beside(frame, target.codes(labels, n))
        else:
            target = self._target
            frame = self._frame(X, None if labels is None else self._asked(labels).codes(labels, n, refuse=True))
        changes = dict(self.changes or {})
        if self.max_steps is not None:
            changes["table.steps"] = check_count(self.max_steps, "steps")
        seed = start.seed if start is not None and self.random_state is None else _seed(self.random_state)
        # A state has the losses of all steps so far; without one those of a new training come behind them.
        apart = start is not None and (start.training is None or start.training.state is None)
        columns = dict(self.columns or {})
        if target is not None:  # which is learned, whatever its labels look like
            columns[target.column] = "categorical"
        recipe = load_recipe(self.recipe, changes)
        if not isinstance(recipe, TableRecipe):
            raise RecipeError(
                "this recipe is for points, and the data is a table. Use recipe 'table', or motes.fit for points."
            )
        model = fit_table(frame, recipe, columns=columns, weights=weights, seed=seed, session=session)
        warn_if_interrupted(model, ConvergenceWarning, stacklevel=4)
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
            self.template_ = without_values(without(template_of(X), self._dropped), [*model.schema.identifiers])
            for message in model.schema.warnings:
                warnings.warn(message, UserWarning, stacklevel=3)
        return self

    # --- rows of the model ---

    @property
    def _before(self) -> TableModel | None:
        """What the last fit learned."""
        return self.model_ if hasattr(self, "model_") else None

    @property
    def _columns(self) -> tuple[str, ...]:
        """Names of the columns of X, those that are dropped included."""
        schema = self.model_.schema
        names = schema.input_columns or schema.names
        return names if self._target is None else names[:-1]

    @property
    def _kept(self) -> tuple[str, ...]:
        """Names of those that are not dropped."""
        names = self.model_.schema.names
        return names if self._target is None else names[:-1]

    @property
    def _dropped(self) -> list[int]:
        """Places of the others."""
        dropped = self.model_.schema.dropped
        return [place for place, name in enumerate(self._columns) if name in dropped]

    def _frame(self, X: Any, codes: NDArray[np.integer] | None = None) -> Frame:
        """The rows of X, with the column of y: places (n,) in `classes_`, -1 where nothing is known; None: nowhere."""
        frame = as_frame(X, self._columns if isinstance(X, np.ndarray) else None)
        if self._target is None:
            return frame
        return self._target.beside(frame, np.full(len(frame), -1) if codes is None else codes)

    def _asked(self, y: Any) -> ClassColumn:
        """The column of y.

        Raises:
            UsageError: there is none.
        """
        if self._target is None:
            raise UsageError(f"got y = {y!r}, but this model was fitted without labels. Fit it with them: fit(X, y).")
        return self._target

    def _given(self, given: Mapping[Any, Any] | None) -> dict[str, Any]:
        """Conditions by the names of columns; those of an array also go by their places."""
        if given is None:
            return {}
        if not isinstance(given, Mapping):
            raise UsageError(
                f'given is of type {type(given).__name__}; expected a mapping, such as {{"age": 40}}: column -> value.'
            )
        names = self._columns
        by_place = isinstance(self.template_, np.ndarray)
        place = lambda key: by_place and hasattr(key, "__index__") and 0 <= key.__index__() < len(names)
        return {names[key.__index__()] if place(key) else str(key): value for key, value in given.items()}

    # --- asking ---

    def sample(
        self,
        n_samples: int = 1,
        *,
        given: Mapping[Any, Any] | None = None,
        y: Any = None,
        exact: bool = False,
        placeholders: bool = False,
        random_state: Any = None,
        return_effective: bool = False,
    ) -> Any:
        """Draw new rows, in the type, names and dtypes of the X that the first `fit` was given.

        Args:
            n_samples: how many.
            given: what is known of them: column -> a value; a set: one of its values; (low, high), both included, one
                of which may be None; None: missing; or a condition, such as `motes.tables.Not(value)`. Columns go by
                their names, those of an array also by their places 0, 1, ...
            y: their class, one for all rows or one for each (n_samples,).
            exact: weigh rows under conditions by the model's distribution and draw them again; see
                docs/conditions.md.
            placeholders: number the rows in columns that are set aside (ids, names, e-mail addresses), as in
                `name-000001`. Otherwise they have no value there; see docs/tables.md.
            random_state: in the place of the estimator's.
            return_effective: give the effective sample size as well; it is `n_samples` where no row has a weight.

        Raises:
            UsageError, DataError: what does not fit.

        Example:
            >>> estimator.sample(3, y="yes").shape
            (3, 1)
        """
        check_is_fitted(self)
        n = check_count(n_samples, "rows")
        requested = self._given(given)
        seed = check_seed(_seed(self.random_state if random_state is None else random_state))
        if y is None:
            parts, places = [self.model_.draw(n, given=requested, seed=seed, exact=exact)], np.arange(n)
        else:
            target = self._asked(y)
            codes = target.codes(y, n, refuse=True)
            if target.column in requested:
                raise UsageError(
                    f"got y and given[{target.column!r}], which are the same column. Leave one of them out."
                )
            parts, alone = [], target.column in self.model_.schema.kept
            for code in np.unique(codes).tolist():  # each with random numbers of its own
                mine = int(np.random.SeedSequence([seed, 271828, code]).generate_state(1)[0])
                condition = requested if alone else requested | {target.column: target.names[code]}
                count = int((codes == code).sum())
                parts.append(self.model_.draw(count, given=condition, seed=mine, exact=exact))
            places = np.argsort(np.argsort(codes, kind="stable"), kind="stable")
        frame = joined(parts, n).take(places)
        if placeholders:
            frame = self.model_.schema.with_placeholders(frame)
        rows = frame.select(self._kept).like(self.template_)
        return (rows, sum(part.effective for part in parts)) if return_effective else rows

    def score_samples(self, X: Any, y: Any = None, *, orders: int = 1, smooth: bool = False) -> Array:
        """log p of the observed entries of each row, (n,), in nats of the data's units; a mass for discrete columns.

        Args:
            X: rows (n, d). A row with an entry that the training could not have held, such as an unseen label, has
                log p = -inf.
            y: the class of each row (n,), or one for all: the answer is log p(row | y) = log p(row, y) - log p(y).
            orders: of the columns, of whose p the mean is taken; 1: the model's own, which is its distribution.
            smooth: give such an entry the mass 1 / (rows of the training + 1) instead of 0.

        Example:
            >>> estimator.score_samples([[31.0], [25.0]], y=["yes", "no"]).shape
            (2,)
        """
        check_is_fitted(self)
        X = self._validated(X)
        if y is None:
            return self.model_.score_samples(self._frame(X), orders=orders, smooth=smooth)
        target = self._asked(y)
        codes = target.codes(y, X.shape[0])
        joint = self.model_.score_samples(self._frame(X, codes), orders=orders, smooth=smooth)
        return np.where(codes >= 0, joint - self._log_p(target)[codes], joint if smooth else -np.inf)

    def _log_p(self, target: ClassColumn) -> Array:
        """log p(y) of each class, (c,), by the model."""
        schema, count = self.model_.schema, len(target.classes)
        if target.column in schema.kept:
            return np.zeros(count)
        frame = target.beside(Frame(dict.fromkeys(self._kept, Series.unknown(count))), np.arange(count))
        encoded = schema.only(schema.encode(frame, unseen="mark"), [target.column])
        possible = (encoded.codes[:, schema.parts_of(target.column)] != IMPOSSIBLE).all(axis=1)
        return np.where(possible, self.model_.orders.log_prob(self.model_.unmasker, encoded), -np.inf)

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of `score_samples(X, smooth=True)`, so that models can be compared; `y` is ignored.

        A warning says how many entries the training could not have held: each counts with the mass
        1 / (rows of the training + 1).

        Example:
            >>> estimator.score([[31.0], [25.0]]) < 0
            True
        """
        check_is_fitted(self)
        found = self.model_.likelihood(self._frame(self._validated(X)), smooth=True)
        if count := int(found.impossible.sum()):
            mass = f"1/{self.model_.schema.rows + 1:,}"
            warnings.warn(
                f"{count:,} entries, in {np.count_nonzero(found.impossible):,} of {len(found.impossible):,} rows, are "
                f"none that the training could have held: each counts with the mass {mass}.",
                UserWarning,
                stacklevel=2,
            )
        return float(np.mean(found.log_prob))

    def impute(self, X: Any, *, draws: int | None = None, random_state: Any = None) -> Any:
        """Fill in the missing entries by draws given the observed ones of the row, which come back to the bit.

        Args:
            X: rows (n, d) with missing entries.
            draws: a list of as many tables; None gives one table.
            random_state: in the place of the estimator's.

        Raises:
            DataError: an entry that its column cannot hold; the message names row and column.

        Example:
            >>> estimator.impute(np.array([[31.0], [np.nan]]))[0].tolist()
            [31.0]
        """
        check_is_fitted(self)
        seed = _seed(self.random_state if random_state is None else random_state)
        X = without(self._validated(X), self._dropped)
        frame = as_frame(X, self._kept if isinstance(X, np.ndarray) else None)
        if self._target is not None:  # drawn where other entries of the row are; elsewhere any class will do
            whole = ~np.any([series.missing for series in frame.columns.values()], axis=0)
            frame = self._target.beside(frame, np.where(whole, 0, -1))
        tables = self.model_.impute_frames(frame, draws=1 if draws is None else draws, seed=seed)
        made = [table.select(self._kept).like(X) for table in tables]
        if hasattr(X, "iloc"):  # pandas, or what has its manners
            for table in made:
                table.index = X.index
        return made[0] if draws is None else made

    def transform(self, X: Any) -> Any:
        """`impute` with one draw, always the same, in the type that `set_output` asks for.

        Example:
            >>> estimator.transform(np.array([[31.0], [np.nan]])).shape
            (2, 1)
        """
        made = self.impute(X, random_state=0 if self.random_state is None else self.random_state)
        return in_library(made, _get_output_config("transform", self)["dense"])

    @available_if(_has_classes)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> Array:
        """p(y | row) of each row, (n, classes) in the order of `classes_`.

        An entry that the training could not have held counts as missing. For another column than y, see
        `model_.predict`.

        Example:
            >>> estimator.predict_proba([[31.0], [47.0]]).sum(axis=1).round(3).tolist()
            [1.0, 1.0]
        """
        check_is_fitted(self)
        X, target = self._validated(X), self._asked(None)
        made = np.zeros((X.shape[0], len(target.classes)))
        if target.column in self.model_.schema.kept:
            return made + 1.0
        p, labels = self.model_.predict_proba(self._frame(X), target.column)
        place = {name: code for code, name in enumerate(target.names)}
        made[:, [place[label] for label in labels]] = p
        return made

    @available_if(_has_classes)  # type: ignore[untyped-decorator]
    def predict(self, X: Any) -> NDArray[Any]:
        """The likeliest class of each row, (n,).

        Example:
            >>> estimator.predict([[31.0], [47.0]]).shape
            (2,)
        """
        chosen = self.predict_proba(X).argmax(axis=1)
        return self.classes_[chosen]

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Names of the columns that `transform` gives: those of X that are not dropped.

        Example:
            >>> estimator.get_feature_names_out().tolist()
            ['x0']
        """
        check_is_fitted(self)
        return np.delete(super().get_feature_names_out(input_features), self._dropped)

    # --- on disk ---

    def save(self, path: str | Path) -> None:
        """Write one `.safetensors` file, which `DiffusionModel.load` and the command line read.

        It holds the weights, and not the state of the training, which is several times as large. A fit that goes on
        after `load` is a new training that begins from the weights.

        Raises:
            UsageError: a name with a suffix other than .safetensors, or parameters that no file can hold.
            OSError: the folder is not there, cannot be written, or is full.

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
                f"a parameter that no file can hold: {error}. Set random_state to a whole number or None."
            ) from None
        keep(self.template_, tensors, about)
        tensors["estimator.history"] = self.history_
        if self._target is not None:
            tensors["estimator.target"] = self._target.packed()
        write_checkpoint(complete_name(path), tensors, about)

    @classmethod
    def load(cls, path: str | Path) -> DiffusionModel:
        """Read a model of a table, whoever saved it: an estimator, `motes.Model` or the command line.

        No code in the file is run. `recipe` is the one that was followed, whole. Rows of a model that was trained from
        a file are a `motes.data.Frame`.

        Raises:
            ModelFileError: no such file, another format, or any damage.

        Example:
            >>> table.save("people.safetensors")
            >>> motes.DiffusionModel.load("people.safetensors").feature_names_in_.tolist()
            ['age', 'smoker']
        """
        path = model_path(path)
        tensors, about = read_checkpoint(path)
        model = of_parts(tensors, about, path)
        if not isinstance(model, TableModel):
            raise ModelFileError(f"'{path}' is a model of points; expected one of a table. Use `motes.load`.")
        with reading(path):
            made = cls(model.recipe, **json.loads(about.get("estimator", "{}")))
            template = kept(tensors, about)
            # The command line reads rows from files, which are of no library.
            made.template_ = Frame({}) if template is None else template
            made.history_, made._target = tensors.get("estimator.history", np.zeros(0, np.float32)), None
            if "estimator.target" in tensors:
                made._target = ClassColumn.unpacked(tensors["estimator.target"])
                if made._target.column != model.columns[-1]:
                    raise ValueError("its last column is not that of its classes")
                made.classes_ = made._target.classes
        made.model_, made.n_iter_ = model, len(made.history_)
        made.n_features_in_ = len(made._columns)
        if not isinstance(made.template_, np.ndarray):
            made.feature_names_in_ = np.array(made._columns, dtype=object)
        return made

    # --- checks ---

    def _validated(self, X: Any, *, reset: bool = False) -> Any:
        """X in its own type, checked as scikit-learn does it, but for what `as_frame` checks better."""
        X = plain(X, "X")
        if is_frame(X):
            X = collected(X, "X")
            unique_names(names_of(X), "X")
            validate_data(self, X, reset=reset, skip_check_array=True)
            return X
        if isinstance(X, list | tuple):
            check_even(X, "X")
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
    """The class of each row, (n,), of any type whose values have an order.

    Raises:
        DataError: one is missing, or they have no order; it names the row, or the types.
    """
    labels: NDArray[Any] = column_or_1d(plain(y, "y"), warn=True)
    check_consistent_length(labels, np.empty(n))
    for i, label in enumerate(labels.tolist()):
        if is_missing(label):
            raise DataError(f"the label of row {i + 1} is {label!r}; expected a class. Leave out rows without one.")
    try:
        np.unique(labels)
    except TypeError:
        kinds = " and ".join(sorted({type(label).__name__ for label in labels.tolist()}))
        raise DataError(
            f"the labels are of types {kinds}, which have no order; expected one type. Give labels of one type."
        ) from None
    return labels


def _seed(random_state: Any) -> int:
    """A seed of motes of whatever scikit-learn takes for one; None: another one every time."""
    if isinstance(random_state, int | np.integer) and not isinstance(random_state, bool):
        return int(random_state)
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return int(check_random_state(random_state).randint(2**31))
