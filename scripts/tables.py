"""Write the tables of README.md, benchmarks/README.md and docs/*.md from benchmarks/results/*.json.

    python scripts/tables.py            write them
    python scripts/tables.py --check    exit code 1 if a table differs from its data (a test does this, too)

A page marks a table with the lines `<!-- table: NAME -->` and `<!-- end of table -->`. NAME is a function below, which
turns the data of one or more files into rows.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import mean, median
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = [ROOT / "README.md", ROOT / "benchmarks" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MARKED = re.compile(r"(<!-- table: (\w+) -->\n\n?)(.*?)(\n?<!-- end of table -->)", re.DOTALL)
Rows = Iterable[tuple[object, ...]]

TABLES: dict[str, Callable[..., Rows]] = {}  # name -> header and rows, from the data of its files
FILES: dict[str, tuple[str, ...]] = {}  # name -> its files in benchmarks/results


def table(*files: str, name: str = "") -> Callable[[Callable[..., Rows]], Callable[..., Rows]]:
    """Register a function that makes the rows of a table from the data of each file, under `name` or its own."""

    def register(function: Callable[..., Rows]) -> Callable[..., Rows]:
        TABLES[name or function.__name__], FILES[name or function.__name__] = function, files
        return function

    return register


def number(value: float) -> str:
    """Three significant digits, or all digits before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def shape_name(name: str) -> str:
    """The name of a shape in words."""
    return name.replace("_", " ").replace("s curve", "s-curve").replace("gaussians", "Gaussians")


def share(one: dict[str, float]) -> str:
    """A count with its share and the interval of 95 %."""
    low, high = (f"{100 * one[key]:.1f}" for key in ("low", "high"))
    return f"{one['count']} of {one['of']}, {100 * one['count'] / one['of']:.1f} % ({low} to {high} %)"


def compared(*parts: dict[str, Any]) -> Rows:
    """The rows of comparisons, except of CPU seconds: two sides, and the ratio of the second to the first."""
    yield "", "A", "B", "B / A"
    for one in (one for data in parts for one in data["comparisons"] if "CPU" not in one["unit"]):
        sides = (f"{one[side]['name']}: {number(one[side]['median'])} {one['unit']}" for side in ("first", "second"))
        ratio = one["ratio"]
        spread = f" ({ratio['low']:.3g} to {ratio['high']:.3g})" if one["turns"] > 1 else ""
        yield one["what"], *(side.strip() for side in sides), f"{ratio['median']:.3g}{spread}"


def measures(*parts: dict[str, Any]) -> Rows:
    """The rows of measures of one side: the median, and the range of several."""
    yield "", "result"
    for one in (one for data in parts for one in data["measures"]):
        spread = f" ({one['low']:.3g} to {one['high']:.3g})" if one["low"] < one["high"] else ""
        yield one["what"], f"{number(one['median'])} {one['unit']}".strip() + spread


table("tutorial_speed.json", "million.json", "likelihood.json", name="speed")(compared)
table("sweep.json", "averages.json", "resume.json", "passes.json", name="steps")(compared)
table("metrics_speed.json", "explorer.json", name="costs")(measures)
table("tables_scale.json", name="tables_scale")(measures)
table("tables.json", name="tables_coded")(measures)
table("default_recipe.json", name="default_recipe_costs")(measures)


@table("tutorial_speed.json")
def tutorial_speed(data: dict[str, Any]) -> Rows:
    yield "relative time", "JAX", "PyTorch, eager"
    for one in data["comparisons"]:
        yield one["what"], 1, f"{one['ratio']['median']:.1f}"


@table("samplers.json")
def samplers(data: dict[str, Any]) -> Rows:
    yield "", *data["evaluations"]
    for name, shapes in data["sliced W2, over 256 Heun steps"].items():
        yield name, *(number(max(one)) for one in zip(*shapes.values(), strict=True))
    yield "real points", *[number(data["real points, over 256 Heun steps"])] * len(data["evaluations"])


@table("verdicts.json")
def verdicts(data: dict[str, Any]) -> Rows:
    yield "experiment", "result"
    alarms = data["false alarms"]
    for name in ("all points", "a table like penguins"):
        yield f"real rows against real rows, {name}", f"{share(alarms[name])} with a false alarm"
    for name, one in data["planted differences"].items():
        yield f"a planted difference of {number(one['planted'])} in `{name}`", f"{share(one)} detected"


@table("resume.json", "verdicts.json", "faults.json", "mutants.json")
def reliability(
    resumed: dict[str, Any], told: dict[str, Any], planted: dict[str, Any], mutants: dict[str, Any]
) -> Rows:
    yield "", "result"
    yield f"runs of the same bits, after {resumed['kills']} kills", resumed["runs, all of the same bits"]
    crashed = resumed["processes that ended by another signal"]
    yield "of these kills, processes that crashed while they ended", len(crashed)
    for name in ("all points", "a table like penguins"):
        yield f"evaluations with a false alarm, {name}", share(told["false alarms"][name])
    named = sum(case["findings"][0] in case["expected"] for case in planted["faults"])
    yield "planted faults that `motes diagnose` names first", f"{named} of {len(planted['faults'])}"
    yield "mutants that the quick tests notice", f"{mutants['noticed']} of {mutants['mutants']}"
    rest = mutants["mutants"] - len(mutants["change nothing"])
    yield "without those that change no answer", f"{mutants['noticed']} of {rest}"


@table("toys.json")
def toys(data: dict[str, Any]) -> Rows:
    yield "shape", "strays", "excess, nats", "its standard error", "CPU seconds"
    for name, seeds in data["shapes"].items():
        both = lambda key, form, seeds=seeds: ", ".join(f"{one[key]:{form}}" for one in seeds.values())
        yield (
            shape_name(name),
            both("strays 0.001", ".4f"),
            both("nats", ".4f"),
            both("nats error", ".4f"),
            both("after cpu", ".1f"),
        )


@table("default_recipe.json")
def default_recipe(data: dict[str, Any]) -> Rows:
    yield "", *map(shape_name, data["shapes"])
    first = next(iter(data["shapes"].values()))
    for metric, sides in first.items():
        for side in sides:
            yield f"{metric}, {side}", *(f"{one[metric][side]:.3f}" for one in data["shapes"].values())


@table("heldout.json")
def heldout(data: dict[str, Any]) -> Rows:
    yield "excess of -log p, nats", *next(iter(data["shapes"].values()))
    for name, models in data["shapes"].items():
        yield shape_name(name), *(f"{median(one['excess']):.3f}" for one in models.values())


@table("faults.json")
def faults(data: dict[str, Any]) -> Rows:
    yield "planted fault", "named first", "runs", "remaining fraction after the fix"
    for name in dict.fromkeys(case["fault"] for case in data["faults"]):
        mine = [case for case in data["faults"] if case["fault"] == name]
        first = Counter(f"`{case['findings'][0]}`" if case["findings"] else "nothing" for case in mine)
        shares = sorted(max(case["after"], 0) / case["before"] for case in mine if case["before"] > 0)
        named = ", ".join(f"{finding} {count}" for finding, count in first.items())
        yield name, named, len(mine), ", ".join(f"{share:.2g}" for share in shares)


PROTOCOL = {  # score -> heading, digits, and which published figure is the best
    "shape": ("shape, %", 2, min),
    "trend": ("trend, %", 2, min),
    "lr": ("LR", 3, max),
    "xgb_train": ("XGB", 3, max),
    "xgb_unseen": ("XGB unseen", 3, None),
    "auc": ("AUC", 3, max),
    "dcr_share": ("DCR", 3, None),
    "nats": ("nats", 2, None),
    "fit_wall": ("fit, s", 0, None),
    "draw_wall": ("draw, s", 0, None),
}


def protocol_cell(found: dict[str, Any], score: str) -> tuple[str, str]:
    """The median of a score over the seeds, and the best published figure; "" for none."""
    _, digits, best = PROTOCOL[score]
    ours = f"{median(run[score] for run in found['runs']['motes']):.{digits}f}"
    published = [one[score] for one in found["published"].values() if score in one]
    return ours, f"{best(published):.{digits}f}" if best and published else ""


@table("tables_protocol.json")
def tables_protocol(data: dict[str, Any]) -> Rows:
    yield "", *(heading for heading, _, _ in PROTOCOL.values())
    for name, found in data["tables"].items():
        cells = [protocol_cell(found, score) for score in PROTOCOL]
        yield name, *(f"{ours} ({published})" if published else ours for ours, published in cells)


@table("tables_protocol.json")
def tables_peers(data: dict[str, Any]) -> Rows:
    yield "", "motes", "best published", "motes on unseen rows", "seconds to fit, without a GPU"
    for name, found in data["tables"].items():
        ours, published = protocol_cell(found, "xgb_train")
        yield name, ours, published, *(protocol_cell(found, score)[0] for score in ("xgb_unseen", "fit_wall"))


@table("second_protocol.json")
def second_protocol_sums(data: dict[str, Any]) -> Rows:
    rows = ("real rows", "more real rows", "motes", "CART", "independent columns")
    yield "sum of the scaled figures", *rows
    for name, found in data["tables"].items():
        for part in ("utility", "privacy"):
            yield f"{name}, {part}", *(f"{found[key][f'sum, {part}']:.2f}" for key in rows)


@table("second_protocol.json")
def second_protocol(data: dict[str, Any]) -> Rows:
    yield "", *data["tables"]
    names = {name: None for found in data["tables"].values() for name in found["motes"] if "sum" not in name}
    for name in names:
        cell = lambda found, name=name: "{:z.3f} ({:z.3f}, {:z.3f}; {:z.3f})".format(
            *(found[key][name] for key in ("motes", "real rows", "more real rows", "CART"))
        )
        yield f"`{name}`", *(cell(found) if name in found["motes"] else "" for found in data["tables"].values())


TASKS = {
    "two_moons": "two moons",
    "gaussian_mixture": "Gaussian mixture",
    "gaussian_linear": "Gaussian linear",
    "gaussian_linear_uniform": "linear uniform",
    "slcp": "SLCP",
    "bernoulli_glm": "Bernoulli GLM",
    "sir": "SIR",
    "lotka_volterra": "Lotka-Volterra",
}


def posterior_runs(data: dict[str, Any]) -> dict[tuple[str, str, int], list[dict[str, Any]]]:
    """The runs, one for each seed, of each task, recipe and number of simulations, in the order of TASKS."""
    key = lambda run: (run["task"], run["recipe"], run["simulations"])
    order = lambda run: (list(TASKS).index(run["task"]), run["recipe"] == "any", run["simulations"])
    runs: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for run in sorted(data["runs"], key=order):
        runs.setdefault(key(run), []).append(run)
    return runs


def published(data: dict[str, Any], task: str, simulations: int) -> list[str]:
    """The C2ST of each method, or nothing."""
    found = data["published"]["C2ST"]
    index = (1_000, 10_000, 100_000).index(simulations)
    methods = next(iter(found.values()))
    return [f"{found[task][method][index]:.3f}" if task in found else "" for method in methods]


def mean_c2st(runs: list[dict[str, Any]]) -> str:
    """The mean over observations and seeds."""
    return f"{mean(mean(run['c2st']) for run in runs):.3f}"


@table("posteriors.json")
def posteriors_peers(data: dict[str, Any]) -> Rows:
    yield "", "motes", *next(iter(data["published"]["C2ST"].values()))
    for (task, recipe, simulations), runs in posterior_runs(data).items():
        if simulations == 10_000 and recipe == "posterior" and task in data["published"]["C2ST"]:
            yield TASKS[task], mean_c2st(runs), *published(data, task, simulations)


@table("posteriors.json")
def posteriors(data: dict[str, Any]) -> Rows:
    methods = next(iter(data["published"]["C2ST"].values()))
    yield "task", "simulations", "motes", "observations", *methods, "log p", "exact"
    for (task, recipe, simulations), runs in posterior_runs(data).items():
        listed = lambda key, digits, runs=runs: ", ".join(
            f"{run[key]:.{digits}f}" for run in runs if run[key] is not None
        )
        yield (
            TASKS[task] + ", recipe `any`" * (recipe == "any"),
            f"{simulations:,}",
            mean_c2st(runs) + " (earlier code)" * ("code" in runs[0]),
            runs[0].get("observations", len(runs[0]["c2st"])),
            *published(data, task, simulations),
            listed("log p", 3),
            listed("exact log p", 3),
        )


@table("conditions.json")
def conditions(data: dict[str, Any]) -> Rows:
    yield "", "conditional means", "covariances", "coverage of 90 % intervals"
    names = {"gaussian": "Gaussian", "mixture": "mixture of three"}
    for name, found in data["errors, %"].items():
        cell = "{average:.2f} and {worst subset:.2f} % ({average by chance:.2f} and {worst subset by chance:.2f})"
        errors = (cell.format(**found[part]) for part in ("conditional means", "covariances"))
        yield names[name], *errors, f"{found['coverage of 90 % intervals']:.1f} %"


@table("tables_conditioned.json")
def tables_conditioned(data: dict[str, Any]) -> Rows:
    yield "known", "shape, %", "trend, %", "XGB"
    for known, found in data["known"].items():
        pair = lambda part, digits, found=found: (
            f"{found['motes'][part]:.{digits}f} ({found['columns alone'][part]:.{digits}f})"
        )
        yield known, pair("shape", 2), pair("trend", 2), pair("xgb_train", 3)


@table("tables_forest.json")
def tables_forest(data: dict[str, Any]) -> Rows:
    yield "", "TSTR", "C2ST", "DCR"
    for name, models in data["tables"].items():
        ours = models["motes"]
        tstr = f"{ours['TSTR']:.3f} ({ours['TSTR of real rows']:.3f})"
        yield name.replace("_", " "), tstr, f"{ours['C2ST']:.3f}", f"{ours['DCR']:.3f}"


@table("tables_likelihood.json")
def tables_likelihood(data: dict[str, Any]) -> Rows:
    models = {"motes, seed 0": "motes", "flow": "spline flow", "gmm": "mixture of Gaussians", "kde": "kernel density"}
    yield "nats per row", "rows x columns", *models.values()
    for name, found in data["tables"].items():
        nats = (f"{found[one]['nats']:.2f} ± {found[one]['error']:.2f}" for one in models)
        size = f"{found['rows']:,} x {found['columns']}"
        yield name.replace("_", " "), size, *nats


@table("rows.json")
def rows_on_disk(data: dict[str, Any]) -> Rows:
    keys = ("peak, MiB", "before the first step, s", "steps per second")
    yield "rows", "peak of memory, MiB", *keys[1:]
    runs = {"100,000 in memory": data["in memory, 100,000 rows"]}
    runs |= {f"{int(rows):,} on disk": one for rows, one in data["on disk"].items()}
    for name, one in runs.items():
        yield name, *(f"{one[key]:,.0f}" for key in keys)


@table("processes.json")
def processes(data: dict[str, Any]) -> Rows:
    runs = {name: one for name, one in data.items() if name != "about"}
    yield "thousands of rows per second", *next(iter(runs.values()))
    for name, one in runs.items():
        recipe, _, rest = name.partition(",")
        yield f"recipe `{recipe}`,{rest}", *(f"{rate / 1000:.0f}" for rate in one.values())


@table("small_table_quality.json")
def small_table_quality(data: dict[str, Any]) -> Rows:
    yield "", "rows x columns", "mixture alone, nats", "model, nats", "gain", "best step, steps"
    for name, one in data["nats per row"].items():
        after = one["after"]
        yield (
            name,
            f"{one['rows']:,} x {one['columns']}",
            f"{after['mixture']:.2f}",
            f"{after['model']:.2f}",
            f"{after['gain']:.2f} ± {after['se']:.2f}",
            f"{after['best']:.0f}, {after['steps']:.0f}",
        )


@table("coverage.json")
def coverage(data: dict[str, Any]) -> Rows:
    yield "generator", "estimate", "real rows", "synthetic rows, naive", "pooled", "width", "bias"
    for name, one in ((name, one) for name, one in data.items() if "model" in one):
        for estimate, found in one["model"].items():
            covers = (f"{100 * share:.0f} %" for share in found["coverage"].values())
            bias, error = found["bias"]
            title = f"{name}, {one['replications']} replications"
            yield title, estimate, *covers, f"{found['width']:.2f}", f"{bias:+.2f} ± {error:.2f}"


@table("coverage.json")
def coverage_ideal(data: dict[str, Any]) -> Rows:
    yield "generator", "estimate", "real rows", "synthetic rows, naive", "pooled", "width"
    for name, one in ((name, one) for name, one in data.items() if name != "about"):
        for estimate, found in one["ideal"].items():
            covers = (f"{100 * share:.1f} %" for share in found["coverage"].values())
            yield name, estimate, *covers, f"{found['width']:.2f}"


@table("panel.json")
def panel(data: dict[str, Any]) -> Rows:
    yield "table", "whole rows: AUC", "worst pair: AUC", "regressions: standard errors", "nats", "CPU seconds"
    order = "motes", "CART", "real rows"
    for name, one in sorted(data["tables"].items(), key=lambda item: item[0].lower()):
        of = lambda figure, method, one=one: mean(map(figure, one[method].values()))
        each = lambda figure, of=of: "{:.3f} ({:.3f}, {:.3f})".format(*(of(figure, method) for method in order))
        errors = "{:.1f} ({:.1f}, {:.1f})".format(*(of(lambda seed: seed["conclusions"], method) for method in order))
        nats, seconds = (of(lambda seed, key=key: seed[key], "motes") for key in ("nats", "fit_cpu"))
        pair = each(lambda seed: max(seed["pairs"].values()))
        yield name, each(lambda seed: seed["auc"]), pair, errors, f"{nats:.2f}", f"{seconds:.0f}"


@table("small_tables.json")
def small_tables(data: dict[str, Any]) -> Rows:
    yield "CPU seconds of `motes train`", "cold cache of programs", "warm cache"
    for name, one in data["seconds"].items():
        yield (
            name.replace("x", " x ").replace("1000", "1,000"),
            *(f"{one[k]['after cpu']:.1f}" for k in ("cold", "warm")),
        )


@table("tails.json")
def tails(data: dict[str, Any]) -> Rows:
    yield "column", "mean", "standard deviation", "rows beyond the 0.999 quantile"
    names = {
        "lognormal": "log-normal",
        "amount": "log-normal, rounded",
        "pareto": "Pareto",
        "student": "Student's t, 3 degrees",
    }
    columns = data["tables"]["synthetic"]["after"]["columns"]
    for name, words in names.items():
        one = columns[name]
        yield (
            words,
            f"{one['mean']:.3f}",
            f"{one['sd']:.3f} ± {one['sd of one sample, +-']:.3f}",
            f"{one['beyond 0.999']:.2f}",
        )
    money = list(data["tables"]["default"]["after"]["columns"].values())
    spread = lambda key, digits: "{:.{d}f} to {:.{d}f}".format(
        min(c[key] for c in money), max(c[key] for c in money), d=digits
    )
    label = f"the {len(money)} money columns of table default"
    yield label, spread("mean", 3), spread("sd", 3), f"{spread('beyond 0.999', 2)} (20 real rows each)"


@table("tails.json")
def tail_bins(data: dict[str, Any]) -> Rows:
    ways = list(data["ways"].values())
    said = {
        "halved to 1 row, even (after)": "halved down to 1 row, uniform inside (current)",
        "halved to 16 rows, even": "halved down to 16 rows, uniform inside",
        "128 equal bins, even (before)": "equal bins, uniform inside",
        "128 equal bins, exponential": "equal bins, exponential tails",
        "128 equal bins, GPD": "equal bins, generalised Pareto tails",
    }
    yield "bins of the tails, without a network", "standard deviation: log-normal, Pareto, t", "beyond 0.999"
    for way, words in said.items():
        yield words, *(", ".join(f"{one[way][key]:.2f}" for one in ways) for key in ("sd", "beyond 0.999"))


def markdown(rows: Rows) -> str:
    head, *others = (tuple(str(cell) for cell in row) for row in rows)
    line = lambda cells: "|" + "|".join(f" {cell} " if cell else " " for cell in cells) + "|"
    return "\n".join([line(head), "|" + "---|" * len(head), *map(line, others)])


def written(text: str) -> str:
    """Return the text of a page with its tables made from the data."""

    def render(found: re.Match[str]) -> str:
        if found[2] not in TABLES:
            raise SystemExit(
                f"got a table '{found[2]}'; expected one of {', '.join(TABLES)} (functions of scripts/tables.py)"
            )
        rows = TABLES[found[2]](*(json.loads((RESULTS / file).read_text(encoding="utf-8")) for file in FILES[found[2]]))
        return f"<!-- table: {found[2]} -->\n\n{markdown(rows)}\n\n<!-- end of table -->"

    return MARKED.sub(render, text)


def main(words: list[str]) -> int:
    differing = [path for path in PAGES if written(text := path.read_text(encoding="utf-8")) != text]
    for path in differing:
        if words == ["--check"]:
            print(f"{path.relative_to(ROOT)}: a table differs from its data. Run `python scripts/tables.py`.")
        else:
            path.write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    return int(words == ["--check"] and bool(differing))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
