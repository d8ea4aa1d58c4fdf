"""The foot of a frame: which process, at which time, and where that is between data and noise."""

from functools import cache
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_rgb
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from motes.figures._arrays import Process
from motes.figures._style import Style

_SHADES = 12  # of each colour: a GIF has 256 in all, and smooth letters need no more
# Runs of (text, is a subscript); a subscript theta has no letter of its own in Unicode.
_SYMBOLS = {
    "forward": (("q", False), ("(x", False), ("t", True), (")", False)),
    "reverse": (("p", False), ("θ", True), ("(x", False), ("t", True), (")", False)),
}


def caption_height(size: int) -> int:
    """Height in pixels of the foot of a frame of `size` pixels; the part above it divides by 4."""
    return size - 4 * round(0.85 * size / 4)


class Captions:
    """Draws the foot of a frame. Every colour is a shade of two, so that a whole film fits one GIF palette."""

    def __init__(self, size: int, look: Style, note: str = ""):
        self.size, self.height, self.note = size, caption_height(size), note
        self.letters = _shades(look.background, look.foreground)
        self.marks = _shades(look.background, look.accent)

    def draw(self, process: Process, t: float, text: str) -> NDArray[np.uint8]:
        """The foot at time `t`, which reads `text`; shape (height, size, 3)."""
        white = Image.new("L", (self.size, self.height))
        amber = Image.new("L", (self.size, self.height))
        self._words(ImageDraw.Draw(white), process, text)
        self._timeline(white, amber, t)
        letters, marks = _levels(white), _levels(amber)
        return np.asarray(np.where(marks[..., None] > 0, self.marks[marks], self.letters[letters]))

    def _words(self, draw: ImageDraw.ImageDraw, process: Process, text: str) -> None:
        size, base = self.size, round(0.056 * self.size)
        body = _font("DejaVuSans", size)
        maths, small = _font("DejaVuSerif-Italic", size), _font("DejaVuSerif-Italic", round(0.7 * size))
        x = 0.05 * size
        draw.text((x, base), process, font=body, fill=190, anchor="ls")
        x += draw.textlength("forward  ", font=body)  # the wider of the two words, so that the symbol stands still
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
        # Drawn four times as large and shrunk: Pillow's ellipse has no smooth edge of its own.
        dot = Image.new("L", (4 * side, 4 * side))
        x, half = 2 * side + 4 * (at - round(at)), 4 * radius
        ImageDraw.Draw(dot).ellipse([x - half, 2 * side - half, x + half, 2 * side + half], fill=255)
        dot = dot.resize((side, side), Image.Resampling.BOX)
        amber.paste(255, (round(at) - side // 2, y - side // 2), dot)


def _levels(mask: Image.Image) -> NDArray[np.uint8]:
    return np.asarray((np.asarray(mask, dtype=np.uint16) * (_SHADES - 1) + 127) // 255, dtype=np.uint8)


def _shades(background: str, colour: str) -> NDArray[np.uint8]:
    """From one colour to another, shape (shades, 3)."""
    share = np.linspace(0, 1, _SHADES)[:, None]
    mixed = (1 - share) * np.array(to_rgb(background)) + share * np.array(to_rgb(colour))
    return (255 * mixed + 0.5).astype(np.uint8)


@cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """A font that matplotlib ships, so that a film looks the same on every machine; `size` is that of the frame."""
    path = Path(mpl.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"
    return ImageFont.truetype(str(path), round(0.048 * size))
