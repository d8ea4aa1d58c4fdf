"""The course: every solution passes, every known mistake is recognised by its name, and every lab runs.

What the mistakes answer is kept in tests/course_answers.json. After a change on purpose: python -m tests.test_course
"""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

import motes
from motes.course import EXERCISES, check, exercise, fault, hint, sheet, solution

ROOT = Path(__file__).parents[1]
ANSWERS = ROOT / "tests" / "course_answers.json"
LABS = sorted((ROOT / "docs" / "course").glob("lab*.py"))


@pytest.fixture
def double(monkeypatch):
    """An exercise of a teacher, with a tuple as its answer."""
    monkeypatch.setattr("motes.course.exercises.EXERCISES", dict(EXERCISES))
    inputs = lambda rng: [(np.arange(3.0) + rng.normal(), 0.5), (np.ones(2), 2.0)]
    wrong = {"the sign is wrong": lambda x, scale: (-2 * x, scale)}

    @exercise(lab=1, level="easy", question="Twice x, and the scale.", inputs=inputs, wrong=wrong)
    def double(x, scale):
        """Add x to itself.

        Then return the scale.
        """
        return x + x, scale

    return double


def answers(name):
    """What the solution of an exercise and each mistake answer at its hidden points: words, or weighted sums."""
    one = EXERCISES[name]
    summed = lambda array: (
        array.tolist() if array.dtype.kind == "U" else float(np.cos(np.arange(array.size)) @ array.flat)
    )
    functions = {"solution": one.solution, **one.wrong}
    return {
        mistake: [summed(array) for result in one.results(function) for array in result]
        for mistake, function in functions.items()
    }


@pytest.mark.parametrize("name", EXERCISES)
def test_mistakes_answer_what_they_did_when_they_were_looked_at(name):
    kept, now = json.loads(ANSWERS.read_text(encoding="utf-8"))[name], answers(name)
    assert kept.keys() == now.keys()
    for mistake, values in kept.items():
        words = isinstance(values[0], str)
        assert now[mistake] == (values if words else pytest.approx(values, rel=1e-6, abs=1e-9, nan_ok=True)), mistake


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_passes_and_each_mistake_is_told_by_its_own_name(name, capsys):
    one = EXERCISES[name]
    no_inputs = one.calls() == [()]
    assert one.solution.__doc__ and one.question[-1] in ".?" and len(one.wrong) >= 4
    assert check(name, one.solution() if no_inputs else one.solution).message == f"{name}: correct."
    for mistake, function in one.wrong.items():
        result = check(name, function() if no_inputs else function)
        assert not result.correct and f"This is the mistake: {mistake}. " in result.message
    solution(name)
    namespace = {"np": np}
    exec(capsys.readouterr().out.partition("\ndef ")[2].join(["def ", ""]), namespace)  # what is shown can be copied
    assert check(name, namespace[name]() if no_inputs else namespace[name]).correct


def test_the_course_has_twelve_labs_36_exercises_and_six_faults():
    assert [path.stem for path in LABS] == [f"lab{lab:02d}" for lab in range(1, 13)]
    faults = {name for name in EXERCISES if name.startswith("fault_")}
    assert faults == {f"fault_{lab:02d}" for lab in (4, 5, 7, 8, 11, 12)}
    levels = [(one.lab, one.level) for name, one in EXERCISES.items() if name not in faults]
    assert sorted(levels) == [(lab, level) for lab in range(1, 13) for level in ("easy", "middle", "research")]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "not answered yet."),
        (..., "not answered yet."),
        (lambda x, scale: None, "not answered yet."),
        (lambda x, scale: ..., "not answered yet."),
        (lambda x, scale: x.sort(), "your function returned None. Does it end with `return` and the result?"),
        (
            lambda x, scale: (2 * x, scale) if scale < 1 else None,
            "your function returned None. Does it end with `return` and the result?",
        ),
        (1.5, "got 1.5; expected a function of (x, scale)."),
        (lambda x: x, "your function does not take the 2 arguments x, scale (too many positional arguments)."),
        (lambda x, scale: 2 * x, "got an array of shape (3,) and type number; expected a tuple of 2."),
        (lambda x, scale: (2 * x[:, None], scale), "item 1 of the result: got shape (3, 1); expected (3,)."),
        (lambda x, scale: (2 * x, "a"), "item 2 of the result: got a text; expected a number."),
        (lambda x, scale: (2 * x, scale + 1j), "item 2 of the result: got a complex128; expected a number."),
        (
            lambda x, scale: ([[1, 2], [3]], scale),
            "item 1 of the result: got an array of shape (2,) and type object; "
            "expected an array of shape (3,) and type number.",
        ),
        (
            lambda x, scale: ({"a": 1}, scale),
            "item 1 of the result: got a dict; expected an array of shape (3,) and type number.",
        ),
        (lambda x, scale: (x * np.nan, scale), "item 1 of the result: got nan (3 of 3 numbers)."),
        (
            lambda x, scale: (-2 * x, scale),
            "not correct. This is the mistake: the sign is wrong. Hint: Add x to itself.",
        ),
        (
            lambda x, scale: (2 * x, min(scale, 1.0)),
            "not correct on 1 of 2 hidden inputs. With x=[1. 1.], scale=2: got 1 in item 2 of the result, which is off "
            "by -1. `hint('double')` gives a first idea.",
        ),
        (
            lambda x, scale: (2 * x + [0, 0.3] if len(x) == 2 else 2 * x, scale),
            "not correct on 1 of 2 hidden inputs. With x=[1. 1.], scale=2: got 2.3 at [1] in item 1 of the result, "
            "which is off by +0.3. `hint('double')` gives a first idea.",
        ),
        (
            lambda x, scale: (2 * x, scale + (0.5 if len(x) == 3 else 0)),
            "not correct on 1 of 2 hidden inputs. With x=[-1.268 -0.268 0.732], scale=0.5: got 1 in item 2 of the "
            "result, which is off by +0.5. `hint('double')` gives a first idea.",
        ),
    ],
)
def test_the_message_says_what_is_wrong(double, answer, message, capsys):
    result = check("double", answer)
    assert repr(result) == result.message == f"double: {message}" == capsys.readouterr().out.rstrip("\n")
    assert not result.correct


def test_a_wrong_word_is_answered_with_the_words_to_choose_from():
    words = "average, data, learning rate, network, sampler, schedule"
    assert check("fault_04", "the mean").message == f"fault_04: got the mean; expected one of: {words}."
    assert check("fault_04", " Average").correct
    assert "This is the mistake: the data. The recipe standardises" in check("fault_04", "data").message


def test_an_exception_is_told_with_its_line(double):
    def answer(x, scale):
        y = x + x
        return y, missing  # noqa: F821

    end = "in line 3: return y, missing  # noqa: F821."
    assert (
        check("double", answer).message
        == f"double: your function raised NameError: name 'missing' is not defined, {end}"
    )


def test_a_known_mistake_is_told_before_an_exception(double):
    def answer(x, scale):
        return -2 * x / np.ones(3), scale  # the second input has two entries

    message = check("double", answer).message
    assert message.startswith("double: your function raised ValueError: ")
    assert message.endswith(". Before that: This is the mistake: the sign is wrong. Hint: Add x to itself.")


@pytest.mark.parametrize(
    ("lab", "message"),
    [("4", "got '4'; expected the number of a lab, one of: 4"), (1, "lab 1 has no fault to find. Choose from: 4")],
)
def test_a_lab_without_a_fault_is_refused(lab, message):
    with pytest.raises(motes.errors.UsageError, match=re.escape(message)):
        fault(lab)


def test_an_untouched_function_with_a_docstring_is_not_answered_yet(double):
    def answer(x, scale):
        """Return twice x, and the scale."""
        ...

    assert check("double", answer).message == "double: not answered yet."


def test_an_answer_may_be_a_jax_array_or_change_a_copy(double):
    def on_a_copy(x, scale):
        x = x.copy()
        x *= 2
        return x, scale

    assert check("double", on_a_copy).correct
    assert check("double", lambda x, scale: (jnp.asarray(2 * x), scale)).correct


def _multiply(x):
    x *= 2
    return x


def _assign(x):
    x[0] = 2 * x[0]
    return 2 * x


@pytest.mark.parametrize("answer", [_multiply, _assign, lambda x: np.add(x, x, out=x)])
def test_an_answer_that_overwrites_its_argument_is_not_correct(double, answer):
    result = check("double", lambda x, scale: (answer(x), scale))
    assert not result.correct
    assert "This is the mistake: your function overwrites its argument x. " in result.message


class Told(motes.points.Denoiser):
    """A denoiser that has the time for x0_hat, or a noise that is the level of the time or a tenth of the point."""

    schedule: motes.points.Schedule
    kind: str

    def __call__(self, x_t, t):
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        eps = {"time": x_t / sigma, "level": sigma / alpha, "point": x_t / alpha / 10}[self.kind]
        return t + 0 * x_t if self.kind == "time" else (x_t - sigma * eps) / alpha


def test_the_faults_of_samplers_are_those_that_their_exercises_name():
    x, key, ends = jnp.array([1.0, -2.0]), jax.random.key(0), (jnp.float32(0.6), jnp.float32(0.4))
    schedule = motes.points.RectifiedFlow()
    step = lambda sampler, kind: np.asarray(sampler.step(Told(schedule, kind), x, *ends, None, key)[0])
    euler, heun = motes.points.DDIM(0.0), motes.points.Heun()
    np.testing.assert_allclose(step(fault(7), "point"), step(heun, "point"), rtol=1e-5)
    np.testing.assert_allclose(step(fault(7), "level"), step(euler, "level"), rtol=1e-5)  # of first order
    assert np.abs(step(heun, "level") - step(euler, "level")).min() > 0.01
    ddpm = motes.points.Ancestral()
    mean = motes.points.process.q_posterior(schedule, x, 0.6, *ends).mean
    early = motes.points.process.q_posterior(schedule, x, 0.4, *ends).mean
    np.testing.assert_allclose(step(fault(5), "time") - step(ddpm, "time"), early - mean, rtol=1e-4)


def test_the_fault_of_the_sampler_of_labels_is_that_a_known_label_comes_too_late():
    # The level of each test is 1e-4; the seeds are fixed. p(weather, car or bus), and the same given a late arrival.
    trips = np.array([0.6, 0.3, 0.1])[:, None] * np.array([[0.3, 0.7], [0.6, 0.4], [0.2, 0.8]])
    late = trips * np.array([[0.1, 0.2], [0.3, 0.25], [0.6, 0.4]])
    counted = lambda rows: np.bincount(2 * rows[:, 0] + rows[:, 1], minlength=6)
    free, known = fault(11).sample(3000, seed=1), fault(11).sample(3000, given={2: 1}, seed=2)
    assert (known[:, 2] == 1).all()
    assert chisquare(counted(free), 3000 * trips.ravel()).pvalue > 1e-4
    assert (
        chisquare(counted(free[free[:, 2] == 1]), (free[:, 2] == 1).sum() * (late / late.sum()).ravel()).pvalue > 1e-4
    )
    assert chisquare(counted(known), 3000 * trips.ravel()).pvalue > 1e-4  # as if nothing were known
    assert chisquare(counted(known), 3000 * (late / late.sum()).ravel()).pvalue < 1e-10


def _defined_in_a_notebook(line):
    namespace = {"np": np, "mean": 3.0, "double": lambda x: 2 * x}
    exec(f"def answer(x, scale):\n    return {line}, scale", namespace)
    return namespace["answer"]


def test_a_value_from_outside_is_named_if_the_result_is_wrong(double):
    named = "not correct on 2 of 2 hidden inputs. Your function uses mean of the notebook; "
    assert named in check("double", _defined_in_a_notebook("x * mean")).message
    assert check("double", _defined_in_a_notebook("(mean - 1) * x")).correct
    for line in ("double(x) + 1", "x.mean() + np.zeros_like(x)"):  # a function, and an attribute with the same name
        assert "of the notebook" not in check("double", _defined_in_a_notebook(line)).message


def test_unknown_names_are_errors_that_help(double):
    for call in (hint, solution, lambda name: check(name, 1)):
        with pytest.raises(motes.errors.UsageError, match=r"unknown exercise 'duoble'\. Did you mean 'double'\?"):
            call("duoble")
    with pytest.raises(motes.errors.UsageError, match=r"lab 1 has no fault to find\. Choose from: 4, 5, 7, 8, 11, 12"):
        fault(1)
    with pytest.raises(motes.errors.UsageError, match="an exercise 'double' exists in lab 1"):
        exercise(lab=2, level="easy", question="", wrong={})(double)


def test_hints_solutions_and_the_sheet(double, capsys):
    hint("double")
    assert capsys.readouterr().out == "Hint 1 of 2: Add x to itself.\nThen: hint('double', 2)\n"
    hint("double", 2)
    assert capsys.readouterr().out == "Hint 2 of 2: Then return the scale.\nThen: solution('double')\n"
    solution("double")
    shown = capsys.readouterr().out
    assert shown.startswith("def double(x, scale):\n") and shown.endswith("    return x + x, scale\n")
    assert "**1.2 `double`** (easy, 1 p.): Twice x, and the scale." in sheet()
    assert "return x + x" not in sheet() and "return x + x" in sheet(solutions=True)
    assert "- the sign is wrong" in sheet(solutions=True)


@pytest.mark.parametrize("number", [0, 3, -1, 1.0, "2"])
def test_a_hint_that_does_not_exist_is_an_error(double, number):
    with pytest.raises(motes.errors.UsageError, match=r"expected the number of a hint for 'double', from 1 to 2\."):
        hint("double", number)


@pytest.mark.parametrize("name", EXERCISES)
def test_the_first_of_several_hints_is_an_idea_without_a_formula(name):
    first, *others = EXERCISES[name].hints
    assert others and not re.search(r"=|\*\*|sqrt|np\.", first)


def test_the_course_is_imported_quickly():
    code = "import sys, motes.course; print([name for name in ('jax', 'matplotlib', 'sklearn') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("page", ["index", "teaching"])
def test_the_example_of_a_page_prints_what_the_page_shows(page, monkeypatch, capsys):
    monkeypatch.setattr("motes.course.exercises.EXERCISES", dict(EXERCISES))
    text = (ROOT / "docs" / "course" / f"{page}.md").read_text(encoding="utf-8")
    code, shown = re.search(r"^```python\n(.*?)^```\n\n```\n(.*?)^```", text, re.DOTALL | re.MULTILINE).groups()
    exec(code, {})
    assert capsys.readouterr().out == shown


@pytest.mark.slow
def test_a_lab_becomes_slides(tmp_path):
    program = [sys.executable, ROOT / "scripts" / "lab_slides.py"]
    subprocess.run([*program, LABS[1], tmp_path / "lab02.html"], check=True, capture_output=True)
    page = (tmp_path / "lab02.html").read_text(encoding="utf-8")
    assert page.count("<img") == 4 and page.count("<section>") == 6 and "http" not in page
    assert "<h1>Does the signal die?</h1>" in page and "<b>posterior_mean</b> (middle)" in page
    refused = subprocess.run([*program, "nowhere.py"], capture_output=True, text=True)
    assert refused.returncode == 1 and refused.stderr.startswith("got nowhere.py; expected a lab and the page to write")


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_a_lab_has_one_title_with_its_number_and_asks_for_each_of_its_exercises(path):
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"^# # (Lab \d+): ", text, re.MULTILINE) == [f"Lab {int(path.stem[-2:])}"]
    tree = ast.parse(text)
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "check"]
    names = {node.args[0].value for node in calls if isinstance(node.args[0], ast.Constant)}
    assert names == {one.name for one in EXERCISES.values() if one.lab == int(path.stem[-2:])}


@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_a_lab_says_before_its_first_exercise_how_to_get_a_hint(path):
    text = path.read_text(encoding="utf-8")
    imported = re.search(r"^from motes\.course import (.*)$", text, re.MULTILINE)[1]
    assert {"check", "hint", "solution"} <= set(imported.split(", "))
    first = next(name for name in re.findall(r'^check\("(\w+)"', text, re.MULTILINE) if not name.startswith("fault_"))
    before = text.partition(f'check("{first}"')[0]
    assert f'`hint("{first}")`' in before and f'`solution("{first}")`' in before


def test_lab_4_keeps_the_answer_of_its_fault_to_itself():
    text = (ROOT / "docs" / "course" / "lab04.py").read_text(encoding="utf-8")
    hunt, after = text.partition("## Find the fault")[2].split('check("fault_04", ...)')
    assert "diagnose" not in hunt
    assert EXERCISES["fault_04"].solution() not in after.partition("## What you learned")[2]


@pytest.mark.long
@pytest.mark.parametrize("path", LABS, ids=lambda path: path.stem)
def test_a_lab_runs_from_top_to_bottom(path, tmp_path):
    usual = {
        name: value for name, value in os.environ.items() if name not in ("JAX_DISABLE_MOST_OPTIMIZATIONS", "XLA_FLAGS")
    }
    done = subprocess.run([sys.executable, path], cwd=tmp_path, env=usual, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    unanswered = [name for name, one in EXERCISES.items() if one.lab == int(path.stem[-2:])]
    assert unanswered and all(f"{name}: not answered yet." in done.stdout for name in unanswered)
    assert ": correct." not in done.stdout and "This is the mistake" not in done.stdout


if __name__ == "__main__":
    ANSWERS.write_text(json.dumps({name: answers(name) for name in EXERCISES}, indent=1) + "\n", encoding="utf-8")
