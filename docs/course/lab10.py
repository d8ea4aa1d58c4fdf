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
# # Lab 10: Flow matching and one-step maps
#
# **Goal.** See that flow matching and diffusion are one model, written in two sets of coordinates. Then jump from noise
# to data in a single step: find the exact one-step map in one dimension, and teach a network such a map in two.
#
# You need [lab 6](lab06.py), the exact denoiser of a mixture, and [lab 7](lab07.py), the probability flow and Heun's
# method.

# The next cell installs motes from the checkout that contains this file. Skip it if `import motes` works for you. On
# Colab, upload the checkout first.

# %%
# %pip install -q -e ../..

# %%
from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from scipy.special import ndtr

import motes
from motes import plots
from motes.course import check, hint, solution
from motes.points import Heun, KarrasGrid, RectifiedFlow, ResidualMLP, ReverseProcess, UniformGrid, VarianceExploding
from motes.points.exact import MixtureOracle

LIGHT = plots.STYLES["light"]  # blue is real or exact, amber is drawn or learned

# %% [markdown]
# ## 1. Straight paths
#
# Flow matching (Lipman et al. 2023; Liu et al. 2023) mixes data and noise along straight lines:
#
# $$\mathbf{x}_t = (1-t)\,\mathbf{x}_0 + t\,\boldsymbol\epsilon, \qquad
# \boldsymbol\epsilon \sim \mathcal{N}(\mathbf 0, \mathbf I).$$
#
# This is a noise schedule like any other, with $\alpha_t = 1-t$ and $\sigma_t = t$. (Many papers let $t = 0$ be noise.
# Here, as in all labs, $t = 0$ is data.) Each pair $(\mathbf{x}_0, \boldsymbol\epsilon)$ moves with the constant
# velocity $\boldsymbol\epsilon - \mathbf{x}_0$. Lines of different pairs cross, so a point $\mathbf{x}$ at time $t$ has
# no velocity of its own, but it has a mean velocity:
#
# $$\mathbf{u}_t(\mathbf{x}) = \mathbb{E}[\boldsymbol\epsilon - \mathbf{x}_0 \mid \mathbf{x}_t = \mathbf{x}].$$
#
# **Following the mean velocity gives the correct distribution at every time.** Take any smooth test function $\varphi$
# and ask how its mean changes. Use the chain rule, then condition on $\mathbf{x}_t$:
#
# $$\frac{d}{dt}\,\mathbb{E}\,\varphi(\mathbf{x}_t)
# = \mathbb{E}\big[\nabla\varphi(\mathbf{x}_t)\cdot(\boldsymbol\epsilon - \mathbf{x}_0)\big]
# = \mathbb{E}\big[\nabla\varphi(\mathbf{x}_t)\cdot\mathbb{E}[\boldsymbol\epsilon - \mathbf{x}_0 \mid \mathbf{x}_t]\big]
# = \mathbb{E}\big[\nabla\varphi(\mathbf{x}_t)\cdot\mathbf{u}_t(\mathbf{x}_t)\big].$$
#
# Points that follow $d\mathbf{x}/dt = \mathbf{u}_t(\mathbf{x})$ change the mean of $\varphi$ at exactly this rate. They
# start with the same distribution, so all means of all functions stay equal, and with them the distribution.
#
# **A network learns the mean velocity by regression.** Minimise the *flow matching loss*
# $\mathbb{E}\,\|\mathbf{u}_\theta(\mathbf{x}_t, t) - (\boldsymbol\epsilon - \mathbf{x}_0)\|^2$. Insert $\mathbf{u}_t$
# and expand the square:
#
# $$\mathbb{E}\|\mathbf{u}_\theta - (\boldsymbol\epsilon - \mathbf{x}_0)\|^2
# = \mathbb{E}\|\mathbf{u}_\theta - \mathbf{u}_t\|^2
# + 2\,\mathbb{E}\big[(\mathbf{u}_\theta - \mathbf{u}_t)\cdot(\mathbf{u}_t - (\boldsymbol\epsilon - \mathbf{x}_0))\big]
# + \mathbb{E}\|\mathbf{u}_t - (\boldsymbol\epsilon - \mathbf{x}_0)\|^2.$$
#
# In the middle term, the first factor depends on $\mathbf{x}_t$ only, and the second has the mean 0 given
# $\mathbf{x}_t$, by the definition of $\mathbf{u}_t$. So the middle term is 0. The last term does not depend on
# $\theta$. The optimum is $\mathbf{u}_\theta = \mathbf{u}_t$.
#
# **The velocity is the denoiser in other units.** Solve the mixing formula for the noise,
# $\boldsymbol\epsilon = (\mathbf{x}_t - (1-t)\mathbf{x}_0)/t$, and subtract $\mathbf{x}_0$:
#
# $$\boldsymbol\epsilon - \mathbf{x}_0
# = \frac{\mathbf{x}_t - (1-t)\mathbf{x}_0 - t\,\mathbf{x}_0}{t} = \frac{\mathbf{x}_t - \mathbf{x}_0}{t}
# \qquad\Longrightarrow\qquad
# \mathbf{u}_t(\mathbf{x}_t) = \frac{\mathbf{x}_t - \mathbb{E}[\mathbf{x}_0 \mid \mathbf{x}_t]}{t}.$$
#
# So a flow-matching network is a denoiser, and its loss is the squared error of $\mathbf{x}_0$ with the weight $1/t^2$.
#
# ## 2. One picture
#
# Take any schedule and write $\mathbf{y} = \mathbf{x}_t/\alpha_t$ and $r = \sigma_t/\alpha_t$. Then
# $\mathbf{x}_t = \alpha_t\mathbf{x}_0 + \sigma_t\boldsymbol\epsilon$ becomes
#
# $$\mathbf{y} = \mathbf{x}_0 + r\,\boldsymbol\epsilon .$$
#
# There is no $\alpha$ left. The mean velocity with respect to $r$ is
# $d\mathbf{y}/dr = \mathbb{E}[\boldsymbol\epsilon \mid \mathbf{y}]$, by the argument of section 1 with $r$ instead of
# $t$. It does not depend on the schedule either. A schedule only says *when* the flow passes a noise level $r$, and by
# which factor $\alpha_t$ the picture is enlarged. All Gaussian schedules have the same trajectories.
#
# ### From scratch
#
# Data on a line: a mixture of two Gaussians. `denoise` is the denoiser of lab 6, for any $\alpha$ and $\sigma$.

# %%
weights, means, stds = np.array([0.35, 0.65]), np.array([-1.0, 0.7]), np.array([0.15, 0.35])


def denoise(x, alpha, sigma):
    """Return E[x_0 | x_t], (n,), for x_t (n,)."""
    total = (alpha * stds) ** 2 + sigma**2  # variance of x_t in each component, (2,)
    away = x[:, None] - alpha * means
    log_p = np.log(weights) - 0.5 * away**2 / total - 0.5 * np.log(total)
    p = np.exp(log_p - log_p.max(axis=1, keepdims=True))
    return np.sum(p / p.sum(axis=1, keepdims=True) * (means + alpha * stds**2 / total * away), axis=1)


def velocity(x, t):
    """Return the mean velocity of straight paths at x (n,)."""
    return (x - denoise(x, 1 - t, t)) / t


def flow(x, times):
    """Follow the velocity from x (n,) at times[0] to times[-1] > 0 with Heun's method; return all points."""
    way = [x]
    for t, s in pairwise(times):
        u = velocity(x, t)
        x = x + (s - t) * (u + velocity(x + (s - t) * u, s)) / 2
        way.append(x)
    return np.array(way)


# %%
times = np.linspace(0.999, 0.001, 1000)
way = flow(np.linspace(-2, 2, 13), times)
a = np.arctan(times / (1 - times))  # cos(a) x_0 + sin(a) eps has the same ratio of noise to signal
pictures = {
    "flow matching: $(1-t)\\,x_0 + t\\,\\epsilon$": (times, way),
    "diffusion: $\\cos a\\;x_0 + \\sin a\\;\\epsilon$": (a / (np.pi / 2), way / np.hypot(1 - times, times)[:, None]),
    "both, as $y = x_0 + r\\,\\epsilon$": (times / (1 - times), way / (1 - times)[:, None]),
}
fig, axes = plt.subplots(1, 3, figsize=(11, 3.3), layout="constrained")
for ax, (title, (across, up)) in zip(axes, pictures.items(), strict=True):
    ax.plot(across, up, color=LIGHT.real, lw=0.9)
    ax.set(title=title, xlabel="time, 0 = data")
axes[2].set(xlabel="noise level $r$", xlim=(0, 3), ylim=(-5, 5))
plt.close(fig)
fig

# %% [markdown]
# The first two pictures are one set of trajectories, drawn with two rulers; the third shows what they share. The next
# cell compares our velocity with the one in motes, where `RectifiedFlow` ends slightly before pure noise, at $\alpha_1
# = 0.01$: its $\sigma_t$ is $0.99\,t$, which is our time.

# %%
oracle = MixtureOracle(weights, means[:, None], stds[:, None, None] ** 2, RectifiedFlow())
x = np.random.default_rng(0).normal(size=300)
for t in (0.1, 0.5, 0.9):
    theirs = jax.vmap(oracle.velocity, (0, None))(jnp.asarray(x[:, None]), t / 0.99)[:, 0] / 0.99
    np.testing.assert_allclose(theirs, velocity(x, t), rtol=2e-4, atol=2e-5)
print("The velocities agree at 300 points and three times, to the rounding of single precision.")

# %% [markdown]
# Some consequences that save reading papers:
#
# - *Flow matching against diffusion* is a choice of schedule, of what the network predicts, and of the weight in the
#   loss.
# - The trajectories are **not** straight. Only the paths of single pairs are. A mean of straight lines bends.
# - One Euler step from $t$ to $s$ ends in
#   $\mathbf{x}_t - (t-s)\,\mathbb{E}[\boldsymbol\epsilon - \mathbf{x}_0 \mid \mathbf{x}_t]$, which is
#   $\mathbb{E}[\mathbf{x}_s \mid \mathbf{x}_t]$, the mean over all straight paths through $\mathbf{x}_t$. For $s = 0$
#   it is the denoiser. Starting in noise, one step ends in the mean of the data, and all samples are the same.
#
# ## 3. The exact one-step map on a line
#
# The flow is deterministic: each $\mathbf{x}_t$ belongs to exactly one trajectory, which ends in exactly one point of
# the data. Call the end $f(\mathbf{x}_t, t)$. If we knew $f$, one evaluation would draw a sample. On a line we can find
# it.
#
# Let $F_t(x)$ be the distribution function of $x_t$, the probability below $x$. In the argument of section 1, let
# $\varphi$ be a step: 1 below $x$ and 0 above. Its slope is a spike of $-1$ at $x$, and the formula says that the
# probability below $x$ changes only by what flows through $x$:
#
# $$\frac{\partial}{\partial t} F_t(x) = -q_t(x)\,u_t(x).$$
#
# Here $q_t$ is the density of $x_t$, the derivative of $F_t$. Now follow a trajectory $x(t)$, with $dx/dt = u_t$. The
# derivative of $F_t(x(t))$ has two terms, and they cancel:
#
# $$\frac{d}{dt}F_t(x(t))
# = \frac{\partial F_t}{\partial t} + \frac{\partial F_t}{\partial x}\frac{dx}{dt} = -q_t u_t + q_t u_t = 0.$$
#
# A point keeps its rank among all points. So the one-step map sends each quantile of the noise to the same quantile of
# the data:
#
# $$f(x_t, t) = F_0^{-1}\big(F_t(x_t)\big).$$
#
# The distribution function of a mixture is a weighted sum of normal ones, and bisection inverts it:


# %%
def rank(x, t):
    """Return F_t(x), (n,)."""
    return ndtr((x[:, None] - (1 - t) * means) / np.hypot((1 - t) * stds, t)) @ weights


def one_step(x, t, s=0.0):
    """Return the point at time s of the trajectory through x (n,) at time t."""
    target, low, high = rank(x, t), np.full(len(x), -20.0), np.full(len(x), 20.0)
    for _ in range(60):
        middle = (low + high) / 2
        low, high = np.where(rank(middle, s) < target, (middle, high), (low, middle))
    return (low + high) / 2


# %%
start = np.random.default_rng(1).standard_normal(4000)
grid = np.linspace(0.999, 0.001, 2000)
by_steps = flow(one_step(start, 1.0, grid[0]), grid)[-1]
np.testing.assert_allclose(one_step(start, 1.0, grid[-1]), by_steps, atol=2e-3)
process = ReverseProcess(oracle, Heun(), UniformGrid(400)(RectifiedFlow()), dim=1)
there = one_step(start, 1.0, 0.99)
by_motes, _ = motes.points.sample(process, 4000, key=jax.random.key(0), start=there[:, None])
print(
    "largest distance between one step and 400 steps of motes:",
    np.abs(by_motes[:, 0] - one_step(start, 1.0)).max().round(4),
)

fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
x_1 = np.linspace(-3, 3, 400)
left.plot(x_1, one_step(x_1, 1.0), color=LIGHT.real, label="$f(x_1, 1)$, exact")
left.plot(x_1, denoise(x_1, 0.0, 1.0), color=LIGHT.muted, ls="--", label="one Euler step")
left.set(xlabel="noise", ylabel="data")
left.legend()
places = np.linspace(-1.8, 2.2, 300)
density = np.exp(-0.5 * ((places[:, None] - means) / stds) ** 2) / stds / np.sqrt(2 * np.pi) @ weights
right.plot(places, density, color=LIGHT.real, label="density of the data")
right.hist(one_step(start, 1.0), bins=60, density=True, color=LIGHT.synthetic, alpha=0.6, label="one step from noise")
right.legend()
plt.close(fig)
fig

# %% [markdown]
# The map is steep where the data has a gap: all noise near one number must be torn apart into the two modes. A smooth
# network has to learn this cliff. That is what makes one-step models hard to train.
#
# **Three names for the same map**
#
# - *Consistency models* (Song et al. 2023) learn $f(\mathbf{x}_t, t)$. Their loss uses that $f$ is the same all along a
#   trajectory, $f(\mathbf{x}_t, t) = f(\mathbf{x}_s, s)$.
# - *Flow maps* (Boffi et al. 2024) learn the map between any two times, $\mathbf{x}_s = f(\mathbf{x}_t, t, s)$. Two
#   jumps in a row are one jump.
# - *Mean flows* (Geng et al. 2025) learn the average velocity
#   $\mathbf{U}(\mathbf{x}_t, t, s) = (\mathbf{x}_t - \mathbf{x}_s)/(t - s)$. Its training target follows by
#   differentiating $(t-s)\,\mathbf{U} = \mathbf{x}_t - \mathbf{x}_s$ along the trajectory, with $s$ fixed:
#
# $$\mathbf{U} + (t-s)\frac{d\mathbf{U}}{dt} = \mathbf{u}_t \qquad\Longrightarrow\qquad
# \mathbf{U} = \mathbf{u}_t
# - (t-s)\left(\frac{\partial\mathbf{U}}{\partial t}
# + \frac{\partial\mathbf{U}}{\partial\mathbf{x}}\,\mathbf{u}_t\right).$$
#
# We check both identities with the exact map, the second with finite differences:

# %%
x, t, s, h = np.linspace(-1.5, 1.5, 50), 0.7, 0.2, 1e-4
np.testing.assert_allclose(one_step(one_step(x, t, s), s), one_step(x, t), atol=1e-8)


def average(x, t):
    return (x - one_step(x, t, s)) / (t - s)


u = velocity(x, t)
dU_dt = (average(x + h * u, t + h) - average(x - h * u, t - h)) / (2 * h)  # along the trajectory
np.testing.assert_allclose(average(x, t), u - (t - s) * dU_dt, atol=1e-5)
print("Two jumps are one jump, and the identity of mean flows holds.")

# %% [markdown]
# ## 4. A one-step map for two moons
#
# In the plane there is no formula, but there are samples: run the flow from many starts, and keep each start with its
# end. Then fit a network to these pairs by least squares. It matters that start and end belong together. If you paired
# noise and data at random, least squares would return $\mathbb{E}[\mathbf{x}_0 \mid \boldsymbol\epsilon]$, the mean of
# the data, for every start. Along the flow, the end is a function of the start, and its mean given the start is the end
# itself.
#
# The teacher has the exact denoiser of the moons, so its only errors are those of its 24 steps and of its start:
# compare the panel "Heun, 24 steps". The student is the residual MLP that motes uses everywhere, with starts divided by
# `sigma_max`.

# %%
schedule = VarianceExploding(sigma_max=10.0)
teacher = ReverseProcess(motes.truth("moons").oracle(schedule), Heun(), KarrasGrid(24, 0.01)(schedule), dim=2)
starts = np.random.default_rng(2).standard_normal((12_000, 2)).astype(np.float32)
ends, _ = motes.points.sample(teacher, len(starts), key=jax.random.key(0), start=10 * starts)

student = ResidualMLP(dim=2, width=96, depth=4, key=jax.random.key(1))
trained, fixed = eqx.partition(student, eqx.is_inexact_array)
optimiser = optax.adam(optax.cosine_decay_schedule(5e-3, 2500))


@jax.jit
def fit(trained, starts, ends, key):
    """Minimise the squared error of the end, over 2,500 batches of 256 pairs."""

    def loss(trained, rows):
        jump = jax.vmap(eqx.combine(trained, fixed), (0, None))
        return jnp.mean((jump(starts[rows], jnp.zeros(())) - ends[rows]) ** 2)

    def step(carry, key):
        trained, state = carry
        value, slopes = jax.value_and_grad(loss)(trained, jax.random.randint(key, (256,), 0, len(starts)))
        changes, state = optimiser.update(slopes, state)
        return (optax.apply_updates(trained, changes), state), value

    (trained, _), losses = jax.lax.scan(step, (trained, optimiser.init(trained)), jax.random.split(key, 2500))
    return trained, losses


trained, losses = fit(trained, starts, ends, jax.random.key(3))
jump = jax.vmap(eqx.combine(trained, fixed), (0, None))
print(f"squared error of the first 100 steps {losses[:100].mean():.3f}, of the last 100 {losses[-100:].mean():.4f}")

# %%
fresh = np.random.default_rng(4).standard_normal((3000, 2)).astype(np.float32)
real = motes.make_shape("moons", 3000, seed=5)
clouds = {"real points": real}
for steps in (1, 4, 24):
    process = ReverseProcess(
        teacher.denoiser, Heun(), KarrasGrid(steps, 0.01)(schedule), dim=2
    )  # the last is an Euler step
    clouds["1 Euler step" if steps == 1 else f"Heun, {steps} steps"] = motes.points.sample(
        process, 3000, key=jax.random.key(6), start=10 * fresh
    )[0]
clouds["1 step of the student"] = np.asarray(jump(fresh, jnp.zeros(())))

fig, axes = plt.subplots(1, 5, figsize=(14, 3.0), layout="constrained")
for ax, (title, x) in zip(axes, clouds.items(), strict=True):
    ax.scatter(*x.T, s=2, color=LIGHT.real if x is real else LIGHT.synthetic, alpha=0.5, linewidths=0)
    ax.set(title=title, xlim=(-1.6, 2.6), ylim=(-1.1, 1.6), aspect="equal")
    if x is not real:
        print(f"{title:<22} classifier against real points (0.5 = indistinguishable): {motes.c2st(x, real).value:.3f}")
plt.close(fig)
fig

# %% [markdown]
# The student jumps in one evaluation, and a classifier hardly tells its points from real ones. Look between the moons:
# the few points there are the cliff of section 3, noise next to the border between both moons, which a smooth function
# cannot tear apart.
#
# **Reflow** (Liu et al. 2023) uses the same pairs differently: it draws straight lines between each start and *its own*
# end, and trains a flow on them. On a line this is exact after one round. The map from start to end rises, so the lines
# of two pairs never cross; each point of each line then has a single velocity, its pair's, and one Euler step is
# exact:

# %%
pairs = one_step(start, 1.0)
middle = 0.5 * pairs + 0.5 * start  # all lines at t = 1/2
order = np.argsort(start)
assert (np.diff(middle[order]) > 0).all()
print("The lines of 4,000 pairs have not crossed: their order at t = 1/2 is the order of their starts.")

# %% [markdown]
# ## 5. Exercises
#
# Fill in the functions and run their cells. `check` tries them on inputs that you do not see, and names the usual
# mistakes. If you are stuck, run `hint("velocity")` in a new cell for a first idea, and `hint("velocity", 2)` for more.
# `solution("velocity")` shows an answer.
#
# ### 10.1 `velocity` (easy)
#
# Return the velocity $d\mathbf{x}_t/dt$ of the flow with straight paths, from `x_t` (d,), a number `t` above 0, and
# `x0_hat` (d,), the estimate of $\mathbb{E}[\mathbf{x}_0 \mid \mathbf{x}_t]$. (The function is called `my_velocity`
# because section 2 uses `velocity`.)


# %%
def my_velocity(x_t, t, x0_hat): ...


check("velocity", my_velocity)

# %% [markdown]
# ### 10.2 `on_the_circle` (middle)
#
# A point $\mathbf{x}_t = (1-t)\mathbf{x}_0 + t\boldsymbol\epsilon$ lies on a trajectory of the flow with straight
# paths. Return the corresponding point $\cos a\,\mathbf{x}_0 + \sin a\,\boldsymbol\epsilon$, with the same
# $\mathbf{x}_0$ and $\boldsymbol\epsilon$, of a variance-preserving schedule. You know only `x_t` and `t`, and you must
# choose $a$ so that the ratio of noise to signal is the same.


# %%
def on_the_circle(x_t, t): ...


check("on_the_circle", on_the_circle)

# %% [markdown]
# ### 10.3 `average_velocity` (research)
#
# The data is $\mathcal{N}(\text{mean}, \text{std}^2)$ on a line. All arguments are numbers, and `s` may be 0. Return
# the average velocity $(x_t - x_s)/(t - s)$ of the trajectory through `x_t` at time `t` down to time `s`. Use section
# 3: which quantity does a trajectory keep, and what is it for Gaussian data?


# %%
def average_velocity(x_t, t, s, mean, std): ...


check("average_velocity", average_velocity)

# %% [markdown]
# ## What you learned
#
# - Flow matching is diffusion with $\alpha_t = 1-t$ and $\sigma_t = t$. Its velocity is the denoiser in other units.
# - In the coordinates $\mathbf{y} = \mathbf{x}/\alpha$, $r = \sigma/\alpha$, all schedules have the same trajectories.
# - One Euler step ends in a mean. A one-step map ends where the trajectory ends, and on a line it maps quantiles to
#   quantiles.
# - A network can learn the map by regression on pairs, and it pays for one step with blur where the map is steep.
#
# ## Next
#
# [Lab 11](lab11.py) leaves Gaussian noise behind: in a table, the noise hides cells. More on this lab's subject:
# [samplers](../samplers.md), and sections 1 and 9 of [the core](../points.md).
#
# ## References
#
# - Y. Lipman et al. (2023). *Flow matching for generative modeling.* arXiv:2210.02747.
# - X. Liu, C. Gong, Q. Liu (2023). *Flow straight and fast: learning to generate and transfer data with rectified
#   flow.* arXiv:2209.03003.
# - Y. Song, P. Dhariwal, M. Chen, I. Sutskever (2023). *Consistency models.* arXiv:2303.01469.
# - N. Boffi, M. Albergo, E. Vanden-Eijnden (2024). *Flow map matching.* arXiv:2406.07507.
# - Z. Geng et al. (2025). *Mean flows for one-step generative modeling.* arXiv:2505.13447.
