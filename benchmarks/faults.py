"""Does `motes diagnose` find what is wrong, and does the fix that it prints help?

    python -m pytest -m long -n 2 tests/test_faults.py --junitxml=REPORT    plant all faults, and check each
    python benchmarks/faults.py REPORT...                                   write the results to results/faults.json

Each fault is planted on three shapes and a table. A model is trained with it and diagnosed; the first finding's options
are given to the recipe that was used, a second model is trained, and the same number is looked at again. The clean
trainings are of recipes and data of which nothing is wrong.
"""

from __future__ import annotations

import argparse
import json
import shlex
import xml.etree.ElementTree as ET
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from provenance import record

import motes

ROWS = 2048  # samples of a diagnosis
SHAPES = ("moons", "eight_gaussians", "swiss_roll")
MODAL = ("moons", "eight_gaussians", "rings")


def numbers(n: int = 4000, seed: int = 0) -> np.ndarray:
    """A table of four correlated columns, of which two lie on a bent sheet."""
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, n))
    bent = np.where(rng.random(n) < 0.5, 1.0, -1.0) * np.abs(a) + 0.2 * rng.standard_normal(n)
    return np.stack([a, bent, 0.9 * b + 0.4 * a, np.exp(0.5 * b)], axis=1)


def alike(n: int = 4000, seed: int = 0) -> np.ndarray:
    """Eight columns that are nearly one, of two modes."""
    rng = np.random.default_rng(seed)
    one = np.where(rng.random((n, 1)) < 0.5, 1.0, -1.0) + 0.3 * rng.standard_normal((n, 1))
    return one + 0.3 * rng.standard_normal((n, 8))


def simulations(n: int, seed: int = 0) -> pd.DataFrame:
    """Two moons of sbi's benchmark: parameters, and what is observed with them."""
    from posteriors import TASKS

    rng, task = np.random.default_rng(seed), TASKS["two_moons"]
    theta = task.prior(rng, n)
    return pd.DataFrame(np.hstack([theta, task.simulate(rng, theta)]), columns=[*task.columns, "x1", "x2"])


def rows_of(source: str, n: int = 4000) -> np.ndarray:
    """Rows of a shape, or of the table."""
    return numbers(n) if source == "table" else motes.make_shape(source, n, seed=0)


def many(source: str) -> np.ndarray | None:
    """Of the table so many rows that 2,000 are held out, by which a coarse grid is seen; by 400 it is not."""
    return numbers(20_000) if source == "table" else None


@dataclass(frozen=True)
class Fault:
    """What is planted.

    Attributes:
        findings: of which one must be named first.
        measure: the number that the fix must halve, of a diagnosis as a dictionary.
        changes: of the recipe.
        recipe: its name.
        sources: shapes, and "table".
        data: (source) -> rows that are trained on, or None: the source's own.
        after: what the rows become where only they can be put right.
    """

    findings: tuple[str, ...]
    measure: Callable[[dict[str, Any]], float]
    changes: dict[str, Any] = field(default_factory=dict)
    recipe: str = "default"
    sources: tuple[str, ...] = (*SHAPES, "table")
    data: Callable[[str], Any] = lambda source: None
    after: Callable[[Any], Any] | None = None


def part(name: str) -> Callable[[dict[str, Any]], float]:
    """That part of the squared distance."""
    return lambda found: found["split"]["parts"][name]["value"]


def nats(found: dict[str, Any]) -> float:
    """The excess loss."""
    return found["excess"]["nats"]


def value(*names: str) -> Callable[[dict[str, Any]], float]:
    """The number of the first finding of these names; 0 where it is no longer found."""
    return lambda found: next((one["value"] for one in found["findings"] if one["name"] in names), 0.0)


PRIOR, STEPS = part("prior"), part("discretisation")
SHORT = {"training.steps": 1500, "training.ema": 0.995}  # enough where the network is not what is wrong

FAULTS = {
    "no end in noise, ddpm": Fault(
        ("prior_mismatch",), value("prior_mismatch"), {"schedule.end": 3e-3} | SHORT, "ddpm"
    ),
    "no end in noise, a covariance that fits": Fault(
        ("prior_mismatch",), value("prior_mismatch"), {"schedule.start": 1e-6, "schedule.end": 1e-3} | SHORT, "ddpm"
    ),
    "no end in noise, correlated columns": Fault(
        ("prior_mismatch",), PRIOR, {"schedule.sigma_max": 1.0} | SHORT, sources=("table",), data=lambda _: alike()
    ),
    "noise range, high end too low": Fault(("prior_mismatch",), PRIOR, {"schedule.sigma_max": 0.3} | SHORT),
    "noise range, high end too high": Fault(
        ("wasted_steps",), value("wasted_steps"), {"schedule.end": 0.6} | SHORT, "ddpm"
    ),
    "noise range, low end too high": Fault(("coarse_grid",), STEPS, {"grid.sigma_min": 1.0} | SHORT, data=many),
    "unscaled columns": Fault(
        ("unscaled_columns",),
        value("unscaled_columns"),
        {"data.standardise": False} | SHORT,
        data=lambda source: 300 * rows_of(source),
    ),
    "duplicates": Fault(
        ("duplicate_rows",),
        value("duplicate_rows"),
        SHORT,
        data=lambda source: np.concatenate([rows_of(source, 2000), rows_of(source, 2000)[:500]]),
        after=lambda rows: np.unique(rows, axis=0),
    ),
    "coarse grid": Fault(("coarse_grid",), STEPS, {"grid.steps": 4} | SHORT, data=many),
    "coarse grid, ddpm": Fault(("coarse_grid",), STEPS, {"grid.steps": 2} | SHORT, "ddpm", data=many),
    "times at high noise": Fault(("wrong_times",), nats, {"times.mean": 1.5, "times.std": 0.5} | SHORT),
    "times at low noise: misplaced modes": Fault(
        ("wrong_times",),
        nats,
        {"times.mean": -4.0, "times.std": 0.6} | SHORT,
        sources=(*MODAL, "table"),
    ),
    "too few steps of training": Fault(("too_few_steps",), nats, {"training.steps": 100}),
    "ten steps of training": Fault(("too_few_steps",), nats, {"training.steps": 10}),
    "too small a network": Fault(("network_too_small",), nats, {"network.width": 4, "network.depth": 1} | SHORT),
    "no average of the weights": Fault(
        ("ema_too_short",), nats, {"training.decay": "constant", "training.weights": "last"} | SHORT
    ),
    "a short average of the weights": Fault(
        ("ema_too_short",), nats, SHORT | {"training.decay": "constant", "training.ema": 0.9}
    ),
    "average of the weights too long": Fault(("ema_too_long",), nats, SHORT | {"training.ema": 0.9999}),
    "learning rate too high": Fault(
        ("learning_rate_too_high",), nats, {"training.optimiser": "adam", "training.learning_rate": 0.3} | SHORT
    ),
    "learning rate too low": Fault(("learning_rate_too_low",), nats, {"training.learning_rate": 3e-5} | SHORT),
    "memorising": Fault(
        ("memorising", "overtrained"),
        value("overtrained"),
        {"network.width": 128},
        sources=(*MODAL, "table"),
        data=lambda source: rows_of(source, 100),
    ),
    "a label dropped too rarely": Fault(
        ("label_rarely_dropped",),
        nats,
        {"data.label": "class", "training.label_dropout": 0.0} | SHORT,
        sources=("moons", "eight_gaussians", "rings"),
    ),
}


def saved(rows: Any, source: str, folder: Path, name: str) -> str:
    """The name of a file of rows, which is written."""
    path = folder / f"{''.join(c if c.isalnum() else '_' for c in name)}_{source}.npy"
    np.save(path, rows)
    return str(path)


def prepared(fault: Fault, source: str, folder: Path, name: str) -> str:
    """What is trained on: the name of a shape, or of a file that is written."""
    rows = fault.data(source)
    if rows is None and source != "table":
        return source
    return saved(rows_of(source) if rows is None else rows, source, folder, name)


def least_nats(path: str, seed: int) -> float:
    """The excess loss after a clean training on a file, of which nobody knows how low the loss can go.

    There the excess is over simple models, and below 0 where the network is better.
    """
    return nats(motes.fit(path, "default", seed=seed, verbose=False).diagnose(n=ROWS).to_dict())


def options(fix: str) -> list[str]:
    """`--set a=b --set c=d` as a list of changes."""
    words = shlex.split(fix)
    assert words[::2] == ["--set"] * (len(words) // 2), fix
    return words[1::2]


def run(name: str, fault: Fault, source: str, folder: Path, seed: int = 0) -> dict[str, Any]:
    """Plant, diagnose, mend, train again, diagnose again."""
    data = prepared(fault, source, folder, name)
    recipe = motes.load_recipe(fault.recipe, fault.changes)
    found = motes.fit(data, recipe, seed=seed, verbose=False).diagnose(n=ROWS).to_dict()
    names = [one["name"] for one in found["findings"]]
    first = found["findings"][0] if names else {"fix": ""}
    case = {"fault": name, "source": source, "expected": fault.findings, "findings": names, "fix": first["fix"]}
    case["values"] = [one["value"] for one in found["findings"]]
    least = least_nats(data, seed) if fault.measure is nats and source == "table" else 0.0
    case["before"] = fault.measure(found) - least
    mended = recipe
    if first["fix"]:
        mended = motes.load_recipe(recipe, options(first["fix"]))
    elif fault.after is not None:
        data = saved(fault.after(np.load(data)), source, folder, name + " mended")
    else:
        return case | {"after": case["before"]}
    again = motes.fit(data, mended, seed=seed, verbose=False).diagnose(n=ROWS).to_dict()
    case["after"] = fault.measure(again) - least
    case["findings after"] = [one["name"] for one in again["findings"]]
    return case


def cases(only: str) -> Iterator[tuple[str, Fault, str]]:
    """All that are to be run."""
    for name, fault in FAULTS.items():
        for source in fault.sources:
            if only in f"{name} {source}":
                yield name, fault, source


CLEAN_SEEDS = {
    "default": dict.fromkeys((*motes.data.SHAPES, "table", "alike"), 4),
    "ddpm": {source: 4 for source in motes.data.SHAPES if source != "rings"},  # whose 0.4 nats are truly missing
    "posterior": {"simulations": 3},
    "any": {"simulations": 6},
    "table": dict.fromkeys(("penguins", "iris", "wine", "diabetes", "table"), 3),
}


def clean(count: int, recipes: Collection[str] = tuple(CLEAN_SEEDS)) -> Iterator[tuple[str, str, int]]:
    """Recipes and data of which nothing is wrong: (recipe, source, seed), 100 of them."""
    found = [
        (recipe, source, seed)
        for recipe in recipes
        for source, seeds in CLEAN_SEEDS[recipe].items()
        for seed in range(1, seeds + 1)
    ]
    return iter(found[:count])


def diagnosed(recipe: str, source: str, seed: int, folder: Path) -> Any:
    """The diagnosis of a clean training."""
    changes: dict[str, Any] = {}
    if source == "simulations":
        table, changes = simulations(4000), {"data.given": ["x1", "x2"]}
        source = str(folder / "simulations.csv")
        table.to_csv(source, index=False)
    elif source in ("table", "alike"):
        # By heart recipe `default` learns 3,600 rows of eight columns, a little: that would be no false alarm.
        rows = alike(10_000) if source == "alike" else numbers(1000 if recipe == "table" else 4000)
        source = saved(rows, source, folder, f"clean {recipe}")
    size = {} if recipe == "table" else {"n": ROWS}  # samples of points
    return motes.fit(source, motes.load_recipe(recipe, changes), seed=seed, verbose=False).diagnose(seed=seed, **size)


def measured(reports: Sequence[Path]) -> dict[str, Any]:
    """What the tests in reports of pytest measured; of a test that was run again, the last."""
    tests: dict[str | None, tuple[str, Any]] = {}
    for report in reports:
        for test in ET.parse(report).getroot().iter("testcase"):
            for one in test.iter("property"):
                tests[test.get("name")] = (one.attrib["name"], json.loads(one.attrib["value"]))
    planted, clean = ([value for name, value in tests.values() if name == kind] for kind in ("faults", "clean"))
    order = {(name, source): place for place, (name, _, source) in enumerate(cases(""))}
    return {"faults": sorted(planted, key=lambda case: order[case["fault"], case["source"]]), "clean": clean}


def main() -> None:
    """Write the file of results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reports", type=Path, nargs="+")
    command = "python benchmarks/faults.py REPORT..., after python -m pytest -m long tests/test_faults.py"
    found = measured(parser.parse_args().reports)
    path = Path(__file__).parent / "results" / "faults.json"
    record(path, command, found)
    print(f"{len(found['faults'])} faults and {len(found['clean'])} sets of clean trainings are in {path}")


if __name__ == "__main__":
    main()
