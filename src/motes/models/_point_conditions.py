"""Points of which some coordinates are known: a box in the model's standardised units.

    low <= z <= high,    z = (x - mean) / scale

A known number is an interval of width 0. Rows of such a box come by rejection or by particles, whichever is cheaper.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motes._seeds import seed_key
from motes.errors import DataError, UsageError, check_count, check_process, check_seed, unknown
from motes.models._novelty import NoveltyDetector
from motes.models._points import PointModel
from motes.sampling._inside import sample_inside
from motes.sampling._loop import sample
from motes.sampling._options import Sampling
from motes.sampling._particles import conditional_rows

Array = NDArray[np.float64]

FAR = 5.0  # standard deviations
OWN = 2000  # rows of a model with which conditions are compared
_OWN: WeakKeyDictionary[PointModel, Array] = WeakKeyDictionary()  # in standardised units


def box_of(model: PointModel, given: Mapping[str, Any]) -> tuple[Array, Array]:
    """The ends (d,) of the box of what is known, in the data's units; infinite where nothing is.

    Args:
        model: of points.
        given: column -> a number, or (low, high), both included, of which one may be None.

    Raises:
        UsageError: a column that there is not, something else than finite numbers, or low > high.
    """
    if not isinstance(given, Mapping):
        raise UsageError(
            f"given: got {type(given).__name__}; expected a dict, column -> condition, such as "
            f"{{'{model.columns[-1]}': 0.5}}. Choose from: {', '.join(model.columns)}."
        )
    low, high = np.full((2, model.dim), [[-np.inf], [np.inf]])
    for name, value in given.items():
        if name not in model.columns:
            raise UsageError(unknown("column", str(name), model.columns))
        j, interval = model.columns.index(name), isinstance(value, tuple)
        ends = value if interval else (value, value)
        if len(ends) != 2 or ends == (None, None) or (not interval and value is None):
            raise UsageError(f"column '{name}': got {value!r}; expected a number, or (low, high).")
        for at, end in ((low, ends[0]), (high, ends[1])):
            if end is None:
                continue
            if isinstance(end, bool) or not isinstance(end, int | float | np.number) or not np.isfinite(end):
                raise UsageError(f"column '{name}': got {end!r}; expected a finite number. An open end is None.")
            at[j] = end
        if low[j] > high[j]:
            raise UsageError(f"column '{name}': got {low[j]:g} to {high[j]:g}; expected low <= high.")
    return low, high


def unlikely_conditions(model: PointModel, given: Mapping[str, Any]) -> list[str]:
    """A sentence for each condition that is unlike the training; of recipe `any` also for all of them together.

    A condition is far if it lies more than `FAR` standard deviations from the mean of the training. A model that has
    learned any conditional distribution is also asked for 2,000 rows of the joint one, with which the given numbers are
    compared: like ones are warned of in at most about 1 % of cases.

    Nothing is said by a model that was trained on columns as they are: it does not know their means.
    """
    box = box_of(model, given)
    if not model.recipe.data.standardise:
        return []
    low, high = (model.standardiser.forward(end) for end in box)
    away = np.maximum(np.maximum(low, -high), 0.0)
    far = [
        f"the condition on '{model.columns[j]}' is {away[j]:.0f} standard deviations from the mean of the training, "
        "which held no such point. The answer is a guess."
        for j in np.flatnonzero(away > FAR)
    ]
    return far or (_novel(model, *box_of(model, given)) if model.recipe.conditions.learned else [])


def _novel(model: PointModel, low: Array, high: Array) -> list[str]:
    """How the numbers of a box differ from rows of the model itself."""
    there = low == high
    if not there.any():
        return []
    if model not in _OWN:
        _OWN[model] = model.standardiser.forward(sample_observed(model, np.full((OWN, model.dim), np.nan)))
    units, own = model.standardiser.of(there), _OWN[model][:, there]
    own = own[np.isfinite(own).all(axis=1)]
    if len(own) < OWN // 2:  # sampling warns of rows that are not finite
        return []
    detector = NoveltyDetector.fit(own, np.ones(own.shape, bool))
    names = [name for name, known in zip(model.columns, there, strict=True) if known]
    ends = lambda j: units.inverse(np.repeat(detector.ends[j][:, None], len(names), axis=1))[:, j]
    row = low[None, there]
    return detector.describe(units.forward(row), row, names, ends, lambda _: "the condition", f"{OWN:,} draws")


def sample_given(
    model: PointModel,
    n: int,
    given: Mapping[str, Any],
    *,
    seed: int = 0,
    label: Any = None,
    how: Sampling | Mapping[str, Any] | None = None,
    on_block: Callable[[int], None] | None = None,
) -> tuple[Array, float]:
    """Draw points of which something is known: (n, d) in the data's units, and their effective sample size.

    Args:
        model: of points.
        n: how many.
        given: as for `box_of`.
        seed, label, how, on_block: as for `PointModel.sample`.

    Raises:
        UsageError: what does not fit the columns or the model, or a sampler where only particles can do it.

    Example:
        >>> points, effective = sample_given(model.inner, 50, {"x": 0.5})
        >>> points.shape
        (50, 2)
    """
    check_process()
    n, seed = check_count(n, "points"), check_seed(seed)
    how, (low, high) = Sampling.of(how), box_of(model, given)
    if model.recipe.conditions.learned and ((low == high) | (np.isinf(low) & np.isinf(high))).all():
        rows = np.broadcast_to(np.where(low == high, low, np.nan), (n, model.dim))
        return sample_observed(model, rows, seed=seed, how=how, on_block=on_block), float(n)
    known, forward = model.given(label, n), model.standardiser.forward
    z, effective = sample_inside(
        model.reverse_process(how, known),
        (forward(low), forward(high)),
        n,
        key=seed_key(seed, "sample"),
        given=known,
        only=how.sampler is not None,
        on_block=on_block,
    )
    # Rounding may put a point just beyond an end; a known number comes back to the bit.
    return np.clip(model.standardiser.inverse(z), low, high), effective


def sample_observed(
    model: PointModel,
    rows: Array,
    *,
    seed: int = 0,
    how: Sampling | Mapping[str, Any] | None = None,
    on_block: Callable[[int], None] | None = None,
) -> Array:
    """Draw the entries of rows (n, d) that are NaN given the others, by a network that has learned to be given them."""
    z, _ = sample(
        model.reverse_process(how, None),
        len(rows),
        key=seed_key(check_seed(seed), "sample"),
        given=model.observed(rows),
        on_block=on_block,
    )
    return np.where(np.isnan(rows), model.standardiser.inverse(z), rows)


def impute_draws(
    model: PointModel,
    x: ArrayLike,
    draws: int,
    *,
    seed: int = 0,
    on_block: Callable[[int], None] | None = None,
    name: str = "the data",
) -> Iterator[Array]:
    """`impute_points` so many times, each with random numbers of its own; `on_block` counts the rows of all draws."""
    holes = int(np.isnan(np.asarray(x, np.float64)).any(axis=-1).sum())
    for number, word in enumerate(np.random.SeedSequence([check_seed(seed), 577215]).generate_state(draws)):
        tell = None if on_block is None else (lambda done, before=number * holes: on_block(before + done))
        yield impute_points(model, x, seed=int(word), on_block=tell, name=name)


def impute_points(
    model: PointModel,
    x: ArrayLike,
    *,
    seed: int = 0,
    on_block: Callable[[int], None] | None = None,
    name: str = "the data",
) -> Array:
    """Fill in the coordinates that are NaN, each time with a draw given the other ones of the row.

    Args:
        model: of points.
        x: (n, d) in the data's units; known coordinates come back to the bit.
        seed: of the draws.
        on_block: called with the number of rows filled in so far.
        name: what messages call the data.

    Raises:
        DataError: another number of columns, or an infinite number.
        UsageError: a row that is impossible to the model.
    """
    check_process()
    made = np.array(x, np.float64)
    if made.ndim != 2 or made.shape[1] != model.dim:
        raise DataError(f"{name} has shape {made.shape}; expected (rows, {model.dim}).")
    if np.isinf(made).any():
        row, j = np.argwhere(np.isinf(made))[0]
        raise DataError(
            f"{name}, row {row + 1}, column '{model.columns[j]}': got {made[row, j]}; expected a finite number."
        )
    known = ~np.isnan(made)
    rows = np.flatnonzero(~known.all(axis=1))
    if not len(rows):
        return made
    if model.recipe.conditions.learned:
        made[rows] = sample_observed(model, made[rows], seed=seed, on_block=on_block)
        return made
    grid = model.recipe.make_grid()
    z = model.standardiser.forward(np.where(known, made, 0.0))[rows]
    key = seed_key(check_seed(seed), "impute")
    drawn, _ = conditional_rows(model.denoiser, z, known[rows], key=key, grid=grid, on_block=on_block)
    made[rows] = np.where(known[rows], made[rows], model.standardiser.inverse(drawn[:, 0]))
    return made
