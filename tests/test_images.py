"""Figures look as they did when somebody last looked at them: small pictures without texts are compared with kept ones.

After a change on purpose: python tests/test_images.py writes them anew, into tests/images. Look at each of them.
"""

import io
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from motes import plots
from motes.plots.curves import column_gains, density_row, error_split, excess_curve, score_fields

DRAWN_BY, VERSION = (3, 11), tuple(map(int, matplotlib.__version__.split(".")[:2]))
FOLDER = Path(__file__).parent / "images"
DPI = 30
TOLERANCE = 4.0  # root mean square over pixels and colours, of 255: what other versions of fonts and layouts may change
STYLES = ("dark", "light")

N = 600
TURN = 6 * np.sqrt((np.arange(N) + 0.5) / N)
WAVE = 0.05 * np.sin(37.0 * np.arange(N))
SPIRAL = np.stack([(TURN / 6 + WAVE) * np.cos(TURN), (TURN / 6 + WAVE) * np.sin(TURN)], axis=1)
SUNFLOWER = np.sqrt((np.arange(N) + 0.5) / N)[:, None] * np.stack(
    [np.cos(2.39996 * np.arange(N)), np.sin(2.39996 * np.arange(N))], axis=1
)
X = np.linspace(-2, 2, 41)
AT = np.stack(np.meshgrid(X, X, indexing="ij"), axis=-1)
LOG_P = -0.5 * ((AT**2).sum(axis=-1) - 1) ** 2 / 0.1
SCORE = -((AT**2).sum(axis=-1, keepdims=True) - 1) * 2 * AT / 0.1
NOISE = np.geomspace(0.01, 10, 25)
LEAST = 1 / (1 + NOISE)
STEPS = np.arange(1, 301)
REAL = {"a": np.sin(np.arange(300) * 0.7) ** 3 * 10, "b": np.array(["x", "y", "z"], object)[np.arange(300) % 7 % 3]}
SYNTHETIC = {"a": np.sin(np.arange(300) * 0.9) * 9, "b": np.array(["x", "y", "z"], object)[np.arange(300) % 5 % 3]}

FIGURES = {
    "scatter": lambda style: plots.scatter(SPIRAL, labels=np.arange(N) * 3 // N, style=style),
    "row": lambda style: plots.row([SPIRAL, (SPIRAL + SUNFLOWER) / 2, SUNFLOWER], [0.0, 0.5, 1.0], style=style),
    "comparison": lambda style: plots.comparison(SPIRAL, SUNFLOWER, style=style),
    "density_row": lambda style: density_row((X, X), [LOG_P, LOG_P / 3], ["a", "b"], floor=6, style=style),
    "score_fields": lambda style: score_fields((X, X), 0.7 * SCORE, SCORE, LOG_P, style=style),
    "loss_curve": lambda style: plots.loss_curve(
        STEPS, 1 + 3 / STEPS**0.5 + 0.1 * np.sin(STEPS * 2.0), best=1.0, window=20, style=style
    ),
    "excess_curve": lambda style: excess_curve(NOISE, LEAST, LEAST, 0.02 * LEAST**2, 0.002 * LEAST, style=style),
    "error_split": lambda style: error_split({"prior": 0.05, "learning": 0.03}, 0.02, {"prior": 0.005}, style=style),
    "marginals": lambda style: plots.marginals(SYNTHETIC, REAL, style=style),
    "pairs": lambda style: plots.pairs(SYNTHETIC, REAL, style=style),
    "column_gains": lambda style: column_gains(
        ["a", "b"], *np.array([[0.5, 0.2], [0.05, 0.05], [0.3, 0.1]]), title="t", style=style
    ),
}


def figure_of(name, style):
    drawn = FIGURES[name](style)
    return getattr(drawn, "figure", drawn)


def picture(figure):
    """Without its texts, which are drawn otherwise by each version of FreeType; (height, width, 3)."""
    for text in figure.findobj(Text):
        text.set_alpha(0)
        text.set_path_effects([])
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=DPI)
    return Image.open(file).convert("RGB")


def film(style):
    frames = plots.frames([SPIRAL, SUNFLOWER], [0, 1], [SUNFLOWER, SPIRAL], [1, 0], size=160, hold=0, style=style)
    return Image.fromarray(next(iter(frames))[:130])  # without the caption


def difference(one, other):
    """The root mean square; of a page that is a few pixels larger, after it was brought to the size of the other."""
    assert all(abs(a - b) <= 4 for a, b in zip(one.size, other.size, strict=True))
    pixels = [np.asarray(image.resize(other.size), float) for image in (one, other)]
    return float(np.sqrt(((pixels[0] - pixels[1]) ** 2).mean()))


def kept(name, style):
    return Image.open(FOLDER / f"{name}-{style}.png").convert("RGB")


@pytest.mark.slow(only=["excess_curve-dark", "excess_curve-light", "score_fields-light"])
@pytest.mark.skipif(DRAWN_BY > VERSION, reason="matplotlib measures texts otherwise, so axes have other places")
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_looks_as_it_did(name, style):
    assert difference(picture(figure_of(name, style)), kept(name, style)) < TOLERANCE


@pytest.mark.parametrize("style", STYLES)
def test_the_film_looks_as_it_did(style):
    assert difference(film(style), kept("film", style)) < TOLERANCE


def write():
    FOLDER.mkdir(exist_ok=True)
    for style in STYLES:
        pictures = {name: picture(figure_of(name, style)) for name in FIGURES} | {"film": film(style)}
        for name, image in pictures.items():
            image.quantize(96, kmeans=3).save(FOLDER / f"{name}-{style}.png", optimize=True)


if __name__ == "__main__":
    write()
