"""Every sampler by its name in recipes, on the command line and in `Model.sample`."""

from motes.sampling import _chains as chains
from motes.sampling import _diffusion as diffusion
from motes.sampling import _dpm as dpm
from motes.sampling import _flow as flow
from motes.sampling import _langevin as langevin
from motes.sampling._chains import DDIM, Ancestral
from motes.sampling._diffusion import Churn, EulerMaruyama, StochasticHeun
from motes.sampling._dpm import DPMSolver1S, DPMSolver2M, DPMSolver2MSDE, DPMSolver2S, DPMSolver3M
from motes.sampling._flow import Adaptive, Euler, GradientEstimation, Heun
from motes.sampling._langevin import AnnealedLangevin, PredictorCorrector
from motes.sampling._loop import BLOCK, ReverseProcess, Sampler, State, sample

SAMPLERS: dict[str, type[Sampler]] = {
    **chains.SAMPLERS,
    **flow.SAMPLERS,
    **dpm.SAMPLERS,
    **diffusion.SAMPLERS,
    **langevin.SAMPLERS,
}

__all__ = [
    "BLOCK",
    "DDIM",
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
    "Heun",
    "PredictorCorrector",
    "ReverseProcess",
    "Sampler",
    "State",
    "StochasticHeun",
    "sample",
]
