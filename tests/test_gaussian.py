"""A denoiser about a Gaussian law: exact where the data is Gaussian, whatever is known of a row."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from sklearn.covariance import empirical_covariance
from tests.conftest import SMALL
from tests.reference import SCHEDULES, Z, float64

import motes
from motes.build import build_denoiser
from motes.diffusion.denoiser import Cells, Given
from motes.diffusion.oracles import GaussianOracle, MixtureOracle
from motes.diffusion.schedules import VarianceExploding
from motes.learning.choice import choose
from motes.learning.covariances import LEAST_VARIANCE
from motes.learning.denoisers import Conditional, GaussianPreconditioned
from motes.learning.evidence import Evidence
from motes.learning.mixture import Choice, Mixture
from motes.learning.networks import ResidualMLP
from motes.learning.weights import weights_of, with_weights
from motes.recipes import load_recipe
from motes.sampling.likelihood import log_likelihood

RNG = np.random.default_rng(0)
MEAN = np.array([0.3, -0.2, 0.5, 0.0])
ROOT = RNG.standard_normal((4, 4)) * [1.0, 0.7, 0.3, 0.05]
COVARIANCE = ROOT @ ROOT.T


class Silent(eqx.Module):
    """Says 0, with a third input or without one."""

    def __call__(self, x, time, context=None):
        return jnp.zeros(len(x) // 2)


def law_of(mean, covariance):
    variances, axes = np.linalg.eigh(covariance)
    return Mixture.of(mean, axes, variances, np.zeros(1), np.zeros((0, 1)), mean[None], axes[None], variances[None])


WEIGHTS = np.array([0.5, 0.3, 0.2])
MEANS = np.array([MEAN, -MEAN, [2.0, 0.0, 0.0, 1.0]])
COVARIANCES = np.stack([COVARIANCE, np.diag([0.2, 0.5, 1.0, 0.01]), 0.3 * COVARIANCE[::-1, ::-1]])


def mixture(schedule, network, of_classes=None):
    """Of the three above, which have other weights in each class."""
    variances, axes = np.linalg.eigh(COVARIANCES)
    own = np.zeros((0, len(WEIGHTS))) if of_classes is None else np.log(of_classes)
    law = Mixture.of(MEAN, *np.linalg.eigh(COVARIANCE)[::-1], np.log(WEIGHTS), own, MEANS, axes, variances)
    return GaussianPreconditioned(network=network, schedule=schedule, law=law)


def silent(schedule, mean=MEAN, covariance=COVARIANCE):
    return GaussianPreconditioned(network=Silent(), schedule=schedule, law=law_of(mean, covariance))


@pytest.mark.parametrize("name", SCHEDULES)
def test_with_a_silent_network_it_is_the_exact_denoiser_of_gaussian_data(name):
    schedule = SCHEDULES[name]
    x_t, t = RNG.standard_normal((50, 4)) * 3, np.tile([0.02, 0.1, 0.3, 0.7, 1.0], 10)
    with float64():
        for ours, oracle in (
            (silent(schedule), GaussianOracle(MEAN, COVARIANCE, schedule)),
            (mixture(schedule, Silent()), MixtureOracle(WEIGHTS, MEANS, COVARIANCES, schedule)),
        ):
            found, exact = (jax.vmap(one.x0_and_eps)(jnp.asarray(x_t), jnp.asarray(t)) for one in (ours, oracle))
            for said, true in zip(found, exact, strict=True):
                np.testing.assert_allclose(said, true, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("d", [1, 4])
def test_its_likelihood_is_that_of_the_gaussian(d):
    x = RNG.multivariate_normal(MEAN, COVARIANCE, 20)[:, :d]
    found = log_likelihood(silent(VarianceExploding(1e5, 7.0), MEAN[:d], COVARIANCE[:d, :d]), x, tolerance=1e-5)
    exact = stats.multivariate_normal(MEAN[:d], COVARIANCE[:d, :d]).logpdf(x)
    np.testing.assert_allclose(found.log_prob, exact, atol=2e-4)


def given_known(asked, known, x0, schedule):
    """The exact denoiser of the asked columns of the mixture, given the known ones."""
    log_weights, means, covariances = np.log(WEIGHTS), [], []
    for k, (mean, covariance) in enumerate(zip(MEANS, COVARIANCES, strict=True)):
        gain = covariance[np.ix_(asked, known)] @ np.linalg.inv(covariance[np.ix_(known, known)])
        means.append(mean[asked] + gain @ (x0 - mean)[known])
        covariances.append(covariance[np.ix_(asked, asked)] - gain @ covariance[np.ix_(known, asked)])
        if len(known):
            log_weights[k] += stats.multivariate_normal(mean[known], covariance[np.ix_(known, known)]).logpdf(x0[known])
    return MixtureOracle(np.exp(log_weights - log_weights.max()), means, covariances, schedule)


def test_what_is_known_of_a_row_is_taken_in_exactly():
    schedule = SCHEDULES["exploding"]
    told = Conditional(mixture(schedule, Silent()), columns=4)
    x0, eps, t = np.array([0.5, -1.0, 0.8, 0.4]), np.array([0.3, -0.2, 1.1, 0.6]), 0.5
    for state in ([0, 0, 0, 0], [0, 1, 0, 1], [2, 0, 0, 0], [0, 1, 2, 0], [1, 1, 0, 2], [2, 0, 2, 1]):
        state = np.array(state)  # 0 asked for, 1 known, 2 absent
        asked, known = (state == 0).nonzero()[0], (state == 1).nonzero()[0]
        x_t = np.where(state == 2, 9.0, x0 + float(schedule.sigma(t)) * eps)
        cells = Cells(jnp.where(state == 1, x0, 0.0), jnp.asarray(state == 1), jnp.asarray(state == 2))
        with float64():
            found = np.asarray(told.given(Given(cells=cells))(jnp.asarray(x_t), jnp.asarray(t)))
            exact = given_known(asked, known, x0, schedule)(jnp.asarray(x_t[asked]), jnp.asarray(t))
        np.testing.assert_allclose(found[asked], exact, atol=2e-4)  # of the jitter
        np.testing.assert_allclose(found[known], x0[known], atol=1e-6)


def test_the_components_of_a_class_are_taken_in_exactly():
    schedule, of_classes = SCHEDULES["exploding"], np.array([[0.05, 0.9, 0.05], [0.4, 0.2, 0.4]])
    told = Conditional(mixture(schedule, Silent(), of_classes), classes=2)
    x_t, t = jnp.asarray(RNG.standard_normal((20, 4)) * 2), jnp.asarray(np.tile([0.1, 0.4], 10))
    with float64():
        for label, weights in ((-1, WEIGHTS), (0, of_classes[0]), (1, of_classes[1])):
            one, exact = (
                told.given(Given(label=jnp.asarray(label))),
                MixtureOracle(weights, MEANS, COVARIANCES, schedule),
            )
            np.testing.assert_allclose(jax.vmap(one)(x_t, t), jax.vmap(exact)(x_t, t), atol=1e-6)
        nothing, exact = told.given(Given()), MixtureOracle(WEIGHTS, MEANS, COVARIANCES, schedule)
        np.testing.assert_allclose(jax.vmap(nothing)(x_t, t), jax.vmap(exact)(x_t, t), atol=1e-6)


def test_where_noise_hides_the_data_the_slope_of_any_network_is_near_a_covariance():
    """Cov[x_0 | x_t] = r^2 d x0_hat / dy: what a network adds to that of the data does not grow with the noise."""
    schedule = VarianceExploding(1000.0)
    network = ResidualMLP(8, 32, 2, outputs=4, key=jax.random.key(1))
    network = with_weights(network, 0.3 * np.random.default_rng(5).standard_normal(weights_of(network).size))
    denoiser = GaussianPreconditioned(network=network, schedule=schedule, law=law_of(MEAN, COVARIANCE))

    @jax.jit
    def covariance(t):
        return schedule.sigma(t) ** 2 * jax.jacfwd(denoiser)(jnp.asarray(MEAN), t)

    with float64():
        r = [float(schedule.sigma(jnp.asarray(t))) for t in (0.6, 1.0)]
        near, far = (np.abs(covariance(jnp.asarray(t)) - COVARIANCE).max() for t in (0.6, 1.0))
    assert r[1] > 15 * r[0] > 200
    assert near > 0  # the network does say something
    assert far < 3 * near


# --- the law ---------------------------------------------------------------------------------------------------------


def fitted(x, most=1, weights=None, present=None):
    rows = Evidence(x, weights, present)
    return Mixture.fit(rows, choose(rows, most))


def log_density(law, x):
    """Of rows (n, d), by SciPy."""
    covariances = np.asarray(law.covariances, float)
    parts = [
        weight + stats.multivariate_normal(mean, (covariance + covariance.T) / 2).logpdf(x)
        for weight, mean, covariance in zip(law.log_weights, law.means, covariances, strict=True)
    ]
    return np.logaddexp.reduce(parts)


def test_the_law_of_many_rows_is_their_mean_and_covariance():
    x = RNG.multivariate_normal(MEAN, COVARIANCE, 3000)
    law = fitted(x)
    np.testing.assert_allclose(law.mean, x.mean(axis=0), atol=1e-5)
    # Shrunk by next to nothing.
    assert np.abs(law.covariances[0] - empirical_covariance(x)).max() < 2e-3
    np.testing.assert_allclose(law.axes.T @ law.axes, np.eye(4), atol=1e-5)


def test_few_rows_are_shrunk_and_fresh_ones_are_likelier_for_it():
    rng = np.random.default_rng(1)
    root = rng.standard_normal((12, 12))
    x, fresh = (rng.standard_normal((n, 12)) @ root for n in (30, 2000))
    mean, scale = x.mean(axis=0), x.std(axis=0)
    shrunk, plain = (
        stats.multivariate_normal(np.zeros(12), np.asarray(covariance, float)).logpdf((fresh - mean) / scale)
        for covariance in (fitted((x - mean) / scale).covariances[0], empirical_covariance(x / scale))
    )
    assert (shrunk - plain).mean() > Z * (shrunk - plain).std() / np.sqrt(2000)


def test_heaps_are_found_and_fresh_rows_are_likelier_for_it():
    rng = np.random.default_rng(2)
    draw = lambda n: (
        MEANS[which := rng.choice(3, n, p=WEIGHTS)] * 3
        + np.einsum("nij,nj->ni", np.linalg.cholesky(COVARIANCES)[which], rng.standard_normal((n, 4)))
    )
    x, fresh, schedule = draw(900), draw(2000), VarianceExploding(20.0)
    law = fitted(x, 8)
    assert law.means.shape[0] >= 3
    assert fitted(x, 2).means.shape[0] == 2
    weights = np.exp(np.asarray(law.log_weights, float))
    covariances = np.asarray(law.covariances, float)
    covariances = (covariances + covariances.swapaxes(1, 2)) / 2  # symmetric in float64
    several = MixtureOracle(weights / weights.sum(), law.means, covariances, schedule)
    one = GaussianOracle(x.mean(axis=0), empirical_covariance(x), schedule)
    more = np.asarray(several.rows(fresh, 0.0).log_prob - one.rows(fresh, 0.0).log_prob)
    assert more.mean() > Z * more.std() / np.sqrt(2000)


def test_components_are_as_narrow_as_they_are():
    """The first look, at two components, takes two of three heaps for one and wants them blurred."""
    rng = np.random.default_rng(4)
    stds = np.array([[0.2, 1.5], [1.5, 0.2], [0.4, 0.4]])
    which = rng.integers(3, size=6000)
    x = np.array([[0.0, 0.0], [0.0, 0.0], [3.0, 3.0]])[which] + stds[which] * rng.standard_normal((6000, 2))
    rows = Evidence(x / x.std(axis=0))
    chosen = choose(rows, 8)
    assert chosen.components >= 3
    law = Mixture.fit(rows, chosen)
    narrow = np.sqrt(np.asarray(law.each_variances).min(axis=1))
    exact = 0.2 / x.std(axis=0)
    assert abs(narrow.min() / exact.min() - 1) < 0.1


def test_each_class_has_the_heaps_that_its_rows_lie_in():
    """Class 0 has the first two of three heaps, one row in four in the first; class 1 the third, and class 2 all."""
    rng = np.random.default_rng(8)
    heap = np.repeat([0, 1, 2, 0, 1, 2], [100, 300, 200, 50, 30, 20])
    labels = np.repeat([0, 1, 2], [400, 200, 100]).astype(np.int32)
    x = 20 * np.array([[0, 0], [1, 0], [0, 1]])[heap] + rng.standard_normal((700, 2))
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    rows = Evidence(x, labels=labels, classes=3)
    law = Mixture.fit(rows, Choice(components=3, blur=1e-3))
    centre = np.array([x[heap == k].mean(axis=0) for k in range(3)])
    order = [int(np.square(law.means - one).sum(axis=1).argmin()) for one in centre]
    own = np.exp(law.of_classes)[:, order]
    np.testing.assert_allclose(own, [[0.25, 0.75, 0], [0, 0, 1], [0.5, 0.3, 0.2]], atol=1e-3)
    np.testing.assert_allclose(np.exp(law.log_weights)[order], np.array([150, 330, 220]) / 700, atol=1e-3)
    assert (own > 0).all()  # none is impossible
    weights = np.where(heap == 1, 3.0, 1.0)  # rows are drawn that often: of class 0, 100 to 900
    weighted = Mixture.fit(rows._replace(weights=weights), Choice(components=3, blur=1e-3))
    largest = np.exp(weighted.of_classes).max(axis=1)
    np.testing.assert_allclose(largest, [0.9, 1, 90 / 160], atol=0.07)  # four times as far as a draw goes astray
    alone = Mixture.fit(rows, Choice())
    np.testing.assert_array_equal(alone.of_classes, np.zeros((3, 1)))


def test_components_begin_in_the_heaps_of_labels():
    """Two labels, in each of which 24 other columns are one normal law: two components that mix them fit far worse."""
    rng = np.random.default_rng(12)
    root = rng.standard_normal((24, 24))
    apart = np.append(0.5 * root @ rng.standard_normal(24), 1.0)

    def draw(n):
        label = rng.integers(2, size=n)
        noise = np.hstack([rng.standard_normal((n, 24)) @ root.T, 0.15 * rng.standard_normal((n, 1))])
        return noise + np.outer(label, apart), label

    (x, label), (fresh, _) = draw(600), draw(1000)
    heaps = np.append(np.zeros(24), 0.15 / x[:, -1].std())
    x, fresh = ((part - x.mean(axis=0)) / x.std(axis=0) for part in (x, fresh))
    choice = Choice(share=1e-4, components=2, blur=0.1)
    law = Mixture.fit(Evidence(x, heaps=heaps), choice)
    exact = [x[label == k, -1].mean() for k in range(2)]
    np.testing.assert_allclose(np.sort(law.means[:, -1]), exact, atol=0.02)
    # No more than the blur beside that of the heaps: a label is not taken for the other.
    np.testing.assert_allclose(np.sqrt(law.covariances[:, -1, -1]), heaps[-1] * np.sqrt(1 + 0.1), rtol=0.15)
    more = log_density(law, fresh) - log_density(Mixture.fit(Evidence(x), choice), fresh)
    assert more.mean() > Z * more.std() / np.sqrt(1000)


def test_components_of_classes_begin_where_these_lie_apart():
    """In one of 30 columns two classes are 4 deviations apart: Bayes' rule is wrong in 2 % of the rows."""
    rng = np.random.default_rng(15)
    labels = rng.integers(2, size=300).astype(np.int32)
    x = rng.standard_normal((300, 30))
    x[:, 0] += 4.0 * labels
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    law = Mixture.fit(Evidence(x, labels=labels, classes=2), Choice(components=2, blur=0.1))
    own = np.exp(law.of_classes)
    assert own.max(axis=1).min() > 0.9 and len(set(own.argmax(axis=1).tolist())) == 2


def test_classes_that_overlap_have_components_of_their_own():
    """Two classes are 2 deviations apart in one of 20 columns, and no heap shows: Bayes' rule is wrong in 15.9 %."""
    rng = np.random.default_rng(16)

    def draw(n):
        labels = rng.integers(2, size=n).astype(np.int32)
        return rng.standard_normal((n, 20)) + np.outer(2.0 * labels - 1, np.eye(20)[0]), labels

    (x, labels), (fresh, told) = draw(1000), draw(4000)
    assert choose(Evidence(x), 8).components == 1
    rows = Evidence(x, labels=labels, classes=2)
    law = Mixture.fit(rows, choose(rows, 8))
    each = np.stack([log_density(law.given(k), fresh) for k in range(2)], axis=1)
    wrong = (each.argmax(axis=1) != told).mean()
    exact = stats.norm.cdf(-1)
    assert wrong < exact + 0.03 + Z * np.sqrt(exact / 4000)  # of so few rows nobody learns it exactly


def test_components_of_equal_rows_begin_somewhere():
    """Of three rows, each of them many times, four components cannot all have one."""
    rows = np.tile(np.random.default_rng(13).standard_normal((3, 2)), (20, 1))
    labels = np.tile([0, 1, 1], 20).astype(np.int32)
    law = Mixture.fit(Evidence(rows, labels=labels, classes=2), Choice(components=4, blur=0.1))
    assert np.isfinite(law.means).all()
    np.testing.assert_allclose(np.exp(law.log_weights).sum(), 1, rtol=1e-6)


def test_more_components_must_be_worth_it():
    rng = np.random.default_rng(9)
    x = 4 * np.array([[0, 0], [1, 0], [0, 1], [1, 1]])[rng.integers(4, size=2000)] + rng.standard_normal((2000, 2))
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    free, dear = choose(Evidence(x), 16), choose(Evidence(x), 16, worth=5.0)
    assert free.components >= 4
    assert dear.components == 1


def test_a_gaussian_is_taken_for_one():
    assert choose(Evidence(np.random.default_rng(3).standard_normal((400, 3))), 8).components == 1


def test_weights_of_the_law_are_repetitions():
    x = RNG.multivariate_normal(MEAN, COVARIANCE, 40)
    weights, choice = np.arange(40) % 4, Choice(0.01)
    once = Mixture.fit(Evidence(x, weights.astype(float)), choice)
    often = Mixture.fit(Evidence(np.repeat(x, weights, axis=0)), choice)
    np.testing.assert_allclose(once.mean, often.mean, atol=1e-6)
    np.testing.assert_allclose(once.covariances, often.covariances, atol=1e-5)


def test_missing_cells_are_not_read():
    """Of the mixture as a whole: of filled-in rows the choice may take more components than one, by chance."""
    rng = np.random.default_rng(17)
    x = rng.multivariate_normal(MEAN, COVARIANCE, 4000)
    present = rng.random(x.shape) < 0.7
    law = fitted(np.where(present, x, 1e6), 4, None, present)
    weights = np.exp(law.log_weights)
    mean = weights @ law.means
    away = law.means - mean
    covariance = np.einsum("k,kij->ij", weights, law.covariances) + (away.T * weights) @ away
    for found in (mean, law.mean):
        np.testing.assert_allclose(found, MEAN, atol=Z * np.sqrt(np.diag(COVARIANCE).max() / 2000))
    assert np.abs(covariance - COVARIANCE).max() < Z * 3 * COVARIANCE.max() / np.sqrt(2000)


def test_columns_that_follow_from_others_keep_a_least_variance():
    x = RNG.standard_normal((500, 2))
    law = fitted(np.column_stack([x, x.sum(axis=1) / np.sqrt(2)]))
    assert law.variances.min() >= 0.99 * LEAST_VARIANCE
    assert np.isfinite(law.covariances).all()


# --- in a model ------------------------------------------------------------------------------------------------------

ABOUT = SMALL | {"denoiser.kind": "gaussian"}


def test_training_leaves_the_law_alone_and_a_file_holds_it(tmp_path):
    x = motes.draw("moons", 300)
    model = motes.fit(x, changes=ABOUT, seed=1)
    law = fitted(model.standardiser.forward(x))
    np.testing.assert_array_equal(model.denoiser.law.axes, law.axes)
    np.testing.assert_array_equal(model.denoiser.law.variances, law.variances)
    assert model.recipe.denoiser.components == 1
    assert model.parameters == weights_of(ResidualMLP(4, 16, 2, outputs=2, key=jax.random.key(0))).size
    model.save(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(motes.load(tmp_path / "model.safetensors").sample(10), model.sample(10))


def test_weights_go_there_and_back():
    denoiser = build_denoiser(
        load_recipe("default", ABOUT), 3, jax.random.key(0), law=law_of(np.zeros(3), np.diag(np.arange(1.0, 4.0)))
    )
    flat = weights_of(denoiser)
    moved = with_weights(denoiser, flat + 1)
    np.testing.assert_array_equal(weights_of(moved), flat + 1)
    assert eqx.tree_equal(moved.law, denoiser.law)


def test_a_column_alone_is_learned_sampled_and_scored():
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.normal(-2, 0.5, 1500), rng.normal(2, 0.5, 1500)])[:, None]
    changes = ABOUT | {"training.steps": 600, "training.batch": 256, "training.ema": 0.98}
    model = motes.fit(x, changes=changes, seed=2)
    mixture = lambda x: np.log(0.5 * stats.norm(-2, 0.5).pdf(x) + 0.5 * stats.norm(2, 0.5).pdf(x))
    fresh = np.concatenate([rng.normal(-2, 0.5, 500), rng.normal(2, 0.5, 500)])
    excess = mixture(fresh) - model.score_samples(fresh[:, None])
    single = mixture(fresh) - stats.norm(x.mean(), x.std()).logpdf(fresh)
    assert excess.mean() < 0.25 * single.mean()
    samples = model.sample(1000, seed=4)[:, 0]
    assert samples.shape == (1000,)
    assert 0.4 < (samples > 0).mean() < 0.6
