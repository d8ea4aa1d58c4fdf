"""A trained model, in the data's own units: `sample` it, score points with it, `save` it, `load` it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, overload

import equinox as eqx
import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import softmax

from motes._seeds import seed_key
from motes.data._classes import Classes
from motes.data._tables import Standardiser, as_table
from motes.data._templates import KEY
from motes.diffusion._denoiser import Denoiser, Given
from motes.errors import NoModelError, UsageError, check_count, check_process, unknown
from motes.learning._averages import Averages
from motes.learning._bounds import Bound, Variance, variational_bound
from motes.learning._checkpoints import (
    SUFFIX,
    arrays_of,
    complete_name,
    filled,
    read_checkpoint,
    reading,
    write_checkpoint,
)
from motes.learning._conditions import AnyConditional
from motes.learning._course import Trained
from motes.learning._networks import StepGatedMLP
from motes.learning._weights import weights_of, with_weights
from motes.models._checks import (
    check_classes,
    check_context,
    check_network,
    check_origin,
    checked_columns,
    checked_units,
)
from motes.models._contexts import Context
from motes.models._kept_averages import checked, read_averages, run_name, write_averages
from motes.models._provenance import Provenance, provenance_of, texts_of
from motes.recipes import PointRecipe
from motes.sampling._chains import Ancestral
from motes.sampling._divergence import Hutchinson
from motes.sampling._guidance import Guidance, Guided
from motes.sampling._likelihood import TOLERANCE, Likelihood, Solver, log_likelihood
from motes.sampling._loop import ReverseProcess, sample
from motes.sampling._options import Sampling


class PointModel:
    """What was learned, and everything needed to sample it again.

    Attributes:
        denoiser: E[x_0 | x_t], in standardised units.
        standardiser: between those and the data's units.
        columns: names of the d columns.
        classes: those of its rows, where it was trained with labels; otherwise None.
        context: what its points are conditioned on, where it was trained `given` that; otherwise None.
        recipe: what it was trained by.
        source, fingerprint, seed: its `Provenance`.
        training: losses and snapshots where it was trained in this process; None where it was loaded.
        folder: where it was loaded from; None where it was trained in this process.
        length: of the average that its weights are, where `averaged_over` made it; None for the recipe's own.

    Example:
        >>> inner = model.inner
        >>> inner.columns, inner.dim, inner.source
        (('x', 'y'), 2, '')
    """

    def __init__(
        self,
        denoiser: Denoiser,
        standardiser: Standardiser,
        columns: Sequence[str],
        recipe: PointRecipe,
        *,
        classes: Classes | None = None,
        context: Context | None = None,
        provenance: Provenance = Provenance(),
        training: Trained | None = None,
    ):
        self.denoiser = denoiser
        self.standardiser = standardiser
        self.columns = tuple(columns)
        self.recipe = recipe
        self.classes, self.context = classes, context
        self.source, self.fingerprint, self.seed = provenance.source, provenance.fingerprint, provenance.seed
        self.training = training
        self.folder: Path | None = None
        self.length: float | None = None

    def __repr__(self) -> str:
        on = f" of {self.source}" if self.source else ""
        given = f" given {len(self.context)}" if self.context else ""
        return f"PointModel{on} ({self.dim} columns{given}, {self.parameters:,} parameters)"

    def with_denoiser(self, denoiser: Denoiser, *, length: float | None = None) -> PointModel:
        """The same model with other weights, or with an exact denoiser, in the place of its own.

        `length` is that of the average which the weights are, where it is not the recipe's.

        Example:
            >>> exact = motes.truth("moons").oracle(model.denoiser.schedule, model.standardiser)
            >>> model.inner.with_denoiser(exact).sample(3).shape
            (3, 2)
        """
        return self._with(denoiser=denoiser, length=length)

    def _with(self, **changes: Any) -> PointModel:
        made = copy(self)
        vars(made).update(changes)
        return made

    @cached_property
    def averages(self) -> Averages | None:
        """What its training stored to make averages of any length from, read from its folder where it was loaded."""
        if self.training is not None or self.folder is None:
            return self.training.averages if self.training else None
        return read_averages(self.folder, self._run, self.parameters)

    def averaged_over(self, sigma_rel: float) -> PointModel:
        """The same model with another average of its weights, over this share of its training, such as 0.1.

        It is the standard deviation of the steps that count, as a share of all (Karras et al. 2024, section 3).

        Raises:
            UsageError: a length out of range, or no averages were kept.
            ModelFileError: they are damaged, or of another model.

        Example:
            >>> model.inner.averaged_over(0.1).length
            0.1
        """
        found = checked(self.averages, " beside the model, unless training.averages = 0.").over(sigma_rel)
        return self.with_denoiser(with_weights(self.denoiser, found), length=sigma_rel)

    def save_averages(self, folder: Path) -> None:
        """Write what `averaged_over` needs beside the model file, where its training has kept anything.

        Raises:
            OSError: the folder is not there, cannot be written, or is full.

        Example:
            >>> from pathlib import Path
            >>> Path("run").mkdir()
            >>> model.inner.save_averages(Path("run"))
            >>> [path.name for path in Path("run").iterdir()]
            ['averages.safetensors']
        """
        if self.averages is not None:
            write_averages(self.averages, folder, self._run)

    @property
    def _run(self) -> str:
        return run_name(self.recipe, self.fingerprint, self.seed)

    @property
    def dim(self) -> int:
        """Number of columns."""
        return len(self.columns)

    @property
    def example(self) -> NDArray[np.float64]:
        """A row (1, d) in the data's units: the one in the middle.

        Example:
            >>> model.inner.example.shape
            (1, 2)
        """
        return self.standardiser.inverse(np.zeros((1, self.dim)))

    @property
    def parameters(self) -> int:
        """Number of trained numbers."""
        return int(weights_of(self.denoiser).size)

    @property
    def lowest_noise(self) -> float:
        """sigma_t / alpha_t at the last time that its sampler asks the network about."""
        return float(np.exp(-np.asarray(self.denoiser.schedule.log_snr(self.grid[-2])) / 2))

    @property
    def grid(self) -> NDArray[np.float32]:
        """The times that its sampler stops at, from 1 down to 0, (N+1,)."""
        return np.asarray(self.recipe.make_grid())

    @overload
    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        label: Any = None,
        given: Any = None,
        how: Sampling | Mapping[str, Any] | None = None,
        on_block: Callable[[int], None] | None = None,
        return_log_prob: Literal[False] = False,
    ) -> NDArray[np.float64]: ...

    @overload
    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        label: Any = None,
        given: Any = None,
        how: Sampling | Mapping[str, Any] | None = None,
        on_block: Callable[[int], None] | None = None,
        return_log_prob: Literal[True],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        label: Any = None,
        given: Any = None,
        how: Sampling | Mapping[str, Any] | None = None,
        on_block: Callable[[int], None] | None = None,
        return_log_prob: bool = False,
    ) -> NDArray[np.float64] | tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Draw `n` new points, (n, d) in the data's units. The same seed gives the same points.

        A model that was trained `given` something draws them given one observation, or `n` given each of m
        observations, (m, n, d).

        Args:
            n: how many.
            seed: of the draw.
            label: the class of all the points, or one for each (n,); None draws from all classes together.
            given: one observation, (c,) or a mapping column -> number, or m of them, (m, c) or a table of m rows.
            how: sampler, steps, grid and guidance, in the place of the recipe's.
            on_block: called with the number of points done so far.
            return_log_prob: give their log p (n,) as well, `score_samples` of them.

        Raises:
            UsageError, RecipeError: fewer than one point; names, numbers or times that do not fit; an unknown label.

        Example:
            >>> x, log_p = model.inner.sample(3, seed=1, how={"sampler": "heun", "steps": 8}, return_log_prob=True)
            >>> x.shape, log_p.shape
            ((3, 2), (3,))
        """
        check_process()
        how = Sampling.of(how)
        if return_log_prob and how.guidance is not None:
            raise UsageError("guided points have no log p. Leave out guidance, or return_log_prob.")
        points = self.chain(n, (), seed=seed, label=label, given=given, how=how, on_block=on_block)[0]
        if not return_log_prob:
            return points
        rows = points.reshape(-1, self.dim)
        log_prob = self._likelihood(rows, self._known(label, given, n)).log_prob
        return points, log_prob.reshape(points.shape[:-1])

    def chain(
        self,
        n: int,
        record: Sequence[int],
        *,
        seed: int = 0,
        label: Any = None,
        given: Any = None,
        how: Sampling | Mapping[str, Any] | None = None,
        on_block: Callable[[int], None] | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """As `sample`, with the points at some places of its grid on the way: (n, d) and (len(record), n, d).

        Of m observations they are (m, n, d) and (len(record), m, n, d).

        Both in the data's units, so noise looks as wide as the data. `grid` holds the times of the recipe's grid.

        Example:
            >>> x, noisy = model.inner.chain(3, [0, 8], how={"sampler": "heun", "steps": 8})
            >>> noisy.shape, bool((noisy[1] == x).all())
            ((2, 3, 2), True)
        """
        check_process()
        n = check_count(n, "points")
        known, shape = self._known(label, given, n), self._shape(given, n)
        process = self.reverse_process(how, known)
        points, kept = sample(
            process, math.prod(shape), key=seed_key(seed, "sample"), given=known, record=record, on_block=on_block
        )
        whole = self._whole(points, known), self._whole(kept, known)
        return whole[0].reshape(*shape, self.dim), whole[1].reshape(len(record), *shape, self.dim)

    def _whole(self, points: NDArray[Any], known: Given | None) -> NDArray[np.float64]:
        """Points in the units of the network (..., n, d), of which so much is known, in the data's units."""
        if self.context is not None:
            points = self.context.whole(np.asarray(points, np.float64), _numbers(known))
        return self.standardiser.inverse(points)

    def _known(self, label: Any, given: Any, n: int) -> Given | None:
        """What is known of `n` points of each observation, one observation after another."""
        if self.context is None:
            return self.given(label, n, given)
        rows, _ = self.context.rows(given)
        labels = label if np.ndim(label) == 0 else np.tile(np.asarray(label), len(rows))
        return self.given(labels, n * len(rows), np.repeat(rows, n, axis=0))

    def _shape(self, given: Any, n: int) -> tuple[int, ...]:
        """Of the points that are drawn, without their columns."""
        if self.context is None:
            return (n,)
        rows, one = self.context.rows(given)
        return (n,) if one else (len(rows), n)

    def reverse_process(self, how: Sampling | Mapping[str, Any] | None, given: Given | None) -> ReverseProcess:
        """What points are drawn by of which that much is known: as the recipe says, but for `how`.

        Raises:
            UsageError, RecipeError: names, numbers or times that do not fit; guidance away from nothing.

        Example:
            >>> process = model.inner.reverse_process({"sampler": "heun", "steps": 8}, given=None)
            >>> type(process.sampler).__name__, process.grid.shape
            ('Heun', (9,))
        """
        how = Sampling.of(how)
        sampler, grid = self.recipe.sampler_and_grid(how)
        return ReverseProcess(self._guided(how.guidance, given), sampler, grid, self.dim)

    def given(self, label: Any, n: int, observed: Any = None) -> Given | None:
        """What a denoiser is told of `n` rows: of one class, or of one each, and of one observation, or of one each.

        Nothing without a label and an observation.

        Raises:
            UsageError: an unknown label, a model without classes, or one that is conditioned on something else.
            DataError: an observation that cannot be used.

        Example:
            >>> model.inner.given(None, n=3) is None
            True
        """
        if label is not None and self.classes is None:
            raise UsageError(
                f"label = {label}, but this model knows no classes. Train one with labels: data.label names their "
                "column ('class' for a shape); in Python `fit` takes them beside the rows."
            )
        context = self._context_of(observed, n)
        if label is None and context is None:
            return None
        numbers = None if label is None or self.classes is None else self.classes.numbers(label, n)
        return Given(numbers, context)  # type: ignore[arg-type]

    def _context_of(self, observed: Any, n: int) -> NDArray[np.float64] | None:
        """The context of `n` rows (n, c), in the units of the network."""
        if self.context is None:
            if observed is not None:
                raise UsageError(
                    "got an observation, but this model is conditioned on nothing. Train one with it: "
                    "motes.fit(theta, given=x)."
                )
            return None
        rows, _ = self.context.rows(observed)
        if len(rows) not in (1, n):
            raise UsageError(f"got {len(rows)} observations for {n} rows; expected one, or one for each row.")
        return np.broadcast_to(self.context.forward(rows), (n, self.context.inputs))

    def observed(self, rows: NDArray[np.float64]) -> Given:
        """What a denoiser that has learned any conditional distribution takes of rows (n, d), NaN where not known.

        Example:
            >>> theta = motes.make_shape("moons", 200)
            >>> both = motes.fit(theta, "any", given=theta[:, :1], changes={"training.steps": 2}, verbose=False)
            >>> both.inner.observed(np.array([[np.nan, 0.5, 0.1]])).context.shape
            (1, 6)
        """
        there = ~np.isnan(rows)
        # What is not known is not looked at; a number that is in the training is within all bounds.
        z = self.standardiser.forward(np.where(there, rows, self.standardiser.inverse(np.zeros(self.dim))))
        return Given(context=np.hstack([np.where(there, z, 0.0), there]))  # type: ignore[arg-type]

    def _guided(self, guidance: float | Guidance | None, given: Given | None) -> Denoiser:
        """The denoiser, or the guided one of rows of which that much is known.

        Raises:
            UsageError: nothing to be led away from.
        """
        if guidance is None:
            return self.denoiser
        how = guidance if isinstance(guidance, Guidance) else Guidance(guidance)
        weak: PointModel | None = how.weak
        if weak is None and (given is None or given.label is None):
            why = "no label says which. Give a label" if self.classes else "this model knows none. Train with labels"
            raise UsageError(
                f"guidance {how.weight:g} leads away from all classes to one, and {why}, or lead away from a worse "
                "copy of the model: Guidance(weight, weak=model), --weak MODEL."
            )
        if weak is None:
            return Guided(self.denoiser, self.denoiser, how.weight, low=how.low, high=how.high)
        if (
            (weak.columns, weak.denoiser.schedule, weak.classes and weak.classes.names, weak.context)
            != (
                self.columns,
                self.denoiser.schedule,
                self.classes and self.classes.names,
                self.context,
            )
            or (weak.standardiser.scale != self.standardiser.scale).any()
            or (weak.standardiser.support != self.standardiser.support)
        ):
            raise UsageError(
                "the weak model is no worse copy of this one: expected the same data, columns, classes and schedule, "
                "and fewer steps of training, a smaller network, or more averaging."
            )
        return Guided(
            self.denoiser, weak.denoiser, how.weight, low=how.low, high=how.high, weak_knows=given is not None
        )

    def score_samples(
        self, x: ArrayLike, *, label: Any = None, given: Any = None, on_block: Callable[[int], None] | None = None
    ) -> NDArray[np.float64]:
        """log p of each row of x (n, d), (n,) in nats of the data's units. `likelihood` tells how exact it is.

        With a `label`, one for all rows or one for each (n,), it is log p(x | label), and `given` one observation for
        all rows, or one for each, that of the points given it.

        Example:
            >>> model.inner.score_samples([[0.0, 1.0], [1.0, -0.5]]).shape
            (2,)
        """
        return self.likelihood(x, label=label, given=given, on_block=on_block).log_prob

    def predict_proba(self, x: ArrayLike, *, on_block: Callable[[int], None] | None = None) -> NDArray[np.float64]:
        """p(label | x) of each row of x (n, d), (n, classes) in the order of `classes.names`.

        By Bayes' rule from log p(x | label) and how frequent each class was in training.

        Raises:
            UsageError: a model without classes, or one whose points are given something.
            DataError: rows that cannot be used.

        Example:
            >>> x, labels = motes.make_labelled_shape("moons", 200)
            >>> labelled = motes.fit(x, labels=labels, changes={"training.steps": 2}, verbose=False)
            >>> labelled.inner.predict_proba(x[:3]).sum(axis=1).round(3).tolist()
            [1.0, 1.0, 1.0]
        """
        check_process()
        rows = as_table(x, self.columns, to_learn=False).x
        if self.classes is None:
            raise UsageError("this model knows no classes. Train one with labels, which `fit` takes beside the rows.")
        self.refuse_context("predict_proba")
        n, count = len(rows), len(self.classes)
        known = Given(np.repeat(np.arange(count, dtype=np.int32), n))  # type: ignore[arg-type]
        tell = (lambda done: on_block(done // count)) if on_block else None
        z = np.tile(self.standardiser.forward(rows), (count, 1))
        log_prob = log_likelihood(self.denoiser, z, given=known, on_block=tell).log_prob.reshape(count, n)
        return np.asarray(softmax(log_prob + np.log(self.classes.weights)[:, None], axis=0).T)

    def predict(self, x: ArrayLike) -> NDArray[Any]:
        """The likeliest label of each row of x (n, d), (n,).

        Example:
            >>> x, labels = motes.make_labelled_shape("moons", 200)
            >>> labelled = motes.fit(x, labels=labels, changes={"training.steps": 2}, verbose=False)
            >>> labelled.inner.predict(x[:3]).shape
            (3,)
        """
        chosen = self.predict_proba(x).argmax(axis=1)
        assert self.classes is not None  # `predict_proba` has checked it
        return np.array(self.classes.names)[chosen]

    def likelihood(
        self,
        x: ArrayLike,
        *,
        label: Any = None,
        given: Any = None,
        divergence: Literal["exact", "rademacher", "gaussian"] = "exact",
        probes: int = 32,
        seed: int = 0,
        solver: Solver = "grid",
        tolerance: float = TOLERANCE,
        on_block: Callable[[int], None] | None = None,
    ) -> Likelihood:
        """log p of each row of x (n, d) by the probability flow, in nats of the data's units, with its errors.

        With a `label`, one for all rows or one for each (n,), it is log p(x | label), and with `given`, one observation
        for all rows or one for each, that of the points given it. Of a model by recipe "any" `given` names columns of
        x, and log p is that of the others given these. A random `divergence` is an
        estimate from `probes` directions, which `seed` draws; see `motes.sampling.log_likelihood`.

        It is the distribution that `sample` draws from where the sampler is Heun's, but for that sampler's own error;
        `bound` is about the chain of noisy steps, which is another distribution.

        Raises:
            DataError: rows that cannot be used.
            UsageError: an argument out of range, an unknown label, or a network that knows only the schedule's steps.

        Example:
            >>> found = model.inner.likelihood([[0.0, 1.0]], divergence="rademacher", probes=8)
            >>> bool(found.standard_error > 0)
            True
        """
        check_process()
        if isinstance(getattr(self.denoiser, "network", None), StepGatedMLP):
            raise UsageError(
                "got a network of kind 'step_gated', which knows only the schedule's own steps; expected one that "
                "knows all times between them, or its flow jumps and has no density. Train with network.kind = "
                "'residual'; the variational bound, model.bound in Python, is there for this one."
            )
        rows = as_table(x, self.columns, to_learn=False).x
        names = self._names_of(given) if self.recipe.conditions.learned else ()
        known = self.given(label, len(rows), None if self.recipe.conditions.learned else given)
        try:
            random = None if divergence == "exact" else Hutchinson(divergence, seed_key(seed, "likelihood"), probes)
            options: dict[str, Any] = {"divergence": random or "exact", "solver": solver, "tolerance": tolerance}
            if names:
                return self._likelihood_given(rows, np.isin(self.columns, names), on_block=on_block, **options)
            return self._likelihood(rows, known, on_block=on_block, **options)
        except ValueError as error:
            raise UsageError(str(error)) from None

    def _likelihood(self, rows: NDArray[np.float64], known: Given | None, **options: Any) -> Likelihood:
        """log p of rows of which so much is known."""
        z, log_det = self.standardiser.forward(rows), self.standardiser.log_det(rows)
        if self.context is not None and self.context.regression is not None:
            z, log_det = self.context.left(z, _numbers(known)), log_det + self.context.regression.log_det
        found = log_likelihood(self.denoiser, z, given=known, **options)
        return found._replace(log_prob=found.log_prob + log_det)

    def _names_of(self, given: Any) -> tuple[str, ...]:
        """The columns that log p is given, of a model that has learned any conditional distribution."""
        names = (given,) if isinstance(given, str) else tuple(given or ())
        for name in names:
            if name not in self.columns:
                raise UsageError(unknown("given column", str(name), self.columns))
        if len(set(names)) == self.dim:
            raise UsageError("all columns are given; expected one or more whose log p is to be taken.")
        return names

    def _likelihood_given(self, rows: NDArray[np.float64], there: NDArray[np.bool_], **options: Any) -> Likelihood:
        """log p of the other columns given those that are `there` (d,)."""
        z, known = self.standardiser.forward(rows), self.observed(np.where(there, rows, np.nan))
        # Observed columns are taken for normal ones beside the flow, at 0, where their log-density is known.
        assert isinstance(self.denoiser, AnyConditional)  # as its recipe says
        apart = AnyConditional(self.denoiser.denoiser, self.dim, apart=True)
        found = log_likelihood(apart, np.where(there, 0.0, z), given=known, **options)
        normal = -0.5 * math.log(2 * math.pi) * there.sum()
        return found._replace(log_prob=found.log_prob - normal + self.standardiser.of(~there).log_det(rows[:, ~there]))

    def refuse_context(self, call: str) -> None:
        """Refuse what needs one distribution of all points, for a model that has one for each observation.

        Raises:
            UsageError: it is conditioned on something.

        Example:
            >>> model.inner.refuse_context("bound")
        """
        if self.context is not None:
            raise UsageError(
                f"{call}: this model is of points given {', '.join(self.context.columns)}, and has a distribution for "
                "each observation. Expected a model of points alone; sample(n, given=...) and "
                "score_samples(theta, given=...) take an observation."
            )

    def bound(self, x: ArrayLike, *, variance: Variance | None = None, seed: int = 0, draws: int = 1) -> Bound:
        """The variational bound on -log p(x) of rows (n, d), term by term, in nats of the data's units.

        Args:
            x: rows.
            variance: of a reverse step, "beta", "posterior" or "learned"; None takes that of the recipe's sampler, and
                with another sampler than ancestral the learned one, or beta where none was learned.
            seed: of the noise.
            draws: of it, for each step.

        Raises:
            UsageError: a recipe whose schedule has no steps; a variance that there is not.

        Example:
            >>> steps = motes.fit(motes.make_shape("moons", 200), "ddpm", changes={"training.steps": 2}, verbose=False)
            >>> bound = steps.inner.bound(motes.make_shape("moons", 3), variance="posterior")
            >>> bound.nats.shape, bound.kl.shape
            ((3,), (3, 99))
            >>> steps.inner.bound([[0.5, 0.2]]).nats.shape
            (1,)
        """
        check_process()
        self.refuse_context("bound")
        if self.recipe.steps is None:
            raise UsageError(
                "the bound is a sum over steps, and this model's schedule has none. Train with recipe 'ddpm'."
            )
        rows = as_table(x, self.columns, to_learn=False).x
        z = self.standardiser.forward(rows)
        part = self.recipe.sampler
        if variance is None:
            own: Variance = "learned" if self.recipe.denoiser.variance == "learned" else "beta"
            variance = part.variance if isinstance(part, Ancestral) else own
        try:
            bound = variational_bound(self.denoiser, z, key=seed_key(seed, "bound"), variance=variance, draws=draws)
        except ValueError as error:
            raise UsageError(str(error)) from None
        # Only the decoder speaks of x_0 itself, so the change of units belongs to its term.
        log_det = self.standardiser.log_det(rows).astype(bound.reconstruction.dtype)
        return bound._replace(reconstruction=bound.reconstruction - log_det)

    # --- on disk ---

    def save(self, path: str | Path) -> None:
        """Write one `.safetensors` file, whole or not at all.

        Raises:
            UsageError: a name with a suffix other than .safetensors, or a denoiser that the recipe does not describe,
                so that `load` could not build it again.
            OSError: the folder is not there, cannot be written, or is full.

        Example:
            >>> from motes.models import PointModel
            >>> model.inner.save("moons.safetensors")
            >>> PointModel.load("moons.safetensors").columns
            ('x', 'y')
        """
        self.check_described()
        write_checkpoint(complete_name(path), *self.parts())

    def check_described(self) -> None:
        """Refuse to save a denoiser that the recipe does not describe: `load` could not build it again.

        Raises:
            UsageError: it is one.

        Example:
            >>> exact = motes.truth("moons").oracle(model.denoiser.schedule, model.standardiser)
            >>> model.inner.with_denoiser(exact).check_described()
            Traceback (most recent call last):
                ...
            motes.errors.UsageError: this model's denoiser is not the one that its recipe describes, ...
        """
        described: Any = jax.tree.structure(_skeleton(self.recipe, self.dim, self.classes, self.context))
        if described != jax.tree.structure(self.denoiser):
            raise UsageError(
                "this model's denoiser is not the one that its recipe describes, and a file holds only what a recipe "
                "can build again. Save its arrays with equinox.tree_serialise_leaves instead."
            )

    def parts(self) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
        """Arrays and texts by name, of which `of_parts` makes the same model.

        Example:
            >>> tensors, about = model.inner.parts()
            >>> sorted(about)[:3]
            ['classes', 'columns', 'context']
        """
        tensors = arrays_of(self.denoiser)
        tensors["standardiser.mean"] = self.standardiser.mean
        tensors["standardiser.scale"] = self.standardiser.scale
        if self.standardiser.support is not None:
            tensors["support.low"], tensors["support.high"] = vars(self.standardiser.support).values()
        about = {
            "recipe": json.dumps(self.recipe.to_dict()),
            "columns": json.dumps(self.columns),
            "classes": json.dumps(self.classes.to_dict() if self.classes else None),
            "context": json.dumps(self.context.to_dict() if self.context else None),
        }
        return tensors, about | texts_of(self)

    @classmethod
    def load(cls, path: str | Path) -> PointModel:
        """Read what `save` wrote. No code in the file is run.

        Raises:
            ModelFileError: no such file, another format, any damage, or a part of your own that is not registered.

        Example:
            >>> from motes.models import PointModel
            >>> model.inner.save("moons.safetensors")
            >>> PointModel.load("moons.safetensors").sample(3).shape
            (3, 2)
        """
        path = model_path(path)
        return cls.of_parts(*read_checkpoint(path), path)

    @classmethod
    def of_parts(cls, tensors: dict[str, NDArray[Any]], about: Mapping[str, str], path: Path) -> PointModel:
        """What `parts` gave, perhaps with what `motes.Model` added; `path` is where it comes from.

        Raises:
            ModelFileError: anything else.

        Example:
            >>> from pathlib import Path
            >>> from motes.models import PointModel
            >>> PointModel.of_parts(*model.inner.parts(), Path("moons.safetensors")).columns
            ('x', 'y')
        """
        tensors = {name: array for name, array in tensors.items() if name != KEY}
        with reading(path):
            provenance, length = provenance_of(about)
            check_origin(provenance, length)
            recipe, columns = (
                PointRecipe.parse(json.loads(about["recipe"]), "its recipe"),
                checked_columns(about["columns"]),
            )
            if (classes := Classes.from_dict(labels) if (labels := json.loads(about["classes"])) else None) is not None:
                check_classes(classes)
            observed = json.loads(about["context"])
            if (context := Context.from_dict(observed) if observed else None) is not None:
                check_context(context, columns)
            standardiser = checked_units(tensors, columns)
            check_network(recipe, len(tensors))
            denoiser = filled(_skeleton(recipe, len(columns), classes, context), tensors, path)
        model = cls(denoiser, standardiser, columns, recipe, classes=classes, context=context, provenance=provenance)
        return model._with(folder=path.parent, length=length)


def _numbers(known: Given | None) -> NDArray[np.float64]:
    """What points are conditioned on, (n, c)."""
    assert known is not None and known.context is not None  # of a model with a context
    return np.asarray(known.context, np.float64)


def model_path(path: str | Path) -> Path:
    """The model file itself, where `path` is the folder of a run.

    Raises:
        NoModelError: it is not there.
    """
    path = Path(path)
    path = path / "model.safetensors" if path.is_dir() else path
    path = path if path.suffix or path.is_file() else path.with_name(path.name + SUFFIX)
    if not path.is_file():
        raise NoModelError(f"there is no model file '{path}'. `motes train` makes one.")
    return path


def _skeleton(recipe: PointRecipe, dim: int, classes: Classes | None, context: Context | None) -> Denoiser:
    """The denoiser of a recipe with shapes in the place of arrays."""
    counts = (len(classes) if classes else 0, context.inputs if context else 0)
    return eqx.filter_eval_shape(recipe.make_denoiser, dim, jax.random.key(0), *counts)
