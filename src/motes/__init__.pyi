from . import figures
from ._estimator import DiffusionModel
from ._fitting import fit
from ._model import Model, load
from .data._datasets import dataset
from .data._frames import Frame
from .data._shapes import SHAPES, make_labelled_shape, make_shape
from .data._tables import Standardiser, read_table, write_table
from .data._text_options import TextOptions
from .diagnosis._after import Diagnosis
from .diagnosis._before import diagnose
from .diagnosis._findings import Finding
from .diffusion._continuous import CosineVP, FunctionSchedule, LinearVP, RectifiedFlow
from .diffusion._denoiser import Denoiser
from .diffusion._schedules import DiscreteVP, Schedule, VarianceExploding
from .errors import DataError, ModelFileError, MotesError, RecipeError, TrainingError, UsageError
from .evaluation._metrics import Metric, c2st, compare, sliced_w2
from .evaluation._record import Evaluation
from .evaluation._truth import Truth, truth
from .learning._denoisers import NoisePredictor, Preconditioned
from .learning._options import Training
from .learning._rows import Rows
from .learning._training import train
from .recipes import Recipe, load_recipe, register
from .sampling._guidance import Guidance
from .sampling._options import Sampling
from .sampling._samplers import ReverseProcess, Sampler, sample

__all__ = [  # noqa: RUF022 - in the order of use
    "SHAPES", "make_shape", "make_labelled_shape", "dataset", "read_table", "write_table", "TextOptions",
    "Standardiser", "DiffusionModel", "Frame",
    "fit", "load", "Model", "Sampling", "Guidance", "Recipe", "load_recipe", "register",
    "Schedule", "DiscreteVP", "LinearVP", "CosineVP", "RectifiedFlow", "VarianceExploding", "FunctionSchedule",
    "Denoiser", "NoisePredictor", "Preconditioned",
    "train", "Training", "Rows", "Sampler", "ReverseProcess", "sample",
    "sliced_w2", "c2st", "compare", "Metric", "truth", "Truth",
    "Evaluation", "diagnose", "Diagnosis", "Finding", "figures",
    "MotesError", "UsageError", "RecipeError", "DataError", "TrainingError", "ModelFileError",
]  # fmt: skip
