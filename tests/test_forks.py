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


def test_a_fork_refuses_points_at_every_door(small_model, tmp_path):
    model, x = small_model, motes.make_shape("moons", 40)
    model.save(tmp_path / "model")
    calls = {
        "fit": lambda: motes.fit(x, verbose=False),
        "sample": lambda: model.sample(3),
        "chain": lambda: model.chain(3, [2]),
        "score_samples": lambda: model.score_samples(x),
        "impute": lambda: model.impute([[np.nan, 1.0]]),
        "evaluate": lambda: model.evaluate(x),
        "diagnose": lambda: model.diagnose("moons"),
        "load": lambda: motes.load(tmp_path / "model"),
    }
    for name, call in calls.items():
        assert 'multiprocessing.get_context("spawn")' in in_a_fork(call), name
    assert in_a_fork(lambda: motes.data.as_frame(PEOPLE)) == "done"  # which computes nothing with JAX


@pytest.fixture(scope="module")
def table():
    with untrained():
        return motes.fit(PEOPLE, changes=TINY, verbose=False)


@pytest.mark.slow
def test_a_fork_refuses_tables_at_every_door(table):
    calls = {
        "fit": lambda: motes.fit(PEOPLE, verbose=False),
        "sample": lambda: table.sample(3),
        "score_samples": lambda: table.score_samples(PEOPLE),
        "impute": lambda: table.impute({"age": [31, None], "smoker": ["no", None]}),
        "predict": lambda: table.predict({"smoker": ["no"]}, "age"),
        "predict_proba": lambda: table.predict_proba({"age": [31]}, "smoker"),
        "evidence": lambda: table.evidence({"age": 31}),
        "evaluate": lambda: table.evaluate(PEOPLE),
        "estimator": lambda: motes.DiffusionModel(max_steps=2).fit(np.ones((40, 1)), PEOPLE["smoker"]),
    }
    for name, call in calls.items():
        assert "spawn" in in_a_fork(call), name
