"""Diffusion models for points and tables, from a 2-D toy to 200 mixed columns.

    import motes

    model = motes.fit(motes.make_shape("swiss_roll", 10_000))  # points: Gaussian diffusion
    model.sample(10_000)

    model = motes.fit("penguins")  # a table, by name, from a file or in memory: masked diffusion
    model.sample(5, given={"species": "Gentoo"}).to_pandas()

Names load on first use, so that `import motes` costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from motes.data.datasets import dataset
    from motes.data.frames import Frame
    from motes.data.shapes import SHAPES, make_labelled_shape, make_shape
    from motes.data.tables import Standardiser, read_table, write_table
    from motes.data.text_options import TextOptions
    from motes.diagnosis.after import Diagnosis
    from motes.diagnosis.before import diagnose
    from motes.diagnosis.findings import Finding
    from motes.diffusion.continuous import CosineVP, FunctionSchedule, LinearVP, RectifiedFlow
    from motes.diffusion.denoiser import Denoiser
    from motes.diffusion.schedules import DiscreteVP, Schedule, VarianceExploding
    from motes.errors import DataError, ModelFileError, MotesError, RecipeError, TrainingError, UsageError
    from motes.estimator import DiffusionModel
    from motes.evaluation.metrics import Metric, c2st, compare, sliced_w2
    from motes.evaluation.record import Evaluation
    from motes.evaluation.truth import Truth, truth
    from motes.fitting import fit
    from motes.learning.denoisers import NoisePredictor, Preconditioned
    from motes.learning.training import train
    from motes.model import Model, load
    from motes.points import Guidance
    from motes.recipes import Recipe, load_recipe, register
    from motes.sampling.samplers import Sampler, sample

_HOME = {
    "dataset": "data.datasets",
    "SHAPES": "data.shapes",
    "make_shape": "data.shapes",
    "make_labelled_shape": "data.shapes",
    "Standardiser": "data.tables",
    "read_table": "data.tables",
    "write_table": "data.tables",
    "TextOptions": "data.text_options",
    "DiscreteVP": "diffusion.schedules",
    "Schedule": "diffusion.schedules",
    "VarianceExploding": "diffusion.schedules",
    "LinearVP": "diffusion.continuous",
    "CosineVP": "diffusion.continuous",
    "RectifiedFlow": "diffusion.continuous",
    "FunctionSchedule": "diffusion.continuous",
    "Diagnosis": "diagnosis.after",
    "Finding": "diagnosis.findings",
    "diagnose": "diagnosis.before",
    "DataError": "errors",
    "ModelFileError": "errors",
    "MotesError": "errors",
    "RecipeError": "errors",
    "TrainingError": "errors",
    "UsageError": "errors",
    "Metric": "evaluation.metrics",
    "c2st": "evaluation.metrics",
    "compare": "evaluation.metrics",
    "sliced_w2": "evaluation.metrics",
    "Truth": "evaluation.truth",
    "truth": "evaluation.truth",
    "Evaluation": "evaluation.record",
    "Denoiser": "diffusion.denoiser",
    "NoisePredictor": "learning.denoisers",
    "Preconditioned": "learning.denoisers",
    "train": "learning.training",
    "Model": "model",
    "fit": "fitting",
    "load": "model",
    "Guidance": "points",
    "Frame": "data.frames",
    "DiffusionModel": "estimator",
    "Recipe": "recipes",
    "load_recipe": "recipes",
    "register": "recipes",
    "Sampler": "sampling.samplers",
    "sample": "sampling.samplers",
}

__all__ = [  # noqa: RUF022 - in the order of use
    "SHAPES", "make_shape", "make_labelled_shape", "dataset", "read_table", "write_table", "TextOptions",
    "Standardiser", "DiffusionModel", "Frame",
    "fit", "load", "Model", "Guidance", "Recipe", "load_recipe", "register",
    "Schedule", "DiscreteVP", "LinearVP", "CosineVP", "RectifiedFlow", "VarianceExploding", "FunctionSchedule",
    "Denoiser", "NoisePredictor", "Preconditioned",
    "train", "Sampler", "sample", "sliced_w2", "c2st", "compare", "Metric", "truth", "Truth",
    "Evaluation", "diagnose", "Diagnosis", "Finding",
    "MotesError", "UsageError", "RecipeError", "DataError", "TrainingError", "ModelFileError",
]  # fmt: skip


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("motes")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
