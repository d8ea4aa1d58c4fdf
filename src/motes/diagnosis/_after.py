"""What is wrong with a model that has been trained, and where the error of its samples comes from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes._seeds import seed_key
from motes.data._tables import Table
from motes.diagnosis._before import diagnose
from motes.diagnosis._findings import Finding, headline, named
from motes.diagnosis._split import DISCRETISATION, PRIOR, ROWS, ErrorSplit, split_error
from motes.diffusion._blurred_oracles import EmpiricalOracle
from motes.diffusion._oracles import GaussianOracle, Oracle
from motes.diffusion._schedules import Schedule
from motes.evaluation._excess import ExcessLoss, excess_loss, noise_levels
from motes.evaluation._modes import mode_coverage
from motes.evaluation._point_verdicts import UNLEARNED
from motes.learning._options import Training
from motes.models._points import PointModel
from motes.models._sources import PointSource, compared_with

Array = NDArray[np.float64]

EXCESS_ROWS = 2048
SURE = 3.0  # standard errors that a finding is beyond its threshold
ALPHA = 1e-3  # of the test of ranks
OVERLEARNED = 0.3  # nats between rows seen and rows unseen
COARSE = 0.5  # of the reference value: what the steps may add to the squared distance
CLOSER = 0.6  # share of pairs (sample, unseen row) in which the sample is the one nearer to the training rows
MISPLACED = 0.02  # share of the samples that may surely be in the wrong mode
SCALES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.45, 0.7)  # of a kernel, in standard deviations of the data
REFERENCE_ROWS = 10_000
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
    split: ErrorSplit
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
        sign = "at most " if self.reference == EXACT else ""
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


EXACT = "the exact denoiser"


def diagnose_model(
    model: PointModel,
    source: str | ArrayLike | Table | None = None,
    *,
    n: int = ROWS,
    seed: int = 0,
    on_block: Callable[[int], None] | None = None,
) -> Diagnosis:
    """Find out what is wrong with a trained model, and where the error of its samples comes from.

    Args:
        model: trained.
        source: a shape, a file or an array to compare with; None takes what it was trained on.
        n: rows of each set of samples, fewer where there are not so many real ones.
        seed: of all that is drawn.
        on_block: called with the number of rows sampled so far, of `5 n` at most.

    Raises:
        UsageError: data that is not to be had, has other columns than the model, or too few rows.
        DataError: data that cannot be used.

    Example:
        >>> from motes.diagnosis import diagnose_model
        >>> diagnose_model(model.inner, "moons", n=64).split.rows
        64
    """
    origin, real, _ = compared_with(model, source, n)
    samples = model.sample(n, seed=seed, on_block=on_block)
    split = split_error(model, origin, n, seed=seed, on_block=(lambda done: on_block(n + done)) if on_block else None)
    excess, compared = _excess(model, origin, real, seed)
    notes, unseen = [], origin.held_out is not None or origin.truth is not None
    findings = _with_distance(diagnose(origin.training, model.recipe), split)
    findings += _coarse(model, split)
    cause = _because(findings, "ema_too_long", "unscaled_columns")
    if origin.known and unseen:
        findings += _learning(model, origin, real, excess, cause, seed)
        findings += _memorising(model, origin, samples, real)
    else:
        why = "the rows it was trained on are not to be had" if unseen else "no rows were kept from the training"
        notes.append(f"Overtraining and memorising were not looked for: {why}.")
        findings += _undertrained(model, excess, 0.0, cause)
    findings += _modes(
        model, origin, samples, _because(findings, "prior_mismatch", "coarse_grid", "undertrained"), seed
    )
    return Diagnosis(origin.name, origin.evaluated_against, findings, excess, compared, split, notes)


# --- the network's loss above the least -------------------------------------------------------------------------------


def _excess(model: PointModel, origin: PointSource, unseen: Array, seed: int) -> tuple[ExcessLoss, str]:
    schedule, z = model.denoiser.schedule, model.standardiser.forward(unseen[:EXCESS_ROWS])
    t, _ = noise_levels(schedule, model.lowest_noise)
    if origin.truth is not None:
        exact = origin.truth.oracle(schedule, model.standardiser)
        return excess_loss(model.denoiser, exact, z, t, key=seed_key(seed, "excess")), EXACT
    rows = model.standardiser.forward(origin.training.x)
    simple = {"a Gaussian": _gaussian(rows, schedule), "a kernel density": _kernels(rows, z, schedule)}
    found = [(_above(model, reference, z, t, seed_key(seed, "excess")), name) for name, reference in simple.items()]
    return max(found, key=lambda pair: pair[0].nats)


def _above(model: PointModel, reference: Oracle, z: Array, t: Array, key: Any, repeats: int = 1) -> ExcessLoss:
    """The excess over a reference that need not be exact."""
    return excess_loss(model.denoiser, reference, z[:EXCESS_ROWS], t, key=key, exact=False, repeats=repeats)


def _gaussian(rows: Array, schedule: Schedule) -> Oracle:
    return GaussianOracle(rows.mean(axis=0), np.cov(rows.T, bias=True), schedule)


def _kernels(rows: Array, unseen: Array, schedule: Schedule) -> Oracle:
    """A kernel density of `rows`, as wide as makes the unseen ones likeliest."""
    oracles = [
        EmpiricalOracle(rows[:REFERENCE_ROWS], schedule, spread=np.full(rows.shape[1], scale)) for scale in SCALES
    ]
    return max(oracles, key=lambda oracle: float(np.mean(oracle.rows(unseen, 0.0).log_prob)))


def _learning(
    model: PointModel, origin: PointSource, real: Array, excess: ExcessLoss, cause: str, seed: int
) -> Iterator[Finding]:
    """What the network does worse on unseen rows than on those it has seen, and what it has not learned at all."""
    from scipy.stats import mannwhitneyu

    schedule, rows = model.denoiser.schedule, model.standardiser.forward(origin.training.x)
    # The same denoiser takes part of the noise out of both losses.
    yardstick = (
        origin.truth.oracle(schedule, model.standardiser) if origin.truth is not None else _gaussian(rows, schedule)
    )
    repeats = max(EXCESS_ROWS // len(rows), 1)  # of few rows each is looked at under several noises
    unseen, seen = (
        _above(model, yardstick, x, excess.t, seed_key(seed, name), repeats)
        for x, name in ((model.standardiser.forward(real), "unseen"), (rows, "seen"))
    )
    gap = unseen.nats - seen.nats
    # By ranks, because a few rows far off may cost the network more than all the others together.
    p_value = mannwhitneyu(unseen.nats_of_row, seen.nats_of_row, alternative="greater").pvalue
    if gap > OVERLEARNED and p_value < ALPHA:
        yield Finding(
            "overtrained",
            gap,
            f"Rows that the network has seen cost it {gap:.2g} nats less than rows that it has not: it is learning "
            f"these {len(rows):,} rows and not their distribution.",
            _less(model),
        )
    yield from _undertrained(model, excess, max(gap, 0.0), cause)


def _undertrained(model: PointModel, excess: ExcessLoss, gap: float, cause: str) -> Iterator[Finding]:
    if excess.nats - gap - SURE * excess.nats_error > UNLEARNED:
        yield Finding(
            "undertrained",
            excess.nats,
            f"The network's error costs up to {excess.nats:.2g} nats a row, most of it at noise level "
            f"{excess.worst:.2g}.{_see(cause)}",
            "" if cause else _more(model),
        )


def _more(model: PointModel) -> str:
    steps = model.recipe.training.steps
    if steps < Training.steps:
        return f"--set training.steps={Training.steps}"
    return f"--set training.steps={2 * steps}{_wider(model, 2)}"


def _less(model: PointModel) -> str:
    return f"--set training.steps={max(model.recipe.training.steps // 8, 1)}{_wider(model, 0.5)}"


def _wider(model: PointModel, factor: float) -> str:
    """The change of a network that has a width."""
    width = getattr(model.recipe.network, "width", None)
    return "" if width is None else f" --set network.width={max(int(factor * width), 8)}"


# --- the samples ------------------------------------------------------------------------------------------------------


def _because(found: list[Finding], *names: str) -> str:
    """Which of `names` has been found already."""
    return next((finding.name for finding in found if finding.name in names), "")


def _see(cause: str) -> str:
    return f" See {cause}." if cause else ""


def _with_distance(findings: list[Finding], split: ErrorSplit) -> list[Finding]:
    """The prior's finding with the distance that it alone causes."""
    part = split.parts[PRIOR]
    seen = part.value > SURE * part.error
    message = (
        f"Alone it moves the samples by a sliced W2 of {math.sqrt(part.value):.2g} (two real draws: "
        f"{math.sqrt(split.reference_value):.2g})."
        if seen
        else f"Among {split.rows:,} samples it cannot be seen."
    )
    return [
        replace(finding, meaning=f"{finding.meaning} {message}") if finding.name == "prior_mismatch" else finding
        for finding in findings
    ]


def _coarse(model: PointModel, split: ErrorSplit) -> Iterator[Finding]:
    part = split.parts.get(DISCRETISATION)
    if part is None or part.value - SURE * part.error < COARSE * split.reference_value:
        return
    steps = len(model.grid) - 1
    distance = math.sqrt(part.value)
    yield Finding(
        "coarse_grid",
        distance,
        f"{steps} steps are too few: finer ones bring the samples nearer by a sliced W2 of {distance:.2g} (two real "
        f"draws: {math.sqrt(split.reference_value):.2g}).",
        f"--set grid.steps={max(64, 2 * steps)}",
    )


def _memorising(model: PointModel, origin: PointSource, samples: Array, unseen: Array) -> Iterator[Finding]:
    from sklearn.neighbors import NearestNeighbors

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
    if value - SURE * error > CLOSER:
        copies = float(np.mean(ours < 1e-3 * np.median(real)))
        yield Finding(
            "memorising",
            value,
            f"A sample is nearer to the rows of the training than a row that was not in it in {value:.0%} of cases "
            f"(50% expected), and {copies:.0%} of the samples are copies.",
            _less(model),
        )


def _modes(model: PointModel, origin: PointSource, samples: Array, cause: str, seed: int) -> Iterator[Finding]:
    modes = origin.modes
    if modes is None:
        return
    found = mode_coverage(samples, modes, seed=seed)
    if found.distance.low > MISPLACED:
        off = [share - true for share, true in zip(found.shares, modes.shares, strict=True)]
        worst = int(np.argmax(np.abs(off)))
        yield Finding(
            "misplaced_mass",
            float(found.distance),
            f"{found.distance:.1%} of the samples are in the wrong mode; mode {worst} has {found.shares[worst]:.1%} "
            f"where it should have {modes.shares[worst]:.1%}.{_see(cause)}",
            "" if cause else _more(model),
        )
