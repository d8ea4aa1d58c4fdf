"""Streaks and the difference on the explorer's page in a real browser."""

import numpy as np
import pytest

from browsers import IN_CHROMIUM, lit, picture, state, until

pytestmark = IN_CHROMIUM
EMPTY = "#model=small&n=500&show=data&at=430&layers="


def drawn(page, known):
    until(page, f"explorer.last?.['{known}'] && !explorer.stale", 60)
    page.wait_for_timeout(150)
    return picture(page, ".frame")[4:-4, 4:-4]


@pytest.mark.slow
def test_streaks_cover_the_picture_and_turn_with_what_they_show(visit):
    with visit(EMPTY) as page:
        assert lit(page) < 20
        ground = picture(page, ".frame")[6, 6]  # a streak may cover any place later
        page.locator("body").press("5")
        score = drawn(page, "field learned")
        assert state(page)["layers"] == ["field"] and (np.abs(score - ground).sum(axis=2) > 60).mean() > 0.2
        page.locator("#quantity").select_option("velocity")
        until(page, "explorer.last['field learned'].quantity === 'velocity' && !explorer.stale")
        page.wait_for_timeout(150)
        velocity = picture(page, ".frame")[4:-4, 4:-4]
        assert np.abs(score - velocity).mean() > 3
        until(page, "location.hash.includes('vectors=velocity')")
        page.locator("#sides button[value=exact]").click()
        exact = drawn(page, "field exact")
        assert (exact[..., 2] - exact[..., 0]).max() > 40 and (exact[..., 0] - exact[..., 2]).max() < 40


@pytest.mark.slow
def test_the_difference_has_both_colours(visit):
    with visit(EMPTY) as page:
        page.locator("body").press("6")
        seen = drawn(page, "difference both")
        assert (seen[..., 2] - seen[..., 0]).max() > 25 and (seen[..., 0] - seen[..., 2]).max() > 25
        page.locator("#models button[value=moons]").click()
        until(page, "explorer.about.name === 'moons'")
        assert state(page)["layers"] == ["difference"]
