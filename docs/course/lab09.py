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
# # Lab 9: Guidance and conditions
#
# **Goal.** Draw points from one class, exaggerate the class by guidance, and find out which distribution guided samples
# have. Then draw points with a known coordinate, and see why the obvious method gives a wrong answer.
#
# You need [lab 6](lab06.py), the score and the exact denoiser of a mixture, and [lab 7](lab07.py), the probability
# flow.

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

import motes
from motes import plots
from motes.course import check, hint, solution
from motes.points import GaussianOracle, Given, Heun, KarrasGrid, ReverseProcess, VarianceExploding, conditional_sample
from motes.points.exact import LabelledOracle
from motes.points.guidance import Guided

LIGHT = plots.STYLES["light"]  # blue is real or exact, amber is drawn by a model

# %% [markdown]
# ## 1. A class is one more thing to condition on
#
# Let every data point $\mathbf{x}_0$ have a class $y$. Noise is added to the point and not to the class:
# $\mathbf{x}_t = \alpha_t\mathbf{x}_0 + \sigma_t\boldsymbol\epsilon$, and $\boldsymbol\epsilon$ does not depend on $y$.
# Write $q_t(\mathbf{x}_t \mid y)$ for the density of the noisy points of class $y$, and
# $q_t(\mathbf{x}_t) = \sum_y p(y)\, q_t(\mathbf{x}_t \mid y)$ for the density of all noisy points.
#
# **Which class does a noisy point belong to?** Bayes' rule says
#
# $$p(y \mid \mathbf{x}_t) = \frac{p(y)\, q_t(\mathbf{x}_t \mid y)}{q_t(\mathbf{x}_t)}.$$
#
# At $t = 1$ the point is nearly pure noise, and the answer is nearly $p(y)$. At $t = 0$ it is the probability of the
# class of a clean point.
#
# **The score of a class.** Take the logarithm of Bayes' rule and its gradient with respect to $\mathbf{x}_t$. The
# frequency $p(y)$ does not depend on $\mathbf{x}_t$ and disappears:
#
# $$\log q_t(\mathbf{x}_t \mid y) = \log q_t(\mathbf{x}_t) + \log p(y \mid \mathbf{x}_t) - \log p(y)$$
#
# $$\nabla\log q_t(\mathbf{x}_t \mid y) = \nabla\log q_t(\mathbf{x}_t) + \nabla\log p(y \mid \mathbf{x}_t).$$
#
# In words: to draw from a class, follow the score of all classes together, and in addition move to where a classifier
# of *noisy* points is more certain of the class.
#
# **The denoiser of all classes** is a mean of the denoisers of each class. Split the expectation over the classes:
#
# $$\mathbb{E}[\mathbf{x}_0 \mid \mathbf{x}_t]
# = \sum_y p(y \mid \mathbf{x}_t)\, \mathbb{E}[\mathbf{x}_0 \mid \mathbf{x}_t, y].$$
#
# ## 2. Guidance
#
# Multiply the classifier's part by a *weight* $w$ (Dhariwal & Nichol 2021). This is the guided score:
#
# $$\mathbf{g}_w = \nabla\log q_t(\mathbf{x}_t) + w\,\nabla\log p(y \mid \mathbf{x}_t).$$
#
# $w = 0$ ignores the class, $w = 1$ is the class itself, and $w > 1$ exaggerates. You do not need a classifier. By the
# identity of section 1, the classifier's part is a difference of two scores (Ho & Salimans 2022), which may also come
# from a good and a weaker model (Karras et al. 2024):
#
# $$\mathbf{g}_w = \nabla\log q_t(\mathbf{x}_t)
# + w\,\big(\nabla\log q_t(\mathbf{x}_t \mid y) - \nabla\log q_t(\mathbf{x}_t)\big).$$
#
# Tweedie's formula turns scores into denoisers, $\mathbb{E}[\mathbf{x}_0 \mid \mathbf{x}_t] = (\mathbf{x}_t +
# \sigma_t^2 \nabla\log q_t(\mathbf{x}_t)) / \alpha_t$, and the same holds given $y$. The guided score is a sum of
# scores whose weights, $1 - w$ and $w$, have the sum 1. So $\mathbf{x}_t$ appears once, and the guided estimate of
# $\mathbf{x}_0$ is the same sum of the denoisers:
#
# $$\hat{\mathbf{x}}_0 = \frac{\mathbf{x}_t + \sigma_t^2\mathbf{g}_w}{\alpha_t}
# = \underbrace{\mathbb{E}[\mathbf{x}_0 \mid \mathbf{x}_t]}_{\text{weak}}
# + w\,\big(\underbrace{\mathbb{E}[\mathbf{x}_0 \mid \mathbf{x}_t, y]}_{\text{strong}}
# - \mathbb{E}[\mathbf{x}_0 \mid \mathbf{x}_t]\big).$$
#
# Careful with papers: Ho & Salimans count the weight from 0, so their $w$ is ours minus 1.
#
# ### From scratch
#
# Three equally likely classes, each a round Gaussian with standard deviation `s`. The noise schedule has $\alpha_t =
# 1$, and we write $r$ for the noise level: $\mathbf{x} = \mathbf{x}_0 + r\,\boldsymbol\epsilon$. The noisy class $y$ is
# $\mathcal{N}(\mathbf{m}_y, (s^2 + r^2)\mathbf{I})$. Lab 6 derives its denoiser, and lab 7 Heun's method.

# %%
means, s = np.array([[-1.2, 0.0], [1.2, 0.0], [0.0, 1.6]]), 0.45


def classes(x, r):
    """Return p(y | x), (n, 3), and E[x_0 | x, y], (n, 3, 2), for points x (n, 2) with noise r."""
    away = x[:, None] - means  # (n, 3, 2)
    log_q = -0.5 * np.sum(away**2, axis=-1) / (s**2 + r**2)  # up to a term that all classes share
    p = np.exp(log_q - log_q.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True), means + s**2 / (s**2 + r**2) * away


def guided(x, r, y, weight):
    """Return the guided estimate of x_0, (n, 2), for class y."""
    p, x0 = classes(x, r)
    weak = np.sum(p[..., None] * x0, axis=1)
    return weak + weight * (x0[:, y] - weak)


def sample(denoise, x, levels):
    """Follow the probability flow dx/dr = (x - x0_hat) / r with Heun's method, from x (n, 2) at levels[0] to 0."""
    for r, r_next in pairwise(levels):
        slope = (x - denoise(x, r)) / r
        ahead = x + (r_next - r) * slope
        x = ahead if r_next == 0 else x + (r_next - r) * (slope + (ahead - denoise(ahead, r_next)) / r_next) / 2
    return x


# %%
levels = np.append(np.linspace(80 ** (1 / 7), 0.005 ** (1 / 7), 50) ** 7, 0)  # noise levels r, dense near the data
noise = np.random.default_rng(0).standard_normal((1500, 2)) * levels[0]
weights = 0.0, 1.0, 2.0, 4.0
scratch = {w: sample(lambda x, r, w=w: guided(x, r, 2, w), noise, levels) for w in weights}


def panels(clouds, colours, limits):
    """Draw clouds of points side by side, in the same box."""
    fig, axes = plt.subplots(1, len(clouds), figsize=(3.1 * len(clouds), 3.3), layout="constrained")
    for ax, (title, x), colour in zip(axes, clouds.items(), colours, strict=True):
        ax.scatter(*x.T, s=3, color=colour, alpha=0.5, linewidths=0)
        ax.set(title=title, xlim=limits[0], ylim=limits[1], aspect="equal")
    plt.close(fig)  # otherwise a notebook shows it twice
    return fig


rng = np.random.default_rng(1)
labels = rng.integers(3, size=1500)
real = means[labels] + s * rng.standard_normal((1500, 2))
panels(
    {"real points": real} | {f"class 2, weight {w:g}": x for w, x in scratch.items()},
    [LIGHT.real] + 4 * [LIGHT.synthetic],
    ((-2.8, 2.8), (-1.8, 3.8)),
)

# %% [markdown]
# Weight 0 ignores the class. Weight 1 draws from class 2. Larger weights move its points away from the other two
# classes and push them together: guided samples are more typical of the class than the class itself, and less diverse.
#
# ### The same by motes
#
# `GaussianOracle` is the exact denoiser of a Gaussian, `LabelledOracle` combines several with their frequencies, and
# `Guided` applies the formula. `model.sample(n, label=2, sampling={"guidance": 2.0})` does the same with a trained
# network.

# %%
schedule = VarianceExploding(sigma_max=10.0)
exact = LabelledOracle([GaussianOracle(m, s**2 * np.eye(2), schedule) for m in means], np.ones(3))
x, r = np.random.default_rng(2).normal(size=(200, 2)), 0.8
t = schedule.t_of_log_snr(-2 * np.log(r))
for w in weights:
    known = Guided(exact.given(Given(label=jnp.array(2))), exact, w)
    np.testing.assert_allclose(jax.vmap(known, (0, None))(jnp.asarray(x), t), guided(x, r, 2, w), rtol=1e-4, atol=1e-5)
print("The two agree at 200 points and 4 weights, to the rounding of single precision.")

# %% [markdown]
# ## 3. Which distribution do guided samples have?
#
# The guided score at time $t$ is a gradient, so it is tempting to name the density:
#
# $$\mathbf{g}_w = \nabla\log\big[q_t(\mathbf{x}_t)^{1-w}\, q_t(\mathbf{x}_t \mid y)^{w}\big].$$
#
# At $t = 0$ this is the *sharpened* density $q_0(\mathbf{x})^{1-w} q_0(\mathbf{x} \mid y)^w$. Many texts say that
# guidance samples from it. It does not (Bradley & Nakkiran 2024). A sampler needs the score of one distribution *with
# noise added* at every time, and the sharpened densities of different times are not noisy versions of one another. A
# case that can be solved shows it.
#
# Let the class be $\mathcal{N}(0, s^2)$ and all classes together $\mathcal{N}(0, v^2)$, in one dimension, with
# $x = x_0 + r\epsilon$ as above. A Gaussian of variance $s^2$ has the denoiser $\hat x_0 = \frac{s^2}{s^2+r^2}x$. Its
# flow is
#
# $$\frac{dx}{dr} = \frac{x - \hat x_0}{r} = \frac{r}{s^2 + r^2}\,x,$$
#
# and the guided flow is the weighted sum of two of these:
#
# $$\frac{dx}{dr} = \left(w\,\frac{r}{s^2+r^2} + (1-w)\,\frac{r}{v^2+r^2}\right)x.$$
#
# Divide by $x$. On the left stands the derivative of $\log|x|$. On the right, $r / (s^2+r^2)$ is the derivative of
# $\tfrac12\log(s^2+r^2)$. Integrate from $r = 0$ to the start $r = R$:
#
# $$\log\frac{x(R)}{x(0)} = \frac w2 \log\frac{s^2+R^2}{s^2} + \frac{1-w}{2}\log\frac{v^2+R^2}{v^2}.$$
#
# So $x(0)$ is $x(R)$ times a constant. The start is $x(R) \sim \mathcal{N}(0, R^2)$, hence the guided samples are
# Gaussian with standard deviation
#
# $$R\left(\frac{s^2}{s^2+R^2}\right)^{w/2}\left(\frac{v^2}{v^2+R^2}\right)^{(1-w)/2}
# \;\longrightarrow\; s^{w}\, v^{1-w}\qquad (R \to \infty).$$
#
# The sharpened density is Gaussian too, and its precision is $w/s^2 + (1-w)/v^2$. If $s \ne v$, the two agree only for
# $w = 0$ and $w = 1$. We draw samples with the guided sampler of motes and compare.

# %%
narrow, wide, R = 0.5, 1.0, 80.0
far = VarianceExploding(sigma_max=R)
strong, weak = GaussianOracle([0.0], [[narrow**2]], far), GaussianOracle([0.0], [[wide**2]], far)
w_line = np.linspace(0, 5, 101)
guided_std = narrow**w_line * wide ** (1 - w_line)
sharpened_std = (w_line / narrow**2 + (1 - w_line) / wide**2) ** -0.5

measured = {}
for w in (0.0, 1.0, 2.0, 3.0, 5.0):
    process = ReverseProcess(Guided(strong, weak, w), Heun(), KarrasGrid(64, 0.002)(far), dim=1)
    measured[w] = motes.points.sample(process, 4000, key=jax.random.key(0))[0].std()
    print(f"weight {w:g}: drawn {measured[w]:.3f}   s^w v^(1-w) {narrow**w * wide ** (1 - w):.3f}")

fig, ax = plt.subplots(figsize=(5.5, 3.4), layout="constrained")
ax.plot(w_line, guided_std, color=LIGHT.real, label="$s^w v^{1-w}$: the guided flow, exact")
ax.plot(w_line, sharpened_std, color=LIGHT.muted, ls="--", label="the sharpened density")
ax.plot(*zip(*measured.items(), strict=True), "o", color=LIGHT.synthetic, label="4,000 guided samples")
ax.set(xlabel="guidance weight", ylabel="standard deviation", ylim=(0, 1.05))
ax.legend()
plt.close(fig)
fig

# %% [markdown]
# For weights above 1, guided samples are much narrower than the sharpened density. In general, their density has no
# closed form. This is why `motes` gives guided points no log-likelihood. Use guidance for pictures, but not where
# proportions matter.
#
# ## 4. A trained network
#
# A network learns all classes at once. It receives the class as a further input, and in a tenth of the training rows
# the class is withheld, so that the same network also learns the mixture of all classes. Guidance then costs two
# evaluations per step. **Shortened:** 2,500 training steps instead of 6,000.
#
# The noise at the start is `sigma_max = 40` here. All classes start from the same Gaussian, nearly $\mathcal{N}(0,
# \sigma_\text{max}^2\mathbf I)$, although the noisy points of a class with mean $m$ are centred at $m$. Lab 8 met the
# same error, and [classes](../classes.md) measures it: about $m s/\sigma_\text{max}$ in the mean of a class with
# standard deviation $s$.

# %%
x, y = motes.data.make_labelled_shape("moons", 10_000, seed=0)
changes = {"training.steps": 2500, "schedule.sigma_max": 40.0}
model = motes.fit(x, labels=y, changes=changes, seed=0, verbose=False)
upper = model.sample(1500, label=0, seed=1)
exaggerated = model.sample(1500, label=0, seed=1, sampling={"guidance": 3.0})
true = motes.truth("moons").of_class(0).sample(1500, seed=2)
print(f"classifier against real points of class 0 (0.5 = indistinguishable): {motes.c2st(upper, true):.3f}")
print(f"the same with guidance 3: {motes.c2st(exaggerated, true):.3f}")
p, _ = model.predict_proba(x[:300])
print(f"p(y | x) by Bayes' rule from the densities of the classes: {np.mean(p.argmax(axis=1) == y[:300]):.1%} correct")
panels(
    {"real points of class 0": true, "drawn": upper, "guidance 3": exaggerated},
    [LIGHT.real, LIGHT.synthetic, LIGHT.synthetic],
    ((-1.8, 2.6), (-1.6, 2.2)),
)

# %% [markdown]
# ## 5. Known coordinates
#
# A second kind of condition: some coordinates of $\mathbf{x}_0$ are known. Let
# $\mathbf{x}_0 \sim \mathcal{N}(\mathbf 0, \mathbf C)$ in the plane, with
# $\mathbf C = \begin{pmatrix}1 & \rho\\ \rho & 1\end{pmatrix}$, and let the first coordinate be $c$. The answer is
# known: the second coordinate is $\mathcal{N}(\rho c,\ 1-\rho^2)$.
#
# **The obvious method, replacement.** Sample as usual, but before each step set the first coordinate to what it would
# be if $c$ had been noised: $x_{t,1} = \alpha_t c + \sigma_t\epsilon$. The denoiser then computes
# $\mathbb{E}[\mathbf{x}_0 \mid \mathbf{x}_t]$, where $x_{t,1}$ is *one noisy copy* of $c$. At high noise it says almost
# nothing about $c$, and by the time that it does, the second coordinate has been decided. The correct denoiser knows
# $c$ at every time.
#
# **The correct denoiser.** Given $x_{0,1} = c$, the noisy first coordinate tells nothing more, because its noise is
# independent of everything else. So $\mathbb{E}[x_{0,2} \mid \mathbf{x}_t, x_{0,1} = c]$ is the denoiser of one number
# with the distribution $\mathcal{N}(\mu, \tau^2)$, $\mu = \frac{C_{21}}{C_{11}} c$ and
# $\tau^2 = C_{22} - \frac{C_{21}^2}{C_{11}}$:
#
# $$\mathbb{E}[x_{0,2} \mid \mathbf{x}_t, x_{0,1} = c]
# = \mu + \frac{\alpha_t\tau^2}{\alpha_t^2\tau^2 + \sigma_t^2}\,(x_{t,2} - \alpha_t\mu).$$

# %%
rho, c = 0.9, 1.5
C = np.array([[1.0, rho], [rho, 1.0]])


def replaced(x, r):
    """Denoise without the condition, with the first coordinate a noisy copy of c."""
    there = np.stack([c + r * fresh.standard_normal(len(x)), x[:, 1]], axis=1)
    x0 = there @ np.linalg.inv(C + r**2 * np.eye(2)) @ C
    return np.stack([np.full(len(x), c), x0[:, 1]], axis=1)


def conditional(x, r):
    """Denoise given that the first coordinate is c."""
    mean, variance = C[1, 0] / C[0, 0] * c, C[1, 1] - C[1, 0] ** 2 / C[0, 0]
    return np.stack([np.full(len(x), c), mean + variance / (variance + r**2) * (x[:, 1] - mean)], axis=1)


fresh = np.random.default_rng(3)
start = np.random.default_rng(4).standard_normal((4000, 2)) * levels[0]
for name, denoise in (("replacement", replaced), ("correct denoiser", conditional)):
    second = sample(denoise, start, levels)[:, 1]
    print(f"{name:<17} mean {second.mean():.3f}, standard deviation {second.std():.3f}")
print(f"{'exact':<17} mean {rho * c:.3f}, standard deviation {np.sqrt(1 - rho**2):.3f}")

# %% [markdown]
# Replacement gets both numbers wrong, with the exact denoiser and many steps. It is a fault of the method, not of
# training. More steps and fresh noise reduce the error but do not remove it: with 1,000 steps of ancestral sampling
# (lab 5) the mean is 0.94 and the standard deviation 0.56.
#
# **When you have only the denoiser of all points**, motes corrects with *particles* (sequential Monte Carlo; Wu et al.
# 2023). Call the condition $A$. Let $\hat p(A \mid \mathbf{x}_t)$ be an approximation of the probability of $A$ given a
# noisy point, and $\hat p(A \mid \mathbf{x}_s, \mathbf{x}_t)$ the same after a step to $\mathbf{x}_s$ whose outcome is
# known. motes gets both from a Gaussian with the denoiser's mean and covariance.
#
# 1. At time $t$, weighted particles should represent $p(\mathbf{x}_t)\,\hat p(A \mid \mathbf{x}_t)$. At $t = 0$ the
#    approximation is exact, $\hat p(A \mid \mathbf{x}_0) = 1$ if $\mathbf{x}_0$ meets the condition and 0 if not, so
#    the end is right whatever $\hat p$ was.
# 2. Move each particle with the step that the approximation suggests,
#    $p(\mathbf{x}_s \mid \mathbf{x}_t)\,\hat p(A \mid \mathbf{x}_s, \mathbf{x}_t) / \hat p(A \mid \mathbf{x}_t)$.
# 3. The target after the step is $p(\mathbf{x}_t)\,p(\mathbf{x}_s \mid \mathbf{x}_t)\,\hat p(A \mid \mathbf{x}_s)$.
#    Divide it by what the particles have, the target before times the step. Everything cancels except the factor by
#    which the weight $W$ of a particle is multiplied:
#
# $$\frac{W_s}{W_t} = \frac{p(\mathbf{x}_t)\,p(\mathbf{x}_s\mid\mathbf{x}_t)\,\hat p(A\mid\mathbf{x}_s)}
# {p(\mathbf{x}_t)\,\hat p(A\mid\mathbf{x}_t)\,\cdot\,
# p(\mathbf{x}_s\mid\mathbf{x}_t)\,\hat p(A\mid\mathbf{x}_s,\mathbf{x}_t)/\hat p(A\mid\mathbf{x}_t)}
# = \frac{\hat p(A\mid\mathbf{x}_s)}{\hat p(A\mid\mathbf{x}_s,\mathbf{x}_t)}.$$
#
# For Gaussian data the approximation is exact, all weights stay equal, and the effective sample size is the number of
# particles. Our formula and the denoiser of a one-dimensional Gaussian in motes agree to rounding:

# %%
mean, variance = rho * c, 1 - rho**2
one = GaussianOracle([mean], [[variance]], schedule)
x = np.random.default_rng(5).normal(size=(100, 2))
ours = conditional(x, 0.8)[:, 1:]
t = schedule.t_of_log_snr(-2 * np.log(0.8))
np.testing.assert_allclose(jax.vmap(one, (0, None))(jnp.asarray(x[:, 1:]), t), ours, rtol=1e-4, atol=1e-5)

whole = GaussianOracle(np.zeros(2), C, VarianceExploding(sigma_max=80.0))
bounds = [c, -np.inf], [c, np.inf]  # the first coordinate is c, the second is free
grid = KarrasGrid(32, 0.01)(whole.schedule)
points, effective, _ = conditional_sample(whole, bounds, 4000, key=jax.random.key(6), grid=grid)
print(f"particles         mean {points[:, 1].mean():.3f}, standard deviation {points[:, 1].std():.3f}")
print(f"effective sample size {effective:.0f} of 4,000")

# %% [markdown]
# `model.sample(n, given={...})` does the same with a trained model, and also accepts intervals. The left plot shows the
# density of the second coordinate given that the first is 0.5, a line that crosses both moons. For the moons the exact
# density is known, so we can compare.

# %%
line = model.sample(2000, given={"x": 0.5}, seed=2)[:, 1]
box = model.sample(1000, given={"x": (0.8, None), "y": (None, 0.3)}, seed=3)
real = motes.make_shape("moons", 2000, seed=3)
heights = np.linspace(-1.2, 1.6, 400)
density = np.exp(motes.truth("moons").log_density(np.stack([np.full(400, 0.5), heights], axis=1)))
density /= density.sum() * (heights[1] - heights[0])

fig, (left, right) = plt.subplots(1, 2, figsize=(8.5, 3.3), layout="constrained")
left.hist(line, bins=60, range=(-1.2, 1.6), density=True, color=LIGHT.synthetic, alpha=0.6, label="drawn given x = 0.5")
left.plot(heights, density, color=LIGHT.real, label="exact")
left.set(xlabel="y", ylabel="density")
left.legend()
right.scatter(*real.T, s=3, color=LIGHT.real, alpha=0.4, linewidths=0, label="real points")
right.scatter(*box.T, s=3, color=LIGHT.synthetic, alpha=0.7, linewidths=0, label="drawn given x > 0.8, y < 0.3")
right.set(xlabel="x", ylabel="y", aspect="equal")
right.legend(loc="lower left", fontsize=7, markerscale=3)
plt.close(fig)
fig

# %% [markdown]
# ## 6. Exercises
#
# Fill in the functions and run their cells. `check` tries them on inputs that you do not see, and names the usual
# mistakes. If you are stuck, run `hint("guided_x0")` in a new cell for a first idea, and `hint("guided_x0", 2)` for
# more. `solution("guided_x0")` shows an answer.
#
# ### 9.1 `guided_x0` (easy)
#
# Return the guided estimate of $\mathbf{x}_0$ from `strong`, the estimate given the class, `weak`, the estimate given
# nothing, both of shape `(d,)`, and `weight`. Weight 1 must leave the class unchanged.


# %%
def guided_x0(strong, weak, weight): ...


check("guided_x0", guided_x0)

# %% [markdown]
# ### 9.2 `known_coordinate` (middle)
#
# $\mathbf{x}_0 \sim \mathcal{N}(\mathbf 0, \mathbf C)$ in the plane, with any covariance matrix $\mathbf C$ of shape
# `(2, 2)`, and $\mathbf{x}_t = \alpha\mathbf{x}_0 + \sigma\boldsymbol\epsilon$. Return $\mathbb{E}[\mathbf{x}_0 \mid
# \mathbf{x}_t, x_{0,1} = c]$, shape `(2,)`, where `value` is $c$, `alpha` and `sigma` are numbers, and `x_t` has the
# shape `(2,)`. Section 5 has the pieces, and here $\alpha$ is not 1.


# %%
def known_coordinate(x_t, value, alpha, sigma, covariance): ...


check("known_coordinate", known_coordinate)

# %% [markdown]
# ### 9.3 `guided_mean` (research)
#
# Section 3 put the class and all classes in the same place. Now the class is $\mathcal{N}(m, s^2)$, and all classes
# together are $\mathcal{N}(0, v^2)$, with $x = x_0 + r\epsilon$ as there. All arguments are numbers. Samples start from
# $\mathcal{N}(0, r_\text{max}^2)$ at the finite noise level `r_max`. Return the mean of the guided samples. There is no
# elementary formula, so solve the flow numerically; an error of 1 in 1,000 is allowed. Then compare with the mean of
# the sharpened density: which of the two is farther from 0, and for which $s$ and $v$ do they agree?


# %%
def guided_mean(weight, m, s, v, r_max): ...


check("guided_mean", guided_mean)

# %% [markdown]
# ## What you learned
#
# - The score of a class is the score of all points plus the gradient of a classifier of noisy points.
# - Guidance multiplies the classifier's part by a weight. In terms of denoisers it is `weak + weight (strong - weak)`.
# - Guided samples have no known density. For Gaussians their width is $s^w v^{1-w}$, not the width of the sharpened
#   density.
# - To condition on known coordinates, the denoiser must know them at every time. Replacement is biased, and particles
#   are not.
#
# ## Next
#
# [Lab 10](lab10.py) shows that flow matching, diffusion and one-step maps are views of the same flow. More on this
# lab's subject: [classes and guidance](../classes.md), [conditions](../conditions.md).
#
# ## References
#
# - P. Dhariwal, A. Nichol (2021). *Diffusion models beat GANs on image synthesis.* arXiv:2105.05233.
# - J. Ho, T. Salimans (2022). *Classifier-free diffusion guidance.* arXiv:2207.12598.
# - T. Karras et al. (2024). *Guiding a diffusion model with a bad version of itself.* arXiv:2406.02507.
# - A. Bradley, P. Nakkiran (2024). *Classifier-free guidance is a predictor-corrector.* arXiv:2408.09000.
# - L. Wu et al. (2023). *Practical and asymptotically exact conditional sampling in diffusion models.*
#   arXiv:2306.17775.
