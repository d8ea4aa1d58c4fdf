"""A table in the explorer: its numbers are the library's, and a row from a page is checked like any other data."""

import json

import numpy as np
import pytest

import motes
from motes.data import DATASETS
from motes.data.datasets import read_dataset
from motes.errors import DataError, UsageError
from motes.explorer.answers import Answers
from motes.explorer.messages import Limits
from motes.explorer.subjects import Shelf, open_subject, shipped
from motes.explorer.tables import TableSubject

ROW = {"species": "Gentoo", "flipper_length_mm": 215}
FULL = {
    "species": "Gentoo", "island": "Biscoe", "bill_length_mm": 47.2, "bill_depth_mm": 15.0, "flipper_length_mm": 215,
    "body_mass_g": 5000, "sex": "female", "year": 2008,
}  # fmt: skip


@pytest.fixture(scope="module")
def answers():
    return Answers(Shelf(), Limits())


@pytest.fixture(scope="module")
def subject(answers):
    return answers.shelf.table("penguins")


def test_the_page_is_told_what_tables_there_are(answers):
    hello = answers.ask(what="hello").header
    assert hello["tables"] == shipped(DATASETS) == ["penguins"] and hello["opens"] == "points"
    about = answers.ask(what="table", table="penguins").header["about"]
    frame = read_dataset("penguins")
    assert [one["name"] for one in about["columns"]] == list(frame.names) and sorted(about["order"]) == sorted(
        frame.names
    )
    species = about["columns"][0]
    assert species["labels"] == species["values"] == species["texts"] == ["Adelie", "Chinstrap", "Gentoo"]
    json.dumps(about)


@pytest.mark.slow
def test_log_p_of_a_row_is_the_chain_rule_over_its_bars(answers, subject):
    order, bars = subject.about()["order"], {one.column: k for k, one in enumerate(subject.bars)}
    first, second = [(name, FULL[name]) for name in order if name in ("species", "sex")]
    found = answers.ask(what="row", table="penguins", row=dict([first, second])).header
    assert sum(found["cells"].values()) == pytest.approx(found["log_p"], abs=1e-6)
    for (name, value), before in ((first, {}), (second, dict([first]))):
        p = subject.conditionals(before)[bars[name]][subject.bars[bars[name]].texts.index(value)]
        assert found["cells"][name] == pytest.approx(np.log(p), abs=0.1)  # the model's order has biases of its own
    whole = answers.ask(what="row", table="penguins", row=FULL).header["log_p"]
    assert whole == pytest.approx(subject.model.score_samples({name: [FULL[name]] for name in FULL})[0], abs=1e-6)
    assert answers.ask(what="row", table="penguins", row={}).header == {"log_p": None, "cells": {}}


@pytest.mark.slow
def test_bars_are_those_of_predictions(answers, subject):
    """Of the entries that are not missing, which is what a prediction is about."""
    rest = {name: [value] for name, value in FULL.items()}
    bars = [one.column for one in subject.bars]
    p = subject.conditionals({name: FULL[name] for name in FULL if name != "sex"})[bars.index("sex")]
    known, labels = subject.model.predict_proba(rest, "sex")
    assert list(subject.bars[bars.index("sex")].texts) == [*labels, "missing"]
    assert p[:-1] / p[:-1].sum() == pytest.approx(known[0], abs=1e-5)
    drawn = subject.model.predict(rest, "body_mass_g", draws=2_000)
    mass = subject.conditionals({name: FULL[name] for name in FULL if name != "body_mass_g"})[bars.index("body_mass_g")]
    values = np.array(subject.bars[bars.index("body_mass_g")].values[:-1], float)
    assert mass[:-1] @ values / mass[:-1].sum() == pytest.approx(drawn["mean"][0], rel=0.02)


def test_what_is_unmasked_is_a_row_of_the_library(answers, subject):
    drawn = answers.ask(what="reveal", table="penguins", row=ROW, seed=3).header["drawn"]
    whole = subject.model.draw(1, given=ROW, seed=3)
    assert dict(drawn) == {name: whole.columns[name].cells()[0] for name in whole.names if name not in ROW}
    order = answers.ask(what="table", table="penguins").header["about"]["order"]
    assert [name for name, _ in drawn] == [name for name in order if name not in ROW]
    full = ROW | dict(drawn)
    assert answers.ask(what="reveal", table="penguins", row=full, seed=3).header["drawn"] == []
    log_p = answers.ask(what="row", table="penguins", row=full).header["log_p"]
    frame = {name: [full[name]] for name in subject.model.columns}
    assert log_p == pytest.approx(subject.model.score_samples(frame)[0], abs=1e-6)


def test_a_missing_entry_is_known_and_an_absent_one_is_not(answers, subject):
    """Of the penguins 11 have no sex, and the measurements of 2 of these are missing together."""
    about = {one["name"]: one for one in answers.ask(what="table", table="penguins").header["about"]["columns"]}
    assert about["sex"]["missing"] and about["sex"]["texts"][-1] == "missing" and not about["species"]["missing"]
    absent, missing, measured = {}, {"body_mass_g": None}, {"body_mass_g": 4000}
    at = [one.column for one in subject.bars].index("sex")
    p = [subject.conditionals(row)[at][-1] for row in (measured, absent, missing)]
    assert p[0] < p[1] < 0.1 < 0.5 < p[2]
    assert p[1] == pytest.approx(11 / 344, abs=0.02)
    found = answers.ask(what="row", table="penguins", row=missing)
    assert subject.model.evidence(missing, n=256).log_prob == pytest.approx(np.log(2 / 344), abs=0.5)
    assert found.header["log_p"] < np.log(0.05)  # in the order of drawing, with the biases of whole rows
    drawn = [
        dict(answers.ask(what="reveal", table="penguins", row=missing, seed=seed).header["drawn"]) for seed in range(5)
    ]
    assert sum(row["sex"] is None for row in drawn) > 2
    with pytest.raises(UsageError, match="'species': missing entries were not learned"):
        answers.ask(what="row", table="penguins", row={"species": None})


WRONG = [
    None, [], "x", {"species": ["Gentoo"]}, {"species": {}}, {"species": "x" * 500},
    {f"column {k}": 1 for k in range(100)},
]  # fmt: skip


@pytest.mark.parametrize("row", WRONG)
def test_what_is_no_row_is_refused(answers, row):
    with pytest.raises(UsageError, match=r"^got row = "):
        answers.ask(what="row", table="penguins", row=row)


@pytest.mark.parametrize(
    "row",
    [{"nobody": 1}, {"species": "Emperor"}, {"species": 3}, {"body_mass_g": "heavy"}, {"sex": True}, {"year": 1e300}],
)
def test_a_cell_that_cannot_be_is_refused_in_words(answers, row):
    with pytest.raises((UsageError, DataError), match=r"expected|unknown column"):
        answers.ask(what="row", table="penguins", row=row)


@pytest.mark.parametrize("name", ["../penguins", "moons", "", None, 1])
def test_a_name_of_a_table_is_never_a_path(answers, name):
    with pytest.raises(UsageError, match="expected one of"):
        answers.ask(what="table", table=name)


@pytest.mark.slow
def test_a_table_of_your_own_comes_first(tmp_path):
    from tables import TINY, untrained

    with untrained():
        model = motes.fit({"<b>a</b>": ["x", "y"] * 20, "b": [1, 2] * 20, "c": [5] * 40}, changes=TINY, verbose=False)
    (tmp_path / "mine").mkdir()
    model.save(tmp_path / "mine" / "model.safetensors")
    own = open_subject(str(tmp_path / "mine"), print)
    assert isinstance(own, TableSubject) and own.name == "mine" and "motes.load(" in own.python
    answers = Answers(Shelf(own), Limits())
    assert answers.shelf.tables == ["mine", "penguins"] and answers.shelf.opens == "table"
    about = answers.ask(what="table", table="mine").header["about"]
    assert about["constant"] == {"c": 5}
    assert answers.ask(what="row", table="mine", row={"b": 2}).arrays["p"].shape == (4,)
    assert isinstance(open_subject("penguins", print), TableSubject)


def test_a_date_is_typed_within_its_ends_and_a_click_on_a_bar_gives_one_that_can_be(dated):
    """A bar of weeks has the first day of the week that occurs, and says its last one as well."""
    day, at = dated.about()["columns"]
    assert (day["input"], day["first"], day["last"]) == ("date", "2024-01-01", "2024-12-27")
    assert (at["input"], at["first"]) == ("time", "2024-01-01T00:00:00.000")
    assert [part.name for part in dated.model.schema.parts][:2] == ["day: week", "day: weekday"]
    for column in (day, at):
        assert len(column["values"]) == len(column["texts"]) > 8 and None not in column["values"]
        for k in (0, len(column["values"]) // 2, -1):
            bars = dated.conditionals({column["name"]: column["values"][k]})
            assert bars[[day, at].index(column)][k] == 1  # the date lies in its bar
    assert all(np.datetime64(one).astype("M8[D]").item().weekday() == 0 for one in day["values"][1:-1])
    first, _, last = day["texts"][2].partition(" to ")
    assert (np.datetime64(first).item().weekday(), np.datetime64(last).item().weekday()) == (0, 4)
