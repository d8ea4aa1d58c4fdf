"""A word out of noise

The exact denoiser of any drawing is known: here the drawing is a word, and the flow takes noise to it.
"""

import jax
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.path import Path
from matplotlib.textpath import TextPath

from motes import plots, points
from motes.points import EmpiricalOracle, Heun, KarrasGrid, ReverseProcess, VarianceExploding

corners = np.stack(np.meshgrid(np.linspace(0, 3.3, 270), np.linspace(-0.1, 0.9, 82)), axis=-1).reshape(-1, 2)
outlines = TextPath((0, 0), "motes", size=1).to_polygons()
inside = corners[sum(Path(one).contains_points(corners).astype(int) for one in outlines) % 2 == 1]
atoms = (inside - inside.mean(axis=0)) / inside.std(axis=0).max() * 1.2
oracle = EmpiricalOracle(atoms, VarianceExploding(sigma_max=10.0), spread=[0.012, 0.012])
grid = KarrasGrid(steps=40, sigma_min=0.01)(oracle.schedule)
process, places = ReverseProcess(oracle, Heun(), grid, dim=2), [19, 27, 32, 40]
_, chain = points.sample(process, 8000, key=jax.random.key(0), record=places)
figure, axes = plt.subplots(4, 1, figsize=(7, 8.4), facecolor="#0b0908")
figure.subplots_adjust(0, 0, 1, 1, 0, 0)
for ax, x, place in zip(axes, chain, places, strict=True):
    zoom = np.sqrt(1 + float(oracle.schedule.sigma(grid[place])) ** 2)
    plots.scatter(x / zoom, ax=ax, limits=((-2.4, 2.4), (-0.72, 0.72)))
figure.savefig(__file__[:-2] + "png", dpi=110)
