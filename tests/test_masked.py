"""Masked diffusion against enumeration: all paths of the process, all orders of the columns, all rows of a sampler."""

import itertools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats
from scipy.special import log_softmax
from tests.reference import Z, float64, property_test

from motes.diffusion.masked._bound import (
    continuous_loss,
    discrete_bound,
    exact_order_agnostic_terms,
    keep_visible,
    order_agnostic_loss,
    order_agnostic_terms,
    step_loss,
)
from motes.diffusion.masked._denoiser import MaskedDenoiser
from motes.diffusion.masked._oracles import EnumeratedOracle, ProductMixtureOracle
from motes.diffusion.masked._process import (
    MASK,
    carry_over,
    chain_log_prob,
    chain_terms,
    log_prob_of,
    q_posterior,
    q_sample,
    q_transition,
    reverse_step,
    sample_by_schedule,
    sample_in_order,
)
from motes.diffusion.masked._schedules import CosineMasking, LinearMasking, PolynomialMasking

SCHEDULES = {
    "linear": LinearMasking(),
    "cosine": CosineMasking(),
    "square": PolynomialMasking(2.0),
    "root": PolynomialMasking(0.5),
}
# m and m'/m in NumPy: Shi et al. 2024, table 4.
SHARE = {
    "linear": lambda t: t,
    "cosine": lambda t: np.cos(np.pi / 2 * (1 - t)),
    "square": lambda t: t**2,
    "root": lambda t: t**0.5,
}
WEIGHT = {
    "linear": lambda t: 1 / t,
    "cosine": lambda t: np.pi / 2 * np.tan(np.pi / 2 * (1 - t)),
    "square": lambda t: 2 / t,
    "root": lambda t: 0.5 / t,
}
each = pytest.mark.parametrize("name", SCHEDULES)
names, times = st.sampled_from(list(SCHEDULES)), st.floats(0.01, 1)

SIZES = (2, 3, 2)
ROWS = np.array(list(itertools.product(*map(range, SIZES))))
STATES = np.array(list(itertools.product(*([MASK, *range(size)] for size in SIZES))))  # rows with masks
ORDERS = np.array(list(itertools.permutations(range(3))))
RNG = np.random.default_rng(0)
TABLE = RNG.dirichlet(np.full(12, 0.7)).reshape(SIZES)
ORACLE = EnumeratedOracle(TABLE)


class Lookup(MaskedDenoiser):
    """Arbitrary conditionals for every state, which agree with no joint distribution: what a network is."""

    sizes: tuple[int, ...] = eqx.field(static=True)
    table: np.ndarray  # (K_1 + 1, ..., K_d + 1, d, K); the last index of an axis stands for MASK, as -1 does

    def log_probs(self, codes, visible):
        state = tuple(jnp.where(visible, codes, MASK))
        return carry_over(jnp.asarray(self.table, float)[state], codes, visible)


def lookup(sizes=SIZES):
    most = max(sizes)
    logits = RNG.normal(0, 1.5, (*(size + 1 for size in sizes), len(sizes), most))
    logits[..., np.arange(most) >= np.array(sizes)[:, None]] = -np.inf
    return Lookup(sizes, log_softmax(logits, axis=-1))


NETWORK = lookup()


def probabilities(denoiser, x_t):
    """p(x_0^j | x_t) (d, K) in NumPy: from the table of the lookup, or by sums over the rows of `TABLE`."""
    if isinstance(denoiser, Lookup):
        return np.exp(denoiser.table[tuple(x_t)])
    agrees = ((x_t == MASK) | (x_t == ROWS)).all(axis=1)
    p = np.where(agrees, TABLE.ravel(), 0)
    return np.array([[p[ROWS[:, j] == k].sum() for k in range(3)] for j in range(3)]) / p.sum()


def forward(x_s, states, m_s, m_t):
    """q(x_t | x_s) for every x_t of `states` (n, d): Shi et al. 2024, eq. 16, with alpha = 1 - m."""
    alpha = (1 - m_t) / (1 - m_s)
    return np.prod(alpha * (states == x_s) + (1 - alpha) * (states == MASK), axis=1)


def reverse(denoiser, x_t, states, m_t, m_s):
    """p(x_s | x_t) for every x_s of `states` (n, d): Sahoo et al. 2024, eq. 7."""
    p = np.take_along_axis(probabilities(denoiser, x_t), np.maximum(states, 0).T, axis=1).T
    revealed = np.where(states == MASK, m_s / m_t, (1 - m_s / m_t) * p)
    return np.prod(np.where(x_t == MASK, revealed, states == x_t), axis=1)


def exactly(function, *args):
    """The answer in float64, as NumPy arrays; numbers are arrays to the function, for one program of all of them."""
    with float64():
        args = (np.asarray(arg) if isinstance(arg, float) else arg for arg in args)
        return jax.tree.map(np.asarray, function(*args))


# --- schedules ----------------------------------------------------------------------------------------------------


@each
def test_the_share_rises_from_0_to_1_by_its_formula(name):
    t = np.linspace(0, 1, 101)
    with float64():
        exact = np.asarray(SCHEDULES[name].share(t))
    for share, rtol in (exact, 1e-12), (np.asarray(SCHEDULES[name].share(t)), 1e-6):
        assert share[0] == 0
        assert share[-1] == 1  # the prior term of the bound is 0 for this alone
        assert (np.diff(share) > 0).all()
        np.testing.assert_allclose(share[1:], SHARE[name](t[1:]), rtol=rtol)


@property_test
@given(names, times)
def test_the_time_of_a_share_is_its_inverse(name, t):
    with float64():
        assert np.isclose(SCHEDULES[name].t_of_share(SCHEDULES[name].share(t)), t, rtol=1e-6)


@property_test
@given(names, st.floats(0.01, 0.99))
def test_the_weight_is_that_of_the_literature_and_the_rate_a_derivative(name, t):
    schedule, h = SCHEDULES[name], 1e-5
    with float64():
        assert np.isclose(schedule.weight(t), WEIGHT[name](t), rtol=1e-9)
        slope = (schedule.share(t + h) - schedule.share(t - h)) / (2 * h)
        assert np.isclose(schedule.rate(t), slope, rtol=1e-5)


@pytest.mark.parametrize("power", [0.0, -1.0, math.inf, math.nan])
def test_a_power_that_is_no_schedule_is_refused(power):
    with pytest.raises(ValueError, match="expected a finite number above 0"):
        PolynomialMasking(power)


# --- the forward process ------------------------------------------------------------------------------------------


@eqx.filter_jit
def transitions(schedule, x_s, s, t):
    """q(x_t | x_s) for x_s (n, d) and every x_t of STATES, (n, states)."""
    log_prob = lambda x_s, x_t: q_transition(schedule, x_s, s, t).log_prob(x_t)
    return jnp.exp(jax.vmap(jax.vmap(log_prob, (None, 0)), (0, None))(x_s, STATES))


@eqx.filter_jit
def posteriors(schedule, x_t, x0, t, s):
    """q(x_s | x_t, x0) for x_t (n, d) and every x_s of STATES, (n, states)."""
    log_prob = lambda x_t, x_s: q_posterior(schedule, x_t, x0, t, s).log_prob(x_s)
    return jnp.exp(jax.vmap(jax.vmap(log_prob, (None, 0)), (0, None))(x_t, STATES))


@each
def test_the_transition_is_that_of_its_matrix(name):
    ours = exactly(transitions, SCHEDULES[name], STATES, 0.3, 0.8)
    theirs = [forward(x_s, STATES, SHARE[name](0.3), SHARE[name](0.8)) for x_s in STATES]
    np.testing.assert_allclose(ours, theirs, rtol=1e-12)
    np.testing.assert_allclose(ours.sum(axis=1), 1)


@property_test
@given(names, st.floats(0, 0.3), st.floats(0.31, 0.6), st.floats(0.61, 1))
def test_transitions_compose(name, r, s, t):
    first, second, whole = (exactly(transitions, SCHEDULES[name], STATES, *by) for by in ((r, s), (s, t), (r, t)))
    np.testing.assert_allclose(first @ second, whole, atol=1e-12)


@each
@pytest.mark.parametrize(("s", "t"), [(0.0, 0.4), (0.2, 0.5), (0.5, 1.0)])
def test_the_posterior_is_bayes_rule(name, s, t):
    x0, m_s, m_t = np.array([1, 2, 0]), SHARE[name](s), SHARE[name](t)
    joint = forward(x0, STATES, 0, m_s)[:, None] * [forward(x_s, STATES, m_s, m_t) for x_s in STATES]  # x_s, x_t
    reached = joint.sum(axis=0) > 0
    assert reached.sum() == (1 if t == 1 else 8)
    ours = exactly(posteriors, SCHEDULES[name], STATES[reached], x0, t, s)
    np.testing.assert_allclose(ours, (joint / np.where(reached, joint.sum(axis=0), 1)).T[reached], atol=1e-12)


@each
def test_q_sample_masks_the_share(name):
    """Each count is binomial; a right sampler fails once in 10^5 (4 tests of 5 columns at Z standard deviations)."""
    n, x0, t = 20_000, jnp.array([1, 0, 2, MASK, 1]), 0.3
    rows = jax.vmap(lambda key: q_sample(SCHEDULES[name], x0, t, key))(jax.random.split(jax.random.key(1), n))
    m, masked_rows = SHARE[name](t), np.asarray(rows == MASK)
    assert ((rows == x0) | (rows == MASK)).all()
    assert masked_rows[:, 3].all()  # a missing entry stays one
    observed = masked_rows[:, [0, 1, 2, 4]]
    assert (abs(observed.mean(axis=0) - m) < Z * np.sqrt(m * (1 - m) / n)).all()
    both = (observed[:, 0] & observed[:, 1]).mean()  # columns are masked independently
    assert abs(both - m**2) < Z * np.sqrt(m**2 * (1 - m**2) / n)


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_a_reverse_step_has_the_distribution_of_the_model(name):
    """Chi-squared over all states; a right sampler fails once in a million."""
    n, (t, s), x_t = 20_000, (0.8, 0.5), np.array([MASK, 2, MASK])
    step = lambda key: reverse_step(SCHEDULES[name], x_t, jnp.log(probabilities(NETWORK, x_t)), t, s, key)
    rows = np.asarray(jax.jit(jax.vmap(step))(jax.random.split(jax.random.key(2), n)))
    assert_sampled(rows, STATES, reverse(NETWORK, x_t, STATES, SHARE[name](t), SHARE[name](s)))


def assert_sampled(rows, states, probability, limit=1e-6):
    assert np.isclose(probability.sum(), 1)
    counts = (rows[:, None] == states).all(axis=2).sum(axis=0)
    assert counts.sum() == len(rows)
    assert not counts[probability == 0].any()
    possible = probability > 0
    assert stats.chisquare(counts[possible], len(rows) * probability[possible]).pvalue > limit


# --- the bound ----------------------------------------------------------------------------------------------------


def by_paths(denoiser, name, x0, steps):
    """Prior, diffusion (T - 1,), reconstruction and the whole, by enumeration of all paths x_{1/T}, ..., x_1."""
    m = SHARE[name](np.arange(steps + 1) / steps)
    reached = np.where(HIDDEN, MASK, x0)  # the states that q reaches from x0
    q = [np.array([forward(x, reached, m[k], m[k + 1]) for x in reached]) for k in range(steps)]
    p = [np.array([reverse(denoiser, x, reached, m[k + 1], m[k]) for x in reached]).T for k in range(steps)]
    start, whole = 0, len(HIDDEN) - 1  # the states x0 and all masks
    elbo = 0.0
    for path in itertools.product(range(len(HIDDEN)), repeat=steps):
        way = list(itertools.pairwise((start, *path)))
        of_q = np.prod([q[k][pair] for k, pair in enumerate(way)])
        if of_q > 0:
            of_p = np.prod([p[k][pair] for k, pair in enumerate(way)]) * (path[-1] == whole)
            elbo += of_q * (np.log(of_p) - np.log(of_q))
    marginal, diffusion, reconstruction = np.eye(len(HIDDEN))[start], [], 0.0
    for k in range(steps):
        joint = marginal[:, None] * q[k]  # of x_s and x_t
        marginal = joint.sum(axis=0)
        posterior = joint / np.where(marginal > 0, marginal, 1)
        happens = joint > 0
        if k == 0:
            reconstruction = -(joint[start] * np.log(np.where(happens[start], p[k][start], 1))).sum()
        else:
            ratio = np.where(happens, posterior, 1) / np.where(happens, p[k], 1)
            diffusion.append((joint * np.log(ratio)).sum())
    return -np.log(marginal[whole]), diffusion, reconstruction, -elbo


HIDDEN = np.array(list(itertools.product([False, True], repeat=3)))
WHOLE_ROWS = [np.array([1, 2, 0]), np.array([0, 1, 1])]
both = pytest.mark.parametrize("denoiser", [ORACLE, NETWORK], ids=["oracle", "network"])
exact_terms = eqx.filter_jit(exact_order_agnostic_terms)
bound_of = eqx.filter_jit(discrete_bound)


@both
@pytest.mark.parametrize(("name", "steps"), [("linear", 1), ("linear", 3), ("cosine", 3), ("square", 3), ("root", 2)])
def test_the_bound_is_the_expectation_over_all_paths_term_by_term(denoiser, name, steps):
    for x0 in WHOLE_ROWS:
        ours = exactly(bound_of, SCHEDULES[name], exactly(exact_terms, denoiser, x0), steps)
        prior, diffusion, reconstruction, whole = by_paths(denoiser, name, x0, steps)
        assert ours.prior == 0 and abs(prior) < 1e-12
        np.testing.assert_allclose(ours.diffusion, diffusion, rtol=1e-9)
        assert np.isclose(ours.reconstruction, reconstruction, rtol=1e-9)
        assert np.isclose(ours.total, whole, rtol=1e-9)


@eqx.filter_jit
def conditionals(denoiser, states):
    return jax.vmap(lambda x: denoiser.log_probs(x, x != MASK))(states)


@both
@pytest.mark.parametrize(("s", "t"), [(0.3, 0.6), (0.0, 0.4)])
def test_the_loss_of_a_step_is_a_divergence(denoiser, s, t):
    x0, schedule, m = np.array([1, 2, 0]), SCHEDULES["cosine"], SHARE["cosine"]
    states = np.where(HIDDEN, MASK, x0)
    loss = jax.jit(
        jax.vmap(lambda x_t, log_probs, t, s: step_loss(schedule, x0, x_t, log_probs, t, s), (0, 0, None, None))
    )
    ours = exactly(loss, states, exactly(conditionals, denoiser, states), t, s)
    for x_t, losses, q in zip(states, ours, exactly(posteriors, schedule, states, x0, t, s), strict=True):
        p = reverse(denoiser, x_t, STATES, m(t), m(s))
        assert np.isclose(losses.sum(), (q[q > 0] * np.log(q[q > 0] / p[q > 0])).sum(), rtol=1e-9, atol=1e-12)
        assert (losses[x_t != MASK] == 0).all()


@both
@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_the_bound_bounds_the_sampler_and_tends_to_the_order_agnostic_one(denoiser, name):
    terms, row = exactly(exact_terms, denoiser, np.array([1, 2, 0])), np.ravel_multi_index((1, 2, 0), SIZES)
    total = lambda steps: exactly(bound_of, SCHEDULES[name], terms, steps).total
    gaps = [total(steps) + np.log(of_sampler(denoiser, name, steps)[row]) for steps in (1, 2, 4, 8)]
    assert abs(gaps[0]) < 1e-12  # one step has one path
    assert min(gaps[1:]) > 0
    assert np.isclose(total(10_000), terms.sum(), rtol=1e-3)


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_the_mean_bound_of_an_oracle_falls_to_the_entropy_with_its_steps(name):
    terms = TABLE.ravel() @ exactly(eqx.filter_vmap(exact_terms, in_axes=(None, 0)), ORACLE, ROWS)
    bounds = [exactly(bound_of, SCHEDULES[name], terms, steps).total for steps in (1, 2, 4, 8)]
    entropy = -(TABLE * np.log(TABLE)).sum()
    assert (np.diff([*bounds, entropy]) < 0).all()
    assert np.isclose(terms.sum(), entropy, rtol=1e-12)


@both
@each
def test_the_continuous_bound_is_the_order_agnostic_one_for_every_schedule(denoiser, name):
    x0, schedule = np.array([0, 1, 1]), SCHEDULES[name]
    x_t = np.where(HIDDEN, MASK, x0)
    log_probs = exactly(conditionals, denoiser, x_t)
    losses = jax.jit(jax.vmap(lambda x_t, log_probs, t: continuous_loss(schedule, x0, x_t, log_probs, t), (0, 0, None)))

    def integrand(t):
        m = SHARE[name](t)
        return np.prod(np.where(HIDDEN, m, 1 - m), axis=1) @ exactly(losses, x_t, log_probs, t).sum(axis=1)

    bound, _ = integrate.quad(integrand, 0, 1, epsabs=1e-8, limit=60)
    assert np.isclose(bound, exactly(exact_terms, denoiser, x0).sum(), rtol=1e-6)


@both
def test_the_order_agnostic_bound_is_the_mean_over_all_orders(denoiser):
    for x0 in WHOLE_ROWS:
        terms = exactly(exact_terms, denoiser, x0)
        chains = exactly(jax.jit(jax.vmap(lambda x, order: chain_terms(denoiser, x, order), (None, 0))), x0, ORDERS)
        in_order = np.take_along_axis(chains, ORDERS, axis=1)  # by place instead of by column
        np.testing.assert_allclose(terms, -in_order.mean(axis=0), rtol=1e-12)
        if denoiser is ORACLE:  # its conditionals agree, so that the bound is tight
            assert np.isclose(terms.sum(), -np.log(TABLE[tuple(x0)]), rtol=1e-12)
        else:
            assert np.ptp(chains.sum(axis=1)) > 0.1


def estimates(kind, denoiser, x0, keys):
    """One-sample estimates of the bound."""

    def one(key):
        of_time, of_masks = jax.random.split(key)
        u = 1 - jax.random.uniform(of_time)  # in (0, 1]
        if kind == "order":
            x_t = keep_visible(x0, jnp.ceil(u * (x0 != MASK).sum()) - 1, of_masks)
            return order_agnostic_loss(x0, x_t, denoiser.log_probs(x_t, x_t != MASK)).sum()
        if kind == "terms":
            return order_agnostic_terms(denoiser, x0, key).sum()
        x_t = q_sample(SCHEDULES[kind], x0, u, of_masks)
        return continuous_loss(SCHEDULES[kind], x0, x_t, denoiser.log_probs(x_t, x_t != MASK), u).sum()

    return np.asarray(jax.jit(jax.vmap(one))(keys), np.float64)


@pytest.mark.slow(but=["cosine", "terms"])
@pytest.mark.parametrize("kind", ["linear", "cosine", "order", "terms"])
def test_one_sample_estimates_are_unbiased(kind):
    """Means of 20,000, beyond Z standard errors once in 10^6 where they are right."""
    x0 = jnp.array([1, 2, 0])
    values = estimates(kind, NETWORK, x0, jax.random.split(jax.random.key(5), 20_000))
    truth = float(exact_terms(NETWORK, x0).sum())
    assert values.std() > 0.1
    assert abs(values.mean() - truth) < Z * values.std() / np.sqrt(len(values))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["linear", "order", "terms"])
def test_the_bound_of_a_row_with_missing_entries_is_that_of_its_observed_columns(kind):
    """Means of 20,000 as above; the oracle's bound is tight."""
    values = estimates(kind, ORACLE, jnp.array([1, MASK, 0]), jax.random.split(jax.random.key(6), 20_000))
    truth = -np.log(TABLE[1, :, 0].sum())
    assert abs(values.mean() - truth) < Z * values.std() / np.sqrt(len(values))


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_keep_visible_keeps_that_many_at_random(count):
    """Binomial counts of each column, beyond Z standard deviations once in 10^5."""
    n, x0 = 5_000, jnp.array([3, MASK, 0, 1, 2])
    rows = np.asarray(jax.vmap(lambda key: keep_visible(x0, count, key))(jax.random.split(jax.random.key(7), n)))
    assert ((rows != MASK).sum(axis=1) == count).all()
    assert ((rows == x0) | (rows == MASK)).all()
    kept = (rows != MASK).mean(axis=0)[[0, 2, 3, 4]]
    assert (abs(kept - count / 4) <= Z * np.sqrt(count / 4 * (1 - count / 4) / n)).all()


@pytest.mark.slow
def test_terms_are_infinite_and_not_nan_where_the_row_is_impossible():
    equal = EnumeratedOracle([[0.5, 0.0], [0.0, 0.5]])
    row, order = jnp.array([0, 1]), jnp.array([1, 0])

    @jax.jit
    def answers():
        terms = exact_order_agnostic_terms(equal, row)
        totals = [discrete_bound(LinearMasking(), terms, steps).total for steps in (1, 4)]
        return terms, *totals, chain_log_prob(equal, row, order)

    terms, one_step, four_steps, log_prob = answers()
    np.testing.assert_allclose(terms, [np.log(2), np.inf], rtol=1e-6)
    assert np.isclose(one_step, 2 * np.log(2))  # both columns are drawn from nothing, which may give this row
    assert four_steps == np.inf
    assert log_prob == -np.inf


def test_the_loss_has_a_finite_gradient_past_codes_that_do_not_exist():
    x0, x_t = jnp.array([1, 2, 0]), jnp.array([MASK, 2, MASK])
    exists = jnp.arange(3) < jnp.array(SIZES)[:, None]

    def loss(logits):
        log_probs = jax.nn.log_softmax(jnp.where(exists, logits, -jnp.inf))
        return order_agnostic_loss(x0, x_t, carry_over(log_probs, x_t, x_t != MASK)).sum()

    logits = jnp.asarray(RNG.normal(size=(3, 3)))
    softmax = np.where(exists, np.exp(logits), 0)
    theirs = 3 / 2 * (softmax / softmax.sum(axis=1, keepdims=True) - np.eye(3)[np.array(x0)])
    theirs[1] = 0  # the visible column teaches nothing
    np.testing.assert_allclose(jax.jit(jax.grad(loss))(logits), theirs, atol=1e-6)


def test_wrong_numbers_of_columns_and_steps_are_refused():
    with pytest.raises(ValueError, match="got a row of 17 columns; expected at most 16"):
        exact_order_agnostic_terms(ORACLE, jnp.zeros(17, int))
    with pytest.raises(ValueError, match="got 0 steps; expected at least 1"):
        discrete_bound(LinearMasking(), jnp.ones(3), 0)
    with pytest.raises(ValueError, match="got 0 steps; expected at least 1"):
        sample_by_schedule(ORACLE, LinearMasking(), jnp.zeros(3, int), jnp.zeros(3, bool), 0, jax.random.key(0))


# --- the chain rule and the samplers ------------------------------------------------------------------------------

# Whatever stands at a column that is not visible is not read: 1 stands there. One program for all codes.


@eqx.filter_jit
def drawn_in_order(denoiser, codes, order, key):
    draw = lambda key: sample_in_order(denoiser, jnp.where(codes == MASK, 1, codes), codes != MASK, order, key)
    return jax.vmap(draw)(jax.random.split(key, 10_000))


@eqx.filter_jit
def drawn_by_schedule(denoiser, schedule, codes, steps, key):
    hidden = jnp.where(codes == MASK, 1, codes)
    draw = lambda key: sample_by_schedule(denoiser, schedule, hidden, codes != MASK, steps, key)
    return jax.vmap(draw)(jax.random.split(key, 10_000))


def test_log_prob_of_reads_the_code_of_each_column():
    log_probs = jnp.log(jnp.array([[0.1, 0.9], [0.4, 0.6], [0.5, 0.5], [0.5, 0.5]]))
    ours = log_prob_of(log_probs, jnp.array([1, 0, MASK, 2]))
    np.testing.assert_allclose(np.exp(ours), [0.9, 0.4, 0, 0], rtol=1e-6)


def in_order(denoiser, order, codes=(MASK,) * 3):
    """Probability of every row of ROWS, drawn in an order given the visible codes."""
    out = []
    for row in ROWS:
        x, p = np.array(codes), 1.0
        for j in order:
            if x[j] == MASK:
                p *= probabilities(denoiser, x)[j, row[j]]
                x[j] = row[j]
        out.append(p * (x == row).all())
    return np.array(out)


@both
@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_the_chain_rule_gives_a_distribution_in_any_order(denoiser, order):
    with float64():
        chain = lambda x: chain_log_prob(denoiser, x, jnp.array(order))
        ours = np.exp(jax.jit(jax.vmap(chain))(jnp.asarray(ROWS)))
    np.testing.assert_allclose(ours, in_order(denoiser, order), rtol=1e-10)
    assert np.isclose(ours.sum(), 1)
    if denoiser is ORACLE:
        np.testing.assert_allclose(ours, TABLE.ravel(), rtol=1e-10)


@pytest.mark.parametrize(
    ("denoiser", "codes"),
    [(NETWORK, [MASK] * 3), (NETWORK, [MASK, 1, MASK]), (ORACLE, [MASK] * 3), (ORACLE, [0, MASK, 1])],
)
def test_rows_drawn_in_an_order_have_the_distribution_of_the_chain_rule(denoiser, codes):
    """Chi-squared over all rows; a right sampler fails once in a million."""
    order, codes = np.array([2, 0, 1]), np.array(codes)
    rows = np.asarray(drawn_in_order(denoiser, codes, order, jax.random.key(8)))
    assert_sampled(rows, ROWS, in_order(denoiser, order, codes))
    if denoiser is ORACLE:
        agrees = np.where(((codes == MASK) | (codes == ROWS)).all(axis=1), TABLE.ravel(), 0)
        assert_sampled(rows, ROWS, agrees / agrees.sum())


def of_sampler(denoiser, name, steps, codes=(MASK,) * 3):
    """Probability of every row of ROWS under `sample_by_schedule`: the products of its transition matrices."""
    m = SHARE[name](np.arange(steps + 1) / steps)
    p = (np.array(codes) == STATES).all(axis=1).astype(float)
    for k in reversed(range(steps)):
        p = p @ np.array([reverse(denoiser, x_t, STATES, m[k + 1], m[k]) for x_t in STATES])
    return np.array([p[(row == STATES).all(axis=1)][0] for row in ROWS])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("denoiser", "name", "steps", "codes"),
    [
        (NETWORK, "linear", 3, [MASK] * 3),
        (NETWORK, "root", 2, [MASK, 2, MASK]),
        (ORACLE, "cosine", 2, [MASK] * 3),
    ],
)
def test_rows_drawn_by_a_schedule_have_the_distribution_of_its_steps(denoiser, name, steps, codes):
    """Chi-squared over all rows; a right sampler fails once in a million."""
    rows = np.asarray(drawn_by_schedule(denoiser, SCHEDULES[name], np.array(codes), steps, jax.random.key(9)))
    assert_sampled(rows, ROWS, of_sampler(denoiser, name, steps, codes))


def test_the_error_of_sampling_by_schedule_falls_with_its_steps():
    """Total variation, in NumPy, of the distribution that the test above finds the sampler to have."""
    errors = {
        name: [abs(of_sampler(ORACLE, name, T) - TABLE.ravel()).sum() / 2 for T in (1, 2, 4, 8)] for name in SHARE
    }
    for of_name in errors.values():
        assert (np.diff(of_name) < 0).all()
        assert of_name[-1] < of_name[0] / 3
    assert of_name[0] > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, 5])
def test_independent_columns_are_exact_in_any_number_of_steps(steps):
    """Chi-squared over all rows; a right sampler fails once in a million."""
    columns = [[0.2, 0.8, 0], [0.5, 0.1, 0.4], [0.7, 0.3, 0]]
    oracle = ProductMixtureOracle([1], [columns], SIZES)
    rows = np.asarray(drawn_by_schedule(oracle, CosineMasking(), np.full(3, MASK), steps, jax.random.key(10)))
    assert_sampled(rows, ROWS, np.prod([np.array(columns[j])[ROWS[:, j]] for j in range(3)], axis=0))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int64])
def test_codes_of_any_integer_type_are_taken_in_either_precision(dtype):
    codes, order, key = np.array([1, 2, 0], dtype), np.arange(3, dtype=dtype), jax.random.key(0)
    visible = np.array([True, True, False])
    for answer in (lambda f, *args: f(*args), exactly):
        rows = answer(lambda: sample_in_order(NETWORK, codes, visible, order, key))
        others = answer(lambda: sample_by_schedule(NETWORK, LinearMasking(), codes, visible, 2, key))
        assert rows[:2].tolist() == others[:2].tolist() == [1, 2]


@pytest.mark.slow
def test_a_sampler_goes_on_where_its_own_row_is_impossible():
    # In one step of two equal columns half of the rows are impossible; the third column is drawn all the same.
    table = np.zeros((2, 2, 2))
    table[0, 0], table[1, 1] = [0.5, 0], [0, 0.5]
    oracle = EnumeratedOracle(table)
    rows = np.asarray(drawn_by_schedule(oracle, LinearMasking(), np.full(3, MASK), 2, jax.random.key(11)))
    assert ((rows >= 0) & (rows < 2)).all()
    assert (rows[:, 0] != rows[:, 1]).any()
