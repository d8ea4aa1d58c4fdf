"""A trained model of points given what was observed with each: posteriors, where the points are parameters.

Several independent observations of one point are composed: draws are given all of them together.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import equinox as eqx
import jax
import numpy as np
from numpy.typing import NDArray

from motes.errors import UsageError, check_count, check_process, check_seed, unknown
from motes.points.denoisers import Given
from motes.points.guidance import Composed, NoisyPrior, Sampling, added_precisions
from motes.points.likelihood import TOLERANCE, Likelihood, log_likelihood
from motes.points.model import Divergence, GaussianModel, How, stacked
from motes.points.posterior import Context, Prior
from motes.points.sampling import sample
from motes.progress import OnProgress, Reporter, silent
from motes.seeds import seed_key
from motes.training.model import ROWS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from motes.evaluation import Calibration, Evaluation


Array = NDArray[np.float64]

DRAWS = 1000  # of each posterior, by which its covariance is known
CONTOURS = (0.5, 0.9)  # shares of the draws that lines hold


@final
class PosteriorModel(GaussianModel):
    """A trained model of points given what was observed with each, p(theta | x).

    `context` is what its points are conditioned on.

    Example:
        >>> theta = motes.make_shape("moons", 200)
        >>> posterior = motes.fit(theta, given=theta.sum(axis=1), changes={"training.steps": 2}, verbose=False)
        >>> posterior.columns, posterior.context.columns
        (('x', 'y'), ('given0',))
    """

    kind = "posterior"
    about = "points given observations"
    context: Context

    # --- samples ---

    def sample(
        self,
        n: int,
        *,
        given: Any = None,
        iid: bool = False,
        label: Any = None,
        seed: int = 0,
        how: How = None,
        on_progress: OnProgress = silent,
    ) -> Any:
        """Draw `n` new points given what was observed, in the kind of table that the training rows had.

        Args:
            n: how many, for each observation.
            given: one observation, (c,) or a mapping column -> number; or m of them, (m, c) or a table, and then `n`
                points are drawn for each: an array (m, n, d), or a list of m tables.
            iid: the m observations are independent ones of the same point: `n` points are drawn given all of them,
                (n, d); see docs/posteriors.md.
            label: the class of all the points, or one for each (n,).
            seed: of the draw.
            how: in the place of the recipe's: `motes.Sampling(sampler=, steps=, grid=, guidance=)`, or a mapping such
                as {"sampler": "ddim", "steps": 50}; see docs/samplers.md.
            on_progress: called with the number of points drawn so far.

        A `UserWarning` says where an observation is unlike those of the training, so that the answer is a guess.

        Raises:
            UsageError, RecipeError: what does not fit the model.
            DataError: an observation that cannot be used.

        Example:
            >>> theta = motes.make_shape("moons", 200)
            >>> posterior = motes.fit(theta, given=theta.sum(axis=1), changes={"training.steps": 2}, verbose=False)
            >>> posterior.sample(3, given=[0.5]).shape, posterior.sample(3, given=[[0.5], [1.0]]).shape
            ((3, 2), (2, 3, 2))
            >>> posterior.sample(3, given=[[0.5], [1.0]], iid=True).shape
            (3, 2)
        """
        for message in self.doubts(given, iid=iid):
            warnings.warn(message, UserWarning, stacklevel=2)
        draw = self.draw_iid if iid else self.draw
        points = draw(n, given, label=label, seed=seed, how=how, on_progress=on_progress)
        return self._native(points) if points.ndim == 2 else stacked([self._native(some) for some in points])

    def doubts(self, given: Any, *, iid: bool = False) -> list[str]:
        """Why an answer given these observations should not be believed, a sentence each.

        Raises:
            UsageError, DataError: observations that do not fit.

        Example:
            >>> theta = motes.make_shape("moons", 200)
            >>> posterior = motes.fit(theta, given=theta.sum(axis=1), changes={"training.steps": 2}, verbose=False)
            >>> posterior.doubts([40.0])[0][:35]
            "the observation has 'given0' = 40, "
        """
        messages = list(self.context.novel(self.context.rows(given)[0]))
        odd = self.context.prior.odd
        if iid and odd:
            messages.append(
                f"the prior of {', '.join(odd)} is not normal, nor uniform between two bounds, in the units of the "
                "network, as it has to be where several observations are composed. The answer is a guess. Train with "
                "the bounds of the prior, bounds={...}, if it has any."
            )
        return messages

    def draw(
        self, n: int, given: Any, *, label: Any = None, seed: int = 0, how: How = None, on_progress: OnProgress = silent
    ) -> Array:
        """The points of `sample`, (n, d) or (m, n, d), whatever kind of table the training rows had.

        Example:
            >>> theta = motes.make_shape("moons", 200)
            >>> posterior = motes.fit(theta, given=theta.sum(axis=1), changes={"training.steps": 2}, verbose=False)
            >>> posterior.draw(3, [0.5]).shape
            (3, 2)
        """
        return self._drawn(n, (), given, label, seed, how, on_progress)[0]

    def chain(
        self,
        n: int,
        record: Sequence[int],
        *,
        given: Any = None,
        label: Any = None,
        seed: int = 0,
        how: How = None,
        on_progress: OnProgress = silent,
    ) -> tuple[Any, Any]:
        """As `sample` given one observation, with the points at some places of the reverse process.

        A place counts steps from the start, 0; it is one of `grid`, and points there are noisy.

        Raises:
            UsageError: several observations.

        Example:
            >>> theta = motes.make_shape("moons", 200)
            >>> posterior = motes.fit(theta, given=theta.sum(axis=1), changes={"training.steps": 2}, verbose=False)
            >>> points, noisy = posterior.chain(5, [0, 16], given=[0.5])
            >>> noisy.shape
            (2, 5, 2)
        """
        points, kept = self._drawn(n, record, given, label, seed, how, on_progress)
        if points.ndim > 2:
            raise UsageError(f"chain: got {len(points)} observations; expected one, such as given=x[0].")
        return self._native(points), stacked([self._native(one) for one in kept])

    def _drawn(
        self, n: int, record: Sequence[int], given: Any, label: Any, seed: int, how: How, on_progress: OnProgress
    ) -> tuple[Array, Array]:
        """The points of `chain` as arrays; of m observations they are (m, n, d) and (len(record), m, n, d)."""
        check_process()
        n = check_count(n, "points")
        rows, one = self.context.rows(given)
        labels = label if np.ndim(label) == 0 else np.tile(np.asarray(label), len(rows))
        known = self.given(labels, n * len(rows), np.repeat(rows, n, axis=0))
        points, kept = self._draw(n * len(rows), known, how, seed, record, on_progress)
        shape = (n, len(self.columns)) if one else (len(rows), n, len(self.columns))
        whole = [
            self.standardiser.inverse(self.context.whole(np.asarray(z, np.float64), _numbers(known)))
            for z in (points, kept)
        ]
        return whole[0].reshape(shape), whole[1].reshape(len(record), *shape)

    def given(self, label: Any, n: int, observed: Any) -> Given:
        """What the denoiser is told of `n` rows, of one observation or of one each, and of their classes.

        Raises:
            UsageError: an unknown label, or a model without classes.
            DataError: an observation that cannot be used.

        Example:
            >>> theta = motes.make_shape("moons", 200)
            >>> posterior = motes.fit(theta, given=theta.sum(axis=1), changes={"training.steps": 2}, verbose=False)
            >>> posterior.given(None, 3, [0.5]).context.shape
            (3, 1)
        """
        rows, _ = self.context.rows(observed)
        if len(rows) not in (1, n):
            raise UsageError(f"got {len(rows)} observations for {n} rows; expected one, or one for each row.")
        context = np.broadcast_to(self.context.forward(rows), (n, self.context.inputs))
        return Given(self._classes_of(label, n), context)  # type: ignore[arg-type]

    # --- likelihood ---

    def likelihood(
        self,
        data: Any,
        *,
        given: Any = None,
        label: Any = None,
        divergence: Divergence = "exact",
        probes: int = 32,
        seed: int = 0,
        tolerance: float = TOLERANCE,
        on_progress: OnProgress = silent,
    ) -> Likelihood:
        """log p(row | what was observed) by the probability flow, in nats of the data's units, with its errors.

        It is minus infinity beyond bounds, and where a constant column has another value than in the training.

        Args:
            data: n rows, in any kind of table.
            given: one observation for all rows, or one for each.
            label: one class for all rows or one for each (n,).
            divergence: "exact", or an estimate from `probes` directions; see `motes.points.log_likelihood`.
            probes: directions of a random divergence.
            seed: of them.
            tolerance: of the integration, in nats per row.
            on_progress: called with the number of rows scored so far.

        Raises:
            DataError: rows that cannot be used; the message names the row and the column.
            UsageError: an argument out of range, an unknown label, or no observation.

        Example:
            >>> theta = motes.make_shape("moons", 200)
            >>> posterior = motes.fit(theta, given=theta.sum(axis=1), changes={"training.steps": 2}, verbose=False)
            >>> posterior.likelihood(theta[:3], given=theta[:3].sum(axis=1)[:, None]).log_prob.shape
            (3,)
        """
        check_process()
        rows = self._rows(data)
        known = self.given(label, len(rows), given)
        z, log_det = self.standardiser.forward(rows), self.standardiser.log_det(rows)
        if self.context.regression is not None:
            z, log_det = self.context.left(z, _numbers(known)), log_det + self.context.regression.log_det
        try:
            options = self._flow_options(divergence, probes, seed, tolerance, on_progress)
            found = log_likelihood(self.denoiser, z, given=known, **options)
        except ValueError as error:
            raise UsageError(str(error)) from None
        return found._replace(log_prob=found.log_prob + log_det)

    # --- how good it is ---

    def evaluate(
        self, data: Any = None, *, given: Any = None, n: int = ROWS, seed: int = 0, verbose: bool = False
    ) -> Evaluation[Calibration]:
        """How calibrated its posteriors are, and log p of rows that it has not seen.

        Args:
            data: a file, or rows in memory; None takes the held-out rows of the file that it was trained on.
            given: what was observed with each row in memory.
            n: rows, at most; no more than 2,000 are taken.
            seed: of the draws.
            verbose: show progress.

        Raises:
            UsageError: rows that are not to be had.
            DataError: rows with other columns, or that cannot be used.

        Example:
            >>> theta = motes.make_shape("moons", 200)
            >>> posterior = motes.fit(theta, given=theta.sum(axis=1), changes={"training.steps": 2}, verbose=False)
            >>> posterior.evaluate(theta, given=theta.sum(axis=1)[:, None]).rows["real"]
            200
        """
        from motes.evaluation.posteriors import evaluate_posteriors

        Reporter(not verbose).say("drawing the posterior of each row")
        return evaluate_posteriors(self, self._source(data), given, n=n, seed=seed)

    def diagnose(self, data: Any = None, *, given: Any = None, n: int = ROWS, seed: int = 0) -> Calibration:
        """Whether its posteriors are as wide as they should be, and what to do; see `motes.calibration`.

        The arguments are those of `evaluate`.

        Raises:
            UsageError: rows that are not to be had, or too few of them.

        Example:
            >>> theta = motes.make_shape("moons", 200)
            >>> posterior = motes.fit(theta, given=theta.sum(axis=1), changes={"training.steps": 2}, verbose=False)
            >>> posterior.diagnose(theta, given=theta.sum(axis=1)[:, None]).columns
            ('x', 'y')
        """
        from motes.evaluation.posteriors import diagnose_posteriors

        return diagnose_posteriors(self, self._source(data), given, n=n, seed=seed)

    def plot(
        self, *, given: Any = None, truth: Any = None, n: int = 2000, seed: int = 0, style: str = "light"
    ) -> Figure:
        """A picture of draws in pairs of columns, with lines around the smallest regions that hold 50 and 90 %.

        Args:
            given: the observation.
            truth: the point (d,) that the observation is of, where it is known, or a mapping column -> number: marked.
            n: samples.
            seed: of the samples.
            style: "light" or "dark".

        Example:
            >>> theta = motes.make_shape("moons", 200)
            >>> posterior = motes.fit(theta, given=theta.sum(axis=1), changes={"training.steps": 2}, verbose=False)
            >>> len(posterior.plot(given=[0.5], n=100).axes)
            3
        """
        from motes import plots

        points = self.draw(check_count(n, "samples"), given, seed=seed)
        if points.ndim > 2:
            raise UsageError(f"plot: got {len(points)} observations; expected one, such as given=x[0].")
        columns, marks = self.varying(points), self._marks(truth)
        return plots.pairs(columns, contours=CONTOURS, truth=marks, title=f"{n:,} samples", seed=seed, style=style)

    def _source(self, data: Any) -> Any:
        return str(data) if isinstance(data, Path) else data

    def _marks(self, truth: Any) -> dict[str, float] | None:
        """Column -> the number to mark, of a point (d,) or a mapping.

        Raises:
            UsageError: another number of columns, an unknown one, or what is not a finite number.
        """
        if truth is None:
            return None
        named = {str(name): truth[name] for name in truth} if hasattr(truth, "keys") else None
        try:
            numbers = np.asarray(truth if named is None else list(named.values()), np.float64)
        except (TypeError, ValueError):
            numbers = np.array([np.nan])
        for name in named or ():
            if name not in self.columns:
                raise UsageError(f"plot, truth: {unknown('column', name, self.columns)}")
        names = self.columns if named is None else tuple(named)
        if numbers.shape != (len(names),) or not np.isfinite(numbers).all():
            raise UsageError(
                f"plot: got truth = {truth!r}; expected a number for each of {', '.join(self.columns)}, such as "
                "truth=theta[0]."
            )
        constants = self.constants
        return {name: mark for name, mark in zip(names, numbers.tolist(), strict=True) if name not in constants}

    # --- several observations of one point ---

    def draw_iid(
        self, n: int, given: Any, *, label: Any = None, seed: int = 0, how: How = None, on_progress: OnProgress = silent
    ) -> Array:
        """Draw `n` points given all of m observations, which are independent given the point: (n, d), an array.

        Raises:
            UsageError: what does not fit the model; guidance.
            DataError: an observation that cannot be used.

        Example:
            >>> theta = motes.make_shape("moons", 200)
            >>> posterior = motes.fit(theta, given=theta.sum(axis=1), changes={"training.steps": 2}, verbose=False)
            >>> posterior.draw_iid(3, [[0.5], [1.0]]).shape
            (3, 2)
        """
        check_process()
        n, seed, how = check_count(n, "points"), check_seed(seed), Sampling.of(how)
        if how.guidance is not None:
            raise UsageError("several observations are composed without guidance. Leave it out.")
        rows, _ = self.context.rows(given)
        prior, known = self.context.prior, self.given(label, len(rows), rows)
        # One zero and one unit for all: each posterior was learned beside a prediction of its own, in units of its
        # error.
        means, root = _predictions(self, rows)
        zero = means.mean(axis=0)
        noisy, whole = _prior_of(prior, zero, root)
        added = _added(noisy, whole, _drawn(self, rows, label, seed, zero, root))
        with_arrays = jax.tree.map(jax.numpy.asarray, known)
        composed = Composed(self.denoiser, with_arrays, added, noisy, np.linalg.solve(root, (means - zero).T).T)
        process = replace(self.reverse_process(how, None), denoiser=composed)
        points, _ = sample(process, n, key=seed_key(seed, "sample"), on_progress=on_progress)
        return self.standardiser.inverse(np.asarray(points, np.float64) @ root + zero)


def _numbers(known: Given) -> Array:
    """What points are conditioned on, (n, c)."""
    return np.asarray(known.context, np.float64)


def _predictions(model: PosteriorModel, rows: Array) -> tuple[Array, Array]:
    """The point that the regression predicts for each observation, (m, d), and the root of its errors (d, d)."""
    regression = model.context.regression
    if regression is None:
        return np.zeros((len(rows), model.dim)), np.eye(model.dim)
    return regression.mean(model.context.forward(rows)), regression.root


def _prior_of(prior: Prior, zero: Array, root: Array) -> tuple[NoisyPrior, Array]:
    """The prior of u, z = zero + u root, and the inverse of its covariance (d, d)."""
    uniform = prior.uniform
    apart = uniform[:, None] | uniform
    covariance = np.where(apart & ~np.eye(len(zero), dtype=bool), 0.0, np.array(prior.covariance))
    whole = np.asarray(root @ np.linalg.inv(covariance) @ root, np.float64)
    ends = np.array([(-np.inf, np.inf) if ends is None else ends for ends in prior.intervals])
    low, high = ((end - zero) / np.diag(root) for end in ends.T)  # the root is diagonal where the prior is uniform
    mean = np.asarray(np.linalg.solve(root, np.array(prior.mean) - zero), np.float64)
    return NoisyPrior(mean, np.where(apart, 0.0, whole), low, high), whole


def _drawn(model: PosteriorModel, rows: Array, label: Any, seed: int, zero: Array, root: Array) -> Array:
    """Draws u (m, DRAWS, d) of the posterior of each observation."""
    word = int(np.random.SeedSequence([seed, 141421]).generate_state(1)[0])
    drawn = model.draw(DRAWS, rows, label=label, seed=word)
    z = model.standardiser.forward(drawn.reshape(-1, drawn.shape[-1]))
    return np.asarray(np.linalg.solve(root, (z - zero).T).T.reshape(*drawn.shape[:2], model.dim), np.float64)


def _added(prior: NoisyPrior, whole: Array, drawn: Array) -> Array:
    """What each observation adds to the precision of the prior, (m, d, d), by draws (m, n, d) of its posterior.

    A uniform prior has no precision inside, but for its edges. There it is taken for as precise as it is as a whole.
    """
    n, dim = drawn.shape[1:]
    away = drawn - drawn.mean(axis=1, keepdims=True)
    covariance = np.einsum("mli,mlj->mij", away, away) / (n - 1)
    unbiased = (n - dim - 2) / (n - 1)  # of the inverse of a covariance of so many draws
    there = [np.asarray(_precisions_at(prior, one), np.float64).mean(axis=0) for one in drawn.astype(np.float32)]
    return added_precisions(unbiased * np.linalg.inv(covariance), np.minimum(there, whole), whole)


@eqx.filter_jit
def _precisions_at(prior: NoisyPrior, drawn: Array) -> jax.Array:
    """Of a prior at points (n, d) without noise, (n, d, d); one program for all numbers of observations."""
    return jax.vmap(lambda u: prior(u, jax.numpy.zeros(()))[1])(drawn)
