"""The exercises of lab 11, masked diffusion of a table, and a sampler that is broken on purpose."""

from math import log

import numpy as np

from motes.course.exercises import exercise


def _joint(rng, *shape):
    p = rng.gamma(0.7, size=shape) + 0.02
    return p / p.sum()


def _tables(rng):
    table = rng.integers(0, [2, 3, 4], size=(300, 3))
    table[:, 2] = np.where(rng.random(300) < 0.5, table[:, 0] + table[:, 1], table[:, 2])
    rows = ([1, -1, -1], 1, 3), ([-1, 2, 3], 0, 2), ([0, 1, -1], 2, 5), ([-1, -1, 0], 0, 2)
    return [(table, np.array(row), j, labels) for row, j, labels in rows]


def _counts(table, row, j, labels):
    """These are numbers of rows. Divide them by their sum."""
    agree = np.all((row == -1) | (table == row), axis=1)
    return np.bincount(table[agree, j], minlength=labels)


def _of_all_rows(table, row, j, labels):
    """You divided by the number of all rows. Divide by the number of rows that agree."""
    return _counts(table, row, j, labels) / len(table)


def _marginal(table, row, j, labels):
    """The visible cells have no effect on your answer."""
    return np.bincount(table[:, j], minlength=labels) / len(table)


def _any_cell(table, row, j, labels):
    """A row must agree in all visible cells, not in at least one."""
    agree = np.any((row != -1) & (table == row), axis=1)
    return np.bincount(table[agree, j], minlength=labels) / agree.sum()


def _smoothed(table, row, j, labels):
    """You added 1 to each count. The exact denoiser of these rows has the shares themselves."""
    counts = _counts(table, row, j, labels) + 1
    return counts / counts.sum()


def _masks_compared(table, row, j, labels):
    """-1 is no label of the table, so no row agrees with it. Compare the visible cells alone."""
    return np.full(labels, np.nan)  # 0 / 0


def _short(table, row, j, labels):
    """The answer needs an entry for each label of cell j, also for those that were not counted."""
    agree = np.all((row == -1) | (table == row), axis=1)
    return np.bincount(table[agree, j]) / agree.sum()


def _first_cell(table, row, j, labels):
    """A row must agree in all visible cells. You compared one of them."""
    first = np.where(np.arange(len(row)) == np.argmax(row != -1), row, -1)
    return unmask_by_counting(table, first, j, labels)


def _distinct(table, row, j, labels):
    """A row that is ten times in the table is ten times as likely."""
    return unmask_by_counting(np.unique(table, axis=0), row, j, labels)


def _most_frequent(table, row, j, labels):
    """The denoiser returns the probabilities of all labels. A choice comes later, when a row is drawn."""
    return np.eye(labels)[np.argmax(unmask_by_counting(table, row, j, labels))]


@exercise(
    lab=11,
    level="easy",
    question="p(cell j | visible cells) of a table of rows, all equally likely; -1 is a mask.",
    inputs=_tables,
    wrong={
        "not normalised": _counts,
        "shares of all rows instead of those that agree": _of_all_rows,
        "the visible cells are ignored": _marginal,
        "one visible cell is enough": _any_cell,
        "the counts are smoothed": _smoothed,
        "masked cells must agree, too": _masks_compared,
        "labels that no agreeing row has are left out": _short,
        "only the first visible cell counts": _first_cell,
        "equal rows count once": _distinct,
        "the most frequent label alone": _most_frequent,
    },
)
def unmask_by_counting(table, row, j, labels):
    """Which rows of the table could be this row? Select them, and look at what they have in cell j.

    A row agrees if every visible cell of `row` has the same label in it; a masked cell agrees with any label.
    Divide the counts of the labels by the number of rows that agree.

    `labels` is the number of labels of cell j; `np.bincount(..., minlength=labels)` also counts those that are
    absent.
    """
    agree = np.all((row == -1) | (table == row), axis=1)
    counts = np.bincount(table[agree, j], minlength=labels)
    return counts / counts.sum()


def _uniform_schedule(t):
    """1/t is the weight for gamma(t) = t."""
    return 1 / t


def _no_rate(t):
    """A step from t to s reveals the share (gamma(t) - gamma(s)) / gamma(t) of the masked cells. And a small step?"""
    return 1 / (1 - np.cos(np.pi * t / 2))


def _not_divided(t):
    """gamma'(t) is the rate among all cells. Divide by the share gamma(t) of those that are masked."""
    return np.pi / 2 * np.sin(np.pi * t / 2)


def _forward_rate(t):
    """gamma' / (1 - gamma) is the rate at which visible cells are masked, in the forward process."""
    return np.pi / 2 * np.tan(np.pi * t / 2)


def _chain_rule(t):
    """The derivative of cos(pi t / 2) has the factor pi / 2."""
    return mask_weight(t) / (np.pi / 2)


def _sign(t):
    """A weight is not negative; check the sign of the derivative of -cos."""
    return -mask_weight(t)


def _multiplied(t):
    """gamma'(t) is the rate among all cells. Is it larger or smaller among the masked cells alone?"""
    return _not_divided(t) * (1 - np.cos(np.pi * t / 2))


def _upside_down(t):
    """The weight has to grow where few cells are masked, as 1/t does."""
    return 1 / mask_weight(t)


def _probability(t):
    """This is gamma(t). For gamma(t) = t your weight would be t instead of 1/t."""
    return 1 - np.cos(np.pi * t / 2)


def _cosine(t):
    """At t = 0 the probability of a mask begins to grow with slope 0. Yours begins with pi / 2."""
    return np.pi / 2 * np.cos(np.pi * t / 2) / (1 - np.cos(np.pi * t / 2))


def _by_t(t):
    """t is the share of masked cells for gamma(t) = t. What is it here?"""
    return _not_divided(t) / t


def _whole_turn(t):
    """Check your gamma at t = 1: all cells have to be masked there, with probability 1."""
    return np.pi * np.sin(np.pi * t) / (1 - np.cos(np.pi * t))


@exercise(
    lab=11,
    level="middle",
    question="The weight of the cross-entropy at time t, if a cell is masked with probability 1 - cos(pi t / 2).",
    inputs=lambda rng: [(t,) for t in rng.uniform(0.05, 0.95, size=4)],
    wrong={
        "the weight of another schedule": _uniform_schedule,
        "the rate of masking is missing": _no_rate,
        "not divided by the share of masked cells": _not_divided,
        "the rate of the forward process": _forward_rate,
        "the chain rule is missing": _chain_rule,
        "the sign is wrong": _sign,
        "multiplied by the share of masked cells": _multiplied,
        "the fraction is upside down": _upside_down,
        "the probability of a mask itself": _probability,
        "the derivative of the cosine is wrong": _cosine,
        "divided by t instead of the share of masked cells": _by_t,
        "pi t instead of pi t / 2": _whole_turn,
    },
)
def mask_weight(t):
    """Repeat sections 2 and 3 with gamma(t) instead of t: which share of the masked cells does a step from t to s
    reveal?

    The share is (gamma(t) - gamma(s)) / gamma(t). Divide it by t - s, and let s go to t.

    This is gamma'(t) / gamma(t). The derivative of 1 - cos(pi t / 2) has the factor pi / 2.
    """
    return np.pi / 2 * np.sin(np.pi * t / 2) / (1 - np.cos(np.pi * t / 2))


def _joints(rng):
    return [(_joint(rng, *shape),) for shape in ((2, 2, 2), (2, 3, 4), (3, 2, 2))]


def _without_first(joint):
    """Cell 0 is visible when cells 1 and 2 are revealed. What counts is their dependence given cell 0."""
    return same_step_gap(joint.sum(axis=0)[None])


def _bits(joint):
    """Use the natural logarithm."""
    return same_step_gap(joint) / log(2)


def _all_at_once(joint):
    """This is the gap if all three cells are revealed in one step. Cell 0 has a step of its own."""
    entropy = lambda p: -np.sum(p * np.log(p))
    return sum(entropy(joint.sum(axis=others)) for others in ((1, 2), (0, 2), (0, 1))) - entropy(joint)


def _negative(joint):
    """A KL divergence is never negative: the true distribution is above the fraction line."""
    return -same_step_gap(joint)


def _unweighted(joint):
    """You averaged over the labels of cell 0 as if they were equally likely."""
    return np.mean([same_step_gap(one[None] / one.sum()) for one in joint])


def _not_normalised(joint):
    """p(a, b) p(a, c) contains p(a) twice. Do your drawn probabilities add up to 1?"""
    return np.sum(joint * np.log(joint / (joint.sum(axis=2, keepdims=True) * joint.sum(axis=1, keepdims=True))))


def _reversed(joint):
    """This is KL(drawn || true). Average the log-ratio over the true rows."""
    drawn = joint.sum(axis=2, keepdims=True) * joint.sum(axis=1, keepdims=True) / joint.sum(axis=(1, 2), keepdims=True)
    return np.sum(drawn * np.log(drawn / joint))


def _chain(joint):
    """Cells 1 and 2 appear in the same step: which cell is visible when they are drawn?"""
    return same_step_gap(joint.transpose(1, 0, 2))


def _mean(joint):
    """The probabilities are the weights of the mean already: add up."""
    return same_step_gap(joint) / joint.size


def _no_weights(joint):
    """A KL divergence is a mean over rows. Weight each log-ratio with the probability of its row."""
    drawn = joint.sum(axis=2, keepdims=True) * joint.sum(axis=1, keepdims=True) / joint.sum(axis=(1, 2), keepdims=True)
    return np.sum(np.log(joint / drawn))


@exercise(
    lab=11,
    level="research",
    question="KL(true || drawn) in nats, if cell 0 is revealed first, then cells 1 and 2 in the same step.",
    inputs=_joints,
    wrong={
        "cell 0 is ignored": _without_first,
        "bits instead of nats": _bits,
        "all three cells are revealed in one step": _all_at_once,
        "the sign is wrong": _negative,
        "the labels of cell 0 are not weighted": _unweighted,
        "not divided by p(a)": _not_normalised,
        "the two distributions are exchanged": _reversed,
        "cell 2 is drawn given cell 1 alone": _chain,
        "the mean over the cells of the array instead of the sum": _mean,
        "the log-ratios are not weighted": _no_weights,
    },
)
def same_step_gap(joint):
    """Write down the probability with which a row is drawn. What does the denoiser not know when it draws cell 2?

    The drawn rows have p(a) p(b | a) p(c | a). Write it with sums of the joint probabilities p(a, b, c).

    p(a) p(b | a) p(c | a) = p(a, b) p(a, c) / p(a). KL(true || drawn) is the sum of p log(p / drawn); for these two
    it is the conditional mutual information of b and c.
    """
    first = joint.sum(axis=(1, 2), keepdims=True)
    drawn = joint.sum(axis=2, keepdims=True) * joint.sum(axis=1, keepdims=True) / first
    return np.sum(joint * np.log(joint / drawn))


class LabelSampler:
    """A sampler of rows of three columns of labels, with the exact joint probabilities of the lab's table."""

    def __repr__(self):
        return "LabelSampler: call .sample(n, given={column: label}, seed=0); columns and labels are numbers from 0"

    def __init__(self, joint):
        self.joint = joint

    def sample(self, n, given=None, seed=0):
        """Draw n rows of labels (n, 3) under the condition that some columns have known labels."""
        rng, rows = np.random.default_rng(seed), np.full((n, self.joint.ndim), -1)
        for row in rows:
            for j in range(len(row)):
                p = self.joint[tuple(row[:j])].reshape(self.joint.shape[j], -1).sum(axis=1)
                row[j] = (given or {}).get(j, rng.choice(len(p), p=p / p.sum()))
        return rows


def broken():
    """Return a sampler of the table in lab 11, in which a known label comes too late."""
    weather = np.array([0.6, 0.3, 0.1])  # dry, rain, snow
    car = np.array([0.3, 0.6, 0.2])  # given the weather
    late = np.array([[0.1, 0.2], [0.3, 0.25], [0.6, 0.4]])  # given the weather, by car and by bus
    trips = weather[:, None] * np.stack([car, 1 - car], axis=1)
    return LabelSampler(np.stack([trips * (1 - late), trips * late], axis=2))


def _wrong_joint():
    """Rows drawn without a condition have the right joint probabilities."""
    return "joint"


def _same_step():
    """Columns revealed in the same step would lose their dependence, also in rows drawn without a condition."""
    return "parallel"


def _ignored():
    """In each row, the known column has its label."""
    return "ignored"


def _overwritten():
    """Labels written over finished rows would have no effect on other columns. Try a condition on column 0."""
    return "overwritten"


def _sharpened():
    """Sharpened probabilities would make frequent labels more frequent, also in rows drawn without a condition."""
    return "sharpened"


@exercise(
    lab=11,
    level="middle",
    question="The fault of `fault(11)`: joint, parallel, ignored, overwritten, sharpened or late?",
    wrong={
        "suspecting the joint probabilities": _wrong_joint,
        "suspecting two columns in the same step": _same_step,
        "suspecting ignored conditions": _ignored,
        "suspecting overwritten labels": _overwritten,
        "suspecting sharpened probabilities": _sharpened,
    },
)
def fault_11():
    """Compare rows drawn without a condition, given column 0, and given column 2 with the exact probabilities.

    In which of the three cases is column 1 wrong? The columns are drawn from the left to the right.
    """
    # A condition on the last column leaves the others as they were: the sampler reads it when their labels are drawn.
    return "late"
