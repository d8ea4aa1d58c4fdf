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
# # Lab 5: The reverse chain
#
# **Goal.** Run a diffusion model backwards, from noise to data, with a denoiser that makes no mistakes. Its samples are
# wrong all the same, and you find out why: four possible causes, each with a number that measures it.
#
# You need [lab 2](lab02.py), the forward process and its posterior; [lab 3](lab03.py), the KL divergence; and the table
# of JAX functions in [lab 4](lab04.py).

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
from motes.course import check, fault, hint, solution
from motes.points import Ancestral, GaussianOracle, LinearBetas, ReverseProcess, UniformGrid
from motes.points.schedules import SigmoidBetas

jax.config.update("jax_enable_x64", True)  # double precision, so that comparisons hold to rounding
LIGHT = plots.STYLES["light"]  # blue is real or exact, amber is what the chain assumes
BOX = (-2.8, 3.0)  # both axes of pictures with noise

# %% [markdown]
# ## 1. One step back
#
# The forward process shrinks a point a little and adds noise. Write $a = \sqrt{1-\beta}$ for the factor of one step
# (labs 2 and 3 call it $\sqrt{a_t}$):
#
# $$q(\mathbf{x}_t \mid \mathbf{x}_{t-1}) = \mathcal{N}(\mathbf{x}_t;\ a\,\mathbf{x}_{t-1},\ \beta\mathbf{I}).$$
#
# To go back, you need $q(\mathbf{x}_{t-1} \mid \mathbf{x}_t)$. Bayes' rule gives it, up to a factor that does not
# depend on $\mathbf{x}_{t-1}$:
#
# $$\log q(\mathbf{x}_{t-1} \mid \mathbf{x}_t)
# = \log q_{t-1}(\mathbf{x}_{t-1}) - \frac{\|\mathbf{x}_t - a\,\mathbf{x}_{t-1}\|^2}{2\beta} + \text{const}.$$
#
# The second term is a narrow Gaussian around $\mathbf{x}_t / a$, with standard deviation $\sqrt\beta / a$. The first
# term, the log-density of the noisy data, is some unknown curve. *If the step is small*, the Gaussian is so narrow
# that the curve is nearly straight across it. Let $\mathbf{g}$ be its slope there, the **score**, and replace the
# curve by a straight line. (To the same accuracy, $\mathbf{g}$ may be the slope of $\log q_t$ at $\mathbf{x}_t$, which
# a network can learn.)
#
# $$\log q(\mathbf{x}_{t-1} \mid \mathbf{x}_t)
# \approx \mathbf{g}\cdot\mathbf{x}_{t-1} - \frac{\|\mathbf{x}_t - a\,\mathbf{x}_{t-1}\|^2}{2\beta} + \text{const}.$$
#
# Complete the square. The terms with $\mathbf{x}_{t-1}$ are
#
# $$-\frac{a^2}{2\beta}\|\mathbf{x}_{t-1}\|^2 + \Big(\frac{a}{\beta}\mathbf{x}_t + \mathbf{g}\Big)\cdot\mathbf{x}_{t-1}
# = -\frac{a^2}{2\beta}\,\left\|\mathbf{x}_{t-1}
# - \frac{1}{a}\Big(\mathbf{x}_t + \frac{\beta}{a}\mathbf{g}\Big)\right\|^2 + \text{const}.$$
#
# So a small reverse step is a Gaussian step too. Its mean is $\frac1a(\mathbf{x}_t + \frac\beta a\mathbf{g}) \approx
# \frac1a(\mathbf{x}_t + \beta\mathbf{g})$ and its variance is $\beta / a^2 \approx \beta$: both replacements change the
# mean and the variance only by terms of order $\beta^2$. **Undo the shrinking, and move a little to where points are
# more likely; then add as much noise as the forward step did.**
#
# DDPM (Ho et al. 2020) takes this step from another direction. Lab 2 gave the posterior of a step for a known
# $\mathbf{x}_0$, and DDPM puts the estimate $\hat{\mathbf{x}}_0 \approx \mathbb{E}[\mathbf{x}_0 \mid \mathbf{x}_t]$ in
# its place:
#
# $$\boldsymbol\mu = c_0\,\hat{\mathbf{x}}_0 + c_t\,\mathbf{x}_t, \qquad
# c_0 = \frac{\sqrt{\bar\alpha_{t-1}}\,\beta}{1-\bar\alpha_t}, \qquad
# c_t = \frac{a\,(1-\bar\alpha_{t-1})}{1-\bar\alpha_t}.$$
#
# This is the same mean. Split
# $\mathbf{x}_t = \sqrt{\bar\alpha_t}\,\hat{\mathbf{x}}_0 + \sigma_t\hat{\boldsymbol\epsilon}$ with
# $\sigma_t^2 = 1 - \bar\alpha_t$, solve for
# $\hat{\mathbf{x}}_0 = (\mathbf{x}_t - \sigma_t\hat{\boldsymbol\epsilon}) / \sqrt{\bar\alpha_t}$, and put it in. With
# $\bar\alpha_t = a^2\bar\alpha_{t-1}$, the coefficient of $\mathbf{x}_t$ becomes
#
# $$\frac{\beta}{a\,(1-\bar\alpha_t)} + \frac{a\,(1-\bar\alpha_{t-1})}{1-\bar\alpha_t}
# = \frac{\beta + a^2 - a^2\bar\alpha_{t-1}}{a\,(1-\bar\alpha_t)}
# = \frac{1 - \bar\alpha_t}{a\,(1-\bar\alpha_t)} = \frac1a,$$
#
# because $\beta + a^2 = 1$. The coefficient of $\hat{\boldsymbol\epsilon}$ becomes
# $-\frac{\beta\,\sigma_t}{a\,(1-\bar\alpha_t)} = -\frac{\beta}{a\,\sigma_t}$. So
#
# $$\boldsymbol\mu = \frac1a\Big(\mathbf{x}_t - \frac{\beta}{\sigma_t}\hat{\boldsymbol\epsilon}\Big),$$
#
# and lab 6 shows that $-\hat{\boldsymbol\epsilon} / \sigma_t$ is the score $\mathbf{g}$. Two derivations, one step.
#
# ### From scratch
#
# We take the schedule of the original tutorial, $T = 100$ steps with betas along a sigmoid, and its two moons. The
# denoiser is the exact $\mathbb{E}[\mathbf{x}_0 \mid \mathbf{x}_t]$ of the distribution that the moons are drawn from:
# 256 points along two arcs, blurred by Gaussian noise of standard deviation 0.1. Lab 6 derives it. For now, think of it
# as a perfectly trained network.

# %%
T = 100
betas = 1e-5 + (5e-3 - 1e-5) / (1 + np.exp(-np.linspace(-6, 6, T)))
bars = np.cumprod(1 - betas)  # alpha-bar after step k, at time t = (k + 1) / T
moons = motes.truth("moons").distribution
arcs, weights, blur = moons.lows, moons.weights, moons.spread


def denoise(x_t, bar):
    """Return the exact E[x_0 | x_t] and Var[x_0 | x_t] of each column, (n, 2) each."""
    variance = bar * blur**2 + 1 - bar
    offset = x_t[:, None] - np.sqrt(bar) * arcs  # (n, 256, 2)
    log_share = np.log(weights) - np.sum(offset**2, axis=2) / (2 * variance)
    share = np.exp(log_share - log_share.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    centres = arcs + np.sqrt(bar) * blur**2 / variance * offset  # of x_0, if it belongs to this point of the arcs
    mean, square = (np.einsum("nk,nkd->nd", share, power) for power in (centres, centres**2))
    return mean, square - mean**2 + blur**2 * (1 - bar) / variance


def reverse_chain(x_T, noise, bars, variance="beta", denoise_last=True):
    """Return the chain from x_T (n, 2) to the samples, (T + 1, n, 2), with standard normal `noise` (T, n, 2)."""
    chain = [x_T]
    for k in range(len(bars))[::-1]:
        bar, before = bars[k], bars[k - 1] if k else 1.0
        beta = 1 - bar / before
        c0, ct = np.sqrt(before) * beta / (1 - bar), np.sqrt(1 - beta) * (1 - before) / (1 - bar)
        x0_hat, spread = denoise(chain[-1], bar)
        posterior = beta * (1 - before) / (1 - bar)
        size = {"beta": beta, "posterior": posterior, "best": posterior + c0**2 * spread}[variance]
        fresh = np.sqrt(size) * noise[k] if k or not denoise_last else 0.0
        chain.append(c0 * x0_hat + ct * chain[-1] + fresh)
    return np.stack(chain)


# %% [markdown]
# With `variance="beta"` that is Algorithm 2 of Ho et al. (2020); sections 5 and 6 use the other options. Now the same
# with motes. A `ReverseProcess` has three parts: a denoiser, a sampler, and the times that it visits. motes draws the
# noise of each row and step from a random key of its own; we draw the same noise from the same keys, so that the two
# chains must agree point by point.

# %%
n, key = 1_000, jax.random.key(0)
schedule = SigmoidBetas(T, 1e-5, 5e-3).schedule()
oracle = motes.truth("moons").oracle(schedule)  # the exact denoiser
process = ReverseProcess(oracle, Ancestral(), UniformGrid(T)(schedule), dim=2)
x_T = np.random.default_rng(0).standard_normal((n, 2))
samples, chain = motes.points.sample(process, n, key=key, start=x_T, record=range(T + 1))

keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(n))
draws = jax.vmap(lambda key, step: jax.random.normal(jax.random.fold_in(key, step), (2,)), (0, None))
noise = np.stack([draws(keys, T - k) for k in range(T)])  # step k is the (T - k)-th that motes takes
mine = reverse_chain(x_T, noise, bars)
np.testing.assert_allclose(schedule.betas, betas, rtol=1e-12)
np.testing.assert_allclose(mine, chain, atol=1e-5)
print(f"largest difference in {chain.size:,} numbers: {np.abs(mine - chain).max():.1e}")

# %%
places = np.linspace(0, T, 6).astype(int)
plots.row(mine[places], (T - places) / T, process="reverse", view=plots.View(BOX, steps=T), style="light")

# %% [markdown]
# ## 2. The samples are wrong
#
# The denoiser is exact, so the samples should be indistinguishable from data. Measure it. The *sliced Wasserstein
# distance* projects both clouds onto many lines. On each line, it computes how far the points have to move (root mean
# square) to turn one cloud into the other; then it takes the root mean square over the lines, in standard deviations of
# the data. Two real draws are not at distance 0 either, so always print this reference value next to yours.

# %%
data, other = motes.truth("moons").sample(4_000, seed=1), motes.truth("moons").sample(n, seed=2)
near = plots.limits_of(data, robust=0.0)


def side_by_side(clouds):
    """Draw clouds next to each other on the same axes, each with its distance from the data in the title."""
    fig, axes = plt.subplots(1, len(clouds), figsize=(3.3 * len(clouds), 3.6), layout="constrained")
    for ax, (title, points) in zip(axes, clouds.items(), strict=True):
        distance = motes.sliced_w2(points, data)
        plots.scatter(points, ax=ax, limits=near, title=f"{title}\ndistance {distance:.3f}", style="light")
    plt.close(fig)  # a notebook would show it twice
    return fig


side_by_side({"exact denoiser, DDPM": samples, "two real draws": other})

# %% [markdown]
# Every sample lies on the moons, and still there are too many at the left end and too few at the right. No training
# can improve this: the denoiser is already perfect. The fault must be in what surrounds it. Four suspects follow.
#
# ## 3. First suspect: the start
#
# The chain starts from $\mathcal{N}(\mathbf{0}, \mathbf{I})$. The forward process ends in $\mathbf{x}_T =
# \sqrt{\bar\alpha_T}\,\mathbf{x}_0 + \sqrt{1-\bar\alpha_T}\,\boldsymbol\epsilon$. These are the same only if
# $\bar\alpha_T$ is nearly 0, and here it is not. The Kullback-Leibler divergence between the two says how different
# they are. We approximate $q(\mathbf{x}_T)$ by a Gaussian with the same mean $\mathbf{m}$ and covariance $\mathbf{C}$
# in $d$ columns; then the divergence is
#
# $$\mathrm{KL}(\mathcal{N}(\mathbf{m}, \mathbf{C})\,\|\,\mathcal{N}(\mathbf{0}, \mathbf{I}))
# = \tfrac12\big(\mathrm{tr}\,\mathbf{C} + \|\mathbf{m}\|^2 - d - \log\det\mathbf{C}\big).$$


# %%
def prior_gap(x, bar):
    """Return the KL in nats between a Gaussian like q(x_T) and N(0, I)."""
    mean, covariance = np.sqrt(bar) * x.mean(axis=0), bar * np.cov(x.T) + (1 - bar) * np.eye(2)
    return (np.trace(covariance) + mean @ mean - 2 - np.linalg.slogdet(covariance)[1]) / 2


print(f"alpha_bar_T = {bars[-1]:.3f}: {np.sqrt(bars[-1]):.0%} of the amplitude is left at t = T")
print(f"KL from a Gaussian like q(x_T) to N(0, I): {prior_gap(data, bars[-1]):.3f} nats")

# %% [markdown]
# To prove that the start is to blame, change nothing else: send the chain back from the true $q(\mathbf{x}_T)$, which
# is known here, but not when you sample in practice. Then repair it as you would in practice, with betas so large that
# $\bar\alpha_T$ is nearly 0.

# %%
to_noise = LinearBetas(T, 1e-4, 0.1).schedule()
rng = np.random.default_rng(3)
third = motes.truth("moons").sample(n, seed=4)
true_end = np.sqrt(bars[-1]) * third + np.sqrt(1 - bars[-1]) * rng.standard_normal((n, 2))
repaired = reverse_chain(x_T, noise, to_noise.alphas_bar)[-1]
end = to_noise.alphas_bar[-1]
print(f"with betas up to 0.1: alpha_bar_T = {end:.4f}, KL {prior_gap(data, end):.5f} nats")
side_by_side(
    {
        "from N(0, I)": mine[-1],
        "from the true q(x_T)": reverse_chain(true_end, noise, bars)[-1],
        "betas up to 0.1, from N(0, I)": repaired,
    }
)

# %% [markdown]
# Both remove the fault. Before you train a model, check its last $\bar\alpha$: `motes.diagnose(x, recipe)` does, and
# calls this fault `prior_mismatch`. It also asks for standardised data, because $\mathcal{N}(\mathbf{0}, \mathbf{I})$
# has mean 0 and standard deviation 1, and the closer the data is to that, the less is left to the schedule.
#
# ## 4. Second suspect: too few steps
#
# Section 1 replaced a curve by a straight line. That is right for small steps only. Look at one step in one dimension,
# for data of two narrow modes at -1 and 1. Bayes' rule gives the exact $q(x_s \mid x_t)$ on a grid (blue); the chain
# draws from a Gaussian (amber).

# %%
grid = np.linspace(-3, 3, 1_201)
fig, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
bar_t, x_t = 0.3, 0.25
for ax, bar_s in zip(axes, (0.31, 0.5, 0.95), strict=True):
    beta = 1 - bar_t / bar_s  # one step from bar_s to bar_t
    modes = [-np.log(v) / 2 - (grid - np.sqrt(bar_s) * m) ** 2 / (2 * v) for m in (-1, 1) for v in [1 - 0.99 * bar_s]]
    exact = np.exp(np.logaddexp(*modes) - (x_t - np.sqrt(1 - beta) * grid) ** 2 / (2 * beta))
    exact /= exact.sum() * (grid[1] - grid[0])
    v_t = 1 - 0.99 * bar_t  # of each mode at t, for modes of standard deviation 0.1
    x0_hat = np.tanh(np.sqrt(bar_t) * x_t / v_t) * (1 - 0.01 * bar_t / v_t) + 0.01 * np.sqrt(bar_t) / v_t * x_t
    mean = np.sqrt(bar_s) * beta / (1 - bar_t) * x0_hat + np.sqrt(1 - beta) * (1 - bar_s) / (1 - bar_t) * x_t
    ax.plot(grid, exact, color=LIGHT.real, label="exact $q(x_s\\,|\\,x_t)$")
    gaussian = np.exp(-((grid - mean) ** 2) / (2 * beta)) / np.sqrt(2 * np.pi * beta)
    ax.plot(grid, gaussian, color=LIGHT.synthetic, label=r"the chain's $\mathcal{N}(\mu, \beta)$")
    ax.set(title=f"from $\\bar\\alpha$ = {bar_t} to {bar_s}, $\\beta$ = {beta:.2f}", xlabel="$x_s$")
    print(f"beta {beta:.2f}: mean of the exact step {np.sum(grid * exact) * 0.005:+.4f}, of the chain's {mean:+.4f}")
axes[0].legend()
plt.close(fig)
fig

# %% [markdown]
# The means agree in all three panels, because $\mathbb{E}[\mathbf{x}_0 \mid \mathbf{x}_t]$ is all that the mean needs.
# But a long step has to decide between the modes, and a Gaussian cannot. This is why DDPM needs many steps. The next
# suspect is the variance of the Gaussian.
#
# ## 5. Third suspect: the variance
#
# Which variance fits best? Given both $\mathbf{x}_t$ and $\mathbf{x}_0$, the step is exactly $\mathbf{x}_{t-1} =
# c_0\mathbf{x}_0 + c_t\mathbf{x}_t + \sqrt{\tilde\beta}\,\mathbf{z}$ with
# $\mathbf{z}\sim\mathcal{N}(\mathbf{0},\mathbf{I})$ and the posterior's variance $\tilde\beta =
# \beta\,(1-\bar\alpha_{t-1})/(1-\bar\alpha_t)$. But $\mathbf{x}_0$ is not known, and what is not known adds to the
# spread. The law of total variance says how much, in each column:
#
# $$\mathrm{Var}[x_{t-1} \mid \mathbf{x}_t] = \tilde\beta + c_0^2\,\mathrm{Var}[x_0 \mid \mathbf{x}_t].$$
#
# *If the data is a single point*, nothing is unknown and the best variance is $\tilde\beta$. *If the data is*
# $\mathcal{N}(0, 1)$, then $x_0$ and $x_t$ both have variance 1, and their covariance is $\sqrt{\bar\alpha_t}$. For
# two such Gaussians $\mathrm{Var}[x_0 \mid x_t] = 1 - \bar\alpha_t$, and
#
# $$\tilde\beta + c_0^2(1-\bar\alpha_t)
# = \frac{\beta\,(1-\bar\alpha_{t-1}) + \bar\alpha_{t-1}\beta^2}{1-\bar\alpha_t}
# = \beta\,\frac{1 - \bar\alpha_{t-1}(1-\beta)}{1-\bar\alpha_t} = \beta.$$
#
# The two choices of Ho et al., `variance="posterior"` and `variance="beta"`, are these two ends. For a column of
# variance at most 1, the *average* of the best variance over $\mathbf{x}_t$ lies between them, because no data of this
# variance leaves $x_0$ less known on average than Gaussian data does. (At a single $\mathbf{x}_t$ between two modes it
# can be larger than $\beta$.) Here is where the average of the moons lies, with $\mathrm{Var}[x_0 \mid \mathbf{x}_t]$
# from the exact denoiser.


# %%
def bars_of(steps):
    """Return alpha-bar of a chain that takes every (T / steps)-th step."""
    return to_noise.alphas_bar[T // steps - 1 :: T // steps]


times, bar = np.arange(1, 21) / 20, bars_of(20)
before = np.append(1.0, bar[:-1])
beta = 1 - bar / before
tilde, c0 = beta * (1 - before) / (1 - bar), np.sqrt(before) * beta / (1 - bar)
eps = rng.standard_normal((300, 2))
spread = [denoise(np.sqrt(one) * other[:300] + np.sqrt(1 - one) * eps, one)[1].mean() for one in bar]
best = tilde + c0**2 * np.array(spread)

fig, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
ax.semilogy(times, beta, color=LIGHT.muted, linestyle="--", label=r"$\beta$")
ax.semilogy(times, best, color=LIGHT.real, label="best for moons")
ax.semilogy(times[1:], tilde[1:], color=LIGHT.muted, linestyle=":", label=r"$\tilde\beta$ of the posterior")
ax.set(xlabel="$t$", title="variance of a reverse step, 20 steps")
ax.legend()
plt.close(fig)
fig

# %% [markdown]
# On average, the best variance lies between the two. With many steps the three curves meet, and it hardly matters which
# one you take. Does it with few? The next picture shows the distance against the number of steps. motes has the three
# choices as `Ancestral("beta")`, `Ancestral("posterior")` and `Ancestral("learned")`: an exact denoiser knows the best
# variance, and a network can be trained to give it (Nichol & Dhariwal 2021). Bao et al. (2022) compute its average from
# $\hat{\boldsymbol\epsilon}$ alone; exercise 5.3 derives how.

# %%
numbers = [4, 10, 20, 50]
fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
for variance, line in (("beta", "--"), ("posterior", ":"), ("best", "-")):
    ends = [reverse_chain(x_T, noise, bars_of(steps), variance)[-1] for steps in numbers]
    distances = [motes.sliced_w2(points, data) for points in ends]
    ax.loglog(numbers, distances, color=LIGHT.real, linestyle=line, marker="o", label=f'variance="{variance}"')
    print(f"{variance:<10}", *(f"{distance:.3f}" for distance in distances))
real = [motes.sliced_w2(motes.truth("moons").sample(n, seed=seed), data) for seed in range(10, 20)]
ax.axhspan(min(real), max(real), color=LIGHT.muted, alpha=0.2, label="ten pairs of real draws")
print(f"real draws between {min(real):.3f} and {max(real):.3f}")
ax.set(xlabel="steps", ylabel="sliced W2 from data", xticks=numbers, xticklabels=numbers)
ax.minorticks_off()
ax.legend()
plt.close(fig)
fig

# %% [markdown]
# The variance of the posterior is clearly worst, because it leaves out what is not known about $\mathbf{x}_0$. Between
# $\beta$ and the best variance there is little difference, and with 4 steps $\beta$ is even slightly better: a Gaussian
# with the right variance is still not the mixture of section 4.
#
# ## 6. Fourth suspect: noise in the last step
#
# The last step ends at $t = 0$. Its mean is $\hat{\mathbf{x}}_0$ itself ($c_0 = 1$ and $c_t = 0$, because $\bar\alpha_0
# = 1$), and Algorithm 2 adds no noise to it. Code that adds $\sqrt{\beta_1}\,\mathbf{z}$ here, as the original tutorial
# does, blurs every sample by $\sqrt{\beta_1}$: 0.005 with its own betas, which nobody notices, and much more as soon as
# someone takes fewer steps.

# %%
for steps in (100, 20, 10):
    quiet, noisy = (reverse_chain(x_T, noise, bars_of(steps), denoise_last=last)[-1] for last in (True, False))
    blur_1 = np.sqrt(1 - bars_of(steps)[0])
    print(f"{steps:3d} steps: added blur {(noisy - quiet).std():.4f}, sqrt(beta_1) = {blur_1:.4f}; the moons: {blur}")

# %% [markdown]
# ## Exercises
#
# Fill in the functions and run their cells. `check` tries them on inputs that you do not see, and names the usual
# mistakes. If you are stuck, run `hint("reverse_mean")` in a new cell for a first idea, and `hint("reverse_mean", 2)`
# for more. `solution("reverse_mean")` shows an answer.
#
# ### 5.1 The mean of a step (easy)
#
# Return $\boldsymbol\mu$, computed from the predicted noise instead of $\hat{\mathbf{x}}_0$. Step $k$ of the array
# `betas` is $\beta_{k+1}$ in the papers, which count from 1, so $\bar\alpha$ after step $k$ is the product of `1 -
# betas[0]`, ..., `1 - betas[k]`.


# %%
def reverse_mean(x_t, eps_hat, k, betas):
    """Return the mean of p(x_{t-1} | x_t), (n, d), for x_t and eps_hat (n, d) after step k."""
    ...


check("reverse_mean", reverse_mean)

# %% [markdown]
# ### 5.2 The whole chain without a single sample (middle)
#
# For data $\mathcal{N}(m, s^2)$ in one column the exact denoiser is a straight line,
# $\hat x_0 = m + g\,(x_t - \sqrt{\bar\alpha_t}\,m)$ with
# $g = \sqrt{\bar\alpha_t}\,s^2 / (\bar\alpha_t s^2 + 1 - \bar\alpha_t)$. Then every step of the chain is a linear map
# plus noise, and a Gaussian stays a Gaussian. Compute the mean and the standard deviation of the samples of DDPM:
# start $\mathcal{N}(0, 1)$, variance $\beta$, no noise in the last step. With such a function you can see each fault
# of this lab without any Monte Carlo noise.


# %%
def chain_moments(mean, std, betas):
    """Return the mean and the standard deviation of DDPM's samples for data N(mean, std^2), as a tuple."""
    ...


check("chain_moments", chain_moments)

# %% [markdown]
# ### 5.3 The best variance, from the predicted noise (research)
#
# Analytic-DPM (Bao et al. 2022) needs no extra network for the best variance. It only needs the average over the data
# of $\|\hat{\boldsymbol\epsilon}\|^2 / d$, at each step, with $\hat{\boldsymbol\epsilon}$ from the exact denoiser.
# Derive the average of $\mathrm{Var}[x_0 \mid \mathbf{x}_t]$ from it, and then the variance of the step. Two facts
# help: given $\mathbf{x}_t$, $\mathbf{x}_0$ is a linear function of $\boldsymbol\epsilon$, so the two variances
# determine each other; and the noise itself has $\mathbb{E}[\epsilon^2] = 1$ in each column.


# %%
def best_variance(k, betas, mean_square):
    """Return the best variance of the reverse step k >= 1, for mean_square = E|eps_hat|^2 / d at x_t."""
    ...


check("best_variance", best_variance)

# %% [markdown]
# ## Find the fault
#
# `fault(5)` is meant to be `Ancestral()`. Compare 20 steps of both:

# %%
suspect = fault(5)
process = ReverseProcess(motes.truth("moons").oracle(to_noise), suspect, UniformGrid(20)(to_noise), dim=2)
drawn, _ = motes.points.sample(process, n, key=key, start=x_T)
side_by_side({"as it should be": reverse_chain(x_T, noise, bars_of(20))[-1], "fault(5)": drawn})

# %% [markdown]
# The denoiser is exact, and so is the start. Do not look at its source: measure. For one Gaussian everything about a
# step is known. The cell below takes 20,000 copies of one $x_t$ through a single step and prints the mean and the
# standard deviation of $x_s$, for `Ancestral()` and for the suspect. Change $x_t$, $t$ and $s$. Is the mean wrong, or
# the spread? Is the mean a straight line in $x_t$? Which line?
#
# Your answer is one of the words `"clipping"` (of $\hat{x}_0$), `"last step"` (its noise), `"start"`, `"time"` (the
# denoiser is asked at the wrong one) and `"variance"`. `hint("fault_05")` helps.

# %%
one_column = GaussianOracle([0.0], [[0.25]], to_noise)  # data N(0, 0.5^2)


def single_step(sampler, x_t, t, s, n=20_000):
    """Return the mean and standard deviation of x_s after one step from x_t (a number) at time t."""
    step = lambda key: sampler.step(one_column, jnp.array([x_t]), jnp.asarray(t), jnp.asarray(s), None, key)[0]
    x_s = jax.jit(jax.vmap(step))(jax.random.split(jax.random.key(0), n))
    return float(x_s.mean()), float(x_s.std())


for name, sampler in {"Ancestral()": Ancestral(), "fault(5)": suspect}.items():
    print("{:<12} mean {:+.4f}, standard deviation {:.4f}".format(name, *single_step(sampler, x_t=1.0, t=0.5, s=0.45)))

check("fault_05", ...)

# %% [markdown]
# ## What you learned
#
# - A small reverse step is Gaussian: its mean follows the score, and it has the variance of the forward step.
# - A perfect denoiser does not make perfect samples. The start must match $q(\mathbf{x}_T)$, the steps must be small,
#   the posterior's variance is too small if the steps are few, and the last step adds no noise.
# - To find a fault, change one part at a time, use data for which the answer is known, and compare with the distance
#   between two real draws.
#
# ## Next
#
# [Lab 6](lab06.py) opens the black box of this lab: where the exact denoiser comes from, and why noise, clean point,
# velocity and score are one thing.
#
# ## References
#
# - J. Ho, A. Jain, P. Abbeel (2020). *Denoising diffusion probabilistic models.* arXiv:2006.11239.
# - A. Nichol, P. Dhariwal (2021). *Improved denoising diffusion probabilistic models.* arXiv:2102.09672.
# - F. Bao, C. Li, J. Zhu, B. Zhang (2022). *Analytic-DPM.* arXiv:2201.06503.
