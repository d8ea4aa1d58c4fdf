"""Rows regress on the mean of x_0 over their batch: the same loss and gradient on average, with less noise."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tests.reference import TrainingBy, Z

import motes
from motes.errors import RecipeError
from motes.points import EDM, Denoiser, Given, LogNormalTimes, Rows, Schedule, Simple, VarianceExploding, train
from motes.points.exact import EmpiricalOracle, GaussianOracle, LabelledOracle
from motes.points.schedules import CosineVP
from motes.points.times import UniformTimes
from motes.recipes import load_recipe

LABELS = np.arange(64) % 2
X = (np.random.default_rng(3).standard_normal((64, 3)) + LABELS[:, None]).astype(np.float32)
EXPLODING, LOG_NORMAL = VarianceExploding(sigma_max=10.0), LogNormalTimes(mean=-1.0, std=1.0)


ROWS, EDM_LOSS = Rows(X), EDM()
SMALL = {
    "network.width": 8, "network.depth": 1, "training.batch": 32, "training.steps": 400, "training.learning_rate": 1e-9,
}  # fmt: skip


class Shifted(Denoiser):
    """A denoiser and a shift that is learned: where the denoiser is exact the best shift is 0."""

    exact: Denoiser
    shift: jax.Array
    schedule: Schedule

    def __call__(self, x_t, t):
        return self.exact(x_t, t) + self.shift

    def given(self, known):
        return Shifted(self.exact.given(known), self.shift, self.schedule)


def followed(
    exact, target, rows=ROWS, loss=EDM_LOSS, times=LOG_NORMAL, steps=1, rate=1.0, kind=Shifted, batch=64, **options
):
    """The shift (3,) after steps of gradient descent, each on a batch of all rows, and the losses (steps,)."""
    start = kind(exact, jnp.zeros(3), exact.schedule)
    options = TrainingBy(steps=steps, batch=batch, target=target, rule=optax.sgd(rate), snapshots=0, **options)
    trained = train(start, rows, key=jax.random.key(2), loss=loss, times=times, options=options)
    return np.asarray(trained.last.shift), trained.losses


@pytest.mark.slow(but=["exploding"])
@pytest.mark.parametrize(
    ("schedule", "loss", "times"),
    [(EXPLODING, EDM(), LOG_NORMAL), (CosineVP(), Simple(), UniformTimes(least=0.05))],
    ids=["exploding", "cosine"],
)
def test_what_is_exact_for_the_rows_of_a_batch_has_no_slope(schedule, loss, times):
    exact = EmpiricalOracle(X, schedule)
    (row, _), (stable, _) = (followed(exact, target, loss=loss, times=times) for target in ("row", "stable"))
    assert np.abs(row).max() > 0.01 and np.abs(stable).max() < 1e-4


@pytest.mark.slow(but=["0.0"])
@pytest.mark.parametrize("withheld", [0.0, 1.0])
def test_the_mean_is_over_rows_of_the_same_class_where_the_class_is_known(withheld):
    exact = LabelledOracle([EmpiricalOracle(X[label == LABELS], EXPLODING) for label in (0, 1)], [1, 1])
    shift, _ = followed(exact, "stable", Rows(X, LABELS), label_dropout=withheld)
    assert np.abs(shift).max() < 1e-4


class ByContext(Shifted):
    """What a `Shifted` knows of a class, by a context that is its number."""

    def given(self, known):
        return super().given(Given(label=known.context[0].astype(int)))


@pytest.mark.slow
def test_the_mean_is_over_rows_that_are_given_the_same():
    exact = LabelledOracle([EmpiricalOracle(X[label == LABELS], EXPLODING) for label in (0, 1)], [1, 1])
    rows = Rows(X, context=LABELS[:, None].astype(np.float32))
    shift, _ = followed(exact, "stable", rows, kind=ByContext)
    assert np.abs(shift).max() < 1e-4


def test_the_empty_places_of_a_short_batch_are_no_rows():
    shift, _ = followed(EmpiricalOracle(X[:40], EXPLODING), "stable", Rows(X[:40]), last_batch="partial")
    assert np.abs(shift).max() < 1e-4


@pytest.mark.slow
def test_a_large_batch_is_divided_into_groups():
    # Three groups of 350 rows.
    x = np.tile(X[:1], (1050, 1))
    shift, _ = followed(EmpiricalOracle(X[:1], EXPLODING), "stable", Rows(x), batch=1050)
    assert np.abs(shift).max() < 1e-4


@pytest.mark.slow(but=["edm"])
@pytest.mark.parametrize(
    ("loss", "times"), [(EDM(), LOG_NORMAL), (Simple(), UniformTimes(least=0.05))], ids=["edm", "simple"]
)
def test_the_loss_is_the_same_on_average_and_has_less_noise(loss, times):
    schedule = EXPLODING if isinstance(loss, EDM) else CosineVP()
    losses = [
        followed(GaussianOracle(np.zeros(3), np.eye(3), schedule), target, loss=loss, times=times, steps=400, rate=0.0)[
            1
        ]
        for target in ("row", "stable")
    ]
    apart = losses[0] - losses[1]  # of the same rows, times and noise
    assert abs(apart.mean()) < Z * apart.std() / 20
    assert losses[1].std() < 0.9 * losses[0].std()


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"network.members": 2}, {"network.dropout": 0.2}], ids=["members", "dropout"])
def test_members_and_dropout_have_the_same_loss_on_average(changes):
    losses = [
        motes.fit(X, "default", changes=changes | SMALL | {"training.target": target}).training.losses
        for target in ("row", "stable")
    ]
    apart = losses[0] - losses[1]
    assert abs(apart.mean()) < Z * apart.std() / 20 and apart.std() > 0


def test_a_target_that_does_not_suit_the_loss_is_refused():
    learned = {"denoiser.variance": "learned", "loss.kind": "hybrid"}
    assert load_recipe("ddpm", learned).training.target is None
    with pytest.raises(RecipeError, match=r"'stable' needs a loss that is a squared error .* 'hybrid' is none"):
        load_recipe("ddpm", learned | {"training.target": "stable"})
