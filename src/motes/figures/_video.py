"""Frames to a file. A file appears whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Frame = NDArray[np.uint8]

_COLOURS = 256  # of a GIF


def save_animation(frames: Iterable[Frame], path: str | os.PathLike[str], *, fps: float = 20) -> None:
    """Write frames to `path`; its suffix, .gif or .mp4, says how. See `save_gif` and `save_mp4`.

    Example:
        >>> from pathlib import Path
        >>> from motes.figures import save_animation
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
    """Write frames as a GIF that loops for ever, in one palette for all of them, so that no colour flickers.

    A run of equal frames is stored once and shown for as long as all of them: the file then holds fewer frames than
    came, and its durations add up to their number over `fps`. GIF counts in hundredths of a second; where 1/fps is no
    whole number of them, durations differ by one so that the sum stays true.

    Args:
        frames: uint8 arrays of shape (height, width, 3), all of one shape. Frames of up to 256 colours in all, as
            `motes.figures.frames` makes them, are stored exactly.
        path: the file to write; it is replaced at once when all is written.
        fps: frames a second, above 0 and up to 50; viewers slow down faster GIFs.

    Example:
        >>> from pathlib import Path
        >>> from motes.figures import save_gif
        >>> save_gif([np.zeros((160, 160, 3), np.uint8), np.full((160, 160, 3), 255, np.uint8)], "film.gif", fps=10)
        >>> Path("film.gif").read_bytes()[:3]
        b'GIF'
    """
    if not 0 < fps <= 50:
        raise ValueError(f"fps is {fps}; expected above 0 and at most 50, because viewers slow down faster GIFs.")
    path = _target(path)
    book = _ColourBook()
    ends: list[int] = []  # for each distinct frame, how many frames had come when it went
    last: Frame | None = None
    for i, frame in enumerate(_checked(frames), start=1):
        if last is None or not np.array_equal(frame, last):
            book.add(frame)
            ends.append(i)
            last = frame.copy()  # the caller may draw the next frame into the same array
        ends[-1] = i
    clock = np.round(100 * np.array([0, *ends]) / fps)
    durations = (10 * np.maximum(1, np.diff(clock))).astype(int).tolist()  # milliseconds
    first, *others = book.images()
    with _replacing(path) as half:
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
    """Write frames as an H.264 MP4 that browsers and slides play; needs `pip install imageio-ffmpeg`.

    Args:
        frames: uint8 arrays of shape (height, width, 3), all of one shape. An odd side loses its last row or column,
            because the format has only even ones.
        path: the file to write; it is replaced at once when all is written.
        fps: frames a second, above 0.

    Example:
        >>> from pathlib import Path
        >>> from motes.figures import save_mp4
        >>> save_mp4([np.zeros((64, 64, 3), np.uint8)] * 2, "film.mp4")
        >>> Path("film.mp4").exists()
        True
    """
    if not fps > 0:
        raise ValueError(f"fps is {fps}; expected frames a second, above 0.")
    ffmpeg = _ffmpeg()
    path = _target(path)
    checked = _checked(frames)
    first = next(checked)
    height, width = first.shape[0] // 2 * 2, first.shape[1] // 2 * 2
    with _replacing(path) as half:
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


def _target(path: str | os.PathLike[str]) -> Path:
    """The path, if its folder exists: better said before a long film is drawn than after."""
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"there is no folder {str(target.parent)!r} to write {target.name!r} to; make it first."
        )
    return target


def _checked(frames: Iterable[Frame]) -> Iterator[Frame]:
    """The frames, each checked to be a picture of the same shape as the first."""
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
        raise ValueError("got no frames; expected at least one. An iterator that was already used up has none left.")


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to, which becomes `path` when all went well and vanishes otherwise."""
    half = path.with_name(f".{path.stem}-{uuid.uuid4().hex}{path.suffix}")
    try:
        yield half
        os.replace(half, path)
    finally:
        half.unlink(missing_ok=True)


class _ColourBook:
    """Frames as numbers of colours, numbered in the order in which they come: a third of the memory of frames."""

    def __init__(self) -> None:
        self.number = np.zeros(1 << 24, dtype=np.int32)  # of each colour 0xRRGGBB, from 1; 0 is not seen yet
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
        """Images with one palette: the colours of the images if they fit, otherwise the nearest of 256."""
        palette, place = self.colours, np.arange(len(self.colours)).astype(np.uint8)
        if len(self.colours) > _COLOURS:
            palette = _common([self.colours[frame] for frame in self.frames[:: max(1, len(self.frames) // 8)]])
            place = _nearest(self.colours, palette)
        images = []
        for frame in self.frames:
            image = Image.fromarray(place[frame])
            image.putpalette(palette.tobytes())
            images.append(image)
        return images


def _common(frames: list[Frame]) -> NDArray[np.uint8]:
    """256 colours that suit the frames, shape (256, 3)."""
    image = Image.fromarray(np.concatenate(frames)).quantize(_COLOURS, method=Image.Quantize.MEDIANCUT)
    return np.array(image.getpalette(), dtype=np.uint8).reshape(-1, 3)


def _nearest(colours: NDArray[np.uint8], palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """For each colour the index of the nearest in the palette, in blocks that fit the memory."""
    target = palette.astype(np.float32)
    blocks = []
    for start in range(0, len(colours), 4096):
        block = colours[start : start + 4096].astype(np.float32)
        # |a - b|^2 = |a|^2 - 2 a.b + |b|^2, and |a|^2 does not change which b is nearest.
        blocks.append(np.argmin((target**2).sum(axis=1) - 2 * block @ target.T, axis=1))
    return np.concatenate(blocks).astype(np.uint8)
