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


def _point_root_missing(x0, eps, alpha_bar):
    """The noise is right. The variance of x0 is multiplied by the square of its factor: which square is it here?"""
    return alpha_bar * x0 + np.sqrt(1 - alpha_bar) * eps


def _noise_root_missing(x0, eps, alpha_bar):
    """The point is right. The variance of eps is multiplied by the square of its factor: which square is it here?"""
    return np.sqrt(alpha_bar) * x0 + (1 - alpha_bar) * eps


def _squared_for_noise(x0, eps, alpha_bar):
    """alpha_bar is a share of the variance already. Add up the squares of your two factors."""
    return np.sqrt(alpha_bar) * x0 + np.sqrt(1 - alpha_bar**2) * eps


def _noise_unscaled(x0, eps, alpha_bar):
    """With alpha-bar = 1 no noise must be left. Add up the squares of your two factors."""
    return np.sqrt(alpha_bar) * x0 + eps


def _noise_missing(x0, eps, alpha_bar):
    """Only the point is shrunk, so the variance falls below 1. What fills it up?"""
    return np.sqrt(alpha_bar) * x0


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
        "the square root at x0 is missing": _point_root_missing,
        "the square root at eps is missing": _noise_root_missing,
        "alpha-bar is squared once more for the noise": _squared_for_noise,
        "the noise is not scaled": _noise_unscaled,
        "the noise is missing": _noise_missing,
    },
)
def noisy_point(x0, eps, alpha_bar):
    """Write down the shares of the variance that the point and the noise have. Which factors give these shares?

    A factor f multiplies a variance by f^2. So the factor of a share of the variance is its square root.
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


def _brackets_missing(x, new):
    """Python divides first: only the mean was divided by the standard deviation, and the rows were not."""
    return new - x.mean(axis=0) / x.std(axis=0)


def _by_range(x, new):
    """The smallest and largest values became 0 and 1. The derivation needs mean 0 and variance 1."""
    return (new - x.min(axis=0)) / (x.max(axis=0) - x.min(axis=0))


def _together(x, new):
    """The model was trained before the new rows arrived. Its units do not change with them."""
    return standardise(np.concatenate([x, new]), new)


def _of_training(x, new):
    """The statistics are right. Apply them to the rows that have just arrived."""
    return standardise(x, x)


def _undone(x, new):
    """This turns standardised rows into data. The question goes in the other direction."""
    return x.mean(axis=0) + x.std(axis=0) * new


def _only_centred(x, new):
    """The columns still have their own widths. Their standard deviation should become 1."""
    return new - x.mean(axis=0)


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
        "brackets are missing": _brackets_missing,
        "scaled to the range from 0 to 1": _by_range,
        "the statistics of both tables together": _together,
        "the rows of x are returned instead of the new rows": _of_training,
        "the way back": _undone,
        "only the mean is subtracted": _only_centred,
    },
)
def standardise(x, new):
    """The model knows only the units of the rows that it was trained on. Which numbers describe these units?

    Use the mean and the standard deviation of each column of x (axis=0), also for the new rows.
    """
    return (new - x.mean(axis=0)) / x.std(axis=0)


def _modes(rng):
    return [(m, tau) for m, tau in zip(rng.uniform(1.5, 4, 5), rng.uniform(0.2, 0.9, 5), strict=True)]


def _tau_not_shrunk(m, tau):
    """The mixing multiplies the whole point by alpha: the places of the modes, and their widths as well."""
    return (1 + tau**2) / (1 + m**2)


def _deviations_added(m, tau):
    """The width of a mode comes from two independent Gaussians. What adds up for these?"""
    return 1 / (1 + (m - tau) ** 2)


def _noise_share(m, tau):
    """This is 1 - alpha_bar. The question is how much is still data."""
    return 1 - merging_alpha_bar(m, tau)


def _noise_ignored(m, tau):
    """You compared the shrunk distance with tau alone. After the mixing, a mode also has the variance of the noise."""
    return tau**2 / m**2


def _places_by_alpha_bar(m, tau):
    """alpha_bar is a share of the variance. By which factor are the places of the modes multiplied?"""
    return (np.hypot(1 - tau**2, 2 * m) - (1 - tau**2)) / (2 * m**2)


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
        "the width tau is not shrunk": _tau_not_shrunk,
        "standard deviations are added": _deviations_added,
        "the share of the noise": _noise_share,
        "the noise does not widen the modes": _noise_ignored,
        "the modes are shrunk by alpha_bar instead of its root": _places_by_alpha_bar,
    },
)
def merging_alpha_bar(m, tau):
    """Section 5 says when two equal modes become one. Which position and which width do they have after the noise?

    Two equal Gaussians at -a and a with variance s^2 merge where a = s, so set a^2 = s^2 and solve for alpha_bar.

    After the noise, a = sqrt(alpha_bar) m, and s^2 = alpha_bar tau^2 + 1 - alpha_bar.
    """
    return 1 / (1 + m**2 - tau**2)
