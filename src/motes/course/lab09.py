"""The exercises of lab 9, guidance and conditions."""

import numpy as np

from motes.course.exercises import exercise


def _estimates(rng):
    return [(rng.normal(size=2), rng.normal(size=2), weight) for weight in (0.0, 0.5, 1.0, 2.0, 4.0)]


def _from_zero(strong, weak, weight):
    """Ho & Salimans (2022) count the weight from 0. Here, weight 1 must return the estimate of the class."""
    return guided_x0(strong, weak, 1 + weight)


def _exchanged(strong, weak, weight):
    """Weight 0 must return the estimate without a class, and weight 1 the estimate of the class."""
    return guided_x0(weak, strong, weight)


def _not_subtracted(strong, weak, weight):
    """The weights of the two estimates must add up to 1; here they add up to 1 + w."""
    return weak + weight * strong


def _interpolated(strong, weak, weight):
    """Guidance goes beyond the class if the weight is above 1."""
    return guided_x0(strong, weak, min(weight, 1.0))


def _averaged(strong, weak, weight):
    """An average lies between the two estimates; guidance goes beyond the class if the weight is above 1."""
    return (weak + weight * strong) / (1 + weight)


@exercise(
    lab=9,
    level="easy",
    question="The guided estimate of x_0, from the estimates given the class and given nothing, and the weight.",
    inputs=_estimates,
    wrong={
        "the weight counts from 0": _from_zero,
        "the estimates with and without the class are exchanged": _exchanged,
        "the estimate without the class is not subtracted": _not_subtracted,
        "the weight stops at 1": _interpolated,
        "the two estimates are averaged": _averaged,
    },
)
def guided_x0(strong, weak, weight):
    """Go from the estimate without the class towards the estimate of the class, and beyond it.

    Weight 0 returns `weak`, weight 1 returns `strong`, and weight 2 goes twice as far.
    """
    return weak + weight * (strong - weak)


def _known(rng):
    calls = []
    for correlation in (0.8, -0.6, 0.3):
        first, second = rng.uniform(0.5, 2.0, size=2)
        both = correlation * first * second
        covariance = np.array([[first**2, both], [both, second**2]])
        calls.append((rng.normal(size=2), rng.normal(), rng.uniform(0.3, 0.9), rng.uniform(0.4, 1.5), covariance))
    return calls


def _second(mean, variance, x_t, value, alpha, noise):
    return np.array([value, mean + alpha * variance / (alpha**2 * variance + noise) * (x_t[1] - alpha * mean)])


def _replaced(x_t, value, alpha, sigma, covariance):
    """This is replacement: the denoiser sees one noisy copy of the value instead of the value."""
    there = np.array([alpha * value, x_t[1]])
    joint = alpha * covariance @ np.linalg.solve(alpha**2 * covariance + sigma**2 * np.eye(2), there)
    return np.array([value, joint[1]])


def _same_variance(x_t, value, alpha, sigma, covariance):
    """Given x_0[0], the variance of x_0[1] is C[1, 1] - C[1, 0]^2 / C[0, 0]."""
    return _second(covariance[1, 0] / covariance[0, 0] * value, covariance[1, 1], x_t, value, alpha, sigma**2)


def _same_mean(x_t, value, alpha, sigma, covariance):
    """Given x_0[0] = value, the mean of x_0[1] is C[1, 0] / C[0, 0] value."""
    variance = covariance[1, 1] - covariance[1, 0] ** 2 / covariance[0, 0]
    return _second(0.0, variance, x_t, value, alpha, sigma**2)


def _other_slope(x_t, value, alpha, sigma, covariance):
    """You divided by the variance of x_0[1], which belongs to the regression of x_0[0] on x_0[1]."""
    slope = covariance[1, 0] / covariance[1, 1]
    return _second(slope * value, covariance[1, 1] - slope * covariance[1, 0], x_t, value, alpha, sigma**2)


def _deviation(x_t, value, alpha, sigma, covariance):
    """Variances add up: alpha^2 variance + sigma^2."""
    slope = covariance[1, 0] / covariance[0, 0]
    return _second(slope * value, covariance[1, 1] - slope * covariance[1, 0], x_t, value, alpha, sigma)


def _no_alpha(x_t, value, alpha, sigma, covariance):
    """x_t is alpha x_0 + sigma eps; only for the schedule of the lab is alpha = 1."""
    return known_coordinate(x_t, value, 1.0, sigma, covariance)


@exercise(
    lab=9,
    level="middle",
    question="E[x_0 | x_t, x_0[0] = value] for x_0 ~ N(0, covariance) in the plane and x_t = alpha x_0 + sigma eps.",
    inputs=_known,
    wrong={
        "the first coordinate of x_t is replaced, and the joint denoiser is used": _replaced,
        "the variance of the second coordinate does not shrink": _same_variance,
        "the mean of the second coordinate does not move": _same_mean,
        "the slope of the other regression": _other_slope,
        "a standard deviation where a variance belongs": _deviation,
        "alpha is missing": _no_alpha,
    },
)
def known_coordinate(x_t, value, alpha, sigma, covariance):
    """First write mean and variance of x_0[1] given x_0[0] = value; then denoise x_t[1] with them.

    The noisy x_t[0] adds nothing, because its noise is independent of everything else. The first entry of the answer is
    `value` itself.
    """
    slope = covariance[1, 0] / covariance[0, 0]
    mean, variance = slope * value, covariance[1, 1] - slope * covariance[1, 0]  # of x_0[1] given x_0[0]
    gain = alpha * variance / (alpha**2 * variance + sigma**2)
    return np.array([value, mean + gain * (x_t[1] - alpha * mean)])


def _flows(rng):
    return [(weight, *rng.uniform([0.5, 0.2, 0.9, 2.0], [2.0, 0.8, 1.6, 9.0])) for weight in (0.5, 1.0, 1.7, 3.0)]


def _sharpened(weight, m, s, v, r_max):
    """This is the mean of p(x | y)^w p(x)^(1-w). Guidance does not sample from this density."""
    return weight * m / s**2 / (weight / s**2 + (1 - weight) / v**2)


def _equal_widths(weight, m, s, v, r_max):
    """w m is the mean if s = v and r_max is large. Here the widths differ."""
    return weight * m


def _of_class(weight, m, s, v, r_max):
    """m is the mean of the class, which is the answer only for weight 1 and a large r_max."""
    return m


def _limit(weight, m, s, v, r_max):
    """The flow starts at a finite noise level, where its mean is 0."""
    return guided_mean(weight, m, s, v, np.inf)


def _one_pull(weight, m, s, v, r_max):
    """The class pulls with the weight w: its part of dx/dr is w r (x - m) / (s^2 + r^2)."""
    return guided_mean(weight, m, s, v, r_max) / weight


def _other_class(weight, m, s, v, r_max):
    """The class has the standard deviation s, and all classes together have v."""
    return guided_mean(weight, m, v, s, r_max)


@exercise(
    lab=9,
    level="research",
    question="The mean of guided samples: start N(0, r_max^2), class N(m, s^2), all classes together N(0, v^2).",
    inputs=_flows,
    rtol=1e-3,
    wrong={
        "the mean of the sharpened density": _sharpened,
        "the two widths are treated as equal": _equal_widths,
        "the mean of the class": _of_class,
        "r_max is treated as infinite": _limit,
        "the weight of the class is missing": _one_pull,
        "the two widths are exchanged": _other_class,
    },
)
def guided_mean(weight, m, s, v, r_max):
    """The mean follows the flow from x = 0: dx/dr = w r (x - m) / (s^2 + r^2) + (1 - w) r x / (v^2 + r^2).

    Solve it with small steps, or with u = r^2 and G = (s^2 + u)^(w/2) (v^2 + u)^((1-w)/2): then x / G has the
    derivative -w m / (2 (s^2 + u) G) with respect to u.
    """
    from scipy.integrate import quad

    growth = lambda u: (s**2 + u) ** (weight / 2) * (v**2 + u) ** ((1 - weight) / 2)
    pull, _ = quad(lambda r: 2 * r / ((s**2 + r**2) * growth(r**2)), 0, r_max)
    return weight * m / 2 * growth(0) * pull
