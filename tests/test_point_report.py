"""The page on points: well-formed, self-contained, and the same as the record."""

import html
import re
from dataclasses import replace

import numpy as np
import pytest

import motes
from motes.errors import UsageError
from motes.evaluation.points import evaluate_points
from motes.plots import write_page
from motes.plots.report import page
from motes.plots.svg import histogram, tick_text
from pages import Page, check_alone, check_heard, check_numbers

EVIL = "<b>\"x\"</b> & 'y'"


def points(n, width, seed):
    return np.random.default_rng([2718, seed]).normal(size=(n, width))


@pytest.fixture(scope="module", params=[1, 2, 5])
def written(request, tmp_path_factory):
    samples, reference, other = (points(300, request.param, seed) for seed in range(3))
    samples[0] = 40.0  # a worst row
    names = [EVIL, *(f"column {j}" for j in range(1, request.param))]
    found = replace(evaluate_points(samples, reference, other, columns=names), source=EVIL, notes=("a note",))
    path = write_page(found, tmp_path_factory.mktemp("pages") / "points.html")
    return found, path.read_text(encoding="utf-8")


@pytest.mark.slow(but=["1"])
def test_the_page_needs_nothing_else_can_be_heard_and_its_numbers_are_numbers(written):
    check_alone(written[1])
    check_heard(written[1])
    check_numbers(written[1])


def test_the_page_says_what_the_record_says(written):
    found, text = written
    said = "".join(Page(text).words)
    assert found.headline in said and found.compared in said and "A note" in said
    for entry in found.entries:
        assert entry.name in said and entry.measure in said and entry.verdict.text in said
    assert found.date in said and found.version in said and EVIL in said
    assert "<b>" not in text


def test_the_worst_row_is_seen(written):
    found, text = written
    width = len(found.details.columns)
    assert text.count('<span class="beyond">40</span>') == width
    for column in found.details.columns:
        assert column.bars.edges[-1] == 40.0 and column.bars.synthetic[-1] > 0
    clouds = [
        svg for svg in Page(text).of("svg") if "points: " in svg["aria-label"] or "real density" in svg["aria-label"]
    ]
    assert len(clouds) == (3 if width == 2 else 0)  # real and synthetic points of the plane, and their difference


@pytest.mark.slow
def test_the_map_of_differences_has_the_colour_of_those_that_are_too_many():
    rng = np.random.default_rng(0)
    left, right = (rng.uniform(size=(3000, 2)) * [0.5, 1] + [0.5 * side, 0] for side in (0, 1))
    text = page(evaluate_points(left, right, right[::-1]))  # all synthetic points are in the left half
    (svg,) = [svg for svg in Page(text).of("svg") if "real density" in svg["aria-label"]]
    drawn = text[text.index("Difference of the densities") :]
    where = {}
    for colour in ("more-synthetic", "more-real"):
        paths = re.findall(rf'<path class="{colour}" d="([^"]*)"', drawn)
        where[colour] = np.array([float(x) for path in paths for x in re.findall(r"M([\d.]+),", path)])
    middle = 44 + 150  # of the square
    assert where["more-synthetic"].max() < middle <= where["more-real"].min() + 15
    assert "by chance up to ±" in svg["aria-label"]


@pytest.mark.parametrize(
    ("value", "span", "text"), [(2007, 3, "2007"), (5000, 20_000, "5,000"), (1500, 3000, "1500"), (0.25, 1, "0.2")]
)
def test_a_year_on_an_axis_has_no_comma(value, span, text):
    assert tick_text(value, span) == text


@pytest.mark.parametrize("years", [(2007, 2008), (2007, 2009), (1990, 2020)])
def test_the_axis_of_years_has_years(years):
    edges = np.arange(years[0] - 0.5, years[1] + 1)
    shares = np.full(len(edges) - 1, 1 / (len(edges) - 1))
    said = Page(f"<html>{histogram(shares, shares, edges, 'years')}</html>").words
    ticks = [word for word in said if word.strip()]
    assert len(ticks) >= 2
    assert all(years[0] <= int(tick) <= years[1] for tick in ticks)


@pytest.mark.slow
def test_the_loss_is_drawn_beside_the_irreducible_one():
    model = motes.fit("moons", recipe="tutorial", changes={"training.steps": 2}, verbose=False)
    found = model.evaluate(n=200)
    names = [entry.name for entry in found.entries]
    assert "negative_log_likelihood" not in names  # the flow of a network that knows only steps jumps
    excess = found.entries[-1]
    assert excess.name == "excess_loss" and excess.value > 0.2 and excess.verdict.differs
    assert f"at most {excess.value:.2g} nats per row" in found.headline
    text = page(found)
    assert html.escape(found.headline) in text.replace("&#39;", "&#x27;")
    check_numbers(text)


@pytest.mark.slow
def test_a_page_in_the_wrong_place_is_refused_before_the_work(tmp_path, monkeypatch):
    model = motes.fit(motes.make_shape("moons", 60), changes={"training.steps": 2}, verbose=False)
    monkeypatch.setattr(type(model), "evaluate", lambda *given, **options: pytest.fail("it was evaluated"))
    with pytest.raises(UsageError, match=r"expected a name that ends in \.html"):
        model.report(tmp_path / "report.pdf")
    with pytest.raises(UsageError, match="there is no folder"):
        model.report(tmp_path / "nowhere" / "report.html")
