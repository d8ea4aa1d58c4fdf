"""Curves: the loss along training, a schedule along time, and what lies above the least possible loss."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from motes.plots.canvas import BODY, Style, as_style, dress, new_axes, new_figure, small_print, write_on
from motes.rasters import INTERVAL, Curve, as_curves

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
        >>> from motes.plots import loss_curve
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
        >>> from motes.points import CosineVP
        >>> from motes.plots import schedule_curves
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


def _clearest(heights: Sequence[Curve], i: int) -> int:
    """The position along curve `i` that is furthest from the other curves, away from both ends."""
    n = len(heights[i])
    others = np.stack([np.abs(heights[i] - other) for k, other in enumerate(heights) if k != i])
    room = np.where(np.isnan(others), 1.0, others).min(axis=0)
    place = np.linspace(0, 1, n)
    room = np.where((place > 0.12) & (place < 0.88) & ~np.isnan(heights[i]), room, -1.0)
    return int(np.argmax(room)) if room.max() >= 0 else n // 2


# --- excess loss ------------------------------------------------------------------------------------------------------

_PLACES = 201  # along the noise axis, where a name may stand
_LETTER = 0.085, 0.24  # width and height of one in a line of text, in inches
_DEEPEST = 1e-5  # of the highest loss: an excess of less is off the axis
_ASIDE = 0.12  # of the noise axis at either end, where the name of the excess does not stand
_SEEN = 0.015  # a gap of less is within the width of a line


def excess_curve(
    noise: ArrayLike,
    loss: ArrayLike,
    least: ArrayLike,
    *,
    excess: ArrayLike | None = None,
    error: ArrayLike | None = None,
    label: str = "irreducible",
    ax: Axes | None = None,
    style: str | Style = "dark",
) -> Axes:
    """Draw the loss and the least that it can be against the noise level; what is between them is the excess.

    The loss axis is logarithmic where the two span more than a factor of 8. Where the loss lies below `least`, as that
    of a network that knows its rows by heart may, the gap is grey and no excess. The excess of a good network is too
    thin a gap to be seen; given on its own it is a third curve, on a logarithmic axis.

    Args:
        noise: noise levels sigma_t/alpha_t, shape (m,), above 0, in any order.
        loss: the loss at each of them, shape (m,).
        least: what no model can beat, shape (m,).
        excess: measured on its own, on the same rows and noise, shape (m,); where it is not above 0 it is not drawn.
        error: standard errors, shape (m,), of `excess` if that is given, otherwise of the loss; drawn as a band, the
            95 % interval.
        label: what `least` is, for example 'a bound for memorising'.
        ax: axes to draw on; they are returned. Without them a new figure is made.
        style: 'dark', 'light' or a `Style`.

    Raises:
        ValueError: shapes other than these, fewer than 2 noise levels, numbers that are not finite, a noise level of 0,
            a negative error.

    Example:
        >>> from motes.plots import excess_curve
        >>> noise = np.geomspace(0.01, 10, 20)
        >>> axes = excess_curve(noise, 1 / (1 + noise) + 0.01, 1 / (1 + noise))
        >>> axes.get_xscale()
        'log'
    """
    look = as_style(style)
    given = {"noise": noise, "loss": loss, "least": least, "excess": excess, "error": error}
    curves = as_curves({name: curve for name, curve in given.items() if curve is not None})
    _levels(curves[0])
    order = np.argsort(curves[0], kind="stable")
    at, values, bound, *more = (curve[order] for curve in curves)
    own = more.pop(0) if excess is not None else None
    spread = INTERVAL * _not_negative(more[0], "error") if more else np.zeros_like(at)
    reach = spread if own is None else np.zeros_like(at)  # of the loss
    if ax is None:
        ax = new_axes(new_figure(6.4, 3.8, look), 1, 1, 1)
    for where, colour in ((values >= bound, look.accent), (values <= bound, look.muted)):
        ax.fill_between(at, bound, values, where=where, interpolate=True, color=colour, alpha=0.22, linewidth=0)
    if more and own is None:
        ax.fill_between(at, values - reach, values + reach, color=look.foreground, alpha=0.25, linewidth=0, zorder=2)
    ax.plot(at, bound, color=look.accent, linewidth=1.5, linestyle=(0, (5, 3)), zorder=5)
    ax.plot(at, values, color=look.foreground, linewidth=2.0, zorder=4)
    _noise_axis(ax, at)
    shown = np.concatenate([values, bound, values + reach])
    loss_axis(ax, shown, shown)
    if own is not None:
        _draw_excess(ax, at, own, spread, min(values.min(), bound.min()), shown.max(), look)
    dress(ax, look, size=BODY)
    ax.set(xlabel=r"noise level $\sigma_t/\alpha_t$", ylabel="loss")
    if more:
        small_print(ax, "band: 95 % interval", look)
    _name_curves(ax, at, values, bound, reach, label, look, gap=own is None)
    return ax


def _draw_excess(ax: Axes, at: Curve, excess: Curve, spread: Curve, low: float, high: float, look: Style) -> None:
    """A third curve on a logarithmic axis that reaches down to it, and no further than makes sense."""
    there = excess > 0
    shown = np.where(there, excess, np.nan)
    lowest = max(float(np.nanmin(shown)) if there.any() else low, _DEEPEST * high)
    ax.set_yscale("log")
    ax.set_ylim(min(lowest, low) / 2, 3 * high)
    decades = np.log10(3 * high / min(lowest, low))
    ax.yaxis.set_major_locator(LogLocator(subs=(1.0,), numticks=max(int(decades), 2) + 2))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())
    bottom = np.maximum(excess - spread, _DEEPEST * high / 10)
    ax.fill_between(at, bottom, excess + spread, where=there, color=look.accent, alpha=0.22, linewidth=0, zorder=2)
    ax.plot(at, shown, color=look.accent, linewidth=2.0, zorder=4)
    if there.any():  # below its summit, for the other names lie above; and away from the ends, where an axis may be
        share = np.log(at / at[0]) / np.log(at[-1] / at[0])
        inside = (share > _ASIDE) & (share < 1 - _ASIDE) & there
        i = int(np.argmax(np.where(inside if inside.any() else there, excess, -np.inf)))
        y = float(max(excess[i] - spread[i], lowest))
        write_on(ax, "excess", (at[i], y), look.accent, look, anchor=("center", "top"), shift=(0, -13))


def _levels(noise: Curve) -> None:
    if np.ptp(noise) == 0:
        raise ValueError(f"noise holds one level, {noise[0]:g}; expected at least 2 for a curve.")
    if (noise <= 0).any():
        raise ValueError(
            f"noise is {noise.min():g} somewhere; expected levels sigma_t/alpha_t above 0, for a logarithmic axis. "
            "Leave out t = 0."
        )


def _not_negative(error: Curve, name: str) -> Curve:
    if (error < 0).any():
        raise ValueError(f"{name} is {error.min():g} somewhere; expected standard errors of 0 or more.")
    return error


def _noise_axis(ax: Axes, at: Curve) -> None:
    low, high = float(at[0]), float(at[-1])
    edge = (high / low) ** 0.01
    ax.set_xscale("log")
    ax.set_xlim(low / edge, high * edge)
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 1000 else (1.0,)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


def _name_curves(
    ax: Axes, at: Curve, loss: Curve, least: Curve, reach: Curve, label: str, look: Style, *, gap: bool
) -> None:
    """Write the loss above both curves, the least below them, and the excess into the `gap`, or over a thin one."""
    places = np.linspace(np.log(at[0]), np.log(at[-1]), _PLACES)
    high, low, above = (np.interp(places, np.log(at), _heights(ax, curve)) for curve in (loss, least, loss + reach))
    above, below = np.maximum(above, low), np.minimum(high, low)
    width, line = np.array(_LETTER) * ax.figure.dpi / ax.bbox.size  # as shares of the axes
    half, half_loss, half_label = (round(_PLACES * width * (len(text) / 2 + 1)) for text in ("excess", "loss", label))
    room = -_over(-high, half) - _over(low, half)
    taken = np.zeros(_PLACES, dtype=np.bool_)
    if gap and room.max() > line:
        i = _middlemost(room > 0.9 * room.max())
        _write(ax, "excess", places[i], (high[i] + low[i]) / 2, look.accent, look, va="center", rim=0)
    elif gap and (high - low).max() > _SEEN:
        y_at = _over(above, half) + 1.5 * line
        i = int(np.argmax(np.where(y_at < 1 - line, high - low, 0)))
        y = float(y_at[i])
        taken[max(0, i - 2 * half) : i + 2 * half] = True
        ends = [_at_height(ax, height) for height in ((high[i] + low[i]) / 2, y)]
        ax.plot(np.exp(places[[i, i]]), ends, color=look.accent, linewidth=0.7, zorder=4)
        _write(ax, "excess", places[i], y, look.accent, look, va="bottom")
    i, y = _flattest(above, half_loss, taken, 1 - line)
    _write(ax, "loss", places[i], y, look.foreground, look, va="bottom")
    i, y = _flattest(-below, half_label, np.zeros_like(taken), -line)
    _write(ax, label, places[i], -y, look.accent, look, va="top")


def _write(
    ax: Axes, text: str, log_x: float, height: float, colour: str, look: Style, *, va: str, rim: float = 5
) -> None:
    shift = {"bottom": 4.0, "center": 0.0, "top": -4.0}[va]
    y = _at_height(ax, height)
    write_on(ax, text, (np.exp(log_x), y), colour, look, anchor=("center", va), shift=(0, shift), rim=rim)


def _heights(ax: Axes, values: Curve) -> Curve:
    """How high up the axes each value is drawn, 0 to 1; what leaves the picture is at its edge."""
    low, high = ax.get_ylim()
    inside = np.clip(values, low, high)
    if ax.get_yscale() == "log":
        return np.asarray(np.log(inside / low) / np.log(high / low))
    return np.asarray((inside - low) / (high - low))


def _at_height(ax: Axes, height: float) -> float:
    """The value that is drawn at that height: the inverse of `_heights`."""
    low, high = ax.get_ylim()
    return float(low * (high / low) ** height if ax.get_yscale() == "log" else low + height * (high - low))


def _over(edge: Curve, half: int) -> Curve:
    """The highest that `edge` is within `half` places of each; inf where a text of that width would leave the axes."""
    half = min(half, _PLACES // 2)
    return np.pad(sliding_window_view(edge, 2 * half + 1).max(axis=1), half, constant_values=np.inf)


def _flattest(edge: Curve, half: int, taken: NDArray[np.bool_], top: float) -> tuple[int, float]:
    """Where a text over `edge` is close to it, below `top` if it can be, and how high it must be to be clear of it."""
    over = _over(edge, half)
    cost = over - edge + np.where(over > top, 1.0, 0.0) + np.where(taken, 2.0, 0.0)
    i = _middlemost(cost < cost.min() + 0.005)
    return i, float(over[i])


def _middlemost(good: NDArray[np.bool_]) -> int:
    places = np.flatnonzero(good)
    return int(places[np.argmin(np.abs(places - _PLACES // 2))])
