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
# # Lab 2: The forward process and its posterior
#
# **Goal.** You add noise in many small steps and jump over all of them in one formula. Then you derive where a point
# was one step ago, if you know where it is and where it began, and check the result by simulation.
#
# You need [lab 1](lab01.py), above all: variances of independent Gaussians add.

# The next cell installs motes from the checkout that contains this file. Skip it if `import motes` works for you. On
# Colab, upload the checkout first.

# %%
# %pip install -q -e ../..

# %%
import jax.numpy as jnp
import numpy as np

from motes import plots
from motes.course import check, hint, solution
from motes.plots.canvas import add_legend, dress, new_axes, new_figure, single_axes
from motes.points import DiscreteVP, LinearBetas, q_posterior, q_sample, q_transition
from motes.points.schedules import CosineBetas, SigmoidBetas

LIGHT = plots.STYLES["light"]  # blue: exact; amber: simulated

# %% [markdown]
# ## 1. Noise in small steps
#
# The forward process turns a data point $\mathbf{x}_0$ into noise in $T$ steps. Step $t$ shrinks the point a little and
# adds a little Gaussian noise, whose variance is $\beta_t$:
#
# $$q(\mathbf{x}_t\mid\mathbf{x}_{t-1}) =
# \mathcal{N}\!\left(\mathbf{x}_t;\ \sqrt{1-\beta_t}\,\mathbf{x}_{t-1},\ \beta_t\mathbf{I}\right),
# \qquad\text{or}\qquad
# \mathbf{x}_t = \sqrt{1-\beta_t}\,\mathbf{x}_{t-1} + \sqrt{\beta_t}\,\boldsymbol\epsilon_t .$$
#
# Read $q(\mathbf{x}_t\mid\mathbf{x}_{t-1})$ as "the density of $\mathbf{x}_t$, given $\mathbf{x}_{t-1}$". $\mathbf{I}$
# is the identity matrix: each column gets noise of its own, with variance $\beta_t$. The squares of the two factors add
# up to 1, so a variance of 1 stays 1 (lab 1). Each $\boldsymbol\epsilon_t$ is a new independent draw from
# $\mathcal{N}(\mathbf{0},\mathbf{I})$. All columns are treated alike, so one column shows everything. Below, 400,000
# walkers start at the same $x_0$ and take 20 steps.

# %%
rng = np.random.default_rng(0)
T = 20
betas = np.linspace(0.01, 0.3, T)  # beta_1 ... beta_T; beta_t is betas[t - 1]
x_0 = 1.5
paths = [np.full(400_000, x_0)]
for beta in betas:
    eps = rng.standard_normal(paths[0].size)
    paths.append(np.sqrt(1 - beta) * paths[-1] + np.sqrt(beta) * eps)
# paths[t] has x_t of all walkers

# %%
ax = single_axes(LIGHT, 7.5, 3.8)
ax.plot(np.stack(paths)[:, :60], color=LIGHT.synthetic, linewidth=0.6, alpha=0.6)
ax.plot([path.mean() for path in paths], color=LIGHT.foreground, linewidth=2)
dress(ax, LIGHT)
ax.set(xlabel="step $t$", ylabel="$x_t$", title="60 of the walkers, and the mean of all", xticks=range(0, T + 1, 5))
ax

# %% [markdown]
# ## 2. All steps in one
#
# Write $a_t = 1-\beta_t$. Put step 1 into step 2:
#
# $$x_2 = \sqrt{a_2}\left(\sqrt{a_1}\,x_0 + \sqrt{1-a_1}\,\epsilon_1\right) + \sqrt{1-a_2}\,\epsilon_2
# = \sqrt{a_1a_2}\,x_0 + \underbrace{\sqrt{a_2(1-a_1)}\,\epsilon_1 + \sqrt{1-a_2}\,\epsilon_2}_{\text{noise}} .$$
#
# The two noises are independent Gaussians, so their sum is a Gaussian, and its variance is the sum
#
# $$a_2(1-a_1) + (1-a_2) = a_2 - a_1a_2 + 1 - a_2 = 1 - a_1a_2 .$$
#
# So $x_2 = \sqrt{a_1a_2}\,x_0 + \sqrt{1-a_1a_2}\,\epsilon$ with one $\epsilon\sim\mathcal{N}(0,1)$: the same form as
# one step, with $a_1a_2$ instead of $a_1$. The same calculation with $a_1a_2$ and $a_3$ gives $a_1a_2a_3$, and so
# on. With $\bar\alpha_t = a_1a_2\cdots a_t$,
#
# $$q(\mathbf{x}_t\mid\mathbf{x}_0) =
# \mathcal{N}\!\left(\mathbf{x}_t;\ \sqrt{\bar\alpha_t}\,\mathbf{x}_0,\ (1-\bar\alpha_t)\,\mathbf{I}\right).$$
#
# The mean contains $\mathbf{x}_0$, the beginning. (The original tutorial writes $\mathbf{x}_{t-1}$ here, which would
# shrink the point by $\sqrt{\bar\alpha_t}$ in every single step.)
#
# ### Exercise 2.1: alpha-bar (easy)
#
# Return $\bar\alpha_1, \dots, \bar\alpha_T$ as an array (T,), from `betas` (T,).
#
# If you are stuck, run `hint("alphas_bar")` in a new cell for a first idea, and `hint("alphas_bar", 2)` for more.
# `solution("alphas_bar")` shows an answer.


# %%
def alphas_bar(betas): ...


check("alphas_bar", alphas_bar)

# %% [markdown]
# The walkers agree with the formula. The standard error of a mean of 400,000 numbers with standard deviation $s$ is
# $s/\sqrt{400{,}000}$, and the columns "walkers" and "formula" should differ by about this much.

# %%
bar = [1.0]
for beta in betas:
    bar.append(bar[-1] * (1 - beta))
bar = np.array(bar)  # bar[t] is alpha-bar_t, and bar[0] = 1

print("  t   mean: walkers  formula    variance: walkers  formula   standard error of the mean")
for t in (1, 5, 10, 20):
    x_t = paths[t]
    formula = np.sqrt(bar[t]) * x_0, 1 - bar[t]
    error = np.sqrt(formula[1] / x_t.size)
    print(f"{t:3d} {x_t.mean():13.4f} {formula[0]:10.4f} {x_t.var():16.4f} {formula[1]:10.4f} {error:15.4f}")
    assert abs(x_t.mean() - formula[0]) < 5 * error

# %% [markdown]
# ### The same by `motes`
#
# `DiscreteVP` is a schedule made from betas. Its time runs from 0 to 1, so step $t$ is at `t / T`. `q_transition` is
# one step or many, and `q_sample` is the jump from $\mathbf{x}_0$.

# %%
schedule = DiscreteVP(betas)
one_step = q_transition(schedule, jnp.asarray(x_0), 9 / T, 10 / T)
np.testing.assert_allclose(one_step, (np.sqrt(1 - betas[9]) * x_0, betas[9]), rtol=1e-4)
all_steps = q_transition(schedule, jnp.asarray(x_0), 0.0, 1.0)
np.testing.assert_allclose(all_steps, (np.sqrt(bar[T]) * x_0, 1 - bar[T]), rtol=1e-4)
jump = q_sample(schedule, jnp.asarray(x_0), 10 / T, jnp.asarray(0.7))
np.testing.assert_allclose(jump, np.sqrt(bar[10]) * x_0 + np.sqrt(1 - bar[10]) * 0.7, rtol=1e-4)

# %% [markdown]
# ### Does the signal die?
#
# The last $\bar\alpha_T$ should be close to 0, because sampling will start from pure noise. Here are three choices of
# betas with $T = 100$; the original tutorial uses the first.

# %%
choices = {
    "sigmoid, up to 0.005 (the original)": SigmoidBetas(100, 1e-5, 5e-3).betas,
    "linear, up to 0.1": LinearBetas(100, 1e-4, 0.1).betas,
    "cosine": CosineBetas(100).betas,
}
ax = single_axes(LIGHT)
for (name, made), colour in zip(choices.items(), (LIGHT.synthetic, LIGHT.real, LIGHT.foreground), strict=True):
    kept = np.cumprod(1 - np.asarray(made))
    ax.plot(np.arange(1, 101), kept, color=colour, label=name, linewidth=2)
    print(f"{name:<36} alpha-bar_T = {kept[-1]:.4f}")
dress(ax, LIGHT)
ax.set(xlabel="step $t$", ylabel=r"$\bar\alpha_t$, share of the data")
add_legend(ax, LIGHT)
ax

# %% [markdown]
# With the original's betas, 78 % of the variance is still data after the last step. No later part of the tutorial
# can repair this. Lab 5 measures the damage.
#
# ## 3. One step back
#
# Now the question that all of diffusion rests on. A walker is at $x_t$ and began at $x_0$. Where was it at step $t-1$?
# We can look: of all walkers, keep those that are near $x_{10} = 0.4$ at step 10, and see where they were at step 9.

# %%
t, x_t = 10, 0.4
near = np.abs(paths[t] - x_t) < 0.02
before = paths[t - 1][near]
print(f"{near.sum():,} walkers; x_9 has mean {before.mean():.3f} and variance {before.var():.4f}")

# %% [markdown]
# ### The derivation
#
# Bayes' rule reverses the step. Everything in it is given $x_0$:
#
# $$q(x_{t-1}\mid x_t, x_0) = \frac{q(x_t\mid x_{t-1}, x_0)\; q(x_{t-1}\mid x_0)}{q(x_t\mid x_0)} .$$
#
# In the first factor $x_0$ can be dropped: a walker at $x_{t-1}$ steps on without remembering where it began. The
# denominator does not contain $x_{t-1}$. So, as a function of $x_{t-1}$,
#
# $$q(x_{t-1}\mid x_t, x_0) \;\propto\; q(x_t\mid x_{t-1})\; q(x_{t-1}\mid x_0) .$$
#
# Both factors are Gaussians that we know. Their exponents add up to $-\frac12 E$ with
#
# $$E = \frac{(x_t - \sqrt{a_t}\,x_{t-1})^2}{\beta_t}
# + \frac{(x_{t-1} - \sqrt{\bar\alpha_{t-1}}\,x_0)^2}{1-\bar\alpha_{t-1}} .$$
#
# Multiply out and collect powers of $x_{t-1}$. Terms without $x_{t-1}$ are constant:
#
# $$E = \underbrace{\left(\frac{a_t}{\beta_t} + \frac{1}{1-\bar\alpha_{t-1}}\right)}_{P} x_{t-1}^2
# \;-\; 2\underbrace{\left(\frac{\sqrt{a_t}}{\beta_t}\,x_t
# + \frac{\sqrt{\bar\alpha_{t-1}}}{1-\bar\alpha_{t-1}}\,x_0\right)}_{B} x_{t-1} + \text{const}
# = P\left(x_{t-1} - \frac{B}{P}\right)^2 + \text{const} .$$
#
# The last step completes the square. So the answer is a Gaussian with mean $B/P$ and variance $1/P$. $P$ is called its
# *precision*: precisions add when two pieces of evidence are combined, and the mean weighs each piece by its precision.
#
# Simplify $P$. With $a_t\bar\alpha_{t-1} = \bar\alpha_t$ and $\beta_t = 1 - a_t$,
#
# $$P = \frac{a_t(1-\bar\alpha_{t-1}) + \beta_t}{\beta_t(1-\bar\alpha_{t-1})}
# = \frac{a_t - \bar\alpha_t + 1 - a_t}{\beta_t(1-\bar\alpha_{t-1})}
# = \frac{1-\bar\alpha_t}{\beta_t(1-\bar\alpha_{t-1})} ,$$
#
# and therefore
#
# $$\tilde\beta_t = \frac1P = \frac{1-\bar\alpha_{t-1}}{1-\bar\alpha_t}\,\beta_t , \qquad
# \tilde\mu_t = \frac BP
# = \frac{\sqrt{\bar\alpha_{t-1}}\,\beta_t}{1-\bar\alpha_t}\,x_0
# + \frac{\sqrt{a_t}\,(1-\bar\alpha_{t-1})}{1-\bar\alpha_t}\,x_t .$$
#
# This is [1, eqs. 6 and 7]. Two checks without a computer: at $t = 1$, $\bar\alpha_0 = 1$, so the variance is 0 and the
# mean is $x_0$: before the first step, the walker was at its beginning. (The derivation divides by
# $1-\bar\alpha_{t-1}$, so it needs $t\ge 2$; the result holds at $t = 1$ too.) And $\tilde\beta_t < \beta_t$, because
# $\bar\alpha_{t-1} > \bar\alpha_t$ makes the fraction smaller than 1.
#
# Now in numbers: the formula with precisions, `q_posterior` of `motes`, and the walkers.

# %%
precision = (1 - betas[t - 1]) / betas[t - 1] + 1 / (1 - bar[t - 1])
weighted = np.sqrt(1 - betas[t - 1]) / betas[t - 1] * x_t + np.sqrt(bar[t - 1]) / (1 - bar[t - 1]) * x_0
mu, variance = weighted / precision, 1 / precision

posterior = q_posterior(schedule, jnp.asarray(x_t), jnp.asarray(x_0), t / T, (t - 1) / T)
np.testing.assert_allclose(posterior, (mu, variance), rtol=1e-4)
print(f"formula:  mean {mu:.3f}, variance {variance:.4f}")
print(f"walkers:  mean {before.mean():.3f} +- {before.std() / before.size**0.5:.3f}, variance {before.var():.4f}")
assert abs(before.mean() - mu) < 5 * before.std() / before.size**0.5

# %%
grid = np.linspace(-1.2, 2.8, 300)


def gaussian(x, mean, variance):
    return np.exp(-((x - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)


ax = single_axes(LIGHT)
label = "walkers that are near $x_{10}$ = 0.4 one step later"
ax.hist(before, bins=60, density=True, color=LIGHT.synthetic, alpha=0.6, label=label)
ax.plot(grid, gaussian(grid, mu, variance), color=LIGHT.real, linewidth=2.5, label="posterior, exact")
ax.plot(grid, gaussian(grid, np.sqrt(bar[9]) * x_0, 1 - bar[9]), "--", color=LIGHT.muted, label="$x_{10}$ not known")
dress(ax, LIGHT)
ax.set(xlabel="$x_9$", yticks=[], ylim=(0, 1.7))
add_legend(ax, LIGHT)
ax

# %% [markdown]
# ### Exercise 2.2: the mean of the posterior (middle)
#
# Return the mean of $q(\mathbf{x}_{t-1}\mid\mathbf{x}_t,\mathbf{x}_0)$ for points `x_t` and `x_0`, both (n, d), a step
# `t` from 1 to T, and `betas` (T,).


# %%
def posterior_mean(x_t, x_0, t, betas): ...


check("posterior_mean", posterior_mean)

# %% [markdown]
# ### Exercise 2.3: any two times, any schedule (research)
#
# Fast samplers skip steps, and other schedules do not keep the variance at 1. From $s$ to $t > s$ a process multiplies
# $x_s$ by a number and adds fresh, independent Gaussian noise, so that $x_s = \alpha_s x_0 + \sigma_s\epsilon$ and $x_t
# = \alpha_t x_0 + \sigma_t\epsilon'$. ($\epsilon'$ contains a part of $\epsilon$: the two are not independent.) `x_t`
# and `x_0` are (d,), and the others are numbers. Return the mean (d,) and the variance (a number) of $q(x_s\mid x_t,
# x_0)$, as a tuple. (`q_posterior` of `motes` does this. Derive it before you look.)


# %%
def skip_posterior(x_t, x_0, alpha_s, sigma_s, alpha_t, sigma_t): ...


check("skip_posterior", skip_posterior)

# %% [markdown]
# ## 4. If the beginning is not known
#
# When you generate data, $x_0$ is what you are looking for. Then $q(x_{t-1}\mid x_t)$ is a mixture: for each $x_0$
# that is possible, its posterior, weighted by how likely that $x_0$ is, given $x_t$:
#
# $$q(x_{t-1}\mid x_t) = \sum_{x_0} q(x_0\mid x_t)\; q(x_{t-1}\mid x_t, x_0), \qquad
# q(x_0\mid x_t) \propto q(x_0)\; q(x_t\mid x_0) .$$
#
# Is it a Gaussian? Take data that is -1 or 1, each with probability 1/2. Given $x_t = 0$, both are still equally
# likely. From $\bar\alpha_t = 0.3$ we take one step back, of three different lengths: to $\bar\alpha_s = 0.95$, to 0.6
# and to 0.33.

# %%
figure = new_figure(10.5, 3.2, LIGHT)
alpha_bar_t = 0.3
grid = np.linspace(-1.8, 1.8, 400)
for place, alpha_bar_s in enumerate((0.95, 0.6, 0.33), 1):
    factor2 = alpha_bar_t / alpha_bar_s  # a_t of a step from s to t
    beta = 1 - factor2
    mean = np.sqrt(alpha_bar_s) * beta / (1 - alpha_bar_t)  # of x_0 = 1 and x_t = 0
    variance = beta * (1 - alpha_bar_s) / (1 - alpha_bar_t)
    exact = (gaussian(grid, mean, variance) + gaussian(grid, -mean, variance)) / 2
    ax = new_axes(figure, 1, 3, place)
    ax.plot(grid, exact, color=LIGHT.real, linewidth=2.5, label="exact $q(x_s|x_t)$")
    fitted = gaussian(grid, 0, variance + mean**2)  # a Gaussian with the same mean and variance
    ax.plot(grid, fitted, color=LIGHT.synthetic, linewidth=2, linestyle="--", label="Gaussian")
    dress(ax, LIGHT)
    ax.set(xlabel="$x_s$", yticks=[], ylim=(0, None), title=rf"step with $\beta$ = {beta:.2f}")
add_legend(figure.axes[0], LIGHT, loc="upper center")
figure.axes[0].set_ylim(0, 1.6 * figure.axes[0].get_ylim()[1])
figure

# %% [markdown]
# A large step back has two possible ends, and no Gaussian describes it. In a small step they have moved together, and a
# Gaussian is nearly exact. **This is why diffusion takes many small steps**: each step back can then be a Gaussian, and
# all that a network has to supply is its mean. The mean is the average of $\tilde\mu_t$ over the possible $x_0$, and
# because $\tilde\mu_t$ is linear in $x_0$, it is enough to know the average of $x_0$:
#
# $$\mathbb{E}[x_{t-1}\mid x_t] = \frac{\sqrt{\bar\alpha_{t-1}}\,\beta_t}{1-\bar\alpha_t}\,\mathbb{E}[x_0\mid x_t]
# + \frac{\sqrt{a_t}\,(1-\bar\alpha_{t-1})}{1-\bar\alpha_t}\,x_t .$$
#
# $\mathbb{E}[x_0\mid x_t]$, the best guess of the clean point, is called the *denoiser*. Almost everything that this
# course learns for points is a denoiser, or one in other units; only the one-step maps of lab 10 are not.
#
# ## What you learned
#
# - $T$ small steps are one large step: $\bar\alpha_t$ is the product of all $1-\beta_t$.
# - Given $x_0$, a step back is a Gaussian. Its precision is a sum, and its mean is a weighted average of $x_0$ and
#   $x_t$.
# - You can check a derivation by simulation: keep the walkers that meet the condition, and take their mean and
#   variance.
# - Without $x_0$ a step back is a mixture, and nearly a Gaussian if the step is small. Its mean needs only the denoiser
#   $\mathbb{E}[x_0\mid x_t]$.
#
# ## Next
#
# [Lab 3](lab03.py) turns "a Gaussian with a good mean" into a number that can be minimised: the loss.
#
# ## Reference
#
# [1] J. Ho, A. Jain, P. Abbeel (2020). *Denoising diffusion probabilistic models.* arXiv:2006.11239.
