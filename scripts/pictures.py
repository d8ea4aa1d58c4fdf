"""Make the pictures of the README and of docs/*.md, in docs/images: python scripts/pictures.py [NAME ...]"""

import json
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import motes
from motes import plots
from motes.cli.common import Drawing
from motes.cli.figures import Album, diagnosis_figures
from motes.evaluation.sources import source_of
from motes.plots.chains import Distances, ModelView, evenly
from motes.plots.curves import rank_curves

ROOT = Path(__file__).parents[1]
OUT = ROOT / "docs" / "images"


def main(names: list[str]) -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    makers = (film, guidance, posterior, predicted, pairs, diagnoses, card, panel)
    for make in makers:
        if not names or make.__name__ in names:
            make()


def diagnoses() -> None:
    diagnosis("rings", "ddpm", ("excess", "scores", "densities"))
    diagnosis("moons", "tutorial", ("error_split",))


def card() -> None:
    """The picture that appears where a page of the site is shared: a swiss roll that dissolves, 1200 x 630 pixels."""
    style, width = plots.STYLES["dark"], 1200
    x = motes.data.Standardiser.fit(roll := motes.make_shape("swiss_roll", 9000)).forward(roll)
    figure = plt.figure(figsize=(width / 100, 6.3), dpi=100, facecolor=style.background)
    ax = figure.add_axes((0, 0, 1, 1))
    rng = np.random.default_rng(0)
    for k, noise in enumerate((0.0, 0.006, 0.05, 0.4)):  # the share of noise: sin^2 of the angle
        cloud = np.sqrt(1 - noise) * x + np.sqrt(noise) * rng.normal(size=x.shape)
        ax.scatter(252 * k + 215 + 78 * cloud[:, 0], 225 + 78 * cloud[:, 1], s=1.1, lw=0, alpha=0.75,
                   color=("#63b8ff", "#a3b7c4", "#d1b58c", style.accent)[k])  # fmt: skip
    ax.set(xlim=(0, width), ylim=(0, 630))
    ax.axis("off")
    ax.text(80, 548, "motes", color=style.foreground, size=48, weight="bold", va="center")
    ax.text(84, 466, "diffusion models for points and tables: watch every step", color="#b8ab9a", size=21, va="center")
    figure.savefig(OUT / "card.png", facecolor=style.background)


def film() -> None:
    x = motes.make_shape("swiss_roll", 10_000)
    model = motes.fit(x)
    grid = Distances.of(model, x).film(model.grid)
    view = ModelView(model, evenly(len(grid), 40), grid)
    forward, reverse = view.forward(x, seed=1), view.reverse(len(x), seed=1)
    box = plots.limits_of(forward[-1], forward[0])
    frames = plots.frames(forward[::-1], view.times[::-1], reverse, view.times, view=view.drawn(box), size=360, hold=12)
    plots.save_gif(frames, OUT / "swiss_roll.gif", fps=14)


def guidance() -> None:
    x, labels = motes.data.make_labelled_shape("pinwheel", 10_000)
    changes = {"schedule.sigma_max": 40.0}
    model = motes.fit(x, changes=changes, labels=labels)
    short = motes.fit(x, changes=changes | {"training.steps": 150}, labels=labels)
    classes = np.arange(5000) % 5
    draw = lambda guidance=None: (model.sample(len(classes), label=classes, sampling={"guidance": guidance}), classes)
    clouds = {
        "fresh points": motes.data.make_labelled_shape("pinwheel", len(classes), seed=5),
        "the model": draw(),
        "guidance 3": draw(3.0),
        "by a worse copy": draw(motes.Guidance(2.0, weak=short)),
    }
    plots.sheet(clouds, limits=plots.limits_of(x)).savefig(OUT / "guidance.png")


def posterior() -> None:
    """Two moons of Lueckmann et al. 2021: parameters given one observation, and whether the model is calibrated."""
    rng = np.random.default_rng(0)

    def simulate(theta: np.ndarray) -> np.ndarray:
        angle, radius = rng.uniform(-np.pi / 2, np.pi / 2, len(theta)), rng.normal(0.1, 0.01, len(theta))
        moon = np.stack([radius * np.cos(angle) + 0.25, radius * np.sin(angle)], axis=1)
        return moon + np.stack([-np.abs(theta.sum(axis=1)), theta[:, 1] - theta[:, 0]], axis=1) / np.sqrt(2)

    theta, fresh = rng.uniform(-1, 1, (10_000, 2)), rng.uniform(-1, 1, (500, 2))
    model = motes.fit(theta, columns=["theta1", "theta2"], given=simulate(theta))
    figure = plt.figure(figsize=(9, 4), layout="constrained")
    one, other = figure.subplots(1, 2)
    plots.scatter(model.sample(5_000, given=[0.0, 0.0]), title="draws given x = (0, 0)", ax=one, style="light")
    found = motes.calibration(model, fresh, simulate(fresh))
    rank_curves(dict(zip(found.names, found.ranks.T, strict=True)), found.draws, ax=other)
    figure.savefig(OUT / "posterior.png", dpi=110)


def predicted() -> None:
    """A damped oscillation: its parameters given 12 noisy readings, and readings simulated again from the draws."""
    rng, times = np.random.default_rng(0), np.linspace(0, 6, 12)
    low, high = np.array([0.5, 0.0, 1.0]), np.array([2.0, 0.8, 4.0])

    def simulate(theta: np.ndarray) -> np.ndarray:
        a, c, w = theta.T[..., None]
        return a * np.exp(-c * times) * np.cos(w * times) + 0.15 * rng.normal(size=(len(theta), 12))

    theta = rng.uniform(low, high, (10_000, 3))
    names = ["amplitude", "damping", "frequency"]
    bounds = {name: (float(a), float(b)) for name, a, b in zip(names, low, high, strict=True)}
    model = motes.fit(theta, columns=names, given=simulate(theta), bounds=bounds)
    truth = np.array([[1.2, 0.35, 1.9]])
    seen = simulate(truth)[0]
    draws = model.sample(5_000, given=seen)
    shown = dict(zip(names, draws.T, strict=True))
    marks = dict(zip(names, truth[0], strict=True))
    left = plots.pairs(shown, contours=(0.5, 0.9), truth=marks)
    again = simulate(draws)
    right = plt.figure(figsize=(5, 4), layout="constrained")
    ax = right.subplots()
    for share, alpha in ((0.95, 0.2), (0.5, 0.5)):
        ends = np.quantile(again, [(1 - share) / 2, (1 + share) / 2], axis=0)
        ax.fill_between(
            times, *ends, color="#2f7fd0", alpha=alpha, linewidth=0, label=f"{100 * share:.0f} % of simulated data"
        )
    ax.plot(times, seen, "o", color="#c8541a", label="observed")
    ax.set(xlabel="time", ylabel="reading")
    ax.legend(frameon=False)
    images = []
    for figure in (left, right):
        file = BytesIO()
        figure.savefig(file, format="png", dpi=100, facecolor="white")
        images.append(Image.open(file).convert("RGB"))
    height = max(image.height for image in images)
    whole = Image.new("RGB", (sum(image.width for image in images), height), "white")
    at = 0
    for image in images:
        whole.paste(image, (at, (height - image.height) // 2))
        at += image.width
    whole.save(OUT / "predicted.png", optimize=True)


def pairs() -> None:
    """Five columns of penguins, of a model of all columns, beside the real ones."""
    real = motes.data.as_frame(motes.dataset("penguins"))
    synthetic = motes.fit("penguins").draw(len(real))
    names = ("species", "bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g")
    ours, theirs = ({name: rows[name] for name in names} for rows in (synthetic, real))
    plots.pairs(ours, theirs, title=f"{len(synthetic)} synthetic rows", style="dark").savefig(OUT / "pairs.png")


# Title of a plot, where its line stands, whether its scale is logarithmic, and the figure of one seed of
# `benchmarks/panel.py`.
PANEL_PLOTS: tuple[tuple[str, float, bool, Callable[[dict[str, Any]], float]], ...] = (
    ("whole rows\nAUC of trees", 0.5, False, lambda one: one["auc"]),
    ("worst pair\nAUC of trees", 0.5, False, lambda one: max(one["pairs"].values())),
    ("regressions\nstandard errors", 1.0, True, lambda one: one["conclusions"]),
    ("95 % intervals\ncover, %", 95.0, False, lambda one: 100 * one["covered"]),
    ("worst mean\nerror, %", 3.0, True, lambda one: 100 * abs(one["mean"]["worst"])),
    ("worst sd\nerror, %", 10.0, True, lambda one: 100 * abs(one["sd"]["worst"])),
)


def panel() -> None:
    """Figures of the tables of the panel, a row for each: a dot for a seed of each method, from its benchmark."""
    tables = json.loads((ROOT / "benchmarks" / "results" / "panel.json").read_text())["tables"]
    colors = {"real rows": "#9a9a9a", "CART": "#2f7fd0", "motes": "#c8541a"}
    names = sorted(tables, key=lambda name: -np.mean([one["auc"] for one in tables[name]["motes"].values()]))
    figure = plt.figure(figsize=(8, 1.4 + 0.24 * len(names)), layout="constrained")
    axes = figure.subplots(1, len(PANEL_PLOTS), sharey=True)
    for ax, (title, line, logarithmic, value) in zip(axes, PANEL_PLOTS, strict=True):
        ax.axvline(line, color="#444444", linewidth=0.8)
        for method, color in colors.items():
            found = [(value(one), row) for row, name in enumerate(names) for one in tables[name][method].values()]
            x, rows = zip(*found, strict=True)
            ax.scatter(x, rows, s=18, color=color, alpha=0.8, linewidth=0, label=method)
        if logarithmic:  # a few figures are many times the others
            ax.set_xscale("log")
            ax.xaxis.set_major_formatter("{x:g}")
            ax.xaxis.set_minor_formatter("")
        ax.set_title(title, size=8.5)
        ax.set_yticks(range(len(names)), names)
        ax.grid(axis="y", color="#e6e6e6", linewidth=0.8)
        ax.set_axisbelow(True)
        ax.tick_params(labelsize=8, length=0)
        ax.spines[["top", "right", "left"]].set_visible(False)
    axes[0].set_ylim(-0.6, len(names) - 0.4)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(OUT / "panel.png", dpi=160, facecolor="white")


def diagnosis(shape: str, recipe: str, names: tuple[str, ...]) -> None:
    model = motes.fit(shape, recipe)
    found = model.diagnose()
    print(found)
    with TemporaryDirectory() as folder:
        album = Album(Path(folder), Drawing(), shape)
        for path in diagnosis_figures(model, found, source_of(model, shape), album, t=None):
            if path.stem in names:
                (OUT / path.name).write_bytes(path.read_bytes())


if __name__ == "__main__":
    main(sys.argv[1:])
