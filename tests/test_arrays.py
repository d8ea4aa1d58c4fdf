"""Arrays of other libraries, masks, dtypes, constants: what is hidden is missing, what is lost is said."""

import decimal

import jax.numpy as jnp
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import motes
from motes.data import as_frame
from motes.data.frames import Template
from motes.errors import DataError
from motes.tables import Schema

pytestmark = pytest.mark.brief
HIDDEN = 10**6
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 2))
MASK = np.zeros((60, 2), bool)
MASK[3:9, 1] = True


def hiding(x, mask=MASK):
    """`x`, with a million wherever the mask is."""
    return np.ma.array(np.where(mask, HIDDEN, x), mask=mask)


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("dtype", [float, np.float32, int, np.uint8, object])
def test_what_a_mask_hides_is_missing_whatever_the_width_and_the_dtype(width, dtype):
    x = RNG.integers(0, 9, (20, width)).astype(dtype)
    mask = np.zeros((20, width), bool)
    mask[4, -1] = True
    masked = np.ma.array(x, mask=mask)
    masked.data[4, -1] = 111
    frame = as_frame(masked)
    last = frame.columns[frame.names[-1]]
    assert last.missing.tolist() == mask[:, -1].tolist()
    assert last.known.tolist() == x[~mask[:, -1], -1].tolist()
    assert last.type == ("real" if np.dtype(dtype).kind == "f" else "whole")
    assert as_frame(masked.tolist()).columns[frame.names[-1]].missing.sum() == 1
    assert as_frame(list(masked)).columns[frame.names[-1]].missing.sum() == 1


def test_masked_texts_dates_and_truths_are_missing_too():
    mask = [False, True, False]
    dates = np.array(["2024-02-29", "2024-03-01", "2024-03-02"], "M8[D]")
    columns = {"text": np.array(["a", "secret", "b"]), "date": dates, "truth": np.array([True, False, True])}
    masked = {name: np.ma.array(values, mask=mask) for name, values in columns.items()}
    structured = np.ma.array(np.rec.fromarrays(list(columns.values()), names=[*columns]), mask=[(m,) * 3 for m in mask])
    for data in (masked, structured):
        frame = as_frame(data)
        assert frame.names == ("text", "date", "truth")
        assert all(one.missing.tolist() == mask for one in frame.columns.values())
        assert "secret" not in frame.columns["text"].labels
    assert as_frame({"a": [1, np.ma.masked, 3]}).columns["a"].missing.tolist() == mask


@pytest.mark.slow
def test_two_columns_with_a_mask_are_learned_as_a_table_of_what_is_seen():
    model = motes.fit(hiding(X), changes={"table.steps": 2}, verbose=False)
    assert model.kind == "table"
    assert np.nanmax(model.sample(200)) <= X.max()
    answer = model.impute(hiding(X[:20], MASK[:20]))
    assert isinstance(answer, np.ndarray)
    assert answer.max() <= X.max()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: motes.fit(hiding(X), "default"), "row 4, column 'y': got a missing entry"),
        (lambda: motes.fit(X, labels=hiding(np.arange(60) % 2, MASK[:, 1])), "label of row 4 is None"),
        (lambda: motes.fit(X, weights=hiding(np.ones(60), MASK[:, 1])), "weight of row 4 of the data is nan"),
        (lambda: motes.truth("moons").log_density(hiding(X)), "all finite"),
        (lambda: motes.sliced_w2(hiding(X), X), "nan in row 3, column 1"),
        (lambda: motes.evaluation.mmd_squared(X, hiding(X)), "nan in row 3, column 1"),
        (lambda: Schema.fit({"a": X[:, 0]}, weights=hiding(np.ones(60), MASK[:, 1])), "weight of row 4"),
    ],
    ids=["points", "labels", "weights", "density", "distance", "kernel", "schema"],
)  # fmt: skip
def test_where_no_entry_may_be_missing_a_mask_is_refused_with_its_row(call, says):
    with pytest.raises(ValueError, match=says):
        call()


@pytest.fixture(scope="module")
def posterior():
    """Hardly trained; the last observed column has missing entries."""
    return motes.fit(X[:, :1], given=hiding(X), changes={"training.steps": 2}, verbose=False)


@pytest.mark.slow
def test_masked_observations_are_missing_ones(posterior):
    hidden, seen = posterior.context.rows(hiding(X[3], MASK[3]))[0][0]
    assert np.isnan(seen)
    assert hidden == X[3, 0]
    with pytest.raises(DataError, match="column 'given0': got nan"):
        posterior.sample(2, given=hiding(X[3], ~MASK[3]))


def test_arrays_of_jax_are_arrays():
    x = jnp.asarray(X)
    assert as_frame(x).names == ("x", "y")
    assert as_frame({"a": jnp.arange(3), "b": [1.5, 2.5, 3.5]})["a"].tolist() == [0, 1, 2]
    assert as_frame(jnp.ones((2, 1), jnp.bfloat16))["x0"].tolist() == [1, 1]
    assert Schema.fit(x).encode(x[:4]).codes.shape[0] == 4
    assert motes.sliced_w2(x, x).value == 0


@pytest.mark.slow
def test_arrays_of_jax_are_learned_and_answered(posterior):
    x = jnp.asarray(X)
    model = motes.fit(x, labels=jnp.arange(60) % 2, changes={"training.steps": 2}, verbose=False)
    assert model.kind == "points"
    drawn = model.sample(3)
    assert isinstance(drawn, np.ndarray)
    assert drawn.dtype == np.float32
    np.testing.assert_array_equal(model.score_samples(x[:2]), model.score_samples(np.asarray(x[:2])))
    assert posterior.sample(2, given=jnp.asarray(X[0])).shape == (2, 1)


def test_synthetic_rows_are_arrays_where_numpy_wants_one():
    rows = as_frame({"a": [1, 2], "b": [0.5, None]})
    np.testing.assert_array_equal(np.asarray(rows), [[1, 0.5], [2, np.nan]])
    assert np.asarray(rows, np.float32).dtype == np.float32
    assert np.asarray(as_frame({"a": [1, 2], "b": ["u", None]})).tolist() == [[1, "u"], [2, None]]


WHOLE = np.array([1, 2, 3])
text_type = lambda made: made["a"].array.dtype
TYPES = {
    "uint64": (pd.DataFrame({"a": WHOLE.astype(np.uint64)}), lambda made: made.dtypes["a"]),
    "string[pyarrow]": (pd.DataFrame({"a": pd.array(list("abc"), "string[pyarrow]")}), text_type),
    "string[python]": (pd.DataFrame({"a": pd.array(list("abc"), "string[python]")}), text_type),
    "decimal of Arrow in pandas": (
        pd.DataFrame({"a": pd.array([decimal.Decimal("1.10")] * 3, pd.ArrowDtype(pa.decimal128(10, 3)))}),
        lambda made: made.dtypes["a"],
    ),
    "decimal of polars": (pl.DataFrame({"a": [decimal.Decimal("1.10")] * 3}), lambda made: made.schema["a"]),
    "decimal of Arrow": (pa.table({"a": [decimal.Decimal("1.10")] * 3}), lambda made: made.schema.field("a").type),
    "uint64 in a dict": ({"a": WHOLE.astype(np.uint64)}, lambda made: made["a"].dtype),
    "float32 in a dict": ({"a": WHOLE.astype(np.float32)}, lambda made: made["a"].dtype),
    "uint64 in an array": (WHOLE.astype(np.uint64)[:, None], lambda made: made.dtype),
}  # fmt: skip


@pytest.mark.parametrize("name", TYPES)
def test_a_type_comes_back_also_by_way_of_a_file(name):
    data, type_of = TYPES[name]
    template = Template.of(data)
    frame = as_frame(data)
    for one in (template, Template.unpacked(*template.packed())):
        back = frame.like(one)
        assert repr(type_of(back)) == repr(type_of(data)), name
        assert as_frame(back).columns[frame.names[0]].cells() == frame.columns[frame.names[0]].cells()


def test_decimals_that_become_floats_are_said():
    prices = [decimal.Decimal("1.10"), None, decimal.Decimal("2.35")]
    for data in ({"price": prices}, pd.DataFrame({"price": prices}), np.array([prices], object).T):
        with pytest.warns(UserWarning, match="decimals are read as float64"):
            as_frame(data)
