"""Bijections: they go up, they go back, and their log-determinants are derivatives."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from tests.reference import law

from motes.data.bijections import Asinh, Cells, Heaps, Identity, Log, Logit, Quantiles, Softplus, fit_asinh
from motes.data.peaks import Peaks, peaks_of

CELLS = Cells.of(np.array([5, 1, 0.5, 20]))
COUNTED = np.repeat([3, 4, 9, 30], [10, 100, 40, 1])
# 90 rows on a geometric law and 40 and 30 on peaks, the first of which is where the interval begins.
PEAKED = np.concatenate([np.repeat([0, 31], [40, 30]), np.round(10 * 1.05 ** np.arange(90)).astype(int)])
# Each with values inside its interval, from end to end.
CURVES = {
    "identity": (Identity(), np.linspace(-50, 50, 201)),
    "log": (Log(), np.geomspace(1e-200, 1e200, 201)),
    "log from -2": (Log(-2.0), -2 + np.geomspace(1e-3, 1e9, 201)),
    "softplus": (Softplus(3.0, 2.0), 3 + np.geomspace(1e-3, 1e3, 201)),
    "logit": (Logit(-1.0, 4.0), -1 + 5 * stats.norm.cdf(np.linspace(-5, 5, 201))),
    "asinh": (Asinh(1.0, 0.3), 1 + np.sinh(np.linspace(-20, 20, 201))),
    "asinh, wide": (Asinh(1e250, 1e290), np.linspace(-1e300, 1e300, 201)),
    "cells": (CELLS, (np.arange(4)[:, None] + np.linspace(0.01, 0.99, 50)).ravel()),
    "heaps": (Heaps.of(np.array([5, 1, 0.5, 20])), (np.arange(4)[:, None] + np.linspace(0.01, 0.99, 50)).ravel()),
    "quantiles": (Quantiles.of(COUNTED), (np.arange(-20, 60)[:, None] + np.linspace(0.01, 0.99, 7)).ravel()),
    "quantiles from 0": (
        Quantiles.of(COUNTED, bounded=True),
        (np.arange(60)[:, None] + np.linspace(0.01, 0.99, 7)).ravel(),
    ),
    "peaks": (
        Peaks.of(PEAKED + 0.5, np.array([0.0, 31.0]), Log()),
        np.concatenate([(np.arange(60)[:, None] + np.linspace(0.01, 0.99, 7)).ravel(), np.geomspace(61, 1e4, 100)]),
    ),
    "peaks, both ways": (
        Peaks.of(PEAKED + 0.5, np.array([0.0, 31.0]), Asinh(30.0, 20.0)),
        (np.arange(-2000, 2000, 10)[:, None] + np.linspace(0.01, 0.99, 7)).ravel(),
    ),
    "narrow peaks": (
        Peaks(Asinh(0.0, 1.0), 0.0, 1.0, np.array([-1.0, 2.0]), np.array([0.3, 0.5]), 0.2, 0.1),
        np.concatenate([np.linspace(-9, -1.01, 50), np.linspace(-0.99, -0.91, 9), np.linspace(-0.89, 1.99, 50)]),
    ),
    "flat": (Quantiles.flat(np.linspace(-3, 5, 50), 0.0), np.linspace(-20.01, 20, 401)),
}
each = pytest.mark.parametrize(("curve", "x"), CURVES.values(), ids=CURVES)


@each
def test_it_rises_and_goes_back(curve, x):
    z = curve.forward(x)
    assert (np.diff(z) > 0).all()
    assert np.allclose(curve.inverse(z), x, rtol=1e-9, atol=1e-12)


@each
def test_the_log_determinant_is_the_logarithm_of_the_derivative(curve, x):
    # Over how far the derivative changes; that of the cells jumps at whole numbers, which are 0.01 away.
    room = {
        Log: lambda: x - curve.low,
        Softplus: lambda: np.minimum(x - curve.low, curve.width),
        Logit: lambda: np.minimum(x - curve.low, curve.high - x),
        Asinh: lambda: np.hypot(x - curve.centre, curve.width),
    }.get(type(curve), lambda: np.ones_like(x))()
    step = 1e-4 * room
    slope = (curve.forward(x + step) - curve.forward(x - step)) / (2 * step)
    # A central difference is wrong by its step squared, and by rounding over its step.
    assert np.allclose(curve.log_det(x), np.log(slope), atol=1e-4)


@law
@given(st.sampled_from(sorted(CURVES)), st.floats(allow_nan=False))
def test_any_number_comes_back_inside_and_finite(name, z):
    curve, _ = CURVES[name]
    x = float(curve.inverse(np.array([z]))[0])
    assert np.isfinite(x)
    from_0 = isinstance(curve, Cells | Heaps) or name in ("quantiles from 0", "peaks")
    low = getattr(curve, "low", 0 if from_0 else -np.inf)
    high = getattr(curve, "high", 4 if isinstance(curve, Cells | Heaps) else np.inf)
    assert low <= x <= high


def test_the_mass_of_a_cell_is_its_probability():
    # Phi over the cell is an integral of the normal density times the derivative.
    edges = CELLS.inverse(CELLS.forward(np.array([1.0, 2.0, 3.0])))
    assert np.allclose(edges, [1, 2, 3])
    mass = np.diff(stats.norm.cdf([-np.inf, *CELLS.forward(np.array([1.0, 2.0, 3.0])), np.inf]))
    assert np.allclose(mass, np.array([5, 1, 0.5, 20]) / 26.5, rtol=1e-12)


def test_a_normal_law_falls_into_heaps_as_often_as_they_came_up():
    heaps = Heaps.of(np.array([5, 1, 0.5, 20]))
    z = np.linspace(-6, 6, 200_001)
    assert np.array_equal(np.floor(heaps.inverse(z)), np.floor(CELLS.inverse(z)))
    # The noise of a cell lies in the middle of it: half of it within a third of the way to the nearer end.
    y = heaps.forward(np.arange(4)[:, None] + np.array([0.25, 0.5, 0.75]))
    ends = CELLS.forward(np.arange(1, 4.0))
    assert np.allclose(y[1:3, 1], (ends[:2] + ends[1:]) / 2)
    assert ((y[1:3, 2] - y[1:3, 0]) < np.diff(ends) / 3).all()
    assert np.allclose(stats.norm.cdf(y[[0, 3], 1]), [2.5 / 26.5, 16.5 / 26.5], atol=0.01)  # but for what is cut off


def test_a_uniform_cell_is_normal_after_it():
    # Kolmogorov and Smirnov at p > 1e-6: a false alarm once in a million seeds.
    rng = np.random.default_rng(0)
    k = rng.choice(4, size=4000, p=np.diff(CELLS.edges))
    assert stats.kstest(CELLS.forward(k + rng.random(4000)), "norm").pvalue > 1e-6


def test_numbers_that_came_up_are_normal_after_their_quantiles():
    curve = Quantiles.of(COUNTED)
    mass = np.diff(stats.norm.cdf(curve.forward(np.array([3.0, 4, 5, 9, 10, 30, 31]))))
    # Of 151 rows and half a one at each end; of what lies between, once that of the one number that came up once.
    rows = np.array([10, 100, 0.5, 40, 0.5, 1])
    assert np.allclose(mass, rows / (rows.sum() + 1), rtol=1e-9)
    assert stats.norm.cdf(curve.forward(np.array([3.0])))[0] == pytest.approx(0.5 / (rows.sum() + 1))


def test_peaks_have_their_masses_and_the_rest_its_law():
    # Kolmogorov and Smirnov at p > 1e-6: a false alarm once in a million seeds.
    rng = np.random.default_rng(3)
    curve = Peaks(Log(), 3.0, 1.5, np.array([0.0, 20.0, 500.0]), np.array([0.3, 0.2, 0.1]), 0.4)
    which = rng.choice(4, size=4000, p=[0.3, 0.2, 0.1, 0.4])
    x = np.choose(which, [rng.random(4000), 20 + rng.random(4000), 500 + rng.random(4000), 0])
    x[which == 3] = np.exp(3 + 1.5 * rng.standard_normal((which == 3).sum()))
    assert stats.kstest(curve.forward(x), "norm").pvalue > 1e-6
    mass = np.diff(stats.norm.cdf(curve.forward(np.array([20.0, 21.0, 500.0, 501.0]))))
    smooth = np.diff(stats.norm.cdf((np.log([20, 21, 500, 501]) - 3) / 1.5))
    assert np.allclose(mass, [0.2, 0, 0.1] + 0.4 * smooth, rtol=1e-9)


def test_what_lies_beyond_all_peaks_keeps_its_digits():
    curve = Peaks(Identity(), 0.0, 1.0, np.array([-3.0, 2.0]), np.array([0.3, 0.6]), 0.1)
    x = np.array([-1e5, -60.5, -9.3, 9.3, 60.5, 1e5])
    assert np.allclose(curve.inverse(curve.forward(x)), x, rtol=1e-12)


def test_peaks_are_found_where_far_more_rows_are():
    rng = np.random.default_rng(4)
    bell = rng.normal(0, 300, 20_000).round().astype(int)  # 27 rows on each of its middle values
    assert len(peaks_of(bell)) == 0
    spikes = np.repeat([-50, 0, 7, 900], [300, 200, 19, 20])
    assert peaks_of(np.concatenate([bell[:5000], spikes])).tolist() == [-50, 0, 900]  # 19 rows are too few to say
    assert peaks_of(np.repeat([3, 500], [40, 30])).tolist() == [3, 500]


def test_a_uniform_law_is_normal_after_the_flat_curve():
    rng = np.random.default_rng(1)
    curve = Quantiles.flat(rng.uniform(2, 7, 4000), 0.0, 0.0)
    assert curve.forward(np.array([0.0]))[0] == -np.inf
    # Kolmogorov and Smirnov at p > 1e-6: a false alarm once in a million seeds.
    assert stats.kstest(curve.forward(rng.uniform(2, 7, 4000)), "norm").pvalue > 1e-6


def test_every_z_decodes_to_the_cell_that_it_came_from():
    z = np.linspace(-8, 8, 2001)
    assert np.array_equal(np.floor(CELLS.inverse(z)), np.searchsorted(stats.norm.ppf(CELLS.edges), z, "right") - 1)


@pytest.mark.parametrize("centre", [0.0, 1e6])
@pytest.mark.parametrize("width", [1e-6, 1.0, 1e9])
def test_the_fitted_curve_finds_johnsons_law(centre, width):
    # x = centre + width sinh(z): S_U with gamma 0, delta 1. The likelihood at the fit is that at the truth or higher.
    z = np.random.default_rng(1).standard_normal(4000)
    x = centre + width * np.sinh(2 * z)

    def likelihood(curve):
        y = curve.forward(x)
        return stats.norm.logpdf(y, y.mean(), y.std()).mean() + curve.log_det(x).mean()

    assert likelihood(fit_asinh(x)) > likelihood(Asinh(centre, width)) - 1e-4


def test_tails_of_1e308_are_drawn_in():
    x = np.concatenate([np.random.default_rng(2).standard_cauchy(500), [1e308, -1.5e308]])
    curve = fit_asinh(x)
    z = curve.forward(x)
    assert np.isfinite(z).all()
    assert np.allclose(curve.inverse(z), x, rtol=1e-9)
    assert np.isfinite(curve.log_det(x)).all()
