"""The family of tests behind the verdicts on points: exact for any distribution, and able to see what it says.

Simulations have a fixed seed and state how often a right test would fail them.
"""

import numpy as np
import pytest
from scipy.stats import binom

import motes
from motes.evaluation import Modes, evaluate_points, mode_coverage
from motes.evaluation import pairs as permutations
from motes.evaluation.metrics import METRICS, metrics_for
from motes.evaluation.pairs import Pair, Permutations
from motes.evaluation.points import OF_THE_MODEL, Single, compute_tests, of_likelihoods
from motes.evaluation.results import ALPHA, NO_DIFFERENCE, Family, Metric, Row

EIGHT = Modes.at(motes.truth("eight_gaussians").modes)


def exchanged(pair):
    return {one.name: one.exchanged(pair) for one in metrics_for(pair) if not one.alone}


def drawn(seed, n=200, dim=2):
    return np.random.default_rng([86, seed]).standard_normal((n, dim))


# --- permutations ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m"), [(10, 10), (60, 60), (201, 201), (950, 450), (2, 3)])
def test_every_exchange_keeps_the_sizes_and_what_was_drawn_comes_first(n, m):
    shuffled = Permutations.of(n, m, np.random.default_rng(0))
    assert shuffled.rows.shape == (1 + permutations.PERMUTATIONS, n + m)
    assert shuffled.rows[0].tolist() == [True] * n + [False] * m
    assert (shuffled.rows.sum(axis=1) == n).all()
    sizes = np.bincount(shuffled.block, minlength=shuffled.first.shape[1])
    assert len(set(sizes[:-2])) == 1 and (shuffled.first[:, -2:] == [True, False]).all()
    for fold in range(shuffled.fold.max() + 1):  # and in each fold
        assert len(set(shuffled.first[:, shuffled.fold == fold].sum(axis=1))) == 1


@pytest.mark.parametrize(("n", "m"), [(60, 60), (80, 50)])
def test_permuted_values_are_those_of_the_metrics_of_exchanged_rows(n, m):
    a, b = drawn(1, n), 1.3 * drawn(2, m)
    pair = Pair.of(a, b, modes=EIGHT)
    permuted = exchanged(pair)
    pooled = np.concatenate([pair.a, pair.b])
    for k in (0, 1, 7):
        first = pair.permutations.rows[k]
        x, y = pooled[first], pooled[~first]
        other = Pair(x, y, 0)
        scaled = np.concatenate(pair.scaled)
        vars(other)["scaled"] = scaled[first], scaled[~first]  # all exchanges have the units of what was drawn
        for name in ("precision", "recall", "density", "coverage"):
            within = 0.06 if name == "density" else 0.005  # a ball of many rows is cut short
            assert permuted[name][k] == pytest.approx(METRICS[name].measured(other), abs=within), name
        found = mode_coverage(x, EIGHT)
        assert permuted["mode_distance"][k] == pytest.approx(found.distance, abs=1e-12)
        assert permuted["modes_missed"][k] == found.missed
    metrics = {name: float(METRICS[name].measured(pair)) for name in permuted}
    assert permuted["c2st"][0] == pytest.approx(metrics["c2st"], abs=1e-12)
    assert np.sqrt(permuted["energy_distance"][0]) == pytest.approx(metrics["energy_distance"], abs=1e-9)
    assert np.sqrt(permuted["sliced_w2"][0]) == pytest.approx(metrics["sliced_w2"], rel=0.02)  # fewer directions


# --- the family -----------------------------------------------------------------------------------------------------


def judge(permuted, singles=()):
    """The tests of metrics by name, from their permuted values and from tests of their own."""
    known = METRICS | OF_THE_MODEL
    row = Row(Metric("some", 0.5, 0.4, 0.6), Metric("some", 0.5, 0.4, 0.6))
    rows = {known[name]: row for name in (*permuted, *singles)}
    found = compute_tests(rows, {METRICS[name]: one for name, one in permuted.items()}, dict(singles), brief=False)
    return {one.name: test for one, test in found.items()}


def test_scores_that_say_the_same_cost_nothing_and_others_cost_at_most_bonferroni():
    scores = np.random.default_rng(0).standard_normal((1000, 20))
    scores[0] = [2.8] + [1.0] * 19
    p_of = lambda scores: Family.of(scores[1:]).p_values(scores[0])[0]
    alone = p_of(scores[:, :1])
    assert alone == np.mean(scores[:, 0] >= 2.8) and p_of(scores[:, [0] * 5]) == alone < p_of(scores) <= 20 * alone


def test_a_metric_with_heavy_tails_does_not_drown_another():
    rng = np.random.default_rng(1)
    calm, wild = rng.standard_normal(200) ** 2, rng.standard_cauchy(200) ** 2
    calm[0] = 80.0
    assert judge({"energy_distance": calm, "mmd_squared": wild})["energy_distance"].p_value <= 0.01


def test_equal_values_say_nothing():
    found = judge({"mmd_squared": np.full(200, 0.3) + 1e-17 * np.arange(200)})["mmd_squared"]
    assert found.p_value == 1 and found.detectable is None


def test_single_tests_join_the_family_by_holm():
    values = np.random.default_rng(2).standard_normal(200) ** 2
    values[0] = 0.0
    singles = {"c2st_boosting": Single(0.001, 0.01, 0.5, 0.53), "excess_loss": Single(0.4, 0.02, 0.2, 0.205)}
    found = judge({"mmd_squared": values}, singles)
    assert found["c2st_boosting"].p_value == pytest.approx(0.001 * (0.3 + 0.1 + 0.05) / 0.1)
    assert found["excess_loss"].p_value > 0.4
    assert 0.5 < found["c2st_boosting"].detectable < 0.55 and found["excess_loss"].detectable > 0.2


def test_likelihoods_of_the_same_rows_are_compared_row_by_row():
    best = drawn(3, 500, 1)[:, 0] * 5
    close = best - 0.05 - 0.01 * drawn(4, 500, 1)[:, 0]
    assert of_likelihoods(close, best, paired=True).p_value < 1e-6
    assert of_likelihoods(close, best[::-1].copy(), paired=False).p_value > 0.05
    assert of_likelihoods(best, best, paired=True).p_value == 1
    assert of_likelihoods(best - 1e-5, best, paired=True).p_value == 1  # an error of the solver is no difference


def test_an_excess_is_found_when_it_is_surely_above_what_is_small():
    assert Single.above(0.19, 0.01, 0.2).p_value > 0.5
    assert Single.above(0.3, 0.01, 0.2).p_value < 1e-6
    assert Single.above(0.0, 0.0, 0.2).p_value == 1 and Single.above(0.3, 0.0, 0.2).p_value == 0


# --- what is found --------------------------------------------------------------------------------------------------


def found_by(samples, reference, other, **options):
    return {entry.name: entry for entry in evaluate_points(samples, reference, other, **options).entries}


@pytest.mark.slow
def test_a_few_rows_far_out_are_found():
    # D5.3: 30 times as far as a real draw, by a few rows.
    rng = np.random.default_rng(5)
    samples, reference, other = (motes.make_shape("swiss_roll", 4000, seed=seed) for seed in range(3))
    samples = samples + 0.02 * rng.standard_cauchy((4000, 2))
    entry = found_by(samples, reference, other, brief=True)["sliced_w2"]
    assert entry.value > 20 * entry.reference_value and entry.value > entry.chance[1]
    assert entry.verdict.severity == "large" and entry.verdict.p_value <= 0.025


@pytest.mark.parametrize(("real", "made"), [(3, 1.5), (1.5, 30)])
def test_tails_that_differ_are_found_in_both_directions(real, made):
    rng = np.random.default_rng(6)
    sets = [rng.standard_t(degrees, (2000, 2)) for degrees in (made, real, real)]
    assert found_by(*sets, brief=True)["sliced_w2"].verdict.differs


def with_strays(x, share, seed):
    """`x` (n, 2) with a share of its rows anywhere in the box around it."""
    rng, count = np.random.default_rng(seed), round(share * len(x))
    return np.concatenate([rng.uniform(x.min(axis=0), x.max(axis=0), (count, 2)), x[count:]])


@pytest.mark.parametrize(("share", "differs"), [(0.0, False), (0.01, True)])
def test_the_quick_measures_see_one_stray_in_a_hundred(share, differs):
    # D13: 1.1 % of the samples lay between the arms, and the verdict of `motes train` was that no difference was found.
    samples, *real = (motes.make_shape("swiss_roll", 5000, seed=seed) for seed in (11, 12, 13))
    found = evaluate_points(with_strays(samples, share, 14), *real, brief=True)
    none = "No difference between synthetic and real rows was found by sliced_w2, c2st, precision, recall, density and"
    strays = "The synthetic rows differ a little from the real ones in 1 of 4 measures of coverage (precision)."
    assert (found.severity != "good") is differs and found.headline.startswith(strays if differs else none)


def test_one_row_alone_is_no_difference_and_the_verdict_says_why():
    samples, *real = (drawn(seed, 1000) for seed in (7, 8, 9))
    samples[0] = 60.0
    entry = found_by(samples, *real, brief=True)["sliced_w2"]
    assert entry.value > 10 * entry.reference_value and not entry.verdict.differs
    assert "it could be chance" in entry.verdict.text


@pytest.mark.slow
def test_copies_of_the_reference_rows_are_suspected():
    reference, other = drawn(10, 300), drawn(11, 300)
    copies = reference + 1e-6 * drawn(12, 300)
    entry = found_by(copies, reference, other)["c2st"]
    assert entry.value < 0.5 and "copies" in entry.verdict.text


# --- size and power -------------------------------------------------------------------------------------------------

HEAVY = {
    "normal": lambda rng, n: rng.standard_normal((n, 2)),
    "Cauchy": lambda rng, n: rng.standard_cauchy((n, 2)),
    "ties": lambda rng, n: rng.standard_normal((n, 2)) * (rng.random((n, 2)) < 0.5),
}


def alarms(draw, repeats, rows, seed, **options):
    rng = np.random.default_rng([97, seed])
    sets = ([draw(rng, rows) for _ in range(3)] for _ in range(repeats))
    return sum(any(one.verdict.differs for one in evaluate_points(*some, **options).entries) for some in sets)


def between(repeats, share, error=0.001):
    """Counts that a test of this size leaves with probability `error`."""
    return binom.ppf(error / 2, repeats, share), binom.isf(error / 2, repeats, share)


@pytest.mark.slow
@pytest.mark.long(but=["ties"])
@pytest.mark.parametrize("name", HEAVY)
def test_real_draws_raise_an_alarm_in_at_most_one_of_twenty_closing_lines(name):
    _, high = between(150, ALPHA)  # wrong once in 1000 seeds
    assert alarms(HEAVY[name], 150, 100, seed=len(name), brief=True) <= high


@pytest.mark.long
@pytest.mark.parametrize("name", HEAVY)
def test_real_draws_raise_an_alarm_in_one_of_twenty_evaluations(name):
    low, high = between(300, ALPHA)  # wrong once in 1000 seeds
    assert low <= alarms(HEAVY[name], 300, 150, seed=len(name)) <= high


@pytest.mark.long
@pytest.mark.parametrize("rows", [100, 300])
def test_what_would_have_been_seen_is_seen_in_80_of_100_cases(rows):
    # The size of a shift for which the verdicts of real draws say that they would have seen it; 0.6 to 0.95 of 60
    # cases, which a power of 0.8 leaves with probability 0.001.
    rng = np.random.default_rng(98)
    normal = HEAVY["normal"]
    nulls = [found_by(*(normal(rng, rows) for _ in range(3)), brief=True)["sliced_w2"] for _ in range(20)]
    assert all(f"{one.verdict.detectable:.2g} standard deviations" in one.sentence for one in nulls
               if one.verdict.text == NO_DIFFERENCE)  # fmt: skip
    by = np.median([one.verdict.detectable for one in nulls])
    shift = np.array([np.sqrt(2) * by, 0.0])  # the sliced distance of a shift s is s / sqrt(2)
    hits = sum(found_by(normal(rng, rows) + shift, normal(rng, rows), normal(rng, rows), brief=True)
               ["sliced_w2"].verdict.differs for _ in range(60))  # fmt: skip
    assert 36 <= hits <= 57
