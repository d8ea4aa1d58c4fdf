"""The measures of a table on arrays: SciPy, scikit-learn and brute force as references, sizes by simulation.

Each simulation has a fixed seed, and says how often it would fail by chance.
"""

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist
from sklearn.metrics import r2_score, roc_auc_score

from motes.errors import UsageError
from motes.evaluation import associations as interactions
from motes.evaluation.associations import FeatureLayout, associations, compare_associations
from motes.evaluation.marginals import distance, normal_scores
from motes.evaluation.metrics import c2st_of_columns
from motes.evaluation.posteriors import Calibration
from motes.evaluation.privacy import (
    ClosestRecords,
    Copies,
    Task,
    Utility,
    closest_distances,
    closest_records,
    count_copies,
    fingerprints,
    score_guesses,
    utility,
    weighted_auc,
)
from motes.evaluation.results import Adjustment, Metric, Verdict
from motes.evaluation.tables import ClassifierResult, likelihoods

N = 300


def rng_of(seed):
    return np.random.default_rng([2718, seed])


# --- single columns -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("digits", [1, 16])  # with ties and without
def test_distances_are_those_of_scipy_and_of_the_formula(digits):
    rng = rng_of(1)
    a, b = rng.normal(0.1, 1, 150).round(digits), rng.normal(5, 2, 330).round(digits) / 2 - 2.4
    assert distance(a, b, rng, ordered=True)[0] == pytest.approx(stats.ks_2samp(a, b).statistic, abs=1e-12)
    codes = np.repeat(np.arange(4.0), [40, 30, 20, 10]), np.repeat(np.arange(1.0, 5.0), [50, 60, 10, 30])
    p, q = np.array([0.4, 0.3, 0.2, 0.1, 0]), np.array([0, 50, 60, 10, 30]) / 150
    assert distance(*codes, rng, ordered=False)[0] == pytest.approx(0.5 * np.abs(p - q).sum())


@pytest.mark.parametrize("ordered", [False, True])
def test_the_distance_by_chance_is_that_of_two_draws(ordered):
    # The mean of 400 distances has a relative standard error below 2 %.
    rng, p = rng_of(4), np.array([0.4, 0.3, 0.2, 0.1])
    draw = lambda n: rng.choice(4, n, p=p).astype(float)
    found = np.array([distance(draw(300), draw(80), rng, ordered=ordered) for _ in range(400)])
    assert found[:, 1].mean() == pytest.approx(found[:, 0].mean(), rel=0.1)
    assert distance(draw(1200), draw(320), rng, ordered=ordered)[1] == pytest.approx(found[:, 0].mean() / 2, rel=0.15)


def test_normal_scores_are_those_of_ranks():
    x = rng_of(19).permutation(np.exp(rng_of(20).normal(size=501)))
    scores = normal_scores(x, x)
    assert scores == pytest.approx(stats.norm.ppf((stats.rankdata(x) - 0.5) / 501))
    assert normal_scores(x**3, x**3) == pytest.approx(scores)  # an order is all that counts
    ties = normal_scores(np.array([1.0, 2, 99, -99, np.nan]), np.array([1.0, 1, 1, 2]))
    assert ties == pytest.approx(stats.norm.ppf([3 / 8, 7 / 8, 7 / 8, 3 / 8, np.nan]), nan_ok=True)


# --- pairs of columns -----------------------------------------------------------------------------------------------


def mixed(n=N, seed=0):
    """Two numbers and two columns of labels that hang together."""
    rng = rng_of(100 + seed)
    a = rng.normal(size=n)
    b = a + rng.normal(size=n).round(1)
    c = np.digitize(a + rng.normal(size=n), [-1, 0.5])
    d = np.where(rng.random(n) < 0.6, c, rng.integers(0, 3, n))
    return np.stack([a, b, c, d], axis=1).astype(float)


DISCRETE, LEVELS = np.array([False, False, True, True]), (0, 0, 3, 3)


def compare(a, b, rng):
    gaps = np.isnan(np.concatenate([a, b])).any(axis=0)
    return compare_associations(tuple("abcd"), FeatureLayout(DISCRETE, LEVELS, gaps), a, b, rng)


def test_associations_are_those_of_scipy():
    x = mixed()
    found = associations(x, DISCRETE, LEVELS)
    assert np.array_equal(found, found.T) and np.array_equal(np.diag(found), np.ones(4))
    assert found[0, 1] == pytest.approx(stats.spearmanr(x[:, 0], x[:, 1]).statistic, abs=1e-12)
    # eta^2 of the ranks is H / (n - 1) of Kruskal and Wallis.
    for j in (0, 1):
        h = stats.kruskal(*(x[x[:, 2] == k, j] for k in range(3))).statistic
        corrected = 1 - (1 - h / (N - 1)) * (N - 1) / (N - 3)
        assert found[j, 2] == pytest.approx(np.sqrt(corrected), abs=1e-10)
    table = stats.contingency.crosstab(x[:, 2], x[:, 3]).count
    phi2 = stats.contingency.association(table, method="cramer") ** 2 * 2
    corrected = (phi2 - 4 / (N - 1)) / (3 - 4 / (N - 1) - 1)
    assert found[2, 3] == pytest.approx(np.sqrt(corrected), abs=1e-12)


def test_an_association_is_that_of_the_rows_where_both_are_known():
    x = mixed()
    gone = rng_of(6).random(N) < 0.3
    holes = x.copy()
    holes[gone, 3] = np.nan
    found = associations(holes, DISCRETE, LEVELS)
    assert found[2, 3] == pytest.approx(associations(x[~gone], DISCRETE, LEVELS)[2, 3], abs=1e-12)
    assert found[0, 1] == pytest.approx(associations(x, DISCRETE, LEVELS)[0, 1], abs=1e-12)


def test_a_column_that_does_not_vary_has_no_association():
    x = mixed()
    x[:, 0], x[:, 2] = 7.0, 1.0
    found = associations(x, DISCRETE, LEVELS)
    off = ~np.eye(4, dtype=bool)
    assert np.isnan(found[0][off[0]]).all() and np.isnan(found[2][off[2]]).all()
    x[:, 3] = np.nan
    assert np.isnan(associations(x, DISCRETE, LEVELS)[1][[0, 2, 3]]).all()
    with np.errstate(all="raise"):
        nothing = compare(x, x[::-1], rng_of(30))
    assert nothing.distance[:3].max() == 0 and nothing.p_value == 1


@pytest.mark.slow
def test_the_mean_difference_by_chance_is_that_of_two_draws(monkeypatch):
    # The mean of 40 differences has a relative standard error of about 5 %.
    monkeypatch.setattr(interactions, "PERMUTATIONS", 3)
    found = [compare(mixed(150, 60 + k), mixed(250, 160 + k), rng_of(k)) for k in range(40)]
    expected = np.mean([one.mean_difference for one in found])
    assert np.mean([one.reference_value for one in found]) == pytest.approx(expected, rel=0.2)


def test_a_broken_pair_is_found_and_named():
    real, synthetic = mixed(seed=1), mixed(seed=2)
    synthetic[:, 1] = rng_of(7).permutation(synthetic[:, 1])
    found = compare(synthetic, real, rng_of(8))
    assert found.p_values[0] == found.p_value < 0.01 and found.p_values[5] > 0.01  # (0, 1) and (2, 3)
    assert found.distance[0] == pytest.approx(0.7, abs=0.15) and found.distance[5] < 0.2
    assert found.synthetic[0, 1] == pytest.approx(0, abs=0.2) and found.real[0, 1] > 0.5
    gaps = np.abs(found.synthetic - found.real)[np.triu_indices(4, 1)]
    assert found.mean_difference == pytest.approx(gaps.mean()) and found.reference_value < 0.1


def test_a_pair_with_the_same_association_in_which_other_values_go_together_is_found():
    real, synthetic = mixed(seed=1), mixed(seed=2)
    synthetic[:, 3] = (synthetic[:, 3] + 1) % 3
    found = compare(synthetic, real, rng_of(9))
    assert abs(found.synthetic[2, 3] - found.real[2, 3]) < 0.1
    assert found.p_values[5] < 0.01 and found.distance[5] > 0.5


def test_the_blocks_of_permuted_rows_are_as_large_as_the_two_tables():
    # By chance, Q of two independent numbers is (1 / n + 1 / m) X for X ~ chi^2_1; the mean of cbrt(X) is 0.8024.
    x, layout = rng_of(10).normal(size=(2000, 2)), FeatureLayout(np.zeros(2, bool), (0, 0), np.zeros(2, bool))
    found = compare_associations(("a", "b"), layout, x[:1500], x[1500:], rng_of(11))
    assert found.centre == pytest.approx([0.8024 * np.cbrt(1 / 1500 + 1 / 500)], rel=0.1)


@pytest.mark.long
def test_a_detectable_association_is_found_in_80_of_100_cases():
    # Found in 80 of 100 cases: fewer than 24 or more than 39 of 40 with probability 0.005.
    def pair(n, k, rho):
        x = rng_of(5000 + k).normal(size=(n, 2))
        return np.stack([x[:, 0], rho * x[:, 0] + np.sqrt(1 - rho**2) * x[:, 1]], axis=1)

    layout = FeatureLayout(np.zeros(2, bool), (0, 0), np.zeros(2, bool))

    both = lambda a, b, k: compare_associations(("a", "b"), layout, a, b, rng_of(k))
    size = float(both(pair(400, 1, 0), pair(200, 2, 0), 3).detectable(0.05)[0])
    found = [both(pair(400, 2 * k, size), pair(200, 2 * k + 1, 0), k).p_value <= 0.05 for k in range(2, 42)]
    assert 24 <= sum(found) <= 39


# --- a classifier ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [False, True])
def test_the_discriminative_column_is_named(missing):
    rng = rng_of(9)
    a, b = mixed(seed=3), mixed(seed=4)
    other = rng.random(N) < 0.5
    a[:, 3] = np.where(other, np.nan if missing else (a[:, 3] + 1) % 3, a[:, 3])
    accuracy, importance = c2st_of_columns(a, b, DISCRETE, rng)
    assert accuracy.p_value < 0.01 and importance.argmax() == 3


# --- utility --------------------------------------------------------------------------------------------------------


def test_the_area_under_the_curve_is_that_of_scikit_learn():
    rng = rng_of(11)
    score, positive = rng.normal(size=200).round(1), rng.random(200) < 0.3
    weights = rng.multinomial(200, np.full(200, 1 / 200), 5).astype(float)
    expected = [roc_auc_score(positive, score, sample_weight=row) for row in weights]
    assert weighted_auc(score, positive, weights) == pytest.approx(expected, abs=1e-12)


def test_scores_are_those_of_scikit_learn():
    rng = rng_of(12)
    y, ones = rng.integers(0, 3, 200).astype(float), np.ones((1, 200))
    guess = rng.dirichlet(np.ones(3), 200)
    assert score_guesses(guess, y, ones, 3)[0] == pytest.approx(roc_auc_score(y, guess, multi_class="ovr"))
    numbers, guessed = rng.normal(size=(2, 200))
    assert score_guesses(guessed, numbers, ones, None)[0] == pytest.approx(r2_score(numbers, guessed))


def task_of(x, target, classes):
    others = np.arange(4) != target
    return Task(x[:, others], x[:, target]), DISCRETE[others], classes


def test_the_value_of_a_utility_is_that_of_the_test_rows_themselves():
    # Each fold's trees rank four cells alike, so that their AUC is that of the cell; of the resampled rows none has it.
    def task(n, seed):
        cell, rng = np.arange(n) % 4, rng_of(seed)
        return Task(cell[:, None].astype(float), (rng.random(n) < 0.05 + 0.3 * cell).astype(float))

    test = task(150, 19)
    found = utility(task(400, 17), task(400, 18), test, np.array([False]), target="y", classes=2, rng=rng_of(20))
    exact = roc_auc_score(test.y, test.x[:, 0])
    assert found.synthetic == pytest.approx(exact, abs=1e-9) and found.real == pytest.approx(exact, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(("target", "classes"), [(0, None), (2, 3)])
def test_a_target_that_was_shuffled_teaches_nothing(target, classes):
    real, discrete, _ = task_of(mixed(seed=7), target, classes)
    test = task_of(mixed(seed=8), target, classes)[0]
    same = task_of(mixed(seed=9), target, classes)[0]
    useless = Task(same.x, rng_of(13).permutation(same.y))
    good = utility(same, real, test, discrete, target="y", classes=classes, rng=rng_of(14))
    bad = utility(useless, real, test, discrete, target="y", classes=classes, rng=rng_of(15))
    assert good.difference.p_value > 0.01 and good.relative.low < 1 < good.relative.high
    assert good.difference.low < 0 < good.difference.high
    assert bad.difference.p_value < 0.01 and bad.relative < 0.5 and bad.relative.high < 1 and bad.difference.high < 0
    assert bad.difference == pytest.approx(bad.synthetic - bad.real)
    nothing = utility(useless, Task(real.x, rng_of(16).permutation(real.y)), test, discrete,
                      target="y", classes=classes, rng=rng_of(17))  # fmt: skip
    assert nothing.relative is None


def test_a_target_of_one_value_and_few_rows_could_not_be_determined():
    task, discrete, _ = task_of(mixed(), 2, 3)
    constant = Task(task.x, np.ones(N)), task, "one value in all"
    few = task, Task(task.x[:5], task.y[:5]), "got 5 rows to train on; at least 10"
    for test, training, words in (constant, few):
        found = utility(training, task, test, discrete, target="y", classes=3, rng=rng_of(1))
        assert isinstance(found, Verdict) and found.severity == "unknown" and words in found.text


# --- likelihood -----------------------------------------------------------------------------------------------------


def test_the_difference_of_likelihoods_is_tested_as_welch_did():
    held_out, training = rng_of(21).normal(-3, 1, 30), rng_of(22).normal(-2.5, 2, 90)
    found = likelihoods(held_out, training)
    expected = stats.ttest_ind(training, held_out, equal_var=False, alternative="greater")
    assert found.p_values == (pytest.approx(expected.pvalue), 1.0)
    both = stats.ttest_ind(training, held_out, equal_var=False).confidence_interval()
    assert (found.difference.low, found.difference.high) == pytest.approx(tuple(both))
    assert found.difference == pytest.approx(training.mean() - held_out.mean())
    # Of four sections, each is tested at a quarter of 5 %, on one side.
    adjusted, wider = found.judged(Adjustment(4.0, 0.0))[2], stats.norm.isf(0.05 / 4) / stats.norm.isf(0.025)
    assert adjusted.high - adjusted == pytest.approx(wider * (found.difference.high - found.difference))
    own = stats.t.interval(0.95, 29, held_out.mean(), stats.sem(held_out))
    assert (found.held_out.low, found.held_out.high) == pytest.approx(own)


def test_impossible_rows_are_counted_and_few_rows_are_no_error():
    found = likelihoods([-np.inf, -np.inf, -1, -2], np.zeros(50))
    assert found.impossible == (2, 0) and found.rows == (2, 50) and found.held_out == -1.5
    assert found.p_values[1] == pytest.approx(stats.fisher_exact([[2, 2], [0, 50]], alternative="greater").pvalue)
    assert likelihoods([-1.0], np.zeros(50)).difference is None
    assert likelihoods([], np.zeros(50)).difference is None
    for wrong in ([np.nan, 1], [np.inf, 1], [[1.0, 2.0]]):
        with pytest.raises(UsageError, match="log_prob of the held-out rows"):
            likelihoods(wrong, np.zeros(50))


# --- verdicts -------------------------------------------------------------------------------------------------------

CLEAR, NONE = Adjustment(1.0, 0.0), np.zeros(0, bool)


def certain(value):
    return Metric("metric", value, 0.01, value + 1, 1e-9)


def shifted(nats):
    return likelihoods(*(rng_of(1).normal(at, 1, 999) for at in (0, nats)), columns=6)


def with_width(width):
    return Calibration(("a",), np.zeros((9, 2), int), 9, (certain(width),), np.ones(2)).tests[0].verdict


SIZED = {  # smallest moderate and large size, and the verdict on a significant difference of a size
    "accuracy": (0.05, 0.2, lambda s: ClassifierResult(certain(0.5 + s), 0.5, {"a": 0.1}, 99).judged(CLEAR)[1]),
    "dcr": (0.02, 0.1, lambda s: ClosestRecords(np.ones(99), np.arange(99.0), certain(0.05 + s)).judged(CLEAR)[1]),
    "copies": (0.01, 0.05, lambda s: Copies((9, 99), (0, 9), (0, 9), certain(s), NONE, NONE, (0, 9)).judged(CLEAR)[1]),
    "utility": (
        0.05,
        0.2,
        lambda s: Utility("a", "AUC", *map(certain, (0.8, 0.9, 1 - s, -0.1)), (9, 9)).judged(CLEAR)[1],
    ),
    "nats per column": (0.05, 0.25, lambda s: shifted(6 * s).judged(CLEAR)[1]),
    "narrow posteriors": (0.05, 0.2, lambda s: with_width(1 - s)),
    "wide posteriors": (0.05, 0.2, lambda s: with_width(1 + s)),
}


@pytest.mark.parametrize("of", SIZED)
def test_a_difference_is_small_moderate_or_large_by_its_size(of):
    moderate, large, verdict = SIZED[of]
    sizes = 0.99 * moderate, 1.01 * moderate, 0.99 * large, 1.01 * large
    assert [verdict(size).severity for size in sizes] == ["small", "moderate", "moderate", "large"]


# --- privacy --------------------------------------------------------------------------------------------------------


MIXED = np.array([False, False, False, True, True])


def points(n, seed):
    rng = rng_of(200 + seed)
    x = np.hstack([rng.normal(size=(n, 3)), rng.integers(0, 3, (n, 2))])
    x[rng.random(x.shape) < 0.2] = np.nan
    return x


def test_distances_are_those_of_brute_force():
    a, b = points(40, 1), points(70, 2)
    z, others = (np.stack([normal_scores(x[:, j], b[:, j]) for j in range(3)], axis=1) for x in (a, b))
    squares = cdist(np.nan_to_num(z), np.nan_to_num(others), "sqeuclidean")
    squares += cdist(np.isnan(z), np.isnan(others), "sqeuclidean")
    codes, other_codes = np.nan_to_num(a[:, 3:], nan=-1), np.nan_to_num(b[:, 3:], nan=-1)
    squares += (codes[:, None] != other_codes[None]).sum(axis=2)
    assert closest_distances(a, b, MIXED) == pytest.approx(np.sqrt(squares.min(axis=1)), abs=1e-12)
    assert (closest_distances(b[:20], b, MIXED) == 0).all()


def test_the_dcr_share_is_tested_by_the_negative_hypergeometric_distribution():
    a, b, training = points(60, 3), points(100, 4), points(80, 5)
    found = closest_records(a, b, training, MIXED)
    edge = found.held_out[4]  # the fifth of a hundred
    below = int(np.sum(found.synthetic < edge))
    assert found.share == pytest.approx(below / 60)
    # scipy counts the synthetic rows that come before the fifth held-out one.
    assert found.share.p_value == pytest.approx(stats.nhypergeom(160, 60, 5).sf(below - 1), rel=1e-6)
    least = found.detectable(0.05)
    sure = [stats.nhypergeom(160, 60, 5).sf(k - 1) < 0.05 for k in range(1, 61)]
    assert least == pytest.approx((1 + sure.index(True)) / 60)


def test_the_dcr_share_holds_its_size_and_its_interval_holds_5_per_cent():
    # 400 times at 5 %: more than 34 with probability 0.0007; the test is discrete, so it may well be fewer. The
    # intervals are not exact: at least 90 % are requested, and fewer than 360 would be 5 standard errors below 95 %.
    tests, held = [], 0
    for k in range(400):
        rng = rng_of(1000 + k)
        training, a, b = (rng.normal(size=(n, 2)) for n in (50, 80, 80))
        share = closest_records(a, b, training, np.zeros(2, bool)).share
        tests.append(share.p_value)
        held += share.low <= 0.05 <= share.high
    assert 5 <= np.sum(np.array(tests) < 0.05) <= 34
    assert held >= 360


def test_fingerprints_are_equal_for_equal_rows_alone():
    x = rng_of(18).integers(0, 3, (400, 4)).astype(float)
    x[x == 2] = np.nan
    ours = fingerprints(x)
    _, same = np.unique(np.nan_to_num(x, nan=9.0), axis=0, return_inverse=True)
    same = same.ravel()  # NumPy 2.0 gives it a second axis
    assert len(np.unique(ours)) == same.max() + 1
    assert all(len(np.unique(ours[same == k])) == 1 for k in range(same.max() + 1))
    assert np.array_equal(fingerprints(np.array([[0.0, -0.0]])), fingerprints(np.array([[-0.0, 0.0]])))
    assert fingerprints(np.array([[1.0, 2.0]])) != fingerprints(np.array([[2.0, 1.0]]))
    # The last digit of a computed number is no difference; the tenth digit is one.
    assert np.array_equal(fingerprints(np.array([[0.1 + 0.2]])), fingerprints(np.array([[0.3]])))
    assert fingerprints(np.array([[1.0000000001]])) != fingerprints(np.array([[1.0]]))


def test_copies_are_tested_as_fisher_did_against_held_out_and_repeated_rows():
    training = np.arange(400.0).reshape(200, 2)
    training[10:12] = training[0]  # three rows that are equal
    synthetic = np.concatenate([training[50:60], -training[:90]])
    held_out = np.concatenate([training[100:101], -1 - training[:59]])
    found = count_copies(synthetic, held_out, training)
    assert (found.synthetic, found.held_out, found.repeated) == ((10, 100), (1, 60), (3, 200))
    assert found.reference == (1 + 2, 60 + 100)  # of three repeated rows one half, rounded up
    expected = stats.fisher_exact([[10, 90], [3, 157]], alternative="greater").pvalue
    assert found.share.p_value == pytest.approx(expected)
    assert found.share == pytest.approx(10 / 100 - 3 / 160) and found.share.low > 0
    counts = [stats.fisher_exact([[k, 100 - k], [3, 157]], alternative="greater").pvalue < 0.01 for k in range(101)]
    assert found.detectable(0.01) == counts.index(True)
    assert found.copied.sum() == 10 and found.copied[:10].all() and found.known[0] and found.known.sum() == 1


@pytest.mark.slow
def test_copies_in_a_table_of_few_labels_are_no_news():
    # Rows of one distribution over 40 values. 200 times at 5 %, cautious: more than 20 with probability 0.002. The
    # same where rows were held out by their values, so that no held-out row equals a training row.
    def alarms(by_value):
        found = []
        for k in range(200):
            rng = rng_of(3000 + k)
            p = rng_of(5).dirichlet(np.ones(40))
            training, held_out, synthetic = (rng.choice(40, (n, 1), p=p).astype(float) for n in (60, 40, 300))
            if by_value:
                rows = np.concatenate([training, held_out])
                out = np.isin(rows[:, 0], rng.permutation(40)[:10])
                training, held_out = rows[~out], rows[out]
            found.append(count_copies(synthetic, held_out, training).share.p_value < 0.05)
        return sum(found)

    assert alarms(by_value=False) <= 20
    assert alarms(by_value=True) <= 20
