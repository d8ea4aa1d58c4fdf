"""How the explorer's page looks in a real browser: it fits every screen, dark and light, and keeps nobody out."""

import json
from urllib.parse import quote

import pytest

from browsers import IN_CHROMIUM, QUICK, SEEN, until
from motes.explorer.answers import Answers
from motes.explorer.messages import Limits
from motes.explorer.subjects import Shelf, Subject

pytestmark = IN_CHROMIUM
SCREENS = {1440: 900, 1024: 768, 390: 844}
FULL = (  # everything that can be on the page at once
    "#model=labelled&n=1000&at=300&layers=points,arrows,lines&side=exact&class=1.2&known=0.0.5&recipe=tutorial"
    f"&set=training.steps%3D2000&row={quote(json.dumps({'species': 'Gentoo'}))}"
)


@pytest.fixture(scope="module")
def answers(labelled_model):
    return Answers(Shelf(Subject("labelled", labelled_model)), Limits())


def serious(page):
    """What axe-core finds that keeps somebody out."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        (one["id"], [node["html"][:120] for node in one["nodes"]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def seen_at(page, width, name):
    """The page in a window of this width, and a picture of all of it."""
    page.set_viewport_size({"width": width, "height": SCREENS[width]})
    page.wait_for_timeout(200)
    if str(SEEN) != ".":
        page.screenshot(path=SEEN / f"{name}-{width}.png", full_page=True)


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_it_fits_every_screen_and_axe_finds_nothing_serious(visit, theme):
    with visit(FULL, color_scheme=theme) as page:
        page.locator("#table").scroll_into_view_if_needed()
        until(page, "Boolean(explorer.table.answer) && Boolean(explorer.conditions.answer)", 60)
        until(page, "document.querySelectorAll('#findings li').length > 1")
        until(page, "Boolean(explorer.last?.['density exact'] && explorer.last['score exact'])")
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        for width in SCREENS:
            seen_at(page, width, f"page-{theme}")
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
        small = page.evaluate(
            "[...document.querySelectorAll('button, select')].filter((one) => one.offsetParent && "
            "one.getBoundingClientRect().height < 36).map((one) => one.id || one.textContent)"
        )
        assert small == []  # on a phone: for a finger
        page.locator("#shape").select_option("your drawing")
        assert serious(page) == []
        page.locator("#tour").click()
        until(page, "!document.getElementById('stop').hidden")
        seen_at(page, 1440, f"tour-{theme}")
        assert serious(page) == []
        page.locator("#keys").click()
        assert serious(page) == []


def boxes(page, *selectors):
    """Where elements are on the screen: the bounding box of each match, in pixels."""
    return [box for one in selectors for box in (each.bounding_box() for each in page.locator(one).all()) if box]


def overlap(one, other):
    return (
        min(one["x"] + one["width"], other["x"] + other["width"]) - max(one["x"], other["x"]) > 1
        and min(one["y"] + one["height"], other["y"] + other["height"]) - max(one["y"], other["y"]) > 1
    )


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_pictures_and_clock_stay_in_sight_of_what_trains_them_and_cover_nothing(visit, width, height):
    with visit(QUICK, width=width, height=height, reduced_motion="reduce") as page:
        (clock,) = boxes(page, ".transport")
        assert not [box for box in boxes(page, "figcaption", ".frame", ".panel .reading") if overlap(clock, box)]
        page.evaluate("document.getElementById('train').scrollIntoView({ block: 'center', behavior: 'instant' })")
        page.wait_for_timeout(100)
        (button,), frames = boxes(page, "#train"), boxes(page, ".frame")
        assert len(frames) == 2 and len({box["y"] for box in frames}) == 1  # the data beside the model
        for box in (button, *frames, *boxes(page, ".transport")):
            assert box["y"] >= 0 and box["y"] + box["height"] <= height
        assert not any(overlap(button, box) for box in frames)
