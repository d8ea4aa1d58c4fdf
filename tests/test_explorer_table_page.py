"""The table on the explorer's page in a real browser: a row is unmasked, cells are fixed, the others answer."""

import json
from urllib.parse import quote

import numpy as np
import pytest

from browsers import IN_CHROMIUM, QUICK, opened, picture, until
from explorers import serving
from motes.explorer.answers import Answers
from motes.explorer.messages import Limits
from motes.explorer.subjects import Shelf

pytestmark = IN_CHROMIUM
READY = "Boolean(explorer.table.answer) && explorer.table.cards.every((card) => card.p)"


def seen(page):
    page.locator("#table").scroll_into_view_if_needed()
    until(page, READY, 60)


def row(page):
    return page.evaluate("structuredClone(explorer.table.row)")


def p_of(page, column):
    return np.array(page.evaluate(f"[...explorer.table.cards.find((card) => card.column.name === '{column}').p]"))


def answered(page, known):
    until(page, f"Object.keys(explorer.table.answer.header.cells).join() === {','.join(known)!r}")


@pytest.mark.slow
def test_a_row_is_unmasked_column_by_column(visit, answers):
    with visit() as page:
        seen(page)
        assert row(page) == {} and page.locator("#table-known").inner_text() == "0 of 8 cells are known"
        order = answers.shelf.table("penguins").about()["order"]
        for known in range(1, 9):
            page.locator("#unmask").click() if known % 2 else page.locator("body").press("x")
            until(page, f"Object.keys(explorer.table.row).length === {known} && !explorer.table.drawing")
            answered(page, list(row(page)))
        assert list(row(page)) == order
        subject = answers.shelf.table("penguins")
        log_p = subject.model.score_samples({name: [cell] for name, cell in row(page).items()})[0]
        assert page.evaluate("explorer.table.answer.header.log_p") == pytest.approx(log_p, abs=1e-5)
        assert page.locator("#table-known").inner_text() == "the whole row" and page.locator("#unmask").is_disabled()
        page.locator("#undo").click()
        until(page, "Object.keys(explorer.table.row).length === 7")


@pytest.mark.slow
def test_a_click_on_a_bar_fixes_a_cell_and_the_others_answer(visit, answers):
    with visit() as page:
        seen(page)
        before = p_of(page, "island")
        chart = page.locator("#cells .cell:nth-child(1) canvas")
        chart.scroll_into_view_if_needed()
        amber = picture(page, "#cells .cell:nth-child(1) canvas")
        box = chart.bounding_box()
        page.mouse.click(box["x"] + 0.2 * box["width"], box["y"] + 5 / 6 * box["height"])
        answered(page, ["species"])
        assert row(page) == {"species": "Gentoo"}
        subject = answers.shelf.table("penguins")
        expected = dict(zip((one.column for one in subject.bars), subject.conditionals(row(page)), strict=True))
        for column in ("island", "body_mass_g", "sex"):
            assert p_of(page, column) == pytest.approx(expected[column], abs=1e-5)
        assert np.abs(p_of(page, "island") - before).max() > 0.2
        page.mouse.move(1, 1)
        page.wait_for_timeout(100)
        blue = picture(page, "#cells .cell:nth-child(1) canvas")
        assert (amber[..., 0] - amber[..., 2]).max() > 60 and (blue[..., 2] - blue[..., 0]).max() > 60
        assert "nats to log p" in page.locator("#cells .cell:nth-child(1) .small").inner_text()
        assert page.locator("#table-log-p").inner_text().startswith("log p = ")
        page.locator("#cells .cell:nth-child(1) .close").click()
        until(page, "explorer.table.answer.header.log_p === null")


@pytest.mark.slow
def test_cells_are_fixed_with_the_keyboard_alone(visit):
    with visit() as page:
        seen(page)
        page.get_by_label("sex", exact=True).focus()
        page.keyboard.press("m")  # male
        answered(page, ["sex"])
        page.get_by_label("body mass g", exact=True).focus()
        page.keyboard.type("5000")
        page.keyboard.press("Enter")
        answered(page, ["sex", "body_mass_g"])
        assert row(page) == {"sex": "male", "body_mass_g": 5000}
        page.get_by_label("Mask sex").press("Enter")
        answered(page, ["body_mass_g"])
        said = page.locator("#cells .cell:nth-child(1) canvas").get_attribute("aria-label")
        assert said.startswith("species, Gentoo: ")


@pytest.mark.slow
def test_the_address_holds_the_row(visit):
    fixed = {"species": "Adelie", "year": 2008}
    with visit(f"{QUICK}&table=penguins&row={quote(json.dumps(fixed))}") as page:
        seen(page)
        answered(page, list(fixed))
        assert row(page) == fixed
        page.locator("#reset").click()
        until(page, "Object.keys(explorer.table.row).length === 0")
    for wrong in ("[1]", "{", "null", '{"nobody": 1}'):
        with visit(f"{QUICK}&table=nobody&row={quote(wrong)}") as page:
            page.locator("#table").scroll_into_view_if_needed()
            until(page, f"{READY} || document.getElementById('table-note').textContent !== ''")


@pytest.mark.slow
def test_a_table_of_your_own_is_at_the_top_and_its_dates_are_picked(chromium, dated):
    """A date is chosen in a calendar or by a click on a bar; one that cannot be is told so and fixes nothing."""
    own = Answers(Shelf(dated), Limits())
    with serving(own) as client, opened(chromium, client, QUICK.replace("small", "moons")) as page:
        until(page, READY, 60)
        top, below = (page.locator(one).bounding_box()["y"] for one in ("#table", "#picture"))
        assert top < below
        day = page.get_by_label("day", exact=True)
        assert (day.get_attribute("type"), day.get_attribute("min")) == ("date", "2024-01-01")
        day.fill("2024-03-13")
        answered(page, ["day"])
        assert row(page) == {"day": "2024-03-13"} and page.evaluate("explorer.table.answer.header.log_p") < 0
        day.fill("2031-01-01")
        until(page, "document.getElementById('table-note').textContent.startsWith('day: ')")
        assert row(page) == {"day": "2024-03-13"}
        page.locator("#cells .cell:nth-child(2) canvas").click()
        answered(page, ["day", "at"])
        assert page.locator("#cell-1").input_value() == row(page)["at"].removesuffix(":00")
