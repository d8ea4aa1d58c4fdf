"""Noise schedules

Six schedules lead from data to noise; what distinguishes them is how long they stay at each signal-to-noise ratio.
"""

import matplotlib.pyplot as plt
import numpy as np

from motes.points import LinearBetas, RectifiedFlow, VarianceExploding
from motes.points.schedules import CosineBetas, CosineVP, QuadBetas

schedules = {
    "linear betas": LinearBetas().schedule(),
    "quadratic betas": QuadBetas().schedule(),
    "cosine betas": CosineBetas().schedule(),
    "cosine": CosineVP(),
    "rectified flow": RectifiedFlow(),
    "exploding": VarianceExploding(sigma_max=80.0),
}
t, ink = np.linspace(0.004, 1, 400), "#f4ead9"
figure, ax = plt.subplots(figsize=(8, 5), layout="constrained", facecolor="#0b0908")
for place, (name, schedule) in enumerate(schedules.items()):
    ax.plot(t, schedule.log_snr(t), lw=2.6, label=name, color=plt.colormaps["plasma"](0.2 + 0.14 * place))
ax.set(facecolor="#0b0908", xlabel="time, 0 data to 1 noise", ylabel="log signal-to-noise ratio, nats", ylim=(-10, 12))
ax.tick_params(colors=ink)
for text in (ax.xaxis.label, ax.yaxis.label, *ax.legend(frameon=False).get_texts()):
    text.set_color(ink)
figure.savefig(__file__[:-2] + "png", dpi=110)
