"""The list of mutants fits the code; `make mutants` tries them."""

import ast
import importlib.util
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def mutants():
    """The script, as a module."""
    spec = importlib.util.spec_from_file_location("mutants", ROOT / "scripts" / "mutants.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_text_of_every_mutant_stands_in_the_code(mutants):
    every = mutants.read()
    assert [f"{one.file}: {one.fault}: {why}" for one in every if (why := one.wrong(ROOT))] == []
    names = {test.partition("[")[0] for one in every for test in one.tests}
    texts = {name.partition("::")[0]: None for name in names}
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in texts}
    lost = [name for name in names if "::" in name and f"def {name.split('::')[-1]}(" not in texts[name.split("::")[0]]]
    assert lost == []


def test_there_are_enough_mutants_in_every_room_and_half_are_in_the_wiring(mutants):
    every = mutants.read()
    assert len(every) >= 300 and 2 * sum(one.wiring for one in every) >= len(every)
    assert len({one.fault for one in every}) == len(every)  # by which they are told apart
    assert len({(one.file, one.old, one.new) for one in every}) == len(every)
    rooms = {path.relative_to(ROOT / mutants.PACKAGE).parts[0] for path in (ROOT / mutants.PACKAGE).rglob("*.py")}
    rooms = {room.removesuffix(".py") for room in rooms if not room.startswith("__")}
    assert {one.file.partition("/")[0].removesuffix(".py") for one in every} >= rooms - {"_precision"}


def test_survivors_are_among_them(mutants):
    assert mutants.reasons().keys() <= {one.fault for one in mutants.read()}


def test_make_test_leaves_out_no_test_that_alone_notices_a_mutant(mutants):
    every = [one for one in mutants.read() if one.fault not in mutants.reasons()]
    alone = [one.fault for one in every if not any(is_quick(test) for test in one.tests)]
    assert len(alone) <= len(every) / 50, alone


def is_quick(test: str) -> bool:
    """Whether `make test` runs this test, or one of its cases."""
    file, _, name = test.partition("::")
    name, _, case = name.partition("[")
    return any(quick_case(node, case.removesuffix("]")) for node in functions_of(file) if name in ("", node.name))


@cache
def functions_of(file: str) -> list[ast.FunctionDef]:
    body = ast.parse((ROOT / file).read_text(encoding="utf-8")).body
    return [node for node in body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]


def quick_case(node: ast.FunctionDef, case: str) -> bool:
    """Whether it runs this case of a test, or one of its cases where none is named."""
    marks = [ast.unparse(mark) for mark in node.decorator_list]
    marks = [mark for mark in marks if mark.startswith(("pytest.mark.slow", "pytest.mark.long"))]
    return all("=[" in mark and (not case or (repr(case) in mark) == ("but=" in mark)) for mark in marks)
