"""How near are amortised posteriors to the reference posteriors of sbibm (Lueckmann et al. 2021)?

Each task has a prior and a simulator, which are written here, and ten observations with 10,000 draws from the true
posterior of each, which are files in the wheel of sbibm (MIT). Get it once, without its dependencies, and unpack it:

    pip download sbibm --no-deps && unzip sbibm-*.whl 'sbibm/tasks/*' -d FOLDER
    python benchmarks/posteriors.py FOLDER [--tasks two_moons ...] [--simulations 10000] [--seeds 1]
                                    [--observations 10] [--unbounded] [--set schedule.sigma_max=80 ...]

C2ST is that of the field: the accuracy, in 5 folds, of a perceptron with two layers of 10 d units that tells the draws
of the model from those of the reference, standardised; 0.5 is perfect. Beside it: the mean log p(theta | x) of fresh
simulations, which ranks settings in far less time, and the CPU seconds of the fit and of the draws.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import KFold, cross_val_score
from sklearn.neural_network import MLPClassifier

import motes

FRESH, DRAWS = 1_000, 10_000


@dataclass(frozen=True)
class Task:
    """A prior, uniform on (-bound, bound)^d or normal of variance 0.1 where bound is None, and a simulator."""

    dim: int
    bound: float | None
    simulate: Any

    def prior(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """n draws (n, d)."""
        if self.bound is None:
            return np.sqrt(0.1) * rng.standard_normal((n, self.dim))
        return rng.uniform(-self.bound, self.bound, (n, self.dim))

    @property
    def bounds(self) -> dict[str, tuple[float, float]] | None:
        """As `motes.fit` takes them."""
        return None if self.bound is None else dict.fromkeys(self.columns, (-self.bound, self.bound))

    @property
    def columns(self) -> list[str]:
        """Names of the parameters."""
        return [f"theta{j + 1}" for j in range(self.dim)]


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


TASKS = {
    "two_moons": Task(2, 1.0, two_moons),
    "gaussian_mixture": Task(2, 10.0, gaussian_mixture),
    "gaussian_linear": Task(10, None, gaussian_linear),
    "gaussian_linear_uniform": Task(10, 1.0, gaussian_linear),
    "slcp": Task(5, 3.0, slcp),
}


def reference(folder: Path, task: str, number: int) -> tuple[np.ndarray, np.ndarray]:
    """An observation (c,) and draws from its posterior (10000, d)."""
    place = folder / "sbibm" / "tasks" / task / "files" / f"num_observation_{number}"
    x = np.loadtxt(place / "observation.csv", delimiter=",", skiprows=1)
    return x, np.loadtxt(place / "reference_posterior_samples.csv.bz2", delimiter=",", skiprows=1)


def c2st(real: np.ndarray, ours: np.ndarray) -> float:
    """The classifier two-sample test of sbibm."""
    mean, scale, dim = real.mean(axis=0), real.std(axis=0, ddof=1), real.shape[1]
    both = np.concatenate([(real - mean) / scale, (ours - mean) / scale])
    target = np.repeat([0.0, 1.0], [len(real), len(ours)])
    classifier = MLPClassifier(hidden_layer_sizes=(10 * dim, 10 * dim), max_iter=10_000, random_state=1)
    folds = KFold(n_splits=5, shuffle=True, random_state=1)
    return float(cross_val_score(classifier, both, target, cv=folds, scoring="accuracy").mean())


def run(arguments: argparse.Namespace, name: str, n: int, seed: int) -> None:
    """One model, its C2ST for each observation, and what it cost; a line."""
    task, rng = TASKS[name], np.random.default_rng([n, seed])
    theta = task.prior(rng, n)
    x = task.simulate(rng, theta)
    fresh = task.prior(rng, FRESH)
    cpu = [time.process_time()]
    options = {"columns": task.columns, "bounds": None if arguments.unbounded else task.bounds}
    model = motes.fit(theta, given=x, changes=arguments.changes, seed=seed, verbose=False, **options)
    cpu.append(time.process_time())
    log_p = model.score_samples(fresh, given=task.simulate(rng, fresh))
    found = [reference(arguments.folder, name, number + 1) for number in range(arguments.observations)]
    model.sample(1, given=x[0])  # compiled before it is timed
    cpu.append(time.process_time())
    draws = [model.sample(DRAWS, given=observation, seed=seed) for observation, _ in found]
    cpu.append(time.process_time())
    values = np.array([c2st(real, ours) for (_, real), ours in zip(found, draws, strict=True)])
    print(
        f"{name:<26}{n:>8,}{seed:>5}{values.mean() if len(values) else np.nan:8.3f}   "
        f"{log_p.mean():8.4f} ± {log_p.std() / FRESH**0.5:.3f}"
        f"{cpu[1] - cpu[0]:8.1f} s{(cpu[3] - cpu[2]) / max(len(found), 1):7.1f} s   "
        f"{' '.join(f'{value:.3f}' for value in values)}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--simulations", nargs="+", type=int, default=[10_000])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--observations", type=int, default=10, help="the first so many of ten; 0: log p alone")
    parser.add_argument("--unbounded", action="store_true", help="say nothing of the bounds of a uniform prior")
    parser.add_argument("--set", action="append", default=[], dest="changes")
    arguments = parser.parse_args()
    print(
        f"{'':<26}{'simul.':>8}{'seed':>5}{'C2ST':>8}{'log p, fresh':>20}{'CPU, fit':>10}{'draws':>9}"
        "   of each observation"
    )
    for name in arguments.tasks:
        for n in arguments.simulations:
            for seed in range(arguments.seeds):
                run(arguments, name, n, seed)


if __name__ == "__main__":
    main()
