"""The page of the explorer in a real browser: what is on its canvas and in its state equals the library."""

import json
from urllib.parse import quote

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import motes
from browsers import IN_CHROMIUM, QUICK, SHORT, choose, easel, go, lit, opened, picture, state, until
from explorers import TOKEN, serving
from motes.explorer.answers import Answers
from motes.explorer.messages import Limits
from motes.explorer.subjects import Shelf, Subject
from motes.points.model import PointModel

pytestmark = IN_CHROMIUM


@pytest.fixture(scope="module")
def shelf(small_model):
    named = PointModel(
        small_model.denoiser,
        small_model.standardiser,
        ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'],
        small_model.recipe,
    )
    return Shelf(Subject("small", small_model), Subject("<b>own</b>", named))


@pytest.fixture(scope="module")
def answers(shelf):
    return Answers(shelf, Limits())


def test_it_opens_on_a_moving_picture_with_three_sentences(visit):
    with visit("") as page:
        text = page.locator("#lede p").inner_text()
        assert text.count(".") == 3
        first = page.evaluate("explorer.state.place")
        until(page, f"explorer.direction === -1 && explorer.state.place < {first} - 30")
        assert lit(page, 0) > 300 and lit(page, 1) > 300
        shown, place = picture(page, ".panel:nth-child(2) .frame"), state(page)["place"]
        until(page, f"Math.abs(explorer.state.place - {place}) > 30")
        assert (picture(page, ".panel:nth-child(2) .frame") != shown).any()
        assert not page.evaluate("explorer.panels.some((panel) => panel.painter.gl)")  # here no card draws


@pytest.mark.slow
def test_time_is_scrubbed_and_played_in_both_directions(visit):
    with visit() as page:
        go(page, 0)
        near = lit(page, 0)
        go(page, 1024)
        assert lit(page, 0) > 1.05 * near  # points of a cloud lie on one another less often
        page.locator("#speed").fill("-2")  # so that it does not turn at an end meanwhile
        page.locator("#to-data").click()
        until(page, "explorer.state.place < 1000")
        assert page.locator("#to-data").get_attribute("aria-pressed") == "true"
        page.locator("#to-noise").click()
        was = state(page)["place"]
        until(page, f"explorer.state.place > {was}")
        page.locator("#to-noise").click()
        still = state(page)["place"]
        page.wait_for_timeout(200)
        assert state(page)["place"] == still
        moved = {speed: page.evaluate(MOVED, speed) for speed in (-2, 0, 2)}
        assert moved == {speed: pytest.approx(0.05 * 1024 / 7 * 2**speed) for speed in moved}


MOVED = """(speed) => {  // places of the clock in a frame of 50 ms
  document.getElementById("speed").value = speed;
  explorer.go(0);
  explorer.play(1);
  explorer.before = 1000;
  explorer.tick(1050);
  const { exact } = explorer;
  explorer.play(0);
  return exact;
}"""


@pytest.mark.slow
def test_everything_has_a_key(visit):
    with visit() as page:
        go(page, 512)
        for key, place in [("ArrowRight", 520), ("Shift+ArrowLeft", 456), ("End", 1024), ("Home", 0)]:
            page.locator("body").press(key)
            assert state(page)["place"] == place
        page.locator("body").press("Space")
        until(page, "explorer.direction === -1")
        page.locator("body").press("Space")
        assert not page.evaluate("explorer.direction")
        for key, layers in [("3", ["points", "arrows"]), ("1", ["arrows"]), ("3", []), ("1", ["points"])]:
            page.locator("body").press(key)
            assert state(page)["layers"] == layers
        page.locator("body").press("e")
        assert state(page)["side"] == "exact"
        page.locator("body").press("n")
        assert state(page)["seed"] == 1
        page.locator("body").press("u")
        assert state(page)["seed"] == 0
        before = page.evaluate("document.documentElement.dataset.theme")
        page.locator("body").press("t")
        assert page.evaluate("document.documentElement.dataset.theme") != before
        page.locator("body").press("?")
        assert page.locator("#help").is_visible()


@pytest.mark.slow
def test_samplers_stand_side_by_side_with_their_cost_and_their_distance(visit, small_model, answers):
    with visit("#model=small&n=500&show=euler.4,heun.8&at=0") as page:
        until(page, "explorer.panels.every((one) => one.distance)")
        until(page, "!explorer.stale")
        assert page.locator(".panel:nth-child(1) .reading .name").inner_text() == "step 4 of 4, 4 of 4 evaluations"
        assert page.locator(".panel:nth-child(2) .reading .name").inner_text() == "step 8 of 8, 15 of 15 evaluations"
        units, (real, _) = small_model.standardiser, answers.shelf.subject("small").origin.real(2_000)
        for k, how in enumerate([{"sampler": "euler", "steps": 4}, {"sampler": "heun", "steps": 8}]):
            drawn = units.forward(small_model.sample(500, sampling=how))
            expected = float(motes.sliced_w2(drawn, units.forward(real)[:500], directions=64))
            assert page.evaluate(f"explorer.panels[{k}].now.distance") == pytest.approx(expected, abs=1e-5)
            assert f"{expected:.3f}" in page.locator(f".panel:nth-child({k + 1}) .reading .value").inner_text()
            last = page.evaluate(f"[...explorer.panels[{k}].painter.data.slice(-2 * 500)]")
            assert np.reshape(last, (-1, 2)) == pytest.approx(units.inverse(drawn), abs=1e-5)
        page.locator(".panel:nth-child(1) .steps").select_option("16")
        until(page, "explorer.panels[0].chain?.steps === 16")
        page.locator(".panel:nth-child(1) .source").select_option("data")
        until(page, "explorer.panels[0].loaded === 'data'")
        page.locator("#more").click()
        until(page, "explorer.panels.length === 3 && explorer.panels.every((one) => one.loaded)")
        assert not page.locator("#more").is_visible()
        page.locator(".panel:nth-child(3) .close").click()
        until(page, "explorer.panels.length === 2")


@pytest.mark.slow
def test_layers_are_drawn_over_the_points(visit):
    with visit("#model=small&n=500&show=data&at=500&layers=") as page:
        until(page, "!explorer.stale")
        assert lit(page) < 20  # where the corners are round
        for name in ("arrows", "density", "lines"):
            page.locator(f"#layer-{name}").check()
            until(page, f"explorer.last?.['{'score' if name == 'arrows' else 'density'} learned'] && !explorer.stale")
            page.wait_for_timeout(100)
            amber = lit(page)
            assert amber > 200, name
            page.locator(f"#layer-{name}").uncheck()
        page.locator("#layer-arrows").check()
        page.locator("#sides button[value=exact]").click()
        until(page, "explorer.last?.['score exact'] && !explorer.stale")
        page.wait_for_timeout(100)
        seen = picture(page, ".frame")[4:-4, 4:-4]
        assert (seen[..., 2] - seen[..., 0]).max() > 40 and (seen[..., 0] - seen[..., 2]).max() < 40  # blue alone


@pytest.mark.slow
def test_the_numbers_under_the_pointer_are_those_of_the_library(visit, small_model, answers):
    with visit("#model=small&n=500&show=data&at=600") as page:
        box = page.locator(".frame").bounding_box()
        page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.4 * box["height"])
        until(page, "Boolean(explorer.probed)")
        at, found = page.evaluate("[explorer.pointed, explorer.probed]")
        subject = answers.shelf.subject("small")
        u, t = np.array([at]), float(subject.clock[0][600])
        expected = answers.ask(what="probe", model="small", place=600, at=at).header
        for side in ("learned", "exact"):
            assert found[side]["log_p"] == pytest.approx(expected[side]["log_p"], abs=1e-5)
        x0 = small_model.standardiser.inverse(subject.oracle.rows(subject.standardised(u, t).astype(np.float32), t).x0)
        assert found["exact"]["x0"] == pytest.approx(np.asarray(x0)[0], abs=1e-5)
        assert page.locator("#probe td").first.inner_text() not in ("", "–")
        page.locator(".frame").focus()
        page.keyboard.press("ArrowUp")
        until(page, f"explorer.pointed && explorer.pointed[1] > {at[1]}")


@pytest.mark.slow
def test_a_particle_flows_from_under_the_pointer(visit):
    with visit("#model=small&n=500&show=data&at=700&layers=") as page:
        box = page.locator(".frame").bounding_box()
        page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
        page.mouse.down()
        until(page, "Boolean(explorer.particle)")
        first = page.evaluate("[...explorer.particle.learned]")
        page.mouse.move(box["x"] + 0.7 * box["width"], box["y"] + 0.4 * box["height"], steps=4)
        until(page, f"Math.abs(explorer.particle.learned[0] - {first[0]}) > 1e-4")
        page.mouse.up()
        said = page.locator("#particle-note").inner_text()
        assert said.startswith("From the noise at x = ") and "training points, marked by a ring, is " in said
        page.mouse.move(1, 1)
        until(page, "!explorer.pointed && !explorer.stale")
        assert lit(page) > 60  # its way
        page.locator("#futures").check()
        until(page, "explorer.particle?.futures?.shape[0] === 32")
        page.locator("#clear").click()
        until(page, "!explorer.particle && !explorer.stale && !document.getElementById('particle-note').textContent")
        page.wait_for_timeout(100)
        assert lit(page) < 20


@pytest.mark.long  # beside a busy worker its first steps came later than 90 seconds, once in three runs
def test_a_training_is_watched_paused_and_gone_back_in(visit):
    with visit("#model=small&n=500&show=data,euler.4&at=0") as page:
        choose(page, SHORT | {"shape": "circles", "pace": "50"})
        page.locator("#train").click()
        until(page, "explorer.state.model === 'training' && explorer.trainer.news.step > 10", 90)
        assert page.locator("#models [aria-checked=true]").inner_text() == "your training"
        page.locator("#train").click()
        until(page, "!explorer.trainer.news.plays")
        still = page.evaluate("explorer.trainer.news.step")
        page.locator("#one-step").click()
        until(page, f"explorer.trainer.news.step === {still + 1} && !explorer.trainer.news.plays", 90)
        page.locator("#pace").select_option("0")
        page.locator("body").press("p")
        until(page, "explorer.trainer.news.step === 500 && explorer.trainer.shown === 500", 60)
        assert page.evaluate("explorer.trainer.losses.length") == 500
        assert "irreducible" in page.locator("#course-value").inner_text()
        assert page.locator("#train").inner_text() == "Trained"
        seen = picture(page, "#loss")
        assert (np.abs(seen - seen[2, 2]).sum(axis=2) > 60).sum() > 200
        until(page, "!explorer.renewing")
        last = page.evaluate("[...explorer.panels[1].painter.data.slice(-4)]")
        page.locator("#moment").fill("0")
        until(page, "explorer.trainer.shown === 0 && !explorer.renewing")
        assert page.evaluate("[...explorer.panels[1].painter.data.slice(-4)]") != last
        assert page.evaluate("explorer.panels[1].distance.distance.length") > 1


@pytest.mark.slow
def test_a_file_is_dropped_and_trained_on(visit):
    with visit() as page:
        text = "<b>a</b>,c,label\n" + "".join(f"{k % 7},{k % 5},z{k}\n" for k in range(80))
        page.set_input_files("#file", {"name": "../../x.csv", "mimeType": "text/csv", "buffer": text.encode()})
        until(page, "document.getElementById('train-note').textContent.startsWith('80 rows')")
        assert page.locator("#first option").all_inner_texts() == ["<b>a</b>", "c"]
        note = page.locator("#file-note")
        assert note.inner_text() == "Omitted columns, which do not contain only numbers: label."
        assert note.get_attribute("role") == "status"
        page.locator("#until").select_option("500")
        page.locator("#train").click()
        until(page, "explorer.state.model === 'training' && explorer.panels.every((one) => one.loaded)", 90)
        assert page.evaluate("explorer.about.columns") == ["<b>a</b>", "c"]
        assert 60 < page.evaluate("explorer.panels[0].painter.count") < 76  # about a tenth is held out
        page.evaluate(DROP, "no\nnumbers\nhere\n")
        until(page, "document.getElementById('train-note').textContent.includes('expected')")


DROP = """(text) => {
  const data = new DataTransfer();
  data.items.add(new File([text], "y.csv"));
  document.querySelector(".train").dispatchEvent(new DragEvent("drop", { dataTransfer: data, cancelable: true }));
}"""


@pytest.mark.slow
def test_the_address_holds_the_state(visit, client):
    with visit("#model=moons&n=1000&seed=7&at=300&show=data,heun.8,euler.2&layers=points,arrows&side=exact") as page:
        until(page, "location.hash.includes('seed=7')")
        kept = page.evaluate("location.hash")
        assert state(page) == {
            "model": "moons", "n": 1000, "seed": 7, "place": 300, "layers": ["points", "arrows"], "side": "exact",
            "panels": [{"sampler": one, "steps": steps} for one, steps in (("data", 0), ("heun", 8), ("euler", 2))],
            "quantity": "score", "table": {"name": "", "row": {}},
            "label": None, "guidance": 1, "known": None, "learn": "swiss_roll", "recipe": "default", "changes": {},
        }  # fmt: skip
        page.locator("#reset").click()
        until(page, "explorer.state.panels.length === 2 && explorer.state.seed === 0")
        page.locator("#undo").click()
        until(page, "explorer.state.panels.length === 3 && explorer.state.seed === 7")
        until(page, f"location.hash === {kept!r}")
        assert page.locator("#undo").is_disabled()


@pytest.mark.slow
@pytest.mark.parametrize(
    "wrong",
    ["#model=../../etc/passwd&n=1e9&seed=-1&at=x&show=nobody.3,euler.999999&layers=<b>&side=both2", "#%%%", "#"],
)
def test_what_an_address_says_wrongly_is_as_at_first(visit, wrong):
    with visit(wrong) as page:
        assert state(page)["model"] == "small" and state(page)["seed"] == 0
        assert [one["sampler"] for one in state(page)["panels"]] == ["data", "dpmpp_3m"]


def test_a_column_called_script_is_inert(visit):
    with visit("#model=%3Cb%3Eown%3C/b%3E&n=500") as page:
        until(page, "explorer.about.name === '<b>own</b>'")
        assert "<b>own</b>" in page.locator("#models").inner_text()
        box = page.locator(".frame").bounding_box()
        page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
        until(page, "Boolean(explorer.probed)")
        assert "<script>alert(1)</script> = " in page.locator("#probe-note").inner_text()
        assert page.evaluate("document.querySelectorAll('script, img, b > b').length") == 1  # the page's own script
        assert [one["sampler"] for one in state(page)["panels"]] == ["dpmpp_3m"]  # its rows are not here


def test_what_goes_wrong_is_said_where_it_is(visit):
    with visit() as page:
        page.evaluate("explorer.change((state) => { state.n = 10 ** 9; })")
        until(page, "!document.querySelector('.message').hidden")
        assert "expected a whole number from 1 to 20,000" in page.locator(".message").first.inner_text()


def test_the_end_of_the_server_is_told(answers, chromium):
    with serving(answers) as client:
        page = chromium.new_page()
        page.goto(f"{client.here}/?token={TOKEN}{QUICK}")
        until(page, "Boolean(explorer.panels?.length)")
    until(page, "!document.getElementById('trouble').hidden")
    assert "motes explore" in page.locator("#trouble").inner_text()
    page.close()


@pytest.mark.slow
def test_the_page_without_a_server_computes_what_the_library_does(visit, chromium, small_model, tmp_path):
    with visit("#model=moons&n=500&show=data,euler.4") as page:
        with page.expect_download() as saved:
            page.locator("#save-page").click()
        path = tmp_path / saved.value.suggested_filename
        saved.value.save_as(path)
        assert path.name == "motes-moons.html" and path.stat().st_size < 300_000
        with page.expect_download() as saved:
            page.locator("#save-csv").click()
        rows = np.loadtxt(saved.value.path(), delimiter=",", skiprows=1)
        assert 'subject("moons")' in page.locator("#python").inner_text()
        assert '"sampler": "euler", "steps": 4' in page.locator("#python").inner_text()
    model = Shelf().subject("moons").model
    assert rows == pytest.approx(model.sample(500, sampling={"sampler": "euler", "steps": 4}), abs=1e-5)
    context = chromium.new_context(offline=True)
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: request.url.startswith("file:") or wrong.append(request.url))
    page.goto(path.as_uri())
    until(page, "Boolean(window.alone)")
    noise = np.random.default_rng(0).standard_normal((200, 2)) * float(model.denoiser.schedule.prior_std)
    denoised = page.evaluate(
        "([y, r]) => r.map((one) => [...alone.network.denoise(Float64Array.from(y), one)])",
        [noise.ravel().tolist(), LEVELS],
    )
    for r, found in zip(LEVELS, denoised, strict=True):
        t = model.denoiser.schedule.t_of_log_snr(-2 * np.log(r))
        exact = jax.vmap(model.denoiser, (0, None))(jnp.asarray(noise, jnp.float32), t)
        assert np.reshape(found, (-1, 2)) == pytest.approx(np.asarray(exact), abs=1e-4)
    ends = page.evaluate(
        """(y) => {
          const { chain, levels, network, most, least } = alone;
          return [...chain(network, Float64Array.from(y), levels(32, most, least), true).at(-1)];
        }""",
        noise.ravel().tolist(),
    )
    process = model.reverse_process({"sampler": "heun", "steps": 32}, None)
    expected, _ = motes.points.sample(process, len(noise), key=jax.random.key(0), start=noise)
    away = np.abs(np.reshape(ends, (-1, 2)) - expected).max(axis=1)
    assert np.quantile(away, 0.95) < 1e-3  # where the flow divides, the last digit decides
    assert np.median(away) < 1e-4
    assert page.locator("#took").inner_text().startswith("31 evaluations of 1,000 points in")
    assert wrong == []
    context.close()


LEVELS = [0.01, 0.1, 0.5, 2.0, 10.0]


# --- streaks and the difference --------------------------------------------------------------------------------------

EMPTY = "#model=small&n=500&show=data&at=430&layers="


def layer(page, known):
    until(page, f"explorer.last?.['{known}'] && !explorer.stale", 60)
    page.wait_for_timeout(150)
    return picture(page, ".frame")[4:-4, 4:-4]


@pytest.mark.slow
def test_streaks_cover_the_picture_and_turn_with_what_they_show(visit):
    with visit(EMPTY) as page:
        assert lit(page) < 20
        ground = picture(page, ".frame")[6, 6]  # a streak may cover any place later
        page.locator("body").press("5")
        score = layer(page, "field learned")
        assert state(page)["layers"] == ["field"] and (np.abs(score - ground).sum(axis=2) > 60).mean() > 0.2
        page.locator("#quantity").select_option("velocity")
        until(page, "explorer.last['field learned'].quantity === 'velocity' && !explorer.stale")
        page.wait_for_timeout(150)
        velocity = picture(page, ".frame")[4:-4, 4:-4]
        assert np.abs(score - velocity).mean() > 3
        until(page, "location.hash.includes('vectors=velocity')")
        page.locator("#sides button[value=exact]").click()
        exact = layer(page, "field exact")
        assert (exact[..., 2] - exact[..., 0]).max() > 40 and (exact[..., 0] - exact[..., 2]).max() < 40


@pytest.mark.slow
def test_the_difference_has_both_colours(visit):
    with visit(EMPTY) as page:
        page.locator("body").press("6")
        seen = layer(page, "difference both")
        assert (seen[..., 2] - seen[..., 0]).max() > 25 and (seen[..., 0] - seen[..., 2]).max() > 25
        page.locator("#models button[value=moons]").click()
        until(page, "explorer.about.name === 'moons'")
        assert state(page)["layers"] == ["difference"]


# --- drawing ---------------------------------------------------------------------------------------------------------

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


# --- a table: a row is unmasked, cells are fixed, the others answer ---------------------------------------------------


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
