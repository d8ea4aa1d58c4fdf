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
# # Lab 12: Posteriors of simulators
#
# **Goal.** Find all parameters of a simulator that may have produced an observation, with a denoiser that was trained
# on simulations only. Then test whether its answers can be trusted, and find the fault in a posterior that passes the
# usual test.
#
# You need [lab 6](lab06.py), the exact denoiser of a Gaussian, and [lab 7](lab07.py), the probability flow and Heun's
# method.

# The next cell installs motes from the checkout that contains this file. Skip it if `import motes` works for you. On
# Colab, upload the checkout first.

# %%
# %pip install -q -e ../..

# %%
from itertools import pairwise

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import kstest

import motes
from motes import plots
from motes.course import check, fault, hint, solution
from motes.points import GaussianOracle, VarianceExploding

LIGHT = plots.STYLES["light"]  # blue is real or exact, amber is drawn or learned

# %% [markdown]
# ## 1. A simulator and its posterior
#
# A *simulator* turns a parameter $\theta$ into data $\mathbf{x}$, with chance in it: it draws from
# $p(\mathbf{x} \mid \theta)$. The *prior* $p(\theta)$ says which parameters are plausible before you see data. You
# observe $\mathbf{x}$, and ask for the *posterior*
#
# $$p(\theta \mid \mathbf{x}) = \frac{p(\theta)\,p(\mathbf{x} \mid \theta)}{p(\mathbf{x})}.$$
#
# Our first simulator measures one number twice, with different instruments: $\theta \sim \mathcal{N}(0, 1)$, and
# $x_j = \theta + s_j\epsilon_j$ with $s_1 = 0.8$ and $s_2 = 0.5$. Its posterior has a formula. Take logarithms and drop
# all terms without $\theta$:
#
# $$\log p(\theta \mid \mathbf{x}) = -\frac{\theta^2}{2} - \sum_j\frac{(x_j - \theta)^2}{2 s_j^2} + \dots
# = -\frac12\Big(\underbrace{1 + \sum_j\frac1{s_j^2}}_{\Lambda}\Big)\theta^2
# + \Big(\sum_j\frac{x_j}{s_j^2}\Big)\theta + \dots$$
#
# The logarithm of $\mathcal{N}(\mu, \tau^2)$ is $-\frac{1}{2\tau^2}\theta^2 + \frac{\mu}{\tau^2}\theta + \dots$, so the
# posterior is Gaussian. Compare the factors of $\theta^2$ and of $\theta$:
#
# $$\tau^2 = \frac1\Lambda, \qquad \mu = \frac1\Lambda\sum_j\frac{x_j}{s_j^2}.$$
#
# *Precisions* (1 / variance) add up: one for the prior and one for each measurement.
#
# ## 2. The denoiser of a posterior
#
# Real simulators have no formula for $p(\mathbf{x} \mid \theta)$; you can only run them. That is enough. Draw pairs:
# $\theta$ from the prior, $\mathbf{x}$ from the simulator. Add noise to the parameter,
# $\theta_t = \alpha_t\theta + \sigma_t\epsilon$, and leave $\mathbf{x}$ alone. Train a network $f$ by regression, with
# $\mathbf{x}$ as a further input:
#
# $$\min_f\ \mathbb{E}\,\big(\theta - f(\theta_t, t, \mathbf{x})\big)^2 .$$
#
# Condition the expectation on everything that $f$ sees. For each $(\theta_t, \mathbf{x})$ it is a squared error of a
# constant, which the mean minimises. So the optimum is
#
# $$f(\theta_t, t, \mathbf{x}) = \mathbb{E}[\theta \mid \theta_t, \mathbf{x}],$$
#
# the denoiser of the *posterior* of $\mathbf{x}$: given $\mathbf{x}$, the parameter has the distribution
# $p(\theta \mid \mathbf{x})$, and $\theta_t$ is its noisy copy. A sampler with this denoiser draws from
# $p(\theta \mid \mathbf{x})$. No likelihood was evaluated, and after a single training the network answers for every
# $\mathbf{x}$. One says that it is *amortised*.
#
# **In our example** the denoiser has a formula. The noisy
# $\theta_t/\alpha_t = \theta + \frac{\sigma_t}{\alpha_t}\epsilon$ is one more measurement, with precision
# $\alpha_t^2/\sigma_t^2$. Add it to the others:
#
# $$\mathbb{E}[\theta \mid \theta_t, \mathbf{x}]
# = \frac{\sum_j x_j/s_j^2 + \frac{\alpha_t^2}{\sigma_t^2}\cdot\frac{\theta_t}{\alpha_t}}
# {\Lambda + \alpha_t^2/\sigma_t^2}.$$
#
# From scratch, with $\alpha_t = 1$ and the noise level $r = \sigma_t$, and the sampler of lab 7:

# %%
s = np.array([0.8, 0.5])


def simulate(theta, rng):
    """Return two measurements (m, 2) of each parameter (m,)."""
    return theta[:, None] + s * rng.standard_normal((len(theta), 2))


def exact(x):
    """Return the mean (m,) and the standard deviation of theta given x (m, 2)."""
    precision = 1 + np.sum(1 / s**2)
    return x @ (1 / s**2) / precision, precision**-0.5


def denoise(theta_t, r, x):
    """Return E[theta | theta_t, x], (m,), for theta_t = theta + r eps (m,)."""
    return (x @ (1 / s**2) + theta_t / r**2) / (1 + np.sum(1 / s**2) + 1 / r**2)


def sample(x, start, levels):
    """Draw one parameter for each observation x (m, 2) with Heun's method, from start (m,) at levels[0] to 0."""
    theta = start
    for r, r_next in pairwise(levels):
        slope = (theta - denoise(theta, r, x)) / r
        ahead = theta + (r_next - r) * slope
        end = slope if r_next == 0 else (ahead - denoise(ahead, r_next, x)) / r_next
        theta = theta + (r_next - r) * (slope + end) / 2
    return theta


# %%
rng = np.random.default_rng(0)
levels = np.append(np.linspace(40 ** (1 / 7), 0.005 ** (1 / 7), 40) ** 7, 0)
observed = np.array([1.2, 0.3])
draws = sample(np.tile(observed, (5000, 1)), 40 * rng.standard_normal(5000), levels)
mean, std = exact(observed[None])
print(f"drawn: mean {draws.mean():.3f}, standard deviation {draws.std():.3f};  exact: {mean[0]:.3f}, {std:.3f}")

schedule = VarianceExploding(sigma_max=40.0)
oracle = GaussianOracle(mean, [[std**2]], schedule)  # the posterior is a Gaussian, so this is its denoiser
theta_t, r = rng.normal(size=200), 0.6
theirs = jax.vmap(oracle, (0, None))(jnp.asarray(theta_t[:, None]), schedule.t_of_log_snr(-2 * np.log(r)))[:, 0]
np.testing.assert_allclose(theirs, denoise(theta_t, r, np.tile(observed, (200, 1))), rtol=1e-4, atol=1e-5)
print("Our denoiser and the exact one of motes agree to the rounding of single precision.")

# %% [markdown]
# ## 3. A simulator without a formula
#
# *Two moons* (Greenberg et al. 2019) is a test for methods like this one. Two parameters $\theta_1, \theta_2$, uniform
# from $-1$ to $1$, and
#
# $$\mathbf{x} = \frac{1}{\sqrt2}
# \begin{pmatrix}-|\theta_1 + \theta_2|\\ \theta_2 - \theta_1\end{pmatrix} + \mathbf{n}, \qquad
# \mathbf{n} = \begin{pmatrix}\rho\cos a + 0.25\\ \rho\sin a\end{pmatrix},$$
#
# with a random radius $\rho \sim \mathcal{N}(0.1, 0.01^2)$ and a random angle $a$, uniform between $-\pi/2$ and
# $\pi/2$. The absolute value forgets a sign, so two different pairs of parameters explain the same data. The posterior
# consists of two crescents.
#
# We can draw from it exactly, by solving for $\theta$: draw the noise $\mathbf{n}$, and write
# $\mathbf{z} = \mathbf{x} - \mathbf{n}$. Then $|\theta_1 + \theta_2| = -\sqrt2\,z_1$ has two solutions if $z_1 < 0$,
# and $\theta_2 - \theta_1 = \sqrt2\,z_2$. The change of variables is a rotation, which leaves densities as they are,
# and the prior is constant. So both solutions are equally likely, and a $\theta$ outside the prior is dropped.


# %%
def draw_noise(n):
    a, r = rng.uniform(-np.pi / 2, np.pi / 2, n), rng.normal(0.1, 0.01, n)
    return np.stack([r * np.cos(a) + 0.25, r * np.sin(a)], axis=1)


def simulate_moons(theta):
    clean = np.stack([-np.abs(theta.sum(axis=1)), theta[:, 1] - theta[:, 0]], axis=1) / np.sqrt(2)
    return clean + draw_noise(len(theta))


def exact_moons(x, n):
    z = x - draw_noise(4 * n)
    z = z[z[:, 0] < 0]
    total = rng.choice([-1, 1], len(z)) * z[:, 0]
    theta = np.stack([total - z[:, 1], total + z[:, 1]], axis=1) / np.sqrt(2)
    return theta[(np.abs(theta) < 1).all(axis=1)][:n]


# %% [markdown]
# `motes.fit(theta, given=x)` learns the posterior from pairs. `bounds` are the limits of the prior, so no draw falls
# outside it. **Shortened:** one network instead of the mean of four, and 3,500 training steps instead of 6,000.

# %%
theta = rng.uniform(-1, 1, (10_000, 2))
x = simulate_moons(theta)
changes = {"training.steps": 3500, "network.members": 1}
bounds = {"theta1": (-1, 1), "theta2": (-1, 1)}
model = motes.fit(theta, columns=list(bounds), given=x, bounds=bounds, changes=changes, seed=0, verbose=False)

fig, axes = plt.subplots(2, 3, figsize=(8, 5.6), layout="constrained", sharex=True, sharey=True)
for (above, below), x_o in zip(axes.T, ([0.0, 0.0], [-0.5, 0.3], [-0.1, -0.9]), strict=True):
    true, drawn = exact_moons(np.array(x_o), 2000), model.sample(2000, given=x_o, seed=1)
    above.scatter(*true.T, s=3, color=LIGHT.real, alpha=0.4, linewidths=0)
    below.scatter(*drawn.T, s=3, color=LIGHT.synthetic, alpha=0.4, linewidths=0)
    above.set(title=f"x = {x_o}", xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect="equal")
    below.set(xlabel="theta1", aspect="equal")
    print(f"x = {x_o}: classifier, motes against exact (0.5 = indistinguishable) {motes.c2st(drawn, true).value:.3f}")
axes[0, 0].set(ylabel="exact\ntheta2")
axes[1, 0].set(ylabel="motes\ntheta2")
plt.close(fig)
fig

# %% [markdown]
# ## 4. Can you trust it?
#
# For two moons we know the answer. For your simulator you don't. But you can simulate, and then you know the parameter
# that produced each observation. *Simulation-based calibration* (Talts et al. 2018) uses this.
#
# Draw $\theta^* \sim p(\theta)$, then $\mathbf{x} \sim p(\mathbf{x} \mid \theta^*)$, then $L$ draws $\theta^1, \dots,
# \theta^L$ of the model's posterior given $\mathbf{x}$. The pair $(\theta^*, \mathbf{x})$ has the joint distribution,
# so given $\mathbf{x}$, $\theta^*$ has the distribution $p(\theta \mid \mathbf{x})$. If the model is exact, $\theta^*,
# \theta^1, \dots, \theta^L$ are then $L + 1$ independent draws from one distribution. None of them is special, so each
# is equally likely to be the smallest, the second smallest, and so on: **the rank of $\theta^*$ among the draws is
# uniform on $0, \dots, L$.** If the model is too narrow, $\theta^*$ is too often outside the draws, and the ranks pile
# up at both ends. If it is too wide, they pile up in the middle. If it is shifted, at one end.
#
# From scratch, for the exact posterior of section 1 and two that are wrong:


# %%
def ranks(theta, draws):
    """Return how many draws (m, L) are below the true parameter (m,)."""
    return np.sum(draws < theta[:, None], axis=1)


fresh = rng.standard_normal(4000)
mu, std = exact(simulate(fresh, rng))
fig, axes = plt.subplots(1, 3, figsize=(10, 2.7), layout="constrained")
for ax, (name, bias, width) in zip(
    axes, (("exact", 0, 1), ("a third too narrow", 0, 2 / 3), ("shifted", 0.4, 1)), strict=True
):
    found = ranks(fresh, mu[:, None] + std * (bias + width * rng.standard_normal((4000, 99))))
    ax.hist(found, bins=20, range=(0, 100), color=LIGHT.synthetic, alpha=0.7)
    ax.axhline(200, color=LIGHT.real)
    ax.set(title=name, xlabel="rank of the true parameter", yticks=[])
    inside = np.mean((found >= 5) & (found < 95))
    p = kstest((found + 0.5) / 100, "uniform").pvalue
    print(f"{name:<20} the 90 % interval holds {inside:.1%}; p-value of uniform ranks {p:.2g}")
plt.close(fig)
fig

# %% [markdown]
# `motes.calibration` does this for a trained model, with more tests. Its ranks equal ours. (They could differ only if a
# draw equalled the true parameter, and none does.)

# %%
fresh = rng.uniform(-1, 1, (400, 2))
x_fresh = simulate_moons(fresh)
found = motes.calibration(model, fresh, x_fresh, seed=0)
draws = model.sample(99, given=x_fresh, seed=0)  # (400, 99, 2)
for j in (0, 1):
    np.testing.assert_array_equal(found.ranks[:, j], ranks(fresh[:, j], draws[..., j]))
print(found)

# %% [markdown]
# **What ranks cannot see.** Replace every posterior with the prior. Then $\theta^*$ and all draws come from the prior,
# they are again $L + 1$ draws from one distribution, and the ranks are uniform. The prior is perfectly calibrated, and
# useless. Uniform ranks are necessary, not sufficient. This is why `motes.calibration` has one more test, in the row
# *all columns*: the distance of draws and truth to a point that depends on $\mathbf{x}$ (Lemos et al. 2023). The prior
# fails this test.
#
# ## 5. Several observations
#
# You observe $m$ independent data sets $\mathbf{x}_1, \dots, \mathbf{x}_m$ of the same parameter, but the network was
# trained on one. Bayes' rule for all of them, and then for each single factor,
# $p(\mathbf{x}_i \mid \theta) \propto p(\theta \mid \mathbf{x}_i) / p(\theta)$:
#
# $$p(\theta \mid \mathbf{x}_1, \dots, \mathbf{x}_m) \propto p(\theta)\prod_{i=1}^m p(\mathbf{x}_i \mid \theta)
# \propto p(\theta)\prod_{i=1}^m\frac{p(\theta \mid \mathbf{x}_i)}{p(\theta)}
# = p(\theta)^{1-m}\prod_{i=1}^m p(\theta \mid \mathbf{x}_i).$$
#
# Each posterior contains the prior, and it must count once. For Gaussians, precisions add up: $m$ precisions of
# posteriors, minus $m - 1$ of the prior. motes composes the denoisers of single observations in this way at every noise
# level (Geffner et al. 2023; Linhart et al. 2024). It is exact for Gaussian posteriors, so we try it on section 1.
# There, a linear regression inside motes already knows the answer, and 200 training steps suffice.

# %%
theta = rng.standard_normal((4000, 1))
changes = {"training.steps": 200, "training.ema": 0.96, "network.members": 1}
linear = motes.fit(theta, columns=["theta"], given=simulate(theta[:, 0], rng), changes=changes, seed=0, verbose=False)
trials = simulate(np.full(5, 0.7), rng)

together = linear.sample(2000, given=trials, iid=True, seed=1)
total = 1 + 5 * np.sum(1 / s**2)
print(f"five trials: drawn {together.mean():.3f} +- {together.std():.3f};  ", end="")
print(f"exact {trials.sum(axis=0) @ (1 / s**2) / total:.3f} +- {total**-0.5:.3f}")

# %% [markdown]
# ## 6. Find the fault
#
# `fault(12)` is a posterior for the simulator of section 1. `suspect.sample(x, n, seed=0)` draws `n` parameters for
# each observation in `x` (m, 2) and returns them as (m, n). Something is wrong with it. These are the suspects:
#
# | word | suspicion |
# |---|---|
# | `narrow` | its posteriors are too narrow |
# | `shifted` | its posteriors are shifted |
# | `prior` | it draws from the prior, whatever the observation |
# | `noise` | it was made for a simulator with other noise |
# | `constant` | its width should depend on the observation, and does not |
# | `blind` | it does not see a part of the observation |
#
# The cell below asks the first question: are its ranks uniform? Then ask your own; `hint("fault_12")` helps. Change the
# observation, and compare the draws with `exact(x)`.

# %%
suspect = fault(12)
fresh = rng.standard_normal(2000)
x_fresh = simulate(fresh, rng)
found = ranks(fresh, suspect.sample(x_fresh, 99))
print(suspect)
print(f"the 90 % interval holds {np.mean((found >= 5) & (found < 95)):.1%}; p-value of uniform ranks", end=" ")
print(kstest((found + 0.5) / 100, "uniform").pvalue.round(2))

# %%
verdict = ...  # one of the words, for example "narrow"

check("fault_12", verdict)

# %% [markdown]
# ## 7. Exercises
#
# Fill in the functions and run their cells. `check` tries them on inputs that you do not see, and names the usual
# mistakes. If you are stuck, run `hint("linear_posterior")` in a new cell for a first idea, and
# `hint("linear_posterior", 2)` for more. `solution("linear_posterior")` shows an answer.
#
# ### 12.1 `linear_posterior` (easy)
#
# $\theta \sim \mathcal{N}(0, \tau^2)$, and one measurement $x = a\theta + s\epsilon$. Return the mean and the standard
# deviation of $\theta$ given $x$, as a tuple.


# %%
def linear_posterior(x, a, tau, s): ...


check("linear_posterior", linear_posterior)

# %% [markdown]
# ### 12.2 `pooled_posterior` (middle)
#
# The prior is $\mathcal{N}(0, \tau^2)$. For each of $m$ independent observations you know the posterior given this
# observation alone, a Gaussian with mean `means[i]` and standard deviation `stds[i]`. Return the mean and the standard
# deviation of $\theta$ given all of them, as a tuple.


# %%
def pooled_posterior(means, stds, tau): ...


check("pooled_posterior", pooled_posterior)

# %% [markdown]
# ### 12.3 `coverage` (research)
#
# The true posterior is $\mathcal{N}(\mu, \mathrm{sd}^2)$. A model answers
# $\mathcal{N}(\mu + \text{bias}\cdot\mathrm{sd},\ (\text{width}\cdot\mathrm{sd})^2)$. Return the probability that
# $\theta$ lies in the model's central interval of a `level` such as 0.9. Then find two errors, of bias and of width,
# that cancel at 90 %: the coverage is right and the posterior is wrong. At which other level would you notice?


# %%
def coverage(level, bias, width): ...


check("coverage", coverage)

# %% [markdown]
# ## What you learned
#
# - Regression on simulated pairs, with the observation as an input, learns the denoiser of the posterior, without any
#   likelihood.
# - The rank of the true parameter among the draws is uniform if the posterior is exact. The converse is wrong: the
#   prior is calibrated, too.
# - The posterior given several observations is the product of the single ones, with the prior counted once.
#
# ## Next
#
# This was the last lab. Bring your own data: [posteriors](../posteriors.md) for simulators, [tables](../tables.md) for
# data frames, and [extend motes](../extending.md) for your own schedule, loss, network or sampler.
#
# ## References
#
# - D. Greenberg, M. Nonnenmacher, J. Macke (2019). *Automatic posterior transformation for likelihood-free inference.*
#   arXiv:1905.07488.
# - S. Talts et al. (2018). *Validating Bayesian inference algorithms with simulation-based calibration.*
#   arXiv:1804.06788.
# - P. Lemos et al. (2023). *Sampling-based accuracy testing of posterior estimators for general inference.*
#   arXiv:2302.03026.
# - T. Geffner, G. Papamakarios, A. Mnih (2023). *Compositional score modeling for simulation-based inference.*
#   arXiv:2209.14249.
# - J. Linhart et al. (2024). *Diffusion posterior sampling for simulation-based inference in tall data settings.*
#   arXiv:2404.07593.
