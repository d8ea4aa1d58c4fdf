"""`DiffusionModel` under every check of scikit-learn, with trainings of a few steps."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks
from tests.tables import TINY

from motes import DiffusionModel

pytestmark = [pytest.mark.brief, pytest.mark.slow]

CHECKED = DiffusionModel(max_steps=5, changes=TINY, random_state=0)


@pytest.mark.filterwarnings("ignore:column .*:UserWarning")  # their tables are odd
@parametrize_with_checks([CHECKED])
def test_it_passes_every_check_of_scikit_learn(estimator, check):
    check(estimator)
