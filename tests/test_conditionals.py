"""The distributions of all hidden columns of a row at once: what scoring every value, one by one, gives."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import trapezoid

from fits import fit_table
from motes.explorer.tables import TableSubject
from tables import TINY, of_random_weights, untrained

pytestmark = pytest.mark.brief

ROWS = 2400
KNOWN = [{}, {"size": "M"}, {"x": 0.3, "count": 2}, {"size": "S", "x": -0.4, "count": 5, "amount": 21, "gone": 3}]


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    size = rng.integers(0, 3, ROWS)
    x = size + 0.5 * rng.standard_normal(ROWS)
    count, amount = rng.poisson(4, ROWS), np.rint(20 + 5 * x + 4 * rng.standard_normal(ROWS)).astype(int)
    return pd.DataFrame(
        {
            "size": np.array(["S", "M", "L"])[size],
            "x": x,
            "zero": np.where(rng.random(ROWS) < 0.4, 0.0, np.exp(rng.standard_normal(ROWS))),
            "count": count,
            "amount": amount,
            "total": count + amount,
            "gone": np.where(rng.random(ROWS) < 0.3, np.nan, rng.integers(0, 6, ROWS)),
            "same": 7,
        }
    )


@pytest.fixture(scope="module")
def subject(data):
    with untrained():
        model = fit_table(data, changes=TINY, columns={"gone": {"missing": "learn"}}, seed=1)
    return TableSubject("mine", of_random_weights(model))


def heights(subject, column, known):
    place = [one.column for one in subject.bars].index(column)
    return subject.conditionals(known)[place]


def scored(subject, column, domain, known):
    """p of each value of a domain (v,), a density of a real number, given the known cells."""
    model = subject.model
    frame = pd.DataFrame({name: [known.get(name)] * len(domain) for name in model.columns}).assign(**{column: domain})
    encoded = model.schema.encode(frame)
    here = np.isin([part.column for part in model.schema.parts], [column, *known])
    j = model.schema.parts_of(column).start
    log_p = model.orders.first([*known, column]).log_prob_parts(replace(encoded, observed=encoded.observed & here))
    return np.exp(log_p[:, j])


def bars_of(subject, column, domain):
    return np.array([int(heights(subject, column, {column: value}).argmax()) for value in domain])


@pytest.mark.parametrize("known", KNOWN)
def test_labels_have_the_probabilities_that_predictions_say(subject, known):
    known = {name: value for name, value in known.items() if name != "size"} | {"gone": 2}
    p, labels = subject.model.predict_proba(subject.frame(known), "size")
    assert heights(subject, "size", known) == pytest.approx(p[0], abs=1e-5)
    assert subject.bars[0].texts == tuple(labels)


@pytest.mark.parametrize("known", KNOWN[:1] + KNOWN[2:3])
def test_a_hidden_cell_is_not_a_missing_one(subject, known):
    labels = subject.bars[0].texts
    assert heights(subject, "size", known) == pytest.approx(scored(subject, "size", labels, known), abs=1e-5)


DOMAINS = {"count": np.arange(-60, 80), "amount": np.arange(-60, 110), "total": np.arange(-60, 120)}


@pytest.mark.slow(but=["count-known1"])
@pytest.mark.parametrize("known", KNOWN)
@pytest.mark.parametrize("column", DOMAINS)
def test_a_bar_of_whole_numbers_holds_the_probabilities_of_its_values(subject, column, known):
    known = {name: value for name, value in known.items() if name != column}
    domain = DOMAINS[column]
    bar, p = bars_of(subject, column, domain), scored(subject, column, domain, known)
    expected = np.bincount(bar, p, len(heights(subject, column, known)))
    # log p leaves 1 / (rows + 1) to rows that break a rule, which bars do not show.
    left = 1 / (subject.model.schema.rows + 1)
    assert heights(subject, column, known) == pytest.approx(expected, abs=2e-4 + left)


def test_what_follows_from_known_columns_is_nearly_sure(subject):
    given = {"count": 3, "amount": 21}
    found = heights(subject, "total", given)
    assert found[bars_of(subject, "total", [24])[0]] > 0.999  # 0.98 where the sum is known by the network alone
    assert any("total" in one for one in subject.model.schema.related)


@pytest.mark.slow(but=["known1"])
@pytest.mark.parametrize("known", KNOWN[:2])
def test_a_bar_of_real_numbers_holds_the_integral_of_its_density(subject, known):
    bar = bars_of(subject, "x", np.linspace(-0.5, 2.0, 101))
    inside = [k for k in np.unique(bar) if (bar == k).sum() > 3][1:-1]
    texts = subject.bars[1].texts
    assert len(texts) == 24  # of one width, where the codes hold equal shares of the rows
    for k in inside[:6]:
        low, high = (float(word) for word in texts[k].split(" to "))
        domain = np.linspace(low, high, 4001)  # a Gaussian may be narrow
        integral = trapezoid(scored(subject, "x", domain, known), domain)
        assert heights(subject, "x", known)[k] == pytest.approx(integral, rel=0.02), texts[k]


@pytest.mark.slow
def test_a_frequent_value_and_a_missing_one_have_bars_of_their_own(subject):
    zero, gone = (next(one for one in subject.bars if one.column == name) for name in ("zero", "gone"))
    assert zero.texts[0] == "0" and zero.values[0] == 0
    p = scored(subject, "zero", [0.0], {"size": "M"})
    assert heights(subject, "zero", {"size": "M"})[0] == pytest.approx(p[0], abs=1e-5)
    assert gone.texts[-1] == "missing" and gone.values[-1] is None


@pytest.mark.slow
def test_a_click_on_a_bar_fixes_a_value_that_lies_in_it(subject):
    for bars in subject.bars:
        for k, value in enumerate(bars.values):
            if value is not None:
                assert heights(subject, bars.column, {bars.column: value}).argmax() == k, (bars.column, bars.texts[k])


@pytest.mark.slow
def test_a_date_is_drawn_by_its_coarsest_part():
    days = pd.to_datetime("2024-01-01") + pd.to_timedelta(np.random.default_rng(1).integers(0, 300, 400), unit="D")
    with untrained():
        model = fit_table(pd.DataFrame({"when": days, "a": ["x", "y"] * 200}), changes=TINY, seed=0)
    subject = TableSubject("dates", model)
    (bars, *_), (found, labels) = subject.bars, subject.conditionals({})
    assert found.sum() == pytest.approx(1, abs=1e-6) and labels.sum() == pytest.approx(1, abs=1e-6)
    assert "2024-0" in bars.texts[len(bars.texts) // 2]
    assert subject.conditionals({"when": "2024-05-06"})[0].max() == 1
    assert subject.reveal({"a": "x"}, 0)["when"].startswith("2024-")


def test_an_inequality_rules_out_what_breaks_it():
    rng = np.random.default_rng(2)
    low = rng.integers(0, 40, 2000)
    data = pd.DataFrame({"low": low, "high": low + rng.integers(0, 30, 2000), "a": rng.choice(["x", "y"], 2000)})
    with untrained():
        model = fit_table(data, changes=TINY, seed=0)
    assert model.constraint.columns == ("low", "high")
    subject = TableSubject("ordered", model)
    highs = next(one for one in subject.bars if one.column == "high")
    found = heights(subject, "high", {"low": 35})
    below = np.array([isinstance(value, int) and value < 35 for value in highs.values])
    assert found.sum() == pytest.approx(1) and below.any() and found[below].sum() < 1e-3  # by the base alone 0.05
    free = heights(subject, "high", {})
    assert free[below].sum() > 0.2
