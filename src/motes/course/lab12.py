"""The exercises of lab 12, posteriors, and a posterior that is broken on purpose."""

import numpy as np

from motes.course.exercises import exercise


def _observations(rng):
    return [(rng.normal(scale=3.0), *rng.uniform([0.5, 0.5, 0.4], [2.0, 3.0, 2.0])) for _ in range(4)]


def _likelihood(x, a, tau, s):
    """This is the likelihood as a function of theta. Multiply it by the prior, which adds its precision 1 / tau^2."""
    return x / a, s / a


def _deviations(x, a, tau, s):
    """Precisions are 1 / variance: 1 / tau^2 and a^2 / s^2."""
    return tau * x / (a * tau + s), np.sqrt(tau * s / (a * tau + s))


def _posterior_variance(x, a, tau, s):
    """The second number is the variance. Take its root."""
    mean, std = linear_posterior(x, a, tau, s)
    return mean, std**2


def _no_slope(x, a, tau, s):
    """x is a theta + noise, so the noise of x / a is s / a."""
    return linear_posterior(x, 1.0, tau, s)


def _exchanged(x, a, tau, s):
    """tau is the standard deviation of the prior, and s that of the noise."""
    return linear_posterior(x, a, s, tau)


def _prior_width(x, a, tau, s):
    """The second number is the width of the prior. The posterior is narrower."""
    return linear_posterior(x, a, tau, s)[0], tau


def _a_once(x, a, tau, s):
    """The noise of x / a is s / a. Its precision is the inverse of its square."""
    precision = 1 / tau**2 + a / s**2
    return a * x / s**2 / precision, 1 / np.sqrt(precision)


def _mean_undivided(x, a, tau, s):
    """This is a sum of precision times mean. For a mean it is divided by the sum of the precisions."""
    return a * x / s**2, linear_posterior(x, a, tau, s)[1]


def _mean_alone(x, a, tau, s):
    """The width is right. The mean has to lie between the observation's x / a and the prior's 0."""
    return x / a, linear_posterior(x, a, tau, s)[1]


def _mean_without_a(x, a, tau, s):
    """The width is right. The observation says x / a about theta, with the precision a^2 / s^2."""
    mean, std = linear_posterior(x, a, tau, s)
    return mean / a, std


def _width_of_x(x, a, tau, s):
    """This is how widely x spreads if theta is not known. An observation makes theta more certain than the prior."""
    return linear_posterior(x, a, tau, s)[0], np.hypot(a * tau, s)


def _order(x, a, tau, s):
    """Both numbers are right. Return the mean first."""
    return linear_posterior(x, a, tau, s)[::-1]


@exercise(
    lab=12,
    level="easy",
    question="Mean and standard deviation of theta given x, as a tuple: theta ~ N(0, tau^2), x = a theta + N(0, s^2).",
    inputs=_observations,
    wrong={
        "the prior is missing": _likelihood,
        "standard deviations where variances belong": _deviations,
        "a variance where a standard deviation belongs": _posterior_variance,
        "a is missing": _no_slope,
        "the prior and the noise are exchanged": _exchanged,
        "the width of the prior": _prior_width,
        "a is not squared in the precision": _a_once,
        "the mean is not divided by the precision": _mean_undivided,
        "the mean is not pulled towards the prior": _mean_alone,
        "a is missing in the mean": _mean_without_a,
        "the width of x instead of theta": _width_of_x,
        "the standard deviation comes before the mean": _order,
    },
)
def linear_posterior(x, a, tau, s):
    """Two pieces of evidence are combined, as in lab 2: the prior and the observation. How precise is each about
    theta?

    Add the precisions of the prior, 1 / tau^2, and of the observation, a^2 / s^2.

    The mean is the precision-weighted mean of the prior's mean 0 and the observation's x / a.
    """
    precision = 1 / tau**2 + a**2 / s**2
    return a * x / s**2 / precision, 1 / np.sqrt(precision)


def _posteriors(rng):
    calls = []
    for m in (2, 5):
        tau, s = rng.uniform(0.8, 2.0), rng.uniform(0.5, 2.0, size=m)
        means, stds = linear_posterior(rng.normal(size=m), 1.0, tau, s)
        calls.append((means, stds, tau))
    return calls


def _product(means, stds, tau):
    """Each posterior contains the prior, so the product of m posteriors contains it m times."""
    weights = stds**-2
    return weights @ means / weights.sum(), weights.sum() ** -0.5


def _no_prior(means, stds, tau):
    """You removed the prior m times. It must count once, so remove it m - 1 times."""
    total = np.sum(stds**-2) - len(means) / tau**2
    return stds**-2 @ means / total, total**-0.5


def _averages(means, stds, tau):
    """More observations must make the posterior narrower than each single one."""
    return means.mean(), stds.mean()


def _root_precisions(means, stds, tau):
    """The precision of a posterior is 1 / std^2."""
    total = np.sum(1 / stds) - (len(means) - 1) / tau
    return (1 / stds) @ means / total, 1 / total


def _pooled_variance(means, stds, tau):
    """The second number is the variance. Take its root."""
    mean, std = pooled_posterior(means, stds, tau)
    return mean, std**2


def _prior_added(means, stds, tau):
    """Each posterior contains the prior already. Look at the sign of your correction."""
    total = np.sum(stds**-2) + (len(means) - 1) / tau**2
    return stds**-2 @ means / total, total**-0.5


def _two_totals(means, stds, tau):
    """The standard deviation is right. The mean is divided by the same total precision."""
    return _product(means, stds, tau)[0], pooled_posterior(means, stds, tau)[1]


def _tau_once(means, stds, tau):
    """tau is a standard deviation. What is the precision of the prior?"""
    return pooled_posterior(means, stds, np.sqrt(tau))


def _removed_once(means, stds, tau):
    """This is right for two observations. How often does a product of m posteriors contain the prior?"""
    total = np.sum(stds**-2) - 1 / tau**2
    return stds**-2 @ means / total, total**-0.5


def _root_m(means, stds, tau):
    """This is for m measurements of the same precision, without a prior. Here each posterior has its own precision."""
    return means.mean(), stds.mean() / np.sqrt(len(means))


def _pooled_undivided(means, stds, tau):
    """This is a sum of precision times mean. For a mean it is divided by the total precision."""
    return stds**-2 @ means, pooled_posterior(means, stds, tau)[1]


@exercise(
    lab=12,
    level="middle",
    question="Mean and standard deviation of theta given m observations, from those given each one; prior N(0, tau^2).",
    inputs=_posteriors,
    wrong={
        "the prior counts m times": _product,
        "the prior does not count": _no_prior,
        "averages of the posteriors": _averages,
        "standard deviations where variances belong": _root_precisions,
        "a variance where a standard deviation belongs": _pooled_variance,
        "the prior is added instead of removed": _prior_added,
        "the mean is divided by the precisions without the correction": _two_totals,
        "tau is not squared": _tau_once,
        "the prior is removed once, whatever m is": _removed_once,
        "a plain mean, and a standard deviation divided by sqrt(m)": _root_m,
        "the mean is not divided by the precision": _pooled_undivided,
    },
)
def pooled_posterior(means, stds, tau):
    """Section 5 multiplies the posteriors. How often does their product contain the prior, and how often should it?

    Add the precisions 1 / std^2 of all m posteriors, and remove the prior until it counts once. Return a tuple.

    Subtract its precision 1 / tau^2 m - 1 times. The prior has the mean 0, so it adds nothing to the sum of
    precision times mean; divide this sum by the total precision.
    """
    precisions = stds**-2
    total = precisions.sum() - (len(means) - 1) / tau**2
    return precisions @ means / total, 1 / np.sqrt(total)


def _errors(rng):
    return [(level, *rng.uniform([-1.0, 0.4], [1.0, 1.8])) for level in (0.6, 0.8, 0.95)]


def _one_sided(level, bias, width):
    """The central interval leaves (1 - level) / 2 out at each end."""
    return coverage(2 * level - 1, bias, width)


def _inverse_width(level, bias, width):
    """A wider posterior has wider intervals, which cover more."""
    return coverage(level, bias, 1 / width)


def _squared_width(level, bias, width):
    """`width` is a ratio of standard deviations already."""
    return coverage(level, bias, width**2)


def _no_bias(level, bias, width):
    """A shifted interval covers less."""
    return coverage(level, 0.0, width)


def _scaled_bias(level, bias, width):
    """`bias` is in units of the true standard deviation, not of the model's."""
    return coverage(level, bias * width, width)


def _draws_of_model(level, bias, width):
    """This is how often a draw of the model lies in the interval of the truth."""
    return coverage(level, bias / width, 1 / width)


def _negative(level, bias, width):
    """A probability is not negative. Which of the two ends is the upper one?"""
    return -coverage(level, bias, width)


def _upper_end(level, bias, width):
    """This is how often theta lies below the upper end. Subtract how often it lies below the lower end."""
    from statistics import NormalDist

    return NormalDist().cdf(bias + width * NormalDist().inv_cdf((1 + level) / 2))


def _no_width(level, bias, width):
    """A wider posterior has wider intervals. Both ends move."""
    return coverage(level, bias, 1.0)


def _outside(level, bias, width):
    """This is what the interval does not cover."""
    return 1 - coverage(level, bias, width)


def _fixed_level(level, bias, width):
    """z = 1.96 belongs to a level of 0.95. Compute it from the level."""
    return coverage(0.95, bias, width)


@exercise(
    lab=12,
    level="research",
    question="How often theta ~ N(mu, sd^2) lies in the central interval of N(mu + bias sd, (width sd)^2).",
    inputs=_errors,
    wrong={
        "the quantile of a one-sided interval": _one_sided,
        "divided by the width": _inverse_width,
        "the width is squared": _squared_width,
        "the bias is missing": _no_bias,
        "the bias is multiplied by the width": _scaled_bias,
        "the two distributions are exchanged": _draws_of_model,
        "the ends of the interval are exchanged": _negative,
        "only the upper end counts": _upper_end,
        "the width is missing": _no_width,
        "how often theta is outside": _outside,
        "the quantile 0.975, whatever the level is": _fixed_level,
    },
)
def coverage(level, bias, width):
    """Choose units in which the truth is N(0, 1). Where are the two ends of the model's interval then?

    The interval of a standard normal ends at +-z, where z is the quantile (1 + level) / 2. Move and stretch it as
    the model does. `statistics.NormalDist` has `cdf` and `inv_cdf`.

    In units of sd from mu the ends are bias +- width z.
    """
    from statistics import NormalDist

    normal = NormalDist()
    z = normal.inv_cdf((1 + level) / 2)
    return normal.cdf(bias + width * z) - normal.cdf(bias - width * z)


class Posterior:
    """The posterior of lab 12's simulator, theta ~ N(0, 1) and x = theta + N(0, diag(0.8^2, 0.5^2))."""

    def __repr__(self):
        return "Posterior(theta given x, 2 numbers); call .sample(x, n, seed=0)"

    def sample(self, x, n, seed=0):
        """Draw theta n times for each observation x (m, 2), (m, n)."""
        mean, std = linear_posterior(np.asarray(x, float)[:, 0], 1.0, 1.0, 0.8)
        return mean[:, None] + std * np.random.default_rng(seed).standard_normal((len(mean), n))


def broken():
    """Return a posterior of lab 12's simulator with a fault."""
    return Posterior()


def _narrow():
    """The intervals cover as often as they should, and a posterior that is too narrow covers too rarely."""
    return "narrow"


def _shifted():
    """Ranks of shifted posteriors pile up at one end. These ranks are uniform."""
    return "shifted"


def _prior():
    """Draws from the prior would not move with x at all. Change x[0]."""
    return "prior"


def _noise():
    """A posterior for another noise than the simulator's has the wrong width, which the ranks would show."""
    return "noise"


def _fixed_width():
    """The exact posterior of this simulator has the same width for every x, too."""
    return "constant"


@exercise(
    lab=12,
    level="middle",
    question="The fault of `fault(12)`: narrow, shifted, prior, noise, constant or blind?",
    wrong={
        "suspecting posteriors that are too narrow": _narrow,
        "suspecting shifted posteriors": _shifted,
        "suspecting the prior instead of the posterior": _prior,
        "suspecting another noise than the simulator's": _noise,
        "suspecting a width that does not depend on x": _fixed_width,
    },
)
def fault_12():
    """Test the ranks; then change one entry of x at a time, and compare the draws with the exact posterior.

    How far should the draws move when x[1] changes, and how far do they move?
    """
    # It is the exact posterior given x[0] alone, which is calibrated, and wider than the posterior given all of x.
    return "blind"
