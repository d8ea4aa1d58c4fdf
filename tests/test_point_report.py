"""The page on points: well-formed, self-contained, and the same as the record."""

import html
from dataclasses import replace

import numpy as np
import pytest

import motes
from motes.errors import UsageError
from motes.evaluation._points import evaluate_points
from motes.reports._page import page, write_page
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
    clouds = [svg for svg in Page(text).of("svg") if "points: " in svg["aria-label"]]
    assert len(clouds) == (2 if width == 2 else 0)  # real and synthetic points of the plane


def test_the_loss_is_drawn_beside_the_irreducible_one():
    model = motes.fit("moons", recipe="tutorial", changes={"training.steps": 2}, verbose=False)
    found = model.evaluate(n=200)
    names = [entry.name for entry in found.entries]
    assert "negative_log_likelihood" not in names  # the flow of a network that knows only steps jumps
    excess = found.entries[-1]
    assert excess.name == "excess_loss" and excess.value > 0.2 and excess.verdict.differs
    assert f"at most {excess.value:.2g} nats a row" in found.headline
    text = page(found)
    assert "Loss by noise level" in text and html.escape(found.headline) in text.replace("&#39;", "&#x27;")
    check_numbers(text)


def test_a_page_in_the_wrong_place_is_refused_before_the_work(tmp_path, monkeypatch):
    model = motes.fit(motes.make_shape("moons", 60), changes={"training.steps": 2}, verbose=False)
    monkeypatch.setattr(
        "motes.diagnosis._evaluating.evaluate", lambda *given, **options: pytest.fail("it was evaluated")
    )
    with pytest.raises(UsageError, match=r"expected a name that ends in \.html"):
        model.report(tmp_path / "report.pdf")
    with pytest.raises(UsageError, match="there is no folder"):
        model.report(tmp_path / "nowhere" / "report.html")
