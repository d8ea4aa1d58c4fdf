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
    },
)
def ema(weights, decay):
    """Begin with the first row. For each later row, keep a share `decay` of the average and add the rest of the row."""
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
    },
)
def clip_by_norm(w, b, limit):
    """Put all entries into one vector and take its length; above the limit, scale both arrays by limit / length."""
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
    },
)
def antithetic_ratio(losses):
    """losses (T,) has the expected loss at each step. Write the variance of a mean of two numbers with a covariance.

    Both steps of the pair are uniform on their own, so both have the same variance.
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
    """Compare samples of `training.last` and `training.averaged`, then compute 0.9995**1000."""
    return "average"
