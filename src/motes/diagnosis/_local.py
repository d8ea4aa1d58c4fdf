"""Is the posterior of one observation right? A local two-sample test (l-C2ST, Linhart et al. 2023).

    f(theta, x)    learned to tell the true theta_i of simulation i from draws of the model given x_i
    T(x_o)         the mean of f(theta, x_o)^2 over draws theta of the model given x_o

Simulation-based calibration is an average over all observations, in which errors of two observations may cancel. A
classifier that has learned of all simulations can be asked at one. Where the model is the posterior, the true theta_i
and the draws given x_i are exchangeable, whatever x_i is. So T is taken again with a draw in the place of the true
theta_i, at random in each simulation, and the share of these values that is at least as large is an exact p-value.

f is the least-squares classifier, with a ridge, on products of features of theta, in deviations of the draws given x_i,
and of x. It is linear in what is exchanged, so that all exchanges together cost one solution.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.diagnosis._calibration import simulations_of
from motes.errors import UsageError, check_count, check_seed
from motes.models._posteriors import PosteriorModel

Array = NDArray[np.float64]

EXCHANGES = 999
AT = 1000  # draws given the observation
WAVES, OF_X = 24, 10  # random features of theta and of x
RIDGE = 1e-2  # of the mean square of a feature
FAR = 4.0  # deviations; what is further counts as that
LEVEL = 0.01  # of each observation, at which its posterior is called wrong


@dataclass(frozen=True, eq=False)
class LocalCalibration:
    """How far the model is from the posterior of each of some observations, as far as simulations tell.

    Attributes:
        p_values: of the hypothesis that the model is the posterior, (m,), by what was learned for each observation.
        statistics: T (m,), in units of its mean over the exchanges: 1 is chance.
        simulations: that were learned from.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> theta = rng.normal(size=(200, 2))
        >>> x = theta + rng.normal(size=(200, 2))
        >>> posterior = motes.fit(theta, given=x, changes={"training.steps": 2}, verbose=False)
        >>> found = motes.diagnosis.local_calibration(posterior, theta, x, given=[[0.0, 0.5], [1.0, -1.0]], draws=9)
        >>> found.p_values.shape
        (2,)
    """

    p_values: Array
    statistics: Array
    simulations: int

    @property
    def findings(self) -> list[str]:
        """A sentence for each observation whose posterior is wrong, at the level 0.01."""
        return [
            f"the posterior of observation {i + 1} is wrong (p = {p:.2g}): a classifier tells draws from true "
            f"parameters, {t:.2g} times as well as chance. Train on more simulations near it, or for more steps."
            for i, (p, t) in enumerate(zip(self.p_values, self.statistics, strict=True))
            if p < LEVEL
        ]

    def __repr__(self) -> str:
        return f"LocalCalibration({len(self.p_values)} observations, smallest p = {self.p_values.min():.2g})"

    def __str__(self) -> str:
        lines = [f"{'observation':<14}{'statistic':>10}{'p':>8}"]
        lines += [
            f"{i + 1:<14}{t:>10.2f}{p:>8.2g}"
            for i, (t, p) in enumerate(zip(self.statistics, self.p_values, strict=True))
        ]
        fine = f"no error shows in {self.simulations:,} simulations"
        return "\n".join([*lines, "", *(self.findings or [fine])])

    def to_dict(self) -> dict[str, Any]:
        """For JSON.

        Example:
            >>> from motes.diagnosis import LocalCalibration
            >>> sorted(LocalCalibration(np.ones(1), np.ones(1), 100).to_dict())
            ['findings', 'p_values', 'simulations', 'statistics']
        """
        return {
            "p_values": self.p_values.tolist(),
            "statistics": self.statistics.tolist(),
            "simulations": self.simulations,
            "findings": self.findings,
        }


def local_calibration(
    model: PosteriorModel, theta: Any, x: Any, *, given: Any, draws: int = 19, seed: int = 0
) -> LocalCalibration:
    """Check the posterior of single observations on simulations that a model has not seen.

    Args:
        model: trained by `motes.fit(theta, given=x)`.
        theta: parameters, drawn from the prior (k, d), in any kind of table.
        x: what was simulated with them, (k, c) or a table; at least 50 rows, and some thousand to see little.
        given: the observations: one (c,), or m of them (m, c), or a table.
        draws: of the posterior of each simulation, at least 2.
        seed: of all that is drawn.

    Raises:
        UsageError: a model that is conditioned on nothing, or too few rows or draws.
        DataError: rows that cannot be used.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> theta = rng.normal(size=(200, 2))
        >>> x = theta + rng.normal(size=(200, 2))
        >>> posterior = motes.fit(theta, given=x, changes={"training.steps": 2}, verbose=False)
        >>> motes.diagnosis.local_calibration(posterior, theta, x, given=[0.0, 0.5], draws=9).simulations
        200
    """
    rows, observed = simulations_of(model, theta, x, "local_calibration")
    context = model.context
    draws, seed = check_count(draws, "draws"), check_seed(seed)
    if draws < 2:
        raise UsageError(f"draws = {draws}; expected at least 2.")
    at, _ = context.rows(given)
    drawn = model.draw(draws, observed, seed=seed)
    there = model.draw(AT, at, seed=seed)
    rng = np.random.default_rng([seed, 244949])
    return local_calibration_of((rows, drawn, context.forward(observed)), (there, context.forward(at)), rng)


def local_calibration_of(
    simulated: tuple[Array, Array, Array], at: tuple[Array, Array], rng: np.random.Generator
) -> LocalCalibration:
    """That of simulations and of draws given observations.

    Args:
        simulated: true parameters (k, d), draws given each simulation (k, L, d), and what was simulated (k, c).
        at: draws given each observation (m, A, d), and the observations (m, c).
        rng: of the features and the exchanges.
    """
    theta, drawn, x = simulated
    groups = np.concatenate([theta[:, None], drawn], axis=1)  # (k, L + 1, d), exchangeable in each row
    features = _Features(theta.shape[1], x, rng)
    phi = features(groups, x)  # (k, L + 1, F)
    phi -= phi.mean(axis=1, keepdims=True)
    k, members, size = phi.shape
    flat = phi.reshape(-1, size)
    gram = flat.T @ flat / len(flat)
    gram[np.diag_indices(size)] += RIDGE * np.trace(gram) / size
    # Which member of each group is taken for the true one; the first row: the true one is.
    picked = np.concatenate([np.zeros((1, k), np.int64), rng.integers(0, members, (EXCHANGES, k))])
    sums = np.stack([phi[np.arange(k), row].sum(axis=0) for row in picked])  # (1 + E, F)
    weights = np.linalg.solve(gram, sums.T)  # (F, 1 + E)
    found = []
    for draws, one in zip(at[0], at[1], strict=True):
        here = features(draws[None], one[None])[0]
        found.append((((here - here.mean(axis=0)) @ weights) ** 2).mean(axis=0))
    values = np.array(found)  # (m, 1 + E)
    # What is equal but for rounding counts as equal, against the model that is right.
    p_values = (values >= values[:, :1] * (1 - 1e-9)).mean(axis=1)
    return LocalCalibration(p_values, values[:, 0] / values[:, 1:].mean(axis=1), k)


class _Features:
    """Products of features of theta, in deviations of the rows of its group, and of x."""

    def __init__(self, d: int, x: Array, rng: np.random.Generator):
        self.waves, self.shifts = rng.normal(size=(d, WAVES)) * rng.uniform(0.5, 2, WAVES), _phases(rng, WAVES)
        self.mean, self.scale = x.mean(axis=0), np.where(x.std(axis=0) > 0, x.std(axis=0), 1.0)
        self.x_waves, self.x_shifts = rng.normal(size=(x.shape[1], OF_X)) / np.sqrt(x.shape[1]), _phases(rng, OF_X)
        self.pairs = np.triu_indices(d)

    def __call__(self, groups: Array, x: Array) -> Array:
        """Of groups (k, n, d), each given a row of x (k, c): (k, n, F)."""
        deviation = groups.std(axis=1, keepdims=True)
        r = (groups - groups.mean(axis=1, keepdims=True)) / np.where(deviation > 0, deviation, 1.0)
        r = np.clip(r, -FAR, FAR)
        first, second = self.pairs
        of_theta = [r, r[..., first] * r[..., second], np.sqrt(2) * np.cos(r @ self.waves + self.shifts)]
        waves = np.cos((x - self.mean) / self.scale @ self.x_waves + self.x_shifts)
        of_x = np.concatenate([np.ones((len(x), 1)), np.sqrt(2) * waves], axis=1)
        both = np.concatenate(of_theta, axis=2)[..., None] * of_x[:, None, None, :]
        return both.reshape(*groups.shape[:2], -1)


def _phases(rng: np.random.Generator, count: int) -> Array:
    return rng.uniform(0, 2 * np.pi, count)
