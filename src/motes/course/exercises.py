"""Exercises that recognise mistakes by name.

An answer is correct if it equals the solution on inputs that the reader has not seen. Otherwise it is compared with
the results of known mistakes, such as a wrong sign, so that the message can say which one was made.
"""

import dis
import inspect
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import groupby
from textwrap import dedent
from traceback import extract_tb
from typing import Any, Literal

import numpy as np

from motes.errors import UsageError, unknown

Level = Literal["easy", "middle", "research"]
Function = Callable[..., Any]
Value = tuple[np.ndarray, ...]  # one array, or the items of a tuple

POINTS = {"easy": 1, "middle": 2, "research": 3}

# A function of these instructions alone, such as `def f(x): ...`, has no answer in it.
EMPTY = {"RESUME", "NOP", "LOAD_CONST", "RETURN_CONST", "RETURN_VALUE"}


@dataclass(frozen=True)
class Exercise:
    """One exercise; its `solution` is a function whose source is shown and whose docstring contains the hints."""

    name: str
    lab: int
    level: Level
    question: str
    inputs: Callable[[np.random.Generator], list[tuple[Any, ...]]]
    solution: Function
    wrong: dict[str, Function]
    rtol: float
    atol: float

    @property
    def hints(self) -> list[str]:
        """Return the hints, from a first idea to nearly the solution: the paragraphs of its docstring."""
        return [" ".join(paragraph.split()) for paragraph in (inspect.getdoc(self.solution) or "").split("\n\n")]

    def calls(self) -> list[tuple[Any, ...]]:
        """Return the arguments of each hidden call, made anew: an answer may change its arguments in place."""
        return self.inputs(np.random.default_rng(zlib.crc32(self.name.encode())))

    def results(self, function: Function) -> Iterator[Value]:
        """Yield the result of each hidden call."""
        return (_value(function(*call)) for call in self.calls())

    def equal(self, got: Value, expected: Value) -> bool:
        """Compare two results, including their shapes."""
        return len(got) == len(expected) and all(map(self._equal, got, expected))

    def _equal(self, got: np.ndarray, expected: np.ndarray) -> bool:
        if got.shape != expected.shape or _kind(got) != _kind(expected):
            return False
        if _kind(got) == "text":
            return bool(np.all(np.char.lower(np.char.strip(got)) == np.char.lower(expected)))
        return np.allclose(got, expected, self.rtol, self.atol, equal_nan=True)


EXERCISES: dict[str, Exercise] = {}


@dataclass(frozen=True)
class CheckResult:
    """What `check` found; printed as its message."""

    correct: bool
    message: str

    def __repr__(self) -> str:
        return self.message

    def _ipython_display_(self) -> None:
        """Show nothing below a cell of a notebook: `check` has printed the message."""


def exercise(
    *,
    lab: int,
    level: Level,
    question: str,
    wrong: dict[str, Function],
    inputs: Callable[[np.random.Generator], list[tuple[Any, ...]]] = lambda rng: [()],
    rtol: float = 1e-4,
    atol: float = 1e-6,
) -> Callable[[Function], Function]:
    """Register the decorated function as the solution of an exercise, which has the function's name.

    The function returns a number, an array, a text, or a tuple of these. Each paragraph of its docstring is a hint:
    begin with an idea, and let each paragraph come closer to the solution. For an exercise whose answer is one value,
    write a function without arguments and leave out `inputs`.

    Args:
        lab: number of the lab, from 1.
        level: "easy", "middle" or "research".
        question: one sentence.
        wrong: name of a mistake -> a function that makes it. Its docstring, if any, explains the mistake.
        inputs: makes the arguments of several hidden calls from a random generator.
        rtol, atol: relative and absolute tolerance, as in `numpy.allclose`.

    Raises:
        UsageError: if the name is taken.

    Example:
        >>> from motes.course import EXERCISES, check, exercise
        >>> @exercise(lab=1, level="easy", question="Twice x.", inputs=lambda rng: [(x,) for x in rng.normal(size=3)],
        ...           wrong={"the square of x": lambda x: x**2})
        ... def twice(x):
        ...     "Add x to itself."
        ...     return x + x
        >>> result = check("twice", lambda x: x * x)
        twice: not correct. This is the mistake: the square of x. Hint: Add x to itself.
        >>> del EXERCISES["twice"]
    """

    def register(function: Function) -> Function:
        name = function.__name__
        if name in EXERCISES:
            raise UsageError(f"an exercise '{name}' exists in lab {EXERCISES[name].lab}. Choose another name.")
        EXERCISES[name] = Exercise(name, lab, level, question, inputs, function, wrong, rtol, atol)
        return function

    return register


def check(name: str, answer: Any) -> CheckResult:
    """Compare an answer with the solution of an exercise, on hidden inputs, and print what is wrong.

    Args:
        name: name of the exercise.
        answer: your function, or a number, array or text if the exercise has no inputs. None, `...` or a function
            without a body is an exercise not answered yet.

    Returns:
        an object with `correct` (bool) and `message` (str).

    Raises:
        UsageError: for an unknown name.

    Example:
        >>> from motes.course import check
        >>> result = check("noisy_point", lambda x0, eps, alpha_bar: alpha_bar * x0 + (1 - alpha_bar) * eps)
        noisy_point: not correct. This is the mistake: the square roots are missing. ...
        >>> result.correct
        False
    """
    message = _problem(_find(name), answer)
    result = CheckResult(not message, f"{name}: {message or 'correct.'}")
    print(result)
    return result


def hint(name: str, number: int = 1) -> None:
    """Print one hint for an exercise.

    Args:
        name: name of the exercise.
        number: 1 for a first idea; each further hint comes closer to the solution.

    Raises:
        UsageError: for an unknown name or a number for which there is no hint.

    Example:
        >>> from motes.course import hint
        >>> hint("noisy_point")
        Hint 1 of 2: ...
        Then: hint('noisy_point', 2)
    """
    hints = _find(name).hints
    if not isinstance(number, int) or not 1 <= number <= len(hints):
        raise UsageError(f"got {number!r}; expected the number of a hint for '{name}', from 1 to {len(hints)}.")
    print(f"Hint {number} of {len(hints)}: {hints[number - 1]}")
    print(f"Then: hint({name!r}, {number + 1})" if number < len(hints) else f"Then: solution({name!r})")


def solution(name: str) -> None:
    """Print the solution of an exercise, a function that you can copy.

    Raises:
        UsageError: for an unknown name.

    Example:
        >>> from motes.course import solution
        >>> solution("noisy_point")
        def noisy_point(x0, eps, alpha_bar):
        ...
    """
    print(_source(_find(name)))


def fault(lab: int) -> Any:
    """Return the object of a lab that is broken on purpose; the lab says how to find out what is wrong with it.

    Raises:
        UsageError: for a lab without one.

    Example:
        >>> from motes.course import fault
        >>> fault(4)
        PointRecipe...
    """
    choices = sorted(int(one.name[-2:]) for one in EXERCISES.values() if one.name.startswith("fault_"))
    if not isinstance(lab, int):
        raise UsageError(f"got {lab!r}; expected the number of a lab, one of: {', '.join(map(str, choices))}.")
    if lab not in choices:
        raise UsageError(f"lab {lab} has no fault to find. Choose from: {', '.join(map(str, choices))}.")
    return import_module(f"motes.course.lab{lab:02d}").broken()


def sheet(solutions: bool = False) -> str:
    """Return all exercises as a sheet to print and mark, in Markdown.

    Args:
        solutions: add the solutions, and the mistakes that `check` recognises.

    Example:
        >>> from motes.course import sheet
        >>> print(sheet())
        # Exercises
        ...
    """
    lines = ["# Exercises", "", "Name: ______________________________", ""]
    table = ["", "# Points", "", "| exercise | possible | reached |", "|---|---|---|"]
    for lab, group in groupby(sorted(EXERCISES.values(), key=_order), key=lambda one: one.lab):
        lines += [f"## Lab {lab}", ""]
        for number, one in enumerate(group, 1):
            lines += [f"**{lab}.{number} `{one.name}`** ({one.level}, {POINTS[one.level]} p.): {one.question}", ""]
            if solutions:
                lines += ["```python", _source(one), "```", "", "Mistakes:", *(f"- {text}" for text in one.wrong), ""]
            table.append(f"| {lab}.{number} `{one.name}` | {POINTS[one.level]} | |")
    total = sum(POINTS[one.level] for one in EXERCISES.values())
    return "\n".join([*lines, *table, f"| **sum** | **{total}** | |"])


def _order(one: Exercise) -> tuple[int, bool, int]:
    return one.lab, one.name.startswith("fault_"), POINTS[one.level]


def _find(name: str) -> Exercise:
    if str(name) not in EXERCISES:
        raise UsageError(unknown("exercise", str(name), EXERCISES))
    return EXERCISES[str(name)]


def _source(one: Exercise) -> str:
    """Return the source of a solution without its decorator."""
    lines = dedent(inspect.getsource(one.solution)).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("def "))
    return "\n".join(lines[start:])


def _value(result: Any) -> Value:
    def array(item: Any) -> np.ndarray:
        try:
            return np.asarray(item)
        except ValueError:  # lists of different lengths
            return np.asarray(item, dtype=object)

    return tuple(map(array, result if isinstance(result, tuple) else (result,)))


def _kind(array: np.ndarray) -> str:
    """Return "number" (also for booleans) or "text", or the dtype of anything else."""
    return {"b": "number", "i": "number", "u": "number", "f": "number", "U": "text"}.get(
        array.dtype.kind, str(array.dtype)
    )


def _problem(one: Exercise, answer: Any) -> str:
    """Return what is wrong with an answer; empty if it is correct."""
    if answer is None or answer is ...:
        return "not answered yet."
    parameters = list(inspect.signature(one.solution).parameters)
    if not callable(answer):
        if parameters:
            return f"got {_show(answer)}; expected a function of ({', '.join(parameters)})."
        function: Function = lambda: answer
    else:
        function = answer
        try:
            inspect.signature(function).bind(*parameters)
        except TypeError as error:
            return f"your function does not take the {len(parameters)} arguments {', '.join(parameters)} ({error})."
        except ValueError:
            pass  # a ufunc, which has no signature
    expected = list(one.results(one.solution))
    got: list[Value] = []
    for call in one.calls():
        before = list(map(_bytes, call))
        try:
            result = function(*call)
        except Exception as error:
            raised = f"your function raised {type(error).__name__}: {error}{_line(error, function)}."
            mistake = _mistake(one, got) if got else ""
            return f"{raised} Before that: {mistake}" if mistake else raised
        if result is None or result is ...:
            if not got and _is_empty(function):
                return "not answered yet."
            return f"your function returned {result}. Does it end with `return` and the result?"
        for argument, value, old in zip(parameters, call, before, strict=True):
            if _bytes(value) != old:
                return (
                    f"not correct. This is the mistake: your function overwrites its argument {argument}. The caller "
                    f"still needs its values: write `{argument} = {argument} * 2` instead of `{argument} *= 2`, and "
                    "copy an array before you assign to its entries."
                )
        got.append(_value(result))
    right = list(map(one.equal, got, expected))
    if all(right):
        return ""
    if mistake := _mistake(one, got):
        return f"not correct. {mistake}"
    for result, target in zip(got, expected, strict=True):
        if wrong_form := _form_problem(result, target):
            return wrong_form
    if _kind(expected[0][0]) == "text":
        words = {str(value[0]) for function in (one.solution, *one.wrong.values()) for value in one.results(function)}
        return f"got {got[0][0]}; expected one of: {', '.join(sorted(words))}."
    if not parameters:
        return f"not correct: {_distance(got[0], expected[0])}. `hint({one.name!r})` gives a first idea."
    first = right.index(False)
    arguments = ", ".join(f"{name}={_show(value)}" for name, value in zip(parameters, one.calls()[first], strict=True))
    return (
        f"not correct on {right.count(False)} of {len(right)} hidden inputs. {_outside(function)}With {arguments}: "
        f"{_distance(got[first], expected[first])}. `hint({one.name!r})` gives a first idea."
    )


def _mistake(one: Exercise, got: list[Value]) -> str:
    """Return which known mistake gives the results of the first calls, with advice; empty if none does."""
    for name, mistake in one.wrong.items():
        if all(map(one.equal, got, one.results(mistake))):
            advice = inspect.getdoc(mistake) or f"Hint: {one.hints[0]}"
            return f"This is the mistake: {name}. {advice}"
    return ""


def _is_empty(function: Function) -> bool:
    """Return whether a function is still as the lab has it: `...`, and at most a docstring."""
    code = getattr(function, "__code__", None)
    return code is not None and {one.opname for one in dis.get_instructions(code)} <= EMPTY


def _outside(function: Function) -> str:
    """Return a sentence about the numbers and arrays that a function takes from the notebook; empty if there are none.

    They are seldom the mistake if they are constants, and usually if they describe the data of the lab.
    """
    code, known = getattr(function, "__code__", None), getattr(function, "__globals__", {})
    names = [one.argval for one in dis.get_instructions(code) if one.opname == "LOAD_GLOBAL"] if code else []
    values = {name: known[name] for name in names if name in known}
    data = [name for name, value in values.items() if isinstance(getattr(value, "shape", value), tuple | int | float)]
    if not data:
        return ""
    return (
        f"Your function uses {' and '.join(data)} of the notebook; what belongs to the data must come from arguments. "
    )


def _bytes(value: Any) -> bytes | None:
    """Return the contents of an array, by which a change in place shows; None for anything else."""
    return value.tobytes() if isinstance(value, np.ndarray) else None


def _form_problem(got: Value, expected: Value) -> str:
    """Return what is wrong with the type or shape of a result, or that it is not finite; empty if nothing is."""
    if len(got) != len(expected):
        return f"got {_form(got)}; expected {_form(expected)}."
    for place, (ours, target) in enumerate(zip(got, expected, strict=True), 1):
        where = f"item {place} of the result: " if len(expected) > 1 else ""
        if _kind(ours) != _kind(target):
            return f"{where}got {_form((ours,))}; expected {_form((target,))}."
        if ours.shape != target.shape:
            wanted = target.shape if target.ndim else f"a {_kind(target)}"
            return f"{where}got shape {ours.shape}; expected {wanted}."
        if _kind(ours) == "number" and np.isfinite(target).all() and not np.isfinite(ours).all():
            return f"{where}got {ours[~np.isfinite(ours)][0]} ({np.sum(~np.isfinite(ours))} of {ours.size} numbers)."
    return ""


def _form(value: Value) -> str:
    if len(value) > 1:
        return f"a tuple of {len(value)}"
    array = value[0]
    if array.ndim:
        return f"an array of shape {array.shape} and type {_kind(array)}"
    return f"a {type(array.item()).__name__ if _kind(array) == 'object' else _kind(array)}"


def _distance(got: Value, expected: Value) -> str:
    """Return how far a result is from the solution, at the entry with the largest difference."""
    gaps = [np.max(np.abs(ours.astype(float) - target), initial=0) for ours, target in zip(got, expected, strict=True)]
    item = int(np.argmax(gaps))
    ours, target = got[item], expected[item]
    place = np.unravel_index(np.argmax(np.abs(ours.astype(float) - target)), ours.shape)
    where = f" at {list(map(int, place))}" if place else ""
    inside = f" in item {item + 1} of the result" if len(expected) > 1 else ""
    return f"got {ours[place]:.6g}{where}{inside}, which is off by {ours[place] - float(target[place]):+.3g}"


def _line(error: Exception, function: Function) -> str:
    """Return the last line of an answer that ran before an exception."""
    code = getattr(function, "__code__", None)
    lines = [frame for frame in extract_tb(error.__traceback__) if code and frame.filename == code.co_filename]
    if not lines or code is None or lines[-1].lineno is None:
        return ""
    return f", in line {lines[-1].lineno - code.co_firstlineno + 1}: {lines[-1].line}".removesuffix(": ")


def _show(value: Any) -> str:
    if callable(value):
        return "<function>"
    if hasattr(value, "shape"):
        text = " ".join(np.array2string(np.asarray(value), precision=3, max_line_width=1000).split())
    else:
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
    if len(text) <= 80 and "\n" not in text:
        return text
    return f"<array of shape {np.shape(value)}>" if hasattr(value, "shape") else f"<{type(value).__name__}>"
