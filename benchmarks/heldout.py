"""How close does the likelihood of held-out points come to the best there is?

`recipe default` is trained on 10,000 points of each shape and seed. The mean of -log p over fresh points, less the
entropy of the shape, is the Kullback-Leibler divergence of the truth to the model: 0 for a perfect one. The same points
under the truth itself tell what is luck of the draw, and are taken off.

    python benchmarks/heldout.py [--seeds 5] [--rows 5000] [--set training.steps=8000 ...]
"""

import argparse
import time

import numpy as np

import motes

SHAPES = ("moons", "swiss_roll", "eight_gaussians")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=5_000)
    parser.add_argument("--shapes", nargs="+", default=SHAPES)
    parser.add_argument("--set", action="append", default=[], dest="changes")
    arguments = parser.parse_args()
    print(f"{'':<18}{'entropy':>9}{'excess, nats: median, least, most':>38}{'its error':>11}{'training':>10}{'CPU':>8}")
    for shape in arguments.shapes:
        truth = motes.truth(shape)
        entropy, found = truth.entropy(), []
        for seed in range(arguments.seeds):
            seeds = (10_000, seed), (arguments.rows, 1_000_003 + seed)
            x, fresh = (motes.make_shape(shape, n, seed=s) for n, s in seeds)
            cpu = time.process_time()
            model = motes.fit(x, changes=arguments.changes, seed=seed)
            cpu = time.process_time() - cpu
            away = truth.log_density(fresh) - model.score_samples(fresh)
            found.append((away.mean(), away.std() / len(away) ** 0.5, model.training.seconds, cpu))
        excess, error, seconds, cpu = np.array(found).T
        print(
            f"{shape:<18}{float(entropy.value):9.4f}{np.median(excess):18.4f}{excess.min():10.4f}{excess.max():10.4f}"
            f"{np.median(error):11.4f}{np.median(seconds):8.1f} s{np.median(cpu):6.1f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
