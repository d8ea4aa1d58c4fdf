"""The exact density, score and entropy of a shape, and the denoiser that a perfect network would learn.

    log p(x),    grad log p(x),    H = -E log p(x),    E[x_0 | x_t]

Everything is in the units of `motes.make_shape` and in float64. Densities of curves are sums over quadrature nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.arguments import check_arguments
from motes.data import Standardiser, shapes
from motes.data.arrays import plain
from motes.data.shapes import Distribution
from motes.errors import UsageError, check_count
from motes.points.exact import Array, BoxesOracle, EmpiricalOracle, Exact, LabelledOracle, Oracle
from motes.points.schedules import Schedule, VarianceExploding
from motes.training.programs import float64

GRID_STEP = 0.7  # step of the entropy's grid, in units of the noise
MARGIN = 8.0  # margin of that grid around the clean distribution, in units of the noise
MOST_PAIRS = 2e9  # maximal number of pairs of grid points and atoms: about ten seconds
BOX_COST = 100  # cost of a box in atoms
DRAWS = 20_000


class Entropy(NamedTuple):
    """An entropy in nats. The true value lies within `error` of `value`; by Monte Carlo, in 997 of 1,000 cases."""

    value: float
    error: float


@dataclass(frozen=True)
class Truth:
    """The exact distribution of a shape; `truth` returns it.

    Example:
        >>> exact = motes.truth("eight_gaussians")
        >>> exact.modes.shape
        (8, 2)
    """

    name: str
    distribution: Distribution

    def __repr__(self) -> str:
        return f"Truth({self.name!r}, {self.distribution!r})"

    def log_density(self, x: ArrayLike) -> Array:
        """Return log p(x) in nats, (n,), for points x (n, 2); -inf if the density is 0 (a checkerboard without noise).

        Example:
            >>> motes.truth("eight_gaussians").log_density([[2.0, 0.0], [0.0, 0.0]]).round(1).tolist()
            [-0.7, -48.6]
        """
        x = _check_points(x)
        return np.where(self._outside(x), -np.inf, self._exact(x).log_prob)

    def score(self, x: ArrayLike) -> Array:
        """Return the score grad log p(x), (n, 2), for points x (n, 2); NaN if the density is 0.

        Example:
            >>> motes.truth("eight_gaussians").score([[1.8, 0.0], [2.2, 0.0]]).round(1)[:, 0].tolist()
            [5.0, -5.0]
        """
        x = _check_points(x)
        return np.where(self._outside(x)[:, None], np.nan, self._exact(x).score)

    def entropy(self) -> Entropy:
        """Compute the entropy -E log p(x) on a grid, or by Monte Carlo if the noise is too small for a grid.

        Example:
            >>> round(motes.truth("eight_gaussians").entropy().value, 2)
            1.7
        """
        distribution = self.distribution
        if distribution.spread == 0:  # disjoint boxes
            area = np.prod(distribution.highs - distribution.lows, axis=1)
            return Entropy(float(-np.sum(distribution.weights * np.log(distribution.weights / area))), 0.0)
        step, margin = GRID_STEP * distribution.spread, MARGIN * distribution.spread
        ends = zip(distribution.lows.min(axis=0) - margin, distribution.highs.max(axis=0) + margin, strict=True)
        x, y = (np.arange(start, end, step) for start, end in ends)
        if len(x) * len(y) * self.atoms > MOST_PAIRS:
            log_p = self.log_density(self.sample(DRAWS, seed=0))
            return Entropy(float(-log_p.mean()), float(3 * log_p.std() / np.sqrt(DRAWS)))
        log_p = self.log_density(np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2))
        summand = (-np.exp(log_p) * log_p).reshape(len(x), len(y))
        value = summand.sum() * step**2
        # Halving the step raises the error factor exp(-2 pi^2 / step^2) to the fourth power: the coarse grid bounds it.
        coarse = summand[::2, ::2].sum() * (2 * step) ** 2
        return Entropy(float(value), float(abs(value - coarse)) + 1e-8)

    @property
    def atoms(self) -> int:
        """Cost of the exact denoiser for one point, in atoms."""
        return len(self.distribution.weights) * (1 if self.distribution.atoms else BOX_COST)

    def sample(self, n: int, *, seed: int = 0) -> Array:
        """Draw `n` independent points (n, 2), independent of `motes.make_shape` with the same seed.

        Example:
            >>> motes.truth("moons").sample(3).shape
            (3, 2)
        """
        return self.labelled_sample(n, seed=seed)[0]

    def labelled_sample(self, n: int, *, seed: int = 0) -> tuple[Array, NDArray[np.int64]]:
        """Draw the points of `sample` and return the class of each, (n,); -1 if the shape has no classes.

        Example:
            >>> points, labels = motes.truth("moons").labelled_sample(3)
            >>> points.shape, labels.shape
            ((3, 2), (3,))
        """
        check_count(n, "points")
        rng, distribution = np.random.default_rng([seed, 1]), self.distribution
        which = rng.choice(len(distribution.weights), size=n, p=distribution.weights)
        clean = distribution.lows[which]
        if not distribution.atoms:
            clean = clean + (distribution.highs - distribution.lows)[which] * rng.random((n, 2))
        return clean + distribution.spread * rng.standard_normal((n, 2)), np.asarray(distribution.labels, int)[which]

    def oracle(self, schedule: Schedule, standardiser: Standardiser | None = None) -> Oracle:
        """Return the exact denoiser in the units of `standardiser`; None uses the data's own units.

        Example:
            >>> from motes.points import VarianceExploding
            >>> oracle = motes.truth("eight_gaussians").oracle(VarianceExploding(sigma_max=10.0))
            >>> print(oracle(jnp.array([2.5, 0.0]), 0.7).round(1))  # E[x_0 | x_t]: back to the nearest mode
            [1.9 0. ]
        """
        standardiser, distribution = standardiser or Standardiser.identity(2), self.distribution
        if standardiser.support is not None:
            raise UsageError(
                "got units with bounds; the exact denoiser of a shape does not support them. Leave out data.bounds."
            )
        if not standardiser.varies.all():
            raise UsageError("got units with a constant column; expected two columns that vary, like those of a shape.")
        spread = distribution.spread / standardiser.scale
        lows, highs = standardiser.forward(distribution.lows), standardiser.forward(distribution.highs)
        if distribution.atoms:
            return EmpiricalOracle(lows, schedule, distribution.weights, spread)
        return BoxesOracle(lows, highs, distribution.weights, schedule, spread)

    def labelled_oracle(self, schedule: Schedule, standardiser: Standardiser | None = None) -> LabelledOracle:
        """Return the exact denoiser of `oracle`, which can also be conditioned on a class.

        Raises:
            UsageError: a shape without natural classes.

        Example:
            >>> from motes.points import VarianceExploding
            >>> oracle = motes.truth("moons").labelled_oracle(VarianceExploding(sigma_max=10.0))
            >>> upper = oracle.given(motes.points.Given(label=jnp.array(0)))
            >>> print(upper(jnp.array([0.5, 0.25]), 0.6).round(1)[1] > 0.25)  # towards the upper moon
            True
        """
        parts = [self.of_class(label).oracle(schedule, standardiser) for label in self._classes()]
        return LabelledOracle(parts, np.ones(len(parts)))  # the classes are equally likely

    def of_class(self, label: int) -> Truth:
        """Return the distribution of one class, by its number.

        Raises:
            UsageError: a shape without natural classes, or an unknown class.

        Example:
            >>> upper = motes.truth("moons").of_class(0)
            >>> bool(upper.log_density([[0.0, 1.0]]) > upper.log_density([[1.0, -0.5]]))
            True
        """
        if label not in self._classes():
            raise UsageError(f"'{self.name}' has no class {label}; its classes are {list(self._classes())}.")
        whole, mine = self.distribution, self.distribution.labels == label
        weights = whole.weights[mine] / whole.weights[mine].sum()
        one = Distribution(whole.lows[mine], whole.highs[mine], weights, whole.spread, whole.labels[mine])
        return Truth(self.name, one)

    @property
    def modes(self) -> Array | None:
        """Centres (k, 2) of the blobs or squares, in the order of their labels; None for a shape of curves."""
        distribution = self.distribution
        if len(np.unique(distribution.labels)) < len(distribution.labels):
            return None
        return (distribution.lows + distribution.highs) / 2

    def labels(self, x: ArrayLike) -> NDArray[np.int64]:
        """Return the most likely class of each point, (n,), for points x (n, 2).

        Raises:
            UsageError: a shape without natural classes.

        Example:
            >>> x, labels = motes.data.make_labelled_shape("moons", 1000)
            >>> bool((motes.truth("moons").labels(x) == labels).mean() > 0.95)
            True
        """
        x = _check_points(x)
        # The classes are equally likely.
        return np.argmax([self.of_class(label).log_density(x) for label in self._classes()], axis=0)

    def _classes(self) -> NDArray[np.int64]:
        if self.distribution.labels[0] < 0:
            raise UsageError(f"'{self.name}' has no natural classes.")
        return np.unique(self.distribution.labels)

    def _exact(self, x: Array) -> Exact:
        # At t = 0, alpha_t = 1 and sigma_t = 0, so x_t is the data.
        with float64():
            exact = self.oracle(VarianceExploding()).rows(x, 0.0)
            return Exact(*(np.asarray(part) for part in exact))  # type: ignore[arg-type]

    def _outside(self, x: Array) -> NDArray[np.bool_]:
        distribution = self.distribution
        if distribution.spread > 0:
            return np.zeros(len(x), dtype=bool)
        inside = (distribution.lows <= x[:, None]) & (x[:, None] <= distribution.highs)  # (n, m, 2)
        return np.asarray(~np.any(np.all(inside, axis=2), axis=1))


@check_arguments
def truth(name: str, *, noise: float | None = None) -> Truth:
    """Return the exact distribution of the shape `name`.

    Args:
        name: a key of `SHAPES`.
        noise: as in `motes.make_shape`; None uses the shape's default.

    Raises:
        UsageError: an unknown name, a `noise` out of range, or no noise for a curve, which then has no density.

    Example:
        >>> exact = motes.truth("moons")
        >>> float(exact.log_density(motes.make_shape("moons", 1000)).mean().round(1))  # minus the entropy
        -1.0
    """
    return Truth(name, shapes.distribution(name, noise))


def _check_points(x: ArrayLike) -> Array:
    x = np.asarray(plain(x), np.float64)
    if x.ndim != 2 or x.shape[1] != 2 or not len(x) or not np.isfinite(x).all():
        raise UsageError(f"points have shape {x.shape}; expected (n, 2) with n >= 1, all finite.")
    return x
