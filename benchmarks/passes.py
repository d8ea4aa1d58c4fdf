"""What do the compiler options of a training program save before the first step, and what do they cost in each step?

The very program of `motes.points.train` is compiled with its own options and with one of them left out: fewer of LLVM's
passes, and with JAX before 0.11 XLA's older code generator. In turns, the first step and 500 more are taken with each.

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
from motes.training import loop, programs

TURNS, STEPS = 5, 500
OWN = {"xla_backend_optimization_level": programs.LEVEL, "xla_cpu_multi_thread_eigen": False}
OTHERS = {"all of LLVM's passes": {"xla_backend_optimization_level": 3}}
if programs._older_emitters():
    OTHERS["the newer code generator"] = {"xla_cpu_use_fusion_emitters": True}


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

    first, again = run(1), run(1)
    return first, run(STEPS + 1) - again


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results as JSON")
    out, ours, results = parser.parse_args().out, loop._advance, []
    recipe = motes.load_recipe()
    for dim in (2, 10, 60):
        found = {kind: [] for kind in ("options of motes", *OTHERS)}
        for _ in range(TURNS):
            for kind, seconds in found.items():
                jax.clear_caches()
                options = OWN | programs._older_emitters() | OTHERS.get(kind, {})
                program = eqx.filter_jit(ours.__wrapped__, compiler_options=options) if kind in OTHERS else ours
                seconds.append(timed(program, recipe, dim, 10_000))
        own, *others = ((kind, np.array(seconds).T) for kind, seconds in found.items())
        results += [
            comparison(f"{dim} columns, {what}", "s", (own[0], own[1][i]), (kind, seconds[i]))
            for kind, seconds in others
            for i, what in enumerate(["the first step", f"{STEPS} steps"])
        ]
    record(out, "python benchmarks/passes.py", {"comparisons": results})


if __name__ == "__main__":
    main()
