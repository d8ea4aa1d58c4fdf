"""Train the small models that come with the explorer: python scripts/explorer_models.py"""

from pathlib import Path
from typing import Any

import motes

OUT = Path(__file__).parents[1] / "src" / "motes" / "explorer" / "models"
SHAPES = ("swiss_roll", "moons", "checkerboard", "pinwheel", "two_spirals")
WITH_CLASSES = ("pinwheel",)  # so that one can be asked for, with guidance
TABLES: dict[str, dict[str, Any]] = {  # small enough to come with motes: a narrow network needs more steps
    "penguins": {"table.width": 12, "table.depth": 2, "table.steps": 1500}
}
SEEDS = {"penguins": 2}  # how well so narrow a network knows the two missing masses is a matter of chance


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    classes = {shape: {"data.label": "class"} if shape in WITH_CLASSES else {} for shape in SHAPES}
    sources: dict[str, dict[str, Any]] = classes | TABLES
    for source, changes in sources.items():
        path = OUT / f"{source}.safetensors"
        motes.fit(source, changes=changes, seed=SEEDS.get(source, 0)).save(path)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
