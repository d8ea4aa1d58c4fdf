"""The exercises of lab 11, masked diffusion of a table, and a sampler that is broken on purpose."""

from itertools import product
from math import comb, log

import numpy as np

from motes.course.exercises import exercise


def _joint(rng, *shape):
    p = rng.gamma(0.7, size=shape) + 0.02
    return p / p.sum()


def _rows(rng):
    joint = _joint(rng, 2, 3, 4)
    rows = [1, -1, -1], [-1, 2, 3], [0, -1, 1], [-1, -1, 0]
    return [(joint, np.array(row), j) for row, j in zip(rows, (1, 0, 1, 0), strict=True)]


def _combine(joint, row, j, reduce=np.sum):
    for axis in reversed(range(len(row))):
        if axis != j:
            joint = reduce(joint, axis=axis) if row[axis] == -1 else joint.take(row[axis], axis=axis)
    return joint


def _not_normalised(joint, row, j):
    """These are the probabilities of the label together with the visible labels. Divide by their sum."""
    return _combine(joint, row, j)


def _marginal(joint, row, j):
    """The visible labels have no effect on your answer."""
    return _combine(joint, np.full(len(row), -1), j)


def _last_label(joint, row, j):
    """In NumPy, index -1 is the last entry. Sum over the axis of a masked cell."""
    p = joint[tuple(slice(None) if axis == j else label for axis, label in enumerate(row))]
    return p / p.sum()


def _best_label(joint, row, j):
    """You took the largest probability over the labels of the other masked cells. They are unknown: sum over them."""
    p = _combine(joint, row, j, np.max)
    return p / p.sum()


def _even_labels(joint, row, j):
    """You averaged p(cell j | all others) over the labels of the other masked cells as if they were equally likely."""
    p = _combine(joint / joint.sum(axis=j, keepdims=True), row, j)
    return p / p.sum()


@exercise(
    lab=11,
    level="easy",
    question="p(cell j | visible cells) for each label, from the joint probabilities and a row in which -1 is a mask.",
    inputs=_rows,
    wrong={
        "not normalised": _not_normalised,
        "the visible cells are ignored": _marginal,
        "a mask is read as the last label": _last_label,
        "the other masked cells have their most probable labels": _best_label,
        "the other masked cells have all labels with equal probability": _even_labels,
    },
)
def unmask(joint, row, j):
    """Keep the axis of cell j, select the label of each visible cell, and sum over the other masked cells.

    `joint` has one axis for each cell. Begin with the last axis, so that the earlier ones keep their numbers.
    """
    for axis in reversed(range(len(row))):
        if axis != j:
            joint = joint.sum(axis=axis) if row[axis] == -1 else joint.take(row[axis], axis=axis)
    return joint / joint.sum()


def _cross_entropies(rng):
    return [(rng.uniform(0.1, 3.0, size=(2,) * n + (n,)),) for n in (2, 3, 4)]


def _weighted(nats, weight):
    """Sum weight(m, n) times the cross-entropies of the m masked cells over all masks."""
    n, total = nats.shape[-1], 0.0
    for visible in product((0, 1), repeat=n):
        masked = [j for j in range(n) if not visible[j]]
        total += weight(len(masked), n) * nats[visible][masked].sum() if masked else 0.0
    return total


def _no_weight(nats):
    """A mask with m of n masked cells has the weight n / m: each order reveals one of the m cells, not all of them."""
    return _weighted(nats, lambda m, n: 1 / n / comb(n, m))


def _all_masks(nats):
    """First the number of masked cells is uniform on 1 ... n, then the mask is uniform among those with this number."""
    return _weighted(nats, lambda m, n: n / m / (2**n - 1))


def _visible_too(nats):
    """A visible cell has been paid for when it was revealed. Sum over masked cells only."""
    n = nats.shape[-1]
    masks = [visible for visible in product((0, 1), repeat=n) if not all(visible)]
    return sum(nats[one].sum() / (n - sum(one)) / comb(n, sum(one)) for one in masks)


def _per_cell(nats):
    """log p(row) is a sum over the cells."""
    return masked_bound(nats) / nats.shape[-1]


def _number_visible(nats):
    """The weight is n over the number of masked cells, not over the number of visible ones."""
    return _weighted(nats, lambda m, n: 1 / (n - m) / comb(n, m) if m < n else 0.0)


@exercise(
    lab=11,
    level="middle",
    question="The bound on -log p(row), from nats[v_0, ..., v_{n-1}, j] = -log p(cell j | cells with v = 1).",
    inputs=_cross_entropies,
    wrong={
        "the weight n / m is missing": _no_weight,
        "all masks are equally likely": _all_masks,
        "visible cells are counted too": _visible_too,
        "a mean over cells instead of a sum": _per_cell,
        "the number of visible cells where the number of masked ones belongs": _number_visible,
    },
)
def masked_bound(nats):
    """Average the chain rule over all orders: sum over masks of n / m times the nats of the m masked cells.

    The number m of masked cells is uniform on 1 ... n, and all masks with m masked cells are equally likely.
    """
    n, total = nats.shape[-1], 0.0
    for visible in product((0, 1), repeat=n):
        masked = [j for j in range(n) if not visible[j]]
        if masked:
            share = 1 / n / comb(n, len(masked))
            total += share * n / len(masked) * nats[visible][masked].sum()
    return total


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
    },
)
def same_step_gap(joint):
    """The drawn rows have p(a) p(b | a) p(c | a). Write it with sums of the joint probabilities p(a, b, c).

    KL(true || drawn) is the sum of p log(p / drawn). For these two it is the conditional mutual information of b and c.
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
                p = unmask(self.joint, row, j)
                row[j] = (given or {}).get(j, rng.choice(len(p), p=p))
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
        "the joint probabilities": _wrong_joint,
        "two columns in the same step": _same_step,
        "ignored conditions": _ignored,
        "overwritten labels": _overwritten,
        "sharpened probabilities": _sharpened,
    },
)
def fault_11():
    """Compare rows drawn without a condition, given column 0, and given column 2 with the exact probabilities."""
    # A condition on the last column leaves the others as they were: the sampler reads it when their labels are drawn.
    return "late"
