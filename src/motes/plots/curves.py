"""Curves and bars: the training loss, a schedule, and the figures of a diagnosis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import ArrayLike

from motes.plots import canvas
from motes.plots.tables import short
from motes.rasters import INTERVAL, Curve, as_curves

DASHES = (0, (5, 3))
# Position of the legend: above the axes.
ABOVE: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0), "ncols": 4, "borderaxespad": 0.2}
_WINDOWS = 400  # maximum number of values drawn behind a running mean


def loss_curve(
    steps: ArrayLike,
    loss: ArrayLike,
    *,
    best: float | None = None,
    best_label: str = "irreducible loss",
    held_out: ArrayLike | None = None,
    window: int | None = None,
    ax: Axes | None = None,
    style: str | canvas.Style = "dark",
) -> Axes:
    """Draw the running mean of the loss against the training step, with single values faintly behind it.

    If there are more than 400 values, means over 400 windows are drawn behind it instead. The loss axis is logarithmic
    if the running mean spans more than a factor of 8.

    Args:
        steps: training steps, shape (n,), rising.
        loss: the loss at each step, shape (n,), in any unit.
        best: the theoretical minimum of the loss.
        best_label: name of the minimum.
        held_out: steps, and the loss on validation rows at these steps, (2, k).
        window: number of values in the running mean, ending at each step; by default n/250, at least 1.
        ax: axes to draw on; they are returned. By default, a new figure is created.
        style: 'dark', 'light' or a `Style`.

    Example:
        >>> from motes.plots import loss_curve
        >>> loss_curve(np.arange(100), 1 / np.arange(1, 101), best=0.005).get_yscale()
        'log'
    """
    look = canvas.as_style(style)
    at, values = as_curves({"steps": steps, "loss": loss})
    if (np.diff(at) < 0).any():
        raise ValueError("steps decrease somewhere; expected rising steps. Draw one run at a time, in its own order.")
    window = max(1, len(values) // 250) if window is None else window
    if window < 1:
        raise ValueError(f"window is {window}; expected at least 1, the number of values in the running mean.")
    mean = _running_mean(values, window)
    if best is not None and not np.isfinite(best):
        raise ValueError(f"best is {best}; expected a finite number.")
    if ax is None:
        ax = canvas.new_axes(canvas.new_figure(6.4, 3.8, look), 1, 1, 1)
    behind = values
    if window > 1:
        last, behind = _window_means(at, values)
        ax.plot(last, behind, color=look.muted, alpha=0.5, linewidth=0.7, zorder=1)
    shown = slice(window // 8, None)  # the first means of few values are noisy
    ax.plot(at[shown], mean[shown], color=look.foreground, linewidth=1.8, zorder=3, label="training rows")
    if best is not None:
        named, level = f"{best_label} {best:.3g}", [best, best]
        ax.plot(at[[0, -1]], level, color=look.accent, linewidth=1.4, linestyle=DASHES, zorder=2, label=named)
    looks = np.empty((2, 0)) if held_out is None else np.asarray(held_out, np.float64)
    if looks.ndim != 2 or len(looks) != 2 or not np.isfinite(looks).all():
        raise ValueError(f"held_out has shape {looks.shape}; expected (2, k): finite steps, and the loss at each.")
    if looks.size:
        ax.plot(*looks, color=look.accent, linewidth=1.4, marker="o", markersize=3.5, zorder=4, label="validation rows")
    loss_axis(ax, np.concatenate([mean[shown], looks[1]] + ([] if best is None else [[best]])), behind)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    canvas.dress(ax, look, size=canvas.BODY)
    ax.set(xlabel="training step", ylabel="loss" if window == 1 else f"loss, mean of {_format_steps(at, window)} steps")
    ax.margins(x=0.01)
    if looks.size or best is not None:
        canvas.add_legend(ax, look, **ABOVE)
    return ax


def schedule_curves(
    t: ArrayLike,
    alpha: ArrayLike,
    sigma: ArrayLike,
    *,
    ax: Axes | None = None,
    style: str | canvas.Style = "dark",
) -> Axes:
    """Draw alpha_t and sigma_t on the left axis and the log-SNR, in nats, on the right axis, against t.

    Args:
        t: times, shape (n,), 0 (data) to 1 (noise).
        alpha, sigma: x_t = alpha_t x_0 + sigma_t eps, each of shape (n,) and not negative.
        ax: axes to draw on; they are returned, with a twin for the log-SNR. By default, a new figure is created.
        style: 'dark', 'light' or a `Style`.

    Example:
        >>> from motes.points import CosineVP
        >>> from motes.plots import schedule_curves
        >>> t, schedule = np.linspace(0.01, 1, 50), CosineVP()
        >>> axes = schedule_curves(t, schedule.alpha(t), schedule.sigma(t))
        >>> len(axes.get_lines())
        2
    """
    look = canvas.as_style(style)
    at, signal, noise = as_curves({"t": t, "alpha": alpha, "sigma": sigma})
    if (signal < 0).any() or (noise < 0).any():
        raise ValueError("alpha or sigma is negative somewhere; expected scales of 0 or more.")
    with np.errstate(divide="ignore", invalid="ignore"):
        log_snr = 2 * (np.log(signal) - np.log(noise))
    log_snr[~np.isfinite(log_snr)] = np.nan  # undefined at the ends, without noise or without signal
    if ax is None:
        ax = canvas.new_axes(canvas.new_figure(6.4, 3.8, look), 1, 1, 1)
    right = ax.twinx()
    curves = (
        (ax, signal, r"$\alpha_t$", look.foreground, "-"),
        (ax, noise, r"$\sigma_t$", look.accent, "-"),
        (right, log_snr, "log-SNR", look.muted, DASHES),
    )
    lines = [
        axes.plot(at, values, label=name, color=colour, linewidth=2.0 if dashes == "-" else 1.5, linestyle=dashes)[0]
        for axes, values, name, colour, dashes in curves
    ]
    canvas.dress(ax, look, size=canvas.BODY)
    canvas.dress(right, look, size=canvas.BODY)
    right.patch.set_visible(False)  # otherwise it would hide the axes below it
    right.spines["right"].set(visible=True, color=look.muted, linewidth=0.7)
    ax.set(xlabel=r"$t$  (0 data, 1 noise)", ylabel="scale of signal and noise", ylim=(0, None))
    right.set_ylim(_central_limits(log_snr))
    right.set_ylabel(r"log-SNR  $\log\,\alpha_t^2/\sigma_t^2$, nats", color=look.muted)
    ax.margins(x=0.01)
    canvas.add_legend(ax, look, handles=lines, **ABOVE)
    return ax


def _central_limits(values: Curve) -> tuple[float, float]:
    """Return axis limits for a curve that diverges at its ends, without the extreme ends."""
    known = values[~np.isnan(values)]
    low, high = np.quantile(known, [0.01, 0.99]) if len(known) else (0.0, 1.0)
    spread = max(float(high - low), 1.0)
    return float(low) - 0.1 * spread, float(high) + 0.1 * spread


def _window_means(at: Curve, values: Curve) -> tuple[Curve, Curve]:
    """Return the last step of each of at most 400 windows, and the mean of the values in it."""
    edges = np.unique(np.linspace(0, len(at), min(_WINDOWS, len(at)) + 1).round().astype(np.int64))
    return at[edges[1:] - 1], np.add.reduceat(values, edges[:-1]) / np.diff(edges)


def _format_steps(at: Curve, window: int) -> str:
    """Return the number of steps that a window of values covers, as text."""
    return f"{round(window * float(at[-1] - at[0]) / max(len(at) - 1, 1)):,}"


def _running_mean(values: Curve, window: int) -> Curve:
    """Return the mean of each value and the window - 1 values before it (fewer at the start), (n,)."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    end = np.arange(1, len(values) + 1)
    start = np.maximum(0, end - window)
    return np.asarray((total[end] - total[start]) / (end - start))


def loss_axis(ax: Axes, shown: Curve, values: Curve) -> None:
    """Choose scale and limits of the loss axis so that the mean fills the height; single values may be cut off."""
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


# --- excess loss ------------------------------------------------------------------------------------------------------

_DEEPEST = 1e-5  # smallest excess on the axis, relative to the highest loss


def excess_curve(
    noise: ArrayLike,
    loss: ArrayLike,
    least: ArrayLike,
    *,
    excess: ArrayLike | None = None,
    error: ArrayLike | None = None,
    label: str = "irreducible",
    ax: Axes | None = None,
    style: str | canvas.Style = "dark",
) -> Axes:
    """Draw the loss and its theoretical minimum against the noise level; the gap between them is the excess.

    The loss axis is logarithmic if the curves span more than a factor of 8. Where the loss is below `least`, as for a
    network that memorised its rows, the gap is grey and not an excess. For a good network the gap is too thin to see;
    pass `excess` to draw it as a third curve.

    Args:
        noise: noise levels sigma_t/alpha_t, shape (m,), above 0, in any order.
        loss: the loss at each noise level, shape (m,).
        least: the theoretical minimum of the loss, shape (m,).
        excess: the excess, measured on the same rows and noise, shape (m,); values of 0 or less are not drawn.
        error: standard errors, shape (m,), of `excess` if it is given, otherwise of the loss; drawn as a band, the
            95 % interval.
        label: name of `least`, for example 'a bound for memorising'.
        ax: axes to draw on; they are returned. By default, a new figure is created.
        style: 'dark', 'light' or a `Style`.

    Raises:
        ValueError: for other shapes, fewer than 2 noise levels, numbers that are not finite, a noise level of 0 or a
            negative error.

    Example:
        >>> from motes.plots import excess_curve
        >>> noise = np.geomspace(0.01, 10, 20)
        >>> axes = excess_curve(noise, 1 / (1 + noise) + 0.01, 1 / (1 + noise))
        >>> axes.get_xscale()
        'log'
    """
    look = canvas.as_style(style)
    given = {"noise": noise, "loss": loss, "least": least, "excess": excess, "error": error}
    curves = as_curves({name: curve for name, curve in given.items() if curve is not None})
    order = np.argsort(curves[0], kind="stable")
    at, values, bound, *more = (curve[order] for curve in curves)
    if not 0 < at[0] < at[-1]:
        raise ValueError(
            f"noise runs from {at[0]:g} to {at[-1]:g}; expected at least 2 levels sigma_t/alpha_t above 0, for a "
            "logarithmic axis. Omit t = 0."
        )
    own = more.pop(0) if excess is not None else None
    spread = INTERVAL * more[0] if more else np.zeros_like(at)
    if (spread < 0).any():
        raise ValueError(f"error is {spread.min() / INTERVAL:g} somewhere; expected standard errors of 0 or more.")
    if ax is None:
        ax = canvas.new_axes(canvas.new_figure(6.4, 3.8, look), 1, 1, 1)
    ax.plot(at, values, color=look.foreground, linewidth=2.0, zorder=4, label="loss")
    ax.plot(at, bound, color=look.accent, linewidth=1.5, linestyle=DASHES, zorder=5, label=label)
    gap: dict[str, Any] = {"interpolate": True, "alpha": 0.22, "linewidth": 0}
    named = "excess" if own is None and (values > bound).any() else None
    ax.fill_between(at, bound, values, where=values >= bound, color=look.accent, label=named, **gap)
    ax.fill_between(at, bound, values, where=values <= bound, color=look.muted, **gap)
    shown = np.concatenate([values, bound])
    middle, colour = values, look.foreground  # centre and colour of the band
    if own is not None:
        middle, colour = np.where(own > 0, own, np.nan), look.accent
        ax.plot(at, middle, color=look.accent, linewidth=2.0, zorder=4, label="excess")
        shown = np.concatenate([shown, own])
        shown = shown[shown > _DEEPEST * shown.max()]
    if more:
        band: dict[str, Any] = {"color": colour, "alpha": 0.25, "linewidth": 0, "zorder": 2, "label": "95 % interval"}
        ax.fill_between(at, middle - spread, middle + spread, **band)
    _noise_axis(ax, at)
    reach = np.append(shown, values + spread) if own is None else shown
    loss_axis(ax, reach, reach)
    canvas.dress(ax, look, size=canvas.BODY)
    ax.set(xlabel=r"noise level $\sigma_t/\alpha_t$", ylabel="loss")
    canvas.add_legend(ax, look, **ABOVE)
    return ax


def _noise_axis(ax: Axes, at: Curve) -> None:
    low, high = float(at[0]), float(at[-1])
    edge = (high / low) ** 0.01
    ax.set_xscale("log")
    ax.set_xlim(low / edge, high * edge)
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 1000 else (1.0,)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())


# --- bars and ranks of a diagnosis ------------------------------------------------------------------------------------

REAL_DRAWS = "two real draws"  # name of a bar
_BAR = 0.58  # height of a bar, in rows
_TEXT = 0.45  # room for text after the longest bar, as a share of the axis


def error_split(
    parts: Mapping[str, float],
    *,
    reference_value: float,
    error: Mapping[str, float] | None = None,
    ax: Axes | None = None,
    style: str | canvas.Style = "dark",
) -> Axes:
    """Draw a waterfall chart of a distance: two real draws, the contribution of each part, and the total.

    Each bar starts where the bar above it ends, so that the last part ends at the total. A negative part, which can
    occur by chance, is hollow and points to the left. Each bar is labelled with its value and its share of the total.

    Args:
        parts: squared sliced W2 of each cause, in variances of the data, in drawing order.
        reference_value: the squared sliced W2 between two samples of the data.
        error: standard errors by the name of a part, 'two real draws' or 'total'; whiskers show the 95 % interval.
        ax: axes to draw on; they are returned. By default, a new figure is created.
        style: 'dark', 'light' or a `Style`.

    Raises:
        ValueError: without parts, for numbers that are not finite, or for an error of an unknown bar.

    Example:
        >>> from motes.plots import error_split
        >>> axes = error_split({"network": 0.02, "sampler": 0.01}, reference_value=0.01)
        >>> type(axes).__name__
        'NotebookAxes'
    """
    look = canvas.as_style(style)
    bars = {REAL_DRAWS: reference_value, **parts, "total": reference_value + sum(parts.values())}
    if len(bars) != len(parts) + 2 or not parts:
        raise ValueError(
            f"got parts {', '.join(parts)}; expected at least one, with names other than '{REAL_DRAWS}' and 'total'."
        )
    for name, value in bars.items():
        if not np.isfinite(value):
            raise ValueError(f"{name} is {value}; expected a finite squared sliced W2.")
    errors = dict(error or {})
    for name, value in errors.items():
        if name not in bars or not 0 <= value < np.inf:
            raise ValueError(f"the error of {name!r} is {value}; expected one of {', '.join(bars)}, finite, 0 or more.")
    if ax is None:
        ax = canvas.new_axes(canvas.new_figure(6.4, 0.9 + 0.42 * len(bars), look), 1, 1, 1)
    values = np.array([*bars.values()])
    ends = np.append(np.cumsum(values[:-1]), values[-1])
    starts = ends - values
    colours = [look.muted, *[look.accent] * len(parts), look.foreground]
    drawn = ax.barh(range(len(bars)), values, _BAR, left=starts, color=colours, edgecolor=colours, zorder=2)
    for bar, value, colour in zip(drawn, values, colours, strict=True):
        if value < 0:
            bar.set(facecolor=look.background, edgecolor=colour, hatch="/////")
    rim = [withStroke(linewidth=3.2, foreground=look.background)]  # keeps a whisker visible on its bar
    for row, name in enumerate(bars):
        if name in errors:
            whisker: dict[str, Any] = {"color": look.foreground, "linewidth": 1.2, "capsize": 2.5, "zorder": 4}
            ax.errorbar(ends[row], row, xerr=INTERVAL * errors[name], path_effects=rim, **whisker)
    tips = [max(start, end + INTERVAL * errors.get(n, 0.0)) for n, start, end in zip(bars, starts, ends, strict=True)]
    for row, (tip, value) in enumerate(zip(tips, values, strict=True)):
        share = f" · {_format_signed(100 * value / values[-1], '.0f')} %" if values[-1] > 0 else ""
        text = _format_signed(value, ".3g") + share
        written = ax.annotate(text, (tip, row), xytext=(7, 0), textcoords="offset points", va="center")
        canvas.dress_text(written, look.foreground, canvas.BODY)
    # Connect the end of each bar with the start of the next.
    rows = np.arange(len(parts) + 1)
    edges = np.stack([rows + _BAR / 2, rows + 1 - _BAR / 2])
    ax.plot(np.tile(ends[:-1], (2, 1)), edges, color=look.muted, linewidth=0.7, zorder=1)
    ax.axvline(0, color=look.muted, linewidth=0.7, zorder=1)
    canvas.dress(ax, look, size=canvas.BODY)
    ax.spines["left"].set_visible(False)
    ax.set_yticks(range(len(bars)), list(bars))
    ax.tick_params(axis="y", length=0, labelsize=canvas.BODY, labelcolor=look.foreground)
    ax.set_ylim(len(bars) - 0.5, -0.5)
    low, high = min(0.0, *starts, *ends), max(tips)
    ax.set_xlim(low - 0.03 * (high - low) * (low < 0), high + _TEXT * (high - low))
    ax.locator_params(axis="x", nbins=6)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _format_signed(value, "g")))
    ax.set_xlabel("squared sliced W2, in variances of the data", loc="right")
    if errors:
        canvas.small_print(ax, "whiskers: 95 % interval", look)
    return ax


def _format_signed(value: float, spec: str) -> str:
    """Format a number with a true minus sign, and zero without sign."""
    text = f"{value:{spec}}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


# --- ranks of true parameters -----------------------------------------------------------------------------------------

_BAND = 1.3581  # critical value of Kolmogorov's test at the level 0.05, times the root of n
_STROKES = ("-", "--", ":")  # line styles when the colours are used up
_NAMES, _HEAD, _LINE = 3, 0.04, 0.065  # names per line of the legend; share of the height of its head and of a line


def rank_curves(
    ranks: Mapping[str, ArrayLike], draws: int, *, ax: Axes | None = None, style: str | canvas.Style = "light"
) -> Axes:
    """Draw the empirical CDF of ranks minus the uniform CDF; it is 0 everywhere if the draws are calibrated.

    The band contains the whole curve of uniform ranks in 95 of 100 cases. If a curve is first above and then below 0,
    the draws are too narrow; if it is first below and then above, they are too wide; if it stays on one side, they are
    shifted.

    Args:
        ranks: name -> ranks (m,), whole numbers from 0 to `draws`.
        draws: number of draws for each rank.
        ax: axes to draw on; they are returned. By default, a new figure is created.
        style: 'dark', 'light' or a `Style`.

    Raises:
        ValueError: without ranks, or if ranks are out of range.

    Example:
        >>> from motes.plots import rank_curves
        >>> ax = rank_curves({"rate": np.arange(100)}, draws=99)
        >>> ax.get_xlabel()
        'normalised rank'
    """
    look = canvas.as_style(style)
    found = {name: np.asarray(values) for name, values in ranks.items()}
    for name, values in found.items():
        if values.ndim != 1 or not len(values) or values.min() < 0 or values.max() > draws:
            raise ValueError(f"the ranks of '{name}' are not (m,) numbers from 0 to {draws}, m at least 1.")
    if not found:
        raise ValueError("got no ranks; expected the ranks of at least one column.")
    ax = canvas.new_axes(canvas.new_figure(5.2, 3.4, look), 1, 1, 1) if ax is None else ax
    place = np.arange(draws + 2) / (draws + 1)
    least = min(len(values) for values in found.values())
    half = _BAND / np.sqrt(least)
    ax.axhspan(-half, half, color=look.muted, alpha=0.18, linewidth=0)
    ax.axhline(0.0, color=look.muted, linewidth=0.8)
    for j, (name, values) in enumerate(found.items()):
        share = np.append(0, np.cumsum(np.bincount(values, minlength=draws + 1))) / len(values)
        again, colour = divmod(j, len(look.classes))
        stroke = _STROKES[again % len(_STROKES)]
        ax.plot(place, share - place, color=look.classes[colour], linestyle=stroke, linewidth=1.6, label=name)
    ax.set(xlim=(0, 1), xlabel="normalised rank", ylabel="empirical CDF minus uniform")
    reach, lines = 1.05 * max(half, *(abs(limit) for limit in ax.get_ylim())), -(-len(found) // _NAMES)
    ax.set_ylim(-reach, 2 * reach / (1 - _HEAD - _LINE * lines) - reach)
    canvas.dress(ax, look, size=9.5)
    canvas.add_legend(ax, look, size=8.5, loc="upper right", ncols=_NAMES)
    canvas.small_print(ax, f"{least:,} simulations, 95 % band", look)
    return ax


# --- how well a model of a table predicts each column -----------------------------------------------------------------

COLUMNS = 24  # maximum number of columns


def column_gains(
    names: Sequence[str],
    gain: ArrayLike,
    error: ArrayLike,
    mixture: ArrayLike | None = None,
    *,
    title: str | None = None,
    style: str | canvas.Style = "light",
) -> Figure:
    """Draw the gain in log-likelihood of each column over the column's own distribution, in nats per row, as bars.

    Args:
        names: names of d columns; the 24 columns with the largest gains are shown.
        gain: log p given the columns before it, minus log p of the column alone, (d,), means over held-out rows.
        error: standard errors, (d,).
        mixture: the same gain for a simpler model, (d,), drawn as a tick on each bar.
        title: title of the figure.
        style: 'dark', 'light' or a `Style`.

    Raises:
        ValueError: for other shapes.

    Example:
        >>> from motes.plots import column_gains
        >>> figure = column_gains(["age", "income"], [0.0, 0.4], [0.01, 0.02])
        >>> [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
        ['income', 'age']
    """
    look = canvas.as_style(style)
    values, errors = np.asarray(gain, float), np.asarray(error, float)
    simple = None if mixture is None else np.asarray(mixture, float)
    for what, one in (("gain", values), ("error", errors), ("mixture", simple)):
        if one is not None and one.shape != (len(names),):
            raise ValueError(f"{what} has shape {one.shape}; expected ({len(names)},), one number per column.")
    order = np.argsort(-values, kind="stable")[:COLUMNS]
    figure = canvas.new_figure(6.4, 0.27 * len(order) + 1.3, look)
    ax = canvas.new_axes(figure, 1, 1, 1)
    places = np.arange(len(order))
    ax.barh(places, values[order], height=0.7, color=look.accent, alpha=0.75)
    ax.errorbar(values[order], places, xerr=2 * errors[order], fmt="none", ecolor=look.foreground, elinewidth=0.9)
    keys = [Line2D([], [], color=look.accent, linewidth=6, alpha=0.75)]
    words = ["model (± 2 standard errors)"]
    if simple is not None:
        ax.scatter(simple[order], places, marker="|", s=150, linewidths=2.2, color=look.muted, zorder=3)
        keys.append(Line2D([], [], color=look.muted, marker="|", markersize=11, linestyle="", markeredgewidth=2.2))
        words.append("mixture alone")
    ax.axvline(0.0, color=look.muted, linewidth=0.8)
    ax.set_yticks(places, [short(names[k], 24) for k in order])
    ax.invert_yaxis()
    ax.margins(y=0.02)
    ax.set_xlabel("gain in log-likelihood from earlier columns, nats per row")
    canvas.dress(ax, look, size=9.5)
    heading = [title] if title else []
    if len(names) > COLUMNS:
        heading.append(f"{COLUMNS} of {len(names)} columns")
    if heading:
        canvas.dress_text(ax.set_title(" · ".join(heading), loc="left", pad=6), look.foreground, 10.5)
    canvas.add_legend(figure, look, size=9, handles=keys, labels=words, loc="outside upper right", ncols=2)
    return figure
