"""The map of an interval to the line, by which a uniform column stays uniform but for smooth edges."""

import numpy as np
import pytest
from scipy import integrate, stats

from motes.data.tables import LEAST, SMOOTH, log_density, quantile, shares

ENDS = np.array([LEAST, 1e-15, 1e-12, 1e-9, 1e-6, 1e-3, 0.01, 0.03, 0.1, 0.25, 0.4, 0.5])


def cdf(y):
    """P(U + s N < y), by integrating over U."""
    # From the side of the smaller tail, over the values of u that count.
    return integrate.quad(lambda u: stats.norm.cdf((y - u) / SMOOTH), 0, 1, points=[0.05, 0.2, 0.5], epsrel=1e-12)[0]


@pytest.mark.parametrize("u", ENDS)
def test_the_quantile_is_that_of_a_uniform_number_plus_a_normal_one(u):
    (y,) = quantile(np.array([u]), np.array([1 - u]))
    assert cdf(y) == pytest.approx(u, rel=1e-9)
    (density,) = np.exp(log_density(np.array([y])))
    # The convolution, the other way round: how much of N(y, s^2) is within (0, 1).
    exact = integrate.quad(lambda v: stats.norm.pdf(y, v, SMOOTH), 0, 1, points=[0.05, 0.2, 0.5], epsrel=1e-12)[0]
    assert density == pytest.approx(exact, rel=1e-9)


def test_both_ends_have_all_their_digits():
    low, high = quantile(ENDS, 1 - ENDS), quantile(1 - ENDS, ENDS)
    np.testing.assert_allclose(high, 1 - low, atol=1e-15)
    np.testing.assert_allclose(shares(low)[0], ENDS, rtol=1e-12)
    np.testing.assert_allclose(shares(high)[1], ENDS, rtol=1e-12)
    np.testing.assert_allclose(log_density(high), log_density(low), rtol=1e-12)


def test_the_map_increases_and_has_the_slope_that_it_says():
    u = np.linspace(0, 1, 20_001)
    y = quantile(u, 1 - u)
    assert (np.diff(y) > 0).all()
    np.testing.assert_allclose(shares(y)[0][1:-1], u[1:-1], rtol=1e-10)
    some, step = np.linspace(1e-3, 1 - 1e-3, 999), 1e-6
    rise = quantile(some + step, 1 - some - step) - quantile(some - step, 1 - some + step)
    np.testing.assert_allclose(np.log(rise / (2 * step)), -log_density(quantile(some, 1 - some)), atol=1e-4)


def test_the_middle_of_an_interval_stays_as_it_is():
    u = np.linspace(0.3, 0.7, 41)
    np.testing.assert_allclose(quantile(u, 1 - u), u, atol=1e-3 * SMOOTH)


def test_what_is_far_outside_is_at_the_end():
    y = np.array([-1e300, -1e6, -50.0, 50.0, 1e6, 1e300])
    low, high = shares(y)
    np.testing.assert_array_equal(low, [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(high, [1, 1, 1, 0, 0, 0])
    assert np.isnan(quantile(np.array([np.nan]), np.array([np.nan]))).all()
