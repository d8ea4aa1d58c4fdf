"""Trained on numbers with long tails, a table's synthetic rows have their moments and their far quantiles."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import motes
from motes.errors import ModelFileError
from motes.training.checkpoints import read_checkpoint, write_checkpoint

ROWS, DRAWN = 20_000, 200_000


def rows_of(seed):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "lognormal": rng.lognormal(0, 1.5, ROWS),
            "amount": rng.lognormal(6, 1.5, ROWS).round().astype(int),
            "pareto": rng.pareto(2.5, ROWS) + 1,
            "student": rng.standard_t(3, ROWS),
            "label": rng.choice(list("ab"), ROWS),
        }
    )


@pytest.fixture(scope="module")
def learned():
    frame = rows_of(1)
    model = motes.fit(frame, changes={"table.steps": 300}, seed=0)
    return frame, model, model.sample(DRAWN, seed=5)


@pytest.mark.slow
@pytest.mark.parametrize("column", ["lognormal", "amount", "pareto", "student"])
def test_synthetic_rows_have_the_tails_of_the_training_rows(learned, column):
    frame, _, drawn = learned
    real, mine = frame[column].to_numpy(float), drawn[column].to_numpy(float)
    # Student's mean is 0: the scale of an error is the standard deviation.
    assert abs(mine.mean() - real.mean()) < 0.03 * max(abs(real.mean()), real.std())
    # The standard deviation of 200,000 rows drawn from these 20,000 has a standard error of 1 to 3 %.
    assert mine.std() == pytest.approx(real.std(), rel=0.1)
    # Beyond the quantiles of 20,000 rows lie 20 and 10 of them: two standard errors of these are 45 and 63 %.
    for beyond, within in ((0.999, 0.45), (0.9995, 0.63)):
        assert (mine > np.quantile(real, beyond)).mean() == pytest.approx(1 - beyond, rel=within)
    assert real.min() <= mine.min()
    assert mine.max() <= real.max()


def test_a_file_with_the_bins_of_an_earlier_version_is_refused_by_a_clear_error(tmp_path):
    tensors, about = read_checkpoint(Path(motes.explorer.__file__).parent / "models" / "penguins.safetensors")
    del about["table"]
    write_checkpoint(tmp_path / "old.safetensors", tensors, about)
    with pytest.raises(ModelFileError, match=r"table model in format 1; .* Train it again"):
        motes.load(tmp_path / "old.safetensors")
