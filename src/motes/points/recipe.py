"""Recipes for points: schedule, network, loss, optimiser and sampler."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, Protocol

import jax
import numpy as np
from numpy.typing import NDArray

from motes.errors import RecipeError, UsageError
from motes.points import denoisers, losses, schedules
from motes.points.denoisers import AnyConditional, Conditional, Denoiser, Learned, Network, Preconditioned
from motes.points.guidance import Sampling
from motes.points.losses import EDM, ELBO, Loss
from motes.points.networks import Residual, StepGated
from motes.points.samplers import SAMPLERS, Ancestral, DPMSolver3M
from motes.points.sampling import GivenGrid, Grid, KarrasGrid, LogSNRGrid, QuadraticGrid, Sampler, UniformGrid
from motes.points.schedule_checks import check_schedule
from motes.points.schedules import Betas, DiscreteVP, Schedule, VarianceExploding
from motes.points.times import LogitNormalTimes, LogNormalTimes, StepTimes, Times, UniformTimes
from motes.points.training import Training
from motes.points.variance import Hybrid, LearnedVariance
from motes.ranges import Checked, number
from motes.training import Recipe
from motes.training.programs import brief_program
from motes.training.recipe import Kinds, subclass_of, with_method


@dataclass(frozen=True)
class Prediction(Checked):
    """The quantity that the network estimates (`wraps`), and whether it also learns the variance of a reverse step.

    Example:
        >>> from motes.points import Prediction
        >>> from motes.points.denoisers import X0Predictor
        >>> class Mine(Prediction):
        ...     wraps = X0Predictor
        >>> Mine().outputs(dim=2)
        2
    """

    wraps: ClassVar[type[Learned]]
    variance: Literal["fixed", "learned"] = "fixed"  # of a reverse step; learned: by the network

    def outputs(self, dim: int) -> int:
        """Return the number of outputs of the network for points with `dim` columns.

        Example:
            >>> recipe = motes.load_recipe("ddpm", {"denoiser.variance": "learned", "loss.kind": "hybrid"})
            >>> recipe.denoiser.outputs(dim=2)
            4
        """
        return 2 * dim if self.variance == "learned" else dim

    def denoiser(self, network: Network, schedule: Schedule, classes: int = 0, context: int = 0) -> Denoiser:
        """Return the denoiser of a network and a schedule, for points with this many classes and given numbers.

        Example:
            >>> from motes.points import VarianceExploding
            >>> recipe = motes.load_recipe("default")
            >>> denoiser = recipe.denoiser.denoiser(lambda x, time: jnp.zeros_like(x), VarianceExploding())
            >>> type(denoiser).__name__
            'Preconditioned'
        """
        if self.variance == "learned":
            return LearnedVariance(network=network, schedule=schedule, kind=self.wraps)
        denoiser = self.wraps(network=network, schedule=schedule)
        return Conditional(denoiser, classes, context) if classes or context else denoiser


class PredictEps(Prediction):
    """The network estimates the noise eps."""

    wraps = denoisers.NoisePredictor


class PredictX0(Prediction):
    """The network estimates x_0."""

    wraps = denoisers.X0Predictor


class PredictV(Prediction):
    """The network estimates v."""

    wraps = denoisers.VPredictor


class PredictVelocity(Prediction):
    """The network estimates the velocity of the probability flow."""

    wraps = denoisers.VelocityPredictor


class PredictEDM(Prediction):
    """The network estimates the rest of x_0 after subtracting a multiple of x_t, scaled to unit variance."""

    wraps = Preconditioned


@dataclass(frozen=True)
class Conditions(Checked):
    """Frequencies of the columns that training conditions on. Only ratios count; all 0 disables conditioning.

    Example:
        >>> from motes.points.recipe import Conditions
        >>> half = Conditions(joint=1.0, posterior=1.0)
        >>> half.masks(np.array([False, True]), np.random.default_rng(0)).mean(axis=0).round(1).tolist()
        [0.0, 0.5]
    """

    PATTERNS: ClassVar[int] = 4096  # number of masks; each row of a batch uses one

    joint: float = number(0.0, 0, 1e6)  # conditions on no column
    posterior: float = number(0.0, 0, 1e6)  # conditions on the columns of `given`
    likelihood: float = number(0.0, 0, 1e6)  # conditions on all other columns
    random: float = number(0.0, 0, 1e6)  # conditions on random columns, with a random probability for all columns

    @property
    def learned(self) -> bool:
        """Whether conditional distributions are learned."""
        return any(astuple(self))

    def masks(self, observed: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
        """Draw masks (PATTERNS, d) in random order; `observed` (d,) are the columns of `given`.

        Example:
            >>> from motes.points.recipe import Conditions
            >>> Conditions(random=1.0).masks(np.array([False, True, True]), np.random.default_rng(0)).shape
            (4096, 3)
        """
        m, d = self.PATTERNS, len(observed)
        share = np.array(astuple(self)) / sum(astuple(self))
        kind = rng.permutation(np.searchsorted(np.cumsum(share), (np.arange(m) + 0.5) / m))
        at_random = rng.random((m, d)) < rng.random((m, 1))
        fixed = np.stack([np.zeros(d, bool), observed, ~observed])
        return np.where((kind < 3)[:, None], fixed[np.minimum(kind, 2)], at_random)


class Architecture(Protocol):
    """The network section of a recipe: a frozen dataclass whose method builds a network."""

    def network(
        self, dim_in: int, dim_out: int, *, context: int, steps: int | None, key: jax.Array
    ) -> Callable[..., jax.Array]:
        """Build an untrained network, (x (dim_in,), time ()) -> (dim_out,).

        Args:
            dim_in: number of columns of a point.
            dim_out: the same number, or twice as many if the network also predicts step variances.
            context: size of the third input, if above 0: the one-hot class, zeros for none, followed by the numbers
                that points are conditioned on.
            steps: T of a discrete schedule, whose times are k/T; None for a schedule without steps.
            key: random key of the initial weights.
        """


# --- The built-in classes of each section ---------------------------------------------------------------------------


SCHEDULES: dict[str, type] = {
    "linear": schedules.LinearBetas,
    "quad": schedules.QuadBetas,
    "sigmoid": schedules.SigmoidBetas,
    "cosine": schedules.CosineBetas,
    "exploding": VarianceExploding,
    "continuous_linear": schedules.LinearVP,
    "continuous_cosine": schedules.CosineVP,
    "rectified_flow": schedules.RectifiedFlow,
    "knots": schedules.KnotSchedule,
}
NETWORKS: dict[str, type] = {"step_gated": StepGated, "residual": Residual}
DENOISERS: dict[str, type] = {
    "eps": PredictEps,
    "x0": PredictX0,
    "v": PredictV,
    "velocity": PredictVelocity,
    "edm": PredictEDM,
}
LOSSES: dict[str, type] = {
    "simple": losses.Simple,
    "edm": EDM,
    "x0": losses.X0,
    "truncated_snr": losses.TruncatedSNR,
    "elbo": ELBO,
    "min_snr": losses.MinSNR,
    "hybrid": Hybrid,
}
TIMES: dict[str, type] = {
    "steps": StepTimes,
    "log_normal": LogNormalTimes,
    "uniform": UniformTimes,
    "logit_normal": LogitNormalTimes,
}
GRIDS: dict[str, type] = {
    "uniform": UniformGrid,
    "quadratic": QuadraticGrid,
    "karras": KarrasGrid,
    "log_snr": LogSNRGrid,
    "given": GivenGrid,
}


@dataclass(frozen=True, repr=False)
class PointRecipe(Recipe):
    """A recipe for points: it trains a `PointModel` or a `PosteriorModel`.

    Raises:
        RecipeError: incompatible sections, or an object of a class that is not registered.

    Example:
        >>> motes.load_recipe("default", {"training.steps": 100})
        PointRecipe(schedule exploding, network residual, denoiser edm, loss edm, sampler dpmpp_3m)
    """

    schedule: Schedule | Betas = VarianceExploding()
    network: Architecture = Residual()
    denoiser: Prediction = PredictEDM()
    loss: Loss = EDM()
    times: Times = LogNormalTimes()
    conditions: Conditions = Conditions()
    training: Training = Training()
    sampler: Sampler = DPMSolver3M()
    grid: Grid = KarrasGrid()

    SECTIONS: ClassVar[tuple[str, ...]] = (
        "data", "schedule", "network", "denoiser", "loss", "times", "conditions", "training", "sampler", "grid", "text",
    )  # fmt: skip
    KINDS: ClassVar[Mapping[str, Kinds]] = {
        kinds.section: kinds
        for kinds in (
            Kinds("schedule", SCHEDULES, subclass_of(Schedule, Betas), "a subclass of motes.points.Schedule or Betas"),
            Kinds(
                "network", NETWORKS, with_method("network"), "a method network(dim_in, dim_out, *, context, steps, key)"
            ),
            Kinds("denoiser", DENOISERS, subclass_of(Prediction), "a subclass of motes.points.Prediction"),
            Kinds("loss", LOSSES, with_method("__call__"), "a method __call__(denoiser, x0, t, eps)"),
            Kinds("times", TIMES, subclass_of(Times), "a subclass of motes.points.Times"),
            Kinds("sampler", SAMPLERS, subclass_of(Sampler), "a subclass of motes.points.Sampler"),
            Kinds("grid", GRIDS, with_method("__call__"), "a method __call__(schedule)"),
        )
    }
    TRAINING: ClassVar[str] = "training"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.data.encode:
            raise RecipeError("got data.encode = true for points; expected false. Choose a recipe for a table.")
        if type(self.schedule) not in SCHEDULES.values():
            self.make_schedule()  # checks it
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
        if self.training.target == "stable" and not getattr(self.loss, "squared", False):
            raise RecipeError(
                "training.target = 'stable' needs a loss that is a squared error of x_0, and loss.kind = "
                f"'{self.kind('loss')}' is none. Set training.target = 'row', or another loss."
            )
        self._check_variance()
        self._check_conditions()

    def __repr__(self) -> str:
        sections = ("schedule", "network", "denoiser", "loss", "sampler")
        return f"PointRecipe({', '.join(f'{section} {self.kind(section)}' for section in sections)})"

    # --- objects made from the sections ---

    @property
    def steps(self) -> int | None:
        """The number of steps T of a discrete schedule; None for a continuous one."""
        schedule = self.make_schedule()
        return schedule.steps if isinstance(schedule, DiscreteVP) else None

    def make_schedule(self) -> Schedule:
        """Return the schedule of `[schedule]`.

        Raises:
            RecipeError: betas or a custom class that do not give a valid schedule.

        Example:
            >>> motes.load_recipe("ddpm").make_schedule().steps
            100
        """
        return self._schedule

    @cached_property
    def _schedule(self) -> Schedule:
        try:
            schedule = self.schedule if isinstance(self.schedule, Schedule) else self.schedule.schedule()
            if type(self.schedule) not in SCHEDULES.values():
                check_schedule(schedule)
            return schedule
        except ValueError as error:
            raise RecipeError(f"[schedule]: {error}") from None

    def make_denoiser(self, dim: int, key: jax.Array, classes: int = 0, context: int = 0) -> Denoiser:
        """Return a denoiser of kind `[denoiser]` with a new network of `[network]`.

        Args:
            dim: number of columns of the points.
            key: random key of the initial weights.
            classes: number of classes of the points; 0: none.
            context: number of given numbers per point.

        If the recipe has `[conditions]`, it has neither classes nor context.

        Raises:
            RecipeError: a network that cannot be used for these points.

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
        """Return the times of `[grid]`, (N+1,) from 1 down to 0.

        Raises:
            RecipeError: options that are incompatible with the schedule.

        Example:
            >>> print(motes.load_recipe("default", {"grid.kind": "uniform", "grid.steps": 4}).make_grid())
            [1. 0.75 0.5 0.25 0.  ]
        """
        try:
            return self.grid(self.make_schedule())
        except ValueError as error:
            raise RecipeError(f"[grid]: {error}") from None

    def sampler_and_grid(self, sampling: Sampling) -> tuple[Sampler, jax.Array]:
        """Return the sampler and the times of a draw: the recipe's own, unless `sampling` changes them.

        Raises:
            RecipeError: unknown names, or numbers that are invalid or incompatible with the model.
            UsageError: a sampler that evaluates a network of discrete steps at other times, or a grid 'given' without
                times.

        Example:
            >>> motes.load_recipe("default").sampler_and_grid(motes.Sampling(sampler="heun", steps=7))[0]
            Heun()
        """
        changes: dict[str, Any] = {}
        sampler, grid = sampling.sampler, sampling.grid
        if isinstance(sampler, str):
            changes["sampler.kind"] = sampler
        if isinstance(grid, str) and grid == "given" and not isinstance(self.grid, GivenGrid):
            raise UsageError("grid 'given' needs its times: in Python, pass grid=[1.0, 0.4, 0.0], or train with them.")
        if isinstance(grid, str):
            changes["grid.kind"] = grid
        elif isinstance(grid, tuple):
            changes |= {"grid.kind": "given", "grid.times": list(grid)}
        if sampling.steps is not None:
            changes["grid.steps"] = sampling.steps
        try:
            chosen = self.changed(changes)
        except RecipeError as error:  # caused by the options of this draw, not by the recipe
            raise RecipeError(str(error).removeprefix("the recipe: ")) from None
        if not isinstance(sampler, Sampler):
            return chosen.sampler, chosen.make_grid()
        if sampler.off_grid and isinstance(chosen.network, StepGated):
            raise UsageError(
                "this model's network, 'step_gated', knows only the schedule's own steps, and "
                f"{type(sampler).__name__} evaluates it at times between them. Choose another sampler, such as Heun or "
                "DDIM."
            )
        return sampler, chosen.make_grid()

    # --- checks of incompatible sections ---

    def _check_steps(self) -> None:
        """Check that sections which need a discrete schedule have one."""
        for section, part in (("network", self.network), ("times", self.times)):
            if isinstance(part, StepGated | StepTimes) and self.steps is None:
                raise RecipeError(
                    f"{section}.kind = '{self.kind(section)}' needs a schedule with steps, and schedule.kind = "
                    f"'{self.kind('schedule')}' has none. Set schedule.kind to linear, quad, sigmoid or cosine."
                )

    def _check_elbo(self) -> None:
        """Check that loss "elbo" has uniform times and a finite weight."""
        if not isinstance(self.loss, ELBO):
            return
        if not isinstance(self.times, UniformTimes):
            raise RecipeError(
                f"loss.kind = 'elbo' is the variational bound if t is drawn uniformly, and times.kind = "
                f"'{self.kind('times')}' is not uniform. Set times.kind = 'uniform', or another loss."
            )
        if isinstance(self.schedule, VarianceExploding):
            raise RecipeError(
                "loss.kind = 'elbo' weights by the rate of the noise, which for schedule.kind = 'exploding' is not "
                "finite near t = 0. Set schedule.kind to 'continuous_linear', 'continuous_cosine', "
                "'rectified_flow' or one with steps."
            )

    def _check_grid(self) -> None:
        """Check that the grid has steps, and decreases."""
        if isinstance(self.grid, UniformGrid) and self.grid.steps is None and self.steps is None:
            raise RecipeError("grid.kind = 'uniform' needs grid.steps with a schedule that has no steps of its own.")
        top = self.schedule.sigma_max if isinstance(self.schedule, VarianceExploding) else math.inf
        if isinstance(self.grid, KarrasGrid | LogSNRGrid) and self.grid.sigma_min >= top:
            raise RecipeError(
                f"grid.sigma_min = {self.grid.sigma_min:g}; expected less than schedule.sigma_max = {top:g}, "
                "where the grid starts."
            )

    def _check_variance(self) -> None:
        """Check the sections that a learned variance of the reverse steps needs."""
        learned, hybrid = self.denoiser.variance == "learned", isinstance(self.loss, Hybrid)
        if hybrid and not learned:
            raise RecipeError(
                "loss.kind = 'hybrid' trains the variance of a reverse step, and denoiser.variance = 'fixed' has "
                "none. Set denoiser.variance = 'learned', or another loss."
            )
        fits = hybrid and self.steps and isinstance(self.times, StepTimes) and not self.data.label
        if learned and (not fits or issubclass(self.denoiser.wraps, Preconditioned)):
            raise RecipeError(
                "denoiser.variance = 'learned' needs loss.kind = 'hybrid'; schedule.kind 'linear', 'quad', 'sigmoid' "
                "or 'cosine' with times.kind = 'steps'; denoiser.kind 'eps', 'x0', 'v' or 'velocity'; no data.label. "
                f"Got loss.kind = '{self.kind('loss')}', schedule.kind = '{self.kind('schedule')}', times.kind = "
                f"'{self.kind('times')}', denoiser.kind = '{self.kind('denoiser')}'."
            )
        if isinstance(self.sampler, Ancestral) and self.sampler.variance == "learned" and not learned:
            raise RecipeError(
                "sampler.variance = 'learned' needs a network that learns it: set denoiser.variance = 'learned' and "
                "loss.kind = 'hybrid', or sampler.variance = 'beta' or 'posterior'."
            )

    def _check_conditions(self) -> None:
        """Check that [conditions] is compatible with the other sections."""
        learned, label = self.denoiser.variance == "learned", self.data.label
        if self.conditions.learned and (isinstance(self.network, StepGated) or learned or label is not None):
            raise RecipeError(
                "[conditions] gives the network observed columns. It needs another network than 'step_gated', such as "
                "'residual'; denoiser.variance = 'fixed'; and no data.label, since it cannot be used with classes. Got "
                f"network.kind = '{self.kind('network')}', denoiser.variance = '{self.denoiser.variance}'"
                + (f", data.label = '{label}'." if label else ".")
            )

    def _check_steps_alone(self, steps: int) -> None:
        """Check the sections that a network which knows only the schedule's own steps needs."""
        times: tuple[float, ...] = (0.5 / steps,)  # not a step
        if isinstance(self.grid, UniformGrid):
            count = self.grid.steps or steps
            times = tuple(k / count for k in range(count + 1))
        elif isinstance(self.grid, GivenGrid):
            times = self.grid.times
        on_grid = on_steps(times, steps) and isinstance(self.times, StepTimes) and not self.sampler.off_grid
        if not on_grid or issubclass(self.denoiser.wraps, Preconditioned):
            off_grid = [kind for kind, cls in self.KINDS["sampler"].classes.items() if getattr(cls, "off_grid", False)]
            raise RecipeError(
                "network.kind = 'step_gated' knows only the schedule's own steps. It needs times.kind = 'steps'; "
                f"grid.kind = 'uniform' with grid.steps left out or a divisor of {steps}, or 'given' with times that "
                f"are multiples of 1/{steps}; any sampler except {', '.join(off_grid)}; and denoiser.kind 'eps', 'x0', "
                f"'v' or 'velocity'. Got times.kind = '{self.kind('times')}', grid.kind = '{self.kind('grid')}', "
                f"sampler.kind = '{self.kind('sampler')}', denoiser.kind = '{self.kind('denoiser')}'. Or set "
                "network.kind = 'residual', which takes any time."
            )


def on_steps(times: Iterable[float], steps: int) -> bool:
    """Return whether each of `times` is k / `steps` for an integer k, to the precision of float32."""
    return all(abs(t * steps - round(t * steps)) < 1e-4 for t in times)


@brief_program  # one program for all draws of the initial weights
def _network(part: Architecture, dim_in: int, dim_out: int, context: int, steps: int | None, key: jax.Array) -> Any:
    return part.network(dim_in, dim_out, context=context, steps=steps, key=key)
