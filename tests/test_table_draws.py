"""Rows under conditions: with `exact` they follow the distribution of unconditional rows, whatever the network says."""

import numpy as np
import pandas as pd
import pytest

from fits import fit_table
from motes.tables.model import evidence_of
from motes.tables.parts import Not
from motes.tables.unmasking import MaskedDenoiser
from tables import TINY, of_random_weights, untrained

pytestmark = pytest.mark.brief

FREE = 32_768  # four blocks


def cells(rows, column):
    return np.array(rows.columns[column].cells())


@pytest.fixture(scope="module")
def model():
    """A network of random weights, whose answers in one order have next to nothing to do with those in another."""
    rng = np.random.default_rng(0)
    size = rng.integers(0, 3, 2400)
    month = pd.Timestamp("2024-01-01") + pd.to_timedelta(31 * rng.integers(0, 12, 2400), "D")
    data = pd.DataFrame(
        {
            "size": np.array(["S", "M", "L"])[size],
            "x": (size + 0.5 * rng.standard_normal(2400)).round(2),
            "count": rng.poisson(4, 2400),
            "side": rng.choice(["left", "right"], 2400),
            "when": pd.to_datetime({"year": 2024, "month": month.month, "day": rng.choice([1, 15, 29], 2400)}),
        }
    )
    data.loc[(data.when.dt.month == 2), "when"] = pd.Timestamp("2024-02-15")
    with untrained():
        plain = fit_table(data, changes=TINY, seed=1)
    assert len(plain.schema.parts) == 6  # the month and the day of the month; there is no 29th of February here
    return of_random_weights(plain)


@pytest.fixture(scope="module")
def free(model):
    rows = model.sample(FREE, seed=5)
    return pd.DataFrame({name: cells(rows, name) for name in rows.names})


@pytest.mark.slow
@pytest.mark.parametrize(
    "given",
    [
        {"x": (0.5, 2.0), "side": Not("left")},
        {"x": (0.5, 2.0), "side": "right"},
        {"side": {"right"}, "when": (pd.Timestamp("2024-01-15"), pd.Timestamp("2024-05-20"))},
    ],
    ids=["set and interval", "value and interval", "set and dates"],
)
def test_exact_rows_are_those_of_rejection(model, free, given):
    met = free.side == "right"
    if "x" in given:
        met &= free.x.between(*given["x"])
    else:
        met &= pd.to_datetime(free.when).between(*given["when"])
    kept, share = free[met], met.mean()
    exact, plain = (model.sample(8000, given=given, importance_resample=exact, seed=1) for exact in (True, False))
    assert exact.effective <= 8000
    # Five standard errors: of the share of the rows that are kept, and of the mean of the weights.
    error = 5 * np.sqrt((1 - share) / (share * FREE) + 1 / exact.effective)
    assert exact.log_evidence == pytest.approx(np.log(share), abs=error)
    if "x" in given:  # of dates both orders say about the same
        assert abs(plain.log_evidence - np.log(share)) > 2 * error
    for column, of in (("size", lambda rows: rows == "S"), ("count", lambda rows: rows <= 3)):
        real, mine = of(kept[column].to_numpy()).mean(), of(cells(exact, column)).mean()
        error = 5 * np.sqrt(real * (1 - real) * (1 / len(kept) + 1 / exact.effective))
        assert mine == pytest.approx(real, abs=error)


@pytest.mark.slow
def test_without_conditions_exact_changes_nothing(model):
    usual, exact = (model.sample(300, importance_resample=exact, seed=2) for exact in (False, True))
    assert all((cells(usual, name) == cells(exact, name)).all() for name in usual.names)
    assert (exact.effective, exact.log_evidence) == (300, 0.0)


@pytest.mark.parametrize(("log_prob", "far"), [(-11.9, False), (-12.1, True)])
def test_a_number_far_out_is_warned_of_with_its_density(model, monkeypatch, log_prob, far):
    """Far out is less than 1/20 of the lowest density among 256 drawn rows, of the same columns alone."""

    def log_probs(self, encoded):
        assert {model.schema.parts[j].column for j in np.flatnonzero(encoded.observed.any(axis=0))} == {"x"}
        return np.array([log_prob]) if len(encoded) == 1 else np.linspace(-9.0, -1.0, len(encoded))

    monkeypatch.setattr(MaskedDenoiser, "log_prob", log_probs)
    warnings = evidence_of(model, {"x": 0.5}, [log_prob], 5.0).warnings
    assert len(warnings) == far
    assert not far or warnings[0].startswith("the log-density of 'x' is -12.10 nats; the lowest among 256")
