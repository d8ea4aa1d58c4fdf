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
# # Lab 3: The loss
#
# **Goal.** You derive what a diffusion model should minimise, from the likelihood of the data to the simple loss that
# fits in one line, and check each step with numbers. You also learn why the best possible loss is not 0.
#
# You need [lab 2](lab02.py): the jump to $\mathbf{x}_t$, and the posterior $q(\mathbf{x}_{t-1}\mid\mathbf{x}_t,
# \mathbf{x}_0)$.

# The next cell installs motes from the checkout that contains this file. Skip it if `import motes` works for you. On
# Colab, upload the checkout first.

# %%
# %pip install -q -e ../..

# %%
import jax
import jax.numpy as jnp
import numpy as np

from motes import plots
from motes.course import check, hint, solution
from motes.plots.canvas import add_legend, dress, new_axes, new_figure
from motes.points import DiscreteVP, Simple, variational_bound
from motes.points.exact import MixtureOracle
from motes.points.variance import step_term

LIGHT = plots.STYLES["light"]  # blue: the best possible; amber: a crude guess

# %% [markdown]
# ## 1. What should be small?
#
# The reverse process starts from noise, $p(x_T) = \mathcal{N}(0, 1)$, and takes Gaussian steps $p_\theta(x_{t-1}\mid
# x_t)$ until it is at $x_0$. $\theta$ stands for everything that is learned. (We write one column; with several, the
# logarithms of each step add up over the columns.) A good process makes the data likely: $-\log p_\theta(x_0)$ should
# be small on average. But to compute it, you have to integrate over all paths $x_{1:T} = (x_1, \dots, x_T)$ that lead
# to $x_0$:
#
# $$p_\theta(x_0) = \int p(x_T)\prod_{t=1}^{T} p_\theta(x_{t-1}\mid x_t)\; dx_1\cdots dx_T .$$
#
# Most paths contribute nothing. The forward process knows good ones: those that lead from $x_0$ to noise. Multiply and
# divide by their density $q(x_{1:T}\mid x_0) = \prod_t q(x_t\mid x_{t-1})$, and the integral becomes an expectation:
#
# $$p_\theta(x_0) = \mathbb{E}_{q}\!\left[\frac{p(x_T)\prod_t p_\theta(x_{t-1}\mid x_t)}{\prod_t q(x_t\mid
# x_{t-1})}\right] .$$
#
# The logarithm bends downwards, so the logarithm of a mean is at least the mean of the logarithm (Jensen's inequality).
# Hence
#
# $$-\log p_\theta(x_0) \;\le\; L = \mathbb{E}_q\!\left[-\log p(x_T)
# - \sum_{t=1}^{T}\log\frac{p_\theta(x_{t-1}\mid x_t)}{q(x_t\mid x_{t-1})}\right] .$$
#
# $L$ is the *variational bound*. You can estimate it by walking forward. With natural logarithms, as here, its unit is
# the *nat*.
#
# ## 2. One term per step
#
# $L$ compares a step back with a step forward, which point in different directions. For $t\ge 2$, Bayes' rule (lab 2)
# reverses the forward step:
#
# $$q(x_t\mid x_{t-1}) = q(x_{t-1}\mid x_t, x_0)\,\frac{q(x_t\mid x_0)}{q(x_{t-1}\mid x_0)} .$$
#
# Put this into the sum for $t = 2,\dots,T$, without changing the term of $t = 1$:
#
# $$-\sum_{t=1}^{T}\log\frac{p_\theta(x_{t-1}\mid x_t)}{q(x_t\mid x_{t-1})}
# = -\sum_{t=2}^{T}\log\frac{p_\theta(x_{t-1}\mid x_t)}{q(x_{t-1}\mid x_t,x_0)}
# + \sum_{t=2}^{T}\log\frac{q(x_t\mid x_0)}{q(x_{t-1}\mid x_0)}
# - \log\frac{p_\theta(x_0\mid x_1)}{q(x_1\mid x_0)} .$$
#
# In the middle sum each numerator is the next denominator. All cancel except the last and the first:
#
# $$\sum_{t=2}^{T}\log\frac{q(x_t\mid x_0)}{q(x_{t-1}\mid x_0)} = \log q(x_T\mid x_0) - \log q(x_1\mid x_0) .$$
#
# The remaining $\log q(x_1\mid x_0)$ cancels against the last term. What is left, together with $-\log p(x_T)$, is
#
# $$L = \mathbb{E}_q\Big[\log\frac{q(x_T\mid x_0)}{p(x_T)}
# + \sum_{t=2}^{T}\log\frac{q(x_{t-1}\mid x_t,x_0)}{p_\theta(x_{t-1}\mid x_t)} - \log p_\theta(x_0\mid x_1)\Big] .$$
#
# The mean of $\log(q/p)$ over draws from $q$ is the *Kullback-Leibler (KL) divergence* $D(q\,\|\,p)$. By Jensen's
# inequality, $-D = \mathbb{E}_q[\log(p/q)] \le \log\mathbb{E}_q[p/q] = \log 1$, so it is at least 0, and it is 0 only
# if $q = p$. So [1, eq. 5]
#
# $$L = \mathbb{E}_q\Big[\underbrace{D\big(q(x_T\mid x_0)\,\|\,p(x_T)\big)}_{\text{prior}}
# + \sum_{t=2}^{T}\underbrace{D\big(q(x_{t-1}\mid x_t,x_0)\,\|\,p_\theta(x_{t-1}\mid x_t)\big)}_{\text{one per step}}
# \;\underbrace{-\log p_\theta(x_0\mid x_1)}_{\text{reconstruction}}\Big] .$$
#
# Each term has a meaning. The *prior* term asks: does the forward process end in the noise from which sampling starts?
# There is nothing to learn in it. The terms of the *steps* ask: is each step back like the posterior, which knows
# $x_0$? The *reconstruction* asks: does the last step back find $x_0$?
#
# (The original tutorial prints an older form of this bound [2], without the sum over $t$ and with the signs of three
# entropies reversed. [The tutorial, point by point](tutorial-map.md) has the correct one.)
#
# ### Exercise 3.1: the KL divergence of two Gaussians (easy)
#
# Return $D(p\,\|\,q)$ in nats for $p = \mathcal{N}(\boldsymbol\mu_p, v_p\mathbf{I})$ and $q =
# \mathcal{N}(\boldsymbol\mu_q, v_q\mathbf{I})$, with means (d,) and variances that are numbers.
#
# If you are stuck, run `hint("gaussian_kl")` in a new cell for a first idea, and `hint("gaussian_kl", 2)` for more.
# `solution("gaussian_kl")` shows an answer.


# %%
def gaussian_kl(mean_p, variance_p, mean_q, variance_q): ...


check("gaussian_kl", gaussian_kl)

# %% [markdown]
# ## 3. From scratch: the bound of a perfect denoiser
#
# The data is an equal mixture of two narrow Gaussians with standard deviation $w$ (`W` in the code), at -1 and 1. For
# it, the denoiser $\mathbb{E}[x_0\mid x_t]$ is known. Suppose first that you know the mode $c = \pm 1$ of $x_0$. Then
# two pieces of evidence are combined, as in lab 2: $x_0\sim\mathcal{N}(c, w^2)$, and $x_t\sim\mathcal{N}(\alpha x_0,
# \sigma^2)$ with $\alpha = \sqrt{\bar\alpha_t}$ and $\sigma^2 = 1-\bar\alpha_t$. The exponents add up to
# $-\frac12\big(\frac{(x_0-c)^2}{w^2} + \frac{(x_t-\alpha x_0)^2}{\sigma^2}\big)$. Collect $P$ and $B$ as there:
#
# $$P = \frac{1}{w^2} + \frac{\alpha^2}{\sigma^2} = \frac{s^2}{w^2\sigma^2},\qquad
# B = \frac{c}{w^2} + \frac{\alpha x_t}{\sigma^2},\qquad s^2 = \alpha^2w^2 + \sigma^2,$$
#
# $$\mathbb{E}[x_0\mid x_t, c] = \frac BP = \frac{\sigma^2c + \alpha w^2x_t}{s^2}
# = c + \frac{\alpha w^2}{s^2}(x_t - \alpha c) .$$
#
# The last step puts in $\sigma^2 = s^2 - \alpha^2w^2$. Which mode is it? By Bayes' rule the odds of $c = 1$ against $c
# = -1$ are $o = e^{-(x_t-\alpha)^2/2s^2} / e^{-(x_t+\alpha)^2/2s^2} = e^{2z}$ with $z = \alpha x_t/s^2$. The
# probabilities are $\frac{o}{o+1}$ and $\frac{1}{o+1}$, so $\mathbb{E}[c\mid x_t] = \frac{o-1}{o+1} =
# \frac{e^z-e^{-z}}{e^z+e^{-z}} = \tanh z$. Because $\mathbb{E}[x_0\mid x_t, c]$ is linear in $c$, you get
# $\mathbb{E}[x_0\mid x_t]$ if you replace $c$ with $\tanh z$. The function `denoise` computes it.
#
# For the steps back we take the posterior with the denoiser instead of $x_0$, and the variance $\beta_t$. All terms but
# the last are KL divergences of Gaussians, as in exercise 3.1. The reconstruction is minus the logarithm of a Gaussian
# density. `gap` is the difference of the two means.

# %%
W = 0.25  # standard deviation of each mode


def denoise(x_t, alpha_bar):
    """E[x_0 | x_t] of the mixture, for points x_t (n,)."""
    alpha, s2 = np.sqrt(alpha_bar), alpha_bar * W**2 + 1 - alpha_bar
    mode = np.tanh(alpha * x_t / s2)
    return mode + alpha * W**2 / s2 * (x_t - alpha * mode)


def bound(denoise, x0, betas, rng):
    """The terms of L for each point: prior, steps T ... 2, reconstruction; (T + 1, n)."""
    bar = np.append(1, np.cumprod(1 - betas))
    T = len(betas)
    terms = [0.5 * (bar[T] * x0**2 - bar[T] - np.log(1 - bar[T]))]
    for t in range(T, 0, -1):
        beta = betas[t - 1]
        x_t = np.sqrt(bar[t]) * x0 + np.sqrt(1 - bar[t]) * rng.standard_normal(x0.size)
        # The means differ only by what stands for x_0:
        gap = np.sqrt(bar[t - 1]) * beta / (1 - bar[t]) * (x0 - denoise(x_t, bar[t]))
        if t > 1:
            ratio = (1 - bar[t - 1]) / (1 - bar[t])  # of the variances: the posterior's, and beta
            terms.append(0.5 * (gap**2 / beta + ratio - 1 - np.log(ratio)))
        else:
            terms.append(0.5 * (gap**2 / beta + np.log(2 * np.pi * beta)))
    return np.array(terms)


rng = np.random.default_rng(0)
n = 20_000
x0 = np.where(rng.random(n) < 0.5, -1, 1) + W * rng.standard_normal(n)
density = (np.exp(-((x0 - 1) ** 2) / (2 * W**2)) + np.exp(-((x0 + 1) ** 2) / (2 * W**2))) / (2 * W * np.sqrt(2 * np.pi))
print(f"-log q(x_0) of the data itself: {-np.log(density).mean():.3f} nats, which no model can beat on average\n")
print("   T   prior   steps   reconstruction   bound")
for T in (5, 20, 100, 400):
    betas = np.minimum(np.linspace(0.1, 9.9, T) / T, 0.99)
    terms = bound(denoise, x0, betas, rng)
    print(f"{T:4d} {terms[0].mean():7.4f} {terms[1:-1].sum(axis=0).mean():7.3f} {terms[-1].mean():12.3f}", end="  ")
    print(f"{terms.sum(axis=0).mean():12.3f} +- {terms.sum(axis=0).std() / n**0.5:.3f}")

# %% [markdown]
# The denoiser is perfect, and still the bound is above the true value when the steps are few. Lab 2 showed the reason:
# a large step back is not a Gaussian. With more steps, the bound comes down to the true value.
#
# ### Check the algebra
#
# Compute $L$ from its definition in section 1: walk forward along whole paths and average the log-ratio. The two
# estimates have to agree within their standard errors.

# %%
T = 100
betas = np.linspace(0.1, 9.9, T) / T
bar = np.append(1, np.cumprod(1 - betas))


def log_normal(x, mean, variance):
    return -0.5 * ((x - mean) ** 2 / variance + np.log(2 * np.pi * variance))


x, ratio = x0, np.zeros(n)
for t in range(1, T + 1):
    beta = betas[t - 1]
    step = np.sqrt(1 - beta) * x + np.sqrt(beta) * rng.standard_normal(n)
    ratio += log_normal(step, np.sqrt(1 - beta) * x, beta)
    x0_weight, x_weight = np.sqrt(bar[t - 1]) * beta, np.sqrt(1 - beta) * (1 - bar[t - 1])
    back = (x0_weight * denoise(step, bar[t]) + x_weight * step) / (1 - bar[t])
    ratio -= log_normal(x, back, beta)
    x = step
ratio -= log_normal(x, 0, 1)
terms = bound(denoise, x0, betas, rng)
print(f"whole paths:  {ratio.mean():.3f} +- {ratio.std() / n**0.5:.3f} nats")
print(f"term by term: {terms.sum(axis=0).mean():.3f} +- {terms.sum(axis=0).std() / n**0.5:.3f} nats")

# %% [markdown]
# ### The same by `motes`
#
# `MixtureOracle` is the same denoiser. `step_term` is one term of the bound for one point, equal to rounding;
# `variational_bound` draws its own noise, so it agrees within the standard error.

# %%
schedule = DiscreteVP(betas)
oracle = MixtureOracle([0.5, 0.5], [[-1.0], [1.0]], [[[W**2]]] * 2, schedule)
x_t = np.linspace(-2, 2, 9)
ours = denoise(x_t, bar[50])
np.testing.assert_allclose(ours, oracle.rows(x_t[:, None], 0.5).x0[:, 0], atol=2e-5)

clean = jnp.full(9, 0.8)
theirs = step_term(schedule, jnp.asarray(x_t), clean, jnp.asarray(ours), jnp.log(betas[49]), 50 / T, 49 / T)
gap = np.sqrt(bar[49]) * betas[49] / (1 - bar[50]) * (0.8 - ours)
share = (1 - bar[49]) / (1 - bar[50])
np.testing.assert_allclose(0.5 * (gap**2 / betas[49] + share - 1 - np.log(share)), theirs, rtol=1e-3, atol=1e-6)

whole = variational_bound(oracle, x0[:, None], key=jax.random.key(0))
print(f"variational_bound: {whole.nats.mean():.3f} nats")
assert abs(whole.nats.mean() - terms.sum(axis=0).mean()) < 5 * 1.5 * terms.sum(axis=0).std() / n**0.5

# %% [markdown]
# ## 4. From the bound to the simple loss
#
# The variances of a step are fixed, so there is nothing to learn in them. The only part of a step's term that depends
# on the denoiser is the squared difference of the means, divided by $2\sigma_t^2$:
#
# $$\frac{1}{2\sigma_t^2}\,\big(\tilde\mu_t - \mu_\theta\big)^2 ,$$
#
# where $\sigma_t^2$ is the variance of the step back, so far $\beta_t$. Ho et al. [1] let the network guess the noise.
# From $x_t = \sqrt{\bar\alpha_t}\,x_0 + \sqrt{1-\bar\alpha_t}\,\epsilon$ follows $x_0 = (x_t -
# \sqrt{1-\bar\alpha_t}\,\epsilon)/\sqrt{\bar\alpha_t}$. Put this into the mean of lab 2, with $a_t = 1-\beta_t$ and
# $\bar\alpha_t = a_t\bar\alpha_{t-1}$:
#
# $$\tilde\mu_t = \frac{\sqrt{\bar\alpha_{t-1}}\,\beta_t}{1-\bar\alpha_t}\cdot
# \frac{x_t - \sqrt{1-\bar\alpha_t}\,\epsilon}{\sqrt{\bar\alpha_t}}
# + \frac{\sqrt{a_t}(1-\bar\alpha_{t-1})}{1-\bar\alpha_t}\,x_t
# = \frac{1}{\sqrt{a_t}}\left[\frac{\beta_t + a_t(1-\bar\alpha_{t-1})}{1-\bar\alpha_t}\,x_t
# - \frac{\beta_t}{\sqrt{1-\bar\alpha_t}}\,\epsilon\right] .$$
#
# The numerator is $\beta_t + a_t - \bar\alpha_t = 1-\bar\alpha_t$, so the fraction before $x_t$ is 1:
#
# $$\tilde\mu_t = \frac{1}{\sqrt{a_t}}\left(x_t - \frac{\beta_t}{\sqrt{1-\bar\alpha_t}}\,\epsilon\right) ,\qquad
# \mu_\theta = \frac{1}{\sqrt{a_t}}\left(x_t - \frac{\beta_t}{\sqrt{1-\bar\alpha_t}}\,\epsilon_\theta(x_t, t)\right) .$$
#
# The means differ only by the noises. The term of a step is therefore a weight times $(\epsilon-\epsilon_\theta)^2$.
#
# ### Exercise 3.2: the weight (middle)
#
# Return the weight $w_t$ in $w_t\,\|\boldsymbol\epsilon - \boldsymbol\epsilon_\theta\|^2$ for $\sigma_t^2 = \beta_t$, a
# step `t` from 2 to T and `betas` (T,).


# %%
def kl_weight(t, betas): ...


check("kl_weight", kl_weight)

# %% [markdown]
# (Solve the exercise before you read on.) For any $\sigma_t^2$ the weight is $w_t =
# \dfrac{\beta_t^2}{2\sigma_t^2\,a_t\,(1-\bar\alpha_t)}$ [1, eq. 12]. Ho et al. then leave it out, and that is the
# **simple loss**:
#
# $$L_{\text{simple}} = \mathbb{E}_{t,\mathbf{x}_0,\boldsymbol\epsilon}\Big[\left\|\boldsymbol\epsilon
# - \boldsymbol\epsilon_\theta\big(\sqrt{\bar\alpha_t}\,\mathbf{x}_0 + \sqrt{1-\bar\alpha_t}\,\boldsymbol\epsilon,\;
# t\big)\right\|^2\Big] .$$
#
# In words: take a data point, a random step and noise; mix; let the network guess the noise; square the error. Leaving
# out the weights does not change the best guess at any step. It changes at which steps a network that cannot be perfect
# tries hardest.
#
# The next cell compares the perfect denoiser with a crude one, which treats the data as a single Gaussian with the same
# variance.

# %%
variance = 1 + W**2  # of the data


def crude(x_t, alpha_bar):
    return np.sqrt(alpha_bar) * variance / (alpha_bar * variance + 1 - alpha_bar) * x_t


def simple_loss(denoise, x0, alpha_bar, eps):
    """The squared error of the noise for each point, (n,)."""
    x_t = np.sqrt(alpha_bar) * x0 + np.sqrt(1 - alpha_bar) * eps
    eps_hat = (x_t - np.sqrt(alpha_bar) * denoise(x_t, alpha_bar)) / np.sqrt(1 - alpha_bar)
    return (eps - eps_hat) ** 2


eps = rng.standard_normal(n)
steps = np.arange(2, T + 1)
simple = {
    name: np.array([simple_loss(f, x0, bar[t], eps).mean() for t in steps])
    for name, f in (("perfect", denoise), ("crude", crude))
}
losses = jax.vmap(Simple(), (None, 0, None, 0))(
    oracle, jnp.asarray(x0[:100, None]), jnp.asarray(0.5), jnp.asarray(eps[:100, None])
)
np.testing.assert_allclose(simple_loss(denoise, x0, bar[50], eps)[:100], losses["eps"], atol=1e-4)

weights = betas[1:] / (2 * (1 - betas[1:]) * (1 - bar[2:]))
figure = new_figure(10.5, 3.8, LIGHT)
for place, (title, weight) in enumerate({"the simple loss": 1.0, "as the bound weighs it": weights}.items(), 1):
    ax = new_axes(figure, 1, 2, place)
    ax.plot(steps, weight * simple["perfect"], color=LIGHT.real, linewidth=2, label="perfect denoiser")
    ax.plot(steps, weight * simple["crude"], color=LIGHT.synthetic, linewidth=2, label="crude denoiser")
    dress(ax, LIGHT)
    ax.set(xlabel="step $t$", title=title, ylim=(0, None))
add_legend(figure.axes[0], LIGHT)
figure

# %% [markdown]
# ## 5. The best possible loss is not 0
#
# The blue curve on the left is the loss of a *perfect* denoiser, and it is far from 0 at small $t$. Nobody can tell
# from $x_t$ alone which part of it is noise. What, then, is the best guess? Let $g(x_t)$ be any guess, and $m(x_t) =
# \mathbb{E}[\epsilon\mid x_t]$. Insert $m$ and multiply out:
#
# $$\mathbb{E}\big[(\epsilon - g)^2\big] = \mathbb{E}\big[(\epsilon - m)^2\big]
# + 2\,\mathbb{E}\big[(\epsilon - m)(m - g)\big] + \mathbb{E}\big[(m - g)^2\big] .$$
#
# In the middle term, average over $\epsilon$ first, with $x_t$ fixed: $m - g$ is then a constant, and $\epsilon - m$
# has mean 0 by the definition of $m$. So the middle term is 0. The last term is at least 0, and 0 for $g = m$. Hence:
#
# - the best guess of the noise is its conditional mean $\mathbb{E}[\epsilon\mid x_t] = (x_t -
#   \sqrt{\bar\alpha_t}\,\mathbb{E}[x_0\mid x_t])/\sqrt{1-\bar\alpha_t}$, which is the denoiser in another form;
# - the least possible loss is the variance of the noise that is left when $x_t$ is known;
# - what a network can improve is only the last term. A loss of 0.4 can be perfect, and a loss of 0.1 bad.
#
# This is why `motes` shows the loss of a toy shape with its gap to the theoretical minimum, and why lab 4 does not
# judge a training by its loss alone.
#
# ### Exercise 3.3: the least possible loss (research)
#
# The data is $-m$ or $m$, each with probability 1/2, without any width. Return the least possible simple loss, a
# number, at given numbers `m` and `alpha_bar`. There is no closed formula; average over the noise numerically, on a
# fine grid of noises instead of random draws: an error of 2 in 1,000 is allowed. (The least error of $x_0$ as a
# function of the SNR is famous in information theory: half the area under it, from SNR 0 to infinity, is the entropy of
# such discrete data in nats, here $\log 2$ [3].)


# %%
def least_loss(m, alpha_bar): ...


check("least_loss", least_loss)

# %% [markdown]
# ## What you learned
#
# - $-\log p_\theta(x_0)$ of the reverse chain is an integral over all paths, too large to compute directly. But it has
#   an upper bound that is a sum: a prior term, a KL divergence per step, and a reconstruction.
# - The first two are KL divergences of Gaussians. A step's term is a weight times the squared error of the noise.
# - The simple loss leaves the weight out. Its best guess is $\mathbb{E}[\boldsymbol\epsilon\mid\mathbf{x}_t]$.
# - The least possible loss is not 0, so a loss means little without it.
#
# ## Next
#
# [Lab 4](lab04.py) replaces the perfect denoiser by a network and trains it, as the original tutorial does.
#
# ## References
#
# [1] J. Ho, A. Jain, P. Abbeel (2020). *Denoising diffusion probabilistic models.* arXiv:2006.11239.
#
# [2] J. Sohl-Dickstein, E. A. Weiss, N. Maheswaranathan, S. Ganguli (2015). *Deep unsupervised learning using
# nonequilibrium thermodynamics.* arXiv:1503.03585.
#
# [3] D. Guo, S. Shamai, S. Verdú (2005). *Mutual information and minimum mean-square error in Gaussian channels.* IEEE
# Transactions on Information Theory 51(4).
