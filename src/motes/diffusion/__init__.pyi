from ._blurred_oracles import BoxesOracle, EmpiricalOracle
from ._continuous import CosineVP, FunctionSchedule, LinearVP, RectifiedFlow, VarianceExploding
from ._denoiser import Denoiser, Given, VarianceDenoiser
from ._discrete import Betas, CosineBetas, DiscreteVP, LinearBetas, QuadBetas, SigmoidBetas
from ._knots import KnotSchedule
from ._labelled import LabelledOracle
from ._oracles import GaussianOracle, MixtureOracle, Oracle
from ._process import (
    Gaussian,
    eps_from_v,
    eps_from_velocity,
    eps_from_x0,
    q_posterior,
    q_sample,
    q_transition,
    score_from_x0,
    v_from_x0,
    velocity_from_x0,
    x0_from_eps,
    x0_from_score,
    x0_from_v,
    x0_from_velocity,
)
from ._schedules import Schedule

__all__ = [
    "Betas",
    "BoxesOracle",
    "CosineBetas",
    "CosineVP",
    "Denoiser",
    "DiscreteVP",
    "EmpiricalOracle",
    "FunctionSchedule",
    "Gaussian",
    "GaussianOracle",
    "Given",
    "KnotSchedule",
    "LabelledOracle",
    "LinearBetas",
    "LinearVP",
    "MixtureOracle",
    "Oracle",
    "QuadBetas",
    "RectifiedFlow",
    "Schedule",
    "SigmoidBetas",
    "VarianceDenoiser",
    "VarianceExploding",
    "eps_from_v",
    "eps_from_velocity",
    "eps_from_x0",
    "q_posterior",
    "q_sample",
    "q_transition",
    "score_from_x0",
    "v_from_x0",
    "velocity_from_x0",
    "x0_from_eps",
    "x0_from_score",
    "x0_from_v",
    "x0_from_velocity",
]
