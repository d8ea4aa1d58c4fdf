"""Make docs/images/swiss_roll.gif, the picture of the README: python scripts/readme_picture.py"""

from pathlib import Path

import motes
from motes import figures
from motes.pictures import View, evenly

OUT = Path(__file__).parents[1] / "docs" / "images" / "swiss_roll.gif"


def main() -> None:
    x = motes.draw("swiss_roll", 10_000)
    model = motes.fit(x)
    view = View(model, evenly(len(model.grid), 40))
    forward, reverse = view.forward(x, seed=1), view.reverse(len(x), seed=1)
    box = figures.limits_of(forward[-1], forward[0])
    frames = figures.frames(
        forward[::-1], view.times[::-1], reverse, view.times, limits=box, size=360, hold=12, note=view.note
    )
    OUT.parent.mkdir(parents=True, exist_ok=True)
    figures.save_gif(frames, OUT, fps=14)


if __name__ == "__main__":
    main()
