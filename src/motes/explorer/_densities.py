"""E[x_0 | x_t], the score and log p of points that are drawn; log p is integrated in double precision."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from motes.diffusion._denoiser import Denoiser
from motes.diffusion._later import Later
from motes.explorer._subjects import Subject
from motes.sampling._likelihood import log_likelihood

Array = NDArray[np.float64]
OnBlock = Callable[[int], None]

BLOCK = 512  # rows of a compiled program of scores
LEVEL = 0.02  # of the noise, in standard deviations, below which a likelihood holds the score
TOLERANCE = 0.01  # nats of a likelihood
LATEST = 1 - 1e-3  # from here on x_t is the prior


def scores(denoiser: Denoiser, z: Array, t: float) -> tuple[Array, Array]:
    """E[x_0 | x_t] and the score of rows x_t (n, d) at time t > 0, (n, d) each, in standardised units."""
    padded = np.pad(z, ((0, -len(z) % BLOCK), (0, 0)), mode="edge")
    parts = [
        _scores(denoiser, jnp.asarray(padded[i : i + BLOCK]), jnp.asarray(t)) for i in range(0, len(padded), BLOCK)
    ]
    x0, score = (np.concatenate([np.asarray(part[k], float) for part in parts])[: len(z)] for k in (0, 1))
    return x0, score


@eqx.filter_jit
def _scores(denoiser: Denoiser, x: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jax.vmap(lambda row: (denoiser(row, t), denoiser.score(row, t)))(x)


def log_density(subject: Subject, denoiser: Denoiser, u: Array, t: float, on_block: OnBlock) -> Array:
    """log p of drawn points u (n, 2) at time t, (n,), in nats of the data's units; by its flow where it is learned."""
    units, zoom = subject.model.standardiser, float(subject.zoom(t))
    if t >= LATEST:
        z = units.forward(u)
        return units.log_det(u) - 0.5 * np.sum(z**2 + np.log(2 * np.pi), axis=1)
    if denoiser is subject.oracle:
        assert subject.oracle is not None
        log_q = np.asarray(subject.oracle.rows(subject.standardised(u, t), t).log_prob, float)
        return log_q + subject.model.dim * np.log(zoom) + units.log_det(u)
    later = denoiser if t <= subject.earliest else Later.of(denoiser, np.float32(t))
    found = log_likelihood(later, units.forward(u), tolerance=TOLERANCE, r_min=LEVEL, on_block=on_block)
    return found.log_prob + units.log_det(u)
