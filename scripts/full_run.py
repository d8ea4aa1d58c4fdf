"""The whole suite, also with the oldest and the newest dependencies: run it, keep its results, and release by them.

    python scripts/full_run.py UV                 run what these sources have not passed yet (`make test-all`)
    python scripts/full_run.py UV oldest          one run of it, again if need be (`make test-lowest`)
    python scripts/full_run.py --check            exit code 1 if these sources lack a run that passed (`make release`)

UV is the program uv, which makes the environments. Each run is written to tests/full_run.json as it ends, so that one
which was cut short goes on with the next. A run belongs to the sources that were tested, as git names them. Of one that
failed those tests alone are run again, as long as the sources are the same: it is the tests that were mended, or the
machine that was too busy. `again` says which they were.

The runs "wheel ..." try the wheel as someone without a checkout does: in an environment without extras, `motes demo`
runs, and what needs an extra names the command that installs it; then the examples of the documents run.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULT = Path("tests", "full_run.json")
SOURCES = ("src", "pyproject.toml")
FAULTS = "tests/test_faults.py"  # nearly 300 trainings: a run of their own
QUICK = "not long and not slow"  # as in `make test`
SOME_FAILED = 1  # pytest's exit code where all tests were run
VERSIONS = ("jax", "jaxlib", "equinox", "optax", "diffrax", "numpy", "scipy", "scikit-learn", "pandas")


@dataclass(frozen=True)
class Environment:
    """What is installed, and which tests run there."""

    python: str
    resolution: str  # as uv calls it
    tests: str  # an expression of markers
    words: tuple[str, ...] = ()  # more of pytest's
    wheel: bool = False  # installed from the wheel, and tested in a folder without the sources


EXAMPLES = ("tests/test_docs.py", "tests/test_doors.py", "tests/test_golden.py", "-k",
            "readme_run or commands_of_a_page or examples_of_a_page or example or answers_as_it_did")  # fmt: skip
# What needs an extra -> the words that name its installation.
WITHOUT_EXTRAS = {
    ("motes", "explore", "--quiet"): "pip install starlette uvicorn websockets",
    ("python", "-c", "import motes; motes.dataset('penguins')"): "pip install pandas",
    ("motes", "sample", "runs/demo", "--cluster", "local", "--shards", "2", "--out", "rows"): "pip install distributed",
}

# Slow tests and simulations are run once: of the versions of the dependencies the other tests say enough.
RUNS = {
    "newest": Environment("3.11", "highest", "not long"),
    "simulations": Environment("3.11", "highest", "long", (f"--ignore={FAULTS}",)),
    "faults": Environment("3.11", "highest", "long", (FAULTS,)),
    "oldest": Environment("3.11", "lowest-direct", QUICK),
    "3.13": Environment("3.13", "highest", QUICK),
    "wheel": Environment("3.11", "highest", "not long", EXAMPLES, wheel=True),
    "wheel, oldest": Environment("3.11", "lowest-direct", "not long", EXAMPLES, wheel=True),
    "wheel, 3.13": Environment("3.13", "highest", "not long", EXAMPLES, wheel=True),
}


def git(root: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout.strip()


def changed(root: Path) -> bool:
    """Whether sources differ from what is committed."""
    return bool(git(root, "status", "--porcelain", "--", *SOURCES))


def sources(root: Path) -> dict[str, str]:
    """The committed sources, as git names their content."""
    return {name: git(root, "rev-parse", f"HEAD:{name}") for name in SOURCES}


def results(root: Path) -> dict[str, dict[str, Any]]:
    """What is written of each run."""
    path = root / RESULT
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def missing(root: Path) -> dict[str, str]:
    """The runs that the sources in `root` have not passed, with the reason."""
    written, now, reasons = results(root), sources(root), {}
    for name in RUNS:
        if name not in written:
            reasons[name] = "was not run"
        elif written[name]["sources"] != now:
            reasons[name] = f"was of other sources, on {written[name]['date']}"
        elif not written[name]["passed"]:
            reasons[name] = "failed"
    return reasons


def why_not(root: Path) -> str | None:
    """Why the sources in `root` cannot be released; None if they can."""
    if changed(root):
        return f"got changes in {' or '.join(SOURCES)} that are not committed. Commit them and run `make test-all`."
    reasons = [f"'{name}' {reason}" for name, reason in missing(root).items()]
    if not reasons:
        return None
    return f"in {RESULT} {', '.join(reasons)}; expected runs of these sources that passed. Run `make test-all`."


def those_that_failed(code: int, report: Path) -> list[str]:
    """What pytest calls them, by its exit code and its report; none where it was ended before all tests were run."""
    if code != SOME_FAILED:
        return []
    cases = ET.parse(report).getroot().iter("testcase")
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    return [f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name')}" for case in failed]


def to_run_again(root: Path, name: str) -> list[str]:
    """The tests in which a run of the sources in `root` failed; none where it says nothing of these sources."""
    before = results(root).get(name, {})
    return before.get("failed", []) if before.get("sources") == sources(root) else []


def clean_environment() -> dict[str, str]:
    """The variables of this process without those that point to tools of another Python."""
    return {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}


def still_there(python: str, place: Path, tests: Sequence[str]) -> list[str]:
    """Those of the tests, as pytest calls them, that exist: one may have been removed since it failed."""
    if not tests:
        return []
    files = sorted({test.partition("::")[0] for test in tests})
    collect = [python, "-m", "pytest", "--collect-only", "-q", "-o", "addopts=", *files]
    listed = subprocess.run(collect, cwd=place, env=clean_environment(), capture_output=True, text=True).stdout
    return [test for test in tests if test in listed.splitlines()]


def run(name: str, uv: str, again: Sequence[str] = ()) -> dict[str, Any]:
    """One environment and its tests, or these of them `again`: versions, counts and seconds."""
    one, venv = RUNS[name], ROOT / f".venv-{name.replace(', ', '-')}"
    python, report = venv / "bin" / "python", venv / "report.xml"
    subprocess.run([uv, "venv", "-q", "--clear", "--python", one.python, str(venv)], check=True)
    options = ["--python", str(python), "--resolution", one.resolution, "--compile-bytecode"]
    if one.wheel:
        place = try_wheel(uv, options, venv)
    else:
        place = ROOT
        subprocess.run([uv, "pip", "install", "-q", *options, "-e", ".[test]"], cwd=ROOT, check=True)
    pytest = [str(python), "-m", "pytest", "-n", "2", "--dist", "worksteal", f"--junitxml={report}"]
    started = time.perf_counter()
    words = still_there(str(python), place, again) or one.words
    code = subprocess.run([*pytest, "-m", one.tests, *words], cwd=place, env=clean_environment()).returncode
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
        "failed": those_that_failed(code, report),
    }


def try_wheel(uv: str, options: list[str], venv: Path) -> Path:
    """Install the wheel without extras and try it; then add what the tests need. Return a folder with tests and docs.

    Raises:
        RuntimeError: if the demo fails, or an extra that is missing is not named.
    """
    place = Path(tempfile.mkdtemp(prefix="motes-wheel-"))
    subprocess.run([uv, "build", "-q", "--wheel", "--out-dir", str(place / "dist")], cwd=ROOT, check=True)
    wheel, versions = next((place / "dist").glob("*.whl")), place / "versions.txt"
    # To uv, the lowest versions are those of the project itself and not of a wheel's.
    project = [uv, "pip", "compile", "-q", "--extra", "test", *options[:4], "pyproject.toml", "-o", str(versions)]
    subprocess.run(project, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    install = [uv, "pip", "install", "-q", *options, "-c", str(versions)]
    subprocess.run([*install, str(wheel)], check=True)
    call = lambda words: subprocess.run(
        [str(venv / "bin" / words[0]), *words[1:]], cwd=place, env=clean_environment(), capture_output=True, text=True
    )
    demo = call(["motes", "demo"])
    if demo.returncode != 0 or not (place / "runs" / "demo" / "diffusion.gif").exists():
        raise RuntimeError(f"`motes demo` failed: {demo.stderr}")
    for words, expected in WITHOUT_EXTRAS.items():
        tried = call(words)
        if tried.returncode == 0 or expected not in tried.stderr:
            raise RuntimeError(f"`{' '.join(words)}` said: {tried.stderr}; expected '{expected}'.")
    subprocess.run([*install, f"{wheel}[test]"], check=True)
    for name in ("tests", "docs", "benchmarks", "scripts"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "pyproject.toml"):
        shutil.copy(ROOT / name, place)
    return place


def main(words: list[str]) -> int:
    if words == ["--check"]:
        reason = why_not(ROOT)
        if reason:
            print(f"no release: {reason}", file=sys.stderr)
        return int(reason is not None)
    uv, *names = words
    if changed(ROOT):
        print(f"got changes in {' or '.join(SOURCES)}; a run belongs to a commit. Commit them first.", file=sys.stderr)
        return 1
    ran = names or list(missing(ROOT))
    for name in ran:
        tested = {"commit": git(ROOT, "rev-parse", "HEAD"), "sources": sources(ROOT)}
        again = to_run_again(ROOT, name)
        found = {"date": datetime.now(UTC).date().isoformat(), **tested, **run(name, uv, again)}
        if again:  # the counts are those of the whole
            whole = results(ROOT)[name]
            counts = {key: whole[key] for key in ("tests", "skipped")}
            found |= counts | {"seconds": whole["seconds"] + found["seconds"], "again": again}
        written = results(ROOT) | {name: found}
        ordered = {each: written[each] for each in RUNS if each in written}
        (ROOT / RESULT).write_text(json.dumps(ordered, indent=2) + "\n", encoding="utf-8")
        print(f"'{name}' is in {RESULT}; commit it", flush=True)
    return int(not all(results(ROOT)[name]["passed"] for name in ran))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
