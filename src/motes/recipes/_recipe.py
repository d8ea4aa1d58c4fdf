"""A run, written down: schedule, network, loss, optimiser, sampler.

A recipe has a section for each part. A section with kinds holds an object of the class that `recipes.registry` has
under its kind; the fields of the class are the keys of the section.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, ClassVar

import jax

from motes.data._text_options import TextOptions
from motes.diffusion._continuous import VarianceExploding
from motes.diffusion._denoiser import Denoiser
from motes.diffusion._discrete import Betas, DiscreteVP
from motes.diffusion._schedules import Schedule
from motes.errors import RecipeError
from motes.learning._conditions import AnyConditional, Conditions
from motes.learning._denoisers import Preconditioned, PredictEDM, Prediction
from motes.learning._losses import EDM, ELBO, Hybrid, Loss
from motes.learning._networks import Architecture, Residual, StepGated
from motes.learning._options import Training
from motes.learning._programs import brief_program
from motes.learning._times import LogNormalTimes, StepTimes, Times, UniformTimes
from motes.recipes._registry import keys_of, kind_of, kinds_of
from motes.recipes._sections import Data, Table
from motes.sampling._chains import Ancestral
from motes.sampling._dpm import DPMSolver3M
from motes.sampling._grids import GivenGrid, Grid, KarrasGrid, LogSNRGrid, UniformGrid
from motes.sampling._loop import Sampler


@dataclass(frozen=True)
class Recipe:
    """A whole run. `to_toml` and `parse` go back and forth without loss.

    Raises:
        RecipeError: sections that do not fit together, or an object that no recipe can name.

    Example:
        >>> recipe = motes.load_recipe("default", {"training.steps": 100})
        >>> recipe.training.steps, recipe.sampler
        (100, DPMSolver3M())
    """

    about: str = ""
    data: Data = Data()
    schedule: Schedule | Betas = VarianceExploding()
    network: Architecture = Residual()
    denoiser: Prediction = PredictEDM()
    loss: Loss = EDM()
    times: Times = LogNormalTimes()
    conditions: Conditions = Conditions()
    training: Training = Training()
    sampler: Sampler = DPMSolver3M()
    grid: Grid = KarrasGrid()
    text: TextOptions = TextOptions()  # how the source is written, where it is a text file
    table: Table = Table()  # instead of all others but [data] and [columns], where data.encode
    columns: Mapping[str, Any] = field(default_factory=dict, hash=False)  # what columns of a table are

    SECTIONS: ClassVar[tuple[str, ...]] = (
        "data", "schedule", "network", "denoiser", "loss", "times", "conditions", "training", "sampler", "grid", "text",
        "table",
    )  # fmt: skip

    def __post_init__(self) -> None:
        for section in self.SECTIONS:
            _check_writable(section, getattr(self, section))
        self._check_sections()
        self._check_steps()
        self._check_elbo()
        self._check_grid()
        if isinstance(self.network, StepGated) and self.steps is not None:
            self._check_steps_alone(self.steps)
        if self.training.validation and self.training.weights == "last":
            raise RecipeError(
                f"training.validation = {self.training.validation:g} evaluates the averaged weights, and "
                "training.weights = 'last'. Set weights = 'averaged', or validation = 0."
            )
        if getattr(self.network, "members", 1) > 1 and self.training.last_batch == "partial":
            raise RecipeError(
                "network.members > 1 shares whole batches among members, and training.last_batch = 'partial' leaves "
                "one short. Set last_batch = 'fill', or members = 1."
            )
        if self.training.target == "stable" and not getattr(self.loss, "squared", False):
            raise RecipeError(
                "training.target = 'stable' needs a loss that is a squared error of x_0, and loss.kind = "
                f"'{self.kind('loss')}' is none. Set training.target = 'row', or another loss."
            )
        self._check_variance()
        self._check_conditions()

    def __repr__(self) -> str:
        sections = ("schedule", "network", "denoiser", "loss", "sampler")
        shown = ", ".join(f"{section} {self.kind(section)}" for section in sections)
        return "Recipe(for tables)" if self.data.encode else f"Recipe({shown})"

    # --- what it makes ---

    def kind(self, section: str) -> str:
        """The kind of a section, such as "exploding" of "schedule".

        Example:
            >>> motes.load_recipe("default").kind("schedule")
            'exploding'
        """
        return kind_of(section, getattr(self, section))

    @property
    def steps(self) -> int | None:
        """T of a discrete schedule, None for one without steps."""
        schedule = self.make_schedule()
        return schedule.steps if isinstance(schedule, DiscreteVP) else None

    def make_schedule(self) -> Schedule:
        """The schedule of `[schedule]`.

        Raises:
            RecipeError: betas that make none.

        Example:
            >>> motes.load_recipe("ddpm").make_schedule().steps
            100
        """
        return self._schedule

    @cached_property
    def _schedule(self) -> Schedule:
        if isinstance(self.schedule, Schedule):
            return self.schedule
        try:
            return self.schedule.schedule()
        except ValueError as error:
            raise RecipeError(f"[schedule]: {error}") from None

    def make_denoiser(self, dim: int, key: jax.Array, classes: int = 0, context: int = 0) -> Denoiser:
        """A fresh network of `[network]`, wrapped as `[denoiser]` says.

        Args:
            dim: columns of the points.
            key: of the initial weights.
            classes: how many classes the points are in; 0: none.
            context: how many numbers each point is conditioned on.

        Where the recipe learns conditional distributions, there are no classes and no context of another kind.

        Raises:
            RecipeError: a network that does not suit these points.

        Example:
            >>> denoiser = motes.load_recipe("default").make_denoiser(dim=2, key=jax.random.key(0))
            >>> denoiser(jnp.zeros(2), jnp.array(0.5)).shape
            (2,)
        """
        inputs = 2 * dim if self.conditions.learned else classes + context
        try:
            network = _network(self.network, dim, self.denoiser.outputs(dim), inputs, self.steps, key)
        except ValueError as error:
            raise RecipeError(f"[network]: {error}") from None
        if self.conditions.learned:
            return AnyConditional(self.denoiser.wraps(network=network, schedule=self.make_schedule()), dim)
        return self.denoiser.denoiser(network, self.make_schedule(), classes, context)

    def make_grid(self) -> jax.Array:
        """The times of `[grid]`, (N+1,) from 1 down to 0.

        Raises:
            RecipeError: options that do not fit the schedule.

        Example:
            >>> print(motes.load_recipe("default", {"grid.kind": "uniform", "grid.steps": 4}).make_grid())
            [1. 0.75 0.5 0.25 0.  ]
        """
        try:
            return self.grid(self.make_schedule())
        except ValueError as error:
            raise RecipeError(f"[grid]: {error}") from None

    # --- what does not fit together ---

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
        if self.data.encode and self.data.bounds:
            raise RecipeError(
                f"got data.bounds = {list(self.data.bounds)} for a table; expected no data.bounds. A table "
                "holds nothing beyond what was seen: leave data.bounds out."
            )
        if self.data.encode and self.data.given:
            raise RecipeError(
                f"got data.given = {list(self.data.given)} for a table; expected no data.given. Any columns of a table "
                "are conditioned on when rows are drawn: leave data.given out, and draw with --given COLUMN=VALUE."
            )
        if self.data.encode and self.data.label is not None:
            raise RecipeError(
                f"got data.label = '{self.data.label}' for a table; expected no data.label. A class is a column like "
                "any other here: leave data.label out, and draw rows of one class with --given COLUMN=CLASS."
            )

    def _check_steps(self) -> None:
        """What needs a schedule of steps has one."""
        for section, part in (("network", self.network), ("times", self.times)):
            if isinstance(part, StepGated | StepTimes) and self.steps is None:
                raise RecipeError(
                    f"{section}.kind = '{self.kind(section)}' needs a schedule of steps, and schedule.kind = "
                    f"'{self.kind('schedule')}' has none. Set schedule.kind to linear, quad, sigmoid or cosine."
                )

    def _check_elbo(self) -> None:
        """The weight of the variational bound is one where t is uniform, and is a number everywhere."""
        if not isinstance(self.loss, ELBO):
            return
        if not isinstance(self.times, UniformTimes):
            raise RecipeError(
                f"loss.kind = 'elbo' is the variational bound where t is drawn uniformly, and times.kind = "
                f"'{self.kind('times')}' draws it otherwise. Set times.kind = 'uniform', or another loss."
            )
        if isinstance(self.schedule, VarianceExploding):
            raise RecipeError(
                "loss.kind = 'elbo' weights by how fast the noise comes in, which for schedule.kind = 'exploding' is "
                "beyond all numbers near t = 0. Set schedule.kind to 'continuous_linear', 'continuous_cosine', "
                "'rectified_flow' or one with steps."
            )

    def _check_grid(self) -> None:
        """The grid has steps, and falls."""
        if isinstance(self.grid, UniformGrid) and self.grid.steps is None and self.steps is None:
            raise RecipeError("grid.kind = 'uniform' needs grid.steps with a schedule that has no steps of its own.")
        top = self.schedule.sigma_max if isinstance(self.schedule, VarianceExploding) else math.inf
        if isinstance(self.grid, KarrasGrid | LogSNRGrid) and self.grid.sigma_min >= top:
            raise RecipeError(
                f"grid.sigma_min = {self.grid.sigma_min:g}; expected less than schedule.sigma_max = {top:g}, "
                "where the grid starts."
            )

    def _check_variance(self) -> None:
        """What the variance of a reverse step needs to be learned, and to be sampled with."""
        learned, hybrid = self.denoiser.variance == "learned", isinstance(self.loss, Hybrid)
        if hybrid and not learned:
            raise RecipeError(
                "loss.kind = 'hybrid' teaches the variance of a reverse step, and denoiser.variance = 'fixed' learns "
                "none. Set denoiser.variance = 'learned', or another loss."
            )
        if learned and not hybrid:
            raise RecipeError(
                "denoiser.variance = 'learned' is taught by the variational bound, and loss.kind = "
                f"'{self.kind('loss')}' has none. Set loss.kind = 'hybrid', or denoiser.variance = 'fixed'."
            )
        if learned and not (self.steps and isinstance(self.times, StepTimes)):
            raise RecipeError(
                "denoiser.variance = 'learned' is taught step by step, and here are schedule.kind = "
                f"'{self.kind('schedule')}' and times.kind = '{self.kind('times')}'. Set schedule.kind to linear, "
                "quad, sigmoid or cosine, and times.kind = 'steps'."
            )
        if learned and issubclass(self.denoiser.wraps, Preconditioned):
            raise RecipeError(
                "denoiser.variance = 'learned' takes a network that is given x_t and t as they are, and denoiser.kind "
                "= 'edm' scales them. Set denoiser.kind = 'eps', 'x0', 'v' or 'velocity'."
            )
        if learned and self.data.label:
            raise RecipeError(
                "denoiser.variance = 'learned' goes with no labels. Set denoiser.variance = 'fixed', or leave out "
                "data.label."
            )
        if isinstance(self.sampler, Ancestral) and self.sampler.variance == "learned" and not learned:
            raise RecipeError(
                "sampler.variance = 'learned' needs a network that learns it: set denoiser.variance = 'learned' and "
                "loss.kind = 'hybrid', or sampler.variance = 'beta' or 'posterior'."
            )

    def _check_conditions(self) -> None:
        """What has no place for observed columns."""
        if not self.conditions.learned:
            return
        if isinstance(self.network, StepGated):
            raise RecipeError(
                "[conditions] shows the network observed columns, and network.kind = 'step_gated' takes none. Set "
                "network.kind = 'residual'."
            )
        if self.denoiser.variance == "learned":
            raise RecipeError("[conditions] goes with denoiser.variance = 'fixed' alone. Set it.")
        if self.data.label is not None:
            raise RecipeError(
                f"[conditions] goes with no classes, and data.label = '{self.data.label}'. Leave data.label out."
            )

    def _check_steps_alone(self, steps: int) -> None:
        """What a network needs that knows nothing but the schedule's own steps."""
        if issubclass(self.denoiser.wraps, Preconditioned):
            raise RecipeError(
                "network.kind = 'step_gated' takes the number of a step, and denoiser.kind = 'edm' gives it a noise "
                "level. Set denoiser.kind = 'eps', 'x0', 'v' or 'velocity'; or network.kind = 'residual', which takes "
                "any time."
            )
        if self.sampler.off_grid:
            off_grid = [kind for kind, cls in kinds_of("sampler").items() if getattr(cls, "off_grid", False)]
            raise RecipeError(
                f"network.kind = 'step_gated' knows only the schedule's own steps, and sampler.kind = "
                f"'{self.kind('sampler')}' asks it at times between them. Any other sampler fits but "
                f"{', '.join(off_grid)}; or set network.kind = 'residual', which takes any time."
            )
        times: tuple[float, ...] = (0.5 / steps,)  # on no step
        if isinstance(self.grid, UniformGrid):
            count = self.grid.steps or steps
            times = tuple(k / count for k in range(count + 1))
        elif isinstance(self.grid, GivenGrid):
            times = self.grid.times
        if not on_steps(times, steps) or not isinstance(self.times, StepTimes):
            raise RecipeError(
                "network.kind = 'step_gated' knows only the schedule's own steps: it needs times.kind = 'steps' and "
                f"grid.kind = 'uniform' with grid.steps left out or a divisor of {steps}, or 'given' with times that "
                f"are multiples of 1/{steps}. Or set network.kind = 'residual', which takes any time."
            )

    # --- as text ---

    def to_dict(self) -> dict[str, Any]:
        """Nested dictionaries, as in the TOML file; what is left out is left out.

        Example:
            >>> motes.load_recipe("default").to_dict()["loss"]
            {'kind': 'edm'}
        """
        whole: dict[str, Any] = {"about": self.about}
        for section in self.SECTIONS:
            values = _written(section, getattr(self, section))
            if section not in self.unused and (values or section != "text"):
                whole[section] = values
        if self.columns:
            whole["columns"] = {name: said for name, said in self.columns.items() if said is not None}
        return whole

    def to_toml(self) -> str:
        """The text of the recipe's file.

        Example:
            >>> lines = motes.load_recipe("default", {"loss.kind": "min_snr"}).to_toml().splitlines()
            >>> lines.index("[loss]") + 1 == lines.index(\'kind = "min_snr"\')
            True
        """
        import tomli_w

        return tomli_w.dumps(self.to_dict())


def on_steps(times: Iterable[float], steps: int) -> bool:
    """Whether each of `times` is k / `steps` for a whole k, to the precision of float32."""
    return all(abs(t * steps - round(t * steps)) < 1e-4 for t in times)


def _written(section: str, part: Any) -> dict[str, Any]:
    """The keys of a section; what is left out is left out."""
    kind = {"kind": kind_of(section, part)} if kinds_of(section) else {}
    values = {key: getattr(part, key) for key in keys_of(type(part))}
    return kind | {key: value for key, value in values.items() if value is not None and value != ()}


def _check_writable(section: str, part: Any) -> None:
    """Refuse an object that TOML cannot hold whole."""
    if not kinds_of(section):
        return
    kind, keys, plain = kind_of(section, part), keys_of(type(part)), type(part)()
    for one in fields(part):
        if one.name not in keys and getattr(part, one.name) != getattr(plain, one.name):
            raise RecipeError(
                f"got {one.name} = {getattr(part, one.name)} in [{section}] of kind '{kind}', which TOML cannot hold; "
                f"expected {', '.join(keys) or 'no options'}. Give the object itself to the call that uses it."
            )


@brief_program  # one program for all the little draws of the initial weights
def _network(part: Architecture, dim_in: int, dim_out: int, context: int, steps: int | None, key: jax.Array) -> Any:
    return part.network(dim_in, dim_out, context=context, steps=steps, key=key)
