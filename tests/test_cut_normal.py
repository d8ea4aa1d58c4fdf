"""A normal variable cut to an interval, against SciPy, in the tails and in between."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from motes.points.exact import draw, log_mass, moments
from motes.training.programs import float64

INF = np.inf
INTERVALS = [
    (-INF, INF),
    (-1.0, 2.0),
    (-INF, 4.0),
    (-0.3, 0.3),
    (0.1, 0.1001),
    (3.0, INF),
    (-INF, -3.0),
    (5.0, 5.001),
    (8.0, 9.0),
    (-9.0, -8.0),
    (20.0, 20.02),
    (50.0, INF),
    (50.0, 50.1),
    (-301.0, -300.0),
]
LOW, HIGH = np.array(INTERVALS).T
U = (np.arange(2000) + 0.5) / 2000


def exact_log_mass(a, b):
    if a > 0:
        a, b = -b, -a
    if np.isinf(a):
        return stats.norm.logcdf(b)
    # Over the density at the end that is nearest to 0, so that nothing underflows.
    c = min(b, 0.0)
    start = max(a, c - 40)
    value, _ = integrate.quad(lambda z: np.exp((c - z) * (c + z) / 2), start, b, epsabs=0, epsrel=1e-12, limit=500)
    return np.log(value) - c**2 / 2 - np.log(2 * np.pi) / 2


@pytest.mark.parametrize(("kind", "within"), [(np.float64, 1e-10), (np.float32, 2e-6)])
def test_the_mass_is_right(kind, within):
    low, high = LOW.astype(kind), HIGH.astype(kind)
    with float64(kind is np.float64):
        found = jax.jit(log_mass)(jnp.asarray(low), jnp.asarray(high))
    exact = [exact_log_mass(float(a), float(b)) for a, b in zip(low, high, strict=True)]
    np.testing.assert_allclose(found, exact, rtol=within, atol=within)


@pytest.mark.parametrize("double", [True, False])
def test_draws_are_spread_as_the_cut_normal_is(double):
    # The cdf of what u is turned into is u, from the mass below it over the whole mass.
    with float64(double):
        low, high = jnp.asarray(LOW, float)[:, None], jnp.asarray(HIGH, float)[:, None]
        z = jax.jit(draw)(jnp.asarray(U, float), low, high)
        assert z.dtype == (jnp.float64 if double else jnp.float32)
        low, high, z = (np.asarray(part, float) for part in (low, high, z))
    assert ((low <= z) & (z <= high)).all()
    above = (
        np.clip(low, -400, 400) + np.clip(high, -400, 400) > 0
    )  # there it looks at the other side, and turns it over
    assert (np.diff(np.where(above, -z, z), axis=1) >= 0).all()
    for a, b, over, row in zip(low[:, 0], high[:, 0], above[:, 0], z, strict=True):
        whole = exact_log_mass(a, b)
        for k in range(100, 2000, 300):
            below = 1 - U[k] if over else U[k]
            # Within short intervals the density is taken for exponential; and z itself is rounded, the ends as well.
            rounding = (
                4 * np.finfo(np.float64 if double else np.float32).eps * abs(row[k]) * (abs(row[k]) + 1 / (b - a))
            )
            assert np.exp(exact_log_mass(a, row[k]) - whole) == pytest.approx(below, abs=1e-5 + rounding)


@pytest.mark.slow
def test_every_number_between_0_and_1_gives_one_in_the_interval():
    ends = jnp.array([jnp.finfo(jnp.float32).tiny, 1 - 2.0**-24])
    for a, b in INTERVALS:
        z = draw(ends, jnp.float32(a), jnp.float32(b))
        assert np.isfinite(z).all()
        assert ((np.float32(a) <= z) & (z <= np.float32(b))).all()


@pytest.mark.slow(but=["True"])
@pytest.mark.parametrize("double", [True, False])
def test_the_moments_are_right(double):
    a = np.array([-60.0, -1.0, -0.3, 0.1, -40.0, 2.0, -7.0, -0.2, 1.0])
    width = np.array([57.0, 3.0, 0.6, 1e-4, 80.0, 1.0, 4.0, 2.5, 6.0])
    with float64(double):
        mean, variance = jax.jit(moments)(jnp.asarray(a, float), jnp.asarray(width, float))
    exact = []
    nodes, weights = np.polynomial.legendre.leggauss(1000)
    for low, high in zip(a, a + width, strict=True):
        c = np.clip(0.0, low, high)  # where the density is largest
        low, high = np.clip([c - 12, c + 12], low, high)
        step = (low + high) / 2 - c + (high - low) / 2 * nodes
        share = weights * np.exp(-step * (c + step / 2))
        share /= share.sum()
        exact.append((c + share @ step, share @ (step - share @ step) ** 2))
    np.testing.assert_allclose(mean, np.transpose(exact)[0], rtol=1e-9 if double else 1e-5, atol=1e-6)
    np.testing.assert_allclose(variance, np.transpose(exact)[1], rtol=1e-6 if double else 2e-4)
