"""The labs' pages in a real browser: small, whole, quick, for the keyboard; and their numbers are the library's."""

import subprocess
import sys
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import motes
from browsers import IN_CHROMIUM, picture, serious, until, watched
from motes.points import (
    DDIM,
    EmpiricalOracle,
    Heun,
    KarrasGrid,
    LinearBetas,
    RectifiedFlow,
    Simple,
    VarianceExploding,
    q_posterior,
    q_sample,
)
from motes.points.samplers import DPMSolver2M, Euler
from motes.points.schedules import CosineVP

ROOT = Path(__file__).parents[1]
LABS = range(1, 13)
LARGEST = 300_000  # bytes of a page
SHIPPED = ROOT / "src" / "motes" / "explorer" / "models" / "moons.safetensors"
BETAS = LinearBetas(steps=20, start=0.01, end=0.35)  # of labs 2 and 3
pytestmark = [IN_CHROMIUM, pytest.mark.slow]


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The folder of the built pages."""
    folder = tmp_path_factory.mktemp("pages")
    subprocess.run([sys.executable, ROOT / "scripts" / "lab_pages.py", folder], check=True)
    return folder


@pytest.fixture
def lab(chromium, pages):
    """`with lab(NUMBER, ...) as page`: an open page of a lab, drawn, which complains of nothing."""

    @contextmanager
    def open_lab(number, **options):
        address = f"file://{pages}/lab{number:02}.html"
        with watched(chromium, address, **options) as page:
            page.goto(address)
            until(page, "Boolean(document.documentElement.dataset.drawn)")
            yield page

    return open_lab


@pytest.fixture(scope="module")
def moons():
    """The model of the moons that ships with motes."""
    return motes.load(SHIPPED)


def change(page, **values):
    """Set controls, and return what the page computed."""
    for name, value in values.items():
        page.evaluate("([name, value]) => { document.getElementById(name).value = value; }", [name, value])
    drawn = page.evaluate("document.documentElement.dataset.drawn")
    page.evaluate("() => { document.dispatchEvent(new Event('input')); }")
    until(page, f"document.documentElement.dataset.drawn !== '{drawn}'")
    return page.evaluate("JSON.parse(JSON.stringify(lab))")


def points(found):
    """Points that JavaScript gave as a list or as a typed array, (n, 2)."""
    return np.reshape(list(found.values()) if isinstance(found, dict) else found, (-1, 2))


# --- every page ---------------------------------------------------------------------------------------


def test_the_pages_are_small_and_whole(pages):
    for number in LABS:
        text = (pages / f"lab{number:02}.html").read_text(encoding="utf-8")
        assert len(text.encode()) <= LARGEST and "{{" not in text and text.count("</script>") == 2
        assert not any(word in text for word in ("http://", "https://", "src=", "import ", "export "))


@pytest.mark.parametrize("number", LABS)
def test_a_page_fits_the_screen_answers_the_keyboard_and_axe_finds_nothing_serious(lab, number):
    for width, height, theme in ((390, 844, "dark"), (1280, 800, "light")):
        with lab(number, width=width, height=height, color_scheme=theme, reduced_motion="reduce") as page:
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert serious(page) == []
            small = (
                "[...document.querySelectorAll('button')].filter((one) => one.offsetParent && one.offsetHeight < 36)"
            )
            assert page.evaluate(f"{small}.length") == 0
            assert page.evaluate("document.querySelectorAll('canvas:not([aria-label])').length") == 0
    with lab(number) as page:
        controls = "[...document.querySelectorAll('a, button, input, select')].filter((one) => one.offsetParent)"
        reached = set()
        for _ in range(page.evaluate(f"{controls}.length")):
            page.keyboard.press("Tab")
            reached.add(page.evaluate(f"{controls}.indexOf(document.activeElement)"))
        assert reached == set(range(len(reached)))
        before, words = picture(page, "main"), page.locator("#reading").inner_text()
        first = page.locator("#next" if number == 11 else "input[type=range]:visible, .handle:visible").first
        first.focus()
        page.keyboard.press("Enter" if number == 11 else "ArrowRight")
        page.wait_for_timeout(300)
        assert page.locator("#reading").inner_text() != words or (picture(page, "main") != before).any()
        took = [page.evaluate(REDRAWN) for _ in range(3)]
        assert min(took) < 1000  # ms from a change to the next picture


@pytest.mark.parametrize("number", LABS)
def test_within_a_lab_a_page_is_low_and_its_controls_are_next_to_the_picture(lab, number):
    with lab(number, width=936, height=640) as page:
        page.evaluate("document.documentElement.classList.add('framed')")
        assert page.evaluate("document.documentElement.offsetHeight") <= 700
        if number == 11:  # its cells are the controls
            assert page.locator(".cell").evaluate_all("(all) => new Set(all.map((one) => one.offsetTop)).size") == 1
        else:
            picture = page.locator(".pictures .frame").bounding_box()
            control = page.locator(".controls input[type=range]:visible").first.bounding_box()
            assert control["x"] > picture["x"] + picture["width"]
            assert control["y"] < picture["y"] + picture["height"]


def test_the_names_of_points_are_whole_on_a_phone(lab):
    with lab(12, width=390, height=844) as page:
        picture = page.locator(".pictures .frame").bounding_box()
        for name in page.locator(".handle span").all():
            box = name.bounding_box()
            assert picture["x"] <= box["x"] and box["x"] + box["width"] <= picture["x"] + picture["width"]


REDRAWN = """() => new Promise((done) => {
  const begin = performance.now();
  new MutationObserver(() => done(performance.now() - begin)).observe(document.documentElement, { attributes: true });
  document.dispatchEvent(new Event("input"));
})"""


def test_a_point_is_dragged_and_moved_with_arrow_keys(lab):
    with lab(2) as page:
        handle, words = page.locator(".handle").first, page.locator("#reading").inner_text()
        box = handle.bounding_box()
        page.mouse.move(box["x"] + 22, box["y"] + 22)
        page.mouse.down()
        page.mouse.move(box["x"] + 82, box["y"] + 52, steps=3)
        page.mouse.up()
        until(page, f"document.getElementById('reading').textContent !== {words!r}")
        at = page.evaluate("lab.x0")
        handle.focus()
        page.keyboard.press("ArrowUp")
        until(page, f"lab.x0[1] !== {at[1]}")
        assert page.evaluate("lab.x0") == pytest.approx([at[0], at[1] + 6 / 50])
        assert f"{at[0]:.2f}" in handle.get_attribute("aria-label")


def test_play_moves_the_time_and_pauses(lab):
    with lab(1) as page:
        button = page.locator("[data-play]")
        button.click()
        until(page, "lab.t > 0.2")
        button.click()
        until(page, "document.querySelector('[data-play]').textContent === 'Play'")
        page.wait_for_timeout(200)  # the last picture
        still = page.evaluate("lab.t")
        page.wait_for_timeout(200)
        assert page.evaluate("lab.t") == still < 1


# --- the numbers ---------------------------------------------------------------------------------------


def test_lab_1_has_the_schedules(lab):
    schedules = {"cosine": CosineVP(), "linear": LinearBetas().schedule(), "flow": RectifiedFlow()}
    with lab(1) as page:
        for name, schedule in schedules.items():
            found = change(page, schedule=name, t=0.37)
            assert found["alpha"] == pytest.approx(float(schedule.alpha(0.37)), rel=1e-5)
            assert found["sigma"] == pytest.approx(float(schedule.sigma(0.37)), rel=1e-5)
            x0, eps = jnp.array(found["x0"]), jnp.array(found["eps"])
            assert found["now"] == pytest.approx(q_sample(schedule, x0, 0.37, eps).tolist(), rel=1e-5)


def test_lab_2_has_the_posterior_and_the_simulation_agrees(lab):
    with lab(2) as page:
        for k in (2, 9, 20):
            found = change(page, k=k)
            exact = q_posterior(BETAS.schedule(), jnp.array(found["now"]), jnp.array(found["x0"]), k / 20, (k - 1) / 20)
            assert found["mean"] == pytest.approx(exact.mean.tolist(), abs=1e-5)
            assert found["sd"] ** 2 == pytest.approx(float(exact.variance), rel=1e-4)
            if k > 2:  # there x_k is far from what x_0 becomes
                assert found["found"] == pytest.approx(found["mean"], abs=0.1)
                assert found["spread"] == pytest.approx(found["sd"], rel=0.1)


def test_lab_3_has_the_terms_of_the_bound_and_of_the_simple_loss(lab):
    schedule = BETAS.schedule()
    with lab(3) as page:
        for k in (2, 5, 20):
            found = change(page, k=k)
            x0, guess, x_k = (jnp.array(found[name]) for name in ("x0", "guess", "xk"))
            right, wrong = (q_posterior(schedule, x_k, one, k / 20, (k - 1) / 20) for one in (x0, guess))
            kl = float(jnp.sum((right.mean - wrong.mean) ** 2) / (2 * right.variance))
            assert found["bound"] == pytest.approx(kl, rel=1e-3)
            always = EmpiricalOracle([guess], schedule)  # predicts it, whatever x_t is
            simple = Simple()(always, x0, k / 20, jnp.array(found["eps"]))["eps"]  # the mean of two columns
            assert found["simple"] == pytest.approx(2 * float(simple), rel=1e-3)


def test_lab_4_nears_the_theoretical_minimum(lab):
    with lab(4) as page:
        early, late = (change(page, shot=shot) for shot in (2, 11))
        least = page.evaluate("JSON.parse(document.getElementById('data').textContent).least")
        assert late["loss"] == pytest.approx(least, rel=0.02) and early["loss"] > 1.05 * least
        assert late["away"] < 0.15 < early["away"]


def test_lab_5_takes_the_steps_of_ddim(lab):
    with lab(5) as page:
        found = change(page, noise="none", steps=4, signal=5)
        schedule, n = CosineVP(alpha_1=found["signal"]), found["n"]
        oracle, x = motes.truth("moons").oracle(schedule), jnp.array(points(found["start"])[:8])
        for k in range(n, 0, -1):
            step = lambda one, k=k: DDIM().step(oracle, one, jnp.array(k / n), jnp.array((k - 1) / n), (), None)[0]
            x = jax.vmap(step)(x)
        assert points(found["samples"])[:8] == pytest.approx(np.asarray(x), abs=2e-3)
        away = {name: value for name, value, _ in found["parts"]}
        assert away["this chain"] > away["two real samples"]


def test_lab_6_has_the_four_predictions(lab, moons):
    schedule = CosineVP(alpha_1=0.0995)
    oracle = motes.truth("moons").oracle(schedule, moons.standardiser)
    with lab(6) as page:
        for t in (0.2, 0.7):
            found = change(page, t=t)
            x = jnp.array(found["x"])
            exact = {"x0": oracle(x, t), "eps": oracle.eps(x, t), "score": oracle.score(x, t), "v": oracle.v(x, t)}
            for name, value in exact.items():
                assert found["exact"][name] == pytest.approx(value.tolist(), rel=1e-3, abs=1e-3)
            own = moons.denoiser.schedule
            ratio = schedule.sigma(t) / schedule.alpha(t)
            learned = moons.denoiser(x / schedule.alpha(t), own.t_of_log_snr(-2 * jnp.log(ratio)))
            assert found["learned"]["x0"] == pytest.approx(learned.tolist(), abs=1e-3)


@pytest.mark.parametrize(("name", "sampler"), [("euler", Euler()), ("heun", Heun()), ("dpm", DPMSolver2M())])
def test_lab_7_takes_the_steps_of_the_samplers(lab, moons, name, sampler):
    schedule = VarianceExploding(sigma_max=10.0)
    oracle = motes.truth("moons").oracle(schedule, moons.standardiser)
    with lab(7) as page:
        found = change(page, sampler=name, steps=6)
        grid = KarrasGrid(steps=found["n"] + 1, sigma_min=0.02)(schedule)
        assert found["levels"] == pytest.approx(schedule.sigma(grid).tolist(), rel=1e-4)
        x = jnp.array(found["y"])
        state = sampler.init(x, grid)
        for t, s in pairwise(grid):
            x, state = sampler.step(oracle, x, t, s, state, None)
        assert found["end"] == pytest.approx(x.tolist(), abs=2e-3)
        errors = found["errors"]
        order = np.log2(errors[name][-3] / errors[name][-1])  # from 32 to 64 steps
        assert order == pytest.approx(sampler.order, abs=0.35)


def test_lab_8_has_the_likelihood(lab, moons):
    with lab(8) as page:
        found = change(page, place=20)
        x = moons.standardiser.inverse(np.array([found["x"]]))
        in_units = -float(np.log(moons.standardiser.scale).sum())
        assert found["formula"] + in_units == pytest.approx(motes.truth("moons").log_density(x)[0], abs=0.01)
        assert found["exact"]["log"] == pytest.approx(found["formula"], abs=0.02)
        assert found["learned"]["log"] + in_units == pytest.approx(moons.score_samples(x)[0], abs=0.05)


def test_lab_9_has_the_conditional_and_particles_come_nearer_than_replacement(lab):
    along = 0.25 + 1.35 * np.arange(12) / 11
    angle = 2 * np.pi * np.arange(3)[:, None] / 3 + 0.9 + 0.8 * along
    atoms = np.stack([along * np.cos(angle), along * np.sin(angle)], axis=-1).reshape(-1, 2)
    oracle = EmpiricalOracle(atoms, VarianceExploding(), spread=[0.2, 0.2])
    y = np.linspace(-2.4, 2.4, 400)
    with lab(9) as page:
        away = {}
        for how in ("replace", "particles"):
            found = change(page, mode="known", how=how)
            density = np.exp(oracle.rows(np.stack([np.full(400, found["x"]), y], axis=1), 0.0).log_prob)
            assert found["above"] == pytest.approx(density[y > 0].sum() / density.sum(), abs=0.01)
            draws = points(found["found"])[:, 1]
            quantiles = np.interp(np.linspace(0.02, 0.98, 49), np.cumsum(density) / density.sum(), y)
            away[how] = np.abs(np.quantile(draws, np.linspace(0.02, 0.98, 49)) - quantiles).mean()
        assert away["particles"] < away["replace"]


def test_lab_10_has_the_velocity_and_reflowed_pairs_end_on_the_data(lab, moons):
    oracle = motes.truth("moons").oracle(RectifiedFlow(alpha_1=1e-6), moons.standardiser)
    with lab(10) as page:
        away = {steps: change(page, mode="flow", steps=steps)["away"] for steps in (0, 3, 6)}
        assert away[0] > 2 * away[3] > 2 * away[6] * 1.2
        assert change(page, mode="reflow")["away"] == pytest.approx(away[6])
        found = page.evaluate("lab.velocity([0.4, -0.7, -1.1, 1.3], 0.6).join(' ')")
        exact = jax.vmap(lambda x: oracle.velocity(x, 0.6))(jnp.array([[0.4, -0.7], [-1.1, 1.3]]))
        assert np.array(found.split(), float) == pytest.approx(np.asarray(exact).ravel(), abs=1e-3)


def test_lab_11_sums_the_same_in_any_order(lab):
    penguins = motes.dataset("penguins").dropna()
    sums = []
    with lab(11) as page:
        for names in (("Chinstrap", "Dream", "female"), ("female", "Dream", "Chinstrap")):
            page.locator("#clear").click()
            for name in names:
                page.locator(".cell button", has=page.get_by_text(name, exact=True)).click()
            until(page, "lab.known.length === 3")
            sums.append(page.evaluate("lab.sums"))
    chosen = (penguins.species == "Chinstrap") & (penguins.island == "Dream") & (penguins.sex == "female")
    assert [one[0] for one in sums] == pytest.approx([np.log(chosen.mean())] * 2)
    assert [one[1] for one in sums] == pytest.approx([np.log(chosen.mean())] * 2, abs=0.25)  # learned


def test_lab_12_has_the_exact_posterior_and_the_network_comes_near(lab):
    side = (np.arange(400) + 0.5) / 200 - 1
    x, y = np.meshgrid(side, side)
    with lab(12) as page:
        for d in ((0.9, 0.75), (0.55, 0.8), (1.2, 1.3)):
            found = change(page, d0=d[0], d1=d[1])
            away = [np.hypot(x - beacon, y + 0.4) for beacon in (-0.5, 0.5)]
            p = np.exp(-sum((one - value) ** 2 for one, value in zip(away, d, strict=True)) / (2 * 0.08**2))
            assert found["exact"]["x"] == pytest.approx((p * x).sum() / p.sum(), abs=0.01)
            assert found["exact"]["above"] == pytest.approx(p[y > -0.4].sum() / p.sum(), abs=0.01)
            assert found["learned"]["above"] == pytest.approx(found["exact"]["above"], abs=0.08)
            assert found["learned"]["sd"] == pytest.approx(found["exact"]["sd"], rel=0.25)
