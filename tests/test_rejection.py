"""Rows in a box by rejection, against SciPy's truncated normals."""

import jax
import numpy as np
import pytest
from scipy import stats
from tests.reference import Z

from motes.points import DPMSolver3M, Given, VarianceExploding
from motes.points.exact import GaussianOracle, LabelledOracle
from motes.points.particles import ATTEMPTS, rows_inside
from motes.points.sampling import BLOCK, KarrasGrid, ReverseProcess, sample

VE = VarianceExploding(80.0, 7.0)
MEAN, COVARIANCE = np.zeros(2), np.array([[1.0, 0.6], [0.6, 1.0]])
NORMAL = GaussianOracle(MEAN, COVARIANCE, VE)
KEY = jax.random.key(3)
GRID = KarrasGrid(16, 0.01)(VE)
PROCESS = ReverseProcess(NORMAL, DPMSolver3M(), GRID, 2)


def inside(low, high, n):
    done = []
    box = np.array([low, -np.inf]), np.array([high, np.inf])
    return rows_inside(PROCESS, box, n, key=KEY, on_progress=lambda now: done.append(now.done)), done


@pytest.mark.parametrize(("low", "high"), [(-0.5, 1.0), (1.0, np.inf), (-2.0, -1.5)])
def test_rows_are_those_of_the_truncated_law(low, high):
    rows, done = inside(low, high, 2000)
    assert done[-1] == len(rows) == 2000
    assert ((low <= rows[:, 0]) & (rows[:, 0] <= high)).all()
    cut = stats.truncnorm(low, high)
    # 16 steps leave an error of 1 per cent or so.
    assert stats.kstest(rows[:, 0], cut.cdf).statistic < 0.01 + 1.95 / np.sqrt(2000)  # chance alone: 1 in 1,000
    rest = rows[:, 1] - 0.6 * rows[:, 0]  # which knows nothing of the box
    assert abs(rest.mean()) < Z * 0.8 / np.sqrt(2000) + 0.01
    assert abs(rest.std() / 0.8 - 1) < Z / np.sqrt(4000) + 0.02
    assert len(np.unique(rows, axis=0)) == 2000


@pytest.mark.slow
def test_it_draws_no_more_than_it_needs_and_gives_up_where_that_is_too_much():
    for low, expected in ((0.0, True), (stats.norm.isf(1.5 / ATTEMPTS), True), (stats.norm.isf(0.6 / ATTEMPTS), False)):
        rows, done = inside(low, np.inf, 1500)
        assert (rows is not None) == expected
        assert len(done) == 1 or expected  # one block tells that a box is too rare
    assert inside(8.0, np.inf, 1)[0] is None
    assert len(inside(2.5, np.inf, 1)[0]) == 1  # one block costs no more than a row
    assert inside(1.0, 1.0, 1) == (None, [])  # a number that is known is never drawn


@pytest.mark.slow
def test_rows_are_of_the_class_that_is_given():
    far = [GaussianOracle(np.array([centre, 0.0]), np.eye(2), VE) for centre in (-9.0, 9.0)]
    classes, low, high = LabelledOracle(far, [1.0, 1.0]), np.array([-np.inf, -0.3]), np.array([np.inf, 0.3])
    n, process = 1000, ReverseProcess(classes, DPMSolver3M(), GRID, 2)
    for labels, share in ((np.zeros(n, int), 0.0), (np.ones(n, int), 1.0), (np.arange(n) % 2, 0.5)):
        rows = rows_inside(process, (low, high), n, key=KEY, given=Given(labels))
        assert ((rows[:, 1] >= -0.3) & (rows[:, 1] <= 0.3)).all()
        assert abs((rows[:, 0] > 0).mean() - share) <= Z * np.sqrt(share * (1 - share) / n)


def test_a_draw_goes_on_where_another_has_ended():
    whole, _ = sample(PROCESS, BLOCK + 40, key=KEY)
    rest, _ = sample(PROCESS, 50, key=KEY, skip=BLOCK - 10)
    np.testing.assert_array_equal(rest, whole[-50:])
