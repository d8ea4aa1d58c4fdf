"""What is released has been tested as a whole: `make release` asks `scripts/full_run.py`."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "full_run.py"


@pytest.fixture(scope="module")
def full_run():
    spec = importlib.util.spec_from_file_location("full_run", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def commit(root):
    who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "add", "."], cwd=root, check=True)
    subprocess.run(["git", *who, "commit", "-qm", "all"], cwd=root, check=True)


@pytest.fixture
def tested(full_run, tmp_path):
    """A checkout whose sources have a whole run behind them; `write(result)` puts another result there."""
    (tmp_path / "src").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "src" / "a.py").write_text("a = 1\n")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    commit(tmp_path)

    def write(**other):
        one = {"date": "2026-01-01", "passed": True, "sources": full_run.sources(tmp_path)}
        result = {name: one | other.get(name, {}) for name in full_run.RUNS if other.get(name, {}) is not None}
        (tmp_path / full_run.RESULT).write_text(json.dumps(result))

    write()
    return tmp_path, write


def test_only_sources_that_were_tested_are_released(full_run, tested):
    root, write = tested
    assert full_run.why_not(root) is None
    (root / "README.md").write_text("words\n")
    commit(root)
    assert full_run.why_not(root) is None  # a later commit elsewhere changes nothing
    (root / "src" / "a.py").write_text("a = 2\n")
    assert "not committed" in full_run.why_not(root)
    commit(root)
    assert "'oldest' was of other sources, on 2026-01-01" in full_run.why_not(root)
    assert set(full_run.missing(root)) == set(full_run.RUNS)
    write(oldest={"passed": False}, newest=None)
    assert full_run.missing(root) == {"newest": "was not run", "oldest": "failed"}
    assert "'newest' was not run, 'oldest' failed" in full_run.why_not(root)
    (root / full_run.RESULT).unlink()
    assert list(full_run.missing(root)) == list(full_run.RUNS)
    assert "make test-all" in full_run.why_not(root)


def test_of_a_run_that_failed_those_tests_are_run_again_and_named(full_run, tested, monkeypatch):
    root, write = tested
    failed = ["tests/test_a.py::test_b[c.d-1]", "tests/test_a.py::test_e"]
    write(newest={"passed": False, "tests": 9, "skipped": 1, "seconds": 100, "failures": 2, "failed": failed})
    left = [failed[1:], []]

    def run(name, uv, again):
        return {"passed": not left[0], "tests": len(again), "skipped": 0, "seconds": 5, "failed": left.pop(0)}

    monkeypatch.setattr(full_run, "ROOT", root)
    monkeypatch.setattr(full_run, "run", run)
    assert full_run.main(["uv"]) == 1
    found = full_run.results(root)["newest"]
    assert (found["tests"], found["skipped"], found["seconds"], found["again"]) == (9, 1, 105, failed)
    assert full_run.main(["uv"]) == 0
    assert full_run.results(root)["newest"]["again"] == failed[1:] and full_run.why_not(root) is None
    write(newest={"passed": False, "failed": failed})
    (root / "src" / "a.py").write_text("a = 2\n")
    commit(root)
    assert full_run.to_run_again(root, "newest") == []  # other sources: all of it


def test_the_tests_that_failed_are_called_as_pytest_calls_them(full_run, tmp_path):
    (tmp_path / "test_some.py").write_text(
        "import pytest\n\n\n@pytest.mark.parametrize('k', ['a.b', 'c'])\ndef test_one(k):\n    assert k == 'c'\n"
    )
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml=report.xml"]
    alone = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # plugins take longer than the tests
    assert subprocess.run(words, cwd=tmp_path, env=alone, capture_output=True).returncode == 1
    failed = full_run.those_that_failed(1, tmp_path / "report.xml")
    assert failed == ["test_some.py::test_one[a.b]"]
    assert full_run.those_that_failed(2, tmp_path / "report.xml") == []  # it was ended: others may fail as well
    found = subprocess.run([*words, *failed], cwd=tmp_path, env=alone, capture_output=True)
    assert found.returncode == 1  # 4: pytest does not find it
    gone = "test_some.py::test_another"
    assert full_run.still_there(sys.executable, tmp_path, [gone, *failed]) == failed  # one was removed meanwhile
    assert full_run.still_there(sys.executable, tmp_path, []) == []
