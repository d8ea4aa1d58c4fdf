"""Classifier-free guidance, products of posteriors, and sampling options.

Guidance extrapolates from a weaker denoiser beyond a stronger one:

    x0_hat = weak + weight (strong - weak)

If `strong` is conditioned on a class and `weak` is not, this is classifier-free guidance (Ho & Salimans 2022, eq. 6,
whose w is weight - 1); if `weak` is a weaker copy of `strong`, it is autoguidance (Karras et al. 2024, eq. 3). A weight
of 1 is `strong` itself. With any other weight the samples have no known density; they are more typical of their class
and less diverse than the class.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from motes.data.tables import SMOOTH
from motes.errors import UsageError, unknown
from motes.points.denoisers import Denoiser, Given, JointDenoiser
from motes.points.exact import Array, moments
from motes.points.sampling import Sampler
from motes.points.schedules import Schedule


@dataclass(frozen=True)
class Guidance:
    """Options of guidance away from a weaker denoiser.

    Attributes:
        weight: strength of the guidance. 1 leaves the model unchanged; 2 to 4 makes points more typical of their class
            and less diverse.
        low, high: guidance is used at times between these, 0 = data, 1 = noise.
        weak: a weaker copy of the model to guide away from ("autoguidance"); None guides away from all classes together
            (classifier-free guidance).

    Raises:
        UsageError: numbers out of range.

    Example:
        >>> x, labels = motes.data.make_labelled_shape("moons", 200)
        >>> labelled = motes.fit(x, labels=labels, changes={"training.steps": 2}, verbose=False)
        >>> labelled.sample(3, label=1, sampling={"guidance": motes.Guidance(2.0, high=0.8)}).shape
        (3, 2)
    """

    weight: float
    low: float = 0.0
    high: float = 1.0
    weak: Any = None

    def __post_init__(self) -> None:
        weight: object = self.weight  # its type has not been checked yet
        if isinstance(weight, bool) or not isinstance(weight, int | float | np.number) or not 0 <= weight < math.inf:
            raise UsageError(f"guidance weight = {weight!r}; expected a finite number at least 0. 1 is no guidance.")
        if not 0 <= self.low < self.high <= 1:
            raise UsageError(
                f"guidance from t = {self.low} to {self.high}; expected 0 <= low < high <= 1, 0 being data and 1 noise."
            )


class Guided(JointDenoiser):
    """A guided denoiser: weak + weight (strong - weak) for low <= t <= high, otherwise `strong`.

    The limits on t follow Kynkaanniemi et al. 2024.

    Args:
        strong: the denoiser that is guided.
        weak: the denoiser to guide away from.
        guidance: the weight, 0 for `weak` and 1 for `strong`, or the weight with an interval of t.
        weak_knows: whether `weak` is also conditioned on the class, as in autoguidance.

    Example:
        >>> from motes.points import GaussianOracle, VarianceExploding
        >>> from motes.points.guidance import Guided
        >>> schedule = VarianceExploding(sigma_max=1.0)
        >>> strong, weak = (GaussianOracle([mean], [[1.0]], schedule) for mean in (1.0, 0.0))
        >>> print(strong(jnp.array([0.0]), 1.0), Guided(strong, weak, 3.0)(jnp.array([0.0]), 1.0))
        [0.5] [1.5]
    """

    strong: Denoiser
    weak: Denoiser
    weight: jax.Array
    low: jax.Array
    high: jax.Array
    weak_knows: bool = eqx.field(static=True)
    schedule: Schedule

    def __init__(self, strong: Denoiser, weak: Denoiser, guidance: float | Guidance, *, weak_knows: bool = False):
        options = guidance if isinstance(guidance, Guidance) else Guidance(guidance)
        self.strong, self.weak, self.weak_knows, self.schedule = strong, weak, weak_knows, strong.schedule
        # As arrays, so that another weight does not compile another program.
        self.weight, self.low, self.high = map(jnp.array, (options.weight, options.low, options.high))

    def given(self, known: Given) -> "Guided":
        strong = self.strong.given(known)
        # Without autoguidance, only the class is withheld from the weak denoiser.
        less = known if self.weak_knows else known._replace(label=None)
        weak = self.weak.given(less) if jax.tree.leaves(less) else self.weak
        return eqx.tree_at(lambda guided: (guided.strong, guided.weak), self, (strong, weak))

    def x0_and_eps(self, x_t: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        weight = jnp.where((self.low <= t) & (t <= self.high), self.weight, 1.0)
        strong, weak = self.strong.x0_and_eps(x_t, t), self.weak.x0_and_eps(x_t, t)
        x0, eps = (b + weight * (a - b) for a, b in zip(strong, weak, strict=True))
        return x0, eps


# --- Several independent observations of one point ------------------------------------------------------------------
#
# The posteriors given each observation are composed into the posterior given all of them:
#
#     p(x_0 | x_t, c_1, ..., c_m)  is proportional to  p(x_0 | x_t)^(1 - m) prod_i p(x_0 | x_t, c_i)
#
# Each posterior contains the prior, which must count only once (Geffner et al. 2023). If the factors are approximated
# by Gaussians with precisions P + r I and P + L_i + r I, r = alpha_t^2 / sigma_t^2, and the denoisers' means (Linhart
# et al. 2024), the product is also Gaussian, and its mean is the composed denoiser:
#
#     Lambda x0_hat = (1 - m) (P + r I) x0_hat_prior + sum_i (P + L_i + r I) x0_hat_i,
#     Lambda = P + sum_i L_i + r I
#
# L_i is the precision that observation i adds. The composition is exact for Gaussian posteriors under a Gaussian prior.
# Each denoiser may have its own origin.


AT_ONCE = 16  # observations per batch of the network


class NoisyPrior(eqx.Module):
    """A prior with Gaussian and uniform columns: exact mean and precision given a noisy copy y = x_0 + tau e.

        x_0 ~ N(mean, precision^-1)    E[x_0 | y] - y = (P + r I)^-1 P (mean - y),    P = precision
        x_0 ~ U(low, high) + N(0, s^2)    -S E[W] tau^2,    S^2 = s^2 + tau^2

    W is a standard Gaussian truncated to ((y - high) / S, (y - low) / S). By Tweedie's formula the mean follows from
    the slope of log p(y), -E[W] / S, and the precision from its curvature, P = (1 - Var[W]) / (s^2 + tau^2 Var[W]).

    Args:
        mean: mean of the Gaussian columns (d,).
        precision: precision of the Gaussian columns (d, d), 0 in the rows and columns of uniform ones.
        low, high: bounds of the uniform columns (d,); not finite for Gaussian ones.
    """

    mean: jax.Array
    precision: jax.Array
    low: jax.Array
    high: jax.Array

    def __init__(self, mean: Array, precision: Array, low: Array | None = None, high: Array | None = None):
        nowhere = np.full(len(mean), np.inf)
        ends = -nowhere if low is None else low, nowhere if high is None else high
        self.mean, self.precision, self.low, self.high = map(jnp.asarray, (mean, precision, *ends))

    def __call__(self, y: jax.Array, tau: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return (P + r I) (E[x_0 | y] - y), (d,), and P (d, d), for y (d,) with noise tau, which may be 0."""
        uniform = jnp.isfinite(self.low)
        low, high = jnp.where(uniform, self.low, -1.0), jnp.where(uniform, self.high, 1.0)
        s = SMOOTH * (high - low)
        width = jnp.sqrt(s**2 + tau**2)
        mean, variance = moments((y - high) / width, (high - low) / width)
        below = s**2 + tau**2 * variance
        moved = jnp.where(uniform, -width * mean / below, self.precision @ (self.mean - y))
        return moved, self.precision + jnp.diag(jnp.where(uniform, (1 - variance) / below, 0.0))


class Composed(Denoiser):
    """The denoiser E[x_0 | x_t, all observations], composed from the denoisers given each observation.

    Args:
        denoiser: the denoiser of points given one observation.
        known: conditioning on each of m observations, arrays with a leading m.
        added: L_i (m, d, d).
        prior: the prior of the points.
        origins: origin of the denoiser's coordinates for each observation (m, d); None: 0.
    """

    denoiser: Denoiser
    known: Given
    added: jax.Array
    prior: NoisyPrior
    origins: jax.Array
    schedule: Schedule

    def __init__(self, denoiser: Denoiser, known: Given, added: Array, prior: NoisyPrior, origins: Array | None = None):
        self.denoiser, self.known, self.schedule = denoiser, known, denoiser.schedule
        self.added, self.prior = jnp.asarray(added), prior
        self.origins = jnp.zeros(added.shape[:2]) if origins is None else jnp.asarray(origins)

    def __call__(self, x_t: jax.Array, t: jax.Array) -> jax.Array:
        alpha, r = self.schedule.alpha(t), jnp.exp(self.schedule.log_snr(t))
        y = x_t / alpha
        moved_prior, precision = self.prior(y, 1 / jnp.sqrt(r))
        precision = precision + r * jnp.eye(x_t.size)

        def moved(part: tuple[Given, jax.Array, jax.Array]) -> jax.Array:
            known, added, origin = part
            return (precision + added) @ (self.denoiser.given(known)(x_t - alpha * origin, t) + origin - y)

        # All means are relative to y, since otherwise large numbers would cancel at low noise.
        total = jax.lax.map(moved, (self.known, self.added, self.origins), batch_size=AT_ONCE).sum(axis=0)
        total = total - (len(self.added) - 1) * moved_prior
        return y + jnp.linalg.solve(precision + self.added.sum(axis=0), total)


def added_precisions(precisions: Array, priors: Array, unit: Array) -> Array:
    """Return the precisions that posteriors (m, d, d) add to the prior's precision at each of them, `priors` (m, d, d).

    If a posterior is wider than its prior in some direction, in the units of `unit` (d, d), it adds nothing there,
    since otherwise the product of the Gaussians divided by the prior might not be a Gaussian.
    """
    root = np.linalg.cholesky(unit)
    white = np.linalg.inv(root)
    more = white @ (precisions - priors) @ white.T
    sizes, axes = np.linalg.eigh((more + np.swapaxes(more, 1, 2)) / 2)
    kept = np.einsum("mij,mj,mkj->mik", axes, np.maximum(sizes, 0.0), axes)
    return np.asarray(root @ kept @ root.T)


# --- Sampling options that differ from the recipe: one object for every call that draws points ----------------------


@dataclass(frozen=True)
class Sampling:
    """Sampling options; None leaves an option as in the recipe.

    Attributes:
        sampler: a name (see `motes samplers`), or a sampler with its options, such as `DDIM(eta=0.5)`.
        steps: number of steps of the grid.
        grid: a name such as "karras", or times (N+1,) that fall from 1 to 0.
        guidance: a guidance weight, above 1 for points more typical of their class, or a `Guidance`; None: no guidance.

    Raises:
        UsageError: a value of another type, `steps` together with times, or a weight below 0.

    Example:
        >>> one, same = motes.Sampling(sampler="ddim", steps=8), {"sampler": "ddim", "steps": 8}
        >>> (model.sample(3, sampling=one) == model.sample(3, sampling=same)).all().item()
        True
    """

    sampler: str | Sampler | None = None
    steps: int | None = None
    grid: ArrayLike | None = None
    guidance: float | Guidance | None = None

    def __post_init__(self) -> None:
        if not (self.sampler is None or isinstance(self.sampler, str | Sampler)):
            raise UsageError(
                f"sampler = {self.sampler!r}; expected a name, such as 'heun' (see `motes samplers`), or a sampler "
                "with its options, such as Heun()."
            )
        if self.grid is not None and not isinstance(self.grid, str):
            if self.steps is not None:
                raise UsageError(
                    f"got steps = {self.steps} and a grid of times; expected one of them. The times set the steps."
                )
            object.__setattr__(self, "grid", _parse_times(self.grid))
        if not (self.guidance is None or isinstance(self.guidance, Guidance)):
            Guidance(self.guidance)  # checks the weight

    @classmethod
    def of(cls, sampling: "Sampling | Mapping[str, Any] | None") -> "Sampling":
        """Convert `sampling` to a `Sampling`: itself, or a mapping such as {"steps": 50}; None changes nothing.

        Raises:
            UsageError: an unknown key, or another type.

        Example:
            >>> motes.Sampling.of({"sampler": "ddim", "steps": 8})
            Sampling(sampler='ddim', steps=8, grid=None, guidance=None)
        """
        if sampling is None or isinstance(sampling, Sampling):
            return sampling or cls()
        if not isinstance(sampling, Mapping):
            raise UsageError(
                f"sampling = {sampling!r}; expected motes.Sampling(...), or a mapping such as "
                "{'sampler': 'heun', 'steps': 50}."
            )
        names = [one.name for one in fields(cls)]
        for name in sampling:
            if name not in names:
                raise UsageError(unknown("option", str(name), names, " in `sampling`"))
        return cls(**sampling)


def _parse_times(grid: ArrayLike) -> tuple[float, ...]:
    """Convert times to a tuple, so that two objects can be compared."""
    try:
        times = np.asarray(grid, float)
    except (TypeError, ValueError):
        times = np.empty(())
    if times.ndim != 1:
        raise UsageError(f"grid = {grid!r}; expected a name, such as 'karras', or times (N+1,) that fall from 1 to 0.")
    return tuple(times.tolist())
