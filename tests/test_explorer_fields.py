"""Vectors and the grid that the flow carries, as the explorer sends them: they are the library's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from motes.errors import UsageError
from motes.explorer.answers import Answers
from motes.explorer.messages import Limits
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


def test_another_quantity_is_refused(answers):
    with pytest.raises(UsageError, match="got quantity = 'speed'; expected one of score, velocity"):
        answers.ask(what="score", model="small", of="learned", place=PLACE, cells=6, quantity="speed")
