"""The page of the explorer in a real browser: recipe and schedule, classes, a known coordinate, files, and looks."""

import json
import re
import tomllib
from urllib.parse import quote
from xml.etree import ElementTree

import numpy as np
import pytest

import motes
from browsers import IN_CHROMIUM, QUICK, SEEN, SHORT, choose, lit, picture, serious, state, until
from motes.evaluation.findings import prior_kl

pytestmark = IN_CHROMIUM


def changes(page):
    return state(page)["changes"]


def planned(page, condition):
    until(page, f"Boolean(explorer.planner.plan) && ({condition})")


# --- the schedule ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_schedule_is_picked_and_what_follows_is_shown_at_once(visit):
    with visit() as page:
        planned(page, "explorer.planner.plan.recipe.schedule.kind === 'exploding'")
        assert page.locator("#betas").is_hidden() and "continuous" in page.locator("#betas-said").inner_text()
        assert page.locator("#findings").inner_text() == "No problems detected before training."
        page.locator("#schedule").select_option("linear")
        planned(page, "explorer.planner.plan.steps === 100")
        assert page.locator("#betas path").get_attribute("d").count("L") == 99
        page.locator("#schedule-end").fill("0.01")
        page.locator("#schedule-end").press("Tab")
        planned(page, "explorer.planner.plan.prior > 0.02")
        assert changes(page) == {"schedule.kind": "linear", "schedule.end": 0.01}
        recipe = motes.load_recipe("default", changes(page))
        expected = prior_kl(motes.make_shape("swiss_roll", recipe.data.rows)[:2_000], recipe)
        assert page.evaluate("explorer.planner.plan.prior") == pytest.approx(expected, rel=1e-6)
        assert "wrong" in page.locator("#prior-value").get_attribute("class")
        assert "prior mismatch" in page.locator("#findings").inner_text()
        page.locator("#undo").click()
        planned(page, "explorer.planner.plan.recipe.schedule.end === 0.1")
        page.locator("#schedule-reset").click()
        planned(page, "explorer.planner.plan.recipe.schedule.kind === 'exploding'")
        assert changes(page) == {}


@pytest.mark.slow
def test_curves_are_dragged_and_moved_by_keys(visit):
    with visit() as page:
        page.locator("#schedule").select_option("continuous_cosine")
        planned(page, "explorer.planner.plan.recipe.schedule.kind === 'continuous_cosine'")
        page.locator("#curves").scroll_into_view_if_needed()
        drawn = picture(page, "#curves")
        knot = page.locator("#curves .knot.alphas").nth(3)
        box = knot.locator(".dot").bounding_box()
        x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(x, y)
        page.mouse.down()
        page.mouse.move(x, y + 60, steps=5)
        until(page, "Boolean(explorer.planner.draft)")
        page.mouse.up()
        asked = "JSON.stringify(explorer.state.changes['schedule.alphas'])"  # plans of the way there come before
        planned(page, f"JSON.stringify(explorer.planner.plan.recipe.schedule.alphas) === {asked}")
        alphas, sigmas = changes(page)["schedule.alphas"], changes(page)["schedule.sigmas"]
        assert len(alphas) == len(sigmas) == 8 and alphas[3] < 0.55
        assert (np.diff(alphas) <= 0).all() and (np.diff(sigmas) > 0).all()
        assert sigmas == pytest.approx(np.sin(np.arccos(0.01) * np.arange(1, 9) / 8), abs=1e-3)  # those were left alone
        until(page, "!document.getElementById('plan-note').textContent")
        assert (picture(page, "#curves") != drawn).any()
        schedule = motes.load_recipe("default", changes(page)).make_schedule()
        assert page.evaluate("[...explorer.planner.plan.alpha]") == pytest.approx(
            np.asarray(schedule.alpha(np.linspace(0, 1, 129))), abs=1e-5
        )
        knot.focus()
        page.keyboard.press("ArrowUp")
        until(page, f"Math.abs(explorer.state.changes['schedule.alphas'][3] - {alphas[3] + 0.01}) < 1e-4")
        page.keyboard.press("ArrowRight")
        assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "α, data, at t = 0.625"
        assert page.locator("#curve-said").inner_text().startswith("α, data = ")
        assert state(page)["place"] == 1024  # the keys of the page are not theirs


@pytest.mark.slow
def test_a_recipe_of_steps_is_dragged_into_one_without(visit):
    """Its times, its network and its grid know the steps of its schedule alone, and are changed with it."""
    with visit("#model=small&n=500&recipe=tutorial&set=training.steps%3D500") as page:
        planned(page, "explorer.planner.plan.steps === 100")
        page.locator("#curves .knot.sigmas").nth(7).focus()
        page.keyboard.press("PageUp")
        planned(page, "explorer.planner.plan.recipe.schedule.kind === 'knots'")
        assert page.locator("#plan-note").inner_text() == ""
        more = {"times.kind": "uniform", "network.kind": "residual", "grid.steps": 100}
        assert more.items() <= changes(page).items()
        page.locator("#schedule-reset").click()
        planned(page, "explorer.planner.plan.recipe.schedule.kind === 'sigmoid'")
        assert changes(page) == {"training.steps": 500}


@pytest.mark.slow
def test_a_fix_is_applied_and_trained_with(visit):
    with visit() as page:
        planned(page, "true")
        choose(page, SHORT)
        page.locator("#schedule").select_option("linear")
        planned(page, "explorer.planner.plan.steps === 100")
        page.locator("#schedule-end").fill("0.01")
        page.locator("#schedule-end").press("Tab")
        until(page, "document.getElementById('findings').textContent.includes('prior mismatch')")
        item = page.locator("#findings li", has_text="prior mismatch")
        fix = page.evaluate("explorer.planner.plan.findings.find((one) => one.name === 'prior_mismatch').changes")
        assert "schedule.kind = quad" in item.locator("code").inner_text()
        item.locator("button").click()
        until(page, "explorer.state.model === 'training'", 90)
        assert fix.items() <= changes(page).items() and "schedule.end" in changes(page)
        until(page, "explorer.planner.plan.prior < 0.02")
        assert "prior mismatch" not in page.locator("#findings").inner_text()
        until(page, "explorer.trainer.news?.steps === 500")


# --- the recipe ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_recipe_is_chosen_and_kept_in_the_address(visit):
    with visit("#model=small&n=500&show=data,euler.4&learn=circles&recipe=ddpm&set=training.steps%3D500"
               "&set=network.width%3D16&set=nothing&set=../x%3D1&set=loss.kind%3D%22min_snr%22") as page:  # fmt: skip
        planned(page, "explorer.planner.plan.recipe.network.width === 16")
        assert (state(page)["recipe"], state(page)["learn"]) == ("ddpm", "circles")
        assert changes(page) == {"training.steps": 500, "network.width": 16, "loss.kind": "min_snr"}
        shown = {"recipe": "ddpm", "shape": "circles", "width": "16", "until": "500", "loss-kind": "min_snr"}
        for name, value in shown.items():
            assert page.locator(f"#{name}").input_value() == value
        assert page.locator("#ema").input_value() == "0.998" and page.locator("#noise").input_value() == "0.05"
        page.locator("#ema").select_option("0.9")
        until(page, "location.hash.includes('training.ema')")
        page.locator("#recipe").select_option("tutorial")
        planned(page, "explorer.planner.plan.recipe.network.kind === 'step_gated'")
        assert changes(page) == {"training.steps": 500}
        assert "prior mismatch" in page.locator("#findings").inner_text()
        page.locator("#rate").select_option("0.1")
        page.locator("#shape").select_option("moons")
        planned(page, "explorer.planner.plan.recipe.training.learning_rate === 0.1")
        assert page.locator("#noise").input_value() == "0.1"


# --- classes and a known coordinate ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_class_is_chosen_and_guided(visit, labelled_model):
    with visit("#model=labelled&n=300&show=data,euler.4&at=0") as page:
        page.locator("#classes button[value='1']").click()
        until(page, "explorer.state.label === 1 && explorer.panels.every((one) => one.distance !== null || one.isData)")
        guidance = page.locator("#guidance")
        guidance.focus()
        for _ in range(4):
            page.keyboard.press("ArrowRight")
        until(page, "explorer.state.guidance === 2")
        how = {"sampler": "euler", "steps": 4, "guidance": 2.0}
        expected = labelled_model.sample(300, label=1, sampling=how)
        until(page, f"Math.abs(explorer.panels[1].painter.data.at(-1) - {expected[-1, 1]}) < 1e-4")
        last = page.evaluate("[...explorer.panels[1].painter.data.slice(-2 * 300)]")
        assert np.reshape(last, (-1, 2)) == pytest.approx(expected, abs=1e-5)
        until(page, "location.hash.includes('class=1.2')")
        assert 'label="1"' in page.locator("#python").inner_text()
        real = np.reshape(page.evaluate("[...explorer.panels[0].painter.data.slice(0, 600)]"), (-1, 2))
        assert (motes.truth("moons").labels(real) == 1).mean() > 0.97
        page.locator("#layer-density").check()
        until(page, "document.getElementById('layer-note').textContent.includes('guided points have no known density')")
        page.locator("#classes button[value='']").click()
        until(page, "explorer.state.label === null && explorer.state.guidance === 1")
        page.locator("#models button[value=small]").click()
        until(page, "explorer.about.name === 'small'")
        assert page.locator("#class-part").is_hidden()


@pytest.mark.slow
def test_a_known_coordinate_is_a_line_that_is_dragged(visit, small_model):
    with visit("#model=small&n=300&show=data&at=500&layers=") as page:
        until(page, "!explorer.stale")
        assert lit(page) < 20
        page.locator("#axes button", has_text="x").click()
        until(page, "Boolean(explorer.conditions.answer)")
        page.wait_for_timeout(150)
        assert lit(page) > 600  # the line, its points, their bars and the exact curve
        frame = page.locator(".frame").bounding_box()
        (left, right), _ = page.evaluate("explorer.about.box")
        at = lambda x: frame["x"] + (x - left) / (right - left) * frame["width"]
        was = state(page)["known"]["value"]
        page.mouse.move(at(was), frame["y"] + 0.3 * frame["height"])
        page.mouse.down()
        page.mouse.move(at(1.2), frame["y"] + 0.5 * frame["height"], steps=5)
        page.mouse.up()
        assert state(page)["known"] == {"axis": 0, "value": pytest.approx(1.2, abs=0.02)}
        assert not page.evaluate("explorer.particle || explorer.dropped")  # a drag of the line drops no particle
        value = state(page)["known"]["value"]
        until(page, f"explorer.conditions.answer.value === {value}")
        points = np.reshape(page.evaluate("[...explorer.conditions.answer.points]"), (-1, 2))
        expected = small_model.sample(600, given={"x": value})
        assert points == pytest.approx(expected, abs=1e-5)
        assert "independent ones" in page.locator("#known-note").inner_text()
        page.locator("#known").focus()
        page.keyboard.press("ArrowLeft")
        until(page, f"explorer.state.known.value < {value}")
        until(page, "location.hash.includes('known=0.')")
        page.locator("#axes button", has_text="none").click()
        until(page, "!explorer.state.known && !explorer.stale")
        page.wait_for_timeout(100)
        assert lit(page) < 20


# --- what is taken away ----------------------------------------------------------------------------------------------


def saved(page, button):
    with page.expect_download(timeout=120_000) as found:
        page.locator(f"#{button}").click()
    return found.value


@pytest.mark.slow
def test_files_are_taken_away(visit, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hash = "#model=labelled&n=300&seed=3&show=data,heun.4&at=400&layers=points,arrows&class=1.2&known=0.0.5"
    with visit(hash) as page:
        until(page, "Boolean(explorer.last?.['score learned']) && Boolean(explorer.conditions.answer)")
        recipe = saved(page, "save-recipe")
        assert recipe.suggested_filename == "motes-labelled.toml"
        assert tomllib.loads(recipe.path().read_text())["data"]["label"] == "class"
        model = saved(page, "save-model")
        model.save_as(tmp_path / model.suggested_filename)
        svg = saved(page, "save-svg").path().read_text()
        drawn = page.evaluate("[...explorer.panels[1].painter.data.slice(-600)]")
        python = page.locator("#python").inner_text()
    assert python.startswith('import motes\n\nmodel = motes.load("motes-labelled.safetensors")')
    found = {}
    exec(python, found)
    assert found["points"] == pytest.approx(np.reshape(drawn, (-1, 2)), abs=1e-5)
    assert (found["on_the_line"][:, 0] == 0.5).all() and len(found["on_the_line"]) == 600
    root = ElementTree.fromstring(svg)
    paths = [one.get("d") for one in root.iter("{http://www.w3.org/2000/svg}path")]
    assert max(path.count("h0") for path in paths) == 300  # the points
    assert len(paths) >= 4 and "NaN" not in svg  # arrows, the line, the exact curve
    assert re.search(r"<title>motes: labelled, time 0\.\d+", svg)


# --- how it looks -----------------------------------------------------------------------------------------------------


SCREENS = {1440: 900, 1024: 768, 390: 844}
FULL = (  # everything that can be on the page at once
    "#model=labelled&n=1000&at=300&layers=points,arrows,lines&side=exact&class=1.2&known=0.0.5&recipe=tutorial"
    f"&set=training.steps%3D2000&row={quote(json.dumps({'species': 'Gentoo'}))}"
)


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
