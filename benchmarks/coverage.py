"""How often do 95 % intervals from synthetic rows contain the truth?

    python benchmarks/coverage.py --kept coverage.jsonl [--replications 200] [--out coverage.json]

Each replication draws 1,000 rows from a generator with known parameters, fits a model and computes five estimates with
standard errors: a mean, a share, a median, a correlation and a coefficient of a logistic regression. Their intervals
come from the real rows; from 1,000 synthetic rows as if they were real (naive); and from the five tables of
`sample_sets`, pooled by `motes.pool`. Each replication is kept in a file as soon as it is done; the same command
continues it. The same is computed with an ideal generator, which draws each table from the real rows with replacement.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from provenance import record, short
from scipy.optimize import brentq
from scipy.stats import norm

import motes

N, SETS, Z = 1000, 5, norm.ppf(0.975)
ESTIMATES = "mean", "share", "median", "correlation", "coefficient"
Estimate = tuple[float, float]  # with its variance
IDEAL = 300  # replications with the ideal generator


# --- Estimates with their variances ---------------------------------------------------------------------------------


def mean(x: np.ndarray) -> Estimate:
    """The mean of n numbers."""
    return x.mean(), x.var(ddof=1) / len(x)


def median(x: np.ndarray) -> Estimate:
    """The median, with the variance of its distribution-free interval of 95 %."""
    x, n = np.sort(x), len(x)
    low, high = x[int(n / 2 - Z / 2 * n**0.5)], x[int(np.ceil(n / 2 + Z / 2 * n**0.5)) - 1]
    return float(np.median(x)), ((high - low) / 2 / Z) ** 2


def correlation(x: np.ndarray, y: np.ndarray) -> Estimate:
    """Pearson's correlation, with the variance of its influence function, which holds for any distribution."""
    a, b = ((one - one.mean()) / one.std() for one in (x, y))
    r = (a * b).mean()
    return r, ((a * b - r / 2 * (a**2 + b**2)) ** 2).mean() / len(x)


def coefficient(y: np.ndarray, *columns: np.ndarray) -> Estimate:
    """The coefficient of the first column in a logistic regression of y on all columns, by Newton's method."""
    x, beta = np.column_stack([np.ones(len(y)), *columns]), np.zeros(1 + len(columns))
    for _ in range(12):
        p = 1 / (1 + np.exp(-x @ beta))
        information = (x.T * (p * (1 - p))) @ x
        beta += np.linalg.solve(information, x.T @ (y - p))
    return beta[1], np.linalg.inv(information)[1, 1]


# --- Generators with known truth ------------------------------------------------------------------------------------


class Generator(NamedTuple):
    """Rows, their estimates in the order of ESTIMATES, and what these estimate."""

    draw: Callable[[np.random.Generator], pd.DataFrame]
    estimate: Callable[[pd.DataFrame], list[Estimate]]
    truth: tuple[float, ...]


def independent() -> Generator:
    """Independent columns: a log-normal income, a uniform age and a city."""

    def draw(rng: np.random.Generator) -> pd.DataFrame:
        income = np.exp(rng.normal(3, 0.8, N)).round(2)
        return pd.DataFrame(
            {"income": income, "age": rng.integers(18, 80, N), "city": rng.choice([*"abc"], N, p=[0.6, 0.3, 0.1])}
        )

    def estimate(rows: pd.DataFrame) -> list[Estimate]:
        income, age, is_b = (np.asarray(one, float) for one in (rows.income, rows.age, rows.city == "b"))
        return [mean(income), mean(is_b), median(income), correlation(income, age), coefficient(is_b, age / 10)]

    return Generator(draw, estimate, (float(np.exp(3.32)), 0.3, float(np.exp(3)), 0.0, 0.0))


def correlated() -> Generator:
    """Two Gaussian columns with a correlation of 0.6, and a label by a logistic model of both."""

    def draw(rng: np.random.Generator) -> pd.DataFrame:
        x, y = rng.multivariate_normal([0, 0], [[1, 0.6], [0.6, 1]], N).T
        yes = rng.random(N) < 1 / (1 + np.exp(0.5 - 0.8 * x + 0.5 * y))
        return pd.DataFrame({"x": 10 + 3 * x, "y": y, "label": np.where(yes, "yes", "no")})

    def estimate(rows: pd.DataFrame) -> list[Estimate]:
        x, y, yes = (np.asarray(one, float) for one in (rows.x, rows.y, rows.label == "yes"))
        return [mean(x), mean(yes), median(y), correlation(x, y), coefficient(yes, (x - 10) / 3, y)]

    sd, grid = (0.8**2 + 0.5**2 - 2 * 0.8 * 0.5 * 0.6) ** 0.5, np.linspace(-10, 10, 20_001)
    share = np.trapezoid(norm.pdf(grid) / (1 + np.exp(0.5 - sd * grid)), grid)
    return Generator(draw, estimate, (10.0, float(share), 0.0, 0.6, 0.8))


def mixture() -> Generator:
    """A label of a tenth of the rows, in which a Gaussian dose and a Poisson count have larger means."""
    rare, doses, counts = 0.1, (1.0, 2.5), (2.0, 4.0)

    def draw(rng: np.random.Generator) -> pd.DataFrame:
        event = rng.random(N) < rare
        dose, visits = rng.normal(np.where(event, *doses[::-1])).round(3), rng.poisson(np.where(event, *counts[::-1]))
        return pd.DataFrame({"dose": dose, "visits": visits, "event": np.where(event, "yes", "no")})

    def estimate(rows: pd.DataFrame) -> list[Estimate]:
        dose, visits, event = (np.asarray(one, float) for one in (rows.dose, rows.visits, rows.event == "yes"))
        return [mean(visits), mean(event), median(dose), correlation(dose, visits), coefficient(event, dose, visits)]

    shares, between = (1 - rare, rare), rare * (1 - rare)
    below = lambda x: sum(share * norm.cdf(x - dose) for share, dose in zip(shares, doses, strict=True)) - 0.5
    gaps = doses[1] - doses[0], counts[1] - counts[0]
    mean_count = float(np.dot(shares, counts))
    sds = (1 + between * gaps[0] ** 2) ** 0.5, (mean_count + between * gaps[1] ** 2) ** 0.5
    r = between * gaps[0] * gaps[1] / sds[0] / sds[1]
    return Generator(draw, estimate, (mean_count, rare, float(brentq(below, -5, 5)), r, gaps[0]))


GENERATORS = {one.__name__: one() for one in (independent, correlated, mixture)}


# --- Replications ---------------------------------------------------------------------------------------------------


def replicate(generator: Generator, number: int) -> dict[str, Any]:
    """Fit a model to new rows; return the estimates from real rows, from synthetic rows and from each set."""
    rows = generator.draw(np.random.default_rng([number, 20_030]))
    model: Any = motes.fit(rows, seed=number, verbose=False)
    naive = model.sample(N, seed=1)
    tables = {"real": [rows], "naive": [naive], "sets": model.sample_sets(SETS)}
    return {name: [generator.estimate(one) for one in some] for name, some in tables.items()}


def replicate_ideal(generator: Generator, number: int) -> dict[str, Any]:
    """Return the same estimates with tables drawn from the real rows with replacement."""
    rng = np.random.default_rng([number, 20_031])
    rows = generator.draw(rng)
    tables = [rows.iloc[rng.integers(N, size=N)] for _ in range(SETS)]
    found = {"real": [rows], "naive": tables[:1], "sets": tables}
    return {name: [generator.estimate(one) for one in some] for name, some in found.items()}


def summary(generator: Generator, replications: list[dict[str, Any]]) -> dict[str, Any]:
    """Summarise each estimate over the replications.

    "coverage" is the share of intervals that contain the truth; "width" the median width of the pooled interval
    divided by the width from the real rows; "bias" the mean difference of the pooled estimate from the truth, with its
    standard error, and "spread" its standard deviation, both in standard errors of the real rows; "expected spread" the
    root mean square of the pooled standard error in the same units.
    """
    real, naive, sets = (np.array([one[name] for one in replications]) for name in ("real", "naive", "sets"))
    pooled = motes.pool(*np.moveaxis(sets, (3, 1), (0, 1)))
    found = {}
    for k, name in enumerate(ESTIMATES):
        truth, se = generator.truth[k], real[:, 0, k, 1] ** 0.5
        inside = lambda one, k=k, truth=truth: abs(one[:, 0, k, 0] - truth) <= Z * one[:, 0, k, 1] ** 0.5
        cover = {"real": inside(real), "naive": inside(naive)}
        cover["pooled"] = (pooled.low[:, k] <= truth) & (truth <= pooled.high[:, k])
        error, typical = (pooled.estimate[:, k] - truth) / np.sqrt((se**2).mean()), np.sqrt((se**2).mean())
        found[name] = {
            "truth": short(truth),
            "coverage": {side: short(one.mean()) for side, one in cover.items()},
            "width": short(np.median((pooled.high - pooled.low)[:, k] / (2 * Z * se))),
            "bias": [short(error.mean()), short(error.std() / len(error) ** 0.5)],
            "spread": short(error.std()),
            "expected spread": short(np.sqrt((pooled.standard_error[:, k] ** 2).mean()) / typical),
        }
        shares = ", ".join(f"{side} {one.mean():.3f}" for side, one in cover.items())
        print(f"{name:12} {shares}; width {found[name]['width']:.2f}, bias {error.mean():+.2f} se", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kept", type=Path, required=True, help="file of the replications so far, one per line")
    parser.add_argument("--replications", type=int, default=200, help="of each generator, including those kept")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    lines = args.kept.read_text(encoding="utf-8").splitlines() if args.kept.exists() else []
    done = {name: [line for line in map(json.loads, lines) if line["generator"] == name] for name in GENERATORS}
    for number in range(args.replications):
        for name, generator in GENERATORS.items():
            if number >= len(done[name]):
                done[name].append({"generator": name, **replicate(generator, number)})
                with args.kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(done[name][-1]) + "\n")
    results: dict[str, Any] = {}
    for name, generator in GENERATORS.items():
        print(f"\n{name}, {IDEAL} replications with the ideal generator")
        results[name] = {"ideal": summary(generator, [replicate_ideal(generator, k) for k in range(IDEAL)])}
        if done[name]:
            print(f"{name}, {len(done[name])} replications with models")
            results[name] |= {"replications": len(done[name]), "model": summary(generator, done[name])}
    command = f"python benchmarks/coverage.py --kept coverage.jsonl --replications {args.replications}"
    record(args.out, command, results, rows=N, sets=SETS, **{"ideal replications": IDEAL})


if __name__ == "__main__":
    main()
