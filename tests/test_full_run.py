"""What is released has been tested as a whole: `make release` asks `scripts/full_run.py`."""

import importlib.util
import json
import subprocess
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
    result = {
        "date": "2026-01-01",
        "sources": full_run.sources(tmp_path),
        "runs": {name: {"passed": True} for name in full_run.ENVIRONMENTS},
    }

    def write(**other):
        (tmp_path / full_run.RESULT).write_text(json.dumps(result | other))

    write()
    return tmp_path, write


def test_sources_that_were_tested_are_released_and_a_later_commit_elsewhere_changes_nothing(full_run, tested):
    root, _ = tested
    assert full_run.why_not(root) is None
    (root / "README.md").write_text("words\n")
    commit(root)
    assert full_run.why_not(root) is None


def test_sources_that_were_not_tested_are_not_released(full_run, tested):
    root, write = tested
    (root / "src" / "a.py").write_text("a = 2\n")
    assert "not committed" in full_run.why_not(root)
    commit(root)
    assert "other sources than those tested on 2026-01-01" in full_run.why_not(root)
    write(sources=full_run.sources(root))
    assert full_run.why_not(root) is None
    (root / "pyproject.toml").write_text("[project]\nname = 'other'\n")  # the versions that it asks for
    commit(root)
    assert "other sources" in full_run.why_not(root)


def test_a_run_that_failed_or_was_not_whole_is_no_run(full_run, tested):
    root, write = tested
    good = {name: {"passed": True} for name in full_run.ENVIRONMENTS}
    write(runs=good | {"oldest": {"passed": False}})
    assert "failed tests (oldest)" in full_run.why_not(root)
    write(runs={"newest": {"passed": True}})
    assert "got runs of newest; expected" in full_run.why_not(root)
    (root / full_run.RESULT).unlink()
    assert "got no " in full_run.why_not(root) and "make test-all" in full_run.why_not(root)
