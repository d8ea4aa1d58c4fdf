"""The way of single points through time: by the flow in either direction, or by a sampler from any time on."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from motes.diffusion._denoiser import Denoiser
from motes.sampling._flow import heun
from motes.sampling._loop import Sampler


@eqx.filter_jit
def flow_path(denoiser: Denoiser, x: jax.Array, times: jax.Array) -> jax.Array:
    """Where the probability flow carries x (d,) from the first of `times` (k,) on, (k, d).

    By Heun's method. The times fall, towards data and down to 0, or rise from above 0, towards noise.
    """
    schedule = denoiser.schedule

    def move(y: jax.Array, step: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        t, s = step
        y = heun(denoiser, y, t, s)
        return y, schedule.alpha(s) * y

    _, path = jax.lax.scan(move, x / schedule.alpha(times[0]), (times[:-1], times[1:]))
    return jnp.concatenate([x[None], path])


@eqx.filter_jit
def sampled_paths(denoiser: Denoiser, sampler: Sampler, x: jax.Array, times: jax.Array, keys: jax.Array) -> jax.Array:
    """Where a sampler carries x (d,) along `times` (k,), which fall: once for each key (m,), (m, k, d)."""

    @jax.vmap
    def one(key: jax.Array) -> jax.Array:
        def move(carry: tuple[jax.Array, jax.Array], step: tuple[jax.Array, ...]) -> tuple[tuple, jax.Array]:
            (x_t, state), (t, s, number) = carry, step
            x_s, state = sampler.step(denoiser, x_t, t, s, state, jax.random.fold_in(key, number))
            return (x_s, state), x_s

        steps = (times[:-1], times[1:], jnp.arange(len(times) - 1))
        _, path = jax.lax.scan(move, (x, sampler.init(x, times)), steps)
        return jnp.concatenate([x[None], path])

    return one(keys)
