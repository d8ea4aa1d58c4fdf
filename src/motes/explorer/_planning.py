"""The recipe of a training that a page asks for, within limits, and what can be known of it before it is trained.

A page names a recipe of motes and changes of its keys. Findings and their fixes are those of `motes.diagnose`; a fix is
such changes as well.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from motes.data._tables import Table
from motes.diagnosis._before import diagnose
from motes.diagnosis._findings import Finding
from motes.diagnosis._prior import PRIOR_NATS, prior_kl
from motes.diffusion._discrete import DiscreteVP
from motes.diffusion._knots import MOST_KNOTS, KnotSchedule
from motes.errors import UsageError
from motes.explorer._frames import Answer
from motes.explorer._limits import Limits
from motes.explorer._requests import Request
from motes.recipes import Recipe, load_recipe
from motes.recipes._changes import split_change
from motes.recipes._registry import keys_of, kinds_of, members_of

RECIPES = ("default", "ddpm", "tutorial")
CHANGES, LONGEST, LARGEST = 60, 40, 1e6  # of a request: how many, letters of a text, size of a number
KNOTS = 8  # of the curves that a page drags
PLACES = 129  # of t, at which curves are shown
SECTIONS = ("schedule", "network", "denoiser", "loss", "times", "training", "sampler", "grid", "data")
DATA = ("rows", "noise", "standardise", "label")
FIXED = {"averages": 0}  # of [training]: nothing is stored beside the snapshots
FEW = 2_000  # rows that a plan is computed with


def planned(request: Request, limits: Limits) -> Recipe:
    """The recipe that a request says: `recipe` and `changes`.

    Raises:
        MotesError: another recipe, keys or values that there are not, or more work than the limits allow.
    """
    name = request.word("recipe", RECIPES)
    changes = changes_of(request.options.get("changes", {}))
    fixed = {f"training.{key}": value for key, value in FIXED.items()}
    recipe = load_recipe(name, changes | fixed)
    _check_size(recipe, limits, changes)
    return recipe


def changes_of(got: object) -> dict[str, Any]:
    """Changes of a recipe as a page says them, each looked at before anything is made of it.

    Raises:
        UsageError: something else than keys that a page may set, with plain values.
    """
    if not isinstance(got, Mapping) or len(got) > CHANGES:
        raise UsageError(f"got changes = {type(got).__name__}; expected up to {CHANGES} keys of a recipe with values.")
    found = {}
    for key, value in got.items():
        section, _, name = str(key).partition(".")
        if section not in SECTIONS or (section == "data" and name not in DATA):
            raise UsageError(
                f"got the key '{str(key)[:LONGEST]}'; expected one of {', '.join(SECTIONS)}, such as grid.steps."
            )
        if section == "training" and name in FIXED:
            raise UsageError(f"got the key '{key}'; expected another: the page keeps it at {FIXED[name]}.")
        _check_value(key, value)
        found[key] = value
    return found


def _check_value(key: str, value: object) -> None:
    values = value if isinstance(value, list) else [value]
    plain = len(values) <= MOST_KNOTS and all(_is_plain(one) for one in values)
    if not plain:
        raise UsageError(
            f"got {key} = {repr(value)[:LONGEST]}; expected a text, a number up to {LARGEST:g}, or a short list."
        )


def _is_plain(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= LONGEST
    return isinstance(value, int | float) and abs(value) <= LARGEST  # which no infinite number is, and no NaN


def _check_size(recipe: Recipe, limits: Limits, changed: Collection[str]) -> None:
    """Refuse more work than a page may ask for, whether a change says so or the recipe itself.

    Every number of a recipe has a range (`motes.recipes.number`). Whole numbers cost time and memory, and have a lower
    maximum here. A number without a range, which a kind of your own may have, cannot be set.

    Raises:
        UsageError: more.
    """
    for section in SECTIONS:
        part = getattr(recipe, section)
        for key, annotation in keys_of(type(part)).items():
            name, value = f"{section}.{key}", getattr(part, key)
            kinds = {int, float} & {*members_of(annotation)}
            if name in changed and kinds and not _is_bounded(part, key):
                raise UsageError(f"got {name}, a number without bounds; expected a key that has them. Leave it out.")
            most = _most(section, key, limits)
            if int not in kinds or value is None or value <= most:
                continue
            if name in changed:
                raise UsageError(f"got {name} = {value:,}; expected a whole number of at most {most:,} on the page.")
            if section != "grid":  # that of a recipe is what a page shows at first, whatever it may ask for
                raise UsageError(
                    f"got {name} = {value:,} of the recipe; expected at most {most:,} on the page. Change it."
                )
    layers = getattr(recipe.network, "depth", 1) * getattr(recipe.network, "members", 1)
    if layers > limits.layers:
        raise UsageError(
            f"got network.depth times network.members = {layers:,}; expected at most {limits.layers:,} on the page."
        )


def _most(section: str, key: str, limits: Limits) -> int:
    """The largest whole number that a key may have on the page."""
    named = {
        "network.width": limits.width,
        "network.depth": limits.depth,
        "training.batch": limits.batch,
        "training.snapshots": limits.number,
        "data.rows": limits.rows,
        "schedule.steps": limits.schedule_steps,
        "grid.steps": limits.steps,
    }
    # The others of [training] are steps, or looks that are some steps apart.
    return named.get(f"{section}.{key}", limits.training_steps if section == "training" else limits.number)


def _is_bounded(part: Any, key: str) -> bool:
    allowed = next(field.metadata.get("range") for field in fields(part) if field.name == key)
    return allowed is not None and math.isfinite(allowed.low) and math.isfinite(allowed.high)


# --- what is known before the training ------------------------------------------------------------------------------


def plan(recipe: Recipe, table: Table, limits: Limits) -> Answer:
    """What a page shows of a recipe for some rows: its values, its curves, and what will go wrong.

    Raises:
        MotesError: rows that the recipe cannot be used for.
    """
    schedule = recipe.make_schedule()
    t = np.linspace(0, 1, PLACES)
    curves = {name: np.asarray(getattr(schedule, name)(t), float) for name in ("alpha", "sigma", "log_snr")}
    few = table.take(np.arange(min(FEW, len(table))))
    betas = schedule.betas if isinstance(schedule, DiscreteVP) else np.zeros(0)
    return Answer(
        {
            "recipe": recipe.to_dict(),
            "toml": recipe.to_toml(),
            "kinds": {section: list(kinds_of(section)) for section in ("schedule", "loss", "denoiser")},
            "knots": _knots(recipe),
            "steps": recipe.steps,
            "left": float(schedule.alpha(1.0)) ** 2,
            "prior": prior_kl(few.x, recipe),
            "allowed": PRIOR_NATS,
            "findings": [said(finding, recipe, limits) for finding in diagnose(few, recipe)],
        },
        {"t": t, "betas": betas, **curves},
    )


def _knots(recipe: Recipe) -> dict[str, list[float]]:
    """Points that lie on the curves of a schedule, from which a page begins to drag."""
    schedule = recipe.make_schedule()
    if isinstance(schedule, KnotSchedule):
        return {"alphas": list(schedule.alphas), "sigmas": list(schedule.sigmas)}
    t = np.arange(1, KNOTS + 1) / KNOTS
    return {
        name: np.asarray(curve(t), float).tolist()
        for name, curve in (("alphas", schedule.alpha), ("sigmas", schedule.sigma))
    }


def said(finding: Finding, recipe: Recipe, limits: Limits) -> dict[str, Any]:
    """A finding as a page shows it: its fix as changes of a recipe, or {}, and why they cannot be set here, or ""."""
    changes = fix_of(finding.fix)
    try:
        changes_of(changes)
        _check_size(load_recipe(recipe, changes), limits, changes)
        beyond = ""
    except UsageError as error:
        beyond = str(error)
    return {"name": finding.name, "meaning": finding.meaning, "fix": finding.fix, "changes": changes, "beyond": beyond}


def fix_of(options: str) -> dict[str, Any]:
    """The changes of a recipe that the options of `motes train` say.

    Example:
        >>> fix_of("--set data.standardise=true --set schedule.end=0.2")
        {'data.standardise': True, 'schedule.end': 0.2}
    """
    words = shlex.split(options)
    return dict(split_change(word) for word in words if word != "--set")
