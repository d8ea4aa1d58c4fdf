"""The probability flow of one point: it carries the point into noise, with the integral of its divergence.

    log p(x) = log N(z_1; 0, I) + integral of div f(z, u) du - d log tau,    dz/du = f(z, u) = c eps_hat - c^2 z

with u = log r, r = sigma_t / alpha_t, tau = sqrt(1 + r^2), c = r / tau and z = x_t / (alpha_t tau) (Song et al. 2021,
eq. 39, in other variables). In y = x_t / alpha_t every schedule has the same flow, dy/dr = eps_hat; for data of unit
variance most of it widens y alone, and in z that part is gone.

The integral starts at r = r_min, and so does that tau. Below, the score is held at what it is there, since a network
knows nothing of less noise than it was trained with: eps_hat(y, r) = r / r_min eps_hat(y, r_min). Where eps_hat is
exact this costs about (r_min / s)^4 / 4 nats a column, s being the smallest scale of the data. So p is the distribution
that the flow brings N(0, I) to, which is what Heun's method draws from as its steps and its last noise level shrink. A
chain of noisy steps has another distribution, and the variational bound is about that one.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from motes.diffusion._denoiser import Denoiser, Given

Field = Callable[[jax.Array, jax.Array], jax.Array]
"""(z (d,), v ()) -> dz/dv (d,)."""
Number = int | float | jax.Array

# u = CENTRE + BEND sinh(v): steps are short where a flow decides where to go, near r = 0.3, and long towards both ends.
CENTRE, BEND = math.log(0.3), 3.0

MOST_STEPS = 10_000  # adaptive ones

# Weights of the first nodes, and of the last in reverse, that give the trapezoidal rule order 6: Gregory's rule with
# fourth differences. Between the ends it converges faster than any order where the slope is analytic.
GREGORY = (95 / 288, 317 / 240, 23 / 30, 793 / 720, 157 / 160)

# Small matrices stay in the cache nearest to a core, and XLA gives each a core alone; several blocks at once occupy the
# others. On two cores this took half the time of matrices that are large enough to be divided.
MATRIX = 384  # rows: points times (directions + 1)


class Hutchinson(eqx.Module):
    """An estimate of the divergence from random directions (Grathwohl et al. 2019, eq. 7).

    Args:
        kind: of the directions, "rademacher" or "gaussian".
        key: of the directions. Those of a row depend on it and on the row, not on where the row stands.
        probes: how many directions, at least 2.

    Raises:
        ValueError: another kind, or fewer probes.

    Example:
        >>> from motes.diffusion import GaussianOracle, VarianceExploding
        >>> from motes.sampling import Hutchinson, log_likelihood
        >>> oracle = GaussianOracle(np.zeros(2), np.eye(2), VarianceExploding(sigma_max=80.0))
        >>> divergence = Hutchinson("rademacher", jax.random.key(0), probes=8)
        >>> found = log_likelihood(oracle, [[0.5, 0.2]], divergence=divergence)
        >>> round(float(found.log_prob[0]), 2), found.standard_error.shape
        (-1.98, (1,))
    """

    kind: str = eqx.field(static=True)
    key: jax.Array
    probes: int = eqx.field(static=True, default=32)

    def __check_init__(self) -> None:
        if self.kind not in ("rademacher", "gaussian"):
            raise ValueError(f"divergence = {self.kind!r}; expected 'exact', 'rademacher' or 'gaussian'.")
        if self.probes < 2:
            raise ValueError(f"probes = {self.probes}; a random divergence needs at least 2.")


Divergence = Literal["exact"] | Hutchinson


def v_of(r: float) -> float:
    """Where a noise level lies on the grid."""
    return math.asinh((math.log(r) - CENTRE) / BEND)


class Flow(NamedTuple):
    """What to integrate, and from which r to which.

    `end` is an array (), so that schedules which differ in their numbers alone, such as those from a time on, share one
    compiled program.
    """

    denoiser: Denoiser
    r_min: float
    end: jax.Array
    """v at r_max; see `v_of`."""
    divergence: Divergence

    @property
    def begin(self) -> float:
        """v at r_min."""
        return v_of(self.r_min)

    def block(self, dim: int) -> int:
        """Points in a block."""
        return max(MATRIX // ((self.probes or dim) + 1), 1)

    @property
    def probes(self) -> int | None:
        """How many random directions; None where the divergence is exact."""
        return self.divergence.probes if isinstance(self.divergence, Hutchinson) else None


def _field(denoiser: Denoiser, z: jax.Array, v: jax.Array) -> jax.Array:
    """dz/dv (d,)."""
    u = CENTRE + BEND * jnp.sinh(v)
    r = jnp.exp(u)
    tau = jnp.sqrt(1 + r**2)
    c = r / tau
    t = denoiser.schedule.t_of_log_snr(-2 * u)
    eps_hat = denoiser.eps(denoiser.schedule.alpha(t) * tau * z, t)
    return BEND * jnp.cosh(v) * (c * eps_hat - c**2 * z)


def _held(denoiser: Denoiser, r_min: float, y: jax.Array, _: jax.Array) -> jax.Array:
    """dy/dq (d,) below r_min, where q = r^2 / (2 r_min): eps_hat at r_min."""
    t = denoiser.schedule.t_of_log_snr(-2 * math.log(r_min))
    return denoiser.eps(denoiser.schedule.alpha(t) * y, t)


def _slope_and_divergence(
    field: Field, z: jax.Array, v: jax.Array, directions: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The slope (d,), and e . J e for each direction e (k, d): summed over unit vectors it is the divergence."""
    at_v = lambda z: field(z, v)
    slope, moved = jax.vmap(lambda e: jax.jvp(at_v, (z,), (e,)), out_axes=(None, 0))(directions)
    return slope, jnp.sum(moved * directions, axis=1)


def _integrate(
    field: Field,
    z: jax.Array,
    directions: jax.Array,
    begin: float,
    step: Number,
    steps: Number,
    weight: Callable[[Number], jax.Array],
) -> tuple[jax.Array, jax.Array]:
    """z (d,) after `steps` steps of the classical Runge-Kutta method, and the integrals of e . J e (k,).

    They are sums over the nodes with `weight(i)`: derivatives are most of the work, and are taken once a step.
    """

    def move(i: jax.Array, carry: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        z, slope, total = carry
        v = begin + i * step
        second = field(z + step / 2 * slope, v + step / 2)
        third = field(z + step / 2 * second, v + step / 2)
        fourth = field(z + step * third, v + step)
        z = z + step / 6 * (slope + 2 * second + 2 * third + fourth)
        slope, divergence = _slope_and_divergence(field, z, v + step, directions)
        return z, slope, total + weight(i + 1) * divergence

    slope, divergence = _slope_and_divergence(field, z, jnp.asarray(begin), directions)
    z, _, total = jax.lax.fori_loop(0, steps, move, (z, slope, weight(0) * divergence))
    return z, step * total


def _simpson(i: Number) -> jax.Array:
    return jnp.array([1 / 3, 4 / 3, 1 / 3])[i]


def _gregory(steps: jax.Array, i: Number) -> jax.Array:
    nearest_end = jnp.minimum(i, steps - i)
    return jnp.array([*GREGORY, 1.0])[jnp.minimum(nearest_end, len(GREGORY))]


def _to_r_min(flow: Flow, x: jax.Array, directions: jax.Array) -> tuple[jax.Array, jax.Array]:
    """z (d,) at r_min for x (d,) at r = 0, and the integrals of e . J e (k,) so far."""
    field = partial(_held, flow.denoiser, flow.r_min)
    y, total = _integrate(field, x, directions, 0.0, flow.r_min / 4, 2, _simpson)
    return y / math.sqrt(1 + flow.r_min**2), total


def _directions(flow: Flow, x: jax.Array) -> jax.Array:
    """Those of one row, (k, d)."""
    random = flow.divergence
    if not isinstance(random, Hutchinson):
        return jnp.eye(len(x))
    draw = jax.random.rademacher if random.kind == "rademacher" else jax.random.normal
    # From the row's own bits: the same wherever the row stands, and independent of those of other rows.
    bits = jax.lax.bitcast_convert_type(x, jnp.uint32).ravel()
    key = jax.lax.scan(lambda key, word: (jax.random.fold_in(key, word), None), random.key, bits)[0]
    return draw(key, (random.probes, len(x))).astype(float)


def _total(flow: Flow, integral: jax.Array) -> jax.Array:
    """By each direction (k,), or all of it (1,)."""
    return integral.sum(keepdims=True) if flow.probes is None else integral


def _of_each(
    flow: Flow, x: jax.Array, given: Given | None, one: Callable[[Flow, jax.Array], tuple[jax.Array, jax.Array]]
) -> tuple[jax.Array, jax.Array]:
    """`one` of the flow of each row and the row."""

    def row(x: jax.Array, known: Given | None) -> tuple[jax.Array, jax.Array]:
        return one(flow if known is None else flow._replace(denoiser=flow.denoiser.given(known)), x)

    return jax.vmap(row)(x, given)


@eqx.filter_jit
def on_grid(flow: Flow, x: jax.Array, given: Given | None, steps: jax.Array) -> tuple[jax.Array, jax.Array]:
    """z (block, d) and its divergence integral (block, k or 1). One program for any number of steps."""

    def one(flow: Flow, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        directions = _directions(flow, x)
        z, before = _to_r_min(flow, x, directions)
        field, weight = partial(_field, flow.denoiser), partial(_gregory, steps)
        z, total = _integrate(field, z, directions, flow.begin, (flow.end - flow.begin) / steps, steps, weight)
        return z, _total(flow, before + total)

    return _of_each(flow, x, given, one)


@eqx.filter_jit
def adaptively(flow: Flow, x: jax.Array, given: Given | None, tolerance: jax.Array) -> tuple[jax.Array, jax.Array]:
    """As `on_grid`, with steps of each row's own; NaN where they became too many."""
    import diffrax  # half a second to load, and only here

    def one(flow: Flow, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        directions = _directions(flow, x)
        z, before = _to_r_min(flow, x, directions)
        field = partial(_field, flow.denoiser)
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda v, state, _: _slope_and_divergence(field, state[0], jnp.asarray(v), directions)),
            diffrax.Dopri8(),
            flow.begin,
            flow.end,
            None,
            (z, jnp.zeros(len(directions))),
            stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
            adjoint=diffrax.ForwardMode(),
            max_steps=MOST_STEPS,
            throw=False,
        )
        z, total = (jnp.where(solution.result == diffrax.RESULTS.successful, part[0], jnp.nan) for part in solution.ys)
        return z, _total(flow, before + total)

    return _of_each(flow, x, given, one)
