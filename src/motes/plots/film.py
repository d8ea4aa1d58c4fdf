"""Animations of the forward and reverse processes: captioned frames, and GIF files.

Points are counted per pixel, so that a frame takes milliseconds instead of a quarter of a second for a scatter plot.
Box and exposure are fixed for the whole animation: only the data moves. Files are written atomically.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.spatial import KDTree

from motes import rasters
from motes.plots.canvas import Style, as_style
from motes.replacing import replacing

Frame = NDArray[np.uint8]

# Runs of (text, is a subscript), since Unicode has no subscript theta.
_SYMBOLS = {
    "forward": (("q", False), ("(x", False), ("t", True), (")", False)),
    "reverse": (("p", False), ("θ", True), ("(x", False), ("t", True), (")", False)),
}
_FINER = 4  # the time line is drawn this many times larger and shrunk, since Pillow's shapes are not anti-aliased
_COLOURS = 256  # colours of a GIF


def caption_height(size: int) -> int:
    """Return the height in pixels of the caption of a frame of `size` pixels; the part above it is divisible by 4."""
    return size - 4 * round(0.85 * size / 4)


def draw_caption(size: int, look: Style, process: str, t: float, text: str, note: str = "") -> Frame:
    """Draw the caption of a frame at time `t`, written as `text`, with a footnote; shape (height, size, 3)."""
    image = Image.new("RGB", (_FINER * size, _FINER * caption_height(size)), look.background)
    draw, fine = ImageDraw.Draw(image), _FINER * size
    left, right, y, radius = 0.05 * fine, 0.95 * fine, 0.087 * fine, fine / 110
    at = left + t * (right - left)
    draw.line([(left, y), (right, y)], fill=look.muted, width=round(fine / 640))
    draw.line([(left, y), (at, y)], fill=look.accent, width=round(fine / 320))
    draw.ellipse([at - radius, y - radius, at + radius, y + radius], fill=look.accent)
    image = image.reduce(_FINER)
    draw, base, x = ImageDraw.Draw(image), round(0.056 * size), 0.05 * size
    body, fine_print = _font("DejaVuSans", size), _font("DejaVuSans", round(0.75 * size))
    maths, small = _font("DejaVuSerif-Italic", size), _font("DejaVuSerif-Italic", round(0.7 * size))
    draw.text((x, base), process, font=body, fill=look.muted, anchor="ls")
    x += draw.textlength("forward  ", font=body)  # the wider of the two words, so that the symbol does not move
    for run, is_subscript in _SYMBOLS[process]:
        font = small if is_subscript else maths
        draw.text((x, base + 0.011 * size * is_subscript), run, font=font, fill=look.foreground, anchor="ls")
        x += draw.textlength(run, font=font)
    draw.text((0.95 * size, base), f"t = {text}", font=body, fill=look.foreground, anchor="rs")
    while note and draw.textlength(note, font=fine_print) > 0.9 * size:
        note = note[:-2] + "…" if len(note) > 2 else ""
    draw.text((0.05 * size, round(0.132 * size)), note, font=fine_print, fill=look.muted, anchor="ls")
    background = np.array(Image.new("RGB", (1, 1), look.background), int)
    shades = 16 * np.round((np.array(image) - background) / 16)  # few enough for a GIF
    return np.clip(background + shades, 0, 255).astype(np.uint8)


@cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """Load a font that ships with matplotlib, for the same look on every machine; `size` is the size of the frame."""
    path = Path(mpl.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
    return ImageFont.truetype(str(path), round(0.048 * size))


def save_gif(frames: Iterable[Frame], path: str | os.PathLike[str], *, fps: float = 20) -> None:
    """Write frames as a looping GIF with one palette for all frames, so that colours do not flicker.

    A run of equal frames is stored as one longer frame, so the file can contain fewer frames; the total duration stays
    the number of frames over `fps`. GIF durations are in hundredths of a second; if 1/fps is not a multiple of that,
    durations differ by one hundredth to keep the total correct.

    Args:
        frames: uint8 arrays of shape (height, width, 3), all of one shape. Frames with up to 256 colours in total, such
            as those from `motes.plots.frames`, are stored exactly.
        path: the file, replaced atomically once everything is written.
        fps: frames per second, above 0 and up to 50; viewers slow down faster GIFs.

    Example:
        >>> from pathlib import Path
        >>> from motes.plots import save_gif
        >>> save_gif([np.zeros((160, 160, 3), np.uint8), np.full((160, 160, 3), 255, np.uint8)], "film.gif", fps=10)
        >>> Path("film.gif").read_bytes()[:3]
        b'GIF'
    """
    if not 0 < fps <= 50:
        raise ValueError(f"fps is {fps}; expected above 0 and at most 50, because viewers slow down faster GIFs.")
    if Path(path).suffix.lower() != ".gif":
        raise ValueError(f"cannot write an animation to {os.fspath(path)!r}; expected a name ending in .gif.")
    film: list[Frame] = []
    for i, frame in enumerate(frames):
        shape = film[0].shape if film else "(height, width, 3)"
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or (film and frame.shape != shape):
            raise ValueError(f"frame {i} is {frame.dtype} of shape {frame.shape}; expected uint8 of shape {shape}.")
        film.append(frame.copy())  # the caller may reuse the array for the next frame
    if not film:
        raise ValueError("got no frames; expected at least one. Check that the iterator is not exhausted.")
    clock = np.round(100 * np.arange(len(film) + 1) / fps)
    first, *others = _as_images(film)
    durations = (10 * np.diff(clock)).astype(int).tolist()  # milliseconds
    options: dict[str, Any] = {"duration": durations, "loop": 0, "optimize": False, "disposal": 1}
    with replacing(Path(path)) as half:
        first.save(half, format="GIF", save_all=True, append_images=others, **options)


def _as_images(film: Sequence[Frame]) -> Iterator[Image.Image]:
    """Yield images with one palette: the exact colours if they fit, otherwise 256 similar ones."""
    codes = lambda frame: frame[..., 0].astype(np.int32) << 16 | frame[..., 1].astype(np.int32) << 8 | frame[..., 2]
    seen = np.zeros(1 << 24, bool)
    for frame in film:
        seen[codes(frame)] = True
    found = np.flatnonzero(seen)
    colours = np.stack([found >> 16, found >> 8 & 255, found & 255], axis=1).astype(np.uint8)
    palette = colours
    if len(colours) > _COLOURS:
        reduced = Image.fromarray(colours[None]).quantize(_COLOURS, method=Image.Quantize.MEDIANCUT)
        palette = np.array(reduced.getpalette(), np.uint8).reshape(-1, 3)
    place = np.zeros(1 << 24, np.uint8)
    place[found] = KDTree(palette).query(colours)[1]
    for frame in film:
        image = Image.fromarray(place[codes(frame)])
        image.putpalette(palette.tobytes())
        yield image


# --- frames -----------------------------------------------------------------------------------------------------------

_LEVELS = 16  # brightness levels; more would hardly be visible and take space in a GIF
_DARK = 1.7  # exponent that makes the levels closer in the dark
_HAZE = 3.5  # standard deviation of the glow, in coarse cells
_GAIN = 5.0  # how much single points are brightened relative to dense ones
_COARSE = 4  # the glow is computed on pixels this many times larger, which is 16 times less work


def frames(
    forward: Sequence[ArrayLike] | NDArray[np.floating],
    forward_times: ArrayLike,
    reverse: Sequence[ArrayLike] | NDArray[np.floating],
    reverse_times: ArrayLike,
    *,
    view: rasters.View = rasters.View(),
    size: int = 480,
    hold: int = 10,
    style: str | Style = "dark",
) -> Iterator[Frame]:
    """Yield the frames of an animation: data to noise, then noise to samples, each captioned with its time.

    Args:
        forward: clouds of q(x_t), each (n, 2); the first should be the data itself.
        forward_times: their times, rising, 0 (data) to 1 (noise).
        reverse: clouds of p_theta(x_t), each (n, 2), from noise to samples.
        reverse_times: their times, falling.
        view: box, steps, and footnote of every frame. Names of columns replace the footnote, and each axis then fills
            its side of the frame separately. By default, the box contains the first and the last forward cloud. It
            does not change during the animation.
        size: width and height in pixels, even and at least 160.
        hold: number of extra copies of the first and the last frame.
        style: 'dark', 'light' or a `Style`.

    Returns:
        An iterator of uint8 arrays of shape (size, size, 3): hold + len(forward) + len(reverse) + hold of them.
        All arguments are checked before the first one is drawn.

    Example:
        >>> from motes.plots import frames
        >>> x = motes.make_shape("moons", 100)
        >>> way = [x, 3 * x]
        >>> film = list(frames(way, [0.0, 1.0], way[::-1], [1.0, 0.0], size=160, hold=0))
        >>> len(film), film[0].shape
        (4, (160, 160, 3))
    """
    look = as_style(style)
    out, out_times = rasters.as_clouds(forward, forward_times, "forward")
    back, back_times = rasters.as_clouds(reverse, reverse_times, "reverse")
    if (np.diff(out_times) < 0).any() or (np.diff(back_times) > 0).any():
        raise ValueError("times run the wrong way; expected forward_times rising and reverse_times falling.")
    if size < 160 or size % 2:
        raise ValueError(f"size is {size}; expected an even number of pixels, at least 160 (480 is usual).")
    if hold < 0:
        raise ValueError(f"hold is {hold}; expected a number of frames, 0 or more.")
    box = rasters.limits_of(out[0], out[-1]) if view.limits is None else rasters.as_limits(view.limits)
    foot, columns = caption_height(size), view.columns
    # Square pixels: extend the box to fill the frame instead of stretching the cloud. Columns of a table have no common
    # unit, so they may be stretched.
    shown = box if columns else rasters.fill(box, size, size - foot)
    ways = ("forward", out, out_times), ("reverse", back, back_times)
    scenes = [(x, name, t) for name, clouds, times in ways for x, t in zip(clouds, times.tolist(), strict=True)]
    texts = [rasters.time_text(t, view.steps) for _, _, t in scenes]

    def drawn() -> Iterator[Frame]:
        room = _Renderer(out[0], shown, size, size - foot, look)
        note = f"{columns[0]} × {columns[1]}" if columns else view.note
        for i, ((cloud, process, t), text) in enumerate(zip(scenes, texts, strict=True)):
            frame = np.concatenate([room.draw(cloud), draw_caption(size, look, process, t, text, note)])
            for _ in range(1 + hold if i in (0, len(scenes) - 1) else 1):
                yield frame.copy()  # the caller may draw on a frame, which must not change the next

    return drawn()


class _Renderer:
    """Renderer with a fixed view and a fixed exposure, so that frames do not flicker."""

    def __init__(self, first: rasters.Points, view: rasters.Limits, width: int, height: int, look: Style):
        self.width, self.height, self.view = width, height, view
        self.palette = _palette(look)
        # The glow is weaker for few points.
        self.glow = 0.34 * look.glow * min(1.0, (len(first) / 5000) ** 0.3)
        # The fewer points, the larger each one, relative to the size of the frame.
        sigma = float(np.clip(0.7 * (10_000 / len(first)) ** 0.25, 0.5, 2.4)) * width / 480
        kernel = rasters.bell(max(sigma, 0.4))
        self.speck = kernel / kernel.max()  # a single point has brightness 1 at its centre
        self.spread = _blur_matrix(height), _blur_matrix(width)
        light = self._specks(first)
        self.exposure = max(2.5, 1.3 * float(np.quantile(light[light > 0.5], 0.99))) if light.max() > 0.5 else 2.5
        self.crowd = max(1e-6, float(self._haze(first).max()))

    def draw(self, cloud: rasters.Points) -> Frame:
        """Render one cloud, shape (height, width, 3)."""
        brightest = float(np.log1p(_GAIN * self.exposure))
        light = np.minimum(np.log1p(_GAIN * self._specks(cloud)) / brightest, 1)
        if self.glow:
            haze = self._haze(cloud)
            haze = np.minimum(1, haze / self.crowd) ** np.float32(0.75) * np.float32(self.glow)
            light += haze * (1 - light)  # two lights on top of each other, at most white
        return self.palette[(255 * light).astype(np.uint8)]

    def _specks(self, cloud: rasters.Points) -> NDArray[np.float32]:
        hits = rasters.counts(cloud, self.view, self.width, self.height).astype(np.float32)
        return np.asarray(rasters.blur(hits, self.speck), dtype=np.float32)

    def _haze(self, cloud: rasters.Points) -> NDArray[np.float32]:
        down, across = self.spread
        hits = rasters.counts(cloud, self.view, across.shape[1], down.shape[1]).astype(np.float32)
        return np.asarray(down @ hits @ across.T)


def _palette(look: Style) -> NDArray[np.uint8]:
    """Return the colour of each brightness from 0 to 255, shape (256, 3), in a few steps, narrower in the dark.

    Steps are visible in near-black, where the glow fades out, but not inside a bright point.
    """
    step = np.floor((np.arange(256) / 255) ** (1 / _DARK) * (_LEVELS - 0.01)) / (_LEVELS - 1)
    return (255 * look.density(step**_DARK)[:, :3] + 0.5).astype(np.uint8)


def _blur_matrix(length: int) -> NDArray[np.float32]:
    """Return the matrix (length, coarse) that spreads the light of coarse cells over nearby pixels, as a wide blur."""
    pixels = np.arange(length) + 0.5
    cells = (np.arange(length // _COARSE) + 0.5) * (length / (length // _COARSE))
    weight = np.exp(-0.5 * ((pixels[:, None] - cells) / (_HAZE * _COARSE)) ** 2)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True), dtype=np.float32)
