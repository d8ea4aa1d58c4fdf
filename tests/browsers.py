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
QUICK = "#model=small&n=500&show=data,euler.4"


@contextmanager
def started():
    """A browser that draws without a graphics card."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@contextmanager
def opened(chromium, client, state=QUICK, *, width=1280, height=1000, **options):
    """An open page. Whatever it complains of, or asks of another machine, fails."""
    context = chromium.new_context(viewport={"width": width, "height": height}, **options)
    page, wrong = context.new_page(), []
    page.on("console", lambda message: message.type in ("error", "warning") and wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: request.url.startswith(f"{client.here}/") or wrong.append(request.url))
    page.goto(f"{client.here}/?token={TOKEN}{state}")
    until(page, "Boolean(explorer.panels?.length && explorer.panels.every((one) => one.loaded))")
    until(page, "Boolean(explorer.table.cards.length)")
    yield page
    context.close()
    # The browser itself notes each answer that refuses something, such as a file.
    expected = ("GPU stall", "GL Driver", "status of 422")
    assert [one for one in wrong if not any(words in one for words in expected)] == []


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


def easel(page):
    """Choose to draw, and say where a share of the easel is."""
    page.locator("#shape").select_option("your drawing")

    def at(x, y):
        page.locator("#sketch").evaluate("(one) => one.scrollIntoView({ block: 'center', behavior: 'instant' })")
        box = page.locator("#sketch").bounding_box()
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    return at


# Text whose contrast with the ground behind it is below 4.5 (3 for large text), as WCAG 2.1 measures it.
CONTRAST = """(() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0);
  const ground = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const one of document.querySelectorAll("body *")) {
    const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !one.offsetParent || one.closest(":disabled, .hidden, option")) continue;
    const style = getComputedStyle(one), [a, b] = [light(rgb(style.color)), light(ground(one))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < (parseFloat(style.fontSize) >= 24 ? 3 : 4.5)) poor.push([one.textContent.trim().slice(0, 40), ratio]);
  }
  return poor;
})()"""

# Controls without a name.
NAMELESS = """[...document.querySelectorAll("button, select, input, [role=img], canvas[role]")].filter((one) =>
  one.offsetParent && !(one.textContent.trim() && one.tagName === "BUTTON") && !one.getAttribute("aria-label")
  && !(one.labels?.length && [...one.labels].some((label) => label.textContent.trim()))).map((one) => one.outerHTML)"""
