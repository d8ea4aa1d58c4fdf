"""Tables as a network sees them: what goes in comes out, densities stay right, and what cannot go in says where."""

import datetime
import itertools
import json

import numpy as np
import pandas as pd
import polars as pl
import polars.testing
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import datasets
from tests.reference import law

from motes.data.bijections import Heaps
from motes.data.encoder import Encoder
from motes.data.frames import as_frame
from motes.data.tables import Standardiser
from motes.errors import DataError, UsageError

N = 600


def frame_of(n=N, seed=0):
    """A column of every kind, with every fifth cell of half of them missing."""
    rng = np.random.default_rng(seed)
    start = np.datetime64("2020-01-01")
    frame = pd.DataFrame(
        {
            "real": rng.normal(3, 2, n),
            "positive": rng.lognormal(0, 1, n),
            "zeros": np.where(rng.random(n) < 0.4, 0.0, rng.lognormal(1, 1, n)),
            "share": np.clip(rng.beta(0.5, 0.5, n) * 1.02 - 0.01, 0, 1),
            "heavy": rng.standard_t(2, n),
            "few": rng.poisson(2, n),
            "many": rng.normal(500, 120, n).round().astype(int).clip(0),
            "skewed": rng.lognormal(5, 1.5, n).astype(np.int32),
            "signed": rng.normal(0, 1000, n).astype(int),
            "spiky": (1000 * rng.standard_t(2, n)).astype(int),
            "flag": rng.random(n) < 0.1,
            "word": rng.choice(["red", "green", "blue"], n, p=[0.7, 0.2, 0.1]),
            "size": pd.Categorical(rng.choice(["S", "M", "L"], n), categories=["S", "M", "L"], ordered=True),
            "day": start + rng.integers(0, 1000, n).astype("m8[D]"),
            "second": start + rng.integers(0, 10**8, n).astype("m8[s]"),
            "fixed": np.full(n, 7),
            "nothing": np.full(n, np.nan),
        }
    )
    for column in ("real", "zeros", "share", "word", "size", "day"):
        frame.loc[::5, column] = None
    frame["few"] = frame["few"].astype("Int16")
    frame.loc[::5, "few"] = pd.NA
    return frame


KINDS = {
    "real": "real", "positive": "positive", "zeros": "positive", "share": "bounded", "heavy": "heavy", "few": "integer",
    "many": "integer", "skewed": "integer", "signed": "integer", "spiky": "integer", "flag": "boolean",
    "word": "categorical", "size": "ordered", "day": "date", "second": "date", "fixed": "integer", "nothing": "real",
}  # fmt: skip


@pytest.fixture(scope="module")
def frame():
    return frame_of()


@pytest.fixture(scope="module")
def encoder(frame):
    return Encoder.fit(frame)


# --- there and back -------------------------------------------------------------------------------------------------


def test_every_kind_is_inferred_and_says_why(encoder):
    assert {column.name: column.kind for column in encoder.columns} == KINDS
    assert all(column.why for column in encoder.columns)
    assert encoder.names == tuple(KINDS)
    assert encoder.learned == tuple(KINDS)[:-2]
    assert encoder.width == 15
    curves = {codec.column: type(codec.curve).__name__ for codec in encoder.codecs}
    assert [curves[name] for name in ("few", "many", "skewed", "signed", "spiky")] == [
        "Cells", "Softplus", "Log", "Identity", "Asinh",
    ]  # fmt: skip


def test_a_table_goes_through_z_and_comes_back(frame, encoder):
    encoded = encoder.encode(frame, seed=1)
    back = encoder.decode(encoded.z, encoded.known).like(frame)
    pd.testing.assert_frame_equal(back, frame, rtol=1e-9)


@pytest.mark.parametrize("kind", ["polars", "arrow", "objects"])
def test_so_do_those_of_other_libraries(frame, kind):
    table = pl.from_pandas(frame.drop(columns="nothing"))
    template = {"polars": table, "arrow": table.to_arrow(), "objects": None}[kind]
    if template is None:
        template = np.stack([series.cells() for series in as_frame(table).columns.values()], axis=1).astype(object)
    encoder = Encoder.fit(template)
    encoded = encoder.encode(template)
    back = encoder.decode(encoded.z, encoded.known)
    for name, series in as_frame(template).columns.items():
        if series.type == "real":
            assert np.array_equal(back.columns[name].missing, series.missing)
            assert np.allclose(back.columns[name].known, series.known, rtol=1e-9)
        else:
            assert back.columns[name].cells() == series.cells(), name


def test_every_column_of_z_has_mean_0_and_deviation_1(frame, encoder):
    # Over the rows and the noise within cells; one draw of it is away by its own standard error.
    encoded = encoder.encode(frame, seed=2)
    for j, codec in enumerate(encoder.codecs):
        z = encoded.z[encoded.known[:, j], j]
        tolerance = 5 / np.sqrt(len(z)) if codec.cells.noisy else 1e-12  # 5 standard errors of a mean at most
        assert abs(z.mean()) < tolerance, codec.column
        assert abs(z.std() - 1) < tolerance, codec.column


def test_labels_and_a_few_whole_numbers_lie_in_heaps_as_wide_as_is_said():
    """And so far apart that of a normal law about each hardly any would be taken for its neighbour."""
    rng = np.random.default_rng(6)
    n = 20_000
    frame = pd.DataFrame(
        {
            "city": rng.choice(["Graz", "Linz", "Wien"], n, p=[0.1, 0.3, 0.6]),
            "member": rng.random(n) < 0.2,
            "kind": rng.integers(1, 5, n),
            "rooms": rng.integers(1, 6, n),
            "price": rng.standard_normal(n),
        }
    )
    encoder = Encoder.fit(frame)
    z, heaps = encoder.encode(frame, seed=1).z, encoder.heaps
    np.testing.assert_array_equal(heaps > 0, [True, True, True, False, False])
    for j, name in enumerate(["city", "member", "kind"]):
        each = [z[(frame[name] == value).to_numpy(), j] for value in frame[name].unique()]
        within = np.sqrt(sum(((part - part.mean()) ** 2).sum() for part in each) / n)
        assert abs(within / heaps[j] - 1) < 5 / np.sqrt(2 * n)  # a standard deviation of a normal law, 5 of its errors
        each.sort(key=np.mean)
        for low, high in itertools.pairwise(each):
            assert high.mean() - low.mean() > 3.9 * (low.std() + high.std())


def test_the_same_seed_gives_the_same_noise(frame, encoder):
    one, same, other = (encoder.encode(frame, seed=seed).z for seed in (3, 3, 4))
    assert np.array_equal(one, same)
    noisy = np.array([codec.cells.noisy for codec in encoder.codecs])
    assert not (one == other)[:, encoder.learned.index("few")][1:5].any()
    assert np.array_equal(one[:, ~noisy], other[:, ~noisy])


def test_the_order_of_columns_does_not_matter(frame, encoder):
    turned = frame[frame.columns[::-1]]
    assert np.array_equal(encoder.encode(turned).z, encoder.encode(frame).z)


def test_missing_cells_say_nothing(frame, encoder):
    encoded = encoder.encode(frame)
    gone = frame[list(encoder.learned)].isna().to_numpy()
    assert np.array_equal(~encoded.known, gone)
    assert not encoded.z[gone].any()
    assert not encoded.log_dets[gone].any()
    assert np.allclose(encoded.log_det, encoded.log_dets.sum(axis=1))
    empty = pd.DataFrame(None, index=range(3), columns=frame.columns, dtype=object)
    assert not encoder.encode(empty).known.any()
    decoded = encoder.decode(np.zeros((3, 15)), np.zeros((3, 15), bool))
    assert all(series.missing.all() for name, series in decoded.columns.items() if name != "fixed")


def test_z_is_that_of_todays_standardiser_for_real_columns():
    for load in (datasets.load_wine, datasets.load_breast_cancer, datasets.load_diabetes):
        x = load().data
        x = np.ascontiguousarray(x[:, [np.unique(column, return_counts=True)[1].max() < 20 for column in x.T]])
        assert x.shape[1] >= 5  # whose values hardly come twice
        encoder = Encoder.fit(x, {f"x{j}": "real" for j in range(x.shape[1])})
        scaler = Standardiser.fit(x)
        encoded = encoder.encode(x)
        assert np.array_equal(encoded.z, scaler.forward(x))
        assert np.allclose(encoded.log_det, scaler.log_det, rtol=1e-12)
        assert np.array_equal(encoder.decode(encoded.z).like(x), scaler.inverse(scaler.forward(x)))


@pytest.mark.parametrize("load", ["wine", "breast_cancer", "digits", "diabetes"])
def test_real_tables_go_through(load):
    table = getattr(datasets, f"load_{load}")(as_frame=True).frame
    encoder = Encoder.fit(table)
    encoded = encoder.encode(table)
    back = encoder.decode(encoded.z, encoded.known).like(table)
    pd.testing.assert_frame_equal(back, table, rtol=1e-8, atol=1e-12)
    constant = (table.nunique() == 1).to_numpy()
    assert [column.constant for column in encoder.columns] == constant.tolist()
    assert len(encoder.warnings) >= constant.sum()
    assert np.abs(encoded.z).max() < 15
    if load == "digits":
        assert {column.kind for column in encoder.columns} == {"integer"}


@law
@given(st.data())
def test_a_column_of_anything_goes_through(data):
    cells = data.draw(
        st.sampled_from(
            [
                st.floats(-1e12, 1e12, allow_subnormal=False),
                st.integers(-(2**33), 2**33),
                st.integers(0, 5),
                st.booleans(),
                st.text(min_size=1, max_size=4),
                st.dates(),
                st.datetimes(datetime.datetime(1950, 1, 1), datetime.datetime(2050, 1, 1)).map(
                    lambda time: time.replace(microsecond=0)
                ),
            ]
        )
    )
    column = data.draw(st.lists(st.none() | cells, min_size=2, max_size=12))
    table = np.array([[cell, k] for k, cell in enumerate(column)], dtype=object)
    encoder = Encoder.fit(table)
    encoded = encoder.encode(table)
    assert np.isfinite(encoded.z).all()
    assert np.isfinite(encoded.log_dets).all()
    first = as_frame(table).columns["x"]
    known = np.stack([~first.missing, np.ones(len(table), bool)], axis=1)
    back = encoder.decode(encoded.z, known[:, [name in encoder.learned for name in ("x", "y")]]).columns["x"]
    if encoder.columns[0].constant:
        assert all(was is None or was == pytest.approx(now) for was, now in zip(column, back.cells(), strict=True))
    elif first.type == "real":
        scale = np.abs(first.known).max()
        assert np.allclose(back.known, first.known, rtol=1e-9, atol=1e-9 * scale)
    else:
        assert back.cells() == first.cells()


# --- densities ------------------------------------------------------------------------------------------------------


def test_log_determinants_of_real_columns_are_derivatives(frame, encoder):
    names = ["real", "positive", "zeros", "share", "heavy"]
    rows = frame[(frame["zeros"] > 0) & frame["share"].between(0.01, 0.99) & frame["real"].notna()]
    step = 1e-5 * np.abs(rows[names]).clip(lower=0.01)
    up, down = rows.copy(), rows.copy()
    up[names] += step
    down[names] -= step
    here = encoder.encode(rows)
    slope = (encoder.encode(up).z - encoder.encode(down).z)[:, :5] / (2 * step.to_numpy())
    assert np.allclose(here.log_dets[:, :5], np.log(slope), atol=1e-5)


END = 6  # of v, beyond which u is 0 or 1 to 1e-9


def masses(encoder, name, values):
    """Phi((z of the upper edge)) - Phi(z of the lower edge) by integrating over u what `encode` gives: (m,)."""
    j = encoder.learned.index(name)
    codec = encoder.codecs[j]
    read = codec.read(as_frame(pd.DataFrame({name: values})).columns[name], "values")
    v, weights = np.polynomial.legendre.leggauss(100)
    v, weights = END * v, END * weights  # u = Phi(v), so that both ends are looked at closely
    total = 0
    for node, weight in zip(stats.norm.cdf(v), weights * stats.norm.pdf(v), strict=True):
        y, log_det = codec.encode(read, np.full(len(read), node))
        z = (y - encoder.standardiser.mean[j]) / encoder.standardiser.scale[j]
        total = total + weight * np.exp(stats.norm.logpdf(z) + log_det - np.log(encoder.standardiser.scale[j]))
    return total


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("flag", [False, True]),
        ("word", ["blue", "green", "red"]),
        ("size", ["S", "M", "L"]),
        ("few", range(9)),
        ("many", range(0, 1500)),
        ("signed", range(-6000, 6000)),
        ("day", pd.date_range("2010-01-01", "2032-01-01")),
    ],
)
def test_the_masses_of_a_discrete_column_sum_to_1(frame, encoder, name, values):
    values = list(values)
    if name == "few":
        values = list(range(int(frame["few"].max()) + 1))
    mass = masses(encoder, name, values)
    # The log at the lower edge of `softplus` is the hardest integrand. The outer heaps go on for ever, and u does not.
    codec = encoder.codecs[encoder.learned.index(name)]
    whole = 1.0
    if isinstance(codec.curve, Heaps):
        ends, _ = codec.encode(np.array([0, len(values) - 1]), stats.norm.cdf([-END, END]))
        j = encoder.learned.index(name)
        whole = np.diff(stats.norm.cdf((ends - encoder.standardiser.mean[j]) / encoder.standardiser.scale[j]))[0]
        assert whole > 0.95
    assert np.isclose(mass.sum(), whole, atol=1e-3 if name == "many" else 1e-6)
    if name == "size":  # in whose cells z is normal
        share = frame[name].value_counts(normalize=True)
        assert np.allclose(mass, [share[value] for value in values], rtol=1e-6)


def test_a_column_with_zeros_has_mass_at_0_and_a_density_above():
    # exp(N(1, 1)) in 60 % of the rows, 0 in the others: the mass of 0 and the integral above it sum to 1.
    frame = frame_of()[["zeros", "real"]]
    encoder = Encoder.fit(frame)
    at_zero = masses(encoder, "zeros", [0.0])[0]
    x = np.geomspace(1e-9, 1e9, 200_001)
    rows = encoder.encode(pd.DataFrame({"zeros": x, "real": 0.0}))
    density = np.exp(stats.norm.logpdf(rows.z[:, 0]) + rows.log_dets[:, 0])
    assert np.isclose(at_zero + np.trapezoid(density, x), 1, atol=2e-3)
    assert at_zero > 0.1
    drawn = encoder.decode(np.random.default_rng(5).standard_normal((4000, 2))).columns["zeros"].values
    # 5 standard errors of a share.
    assert abs((drawn == 0).mean() - at_zero) < 5 * np.sqrt(at_zero / 4000) + 1e-3


def test_codecs_rise(frame, encoder):
    for codec in encoder.codecs:
        series = as_frame(frame).columns[codec.column]
        values = np.unique(codec.read(series, "rows"))
        y, _ = codec.encode(values, np.full(len(values), 0.5))
        rising = np.diff(y) > 0
        # At an end that belongs to the interval the sliver lies beyond it, so the order is that of the values.
        assert rising.all(), codec.column


# --- any z ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1.0, 6.0, 40.0, 1e6, 1e308])
def test_any_z_decodes_to_what_training_could_have_held(frame, encoder, size):
    z = np.random.default_rng(6).choice([-size, size, size / 3, 0.0], (200, 15))
    decoded = encoder.decode(z)
    assert not any(series.missing.any() for name, series in decoded.columns.items() if name != "nothing")
    back = decoded.like(frame)
    for name in ("flag", "word", "size"):
        assert set(back[name]) <= set(frame[name].dropna())
    assert set(back["few"]) <= set(range(int(frame["few"].max()) + 1))
    for name in ("real", "heavy", "positive", "zeros", "share"):
        assert np.isfinite(back[name]).all()
    assert (back["positive"] > 0).all()
    assert (back["zeros"] >= 0).all()
    assert back["share"].between(0, 1).all()
    assert (back["many"] >= 0).all() and (back["skewed"] >= 0).all()
    assert back["day"].dt.normalize().equals(back["day"])
    assert (back["fixed"] == 7).all()
    assert back["nothing"].isna().all()


def test_blocks_change_nothing(frame, encoder, monkeypatch):
    z = np.random.default_rng(8).standard_normal((50, 15))
    known = np.random.default_rng(9).random((50, 15)) < 0.8
    whole = encoder.decode(z, known).like(frame)
    monkeypatch.setattr("motes.data.encoder.BLOCK", 7)
    pd.testing.assert_frame_equal(encoder.decode(z, known).like(frame), whole)
    with pytest.raises(DataError, match="row 23"):
        encoder.decode(np.where(np.arange(50)[:, None] == 22, np.nan, z))


def test_z_that_is_nan_or_of_another_width_is_refused(encoder):
    z = np.zeros((3, 15))
    z[1, 2] = np.nan
    with pytest.raises(DataError, match="nan in row 2, column 'zeros'"):
        encoder.decode(z)
    with pytest.raises(DataError, match=r"shape \(3, 4\); expected \(rows, 15\)"):
        encoder.decode(np.zeros((3, 4)))


# --- what cannot go in ----------------------------------------------------------------------------------------------

GOOD = pd.DataFrame(
    {
        "age": [17, 20, 41, 35],
        "size": ["S", "M", "L", "M"],
        "price": [1.5, 2.25, 100.125, 3.5],
        "day": pd.to_datetime(["2020-01-01", "2020-01-02", "2020-02-01", "2020-03-01"]),
        "fixed": ["a"] * 4,
    }
)


@pytest.mark.parametrize(
    ("column", "values", "says"),
    [
        ("size", ["S", "XL", None, "M"], "row 2, column 'size': 'XL' came; expected one of the 3 labels .*L, M, S"),
        ("size", [1, 2, 3, 4], "row 1, column 'size': 1 came; expected one of the 3 labels"),
        ("price", [1.0, 2.0, np.inf, 1.0], "row 3, column 'price': inf is not a finite number"),
        ("price", ["x", "y", None, None], "row 1, column 'price': 'x' came; expected numbers, and this is text"),
        ("age", [17, None, 35.5, 41], "row 3, column 'age': 35.5 came; expected a whole number"),
        ("age", [17, None, 99, 41], "row 3, column 'age': 99.0 came; .*from 17 to 41.*set low and high"),
        ("day", pd.to_datetime(["2020-01-01T00:00", None, None, "2020-01-01T12:00"]), "row 4, column 'day'.*of a day"),
        ("day", [1, 2, 3, 4], "row 1, column 'day': 1 came; expected dates, and this is whole numbers"),
        ("day", ["soon"] * 4, "row 1, column 'day': 'soon' came; expected a date such as"),
        ("fixed", ["a", None, "b", "a"], "row 3, column 'fixed': b came; this column was a in all rows"),
        ("fixed", [1, 1, 1, 1], "row 1, column 'fixed': 1 came"),
    ],
)  # fmt: skip
def test_a_cell_that_its_column_cannot_hold_is_named(column, values, says):
    encoder = Encoder.fit(GOOD)
    bad = GOOD.copy()
    bad[column] = values
    with pytest.raises(DataError, match=says) as error:
        encoder.encode(bad, name="'new.csv'")
    assert str(error.value).startswith("'new.csv', row")


def test_a_column_too_few_or_too_many_is_named():
    encoder = Encoder.fit(GOOD)
    with pytest.raises(DataError, match=r"no column 'price'; the training had age, size, price.*all its cells missing"):
        encoder.encode(GOOD.drop(columns="price"))
    with pytest.raises(DataError, match="has a column 'more', which the training had not"):
        encoder.encode(GOOD.assign(more=1))
    with pytest.raises(DataError, match="has 2 columns but 5 names"):
        encoder.encode(np.ones((3, 2)))
    row = GOOD[:1].astype(object).assign(price=None)
    assert encoder.encode(row).known.tolist() == [[True, True, False, True]]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (GOOD[:0], "has no rows"),
        (GOOD[:1], "no column of the data varies"),
        (pd.DataFrame({"a": [1.5, -np.inf], "b": [1, 2]}), "row 2, column 'a': -inf is not a finite number"),
        (
            pd.DataFrame({"a": [1e308, -1e308, 0.5], "b": [1, 2, 3]}),
            "column 'a' reaches 1e.308, too large to standardise",
        ),
    ],
)
def test_a_table_that_cannot_be_learned_says_why(data, says):
    with pytest.raises(DataError, match=says):
        Encoder.fit(data)


def test_1e308_among_ordinary_numbers_is_drawn_in_and_said():
    x = np.random.default_rng(7).normal(size=200)
    x[10] = 1e308
    encoder = Encoder.fit(pd.DataFrame({"a": x, "b": np.arange(200) % 150}))
    assert encoder.columns[0].kind == "heavy"
    assert encoder.warnings == ["column 'a': reaches 1e+308."]
    z = encoder.encode(pd.DataFrame({"a": x, "b": np.arange(200) % 150})).z
    assert np.isfinite(z).all()
    assert np.allclose(encoder.decode(z).columns["a"].values, x, rtol=1e-9)


# --- on disk --------------------------------------------------------------------------------------------------------


def test_an_encoder_goes_through_json_to_the_bit(frame, encoder):
    arrays, about = encoder.to_state()
    again = Encoder.from_state(arrays, json.loads(json.dumps(about, allow_nan=False)))
    assert again.columns == encoder.columns
    one, two = encoder.encode(frame, seed=8), again.encode(frame, seed=8)
    assert np.array_equal(one.z, two.z)
    assert np.array_equal(one.log_dets, two.log_dets)
    z = np.random.default_rng(9).standard_normal((50, 15))
    pd.testing.assert_frame_equal(encoder.decode(z).like(frame), again.decode(z).like(frame))


def test_a_state_that_was_meddled_with_is_an_error(encoder):
    arrays, about = encoder.to_state()
    for key, value in (("codecs", [{"is": "os"}]), ("codecs", [{"is": "Log", "where": 1}]), ("columns", None)):
        with pytest.raises((KeyError, TypeError, ValueError)):
            Encoder.from_state(arrays, {**about, key: value})


def test_a_dropped_column_is_not_learned_not_given_back_and_ignored(frame):
    more = frame.assign(id=np.arange(len(frame)))[["id", *frame]]
    plain, encoder = Encoder.fit(frame), Encoder.fit(more, {"id": "drop"})
    assert encoder.names == plain.names and encoder.dropped == ("id",) and encoder.came == tuple(more)
    arrays, about = encoder.to_state()
    again = Encoder.from_state(arrays, json.loads(json.dumps(about)))
    for one in (encoder, again):
        for rows in (frame, more):
            np.testing.assert_array_equal(one.encode(rows).z, plain.encode(frame).z)
        assert one.decode(np.zeros((2, one.width))).names == plain.names
    numbers = Encoder.fit(np.arange(60.0).reshape(20, 3) ** 1.5, {"x1": "drop"})
    both = numbers.encode(np.ones((4, 3))).z, numbers.encode(np.ones((4, 2))).z
    np.testing.assert_array_equal(*both)
    for overrides, said in (({"idd": "drop"}, "Did you mean 'id'"), (dict.fromkeys(more, "drop"), "all columns")):
        with pytest.raises(UsageError, match=said):
            Encoder.fit(more, overrides)


def test_unstandardised_z_is_y():
    frame = pd.DataFrame({"a": [1.5, 2.5, 9.25], "b": [0.125, 4.5, 6.0]})
    encoder = Encoder.fit(frame, {"a": "real", "b": "real"}, standardise=False)
    assert np.array_equal(encoder.encode(frame).z, frame.to_numpy())


def test_a_misspelt_override_is_an_error():
    with pytest.raises(UsageError, match=r"unknown column 'agee'\. Did you mean 'age'"):
        Encoder.fit(GOOD, {"agee": "real"})
