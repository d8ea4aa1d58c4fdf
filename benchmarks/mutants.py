"""The share of random small changes of the source that the quick tests notice.

    make mutants                                                      # 300 mutants of this commit
    .venv-mutants/bin/python benchmarks/mutants.py --commit REVISION --out before.jsonl

A mutant is one change at one place, by an operator of Cosmic Ray: another comparison, another number, an added `not`,
`break` instead of `continue`. The script lists all of them in `src/motes`, except in annotations, and draws a random
sample with a fixed seed. It first runs each test file alone (quick tests only) to learn which test executes which
lines, and how long each takes. Then it tests each mutant with 30 seconds of the tests that execute its lines, from the
files that know its module best, the shortest first, until one fails. Those that none of these notices are tested again
with 2 minutes of whole files that execute their lines, because JAX traces a function once per process, so that of the
tests of a file only the first executes its lines. A mutant that nothing notices survives; tests beyond these limits
might notice some. Results are appended to the output file, and what each test file executes is kept in a folder beside
it, so you can interrupt the script and continue: what was tested so far is a random sample, too. At the end it prints
the survivors and the score with its 95 % interval (Wilson).
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
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from itertools import accumulate, islice, zip_longest
from pathlib import Path
from queue import SimpleQueue

import coverage
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from scipy.stats import binomtest

QUICK = ["-q", "-p", "no:cacheprovider", "-m", "not slow and not long"]
LIMIT = 900  # seconds: what takes longer has changed so much that the tests notice it
FIRST, WHOLE = 30.0, 120.0  # seconds of the tests that are tried first, and of the files that are tried then


def pytest(checkout: Path, words: list[str], runner: tuple[str, ...] = ("-m", "pytest")) -> subprocess.CompletedProcess:
    """The tests of a checkout, in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(checkout / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *runner, *words, *QUICK]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=LIMIT)


def trace(checkout: Path, test: Path, data: Path) -> None:
    """Write which lines each test of a file executes, and beside it how long they take."""
    settings = checkout / ".coveragerc"
    settings.write_text(f"[run]\nsource = {checkout / 'src'}\ndynamic_context = test_function\nrelative_files = true\n")
    runner = ("-m", "coverage", "run", "--rcfile", str(settings), "--data-file", f"{data}.new", "-m", "pytest")
    done = pytest(checkout, [str(test), f"--junitxml={data.with_suffix('.xml')}"], runner)
    assert done.returncode in (0, 5), done.stdout[-2000:]  # 5: it has slow tests alone
    Path(f"{data}.new").replace(data)


def seconds_of(test: Path, report: Path) -> dict[str, float]:
    """The seconds of each test of a file, by its name without parameters: the sum over these."""
    seconds: dict[str, float] = {}
    for case in ET.parse(report).getroot().iter("testcase"):
        name = f"{test}::{case.get('name', '').partition('[')[0]}"
        seconds[name] = seconds.get(name, 0.0) + float(case.get("time", 0))
    return seconds


@cache
def executed(data: coverage.CoverageData) -> int:
    """The number of lines that a test file executes."""
    return sum(len(data.lines(module) or ()) for module in data.measured_files())


@cache
def tests_by_line(file: str, data: coverage.CoverageData, module: str) -> dict[int, list[str]]:
    """The tests of a file that execute each line of a module; none for lines that fixtures alone execute."""
    own = f"{Path(file).stem}."
    return {
        line: [f"{file}::{one.removeprefix(own)}" for one in sorted(contexts) if one.startswith(own)]
        for line, contexts in data.contexts_by_lineno(module).items()
    }


def who_executes(
    traces: dict[str, coverage.CoverageData], seconds: dict[str, float], module: str, lines: set[int], *, whole: bool
) -> list[str]:
    """The test files that execute some of the lines, those that know the module best first; or some of their tests."""
    found = {file: tests_by_line(file, data, module) for file, data in traces.items()}
    some = [file for file in traces if lines & found[file].keys()]
    best = sorted(some, key=lambda file: -len(found[file]) / executed(traces[file]))
    tests = [sorted({test for line in lines for test in found[file].get(line, ())}) for file in best]
    if whole or not any(tests):  # what is executed at import or by fixtures alone is tested with whole files
        of_file = {file: sum(s for test, s in seconds.items() if test.startswith(f"{file}::")) for file in best}
        return within(best, of_file, WHOLE if whole else FIRST)
    tests = [sorted(of_file, key=seconds.__getitem__) for of_file in tests]
    first = within([test for turn in zip_longest(*tests) for test in turn if test], seconds, FIRST)
    return sorted(first, key=seconds.__getitem__)


def within(names: list[str], seconds: dict[str, float], most: float) -> list[str]:
    """The first names, one at least, whose seconds are no more together."""
    total = list(accumulate(seconds[name] for name in names))
    return names[: max(sum(one <= most for one in total), 1)]


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
            # Bytecode that belongs to the content of a module: times are too coarse to tell a mutant.
            subprocess.run([sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "checked-hash",
                            str(checkout / "src")], check=True)  # fmt: skip
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
        lines = given.out.read_text(encoding="utf-8").splitlines() if given.out.exists() else []
        rows = [row for row in map(json.loads, lines) if row["commit"] == commit]
        known = {tuple(row["mutant"]): row for row in rows if tuple(row["mutant"]) in set(drawn)}

        kept = given.out.parent / f"{given.out.stem}-{commit[:10]}"  # what each test file executes
        kept.mkdir(exist_ok=True)

        @contextmanager
        def place() -> Iterator[Path]:
            one = free.get()
            try:
                yield one
            finally:
                free.put(one)

        seconds: dict[str, float] = {}

        def look(test: Path) -> coverage.CoverageData:
            data = kept / f"{test.stem}.coverage"
            if not data.exists():
                with place() as checkout:
                    trace(checkout, test, data)
            found = coverage.CoverageData(basename=str(data))
            found.read()
            seconds.update(seconds_of(test, data.with_suffix(".xml")))
            return found

        def judge(mutant: tuple[str, str, int, int, int], *, whole: bool) -> None:
            module, operator, number, first, last = mutant
            with place() as checkout:
                source = (checkout / module).read_text(encoding="utf-8")
                # Nothing runs on a line such as the `*,` of a signature; the rest of its statement says who runs it.
                tests: list[str] = []
                for wanted in (set(range(first, last + 1)), statement(source, first)):
                    tests = tests or who_executes(traced, seconds, module, wanted, whole=whole)
                mutated = mutate_code(source, get_operator(operator)(), number)
                began, by = time.perf_counter(), "" if tests else "no test executes it"
                try:
                    (checkout / module).write_text(mutated, encoding="utf-8")
                    said = pytest(checkout, [*tests, "-x"]) if tests else None
                    killed = said is not None and said.returncode != 0
                    if killed and (name := re.search(r"^(?:FAILED|ERROR) (\S+)", said.stdout, re.MULTILINE)):
                        by = name[1]
                except subprocess.TimeoutExpired:
                    killed, by = True, "time"
                finally:
                    (checkout / module).write_text(source, encoding="utf-8")
            row = {
                "commit": commit,
                "mutant": mutant,
                "change": changed_line(source, mutated),
                "killed": killed,
                "by": by,
            }
            row |= {"whole": whole, "tests": len(tests), "seconds": round(time.perf_counter() - began, 1)}
            with given.out.open("a") as file:
                file.write(json.dumps(row) + "\n")
            known[mutant] = row
            print("killed  " if killed else "SURVIVED", f"{module}:{first}", row["change"], by, flush=True)

        with ThreadPoolExecutor(given.workers) as pool:
            files = [path.relative_to(checkout) for path in sorted((checkout / "tests").glob("test_*.py"))]
            traced = dict(zip(map(str, files), pool.map(look, files), strict=True))
            list(pool.map(partial(judge, whole=False), (one for one in drawn if one not in known)))
            left = [one for one in drawn if not (known[one]["killed"] or known[one]["whole"])]
            list(pool.map(partial(judge, whole=True), left))
    killed = sum(one["killed"] for one in known.values())
    low, high = binomtest(killed, len(known)).proportion_ci(method="wilson")
    for one in known.values():
        if not one["killed"]:
            print(f"survived: {one['mutant'][0]}:{one['mutant'][3]}  {one['change']}  {one['by']}")
    print(f"{commit[:10]}: {killed} of {len(known)} killed, {killed / len(known):.1%} ({low:.1%} to {high:.1%})")


if __name__ == "__main__":
    main()
