"""Gaussian diffusion of points, from the noise schedule to the trained model.

A schedule defines how points become noise (`schedules`, `process`). A denoiser with a network (`denoisers`,
`networks`) estimates a point from its noisy copy; training (`training`) minimises a loss at random times (`losses`,
`times`). A sampler turns noise into points along a grid of times (`sampling`, `samplers`). The other modules build
on these: exact denoisers, guidance, likelihoods, conditions, posteriors, and the trained models.

`SAMPLERS` maps names to sampler classes; `Draw` lists the ways to draw the times of a batch.
"""

from motes.points.denoisers import (
    Denoiser,
    Given,
    NoisePredictor,
    Preconditioned,
    VelocityPredictor,
    VPredictor,
    X0Predictor,
)
from motes.points.exact import EmpiricalOracle, GaussianOracle, LabelledOracle, MixtureOracle, Oracle
from motes.points.guidance import Guidance, Guided, Sampling
from motes.points.likelihood import log_likelihood
from motes.points.losses import EDM, Simple, Weighted
from motes.points.model import PointModel
from motes.points.networks import ResidualMLP, StepGatedMLP
from motes.points.particles import conditional_rows, conditional_sample
from motes.points.posterior_model import PosteriorModel
from motes.points.process import (
    q_sample,
)
from motes.points.recipe import PointRecipe, Prediction
from motes.points.samplers import (
    DDIM,
    SAMPLERS,
    Adaptive,
    Ancestral,
    AnnealedLangevin,
    Churn,
    DPMSolver2M,
    DPMSolver2MSDE,
    DPMSolver2S,
    DPMSolver3M,
    Euler,
    EulerMaruyama,
    GradientEstimation,
    Heun,
    PredictorCorrector,
    StochasticHeun,
)
from motes.points.sampling import (
    KarrasGrid,
    LogSNRGrid,
    ReverseProcess,
    Sampler,
    UniformGrid,
    sample,
)
from motes.points.schedules import (
    Betas,
    CosineBetas,
    CosineVP,
    DiscreteVP,
    LinearBetas,
    LinearVP,
    QuadBetas,
    RectifiedFlow,
    Schedule,
    SigmoidBetas,
    VarianceExploding,
)
from motes.points.shape_truth import Truth, truth
from motes.points.times import Draw, LogNormalTimes, StepTimes, Times, UniformTimes
from motes.points.training import Rows, Training, train
from motes.points.variance import Hybrid, variational_bound

__all__ = [
    "DDIM",
    "EDM",
    "SAMPLERS",
    "Adaptive",
    "Ancestral",
    "AnnealedLangevin",
    "Betas",
    "Churn",
    "CosineBetas",
    "CosineVP",
    "DPMSolver2M",
    "DPMSolver2MSDE",
    "DPMSolver2S",
    "DPMSolver3M",
    "Denoiser",
    "DiscreteVP",
    "Draw",
    "EmpiricalOracle",
    "Euler",
    "EulerMaruyama",
    "GaussianOracle",
    "Given",
    "GradientEstimation",
    "Guidance",
    "Guided",
    "Heun",
    "Hybrid",
    "KarrasGrid",
    "LabelledOracle",
    "LinearBetas",
    "LinearVP",
    "LogNormalTimes",
    "LogSNRGrid",
    "MixtureOracle",
    "NoisePredictor",
    "Oracle",
    "PointModel",
    "PointRecipe",
    "PosteriorModel",
    "Preconditioned",
    "Prediction",
    "PredictorCorrector",
    "QuadBetas",
    "RectifiedFlow",
    "ResidualMLP",
    "ReverseProcess",
    "Rows",
    "Sampler",
    "Sampling",
    "Schedule",
    "SigmoidBetas",
    "Simple",
    "StepGatedMLP",
    "StepTimes",
    "StochasticHeun",
    "Times",
    "Training",
    "Truth",
    "UniformGrid",
    "UniformTimes",
    "VPredictor",
    "VarianceExploding",
    "VelocityPredictor",
    "Weighted",
    "X0Predictor",
    "conditional_rows",
    "conditional_sample",
    "log_likelihood",
    "q_sample",
    "sample",
    "train",
    "truth",
    "variational_bound",
]
