"""Recipes: every number of the tutorial, every field settable, and every mistake explained."""

import dataclasses
import tomllib

import jax
import numpy as np
import pytest
from tests.reference import CONTINUOUS

from motes.errors import RecipeError, UsageError
from motes.points import PointRecipe, Simple
from motes.points.samplers import SAMPLERS
from motes.recipe_files import recipe_names, recipe_text
from motes.recipes import SECTIONS, kinds_of, load_recipe, parse

each_recipe = pytest.mark.parametrize("name", recipe_names())


def flat(recipe):
    values = recipe.to_dict()
    values.pop("about")
    return {f"{section}.{key}": value for section, part in values.items() for key, value in part.items()}


# --- the recipes that come with motes ------------------------------------------------------------------------------


def test_the_tutorial_recipe_is_the_tutorial_number_for_number():
    assert (
        flat(load_recipe("tutorial")).items()
        >= {
            "data.rows": 10_000,
            "data.noise": 0.1,
            "data.held_out": 0.0,
            "data.standardise": False,
            "schedule.kind": "sigmoid",
            "schedule.steps": 100,
            "schedule.start": 1e-5,
            "schedule.end": 0.5e-2,
            "network.kind": "step_gated",
            "network.width": 128,
            "network.depth": 3,
            "denoiser.kind": "eps",
            "denoiser.variance": "fixed",
            "loss.kind": "simple",
            "times.kind": "steps",
            "times.draw": "antithetic",
            "training.steps": 1000 * 79,  # epochs of 78 batches of 128 and one of 16
            "training.batch": 128,
            "training.optimiser": "adam",
            "training.last_batch": "partial",
            "training.learning_rate": 1e-3,
            "training.decay": "constant",
            "training.warmup": 0,
            "training.clip_norm": 1.0,
            "training.ema": 0.9,
            "training.weights": "last",
            "training.validation": 0.0,
            "sampler.kind": "ancestral",
            "sampler.variance": "beta",
            "sampler.denoise_last": False,
            "grid.kind": "uniform",
        }.items()
    )
    assert "grid.steps" not in flat(load_recipe("tutorial"))  # those of the schedule


def test_the_ddpm_recipe_puts_the_tutorial_right():
    ddpm, tutorial = flat(load_recipe("ddpm")), flat(load_recipe("tutorial"))
    assert (tutorial["data.standardise"], ddpm["data.standardise"]) == (False, True)
    assert (tutorial["training.weights"], ddpm["training.weights"]) == ("last", "averaged")
    assert (tutorial["sampler.denoise_last"], ddpm["sampler.denoise_last"]) == (False, True)
    left = [load_recipe(name).make_schedule().alphas_bar[-1] for name in ("tutorial", "ddpm")]
    assert left[1] < 0.01 < 0.7 < left[0]  # how much of the signal's power is left at T


@each_recipe
def test_text_and_recipe_go_back_and_forth_without_loss(name):
    recipe = load_recipe(name)
    assert recipe.about
    assert parse(tomllib.loads(recipe.to_toml())) == recipe
    assert parse(tomllib.loads(recipe_text(name))) == recipe
    assert load_recipe(recipe) == recipe


def test_what_is_left_out_takes_its_default():
    assert parse({}) == PointRecipe()
    assert parse({"training": {"batch": 7}}).training.steps == PointRecipe().training.steps
    assert dataclasses.replace(load_recipe("default"), about="") == PointRecipe()  # the file says what the code says


# --- changes -------------------------------------------------------------------------------------------------------


KINDS = sorted((section, kind) for section in SECTIONS for kind in kinds_of(section) if kind)
# A discrete schedule with a network that takes any time: everything fits it but what is listed here.
BASE = load_recipe("ddpm", ["network.kind=residual"])
FITTING = {("network", "step_gated"): load_recipe("ddpm")} | {
    ("schedule", kind): load_recipe("default")
    for kind in ("exploding", "continuous_linear", "continuous_cosine", "rectified_flow", "knots")
}
FITTING["table", ""] = load_recipe("table")
FITTING["loss", "hybrid"] = load_recipe(BASE, {"denoiser.variance": "learned", "loss.kind": "hybrid"})
FITTING["loss", "x0"] = load_recipe("default", ["times.kind=uniform"])
FITTING["loss", "elbo"] = load_recipe("default", ["times.kind=uniform", "schedule.kind=continuous_cosine"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("section", "kind"), [pair for pair in KINDS if pair[0] in ("schedule", "network", "denoiser", "loss", "times")]
)
def test_every_kind_can_be_trained(section, kind):
    recipe = load_recipe(FITTING.get((section, kind), BASE), [f"{section}.kind={kind}"])
    assert recipe.kind(section) == kind and type(getattr(recipe, section)) is kinds_of(section)[kind]
    t = recipe.times(recipe.make_schedule(), jax.random.key(0), 5)
    x0, eps = jax.random.normal(jax.random.key(1), (2, 5, 3))
    denoiser = recipe.make_denoiser(3, jax.random.key(2))
    terms = np.stack(list(jax.vmap(recipe.loss, (None, 0, 0, 0))(denoiser, x0, t, eps).values()))
    assert terms.shape[1:] == (5,)
    assert (np.isfinite(terms) & (terms[0] > 0)).all()


def test_a_recipe_of_a_table_has_the_sections_of_tables_alone():
    table, points = load_recipe("table"), load_recipe("default")
    assert table.to_dict().keys() == {"about", "data", "table"}
    assert points.to_dict().keys() == {"about", *PointRecipe.SECTIONS} - {"text"}
    assert load_recipe(table, {"columns.age": "integer"}).to_dict()["columns"] == {"age": "integer"}
    assert load_recipe("default", {"data.encode": True, "table.bins": 7}).table.bins == 7


@pytest.mark.parametrize(
    ("recipe", "change", "says"),
    [
        ("table", "training.steps=5", "got training.steps, which is for points. Use table.steps instead"),
        ("table", "network.width=5", "got network.width, which is for points. Use table.width instead"),
        ("table", "sampler.kind=heun", "got sampler.kind, which is for points. Leave it out, or choose"),
        ("default", "table.steps=5", "got table.steps, which is for a table. Use training.steps instead"),
        ("ddpm", "data.encode=true", "is for a table, with data.encode = true; got schedule, which is for points"),
        ("table", "data.label=species", "got data.label = 'species' for a table; expected no data.label"),
    ],
)
def test_an_option_that_has_no_bearing_is_refused(recipe, change, says):
    with pytest.raises(RecipeError) as error:
        load_recipe(recipe, [change])
    assert says in str(error.value)


def test_about_can_be_set():
    assert load_recipe("default", ["about=mine"]).about == "mine"


def test_another_kind_keeps_the_keys_it_shares_and_drops_the_others():
    recipe = load_recipe("ddpm", ["schedule.steps=50", "schedule.kind=cosine"])
    assert recipe.to_dict()["schedule"] == {"kind": "cosine", "steps": 50, "offset": 0.008, "max_beta": 0.999}
    recipe = load_recipe("ddpm", ["schedule.kind=linear"])
    assert recipe.to_dict()["schedule"] == {"kind": "linear", "steps": 100, "start": 2e-5, "end": 0.15}


def test_the_kind_is_changed_first_whatever_the_order():
    changes = ["schedule.offset=0.01", "schedule.kind=cosine"]
    assert load_recipe("ddpm", changes) == load_recipe("ddpm", changes[::-1])
    assert load_recipe("ddpm", changes).schedule.offset == 0.01
    # An option that the new kind lacks is a mistake, not one of the old kind's keys to drop.
    changes = ["schedule.start=0.01", "schedule.kind=cosine"]
    for order in (changes, changes[::-1]):
        with pytest.raises(RecipeError, match=r"unknown key 'start' in \[schedule\] of kind 'cosine'"):
            load_recipe("ddpm", order)


def test_none_leaves_an_optional_value_out():
    recipe = load_recipe("tutorial", {"data.noise": None})
    assert recipe.data.noise is None
    assert "noise" not in recipe.to_dict()["data"]


def test_a_whole_number_will_do_for_a_number():
    value = load_recipe("default", ["training.clip_norm=2"]).training.clip_norm
    assert value == 2
    assert isinstance(value, float)


@pytest.mark.parametrize(("text", "value"), [("False", False), ("false", False), ("True", True), ("true", True)])
def test_true_and_false_can_be_written_as_in_python(text, value):
    assert load_recipe("table", [f"table.calibrate={text}"]).table.calibrate is value


# --- mistakes ------------------------------------------------------------------------------------------------------

NAMES = ", ".join(SECTIONS)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("trainning.steps=5", f"unknown section 'trainning'. Did you mean 'training'? Choose from: {NAMES}"),
        ("training.step=5", "unknown key 'step' in [training]. Did you mean 'steps'? Choose from: steps, batch,"),
        ("schedule.offset=5", "unknown key 'offset' in [schedule] of kind 'exploding'. Choose from: kind,"),
        ("data.kind=moons", "unknown key 'kind' in [data]. Choose from: rows, noise, held_out"),
        ("schedule.kind=cosin", "unknown schedule.kind 'cosin'. Did you mean 'cosine'? Choose from: linear, quad,"),
        ("training.decay=cosin", "unknown training.decay 'cosin'. Did you mean 'cosine'"),
        ("training.steps=many", "training.steps = 'many'; expected a whole number"),
        ("training.steps=1.5", "training.steps = 1.5; expected a whole number"),
        ("training.steps=true", "training.steps = True; expected a whole number"),
        ("training.learning_rate=fast", "training.learning_rate = 'fast'; expected a finite number"),
        ("training.learning_rate=nan", "training.learning_rate = nan; expected a finite number"),
        ("training.learning_rate=inf", "training.learning_rate = inf; expected"),
        ("times.mean=-inf", "times.mean = -inf; expected"),
        ("data.standardise=yes", "data.standardise = 'yes'; expected true or false"),
        ("data.standardise=1", "data.standardise = 1; expected true or false"),
        ("about=5", "about = 5; expected a text"),
        ("training.batch=0", "training.batch = 0; expected a number at least 1"),
        ("training.ema=1.5", "training.ema = 1.5; expected a number at least 0 and at most 1"),
        ("training.learning_rate=0", "training.learning_rate = 0; expected a number above 0"),
        ("data.noise=-1", "data.noise = -1; expected a number at least 0"),
        ("training.steps", "training.steps: expected section.key=value, such as"),
        ("training=5", "expected section.key=value, such as"),
        ("sampler.kind=dpmpp2m", "unknown sampler.kind 'dpmpp2m'. Did you mean 'dpmpp_2m'"),
    ],
)
def test_a_wrong_change_says_what_is_right(change, says):
    with pytest.raises(RecipeError) as error:
        load_recipe("default", [change])
    assert says in str(error.value)


@pytest.mark.parametrize("times", [[1.0], [1.0, 0.5], [1.0, 0.5, 0.5, 0.0], [0.0, 1.0]])
def test_times_of_your_own_fall_from_1_to_0(times):
    with pytest.raises(RecipeError, match=r"the grid is .*; expected times that fall from 1 to 0"):
        load_recipe("default", {"grid.kind": "given", "grid.times": times})


@pytest.mark.parametrize("edge", [("training.ema", 0), ("training.ema", 1), ("data.noise", 0), ("data.rows", 20)])
def test_the_ends_of_a_closed_range_are_allowed(edge):
    assert flat(load_recipe("default", dict([edge])))[edge[0]] == edge[1]


@pytest.mark.parametrize(
    ("recipe", "changes", "says"),
    [
        ("tutorial", ["schedule.kind=exploding"], "network.kind = 'step_gated' needs a schedule with steps"),
        ("tutorial", ["schedule.kind=rectified_flow"], "schedule.kind = 'rectified_flow' has none"),
        ("default", ["times.kind=steps"], "times.kind = 'steps' needs a schedule with steps"),
        ("default", ["loss.kind=elbo", "times.kind=uniform"], "is not finite near t = 0"),
        ("default", ["loss.kind=elbo"], "times.kind = 'log_normal' is not uniform. Set times.kind = 'uniform'"),
        ("default", {"grid.kind": "uniform", "grid.steps": None}, "grid.kind = 'uniform' needs grid.steps"),
        ("tutorial", ["grid.kind=karras"], "network.kind = 'step_gated' knows only the schedule's own steps"),
        ("tutorial", ["grid.steps=30"], "network.kind = 'step_gated' knows only the schedule's own steps"),
        ("tutorial", ["grid.kind=quadratic"], "network.kind = 'step_gated' knows only the schedule's own steps"),
        ("tutorial", {"grid.kind": "given", "grid.times": [1.0, 0.555, 0.0]}, "multiples of 1/100"),
        ("tutorial", ["sampler.kind=churn"], "any sampler except adaptive, churn; .* Got .* sampler.kind = 'churn'"),
        ("tutorial", ["times.kind=log_normal"], "network.kind = 'step_gated' knows only the schedule's own steps"),
        # Its time would be log(r) / 4, which is the number of no step.
        ("tutorial", ["denoiser.kind=edm"], "denoiser.kind"),
        ("default", ["grid.sigma_min=50"], "grid.sigma_min"),  # above sigma_max, where the grid starts
        ("default", ["grid.kind=log_snr", "grid.sigma_min=50"], "grid.sigma_min"),
    ],
)
def test_parts_that_do_not_fit_together_are_explained(recipe, changes, says):
    with pytest.raises(RecipeError, match=says):
        load_recipe(recipe, changes)


def test_a_network_of_steps_takes_every_sampler_that_stays_on_them():
    for kind in (kind for kind, sampler in SAMPLERS.items() if not sampler.off_grid):
        assert load_recipe("tutorial", [f"sampler.kind={kind}", "grid.steps=10"]).make_grid().shape == (11,)
    assert load_recipe("tutorial", {"grid.kind": "given", "grid.times": [1.0, 0.37, 0.02, 0.0]}).steps == 100


def test_betas_that_leave_no_signal_are_explained():
    with pytest.raises(RecipeError, match=r"\[schedule\]: these betas leave alpha_T = exp"):
        load_recipe("ddpm", ["schedule.steps=10000"])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"schedule": CONTINUOUS["functions"]}, r"Functions for \[schedule\].*Register"),
        ({"loss": Simple}, "got a type|got a _ModuleMeta"),
    ],
)
def test_what_toml_cannot_hold_is_refused(changes, says):
    with pytest.raises(RecipeError, match=says):
        dataclasses.replace(load_recipe("default"), **changes)


def test_an_unknown_recipe_suggests_the_nearest_and_lists_all():
    for function in (load_recipe, recipe_text):
        with pytest.raises(RecipeError, match=r"unknown recipe 'tutoral'\. Did you mean 'tutorial'") as error:
            function("tutoral")
        assert ", ".join(recipe_names()) in str(error.value)


# --- files ---------------------------------------------------------------------------------------------------------


def test_a_file_is_a_recipe(file):
    path = file('about = "mine"\n[training]\nbatch = 7\n[schedule]\nkind = "exploding"\nrho = 3\n', "mine.toml")
    for name in (path, str(path)):
        recipe = load_recipe(name, ["training.steps=5"])
        assert recipe.about == "mine"
        assert (recipe.training.batch, recipe.training.steps) == (7, 5)
        assert recipe.schedule.rho == 3.0
        assert recipe.sampler == PointRecipe().sampler


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("training = \n", "is not a TOML file"),
        ("[trainning]\n", "unknown section 'trainning'. Did you mean 'training'"),
        ("training = 5\n", r"training = 5; expected a section \[training\]"),
        ("[[training]]\nsteps = 5\n", r"expected a section \[training\]"),
        ("[training]\nstep = 5\n", "unknown key 'step' in .training."),
        ("[training]\nsteps = -1\n", "training.steps = -1; expected a number at least 1"),
        ('[schedule]\nkind = ["linear"]\n', "unknown schedule.kind"),
    ],
)
def test_a_wrong_file_says_what_is_wrong_in_it(file, text, says):
    with pytest.raises(RecipeError, match=says) as error:
        load_recipe(file(text, "mine.toml"))
    assert "mine.toml" in str(error.value)


@pytest.mark.slow
def test_a_missing_file_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match=r"no recipe file .*none\.toml"):
        load_recipe(tmp_path / "none.toml")
