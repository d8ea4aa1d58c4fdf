"""Each option of each recipe changes what it says it changes.

`EFFECTS` has a row for each key of each kind of each section: a function that sets it, and looks at what it changes. An
option without a row fails, and so does a row without an option. Options of training are looked at in a training that
starts from the recipe, so that nothing on the way may leave them out.
"""

from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats
from tests.reference import cosine_alphas_bar, karras_levels
from tests.tables import TINY, untrained

import motes
from fits import fit_points, fit_table
from motes.data.files import read_frame
from motes.errors import RecipeError
from motes.evaluation.sources import read_points
from motes.fitting import prepared
from motes.points.exact import GaussianOracle
from motes.points.fitting import PointData
from motes.points.networks import ResidualMLP, each_alone, thinned
from motes.points.samplers import DPMSolver2M
from motes.points.schedules import VarianceExploding
from motes.points.variance import LearnedVariance
from motes.recipes import load_recipe
from motes.recipes.loading import SECTIONS, kinds_of
from motes.seeds import seed_key
from motes.tables import training as _step
from motes.training.averages import weights_of
from motes.training.recipe import keys_of

EFFECTS = {}


def effect(*options):
    """The function looks at what these options change; it may take the kind of the section."""

    def add(look):
        for option in options:
            assert option not in EFFECTS
            EFFECTS[option] = look
        return look

    return add


def every_option():
    for section in SECTIONS:
        for kind, cls in (kinds_of(section)).items():
            yield from (".".join(filter(None, (section, kind, key))) for key in keys_of(cls))


def test_every_option_has_a_row_and_every_row_an_option():
    assert EFFECTS.keys() == {*every_option()}


def deviation(x):
    """The standard deviation of numbers (n,); 0 exactly where they are all the same."""
    x = np.asarray(x, float)
    return (x - x[0]).std()


def changed(section, kind, base="default", **values):
    """The part of a recipe whose section is of this kind, with these values."""
    needs = {
        "times.steps": {"schedule.kind": "linear"},
        "schedule.rectified_flow": {"grid.kind": "log_snr"},
    }
    changes = needs.get(f"{section}.{kind}", {}) | {f"{section}.kind": kind}
    return load_recipe(base, changes | {f"{section}.{key}": value for key, value in values.items()})


# --- data ----------------------------------------------------------------------------------------------------------


def drawn(name="moons", **data):
    return read_points(name, load_recipe("default", {f"data.{key}": value for key, value in data.items()}), 0).training


@effect("data.rows")
def rows():
    assert [len(drawn(rows=n).x) for n in (20, 31)] == [20, 31]


@effect("data.noise")
def noise():
    # The blur is added to the points of the same seed.
    sharp, some, more = (drawn(rows=400, noise=noise).x for noise in (0.0, 0.1, 0.3))
    np.testing.assert_allclose((some - sharp).std(), 0.1, rtol=0.1)
    np.testing.assert_allclose((more - sharp).std(), 0.3, rtol=0.1)


@pytest.fixture
def table_file(tmp_path):
    """400 rows of two columns of real numbers and their class, in a file."""
    x, labels = motes.data.make_labelled_shape("moons", 400, seed=0)
    path = tmp_path / "t.csv"
    lines = [f"{a:.6f},{b:.6f},{'uv'[label]}" for (a, b), label in zip(x, labels, strict=True)]
    path.write_text("\n".join(["a,b,c", *lines]))
    return path


@effect("data.held_out")
def held_out(table_file):
    for share in (0.0, 0.1, 0.5):
        origin = prepared(str(table_file), load_recipe("table", {"data.held_out": share}), 0).origin
        count = 0 if origin.held_out is None else len(origin.held_out)
        assert abs(count - 400 * share) <= 5 * 20 * np.sqrt(share * (1 - share))  # by content, so not exactly
        assert len(origin.training) == 400 - count


@effect("data.encode")
def encode(table_file):
    assert prepared(str(table_file), load_recipe("table"), 0).schema.names == ("a", "b", "c")
    points = prepared(str(table_file), load_recipe("default", {"data.encode": False, "data.label": "c"}), 0)
    assert points.schema is None and points.origin.training.columns == ("a", "b")


@effect("data.standardise")
def standardise():
    x = motes.make_shape("moons", 50, seed=0)
    scales = [fitted(x, {"data.standardise": on}).standardiser.scale for on in (True, False)]
    np.testing.assert_allclose(scales, [x.std(axis=0), [1, 1]], rtol=1e-6)


@effect("data.given")
def given(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,c\n" + "".join(f"{i},{i * i},{i % 3}\n" for i in range(30)))
    rows = drawn(str(tmp_path / "t.csv"), given=("c", "a"), held_out=0.0)
    assert rows.columns == ("b",) and rows.given.columns == ("c", "a")
    np.testing.assert_array_equal(rows.x[:, 0], rows.given.x[:, 1] ** 2)


@effect("data.bounds")
def bounds():
    x = motes.make_shape("moons", 50, seed=0)
    low, high = float(x[:, 0].min()) - 0.01, float(x[:, 0].max()) + 0.01
    model = fitted(x, {"data.bounds": (f"x={low}..{high}",)})
    far = model.standardiser.inverse(np.array([[-99.0, -99.0], [99.0, 99.0]]))
    np.testing.assert_allclose(far[:, 0], [low, high])
    np.testing.assert_allclose(far[:, 1], x[:, 1].mean() + 99 * x[:, 1].std() * np.array([-1, 1]))


@effect("data.label")
def label(table_file):
    assert drawn(rows=20).labels is None and {*drawn(rows=20, label="class").labels.tolist()} == {0, 1}
    assert {*drawn(str(table_file), label="c").labels.tolist()} == {"u", "v"}


# --- text ----------------------------------------------------------------------------------------------------------


@effect("text.sep", "text.decimal", "text.na", "text.date_format", "text.encoding")
def text(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("ä;b;c\n1,234;?;05/06/2020\n2,345;7;07/06/2020\n".encode("latin-1"))
    options = {
        "text.sep": ";", "text.decimal": ",", "text.na": ["?"], "text.date_format": ["%d/%m/%Y"],
        "text.encoding": "latin-1",
    }  # fmt: skip
    read = lambda options: read_frame(path, load_recipe("table", options).text).columns
    columns = {name: series.cells() for name, series in read(options).items()}
    assert columns["ä"] == [1.234, 2.345] and columns["b"] == [None, 7]
    assert [str(day) for day in columns["c"]] == ["2020-06-05", "2020-06-07"]
    for left_out in options:  # the file cannot be read without it, or becomes another table
        try:
            other = read(options | {left_out: [] if isinstance(options[left_out], list) else None})
        except motes.errors.DataError:
            continue
        assert {name: series.cells() for name, series in other.items()} != columns, left_out


# --- schedule ------------------------------------------------------------------------------------------------------


@effect(*(f"schedule.{kind}.steps" for kind in ("linear", "quad", "sigmoid", "cosine")))
def schedule_steps(kind):
    assert [changed("schedule", kind, steps=n).make_schedule().steps for n in (7, 12)] == [7, 12]


@effect(*(f"schedule.{kind}.{end}" for kind in ("linear", "quad", "sigmoid") for end in ("start", "end")))
def first_and_last_beta(kind):
    for start, end in ((0.01, 0.2), (0.02, 0.2), (0.01, 0.3)):
        betas = changed("schedule", kind, start=start, end=end).make_schedule().betas
        within = 0.003 * (end - start) if kind == "sigmoid" else 1e-12  # which reaches neither end
        assert abs(betas[0] - start) <= within and abs(betas[-1] - end) <= within


@effect("schedule.cosine.offset")
def offset(kind):
    for offset in (0.008, 0.2):
        schedule = changed("schedule", kind, steps=50, offset=offset).make_schedule()
        np.testing.assert_allclose(schedule.alphas_bar[:-1], cosine_alphas_bar(50, offset)[:-1], rtol=1e-9)


@effect("schedule.cosine.max_beta")
def max_beta(kind):
    assert [changed("schedule", kind, max_beta=most).make_schedule().betas.max() for most in (0.3, 0.6)] == [0.3, 0.6]


@effect("schedule.exploding.sigma_max", "schedule.exploding.rho")
def exploding(kind):
    for top, rho in ((10.0, 7.0), (30.0, 7.0), (10.0, 2.0)):
        schedule = changed("schedule", kind, sigma_max=top, rho=rho).make_schedule()
        np.testing.assert_allclose(schedule.sigma(np.array([0.5, 1.0])), [top * 0.5**rho, top], rtol=1e-6)


@effect("schedule.continuous_linear.beta_min", "schedule.continuous_linear.beta_max")
def rates(kind):
    for least, most in ((0.1, 20.0), (0.5, 20.0), (0.1, 10.0)):
        schedule = changed("schedule", kind, beta_min=least, beta_max=most).make_schedule()
        t = np.array([0.5, 1.0])
        integrated = least * t + (most - least) * t**2 / 2
        np.testing.assert_allclose(-2 * np.log(schedule.alpha(t)), integrated, rtol=1e-5)


@effect("schedule.continuous_cosine.alpha_1", "schedule.rectified_flow.alpha_1")
def alpha_1(kind):
    for left in (0.01, 0.2):
        ends = changed("schedule", kind, alpha_1=left).make_schedule().alpha(np.array([0.0, 1.0]))
        np.testing.assert_allclose(ends, [1.0, left], rtol=1e-5)


@effect("schedule.knots.alphas", "schedule.knots.sigmas")
def knots(kind):
    for alphas, sigmas in (([0.9, 0.5, 0.1], [0.2, 0.6, 2.0]), ([0.8, 0.3], [0.5, 1.0])):
        schedule = changed("schedule", kind, alphas=alphas, sigmas=sigmas).make_schedule()
        t = (np.arange(len(alphas)) + 1) / len(alphas)
        np.testing.assert_allclose(schedule.alpha(t), alphas, rtol=1e-5)
        np.testing.assert_allclose(schedule.sigma(t), sigmas, rtol=1e-5)


# --- network, denoiser, loss ---------------------------------------------------------------------------------------


@effect(*(f"network.{kind}.{key}" for kind in ("residual", "step_gated") for key in ("width", "depth")))
def size_of_the_network(kind):
    base = "ddpm" if kind == "step_gated" else "default"
    for width, depth in ((6, 2), (9, 2), (6, 3)):
        network = (
            changed("network", kind, base=base, width=width, depth=depth).make_denoiser(2, jax.random.key(0)).network
        )
        hidden = network.hidden if kind == "residual" else network.layers
        assert len(hidden) == depth and {layer.weight.shape[0] for layer in hidden} == {width}


@effect("network.residual.dropout")
def dropout_of_points(kind):
    x, t = jnp.ones(2), jnp.array(0.3)

    def spread(dropout):
        network = (
            changed("network", kind, width=64, depth=1, dropout=dropout).make_denoiser(2, jax.random.key(0)).network
        )
        network = eqx.tree_at(lambda one: one.out.weight, network, jnp.ones((2, 64)))
        bits = jax.random.bits(jax.random.key(1), (400, 2 * 64), jnp.uint8)
        return deviation(jax.vmap(lambda bits: thinned(network, bits)(x, t)[0])(bits))

    none, few, many = map(spread, (0.0, 0.1, 0.5))
    assert none == 0 and many > 2 * few > 0
    # In training, too: the first step moves the output layer alone, the second sees what is left out.
    losses = [fitted(MOONS, {"training.steps": 2, "network.dropout": share}).training.losses for share in (0.0, 0.5)]
    assert losses[0][0] == losses[1][0] and losses[0][1] != losses[1][1]


@effect("network.residual.scales")
def scales_of_the_context(kind):
    make = lambda scales, context: changed("network", kind, width=8, depth=1, scales=scales).network.network(
        2, 2, context=context, steps=None, key=jax.random.key(0)
    )
    network = make(3, 4)
    assert make(0, 4).scales is None and make(3, 0).scales is None
    assert network.into.weight.shape[1] == make(0, 4).into.weight.shape[1] + 3
    forms, shares = network.scales.forms, np.exp(np.asarray(network.scales.shares, float))
    context = np.array([0.5, -1.0, 2.0, 0.0])
    squares = (np.asarray(forms.weight) @ context + np.asarray(forms.bias)) ** 2
    exact = np.log(np.sqrt(1e-6 + (shares * squares).sum(axis=1) / shares.sum(axis=1)))
    np.testing.assert_allclose(network.scales(jnp.array(context)), exact, rtol=1e-5)
    # The hidden layers see them: with every other weight of the first layer 0, the context matters by its scales alone.
    seen = jnp.zeros_like(network.into.weight).at[:, -3:].set(1.0)
    network = eqx.tree_at(lambda one: (one.into.weight, one.out.weight), network, (seen, jnp.ones((2, 8))))
    one, same, other = (network(jnp.ones(2), jnp.array(0.3), jnp.array(c)) for c in (context, context, 3 * context))
    np.testing.assert_array_equal(one, same)
    assert (np.abs(one - other) > 0.1).all()


@effect("network.residual.octaves")
def octaves_of_the_columns(kind):
    make = lambda octaves: changed("network", kind, width=8, depth=1, octaves=octaves).make_denoiser(
        2, jax.random.key(0)
    )
    none, two = (make(octaves).network for octaves in (0, 2))
    assert two.into.weight.shape[1] == none.into.weight.shape[1] + 2 * 2 * 2
    x, t = jnp.array([0.3, -1.1]), jnp.array(0.2)
    place = lambda columns: jnp.zeros_like(two.into.weight).at[:, columns].set(1.0)
    seen = lambda columns: eqx.tree_at(
        lambda one: (one.into.weight, one.out.weight), two, (place(columns), jnp.ones((2, 8)))
    )
    octave = seen(slice(-4, -2))  # sin 2x of both columns, whose period is pi
    np.testing.assert_allclose(octave(x, t), octave(x + jnp.pi, t), atol=1e-5)
    assert (np.abs(octave(x, t) - octave(x + jnp.pi / 2, t)) > 0.01).all()


@effect("network.residual.members")
def members_of_the_network(kind):
    x, t = jnp.ones(2), jnp.array(0.3)
    recipes = [changed("network", kind, members=n, width=8, depth=1) for n in (1, 3)]
    one, three = (recipe.make_denoiser(2, jax.random.key(0)).network for recipe in recipes)
    assert isinstance(one, ResidualMLP) and len(three.members) == 3
    last = jax.random.normal(jax.random.key(1), (3, 2, 8))
    filled = eqx.tree_at(lambda network: [member.out.weight for member in network.members], three, list(last))
    each = [member(x, t) for member in filled.members]
    np.testing.assert_allclose(filled(x, t), np.mean(each, axis=0), rtol=1e-5)
    assert np.ptp(np.array(each)[:, 0]) > 0
    for alone, found in zip(each_alone(filled), each, strict=True):
        np.testing.assert_array_equal(alone(x, t), found)
    found = fitted(MOONS, {"training.steps": 2, "network.members": 3}).training
    first, second, _ = (member.out.weight for member in found.last.network.members)
    assert np.abs(first - second).max() > 0
    dropping = fitted(MOONS, {"training.steps": 2, "network.members": 3, "network.dropout": 0.5}).training
    assert found.losses[0] == dropping.losses[0] and found.losses[1] != dropping.losses[1]


@effect(*(f"denoiser.{kind}.variance" for kind in ("eps", "x0", "v", "velocity")))
def variance_of_a_step(kind):
    fixed = load_recipe("ddpm", {"denoiser.kind": kind, "network.kind": "residual"})
    learned = load_recipe(fixed, {"denoiser.variance": "learned", "loss.kind": "hybrid"})
    fixed, learned = (recipe.make_denoiser(3, jax.random.key(0)) for recipe in (fixed, learned))
    assert isinstance(learned, LearnedVariance) and learned.kind is type(fixed)
    assert (fixed.network.out.weight.shape[0], learned.network.out.weight.shape[0]) == (3, 6)


@effect("denoiser.edm.variance")
def variance_that_is_refused(kind):
    with pytest.raises(RecipeError, match=r"denoiser.variance = 'learned' .*denoiser.kind = 'edm'"):
        load_recipe("ddpm", {"denoiser.kind": kind, "denoiser.variance": "learned", "loss.kind": "hybrid",
                             "network.kind": "residual"})  # fmt: skip


@effect("loss.min_snr.gamma")
def gamma_of_the_loss(kind):
    schedule = VarianceExploding(10.0)
    for most in (5.0, 2.0):
        loss = changed("loss", kind, gamma=most).loss
        np.testing.assert_allclose(loss.weight(schedule, jnp.array([0.1, 1.0])), [most, 0.01], rtol=1e-5)


@effect("loss.hybrid.weight")
def weight_of_the_bound(kind):
    base = load_recipe("ddpm", {"network.kind": "residual", "denoiser.variance": "learned", "loss.kind": "hybrid"})
    denoiser, eps = base.make_denoiser(2, jax.random.key(0)), jnp.array([0.3, -0.2])
    one, ten = (
        load_recipe(base, {"loss.weight": weight}).loss(denoiser, jnp.ones(2), jnp.array(0.5), eps)
        for weight in (0.001, 0.01)
    )
    np.testing.assert_allclose([10 * one["vlb"], one["eps"]], [ten["vlb"], ten["eps"]], rtol=1e-5)


# --- times ---------------------------------------------------------------------------------------------------------


def uniforms(recipe, t):
    """The u of which t are the quantiles, by the formulas of the distributions."""
    times, kind = recipe.times, recipe.kind("times")
    t = np.asarray(t, float)
    if kind == "steps":
        return t - 0.5 / recipe.steps
    if kind == "uniform":
        return (t - times.least) / (1 - times.least)
    place = special.logit(t) if kind == "logit_normal" else -np.asarray(recipe.make_schedule().log_snr(t)) / 2
    return stats.norm.cdf((place - times.mean) / times.std)


@effect(*(f"times.{kind}.draw" for kind in ("steps", "log_normal", "uniform", "logit_normal")))
def draw_of_times(kind):
    n = 10
    for draw in ("uniform", "antithetic", "stratified"):
        recipe = changed("times", kind, draw=draw)
        u = uniforms(recipe, recipe.times(recipe.make_schedule(), jax.random.key(2), n))
        pairs = np.allclose(u[: n // 2 - 1] + u[n // 2 + 1 :], 1, atol=1e-3)
        parts = sorted(np.floor(u * n + 1e-3)) == [*range(n)]
        assert (pairs, parts) == (draw == "antithetic", draw == "stratified"), draw


@effect(*(f"times.{kind}.{key}" for kind in ("log_normal", "logit_normal") for key in ("mean", "std")))
def mean_and_std_of_times(kind):
    for mean, std in ((-0.5, 1.0), (0.5, 1.0), (-0.5, 0.6)):
        recipe = changed("times", kind, mean=mean, std=std)
        schedule = recipe.make_schedule()
        t = recipe.times.place(schedule, jnp.array([0.5, stats.norm.cdf(1)]))
        place = special.logit(np.asarray(t, float)) if kind == "logit_normal" else -schedule.log_snr(t) / 2
        np.testing.assert_allclose(place, [mean, mean + std], atol=1e-3)


@effect("times.uniform.least")
def least_time(kind):
    for least in (0.001, 0.2):
        recipe = changed("times", kind, least=least)
        t = recipe.times(recipe.make_schedule(), jax.random.key(0), 1000)
        assert least < t.min() < least + 0.002


# --- conditions ----------------------------------------------------------------------------------------------------


@effect(*(f"conditions.{key}" for key in ("joint", "posterior", "likelihood", "random")))
def conditions():
    theta = np.random.default_rng(0).normal(size=(12, 3))
    alone = {"joint": [0, 0, 0], "posterior": [0, 1, 1], "likelihood": [1, 0, 0], "random": [0.5, 0.5, 0.5]}
    plain = dict.fromkeys((f"conditions.{key}" for key in alone), 0.0)
    for key, shown in alone.items():
        recipe = load_recipe("any", plain | {f"conditions.{key}": 2.0})
        masks = recipe.conditions.masks(np.array([False, True, True]), np.random.default_rng(0))
        np.testing.assert_allclose(masks.mean(axis=0), shown, atol=0.03)
    # In training, too: with other masks the network sees another context from the first step on.
    first = [
        fit_points(
            PointData(theta[:, :1], given=theta[:, 1:]), "any", changes=SMALLEST | plain | {f"conditions.{key}": 1.0}
        ).training.losses[0]
        for key in alone
    ]
    assert len(set(first)) == 4


# --- the training of points ----------------------------------------------------------------------------------------

SMALLEST = {
    "network.width": 6, "network.depth": 1, "training.steps": 3, "training.batch": 4, "training.averages": 0,
    "training.optimiser": "adam", "training.learning_rate": 0.01, "training.decay": "constant", "training.warmup": 0,
    "grid.steps": 4,
}  # fmt: skip
MOONS = motes.make_shape("moons", 12, seed=0)


@cache
def _fitted(changes, labelled):
    data = PointData(MOONS, labels=[0, 1] * 6) if labelled else MOONS
    return fit_points(data, changes=SMALLEST | dict(changes), seed=1)


def fitted(x, changes, labelled=False):
    if x is MOONS:
        return _fitted(tuple(sorted(changes.items())), labelled)
    return fit_points(x, changes=SMALLEST | changes, seed=1)


def trained(labelled=False, **options):
    return fitted(MOONS, {f"training.{key}": value for key, value in options.items()}, labelled).training


START = load_recipe("default", SMALLEST).make_denoiser(2, seed_key(1, "weights"))


@effect("training.steps")
def steps():
    assert [trained(steps=n).steps for n in (1, 3)] == [1, 3]


@effect("training.batch")
def batch():
    for size in (4, 3):  # how many of the rows of the first epoch were given
        assert trained(batch=size).state.numbers["batches/0/given"] == 3 * size


@effect("training.last_batch")
def last_batch():
    left = {how: trained(batch=5, last_batch=how).state.arrays["batches/0/left"] for how in ("fill", "partial")}
    assert {how: len(rows) for how, rows in left.items()} == {"fill": 2, "partial": 0}  # of 12 rows in 3 batches of 5


@effect("training.target")
def target():
    losses = {how: trained(batch=12, steps=3, target=how).losses for how in ("row", "stable")}
    assert losses["row"][0] != losses["stable"][0]
    np.testing.assert_array_equal(trained(batch=12, steps=3).losses, losses["row"])  # suits so few rows


@effect("training.optimiser")
def optimiser():
    # The first steps are of rank one: Adam's change all weights of a matrix by the same, SOAP's by other amounts.
    moved = {
        how: np.abs(trained(steps=1, optimiser=how).last.network.out.weight - START.network.out.weight)
        for how in ("adam", "soap")
    }
    assert np.ptp(moved["adam"]) < 1e-4 < np.ptp(moved["soap"])


@effect("training.learning_rate")
def learning_rate():
    for rate in (0.01, 0.002):  # Adam's first step is as long for every weight that has a slope
        moved = np.abs(weights_of(trained(steps=1, learning_rate=rate).last) - weights_of(START))
        np.testing.assert_allclose(moved.max(), rate, rtol=1e-3)


def changes_by(gradients, **options):
    """The changes of one weight by the optimiser of a recipe for gradients that come one after another."""
    recipe = load_recipe("default", SMALLEST | {f"training.{key}": value for key, value in options.items()})
    optimiser = recipe.training.make_optimiser()
    state, made = optimiser.init(jnp.zeros(1)), []
    for gradient in gradients:
        change, state = optimiser.update(jnp.array([gradient]), state)
        made.append(float(change[0]))
    return np.array(made)


@effect("training.decay")
def decay():
    constant = changes_by(np.ones(6), decay="constant", steps=6, learning_rate=0.1)
    cosine = changes_by(np.ones(6), decay="cosine", steps=6, learning_rate=0.1)
    np.testing.assert_allclose(constant, -0.1, rtol=1e-3)
    np.testing.assert_allclose(cosine, -0.1 * (1 + np.cos(np.pi * np.arange(6) / 6)) / 2, rtol=1e-3)
    # And a training takes them: of its last steps those of a cosine are the shorter ones.
    far = {how: weights_of(trained(steps=3, decay=how).last) for how in ("constant", "cosine")}
    assert not np.array_equal(*far.values())


@effect("training.warmup")
def warmup():
    rising = changes_by(np.ones(6), warmup=4, steps=20, learning_rate=0.1)
    np.testing.assert_allclose(rising, -0.1 * np.minimum(np.arange(6) / 4, 1), rtol=1e-3, atol=1e-7)
    np.testing.assert_array_equal(weights_of(trained(steps=1, warmup=2).last), weights_of(START))


@effect("training.clip_norm")
def clip_norm():
    # Adam forgets the size of all gradients together, not that of one beside another.
    clipped, cut, free = (changes_by([1000.0, 1.0], clip_norm=norm) for norm in (1.0, 0.5, 1e9))
    np.testing.assert_allclose(clipped[1], clipped[0], rtol=1e-3)
    m, v = 0.9 * 0.1 * 0.5 + 0.1 * 0.5, 0.999 * 0.001 * 0.25 + 0.001 * 0.25
    np.testing.assert_allclose(cut[1], -0.01 * (m / 0.19) / np.sqrt(v / 0.001999), rtol=1e-3)
    assert abs(free[1]) < 0.7 * abs(clipped[1])
    weights = [weights_of(trained(steps=3, clip_norm=norm).last) for norm in (1e-6, 1e9)]
    assert not np.allclose(*weights, rtol=1e-3)


@effect("training.ema")
def ema():
    for share in (0.998, 0.5):
        one = trained(steps=1, ema=share)
        expected = share * weights_of(START) + (1 - share) * weights_of(one.last)
        np.testing.assert_allclose(weights_of(one.averaged), expected, rtol=1e-4, atol=1e-7)


@effect("training.weights")
def which_weights():
    for which in ("averaged", "last"):
        model = fitted(MOONS, {"training.weights": which})
        assert model.denoiser is getattr(model.training, which)


@effect("training.label_dropout")
def label_dropout():
    start = load_recipe("default", SMALLEST).make_denoiser(2, seed_key(1, "weights"), 2)
    for share in (0.0, 1.0):  # what a network does with labels is learned only where it is shown some
        into = trained(labelled=True, label_dropout=share).last.denoiser.network.into.weight[:, -2:]
        assert np.array_equal(into, start.denoiser.network.into.weight[:, -2:]) == (share == 1)


@effect("training.validation")
def validation():
    assert trained().best is None
    # With a quarter of 12 rows held out 9 are learned, with a half 6: what is left of them after steps of 4 rows.
    for share, left in ((0.25, 1), (0.5, 2)):
        found = trained(validation=share)
        assert found.best is not None and len(found.state.arrays["batches/0/left"]) == left, share


@effect("training.check_every")
def check_every():
    looked = [trained(steps=7, validation=0.25, check_every=every, patience=9).looks[:, 0] for every in (2, 3)]
    assert [one.tolist() for one in looked] == [[0, 2, 4, 6, 7], [0, 3, 6, 7]]


@effect("training.patience")
def patience():
    for looks in (2, 4):  # a rate at which nothing becomes better
        hopeless = trained(steps=20, validation=0.25, check_every=1, patience=looks, learning_rate=30.0, ema=0.0)
        assert hopeless.best == 0 and hopeless.looks[-1, 0] == hopeless.looks[:, 0].size - 1 == looks


@effect("training.averages")
def averages():
    assert trained().averages is None
    assert np.unique(trained(steps=6, averages=3).averages.steps).tolist() == [2, 4, 6]
    assert np.unique(trained(steps=6, averages=2).averages.steps).tolist() == [3, 6]


@effect("training.snapshots")
def snapshots():
    for count, steps in ((0, []), (2, [4, 8]), (3, [2, 4, 8])):
        assert [shot.step for shot in trained(steps=8, snapshots=count).snapshots] == steps


# --- sampler -------------------------------------------------------------------------------------------------------

LEVELS = VarianceExploding(10.0)
NORMAL = GaussianOracle([0.0], [[1.0]], LEVELS)
X_T, T, S = jnp.array([2.0]), jnp.array(0.6), jnp.array(0.5)
R_T, R_S = (float(LEVELS.sigma(t)) for t in (T, S))


def step(sampler, s=S, seed=0, state=None, x_t=X_T, t=T, grid=(1.0, 0.6, 0.5, 0.0)):
    state = sampler.init(x_t, jnp.array(grid)) if state is None else state
    return float(sampler.step(NORMAL, x_t, t, jnp.asarray(s, float), state, jax.random.key(seed))[0][0])


def spread(sampler, s=S):
    """The standard deviation of a step over its noise."""
    draw = lambda key: sampler.step(NORMAL, X_T, T, jnp.asarray(s, float), sampler.init(X_T, jnp.ones(5)), key)[0][0]
    return deviation(jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(1), 4000)))


def sampler(kind, **options):
    return changed("sampler", kind, **options).sampler


@effect("sampler.ancestral.variance")
def variance_of_ancestral(kind):
    beta = R_T**2 - R_S**2
    posterior = beta * R_S**2 / R_T**2
    learned = float(jnp.exp(NORMAL.log_variance(X_T, T, S)[0]))
    for variance, expected in (("beta", beta), ("posterior", posterior)):
        assert abs(spread(sampler(kind, variance=variance)) / expected**0.5 - 1) < 0.06
    base = load_recipe("ddpm", {"network.kind": "residual", "denoiser.variance": "learned", "loss.kind": "hybrid"})
    own = load_recipe(base, {"sampler.kind": kind, "sampler.variance": "learned"}).sampler
    assert abs(spread(own) / learned**0.5 - 1) < 0.06
    assert 1.1 * posterior < learned < 0.95 * beta


@effect("sampler.ancestral.denoise_last")
def denoise_last(kind):
    assert spread(sampler(kind, denoise_last=True), s=0.0) == 0
    assert abs(spread(sampler(kind, denoise_last=False), s=0.0) / R_T - 1) < 0.06


@effect("sampler.ddim.eta", "sampler.dpmpp_2m_sde.eta")
def eta(kind):
    posterior = R_S * np.sqrt(1 - (R_S / R_T) ** 2)
    for eta in (0.0, 0.5, 1.0):
        noise = eta * posterior if kind == "ddim" else R_S * np.sqrt(1 - (R_S / R_T) ** (2 * eta))
        assert abs(spread(sampler(kind, eta=eta)) - noise) <= 0.06 * noise
    if kind == "dpmpp_2m_sde":
        np.testing.assert_allclose(step(sampler(kind, eta=0.0)), step(DPMSolver2M()), rtol=1e-6)


@effect("sampler.gradient_estimation.gamma")
def gamma_of_the_sampler(kind):
    eps = float(NORMAL.eps(X_T, T)[0])
    for gamma in (1.0, 1.5, 2.0):
        found = step(sampler(kind, gamma=gamma), state=(jnp.array([0.2]), jnp.array(True)))
        np.testing.assert_allclose(found, 2.0 + (R_S - R_T) * (gamma * eps + (1 - gamma) * 0.2), rtol=1e-5)


@effect("sampler.adaptive.rtol", "sampler.adaptive.atol")
def tolerances(kind):
    exact = 2.0 * np.sqrt((1 + 1e-4) / (1 + 100))  # of the flow of N(0, 1), from the level 10 to 0.01
    end = LEVELS.t_of_log_snr(-2 * np.log(0.01))
    error = lambda **options: abs(step(sampler(kind, **options), t=jnp.array(1.0), s=end) - exact)
    tight = error(rtol=1e-5, atol=1e-5)
    assert tight < 1e-4 < 1e-3 < min(error(rtol=1.0, atol=1e-5), error(rtol=1e-5, atol=1.0))


@effect(*(f"sampler.churn.{key}" for key in ("churn", "from_level", "to_level", "noise")))
def churn(kind):
    none, some, more = (spread(sampler(kind, churn=much)) for much in (0.0, 0.4, 0.8))
    assert none == 0 and more > 1.2 * some > 0
    # A grid of four steps: each goes up by a factor of 1.1, from where Heun's step to R_S multiplies y by a constant.
    up = 1.1 * R_T
    first = up / (1 + up**2)
    half = (R_S - up) / 2 * (first + (1 + (R_S - up) * first) * R_S / (1 + R_S**2))
    np.testing.assert_allclose(some, (1 + half) * R_T * np.sqrt(1.1**2 - 1), rtol=0.05)
    np.testing.assert_allclose(spread(sampler(kind, churn=0.4, noise=2.0)), 2 * some, rtol=1e-3)
    inside, above, below = (
        spread(sampler(kind, churn=0.4, from_level=low, to_level=high))
        for low, high in ((0.9 * R_T, 1.1 * R_T), (1.1 * R_T, 9.0), (0.0, 0.9 * R_T))
    )
    assert (inside, above, below) == (some, 0, 0)


@effect("sampler.langevin.corrections", "sampler.langevin.snr")
def corrections(kind):
    assert [sampler(kind, corrections=n).evaluations for n in (1, 3)] == [1, 3]
    # Each correction adds noise: of one the standard deviation is 2 snr r, and of three about the root of three times.
    added = [spread(sampler(kind, corrections=n, snr=snr)) for n, snr in ((1, 0.01), (3, 0.01), (1, 0.02))]
    np.testing.assert_allclose(added, 2 * R_S * np.array([0.01, 0.01 * np.sqrt(3), 0.02]), rtol=0.05)


# --- grid ----------------------------------------------------------------------------------------------------------


@effect(*(f"grid.{kind}.steps" for kind in ("uniform", "quadratic", "karras", "log_snr")))
def grid_steps(kind):
    assert [len(changed("grid", kind, steps=n).make_grid()) for n in (5, 9)] == [6, 10]


@effect("grid.karras.sigma_min", "grid.karras.rho", "grid.log_snr.sigma_min")
def levels_of_the_grid(kind):
    for least, rho in ((0.004, 7.0), (0.02, 7.0), (0.004, 3.0)):
        recipe = changed("grid", kind, steps=6, sigma_min=least, **({"rho": rho} if kind == "karras" else {}))
        levels = recipe.make_schedule().sigma(recipe.make_grid())
        expected = karras_levels(6, least, 10.0, rho) if kind == "karras" else np.geomspace(10.0, least, 6)
        np.testing.assert_allclose(levels, [*expected, 0], rtol=1e-3)


@effect("grid.given.times")
def given_times(kind):
    for times in ([1.0, 0.0], [1.0, 0.75, 0.25, 0.0]):
        assert changed("grid", kind, times=times).make_grid().tolist() == times


# --- table ---------------------------------------------------------------------------------------------------------

RNG = np.random.default_rng(0)
START_DAY = RNG.integers(0, 300, 120)
PEOPLE = {
    "a": RNG.integers(0, 60, 120),
    "b": (b := RNG.integers(0, 60, 120)),
    "label": RNG.choice(["u", "v", "w"], 120, p=[0.6, 0.3, 0.1]).tolist(),
}
PEOPLE["sum"] = PEOPLE["a"] + b
GAPS = [None if k % 4 == 0 else label for k, label in enumerate(PEOPLE["label"])]


def table(data=PEOPLE, **options):
    return fit_table(data, changes=TINY | {f"table.{key}": value for key, value in options.items()}, seed=1)


def parts(**options):
    """The model of a table of which nothing is learned."""
    with untrained():
        return table(**options)


@effect("table.bins")
def bins():
    for most in (4, 8):
        assert max(part.count for part in parts(bins=most).schema.parts) == most


@effect("table.missing")
def missing():
    for how, count in (("ignore", 3), ("learn", 4)):
        with untrained():
            model = table({"label": GAPS, "a": PEOPLE["a"]}, missing=how)
        assert model.schema.parts[0].count == count
        assert (model.schema.missing_shares[0] > 0) == (how == "learn")


@effect("table.relations")
def relations():
    assert [len(parts(relations=on).schema.relations) > 0 for on in (False, True)] == [False, True]


@effect("table.width", "table.depth")
def size_of_the_network_of_a_table():
    for width, depth in ((8, 1), (12, 1), (8, 2)):
        network = parts(width=width, depth=depth).models.network
        assert network.hidden.shape[-1] == width and len(network.into) == depth


@effect("table.components", "table.own")
def normals_of_a_table():
    two = np.where(RNG.random(400) < 0.5, -5, 5) + RNG.normal(size=400)
    for most, own in ((1, 0), (2, 0), (2, 3)):
        with untrained():
            model = table({"x": two.round(3), "label": (two > 0).tolist()}, components=most, own=own, steps=1)
        components = model.models.base.means.shape[1]
        assert components == most
        assert model.models.network.line_bias.shape[-1] == 1 + 3 * (components + own)


NINE = {"label": [*"uvwuvwuuv"], "other": [*"uuvvwwuvu"]}  # so few that none are held out
TWO = {"label": PEOPLE["label"], "other": PEOPLE["label"][::-1]}


@cache
def _learned(options, data):
    made = {"steps": 6, "fixed": 1.0, "averages": 3, "batch": 16, "dropout": 0.0} | dict(options)
    return table(NINE if data == "nine" else TWO, **made).training


def learned(data="nine", **options):
    return _learned(tuple(sorted(options.items())), data)


def weights_after(training, name, of="last"):
    """Some of the weights of the only member, or of their average, after the last step."""
    found = getattr(getattr(training, of), name)
    return np.asarray(found[0] if isinstance(found, tuple) else found)[0]


@effect("table.steps")
def steps_of_a_table():
    assert [learned(steps=n).steps for n in (6, 1)] == [6, 1]


@effect("table.batch", "table.averages")
def batch_and_averages_of_a_table():
    for size, stores, stored in ((16, 3, [2, 4, 6]), (8, 2, [3, 6])):
        found = learned(batch=size, averages=stores)
        assert np.unique(found.averages.steps).tolist() == stored
        state = found.state
        assert (state.numbers["batches/0/given"], len(state.arrays["batches/0/left"])) == _place(9, size, 6)
    assert learned(steps=1, averages=0).averages is None


def _place(n, size, steps):
    """How many of the rows at hand were given, and how many were left before they were drawn, in order after order."""
    rows = given = left = 0
    for _ in range(steps):
        if given + size > rows:
            left = rows - given
            rows, given = left, 0
            while rows < size:
                rows += n
        given += size
    return given, left


@effect("table.fixed")
def fixed():
    # Where all rows are drawn in one order, how its last column is shown to the network is not learned.
    for share in (1.0, 0.0):
        embed = weights_after(learned(fixed=share), "embed")
        start = weights_after(learned(steps=1), "embed")
        moved = np.abs(embed - start).max(axis=1).reshape(2, 3).max(axis=1) > 0
        assert moved.sum() == (1 if share else 2), share


@effect("table.dropout")
def dropout_of_a_table():
    whole, thinner = (learned(dropout=share).losses for share in (0.0, 0.5))
    assert whole[0] == thinner[0] and whole[-1] != thinner[-1]  # at first all outputs are 0


SOME = {"steps": 1, "averages": 0, "learning_rate": 0.004, "weight_decay": 0.0, "ema": 0.99}
OTHER = {"steps": 1, "averages": 0, "learning_rate": 0.01, "weight_decay": 5.0, "ema": 0.05}


@effect("table.learning_rate")
def learning_rate_of_a_table():
    for options in (SOME, OTHER):  # the weights of the codes are 0 at first, and Adam's first step is as long for each
        moved = np.abs(weights_after(learned(**options), "out_free"))
        np.testing.assert_allclose(moved.max(), options["learning_rate"], rtol=1e-3)


@effect("table.weight_decay")
def weight_decay_of_a_table():
    start, fallen = (weights_after(learned(**options), "hidden") for options in (SOME, OTHER))  # which has no slope yet
    np.testing.assert_allclose(fallen, (1 - 0.01 * 5) * start, rtol=1e-4)


@effect("table.ema")
def ema_of_a_table():
    for options, share in ((SOME, 0.1), (OTHER, 0.05)):  # a long one is shorter at first
        last, average = (weights_after(learned(**options), "out_free", of) for of in ("last", "averaged"))
        np.testing.assert_allclose(average, (1 - share) * last, rtol=1e-4)


@effect("table.clip_norm")
def clip_norm_of_a_table():
    # Adam forgets how long a gradient is, unless it is as small as the number that keeps it from dividing by 0.
    moved = np.abs(weights_after(learned(**SOME, clip_norm=1e-9), "out_free"))
    assert 0 < moved.max() < 0.2 * 0.004


@effect("table.check_every", "table.patience")
def looks_of_a_table():
    found = learned("two", steps=70, check_every=50, patience=9, averages=0)
    assert found.looks[:, 0].tolist() == [0, 50, 70]
    found = learned("two", steps=200, check_every=50, patience=2, averages=0, learning_rate=2.0)  # which spoils all
    assert 0 < found.state.numbers["watch/waited"] <= 2 and found.steps < 200


@pytest.mark.slow
def test_other_numbers_of_a_table_need_no_other_program(monkeypatch):
    made, real = [], _step._adamw
    monkeypatch.setattr(_step, "_adamw", lambda *numbers: made.append(numbers) or real(*numbers))
    same = {"averages": 3, "batch": 16, "dropout": 0.0}
    table(NINE, **same, steps=6, fixed=1.0)
    traced = len(made)
    found = table(NINE, **same, steps=3, fixed=0.0, learning_rate=0.02, weight_decay=3.0, clip_norm=9.0, ema=0.5)
    assert found.training.steps == 3
    assert len(made) == traced + 1 > 2  # once for the state before the first step, and no program traces it anew


@effect("table.calibrate")
def calibrate():
    for on in (False, True):
        bias = parts(calibrate=on).orders.bias
        assert any(np.abs(np.asarray(part)).max(initial=0) > 0 for part in bias) == on


# -------------------------------------------------------------------------------------------------------------------


SEEN = set()  # a function looks at all of its options at once


@pytest.mark.slow(only=["conditions.joint", "times.log_normal.draw", "training.batch"])
@pytest.mark.parametrize("option", EFFECTS)
def test_an_option_changes_what_it_says(option, request, tmp_path):
    look, kind = EFFECTS[option], option.split(".")[1]
    takes = look.__code__.co_varnames[: look.__code__.co_argcount]
    fixtures = {name: request.getfixturevalue(name) for name in takes if name != "kind"}
    given = fixtures | ({"kind": kind} if "kind" in takes else {})
    if (look, given.get("kind")) not in SEEN:
        look(**given)
        SEEN.add((look, given.get("kind")))
