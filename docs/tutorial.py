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
# # A diffusion model, part by part
#
# We take two moons apart into noise, and learn to put them together again. Each formula stands next to the call that
# computes it, and each claim next to a number that you can run.
#
# The first half (sections 1 to 9) rebuilds a well-known notebook, *Diffusion Models Tutorial* by J. Rafid Siddiqui,
# with the small functions of `motes`. We call it *the original*. Section 10 says what it got wrong, fault by fault,
# and shows each one. Section 11 puts them right.
#
# Everything is shortened so that the page runs in about a minute on a quiet laptop: the original trains for 79,000
# steps, and we train for 8,000. The seeds are fixed; your machine may differ from ours in the last digits.

# In a notebook this line installs the package from the checkout in whose folder `docs` the notebook lies. On Colab,
# bring the checkout there first. In the script it is a comment.

# %%
# %pip install -q -e ..

# %%
import base64
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

import motes
from motes import points as diffusion
from motes import plots
from motes.points.schedules import CosineBetas
from motes.points import LinearBetas
from motes.points.schedules import QuadBetas
from motes.points.schedules import SigmoidBetas
from motes.points import NoisePredictor
from motes.points import Simple
from motes.points import StepGatedMLP
from motes.points import StepTimes
from motes.points import Training
from motes.points import variational_bound
from motes.points import Ancestral
from motes.points import ReverseProcess
from motes.points import UniformGrid

OUT = Path(".")  # where the film goes


BOX = (-2.8, 3.0)  # both axes of every picture that has noise in it


def side_by_side(clouds, limits):
    """One panel a cloud, all in the same box."""
    fig, axes = plt.subplots(1, len(clouds), figsize=(3.4 * len(clouds), 3.9), layout="constrained")
    fig.get_layout_engine().set(h_pad=0.12)
    for ax, (title, points) in zip(axes, clouds.items(), strict=True):
        plots.scatter(points, ax=ax, limits=limits, title=title)
    plt.close(fig)  # or a notebook would show it twice
    return fig


# %% [markdown]
# ## 1. The data
#
# Three shapes in the plane, 10,000 points each, drawn as the original draws them. We learn the moons.

# %%
plots.sheet({name: motes.make_shape(name, 10_000) for name in ("swiss_roll", "s_curve", "moons")})

# %%
x = motes.make_shape("moons", 10_000, seed=0)  # what we learn from
held_out = motes.make_shape("moons", 10_000, seed=1)  # never trained on, and used to measure
print("mean", x.mean(axis=0).round(2), " standard deviation", x.std(axis=0).round(2))

# %% [markdown]
# Neither the mean nor the spread is that of the noise we shall mix in, which has mean 0 and standard deviation 1.
# The original leaves it so, and for now we do as well.
#
# ## 2. The forward process: adding noise
#
# Noise comes in over $T$ steps. Step $t$ shrinks the point a little and adds Gaussian noise of variance $\beta_t$
# [1, eq. 2]:
#
# $$q(\mathbf{x}_t \mid \mathbf{x}_{t-1}) =
# \mathcal{N}\!\left(\mathbf{x}_t;\ \sqrt{1-\beta_t}\,\mathbf{x}_{t-1},\ \beta_t \mathbf{I}\right).$$
#
# The papers count time in steps, $t = 1, \dots, T$. In `motes` time runs from 0 (data) to 1 (noise), so their
# $\mathbf{x}_t$ sits at `t / T`, and their $\beta_t$ is `betas[t - 1]`. The original has $T = 100$ and betas that rise
# along a logistic curve from $10^{-5}$ to $5\cdot10^{-3}$.

# %%
T = 100
schedule = SigmoidBetas(T, 1e-5, 5e-3).schedule()

x_39 = jnp.asarray(x)
step = diffusion.q_transition(schedule, x_39, 39 / T, 40 / T)  # q(x_40 | x_39), for all points at once
print("variance of one step", float(step.variance), " beta_40", schedule.betas[39])
print(
    "factor of one step  ", float(step.mean[0, 0] / x_39[0, 0]), " sqrt(1 - beta_40)", np.sqrt(1 - schedule.betas[39])
)

# %% [markdown]
# A Gaussian of a Gaussian is a Gaussian, so all steps up to $t$ can be taken in one. With
# $\bar\alpha_t = \prod_{i=1}^{t} (1-\beta_i)$ [1, eq. 4],
#
# $$q(\mathbf{x}_t \mid \mathbf{x}_0) =
# \mathcal{N}\!\left(\mathbf{x}_t;\ \sqrt{\bar\alpha_t}\,\mathbf{x}_0,\ (1-\bar\alpha_t)\,\mathbf{I}\right).$$
#
# The mean holds $\mathbf{x}_0$, the data, and not $\mathbf{x}_{t-1}$. Written with the noise itself,
#
# $$\mathbf{x}_t = \alpha_t \mathbf{x}_0 + \sigma_t \boldsymbol\epsilon, \qquad
# \alpha_t = \sqrt{\bar\alpha_t},\quad \sigma_t = \sqrt{1-\bar\alpha_t},\quad
# \boldsymbol\epsilon \sim \mathcal{N}(\mathbf{0}, \mathbf{I}).$$
#
# Let us take 100 small steps, and one large one, and compare.

# %%
rng = np.random.default_rng(0)
walk = x.copy()
for beta in schedule.betas:  # q(x_t | x_{t-1}), a hundred times
    walk = np.sqrt(1 - beta) * walk + np.sqrt(beta) * rng.standard_normal(x.shape)

eps = jnp.asarray(rng.standard_normal(x.shape))
leap = np.asarray(diffusion.q_sample(schedule, jnp.asarray(x), 1.0, eps))  # q(x_T | x_0), once

for name, x_T in (("100 steps", walk), ("one leap ", leap)):
    slope = [np.polyfit(x[:, j], x_T[:, j], 1)[0] for j in (0, 1)]
    rest = (x_T - slope * x).std(axis=0)
    print(name, " factor of x_0", np.round(slope, 2), " noise", rest.round(2))
print(f"alpha_T = {schedule.alpha(1.0):.3f}, sigma_T = {schedule.sigma(1.0):.3f}")

# %% [markdown]
# How much of the signal is left is best said as its logarithm,
#
# $$\log \mathrm{SNR}(t) = \log \frac{\alpha_t^2}{\sigma_t^2}.$$

# %%
print("log-SNR at t/T = 0.01, 0.5, 1:", np.asarray(schedule.log_snr(jnp.array([0.01, 0.5, 1.0]))).round(2), "nats")
times = np.linspace(0, 1, T + 1)
plots.schedule_curves(times[1:], schedule.alpha(times[1:]), schedule.sigma(times[1:]))

# %% [markdown]
# Four ways to choose the betas. Three go from a start to an end (linear, quadratic, logistic); here all run from
# $10^{-5}$ to $5\cdot10^{-3}$. The fourth, of Nichol & Dhariwal [3, eq. 17], sets $\bar\alpha_t$ itself to a squared
# cosine. Only the cosine lets the signal die.

# %%
kinds = {
    "linear": LinearBetas(T, 1e-5, 5e-3).betas,
    "quad": QuadBetas(T, 1e-5, 5e-3).betas,
    "sigmoid": SigmoidBetas(T, 1e-5, 5e-3).betas,
    "cosine": CosineBetas(T).betas,
}
with plt.style.context("dark_background"):
    fig, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained")
    for kind, betas in kinds.items():
        made = diffusion.DiscreteVP(betas)
        axes[0].semilogy(times[1:], made.betas, label=kind)
        axes[1].plot(times, np.append(1, made.alphas_bar))
        axes[2].plot(times[1:], made.log_snr(times[1:]))
        print(f"{kind:<8} alpha_bar_T = {made.alphas_bar[-1]:.2g}")
    for ax, name in zip(axes, (r"$\beta_t$", r"$\bar\alpha_t$", "log-SNR, nats"), strict=True):
        ax.set(title=name, xlabel="$t/T$")
    axes[0].legend()
    fig.canvas.draw()  # ticks take their colour when they are first drawn
plt.close(fig)
fig

# %% [markdown]
# The moons along the original's schedule. Each panel says the time that it shows, and the first is the data itself.

# %%
steps_shown = np.linspace(0, T, 10).round().astype(int)
few, few_eps = jnp.asarray(x[:3000]), eps[:3000]
forward = [np.asarray(diffusion.q_sample(schedule, few, k / T, few_eps)) for k in steps_shown]
view = plots.View(BOX, steps=T)
plots.row(forward, steps_shown / T, process="forward", view=view)

# %% [markdown]
# At $t = T$ the cloud still has two lobes and lies off centre. Keep that picture in mind.
#
# ## 3. The posterior: one step back, if $\mathbf{x}_0$ were known
#
# Going back from $\mathbf{x}_t$ to $\mathbf{x}_{t-1}$ is easy for someone who knows $\mathbf{x}_0$. Bayes' rule gives
# a Gaussian again [1, eqs. 6 and 7]:
#
# $$q(\mathbf{x}_{t-1} \mid \mathbf{x}_t, \mathbf{x}_0) =
# \mathcal{N}\!\left(\mathbf{x}_{t-1};\ \tilde{\boldsymbol\mu}_t,\ \tilde\beta_t \mathbf{I}\right),\qquad
# \tilde{\boldsymbol\mu}_t =
# \underbrace{\frac{\sqrt{\bar\alpha_{t-1}}\,\beta_t}{1-\bar\alpha_t}}_{\text{coef}_1}\mathbf{x}_0
# + \underbrace{\frac{\sqrt{1-\beta_t}\,(1-\bar\alpha_{t-1})}{1-\bar\alpha_t}}_{\text{coef}_2}\mathbf{x}_t,
# \qquad
# \tilde\beta_t = \frac{1-\bar\alpha_{t-1}}{1-\bar\alpha_t}\,\beta_t.$$
#
# Here they are as tables. `q_posterior` computes the same at any two times.

# %%
bar, bar_before = schedule.alphas_bar, np.append(1, schedule.alphas_bar[:-1])
coef_1 = schedule.betas * np.sqrt(bar_before) / (1 - bar)
coef_2 = np.sqrt(1 - schedule.betas) * (1 - bar_before) / (1 - bar)
posterior_variance = schedule.betas * (1 - bar_before) / (1 - bar)

print("   t      beta     coef_1    coef_2   posterior variance")
for t in (1, 2, 10, 50, 100):
    k = t - 1
    print(f"{t:4d}  {schedule.betas[k]:.2e}  {coef_1[k]:.5f}  {coef_2[k]:.5f}  {posterior_variance[k]:.2e}")

x_50 = diffusion.q_sample(schedule, few, 50 / T, few_eps)
posterior = diffusion.q_posterior(schedule, x_50, few, 50 / T, 49 / T)
by_table = coef_1[49] * few + coef_2[49] * x_50
print("largest difference between q_posterior and the tables:", float(jnp.abs(posterior.mean - by_table).max()))

# %% [markdown]
# At $t = 1$ the posterior has variance 0: it is $\mathbf{x}_0$ itself. Where its logarithm is wanted, the first entry
# is replaced by the second.
#
# ## 4. What to minimise: the variational bound
#
# Nobody knows $\mathbf{x}_0$ when sampling, so we learn a reverse process. It starts from noise,
# $p(\mathbf{x}_T) = \mathcal{N}(\mathbf{0}, \mathbf{I})$, and takes Gaussian steps
# $p_\theta(\mathbf{x}_{t-1} \mid \mathbf{x}_t)$. How good is it? We would like $-\log p_\theta(\mathbf{x}_0)$, but that
# asks for an integral over all paths. Jensen's inequality bounds it:
#
# $$-\log p_\theta(\mathbf{x}_0)
# = -\log \mathbb{E}_q\!\left[\frac{p_\theta(\mathbf{x}_{0:T})}{q(\mathbf{x}_{1:T}\mid\mathbf{x}_0)}\right]
# \le \mathbb{E}_q\!\left[-\log p(\mathbf{x}_T)
# - \sum_{t=1}^{T} \log \frac{p_\theta(\mathbf{x}_{t-1}\mid\mathbf{x}_t)}{q(\mathbf{x}_t\mid\mathbf{x}_{t-1})}\right]
# = L.$$
#
# For $t \ge 2$ Bayes' rule turns the forward step round,
#
# $$q(\mathbf{x}_t\mid\mathbf{x}_{t-1}) = q(\mathbf{x}_{t-1}\mid\mathbf{x}_t,\mathbf{x}_0)\,
# \frac{q(\mathbf{x}_t\mid\mathbf{x}_0)}{q(\mathbf{x}_{t-1}\mid\mathbf{x}_0)}.$$
#
# The fractions on the right cancel one another along the sum, until only
# $q(\mathbf{x}_T\mid\mathbf{x}_0) / q(\mathbf{x}_1\mid\mathbf{x}_0)$ is left. What remains is [1, eq. 5]
#
# $$L = \mathbb{E}_q\Big[
# \underbrace{D_{\mathrm{KL}}\big(q(\mathbf{x}_T\mid\mathbf{x}_0)\,\|\,p(\mathbf{x}_T)\big)}_{\text{prior}}
# + \sum_{t=2}^{T} \underbrace{D_{\mathrm{KL}}\big(q(\mathbf{x}_{t-1}\mid\mathbf{x}_t,\mathbf{x}_0)\,\|\,
# p_\theta(\mathbf{x}_{t-1}\mid\mathbf{x}_t)\big)}_{\text{one per step}}
# \ \underbrace{-\,\log p_\theta(\mathbf{x}_0\mid\mathbf{x}_1)}_{\text{reconstruction}}\Big].$$
#
# There is no network yet, and none is needed to try this out. All that the reverse process asks for is a *denoiser*,
# an estimate of $\mathbb{E}[\mathbf{x}_0\mid\mathbf{x}_t]$. Here is one that takes the moons for a Gaussian cloud with
# their mean $\mathbf{m}$ and covariance $\mathbf{C}$. For such a cloud the answer is exact:
#
# $$\mathbb{E}[\mathbf{x}_0\mid\mathbf{x}_t] = \mathbf{m} + \alpha_t\mathbf{C}\,
# (\alpha_t^2\mathbf{C} + \sigma_t^2\mathbf{I})^{-1}(\mathbf{x}_t - \alpha_t\mathbf{m}).$$


# %%
class GaussianGuess(diffusion.Denoiser):
    """E[x_0 | x_t] of a Gaussian cloud."""

    schedule: diffusion.Schedule
    mean: jax.Array  # (d,)
    covariance: jax.Array  # (d, d)

    def __call__(self, x_t, t):
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        spread = alpha**2 * self.covariance + sigma**2 * jnp.eye(len(x_t))  # covariance of x_t
        return self.mean + alpha * self.covariance @ jnp.linalg.solve(spread, x_t - alpha * self.mean)  # (d,)


guess = GaussianGuess(schedule, jnp.asarray(x.mean(axis=0)), jnp.asarray(np.cov(x.T)))
test = held_out[:3000]
bound = variational_bound(guess, test, key=jax.random.key(1))
print(f"prior            {bound.prior.mean():7.3f} nats")
print(f"99 steps, summed {bound.kl.sum(axis=1).mean():7.3f}")
print(f"reconstruction   {bound.reconstruction.mean():7.3f}")
print(f"the bound        {bound.nats.mean():7.3f} nats a point, {bound.bits_per_dim.mean():.3f} bits a column")

gap = test - x.mean(axis=0)
squares = np.sum(gap @ np.linalg.inv(np.cov(x.T)) * gap, axis=1)
exact = (np.linalg.slogdet(2 * np.pi * np.cov(x.T))[1] + squares) / 2
print(f"\nthe Gaussian itself, -log N(x; m, C): {exact.mean():.3f} nats")

# %% [markdown]
# The bound lies above the exact value, by about 0.3 nats. Nearly all of that is one fault of the schedule, which
# section 10 takes up. No training can fix it: the prior term holds nothing to learn.
#
# Did the algebra go right? We can do without it: walk forward along whole paths, and average the log-ratio of $L$
# straight from its definition.


# %%
@jax.jit
def log_ratio(x0, key):
    """-log p(x_T) - sum_t log p(x_{t-1}|x_t) / q(x_t|x_{t-1}) for one path from each row, (n,)."""

    def log_normal(x, mean, variance):
        return -0.5 * jnp.sum((x - mean) ** 2 / variance + jnp.log(2 * jnp.pi * variance), axis=1)

    def move(carry, k):
        x_s, total = carry
        s, t = k / T, (k + 1) / T
        mean, beta = diffusion.q_transition(schedule, x_s, s, t)
        x_t = mean + jnp.sqrt(beta) * jax.random.normal(jax.random.fold_in(key, k), x_s.shape)
        x0_hat = jax.vmap(guess, (0, None))(x_t, t)
        back = diffusion.q_posterior(schedule, x_t, x0_hat, t, s)
        return (x_t, total - log_normal(x_s, back.mean, beta) + log_normal(x_t, mean, beta)), None

    (x_T, total), _ = jax.lax.scan(move, (x0, jnp.zeros(len(x0))), jnp.arange(T))
    return total - log_normal(x_T, 0.0, jnp.ones(()))


paths = np.asarray(log_ratio(jnp.asarray(test, dtype=jnp.float32), jax.random.key(2)))
print(f"whole paths   {paths.mean():.3f} +- {paths.std() / len(test) ** 0.5:.3f} nats")
print(f"term by term  {bound.nats.mean():.3f} +- {bound.nats.std() / len(test) ** 0.5:.3f} nats")

# %% [markdown]
# The two agree within their errors. The terms have the advantage that each belongs to one step, and can be looked at,
# and trained, alone.
#
# Sohl-Dickstein et al. [2] write the same bound as a lower bound $K$ on the log-likelihood, with entropies:
#
# $$\mathbb{E}[\log p_\theta(\mathbf{x}_0)] \ge K =
# -\sum_{t=2}^{T} \mathbb{E}_q\!\left[D_{\mathrm{KL}}\big(q(\mathbf{x}_{t-1}\mid\mathbf{x}_t,\mathbf{x}_0)\,\|\,
# p_\theta(\mathbf{x}_{t-1}\mid\mathbf{x}_t)\big)\right]
# + H_q(\mathbf{X}_T\mid\mathbf{X}_0) - H_q(\mathbf{X}_1\mid\mathbf{X}_0) - H_p(\mathbf{X}_T).$$
#
# To get there from $-L$, write the prior term as a cross-entropy less an entropy,
# $\mathbb{E}_q[-\log p(\mathbf{x}_T)] - H_q(\mathbf{X}_T\mid\mathbf{X}_0)$, and make two choices of theirs. The last
# step is not learned but is the forward step turned round,
# $p(\mathbf{x}_0\mid\mathbf{x}_1) = q(\mathbf{x}_1\mid\mathbf{x}_0)\,\pi(\mathbf{x}_0)/\pi(\mathbf{x}_1)$ with
# $\pi = \mathcal{N}(\mathbf{0},\mathbf{I})$. And the data has second moments like those of the noise,
# $\mathbb{E}\|\mathbf{x}_0\|^2 = d$; then the cross-entropy is $H_p(\mathbf{X}_T)$, and $\log\pi(\mathbf{x}_0)$ and
# $\log\pi(\mathbf{x}_1)$ cancel on average. The second choice asks for standardised data. Without it a correction is
# due:


# %%
def entropy(variance, d=2):
    """Of an isotropic Gaussian in d columns, in nats."""
    return d / 2 * np.log(2 * np.pi * np.e * variance)


kl = bound.kl.sum(axis=1).mean()
h_T, h_1, h_p = entropy(1 - schedule.alphas_bar[-1]), entropy(schedule.betas[0]), entropy(1.0)
K = -kl + h_T - h_1 - h_p

moment = {0: (test**2).sum(axis=1).mean()}  # E|x_t|^2
for t in (1, T):
    moment[t] = schedule.alphas_bar[t - 1] * moment[0] + 2 * (1 - schedule.alphas_bar[t - 1])
correction = -(moment[T] - 2) / 2 - (moment[0] - moment[1]) / 2

print(f"H_q(X_T|X_0) = {h_T:.3f}, H_q(X_1|X_0) = {h_1:.3f}, H_p(X_T) = {h_p:.3f}")
print(f"K as it stands                  {K:.3f} nats")
print(f"K with the second moments right {K + correction:.3f} nats")
turned = h_1 + (moment[0] - moment[1]) / 2  # -log p(x_0|x_1) of the forward step turned round, on average
print(f"-L with the last step of [2]    {-(bound.prior.mean() + kl + turned):.3f} nats")

# %% [markdown]
# ## 5. From the bound to the simple loss
#
# Both $q(\mathbf{x}_{t-1}\mid\mathbf{x}_t,\mathbf{x}_0)$ and the reverse step are Gaussian. With the reverse variance
# $\sigma_t^2$ fixed, the only thing to learn is a mean, and the term of step $t$ is
#
# $$\frac{1}{2\sigma_t^2}\left\|\tilde{\boldsymbol\mu}_t - \boldsymbol\mu_\theta(\mathbf{x}_t, t)\right\|^2
# + \frac d2\left(\frac{\tilde\beta_t}{\sigma_t^2} - 1 - \log\frac{\tilde\beta_t}{\sigma_t^2}\right).$$
#
# The second part holds nothing to learn, and is 0 for $\sigma_t^2 = \tilde\beta_t$. Ho et al. [1, eq. 11] let the
# network say the noise, and build the mean from it:
#
# $$\boldsymbol\mu_\theta(\mathbf{x}_t, t) = \frac{1}{\sqrt{1-\beta_t}}\left(\mathbf{x}_t
# - \frac{\beta_t}{\sqrt{1-\bar\alpha_t}}\,\boldsymbol\epsilon_\theta(\mathbf{x}_t, t)\right).$$
#
# Put that in, and the distance of the means becomes a distance of noises [1, eq. 12]:
#
# $$\mathbb{E}\left[w_t \left\|\boldsymbol\epsilon - \boldsymbol\epsilon_\theta(\mathbf{x}_t, t)\right\|^2\right],
# \qquad w_t = \frac{\beta_t^2}{2\sigma_t^2\,(1-\beta_t)(1-\bar\alpha_t)}.$$
#
# They then leave the weights out, and that is the simple loss [1, eq. 14]:
#
# $$L_{\text{simple}} = \mathbb{E}_{t,\mathbf{x}_0,\boldsymbol\epsilon}\left[\left\|\boldsymbol\epsilon
# - \boldsymbol\epsilon_\theta(\alpha_t\mathbf{x}_0 + \sigma_t\boldsymbol\epsilon,\ t)\right\|^2\right].$$
#
# The identity holds for any denoiser, so we check it with the one we have, at every step and with
# $\sigma_t^2 = \tilde\beta_t$. (`motes` takes the mean over columns where the formula has a sum: hence the factor $d$.)


# %%
@jax.jit
def both_sides(t):
    noise = jax.random.normal(jax.random.fold_in(jax.random.key(3), t), few.shape)
    now, before = t / T, (t - 1) / T
    x_t = diffusion.q_sample(schedule, few, now, noise)
    x0_hat = jax.vmap(guess, (0, None))(x_t, now)
    truth = diffusion.q_posterior(schedule, x_t, few, now, before)
    model = diffusion.q_posterior(schedule, x_t, x0_hat, now, before)
    kl_term = 0.5 * jnp.sum((truth.mean - model.mean) ** 2, axis=1) / truth.variance
    eps_hat = (x_t - schedule.alpha(now) * x0_hat) / schedule.sigma(now)
    return kl_term.mean(), jnp.mean((noise - eps_hat) ** 2)


from_2 = np.arange(2, T + 1)
kl_terms, simple_terms = (np.asarray(side) for side in jax.lax.map(both_sides, jnp.asarray(from_2)))
betas, tilde = schedule.betas[1:], posterior_variance[1:]
weights = betas**2 / (2 * tilde * (1 - betas) * (1 - schedule.alphas_bar[1:]))
d = 2
print("   t   KL term   weight   d * simple   weight * d * simple")
for t in (2, 10, 50, 100):
    k, s, w = kl_terms[t - 2], d * simple_terms[t - 2], weights[t - 2]
    print(f"{t:4d}  {k:.6f}  {w:.6f}  {s:.6f}   {w * s:.6f}")
print("largest relative difference over all steps:", np.abs(kl_terms / (weights * d * simple_terms) - 1).max())

# %%
with plt.style.context("dark_background"):
    fig, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    axes[0].semilogy(from_2, weights)
    axes[0].set(title="weight $w_t$ that the simple loss leaves out", xlabel="$t$")
    axes[1].semilogy(from_2, kl_terms, label="KL term, as the bound has it")
    axes[1].semilogy(from_2, d * simple_terms, label="simple loss, without the weight")
    axes[1].set(title="the same error, weighed twice", xlabel="$t$")
    axes[1].legend()
    fig.canvas.draw()
plt.close(fig)
fig

# %% [markdown]
# The bound cares about the first few steps above all, where the noise is smallest. The simple loss shifts the work
# towards the later ones, which decide the shape.
#
# ## 6. The network, and an average of it
#
# The original's network: three hidden layers of 128, each a linear map times a learned row for the step at hand, then
# a softplus; and a linear map to the plane. It takes a point and a time and gives a noise. It knows nothing of
# diffusion. Wrapped with a schedule it is a denoiser, just like our Gaussian guess.

# %%
network = StepGatedMLP(dim=2, steps=T, width=128, depth=3, key=jax.random.key(0))
fresh_denoiser = NoisePredictor(network, schedule)
print(f"{sum(a.size for a in jax.tree.leaves(eqx.filter(network, eqx.is_array))):,} parameters")

# %% [markdown]
# What the network says can be said in four ways. Once $\mathbf{x}_t$ is known, $\mathbf{x}_0$, $\boldsymbol\epsilon$,
# the score and the velocity $\mathbf{v} = \alpha_t\boldsymbol\epsilon - \sigma_t\mathbf{x}_0$ of Salimans & Ho [5]
# carry the same information:

# %%
point, now = x_50[0], 0.5
eps_hat = fresh_denoiser.eps(point, now)
x0_hat = fresh_denoiser(point, now)  # (x_t - sigma_t eps_hat) / alpha_t
v_hat, score_hat = fresh_denoiser.v(point, now), fresh_denoiser.score(point, now)
print("eps", eps_hat, " x0", x0_hat, " v", v_hat, " score", score_hat)
print("and back from v:", schedule.alpha(now) * point - schedule.sigma(now) * v_hat)

# %% [markdown]
# The weights jitter from step to step, so one keeps a moving average of them,
# $\bar\theta \leftarrow \lambda\bar\theta + (1-\lambda)\theta$, and samples from $\bar\theta$. The original has
# $\lambda = 0.9$, an average over about ten steps.
#
# ## 7. Training
#
# Algorithm 1 of [1]: draw points, times and noise; take a gradient step on the simple loss. The original draws times
# in pairs, $t$ with $T + 1 - t$, clips the gradient's norm to 1, and uses Adam with a rate of $10^{-3}$ and batches of
# 128. Ten thousand rows are 78 such batches and a last one of 16. **Shortened:** 8,000 steps in place of 79,000.

# %%
STEPS = 8_000
options = Training(
    steps=STEPS,
    batch=128,
    last_batch="partial",
    learning_rate=1e-3,
    decay="constant",
    warmup=0,
    clip_norm=1.0,
    ema=0.9,
)
trained = motes.points.train(
    fresh_denoiser, x, key=jax.random.key(4), loss=Simple(), times=StepTimes("antithetic"), options=options
)
recent = trained.losses[-1000:].mean()
print(f"{trained.steps:,} steps in {trained.seconds:.1f} s; mean loss of the last 1,000: {recent:.4f}")

# %%
plots.loss_curve(np.arange(1, STEPS + 1), trained.losses, window=200)

# %% [markdown]
# The loss jitters much and falls little: most of it is noise that nobody could guess. The bound says more. Here it is
# beside that of our Gaussian guess, on points that neither has seen.

# %%
learned = variational_bound(trained.last, test, key=jax.random.key(1))


def compare(bounds):
    print(f"{'':<22} prior   99 steps   reconstruction   bound, nats")
    for name, b in bounds.items():
        terms = b.prior.mean(), b.kl.sum(axis=1).mean(), b.reconstruction.mean(), b.nats.mean()
        print("{:<20} {:7.3f}    {:7.3f}          {:7.3f}       {:7.3f}".format(name, *terms))


compare({"Gaussian guess": bound, "network": learned})

# %% [markdown]
# ## 8. The reverse process: sampling
#
# Algorithm 2 of [1]. Start from $\mathbf{x}_T \sim \mathcal{N}(\mathbf{0},\mathbf{I})$ and step back,
#
# $$\mathbf{x}_{t-1} = \frac{1}{\sqrt{1-\beta_t}}\left(\mathbf{x}_t
# - \frac{\beta_t}{\sqrt{1-\bar\alpha_t}}\,\boldsymbol\epsilon_\theta(\mathbf{x}_t, t)\right) + \sigma_t\mathbf{z},
# \qquad \mathbf{z}\sim\mathcal{N}(\mathbf{0},\mathbf{I}),$$
#
# with $\mathbf{z} = \mathbf{0}$ at the last step. The mean is the posterior's, with the guess in the place of
# $\mathbf{x}_0$, and that is how the sampler writes it:
#
# ```python
# mean, variance = q_posterior(schedule, x_t, denoiser(x_t, t), t, s)
# ```
#
# The original adds noise at the last step too (`denoise_last=False`).

# %%
original = Ancestral(variance="beta", denoise_last=False)
grid = UniformGrid(T)(schedule)  # 1, 0.99, ..., 0.01, 0
N = 4_096  # two blocks of the sampler, which works on 2,048 points at once
reverse = ReverseProcess(trained.last, original, grid, dim=2)
# The samples (n, 2), and the chain at every place of the grid (T + 1, n, 2).
samples, chain = motes.points.sample(reverse, N, key=jax.random.key(5), record=range(T + 1))
places = T - steps_shown[::-1]  # from t = T down to 0
plots.row(chain[places][:, :3000], np.asarray(grid)[places], process="reverse", view=view)

# %% [markdown]
# For $\sigma_t^2$ there are two natural choices, $\beta_t$ and $\tilde\beta_t$: right for data spread like the noise,
# and for data that is one single point [1, section 3.2]. With many small steps they hardly differ. The third panel is
# the data: after 8,000 steps there is some way to go.

# %%
less_noise = ReverseProcess(trained.last, Ancestral("posterior", denoise_last=False), grid, dim=2)
smaller, _ = motes.points.sample(less_noise, 2_048, key=jax.random.key(5))
near = plots.limits_of(x, robust=0.0)
side_by_side({"variance beta": samples[:2048], "variance of the posterior": smaller, "data": x[:2048]}, near)

# %% [markdown]
# How did it get there? The training has kept its weights five times. The same noise, sent back by each of them:

# %%
rows = {}
for shot in trained.snapshots:
    earlier = ReverseProcess(shot.last, original, grid, dim=2)
    _, rows[f"step {shot.step:,}"] = motes.points.sample(earlier, 1_000, key=jax.random.key(5), record=places.tolist())
plots.grid(rows, np.asarray(grid)[places], process="reverse", view=view)

# %% [markdown]
# ## 9. The film
#
# Forward from the data to noise, then back from noise to samples. Each frame says its process and its true time, the
# box never changes, and both ends are held. Watch the turn: the way out ends in one cloud at $t = T$, and the way back
# starts from another. That jump is the first fault of the next section.


# %%
class Gif:
    """A file that shows itself in a notebook."""

    def __init__(self, path):
        self.path = path

    def _repr_html_(self):
        film = base64.b64encode(self.path.read_bytes()).decode()
        return f'<img src="data:image/gif;base64,{film}" alt="Two moons turn into noise, and noise into two moons.">'


at = times[:, None, None]
there = np.asarray(diffusion.q_sample(schedule, jnp.asarray(x[:N]), at, eps[:N]))  # (T + 1, n, 2)
film = plots.frames(there, times, chain, np.asarray(grid), view=view, size=400)
plots.save_gif(film, OUT / "diffusion.gif")
print(f"{OUT / 'diffusion.gif'}, {(OUT / 'diffusion.gif').stat().st_size / 1e6:.1f} MB")
Gif(OUT / "diffusion.gif")

# %% [markdown]
# ## 10. What the original got wrong
#
# The pictures look fine from afar. Here is what they hide.
#
# ### The signal never dies
#
# Sampling starts from $\mathcal{N}(\mathbf{0}, \mathbf{I})$. That is right only if $q(\mathbf{x}_T)$ is
# $\mathcal{N}(\mathbf{0}, \mathbf{I})$. It is not:

# %%
alpha_bar = schedule.alphas_bar[-1]
print(f"alpha_bar_T = {alpha_bar:.3f}: {np.sqrt(alpha_bar):.0%} of the amplitude is still there")


def gaussian_kl(data, alpha_bar):
    """KL from the Gaussian with the mean and covariance of q(x_T) to N(0, I), in nats."""
    mean = np.sqrt(alpha_bar) * data.mean(axis=0)
    covariance = alpha_bar * np.cov(data.T) + (1 - alpha_bar) * np.eye(2)
    return 0.5 * (np.trace(covariance) + mean @ mean - 2 - np.linalg.slogdet(covariance)[1])


for name in ("moons", "s_curve", "swiss_roll"):
    shape = motes.make_shape(name, 10_000)
    print(f"{name:<10} Gaussian KL of q(x_T) to N(0, I): {gaussian_kl(shape, alpha_bar):.2f} nats")

# %% [markdown]
# No network can fix this. To see it, take one that makes no mistake: a denoiser that remembers 1,500 points, and
# knows $\mathbb{E}[\mathbf{x}_0\mid\mathbf{x}_t]$ for a draw from among them exactly. We run the same sampler twice,
# from $\mathcal{N}(\mathbf{0},\mathbf{I})$ and from the true $q(\mathbf{x}_T)$, and measure the distance to a fresh
# draw: the sliced 2-Wasserstein distance over the data's standard deviation.


# %%
class Remembering(diffusion.Denoiser):
    """E[x_0 | x_t] where x_0 is any of `points`, all as likely."""

    schedule: diffusion.Schedule
    points: jax.Array  # (m, d)

    def __call__(self, x_t, t):
        distance = jnp.sum((x_t - self.schedule.alpha(t) * self.points) ** 2, axis=1)  # (m,)
        return jax.nn.softmax(-distance / (2 * self.schedule.sigma(t) ** 2)) @ self.points  # (d,)


@eqx.filter_jit
def send_back(denoiser, sampler, x_T, grid, key):
    """A sampling loop in full: every row of x_T (n, d), from grid[0] to grid[-1]."""

    def move(x_t, at):
        t, s, key = at
        keys = jax.random.split(key, len(x_t))
        x_s, _ = jax.vmap(sampler.step, (None, 0, None, None, None, 0))(denoiser, x_t, t, s, None, keys)
        return x_s, None

    return jax.lax.scan(move, x_T, (grid[:-1], grid[1:], jax.random.split(key, len(grid) - 1)))[0]


perfect = Remembering(schedule, jnp.asarray(x[:1500], dtype=jnp.float32))
starts = {
    "from N(0, I)": np.random.default_rng(6).standard_normal((1000, 2)),
    "from the true q(x_T)": leap[1500:2500],
}
perfect_samples = {
    name: np.asarray(send_back(perfect, Ancestral(), jnp.asarray(start, jnp.float32), grid, jax.random.key(7)))
    for name, start in starts.items()
}
for name, points in perfect_samples.items():
    print(f"perfect denoiser {name:<21} {motes.sliced_w2(points, held_out):.3f}")
print(f"{'two real draws':<38} {motes.sliced_w2(motes.make_shape('moons', 1000, seed=2), held_out):.3f}")
side_by_side({**perfect_samples, "data": x[:1000]}, near)

# %% [markdown]
# A perfect denoiser, and still wrong. All its points land on the moons, but too many at the left end and too few at the
# right: $\mathcal{N}(\mathbf{0},\mathbf{I})$ sits to the left of $q(\mathbf{x}_T)$. So it is in section 8.
#
# ### The data is not standardised
#
# The noise has mean 0 and standard deviation 1; the moons have neither. Most of the mismatch above is just that, and
# so is the correction that $K$ needed in section 4. Standardising alone brings the Gaussian KL down. It does not make
# $q(\mathbf{x}_T)$ a Gaussian, though: a classifier that has to tell $q(\mathbf{x}_T)$ from
# $\mathcal{N}(\mathbf{0},\mathbf{I})$, and would be right half of the time if they were the same, still does it.

# %%
z = (x - x.mean(axis=0)) / x.std(axis=0)
ends = {
    "as it is": (x, schedule),
    "standardised": (z, schedule),
    "standardised, beta up to 0.1": (z, LinearBetas(T, 1e-4, 0.1).schedule()),
}
noise = np.random.default_rng(8).standard_normal((2, *x.shape))
for name, (points, made) in ends.items():
    a = made.alphas_bar[-1]
    x_T = np.sqrt(a) * points + np.sqrt(1 - a) * noise[0]
    print(f"{name:<29} Gaussian KL {gaussian_kl(points, a):.4f} nats, classifier {motes.c2st(x_T, noise[1]):.3f}")

# %% [markdown]
# ### The average of the weights is never used
#
# It is updated after each step, and then the samples come from the last weights. `trained` holds both. Here they are
# on held-out points. A decay of 0.9 spans ten steps only, so the gain is small. It comes for free.


# %%
@eqx.filter_jit
def losses_of(denoiser, x0, key):
    """The simple loss of each row at a random step, (n,)."""
    time_key, noise_key = jax.random.split(key)
    t = StepTimes()(schedule, time_key, len(x0))
    noise = jax.random.normal(noise_key, x0.shape)
    return jax.vmap(Simple(), (None, 0, 0, 0))(denoiser, x0, t, noise)["eps"]


every = jnp.asarray(held_out, dtype=jnp.float32)
averaged = variational_bound(trained.averaged, test, key=jax.random.key(1))
for name, denoiser, b in (("last", trained.last, learned), ("averaged", trained.averaged, averaged)):
    loss = losses_of(denoiser, every, jax.random.key(9))
    print(f"{name:<9} held-out loss {loss.mean():.4f}, bound {b.nats.mean():.3f} nats")

# %% [markdown]
# ### The last step adds noise
#
# Its mean is already the answer. The noise on top, of variance $\beta_1$, blurs it. Same key, with and without:

# %%
noiseless = ReverseProcess(trained.last, Ancestral("beta", denoise_last=True), grid, dim=2)
clean, _ = motes.points.sample(noiseless, 2_048, key=jax.random.key(5))
blur = (samples[:2_048] - clean).std()
print(f"the last step adds noise of standard deviation {blur:.4f}; sqrt(beta_1) = {np.sqrt(schedule.betas[0]):.4f}")
print(f"the same with a schedule that starts at 1e-4: {np.sqrt(1e-4):.4f}; the moons' own blur is 0.1")

# %% [markdown]
# Small here, because $\beta_1$ is small. It is a fault that waits for a larger $\beta_1$.
#
# ### Titles that say another time
#
# The forward row labels its panels 0, 10, ..., 90. But entry 0 of the table is after one step, so all of them are off
# by one, and the data is never shown. The reverse row has 100 steps, is labelled $q(\mathbf{x}_{100})$ to
# $q(\mathbf{x}_{1000})$, and runs the other way. (It is also not $q$ but $p_\theta$.)

# %%
print("forward row, title:", [10 * i for i in range(10)])
print("       what it was:", [10 * i + 1 for i in range(10)])
print("reverse row, title:", [100 * i for i in range(1, 11)])
print("       what it was:", [T - 10 * i for i in range(1, 11)])
forward_frames, reverse_frames = [i + 1 for i in range(T)], [T - i for i in range(T)]
written = forward_frames[:1] + forward_frames + reverse_frames  # the first image, then all of them appended to it
print("the film's frames: ", written[:4], "...", written[99:103], "...", written[-3:])
print("does it ever show x_0?", 0 in written)
first, last = np.ptp(there[1][:, 0]), np.ptp(there[T][:, 0])
print(f"width of its axes:   {first:.2f} in the first frame, {last:.2f} at T")

# %% [markdown]
# The film shows its first frame twice and never shows $\mathbf{x}_0$, at either end. Its axes are fitted to every
# frame anew, so what grows on the data's scale seems to stand still.
#
# ### The printed loss is that of 16 points
#
# What is printed is the loss of an epoch's last batch, and that has 16 rows. Here are ten such batches from one and
# the same model, and then all 10,000 rows.

# %%
loss = np.asarray(losses_of(trained.last, every, jax.random.key(9)))
batches = loss.reshape(-1, 16).mean(axis=1)
print("ten batches of 16:", batches[:10].round(2))
print(f"spread over such batches {batches.std():.3f}; all rows {loss.mean():.4f} +- {loss.std() / 100:.4f}")

# %% [markdown]
# The original's ten printed numbers run from 0.57 to 0.91 without a trend, and this is why. Nothing else is measured:
# there is no held-out data, no distance between samples and data, and no seed with which to get the same again.
#
# ### The text
#
# - The mean of $q(\mathbf{x}_t\mid\mathbf{x}_0)$ is written with $\mathbf{x}_{t-1}$.
# - References 1 and 2 are swapped: the text credits [1] with the bound and [2] with the simple loss, and its list has
#   Ho et al. as [1] and Sohl-Dickstein et al. as [2].
# - $K$ has no sum over $t$, and a bracket that turns the signs of the three entropies.
#
# The first and the last can be put to the test. The factor between $\mathbf{x}_{99}$ and $\mathbf{x}_{100}$ is close to
# 1, not $\sqrt{\bar\alpha_{100}}$. And a bound should be below what it bounds, but not by ten nats and more.

# %%
x_99 = diffusion.q_sample(schedule, jnp.asarray(x), 99 / T, eps)
mean = diffusion.q_transition(schedule, x_99, 99 / T, 1.0).mean
print(f"x_99 -> x_100: the factor is {float(mean[0, 0] / x_99[0, 0]):.4f}; written is {np.sqrt(alpha_bar):.4f}")
print(f"K {K:.2f} nats; with the original's signs, even after the sum is put back, {-kl - h_T + h_1 + h_p:.2f} nats")

# %% [markdown]
# ## 11. Put right
#
# A whole run can be written down as a recipe. `tutorial` is the original with its faults, number for number; `ddpm` is
# the same put right. What differs:

# %%
faulty, righted = motes.load_recipe("tutorial").to_dict(), motes.load_recipe("ddpm").to_dict()
for section in (name for name in faulty if name != "about"):
    for key in {**faulty[section], **righted[section]}:
        was, now = faulty[section].get(key, "-"), righted[section].get(key, "-")
        if was != now:
            print(f"{section + '.' + key:<26} {was!s:>10}  ->  {now}")

# %% [markdown]
# The signal dies ($\bar\alpha_T = 0.005$), the data is standardised, the averaged weights are the ones sampled
# from, and the last step is quiet. The rest is tuning.
#
# One thing more holds the original back. Its network keeps a row of its own for every step, and what it learns at one
# step is of little use to the next. The residual network of `ddpm` takes the time as a number instead, and shares.
# **Shortened:** 2,000 of its 4,000 steps.
#
# To see that the faults matter and not the network alone, we also put them back, one key each.

# %%
quick = {"training.steps": 2_000}
faults = {
    "schedule.kind": "sigmoid",
    "schedule.start": 1e-5,
    "schedule.end": 5e-3,
    "data.standardise": False,
    "training.weights": "last",
    "sampler.denoise_last": False,
}
ddpm = motes.fit(x, "ddpm", changes=quick, seed=0)
ddpm_faulty = motes.fit(x, "ddpm", changes={**quick, **faults}, seed=0)

# %% [markdown]
# The recipe `default` goes another way: it scales the network's input and output to unit variance at every noise level,
# after Karras et al. [4], and samples with DPM-Solver++ on the probability flow (Lu et al. 2022).

# %%
best = motes.fit(x, "default", seed=0)
print(best, f"trained in {best.training.seconds:.1f} s")

# %% [markdown]
# Two measures, both against a draw that no model has seen, with seeds that nothing else uses:
#
# - *sliced W2*, the distance of section 10. It sees points that are in the wrong place.
# - *C2ST* [6], how often a nearest-neighbour classifier tells samples from data. 0.5 is perfect.
#
# No model can be expected to beat the first row: two real draws are not the same points either.

# %%
reference = motes.make_shape("moons", N, seed=1001)
righted_samples, way_back = ddpm.chain(N, places.tolist(), seed=1003)
results = {
    "two real draws": motes.make_shape("moons", N, seed=1002),
    "the original, 8,000 steps": samples,
    "ddpm with the faults": ddpm_faulty.sample(N, seed=1003),
    "ddpm": righted_samples,
    "default": best.sample(N, seed=1003),
}
print(f"{'':<28} sliced W2   C2ST")
for name, points in results.items():
    print(f"{name:<28}   {motes.sliced_w2(points, reference):.3f}    {motes.c2st(points, reference):.3f}")
titles = ["data", "the original", "ddpm with the faults", "ddpm", "default"]
side_by_side(dict(zip(titles, results.values(), strict=True)), near)

# %% [markdown]
# One seed says little; take medians over several before you call one good recipe better than another. But the gap
# that the faults leave is far wider than what a seed moves.
#
# The bound agrees. `model.bound` gives it in the data's own units, so models that were standardised and models that
# were not can be compared. `default` has no steps to sum over, and so no such bound.

# %%
compare(
    {
        "the original": learned,
        "ddpm with the faults": ddpm_faulty.bound(test, seed=1004),
        "ddpm": ddpm.bound(test, seed=1004),
    }
)

# %% [markdown]
# The way back as it should be: it starts where the way out ends.

# %%
plots.row(way_back[:, :3000], ddpm.grid[places], process="reverse", view=view)

# %% [markdown]
# To swap a part of all this for your own, a schedule, a loss, a network or a sampler, see `extending.md`; for every key
# of a recipe, `recipes.md`.
#
# ## References
#
# [1] J. Ho, A. Jain, P. Abbeel (2020). *Denoising diffusion probabilistic models.* arXiv:2006.11239.
#
# [2] J. Sohl-Dickstein, E. A. Weiss, N. Maheswaranathan, S. Ganguli (2015). *Deep unsupervised learning using
# nonequilibrium thermodynamics.* arXiv:1503.03585.
#
# [3] A. Nichol, P. Dhariwal (2021). *Improved denoising diffusion probabilistic models.* arXiv:2102.09672.
#
# [4] T. Karras, M. Aittala, T. Aila, S. Laine (2022). *Elucidating the design space of diffusion-based generative
# models.* arXiv:2206.00364.
#
# [5] T. Salimans, J. Ho (2022). *Progressive distillation for fast sampling of diffusion models.* arXiv:2202.00512.
#
# [6] D. Lopez-Paz, M. Oquab (2017). *Revisiting classifier two-sample tests.* arXiv:1610.06545.
