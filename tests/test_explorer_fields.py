"""Vectors and the grid that the flow carries, as the explorer sends them: they are the library's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from motes.errors import UsageError
from motes.explorer.answers import Answers
from motes.explorer.guard import Limits
from motes.explorer.subjects import Shelf, Subject
from motes.points.likelihood import flow_path

PLACE = 500


@pytest.fixture(scope="module")
def answers(small_model):
    return Answers(Shelf(Subject("small", small_model)), Limits())


@pytest.fixture(scope="module")
def subject(answers):
    return answers.shelf.subject("small")


@pytest.mark.parametrize("quantity", ["score", "velocity"])
def test_vectors_are_those_of_the_denoiser(answers, subject, quantity):
    found = answers.ask(what="score", model="small", of="both", place=PLACE, cells=6, quantity=quantity)
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


def test_the_velocity_is_how_what_is_drawn_moves(answers, subject):
    t, alpha, sigma = (part[[PLACE, PLACE - 1]] for part in subject.clock)
    angle = np.arctan2(sigma, alpha)
    found = answers.ask(what="score", model="small", of="exact", place=PLACE, cells=6, quantity="velocity").arrays
    rows = [14, 21]  # near the middle of the picture
    u = np.stack([part.ravel() for part in np.meshgrid(*found["at"])], axis=1)[rows]
    z = subject.standardised(u, t[0])
    moved = np.stack([np.asarray(flow_path(subject.oracle, jnp.asarray(row, float), jnp.asarray(t)))[1] for row in z])
    speed = (subject.shown(moved[None], t[1:])[0] - u) / (angle[0] - angle[1])
    assert found["exact"][rows] == pytest.approx(speed, rel=0.03, abs=0.01)


def test_the_grid_is_straight_in_noise_and_follows_the_flow(answers, subject):
    found = answers.ask(what="grid", model="small", of="both")
    clock, dots = found.arrays["clock"], found.header["dots"]
    last = len(subject.clock[0]) - 1
    assert clock[0] == last and clock[-1] == 0 and (np.diff(clock) < 0).all()
    units, times = subject.model.standardiser, np.interp(clock, np.arange(last + 1), subject.clock[0])
    start = units.forward(found.arrays["learned"][0])
    count = len(start)
    assert np.abs(start).max() == pytest.approx(2.5)  # standard deviations, in lines across and lines that rise
    assert start[:dots, 1].std() < 1e-5 > start[-dots:, 0].std() and np.ptp(start[:dots, 0]) == pytest.approx(5)
    for side, denoiser in (("learned", subject.denoiser), ("exact", subject.oracle)):
        points = found.arrays[side]
        assert points.shape == (len(clock), count, 2)
        assert points[0] == pytest.approx(units.inverse(start), abs=1e-5)
        for k in (0, 700, count - 1):
            first = jnp.asarray(subject.standardised(units.inverse(start[[k]]), 1.0)[0], jnp.float32)
            way = np.asarray(flow_path(denoiser, first, jnp.asarray(times)), float)
            assert points[:, k] == pytest.approx(subject.shown(way[:, None], times)[:, 0], abs=1e-3)
    assert answers.ask(what="grid", model="small", of="learned").arrays.keys() == {"clock", "learned"}


def test_another_quantity_is_refused(answers):
    with pytest.raises(UsageError, match="got quantity = 'speed'; expected one of score, velocity"):
        answers.ask(what="score", model="small", of="learned", place=PLACE, cells=6, quantity="speed")
