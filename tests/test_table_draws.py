"""Rows under conditions follow the distribution of all rows, whatever the network says; predictions of one column."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from fits import fit_table
from motes.errors import DataError, UsageError
from motes.tables.model import evidence_of
from motes.tables.parts import Not
from motes.tables.unmasking import MaskedDenoiser
from tables import TINY, of_random_weights, predict_frame, untrained

pytestmark = pytest.mark.brief

FREE = 32_768  # four blocks


def cells(rows, column):
    return np.array(rows.columns[column].cells())


@pytest.fixture(scope="module")
def model():
    """A network of random weights, whose answers in one order have next to nothing to do with those in another."""
    rng = np.random.default_rng(0)
    size = rng.integers(0, 3, 2400)
    month = pd.Timestamp("2024-01-01") + pd.to_timedelta(31 * rng.integers(0, 12, 2400), "D")
    data = pd.DataFrame(
        {
            "size": np.array(["S", "M", "L"])[size],
            "x": (size + 0.5 * rng.standard_normal(2400)).round(2),
            "count": rng.poisson(4, 2400),
            "side": rng.choice(["left", "right"], 2400),
            "when": pd.to_datetime({"year": 2024, "month": month.month, "day": rng.choice([1, 15, 29], 2400)}),
        }
    )
    data.loc[(data.when.dt.month == 2), "when"] = pd.Timestamp("2024-02-15")
    with untrained():
        plain = fit_table(data, changes=TINY, seed=1)
    assert len(plain.schema.parts) == 6  # the month and the day of the month; there is no 29th of February here
    return of_random_weights(plain)


@pytest.fixture(scope="module")
def free(model):
    rows = model.sample(FREE, seed=5)
    return pd.DataFrame({name: cells(rows, name) for name in rows.names})


@pytest.mark.slow
@pytest.mark.parametrize(
    "given",
    [
        {"x": (0.5, 2.0), "side": Not("left")},
        {"x": (0.5, 2.0), "side": "right"},
        {"side": {"right"}, "when": (pd.Timestamp("2024-01-15"), pd.Timestamp("2024-05-20"))},
    ],
    ids=["set and interval", "value and interval", "set and dates"],
)
def test_exact_rows_are_those_of_rejection(model, free, given):
    met = free.side == "right"
    if "x" in given:
        met &= free.x.between(*given["x"])
    else:
        met &= pd.to_datetime(free.when).between(*given["when"])
    kept, share = free[met], met.mean()
    exact, plain = (model.sample(8000, given=given, importance_resample=exact, seed=1) for exact in (True, False))
    assert exact.effective <= 8000
    # Five standard errors: of the share of the rows that are kept, and of the mean of the weights.
    error = 5 * np.sqrt((1 - share) / (share * FREE) + 1 / exact.effective)
    assert exact.log_evidence == pytest.approx(np.log(share), abs=error)
    if "x" in given:  # of dates both orders say about the same
        assert abs(plain.log_evidence - np.log(share)) > 2 * error
    for column, of in (("size", lambda rows: rows == "S"), ("count", lambda rows: rows <= 3)):
        real, mine = of(kept[column].to_numpy()).mean(), of(cells(exact, column)).mean()
        error = 5 * np.sqrt(real * (1 - real) * (1 / len(kept) + 1 / exact.effective))
        assert mine == pytest.approx(real, abs=error)


@pytest.mark.slow
def test_without_conditions_exact_changes_nothing(model):
    usual, exact = (model.sample(300, importance_resample=exact, seed=2) for exact in (False, True))
    assert all((cells(usual, name) == cells(exact, name)).all() for name in usual.names)
    assert (exact.effective, exact.log_evidence) == (300, 0.0)


@pytest.mark.parametrize(("log_prob", "far"), [(-11.9, False), (-12.1, True)])
def test_a_number_far_out_is_warned_of_with_its_density(model, monkeypatch, log_prob, far):
    """Far out is less than 1/20 of the lowest density among 256 drawn rows, of the same columns alone."""

    def log_probs(self, encoded, sides=None):
        assert {model.schema.parts[j].column for j in np.flatnonzero(encoded.observed.any(axis=0))} == {"x"}
        return np.array([[log_prob]]) if len(encoded) == 1 else np.linspace(-9.0, -1.0, len(encoded))[:, None]

    monkeypatch.setattr(MaskedDenoiser, "log_prob_parts", log_probs)
    warnings = evidence_of(model, {"x": 0.5}, [log_prob], 5.0).warnings
    assert len(warnings) == far
    assert not far or warnings[0].startswith("the log-density of 'x' is -12.10 nats; the lowest among 256")


# --- one column given the others of each row: what is said of it is what the model holds, value by value --------------


ROWS = 2400


def values(rows, column):
    return rows.columns[column].values


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    size = rng.integers(0, 3, ROWS)
    x = size + 0.5 * rng.standard_normal(ROWS)
    month, day = rng.integers(1, 13, ROWS), rng.choice([1, 15, 30], ROWS)
    return pd.DataFrame(
        {
            "size": np.array(["S", "M", "L"])[size],
            "x": x,
            "y": x + rng.standard_normal(ROWS),
            "count": rng.poisson(4, ROWS),
            "amount": np.rint(20 + 5 * x + 4 * rng.standard_normal(ROWS)).astype(int),
            "when": pd.to_datetime({"year": 2024, "month": month, "day": np.where(month == 2, 15, day)}),
            "gone": np.where(rng.random(ROWS) < 0.3, np.nan, rng.integers(0, 6, ROWS)),
            "same": 7,
        }
    )


@pytest.fixture(scope="module")
def mixed_model(data):
    with untrained():
        return of_random_weights(fit_table(data, changes=TINY, columns={"gone": {"missing": "learn"}}, seed=1))


def exact(model, data, column, domain, known):
    """p of each value of a domain (v,) given the `known` columns of each row, (n, v): every value is scored."""
    frame = data.loc[data.index.repeat(len(domain))].assign(**{column: np.resize(domain, len(data) * len(domain))})
    encoded = model.schema.encode(frame)
    here = np.array([part.column in (column, *known) for part in model.schema.parts])
    unmasker = model.orders.first([*known, column])
    log_p = unmasker.log_prob_parts(replace(encoded, observed=encoded.observed & here))
    total = np.ones((len(data), len(domain)))
    for j in range(*model.schema.parts_of(column).indices(len(here))):
        p = np.exp(log_p[:, j]).reshape(total.shape)
        if column != "when":
            total *= p
        elif j == model.schema.parts_of(column).start:
            total, months = total * p, pd.DatetimeIndex(domain).month
        else:  # of the days that there are in the month
            total *= p / np.stack([p[:, months == month].sum(axis=1) for month in months], axis=1)
    return total / total.sum(axis=1, keepdims=True)


@pytest.mark.slow(but=["gone-known2"])
@pytest.mark.parametrize("known", [("size", "x", "y", "gone"), ("size", "y", "gone"), ("gone",)])
@pytest.mark.parametrize("column", ["count", "amount", "when", "gone"])
def test_numbers_and_dates_are_those_of_every_value_scored(mixed_model, data, column, known):
    """With all others, with a number that is missing, and with next to nothing; the missing ones stay hidden."""
    domain, known = np.sort(data[column].dropna().unique()), [name for name in known if name != column]
    some = data.head(40)
    if column == "gone":  # a missing entry of another column with such a code is something known
        known = [name for name in known if name != "gone"]
    p = exact(mixed_model, some, column, domain, known)
    hidden = [name for name in data if name not in (*known, "same")]
    found = predict_frame(mixed_model, some.assign(**dict.fromkeys(hidden)), column, draws=512, quantiles=(0.25, 0.75))
    x = domain.astype("M8[us]").astype(np.int64) / 86_400e6 if column == "when" else domain.astype(float)
    mean = p @ x
    sd = np.sqrt(p @ x**2 - mean**2)
    unit = 86_400e6 if column == "when" else 1.0
    # 512 draws that are spread evenly: 0.02 to 0.03 standard deviations, measured; independent ones have 0.044.
    assert np.sqrt(np.mean(((values(found, "mean") / unit - mean) / sd) ** 2)) < 0.04
    np.testing.assert_allclose(values(found, "sd"), sd, rtol=0.15)
    upto = np.cumsum(p, axis=1)
    for share in (0.25, 0.75):
        quantile = values(found, f"q{share}").astype(domain.dtype if column != "when" else "M8[us]")
        place = (np.arange(len(p)), np.searchsorted(domain, quantile))
        assert (upto[place] > share - 0.07).all() and ((upto - p)[place] < share + 0.07).all()


@pytest.mark.slow
def test_labels_are_those_of_every_value_scored(mixed_model, data):
    known = ["x", "count", "amount", "when", "gone"]
    p = exact(mixed_model, data.head(40), "size", np.array(["L", "M", "S"]), known)
    found = predict_frame(mixed_model, data.head(40).assign(y=None), "size")
    np.testing.assert_allclose(np.stack([values(found, f"p({s})") for s in "LMS"], axis=1), p, atol=1e-4)


def test_few_numbers_have_probabilities_like_labels():
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"x": rng.normal(size=300), "bought": rng.integers(0, 2, 300)})
    with untrained():
        model = of_random_weights(fit_table(frame, changes=TINY, seed=1))
    p, numbers = model.predict_proba(frame[["x"]].head(40), "bought")
    assert numbers == [0, 1] and np.ptp(p[:, 0]) > 0.1
    np.testing.assert_allclose(p, exact(model, frame.head(40), "bought", np.array([0, 1]), ["x"]), atol=1e-4)


@pytest.mark.slow
def test_the_column_itself_is_not_looked_at(mixed_model, data):
    for column in ("size", "count", "x"):
        usual = predict_frame(mixed_model, data.head(20), column)
        for other in (data.head(20).drop(columns=column), data.head(20).assign(**{column: "never seen"})):
            found = predict_frame(mixed_model, other, column)
            assert all((values(found, name) == values(usual, name)).all() for name in usual.names)
    assert (mixed_model.predict_proba(data.head(20).drop(columns="size"), "size")[0] > 0).all()


@pytest.mark.slow
def test_an_interval_covers_a_known_conditional():
    """y given x is normal with mean 0.8 x and sd 0.6, which the Gaussian mixture of a new network knows."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(ROWS)
    with untrained():
        model = fit_table(pd.DataFrame({"x": x, "y": 0.8 * x + 0.6 * rng.standard_normal(ROWS)}), changes=TINY)
    x = rng.standard_normal(1000)
    found = predict_frame(model, pd.DataFrame({"x": x}), "y")
    low, high = (norm.cdf((values(found, name) - 0.8 * x) / 0.6) for name in ("q0.05", "q0.95"))
    assert np.mean(high - low) == pytest.approx(0.9, abs=0.02)
    assert np.sqrt(np.mean((values(found, "mean") - 0.8 * x) ** 2)) < 0.06
    assert np.sqrt(np.mean((values(found, "q0.5") - 0.8 * x) ** 2)) < 0.06
    assert values(found, "sd").mean() == pytest.approx(0.6, abs=0.05)


@pytest.mark.slow
def test_what_is_said_has_the_types_of_the_column(mixed_model, data):
    counts, dates = (predict_frame(mixed_model, data.head(9), column) for column in ("count", "when"))
    assert counts.names == dates.names == ("mean", "sd", "q0.05", "q0.5", "q0.95")
    assert [counts.columns[name].type for name in counts.names] == ["real", "real", "whole", "whole", "whole"]
    assert [dates.columns[name].type for name in dates.names] == ["date", "real", "date", "date", "date"]
    assert set(dates.columns["q0.5"].values) <= set(data.when.astype("M8[us]").astype(np.int64))
    assert data.when.min() <= pd.Timestamp(dates.columns["mean"].cells()[0]) <= data.when.max()
    assert (values(dates, "sd") > 20).all() and (values(dates, "sd") < 200).all()  # days


@pytest.mark.slow
def test_every_option_does_what_it_says(mixed_model, data):
    some, done = data.head(60), []
    usual = predict_frame(mixed_model, some, "x", on_progress=lambda now: done.append(now.done))
    assert done[-1] == 60 and done == sorted(done)
    same, other, few = (predict_frame(mixed_model, some, "x", **options) for options in ({}, {"seed": 1}, {"draws": 1}))
    assert (values(usual, "mean") == values(same, "mean")).all()
    assert (values(usual, "mean") != values(other, "mean")).any()
    assert (values(few, "sd") == 0).all() and (values(few, "q0.05") == values(few, "q0.95")).all()
    assert predict_frame(mixed_model, some, "x", quantiles=()).names == ("mean", "sd")
    low, high = (values(predict_frame(mixed_model, some, "x", quantiles=(0.1, 0.9)), name) for name in ("q0.1", "q0.9"))
    assert (low > values(usual, "q0.05")).mean() > 0.95 and (low < high).all()


def test_an_impossible_entry_counts_as_not_observed(mixed_model, data):
    some = data.head(30)
    strange = some.assign(size=some["size"].where(some.index != 3, "XXL"), same=some.same.where(some.index != 5, 8))
    found = predict_frame(mixed_model, strange, "x")
    gone = predict_frame(mixed_model, some.assign(size=some["size"].where(some.index != 3)), "x")
    assert (found.ignored, gone.ignored) == (2, 0)
    np.testing.assert_array_equal(values(found, "mean"), values(gone, "mean"))


REFUSED = [
    (lambda m, d: predict_frame(m, d, "counts"), r"unknown column 'counts'. Did you mean 'count'\? Choose from: size"),
    (lambda m, d: predict_frame(m, d, "same"), "column 'same' is 7 in all training rows; expected a column that"),
    (lambda m, d: m.predict_proba(d, "x"), r"column 'x' is real; expected labels, or few numbers\. Use `predict`"),
    *(
        (lambda m, d, wrong=wrong: predict_frame(m, d, "x", quantiles=wrong), "expected numbers between 0 and 1")
        for wrong in ((0.0,), (0.5, 1.0), (np.nan,), ("a",))
    ),
    (lambda m, d: predict_frame(m, d, "x", quantiles=0.5), "quantiles = 0.5; expected a list"),
    (lambda m, d: predict_frame(m, d, "x", draws=0), "0 draws"),
    (lambda m, d: predict_frame(m, d, "x", seed=-1), "seed = -1"),
    (lambda m, d: predict_frame(m, d.head(0), "x"), "no rows"),
    (lambda m, d: predict_frame(m, d.drop(columns="y"), "x"), "has no column 'y'"),
    (lambda m, d: predict_frame(m, d.assign(z=1), "x"), "has a column 'z'"),
    (lambda m, d: predict_frame(m, d.head(3).assign(x="a"), "y"), "row 1, column 'x': got 'a'"),
]


@pytest.mark.parametrize(("ask", "says"), REFUSED, ids=range(len(REFUSED)))
def test_what_does_not_fit_is_refused_by_name(mixed_model, data, ask, says):
    with pytest.raises((UsageError, DataError), match=says):
        ask(mixed_model, data)


@pytest.mark.slow
def test_rows_of_an_array_have_all_columns():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 2)) @ np.array([[1.0, 0.9], [0.0, 0.4]])
    with untrained():
        model = fit_table(x, changes=TINY)
    found = model.predict(x[:50], "y")
    assert np.corrcoef(values(found, "mean"), x[:50, 0])[0, 1] > 0.98
    with pytest.raises(DataError):
        predict_frame(model, x[:50, :1], "y")
