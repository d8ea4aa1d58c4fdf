"""Do the tests notice? Mutants of the package, each a small fault, and the tests that should fail with it.

    python scripts/mutants.py                     all of them, as `make mutants` does
    python scripts/mutants.py --only learning     those whose file or fault has this word in it

The faults are in `tests/mutants/*.toml`. What was found is kept in `.mutants/`, so that a run that was ended goes on; a
mutant is tried again where its file or its tests have changed. Whole runs write `tests/mutants/RESULT.md`.

A mutant is caught where one of its tests fails or takes too long. One that cannot even be imported is no mutant, and a
test that fails without any mutant says nothing: both are errors of the list.
"""

import argparse
import ast
import datetime
import hashlib
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import traceback
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = Path("src", "motes")
LISTS = ROOT / "tests" / "mutants"
RESULT = LISTS / "RESULT.md"
REASONS = LISTS / "survivors.toml"  # fault -> why no test should fail with it
KEPT = ROOT / ".mutants"
LOG = KEPT / "log.jsonl"
SOUND = KEPT / "sound.txt"  # tests that pass without any mutant, with what that depends on
SECONDS = 300  # that the tests of a mutant may take
LEAST = 0.9  # share of the mutants that is to be caught
OPTION = "tests/test_option_effects.py::test_an_option_changes_what_it_says"
HEAVY = (
    "pytest", "hypothesis", "numpy", "scipy.stats", "sklearn.utils", "pandas", "pyarrow", "narwhals", "jax",
    "jax.scipy.special", "equinox", "optax", "safetensors.numpy", "matplotlib.figure", "cyclopts", "rich.progress",
)  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One fault.

    Attributes:
        file: in the package.
        old, new: the text that stands there once, and what takes its place.
        fault: what is wrong with it, in a phrase of its own.
        tests: node ids of those that should notice.
        wiring: whether it is between parts, and not within a formula.
    """

    file: str
    old: str
    new: str
    fault: str
    tests: tuple[str, ...]
    wiring: bool

    @property
    def path(self) -> Path:
        """Of the file, in a tree."""
        return PACKAGE / self.file

    def key(self, tree: Path) -> str:
        """Another one where the fault, its file or its tests have changed."""
        parts = [self.old, self.new, (tree / self.path).read_text(encoding="utf-8")]
        parts += [part for test in self.tests for part in (test, text_of(tree, test))]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    def text(self, tree: Path) -> str:
        """The file with the fault."""
        return (tree / self.path).read_text(encoding="utf-8").replace(self.old, self.new)

    def wrong(self, tree: Path) -> str:
        """What is wrong with this entry of the list, or nothing."""
        path = tree / self.path
        if not path.is_file():
            return "there is no such file"
        if (count := path.read_text(encoding="utf-8").count(self.old)) != 1:
            return f"its text stands there {count} times; expected once"
        try:
            compile(self.text(tree), str(path), "exec")
        except SyntaxError as error:
            return f"it is no Python: {error}"
        lost = [test for test in self.tests if not (tree / test.partition("::")[0]).is_file()]
        return f"there is no test {lost[0]}" if lost else "" if self.tests else "it names no test"


def read() -> list[Mutant]:
    """All mutants, in the order of the lists.

    A list is a TOML file: [FILE], in it `wiring` and `formula`, lists of [old, new, fault, test, ...]. A test is
    "FILE::NAME" of the folder tests, without "test_" of the file and of the name; "option:NAME" is the row of an option
    in `test_option_effects.py`.
    """
    made = []
    for path in sorted(LISTS.glob("*.toml")):
        if path == REASONS:
            continue
        for file, kinds in tomllib.loads(path.read_text(encoding="utf-8")).items():
            for kind, entries in kinds.items():
                for old, new, fault, *tests in entries:
                    made.append(Mutant(file, old, new, fault, tuple(map(node_of, tests)), kind == "wiring"))
    return made


def node_of(word: str) -> str:
    """The node id of a test in a list."""
    if word.startswith("option:"):
        return f"{OPTION}[{word.removeprefix('option:')}]"
    file, _, name = word.partition("::")
    return f"tests/test_{file}.py" + (f"::test_{name}" if name else "")


def text_of(tree: Path, test: str) -> str:
    """The text of a test; of one of several cases, or of a whole file, that of the file."""
    file, _, name = test.partition("::")
    texts = functions_of(tree / file)
    return texts.get(name, texts[""])


@cache
def functions_of(path: Path) -> dict[str, str]:
    """Name -> text of each function of a file, and "" -> all of it."""
    text = path.read_text(encoding="utf-8")
    found = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    return {"": text} | {one.name: ast.get_source_segment(text, one) or "" for one in found}


def reasons() -> dict[str, str]:
    """Why some mutants cannot be caught, by their faults."""
    return tomllib.loads(REASONS.read_text(encoding="utf-8")) if REASONS.is_file() else {}


# --- trying them -----------------------------------------------------------------------------------------------------


def copied(folder: Path) -> Path:
    """The tree as it is, in a folder."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def prepared(tree: Path) -> None:
    """Load what all tests need and no mutant changes, with the settings of the tests, and forget the rest again."""
    os.chdir(tree)
    os.environ["PYTHONPATH"] = os.pathsep.join(map(str, (tree / "src", tree)))
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(KEPT / "compiled"))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    sys.path[:0] = [str(tree / "src"), str(tree)]
    importlib.import_module("tests.conftest")  # which sets what has to be set before JAX is loaded

    for name in HEAVY:
        importlib.import_module(name)
    assert Path(sys.modules["motes"].__file__ or "").is_relative_to(tree), sys.modules["motes"].__file__
    for name in [name for name in sys.modules if name.partition(".")[0] in ("motes", "tests")]:
        del sys.modules[name]


def run(tests: tuple[str, ...], *, first: bool, write: bool) -> tuple[int, str, float]:
    """The exit code of pytest in a process of its own, what it says, and how long it worked; -1: too long.

    Args:
        tests: node ids.
        first: end with the first that fails.
        write: keep what Python compiles.
    """
    with tempfile.TemporaryFile() as said:
        pid = os.fork()
        if not pid:
            code = 70
            try:  # whatever happens, nothing of what follows is this process's to do
                code = tested(tests, said.fileno(), first=first, write=write)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(code)
        end = time.monotonic() + SECONDS * (1 if first else 20)
        while (found := os.wait4(pid, os.WNOHANG))[0] == 0 and time.monotonic() < end:
            time.sleep(0.02)
        code = os.waitstatus_to_exitcode(found[1]) if found[0] else -1
        if not found[0]:
            os.killpg(pid, signal.SIGKILL)
            found = os.wait4(pid, 0)
        said.seek(0)
        return code, said.read().decode(errors="replace"), found[2].ru_utime + found[2].ru_stime


def tested(tests: tuple[str, ...], said: int, *, first: bool, write: bool) -> int:
    """The exit code of pytest in this process, which writes to the file `said`."""
    os.setsid()
    for stream in (1, 2):
        os.dup2(said, stream)
    sys.dont_write_bytecode = not write
    os.environ.update({} if write else {"PYTHONDONTWRITEBYTECODE": "1"})
    import pytest

    loaded = "ignore:Module already imported:pytest.PytestAssertRewriteWarning"  # of a plug-in, before pytest was
    options = ["-p", "no:cacheprovider", "-W", loaded, "--tb=line", "-rfE", *["-x"] * first]
    return int(pytest.main([*options, *tests]))


def failed(output: str) -> list[str]:
    """The tests that failed, by what pytest says."""
    return re.findall(r"^(?:FAILED|ERROR) (tests/\S+?)(?: - .*)?$", output, re.MULTILINE)


def tried(mutant: Mutant, tree: Path, number: int) -> dict[str, object]:
    """What the tests of a mutant say of it."""
    path, key = tree / mutant.path, mutant.key(tree)
    before, status = path.read_bytes(), path.stat()
    try:
        path.write_text(mutant.text(tree), encoding="utf-8")
        os.utime(path, (status.st_atime, status.st_mtime + 10 * (1 + number)))  # or Python takes what it compiled
        code, output, seconds = run(mutant.tests, first=True, write=False)
    finally:
        path.write_bytes(before)
        os.utime(path, (status.st_atime, status.st_mtime))
    outcome = {0: "survived", 1: "caught", -1: "too long"}.get(code, "broken" if code > 1 else "caught")
    by = (failed(output) or [""])[0]
    said = output[-2000:] if outcome == "broken" else ""
    return {"key": key, "fault": mutant.fault, "outcome": outcome, "by": by, "seconds": round(seconds, 1), "said": said}


def unsound(tests: list[str], tree: Path) -> set[str]:
    """Those of some tests that fail without any mutant. What passes is remembered for as long as nothing changes."""
    code = [path.read_bytes() for path in sorted((tree / PACKAGE).rglob("*")) if path.suffix in (".py", ".toml", ".j2")]
    code += [path.read_bytes() for path in sorted((tree / "tests").glob("*.py")) if not path.name.startswith("test_")]
    own = lambda test: (tree / test.partition("::")[0]).read_bytes()
    keys = {test: hashlib.sha256(b"\0".join([*code, own(test), test.encode()])).hexdigest() for test in tests}
    passed = set(SOUND.read_text(encoding="utf-8").split()) if SOUND.is_file() else set()
    by_file: dict[str, list[str]] = {}
    for test in tests:
        if keys[test] not in passed:
            by_file.setdefault(test.partition("::")[0], []).append(test)
    bad: set[str] = set()
    for file, some in by_file.items():
        ended, output, seconds = run(tuple(some), first=False, write=True)
        print(f"without a mutant: {file}, {len(some)} tests, {seconds:.0f} s", flush=True)
        if ended > 1:
            sys.exit(f"{file}: pytest ends with {ended}.\n{output[-3000:]}")
        broken = failed(output)
        bad.update(broken)
        good = [
            test for test in some if not any(one == test or one.startswith((f"{test}[", f"{test}::")) for one in broken)
        ]
        with SOUND.open("a", encoding="utf-8") as kept:
            kept.write("".join(keys[test] + "\n" for test in good))
    return bad


def known() -> dict[str, dict[str, str]]:
    """What was found so far, by the keys of mutants."""
    if not LOG.is_file():
        return {}
    return {one["key"]: one for one in map(json.loads, LOG.read_text(encoding="utf-8").splitlines())}


def work(mutants: list[Mutant]) -> None:
    """Try mutants, one after another."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        tree = copied(Path(folder).resolve())
        prepared(tree)
        bad = unsound(list(dict.fromkeys(test for mutant in mutants for test in mutant.tests)), tree)
        for test in sorted(bad):
            print(f"fails without a mutant: {test}", flush=True)
        if bad:
            failing = lambda test: any(one == test or one.startswith((f"{test}[", f"{test}::")) for one in bad)
            mutants = [mutant for mutant in mutants if not any(map(failing, mutant.tests))]
        for number, mutant in enumerate(mutants, 1):
            found = tried(mutant, tree, number)
            with LOG.open("a", encoding="utf-8") as log:
                log.write(json.dumps(found) + "\n")
            print(f"{number}/{len(mutants)} {found['outcome']}: {mutant.file}: {mutant.fault}", flush=True)


# --- what is said ----------------------------------------------------------------------------------------------------


def summed_up(mutants: list[Mutant], found: dict[str, dict[str, str]]) -> tuple[str, bool]:
    """The text of the result, and whether it is good enough."""
    outcomes = {mutant: found[mutant.key(ROOT)]["outcome"] for mutant in mutants if mutant.key(ROOT) in found}
    caught = [mutant for mutant, outcome in outcomes.items() if outcome in ("caught", "too long")]
    left = [mutant for mutant, outcome in outcomes.items() if outcome not in ("caught", "too long")]
    why, share = reasons(), len(caught) / max(len(outcomes), 1)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    lines = [
        "# Mutants",
        "",
        f"`make mutants`, {datetime.date.today().isoformat()}, after {commit.strip()}: "
        f"{len(outcomes)} of {len(mutants)} mutants were tried, "
        f"{sum(mutant.wiring for mutant in outcomes)} of them in the wiring between parts; "
        f"{len(caught)} were caught ({share:.1%}).",
        "",
        "| room | mutants | tried | caught |",
        "|---|---|---|---|",
    ]
    for room in sorted({mutant.file.partition("/")[0] for mutant in mutants}):
        mine = [mutant for mutant in mutants if mutant.file.partition("/")[0] == room]
        seen, noticed = (sum(mutant in some for mutant in mine) for some in (outcomes, caught))
        lines.append(f"| {room} | {len(mine)} | {seen} | {noticed} |")
    if left:
        lines += ["", "Not caught:", ""]
        lines += [f"- {one.file}: {one.fault}. {why.get(one.fault, 'No reason is known.')}" for one in left]
    good = share >= LEAST and len(outcomes) == len(mutants) and all(one.fault in why for one in left)
    return "\n".join(lines) + "\n", good


def main() -> int:
    """Try all mutants, or some; the exit code is 0 where enough are caught, and the others have a reason."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--only", nargs="+", default=[""], help="those whose file or fault has one of these words in it"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--part", help=argparse.SUPPRESS)  # of the mutants, of a process of several
    given = parser.parse_args()
    mutants = [one for one in read() if any(word in f"{one.file} {one.fault}" for word in given.only)]
    if wrong := [f"{one.file}: {one.fault}: {why}." for one in mutants if (why := one.wrong(ROOT))]:
        sys.exit("\n".join(wrong))
    KEPT.mkdir(exist_ok=True)
    found = known()
    untried = lambda some: [one for one in some if found.get(one.key(ROOT), {}).get("outcome", "broken") == "broken"]
    if given.part:
        number, count = map(int, given.part.split("/"))
        work(untried(mutants[number::count]))
        return 0
    left = untried(mutants)
    print(f"{len(mutants)} mutants, of which {len(left)} are to be tried", flush=True)
    if left and given.jobs > 1:
        again = [sys.executable, __file__, "--only", *given.only]
        parts = [subprocess.Popen([*again, "--part", f"{k}/{given.jobs}"]) for k in range(given.jobs)]
        codes = [part.wait() for part in parts]
        if any(codes):
            return 1
    elif left:
        work(left)
    text, good = summed_up(mutants, known())
    print(text)
    if given.only == [""]:
        RESULT.write_text(text, encoding="utf-8")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
