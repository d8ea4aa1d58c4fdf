"""Ctrl-C during a training in Python: a real SIGINT to a process of its own."""

import os
import signal
import subprocess
import sys

import pytest
from tests.conftest import SMALL

import motes

pytestmark = pytest.mark.brief

CODE = """
import os, signal, sys, warnings
import numpy as np
import motes

first, kind = int(sys.argv[1]), sys.argv[2]

def press(now):
    if now.done >= first:
        os.kill(os.getpid(), signal.SIGINT)

rng = np.random.default_rng(0)
rows = {
    "points": motes.make_shape("moons", 200),
    "a shape": "moons",
    "a table": {"a": rng.choice(["x", "y"], 60), "b": rng.choice(["u", "v"], 60)},
}[kind]
of_points = {"training.steps": 10**8, "network.width": 8, "network.depth": 1, "training.batch": 16}
changes = {"table.steps": 10**8, "table.patience": 10**6} if kind == "a table" else of_points
with warnings.catch_warnings(record=True) as found:
    warnings.simplefilter("always")
    try:
        model = motes.fit(rows, changes=changes, verbose=False, on_progress=press)
    except KeyboardInterrupt:
        print("ended with nothing")
        raise SystemExit(0)
for one in found:
    if "interrupted" in str(one.message):
        print(one.category.__name__, one.filename, one.message)
drawn = model.sample(3)
rows = len(drawn["a"] if kind == "a table" else drawn)
print(model.training.interrupted, len(model.training.losses) >= first, rows)
"""


def ended(kind, first, environment):
    """What a process prints whose training is interrupted once `first` steps are done."""
    # The tests may run in the background, where a shell has Ctrl-C ignored.
    deaf_no_more = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(first), kind],
        env=environment, capture_output=True, text=True, timeout=120, preexec_fn=deaf_no_more,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_signal_while_points_are_learned_is_a_warning():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # test runners may be deaf to it
    try:
        press = lambda now: os.kill(os.getpid(), signal.SIGINT) if now.done else None
        with pytest.warns(UserWarning, match=r"^interrupted after \d+ steps of training; the model is what") as found:
            model = motes.fit(motes.make_shape("moons", 200), changes=SMALL, verbose=False, on_progress=press)
    finally:
        signal.signal(signal.SIGINT, before)
    assert found[0].filename == __file__ and model.training.interrupted and model.sample(3).shape == (3, 2)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["points", "a shape", "a table"])
def test_ctrl_c_keeps_what_was_learned_and_warns_where_fit_was_called(kind, environment):
    warning, model = ended(kind, 1, environment)
    assert warning.startswith("UserWarning <string> interrupted after ")
    assert warning.endswith(" steps of training; the model is what was learned so far.")
    assert model == "True True 3"


@pytest.mark.slow
def test_ctrl_c_before_the_first_step_is_a_keyboard_interrupt(environment):
    assert ended("a table", 0, environment) == ["ended with nothing"]
