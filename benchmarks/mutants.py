"""The share of random small changes of the source that the quick tests notice.

    make mutants                                                      # 300 mutants of this commit
    .venv-mutants/bin/python benchmarks/mutants.py --commit REVISION --out before.jsonl

A mutant is one change at one place, by an operator of Cosmic Ray: another comparison, another number, an added `not`,
`break` instead of `continue`. The script lists all of them in `src/motes`, except in annotations, and draws a random
sample with a fixed seed. It first runs each test file alone (quick tests only) to learn which lines the file executes.
(JAX traces a function once per process, so a run of all files together would credit only the first.) Then it tests each
mutant with the files that execute its lines, the quickest first, until a test fails. A mutant that none of them notices
survives. Each result is appended to the output file, and the lines of each test file to a second one beside it, so you
can interrupt the script and continue: what was tested so far is a random sample, too. At the end it prints the
survivors and the score with its 95 % interval (Wilson).
"""

import argparse
import ast
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from queue import SimpleQueue

import coverage
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from scipy.stats import binomtest

QUICK = ["-q", "-p", "no:cacheprovider", "-m", "not slow and not long"]
LIMIT = 900  # seconds: what takes longer has changed so much that the tests notice it


def pytest(checkout: Path, words: list[str], runner: tuple[str, ...] = ("-m", "pytest")) -> subprocess.CompletedProcess:
    """The tests of a checkout, in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(checkout / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *runner, *words, *QUICK]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=LIMIT)


def lines_of(checkout: Path, test: Path) -> tuple[dict[str, list[int]], float]:
    """The lines that a test file executes, by module, and its seconds."""
    data = checkout / f".coverage-{test.stem}"
    begin = time.perf_counter()
    runner = ("-m", "coverage", "run", "--source", str(checkout / "src"), "--data-file", str(data), "-m", "pytest")
    done = pytest(checkout, [str(test)], runner)
    assert done.returncode in (0, 5), done.stdout[-2000:]  # 5: it has slow tests alone
    found = coverage.CoverageData(basename=str(data))
    found.read()
    lines = {str(Path(name).relative_to(checkout)): found.lines(name) or [] for name in found.measured_files()}
    return lines, time.perf_counter() - begin


def annotated(source: str) -> set[tuple[int, int]]:
    """Where annotations begin: nothing runs there."""
    places = set()
    for node in ast.walk(ast.parse(source)):
        for name in ("annotation", "returns"):
            for inner in ast.walk(getattr(node, name, None) or ast.Module([], [])):
                if hasattr(inner, "lineno"):
                    places |= {(inner.lineno, column) for column in range(inner.col_offset, inner.end_col_offset + 1)}
    return places


def statement(source: str, line: int) -> set[int]:
    """The lines of the innermost statement around a line; of a function or a loop, those above its body."""
    found = set(range(line, line + 1))
    for node in ast.walk(ast.parse(source)):  # from the outermost to the innermost
        if isinstance(node, ast.stmt):
            last = node.body[0].lineno - 1 if getattr(node, "body", None) else node.end_lineno
            if node.lineno <= line <= last:
                found = set(range(node.lineno, last + 1))
    return found


def mutants_of(checkout: Path) -> list[tuple[str, str, int, int, int]]:
    """Each mutant: module, operator, its number among those of the operator there, first line and last line."""
    found = []
    # Operators that replace the same thing by different ones change the same places, which are looked for once.
    families: dict[str, list[str]] = {}
    for name in sorted(operator_names()):
        if not get_operator(name).arguments() and "no-op" not in name:
            families.setdefault(re.sub(r"(Replace(Binary|Comparison)Operator_[^_]+)_.*", r"\1", name), []).append(name)
    for path in sorted((checkout / "src" / "motes").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        nodes, silent = list(ast_nodes(get_ast(source))), annotated(source)
        for names in families.values():
            operator = get_operator(names[0])()
            places = [place for node in nodes for place in operator.mutation_positions(node)]
            for name in names:
                for number, (first, last) in enumerate(places):
                    if first not in silent:
                        found.append((str(path.relative_to(checkout)), name, number, first[0], last[0]))
    return found


def changed_line(source: str, mutated: str) -> str:
    """The first line that differs, before and after."""
    pairs = zip(source.splitlines(), mutated.splitlines(), strict=False)
    return " -> ".join(next(((a.strip(), b.strip()) for a, b in pairs if a != b), ("", "")))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--commit", default="HEAD", help="the revision")
    options.add_argument("-n", type=int, default=300, help="number of mutants")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--workers", type=int, default=2)
    options.add_argument("--out", type=Path, default=Path("mutants.jsonl"))
    given = options.parse_args()
    Path(".cache").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        free: SimpleQueue[Path] = SimpleQueue()
        for worker in range(given.workers):
            checkout = Path(folder) / str(worker)
            subprocess.run(["git", "clone", "-q", ".", str(checkout)], check=True)
            subprocess.run(["git", "-C", str(checkout), "checkout", "-q", given.commit], check=True)
            # One cache of compiled programs for all: a mutant compiles what it changes alone.
            (checkout / ".cache").symlink_to(Path(".cache").resolve())
            free.put(checkout)
        commit = subprocess.check_output(["git", "-C", str(checkout), "rev-parse", "HEAD"], text=True).strip()
        # An operator may refuse a place that another one of its family changes, such as `is` for `==`.
        changes = lambda module, operator, number, *_: mutate_code(
            (checkout / module).read_text(encoding="utf-8"), get_operator(operator)(), number
        )
        some = random.Random(given.seed).sample(mutants_of(checkout), given.n + given.n // 5)
        drawn = list(islice((mutant for mutant in some if changes(*mutant) is not None), given.n))
        known = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
        done = {tuple(one["mutant"]) for one in known if one["commit"] == commit}

        notes = given.out.with_suffix(".lines.jsonl")
        traces = [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []
        earlier = {name: found for name, of, *found in traces if of == commit}

        def trace(test: Path) -> tuple[str, dict[str, list[int]], float]:
            if (name := str(test)) in earlier:
                return name, *earlier[name]
            place = free.get()
            try:
                lines, seconds = lines_of(place, place / test)
            finally:
                free.put(place)
            with notes.open("a") as file:
                file.write(json.dumps((name, commit, lines, seconds)) + "\n")
            return name, lines, seconds

        def judge(mutant: tuple[str, str, int, int, int]) -> None:
            module, operator, number, first, last = mutant
            place = free.get()
            path = place / module
            source = path.read_text(encoding="utf-8")
            tests = []
            # Nothing runs on a line such as the `*,` of a signature; the rest of its statement says who runs it.
            for wanted in (set(range(first, last + 1)), statement(source, first)):
                tests = tests or [name for name, lines, _ in traced if wanted & set(lines.get(module, ()))]
            try:
                mutated = mutate_code(source, get_operator(operator)(), number)
                path.write_text(mutated, encoding="utf-8")
                began, by = time.perf_counter(), "" if tests else "no test executes it"
                try:
                    said = pytest(place, [*tests, "-x"]) if tests else None
                    killed = said is not None and said.returncode != 0
                    if killed and (name := re.search(r"^(?:FAILED|ERROR) (\S+)", said.stdout, re.MULTILINE)):
                        by = name[1]
                except subprocess.TimeoutExpired:
                    killed, by = True, "time"
            finally:
                path.write_text(source, encoding="utf-8")
                free.put(place)
            row = {
                "commit": commit,
                "mutant": mutant,
                "change": changed_line(source, mutated),
                "killed": killed,
                "by": by,
            }
            row |= {"test_files": len(tests), "seconds": round(time.perf_counter() - began, 1)}
            with given.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
            known.append(json.loads(json.dumps(row)))
            print("killed  " if killed else "SURVIVED", f"{module}:{first}", row["change"], by, flush=True)

        with ThreadPoolExecutor(given.workers) as pool:
            tests = [path.relative_to(checkout) for path in sorted((checkout / "tests").glob("test_*.py"))]
            traced = sorted(pool.map(trace, tests), key=lambda one: one[2])
            list(pool.map(judge, [mutant for mutant in drawn if mutant not in done]))
    rows = [one for one in known if one["commit"] == commit and tuple(one["mutant"]) in set(drawn)]
    killed = sum(one["killed"] for one in rows)
    low, high = binomtest(killed, len(rows)).proportion_ci(method="wilson")
    for one in rows:
        if not one["killed"]:
            print(f"survived: {one['mutant'][0]}:{one['mutant'][3]}  {one['change']}  {one['by']}")
    print(f"{commit[:10]}: {killed} of {len(rows)} killed, {killed / len(rows):.1%} ({low:.1%} to {high:.1%})")


if __name__ == "__main__":
    main()
