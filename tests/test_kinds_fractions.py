"""Numbers that are written in several ways: recognised, exact, normalised, under conditions, and drawn as written."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2_contingency
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold, cross_val_score

import motes
from fits import fit_table
from motes.cli.condition_words import table_conditions
from motes.errors import DataError, UsageError
from motes.tables import Between, Not, Schema
from tables import TINY, of_random_weights, untrained

STEPS = {"web": 1, "app": 2, "desk": 3}  # how each source rounds minutes; sensors do not


def sessions(seed, n=3000, decimals=None):
    """Durations in minutes: whole, halves or thirds by the source, and as measured by sensors."""
    rng = np.random.default_rng(seed)
    source, load = rng.choice([*STEPS, "sensor"], n, p=[0.35, 0.3, 0.2, 0.15]), rng.gamma(3, 1, n)
    measured = np.exp(rng.normal(2.6, 0.7, n)) * (1 + 0.15 * load) + 0.5
    rounded = [np.rint(measured * step) / step for step in STEPS.values()]
    minutes = np.select([source == name for name in STEPS], rounded, measured)
    minutes = minutes if decimals is None else minutes.round(decimals)
    return pd.DataFrame({"source": source, "minutes": minutes, "load": load})


def incomes(seed, n=3000):
    """Whole incomes, in thousands, five hundreds, hundreds or exactly, by who asked."""
    rng = np.random.default_rng(seed)
    unit = rng.choice([1000, 500, 100, 1], n, p=[0.35, 0.25, 0.2, 0.2])
    income = np.rint(np.exp(rng.normal(9, 0.6, n)) / unit) * unit
    return pd.DataFrame({"asked": np.char.add("by ", unit.astype(str)), "income": income.astype(int)})


SMALL = TINY | {"table.bins": 40}
TABLES = {
    "free": (sessions, "minutes", (1, 2, 3)),
    "cents": (lambda seed: sessions(seed, decimals=2), "minutes", (1, 2, 3)),
    "heaped": (incomes, "income", (1 / 1000, 1 / 500, 1 / 100)),
}


@pytest.mark.parametrize("name", TABLES)
def test_columns_that_are_written_in_several_ways_are_recognised_and_come_back_to_the_bit(name):
    make, column, _ = TABLES[name]
    frame = make(0)
    schema = Schema.fit(frame)
    assert schema.kind_of(column).name == "fractional"
    encoded = schema.encode(frame)
    back = schema.decode(encoded.codes, encoded.y, np.full(encoded.codes.shape, 0.5))
    assert np.array_equal(back.columns[column].values, frame[column].to_numpy())
    assert {one.name: one.kind for one in schema.columns}[column] == "fractional"


def test_ordinary_numbers_are_not_fractional():
    rng = np.random.default_rng(3)
    n, z = 1000, rng.standard_normal((200, 1000))
    columns = {f"c{j}": row * 10.0 ** rng.integers(-2, 4) for j, row in enumerate(z[:50])}
    columns |= {f"c{j}": np.exp(row) for j, row in enumerate(z[50:80], 50)}
    columns |= {f"c{j}": (row * 50).round(2) for j, row in enumerate(z[80:120], 80)}
    columns |= {f"c{j}": np.exp(row + 4).round(2) for j, row in enumerate(z[120:150], 120)}
    columns |= {f"c{j}": np.exp(row + 9).astype(int) for j, row in enumerate(z[150:180], 150)}
    columns |= {f"c{j}": np.where(rng.random(n) < 0.4, 0.0, np.exp(row)) for j, row in enumerate(z[180:], 180)}
    kinds = Schema.fit(pd.DataFrame(columns), relations=False).kinds
    assert [kind.column for kind in kinds if kind.name == "fractional"] == []


def test_simple_fractions_need_no_other_numbers_to_be_recognised():
    frame = sessions(0)
    frame = frame[frame["source"] != "sensor"]
    assert Schema.fit(frame).kind_of("minutes").name == "fractional"


def test_columns_of_relations_keep_their_kind():
    rng = np.random.default_rng(4)
    price = np.where(rng.random(2000) < 0.8, rng.integers(5, 90, 2000) - 0.01, rng.integers(500, 9000, 2000) / 100)
    count = rng.integers(1, 30, 2000)
    frame = pd.DataFrame({"price": price.round(2), "count": count, "total": (price.round(2) * count).round(2)})
    schema = Schema.fit(frame)
    assert len(schema.relations) > 0 and schema.kind_of("total").name == "real"
    assert Schema.fit(frame[["price"]]).kind_of("price").name == "fractional"
    assert Schema.fit(frame[["price"]], {"price": "real"}).kind_of("price").name == "real"


@pytest.fixture(scope="module", params=TABLES)
def model(request):
    make, column, _ = TABLES[request.param]
    frame = make(1)[[column]]
    with untrained():  # without the long tail, over which probabilities are summed below
        few = frame[frame[column] < frame[column].quantile(0.9)]
        return of_random_weights(fit_table(few, changes=SMALL, seed=1)), column


@pytest.mark.brief
@pytest.mark.slow(but=["heaped", "free"])
def test_probabilities_sum_to_one(model):
    model, column = model
    kind = model.schema.kind_of(column)
    if kind.grid.step:
        places = np.arange(-1000, 2 * kind.grid.places_of(np.array([kind.high]))[0])
        log_p = model.likelihood({column: kind.grid.numbers(places)}).log_prob
        total = np.exp(log_p).sum() * (kind.grid.width if kind.grid.places else 1.0)
    else:
        k, between = np.arange(-20, 4 * np.ceil(kind.high)), (np.arange(400) + np.sqrt(2) / 2) / 400
        simple, others = ((k[:, None] + f).ravel() for f in (np.array([0, 1 / 2, 1 / 3, 2 / 3]), between))
        total = np.exp(model.likelihood({column: simple}).log_prob).sum()
        total += np.exp(model.likelihood({column: others}).log_prob).sum() / len(between)
    # The rest lies further away; without a grid, Gaussians of random weights also reach beyond fractions of 0 and 1.
    assert (0.98 if kind.grid.step else 0.85) < total < 1.005


@pytest.mark.brief
@pytest.mark.slow
def test_conditions_hold_to_the_last_digit():
    with untrained():
        model = of_random_weights(fit_table(sessions(1), changes=SMALL, seed=1))
    for condition, meets in (
        (7.5, lambda x: x == 7.5),
        ((9.9, 11.25), lambda x: (x >= 9.9) & (x <= 11.25)),
        ({10 / 3, 12.0}, lambda x: (x == 10 / 3) | (x == 12)),
        (Not(Between(5, 40)), lambda x: (x < 5) | (x > 40)),
        ((None, 4), lambda x: x <= 4),
    ):
        drawn = model.sample(300, given={"minutes": condition}, seed=2)
        assert meets(drawn["minutes"]).all(), condition
    filled = model.impute(sessions(2, n=50).assign(minutes=np.nan), seed=1)
    assert filled["minutes"].between(model.schema.kind_of("minutes").low, model.schema.kind_of("minutes").high).all()
    with pytest.raises(DataError, match="no probability"):
        model.sample(3, given={"minutes": {np.pi * 3, 10}})
    with pytest.raises(DataError, match="to allow more"):
        model.sample(3, given={"minutes": 1e6})


@pytest.mark.slow
def test_rows_under_a_condition_are_like_those_of_a_plain_draw_that_meet_it():
    rng = np.random.default_rng(5)
    hours, step = np.exp(rng.normal(1.5, 0.7, 3000)), rng.choice([1, 2, 3, 0], 3000, p=[0.4, 0.25, 0.2, 0.15])
    frame = pd.DataFrame({"hours": np.where(step > 0, np.rint(hours * step) / np.maximum(step, 1), hours)})
    with untrained():
        model = motes.fit(frame, columns={"hours": "fractional"}, changes=SMALL, seed=1, verbose=False)
    x = model.sample(20_000, seed=1)["hours"]
    drawn = model.sample(8000, given={"hours": (2.5, 6.75)}, seed=2)["hours"]
    counts = [
        np.bincount(np.floor(some).astype(int), minlength=7)[2:7] for some in (x[(x >= 2.5) & (x <= 6.75)], drawn)
    ]
    assert np.min(counts) > 50 and chi2_contingency(counts).pvalue > 1e-4  # a false alarm in 10,000 seeds


def test_a_decimal_comma_is_refused():
    with pytest.raises(UsageError, match=r"write minutes=7\.5 for one number"):
        table_conditions(["minutes=7,5"], Schema.fit(sessions(1)))


@pytest.mark.slow(but=["heaped"])
def test_a_model_file_keeps_the_kind(model, tmp_path):
    model, column = model
    model.save(tmp_path / "model.safetensors")
    again = motes.load(tmp_path / "model.safetensors")
    assert np.array_equal(again.sample(200, seed=3)[column], model.sample(200, seed=3)[column])


def told_apart(real, drawn, column, factors):
    """Detection by boosted trees that see how each number is written; 1 = cannot be told apart."""
    both = pd.concat([real, drawn], ignore_index=True)
    for factor in factors:
        both[f"off {factor}"] = (both[column] * factor - (both[column] * factor).round()).abs().round(6)
    labels = both.select_dtypes(exclude="number")
    x = both.assign(**{name: labels[name].astype("category").cat.codes for name in labels})
    y = np.repeat([0, 1], [len(real), len(drawn)])
    folds, trees = (
        StratifiedKFold(3, shuffle=True, random_state=0),
        HistGradientBoostingClassifier(early_stopping=False),
    )
    return 2 - 2 * max(cross_val_score(trees, x, y, cv=folds, scoring="roc_auc").mean(), 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLES)
def test_trees_that_see_fractions_cannot_tell_drawn_numbers_apart(name):
    make, column, factors = TABLES[name]
    model = fit_table(make(5), changes={"table.steps": 400}, seed=0)
    assert told_apart(make(6), model.sample(3000, seed=1).to_pandas(), column, factors) > 0.8
