"""The explorer's server: recipes that a page asks for, classes, a known coordinate, and what is taken away."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
import tomllib
from base64 import b64decode
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import numpy as np
import pytest
from tests.conftest import numbers_of

import motes
from explorers import TOKEN, serving, wait_for
from motes.errors import MotesError, UsageError
from motes.evaluation.diagnosis import diagnose_model
from motes.evaluation.findings import PRIOR_NATS, prior_kl
from motes.explorer.answers import Answers
from motes.explorer.messages import Limits, Request
from motes.explorer.subjects import Shelf, Subject
from motes.explorer.training import Trainings
from motes.ranges import Checked, number

pytestmark = pytest.mark.usefixtures("own_kinds")
LIMITS = Limits(points=500, steps=16, cells=8)
SMALL = {"training.steps": 60, "training.batch": 64, "network.width": 16, "network.depth": 2, "data.rows": 400}


@pytest.fixture(scope="module")
def answers(small_model, labelled_model):
    return Answers(Shelf(Subject("small", small_model), Subject("labelled", labelled_model)), LIMITS)


def request(**options):
    return Request.of(json.dumps({"what": "plan", "number": 1, "seed": 0, "recipe": "default", **options}), ["plan"])


def look(**options):
    return Trainings(Limits()).preview(request(**{"shape": "moons", **options}))


# --- the recipe ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_a_page_shows_of_a_schedule_is_the_librarys():
    changes = {"schedule.kind": "knots", "schedule.alphas": [0.8, 0.3, 0.1], "schedule.sigmas": [0.5, 0.9, 1.0]}
    found = look(changes=changes)
    recipe = motes.load_recipe("default", changes)
    schedule, x = recipe.make_schedule(), motes.make_shape("moons", recipe.data.rows)
    t = found.arrays["t"]
    for name in ("alpha", "sigma", "log_snr"):
        np.testing.assert_allclose(found.arrays[name], getattr(schedule, name)(t), rtol=1e-6)
    assert found.header["prior"] == pytest.approx(prior_kl(x[:2_000], recipe))
    assert found.header["prior"] < PRIOR_NATS == found.header["allowed"]
    assert found.header["left"] == pytest.approx(0.01) and found.header["steps"] is None
    assert found.header["knots"] == {"alphas": [0.8, 0.3, 0.1], "sigmas": [0.5, 0.9, 1.0]}
    assert tomllib.loads(found.header["toml"])["schedule"]["alphas"] == [0.8, 0.3, 0.1]


@pytest.mark.slow
def test_betas_are_shown_of_a_schedule_of_steps():
    found = look(recipe="ddpm", changes={"schedule.steps": 20})
    expected = motes.load_recipe("ddpm", {"schedule.steps": 20}).make_schedule().betas
    assert found.header["steps"] == 20 and np.array_equal(found.arrays["betas"], expected)
    knots = found.header["knots"]
    assert len(knots["alphas"]) == 8 and knots["alphas"][-1] ** 2 == pytest.approx(np.prod(1 - expected), rel=1e-4)
    assert not look().arrays["betas"].size


@pytest.mark.slow
def test_findings_come_with_changes_that_mend_them():
    found = look(recipe="tutorial", changes={"training.steps": 2_000}).header["findings"]
    expected = motes.diagnose(motes.make_shape("moons", 10_000)[:2_000], "tutorial", changes={"training.steps": 2_000})
    assert [one["name"] for one in found] == [one.name for one in expected] and len(found) >= 2
    assert all(one["changes"] and not one["beyond"] for one in found)
    changes = {"training.steps": 2_000}
    for one in found:
        changes |= one["changes"]
    names = [one["name"] for one in look(recipe="tutorial", changes=changes).header["findings"]]
    assert "prior_mismatch" not in names and "ema_too_short" not in names


def test_a_recipe_that_is_beyond_the_limits_is_refused():
    """The tutorial takes 79,000 steps where nobody says otherwise."""
    with pytest.raises(UsageError, match=r"got training.steps = 79,000 of the recipe; expected at most 20,000"):
        look(recipe="tutorial")
    for name in ("default", "ddpm", "tutorial"):
        assert look(recipe=name, changes={"training.steps": 500}).header["recipe"]["training"]["steps"] == 500


WRONG = [
    {"recipe": "../default"}, {"recipe": "table"}, {"changes": []}, {"changes": {"text.sep": ";"}},
    {"changes": {"data.given": ["x"]}}, {"changes": {"data.encode": True}}, {"changes": {"table.steps": 5}},
    {"changes": {"columns.x": "integer"}}, {"changes": {"training.averages": 8}}, {"changes": {"about": "x"}},
    {"changes": {"training.steps": 20_001}}, {"changes": {"training.steps": True}},
    {"changes": {"schedule.kind": "linear", "schedule.steps": 1_001}},
    {"changes": {"grid.steps": 257}}, {"changes": {"schedule.alphas": [0.5] * 65}}, {"changes": {"grid.times": [[1]]}},
    {"changes": {"network.kind": "x" * 41}}, {"changes": {"training.ema": 1e300}}, {"changes": {"loss.kind": {}}},
    {"changes": {f"network.a{k}": 1 for k in range(61)}},
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=range(len(WRONG)))
def test_a_page_sets_what_it_may(wrong):
    with pytest.raises(UsageError, match="expected"):
        look(**{"changes": {}, **wrong})


@pytest.mark.slow
@pytest.mark.parametrize("averaged", [True, False])
def test_the_python_of_a_training_trains_the_same(averaged):
    changes = SMALL | {"data.label": "class", "times.kind": "uniform", "grid.steps": 4, "schedule.kind": "knots"}
    changes |= {"schedule.alphas": [0.8, 0.05], "schedule.sigmas": [0.6, 1.0]}
    asked = request(shape="moons", recipe="ddpm", seed=3, changes=changes)
    live = Trainings(Limits()).start(asked, lambda: None)
    try:
        live.advance(live.recipe.training.steps)
        wait_for(lambda: 60 in live.snapshots and not live.plays, 90)
        end = live.subject(60, averaged=averaged)
        same = eval(end.python, {"motes": motes})
        assert np.array_equal(same.sample(20, label=1), end.model.sample(20, label=1))
        assert not live.subject(0, averaged=averaged).python
    finally:
        live.close()


# --- classes, guidance, a known coordinate ---------------------------------------------------------------------------


@pytest.mark.slow
def test_a_class_is_what_the_library_draws_of_it(answers, labelled_model):
    how = {"sampler": "heun", "steps": 4}
    question = dict(what="chain", model="labelled", n=200, seed=5, **how)
    whole = answers.ask(**question).arrays["points"][-1]
    assert np.array_equal(whole, labelled_model.sample(200, seed=5, sampling=how))
    for label, guidance in [(0, 1.0), (1, 1.0), (1, 3.0)]:
        found = answers.ask(**question, label=label, guidance=guidance).arrays["points"][-1]
        own = how if guidance == 1 else how | {"guidance": guidance}
        assert found == pytest.approx(labelled_model.sample(200, seed=5, label=label, sampling=own), abs=1e-6)
    assert answers.ask(what="open", model="labelled").header["about"]["classes"] == ["0", "1"]
    assert answers.ask(what="open", model="small").header["about"]["classes"] == []


def test_layers_are_those_of_the_class(answers, labelled_model):
    subject = answers.shelf.subject("labelled").of_class(1, 1.0)
    question = dict(model="labelled", label=1, guidance=1.0)
    found = answers.ask(what="density", of="both", place=0, cells=4, **question).arrays
    u = np.stack(np.meshgrid(*found["at"]), axis=-1).reshape(-1, 2)
    exact = motes.truth("moons").of_class(1).log_density(u)
    assert found["exact"].ravel() == pytest.approx(exact, rel=1e-4, abs=1e-3)
    learned = labelled_model.score_samples(u, label=1)
    near = learned > -10
    assert near.sum() >= 4 and found["learned"].ravel()[near] == pytest.approx(learned[near], abs=0.05)
    x = subject.data(100, seed=1)
    assert len(x) == 100 and (motes.truth("moons").labels(x) == 1).mean() > 0.98
    weak, strong, guided = (
        answers.ask(what="score", model="labelled", of="learned", place=600, cells=4, **of).arrays["learned"]
        for of in ({}, {"label": 1, "guidance": 1.0}, {"label": 1, "guidance": 2.5})
    )
    assert guided == pytest.approx(weak + 2.5 * (strong - weak), abs=1e-4)


def test_guided_points_have_no_density(answers):
    question = dict(what="density", model="labelled", place=500, cells=4, label=1, guidance=2.0)
    with pytest.raises(UsageError, match="guided points have no known density"):
        answers.ask(**question, of="learned")
    assert np.isfinite(answers.ask(**question, of="exact").arrays["exact"]).all()
    probe = answers.ask(what="probe", model="labelled", place=500, at=[0.1, 0.2], label=1, guidance=2.0).header
    assert np.isnan(probe["learned"]["log_p"]) and np.isfinite(probe["exact"]["log_p"])


@pytest.mark.slow(but=["1-y"])
@pytest.mark.parametrize(("axis", "column"), [(0, "x"), (1, "y")])
def test_points_on_a_line_are_those_of_the_library(answers, labelled_model, axis, column):
    found = answers.ask(what="given", model="labelled", axis=axis, value=0.3, seed=4, label=1, guidance=1.0)
    points, _, effective = labelled_model.draw_points(600, given={column: 0.3}, seed=4, label=1)
    assert np.array_equal(found.arrays["points"], points) and found.header["effective"] == effective
    assert (points[:, axis] == 0.3).all() and found.header["column"] == column
    along, density = found.arrays["along"], found.arrays["density"]
    u = np.full((len(along), 2), 0.3)
    u[:, 1 - axis] = along
    joint = np.exp(motes.truth("moons").of_class(1).log_density(u))
    assert density == pytest.approx(joint / np.trapezoid(joint, along), rel=1e-3, abs=1e-4)


QUESTIONS = {
    "chain": dict(model="labelled", n=20, seed=0, sampler="euler", steps=2, label=1, guidance=2.0),
    "given": dict(model="small", axis=0, value=0.3, seed=4),
    "export": dict(model="small", seed=0),
}


@pytest.mark.parametrize(
    ("what", "wrong"),
    [
        *(("chain", {"label": label}) for label in (2, -1, "1")),
        *(("chain", {"guidance": guidance}) for guidance in (-1, 21, None)),
        *(("given", wrong) for wrong in ({"axis": 2}, {"value": 1e3}, {"value": "0"})),
        ("export", {"form": "../x"}),
    ],
)
def test_a_class_a_line_and_a_form_that_there_are_not_are_refused(answers, what, wrong):
    with pytest.raises(UsageError, match=r"^got .*; expected"):
        answers.ask(what=what, **QUESTIONS[what] | wrong)


# --- what is taken away ----------------------------------------------------------------------------------------------


def test_a_recipe_and_a_model_are_those_that_are_shown(answers, small_model, tmp_path):
    text = answers.ask(what="export", model="small", form="recipe", seed=0).header["text"]
    assert motes.recipes.parse(tomllib.loads(text)) == small_model.recipe
    found = answers.ask(what="export", model="small", form="model", seed=0).header["base64"]
    (tmp_path / "model.safetensors").write_bytes(b64decode(found))
    same = motes.load(tmp_path / "model.safetensors")
    assert np.array_equal(same.sample(20, seed=1), small_model.sample(20, seed=1))


def test_a_page_alone_shows_a_class(answers, labelled_model):
    html = answers.ask(what="export", model="labelled", form="page", seed=0, label=1, guidance=1.0).header["text"]
    assert html.count("</script>") == 2
    with pytest.raises(UsageError, match="'labelled' differs"):
        answers.ask(what="export", model="labelled", form="page", seed=0, label=1, guidance=2.0)


@pytest.mark.long  # dozens of samples of the same model
def test_the_diagnosis_of_a_model_is_that_of_the_library(answers, small_model):
    found = answers.ask(what="diagnose", model="small").header
    expected = diagnose_model(small_model, "moons", n=2_000)
    assert [one["name"] for one in found["findings"]] == [one.name for one in expected.findings]
    assert found["findings"]  # 60 steps teach next to nothing
    assert found["total"] == pytest.approx(expected.split.total)
    assert found["total"] > found["real"] > 0 and set(found["parts"]) == {"prior", "learning", "discretisation"}


# --- limits ----------------------------------------------------------------------------------------------------------


SECTIONS = ("schedule", "network", "denoiser", "loss", "times", "training", "sampler", "grid", "data")


EVERY = [(section, *one) for section in SECTIONS for one in numbers_of(section)]
NUMBERS = [pytest.param(*one, id=".".join(filter(None, one[:3]))) for one in EVERY]


def changes_of(section, kind, key, value):
    """Those of a page that sets one number, of a recipe that the kind goes with."""
    return ({f"{section}.kind": kind} if kind else {}) | {f"{section}.{key}": value}


@pytest.mark.parametrize(("section", "kind", "key", "types", "allowed"), NUMBERS)
def test_a_whole_number_of_a_million_is_refused_before_it_is_used(section, kind, key, types, allowed):
    assert allowed is not None  # as `test_registry` says, with two ends
    for value in (10**6, -(10**6), 1e300, 10**400, True):
        if float not in types or abs(value) > 1e6 or value is True:
            begin = time.process_time()
            with pytest.raises(MotesError, match="expected"):
                look(changes=changes_of(section, kind, key, value))
            assert time.process_time() - begin < 0.5


@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("section", "kind", "key", "types", "allowed"), NUMBERS)
def test_whatever_a_number_is_a_plan_is_there_in_seconds(section, kind, key, types, allowed):
    ends = {allowed.low, min(allowed.high, 1e6), 1.0, 64, 256, 1000, 2048, 20_000}
    for value in sorted(ends):
        begin = time.process_time()
        with suppress(MotesError):
            plain = float(value) if float in types else int(value)
            look(changes={"training.steps": 500} | changes_of(section, kind, key, plain))
        assert time.process_time() - begin < 20, value


@pytest.mark.parametrize(
    "changes",
    [
        {"training.snapshots": 65}, {"network.members": 64, "network.width": 128, "network.depth": 8},
        {"network.members": 65}, {"sampler.kind": "langevin", "sampler.corrections": 65}, {"network.scales": 65},
    ],
)  # fmt: skip
def test_work_without_end_is_refused(changes):
    with pytest.raises(UsageError, match=r"expected .*at most"):
        look(changes=SMALL | changes)


def test_a_number_of_a_kind_of_ones_own_without_bounds_cannot_be_set():
    @motes.register("loss", "open")
    @dataclass(frozen=True)
    class Open(Checked):
        power: float = number(2.0, 0)

        def __call__(self, denoiser, x0, t, eps):
            return 0.0

    assert look(changes={"loss.kind": "open"}).header["recipe"]["loss"]["power"] == 2
    with pytest.raises(UsageError, match=r"got loss\.power, a number without bounds"):
        look(changes={"loss.kind": "open", "loss.power": 3.0})


# --- the server ------------------------------------------------------------------------------------------------------


def test_a_page_is_answered_while_others_compute(small_model):
    answers = Answers(Shelf(Subject("small", small_model)), Limits(points=2_000_000, steps=256, sockets=5))
    heavy = dict(what="chain", model="small", n=2_000_000, steps=256, sampler="heun", number=1)
    with serving(answers) as client, ExitStack() as opened:
        pages = [opened.enter_context(client.socket()) for _ in range(4)]
        for seed, page in enumerate(pages):
            page.send(json.dumps(heavy | {"seed": seed}))
        with client.socket() as other:
            other.send(json.dumps({"what": "hello", "number": 2}))
            assert other.recv(timeout=60)
        for page in pages:
            with pytest.raises(TimeoutError):
                page.recv(timeout=0)  # it still computes


def test_a_request_that_does_not_arrive_is_given_up(small_model):
    answers = Answers(Shelf(Subject("small", small_model)), Limits(seconds=0.3))
    head = "GET / HTTP/1.1\r\nHost: localhost\r\n"
    body = f"POST /data?token={TOKEN} HTTP/1.1\r\nHost: localhost:%d\r\nOrigin: http://localhost:%d\r\n"
    with serving(answers) as client:
        for sent, first in [
            ("", b""),
            ("GET / HT", b""),
            (head, b""),
            (f"{body % (client.port, client.port)}Content-Length: 9\r\n\r\n1,2", b"HTTP/1.1 408"),
        ]:
            with socket.create_connection(("127.0.0.1", client.port), timeout=30) as page:
                page.sendall(sent.encode())
                got = b"".join(iter(lambda: page.recv(4096), b""))
                assert got.startswith(first) and bool(got) == bool(first), sent
        with pytest.raises(OSError, match=r"reset|pipe"):  # a byte now and then gives no more time
            drip(client.port, head * 20)
        assert client.get(f"/?token={TOKEN}")[0] == 200
        with client.socket() as page:  # a socket that is silent stays
            time.sleep(0.6)
            page.send(json.dumps({"what": "hello", "number": 1}))
            assert page.recv(timeout=30)


def drip(port, text):
    with socket.create_connection(("127.0.0.1", port), timeout=30) as page:
        for letter in text:
            page.sendall(letter.encode())
            time.sleep(0.05)


BROWSER = """#!/bin/sh
echo "$@" > {folder}/words
cp -p "$(echo "$1" | sed 's|^file://||')" {folder}/page
"""


@pytest.mark.slow
def test_the_command_line_of_the_browser_has_no_token(environment, tmp_path):
    browser = tmp_path / "browser.sh"
    browser.write_text(BROWSER.format(folder=tmp_path))
    browser.chmod(0o700)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with subprocess.Popen(
        [sys.executable, "-m", "motes", "explore", "moons"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=environment | {"BROWSER": f"{browser} %s", "TMPDIR": str(temporary)},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as server:  # fmt: skip
        try:
            address = server.stdout.readline().strip()
            for _ in range(600):
                if (page := tmp_path / "page").exists() and address in page.read_text():
                    break
                time.sleep(0.05)
            token = address.partition("token=")[2]
            assert token and token not in (tmp_path / "words").read_text() and token in page.read_text()
            assert stat.S_IMODE(page.stat().st_mode) == 0o600
            (folder,) = temporary.iterdir()
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            server.send_signal(signal.SIGINT)
            server.wait(20)
            assert not os.listdir(temporary)
        finally:
            server.kill()
