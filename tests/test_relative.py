"""Histograms of numbers relative to other columns: found where they say something, normalised, and drawn as scored."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn import datasets

import motes
from fits import fit_table
from motes.tables import Schema
from motes.tables.model import TableModel
from motes.tables.predictions import conditional_masses, pieces_of
from motes.tables.relative import GroupMeans, Relative, order_for
from motes.tables.unmasking import draw_block
from tables import TINY, of_random_weights, untrained

pytestmark = pytest.mark.brief


def payments(n=2000, seed=0, size=8):
    """Bills, payments of 3 to 4 per cent of the bill or of some other amount, and next bills of a little more."""
    rng = np.random.default_rng(seed)
    bill = np.rint(np.exp(rng.normal(size, 1, n)))
    share = np.where(rng.random(n) < 0.7, rng.uniform(0.03, 0.04, n), rng.uniform(0, 0.5, n))
    paid = np.ceil(share * bill)
    return pd.DataFrame({"bill": bill, "paid": paid, "next": bill - paid + np.ceil(bill * rng.uniform(0.01, 0.05, n))})


def dates(n=3000, seed=3):
    rng = np.random.default_rng(seed)
    start = np.datetime64("2021-01-01") + rng.integers(0, 700, n)
    return pd.DataFrame({"start": start, "end": start + rng.integers(0, 30, n)})


def days(n=6000, groups=200, seed=0):
    """Rows of days with a temperature, a humidity and a demand of their own, and two ordinary columns."""
    rng = np.random.default_rng(seed)
    day = rng.integers(groups, size=n)
    temperature, humidity, demand = rng.normal(15, 8, groups), rng.uniform(30, 95, groups), rng.normal(5, 0.6, groups)
    return pd.DataFrame({
        "day": np.datetime64("2023-01-01") + day,
        "temperature": (temperature[day] + rng.normal(0, 0.7, n)).round(1),
        "humidity": np.rint(humidity[day] + rng.uniform(-3, 3, n)),
        "demand": np.rint(np.exp(demand[day]) + rng.normal(0, 8, n)),
        "age": np.rint(rng.gamma(9, 4.5, n)),
        "channel": rng.choice(["shop", "web", "phone"], n, p=[0.5, 0.3, 0.2]),
    })  # fmt: skip


def test_histograms_are_found_where_other_columns_give_a_place():
    relatives = Schema.fit(payments()).relatives
    found = {(one.column, *one.others, one.unit): one for one in relatives}
    inside = found["paid", "bill"]
    cells = (inside.edges[:-1] > 0.0295) & (inside.edges[1:] < 0.0405)
    assert inside.masses[cells].sum() > 0.6
    assert found["next", "bill", "paid", "bill"].weights == (1.0, -1.0)
    (gap,) = (one for one in Schema.fit(dates()).relatives if one.column == "end")
    assert gap.edges[[0, -1]].tolist() == [-0.5, 29.5]
    order = np.random.default_rng(0).permutation(2000)
    again = Schema.fit(payments().iloc[order]).relatives
    cells = lambda some: [(one.column, one.given, one.edges.tolist()) for one in some]
    assert cells(again) == cells(relatives)


def test_columns_that_are_merely_correlated_have_no_histograms():
    rng = np.random.default_rng(1)
    covariance = 0.6 + 0.4 * np.eye(4)
    frame = pd.DataFrame(rng.multivariate_normal(np.zeros(4), covariance, 3000).round(3), columns=list("abcd"))
    assert Schema.fit(frame).relatives == ()


@pytest.mark.slow(but=["date"])
@pytest.mark.parametrize("form", ["date", "moment", "number", "label"])
def test_histograms_relative_to_the_mean_of_a_group_are_found(form):
    rows = days(1000, 50)
    number = (rows["day"] - rows["day"].min()).dt.days
    moment = rows["day"] + pd.to_timedelta(np.random.default_rng(1).integers(0, 24, 1000), "h")
    group = {"date": rows["day"], "moment": moment, "number": number, "label": "day " + number.astype(str)}[form]
    rows = rows.assign(day=group)
    relatives = Schema.fit(rows).relatives
    found = {(one.column, *one.given): one.group for one in relatives}
    assert all(found[column, "day"] for column in ("temperature", "humidity", "demand"))
    means = found["temperature", "day"]
    assert len(means.keys) == 50
    if form != "label":  # labels are sorted as text
        truth = rows.groupby(number)["temperature"].mean()
        np.testing.assert_allclose(means.means, truth, atol=0.1)  # hardly shrunk: days differ far more than their rows
        return
    again = Schema.fit(rows.sample(frac=1, random_state=2)).relatives
    centres = lambda some: [(one.given, one.group and one.group.means.tolist()) for one in some]
    assert centres(again) == centres(relatives)


def test_a_group_adds_no_histogram_where_its_value_says_as_much_roughly_or_nothing():
    rng = np.random.default_rng(5)
    day, kind = rng.integers(100, size=2000), rng.integers(7, size=2000)
    smooth, level, noise = (
        0.2 * day + rng.normal(size=2000),
        3 * (kind * 3 % 7) + rng.normal(size=2000),
        rng.normal(size=2000),
    )
    frame = pd.DataFrame({"day": day, "kind": kind, "smooth": smooth, "level": level, "noise": noise})
    assert not [one for one in Schema.fit(frame.round(1)).relatives if one.group]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wine", "diabetes", "breast_cancer"])
def test_ordinary_tables_have_no_means_of_groups(name):
    frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
    assert not [one for one in Schema.fit(frame).relatives if one.group]


def test_a_training_row_does_not_count_in_the_mean_of_its_group_and_small_groups_are_shrunk():
    rng = np.random.default_rng(0)
    size = np.repeat(np.arange(30), np.append(np.full(5, 6), np.full(25, 60)))
    x = 1e6 + rng.normal(size=30)[size] + rng.normal(size=len(size))
    means = GroupMeans.fit("g", np.arange(30.0), size, x)
    shrinkage = means.weights - np.bincount(size)
    assert np.ptp(shrinkage) < 1e-6
    assert 0.5 < shrinkage[0] < 2  # variances of 1 within and 1 between groups
    for k in (0, 29, 400):
        others = x[(size == size[k]) & (np.arange(len(x)) != k)]
        expected = (others.sum() + shrinkage[0] * x.mean()) / (len(others) + shrinkage[0])
        assert means.origin(size[[k]].astype(float), x[[k]])[0] == pytest.approx(expected, abs=1e-6)
    assert np.isnan(means.origin(np.array([31.0, -1.0, np.nan]), None)).all()


@pytest.fixture(scope="module")
def model():
    with untrained():
        return of_random_weights(fit_table(payments(size=5), changes=TINY, seed=1))


@pytest.mark.slow(but=["paid"])
@pytest.mark.parametrize("column", ["paid", "next"])
def test_values_of_a_column_with_histograms_sum_to_one(model, column):
    some = payments(seed=9, size=5).iloc[:3]
    domain = np.arange(-500, 5000)
    unmasker = model.orders.first([name for name in ("bill", "paid", "next") if name != column])
    for k in range(len(some)):
        rows = some.iloc[[k]].loc[lambda one: one.index.repeat(len(domain))].assign(**{column: domain.astype(float)})
        encoded = model.schema.encode(rows, unseen="mark")
        j = model.schema.parts_of(column).start
        p = np.where(encoded.codes[:, j] >= 0, np.exp(unmasker.log_prob_parts(encoded)[:, j]), 0.0)
        assert p.sum() == pytest.approx(1.0, abs=2e-3)  # what lies beyond the domain


@pytest.mark.slow
def test_rows_are_drawn_as_they_are_scored_with_and_without_a_condition(model):
    # Shares of intervals among 20,480 rows against exact sums: 4 standard errors, one false alarm in 16,000.
    cuts = np.array([-1, 4, 8, 9, 10, 12, 15, 40, 400]) + 0.5
    paid = np.arange(401.0)
    rows = pd.DataFrame({"bill": 300.0, "paid": paid, "next": 295.0})
    encoded, at = model.schema.encode(rows, unseen="mark"), model.schema.parts_of("paid")
    p = np.exp(model.orders.first(["bill", "next"]).log_prob_parts(encoded)[:, at]).sum(axis=1)
    for condition, low in (({}, 0), ({"paid": (9, None)}, 9)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # hardly any such row
            drawn = model.sample(20_480, given={"bill": 300, "next": 295} | condition, seed=2)["paid"]
        expected = np.histogram(paid[low:], cuts, weights=p[low:])[0]
        expected = expected / expected.sum()
        found = np.histogram(drawn, cuts)[0] / len(drawn)
        assert (np.abs(found - expected) < 4 * np.sqrt(expected / len(drawn)) + 3e-3).all()


def test_the_bars_of_a_column_are_the_sums_of_its_values(model):
    row = {"bill": [300.0], "paid": [None], "next": [295.0]}
    schema, reader, at = model.schema, model.orders.reader, model.schema.parts_of("paid").start
    pieces = [pieces_of(part, scale, np.zeros(0)) for part, scale in zip(schema.parts, reader.scales, strict=True)]
    bars = conditional_masses(model.orders, pieces, schema.frame(row), schema.encode(row))[at]
    paid = np.arange(-300.0, 4000)
    encoded = schema.encode(pd.DataFrame({"bill": 300.0, "paid": paid, "next": 295.0}), unseen="mark")
    p = np.exp(model.orders.first(["bill", "next"]).log_prob_parts(encoded)[:, at])
    here = encoded.codes[:, at] >= 0
    exact = np.bincount(encoded.codes[here, at], p[here], len(bars))
    np.testing.assert_allclose(bars, exact, atol=2e-3)  # the last token contains values beyond the domain


@pytest.mark.slow
def test_two_dates_keep_their_distance_and_a_loaded_model_has_the_same_density(tmp_path):
    """A share of .033 has a standard error of .0013 among 20,480 rows: .004 is three of them, and rows are even."""
    model = motes.fit(dates(), "table", changes={"table.steps": 200}, seed=0, verbose=False)
    blocks = [draw_block(model.orders.own, 1024, 7, k) for k in range(20)]  # without rejection by the rule
    rows = pd.concat([model.schema.decode(one.codes, one.y, one.u).to_pandas() for one in blocks])
    gap = (rows["end"] - rows["start"]).dt.days.to_numpy()
    shares = np.bincount(gap[(gap >= 0) & (gap < 30)], minlength=30) / len(gap)
    assert ((gap < 0) | (gap > 29)).mean() < 0.02
    assert np.abs(shares - 1 / 30).max() < 0.004 + 1e-3
    model.save(tmp_path / "model.safetensors")
    again = motes.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.score_samples(dates(seed=5)), model.score_samples(dates(seed=5)))


def test_columns_come_in_an_order_in_which_the_best_histograms_apply():
    relative = lambda column, others, gain: Relative(column, others, (1.0,) * len(others), gain=gain)
    # A bill given the next one and a payment, or the other way round; a payment given a bill.
    some = relative("b1", ("b2", "p1"), 2.0), relative("b2", ("b1", "p1"), 1.5), relative("p1", ("b2",), 0.5)
    every = lambda order: True
    assert [one for one in order_for(some, ["p1", "age", "b1", "b2"], every) if one != "age"] == ["b2", "p1", "b1"]
    late = lambda order: order.index("p1") < order.index("b2")  # such as a dependency of labels
    assert [one for one in order_for(some, ["p1", "age", "b1", "b2"], late) if one != "age"] == ["p1", "b2", "b1"]


@pytest.fixture(scope="module")
def grouped():
    with untrained():
        return of_random_weights(fit_table(days(1500, 60), changes=TINY, seed=1))


@pytest.mark.slow
def test_a_column_with_means_of_groups_is_drawn_as_it_is_scored(grouped):
    # Shares of intervals among 10,240 rows against exact sums: 4 standard errors, one false alarm in 16,000.
    row, domain, at = days(1500, 60).iloc[0], np.arange(-100, 300.0), grouped.schema.parts_of("humidity").start
    encoded = grouped.schema.encode(pd.DataFrame({**row, "humidity": domain}), unseen="mark")
    given = row.drop("humidity").to_dict()
    inside, unmasker = encoded.codes[:, at] >= 0, grouped.orders.first([*given])
    p = np.where(inside, np.exp(unmasker.log_prob_parts(encoded)[:, at]), 0.0)
    assert p.sum() == pytest.approx(1.0, abs=2e-3)
    cuts = np.array([-101, 20, 40, 50, 55, 60, 65, 70, 80, 100, 300]) + 0.5
    for condition, low in (({}, -100), ({"humidity": (50, None)}, 50)):
        drawn = grouped.sample(10_240, given=given | condition, seed=2)["humidity"]
        expected = np.histogram(domain[domain >= low], cuts, weights=p[domain >= low])[0]
        expected = expected / expected.sum()
        found = np.histogram(drawn, cuts)[0] / len(drawn)
        assert (np.abs(found - expected) < 4 * np.sqrt(expected / len(drawn)) + 3e-3).all()


@pytest.mark.slow
def test_a_model_file_with_means_of_groups_is_the_same_model_or_refused(grouped, tmp_path):
    rows, path = days(50, 60, seed=1), tmp_path / "model.safetensors"
    rows.loc[:5, "day"] += pd.Timedelta(days=100)  # beyond the training days
    grouped.save(path)
    np.testing.assert_array_equal(motes.load(path).score_samples(rows), grouped.score_samples(rows))
    relative = next(one for one in grouped.schema.relatives if one.group)
    group = relative.group
    damages = [
        replace(group, keys=group.keys[::-1]),
        replace(group, means=group.means[:-1]),
        replace(group, means=group.means * np.inf),
        replace(group, weights=group.weights * 0),
        replace(group, column="age"),
        replace(group, column="nowhere"),
        replace(group, column="temperature"),
    ]
    for damage in damages:
        schema = replace(grouped.schema, relatives=(replace(relative, group=damage),))
        TableModel(replace(grouped.orders, schema=schema), grouped.recipe).save(path)
        with pytest.raises(motes.errors.ModelFileError):
            motes.load(path)


def test_sums_of_three_columns_are_found():
    rng = np.random.default_rng(4)
    opening, sales, costs = np.rint(np.exp(rng.normal([8, 7, 7], 1, (2000, 3)))).T
    interest = np.rint(opening * rng.uniform(0.01, 0.03, 2000))
    frame = pd.DataFrame(
        {"opening": opening, "sales": sales, "costs": costs, "closing": opening + sales - costs + interest}
    )
    best = next(one for one in Schema.fit(frame).relatives if one.column == "closing")
    assert dict(zip(best.others, best.weights, strict=True)) == {"opening": 1, "sales": 1, "costs": -1}
    assert best.unit == "opening"
    assert 0.009 < best.edges[0] < best.edges[-1] < 0.031


@pytest.mark.long
def test_rows_of_a_day_share_its_weather():
    """Trees that also see each number minus the mean of its day hardly tell training and synthetic rows apart."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    rows = days(7000)
    train, rest = rows[:6000], rows[6000:].reset_index(drop=True)
    model = motes.fit(train, "table", changes={"table.steps": 400}, seed=0, verbose=False)
    numbers = ["temperature", "humidity", "demand", "age"]
    means = train.groupby("day")[numbers].mean()

    def features(some):
        gaps = some[numbers] - means.loc[some["day"]].to_numpy()
        day, channel = (some["day"] - rows["day"].min()).dt.days, pd.factorize(some["channel"], sort=True)[0]
        return np.column_stack([some[numbers], gaps, day, channel])

    x, y = np.concatenate([features(train), features(model.sample(6000, seed=1))]), np.repeat([0, 1], 6000)
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    p = cross_val_predict(HistGradientBoostingClassifier(random_state=0), x, y, cv=folds, method="predict_proba")[:, 1]
    assert 2 - 2 * max(roc_auc_score(y, p), 0.5) > 0.9  # 0.02 without the means
    made = model.impute(rest.assign(temperature=np.nan))
    gap = made["temperature"] - means["temperature"].loc[rest["day"]].to_numpy()
    assert (gap.abs() < 2.1).mean() > 0.95
    day = rest["day"].iloc[0]
    mean = means["demand"].loc[day]
    some = model.sample(500, given={"day": day, "demand": (mean, None)}, seed=2)
    assert (some["demand"] >= mean).all()
    assert (some["demand"] < mean + 30).mean() > 0.95
