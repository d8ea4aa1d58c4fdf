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


def _away(strong, weak, weight):
    """The estimate starts at `weak` and has to move towards `strong`. Look at the sign of the step."""
    return weak - weight * (strong - weak)


def _difference(strong, weak, weight):
    """This is the step that guidance takes. From which estimate does it start?"""
    return weight * (strong - weak)


def _weak_ignored(strong, weak, weight):
    """Guidance does not scale an estimate: with equal estimates, no weight may change anything."""
    return weight * strong


def _subtracted_once(strong, weak, weight):
    """The weights of the two estimates must add up to 1; here they add up to w - 1."""
    return weight * strong - weak


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
        "the step goes away from the class": _away,
        "only the difference of the estimates": _difference,
        "the estimate without the class is ignored": _weak_ignored,
        "the estimate without the class is subtracted once, whatever the weight": _subtracted_once,
    },
)
def guided_x0(strong, weak, weight):
    """Think of a straight line from the estimate without the class to the estimate of the class. Where on it is
    weight 1?

    Weight 0 returns `weak`, weight 1 returns `strong`, and weight 2 goes twice as far from `weak`.
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


def _regression(x_t, value, alpha, sigma, covariance):
    """This is the mean given the known coordinate alone. The noisy x_t[1] says something about x_0[1] as well."""
    return np.array([value, covariance[1, 0] / covariance[0, 0] * value])


def _unconditional(x_t, value, alpha, sigma, covariance):
    """This is the joint denoiser without any condition. Its answer would not change with the value."""
    return alpha * covariance @ np.linalg.solve(alpha**2 * covariance + sigma**2 * np.eye(2), x_t)


def _overwritten(x_t, value, alpha, sigma, covariance):
    """The second coordinate depends on the value, too. Here it does not know the value yet."""
    return np.array([value, _unconditional(x_t, value, alpha, sigma, covariance)[1]])


def _gain_without_alpha(x_t, value, alpha, sigma, covariance):
    """x_t[1] - alpha mean contains alpha times the deviation of x_0[1]. The covariance of the two has this factor."""
    mean = covariance[1, 0] / covariance[0, 0] * value
    return np.array([value, mean + (known_coordinate(x_t, value, alpha, sigma, covariance)[1] - mean) / alpha])


def _mean_not_shrunk(x_t, value, alpha, sigma, covariance):
    """Given the value, x_t[1] lies around alpha times the mean of x_0[1]."""
    mean = covariance[1, 0] / covariance[0, 0] * value
    return known_coordinate(x_t - (1 - alpha) * mean, value, alpha, sigma, covariance)


def _correlation(x_t, value, alpha, sigma, covariance):
    """A correlation has no units. The slope of the regression of x_0[1] on x_0[0] has the unit of their ratio."""
    slope = covariance[1, 0] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    variance = covariance[1, 1] - covariance[1, 0] ** 2 / covariance[0, 0]
    return _second(slope * value, variance, x_t, value, alpha, sigma**2)


def _not_divided(x_t, value, alpha, sigma, covariance):
    """The slope of a regression is a covariance divided by a variance. Which variance is it?"""
    variance = covariance[1, 1] - covariance[1, 0] ** 2 / covariance[0, 0]
    return _second(covariance[1, 0] * value, variance, x_t, value, alpha, sigma**2)


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
        "x_t is ignored": _regression,
        "the known value is ignored": _unconditional,
        "the known value is written over the answer of the joint denoiser": _overwritten,
        "alpha is missing in the gain": _gain_without_alpha,
        "alpha is missing in front of the mean": _mean_not_shrunk,
        "the correlation instead of the slope": _correlation,
        "the covariance instead of the slope": _not_divided,
    },
)
def known_coordinate(x_t, value, alpha, sigma, covariance):
    """Once x_0[0] is known, what is left is one coordinate with a Gaussian prior and one noisy measurement of it.

    First write mean and variance of x_0[1] given x_0[0] = value; then denoise x_t[1] with them. The noisy x_t[0]
    adds nothing, because its noise is independent of everything else. The first entry of the answer is `value`
    itself.

    The mean is C[1, 0] / C[0, 0] value, and the variance C[1, 1] - C[1, 0]^2 / C[0, 0]. A Gaussian N(m, v) has the
    denoiser m + alpha v / (alpha^2 v + sigma^2) (x_t - alpha m).
    """
    slope = covariance[1, 0] / covariance[0, 0]
    mean, variance = slope * value, covariance[1, 1] - slope * covariance[1, 0]  # of x_0[1] given x_0[0]
    gain = alpha * variance / (alpha**2 * variance + sigma**2)
    return np.array([value, mean + gain * (x_t[1] - alpha * mean)])


def _flows(rng):
    return [(weight, *rng.uniform([0.5, 0.2, 0.9, 2.0], [2.0, 0.8, 1.6, 9.0])) for weight in (0.5, 1.0, 1.7, 3.0)]


def _mean_of_flow(weight, other, m, s, v, r_max):
    """Return the mean if the velocity without the class has the weight `other`."""
    from scipy.integrate import quad

    growth = lambda u: (s**2 + u) ** (weight / 2) * (v**2 + u) ** (other / 2)
    return weight * m * growth(0) * quad(lambda r: r / ((s**2 + r**2) * growth(r**2)), 0, r_max)[0]


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


def _class_alone(weight, m, s, v, r_max):
    """The two velocities have the weights w and 1 - w. Here the second one has the weight 0."""
    return _mean_of_flow(weight, 0.0, m, s, v, r_max)


def _unweighted(weight, m, s, v, r_max):
    """The weights of the two velocities have to add up to 1, or weight 1 would not return the class."""
    return _mean_of_flow(weight, 1.0, m, s, v, r_max)


def _weights_exchanged(weight, m, s, v, r_max):
    """Weight 1 must return the flow of the class, and weight 0 the flow of all classes."""
    return guided_mean(1 - weight, m, s, v, r_max)


def _weight_from_zero(weight, m, s, v, r_max):
    """Ho & Salimans (2022) count the weight from 0. Here, weight 1 must return the flow of the class."""
    return guided_mean(1 + weight, m, s, v, r_max)


def _upward(weight, m, s, v, r_max):
    """Samples start at r_max and end at 0. Your steps in r have to be negative."""
    return (
        -guided_mean(weight, m, s, v, r_max)
        * (1 + r_max**2 / s**2) ** (weight / 2)
        * (1 + r_max**2 / v**2) ** ((1 - weight) / 2)
    )


def _variances(weight, m, s, v, r_max):
    """s and v are standard deviations, like r. Which quantities add up?"""
    return guided_mean(weight, m, np.sqrt(s), np.sqrt(v), r_max)


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
        "the part without the class is missing": _class_alone,
        "the part without the class has the weight 1": _unweighted,
        "the two weights are exchanged": _weights_exchanged,
        "the weight counts from 0": _weight_from_zero,
        "the flow is followed from 0 up to r_max": _upward,
        "s and v are taken for variances": _variances,
    },
)
def guided_mean(weight, m, s, v, r_max):
    """For Gaussians the flow is linear, so the mean of the samples follows the flow itself. Where does it start?

    Start at x = 0 and go from r_max down to 0, along dx/dr = w (velocity of the class) + (1 - w) (velocity of all).

    dx/dr = w r (x - m) / (s^2 + r^2) + (1 - w) r x / (v^2 + r^2). Solve it with 10,000 small steps, or with u = r^2
    and G = (s^2 + u)^(w/2) (v^2 + u)^((1-w)/2): then x / G has the derivative -w m / (2 (s^2 + u) G) with respect
    to u.
    """
    from scipy.integrate import quad

    growth = lambda u: (s**2 + u) ** (weight / 2) * (v**2 + u) ** ((1 - weight) / 2)
    pull, _ = quad(lambda r: 2 * r / ((s**2 + r**2) * growth(r**2)), 0, r_max)
    return weight * m / 2 * growth(0) * pull
