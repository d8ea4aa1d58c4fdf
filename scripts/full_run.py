"""The whole suite, also with the oldest and the newest dependencies: run it, keep its result, and release by it.

    python scripts/full_run.py UV             run it, and write the result to tests/full_run.json (`make test-all`)
    python scripts/full_run.py UV oldest      in that one environment alone; nothing is written (`make test-lowest`)
    python scripts/full_run.py --check        exit code 1 if these sources have no such run behind them (`make release`)

UV is the program uv, which makes the environments. A result belongs to the sources that were tested, as git names them.
"""

import json
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULT = Path("tests", "full_run.json")
SOURCES = ("src", "pyproject.toml")
VERSIONS = ("jax", "jaxlib", "equinox", "optax", "diffrax", "numpy", "scipy", "scikit-learn", "pandas")


@dataclass(frozen=True)
class Environment:
    """What is installed, and which tests run there."""

    python: str
    resolution: str  # as uv calls it
    tests: str  # an expression of markers


# Simulations are run once: of the versions of the dependencies the other tests say enough.
ENVIRONMENTS = {
    "newest": Environment("3.11", "highest", ""),
    "oldest": Environment("3.11", "lowest-direct", "not long"),
    "3.13": Environment("3.13", "highest", "not long"),
}


def git(root: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout.strip()


def changed(root: Path) -> bool:
    """Whether sources differ from what is committed."""
    return bool(git(root, "status", "--porcelain", "--", *SOURCES))


def sources(root: Path) -> dict[str, str]:
    """The committed sources, as git names their content."""
    return {name: git(root, "rev-parse", f"HEAD:{name}") for name in SOURCES}


def why_not(root: Path) -> str | None:
    """Why the sources in `root` cannot be released; None if they can."""
    path = root / RESULT
    if not path.exists():
        return f"got no {RESULT}; expected the result of the whole suite. Run `make test-all`."
    result = json.loads(path.read_text(encoding="utf-8"))
    failed = [name for name, one in result["runs"].items() if not one["passed"]]
    if failed:
        return f"got failed tests ({', '.join(failed)}) in {RESULT}; expected none. Fix them and run `make test-all`."
    if set(result["runs"]) != set(ENVIRONMENTS):
        return f"got runs of {', '.join(result['runs'])}; expected {', '.join(ENVIRONMENTS)}. Run `make test-all`."
    if changed(root):
        return f"got changes in {' or '.join(SOURCES)} that are not committed. Commit them and run `make test-all`."
    if result["sources"] != sources(root):
        return f"got other sources than those tested on {result['date']}. Run `make test-all`."
    return None


def run(name: str, uv: str) -> dict[str, object]:
    """One environment and its tests: versions, counts and seconds."""
    one, venv = ENVIRONMENTS[name], ROOT / f".venv-{name}"
    python, report = venv / "bin" / "python", venv / "report.xml"
    subprocess.run([uv, "venv", "-q", "--clear", "--python", one.python, str(venv)], check=True)
    options = ["--python", str(python), "--resolution", one.resolution, "--compile-bytecode"]
    subprocess.run([uv, "pip", "install", "-q", *options, "-e", ".[test]"], cwd=ROOT, check=True)
    words = [str(python), "-m", "pytest", "-n", "2", "--dist", "worksteal", f"--junitxml={report}", "-m", one.tests]
    started = time.perf_counter()
    # What another Python says of the tools of this one is no concern of the tests.
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    code = subprocess.run(words, cwd=ROOT, env=clean).returncode
    seconds = time.perf_counter() - started
    counts = dict.fromkeys(("tests", "failures", "errors", "skipped"), 0)
    if report.exists():
        suite = ET.parse(report).getroot().find("testsuite")
        counts = {key: int(suite.get(key, 0)) for key in counts} if suite is not None else counts
    listed = subprocess.run([uv, "pip", "freeze", "--python", str(python)], capture_output=True, text=True, check=True)
    versions = dict(line.split("==") for line in listed.stdout.splitlines() if "==" in line)
    return {
        "passed": code == 0,
        "python": one.python,
        "versions": {key: versions[key] for key in VERSIONS if key in versions},
        "markers": one.tests,
        **counts,
        "seconds": round(seconds),
    }


def main(words: list[str]) -> int:
    if words == ["--check"]:
        reason = why_not(ROOT)
        if reason:
            print(f"no release: {reason}", file=sys.stderr)
        return int(reason is not None)
    uv, *names = words
    whole = not names
    if whole and changed(ROOT):
        print(
            f"got changes in {' or '.join(SOURCES)}; a result belongs to a commit. Commit them first.", file=sys.stderr
        )
        return 1
    tested = {"commit": git(ROOT, "rev-parse", "HEAD"), "sources": sources(ROOT)} if whole else {}
    runs = {name: run(name, uv) for name in names or ENVIRONMENTS}
    passed = all(one["passed"] for one in runs.values())
    if whole:
        date = datetime.now(UTC).date().isoformat()
        result = {"date": date, "passed": passed, **tested, "runs": runs}
        (ROOT / RESULT).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        print(f"the result is in {RESULT}; commit it")
    return int(not passed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
