"""What the tests of the explorer's page see in a real browser; its fixtures are in conftest.py."""

import io
import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from explorers import TOKEN

CHROMIUM = shutil.which("chromium")
IN_CHROMIUM = pytest.mark.skipif(CHROMIUM is None, reason="the page is tested in Chromium: apt-get install chromium")
SEEN = Path(os.environ.get("MOTES_SCREENSHOTS", ""))  # where pictures are left, if anywhere
SHORT = {"until": "500", "width": "16", "depth": "1", "batch": "32", "rows": "1000"}  # of a training
QUICK = "#model=small&n=500&show=data,euler.4"


@contextmanager
def started():
    """A browser that draws without a graphics card, with the one page in which `opened` opens all others."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        browser.new_page()
        yield browser
        browser.close()


@contextmanager
def watched(chromium, here, *, width=1280, height=1000, color_scheme="light", reduced_motion="no-preference"):
    """A page for addresses that start with `here`. Whatever it complains of, or asks of another machine, fails.

    It takes the place of the page before it: a window of its own would cost as much again as most tests do.
    """
    page, wrong = chromium.contexts[0].pages[0], []
    listeners = {
        "console": lambda message: message.type in ("error", "warning") and wrong.append(message.text),
        "pageerror": lambda error: wrong.append(str(error)),
        "request": lambda request: request.url.startswith(here) or wrong.append(request.url),
    }
    for event, listener in listeners.items():
        page.on(event, listener)
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=color_scheme, reduced_motion=reduced_motion)
    page.mouse.move(0, 0)
    try:
        yield page
    finally:
        for event, listener in listeners.items():
            page.remove_listener(event, listener)
        page.goto("about:blank")
    # The browser itself notes each answer that refuses something, such as a file.
    expected = ("GPU stall", "GL Driver", "status of 422")
    assert [one for one in wrong if not any(words in one for words in expected)] == []


@contextmanager
def opened(chromium, client, state=QUICK, **options):
    """An open page of the explorer, `watched` with these options."""
    with watched(chromium, f"{client.here}/", **options) as page:
        page.goto(f"{client.here}/?token={TOKEN}{state}")
        until(page, "Boolean(explorer.panels?.length && explorer.panels.every((one) => one.loaded))")
        until(page, "Boolean(explorer.table.cards.length)")
        yield page


def serious(page):
    """What axe-core finds that keeps somebody out."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        (one["id"], [node["html"][:120] for node in one["nodes"]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def until(page, expression, seconds=30):
    """The page's policy forbids to evaluate words in it, so it is asked again and again from outside."""
    for _ in range(20 * seconds):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(expression)


def picture(page, selector):
    return np.asarray(Image.open(io.BytesIO(page.locator(selector).screenshot())).convert("RGB")).astype(int)


def lit(page, panel=0):
    """How many pixels of a panel differ from its ground."""
    seen = picture(page, f".panel:nth-child({panel + 1}) .frame")[4:-4, 4:-4]
    return int((np.abs(seen - seen[2, 2]).sum(axis=2) > 60).sum())


def state(page):
    return page.evaluate("structuredClone(explorer.state)")


def go(page, place):
    page.locator("#clock").fill(str(place))
    until(page, f"explorer.state.place === {place} && !explorer.stale")


def choose(page, values):
    """Choose a value in each of these lists."""
    for name, value in values.items():
        page.locator(f"#{name}").select_option(value)


def easel(page):
    """Choose to draw, and say where a share of the easel is."""
    page.locator("#shape").select_option("your drawing")

    def at(x, y):
        box, before = None, {}
        while box != before:  # what stands above it may still grow
            before = box
            page.locator("#sketch").evaluate("(one) => one.scrollIntoView({ block: 'center', behavior: 'instant' })")
            page.wait_for_timeout(200)
            box = page.locator("#sketch").bounding_box()
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    return at
