from . import (
    data,
    diagnosis,
    diffusion,
    errors,
    evaluation,
    explorer,
    learning,
    models,
    plots,
    recipes,
    runs,
    sampling,
    tables,
)
from ._estimator import DiffusionModel
from ._fitting import fit
from .data._datasets import dataset
from .data._frames import Frame
from .data._points import read_table, write_table
from .data._shapes import SHAPES, make_labelled_shape, make_shape
from .data._text_options import TextOptions
from .diagnosis._before import diagnose
from .diagnosis._calibration import calibration
from .errors import MotesError
from .evaluation._metrics import c2st, compare, sliced_w2
from .evaluation._truth import truth
from .learning._programs import cache_programs
from .learning._training import train
from .models._loading import load
from .models._model import Model
from .models._points import PointModel
from .models._posteriors import PosteriorModel
from .models._tables import TableModel
from .recipes import Recipe, load_recipe, register
from .sampling._guidance import Guidance
from .sampling._loop import sample
from .sampling._options import Sampling

__all__ = [  # noqa: RUF022 - in the order of use
    "SHAPES", "make_shape", "make_labelled_shape", "dataset", "read_table", "write_table", "TextOptions", "Frame",
    "fit", "load", "Model", "PointModel", "PosteriorModel", "TableModel",
    "DiffusionModel", "Sampling", "Guidance", "Recipe", "load_recipe", "register",
    "train", "sample", "sliced_w2", "c2st", "compare", "truth", "diagnose", "calibration",
    "cache_programs", "MotesError",
    # the rooms, each with its own door
    "data", "tables", "diffusion", "learning", "sampling", "evaluation", "plots", "recipes", "models",
    "diagnosis", "runs", "explorer", "errors",
]  # fmt: skip
