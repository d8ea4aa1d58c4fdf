"""How near are amortised posteriors to the reference posteriors of sbibm (Lueckmann et al. 2021)?

Each task has a prior and a simulator, which are written here, and ten observations with 10,000 draws from the true
posterior of each, which are files in the wheel of sbibm (MIT). Get it once, without its dependencies, and unpack it:

    pip download sbibm --no-deps && unzip sbibm-*.whl 'sbibm/tasks/*' -d FOLDER
    python benchmarks/posteriors.py FOLDER [--tasks two_moons ...] [--simulations 10000] [--seeds 0 1 2]
                                    [--observations 10] [--any] [--unbounded] [--set schedule.sigma_max=80 ...]
                                    [--out FILE]

C2ST is that of the field: the accuracy, in 5 folds, of a perceptron with two layers of 10 d units that tells the draws
of the model from those of the reference, standardised; 0.5 is perfect. Beside it: the mean log p(theta | x) of fresh
simulations, which ranks settings in far less time, how far that is below the exact one where it is known
(`posteriors_exact.py`), and the CPU seconds of the fit and of the draws.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from posteriors_exact import EXACT
from provenance import record, short
from sklearn.model_selection import KFold, cross_val_score
from sklearn.neural_network import MLPClassifier

import motes

FRESH, DRAWS = 1_000, 10_000


@dataclass(frozen=True)
class Task:
    """A prior of d parameters, its support, which is that of each parameter, and a simulator."""

    dim: int
    support: tuple[float | None, float | None] | None
    draw: Any
    simulate: Any

    def prior(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """n draws (n, d)."""
        return self.draw(rng, n)

    @property
    def bounds(self) -> dict[str, tuple[float | None, float | None]] | None:
        """As `motes.fit` takes them."""
        return None if self.support is None else dict.fromkeys(self.columns, self.support)

    @property
    def columns(self) -> list[str]:
        """Names of the parameters."""
        return [f"theta{j + 1}" for j in range(self.dim)]


def uniform(dim: int, bound: float, simulate: Any) -> Task:
    """With a uniform prior on (-bound, bound)^d."""
    return Task(dim, (-bound, bound), lambda rng, n: rng.uniform(-bound, bound, (n, dim)), simulate)


def log_normal(mean: list[float], deviation: list[float], simulate: Any) -> Task:
    """With independent log-normal parameters."""
    draw = lambda rng, n: np.exp(rng.normal(mean, deviation, (n, len(mean))))
    return Task(len(mean), (0.0, None), draw, simulate)


def two_moons(rng: np.random.Generator, theta: np.ndarray) -> np.ndarray:
    """A noisy half circle, moved by theta: two moons of theta give the same x."""
    n = len(theta)
    angle, radius = rng.uniform(-np.pi / 2, np.pi / 2, n), rng.normal(0.1, 0.01, n)
    moon = np.stack([radius * np.cos(angle) + 0.25, radius * np.sin(angle)], axis=1)
    a, b = theta.T
    return moon + np.stack([-np.abs(a + b), b - a], axis=1) / np.sqrt(2)


def gaussian_mixture(rng: np.random.Generator, theta: np.ndarray) -> np.ndarray:
    """theta with noise of standard deviation 1 or 0.1, whichever chance picks."""
    scale = rng.choice([1.0, 0.1], (len(theta), 1))
    return theta + scale * rng.standard_normal(theta.shape)


def gaussian_linear(rng: np.random.Generator, theta: np.ndarray) -> np.ndarray:
    """theta with noise of variance 0.1."""
    return theta + np.sqrt(0.1) * rng.standard_normal(theta.shape)


def slcp(rng: np.random.Generator, theta: np.ndarray) -> np.ndarray:
    """Four points of a plane, whose mean and covariance theta says: simple likelihood, complex posterior."""
    s1, s2, rho = theta[:, 2] ** 2, theta[:, 3] ** 2, np.tanh(theta[:, 4])
    u, v = rng.standard_normal((2, 4, len(theta)))
    x, y = theta[:, 0] + s1 * u, theta[:, 1] + s2 * (rho * u + np.sqrt(1 - rho**2) * v)
    return np.stack([x, y], axis=-1).transpose(1, 0, 2).reshape(len(theta), 8)


STIMULUS = np.random.RandomState(42).randn(100)  # of sbibm
DESIGN = np.column_stack([np.ones(100), *(np.append(np.zeros(lag), STIMULUS[: 100 - lag]) for lag in range(9))])


def glm_prior(rng: np.random.Generator, n: int) -> np.ndarray:
    """An offset, and a filter of nine lags that is smooth."""
    step = np.eye(9) - np.eye(9, k=-1)
    rough = step @ step + np.diag(np.sqrt(np.arange(9) / 9))
    root = np.zeros((10, 10))
    root[0, 0], root[1:, 1:] = np.sqrt(0.5), rough
    return np.linalg.solve(root, rng.standard_normal((10, n))).T  # of precision root^T root


def bernoulli_glm(rng: np.random.Generator, theta: np.ndarray) -> np.ndarray:
    """Spikes under a stimulus; their number and the mean stimulus at each lag, times that, which are sufficient."""
    spikes = rng.random((len(theta), 100)) < 1 / (1 + np.exp(-theta @ DESIGN.T))
    return spikes @ DESIGN


def solved(rate: Any, start: list[float], n: int, step: float, steps: int, every: int) -> np.ndarray:
    """An ordinary differential equation by Runge and Kutta's fourth-order method, at every so many steps, (k, s, n)."""
    u = np.repeat(np.array(start)[:, None], n, axis=1)
    kept = [u]
    for number in range(1, steps + 1):
        first = rate(u)
        second = rate(u + step / 2 * first)
        third = rate(u + step / 2 * second)
        u = u + step / 6 * (first + 2 * second + 2 * third + rate(u + step * third))
        if number % every == 0:
            kept.append(u)
    return np.array(kept)


def sir(rng: np.random.Generator, theta: np.ndarray) -> np.ndarray:
    """An epidemic of a million: how many of 1,000 are infected, every 17 days."""
    infect, recover = theta.T

    def rate(u: np.ndarray) -> np.ndarray:
        new, well = infect * u[0] * u[1], recover * u[1]
        return np.stack([-new, new - well])

    found = solved(rate, [1 - 1e-6, 1e-6], len(theta), 0.25, 612, 68)[:, 1]
    return rng.binomial(1000, np.clip(found, 0, 1)).T.astype(float)


def lotka_volterra(rng: np.random.Generator, theta: np.ndarray) -> np.ndarray:
    """Prey and predators, every 2.1 time units, with log-normal noise of 0.1."""
    a, b, c, d = theta.T

    def rate(u: np.ndarray) -> np.ndarray:  # of the logarithms, which stay numbers
        return np.stack([a - b * np.exp(u[1]), d * np.exp(u[0]) - c])

    logs = solved(rate, [np.log(30.0), 0.0], len(theta), 0.01, 1890, 210)  # (10, 2, n)
    found = np.clip(logs, np.log(1e-10), np.log(1e4)).transpose(2, 1, 0).reshape(len(theta), 20)
    return np.exp(found + 0.1 * rng.standard_normal(found.shape))


TASKS = {
    "two_moons": uniform(2, 1.0, two_moons),
    "gaussian_mixture": uniform(2, 10.0, gaussian_mixture),
    "gaussian_linear": Task(10, None, lambda rng, n: np.sqrt(0.1) * rng.standard_normal((n, 10)), gaussian_linear),
    "gaussian_linear_uniform": uniform(10, 1.0, gaussian_linear),
    "slcp": uniform(5, 3.0, slcp),
    "bernoulli_glm": Task(10, None, glm_prior, bernoulli_glm),
    "sir": log_normal([np.log(0.4), np.log(0.125)], [0.5, 0.2], sir),
    "lotka_volterra": log_normal([-0.125, -3.0, -0.125, -3.0], [0.5] * 4, lotka_volterra),
}

METHODS = ("NPE", "NPSE", "Simformer")
PUBLISHED = {  # C2ST at 1,000, 10,000 and 100,000 simulations, of METHODS
    "two_moons": ((0.725, 0.606, 0.542), (0.570, 0.513, 0.502), (0.611, 0.525, 0.506)),
    "gaussian_mixture": ((0.716, 0.615, 0.548), (0.613, 0.528, 0.502), (0.574, 0.515, 0.506)),
    "gaussian_linear": ((0.694, 0.552, 0.506), (0.705, 0.572, 0.507), (0.732, 0.635, 0.505)),
    "slcp": ((0.975, 0.901, 0.831), (0.988, 0.831, 0.630), (0.924, 0.784, 0.703)),
}
SOURCES = (
    "NPE: sbi-benchmark/results (Lueckmann et al. 2021); NPSE and Simformer: figures of Gloeckler et al. 2024, ± 0.003"
)


def reference(folder: Path, task: str, number: int) -> tuple[np.ndarray, np.ndarray]:
    """An observation (c,) and draws from its posterior (10000, d)."""
    place = folder / "sbibm" / "tasks" / task / "files" / f"num_observation_{number}"
    x = np.loadtxt(place / "observation.csv", delimiter=",", skiprows=1)
    return x, np.loadtxt(place / "reference_posterior_samples.csv.bz2", delimiter=",", skiprows=1)


def c2st(real: np.ndarray, ours: np.ndarray) -> float:
    """The classifier two-sample test of sbibm."""
    mean, scale, dim = real.mean(axis=0), real.std(axis=0, ddof=1), real.shape[1]
    both = np.concatenate([(real - mean) / scale, (ours - mean) / scale]).astype(np.float32)  # 0.6 of the time
    target = np.repeat([0.0, 1.0], [len(real), len(ours)])
    classifier = MLPClassifier(hidden_layer_sizes=(10 * dim, 10 * dim), max_iter=10_000, random_state=1)
    folds = KFold(n_splits=5, shuffle=True, random_state=1)
    return float(cross_val_score(classifier, both, target, cv=folds, scoring="accuracy").mean())


def run(arguments: argparse.Namespace, name: str, n: int, seed: int) -> dict[str, Any]:
    """One model, its C2ST for each observation, and what it cost: a line, and its figures."""
    task, rng = TASKS[name], np.random.default_rng([n, seed])
    theta = task.prior(rng, n)
    x = task.simulate(rng, theta)
    varies = np.ptp(x, axis=0) > 0  # an entry that is always the same tells nothing, such as the first of an epidemic
    x = x[:, varies]
    fresh = task.prior(rng, FRESH)
    cpu = [time.process_time()]
    names = [f"x{j + 1}" for j in range(x.shape[1])]
    options = {"columns": task.columns, "bounds": None if arguments.unbounded else task.bounds}
    recipe = "any" if arguments.any else "posterior"
    known = dict(zip(names, x.T, strict=True))
    model = motes.fit(theta, recipe, given=known, changes=arguments.changes, seed=seed, verbose=False, **options)
    cpu.append(time.process_time())
    seen = task.simulate(rng, fresh)[:, varies]
    if arguments.any:
        log_p = model.score_samples(np.column_stack([fresh, seen]), given=names)
    else:
        log_p = model.score_samples(fresh, given=seen)
    exact = EXACT[name](fresh, seen).mean() if name in EXACT else None
    gap = " " * 8 if exact is None else f"{exact - log_p.mean():8.4f}"
    found = [reference(arguments.folder, name, number + 1) for number in range(arguments.observations)]
    observed = [dict(zip(names, observation[varies], strict=True)) for observation, _ in found]
    model.sample(1, given=dict(zip(names, x[0], strict=True)))  # compiled before it is timed
    cpu.append(time.process_time())
    draws = [model.sample(DRAWS, given=one, seed=seed)[:, : task.dim] for one in observed]
    cpu.append(time.process_time())
    print(
        f"{name:<26}{n:>8,}{seed:>5}{log_p.mean():10.4f} ± {log_p.std() / FRESH**0.5:.3f}{gap}"
        f"{cpu[1] - cpu[0]:8.1f} s{(cpu[3] - cpu[2]) / max(len(found), 1):7.1f} s  ",
        end="",
        flush=True,
    )
    values = []
    for (_, real), ours in zip(found, draws, strict=True):
        values.append(c2st(real, ours))
        print(f" {values[-1]:.3f}", end="", flush=True)
    print(f"   mean {np.mean(values):.3f}" if values else "", flush=True)
    return {
        "task": name,
        "recipe": recipe,
        "simulations": n,
        "seed": seed,
        "c2st": [round(value, 4) for value in values],
        "log p": round(float(log_p.mean()), 4),
        "exact log p": None if exact is None else round(float(exact), 4),
        "CPU s, fit": short(cpu[1] - cpu[0]),
        "CPU s, draws": short((cpu[3] - cpu[2]) / max(len(found), 1)),
    }


def add(path: Path, one: dict[str, Any]) -> None:
    """Write a run to a file, in the place of an earlier one of the same task, recipe, simulations and seed."""
    key = lambda run: [run[name] for name in ("recipe", "task", "simulations", "seed")]
    runs = json.loads(path.read_text())["runs"] if path.exists() else []
    others = [run for run in runs if key(run) != key(one)]
    runs = sorted([*others, one], key=lambda run: (run["recipe"], list(TASKS).index(run["task"]), *key(run)))
    published = {task: dict(zip(METHODS, values, strict=True)) for task, values in PUBLISHED.items()}
    found = {"published": {"source": SOURCES, "C2ST": published}, "runs": runs}
    record(path, "python benchmarks/posteriors.py FOLDER", found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--simulations", nargs="+", type=int, default=[10_000])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--observations", type=int, default=10, help="the first so many of ten; 0: log p alone")
    parser.add_argument("--any", action="store_true", help="one model for any conditional, recipe any")
    parser.add_argument("--unbounded", action="store_true", help="say nothing of the bounds of a uniform prior")
    parser.add_argument("--set", action="append", default=[], dest="changes")
    parser.add_argument("--out", type=Path, metavar="FILE", help="add the runs to this JSON file")
    arguments = parser.parse_args()
    parts = f"{'log p, fresh':>18}{'excess':>8}{'CPU, fit':>10}{'draws':>9}"
    print(f"{'':<26}{'simul.':>8}{'seed':>5}{parts}   C2ST of each observation")
    for name in arguments.tasks:
        for n in arguments.simulations:
            for seed in arguments.seeds:
                one = run(arguments, name, n, seed)
                if arguments.out:
                    add(arguments.out, one)
        for method, values in zip(METHODS, PUBLISHED.get(name, ()), strict=False):
            print(f"    published at 1,000, 10,000 and 100,000 simulations, {method}: {', '.join(map(str, values))}")
    print(f"\nSources of what is published. {SOURCES}.")


if __name__ == "__main__":
    main()
