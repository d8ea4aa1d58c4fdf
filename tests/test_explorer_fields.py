"""Vectors and the grid that the flow carries, as the explorer sends them: they are the library's."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from motes.errors import UsageError
from motes.explorer import Limits, Shelf, Subject
from motes.explorer._answers import Answers
from motes.explorer._densities import scores
from motes.explorer._fields import DOTS, LINES, REACH, STOPS, grid_at_noise, vectors
from motes.explorer._requests import Request
from motes.explorer._subjects import PLACES
from motes.sampling._paths import flow_path

PLACE = 500


@pytest.fixture(scope="module")
def answers(small_model):
    return Answers(Shelf(Subject("small", small_model)), Limits())


@pytest.fixture(scope="module")
def subject(answers):
    return answers.shelf.subject("small")


def ask(answers, **options):
    return answers.answer(Request.of(json.dumps({"number": 1, **options}), answers.kinds), lambda done: None)


@pytest.mark.parametrize("quantity", ["score", "velocity"])
def test_vectors_are_those_of_the_denoiser(answers, subject, quantity):
    found = ask(answers, what="score", model="small", of="both", place=PLACE, cells=6, quantity=quantity)
    t = found.header["t"]
    x, y = (part.ravel() for part in np.meshgrid(*found.arrays["at"]))
    z = subject.standardised(np.stack([x, y], axis=1), t)
    schedule, scale = subject.denoiser.schedule, subject.model.standardiser.scale
    zoom = np.hypot(float(schedule.alpha(t)), float(schedule.sigma(t)))
    for side, denoiser in (("learned", subject.denoiser), ("exact", subject.oracle)):
        of = denoiser.eps if quantity == "score" else denoiser.v
        rows = np.asarray(jax.jit(jax.vmap(of, (0, None)))(jnp.asarray(z, jnp.float32), t))
        expected = -rows if quantity == "score" else -rows / zoom
        assert found.arrays[side] == pytest.approx(expected * scale, abs=1e-4)


def test_the_velocity_is_how_what_is_drawn_moves(subject):
    t, alpha, sigma = (part[[PLACE, PLACE - 1]] for part in subject.clock)
    angle = np.arctan2(sigma, alpha)
    u = np.array([[0.3, 0.1], [1.2, -0.4]])
    z = subject.standardised(u, t[0])
    found = vectors(subject, "velocity", *scores(subject.oracle, z, t[0]), t[0])
    moved = np.stack([np.asarray(flow_path(subject.oracle, jnp.asarray(row, float), jnp.asarray(t)))[1] for row in z])
    speed = (subject.shown(moved[None], t[1:])[0] - u) / (angle[0] - angle[1])
    assert found == pytest.approx(speed, rel=0.03, abs=0.01)


def test_the_grid_is_straight_in_noise_and_follows_the_flow(answers, subject):
    found = ask(answers, what="grid", model="small", of="both")
    clock, count = found.arrays["clock"], 2 * LINES * DOTS
    assert found.header["dots"] == DOTS and clock[0] == PLACES and clock[-1] == 0 and (np.diff(clock) < 0).all()
    units, times = subject.model.standardiser, np.interp(clock, np.arange(PLACES + 1), subject.clock[0])
    start = grid_at_noise()
    assert np.abs(start).max() == REACH and start[:DOTS, 1].std() == 0 and start[-DOTS:, 0].std() == 0
    for side, denoiser in (("learned", subject.denoiser), ("exact", subject.oracle)):
        points = found.arrays[side]
        assert points.shape == (STOPS, count, 2)
        assert points[0] == pytest.approx(units.inverse(start), abs=1e-5)
        for k in (0, 700, count - 1):
            first = jnp.asarray(subject.standardised(units.inverse(start[[k]]), 1.0)[0], jnp.float32)
            way = subject.along(np.asarray(flow_path(denoiser, first, jnp.asarray(times)), float), times)
            assert points[:, k] == pytest.approx(way, abs=1e-3)
    assert ask(answers, what="grid", model="small", of="learned").arrays.keys() == {"clock", "learned"}


def test_another_quantity_is_refused(answers):
    with pytest.raises(UsageError, match="got quantity = 'speed'; expected one of score, velocity"):
        ask(answers, what="score", model="small", of="learned", place=PLACE, cells=6, quantity="speed")
