"""How often does an evaluation find a difference where there is none, and does it find those that it says it would?

Real rows are compared with real rows, and one verdict or more of the whole evaluation that says "differs" is a false
alarm. Then differences of the size that "would have been seen" are planted, and the share of the evaluations that find
them is counted: it should be 80 %.

    python benchmarks/verdicts.py [--repeats 500] [--rows 300] [--only points|table|power] [--seed 0] [--out FILE]
"""

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from provenance import record
from scipy.stats import binomtest

import motes
from motes.data import as_frame
from motes.evaluation import Evaluation, Modes, evaluate_points, evaluate_tables
from motes.tables import Schema

Draw = Callable[[np.random.Generator, int], np.ndarray]
CIRCLE = 2 * np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=1)


def shape(name: str) -> Draw:
    """Independent draws; `motes.make_shape` spaces some shapes evenly."""
    return lambda rng, n: motes.truth(name).sample(n, seed=int(rng.integers(2**31)))


POINTS: dict[str, Draw] = {
    "moons": shape("moons"),
    "swiss_roll": shape("swiss_roll"),
    "eight_gaussians": shape("eight_gaussians"),
    "Student's t, 1.5 degrees": lambda rng, n: rng.standard_t(1.5, (n, 2)),
    "Cauchy": lambda rng, n: rng.standard_cauchy((n, 2)),
    "log-normal, 5 columns": lambda rng, n: np.exp(1.5 * rng.standard_normal((n, 5))),
    "Gaussian with 1 % outliers": lambda rng, n: (
        rng.standard_normal((n, 2)) * np.where(rng.random((n, 1)) < 0.01, 50, 1)
    ),
    "half of the entries 0": lambda rng, n: rng.standard_normal((n, 3)) * (rng.random((n, 3)) < 0.5),
}


def penguins(rng: np.random.Generator, n: int) -> pd.DataFrame:
    """Rows like Palmer's penguins: species on islands, four numbers, a label with missing entries."""
    species = rng.choice(3, n, p=[0.44, 0.20, 0.36])
    island = np.where(species == 0, rng.integers(0, 3, n), np.where(species == 1, 1, 0))
    male = rng.random(n) < 0.5
    means = np.array([[38.8, 18.3, 190.0, 3700.0], [48.8, 18.4, 196.0, 3733.0], [47.5, 15.0, 217.0, 5076.0]])
    spread = np.array([2.3, 0.8, 6.0, 330.0])
    numbers = means[species] + spread * (0.8 * rng.standard_normal((n, 4)) + (male[:, None] - 0.5))
    rows = pd.DataFrame(
        {
            "species": np.array(["Adelie", "Chinstrap", "Gentoo"])[species],
            "island": np.array(["Biscoe", "Dream", "Torgersen"])[island],
            "bill_length_mm": numbers[:, 0].round(1),
            "bill_depth_mm": numbers[:, 1].round(1),
            "flipper_length_mm": numbers[:, 2].round(),
            "body_mass_g": 25 * (numbers[:, 3] / 25).round(),
            "sex": np.where(male, "male", "female"),
        }
    )
    rows.loc[rng.random(n) < 0.03, "sex"] = None
    return rows


def points_evaluated(draw: Draw, rows: int, seed: int, *, brief: bool = False) -> Evaluation:
    rng = np.random.default_rng([31415, seed])
    modes = Modes.at(CIRCLE) if draw is POINTS["eight_gaussians"] else None
    return evaluate_points(*(draw(rng, rows) for _ in range(3)), modes=modes, brief=brief)


def table_evaluated(rows: int, seed: int) -> Evaluation:
    """As `motes evaluate penguins` has it: 310 training rows, 34 held out, ten times as many synthetic ones."""
    rng = np.random.default_rng([27182, seed])
    training, held_out, samples = (as_frame(penguins(rng, n)) for n in (310, 34, 10 * rows))
    return evaluate_tables(samples, held_out, training, Schema.fit(training), target="sex")


def size(name: str, evaluated: Callable[[int], Evaluation], seeds: range) -> dict[str, float]:
    """In how many real-against-real evaluations a difference was found."""
    alarms = sum(any(entry.verdict.differs for entry in evaluated(seed).entries) for seed in seeds)
    return said(name, alarms, len(seeds))


def said(name: str, count: int, of: int) -> dict[str, float]:
    """Print and return a count, and its share with the exact interval of 95 %."""
    low, high = binomtest(count, of).proportion_ci(method="exact")
    print(f"{name:<40} {count:>3} of {of}: {count / of:.1%} (95 % interval {low:.1%} to {high:.1%})", flush=True)
    return {"count": count, "of": of, "low": round(low, 4), "high": round(high, 4)}


def power(rows: int, seeds: range) -> dict[str, dict[str, float]]:
    """Plant what would have been seen, and count how often it is."""
    base = POINTS["eight_gaussians"]
    names = ("sliced_w2", "precision", "recall")
    nulls = [points_evaluated(base, rows, seed + 10**6) for seed in range(20)]
    seen = {
        name: statistics.median(
            entry.verdict.detectable for found in nulls for entry in found.entries
            if entry.name == name and entry.verdict.detectable
        )
        for name in names
    }  # fmt: skip
    found = {}
    for name in names:
        hits = sum(planted(name, seen[name], rows, seed) for seed in seeds)
        found[name] = said(f"{name}, {seen[name]:.3g} planted", hits, len(seeds)) | {"planted": round(seen[name], 4)}
    return found


def planted(name: str, by: float, rows: int, seed: int) -> bool:
    """Whether the metric finds its own difference, of this size."""
    rng = np.random.default_rng([16180, seed])
    samples, real, other = (POINTS["eight_gaussians"](rng, rows) for _ in range(3))
    if name == "sliced_w2":  # a shift by s costs s / sqrt(2), in standard deviations of a column
        samples[:, 0] += np.sqrt(2) * by * np.sqrt(real.var(axis=0).mean())
    else:  # so many are where nothing of the others is
        rows_of = samples if name == "precision" else real
        away = rng.random(rows) < by
        rows_of[away] = 0.4 * rng.normal(size=(away.sum(), 2))
    found = evaluate_points(samples, real, other, modes=Modes.at(CIRCLE))
    return next(entry.verdict.differs for entry in found.entries if entry.name == name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=500)
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--only", choices=("points", "table", "power"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results as JSON")
    arguments = parser.parse_args()
    repeats, rows, first = arguments.repeats, arguments.rows, arguments.seed * 10**7
    found: dict[str, dict[str, dict[str, float]]] = {}
    if arguments.only in (None, "points"):
        each = range(first, first + -(-repeats // len(POINTS)))
        alarms = found["false alarms"] = {
            name: size(name, lambda seed, draw=draw: points_evaluated(draw, rows, seed), each)
            for name, draw in POINTS.items()
        }
        total = sum(one["count"] for one in alarms.values())
        alarms["all points"] = said("all points", total, len(each) * len(POINTS))
    if arguments.only in (None, "table"):
        alarm = size("a table like penguins", lambda seed: table_evaluated(rows, seed), range(first, first + repeats))
        found.setdefault("false alarms", {})["a table like penguins"] = alarm
    if arguments.only in (None, "power"):
        found["planted differences"] = power(rows, range(first, first + repeats // 5))
    record(arguments.out, "python benchmarks/verdicts.py", found, rows=rows)


if __name__ == "__main__":
    main()
