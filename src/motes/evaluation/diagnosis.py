"""What is wrong with a model that has been trained, and where the error of its samples comes from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.data import Table
from motes.evaluation import causes
from motes.evaluation.findings import Finding, find_problems, headline, named
from motes.evaluation.losses import ExcessLoss
from motes.evaluation.metrics import mode_coverage
from motes.evaluation.sources import PointSource, compared_with
from motes.points import PointModel
from motes.progress import OnProgress, silent

Array = NDArray[np.float64]

CLOSER = 0.6  # share of pairs (sample, unseen row) in which the sample is the one nearer to the training rows
MISPLACED = 0.02  # share of the samples that may surely be in the wrong mode
FEW = 200  # unseen rows: with fewer, each row of the training stands for one to all the others


@dataclass(frozen=True)
class Diagnosis:
    """All that was found out about a model.

    Attributes:
        source, evaluated_against: what it was held against, in words.
        findings: what is wrong; empty where all is well.
        excess: the network's loss on rows it has not seen, above `reference`.
        reference: what that is: "the exact denoiser", or the better of two simple models of the data.
        split: where the error of the samples comes from.
        notes: what could not be looked at, and why.

    Example:
        >>> found = model.diagnose("moons", n=64)
        >>> found.reference, found.evaluated_against
        ('the exact denoiser', 'a fresh draw')
    """

    source: str
    evaluated_against: str
    findings: list[Finding]
    excess: ExcessLoss
    reference: str
    split: causes.ErrorSplit
    notes: list[str]

    def __repr__(self) -> str:
        return f"Diagnosis of {self.source}: {named(self.findings)}"

    def __str__(self) -> str:
        lines = [f"{headline(self.findings)}, evaluated against {self.evaluated_against} of {self.source}.", ""]
        lines += [f"{finding}\n" for finding in self.findings]
        lines += [f"Where the error comes from (squared sliced W2, {self.split.rows:,} rows)", str(self.split), ""]
        return "\n".join([*lines, self._loss(), *self.notes])

    def _loss(self) -> str:
        nats, error = self.excess.nats, f"(± {self.excess.nats_error:.1g})"
        if nats < 0:
            return f"The network's loss is below that of {self.reference}, by {-nats:.2g} {error} nats a row."
        sign = "at most " if self.reference == causes.EXACT else ""
        return (
            f"The network's loss above {self.reference} costs {sign}{nats:.2g} {error} nats a row, most of it at noise "
            f"level {self.excess.worst:.2g}."
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON.

        Example:
            >>> sorted(model.diagnose("moons", n=64).to_dict())
            ['evaluated_against', 'excess', 'findings', 'notes', 'source', 'split']
        """
        curve = {name: getattr(self.excess, name).tolist() for name in ("t", "noise", "loss", "least", "excess")}
        return {
            "source": self.source,
            "evaluated_against": self.evaluated_against,
            "findings": [finding.to_dict() for finding in self.findings],
            "split": self.split.to_dict(),
            "excess": {"reference": self.reference, "nats": self.excess.nats, "nats_error": self.excess.nats_error}
            | curve,
            "notes": self.notes,
        }


def diagnose_model(
    model: PointModel,
    source: str | ArrayLike | Table | None = None,
    *,
    n: int = causes.ROWS,
    seed: int = 0,
    on_progress: OnProgress = silent,
) -> Diagnosis:
    """Find out what is wrong with a trained model, and where the error of its samples comes from.

    Args:
        model: trained.
        source: a shape, a file or an array to compare with; None takes what it was trained on.
        n: rows of each set of samples, fewer where there are not so many real ones.
        seed: of all that is drawn.
        on_progress: called with the number of rows sampled so far, of `5 n` at most.

    Raises:
        UsageError: data that is not to be had, has other columns than the model, or too few rows.
        DataError: data that cannot be used.

    Example:
        >>> from motes.evaluation import diagnose_model
        >>> diagnose_model(model, "moons", n=64).split.rows
        64
    """
    origin, real, _ = compared_with(model, source, n)
    counted = lambda before: lambda now: on_progress(now.after(before, 5 * n))
    samples = model.draw(n, seed=seed, on_progress=counted(0))
    setting = causes.Setting.of(model, origin, n, seed)
    split = causes.split_error(setting, counted(n))
    excess, compared = causes.excess_of(model, origin, real, seed)
    notes, unseen = [], origin.held_out is not None or origin.truth is not None
    findings = list(_with_truth(find_problems(origin.training, model.recipe), model, origin, real, split, seed))
    findings += causes.coarse_grid(setting, split)
    if origin.known and unseen:
        findings += _memorising(model, origin, samples, real)
        findings += causes.learning(model, origin, real, excess, findings, seed)
    else:
        why = "the rows it was trained on are not to be had" if unseen else "no rows were kept from the training"
        notes.append(f"Overtraining and memorising were not looked for: {why}.")
        findings += causes.undertrained(model, excess, 0.0, findings)
    findings = _by_part(_without_followers(findings), split)
    findings += _modes(model, origin, samples, findings, split, seed)
    return Diagnosis(origin.name, origin.evaluated_against, findings, excess, compared, split, notes)


# --- what belongs together --------------------------------------------------------------------------------------------

OF_THE_ROWS = ("degenerate_column", "dependent_columns", "duplicate_rows")
OF_THE_DATA = ("unscaled_columns", *OF_THE_ROWS)
OF_THE_STEPS = ("wasted_steps", "coarse_grid")


def _part_of(finding: Finding) -> str:
    """Which part of the error a finding adds to; "" of one about the data, which adds to all."""
    if finding.name in OF_THE_DATA:
        return ""
    if finding.name == "prior_mismatch":
        return causes.PRIOR
    return causes.DISCRETISATION if finding.name in OF_THE_STEPS else causes.LEARNING


def _by_part(findings: list[Finding], split: causes.ErrorSplit) -> list[Finding]:
    """Those about the data, then those of the largest part of the error, and so on."""
    # Steps through noise levels that the network does not know may be wild: that says nothing of the grid.
    unknown_levels = any(finding.name == "wrong_times" for finding in findings)

    def size(finding: Finding) -> float:
        if not (name := _part_of(finding)):
            return math.inf
        if unknown_levels and name == causes.DISCRETISATION:
            return -1.0
        part = split.parts.get(name)
        return part.value if part is not None and not split.doubts and part.surely_above(0.0) else 0.0

    return sorted(findings, key=size, reverse=True)


def _without_followers(findings: list[Finding]) -> list[Finding]:
    """Without the average of the weights where all that is wrong with it is how few steps there are."""
    few = any(finding.name == "too_few_steps" for finding in findings)
    return [finding for finding in findings if not (few and finding.name == "ema_too_long")]


def _with_truth(
    findings: list[Finding], model: PointModel, origin: PointSource, real: Array, split: causes.ErrorSplit, seed: int
) -> Iterator[Finding]:
    """The prior's finding with the exact distance, where the distribution is known, and what it does to the samples."""
    for finding in findings:
        if finding.name != "prior_mismatch":
            yield finding
            continue
        value = finding.value if origin.truth is None else _exact_prior_kl(model, origin, real, seed)
        part = split.parts[causes.PRIOR]
        message = (
            f"Alone it moves the samples by a sliced W2 of {math.sqrt(part.value):.2g} (two real draws: "
            f"{math.sqrt(split.reference_value):.2g})."
            if part.surely_above(0.0)
            else f"Among {split.rows:,} samples it cannot be seen for sure."
        )
        yield replace(finding, value=value, meaning=f"{finding.meaning} {message}")


def _exact_prior_kl(model: PointModel, origin: PointSource, real: Array, seed: int) -> float:
    """KL in nats from q(x_1) to the prior: the mean of log q - log p over real points with noise."""
    assert origin.truth is not None  # or nothing would be exact
    schedule, z = model.denoiser.schedule, model.standardiser.forward(real[: causes.EXCESS_ROWS])
    eps = np.random.default_rng([seed, 577215]).standard_normal(z.shape)
    x = float(schedule.alpha(1.0)) * z + float(schedule.sigma(1.0)) * eps
    log_q = np.asarray(origin.truth.oracle(schedule, model.standardiser).rows(x, 1.0).log_prob, np.float64)
    prior = float(schedule.prior_std)
    log_p = -0.5 * ((x / prior) ** 2 + np.log(2 * np.pi * prior**2)).sum(axis=1)
    return float(np.mean(log_q - log_p))


# --- the samples ------------------------------------------------------------------------------------------------------


def _memorising(model: PointModel, origin: PointSource, samples: Array, unseen: Array) -> Iterator[Finding]:
    from sklearn.neighbors import NearestNeighbors

    samples = samples[np.isfinite(samples).all(axis=1)]  # a learning rate that is too high may lose some
    if not len(samples):
        return
    rows = model.standardiser.forward(origin.training.x)
    near = NearestNeighbors(n_neighbors=2).fit(rows)
    ours, real = (near.kneighbors(model.standardiser.forward(x))[0][:, 0] for x in (samples, unseen))
    if len(real) < FEW:
        real = np.append(real, near.kneighbors(rows)[0][:, 1])
    # For each sample the share of unseen rows that are further from the training rows, and the other way round.
    order_ours, order_real = np.sort(ours), np.sort(real)
    further = 1 - (np.searchsorted(order_real, ours, "left") + np.searchsorted(order_real, ours, "right")) / 2 / len(
        real
    )
    nearer = (np.searchsorted(order_ours, real, "left") + np.searchsorted(order_ours, real, "right")) / 2 / len(ours)
    value = float(further.mean())
    error = math.hypot(further.std() / math.sqrt(len(ours)), nearer.std() / math.sqrt(len(real)))
    if value - causes.SURE * error > CLOSER:
        copies = float(np.mean(ours < 1e-3 * np.median(real)))
        yield Finding(
            "memorising",
            value,
            f"A sample is nearer to the rows of the training than a row that was not in it in {value:.0%} of cases "
            f"(50% expected), and {copies:.0%} of the samples are copies.",
            causes.less(model),
        )


def _modes(
    model: PointModel, origin: PointSource, samples: Array, found: list[Finding], split: causes.ErrorSplit, seed: int
) -> Iterator[Finding]:
    """Samples in the wrong modes: what follows from the first of the other findings, if there are any."""
    modes = origin.modes
    if modes is None or not np.isfinite(samples).all():
        return
    coverage = mode_coverage(samples, modes, seed=seed)
    if coverage.distance.low <= MISPLACED:
        return
    off = [share - true for share, true in zip(coverage.shares, modes.shares, strict=True)]
    worst = int(np.argmax(np.abs(off)))
    cause = next((finding.name for finding in found if finding.name not in OF_THE_ROWS), "")
    yield Finding(
        "misplaced_mass",
        float(coverage.distance),
        f"{coverage.distance:.1%} of the samples are in the wrong mode; mode {worst} has {coverage.shares[worst]:.1%} "
        f"where it should have {modes.shares[worst]:.1%}.{causes.see(cause) or _where(split)}",
        {} if cause or _largest(split) != causes.LEARNING else causes.more(model),
    )


def _largest(split: causes.ErrorSplit) -> str:
    """The part of the error that is surely there and largest; "" where none is."""
    sure = {} if split.doubts else {name: part.value for name, part in split.parts.items() if part.surely_above(0.0)}
    return max(sure, key=lambda name: sure[name], default="")


def _where(split: causes.ErrorSplit) -> str:
    name = _largest(split)
    return f" Most of the error is of {name}." if name else ""
