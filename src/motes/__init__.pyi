from . import (
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
from .data.frames import Frame
from .data.points import read_table, write_table
from .data.shapes import SHAPES, make_labelled_shape, make_shape
from .errors import MotesError
from .estimator import DiffusionModel
from .evaluation.metrics import c2st, compare, sliced_w2
from .evaluation.posteriors import calibration
from .fitting import fit
from .loading import load
from .pipeline import diagnose
from .points.guidance import Guidance, Sampling
from .points.model import PointModel
from .points.posterior_model import PosteriorModel
from .points.sampling import sample
from .points.shape_truth import truth
from .points.training import train
from .recipes.loading import load_recipe
from .registering import register
from .tables.model import TableModel
from .text_options import TextOptions
from .training.model import Model
from .training.programs import cache_programs
from .training.recipe import Recipe

__all__ = [
    "SHAPES",
    "DiffusionModel",
    "Frame",
    "Guidance",
    "Model",
    "MotesError",
    "PointModel",
    "PosteriorModel",
    "Recipe",
    "Sampling",
    "TableModel",
    "TextOptions",
    "c2st",
    "cache_programs",
    "calibration",
    "compare",
    "data",
    "dataset",
    "diagnose",
    "errors",
    "evaluation",
    "explorer",
    "fit",
    "load",
    "load_recipe",
    "make_labelled_shape",
    "make_shape",
    "plots",
    "points",
    "read_table",
    "recipes",
    "register",
    "sample",
    "sliced_w2",
    "tables",
    "train",
    "training",
    "truth",
    "write_table",
]
