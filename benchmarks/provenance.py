"""What benchmarks share: costs, comparisons, and files of results with their command, commit, versions and machine."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any


def about(command: str, **more: Any) -> dict[str, Any]:
    """Return the entry "about" of a file in benchmarks/results."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    versions = {name: version(name) for name in ("motes", "jax", "jaxlib")}
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    machine = {"python": platform.python_version(), "processors": processors}
    return {"command": command, "commit": commit, **versions, **machine, **more}


def record(path: Path | None, command: str, results: dict[str, Any], **more: Any) -> None:
    """Write results with their provenance to a JSON file, if there is a path."""
    if path:
        path.write_text(json.dumps({"about": about(command, **more), **results}, indent=1) + "\n", encoding="utf-8")


def cost(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds, and CPU seconds of all threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def short(value: float) -> float:
    """Return a value with four significant digits."""
    return float(f"{value:.4g}")


def comparison(
    what: str, unit: str, first: tuple[str, Sequence[float]], second: tuple[str, Sequence[float]]
) -> dict[str, Any]:
    """Print and return the medians of two sides that were measured in turn, and of the ratios second / first."""
    ratios = [b / a for a, b in zip(first[1], second[1], strict=True)]
    found = {
        "what": what,
        "unit": unit,
        "first": {"name": first[0], "median": short(median(first[1]))},
        "second": {"name": second[0], "median": short(median(second[1]))},
        "ratio": {"median": short(median(ratios)), "low": short(min(ratios)), "high": short(max(ratios))},
        "turns": len(ratios),
    }
    sides = ", ".join(f"{found[side]['name']} {found[side]['median']:g} {unit}" for side in ("first", "second"))
    print(f"{what}: {sides}; ratio {found['ratio']['median']:g} ({min(ratios):.3g} to {max(ratios):.3g})", flush=True)
    return found


def measured(what: str, unit: str, values: Sequence[float], **more: Any) -> dict[str, Any]:
    """Print and return the median of the values of one side, and their range."""
    found = {"what": what, "median": short(median(values)), "low": short(min(values)), "high": short(max(values))}
    print(f"{what}: {found['median']:g} {unit} ({min(values):.3g} to {max(values):.3g})", flush=True)
    return found | {"unit": unit, "turns": len(values), **more}
