"""Write the tables of README.md, benchmarks/README.md and docs/*.md from benchmarks/results/*.json.

    python scripts/tables.py            write them
    python scripts/tables.py --check    exit code 1 if a table differs from its data (a test does this, too)

A page marks a table with the lines `<!-- table: NAME -->` and `<!-- end of table -->`. NAME is a function below, which
turns the data of a file into rows, or a file NAME.json whose "table" is these rows.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = [ROOT / "README.md", ROOT / "benchmarks" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
MARKED = re.compile(r"(<!-- table: (\w+) -->\n\n?)(.*?)(\n?<!-- end of table -->)", re.DOTALL)
Rows = Iterable[tuple[object, ...]]

TABLES: dict[str, Callable[[dict[str, Any]], Rows]] = {}  # name -> header and rows, from the data of its file
FILES: dict[str, str] = {}  # name -> its file in benchmarks/results


def table(file: str) -> Callable[[Callable[[dict[str, Any]], Rows]], Callable[[dict[str, Any]], Rows]]:
    """Register a function that makes the rows of a table from `file`."""

    def register(function: Callable[[dict[str, Any]], Rows]) -> Callable[[dict[str, Any]], Rows]:
        TABLES[function.__name__], FILES[function.__name__] = function, file
        return function

    return register


@table("toys.json")
def toys(data: dict[str, Any]) -> Rows:
    yield "shape", "strays", "excess, nats", "its standard error", "CPU seconds"
    for name, seeds in data["shapes"].items():
        both = lambda key, form, seeds=seeds: ", ".join(f"{one[key]:{form}}" for one in seeds.values())
        shape = name.replace("_", " ").replace("s curve", "s-curve").replace("gaussians", "Gaussians")
        yield (
            shape,
            both("strays 0.001", ".4f"),
            both("nats", ".4f"),
            both("nats error", ".4f"),
            both("after cpu", ".1f"),
        )


@table("heldout.json")
def heldout(data: dict[str, Any]) -> Rows:
    yield "excess of -log p, nats", *next(iter(data["shapes"].values()))
    for name, models in data["shapes"].items():
        yield name.replace("_", " "), *(f"{median(one['excess']):.3f}" for one in models.values())


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


@table("posteriors.json")
def posteriors_peers(data: dict[str, Any]) -> Rows:
    header, *rows = data["table"]
    models, task = header[2:6], ""
    yield "", *models
    for row in rows:
        task = row[0] or task
        if row[1] == "10,000" and all(row[2:6]):
            yield task, *(cell.split(" ")[0] for cell in row[2:6])


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
        file = RESULTS / FILES.get(found[2], f"{found[2]}.json")
        if not file.exists():
            raise SystemExit(f"got a table '{found[2]}'; expected a function of scripts/tables.py or a file {file}")
        data = json.loads(file.read_text(encoding="utf-8"))
        rows = TABLES[found[2]](data) if found[2] in TABLES else data["table"]
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
