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
# # Lab 4: Train it
#
# **Goal.** You train a diffusion model, first in 40 lines of JAX and then with `motes`, by the recipe of the original
# tutorial. You learn what the loss curve says and what it hides, and find the fault in a recipe whose loss looks fine.
#
# You need [lab 3](lab03.py): the simple loss, and why its minimum is not 0.

# The next cell installs motes from the checkout that contains this file. Skip it if `import motes` works for you. On
# Colab, upload the checkout first.

# %%
# %pip install -q -e ../..

# %%
import jax
import jax.numpy as jnp
import numpy as np

import motes
from motes import plots
from motes.course import check, fault, hint, solution
from motes.points import NoisePredictor, Simple, StepGatedMLP
from motes.points.schedules import SigmoidBetas

LIGHT = plots.STYLES["light"]

x = motes.make_shape("moons", 10_000, seed=0)  # the training rows
fresh = motes.truth("moons").sample(4_000, seed=1)  # independent draws, never trained on

# %% [markdown]
# ## 1. The plan
#
# A network $\boldsymbol\epsilon_\theta(\mathbf{x}_t, t)$ gets a noisy point and its step, and guesses the noise. Its
# weights $\theta$, its adjustable numbers, should make the simple loss small (lab 3). So compute the gradient of the
# loss, its derivative with respect to each weight, and move the weights a little against it, again and again. How far
# they move is the *learning rate*. The loss is an expectation over data, steps and noise, and so is its gradient:
#
# $$\nabla_\theta\,\mathbb{E}\big[\ell(\theta;\mathbf{x}_0,t,\boldsymbol\epsilon)\big]
# = \mathbb{E}\big[\nabla_\theta\,\ell(\theta;\mathbf{x}_0,t,\boldsymbol\epsilon)\big] .$$
#
# An expectation can be estimated by the mean of a few draws. So each training step takes a *batch*: 128 rows, for each
# a random step and fresh noise. The mean gradient of the batch is right on average, and noisy.
#
# The original tutorial's choices, which we follow here:
#
# | part | choice |
# |---|---|
# | data | 10,000 points of two moons, not standardised |
# | schedule | $T = 100$, betas rise along a sigmoid from $10^{-5}$ to $5\cdot10^{-3}$ |
# | network | 3 hidden layers of 128; each multiplied by a learned row (a *gate*) for the step; softplus |
# | steps of a batch | pairs $t$ and $T+1-t$ |
# | optimiser | Adam, learning rate $10^{-3}$, gradient clipped to norm 1 |
# | average | of the weights, decay 0.9, never used |
# | length | 79,000 training steps; **here 3,000, and 4,000 with `motes`** |
#
# ### The network
#
# A network is a chain of *layers*, here four. The first takes the two coordinates of $\mathbf{x}_t$, and the last
# returns the two coordinates of the guess. A *hidden* layer, one of the first three, with input $\mathbf{h}$, computes
#
# $$\mathrm{softplus}\big(\mathbf{g}_t\odot(\mathbf{W}\mathbf{h} + \mathbf{b})\big),\qquad
# \mathrm{softplus}(y) = \log(1 + e^y) .$$
#
# The matrix $\mathbf{W}$ and the vector $\mathbf{b}$ are learned. $\mathbf{g}_t$, learned as well, is row $t$ of a
# table of gates with one row per step, and $\odot$ multiplies entry by entry. The softplus, also entry by entry, bends
# the result: without it, all layers together would be one linear map. The last layer is $\mathbf{W}\mathbf{h} +
# \mathbf{b}$ alone. Count the parameters. A hidden layer from $m$ to $k$ numbers has $mk$ weights, $k$ biases and
# $100k$ gates:
#
# $$(2\cdot128+128+12{,}800) + 2\,(128\cdot128+128+12{,}800) + (128\cdot2+2) = 13{,}184 + 2\cdot29{,}312 + 258 =
# 72{,}066.$$
#
# ### The optimiser
#
# *Adam* [1] keeps two running means for each weight: $m\leftarrow 0.9\,m + 0.1\,g$ of its gradient $g$, and
# $v\leftarrow 0.999\,v + 0.001\,g^2$ of the square. They start at 0, and are divided by $1-0.9^i$ and $1-0.999^i$ after
# $i$ steps to make up for that. The step is $-0.001\,m/(\sqrt v + 10^{-8})$, so each weight moves by about the learning
# rate or less, however large its gradient is. *Clipping* scales the whole gradient down if it is longer than 1, so that
# one unlucky batch cannot throw the network off.
#
# ### The average of the weights
#
# The weights jitter, because each batch is different. A moving average is calmer: $\bar\theta_i =
# \lambda\bar\theta_{i-1} + (1-\lambda)\theta_i$. Put in $\bar\theta_{i-1}$, then $\bar\theta_{i-2}$, and so on:
#
# $$\bar\theta_n = \lambda^n\,\theta_0 + (1-\lambda)\sum_{i=1}^{n}\lambda^{n-i}\,\theta_i .$$
#
# The factors are a geometric series and add up to $\lambda^n + (1-\lambda)\frac{1-\lambda^n}{1-\lambda} = 1$, so it is
# indeed an average. Weights from $k$ steps ago count $\lambda^k$ as much as the last ones, and the average looks back
# over about $1/(1-\lambda)$ steps: 10 for $\lambda = 0.9$.
#
# ## 2. From scratch
#
# Here is everything above in 40 lines of JAX. JAX is NumPy (`jnp`) with a few additions:
#
# | function | what it does |
# |---|---|
# | `jax.value_and_grad(f)` | computes `f` and its gradient with respect to the first argument |
# | `jax.vmap(f, (None, 0))` | applies `f` to all rows of the second argument; the first is the same for all |
# | `jax.jit(f)` | compiles `f` |
# | `jax.lax.scan(step, state, keys)` | runs the loop `state, loss = step(state, key)` as one compiled program |
# | `jax.tree.map(f, a, b)` | applies `f` to each pair of arrays in two nested lists |
# | `jax.tree.leaves(a)` | lists the arrays of a nested list |
# | `jax.random.normal(key, shape)` | draws normal noise; the same key always gives the same numbers |
# | `jax.random.randint(key, shape, a, b)` | draws integers from `a` to `b - 1` |
# | `jax.random.split(key, n)` | makes `n` independent keys from one |
# | `jax.lax.map(f, xs)` | applies `f` to one entry of `xs` after another |

# %%
T = 100
betas = 1e-5 + (5e-3 - 1e-5) / (1 + np.exp(-np.linspace(-6, 6, T)))
bar = jnp.asarray(np.cumprod(1 - betas))  # entry k belongs to step k + 1


def network(layers, point, k):
    """The guessed noise (2,) of one point (2,) at entry k."""
    *hidden, out = layers
    for weight, bias, gates in hidden:
        point = jax.nn.softplus(gates[k] * (weight @ point + bias))
    return out[0] @ point + out[1]


def simple_loss(layers, x0, k, eps):
    x_t = jnp.sqrt(bar[k])[:, None] * x0 + jnp.sqrt(1 - bar[k])[:, None] * eps
    return jnp.mean((jax.vmap(network, (None, 0, 0))(layers, x_t, k) - eps) ** 2)


@jax.jit
def training(layers, data, keys):
    """Train on data (n, 2) for one step per key; return the weights, their average and the losses."""

    def step(state, key):
        layers, m, v, average, i = state
        of_rows, of_steps, of_noise = jax.random.split(key, 3)
        x0 = data[jax.random.randint(of_rows, (128,), 0, len(data))]
        k = jax.random.randint(of_steps, (64,), 0, T)
        k = jnp.concatenate([k, T - 1 - k])  # pairs
        loss, gradient = jax.value_and_grad(simple_loss)(layers, x0, k, jax.random.normal(of_noise, x0.shape))
        norm = jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(gradient)))
        gradient = jax.tree.map(lambda g: g * jnp.minimum(1, 1 / norm), gradient)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, gradient)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, v, gradient)
        move = lambda w, m, v: w - 1e-3 * m / (1 - 0.9**i) / (jnp.sqrt(v / (1 - 0.999**i)) + 1e-8)
        layers = jax.tree.map(move, layers, m, v)
        average = jax.tree.map(lambda a, w: 0.9 * a + 0.1 * w, average, layers)
        return (layers, m, v, average, i + 1), loss

    zeros = jax.tree.map(jnp.zeros_like, layers)
    (layers, _, _, average, _), losses = jax.lax.scan(step, (layers, zeros, zeros, layers, 1.0), keys)
    return layers, average, losses


# %% [markdown]
# The initial weights come from the network of `motes`, so that we can compare. Its output and its loss equal ours to
# rounding.

# %%
theirs = StepGatedMLP(dim=2, steps=T, key=jax.random.key(0))
start = [(layer.weight, layer.bias, gates) for layer, gates in zip(theirs.layers, theirs.gates, strict=True)]
start.append((theirs.out.weight, theirs.out.bias))
print(f"{sum(array.size for array in jax.tree.leaves(start)):,} parameters")

x0, k = jnp.asarray(x[:500], jnp.float32), jnp.arange(500) % T
eps = jax.random.normal(jax.random.key(1), x0.shape)
ours = jax.vmap(network, (None, 0, 0))(start, x0, k)
np.testing.assert_allclose(ours, jax.vmap(theirs)(x0, (k + 1) / T), atol=1e-4)

schedule = SigmoidBetas(T, 1e-5, 5e-3).schedule()
of_rows = jax.vmap(Simple(), (None, 0, 0, 0))(NoisePredictor(theirs, schedule), x0, (k + 1) / T, eps)["eps"]
np.testing.assert_allclose(simple_loss(start, x0, k, eps), of_rows.mean(), rtol=1e-3)

# %%
STEPS = 3_000
keys = jax.random.split(jax.random.key(2), STEPS)
layers, average, losses = training(start, jnp.asarray(x, jnp.float32), keys)
print("loss, mean of the first and the last 100 steps:", losses[:100].mean().round(3), losses[-100:].mean().round(3))

# %% [markdown]
# ## 3. What the loss says
#
# Lab 3 showed that the best possible loss is not 0. For the moons it is known, because `motes.truth` knows their exact
# denoiser. The dashed line shows this best possible loss. (The code averages over the two columns as well, so all
# losses of this lab are half of $L_{\text{simple}}$ in lab 3.)

# %%
test, at = jnp.asarray(fresh, jnp.float32), (jnp.arange(len(fresh)) % T + 1) / T
noise = jax.random.normal(jax.random.key(3), test.shape)
exact = motes.truth("moons").oracle(schedule)
floor = np.asarray(jax.jit(jax.vmap(Simple(), (None, 0, 0, 0)))(exact, test, at, noise)["eps"])  # of each row, (n,)
plots.loss_curve(np.arange(1, STEPS + 1), losses, best=floor.mean(), window=100, style=LIGHT)

# %% [markdown]
# The curve falls for a few hundred steps, and then hardly at all. Is the training done? The loss of single batches
# jitters by about as much as what is left to learn. It gets worse if you look at few rows. An *epoch* is one pass
# through all rows, here 78 batches of 128 and one of the 16 rows that remain. Every 100 epochs, the original prints the
# loss of the last batch, of 16 rows.


# %%
@jax.jit
def row_losses(layers):
    """The loss of each fresh row, (n,)."""
    entry = jnp.arange(len(test)) % T
    x_t = jnp.sqrt(bar[entry])[:, None] * test + jnp.sqrt(1 - bar[entry])[:, None] * noise
    return jnp.mean((jax.vmap(network, (None, 0, 0))(layers, x_t, entry) - noise) ** 2, axis=1)


def mean_and_error(rows):
    return f"{rows.mean():.4f} +- {rows.std() / len(rows) ** 0.5:.4f}"


rows = np.asarray(row_losses(layers))
few = np.random.default_rng(0).permutation(rows)[:160].reshape(10, 16)
print("batches of 16 rows, one and the same model:", few.mean(axis=1).round(2))
print("all 4,000 fresh rows:", mean_and_error(rows), "   best possible:", mean_and_error(floor))
print("their difference, row by row:", mean_and_error(rows - floor))
print("with the averaged weights:   ", mean_and_error(np.asarray(row_losses(average)) - floor))

# %% [markdown]
# The numbers that the original prints run from 0.57 to 0.91 without a trend. Ten batches of 16 rows differ at least as
# much, although all ten come from *one* model.
#
# For $n$ rows, the standard error of a mean is the standard deviation of the rows' losses divided by $\sqrt n$. Always
# print it. Both losses above use the same rows and the same noise, so compare them row by row, as the third line does:
# much of the noise is common to both, and the standard error of the mean difference is smaller.
#
# ## 4. The same by `motes`
#
# In `motes`, a *recipe* describes a training. The recipe `tutorial` is the original, number for number; we only take
# fewer steps.

# %%
model = motes.fit(x, "tutorial", changes={"training.steps": 4_000}, seed=0, verbose=False)
print(model, model.training)

# %% [markdown]
# Sampling takes the steps back of lab 2, with the network's guess. Lab 5 is about this *reverse chain*. Here it is,
# from noise to points.

# %%
places = np.linspace(0, T, 8).round().astype(int)
samples, chain = model.chain(4_000, places.tolist(), seed=0)
plots.row(chain, np.asarray(model.grid)[places], process="reverse", view=plots.View((-2.8, 3.0), steps=T), style=LIGHT)

# %%
plots.comparison(fresh, samples, style=LIGHT)

# %% [markdown]
# You see two moons, but blurred, and with too many points on the left. Measure it: `sliced_w2` is a distance, in
# standard deviations of the data, and `c2st` is how often a classifier tells samples from data (0.5: it cannot). Both
# need a reference: the same measure between two real draws.

# %%
for name, points in (("two real draws", motes.truth("moons").sample(4_000, seed=2)), ("the samples", samples)):
    w2, accuracy = motes.sliced_w2(points, fresh), motes.c2st(points, fresh)
    print(f"{name:<15} sliced W2 {float(w2):.3f}   classifier {float(accuracy):.3f}")

# %% [markdown]
# The samples are more than ten times as far from the data as a real draw. Part of this is the short training: the blur
# goes away with more steps. The rest does not: after all 79,000 steps, the original's samples still have a distance of
# 0.3 and a classifier accuracy of 0.58. The loss cannot see what is wrong, because even a perfect network would not
# repair it. Lab 5 finds it.
#
# ## Exercises
#
# Fill in the functions and run their cells. `check` tries them on inputs that you do not see, and names the usual
# mistakes. If you are stuck, run `hint("ema")` in a new cell for a first idea, and `hint("ema", 2)` for more.
# `solution("ema")` shows an answer.
#
# ### 4.1 The moving average (easy)
#
# `weights` (n, p) has the weights after each of n training steps. Return their moving average (p,) after the last step:
# it begins as the first row, and takes in the other rows one by one. `decay` is $\lambda$ of section 1.


# %%
def ema(weights, decay): ...


check("ema", ema)

# %% [markdown]
# ### 4.2 Clip a gradient (middle)
#
# A gradient consists of two arrays, `w` and `b`. Return both, as a tuple, scaled so that the norm of all entries
# together is at most `limit`.


# %%
def clip_by_norm(w, b, limit): ...


check("clip_by_norm", clip_by_norm)

# %% [markdown]
# ### 4.3 Is it worth drawing steps in pairs? (research)
#
# `losses` (T,) has the expected loss at each step. The original draws a uniform step k and takes T - 1 - k as well.
# Return the variance of the mean of the two losses, divided by the variance for two independent steps. Below 1, pairs
# help.
#
# If your function is correct, the cell also computes the ratio for this schedule, with the least possible losses. What
# does it say about the original's choice? (`motes` usually draws steps *stratified*, one from each of 128 equal parts
# of time: a better answer to the same question.)


# %%
def antithetic_ratio(losses): ...


if check("antithetic_ratio", antithetic_ratio).correct:
    at_step = lambda t: jax.vmap(Simple(), (None, 0, None, 0))(exact, test[:500], t, noise[:500])["eps"].mean()
    print("this schedule:", antithetic_ratio(np.asarray(jax.lax.map(at_step, jnp.arange(1, T + 1) / T))))

# %% [markdown]
# ## Find the fault
#
# `fault(4)` returns a recipe for a short training, in which one number is wrong. Its loss falls as it should. But look
# at its samples.

# %%
recipe = fault(4)
faulty = motes.fit(x, recipe, seed=0, verbose=False)
curve = faulty.training.losses
plots.loss_curve(np.arange(1, len(curve) + 1), curve, window=50, style=LIGHT)

# %%
bad = faulty.sample(4_000, seed=0)
plots.comparison(fresh, bad, style=LIGHT)

# %% [markdown]
# Look for it like this:
#
# 1. Read the recipe: `print(recipe)` names its parts, and `recipe.to_dict()` contains all its numbers.
# 2. A model keeps two denoisers: `faulty.training.last` has the last weights, and `faulty.training.averaged` their
#    average. Sample from both, for example `faulty.with_denoiser(faulty.training.last).sample(4_000)`. Which of them
#    made the samples above?
# 3. Put the numbers of this recipe into the formulas of section 1.
#
# Then answer with one of the words `"data"`, `"schedule"`, `"network"`, `"learning rate"`, `"average"` and `"sampler"`.
# `hint("fault_04")` helps here, too.

# %%
check("fault_04", ...)

# %% [markdown]
# Once your answer is correct, run `print(*motes.diagnose(x, recipe))`: it checks a recipe before it is trained, and
# would have saved you this training.
#
# ## What you learned
#
# - To train is to repeat: take a batch, add noise, guess it, square the error, take a step. Forty lines do it.
# - The loss has a floor and a jitter. Compare it with the floor, on rows that were not trained on, with a standard
#   error.
# - A good loss does not make good samples. Measure the samples, and compare with the same measure between two real
#   draws.
# - If the loss is good and the samples are bad, exchange one part of the model at a time, and see which exchange helps.
#
# ## Next
#
# [Lab 5](lab05.py) walks the reverse chain step by step, and finds out why its samples are wrong.
#
# ## Reference
#
# [1] D. P. Kingma, J. Ba (2015). *Adam: a method for stochastic optimization.* arXiv:1412.6980.
