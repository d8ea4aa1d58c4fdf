"""What several tests share: a small model that trains in a second, and the command line in this process."""

import atexit
import os
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import pytest

# One cache of compiled programs for all the workers of a session, new each time: half of the time of a test is its
# compiler's. Set before JAX is loaded; the workers inherit it.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="motes-test-cache-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    atexit.register(shutil.rmtree, os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)

# The workers are as many as the processors: threads of small matrices in each would wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# The machine code of a test need not be the fastest: most of a test's time is its compiler's. Without optimisation a
# program compiles in 0.37 of the time; programs that train keep theirs (`learning/_programs.py`), and so do modules
# marked `optimised`, which run longer than they compile. The older code generator saves another 14 per cent, where XLA
# still has it.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
if "xla_backend_optimization_level" not in os.environ.get("XLA_FLAGS", ""):
    flags = [os.environ.get("XLA_FLAGS", ""), "--xla_backend_optimization_level=1"]
    if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11):
        flags.append("--xla_cpu_use_fusion_emitters=false")
    os.environ["XLA_FLAGS"] = " ".join(flags).strip()

import motes
from motes import cli
from motes.models._point_fitting import fit_points
from motes.models._points import PointModel

CACHE = ("JAX_COMPILATION_CACHE", "JAX_PERSISTENT_CACHE")

SMALL = {
    "training.steps": 60,
    "training.batch": 64,
    "training.ema": 0.8,
    "grid.steps": 6,
    "network.width": 16,
    "network.depth": 2,
}


@pytest.fixture(scope="module", autouse=True)
def programs_of_a_module(request):
    """How they are compiled. They are dropped where a module ends: thousands of them do not fit in one process."""
    import jax

    usual = jax.config.values["jax_disable_most_optimizations"]
    if request.node.get_closest_marker("optimised"):
        jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", usual)
    jax.clear_caches()


@pytest.fixture
def own_kinds(monkeypatch):
    """What a test registers is forgotten after it."""
    from motes.recipes import _registry as registry

    monkeypatch.setattr(registry, "_KINDS", {section: dict(kinds) for section, kinds in registry._KINDS.items()})
    monkeypatch.setattr(registry, "_NAMES", dict(registry._NAMES))


@pytest.fixture(scope="session")
def small_model() -> PointModel:
    """The default recipe with next to no training: for everything that is not about quality."""
    return fit_points(motes.make_shape("moons", 400, seed=3), changes=SMALL, seed=1, source="moons")


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """Of a `motes` in a process of its own: its cache is that of a user, and one for all workers."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(CACHE)}
    return clean | {"XDG_CACHE_HOME": str(tmp_path_factory.getbasetemp().parent / "cache"), "COLUMNS": "100"}


@pytest.fixture
def motes_command(capsys, monkeypatch, tmp_path):
    """`motes_command("shapes", ...)` runs it in an empty folder and returns its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def command(*words: str | Path) -> tuple[int, str, str]:
        code = cli._run([str(word) for word in words], debug=False)
        out, err = capsys.readouterr()
        return code, out, err

    return command
