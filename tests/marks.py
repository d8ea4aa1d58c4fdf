"""Which cases of a parametrised test are long."""

from collections.abc import Iterable
from typing import Any

import pytest


def long_except(cases: Iterable[Any], *quick: Any) -> list[Any]:
    """All the cases, of which `make test` runs those that are `quick`."""
    cases = list(cases)
    assert all(case in cases for case in quick), quick
    return [case if case in quick else pytest.param(case, marks=pytest.mark.long) for case in cases]
