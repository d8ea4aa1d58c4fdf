"""Tables: what is read is what is there, and what cannot be read says where and why."""

import os

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tests.reference import property_test

from motes.data import as_frame, read_table, write_frame
from motes.data.tables import Standardiser
from motes.errors import DataError, UsageError
from motes.replacing import replacing

X = np.array([[1.5, -2.0], [3.0, 4.25], [0.0, 1e-3]])


# --- reading -------------------------------------------------------------------------------------------------------

HEADED = "a,b\n1.5,-2\n3,4.25\n0,1e-3\n"


@pytest.mark.parametrize(
    "content",
    [
        HEADED,
        HEADED.replace("\n", "\r\n"),
        HEADED.rstrip(),
        "\ufeff" + HEADED,  # as spreadsheets write it
        "\n\na,b\n\n1.5,-2\n   \n3,4.25\n0,1e-3\n\n",
        ' a , b\n 1.5 , -2\n+3,4.25\n0,.001\n',
        '"a","b"\n"1.5","-2"\n"3","4.25"\n"0","1e-3"\n',
    ],
    ids=["plain", "crlf", "no last newline", "byte order mark", "blank lines", "spaces", "quotes"],
)  # fmt: skip
def test_a_csv_file_is_read_however_it_was_written(file, content):
    table = read_table(file(content))
    assert table.columns == ("a", "b")
    assert np.array_equal(table.x, X)
    assert table.x.dtype == np.float64


def test_a_csv_file_without_a_header_gets_default_names(file):
    table = read_table(file("1.5,-2\n3,4.25\n0,1e-3\n"))
    assert table.columns == ("x", "y")
    assert np.array_equal(table.x, X)
    assert read_table(file("1,2,3\n4,5,7\n")).columns == ("x0", "x1", "x2")


@pytest.mark.parametrize("dtype", ["f8", "f4", ">f8", "i4", "u1"])
def test_npy_files_of_any_numbers_are_read(tmp_path, dtype):
    x = np.array([[0, 1], [1, 0], [1, 1]], dtype)
    np.save(tmp_path / "x.npy", x)
    table = read_table(tmp_path / "x.npy")
    assert table.x.dtype == np.float64
    assert np.array_equal(table.x, x)


# --- and what cannot be read ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"a\n1\n2\n", "has 1 column; expected two or more"),
        (b"1,2\n", "has 1 row; expected at least 2"),
        (b"a,b\n1,2\n3,x\n", "row 2, column 'b': got 'x'; expected numbers"),
        (b"a,b\n1,2\n,4\n", r"row 2, column 'a': got a missing entry \(1 in all\); expected a number"),
        (b"a,b\n1,2\n3,nan\n", "row 2, column 'b': got a missing entry"),
        (b"a,b\n1,2\n,\n3,4\n", "row 2, column 'a': got a missing entry"),  # a row of missing entries is no blank line
        (b"a,b\n1,2\n1_0,4\n", "row 2, column 'a': got '1_0'"),
        (b"a,b\n1,2\n3,inf\n4,-inf\n", "holds inf in row 2, column 'b' .2 such"),
        (b"a,b\n\n1,2\n\n3,x\n", "row 2, "),  # blank lines are no rows
        (b"a,b\n1,2\n3,2020-01-01\n", "column 'b': got"),
        (b"a,b\n1,1e308\n2,-1e308\n", "column 'b' .*reaches 1e[+]308, too large"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else value[:30],
)
def test_a_csv_file_that_cannot_be_used_says_where_and_why(file, content, says):
    with pytest.raises(DataError, match=says) as error:
        read_table(file(content))
    assert "table.csv" in str(error.value)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (np.array([[True, False], [False, True]]), "column 'x': got true or false; expected numbers"),
        (np.array([["a", "b"], ["c", "d"]]), "row 1, column 'x': got 'a'; expected numbers"),
        (np.array([[1, 2j], [3, 4]]), "not a number|complex"),
        (np.array([[1, {}], [3, 4]], dtype=object), "not a NumPy file of one array"),
    ],
    ids=["truth", "text", "complex", "pickled"],
)
def test_an_npy_file_that_cannot_be_used_says_why(tmp_path, x, says):
    np.save(tmp_path / "x.npy", x, allow_pickle=True)
    with pytest.raises(DataError, match=says) as error:
        read_table(tmp_path / "x.npy")
    assert "x.npy" in str(error.value)


@pytest.mark.parametrize("name", ["points.txt", "points", "points.txt.gz"])
def test_another_suffix_is_refused(file, name):
    with pytest.raises(UsageError, match=r"expected a name that ends in \.csv, \.tsv, .*\.npy"):
        read_table(file(HEADED, name))
    with pytest.raises(UsageError, match=r"expected a name that ends in \.csv, \.tsv, .*\.npy"):
        write_frame(file(HEADED, name), as_frame(X, ["a", "b"]))


def test_a_missing_file_and_a_folder_are_no_file(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    for name in ("none.csv", "none.npy", "folder.csv"):
        with pytest.raises(UsageError, match=f"no file .*{name}"):
            read_table(tmp_path / name)


def test_a_column_that_varies_by_rounding_alone_is_constant():
    found = Standardiser.fit(np.array([[1.0, 0.1 + 0.2], [2.0, 0.3]]))
    assert found.scale[1] == 0 < found.scale[0]
    assert (Standardiser.fit(np.array([[1.0, 1e-200], [2.0, 2e-150]])).scale > 0).all()  # small, but it varies


# --- standardising -------------------------------------------------------------------------------------------------

matrices = arrays(float, (5, 3), elements=st.floats(-1e6, 1e6, allow_subnormal=False))


def spreads(x):
    """Every column varies, well above its rounding."""
    return (x.std(axis=0) > 1e-6 * np.maximum(np.abs(x).max(axis=0), 1e-6)).all()


@property_test
@given(matrices)
def test_standardised_columns_have_mean_0_and_deviation_1_and_go_back(x):
    assume(spreads(x))
    scaler = Standardiser.fit(x)
    z = scaler.forward(x)
    assert np.allclose(z.mean(axis=0), 0, atol=1e-8)
    assert np.allclose(z.std(axis=0), 1, rtol=1e-8)
    assert np.allclose(scaler.inverse(z), x, rtol=1e-9, atol=1e-9 * np.abs(x).max())


@property_test
@given(matrices)
def test_log_det_is_that_of_the_jacobian(x):
    assume(spreads(x))
    scaler = Standardiser.fit(x)
    # The map is affine, so a difference quotient over one scale is its Jacobian but for rounding.
    here = scaler.forward(scaler.mean)
    jacobian = [(scaler.forward(scaler.mean + step) - here) / step.sum() for step in np.diag(scaler.scale)]
    sign, log_det = np.linalg.slogdet(jacobian)
    assert sign == 1
    assert np.allclose(scaler.log_det(x), log_det, rtol=1e-6, atol=1e-6)


# --- writing -------------------------------------------------------------------------------------------------------


def test_a_file_is_replaced_whole_and_with_ordinary_permissions(tmp_path):
    path = tmp_path / "x.csv"
    path.write_text("old")
    with replacing(path) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".csv"
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.csv"]
    mask = os.umask(0)
    os.umask(mask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, error):
    path = tmp_path / "x.csv"
    path.write_text("old")

    def half_a_write():
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        half_a_write()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.csv"]
