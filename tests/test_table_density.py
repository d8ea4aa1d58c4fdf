"""The densities of one column against SciPy, and the base against the formulas of a Gaussian mixture."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import expit, logsumexp

from motes.tables.mixture import (
    Base,
    Cells,
    Gaussians,
    LabelAxes,
    MixtureShape,
    base_of_pairs,
    choose_shape,
    components_given,
    first_gates,
    fit_base,
    in_order,
    log_mass_of,
    smoothed_shares,
)
from motes.tables.network import (
    experts_of,
    log_mass,
    mass_upto,
    mass_upto_tokens,
    masses_upto,
    token_masses,
)


def axes_of(y, lines):
    """The axes of y after the first `lines`, as those of one label."""
    return LabelAxes(np.zeros(y.shape[1] - lines, np.int32), -y[:, lines:].min(axis=0))


def numbers_only(log_weights, means, covariances):
    """A base without labels."""
    nothing = np.zeros_like(means)
    return Base(log_weights, means, covariances, np.ones(means.shape[1]), nothing, nothing)


ENDS = [(0.0, 0.1), (-3.0, -2.0), (2.0, 5.0), (-1e4, 0.3), (1.5, 1e4), (-1e4, 1e4), (7.0, 7.5), (0.4, 0.40001)]


@pytest.mark.parametrize(("low", "high"), ENDS)
@pytest.mark.parametrize(("mean", "sd"), [(0.0, 1.0), (0.4, 0.02), (-2.0, 3.0)])
def test_the_mass_of_a_cell_is_that_of_scipy(low, high, mean, sd):
    a, b = (low - mean) / sd, (high - mean) / sd
    a, b = (-b, -a) if a + b > 0 else (a, b)  # where the difference keeps its digits
    exact = np.log(max(stats.norm.cdf(b) - stats.norm.cdf(a), 1e-30))
    found = log_mass(*(jnp.float32(value) for value in (low, high, mean, sd)), jnp.float32(high - low))
    assert float(found) == pytest.approx(exact, abs=2e-3)
    if exact > -60:
        assert float(log_mass_of(*map(np.float64, (low, high, mean, sd)))) == pytest.approx(exact, abs=1e-6)


@pytest.mark.slow
def test_the_slope_of_a_mass_is_a_number_wherever_the_normal_lies():
    low, high = (jnp.array([cell[side] for cell in ENDS]) for side in (0, 1))
    for mean, sd in ((0.0, 1.0), (9e3, 1e-4), (-50.0, 0.01)):
        slopes = jax.grad(lambda mean, sd: log_mass(low, high, mean, sd, high - low).sum(), argnums=(0, 1))(mean, sd)
        assert all(np.isfinite(slope) for slope in slopes)


def test_a_base_of_pairs_has_the_correlation_of_the_rows_that_have_both():
    rng = np.random.default_rng(2)
    y = rng.multivariate_normal([0.3, -0.2, 0.0], [[1.0, 0.7, 0.0], [0.7, 1.0, -0.4], [0.0, -0.4, 1.0]], 4000)
    observed, weights = rng.random(y.shape) < 0.4, rng.integers(0, 3, len(y)).astype(float)
    found = base_of_pairs(np.where(observed, y, 0.0), observed, weights)
    again = np.repeat(np.arange(len(y)), weights.astype(int))
    np.testing.assert_allclose(
        found.covariances, base_of_pairs(y[again], observed[again], np.ones(len(again))).covariances, atol=1e-6
    )
    means = [y[again][observed[again, j], j].mean() for j in range(3)]
    np.testing.assert_allclose(found.means[0], means, atol=2e-3)
    for i, j in ((0, 1), (1, 2), (0, 0)):
        both = observed[again, i] & observed[again, j]
        exact = ((y[again][both, i] - means[i]) * (y[again][both, j] - means[j])).mean()
        assert float(found.covariances[0, i, j]) == pytest.approx(exact, abs=3e-3)  # one row of a normal was added


@pytest.mark.parametrize("columns", [0, 2])
def test_a_base_of_pairs_without_pairs_is_a_standard_normal(columns):
    base = base_of_pairs(np.zeros((5, columns)), np.zeros((5, columns), bool), np.ones(5))
    np.testing.assert_allclose(base.covariances, np.eye(columns)[None])
    np.testing.assert_allclose(base.means, np.zeros((1, columns)))


# --- tokens and densities within them ---------------------------------------------------------------------------------

# Five tokens of a line, the third of them a point mass, and one for missing entries.
LINE = Cells(
    np.float32([-4.0, -1.0, 0.2, 0.2, 1.0, 4.0, 4.0]),
    np.float32([0.2, 0.3, 0.1, 0.3, 0.1, 0.0]),
    np.array([True, False, False, False, False, False]),
    np.int32([2]),
    np.float32([[0.2 - 1e-3, 0.2 + 1e-3]]),
)


def cells_without_points(edges, shares):
    """Tokens without point masses; the first and the last one have no end."""
    ends = np.isin(np.arange(len(shares)), [0, len(shares) - 1])
    none = np.zeros(0, np.int32), np.zeros((0, 2), np.float32)
    return Cells(edges.astype(np.float32), np.float32(shares), ends, *none)


VISIBLE = Gaussians(*(jnp.float32(part) for part in (np.log([0.7, 0.3]), [0.5, -1.2], [0.3, 0.8])))
NOTHING = Gaussians(*(jnp.float32(part) for part in (np.log([0.5, 0.5]), [0.4, -0.3], [0.9, 1.1])))


def masses_by_scipy(normals):
    """The mass of each token by SciPy; for the point mass, that of the cell around it."""
    log_weights, means, sds = (np.asarray(part, float) for part in normals)
    ends = np.column_stack([LINE.edges[:-1], LINE.edges[1:]]).astype(float)
    ends[2] = LINE.around[0]
    cdf = stats.norm.cdf(ends[..., None], means, sds)
    return (cdf[:, 1] - cdf[:, 0]) @ np.exp(log_weights)


def experts_at(odds):
    given, alone = (token_masses(mass_upto_tokens(normals, LINE), LINE) for normals in (VISIBLE, NOTHING))
    return experts_of(jnp.float32(odds), given, alone, LINE)


def test_the_lift_of_a_token_is_a_ratio_of_masses_and_keeps_the_total():
    lifts = np.exp(np.asarray(experts_at(0.0).log_lifts, float))
    exact = masses_by_scipy(VISIBLE)[:5] / masses_by_scipy(NOTHING)[:5]
    np.testing.assert_allclose(lifts[:5] / lifts[0], exact / exact[0], rtol=1e-3)
    assert lifts @ LINE.shares == pytest.approx(1.0, abs=1e-4)
    assert lifts[5] == 1.0  # missing entries


@pytest.mark.parametrize("odds", [-3.0, 0.0, 3.0])
def test_the_density_within_a_token_sums_to_one_and_has_the_shape_of_the_normals(odds):
    experts, gate = experts_at(odds), expit(odds)
    even, scale = np.exp(np.asarray(experts.log_even, float)), np.exp(np.asarray(experts.log_scale, float))
    dense = [0, 1, 3, 4]
    np.testing.assert_allclose((even + scale * masses_by_scipy(VISIBLE))[dense], 1.0, rtol=1e-3)
    np.testing.assert_allclose(even[dense[1:]], gate, atol=1e-3)
    assert even[0] < 1e-3  # a token without an end
    assert (even[[2, 5]] == 1).all() and (scale[[2, 5]] == 0).all()  # a point mass and missing entries


def test_the_derivative_of_the_mass_below_is_that_of_its_formula():
    edges, weights = jnp.linspace(-3.0, 3.0, 9), jnp.arange(9.0) - 3.0
    directly = lambda normals: (masses_upto(normals, edges[:, None]).sum(-1) * weights).sum()
    slopes = jax.grad(lambda normals: (mass_upto(normals, edges) * weights).sum())(VISIBLE)
    for slope, exact in zip(slopes, jax.grad(directly)(VISIBLE), strict=True):
        np.testing.assert_allclose(slope, exact, rtol=2e-5)


def test_shares_are_smoothed_where_the_mixture_is_right_and_kept_where_it_is_wrong():
    rng, n = np.random.default_rng(0), 2000
    edges = np.concatenate([[-1e3], np.linspace(-2, 2, 39), [1e3]])
    base = numbers_only(np.zeros(1), np.zeros((1, 1)), np.ones((1, 1, 1)))

    def shares_of(x):
        shares = np.histogram(x, edges)[0] / n
        (smoothed,) = smoothed_shares(base, [cells_without_points(edges, shares)], n)
        assert smoothed.sum() == pytest.approx(1.0, abs=1e-5)
        return shares, smoothed

    exact = np.diff(stats.norm.cdf(edges))
    shares, smoothed = shares_of(rng.standard_normal(n))
    assert np.abs(smoothed - exact).sum() < 0.3 * np.abs(shares - exact).sum()
    shares, smoothed = shares_of(rng.standard_t(2, n) + 2.0)
    assert np.abs(smoothed - shares).sum() < 0.1 * np.abs(smoothed - exact).sum()


# --- the base ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mixture():
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((3, 4, 4)) * 0.5 + np.eye(4)
    covariances = np.einsum("cij,ckj->cik", factors, factors)
    weights, means = np.array([0.2, 0.5, 0.3]), rng.standard_normal((3, 4))
    return weights, means, covariances


def conditional(mixture, y, seen, j):
    """Weights, means and deviations of number j given those that are seen, by the textbook's formulas."""
    weights, means, covariances = mixture
    rows = []
    for weight, mean, covariance in zip(weights, means, covariances, strict=True):
        if not seen.any():
            rows.append((np.log(weight), mean[j], np.sqrt(covariance[j, j])))
            continue
        inner = covariance[np.ix_(seen, seen)]
        gain = np.linalg.solve(inner, covariance[seen, j])
        log_weight = np.log(weight) + stats.multivariate_normal(mean[seen], inner).logpdf(y[seen])
        rows.append(
            (
                log_weight,
                mean[j] + gain @ (y[seen] - mean[seen]),
                np.sqrt(covariance[j, j] - gain @ covariance[seen, j]),
            )
        )
    logs, centres, sds = np.array(rows).T
    return logs - np.logaddexp.reduce(logs), centres, sds


@pytest.mark.slow
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 0, 3, 1), (3, 2, 1, 0)])
def test_the_base_conditions_exactly_on_the_first_numbers_of_its_order(mixture, order):
    order = np.array(order)
    weights, means, covariances = (jnp.asarray(part, jnp.float32) for part in mixture)
    base = in_order(numbers_only(jnp.log(weights), means, covariances), jnp.asarray(order))
    y = np.random.default_rng(1).standard_normal((2, 4))
    for m in range(4):
        seen = np.zeros(4, bool)
        seen[order[:m]] = True
        found = components_given(base, jnp.asarray(y, jnp.float32), jnp.asarray(np.stack([seen, seen])))
        for j in order[m:]:
            for row in range(2):
                logs, centres, sds = conditional(mixture, y[row], seen, j)
                np.testing.assert_allclose(found.log_weights[row, j], logs, atol=2e-4)
                np.testing.assert_allclose(found.means[row, j], centres, atol=1e-4)
                np.testing.assert_allclose(found.sds[row, j], sds, atol=1e-4)


def gates_of(y, lines, log_even_within):
    """The initial gates of a base of one normal, with ten tokens for each number; log p within them is given."""
    numbers, cells, codes = y[:, :lines], [], np.empty((len(y), lines), int)
    for axis, number in enumerate(numbers.T):
        edges = np.concatenate([[-1e3], np.quantile(number, np.arange(1, 10) / 10), [1e3]]).astype(np.float32)
        codes[:, axis] = np.searchsorted(edges[1:-1], number)
        shares = np.bincount(codes[:, axis]) / len(y)
        cells.append(cells_without_points(edges, shares))
    log_even = np.log(0.1) + np.broadcast_to(log_even_within, numbers.shape)
    base = fit_base(y, np.ones(len(y)), axes_of(y, lines), MixtureShape(1, 0.0, 1e-6), 0)
    none = np.zeros((*numbers.shape, 0))
    return expit(first_gates(base, y, numbers, numbers, codes, cells, log_even, none, np.ones(len(y)))[0])


def test_gates_begin_where_the_entries_are_likeliest():
    # Each of two numbers says nearly all of the other, so the normals are narrower than any token.
    rng = np.random.default_rng(0)
    x = rng.standard_normal(1500)
    y = np.stack([x, x + 0.01 * rng.standard_normal(1500)], axis=1)
    spread = stats.norm.logpdf(y) - np.log(0.1)  # about the density of each token
    assert gates_of(y, 2, spread).max() < 0.1
    # They are as wide as the tokens are, and values recur: the even spread has more of each.
    assert gates_of(rng.standard_normal((1500, 2)), 2, 3.0).min() > 0.9


def labelled(n):
    """Rows of two numbers with means of their own for each of three labels, and of one number that ignores them."""
    rng = np.random.default_rng(5)
    label = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    means = np.array([[0.0, 1.0], [2.0, -1.0], [-1.0, 0.5]])
    numbers = np.column_stack([means[label] + 0.3 * rng.standard_normal((n, 2)), rng.standard_normal(n)])
    masses = np.bincount(label) / n
    return label, np.column_stack([numbers, ((label[:, None] == [0, 1]) - masses[:2])])


@pytest.mark.slow
def test_a_base_knows_the_mean_of_each_label_and_forgets_it_where_the_label_is_hidden():
    label, y = labelled(3000)
    base = fit_base(y, np.ones(len(y)), axes_of(y, 3), MixtureShape(1, 0.0, 1e-6), 0)
    in_turn = in_order(base, jnp.array([3, 4, 0, 1, 2]))
    rows = np.array([np.flatnonzero(label == k)[0] for k in range(3)])
    visible = jnp.zeros((3, 5), bool)
    hidden = components_given(in_turn, jnp.asarray(y[rows]), visible)
    known = components_given(in_turn, jnp.asarray(y[rows]), visible.at[:, 3:].set(True))
    for k in range(3):
        group = y[label == k, :3]
        np.testing.assert_allclose(known.means[k, :3, 0], group.mean(axis=0), atol=5e-3)
        np.testing.assert_allclose(known.sds[k, :3, 0], group.std(axis=0), atol=0.04)  # one sd for all labels
        np.testing.assert_allclose(hidden.means[k, :3, 0], y[:, :3].mean(axis=0), atol=1e-3)
        np.testing.assert_allclose(hidden.sds[k, :3, 0], y[:, :3].std(axis=0), rtol=1e-3)


def chosen(y, lines, most=8):
    """The shape that is chosen with each fifth of the rows left out."""
    return choose_shape(y, np.ones(len(y)), axes_of(y, lines), np.arange(len(y)) % 5 == np.arange(5)[:, None], most, 0)


@pytest.mark.slow
def test_components_are_chosen_for_the_numbers_and_not_for_the_labels():
    # Three labels are three modes, and say nothing of the numbers: one normal does for these.
    _, y = labelled(400)
    numbers = np.random.default_rng(7).standard_normal((400, 2))
    assert chosen(np.column_stack([numbers, y[:, 3:]]), 2).components == 1
    modes = np.column_stack([y[:, :2], y[:, 3:]])
    assert chosen(modes, 2).components <= chosen(modes[:, :2], 2).components


@pytest.mark.slow
def test_a_base_does_not_end_in_a_bad_optimum():
    # Of this mixture one start in three ends 0.27 nats short, and k-means finds the same start again.
    rng = np.random.default_rng(1)
    roots, means = rng.normal(size=(3, 6, 6)), 1.5 * rng.normal(size=(3, 6))
    weights = rng.dirichlet(np.full(3, 5.0))
    covariances = roots @ roots.swapaxes(1, 2) / 6 + 0.3 * np.eye(6)
    which = rng.choice(3, 48_000, p=weights)
    y = means[which] + np.einsum("nij,nj->ni", np.linalg.cholesky(covariances)[which], rng.normal(size=(len(which), 6)))
    log_density = lambda y, base: logsumexp(
        [log + stats.multivariate_normal(m, c).logpdf(y) for log, m, c in zip(*base[:3], strict=True)], axis=0
    ).mean()
    fresh, best = y[40_000:], (np.log(weights), means, covariances)
    for seed in range(4):
        base = fit_base(y[:40_000], np.ones(40_000), axes_of(y, 6), MixtureShape(3, 0.0, 1e-4), seed)
        assert log_density(fresh, base) > log_density(fresh, best) - 0.02


@pytest.mark.slow
def test_of_many_rows_left_out_ones_choose_as_few_components_as_will_do():
    # At most one choice in six is too large by chance: "to one standard error" of left-out rows.
    rng = np.random.default_rng(3)
    one = rng.multivariate_normal([0, 0, 0], [[1, 0.8, 0], [0.8, 1, 0.3], [0, 0.3, 1]], 5000)
    three = one + rng.choice([-5.0, 0.0, 5.0], (5000, 1))
    bent = np.stack([one[:, 0], one[:, 0] ** 2 + 0.1 * one[:, 1]], axis=1)
    assert [chosen(y, 3, most=6).components for y in (one, three)] == [1, 3]
    assert chosen(bent, 2, most=6).components == 6
