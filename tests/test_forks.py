"""A fork of a process that has computed refuses to compute, at every door: there it would wait forever."""

import os
import select
import signal
import warnings

import numpy as np
import pytest

import motes
from motes.errors import UsageError
from tables import TINY, untrained

pytestmark = [pytest.mark.brief, pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")]
PEOPLE = {"age": [31, 47, 25, 62] * 10, "smoker": ["no", "yes", "no", "no"] * 10}
PATIENCE = 30  # seconds, after which a child hangs


def in_a_fork(call):
    """What a call says in a fork of this process: the text of its error, or "done"."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of JAX, that it may hang
        child = os.fork()
    if not child:
        try:
            call()
            said = "done"
        except UsageError as error:
            said = str(error)
        except BaseException as error:
            said = repr(error)
        os.write(write, said.encode())
        os._exit(0)
    try:
        ready, _, _ = select.select([read], [], [], PATIENCE)
        return os.read(read, 10_000).decode() if ready else "hangs"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(read)
        os.close(write)


def of_points(model, tmp_path):
    x = motes.make_shape("moons", 40)
    model.save(tmp_path / "model")
    return {
        "fit": lambda: motes.fit(x, verbose=False),
        "sample": lambda: model.sample(3),
        "chain": lambda: model.chain(3, [2]),
        "score_samples": lambda: model.score_samples(x),
        "impute": lambda: model.impute([[np.nan, 1.0]]),
        "evaluate": lambda: model.evaluate(x),
        "diagnose": lambda: model.diagnose("moons"),
        "load": lambda: motes.load(tmp_path / "model"),
    }


def of_a_table(small_model, tmp_path):
    with untrained():
        table = motes.fit(PEOPLE, changes=TINY, verbose=False)
    return {
        "fit": lambda: motes.fit(PEOPLE, verbose=False),
        "sample": lambda: table.sample(3),
        "score_samples": lambda: table.score_samples(PEOPLE),
        "impute": lambda: table.impute({"age": [31, None], "smoker": ["no", None]}),
        "predict": lambda: table.predict({"smoker": ["no"]}, "age"),
        "evidence": lambda: table.evidence({"age": 31}),
        "evaluate": lambda: table.evaluate(PEOPLE),
        "estimator": lambda: motes.DiffusionModel(max_steps=2).fit(np.ones((40, 1)), PEOPLE["smoker"]),
    }


@pytest.mark.slow(only=["of_a_table"])
@pytest.mark.parametrize("doors", [of_points, of_a_table])
def test_a_fork_refuses_at_every_door(doors, small_model, tmp_path):
    for name, call in doors(small_model, tmp_path).items():
        assert 'multiprocessing.get_context("spawn")' in in_a_fork(call), name
    assert in_a_fork(lambda: motes.data.as_frame(PEOPLE)) == "done"  # which computes nothing with JAX
