"""Rules between columns: what all training rows keep no synthetic row breaks, and what a few break comes as rarely."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import motes
from fits import fit_table
from motes.explorer.tables import TableSubject
from motes.tables import Schema
from motes.tables.model import TableModel
from motes.tables.rules import Constraint
from motes.tables.training import order_of
from tables import TINY, untrained

pytestmark = pytest.mark.brief

ROWS = 600
DAY = np.timedelta64(1, "D")


def rows_of(kind, soft):
    """A table with a rule, which three of its rows break if it is soft, and which rows of any frame break it."""
    rng = np.random.default_rng(11)
    broken = np.arange(ROWS) < (3 if soft else 0)
    if kind == "sum":
        a, b = rng.integers(0, 12, ROWS), rng.integers(0, 12, ROWS)
        frame = pd.DataFrame({"a": a, "b": b, "c": np.where(broken, a + b + 5, a + b)})
        return frame, lambda one: one.a + one.b != one.c
    if kind == "inequality":
        low = rng.integers(0, 12, ROWS)
        frame = pd.DataFrame({"low": low, "high": low + np.where(broken, -1, rng.poisson(2, ROWS))})
        return frame, lambda one: one.low > one.high
    car = rng.integers(0, 12, ROWS)
    maker = np.where(broken, (car // 3 + 1) % 4, car // 3)
    frame = pd.DataFrame({"car": [f"car {k}" for k in car], "maker": [f"maker {k}" for k in maker]})
    return frame, lambda one: one.car.str[4:].astype(int) // 3 != one.maker.str[6:].astype(int)


@pytest.fixture(scope="module", params=[(kind, soft) for kind in ("sum", "inequality", "label") for soft in (0, 1)])
def ruled(request):
    frame, broken = rows_of(*request.param)
    with untrained():
        return frame, broken, fit_table(frame, changes=TINY | {"table.bins": 64}, seed=1), request.param[1]


def test_rules_are_found_and_softness_is_said(ruled):
    frame, broken, model, soft = ruled
    words = model.schema.related
    assert bool(broken(frame).sum()) == bool(soft)
    assert any("nearly all rows" in one for one in words) == bool(soft), words
    assert [one.words for one in Schema.from_state(*model.schema.to_state()).rules] == [
        one.words for one in model.schema.rules
    ]


def test_synthetic_rows_break_a_rule_as_often_as_the_training_rows_did(ruled):
    """Three of 600 rows: 100 of 20,000 synthetic ones, with a standard error of 10; a factor of 2 is 5 of these."""
    frame, broken, model, soft = ruled
    drawn = model.sample(20_000, seed=3).like(frame)
    if not soft:
        assert not broken(drawn).any()
        first = frame.columns[-1]  # nor where one of them is given, though it decides what the others can be
        assert not broken(model.sample(2000, given={first: frame[first][0]}, seed=7).like(frame)).any()
    else:
        assert 0.5 < broken(drawn).mean() / broken(frame).mean() < 2


def test_the_probabilities_of_all_rows_sum_to_one(ruled):
    frame, broken, model, soft = ruled
    each = [frame[column].unique() for column in frame]
    if frame[frame.columns[0]].dtype.kind == "i":
        each = [np.arange(one.min(), one.max() + 1) for one in each]
    every = pd.MultiIndex.from_product(each, names=list(frame)).to_frame(index=False)
    free = TableModel(replace(model.orders, constraint=Constraint()), model.recipe)
    p, q = np.exp(model.score_samples(every)), np.exp(free.score_samples(every))
    bad = broken(every).to_numpy()
    # Z comes from 8,192 drawn rows or more; some of the network's probability lies beyond these values.
    kept = q[~bad].sum() / q.sum()
    assert p.sum() == pytest.approx(q.sum(), abs=4 * np.sqrt((1 - kept) / kept / 8192) + 2e-3)
    if not soft:
        np.testing.assert_allclose(p[bad], q[bad] / (ROWS + 1))
    else:
        assert 0.5 < p[bad].sum() / broken(frame).mean() < 2


@pytest.mark.parametrize("ruled", [("label", 0), ("label", 1)], indirect=True)
def test_probabilities_of_labels_keep_the_rules_as_log_p_does(ruled):
    """Every label of every row is scored; log p holds a share e of rows without rules, which are never drawn."""
    frame, broken, model, soft = ruled
    rows = frame.head(40)
    p, makers = model.predict_proba(rows, "maker")
    every = rows.loc[rows.index.repeat(len(makers))].assign(maker=makers * len(rows))
    free = TableModel(replace(model.orders, constraint=Constraint()), model.recipe)
    scored = np.exp(model.score_samples(every)) - np.exp(free.score_samples(every)) / (ROWS + 1)
    scored = scored.reshape(p.shape)
    np.testing.assert_allclose(p, scored / scored.sum(axis=1, keepdims=True), atol=1e-6)
    bad = broken(every).to_numpy().reshape(p.shape)
    assert bad.sum() == 3 * len(rows)
    assert (p[bad] > 0).all() if soft else (p[bad] == 0).all()
    found = model.predict(rows, "maker")
    np.testing.assert_array_equal(found[[f"p({one})" for one in makers]], p)
    page = TableSubject("cars", model)
    bars = dict(zip([one.column for one in page.bars], page.conditionals({"car": rows.car[0]}), strict=True))
    np.testing.assert_allclose(np.sort(bars["maker"]), np.sort(p[0]), atol=1e-6)


# --- trained ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("law", "broken", "error"), [("uniform", 0, 0.004), ("uniform", 3, 0.004), ("wait", 0, 0.006)])
def test_gaps_of_dates_have_their_shares(law, broken, error):
    """A share of .033 has a standard error of .0008 among 50,000 rows: .004 is five of them, for each of 30 gaps.

    Waiting times have a border below only, at which there are most rows: half of them were drawn.
    """
    rng = np.random.default_rng(3)
    start = np.datetime64("2021-01-01") + rng.integers(0, 700, 3000) * DAY
    gap = {"uniform": rng.integers(0, 30, 3000), "wait": rng.exponential(12, 3000).astype(int)}[law]
    gap[:broken] = -4
    frame = pd.DataFrame({"start": start, "end": start + gap * DAY})
    model = motes.fit(frame, "table", changes={"table.steps": 200}, seed=0, verbose=False)
    drawn = (lambda rows: (rows.end - rows.start).dt.days.to_numpy())(model.sample(50_000, seed=7))
    inside = (drawn >= 0) & (drawn <= (29 if law == "uniform" else gap.max()))
    assert (~inside).mean() <= (2 * broken / 3000 if law == "uniform" else 0.005)
    real, made = (np.bincount(one[one >= 0], minlength=400)[:400] / len(one) for one in (gap, drawn))
    assert np.abs(made - real).max() < error


# --- columns of labels that follow from another one: found where they do, and not where they do not -------------------


ANIMALS = {"mouse": "mammal", "horse": "mammal", "crow": "bird", "robin": "bird", "owl": "bird", "frog": "amphibian"}


def animals(n=400, seed=0):
    """Each animal has one class; where it lives has nothing to do with that, but frogs live in ponds."""
    rng = np.random.default_rng(seed)
    animal = rng.choice([*ANIMALS], n)
    place = np.where(animal == "frog", "pond", rng.choice(["wood", "field", "pond"], n))
    return pd.DataFrame({"class": [ANIMALS[one] for one in animal], "animal": animal, "place": place})


@pytest.fixture(scope="module")
def data():
    return animals()


def test_what_follows_is_found_and_said(data):
    assert Schema.fit(data).related == [
        "class follows from animal",
        "animal is frog where class is amphibian",
        "place is pond where class is amphibian",
        "place is pond where animal is frog",
    ]


def test_what_follows_in_some_cases_names_each_of_them():
    rng = np.random.default_rng(0)
    what, paid = rng.choice(["ask", "buy", "view"], (2, 600)), rng.choice(["all", "none", "some"], 600)
    paid = np.select([what[0] == "ask", what[0] == "view"], ["some", "all"], paid)
    related = Schema.fit(pd.DataFrame({"what": what[0], "paid": paid})).related
    assert related == ["paid is some where what is ask, all where what is view", "what is buy where paid is none"]


def test_what_is_broken_often_is_no_dependency(data):
    other = data.copy()
    crows = other.index[other.animal == "crow"]
    other.loc[crows[:1], "class"] = "mammal"
    assert "class follows from animal in nearly all rows" in Schema.fit(other).related
    other.loc[crows[: len(crows) // 4], "class"] = "mammal"
    message = [one for one in Schema.fit(other).related if one.startswith("class")]
    # What each of the other animals says stays.
    assert len(message) == 1
    assert message[0].startswith("class is ") and "bird where animal is owl" in message[0] and "crow" not in message[0]


def test_labels_that_are_all_rare_follow_from_nothing_and_nothing_from_them():
    # Of more than 256 labels those of one or two rows share a code: here no label has a code of its own.
    pairs = np.repeat([f"C{k}" for k in range(300)], 2)
    frame = {"customer": pairs, "city": ["Graz", "Linz", "Wien"] * 200}
    schema = Schema.fit(frame, {"customer": "categorical"})
    assert schema.dependencies == ()
    assert [part.count for part in schema.parts] == [1, 3]


def test_independent_labels_follow_from_nothing():
    # 20 tables of 6 pairs. By chance one in a table of 1e8 would be found.
    for seed in range(20):
        rng = np.random.default_rng(seed)
        frame = pd.DataFrame(
            {
                "many": rng.integers(0, 120, 300).astype(str),
                "rare": np.where(rng.random(300) < 0.02, "yes", "no"),
                "few": rng.choice(list("abc"), 300, p=[0.8, 0.15, 0.05]),
            }
        )
        assert Schema.fit(frame).dependencies == ()


def excluding(n=1500, seed=0):
    """States of an account in two months: a delay is at least a month longer than before, or none."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 5, n)
    second = np.where(rng.random(n) < 0.4, rng.integers(0, 2, n), np.minimum(first + 1, 4))
    return pd.DataFrame({"june": np.char.add("s", first.astype(str)), "july": np.char.add("s", second.astype(str))})


def test_labels_that_exclude_each_other_are_never_drawn_together():
    frame = excluding()
    absent = {(a, b) for a in frame["june"].unique() for b in frame["july"].unique()} - {*frame.itertuples(index=False)}
    with untrained():
        model = fit_table(frame, changes=TINY, seed=1)
    (words,) = (one for one in model.schema.related if one.startswith("never june"))
    assert words == "never june s2 with july s4, nor june s0 with july s4, nor june s1 with july s4"
    drawn = model.sample(5000, seed=2)
    assert not {*zip(drawn["june"], drawn["july"], strict=True)} & absent
    given = model.sample(300, given={"july": "s4"}, seed=3)
    assert {*given["june"]} == {"s3", "s4"}
    filled = model.impute(excluding(50, 4).assign(june=None), seed=5)
    assert not {*zip(filled["june"], filled["july"], strict=True)} & absent
    every = pd.DataFrame([(a, b) for a in frame["june"].unique() for b in frame["july"].unique()], columns=[*frame])
    assert np.exp(model.likelihood(every).log_prob).sum() == pytest.approx(1, abs=5e-3)  # Z is estimated


def test_labels_and_numbers_that_exclude_each_other_are_never_drawn_together(tmp_path):
    frame = excluding().assign(level=lambda one: one["june"].str[1:].astype(int) + 3)
    with untrained():
        fit_table(frame, changes=TINY, seed=1).save(tmp_path / "model.safetensors")
    model = motes.load(tmp_path / "model.safetensors")
    assert any(one.startswith("never june") and " with level " in one for one in model.schema.related)
    drawn = model.sample(3000, seed=2)
    assert [name[1:] for name in drawn["june"]] == [f"{level - 3:g}" for level in drawn["level"]]


def test_independent_labels_do_not_exclude_each_other():
    """Of 5,000 pairs of labels, fewer than 1 in 10^5 sets would have one by chance (e^-20 a pair)."""
    rng = np.random.default_rng(8)
    for _ in range(200):
        frame = pd.DataFrame({name: rng.choice([*"vwxyz"], 1000, p=rng.dirichlet([1] * 5)) for name in "ab"})
        assert not [one for one in Schema.fit(frame).related if one.startswith("never")]


def test_what_follows_comes_after_that_from_which_it_follows(data):
    with untrained():
        model = fit_table(data, changes=TINY, seed=1)
    columns = [model.schema.parts[j].column for j in model.orders.order]
    assert columns.index("animal") < columns.index("class")
    assert columns.index("animal") < columns.index("place")
    units, entropies = np.array([0, 1, 2]), np.array([1.0, 2.0, 3.0])
    assert order_of(entropies, units).tolist() == [0, 1, 2]
    assert order_of(entropies, units, {0: [2]}).tolist() == [2, 0, 1]
    assert order_of(entropies, units, {0: [2], 2: [0]}).tolist() == [2, 0, 1]


# --- rare labels, which share a token -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cities():
    """Rows of 900 cities, half of them with one or two rows, and the state of each."""
    rng, many = np.random.default_rng(3), 900
    share = 1 / np.arange(1, many + 1)
    city = np.append(np.arange(many), rng.choice(many, 1200, p=share / share.sum()))
    state = rng.integers(0, 8, many)
    frame = pd.DataFrame({"city": [f"city {k}" for k in city], "state": [f"state {state[k]}" for k in city]})
    model = fit_table(frame.assign(size=rng.integers(0, 3, len(frame))), changes=TINY, seed=0)
    return model, frame, dict(zip(frame.city, frame.state, strict=True))


def test_rare_labels_keep_what_follows_from_them(cities):
    model, frame, state_of = cities
    rare = frame.city.value_counts().loc[lambda rows: rows <= 2].index
    assert "state follows from city" in model.schema.related
    one, two = rare[0], next(city for city in rare if state_of[city] != state_of[rare[0]])
    given = ({}, {"city": one}, {"city": {one, two}}, {"state": "state 3"})
    for rows in (model.sample(500, given=some, seed=1) for some in given):
        assert [state_of[city] for city in rows["city"]] == list(rows["state"])
    drawn = model.sample(5000, seed=2)
    share = frame.city.isin(rare).mean()
    assert np.isin(drawn["city"], rare).mean() == pytest.approx(share, abs=0.05)  # TINY does not calibrate
    known = frame[frame.city.isin(rare)].assign(size=1)[:100]
    for column in ("city", "state"):
        filled = model.impute(known.assign(**{column: None}))
        assert [state_of[city] for city in filled["city"]] == list(filled["state"])


def test_the_probabilities_of_rare_labels_sum_to_one_given_what_follows(cities):
    model, _, state_of = cities
    every = pd.DataFrame(
        [(city, f"state {k}", 1) for city in state_of for k in range(8)], columns=["city", "state", "size"]
    )
    p = np.exp(model.score_samples(every)).reshape(-1, 8)
    alone = np.exp(model.score_samples(pd.DataFrame({"city": [None], "state": [None], "size": [1]})))
    assert p.sum() == pytest.approx(alone[0], rel=1e-3)  # the constant of the rules is estimated from drawn rows
    own = [int(state[6:]) for state in state_of.values()]
    assert p[np.arange(len(own)), own].sum() > 0.99 * p.sum()


def test_rare_labels_that_break_a_dependency_are_said_and_kept_as_they_are(cities):
    _, frame, _ = cities
    places = frame.index[frame.city == frame.city.value_counts().loc[lambda rows: rows == 2].index[0]]
    odd = frame.assign(state=np.where(frame.index == places[0], "state 9", frame.state))
    (found,) = Schema.fit(odd).dependencies
    assert found.words == "state follows from city in nearly all rows" and found.broken == 1 and found.rows == len(odd)
    rare = frame.city.map(frame.city.value_counts()) == 2
    strange = frame.assign(state=np.where(rare & ~frame.city.duplicated(), "state 9", frame.state))
    assert "state follows from city" in Schema.fit(strange).related  # a rule of frequent labels stays one
