"""The points dissolving into noise and coming back: frames, and the files that hold them.

A cloud is counted into pixels and lit from there, so a frame costs milliseconds, not the quarter of a second that a
scatter plot takes. The box and the exposure are fixed for the whole film: what moves on the screen moved in the data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes.figures._arrays import (
    Limits,
    Points,
    Process,
    View,
    as_clouds,
    as_limits,
    bell,
    blur,
    counts,
    fill,
    limits_of,
    time_text,
)
from motes.figures._captions import Captions, caption_height
from motes.figures._style import Style, as_style
from motes.figures._video import Frame, save_animation, save_gif, save_mp4

__all__ = ["frames", "save_animation", "save_gif", "save_mp4"]

_LEVELS = 16  # of brightness; more would hardly be seen, and each of them costs space in a GIF
_DARK = 1.7  # how much narrower their steps are in the dark
_HAZE = 3.5  # standard deviation of the glow, in coarse cells
_GAIN = 5.0  # how far a lone speck is lifted above a crowd's share of the light
_COARSE = 4  # the glow is computed on pixels this many times larger: nobody sees it, and it is 16 times less work


def frames(
    forward: Sequence[ArrayLike] | NDArray[np.floating],
    forward_times: ArrayLike,
    reverse: Sequence[ArrayLike] | NDArray[np.floating],
    reverse_times: ArrayLike,
    *,
    view: View = View(),
    size: int = 480,
    hold: int = 10,
    style: str | Style = "dark",
) -> Iterator[Frame]:
    """Yield the film of a diffusion: data to noise, then noise to samples, each frame captioned with its true time.

    Args:
        forward: clouds of q(x_t), each (n, 2); the first should be the data itself.
        forward_times: their times, rising, 0 (data) to 1 (noise).
        reverse: clouds of p_theta(x_t), each (n, 2), from noise to samples.
        reverse_times: their times, falling.
        view: box, steps, and small print in every frame; the names of the columns take its place, and each axis then
            fills its side of the frame by itself. By default the box is that of the first and the last forward cloud.
            It never changes during the film.
        size: width and height in pixels, even and at least 160.
        hold: how many times more the first and the last frame are shown.
        style: 'dark', 'light' or a `Style`.

    Returns:
        An iterator of uint8 arrays of shape (size, size, 3): hold + len(forward) + len(reverse) + hold of them.
        All arguments are checked before the first one is drawn.

    Example:
        >>> from motes.figures import frames
        >>> x = motes.make_shape("moons", 100)
        >>> way = [x, 3 * x]
        >>> film = list(frames(way, [0.0, 1.0], way[::-1], [1.0, 0.0], size=160, hold=0))
        >>> len(film), film[0].shape
        (4, (160, 160, 3))
    """
    look = as_style(style)
    out, out_times = as_clouds(forward, forward_times, "forward")
    back, back_times = as_clouds(reverse, reverse_times, "reverse")
    if (np.diff(out_times) < 0).any() or (np.diff(back_times) > 0).any():
        raise ValueError("times run the wrong way; expected forward_times rising and reverse_times falling.")
    if size < 160 or size % 2:
        raise ValueError(f"size is {size}; expected an even number of pixels, at least 160 (480 is usual).")
    if hold < 0:
        raise ValueError(f"hold is {hold}; expected a number of frames, 0 or more.")
    box = limits_of(out[0], out[-1]) if view.limits is None else as_limits(view.limits)
    scenes: list[tuple[Points, float, Process]] = []
    scenes += [(x, t, "forward") for x, t in zip(out, out_times.tolist(), strict=True)]
    scenes += [(x, t, "reverse") for x, t in zip(back, back_times.tolist(), strict=True)]
    captions = [(process, t, time_text(t, view.steps)) for _, t, process in scenes]
    fixed = replace(view, limits=box)
    return _film([x for x, _, _ in scenes], captions, fixed, size, hold, look)


def _film(
    clouds: list[Points],
    captions: list[tuple[Process, float, str]],
    view: View,
    size: int,
    hold: int,
    look: Style,
) -> Iterator[Frame]:
    foot, columns = caption_height(size), view.columns
    assert view.limits is not None  # `frames` has set them
    box = as_limits(view.limits)
    # Square pixels: what the box leaves free of the wider side shows more of the room, not a stretched cloud. Columns
    # of a table have no common unit that could be stretched.
    shown = box if columns else fill(box, size, size - foot)
    room = _Room(clouds[0], shown, size, size - foot, look)
    writer = Captions(size, look, f"{columns[0]} × {columns[1]}" if columns else view.note)
    last = len(clouds) - 1
    for i, (cloud, (process, t, text)) in enumerate(zip(clouds, captions, strict=True)):
        frame = np.concatenate([room.draw(cloud), writer.draw(process, t, text)])
        for _ in range(1 + hold if i in (0, last) else 1):
            yield frame.copy()  # whoever draws on one frame must not find it in the next


class _Room:
    """The dark room: a fixed view and a fixed exposure, so that no frame flickers against the next."""

    def __init__(self, first: Points, view: Limits, width: int, height: int, look: Style):
        self.width, self.height, self.view = width, height, view
        self.palette = _palette(look)
        # Few points are stars in the dark; only a crowd fills the air with light.
        self.glow = 0.34 * look.glow * min(1.0, (len(first) / 5000) ** 0.3)
        # A speck of 100 points may be larger than one of 100,000; both are set against the size of the frame.
        sigma = float(np.clip(0.7 * (10_000 / len(first)) ** 0.25, 0.5, 2.4)) * width / 480
        kernel = bell(max(sigma, 0.4))
        self.speck = kernel / kernel.max()  # a lone speck has brightness 1 at its middle
        self.spread = _spread(height), _spread(width)
        light = self._specks(first)
        self.exposure = max(2.5, 1.3 * float(np.quantile(light[light > 0.5], 0.99))) if light.max() > 0.5 else 2.5
        self.crowd = max(1e-6, float(self._haze(first).max()))

    def draw(self, cloud: Points) -> Frame:
        """One cloud as a picture, shape (height, width, 3)."""
        light = self._specks(cloud)
        light *= _GAIN
        np.log1p(light, out=light)
        light *= 1 / np.log1p(_GAIN * self.exposure)
        np.minimum(light, 1, out=light)
        if self.glow:
            haze = self._haze(cloud)
            haze = np.minimum(1, haze / self.crowd) ** np.float32(0.75) * np.float32(self.glow)
            light += haze * (1 - light)  # two lights over each other, never brighter than white
        light *= 255
        return self.palette[light.astype(np.uint8)]

    def _specks(self, cloud: Points) -> NDArray[np.float32]:
        hits = counts(cloud, self.view, self.width, self.height).astype(np.float32)
        return np.asarray(blur(hits, self.speck), dtype=np.float32)

    def _haze(self, cloud: Points) -> NDArray[np.float32]:
        down, across = self.spread
        hits = counts(cloud, self.view, across.shape[1], down.shape[1]).astype(np.float32)
        return np.asarray(down @ hits @ across.T)


def _palette(look: Style) -> NDArray[np.uint8]:
    """The colour of each brightness from 0 to 255, shape (256, 3), in few steps: narrow in the dark, wide in the light.

    The eye sees a step in near-black, where the haze fades out, and none inside a bright speck.
    """
    step = np.floor((np.arange(256) / 255) ** (1 / _DARK) * (_LEVELS - 0.01)) / (_LEVELS - 1)
    return (255 * look.density(step**_DARK)[:, :3] + 0.5).astype(np.uint8)


def _spread(length: int) -> NDArray[np.float32]:
    """The matrix (length, coarse) that spreads what lies in a coarse cell over the pixels around it, as a wide blur."""
    pixels = np.arange(length) + 0.5
    cells = (np.arange(length // _COARSE) + 0.5) * (length / (length // _COARSE))
    weight = np.exp(-0.5 * ((pixels[:, None] - cells) / (_HAZE * _COARSE)) ** 2)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True), dtype=np.float32)
