"""A penguin, cell by cell

As its cells become known, one network says how likely each species is: for a Gentoo, a Chinstrap and an Adelie.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import motes

order = ["sex", "body_mass_g", "bill_depth_mm", "flipper_length_mm", "bill_length_mm"]
penguins, ink = motes.dataset("penguins")[["species", *order]], "#f4ead9"
changes = {"table.width": 20, "table.depth": 2, "table.steps": 320}
model = motes.fit(penguins, changes=changes, verbose=False)
figure, axes = plt.subplots(1, 3, figsize=(11, 4), facecolor="#0b0908", layout="constrained", sharey=True)
for ax, row in zip(axes, (200, 300, 60), strict=True):
    frame = pd.concat([penguins.iloc[[row]]] * 6, ignore_index=True).drop(columns="species")
    for k, name in enumerate(order):
        frame[name] = frame[name].astype(object).where(np.arange(6) > k, None)
    p, labels = model.predict_proba(frame, "species")
    for k, colour in enumerate(("#ffb454", "#63b8ff", "#5fd38d")):
        ax.barh(-np.arange(6), p[:, k], left=p[:, :k].sum(axis=1), color=colour, height=0.9, label=labels[k])
    ax.set_yticks(-np.arange(6), ["nothing known", *("+ " + name.replace("_", " ") for name in order)], color=ink)
    ax.set_title(penguins["species"][row], color=ink)
    ax.set(facecolor="#0b0908", xticks=[], xlim=(0, 1))
    ax.spines[:].set_visible(False)
figure.legend(*ax.get_legend_handles_labels(), ncols=3, loc="outside lower center", labelcolor=ink, frameon=False)
figure.savefig(__file__[:-2] + "png", dpi=100)
