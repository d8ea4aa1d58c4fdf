"""Tables of which the exact answers are known: a trained model gives each of them within its sampling error.

Of `n` rows that it learns, a model tells a share p to sqrt(p / n); of drawn rows, that is added. What is allowed for
learning itself stands beside each number. No seed of data is one of draws: 0 makes the data, 1 trains and 7 draws.
"""

import itertools
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import motes
from customers import customers
from fits import fit_table
from motes.data import as_frame
from motes.recipes import load_recipe
from motes.tables.parts import Not, Part
from motes.tables.training import options_of
from tables import TINY, untrained

SHORT = {"table.steps": 300, "table.width": 48, "table.depth": 1, "table.batch": 256}
DRAWN = 20_000
CHI2_31 = 61.1  # which one of 1,000 of 31 degrees of freedom exceeds


def drawn(model, frame, n=DRAWN, **words):
    return model.sample(n, seed=7, **words).like(frame.iloc[:0])


def repeated(cells, counts):
    """Each cell (a row) as often as it was counted."""
    return cells.loc[cells.index.repeat(np.ravel(counts))].reset_index(drop=True)


def shares_of(rows, cells):
    """The share of each cell among the rows, (c,)."""
    counts = rows[list(cells)].value_counts()
    return counts.reindex(pd.MultiIndex.from_frame(cells), fill_value=0).to_numpy() / len(rows)


def deviance(counts, q):
    """Twice the difference of the log-likelihoods of the counts' own shares and of q: chi-squared if q is the truth."""
    some = counts > 0
    return 2 * (counts[some] * np.log(counts[some] / counts.sum() / q[some])).sum()


# --- labels -----------------------------------------------------------------------------------------------------------

# Students of the University of Delaware, 1974 (R's HairEyeColor): sex x hair x eyes.
HAIR = ("Black", "Brown", "Red", "Blond")
EYES = ("Brown", "Blue", "Hazel", "Green")
STUDENTS = np.array(
    [
        [[32, 11, 10, 3], [53, 50, 25, 15], [10, 10, 7, 7], [3, 30, 5, 8]],
        [[36, 9, 5, 2], [66, 34, 29, 14], [16, 7, 7, 7], [4, 64, 5, 8]],
    ]
)


# Cars of R's mpg: how many of each model.
@pytest.fixture(scope="module")
def students():
    cells = pd.DataFrame(itertools.product(("Male", "Female"), HAIR, EYES), columns=["sex", "hair", "eyes"])
    return cells, fit_table(repeated(cells, STUDENTS), changes={"table.width": 48}, seed=1)


@pytest.mark.long
def test_ten_independent_labels_are_independent():
    # The old model said -20.3. A label's three free shares, of 3,000 rows, cost 3 / 6,000 nats each: 0.005 in all.
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({name: rng.choice(list("wxyz"), 4000) for name in "abcdefghij"})
    model = fit_table(frame.head(3000), changes=SHORT, seed=1)
    scores = model.score_samples(frame.tail(1000))
    assert scores.mean() == pytest.approx(-10 * np.log(4), abs=0.03)  # 0.005, and 0.025 for learning
    assert scores.std() < 0.25  # exact: 0
    assert np.isfinite(scores).all()
    # Pairs of independent labels: 16 shares of 1/16. 45 pairs of columns: 5 standard errors, 4e-4 of seeds.
    rows = drawn(model, frame)
    for a, b in itertools.combinations(frame, 2):
        pairs = pd.crosstab(rows[a], rows[b], normalize=True).to_numpy()
        assert np.abs(pairs - 1 / 16).max() < 5 * np.sqrt(1 / 16 * (1 / 3000 + 1 / DRAWN)) + 0.002


@pytest.mark.slow
def test_hair_and_eyes_are_learned_as_they_go_together(students):
    cells, model = students
    assert STUDENTS.sum() == 592
    p = STUDENTS / 592
    alone = np.einsum("i,j,k->ijk", p.sum((1, 2)), p.sum((0, 2)), p.sum((0, 1)))
    assert deviance(STUDENTS, alone) == pytest.approx(166.30, abs=0.01)  # as R's loglin says
    q = np.exp(model.score_samples(cells))
    assert q.sum() == pytest.approx(1, abs=1e-5)
    # Shares that one of 1,000 samples of this size would have, if the model were the truth; independence: 166.
    assert deviance(STUDENTS.ravel(), q) < CHI2_31
    # Log p of a student: -3.064 is the best, -3.205 that of independent marginals, and the old model's was -3.84.
    assert (p.ravel() * np.log(q)).sum() == pytest.approx((p * np.log(p)).sum(), abs=0.02)


@pytest.mark.slow
def test_drawn_students_have_the_shares_of_the_real_ones(students):
    cells, model = students
    found, p, q = shares_of(drawn(model, cells), cells), STUDENTS.ravel() / 592, np.exp(model.score_samples(cells))
    # 4.5 standard errors in 32 cells: 2e-4 of seeds.
    assert (np.abs(found - q) < 4.5 * np.sqrt(q / DRAWN)).all()
    # The real shares are known to sqrt(p / 592), of which learning may cost one, beside the draws' own error.
    assert (np.abs(found - p) < np.sqrt(p / 592) + 4.5 * np.sqrt(p / DRAWN)).all()


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def accounts():
    """Nobody without a card spends anything; of the others half spend exp(N(3, 1))."""
    rng = np.random.default_rng(0)
    card = rng.random(3000) < 0.2
    spent = np.where(card & (rng.random(3000) < 0.5), np.exp(3 + rng.standard_normal(3000)).round(2), 0.0)
    frame = pd.DataFrame({"card": np.where(card, "yes", "no"), "spent": spent})
    return frame, fit_table(frame, changes=SHORT, seed=1)


@pytest.mark.long
def test_zeros_and_amounts_are_those_of_the_accounts(accounts):
    frame, model = accounts
    rows = drawn(model, frame)
    real, mine = frame.spent[frame.spent > 0], rows.spent[rows.spent > 0]
    # 4 standard errors of 20,000 rows (6e-5 of seeds): 0.0085. The marginals are calibrated to the rows.
    assert (rows.spent == 0).mean() == pytest.approx((frame.spent == 0).mean(), abs=0.0085)
    # Against the truth. The density of log spent is 0.4 at the median and 0.027 at the 1 % quantile: standard errors of
    # n = 330 real and about 2,200 drawn amounts are sqrt(1/4n) / 0.4 = 0.069 and sqrt(0.0099 / n) / 0.027 = 0.20.
    # 4 of them, with the draws' own a sixth of the variance.
    wide = 4 * np.sqrt(1 + len(real) / len(mine)) / np.sqrt(len(real))
    assert np.log(mine.median()) == pytest.approx(3, abs=wide * 0.5 / 0.399)
    assert np.log(mine.quantile(0.01)) == pytest.approx(3 - 2.326, abs=wide * 0.0995 / 0.0267)
    assert mine.max() <= real.max()


@pytest.mark.long
def test_nobody_without_a_card_spends(accounts):
    frame, model = accounts
    rows = drawn(model, frame)
    # The old model: 2.3 per cent of the rows. Stated: 0.5, with 3 standard errors.
    assert ((rows.card == "no") & (rows.spent > 0)).mean() < 0.005 + 3 * np.sqrt(0.005 / DRAWN)
    assert (rows.card == "no").mean() == pytest.approx((frame.card == "no").mean(), abs=4 * np.sqrt(0.16 / DRAWN))


@pytest.mark.slow
def test_a_model_that_has_not_been_trained_is_as_likely_as_its_base():
    # The base of one normal distribution is exact. What training begins with costs next to nothing.
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(4, 4))
    rows = rng.normal(size=(6000, 4)) @ factor.T
    with untrained():
        model = fit_table(
            rows[:4000], changes={"table.own": 2, "table.components": 3, "table.calibrate": False}, seed=0
        )
    exact = stats.multivariate_normal(np.zeros(4), factor @ factor.T).logpdf(rows[4000:])
    found = model.score_samples(rows[4000:])
    # Chance: the standard error of the mean difference is 0.002, and 14 parameters of 4,000 rows cost 0.002.
    assert found.mean() == pytest.approx(exact.mean(), abs=0.02)


def test_rows_drawn_after_a_short_training_have_the_slopes_of_the_data():
    # Tokens and normals know the other column from the start. Tokens that did not made the slope 0.2 instead of 0.6.
    rng = np.random.default_rng(1)
    x = rng.standard_normal(1000)
    rows = np.column_stack([x, 0.6 * x + 0.8 * rng.standard_normal(1000)]).round(2)
    model = motes.fit(
        pd.DataFrame(rows, columns=["x", "y"]), "table", seed=0, changes=QUICK | {"table.steps": 20, "table.members": 1}
    )
    drawn = model.sample(20_000, seed=2)
    for u, v in (("x", "y"), ("y", "x")):
        slope = stats.linregress(drawn[u], drawn[v])
        expected = stats.linregress(*(rows.T if u == "x" else rows.T[::-1]))
        assert slope.slope == pytest.approx(expected.slope, abs=2 * expected.stderr)


# --- labels of which one is another with an error, and a number -------------------------------------------------------


QUICK = {"table.steps": 600, "table.width": 48, "table.depth": 1, "table.batch": 256}


def cells(rows, column):
    return np.array(rows.columns[column].cells())


@pytest.fixture(scope="module")
def truth():
    """p(color, size, pair) of three labels, where the third is the second with an error of 10 per cent."""
    color, size = np.array([0.5, 0.3, 0.2]), np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])
    pair = np.full((3, 3), 0.05) + 0.85 * np.eye(3)
    return color[:, None, None] * size[:, :, None] * pair[None]


@pytest.fixture(scope="module")
def data(truth):
    rng = np.random.default_rng(0)
    flat = rng.choice(27, 6000, p=truth.ravel() / truth.sum())
    a, b, c = np.unravel_index(flat, (3, 3, 3))
    x = b + 0.5 * rng.standard_normal(6000)
    return pd.DataFrame(
        {
            "color": np.array(["red", "green", "blue"])[a],
            "size": np.array(["S", "M", "L"])[b],
            "pair": c,
            "x": x.round(2),
        }
    )


@pytest.fixture(scope="module")
def model(data):
    return fit_table(data, changes=QUICK, seed=1)


@pytest.fixture(scope="module")
def labels(data):
    """A model of the three labels alone: no density, whose validation rows would end the training sooner."""
    return fit_table(data[["color", "size", "pair"]], changes=QUICK, seed=1)


@pytest.mark.slow
def test_log_p_is_near_the_truth_on_average(model, data, truth):
    # The entropy of the three labels; x given them has a density that is known as well.
    whole = truth / truth.sum()
    test = data.iloc[:2000]
    a, b = (
        [{"red": 0, "green": 1, "blue": 2}[v] for v in test.color],
        [{"S": 0, "M": 1, "L": 2}[v] for v in test["size"]],
    )
    exact = np.log(whole[a, b, test.pair]) - 0.5 * ((test.x - b) / 0.5) ** 2 - np.log(0.5 * np.sqrt(2 * np.pi))
    found = model.score_samples(test)
    assert found.mean() == pytest.approx(exact.mean(), abs=0.04)
    assert np.abs(found - exact).mean() < 0.25


@pytest.mark.slow
def test_conditional_shares_are_near_the_truth(labels, truth, data):
    whole = truth / truth.sum()
    exact = whole[:, :, 2].sum(0) / whole[:, :, 2].sum()
    # By the weights of the model's own order: 1,650 rows of the data tell the shares to 0.02 (two standard errors).
    # In the order in which the known column comes first: as far as so short a training has learned other orders.
    for weighed, near in ((True, 0.03), (False, 0.08)):
        rows = labels.sample(8000, given={"pair": 2}, seed=5, importance_resample=weighed)
        assert set(cells(rows, "pair")) == {2}
        found = pd.Series(cells(rows, "size")).value_counts(normalize=True)
        np.testing.assert_allclose([found.get(name, 0) for name in ("S", "M", "L")], exact, atol=near)
        assert rows.log_evidence == pytest.approx(np.log((data.pair == 2).mean()), abs=0.06)
        assert rows.effective <= 8000


@pytest.mark.slow
def test_a_set_an_interval_and_a_negation_hold_and_have_their_probability(model, data):
    rows = model.sample(3000, given={"color": {"red", "blue"}, "x": (0.5, 1.5), "size": Not("L")}, seed=2)
    assert set(cells(rows, "color")) == {"red", "blue"}
    assert cells(rows, "x").min() >= 0.5
    assert cells(rows, "x").max() <= 1.5
    assert "L" not in set(cells(rows, "size"))
    shown = data.color.isin(["red", "blue"]) & data.x.between(0.5, 1.5) & (data["size"] != "L")
    # 6,000 rows tell the logarithm of the share to 0.03; the rest is what so short a training leaves.
    assert rows.log_evidence == pytest.approx(np.log(shown.mean()), abs=0.12)
    assert 300 < rows.effective <= 3000


@pytest.mark.slow
def test_more_orders_have_a_spread_and_one_has_none(model, data):
    one, three = (model.likelihood(data.head(50), orders=orders) for orders in (1, 3))
    assert np.isnan(one.spread).all()
    assert (three.spread > 0).all()
    assert three.log_prob.mean() == pytest.approx(one.log_prob.mean(), abs=0.3)


@pytest.mark.slow
def test_missing_entries_are_filled_in_and_the_others_stay(model, data):
    holes = data.head(600).copy()
    holes.loc[::2, "size"] = None
    holes.loc[1::3, "x"] = np.nan
    first, second = model.impute(as_frame(holes), draws=2, seed=1)
    for column in data:
        known = holes[column].notna().to_numpy()
        assert (cells(first, column)[known] == holes[column][known]).all()
        assert not first.columns[column].missing.any()
    assert (cells(first, "x") != cells(second, "x")).any()
    # The label that a pair stands for is drawn in nine of ten rows, as in the data.
    gone = holes["size"].isna().to_numpy() & holes.x.notna().to_numpy()
    same = np.array([{"S": 0, "M": 1, "L": 2}[v] for v in cells(first, "size")]) == data["pair"].head(600)
    real = (data["size"].map({"S": 0, "M": 1, "L": 2}) == data["pair"]).mean()
    assert same[gone].mean() == pytest.approx(real, abs=0.1)


@pytest.mark.slow
def test_a_label_given_the_others_is_bayes_rule(labels, data, truth):
    whole = truth / truth.sum()
    found, names = labels.predict_proba(data[["color", "size", "pair"]].head(300), "color")
    b = data["size"].head(300).map({"S": 0, "M": 1, "L": 2}).to_numpy()
    c = data["pair"].head(300).to_numpy()
    exact = whole[:, b, c].T
    exact /= exact.sum(1, keepdims=True)
    mine = found[:, [names.index(name) for name in ("red", "green", "blue")]]
    assert np.abs(mine - exact).mean() < 0.04


# --- exact answers of small tables ------------------------------------------------------------------------------------


def few_of_all_kinds(seed, n=60):
    """Real numbers, half of them missing in one column, labels and small whole numbers."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(n)
    y = np.where(rng.random(n) < 0.5, np.nan, x + 0.3 * rng.standard_normal(n))
    return pd.DataFrame({"x": x, "label": rng.choice(list("ab"), n), "y": y, "k": rng.integers(0, 3, n)})


FEW_STEPS = {"table.steps": 12, "table.width": 16, "table.check_every": 4}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the synthetic rows differ")  # after 12 steps with 60 rows, they may
@pytest.mark.parametrize("kinds", [["x", "label", "y", "k"], ["label", "k"]], ids=["numbers", "labels"])
def test_a_weight_is_so_many_copies_of_a_row_to_the_bit_in_a_trained_model(kinds):
    frame = few_of_all_kinds(0)[kinds]
    rng = np.random.default_rng(1)
    weights = rng.integers(0, 4, len(frame))
    junk = frame.assign(**{kinds[0]: ["z"] * len(frame) if kinds[0] == "label" else 99.0})
    fresh = few_of_all_kinds(2, 200)[kinds]
    score = lambda rows, weights=None: fit_table(rows, changes=FEW_STEPS, weights=weights).score_samples(fresh)
    copies = frame.loc[rng.permutation(np.repeat(frame.index, weights))]
    weighted = score(pd.concat([junk, frame]), np.append(np.zeros(len(junk)), weights))
    np.testing.assert_array_equal(weighted, score(copies))
    once = score(frame)
    np.testing.assert_array_equal(once, score(frame, np.ones(len(frame))))
    np.testing.assert_array_equal(once, score(frame, np.full(len(frame), 0.5)))  # then only ratios count
    assert np.abs(weighted - once).max() > 0.01


@pytest.mark.slow
def test_the_order_of_the_rows_has_no_bearing(data, quick_run):
    quick, some = TINY | {"table.steps": 10, "table.calibrate": True}, data[["size", "x"]]
    first = fit_table(some.head(100), changes=quick, seed=3)
    second = fit_table(some.head(100).iloc[::-1], changes=quick, seed=3)
    np.testing.assert_array_equal(first.score_samples(some.tail(20)), second.score_samples(some.tail(20)))
    other = fit_table(some.head(100), changes=quick, seed=4)
    assert (first.score_samples(some.tail(20)) != other.score_samples(some.tail(20))).all()


def parts_of(count, densities=0):
    return [Part("x", "x", np.ones(1), smooth=k < densities) for k in range(count)]


@pytest.mark.slow
def test_a_step_of_a_wide_table_has_fewer_rows():
    table = load_recipe("table").table
    rows = [options_of(table, 10_000, parts_of(parts)).batch for parts in (2, 48, 96, 200)]
    assert rows == [512, 512, 256, 128]
    assert options_of(load_recipe("table", {"table.batch": 64}).table, 10_000, parts_of(200)).batch == 64


def test_a_large_table_learns_longer_the_more_densities_it_has():
    table = load_recipe("table").table
    steps = [options_of(table, 20_000, parts_of(20, lines)).steps for lines in (0, 5, 6, 13, 20)]
    assert steps[0] == steps[1] < steps[2] < steps[3] <= steps[4] <= 5000
    assert options_of(table, 20_000, parts_of(200, 20)).steps < steps[4]  # each step takes longer
    assert options_of(load_recipe("table", {"table.steps": 9000}).table, 20_000, parts_of(20)).steps == 9000


# --- small tables: the network is kept only where unseen rows are likelier by it, and learns briefly ------------------


MIXTURE = {"table.steps": 1, "table.learning_rate": 1e-12}  # a network that learns nothing, beside the mixture

PROGRAMS = """
import jax, motes, sys
count = []
compiled = "/jax/core/compile/backend_compile_duration"
jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: event == compiled and count.append(event))
rows = motes.dataset("penguins")
model = motes.fit(rows, verbose=False)
model.sample(3000)
model.score_samples(rows[:50]), model.score_samples(rows)
print(len(count))
"""


def noise(n, seed):
    """Columns that have nothing to do with one another."""
    return pd.DataFrame(np.random.default_rng(seed).normal(size=(n, 8)), columns=list("abcdefgh"))


@pytest.mark.slow
def test_a_network_that_unseen_rows_do_not_need_is_not_kept():
    # The margin is two standard errors of 2,000 rows whose log p differs by .3 a row: .013.
    rows, fresh = noise(150, 1), noise(2000, 2)
    model = motes.fit(rows, verbose=False)
    alone = motes.fit(rows, changes=MIXTURE, verbose=False)
    assert model.training.best <= 25 and model.training.steps <= 75  # 0 and 56
    assert model.score_samples(fresh).mean() > alone.score_samples(fresh).mean() - 0.013


@pytest.mark.slow
def test_customers_are_learned_beyond_the_mixture_and_the_training_stops_in_time():
    rows, fresh = customers(3000, 1), customers(2000, 2)
    changes = {"table.calibrate": False}
    model = motes.fit(rows, changes=changes, verbose=False)
    drawn = model.sample(2000, seed=3)
    total, bmi = drawn.total / (drawn.fee * drawn.seats) - 1, drawn.bmi - drawn.weight / drawn.height**2
    assert (total.abs() < 0.0101).mean() > 0.75 and (bmi.dropna().abs() < 0.051).all()  # .856; the error of .75 is .01
    alone = motes.fit(rows, changes=changes | MIXTURE, verbose=False)
    log_p, log_p_alone = model.score_samples(fresh), alone.score_samples(fresh)
    possible = np.isfinite(log_p_alone)  # the others hold a value that no training row has
    assert possible.mean() > 0.9 and np.isfinite(log_p[possible]).all()
    gain = log_p[possible] - log_p_alone[possible]
    assert gain.mean() > 0.3 + 4 * gain.std() / np.sqrt(len(gain))
    assert model.training.steps <= 1.5 * model.training.best


@pytest.mark.slow
def test_labels_are_learned_after_the_numbers():
    # .982 of 115 rows; .86 with the weights that are best for the numbers. Of .97, more than 6 wrong have p = .06.
    rows = motes.dataset("penguins")
    order = np.random.default_rng(1).permutation(len(rows))
    model = motes.fit(rows.take(order[114:]), seed=1, verbose=False)
    rest = rows.take(order[:114])
    assert (np.asarray(model.predict(rest, "species")["label"]) == np.asarray(rest["species"])).mean() >= 0.947


@pytest.mark.slow
def test_a_small_table_takes_few_programs(user_environment):
    words = [sys.executable, "-c", PROGRAMS]
    done = subprocess.run(words, env=user_environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) <= 32  # 55 before
