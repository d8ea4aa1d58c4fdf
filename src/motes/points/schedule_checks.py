"""Checks of a custom schedule, before anything is trained with it."""

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from motes.points.schedules import Schedule

TIMES = 65  # number of times that are checked, from 0 to 1
START_TOLERANCE = 1e-3  # of alpha_0 and sigma_0, in standardised units: below the noise at which samplers stop

Values = NDArray[np.floating]


def check_schedule(schedule: Schedule) -> None:
    """Check that a schedule starts at the data, keeps some signal, and that its log-SNR falls.

    A class with its own `t_of_log_snr` must return the inverse of `log_snr`.

    Raises:
        ValueError: a schedule without one of these properties.

    Example:
        >>> from motes.points import Schedule
        >>> from motes.points.schedule_checks import check_schedule
        >>> class Rising(Schedule):
        ...     def alpha(self, t):
        ...         return 1 - 0.99 * t
        ...     def sigma(self, t):
        ...         return 1 - t
        >>> check_schedule(Rising())
        Traceback (most recent call last):
            ...
        ValueError: Rising: sigma = 1 at t = 0; expected 0, since x_0 is the data.
    """
    name, t = type(schedule).__name__, np.linspace(0, 1, TIMES)
    alpha, sigma = (_evaluate(schedule, curve, t) for curve in ("alpha", "sigma"))
    for curve, start, value in (("alpha", 1, alpha[0]), ("sigma", 0, sigma[0])):
        if abs(value - start) > START_TOLERANCE:
            raise ValueError(f"{name}: {curve} = {value:.3g} at t = 0; expected {start}, since x_0 is the data.")
    if (alpha <= 0).any():
        k = np.argmax(alpha <= 0)
        raise ValueError(
            f"{name}: alpha = {alpha[k]:.3g} at t = {t[k]:.3g}; expected a number above 0, since x_0 is computed from "
            "x_t / alpha_t. Let alpha end slightly above 0, such as at 0.01."
        )
    _check_log_snr(schedule, t[1:])


def _evaluate(schedule: Schedule, curve: str, t: Values) -> Values:
    """Evaluate a curve at times (n,), and check the shape and that all values are finite."""
    values = np.asarray(getattr(schedule, curve)(jnp.asarray(t)), np.float64)
    where = f"{type(schedule).__name__}: {curve}"
    if values.shape != t.shape:
        raise ValueError(f"{where} of times {t.shape} has shape {values.shape}; expected the same shape.")
    if not np.isfinite(values).all():
        k = np.argmin(np.isfinite(values))
        raise ValueError(f"{where} = {values[k]} at t = {t[k]:.3g}; expected a finite number.")
    return values


def _check_log_snr(schedule: Schedule, t: Values) -> None:
    """Check that the log-SNR falls from each of the times (n,) to the next, and its inverse."""
    name = type(schedule).__name__
    log_snr = np.asarray(schedule.log_snr(jnp.asarray(t)), np.float64)
    falls = (log_snr[1:] < log_snr[:-1]) | np.isposinf(log_snr[:-1])  # +inf: sigma_t is 0 in float32
    if not falls.all():
        k = int(np.argmin(falls))
        raise ValueError(
            f"{name}: log_snr = {log_snr[k]:.4g} at t = {t[k]:.3g} and {log_snr[k + 1]:.4g} at t = {t[k + 1]:.3g}; "
            "expected it to fall, from t = 0 (data) to t = 1 (noise)."
        )
    if type(schedule).t_of_log_snr is Schedule.t_of_log_snr:
        return
    times = schedule.t_of_log_snr(jnp.asarray(log_snr))
    back = np.asarray(schedule.log_snr(times), np.float64)
    # Where the log-SNR is steep, only the time can agree, and where it is flat, only the log-SNR.
    agrees = (np.abs(np.asarray(times) - t) < 1e-3) | (np.abs(back - log_snr) < 1e-2) | np.isposinf(log_snr)
    if not agrees.all():
        k = int(np.argmin(agrees))
        raise ValueError(
            f"{name}: t_of_log_snr({log_snr[k]:.4g}) = {times[k]:.4g}; expected {t[k]:.4g}, where log_snr has this "
            "value. Without the method, motes computes the inverse numerically."
        )
