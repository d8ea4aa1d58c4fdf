from ._bounds import Bound, variational_bound
from ._conditions import AnyConditional, Conditions
from ._course import Trained
from ._denoisers import (
    LearnedVariance,
    NoisePredictor,
    Preconditioned,
    Prediction,
    VelocityPredictor,
    VPredictor,
    X0Predictor,
)
from ._losses import EDM, ELBO, SNR, X0, Hybrid, MinSNR, Simple, TruncatedSNR, Weighted
from ._networks import ResidualMLP, StepGatedMLP
from ._options import Training
from ._programs import cache_programs
from ._rows import Rows
from ._times import Draw, LogitNormalTimes, LogNormalTimes, StepTimes, Times, UniformTimes
from ._training import train

__all__ = [
    "EDM",
    "ELBO",
    "SNR",
    "X0",
    "AnyConditional",
    "Bound",
    "Conditions",
    "Draw",
    "Hybrid",
    "LearnedVariance",
    "LogNormalTimes",
    "LogitNormalTimes",
    "MinSNR",
    "NoisePredictor",
    "Preconditioned",
    "Prediction",
    "ResidualMLP",
    "Rows",
    "Simple",
    "StepGatedMLP",
    "StepTimes",
    "Times",
    "Trained",
    "Training",
    "TruncatedSNR",
    "UniformTimes",
    "VPredictor",
    "VelocityPredictor",
    "Weighted",
    "X0Predictor",
    "cache_programs",
    "train",
    "variational_bound",
]
