"""A network part by part is the network at once; what is drawn is what is scored; every distribution sums to one."""

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from motes.tables.calibration import calibrated, token_biases
from motes.tables.draws import resampled
from motes.tables.layout import layout_of
from motes.tables.mixture import MixtureShape, fit_base
from motes.tables.network import EncodedRows, MaskedModel, MaskedNetwork, Reader, on_axes, ordered
from motes.tables.schema import Schema
from motes.tables.training import masked_loss, random_orders
from motes.tables.unmasking import MaskedDenoiser, cut_normal, draw_block
from motes.tables.unmasking_steps import picked, spread_evenly

ORDER = np.array([3, 0, 2, 1])


def table(n=400, seed=0):
    rng = np.random.default_rng(seed)
    real = rng.standard_normal(n)
    label, whole = rng.choice(list("abc"), n), np.rint(20 * rng.random(n)).astype(int)
    cents = np.round(real + 0.3 * rng.standard_normal(n), 2)
    real[:12], cents[:12], cents[12::20] = np.nan, np.nan, np.nan  # missing together, and alone
    return {"label": label, "real": real, "whole": whole, "cents": cents}


def frame(columns):
    import pandas as pd

    return pd.DataFrame(columns)


class Made:
    """A schema with members of random weights: no training is needed for what has to hold of any network."""

    def __init__(self, members=2, scale=0.3):
        self.data = frame(table())
        self.schema = Schema.fit(self.data)
        self.layout = layout_of(self.schema)
        self.reader = Reader.of(self.schema)
        encoded = self.schema.encode(self.data)
        self.rows = self.reader.read(encoded)
        y = np.asarray(on_axes(self.layout, encoded.y, encoded.codes))
        base = fit_base(y, np.ones(len(y)), self.layout.label_axes, MixtureShape(2, 0.1, 1e-3), 0)

        def member(seed):
            network = MaskedNetwork(self.layout, 16, 1, 1 + 3 * 4, key=jax.random.key(seed))
            leaves, tree = jax.tree.flatten(network)
            keys = jax.random.split(jax.random.key(seed + 10), len(leaves))
            moved = [leaf + scale * jax.random.normal(key, leaf.shape) for leaf, key in zip(leaves, keys, strict=True)]
            return MaskedModel(jax.tree.unflatten(tree, moved), base)

        self.members = [member(seed) for seed in range(members)]
        self.models = jax.tree.map(lambda *parts: np.stack(parts), *self.members)
        self.unmasker = MaskedDenoiser.of(self.models, self.layout, self.reader, ORDER)


@pytest.fixture(scope="module")
def made():
    return Made()


@jax.jit
def at_once(model, layout, rows, visible):
    """log p of all parts of rows of which some are visible, (n, p)."""
    base = ordered(model.base, jnp.asarray(ORDER), layout)
    return model.log_probs(layout, model.network.heads(layout), base, rows, visible)


@pytest.mark.slow
def test_part_by_part_is_the_network_at_once(made):
    n = 50
    rows = jax.tree.map(lambda part: part[:n], made.rows)
    masked = made.unmasker.start(n)
    for k, j in enumerate(ORDER):
        found = made.unmasker.log_prob_entry(masked, k, EncodedRows(*(part[:, j] for part in rows)))
        visible = np.zeros((n, 4), bool)
        visible[:, ORDER[:k]] = True
        each = [np.asarray(at_once(model, made.layout, rows, visible))[:, j] for model in made.members]
        np.testing.assert_allclose(found, np.logaddexp(*each) - np.log(2), atol=2e-4)
        entry = [part[:, j] for part in (rows.codes, rows.y, rows.u)]
        made.unmasker.show(masked, k, *entry, np.ones(n, bool))


def probabilities(view):
    """The probabilities of a prediction, whose logarithms have fewer digits the smaller they are, and its normals."""
    if view.density is None:
        return [np.exp(view.log_codes)]
    return [*(np.exp(part) for part in (view.log_codes, view.density.log_even)), *view.density.normals]


@pytest.mark.slow
def test_rows_with_observed_entries_of_their_own_are_as_in_an_order_in_which_these_come_first(made):
    patterns = np.array([*itertools.product([False, True], repeat=4)])
    observed = np.repeat(patterns, 3, axis=0)
    rows = EncodedRows(*(part[: len(observed)] for part in made.rows))
    entry = lambda j: [part[:, j] for part in (rows.codes, rows.y, rows.u)]
    mixed = made.unmasker.of_rows(observed)
    masked = mixed.start(len(observed))
    mixed.show_observed(masked, rows._replace(observed=observed))
    taken = np.array([5, 40, 40, 2])
    for k, j in enumerate(ORDER):
        view = mixed.predict(masked, k)
        some = mixed.take(taken).predict(masked.take(taken), k)
        for one, other in zip(jax.tree.leaves(view), jax.tree.leaves(some), strict=True):
            np.testing.assert_allclose(np.asarray(one)[:, taken], other, atol=1e-5)
        for pattern in patterns:
            first = np.array([*ORDER[pattern[ORDER]], *ORDER[~pattern[ORDER]]])
            here = np.flatnonzero((observed == pattern).all(axis=1) & ~observed[:, j])
            # The parts that the mixed order shows between the observed ones and j come before j here as well.
            shared = MaskedDenoiser.of(made.models, made.layout, made.reader, first)
            known = shared.start(len(observed))
            place = list(first).index(j)
            for i in first[:place]:
                shared.show(known, list(first).index(i), *entry(i), np.ones(len(observed), bool))
            expected = shared.predict(known, place)
            for one, other in zip(probabilities(view), probabilities(expected), strict=True):
                np.testing.assert_allclose(np.asarray(one)[:, here], np.asarray(other)[:, here], atol=5e-4)
        mixed.show(masked, k, *entry(j), ~observed[:, j])


def test_the_network_sees_nothing_of_what_is_hidden(made):
    rows = jax.tree.map(lambda part: part[:20], made.rows)
    other = jax.tree.map(lambda part: part[20:40], made.rows)
    visible = np.tile([True, False, True, False], (20, 1))
    mixed = jax.tree.map(
        lambda a, b: np.where(visible.reshape(*visible.shape, *(1,) * (a.ndim - 2)), a, b), rows, other
    )
    state = jax.jit(lambda rows: made.members[0].network.state(made.layout, rows, visible))
    np.testing.assert_array_equal(state(rows), state(mixed))


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.0, 1.0], ids=["as learned", "calibrated"])
def test_the_density_of_two_columns_integrates_to_one(scale):
    # The issue asks for 1e-3 on two columns.
    rng = np.random.default_rng(0)
    x = rng.standard_normal(300)
    data = frame({"a": x, "b": x**2 + 0.5 * rng.standard_normal(300)})
    schema = Schema.fit(data)
    layout, reader = layout_of(schema), Reader.of(schema)
    encoded = schema.encode(data)
    base = fit_base(np.asarray(encoded.y), np.ones(300), layout.label_axes, MixtureShape(3, 0.1, 1e-2), 0)
    network = MaskedNetwork(layout, 16, 1, 1 + 3 * 5, key=jax.random.key(0))
    model = jax.tree.map(lambda part: part[None], MaskedModel(network, base))
    unmasker = MaskedDenoiser.of(model, layout, reader, np.array([0, 1]))
    biases = np.random.default_rng(1)
    bias, tilt = (
        [scale * biases.standard_normal(part.shape) for part in parts] for parts in (unmasker.no_bias, unmasker.no_tilt)
    )
    unmasker = unmasker.with_bias(bias, np.array(tilt))
    ends = [np.quantile(data[name], [0, 1]) for name in data]
    grids = []
    for name, (low, high) in zip(data, ends, strict=True):
        wide = 3 * (high - low)
        bounds = np.unique(
            np.concatenate(
                [schema.kinds[list(data).index(name)].line.bounds[1:-1], [low, high, low - wide, high + wide]]
            )
        )
        nodes, weights = np.polynomial.legendre.leggauss(8)
        pieces = np.concatenate([np.linspace(a, b, 7) for a, b in itertools.pairwise(bounds)])
        pieces = np.unique(pieces)
        half = np.diff(pieces) / 2
        grids.append(((pieces[:-1] + half)[:, None] + half[:, None] * nodes, half[:, None] * weights))
    (xa, wa), (xb, wb) = (tuple(part.ravel() for part in grid) for grid in grids)
    # The second number given a first one, for a few of the first; and the first one by itself.
    first = frame({"a": xa, "b": 0.0})
    p_first = np.exp(unmasker.log_prob_parts(schema.encode(first))[:, 0])
    assert p_first @ wa == pytest.approx(1.0, abs=1e-3)
    for a in np.quantile(x, [0.0, 0.3, 0.9]):
        p_second = np.exp(unmasker.log_prob_parts(schema.encode(frame({"a": a, "b": xb})))[:, 1])
        assert p_second @ wb == pytest.approx(1.0, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("split", [False, True], ids=["all members of each row", "one member of each row"])
def test_what_is_drawn_is_what_is_scored(made, split):
    # Shares of the codes of each part among 4,096 rows, against their probabilities given what was drawn before.
    # 4 standard errors of independent draws: a false alarm in 1e-3 of seeds at most, and rows are spread more evenly.
    n = 4096
    rng, unmasker = np.random.default_rng(5), made.unmasker
    masked = unmasker.start(n)
    for k, j in enumerate(map(int, ORDER)):
        views, within, part = unmasker.predict(masked, k), unmasker.everything[j], made.schema.parts[j]
        log_within = unmasker.draw(masked, k, within, rng, split=split)
        expected = np.exp(np.asarray(views.log_codes)).mean(0)[:, : part.count]
        mean = expected.mean(0)
        found = np.bincount(masked.codes[:, j], minlength=part.count) / n
        assert (np.abs(found - mean) < 4 * np.sqrt(mean / n) + 2e-3).all()
        assert (log_within < 1e-4).all()


@pytest.mark.slow
def test_nothing_is_drawn_outside_of_what_may_be(made):
    spot, unmasker = int(np.flatnonzero(ORDER == 0)[0]), made.unmasker
    masked, whole = unmasker.start(256), unmasker.everything[0]
    only = replace(whole, shares=(np.arange(len(whole.shares)) == 1) * 1.0)
    view = np.exp(np.asarray(unmasker.predict(masked, spot).log_codes)).mean(0)[:, 1]
    log_within = unmasker.draw(masked, spot, only, np.random.default_rng(0))
    assert (masked.codes[:, 0] == 1).all()
    np.testing.assert_allclose(np.exp(log_within), view, rtol=1e-4)


@pytest.mark.slow
def test_uniform_numbers_are_uniform_and_even():
    expected = jnp.asarray(np.random.default_rng(0).random(4096))
    u = np.asarray(spread_evenly(expected, np.uint32(3141592653)))
    assert np.abs(np.sort(u) - (np.arange(4096) + 0.5) / 4096).max() < 2e-3  # independent ones: 0.02
    # Not only all of them: those of any stretch of rows with neighbouring expectations.
    some = np.sort(u[np.argsort(np.asarray(expected))[1000:1256]])
    assert np.abs(some - (np.arange(256) + 0.5) / 256).max() < 0.02  # independent ones: 0.08


def test_one_of_several_is_picked_by_its_share_and_the_rest_is_uniform():
    weights = np.array([0.5, 0.0, 0.3, 0.2])
    u = (np.arange(10_000) + 0.5) / 10_000
    several = jnp.asarray(np.tile(3.0 * weights, (len(u), 1)), jnp.float32)  # weights need not sum to 1
    chosen, rest = map(np.asarray, picked(several, jnp.asarray(u, jnp.float32)))
    np.testing.assert_allclose(np.bincount(chosen, minlength=4) / len(u), weights, atol=2e-4)
    for code in (0, 2, 3):
        assert np.abs(np.sort(rest[chosen == code]) - np.linspace(0, 1, (chosen == code).sum())).max() < 0.01


@pytest.mark.parametrize(("low", "high"), [(-1.0, 2.0), (5.0, 6.0), (-40.0, -38.0), (-1e4, 1e4)])
def test_a_cut_normal_is_that_of_scipy(low, high):
    from scipy.stats import truncnorm

    u = np.linspace(0.001, 0.999, 101)
    for mean, sd in ((0.0, 1.0), (1.5, 2.0)):
        found = cut_normal(*(np.full(101, one) for one in (mean, sd, mean + sd * low, mean + sd * high)), u)
        np.testing.assert_allclose((found - mean) / sd, truncnorm(low, high).ppf(u), rtol=1e-6, atol=1e-7)


@pytest.mark.slow
def test_biases_give_drawn_rows_the_shares_that_are_wanted(made):
    masked = made.unmasker.start(64)
    spot = int(np.flatnonzero(ORDER == 0)[0])
    view = jax.tree.map(lambda part: part[:1], made.unmasker.predict(masked, spot))
    padded = view.log_codes.shape[-1]
    mean = np.asarray(jax.nn.softmax(view.log_codes[0], -1).mean(0))[:3] * [0.7, 1.0, 1.4]
    wanted = np.pad(mean / mean.sum(), (0, padded - 3))
    bias = token_biases(view.log_codes, np.ones((1, 64)), wanted[None], wanted[None])
    np.testing.assert_allclose(jax.nn.softmax(view.log_codes[0] + bias[0], -1).mean(0), wanted, atol=1e-3)
    made = Made(members=1, scale=0.1)
    shares = [part.masses for part in made.schema.parts]
    axes = len(made.layout.axes)
    matched = made.unmasker.with_bias(*calibrated(made.unmasker, shares, np.zeros((axes, axes)), 3))
    block = draw_block(matched, 2048, 11, 0)
    found = np.bincount(block.codes[:, 0], minlength=3) / 2048
    assert np.abs(found - shares[0]).max() < 0.01  # independent rows of the right distribution: 0.02
    plain = draw_block(made.unmasker, 2048, 11, 0)
    for j in made.layout.lines:
        tenths = np.minimum((10 * np.cumsum(shares[j]) - 1e-9).astype(int), 9)  # about equal shares of the rows
        share = lambda block, j=j, tenths=tenths: np.bincount(tenths[block.codes[:, j]], minlength=10) / 2048
        wanted = np.bincount(tenths, shares[j], minlength=10)
        assert np.abs(share(block) - wanted).sum() < 0.1 < np.abs(share(plain) - wanted).sum()


def test_rows_drawn_again_have_the_weights_shares():
    class Few:
        log_weights = np.log(np.array([0.1, 0.2, 0.0001, 0.7]))

    chosen, effective, mean = resampled(Few, 1000, 0, 0)
    np.testing.assert_allclose(np.bincount(chosen, minlength=4) / 1000, [0.1, 0.2, 0.0, 0.7], atol=0.002)
    assert effective == pytest.approx(1 / (0.01 + 0.04 + 0.49), rel=1e-2)
    assert mean == pytest.approx(np.log(1.0001 / 4), abs=1e-3)


def test_random_orders_keep_the_parts_of_a_column_together():
    seen = set()
    for order in random_orders(np.array([0, 1, 1, 1, 2]), np.random.default_rng(0), (40,)):
        place = list(order).index(1)
        assert list(order[place : place + 3]) == [1, 2, 3]
        seen.add(tuple(order))
    assert len(seen) == 6


def test_the_loss_is_the_mean_over_prefixes_of_the_chain_rule(made):
    """The bound weighs all hidden parts alike, p / (p - m) times their sum, at each prefix."""
    model, p, n = made.members[0], 4, 8
    rows = jax.tree.map(lambda part: part[:n], made.rows)
    total = 0.0
    for m in range(p):
        hidden = ~np.isin(np.arange(p), ORDER[:m])
        log_probs = np.asarray(at_once(model, made.layout, rows, np.tile(~hidden, (n, 1))))
        total += -float(log_probs[:, hidden].sum(1).mean()) * p / (p - m)
    groups, order = jax.tree.map(lambda part: part[None], rows), ORDER[None]
    loss = jax.jit(lambda prefix: masked_loss(model, made.layout, groups, order, prefix))
    found = [float(loss(np.full((1, n), m))) for m in range(p)]
    assert sum(found) == pytest.approx(total, rel=1e-4)
