"""Make the pictures of the README, docs/diagnosis.md and docs/classes.md, in docs/images: python scripts/pictures.py"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import motes
from motes import figures
from motes.runs import Album, Drawing, ModelView, diagnosis_figures, evenly, film_grid

OUT = Path(__file__).parents[1] / "docs" / "images"


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    film()
    guidance()
    diagnosis("rings", "ddpm", ("excess", "scores", "densities"))
    diagnosis("moons", "tutorial", ("error_split",))


def film() -> None:
    x = motes.make_shape("swiss_roll", 10_000)
    model = motes.fit(x).inner
    grid = film_grid(model, x)
    view = ModelView(model, evenly(len(grid), 40), grid)
    forward, reverse = view.forward(x, seed=1), view.reverse(len(x), seed=1)
    box = figures.limits_of(forward[-1], forward[0])
    frames = figures.frames(
        forward[::-1], view.times[::-1], reverse, view.times, view=view.drawn(box), size=360, hold=12
    )
    figures.save_gif(frames, OUT / "swiss_roll.gif", fps=14)


def guidance() -> None:
    x, labels = motes.make_labelled_shape("pinwheel", 10_000)
    changes = {"schedule.sigma_max": 40.0}
    model = motes.fit(x, changes=changes, labels=labels).inner
    short = motes.fit(x, changes=changes | {"training.steps": 150}, labels=labels).inner
    classes = np.arange(5000) % 5
    draw = lambda guidance=None: (model.sample(len(classes), label=classes, how={"guidance": guidance}), classes)
    clouds = {
        "fresh points": motes.make_labelled_shape("pinwheel", len(classes), seed=5),
        "the model": draw(),
        "guidance 3": draw(3.0),
        "by a worse copy": draw(motes.Guidance(2.0, weak=short)),
    }
    figures.sheet(clouds, limits=figures.limits_of(x)).savefig(OUT / "guidance.png")


def diagnosis(shape: str, recipe: str, names: tuple[str, ...]) -> None:
    model = motes.fit(shape, recipe)
    found = model.diagnose()
    print(found)
    with TemporaryDirectory() as folder:
        album = Album(Path(folder), Drawing(), shape)
        for path in diagnosis_figures(model.inner, found, motes.truth(shape), album, t=None):
            if path.stem in names:
                (OUT / path.name).write_bytes(path.read_bytes())


if __name__ == "__main__":
    main()
