"""The training loop: what it computes, that nothing of it is lost, rows that count more, and when it stops."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tests.conftest import SMALL
from tests.reference import Point, TrainingBy, Z, float64, half_distance

import motes
from fits import fit_points
from motes.errors import DataError, RecipeError, UsageError
from motes.points import EDM, LogNormalTimes, Rows, Training, VarianceExploding, train, training
from motes.points.fitting import PointData
from motes.points.sampling import seed_key
from motes.points.training import with_validation
from motes.progress import silent
from motes.recipes import load_recipe
from motes.training import optimisers
from motes.training.averages import Weights, weights_of
from motes.training.checkpoints import FitSession
from motes.training.optimisers import DivergenceMonitor, scale_by_soap, times_the_first
from motes.training.validation import Validation

LOG_NORMAL = LogNormalTimes(-1.2, 1.2)


def train_point(
    x, steps=40, *, loss=half_distance, times=LOG_NORMAL, weights=None, held=None, on_progress=silent, **options
):
    settings = {"rule": optax.sgd(0.3), "batch": len(x), "ema": 0.9} | options
    return train(
        Point(jnp.zeros(2), VarianceExploding(20.0)),
        Rows(x, weights=weights, held=held),
        key=jax.random.key(0),
        loss=loss,
        times=times,
        options=TrainingBy(steps=steps, **settings),
        on_progress=on_progress,
    )


X = np.array([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0], [0.0, -6.0]])


def test_gradient_descent_and_its_average_follow_their_recursions():
    # With whole batches the gradient is (where - mean): no randomness is left, so NumPy can follow it step by step.
    where, average = np.zeros(2), np.zeros(2)
    for _ in range(40):
        where = where - 0.3 * (where - X.mean(axis=0))
        average = 0.9 * average + 0.1 * where
    result = train_point(X)
    np.testing.assert_allclose(result.last.where, where, rtol=1e-5)
    np.testing.assert_allclose(result.averaged.where, average, rtol=1e-5)


def test_losses_are_those_before_each_update():
    first = 0.5 * (X**2).sum(axis=1).mean()  # at the start, where = 0
    result = train_point(X, steps=3)
    assert result.losses.shape == (3,)
    np.testing.assert_allclose(result.losses[0], first, rtol=1e-6)
    assert result.losses[2] < result.losses[1] < result.losses[0]


def test_terms_of_a_loss_add_up():
    def in_two(denoiser, x0, t, eps):
        gap = (denoiser.where - x0) ** 2
        return {"x": 0.5 * gap[0], "y": 0.5 * gap[1]}

    np.testing.assert_allclose(train_point(X, loss=in_two).last.where, train_point(X).last.where, rtol=1e-5)


@pytest.mark.parametrize(("n", "batch"), [(10, 4), (10, 16), (7, 7), (1, 3)])
def test_filled_batches_use_every_row_equally(n, batch):
    batches = training._make_batches(np.random.default_rng(0), Rows(np.zeros((n, 2))), Training(batch=batch))
    rows = np.concatenate([next(batches) for _ in range(n)])  # n batches are `batch` epochs
    assert (np.bincount(rows, minlength=n) == batch).all()
    for start in range(0, len(rows), n):
        assert sorted(rows[start : start + n]) == list(range(n))


def test_partial_batches_end_every_epoch():
    # 10,000 rows in batches of 128: 79 batches, the last of 16 rows, as the tutorial's loop has it.
    batches = training._make_batches(
        np.random.default_rng(0), Rows(np.zeros((10_000, 2))), Training(batch=128, last_batch="partial")
    )
    epoch = np.stack([next(batches) for _ in range(79)])
    assert [(row >= 0).sum() for row in epoch] == [128] * 78 + [16]
    assert sorted(epoch[epoch >= 0]) == list(range(10_000))


def test_the_loss_of_a_partial_batch_is_the_mean_of_its_rows():
    # One row in a batch of four: the padding must not pull the mean towards it.
    result = train_point(X[:1], steps=1, batch=4, last_batch="partial")
    np.testing.assert_allclose(result.losses[0], 0.5 * (X[0] ** 2).sum(), rtol=1e-6)
    # Three rows in batches of two: what stands in the empty place of the second batch does not count.
    result = train_point(X[:3], steps=2, batch=2, last_batch="partial", rule=optax.sgd(0.0))
    np.testing.assert_allclose(2 * result.losses[0] + result.losses[1], 0.5 * (X[:3] ** 2).sum(), rtol=1e-6)


def test_the_learning_rate_rises_and_falls_as_written():
    part = Training(optimiser="adam", steps=100, warmup=10, learning_rate=0.5, decay="cosine", clip_norm=1e9)
    rates = []
    optimiser = part.make_optimiser()
    state = optimiser.init(jnp.zeros(1))
    for _ in range(100):
        # Adam's step is the learning rate times the sign of a constant gradient, up to its epsilon.
        step, state = optimiser.update(jnp.ones(1), state)
        rates.append(-float(step[0]))
    k = np.arange(100)
    falling = 0.5 * 0.5 * (1 + np.cos(np.pi * (k - 10) / 90))
    np.testing.assert_allclose(rates, np.where(k < 10, 0.5 * k / 10, falling), atol=2e-5)


@pytest.mark.slow
@pytest.mark.parametrize("optimiser", ["adam", "soap"])
def test_other_numbers_of_a_training_need_no_other_program(monkeypatch, optimiser):
    made, real = [], optimisers.rising_and_falling
    monkeypatch.setattr(optimisers, "rising_and_falling", lambda *numbers: made.append(numbers) or real(*numbers))
    others = {"steps": 30, "learning_rate": 0.02, "warmup": 0, "decay": "constant", "clip_norm": 9.0, "ema": 0.5}
    fit = lambda **more: fit_points(
        motes.make_shape("moons", 400, seed=3),
        changes=SMALL | {"training.optimiser": optimiser} | {f"training.{key}": value for key, value in more.items()},
    )
    fit()
    traced = len(made)
    assert fit(**others).training.steps == 30
    assert len(made) == traced + 1 > 1  # once for the state before the first step, and no program traces it anew


def test_averaged_weights_are_sampled_by_default_and_the_last_ones_in_the_tutorial(small_model):
    assert small_model.denoiser is small_model.training.averaged
    raw = fit_points(motes.make_shape("moons", 400, seed=3), changes=SMALL | {"training.weights": "last"}, seed=1)
    assert raw.denoiser is raw.training.last
    assert load_recipe("tutorial").training.weights == "last"


def test_snapshots_come_at_geometric_steps_and_the_last_is_the_result():
    result = train_point(X, steps=48, snapshots=3)
    assert [shot.step for shot in result.snapshots] == [12, 24, 48]
    np.testing.assert_array_equal(result.snapshots[-1].averaged.where, result.averaged.where)
    assert not np.array_equal(result.snapshots[0].last.where, result.last.where)
    for shot in result.snapshots:
        np.testing.assert_array_equal(shot.last.where, train_point(X, steps=shot.step).last.where)


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ({"steps": 4000}, (250, 500, 1000, 2000, 4000)),
        ({"steps": 79_000}, (4900, 9900, 20_000, 40_000, 79_000)),
        ({"steps": 5, "snapshots": 9}, (1, 2, 5)),
        ({"steps": 1}, (1,)),
        ({"steps": 4000, "snapshots": 1}, (4000,)),
        ({"steps": 4000, "snapshots": 0}, ()),
    ],
)
def test_the_steps_of_snapshots_are_round_and_each_is_twice_the_one_before(options, steps):
    assert Training(**options).snapshot_steps() == steps


def test_progress_tells_the_mean_of_the_newest_tenth_and_the_end():
    told = []
    result = train_point(X, steps=700, on_progress=told.append)
    assert (told[0].done, told[-1].done, told[-1].total) == (0, 700, 700) and np.isnan(told[0].loss)
    np.testing.assert_allclose(told[-1].loss, result.losses[-70:].mean(), rtol=1e-5)


def one_step_a_call(monkeypatch):
    monkeypatch.setattr("motes.training.loop.FIRST", 1)
    monkeypatch.setattr("motes.training.loop.PATIENCE", 1e-9)


def test_a_loss_that_is_not_finite_names_the_step_and_keeps_the_weights_of_a_training_that_ends_before(monkeypatch):
    def breaks(denoiser, x0, t, eps):
        return {"half": jnp.where(denoiser.where[0] > 0.9, jnp.nan, 0.5 * jnp.sum((denoiser.where - x0) ** 2))}

    where, step = 0.0, 1
    while where <= 0.9:  # the same descent, until the loss breaks
        where, step = where - 0.3 * (where - X[:, 0].mean()), step + 1
    one_step_a_call(monkeypatch)
    with pytest.raises(motes.errors.TrainingError, match=rf"at step {step} of 40.*learning rate") as caught:
        train_point(X, loss=breaks)
    kept = caught.value.result
    assert kept.steps == step - 1 > 2 and f"The weights of step {kept.steps} are kept" in str(caught.value)
    there = train_point(X, steps=kept.steps)
    np.testing.assert_array_equal(kept.last.where, there.last.where)
    np.testing.assert_array_equal(kept.averaged.where, there.averaged.where)
    np.testing.assert_array_equal(kept.losses, there.losses)


def test_losses_that_grow_and_stay_finite_are_a_divergence():
    # where - mean is multiplied by 1 - 2.02 = -1.02 each step: the loss is finite for all 2,000 steps, and so are
    # the weights. The limit is three times the first loss, which is a sum of the part that grows and one that does not.
    mean = X.mean(axis=0)
    noise, first = 0.5 * ((X - mean) ** 2).sum(axis=1).mean(), 0.5 * (X**2).sum(axis=1).mean()
    grown = 0.5 * (mean**2).sum() * 1.02 ** (2 * np.arange(2000)) + noise
    begin = int(np.argmax(grown > 3 * first)) + 1
    with pytest.raises(
        motes.errors.TrainingError, match=rf"diverged: the loss was .* at step {begin} of 2,000"
    ) as caught:
        train_point(X, steps=2000, rule=optax.sgd(2.02))
    kept = caught.value.result
    assert 0 < kept.steps < begin and (kept.losses < 3 * first).all()
    assert f"The weights of step {kept.steps} are kept" in str(caught.value)
    # It is a divergence where the training ends shortly after, and none where it ends before.
    with pytest.raises(motes.errors.TrainingError, match=rf"at step {begin} of {begin + 20}"):
        train_point(X, steps=begin + 20, rule=optax.sgd(2.02))
    assert train_point(X, steps=begin + 2, rule=optax.sgd(2.02)).steps == begin + 2


def test_weights_that_overflow_at_the_last_step_are_a_divergence(monkeypatch):
    # The step after it would have no finite loss, and there is none.
    one_step_a_call(monkeypatch)
    with pytest.raises(motes.errors.TrainingError, match="the weights were not finite after step 2 of 2") as caught:
        train_point(X, steps=2, rule=optax.sgd(lambda step: jnp.where(step == 1, jnp.inf, 0.3)))
    assert np.isfinite(caught.value.result.last.where).all() and caught.value.result.steps == 1


def test_a_peak_of_the_loss_is_no_divergence():
    monitor = DivergenceMonitor(times_the_first, 1000)
    begin, peak = np.full(8, 1.0, np.float32), np.full(99, 1e9, np.float32)
    over = np.r_[begin, peak, np.float32(2.9)]
    assert monitor.fault(np.r_[begin, peak]) is None and not monitor.is_sound(np.r_[begin, peak])
    assert monitor.fault(over, ended=True) is None and monitor.is_sound(over)
    assert monitor.fault(np.r_[over, peak]) is None
    for later in (np.float32(1e9), np.full(9, 1e9), [1e9, 1.0]):
        assert "at step 109 of 1,000 and stayed above 3 up to step 208;" in monitor.fault(np.r_[over, peak, later])
    for some, ends in ((9, False), (10, True)):
        assert bool(monitor.fault(np.r_[over, peak[:some]], ended=True)) == ends


@pytest.mark.parametrize(("first", "limit"), [(1.0, 3.0), (-1.0, 1.0), (0.0, np.inf)])
def test_the_limit_is_above_the_first_loss_whatever_its_sign(first, limit):
    assert times_the_first(first) == limit


@pytest.mark.slow
def test_a_diverging_run_names_the_step_and_leaves_the_last_good_model(motes_command, monkeypatch, tmp_path):
    monkeypatch.setattr("motes.evaluation.models.LEAST_LOSS_PAIRS", 1e6)  # which is not what is looked at
    # D5.5, in fewer steps: its loss is finite, its samples were not, and it ended in "This is a bug".
    code, _, err = motes_command(
        "train", "swiss_roll", "--out", "here", "--set", "training.learning_rate=3", "--set", "training.clip_norm=1e9",
        "--set", "training.steps=400", "--set", "data.rows=500", "--no-figures",
    )  # fmt: skip
    assert code == 1 and "the training diverged" in err and "of 400" in err and "This is a bug" not in err
    assert "learning rate" in err and "model.safetensors" in err
    assert np.isfinite(motes.load(tmp_path / "here").sample(20)).all()


@pytest.mark.usefixtures("keyboard")
def test_ctrl_c_stops_after_the_steps_under_way_and_keeps_them():
    before = signal.getsignal(signal.SIGINT)

    def press(progress):
        if progress.done >= 16:
            os.kill(os.getpid(), signal.SIGINT)

    result = train_point(X, steps=10**9, on_progress=press)
    assert result.interrupted
    assert 16 <= result.steps < 10**9
    np.testing.assert_array_equal(result.last.where, train_point(X, steps=result.steps).last.where)
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.usefixtures("keyboard")
def test_a_second_ctrl_c_is_an_ordinary_interrupt():
    def press(progress):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(100):
            pass  # signals are delivered between instructions

    with pytest.raises(KeyboardInterrupt):
        train_point(X, steps=10**9, on_progress=press)


def test_purposes_of_a_seed_do_not_share_randomness():
    draws = {
        (seed, purpose): jax.random.key_data(seed_key(seed, purpose)).tobytes()
        for seed in range(20)
        for purpose in ("weights", "training", "sample", "bound")
    }
    assert len(set(draws.values())) == len(draws)


@pytest.mark.slow
def test_two_processes_agree_to_the_bit(small_model):
    code = (
        "import motes; from motes.points.fitting import fit_points;"
        f"recipe = motes.load_recipe('default', {SMALL});"
        "model = fit_points(motes.make_shape('moons', 400, seed=3), recipe, seed=1);"
        "print(model.sample(64).tobytes().hex())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == small_model.sample(64).tobytes().hex()
    seeded = fit_points(motes.make_shape("moons", 400, seed=3), changes=SMALL, seed=2)
    assert not np.array_equal(seeded.sample(64), small_model.sample(64))


# --- SOAP, the optimiser of recipe `default`: against NumPy, and what is true of it ----------------------------------


SHAPES = ((4, 3), (4,), (3, 4))
SIZE = 28
MEMORY, EVERY, RIDGE = 0.95, 10, 0.1  # the first of Vyas et al., the others motes' own


def slopes_of(count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, SIZE))


def steps_of(slopes, shapes=SHAPES):
    """The steps for gradients that come one after another, (k, p), and the last state."""
    soap = scale_by_soap(shapes)
    update = jax.jit(soap.update)
    state, made = soap.init(jnp.zeros(slopes.shape[1])), []
    for slope in slopes:
        step, state = update(jnp.asarray(slope, float), state)
        made.append(np.asarray(step))
    return np.array(made), state


class Matrix:
    """SOAP of one matrix, from the paper, with a ridge. The mean of the gradients is brought into the bases."""

    def __init__(self, shape):
        a, b = shape
        self.mean, self.square = np.zeros(shape), np.zeros(shape)
        self.moments, self.bases, self.count = [np.zeros((a, a)), np.zeros((b, b))], [np.eye(a), np.eye(b)], 0

    def step(self, g):
        self.moments = [
            MEMORY * m + (1 - MEMORY) * new for m, new in zip(self.moments, (g @ g.T, g.T @ g), strict=True)
        ]
        if self.count % EVERY == 0:
            ridged = [m + RIDGE * np.trace(m) / len(m) * np.eye(len(m)) for m in self.moments]
            self.bases = [np.linalg.qr(m @ q)[0] for m, q in zip(ridged, self.bases, strict=True)]
        self.count += 1
        left, right = self.bases
        self.mean = MEMORY * self.mean + (1 - MEMORY) * g
        self.square = MEMORY * self.square + (1 - MEMORY) * (left.T @ g @ right) ** 2
        fresh = 1 - MEMORY**self.count
        turned = left.T @ self.mean @ right / fresh / (np.sqrt(self.square / fresh) + 1e-8)
        return left @ turned @ right.T


def test_steps_equal_those_of_the_paper_with_a_ridge():
    slopes = slopes_of(25)
    with float64():
        steps, _ = steps_of(slopes)
    first, last = Matrix((4, 3)), Matrix((3, 4))
    for slope, step in zip(slopes, steps, strict=True):
        np.testing.assert_allclose(step[:12].reshape(4, 3), first.step(slope[:12].reshape(4, 3)), atol=1e-6)
        np.testing.assert_allclose(step[16:].reshape(3, 4), last.step(slope[16:].reshape(3, 4)), atol=1e-6)


def test_what_is_no_matrix_is_scaled_by_adam():
    slopes, adam = slopes_of(25), optax.scale_by_adam(MEMORY, MEMORY)
    bias, state = steps_of(slopes)[0][:, 12:16], adam.init(jnp.zeros(SIZE))
    for slope, ours, whole in zip(slopes, bias, steps_of(slopes, ())[0], strict=True):
        theirs, state = adam.update(jnp.asarray(slope, float), state)
        np.testing.assert_allclose(ours, theirs[12:16], rtol=1e-5)
        np.testing.assert_allclose(whole, theirs, rtol=1e-5)


def test_bases_stay_orthogonal():
    # Gradients of rank one leave most of a basis open, and zeros all of it, as those of the first hidden layers are.
    slopes = slopes_of(200) * np.r_[np.zeros(12), np.ones(16)]
    slopes[100:, :12] = np.outer(np.random.default_rng(1).normal(size=100), np.ones(12))
    for basis in jax.tree.leaves(steps_of(slopes)[1].bases):
        np.testing.assert_allclose(basis.T @ basis, np.eye(len(basis)), atol=1e-5)


def test_turned_gradients_take_turned_steps():
    # Adam's steps depend on the axes of the weights; once the bases are those of the gradients, SOAP's do not.
    rng = np.random.default_rng(2)
    turns = [np.linalg.qr(rng.normal(size=(n, n)))[0] for n in (4, 3)]
    slopes = (rng.normal(size=(400, 4, 3)) * [[3.0], [1.0], [0.3], [0.1]] * [2.0, 1.0, 0.3]).reshape(400, -1)
    turned = np.stack([(turns[0] @ g.reshape(4, 3) @ turns[1].T).ravel() for g in slopes])
    ours, theirs = (steps_of(g, ((4, 3),))[0][-1].reshape(4, 3) for g in (slopes, turned))
    assert np.linalg.norm(turns[0] @ ours @ turns[1].T - theirs) < 0.15 * np.linalg.norm(theirs)


# --- sample weights --------------------------------------------------------------------------------------------------


def drawn(weights, epochs):
    weights = np.asarray(weights, float)
    rows = Rows(np.zeros((len(weights), 2)), weights=weights)
    batches = training._make_batches(np.random.default_rng(0), rows, Training(batch=int((weights > 0).sum())))
    return np.stack([np.bincount(next(batches), minlength=len(weights)) for _ in range(epochs)])


def test_rows_are_drawn_as_often_as_their_weights_say_and_never_further_off_than_one():
    weights = np.array([2.0, 1.0, 0.0, 0.5, 3.5, 1.0, 0.25])
    counts, expected = drawn(weights, 4000), 6 * weights / weights.sum()
    assert (np.abs(counts - expected) < 1).all()
    assert (counts.sum(axis=1) == 6).all()  # as many as rows that count
    # A count is one of two neighbours: of variance 1/4 at most.
    assert (np.abs(counts.mean(axis=0) - expected) < Z * 0.5 / np.sqrt(4000)).all()
    assert (counts[:, 2] == 0).all()


def test_one_row_that_counts_is_too_few():
    with pytest.raises(DataError, match="1 rows have a weight above 0"):
        fit_points(PointData(motes.make_shape("moons", 40), weights=np.r_[1.0, np.zeros(39)]), changes=SMALL)


# --- held-out rows ---------------------------------------------------------------------------------------------------

STOPPING = {
    "network.width": 64,
    "network.depth": 2,
    "training.steps": 4000,
    "training.decay": "constant",
    "training.batch": 64,
    "training.ema": 0.9,
    "training.validation": 0.3,
    "training.check_every": 50,
    "training.patience": 4,
    "training.averages": 0,
}


def atoms():
    """200 rows of five columns in two atoms: little to learn, and then much to learn by heart."""
    rng = np.random.default_rng(5)
    return rng.standard_normal((200, 5)) + 3 * rng.choice([-1.0, 1.0], 200)[:, None]


@pytest.fixture(scope="module")
def overfitted():
    return fit_points(atoms(), changes=STOPPING, seed=0)


def test_training_stops_before_its_end_and_keeps_the_best(overfitted):
    trained = overfitted.training
    steps, losses = trained.looks.T
    assert trained.steps < 4000
    assert not trained.interrupted
    np.testing.assert_array_equal(steps, np.arange(0, trained.steps + 1, 50))
    assert trained.steps == trained.best + 4 * 50
    assert losses[steps == trained.best] == losses.min()
    # What was best is what is left, to the bit: a training that ends there.
    assert trained.best > 0
    again = fit_points(atoms(), changes=STOPPING | {"training.steps": int(trained.best)}, seed=0)
    np.testing.assert_array_equal(weights_of(again.denoiser), weights_of(overfitted.denoiser))


@pytest.mark.slow
def test_looking_changes_nothing_of_the_training():
    recipe = load_recipe("default", SMALL)
    options = replace(recipe.training, batch=50, steps=60, check_every=25, patience=100)
    x = np.random.default_rng(6).standard_normal((100, 2))
    denoiser = recipe.make_denoiser(2, seed_key(0, "weights"))
    plain, looked = (
        train(denoiser, Rows(x, held=held), key=jax.random.key(1), loss=EDM(), times=LogNormalTimes(), options=options)
        for held in (None, Rows(x[:20]))
    )
    np.testing.assert_array_equal(plain.losses, looked.losses)
    np.testing.assert_array_equal(looked.looks[:, 0], [0, 25, 50, 60])
    assert plain.best is None and not len(plain.looks)


def test_a_share_for_validation_needs_rows_that_are_held_out():
    with pytest.raises(UsageError, match=r"validation = 0.2, but there are no held-out rows\. Pass them"):
        train_point(X, validation=0.2)


def test_the_held_out_loss_is_the_expected_one_of_the_averaged_weights():
    # The loss of `Point` has no noise: half the squared distance to the rows, by their weights.
    rows, weights = np.array([[1.0, 1.0], [2.0, 0.0], [0.0, 5.0]]), np.array([1.0, 3.0, 0.0])
    trained = train_point(X, steps=30, held=Rows(rows, weights=weights), check_every=10, patience=99)
    for step, found in trained.looks:
        where = np.asarray(train_point(X, steps=int(step)).averaged.where) if step else np.zeros(2)
        expected = np.average(0.5 * ((rows - where) ** 2).sum(axis=1), weights=weights)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.slow
def test_snapshots_and_averages_end_with_the_best():
    far = np.array([[-9.0, 9.0]])  # away from where the rows pull, so that the first weights are the best
    options = {"check_every": 5, "patience": 3, "averages": 4}
    trained = train_point(X, steps=60, held=Rows(far), **options)
    assert trained.best == 0
    assert trained.steps == 15
    assert trained.snapshots == []
    assert trained.averages is None
    np.testing.assert_array_equal(trained.averaged.where, np.zeros(2))
    near = X.mean(axis=0)[None]
    trained = train_point(X, steps=60, held=Rows(near), **options)
    assert trained.averages.steps.max() == trained.best == trained.snapshots[-1].step
    np.testing.assert_array_equal(trained.snapshots[-1].averaged.where, trained.averaged.where)


def test_progress_tells_the_held_out_loss():
    told = []
    trained = train_point(X, steps=20, held=Rows(X), check_every=10, patience=9, on_progress=told.append)
    assert told[-1].held_out == trained.looks[-1, 1]


def test_validation_evaluates_averaged_weights():
    with pytest.raises(RecipeError, match="evaluates the averaged weights"):
        load_recipe("default", {"training.validation": 0.1, "training.weights": "last"})


# --- going on --------------------------------------------------------------------------------------------------------


def test_a_start_that_does_not_fit_is_refused(small_model):
    x = motes.make_shape("moons", 400, seed=3)
    for changes in ({"network.width": 17}, {"denoiser.kind": "eps"}, {"schedule.sigma_max": 20.0}):
        with pytest.raises(UsageError, match="start has another recipe, or other columns"):
            fit_points(x, changes=SMALL | changes, session=FitSession(start=small_model))


def test_equal_rows_are_all_among_the_validation_rows_or_none_is():
    held_out = lambda x, share, seed: np.flatnonzero(with_validation(Rows(x), share, jax.random.key(seed)).weights == 0)
    rng = np.random.default_rng(0)
    once = rng.standard_normal((300, 2))
    x = rng.permutation(np.repeat(once, rng.integers(1, 6, 300), axis=0))
    for seed in range(5):
        out = np.zeros(len(x), bool)
        out[held_out(x, 0.2, seed)] = True
        seen, unseen = ({tuple(row) for row in rows} for rows in (x[~out], x[out]))
        assert not seen & unseen
        assert round(0.2 * len(x)) <= out.sum() < 0.2 * len(x) + 5
    # Of different rows so many as are requested; and of two rows one is learned, however often they come.
    assert len(held_out(once, 0.2, 0)) == 60
    assert len(np.unique(np.array([[0.0], [1.0]] * 50)[held_out(np.array([[0.0], [1.0]] * 50), 0.9, 0)])) == 1


@pytest.mark.slow
def test_a_weight_is_so_many_copies_of_a_row_to_the_bit():
    rng = np.random.default_rng(0)
    x, labels, weights = motes.make_shape("moons", 60), np.arange(60) % 2, rng.integers(0, 4, 60)
    copies = np.repeat(np.arange(60), weights)

    def drawn(some, weights=None):
        model = fit_points(
            PointData(x[some], labels=labels[some], weights=weights), changes=SMALL | {"training.steps": 9}
        )
        return model.sample(20, label=1, seed=1)

    np.testing.assert_array_equal(drawn(np.arange(60), weights), drawn(copies))
    np.testing.assert_array_equal(drawn(np.arange(60), np.full(60, 0.3)), drawn(np.arange(60)))
    assert not np.array_equal(drawn(copies), drawn(np.arange(60)))


def test_weights_with_the_same_losses_are_not_worse():
    found = Validation(lambda average: np.ones((1, 4)), np.full((1, 4), 0.25), every=10, patience=6, longer=1.4)
    for step in range(0, 60, 10):
        found.look(Weights(None, None, None, None, np.array([step])))
        assert not found.is_over(step)
    found.look(Weights(None, None, None, None, np.array([60])))
    assert found.is_over(60)
