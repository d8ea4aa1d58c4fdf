"""Animations of the forward and reverse processes: captioned frames, and GIF and MP4 files.

Points are counted per pixel, so that a frame takes milliseconds instead of a quarter of a second for a scatter plot.
Box and exposure are fixed for the whole animation: only the data moves. Files are written atomically.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from pathlib import Path
from types import ModuleType

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from motes import rasters
from motes.plots.canvas import Style, as_style
from motes.replacing import replacing

_SHADES = 12  # shades of each colour: enough for smooth letters within a GIF's 256 colours
# Runs of (text, is a subscript), since Unicode has no subscript theta.
_SYMBOLS = {
    "forward": (("q", False), ("(x", False), ("t", True), (")", False)),
    "reverse": (("p", False), ("θ", True), ("(x", False), ("t", True), (")", False)),
}


def caption_height(size: int) -> int:
    """Return the height in pixels of the caption of a frame of `size` pixels; the part above it is divisible by 4."""
    return size - 4 * round(0.85 * size / 4)


class Captions:
    """Captions of frames, in shades of two colours, so that a whole animation fits one GIF palette."""

    def __init__(self, size: int, look: Style, note: str = ""):
        self.size, self.height, self.note = size, caption_height(size), note
        self.letters = _shades(look.background, look.foreground)
        self.marks = _shades(look.background, look.accent)

    def draw(self, process: rasters.Process, t: float, text: str) -> NDArray[np.uint8]:
        """Draw the caption at time `t`, written as `text`; shape (height, size, 3)."""
        white = Image.new("L", (self.size, self.height))
        amber = Image.new("L", (self.size, self.height))
        self._words(ImageDraw.Draw(white), process, text)
        self._timeline(white, amber, t)
        letters, marks = _levels(white), _levels(amber)
        return np.asarray(np.where(marks[..., None] > 0, self.marks[marks], self.letters[letters]))

    def _words(self, draw: ImageDraw.ImageDraw, process: rasters.Process, text: str) -> None:
        size, base = self.size, round(0.056 * self.size)
        body = _font("DejaVuSans", size)
        maths, small = _font("DejaVuSerif-Italic", size), _font("DejaVuSerif-Italic", round(0.7 * size))
        x = 0.05 * size
        draw.text((x, base), process, font=body, fill=190, anchor="ls")
        x += draw.textlength("forward  ", font=body)  # the wider of the two words, so that the symbol does not move
        for run, is_subscript in _SYMBOLS[process]:
            font = small if is_subscript else maths
            draw.text((x, base + (0.011 * size if is_subscript else 0)), run, font=font, fill=255, anchor="ls")
            x += draw.textlength(run, font=font)
        fine, note = _font("DejaVuSans", round(0.75 * size)), self.note
        while note and draw.textlength(note, font=fine) > 0.9 * size:
            note = note[:-2] + "…" if len(note) > 2 else ""
        draw.text((0.05 * size, round(0.132 * size)), note, font=fine, fill=190, anchor="ls")
        draw.text((0.95 * size, base), f"t = {text}", font=body, fill=255, anchor="rs")

    def _timeline(self, white: Image.Image, amber: Image.Image, t: float) -> None:
        size, y = self.size, round(0.087 * self.size)
        left, right = 0.05 * size, 0.95 * size
        at = left + t * (right - left)
        thick = max(1, round(size / 320))
        ImageDraw.Draw(white).line([(left, y), (right, y)], fill=70, width=thick)
        ImageDraw.Draw(amber).line([(left, y), (at, y)], fill=255, width=thick)
        radius = size / 110
        side = 2 * round(radius + 2)
        # Drawn four times as large and shrunk, since Pillow's ellipse is not anti-aliased.
        dot = Image.new("L", (4 * side, 4 * side))
        x, half = 2 * side + 4 * (at - round(at)), 4 * radius
        ImageDraw.Draw(dot).ellipse([x - half, 2 * side - half, x + half, 2 * side + half], fill=255)
        dot = dot.resize((side, side), Image.Resampling.BOX)
        amber.paste(255, (round(at) - side // 2, y - side // 2), dot)


def _levels(mask: Image.Image) -> NDArray[np.uint8]:
    return np.asarray((np.asarray(mask, dtype=np.uint16) * (_SHADES - 1) + 127) // 255, dtype=np.uint8)


def _shades(background: str, colour: str) -> NDArray[np.uint8]:
    """Return shades from one colour to another, shape (shades, 3)."""
    share = np.linspace(0, 1, _SHADES)[:, None]
    mixed = (1 - share) * np.array(to_rgb(background)) + share * np.array(to_rgb(colour))
    return (255 * mixed + 0.5).astype(np.uint8)


@cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """Load a font that ships with matplotlib, for the same look on every machine; `size` is the size of the frame."""
    path = Path(mpl.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
    return ImageFont.truetype(str(path), round(0.048 * size))


# --- files ------------------------------------------------------------------------------------------------------------

Frame = NDArray[np.uint8]

_COLOURS = 256  # colours of a GIF


def save_animation(frames: Iterable[Frame], path: str | os.PathLike[str], *, fps: float = 20) -> None:
    """Write frames to a .gif or .mp4 file; see `save_gif` and `save_mp4`.

    Example:
        >>> from pathlib import Path
        >>> from motes.plots import save_animation
        >>> save_animation([np.zeros((160, 160, 3), np.uint8)] * 2, "film.gif")
        >>> Path("film.gif").exists()
        True
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _WRITERS:
        raise ValueError(
            f"cannot write an animation to {os.fspath(path)!r}; expected a name ending in {' or '.join(_WRITERS)}."
        )
    _WRITERS[suffix](frames, path, fps=fps)


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
    path = _check_path(path)
    book = _ColourBook()
    ends: list[int] = []  # for each distinct frame, the number of frames up to its last repetition
    last: Frame | None = None
    for i, frame in enumerate(_check_frames(frames), start=1):
        if last is None or not np.array_equal(frame, last):
            book.add(frame)
            ends.append(i)
            last = frame.copy()  # the caller may reuse the array for the next frame
        ends[-1] = i
    clock = np.round(100 * np.array([0, *ends]) / fps)
    durations = (10 * np.maximum(1, np.diff(clock))).astype(int).tolist()  # milliseconds
    first, *others = book.images()
    with replacing(path) as half:
        first.save(
            half,
            format="GIF",
            save_all=True,
            append_images=others,
            duration=durations,
            loop=0,
            optimize=False,
            disposal=1,
        )


def save_mp4(frames: Iterable[Frame], path: str | os.PathLike[str], *, fps: float = 20) -> None:
    """Write frames as an H.264 MP4 for browsers and slides; needs `pip install imageio-ffmpeg`.

    Args:
        frames: uint8 arrays of shape (height, width, 3), all of one shape. If a side is odd, its last row or column is
            cut off, because the format requires even sides.
        path: the file, replaced atomically once everything is written.
        fps: frames per second, above 0.

    Example:
        >>> from pathlib import Path
        >>> from motes.plots import save_mp4
        >>> save_mp4([np.zeros((64, 64, 3), np.uint8)] * 2, "film.mp4")
        >>> Path("film.mp4").exists()
        True
    """
    if not fps > 0:
        raise ValueError(f"fps is {fps}; expected frames per second, above 0.")
    ffmpeg = _ffmpeg()
    path = _check_path(path)
    checked = _check_frames(frames)
    first = next(checked)
    height, width = first.shape[0] // 2 * 2, first.shape[1] // 2 * 2
    with replacing(path) as half:
        writer = ffmpeg.write_frames(
            str(half),
            (width, height),
            fps=fps,
            codec="libx264",
            pix_fmt_out="yuv420p",
            quality=6,
            macro_block_size=2,
            output_params=["-movflags", "+faststart"],
        )
        writer.send(None)
        try:
            for frame in chain([first], checked):
                writer.send(np.ascontiguousarray(frame[:height, :width]))
        finally:
            writer.close()


_WRITERS = {".gif": save_gif, ".mp4": save_mp4}


def _ffmpeg() -> ModuleType:
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise ImportError(
            "writing MP4 needs imageio-ffmpeg: pip install imageio-ffmpeg, or write a .gif instead."
        ) from error
    module: ModuleType = imageio_ffmpeg
    return module


def _check_path(path: str | os.PathLike[str]) -> Path:
    """Return the path after checking, before the drawing starts, that its folder exists."""
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"there is no folder {str(target.parent)!r} to write {target.name!r} to; make it first."
        )
    return target


def _check_frames(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Yield the frames after checking that each is an image of the same shape as the first."""
    shape: tuple[int, ...] | None = None
    for i, frame in enumerate(frames):
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or shape not in (None, frame.shape):
            raise ValueError(
                f"frame {i} is {frame.dtype} of shape {frame.shape}; "
                f"expected uint8 of shape {shape or '(height, width, 3)'}."
            )
        shape = frame.shape
        yield frame
    if shape is None:
        raise ValueError("got no frames; expected at least one. Check that the iterator is not exhausted.")


class _ColourBook:
    """Frames as colour indices, in order of first appearance; they need a third of the memory."""

    def __init__(self) -> None:
        self.number = np.zeros(1 << 24, dtype=np.int32)  # number of each colour 0xRRGGBB, from 1; 0 means not seen yet
        self.colours = np.zeros((0, 3), dtype=np.uint8)
        self.frames: list[NDArray[np.integer]] = []

    def add(self, frame: Frame) -> None:
        red, green, blue = (frame[..., i].astype(np.int32) for i in range(3))
        codes = red << 16 | green << 8 | blue
        numbers = self.number[codes]
        if not numbers.all():
            new = np.unique(codes[numbers == 0])
            self.number[new] = len(self.colours) + 1 + np.arange(len(new))
            rgb = np.stack([new >> 16, new >> 8 & 255, new & 255], axis=1).astype(np.uint8)
            self.colours = np.concatenate([self.colours, rgb])
            numbers = self.number[codes]
        self.frames.append((numbers - 1).astype(np.uint8 if len(self.colours) <= _COLOURS else np.int32))

    def images(self) -> list[Image.Image]:
        """Return images with one palette: their exact colours if they fit, otherwise the nearest of 256."""
        palette, place = self.colours, np.arange(len(self.colours)).astype(np.uint8)
        if len(self.colours) > _COLOURS:
            palette = _choose_palette([self.colours[frame] for frame in self.frames[:: max(1, len(self.frames) // 8)]])
            place = _nearest(self.colours, palette)
        images = []
        for frame in self.frames:
            image = Image.fromarray(place[frame])
            image.putpalette(palette.tobytes())
            images.append(image)
        return images


def _choose_palette(frames: list[Frame]) -> NDArray[np.uint8]:
    """Choose 256 colours for the frames, shape (256, 3)."""
    image = Image.fromarray(np.concatenate(frames)).quantize(_COLOURS, method=Image.Quantize.MEDIANCUT)
    return np.array(image.getpalette(), dtype=np.uint8).reshape(-1, 3)


def _nearest(colours: NDArray[np.uint8], palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return for each colour the index of the nearest in the palette, in blocks to save memory."""
    target = palette.astype(np.float32)
    blocks = []
    for start in range(0, len(colours), 4096):
        block = colours[start : start + 4096].astype(np.float32)
        # |a - b|^2 = |a|^2 - 2 a.b + |b|^2, and |a|^2 does not change which b is nearest.
        blocks.append(np.argmin((target**2).sum(axis=1) - 2 * block @ target.T, axis=1))
    return np.concatenate(blocks).astype(np.uint8)


# --- frames -----------------------------------------------------------------------------------------------------------

__all__ = ["frames", "save_animation", "save_gif", "save_mp4"]

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
    scenes: list[tuple[rasters.Points, rasters.Process, float]] = []
    scenes += [(x, "forward", t) for x, t in zip(out, out_times.tolist(), strict=True)]
    scenes += [(x, "reverse", t) for x, t in zip(back, back_times.tolist(), strict=True)]
    texts = [rasters.time_text(t, view.steps) for _, _, t in scenes]

    def drawn() -> Iterator[Frame]:
        room = _Renderer(out[0], shown, size, size - foot, look)
        captions = Captions(size, look, f"{columns[0]} × {columns[1]}" if columns else view.note)
        for i, ((cloud, process, t), text) in enumerate(zip(scenes, texts, strict=True)):
            frame = np.concatenate([room.draw(cloud), captions.draw(process, t, text)])
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
        light = self._specks(cloud)
        light *= _GAIN
        np.log1p(light, out=light)
        light *= 1 / np.log1p(_GAIN * self.exposure)
        np.minimum(light, 1, out=light)
        if self.glow:
            haze = self._haze(cloud)
            haze = np.minimum(1, haze / self.crowd) ** np.float32(0.75) * np.float32(self.glow)
            light += haze * (1 - light)  # two lights on top of each other, at most white
        light *= 255
        return self.palette[light.astype(np.uint8)]

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
