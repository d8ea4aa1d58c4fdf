"""How near does `recipe default` come to each shape, and what does it cost, in pairs with another checkout?

    python benchmarks/toys.py [--other OTHER/.venv/bin/python] [--out benchmarks/results/toys.json]

Each shape is trained by `motes train SHAPE --no-figures --quiet` from the shell to its samples, with programs that an
earlier run has compiled, by the other checkout and by this one in turn. Of the saved model:

- strays: shares of 40,000 samples below the 0.0001, 0.001 and 0.01 quantiles of the exact log-density of 200,000 real
  points, of which a real draw has these shares;
- sampler: the same share for 0.001 with the exact denoiser in the place of the network, the sampler's own;
- nats: what -log p is above the entropy, E_p[log(p / q) + q / p - 1] over 2,000 real points, and its standard error.

CPU seconds are those of all threads until samples.csv is there, read on Linux every 20 ms; the verdict comes after it.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from provenance import record

import motes

SHAPES = (
    "swiss_roll", "s_curve", "moons", "circles", "checkerboard", "eight_gaussians", "pinwheel", "two_spirals", "rings",
)  # fmt: skip
SHARES = (1e-4, 1e-3, 1e-2)
SAMPLES, SCORED = 40_000, 2_000
EXACT = 10_000  # samples with the exact denoiser, each of which costs as much as 20 of the network's


def quality(shape: str, model: motes.Model) -> dict[str, float]:
    """Strays and nats of a trained model."""
    exact = motes.truth(shape)
    edges = np.quantile(exact.log_density(exact.sample(200_000, seed=77)), SHARES)
    below = lambda x: [float(share) for share in (exact.log_density(x)[:, None] < edges).mean(axis=0)]
    perfect = model.with_denoiser(exact.oracle(model.denoiser.schedule, model.standardiser))
    x = exact.sample(SCORED, seed=3)
    ratio = exact.log_density(x) - model.score_samples(x)
    terms = ratio + np.exp(-ratio) - 1
    found = {
        f"strays {share:g}": value for share, value in zip(SHARES, below(model.sample(SAMPLES, seed=5)), strict=True)
    }
    found["sampler 0.001"] = below(perfect.sample(EXACT, seed=5))[1]
    found |= {"nats": float(terms.mean()), "nats error": float(terms.std() / np.sqrt(SCORED))}
    return {name: float(f"{value:.3g}") for name, value in found.items()}


def seconds_to_samples(words: list[str], out: Path, environment: dict[str, str]) -> tuple[float, float]:
    """CPU and wall seconds of a training until its samples are written."""
    tick = os.sysconf("SC_CLK_TCK")
    samples, seconds, wall, began = out / "samples.csv", 0.0, 0.0, time.perf_counter()
    samples.unlink(missing_ok=True)
    with subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            if not samples.exists():
                times = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
                seconds, wall = (int(times[11]) + int(times[12])) / tick, time.perf_counter() - began
            time.sleep(0.02)
    if process.returncode or not samples.exists():
        raise SystemExit(f"{' '.join(words)} ended with {process.returncode}")
    return round(seconds, 2), round(wall, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--other", help="the Python of the other checkout")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--shapes", nargs="+", default=SHAPES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    args = parser.parse_args()
    found: dict[str, dict[str, dict[str, float]]] = {}
    pythons = {"before": args.other, "after": sys.executable} if args.other else {"after": sys.executable}
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        environments = {
            name: os.environ | {"JAX_COMPILATION_CACHE_DIR": str(here / name),
                                "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
                                "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}
            for name in pythons
        }  # fmt: skip

        def train(name: str, shape: str, seed: int) -> float:
            out = here / f"run-{name}"
            words = [pythons[name], "-m", "motes", "train", shape, "--no-figures", "--quiet", "--overwrite"]
            return seconds_to_samples([*words, "--seed", str(seed), "--out", str(out)], out, environments[name])[0]

        for name in pythons:
            train(name, args.shapes[0], 0)  # compiles
        for shape in args.shapes:
            for seed in args.seeds:
                own = found.setdefault(shape, {})[f"seed {seed}"] = {}
                for name in pythons:
                    own[f"{name} cpu"] = train(name, shape, seed)
                own |= quality(shape, motes.load(here / "run-after" / "model.safetensors"))
                print(shape, seed, own, flush=True)
    record(args.out, "python benchmarks/toys.py --other OTHER/.venv/bin/python", {"shapes": found})


if __name__ == "__main__":
    main()
