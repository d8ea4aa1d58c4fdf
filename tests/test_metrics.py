"""Distances: exact transport on small sets, known values on large ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from scipy.optimize import linear_sum_assignment
from tests.reference import property_test

from motes.evaluation import c2st, sliced_w2

coordinates = st.floats(-10, 10, allow_subnormal=False)
ANCHOR = np.array([[0.0, 0.0], [1.0, 2.0], [-1.0, 3.0], [4.0, 1.0]])


def normal(n, dim=2, seed=0):
    return np.random.default_rng(seed).standard_normal((n, dim))


def w2_squared_by_assignment(p, q):
    """Exact W2^2 of two sets on a line: the cheapest matching of copies, as many of each point as the other set has."""
    p, q = np.repeat(p, len(q)), np.repeat(q, len(p))
    cost = (p[:, None] - q) ** 2
    return cost[linear_sum_assignment(cost)].mean()


# --- sliced W2 -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m"), [(6, 6), (3, 4), (1, 5), (6, 4), (5, 2)])
def test_sliced_w2_is_the_mean_over_directions_of_exact_transport(n, m):
    a, b = normal(n, seed=1), 3 * normal(m, seed=2) + 1
    angles = np.pi * (np.arange(8) + 0.5) / 8
    squares = [w2_squared_by_assignment(a @ u, b @ u) for u in np.stack([np.cos(angles), np.sin(angles)], axis=1)]
    expected = np.sqrt(np.mean(squares) / np.mean(b.var(axis=0)))
    assert np.isclose(sliced_w2(a, b, directions=8), expected, rtol=1e-10)


def test_on_a_line_every_direction_says_the_same():
    a, b = normal(7, 1, seed=1), normal(5, 1, seed=2)
    expected = np.sqrt(w2_squared_by_assignment(a[:, 0], b[:, 0]) / b.var())
    assert np.isclose(sliced_w2(a, b), expected, rtol=1e-10)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_the_same_rows_in_any_order_are_at_distance_0(dim):
    a = normal(50, dim)
    assert sliced_w2(np.random.default_rng(1).permutation(a), a) < 1e-12
    # So are the same rows taken twice: sets of different sizes, but one distribution.
    assert sliced_w2(np.concatenate([a, a]), a) < 1e-12


@pytest.mark.slow
@property_test
@given(arrays(float, (5, 2), elements=coordinates), arrays(float, (2,), elements=coordinates))
def test_a_shift_in_the_plane_costs_its_length_over_root_2(points, shift):
    # The mean over directions of (u . shift)^2 is |shift|^2 / 2, exactly so over evenly spread ones.
    points = np.concatenate([points, ANCHOR])
    expected = np.linalg.norm(shift) / np.sqrt(2 * points.var(axis=0).mean())
    assert np.isclose(sliced_w2(points + shift, points), expected, rtol=1e-9, atol=1e-12)


def test_a_shift_in_many_columns_costs_its_length_over_the_root_of_their_number():
    b, shift = normal(100, 10), np.arange(10.0)
    # (u . shift)^2 / |shift|^2 is Beta(1/2, 9/2): mean 0.1, deviation 0.122; 5 deviations of 4000 are 0.0097.
    square = sliced_w2(b + shift, b, directions=4000) ** 2 * b.var(axis=0).mean() / (shift @ shift)
    assert abs(square - 0.1) < 0.0097


@pytest.mark.slow
@property_test
@given(
    arrays(float, (6, 2), elements=coordinates),
    st.floats(1e-3, 1e3),
    arrays(float, (2,), elements=coordinates),
    st.randoms(use_true_random=False),
)
def test_units_origin_and_order_do_not_matter(a, factor, shift, random):
    expected = sliced_w2(a, ANCHOR)
    order = random.sample(range(6), 6)
    moved = sliced_w2(factor * a[order] + shift, factor * ANCHOR[[2, 0, 3, 1]] + shift)
    # Shifts of up to 10 round coordinates of 1e-3 to 1e-12 of themselves.
    assert np.isclose(moved, expected, rtol=1e-9, atol=1e-10)


@pytest.mark.slow
def test_a_wider_gaussian_is_as_far_as_the_difference_of_the_deviations():
    # W2 between N(0, s^2) and N(0, 1) on a line is |s - 1|. A sample deviation of n = 10^5 points in two columns is
    # right to 1 / sqrt(4 n) of itself, so 2.5 times the quotient of two of them to 0.0056: 5 times that is 0.028.
    a, b = normal(100_000, seed=1), normal(100_000, seed=2)
    assert abs(sliced_w2(2.5 * a, b, directions=16) - 1.5) < 0.028


def test_seeds_choose_the_directions_of_many_columns():
    a, b = normal(20, 3, seed=1), normal(20, 3, seed=2)
    assert sliced_w2(a, b, seed=1) == sliced_w2(a, b, seed=1)
    assert sliced_w2(a, b, seed=1) != sliced_w2(a, b, seed=2)


@pytest.mark.parametrize(
    "b",
    [np.zeros((1, 2)), np.ones((5, 2)), np.full((7, 2), 0.1)],  # the variance of seven 0.1 is 1e-34, by rounding
    ids=["one row", "equal rows", "equal rows but for rounding"],
)
def test_without_a_spread_there_is_no_scale(b):
    with pytest.raises(ValueError, match=r"spread|standard deviation|scale"):
        sliced_w2(normal(5), b)


# --- two-sample test -----------------------------------------------------------------------------------------------


def test_two_draws_from_one_law_cannot_be_told_apart():
    # 4000 answers, each right with probability 1/2: a deviation of 0.008, and folds share their training points.
    assert abs(c2st(normal(2000, seed=1), normal(2000, seed=2)) - 0.5) < 0.04


def test_sets_far_apart_are_told_apart():
    assert c2st(normal(500, seed=1), normal(500, seed=2) + 20) == 1
    assert c2st(normal(500, seed=1), 100 * normal(500, seed=2)) > 0.95  # one centre, other widths


@pytest.mark.parametrize("distance", [0.5, 1.0, 2.0])
def test_near_gaussians_are_told_apart_as_well_as_bayes_rule_can(distance):
    # The best rule for N(0, I) against N(distance e_1, I) is right with probability Phi(distance / 2).
    n = 4000
    measured = c2st(normal(n, seed=1) + np.array([distance, 0]), normal(n, seed=2))
    best = stats.norm.cdf(distance / 2)
    # 5 deviations of 8000 answers are 0.028; fifty voters lose about 0.01 to the best rule.
    assert best - 0.04 < measured < best + 0.028


def test_accuracy_is_balanced_for_sets_of_different_sizes():
    assert abs(c2st(normal(4000, seed=1), normal(1000, seed=2)) - 0.5) < 0.06  # 2000 answers, as above


def test_too_few_rows_are_an_error():
    with pytest.raises(ValueError, match="9 rows are too few for 5 folds; expected at least 10"):
        c2st(normal(9), normal(50))
    assert 0 <= c2st(normal(10, seed=1), normal(10, seed=2)) <= 1


# --- both ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", [sliced_w2, c2st])
@pytest.mark.parametrize(
    "shapes", [((5,), (5,)), ((5, 2), (5, 3)), ((0, 2), (5, 2)), ((5, 2), (0, 2))], ids=str
)  # fmt: skip
def test_points_of_other_shapes_are_an_error(metric, shapes):
    a, b = (np.zeros(shape) for shape in shapes)
    with pytest.raises(ValueError, match=r"points have shapes .* expected \(n, d\) and \(m, d\)"):
        metric(a, b)


@pytest.mark.parametrize("metric", [sliced_w2, c2st])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_entries_that_are_not_finite_are_named(metric, bad):
    a, b = normal(20), normal(20)
    b[3, 1] = bad
    with pytest.raises(ValueError, match=f"the second set contains {bad} in row 3, column 1"):
        metric(a, b)
    with pytest.raises(ValueError, match=f"the first set contains {bad} in row 3, column 1"):
        metric(b, a)
