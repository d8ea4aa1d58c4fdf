"""The doors: what each room names, that it loads and is explained, and that documents use nothing else."""

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import motes

ROOT = Path(__file__).parents[1]
DOORS = (
    "motes",
    *(f"motes.{room}" for room in ("data", "tables", "diffusion", "learning", "sampling", "evaluation", "figures")),
    *(f"motes.{room}" for room in ("reports", "recipes", "models", "diagnosis", "runs")),
    "motes.errors",
    "motes.tables.kinds",
    "motes.diffusion.masked",
)
READERS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "docs" / "tutorial.py",
    *sorted((ROOT / "scripts").glob("*.py")),
    *sorted((ROOT / "benchmarks").glob("*.py")),
]


def named(door):
    """Name -> what it is, of one door."""
    module = importlib.import_module(door)
    return {name: getattr(module, name) for name in module.__all__}


@pytest.mark.parametrize("path", READERS, ids=lambda path: path.name)
def test_documents_go_through_the_doors(path):
    text = path.read_text(encoding="utf-8")
    assert not re.findall(r"\bmotes(?:\.\w+)*\._(?!_)\w", text)
    assert not re.findall(r"\bfrom motes[\w.]* import \(?[^)\n]*\b_\w+", text)


def test_no_door_is_left_out():
    rooms = {path.parent for path in (ROOT / "src" / "motes").rglob("__init__.pyi")}
    files = {Path(importlib.import_module(door).__file__) for door in DOORS}
    assert files == {room / "__init__.py" for room in rooms} | {ROOT / "src" / "motes" / "errors.py"}


@pytest.mark.parametrize("door", DOORS)
def test_every_name_of_a_door_loads_and_is_explained(door):
    module = importlib.import_module(door)
    assert module.__doc__ and set(module.__all__) <= set(dir(module))
    for name, thing in named(door).items():
        if inspect.isclass(thing) or inspect.isfunction(thing) or isinstance(thing, ModuleType):
            doc = thing.__doc__
            assert doc and not doc.startswith(f"{name}("), name  # which a dataclass without one says
        else:  # a constant, which has no docstring of its own
            owner = motes.data if thing is motes.SHAPES else module
            assert f"`{name}`" in owner.__doc__, name


@pytest.mark.parametrize("door", DOORS)
def test_a_door_costs_next_to_nothing(door):
    code = (
        f"import sys, {door}; heavy = ('jax', 'matplotlib', 'sklearn', 'scipy', 'pandas', 'numpy'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_the_top_level_stays_small():
    names = {name for name, thing in named("motes").items() if not isinstance(thing, ModuleType)}
    assert len(names) <= 30
    for name in names - {"fit", "load", "Model", "DiffusionModel", "MotesError"}:  # each is at the door of a room, too
        assert any(named(door).get(name) is getattr(motes, name) for door in DOORS[1:]), name
