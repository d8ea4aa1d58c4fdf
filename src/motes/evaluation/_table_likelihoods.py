"""Is the model overfitted? The mean log-likelihood of training rows minus that of held-out rows, in nats per row."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from motes.errors import UsageError
from motes.evaluation._results import Array, Metric


@dataclass(frozen=True)
class Likelihoods:
    """Log-likelihoods of held-out and of training rows.

    Attributes:
        held_out, training: means with 95 % intervals; None where fewer than 2 rows have a density above 0.
        difference: training minus held-out, with its interval; None as above.
        impossible: rows of density 0, (held out, training); the means leave them out.
        rows: of finite log-likelihood, (held out, training).
        p_values: one-sided, of training rows that are no more likely (Welch's t-test), and of as many impossible
            training rows (Fisher's exact test; 1 where no held-out row is impossible).
    """

    held_out: Metric | None
    training: Metric | None
    difference: Metric | None
    impossible: tuple[int, int]
    rows: tuple[int, int]
    p_values: tuple[float, float]


def likelihoods(held_out: ArrayLike, training: ArrayLike) -> Likelihoods:
    """Compare log p of held-out rows (m,) and of training rows (k,); minus infinity for a row of density 0.

    Raises:
        UsageError: arrays of another shape, NaN, or plus infinity.

    Example:
        >>> found = likelihoods([-3.0, -2.0, -4.0], [-1.0, -2.0, -1.5])
        >>> float(found.difference), round(found.p_values[0], 3)
        (1.5, 0.052)
    """
    from scipy.stats import fisher_exact

    finite, impossible = [], []
    for name, given in (("held-out", held_out), ("training", training)):
        values = np.asarray(given, np.float64)
        if values.ndim != 1 or np.isnan(values).any() or (values == np.inf).any():
            raise UsageError(
                f"log_prob of the {name} rows: got shape {values.shape}; expected (rows,), numbers or -inf."
            )
        finite.append(values[np.isfinite(values)])
        impossible.append(len(values) - len(finite[-1]))
    rows = len(finite[0]), len(finite[1])
    table = [[impossible[0], rows[0]], [impossible[1], rows[1]]]
    p_impossible = float(fisher_exact(table, alternative="greater").pvalue) if impossible[0] else 1.0
    lost = impossible[0], impossible[1]
    if min(rows) < 2:
        return Likelihoods(None, None, None, lost, rows, (1.0, p_impossible))
    means, squares = [], []
    for values in finite:
        error = float(values.std(ddof=1) / np.sqrt(len(values)))
        means.append(_mean(values, error))
        squares.append(error**2)
    gap, p_value = welch(float(means[1] - means[0]), squares, rows)
    return Likelihoods(means[0], means[1], gap, lost, rows, (p_value, p_impossible))


def _mean(values: Array, error: float) -> Metric:
    from scipy.stats import t

    mean, half = float(values.mean()), float(t.isf(0.025, len(values) - 1)) * error
    return Metric("log_likelihood", mean, mean - half, mean + half)


def welch(gap: float, squares: list[float], rows: tuple[int, int]) -> tuple[Metric, float]:
    """The difference with its interval, and its p-value."""
    from scipy.stats import t

    error = float(np.sqrt(sum(squares)))
    if error == 0:
        return Metric("difference", gap, gap, gap), float(gap <= 0)
    degrees = sum(squares) ** 2 / sum(square**2 / (n - 1) for square, n in zip(squares, rows, strict=True))
    half = float(t.isf(0.025, degrees)) * error
    return Metric("difference", gap, gap - half, gap + half), float(t.sf(gap / error, degrees))
