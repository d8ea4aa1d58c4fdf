"""Draws given several independent observations of one point, theta: all of them together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import numpy as np
from numpy.typing import NDArray

from motes._seeds import seed_key
from motes.errors import UsageError, check_count, check_process, check_seed
from motes.models._points import PointModel
from motes.models._priors import Prior
from motes.sampling._composition import Composed, NoisyPrior, added_precisions
from motes.sampling._loop import sample
from motes.sampling._options import Sampling

Array = NDArray[np.float64]

DRAWS = 1000  # of each posterior, by which its covariance is known


def prior_warnings(model: PointModel) -> list[str]:
    """A sentence if the prior is neither normal nor uniform in the units of the network."""
    assert model.context is not None  # or nothing is observed
    odd = model.context.prior.odd
    if not odd:
        return []
    return [
        f"the prior of {', '.join(odd)} is not normal, nor uniform between two bounds, in the units of the network, as "
        "it has to be where several observations are composed. The answer is a guess. Train with the bounds of the "
        "prior, bounds={...}, if it has any."
    ]


def sample_several(
    model: PointModel,
    n: int,
    given: Any,
    *,
    seed: int = 0,
    label: Any = None,
    how: Sampling | Mapping[str, Any] | None = None,
    on_block: Callable[[int], None] | None = None,
) -> Array:
    """Draw `n` points given all of m observations, which are independent given the point: (n, d) in the data's units.

    Args:
        model: of points that are conditioned on something.
        n: how many.
        given: m observations, (m, c) or a table of m rows.
        seed, label, how, on_block: as for `PointModel.sample`.

    Raises:
        UsageError: what does not fit the model; guidance.
        DataError: an observation that cannot be used.
    """
    check_process()
    n, seed, how = check_count(n, "points"), check_seed(seed), Sampling.of(how)
    if model.context is None:
        raise UsageError(
            "this model is conditioned on nothing. Train one with observations: motes.fit(theta, given=x)."
        )
    if how.guidance is not None:
        raise UsageError("several observations are composed without guidance. Leave it out.")
    rows, _ = model.context.rows(given)
    prior, known = model.context.prior, model.given(label, len(rows), rows)
    assert known is not None  # there is an observation
    # One zero and one unit for all: each posterior was learned beside a prediction of its own, in units of its error.
    means, root = _predictions(model, rows)
    zero = means.mean(axis=0)
    noisy, whole = _prior_of(prior, zero, root)
    added = _added(noisy, whole, _drawn(model, rows, label, seed, zero, root))
    with_arrays = jax.tree.map(jax.numpy.asarray, known)
    composed = Composed(model.denoiser, with_arrays, added, noisy, np.linalg.solve(root, (means - zero).T).T)
    process = replace(model.reverse_process(how, None), denoiser=composed)
    points, _ = sample(process, n, key=seed_key(seed, "sample"), on_block=on_block)
    return model.standardiser.inverse(np.asarray(points, np.float64) @ root + zero)


def _predictions(model: PointModel, rows: Array) -> tuple[Array, Array]:
    """The point that the regression predicts for each observation, (m, d), and the root of its errors (d, d)."""
    assert model.context is not None  # or there are no observations
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


def _drawn(model: PointModel, rows: Array, label: Any, seed: int, zero: Array, root: Array) -> Array:
    """Draws u (m, DRAWS, d) of the posterior of each observation."""
    word = int(np.random.SeedSequence([seed, 141421]).generate_state(1)[0])
    drawn = model.sample(DRAWS, given=rows, label=label, seed=word)
    z = model.standardiser.forward(drawn.reshape(-1, model.dim))
    return np.asarray(np.linalg.solve(root, (z - zero).T).T.reshape(drawn.shape), np.float64)


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
