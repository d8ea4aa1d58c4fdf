"""`motes.fit`, `motes.load` and `motes.Model`: one model of points or of a table, in the kind of rows it was given."""

import datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from tests.conftest import SMALL
from tests.tables import TINY, untrained

import motes
from motes.data.frames import as_frame
from motes.errors import DataError, UsageError

pytestmark = pytest.mark.brief

POINTS = SMALL | {"training.steps": 40}
TABLE = TINY | {"table.steps": 2}
RNG = np.random.default_rng(3)
PEOPLE = {
    "age": RNG.integers(18, 80, 60),
    "height": RNG.normal(1.7, 0.1, 60).round(2),
    "city": RNG.choice(["Graz", "Linz", "Wien"], 60),
}


def few(data, **options):
    return motes.fit(data, changes=TABLE, verbose=False, **options)


@pytest.fixture
def quick_tables():
    """Tables are not trained: a program that trains takes seconds to compile for each new kind of table."""
    with untrained():
        yield


@pytest.fixture(scope="module")
def moons():
    return motes.fit(motes.make_shape("moons", 300, seed=1), changes=POINTS, seed=2, verbose=False)


@pytest.fixture(scope="module")
def people():
    return few(pd.DataFrame(PEOPLE), seed=2)


# --- the kind of rows -------------------------------------------------------------------------------------------------


def kinds():
    frame = pd.DataFrame(PEOPLE)
    small = frame.astype({"age": "uint8", "city": "category"})
    return {
        "pandas": (frame, lambda rows: rows.dtypes.astype(str).to_dict()),
        "pandas, small": (small, lambda rows: rows.dtypes.astype(str).to_dict()),
        "polars": (pl.DataFrame(PEOPLE), lambda rows: rows.schema),
        "arrow": (pa.table(PEOPLE), lambda rows: rows.schema),
        "dict": (PEOPLE, lambda rows: [*rows]),
        "array": (frame.to_numpy(), lambda rows: rows.dtype),
        "lists": (frame.to_numpy().tolist(), lambda rows: None),
        "frame": (as_frame(frame), lambda rows: {name: one.type for name, one in rows.columns.items()}),
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", kinds())
def test_rows_come_back_in_the_kind_they_were_given_in(name, tmp_path):
    data, types = kinds()[name]
    model = few(data)
    assert model.kind == "table"
    rows = model.sample(7, seed=1)
    expected = np.ndarray if name == "lists" else type(data)
    assert isinstance(rows, expected) and types(rows) == types(data)
    filled = model.impute(data)
    assert isinstance(filled, expected)
    model.save(tmp_path / "m.safetensors")
    again = motes.load(tmp_path / "m.safetensors")
    if name != "frame":
        assert isinstance(again.sample(7, seed=1), expected) and types(again.sample(7, seed=1)) == types(data)
    same = as_frame(again.sample(7, seed=1))
    assert repr(same.columns) == repr(as_frame(rows).columns)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_points_come_back_in_the_kind_they_were_given_in(dtype):
    x = motes.make_shape("moons", 200, seed=1)
    rows = motes.fit(x.astype(dtype), changes=POINTS, verbose=False).sample(5)
    assert isinstance(rows, np.ndarray) and rows.dtype == dtype
    frame = pd.DataFrame(x, columns=["east", "north"])
    model = motes.fit(frame, changes=POINTS, verbose=False)
    assert model.kind == "points" and model.columns == ("east", "north")
    assert isinstance(model.sample(5), pd.DataFrame) and list(model.sample(5)) == ["east", "north"]
    swapped = model.score_samples(frame[["north", "east"]][:5])
    np.testing.assert_array_equal(swapped, model.score_samples(frame[:5]))
    assert (swapped != model.score_samples(frame.rename(columns={"east": "north", "north": "east"})[:5])).any()
    with pytest.raises(DataError, match="column 'east': got text; expected numbers"):
        model.score_samples(pd.DataFrame({"east": ["a"], "north": [1.0]}))


@pytest.mark.slow
def test_rows_of_a_file_belong_to_no_library(tmp_path, motes_command, quick_tables, quick_run):
    code, _, err = motes_command("train", "penguins", "-q", "--no-figures", "--set", "table.steps=2", "--set",
                                 "table.width=8", "--set", "table.calibrate=false")  # fmt: skip
    assert code == 0, err
    model = motes.load("runs/penguins")
    rows = model.sample(4, given={"species": "Gentoo"})
    assert rows.to_pandas().shape == (4, 8) and rows.to_polars().shape == (4, 8) and rows.to_arrow().shape == (4, 8)
    assert rows["species"].tolist() == ["Gentoo"] * 4
    estimator = motes.DiffusionModel.load("runs/penguins")
    assert estimator.sample(4, given={"species": "Gentoo"}, random_state=0).to_pandas().equals(rows.to_pandas())
    model.save("again.safetensors")
    code, out, err = motes_command("sample", "again.safetensors", "-n", "4", "--given", "species=Gentoo", "-q")
    assert code == 0 and out == rows.to_pandas().to_csv(index=False), err


@pytest.mark.slow
def test_a_shape_and_a_data_set_go_by_their_names(quick_tables):
    model = motes.fit("moons", changes=POINTS, seed=4, verbose=False)
    assert (model.kind, model.source) == ("points", "moons") and isinstance(model.sample(3), np.ndarray)
    table = few("penguins")
    assert table.kind == "table" and isinstance(table.sample(3), motes.data.Frame)
    assert isinstance(model.evaluate(n=100), motes.evaluation.Evaluation)


# --- the recipe -------------------------------------------------------------------------------------------------------


@pytest.mark.slow(only=["iris-table-recipe 'table' for 'iris'", "moons-points-recipe 'default' for 'moons'"])
@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (motes.make_shape("moons", 100), "points", "recipe 'default', for points: two columns of real numbers"),
        (np.column_stack([motes.make_shape("moons", 100), np.arange(100) % 7]), "table", "recipe 'table': 3 columns"),
        ({"a": [1.5, 2.5] * 20, "b": ["x", "y"] * 20}, "table", "recipe 'table': 2 columns; 'b' holds text"),
        ({"a": np.arange(40) % 7, "b": [1.5, None] * 20}, "table", "'a' holds whole numbers"),
        ("moons", "points", "recipe 'default' for 'moons'"),
        ("iris", "table", "recipe 'table' for 'iris'"),
    ],
)
def test_the_data_chooses_the_recipe_and_it_is_said(data, kind, message, capsys, quick_tables):
    changes = POINTS if kind == "points" else TABLE
    assert motes.fit(data, changes=changes, verbose=True).kind == kind
    err = capsys.readouterr().err
    assert message in err and "training:" in err


@pytest.mark.slow
def test_quiet_where_nobody_looks_and_the_request_wins(capsys, quick_tables):
    x = motes.make_shape("moons", 100)
    assert motes.fit(x, "table", changes=TABLE).kind == "table"
    assert motes.fit(x, changes=POINTS, verbose=False).kind == "points"
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_what_should_be_known_of_a_file_is_said_as_for_rows_in_memory(tmp_path, capsys, quick_tables):
    frame = pd.DataFrame(PEOPLE).assign(number=range(60))
    frame.to_csv(tmp_path / "p.csv", index=False)
    for data in (frame, tmp_path / "p.csv"):
        few(data)
        assert "nearly every row has its own value: 'number'" in capsys.readouterr().err


def test_progress_reaches_the_callback():
    seen = []
    motes.fit(motes.make_shape("moons", 100), changes=POINTS, verbose=False, on_progress=seen.append)
    few(PEOPLE, on_progress=seen.append)
    assert {now.total for now in seen} == {40, 2} and seen[-1].done == 2


@pytest.mark.slow
def test_a_training_goes_on(moons, people):
    with pytest.raises(UsageError, match="start is a model of a table; expected one of points"):
        motes.fit(motes.make_shape("moons", 100), changes=POINTS, start=people, verbose=False)
    with pytest.raises(UsageError, match="start is a model of points; expected one of a table"):
        few(PEOPLE, start=moons)
    part = pd.DataFrame(PEOPLE)[:30]
    with untrained():
        assert few(part).schema.rows == 30 and few(part, start=people).schema.rows == 60


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "moons", "labels": [1]}, "got labels for 'moons'; labels needs rows in memory"),
        ({"data": "moons", "weights": [1]}, "got weights for 'moons'"),
        ({"data": "moons", "columns": ["a", "b"]}, "columns are for rows in memory, or for a table"),
        ({"data": PEOPLE, "labels": [1] * 60}, "labels are for points; in a table they are a column"),
        ({"data": PEOPLE, "columns": ["a", "b", "c"]}, "expected a dict such as"),
        ({"data": {"a": [0.5, 1.5], "b": [0.5, 2.5]}, "columns": ["x", "y"]}, "but the data has column names"),
        ({"data": motes.make_shape("moons", 50), "columns": {"x": "integer"}}, "kinds of columns are for tables"),
        ({"data": "nowhere"}, "nowhere"),
    ],
)
def test_what_does_not_suit_the_data_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        motes.fit(**options, verbose=False)


def test_names_and_kinds_of_columns(people, quick_tables):
    x = motes.make_shape("moons", 100)
    assert motes.fit(x, changes=POINTS, columns=["a", "b"], verbose=False).columns == ("a", "b")
    array = np.column_stack([x, np.arange(100) % 7])
    assert few(array, columns=["a", "b", "c"]).columns == ("a", "b", "c")
    assert few(PEOPLE, columns={"age": "real"}).schema.columns[0].kind == "real"
    assert people.schema.columns[0].kind == "integer"


# --- the same questions -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_progress_counts_the_rows_of_all_draws(moons):
    seen = []
    moons.impute(np.array([[0.5, np.nan]] * 3), draws=3, on_progress=lambda now: seen.append(now[:2]))
    assert seen == sorted(seen) and seen[-1] == (9, 9)


@pytest.mark.slow
def test_one_column_of_a_table_given_the_others(people):
    frame = pd.DataFrame(PEOPLE)[:6].set_index(pd.Index(list("abcdef")))
    found = people.predict(frame, "city")
    assert isinstance(found, pd.DataFrame) and list(found.index) == list("abcdef") and "p(Graz)" in found
    p, labels = people.predict_proba(frame, "city")
    np.testing.assert_array_equal(p, found[[f"p({label})" for label in labels]])
    ages = people.predict(frame.drop(columns="age"), "age", quantiles=(0.1, 0.9), draws=16)
    assert list(ages) == ["mean", "sd", "q0.1", "q0.9"]


def test_evidence_draws_with_its_seed(people):
    given = {"height": (1.65, 1.75), "age": (30, 50)}
    found = [people.evidence(given, n=40, seed=seed).log_prob for seed in (0, 1, 1)]
    assert found[0] != found[1] == found[2]
    assert found[1] == people.draw(40, given=given, seed=1).log_evidence


@pytest.mark.slow
def test_a_condition_that_is_hardly_ever_met_is_warned_of():
    many = {"n": np.r_[np.zeros(30_000), np.ones(2)].astype(int), "x": np.arange(30_002) % 3}
    model = motes.fit(many, changes=TABLE | {"table.calibrate": True}, verbose=False)
    with pytest.warns(UserWarning, match="below 1 in 10,000. The training data had hardly any such row"):
        model.sample(20, given={"n": 1})
    found = model.evidence({"n": 1})
    assert found.log_prob < -9.2 and found.warnings
    usual = model.evidence({"x": 1}, n=500)
    assert usual.log_prob == pytest.approx(np.log(1 / 3), abs=0.1) and not usual.warnings


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda table, points: table.averaged_over(0.1), "no averages to choose from.* --set table.averages=32"),
        (lambda table, points: points.report("a.txt"), "expected a name that ends in .html"),
        (lambda table, points: table.report("a.txt"), "expected a name that ends in .html"),
        (
            lambda table, points: table.evaluate(),
            r"Pass them, as in model.evaluate\(rows\); on the command line, give a shape",
        ),
    ],
)
def test_misuse_is_refused_with_what_to_do(ask, message, people, moons):
    with pytest.raises(UsageError, match=message):
        ask(people, moons)


# --- how good it is ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_table_in_memory_is_evaluated_against_rows(people, tmp_path):
    rows = pd.DataFrame(PEOPLE)
    same = people.evaluate(rows, n=200)
    assert not any("not available" in note for note in same.notes)  # the training rows are recognised
    fresh = rows.assign(age=rows["age"].to_numpy()[::-1])
    other = people.evaluate(fresh, n=200)
    assert any("the training rows are not available" in note for note in other.notes)
    path = people.report(tmp_path / "report.html", rows, n=200)
    assert "<html" in path.read_text()


def test_pictures(people, moons):
    assert moons.plot(n=50).get_title() == "50 samples"
    figure = people.plot(pd.DataFrame(PEOPLE), n=50, style="dark")
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["age", "height", "city"]
    with pytest.raises(UsageError, match="Plot the data with"):
        moons.plot([[0, 0]])


def test_a_model_shows_itself_on_one_screen(people, moons):
    for model, name in ((people, "TableModel"), (moons, "PointModel")):
        assert repr(model).startswith(f"{name}({len(model.columns)} columns, ")
        assert len(repr(model)) < 120
    betas = motes.points.DiscreteVP(np.full(1000, 0.01))
    for one in (motes.truth("moons"), motes.truth("checkerboard"), betas, people.schema, people.training):
        assert "\n" not in repr(one) and len(repr(one)) < 500


# --- rows -------------------------------------------------------------------------------------------------------------


def test_a_frame_becomes_a_table_of_any_library():
    dates = [datetime.datetime(2020, 1, 2, 3), None, datetime.datetime(2021, 5, 6)]
    frame = as_frame(
        {"a": [1, None, 3], "b": [0.5, 1.5, None], "c": ["x", None, "z"], "d": dates, "e": [True, False, True]}
    )
    table = frame.to_pandas()
    assert table["a"].tolist()[0] == 1 and table.isna().sum().tolist() == [1, 1, 1, 1, 0]
    for made in (table, frame.to_polars(), frame.to_arrow()):
        again = as_frame(made)
        assert again.names == frame.names
        for name in frame.names:
            assert again.columns[name].cells() == frame.columns[name].cells(), name
    assert frame.to_numpy().shape == (3, 5) and frame.to_numpy().dtype == object
    assert as_frame({"a": [1, 2], "b": [0.5, 1.5]}).to_numpy().tolist() == [[1, 0.5], [2, 1.5]]
    assert np.isnan(frame["b"][2]) and frame["c"][1] is None
    with pytest.raises(DataError, match="there is no column 'q'"):
        frame["q"]


def test_a_frame_shows_its_first_rows():
    frame = as_frame({f"column{k}": np.arange(1234) for k in range(20)})
    lines = repr(frame).splitlines()
    assert len(lines) == 12 and lines[-1] == "1,234 rows of 20 columns" and lines[0].endswith("…")
    assert frame._repr_html_().count("<tr>") == 11
    assert "<b>" not in as_frame({"<b>": ["<b>"]})._repr_html_()


def test_a_dict_of_uneven_columns_is_refused():
    with pytest.raises(DataError, match="column 'b' has 3 entries, and 'a' has 2; expected the same number"):
        as_frame({"a": [1, 2], "b": [1, 2, 3]})
    with pytest.raises(DataError, match=r"column 'a' has shape \(2, 2\)"):
        as_frame({"a": [[1, 2], [3, 4]]})
