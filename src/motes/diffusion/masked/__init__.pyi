from ._bound import Bound, continuous_loss, discrete_bound, order_agnostic_loss, step_loss
from ._denoiser import MaskedDenoiser
from ._oracles import EnumeratedOracle, MaskedOracle, ProductMixtureOracle
from ._process import (
    MASK,
    chain_log_prob,
    q_posterior,
    q_sample,
    q_transition,
    reverse_step,
    sample_by_schedule,
    sample_in_order,
)
from ._schedules import CosineMasking, LinearMasking, MaskedSchedule, PolynomialMasking

__all__ = [
    "MASK",
    "Bound",
    "CosineMasking",
    "EnumeratedOracle",
    "LinearMasking",
    "MaskedDenoiser",
    "MaskedOracle",
    "MaskedSchedule",
    "PolynomialMasking",
    "ProductMixtureOracle",
    "chain_log_prob",
    "continuous_loss",
    "discrete_bound",
    "order_agnostic_loss",
    "q_posterior",
    "q_sample",
    "q_transition",
    "reverse_step",
    "sample_by_schedule",
    "sample_in_order",
    "step_loss",
]
