"""Rounded numbers: they come back as they were, with a density in the units of the column."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from motes.conditions import conditions_of
from motes.data.columns import decimals_of
from motes.data.encoder import Encoder
from motes.errors import DataError

RNG = np.random.default_rng(5)


@pytest.mark.parametrize("places", range(1, 7))
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_decimals_are_counted(places, dtype):
    x = RNG.normal(size=100).round(places).astype(dtype)
    found = decimals_of(x.astype(float))
    # In single precision 1e-5 is too near to the steps of the numbers themselves.
    assert found == (places if dtype == np.float64 or places < 5 else None)


def test_numbers_that_were_not_rounded_have_none():
    for x in (RNG.normal(size=100), RNG.normal(size=100).astype(np.float32).astype(float), np.full(5, 0.5) + [0] * 5):
        assert decimals_of(x) is None


@pytest.mark.parametrize("kind", ["real", "flat", "positive", "heavy", "bounded"])
@pytest.mark.parametrize("rows", [60, 4000])  # few, and enough for quantiles
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_any_z_decodes_to_rounded_numbers_and_rows_come_back(kind, rows, dtype):
    frame = pd.DataFrame({"x": (RNG.random(rows) ** 2).round(2).astype(dtype)})
    encoder = Encoder.fit(frame, {"x": {"kind": kind, "decimals": 2}})
    encoded = encoder.encode(frame, seed=1)
    pd.testing.assert_frame_equal(encoder.decode(encoded.z).like(frame), frame, check_exact=True)
    made = encoder.decode(RNG.normal(size=(500, 1)) * 3).like(frame)["x"].to_numpy()
    assert made.dtype == dtype and (made == made.astype(float).round(2).astype(dtype)).all()
    if kind == "bounded":
        assert (made >= 0).all() and (made <= 1).all()
    if kind == "positive":
        assert (made >= 0).all()


def test_a_number_with_more_decimals_is_itself():
    frame = pd.DataFrame({"x": RNG.normal(size=200).round(1)})
    encoder = Encoder.fit(frame)
    given = pd.DataFrame({"x": [0.1, 0.123456789]})
    a, b = (encoder.encode(given, seed=seed).z[:, 0] for seed in (1, 2))
    assert a[0] != b[0] and a[1] == b[1]
    pd.testing.assert_frame_equal(encoder.put(encoder.decode(encoder.encode(given).z), given).like(given), given)


@pytest.mark.parametrize("rows", [500, 20_000])
def test_the_density_is_that_of_the_rounded_law_over_its_width(rows):
    """Standard normal in z, so that the law is known: the mean over u of p is the mass of the cell over 0.1."""
    x = np.random.default_rng(rows).normal(3, 1, rows).round(1)
    encoder = Encoder.fit(pd.DataFrame({"x": x}))
    at = pd.DataFrame({"x": np.arange(1.0, 5.0, 0.5)})
    p = []
    for seed in range(400):
        encoded = encoder.encode(at, seed=seed)
        p.append(np.exp(stats.norm.logpdf(encoded.z[:, 0]) + encoded.log_det))
    rounded = stats.norm(3, 1)
    exact = (rounded.cdf(at.x + 0.05) - rounded.cdf(at.x - 0.05)) / 0.1
    # Four standard errors: of few rows those of a normal law's mean and deviation; of many that of the mass of a cell.
    away = (at.x - 3) ** 2
    error = np.sqrt((away + (away - 1) ** 2 / 2) / rows) if rows < 1000 else 1 / np.sqrt(rows * exact / 10)
    assert (np.abs(np.mean(p, axis=0) / exact - 1) < 4 * error).all()


def test_what_lies_below_is_refused_with_its_place():
    encoder = Encoder.fit(pd.DataFrame({"x": np.exp(RNG.normal(size=300)).round(2)}))
    with pytest.raises(DataError, match=r"row 2, column 'x': -0\.5 came; expected a number of at least 0"):
        encoder.encode(pd.DataFrame({"x": [1.0, -0.5]}))


@pytest.mark.parametrize("rows", [60, 4000])
def test_an_interval_is_that_of_the_numbers_in_it(rows):
    encoder = Encoder.fit(pd.DataFrame({"x": RNG.normal(size=rows).round(1)}))
    box = conditions_of(encoder, {"x": (-0.3, 0.7)})
    z = np.linspace(-3, 3, 1001)[:, None]
    x = encoder.decode(z).columns["x"].values
    within = ((box.low <= z) & (z <= box.high)).all(axis=1)
    np.testing.assert_array_equal(within, (x > -0.35) & (x < 0.75))


@pytest.mark.parametrize("kind", ["real", "flat", "heavy", "positive", "bounded"])
@pytest.mark.parametrize("far", [0.0, 1e6])
def test_values_of_real_numbers_that_come_often_come_back_as_often(kind, far):
    """A third of the rows at one number, a tenth at another; the mass of either is its share."""
    if kind == "bounded" and far:
        return
    x = RNG.beta(2, 3, 3000) + far
    x[:1000], x[1000:1300] = 0.3 + far, np.pi / 5 + far
    frame = pd.DataFrame({"x": RNG.permutation(x)})
    encoder = Encoder.fit(frame, {"x": kind})
    assert encoder.described()[0]["becomes"].endswith("2 values apart")
    encoded = encoder.encode(frame, seed=1)
    # The line is opened by steps of rounding, and the values themselves are there to the bit.
    back = encoder.decode(encoded.z).like(frame)
    np.testing.assert_allclose(back.x, frame.x, rtol=1e-12)
    often = frame.x.isin(x[[0, 1000]])
    pd.testing.assert_series_equal(back.x[often], frame.x[often], check_exact=True)
    made = encoder.decode(RNG.normal(size=(100_000, 1))).like(frame).x
    # Of 100,000 draws a share of 1/3 is known to 0.0015, one of 1/10 to 0.0010: four of those.
    assert (made == x[0]).mean() == pytest.approx(1 / 3, abs=0.006)
    assert (made == x[1000]).mean() == pytest.approx(1 / 10, abs=0.004)
    if kind == "bounded":
        assert (made > 0).all() and (made < 1).all()
    at = pd.DataFrame({"x": x[[0, 1000]]})
    p = []
    for seed in range(400):
        one = encoder.encode(at, seed=seed)
        p.append(np.exp(stats.norm.logpdf(one.z[:, 0]) + one.log_det))
    # Normal in z to within the mean and deviation that it is standardised by, of 3,000 rows: 1/55, four of those.
    np.testing.assert_allclose(np.mean(p, axis=0), [1 / 3, 1 / 10], rtol=0.08)
    for low, high in ((0.3, 0.3), (0.1, np.pi / 5), (0.3, 0.6), (0.31, 0.6)):
        box = conditions_of(encoder, {"x": (low + far, high + far)})
        within = ((box.low <= encoded.z) & (encoded.z <= box.high)).all(axis=1)
        np.testing.assert_array_equal(within, frame.x.between(low + far, high + far))


def test_a_column_of_two_real_numbers_is_those_two():
    frame = pd.DataFrame({"x": RNG.permutation(np.repeat([-0.0446416365, 0.0506801187], [235, 207]))})
    made = Encoder.fit(frame).decode(RNG.normal(size=(10_000, 1))).like(frame).x
    # Half a row lies between and beyond them, 1 in 885: of 10,000 draws 11, and more than 30 once in a million seeds.
    assert (~made.isin(frame.x.unique())).sum() < 30
    assert (made == -0.0446416365).mean() == pytest.approx(235 / 442, abs=0.02)


@pytest.mark.parametrize("kind", ["real", "integer", "positive"])
def test_peaks_come_back_as_often_as_they_were(kind):
    """A third of the rows at one number, a tenth at another, in a column too fine for quantiles."""
    x = np.abs(RNG.normal(400, 100, 3000).round(0 if kind == "integer" else 2)) / (1 if kind == "integer" else 3)
    x = x.round(2)
    x[:1000], x[1000:1300] = 250, 400
    frame = pd.DataFrame({"x": RNG.permutation(x)})
    encoder = Encoder.fit(frame, {"x": kind if kind == "integer" else {"kind": kind, "decimals": 2}})
    assert encoder.described()[0]["becomes"].endswith("2 values apart")
    encoded = encoder.encode(frame, seed=1)
    pd.testing.assert_frame_equal(encoder.decode(encoded.z).like(frame), frame, check_exact=True)
    made = encoder.decode(RNG.normal(size=(100_000, 1))).like(frame)["x"]
    # Of 100,000 draws a share of 1/3 is known to 0.0015, one of 1/10 to 0.0010: four of those.
    assert (made == 250).mean() == pytest.approx((frame.x == 250).mean(), abs=0.006)
    assert (made == 400).mean() == pytest.approx((frame.x == 400).mean(), abs=0.004)
    z = encoder.encode(pd.DataFrame({"x": np.full(200, 250.0)}), seed=3).z[:, 0]
    assert z.std() > 0.2  # it has room
    box = conditions_of(encoder, {"x": (250.0, 250.0)})
    assert ((box.low <= z[:, None]) & (z[:, None] <= box.high)).all()
