"""What several tests share: a small model that trains in a second, and the command line in this process."""

import copy
import dataclasses
import gc
import importlib
import os
import platform
import shutil
import signal
import sys
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pytest

# One cache of compiled programs for all the workers, which the next session has as well: half of the time of a test is
# its compiler's. Set before JAX is loaded; the workers inherit it. It is emptied once it has grown to a gigabyte.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    versions = [platform.python_version(), *map(version, ("jax", "jaxlib", "equinox"))]
    kept = Path(__file__).parents[1] / ".cache" / "-".join(["programs", *versions])
    if sum(path.stat().st_size for path in kept.glob("*")) > 2**30:
        shutil.rmtree(kept, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(kept)
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

# The workers are as many as the processors: threads of small matrices in each would wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# The machine code of a test need not be the fastest: most of a test's time is its compiler's. Without optimisation a
# program compiles in 0.37 of the time. Programs that train keep theirs (`training/programs.py`) but in modules marked
# `brief`; all programs of modules marked `optimised` do, which run longer than they compile. The older code generator
# saves another 14 per cent, where XLA still has it.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
if "xla_backend_optimization_level" not in os.environ.get("XLA_FLAGS", ""):
    flags = [os.environ.get("XLA_FLAGS", ""), "--xla_backend_optimization_level=1"]
    if tuple(map(int, version("jaxlib").split(".")[:2])) < (0, 11):
        flags.append("--xla_cpu_use_fusion_emitters=false")
    os.environ["XLA_FLAGS"] = " ".join(flags).strip()

from tests.trained import exact, learned_posterior  # noqa: F401, fixtures

import motes
from fits import fit_points
from motes import cli
from motes.cli import importing
from motes.evaluation.metrics import METRICS
from motes.points.model import PointModel
from motes.recipes import kinds_of
from motes.tables.kinds import KINDS
from motes.training.checkpoints import FitSession
from motes.training.recipe import keys_of, members_of

CACHE = ("JAX_COMPILATION_CACHE", "JAX_PERSISTENT_CACHE")

SMALL = {
    "training.steps": 60,
    "training.batch": 64,
    "training.ema": 0.8,
    "grid.steps": 6,
    "network.width": 16,
    "network.depth": 2,
    "network.members": 1,
}


def benchmark(name):
    """A module of `benchmarks/`, which finds its neighbours there too."""
    folder = str(Path(__file__).parents[1] / "benchmarks")
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(name)


def numbers_of(section):
    """(kind, key, types, range) of every number that a section of a recipe may have."""
    classes = kinds_of(section) or {
        "": type(getattr(motes.load_recipe("table" if section == "table" else "default"), section))
    }
    for kind, cls in classes.items():
        for field in dataclasses.fields(cls):
            if types := {int, float} & set(members_of(keys_of(cls).get(field.name))):
                yield kind, field.name, types, field.metadata.get("range")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Cases that are not slow, or not long, lose the mark; a mark of a case that is not there is an error."""
    unknown = {}
    for item in items:
        function, case = item.nodeid.partition("[")[0], getattr(item, "callspec", None) and item.callspec.id
        for mark in [*item.iter_markers("slow"), *item.iter_markers("long")]:
            named = mark.kwargs.get("but") or mark.kwargs.get("only") or []
            unknown.setdefault((function, mark.name), set(named)).discard(case)
            if named and (case in named) == ("but" in mark.kwargs):
                item.own_markers = [each for each in item.own_markers if each.name != mark.name]
    unknown = {function: cases for function, cases in unknown.items() if cases}
    if unknown and not any("::" in word for word in config.args):
        raise pytest.UsageError(f"a mark names cases that are not there: {unknown}")


@pytest.fixture(scope="session", autouse=True)
def little_garbage():
    """What is loaded by now stays: no search for garbage looks at it again, and there are fewer searches."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(scope="module", autouse=True)
def programs_of_a_module(request):
    """How they are compiled. What one module compiled serves the next one, as long as it fits in the process."""
    import jax

    usual = jax.config.values["jax_disable_most_optimizations"]
    optimised = request.node.get_closest_marker("optimised")
    if optimised:
        jax.clear_caches()  # the programs of the modules before it are there without optimisation
        jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", usual)
    if optimised or crowded():
        jax.clear_caches()


@pytest.fixture(scope="module", autouse=True)
def brief_trainings(request):
    """In modules so marked: no optimisation of programs that train, and a rough estimate of the least loss."""
    with pytest.MonkeyPatch.context() as patch:
        if request.node.get_closest_marker("brief"):
            briefly(patch)
        yield


@pytest.fixture
def quick_run(monkeypatch):
    """The same for one test, whose runs in this process draw few samples as well."""
    briefly(monkeypatch)
    monkeypatch.setattr("motes.cli.run.SAMPLES", 200)


def briefly(patch: pytest.MonkeyPatch) -> None:
    """What a training costs that nobody asks the quality of."""
    patch.setattr("motes.training.programs.LEVEL", 0)
    patch.setattr("motes.evaluation.models.LEAST_LOSS_PAIRS", 0)


def crowded() -> bool:
    """Whether programs have to go: of the 65,530 areas of memory that Linux gives a process each takes some.

    With 15,000 of them a process has about 1.5 GB; two, and what they start, have to fit in 8 GB.
    """
    areas = Path("/proc/self/maps")
    return not areas.exists() or areas.read_bytes().count(b"\n") > 15_000


@pytest.fixture
def own_kinds(monkeypatch):
    """What a test registers is forgotten after it."""
    from motes.points import PointRecipe

    monkeypatch.setattr(PointRecipe, "KINDS", copy.deepcopy(PointRecipe.KINDS))
    columns, metrics, commands = dict(KINDS), dict(METRICS), {*cli.app}
    yield
    for name in {*cli.app} - commands:
        del cli.app[name]
    METRICS.clear()
    METRICS.update(metrics)
    KINDS.clear()
    KINDS.update(columns)


@pytest.fixture(scope="session")
def small_model() -> PointModel:
    """The default recipe with next to no training: for everything that is not about quality."""
    x, changes = motes.make_shape("moons", 400, seed=3), SMALL | {"data.rows": 20_000}  # which the explorer draws
    return fit_points(x, changes=changes, seed=1, session=FitSession(source="moons"))


@pytest.fixture(scope="session")
def labelled_model() -> PointModel:
    """The moons, of two classes, as little trained."""
    size = {"training.steps": 40, "training.batch": 64, "network.width": 16, "network.depth": 2, "grid.steps": 6}
    return motes.fit("moons", changes=size | {"data.label": "class", "data.rows": 400}, seed=2, verbose=False)


@pytest.fixture(scope="session")
def dated():
    """A table that the explorer shows: the working days of a year, and moments at full hours of them."""
    import numpy as np

    from motes.explorer.tables import TableSubject
    from tables import TINY, untrained

    days = [f"2024-{month:02}-{day:02}" for month in range(1, 13) for day in range(1, 29)]
    days = [day for day in days if np.is_busday(day)]
    hours = [f"{day}T{k % 24:02}" for k, day in enumerate(days)]
    with untrained():
        model = motes.fit({"day": np.array(days, "M8[D]"), "at": np.array(hours, "M8[s]")}, changes=TINY, verbose=False)
    return TableSubject("dated", model)


@pytest.fixture
def keyboard():
    """Ctrl-C as in a terminal; test runners may have made their workers deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def environment():
    """Of a `motes` in a process of its own, which has the programs of the tests."""
    return os.environ | {"COLUMNS": "100"}


@pytest.fixture(scope="session")
def user_environment(environment):
    """The same with no word on where programs are kept, as for a user."""
    return {name: value for name, value in environment.items() if not name.startswith(CACHE)}


def unquoted(text: str) -> str:
    """A message without double quotes: older versions of Cyclopts quote options, newer ones do not."""
    return text.replace('"', "")


class Command:
    """The command line in this process: `command("shapes", ...)` returns its exit code, stdout and stderr."""

    def __init__(self, capsys):
        self.capsys = capsys

    def __call__(self, *words: str | Path) -> tuple[int, str, str]:
        code = cli._run([str(word) for word in words], debug=False)
        return code, *self.capsys.readouterr()

    def out(self, *words):
        """What a command prints that succeeds."""
        code, out, err = self(*words)
        assert code == 0, err
        return out

    def error(self, *words, code=2):
        """What a command says that ends with this code and prints nothing."""
        found, out, err = self(*words)
        assert (found, out) == (code, "") and "Traceback" not in err, err
        return err


@pytest.fixture
def motes_command(capsys, monkeypatch, tmp_path):
    """A `Command`, in an empty folder, without the files that an earlier one imported."""
    monkeypatch.chdir(tmp_path)
    importing.FILES.clear()
    return Command(capsys)


@pytest.fixture(scope="module")
def chromium():
    """A browser; while one is open, its thread has an event loop that nothing else may start."""
    from browsers import started

    with started() as browser:
        yield browser


@pytest.fixture(scope="module")
def answers(small_model, labelled_model):
    """What the explorer answers of the small models; a module may have its own."""
    from motes.explorer.answers import Answers
    from motes.explorer.messages import Limits
    from motes.explorer.subjects import Shelf, Subject

    return Answers(Shelf(Subject("small", small_model), Subject("labelled", labelled_model)), Limits())


@pytest.fixture(scope="module")
def client(answers):
    """The explorer, served."""
    from explorers import serving

    with serving(answers) as client:
        yield client


@pytest.fixture
def visit(chromium, client):
    """`with visit(HASH, ...) as page`: an open page of the module's `client`, which complains of nothing."""
    from browsers import opened

    return partial(opened, chromium, client)


@pytest.fixture
def file(tmp_path):
    """Writes a file, text or bytes, and returns its path."""

    def write(content, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write
