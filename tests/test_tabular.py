"""Models of tables: any columns, missing cells, any subset known."""

import itertools
import pickle

import numpy as np
import pandas as pd
import pytest

import motes
from motes.data.frames import as_frame
from motes.diffusion.denoiser import Cells, Given
from motes.errors import DataError, ModelFileError, RecipeError, UsageError
from motes.sampling.likelihood import log_likelihood
from motes.table_fitting import fit_table
from motes.tabular import TableModel, as_tabular

ROWS = 300
TINY = {
    "training.steps": 150,
    "training.batch": 64,
    "training.ema": 0.9,
    "training.masks": 0.5,
    "training.validation": 0.0,
    "network.width": 16,
    "network.depth": 2,
    "grid.steps": 8,
}


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(4)
    age = rng.integers(18, 80, ROWS)
    frame = pd.DataFrame(
        {
            "age": age,
            "price": np.exp(rng.normal(age / 40, 0.5)),
            "city": rng.choice(["Graz", "Linz", "Wien"], ROWS),
            "member": rng.random(ROWS) < 0.3,
            "one": "same",
        }
    )
    frame.loc[rng.random(ROWS) < 0.2, "price"] = np.nan
    frame.loc[rng.random(ROWS) < 0.1, "city"] = None
    return frame


@pytest.fixture(scope="module")
def model(table):
    return fit_table(table, changes=TINY, seed=2, source="people.csv")


def test_rows_are_of_the_table(table, model):
    rows = model.sample(50, seed=1).like(table)
    assert list(rows) == list(table)
    assert (rows.dtypes == table.dtypes).all()
    assert set(rows.city) <= {"Graz", "Linz", "Wien"}
    assert (rows.one == "same").all() and (rows.price > 0).all() and not rows.isna().any().any()
    pd.testing.assert_frame_equal(model.sample(20, seed=1).like(table), rows.iloc[:20])


def test_known_cells_come_back_to_the_bit(table, model):
    given = {"price": 0.1 + 0.2, "city": "Linz", "age": 41}
    drawn = model.sample(30, given=given, seed=1)
    rows = drawn.like(table)
    assert (rows.price == 0.1 + 0.2).all() and (rows.city == "Linz").all() and (rows.age == 41).all()
    assert drawn.effective == 30
    assert 0 < rows.member.sum() < 30


def test_intervals_hold_for_every_row_and_say_what_the_rows_are_worth(table, model):
    drawn = model.sample(40, given={"age": (30, 45), "price": (None, 3.0), "city": "Wien"}, seed=1)
    rows = drawn.like(table)
    assert rows.age.between(30, 45).all() and (rows.price <= 3.0).all() and (rows.city == "Wien").all()
    assert drawn.effective == 40
    assert len(model.sample(5, given={"age": (30, 45)}, sampler="heun")) == 5
    rare = {"age": (30, 30), "price": (0.05, 0.0501)}
    drawn = model.sample(40, given=rare, seed=1)
    assert (drawn.columns["age"].values == 30).all() and 1 <= drawn.effective <= 40
    price = drawn.columns["price"].values
    assert ((price >= 0.05) & (price <= 0.0501)).all()
    with pytest.raises(UsageError, match="particles"):
        model.sample(5, given=rare, sampler="heun")


def test_holes_are_filled_in_and_nothing_else(table, model):
    first, second = (frame.like(table) for frame in model.impute(table, draws=2, seed=1))
    for made in (first, second):
        assert not made.isna().any().any()
        there = table.notna()
        pd.testing.assert_frame_equal(made.where(there), table.where(there), check_dtype=False)
    holes = table.price.isna()
    assert (first.price[holes] != second.price[holes]).all()
    # Only the rows with holes are worked on: each is filled in as if it stood alone with the others.
    pd.testing.assert_frame_equal(
        model.impute(table[holes], seed=1)[0].like(table)[["age"]], table[holes][["age"]].reset_index(drop=True)
    )


def test_a_row_of_holes_alone_is_drawn_from_the_whole_law(table, model):
    empty = pd.DataFrame({"age": [None] * 3, "price": None, "city": None, "member": None, "one": "same"})
    made = model.impute(empty, seed=0)[0]
    assert not any(series.missing.any() for series in made.columns.values())


def test_the_likelihood_of_a_row_is_its_own(table, model):
    whole = model.score_samples(table)
    order = np.random.default_rng(0).permutation(ROWS)
    np.testing.assert_allclose(model.score_samples(table.iloc[order]), whole[order], rtol=0, atol=1e-9)
    np.testing.assert_allclose(model.score_samples(table.iloc[:7]), whole[:7], rtol=0, atol=1e-9)


def test_a_column_that_tells_heaps_apart_is_not_mixed_up():
    """Kinds as text, as truth and as whole numbers, of few rows: the others are drawn about what they go with."""
    rng = np.random.default_rng(20)
    kind = rng.integers(3, size=150)
    x = 8.0 * np.array([[0, 0], [1, 0], [0, 1]])[kind] + rng.standard_normal((150, 2))
    frame = pd.DataFrame({"x": x[:, 0], "y": x[:, 1], "text": np.array(["a", "b", "c"])[kind], "whole": kind})
    frame["truth"] = kind == 1
    made = fit_table(frame, changes={"training.steps": 200}, seed=3).sample(2000, seed=4).like(frame)
    lies = np.where(made.x > 4, 1, np.where(made.y > 4, 2, 0))
    assert np.mean(made.text == np.array(["a", "b", "c"])[lies]) > 0.99
    assert np.mean(made.whole == lies) > 0.99
    assert np.mean(made.truth == (lies == 1)) > 0.99


def test_masses_of_discrete_rows_sum_to_one():
    rng = np.random.default_rng(1)
    cells = {"a": rng.choice(list("xyz"), 500, p=[0.6, 0.3, 0.1]), "b": rng.random(500) < 0.4}
    made = fit_table(pd.DataFrame(cells), changes=TINY, seed=0)
    rows = pd.DataFrame(list(itertools.product("xyz", [False, True])), columns=["a", "b"])
    draws = 1200
    many = pd.concat([rows] * draws, ignore_index=True)
    encoded = made.encoder.encode(many, 5)  # noise of its own for each row, where `score_samples` has that of the row
    mass = np.exp(made.model.score_samples(encoded.z) + encoded.log_det).reshape(draws, len(rows)).sum(axis=1)
    assert abs(mass.mean() - 1) < 5 * mass.std() / draws**0.5 + 1e-3  # 5 standard errors: one run in 10^6
    assert mass.std() / draws**0.5 < 0.02


def test_missing_cells_say_nothing(table, model):
    """log p of the known cells alone is the integral over the others."""
    row = table.dropna().iloc[[0]]
    hole = row.assign(member=None)
    both = pd.concat([row.assign(member=value) for value in (False, True)])
    draws = 100

    def log_prob(rows):
        encoded = model.encoder.encode(pd.concat([rows] * draws), 3)
        gone = ~encoded.known
        given = Given(cells=Cells(encoded.z, np.zeros_like(gone), gone)) if gone.any() else None
        found = log_likelihood(model.model.denoiser, encoded.z, given=given).log_prob + encoded.log_det
        return np.exp(found).reshape(draws, len(rows)).sum(axis=1).mean()

    # A network of 150 steps is told of absent cells what it has learned of them: near, and no more.
    assert log_prob(hole) == pytest.approx(log_prob(both), rel=0.5)


def test_the_order_of_the_rows_has_no_bearing(table, model):
    again = fit_table(table.iloc[::-1], changes=TINY, seed=2, source="people.csv")
    for ours, theirs in zip(model.parts()[0].values(), again.parts()[0].values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_weights_are_repetitions(table):
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 3, ROWS)
    quick = TINY | {"training.steps": 20}
    heavy = fit_table(table, changes=quick, weights=weights)
    repeated = fit_table(table.loc[np.repeat(np.arange(ROWS), weights)], changes=quick)
    for ours, theirs in zip(heavy.parts()[0].values(), repeated.parts()[0].values(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_rows_in_blocks_are_those_of_one_block(monkeypatch, table, model, small_model):
    points, told = as_tabular(small_model), []
    x = np.random.default_rng(8).normal(size=(23, 2))

    def answers():
        numbers, people = points.sample(23, seed=4), model.sample(23, seed=1)
        return numbers.like(x), people.like(table), points.score_samples(x)

    numbers, people, log_prob = answers()
    monkeypatch.setattr(motes.tabular, "BLOCK", 7)
    monkeypatch.setattr("motes.data.blocks.BLOCK", 7)
    parts, of_people, of_parts = answers()
    np.testing.assert_array_equal(numbers, parts)
    pd.testing.assert_frame_equal(people, of_people)
    np.testing.assert_allclose(log_prob, of_parts, rtol=1e-6)
    assert [len(rows) for rows in points.blocks(23, on_block=told.append)] == [7, 7, 7, 2]
    assert told == [7, 14, 21, 23]
    # Noise within the cells of discrete columns, and what is drawn, is not the same in every block.
    ages = model.sample(28, given={"city": "Graz"}, seed=1).like(table).age.to_numpy().reshape(4, 7)
    assert len(np.unique(ages, axis=0)) == 4
    holed = table.head(28).assign(age=table.age.iloc[0], price=None)
    whole = model.impute(holed)[0].like(table)
    pd.testing.assert_frame_equal(whole.drop(columns=["price", "city"]), holed.drop(columns=["price", "city"]))
    assert whole.price.nunique() == 28
    for ask in (points.score_samples, points.impute):
        with pytest.raises(DataError, match="row 20, column 'y'"):
            ask(np.where(np.arange(46).reshape(23, 2) == 39, np.inf, x))


def test_a_file_and_a_pickle_hold_the_whole_model(table, model, tmp_path):
    path = tmp_path / "model.safetensors"
    model.save(path)
    for again in (motes.load(path), pickle.loads(pickle.dumps(model))):
        assert isinstance(again, TableModel)
        pd.testing.assert_frame_equal(again.sample(9, seed=3).like(table), model.sample(9, seed=3).like(table))
        np.testing.assert_array_equal(again.score_samples(table[:5]), model.score_samples(table[:5]))
        assert again.encoder.described() == model.encoder.described()
        assert again.model.source == "people.csv"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(ModelFileError):
        motes.load(path)


def test_going_on_from_a_model(table, model):
    more = fit_table(table, changes=TINY | {"training.steps": 5}, start=model)
    assert more.encoder is model.encoder
    ours, theirs = (m.parts()[0] for m in (model, more))
    moved = [np.abs(ours[name] - theirs[name]).max(initial=0) for name in ours if not name.startswith("encoder")]
    assert 0 < max(moved) < 0.5


def test_a_model_of_points_is_one_of_a_table_of_real_columns(small_model):
    same = as_tabular(small_model)
    np.testing.assert_allclose(
        same.sample(50, seed=7).like(np.empty((0, 2))), small_model.sample(50, seed=7), rtol=1e-12
    )
    x = small_model.sample(20, seed=1)
    np.testing.assert_allclose(same.score_samples(x), small_model.score_samples(x), rtol=0, atol=1e-9)
    drawn = same.sample(200, given={"x": 0.5}, seed=0)
    assert (drawn.columns["x"].values == 0.5).all()
    assert drawn.effective <= 200
    holes = x.copy()
    holes[::2, 1] = np.nan
    filled = same.impute(holes, seed=0)[0].like(x)
    np.testing.assert_array_equal(filled[~np.isnan(holes)], holes[~np.isnan(holes)])
    assert np.isfinite(filled).all()


def test_what_cannot_be_learned_or_asked_is_refused(table, model):
    with pytest.raises(RecipeError, match=r"row \d+, column 'price', and training.masks = 0"):
        fit_table(table, changes=TINY | {"training.masks": 0.0})
    plain = fit_table(table[["age", "member"]], changes=TINY | {"training.masks": 0.0, "training.steps": 5})
    with pytest.raises(UsageError, match="row 1 has no 'age', and this model was trained without masks"):
        plain.score_samples(pd.DataFrame({"age": [None, 4], "member": [True, False]}))
    with pytest.raises(DataError, match="the data has no column 'age'"):
        model.score_samples(table.drop(columns="age"))
    with pytest.raises(DataError, match="row 2, column 'city': 'Bonn' came"):
        model.score_samples(table.iloc[:2].assign(city=["Graz", "Bonn"]))
    with pytest.raises(UsageError, match="knows no classes"):
        model.predict_proba(table)
    with pytest.raises(UsageError, match="n = 0 rows"):
        model.sample(0)


def test_classes_of_a_table(table):
    whole = table.drop(columns=["city"])
    labels = np.where(table.age > 50, "old", "young")
    made = fit_table(whole, changes=TINY | {"training.steps": 600, "network.width": 64}, labels=labels, seed=1)
    p = made.predict_proba(whole)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert np.mean(np.array(made.classes.names)[p.argmax(axis=1)] == labels) > 0.9  # the age says it all
    old = made.sample(200, label="old", seed=0).columns["age"].values
    assert np.mean(old > 45) > 0.8
    assert as_frame(whole).names == made.columns
