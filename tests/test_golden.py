"""Model files of every release are read, and give the log-likelihoods and the samples that they gave then."""

import json
from pathlib import Path

import numpy as np
import pytest

import motes

GOLDEN = Path(__file__).parent / "golden"
FILES = sorted(GOLDEN.glob("*/*.safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_model_of_a_release_answers_as_it_did(path):
    model = motes.load(path)
    then = json.loads(path.with_suffix(".json").read_text())
    given = {key: np.asarray(value) for key, value in then["given"].items()}
    rows, samples = (motes.data.as_frame(then[name]) for name in ("rows", "samples"))
    assert model.score_samples(rows, **given) == pytest.approx(then["nats"], rel=1e-3, abs=1e-3)
    drawn = model.sample(len(samples), seed=0, **given)
    if path.stem == "table":  # whose rows are spread over strata: rounding may exchange two of them
        assert np.isfinite(model.score_samples(drawn)).all()
    else:
        now, before = (motes.data.as_frame(frame).to_pandas() for frame in (drawn, samples))
        assert [*now] == [*before]
        assert now.to_numpy() == pytest.approx(before.to_numpy(), rel=1e-3, abs=1e-3)


def test_this_version_has_golden_files():
    assert {path.stem for path in FILES if path.parent.name == motes.__version__} == {"points", "posterior", "table"}
