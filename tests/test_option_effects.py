"""Each recipe option changes what a run computes.

`VALUES` has another value for each key of each kind of each section. What the section decides (a schedule, the times of
a grid, the points of a sampler, a short training, ...) must differ with it. Options of training are looked at in a
training from the recipe, so that nothing on the way may leave them out. What an option changes exactly is tested with
its part.
"""

import tomllib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.tables import TINY, untrained

import motes
from fits import fit_points, fit_table
from motes.data.files import read_frame
from motes.fitting import prepare_rows
from motes.points import GaussianOracle, KarrasGrid, ReverseProcess, VarianceExploding, sample
from motes.points.fitting import PointData, standardiser_of
from motes.points.networks import each_alone
from motes.recipes import SECTIONS, kinds_of, load_recipe, parse
from motes.tables import training as table_training
from motes.training.averages import weights_of
from motes.training.recipe import keys_of

SMALLEST = {
    "network.width": 6, "network.depth": 1, "training.steps": 3, "training.batch": 4, "training.averages": 0,
    "training.optimiser": "adam", "training.learning_rate": 0.01, "training.decay": "constant", "training.warmup": 0,
    "grid.steps": 4,
}  # fmt: skip
VALIDATED = {
    "training.validation": 0.25, "training.check_every": 2, "training.steps": 7, "training.learning_rate": 30.0,
    "training.ema": 0.0,
}  # fmt: skip
LEARNED = {"denoiser.variance": "learned", "loss.kind": "hybrid"}
STEPS = {"schedule.kind": "linear"}
BETAS = {"steps": 7, "start": 0.02, "end": 0.2}

# Option -> another value; or the recipe to change, the changes that both trainings have, and the value.
VALUES = {
    "data.rows": 31,
    "data.noise": 0.3,
    "data.in_memory": 20,
    "data.held_out": 0.5,
    "data.encode": True,
    "data.standardise": False,
    "data.label": "c",
    "data.given": ("c",),
    "data.bounds": ("a=-9..9",),
    **{f"schedule.{kind}.{key}": value for kind in ("linear", "quad", "sigmoid") for key, value in BETAS.items()},
    "schedule.cosine.steps": 7,
    "schedule.cosine.offset": 0.2,
    "schedule.cosine.max_beta": 0.3,
    "schedule.exploding.sigma_max": 30.0,
    "schedule.exploding.rho": 2.0,
    "schedule.continuous_linear.beta_min": 0.5,
    "schedule.continuous_linear.beta_max": 10.0,
    "schedule.continuous_cosine.alpha_1": 0.2,
    "schedule.rectified_flow.alpha_1": ("default", {"grid.kind": "log_snr"}, 0.2),
    "schedule.knots.alphas": (0.9, 0.5, 0.3, 0.1),
    "schedule.knots.sigmas": (0.2, 0.6, 1.0, 2.0),
    "network.step_gated.width": ("ddpm", {}, 9),
    "network.step_gated.depth": ("ddpm", {}, 2),
    "network.residual.width": 9,
    "network.residual.depth": 2,
    "network.residual.dropout": 0.5,
    "network.residual.members": 3,
    "network.residual.scales": 3,
    "network.residual.octaves": 2,
    **{f"denoiser.{kind}.variance": ("ddpm", {}, LEARNED) for kind in ("eps", "x0", "v", "velocity")},
    "loss.min_snr.gamma": 2.0,
    "loss.hybrid.weight": ("ddpm", LEARNED, 0.01),
    "times.steps.draw": ("default", STEPS, "uniform"),
    **{f"times.{kind}.draw": "antithetic" for kind in ("log_normal", "uniform", "logit_normal")},
    "times.log_normal.mean": -0.5,
    "times.log_normal.std": 0.6,
    "times.logit_normal.mean": 0.5,
    "times.logit_normal.std": 0.6,
    "times.uniform.least": 0.2,
    **{f"conditions.{key}": ("any", {}, 2.0) for key in ("joint", "posterior", "likelihood", "random")},
    "training.steps": 2,
    "training.batch": 3,
    "training.last_batch": ("default", {"training.batch": 5}, "partial"),
    "training.target": ("default", {"training.batch": 12}, "stable"),
    "training.optimiser": "soap",
    "training.learning_rate": 0.002,
    "training.decay": "cosine",
    "training.warmup": 2,
    "training.clip_norm": 1e-6,
    "training.ema": 0.5,
    "training.weights": "last",
    "training.label_dropout": 0.9,
    "training.validation": 0.25,
    "training.check_every": ("default", VALIDATED, 3),
    "training.patience": ("default", VALIDATED | {"training.check_every": 1}, 2),
    "training.averages": 3,
    "training.snapshots": 0,
    "sampler.ancestral.variance": "posterior",
    "sampler.ancestral.denoise_last": False,
    "sampler.ddim.eta": 0.5,
    "sampler.gradient_estimation.gamma": 2.0,
    "sampler.adaptive.rtol": 0.1,
    "sampler.adaptive.atol": 0.1,
    "sampler.dpmpp_2m_sde.eta": 0.5,
    "sampler.churn.churn": 0.8,
    "sampler.churn.from_level": 1.0,
    "sampler.churn.to_level": 1.0,
    "sampler.churn.noise": 2.0,
    "sampler.langevin.corrections": 3,
    "sampler.langevin.snr": 0.1,
    "grid.uniform.steps": ("default", STEPS, 5),
    **{f"grid.{kind}.steps": 5 for kind in ("quadratic", "karras", "log_snr")},
    "grid.karras.sigma_min": 0.02,
    "grid.karras.rho": 3.0,
    "grid.log_snr.sigma_min": 0.02,
    "grid.given.times": (1.0, 0.5, 0.25, 0.0),
    "rules.hold": ("table", TINY | {"table.relations": False}, ["sum == a + b"]),
    "table.bins": 4,
    "table.missing": "ignore",
    "table.relations": False,
    "table.width": 12,
    "table.depth": 2,
    "table.components": 2,
    "table.members": 2,
    "table.own": 3,
    "table.calibrate": True,
    "table.steps": 4,
    "table.batch": 8,
    "table.averages": 2,
    "table.fixed": 1.0,
    "table.dropout": 0.5,
    "table.learning_rate": 0.02,
    "table.weight_decay": 5.0,
    "table.ema": 0.05,
    "table.clip_norm": 1e-9,
    "table.check_every": 3,
    "table.patience": (
        "table",
        {"table.check_every": 1, "table.learning_rate": 2.0, "table.ema": 0.05, "table.steps": 40},
        1,
    ),
}
REFUSED = "denoiser.edm.variance"  # an option that this kind has only for its message
TEXT = {
    "text.sep": ";", "text.decimal": ",", "text.na": ["?"], "text.date_format": ["%d/%m/%Y"],
    "text.encoding": "latin-1",
}  # fmt: skip


def test_every_option_has_another_value():
    kinds = [(section, kind, cls) for section in SECTIONS for kind, cls in kinds_of(section).items()]
    every = {".".join(filter(None, (section, kind, key))) for section, kind, cls in kinds for key in keys_of(cls)}
    assert every == {*VALUES, *TEXT, REFUSED, "text.sheet", "text.sql"}  # the last two: tests/test_exchange.py


# --- what each section decides --------------------------------------------------------------------------------------

T = np.linspace(0.01, 1, 20)
KEY = jax.random.key(0)
NORMAL = GaussianOracle([0.0], [[1.0]], VarianceExploding(10.0))
LEVELS = KarrasGrid(steps=6)(NORMAL.schedule)
MOONS = motes.make_shape("moons", 12, seed=0)


def rows(recipe, source):
    """The training rows, also in the units of the network, the ends of these units, and the number of held-out rows."""
    ready = prepare_rows(source, recipe, 0)
    if ready.schema is not None:
        return ready.schema.names
    table, held_out = ready.origin.training, ready.origin.held_out
    units = standardiser_of(table, recipe)
    far = units.inverse(np.full((1, len(table.columns)), 99.0))
    given = None if table.given is None else table.given.x
    held = 0 if held_out is None else len(held_out)
    return table.x, table.labels, given, units.forward(table.x), far, held, table.many is not None


def schedule(recipe, _):
    schedule = recipe.make_schedule()
    return schedule.alpha(T), schedule.sigma(T), getattr(schedule, "betas", None)


def times(recipe, _):
    return recipe.times(recipe.make_schedule(), KEY, 10)


def points(recipe, _):
    return sample(ReverseProcess(NORMAL, recipe.sampler, LEVELS, 1), 20, key=KEY)[0]


def grid(recipe, _):
    return recipe.make_grid()


def training(recipe, option):
    """The losses and the weights of a training, and all that it stores."""
    data = PointData(MOONS)
    if option == "training.label_dropout":
        data = PointData(MOONS, labels=[0, 1] * 6)
    elif option.startswith("conditions") or option.endswith("scales"):
        data = PointData(MOONS[:, :1], given=MOONS[:, 1:])
    model = fit_points(data, recipe, seed=1)
    return (weights_of(model.denoiser), *_results(model.training))


def _results(found):
    averages = found.averages and found.averages.steps
    rest = {name: part for name, part in found.state.arrays.items() if name.startswith("batches")}
    leaves = jax.tree.leaves(eqx.filter((found.averaged, found.last), eqx.is_array))
    return found.losses, found.looks, found.best, averages, [shot.step for shot in found.snapshots], leaves, rest


STRUCTURE = {
    f"table.{key}" for key in ("bins", "missing", "relations", "width", "depth", "components", "own", "calibrate")
}
RNG = np.random.default_rng(0)
A, B = RNG.integers(0, 60, (2, 120))
PEOPLE = {
    "a": A, "b": B, "sum": A + B, "x": np.where(RNG.random(120) < 0.5, -5, 5) + RNG.normal(size=120).round(3),
    "label": [None if k % 4 == 0 else label for k, label in enumerate(RNG.choice(["u", "v", "w"], 120).tolist())],
}  # fmt: skip


def table(recipe, option):
    """What a table of which nothing is learned consists of, or its training."""
    if option not in STRUCTURE:
        return _results(fit_table({"label": [*"uvwuvwuuv"] * 9, "other": [*"uuvvwwuvu"] * 9}, recipe, seed=1).training)
    with untrained():
        model = fit_table(PEOPLE, recipe, seed=1)
    parts = [part.count for part in model.schema.parts]
    return parts, len(model.schema.relations), model.orders.bias, jax.tree.leaves(model.models)


def rules(recipe, _):
    with untrained():
        return fit_table(PEOPLE, recipe, seed=1).draw(50)["sum"]


LOOKS = {
    "rules": rules, "data": rows, "schedule": schedule, "times": times, "sampler": points, "grid": grid, "table": table,
    **dict.fromkeys(("network", "denoiser", "loss", "conditions", "training"), training),
}  # fmt: skip


def equal(one, other):
    """Whether two nested results are equal to the bit."""
    one, other = map(jax.tree.leaves, (one, other))
    return len(one) == len(other) and all(map(np.array_equal, one, other))


# Quick are the sections that compile little, and one option of each of the others.
ONE_EACH = {
    "network.residual.dropout", "denoiser.eps.variance", "loss.min_snr.gamma", "training.learning_rate",
    "sampler.ddim.eta", "conditions.joint", "table.steps", "rules.hold",
}  # fmt: skip
OF_EACH_SECTION = [
    option for option in VALUES if option in ONE_EACH or option.startswith(("data", "schedule", "times", "grid"))
]


@pytest.mark.slow(but=OF_EACH_SECTION)
@pytest.mark.filterwarnings("ignore:the synthetic rows differ")
@pytest.mark.parametrize("option", VALUES)
def test_an_option_changes_what_its_section_decides(option, tmp_path):
    section, key = option.split(".")[0], option.split(".")[-1]
    value = VALUES[option]
    base, changes, value = value if isinstance(value, tuple) and len(value) == 3 else (None, {}, value)
    if section == "table":
        base, changes = "table", TINY | {"table.steps": 6, "table.averages": 3} | changes
    elif section not in ("data", "rules", "schedule", "times", "sampler", "grid"):
        changes = SMALLEST | changes
    if option.count(".") == 2:
        changes = {f"{section}.kind": option.split(".")[1]} | changes
    if section == "denoiser":
        changes = {"network.kind": "residual"} | changes
    recipe = load_recipe(base or "default", changes)
    other = load_recipe(recipe, value if isinstance(value, dict) else {f"{section}.{key}": value})
    assert parse(tomllib.loads(other.to_toml())) == other
    of = option
    if section == "data":
        x, labels = motes.data.make_labelled_shape("moons", 400, seed=0)
        of = "moons" if key in ("rows", "noise") else str(tmp_path / "t.csv")
        motes.data.write_frame(tmp_path / "t.csv", motes.data.as_frame({"a": x[:, 0], "b": x[:, 1], "c": labels}))
    assert not equal(*(LOOKS[section](one, of) for one in (recipe, other)))


def test_a_text_option_is_needed_to_read_the_file(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("ä;b;c\n1,234;?;05/06/2020\n2,345;7;07/06/2020\n".encode("latin-1"))
    read = lambda options: read_frame(path, load_recipe("table", options).text).columns
    columns = {name: series.cells() for name, series in read(TEXT).items()}
    assert columns["ä"] == [1.234, 2.345] and columns["b"] == [None, 7]
    assert [str(day) for day in columns["c"]] == ["2020-06-05", "2020-06-07"]
    for left_out in TEXT:  # the file cannot be read without it, or becomes another table
        try:
            other = read(TEXT | {left_out: [] if isinstance(TEXT[left_out], list) else None})
        except motes.errors.DataError:
            continue
        assert {name: series.cells() for name, series in other.items()} != columns, left_out


# --- exact answers about parts of the network that no other test asks for -------------------------------------------


def network(**options):
    return load_recipe("default", {f"network.{key}": value for key, value in options.items()}).network


def test_scales_are_log_means_of_squares_and_reach_the_hidden_layers():
    found = network(width=8, depth=1, scales=3).network(2, 2, context=4, steps=None, key=KEY)
    forms, shares = found.scales.forms, np.exp(np.asarray(found.scales.shares, float))
    context = np.array([0.5, -1.0, 2.0, 0.0])
    squares = (np.asarray(forms.weight) @ context + np.asarray(forms.bias)) ** 2
    exact = np.log(np.sqrt(1e-6 + (shares * squares).sum(axis=1) / shares.sum(axis=1)))
    np.testing.assert_allclose(found.scales(jnp.array(context)), exact, rtol=1e-5)
    # With every other weight of the first layer 0, the context matters by its scales alone.
    seen = jnp.zeros_like(found.into.weight).at[:, -3:].set(1.0)
    found = eqx.tree_at(lambda one: (one.into.weight, one.out.weight), found, (seen, jnp.ones((2, 8))))
    one, other = (found(jnp.ones(2), jnp.array(0.3), jnp.array(c)) for c in (context, 3 * context))
    assert (np.abs(one - other) > 0.1).all()


def test_octaves_are_periodic():
    found = network(width=8, depth=1, octaves=2).network(2, 2, context=0, steps=None, key=KEY)
    x, t = jnp.array([0.3, -1.1]), jnp.array(0.2)
    seen = jnp.zeros_like(found.into.weight).at[:, -4:-2].set(1.0)  # sin 2x of both columns, whose period is pi
    octave = eqx.tree_at(lambda one: (one.into.weight, one.out.weight), found, (seen, jnp.ones((2, 8))))
    np.testing.assert_allclose(octave(x, t), octave(x + jnp.pi, t), atol=1e-5)
    assert (np.abs(octave(x, t) - octave(x + jnp.pi / 2, t)) > 0.01).all()


def test_members_are_averaged():
    x, t = jnp.ones(2), jnp.array(0.3)
    three = network(members=3, width=8, depth=1).network(2, 2, context=0, steps=None, key=KEY)
    last = jax.random.normal(jax.random.key(1), (3, 2, 8))
    filled = eqx.tree_at(lambda network: [member.out.weight for member in network.members], three, list(last))
    each = [member(x, t) for member in filled.members]
    np.testing.assert_allclose(filled(x, t), np.mean(each, axis=0), rtol=1e-5)
    for alone, found in zip(each_alone(filled), each, strict=True):
        np.testing.assert_array_equal(alone(x, t), found)


def test_first_steps_are_as_long_as_the_recipe_says():
    adam = {"steps": 1, "averages": 0, "learning_rate": 0.01, "ema": 0.05, "fixed": 1.0, "batch": 16, "dropout": 0.0}
    found = fit_table(
        {"label": [*"uvwuvwuuv"], "other": [*"uuvvwwuvu"]},
        changes=TINY | {f"table.{key}": value for key, value in adam.items()},
        seed=1,
    ).training
    leaves = (network.out_free for network in (found.last, found.averaged))
    last, average = (np.asarray(leaf[0] if isinstance(leaf, tuple) else leaf) for leaf in leaves)
    np.testing.assert_allclose(np.abs(last).max(), 0.01, rtol=1e-3)  # the weights are 0 at first
    np.testing.assert_allclose(average, 0.95 * last, rtol=1e-4)


@pytest.mark.slow
def test_other_numbers_of_a_table_need_no_other_program(monkeypatch):
    made, real = [], table_training._adamw
    monkeypatch.setattr(table_training, "_adamw", lambda *numbers: made.append(numbers) or real(*numbers))
    rows = {"label": [*"uvwuvwuuv"], "other": [*"uuvvwwuvu"]}
    options = {"table.steps": 6, "table.fixed": 1.0, "table.dropout": 0.0}
    fit_table(rows, changes=TINY | options, seed=1)
    traced = len(made)
    options = {
        "table.steps": 3,
        "table.fixed": 0.0,
        "table.dropout": 0.0,
        "table.learning_rate": 0.02,
        "table.ema": 0.5,
    }
    assert fit_table(rows, changes=TINY | options, seed=1).training.steps == 3
    assert len(made) == traced + 1 > 2  # once for the state before the first step, and no program traces it anew
