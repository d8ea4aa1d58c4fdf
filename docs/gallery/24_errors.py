"""Where the model is wrong

Real points, coloured by what the model makes of their log-density: amber too likely, blue too unlikely, dark right.
"""

import matplotlib.pyplot as plt
from matplotlib.colors import LinearSegmentedColormap

import motes
from motes.explorer.subjects import Shelf

model, exact = Shelf().subject("two_spirals").model, motes.truth("two_spirals")
x = exact.sample(6000)
error = model.score_samples(x) - exact.log_density(x)
colours = LinearSegmentedColormap.from_list("error", ["#63b8ff", "#2c3f52", "#1c1815", "#5a3d1c", "#ffb454"])
figure, ax = plt.subplots(figsize=(7, 6.4), facecolor="#0b0908", layout="constrained")
shown = ax.scatter(*x.T, c=error, s=9, cmap=colours, vmin=-0.5, vmax=0.5, linewidths=0)
bar = figure.colorbar(shown, ax=ax, shrink=0.6, label="learned - exact log p, nats")
bar.ax.tick_params(colors="#f4ead9")
bar.ax.yaxis.label.set_color("#f4ead9")
ax.set(aspect="equal")
ax.set_axis_off()
figure.savefig(__file__[:-2] + "png", dpi=110)
