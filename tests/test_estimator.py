"""`DiffusionModel` among scikit-learn's estimators: what it hands to the model of the table, and what it gives back.

Most of these models are not trained (`tests.tables.untrained`): then labels are independent, each with its share of the
rows, which is what answers are compared with. Every table is a program to compile, so tests share the models they can.
"""

import pickle

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy import stats
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from tests.tables import TINY, untrained

import motes
from fits import fit_points
from motes import DiffusionModel
from motes.data.frames import as_frame
from motes.errors import DataError, ModelFileError, MotesError, UsageError
from motes.estimator import ClassColumn

pytestmark = pytest.mark.brief


def tiny(**more):
    return DiffusionModel(**{"max_steps": 30, "changes": TINY, "random_state": 0} | more)


@pytest.fixture(scope="module")
def people():
    rng = np.random.default_rng(3)
    n = 200
    return pd.DataFrame(
        {
            "age": rng.integers(18, 80, n).astype("int32"),
            "price": rng.normal(size=n).astype("float32"),
            "city": rng.choice(["Graz", "Wien"], n),
            "size": pd.Categorical(rng.choice(["S", "L"], n), ["S", "L"], ordered=True),
        }
    )


@pytest.fixture(scope="module")
def letters():
    """Labels, three of which are rare and in the last rows, labels with an order, and a class of each row."""
    rng = np.random.default_rng(5)
    table = pd.DataFrame({"a": rng.choice(list("uvw"), 60, p=[0.5, 0.3, 0.2]), "b": rng.choice(list("pq"), 60)})
    table["b"] = pd.Categorical(table["b"], list("pq"), ordered=True)
    table.loc[57:, "a"] = ["x", "y", "z"]
    return table, np.where(np.arange(60) % 3 == 0, "no", "yes")


def fitted(*arguments, **options):
    """Untrained."""
    with untrained():
        return tiny(**options).fit(*arguments)


@pytest.fixture(scope="module")
def of_letters(letters):
    return fitted(*letters)


# --- one that was trained ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def old_or_young(people):
    """Its frame, its classes, and a model that knows that the class depends on the age."""
    X, y = people, np.where(people.age > 50, "old", "young")
    changes = TINY | {"table.width": 32, "table.learning_rate": 1e-2}
    return X, y, tiny(max_steps=200, changes=changes).fit(X, y)


@pytest.mark.slow
def test_a_classifier(old_or_young):
    X, y, model = old_or_young
    assert list(model.classes_) == ["old", "young"]
    p = model.predict_proba(X)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert np.mean(model.predict(X) == y) > 0.9
    np.testing.assert_array_equal(model.predict(X), model.classes_[p.argmax(axis=1)])
    assert len(model.history_) == 200
    # A loss in nats per row is above that of the table's own best guess by what 200 steps have not learned yet.
    assert -model.score(X) - 1 < model.history_[-10:].mean() < -model.score(X) + 3


@pytest.mark.slow
def test_rows_of_a_class(old_or_young):
    X, _, model = old_or_young
    old = model.sample(200, y="old")
    assert list(old) == list(X) and list(old.dtypes) == list(X.dtypes)
    assert np.mean(old.age > 50) > 0.8 > 0.2 > np.mean(model.sample(200, y="young").age > 50)
    y = np.array(["old", "young", "young"] * 60)
    mixed, effective = model.sample(180, y=y, return_effective=True)
    assert np.mean((mixed.age > 50) == (y == "old")) > 0.8 and effective == 180
    # A class has random numbers of its own: its rows are those that it alone would have.
    alone = model.sample(120, y="young")
    pd.testing.assert_frame_equal(mixed[y == "young"].reset_index(drop=True), alone)
    pd.testing.assert_frame_equal(model.sample(120, y=["young"] * 120), alone)
    assert not np.array_equal(mixed[y == "old"].price, alone.price[:60])
    both = model.sample(100, y="old", given={"age": (None, 60)})
    assert (both.age <= 60).all() and np.mean(both.age > 50) > 0.7


def with_class(frame, y):
    return frame.assign(y=y)


def test_scores_of_rows_and_of_rows_given_their_class(old_or_young):
    """log p(row | y) + log p(y) = log p(row, y), which is the model's of the whole table; and so for each order."""
    X, y, model = old_or_young
    table = with_class(X, y)
    np.testing.assert_allclose(model.score_samples(X), model.model_.score_samples(with_class(X, None)), rtol=1e-12)
    for options in ({}, {"orders": 3}):
        joint = model.model_.score_samples(table, **options)
        rest = joint - model.score_samples(X, y, **options)
        for one in ("old", "young"):  # p(y) is a number for each class, near its share of the rows
            assert np.ptp(rest[y == one]) < 1e-4
            assert np.exp(rest[y == one][0]) == pytest.approx(np.mean(y == one), abs=0.1)
    assert np.abs(model.score_samples(X, orders=3) - model.score_samples(X)).max() > 1e-3
    np.testing.assert_allclose(model.score_samples(X, "old"), model.score_samples(X, np.full(len(X), "old")))
    assert model.score_samples(X[:50], y[:50]).mean() > model.score_samples(X[:50], y[:50][::-1]).mean() + 0.3
    posterior = model.score_samples(X, "old") - model.score_samples(X, "young") + np.log((y == "old").mean())
    p = model.predict_proba(X)
    # Bayes' rule, as far as the network agrees with itself in both directions.
    assert np.corrcoef(posterior, np.log(p[:, 0] / p[:, 1]))[0, 1] > 0.8
    assert model.score(X, y) == pytest.approx(model.score_samples(X).mean())


@pytest.mark.slow
def test_exact_is_handed_on(old_or_young):
    _, _, model = old_or_young
    given = {"age": 40}
    rows, effective = model.sample(200, given=given, importance_resample=True, return_effective=True)
    whole = model.model_.sample(200, given=given, importance_resample=True, seed=0)
    np.testing.assert_array_equal(rows.price, whole.columns["price"].values.astype("float32"))
    assert effective == whole.effective
    assert not np.array_equal(rows.price, model.sample(200, given=given).price)
    old, worth = model.sample(50, y="old", importance_resample=True, return_effective=True)
    assert np.mean(old.age > 50) > 0.7 and 1 <= worth <= 50
    assert not old.equals(model.sample(50, y="old"))


# --- types ------------------------------------------------------------------------------------------------------------


TYPES = {
    "pandas": lambda frame: frame,
    "polars": lambda frame: pl.from_pandas(frame),
    "Arrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
    "float32": lambda frame: np.where(frame == frame.iloc[0], 1, 2.5).astype(np.float32),
    "objects": lambda frame: frame.to_numpy(object),
}


@pytest.mark.parametrize("kind", TYPES)
def test_rows_come_in_the_type_names_and_dtypes_of_what_came_in(people, kind, tmp_path):
    X = TYPES[kind](people[["city", "size"]])
    model = fitted(X)
    path = tmp_path / "model.safetensors"
    model.save(path)
    loaded = DiffusionModel.load(path)
    for one, n in ((model, 3), (loaded, 1)):
        rows = one.sample(n)
        assert type(rows) is type(X)
        assert rows.shape == (n, X.shape[1])
        if kind in ("float32", "objects"):
            assert rows.dtype == X.dtype
        elif kind == "Arrow":
            assert rows.schema.equals(X.schema)
        else:
            assert list(rows.columns) == list(X.columns) and list(rows.dtypes) == list(X.dtypes)
        assert one.n_features_in_ == X.shape[1] and one.n_iter_ == len(one.history_) == 30
        assert hasattr(one, "feature_names_in_") == (kind not in ("float32", "objects"))
    np.testing.assert_array_equal(loaded.history_, model.history_)


@pytest.mark.slow
def test_a_dtype_does_not_depend_on_how_many_rows_are_drawn():
    rng = np.random.default_rng(0)
    dtypes = ["int8", "uint8", "float16", "Int64", "boolean", "string"]
    values = {"boolean": [True, False], "string": ["a", "b"]}
    X = pd.DataFrame({one: pd.Series(rng.choice(values.get(one, [0, 100, 120]), 80), dtype=one) for one in dtypes})
    model = fitted(X)
    for n in (1, 300):
        drawn = model.sample(n)
        assert list(drawn.dtypes) == list(X.dtypes)
        assert all(set(drawn[one]) <= set(X[one]) for one in dtypes)


@pytest.mark.slow
def test_a_pickled_and_a_loaded_model_answer_alike(old_or_young, tmp_path):
    X, y, model = old_or_young
    model.save(tmp_path / "model.safetensors")
    joblib.dump(model, tmp_path / "model.joblib")
    copies = [DiffusionModel.load(tmp_path / "model.safetensors"), pickle.loads(pickle.dumps(model))]
    for one in (*copies, joblib.load(tmp_path / "model.joblib")):
        np.testing.assert_array_equal(one.classes_, model.classes_)
        np.testing.assert_array_equal(one.predict_proba(X[:9]), model.predict_proba(X[:9]))
    for one in copies:
        np.testing.assert_array_equal(one.score_samples(X[:9], y[:9]), model.score_samples(X[:9], y[:9]))
        pd.testing.assert_frame_equal(one.sample(9, y=y[:9]), model.sample(9, y=y[:9]))
    scores = joblib.Parallel(n_jobs=2, prefer="threads")(
        joblib.delayed(model.score_samples)(X[i : i + 2]) for i in (0, 2)
    )
    np.testing.assert_allclose(np.concatenate(scores), model.score_samples(X[:4]), rtol=0, atol=1e-6)


def test_categories_that_a_later_table_lacks():
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"c": pd.Categorical(rng.choice(list("ab"), 80, p=[0.1, 0.9])), "d": rng.choice(list("pq"), 80)})
    fewer = X.assign(c=pd.Categorical(["a", None] * 40, ["a"]))
    with untrained():
        model = tiny().fit(X)
        filled = model.impute(fewer)
        assert list(filled.c.cat.categories) == ["a", "b"] and "b" in set(filled.c[1::2])
        assert (filled.c[::2] == "a").all()
        again = model.partial_fit(fewer)
    rows = again.sample(100)
    assert list(rows.dtypes) == list(X.dtypes) and set(rows.c) == {"a", "b"}
    assert list(again.sample(1, given={"c": "a"}).dtypes) == list(X.dtypes)  # whatever was drawn


@pytest.mark.parametrize("ordered", [True, False])
def test_a_dtype_gets_room_for_a_category_that_it_lacks(ordered):
    whole = pd.DataFrame({"c": pd.Categorical(list("LSM"), list("SML"), ordered=ordered)})
    frame = as_frame(whole)
    made = frame.like(pd.DataFrame({"c": pd.Categorical(["L"], ["L", "XL"], ordered=ordered)}))
    assert list(made.c) == list("LSM")
    assert list(made.c.cat.categories) == (["S", "M", "L", "XL"] if ordered else ["L", "XL", "S", "M"])
    if ordered:
        enum = frame.like(pl.DataFrame({"c": pl.Series(["L"], dtype=pl.Enum(["L", "XL"]))}))
        assert enum["c"].to_list() == list("LSM") and enum["c"].dtype == pl.Enum(["S", "M", "L", "XL"])
    same = frame.take(np.array([0])).like(pd.DataFrame({"c": pd.Categorical(["L"], ["L"])}))
    assert list(same.c.cat.categories) == ["L"]  # nothing is missing from these


# --- labels -----------------------------------------------------------------------------------------------------------

LABELS = {
    "true or false": lambda up: up,
    "whole floats": lambda up: np.where(up, 2.0, 1.0),
    "halves": lambda up: np.where(up, 2.5, -1.5),
    "objects": lambda up: np.where(up, 10, 2).astype(object),  # of which the texts are in another order
    "dates": lambda up: np.where(up, np.datetime64("2024-02-01"), np.datetime64("2023-01-01")),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_any_type_are_labels_of_a_table_and_back(kind):
    y = LABELS[kind](np.arange(60) % 4 == 0)
    target = ClassColumn.of(y, {"x", "y"})
    assert target.column == "y_"
    np.testing.assert_array_equal(target.classes, np.unique(y))
    np.testing.assert_array_equal(target.classes[target.codes(y, 60)], y)
    np.testing.assert_array_equal(target.codes(y[0], 3), target.codes(y[[0, 0, 0]], 3))
    again = ClassColumn.unpacked(target.packed())
    np.testing.assert_array_equal(again.classes, target.classes)
    assert again.classes.dtype == y.dtype and (again.column, again.names) == ("y_", target.names)
    column = target.beside(as_frame(np.eye(60)), target.codes(y, 60)).columns["y_"]
    assert [target.names.index(label) for label in column.cells()] == target.codes(y, 60).tolist()


@pytest.mark.filterwarnings("ignore:column .*some labels occur in a single row")
def test_the_column_of_labels_has_a_new_name_and_is_in_no_answer(letters):
    X, y = letters
    X = X.rename(columns={"a": "y", "b": "y_"})
    model = fitted(X, y, columns={"y": "categorical"})
    assert model.model_.columns == ("y", "y_", "y__")
    assert list(model.sample(3)) == list(model.transform(X)) == list(model.get_feature_names_out()) == ["y", "y_"]
    assert (model.sample(20, y="no", given={"y": "u", "y_": "q"}) == ["u", "q"]).all().all()
    with pytest.raises(UsageError, match=r"got y and given\['y__'\]"):
        model.sample(3, y="no", given={"y__": "no"})
    plain = fitted(X.to_numpy(), y)
    assert plain.model_.columns == ("x", "y", "y_")
    assert (plain.sample(20, given={0: "v", "y": "q"}) == ["v", "q"]).all()
    with pytest.raises(UsageError, match="unknown column '2'"):  # the class is no column of X
        plain.sample(3, given={2: "no"})


def test_a_class_of_its_own_and_rows_without_one(letters):
    X, y = letters
    with pytest.warns(UserWarning, match="column 'y': constant"):
        one = fitted(X[["b"]], np.full(60, 7))
    np.testing.assert_array_equal(one.predict_proba(X[["b"]]), np.ones((60, 1)))
    np.testing.assert_array_equal(one.score_samples(X[["b"]], 7), one.score_samples(X[["b"]]))
    assert one.sample(4, y=7).shape == (4, 1)
    model = fitted(X[["b"]], y)
    with untrained():
        model.partial_fit(X[["b"]])
    assert list(model.classes_) == ["no", "yes"] and model.n_iter_ == 60
    with untrained():
        assert not hasattr(model.fit(X[["b"]]), "classes_")  # which begins anew
    assert not hasattr(model, "predict") and model.model_.columns == ("b",)


# --- what it did not see ----------------------------------------------------------------------------------------------


def test_what_the_training_did_not_see_has_no_probability(letters):
    X, y = letters
    model = fitted(X[:57], y[:57])
    strange = X[:4].assign(a=["?", X.a[1], "?", X.a[3]], b=["?", X.b[1], X.b[2], "!"])
    found = model.score_samples(strange)
    np.testing.assert_array_equal(found == -np.inf, [True, False, True, True])
    assert found[1] == model.score_samples(X[1:2])
    smooth = model.score_samples(strange, laplace=True)
    p_b = model.score_samples(strange[2:3].assign(a=None))  # of the entry that was seen
    np.testing.assert_allclose(smooth[[0, 2]], [-2 * np.log(58), p_b[0] - np.log(58)], rtol=1e-6)
    with pytest.warns(UserWarning, match="4 entries, in 3 of 4 rows, are impossible .* with probability 1/58"):
        assert model.score(strange) == pytest.approx(smooth.mean())
    # Of a class that was not seen.
    np.testing.assert_array_equal(model.score_samples(X[:2], ["no", "perhaps"]) == -np.inf, [False, True])
    np.testing.assert_allclose(
        model.score_samples(X[:2], "perhaps", laplace=True), model.score_samples(X[:2]), rtol=1e-12
    )
    np.testing.assert_allclose(model.predict_proba(strange), np.full((4, 2), [19 / 57, 38 / 57]), atol=1e-5)


# --- the rest ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_in_the_units_of_the_data():
    """log p of a normal distribution without any training: a model begins with the data's Gaussian."""
    distribution = stats.multivariate_normal([100.0, -3e-3], [[25.0, 1e-3], [1e-3, 1e-6]])
    x, fresh = distribution.rvs(4000, random_state=1), distribution.rvs(500, random_state=2)
    with untrained():
        pipe = make_pipeline(StandardScaler(), tiny()).fit(x)
    found = pipe.score_samples(fresh) - np.log(pipe[0].scale_).sum()  # a density in units of the data
    assert abs((distribution.logpdf(fresh) - found).mean()) < 0.1
    assert pipe.score(fresh) == pytest.approx(pipe.score_samples(fresh).mean())
    by_place = pipe[1].sample(9, given={1: 0.5})
    assert (by_place[:, 1] == 0.5).all()
    np.testing.assert_array_equal(by_place, pipe[1].sample(9, given={"y": 0.5}))
    with pytest.raises(UsageError, match="unknown column '2'"):
        pipe[1].sample(9, given={2: 0.5})


@pytest.mark.slow
def test_missing_entries(old_or_young):
    frame, _, model = old_or_young
    frame = frame.astype({"age": "float64"})
    frame.loc[::3, "price"] = np.nan
    frame.loc[1::5, ["age", "city"]] = None
    assert np.isfinite(model.score_samples(frame)).all()
    filled = model.transform(frame)
    assert not filled.isna().any().any() and list(filled) == list(frame)
    pd.testing.assert_frame_equal(filled.where(frame.notna()), frame.where(frame.notna()))
    moved = frame.set_axis(np.arange(200) * 2 + 7)
    pd.testing.assert_frame_equal(model.transform(moved), filled.set_axis(moved.index))
    several = model.impute(frame, draws=2, random_state=1)
    assert len(several) == 2 and not several[0].equals(several[1])
    assert not several[0].equals(model.impute(frame, random_state=2))


@pytest.mark.parametrize("kind", ["pandas", "polars", "Arrow", "objects"])
def test_a_dropped_column_is_in_no_answer(people, kind, tmp_path):
    X = TYPES[kind](people[["size", "price", "city"]])
    column = "x1" if kind == "objects" else "price"
    model = fitted(X, columns={column: "drop"})
    model.save(tmp_path / "model.safetensors")
    for one in (model, DiffusionModel.load(tmp_path / "model.safetensors")):
        assert one.n_features_in_ == X.shape[1]
        assert one.transform(X).shape == (200, X.shape[1] - 1)
        assert column not in list(one.get_feature_names_out())
    rows = model.sample(5)
    assert type(rows) is type(X) and rows.shape == (5, X.shape[1] - 1)
    if kind == "pandas":
        assert list(rows) == ["size", "city"]
        pd.testing.assert_frame_equal(model.set_output(transform="pandas").transform(X), X[["size", "city"]])
    if kind == "objects":  # places are those of the columns that came
        assert (model.sample(9, given={2: "Wien"})[:, 1] == "Wien").all()


@pytest.mark.slow
def test_seeds(letters, of_letters):
    model = of_letters
    same = lambda a, b: a.equals(b)
    assert same(model.sample(50), model.sample(50))
    assert same(model.sample(50, random_state=4), model.sample(50, random_state=4))
    assert not same(model.sample(50, random_state=4), model.sample(50))
    assert not same(model.sample(50, y="no", random_state=4), model.sample(50, y="no"))
    state = np.random.RandomState(0)
    assert not same(model.sample(50, random_state=state), model.sample(50, random_state=state))
    model.set_params(random_state=None)
    try:
        assert not same(model.sample(50), model.sample(50))
        holes = letters[0].assign(a=None)
        assert same(model.transform(holes), model.transform(holes))
        assert not same(model.impute(holes), model.impute(holes))
    finally:
        model.set_params(random_state=0)


NUMBERS = np.random.default_rng(0).normal(size=(200, 2))
CLASSES = np.arange(200) % 2 == 0
WRONG_FITS = [
    (lambda: tiny().fit(np.where(np.arange(400).reshape(200, 2) == 5, np.inf, NUMBERS)), "row 3, column 'y'"),
    (lambda: tiny(max_steps=0).fit(NUMBERS), "steps"),
    (lambda: DiffusionModel("default").fit(NUMBERS), "this recipe is for points"),
    (lambda: tiny(columns={"y_": "ordered"}).fit(NUMBERS, CLASSES), "unknown column 'y_'"),  # that of the labels
    (lambda: tiny().fit([[1, 2], [1, 2, 3]]), "row 2 has 3 entries, and row 1 has 2"),
    (lambda: tiny().fit(NUMBERS, np.where(np.arange(200) < 1, np.nan, 1.0)), "label of row 1 is nan"),
    (lambda: tiny().fit(NUMBERS, np.array([1, "a"] * 100, object)), "types int and str, which cannot be sorted"),
]


@pytest.mark.parametrize(("fit", "says"), WRONG_FITS, ids=range(len(WRONG_FITS)))
def test_a_fit_that_cannot_be_is_refused(fit, says):
    with pytest.raises(MotesError, match=says):
        fit()


WRONG_QUESTIONS = [
    (lambda m, X: m.score_samples(X[:0]), DataError, "no rows"),
    (lambda m, X: m.sample(3, given=X[:1]), UsageError, "expected a dict or None"),
    (lambda m, X: m.sample(3, y=["no", "yes"]), UsageError, r"y has shape \(2,\); expected one class, or \(3,\)"),
    (lambda m, X: m.sample(3, y="maybe"), UsageError, r"'maybe' was not in the first fit\. Its classes: no, yes"),
    (lambda m, X: m.partial_fit(X, np.repeat(["no", "c"], 30)), UsageError, r"'c' was not .*\. Its classes: no, yes"),
    (lambda m, X: m.score_samples(X[["a"]]), ValueError, "feature names"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("ask", "error", "says"), WRONG_QUESTIONS, ids=range(len(WRONG_QUESTIONS)))
def test_a_question_that_cannot_be_is_refused(letters, of_letters, ask, error, says):
    with pytest.raises(error, match=says):
        ask(of_letters, letters[0])


@pytest.mark.slow
def test_a_model_without_labels_and_a_file_of_points_say_so(letters, of_letters, tmp_path):
    (X, y), some = letters, letters[0][["b"]]
    assert of_letters.transform(X[:0]).shape == (0, 2)
    assert of_letters.transform(X[:3].assign(a=["u", "?", None]))["a"].tolist()[:2] == ["u", "?"]  # unseen: it stays
    plain = fitted(some, random_state=np.random.RandomState(0))
    for ask in (plain.sample, lambda y: plain.score_samples(some, y), lambda y: plain.partial_fit(some, y)):
        with pytest.raises(UsageError, match=r"fitted without labels. Fit it with labels: fit\(X, y\)"):
            ask(y=y)
    with pytest.raises(AttributeError, match="predict"):
        plain.predict(some)
    with pytest.raises(MotesError, match="cannot be saved"):
        plain.save(tmp_path / "m.safetensors")
    fit_points(NUMBERS, changes={"training.steps": 1}).save(tmp_path / "points.safetensors")
    with pytest.raises(ModelFileError, match="is a model of points; expected a model of a table"):
        DiffusionModel.load(tmp_path / "points.safetensors")


@pytest.mark.slow
def test_a_file_with_classes_is_a_model_whose_rows_have_them(tmp_path):
    X, y = pd.DataFrame({"a": np.arange(60) % 7, "b": ["x", "z", "z"] * 20}), np.array(["u", "v"] * 30)
    fitted(X, y).save(tmp_path / "m.safetensors")
    rows = motes.load(tmp_path / "m.safetensors").sample(20)
    assert rows.names == ("a", "b", "y") and set(rows["y"]) == {"u", "v"}


@pytest.mark.parametrize("library", ["pandas", "polars"])
@pytest.mark.parametrize("came", [pd, pl, pa], ids=["pandas", "polars", "arrow"])
def test_set_output_keeps_the_types_whatever_came_in(library, came):
    rng = np.random.default_rng(0)
    data = {"a": rng.normal(size=60), "b": np.arange(60) % 7 * 3, "c": np.arange(60) % 3 == 0, "t": ["x", "y"] * 30}
    table = pa.table(data) if came is pa else came.DataFrame(data)
    made = fitted(table).set_output(transform=library).transform(table)
    assert isinstance(made, pd.DataFrame if library == "pandas" else pl.DataFrame)
    for name, values in data.items():
        column = made[name].to_numpy()
        assert column.dtype.kind in {"a": "f", "b": "i", "c": "b", "t": "OU"}[name]
        assert (column == np.asarray(values)).all()


@pytest.mark.slow
def test_a_column_of_no_kind_is_in_nobodys_way_once_it_is_dropped():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"lasted": pd.to_timedelta(np.arange(60), "h"), "items": [[1, 2]] * 60, "a": rng.choice(list("pq"), 60)}
    )
    with pytest.raises(DataError, match=r"'lasted' of the data is of type timedelta64.*such as seconds.*: 'drop'}"):
        tiny().fit(table)
    model = fitted(table, columns={"lasted": "drop", "items": "drop"})
    assert list(model.sample(3).columns) == list(model.transform(table).columns) == ["a"]
    assert np.isfinite(model.score_samples(table)).all()
    with pytest.raises(DataError, match=r"'a' of .* is of type timedelta64"):
        model.score_samples(table.assign(a=table["lasted"]))


# --- every check of scikit-learn, with trainings of a few steps -------------------------------------------------------


CHECKED = DiffusionModel(max_steps=5, changes=TINY, random_state=0)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:column .*:UserWarning")  # their tables are odd
@parametrize_with_checks([CHECKED])
def test_it_passes_every_check_of_scikit_learn(estimator, check):
    check(estimator)
