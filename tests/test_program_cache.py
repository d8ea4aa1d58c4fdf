"""Compiled programs that stay from one Python process to the next."""

import subprocess
import sys
from pathlib import Path

import jax
import pytest

import motes

PROGRAM = """
import sys, jax, motes
print(motes.training.cache_programs(*sys.argv[1:]))
print(float(jax.jit(lambda x: 3 * x)(14.0)))
"""


def run(environment, *words):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, words)], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    folder, answer = done.stdout.split()
    assert float(answer) == 42
    return Path(folder)


def test_the_next_process_finds_the_programs_of_this_one(user_environment, tmp_path):
    folder = tmp_path / "kept"
    assert run(user_environment, folder) == folder
    kept = {path.name for path in folder.iterdir() if not path.name.endswith("-atime")}
    assert kept
    run(user_environment, folder)
    assert {path.name for path in folder.iterdir() if not path.name.endswith("-atime")} == kept


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_to_does_no_harm(user_environment, tmp_path):
    (tmp_path / "file").write_text("in the way")
    run(user_environment, tmp_path / "file" / "kept")
    run(user_environment | {"XDG_CACHE_HOME": str(tmp_path / "file")})  # the cache of the command line
    assert (tmp_path / "file").read_text() == "in the way"


def test_a_cache_of_your_own_stays(tmp_path):
    before = jax.config.values["jax_compilation_cache_dir"]
    assert before is not None  # that of the tests
    assert motes.training.cache_programs(tmp_path) == Path(before)
    assert jax.config.values["jax_compilation_cache_dir"] == before
