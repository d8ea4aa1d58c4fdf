"""What holds between the columns of a table: it is found only where it is there, and a model keeps the inequalities."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import motes.tables.draws
from fits import fit_table
from motes.errors import UsageError
from motes.loading import load
from motes.tables.model import TableModel, evidence_of
from motes.tables.parts import Missing, Not
from motes.tables.relations import Inequality
from motes.tables.rules import Constraint
from motes.tables.schema import Schema
from motes.training.checkpoints import FitSession
from tables import TINY, predict_frame, untrained

pytestmark = pytest.mark.brief

DAY = np.timedelta64(1, "D")
DAWN = np.datetime64("2024-01-01")


def values(rows, column):
    return rows.columns[column].values


def whole_of(model):
    """P(C) of all inequalities of a model."""
    return np.exp(model.constraint.log_share(np.ones(len(model.constraint.rules), bool)))


def free(model):
    """The model without its rules."""
    return TableModel(replace(model.orders, constraint=Constraint()), model.recipe)


# --- what is found ----------------------------------------------------------------------------------------------------


def test_a_sum_copies_and_a_linear_relation_are_found():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 500, 2000), rng.integers(0, 300, 2000)
    same = rng.random(2000) < 0.15
    bill = rng.integers(0, 5000, 2000)
    hour, minute = rng.integers(0, 24, 2000), rng.integers(0, 60, 2000)
    frame = pd.DataFrame({"a": a, "b": b, "c": a + b})
    schema = Schema.fit(frame)
    assert [one.words for one in schema.relations] == ["c = a + b in all rows"]
    assert [one.words for one in schema.inequalities] == ["a <= c in all rows", "b <= c in all rows"]
    schema = Schema.fit(pd.DataFrame({"bill": bill, "paid": np.where(same, bill, rng.integers(0, 5000, 2000))}))
    assert schema.related == [f"bill = paid in {same.mean():.0%} of the rows"]
    found, *_ = Schema.fit(pd.DataFrame({"hour": hour, "minute": minute, "clock": 100 * hour + minute})).relations
    assert dict(zip(found.columns, found.weights, strict=True)) == pytest.approx(
        {"clock": 1, "hour": -100, "minute": -1}
    )
    assert found.words == "clock = 100 hour + minute in all rows"
    np.testing.assert_allclose(found.value("minute", {"clock": np.array([1259]), "hour": np.array([12])}), [59])


def test_sums_of_many_columns_are_found_also_if_each_is_rounded():
    rng = np.random.default_rng(0)
    shares = pd.DataFrame((100 * rng.dirichlet([2, 3, 1, 4], 2000)).round(1), columns=[*"abcd"])
    (found,) = Schema.fit(shares).relations
    assert found.words == f"d = 100 - a - b - c to {abs(shares.sum(axis=1) - 100).max():.1f} in all rows"
    exact = (shares.sum(axis=1).round(1) == 100).mean()
    assert [found.share_of(column) for column in "abcd"] == pytest.approx([exact] * 4)
    money = rng.integers(1000, 90_000, (3, 2000))
    fees = np.where(rng.random(2000) < 0.9, 0, rng.integers(100, 2000, 2000))  # none in most rows
    loans = pd.DataFrame({"principal": money[0], "interest": money[1], "tax": money[2], "fees": fees}) / 100
    loans["payment"] = loans.sum(axis=1).round(2)
    assert "payment = principal + interest + tax + fees in all rows" in Schema.fit(loans).related
    # Money of which a part is unknown adds up to nothing.
    assert not Schema.fit(loans.drop(columns="tax")).relations


def test_products_and_ratios_that_hold_nearly_are_found():
    rng = np.random.default_rng(0)
    fee, seats = np.round(rng.lognormal(3, 0.6, 2000), 2), 1 + rng.negative_binomial(2, 0.2, 2000)
    height = np.round(rng.normal(1.72, 0.09, 2000), 2)
    weight = np.round(np.exp(rng.normal(3.2, 0.15, 2000)) * height**2, 1)
    off = rng.uniform(0.99, 1.01, 2000) * np.where(np.arange(2000) < 20, 3, 1)  # a row in a hundred breaks it
    frame = {"fee": fee, "seats": seats, "total": np.round(fee * seats * off, 2)}
    frame |= {"height": height, "weight": weight, "bmi": np.round(weight / height**2, 1)}
    frame["weight"][20:300] = np.nan
    schema = Schema.fit(pd.DataFrame(frame))
    assert "bmi = height^-2 * weight in all rows" in schema.related
    (total,) = (one for one in schema.relations if one.columns[0] == "total")
    assert total.words.startswith("total = fee * seats to 0.9%") and 0.85 < total.share_of("seats") < 0.99
    given = {"total": np.array([61.0]), "seats": np.array([3])}
    np.testing.assert_allclose(total.value("fee", given), 61 / 3)
    # With a twentieth of noise it is none, nor is anything else of columns that merely grow together.
    noisy = {"fee": fee, "seats": seats, "total": np.round(fee * seats * rng.uniform(0.95, 1.05, 2000), 2)}
    assert not Schema.fit(pd.DataFrame(noisy)).relations


@pytest.mark.parametrize(("broken", "rows"), [(1, "nearly all"), (20, "99% of the"), (100, None)])
def test_a_linear_relation_that_some_rows_break_is_found(broken, rows):
    """In nine of ten groups of 20 rows, and more, no row breaks it; if 5 % do, in a third."""
    rng = np.random.default_rng(0)
    a, b, d = rng.poisson(40, 2000), rng.integers(0, 60, 2000), rng.poisson(30, 2000)
    off = rng.choice([-7, 5, 9], (2, 2000)) * (rng.permutation(2000) < broken)
    found = Schema.fit(pd.DataFrame({"a": a, "b": b, "c": 2 * a + 3 * b + off[0], "d": d, "e": 100 * d + 7 + off[1]}))
    expected = [f"d = 0.01 e - 0.07 in {rows} rows", f"c = 2 a + 3 b in {rows} rows"] if rows else []
    assert sorted(found.related) == sorted(expected)
    assert len(found.rules) == len(expected)
    # One row of a large table, which hardly changes the correlation, changes no weight either.
    net = 5 * rng.integers(1, 5000, 2000)
    found = Schema.fit(pd.DataFrame({"net": net, "gross": net * 6 // 5 + 6 * (np.arange(2000) < 1)}))
    assert found.related == ["net = 0.833333 gross in nearly all rows", "net <= gross in all rows"]


@pytest.mark.parametrize("gap", ["exponential", "uniform", "poisson"])
def test_an_inequality_is_found(gap):
    rng = np.random.default_rng(1)
    days = {
        "exponential": rng.exponential(8, 1500),
        "uniform": rng.integers(0, 9, 1500),
        "poisson": rng.poisson(3, 1500),
    }
    start = DAWN + rng.integers(0, 366, 1500) * DAY
    frame = pd.DataFrame({"start": start, "end": start + days[gap].astype(int) * DAY})
    found = "start <= end <= start + 8 days in all rows" if gap == "uniform" else "start <= end in all rows"
    assert Schema.fit(frame).related == [found]
    frame.loc[::7, "end"] = pd.NaT
    assert Schema.fit(frame).related == [found]
    frame.loc[0, ["start", "end"]] = frame.start.max(), frame.start.min()
    assert Schema.fit(frame).related == [found.replace("all", "nearly all")]
    broken = frame.index < 30  # 2 % of the rows
    frame.loc[broken, ["start", "end"]] = frame.loc[broken, ["end", "start"]].to_numpy() + np.array([10 * DAY, -DAY])
    assert not Schema.fit(frame).related


@pytest.mark.slow
def test_independent_columns_have_nothing():
    """A pair is looked at if 12 rows would break it by chance, so that none does in exp(-12) of such tables.

    There are 32 ordered pairs a seed: 1,600 in all, of which 0.01 are expected to be found.
    """
    found = []
    for seed in range(50):
        rng, n = np.random.default_rng(seed), 600
        frame = {
            "few": rng.integers(0, 50, n),
            "many": rng.integers(0, 1000, n),  # 0 is its own end, and not a border to small numbers
            "count": rng.poisson(8, n),
            "normal": rng.normal(0, 1, n).round(2),
            "apart": rng.normal(3, 1, n).round(2),
            "wait": rng.exponential(3, n).round(1),
            "first": DAWN + rng.integers(0, 200, n) * DAY,
            "later": DAWN + rng.integers(90, 290, n) * DAY,
        }
        found += Schema.fit(pd.DataFrame(frame)).related
    assert not found


# --- a model of two whole numbers, of which everything can be counted -------------------------------------------------

PAIRS = pd.DataFrame([(a, b) for a in range(6) for b in range(10)], columns=["a", "b"])


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(0)
    a = rng.integers(0, 6, 300)
    frame = pd.DataFrame({"a": a, "b": a + rng.binomial(4, 0.3, 300)})
    with untrained():
        return fit_table(frame, changes=TINY | {"table.bins": 64}, seed=1)


@pytest.mark.filterwarnings("ignore:the synthetic rows differ")
def test_the_share_that_keeps_it_is_that_of_the_calibrated_model(monkeypatch):
    a = np.random.default_rng(0).integers(0, 6, 300)
    frame = pd.DataFrame({"a": a, "b": a + np.random.default_rng(1).integers(0, 5, 300)})
    rng = np.random.default_rng(2)
    bent = lambda model, *_: ([part + rng.normal(0, 3, part.shape) for part in model.no_bias], model.no_tilt)
    monkeypatch.setattr("motes.tables.calibration.calibrated", bent)
    with untrained():
        model = fit_table(frame, changes=TINY | {"table.bins": 64, "table.calibrate": True}, seed=1)
    assert np.exp(model.score_samples(PAIRS)).sum() == pytest.approx(1, abs=0.04)


@pytest.mark.slow
def test_rows_that_keep_an_inequality_have_the_shares_of_the_training_rows():
    # A network that knows nothing of the other column breaks low <= high in a third of its rows. If calibration did not
    # know of it, the shares of `high` would be off by 0.119, and those of `low` by 0.078.
    rng = np.random.default_rng(4)
    low = rng.integers(0, 12, 2000)
    data = pd.DataFrame({"low": low, "high": low + rng.integers(0, 12, 2000)})
    with untrained():
        model = fit_table(data, changes=TINY | {"table.calibrate": True, "table.bins": 64}, seed=1)
    assert whole_of(model) < 0.7
    drawn = model.sample(20_000, seed=2).columns
    shares = lambda x: np.bincount(x, minlength=24) / len(x)
    apart = {name: 0.5 * np.abs(shares(drawn[name].values) - shares(data[name])).sum() for name in data}
    # 20,000 independent rows would be off by 0.015 at most; one turn of calibration leaves 0.04 or so.
    assert max(apart.values()) < 0.02


@pytest.mark.slow
def test_rows_are_the_same_however_many_are_drawn(pair):
    for given in ({}, {"a": 3}):
        few, many = pair.sample(100, seed=4, given=given), pair.sample(17_000, seed=4, given=given)
        assert len(many) == 17_000
        for column in "ab":
            np.testing.assert_array_equal(values(few, column), values(many, column)[:100])
    assert (values(pair.sample(100, seed=5), "b") != values(few, "b")).any()
    assert pair.sample(100, seed=5).log_evidence == 0.0


@pytest.mark.slow(but=["no condition-False", "set and interval-False", "value-False"])
@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(
    ("given", "met"),
    [
        ({"a": 4}, lambda rows: rows.a == 4),
        ({"b": 2}, lambda rows: rows.b == 2),
        ({"a": {4, 5}, "b": (None, 5)}, lambda rows: (rows.a >= 4) & (rows.b <= 5)),
        ({"a": Not(Missing())}, lambda rows: rows.a >= 0),
    ],
    ids=["value", "other value", "set and interval", "no condition"],
)
def test_log_p_of_a_condition_and_its_rows_are_those_of_the_scores(pair, given, met, exact):
    p, here = np.exp(pair.score_samples(PAIRS)), met(PAIRS).to_numpy()
    rows = pair.sample(6000, given=given, seed=2, importance_resample=exact)
    # P(C) from 4,800 rows, and a share of 8,192 candidates of which at least a fifth keep the inequality.
    assert rows.log_evidence == pytest.approx(np.log(p[here].sum()), abs=0.05)
    drawn = np.bincount(values(rows, "a") * 10 + values(rows, "b"), minlength=60) / 6000
    expected = np.where(here, p, 0) / p[here].sum()
    effective = min(rows.effective, 6000)
    assert (np.abs(drawn - expected) < 5 * np.sqrt(expected / effective) + 1e-3).all()


def test_known_values_that_break_an_inequality_leave_the_rest_free(pair):
    broken = pd.DataFrame({"a": [5], "b": [2]})
    rows = pair.draw(40, given={"a": 5, "b": 2}, seed=1)
    assert len(rows) == 40
    assert rows.log_evidence == pytest.approx(pair.score_samples(broken)[0])
    assert rows.log_evidence == pytest.approx(free(pair).score_samples(broken)[0] - np.log(301))
    message = evidence_of(pair, {"a": 5, "b": 2}, [rows.log_evidence], 40.0).warnings
    assert any("breaks the rule a <= b in all rows" in one for one in message)
    assert not any("breaks" in one for one in evidence_of(pair, {"a": 1, "b": 2}, [-3.0], 40.0).warnings)


@pytest.mark.slow
def test_a_file_and_a_pickle_give_the_same_model_and_draw_nothing(pair, tmp_path, monkeypatch):
    monkeypatch.setattr("motes.tables.calibration.draw_block", None)
    pair.save(tmp_path / "m.safetensors")
    for same in (load(tmp_path / "m.safetensors"), pickle.loads(pickle.dumps(pair))):
        np.testing.assert_array_equal(same.score_samples(PAIRS), pair.score_samples(PAIRS))
        assert whole_of(same) == whole_of(pair)
    monkeypatch.undo()
    np.testing.assert_array_equal(values(same.sample(300, seed=1), "b"), values(pair.sample(300, seed=1), "b"))


# --- several inequalities, missing entries ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data():
    rng, n = np.random.default_rng(0), 900
    start = DAWN + rng.integers(0, 200, n) * DAY
    low = rng.normal(0, 1, n)
    return pd.DataFrame(
        {
            "start": start,
            "end": start + rng.poisson(3, n) * DAY,
            "low": low,
            "high": low + rng.exponential(1, n),
            "label": rng.choice(list("xyz"), n),
        }
    )


@pytest.fixture(scope="module")
def model(data):
    with untrained():
        return fit_table(data, changes=TINY | {"table.bins": 32}, seed=1)


@pytest.mark.slow
def test_dates_and_real_numbers_are_kept(model, data):
    assert model.constraint.words == "low <= high in all rows, start <= end in all rows"
    rows, loose = (one.sample(8000, seed=2).like(data) for one in (model, free(model)))
    broken = lambda rows: (rows.start > rows.end) | (rows.low > rows.high)
    assert not broken(rows).any()
    assert broken(loose).mean() == pytest.approx(1 - whole_of(model), abs=0.03)
    assert broken(loose).mean() > 0.1


@pytest.mark.slow
def test_a_missing_entry_leaves_out_its_own_inequality(model, data):
    rows = data.head(8).copy()
    rows.loc[0:1, "end"] = pd.NaT
    rows.loc[1:2, "high"] = np.nan
    rows.loc[[3, 4], "low"] = rows.high[[3, 4]] + 1
    rows.loc[4, "end"] = pd.NaT
    rows.loc[5, ["low", "start"]] = [rows.high[5] + 1, pd.NaT]
    found = model.score_samples(rows) - free(model).score_samples(rows)
    share = np.exp(model.constraint.log_share(np.array([1, 0], bool)))
    numbers, e = np.log(900 / 901 / share + 1 / 901), -np.log(901)
    np.testing.assert_allclose(found[[0, 1, 3, 4, 5]], [numbers, 0, e, e, e], atol=1e-9)
    assert (found[[2, 6, 7]] > e + 1).all()  # two dates that keep their rule, each gap with a factor of its own
    assert numbers > 0.01  # it is broken now and then


def test_an_impossible_entry_breaks_nothing(pair):
    rows = pd.DataFrame({"a": [99], "b": [3]})
    found, loose = (one.likelihood(rows, laplace=True).log_prob[0] for one in (pair, free(pair)))
    assert found == pytest.approx(loose)


@pytest.mark.slow
def test_missing_entries_are_filled_in_so_that_rows_keep_them(model, data):
    holes = data.head(700).copy()
    holes.loc[::3, "end"] = pd.NaT
    holes.loc[1::3, "low"] = np.nan
    holes.loc[2::3, ["start", "high", "label"]] = [pd.NaT, np.nan, None]
    # What is known breaks an inequality already: the rest is filled in as it comes.
    holes.loc[5, ["end", "low", "high", "label"]] = [holes.end.min(), 2.0, 1.0, None]
    once, again, loose = (one.impute(holes, seed=1) for one in (model, model, free(model)))
    pd.testing.assert_frame_equal(once, again)
    broken = lambda rows: (rows.start > rows.end) | (rows.low > rows.high)
    assert not once.isna().any().any()
    assert not broken(once.drop(5)).any()
    assert broken(loose.drop(5)).sum() > 50
    assert once.low[5] > once.high[5]


@pytest.mark.slow
def test_equal_known_values_keep_their_inequality_to_the_bit(model, data, monkeypatch):
    # Each column has its own curve, so that its codes and places give a number back only to its last digits.
    rows = data.head(250).assign(label=None)
    rows["high"] = rows.low.clip(data.high.min(), data.low.max())
    rows["low"] = rows.high
    calls = []
    draw = motes.tables.draws.draw_block
    monkeypatch.setattr("motes.tables.draws.draw_block", lambda *words, **more: calls.append(1) or draw(*words, **more))
    model.impute(rows, seed=1)
    first = len(calls)
    model.impute(rows.assign(low=rows.high + 1e-9), seed=1)  # broken: nothing is drawn again
    assert len(calls) == first + 1
    share = np.exp(model.constraint.log_share(np.array([1, 0], bool)))
    kept = np.log(900 / 901 / share + 1 / 901)
    for low in rows.low[:8]:
        given = {"low": low, "high": low}
        found, loose = (one.sample(3, given=given).log_evidence for one in (model, free(model)))
        # Not to the bit: the gap of the dates that are drawn has a factor of its own, whose mean over 8,192 rows is 1.
        assert found == pytest.approx(loose + kept, abs=0.02)


@pytest.mark.slow
def test_a_row_that_no_draw_mends_is_filled_in(model, data, monkeypatch):
    monkeypatch.setattr("motes.tables.draws.TRIES", 3)
    holes = data.head(30).assign(end=pd.NaT, start=data.end.max() + pd.Timedelta(days=1))  # later than any end
    whole = model.impute(holes, seed=1)
    assert (whole["end"] < whole["start"]).all()


@pytest.mark.slow
def test_predictions_keep_them(model, data):
    some = data.head(30).copy()
    some.loc[:9, "start"] = pd.NaT  # which leaves the date free
    found = predict_frame(model, some, "end", quantiles=(0.02, 0.5))
    loose = predict_frame(free(model), some, "end", quantiles=(0.02, 0.5))
    start = some.start.to_numpy()[10:].astype("datetime64[us]").astype(np.int64)
    assert (values(found, "q0.02")[10:] >= start).all()
    np.testing.assert_array_equal(values(found, "mean")[:10], values(loose, "mean")[:10])
    # Below the border nothing is left; above it everything has the same share more.
    numbers, before = (predict_frame(one, some, "high", quantiles=(0.5,), draws=2048) for one in (model, free(model)))
    assert (values(numbers, "mean") >= some.low).all()
    assert (values(numbers, "mean") >= values(before, "mean") - 1e-9).all()
    some["low"], some["high"] = 2.0, 1.0  # broken already
    found, loose = (values(predict_frame(one, some, "end"), "mean") for one in (model, free(model)))
    np.testing.assert_array_equal(found, loose)


def test_a_gap_of_few_decimal_numbers_keeps_their_shares():
    rng = np.random.default_rng(3)
    low, gap = rng.integers(0, 60, 400), rng.integers(0, 5, 400)
    (rule,) = Schema.fit(pd.DataFrame({"low": low / 10, "high": (low + gap) / 10})).rules
    assert rule.words == "low <= high <= low + 0.4 in all rows"
    np.testing.assert_allclose(rule.within, np.bincount(gap) / 400)
    np.testing.assert_allclose(rule.ends, np.arange(6) / 10 - 0.05, atol=1e-12)


@pytest.mark.slow
def test_a_missing_entry_with_a_code_keeps_its_inequality(data):
    frame = data[["low", "high"]].round(0).astype("Int64")
    frame["high"] = frame.low + np.random.default_rng(2).integers(0, 4, len(frame))
    frame.loc[::4, "high"] = pd.NA
    with untrained():
        model = fit_table(frame, changes=TINY | {"table.missing": "learn", "table.bins": 64}, seed=1)
    assert model.constraint.words == "low <= high <= low + 3 in all rows"
    low, high = range(frame.low.min(), frame.low.max() + 1), [*range(frame.high.min(), frame.high.max() + 1), None]
    every = pd.DataFrame([(a, b) for a in low for b in high], columns=["low", "high"]).astype("Int64")
    total, share = np.exp(model.score_samples(every)).sum(), whole_of(model)
    assert total == pytest.approx(1, abs=4 * np.sqrt((1 - share) / share / 14_000) + 1e-3)
    rows = model.sample(4000, seed=1)
    known = ~rows.columns["high"].missing
    gaps = values(rows, "high")[known] - values(rows, "low")[known]
    assert gaps.min() >= 0 and gaps.max() <= 3
    assert 1 - known.mean() == pytest.approx(0.25 / share, abs=0.03)  # such rows always keep it


# --- where the inequalities are hard to keep --------------------------------------------------------------------------


@pytest.mark.slow
def test_inequalities_that_the_model_breaks_most_are_left_out(monkeypatch):
    monkeypatch.setattr("motes.tables.calibration.LEAST_OBEYING", 0.9)
    rng = np.random.default_rng(0)
    steps = np.cumsum(rng.binomial(2, 0.3, (1200, 6)), axis=1) + rng.integers(0, 4, (1200, 1))
    with untrained():
        model = fit_table(pd.DataFrame(steps, columns=list("abcdef")), changes=TINY | {"table.bins": 64}, seed=1)
    whole = Schema.fit(pd.DataFrame(steps, columns=list("abcdef")))
    assert 0 < len(model.constraint.rules) < len(whole.rules)
    assert model.schema.rules == model.constraint.rules
    assert whole_of(model) >= 0.9
    assert Inequality("a", "f") in model.constraint.rules  # whose columns lie farthest apart


@pytest.mark.slow
def test_a_condition_that_hardly_any_row_keeps_is_refused_by_name():
    rng = np.random.default_rng(0)
    a = np.where(np.arange(6000) < 2, 9, rng.integers(0, 4, 6000))
    frame = pd.DataFrame({"a": a, "b": np.where(a == 9, 30, a + rng.integers(0, 3, 6000))})
    with untrained():
        model = fit_table(frame, changes=TINY | {"table.bins": 64}, seed=1)
    with pytest.raises(UsageError, match=r"a = 9 and obeyed a <= b in all rows; expected .* Widen it"):
        model.sample(1000, given={"a": 9})


def test_training_that_goes_on_with_rows_that_break_an_inequality_gives_it_up(pair):
    a = np.random.default_rng(1).integers(0, 6, 300)
    frame = pd.DataFrame({"a": a, "b": a})
    with untrained():
        kept = fit_table(frame, changes=TINY | {"table.bins": 64}, session=FitSession(start=pair))
        frame.loc[0] = [5, 4]
        given_up = fit_table(frame, changes=TINY | {"table.bins": 64}, session=FitSession(start=pair))
    assert kept.constraint.words == "a <= b in all rows"
    assert not given_up.schema.rules
    assert given_up.score_samples(frame.head(1))[0] == pytest.approx(free(pair).score_samples(frame.head(1))[0])


@pytest.mark.slow
def test_interrupting_the_estimate_keeps_the_model(pair, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("motes.tables.calibration.estimated", stop)
    a = np.random.default_rng(1).integers(0, 6, 300)
    with untrained():
        model = fit_table(pd.DataFrame({"a": a, "b": a + np.arange(300) % 4}), changes=TINY)
    assert model.training.interrupted
    assert not model.schema.inequalities
    assert len(model.sample(10)) == 10


def test_columns_are_shown_with_what_holds_between_them(tmp_path, monkeypatch, motes_command):
    rng = np.random.default_rng(0)
    net, tax = rng.integers(0, 500, 400), rng.integers(0, 90, 400)
    frame = pd.DataFrame({"net": net, "tax": tax, "total": net + tax})
    frame.to_csv(tmp_path / "bills.csv", index=False)
    monkeypatch.chdir(tmp_path)
    assert "Found: total = net + tax in all rows." in motes_command.out("columns", "bills.csv")
    found = json.loads(motes_command.out("columns", "bills.csv", "--json"))
    assert "total = net + tax in all rows" in found["relations"]
