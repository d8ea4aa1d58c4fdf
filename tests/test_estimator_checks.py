"""`DiffusionModel` under every check of scikit-learn."""

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks
from tests.tables import TINY, untrained

from motes import DiffusionModel

CHECKED = DiffusionModel(max_steps=5, changes=TINY, random_state=0)


@pytest.fixture(autouse=True)
def no_training():
    """They look at manners, not at what was learned: a program that trains takes seconds to compile for each table."""
    with untrained():
        yield


@pytest.mark.filterwarnings("ignore:column .*:UserWarning")  # their tables are odd
@parametrize_with_checks([CHECKED])
def test_it_passes_every_check_of_scikit_learn(estimator, check):
    check(estimator)


def test_without_training_there_is_no_more_than_the_marginals():
    """What the double of a training leaves: log p of two independent columns, of shares 0.75 and 0.6."""
    X = np.array([["a", "b", "a", "a"] * 5, ["p", "q", "p", "p", "q"] * 4], object).T
    np.testing.assert_allclose(
        DiffusionModel(max_steps=5, changes=TINY).fit(X).score_samples(X[:2]),
        np.log([0.75 * 0.6, 0.25 * 0.4]),
        atol=1e-5,
    )
