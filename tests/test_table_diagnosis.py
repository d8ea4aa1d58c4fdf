"""What the diagnosis says of models of tables, where the answer is known, and its figures."""

import json
from types import SimpleNamespace

import jax
import numpy as np
import pandas as pd
import pytest

import motes
from fits import fit_table
from motes.cli.common import Drawing
from motes.cli.figures import draw_run, keep_diagnosis, linked_columns
from motes.data.frames import as_frame
from motes.errors import UsageError
from motes.evaluation.sources import source_of
from motes.evaluation.table_diagnosis import _overlearned, _worse_than_mixture, diagnose_table
from motes.progress import Reporter
from motes.tables.layout import layout_of
from motes.tables.network import MaskedNetwork
from motes.tables.schema import Schema
from motes.tables.training import SHARES, best_share, line_factors, moved_by, vectors_of
from tables import untrained

pytestmark = pytest.mark.brief

TINY = {"table.width": 16, "table.depth": 1, "table.components": 2, "table.own": 0, "table.batch": 32}
RHO = 0.8
PLAIN = {"table.calibrate": False}
MUTUAL = -0.5 * np.log(1 - RHO**2)  # nats that one of two normal numbers says of the other


def table(n, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.multivariate_normal([0, 0], [[1, RHO], [RHO, 1]], n).T
    side = rng.choice(["left", "right"], n)
    return pd.DataFrame({"a": a, "b": b, "side": side, "sign": np.where(side == "left", "minus", "plus")})


@pytest.fixture(scope="module")
def model():
    return fit_table(table(2400, 0), changes=TINY | {"table.steps": 100}, seed=0)


@pytest.fixture(scope="module")
def found(model):
    return diagnose_table(model, as_frame(table(2000, 1)), as_frame(table(2400, 0)), evaluated_against="fresh rows")


@pytest.mark.slow
def test_gains_are_the_mutual_information_and_totals_those_of_the_likelihood(found, model):
    gain = dict(zip(found.columns, found.gain, strict=True))
    first, second = sorted(("a", "b"), key=lambda name: gain[name])
    # A hundred steps and a false alarm in 10^4: the base knows the normals, and the labels follow from one another.
    assert gain[first] == pytest.approx(0.0, abs=0.03)
    assert gain[second] == pytest.approx(MUTUAL, abs=0.06)
    assert gain["side"] + gain["sign"] == pytest.approx(np.log(2), abs=0.03)
    simple = dict(zip(found.columns, found.mixture - found.alone, strict=True))
    assert max(simple["a"], simple["b"]) == pytest.approx(MUTUAL, abs=0.06)
    # Quantile bins of a standard normal lose little: its entropy is 1.419 nats.
    alone = dict(zip(found.columns, found.alone, strict=True))
    assert [alone["a"], alone["b"], alone["side"]] == pytest.approx([-1.419, -1.419, np.log(0.5)], abs=0.08)
    assert found.held_out == pytest.approx(model.score_samples(table(2000, 1)).mean(), rel=1e-6)
    assert found.held_out == pytest.approx(found.model.sum(), rel=1e-6)
    assert found.training == pytest.approx(model.score_samples(table(2400, 0)).mean(), abs=0.1)
    assert found.rows == 2000 and found.evaluated_against == "fresh rows" and found.findings == ()


@pytest.mark.slow
def test_rows_that_the_training_could_not_have_held_are_a_finding(model):
    other = table(400, 2).assign(side=lambda frame: np.where(frame.a > 1.5, "middle", frame.side))
    found = diagnose_table(model, as_frame(other), None, evaluated_against="other rows")
    (finding,) = (one for one in found.findings if one.name == "impossible_rows")
    assert finding.value == pytest.approx((other.a > 1.5).mean())
    assert "'side'" in finding.meaning
    assert found.training is None and np.isfinite(found.held_out)


def worst(found):
    """The worst finding of each name, and its fix."""
    ordered = sorted(found.findings, key=lambda finding: abs(finding.value))
    return {finding.name: (abs(finding.value), finding.fix) for finding in ordered}


@pytest.mark.long
def test_learning_by_heart_is_found_and_the_fix_halves_it():
    # Each row comes ten times. Copies of rows of labels are on both sides of a split, so that what says when to stop is
    # what is learned, and a hundred rows without any structure are memorised.
    rng = np.random.default_rng(3)
    make = lambda n: pd.DataFrame({f"x{k}": rng.choice(list("abcd"), n) for k in range(6)})
    seen, unseen = make(100), make(300)
    changes = {
        "table.steps": 300, "table.width": 48, "table.depth": 1, "table.dropout": 0.0, "table.weight_decay": 0.0,
        "table.learning_rate": 0.01, "table.batch": 128, "table.calibrate": False,
    }  # fmt: skip

    def diagnosed(more):
        model = fit_table(pd.concat([seen] * 10), changes=changes | more, seed=0)
        return worst(diagnose_table(model, as_frame(unseen), as_frame(seen), evaluated_against="fresh rows"))

    names, before = ("overlearned", "worse_than_alone", "worse_than_mixture"), diagnosed({})
    assert set(names) <= set(before)
    (fix,) = {before[name][1] for name in names}
    after = diagnosed(changes_of(fix))
    assert all(after.get(name, (0.0, ""))[0] <= before[name][0] / 2 for name in names), (before, after)


def changes_of(fix):
    """What `--set a=b` says."""
    word, option = fix.split()
    name, number = option.split("=")
    assert word == "--set"
    return {name: float(number)}


@pytest.mark.slow
def test_fewer_than_ten_rows_are_refused(model):
    with pytest.raises(UsageError, match="got 4 held-out rows; expected at least 10"):
        diagnose_table(model, as_frame(table(4, 2)), None, evaluated_against="few rows")


@pytest.mark.slow
def test_the_model_of_a_file_is_diagnosed_with_its_held_out_rows(tmp_path):
    path = tmp_path / "t.csv"
    table(2400, 4).to_csv(path, index=False)  # as many as those of `model`, whose programs serve here as well
    model = motes.fit(str(path), "table", changes=TINY | PLAIN | {"table.steps": 20}, verbose=False)
    found = model.diagnose()
    origin = source_of(model)
    assert found.rows == len(origin.held_out)
    assert found.evaluated_against == f"held-out rows of {path}"
    assert found.training is not None
    paths = keep_diagnosis(found, model, None, tmp_path / "out", t=None, drawing=Drawing("light"), seed=0)
    assert [one.name for one in paths] == ["diagnosis.json", "column_gains.png"]
    numbers = json.loads(paths[0].read_text())
    assert numbers["model"] == pytest.approx(found.model.tolist()) and tuple(numbers["columns"]) == found.columns
    assert numbers["held_out"] == found.held_out
    drawing = Drawing("dark", format="svg")
    drawn = [one.name for one in draw_run(model, origin, tmp_path / "out", Reporter(True), drawing=drawing, seed=0)]
    assert drawn == ["marginals.svg", "pairs.svg"]  # there is no history of a training in the folder


@pytest.mark.slow
def test_a_table_in_memory_needs_rows_that_were_not_seen():
    with untrained():
        model = motes.fit(table(60, 5), changes=TINY | PLAIN | {"table.steps": 5}, verbose=False)
    with pytest.raises(UsageError, match="rows that the model has not seen"):
        model.diagnose(table(60, 5))
    assert model.diagnose(table(80, 6)).training is None


@pytest.mark.slow
def test_the_matrix_of_pairs_shows_the_columns_that_belong_together(model):
    rows = table(500, 7)
    wide = rows.assign(**{f"noise{k}": np.random.default_rng(k).standard_normal(500) for k in range(4)})
    with untrained():
        schema = fit_table(wide, changes=TINY | PLAIN).schema

    class Named:
        pass

    named = Named()
    named.schema = schema
    found = linked_columns(named, schema.frame(wide))
    assert len(found) == 5 and {"a", "b", "side", "sign"} < set(found)
    assert found == [name for name in wide if name in found]


def test_validation_rows_choose_how_much_a_network_changes_numbers():
    schema = Schema.fit(table(50, 0))
    layout = layout_of(schema)
    first = jax.tree.map(lambda part: np.asarray(part)[None], MaskedNetwork(layout, 4, 1, 7, key=jax.random.key(0)))
    before, trained = first, jax.tree.map(lambda part: part + np.float32(0.1), first)
    (group,) = layout.groups
    numbers = group.cells.shares > 0
    assert numbers.any() and not numbers.all()
    for share in SHARES:
        factors = line_factors(first, layout, share)
        moved = jax.tree.map(moved_by, trained, before, factors)
        # What such rows would say if that share were best.
        nats = lambda vectors, moved=moved: float(np.abs(vectors - vectors_of(moved)).sum())
        assert best_share(vectors_of(trained), first, layout, nats) == share
        np.testing.assert_allclose(moved.lines, 0.1 * share, atol=1e-6)
        np.testing.assert_allclose(moved.line_bias[..., 1:], 0.1 * share, atol=1e-6)
        np.testing.assert_array_equal(moved.line_bias[..., 0], trained.line_bias[..., 0])
        np.testing.assert_allclose(moved.out_bias[0][0][numbers], 0.1 * share, atol=1e-6)
        np.testing.assert_array_equal(moved.out_bias[0][0][~numbers], trained.out_bias[0][0][~numbers])
        np.testing.assert_array_equal(moved.hidden, trained.hidden)


def of_recipe(columns=4, **table):
    """A model as far as findings ask: its recipe and its columns."""
    recipe = motes.load_recipe("table", {f"table.{key}": value for key, value in table.items()})
    return SimpleNamespace(recipe=recipe, schema=SimpleNamespace(learned=[str(k) for k in range(columns)]))


# Means over 400 rows whose standard deviation is 0.2: standard errors are 0.01, of a difference 0.014.
AROUND = 0.2 * np.repeat([-1.0, 1.0], 200)


def test_who_knows_seen_rows_by_heart_and_gives_unseen_ones_nothing_has_overlearned():
    def found(seen, unseen):
        return list(_overlearned(AROUND + seen, AROUND + unseen, of_recipe(weight_decay=5.0)))

    (finding,) = found(0.5, -0.1)
    assert finding.name == "overlearned" and finding.value == pytest.approx(0.6)
    assert finding.fix == "--set table.weight_decay=15"
    for seen, unseen in ((9.0, 0.1), (0.4, -0.05), (0.49, -0.05)):  # worth it; too little; not surely enough
        assert found(seen, unseen) == []


def test_a_network_that_takes_likelihood_away_is_worse_than_the_mixture():
    def found(added):
        return list(_worse_than_mixture(AROUND + added, of_recipe(columns=4)))

    (finding,) = found(-0.12)
    assert finding.name == "worse_than_mixture" and finding.value == pytest.approx(0.12)
    assert finding.fix == "--set table.weight_decay=10"
    assert found(-0.10) == found(0.12) == []  # four columns at 0.02, and three standard errors
