"""A wrong start

The denoiser is exact and the steps are many, but the chain starts from N(0, I) while 60 % of the signal is left.
"""

import jax
import numpy as np

import motes
from motes import plots, points
from motes.points import DDIM, ReverseProcess, UniformGrid
from motes.points.schedules import CosineVP

exact = motes.truth("moons")
oracle = exact.oracle(CosineVP(alpha_1=0.6))
process = ReverseProcess(oracle, DDIM(), UniformGrid(steps=200)(oracle.schedule), dim=2)
x, _ = points.sample(process, 20_000, key=jax.random.key(0))
figure = plots.comparison(exact.sample(20_000), np.asarray(x))
figure.savefig(__file__[:-2] + "png", dpi=90)
