"""Every metric: brute force and other libraries, size and coverage by simulation, samples whose answer is known.

Each simulation has a fixed seed. Over 500 nulls a test of size exactly 5 % rejects fewer than 15 or more than 35 times
with probability 0.03; an interval that covers 95 in 100 covers fewer than 180 of 200 or all with probability 0.0012.
"""

import copy
import json
import os
import pickle
import signal
import threading
import warnings

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

import motes
from motes.evaluation import Metric, Modes, c2st, c2st_boosting, compare, energy_distance, metrics, mode_coverage
from motes.evaluation import pairs as permutations
from motes.evaluation.metrics import mmd_squared, negative_log_likelihood, prdc, sliced_w2
from motes.evaluation.pairs import Pair

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # its docstrings hold escapes that Python warns of when it first compiles them
    import ot


TESTS = {"energy": energy_distance, "mmd": mmd_squared, "knn": c2st, "boosting": c2st_boosting}
OVERLAPS = {
    name: lambda a, b, k=k: prdc(a, b)[k] for k, name in enumerate(("precision", "recall", "density", "coverage"))
}
SCALED = TESTS | OVERLAPS  # columns are divided by their standard deviation
ALL = {"sliced_w2": sliced_w2} | SCALED


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
    assert sliced_w2(b, b) < 1e-12
    # So are the same rows taken twice: sets of different sizes, but one distribution.
    assert sliced_w2(np.concatenate([b, b]), b) < 1e-12
    assert energy_distance(b, b) < 1e-7 and mmd_squared(b, b) < 0  # unbiased: rows of a are nearer to their own copies
    precision, recall, density, coverage = prdc(b, b)
    assert precision == recall == coverage == 1 and density >= 1


def test_known_values_of_gaussians_far_apart():
    a, b = normal(400, 2, seed=1, shift=50), normal(400, 2, seed=2)
    # Shifts are in units of a deviation, known to 1 / sqrt(2 n): 0.035, so 5 deviations are 0.18 of one.
    assert abs(sliced_w2(a, b) * 2**0.5 / 50 - 1) < 0.18  # the mean over directions of cos^2 is 1/2
    assert abs(energy_distance(a, b) ** 2 / (2 * 50) - 1) < 0.2  # 2 E|a - b| takes over; E|a - a'| is 1.8 of 100
    assert c2st(a, b) == 1 and c2st_boosting(a, b) > 0.99  # its cuts fall on quantiles
    assert prdc(a, b).precision == prdc(a, b).coverage == prdc(a, b).density == prdc(a, b).recall == 0


# --- other libraries -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m"), [(30, 30), (30, 45), (7, 100)])
def test_energy_distance_is_scipys_on_a_line(n, m):
    a, b = normal(n, 1, 1, 0.3), 2 * normal(m, 1, 2)
    assert np.isclose(energy_distance(a, b), stats.energy_distance(a[:, 0] / b.std(), b[:, 0] / b.std()), atol=1e-9)


def test_the_interval_of_the_energy_distance_is_that_of_a_jackknife():
    a, b = normal(150, 1, 1, 3), normal(100, 1, 2)
    square = lambda a, b: stats.energy_distance(a[:, 0] / b.std(), b[:, 0] / b.std()) ** 2
    without = [square(np.delete(a, j, 0), b) for j in range(150)], [square(a, np.delete(b, j, 0)) for j in range(100)]
    error = np.sqrt(sum((len(one) - 1) * np.var(one) for one in without))
    found = energy_distance(a, b)
    assert found.high**2 - found**2 == pytest.approx(1.96 * error, rel=0.1)


@pytest.mark.parametrize(("n", "m"), [(6, 6), (3, 4), (1, 5), (7, 9)])
def test_sliced_w2_on_a_line_is_that_of_the_cheapest_matching(n, m):
    a, b = normal(n, 1, 1, 0.5), normal(m, 1, 2)
    cost = (np.repeat(a, m, axis=0) - np.repeat(b, n, axis=0)[:, 0]) ** 2  # copies, so that both are equally many
    assert np.isclose(sliced_w2(a, b) ** 2 * b.var(), cost[linear_sum_assignment(cost)].mean(), rtol=1e-9)


@pytest.mark.parametrize(("n", "m"), [(50, 50), (50, 70)])
def test_sliced_w2_is_that_of_pot(n, m):
    a, b = normal(n, seed=1, shift=0.5), normal(m, seed=2)
    angle = np.pi * (np.arange(200) + 0.5) / 200
    expected = ot.sliced_wasserstein_distance(a, b, projections=np.stack([np.cos(angle), np.sin(angle)]))
    assert np.isclose(sliced_w2(a, b) * np.sqrt(b.var(axis=0).mean()), expected, atol=1e-9)


def test_a_shift_in_many_columns_costs_its_length_over_the_root_of_their_number():
    b, shift = normal(100, 10), np.arange(10.0)
    # (u . shift)^2 / |shift|^2 is Beta(1/2, 9/2): mean 0.1, deviation 0.122; 5 deviations of 4000 are 0.0097.
    square = sliced_w2(b + shift, b, directions=4000) ** 2 * b.var(axis=0).mean() / (shift @ shift)
    assert abs(square - 0.1) < 0.0097


@pytest.mark.parametrize("distance", [0.0, 0.5, 2.0])
def test_near_gaussians_are_told_apart_as_well_as_bayes_rule_can(distance):
    # The best rule for N(0, I) against N(distance e_1, I) is right with probability Phi(distance / 2).
    measured, best = c2st(normal(4000, 2, 1, distance), normal(4000, 2, 2)), stats.norm.cdf(distance / 2)
    # 5 deviations of 8000 answers are 0.028; fifty voters lose about 0.01 to the best rule.
    assert best - 0.04 < measured < best + 0.028


def test_accuracy_is_balanced_for_sets_of_different_sizes():
    assert abs(c2st(normal(4000, seed=1), normal(1000, seed=2)) - 0.5) < 0.06  # 2000 answers, as above


@pytest.mark.parametrize(("n", "m"), [(40, 40), (40, 60)])
def test_mmd_squared_is_the_u_statistic_written_out(n, m):
    a, b = normal(n, 3, 1, 0.5), normal(m, 3, 2) * np.array([1, 10, 0.1])
    a, b = a / b.std(axis=0), b / b.std(axis=0)
    widths = np.median(cdist(b, b)[np.triu_indices(m, 1)]) * 2.0 ** np.arange(-2, 3)
    k = lambda x, y: np.mean([np.exp(-(cdist(x, y) ** 2) / (2 * w**2)) for w in widths], axis=0)
    within = lambda x: (k(x, x).sum() - len(x)) / (len(x) * (len(x) - 1))
    found = mmd_squared(a, b)
    assert np.isclose(found, within(a) + within(b) - 2 * k(a, b).mean(), atol=1e-12)
    assert np.isclose(found.high - found, found - found.low) and found.low < found


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


@pytest.mark.usefixtures("keyboard")
def test_ctrl_c_leaves_no_thread_of_a_search_behind():
    """Such a thread goes on with memory that is free, and can crash the process. A fault shows in two of three runs."""
    a, threads = np.random.default_rng(0).normal(size=(2000, 30)), threading.active_count()

    def search(press):
        press.start()
        while True:
            prdc(a, a)

    for _ in range(5):
        press = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            search(press)
        press.join()
        assert threading.active_count() == threads


def test_the_interval_of_the_density_is_its_spread():
    # 60 pairs: the sd of the density has a relative error of 9 %, so that 30 % are passed once in 1,000 seeds.
    rng = np.random.default_rng(577)
    found = [prdc(rng.normal(size=(150, 2)), rng.normal(size=(250, 2))).density for _ in range(60)]
    half = np.mean([(one.high - one.low) / 2 for one in found])
    assert half == pytest.approx(1.96 * np.std(found, ddof=1), rel=0.3)


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
def test_blocks_of_rows_keep_the_size_also_where_some_rows_are_left_out(monkeypatch):
    # What sets of more than 10,000 rows get, on fewer rows.
    monkeypatch.setattr(permutations, "BLOCKS", 50)
    monkeypatch.setattr(metrics, "BLOCKS", 50)
    monkeypatch.setattr(metrics, "KERNEL_ROWS", 100)
    assert 0.03 <= rejections(mmd_squared, 150, 150) <= 0.07
    a, b = normal(600, seed=1, shift=1), normal(900, seed=2)
    few = mmd_squared(a, b)
    monkeypatch.undo()
    assert 0 < abs(few - mmd_squared(a, b)) < few.high - few.low  # 4 standard errors


# --- coverage of the intervals -------------------------------------------------------------------------------------


def distance_apart(shift):
    """The energy distance of two normal laws on a line."""
    mean = lambda mu: 2 * np.exp(-(mu**2) / 4) / np.sqrt(np.pi) + mu * (1 - 2 * stats.norm.cdf(-mu / 2**0.5))
    return np.sqrt(2 * mean(shift) - 2 * mean(0))


def mode_shares(rng):
    modes = Modes.at(np.arange(8.0)[:, None], np.full(8, 1 / 8))
    return mode_coverage(rng.integers(8, size=(400, 1)).astype(float), modes)


INTERVALS = {  # a draw, and its true value
    # A shift by 2 of two columns: 2 / sqrt(2), for an exact unit of 1. The finite sample adds 0.005.
    "sliced_w2": (lambda rng: sliced_w2(rng.standard_normal((300, 2)) + np.array([2, 0]),
                                        rng.standard_normal((400, 2)), directions=20), 2**0.5),
    "energy near": (lambda rng: energy_distance(rng.standard_normal((200, 1)) + 1, rng.standard_normal((200, 1))),
                    distance_apart(1)),
    "energy far": (lambda rng: energy_distance(rng.standard_normal((200, 1)) + 3, rng.standard_normal((200, 1))),
                   distance_apart(3)),
    "likelihood": (lambda rng: negative_log_likelihood(stats.norm.logpdf(rng.standard_normal(50))),
                   0.5 * np.log(2 * np.pi * np.e)),
    "mode share": (lambda rng: mode_shares(rng).shares[3], 1 / 8),
    "mode distance": (lambda rng: mode_shares(rng).distance, 0.0),  # at least 95 in 100, by the triangle inequality
}  # fmt: skip


@pytest.mark.slow(but=["likelihood"])
@pytest.mark.parametrize("name", INTERVALS)
def test_intervals_cover(name):
    draw, truth = INTERVALS[name]
    metrics = [draw(np.random.default_rng([7, i])) for i in range(200)]
    assert 180 <= sum(m.low <= truth <= m.high for m in metrics) < (201 if name == "mode distance" else 200)


# --- distributions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_the_order_of_rows_does_not_matter(name):
    a, b, rng = normal(120, 3, 1, 0.5), normal(90, 3, 2), np.random.default_rng(3)
    expected = repr(ALL[name](a, b))  # every bit of the value, the interval and the p-value
    for _ in range(2):
        assert repr(ALL[name](rng.permutation(a), rng.permutation(b))) == expected


@pytest.mark.parametrize("name", SCALED)
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


@pytest.mark.parametrize("name", SCALED)
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
    (lambda: c2st(normal(9), normal(50)), "9 rows are too few for 5 folds; expected at least 10"),
    (lambda: c2st_boosting(normal(3), normal(9)), "3 rows are too few for 2 folds"),
    (lambda: sliced_w2(normal(3), normal(3), seed=-1), "seed = -1"),
    (lambda: sliced_w2(normal(3), normal(3), directions=0), "directions = 0"),
    *[(lambda same=same: sliced_w2(normal(5), same), "the second set has no spread")
      for same in (np.zeros((1, 2)), np.ones((5, 2)), np.full((7, 2), 0.1))],  # the last one has a variance of 1e-34
    *[(lambda x=x, y=y: c2st(np.zeros(x), np.zeros(y)), r"points have shapes .* expected \(n, d\) and \(m, d\)")
      for x, y in (((5,), (5,)), ((5, 2), (5, 3)), ((0, 2), (5, 2)), ((5, 2), (0, 2)))],
    (lambda: c2st(normal(20), np.where(np.arange(40).reshape(20, 2) == 7, np.nan, 0.0)),
     "the second set contains nan in row 3, column 1"),
    (lambda: sliced_w2(np.where(np.arange(40).reshape(20, 2) == 7, np.inf, 0.0), normal(20)),
     "the first set contains inf in row 3, column 1"),
    (lambda: negative_log_likelihood([1.0]), "at least 2 rows"),
    (lambda: negative_log_likelihood([0.0, -np.inf]), "row 1 is -inf"),
    (lambda: Modes.at([[0.0], [1.0]], [0.5, 0.6]), "with sum 1"),
    (lambda: Modes.at([0.0, 1.0]), "the set of centres has shape"),
    (lambda: Modes.labelled(normal(3), [0.0, 1.0, 1.0]), "labels are float64"),
    (lambda: compare(normal(20), normal(20), normal(19), normal(20)), "expected equal sizes"),
]  # fmt: skip


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
    names = "sliced_w2 energy_distance mmd_squared c2st c2st_boosting precision recall density coverage mode_distance"
    assert [row.metric.name for row in rows] == [row.reference.name for row in rows] == [*names.split(), "modes_missed"]
    worse = {row.metric.name: row.metric - row.reference for row in rows}
    assert all(worse[name] > 0 for name in names.split()[:5])
    assert all(worse[name] < 0 for name in ("precision", "recall", "density", "coverage"))
    assert all(row.metric.p_value < 0.01 < row.reference.p_value for row in rows if row.metric.p_value is not None)
    # Each is what the metric alone says.
    assert repr(rows[1].metric) == repr(energy_distance(draws[0] * 1.3, draws[1]))
    assert repr(rows[2].reference) == repr(mmd_squared(draws[2], draws[1]))
