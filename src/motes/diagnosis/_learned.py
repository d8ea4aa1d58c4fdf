"""What a network has not learned, what it has learned by heart, and why."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes._seeds import seed_key
from motes.diagnosis._before import ema_fitting
from motes.diagnosis._causes import causes_of
from motes.diagnosis._findings import Finding
from motes.diagnosis._prior import as_options
from motes.diagnosis._setting import SURE
from motes.diffusion._blurred_oracles import EmpiricalOracle
from motes.diffusion._oracles import GaussianOracle, MixtureOracle, Oracle
from motes.diffusion._schedules import Schedule
from motes.evaluation._excess import ExcessLoss, excess_loss, noise_levels
from motes.evaluation._point_verdicts import UNLEARNED
from motes.models._points import PointModel
from motes.models._sources import PointSource

Array = NDArray[np.float64]

EXACT = "the exact denoiser"
EXCESS_ROWS = 2048
ALPHA = 1e-3  # of the test of ranks
OVERLEARNED = 0.3  # nats between rows seen and rows unseen
SCALES = (0.05, 0.1, 0.15, 0.2, 0.3, 0.45, 0.7)  # of a kernel, in standard deviations of the data
REFERENCE_ROWS = 10_000
GAUSSIANS = (1, 4, 16)
EACH = 20  # rows for each of their columns, at least
AVERAGING = ("ema_too_long", "ema_too_short")


def excess_of(model: PointModel, origin: PointSource, unseen: Array, seed: int) -> tuple[ExcessLoss, str]:
    schedule, z = model.denoiser.schedule, model.standardiser.forward(unseen[:EXCESS_ROWS])
    t, _ = noise_levels(schedule, model.lowest_noise)
    if origin.truth is not None:
        exact = origin.truth.oracle(schedule, model.standardiser)
        return excess_loss(model.denoiser, exact, z, t, key=seed_key(seed, "excess")), EXACT
    rows = model.standardiser.forward(origin.training.x)
    simple = _mixture(rows, z, schedule), ("a kernel density", _kernels(rows, z, schedule))
    found = [(_above(model, reference, z, t, seed_key(seed, "excess")), name) for name, reference in simple]
    return max(found, key=lambda pair: pair[0].nats)


def _above(model: PointModel, reference: Oracle, z: Array, t: Array, key: Any, repeats: int = 1) -> ExcessLoss:
    """The excess over a reference that need not be exact."""
    return excess_loss(model.denoiser, reference, z[:EXCESS_ROWS], t, key=key, exact=False, repeats=repeats)


def _gaussian(rows: Array, schedule: Schedule) -> Oracle:
    return GaussianOracle(rows.mean(axis=0), np.cov(rows.T, bias=True), schedule)


def _mixture(rows: Array, unseen: Array, schedule: Schedule) -> tuple[str, Oracle]:
    """As many Gaussians of `rows` as make the unseen ones likeliest, and what to call them."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    rows = rows[:REFERENCE_ROWS]
    counts = [count for count in GAUSSIANS if count == 1 or count * EACH * rows.shape[1] <= len(rows)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a reference need not be the best one
        fits = [GaussianMixture(count, reg_covar=_least(count), random_state=0).fit(rows) for count in counts]
    best = max(fits, key=lambda fit: float(fit.score(unseen)))
    name = "a Gaussian" if best.n_components == 1 else f"a mixture of {best.n_components} Gaussians"
    return name, MixtureOracle(best.weights_, best.means_, best.covariances_, schedule)


def _least(count: int) -> float:
    """The least variance: one of several Gaussians could lie on equal entries of a column, and know them by heart."""
    return 1e-6 if count == 1 else SCALES[0] ** 2


def _kernels(rows: Array, unseen: Array, schedule: Schedule) -> Oracle:
    """A kernel density of `rows`, as wide as makes the unseen ones likeliest."""
    oracles = [
        EmpiricalOracle(rows[:REFERENCE_ROWS], schedule, spread=np.full(rows.shape[1], scale)) for scale in SCALES
    ]
    return max(oracles, key=lambda oracle: float(np.mean(oracle.rows(unseen, 0.0).log_prob)))


def learning(
    model: PointModel, origin: PointSource, real: Array, excess: ExcessLoss, found: list[Finding], seed: int
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
            less(model),
        )
    yield from undertrained(model, excess, max(gap, 0.0), found)


def undertrained(model: PointModel, excess: ExcessLoss, gap: float, found: list[Finding]) -> Iterator[Finding]:
    """What the network has not learned, named by the likeliest cause; its fix undoes all causes."""
    # Few rows far off can make any error of the mean; half of the rows can not.
    surely = max(excess.nats - SURE * excess.nats_error, float(np.median(excess.nats_of_row)))
    if surely - gap <= UNLEARNED:
        return
    causes = causes_of(model, excess)
    few = any(cause.name == "too_few_steps" for cause in causes)
    cause = because(found, "unscaled_columns") or ("" if few else because(found, *AVERAGING))
    changes = {key: value for one in causes for key, value in one.changes.items()}
    why = f": {', and '.join(one.meaning for one in causes)}" if causes else ""
    yield Finding(
        causes[0].name if causes and not cause else "undertrained",
        excess.nats,
        f"The network's error costs up to {excess.nats:.2g} nats a row, most of it at noise level "
        f"{excess.worst:.2g}{why}.{see(cause)}",
        "" if cause else as_options(changes or more(model)),
    )


def more(model: PointModel) -> dict[str, Any]:
    """More training of a larger network."""
    return {"training.steps": 2 * model.recipe.training.steps} | _wider(model, 2)


def less(model: PointModel) -> str:
    """An eighth of the training, of half the network."""
    part = model.recipe.training
    steps = max(part.steps // 8, 1)
    return as_options({"training.steps": steps} | ema_fitting(part.ema, steps) | _wider(model, 0.5))


def _wider(model: PointModel, factor: float) -> dict[str, Any]:
    """The change of a network that has a width."""
    width = getattr(model.recipe.network, "width", None)
    return {} if width is None else {"network.width": max(int(factor * width), 8)}


def because(found: list[Finding], *names: str) -> str:
    """Which of `names` has been found already."""
    return next((finding.name for finding in found if finding.name in names), "")


def see(cause: str) -> str:
    return f" See {cause}." if cause else ""
