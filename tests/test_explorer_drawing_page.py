"""Drawing on the explorer's page in a real browser: lines, colours that are classes, and the keyboard."""

import numpy as np
import pytest

from browsers import IN_CHROMIUM, easel, picture

pytestmark = IN_CHROMIUM
STILL = "#model=small&n=500&show=data&at=0"  # nothing above the easel grows while it is drawn on


def drag(page, *places):
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=6)
    page.mouse.up()


def two_classes(page):
    """Draw two lines, each of a class; returns where a share of the easel is."""
    at = easel(page)
    drag(page, at(0.2, 0.3), at(0.8, 0.3))
    page.get_by_label("Class 2, amber squares").click()
    drag(page, at(0.2, 0.7), at(0.8, 0.7))
    return at


def points(page):
    return np.array(page.evaluate("explorer.trainer.pad.points")), page.evaluate("explorer.trainer.pad.colours")


@pytest.mark.slow
def test_a_line_is_straight_whatever_way_the_pointer_took(visit):
    with visit(STILL, reduced_motion="reduce") as page:
        at = easel(page)
        page.locator("#line").click()
        drag(page, at(0.25, 0.25), at(0.9, 0.9), at(0.75, 0.25))
        drawn, colours = points(page)
        assert len(drawn) == len(colours) > 40 and np.ptp(drawn[:, 1]) < 0.02
        assert np.ptp(drawn[:, 0]) == pytest.approx(2.0, abs=0.06)
        assert page.locator("#line").get_attribute("aria-pressed") == "true"


@pytest.mark.slow
def test_colours_are_classes_and_are_erased_with_their_points(visit):
    with visit(STILL, reduced_motion="reduce") as page:
        at = two_classes(page)
        drawn, colours = points(page)
        assert set(colours) == {0, 1}
        assert (np.array(colours) == (drawn[:, 1] < 0)).all()
        seen = picture(page, "#sketch")
        upper, lower = seen[: len(seen) // 2], seen[len(seen) // 2 :]
        assert (upper[..., 2] - upper[..., 0]).max() > 60 and (lower[..., 0] - lower[..., 2]).max() > 60
        page.locator("#eraser").click()
        drag(page, at(0.2, 0.3), at(0.8, 0.3))
        drawn, colours = points(page)
        assert set(colours) == {1} and len(drawn) == len(colours)
        assert page.evaluate("Object.keys(explorer.trainer.pad.asked).sort().join()") == "colours,sketch"


@pytest.mark.slow
def test_the_keyboard_draws_too(visit):
    with visit(STILL, reduced_motion="reduce") as page:
        easel(page)
        page.locator("#sketch").focus()
        page.keyboard.press("Space")
        for key in ("ArrowRight", "ArrowRight", "Shift+ArrowUp"):
            page.keyboard.press(key)
        page.keyboard.press("Space")
        drawn, _ = points(page)
        assert np.ptp(drawn, axis=0) == pytest.approx([0.2, 0.4], abs=0.05)
        page.keyboard.press("ArrowLeft")
        assert len(points(page)[0]) == len(drawn)  # the pen is lifted
