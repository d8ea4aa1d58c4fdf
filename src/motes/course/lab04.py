"""The exercises of lab 4, training, and a recipe with a fault."""

import numpy as np

from motes.course.exercises import exercise


def _weights(rng):
    return [(rng.normal(size=(n, 3)), decay) for n, decay in ((5, 0.9), (8, 0.5), (30, 0.97))]


def _decay_exchanged(weights, decay):
    """With a decay of 0.9, the average keeps 0.9 of itself and takes 0.1 of the new weights."""
    return ema(weights, 1 - decay)


def _from_zero(weights, decay):
    """Starting from zero makes the average too small for the first 1 / (1 - decay) steps."""
    average = np.zeros_like(weights[0])
    for one in weights:
        average = decay * average + (1 - decay) * one
    return average


def _corrected(weights, decay):
    """This starts from zero and divides by 1 - decay^n, as Adam does. The question starts from the first weights."""
    return _from_zero(weights, decay) / (1 - decay ** len(weights))


def _plain(weights, decay):
    """All weights count the same here. Later ones should count more."""
    return weights.mean(axis=0)


def _counted_from_last(weights, decay):
    """The last weights should count most: go through the rows from the first to the last."""
    return ema(weights[::-1], decay)


def _added(weights, decay):
    """The shares of the average and of the new row have to add up to 1; yours add up to more."""
    average = weights[0]
    for one in weights[1:]:
        average = decay * average + one
    return average


def _last_two(weights, decay):
    """You mixed each row with the row before it. Mix it with the average of all rows before it."""
    return decay * weights[-2] + (1 - decay) * weights[-1]


def _both_ends(weights, decay):
    """Only the first and the last row count here. Take in the rows between them, one by one."""
    return decay * weights[0] + (1 - decay) * weights[-1]


def _last(weights, decay):
    """These are the weights after the last step, without any average."""
    return weights[-1]


def _all_steps(weights, decay):
    """The last of these rows is right. Return it alone."""
    return np.array([ema(weights[: steps + 1], decay) for steps in range(len(weights))])


@exercise(
    lab=4,
    level="easy",
    question="The moving average (p,) after all rows of weights (n, p), one row per step, starting from the first row.",
    inputs=_weights,
    wrong={
        "decay and 1 - decay are exchanged": _decay_exchanged,
        "the average starts from zero": _from_zero,
        "a correction of the start that is not asked for": _corrected,
        "a plain mean": _plain,
        "the rows are taken in reverse": _counted_from_last,
        "the new row counts fully": _added,
        "the average of the last two rows": _last_two,
        "the rows in between are left out": _both_ends,
        "the last weights": _last,
        "the averages after every step": _all_steps,
    },
)
def ema(weights, decay):
    """Section 1 has the rule. What does the average keep of itself when a new row comes, and what does it take in?

    Begin with the first row. For each later row, keep a share `decay` of the average and add the rest of the row.
    """
    average = weights[0]
    for one in weights[1:]:
        average = decay * average + (1 - decay) * one
    return average


def _gradients(rng):
    return [(rng.normal(size=(4, 3)), rng.normal(size=3), limit) for limit in (0.5, 1.0, 20.0)]


def _each_entry(w, b, limit):
    """This changes the direction of the step. Scale all entries by one factor."""
    return np.clip(w, -limit, limit), np.clip(b, -limit, limit)


def _always(w, b, limit):
    """A gradient shorter than the limit stays as it is."""
    factor = limit / np.sqrt(np.sum(w**2) + np.sum(b**2))
    return w * factor, b * factor


def _squared(w, b, limit):
    """The norm is the root of the sum of squares."""
    factor = min(1, limit / (np.sum(w**2) + np.sum(b**2)))
    return w * factor, b * factor


def _each_array(w, b, limit):
    """There is one norm, of all arrays together, and one factor."""
    return tuple(array * min(1, limit / np.linalg.norm(array)) for array in (w, b))


def _sum_of_norms(w, b, limit):
    """Squares add up, and norms do not."""
    factor = min(1, limit / (np.linalg.norm(w) + np.linalg.norm(b)))
    return w * factor, b * factor


def _upside_down(w, b, limit):
    """Your factor makes a long gradient even longer. Check its length afterwards."""
    factor = max(1, np.sqrt(np.sum(w**2) + np.sum(b**2)) / limit)
    return w * factor, b * factor


def _limit_1(w, b, limit):
    """The training of section 2 clips to a norm of 1. Here the limit is an argument."""
    return clip_by_norm(w, b, 1.0)


def _largest(w, b, limit):
    """A vector is longer than its largest entry. All entries count for its length."""
    factor = min(1, limit / max(np.abs(w).max(), np.abs(b).max()))
    return w * factor, b * factor


def _w_alone(w, b, limit):
    """The entries of b count for the length as well."""
    factor = min(1, limit / np.linalg.norm(w))
    return w * factor, b * factor


def _root_mean_square(w, b, limit):
    """The norm is the root of the sum of squares, not of their mean."""
    factor = min(1, limit / np.sqrt(np.mean(np.append(w, b) ** 2)))
    return w * factor, b * factor


@exercise(
    lab=4,
    level="middle",
    question="The gradient (w, b), two arrays, clipped to a global norm of at most `limit`, as a tuple.",
    inputs=_gradients,
    wrong={
        "each entry is clipped alone": _each_entry,
        "short gradients are made longer": _always,
        "the squared norm": _squared,
        "each array is clipped alone": _each_array,
        "the sum of the arrays' norms": _sum_of_norms,
        "the factor is upside down": _upside_down,
        "the limit is 1, as in the lab": _limit_1,
        "the largest entry instead of the norm": _largest,
        "only the norm of w": _w_alone,
        "the root mean square instead of the norm": _root_mean_square,
    },
)
def clip_by_norm(w, b, limit):
    """Clipping keeps the direction of the whole gradient. What is its length, and when is it too long?

    Put all entries into one vector and take its length; above the limit, scale both arrays by one factor.

    The factor is limit / length, and at most 1; the length is the root of the sum of all squared entries.
    """
    factor = min(1, limit / np.sqrt(np.sum(w**2) + np.sum(b**2)))
    return w * factor, b * factor


def _losses(rng):
    falling = 1 / (1 + np.arange(20) / 3)
    return [(falling + 0.05 * rng.normal(size=20),), (rng.uniform(size=20),), (np.abs(np.linspace(-1, 1, 20)),)]


def _correlation(losses):
    return np.corrcoef(losses, losses[::-1])[0, 1]


def _root_ratio(losses):
    """The ratio of variances is asked for, not of standard deviations."""
    return np.sqrt(antithetic_ratio(losses))


def _sign(losses):
    """A pair that moves together is less use than two independent draws: its mean varies more."""
    return 1 - _correlation(losses)


def _alone(losses):
    """The variance of the mean of two is (variance + covariance) / 2, and that of independent draws is variance / 2."""
    return _correlation(losses)


def _single(losses):
    """Compare two draws with two draws: the mean of two independent ones has half the variance of one."""
    return antithetic_ratio(losses) / 2


def _uncentred(losses):
    """A covariance subtracts the means first."""
    return 1 + np.mean(losses * losses[::-1]) / np.mean(losses**2)


def _mixed_divisors(losses):
    """`numpy.cov` divides by T - 1 and `numpy.var` by T. All T steps are known here, so divide both by T."""
    return 1 + np.cov(losses, losses[::-1])[0, 1] / np.var(losses)


def _sample_variance(losses):
    """With ddof=1 one variance divides by T - 1 and the other by T. All T steps are known here: leave ddof at 0."""
    return antithetic_ratio(losses) * len(losses) / (len(losses) - 1)


def _sum_of_pair(losses):
    """Compare like with like: you divided the variance of a sum by the variance of a mean."""
    return 4 * antithetic_ratio(losses)


def _ratio_upside_down(losses):
    """Below 1 the pairs should help, so their variance is above the fraction line."""
    return np.var(losses) / 2 / np.var((losses + losses[::-1]) / 2)


def _twice(losses):
    """Var(a + b) = Var(a) + Var(b) + 2 Cov(a, b): the two variances add up as well."""
    return 1 + 2 * _correlation(losses)


def _shifted(losses):
    """Entry 0 is the first step and T - 1 the last. The partner of entry 0 should be the last entry."""
    return np.var((losses + np.roll(losses[::-1], 1)) / 2) / (np.var(losses) / 2)


@exercise(
    lab=4,
    level="research",
    question="The variance of the mean loss at steps k and T-1-k, k uniform, divided by that at two independent steps.",
    inputs=_losses,
    wrong={
        "a ratio of standard deviations instead of variances": _root_ratio,
        "the sign of the correlation is wrong": _sign,
        "the correlation alone": _alone,
        "one independent step instead of two": _single,
        "the means are not subtracted": _uncentred,
        "a covariance that divides by T - 1": _mixed_divisors,
        "a variance that divides by T - 1": _sample_variance,
        "the sum of the two losses instead of their mean": _sum_of_pair,
        "the ratio is upside down": _ratio_upside_down,
        "the covariance counts twice": _twice,
        "steps k and T - k": _shifted,
    },
)
def antithetic_ratio(losses):
    """A mean of two numbers varies less if they tend to differ. Write its variance with a covariance.

    Both steps of the pair are uniform on their own, so both have the same variance, and two independent steps have
    covariance 0. The pairs are the entries of `losses` and of `losses[::-1]`.
    """
    mean_of_pair = (losses + losses[::-1]) / 2
    return np.var(mean_of_pair) / (np.var(losses) / 2)


def broken():
    """Return a recipe for 1,000 steps that trains well and samples badly."""
    import motes

    return motes.load_recipe("ddpm", {"training.steps": 1_000, "training.ema": 0.9995})


def _data():
    """The recipe standardises the data: recipe.data.standardise is true."""
    return "data"


def _schedule():
    """alpha-bar at the end is 0.005, so the chain starts from the right noise."""
    return "schedule"


def _learning_rate():
    """The loss falls as it does in a good run, and samples of the last weights look right."""
    return "learning rate"


def _network():
    """The last weights of the same network make good samples."""
    return "network"


def _sampler():
    """The same sampler makes good samples from the last weights."""
    return "sampler"


@exercise(
    lab=4,
    level="middle",
    question="What spoils the samples of `fault(4)`: data, schedule, network, learning rate, average or sampler?",
    wrong={
        "the data": _data,
        "the schedule": _schedule,
        "the network": _network,
        "the learning rate": _learning_rate,
        "the sampler": _sampler,
    },
)
def fault_04():
    """Which parts of the recipe do good and bad samples have in common? Sample from each of the two denoisers.

    Put the numbers of `recipe.to_dict()["training"]` into the formulas of section 1.
    """
    return "average"
