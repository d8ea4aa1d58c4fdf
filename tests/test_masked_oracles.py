"""Exact masked denoisers against sums over all rows in NumPy, against one another, and where probabilities are zero."""

import itertools

import equinox as eqx
import jax
import numpy as np
import pytest
from scipy import stats
from tests.reference import float64

from motes.diffusion.masked._oracles import EnumeratedOracle, MaskedOracle, ProductMixtureOracle
from motes.diffusion.masked._process import MASK

SIZES = (2, 3, 1, 3)
ROWS = np.array(list(itertools.product(*map(range, SIZES))))  # all rows, in the order of a raveled table
SETS = np.array(list(itertools.product([False, True], repeat=len(SIZES))))

# Three components of ragged columns, with zeros: no component has column 3 at 2 where column 0 is 1.
WEIGHTS = np.array([1.0, 2.0, 0.5])
PROBS = np.zeros((3, 4, 3))
PROBS[:, 0, :2] = [[0.3, 0.7], [1.0, 0.0], [0.6, 0.4]]
PROBS[:, 1, :3] = [[0.2, 0.5, 0.3], [0.7, 0.1, 0.2], [0.0, 0.25, 0.75]]
PROBS[:, 2, :1] = 1.0
PROBS[:, 3, :3] = [[0.5, 0.5, 0.0], [0.1, 0.2, 0.7], [0.9, 0.1, 0.0]]
P = sum(
    w * np.einsum("a,b,c,d->abcd", *(p[j, :size] for j, size in enumerate(SIZES)))
    for w, p in zip(WEIGHTS / WEIGHTS.sum(), PROBS, strict=True)
)

ORACLES: dict[str, MaskedOracle] = {
    "enumerated": EnumeratedOracle(7 * P),
    "mixture": ProductMixtureOracle(WEIGHTS, PROBS, SIZES),
}
each = pytest.mark.parametrize("oracle", ORACLES.values(), ids=ORACLES)


def by_enumeration(table, codes, visible):
    """p(x_j = k | visible) (d, K) and p(visible), summed over all rows."""
    rows = np.array(list(itertools.product(*map(range, table.shape))))
    agrees = ~((rows != codes) & visible).any(axis=1)
    p = np.where(agrees, table.ravel(), 0)
    total = p.sum()
    used = p / total if total > 0 else table.ravel()
    of_column = lambda j: [used[rows[:, j] == k].sum() for k in range(max(table.shape))]
    out = np.array([of_column(j) for j in range(table.ndim)])
    out[visible] = np.eye(max(table.shape))[np.asarray(codes)[visible]]
    return out, total


@eqx.filter_jit
def exact(oracle, codes, visible):
    return jax.vmap(oracle.exact)(codes, visible)


CASES = [(row, visible) for row in ROWS for visible in SETS]
CODES, VISIBLE = (np.array(part) for part in zip(*CASES, strict=True))


@each
@pytest.mark.parametrize(("double", "rtol"), [(False, 2e-5), (True, 1e-12)], ids=["float32", "float64"])
def test_every_conditional_is_the_sum_over_all_rows(oracle, double, rtol):
    if double:
        with float64():
            ours = exact(oracle, CODES, VISIBLE)
    else:
        ours = exact(oracle, CODES, VISIBLE)
    assert ours.log_probs.dtype == (np.float64 if double else np.float32)
    probs, total = (np.array(part) for part in zip(*(by_enumeration(P, *case) for case in CASES), strict=True))
    assert (total == 0).any()  # impossible conditions are among the cases
    np.testing.assert_allclose(np.exp(ours.log_probs), probs, rtol=rtol, atol=1e-15)
    np.testing.assert_allclose(np.exp(ours.log_prob), total, rtol=rtol, atol=1e-15)
    assert not np.isnan(ours.log_probs).any()
    assert (np.asarray(ours.log_prob)[total == 0] == -np.inf).all()


@pytest.mark.slow
def test_both_oracles_agree_on_larger_rows():
    rng = np.random.default_rng(1)
    weights, probs = rng.random(5), rng.random((5, 6, 4))
    table = np.einsum("z,za,zb,zc,zd,ze,zf->abcdef", weights, *(probs / probs.sum(2, keepdims=True)).swapaxes(0, 1))
    codes, visible = rng.integers(0, 4, (40, 6)), rng.random((40, 6)) < 0.5
    with float64():
        one = exact(EnumeratedOracle(table), codes, visible)
        two = exact(ProductMixtureOracle(weights, probs), codes, visible)
    np.testing.assert_allclose(one.log_probs, two.log_probs, rtol=1e-10)
    np.testing.assert_allclose(one.log_prob, two.log_prob, rtol=1e-10)


@each
def test_codes_of_masked_columns_are_not_read(oracle):
    visible = np.array([False, True, False, False])
    codes = np.array([[1, 2, 0, 0], [0, 2, 0, 2], [MASK, 2, MASK, 99]])
    log_probs = exact(oracle, codes, np.tile(visible, (3, 1))).log_probs
    np.testing.assert_array_equal(log_probs[0], log_probs[1])
    np.testing.assert_array_equal(log_probs[0], log_probs[2])


@each
def test_a_condition_of_probability_zero_is_left_out(oracle):
    codes, visible = np.array([[1, 0, 0, 2]] * 2), np.array([[True, False, False, True], [False] * 4])
    log_probs, log_prob = exact(oracle, codes, visible)
    ours, without = np.exp(log_probs)
    assert log_prob[0] == -np.inf
    np.testing.assert_allclose(ours[1:3], without[1:3], rtol=1e-6)
    np.testing.assert_array_equal(ours[[0, 3]], [[0, 1, 0], [0, 0, 1]])


@each
def test_a_code_that_the_column_lacks_has_probability_zero(oracle):
    codes = np.array([[code, 0, 0, 0] for code in (MASK, 2, 3, 99)])
    log_probs, log_prob = exact(oracle, codes, np.array([[True, False, False, False]] * 4))
    assert (log_prob == -np.inf).all()
    assert not np.isnan(log_probs).any()


@each
def test_log_prob_is_that_of_the_row(oracle):
    log_prob = jax.jit(jax.vmap(oracle.log_prob))(ROWS)
    visible = jax.jit(jax.vmap(oracle.log_prob_visible))(ROWS, np.arange(4) < np.full((len(ROWS), 1), 2))
    np.testing.assert_allclose(np.exp(log_prob), P.ravel(), rtol=1e-5)
    np.testing.assert_allclose(np.exp(visible), P.sum(axis=(2, 3))[tuple(ROWS[:, :2].T)], rtol=1e-5)


def test_no_small_probability_is_lost_in_float32():
    # exp(-150) is 0 in float32; its logarithm and the conditionals given it are not.
    tiny = np.exp(-150.0)
    table = np.array([[1 - 4 * tiny, 0], [tiny, 3 * tiny]])
    mixture = ProductMixtureOracle([1 - 4 * tiny, 4 * tiny], [[[1, 0], [1, 0]], [[0, 1], [0.25, 0.75]]])
    for oracle in EnumeratedOracle(table), mixture:
        log_probs, log_prob = exact(oracle, np.array([[1, 0], [0, 0]]), np.array([[True, False], [False, False]]))
        assert np.isclose(log_prob[0], -150 + np.log(4), rtol=1e-6)
        np.testing.assert_allclose(np.exp(log_probs[0, 1]), [0.25, 0.75], rtol=1e-5)
        assert np.isclose(log_probs[1, 0, 1], -150 + np.log(4), rtol=1e-6)


@each
def test_samples_have_the_distribution(oracle):
    """Chi-squared; each of the two tests fails once in a million times where the sampler is right."""
    n = 20_000
    rows = jax.jit(jax.vmap(oracle.sample))(jax.random.split(jax.random.key(3), n))
    counts = np.bincount(np.ravel_multi_index(np.asarray(rows).T, SIZES), minlength=P.size)
    assert not counts[P.ravel() == 0].any()
    seen = P.ravel() > 0
    assert stats.chisquare(counts[seen], n * P.ravel()[seen]).pvalue > 1e-6


def test_sizes_are_those_of_the_columns():
    assert ORACLES["enumerated"].sizes == ORACLES["mixture"].sizes == SIZES
    assert ProductMixtureOracle([1], np.ones((1, 2, 5))).sizes == (5, 5)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: EnumeratedOracle(1.0), r"shape \(\)"),
        (lambda: EnumeratedOracle([[0.5, -0.5]]), "the table"),
        (lambda: EnumeratedOracle([0.0, 0.0]), "zeros alone"),
        (lambda: EnumeratedOracle([0.0, np.nan]), "not finite"),
        (lambda: ProductMixtureOracle([1, 1], np.ones((3, 2, 2))), r"\(2,\), probs of shape \(3, 2, 2\)"),
        (lambda: ProductMixtureOracle([-1, 2], np.ones((2, 2, 2))), "the weights"),
        (lambda: ProductMixtureOracle([1], np.zeros((1, 2, 2))), "a column of a component"),
        (lambda: ProductMixtureOracle([1], np.ones((1, 2, 2)), [2]), "expected 2 numbers from 1 to K = 2"),
        (lambda: ProductMixtureOracle([1], np.ones((1, 2, 2)), [2, 3]), "expected 2 numbers from 1 to K = 2"),
        (lambda: ProductMixtureOracle([1], np.ones((1, 2, 2)), [2, 1]), "beyond the 1 codes of column 1"),
    ],
)
def test_what_is_no_distribution_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
