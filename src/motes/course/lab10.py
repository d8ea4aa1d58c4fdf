"""The exercises of lab 10, flow matching and one-step maps."""

import numpy as np

from motes.course.exercises import exercise


def _points(rng):
    return [(rng.normal(size=2), t, rng.normal(size=2)) for t in (0.2, 0.45, 0.9)]


def _sign(x_t, t, x0_hat):
    """t rises from data to noise, so the velocity dx/dt points away from x0_hat."""
    return (x0_hat - x_t) / t


def _noise(x_t, t, x0_hat):
    """This is eps_hat. The velocity is eps_hat - x0_hat."""
    return (x_t - (1 - t) * x0_hat) / t


def _from_noise(x_t, t, x0_hat):
    """You divided by 1 - t, as in papers whose t = 0 is noise. Here t = 0 is data."""
    return (x_t - x0_hat) / (1 - t)


def _way(x_t, t, x0_hat):
    """This is the way from x0_hat to x_t. Divide it by the time that it takes."""
    return x_t - x0_hat


def _score(x_t, t, x0_hat):
    """The score is -eps_hat / t. The velocity is eps_hat - x0_hat."""
    return ((1 - t) * x0_hat - x_t) / t**2


def _not_shrunk(x_t, t, x0_hat):
    """x_t contains (1 - t) x0_hat, not all of it."""
    return (x_t - x0_hat) / t - x0_hat


def _preserving(x_t, t, x0_hat):
    """This is alpha eps_hat - sigma x0_hat, as in lab 6. Differentiate (1 - t) x_0 + t eps with respect to t."""
    return (1 - t) * _noise(x_t, t, x0_hat) - t * x0_hat


def _added(x_t, t, x0_hat):
    """The factor of x_0 falls with t. Which sign has its derivative?"""
    return _noise(x_t, t, x0_hat) + x0_hat


def _noise_part(x_t, t, x0_hat):
    """x_t - (1 - t) x0_hat is t eps_hat. Find eps_hat first."""
    return x_t - (1 - t) * x0_hat


def _from_here(x_t, t, x0_hat):
    """From here to the noise, only the time 1 - t is left. The whole way, in the time 1, starts at x0_hat."""
    return _noise(x_t, t, x0_hat) - x_t


@exercise(
    lab=10,
    level="easy",
    question="The velocity dx_t/dt of the flow with straight paths x_t = (1 - t) x_0 + t eps, from x_t, t and x0_hat.",
    inputs=_points,
    wrong={
        "the sign is wrong": _sign,
        "the noise instead of the velocity": _noise,
        "time runs the other way": _from_noise,
        "the way instead of the velocity": _way,
        "the score instead of the velocity": _score,
        "x0_hat is not shrunk in eps_hat": _not_shrunk,
        "the v of a schedule that preserves the variance": _preserving,
        "the clean point and the noise are added": _added,
        "the noise is not divided by t": _noise_part,
        "the noise minus the present point": _from_here,
    },
)
def velocity(x_t, t, x0_hat):
    """The point moves on a straight line from x_0 to eps. Which of the two do you know, and how do you find the
    other?

    Solve x_t = (1 - t) x0_hat + t eps_hat for eps_hat, and subtract x0_hat.
    """
    return (x_t - x0_hat) / t


def _unscaled(x_t, t):
    """The ratios of noise to signal are equal, but the two paths also have different sizes."""
    return 1.0 * x_t


def _multiplied(x_t, t):
    """cos^2 + sin^2 = 1: which factor makes (1 - t)^2 + t^2 equal to 1?"""
    return x_t * np.hypot(1 - t, t)


def _by_variance(x_t, t):
    """You divided by (1 - t)^2 + t^2, which is a variance. A point is divided by its root."""
    return x_t / ((1 - t) ** 2 + t**2)


def _exploding(x_t, t):
    """x / (1 - t) = x_0 + r eps is the point of the variance-exploding schedule. Multiply it by cos(a)."""
    return x_t / (1 - t)


def _same_time(x_t, t):
    """a = pi t / 2 is the same time. The same ratio of noise to signal is tan(a) = t / (1 - t)."""
    return x_t / (1 - t) * np.cos(np.pi * t / 2)


def _upside_down(x_t, t):
    """tan(a) = sin(a) / cos(a) is noise divided by signal. Which of t and 1 - t belongs to the noise?"""
    return x_t / (1 - t) * t / np.hypot(1 - t, t)


def _cosine_alone(x_t, t):
    """x_t contains (1 - t) x_0. Which factor makes cos(a) x_0 from that?"""
    return x_t * (1 - t) / np.hypot(1 - t, t)


def _unit_length(x_t, t):
    """The pair of factors (cos a, sin a) has length 1. The point itself keeps its own length."""
    return x_t / np.linalg.norm(x_t)


def _by_noise(x_t, t):
    """This is the point for which the noise has the factor 1. For a circle, both factors change."""
    return x_t / t


@exercise(
    lab=10,
    level="middle",
    question="The point cos(a) x_0 + sin(a) eps that corresponds to x_t = (1 - t) x_0 + t eps.",
    inputs=lambda rng: [(rng.normal(size=2), t) for t in (0.15, 0.4, 0.7)],
    wrong={
        "the point is not scaled": _unscaled,
        "multiplied instead of divided": _multiplied,
        "a variance where a standard deviation belongs": _by_variance,
        "the point of a variance-exploding schedule": _exploding,
        "the same time instead of the same ratio of noise to signal": _same_time,
        "the ratio of noise to signal is upside down": _upside_down,
        "multiplied by cos(a) alone": _cosine_alone,
        "each point is scaled to length 1": _unit_length,
        "divided by the factor of the noise": _by_noise,
    },
)
def on_the_circle(x_t, t):
    """Both points contain x_0 and eps in the same ratio, so one is a multiple of the other. How long must it be?

    Choose a with tan(a) = t / (1 - t), and find the factor between (1 - t, t) and (cos a, sin a).

    (cos a, sin a) has the length 1, and (1 - t, t) has the length sqrt((1 - t)^2 + t^2).
    """
    return x_t / np.sqrt((1 - t) ** 2 + t**2)


def _intervals(rng):
    times = (0.9, 0.2), (0.6, 0.0), (1.0, 0.0)
    return [(rng.normal(), t, s, rng.uniform(0.5, 2.0), rng.uniform(0.3, 1.6)) for t, s in times]


def _velocity_at(x_t, t, mean, std):
    return (t - (1 - t) * std**2) / ((1 - t) ** 2 * std**2 + t**2) * (x_t - (1 - t) * mean) - mean


def _velocity_now(x_t, t, s, mean, std):
    """A step with the velocity at t is an Euler step. It ends in E[x_s | x_t] of the straight paths."""
    return _velocity_at(x_t, t, mean, std)


def _velocity_then(x_t, t, s, mean, std):
    """The velocity changes along the trajectory. The average is not its value at the end."""
    x_s = x_t - (t - s) * average_velocity(x_t, t, s, mean, std)
    return _velocity_at(x_s, s, mean, std)


def _variances(x_t, t, s, mean, std):
    """A trajectory keeps (x_t - mean of x_t) / (standard deviation of x_t)."""
    ratio = ((1 - s) ** 2 * std**2 + s**2) / ((1 - t) ** 2 * std**2 + t**2)
    return (x_t - (1 - s) * mean - ratio * (x_t - (1 - t) * mean)) / (t - s)


def _fixed_mean(x_t, t, s, mean, std):
    """The mean of x_t is (1 - t) mean."""
    ratio = np.sqrt(((1 - s) ** 2 * std**2 + s**2) / ((1 - t) ** 2 * std**2 + t**2))
    return (x_t - mean - ratio * (x_t - mean)) / (t - s)


def _distance(x_t, t, s, mean, std):
    """This is x_t - x_s. Divide it by t - s."""
    return (t - s) * average_velocity(x_t, t, s, mean, std)


def _backward(x_t, t, s, mean, std):
    """The velocity is dx/dt, and t rises towards noise."""
    return -average_velocity(x_t, t, s, mean, std)


def _end(x_t, t, s, mean, std):
    """This is where the trajectory is at time s. A velocity is a way divided by a time."""
    return x_t - (t - s) * average_velocity(x_t, t, s, mean, std)


def _by_t(x_t, t, s, mean, std):
    """The way is right. It takes the time from t down to s, and s is not always 0."""
    return (t - s) / t * average_velocity(x_t, t, s, mean, std)


def _both_ends(x_t, t, s, mean, std):
    """This is a trapezoidal rule with one interval. The average over all times has a closed formula here."""
    return (_velocity_now(x_t, t, s, mean, std) + _velocity_then(x_t, t, s, mean, std)) / 2


def _mean_ignored(x_t, t, s, mean, std):
    """You scaled the point itself. Its distance from the mean of x_t is what is scaled."""
    return average_velocity(x_t, t, s, 0.0, std)


def _deviations(x_t, t, s, mean, std):
    """x_t is a sum of independent Gaussians. What adds up for these?"""
    ratio = ((1 - s) * std + s) / ((1 - t) * std + t)
    return (x_t - (1 - s) * mean - ratio * (x_t - (1 - t) * mean)) / (t - s)


def _ratio_upside_down(x_t, t, s, mean, std):
    """The rank is divided by the width at t, and multiplied by the width at s."""
    ratio = np.hypot((1 - t) * std, t) / np.hypot((1 - s) * std, s)
    return (x_t - (1 - s) * mean - ratio * (x_t - (1 - t) * mean)) / (t - s)


def _denoised(x_t, t, s, mean, std):
    """E[x_0 | x_t] is the mean of the points that x_t may come from. The trajectory ends in one of them."""
    x0_hat = mean + (1 - t) * std**2 / ((1 - t) ** 2 * std**2 + t**2) * (x_t - (1 - t) * mean)
    return (x_t - x0_hat) / (t - s)


@exercise(
    lab=10,
    level="research",
    question="The average velocity (x_t - x_s) / (t - s) of the trajectory through x_t, for data N(mean, std^2).",
    inputs=_intervals,
    wrong={
        "the velocity at t instead of the average": _velocity_now,
        "the velocity at s instead of the average": _velocity_then,
        "a ratio of variances instead of standard deviations": _variances,
        "the mean does not move with time": _fixed_mean,
        "the way instead of the velocity": _distance,
        "the sign is wrong": _backward,
        "the point x_s instead of the velocity": _end,
        "divided by t": _by_t,
        "the mean of the velocities at both ends": _both_ends,
        "the mean is ignored": _mean_ignored,
        "standard deviations are added": _deviations,
        "the ratio of the standard deviations is upside down": _ratio_upside_down,
        "the trajectory ends in x0_hat": _denoised,
    },
)
def average_velocity(x_t, t, s, mean, std):
    """A trajectory keeps its rank. Which number says how far up a point is within a Gaussian, whatever its mean and
    width?

    For Gaussians the rank is (x_t - mean of x_t) / (standard deviation of x_t). Find x_s from it first.

    x_t = (1 - t) x_0 + t eps has the mean (1 - t) mean and the variance (1 - t)^2 std^2 + t^2.
    """
    std_t, std_s = np.hypot((1 - t) * std, t), np.hypot((1 - s) * std, s)
    x_s = (1 - s) * mean + std_s / std_t * (x_t - (1 - t) * mean)
    return (x_t - x_s) / (t - s)
