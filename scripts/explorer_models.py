"""Train the small models that come with the explorer: python scripts/explorer_models.py"""

from pathlib import Path

import motes

OUT = Path(__file__).parents[1] / "src" / "motes" / "explorer" / "models"
SHAPES = ("swiss_roll", "moons", "checkerboard", "pinwheel", "two_spirals")
WITH_CLASSES = ("pinwheel",)  # so that one can be asked for, with guidance


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    for shape in SHAPES:
        path = OUT / f"{shape}.safetensors"
        motes.fit(shape, changes={"data.label": "class"} if shape in WITH_CLASSES else {}).save(path)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
