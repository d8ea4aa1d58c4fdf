from ._chains import DDIM, Ancestral
from ._diffusion import Churn, EulerMaruyama, StochasticHeun
from ._divergence import Hutchinson
from ._dpm import DPMSolver1S, DPMSolver2M, DPMSolver2MSDE, DPMSolver2S, DPMSolver3M
from ._flow import Adaptive, Euler, GradientEstimation, Heun
from ._grids import GRIDS, KarrasGrid, LogSNRGrid, QuadraticGrid, UniformGrid
from ._guidance import Guidance, Guided
from ._langevin import AnnealedLangevin, PredictorCorrector
from ._likelihood import Likelihood, log_likelihood
from ._loop import ReverseProcess, Sampler, sample
from ._options import Sampling
from ._particles import conditional_rows, conditional_sample
from ._samplers import SAMPLERS

__all__ = [
    "DDIM",
    "GRIDS",
    "SAMPLERS",
    "Adaptive",
    "Ancestral",
    "AnnealedLangevin",
    "Churn",
    "DPMSolver1S",
    "DPMSolver2M",
    "DPMSolver2MSDE",
    "DPMSolver2S",
    "DPMSolver3M",
    "Euler",
    "EulerMaruyama",
    "GradientEstimation",
    "Guidance",
    "Guided",
    "Heun",
    "Hutchinson",
    "KarrasGrid",
    "Likelihood",
    "LogSNRGrid",
    "PredictorCorrector",
    "QuadraticGrid",
    "ReverseProcess",
    "Sampler",
    "Sampling",
    "StochasticHeun",
    "UniformGrid",
    "conditional_rows",
    "conditional_sample",
    "log_likelihood",
    "sample",
]
