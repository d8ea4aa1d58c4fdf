"""How much faster are exact log-likelihoods of `recipe default` than those of flow_matching's ODESolver?

Both follow the same vector field in the same coordinates: the network is written again in PyTorch, with the weights of
the trained one. Errors are those against Diffrax's Dopri8 at a tolerance of 1e-9, on a part of the rows. Of many
settings of ODESolver the cheapest is taken whose error is not above ours, in the root mean square of the rows and in
their 99th percentile; both are then measured in turn, and the medians of the ratios are printed.

    python benchmarks/likelihood.py [--rounds 3] [--rows 10000] [--judged 500] [--shape moons]
"""

import argparse
import math
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from flow_matching.solver import ODESolver
from tutorial_speed import best_threads

import motes
from motes.sampling.likelihood import R_MIN
from motes.sampling.stretch import BEND, CENTRE


class Network(torch.nn.Module):
    """`motes.learning.networks.ResidualMLP`, with the weights of a trained one."""

    def __init__(self, network):
        super().__init__()
        self.layers = torch.nn.ModuleList([self.copy(layer) for layer in (network.into, *network.hidden, network.out)])

    @staticmethod
    def copy(layer) -> torch.nn.Linear:
        linear = torch.nn.Linear(layer.in_features, layer.out_features)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(np.asarray(layer.weight)))
            linear.bias.copy_(torch.tensor(np.asarray(layer.bias)))
        return linear

    def forward(self, x, time):
        angle = time * (math.pi / 4) * 2.0 ** torch.arange(4, dtype=x.dtype)
        features = torch.cat([time[None], torch.sin(angle), torch.cos(angle)]).expand(len(x), 9)
        into, *hidden, out = self.layers
        h = torch.nn.functional.gelu(into(torch.cat([x, features], dim=1)), approximate="tanh")
        for layer in hidden:
            h = h + torch.nn.functional.gelu(layer(h), approximate="tanh")
        return out(h)


class Flow:
    """The probability flow of `motes.sampling.stretch` in PyTorch, from t = 1, the data, to t = 0, as ODESolver has it.

    Below r_min the score is held, so that there are two stretches of it, each solved by one call.
    """

    def __init__(self, denoiser, dtype: torch.dtype):
        self.network = Network(denoiser.network).to(dtype)
        r_max = math.exp(-float(denoiser.schedule.log_snr(1.0)) / 2)
        self.begin, self.end = (math.asinh((math.log(r) - CENTRE) / BEND) for r in (R_MIN, r_max))
        self.dtype = dtype

    def eps(self, y, r):
        """eps_hat of a preconditioned network, for sigma_data = 1."""
        r = torch.as_tensor(r, dtype=self.dtype)
        total = torch.sqrt(1 + r**2)
        return r / total**2 * y - self.network(y / total, torch.log(r) / 4) / total

    def held(self, x, t):
        return -R_MIN / 2 * self.eps(x, R_MIN)

    def field(self, x, t):
        v = self.end + t * (self.begin - self.end)
        r = torch.exp(CENTRE + BEND * torch.sinh(v))
        tau = torch.sqrt(1 + r**2)
        slope = BEND * torch.cosh(v) * (r / tau * self.eps(tau * x, r) - (r / tau) ** 2 * x)
        return (self.begin - self.end) * slope

    def log_prob(self, x: np.ndarray, method: str, **options: float | None) -> np.ndarray:
        x, tau = torch.tensor(x, dtype=self.dtype), math.sqrt(1 + R_MIN**2)
        nothing = lambda y: torch.zeros(len(y), dtype=self.dtype)
        normal = lambda z: -0.5 * (z**2 + math.log(2 * math.pi)).sum(1) - x.shape[1] * math.log(tau)
        y, before = ODESolver(self.held).compute_likelihood(x, nothing, 0.5, "rk4", exact_divergence=True)
        _, after = ODESolver(self.field).compute_likelihood(
            y / tau, normal, method=method, exact_divergence=True, **options
        )
        return (before + after).numpy()


def settings() -> dict[str, tuple[torch.dtype, dict]]:
    """Ways to call ODESolver, by name."""
    found = {}
    for precision, dtype in (("float32", torch.float32), ("float64", torch.float64)):
        for method in ("dopri5", "dopri8"):
            for tolerance in (1e-3, 1e-4, 1e-5, 1e-6, 1e-7):
                options = {"method": method, "step_size": None, "atol": tolerance, "rtol": tolerance}
                found[f"{method} {tolerance:g} {precision}"] = dtype, options
        for steps in (24, 48, 96):
            found[f"rk4 {steps} steps {precision}"] = dtype, {"method": "rk4", "step_size": 1 / steps}
    return found


def cost(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds, and CPU seconds of all threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def errors(answer: np.ndarray, exact: np.ndarray) -> tuple[float, float, float]:
    """Root mean square, 99th percentile, largest, in nats."""
    away = np.abs(answer - exact)
    return float(np.sqrt(np.mean(away**2))), float(np.quantile(away, 0.99)), float(away.max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--judged", type=int, default=500)
    parser.add_argument("--shape", default="moons")
    arguments = parser.parse_args()
    model = motes.fit(motes.draw(arguments.shape, 10_000, seed=0), seed=0)
    x = motes.draw(arguments.shape, arguments.rows, seed=1_000_003)
    z, few = model.standardiser.forward(x), arguments.judged
    exact = model.likelihood(x[:few], solver="adaptive", tolerance=1e-9).log_prob
    flows = {dtype: Flow(model.denoiser, dtype) for dtype in (torch.float32, torch.float64)}
    log_det = model.standardiser.log_det
    ours = errors(model.score_samples(x)[:few], exact)  # and compiled
    print(f"{'':<26}{'rms':>10}{'99 %':>10}{'largest':>10} nats{'CPU s':>8}, {few} rows")
    print(f"{'motes':<26}" + "".join(f"{e:10.1e}" for e in ours))
    best, cheapest = "", math.inf
    torch.set_num_threads(1)
    for name, (dtype, options) in settings().items():
        answer: list[np.ndarray] = []
        _, cpu = cost(lambda: answer.append(flows[dtype].log_prob(z[:few], **options)))  # noqa: B023
        theirs = errors(answer[0] + log_det, exact)
        print(f"{name:<26}" + "".join(f"{e:10.1e}" for e in theirs) + f"{cpu:13.2f}", flush=True)
        if theirs[0] <= ours[0] and theirs[1] <= ours[1] and cpu < cheapest:
            best, cheapest = name, cpu
    if not best:
        raise SystemExit("no setting of ODESolver is as exact")
    dtype, options = settings()[best]
    threads = best_threads(lambda: cost(lambda: flows[dtype].log_prob(z[:2_000], **options))[0])
    torch.set_num_threads(threads)
    pairs = [
        (cost(lambda: model.score_samples(x)), cost(lambda: flows[dtype].log_prob(z, **options)))
        for _ in range(arguments.rounds)
    ]
    for i, unit in enumerate(("s", "CPU s")):
        a, b = (statistics.median(side[i] for side in sides) for sides in zip(*pairs, strict=True))
        ratio = statistics.median(theirs[i] / ours[i] for ours, theirs in pairs)
        print(
            f"{arguments.rows:,} log-likelihoods: motes {a:.2f} {unit}, flow_matching ({best}, {threads} thread(s)) "
            f"{b:.1f} {unit}: {ratio:.1f} times"
        )


if __name__ == "__main__":
    main()
