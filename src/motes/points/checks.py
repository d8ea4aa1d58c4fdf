"""Build a model of points from the parts of its file, after checking them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motes.data import Standardiser, Support
from motes.data.frames import KEY
from motes.data.points import MOST, Classes
from motes.data.records import check_types
from motes.points.model import GaussianModel, PointModel, skeleton_of
from motes.points.posterior import Context
from motes.points.posterior_model import PosteriorModel
from motes.points.recipe import PointRecipe
from motes.training.checkpoints import filled, reading
from motes.training.model import is_covariance, read_provenance, require

LARGEST = 1e300  # largest mean or scale, so that values several scales away are still finite


def point_model_of_parts(tensors: dict[str, NDArray[Any]], about: Mapping[str, str], path: Path) -> GaussianModel:
    """Restore a model from `GaussianModel.parts`, with any additions of `Model.save`, from the file `path`.

    Raises:
        ModelFileError: the arrays and texts are not a model of points.
    """
    tensors = {name: array for name, array in tensors.items() if name != KEY}
    with reading(path):
        provenance, length = read_provenance(about)
        recipe = PointRecipe.parse(json.loads(about["recipe"]), "its recipe")
        columns = checked_columns(about["columns"])
        standardiser = checked_units(tensors, columns)
        dim = int(standardiser.varies.sum())
        classes, context = _parse_classes(about), _parse_context(tensors, about, columns, dim)
        check_network(recipe, len(tensors))
        denoiser = filled(skeleton_of(recipe, dim, classes, context), tensors, path)
    kind = PointModel if context is None else PosteriorModel
    model = kind(denoiser, standardiser, columns, recipe, classes=classes, context=context, provenance=provenance)
    model.folder, model.length = path.parent, length
    return model


def _parse_classes(about: Mapping[str, str]) -> Classes | None:
    labels = json.loads(about["classes"])
    if not labels:
        return None
    classes = Classes.from_dict(labels)
    check_classes(classes)
    return classes


def _parse_context(
    tensors: dict[str, NDArray[Any]], about: Mapping[str, str], columns: Sequence[str], dim: int
) -> Context | None:
    """Build the context from texts and arrays, which are removed from `tensors`."""
    observed = about.get("context", "null")
    if observed == "null":
        return None
    names = [name for name in tensors if name.startswith("context.")]
    context = Context.from_state(observed, {name.removeprefix("context."): tensors.pop(name) for name in names})
    check_context(context, columns, dim)
    return context


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
    require(0 < len(context) == len({*names}) and not {*names} & {*columns}, "the columns that it is given")
    alike = len(context.curves) == len(context.has_missing) == len(context)
    require(alike, "what it knows of the columns that it is given")
    prior = context.prior
    covariance = np.array(prior.covariance)
    require(len(prior.mean) == len(prior.intervals) == d and covariance.shape == (d, d), "the prior of its points")
    require(all(ends is None or ends[0] < ends[1] for ends in prior.intervals), "the intervals of its prior")
    require(is_covariance(covariance), "the covariance of its prior")
    require(all(0 <= edge < d and prior.intervals[edge] is not None for edge in context.edges), "its edges")
    if (regression := context.regression) is not None:
        known = len(context) + sum(context.has_missing)
        shapes = [part.shape for part in (regression.slope, regression.offset, regression.residual_scale)]
        require(shapes == [(known, d), (d,), (d, d)], "the shapes of its regression")
        finite = all(np.isfinite(part).all() for part in vars(regression).values())
        require(finite and is_covariance(regression.residual_scale), "the numbers of its regression")
    if (novelty := context.novelty) is not None:
        known = len(context) + sum(context.has_missing)
        ends = novelty.ends.shape == novelty.tails.shape == (len(context), 2)
        axes = novelty.mean.shape == (known,) and novelty.axes.shape in ((known,), (known, known))
        centres = novelty.centres.ndim == 2 and novelty.centres.shape[1] == known and len(novelty.centres) > 0
        require(ends and axes and centres and novelty.rows > 0, "the shapes of its novelty detector")
        arrays = (novelty.ends, novelty.tails, novelty.mean, novelty.axes, novelty.centres)
        require(all(bool(np.isfinite(part).all()) for part in arrays), "the numbers of its novelty detector")
