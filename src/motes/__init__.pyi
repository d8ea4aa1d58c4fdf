from . import figures
from .data.datasets import dataset
from .data.frames import Frame
from .data.shapes import SHAPES, make_labelled_shape, make_shape
from .data.tables import Standardiser, read_table, write_table
from .data.text_options import TextOptions
from .diagnosis.after import Diagnosis
from .diagnosis.before import diagnose
from .diagnosis.findings import Finding
from .diffusion.continuous import CosineVP, FunctionSchedule, LinearVP, RectifiedFlow
from .diffusion.denoiser import Denoiser
from .diffusion.schedules import DiscreteVP, Schedule, VarianceExploding
from .errors import DataError, ModelFileError, MotesError, RecipeError, TrainingError, UsageError
from .estimator import DiffusionModel
from .evaluation.metrics import Metric, c2st, compare, sliced_w2
from .evaluation.record import Evaluation
from .evaluation.truth import Truth, truth
from .fitting import fit
from .learning.denoisers import NoisePredictor, Preconditioned
from .learning.training import train
from .model import Model, load
from .points import Guidance
from .recipes import Recipe, load_recipe, register
from .sampling.samplers import Sampler, sample

__all__ = [  # noqa: RUF022 - in the order of use
    "SHAPES", "make_shape", "make_labelled_shape", "dataset", "read_table", "write_table", "TextOptions",
    "Standardiser", "DiffusionModel", "Frame",
    "fit", "load", "Model", "Guidance", "Recipe", "load_recipe", "register",
    "Schedule", "DiscreteVP", "LinearVP", "CosineVP", "RectifiedFlow", "VarianceExploding", "FunctionSchedule",
    "Denoiser", "NoisePredictor", "Preconditioned",
    "train", "Sampler", "sample", "sliced_w2", "c2st", "compare", "Metric", "truth", "Truth",
    "Evaluation", "diagnose", "Diagnosis", "Finding", "figures",
    "MotesError", "UsageError", "RecipeError", "DataError", "TrainingError", "ModelFileError",
]  # fmt: skip
