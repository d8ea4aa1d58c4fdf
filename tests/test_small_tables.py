"""Tables of 150 to 10,000 rows: the network is kept only where unseen rows are likelier by it, and learns briefly."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import motes
from customers import customers

MIXTURE = {"table.steps": 1, "table.learning_rate": 1e-12}  # a network that learns nothing, beside the mixture

PROGRAMS = """
import jax, motes, sys
count = []
compiled = "/jax/core/compile/backend_compile_duration"
jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: event == compiled and count.append(event))
rows = motes.dataset("penguins")
model = motes.fit(rows, verbose=False)
model.sample(3000)
model.score_samples(rows[:50]), model.score_samples(rows)
print(len(count))
"""


def noise(n, seed):
    """Columns that have nothing to do with one another."""
    return pd.DataFrame(np.random.default_rng(seed).normal(size=(n, 8)), columns=list("abcdefgh"))


@pytest.mark.slow
def test_a_network_that_unseen_rows_do_not_need_is_not_kept():
    # The margin is two standard errors of 2,000 rows whose log p differs by .3 a row: .013.
    rows, fresh = noise(150, 1), noise(2000, 2)
    model = motes.fit(rows, verbose=False)
    alone = motes.fit(rows, changes=MIXTURE, verbose=False)
    assert model.training.best <= 25 and model.training.steps <= 75  # 0 and 56
    assert model.score_samples(fresh).mean() > alone.score_samples(fresh).mean() - 0.013


@pytest.mark.slow
def test_customers_are_learned_beyond_the_mixture_and_the_training_stops_in_time():
    rows, fresh = customers(3000, 1), customers(2000, 2)
    changes = {"table.calibrate": False}
    model = motes.fit(rows, changes=changes, verbose=False)
    drawn = model.sample(2000, seed=3)
    total, bmi = drawn.total / (drawn.fee * drawn.seats) - 1, drawn.bmi - drawn.weight / drawn.height**2
    assert (total.abs() < 0.0101).mean() > 0.75 and (bmi.dropna().abs() < 0.051).all()  # .856; the error of .75 is .01
    alone = motes.fit(rows, changes=changes | MIXTURE, verbose=False)
    log_p, log_p_alone = model.score_samples(fresh), alone.score_samples(fresh)
    possible = np.isfinite(log_p_alone)  # the others hold a value that no training row has
    assert possible.mean() > 0.9 and np.isfinite(log_p[possible]).all()
    gain = log_p[possible] - log_p_alone[possible]
    assert gain.mean() > 0.3 + 4 * gain.std() / np.sqrt(len(gain))
    assert model.training.steps <= 1.5 * model.training.best


@pytest.mark.slow
def test_labels_are_learned_after_the_numbers():
    # .982 of 115 rows; .86 with the weights that are best for the numbers. Of .97, more than 6 wrong have p = .06.
    rows = motes.dataset("penguins")
    order = np.random.default_rng(1).permutation(len(rows))
    model = motes.fit(rows.take(order[114:]), seed=1, verbose=False)
    rest = rows.take(order[:114])
    assert (np.asarray(model.predict(rest, "species")["label"]) == np.asarray(rest["species"])).mean() >= 0.947


@pytest.mark.slow
def test_a_small_table_takes_few_programs(user_environment):
    words = [sys.executable, "-c", PROGRAMS]
    done = subprocess.run(words, env=user_environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) <= 32  # 55 before
