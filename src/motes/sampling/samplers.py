"""The room's door: every sampler by name, and the loop that they run in."""

from motes.sampling import chains, diffusion, dpm, flow, langevin
from motes.sampling.chains import DDIM, Ancestral
from motes.sampling.diffusion import Churn, EulerMaruyama, StochasticHeun
from motes.sampling.dpm import DPMSolver1S, DPMSolver2M, DPMSolver2MSDE, DPMSolver2S, DPMSolver3M
from motes.sampling.flow import Adaptive, Euler, GradientEstimation, Heun
from motes.sampling.langevin import AnnealedLangevin, PredictorCorrector
from motes.sampling.loop import BLOCK, Sampler, State, sample

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
    "Sampler",
    "State",
    "StochasticHeun",
    "sample",
]
