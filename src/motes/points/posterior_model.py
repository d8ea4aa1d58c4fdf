"""A trained model of points given observations: posteriors, if the points are parameters.

Posteriors given several independent observations of one point are composed from the posteriors given each.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import equinox as eqx
import jax
import numpy as np

from motes.arguments import check_arguments
from motes.data.arrays import Array
from motes.errors import UsageError, check_count, check_process
from motes.points.denoisers import Given
from motes.points.guidance import Composed, NoisyPrior, Sampling, added_precisions
from motes.points.likelihood import TOLERANCE, Likelihood, log_likelihood
from motes.points.model import DrawOptions, GaussianModel, PointDraws, SamplingLike
from motes.points.posterior import Context, Prior
from motes.progress import OnProgress, Reporter, silent
from motes.training.model import ROWS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from motes.evaluation import Calibration, Evaluation


DRAWS = 1000  # draws from each posterior, to estimate its covariance
MAX_TRIALS = 8  # observations that can be composed: each adds the network's error; docs/posteriors.md has measurements
CONTOURS = (0.5, 0.9)  # shares of the draws inside the contours


@check_arguments
@final
class PosteriorModel(GaussianModel):
    """A trained model of points given observations, p(theta | x).

    The attribute `context` describes the observed columns.

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
        sampling: SamplingLike = None,
        on_progress: OnProgress = silent,
    ) -> Any:
        """Draw `n` points given an observation, in the kind of table that the training rows had.

        Args:
            n: number of points for each observation.
            given: one observation, (c,) or a mapping column -> number; or m observations, (m, c) or a table. For m
                observations, `n` points are drawn for each: an array (m, n, d), or a list of m tables.
            iid: the m observations, at most 8, are independent observations of the same point, and `n` points are
                drawn given all of them, (n, d); see docs/posteriors.md.
            label: the class of all points, or one for each point (n,).
            seed: the same seed gives the same points.
            sampling: changes to the recipe's sampling, `motes.Sampling(sampler=, steps=, grid=, guidance=)` or a
                mapping such as {"sampler": "ddim", "steps": 50}; see docs/samplers.md.
            on_progress: called with the number of points drawn so far.

        A `UserWarning` names an observation that is unlike the training's, so that the samples are unreliable.

        Raises:
            UsageError, RecipeError: arguments that do not fit the model.
            DataError: an observation with invalid entries.

        Example:
            >>> theta = motes.make_shape("moons", 200)
            >>> posterior = motes.fit(theta, given=theta.sum(axis=1), changes={"training.steps": 2}, verbose=False)
            >>> posterior.sample(3, given=[0.5]).shape, posterior.sample(3, given=[[0.5], [1.0]]).shape
            ((3, 2), (2, 3, 2))
            >>> posterior.sample(3, given=[[0.5], [1.0]], iid=True).shape
            (3, 2)
        """
        for message in self.reliability_warnings(given, iid=iid):
            warnings.warn(message, UserWarning, stacklevel=3)
        options = {"label": label, "seed": seed, "sampling": sampling, "on_progress": on_progress}
        return self._tables(self.draw(n, given, iid=iid, **options))

    def reliability_warnings(self, given: Any, *, iid: bool = False) -> list[str]:
        """Return the reasons why posteriors given these observations may be unreliable, one sentence each.

        Raises:
            UsageError, DataError: observations that do not fit the model.

        Example:
            >>> theta = motes.make_shape("moons", 200)
            >>> posterior = motes.fit(theta, given=theta.sum(axis=1), changes={"training.steps": 2}, verbose=False)
            >>> posterior.reliability_warnings([40.0])[0][:35]
            "the observation has 'given0' = 40, "
        """
        messages = list(self.context.novel(self._trials(given) if iid else self.context.rows(given)[0]))
        odd = self.context.prior.odd
        if iid and odd:
            messages.append(
                f"the prior of {', '.join(odd)} is neither Gaussian nor uniform between two bounds in the units of the "
                "network, which the composition of several observations assumes. The samples are unreliable. Train "
                "with the bounds of the prior, bounds={...}, if it has any."
            )
        return messages

    def draw_points(self, n: int, *, given: Any = None, iid: bool = False, **options: Any) -> PointDraws:
        if not iid:
            return super().draw_points(n, given=given, **options)
        check_process()
        n, chosen = check_count(n, "points"), DrawOptions(**options)
        if Sampling.of(chosen.sampling).guidance is not None:
            raise UsageError("guidance cannot be combined with several observations. Leave it out.")
        denoiser, zero, root = self._compose(self._trials(given), chosen.label, chosen.seed)
        drawn = self.with_denoiser(denoiser)._run_sampler(n, None, chosen)
        points, noisy = (self.standardiser.inverse(np.asarray(u, np.float64) @ root + zero) for u in drawn)
        return PointDraws(points, noisy, float(n))

    def _draw(self, n: int, given: Any, options: DrawOptions) -> PointDraws:
        rows, one = self.context.rows(given)
        labels = options.label if np.ndim(options.label) == 0 else np.tile(np.asarray(options.label), len(rows))
        known = self.given(labels, n * len(rows), np.repeat(rows, n, axis=0))
        shape = (n, len(self.columns)) if one else (len(rows), n, len(self.columns))
        points, noisy = (
            self.standardiser.inverse(self.context.add_prediction(np.asarray(u, np.float64), _context_numbers(known)))
            for u in self._run_sampler(n * len(rows), known, options)
        )
        return PointDraws(points.reshape(shape), noisy.reshape(len(options.record), *shape), float(n))

    def _trials(self, given: Any) -> Array:
        """Return the independent observations of one point, (m, c), unless they are too many to compose accurately.

        Raises:
            UsageError: too many observations.
        """
        rows = self.context.rows(given)[0]
        if len(rows) > MAX_TRIALS:
            raise UsageError(
                f"got {len(rows)} observations with iid=True; expected at most {MAX_TRIALS}, since the errors of their "
                "posteriors add up. Train on what you observe: theta with simulations of all observations, "
                "as columns or as summaries such as their mean, and pass these as one observation."
            )
        return rows

    def _compose(self, rows: Array, label: Any, seed: int) -> tuple[Composed, Array, Array]:
        """Return the denoiser of u given all observations `rows` (m, c), with z = zero + u root, zero (d,) and root."""
        prior, known = self.context.prior, self.given(label, len(rows), rows)
        # Use one origin and one scale for all: each posterior was learned relative to a prediction of its own.
        regression = self.context.regression
        means, root = np.zeros((len(rows), self.dim)), np.eye(self.dim)
        if regression is not None:
            means, root = regression.mean(self.context.forward(rows)), regression.residual_scale
        zero = means.mean(axis=0)
        noisy, whole = _transform_prior(prior, zero, root)
        word = int(np.random.SeedSequence([seed, 141421]).generate_state(1)[0])
        z = self.standardiser.forward(self.draw(DRAWS, rows, label=label, seed=word).reshape(-1, len(self.columns)))
        u = np.linalg.solve(root, (z - zero).T).T.reshape(len(rows), DRAWS, self.dim)
        added = _estimate_added(noisy, whole, u)
        with_arrays = jax.tree.map(jax.numpy.asarray, known)
        origins = np.linalg.solve(root, (means - zero).T).T
        return Composed(self.denoiser, with_arrays, added, noisy, origins), zero, root

    def given(self, label: Any, n: int, observed: Any) -> Given:
        """Return the denoiser's conditioning for `n` rows: their classes, and one observation or one for each row.

        Raises:
            UsageError: an unknown label, or a model without classes.
            DataError: an observation with invalid entries.

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
        return Given(self._class_numbers(label, n), context)  # type: ignore[arg-type]

    # --- likelihood ---

    def likelihood(
        self,
        data: Any,
        *,
        given: Any = None,
        iid: bool = False,
        label: Any = None,
        tolerance: float = TOLERANCE,
        on_progress: OnProgress = silent,
    ) -> Likelihood:
        """Compute log p(row | observation) by the probability flow, in nats of the data's units, with its errors.

        It is minus infinity outside the bounds, and for a wrong value in a constant column.

        Args:
            data: n rows, in any kind of table.
            given: one observation for all rows, or one for each row.
            iid: the m observations, at most 8, are independent observations of one point: log p of each row given all
                of them.
            label: one class for all rows, or one for each row (n,); one class if `iid`.
            tolerance: error of the integration, in nats per row.
            on_progress: called with the number of rows scored so far.

        Raises:
            DataError: rows with missing or invalid entries; the message names the row and the column.
            UsageError: an argument out of range, an unknown label, or no observation.

        Example:
            >>> theta = motes.make_shape("moons", 200)
            >>> posterior = motes.fit(theta, given=theta.sum(axis=1), changes={"training.steps": 2}, verbose=False)
            >>> posterior.likelihood(theta[:3], given=theta[:3].sum(axis=1)[:, None]).log_prob.shape
            (3,)
        """
        check_process()
        rows = self._rows(data)
        z, denoiser, known = self.standardiser.forward(rows), self.denoiser, None
        if iid:
            denoiser, zero, root = self._compose(self._trials(given), label, 0)
            u, log_det = np.linalg.solve(root, (z - zero).T).T, -float(np.linalg.slogdet(root)[1])
        else:
            known = self.given(label, len(rows), given)
            u, log_det = self.context.subtract_prediction(z, _context_numbers(known)), self.context.log_det
        found = log_likelihood(denoiser, u, given=known, tolerance=tolerance, on_progress=on_progress)
        return found._replace(log_prob=found.log_prob + self.standardiser.log_det(rows) + log_det)

    # --- evaluation ---

    def evaluate(
        self, data: Any = None, *, given: Any = None, n: int = ROWS, seed: int = 0, verbose: bool = False
    ) -> Evaluation[Calibration]:
        """Test the calibration of the posteriors, and score rows that the model has not seen.

        Args:
            data: a file, or rows in memory; None uses the held-out rows of the file that the model was trained on.
            given: the observation of each row in memory.
            n: maximal number of rows; at most 2,000 are used.
            seed: random seed of the draws.
            verbose: show progress.

        Raises:
            UsageError: there are no rows to evaluate on.
            DataError: rows with other columns, or with missing or invalid entries.

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
        """Test whether the posteriors are too narrow or too wide, and suggest fixes; see `motes.calibration`.

        It takes the arguments of `evaluate`.

        Raises:
            UsageError: there are no rows to evaluate on, or too few.

        Example:
            >>> theta = motes.make_shape("moons", 200)
            >>> posterior = motes.fit(theta, given=theta.sum(axis=1), changes={"training.steps": 2}, verbose=False)
            >>> posterior.diagnose(theta, given=theta.sum(axis=1)[:, None]).columns
            ('x', 'y')
        """
        from motes.evaluation.posteriors import calibration, rows_of

        theta, x, _, _ = rows_of(self, self._source(data), given, n)
        return calibration(self, theta, x, seed=seed)

    def plot(
        self, *, given: Any = None, truth: Any = None, n: int = 2000, seed: int = 0, style: str = "light"
    ) -> Figure:
        """Plot draws in pairs of columns, with contours of the smallest regions that contain 50 and 90 % of them.

        Args:
            given: the observation.
            truth: the true point to mark, if known: (d,), or a mapping column -> number.
            n: number of samples.
            seed: random seed of the samples.
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
        columns = self.varying(points)
        marks: dict[str, float] | None = None
        if truth is not None:
            row = {name: [truth[name]] for name in truth} if hasattr(truth, "keys") else np.atleast_2d(truth)
            marks = {name: float(mark) for name, mark in self.varying(self._rows(row)[0]).items()}
        return plots.pairs(columns, contours=CONTOURS, truth=marks, title=f"{n:,} samples", seed=seed, style=style)

    def _source(self, data: Any) -> Any:
        return str(data) if isinstance(data, Path) else data


def _context_numbers(known: Given) -> Array:
    """Return the numbers that points are conditioned on, (n, c)."""
    return np.asarray(known.context, np.float64)


def _transform_prior(prior: Prior, zero: Array, root: Array) -> tuple[NoisyPrior, Array]:
    """Return the prior of u, z = zero + u root, and its precision matrix (d, d)."""
    uniform = prior.uniform
    apart = uniform[:, None] | uniform
    covariance = np.where(apart & ~np.eye(len(zero), dtype=bool), 0.0, np.array(prior.covariance))
    whole = np.asarray(root @ np.linalg.inv(covariance) @ root, np.float64)
    ends = np.array([(-np.inf, np.inf) if ends is None else ends for ends in prior.intervals])
    low, high = ((end - zero) / np.diag(root) for end in ends.T)  # the root is diagonal where the prior is uniform
    mean = np.asarray(np.linalg.solve(root, np.array(prior.mean) - zero), np.float64)
    return NoisyPrior(mean, np.where(apart, 0.0, whole), low, high), whole


def _estimate_added(prior: NoisyPrior, whole: Array, drawn: Array) -> Array:
    """Estimate what each observation adds to the prior's precision, (m, d, d), from draws (m, n, d) of its posterior.

    A uniform prior has a precision only near its edges. There its overall precision is an upper limit.
    """
    n, dim = drawn.shape[1:]
    away = drawn - drawn.mean(axis=1, keepdims=True)
    covariance = np.einsum("mli,mlj->mij", away, away) / (n - 1)
    unbiased = (n - dim - 2) / (n - 1)  # corrects the bias of the inverse of an estimated covariance
    there = [np.asarray(_precisions_at(prior, one), np.float64).mean(axis=0) for one in drawn.astype(np.float32)]
    return added_precisions(unbiased * np.linalg.inv(covariance), np.minimum(there, whole), whole)


@eqx.filter_jit
def _precisions_at(prior: NoisyPrior, drawn: Array) -> jax.Array:
    """Return the precision of a prior at noiseless points (n, d), (n, d, d); compiled once for any m."""
    return jax.vmap(lambda u: prior(u, jax.numpy.zeros(()))[1])(drawn)
