"""How likely does a model of a table find rows that it has not seen, beside the best peers?

`recipe table`, a Gaussian mixture and a kernel density chosen by left-out rows, and a neural spline flow (zuko) with
early stopping, all on the same 80 per cent of the rows. What is printed is the mean log-likelihood of the others with
its standard error, in nats per row and the table's own units, and the seconds of the fit. Ours is by the
chain rule in the order of the model; its first fit of a table compiles programs, and the second one finds them. The
tables come with packages:

    wine, breast cancer, digits     scikit-learn
    doctors                         `randhie` of statsmodels, its columns of whole numbers
    housing                         `txhousing` of plotnine, its whole rows, with noise as wide as the last digit
    diamonds                        of plotnine, with noise as wide as the last digit

So that whole numbers have a density, uniform noise in [0, 1) is added to columns that hold nothing else, for the peers
here; ours has the masses of these numbers, which are the same nats. A column that is constant in the training is left
out for all of them.

    python benchmarks/tables_likelihood.py [--tables wine digits] [--peers gmm kde flow] [--seeds 1] [--rows 2000]
        [--out FILE]

`--rows` is the most that are scored, the same ones for all.
"""

import argparse
import importlib
import math
import time
import warnings
from pathlib import Path

import numpy as np
from provenance import record, short

import motes

TABLES = ("wine", "breast_cancer", "digits", "housing", "doctors", "diamonds")
COMPONENTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)


def read(name: str) -> np.ndarray:
    """The table (n, d)."""
    from sklearn import datasets

    if name == "housing":
        from plotnine.data import txhousing

        names = ["year", "month", "sales", "volume", "median", "listings", "inventory"]
        x = txhousing[names].dropna().to_numpy(float)
        x[:, -1] += 0.1 * np.random.RandomState(0).uniform(size=len(x))
        return x
    if name == "doctors":
        from statsmodels.datasets import randhie

        x = randhie.load_pandas().data
        return x[[column for column in x if (x[column] % 1 == 0).all()]].to_numpy(float)
    if name == "diamonds":
        from plotnine.data import diamonds

        x = diamonds.select_dtypes("number").to_numpy(float)
        noise = np.random.RandomState(0)
        last = [0.01, 0.1, 0.1, 1.0, 0.01, 0.01, 0.01]  # carat, depth, table, price, x, y, z
        return x + last * noise.uniform(size=x.shape)
    return getattr(datasets, f"load_{name}")().data


def with_noise(x: np.ndarray, seed: int) -> np.ndarray:
    """Uniform noise on the columns of x (n, d) that hold whole numbers alone."""
    noise = np.random.RandomState(seed).uniform(size=x.shape)
    return x + noise * (np.rint(x) == x).all(axis=0)


def columns_of(x: np.ndarray) -> dict[str, dict[str, int | str]]:
    """The kinds with which our nats are those of the peers: masses of whole numbers, and densities of all others.

    The kind `fractional`, which motes would choose for some columns, has masses of simple fractions. A few whole
    numbers may be any in the range of those of all rows, as for the peers.
    """
    found: dict[str, dict[str, int | str]] = {}
    for j, column in enumerate(x.T):
        whole = bool((np.rint(column) == column).all())
        found[f"x{j}"] = {"kind": "integer" if whole else "real"}
        if whole and np.ptp(column) < 32:
            found[f"x{j}"] |= {"low": int(column.min()), "high": int(column.max())}
    return found


class Scaled:
    """A peer on standardised columns: `fit(z)`, and the log-likelihoods of rows in the table's units."""

    def __init__(self, fit, x):
        self.mean, self.scale = x.mean(axis=0), x.std(axis=0)
        self.score = fit((x - self.mean) / self.scale)

    def score_samples(self, x):
        return self.score((x - self.mean) / self.scale) - np.log(self.scale).sum()


def gmm(z):
    """Components and their kind by a held-out fifth, then fitted to all rows."""
    from sklearn.mixture import GaussianMixture
    from sklearn.model_selection import train_test_split

    learn, left_out = train_test_split(z, test_size=0.2, random_state=0)
    best = (-math.inf, 1, "full", 1e-6)
    for kind in ("full", "diag"):
        for reg in (1e-6, 1e-3, 1e-2, 1e-1):
            for components in COMPONENTS:
                if components > len(learn) // 10:
                    break
                found = GaussianMixture(components, covariance_type=kind, reg_covar=reg, random_state=0).fit(learn)
                best = max(best, (found.score(left_out), components, kind, reg))
    _, components, kind, reg = best
    final = GaussianMixture(components, covariance_type=kind, reg_covar=reg, n_init=3, random_state=0).fit(z)
    return final.score_samples


def kde(z):
    """The bandwidth by five folds, of 4,000 rows at most."""
    from sklearn.model_selection import GridSearchCV
    from sklearn.neighbors import KernelDensity

    search = GridSearchCV(KernelDensity(), {"bandwidth": np.geomspace(0.03, 1.5, 24)}, cv=5, refit=False)
    some = np.random.default_rng(0).permutation(len(z))[:4000]
    width = search.fit(z[some]).best_params_["bandwidth"]
    return KernelDensity(bandwidth=width * (len(some) / len(z)) ** (1 / (z.shape[1] + 4))).fit(z).score_samples


def flow(z, epochs=300, patience=15):
    """A neural spline flow of three transforms, with the weights that were best for a held-out tenth."""
    import copy

    import torch
    import zuko

    torch.manual_seed(0)
    order = torch.randperm(len(z))
    x = torch.tensor(z, dtype=torch.float32)[order]
    held = max(len(x) // 10, 20)
    learn, left_out = x[held:], x[:held]
    model = zuko.flows.NSF(z.shape[1], transforms=3, hidden_features=(64, 64))
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    best, kept, waited = math.inf, None, 0
    batch = 256
    least = max(1, 5 * batch // len(learn))  # an epoch of few rows is looked at only so often
    for epoch in range(epochs * least):
        for rows in torch.randperm(len(learn)).split(batch):
            optimiser.zero_grad()
            loss = -model().log_prob(learn[rows]).mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimiser.step()
        if epoch % least:
            continue
        with torch.no_grad():
            value = -model().log_prob(left_out).mean().item()
        waited += 1
        if value < best:
            best, kept, waited = value, copy.deepcopy(model.state_dict()), 0
        if waited >= patience:
            break
    model.load_state_dict(kept)

    def score(z):
        with torch.no_grad():
            parts = torch.tensor(z, dtype=torch.float32).split(4096)
            return torch.cat([model().log_prob(part) for part in parts]).numpy()

    return score


PEERS = {"gmm": gmm, "kde": kde, "flow": flow}
IMPORTED = ("sklearn.mixture", "sklearn.neighbors", "sklearn.model_selection", "torch", "zuko")


def scored(scores: np.ndarray, seconds: float) -> dict[str, float]:
    """Print and return the mean, its standard error and the seconds."""
    mean, error = scores.mean(), scores.std() / len(scores) ** 0.5
    print(f"{mean:14.2f} ±{error:5.2f} {seconds:6.1f} s", end="", flush=True)
    return {"nats": round(float(mean), 3), "error": round(float(error), 3), "seconds": short(seconds)}


def main() -> None:
    from sklearn.model_selection import train_test_split

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", default=TABLES)
    parser.add_argument("--peers", nargs="*", default=[*PEERS])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument(
        "--rows", type=int, default=2_000, help="of those held out, at most; the same ones for all peers"
    )
    parser.add_argument("--set", action="append", default=[], dest="changes")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results as JSON")
    arguments = parser.parse_args()
    for module in IMPORTED if arguments.peers else ():
        importlib.import_module(module)  # which is not a part of a fit
    names = [*arguments.peers, *(f"motes, seed {seed}" for seed in range(arguments.seeds))]
    print(f"{'':<24}" + "".join(f"{name:>27}" for name in names), flush=True)
    results: dict[str, dict[str, object]] = {}
    for name in arguments.tables:
        x = read(name)
        learn, fresh = train_test_split(x, test_size=0.2, random_state=0)
        vary = np.ptp(learn, axis=0) > 0
        x, learn, fresh = x[:, vary], learn[:, vary], fresh[:, vary]
        rows = np.random.default_rng(0).permutation(len(fresh))[: arguments.rows]
        fresh = fresh[rows]
        print(f"{name:<14}{len(learn):>6,} x{learn.shape[1]:>2} ", end="", flush=True)
        found = results[name] = {"rows": len(learn), "columns": learn.shape[1]}
        for peer in arguments.peers:
            begin = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of steps that were not enough to converge: it is chosen by its score
                model = Scaled(PEERS[peer], with_noise(learn, 0))
            seconds = time.perf_counter() - begin
            found[peer] = scored(model.score_samples(with_noise(fresh, 1)), seconds)
        for seed in range(arguments.seeds):
            begin = time.perf_counter()
            model = motes.fit(
                learn, "table", changes=arguments.changes, columns=columns_of(x), seed=seed, verbose=False
            )
            seconds = time.perf_counter() - begin
            found[f"motes, seed {seed}"] = scored(model.score_samples(fresh), seconds)
        print(flush=True)
        changes = {"changes": arguments.changes}
        record(arguments.out, "python benchmarks/tables_likelihood.py", {"tables": results}, **changes)


if __name__ == "__main__":
    main()
