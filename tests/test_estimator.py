"""`DiffusionModel` among scikit-learn's estimators."""

import pickle
import signal

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import motes
from motes import DiffusionModel
from motes.errors import DataError, ModelFileError, MotesError, UsageError
from motes.table_fitting import fit_table

TINY = {
    "training.batch": 32,
    "training.validation": 0.0,
    "training.averages": 0,
    "training.masks": 0.5,
    "denoiser.components": 1,  # another number is another program to compile
    "network.width": 8,
    "network.depth": 1,
    "grid.steps": 4,
}


def tiny(**more):
    return DiffusionModel(**{"max_steps": 30, "changes": TINY, "random_state": 0} | more)


@pytest.mark.filterwarnings("ignore:column .*:UserWarning")  # their tables are odd
@parametrize_with_checks([tiny(max_steps=5)])
def test_it_passes_every_check_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def people():
    rng = np.random.default_rng(3)
    n = 200
    return pd.DataFrame(
        {
            "age": rng.integers(18, 80, n).astype("int32"),
            "price": rng.normal(size=n).astype("float32"),
            "city": rng.choice(["Graz", "Wien"], n),
            "member": rng.random(n) < 0.5,
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, n), "D"),
            "size": pd.Categorical(rng.choice(["S", "L"], n), ["S", "L"], ordered=True),
        }
    )


def as_numpy(frame):
    return frame[["age", "price"]].to_numpy(np.float32)


TYPES = {
    "pandas": lambda frame: frame,
    "polars": lambda frame: pl.from_pandas(frame),
    "Arrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
    "NumPy": as_numpy,
    "objects": lambda frame: frame[["age", "city"]].to_numpy(object),
}


@pytest.mark.parametrize("kind", TYPES)
def test_rows_come_in_the_type_names_and_dtypes_of_what_came_in(people, kind, tmp_path):
    X = TYPES[kind](people)
    model = tiny().fit(X)
    path = tmp_path / "model.safetensors"
    model.save(path)
    for one in (model, DiffusionModel.load(path), pickle.loads(pickle.dumps(model))):
        rows = one.sample(7)
        assert type(rows) is type(X)
        assert rows.shape == (7, X.shape[1])
        if kind in ("NumPy", "objects"):
            assert rows.dtype == X.dtype
        elif kind == "Arrow":
            assert rows.schema.equals(X.schema)
        else:
            assert list(rows.columns) == list(X.columns) and list(rows.dtypes) == list(X.dtypes)
        np.testing.assert_array_equal(one.score_samples(X[:4]), model.score_samples(X[:4]))
        assert one.n_features_in_ == X.shape[1] and one.n_iter_ == len(one.history_) == 30
        assert hasattr(one, "feature_names_in_") == (kind not in ("NumPy", "objects"))


def test_in_the_units_of_the_data():
    """log p of a normal law, after as good as no training: the recipe's denoiser begins with the data's Gaussian."""
    law = stats.multivariate_normal([100.0, -3e-3], [[25.0, 1e-3], [1e-3, 1e-6]])
    x, fresh = law.rvs(4000, random_state=1), law.rvs(500, random_state=2)
    model = tiny(max_steps=1).fit(x)
    ours = model.score_samples(fresh)
    # The mean of 4,000 rows is known to 1 / 63 of their standard deviation.
    np.testing.assert_allclose(ours, law.logpdf(fresh), atol=0.25)
    assert model.score(fresh) == pytest.approx(ours.mean())
    assert abs(model.score(fresh) - law.logpdf(fresh).mean()) < 0.02


def test_search_validation_pipelines_and_joblib(people):
    X = as_numpy(people)
    search = GridSearchCV(tiny(), {"max_steps": [1, 20]}, cv=2).fit(X)
    assert search.best_params_["max_steps"] in (1, 20)
    assert np.isfinite(cross_val_score(tiny(), X, cv=2)).all()
    pipe = make_pipeline(StandardScaler(), tiny()).fit(X)
    assert np.isfinite(pipe.score(X))
    assert pipe.score_samples(X[:3]).shape == (3,)
    scores = joblib.Parallel(n_jobs=2, prefer="threads")(
        joblib.delayed(pipe.score_samples)(X[i : i + 2]) for i in (0, 2)
    )
    np.testing.assert_allclose(np.concatenate(scores), pipe.score_samples(X[:4]), rtol=0, atol=1e-9)
    copy = clone(search.best_estimator_)
    assert not hasattr(copy, "model_") and copy.get_params() == search.best_estimator_.get_params()


def test_holes(people):
    frame = people[["age", "price", "city"]].astype({"age": "float64"})
    frame.loc[::3, "price"] = np.nan
    frame.loc[1::5, "city"] = None
    model = tiny().fit(frame)
    assert np.isfinite(model.score_samples(frame)).all()
    filled = model.transform(frame)
    assert not filled.isna().any().any()
    pd.testing.assert_frame_equal(filled.where(frame.notna()), frame.where(frame.notna()))
    pd.testing.assert_frame_equal(model.transform(frame), filled)
    moved = frame.set_axis(np.arange(200) * 2 + 7)
    pd.testing.assert_frame_equal(model.transform(moved), filled.set_axis(moved.index))
    several = model.impute(frame, draws=3, random_state=1)
    assert len(several) == 3 and not several[0].equals(several[1])
    pd.testing.assert_frame_equal(model.set_output(transform="pandas").transform(moved), filled.set_axis(moved.index))
    given = model.sample(20, given={"city": "Wien", "age": (30, 60)}, return_effective=True)
    assert (given[0].city == "Wien").all() and given[0].age.between(30, 60).all() and 1 <= given[1] <= 20


def test_labels(people):
    X = people[["price", "age"]].astype({"price": "float64"})
    y = np.where(people.age > 50, "old", "young")
    model = tiny(max_steps=300, changes=TINY | {"grid.steps": 8, "network.width": 16, "network.depth": 2}).fit(X, y)
    assert list(model.classes_) == ["old", "young"]
    p = model.predict_proba(X)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert np.mean(model.predict(X) == y) > 0.9
    # From the same noise; so few steps of training know the way to a class, and not yet how far it is.
    assert np.mean(model.sample(50, y="old").age > model.sample(50, y="young").age) > 0.9
    assert np.isfinite(model.score_samples(X, y)).all()
    with pytest.raises(AttributeError):
        tiny(max_steps=1).fit(X).predict(X)
    numbers = tiny(max_steps=5).fit(X, (people.age > 50).astype(float))
    assert set(numbers.predict(X)) <= {0, 1}


LABELS = {
    "true or false": lambda up: up,
    "whole floats": lambda up: np.where(up, 2.0, 1.0),
    "halves": lambda up: np.where(up, 2.5, -1.5),
    "objects": lambda up: np.where(up, 10, 2).astype(object),  # of which the texts are in another order
    "dates": lambda up: np.where(up, np.datetime64("2024-02-01"), np.datetime64("2023-01-01")),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_any_type_come_back_in_it(kind, tmp_path):
    x = np.random.default_rng(0).normal(size=(200, 2))
    x[:, 0] += np.where(up := x[:, 1] > 0, 8, -8)
    y = LABELS[kind](up)
    model = tiny(max_steps=200).fit(x, y)
    np.testing.assert_array_equal(model.classes_, np.unique(y))
    assert np.mean(model.predict(x) == y) > 0.9
    model.save(tmp_path / "model.safetensors")
    again = DiffusionModel.load(tmp_path / "model.safetensors")
    assert again.predict(x[:20]).dtype == again.classes_.dtype == y.dtype
    np.testing.assert_array_equal(again.predict(x[:20]), model.predict(x[:20]))
    np.testing.assert_array_equal(again.sample(5, y=y[0]), model.sample(5, y=y[0]))
    np.testing.assert_array_equal(again.score_samples(x[:5], y[:5]), model.score_samples(x[:5], y[:5]))
    only = tiny(max_steps=1).fit(x, y).partial_fit(x[up], y[up])  # one of the classes is not there
    np.testing.assert_array_equal(only.classes_, model.classes_)


def test_columns_go_by_numbers_too(people):
    x = as_numpy(people).astype(float)
    model = tiny(max_steps=1).fit(x)
    np.testing.assert_array_equal(model.sample(9, given={1: 0.5}), model.sample(9, given={"y": 0.5}))
    named = tiny(max_steps=1).fit(pd.DataFrame(x, columns=[7, 8])).sample(9, given={8: 0.5})
    assert (named[8] == 0.5).all() and list(named) == [7, 8]
    with pytest.raises(UsageError, match="unknown column '2'"):
        model.sample(9, given={2: 0.5})


@pytest.mark.parametrize("kind", ["pandas", "polars", "Arrow", "NumPy"])
def test_a_dropped_column_is_in_no_answer(people, kind, tmp_path):
    X = TYPES[kind](people[["age", "price", "city"]])
    column = "x" if kind == "NumPy" else "price"
    model = tiny(max_steps=1, columns={column: "drop"}).fit(X)
    model.save(tmp_path / "model.safetensors")
    for one in (model, DiffusionModel.load(tmp_path / "model.safetensors")):
        assert one.n_features_in_ == X.shape[1]
        rows = one.sample(5)
        assert type(rows) is type(X) and rows.shape == (5, X.shape[1] - 1)
        assert one.transform(X).shape == (200, X.shape[1] - 1)
        assert column not in list(one.get_feature_names_out())
        if kind == "pandas":
            assert list(rows) == ["age", "city"]
            pd.testing.assert_frame_equal(one.set_output(transform="pandas").transform(X), X[["age", "city"]])


def test_an_interrupt_and_what_columns_are_is_warned_of(monkeypatch):
    def interrupted(*arguments, **options):
        return fit_table(*arguments, **options, on_progress=lambda now: signal.raise_signal(signal.SIGINT))

    x = np.random.default_rng(0).normal(size=(100, 3))
    monkeypatch.setattr("motes.estimator.fit_table", interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
    try:
        with pytest.warns(ConvergenceWarning, match=r"interrupted after \d+ of 5,000 steps"):
            model = tiny(max_steps=5000).fit(x)
    finally:
        signal.signal(signal.SIGINT, before)
    assert 0 < model.n_iter_ < 5000 and np.isfinite(model.sample(3)).all()
    monkeypatch.undo()
    with pytest.warns(UserWarning, match="column 'x2': constant"):
        tiny(max_steps=1).fit(x * [1, 1, 0])


def test_going_on():
    x = np.random.default_rng(0).normal(size=(100, 2))
    once = tiny(max_steps=20).fit(x)
    more = tiny(max_steps=20, warm_start=True).fit(x).fit(x)
    assert once.n_iter_ == 20 and more.n_iter_ == len(more.history_) == 40
    parts = tiny(max_steps=20).partial_fit(x).partial_fit(x + 10)
    assert parts.n_iter_ == 40
    assert parts.model_.encoder.standardiser.mean == pytest.approx(x.mean(axis=0))
    again = tiny(max_steps=20).fit(x)
    again.fit(x)
    assert again.n_iter_ == 20


def test_seeds():
    x = np.random.default_rng(0).normal(size=(100, 2))
    model = tiny(max_steps=3).fit(x)
    np.testing.assert_array_equal(model.sample(5), model.sample(5))
    np.testing.assert_array_equal(model.sample(5, random_state=4), model.sample(5, random_state=4))
    assert not np.array_equal(model.sample(5, random_state=4), model.sample(5))
    unseeded = tiny(max_steps=3, random_state=None).fit(x)
    assert not np.array_equal(unseeded.sample(5), unseeded.sample(5))
    state = np.random.RandomState(0)
    assert not np.array_equal(model.sample(5, random_state=state), model.sample(5, random_state=state))


def test_the_recipe_in_a_file_is_whole(people, tmp_path):
    model = tiny(columns={"age": "real"}).fit(people)
    model.save(tmp_path / "m.safetensors")
    again = DiffusionModel.load(tmp_path / "m.safetensors")
    assert again.recipe.training.steps == 30 and again.columns == {"age": "real"}
    assert again.fit(people).n_iter_ == 30
    np.testing.assert_array_equal(again.score_samples(people[:3]), model.score_samples(people[:3]))
    assert isinstance(motes.load(tmp_path / "m.safetensors"), motes.TableModel)


def test_what_is_wrong_is_said(people, tmp_path):
    x = as_numpy(people).astype(float)
    with pytest.raises(DataError, match="row 3, column 'y'"):
        tiny().fit(np.where(np.arange(400).reshape(200, 2) == 5, np.inf, x))
    with pytest.raises(UsageError, match="steps"):
        tiny(max_steps=0).fit(x)
    with pytest.raises(MotesError, match="Did you mean 'table'"):
        tiny(recipe="tabel").fit(x)
    with pytest.raises(MotesError, match="unknown column 'agee'"):
        tiny(columns={"agee": "real"}).fit(people)
    with pytest.raises(DataError, match="two columns named 'a'"):
        tiny().fit(pd.DataFrame(x, columns=["a", "a"]))
    with pytest.raises(DataError, match="no columns"):
        tiny().fit(pd.DataFrame(index=range(20)))
    with pytest.raises(DataError, match="row 2 has 3 cells"):
        tiny().fit([[1, 2], [1, 2, 3]])
    with pytest.raises(DataError, match="label of row 1 is nan"):
        tiny().fit(x, np.where(np.arange(200) < 1, np.nan, 1.0))
    model = tiny(max_steps=1).fit(people)
    with pytest.raises(DataError, match=r"row 3, column 'price': 1e\+308 is too far"):
        model.score_samples(people[:3].assign(price=[0.0, 1.0, 1e308]))
    with pytest.raises(DataError, match="no rows"):
        model.score_samples(people[:0])
    assert model.transform(people[:0]).shape == (0, 6)
    with pytest.raises(UsageError, match="expected a mapping"):
        model.sample(3, given=people[:1])
    with pytest.raises(UsageError, match=r"fit\(X, y\)"):
        model.sample(3, y=1)
    with pytest.raises(UsageError, match="class 'c' was not among those of the first fit: a, b"):
        tiny(max_steps=1).fit(x, np.repeat(["a", "b"], 100)).partial_fit(x, np.repeat(["a", "c"], 100))
    with pytest.raises(ValueError, match="feature names"):
        model.score_samples(people.drop(columns="age"))
    with pytest.raises(DataError, match="row 2, column 'city': 'Bonn' came"):
        model.score_samples(people[:2].assign(city=["Graz", "Bonn"]))
    with pytest.raises(ValueError, match="label"):
        model.sample(3, y="old")
    with pytest.raises(MotesError, match="no file can hold"):
        tiny(max_steps=1, random_state=np.random.RandomState(0)).fit(x).save(tmp_path / "m.safetensors")
    motes.fit(x, changes={"training.steps": 1}).save(tmp_path / "points.safetensors")
    with pytest.raises(ModelFileError, match="was not saved by a DiffusionModel"):
        DiffusionModel.load(tmp_path / "points.safetensors")


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("came", [pd, pl, pa], ids=["pandas", "polars", "arrow"])
def test_set_output_keeps_the_types_whatever_came_in(library, came):
    rng = np.random.default_rng(0)
    data = {"a": rng.normal(size=60), "b": np.arange(60) % 7 * 3, "c": np.arange(60) % 3 == 0, "t": ["x", "y"] * 30}
    table = pa.table(data) if came is pa else came.DataFrame(data)
    made = tiny(max_steps=1).set_output(transform=library).fit(table).transform(table)
    assert isinstance(made, pd.DataFrame if library == "pandas" else pl.DataFrame)
    for name, values in data.items():
        column = made[name].to_numpy()
        assert column.dtype.kind in {"a": "f", "b": "i", "c": "b", "t": "OU"}[name]
        assert (column == np.asarray(values)).all()


def test_a_column_of_no_kind_is_in_nobodys_way_once_it_is_dropped():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"lasted": pd.to_timedelta(np.arange(60), "h"), "items": [[1, 2]] * 60, "a": rng.normal(size=60)}
    )
    with pytest.raises(DataError, match=r"'lasted' of the data is of type Duration.*by kind .drop"):
        tiny().fit(table)
    model = tiny(max_steps=1, columns={"lasted": "drop", "items": "drop"}).fit(table)
    assert list(model.sample(3).columns) == list(model.transform(table).columns) == ["a"]
    assert np.isfinite(model.score_samples(table)).all()
    with pytest.raises(DataError, match=r"'a' of .* is of type Duration"):
        model.score_samples(table.assign(a=table["lasted"]))
