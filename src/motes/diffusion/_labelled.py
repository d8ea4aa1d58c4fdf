"""The exact denoiser of data in classes.

q_t(x_t) = sum_y p(y) q_t(x_t | y),    p(y | x_t) = p(y) q_t(x_t | y) / q_t(x_t)
E[x_0 | x_t] = sum_y p(y | x_t) E[x_0 | x_t, y]
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from motes.diffusion._denoiser import Given
from motes.diffusion._oracles import Exact, Oracle
from motes.diffusion._schedules import Schedule


class LabelledOracle(Oracle):
    """Exact for all classes together, and, `given` a label, for each.

    Args:
        oracles: the exact denoiser of each class, all with one schedule.
        weights: how frequent each is (c,), above 0; only their ratios count.

    Raises:
        ValueError: no classes, other weights, or several schedules.

    Example:
        >>> from motes.diffusion import GaussianOracle, LabelledOracle, VarianceExploding
        >>> schedule = VarianceExploding(sigma_max=1.0)
        >>> both = LabelledOracle([GaussianOracle([mean], [[0.1]], schedule) for mean in (-1.0, 1.0)], [0.5, 0.5])
        >>> print(both(jnp.array([0.0]), 1.0))
        [0.]
    """

    schedule: Schedule
    _oracles: tuple[Oracle, ...]
    _log_weights: NDArray[np.float64]

    def __init__(self, oracles: Sequence[Oracle], weights: ArrayLike):
        weights = np.asarray(weights, dtype=np.float64)
        if not oracles or weights.shape != (len(oracles),) or not (weights > 0).all():
            raise ValueError(f"{len(oracles)} classes with weights {weights}; expected a number above 0 for each.")
        if any(oracle.schedule != oracles[0].schedule for oracle in oracles):
            raise ValueError("the classes have several schedules; expected one.")
        self.schedule, self._oracles = oracles[0].schedule, tuple(oracles)
        self._log_weights = np.log(weights / weights.sum())

    def exact(self, x_t: jax.Array, t: jax.Array) -> Exact:
        each = [oracle.exact(x_t, t) for oracle in self._oracles]
        x0, score, log_prob = (jnp.stack(part) for part in zip(*each, strict=True))
        joint = log_prob + jnp.asarray(self._log_weights, x_t.dtype)  # (c,)
        share = jax.nn.softmax(joint)
        return Exact(share @ x0, share @ score, jax.nn.logsumexp(joint))

    def given(self, known: Given) -> _OneClass:
        label = jnp.array(-1) if known.label is None else known.label
        return _OneClass(whole=self, label=label, schedule=self.schedule)

    def posterior(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        """p(y | x_t), (c,), for one x_t (d,) at time t in [0, 1].

        Example:
            >>> from motes.diffusion import GaussianOracle, LabelledOracle, VarianceExploding
            >>> schedule = VarianceExploding(sigma_max=1.0)
            >>> both = LabelledOracle([GaussianOracle([mean], [[0.1]], schedule) for mean in (-1.0, 1.0)], [0.75, 0.25])
            >>> print(both.posterior(jnp.array([0.0]), 1.0).round(3))
            [0.75 0.25]
        """
        log_prob = jnp.stack([oracle.log_prob(x_t, t) for oracle in self._oracles])
        return jax.nn.softmax(log_prob + jnp.asarray(self._log_weights, x_t.dtype))


class _OneClass(Oracle):
    """The class `label` of `whole`, or all of them together where it is -1."""

    whole: LabelledOracle
    label: jax.Array
    schedule: Schedule

    def exact(self, x_t: jax.Array, t: jax.Array) -> Exact:
        each: list[Oracle] = [self.whole, *self.whole._oracles]
        # A bound method would be hashed, and with it the arrays of its oracle.
        answers = [lambda x_t, t, oracle=oracle: oracle.exact(x_t, t) for oracle in each]
        return jax.lax.switch(self.label + 1, answers, x_t, t)
