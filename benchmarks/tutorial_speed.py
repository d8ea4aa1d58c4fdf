"""How much faster is `recipe tutorial` than the same in PyTorch eager?

The same network, batch, loss, clipping, Adam and moving average; PyTorch with its best number of threads. Both are
measured in turn, several times, and the medians of the ratios are printed.

    python benchmarks/tutorial_speed.py [--rounds 5] [--out FILE]
"""

import argparse
import os
import statistics
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import torch
from provenance import comparison, record

import motes
from motes.points import ReverseProcess

STEPS = 79 * 20  # twenty epochs
POINTS, CHAIN = 10_000, 100


class Gated(torch.nn.Module):
    """Linear, times a learned row per step."""

    def __init__(self, into: int, width: int):
        super().__init__()
        self.linear = torch.nn.Linear(into, width)
        self.gate = torch.nn.Embedding(CHAIN, width)
        torch.nn.init.uniform_(self.gate.weight)

    def forward(self, x, k):
        return torch.nn.functional.softplus(self.gate(k) * self.linear(x))


class Network(torch.nn.Module):
    """The tutorial's network."""

    def __init__(self):
        super().__init__()
        self.hidden = torch.nn.ModuleList([Gated(2, 128), Gated(128, 128), Gated(128, 128)])
        self.out = torch.nn.Linear(128, 2)

    def forward(self, x, k):
        for layer in self.hidden:
            x = layer(x, k)
        return self.out(x)


class Torch:
    """Training and sampling as PyTorch users write them."""

    def __init__(self, schedule, x):
        self.alpha = torch.tensor(np.sqrt(schedule.alphas_bar), dtype=torch.float32)
        self.sigma = torch.tensor(np.sqrt(1 - schedule.alphas_bar), dtype=torch.float32)
        self.beta = torch.tensor(schedule.betas, dtype=torch.float32)
        self.x = torch.tensor(x, dtype=torch.float32)
        self.network = Network()
        self.average = {name: p.detach().clone() for name, p in self.network.named_parameters()}
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=1e-3)

    def train(self, steps: int) -> float:
        begin, done = time.perf_counter(), 0
        while done < steps:
            for rows in torch.randperm(len(self.x)).split(128):
                x0 = self.x[rows]
                k = torch.randint(0, CHAIN, (len(x0) // 2 + 1,))
                k = torch.cat([k, CHAIN - 1 - k])[: len(x0)]
                eps = torch.randn_like(x0)
                x_t = self.alpha[k, None] * x0 + self.sigma[k, None] * eps
                loss = (eps - self.network(x_t, k)).square().mean()
                self.optimiser.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
                self.optimiser.step()
                with torch.no_grad():
                    for name, p in self.network.named_parameters():
                        self.average[name].mul_(0.9).add_(p, alpha=0.1)
                done += 1
                if done == steps:
                    break
        return (time.perf_counter() - begin) / steps

    @torch.no_grad()
    def sample(self, points: int = POINTS, steps: int = CHAIN) -> float:
        """Seconds of the first `steps` of the reverse chain, of all points at once."""
        begin = time.perf_counter()
        x = torch.randn(points, 2)
        for k in reversed(range(CHAIN - steps, CHAIN)):
            eps = self.network(x, torch.full((points,), k))
            mean = (x - self.beta[k] / self.sigma[k] * eps) / torch.sqrt(1 - self.beta[k])
            x = mean + torch.sqrt(self.beta[k]) * torch.randn_like(x)
        return time.perf_counter() - begin


class Motes:
    """The same through `recipe tutorial`."""

    def __init__(self, recipe, x):
        self.recipe, self.x = recipe, x
        self.denoiser = recipe.make_denoiser(2, jax.random.key(0))

    def train(self, steps: int) -> float:
        trained = motes.points.train(
            self.denoiser,
            self.x,
            key=jax.random.key(1),
            loss=self.recipe.loss,
            times=self.recipe.times,
            options=replace(self.recipe.training, steps=steps, averages=0),
        )
        return trained.seconds / steps

    def sample(self) -> float:
        begin = time.perf_counter()
        process = ReverseProcess(self.denoiser, self.recipe.sampler, self.recipe.make_grid(), dim=2)
        motes.points.sample(process, POINTS, key=jax.random.key(2))
        return time.perf_counter() - begin


def best_threads(run) -> int:
    """The number of threads with which `run` takes least time."""
    times = {}
    for threads in sorted({1, os.cpu_count() or 1}):
        torch.set_num_threads(threads)
        run()
        times[threads] = statistics.median(run() for _ in range(3))
    return min(times, key=times.get)


def compare(name: str, ours, theirs, scale: float, unit: str, rounds: int):
    threads = best_threads(theirs)
    torch.set_num_threads(threads)
    ours(), theirs()  # compile, warm up
    first, second = zip(*((scale * ours(), scale * theirs()) for _ in range(rounds)), strict=True)
    return comparison(name, unit, ("motes", first), (f"PyTorch, {threads} thread{'s'[: threads > 1]}", second))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results as JSON")
    given = parser.parse_args()
    recipe = motes.load_recipe("tutorial")
    x = motes.make_shape("moons", POINTS)
    ours, theirs = Motes(recipe, x), Torch(recipe.make_schedule(), x)
    assert sum(p.numel() for p in theirs.network.parameters()) == 72_066
    found = [
        compare("a training step", lambda: ours.train(STEPS), lambda: theirs.train(STEPS), 1e3, "ms", given.rounds),
        compare(f"a chain of {POINTS:,} points", ours.sample, theirs.sample, 1.0, "s", given.rounds),
    ]
    command = "python benchmarks/tutorial_speed.py"
    record(given.out, command, {"comparisons": found}, torch=torch.__version__)


if __name__ == "__main__":
    main()
