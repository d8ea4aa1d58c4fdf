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
# # Lab 8: Likelihood
#
# **Goal.** Compute the likelihood that a diffusion model gives to a point: follow the probability flow from data to
# noise, and add up how much it spreads. Then measure a trained model in nats, and read the same number from its
# training loss.
#
# You need [lab 7](lab07.py), the probability flow, and [lab 3](lab03.py), the variational bound.

# The next cell installs motes from the checkout that contains this file. Skip it if `import motes` works for you. On
# Colab, upload the checkout first.

# %%
# %pip install -q -e ../..

# %%
import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import motes
from motes import plots
from motes.course import check, fault, hint, solution
from motes.points import LinearBetas, VarianceExploding, log_likelihood, variational_bound
from motes.points.exact import MixtureOracle

LIGHT = plots.STYLES["light"]  # blue is real or exact, amber is learned

# %% [markdown]
# ## 1. The density along a path
#
# In lab 7 points follow $d\mathbf{y}/dr = \mathbf{u}(\mathbf{y}, r)$ with $\mathbf{u} = \hat{\boldsymbol\epsilon}$,
# from data at $r = 0$ to noise at $r = R$, and their density obeys
# $\partial p_r/\partial r = -\nabla\cdot(p_r\mathbf{u})$. Here
# $\nabla\cdot\mathbf{u} = \sum_i \partial u_i/\partial y_i$ is the *divergence* of $\mathbf{u}$ (lab 7). How does the
# log-density change *for someone who travels with a point*? Time passes and the place changes, so by the chain rule
#
# $$\frac{d}{dr}\log p_r(\mathbf{y}_r)
# = \frac{\partial\log p_r}{\partial r} + \mathbf{u}\cdot\nabla\log p_r
# = -\frac{\nabla\cdot(p_r\mathbf{u})}{p_r} + \mathbf{u}\cdot\nabla\log p_r.$$
#
# The product rule gives $\nabla\cdot(p\,\mathbf{u}) = p\,\nabla\cdot\mathbf{u} + \mathbf{u}\cdot\nabla p$. Divide by
# $p$. Because $\nabla p/p = \nabla\log p$, the last part cancels $\mathbf{u}\cdot\nabla\log p$. What remains is short:
#
# $$\frac{d}{dr}\log p_r(\mathbf{y}_r) = -\nabla\cdot\mathbf{u}.$$
#
# Where the flow spreads (a positive divergence), points thin out and the density falls. Integrate from 0 to $R$ and
# solve for the beginning:
#
# $$\log p_0(\mathbf{x})
# = \log p_R(\mathbf{y}_R) + \int_0^R \nabla\cdot\hat{\boldsymbol\epsilon}(\mathbf{y}_r, r)\,dr.$$
#
# At the end there is nearly only noise. For data with mean 0 and variance 1 in each column, $\mathbf{y}_R$ has mean 0
# and variance $1 + R^2$, and samplers start from this Gaussian. So put $\mathcal{N}(\mathbf{0}, (1 + R^2)\mathbf{I})$
# for $p_R$. **The result is the log-likelihood of the model**: the density of the points that the flow makes from this
# start.
#
# ### From scratch
#
# Data: a mixture of three Gaussians with its exact $\hat{\boldsymbol\epsilon}$ (lab 7). The divergence is a sum of
# difference quotients. Steps are equal in $\log r$, with $d\mathbf{y}/d\log r = r\,\hat{\boldsymbol\epsilon}$, by the
# classical Runge-Kutta method, which takes four slopes per step and is of fourth order.

# %%
weights, means, std = np.array([0.5, 0.3, 0.2]), np.array([[-0.9, -0.3], [1.0, -0.7], [0.75, 1.8]]), 0.3
R_MIN, R = 1e-3, 10.0


def eps_hat(y, r):
    """Return E[eps | y] at level r, (n, d)."""
    log_share = np.log(weights) - ((y[:, None] - means) ** 2).sum(axis=2) / (2 * (std**2 + r**2))
    share = np.exp(log_share - log_share.max(axis=1, keepdims=True))
    return r * (y - share / share.sum(axis=1, keepdims=True) @ means) / (std**2 + r**2)


def divergence(y, r, h=1e-4):
    """Return the divergence of eps_hat, (n,), by central differences."""
    axes = np.eye(y.shape[1])
    return sum((eps_hat(y + h * e, r) - eps_hat(y - h * e, r)) @ e for e in axes) / (2 * h)


def log_prob(x, steps=200):
    """Return log p of the rows x (n, d), in nats."""
    h = np.log(R / R_MIN) / steps
    # The first bit, from 0 to R_MIN: there eps_hat grows in proportion to r; its mean is half of its value at R_MIN.
    y, total = x + R_MIN / 2 * eps_hat(x, R_MIN), R_MIN / 2 * divergence(x, R_MIN)
    for k in range(steps):
        slopes, sums = [], []
        for part in (0, 0.5, 0.5, 1):  # Runge-Kutta: the slopes at the beginning, twice in the middle, at the end
            r = R_MIN * np.exp((k + part) * h)
            at = y + part * h * slopes[-1] if slopes else y
            slopes.append(r * eps_hat(at, r))
            sums.append(r * divergence(at, r))
        y, total = (
            now + h / 6 * (first + 2 * second + 2 * third + fourth)
            for now, (first, second, third, fourth) in ((y, slopes), (total, sums))
        )
    variance = 1 + R**2
    return -np.sum(y**2, axis=1) / (2 * variance) - y.shape[1] / 2 * np.log(2 * np.pi * variance) + total


# %% [markdown]
# The same with motes, `log_likelihood`, and the density of the mixture, which is known here:

# %%
rng = np.random.default_rng(0)
x = means[rng.choice(3, 400, p=weights)] + std * rng.standard_normal((400, 2))
away = -((x[:, None] - means) ** 2).sum(axis=2) / (2 * std**2) - np.log(2 * np.pi * std**2)
exact = np.logaddexp.reduce(np.log(weights) + away, axis=1)

oracle = MixtureOracle(weights, means, [std**2 * np.eye(2)] * 3, VarianceExploding(sigma_max=R))
by_motes, mine = log_likelihood(oracle, x, tolerance=1e-6), log_prob(x)
np.testing.assert_allclose(mine, by_motes.log_prob, atol=1e-5)
print(f"from scratch and motes: largest difference {np.abs(mine - by_motes.log_prob).max():.1e} nats")
print(f"motes' own estimate of its integration error: {by_motes.error.max():.1e} nats")
print(f"flow and exact density: largest difference {np.abs(mine - exact).max():.1e} nats")

# %% [markdown]
# The last difference is not an error of the integration. The flow is exact, but its start is
# $\mathcal{N}(\mathbf{0}, (1 + R^2)\mathbf{I})$ and not quite $p_R$. You would find the same difference in the
# samples.
#
# With $d$ columns the divergence needs $d$ derivatives. It is the trace of the Jacobian $\mathbf{J}$, the matrix of
# $\partial u_i/\partial y_j$. For thousands of columns, take a random vector $\mathbf{z}$ with
# $\mathbb{E}[\mathbf{z}\mathbf{z}^\top] = \mathbf{I}$ instead: $\mathbf{z}^\top\mathbf{J}\mathbf{z}$ has the mean
# $\mathrm{tr}\,\mathbf{J} = \nabla\cdot\mathbf{u}$ (Hutchinson's estimator), but it is noisy. motes computes the
# divergence exactly.
#
# ## 2. Measure a model in nats
#
# Train a model on two moons, briefly, and score rows that it has never seen. The mean of $-\log p$ is the *negative
# log-likelihood*. It is never below the entropy of the data on average: the difference is the Kullback-Leibler
# divergence
#
# $$\mathbb{E}[-\log p_{\text{model}}(\mathbf{x})] - \mathbb{E}[-\log p_{\text{data}}(\mathbf{x})]
# = \mathrm{KL}(p_{\text{data}}\,\|\,p_{\text{model}}) \ge 0,$$
#
# 0 only for a perfect model. For a toy shape you know the entropy, so the number means something on its own.

# %%
quick = {"training.steps": 1_500, "training.ema": 0.99}
model = motes.fit(motes.make_shape("moons", 10_000, seed=0), "ddpm", changes=quick, verbose=False)
truth = motes.truth("moons")
fresh = truth.sample(400, seed=1)
log_model, log_truth = model.score_samples(fresh), truth.log_density(fresh)
gap = log_truth - log_model
print(f"negative log-likelihood {-log_model.mean():.3f} nats, entropy of the moons {truth.entropy().value:.3f} nats")
print(f"KL from the data to the model: {gap.mean():.3f} +- {gap.std() / len(gap) ** 0.5:.3f} nats per row")

fig, ax = plt.subplots(figsize=(6, 4), layout="constrained")
drawn = ax.scatter(*fresh.T, c=gap, cmap="coolwarm", vmin=-0.6, vmax=0.6, s=14)
fig.colorbar(drawn, label="log p exact - log p model, nats")
ax.set(aspect="equal", title="red: the model finds these points too unlikely")
plt.close(fig)
fig

# %% [markdown]
# Use the *same* rows for both means, as here: much of the noise is common to both and cancels in the difference.
#
# ## 3. In which units?
#
# The model was trained on standardised rows $\mathbf{z} = (\mathbf{x} - \mathbf{m}) / \mathbf{s}$. A density is a mass
# per volume, so it changes with the units: a cube of side 1 in $\mathbf{z}$ has the volume $\prod_j s_j$ in
# $\mathbf{x}$, and
#
# $$\log p(\mathbf{x}) = \log p(\mathbf{z}) - \sum_j \log s_j.$$
#
# `model.score_samples` does this for you, `log_likelihood` of a bare denoiser does not. Never compare log-likelihoods
# of models that were scaled differently without it. Likelihoods of images are often given in *bits per dimension*,
# $-\log p / (d\log 2)$.

# %%
z = model.standardiser.forward(fresh[:50])
difference = log_likelihood(model.denoiser, z).log_prob - log_model[:50]
print(
    "log p(z) - log p(x):", difference[:3].round(4), " sum of log s:", np.log(model.standardiser.scale).sum().round(4)
)

# %% [markdown]
# ## 4. The bound belongs to the chain
#
# Lab 3 bounded $-\log p$ for the reverse *chain*, which adds noise in every step. The flow and the chain are two
# different distributions that share a denoiser, and they agree only if the denoiser is exact, the steps are many and
# the chain starts from the right noise (lab 5). Take the exact denoiser, so that only the steps are at fault:

# %%
units = model.standardiser
rows = units.forward(truth.sample(1_000, seed=2))
entropy = truth.entropy().value - np.log(units.scale).sum()  # of the standardised moons
for steps in (25, 100, 400):
    chain = LinearBetas(steps, 1e-2 / steps, min(10 / steps, 0.9)).schedule()
    bound = variational_bound(truth.oracle(chain, units), rows, key=jax.random.key(0))
    above = bound.nats + (truth.log_density(units.inverse(rows)) + np.log(units.scale).sum())
    print(f"{steps:4d} steps: {above.mean():.3f} +- {above.std() / 1000**0.5:.3f} nats above the exact -log p")
above = model.bound(fresh, draws=8).nats + log_truth
print(f"trained model, 100 steps: bound {above.mean():.3f} +- {above.std() / 20:.3f}, flow {gap.mean():.3f} nats above")

# %% [markdown]
# So quote the likelihood of the flow, unless you draw with the chain.
#
# ## 5. The loss is a likelihood
#
# Training never computes a likelihood, only squared errors. But they determine it. Let
# $h(r) = -\mathbb{E}[\log p_r(\mathbf{y})]$ be the entropy of $\mathbf{y}$ at level $r$, and
# $L(r) = \mathbb{E}\|\boldsymbol\epsilon - \hat{\boldsymbol\epsilon}\|^2$ the smallest possible loss there, summed over
# the $d$ columns.
#
# *Step 1.* Along the flow $-\log p_r$ rises by $\nabla\cdot\hat{\boldsymbol\epsilon}$, so the entropy, its mean, rises
# by the mean divergence. Integrate by parts ($p_r$ is 0 at infinity), put in $\nabla p_r = p_r\nabla\log p_r$, and use
# Tweedie's formula $\nabla\log p_r = -\hat{\boldsymbol\epsilon}/r$:
#
# $$\frac{dh}{dr} = \int p_r\,\nabla\cdot\hat{\boldsymbol\epsilon}\,d\mathbf{y}
# = -\int \nabla p_r\cdot\hat{\boldsymbol\epsilon}\,d\mathbf{y}
# = -\mathbb{E}\big[\nabla\log p_r\cdot\hat{\boldsymbol\epsilon}\big]
# = \frac{\mathbb{E}\|\hat{\boldsymbol\epsilon}\|^2}{r}.$$
#
# *Step 2.* $\boldsymbol\epsilon = \hat{\boldsymbol\epsilon} + (\boldsymbol\epsilon - \hat{\boldsymbol\epsilon})$, and
# the two parts are uncorrelated because $\hat{\boldsymbol\epsilon}$ is a conditional mean (lab 6). So their mean
# squares add. The mean square of $\boldsymbol\epsilon$ is 1 in each of the $d$ columns:
# $d = \mathbb{E}\|\hat{\boldsymbol\epsilon}\|^2 + L(r)$.
#
# Together, with $dr/r = d\log r$:
#
# $$\frac{dh}{d\log r} = d - L(r).$$
#
# **The entropy rises by the difference between $d$ and the loss.** At a large $R$ it is the entropy of a Gaussian,
# $h(R) = \frac d2\big(1 + \log 2\pi(1 + R^2)\big)$. Follow it down to $r = 0$, and you have the entropy of the data,
# from denoising errors alone (Kong et al. 2023; the relation goes back to Guo, Shamai & Verdú 2005). In exercise 8.3
# you do it.
#
# For a network, put its own loss $L_\theta \ge L$ in: the area between the two curves, over $\log r$, is an upper bound
# of the KL divergence from the data to its reverse diffusion (Song, Durkan et al. 2021), apart from the divergence
# between $p_R$ and the start, which is nearly 0. It does not bound the flow, whose KL may be larger. `motes diagnose`
# draws it.

# %%
levels = np.geomspace(0.01, 10, 31)
clean = jnp.asarray(units.forward(truth.sample(2_000, seed=3)))
noise = jax.random.normal(jax.random.key(1), clean.shape)
noise = noise / jnp.sqrt(jnp.mean(noise**2, axis=0))  # mean square exactly 1, so that less is left to chance


@eqx.filter_jit
def loss(denoiser, t):
    """Return E|eps - eps_hat|^2 at time t, summed over columns."""
    x_t = denoiser.schedule.alpha(t) * clean + denoiser.schedule.sigma(t) * noise
    return jnp.mean(jnp.sum((noise - jax.vmap(denoiser.eps, (0, None))(x_t, t)) ** 2, axis=1))


times = model.denoiser.schedule.t_of_log_snr(-2 * np.log(levels))
exact_denoiser = truth.oracle(model.denoiser.schedule, units)
least, learned = (np.array([float(loss(one, t)) for t in times]) for one in (exact_denoiser, model.denoiser))
area = np.sum((learned - least)[1:] + (learned - least)[:-1]) / 2 * np.log(levels[1] / levels[0])

fig, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
ax.semilogx(levels, least, color=LIGHT.real, label="exact denoiser")
ax.semilogx(levels, learned, color=LIGHT.synthetic, label="the model")
ax.axhline(2, color=LIGHT.muted, linewidth=1, linestyle="--", label="$d$: knows nothing of the noise")
ax.fill_between(levels, least, 2, color=LIGHT.real, alpha=0.15)
ax.set(xlabel="noise level $r$", ylabel="loss, summed over columns", title="the blue area is a difference of entropies")
ax.legend()
plt.close(fig)
print(f"area between the curves, r from 0.01 to 10: the KL to the reverse diffusion is at most about {area:.3f} nats")
print(f"the KL to the flow, another model: {gap.mean():.3f} +- {gap.std() / len(gap) ** 0.5:.3f} nats")
fig

# %% [markdown]
# ## Exercises
#
# Fill in the functions and run their cells. `check` tries them on inputs that you do not see, and names the usual
# mistakes. If you are stuck, run `hint("in_data_units")` in a new cell for a first idea, and `hint("in_data_units", 2)`
# for more. `solution("in_data_units")` shows an answer.
#
# ### 8.1 Units (easy)
#
# Return the log-density of rows in the units of the data, from the log-density of the standardised rows.


# %%
def in_data_units(log_p, std):
    """Return log p(x), (n,), from log p(z), (n,), of z = (x - mean) / std; std is (d,)."""
    ...


check("in_data_units", in_data_units)

# %% [markdown]
# ### 8.2 The log-likelihood of a path (middle)
#
# Someone has followed the flow for you and hands you the points at the last level, and the divergence of
# $\hat{\boldsymbol\epsilon}$ at each level of each path. For the density at the end use $\mathcal{N}(\mathbf{0}, (1 +
# R^2)\mathbf{I})$, where $R$ is the last level, and for the integral the trapezoidal rule in $r$ (not in $\log r$). The
# levels start so low that the rest of the integral does not count.


# %%
def flow_log_prob(y_end, divergences, levels):
    """Return log p, (n,), from y at the last level (n, d), the divergences (n, k) and the rising levels (k,)."""
    ...


check("flow_log_prob", flow_log_prob)

# %% [markdown]
# ### 8.3 The entropy of the data from the loss (research)
#
# Turn section 5 into a function, with the trapezoidal rule in $\log r$. Then try it on the moons: `levels` and `least`
# are there, and the entropy of the standardised moons, `entropy`, is known. The two agree to about 0.02 nats; most of
# the rest is chance, since each loss is a mean over 2,000 rows.


# %%
def entropy_from_losses(levels, losses, d):
    """Return the entropy in nats of data with d columns, from the smallest losses (k,) at rising levels (k,)."""
    ...


check("entropy_from_losses", entropy_from_losses)
print("entropy of the standardised moons:", round(entropy, 3), " yours:", entropy_from_losses(levels, least, 2))

# %% [markdown]
# ## Find the fault
#
# `fault(8)` is a model of the eight Gaussians. It draws perfect samples, and its `score_samples` should return their
# exact log-likelihood. But look at the KL divergence from the truth:

# %%
suspect, eight = fault(8), motes.truth("eight_gaussians")
test = eight.sample(2_000, seed=1)
print("KL from the data to the model:", (eight.log_density(test) - suspect.score_samples(test)).mean().round(3), "nats")

# %% [markdown]
# A KL divergence cannot be negative, so these numbers are not log-likelihoods. What are they? You know the exact log p
# at any point. Look at the difference: does it depend on the point, on log p, on how far from the centre the point is?
# Does $\int \exp(\log p)$ over a fine grid give 1? If not, which quantity of the data does it give?
#
# Your answer is one of the words `"bits"` (instead of nats), `"divergence"` (of the flow), `"prior"` (at the end of the
# flow), `"steps"` (too few) and `"units"` (of the data). `hint("fault_08")` helps.

# %%
for point in ([2.0, 0.0], [0.0, 2.0], [1.0, 1.0]):
    print(point, suspect.score_samples([point]).round(3), eight.log_density([point]).round(3))

check("fault_08", ...)

# %% [markdown]
# ## What you learned
#
# - Along the flow the log-density falls by the divergence, and at the end the density is a Gaussian's. That gives log p
#   of every point.
# - Negative log-likelihood minus entropy is a KL divergence, in nats, and never negative.
# - Densities have units; the chain and the flow are two models; and the training loss determines the likelihood.
#
# ## Next
#
# [Lab 9](lab09.py) steers the flow: guidance, classes and conditions.
#
# ## References
#
# - Y. Song et al. (2021). *Score-based generative modeling through stochastic differential equations.*
#   arXiv:2011.13456.
# - Y. Song, C. Durkan, I. Murray, S. Ermon (2021). *Maximum likelihood training of score-based diffusion models.*
#   arXiv:2101.09258.
# - X. Kong, R. Brekelmans, G. Ver Steeg (2023). *Information-theoretic diffusion.* arXiv:2302.03792.
# - D. Guo, S. Shamai, S. Verdú (2005). *Mutual information and minimum mean-square error in Gaussian channels.* IEEE
#   Transactions on Information Theory 51.
