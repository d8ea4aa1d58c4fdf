"""How soon is the explorer's page there, how smoothly does it move, how fast does it train and sample, how does it end?

A server of `motes explore` in a process of its own, and the page in a Chromium that draws without a graphics card, as
Playwright drives it. Each line has its goal; the training is a ratio to `motes.fit` of the same steps, in one run.

    python benchmarks/explorer.py [--rounds 5] [--chromium /usr/bin/chromium] [--out FILE]
"""

import argparse
import json
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import sync_playwright
from provenance import measured, record
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import motes

DRAWING = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-dev-shm-usage"]
LOADED = "Boolean(window.explorer?.panels?.length && explorer.panels.every((one) => one.loaded) && explorer.frames)"
POINTS, STEPS = 10_000, 32
FROM, TO = 500, 3_500  # steps of a training, between which its speed is measured
SECONDS = 4  # of playing and of scrubbing
SOCKETS = 100

SCRUB = """(seconds) => new Promise((done) => {
  const clock = document.getElementById("clock"), begin = performance.now(), first = explorer.frames;
  const move = (now) => {
    if (now - begin > 1000 * seconds) return done((explorer.frames - first) / ((now - begin) / 1000));
    clock.value = Math.round(512 + 511 * Math.sin((now - begin) / 400));
    clock.dispatchEvent(new Event("input"));
    requestAnimationFrame(move);
  };
  requestAnimationFrame(move);
})"""

PLAY = """(seconds) => new Promise((done) => {
  explorer.play(-1);
  const begin = performance.now(), first = explorer.frames;
  setTimeout(() => done((explorer.frames - first) / ((performance.now() - begin) / 1000)), 1000 * seconds);
})"""

ASK = """async ([what, options]) => {
  const begin = performance.now();
  await explorer.link.ask(what, options);
  return performance.now() - begin;
}"""


@contextmanager
def server(*words):
    """A server, and the address of its page."""
    command = [sys.executable, "-m", "motes", "explore", *words, "--no-browser", "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def until(page, expression, every=5, seconds=120):
    """Asked again and again, after `every` ms, from outside: the page's policy forbids to evaluate words in it."""
    end = time.perf_counter() + seconds
    while not page.evaluate(expression):
        if time.perf_counter() > end:
            raise TimeoutError(expression)
        page.wait_for_timeout(every)


def opened(browser, address, state=""):
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    page.goto(address + state)
    until(page, LOADED)
    return page


def memory(process):
    """MiB that are resident."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1024


def first_picture(browser, address, rounds):
    """Seconds from an empty page to a drawn one, of each round."""
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        page = opened(browser, address)
        times.append(time.perf_counter() - begin)
        page.context.close()
    return times


def speed_in_page(page):
    """Steps a second of a training that is watched."""
    page.locator("#train").click()
    times = []
    for step in (FROM, TO):
        until(page, f"explorer.trainer.news?.step >= {step}", every=50)
        times.append((page.evaluate("explorer.trainer.news.step"), time.perf_counter()))
    (first, begin), (last, end) = times
    return (last - first) / (end - begin)


def speed_of_fit():
    """Steps a second of the same training, without a page."""
    times = []
    changes = {"training.steps": 4_000}
    motes.fit(
        "swiss_roll",
        changes=changes,
        verbose=False,
        on_progress=lambda progress: times.append((progress.done, time.perf_counter())),
    )
    inside = [one for one in times if FROM <= one[0] <= TO]
    (first, begin), (last, end) = inside[0], inside[-1]
    return (last - first) / (end - begin)


def crowd(address, page, process):
    """100 sockets, one of which asks much and reads nothing: MiB that come with them, and steps a second meanwhile."""
    parts = urlsplit(address)
    url, origin = f"ws://{parts.netloc}/socket?{parts.query}", f"http://{parts.netloc}"
    before, refused = memory(process), 0
    asked = {"what": "chain", "model": "swiss_roll", "n": 20_000, "steps": 64, "sampler": "heun"}
    with ExitStack() as sockets:
        slow = sockets.enter_context(connect(url, origin=origin, compression=None))
        for _ in range(SOCKETS - 1):
            try:
                sockets.enter_context(connect(url, origin=origin, compression=None))
            except (ConnectionClosed, OSError, TimeoutError):
                refused += 1
        for number in range(20):
            slow.send(json.dumps({**asked, "number": number, "seed": number}))
        return speed_in_page(page), memory(process) - before, refused


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the results as JSON")
    options = parser.parse_args()
    found = []
    shown = lambda what, unit, values, goal: found.append(measured(what, unit, values, goal=goal))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=DRAWING)
        with server() as (process, address):
            shown("first picture", "s", first_picture(browser, address, options.rounds), "<= 1.5")
            page = opened(browser, address, f"#n={POINTS}&show=data,dpmpp_3m.{STEPS}")
            shown(f"scrubbing, two pictures of {POINTS:,} points", "frames/s", [page.evaluate(SCRUB, SECONDS)], ">= 20")
            shown(f"playing, two pictures of {POINTS:,} points", "frames/s", [page.evaluate(PLAY, SECONDS)], ">= 20")
            page.evaluate("explorer.play(0)")
            how = {"model": "swiss_roll", "n": POINTS, "steps": STEPS, "sampler": "dpmpp_3m"}
            times = [page.evaluate(ASK, ["chain", {**how, "seed": 100 + k}]) for k in range(options.rounds + 1)]
            shown(f"{POINTS:,} points in {STEPS} steps", "s", [one / 1000 for one in times[1:]], "<= 1")
            rows = [{}, {"species": "Gentoo"}, {"species": "Adelie", "sex": "male"}, {"year": 2008}, {"sex": "female"}]
            asked = [["row", {"table": "penguins", "row": row}] for row in rows]
            times = [page.evaluate(ASK, one) for one in asked * (options.rounds + 1)]
            shown("a row of a table, warm", "ms", times[len(rows) :], "<= 100")
            inside = speed_in_page(page)
            page.evaluate("explorer.play(0)")
            shown("training speed on the page, relative to `motes.fit`", "", [inside / speed_of_fit()], ">= 0.8")
            page.context.close()
            page = opened(browser, address)
            beside, grown, refused = crowd(address, page, process)
            shown(f"the same with {SOCKETS} open sockets, relative to without", "", [beside / inside], "about 1")
            shown("memory of these sockets", "MiB", [grown], "< 200")
            shown("sockets that were refused", "", [refused], "any")
            process.send_signal(signal.SIGINT)
            begin = time.perf_counter()
            process.wait(30)
            shown("shutdown after Ctrl-C with an open page", "s", [time.perf_counter() - begin], "<= 2")
        browser.close()
    record(options.out, "python benchmarks/explorer.py", {"measures": found})


if __name__ == "__main__":
    main()
