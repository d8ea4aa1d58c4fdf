"""Make the pictures of the README and of docs/diagnosis.md, in docs/images: python scripts/pictures.py"""

from pathlib import Path
from tempfile import TemporaryDirectory

import motes
from motes import figures
from motes.exhibits import exhibits
from motes.pictures import View, evenly, film_grid
from motes.sources import read_source, source_of

OUT = Path(__file__).parents[1] / "docs" / "images"


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    film()
    diagnosis("rings", "ddpm", ("excess", "scores", "densities"))
    diagnosis("moons", "tutorial", ("error_split",))


def film() -> None:
    x = motes.draw("swiss_roll", 10_000)
    model = motes.fit(x)
    grid = film_grid(model)
    view = View(model, evenly(len(grid), 40), grid)
    forward, reverse = view.forward(x, seed=1), view.reverse(len(x), seed=1)
    box = figures.limits_of(forward[-1], forward[0])
    frames = figures.frames(
        forward[::-1], view.times[::-1], reverse, view.times, limits=box, size=360, hold=12, note=view.note
    )
    figures.save_gif(frames, OUT / "swiss_roll.gif", fps=14)


def diagnosis(shape: str, recipe: str, names: tuple[str, ...]) -> None:
    chosen = motes.load_recipe(recipe)
    model = motes.fit(read_source(shape, chosen, 0).table, chosen, source=shape)
    found = motes.diagnose_model(model)
    print(found)
    with TemporaryDirectory() as folder:
        for path in exhibits(model, found, source_of(model).truth, Path(folder), t=None, style="dark"):
            if path.stem in names:
                (OUT / path.name).write_bytes(path.read_bytes())


if __name__ == "__main__":
    main()
