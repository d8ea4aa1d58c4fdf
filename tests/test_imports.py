"""No modules import each other in a circle; an import inside a function or for types alone counts as well."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "motes"


def name_of(path, package):
    """The module of a file, as in `motes.data.frames`; a package is its `__init__`."""
    *folders, stem = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(folders if stem == "__init__" else [*folders, stem])


def imports_in(package):
    """Module -> the modules of the same package that it imports anywhere in its file."""
    files = {name_of(path, package): path for path in package.rglob("*.py")}
    graph = {}
    for module, path in files.items():
        named = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{path}:{node.lineno} has a relative import, which this test does not follow"
                wholes = [f"{node.module}.{alias.name}" for alias in node.names]
                named |= {whole if whole in files else node.module for whole in wholes}
        graph[module] = named & files.keys()
    return graph


def circle_in(graph):
    """Modules that import each other, the first of them once more at the end; nothing if there are none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return []


@pytest.mark.slow
def test_no_modules_import_each_other_in_a_circle():
    graph = imports_in(PACKAGE)
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


@pytest.mark.slow
def test_files_that_docstrings_name_are_there():
    named = re.compile(r"`([\w/]+\.py)`")
    for path in sorted(PACKAGE.rglob("*.py")):
        for name in named.findall(path.read_text(encoding="utf-8")):
            assert list(PACKAGE.rglob(name)) or (PACKAGE.parents[1] / name).exists(), f"{path}: {name}"
