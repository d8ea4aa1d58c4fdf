"""Toy shapes in the plane, and the exact distributions from which they are drawn.

A shape is a clean distribution plus isotropic Gaussian noise.

    x = clean + spread * eps,    eps ~ N(0, I)

The clean distribution is uniform on boxes, or a sum over atoms: the centres of blobs, or the nodes and weights of a
quadrature rule along a curve. With nodes 3/8 of the noise apart, the sum gives the density of the blurred curve within
1e-7 of its largest value (measured in the tests).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from motes.arguments import check_arguments
from motes.errors import UsageError, check_count, check_seed, unknown

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

ORDER = 8  # Gauss-Legendre nodes per panel
PANEL = 3.0  # length of a panel of a curve, in units of the noise
FEWEST = 16  # minimum number of panels: enough for the bends of a curve, whatever the noise
MOST = 200_000  # maximum number of nodes of a shape


@dataclass(frozen=True)
class Distribution:
    """Boxes with corners `lows` and `highs` (m, 2), or points if both are equal, blurred by `spread`.

    `weights` (m,) sum to 1, and `labels` (m,) are the classes; -1: none.
    """

    lows: Array
    highs: Array
    weights: Array
    spread: float
    labels: Labels

    def __repr__(self) -> str:
        return f"Distribution({len(self.lows):,} {'points' if self.atoms else 'boxes'}, spread={self.spread:g})"

    @property
    def atoms(self) -> bool:
        """Whether the boxes are points."""
        return bool((self.lows == self.highs).all())

    def divided(self, scale: float) -> Distribution:
        """Return the distribution of x / scale."""
        return replace(self, lows=self.lows / scale, highs=self.highs / scale, spread=self.spread / scale)


@dataclass(frozen=True)
class Curve:
    """A curve u -> (x, y) for u from `low` to `high`; `density` is the density of u up to a factor, None if uniform."""

    at: Callable[[Array], Array]
    low: float
    high: float
    density: Callable[[Array], Array] | None = None


def blurred_boxes(lows: Array, highs: Array, spread: float) -> Distribution:
    """Return the distribution of equally likely boxes or points (m, 2), each a class of its own."""
    count = len(lows)
    return Distribution(lows, highs, np.full(count, 1 / count), spread, np.arange(count))


def blurred_curves(curves: Sequence[Curve], spread: float, labels: Sequence[int] | None = None) -> Distribution:
    """Return the distribution of equally likely curves, by quadrature; `labels` are their classes, by default 0, 1, ...

    Raises:
        UsageError: if there is no noise, hence no density, or so little that more than `MOST` nodes would be needed.
    """
    if spread == 0:
        raise UsageError("a curve without noise has no density: its points fill no area. Use noise > 0.")
    tables = [_arc_lengths(curve) for curve in curves]
    counts = [max(FEWEST, int(np.ceil(length[-1] / (PANEL * spread)))) for _, length in tables]
    if ORDER * sum(counts) > MOST:
        least = ORDER * sum(length[-1] for _, length in tables) / (PANEL * MOST)
        raise UsageError(
            f"noise = {spread:g} is too small for a quadrature with {MOST:,} nodes. Use noise > {least:.1g}."
        )
    parts = [_quadrature(curve, *table, count) for curve, table, count in zip(curves, tables, counts, strict=True)]
    nodes, weights = zip(*parts, strict=True)
    whose = np.arange(len(curves)) if labels is None else np.asarray(labels)
    points, whose = np.concatenate(nodes), np.repeat(whose, [len(part) for part in nodes])
    return Distribution(points, points, np.concatenate(weights) / len(curves), spread, whose)


def _arc_lengths(curve: Curve) -> tuple[Array, Array]:
    """Return a fine grid of u, and the length of the curve up to each."""
    u = np.linspace(curve.low, curve.high, 4001)
    return u, np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(curve.at(u), axis=0), axis=1))])


def _quadrature(curve: Curve, u: Array, length: Array, panels: int) -> tuple[Array, Array]:
    """Return nodes (m, 2) and weights (m,) that sum to 1: the Gauss-Legendre rule in panels of equal length."""
    edges = np.interp(np.linspace(0, length[-1], panels + 1), length, u)
    place, weight = np.polynomial.legendre.leggauss(ORDER)
    half = np.diff(edges)[:, None] / 2
    at = (edges[:-1, None] + half * (1 + place)).ravel()
    weights = (half * weight).ravel()
    if curve.density is not None:
        weights = weights * curve.density(at)
    return curve.at(at), weights / weights.sum()


# --- The shapes: name -> points -------------------------------------------------------------------------------------
#
# Every shape is a clean curve, set of centres or region, blurred by isotropic Gaussian noise:
#
#     x = clean(u) + noise * eps,    eps ~ N(0, I)
#
# so that any noise level makes sense. `swiss_roll`, `s_curve` and `moons` are drawn by scikit-learn, exactly as in the
# tutorial and with its seeds. Noise is added before the tutorial's division by 10.


Draw = Callable[[int, float, int], tuple[Array, Labels | None]]  # (n, noise, seed) -> points (n, 2), labels (n,)


@dataclass(frozen=True)
class Shape:
    """A named shape.

    `make(n, noise, seed)` returns points (n, 2) and labels (n,) or None; `blurred(noise)` returns their exact
    distribution. `noise` is the default standard deviation of the noise, before the drawn points are divided by
    `scale`.
    """

    name: str
    about: str
    noise: float
    classes: int | None
    make: Draw
    blurred: Callable[[float], Distribution]
    scale: float = 1.0


@check_arguments
def make_shape(name: str, n: int, *, seed: int = 0, noise: float | None = None) -> Array:
    """Draw `n` points of the shape `name`.

    Args:
        name: a key of `SHAPES`, such as "swiss_roll".
        n: the number of points, at least 1.
        seed: the same seed gives the same points.
        noise: standard deviation of the noise, in the shape's units before its `scale`; None uses the default.

    Returns:
        Points of shape (n, 2), float64, in random order.

    Raises:
        UsageError: for an unknown name, or if `n`, `seed` or `noise` is out of range.

    Example:
        >>> x = motes.make_shape("swiss_roll", 1000)
        >>> x.shape, bool((x == motes.make_shape("swiss_roll", 1000, seed=0)).all())
        ((1000, 2), True)
    """
    return _draw(name, n, seed, noise)[0]


def make_labelled_shape(name: str, n: int, *, seed: int = 0, noise: float | None = None) -> tuple[Array, Labels]:
    """Draw points as `make_shape` does, and return them with the class of each point, (n,) integers from 0.

    Raises:
        UsageError: as in `make_shape`, and for a shape without natural classes.

    Example:
        >>> x, labels = motes.data.make_labelled_shape("moons", 1000)
        >>> x.shape, sorted(set(labels.tolist()))
        ((1000, 2), [0, 1])
    """
    x, labels = _draw(name, n, seed, noise)
    if labels is None:
        those = ", ".join(shape.name for shape in SHAPES.values() if shape.classes)
        raise UsageError(f"'{name}' has no natural classes. Shapes with classes: {those}.")
    return x, labels


def distribution(name: str, noise: float | None = None) -> Distribution:
    """Return the distribution from which `make_shape` draws, in the units of the drawn points.

    scikit-learn spaces the clean points of `moons` and `circles` evenly; the distribution is the limit of many points.

    Raises:
        UsageError: for an unknown name, a `noise` out of range, or a curve without noise, which has no density.
    """
    shape = _find_shape(name)
    try:
        return shape.blurred(_check_noise(shape, noise)).divided(shape.scale)
    except UsageError as error:
        raise UsageError(f"'{name}': {error}") from None


def _find_shape(name: str) -> Shape:
    if name not in SHAPES:
        raise UsageError(unknown("shape", name, SHAPES))
    return SHAPES[name]


def _check_noise(shape: Shape, noise: float | None) -> float:
    if noise is None:
        return shape.noise
    if not (isinstance(noise, int | float | np.number) and np.isfinite(noise) and noise >= 0):
        raise UsageError(f"noise = {noise}; expected a finite standard deviation >= 0.")
    return float(noise)


def _draw(name: str, n: int, seed: int, noise: float | None) -> tuple[Array, Labels | None]:
    shape = _find_shape(name)
    n, seed = check_count(n, "points"), check_seed(seed)
    x, labels = shape.make(n, _check_noise(shape, noise), seed)
    return x / shape.scale, labels


# --- drawn by scikit-learn, which is imported late because it loads slowly -----------------------------------------


def _sklearn(name: str, **options: float) -> Draw:
    def draw(n: int, noise: float, seed: int) -> tuple[Array, Labels | None]:
        from sklearn import datasets

        x, labels = getattr(datasets, f"make_{name}")(n, noise=noise, random_state=seed, **options)
        return (x, labels.astype(np.int64)) if x.shape[1] == 2 else (x[:, [0, 2]], None)

    return draw


# --- drawn here ---------------------------------------------------------------------------------------------------


def _drawn(classes: int, clean: Callable[[np.random.Generator, Labels], Array]) -> Draw:
    """Draw equally likely classes (n,), their `clean` points (n, 2), and noise."""

    def draw(n: int, noise: float, seed: int) -> tuple[Array, Labels]:
        rng = np.random.default_rng(seed)
        labels = rng.integers(classes, size=n)
        x = clean(rng, labels)
        return x + noise * rng.standard_normal(x.shape), labels

    return draw


def _stack_xy(x: NDArray[np.floating], y: NDArray[np.floating]) -> Array:
    return np.stack([x, y], axis=1, dtype=np.float64)  # (n, 2)


def _polar_to_xy(radius: NDArray[np.floating] | float, angle: NDArray[np.floating]) -> Array:
    return _stack_xy(radius * np.cos(angle), radius * np.sin(angle))


CHECKERBOARD_SQUARES = [(i, j) for i in range(4) for j in range(4) if (i + j) % 2 == 0]
PINWHEEL_ARMS = 5
RING_RADII = (0.75, 1.5, 2.25, 3.0)


def _checkerboard(rng: np.random.Generator, labels: Labels) -> Array:
    corners = np.array(CHECKERBOARD_SQUARES, dtype=float)[labels] - 2.0  # a 4 x 4 board on [-2, 2]^2
    return corners + rng.random(corners.shape)


def _eight_gaussians(rng: np.random.Generator, labels: Labels) -> Array:
    return _polar_to_xy(2.0, labels * (2 * np.pi / 8))


def _pinwheel(rng: np.random.Generator, labels: Labels) -> Array:
    # The radius is Gaussian, and each arm bends: the angle grows with exp(radius - 1), as in Johnson et al. 2016
    # (structured variational autoencoders).
    radius = 1.0 + 0.3 * rng.standard_normal(len(labels))
    return _polar_to_xy(radius, labels * (2 * np.pi / PINWHEEL_ARMS) + 0.25 * np.exp(radius))


def _two_spirals(rng: np.random.Generator, labels: Labels) -> Array:
    # sqrt: uniform along the arm, since its speed grows with the radius
    turn = 3 * np.pi * np.sqrt(rng.random(len(labels)))
    return _polar_to_xy(turn / 3, turn + np.pi * labels)


def _rings(rng: np.random.Generator, labels: Labels) -> Array:
    return _polar_to_xy(np.array(RING_RADII)[labels], 2 * np.pi * rng.random(len(labels)))


# --- the distributions -----------------------------------------------------------------------------------------


SPIRAL = Curve(lambda t: _polar_to_xy(t, t), 1.5 * np.pi, 4.5 * np.pi)
UPPER_S = Curve(lambda t: _stack_xy(np.sin(t), np.cos(t) - 1), 0, 1.5 * np.pi)
LOWER_S = Curve(lambda t: _stack_xy(np.sin(t), 1 - np.cos(t)), -1.5 * np.pi, 0)
OUTER_MOON = Curve(lambda a: _polar_to_xy(1.0, a), 0, np.pi)
INNER_MOON = Curve(lambda a: np.array([1.0, 0.5]) - _polar_to_xy(1.0, a), 0, np.pi)


def _circle(radius: float) -> Curve:
    return Curve(lambda a: _polar_to_xy(radius, a), 0, 2 * np.pi)


def _pinwheel_arm(label: int) -> Curve:
    turn = label * (2 * np.pi / PINWHEEL_ARMS)
    density = lambda r: np.exp(-(((r - 1.0) / 0.3) ** 2) / 2)
    # The radius is beyond 7 standard deviations with probability 3e-12.
    return Curve(lambda r: _polar_to_xy(r, turn + 0.25 * np.exp(r)), 1.0 - 7 * 0.3, 1.0 + 7 * 0.3, density)


def _spiral_arm(label: int) -> Curve:
    return Curve(lambda turn: _polar_to_xy(turn / 3, turn + np.pi * label), 0, 3 * np.pi, lambda turn: turn)


_blur_swiss_roll = partial(blurred_curves, [SPIRAL], labels=[-1])
_blur_s_curve = partial(blurred_curves, [UPPER_S, LOWER_S], labels=[-1, -1])
_blur_moons = partial(blurred_curves, [OUTER_MOON, INNER_MOON])
_blur_circles = partial(blurred_curves, [_circle(1.0), _circle(0.5)])
_blur_pinwheel = partial(blurred_curves, [_pinwheel_arm(label) for label in range(PINWHEEL_ARMS)])
_blur_two_spirals = partial(blurred_curves, [_spiral_arm(0), _spiral_arm(1)])
_blur_rings = partial(blurred_curves, [_circle(radius) for radius in RING_RADII])


def _blur_checkerboard(noise: float) -> Distribution:
    lows = np.array(CHECKERBOARD_SQUARES, dtype=float) - 2.0
    return blurred_boxes(lows, lows + 1, noise)


def _blur_eight_gaussians(noise: float) -> Distribution:
    if noise == 0:
        raise UsageError("eight points without noise have no density. Use noise > 0.")
    centres = _polar_to_xy(2.0, np.arange(8) * (2 * np.pi / 8))
    return blurred_boxes(centres, centres, noise)


SHAPES: dict[str, Shape] = {
    shape.name: shape
    for shape in [
        Shape("swiss_roll", "a rolled-up strip", 0.1, None, _sklearn("swiss_roll"), _blur_swiss_roll, 10.0),
        Shape("s_curve", "an S, seen from its side", 0.1, None, _sklearn("s_curve"), _blur_s_curve, 10.0),
        Shape("moons", "two interleaving half circles", 0.1, 2, _sklearn("moons"), _blur_moons),
        Shape("circles", "a circle in a circle", 0.05, 2, _sklearn("circles", factor=0.5), _blur_circles),
        Shape("checkerboard", "half of a 4 x 4 board", 0.0, 8, _drawn(8, _checkerboard), _blur_checkerboard),
        Shape("eight_gaussians", "eight blobs in a ring", 0.2, 8, _drawn(8, _eight_gaussians), _blur_eight_gaussians),
        Shape("pinwheel", "five bent arms", 0.05, 5, _drawn(5, _pinwheel), _blur_pinwheel),
        Shape("two_spirals", "two spiral arms", 0.1, 2, _drawn(2, _two_spirals), _blur_two_spirals),
        Shape("rings", "four rings, one in another", 0.08, 4, _drawn(4, _rings), _blur_rings),
    ]
}
