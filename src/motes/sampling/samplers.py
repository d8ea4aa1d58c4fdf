"""The room's door: every sampler by name, and the loop that they run in."""

from motes.sampling.chains import DDIM, Ancestral
from motes.sampling.diffusion import Churn, EulerMaruyama, StochasticHeun
from motes.sampling.dpm import DPMSolver1S, DPMSolver2M, DPMSolver2MSDE, DPMSolver2S, DPMSolver3M
from motes.sampling.flow import Adaptive, Euler, GradientEstimation, Heun
from motes.sampling.langevin import AnnealedLangevin, PredictorCorrector
from motes.sampling.loop import BLOCK, Sampler, State, sample

SAMPLERS: dict[str, type[Sampler]] = {
    "ancestral": Ancestral,
    "ddim": DDIM,
    "euler": Euler,
    "heun": Heun,
    "gradient_estimation": GradientEstimation,
    "adaptive": Adaptive,
    "dpmpp_1s": DPMSolver1S,
    "dpmpp_2s": DPMSolver2S,
    "dpmpp_2m": DPMSolver2M,
    "dpmpp_3m": DPMSolver3M,
    "dpmpp_2m_sde": DPMSolver2MSDE,
    "euler_maruyama": EulerMaruyama,
    "stochastic_heun": StochasticHeun,
    "churn": Churn,
    "predictor_corrector": PredictorCorrector,
    "langevin": AnnealedLangevin,
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
