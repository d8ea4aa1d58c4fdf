"""Curves: the loss along training, a schedule along time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import ArrayLike

from motes.figures._arrays import Curve, as_curves
from motes.figures._canvas import BODY, dress, new_axes, new_figure, write_on
from motes.figures._style import Style, as_style

_WINDOWS = 400  # of the values behind a running mean, at most


def loss_curve(
    steps: ArrayLike,
    loss: ArrayLike,
    *,
    best: float | ArrayLike | None = None,
    best_label: str = "irreducible loss",
    held_out: ArrayLike | None = None,
    window: int | None = None,
    ax: Axes | None = None,
    style: str | Style = "dark",
) -> Axes:
    """Draw the running mean of the loss against the training step, the single values faintly behind it.

    Of more than 400 values the means of 400 windows are behind it, for single ones would be a block. The loss axis is
    logarithmic where the running mean spans more than a factor of 8.

    Args:
        steps: training steps, shape (n,), rising.
        loss: the loss at each of them, shape (n,), in whatever unit the loss has.
        best: what no model can beat, a number or one for each step.
        best_label: what that is called.
        held_out: steps and the loss of validation rows at these, (2, k).
        window: how many values the running mean takes, each with those before it; by default n/250, at least 1.
        ax: axes to draw on; they are returned. Without them a new figure is made.
        style: 'dark', 'light' or a `Style`.

    Example:
        >>> from motes.figures import loss_curve
        >>> loss_curve(np.arange(100), 1 / np.arange(1, 101), best=0.005).get_yscale()
        'log'
    """
    look = as_style(style)
    at, values = as_curves({"steps": steps, "loss": loss})
    if (np.diff(at) < 0).any():
        raise ValueError("steps go back somewhere; expected them rising. Draw one run at a time, in its own order.")
    window = max(1, len(values) // 250) if window is None else window
    if window < 1:
        raise ValueError(f"window is {window}; expected at least 1, the number of values in the running mean.")
    mean = _running_mean(values, window)
    bound = None if best is None else _one_each(best, len(at))
    if ax is None:
        ax = new_axes(new_figure(6.4, 3.8, look), 1, 1, 1)
    behind = values
    if window > 1:
        last, behind = _windows(at, values)
        ax.plot(last, behind, color=look.muted, alpha=0.5, linewidth=0.7, zorder=1)
    shown = slice(window // 8, None)  # a mean of a handful of values would open the curve with a scribble
    ax.plot(at[shown], mean[shown], color=look.foreground, linewidth=1.8, zorder=3)
    if bound is not None:
        ax.plot(at, bound, color=look.accent, linewidth=1.4, linestyle=(0, (5, 3)), zorder=2)
    looks = np.empty((2, 0)) if held_out is None else np.asarray(held_out, np.float64)
    if looks.ndim != 2 or len(looks) != 2 or not np.isfinite(looks).all():
        raise ValueError(f"held_out has shape {looks.shape}; expected (2, k): finite steps, and the loss at each.")
    ax.plot(*looks, color=look.accent, linewidth=1.4, marker="o", markersize=3.5, zorder=4)
    loss_axis(ax, np.concatenate([mean[shown], looks[1]] + ([] if bound is None else [bound])), behind)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    dress(ax, look, size=BODY)
    ax.set(xlabel="training step", ylabel="loss" if window == 1 else f"loss, mean of {_steps(at, window)} steps")
    ax.margins(x=0.01)
    if looks.size:
        x, y = looks[:, -1]
        write_on(ax, "validation rows", (x, y), look.accent, look, anchor=("right", "bottom"), shift=(-4, 5))
    if bound is not None:
        text = f"{best_label} {bound[0]:.3g}" if np.ptp(bound) == 0 else best_label
        # At the beginning, where the mean is far above.
        write_on(ax, text, (at[0], bound[0]), look.accent, look, anchor=("left", "top"), shift=(6, -5))
    return ax


def schedule_curves(
    t: ArrayLike,
    alpha: ArrayLike,
    sigma: ArrayLike,
    *,
    ax: Axes | None = None,
    style: str | Style = "dark",
) -> Axes:
    """Draw alpha_t and sigma_t on the left axis and log-SNR, in nats, on the right one, against t.

    Args:
        t: times, shape (n,), 0 (data) to 1 (noise).
        alpha, sigma: x_t = alpha_t x_0 + sigma_t eps, each of shape (n,) and not negative.
        ax: axes to draw on; they are returned, and get a twin for the log-SNR. Without them a new figure is made.
        style: 'dark', 'light' or a `Style`.

    Example:
        >>> from motes.diffusion import CosineVP
        >>> from motes.figures import schedule_curves
        >>> t, schedule = np.linspace(0.01, 1, 50), CosineVP()
        >>> axes = schedule_curves(t, schedule.alpha(t), schedule.sigma(t))
        >>> len(axes.get_lines())
        2
    """
    look = as_style(style)
    at, signal, noise = as_curves({"t": t, "alpha": alpha, "sigma": sigma})
    if (signal < 0).any() or (noise < 0).any():
        raise ValueError("alpha or sigma is negative somewhere; expected scales of 0 or more.")
    with np.errstate(divide="ignore", invalid="ignore"):
        log_snr = 2 * (np.log(signal) - np.log(noise))
    log_snr[~np.isfinite(log_snr)] = np.nan  # at the ends, where there is no noise or no signal, it has no value
    if ax is None:
        ax = new_axes(new_figure(6.4, 3.8, look), 1, 1, 1)
    right = ax.twinx()
    curves = (
        (ax, signal, r"$\alpha_t$", look.foreground, "-"),
        (ax, noise, r"$\sigma_t$", look.accent, "-"),
        (right, log_snr, "log-SNR", look.muted, (0, (5, 3))),
    )
    for axes, values, _, colour, dashes in curves:
        axes.plot(at, values, color=colour, linewidth=2.0 if dashes == "-" else 1.5, linestyle=dashes)
    dress(ax, look, size=BODY)
    dress(right, look, size=BODY)
    right.patch.set_visible(False)  # or it would hide the axes below it
    right.spines["right"].set(visible=True, color=look.muted, linewidth=0.7)
    ax.set(xlabel=r"$t$  (0 data, 1 noise)", ylabel="scale of signal and noise", ylim=(0, None))
    right.set_ylim(_middle(log_snr))
    right.set_ylabel(r"log-SNR  $\log\,\alpha_t^2/\sigma_t^2$, nats", color=look.muted)
    ax.margins(x=0.01)
    heights = [_heights(axes, values) for axes, values, *_ in curves]
    for i, (axes, values, name, colour, _) in enumerate(curves):
        j = _clearest(heights, i)
        write_on(axes, name, (at[j], values[j]), colour, look, anchor=("center", "center"))
    return ax


def _middle(values: Curve) -> tuple[float, float]:
    """An axis for all but the last bits of a curve that goes to infinity at its ends."""
    known = values[~np.isnan(values)]
    low, high = np.quantile(known, [0.01, 0.99]) if len(known) else (0.0, 1.0)
    spread = max(float(high - low), 1.0)
    return float(low) - 0.1 * spread, float(high) + 0.1 * spread


def _one_each(best: float | ArrayLike, n: int) -> Curve:
    bound = np.asarray(best, dtype=np.float64)
    if bound.shape not in ((), (n,)) or not np.isfinite(bound).all():
        raise ValueError(f"best has shape {bound.shape}; expected one finite number, or one for each of {n} steps.")
    return np.broadcast_to(bound, (n,)).copy()


def _windows(at: Curve, values: Curve) -> tuple[Curve, Curve]:
    """The last step of each of at most 400 windows, and the mean of the values in it."""
    edges = np.unique(np.linspace(0, len(at), min(_WINDOWS, len(at)) + 1).round().astype(np.int64))
    return at[edges[1:] - 1], np.add.reduceat(values, edges[:-1]) / np.diff(edges)


def _steps(at: Curve, window: int) -> str:
    """How many steps a window of values covers."""
    return f"{round(window * float(at[-1] - at[0]) / max(len(at) - 1, 1)):,}"


def _running_mean(values: Curve, window: int) -> Curve:
    """The mean of each value and the window - 1 before it, of fewer at the start; shape (n,)."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    end = np.arange(1, len(values) + 1)
    start = np.maximum(0, end - window)
    return np.asarray((total[end] - total[start]) / (end - start))


def loss_axis(ax: Axes, shown: Curve, values: Curve) -> None:
    """Choose the scale, and let the mean fill the height: single values may leave the picture."""
    low, high = float(shown.min()), float(shown.max())
    if low > 0 and high / low > 8:
        ax.set_yscale("log")
        ax.set_ylim(low / 2.5, high * 1.5)
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 300 else (1.0,)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
        return
    spread = max(high - low, 1e-12 + 0.05 * abs(high))
    top = max(high, float(np.quantile(values, 0.98)))
    ax.set_ylim(low - 0.2 * spread, top + 0.1 * spread)


def _heights(ax: Axes, values: Curve) -> Curve:
    """How high up the axes each value is drawn, 0 to 1."""
    low, high = ax.get_ylim()
    return (values - low) / (high - low)


def _clearest(heights: Sequence[Curve], i: int) -> int:
    """The position along curve `i` that is furthest from the other curves, away from both ends."""
    n = len(heights[i])
    others = np.stack([np.abs(heights[i] - other) for k, other in enumerate(heights) if k != i])
    room = np.where(np.isnan(others), 1.0, others).min(axis=0)
    place = np.linspace(0, 1, n)
    room = np.where((place > 0.12) & (place < 0.88) & ~np.isnan(heights[i]), room, -1.0)
    return int(np.argmax(room)) if room.max() >= 0 else n // 2
