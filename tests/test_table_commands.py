"""The command line on tables of any columns: rows are named as they stand in the file, and no file is lost."""

import numpy as np
import pandas as pd
import pytest

from motes.data.files import read_frame
from motes.errors import DataError
from motes.table_runs import _log_prob
from motes.tabular import fit_table

ROWS = 120
TINY = {
    "training.steps": 20,
    "training.batch": 32,
    "training.masks": 0.5,
    "training.validation": 0.0,
    "training.averages": 0,
    "denoiser.components": 1,
    "network.width": 8,
    "network.depth": 1,
    "grid.steps": 4,
}


@pytest.fixture(scope="module")
def people():
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 80, ROWS),
            "income": np.exp(rng.normal(9, 1, ROWS)),
            "city": rng.choice(["Graz", "Linz", "Wien"], ROWS),
            "h": rng.normal(size=ROWS),
        }
    )
    frame.loc[::10, "income"] = np.nan
    return frame


@pytest.fixture(scope="module")
def run(people, tmp_path_factory):
    """The folder of a model, with its file beside it."""
    folder = tmp_path_factory.mktemp("people")
    people.to_csv(folder / "people.csv", index=False)
    model = fit_table(read_frame(folder / "people.csv"), changes=TINY, source=str(folder / "people.csv"))
    model.save(folder / "model.safetensors")
    return folder


def test_rows_have_the_numbers_of_the_file(people, run, motes_command, tmp_path):
    people.assign(h=people.h.where(people.index != 8, np.inf)).to_csv("inf.csv", index=False)
    people.assign(age=people.age.where(people.index != 8, 20.5)).to_csv("half.csv", index=False)
    people.assign(city=people.city.where(people.index != 3, "Bonn")).to_csv("other.csv", index=False)
    code, _, err = motes_command("train", "inf.csv")
    assert code == 1 and "'inf.csv', row 9, column 'h': inf" in err
    code, _, err = motes_command("train", "half.csv", "--set", "columns.age=integer")
    assert code == 1 and "'half.csv', row 9, column 'age': 20.5 came" in err
    assert not (tmp_path / "runs").exists()
    code, _, err = motes_command("evaluate", run, "other.csv")
    assert code == 1 and "sampling" not in err
    assert "'other.csv', row 4, column 'city': 'Bonn' came" in err


def test_a_held_out_row_that_the_model_cannot_hold_is_impossible_to_it(people, run):
    from motes.tabular import load

    model = load(run)
    rows = read_frame(run / "people.csv")
    strange = people.assign(city=people.city.where(~people.index.isin([3, 40]), "Bonn"))
    with pytest.raises(DataError, match="'Bonn' came"):
        model.score_samples(strange)
    found, whole = _log_prob(model, model.encoder.frame(strange)), model.score_samples(rows)
    assert np.flatnonzero(np.isneginf(found)).tolist() == [3, 40]
    kept = ~people.index.isin([3, 40])
    np.testing.assert_allclose(found[kept], whole[kept], rtol=0, atol=1e-9)
