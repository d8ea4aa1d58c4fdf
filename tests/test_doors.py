"""The doors: what each room names, that it loads and is explained by examples, and that documents use nothing else."""

import doctest
import functools
import importlib
import inspect
import pkgutil
import re
from functools import cached_property
from pathlib import Path
from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import motes

ROOT = Path(__file__).parents[1]
DOORS = (
    "motes",
    *(f"motes.{room}" for room in ("data", "training", "points", "tables", "evaluation", "recipes", "plots", "course")),
    "motes.errors",
    "motes.cluster",
    "motes.tables.kinds",
)
READERS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "docs" / "tutorial.py",
    *sorted((ROOT / "docs" / "course").glob("*.*")),
    *sorted((ROOT / "scripts").glob("*.py")),
    *sorted((ROOT / "benchmarks").glob("*.py")),
]


def named(door):
    """Name -> what it is, of one door."""
    module = importlib.import_module(door)
    return {name: getattr(module, name) for name in module.__all__}


@pytest.mark.parametrize("path", READERS, ids=lambda path: path.name)
def test_documents_go_through_the_doors(path):
    text = path.read_text(encoding="utf-8")
    assert not re.findall(r"\bmotes(?:\.\w+)*\._(?!_)\w", text)
    assert not re.findall(r"\bfrom motes[\w.]* import \(?[^)\n]*\b_\w+", text)


def test_no_door_is_left_out():
    applications = {ROOT / "src" / "motes" / name for name in ("cli", "explorer")}
    rooms = {path.parent for path in (ROOT / "src" / "motes").rglob("__init__.py")} - applications
    files = {Path(importlib.import_module(door).__file__) for door in DOORS}
    alone = {ROOT / "src" / "motes" / name for name in ("errors.py", "cluster.py")}
    assert files == {room / "__init__.py" for room in rooms} | alone


@pytest.mark.parametrize("door", DOORS)
def test_every_name_of_a_door_loads_and_is_explained(door):
    module = importlib.import_module(door)
    assert module.__doc__ and set(module.__all__) <= set(dir(module))
    for name, thing in named(door).items():
        if inspect.isclass(thing) or inspect.isfunction(thing) or isinstance(thing, ModuleType):
            doc = thing.__doc__
            assert doc and not doc.startswith(f"{name}("), name  # which a dataclass without one says
        else:  # a constant, which has no docstring of its own
            owner = motes.data if thing is motes.data.SHAPES else module
            assert f"`{name}`" in owner.__doc__, name


def test_the_top_level_stays_small():
    names = {name for name, thing in named("motes").items() if not isinstance(thing, ModuleType)}
    assert len(names) <= 23
    alone = {"fit", "sweep", "TableModel", "load", "diagnose", "register", "Model", "DiffusionModel", "MotesError"}
    for name in names - alone:  # each is at the door of a room, too
        assert any(named(door).get(name) is getattr(motes, name) for door in DOORS[1:]), name


@pytest.mark.parametrize("door", DOORS)
def test_signatures_are_read_as_they_are_written(door):
    for name, thing in named(door).items():
        if inspect.isfunction(thing):
            assert not re.search(r"Union\[|ndarray\[tuple|jaxlib|motes\.\w+\._", str(inspect.signature(thing))), name


# --- examples -----------------------------------------------------------------------------------------------------


def functions_of(cls):
    """Qualified name -> (the attribute, its function), for the public methods and properties that motes defines."""
    found = {}
    for base in (base for base in reversed(cls.__mro__) if base.__module__.startswith("motes.")):
        for name, thing in vars(base).items():
            inner = getattr(thing, "fget", None) or getattr(thing, "func", None) or getattr(thing, "__func__", thing)
            inner = inspect.unwrap(getattr(inner, "method", inner))  # Equinox wraps methods
            if not name.startswith("_") and inspect.isfunction(inner):
                found[name] = f"{base.__module__}.{base.__qualname__}.{name}", thing, inner
    return {place: (thing, inner) for place, thing, inner in found.values()}


def public():
    """Qualified name -> docstring, of each class, function and method that a door leads to and that wants an example.

    None is wanted of a method without a docstring, which does what it says in the class that it overrides; and of a
    property that one line explains.
    """
    found = {}
    for door in DOORS:
        for thing in named(door).values():
            if not (inspect.isclass(thing) or inspect.isfunction(thing)):
                continue
            found[f"{thing.__module__}.{thing.__qualname__}"] = thing.__doc__
            for place, (attribute, inner) in functions_of(thing).items() if inspect.isclass(thing) else ():
                brief = isinstance(attribute, property | cached_property) and "\n" not in (inner.__doc__ or "").strip()
                if inner.__doc__ and not brief:
                    found[place] = inner.__doc__
    return found


class Numbers(doctest.OutputChecker):
    """Numbers are equal where they are so to the digits that the example writes; spaces do not count."""

    NUMBER = re.compile(r"(?<![\w.])-?\d+\.\d*(?:e[-+]?\d+)?")

    def check_output(self, want, got, optionflags):
        if super().check_output(want, got, optionflags):
            return True
        wanted, given = self.NUMBER.findall(want), self.NUMBER.findall(got)
        texts = ["".join(self.NUMBER.sub("#", text).split()) for text in (want, got)]
        if len(wanted) != len(given) or not super().check_output(*texts, optionflags):
            return False
        digits = [len(number.partition(".")[2]) for number in wanted]
        return all(abs(float(a) - float(b)) <= 0.6 * 10.0**-n for a, b, n in zip(wanted, given, digits, strict=True))


def check(test):
    said = []
    runner = doctest.DocTestRunner(Numbers(), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert runner.run(test, out=said.append).failed == 0, "".join(said)


@pytest.fixture(scope="module")
def diagnosed_once():
    """A diagnosis that several examples show is made for the first of them."""
    from motes.evaluation import diagnosis as after

    real, kept = after.diagnose_model, {}

    @functools.wraps(real)
    def once(model, source=None, **options):
        which = id(model), source, *sorted(options.items())
        if which not in kept:
            kept[which] = model, real(model, source, **options)
        return kept[which][1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(after, "diagnose_model", once)
        yield


@pytest.fixture(scope="module")
def known(diagnosed_once):
    """What every example knows: `motes`, `np`, `jax` and `jnp`, and models that have hardly been trained."""
    people = {"age": [31, 47, 25, 62] * 10, "smoker": ["no", "yes", "no", "no"] * 10}
    ages, smokers = np.array(people["age"], float)[:, None], people["smoker"]
    return {
        "motes": motes,
        "np": np,
        "jax": jax,
        "jnp": jnp,
        "people": people,
        "model": motes.fit(motes.make_shape("moons", 200), changes={"training.steps": 2}, verbose=False),
        "table": motes.fit(people, changes={"table.steps": 2}, verbose=False),
        "estimator": motes.DiffusionModel(max_steps=2, random_state=0).fit(ages, smokers),
    }


@pytest.mark.slow
def test_repr_is_a_short_line(known):
    x, people, rng = motes.make_shape("moons", 100), known["people"], np.random.default_rng(0)
    model, table = known["model"], known["table"]
    schedule = motes.points.VarianceExploding()
    schema = motes.tables.Schema.fit(people)
    found = model.diagnose("moons", n=64)
    for shown in (
        *(model, model, model.training, model.recipe, model.denoiser, model.standardiser, model.denoiser.network),
        *(table, table, table.training, table.recipe, table.likelihood(people), known["estimator"]),
        *(found, found.excess, found.split, motes.diagnose(x, "tutorial")[0], model.likelihood(x)),
        *(motes.truth("moons"), motes.truth("moons").oracle(schedule), schedule, motes.data.Table(x, ("x", "y"))),
        *(model.reverse_process(None, None), motes.Sampling(steps=3), motes.Guidance(2.0)),
        *(schema, schema.encode(people), *schema.parts, *schema.kinds, motes.data.Blocks.of_file("penguins")),
        *(motes.sliced_w2(x, x), motes.evaluation.prdc(x, x), motes.evaluation.Modes.at(rng.normal(size=(30, 2)))),
    ):
        assert len(repr(shown)) < 140 and "\n" not in repr(shown), repr(shown)


PUBLIC = public()


def test_everything_public_has_an_example():
    assert not [place for place, doc in PUBLIC.items() if ">>>" not in doc]


SLOW = re.compile(  # they train, draw many points or diagnose
    r"""motes\.(
    estimator\.DiffusionModel(\.(partial_)?fit)? | fitting\.fit | sweeping\.sweep | plots\.report\.write_page
    | evaluation\.(diagnosis\..* | posteriors\..* | averages\..* | losses\.ExcessLoss | points\.evaluate_points)
    | training\.model\.Model(\.evaluate | \.score_samples)?
    | tables\.model\.TableModel\.(averaged_over | evaluate | report)
    | points\.model\.PointModel\.(bound | diagnose | evaluate | likelihood | predict_proba | sample)
    | points\.(posterior_model\..* | particles\..* | training\.train | variance\..* | guidance\.Guidance)
    | points\.networks\.(ResidualMLP | StepGatedMLP)
    | points\.samplers\.(Ancestral | EDMStochastic | Adaptive | AnnealedLangevin)
    )""",
    re.VERBOSE,
)


@pytest.mark.usefixtures("own_kinds")
@pytest.mark.parametrize(
    "place",
    [
        pytest.param(place, marks=pytest.mark.slow) if SLOW.fullmatch(place) else place
        for place, doc in PUBLIC.items()
        if ">>>" in doc
    ],
)
def test_examples_do_what_they_show(place, known, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check(doctest.DocTestParser().get_doctest(PUBLIC[place], dict(known), place, None, None))


@pytest.mark.slow
@pytest.mark.usefixtures("own_kinds")
def test_so_do_those_of_what_is_not_public(known, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = []
    for module in pkgutil.walk_packages(motes.__path__, "motes."):
        if module.name == "motes.__main__":
            continue
        inside = importlib.import_module(module.name)
        tests = doctest.DocTestFinder(exclude_empty=True).find(inside, module.name, extraglobs=known)
        found += [test for test in tests if test.examples and test.name not in PUBLIC]
    assert len(found) > 10
    for test in found:
        check(test)
