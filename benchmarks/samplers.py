"""How close does each sampler come to the truth, for how many evaluations of the network?

`recipe default` is trained on each shape and seed; each sampler then draws 20,000 points from the same starts, by 4 to
128 evaluations, and its sliced W2 to 20,000 fresh points is divided by that of the same model with 256 Heun steps.
Printed are medians over seeds, then over shapes or of the worst shape; for samplers that draw nothing at random also
the rms deviation from where the flow of the same model leads; and 16 evaluations on other grids.

    python benchmarks/samplers.py [--seeds 3] [--figure docs/images/samplers.png] [--style dark] [--out FILE]
"""

import argparse
from functools import partial
from pathlib import Path

import numpy as np
from provenance import record, short

import motes
from motes.points import DDIM, Ancestral, DPMSolver3M, Heun, KarrasGrid, Sampler, Schedule, UniformGrid
from motes.points.samplers import (
    Adaptive,
    AnnealedLangevin,
    DPMSolver2M,
    DPMSolver2MSDE,
    EDMStochastic,
    EulerMaruyama,
    GradientEstimation,
)
from motes.points.sampling import LogSNRGrid

SHAPES = ("swiss_roll", "s_curve", "moons")
BUDGETS = (4, 8, 16, 32, 64, 128)
SAMPLERS: dict[str, Sampler] = {
    "ddim (euler)": DDIM(),
    "gradient_estimation, gamma 2": GradientEstimation(2.0),
    "gradient_estimation, gamma 1.5": GradientEstimation(1.5),
    "heun": Heun(),
    "dpmpp_2m": DPMSolver2M(),
    "dpmpp_3m": DPMSolver3M(),
    "ancestral, beta": Ancestral("beta"),
    "ancestral, posterior": Ancestral("posterior"),
    "euler_maruyama": EulerMaruyama(),
    "dpmpp_2m_sde": DPMSolver2MSDE(),
    "churn": EDMStochastic(),
    "langevin": AnnealedLangevin(),
}
DRAWN = (
    "ddim (euler)",
    "heun",
    "dpmpp_2m",
    "dpmpp_3m",
    "ancestral, posterior",
    "dpmpp_2m_sde",
    "gradient_estimation, gamma 1.5",
)
ROWS = 20_000
BEST = {"sigma_min": 0.01, "rho": 7.0}  # the grid on which all are compared


def steps_of(sampler: Sampler, budget: int) -> int:
    """The most steps for which `budget` evaluations are enough: the last step, to s = 0, takes one."""
    assert sampler.evaluations is not None
    return (budget - 1) // sampler.evaluations + 1


class Case:
    """A trained model with its shape's truth; distances are over that of 256 Heun steps."""

    def __init__(self, shape: str, seed: int):
        self.model: motes.Model = motes.fit(motes.make_shape(shape, 10_000, seed=seed), seed=seed, source=shape)
        self.fresh = motes.make_shape(shape, ROWS, seed=10**6 + seed)
        self.reference = self.distance(motes.make_shape(shape, ROWS, seed=2 * 10**6 + seed))
        fine = KarrasGrid(256, 0.002, rho=7.0)(self.schedule)
        self.end = self.model.sample(ROWS, sampling=motes.Sampling(Heun(), grid=fine))
        self.best = self.distance(self.end)

    @property
    def schedule(self) -> Schedule:
        return self.model.denoiser.schedule

    def distance(self, x: np.ndarray) -> float:
        return float(motes.sliced_w2(x, self.fresh, directions=60))

    def evaluate(self, sampler: Sampler, grid: np.ndarray) -> tuple[float, float]:
        """The distance over that of Heun's 256 steps, and the rms deviation from where those lead, in data units."""
        x = self.model.sample(ROWS, sampling=motes.Sampling(sampler, grid=grid))
        return self.distance(x) / self.best, float(np.sqrt(np.mean((x - self.end) ** 2)))


def table(title: str, rows: dict[str, np.ndarray], columns: list[str]) -> None:
    print(f"\n{title}\n{'':<32}" + "".join(f"{name:>10}" for name in columns))
    for name, values in rows.items():
        print(f"{name:<32}" + "".join(f"{value:10.3g}" for value in values), flush=True)


def by_shape(cases: dict[tuple[str, int], Case], sampler: Sampler, make_grid) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Medians over seeds, (shapes, 2), of what `evaluate` gives."""
    found = {key: case.evaluate(sampler, make_grid(case.schedule)) for key, case in cases.items()}
    return np.array([np.median([found[key] for key in found if key[0] == shape], axis=0) for shape in SHAPES])


def draw_figure(path: Path, ratios: dict[str, np.ndarray], reference: float, style: str) -> None:
    import matplotlib.pyplot as plt
    from matplotlib.figure import Figure

    from motes import plots

    look = plots.STYLES[style]
    with plt.style.context("dark_background" if style == "dark" else "default"):
        figure = Figure(figsize=(7.6, 4.6), layout="constrained")
        axes = figure.add_subplot()
        axes.axhspan(0, reference, color=look.muted, alpha=0.25, linewidth=0)
        axes.text(BUDGETS[-1], reference, "two real draws ", color=look.muted, ha="right", va="bottom", fontsize=9)
        axes.axhline(1.0, color=look.muted, linewidth=1, linestyle=(0, (5, 3)))
        for name, colour in zip(DRAWN, look.classes, strict=False):
            axes.plot(BUDGETS, ratios[name], "o-", color=colour, label=name, markersize=4, linewidth=1.6)
        axes.set(
            xscale="log", yscale="log", xlabel="evaluations of the network",
            ylabel="sliced W2, over that of 256 Heun steps", xticks=BUDGETS, xticklabels=BUDGETS, ylim=(0.4, 40),
        )  # fmt: skip
        axes.minorticks_off()
        axes.set_yticks([0.5, 1, 2, 5, 10, 20], ["0.5", "1", "2", "5", "10", "20"])
        axes.legend(fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, facecolor=look.background)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--figure", type=Path)
    parser.add_argument("--style", default="light")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results as JSON")
    arguments = parser.parse_args()
    cases = {(shape, seed): Case(shape, seed) for shape in SHAPES for seed in range(arguments.seeds)}
    for shape in SHAPES:
        ours = [(case.best, case.reference) for key, case in cases.items() if key[0] == shape]
        print("{:<12} 256 Heun steps {:.4f}, two real draws {:.4f}".format(shape, *np.median(ours, axis=0)))
    reference = float(np.median([case.reference / case.best for case in cases.values()]))
    print(f"two real draws, over 256 Heun steps: {reference:.2f}")
    columns, middle, worst, away = [str(budget) for budget in BUDGETS], {}, {}, {}
    ratios: dict[str, dict[str, list[float]]] = {}
    for name, sampler in SAMPLERS.items():
        steps = partial(steps_of, sampler)
        found = np.array(
            [by_shape(cases, sampler, lambda s, n=n: KarrasGrid(n, **BEST)(s)) for n in map(steps, BUDGETS)]
        )  # (budgets, shapes, 2)
        ratios[name] = {shape: [short(one) for one in found[:, i, 0]] for i, shape in enumerate(SHAPES)}
        middle[name], worst[name], away[name] = np.median(found[..., 0], 1), found[..., 0].max(1), found[..., 1].mean(1)
        print(f"  {name:<32}" + "".join(f"{value:8.3g}" for value in worst[name]), flush=True)
    table("SW2 over that of 256 Heun steps: median over shapes and seeds, by evaluations", middle, columns)
    table("the same on the worst of the shapes", worst, columns)
    table("rms deviation from the flow's end (meant for what draws nothing at random)", away, columns)
    grids = {
        "karras 0.004, rho 5": lambda s: KarrasGrid(16, 0.004, rho=5.0)(s),
        "karras 0.004, rho 7 (the recipe)": lambda s: KarrasGrid(16, 0.004, rho=7.0)(s),
        "karras 0.01, rho 7": lambda s: KarrasGrid(16, 0.01, rho=7.0)(s),
        "karras 0.02, rho 7": lambda s: KarrasGrid(16, 0.02, rho=7.0)(s),
        "log_snr 0.004": lambda s: LogSNRGrid(16, 0.004)(s),
        "log_snr 0.01": lambda s: LogSNRGrid(16, 0.01)(s),
        "uniform": lambda s: UniformGrid(16)(s),
    }
    three = {"dpmpp_2m": DPMSolver2M(), "dpmpp_3m": DPMSolver3M(), "ge 1.5": GradientEstimation(1.5)}
    rows = {
        grid: np.array([by_shape(cases, sampler, make)[:, 0].max() for sampler in three.values()])
        for grid, make in grids.items()
    }
    table("16 steps on other grids, on the worst of the shapes", rows, list(three))
    adaptive = by_shape(cases, Adaptive(), lambda s: UniformGrid(1)(s))
    print(f"\nadaptive, 1e-4: {adaptive[:, 0].max():.3f} on the worst of the shapes")
    by_grid = {grid: dict(zip(three, map(short, row), strict=True)) for grid, row in rows.items()}
    results = {
        "evaluations": BUDGETS,
        "sliced W2, over 256 Heun steps": ratios,
        "real points, over 256 Heun steps": short(reference),
        "16 steps on other grids, worst shape": by_grid,
        "adaptive, 1e-4, worst shape": short(adaptive[:, 0].max()),
    }
    record(arguments.out, "python benchmarks/samplers.py", results, seeds=arguments.seeds)
    if arguments.figure:
        draw_figure(arguments.figure, middle, reference, arguments.style)


if __name__ == "__main__":
    main()
