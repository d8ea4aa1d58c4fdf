from . import (
    cluster,
    course,
    data,
    errors,
    evaluation,
    explorer,
    plots,
    points,
    recipes,
    tables,
    training,
)
from .data.datasets import dataset
from .data.shapes import make_shape
from .errors import MotesError
from .estimator import DiffusionModel
from .evaluation.metrics import c2st, compare, sliced_w2
from .evaluation.posteriors import calibration
from .fitting import diagnose, fit
from .loading import load
from .points.guidance import Guidance, Sampling
from .points.model import PointModel
from .points.posterior_model import PosteriorModel
from .points.shape_truth import truth
from .recipes import load_recipe
from .registering import register
from .sweeping import sweep
from .tables.model import TableModel
from .tables.pooling import pool
from .training.model import Model
from .training.recipe import Recipe

__all__ = [
    "DiffusionModel",
    "Guidance",
    "Model",
    "MotesError",
    "PointModel",
    "PosteriorModel",
    "Recipe",
    "Sampling",
    "TableModel",
    "c2st",
    "calibration",
    "cluster",
    "compare",
    "course",
    "data",
    "dataset",
    "diagnose",
    "errors",
    "evaluation",
    "explorer",
    "fit",
    "load",
    "load_recipe",
    "make_shape",
    "plots",
    "points",
    "pool",
    "recipes",
    "register",
    "sliced_w2",
    "sweep",
    "tables",
    "training",
    "truth",
]
