"""A run, written down: schedule, network, loss, optimiser, sampler.

A recipe is a TOML file with a section for each part; `kind` picks a part and the other keys are that part's options.
`motes.parts` holds what may be written; this module says what is wrong with what was; `motes.build` makes the parts.
"""

import dataclasses
import json
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Union, get_args, get_origin, get_type_hints

from motes.data.text_options import TextOptions
from motes.errors import RecipeError, UsageError, unknown
from motes.parts import (
    OFF_GRID,
    AncestralPart,
    Data,
    DenoiserPart,
    Exploding,
    GivenGrid,
    GridPart,
    HybridPart,
    KarrasGrid,
    LogNormal,
    LogSNRGrid,
    LossPart,
    MinSNRPart,
    PlainPart,
    Residual,
    SamplerPart,
    SchedulePart,
    StepGated,
    StepsDrawn,
    Table,
    TimesPart,
    Training,
    UniformDrawn,
    UniformGrid,
)


@dataclass(frozen=True)
class Recipe:
    """A whole run. `to_toml` and `parse` go back and forth without loss."""

    about: str = ""
    data: Data = Data()
    schedule: SchedulePart = Exploding()
    network: StepGated | Residual = Residual()
    denoiser: DenoiserPart = DenoiserPart()
    loss: LossPart | MinSNRPart | HybridPart = LossPart()
    times: TimesPart = LogNormal()
    training: Training = Training()
    sampler: SamplerPart = PlainPart()
    grid: GridPart = KarrasGrid()
    text: TextOptions = TextOptions()  # how the source is written, where it is a text file
    table: Table = Table()  # instead of all others but [data] and [columns], where data.encode
    columns: Mapping[str, Any] = field(
        default_factory=dict, hash=False
    )  # what columns of a table are; see `tables.kinds.columns`

    SECTIONS: ClassVar[tuple[str, ...]] = (
        "data", "schedule", "network", "denoiser", "loss", "times", "training", "sampler", "grid", "text", "table",
    )  # fmt: skip

    def __post_init__(self) -> None:
        self._check_sections()
        for section, part in (("network", self.network), ("times", self.times)):
            if isinstance(part, StepGated | StepsDrawn) and self.steps is None:
                raise RecipeError(
                    f"{section}.kind = '{part.kind}' needs a schedule of steps, and schedule.kind = "
                    f"'{self.schedule.kind}' has none. Set schedule.kind to linear, quad, sigmoid or cosine."
                )
        if self.loss.kind == "elbo" and not isinstance(self.times, UniformDrawn):
            raise RecipeError(
                f"loss.kind = 'elbo' is the variational bound where t is drawn uniformly, and times.kind = "
                f"'{self.times.kind}' draws it otherwise. Set times.kind = 'uniform', or another loss."
            )
        if self.loss.kind == "elbo" and isinstance(self.schedule, Exploding):
            raise RecipeError(
                "loss.kind = 'elbo' weights by how fast the noise comes in, which for schedule.kind = 'exploding' is "
                "beyond all numbers near t = 0. Set schedule.kind to 'continuous_linear', 'continuous_cosine', "
                "'rectified_flow' or one with steps."
            )
        if isinstance(self.grid, UniformGrid) and self.grid.steps is None and self.steps is None:
            raise RecipeError("grid.kind = 'uniform' needs grid.steps with a schedule that has no steps of its own.")
        top = self.schedule.sigma_max if isinstance(self.schedule, Exploding) else math.inf
        if isinstance(self.grid, KarrasGrid | LogSNRGrid) and self.grid.sigma_min >= top:
            raise RecipeError(
                f"grid.sigma_min = {self.grid.sigma_min:g}; expected less than schedule.sigma_max = {top:g}, "
                "where the grid starts."
            )
        if isinstance(self.network, StepGated) and self.steps is not None:
            self._check_steps_alone(self.steps)
        if self.training.validation and self.training.weights == "last":
            raise RecipeError(
                f"training.validation = {self.training.validation:g} judges the averaged weights, and training.weights "
                "= 'last'. Set weights = 'averaged', or validation = 0."
            )
        self._check_variance()

    @property
    def unused(self) -> set[str]:
        """The sections that have no bearing: those of points for a table, and the other way round."""
        return set(self.SECTIONS) - {"data", "text", "table"} if self.data.encode else {"table"}

    def _check_sections(self) -> None:
        """Refuse what has no bearing, which would be an option that is ignored."""
        for section in sorted(self.unused):
            if getattr(self, section) != Recipe.__dataclass_fields__[section].default:
                encode, theirs = ("true", "points") if self.data.encode else ("false", "a table")
                own = (
                    "[data], [text], [table] and [columns], such as table.steps"
                    if self.data.encode
                    else "the other sections"
                )
                raise RecipeError(
                    f"got a section [{section}], which is for {theirs}, with data.encode = {encode}; expected {own}. "
                    f"Leave [{section}] out, or choose another recipe."
                )
        if self.data.encode and self.data.label is not None:
            raise RecipeError(
                f"got data.label = '{self.data.label}' for a table; expected no data.label. A class is a column like "
                "any other here: leave data.label out, and draw rows of one class with --given COLUMN=CLASS."
            )

    def _check_variance(self) -> None:
        """What the variance of a reverse step needs to be learned, and to be sampled with."""
        learned, hybrid = self.denoiser.variance == "learned", isinstance(self.loss, HybridPart)
        if hybrid and not learned:
            raise RecipeError(
                "loss.kind = 'hybrid' teaches the variance of a reverse step, and denoiser.variance = 'fixed' learns "
                "none. Set denoiser.variance = 'learned', or another loss."
            )
        if learned and not hybrid:
            raise RecipeError(
                f"denoiser.variance = 'learned' is taught by the variational bound, and loss.kind = '{self.loss.kind}' "
                "has none. Set loss.kind = 'hybrid', or denoiser.variance = 'fixed'."
            )
        if learned and not (self.steps and isinstance(self.times, StepsDrawn)):
            raise RecipeError(
                f"denoiser.variance = 'learned' is taught step by step, and here are schedule.kind = "
                f"'{self.schedule.kind}' and times.kind = '{self.times.kind}'. Set schedule.kind to linear, quad, "
                "sigmoid or cosine, and times.kind = 'steps'."
            )
        if learned and self.denoiser.kind == "edm":
            raise RecipeError(
                "denoiser.variance = 'learned' takes a network that is given x_t and t as they are, and denoiser.kind "
                "= 'edm' scales them. Set denoiser.kind = 'eps', 'x0', 'v' or 'velocity'."
            )
        if learned and self.data.label:
            raise RecipeError(
                "denoiser.variance = 'learned' goes with no labels. Set denoiser.variance = 'fixed', or leave out "
                "data.label."
            )
        if isinstance(self.sampler, AncestralPart) and self.sampler.variance == "learned" and not learned:
            raise RecipeError(
                "sampler.variance = 'learned' needs a network that learns it: set denoiser.variance = 'learned' and "
                "loss.kind = 'hybrid', or sampler.variance = 'beta' or 'posterior'."
            )

    def _check_steps_alone(self, steps: int) -> None:
        """What a network needs that knows nothing but the schedule's own steps."""
        if self.denoiser.kind == "edm":
            raise RecipeError(
                "network.kind = 'step_gated' takes the number of a step, and denoiser.kind = 'edm' gives it a noise "
                "level. Set denoiser.kind = 'eps', 'x0', 'v' or 'velocity'; or network.kind = 'residual', which takes "
                "any time."
            )
        if self.sampler.kind in OFF_GRID:
            raise RecipeError(
                f"network.kind = 'step_gated' knows only the schedule's own steps, and sampler.kind = "
                f"'{self.sampler.kind}' asks it at times between them. Any other sampler fits but "
                f"{', '.join(OFF_GRID)}; or set network.kind = 'residual', which takes any time."
            )
        times: tuple[float, ...] = (0.5 / steps,)  # on no step
        if isinstance(self.grid, UniformGrid):
            count = self.grid.steps or steps
            times = tuple(k / count for k in range(count + 1))
        elif isinstance(self.grid, GivenGrid):
            times = self.grid.times
        if not on_steps(times, steps) or not isinstance(self.times, StepsDrawn):
            raise RecipeError(
                "network.kind = 'step_gated' knows only the schedule's own steps: it needs times.kind = 'steps' and "
                f"grid.kind = 'uniform' with grid.steps left out or a divisor of {steps}, or 'given' with times that "
                f"are multiples of 1/{steps}. Or set network.kind = 'residual', which takes any time."
            )

    @property
    def steps(self) -> int | None:
        """T of a discrete schedule, None for one without steps."""
        return getattr(self.schedule, "steps", None)

    def to_dict(self) -> dict[str, Any]:
        """Nested dictionaries, as in the TOML file; what is left out is left out."""
        plain = dataclasses.asdict(self)
        whole = {
            key: {k: v for k, v in value.items() if v is not None and v != ()} if isinstance(value, dict) else value
            for key, value in plain.items()
        }
        for name in ("columns", "text"):
            if not whole[name]:
                del whole[name]
        return {key: value for key, value in whole.items() if key not in self.unused}

    def to_toml(self) -> str:
        """The text of the recipe's file."""
        import tomli_w

        return tomli_w.dumps(self.to_dict())


def on_steps(times: Iterable[float], steps: int) -> bool:
    """Whether each of `times` is k / `steps` for a whole k, to the precision of float32."""
    return all(abs(t * steps - round(t * steps)) < 1e-4 for t in times)


def recipe_names() -> list[str]:
    """The recipes that come with motes."""
    return ["default", "table", "ddpm", "tutorial"]


def recipe_text(name: str) -> str:
    """The TOML file of a recipe that comes with motes, comments included."""
    if name not in recipe_names():
        raise RecipeError(unknown("recipe", name, recipe_names()))
    return (resources.files("motes") / "recipes" / f"{name}.toml").read_text(encoding="utf-8")


def load_recipe(recipe: "str | Path | Recipe" = "default", changes: Sequence[str] | Mapping[str, Any] = ()) -> Recipe:
    """A recipe by name or from a TOML file, with some values changed.

    Args:
        recipe: a name that comes with motes, the path of a `.toml` file, or a recipe.
        changes: "section.key=value" texts as on the command line, or a mapping {"section.key": value}.

    Raises:
        RecipeError: an unknown name, section, key or value; the message lists the right ones.
        UsageError: a file that is not there.
    """
    if isinstance(recipe, Recipe):
        values, where = recipe.to_dict(), "the recipe"
    elif str(recipe).endswith(".toml"):
        path = Path(recipe)
        if not path.is_file():
            raise UsageError(f"there is no recipe file '{path}'.")
        values, where = _toml(path.read_text(encoding="utf-8", errors="replace"), f"'{path}'"), f"'{path}'"
    else:
        values, where = _toml(recipe_text(str(recipe)), str(recipe)), f"recipe '{recipe}'"
    pairs = changes.items() if isinstance(changes, Mapping) else [split_change(change) for change in changes]
    # A new kind first: it decides which other keys there are.
    for key, value in sorted(pairs, key=lambda pair: not pair[0].endswith(".kind")):
        _change(values, key, value, where)
    return parse(values, where)


def parse(values: Mapping[str, Any], where: str = "the recipe") -> Recipe:
    """Check nested dictionaries and make a Recipe of them; sections and keys that are left out take their defaults."""
    sections = get_type_hints(Recipe)
    parts: dict[str, Any] = {}
    for name, value in values.items():
        if name == "about":
            parts[name] = _checked(str, value, "about")
            continue
        if name not in (*Recipe.SECTIONS, "columns"):
            raise RecipeError(f"{where}: " + unknown("section", name, (*Recipe.SECTIONS, "columns")))
        if not isinstance(value, Mapping):
            raise RecipeError(f"{where}: {name} = {value!r}; expected a section [{name}] with keys of its own.")
        if name == "columns":
            parts[name] = dict(value)  # whose names and kinds only the data can check
            continue
        parts[name] = _part(_member(sections[name], name, value.get("kind"), where), name, value, where)
    return Recipe(**parts)


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _kinds(part: Any) -> tuple[str, ...]:
    return get_args(_hints(part).get("kind", Literal[()])) if "kind" in _hints(part) else ()


@cache
def _hints(part: Any) -> dict[str, Any]:
    return get_type_hints(part)


def _member(annotation: Any, section: str, kind: Any, where: str = "the recipe") -> Any:
    """The dataclass of a section, chosen by its `kind`."""
    members = _members(annotation)
    if kind is None:
        return type(Recipe.__dataclass_fields__[section].default)
    for member in members:
        if kind in _kinds(member):
            return member
    kinds = [kind for member in members for kind in _kinds(member)]
    if not kinds:
        raise RecipeError(f"{where}: " + unknown("key", "kind", _hints(members[0]), f" in [{section}]"))
    raise RecipeError(f"{where}: " + unknown(f"{section}.kind", str(kind), kinds))


def _part(part: Any, section: str, values: Mapping[str, Any], where: str) -> Any:
    hints, fields = _hints(part), part.__dataclass_fields__
    made = {}
    for key, value in values.items():
        if key not in hints:
            kind = f" of kind '{values['kind']}'" if "kind" in values else ""
            raise RecipeError(f"{where}: " + unknown("key", key, hints, f" in [{section}]{kind}"))
        made[key] = _checked(hints[key], value, f"{section}.{key}", where)
        check = fields[key].metadata
        if check and not check["good"](made[key]):
            raise RecipeError(f"{where}: {section}.{key} = {value!r}; expected {check['said']}.")
    return part(**made)


_SAID = {int: "a whole number", float: "a finite number", bool: "true or false", str: "a text"}


def _checked(annotation: Any, value: Any, name: str, where: str = "the recipe") -> Any:
    choices = _members(annotation)
    if get_origin(annotation) is Literal:
        if value in get_args(annotation):
            return value
        raise RecipeError(f"{where}: " + unknown(name, str(value), get_args(annotation)))
    kind = next(choice for choice in choices if choice is not NoneType)
    if value is None and NoneType in choices:
        return None
    if get_origin(kind) is tuple:
        if not isinstance(value, list | tuple):
            raise RecipeError(f"{where}: {name} = {value!r}; expected a list, such as [1.0, 0.5, 0.0].")
        return tuple(_checked(get_args(kind)[0], entry, name, where) for entry in value)
    if kind is float and type(value) is int:
        value = float(value)
    # bool is an int in Python, but true is no number of steps.
    if type(value) is not kind or (kind is float and not math.isfinite(value)):
        raise RecipeError(f"{where}: {name} = {value!r}; expected {_SAID[kind]}.")
    return value


def _toml(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{where} is not a TOML file: {error}.") from None


def split_change(change: str) -> tuple[str, Any]:
    """ "section.key=value", as on the command line, in its two parts; the value is TOML, or a bare word.

    Raises:
        RecipeError: no "=" or no key.
    """
    key, equals, text = change.partition("=")
    if not equals or not key.strip():
        raise RecipeError(f"--set {change}: expected section.key=value, such as training.steps=8000.")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word
    return key.strip(), value


def _change(values: dict[str, Any], key: str, value: Any, where: str) -> None:
    section, dot, name = key.partition(".")
    if section == "about" and not dot:
        values["about"] = value
        return
    if section not in (*Recipe.SECTIONS, "columns"):
        raise RecipeError(f"{key}: " + unknown("section", section, (*Recipe.SECTIONS, "columns")))
    if not name:
        raise RecipeError(f"{key} = {json.dumps(value)}: expected section.key=value, such as training.steps=8000.")
    now = values.get(section, {})
    if not isinstance(now, Mapping):
        return  # `parse` will say that this is no section
    values[section] = dict(now)
    if name == "kind" and section != "columns":
        # Keys that the new kind does not have go with the old one.
        known = _hints(_member(get_type_hints(Recipe)[section], section, value, where))
        values[section] = {k: v for k, v in values[section].items() if k in known}
    values[section][name] = value
