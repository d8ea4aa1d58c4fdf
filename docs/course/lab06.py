# ---
# jupyter:
#   jupytext:
#     cell_metadata_filter: -all
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Lab 6: Score, noise, velocity and clean point
#
# **Goal.** See that a diffusion model learns one thing under four names, and compute it exactly, without a network, for
# data of your choice. Then see what a network should predict, and why it is good that a network never matches the exact
# denoiser of its training rows.
#
# You need [lab 2](lab02.py), the forward process, and [lab 3](lab03.py), the loss.

# The next cell installs motes from the checkout that contains this file. Skip it if `import motes` works for you. On
# Colab, upload the checkout first.

# %%
# %pip install -q -e ../..

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import motes
from motes import plots
from motes.course import check, hint, solution
from motes.points import EmpiricalOracle, Heun, KarrasGrid, NoisePredictor, ReverseProcess
from motes.points.denoisers import VPredictor, X0Predictor
from motes.points.schedules import CosineVP

LIGHT = plots.STYLES["light"]  # blue is real or exact, amber is learned

# %% [markdown]
# ## 1. What a squared error learns
#
# Noise a point, $\mathbf{x}_t = \alpha_t\mathbf{x}_0 + \sigma_t\boldsymbol\epsilon$, show $\mathbf{x}_t$ to a network
# $\mathbf{f}$, and ask for $\mathbf{x}_0$. Many different $\mathbf{x}_0$ lead to the same $\mathbf{x}_t$, so the
# network cannot be right every time. What is the best it can say?
#
# Write $\mathbf{m}(\mathbf{x}_t) = \mathbb{E}[\mathbf{x}_0 \mid \mathbf{x}_t]$ for the mean of all the $\mathbf{x}_0$
# that lead to $\mathbf{x}_t$. Add and subtract it inside the loss:
#
# $$\mathbb{E}\|\mathbf{x}_0 - \mathbf{f}\|^2
# = \mathbb{E}\|\mathbf{x}_0 - \mathbf{m}\|^2
# + 2\,\mathbb{E}\big[(\mathbf{x}_0 - \mathbf{m})\cdot(\mathbf{m} - \mathbf{f})\big]
# + \mathbb{E}\|\mathbf{m} - \mathbf{f}\|^2.$$
#
# The middle term is 0: take the average for one fixed $\mathbf{x}_t$ first. Then $\mathbf{m} - \mathbf{f}$ is a
# constant, and the average of $\mathbf{x}_0 - \mathbf{m}$ is 0 by the definition of $\mathbf{m}$. The first term does
# not contain the network. So the loss is smallest for $\mathbf{f} = \mathbf{m}$: **a network trained with a squared
# error learns the conditional mean** of whatever you ask it for, and what remains of the loss,
# $\mathbb{E}\|\mathbf{x}_0 - \mathbf{m}\|^2$, is its theoretical minimum.
#
# ## 2. One thing, four names
#
# You may ask for the clean point, for the noise, or for the *velocity*
# $\mathbf{v} = \alpha_t\boldsymbol\epsilon - \sigma_t\mathbf{x}_0$ (Salimans & Ho 2022). By section 1 the networks
# learn
#
# $$\hat{\mathbf{x}}_0 = \mathbb{E}[\mathbf{x}_0 \mid \mathbf{x}_t], \qquad
# \hat{\boldsymbol\epsilon} = \mathbb{E}[\boldsymbol\epsilon \mid \mathbf{x}_t], \qquad
# \hat{\mathbf{v}} = \mathbb{E}[\mathbf{v} \mid \mathbf{x}_t].$$
#
# Take the average of $\mathbf{x}_t = \alpha_t\mathbf{x}_0 + \sigma_t\boldsymbol\epsilon$ given $\mathbf{x}_t$. The
# left side is known and stays:
#
# $$\mathbf{x}_t = \alpha_t\hat{\mathbf{x}}_0 + \sigma_t\hat{\boldsymbol\epsilon}, \qquad
# \hat{\mathbf{v}} = \alpha_t\hat{\boldsymbol\epsilon} - \sigma_t\hat{\mathbf{x}}_0.$$
#
# So each of them gives the others. If the variance is preserved, $\alpha_t^2 + \sigma_t^2 = 1$, then
# $(\mathbf{x}_t, \mathbf{v})$ is $(\mathbf{x}_0, \boldsymbol\epsilon)$ turned by an angle whose cosine is $\alpha_t$,
# and you turn back by
#
# $$\hat{\mathbf{x}}_0 = \alpha_t\mathbf{x}_t - \sigma_t\hat{\mathbf{v}}, \qquad
# \hat{\boldsymbol\epsilon} = \sigma_t\mathbf{x}_t + \alpha_t\hat{\mathbf{v}}.$$
#
# **The fourth name is the score**, the gradient of the log-density of noisy points. Their density is a mean over the
# data, whose density is $q(\mathbf{x}_0)$:
#
# $$q_t(\mathbf{x}) = \int q(\mathbf{x}_0)\,\mathcal{N}(\mathbf{x};\ \alpha_t\mathbf{x}_0,\ \sigma_t^2\mathbf{I})\,
# d\mathbf{x}_0.$$
#
# Differentiate under the integral. The gradient of a Gaussian with respect to $\mathbf{x}$ is the Gaussian times
# $-(\mathbf{x} - \alpha_t\mathbf{x}_0) / \sigma_t^2$. So
#
# $$\nabla\log q_t(\mathbf{x}) = \frac{\nabla q_t(\mathbf{x})}{q_t(\mathbf{x})}
# = \int \frac{q(\mathbf{x}_0)\,\mathcal{N}(\mathbf{x};\ \alpha_t\mathbf{x}_0,\ \sigma_t^2\mathbf{I})}{q_t(\mathbf{x})}
# \Big({-\frac{\mathbf{x} - \alpha_t\mathbf{x}_0}{\sigma_t^2}}\Big)\,d\mathbf{x}_0.$$
#
# By Bayes' rule, at $\mathbf{x} = \mathbf{x}_t$ the fraction is $q(\mathbf{x}_0 \mid \mathbf{x}_t)$, so the integral is
# a conditional mean. In the last step, put in
# $\mathbf{x}_t = \alpha_t\hat{\mathbf{x}}_0 + \sigma_t\hat{\boldsymbol\epsilon}$:
#
# $$\nabla\log q_t(\mathbf{x}_t) = -\frac{\mathbf{x}_t - \alpha_t\hat{\mathbf{x}}_0}{\sigma_t^2}
# = -\frac{\hat{\boldsymbol\epsilon}}{\sigma_t}.$$
#
# This is **Tweedie's formula** (Efron 2011). It is why a network that predicts noise knows in which direction the data
# is denser: *the score is minus the predicted noise divided by $\sigma_t$.*
#
# ## 3. The exact denoiser
#
# For data that you know, $q(\mathbf{x}_0 \mid \mathbf{x}_t)$ can be computed. Let the data be $m$ points
# $\mathbf{p}_1, \dots, \mathbf{p}_m$, equally likely. By Bayes' rule, point $i$ has the probability
#
# $$w_i = q(\mathbf{p}_i \mid \mathbf{x}_t)
# = \frac{\exp\big({-\|\mathbf{x}_t - \alpha_t\mathbf{p}_i\|^2 / (2\sigma_t^2)}\big)}
# {\sum_j \exp\big({-\|\mathbf{x}_t - \alpha_t\mathbf{p}_j\|^2 / (2\sigma_t^2)}\big)}, \qquad
# \hat{\mathbf{x}}_0 = \sum_i w_i\,\mathbf{p}_i.$$
#
# The prior $1/m$ and the normalising constant of the Gaussian are the same for all points and cancel. Weights of this
# form, exponentials divided by their sum, are called a *softmax*, here of the negative squared distances divided by
# $2\sigma_t^2$. The denoiser is a weighted mean of the data. If $\sigma_t/\alpha_t$ is large, all points count and the
# answer is near their mean. If it is small, only the nearest point counts.
#
# ### From scratch

# %%
points = motes.make_shape("moons", 200, seed=0)
points = (points - points.mean(axis=0)) / points.std(axis=0)
rng = np.random.default_rng(0)


def log_joint(x_t, alpha, sigma):
    """Return log N(x_t; alpha p_i, sigma^2 I) - log m for each point p_i, (n, m)."""
    square = np.sum((x_t[:, None] - alpha * points) ** 2, axis=2)
    return -square / (2 * sigma**2) - np.log(2 * np.pi * sigma**2) - np.log(len(points))


def log_q(x_t, alpha, sigma):
    """Return log q_t(x_t), (n,)."""
    return np.logaddexp.reduce(log_joint(x_t, alpha, sigma), axis=1)


def estimates(x_t, alpha, sigma):
    """Return the exact x0_hat, eps_hat, v_hat and score, (n, 2) each."""
    weights = np.exp(log_joint(x_t, alpha, sigma) - log_q(x_t, alpha, sigma)[:, None])
    x0_hat = weights @ points
    eps_hat = (x_t - alpha * x0_hat) / sigma
    return x0_hat, eps_hat, alpha * eps_hat - sigma * x0_hat, -eps_hat / sigma


alpha, sigma = np.cos(0.5), np.sin(0.5)
x_t = alpha * points[:50] + sigma * rng.standard_normal((50, 2))
x0_hat, eps_hat, v_hat, score = estimates(x_t, alpha, sigma)
np.testing.assert_allclose(x_t, alpha * x0_hat + sigma * eps_hat)
np.testing.assert_allclose(x0_hat, alpha * x_t - sigma * v_hat)
np.testing.assert_allclose(eps_hat, sigma * x_t + alpha * v_hat)

h = 1e-5  # Tweedie's formula against a difference quotient
slopes = [(log_q(x_t + h * e, alpha, sigma) - log_q(x_t - h * e, alpha, sigma)) / (2 * h) for e in np.eye(2)]
np.testing.assert_allclose(score, np.stack(slopes, axis=1), atol=1e-7)
print("Tweedie's formula and the gradient of log q agree:", np.abs(score - np.stack(slopes, axis=1)).max())

# %% [markdown]
# Now the same with motes. `EmpiricalOracle` is this denoiser; a *schedule* gives $\alpha_t$ and $\sigma_t$ as functions
# of $t$. `CosineVP` has $\alpha_t = \cos\theta t$ with a fixed angle $\theta$ of almost $\pi/2$, so the time with
# $\theta t = 0.5$ has the numbers from above. Every denoiser of motes, exact or learned, has the methods `eps`, `v` and
# `score`, and acts on one point; `jax.vmap` makes it act on rows.

# %%
schedule = CosineVP()
oracle = EmpiricalOracle(points, schedule)
t = float(schedule.t_of_log_snr(2 * np.log(alpha / sigma)))
for name, by_hand in {"__call__": x0_hat, "eps": eps_hat, "v": v_hat, "score": score}.items():
    by_motes = jax.vmap(getattr(oracle, name), (0, None))(jnp.asarray(x_t), t)
    np.testing.assert_allclose(by_hand, by_motes, atol=1e-4)  # motes computes in single precision here
    print(f"{name:<9} largest difference {np.abs(by_hand - by_motes).max():.1e}")

# %% [markdown]
# ## 4. Look at it
#
# Each arrow below leads from a noisy point $\mathbf{x}_t$ to its $\hat{\mathbf{x}}_0$. At low noise the arrows end on
# the nearest part of the data. At high noise they end near the mean of the data, where no data is: the best answer to
# "which point was this?" is a compromise. A sampler does not follow a long arrow to its end: it takes a short step
# along it, and evaluates the denoiser again.

# %%
fig, axes = plt.subplots(1, 3, figsize=(11, 3.9), layout="constrained")
for ax, angle in zip(axes, (0.15, 0.6, 1.3), strict=True):
    a, s = np.cos(angle), np.sin(angle)
    noisy = a * points[::4] + s * rng.standard_normal((50, 2))
    ends = estimates(noisy, a, s)[0]
    ax.scatter(*points.T, s=8, color=LIGHT.real, alpha=0.4, linewidths=0)
    ax.quiver(*noisy.T, *(ends - noisy).T, angles="xy", scale_units="xy", scale=1, width=0.004, color=LIGHT.foreground)
    ax.set(title=f"$\\alpha_t$ = {a:.2f}, $\\sigma_t$ = {s:.2f}", xlim=(-3, 3), ylim=(-3, 3), aspect="equal")
plt.close(fig)
fig

# %% [markdown]
# ## 5. What should a network predict?
#
# All four have the same information, but a network makes errors. Let each network be wrong by $\boldsymbol\delta$. How
# wrong is the clean point that you compute from its answer? From the equations of section 2, with
# $\alpha_t^2 + \sigma_t^2 = 1$:
#
# | the network predicts | $\hat{\mathbf{x}}_0$ | its error, in units of $\boldsymbol\delta$ |
# |---|---|---|
# | $\mathbf{x}_0$ | itself | 1 |
# | $\boldsymbol\epsilon$ | $(\mathbf{x}_t - \sigma_t\hat{\boldsymbol\epsilon}) / \alpha_t$ | $\sigma_t/\alpha_t$ |
# | $\mathbf{v}$ | $\alpha_t\mathbf{x}_t - \sigma_t\hat{\mathbf{v}}$ | $\sigma_t$ |
# | score | $(\mathbf{x}_t + \sigma_t^2\,\text{score}) / \alpha_t$ | $\sigma_t^2/\alpha_t$ |
#
# Near the data ($\sigma_t \to 0$) a prediction of the noise is safe, and a prediction of $\mathbf{x}_0$ passes its
# whole error on. Near pure noise ($\alpha_t \to 0$) it is the other way round. The velocity is good at both ends. The
# recipe `default` of motes goes one step further: `Preconditioned` (Karras et al. 2022) adds the right multiple of
# $\mathbf{x}_t$ to the network's output, so that the network only has to say what $\mathbf{x}_t$ does not show.
#
# Measure it. The three networks below are exact, except for a constant error of 0.05. motes wraps each in the denoiser
# class for what it predicts.

# %%
wrong = 0.05
networks = {
    "x0": (X0Predictor(lambda x, t: oracle(x, t) + wrong, schedule), lambda a, s: 1 + 0 * a),
    "eps": (NoisePredictor(lambda x, t: oracle.eps(x, t) + wrong, schedule), lambda a, s: s / a),
    "v": (VPredictor(lambda x, t: oracle.v(x, t) + wrong, schedule), lambda a, s: s),
}
times = np.linspace(0.05, 0.98, 20)
a, s = np.asarray(schedule.alpha(times), float), np.asarray(schedule.sigma(times), float)
fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
for (name, (denoiser, factor)), colour in zip(networks.items(), LIGHT.classes[2:], strict=False):
    off = lambda t, denoiser=denoiser: jnp.abs(denoiser(jnp.ones(2), t) - oracle(jnp.ones(2), t)).mean()
    measured = np.asarray(jax.lax.map(off, jnp.asarray(times)))
    np.testing.assert_allclose(measured, wrong * factor(a, s), rtol=2e-2)
    ax.semilogy(times, measured, color=colour, label=f"a network that predicts {name}")
ax.set(xlabel="$t$", title="error of the clean point, for a network that is off by 0.05")
ax.legend()
plt.close(fig)
fig

# %% [markdown]
# The squares of these factors are the weights between the losses:
#
# $$\|\mathbf{x}_0 - \hat{\mathbf{x}}_0\|^2
# = \Big(\frac{\sigma_t}{\alpha_t}\Big)^2\,\|\boldsymbol\epsilon - \hat{\boldsymbol\epsilon}\|^2.$$
#
# Each name comes with a loss of its own, and all are smallest for the same denoiser. They only differ in how much an
# error counts at which noise level.
#
# ## 6. Why the exact answer is not what you want
#
# The exact denoiser of the *training rows* reaches the minimum of the training loss. Sample with it, and with the
# exact denoiser of the *distribution* that the rows came from, and compare with a network that was trained on these
# 200 rows.

# %%
quick = {"training.steps": 1_200, "training.ema": 0.99}
model = motes.fit(motes.make_shape("moons", 200, seed=0), changes=quick, verbose=False)
level, units = model.denoiser.schedule, model.standardiser
rows = units.forward(motes.make_shape("moons", 200, seed=0))
denoisers = {
    "exact, distribution": motes.truth("moons").oracle(level, units),
    "exact, 200 rows": EmpiricalOracle(rows, level),
    "learned from 200 rows": model.denoiser,
}
grid = KarrasGrid(24)(level)
fig, axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
for ax, (name, denoiser) in zip(axes, denoisers.items(), strict=True):
    drawn, _ = motes.points.sample(ReverseProcess(denoiser, Heun(), grid, dim=2), 500, key=jax.random.key(0))
    nearest = np.sqrt(((drawn[:, None] - rows) ** 2).sum(axis=2)).min(axis=1)
    colour = LIGHT.synthetic if name.startswith("learned") else LIGHT.real
    ax.scatter(*drawn.T, s=5, color=colour, linewidths=0)
    ax.set(title=f"{name}\nmedian distance to a row {np.median(nearest):.3f}", xlim=(-2.4, 2.4), ylim=(-2.4, 2.4))
plt.close(fig)
fig

# %% [markdown]
# The denoiser of the 200 rows reaches the least possible training loss, and is useless for sampling: its samples are
# the training rows. Only a network that does *not* reach this minimum makes new points. Where do the last two differ
# from the first? Compare their answers at every noise level $r = \sigma_t / \alpha_t$.

# %%
levels = np.geomspace(0.02, 8, 16)
fresh = units.forward(motes.truth("moons").sample(300, seed=5))
noise = rng.standard_normal(fresh.shape)
gaps = {name: [] for name in denoisers if name != "exact, distribution"}
answer = jax.jit(lambda x, t: [jax.vmap(one, (0, None))(x, t) for one in denoisers.values()])
for r in levels:
    t = level.t_of_log_snr(-2 * np.log(r))
    best, *others = answer(jnp.asarray(fresh + r * noise), t)  # this schedule has alpha = 1 and sigma = r
    for name, other in zip(gaps, others, strict=True):
        gaps[name].append(float(jnp.sqrt(jnp.mean((other - best) ** 2))))

fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
ax.loglog(levels, gaps["exact, 200 rows"], color=LIGHT.real, label="exact denoiser of the 200 rows")
ax.loglog(levels, gaps["learned from 200 rows"], color=LIGHT.synthetic, label="network trained on them")
ax.set(xlabel="noise level $r$", ylabel="root mean square", title="difference from the distribution's denoiser")
ax.legend()
plt.close(fig)
fig

# %% [markdown]
# At high noise the rows and their distribution give the same answer. At noise levels below the distance between
# neighbouring rows, the exact denoiser of the rows jumps to the nearest one, and the network does not follow: it is
# smooth. A diffusion model generalises by the errors that it makes at low noise. Train a large network on few rows for
# long enough, and it memorises them too; `model.diagnose()` reports this as `memorising`.
#
# ## Exercises
#
# Fill in the functions and run their cells. `check` tries them on inputs that you do not see, and names the usual
# mistakes. If you are stuck, run `hint("x0_from_score")` in a new cell for a first idea, and `hint("x0_from_score", 2)`
# for more. `solution("x0_from_score")` shows an answer.
#
# ### 6.1 From the score to the clean point (easy)
#
# Solve Tweedie's formula for $\hat{\mathbf{x}}_0$.


# %%
def x0_from_score(x_t, score, alpha, sigma):
    """Return E[x_0 | x_t], (n, d), from the score of q_t at x_t (n, d)."""
    ...


check("x0_from_score", x0_from_score)

# %% [markdown]
# ### 6.2 The exact denoiser of a mixture (middle)
#
# Real data is not a set of points. Let it be a mixture: with probability $w_k$ it comes from
# $\mathcal{N}(\mathbf{m}_k, s_k^2\mathbf{I})$. Then $\mathbf{x}_t$ is a mixture too, of
# $\mathcal{N}(\alpha_t\mathbf{m}_k, (\alpha_t^2 s_k^2 + \sigma_t^2)\mathbf{I})$, and within one component the answer
# is a straight line,
# $\mathbf{m}_k + \frac{\alpha_t s_k^2}{\alpha_t^2 s_k^2 + \sigma_t^2}(\mathbf{x}_t - \alpha_t\mathbf{m}_k)$. Put the
# components together, each weighted by its probability given $\mathbf{x}_t$. Unlike in lab 5, every component has a
# width of its own.


# %%
def mixture_denoiser(x_t, alpha, sigma, weights, means, stds):
    """Return E[x_0 | x_t], (n, d), for x_t (n, d), weights (k,), means (k, d) and standard deviations (k,)."""
    ...


check("mixture_denoiser", mixture_denoiser)

# %% [markdown]
# ### 6.3 How sure is the denoiser? (research)
#
# The denoiser gives the mean of $\mathbf{x}_0$ given $\mathbf{x}_t$. Its *derivative* gives the covariance. Write
# $\hat{\mathbf{x}}_0 = \int \mathbf{x}_0\,q(\mathbf{x}_0 \mid \mathbf{x}_t)\,d\mathbf{x}_0$ with Bayes' rule and
# differentiate it with respect to $\mathbf{x}_t$, as section 2 did with $q_t$. Then express the covariance by the
# Jacobian of $\hat{\boldsymbol\epsilon}$, the matrix of $\partial\hat\epsilon_i / \partial x_{t,j}$. With this you can
# read the uncertainty of any noise-predicting network, and choose the best variance of a reverse step (lab 5).


# %%
def posterior_covariance(jacobian, alpha, sigma):
    """Return Cov[x_0 | x_t], (d, d), from the Jacobian (d, d) of eps_hat with respect to x_t."""
    ...


check("posterior_covariance", posterior_covariance)

# %% [markdown]
# ## What you learned
#
# - A squared error learns a conditional mean, and its theoretical minimum is usually not 0.
# - $\hat{\mathbf{x}}_0$, $\hat{\boldsymbol\epsilon}$, $\hat{\mathbf{v}}$ and the score are the same estimate, by
#   Tweedie's formula and two lines of algebra. They differ in how they pass on errors.
# - The exact denoiser is a weighted mean of the data. Computed from the training rows, it memorises them; a good
#   network stays smooth.
#
# ## Next
#
# [Lab 7](lab07.py) follows the score from noise to data: as a differential equation with and without noise, with
# samplers whose order you measure.
#
# ## References
#
# - B. Efron (2011). *Tweedie's formula and selection bias.* Journal of the American Statistical Association 106.
# - T. Salimans, J. Ho (2022). *Progressive distillation for fast sampling of diffusion models.* arXiv:2202.00512.
# - T. Karras, M. Aittala, T. Aila, S. Laine (2022). *Elucidating the design space of diffusion-based generative
#   models.* arXiv:2206.00364.
