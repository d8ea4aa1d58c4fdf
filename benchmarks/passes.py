"""What do fewer of LLVM's passes do to a training program: how soon is it there, and how fast is it?

The very program of `motes.points.train` is compiled as it is and with all passes, in turns, and 500 steps are
taken with each; medians, and the ratio of ours to the other.

    python benchmarks/passes.py [--out FILE]
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
from provenance import comparison, record

import motes
from motes.training import loop

TURNS, STEPS = 5, 500


def timed(program, recipe, dim, rows):
    """Seconds until the first step is done, and of STEPS more."""
    key = jax.random.key(0)
    denoiser = recipe.make_denoiser(dim, key)

    def run(steps):
        loop._advance = program
        begin = time.perf_counter()
        motes.points.train(
            denoiser,
            np.random.default_rng(0).standard_normal((rows, dim)),
            key=key,
            loss=recipe.loss,
            times=recipe.times,
            options=replace(recipe.training, steps=steps),
        )
        return time.perf_counter() - begin

    first = run(1)
    return first, run(STEPS + 1) - run(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results as JSON")
    out, ours, results = parser.parse_args().out, loop._advance, []
    recipe = motes.load_recipe()
    for dim in (2, 10, 60):
        found = {"fewer passes": [], "all passes": []}
        for _ in range(TURNS):
            for kind, seconds in found.items():
                jax.clear_caches()
                program = ours if kind == "fewer passes" else eqx.filter_jit(ours.__wrapped__)
                seconds.append(timed(program, recipe, dim, 10_000))
        for i, what in enumerate(["the first step", f"{STEPS} steps"]):
            sides = [(kind, [one[i] for one in seconds]) for kind, seconds in found.items()]
            results.append(comparison(f"{dim} columns, {what}", "s", *reversed(sides)))
    record(out, "python benchmarks/passes.py", {"comparisons": results})


if __name__ == "__main__":
    main()
