"""Vectors on the picture, and a grid of lines that the probability flow carries.

    u = cos(a) x0 + sin(a) eps,    du/da = cos(a) eps - sin(a) x0,    tan(a) = sigma_t / alpha_t

u is what is drawn. Its velocity along the angle a, by which the clock goes, is v, which is of one size from data to
noise; so is eps_hat, the score times its noise.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from motes.diffusion._denoiser import Denoiser
from motes.explorer._subjects import PLACES, Subject
from motes.sampling._paths import flow_path

Array = NDArray[np.float64]

QUANTITIES = ("score", "velocity")
REACH = 2.5  # standard deviations of the noise, on either side, that the grid covers
LINES = 11  # in either direction
DOTS = 61  # of a line
STOPS = 33  # places of the clock that are kept of it
BLOCK = 512  # rows of its compiled program


def vectors(subject: Subject, quantity: str, x0: Array, score: Array, t: float) -> Array:
    """What is drawn at rows x_t, (n, 2), in the data's units, of E[x_0 | x_t] and the score in standardised ones.

    Both point to the data: -eps_hat, and the velocity of what is drawn as the noise goes.
    """
    schedule = subject.denoiser.schedule
    alpha, sigma, zoom = float(schedule.alpha(t)), float(schedule.sigma(t)), float(subject.zoom(t))
    towards = sigma * score
    if quantity == "velocity":
        towards = (alpha * towards + sigma * x0) / zoom
    return towards * subject.model.standardiser.scale


def grid_at_noise() -> Array:
    """The points of all lines, (2 LINES DOTS, 2), in standard deviations: lines across, then lines that rise."""
    ends = REACH * np.linspace(-1, 1, LINES), REACH * np.linspace(-1, 1, DOTS)
    beside, along = (part.ravel() for part in np.meshgrid(*ends, indexing="ij"))
    return np.concatenate([np.stack([along, beside], axis=1), np.stack([beside, along], axis=1)])


def carried_grid(subject: Subject, denoiser: Denoiser, on_block: Callable[[int], None]) -> tuple[Array, Array]:
    """Places of the clock (STOPS,), which fall, and where the flow has carried the grid by then, (STOPS, n, 2)."""
    places = np.linspace(PLACES, 0, STOPS)
    times = np.interp(places, np.arange(PLACES + 1), subject.clock[0])
    start = subject.standardised(subject.model.standardiser.inverse(grid_at_noise()), float(times[0]))
    padded, made = np.pad(start, ((0, -len(start) % BLOCK), (0, 0)), mode="edge"), []
    for first in range(0, len(padded), BLOCK):
        made.append(_carried(denoiser, jnp.asarray(padded[first : first + BLOCK]), jnp.asarray(times)))
        on_block(first)
    z = np.concatenate([np.asarray(part, float) for part in made])[: len(start)]
    return places, subject.shown(z.swapaxes(0, 1), times)


@eqx.filter_jit
def _carried(denoiser: Denoiser, x: jax.Array, times: jax.Array) -> jax.Array:
    return jax.vmap(partial(flow_path, denoiser, times=times))(x)
