"""No modules import each other in a circle; an import inside a function or for types alone counts as well.

Models alone may evaluate and draw themselves: these imports stand inside their methods, and pyproject.toml lists them.
"""

import ast
import re
import tomllib
from fnmatch import fnmatch
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "motes"


def name_of(path, package):
    """The module of a file, as in `motes.data.frames`; a package is its `__init__`."""
    *folders, stem = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(folders if stem == "__init__" else [*folders, stem])


def allowed_down():
    """The imports that may point down: pairs of patterns of modules."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    return [tuple(line.split(" -> ")) for contract in contracts for line in contract.get("ignore_imports", [])]


def imports_in(package, down=()):
    """Module -> the modules of the same package that it imports anywhere in its file.

    Those that `down` allows count only at the top of a file.
    """
    files = {name_of(path, package): path for path in package.rglob("*.py")}
    graph = {}
    for module, path in files.items():
        named, tree = set(), ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                here = {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{path}:{node.lineno} has a relative import, which this test does not follow"
                wholes = [f"{node.module}.{alias.name}" for alias in node.names]
                here = {whole if whole in files else node.module for whole in wholes}
            else:
                continue
            allowed = lambda other: any(fnmatch(module, a) and fnmatch(other, b) for a, b in down)  # noqa: B023
            named |= here if node in tree.body else {other for other in here if not allowed(other)}
        graph[module] = named & files.keys()
    return graph


def circle_in(graph):
    """Modules that import each other, the first of them once more at the end; nothing if there are none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_no_modules_import_each_other_in_a_circle():
    graph = imports_in(PACKAGE, allowed_down())
    assert "motes.data.arrays" in graph["motes.data.frames"]  # imports are seen at all
    assert not circle_in(graph), " <- ".join(circle_in(graph))


@pytest.mark.parametrize(
    "back",
    [
        "from p._a import x",
        "from p import _a",
        "import p._a",
        "def f():\n    from p._a import x",
        "if TYPE_CHECKING:\n    from p._a import x",
    ],
)
def test_a_circle_is_found_however_it_is_hidden(tmp_path, back):
    package = tmp_path / "p"
    package.mkdir()
    files = {"__init__": "", "_a": "from p._b import y", "_b": "from p._c import z", "_c": "import os, p"}
    for name, text in files.items():
        (package / f"{name}.py").write_text(text)
    assert circle_in(imports_in(package)) == []
    (package / "_c.py").write_text(back)
    assert set(circle_in(imports_in(package))) == {"p._a", "p._b", "p._c"}


def test_files_that_docstrings_name_are_there():
    named = re.compile(r"`([\w/]+\.py)`")
    for path in sorted(PACKAGE.rglob("*.py")):
        for name in named.findall(path.read_text(encoding="utf-8")):
            assert list(PACKAGE.rglob(name)) or (PACKAGE.parents[1] / name).exists(), f"{path}: {name}"
