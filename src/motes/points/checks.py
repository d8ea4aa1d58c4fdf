"""Checks of the contents of a model file of points, before the model is built."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data import Standardiser, Support
from motes.data.points import MOST, Classes
from motes.data.records import check_types
from motes.points.posterior import Context
from motes.points.recipe import PointRecipe
from motes.training.model import is_covariance, require

LARGEST = 1e300  # largest mean or scale, so that values several scales away are still finite


def checked_columns(text: str) -> tuple[str, ...]:
    """Parse the column names of points.

    Raises:
        ValueError: invalid names.
    """
    names = json.loads(text)
    fine = isinstance(names, list) and len(names) > 0 and all(isinstance(name, str) for name in names)
    require(fine and len({*names}) == len(names), "its columns have no names, or the same name twice")
    return tuple(names)


def checked_units(tensors: dict[str, NDArray[Any]], columns: Sequence[str]) -> Standardiser:
    """Build the standardiser of the data's units; its arrays are removed from `tensors`.

    Raises:
        KeyError, ValueError: missing or invalid arrays, or another number of columns.
    """

    def take(name: str) -> NDArray[np.float64]:
        array = tensors.pop(name)
        shape = (len(columns),)
        if array.shape != shape or array.dtype != np.float64 or np.isnan(array).any():
            raise ValueError(f"'{name}' is {array.dtype} {array.shape}; expected {shape} numbers of float64")
        return array

    support = Support(take("support.low"), take("support.high")) if "support.low" in tensors else None
    require(support is None or bool((support.low < support.high).all()), "its bounds do not rise")
    mean, scale = take("standardiser.mean"), take("standardiser.scale")
    finite = (np.abs(mean) < LARGEST).all() and (scale < LARGEST).all() and (scale >= 0).all() and (scale > 0).any()
    require(bool(finite), "'standardiser.scale' is below 0, or 0 everywhere, or its numbers are not finite")
    return Standardiser(mean, scale, support)


def check_classes(classes: Classes) -> None:
    """Check classes.

    Raises:
        ValueError: invalid or repeated names, or invalid counts.
    """
    check_types(classes)
    names = {str(name) for name in classes.names}
    require(len(names) == len(classes.names) == len(classes.counts) and 2 <= len(names) <= MOST, "its classes")
    require(min(classes.counts) >= 0 and sum(classes.counts) > 0, "how many rows its classes had")


def check_network(recipe: PointRecipe, arrays: int) -> None:
    """Check that a recipe's network has at most as many layers as the file has arrays, before JAX traces them.

    Raises:
        ValueError: the network has more layers.
    """
    network = recipe.network
    layers = getattr(network, "depth", 0) * getattr(network, "members", 1)
    require(layers <= arrays, f"its recipe requires {layers:,} layers, but it has {arrays:,} arrays")


def check_context(context: Context, columns: Sequence[str], d: int) -> None:
    """Check that a context fits points with these columns, d of which vary.

    Raises:
        ValueError: it does not fit.
    """
    names = context.columns
    for part in (context, context.prior, context.regression, context.novelty):
        if part is not None:
            check_types(part)
    require(0 < len(context) == len({*names}) and not {*names} & {*columns}, "the columns that it is given")
    alike = len(context.curves) == len(context.gaps) == len(context)
    require(alike, "what it knows of the columns that it is given")
    prior = context.prior
    covariance = np.array(prior.covariance)
    require(len(prior.mean) == len(prior.intervals) == d and covariance.shape == (d, d), "the prior of its points")
    require(all(ends is None or ends[0] < ends[1] for ends in prior.intervals), "the intervals of its prior")
    require(is_covariance(covariance), "the covariance of its prior")
    require(all(0 <= edge < d and prior.intervals[edge] is not None for edge in context.edges), "its edges")
    if (regression := context.regression) is not None:
        known = len(context) + sum(context.gaps)
        shapes = [part.shape for part in (regression.slope, regression.offset, regression.root)]
        require(shapes == [(known, d), (d,), (d, d)], "the shapes of its regression")
        finite = all(np.isfinite(part).all() for part in vars(regression).values())
        require(finite and is_covariance(regression.root), "the numbers of its regression")
    if (novelty := context.novelty) is not None:
        known = len(context) + sum(context.gaps)
        ends = novelty.ends.shape == novelty.tails.shape == (len(context), 2)
        axes = novelty.mean.shape == (known,) and novelty.axes.shape in ((known,), (known, known))
        centres = novelty.centres.ndim == 2 and novelty.centres.shape[1] == known and len(novelty.centres) > 0
        require(ends and axes and centres and novelty.rows > 0, "the shapes of its novelty detector")
        arrays = (novelty.ends, novelty.tails, novelty.mean, novelty.axes, novelty.centres)
        require(all(bool(np.isfinite(part).all()) for part in arrays), "the numbers of its novelty detector")
