"""Moments of rows, and what is made of them."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

LEAST_VARIANCE = 1e-6  # of a direction: less noise than that no network is asked about


def moments(x: Array, weights: Array | None = None) -> tuple[Array, Array]:
    """Mean (d,) and covariance (d, d) of rows (n, d)."""
    part = np.full(len(x), 1 / len(x)) if weights is None else weights / weights.sum()
    mean = part @ x
    away = x - mean
    return mean, (away * part[:, None]).T @ away


def shrunk(covariance: Array, share: float) -> Array:
    """Towards the identity."""
    return (1 - share) * covariance + share * np.eye(len(covariance))


def principal(covariance: Array) -> tuple[Array, Array]:
    """Variances (d,) and axes (d, d), a column each."""
    variances, axes = np.linalg.eigh(covariance)
    return np.maximum(variances, LEAST_VARIANCE), axes
