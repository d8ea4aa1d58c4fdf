"""The measures of a table on arrays: SciPy, scikit-learn and brute force as references, sizes by simulation.

Each simulation has a fixed seed, and says how often it would fail by chance.
"""

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist
from sklearn.metrics import balanced_accuracy_score, r2_score, roc_auc_score
from threadpoolctl import threadpool_limits

from motes.evaluation import associations as pairs
from motes.evaluation import usefulness as use
from motes.evaluation.associations import associations, compare_associations
from motes.evaluation.marginals import (
    holm,
    kolmogorov_smirnov,
    share_difference,
    total_variation,
    wasserstein_1,
)
from motes.evaluation.privacy import Points, closeness, copies, distances_to, fingerprints
from motes.evaluation.two_sample import c2st_of_columns
from motes.evaluation.usefulness import Task, usefulness, weighted_auc

N = 300


@pytest.fixture(autouse=True)
def one_thread():
    with threadpool_limits(1):
        yield


def rng_of(seed):
    return np.random.default_rng([2718, seed])


# --- single columns -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("digits", [1, 16])  # with ties and without
@pytest.mark.parametrize(("n", "m"), [(200, 200), (150, 330)])
def test_distances_of_numbers_are_those_of_scipy(digits, n, m):
    rng = rng_of(1)
    a, b = rng.normal(0.1, 1, n).round(digits), rng.normal(5, 2, m).round(digits) / 2 - 2.4
    ours, theirs = kolmogorov_smirnov(a, b), stats.ks_2samp(a, b, method="asymp")
    assert ours == pytest.approx(theirs.statistic, abs=1e-12)
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-9)
    assert ours.low <= ours <= ours.high
    assert wasserstein_1(a, b) == pytest.approx(stats.wasserstein_distance(a, b) / b.std(), rel=1e-12)


def test_w1_does_not_depend_on_units_and_knows_columns_that_do_not_vary():
    a, b = rng_of(2).normal(0, 1, (2, 50))
    assert wasserstein_1(1000 * a + 3, 1000 * b + 3) == pytest.approx(wasserstein_1(a, b), rel=1e-9)
    assert wasserstein_1([2.0, 2.0], [2.0]) == 0
    assert wasserstein_1([1.0, 3.0], [2.0, 2.0]) > 0


def test_total_variation_and_its_test_are_those_of_scipy():
    a, b = np.array([40, 30, 20, 10]), np.array([50, 60, 10, 30])
    ours = total_variation(a, b)
    assert ours == pytest.approx(0.5 * np.abs(a / a.sum() - b / b.sum()).sum())
    assert ours.p_value == pytest.approx(stats.chi2_contingency([a, b], correction=False).pvalue)
    together = total_variation([40, 30, 20, 1, 0, 2], [50, 60, 10, 1, 2, 3])
    assert together.p_value == pytest.approx(stats.chi2_contingency([[40, 30, 20, 3], [50, 60, 10, 6]]).pvalue)
    assert total_variation([3, 0], [4, 0]).p_value == 1.0


def test_total_variation_holds_its_size_and_its_interval_holds_the_truth():
    # 400 times at 5 %: fewer than 8 or more than 34 rejections with probability 0.003; 95 % of intervals: fewer than
    # 362 hold the truth with probability 0.0003.
    rng, p, q = rng_of(3), np.array([0.5, 0.3, 0.15, 0.05]), np.array([0.4, 0.2, 0.2, 0.2])
    truth = 0.5 * np.abs(p - q).sum()
    null = [total_variation(rng.multinomial(150, p), rng.multinomial(100, p)).p_value for _ in range(400)]
    assert 8 <= np.sum(np.array(null) < 0.05) <= 34
    apart = [total_variation(rng.multinomial(150, p), rng.multinomial(100, q)) for _ in range(400)]
    assert sum(one.low <= truth <= one.high for one in apart) >= 362


def test_ks_holds_its_size():
    # As above, but for numbers of which the asymptotic law of KS is a little cautious.
    rng = rng_of(4)
    null = [kolmogorov_smirnov(rng.normal(size=80), rng.normal(size=120)).p_value for _ in range(400)]
    assert 5 <= np.sum(np.array(null) < 0.05) <= 34


def test_shares_are_tested_as_fisher_did():
    ours = share_difference(3, 50, 12, 60)
    assert ours == pytest.approx(3 / 50 - 12 / 60)
    assert ours.p_value == pytest.approx(stats.fisher_exact([[3, 47], [12, 48]]).pvalue)
    assert share_difference(0, 50, 0, 60).p_value == 1


def test_holm_by_hand():
    # 4 x 0.01, then the larger of that and 3 x 0.02, and so on.
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([np.nan, 0.02, 0.6]) == pytest.approx([np.nan, 0.04, 0.6], nan_ok=True)


@pytest.mark.parametrize("wrong", [[], [[1.0]], [np.nan], [np.inf]])
def test_numbers_that_are_none_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        kolmogorov_smirnov(wrong, [1.0])


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


def test_associations_without_their_bias_are_about_0_for_independent_columns():
    # Without the correction V would be about sqrt(19 / 300) = 0.25.
    rng = rng_of(5)
    squares = []
    for _ in range(50):
        x = np.stack([rng.integers(0, 20, N), rng.integers(0, 20, N)], axis=1).astype(float)
        squares.append(associations(x, np.array([True, True]), (20, 20))[0, 1] ** 2)
    assert np.mean(squares) < 0.02


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


def test_a_broken_pair_is_found_and_named():
    real, made = mixed(seed=1), mixed(seed=2)
    made[:, 1] = rng_of(7).permutation(made[:, 1])
    found = compare_associations(made, real, DISCRETE, LEVELS, rng_of(8))
    assert found.p_values[0, 1] < 0.01 and found.p_values[2, 3] > 0.01
    assert found.mean.p_value < 0.01
    assert found.mean.low <= np.abs(found.a - found.b)[np.triu_indices(4, 1)].mean() <= found.mean.high


def test_the_family_of_pairs_holds_its_size(monkeypatch):
    # With 19 permutations P(smallest p <= 0.1) is 0.1: of 120, fewer than 3 or more than 23 with probability 0.003.
    monkeypatch.setattr(pairs, "PERMUTATIONS", 19)
    monkeypatch.setattr(pairs, "GROUPS", 2)
    smallest = [
        np.nanmin(compare_associations(mixed(60, 2 * k), mixed(40, 2 * k + 1), DISCRETE, LEVELS, rng_of(k)).p_values)
        for k in range(120)
    ]
    assert 3 <= np.sum(np.array(smallest) <= 0.1 + 1e-9) <= 23


# --- a classifier ---------------------------------------------------------------------------------------------------


def test_the_telling_column_is_named():
    rng = rng_of(9)
    a, b = mixed(seed=3), mixed(seed=4)
    a[:, 3] = (a[:, 3] + (rng.random(N) < 0.5)) % 3
    found = c2st_of_columns(a, b, DISCRETE, rng)
    assert found.accuracy.p_value < 0.01
    assert found.columns.argmax() == 3


def test_gaps_tell_too():
    a, b = mixed(seed=5), mixed(seed=6)
    b[: N // 2, 0] = np.nan
    found = c2st_of_columns(a, b, DISCRETE, rng_of(10))
    assert found.accuracy.p_value < 1e-6 and found.columns.argmax() == 0


def test_a_classifier_on_equal_laws_holds_its_size():
    # 25 times at 5 %: more than 6 rejections with probability 0.0002.
    found = [
        c2st_of_columns(mixed(60, 2 * k), mixed(60, 2 * k + 1), DISCRETE, rng_of(k)).accuracy.p_value for k in range(25)
    ]
    assert np.sum(np.array(found) < 0.05) <= 6


# --- usefulness -----------------------------------------------------------------------------------------------------


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
    assert use._scores(guess, y, ones, 3)[0] == pytest.approx(roc_auc_score(y, guess, multi_class="ovr"))
    numbers, guessed = rng.normal(size=(2, 200))
    assert use._scores(guessed, numbers, ones, None)[0] == pytest.approx(r2_score(numbers, guessed))
    more = use._more([guess], [guess], y)
    assert more["balanced accuracy"][0] == pytest.approx(balanced_accuracy_score(y, guess.argmax(axis=1)))


def task_of(x, target, classes):
    others = np.arange(4) != target
    return Task(x[:, others], x[:, target]), DISCRETE[others], classes


@pytest.mark.parametrize(("target", "classes"), [(0, None), (2, 3)])
def test_a_target_that_was_shuffled_teaches_nothing(target, classes):
    real, discrete, _ = task_of(mixed(seed=7), target, classes)
    test = task_of(mixed(seed=8), target, classes)[0]
    same = task_of(mixed(seed=9), target, classes)[0]
    useless = Task(same.x, rng_of(13).permutation(same.y))
    good = usefulness(same, real, test, discrete, target="y", classes=classes, rng=rng_of(14))
    bad = usefulness(useless, real, test, discrete, target="y", classes=classes, rng=rng_of(15))
    assert good.p_value > 0.01 and good.kept.low < 1 < good.kept.high
    assert bad.p_value < 0.01 and bad.kept < 0.5 and bad.kept.high < 1
    nothing = usefulness(useless, Task(real.x, rng_of(16).permutation(real.y)), test, discrete,
                         target="y", classes=classes, rng=rng_of(17))  # fmt: skip
    assert nothing.kept is None


def test_a_target_of_one_value_is_refused():
    task, discrete, _ = task_of(mixed(), 2, 3)
    with pytest.raises(ValueError, match="the same in all"):
        usefulness(task, task, Task(task.x, np.ones(N)), discrete, target="y", classes=3, rng=rng_of(1))
    few = Task(task.x[:5], task.y[:5])
    with pytest.raises(ValueError, match="expected at least"):
        usefulness(few, task, task, discrete, target="y", classes=3, rng=rng_of(1))


# --- privacy --------------------------------------------------------------------------------------------------------


def points(n, seed):
    rng = rng_of(200 + seed)
    z, codes = rng.normal(size=(n, 3)), rng.integers(0, 3, (n, 2))
    z[rng.random((n, 3)) < 0.2], codes[rng.random((n, 2)) < 0.2] = np.nan, -1
    return Points(z, codes)


def test_distances_are_those_of_brute_force():
    a, b = points(40, 1), points(70, 2)
    squares = cdist(np.nan_to_num(a.z), np.nan_to_num(b.z), "sqeuclidean")
    squares += cdist(np.isnan(a.z), np.isnan(b.z), "sqeuclidean")
    squares += (a.codes[:, None] != b.codes[None]).sum(axis=2)
    assert distances_to(a, b) == pytest.approx(np.sqrt(squares.min(axis=1)), abs=1e-12)
    assert (distances_to(b.some(np.arange(20)), b) == 0).all()


def test_near_rows_are_tested_by_the_negative_hypergeometric_law():
    a, b, training = points(60, 3), points(100, 4), points(80, 5)
    found = closeness(a, b, training)
    edge = found.held_out[4]  # the fifth of a hundred
    below = int(np.sum(found.made < edge))
    assert found.near == pytest.approx(below / 60)
    # scipy counts the made rows that come before the fifth held-out one.
    assert found.near.p_value == pytest.approx(stats.nhypergeom(160, 60, 5).sf(below - 1), rel=1e-6)


def test_the_share_of_near_rows_holds_its_size():
    # 400 times at 5 %: more than 34 with probability 0.0007; the law is discrete, so it may well be fewer.
    found = []
    for k in range(400):
        rng = rng_of(1000 + k)
        training = Points(rng.normal(size=(50, 2)), np.zeros((50, 0), int))
        a, b = (Points(rng.normal(size=(80, 2)), np.zeros((80, 0), int)) for _ in range(2))
        found.append(closeness(a, b, training).near.p_value)
    assert 5 <= np.sum(np.array(found) < 0.05) <= 34


def test_rows_learned_by_heart_are_found():
    training, held_out = points(200, 6), points(200, 7)
    learned = training.some(np.arange(40))
    made = Points(
        np.concatenate([points(160, 8).z, learned.z + 0.01]), np.concatenate([points(160, 8).codes, learned.codes])
    )
    found = closeness(made, held_out, training)
    assert found.near.p_value < 1e-6 and found.near.low > 0.05


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
    assert copies(ours[:10], ours[5:]) >= 5


def test_no_rows_are_refused():
    some, none = points(5, 9), Points(np.zeros((0, 3)), np.zeros((0, 2), int))
    with pytest.raises(ValueError, match="expected some of each"):
        closeness(none, some, some)
