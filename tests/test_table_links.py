"""Exact relations and repeated values: they are part of a density that sums to 1, and rows are drawn from it."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.special import logsumexp

from fits import fit_table
from motes.data import as_frame
from motes.tables.layout import log_linked
from motes.tables.network import EncodedRows, Scale, ordered
from motes.tables.schema import Schema
from tables import TINY, of_random_weights, predict_frame, untrained

pytestmark = pytest.mark.brief

# --- relations --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(5)
    a, b = rng.poisson(12, 2000), rng.poisson(7, 2000)
    c = np.where(rng.random(2000) < 0.8, a + b, rng.integers(0, 30, 2000))
    return pd.DataFrame({"a": a, "b": b, "c": c, "side": rng.choice(["left", "right"], 2000)})


@pytest.fixture(scope="module")
def model(data):
    with untrained():
        return of_random_weights(fit_table(data, changes=TINY, seed=1))


def share_of(model, column, rows):
    """The share that the relation of a column has in each row, from the definition: a softmax beside 0."""
    unmasker, p = model.orders.first([name for name in ("a", "b", "c", "side") if name != column]), 4
    encoded = model.schema.encode(rows)
    masked = unmasker.start(len(rows))
    unmasker.show_observed(masked, model.orders.reader.read(model.schema.only(encoded, set(rows) - {column})))
    rho = np.asarray(unmasker.predict(masked, p - 1).links, np.float64)[0, :, 0]
    return unmasker, 1 / (1 + np.exp(-rho))


@pytest.mark.slow
@pytest.mark.parametrize("column", ["a", "b", "c"])
def test_with_a_relation_the_values_of_a_column_still_sum_to_one(model, data, column):
    some = data.iloc[:8]
    domain = np.arange(-400, 600)
    rows = some.loc[some.index.repeat(len(domain))].assign(**{column: np.tile(domain, len(some))})
    encoded = model.schema.encode(rows, unseen="mark")
    unmasker, _ = share_of(model, column, some)
    only = np.array([part.column == column for part in model.schema.parts])
    log_p = unmasker.log_prob_parts(encoded)[:, only].sum(1)
    p = np.where((encoded.codes[:, only] >= 0).all(1), np.exp(log_p), 0.0).reshape(len(some), -1)
    np.testing.assert_allclose(p.sum(1), 1.0, atol=1e-3)  # what lies beyond the domain


@pytest.mark.slow
def test_a_relation_gives_its_value_with_the_share_that_the_network_says(model):
    given = {"a": 12, "b": 8, "side": "left"}
    row = pd.DataFrame([{"a": 12, "b": 8, "c": 20, "side": "left"}])
    unmasker, share = share_of(model, "c", row)
    drawn = model.sample(20_000, given=given, seed=3).like(row)
    found = (drawn.c == 20).mean()
    encoded = model.schema.encode(row)
    only = np.array([part.column == "c" for part in model.schema.parts])
    p = float(np.exp(unmasker.log_prob_parts(encoded)[0, only].sum()))
    assert share[0] < p < 1  # and the density has a little there as well
    assert found == pytest.approx(p, abs=4 * np.sqrt(p * (1 - p) / 20_000))  # one in 16,000 by chance


@pytest.mark.slow
def test_a_relation_holds_back_until_all_its_other_columns_are_known(model, data):
    encoded = model.schema.encode(data.iloc[:50])
    whole = model.orders.reader.read(encoded)
    without = model.orders.reader.read(model.schema.encode(data.iloc[:50].assign(b=np.nan)))
    assert whole.could[:, 2].any() and not without.could[:, 2].any() and not without.could[:, 0].any()
    holds = (data.a + data.b == data.c).to_numpy()[:50]
    np.testing.assert_array_equal(whole.holds[:, 2] > 0, holds)


@pytest.mark.slow
def test_part_by_part_is_the_network_at_once_where_relations_give_places(model, data):
    rows = data.iloc[:60].astype(dict.fromkeys("abc", float))
    rows.loc[:19, "a"], rows.loc[10:29, "b"], rows.loc[25:34, "c"] = np.nan, np.nan, np.nan
    read = model.orders.reader.read(model.schema.encode(rows))
    unmasker, layout, observed = model.orders.first(["a", "c", "side", "b"]), model.orders.layout, read.observed
    assert layout.near == 1
    count = len(model.models.network.hidden)
    members = [jax.tree.map(lambda part, k=k: np.asarray(part)[k], model.models) for k in range(count)]

    @jax.jit
    def at_once(member, read, visible):
        base = ordered(member.base, jnp.asarray(unmasker.order), layout)
        return member.log_probs(layout, member.network.heads(layout), base, read, visible)

    masked = unmasker.start(len(rows))
    for k, j in enumerate(map(int, unmasker.order)):
        entry = EncodedRows(*(part[:, j] for part in read))
        visible = np.isin(np.arange(4), unmasker.order[:k]) & observed
        each = [np.asarray(at_once(member, read, visible))[:, j] for member in members]
        expected, here = logsumexp(each, axis=0) - np.log(count), observed[:, j]
        np.testing.assert_allclose(unmasker.log_prob_entry(masked, k, entry)[here], expected[here], atol=2e-4)
        unmasker.show(masked, k, entry.codes, entry.y, entry.u, here)


@pytest.mark.slow
def test_what_a_relation_gives_and_no_value_of_the_column_is_never_drawn(model):
    drawn = model.sample(2000, given={"c": 3, "side": "left"}, seed=2)
    a, b = (drawn.columns[name].values for name in "ab")
    assert a.min() >= 0 and b.min() >= 0  # c - a is below 0 in most rows


@pytest.mark.slow
def test_what_is_predicted_of_a_column_knows_its_relation(data):
    with untrained():
        plain = fit_table(data, changes=TINY, seed=1)  # the relation has its share of the training rows, 0.8
    some = data.iloc[:30]
    found = predict_frame(plain, some, "c", quantiles=(0.3, 0.5, 0.7), draws=64)
    for name in ("q0.3", "q0.5", "q0.7"):
        np.testing.assert_array_equal(found.columns[name].values, some.a + some.b)


@pytest.mark.long
def test_values_near_to_what_a_relation_gives_are_learned_as_near():
    # A fifth equal, half of the others within 1 % or so, the rest anywhere.
    rng = np.random.default_rng(7)
    n = 3000
    x, kind = np.rint(np.exp(rng.normal(9, 1, n))).astype(int), rng.random(n)
    near = np.rint(x * (1 + 0.01 * rng.normal(size=n))).astype(int)
    y = np.select([kind < 0.2, kind < 0.6], [x, near], np.rint(np.exp(rng.normal(9, 1, n))).astype(int))
    changes = {"table.steps": 200, "table.width": 16, "table.batch": 64, "table.bins": 16, "table.calibrate": False}
    model = fit_table(pd.DataFrame({"x": x, "y": y}), changes=changes, seed=1)
    drawn = model.sample(6000, seed=2).columns
    shares = lambda x, y: np.array([(np.abs(y / x - 1) <= reach).mean() for reach in (0, 0.01, 0.03)])
    # 4 standard errors of a difference of two shares: one in 5,000 by chance, for each of the three.
    error = 4 * np.sqrt(0.25 / 6000 + 0.25 / n)
    np.testing.assert_allclose(shares(drawn["x"].values, drawn["y"].values), shares(x, y), atol=error)


@pytest.mark.slow
def test_percentages_add_up_and_have_nearly_their_exact_likelihood():
    """p = (density of three shares) x (probability of the sum that rounding leaves), and d follows from the others."""
    rng = np.random.default_rng(0)
    alpha = [2, 3, 1, 4]
    train, test = (pd.DataFrame((100 * rng.dirichlet(alpha, n)).round(1), columns=[*"abcd"]) for n in (1000, 2000))
    model = fit_table(train, changes={"table.steps": 100}, seed=0)
    off = lambda rows: (rows.sum(axis=1) - 100).round(1)
    drawn = off(pd.DataFrame({name: one.values for name, one in model.sample(10_000, seed=1).columns.items()}))
    assert drawn.min() == off(train).min() and drawn.max() == off(train).max()
    # The network has hardly learned how often the sum is exact, which is a little too often at first.
    assert (drawn == 0).mean() == pytest.approx((off(train) == 0).mean(), abs=0.1)
    x = np.maximum(test.to_numpy(), 0.01)
    log_p = stats.dirichlet(alpha).logpdf((x / x.sum(axis=1, keepdims=True)).T) - 3 * np.log(100)
    log_p += np.log(off(test).map(off(test).value_counts(normalize=True))) - np.log(0.1)
    assert model.score_samples(as_frame(test)).mean() == pytest.approx(log_p.mean(), abs=0.4)


@pytest.mark.slow
def test_of_several_relations_each_has_its_share():
    rho, could = jnp.log(jnp.array([2.0, 5.0, 3.0])), jnp.array([True, False, True])
    p = [float(jnp.exp(log_linked(rho, could, jnp.arange(3) == r, jnp.log(0.4)))) for r in range(3)]
    assert p == pytest.approx([(0.4 + 2) / 6, 0.4 / 6, (0.4 + 3) / 6])


# --- repeated values --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def amounts():
    rng = np.random.default_rng(3)
    x = np.rint(rng.gamma(2.0, 3000.0, 6000)).astype(int)
    return np.where(rng.random(6000) < 0.4, 500 * (x // 500 + 1), x)


@pytest.fixture(scope="module")
def scale(amounts):
    schema = Schema.fit(pd.DataFrame({"amount": amounts}), {"amount": "integer"})
    return schema, Scale.of(schema.parts[0])


def test_the_shares_of_a_code_sum_to_one_and_repeated_values_have_theirs(amounts, scale):
    schema, scale = scale
    domain = np.arange(amounts.min(), amounts.max() + 1)
    encoded = schema.encode(pd.DataFrame({"amount": domain}))
    codes = encoded.codes[:, 0]
    share = np.exp(scale.inner(codes, encoded.low[:, 0], encoded.high[:, 0]))
    sums = np.bincount(codes, share)
    # The first and the last code reach beyond the values of the training.
    np.testing.assert_allclose(sums[1:-1], 1.0, atol=1e-6)
    masses = schema.parts[0].masses
    p = masses[codes] * share
    round_ = domain % 500 == 0
    assert p[round_].sum() == pytest.approx((amounts % 500 == 0).mean(), abs=0.03)


def test_values_without_repeats_have_none():
    x = np.random.default_rng(0).permutation(200_000)[:3000]
    assert Schema.fit(x[:, None], {"x0": "integer"}).parts[0].repeats is None


def test_places_are_drawn_as_they_are_scored_within_an_interval_as_well(amounts, scale):
    schema, scale = scale
    code = int(np.argmax(np.where(scale.points, 0.0, scale.repeats.again)))
    domain = np.arange(amounts.min(), amounts.max() + 1)
    encoded = schema.encode(pd.DataFrame({"amount": domain}))
    mine = encoded.codes[:, 0] == code
    low, high = encoded.low[mine, 0], encoded.high[mine, 0]
    share = np.exp(scale.inner(np.full(len(low), code), low, high))
    half = len(low) // 2
    for first, last in ((0, len(low)), (0, half), (half, len(low))):
        ends = low[first], high[last - 1]
        u = (np.arange(50_000) + 0.5) / 50_000
        y = scale.placed(np.full(len(u), code), u, *ends)
        found = np.histogram(y, np.append(low, high[-1]))[0] / len(u)
        wanted = share[first:last] / share[first:last].sum()
        np.testing.assert_allclose(found[first:last], wanted, atol=1e-3)
        assert scale.inside(*ends)[0, code] == pytest.approx(share[first:last].sum(), abs=1e-6)
