"""How near are rows given known values to the exact conditional distribution, and do intervals cover the truth?

Six columns, a Gaussian and a mixture of three, and every fourth of the 62 proper subsets of known columns. Errors are
root mean squares over subsets and rows, less what chance adds: of conditional means in conditional standard deviations,
of covariances relative to their Frobenius norm. Beside them is what chance leaves. Intervals of 90 % go from the 10th
to the 190th of 199 draws.

    python benchmarks/conditions.py [--data gaussian mixture] [--rows 10000] [--set table.steps=1500] [--out FILE]
"""

import argparse
import itertools
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from provenance import record, short

import motes
from motes.tables.model import TableModel

D = 6
NAMES = [f"x{j}" for j in range(D)]
SUBSETS = [np.isin(np.arange(D), s) for r in range(1, D) for s in itertools.combinations(range(D), r)]
DRAWS = 199  # of an interval: 180 of the 200 places among them are within it


class Mixture(NamedTuple):
    """A mixture of Gaussians, with all in closed form."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    @classmethod
    def of(cls, components: int) -> "Mixture":
        """The same for the same number."""
        rng = np.random.default_rng(1)
        roots = rng.normal(size=(components, D, D))
        means = 1.5 * rng.normal(size=(components, D))
        return cls(rng.dirichlet(np.full(components, 5.0)), means, roots @ roots.swapaxes(1, 2) / D + 0.3 * np.eye(D))

    def draw(self, n: int, seed: int) -> np.ndarray:
        """Rows (n, d)."""
        rng = np.random.default_rng(seed)
        which = rng.choice(len(self.weights), n, p=self.weights)
        noise = rng.normal(size=(n, D))
        return self.means[which] + np.einsum("nij,nj->ni", np.linalg.cholesky(self.covariances)[which], noise)

    def given(self, x: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and covariance of the columns that are not known."""
        log_p, means, covariances = [], [], []
        for weight, mean, c in zip(*self, strict=True):
            among, across = c[np.ix_(known, known)], c[np.ix_(~known, known)]
            gain, away = across @ np.linalg.inv(among), x[known] - mean[known]
            log_p.append(np.log(weight) - 0.5 * (away @ np.linalg.solve(among, away) + np.linalg.slogdet(among)[1]))
            means.append(mean[~known] + gain @ away)
            covariances.append(c[np.ix_(~known, ~known)] - gain @ across.T)
        share = np.exp(log_p - np.logaddexp.reduce(log_p))
        mean = share @ np.array(means)
        apart = np.array(means) - mean
        return mean, np.einsum("k,kij->ij", share, np.array(covariances)) + (share * apart.T) @ apart


class Squares(NamedTuple):
    """Squared errors of mean and covariance, of which some are below 0 by chance.

    Attributes:
        found: (subsets, rows, 2).
    """

    found: np.ndarray

    @property
    def percent(self) -> dict[str, dict[str, float]]:
        """Over all subsets and for the worst one: percent, and what chance alone would give in 95 of 100 cases."""
        of_subset = self.found.mean(axis=1)
        root = lambda square: 100 * np.sqrt(np.maximum(square, 0))
        noise = self.found.std(axis=1) / np.sqrt(self.found.shape[1])  # of each subset
        of_all = np.sqrt((noise**2).sum(axis=0)) / len(noise)
        found = {
            "average": root(of_subset.mean(axis=0)),
            "average by chance": root(1.645 * of_all),
            "worst subset": root(of_subset.max(axis=0)),
            "worst subset by chance": root(1.645 * noise.max(axis=0)),
        }
        parts = ("conditional means", "covariances")
        return {part: {name: short(value[k]) for name, value in found.items()} for k, part in enumerate(parts)}


def errors(exact: Mixture, model: TableModel, n: int, rows: int, draws: int, every: int) -> Squares:
    """Squares of the errors of mean and covariance, of every so manieth subset, from draws for each of its rows."""
    some = SUBSETS[::every]
    known, x = np.repeat(some, rows, axis=0), np.tile(exact.draw(rows, n), (len(some), 1))
    made = model.impute(np.where(known, x, np.nan), draws=draws, seed=n)
    y = np.stack(made, axis=1)
    if not (np.swapaxes(y, 1, 2)[known] == x[known][:, None]).all():
        raise SystemExit("known values did not come back")
    pairs = zip(y, x, known, strict=True)
    found = [_squares(drawn[:, ~given], *exact.given(row, given)) for drawn, row, given in pairs]
    return Squares(np.array(found).reshape(len(some), rows, 2))


def _squares(y: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> tuple[float, float]:
    """Squares of both errors of n draws, less what chance alone adds to them."""
    away = y - y.mean(axis=0)
    products = np.einsum("ni,nj->nij", away, away)
    of_mean = (y.mean(axis=0) - mean) ** 2 - y.var(axis=0) / len(y)
    of_covariance = (products.mean(axis=0) - covariance) ** 2 - products.var(axis=0) / len(y)
    return float(np.mean(of_mean / np.diag(covariance))), float(of_covariance.sum() / (covariance**2).sum())


def coverage(exact: Mixture, model: TableModel, n: int) -> tuple[float, int]:
    """How often intervals of 90 % hold the truth, over the unknown entries of n fresh rows; and how many there are."""
    rows, rng = exact.draw(n, 77), np.random.default_rng(78)
    known = np.stack([SUBSETS[k] for k in rng.integers(len(SUBSETS), size=n)])
    below = np.zeros((n, D), int)
    for made in model.impute(np.where(known, rows, np.nan), draws=DRAWS, seed=79):
        below += made < rows
    places = below[~known]
    return float(np.mean((places >= 10) & (places < 190))), places.size


def measure(name: str, args: argparse.Namespace) -> dict[str, object]:
    """Train, draw, print, and return what is printed."""
    exact = Mixture.of({"gaussian": 1, "mixture": 3}[name])
    start = time.perf_counter()
    model = motes.fit(exact.draw(args.rows, 2), "table", changes=args.set, seed=args.seed, verbose=False)
    fitted = time.perf_counter()
    squares = errors(exact, model, 5, args.each, args.draws, args.every)
    drawn = time.perf_counter()
    covered, entries = coverage(exact, model, 1500)
    done = time.perf_counter()
    found = squares.percent | {"coverage of 90 % intervals": short(100 * covered), "entries": entries}
    found["seconds"] = {"fit": short(fitted - start), "draws": short(drawn - fitted), "coverage": short(done - drawn)}
    print(name, *(f"  {part}: {values}" for part, values in found.items()), sep="\n", flush=True)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=["gaussian", "mixture"], default=["gaussian", "mixture"])
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--every", type=int, default=4, help="1: all 62 subsets")
    parser.add_argument("--each", type=int, default=64, help="rows of a subset")
    parser.add_argument("--draws", type=int, default=1000, help="of each row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="*", default=[])
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results as JSON")
    args = parser.parse_args()
    results = {name: measure(name, args) for name in args.data}
    record(args.out, "python benchmarks/conditions.py", {"errors, %": results}, rows=args.rows, changes=args.set)
