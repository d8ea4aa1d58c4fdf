"""Which rows of a table's file are held out: it hangs on the content of each row and the seed alone."""

import numpy as np
import pandas as pd
import pytest

from motes.data.frames import as_frame
from motes.data.points import content_keys, held_out_of
from motes.evaluation.sources import columns_of, divided
from motes.recipes import load_recipe
from motes.tables.kinds.columns import column_messages

ROWS = 3000


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    made = pd.DataFrame(
        {
            "number": np.arange(1, ROWS + 1),
            "city": rng.choice(["Graz", "Linz", "Wien"], ROWS),
            "price": rng.normal(size=ROWS),
            "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 366, ROWS), "D"),
            "member": rng.random(ROWS) < 0.5,
        }
    )
    made.loc[::7, "price"] = np.nan
    made.loc[::11, "city"] = None
    return made


def out_of(table, share=0.2, seed=3):
    return held_out_of(as_frame(table), share, seed)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_the_share_is_the_one_that_was_requested(table, share):
    error = np.sqrt(share * (1 - share) / ROWS)
    assert abs(out_of(table, share).mean() - share) <= 3.5 * error  # 5 of 10,000 seeds would fail


def test_rows_that_are_appended_removed_or_moved_leave_the_others_where_they_are(table):
    out = out_of(table)
    # Another label and a first half among whole numbers: codes and types of whole columns change.
    more = pd.concat([pd.DataFrame({"number": [0.5], "city": ["Aachen"], "price": [1.0]}), table], ignore_index=True)
    more = more.assign(day=pd.to_datetime(more.day.fillna(pd.Timestamp("2023-01-01"))), member=more.member.eq(True))
    np.testing.assert_array_equal(out_of(more)[1:], out)
    order = np.random.default_rng(1).permutation(ROWS)
    np.testing.assert_array_equal(out_of(table.iloc[order]), out[order])
    np.testing.assert_array_equal(out_of(table[out]), np.ones(out.sum(), bool))
    np.testing.assert_array_equal(out_of(table[table.columns[::-1]]), out)
    assert 0.2 < (out_of(table, seed=4) != out).mean() < 0.45  # 2 * 0.2 * 0.8 of the rows change sides


def test_equal_rows_are_on_the_same_side_whatever_their_row_numbers(table):
    twice = pd.concat([table, table], ignore_index=True).assign(number=np.arange(2 * ROWS))
    assert (out_of(twice)[:ROWS] != out_of(twice)[ROWS:]).any()
    recipe = load_recipe("table", {"columns.number": "drop"})
    source = divided("twice", as_frame(twice), recipe, 3)
    sides = [set(content_keys(rows.select(rows.names[1:]))) for rows in (source.training, source.held_out)]
    assert not sides[0] & sides[1] and len(source.training) + len(source.held_out) == 2 * ROWS


def test_keys_tell_all_rows_apart_and_know_missing_entries(table):
    assert len(np.unique(content_keys(as_frame(table)))) == ROWS
    one = as_frame(pd.DataFrame({"a": [0.0, None, 0.0, 1.0], "b": ["x", "x", None, "y"]}))
    swapped = as_frame(pd.DataFrame({"a": ["x"], "b": [0.0]}))
    assert len({*content_keys(one).tolist(), *content_keys(swapped).tolist()}) == 5
    assert content_keys(as_frame([[-0.0, 3]])) == content_keys(as_frame([[0.0, 3.0]]))
    large = as_frame(pd.DataFrame({"a": [2**60, 2**60 + 1]}))
    assert len(np.unique(content_keys(large))) == 2


def test_of_few_rows_few_are_held_out_and_of_very_few_none(table):
    for n in (20, 39, 100):
        source = divided("few", as_frame(table[:n]), load_recipe("table"), 0)
        assert len(source.training) + (0 if source.held_out is None else len(source.held_out)) == n
        assert len(source.training) >= 10
    assert divided("few", as_frame(table[:20]), load_recipe("table", {"data.held_out": 0.9}), 0).held_out is None
    assert divided("all", as_frame(table), load_recipe("table", {"data.held_out": 0}), 0).held_out is None


def test_row_numbers_are_found_in_the_whole_file_and_the_option_is_named(table):
    frame = as_frame(table.rename(columns={"number": "row number"}))
    message = column_messages(columns_of(frame, load_recipe("table"), "'file'"), shell=True)
    assert len(message) == 1 and "nearly every row has its own value: 'row number'" in message[0]
    assert "--set 'columns.row number=integer'" in message[0]
    # Without the held-out rows there are gaps among the numbers, and they are found all the same.
    source = divided("file", frame, load_recipe("table"), 0)
    assert column_messages(columns_of(source.training, load_recipe("table"), "'file'"), shell=True) == message
    dropped = load_recipe("table", {"columns.row number": "drop"})
    assert not column_messages(columns_of(frame, dropped, "'file'"), shell=True)
