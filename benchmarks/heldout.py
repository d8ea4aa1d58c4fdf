"""How likely are new points under a model, compared with the true density and with two models of scikit-learn?

Each model is fitted to the same 10,000 points of a shape. The excess is the mean of log p(x) - log q(x) over 5,000 new
points, for the true density p and the model's density q: the Kullback-Leibler divergence, 0 for a perfect model. The
settings of scikit-learn's models are chosen on a tenth of the points: the number of components of a `GaussianMixture`
with full covariances, and the bandwidth of a `KernelDensity`.

    python benchmarks/heldout.py [--seeds 3] [--rows 5000] [--set training.steps=8000 ...] [--out FILE]
"""

import argparse
import statistics
import time
from importlib.metadata import version
from pathlib import Path

import jax
import numpy as np
from provenance import record
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KernelDensity

import motes

SHAPES = ("moons", "swiss_roll", "eight_gaussians", "two_spirals")
COMPONENTS, BANDWIDTHS = (8, 16, 32, 64, 128), np.geomspace(0.01, 0.3, 12)


def chosen(models, x):
    """The model with the best likelihood on a tenth of the points, fitted to all."""
    learn, check = x[len(x) // 10 :], x[: len(x) // 10]
    return max(models, key=lambda model: model.fit(learn).score_samples(check).mean()).fit(x)


def fits(x, seed, changes):
    """Each model's name, and a function that fits it."""
    mixtures = [GaussianMixture(count, random_state=seed) for count in COMPONENTS]
    return {
        "motes": lambda: motes.fit(x, changes=changes, seed=seed, verbose=False),
        "GaussianMixture": lambda: chosen(mixtures, x),
        "KernelDensity": lambda: chosen([KernelDensity(bandwidth=width) for width in BANDWIDTHS], x),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=5_000)
    parser.add_argument("--shapes", nargs="+", default=SHAPES)
    parser.add_argument("--set", action="append", default=[], dest="changes")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    results = {}
    print(f"{'':<18}{'model':<18}{'excess, nats: median':>22}{'all seeds':>28}{'standard error':>16}{'CPU s':>8}")
    for shape in given.shapes:
        truth, found = motes.truth(shape), {}
        for seed in range(given.seeds):
            x, new = (motes.make_shape(shape, n, seed=s) for n, s in ((10_000, seed), (given.rows, 1_000_003 + seed)))
            exact = truth.log_density(new)
            for name, fit in fits(x, seed, given.changes).items():
                begin = time.process_time()
                model = fit()
                seconds = time.process_time() - begin
                away = exact - model.score_samples(new)
                found.setdefault(name, []).append((away.mean(), away.std() / len(away) ** 0.5, seconds))
            jax.clear_caches()
        for name, runs in found.items():
            excess, errors, seconds = (
                [round(float(value), 4) for value in column] for column in zip(*runs, strict=True)
            )
            results.setdefault(shape, {})[name] = {"excess": excess, "error": errors, "cpu": seconds}
            words = f"{statistics.median(excess):22.4f}{', '.join(map(str, excess)):>28}{max(errors):16.4f}"
            print(f"{shape:<18}{name:<18}{words}{statistics.median(seconds):8.1f}", flush=True)
    versions = {"scikit-learn": version("scikit-learn")}
    record(given.out, "python benchmarks/heldout.py", {"shapes": results}, **versions, changes=given.changes)


if __name__ == "__main__":
    main()
