"""How good is a model? Its samples beside real points that it has not seen, its loss beside the least possible."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data.tables import Table
from motes.errors import UsageError, check_count
from motes.evaluation.excess import excess_loss, noise_levels
from motes.evaluation.irreducible import Estimate, expected_loss
from motes.evaluation.metrics import Metric, Row, compare, negative_log_likelihood
from motes.evaluation.verdicts import overall, verdict
from motes.learning.networks import StepGated
from motes.point_fitting import standardiser_of
from motes.points import PointModel
from motes.recipes import Recipe
from motes.seeds import seed_key
from motes.sources import Source, source_of

Array = NDArray[np.float64]

SCORED = 2000  # rows whose likelihood is taken
FEWEST = 10  # rows that the metrics need
CLASSES = 10  # of which the least loss is taken; of more, so many are drawn
LENGTHS = (0.02, 0.03, 0.045, 0.07, 0.1, 0.14, 0.19, 0.25)  # of averages of the weights, as shares of the training
LENGTH_ROWS = 8192  # real points that a length is judged by
LEAST_LOSS_PAIRS = 1e8  # of draws with atoms: less than a second


@dataclass(frozen=True)
class Evaluation:
    """Every metric of a model's samples, beside the same figure for real points.

    Attributes:
        source: what the samples are held against.
        judged_by: how those points were had, in words.
        size: rows of each set.
        rows: metrics with their floors, in the order of `motes.compare`.
    """

    source: str
    judged_by: str
    size: int
    rows: list[Row]

    @property
    def verdict(self) -> str:
        """One sentence."""
        return overall(self.rows)

    def __str__(self) -> str:
        head = ("metric", "model", "95 % interval", "real draw", "verdict")
        lines = [
            (row.metric.name, _number(row.metric), _interval(row.metric), _number(row.floor), verdict(row))
            for row in self.rows
        ]
        widths = [max(len(line[i]) for line in (head, *lines)) for i in range(len(head))]
        table = "\n".join(
            f"{name:<{widths[0]}}  {value:>{widths[1]}}  {between:<{widths[2]}}  {floor:>{widths[3]}}  {words}"
            for name, value, between, floor, words in (head, *lines)
        )
        return f"{self.size:,} samples against {self.judged_by} of {self.source}\n\n{table}\n\n{self.verdict}"

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "source": self.source,
            "judged_by": self.judged_by,
            "size": self.size,
            "metrics": [
                {
                    "name": row.metric.name,
                    **_plain(row.metric),
                    "floor": _plain(row.floor),
                    "verdict": verdict(row),
                }
                for row in self.rows
            ],
            "verdict": self.verdict,
        }


def evaluate(
    model: PointModel,
    source: str | ArrayLike | Table | None = None,
    *,
    n: int = 10_000,
    seed: int = 0,
    on_block: Callable[[int], None] | None = None,
) -> Evaluation:
    """Sample the model and compare with real points: a fresh draw of a shape, or rows held out of a file.

    Args:
        model: trained.
        source: a shape, a `.csv` or `.npy` file or an array (n, d); None takes what the model was trained on.
        n: rows of each set, fewer where there are not so many real ones.
        seed: of the samples and of the metrics.
        on_block: called with the number of rows sampled so far.

    Raises:
        UsageError: data that is not to be had, has other columns than the model, or too few rows.
        DataError: data that cannot be used.
    """
    n = check_count(n, "samples")
    origin = source_of(model, source)
    judge, other = origin.real(n)
    if len(judge) < FEWEST:
        raise UsageError(f"{len(judge)} rows of {origin.name} to judge by; expected at least {FEWEST}.")
    made = model.sample(len(judge), seed=seed, on_block=on_block)
    rows = compare(made, judge, other, judge, modes=origin.modes, seed=seed)
    return Evaluation(origin.name, origin.judged_by, len(judge), [*rows, *_likelihood(model, origin, judge, other)])


def _likelihood(model: PointModel, origin: Source, judge: Array, other: Array) -> list[Row]:
    """-log p of the judge, beside that of the exact law, or, where that is unknown, of the other real rows.

    Nothing for a network that knows only steps: its flow jumps, and no solver can follow it.
    """
    if isinstance(model.recipe.network, StepGated):
        return []
    judge, other = judge[:SCORED], other[:SCORED]
    ours = model.score_samples(judge)
    least = origin.truth.log_density(judge) if origin.truth else model.score_samples(other)
    if not (np.isfinite(ours).all() and np.isfinite(least).all()):  # a point where the law or the model has no density
        return []
    return [Row(negative_log_likelihood(ours), negative_log_likelihood(least))]


def least_loss(origin: Source, recipe: Recipe, *, seed: int = 0) -> Estimate:
    """How low the training loss of a recipe can go on a source: the loss of the exact denoiser.

    Where the law is unknown it is that of the denoiser which knows the rows by heart, and says so in its label. With
    labels it is that of the exact denoiser of each class, but for the rows whose label is withheld.
    """
    rng, labels = np.random.default_rng([seed, 112358]), origin.table.labels
    parts = [(1.0, _least_loss(origin, recipe, None, seed))]
    if labels is not None:
        withheld = recipe.training.label_dropout
        chosen = np.unique(labels)
        if len(chosen) > CLASSES:  # as many rows of each as there are on average
            chosen = rng.choice(labels, CLASSES)
            shares = np.full(CLASSES, 1 / CLASSES)
        else:
            shares = np.array([np.mean(labels == label) for label in chosen])
        parts = [(withheld, parts[0][1])]
        parts += [
            ((1 - withheld) * share, _least_loss(origin, recipe, label, seed))
            for label, share in zip(chosen, shares, strict=True)
        ]
    mean = sum(weight * part.mean for weight, part in parts)
    error = sum((weight * part.error) ** 2 for weight, part in parts) ** 0.5
    return Estimate(mean, error, parts[0][1].label)


def _least_loss(origin: Source, recipe: Recipe, label: str | np.integer | None, seed: int) -> Estimate:
    """Of one class, or of all rows together."""
    standardiser = standardiser_of(origin.table, recipe)
    atoms = origin.truth.atoms if origin.truth else len(origin.table.x)
    mine = slice(None) if label is None else origin.table.labels == label
    return expected_loss(
        origin.oracle(recipe.make_schedule(), standardiser, label),
        recipe.loss,
        standardiser.forward(origin.table.x[mine]),
        recipe.times,
        key=seed_key(seed, "least loss"),
        draws=int(np.clip(LEAST_LOSS_PAIRS // atoms, 4096, 100_000)),
    )


@dataclass(frozen=True)
class Lengths:
    """What a model loses with other averages of its weights.

    Attributes:
        judged_by: the points, in words.
        measure: what `losses` are, in words.
        lengths: of the averages; None for the weights that the model has.
        losses, errors: one for each length, and its standard error. All have the same rows, times and noise, so that
            their differences are known better than that.
    """

    judged_by: str
    measure: str
    lengths: tuple[float | None, ...]
    losses: tuple[float, ...]
    errors: tuple[float, ...]

    @property
    def best(self) -> float:
        """The length of least loss, the present weights left out."""
        return min((loss, length) for loss, length in zip(self.losses, self.lengths, strict=True) if length)[1]

    def __str__(self) -> str:
        lines = [
            f"{'present' if length is None else format(length, 'g'):>7}  {loss:>10.5f} ± {error:.5f}"
            + ("  best" if length == self.best else "")
            for length, loss, error in zip(self.lengths, self.losses, self.errors, strict=True)
        ]
        return "\n".join([f" length  {self.measure}, by {self.judged_by}", *lines])


def judge_lengths(
    model: PointModel,
    source: str | ArrayLike | Table | None = None,
    *,
    lengths: tuple[float, ...] = LENGTHS,
    seed: int = 0,
    on_length: Callable[[int], None] | None = None,
) -> Lengths:
    """How good averages of the weights over other lengths are (Karras et al. 2024, section 3), on unseen points.

    Where the law of the points is known it is the network's error in nats a row, otherwise the loss of the training.

    Args:
        model: with averages, as `motes train` leaves them.
        source: what to judge by; None takes what the model was trained on.
        lengths: to try, as shares of the training; one that too little was stored for is left out.
        seed: of rows, times and noise.
        on_length: called with the number of lengths tried so far, the present weights first.

    Raises:
        UsageError: no averages, a length out of range, or data that is not to be had.
        DataError: data that cannot be used.
    """
    origin, stored = source_of(model, source), model.averages
    rows = model.standardiser.forward(origin.real(LENGTH_ROWS)[0])
    if stored is not None:
        lengths = tuple(length for length in lengths if stored.can_make(length))
    schedule, key = model.denoiser.schedule, seed_key(seed, "lengths")
    exact = origin.truth.oracle(schedule, model.standardiser) if origin.truth else None
    t, _ = noise_levels(schedule, model.lowest_noise)
    found: list[tuple[float, float]] = []
    for length in (None, *lengths):
        denoiser = model.denoiser if length is None else model.averaged_over(length).denoiser
        if exact is not None:
            excess = excess_loss(denoiser, exact, rows, t, key=key)
            found.append((excess.nats, excess.nats_error))
        else:
            loss = expected_loss(denoiser, model.recipe.loss, rows, model.recipe.times, key=key)
            found.append((loss.mean, loss.error))
        if on_length:
            on_length(len(found))
    losses, errors = zip(*found, strict=True)
    measure = "excess loss in nats a row" if exact is not None else "loss"
    return Lengths(f"{origin.judged_by} of {origin.name}", measure, (None, *lengths), losses, errors)


def _number(metric: Metric) -> str:
    return f"{metric:.4g}"


def _interval(metric: Metric) -> str:
    return f"{metric.low:.4g} to {metric.high:.4g}" + ("" if metric.p_value is None else f", p = {metric.p_value:.2g}")


def _plain(metric: Metric) -> dict[str, float | None]:
    return {"value": metric.value, "low": metric.low, "high": metric.high, "p_value": metric.p_value}
