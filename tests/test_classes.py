"""Classes: exact denoisers of each, learned ones, guidance, and the classifier that follows from densities."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from tests.conftest import SMALL
from tests.reference import SCHEDULES, Z

import motes
from fits import fit_points
from motes.data.points import Classes
from motes.errors import DataError, RecipeError, UsageError
from motes.loading import load
from motes.points import sample
from motes.points.denoisers import Given
from motes.points.exact import GaussianOracle, LabelledOracle, MixtureOracle
from motes.points.fitting import PointData
from motes.points.guidance import Guidance, Guided
from motes.points.likelihood import log_likelihood
from motes.points.samplers import DPMSolver2M
from motes.points.sampling import KarrasGrid, ReverseProcess
from motes.points.schedules import VarianceExploding
from motes.training.checkpoints import FitSession

SCHEDULE = VarianceExploding(200.0, 7.0)  # so much noise that the prior is that of every class
WEIGHTS = np.array([0.2, 0.5, 0.3])
MEANS = np.array([[-1.0, 0.5], [0.5, 0.0], [0.5, -1.5]])
COVARIANCES = np.array([[[0.3, 0.1], [0.1, 0.2]], [[0.1, 0.0], [0.0, 0.4]], [[0.2, -0.1], [-0.1, 0.1]]])


def three(schedule=SCHEDULE):
    parts = [GaussianOracle(mean, cov, schedule) for mean, cov in zip(MEANS, COVARIANCES, strict=True)]
    return LabelledOracle(parts, WEIGHTS)


def of(label):
    return Given(jnp.asarray(label))


# --- exact -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEDULES)
def test_all_classes_together_are_the_mixture_and_one_is_its_gaussian(name):
    oracle, t = three(SCHEDULES[name]), 0.4
    mixture = MixtureOracle(WEIGHTS, MEANS, COVARIANCES, SCHEDULES[name])
    x = jnp.array([0.7, -0.4])
    for one, other in [
        (oracle, mixture),
        (oracle.given(of(-1)), mixture),
        (oracle.given(of(2)), GaussianOracle(MEANS[2], COVARIANCES[2], SCHEDULES[name])),
    ]:
        for found, expected in zip(one.exact(x, t), other.exact(x, t), strict=True):
            np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-5)


def test_each_row_is_drawn_from_its_own_class_and_knows_nothing_of_the_others():
    labels = np.arange(6000) % 3
    process = ReverseProcess(three(), DPMSolver2M(), KarrasGrid(32, 0.01)(SCHEDULE), 2)
    draw = lambda labels: sample(process, 6000, key=jax.random.key(1), given=Given(labels))[0]
    points = draw(labels)
    for label in range(3):
        mine = points[labels == label]
        error = np.sqrt(np.diag(COVARIANCES[label]) / len(mine))
        assert (np.abs(mine.mean(axis=0) - MEANS[label]) < Z * error).all()
        # A variance of n normal numbers has the relative standard error sqrt(2 / n).
        assert (np.abs(mine.var(axis=0) / np.diag(COVARIANCES[label]) - 1) < Z * np.sqrt(2 / len(mine)) + 0.01).all()
    np.testing.assert_array_equal(draw(np.zeros(6000, int))[labels == 0], points[labels == 0])


@pytest.mark.slow
def test_the_likelihood_given_a_label_is_that_of_its_class():
    rng = np.random.default_rng(5)
    x, labels = 0.7 * rng.standard_normal((30, 2)), rng.integers(0, 3, 30)
    distribution = [stats.multivariate_normal(mean, cov) for mean, cov in zip(MEANS, COVARIANCES, strict=True)]
    expected = [distribution[label].logpdf(row) for row, label in zip(x, labels, strict=True)]
    whole = three(VarianceExploding(1e6, 7.0))
    np.testing.assert_allclose(log_likelihood(whole, x, given=Given(labels)).log_prob, expected, atol=1e-4)
    together = np.log(sum(weight * one.pdf(x) for weight, one in zip(WEIGHTS, distribution, strict=True)))
    np.testing.assert_allclose(log_likelihood(whole, x, given=Given(np.full(30, -1))).log_prob, together, atol=1e-4)


@pytest.mark.slow
def test_a_shape_knows_the_law_of_each_of_its_classes():
    truth = motes.truth("moons")
    x = motes.make_shape("moons", 50, seed=7)
    one, other = (np.exp(truth.of_class(label).log_density(x)) for label in (0, 1))
    np.testing.assert_allclose((one + other) / 2, np.exp(truth.log_density(x)), rtol=1e-9)
    oracle = truth.labelled_oracle(SCHEDULE)
    np.testing.assert_allclose(
        oracle.given(of(1)).rows(x, 0.6).x0, truth.of_class(1).oracle(SCHEDULE).rows(x, 0.6).x0, atol=1e-5
    )
    with pytest.raises(UsageError, match="no natural classes"):
        motes.truth("swiss_roll").labelled_oracle(SCHEDULE)
    with pytest.raises(UsageError, match="no class 2"):
        truth.of_class(2)


# --- guidance --------------------------------------------------------------------------------------------------------


def test_guidance_is_the_line_through_both_scores_inside_its_interval_and_nothing_outside():
    schedule, t, x = VarianceExploding(10.0, 7.0), 0.6, jnp.array([0.4, 0.1])
    whole = three(schedule)
    class_score, score = whole.given(of(1)).score(x, t), whole.score(x, t)
    guided = Guided(whole, whole, Guidance(2.5, 0.5, 0.7)).given(of(1))
    np.testing.assert_allclose(guided.score(x, t), score + 2.5 * (class_score - score), rtol=1e-4)
    # Tweedie's formula holds for what comes out, too.
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    np.testing.assert_allclose(alpha * guided(x, t), x + sigma**2 * guided.score(x, t), rtol=1e-4, atol=1e-5)
    for outside in (0.45, 0.75):
        np.testing.assert_allclose(guided(x, outside), whole.given(of(1))(x, outside), atol=1e-6)


# --- learned ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def moons():
    """Trained for a few seconds with labels; 4,000 rows."""
    x, labels = motes.data.make_labelled_shape("moons", 4000, seed=11)
    return fit_points(
        PointData(x, labels=labels), changes={"training.steps": 1500}, seed=2, session=FitSession(source="moons")
    )


@pytest.mark.slow
def test_the_learned_classes_have_the_exact_densities(moons):
    truth = motes.truth("moons")
    x, labels = motes.data.make_labelled_shape("moons", 400, seed=12)
    exact = np.where(labels == 0, *(truth.of_class(label).log_density(x) for label in (0, 1)))
    found = moons.score_samples(x, label=labels)
    # The mean over fresh points is the excess in nats: from above 0 but for chance, and small.
    excess = exact - found
    assert -Z * excess.std() / 20 < excess.mean() < 0.15
    # Without a label it is the distribution of all.
    together = truth.log_density(x) - moons.score_samples(x)
    assert -Z * together.std() / 20 < together.mean() < 0.15


@pytest.mark.slow
def test_the_classifier_is_the_exact_one(moons):
    x, labels = motes.data.make_labelled_shape("moons", 400, seed=13)
    truth = motes.truth("moons")
    log_p = np.stack([truth.of_class(label).log_density(x) for label in (0, 1)], axis=1)
    exact = np.exp(log_p - np.logaddexp(*log_p.T)[:, None])
    found, names = moons.predict_proba(x)
    assert names == [0, 1]
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)
    assert np.abs(found - exact).mean() < 0.01
    assert (found.argmax(axis=1) == labels).mean() > 0.99
    some = x[:50]
    np.testing.assert_array_equal(moons.predict(some), found[:50].argmax(axis=1))
    joint = np.stack([moons.score_samples(some, label=label) for label in (0, 1)], axis=1)  # equally frequent
    np.testing.assert_allclose(found[:50, 0], 1 / (1 + np.exp(joint[:, 1] - joint[:, 0])), atol=1e-6)


@pytest.mark.slow
def test_samples_of_a_class_are_of_that_class(moons):
    truth = motes.truth("moons")
    for label in (0, 1):
        points = moons.sample(500, label=label, seed=21)
        assert (truth.labels(points) == label).mean() > 0.98
    mixed = moons.sample(6, label=[0, 1, 0, 1, 0, 1], seed=21)
    np.testing.assert_allclose(mixed[1::2], moons.sample(6, label=1, seed=21)[1::2], atol=1e-5)


def test_the_least_loss_knows_of_the_labels(monkeypatch):
    from motes.evaluation.models import least_loss
    from motes.evaluation.sources import read_points
    from motes.recipes import load_recipe

    monkeypatch.setattr("motes.evaluation.models.LEAST_LOSS_PAIRS", 0)  # as few draws as there ever are
    # Known classes leave less to be guessed; with every label withheld there is no difference.
    least = {}
    for dropout in (0.0, 1.0):
        recipe = load_recipe("default", {"data.label": "class", "training.label_dropout": dropout, "data.rows": 2000})
        least[dropout] = least_loss(read_points("eight_gaussians", recipe, 0), recipe)
    plain = load_recipe("default", {"data.rows": 2000})
    unlabelled = least_loss(read_points("eight_gaussians", plain, 0), plain)
    assert abs(least[1.0].mean - unlabelled.mean) < Z * np.hypot(least[1.0].error, unlabelled.error)
    assert least[0.0].mean < least[1.0].mean - 0.05


def test_a_model_with_classes_travels(tmp_path):
    x, numbers = motes.data.make_labelled_shape("moons", 300, seed=3)
    model = fit_points(PointData(x, labels=np.array(["low", "high"])[numbers]), changes=SMALL)
    assert model.classes.names == ("high", "low")
    model.save(tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert again.classes == model.classes
    np.testing.assert_array_equal(again.sample(20, label="low"), model.sample(20, label="low"))
    how = motes.Sampling(guidance=motes.Guidance(2.0, low=0.2, high=0.8, weak=model))
    guided = again.sample(20, label="low", sampling=how)
    # Away from itself is nowhere.
    np.testing.assert_allclose(guided, model.sample(20, label="low"), atol=1e-5)


def test_labels_are_withheld_as_often_as_the_recipe_says():
    # Trained with every label withheld, a network cannot tell classes apart: its labels were never seen.
    x, labels = motes.data.make_labelled_shape("moons", 300, seed=3)
    model = fit_points(PointData(x, labels=labels), changes=SMALL | {"training.label_dropout": 1.0})
    into = model.denoiser.denoiser.network.into.weight
    fresh = fit_points(
        PointData(x, labels=labels), changes=SMALL | {"training.steps": 1, "training.learning_rate": 1e-12}
    )
    untouched = fresh.denoiser.denoiser.network.into.weight
    np.testing.assert_allclose(into[:, -2:], untouched[:, -2:], atol=1e-6)
    assert np.abs(into[:, :-2] - untouched[:, :-2]).max() > 1e-3


MISUSE = {
    "an unknown label": (lambda m, w: m.sample(5, label="2"), "unknown label '2'. Choose from: 0, 1"),
    "labels of other rows": (lambda m, w: m.sample(5, label=[0, 1]), r"shape \(2,\); expected one, or \(5,\)"),
    "guidance to no class": (lambda m, w: m.sample(5, sampling={"guidance": 2.0}), "got no label"),
    "an interval backwards": (lambda m, w: motes.Guidance(2.0, low=0.7, high=0.2), "expected 0 <= low < high <= 1"),
    "a weight below 0": (lambda m, w: motes.Guidance(-1.0), "at least 0"),
    "a weight that is no number": (lambda m, w: m.sample(5, sampling={"guidance": "2"}), "weight = '2'; expected"),
    "a weak model of other data": (
        lambda m, w: m.sample(5, label=0, sampling={"guidance": motes.Guidance(2.0, weak=w)}),
        "does not match this one",
    ),
    "a weak model of classes": (
        lambda m, w: w.sample(5, sampling={"guidance": motes.Guidance(2.0, weak=m)}),
        "does not match this one",
    ),
    "a label for a model without": (lambda m, w: w.sample(5, label=0), "has no classes"),
    "a label to score": (lambda m, w: w.score_samples([[0.0, 0.0]], label=0), "has no classes"),
    "a classifier without classes": (lambda m, w: w.predict_proba([[0.0, 0.0]]), "has no classes"),
}


@pytest.mark.parametrize("name", MISUSE)
def test_misuse_is_told(name, labelled_model, small_model):
    call, says = MISUSE[name]
    with pytest.raises(UsageError, match=says):
        call(labelled_model, small_model)


def test_labels_that_are_none_are_refused():
    x = motes.make_shape("moons", 40)
    for labels, says in [
        (np.zeros(40, int), "1 class in 40 rows"),
        (np.linspace(0, 1, 40), "whole numbers or texts"),
        ([None] * 40, "label of row 1 is None"),
        ([0, 1], "one for each row"),
    ]:
        with pytest.raises(DataError, match=says):
            fit_points(PointData(x, labels=labels), changes=SMALL)
    with pytest.raises(RecipeError, match="takes no labels"):
        fit_points(PointData(x, labels=np.arange(40) % 2), "tutorial")
    with pytest.raises(UsageError, match="there are no labels"):
        fit_points(x, changes={"data.label": "class"})
    with pytest.raises(TypeError, match="cannot be conditioned on anything"):
        GaussianOracle([0.0, 0.0], np.eye(2), SCHEDULE).given(of(1))


def test_classes_are_named_by_what_came_and_counted():
    classes = Classes.of(np.array([3, 1, 3, 3]))
    assert (classes.names, classes.counts) == ((1, 3), (1, 3))
    np.testing.assert_allclose(classes.weights, [0.25, 0.75])
    np.testing.assert_array_equal(classes.numbers(["3", 1], 2), [1, 0])
    assert eqx.tree_equal(Classes.from_dict(classes.to_dict()), classes)


# --- on the command line ---------------------------------------------------------------------------------------------

QUICK = [f"--set={name}={value}" for name, value in SMALL.items()]


@pytest.mark.slow
def test_a_column_of_labels_is_learned_sampled_and_scored(motes_command, quick_run, tmp_path):
    x, numbers = motes.data.make_labelled_shape("moons", 300, seed=3)
    rows = [f"{a},{['low', 'high'][y]},{b}" for (a, b), y in zip(x.tolist(), numbers, strict=True)]
    (tmp_path / "t.csv").write_text("a,level,b\n" + "\n".join(rows) + "\n")
    code, _, err = motes_command(
        "train", "t.csv", "--out", "run", "--no-figures", "--recipe=default", "--set=data.label=level", *QUICK
    )
    assert code == 0, err
    assert load("run").columns == ("a", "b")
    code, out, err = motes_command("sample", "run", "-n", "4", "--label", "low", "--guidance", "2")
    assert (code, len(out.splitlines())) == (0, 5), err
    motes_command.out("score", "run", "t.csv", "--out", "s.csv", "--label", "high")
    labelled = motes.data.read_table("t.csv", label="level")
    expected = load("run").score_samples(labelled.x, label="high")
    np.testing.assert_allclose(np.loadtxt("s.csv", skiprows=1), expected)
    code, out, err = motes_command("sample", "run", "-n", "4", "--guidance", "2")  # each row has a class of its own
    assert (code, out.splitlines()[0]) == (0, "a,b,level"), err
    for words, says in [
        (["sample", "run", "--label", "mid"], "unknown label 'mid'. Choose from: high, low"),
        (["sample", "run", "--weak", "run"], "set its weight"),
        (["sample", "run", "--out", "s.npy", "-n", "1000000000"], "column 'level' holds text"),
        (["train", "t.csv", "--out", "b", "--recipe=default", "--set=data.label=levle"], "Did you mean 'level'?"),
        (["train", "swiss_roll", "--out", "b", "--set=data.label=class"], "classes"),
    ]:
        assert says in " ".join(motes_command.error(*words).split())
