"""How much faster are exact log-likelihoods of `recipe default` than those of flow_matching's ODESolver?

Both follow the same flow of the same network, which is written again in PyTorch with the weights of the trained one.
ODESolver follows it on its own library's path from noise to data, CondOT, and in the coordinates that motes uses, which
suit it better. Errors are those against Diffrax's Dopri8 at a tolerance of 1e-9, on a part of the rows. Of many
settings of ODESolver the cheapest is taken whose error is not above ours, in the root mean square of the rows and in
their 99th percentile; both sides are then measured in turn, and the medians of the ratios are printed.

    python benchmarks/likelihood.py [--rounds 3] [--rows 10000] [--checked 500] [--shape moons] [--out FILE]
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from flow_matching.solver import ODESolver
from provenance import comparison, cost, record
from tutorial_speed import best_threads

import motes

R_MIN = 1e-3  # the least noise, in standard deviations of the data, as `motes.points.log_likelihood` has it
CENTRE, BEND = math.log(0.3), 3.0  # of its coordinates, u = CENTRE + BEND sinh(v) with u = log r


class Network(torch.nn.Module):
    """`motes.points.ResidualMLP`, with the weights of a trained one."""

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
    """The probability flow of the trained model in PyTorch, from 1, the data, to 0, as ODESolver has it.

    Below r_min the score is held, so that there are two stretches of it, each solved by one call.
    """

    def __init__(self, denoiser, dtype: torch.dtype):
        self.network = Network(denoiser.network).to(dtype)
        self.r_max = math.exp(-float(denoiser.schedule.log_snr(1.0)) / 2)
        self.dtype = dtype

    def eps(self, y, r):
        """eps_hat of a preconditioned network, for sigma_data = 1."""
        r = torch.as_tensor(r, dtype=self.dtype)
        total = torch.sqrt(1 + r**2)
        return r / total**2 * y - self.network(y / total, torch.log(r) / 4) / total

    def held(self, x, t):
        return -R_MIN / 2 * self.eps(x, R_MIN)

    def field(self, x, t):
        raise NotImplementedError

    def scale(self, r: float) -> float:
        """y / x on the path, for a noise-to-signal ratio r."""
        raise NotImplementedError

    def log_prob(self, x: np.ndarray, method: str, **options: float | None) -> np.ndarray:
        x, first, last = torch.tensor(x, dtype=self.dtype), self.scale(R_MIN), self.scale(self.r_max)
        spread = math.sqrt(1 + self.r_max**2) / last  # of x in the prior
        nothing = lambda y: torch.zeros(len(y), dtype=self.dtype)
        normal = lambda x: -0.5 * ((x / spread) ** 2 + math.log(2 * math.pi * spread**2)).sum(1)
        y, before = ODESolver(self.held).compute_likelihood(x, nothing, 0.5, "rk4", exact_divergence=True)
        _, after = ODESolver(self.field).compute_likelihood(
            y / first, normal, method=method, exact_divergence=True, **options
        )
        return (before + after - x.shape[1] * math.log(first)).numpy()


class CondOT(Flow):
    """x = y / (1 + r), at time 1 / (1 + r): straight lines from noise to data, less their ends."""

    def scale(self, r: float) -> float:
        return 1 + r

    def field(self, x, t):
        begin, end = 1 / (1 + self.r_max), 1 / (1 + R_MIN)
        time = begin + t * (end - begin)
        y, r = x / time, (1 - time) / time
        eps = self.eps(y, r)
        return (end - begin) * (y - (1 + r) * eps)  # x0_hat - eps_hat


class Bent(Flow):
    """The coordinates of `motes.points.log_likelihood`."""

    def scale(self, r: float) -> float:
        return math.sqrt(1 + r**2)

    def field(self, x, t):
        begin, end = (math.asinh((math.log(r) - CENTRE) / BEND) for r in (R_MIN, self.r_max))
        v = end + t * (begin - end)
        r = torch.exp(CENTRE + BEND * torch.sinh(v))
        tau = torch.sqrt(1 + r**2)
        slope = BEND * torch.cosh(v) * (r / tau * self.eps(tau * x, r) - (r / tau) ** 2 * x)
        return (begin - end) * slope


PATHS = {"path CondOT": CondOT, "coordinates of motes": Bent}


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


def errors(answer: np.ndarray, exact: np.ndarray) -> tuple[float, float, float]:
    """Root mean square, 99th percentile, largest, in nats."""
    away = np.abs(answer - exact)
    return float(np.sqrt(np.mean(away**2))), float(np.quantile(away, 0.99)), float(away.max())


def cheapest(
    flows: dict[torch.dtype, Flow],
    z: np.ndarray,
    log_det: np.ndarray,
    exact: np.ndarray,
    ours: tuple[float, float, float],
) -> str:
    """The setting of ODESolver that takes least CPU time of those that are as exact as ours."""
    best, least = "", math.inf
    for name, (dtype, options) in settings().items():
        answer: list[np.ndarray] = []
        try:
            _, cpu = cost(lambda: answer.append(flows[dtype].log_prob(z, **options)))  # noqa: B023
        except AssertionError as error:  # of torchdiffeq, where steps become too short for the precision
            print(f"{name:<26}{error}")
            continue
        theirs = errors(answer[0] + log_det, exact)
        print(f"{name:<26}" + "".join(f"{e:10.1e}" for e in theirs) + f"{cpu:13.2f}", flush=True)
        if theirs[0] <= ours[0] and theirs[1] <= ours[1] and cpu < least:
            best, least = name, cpu
    if not best:
        raise SystemExit("no setting of ODESolver is as exact")
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--checked", type=int, default=500)
    parser.add_argument("--shape", default="moons")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results as JSON")
    arguments = parser.parse_args()
    model = motes.fit(motes.make_shape(arguments.shape, 10_000, seed=0), seed=0)
    x = motes.make_shape(arguments.shape, arguments.rows, seed=1_000_003)
    z, few = model.standardiser.forward(x), arguments.checked
    exact = model.likelihood(x[:few], tolerance=1e-9).log_prob
    ours = errors(model.score_samples(x)[:few], exact)  # and compiled
    print(f"{'':<26}{'rms':>10}{'99 %':>10}{'largest':>10} nats{'CPU s':>8}, {few} rows")
    print(f"{'motes':<26}" + "".join(f"{e:10.1e}" for e in ours))
    found = []
    for path, kind in PATHS.items():
        print(f"flow_matching, {path}")
        torch.set_num_threads(1)
        flows = {dtype: kind(model.denoiser, dtype) for dtype in (torch.float32, torch.float64)}
        best = cheapest(flows, z[:few], model.standardiser.log_det(x[:few]), exact, ours)
        dtype, options = settings()[best]
        work = lambda rows: flows[dtype].log_prob(z[:rows], **options)  # noqa: B023
        threads = best_threads(lambda: cost(lambda: work(2_000))[0])  # noqa: B023
        torch.set_num_threads(threads)
        pairs = [
            (cost(lambda: model.score_samples(x)), cost(lambda: work(arguments.rows)))  # noqa: B023
            for _ in range(arguments.rounds)
        ]
        found += [
            comparison(
                f"{arguments.rows:,} log-likelihoods, {path}",
                unit,
                ("motes", [ours[i] for ours, _ in pairs]),
                (f"flow_matching, {best}, {threads} thread{'s'[: threads > 1]}", [theirs[i] for _, theirs in pairs]),
            )
            for i, unit in enumerate(("s", "CPU s"))
        ]
    command, error = "python benchmarks/likelihood.py", {"rms error of motes, nats": float(f"{ours[0]:.2g}")}
    record(arguments.out, command, {"comparisons": found} | error, torch=torch.__version__)


if __name__ == "__main__":
    main()
