"""How near are rows given known values to the exact conditional distribution, and do intervals cover the truth?

Six columns, a Gaussian and a mixture of three, and all 62 proper subsets of known columns. Errors are root mean squares
over rows, less what chance adds: of conditional means in conditional standard deviations, of covariances relative to
their Frobenius norm. Intervals of 90 % go from the 10th to the 190th of 199 draws.

    python benchmarks/conditions.py [--data gaussian mixture] [--rows 10000] [--set table.steps=1500]
"""

import argparse
import itertools
import time
from typing import NamedTuple

import numpy as np

import motes
from motes.models import TableModel

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


def errors(exact: Mixture, model: TableModel, rows: np.ndarray, n: int) -> tuple[np.ndarray, float]:
    """Of mean and covariance, (subsets, 2), from n draws for each of the rows; and the median effective sample size."""
    found, worth = np.zeros((len(SUBSETS), len(rows), 2)), []
    for i, known in enumerate(SUBSETS):
        for j, x in enumerate(rows):
            given = {name: x[k] for k, name in enumerate(NAMES) if known[k]}
            drawn = model.sample(n, given=given, seed=1000 * i + j)
            worth.append(drawn.effective)
            y = np.stack([drawn.columns[name].values for name in NAMES], axis=1)
            if not (y[:, known] == x[known]).all():
                raise SystemExit("known values did not come back")
            found[i, j] = _squares(y[:, ~known], *exact.given(x, known), drawn.effective)
    return np.sqrt(np.maximum(found.mean(axis=1), 0)), float(np.median(worth))


def _squares(y: np.ndarray, mean: np.ndarray, covariance: np.ndarray, effective: float) -> tuple[float, float]:
    """Squares of both errors, less what chance alone adds to them."""
    away = y - y.mean(axis=0)
    products = np.einsum("ni,nj->nij", away, away)
    of_mean = (y.mean(axis=0) - mean) ** 2 - y.var(axis=0) / effective
    of_covariance = (products.mean(axis=0) - covariance) ** 2 - products.var(axis=0) / effective
    return float(np.mean(of_mean / np.diag(covariance))), float(of_covariance.sum() / (covariance**2).sum())


def coverage(exact: Mixture, model: TableModel, n: int) -> tuple[float, int]:
    """How often intervals of 90 % hold the truth, over the unknown entries of n fresh rows; and how many there are."""
    rows, rng = exact.draw(n, 77), np.random.default_rng(78)
    known = np.stack([SUBSETS[k] for k in rng.integers(len(SUBSETS), size=n)])
    below = np.zeros((n, D), int)
    for made in model.impute(np.where(known, rows, np.nan), draws=DRAWS, seed=79):
        below += np.stack([series.values for series in made.columns.values()], axis=1) < rows
    places = below[~known]
    return float(np.mean((places >= 10) & (places < 190))), places.size


def measure(name: str, args: argparse.Namespace) -> None:
    """Train, draw, print."""
    exact = Mixture.of({"gaussian": 1, "mixture": 3}[name])
    start = time.perf_counter()
    model = motes.fit(exact.draw(args.rows, 2), "table", changes=args.set, seed=args.seed, verbose=False).inner
    fitted = time.perf_counter()
    found, worth = errors(exact, model, exact.draw(8, 5), 2000)
    drawn = time.perf_counter()
    covered, entries = coverage(exact, model, 1500)
    done = time.perf_counter()
    worst, mean = 100 * found.max(axis=0), 100 * found.mean(axis=0)
    print(f"{name}: fit {fitted - start:.0f} s")
    print(f"  means        {mean[0]:5.1f} %, worst subset {worst[0]:5.1f} %")
    print(f"  covariances  {mean[1]:5.1f} %, worst subset {worst[1]:5.1f} %; {drawn - fitted:.0f} s")
    print(f"  worth        {worth:.0f} of 2000 rows")
    print(f"  coverage     {100 * covered:5.1f} % of {entries:,} entries; {done - drawn:.0f} s", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", choices=["gaussian", "mixture"], default=["gaussian", "mixture"])
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs="*", default=[])
    args = parser.parse_args()
    for name in args.data:
        measure(name, args)
