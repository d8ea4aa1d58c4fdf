"""Exercises that check themselves, for the twelve labs in `docs/course`.

    from motes.course import check, hint, solution

    check("posterior_mean", my_function)  # correct, which mistake it is, or how far off

`EXERCISES` maps the name of each exercise to it. Each module `lab01`, `lab02`, ... registers the exercises of one lab.
"""

from importlib import import_module
from pkgutil import iter_modules

from motes.course.exercises import EXERCISES, check, exercise, fault, hint, sheet, solution

__all__ = ["EXERCISES", "check", "exercise", "fault", "hint", "sheet", "solution"]

for _module in iter_modules(__path__):
    if _module.name.startswith("lab"):
        import_module(f"{__name__}.{_module.name}")
