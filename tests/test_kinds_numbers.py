"""Columns of numbers: they come back to the bit, their probabilities sum to 1, and nothing lies outside of its code."""

import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from tests.table_reference import log_prob, random_entries

from motes.data.curves import Asinh, Power, Straight, fit_curve
from motes.errors import DataError, UsageError
from motes.tables import Schema
from motes.tables.kinds.binnings import decimals_of

RNG = np.random.default_rng(5)
N = 3000
NORMAL = RNG.standard_normal(N)
ZEROS = np.where(RNG.random(N) < 0.4, 0.0, np.exp(RNG.standard_normal(N)))

COLUMNS = {
    "normal": NORMAL,
    "lognormal": np.exp(1.5 * NORMAL),
    "cauchy": RNG.standard_cauchy(N),
    "zeros": ZEROS,
    "rounded zeros": ZEROS.round(2),
    "share": np.clip(RNG.beta(0.5, 0.5, N) * 1.02 - 0.01, 0, 1),
    "two decimals": NORMAL.round(2),
    "quarters": (NORMAL * 40).round() / 4,
    "single": (NORMAL * 10).round(1).astype(np.float32),
    "grades": RNG.integers(1, 6, N),
    "gaps": RNG.choice([0, 1, 2, 7, 40], N),
    "ages": RNG.normal(40, 15, N).round().clip(18, 90).astype(np.uint8),
    "amounts": np.where(RNG.random(N) < 0.9, 0, RNG.choice([2174, 3103, 5178, 7688, 15024, 99999], N)),
    "thousands": RNG.integers(0, 400, N) * 1000,
    "counts": RNG.lognormal(5, 1.5, N).astype(np.int32),
    "signed": RNG.normal(0, 1e4, N).astype(int),
    "large": RNG.integers(-(2**40), 2**40, N),
    "far": 10**17 + RNG.integers(0, 5000, N),
    "few reals": RNG.choice([-0.0446416365, 0.0506801187], N),
    "heaped": np.where(RNG.random(N) < 0.05, NORMAL, RNG.choice([1.5, np.pi, 7.125], N)),
}

IDS = {"far": "integer"}  # numbers of 17 digits are ids, unless their kind is given


def fitted(values, override=None, **options):
    frame = pd.DataFrame({"a": values})
    return frame, Schema.fit(frame, None if override is None else {"a": override}, **options)


@pytest.mark.parametrize("rows", [2, 7, 30, 300, N])
@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_of_numbers_comes_back(name, rows):
    if len(np.unique(COLUMNS[name][:rows])) < 2:
        return
    frame, schema = fitted(COLUMNS[name][:rows], IDS.get(name))
    (part,) = schema.parts
    encoded = schema.encode(frame)
    assert encoded.observed.all() and not encoded.other.any()
    back = schema.decode(encoded.codes, encoded.y, RNG.random(encoded.y.shape)).like(frame)
    exact = not part.smooth or encoded.low[0, 0] < encoded.high[0, 0]  # all but numbers that were not rounded
    pd.testing.assert_frame_equal(back, frame, check_exact=exact, **({} if exact else {"rtol": 1e-12}))
    # Places are standardised, and lie in their cell, which lies in its code.
    assert np.isclose(encoded.y.mean(), 0, atol=1e-7) and np.isclose(encoded.y.std(), 1)
    codes = encoded.codes[:, 0]
    edges = np.stack([part.edges[codes], encoded.low[:, 0], encoded.y[:, 0], encoded.high[:, 0], part.edges[codes + 1]])
    assert (np.diff(edges, axis=0) >= 0).all()
    # Masses are the shares of the rows; all codes without a row share half a row.
    assert 1 <= part.count <= 128 and np.isclose(part.masses.sum(), 1) and (part.masses > 0).all()
    shares = np.bincount(codes, minlength=part.count) / rows
    assert np.abs(shares - part.masses).sum() <= 1.001 / rows


@pytest.mark.parametrize("name", COLUMNS)
def test_any_place_decodes_to_a_number_of_its_code_and_of_the_observed_range(name):
    frame, schema = fitted(COLUMNS[name], IDS.get(name))
    codes, y, u = random_entries(schema, 2000, RNG)
    made = schema.decode(codes, y, u)
    np.testing.assert_array_equal(schema.encode(made).codes, codes)
    rows = made.like(frame)
    assert rows["a"].dtype == frame["a"].dtype
    assert rows["a"].min() >= frame["a"].min() and rows["a"].max() <= frame["a"].max()
    low, high = schema.parts[0].draw_range
    again = schema.encode(made)
    assert (again.low >= low - 1e-9).all() and (again.high <= high + 1e-9).all()


LATTICES = {
    "grades": np.arange(1, 6),
    "gaps": np.arange(0, 41),
    "ages": np.arange(18, 91),
    "amounts": np.arange(0, 100_000),
    "thousands": np.arange(-2000, 2000) * 1000,
    "signed": np.arange(-10**6, 10**6),
    "two decimals": np.arange(-2000, 2000) / 100,
    "quarters": np.arange(-400, 400) / 4,
    "rounded zeros": np.arange(0, 2_000_000) / 100,
}  # fmt: skip


@pytest.mark.slow(only=["rounded zeros", "signed"])
@pytest.mark.parametrize("name", LATTICES)
def test_the_probabilities_of_a_lattice_sum_to_1(name):
    """Those of whole numbers are masses, those of rounded ones densities: times the distance they are masses."""
    values = LATTICES[name]
    _, schema = fitted(COLUMNS[name])
    rows = pd.DataFrame({"a": values})
    mark = schema.encode(rows, unseen="mark")
    p = np.where(mark.codes[:, 0] < 0, 0.0, np.exp(log_prob(schema, rows, unseen="mark")))
    width = {"two decimals": 0.01, "quarters": 0.25, "rounded zeros": 0.01}.get(name, 1)
    assert np.isclose(p.sum() * width, 1, atol=1e-3 if schema.parts[0].smooth else 1e-9)
    if name == "gaps":  # 36 numbers between were never seen, and share half a row
        between = ~np.isin(values, [0, 1, 2, 7, 40])
        assert (p > 0).all()
        assert np.isclose(p[between].sum(), 0.5 / N, rtol=0.01)


@pytest.mark.parametrize("name", ["normal", "lognormal", "cauchy", "zeros", "share", "heaped"])
def test_the_density_of_real_numbers_integrates_to_1(name):
    frame, schema = fitted(COLUMNS[name])
    (part,) = schema.parts
    points = np.flatnonzero(np.diff(part.edges) == 0)
    curve = schema.kinds[0].line.curve
    # Between the edges, evenly in y; 40 standard deviations beyond them the reference has no mass.
    ends = np.clip(part.edges, part.edges[1] - 40, part.edges[-2] + 40)
    y = np.concatenate([np.linspace(low, high, 2000)[1:-1] for low, high in itertools.pairwise(ends)])
    x = curve.inverse(np.unique(y))
    x = np.unique(x[~np.isin(x, schema.kinds[0].line.bounds)])
    density = np.exp(log_prob(schema, pd.DataFrame({"a": x})))
    at = schema.kinds[0].line.bounds[points]
    mass = np.exp(log_prob(schema, pd.DataFrame({"a": at}))).sum() if len(at) else 0.0
    assert np.isclose(np.trapezoid(density, x) + mass, 1, atol=3e-3)
    for point in at:  # each is as frequent as among the rows
        share = np.exp(log_prob(schema, pd.DataFrame({"a": [point]})))[0]
        assert np.isclose(share, (frame["a"] == point).mean(), atol=1.001 / N)
    assert len(at) == {"zeros": 1, "share": 2, "heaped": 3}.get(name, 0)


@pytest.mark.parametrize("places", range(1, 7))
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_decimals_are_counted(places, dtype):
    x = RNG.normal(size=100).round(places).astype(dtype)
    # In single precision 1e-5 is too near to the steps of the numbers themselves.
    assert decimals_of(x.astype(float)) == (places if dtype == np.float64 or places < 5 else None)
    assert decimals_of(RNG.normal(size=100)) is None
    assert decimals_of(np.full(5, 0.5)) is None
    longer = np.concatenate([np.full(2000, 0.5), RNG.normal(size=100)])
    assert decimals_of(longer) is None


# --- bins -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rows", "most"), [(20, 4), (39, 4), (200, 20), (N, 128)])
def test_bins_hold_about_as_many_rows_but_for_the_tails_and_are_few_for_few_rows(rows, most):
    for values in (NORMAL[:rows], (1e6 * NORMAL[:rows]).astype(int)):
        _, schema = fitted(values)
        (part,) = schema.parts
        assert part.count == most and part.smooth
        inner, quarter = part.masses[most // 4 : -(most // 4)], most // 4
        assert inner.max() - inner.min() < 1.5 / rows + 1e-12
        assert part.masses.max() - inner.max() < 1.5 / rows + 1e-12
        assert part.masses.min() >= 1 / rows - 1e-12
        assert part.masses[[0, -1]].max() < (6 if rows > 100 else 11) / rows
        # Towards the ends a bin holds at least about half the rows of the one before it.
        for masses in (part.masses[:quarter], part.masses[::-1][:quarter]):
            assert (masses[1:] <= 2 * masses[:-1] + 1.5 / rows).all()
        assert np.isneginf(part.edges[0]) and np.isposinf(part.edges[-1])
    for values in (NORMAL, (1e6 * NORMAL).astype(int)):
        assert Schema.fit(pd.DataFrame({"a": values}), bins=7).parts[0].count == 7


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize("name", ["lognormal", "pareto", "student"])
def test_the_codes_of_a_column_have_its_moments_and_its_tails(name, rounded):
    """Codes are drawn by their masses and places evenly within them, at a grid of numbers: nothing is random."""
    rng = np.random.default_rng(17)
    x = {
        "lognormal": rng.lognormal(0, 1.5, 20_000),
        "pareto": rng.pareto(2.5, 20_000) + 1,
        "student": 1 + rng.standard_t(3, 20_000),
    }[name]
    frame, schema = fitted((1000 * x).round().astype(int) if rounded else x)
    (part,), real, each = schema.parts, frame["a"].to_numpy(float), 400
    edges = np.clip(part.edges, *schema.parts[0].draw_range)
    low, high = edges[:-1], edges[1:]
    u = (np.arange(each) + 0.5) / each
    y = (low[:, None] + u * (high - low)[:, None]).reshape(-1, 1)
    codes = np.repeat(np.arange(len(low)), each)[:, None]
    drawn = schema.decode(codes, y, np.zeros(y.shape)).columns["a"].values.astype(float)
    share = np.repeat(part.masses / each, each)
    mean = share @ drawn
    assert mean == pytest.approx(real.mean(), rel=0.03)
    assert np.sqrt(share @ (drawn - mean) ** 2) == pytest.approx(real.std(), rel=0.1)
    for beyond in (0.99, 0.999, 0.9995):  # within two standard errors of as many rows
        found = share[drawn > np.quantile(real, beyond)].sum()
        assert found == pytest.approx(1 - beyond, abs=2 * np.sqrt((1 - beyond) / 20_000))
    assert real.min() <= drawn.min() and drawn.max() <= real.max()


def test_a_value_that_many_rows_hold_has_a_code_of_its_own():
    x = np.abs(RNG.normal(400, 100, N)).round(2)
    x[:1000], x[1000:1300] = 250, 399.99
    for values, override in ((x, None), (x / 3, "real"), (np.where(x == 399.99, 399, x.round()).astype(int), None)):
        _, schema = fitted(RNG.permutation(values), override)
        shares = np.sort(schema.parts[0].masses)[::-1]
        assert np.allclose(shares[:2], [1 / 3, 1 / 10], atol=0.005)
        assert shares[2] < 0.02
        width = np.diff(schema.kinds[0].line.bounds)[np.argmax(schema.parts[0].masses)]
        assert width == (0 if override else 1)
    # 19 rows are none, and on a lattice neither are as many as those beside it.
    _, schema = fitted(np.concatenate([NORMAL[:500], np.full(19, 0.5)]))
    assert (np.diff(schema.parts[0].edges) > 0).all()
    _, schema = fitted(np.concatenate([NORMAL[:500], np.full(20, 0.5)]))
    assert (np.diff(schema.parts[0].edges) == 0).sum() == 1
    _, schema = fitted(RNG.integers(0, 300, 30_000))
    assert schema.parts[0].masses.max() < 2 / 128


def test_a_point_mass_at_an_end_ends_the_line():
    capped = np.minimum(np.exp(NORMAL), 2.5)
    for values, end in ((ZEROS, 0), (capped, -1)):
        frame, schema = fitted(values)
        edges = schema.parts[0].edges
        assert edges[0 if end == 0 else -2] == edges[1 if end == 0 else -1]
        assert np.isinf(edges[-1 if end == 0 else 0])
        beyond = frame["a"].min() - 1 if end == 0 else frame["a"].max() + 1
        assert schema.encode(pd.DataFrame({"a": [beyond]}), unseen="mark").codes.tolist() == [[-1]]


# --- curves ---------------------------------------------------------------------------------------------------------


CURVES = [Straight(1.0, 2.0), Asinh(1.0, 2.0), *(Power(1.0, 2.0, exponent=a) for a in (0.0, 0.3, 1.5, 2.0))]


@pytest.mark.parametrize("curve", CURVES)
def test_a_curve_is_an_increasing_map_of_the_line_with_its_slope(curve):
    x = np.concatenate([-np.geomspace(1e6, 1e-6, 200), np.geomspace(1e-6, 1e6, 200)])
    y = curve.forward(x)
    assert (np.diff(y) > 0).all()
    np.testing.assert_allclose(curve.inverse(y), x, rtol=1e-9, atol=1e-12)
    step = 1e-6 * np.maximum(np.abs(x - 1), 1)
    slope = (curve.forward(x + step) - curve.forward(x - step)) / (2 * step)
    np.testing.assert_allclose(curve.log_slope(x), np.log(slope), atol=1e-5)
    assert np.isfinite(curve.forward([-1e308, 1e308])).all()
    assert curve.forward([-np.inf, np.inf]).tolist() == [-np.inf, np.inf]


@pytest.mark.parametrize("exponent", [0.0, 0.4, 1.0, 1.7, 2.0])
def test_the_power_transform_is_that_of_yeo_and_johnson(exponent):
    x = np.linspace(-9, 9, 101)
    np.testing.assert_allclose(Power(2.0, 3.0, exponent=exponent).g(x), stats.yeojohnson(x, exponent), rtol=1e-12)


def test_its_exponent_is_the_most_likely_one():
    u = stats.norm.ppf((np.arange(1000) + 0.5) / 1000)
    x = Power(0.0, 1.0, exponent=0.5).inverse_g(u)
    curve = fit_curve(x, np.ones(1000))
    assert isinstance(curve, Power) and 0 < curve.exponent < 1
    scaled = (np.concatenate([x[:1], x, x[-1:]]) - curve.centre) / curve.unit
    assert curve.exponent == pytest.approx(stats.yeojohnson_normmax(scaled), abs=0.02)


@pytest.mark.parametrize(
    ("values", "curve"),
    [(NORMAL, Straight), (NORMAL + 1e6, Straight), (RNG.random(N), Straight), (np.exp(NORMAL), Power),
     (-np.exp(NORMAL), Power), (RNG.standard_t(2, N), Asinh), (NORMAL[:30], Straight)],
)  # fmt: skip
def test_a_curve_is_straight_unless_another_is_clearly_better(values, curve):
    _, schema = fitted(values, "real")
    assert type(schema.kinds[0].line.curve) is curve


def test_numbers_of_64_bits_have_places():
    """D3: near 2^60 came zeros and NumPy's own warnings."""
    x = RNG.integers(-(2**62), 2**62, N)
    frame, schema = fitted(x, "integer")
    encoded = schema.encode(frame)
    assert np.isclose(encoded.y.std(), 1)
    back = schema.decode(encoded.codes, encoded.y, encoded.y).like(frame)["a"]
    assert back.dtype == np.int64 and np.abs(back.to_numpy().astype(float) - x).max() < 2**12
    codes, y, u = random_entries(schema, 1000, RNG)
    made = schema.decode(codes, y, u).columns["a"].values
    assert made.min() >= x.min() and made.max() <= x.max()
    _, schema = fitted(2**62 + RNG.integers(0, 1000, N), "integer")
    assert schema.kinds[0].line.grid.origin > 2**61


# --- overrides and refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "override", "new"),
    [
        ([1, 2, 3, 2], "real", [2.5, -7.0]),
        ([10, 20, 30] * 7, {"kind": "integer", "step": 1}, [10, 20, 25]),
        ([1, 2, 3], {"kind": "integer", "low": 0, "high": 100}, [0, 50, 100]),
        ([1, 2, 300], {"kind": "integer", "low": -5}, [-5, 0, 300]),
        ([-3.0, 4.0, 20.0], {"kind": "bounded", "low": -5, "high": 25}, [-5.0, 0.0, 25.0]),
        ([0.0, 0.5, 1.0], "bounded", [0.0, 0.25, 1.0]),
        ([1.0, 4.5, 20.0], {"kind": "real", "low": 0}, [0.0, 1e-9, 15.0]),
        ([-1.0, 4.5, 20.0], {"kind": "real", "low": -10}, [-10.0, 1.0]),
        ([1.5, 2.25, 4.0] * 9, {"kind": "real", "decimals": 1}, [1.5, 2.2]),
    ],
)  # fmt: skip
def test_an_override_is_followed(values, override, new):
    _, schema = fitted(values, override)
    assert schema.columns[0].why == "set by you"
    encoded = schema.encode(pd.DataFrame({"a": new}))
    assert (encoded.codes >= 0).all() and np.isfinite(encoded.y).all()
    if schema.parts[0].smooth:
        back = schema.decode(encoded.codes, encoded.y, encoded.y).columns["a"].values
        np.testing.assert_allclose(back, np.clip(new, *_drawn(values, override)), rtol=1e-9, atol=1e-12)


def _drawn(values, override):
    """The range of what is drawn: the observed one, unless the user says more."""
    kinds = {"bounded": {"low": 0, "high": 1}, "real": {}}
    message = kinds[override] if isinstance(override, str) else override
    return message.get("low", min(values)), message.get("high", max(values))


def test_low_and_high_widen_what_is_drawn():
    frame, schema = fitted(np.append(RNG.integers(10, 500, N), [10, 499]), {"kind": "integer", "low": 0, "high": 1000})
    edges = schema.parts[0].edges
    assert np.isfinite(edges).all()
    assert schema.parts[0].draw_range == (edges[0], edges[-1])
    last = schema.decode([[0], [schema.parts[0].count - 1]], [[-99.0], [99.0]], np.zeros((2, 1)))
    assert last.columns["a"].values.tolist() == [0, 1000]
    narrow = Schema.fit(frame)
    last = narrow.decode([[0], [narrow.parts[0].count - 1]], [[-99.0], [99.0]], np.zeros((2, 1)))
    assert last.columns["a"].values.tolist() == [10, 499]
    # Grades of which some were never seen.
    _, schema = fitted([1, 2, 2, 3] * 20, {"kind": "integer", "low": 1, "high": 5})
    assert np.allclose(schema.parts[0].masses, np.array([20, 40, 20, 0.25, 0.25]) / 80.5)


@pytest.mark.parametrize(
    ("values", "override", "says"),
    [
        ([1.5, 2.0], "integer", "row 1, column 'a': got 1.5; expected a whole number"),
        ([1.5, -2.0], {"kind": "real", "low": 0}, "got -2.0; expected a number of at least 0; set low and high"),
        ([0.5, 1.5], "bounded", "row 2, column 'a': got 1.5; expected a number of at least 0 and at most 1"),
        (["x", "y"], "real", "row 1, column 'a': got 'x'; expected numbers"),
        ([1, 2, 30], {"kind": "integer", "low": 0, "high": 10}, "row 3, column 'a': got 30; .*at most 10"),
        ([1, 2, 30], {"kind": "integer", "low": 2}, "row 1, column 'a': got 1; expected a number of at least 2"),
        ([0, 2, 5] * 9, {"kind": "integer", "step": 2}, "row 3, column 'a': got 5; expected a multiple of 2"),
    ],
)  # fmt: skip
def test_entries_that_do_not_fit_an_override_are_named(values, override, says):
    with pytest.raises(DataError, match=says):
        fitted(values, override)


@pytest.mark.parametrize(
    ("values", "new", "says"),
    [
        (RNG.integers(17, 42, 100), 35.5, "got 35.5; expected a whole number"),
        (RNG.integers(17, 42, 2000), 99, "got 99; expected a whole number from 17 to 41.*set low and high"),
        (RNG.integers(0, 500, 2000) * 100, 150, "got 150; expected a multiple of 100, counted from 0.*step = 1"),
        (COLUMNS["few reals"], 0.1, "got 0.1; expected one of the 2 training values"),
        (ZEROS, -1.0, "got -1.0; expected a number from 0 to"),
        (COLUMNS["share"], 1.5, "got 1.5; expected a number from 0 to 1"),
        (NORMAL, np.inf, "got inf; expected a finite number"),
        (RNG.integers(0, 9, 100), 2.0**80, "got 1.2.*e.24; expected a whole number"),
    ],
)  # fmt: skip
def test_a_number_that_its_column_cannot_hold_is_refused_or_marked(values, new, says):
    _, schema = fitted(values)
    rows = pd.DataFrame({"a": [values[0], None, new]}, dtype=object)
    with pytest.raises(DataError, match=f"'new.csv', row 3, column 'a': {says}"):
        schema.encode(rows, name="'new.csv'")
    marked = schema.encode(rows, unseen="mark")
    assert marked.codes[2, 0] == -1 and marked.codes[0, 0] >= 0
    assert marked.observed[:, 0].tolist() == [True, False, True]


def test_numbers_beyond_those_seen_have_a_place_where_the_line_goes_on():
    _, schema = fitted(RNG.normal(2.3, 1, 80))
    far = schema.encode(pd.DataFrame({"a": [-50.0, 1e300]}))
    assert far.codes[:, 0].tolist() == [0, schema.parts[0].count - 1]
    assert np.isfinite(far.y).all()
    made = schema.decode(far.codes, far.y, far.y).columns["a"].values
    x = RNG.normal(2.3, 1, 80)
    assert made.min() > x.min() - 3 and made.max() < x.max() + 3  # drawn within what was observed


def test_the_largest_floats_have_a_place():
    for x in ([1e308, -1e308, 0.5], [1.7e308, -1.7e308], [1e308, 1.0, 2.0, 3.0]):
        frame, schema = fitted(x, "real")
        encoded = schema.encode(frame)
        assert np.isfinite(encoded.y).all() and np.isfinite(encoded.log_unit).all()
        assert (np.diff(encoded.y[np.argsort(x), 0]) >= 0).all()
        assert np.isfinite(schema.decode(encoded.codes, encoded.y, encoded.y).columns["a"].values).all()


def test_an_unknown_option_of_the_schema_is_refused():
    frame = pd.DataFrame({"a": NORMAL})
    for options, says in (
        ({"bins": 1}, "bins = 1"),
        ({"bins": 2.5}, "bins = 2.5"),
        ({"missing": "no"}, "'learn' or 'ignore'"),
    ):
        with pytest.raises(UsageError, match=says):
            Schema.fit(frame, **options)
