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
# # Lab 1: Data and noise
#
# **Goal.** You mix data with Gaussian noise, so that one number says how much of the data is left. You then see which
# details disappear at which noise level: a diffusion model later puts them back in the opposite order.
#
# You need NumPy, and what a mean, a variance and a normal distribution are. No neural network appears before lab 4.
# Allow 30 minutes. The imports and the first picture take longest to run, some seconds each.

# The next cell installs motes from the checkout that contains this file. Skip it if `import motes` works for you. On
# Colab, upload the checkout first.

# %%
# %pip install -q -e ../..

# %%
import jax.numpy as jnp
import numpy as np

import motes
from motes import plots
from motes.course import check, hint, solution
from motes.data import Standardiser
from motes.plots.canvas import dress, single_axes
from motes.points import q_sample
from motes.points.exact import MixtureOracle
from motes.points.schedules import CosineVP

LIGHT = plots.STYLES["light"]  # blue: exact or real; amber: learned or computed by you

# %% [markdown]
# ## 1. A data set is a sample from a distribution
#
# A data set is a table of $n$ rows and $d$ columns. Row $i$ is one *point* $\mathbf{x}_i$, for example the two
# coordinates of a dot in the plane, or the 13 measurements of a wine. We treat the rows as independent draws from an
# unknown distribution with the density $q(\mathbf{x})$. A *generative model* draws new rows from (nearly) the same
# distribution.
#
# Toy data in the plane has two advantages: you see everything, and you know the exact distribution. Here are the three
# shapes of the tutorial that this course starts from.

# %%
plots.sheet({name: motes.make_shape(name, 3_000) for name in ("swiss_roll", "s_curve", "moons")}, style=LIGHT)

# %% [markdown]
# ## 2. From scratch: standardise, then add noise
#
# Two half circles of dots are a few lines of NumPy. Half of the points get an angle on the upper arc, and the others on
# the lower arc, which is shifted to the right. A little noise makes the arcs thick.

# %%
rng = np.random.default_rng(0)
n = 4_000
angle = rng.uniform(0, np.pi, n)
arcs = np.where(
    rng.random((n, 1)) < 0.5,
    np.stack([np.cos(angle), np.sin(angle)], axis=1),  # the upper arc
    np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=1),  # the lower arc
)
x = arcs + 0.1 * rng.standard_normal((n, 2))  # (n, 2)

mean, std = x.mean(axis=0), x.std(axis=0)
x0 = (x - mean) / std  # each column now has mean 0 and standard deviation 1
eps = rng.standard_normal((n, 2))  # the noise: independent draws from N(0, 1)


def mix(x0, eps, alpha, sigma):
    """alpha times the data, plus sigma times the noise."""
    return alpha * x0 + sigma * eps


print("mean and standard deviation of the data:", mean.round(2), std.round(2))
for alpha in (1.0, 0.9, 0.5, 0.1):
    sigma = np.sqrt(1 - alpha**2)
    x_t = mix(x0, eps, alpha, sigma)
    print(f"alpha {alpha:.1f}, sigma {sigma:.3f}: standard deviation of x_t {x_t.std(axis=0).round(3)}")

# %% [markdown]
# The standard deviation stays at 1, up to sampling error, whatever `alpha` is. This is no accident.
#
# ### Why $\sigma^2 = 1 - \alpha^2$
#
# Take one column. Write $x_0$ for the data and $\epsilon$ for the noise. Both have mean 0 and variance 1, and they are
# independent. Let $x_t = \alpha x_0 + \sigma\epsilon$, and write $\mathbb{E}$ for the mean over all draws. Then
#
# $$\mathbb{E}[x_t] = \alpha\,\mathbb{E}[x_0] + \sigma\,\mathbb{E}[\epsilon] = 0.$$
#
# Because the mean is 0, the variance is the mean of the square:
#
# $$\mathbb{E}[x_t^2] = \alpha^2\,\mathbb{E}[x_0^2] + 2\alpha\sigma\,\mathbb{E}[x_0\epsilon]
# + \sigma^2\,\mathbb{E}[\epsilon^2].$$
#
# The mean of a product of independent numbers is the product of the means, so the middle term is
# $2\alpha\sigma\cdot 0\cdot 0 = 0$. What remains is
#
# $$\mathbb{E}[x_t^2] = \alpha^2\cdot 1 + \sigma^2\cdot 1 = \alpha^2 + \sigma^2.$$
#
# So the variance stays 1 if and only if $\alpha^2 + \sigma^2 = 1$. A schedule with this property is called *variance
# preserving*. The papers write $\bar\alpha$ ("alpha-bar") for $\alpha^2$. It is the share of the variance that is still
# data; $1-\bar\alpha$ is the share of the noise.
#
# This needs data of variance 1. Mean 0 keeps the mean of $x_t$ at 0 as well, so that the last $x_t$ looks like
# $\mathcal{N}(0, 1)$. That is why you standardise first. The original tutorial does not; lab 5 shows what happens when
# the noisy points do not end at $\mathcal{N}(0, 1)$.
#
# ### Exercise 1.1: a noisy copy (easy)
#
# Return $x_t$ for standardised points `x0` (n, d) and noise `eps` (n, d), if a share `alpha_bar`, a number, of the
# variance is still data.
#
# Put your code in place of `...` and run the cell. `check` tries your function on inputs that you do not see, and says
# what is wrong. Before that, you can try it yourself: the standard deviations of `noisy_point(x0, eps, 0.5)` should be
# near 1.
#
# If you are stuck, run `hint("noisy_point")` in a new cell for a first idea, and `hint("noisy_point", 2)` for more.
# `solution("noisy_point")` shows an answer.


# %%
def noisy_point(x0, eps, alpha_bar): ...


check("noisy_point", noisy_point)

# %% [markdown]
# ### Exercise 1.2: standardise new rows (middle)
#
# A model was trained on rows `x` (n, d), after each column was standardised as above. Now `new` rows (m, d) arrive,
# which the model has never seen. Return them in the units in which the model was trained.


# %%
def standardise(x, new): ...


check("standardise", standardise)

# %% [markdown]
# ## 3. The signal-to-noise ratio
#
# How noisy is a point? The ratio of the two variances is the *signal-to-noise ratio* (SNR), and its logarithm is the
# scale on which noise levels are best compared: equal steps on it multiply the ratio of data to noise by equal factors.
#
# $$\log\mathrm{SNR} = \log\frac{\alpha^2}{\sigma^2} = \log\frac{\bar\alpha}{1-\bar\alpha}.$$
#
# At a log-SNR of 0, data and noise have the same weight. Solve for $\bar\alpha$: with $r = \log\mathrm{SNR}$,
#
# $$e^{r}(1-\bar\alpha) = \bar\alpha
# \quad\Longrightarrow\quad e^{r} = \bar\alpha\,(1 + e^{r})
# \quad\Longrightarrow\quad \bar\alpha = \frac{e^{r}}{1+e^{r}} = \frac{1}{1+e^{-r}}.$$
#
# ## 4. The same by `motes`
#
# In `motes` a *schedule* says which $\alpha$ and $\sigma$ belong to each time $t$, from 0 (data) to 1 (noise).
# `CosineVP` is one of them, variance preserving, with $\alpha_t\approx\cos(\pi t/2)$ and $\sigma_t\approx\sin(\pi
# t/2)$; the next labs compare several. `q_sample` mixes, and `Standardiser` keeps the mean and standard deviation of
# the data. `jnp` is NumPy in the library JAX, which `motes` computes with; `jnp.asarray` turns a NumPy array into one
# of JAX. We ask for the times at which the log-SNR has the values that we want. Both ways agree to rounding.

# %%
schedule = CosineVP()
log_snrs = np.array([8.0, 4.0, 2.0, 0.0, -2.0, -6.0])
alpha_bars = 1 / (1 + np.exp(-log_snrs))
times = np.asarray(schedule.t_of_log_snr(log_snrs))

standardiser = Standardiser.fit(x)
np.testing.assert_allclose(x0, standardiser.forward(x), atol=1e-12)
clouds = []
for alpha_bar, t in zip(alpha_bars, times, strict=True):
    ours = mix(x0, eps, np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar))
    np.testing.assert_allclose(ours, q_sample(schedule, jnp.asarray(x0), t, jnp.asarray(eps)), atol=1e-5)
    clouds.append(ours)

view = plots.View((-3.2, 3.2))
figure = plots.row(clouds, times, view=view, style=LIGHT)
for ax, r, alpha_bar in zip(figure.axes, log_snrs, alpha_bars, strict=True):
    ax.set_title(f"log-SNR {r:.0f}\n$\\bar\\alpha$ = {alpha_bar:.4f}")
figure

# %% [markdown]
# Look from left to right. First the thickness of the arcs is lost, then the gap between them, then the fact that there
# are two. At a log-SNR of -6, almost nothing is left: the cloud could have come from any data. This makes generation
# possible. You can draw pure noise without knowing the data, and then try to go from right to left.
#
# ## 5. What the noise does to a density
#
# Adding noise blurs the density of the data. In one dimension you can follow this exactly. Take data that is an equal
# mixture of two narrow normal distributions, at $-m$ and at $m$, each with standard deviation $\tau$. From here on,
# $\mathcal{N}(\mu, v)$ is the normal distribution with mean $\mu$ and *variance* $v$, $x \sim \mathcal{N}(\mu, v)$ says
# that $x$ is drawn from it, and $\mathcal{N}(x;\,\mu, v)$ is its density at $x$. We need one fact, which all later labs
# use as well.
#
# ### The sum of two independent Gaussians is a Gaussian
#
# The result is in the heading, and the variances add: $u + v$. If you are short of time, skip the derivation.
#
# Let $a \sim \mathcal{N}(0, u)$ and $b \sim \mathcal{N}(0, v)$ be independent, and $y = a + b$. The density of $y$ sums
# over all ways to split $y$ into $a$ and $y - a$:
#
# $$p(y) = \int \frac{1}{\sqrt{2\pi u}}\, e^{-a^2/2u}\; \frac{1}{\sqrt{2\pi v}}\, e^{-(y-a)^2/2v}\, da.$$
#
# Collect the powers of $a$ in the exponent:
#
# $$\frac{a^2}{u} + \frac{(y-a)^2}{v} = \frac{u+v}{uv}\,a^2 - \frac{2y}{v}\,a + \frac{y^2}{v}.$$
#
# Complete the square, with $c = \dfrac{u}{u+v}\,y$:
#
# $$\frac{u+v}{uv}\,a^2 - \frac{2y}{v}\,a + \frac{y^2}{v}
# = \frac{u+v}{uv}\,(a-c)^2 - \frac{u+v}{uv}\cdot\frac{u^2}{(u+v)^2}\,y^2 + \frac{y^2}{v}.$$
#
# The last two terms are $y^2\left(\dfrac1v - \dfrac{u}{v(u+v)}\right) = y^2\,\dfrac{(u+v)-u}{v(u+v)}
# = \dfrac{y^2}{u+v}$. So
#
# $$p(y) = e^{-y^2/2(u+v)} \times \int \frac{1}{2\pi\sqrt{uv}}\, e^{-\frac{u+v}{2uv}(a-c)^2}\, da.$$
#
# The integral does not depend on $y$: a shift by $c$ changes nothing. So $p$ is a Gaussian with variance $u+v$.
# Variances add.
#
# ### The noisy mixture
#
# A point of the component at $m$ is $m + \tau\xi$ with $\xi\sim\mathcal{N}(0,1)$. After the mixing it is $\alpha m +
# \alpha\tau\xi + \sigma\epsilon$: a Gaussian around $\alpha m$ with variance $s^2 = \alpha^2\tau^2 + \sigma^2$. The
# same holds for $-m$, so
#
# $$q(x_t) = \tfrac12\,\mathcal{N}(x_t;\,-\alpha m,\, s^2) + \tfrac12\,\mathcal{N}(x_t;\,\alpha m,\, s^2).$$

# %%
m, tau = 1.6, 0.4


def density(grid, alpha_bar):
    """q(x_t) of the mixture, at points grid (n,)."""
    a, s2 = np.sqrt(alpha_bar) * m, alpha_bar * tau**2 + 1 - alpha_bar
    peaks = np.exp(-((grid - a) ** 2) / (2 * s2)) + np.exp(-((grid + a) ** 2) / (2 * s2))
    return peaks / (2 * np.sqrt(2 * np.pi * s2))


grid = np.linspace(-4, 4, 401)
oracle = MixtureOracle([0.5, 0.5], [[-m], [m]], [[[tau**2]]] * 2, schedule)  # weights, means, covariance matrices
for t, alpha_bar in zip(times, alpha_bars, strict=True):
    exact = np.exp(oracle.rows(grid[:, None], t).log_prob)
    np.testing.assert_allclose(density(grid, alpha_bar), exact, atol=1e-5)

# %% [markdown]
# `MixtureOracle` computes the exact density of any noisy mixture of Gaussians. The blue curves are exact. The amber
# histogram counts noisy points, as a check that the formula is right.

# %%
ax = single_axes(LIGHT, 7.5, 4.2)
ones = np.where(rng.random(40_000) < 0.5, -m, m) + tau * rng.standard_normal(40_000)
for shift, alpha_bar in enumerate((0.95, 0.6, 0.3, 0.05)):
    noisy = mix(ones, rng.standard_normal(ones.size), np.sqrt(alpha_bar), np.sqrt(1 - alpha_bar))
    bars, edges = np.histogram(noisy, bins=80, range=(-4, 4), density=True)
    base = -0.5 * shift
    ax.stairs(base + bars, edges, baseline=base, fill=True, alpha=0.5, color=LIGHT.synthetic)
    ax.plot(grid, base + density(grid, alpha_bar), color=LIGHT.real, linewidth=2)
    ax.text(-3.9, base + 0.06, rf"$\bar\alpha$ = {alpha_bar:g}", color=LIGHT.foreground)
dress(ax, LIGHT)
ax.set(xlabel="$x_t$", yticks=[], title="two modes become one")
ax

# %% [markdown]
# ### When do two modes become one?
#
# Take an equal mixture of Gaussians at $-a$ and $a$ with variance $s^2$. By symmetry, the slope of its density at 0 is
# 0. There is a dip at 0 if the second derivative is positive there, and a peak if it is negative. (The density then has
# no other peak: two equal Gaussians never have more than two.) One Gaussian $g(x) = e^{-(x-a)^2/2s^2}$ has
#
# $$g'(x) = -\frac{x-a}{s^2}\, g(x), \qquad
# g''(x) = \left(\frac{(x-a)^2}{s^4} - \frac{1}{s^2}\right) g(x).$$
#
# At $x = 0$ both components give the same value, so $\dfrac{a^2}{s^4} - \dfrac{1}{s^2}$ decides the sign. It changes
# where $a = s$: **two equal modes are separate if half the distance between them, $a$, is larger than their standard
# deviation, $s$.**
#
# A diffusion model goes back from noise to data. Around this noise level, it decides to which of the two modes a point
# will belong. At higher noise levels the density has one peak only, and most points can still end in either mode.
#
# ### Exercise 1.3: the noise level at which two modes merge (research)
#
# The data is an equal mixture of $\mathcal{N}(-m, \tau^2)$ and $\mathcal{N}(m, \tau^2)$ with numbers $m > \tau$. Return
# the $\bar\alpha$ at which the noisy density changes from two modes to one. You need pencil and paper, and the formula
# of the noisy mixture: which $a$ and which $s^2$ do its two Gaussians have? (For two modes this is a line of algebra.
# For more of them it is a question of current research: the noise levels at which a diffusion model decides have been
# compared to phase transitions [1].)


# %%
def merging_alpha_bar(m, tau): ...


check("merging_alpha_bar", merging_alpha_bar)

# %% [markdown]
# ## What you learned
#
# - A noisy point is $x_t = \alpha x_0 + \sigma\epsilon$. With standardised data and $\alpha^2 + \sigma^2 = 1$ its
#   variance stays 1, and $\bar\alpha = \alpha^2$ is the share that is still data.
# - The log-SNR says how noisy a point is. Fine details disappear first, at a high log-SNR; the coarse shape last.
# - Variances of independent Gaussians add, so the noisy density of a mixture of Gaussians is known exactly.
# - Two modes become one at a definite noise level.
#
# ## Next
#
# Here the noise came in one go. [Lab 2](lab02.py) adds it in many small steps, and asks the question that all of
# diffusion rests on: if you know where a point is now and where it began, where was it one step ago?
#
# ## Reference
#
# [1] G. Raya, L. Ambrogioni (2023). *Spontaneous symmetry breaking in generative diffusion models.* arXiv:2305.19693.
