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
# # Lab 7: Differential equations and samplers
#
# **Goal.** Turn noise into data by a differential equation, once without and once with fresh noise, and see why both
# give the same distribution. Then build samplers, measure their order, and find out which one to use for few steps.
#
# You need [lab 6](lab06.py): the score and Tweedie's formula.

# The next cell installs motes from the checkout that contains this file. Skip it if `import motes` works for you. On
# Colab, upload the checkout first.

# %%
# %pip install -q -e ../..

# %%
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm, qmc

import motes
from motes import plots
from motes.course import check, fault, hint, solution
from motes.points import Denoiser, DPMSolver3M, Heun, KarrasGrid, ReverseProcess, Schedule, VarianceExploding
from motes.points.exact import MixtureOracle
from motes.points.samplers import Euler, EulerMaruyama

jax.config.update("jax_enable_x64", True)  # double precision, so that comparisons hold to rounding
LIGHT = plots.STYLES["light"]

# %% [markdown]
# ## 1. One diffusion for all schedules
#
# Every schedule mixes $\mathbf{x}_t = \alpha_t\mathbf{x}_0 + \sigma_t\boldsymbol\epsilon$. Divide by $\alpha_t$:
#
# $$\mathbf{y} = \frac{\mathbf{x}_t}{\alpha_t} = \mathbf{x}_0 + r\,\boldsymbol\epsilon, \qquad
# r = \frac{\sigma_t}{\alpha_t}.$$
#
# In these coordinates the schedule is gone. There is only the *noise level* $r$, which grows from 0 to some large
# value. To get from level $r$ to $r + dr$, add noise that raises the variance from $r^2$ to
# $(r + dr)^2 \approx r^2 + 2r\,dr$:
#
# $$\mathbf{y}_{r+dr} = \mathbf{y}_r + \sqrt{2r\,dr}\;\mathbf{z}, \qquad
# \mathbf{z} \sim \mathcal{N}(\mathbf{0}, \mathbf{I}).$$
#
# Many such small steps are a *stochastic differential equation* (SDE), written $d\mathbf{y} = \sqrt{2r}\,d\mathbf{W}$.
# Here $d\mathbf{W}$ stands for $\sqrt{dr}\,\mathbf{z}$, with a fresh $\mathbf{z}$ in every small step.
#
# Papers write it for $\mathbf{x}$ and $t$. It is the same equation: $\mathbf{x} = \alpha\mathbf{y}$ changes because
# $\alpha$ does, by $\alpha'\mathbf{y}\,dt = \frac{\alpha'}{\alpha}\mathbf{x}\,dt$, and because $\mathbf{y}$ gets noise
# of variance $d(r^2) = 2r\,dr$, which times $\alpha^2$ is
# $\alpha^2\,d\big(\frac{\sigma^2}{\alpha^2}\big) = d(\sigma^2) - 2\sigma^2\frac{\alpha'}{\alpha}dt$. So
#
# $$d\mathbf{x} = f\,\mathbf{x}\,dt + g\,d\mathbf{W}, \qquad f = \frac{\alpha'}{\alpha}, \qquad
# g^2 = 2\sigma\sigma' - 2\sigma^2\frac{\alpha'}{\alpha}.$$
#
# If the variance is preserved, $\sigma^2 = 1 - \alpha^2$ and $\sigma\sigma' = -\alpha\alpha'$, then $g^2 =
# -2\alpha\alpha' - 2(1-\alpha^2)\frac{\alpha'}{\alpha} = -2\frac{\alpha'}{\alpha}$. This number is $\beta(t)$, and this
# is the equation of Song et al. (2021), $d\mathbf{x} = -\frac12\beta\mathbf{x}\,dt + \sqrt\beta\,d\mathbf{W}$: DDPM
# with infinitely many steps.
#
# ## 2. How the density moves
#
# Write $p_r$ for the density of $\mathbf{y}$ at level $r$. Two rules say how a density changes. They use the
# *divergence* of a vector field, $\nabla\cdot\mathbf{a} = \sum_i\partial a_i/\partial y_i$, and the *Laplacian* of a
# function, $\Delta p = \nabla\cdot\nabla p = \sum_i\partial^2p/\partial y_i^2$.
#
# **Rule 1: noise spreads.** A point is at $\mathbf{y}$ after the noise if it was at
# $\mathbf{y} - \sqrt{2r\,dr}\,\mathbf{z}$ before. Expand $p_r$ there to second order and average over $\mathbf{z}$,
# with $\mathbb{E}[z_i] = 0$, $\mathbb{E}[z_i^2] = 1$ and $\mathbb{E}[z_iz_j] = 0$:
#
# $$p_{r+dr}(\mathbf{y}) = \mathbb{E}\Big[p_r\big(\mathbf{y} - \sqrt{2r\,dr}\,\mathbf{z}\big)\Big]
# = p_r(\mathbf{y}) + \tfrac12\,2r\,dr\,\sum_i \frac{\partial^2 p_r}{\partial y_i^2}
# \quad\Rightarrow\quad \frac{\partial p_r}{\partial r} = r\,\Delta p_r.$$
#
# **Rule 2: a velocity carries.** If every point moves with velocity $\mathbf{u}(\mathbf{y}, r)$, the average of any
# test function $\varphi$ changes at the rate $\mathbb{E}[\nabla\varphi\cdot\mathbf{u}]$. Integrate by parts:
#
# $$\int \varphi\,\frac{\partial p_r}{\partial r}\,d\mathbf{y} = \int p_r\,\nabla\varphi\cdot\mathbf{u}\,d\mathbf{y}
# = -\int \varphi\,\nabla\cdot(p_r\mathbf{u})\,d\mathbf{y}
# \quad\Rightarrow\quad \frac{\partial p_r}{\partial r} = -\nabla\cdot(p_r\,\mathbf{u}).$$
#
# Now compare. With $\nabla p = p\,\nabla\log p$, the noise of rule 1 can be written as a velocity of rule 2:
#
# $$r\,\Delta p_r = \nabla\cdot(r\,\nabla p_r) = -\nabla\cdot\big(p_r\,(-r\,\nabla\log p_r)\big)
# \quad\Rightarrow\quad \mathbf{u} = -r\,\nabla\log p_r = \hat{\boldsymbol\epsilon}.$$
#
# The last step is Tweedie's formula (lab 6), with the predicted noise $\hat{\boldsymbol\epsilon} =
# \mathbb{E}[\boldsymbol\epsilon\mid\mathbf{y}]$. So points that follow the **probability flow**
#
# $$\frac{d\mathbf{y}}{dr} = \hat{\boldsymbol\epsilon}(\mathbf{y}, r)$$
#
# have the density $p_r$ at every level, like points to which noise is added, but their motion is not random. Such an
# ordinary differential equation (ODE) can be followed backwards: start at a large $r$ from $\mathcal{N}(\mathbf{0},
# r^2\mathbf{I})$ or, a little better for data of variance 1, from $\mathcal{N}(\mathbf{0}, (1+r^2)\mathbf{I})$, and let
# $r$ fall to 0.
#
# ## 3. Fresh noise on the way back
#
# Stay at one level $r$ for a moment and take a *Langevin step*: move along the score, and add noise, with any
# $\lambda$,
#
# $$\mathbf{y} \leftarrow \mathbf{y} + \lambda^2 r\,dr\,\nabla\log p_r + \lambda\sqrt{2r\,dr}\;\mathbf{z}.$$
#
# By rule 2 the first part changes the density by $-\nabla\cdot(p_r\lambda^2 r\nabla\log p_r)\,dr = -\lambda^2 r\,\Delta
# p_r\,dr$. By rule 1 the second part changes it by $+\lambda^2 r\,\Delta p_r\,dr$. Together they do not change it. So
# do both at once on the way back, a step of the flow, $-\hat{\boldsymbol\epsilon}\,dr$, and a Langevin step, with
# $r\nabla\log p_r = -\hat{\boldsymbol\epsilon}$:
#
# $$\mathbf{y}_{r-dr}
# = \mathbf{y}_r - (1 + \lambda^2)\,\hat{\boldsymbol\epsilon}\,dr + \lambda\sqrt{2r\,dr}\;\mathbf{z}.$$
#
# For every $\lambda$ the points have the density $p_r$ at every level. $\lambda = 0$ is the flow, and $\lambda = 1$ is
# the **reverse diffusion** of Song et al. (2021), which DDPM follows.
#
# ### From scratch
#
# Data: three Gaussians. For a mixture $\hat{\boldsymbol\epsilon}$ is known (exercise 6.2): with the mean
# $\bar{\mathbf{m}}$ of the components, each weighted by its probability given $\mathbf{y}$, it is $r\,(\mathbf{y} -
# \bar{\mathbf{m}}) / (\tau^2 + r^2)$, where $\tau$ is the standard deviation of every component (`std`).

# %%
weights, means, std = np.array([0.5, 0.3, 0.2]), np.array([[-1.0, -0.4], [0.9, -0.6], [0.3, 1.3]]), 0.2


def eps_hat(y, r, means=means):
    """Return E[eps | y] at level r, (n, d)."""
    log_share = np.log(weights[: len(means)]) - ((y[:, None] - means) ** 2).sum(axis=2) / (2 * (std**2 + r**2))
    share = np.exp(log_share - log_share.max(axis=1, keepdims=True))
    return r * (y - share / share.sum(axis=1, keepdims=True) @ means) / (std**2 + r**2)


def euler(y, r, s, z, slope=eps_hat):
    return y + (s - r) * slope(y, r)


def heun(y, r, s, z, slope=eps_hat):
    first = slope(y, r)
    return y + (s - r) * (first + slope(y + (s - r) * first, s)) / 2


def euler_maruyama(y, r, s, z, slope=eps_hat):
    return y + 2 * (s - r) * slope(y, r) + np.sqrt(r**2 - s**2) * z  # noise of all levels from r to s


def solve(step, y, levels, noise=None, **options):
    """Return the path from y (n, d) at levels[0] to 0, (len(levels), n, d); the last step is an Euler step."""
    path = [y]
    for k in range(len(levels) - 2):
        path.append(step(path[-1], levels[k], levels[k + 1], 0 if noise is None else noise[k], **options))
    return np.stack([*path, euler(path[-1], levels[-2], 0.0, 0, **options)])


# %% [markdown]
# The same with motes. `VarianceExploding` has $\alpha_t = 1$ and $\sigma_t = r$, so its $\mathbf{x}$ is our
# $\mathbf{y}$. `KarrasGrid` chooses the levels: equal steps in $r^{1/7}$, short ones near the data, and 0 at the end.
# The last step to $r = 0$ is an Euler step for all: it ends in
# $\mathbf{y} - r\hat{\boldsymbol\epsilon} = \hat{\mathbf{x}}_0$.

# %%
schedule = VarianceExploding(sigma_max=10.0)
oracle = MixtureOracle(weights, means, [std**2 * np.eye(2)] * 3, schedule)
n, steps, key = 500, 12, jax.random.key(0)
times = KarrasGrid(steps, sigma_min=0.05)(schedule)
levels = np.asarray(schedule.sigma(times))
start = 10 * np.random.default_rng(0).standard_normal((n, 2))

keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(n))  # the keys of motes: one for each row and step
draws = jax.vmap(lambda key, step: jax.random.normal(jax.random.fold_in(key, step), (2,)), (0, None))
noise = np.stack([draws(keys, k) for k in range(1, steps + 1)])
for mine, sampler in ((euler, Euler()), (heun, Heun()), (euler_maruyama, EulerMaruyama())):
    process = ReverseProcess(oracle, sampler, times, dim=2)
    _, chain = motes.points.sample(process, n, key=key, start=start, record=range(steps + 1))
    path = solve(mine, start, levels, noise)
    np.testing.assert_allclose(path, chain, rtol=1e-5, atol=1e-5)
    print(f"{sampler!r:<16} largest difference {np.abs(path - chain).max():.1e}")

# %% [markdown]
# ## 4. Look at the paths
#
# One dimension, two modes. Left: the flow. Paths never cross, and where a point ends is decided at the start. Right:
# the reverse diffusion from the same starts. Paths shake, cross, and decide late. At every level both have the same
# histogram.

# %%
line, rng = np.array([[-1.0], [1.0]]), np.random.default_rng(1)
slope = lambda y, r: eps_hat(y, r, line)
fine = np.append(np.linspace(3.0 ** (1 / 3), 0.02 ** (1 / 3), 300) ** 3, 0.0)
many = np.sqrt(3.0**2 + 1) * rng.standard_normal((2_000, 1))
shaking = rng.standard_normal((300, 2_000, 1))
paths = {"the flow": solve(heun, many, fine, slope=slope)}
paths["the reverse diffusion"] = solve(euler_maruyama, many, fine, shaking, slope=slope)
fig, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained", width_ratios=(2, 2, 1), sharey=True)
for ax, (name, path), colour in zip(axes, paths.items(), LIGHT.classes[2:], strict=False):
    ax.plot(fine, path[:, :25, 0], color=colour, linewidth=0.7)
    ax.set(title=name, xlabel="noise level $r$", xlim=(3, 0), ylim=(-4, 4))
    axes[2].hist(path[-1, :, 0], bins=60, range=(-2, 2), orientation="horizontal", histtype="step", color=colour)
axes[2].set(title="where they end")
plt.close(fig)
fig

# %% [markdown]
# ## 5. Order
#
# A solver takes finite steps. Over a step of width $h$ Euler's method keeps the slope of its beginning. During the
# step, the slope changes in proportion to $h$, so the error of the step is proportional to $h^2$. The $1/h$ steps
# together have an error proportional to $h$: *first order*, half the step for half the error. Heun's method uses the
# mean of the slopes at both ends, the trapezoidal rule: a step has an error proportional to $h^3$, and the whole path
# one proportional to $h^2$, *second order*. A third-order method such as `DPMSolver3M` gains a factor of 8 when you
# double the steps.
#
# Measure the median distance between the samples and the points that a very fine grid reaches from the same starts.

# %%
numbers = np.array([8, 16, 32, 64, 128])
grids = {number: np.asarray(schedule.sigma(KarrasGrid(int(number), sigma_min=0.05)(schedule))) for number in numbers}
finest = np.asarray(schedule.sigma(KarrasGrid(1_000, sigma_min=0.05)(schedule)))
target = solve(heun, start, finest)[-1]
error = lambda drawn: np.median(np.linalg.norm(drawn - target, axis=1))


def third(number, start=start, sigma_min=0.05):
    """Return samples of DPMSolver3M, by motes."""
    times = KarrasGrid(int(number), sigma_min=sigma_min)(schedule)
    process = ReverseProcess(oracle, DPMSolver3M(), times, dim=2)
    return motes.points.sample(process, len(start), key=key, start=start)[0]


ends = {
    "Euler": [solve(euler, start, grids[number])[-1] for number in numbers],
    "Heun": [solve(heun, start, grids[number])[-1] for number in numbers],
    "DPMSolver3M": [third(number) for number in numbers],
}
fig, ax = plt.subplots(figsize=(6, 3.8), layout="constrained")
for (name, points), colour in zip(ends.items(), LIGHT.classes[2:], strict=False):
    errors = [error(one) for one in points]
    ax.loglog(numbers, errors, marker="o", color=colour, label=name)
    order = np.log2(errors[-2] / errors[-1]) / np.log2(numbers[-1] / numbers[-2])
    print(f"{name:<12} errors", *(f"{error:.1e}" for error in errors), f" order {order:.2f}")
ax.set(xlabel="steps", ylabel="error of a sample")
ax.legend()
plt.close(fig)
fig

# %% [markdown]
# ## 6. Which sampler?
#
# Evaluating the network takes the time, so count evaluations: one per step for Euler, the reverse diffusion and
# `DPMSolver3M`, and two for Heun (one less in all, because its last step is an Euler step). The distance is the sliced
# Wasserstein distance to 20,000 exact draws; the last line is the distance between two sets of exact draws.


# %%
def exact(n, seed):
    """Return n exact draws, (n, 2)."""
    rng = np.random.default_rng(seed)
    return means[rng.choice(3, n, p=weights)] + std * rng.normal(size=(n, 2))


reference = exact(20_000, 1)
even = qmc.Sobol(2, seed=0).random(2_048)  # quasi-random starts cover the prior evenly: less chance
wide = float(schedule.prior_std) * norm.ppf(even)
shaking = rng.standard_normal((256, 2_048, 2))
solvers = {"Euler": (euler, 1), "Heun": (heun, 2), "reverse diffusion": (euler_maruyama, 1)}
print("evaluations            8     16     32")
for name, (step, cost) in solvers.items():
    few = [np.asarray(schedule.sigma(KarrasGrid(number // cost, sigma_min=0.02)(schedule))) for number in (8, 16, 32)]
    row = [motes.sliced_w2(solve(step, wide, grid, shaking)[-1], reference) for grid in few]
    print(f"{name:<20}", "  ".join(f"{value:.3f}" for value in row))
row = [motes.sliced_w2(third(number, wide, 0.02), reference) for number in (8, 16, 32)]
print(f"{'DPMSolver3M':<20}", "  ".join(f"{value:.3f}" for value in row))
print(f"{'two real draws':<20} {motes.sliced_w2(exact(2_048, 2), reference):.3f}")

# %% [markdown]
# `DPMSolver3M` is the most accurate with 8 and 16 evaluations. Heun's method is the worst with 8, because each of its
# steps costs two. With 32, the solver hardly matters: about 0.05 is left, because the start is a Gaussian and not quite
# $p_R$. (Euler's 0.038 is luck: one error cancels another.) The page on [samplers](../samplers.md) has a larger table.
# What then is the noise good for? **It forgets.** Start all three wrongly, with half of the spread. The flow carries
# the error to the end, and the reverse diffusion loses most of it, if you give it enough steps.

# %%
grid = np.append(np.linspace(10 ** (1 / 7), 0.02 ** (1 / 7), 256) ** 7, 0.0)
for name, (step, _) in solvers.items():
    good, bad = (motes.sliced_w2(solve(step, y, grid, shaking)[-1], reference) for y in (wide, wide / 2))
    print(f"{name:<17} from the right start {good:.3f}, from half the spread {bad:.3f}")

# %% [markdown]
# ## 7. Solve the easy part exactly
#
# Modern samplers use one more idea (Lu et al. 2022). Measure levels by $\lambda = -\log r$, which is not the $\lambda$
# of section 3. Then
#
# $$\frac{d\mathbf{y}}{d\lambda} = \frac{d\mathbf{y}}{dr}\,\frac{dr}{d\lambda} = -r\,\hat{\boldsymbol\epsilon}
# = \hat{\mathbf{x}}_0 - \mathbf{y},$$
#
# because $\mathbf{y} = \hat{\mathbf{x}}_0 + r\hat{\boldsymbol\epsilon}$. The term $-\mathbf{y}$ is known, so why
# approximate it? Multiply by $e^\lambda$: $\frac{d}{d\lambda}(e^\lambda\mathbf{y}) = e^\lambda\hat{\mathbf{x}}_0$.
# Integrate from $\lambda$ to $\lambda + h$, and divide by $e^{\lambda+h}$:
#
# $$\mathbf{y}_{\lambda+h} = e^{-h}\,\mathbf{y}_\lambda + \int_0^h e^{-(h-u)}\,\hat{\mathbf{x}}_0(\lambda + u)\,du.$$
#
# This is exact. Only $\hat{\mathbf{x}}_0$ along the path is unknown, and it changes slowly. If you hold it constant,
# the integral is $(1 - e^{-h})\,\hat{\mathbf{x}}_0$, and with $e^{-h} = s/r$, where $s$ is the next level, you have
# Euler's step again:
#
# $$\tfrac sr\,\mathbf{y} + \big(1 - \tfrac sr\big)\hat{\mathbf{x}}_0
# = \mathbf{y} + \big(\tfrac sr - 1\big)(\mathbf{y} - \hat{\mathbf{x}}_0)
# = \mathbf{y} + (s - r)\,\hat{\boldsymbol\epsilon}.$$
#
# If you extrapolate it by a straight line through this and the previous step (exercise 7.3), you have a second-order
# method that costs one evaluation a step; by a parabola, `DPMSolver3M`.
#
# ## Exercises
#
# Fill in the functions and run their cells. `check` tries them on inputs that you do not see, and names the usual
# mistakes. If you are stuck, run `hint("ddim_step")` in a new cell for a first idea, and `hint("ddim_step", 2)` for
# more. `solution("ddim_step")` shows an answer.
#
# ### 7.1 DDIM (easy)
#
# DDIM without noise is Euler's method for the flow, written in $\mathbf{x}$ instead of $\mathbf{y}$. Take the step
# $\mathbf{y}_s = \mathbf{y}_t + (r_s - r_t)\,\hat{\boldsymbol\epsilon}$, express $\hat{\boldsymbol\epsilon}$ by
# $\mathbf{x}_t$ and $\hat{\mathbf{x}}_0$, multiply by $\alpha_s$, and simplify.


# %%
def ddim_step(x_t, x0_hat, alpha_t, sigma_t, alpha_s, sigma_s):
    """Return x_s, (n, d), from x_t and x0_hat (n, d), without fresh noise; alphas and sigmas are numbers."""
    ...


check("ddim_step", ddim_step)

# %% [markdown]
# ### 7.2 Heun's method for any slope (middle)
#
# You have seen it with the arguments in another order. Write it from memory, and note which level belongs to which
# point.


# %%
def heun_step(eps_hat, y, r, r_next):
    """Return y at level r_next, (n, d), from y (n, d) at level r; eps_hat(y, r) is a function that returns (n, d)."""
    ...


check("heun_step", heun_step)

# %% [markdown]
# ### 7.3 A multistep method (research)
#
# Let $\hat{\mathbf{x}}_0$ be a straight line in $\lambda$: through `x0` at the present point, and through `x0_before`
# at a point `h_before` earlier. Put it into the integral of section 7 and solve it. (DPM-Solver++(2M) makes one more
# approximation in this integral. Both are of second order.)


# %%
def multistep(y, x0, x0_before, h, h_before):
    """Return y after a step h in lambda, (n, d), for y, x0 and x0_before (n, d)."""
    ...


check("multistep", multistep)

# %% [markdown]
# ## Find the fault
#
# `fault(7)` is meant to be Heun's method, and declares `order = 2`. Its samples look right. Measure its order as in
# section 5:

# %%
suspect = fault(7)
errors = []
for number in (64, 128):
    process = ReverseProcess(oracle, suspect, KarrasGrid(number, sigma_min=0.05)(schedule), dim=2)
    drawn, _ = motes.points.sample(process, n, key=key, start=start)
    errors.append(error(drawn))
order = np.log2(errors[0] / errors[1])
print(f"declared order {suspect.order}; errors {errors[0]:.1e} and {errors[1]:.1e}, order {order:.2f}")

# %% [markdown]
# Two evaluations per step, and the order of Euler's method. To find out why, do not use a diffusion model at all: a
# sampler only sees $\hat{\boldsymbol\epsilon}(\mathbf{y}, r)$, and you may choose it. The cell below takes one step
# with a slope of your choice, with Heun's method and with the suspect. Try slopes that depend on $r$ alone, on $y$
# alone, and on nothing.
#
# Your answer is one of the words `"last step"`, `"level"` (the second slope belongs to a wrong noise level),
# `"noise"`, `"point"` (the second slope belongs to a wrong point) and `"weights"` (of the two slopes).
# `hint("fault_07")` helps.


# %%
class Slope(Denoiser):
    """A denoiser with eps_hat(y, r) = function(y, r)."""

    schedule: Schedule
    function: object

    def __call__(self, x_t, t):
        return x_t - self.schedule.sigma(t) * self.function(x_t, self.schedule.sigma(t))


def single_step(sampler, function, y=1.0, r=1.0, s=0.5):
    """Return the point at level s after one step from y at level r."""
    times = schedule.t_of_log_snr(-2 * jnp.log(jnp.array([r, s])))
    return float(sampler.step(Slope(schedule, function), jnp.array([y]), *times, None, key)[0][0])


for name, sampler in {"Heun()": Heun(), "fault(7)": suspect}.items():
    print(f"{name:<9} slope y + r: {single_step(sampler, lambda y, r: y + r):.4f}")

check("fault_07", ...)

# %% [markdown]
# ## What you learned
#
# - In $\mathbf{y} = \mathbf{x}/\alpha$ and $r = \sigma/\alpha$ all schedules are one diffusion, and the velocity of
#   its probability flow is the predicted noise.
# - Fresh noise and a stronger drift cancel: a whole family of equations has the same densities.
# - The order of a sampler can be measured, and a wrong one found: a fault that no picture shows.
#
# ## Next
#
# The flow can be followed in both directions. [Lab 8](lab08.py) follows it from data to noise and gets the likelihood
# of every point.
#
# ## References
#
# - Y. Song et al. (2021). *Score-based generative modeling through stochastic differential equations.*
#   arXiv:2011.13456.
# - T. Karras, M. Aittala, T. Aila, S. Laine (2022). *Elucidating the design space of diffusion-based generative
#   models.* arXiv:2206.00364.
# - J. Song, C. Meng, S. Ermon (2021). *Denoising diffusion implicit models.* arXiv:2010.02502.
# - C. Lu et al. (2022). *DPM-Solver++.* arXiv:2211.01095.
