"""Gaussian diffusion of points, from the noise schedule to the trained model.

A schedule defines how points become noise (`schedules`, `process`). A denoiser with a network (`denoisers`,
`networks`) estimates a point from its noisy copy; training (`training`) minimises a loss at random times (`losses`,
`times`). A sampler turns noise into points along a grid of times (`sampling`, `samplers`). The other modules build
on these: exact denoisers, guidance, likelihoods, conditions, posteriors, and the trained models.

`Draw` lists the ways to draw the times of a batch. All parts are in the modules; this package exports those that
most programs need.
"""

from motes.points.denoisers import Denoiser, Given, NoisePredictor, Preconditioned
from motes.points.exact import EmpiricalOracle, GaussianOracle, Oracle
from motes.points.guidance import Guidance, Sampling
from motes.points.likelihood import log_likelihood
from motes.points.losses import EDM, Simple
from motes.points.model import PointModel
from motes.points.networks import ResidualMLP, StepGatedMLP
from motes.points.particles import conditional_rows, conditional_sample
from motes.points.posterior_model import PosteriorModel
from motes.points.process import q_posterior, q_sample, q_transition
from motes.points.recipe import PointRecipe, Prediction
from motes.points.samplers import DDIM, Ancestral, DPMSolver3M, Heun
from motes.points.sampling import KarrasGrid, ReverseProcess, Sampler, UniformGrid, sample
from motes.points.schedules import Betas, DiscreteVP, LinearBetas, RectifiedFlow, Schedule, VarianceExploding
from motes.points.shape_truth import Truth, truth
from motes.points.times import Draw, LogNormalTimes, StepTimes, Times
from motes.points.training import Rows, Training, train
from motes.points.variance import variational_bound

__all__ = [
    "DDIM", "EDM", "Ancestral", "Betas", "DPMSolver3M", "Denoiser", "DiscreteVP", "Draw", "EmpiricalOracle",
    "GaussianOracle", "Given", "Guidance", "Heun", "KarrasGrid", "LinearBetas", "LogNormalTimes", "NoisePredictor",
    "Oracle", "PointModel", "PointRecipe", "PosteriorModel", "Preconditioned", "Prediction", "RectifiedFlow",
    "ResidualMLP", "ReverseProcess", "Rows", "Sampler", "Sampling", "Schedule", "Simple", "StepGatedMLP",
    "StepTimes", "Times", "Training", "Truth", "UniformGrid", "VarianceExploding", "conditional_rows",
    "conditional_sample", "log_likelihood", "q_posterior", "q_sample", "q_transition", "sample", "train", "truth",
    "variational_bound",
]  # fmt: skip
