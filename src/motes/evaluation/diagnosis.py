"""Diagnosis of a trained model: problems, fixes, and the sources of the error of its samples."""

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

CLOSER = 0.6  # largest accepted share of pairs in which the sample is closer to the training rows than a held-out row
MISPLACED = 0.02  # largest accepted share of samples in the wrong mode
FEW = 200  # with fewer held-out rows, distances between training rows are used as well


@dataclass(frozen=True)
class Diagnosis:
    """The result of `motes diagnose` for a model of points.

    Attributes:
        source, evaluated_against: name and description of the rows used.
        findings: the problems; empty if none were detected.
        excess: the network's loss on held-out rows, minus the loss of `reference`.
        reference: "the exact denoiser", or the better of two simple models of the data.
        split: the sources of the error of the samples.
        notes: what could not be checked, and why.

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
        lines += [f"Sources of the error (squared sliced W2, {self.split.rows:,} rows)", str(self.split), ""]
        return "\n".join([*lines, self._loss(), *self.notes])

    def _loss(self) -> str:
        nats, error = self.excess.nats, f"(± {self.excess.nats_error:.1g})"
        if nats < 0:
            return f"The network's loss is {-nats:.2g} {error} nats per row below the loss of {self.reference}."
        sign = "at most " if self.reference == causes.EXACT else ""
        return (
            f"The network's loss above {self.reference} costs {sign}{nats:.2g} {error} nats per row, mostly at noise "
            f"level {self.excess.worst:.2g}."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the diagnosis as a dict for JSON.

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
    """Find the problems of a trained model and the sources of the error of its samples.

    Args:
        model: a trained model.
        source: a shape, a file or an array to compare with; None uses the data it was trained on.
        n: rows of each set of samples; fewer if there are fewer real rows.
        seed: for all random draws.
        on_progress: called with the number of rows sampled so far, out of at most `5 n`.

    Raises:
        UsageError: data that is not available, has other columns than the model, or too few rows.
        DataError: data that cannot be used.

    Example:
        >>> from motes.evaluation.diagnosis import diagnose_model
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
    findings = list(
        _complete_prior_mismatch(find_problems(origin.training, model.recipe), model, origin, real, split, seed)
    )
    findings += causes.coarse_grid(setting, split)
    if origin.known and unseen:
        findings += _memorising(model, origin, samples, real)
        findings += causes.learning(model, origin, real, excess, findings, seed)
    else:
        why = "the training rows are not available" if unseen else "no rows were held out"
        notes.append(f"Overtraining and memorisation were not checked: {why}.")
        findings += causes.undertrained(model, excess, 0.0, findings)
    findings = _by_part(_drop_consequences(findings), split)
    findings += _modes(model, origin, samples, findings, split, seed)
    return Diagnosis(origin.name, origin.evaluated_against, findings, excess, compared, split, notes)


# --- the order of the findings ----------------------------------------------------------------------------------------

OF_THE_ROWS = ("degenerate_column", "dependent_columns", "duplicate_rows")
OF_THE_DATA = ("unscaled_columns", *OF_THE_ROWS)
OF_THE_STEPS = ("wasted_steps", "coarse_grid")


def _part_of(finding: Finding) -> str:
    """Return the part of the error that a finding adds to; "" for findings about the data, which add to all."""
    if finding.name in OF_THE_DATA:
        return ""
    if finding.name == "prior_mismatch":
        return causes.PRIOR
    return causes.DISCRETISATION if finding.name in OF_THE_STEPS else causes.LEARNING


def _by_part(findings: list[Finding], split: causes.ErrorSplit) -> list[Finding]:
    """Sort findings: those about the data first, then by the size of the part of the error that they add to."""
    # At noise levels that the network has not learned, steps can be erratic, which says nothing about the grid.
    unknown_levels = any(finding.name == "wrong_times" for finding in findings)

    def size(finding: Finding) -> float:
        if not (name := _part_of(finding)):
            return math.inf
        if unknown_levels and name == causes.DISCRETISATION:
            return -1.0
        part = split.parts.get(name)
        return part.value if part is not None and not split.doubts and part.surely_above(0.0) else 0.0

    return sorted(findings, key=size, reverse=True)


def _drop_consequences(findings: list[Finding]) -> list[Finding]:
    """Drop `ema_too_long` if the cause is that there are too few steps."""
    few = any(finding.name == "too_few_steps" for finding in findings)
    return [finding for finding in findings if not (few and finding.name == "ema_too_long")]


def _complete_prior_mismatch(
    findings: list[Finding], model: PointModel, origin: PointSource, real: Array, split: causes.ErrorSplit, seed: int
) -> Iterator[Finding]:
    """Add to `prior_mismatch` its effect on the samples and, if the distribution is known, the exact KL."""
    for finding in findings:
        if finding.name != "prior_mismatch":
            yield finding
            continue
        value = finding.value if origin.truth is None else _exact_prior_kl(model, origin, real, seed)
        part = split.parts[causes.PRIOR]
        message = (
            f"It alone causes a sliced W2 of {math.sqrt(part.value):.2g} (between two real samples: "
            f"{math.sqrt(split.reference_value):.2g})."
            if part.surely_above(0.0)
            else f"Its effect on {split.rows:,} samples is not significant."
        )
        yield replace(finding, value=value, meaning=f"{finding.meaning} {message}")


def _exact_prior_kl(model: PointModel, origin: PointSource, real: Array, seed: int) -> float:
    """Compute the KL in nats from q(x_1) to the prior: the mean of log q - log p over real points with noise."""
    assert origin.truth is not None  # required for an exact KL
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

    samples = samples[np.isfinite(samples).all(axis=1)]  # a too high learning rate can make some infinite
    if not len(samples):
        return
    rows = model.standardiser.forward(origin.training.x)
    near = NearestNeighbors(n_neighbors=2).fit(rows)
    ours, real = (near.kneighbors(model.standardiser.forward(x))[0][:, 0] for x in (samples, unseen))
    if len(real) < FEW:
        real = np.append(real, near.kneighbors(rows)[0][:, 1])
    # For each sample, the share of held-out rows that are further from the training rows, and vice versa.
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
            f"In {value:.0%} of cases, a sample is closer to a training row than a held-out row is (50% expected), and "
            f"{copies:.0%} of the samples are copies of training rows.",
            causes.less(model),
        )


def _modes(
    model: PointModel, origin: PointSource, samples: Array, found: list[Finding], split: causes.ErrorSplit, seed: int
) -> Iterator[Finding]:
    """Find samples in the wrong modes; the first of the other findings, if any, is named as the cause."""
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
        f"instead of {modes.shares[worst]:.1%}.{causes.see(cause) or _name_largest(split)}",
        {} if cause or _largest_part(split) != causes.LEARNING else causes.more(model),
    )


def _largest_part(split: causes.ErrorSplit) -> str:
    """Return the largest significant part of the error; "" if there is none."""
    sure = {} if split.doubts else {name: part.value for name, part in split.parts.items() if part.surely_above(0.0)}
    return max(sure, key=lambda name: sure[name], default="")


def _name_largest(split: causes.ErrorSplit) -> str:
    name = _largest_part(split)
    return f" Most of the error comes from {name}." if name else ""
