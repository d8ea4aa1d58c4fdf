"""Write the golden models of this version: python scripts/golden.py

tests/golden/VERSION keeps a small model of each kind, with samples and log-likelihoods. Later versions must load it and
give the same (`tests/test_golden.py`). Run it once for each release; a folder that exists is never changed.
"""

import json
from pathlib import Path

import numpy as np

import motes

OUT = Path(__file__).parents[1] / "tests" / "golden" / motes.__version__
SMALL = {"network.width": 16, "training.steps": 300, "training.averages": 0}


def main() -> None:
    OUT.mkdir(parents=True)
    moons = motes.make_shape("moons", 1000, seed=0)
    keep("points", motes.fit(moons, changes=SMALL), moons[:4])
    theta = np.random.default_rng(0).normal(size=(400, 2))
    seen = theta + np.random.default_rng(1).normal(0, 0.5, (400, 2))
    posterior = motes.fit(theta, given=seen, columns=["a", "b"], changes=SMALL | {"network.members": 2})
    keep("posterior", posterior, theta[:4], given=seen[0])
    tiny = {"table.width": 16, "table.depth": 1, "table.components": 2, "table.own": 1, "table.bins": 16}
    penguins = motes.dataset("penguins")
    keep("table", motes.fit(penguins, changes=tiny | {"table.steps": 100}), penguins[:4])


def keep(name: str, model: motes.Model, rows: object, **given: object) -> None:
    """Write a model, its samples and the log-likelihoods of rows."""
    model.save(OUT / f"{name}.safetensors")
    model = motes.load(OUT / f"{name}.safetensors")
    found = {
        "samples": as_lists(model.sample(4, seed=0, **given)),
        "rows": as_lists(rows),
        "given": {key: np.asarray(value).tolist() for key, value in given.items()},
        "nats": model.score_samples(rows, **given).tolist(),
    }
    (OUT / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def as_lists(rows: object) -> dict[str, list[object]]:
    return motes.data.as_frame(rows).to_pandas().astype(object).where(lambda frame: frame.notna(), None).to_dict("list")


if __name__ == "__main__":
    main()
