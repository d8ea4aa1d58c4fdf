"""Langevin steps: a walk that stays at one level and leaves its distribution as it is.

    y <- y - delta eps_hat / r + sqrt(2 delta) z,    delta = 2 (snr r)^2,    z ~ N(0, I)

in the coordinates of `_coordinates.py`, where -eps_hat / r is the score. snr is what Song et al. 2021 (algorithms 4
and 5) call so, with the norms that they measure replaced by those that are expected: a point must not depend on others.
A step of finite length settles in a distribution that is too wide, by about (snr r)^2 in its variance.
"""

from __future__ import annotations

from typing import ClassVar

import jax

from motes._ranges import number
from motes.diffusion._denoiser import Denoiser
from motes.sampling._chains import Ancestral
from motes.sampling._coordinates import eps_at, level
from motes.sampling._loop import Sampler, State

LENGTHS = 0, 0.99  # of snr


def langevin(denoiser: Denoiser, y: jax.Array, t: jax.Array, steps: int, snr: float, key: jax.Array) -> jax.Array:
    """`steps` Langevin steps of y (d,) at the level of time t > 0, each of the length 2 (snr r)^2."""
    r = level(denoiser.schedule, t)

    def step(y: jax.Array, key: jax.Array) -> tuple[jax.Array, None]:
        kick = 2 * snr * r * jax.random.normal(key, y.shape)
        return y - 2 * snr**2 * r * eps_at(denoiser, y, t) + kick, None

    return jax.lax.scan(step, y, jax.random.split(key, steps))[0]


class AnnealedLangevin(Sampler):
    """Langevin steps at each level in turn, and nothing else to get from one to the next (Song & Ermon 2019, alg. 1).

    To s = 0 it ends in x0_hat.

    Args:
        corrections: Langevin steps at each level.
        snr: how long each is, see above.

    Example:
        >>> from motes.sampling import AnnealedLangevin
        >>> model.sample(3, how={"sampler": AnnealedLangevin(corrections=2), "steps": 8}).shape
        (3, 2)
    """

    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True
    when: ClassVar[str] = "to see what the score alone can do; hundreds of levels"
    corrections: int = number(5, 1, 10_000)
    snr: float = number(0.3, *LENGTHS, open_low=True)

    @property
    def evaluations(self) -> int:
        return self.corrections

    def step(
        self, denoiser: Denoiser, x_t: jax.Array, t: jax.Array, s: jax.Array, state: State, key: jax.Array
    ) -> tuple[jax.Array, State]:
        schedule = denoiser.schedule
        y = x_t / schedule.alpha(t)
        y = jax.lax.cond(
            s > 0, lambda: langevin(denoiser, y, s, self.corrections, self.snr, key), lambda: denoiser(x_t, t)
        )
        return schedule.alpha(s) * y, state


class PredictorCorrector(Sampler):
    """A step of another sampler, then Langevin steps at the level where it ends (Song et al. 2021, algorithms 2 to 5).

    Args:
        corrections: Langevin steps after each step but the last.
        snr: how long each is, see above.
        predictor: the sampler that gets from t to s.

    Example:
        >>> from motes.sampling import Heun, PredictorCorrector
        >>> model.sample(3, how={"sampler": PredictorCorrector(predictor=Heun()), "steps": 8}).shape
        (3, 2)
    """

    order: ClassVar[int] = 1
    stochastic: ClassVar[bool] = True
    when: ClassVar[str] = "to follow score SDEs; fixes what a coarse predictor gets wrong"
    corrections: int = number(1, 1, 10_000)
    snr: float = number(0.16, *LENGTHS, open_low=True)
    predictor: Sampler = Ancestral("posterior")

    @property
    def evaluations(self) -> int | None:
        inner = self.predictor.evaluations
        return None if inner is None else inner + self.corrections

    def init(self, x_t: jax.Array, grid: jax.Array) -> State:
        return self.predictor.init(x_t, grid)

    def step(
        self, denoiser: Denoiser, x_t: jax.Array, t: jax.Array, s: jax.Array, state: State, key: jax.Array
    ) -> tuple[jax.Array, State]:
        predict, correct = jax.random.split(key)
        x_s, state = self.predictor.step(denoiser, x_t, t, s, state, predict)
        alpha = denoiser.schedule.alpha(s)
        corrected = lambda: alpha * langevin(denoiser, x_s / alpha, s, self.corrections, self.snr, correct)
        return jax.lax.cond(s > 0, corrected, lambda: x_s), state


SAMPLERS: dict[str, type[Sampler]] = {
    "predictor_corrector": PredictorCorrector,
    "langevin": AnnealedLangevin,
}
"""`[sampler]` of a recipe."""
