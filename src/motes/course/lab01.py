"""The exercises of lab 1, data and noise."""

import numpy as np

from motes.course.exercises import exercise


def _points(rng):
    return [(rng.normal(size=(5, 2)), rng.normal(size=(5, 2)), alpha_bar) for alpha_bar in (0.9, 0.5, 0.07)]


def _roots_missing(x0, eps, alpha_bar):
    """alpha-bar and 1 - alpha-bar are shares of the variance. A point is scaled by their square roots."""
    return alpha_bar * x0 + (1 - alpha_bar) * eps


def _exchanged(x0, eps, alpha_bar):
    """With alpha-bar = 1 nothing has happened yet: the result has to be x0."""
    return np.sqrt(1 - alpha_bar) * x0 + np.sqrt(alpha_bar) * eps


def _not_shrunk(x0, eps, alpha_bar):
    """The point is shrunk as well; otherwise the variance grows above 1."""
    return x0 + np.sqrt(1 - alpha_bar) * eps


def _complement(x0, eps, alpha_bar):
    """The squares of both factors have to add up to 1, not the factors."""
    return np.sqrt(alpha_bar) * x0 + (1 - np.sqrt(alpha_bar)) * eps


def _squared(x0, eps, alpha_bar):
    """alpha-bar is alpha squared already: x0 is scaled by alpha = sqrt(alpha_bar)."""
    return alpha_bar * x0 + np.sqrt(1 - alpha_bar**2) * eps


def _minus(x0, eps, alpha_bar):
    """The noise is added. Its distribution would be the same, but it would not be this noise."""
    return np.sqrt(alpha_bar) * x0 - np.sqrt(1 - alpha_bar) * eps


@exercise(
    lab=1,
    level="easy",
    question="The noisy copy of points x0 (n, d), with noise eps (n, d) and a share alpha_bar of the variance left.",
    inputs=_points,
    wrong={
        "the square roots are missing": _roots_missing,
        "the factors of x0 and eps are exchanged": _exchanged,
        "x0 is not shrunk": _not_shrunk,
        "1 - sqrt(alpha_bar) instead of sqrt(1 - alpha_bar)": _complement,
        "alpha-bar is taken for alpha": _squared,
        "the sign of the noise is wrong": _minus,
    },
)
def noisy_point(x0, eps, alpha_bar):
    """Shrink the point, then add noise, so that a variance of 1 stays 1.

    The factors are the square roots of the shares of the variance.
    """
    return np.sqrt(alpha_bar) * x0 + np.sqrt(1 - alpha_bar) * eps


def _tables(rng):
    scale, place = np.array([0.2, 3.0]), np.array([5.0, -1.0])
    return [(place + scale * rng.normal(size=(20, 2)), place + scale * rng.normal(size=(4, 2))) for _ in range(3)]


def _by_variance(x, new):
    """The variance has squared units. Divide by its square root."""
    return (new - x.mean(axis=0)) / x.var(axis=0)


def _by_itself(x, new):
    """New rows use the mean and standard deviation of the training rows. With their own, one row would always be 0."""
    return (new - new.mean(axis=0)) / new.std(axis=0)


def _not_centred(x, new):
    """The noise has mean 0, so the data needs mean 0, too."""
    return new / x.std(axis=0)


def _one_scale(x, new):
    """Each column has its own mean and standard deviation: axis=0."""
    return (new - x.mean()) / x.std()


def _degrees(x, new):
    """Use ddof=0, as `numpy.std` does, so that the training rows have a standard deviation of exactly 1."""
    return (new - x.mean(axis=0)) / x.std(axis=0, ddof=1)


@exercise(
    lab=1,
    level="middle",
    question="New rows (m, d), standardised by the means and standard deviations (divide by n) of rows x (n, d).",
    inputs=_tables,
    wrong={
        "the variance instead of the standard deviation": _by_variance,
        "the statistics of the new rows": _by_itself,
        "the mean is not subtracted": _not_centred,
        "one mean and one standard deviation for all columns": _one_scale,
        "n - 1 instead of n": _degrees,
    },
)
def standardise(x, new):
    """Subtract the mean of each column of x, then divide by its standard deviation."""
    return (new - x.mean(axis=0)) / x.std(axis=0)


def _modes(rng):
    return [(m, tau) for m, tau in zip(rng.uniform(1.5, 4, 5), rng.uniform(0.2, 0.9, 5), strict=True)]


@exercise(
    lab=1,
    level="research",
    question="The alpha_bar at which the two modes of an equal mixture of N(-m, tau^2) and N(m, tau^2) become one.",
    inputs=_modes,
    wrong={
        "the width tau of the modes is ignored": lambda m, tau: 1 / (1 + m**2),
        "the distance 2m instead of half of it": lambda m, tau: 1 / (1 + 4 * m**2 - tau**2),
        "alpha instead of alpha-bar": lambda m, tau: 1 / np.sqrt(1 + m**2 - tau**2),
        "the sign of tau^2 is wrong": lambda m, tau: 1 / (1 + m**2 + tau**2),
        "a standard deviation where a variance belongs": lambda m, tau: 1 / (1 + m**2 - tau),
    },
)
def merging_alpha_bar(m, tau):
    """Two equal Gaussians at -a and a have one mode if a is at most their standard deviation.

    After the noise, a = sqrt(alpha_bar) m, and the variance of each is alpha_bar tau^2 + 1 - alpha_bar.
    """
    return 1 / (1 + m**2 - tau**2)
