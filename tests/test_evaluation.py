"""Every metric: brute force and other libraries, size and coverage by simulation, samples whose answer is known.

Each simulation has a fixed seed. Over 500 nulls a test of size exactly 5 % rejects fewer than 15 or more than 35 times
with probability 0.03; an interval that covers 95 in 100 covers fewer than 180 of 200 or all with probability 0.0012.
"""

import copy
import json
import pickle
import warnings

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from threadpoolctl import threadpool_limits

import motes
from motes.evaluation import (
    Metric,
    Modes,
    c2st,
    c2st_boosting,
    compare,
    energy_distance,
    mmd_squared,
    mode_coverage,
    negative_log_likelihood,
    prdc,
    sliced_w2,
    w2,
)
from motes.evaluation import pairs as permutations
from motes.evaluation.pairs import Pair

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its docstrings hold escapes that Python warns of when it first compiles them
    import ot

DISTANCES = {"sliced_w2": sliced_w2, "w2": w2, "energy": energy_distance, "mmd": mmd_squared,
             "knn": c2st, "boosting": c2st_boosting}  # fmt: skip
OVERLAPS = {
    name: lambda a, b, k=k: prdc(a, b)[k] for k, name in enumerate(("precision", "recall", "density", "coverage"))
}
TESTS = {name: DISTANCES[name] for name in ("energy", "mmd", "knn", "boosting")}
ALL = DISTANCES | OVERLAPS


@pytest.fixture(autouse=True)
def one_thread():
    """Small matrices gain nothing from a second thread, and lose much where tests run side by side."""
    with threadpool_limits(1):
        yield


def normal(n, dim=2, seed=0, shift=0.0):
    x = np.random.default_rng(seed).standard_normal((n, dim))
    x[:, 0] += shift
    return x


# --- the result ----------------------------------------------------------------------------------------------------


def test_a_metric_is_a_float_that_knows_its_interval():
    metric = Metric("some", 0.25, 0.125, 0.5, 0.0625)
    assert float(metric) == metric == metric.value == 0.25
    assert metric + 1 == 1.25 and metric < 0.3 and round(metric, 1) == 0.2 and f"{metric:.3f}" == "0.250"
    assert str(metric) == f"{metric}" == "0.25 (0.125 to 0.5, p = 0.0625)"
    assert json.dumps({"x": metric}) == '{"x": 0.25}'
    for other in (copy.copy(metric), copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        assert repr(other) == repr(metric) and other.high == 0.5
    with pytest.raises(AttributeError):
        metric.value = 1.0


# --- calibration as sbi does it: identical, near, far --------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_identical_near_and_far_samples_are_in_order(name):
    b = normal(300, seed=2)
    samples = [b, normal(300, seed=1), *(normal(300, seed=1, shift=shift) for shift in (2.0, 4.0, 6.0))]
    if name in TESTS:  # unbiased ones go below the value for equal distributions where rows are copies of each other
        samples = samples[1:]
    values = [float(ALL[name](sample, b)) for sample in samples]
    assert values == sorted(values, reverse=name in OVERLAPS)
    metrics = [ALL[name](sample, b) for sample in samples]
    assert all(m.low <= m <= m.high and np.isfinite([m.low, m.high]).all() for m in metrics)


@pytest.mark.parametrize("name", TESTS)
def test_p_values_are_large_for_equal_laws_and_small_for_laws_apart(name):
    # With probability 0.01 a right p-value is below 0.01, for a fixed seed here.
    assert TESTS[name](normal(200, seed=3), normal(200, seed=4)).p_value > 0.01
    assert TESTS[name](normal(200, seed=3, shift=1.5), normal(200, seed=4)).p_value <= 0.005


def test_equal_sets_are_at_distance_0_and_overlap_wholly():
    b = normal(200, seed=1)
    assert sliced_w2(b, b) < 1e-12 and w2(b, b) < 1e-12
    assert energy_distance(b, b) < 1e-7 and mmd_squared(b, b) < 0  # unbiased: rows of a are nearer to their own copies
    precision, recall, density, coverage = prdc(b, b)
    assert precision == recall == coverage == 1 and density >= 1


def test_known_values_of_gaussians_far_apart():
    a, b = normal(400, 2, seed=1, shift=50), normal(400, 2, seed=2)
    # Shifts are in units of a deviation, known to 1 / sqrt(2 n): 0.035, so 5 deviations are 0.18 of one.
    assert abs(w2(a, b) / 50 - 1) < 0.18
    assert abs(energy_distance(a, b) ** 2 / (2 * 50) - 1) < 0.2  # 2 E|a - b| takes over; E|a - a'| is 1.8 of 100
    assert c2st(a, b) == 1 and c2st_boosting(a, b) > 0.99  # its cuts fall on quantiles
    assert prdc(a, b).precision == prdc(a, b).coverage == prdc(a, b).density == prdc(a, b).recall == 0


@pytest.mark.slow
def test_energy_and_mmd_of_two_gaussians_on_a_line_in_closed_form():
    a, b = normal(4000, 1, seed=1, shift=1), normal(4000, 1, seed=2)
    mean_distance = lambda mu: 2 * np.exp(-(mu**2) / 4) / np.sqrt(np.pi) + mu * (1 - 2 * stats.norm.cdf(-mu / 2**0.5))
    # Within 5 / 1.96 of half an interval.
    metric, truth = energy_distance(a, b), np.sqrt(2 * mean_distance(1) - 2 * mean_distance(0))
    assert abs(metric - truth) < 2.6 * (metric.high - metric.low) / 2
    # E exp(-z^2 / (2 w^2)) for z ~ N(mu, 2) is w / sqrt(w^2 + 2) exp(-mu^2 / (2 (w^2 + 2))).
    w = 2**0.5 * stats.norm.ppf(0.75) * 2.0 ** np.arange(-2, 3)
    near = w / np.sqrt(w**2 + 2)
    metric, truth = mmd_squared(a, b), np.mean(2 * near * (1 - np.exp(-1 / (2 * (w**2 + 2)))))
    assert abs(metric - truth) < 2.6 * (metric.high - metric.low) / 2


# --- other libraries -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m"), [(30, 30), (30, 45), (7, 100)])
def test_energy_distance_is_scipys_on_a_line(n, m):
    a, b = normal(n, 1, 1, 0.3), 2 * normal(m, 1, 2)
    assert np.isclose(energy_distance(a, b), stats.energy_distance(a[:, 0] / b.std(), b[:, 0] / b.std()), atol=1e-9)


@pytest.mark.parametrize(("n", "m"), [(30, 30), (30, 45)])
def test_w2_on_a_line_is_that_of_the_quantiles(n, m):
    # SciPy has W1 alone: for a shift, W1 and W2 are one.
    b = normal(m, 1, seed=2)
    assert np.isclose(w2(b + 3, b) * b.std(), stats.wasserstein_distance(b[:, 0] + 3, b[:, 0]), atol=1e-9)
    a = normal(n, 1, seed=1)
    assert np.isclose(w2(a, b), sliced_w2(a, b), atol=1e-9)
    assert np.isclose(w2(a, b) ** 2 * b.var(), ot.wasserstein_1d(a[:, 0], b[:, 0], p=2), atol=1e-9)


@pytest.mark.parametrize(("n", "m", "dim"), [(40, 40, 2), (40, 60, 2), (1, 9, 3), (25, 25, 100)])
def test_w2_is_that_of_pot_and_of_the_assignment(n, m, dim):
    a, b = normal(n, dim, 1, 0.5), normal(m, dim, 2)
    cost, scale = cdist(a, b, "sqeuclidean"), b.var(axis=0).mean()
    expected = ot.emd2(np.full(n, 1 / n), np.full(m, 1 / m), cost)
    assert np.isclose(w2(a, b) ** 2 * scale, expected, rtol=1e-9)
    if n == m:
        assert np.isclose(w2(a, b) ** 2 * scale, cost[linear_sum_assignment(cost)].mean(), rtol=1e-12)


@pytest.mark.parametrize(("n", "m"), [(50, 50), (50, 70)])
def test_sliced_w2_is_that_of_pot(n, m):
    a, b = normal(n, seed=1, shift=0.5), normal(m, seed=2)
    angle = np.pi * (np.arange(200) + 0.5) / 200
    expected = ot.sliced_wasserstein_distance(a, b, projections=np.stack([np.cos(angle), np.sin(angle)]))
    assert np.isclose(sliced_w2(a, b) * np.sqrt(b.var(axis=0).mean()), expected, atol=1e-9)


@pytest.mark.parametrize(("n", "m"), [(40, 40), (40, 60)])
def test_mmd_squared_is_the_u_statistic_written_out(n, m):
    a, b = normal(n, 3, 1, 0.5), normal(m, 3, 2) * np.array([1, 10, 0.1])
    a, b = a / b.std(axis=0), b / b.std(axis=0)
    widths = np.median(cdist(b, b)[np.triu_indices(m, 1)]) * 2.0 ** np.arange(-2, 3)
    k = lambda x, y: np.mean([np.exp(-(cdist(x, y) ** 2) / (2 * w**2)) for w in widths], axis=0)
    within = lambda x: (k(x, x).sum() - len(x)) / (len(x) * (len(x) - 1))
    assert np.isclose(mmd_squared(a, b), within(a) + within(b) - 2 * k(a, b).mean(), atol=1e-12)


@pytest.mark.parametrize(("n", "m", "k", "dim"), [(60, 60, 5, 2), (40, 70, 3, 5), (9, 50, 1, 1)])
def test_prdc_is_that_of_brute_force(n, m, k, dim):
    a, b = normal(n, dim, 1, 1.0), normal(m, dim, 2)
    a[:3] = b[:3]  # a real row copied, as a model that memorises does, lies on the rim of balls
    z = [x / b.std(axis=0) for x in (a, b)]
    radius = [np.sort(cdist(x, x), axis=1)[:, k] * (1 + 1e-12) for x in z]
    real = cdist(z[1], z[0]) <= radius[1][:, None]  # (balls, made rows)
    made = cdist(z[0], z[1]) <= radius[0][:, None]
    expected = [real.any(axis=0).mean(), made.any(axis=0).mean(), real.sum(axis=0).mean() / k, real.any(axis=1).mean()]
    assert np.allclose(prdc(a, b, neighbours=k), expected, rtol=1e-12)


def test_coverage_of_two_draws_is_what_combinatorics_says():
    # Naeem et al. 2020: 1 - prod_{i=1..k} (n - i) / (2 n - i), to 5 half-widths over 1.96.
    metric = prdc(normal(1000, seed=1), normal(1000, seed=2), neighbours=3).coverage
    expected = 1 - np.prod((1000 - np.arange(1, 4)) / (2000 - np.arange(1, 4)))
    assert abs(metric - expected) < 2.6 * (metric.high - metric.low) / 2


# --- size: 5 % +- 2 % over 500 nulls -------------------------------------------------------------------------------


def rejections(metric, n, m, dim=2, nulls=500, seed=1):
    rng = np.random.default_rng(seed)
    draws = ((rng.standard_normal((n, dim)), rng.standard_normal((m, dim))) for _ in range(nulls))
    return np.mean([metric(a, b).p_value <= 0.05 for a, b in draws])


@pytest.mark.long(but=["50-50-energy"])
@pytest.mark.parametrize("name", ["energy", "mmd", "knn"])
@pytest.mark.parametrize(("n", "m"), [(50, 50), (30, 60)])
def test_a_test_rejects_one_null_in_twenty(name, n, m):
    assert 0.03 <= rejections(TESTS[name], n, m) <= 0.07


@pytest.mark.long
def test_boosting_rejects_one_null_in_twenty():
    assert 0.03 <= rejections(c2st_boosting, 150, 150) <= 0.07


@pytest.mark.slow
@pytest.mark.long(but=["3-mmd"])
@pytest.mark.parametrize("name", ["energy", "mmd"])
@pytest.mark.parametrize("parts", [1, 3])
def test_blocks_and_parts_of_rows_keep_the_size(name, parts, monkeypatch):
    # What sets of more than 200 rows get, and in parts those of more than 10,000, on fewer rows.
    monkeypatch.setattr(permutations, "BLOCKS", 50)
    monkeypatch.setattr(permutations, "PART_ROWS", 150 // parts)
    assert 0.03 <= rejections(TESTS[name], 150, 150) <= 0.07


def test_parts_have_the_same_mean_as_all_pairs(monkeypatch):
    a, b = normal(600, seed=1, shift=1), normal(900, seed=2)
    whole = [f(a, b) for f in (energy_distance, mmd_squared)]
    monkeypatch.setattr(permutations, "PART_ROWS", 100)
    for expected, metric in zip(whole, (energy_distance(a, b), mmd_squared(a, b)), strict=True):
        assert expected.low < metric < expected.high and metric != expected


# --- coverage of the intervals -------------------------------------------------------------------------------------


def covered(draw, truth, times=200):
    metrics = [draw(np.random.default_rng([7, i])) for i in range(times)]
    return sum(m.low <= truth <= m.high for m in metrics)


@pytest.mark.slow
def test_intervals_of_sliced_w2_cover():
    # A shift by 2 of two columns: 2 / sqrt(2), for an exact unit of 1. The finite sample adds 0.005.
    draw = lambda rng: sliced_w2(
        rng.standard_normal((300, 2)) + np.array([2, 0]), rng.standard_normal((400, 2)), directions=20
    )  # fmt: skip
    assert 180 <= covered(draw, 2**0.5) < 200


@pytest.mark.slow
def test_intervals_of_w2_cover():
    draw = lambda rng: w2(rng.standard_normal((100, 1)) + 3, rng.standard_normal((100, 1)))
    assert 180 <= covered(draw, 3.0) < 200


@pytest.mark.slow
@pytest.mark.long(but=["1.0"])
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_intervals_of_energy_distance_cover(shift):
    mean_distance = lambda mu: 2 * np.exp(-(mu**2) / 4) / np.sqrt(np.pi) + mu * (1 - 2 * stats.norm.cdf(-mu / 2**0.5))
    draw = lambda rng: energy_distance(rng.standard_normal((200, 1)) + shift, rng.standard_normal((200, 1)))
    assert 180 <= covered(draw, np.sqrt(2 * mean_distance(shift) - 2 * mean_distance(0))) < 200


def test_intervals_of_the_likelihood_cover():
    draw = lambda rng: negative_log_likelihood(stats.norm.logpdf(rng.standard_normal(50)))
    assert 180 <= covered(draw, 0.5 * np.log(2 * np.pi * np.e), times=200) < 200


@pytest.mark.slow
def test_intervals_of_mode_shares_cover_where_nothing_is_missing():
    truth = np.full(8, 1 / 8)
    modes = Modes.at(np.arange(8.0)[:, None], truth)
    draw = lambda rng: mode_coverage(rng.integers(8, size=(400, 1)).astype(float), modes).distance
    assert covered(draw, 0.0) >= 180  # at least 95 in 100, by the triangle inequality
    draw = lambda rng: mode_coverage(rng.integers(8, size=(400, 1)).astype(float), modes).shares[3]
    assert covered(draw, 1 / 8) >= 180


# --- distributions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_the_order_of_rows_does_not_matter(name):
    a, b, rng = normal(120, 3, 1, 0.5), normal(90, 3, 2), np.random.default_rng(3)
    expected = repr(ALL[name](a, b))  # every bit of the value, the interval and the p-value
    for _ in range(2):
        assert repr(ALL[name](rng.permutation(a), rng.permutation(b))) == expected


@pytest.mark.parametrize("name", [name for name in ALL if name not in ("sliced_w2", "w2")])
def test_units_of_a_column_do_not_matter(name):
    a, b, units = normal(80, 3, 1, 0.5), normal(80, 3, 2), 2.0 ** np.array([10, -10, 0])  # which round nothing
    assert ALL[name](a * units, b * units) == ALL[name](a, b)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dim", [1, 2, 100])
def test_constant_columns_duplicates_and_unequal_sizes_give_finite_answers(name, dim):
    a, b = normal(60, dim, 1, 3.0), np.concatenate([normal(30, dim, 2)] * 3)
    with_constant = [np.hstack([x, np.full((len(x), 1), 0.1)]) for x in (a, b)]
    constant_in_b = [np.hstack([a, normal(60, 1, 3)]), np.hstack([b, np.ones((90, 1))])]
    for x, y in ((a, b), with_constant, constant_in_b, (b, a), (np.concatenate([a, a]), a)):
        metric = ALL[name](x, y)
        assert np.isfinite([metric, metric.low, metric.high, metric.p_value or 0]).all()
        assert metric.low <= metric <= metric.high


@pytest.mark.parametrize("name", [name for name in ALL if name not in ("sliced_w2", "w2")])
def test_rows_that_are_all_equal_give_an_answer(name):
    same, other = np.ones((20, 2)), np.zeros((20, 2))
    for a, b in ((same, same), (same, other), (normal(20), same), (same, normal(20))):
        metric = ALL[name](a, b)
        assert np.isfinite([metric, metric.low, metric.high]).all()
    if name in TESTS:
        assert TESTS[name](same, same).p_value > 0.05


def test_a_column_constant_in_the_reference_is_seen_at_any_unit():
    b = np.hstack([normal(200, 1, 2), np.full((200, 1), 5.0)])
    a = np.hstack([normal(200, 1, 1), 5 + 1e-6 * normal(200, 1, 3)])
    assert energy_distance(a, b).p_value <= 0.005 and c2st(a, b).p_value <= 0.005


def test_own_randomness_shares_no_stream_with_a_sample():
    pair = Pair.of(normal(5), normal(5))
    assert not np.array_equal(pair.rng(1).random(4), np.random.default_rng(0).random(4))
    # Directions that are rows of the data themselves would find what is odd in these.
    assert sliced_w2(normal(50, 3), normal(50, 3, 1), seed=0) != sliced_w2(normal(50, 3), normal(50, 3, 1), seed=1)


ERRORS = [
    (lambda: energy_distance(normal(1), normal(5)), "sets of 1 and 5 rows; expected at least 2"),
    (lambda: mmd_squared(normal(5), normal(1)), "sets of 5 and 1 rows; expected at least 2"),
    (lambda: prdc(normal(5), normal(9)), "5 neighbours among sets of 5 and 9 rows"),
    (
        lambda: w2(normal(2001), normal(2001)),
        "2001 and 2001 points are too many to match exactly; the limit is 2000",
    ),
    (lambda: w2(normal(51), normal(50)), r"too many to match exactly \(each row copied until both sets have 2550\)"),
    (lambda: c2st_boosting(normal(3), normal(9)), "3 rows are too few for 2 folds"),
    (lambda: sliced_w2(normal(3), normal(3), seed=-1), "seed = -1"),
    (lambda: sliced_w2(normal(3), normal(3), directions=0), "directions = 0"),
    (lambda: c2st(normal(30), normal(30), neighbours=0), "neighbours = 0"),
    (lambda: c2st(normal(30), normal(30), folds=51), "folds = 51; expected from 2 to 50"),
    (lambda: negative_log_likelihood([1.0]), "at least 2 rows"),
    (lambda: negative_log_likelihood([0.0, -np.inf]), "row 1 is -inf"),
    (lambda: Modes.at([[0.0], [1.0]], [0.5, 0.6]), "with sum 1"),
    (lambda: Modes.at([0.0, 1.0]), "the set of centres has shape"),
    (lambda: Modes.labelled(normal(3), [0.0, 1.0, 1.0]), "labels are float64"),
    (lambda: compare(normal(20), normal(20), normal(19), normal(20)), "expected equal sizes"),
]


@pytest.mark.parametrize(("call", "message"), ERRORS, ids=range(len(ERRORS)))
def test_errors_say_what_came_and_what_was_expected(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_boosting_finds_the_one_column_in_a_hundred_better_than_neighbours():
    # The best rule is right with probability Phi(1) = 0.84; 300 answers, a deviation of 0.02.
    a, b = normal(300, 100, 1, 2.0), normal(300, 100, 2)
    assert c2st_boosting(a, b) > 0.79 > c2st(a, b)


# --- modes, reference values, the whole set -------------------------------------------------------------------------

EIGHT = Modes.at([[2 * np.cos(k * np.pi / 4), 2 * np.sin(k * np.pi / 4)] for k in range(8)])


@pytest.mark.parametrize("removed", [(), (2,), (0, 3, 7)])
@pytest.mark.parametrize("by", ["centres", "labels"])
def test_modes_removed_from_eight_gaussians_are_missed(removed, by):
    labelled = lambda seed: motes.data.make_labelled_shape("eight_gaussians", 4000, seed=seed)
    x, labels = labelled(1)
    modes = EIGHT if by == "centres" else Modes.labelled(*labelled(2))
    found = mode_coverage(x[~np.isin(labels, removed)], modes)
    assert found.missed == found.missed.low == found.missed.high == len(removed)
    # Each mode removed leaves 1/8, which the others share. Shares of 2500 rows: deviations up to 0.007 each.
    assert abs(found.distance - len(removed) / 8) < 0.04
    assert found.distance.low <= len(removed) / 8 <= found.distance.high
    for k, share in enumerate(found.shares):
        truth = 0 if k in removed else 1 / (8 - len(removed))
        assert abs(share - truth) < 0.035


def test_a_mode_with_too_small_a_share_is_not_missed_but_is_misplaced_mass():
    x, labels = motes.data.make_labelled_shape("eight_gaussians", 4000, seed=1)
    found = mode_coverage(x[(labels != 2) | (np.arange(4000) % 2 == 0)], EIGHT)
    assert found.missed == 0 and abs(found.shares[2] - 1 / 15) < 0.025 and found.distance.low > 0


@pytest.mark.slow
def test_the_whole_set_beside_its_reference_values():
    draws = [motes.make_shape("eight_gaussians", 600, seed=s) for s in (1, 2, 3)]
    rows = compare(draws[0] * 1.3, draws[1], draws[2], draws[1], modes=EIGHT)
    names = (
        "sliced_w2 w2 energy_distance mmd_squared c2st c2st_boosting precision recall density coverage mode_distance"
    )
    assert [row.metric.name for row in rows] == [row.reference.name for row in rows] == [*names.split(), "modes_missed"]
    worse = {row.metric.name: row.metric - row.reference for row in rows}
    assert all(worse[name] > 0 for name in names.split()[:6])
    assert all(worse[name] < 0 for name in ("precision", "recall", "density", "coverage"))
    assert all(row.metric.p_value < 0.01 < row.reference.p_value for row in rows if row.metric.p_value is not None)
    # Each is what the metric alone says.
    assert repr(rows[2].metric) == repr(energy_distance(draws[0] * 1.3, draws[1]))
    assert repr(rows[3].reference) == repr(mmd_squared(draws[2], draws[1]))
