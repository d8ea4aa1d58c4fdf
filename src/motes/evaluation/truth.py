"""What is true of a shape: its density, score and entropy, and the denoiser that a perfect network would be.

    log p(x),    grad log p(x),    H = -E log p(x),    E[x_0 | x_t]

Everything is in the units of `motes.draw` and in float64. Densities of curves are sums over a quadrature's nodes.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data import shapes
from motes.data.laws import Atoms, Law
from motes.data.tables import Standardiser
from motes.diffusion.labelled import LabelledOracle
from motes.diffusion.oracles import BoxesOracle, EmpiricalOracle, Exact, Oracle
from motes.diffusion.schedules import Schedule, VarianceExploding
from motes.errors import UsageError
from motes.precision import float64

Array = NDArray[np.float64]

GRID_STEP = 0.7  # of the entropy's grid, in units of the noise
MARGIN = 8.0  # how far that grid goes beyond the clean law
MOST_PAIRS = 2e9  # of grid points with atoms: some ten seconds
BOX_COST = 100  # one box costs as many atoms
DRAWS = 20_000


class Entropy(NamedTuple):
    """In nats; the true value lies within `error` of `value`, or, by Monte Carlo, within it in 997 cases of 1,000."""

    value: float
    error: float


@dataclass(frozen=True)
class Truth:
    """The exact law of a shape; made by `truth`."""

    name: str
    law: Law

    def log_density(self, x: ArrayLike) -> Array:
        """log p(x) in nats, (n,), for points x (n, 2); -inf where the density is 0 (a checkerboard without noise)."""
        x = _points(x)
        return np.where(self._outside(x), -np.inf, self._exact(x, self.law).log_prob)

    def score(self, x: ArrayLike) -> Array:
        """grad log p(x), (n, 2), for points x (n, 2); NaN where the density is 0."""
        x = _points(x)
        return np.where(self._outside(x)[:, None], np.nan, self._exact(x, self.law).score)

    def entropy(self) -> Entropy:
        """-E log p(x): by the trapezoidal rule on a grid, or by Monte Carlo where the noise is too small for one."""
        law = self.law
        if law.spread == 0:  # boxes side by side
            area = np.prod(law.highs - law.lows, axis=1)  # type: ignore[union-attr]
            return Entropy(float(-np.sum(law.weights * np.log(law.weights / area))), 0.0)
        x, y = self._grid()
        if len(x) * len(y) * self.atoms > MOST_PAIRS:
            log_p = self.log_density(self.sample(DRAWS, seed=0))
            return Entropy(float(-log_p.mean()), float(3 * log_p.std() / np.sqrt(DRAWS)))
        step = GRID_STEP * law.spread
        log_p = self.log_density(np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1).reshape(-1, 2))
        summand = (-np.exp(log_p) * log_p).reshape(len(x), len(y))
        value = summand.sum() * step**2
        # Each half of the step squares the error's factor exp(-2 pi^2 / step^2): a grid of twice the step bounds it.
        coarse = summand[::2, ::2].sum() * (2 * step) ** 2
        return Entropy(float(value), float(abs(value - coarse)) + 1e-8)

    @property
    def atoms(self) -> int:
        """How many atoms the exact denoiser looks at for one point, or what costs as much."""
        return len(self.law.weights) * (1 if isinstance(self.law, Atoms) else BOX_COST)

    def _grid(self) -> tuple[Array, Array]:
        law = self.law
        low, high = (law.nodes, law.nodes) if isinstance(law, Atoms) else (law.lows, law.highs)
        ends = zip(low.min(axis=0) - MARGIN * law.spread, high.max(axis=0) + MARGIN * law.spread, strict=True)
        x, y = (np.arange(start, end, GRID_STEP * law.spread) for start, end in ends)
        return x, y

    def sample(self, n: int, *, seed: int = 0) -> Array:
        """`n` independent points (n, 2) of the law. They share no randomness with `motes.draw` of the same seed."""
        if n < 1:
            raise UsageError(f"n = {n} points asked for; at least 1 is needed.")
        rng, law = np.random.default_rng([seed, 1]), self.law
        which = rng.choice(len(law.weights), size=n, p=law.weights)
        if isinstance(law, Atoms):
            clean = law.nodes[which]
        else:
            clean = law.lows[which] + (law.highs - law.lows)[which] * rng.random((n, 2))
        return clean + law.spread * rng.standard_normal((n, 2))

    def oracle(self, schedule: Schedule, standardiser: Standardiser | None = None) -> Oracle:
        """The exact denoiser in the units of `standardiser`; None leaves the data as it is."""
        return _oracle(self.law, schedule, standardiser or Standardiser.identity(2))

    def labelled_oracle(self, schedule: Schedule, standardiser: Standardiser | None = None) -> LabelledOracle:
        """As `oracle`, and told a class it is the exact denoiser of that class.

        Raises:
            UsageError: a shape without natural classes.
        """
        parts = [self.of_class(label).oracle(schedule, standardiser) for label in self._classes()]
        return LabelledOracle(parts, np.ones(len(parts)))  # the classes are equally likely

    def of_class(self, label: int) -> "Truth":
        """The law of one class, by its number.

        Raises:
            UsageError: a shape without natural classes, or an unknown one.
        """
        if label not in self._classes():
            raise UsageError(f"'{self.name}' has no class {label}; its classes are {list(self._classes())}.")
        return Truth(self.name, _part(self.law, label))

    @property
    def modes(self) -> Array | None:
        """Centres (k, 2) of the blobs or squares, in the order of their labels; None for a shape of curves."""
        law = self.law
        if len(np.unique(law.labels)) < len(law.labels):
            return None
        return law.nodes if isinstance(law, Atoms) else (law.lows + law.highs) / 2

    def labels(self, x: ArrayLike) -> NDArray[np.int64]:
        """The likeliest class of each point, (n,), for points x (n, 2).

        Raises:
            UsageError: a shape without natural classes.
        """
        x = _points(x)
        # The classes are equally likely.
        return np.argmax([self.of_class(label).log_density(x) for label in self._classes()], axis=0)

    def _classes(self) -> NDArray[np.int64]:
        if self.law.labels[0] < 0:
            raise UsageError(f"'{self.name}' has no natural classes.")
        return np.unique(self.law.labels)

    def _exact(self, x: Array, law: Law) -> Exact:
        # At t = 0, where alpha_t = 1 and sigma_t = 0, x_t is the data.
        with float64():
            exact = _oracle(law, VarianceExploding(), Standardiser.identity(2)).rows(x, 0.0)
            return Exact(*(np.asarray(part) for part in exact))  # type: ignore[arg-type]

    def _outside(self, x: Array) -> NDArray[np.bool_]:
        law = self.law
        if law.spread > 0 or isinstance(law, Atoms):
            return np.zeros(len(x), dtype=bool)
        inside: NDArray[np.bool_] = np.asarray((law.lows <= x[:, None]) & (x[:, None] <= law.highs))  # (n, m, 2)
        outside: NDArray[np.bool_] = ~np.any(np.all(inside, axis=2), axis=1)
        return outside


def truth(name: str, *, noise: float | None = None) -> Truth:
    """What is true of the shape `name`.

    Args:
        name: a key of `SHAPES`.
        noise: as `motes.draw` takes it; None takes the shape's default.

    Raises:
        UsageError: an unknown name, a `noise` out of range, or one that leaves a curve without a density.
    """
    return Truth(name, shapes.law(name, noise))


def _oracle(law: Law, schedule: Schedule, standardiser: Standardiser) -> Oracle:
    spread = law.spread / standardiser.scale
    if isinstance(law, Atoms):
        return EmpiricalOracle(standardiser.forward(law.nodes), schedule, law.weights, spread)
    lows, highs = standardiser.forward(law.lows), standardiser.forward(law.highs)
    return BoxesOracle(lows, highs, law.weights, schedule, spread)


def _part(law: Law, label: int) -> Law:
    """The law of one class."""
    mine = law.labels == label
    weights = law.weights[mine] / law.weights[mine].sum()
    if isinstance(law, Atoms):
        return Atoms(law.nodes[mine], weights, law.spread, law.labels[mine])
    return type(law)(law.lows[mine], law.highs[mine], weights, law.spread, law.labels[mine])


def _points(x: ArrayLike) -> Array:
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] != 2 or not len(x) or not np.isfinite(x).all():
        raise UsageError(f"points have shape {x.shape}; expected (n, 2) with n >= 1, all finite.")
    return x
