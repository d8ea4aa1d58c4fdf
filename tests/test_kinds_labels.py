"""Columns of labels: a code for each, the rare ones together, and an order where there is one."""

import numpy as np
import pandas as pd
import pytest
from tests.reference import Z
from tests.table_reference import log_prob

from motes.errors import DataError, UsageError
from motes.tables import Schema

RNG = np.random.default_rng(7)


def fitted(values, override=None, **options):
    frame = pd.DataFrame({"a": values})
    return frame, Schema.fit(frame, None if override is None else {"a": override}, **options)


SIZES = pd.Categorical(list("SMLMSS"), categories=["S", "M", "L", "XL"], ordered=True)


@pytest.mark.parametrize(
    ("values", "override", "kind"),
    [
        (list("abcabb"), None, "categorical"),
        (SIZES, None, "ordered"),
        (pd.Categorical(list("abcabb")), None, "categorical"),
        (list("SMLMSS"), {"kind": "ordered", "order": ["S", "M", "L"]}, "ordered"),
        ([1, 2, 3, 2], "categorical", "categorical"),
        ([0.5, 2.0, 0.5], "categorical", "categorical"),
        ([3, 1, 2, 1], {"kind": "ordered", "order": [3, 1, 2]}, "ordered"),
        ([True, False, True], None, "categorical"),
        (pd.array([True, None, False], dtype="boolean"), None, "categorical"),
    ],
)
def test_labels_come_back_in_their_type(values, override, kind):
    frame, schema = fitted(values, override)
    assert schema.columns[0].kind == kind
    encoded = schema.encode(frame)
    back = schema.decode(encoded.codes, encoded.y, np.zeros(encoded.y.shape), encoded.observed).like(frame)
    pd.testing.assert_frame_equal(back, frame)
    (part,) = schema.parts
    observed = encoded.observed[:, 0]
    shares = np.bincount(encoded.codes[observed, 0], minlength=part.count) / observed.sum()
    np.testing.assert_allclose(part.masses, shares, rtol=1e-12)
    assert not part.smooth and part.missing == (None in list(values) or pd.isna(np.asarray(values, object)).any())
    np.testing.assert_allclose(log_prob(schema, frame)[observed], np.log(shares[encoded.codes[observed, 0]]))


def test_labels_without_an_order_have_no_places_and_those_with_one_rise():
    _, schema = fitted(list("abcabb"))
    assert schema.parts[0].edges is None and schema.parts[0].draw_range is None
    frame, schema = fitted(SIZES)
    (part,) = schema.parts
    encoded = schema.encode(frame)
    assert part.count == 3
    assert np.isclose(encoded.y.mean(), 0) and np.isclose(encoded.y.std(), 1)
    assert (np.diff(part.edges) > 0).all()
    assert np.array_equal(encoded.low[:, 0], part.edges[encoded.codes[:, 0]])
    assert np.array_equal(encoded.high[:, 0], part.edges[encoded.codes[:, 0] + 1])
    order = pd.Series(SIZES).cat.codes.to_numpy()
    assert np.array_equal(np.argsort(encoded.y[:, 0], kind="stable"), np.argsort(order, kind="stable"))


def test_the_order_of_an_override_is_that_of_the_codes_and_labels_never_seen_are_said():
    frame, schema = fitted(["S", "L", "M"], {"kind": "ordered", "order": ["S", "M", "L", "XL"]})
    assert schema.encode(frame).codes[:, 0].tolist() == [0, 2, 1]
    assert schema.warnings == ["column 'a': in no training row, so never drawn: XL."]


# --- many labels ----------------------------------------------------------------------------------------------------


def many():
    """300 labels in 10 rows each, 100 in 2 and 50 in 1: the last 150 are rare."""
    labels = [f"l{k:03}" for k in range(450)]
    return np.repeat(labels, [10] * 300 + [2] * 100 + [1] * 50)


def test_rare_labels_share_a_code_and_have_their_shares_within_it():
    values = RNG.permutation(many())
    frame, schema = fitted(values)
    (part,) = schema.parts
    assert part.count == 301
    assert np.isclose(part.masses[-1], 250 / len(values)) and np.allclose(part.masses[:-1], 10 / len(values))
    assert schema.described()[0]["becomes"] == "300 labels, 150 rare ones together"
    p = np.exp(log_prob(schema, pd.DataFrame({"a": np.unique(values)})))
    shares = frame["a"].value_counts(normalize=True).sort_index()
    np.testing.assert_allclose(p, shares.to_numpy(), rtol=1e-12)
    # Drawn by a uniform number: 100 labels with share 2/250 and 50 with share 1/250 of the code.
    n = 100_000
    u = np.random.default_rng(1).random((n, 1))
    made = schema.decode(np.full((n, 1), 300), np.zeros((n, 1)), u).like(frame)["a"].value_counts()
    expected = frame["a"].value_counts()[lambda rows: rows <= 2] / 250
    assert set(made.index) == set(expected.index)
    error = (made[expected.index] / n - expected) / np.sqrt(expected / n)
    assert np.abs(error).max() < Z  # of 150 labels: wrong once in 10,000 seeds
    assert schema.decode([[300], [300]], np.zeros((2, 1)), [[0.0], [1 - 2**-53]]).columns["a"].cells() == [
        "l300",
        "l449",
    ]


@pytest.mark.parametrize("labels", [256, 257])
def test_no_label_is_rare_up_to_256(labels):
    _, schema = fitted([*np.repeat([f"l{k:03}" for k in range(labels - 1)], 2), "x"])
    assert schema.parts[0].count == (256 if labels == 256 else 1)


def test_there_are_at_most_10_000_codes():
    values = np.repeat([f"label {k:05}" for k in range(12_000)], [3] * 11_000 + [4] * 1000)
    frame, schema = fitted(values)
    assert schema.parts[0].count == 10_000
    encoded = schema.encode(frame)
    own = encoded.codes[:, 0] < 9999
    assert set(values[own]) >= set(values[-4000:])  # the most frequent ones have codes of their own
    p = np.exp(log_prob(schema, pd.DataFrame({"a": np.unique(values)})))
    np.testing.assert_allclose(p, np.repeat([3, 4], [11_000, 1000]) / len(values), rtol=1e-9)


# --- what is said and refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([*map(str, range(30)), "n/k", "1"], "numbers except for 1 of its labels, such as 'n/k' in row 31"),
        ([None, *map(str, range(30)), "n/k"], "numbers except for 1 of its labels, such as 'n/k' in row 32"),
        ([*(f"2020-02-{k}" for k in range(10, 31))], "dates except for 1 of its labels, such as '2020-02-30' in row"),
        ([f"{k},5" for k in range(30)], "numbers written as text, such as '0,5', and so treated as labels. Convert"),
        (["1,234", "5,678"], "numbers such as '1,234', whose decimal sign is ambiguous"),
        (["05/06/2020", "01/02/2020"], "dates such as '01/02/2020', in the formats %d/%m/%Y or %m"),
        (["01234", "80331", "90210"], None),
        (list("abab"), None),
    ],
)
def test_what_may_be_wrong_with_labels_is_said(values, says):
    frame = pd.DataFrame({"a": values, "b": np.arange(len(values)) % 2})
    warnings = Schema.fit(frame).columns[0].warnings
    assert len(warnings) == (says is not None)
    assert all(message.startswith(says) for message in warnings)


@pytest.mark.parametrize(
    ("values", "override", "says"),
    [
        (["x", "y"], {"kind": "ordered", "order": ["x", "z"]}, "holds 'y'; expected one of the 2 labels of its order"),
        (pd.to_datetime(["2020-01-01", "2021-01-01"]), "categorical", 'holds dates; .*Set its kind to "date"'),
    ],
)
def test_entries_that_do_not_fit_an_override_are_refused(values, override, says):
    with pytest.raises(DataError, match=says):
        fitted(values, override)


def test_an_unseen_label_is_refused_with_its_place_or_marked():
    _, schema = fitted(list("abcabb"))
    new = pd.DataFrame({"a": ["a", None, "d"]})
    with pytest.raises(
        DataError, match=r"'new', row 3, column 'a': got 'd'; expected one of the 3 training labels: a, b, c"
    ):
        schema.encode(new, name="'new'")
    encoded = schema.encode(new, unseen="mark")
    assert encoded.codes[:, 0].tolist() == [0, 0, -1] and encoded.observed[:, 0].tolist() == [True, False, True]
    numbers = schema.encode(pd.DataFrame({"a": [1, 2]}), unseen="mark")
    assert (numbers.codes == -1).all()
    with pytest.raises(DataError, match=r"row 1, column 'a': got 2020-01-01.*this column is dates"):
        schema.encode(pd.DataFrame({"a": pd.to_datetime(["2020-01-01"])}), unseen="mark")
    with pytest.raises(UsageError, match="unseen = 'skip'; expected 'refuse' or 'mark'"):
        schema.encode(new, unseen="skip")
