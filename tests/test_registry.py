"""Classes of one's own: registered, they are named in recipes as the built-in ones are, and only when asked for."""

import copy
import dataclasses
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.conftest import numbers_of

import motes
from fits import fit_points
from motes import cli
from motes.data.arrays import Series
from motes.explorer.tables import TableSubject
from motes.points import (
    EDM,
    Betas,
    Draw,
    Heun,
    LogNormalTimes,
    PointRecipe,
    Preconditioned,
    Prediction,
    ResidualMLP,
    Schedule,
    Times,
    q_sample,
)
from motes.points.denoisers import X0Predictor
from motes.points.fitting import PointData
from motes.points.sampling import GivenGrid
from motes.ranges import Checked, number
from motes.recipes import SECTIONS, load_recipe, parse
from motes.tables import Among, Not, Part
from motes.tables.kinds import KINDS
from motes.tables.kinds.binnings import in_ranges
from motes.tables.parts import Entries, Restriction
from tables import untrained

pytestmark = pytest.mark.usefixtures("own_kinds")
TINY = {"table.steps": 5, "table.width": 16, "table.depth": 1, "table.components": 1}


class SquareRoot(motes.points.Schedule):
    """sigma_t = top t^2, alpha_t = 1."""

    top: float = number(5.0, 0, 100, open_low=True)

    def alpha(self, t):
        return jnp.ones_like(t, dtype=float)

    def sigma(self, t):
        return self.top * jnp.asarray(t, float) ** 2

    def t_of_log_snr(self, log_snr):
        return jnp.clip(jnp.sqrt(jnp.exp(-jnp.asarray(log_snr) / 2) / self.top), 0, 1)


@dataclass(frozen=True)
class EqualBetas(Betas):
    """The same beta at every step."""

    beta: float = number(0.05, 0, 0.9, open_low=True)

    @property
    def betas(self):
        return np.full(self.steps, self.beta)


@dataclass(frozen=True)
class Absolute(Checked):
    power: float = number(1.0, 0, open_low=True)
    of: Literal["x0", "eps"] = "x0"
    scales: tuple[float, ...] = (1.0,)
    note: str | None = None

    def __call__(self, denoiser, x0, t, eps):
        x_t = q_sample(denoiser.schedule, x0, t, eps)
        x0_hat, eps_hat = denoiser.x0_and_eps(x_t, t)
        error = x0_hat - x0 if self.of == "x0" else eps_hat - eps
        return {"absolute": jnp.mean(jnp.abs(error) ** self.power)}


class Early(Times):
    share: float = number(0.5, 0, 1, open_low=True)
    draw: Draw = eqx.field(static=True, default="stratified")

    def place(self, schedule, u):
        return jnp.maximum(self.share * u, 1e-3)


class Halfway(motes.points.Sampler):
    order: ClassVar[int] = 1
    evaluations: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False
    share: float = number(0.5, 0, 1)

    def step(self, denoiser, x_t, t, s, state, key):
        return x_t + self.share * (denoiser(x_t, t) - x_t), state


@dataclass(frozen=True)
class Halving(Checked):
    steps: int = number(5, 1, 20)

    def __call__(self, schedule):
        return jnp.append(0.5 ** jnp.arange(self.steps), 0.0)


class Net(eqx.Module):
    mlp: eqx.nn.MLP

    def __call__(self, x, time):
        return self.mlp(jnp.append(x, time))


@dataclass(frozen=True)
class NetOptions(Checked):
    width: int = number(8, 1)

    def network(self, dim_in, dim_out, *, context, steps, key):
        if context:
            raise ValueError("Net knows no classes.")
        return Net(eqx.nn.MLP(dim_in + 1, dim_out, self.width, 1, key=key))


class PredictTwice(Prediction):
    """x0_hat, under another name."""

    wraps = X0Predictor


OWN = {
    "schedule": (SquareRoot, {"top": 7.0}),
    "network": (NetOptions, {"width": 9}),
    "denoiser": (PredictTwice, {}),
    "loss": (Absolute, {"power": 1.5, "of": "eps", "scales": (0.5, 2.0), "note": "mine"}),
    "times": (Early, {"share": 0.75, "draw": "uniform"}),
    "sampler": (Halfway, {"share": 0.25}),
    "grid": (Halving, {"steps": 4}),
}
CHANGES = {f"{section}.kind": "mine" for section in OWN} | {
    f"{section}.{key}": value for section, (_, options) in OWN.items() for key, value in options.items()
}


def register_all():
    for section, (cls, _) in OWN.items():
        motes.register(section, "mine")(cls)


# --- in recipes ----------------------------------------------------------------------------------------------------


def test_a_part_of_each_section_is_set_written_and_read_as_the_built_in_ones_are():
    register_all()
    recipe = load_recipe("default", CHANGES)
    for section, (cls, options) in OWN.items():
        assert getattr(recipe, section) == cls(**options)
        assert recipe.kind(section) == "mine"
    assert parse(tomllib.loads(recipe.to_toml())) == recipe
    words = [f"{key}={list(value) if isinstance(value, tuple) else value}" for key, value in CHANGES.items()]
    assert load_recipe("default", words) == recipe
    assert load_recipe(recipe, ["loss.kind=edm"]).loss == EDM()


def test_betas_of_your_own_are_a_schedule_of_steps():
    motes.register("schedule", "equal")(EqualBetas)
    recipe = load_recipe("ddpm", {"schedule.kind": "equal", "schedule.steps": 30})
    assert recipe.steps == 30 and np.allclose(recipe.make_schedule().betas, 0.05)
    with pytest.raises(motes.errors.RecipeError, match=r"\[schedule\]: these betas leave alpha_T"):
        load_recipe(recipe, {"schedule.steps": 1000, "schedule.beta": 0.5})


@pytest.mark.slow
def test_a_model_of_parts_of_your_own_is_trained_saved_and_read(tmp_path):
    register_all()
    changes = CHANGES | {"training.steps": 20, "training.batch": 32}
    model = fit_points(motes.make_shape("moons", 200, seed=0), changes=changes, seed=1)
    path = tmp_path / "model.safetensors"
    model.save(path)
    again = motes.load(path)
    assert again.recipe == model.recipe
    points = model.sample(4, seed=2)
    assert np.isfinite(points).all()
    assert np.array_equal(again.sample(4, seed=2), points)
    assert not np.array_equal(again.sample(4, seed=2, sampling={"sampler": Heun(), "grid": "karras"}), points)
    with pytest.raises(motes.errors.RecipeError, match=r"\[network\]: Net knows no classes"):
        fit_points(PointData(motes.make_shape("moons", 200), labels=[0, 1] * 100), changes=changes)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("loss.power=0", "recipe 'default': loss.power = 0; expected a number above 0"),
        ("loss.of=v", "unknown loss.of 'v'. Choose from: x0, eps"),
        ("loss.pover=2", "unknown key 'pover' in [loss] of kind 'mine'. Did you mean 'power'?"),
        ("times.draw=uniformly", "unknown times.draw 'uniformly'. Did you mean 'uniform'"),
    ],
)
def test_a_mistake_in_a_part_of_your_own_says_what_is_right(change, says):
    register_all()
    with pytest.raises(motes.errors.RecipeError) as error:
        load_recipe("default", [f"{change.partition('.')[0]}.kind=mine", change])
    assert says in str(error.value)


# --- what may be registered ------------------------------------------------------------------------------------------


def decorated(section, kind, cls):
    return lambda: motes.register(section, kind)(cls)


@dataclass(frozen=True)
class NoDefault:
    steps: int

    def __call__(self, schedule): ...


@dataclass(frozen=True)
class Kind(Halving):
    kind: str = "a"


@dataclass
class Open:
    steps: int = 4

    def __call__(self, schedule): ...


@dataclass(frozen=True)
class Unhashable(Halving):
    places: list = dataclasses.field(default_factory=list)


class NoStep(motes.points.Sampler):
    order: ClassVar[int] = 1
    evaluations: ClassVar[int] = 1
    stochastic: ClassVar[bool] = False


class OrderIsAKey(Heun):
    order: int = 1


class HalfAKind(motes.tables.kinds.Kind):
    pass


@dataclass(frozen=True)
class Gap(motes.evaluation.PointMetric):
    """How far apart the means are."""

    about = "distance of the means"
    worse = "high"

    def __call__(self, a, b):
        return float(np.linalg.norm(a.mean(axis=0) - b.mean(axis=0)))


class NoValue(motes.evaluation.PointMetric):
    about = "nothing"


class NoPlace(Gap):
    about = "nothing"
    section = "test"


@pytest.mark.parametrize(
    ("register", "says"),
    [
        (decorated("grids", "mine", Halving), r"unknown section 'grids'\. Did you mean 'grid'\? Choose from: schedule"),
        (decorated("training", "mine", Halving), "unknown section 'training'"),
        (decorated("grid", "my grid", Halving), "got the kind 'my grid'; expected a name of letters"),
        (decorated("grid", "karras", Halving), "got grid.kind = 'karras', which motes already has"),
        (decorated("grid", "mine", Open), r"got Open for \[grid\]; expected a class with @dataclass\(frozen=True\)"),
        (decorated("grid", "mine", lambda schedule: None), r"expected a method __call__\(schedule"),
        (decorated("schedule", "mine", Halving), r"got Halving for \[schedule\]; expected a subclass"),
        (decorated("network", "mine", ResidualMLP), r"expected a method network\(dim_in"),
        (decorated("loss", "mine", NetOptions), r"expected a method __call__\(denoiser"),
        (decorated("denoiser", "mine", Halving), "expected a subclass of .*Prediction"),
        (decorated("sampler", "mine", Halving), "expected a subclass of motes.points.Sampler"),
        (decorated("sampler", "mine", NoStep), r"got NoStep for \[sampler\], which lacks step; expected a subclass of"),
        (decorated("sampler", "mine", OrderIsAKey), "got a field `order` in OrderIsAKey; expected a ClassVar"),
        (decorated("column", "mine", Halving), "expected a subclass of motes.tables.kinds.Kind"),
        (decorated("column", "integer", KINDS["real"]), "column.kind = 'integer', which motes already has"),
        (decorated("column", "mine", HalfAKind), r"got HalfAKind for \[column\], which lacks becomes, decode, encode"),
        (decorated("metric", "c2st", Gap), "metric.kind = 'c2st', which motes already has"),
        (decorated("metric", "mine", Halving), "expected a subclass of motes.evaluation.PointMetric"),
        (decorated("metric", "mine", NoValue), r"got NoValue for \[metric\], which lacks __call__"),
        (decorated("metric", "mine", NoPlace), "got NoPlace with section = 'test' and about = 'nothing'"),
        (decorated("grid", "mine", NoDefault), r"fields all have defaults, so that NoDefault\(\) works"),
        (decorated("grid", "mine", Kind), "got a field `kind` in Kind; expected another name"),
        (decorated("grid", "mine", Unhashable), "expected fields that can be hashed"),
    ],
)
def test_what_cannot_be_a_part_is_refused_where_it_is_registered(register, says):
    with pytest.raises(motes.errors.UsageError, match=says):
        register()


def test_registered_again_the_newer_class_takes_the_place():
    motes.register("grid", "mine")(Halving)
    before = parse({"grid": {"kind": "mine"}})

    @motes.register("grid", "mine")
    @dataclass(frozen=True)
    class Newer(Halving):
        pass

    assert type(parse({"grid": {"kind": "mine"}}).grid) is Newer
    assert before.to_dict()["grid"] == {"kind": "mine", "steps": 5}  # and one that is there already still has its name


# --- columns and metrics ---------------------------------------------------------------------------------------------


class Angle(KINDS["bounded"]):
    """Degrees, of which 370 is 10."""

    options = ("decimals",)
    ends = (0.0, 360.0)

    @classmethod
    def fit(cls, sample, options):
        turned = dataclasses.replace(sample.series, values=(sample.series.values % 360.0).round(6))
        return super().fit(dataclasses.replace(sample, series=turned), options)

    def read(self, series, name):
        return (super().read(series, name) % 360.0).round(6)


def wind():
    rng = np.random.default_rng(0)
    return {"wind": rng.uniform(-40, 400, 300).round(1), "gust": rng.choice(["no", "yes"], 300)}


@pytest.mark.slow
def test_a_column_kind_of_your_own_is_inferred_fitted_saved_and_read(tmp_path):
    motes.register("column", "angle")(Angle)
    table = motes.fit(wind(), columns={"wind": "angle"}, changes=TINY, seed=0)
    assert [column.kind for column in table.schema.columns] == ["angle", "categorical"]
    same = [table.score_samples({"wind": [at], "gust": ["no"]}) for at in (10.0, 370.0)]
    assert same[0] == same[1] and np.isfinite(same[0]).all()
    drawn = np.array(table.sample(50, seed=1)["wind"], float)
    assert ((drawn >= 0) & (drawn <= 360)).all() and (drawn.round(1) == drawn).all()
    table.save(tmp_path / "wind.safetensors")
    again = motes.load(tmp_path / "wind.safetensors")
    assert list(again.sample(5, seed=1)["wind"]) == list(table.sample(5, seed=1)["wind"])
    with pytest.raises(motes.errors.UsageError, match="kind 'angle' has no option 'low'; it has decimals"):
        motes.fit(wind(), columns={"wind": {"kind": "angle", "low": 3}}, changes=TINY)
    del KINDS["angle"]
    with pytest.raises(
        motes.errors.ModelFileError, match="got a column kind of class 'Angle', which is not registered"
    ):
        motes.load(tmp_path / "wind.safetensors")


def test_a_column_kind_of_your_own_is_asked_first():
    @motes.register("column", "signed")
    class Signed(KINDS["real"]):
        @classmethod
        def infer(cls, sample):
            return "numbers of both signs" if sample.series.values.dtype.kind == "f" else None

    assert next(iter(KINDS)) == "signed" and motes.tables.Schema.fit(wind()).columns[0].kind == "signed"


def test_a_discrete_kind_of_several_parts_is_refused_when_it_is_fitted():
    @motes.register("column", "moments")
    class Moments(KINDS["date"]):
        discrete = True

    days = np.datetime64("2021-01-04") + 7 * np.arange(300) + np.arange(300) % 2  # a week and one of two weekdays
    with pytest.raises(motes.errors.UsageError, match=r"'when'.* is discrete and has 2 parts; expected one part"):
        motes.tables.Schema.fit({"when": days, "gust": ["no", "yes"] * 150})


def test_a_kind_of_your_own_is_never_asked_for_a_column_of_which_nothing_is_known():
    @motes.register("column", "sure")
    class Sure(KINDS["integer"]):
        def read(self, series, name):
            assert series.type == "whole" and not series.missing.all()
            return series.known

    rows = {"low": np.arange(200) % 40, "high": np.arange(200) % 40 + np.arange(200) % 7, "b": ["no", "yes"] * 100}
    with untrained():
        table = motes.fit(rows, columns={"low": "sure"}, changes=TINY, seed=0, verbose=False)
    assert table.constraint.columns == ("low", "high")
    unknown = {"low": [None] * 3, "high": [4, 5, None], "b": ["no", None, None]}
    assert np.isfinite(table.score_samples(unknown)).all()
    assert None not in table.impute(unknown)["low"]
    for column, given in (("low", {"b": "no"}), ("b", {"high": 4})):
        assert len(table.predict({k: v for k, v in unknown.items() if k != column}, column)) > 1
        assert len(table.sample(3, given=given)["low"]) == 3
    subject = TableSubject("rows", table)
    assert len(subject.conditionals({"b": "no"})) == 3 and np.isfinite(subject.log_probs({"b": "no"})[0])


@dataclass(frozen=True, repr=False)
class Code(motes.tables.kinds.Kind):
    """Texts from "k0" to "k15" in two parts of four tokens, without an order."""

    becomes: ClassVar[str] = "two parts"

    @classmethod
    def fit(cls, sample, options):
        return cls(sample.column)

    @property
    def parts(self):
        return tuple(Part(f"{self.column}, part {k}", self.column, np.full(4, 0.25)) for k in range(2))

    def read(self, series, name):
        return np.array([int(label[1:]) for label in series.labels])[series.known]

    def expected(self, value):
        return "k0 to k15"

    def encode(self, values):
        return [Entries.of_codes(values // 4), Entries.of_codes(values % 4)]

    def decode(self, codes, y, u):
        return codes @ [4, 1]

    def series(self, values, missing):
        return Series("label", values, missing, tuple(f"k{k}" for k in range(16)))

    def restrict(self, condition):
        return SomeCodes(in_ranges(np.arange(16), self.ranges(condition)).reshape(4, 4))


@dataclass(frozen=True)
class SomeCodes(Restriction):
    """`allowed` of the first part has a row for each entry, (n, K), as its contract permits."""

    which: np.ndarray  # (4, 4)

    def allowed(self, part, codes, y):
        return np.tile(self.which.any(axis=1), (len(codes), 1)) if part == 0 else self.which[codes[:, 0]]

    def holds(self, codes, y):
        return self.which[codes[:, 0], codes[:, 1]]


def test_a_kind_without_an_order_is_drawn_under_conditions_and_evaluated_but_not_predicted():
    """It has several parts and missing entries; `motes train` evaluates each model, so it failed at its end."""
    motes.register("column", "code")(Code)
    codes = [None if k % 9 == 0 else f"k{k % 5}" for k in range(200)]
    rows = {"code": codes, "b": ["no", "yes"] * 100}
    with untrained():
        table = motes.fit(rows, columns={"code": "code"}, changes=TINY, seed=0, verbose=False)
    for condition, allowed in ((Among(("k2", "k9")), {"k2", "k9"}), (Not("k3"), {f"k{k}" for k in range(16)} - {"k3"})):
        assert set(table.sample(50, given={"code": condition})["code"]) <= allowed
    found = table.evaluate(rows, n=100)
    (one,) = (entry for entry in found.of("columns") if entry.name == "code")
    assert 0 <= one.value <= 1 and 0 <= one.reference_value <= 1
    with pytest.raises(motes.errors.UsageError, match="has neither a probability of each label nor an order"):
        table.predict({"b": ["no"]}, "code")


def test_a_metric_of_your_own_is_taken_tested_and_reported():
    motes.register("metric", "gap")(Gap)
    draws = [motes.make_shape("moons", 200, seed=seed) for seed in range(3)]
    for moved, differs in ((0.0, False), (1.0, True)):
        found = motes.evaluation.evaluate_points(draws[0] + moved, *draws[1:])
        (entry,) = (one for one in found.entries if one.name == "gap")
        assert entry.section == "tests" and entry.verdict.differs is differs and "gap" in str(found)
        low, high = entry.chance
        assert low == -np.inf and (entry.value > high) is differs
        gap = (draws[0] + moved - draws[1]).mean(axis=0) / draws[1].std(axis=0)
        assert entry.value == pytest.approx(np.linalg.norm(gap))
    assert "(real draw: " in entry.verdict.text
    brief = motes.evaluation.evaluate_points(*draws, brief=True)
    assert "gap" not in {one.name for one in brief.entries}


def test_a_metric_that_gives_no_number_is_named():
    class Lost(Gap):
        def __call__(self, a, b):
            return float("nan")

    motes.register("metric", "lost")(Lost)
    draws = [motes.make_shape("moons", 50, seed=seed) for seed in range(4)]
    with pytest.raises(motes.errors.UsageError, match="got nan from the metric 'lost'; expected a finite number"):
        motes.compare(*draws)


# --- a sampler that is wrong -----------------------------------------------------------------------------------------


class Wrong(motes.points.DDIM):
    fault: str = "none"

    def step(self, denoiser, x_t, t, s, state, key):
        if self.fault == "no state":
            return x_t
        if self.fault == "a shape":
            return x_t[:1], state
        if self.fault == "an if" and s > 0:
            return x_t, state
        return (x_t / 0 * 0 if self.fault == "no number" else x_t), (x_t if self.fault == "a state" else state)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("no state", r"from Wrong.step; expected \('float32\[2\]', None\)"),
        ("a shape", r"got \('float32\[1\]', None\) from Wrong.step"),
        ("a state", r"a state like init"),
        ("an if", r"got TracerBoolConversionError in Wrong.step"),
    ],
)
def test_a_step_that_does_not_keep_the_contract_is_named(fault, says, small_model):
    with pytest.raises(motes.errors.UsageError, match=says):
        small_model.sample(4, sampling=motes.Sampling(Wrong(fault=fault), steps=4), seed=0)


def test_points_that_are_lost_are_said(small_model):
    with pytest.warns(UserWarning, match="4 of 4 points are not finite: Wrong or the network diverged"):
        small_model.sample(4, sampling=motes.Sampling(Wrong(fault="no number"), steps=4), seed=0)


@pytest.mark.filterwarnings("ignore:.*points are not finite")
def test_an_evaluation_of_points_that_are_lost_is_refused_in_words(small_model):
    motes.register("sampler", "wrong")(Wrong)
    broken = copy.copy(small_model)
    broken.recipe = small_model.recipe.changed({"sampler.kind": "wrong", "sampler.fault": "no number"})
    with pytest.raises(motes.errors.DataError, match="20 of 20 samples of the model are not finite"):
        broken.evaluate(motes.make_shape("moons", 60), n=20)


# --- ranges --------------------------------------------------------------------------------------------------------


def test_a_number_may_be_left_out_where_its_default_is_none():
    @dataclass(frozen=True)
    class Optional(Checked):
        steps: int | None = number(None, 1)

    assert Optional().steps is None
    with pytest.raises(ValueError, match="steps = 0; expected a number at least 1"):
        Optional(0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_no_number_is_infinite(value):
    for make, name in ((SquareRoot, "top"), (Absolute, "power")):  # the second may be as large as it likes
        with pytest.raises(ValueError, match=rf"{name} = .*; expected a finite number"):
            make(value)


def test_a_number_of_numpy_is_a_number():
    assert Halving(np.int64(3)).steps == 3 and Absolute(np.float32(2)).power == 2
    with pytest.raises(ValueError, match="expected a number above 0"):
        Absolute(np.float32(0))


# --- code runs only where it is asked for ----------------------------------------------------------------------------

FILE = """
import motes
from dataclasses import dataclass
import jax.numpy as jnp

print("the file was run")


@motes.register("grid", "thirds")
@dataclass(frozen=True)
class Thirds:
    steps: int = 3

    def __call__(self, schedule):
        return jnp.append(3.0 ** -jnp.arange(self.steps), 0.0)
"""
QUICK = ["--set", "training.steps=3", "--no-figures", "-q"]


@pytest.fixture
def trained(motes_command, monkeypatch):
    """A run whose recipe names a kind of a file, in an empty folder, in a process that has forgotten it."""
    Path("parts.py").write_text(FILE)
    with monkeypatch.context() as forgotten:
        forgotten.setattr(PointRecipe, "KINDS", copy.deepcopy(PointRecipe.KINDS))
        grid = ["--set", "grid.kind=thirds", "--set", "grid.steps=3"]
        code, out, err = motes_command("train", "moons", "--import", "parts.py", *grid, *QUICK)
    assert code == 0, err
    assert out.startswith("the file was run\n")
    return motes_command


@pytest.mark.slow
def test_a_model_file_runs_no_code_and_says_which_kind_is_missing(trained):
    with pytest.raises(motes.errors.ModelFileError) as error:
        motes.load("runs/moons")
    assert "unknown grid.kind 'thirds'. Choose from: uniform" in str(error.value)
    assert "model.safetensors" in str(error.value) and "--import FILE.py" in str(error.value)
    code, out, err = trained("sample", "runs/moons", "-n", "2", "-q")
    assert (code, out) == (1, "")
    assert "unknown grid.kind 'thirds'" in err and "--import FILE.py" in err
    # So does a recipe.
    code, out, err = trained("train", "moons", "--recipe", "runs/moons/recipe.toml", *QUICK)
    assert (code, out) == (2, "")
    assert "unknown grid.kind 'thirds'" in err


@pytest.mark.slow
def test_with_the_file_imported_the_model_is_read(trained):
    for words in (["--import", "parts.py", "sample"], ["sample", "--import=parts.py"]):
        code, out, err = trained(*words, "runs/moons", "-n", "2", "-q")
        assert code == 0, err
        assert out.startswith("the file was run\n") and len(out.splitlines()) == 4


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--import"], "got --import without a file; expected --import FILE.py"),
        (["--import", "none.py"], "got --import none.py; expected an existing Python file"),
        (["--import", "moons"], "got --import moons; expected an existing Python file"),
        (["--import", "bad.py"], "--import bad.py, line 3: ZeroDivisionError: division by zero"),
        (["--import", "worse.py"], "--import worse.py, line 1: SyntaxError"),
        (["--import", "taken.py"], "--import taken.py, line 2: got loss.kind = 'edm', which motes already has"),
        (["--import", "clash.py"], "sample"),
    ],
)
def test_a_file_that_cannot_be_imported_is_explained(motes_command, words, says):
    Path("bad.py").write_text("import motes\n\n1 / 0\n")
    Path("worse.py").write_text("def (\n")
    Path("taken.py").write_text("import motes\n@motes.register('loss', 'edm')\nclass A: pass\n")
    Path("clash.py").write_text("from motes.cli.common import app\n@app.command\ndef sample(): pass\n")
    err = motes_command.error("samplers", *words)
    assert says in err
    assert "Traceback" not in err


def test_a_command_of_your_own_is_carried_out_and_its_error_named(motes_command):
    Path("twice.py").write_text(
        "from motes.cli.common import app\n\n\n@app.command\ndef twice(number: int, /) -> int:\n"
        '    """Print twice a number."""\n    print(2 * number)\n    return 1 // number\n'
    )
    code, out, _ = motes_command("twice", "1", "--import", "twice.py")
    assert (code, out) == (1, "2\n")
    code, _, err = motes_command("twice", "0")
    assert code == 1 and "twice.py, line 8: ZeroDivisionError" in err and "not in motes" in err
    assert "should not happen" not in err


def test_a_sampler_and_a_grid_of_your_own_are_listed(capsys):
    register_all()
    assert cli._run(["samplers"], debug=False) == 0
    out = capsys.readouterr().out
    assert re.search(r"\nmine +1 +1 per step +no", out)
    assert "\ngrid mine" in out and "Halving(" not in out


@pytest.mark.parametrize("section", SECTIONS)
def test_every_number_of_a_recipe_has_two_ends(section):
    for kind, key, _, allowed in numbers_of(section):
        assert allowed is not None and np.isfinite([allowed.low, allowed.high]).all(), (section, kind, key)
        with pytest.raises(motes.errors.RecipeError, match=rf"{key} = 1000.*; expected"):
            parse({"data": {"encode": section == "table"}, section: {key: 10**400} | ({"kind": kind} if kind else {})})


class Schedules:
    """Schedules with one fault each, as they are written by mistake."""

    class EndsAtNoise(Schedule):
        def alpha(self, t):
            return 1 - jnp.asarray(t, float)

        def sigma(self, t):
            return jnp.asarray(t, float)

    class StartsNoisy(EndsAtNoise):
        def alpha(self, t):
            return 1 - 0.99 * jnp.asarray(t, float)

        def sigma(self, t):
            return 0.1 + jnp.asarray(t, float)

    class Backwards(EndsAtNoise):
        def alpha(self, t):
            return jnp.asarray(t, float)

    class Turns(EndsAtNoise):
        def alpha(self, t):
            return 1 - 0.5 * jnp.asarray(t, float)

        def sigma(self, t):
            return jnp.sin(3 * jnp.asarray(t, float))

    class OneNumber(StartsNoisy):
        def alpha(self, t):
            return jnp.array(1.0)

    class WrongInverse(StartsNoisy):
        def sigma(self, t):
            return jnp.asarray(t, float)

        def t_of_log_snr(self, log_snr):
            return jnp.exp(-log_snr)


@pytest.mark.parametrize(
    ("schedule", "says"),
    [
        (Schedules.EndsAtNoise, r"EndsAtNoise: alpha = 0 at t = 1; expected a number above 0"),
        (Schedules.StartsNoisy, r"StartsNoisy: sigma = 0.1 at t = 0; expected 0"),
        (Schedules.Backwards, r"Backwards: alpha = 0 at t = 0; expected 1"),
        (Schedules.Turns, r"Turns: log_snr = .* at t = .* and .* at t = .*; expected it to fall"),
        (Schedules.OneNumber, r"OneNumber: alpha of times \(65,\) has shape \(\); expected the same shape"),
        (Schedules.WrongInverse, r"WrongInverse: t_of_log_snr\(.*\) = .*; expected .*, where log_snr has this value"),
    ],
)
def test_a_schedule_with_a_fault_is_refused_before_training(schedule, says):
    motes.register("schedule", "mine")(schedule)
    with pytest.raises(motes.errors.RecipeError, match=rf"\[schedule\]: {says}"):
        load_recipe("default", {"schedule.kind": "mine"})
    denoiser = Preconditioned(lambda x, time: 0 * x, schedule())
    with pytest.raises(ValueError, match=says):
        motes.points.train(denoiser, np.zeros((9, 2)), key=jax.random.key(0), loss=EDM(), times=LogNormalTimes())


def test_a_grid_that_stalls_says_where():
    with pytest.raises(ValueError, match=r"the grid is .*, and t\[1\] = 0.5 is followed by t\[2\] = 0.5\."):
        GivenGrid((1.0, 0.5, 0.5, 0.0))


def test_a_number_without_ends_is_any_finite_number():
    @dataclass(frozen=True)
    class Anywhere(Checked):
        place: float = number(-10.0)

    assert Anywhere().place == -10 and Anywhere(-1e30).place == -1e30
    with pytest.raises(ValueError, match="place = inf; expected a finite number"):
        Anywhere(np.inf)
