"""A check after training: do synthetic numbers have the means and standard deviations of the training rows?

Calibration matches the shares of tokens, not the numbers within the outermost ones, so that the tail of a sum of money
can be drawn too long or too short. An analyst would notice only in their results.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from motes.data import Frame
from motes.tables.kinds import KINDS

if TYPE_CHECKING:
    from motes.tables.model import TableModel

MAX_MEAN_ERROR = 0.03  # of the larger of mean and standard deviation
MAX_SD_ERROR = 0.1  # of the standard deviation
CHANCE = 4.0  # standard errors of a difference that chance explains, for hundreds of columns


def moment_warnings(
    model: "TableModel", rows: Frame, weights: NDArray[np.float64] | None, seed: int, *, drawn: int = 4096
) -> list[str]:
    """Return a warning that names the numeric columns whose synthetic mean or standard deviation is off, if any.

    A difference counts if it is larger than both the limits above and what chance explains, given the kurtosis of the
    training rows.

    Args:
        model: the trained model.
        rows: its training rows, (n, d), or a sample of them.
        weights: of these rows, (n,); None for equal ones.
        seed: random seed of the synthetic rows.
        drawn: number of synthetic rows.
    """
    synthetic, found = model.draw(drawn, seed=seed), list[str]()
    for column in model.schema.compared:
        if KINDS[column.kind].measure != "number":
            continue
        series = rows.columns[column.name]
        mean, sd, kurtosis = moments_of(_numbers(series), None if weights is None else weights[~series.missing])
        numbers = _numbers(synthetic.columns[column.name])
        if not (len(numbers) > 1 and np.isfinite([mean, sd, kurtosis]).all() and sd > 0):
            continue
        mean_here, sd_here, _ = moments_of(numbers)
        chance = CHANCE * sd / np.sqrt(len(numbers))
        if abs(mean_here - mean) > max(MAX_MEAN_ERROR * max(abs(mean), sd), chance):
            found.append(f"{column.name} (mean {mean_here:.4g} instead of {mean:.4g})")
        elif abs(sd_here - sd) > max(MAX_SD_ERROR * sd, chance * np.sqrt((kurtosis - 1) / 4)):
            found.append(f"{column.name} (standard deviation {sd_here:.4g} instead of {sd:.4g})")
    if not found:
        return []
    return [
        f"the synthetic rows differ from the training rows in {', '.join(found)}. Compare these columns in the report "
        "of `motes evaluate` before you use their means, sums or spreads."
    ]


def _numbers(series: Any) -> NDArray[np.float64]:
    return np.asarray(series.known, np.float64)


def moments_of(x: NDArray[np.float64], weights: NDArray[np.float64] | None = None) -> tuple[float, float, float]:
    """Return mean, standard deviation and kurtosis (3 for a normal distribution) of numbers (n,); NaN without any."""
    if not len(x) or (weights is not None and not weights.sum()):
        return np.nan, np.nan, np.nan
    size = float(np.abs(x).max()) or 1.0  # squares of large numbers overflow
    mean = np.average(x / size, weights=weights)
    second, fourth = (np.average((x / size - mean) ** power, weights=weights) for power in (2, 4))
    return float(mean) * size, float(np.sqrt(second)) * size, float(fourth / second**2) if second else np.nan
