"""What the rest of the row says

Each line is what a model of the table says of a penguin's bill given its other cells (50 and 90 %); dots are the truth.
"""

import matplotlib.pyplot as plt
import numpy as np

import motes
from motes.explorer.subjects import Shelf

penguins = motes.dataset("penguins").dropna().sample(110, random_state=0)
said = Shelf().table("penguins").model.predict(penguins, "bill_length_mm", quantiles=(0.05, 0.25, 0.5, 0.75, 0.95))
order = np.argsort(said["q0.5"].to_numpy())
rows, truth = said.iloc[order], penguins["bill_length_mm"].to_numpy()[order]
x, ink = np.arange(len(rows)), "#f4ead9"
figure, ax = plt.subplots(figsize=(10, 4.6), facecolor="#0b0908", layout="constrained")
ax.vlines(x, rows["q0.05"], rows["q0.95"], color="#ffb454", lw=2, alpha=0.4)
ax.vlines(x, rows["q0.25"], rows["q0.75"], color="#ffb454", lw=4.5)
ax.scatter(x, truth, color="#63b8ff", s=22, zorder=3, edgecolor="#0b0908", linewidths=0.6)
ax.set(facecolor="#0b0908", xticks=[])
ax.set_ylabel("bill length, mm", color=ink)
ax.tick_params(colors=ink)
ax.spines[:].set_visible(False)
figure.savefig(__file__[:-2] + "png", dpi=100)
