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
# # Lab 11: Masked diffusion for tables
#
# **Goal.** Carry diffusion over to tables of labels, where the noise hides cells instead of blurring numbers. Derive
# the loss, find out that one network gives log-likelihoods, conditions and missing entries, and then find the fault in
# a sampler.
#
# You need the chain rule of probabilities, and [lab 3](lab03.py), the variational bound.

# The next cell installs motes from the checkout that contains this file. Skip it if `import motes` works for you. On
# Colab, upload the checkout first.

# %%
# %pip install -q -e ../..

# %%
from itertools import product
from math import comb

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import ListedColormap

import motes
from motes import plots
from motes.course import check, fault, hint, solution

LIGHT = plots.STYLES["light"]  # blue is real or exact, amber is drawn or learned

# %% [markdown]
# ## 1. A table whose truth is known
#
# Each row is a trip to work: the weather, the means of transport, and whether you arrived on time. We choose the
# probabilities, so the probability of every possible row is known. `joint[a, b, c]` is the probability of the row with
# the labels a, b and c, numbered from 0.

# %%
labels = {"weather": ["dry", "rain", "snow"], "transport": ["car", "bus"], "arrival": ["on time", "late"]}
weather = np.array([0.6, 0.3, 0.1])
car = np.array([0.3, 0.6, 0.2])  # p(car | weather)
late = np.array([[0.1, 0.2], [0.3, 0.25], [0.6, 0.4]])  # p(late | weather, transport)
trips = weather[:, None] * np.stack([car, 1 - car], axis=1)
joint = np.stack([trips * (1 - late), trips * late], axis=2)
names, n = list(labels), joint.ndim
print("shape", joint.shape, " sum", joint.sum().round(12), " p(snow, car, late) =", joint[2, 0, 1].round(3))

# %% [markdown]
# ## 2. Forward: hide cells
#
# There is nothing halfway between "rain" and "snow", so Gaussian noise makes no sense here. Masked diffusion uses
# another kind of noise (Austin et al. 2021): at time $t$, each cell is *masked*, independently of the others, with
# probability $t$. At $t = 0$ the row is complete, and at $t = 1$ nothing is left. A masked cell stays masked at later
# times.
#
# ### Back, if the row were known
#
# Take a time $s < t$. A cell that is visible at $t$ was visible at $s$. A cell that is masked at $t$ was already masked
# at $s$ with probability
#
# $$P(\text{masked at } s \mid \text{masked at } t)
# = \frac{P(\text{masked at } s \text{ and } t)}{P(\text{masked at } t)}
# = \frac{P(\text{masked at } s)}{P(\text{masked at } t)} = \frac st,$$
#
# because a cell that is masked at $s$ is certainly masked at $t$. So, to go back from $t$ to $s$: leave each masked
# cell as it is with probability $s/t$, and reveal its true label with probability $(t-s)/t$. This is the counterpart,
# for tables, of the posterior $q(\mathbf{x}_s \mid \mathbf{x}_t, \mathbf{x}_0)$ in lab 2.
#
# ### Back, if it is not known
#
# A model replaces the true label by a draw from its prediction $p_\theta(x_j \mid \text{visible cells})$. This
# prediction is the *denoiser* of masked diffusion. The time at which a cell is masked does not depend on any label. So
# the time tells nothing about the hidden labels, and the prediction needs only the visible cells. In sufficiently small
# steps, at most one cell is revealed at a time, and every masked cell is equally likely to be the next. So the reverse
# process below reveals the cells one by one, in random order, with the exact denoiser of our table.


# %%
def unmask(row, j):
    """Return p(cell j | visible cells) for a row (n,) in which -1 is a mask."""
    p = joint
    for axis in reversed(range(n)):  # from the last axis, so that the earlier ones keep their numbers
        if axis != j:
            p = p.sum(axis=axis) if row[axis] == -1 else p.take(row[axis], axis=axis)
    return p / p.sum()


def draw(row, rng):
    """Reveal the masked cells of a row one at a time, in random order."""
    row = np.array(row)
    for j in rng.permutation(np.flatnonzero(row == -1)):
        p = unmask(row, j)
        row[j] = rng.choice(len(p), p=p)
    return row


rng = np.random.default_rng(0)
drawn = np.array([draw([-1, -1, -1], rng) for _ in range(8000)])
shares = np.zeros_like(joint)
np.add.at(shares, tuple(drawn.T), 1 / len(drawn))
error = np.sqrt(joint * (1 - joint) / len(drawn))
print(
    "largest distance of a share from its probability, in standard errors:",
    np.max(np.abs(shares - joint) / error).round(2),
)

# %% [markdown]
# Twelve rows in the forward process, and twelve in the reverse process. Blue is a visible true label, amber a drawn
# one, grey a mask; light and dark shades are different labels.

# %%
rows = np.array([np.unravel_index(k, joint.shape) for k in rng.choice(joint.size, size=12, p=joint.ravel())])
hidden_at = rng.uniform(size=rows.shape)  # the time at which each cell is masked
cells = {f"t = {t:g}": np.where(hidden_at < t, -1, rows) for t in (0, 0.35, 0.7, 1)}
back, order = np.full_like(rows, -1), np.array([rng.permutation(n) for _ in rows])
for step in range(n):
    for row, j in zip(back, order[:, step], strict=True):
        row[j] = rng.choice(joint.shape[j], p=unmask(row, j))
    cells[f"{step + 1} revealed"] = back.copy()

blues, ambers = ["#9cc5ee", LIGHT.real, "#174a80"], ["#f6c893", LIGHT.synthetic, "#8a4a0c"]
fig, axes = plt.subplots(1, len(cells), figsize=(12, 3.6), layout="constrained")
for k, (ax, (title, shown)) in enumerate(zip(axes, cells.items(), strict=True)):
    ax.imshow(shown, cmap=ListedColormap(["#d9d9d9", *(blues if k < 4 else ambers)]), vmin=-1, vmax=2, aspect="auto")
    ax.set(title=title, xticks=range(n), xticklabels=names, yticks=[])
    ax.tick_params(axis="x", rotation=60)
plt.close(fig)
fig

# %% [markdown]
# ## 3. The loss
#
# The bound of lab 3 is a sum of KL divergences, one per step. Look at one masked cell and a step from $t$ to $s$. The
# posterior leaves it masked with probability $s/t$ and reveals the true label $x_j$ with probability $(t-s)/t$. The
# model leaves it masked with the same probability and reveals $x_j$ with probability
# $\frac{t-s}{t}\,p_\theta(x_j \mid \text{visible})$. In the KL divergence, the first case adds $\log 1 = 0$, and only
# the second is left:
#
# $$\mathrm{KL} = \frac{t-s}{t}\,\log\frac{(t-s)/t}{\frac{t-s}{t}\,p_\theta(x_j \mid \text{visible})}
# = -\frac{t-s}{t}\,\log p_\theta(x_j \mid \text{visible}).$$
#
# Visible cells add nothing. The prior term is 0, since at $t = 1$ both processes have everything masked. Sum over the
# cells and over many small steps, and the sum over steps becomes an integral:
#
# $$-\log p_\theta(\mathbf{x}) \;\le\; L = \int_0^1 \frac1t\;
# \mathbb{E}\Big[\sum_{j\text{ masked at }t} -\log p_\theta(x_j \mid \text{cells visible at } t)\Big]\,dt.$$
#
# $-\log p_\theta(x_j \mid \dots)$, the loss of a classifier, is called the *cross-entropy*. So the loss is the
# cross-entropy of the masked cells with the weight $1/t$ (Sahoo et al. 2024; Shi et al. 2024).
#
# **The integral has a closed form.** A given mask, with $m$ of $n$ cells masked, occurs at time $t$ with probability
# $t^m(1-t)^{n-m}$. Its cross-entropy enters $L$ with the weight
#
# $$B = \int_0^1 \frac1t\,t^m(1-t)^{n-m}\,dt = \int_0^1 t^{m-1}(1-t)^{n-m}\,dt .$$
#
# Integrate by parts, $n - m$ times. Each time, the exponent of $1-t$ comes down as a factor, the power of $t$ is
# integrated, and the boundary terms vanish:
#
# $$B = \frac{n-m}{m}\int_0^1 t^{m}(1-t)^{n-m-1}dt = \dots
# = \frac{(n-m)!}{m\,(m+1)\cdots(n-1)}\int_0^1 t^{n-1}dt = \frac{(n-m)!\,(m-1)!}{n!} = \frac{1}{m\binom nm}.$$
#
# There are $\binom nm$ masks with $m$ masked cells. Read the result as a recipe: draw $m$ uniformly from $1, \dots, n$,
# then one of the $\binom nm$ masks, and weight its cross-entropy by $n/m$. Indeed $\frac1n\cdot\frac{1}{\binom
# nm}\cdot\frac nm = \frac{1}{m\binom nm}$. The time $t$ is gone. The loss that `motes` minimises for tables is based on
# this one.
#
# **It is also the chain rule, averaged over all orders.** Reveal the cells in some order. By the chain rule, $-\log
# p_\theta$ in this order is the sum of $-\log p_\theta(x_j \mid \text{cells before } j)$. In a random order, a given
# set of $n - m$ cells comes first with probability $1/\binom nm$, and a given one of the other $m$ cells comes next
# with probability $1/m$. These are the weights $1/(m\binom nm)$ of $L$. So $L$ is the mean of $-\log p_\theta$ over all
# $n!$ orders (Hoogeboom et al. 2022). By Jensen's inequality, this is at least $-\log$ of the mean of $p_\theta$ over
# all orders, which is the model's density: $L$ is a bound. If the denoiser is exact, every order gives the same
# $p(\mathbf{x})$, and **the bound is exactly $-\log p(\mathbf{x})$**. The Gaussian bound of lab 3 reaches it only in
# the limit of many steps.
#
# From scratch, with every mask, against the truth; and by Monte Carlo over $t$ with the weight $1/t$:


# %%
def bound(row):
    """Return the sum over all masks of 1 / (m C(n, m)) times the cross-entropy of the m masked cells."""
    total = 0.0
    for visible in product((True, False), repeat=n):
        seen, m = np.where(visible, row, -1), n - sum(visible)
        total -= sum(np.log(unmask(seen, j)[row[j]]) for j in range(n) if not visible[j]) / max(m * comb(n, m), 1)
    return total


every_row = np.array(list(np.ndindex(joint.shape)))
np.testing.assert_allclose([bound(row) for row in every_row], -np.log(joint.ravel()), rtol=1e-12)

row, terms = every_row[5], []
for t in rng.uniform(size=4000):
    seen = np.where(rng.uniform(size=n) < t, -1, row)
    terms.append(-sum(np.log(unmask(seen, j)[row[j]]) for j in np.flatnonzero(seen == -1)) / t)
spread = np.std(terms) / np.sqrt(len(terms))
print(f"one row: exact {-np.log(joint[tuple(row)]):.3f} nats, Monte Carlo over t {np.mean(terms):.3f} +- {spread:.3f}")

# %% [markdown]
# The weight $1/t$ makes the Monte Carlo estimate noisy: when $t$ is small, masked cells are rare and have a large
# weight. Drawing $m$ evenly, as the recipe above does, has less noise.
#
# ## 4. Train a network with motes
#
# Now pretend that the probabilities are unknown, and there are only 4,000 rows. `motes.fit` trains one network with
# this cross-entropy and weight. Half of the time, the masks come from one fixed order of the columns, and half of the
# time from random orders, as in section 3. In the fixed order the model defines $p(\mathbf{x})$ by the chain rule,
# which sums to 1 whatever the network has learned. We switch off `calibrate`, which adjusts shares after training, so
# that you can compute everything yourself: for a row, ask for one column after another with `predict_proba`, make it
# visible, and add up the logarithms.

# %%
codes = np.array(np.unravel_index(rng.choice(joint.size, size=4000, p=joint.ravel()), joint.shape)).T
table = pd.DataFrame({name: np.array(labels[name])[codes[:, j]] for j, name in enumerate(names)})
changes = {"table.steps": 300, "table.width": 64, "table.depth": 1, "table.calibrate": False}
model = motes.fit(table, changes=changes, seed=0, verbose=False)

possible = pd.DataFrame(
    [[labels[name][k] for name, k in zip(names, row, strict=True)] for row in every_row], columns=names
)
log_p = model.score_samples(possible)
chain, seen = np.zeros(len(possible)), pd.DataFrame({name: [None] * len(possible) for name in names})
for name in [model.schema.parts[j].column for j in model.orders.order]:  # the fixed order
    p, known = model.predict_proba(seen, name)
    chain += np.log([p[i, known.index(label)] for i, label in enumerate(possible[name])])
    seen[name] = possible[name]
np.testing.assert_allclose(log_p, chain, rtol=1e-5)
print("score_samples is the chain rule. Sum of p over all 12 rows:", np.exp(log_p).sum().round(6))
gap = np.sum(joint.ravel() * (np.log(joint.ravel()) - log_p))
print(f"entropy of the truth {-np.sum(joint * np.log(joint)):.3f} nats; the model is worse by {gap:.4f} nats per row")

# %% [markdown]
# A count of the 4,000 rows would be worse by about $11/(2\cdot4000) = 0.0014$ nats on average: 12 probabilities have 11
# free numbers. The network is as good as counting. But a count needs every combination of labels, and 300 columns of
# two labels have more combinations than the universe has atoms. The network does not: all combinations share its
# weights.
#
# ## 5. Conditions and missing entries
#
# Here masks are better than Gaussian noise. To condition on known cells, show them first, and reveal the others as
# usual. The network has seen every kind of mask in training, so nothing has to be trained again and no correction is
# needed: with the exact denoiser, rows drawn in this way are exact. A missing entry that you want filled in is a masked
# cell. Given a late arrival, what were the weather and the means of transport?

# %%
given_late = joint[:, :, 1] / joint[:, :, 1].sum()
scratch = np.array([draw([-1, -1, 1], rng) for _ in range(4000)])
by_motes = model.sample(4000, given={"arrival": "late"}, seed=1)
fig, ax = plt.subplots(figsize=(7.5, 3.2), layout="constrained")
places = np.arange(6)
pairs = [f"{a}\n{b}" for a in labels["weather"] for b in labels["transport"]]
scratch_shares = [np.mean((scratch[:, 0] == a) & (scratch[:, 1] == b)) for a in range(3) for b in range(2)]
motes_shares = [
    np.mean((by_motes["weather"] == a) & (by_motes["transport"] == b))
    for a in labels["weather"]
    for b in labels["transport"]
]
ax.bar(places - 0.27, given_late.ravel(), 0.27, color=LIGHT.real, label="exact")
ax.bar(places, scratch_shares, 0.27, color=LIGHT.muted, label="exact denoiser, 4,000 rows")
ax.bar(places + 0.27, motes_shares, 0.27, color=LIGHT.synthetic, label="motes, 4,000 rows")
ax.set(title="given a late arrival", ylabel="share", xticks=places, xticklabels=pairs)
ax.legend()
plt.close(fig)
print(
    "log p(late):",
    round(model.evidence({"arrival": "late"}).log_prob, 3),
    " exact:",
    np.log(joint[:, :, 1].sum()).round(3),
)
fig

# %% [markdown]
# ## 6. How many cells per step?
#
# Revealing one cell per step takes $n$ network evaluations. Can we reveal several at once? Their predictions are made
# with the same visible cells, and none of them sees the others. So they are drawn *independently* given what is
# visible, even with a perfect network.
#
# Reveal all cells in one step: the rows come from the product of the marginals, $\prod_j p(x_j)$. The KL divergence
# from the truth to them is
#
# $$\sum_{\mathbf{x}} p(\mathbf{x})\log\frac{p(\mathbf{x})}{\prod_j p(x_j)} = \sum_j H(x_j) - H(\mathbf{x}),$$
#
# the *total correlation*: the sum of the entropies of the cells, minus the entropy of the row. In general, each step
# costs the dependence among its own cells that the visible cells do not explain. It is 0 for one cell per step.

# %%
entropy = lambda p: -np.sum(p * np.log(p))
marginals = [joint.sum(axis=tuple(k for k in range(n) if k != j)) for j in range(n)]
product_of_marginals = np.einsum("a,b,c->abc", *marginals)
kl = np.sum(joint * np.log(joint / product_of_marginals))
np.testing.assert_allclose(kl, sum(map(entropy, marginals)) - entropy(joint), rtol=1e-10)
print(f"all cells in one step: {kl:.4f} nats per row; one cell per step: 0")

# %% [markdown]
# Language models that unmask many words per step pay this price. In `motes` a step reveals one token of each row (a
# cell, or a part of a cell with a number), in thousands of rows at once.
#
# Numbers are cells too: `motes` cuts the range of a number into bins, reveals the bin like a label, and then draws the
# place within it. [Tables](../tables.md) has the details.
#
# ## 7. Find the fault
#
# `fault(11)` is a sampler of the table of section 1, with the exact probabilities. Something is wrong with it. These
# are the suspects:
#
# | word | suspicion |
# |---|---|
# | `joint` | its probabilities are not the table's |
# | `parallel` | it reveals two columns in the same step |
# | `sharpened` | it makes frequent labels more frequent |
# | `ignored` | it ignores conditions: the known column has other labels |
# | `overwritten` | it draws complete rows, and then writes the known labels over them |
# | `late` | it reads a known label only when the turn of its column comes, after earlier columns were drawn |
#
# Question it; `hint("fault_11")` helps. Below is the first question, rows without a condition. Ask at least two more:
# what happens given `{0: 2}` (snow), and given `{2: 1}` (late)? Compare each with the exact probabilities; `joint` and
# sums of it give them all.

# %%
suspect = fault(11)
free = suspect.sample(4000, seed=1)
shares = np.zeros_like(joint)
np.add.at(shares, tuple(free.T), 1 / len(free))
print(suspect)
error = np.sqrt(joint * (1 - joint) / len(free))
print("without a condition, largest distance in standard errors:", np.max(np.abs(shares - joint) / error).round(2))

# %%
verdict = ...  # one of the words, for example "parallel"

check("fault_11", verdict)

# %% [markdown]
# ## 8. Exercises
#
# Fill in the functions and run their cells. `check` tries them on inputs that you do not see, and names the usual
# mistakes. If you are stuck, run `hint("unmask_by_counting")` in a new cell for a first idea, and
# `hint("unmask_by_counting", 2)` for more. `solution("unmask_by_counting")` shows an answer.
#
# ### 11.1 `unmask_by_counting` (easy)
#
# In practice you have rows, not probabilities. The exact denoiser of a table in which all rows are equally likely
# counts: it looks at the rows that agree with all visible cells. Return $p(\text{cell } j \mid \text{visible cells})$
# as an array with one share per label. `table` has the shape (rows, cells), `row` has labels as numbers and $-1$ for
# masked cells, and `labels` is the number of labels of cell $j$. (A network that learned this function perfectly would
# have memorised the table.)


# %%
def unmask_by_counting(table, row, j, labels): ...


check("unmask_by_counting", unmask_by_counting)

# %% [markdown]
# ### 11.2 `mask_weight` (middle)
#
# Let a cell be masked at time $t$ with probability $\gamma(t) = 1 - \cos(\pi t/2)$ instead of $t$, so that less is
# hidden at early times. Which weight replaces $1/t$ in the loss? Return it for a number `t`. (The bound does not
# change: substitute $\gamma$ for $t$ in the integral. What changes is how often training sees which masks.)


# %%
def mask_weight(t): ...


check("mask_weight", mask_weight)

# %% [markdown]
# ### 11.3 `same_step_gap` (research)
#
# Three cells: cell 0 is revealed first, then cells 1 and 2 in the same step, with the exact denoiser. Return the KL
# divergence from the truth to the drawn rows, $\sum p\log(p/p_\text{drawn})$, in nats, for any `joint` of shape `(a, b,
# c)`. When is it 0 although all pairs of cells depend on each other?


# %%
def same_step_gap(joint): ...


check("same_step_gap", same_step_gap)

# %% [markdown]
# ## What you learned
#
# - In masked diffusion the noise hides cells, and the denoiser predicts a masked cell from the visible ones.
# - Its loss is the cross-entropy of masked cells with the weight $1/t$, or $n/m$. It is the chain rule averaged over
#   all orders, and exact if the denoiser is.
# - Conditions, missing entries and log-likelihoods come from the same network: known cells are shown first.
# - Cells revealed in the same step are independent given the visible cells.
#
# ## Next
#
# [Lab 12](lab12.py) asks which parameters of a simulator may have produced an observation. More on this lab's subject:
# [tables](../tables.md), [conditions](../conditions.md).
#
# ## References
#
# - J. Austin et al. (2021). *Structured denoising diffusion models in discrete state-spaces.* arXiv:2107.03006.
# - E. Hoogeboom et al. (2022). *Autoregressive diffusion models.* arXiv:2110.02037.
# - S. Sahoo et al. (2024). *Simple and effective masked diffusion language models.* arXiv:2406.07524.
# - J. Shi et al. (2024). *Simplified and generalized masked diffusion for discrete data.* arXiv:2406.04329.
