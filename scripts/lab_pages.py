"""Make the pages of the course that run before anything is installed: python scripts/lab_pages.py FOLDER

Each is one HTML file without a server, from docs/course/pages (base.html, base.css, base.js, labNN.html, labNN.js),
with modules of the explorer, and data: exact distributions, points, and networks. `--train` instead of a folder trains
the networks that do not ship with motes again, and writes them to labNN.json.
"""

import json
import re
import sys
from base64 import b64decode, b64encode
from collections.abc import Callable
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

import motes
from motes.data import Standardiser
from motes.data.arrays import Array
from motes.evaluation.losses import expected_loss
from motes.explorer import export
from motes.points import PointModel

ROOT = Path(__file__).parents[1]
PAGES = ROOT / "docs" / "course" / "pages"
EXPLORER = ROOT / "src" / "motes" / "explorer"
MODULES = ("page/words.js", "page/paint.js", "page/layers.js", "alone/model.js")
LABS = 12
POINTS = 600  # real points of a page
MOONS = "moons"


def page(lab: int) -> str:
    """Return the HTML of the page of a lab."""
    read = lambda name: (PAGES / name).read_text(encoding="utf-8")
    body, own = read(f"lab{lab:02}.html").strip(), read(f"lab{lab:02}.js")
    modules = [(EXPLORER / name).read_text(encoding="utf-8") for name in MODULES]
    # One script: without the lines of import and the word export; the block lets a lab reuse the names of modules.
    script = re.sub(r"^(import .*\n|export )", "", "\n".join([*modules, read("base.js")]), flags=re.MULTILINE)
    words = {
        "title": f"{re.findall('<h1>(.*?)</h1>', body)[0]}: lab {lab} of motes",
        "style": read("base.css").strip(),
        "nav": " ".join([*link(lab - 1, "previous"), f"<span>Lab {lab} of {LABS}</span>", *link(lab + 1, "next")]),
        "body": body,
        "data": json.dumps(DATA.get(lab, dict)(), separators=(",", ":")).replace("<", "\\u003c"),
        "script": f"{script}\n{{\n{own}}}",
    }
    return re.sub(r"\{\{ (\w+) \}\}", lambda found: str(words[found[1]]), read("base.html"))


def link(lab: int, words: str) -> list[str]:
    """Return the link to another lab, if there is one."""
    return [f'<a href="lab{lab:02}.html">{words}</a>'] if 1 <= lab <= LABS else []


# --- what is in a page besides the words ------------------------------------------------------------------------------


def encode(array: ArrayLike) -> str:
    """Encode an array as little-endian float32 in base64."""
    return b64encode(np.asarray(array, "<f4").tobytes()).decode()


def moons(units: Standardiser, points: int = POINTS) -> dict[str, Any]:
    """Return real points of the moons, and the atoms of their exact distribution."""
    exact = motes.truth(MOONS)
    distribution = exact.distribution
    return {
        "points": encode(units.forward(exact.sample(points, seed=2))),
        "at": encode(units.forward(distribution.lows)),
        "weights": encode(distribution.weights),
        "spread": (distribution.spread / units.scale).tolist(),
    }


def network(model: PointModel) -> dict[str, Any]:
    """Return the weights of a model's network, as the page without a server has them."""
    return {"layers": export.layers_of(model.denoiser), "sigmaData": model.denoiser.sigma_data}


def shipped() -> PointModel:
    """Return the model of the moons that ships with motes."""
    return motes.load(EXPLORER / "models" / f"{MOONS}.safetensors")


def clouds() -> dict[str, Any]:
    each = {name: motes.make_shape(name, POINTS, seed=2) for name in ("swiss_roll", "moons", "eight_gaussians")}
    return {name: encode(Standardiser.fit(x).forward(x)) for name, x in each.items()}


def learned_moons() -> dict[str, Any]:
    return moons(shipped().standardiser) | {"network": network(shipped())}


# --- trained for the pages --------------------------------------------------------------------------------------------


def training() -> dict[str, Any]:
    """Return the networks of a training, each after about twice as many steps, its losses and their minimum."""
    changes = {"network.width": 24, "network.depth": 3, "training.steps": 4096, "training.snapshots": 12}
    model = motes.fit(MOONS, changes=changes, verbose=False)
    trained, recipe = model.training, model.recipe
    oracle = motes.truth(MOONS).oracle(model.denoiser.schedule, model.standardiser)
    rows = model.standardiser.forward(motes.make_shape(MOONS, 20_000, seed=3))
    least = expected_loss(oracle, recipe.loss, rows, recipe.times, key=jax.random.key(0)).mean
    ends = np.unique(np.geomspace(1, trained.steps, 60).astype(int))
    losses = [float(trained.losses[start:end].mean()) for start, end in pairwise((0, *ends))]
    shots = [{"step": one.step, "layers": export.layers_of(one.averaged)} for one in trained.snapshots]
    return {
        "shots": shots,
        "losses": [[int(end), round(loss, 5)] for end, loss in zip(ends, losses, strict=True)],
        "least": round(least, 5),
    }


def table() -> dict[str, Any]:
    """Return a table of four columns of labels: its rows, and what a model of it says of a column given others."""
    penguins = motes.dataset("penguins").dropna()
    light, heavy = (float(np.quantile(penguins["body_mass_g"], share)) for share in (1 / 3, 2 / 3))
    weight = np.digitize(penguins["body_mass_g"], [light, heavy])
    columns = {name: penguins[name].astype(str).to_numpy() for name in ("species", "island", "sex")}
    columns["weight"] = np.array(["light", "middle", "heavy"])[weight]
    labels = {name: sorted(set(values)) for name, values in columns.items()}
    labels["weight"] = ["light", "middle", "heavy"]
    changes = {"table.width": 16, "table.depth": 2, "table.relations": False, "table.steps": 1500}
    model = motes.fit(pd.DataFrame(columns), "table", changes=changes, verbose=False)
    states = list(product(*([None, *values] for values in labels.values())))  # every row, known or not
    frame = pd.DataFrame(states, columns=list(labels), dtype=object)
    learned = {}
    for name, values in labels.items():
        shares, order = model.predict_proba(frame, name)
        learned[name] = np.round(shares[:, [order.index(one) for one in values]], 4).tolist()
    codes = np.stack([[labels[name].index(one) for one in columns[name]] for name in labels], axis=1)
    return {"labels": labels, "rows": codes.tolist(), "learned": learned}


def beacons(theta: Array, rng: np.random.Generator) -> Array:
    """Simulate noisy distances (n, 2) from places (n, 2) to the two beacons."""
    away = np.linalg.norm(theta[:, None] - np.array(BEACONS), axis=2)
    return away + NOISE * rng.standard_normal(away.shape)


def posterior() -> dict[str, Any]:
    """Return the network of a posterior model of places given distances to two beacons, and its linear maps."""
    rng = np.random.default_rng(0)
    theta = rng.uniform(-1, 1, (20_000, 2))
    changes = {"network.members": 1, "network.width": 40, "network.depth": 4, "network.scales": 0}
    model = motes.fit(theta, "posterior", given=beacons(theta, rng), changes=changes, verbose=False)

    def at(x: ArrayLike) -> tuple[list[dict[str, str]], Array]:
        """Return the layers given x, and the places of u = 0, e_1, e_2."""
        known = model.given(None, 3, [x])
        u = model.context.add_prediction(np.eye(3, 2, -1), np.asarray(known.context))
        one = jax.tree.map(lambda part: part[0], known)
        return export.layers_of(model.denoiser.given(one)), model.standardiser.inverse(u)

    layers, places = zip(*map(at, [(1.0, 1.0), (2.0, 1.0), (1.0, 2.0)]), strict=True)
    bias = [np.frombuffer(b64decode(one[0]["bias"]), "<f4") for one in layers]
    base, maps = places[0][0], [places[0][k] - places[0][0] for k in (1, 2)]
    # Everything is affine in x and u: from x = (1, 1), per unit of each distance.
    assert np.allclose(
        at((0.4, 1.7))[1][0], base - 0.6 * (places[1][0] - base) + 0.7 * (places[2][0] - base), atol=1e-5
    )
    return {
        "layers": layers[0],
        "bias": [encode(one - bias[0]) for one in bias[1:]],
        "place": [base.tolist(), *((one[0] - base).tolist() for one in places[1:])],
        "scale": [one.tolist() for one in maps],
        "sigmaData": model.denoiser.denoiser.sigma_data,
        "beacons": BEACONS,
        "noise": NOISE,
    }


TRAINED = {4: training, 11: table, 12: posterior}
BEACONS, NOISE = [[-0.5, -0.4], [0.5, -0.4]], 0.08


def stored(lab: int) -> dict[str, Any]:
    """Return what `--train` wrote for a lab."""
    found: dict[str, Any] = json.loads((PAGES / f"lab{lab:02}.json").read_text(encoding="utf-8"))
    return found


DATA: dict[int, Callable[[], dict[str, Any]]] = {
    1: clouds,
    4: lambda: moons(shipped().standardiser) | stored(4),
    5: lambda: moons(Standardiser.identity(2), 2 * POINTS),  # in the units of the tutorial, which does not standardise
    6: learned_moons,
    7: lambda: moons(shipped().standardiser),
    8: learned_moons,
    10: lambda: moons(shipped().standardiser),
    11: lambda: stored(11),
    12: lambda: stored(12),
}


def main(words: list[str]) -> None:
    if words == ["--train"]:
        for lab, make in TRAINED.items():
            (PAGES / f"lab{lab:02}.json").write_text(json.dumps(make()) + "\n", encoding="utf-8")
        return
    if len(words) != 1:
        raise SystemExit(f"got {words}; expected the folder to write, such as build/pages, or --train")
    out = Path(words[0])
    out.mkdir(parents=True, exist_ok=True)
    for lab in range(1, LABS + 1):
        (out / f"lab{lab:02}.html").write_text(page(lab), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
