"""A swiss roll dissolves

The forward process shrinks every point a little and adds a little noise, until nothing of the shape is left.
"""

import numpy as np

import motes
from motes import plots
from motes.data import Standardiser
from motes.points.schedules import CosineVP

x = motes.make_shape("swiss_roll", 8000)
x = Standardiser.fit(x).forward(x)
eps = np.random.default_rng(0).standard_normal(x.shape)
times, schedule = [0.0, 0.05, 0.15, 0.3, 0.5, 1.0], CosineVP()
clouds = [float(schedule.alpha(t)) * x + float(schedule.sigma(t)) * eps for t in times]
figure = plots.row(clouds, times, view=plots.View(limits=(-3.2, 3.2)))
figure.savefig(__file__[:-2] + "png", dpi=90)
