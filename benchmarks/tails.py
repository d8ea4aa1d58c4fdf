"""Tails of numbers: of trained models in pairs with another checkout, and of other ways to fill the outermost bins.

    python benchmarks/tails.py OTHER/.venv/bin/python --out tails.json
    python benchmarks/tails.py OTHER/.venv/bin/python --out tails.json --tables magic adult --folder TABLES --steps 300

`synthetic` is a table of 20,000 rows made here: a lognormal (sigma 1.5), the same rounded, a Pareto (alpha 2.5), a
Student t with 3 degrees of freedom, a label, and a number that depends on others. TABLES holds NAME-train.parquet and
NAME-test.parquet; see tables_protocol.py. Both checkouts learn the training rows with the same seed and steps. Printed
are means over eight samples of 20,000 rows, divided by what the training rows have, and log p of held-out rows, which
are the same for both. Results are added to those of the file.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from provenance import record

ROWS, SAMPLES, HELD_OUT = 20_000, 8, 3000
BEYOND = 0.999, 0.9995
NUMBERS = {
    "lognormal": lambda rng: rng.lognormal(0, 1.5, ROWS),
    "pareto": lambda rng: rng.pareto(2.5, ROWS) + 1,
    "student": lambda rng: rng.standard_t(3, ROWS),
}


def made(seed: int) -> pd.DataFrame:
    """Rows of the synthetic table."""
    rng = np.random.default_rng(seed)
    label, z = rng.choice(list("abc"), ROWS, p=[0.5, 0.3, 0.2]), rng.normal(size=ROWS)
    return pd.DataFrame(
        {
            "lognormal": np.exp(1.5 * z),
            "amount": np.exp(6 + 1.5 * rng.normal(size=ROWS)).round().astype(int),
            "pareto": rng.pareto(2.5, ROWS) + 1,
            "student": rng.standard_t(3, ROWS),
            "label": label,
            "related": 0.6 * z + 0.8 * rng.normal(size=ROWS) + (label == "a"),
        }
    )


def rows_of(table: str, folder: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training and held-out rows."""
    if table == "synthetic":
        return made(1), made(2)
    train, test = (pd.read_parquet(Path(folder) / f"{table}-{part}.parquet") for part in ("train", "test"))
    return train.iloc[:ROWS], test.iloc[:HELD_OUT]


def against(real: np.ndarray, drawn: list[np.ndarray]) -> dict[str, float]:
    """Moments and tails of samples over those of the rows; a mean near 0 is measured in standard deviations."""
    scale = max(abs(real.mean()), real.std() if abs(real.mean()) < 0.1 * real.std() else 0.0)
    found = {
        "mean": np.mean([1 + (x.mean() - real.mean()) / scale for x in drawn]),
        "sd": np.mean([x.std() for x in drawn]) / real.std(),
        "sd of one sample, +-": np.std([x.std() for x in drawn]) / real.std(),
        "max": max(x.max() for x in drawn) / real.max(),
    }
    for share in BEYOND:
        edge = np.quantile(real, share)
        found[f"beyond {share}"] = np.mean([(x > edge).mean() for x in drawn]) / (real > edge).mean()
    return {key: round(float(value), 4) for key, value in found.items()}


def learn(table: str, folder: str, steps: int, out: str) -> None:
    """Train this checkout's model, and write its measures and log p of the held-out rows."""
    import motes

    warnings.simplefilter("ignore")
    train, test = rows_of(table, folder)
    began = time.process_time()
    model = motes.fit(train, changes={"table.steps": steps} if steps else {}, seed=0, verbose=False)
    seconds = time.process_time() - began
    drawn = [model.sample(ROWS, seed=seed) for seed in range(1, SAMPLES + 1)]
    numbers = [name for name in train if train[name].dtype.kind in "fi" and train[name].nunique() > 100]
    columns = {
        name: against(train[name].to_numpy(float), [one[name].to_numpy(float) for one in drawn]) for name in numbers
    }
    np.savez(out, log_p=np.asarray(model.score_samples(test)))
    Path(f"{out}.json").write_text(json.dumps({"fit, CPU seconds": round(seconds, 1), "columns": columns}))


def pair(table: str, pythons: dict[str, str], folder: str, steps: int) -> dict[str, Any]:
    """Both checkouts on one table."""
    found: dict[str, Any] = {"steps": steps or "default"}
    log_p = {}
    with tempfile.TemporaryDirectory() as place:
        for name, python in pythons.items():
            out = f"{place}/{name}.npz"
            words = [python, __file__, "-", "--learn", out, "--tables", table, "--folder", folder]
            subprocess.run([*words, "--steps", str(steps)], check=True)
            log_p[name], found[name] = np.load(out)["log_p"], json.loads(Path(f"{out}.json").read_text())
            print(table, name, json.dumps(found[name], indent=1), flush=True)
    possible = np.isfinite(log_p["before"]) & np.isfinite(log_p["after"])
    before, after = (log_p[name][possible] for name in ("before", "after"))
    error = (after - before).std() / np.sqrt(len(before))
    found["held-out log p, nats per row"] = {
        "rows": len(before), "before": round(float(before.mean()), 4), "after": round(float(after.mean()), 4),
        "difference": round(float((after - before).mean()), 4), "standard error": round(float(error), 4),
    }  # fmt: skip
    return found


# --- other ways, on one column and without a network -----------------------------------------------------------------


class Way:
    """Bins between the quantiles `shares` of numbers x, even on the line y = T(x), but perhaps for the outermost ones.

    Args:
        x: numbers.
        curve: T.
        shares: of the rows below the inner ends of the bins.
        tail: of the outermost bins: "even", "exponential" in y, or "GPD", a generalised Pareto density of the excess in
            x. Both are fitted to the rows of the bin, and cut at the last of them.
    """

    def __init__(self, x: np.ndarray, curve: Any, shares: np.ndarray, tail: str):
        from scipy.stats import genpareto

        places = np.unique(np.clip(np.round(shares * len(x)).astype(int), 1, len(x) - 1))
        ordered = np.sort(x)
        self.line = (lambda x: x, lambda y: y) if tail == "GPD" else (curve.forward, curve.inverse)
        self.curve = curve
        self.ends = np.concatenate([ordered[:1], (ordered[places - 1] + ordered[places]) / 2, ordered[-1:]])
        self.y, self.masses = curve.forward(self.ends), np.histogram(x, self.ends)[0] / len(x)
        self.tails = []
        for code, inner, sign in ((0, 1, -1), (len(self.masses) - 1, -2, 1)) if tail != "even" else ():
            border, last = self.line[0](self.ends[[inner, 0 if sign < 0 else -1]])
            excess = sign * (self.line[0](x[np.searchsorted(self.ends[1:-1], x, side="right") == code]) - border)
            law = genpareto(*genpareto.fit(excess, floc=0)) if tail == "GPD" else genpareto(0, 0, excess.mean())
            self.tails.append((code, border, sign, law, law.cdf(abs(last - border))))

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        codes, u = rng.choice(len(self.masses), ROWS, p=self.masses), rng.random(ROWS)
        x = self.curve.inverse(self.y[codes] + u * np.diff(self.y)[codes])
        for code, border, sign, law, share in self.tails:
            x[codes == code] = self.line[1](border + sign * law.ppf(share * u[codes == code]))
        return x

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        codes = np.searchsorted(self.ends[1:-1], x, side="right")
        made = np.log(self.masses / np.diff(self.y))[codes] + self.curve.log_slope(x)
        for code, border, sign, law, share in self.tails:
            here = codes == code
            inside = law.logpdf(sign * (self.line[0](x[here]) - border)) - np.log(share)
            slope = 0.0 if self.line[1](border) == border else self.curve.log_slope(x[here])
            made[here] = np.log(self.masses[code]) + inside + slope
        return made


def halved(bins: int, times: int) -> np.ndarray:
    """The shares of the rows below the ends of bins of which the outermost are halved so often."""
    equal = bins - 2 * times
    outer = 0.5 ** np.arange(1, times + 1) / equal
    return np.concatenate([outer[::-1], np.arange(1, equal) / equal, 1 - outer])


WAYS = {
    "128 equal bins, even (before)": (0, "even"),
    "128 equal bins, exponential": (0, "exponential"),
    "128 equal bins, GPD": (0, "GPD"),
    "halved to 16 rows, even": (3, "even"),
    "halved to 16 rows, GPD": (3, "GPD"),
    "halved to 5 rows, even": (5, "even"),
    "halved to 1 row, even (after)": (7, "even"),
}


def ways(repeats: int = 6) -> dict[str, Any]:
    """Moments, tails, and nats per unseen row beyond those of the first way; means over some samples of each number."""
    from motes.tables import Schema

    found: dict[str, Any] = {}
    for name, make in NUMBERS.items():
        every: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for seed in range(repeats):
            rng = np.random.default_rng(seed)
            x, unseen = make(rng), make(rng)
            unseen = unseen[(unseen > x.min()) & (unseen < x.max())]
            (kind,) = Schema.fit({"x": x}).kinds
            first = None
            for way, (times, tail) in WAYS.items():
                one = Way(x, kind.line.curve, halved(128, times), tail)  # type: ignore[attr-defined]
                measures = against(x, [one.draw(np.random.default_rng([seed, k])) for k in range(20)])
                nats = float(one.log_prob(unseen).mean())
                first = nats if first is None else first
                every[way].append(measures | {"nats": nats - first})
        found[name] = {
            way: {key: round(float(np.mean([one[key] for one in some])), 4) for key in some[0]}
            for way, some in every.items()
        }
        print(pd.DataFrame(found[name]).T.to_string(), flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", help="the Python of the other checkout")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--tables", nargs="*", default=["synthetic"])
    parser.add_argument("--folder", default=".")
    parser.add_argument("--steps", type=int, default=0, help="0: as the recipe has it")
    parser.add_argument("--learn", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.learn:
        learn(args.tables[0], args.folder, args.steps, args.learn)
        return
    found = json.loads(args.out.read_text()) if args.out and args.out.exists() else {"ways": ways(), "tables": {}}
    found.pop("about", None)
    for table in args.tables:
        pythons = {"before": args.other, "after": sys.executable}
        found["tables"][table] = pair(table, pythons, args.folder, args.steps)
        print(table, found["tables"][table]["held-out log p, nats per row"], flush=True)
        record(args.out, "python benchmarks/tails.py OTHER/.venv/bin/python", found, **{"rows of a sample": ROWS})


if __name__ == "__main__":
    main()
