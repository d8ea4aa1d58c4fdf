"""The explorer's server: who may ask, what is computed, and that nothing asks for more than the limits."""

import itertools
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from copy import copy
from dataclasses import asdict, replace
from pathlib import Path
from urllib.parse import quote

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import uvicorn
from websockets.exceptions import ConnectionClosed

import motes
from explorers import TOKEN, parts, serving, wait_for
from fits import fit_points
from motes.cli import listing as exploring
from motes.data import SHAPES, read_frame
from motes.errors import DataError, MotesError, UsageError
from motes.explorer.answers import KINDS, Answers
from motes.explorer.messages import Answer, Limits, Request
from motes.explorer.server import is_loopback, serve
from motes.explorer.subjects import Shelf, Subject, open_subject, shipped
from motes.explorer.training import Trainings
from motes.points.exact import GaussianOracle, Later
from motes.points.likelihood import flow_path, log_likelihood, on_grid
from motes.points.networks import LogScales
from motes.progress import Progress

FILES = Path(motes.explorer.__file__).parent
PAGE = {file.name: file.read_bytes() for file in (FILES / "page").iterdir()}
PLACES = 1024  # of the clock, beside 0
FULL = 4001  # the code of a socket that is one too many
LIMITS = Limits(points=500, steps=16, cells=8, sockets=3, message=2_000)
HERE_TOO = ["localhost", "localhost:1", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST:80"]
FOREIGN = [
    "evil.example", "evil.example:8000", "localhost.evil.example", "localhost.evil.example:80", "127.0.0.1.evil.ex",
    "localhost@evil.example", "evil.example@localhost", "localhost:8000@evil.example", "0.0.0.0:8000", "192.168.0.1",
    "10.0.0.1", "169.254.169.254", "[::]:8000", "[fe80::1]:8000", "128.0.0.1:8000", "localhost.", "localhost:port",
    "localhost/evil", "localhost?x", "localhost#x", "127.1", "2130706433", "0x7f.1", "", ":8000", "[::1",
]  # fmt: skip


@pytest.fixture(scope="module")
def shelf(small_model):
    return Shelf(Subject("small", small_model))


@pytest.fixture(scope="module")
def answers(shelf):
    return Answers(shelf, LIMITS)


@pytest.fixture(scope="module")
def subject(answers):
    return answers.shelf.subject("small")


# --- who may ask -----------------------------------------------------------------------------------------------------


def elsewhere(model, source):
    """The same model, trained on a source of this name."""
    made = copy(model)
    made.source = source
    return made


def test_the_page_is_given_to_who_has_its_address(client):
    status, headers, body = client.get(f"/?token={TOKEN}")
    assert status == 200 and b"<title>" in body
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store" and "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize(
    "query", ["", "?token=", "?token=wrong", f"?token={TOKEN}x", f"?token={TOKEN}&token=x", "?Token=x"]
)
def test_without_the_token_there_is_no_page_and_no_socket(client, query):
    for name in ("", "index.html"):
        status, headers, body = client.get(f"/{name}{query}")
        assert status == 403 and b"motes explore" in body and TOKEN.encode() not in body
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert client.upgrade(query, {"origin": client.here}) == 403
    assert client.upgrade(headers={"origin": client.here}) == 101


def test_connections_without_a_request_do_not_shut_out_the_page(answers):
    with serving(answers) as client, ExitStack() as opened:
        for k in range(140):
            idle = opened.enter_context(socket.create_connection(("127.0.0.1", client.port)))
            idle.sendall(b"GET / HTTP/1.1\r\nHost: " * (k % 2))
        assert client.get(f"/?token={TOKEN}")[0] == 200


def test_two_starts_have_two_tokens(monkeypatch, shelf):
    seen = []
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: None)
    for _ in range(2):
        serve(shelf, on_start=seen.append)
    tokens = [address.partition("token=")[2] for address in seen]
    assert tokens[0] != tokens[1] and min(map(len, tokens)) >= 32
    assert all(address.startswith("http://localhost:") for address in seen)


def test_at_least_twenty_foreign_hosts_are_refused(client):
    assert len(FOREIGN) >= 20
    for host in FOREIGN:
        assert client.get(f"/?token={TOKEN}", {"host": host})[0] in (400, 421), host
        assert client.upgrade(headers={"host": host, "origin": f"http://{host}"}) in (400, 403, 421), host
    for host in HERE_TOO:
        assert client.get(f"/?token={TOKEN}", {"host": host})[0] == 200, host
    for several in (["localhost", "localhost"], []):
        assert client.get(f"/?token={TOKEN}", {"host": several})[0] == 400


@pytest.mark.parametrize(
    ("host", "statuses"),
    [
        ("192.0.2.7", {"192.0.2.7:8000": 200, "192.0.2.8:8000": 421}),
        ("0.0.0.0", {"192.0.2.7:8000": 200, "evil.example:8000": 421}),
        ("::", {"[2001:db8::1]:8000": 200, "evil.example:8000": 421}),
    ],
)
def test_a_server_for_others_is_known_by_its_address_and_by_no_name(answers, host, statuses):
    with serving(answers, host) as client:
        assert {name: client.get(f"/?token={TOKEN}", {"host": name})[0] for name in statuses} == statuses


ORIGINS = [
    [], "null", "", "http://evil.example", "https://localhost", "http://localhost", "http://localhost:1", "file://",
    "http://localhost.evil.example", "localhost",
]  # fmt: skip


@pytest.mark.parametrize("origin", ORIGINS)
def test_another_origin_is_refused(client, origin):
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
        for path in ("/", "/data"):
            assert client.request(method, f"{path}?token={TOKEN}", {"origin": origin})[0] == 403
    assert client.upgrade(headers={"origin": origin}) == 403


def test_the_origin_is_that_of_the_address(client):
    other = f"http://127.0.0.1:{client.port}"  # this server too, by another name than the Host header has
    assert client.upgrade(headers={"origin": other}) == 403
    assert client.upgrade(headers={"origin": f"{client.here}/"}) == 403
    assert client.upgrade(headers={"origin": [client.here, client.here]}) in (400, 403)
    assert client.upgrade(headers={"origin": other, "host": f"127.0.0.1:{client.port}"}) == 101
    assert client.request("POST", f"/?token={TOKEN}", {"origin": client.here})[0] == 405  # the page takes no POST


UPS = ["../", "..%2f", "%2e%2e/", "%2e%2e%2f", "..%5c", "..%252f", "..%c0%af", "....//", "..;/", "%2e%2e%5c", "%2e./"]
ELSEWHERE = ["etc/passwd", "server.py", "models/moons.safetensors", "__init__.py", "page/../server.py"]
STARTS = ["/", "//", "file:///", "page/", "page/../", "C:%5c", "%00", "index.html%00", "index.html/", "~/", "http://x/"]


def test_paths_that_lead_elsewhere_lead_nowhere(client):
    paths = [f"/{up * depth}{file}" for up, depth, file in itertools.product(UPS, (1, 3, 8), ELSEWHERE)]
    for path in paths + [f"/{start}{file}" for start, file in itertools.product(STARTS, ELSEWHERE[:2])]:
        status, _, body = client.get(f"{path}?token={TOKEN}")
        assert status in (400, 403, 404) and body not in PAGE.values(), path
        assert b"root:" not in body and b"class Guard" not in body, path


@pytest.mark.parametrize("name", ["../moons", "/etc/passwd", "models/moons.safetensors", "moons\x00", "moon", "."])
def test_a_name_of_a_model_is_never_a_path(answers, name):
    with pytest.raises(UsageError, match="expected one of"):
        answers.ask(what="open", model=name)
    for find in (answers.shelf.subject, answers.shelf.table):
        with pytest.raises(UsageError, match="unknown model"):
            find(name)


def test_a_long_address_is_refused(client):
    assert client.get(f"/?token={TOKEN}&x={'y' * LIMITS.address}")[0] == 414
    assert client.get(f"/{quote('é' * 2_000)}?token={TOKEN}")[0] == 414


def test_every_file_of_the_page_is_served_and_asks_nothing_of_another_machine(client):
    for name, content in PAGE.items():
        status, headers, body = client.get("/?token=" + TOKEN if name == "index.html" else f"/{name}")
        assert status == 200 and body == content and headers["x-content-type-options"] == "nosniff"
        text = content.decode().replace("http://www.w3.org/", "")
        for word in ("http://", "https://", "//cdn", "eval(", "new Function", "innerHTML", "document.write", " style="):
            assert word not in text, f"{name}: {word}"


# --- questions -------------------------------------------------------------------------------------------------------

WRONG = [
    "", "{", "[]", "null", "1", '"hello"', "{}", '{"what": 1}', '{"what": "nothing", "number": 1}', '{"what": "hello"}',
    '{"what": "hello", "number": -1}', '{"what": "hello", "number": 1.5}', '{"what": "hello", "number": true}',
    '{"what": "hello", "number": NaN}', '{"what": "hello", "number": 1, "panel": 99}', "[" * 900, '{"what": []}',
]  # fmt: skip


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_question_is_refused(text):
    with pytest.raises(UsageError, match=r"^got "):
        Request.of(text, KINDS)


OUT_OF_RANGE = [
    {"n": 0}, {"n": 501}, {"n": 1e3}, {"n": "9"}, {"n": True}, {"n": None}, {"steps": 0}, {"steps": 17}, {"seed": -1},
    {"seed": 2**32}, {"sampler": "nobody"}, {"sampler": ["heun"]}, {"model": {}}, {"model": "<script>"},
]  # fmt: skip


@pytest.mark.parametrize("wrong", OUT_OF_RANGE)
def test_more_than_the_limits_is_refused(answers, wrong):
    fine = {"what": "chain", "model": "small", "n": 20, "steps": 4, "seed": 0, "sampler": "euler"}
    assert answers.ask(**fine).arrays["points"].shape == (5, 20, 2)
    with pytest.raises(UsageError, match=r"^got .*; expected"):
        answers.ask(**fine | wrong)


@pytest.mark.parametrize("at", [None, [], [1], [1, 2, 3], ["1", 2], [1, 1e300], [True, 0], {"x": 1}])
def test_a_point_is_two_numbers(answers, at):
    with pytest.raises(UsageError, match=r"^got at = "):
        answers.ask(what="probe", model="small", place=500, at=at)


def test_a_frame_is_read_as_it_was_written():
    arrays = {"a": np.arange(6.0).reshape(2, 3), "none": np.empty((0, 2)), "one": np.array(7.5)}
    words = {"number": 3, "nothing": np.nan, "word": "é <script>", "many": [np.inf, np.int64(2)]}
    data = Answer(words, arrays).to_bytes()
    header, found = parts(data)
    assert header == {"number": 3, "nothing": None, "word": "é <script>", "many": [None, 2]}
    assert {name: array.tolist() for name, array in found.items()} == {k: v.tolist() for k, v in arrays.items()}
    assert int.from_bytes(data[:4], "little") % 4 == 0  # so that the page reads float32 in place


# --- the numbers are the library's -----------------------------------------------------------------------------------


def test_the_end_of_a_chain_is_what_the_library_draws(answers, small_model):
    how = {"sampler": "heun", "steps": 6}
    found = answers.ask(what="chain", model="small", n=300, seed=5, **how)
    assert np.array_equal(found.arrays["points"][-1], small_model.sample(300, seed=5, sampling=how))
    assert found.header == {"evaluations": 2, "stochastic": False, "steps": 6}
    assert found.arrays["clock"][0] == pytest.approx(PLACES) and found.arrays["clock"][-1] == 0
    assert (np.diff(found.arrays["clock"]) < 0).all()


def test_samplers_of_one_seed_start_from_the_same_noise(answers):
    chains = [
        answers.ask(what="chain", model="small", n=50, seed=2, sampler=one, steps=4) for one in ("euler", "ancestral")
    ]
    first, second = (one.arrays["points"] for one in chains)
    assert np.array_equal(first[0], second[0]) and not np.array_equal(first[-1], second[-1])


def test_real_points_are_mixed_with_noise_as_the_process_says(answers, subject, small_model):
    found = answers.ask(what="cloud", model="small", n=400, seed=4).arrays
    assert np.array_equal(found["points"], motes.truth("moons").sample(400, seed=4))
    t, alpha, sigma = (part[300] for part in subject.clock)
    z = small_model.standardiser.forward(found["points"])
    eps = found["noise"] / small_model.standardiser.scale
    mixed = np.asarray(motes.points.q_sample(small_model.denoiser.schedule, z, t, eps))
    mean, zoom = small_model.standardiser.mean, np.hypot(alpha, sigma)
    page = mean + alpha / zoom * (found["points"] - mean) + sigma / zoom * found["noise"]  # as the page does it
    assert page == pytest.approx(subject.shown(mixed[None], np.array([t]))[0], abs=1e-5)


def test_the_distance_is_that_of_the_library(answers, subject, small_model):
    how = {"sampler": "euler", "steps": 4}
    found = answers.ask(what="distance", model="small", n=200, seed=1, **how)
    real, _ = subject.origin.real(2_000)
    units = small_model.standardiser
    expected = motes.sliced_w2(
        units.forward(small_model.sample(200, seed=1, sampling=how)), units.forward(real)[:200], directions=64
    )
    assert found.arrays["distance"][-1] == pytest.approx(float(expected), abs=1e-5)
    assert found.header["compared"] == 200 and (found.arrays["reference"] > 0).all()


@pytest.mark.slow
def test_scores_and_densities_are_those_of_the_library(answers, subject, small_model):
    denoiser, units = small_model.denoiser, small_model.standardiser
    for at in ([0.1, 0.2], [1.0, -0.4], [-0.8, 0.9]):
        found = answers.ask(what="probe", model="small", place=600, at=at).header
        z = jnp.asarray(subject.standardised(np.array([at]), found["t"])[0])
        x0, score = np.asarray(denoiser(z, found["t"])), np.asarray(denoiser.score(z, found["t"]))
        assert found["learned"]["x0"] == pytest.approx(units.inverse(x0[None])[0], abs=1e-5)
        expected = score * float(subject.zoom(found["t"])) / units.scale
        assert found["learned"]["score"] == pytest.approx(expected, rel=1e-4, abs=1e-5)
    found = answers.ask(what="density", model="small", of="both", place=0, cells=4).arrays
    u = np.stack(np.meshgrid(*found["at"]), axis=-1).reshape(-1, 2)
    assert found["exact"].ravel() == pytest.approx(motes.truth("moons").log_density(u), rel=1e-4, abs=1e-3)
    learned = small_model.score_samples(u)
    near = learned > -10
    assert near.sum() >= 4 and found["learned"].ravel()[near] == pytest.approx(learned[near], abs=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("place", [300, 600, 900])
def test_the_likelihood_at_a_later_time_is_exact_for_an_exact_denoiser(answers, subject, place):
    """The flow of the oracle from t on against its own log q_t."""
    u = np.array([[0.1, 0.2], [1.0, -0.4], [-0.5, 0.8]])
    found = [answers.ask(what="probe", model="small", place=place, at=at).header for at in u.tolist()]
    units, t = subject.model.standardiser, found[0]["t"]
    flow = log_likelihood(Later.of(subject.oracle, t), units.forward(u), r_min=0.01).log_prob + units.log_det(u)
    assert flow == pytest.approx([one["exact"]["log_p"] for one in found], abs=0.02)


def test_the_density_of_another_moment_needs_no_other_program(answers):
    """Or each place of the clock would wait for a compiler."""
    question = dict(what="probe", model="small", at=[0.1, 0.2])
    answers.ask(**question, place=500)
    count = on_grid._cached._cache_size()
    for place in (400, 600, 900):
        answers.ask(**question, place=place)
    assert on_grid._cached._cache_size() == count


@pytest.mark.parametrize("quantity", ["score", "velocity"])
def test_vectors_are_those_of_the_denoiser(answers, subject, quantity):
    found = answers.ask(what="score", model="small", of="both", place=500, cells=6, quantity=quantity)
    t = found.header["t"]
    x, y = (part.ravel() for part in np.meshgrid(*found.arrays["at"]))
    z = subject.standardised(np.stack([x, y], axis=1), t)
    schedule, scale = subject.denoiser.schedule, subject.model.standardiser.scale
    zoom = np.hypot(float(schedule.alpha(t)), float(schedule.sigma(t)))
    for side, denoiser in (("learned", subject.denoiser), ("exact", subject.oracle)):
        of = denoiser.eps if quantity == "score" else denoiser.v
        rows = np.asarray(jax.jit(jax.vmap(of, (0, None)))(jnp.asarray(z, jnp.float32), t))
        expected = -rows if quantity == "score" else -rows / zoom
        assert found.arrays[side] == pytest.approx(expected * scale, abs=1e-4)


def test_the_velocity_is_how_what_is_drawn_moves(answers, subject):
    t, alpha, sigma = (part[[500, 499]] for part in subject.clock)
    angle = np.arctan2(sigma, alpha)
    found = answers.ask(what="score", model="small", of="exact", place=500, cells=6, quantity="velocity").arrays
    rows = [14, 21]  # near the middle of the picture
    u = np.stack([part.ravel() for part in np.meshgrid(*found["at"])], axis=1)[rows]
    z = subject.standardised(u, t[0])
    moved = np.stack([np.asarray(flow_path(subject.oracle, jnp.asarray(row, float), jnp.asarray(t)))[1] for row in z])
    speed = (subject.shown(moved[None], t[1:])[0] - u) / (angle[0] - angle[1])
    assert found["exact"][rows] == pytest.approx(speed, rel=0.03, abs=0.01)


def test_the_clock_runs_from_data_to_noise(answers, subject):
    about = answers.ask(what="open", model="small")
    t, alpha, sigma = (about.arrays[name] for name in ("t", "alpha", "sigma"))
    assert t[0] == 0 and t[-1] == 1 and (np.diff(t) > 0).all() and len(t) == PLACES + 1
    assert (np.diff(sigma / alpha) > 0).all()
    assert subject.places(t) == pytest.approx(np.arange(PLACES + 1), abs=0.01)


def test_nothing_is_compared_where_the_rows_are_not_here(small_model):
    lost = Subject("lost", elsewhere(small_model, "rows-that-were.csv"))
    answers = Answers(Shelf(lost), LIMITS)
    assert answers.ask(what="open", model="lost").header["about"]["data"] is False
    for what in ("cloud", "distance"):
        with pytest.raises(UsageError, match="are not available"):
            answers.ask(what=what, model="lost", n=20, seed=0, sampler="euler", steps=4)
    with pytest.raises(UsageError, match="no exact distribution"):
        answers.ask(what="score", model="lost", of="exact", place=500, cells=4)


# --- a socket --------------------------------------------------------------------------------------------------------


def talk(page, **options):
    page.send(json.dumps({"number": 1, **options}))
    return parts(page.recv(timeout=30))


def test_a_page_asks_and_is_answered(client):
    with client.socket() as page:
        header, _ = talk(page, what="hello")
        assert header["models"][0] == "small" and header["limits"] == asdict(LIMITS) and header["number"] == 1
        assert {one["name"] for one in header["samplers"]} == set(motes.points.samplers.SAMPLERS)
        header, arrays = talk(page, what="chain", model="small", n=10, seed=0, sampler="euler", steps=4)
        assert arrays["points"].shape == (5, 10, 2) and arrays["points"].dtype == np.float32
        assert (
            "expected" in talk(page, what="chain", model="small", n=10, seed=0, sampler="euler", steps=1e9)[0]["error"]
        )
        page.send("no question")
        assert "JSON" in parts(page.recv(timeout=30))[0]["error"]


@pytest.mark.parametrize("message", ["x" * (LIMITS.message + 1), "x" * 1_000_000, b"\x00\xff"])
def test_a_message_that_is_too_long_or_no_text_ends_the_conversation(client, message):
    with client.socket() as page:
        page.send(message)
        with pytest.raises(ConnectionClosed) as ended:
            page.recv(timeout=30)
    assert ended.value.rcvd.code == 1009


def test_one_page_too_many_is_told_so(client):
    with ExitStack() as open_pages:
        for _ in range(LIMITS.sockets):
            talk(open_pages.enter_context(client.socket()), what="hello")
        with client.socket() as late, pytest.raises(ConnectionClosed) as ended:
            late.recv(timeout=30)
        assert ended.value.rcvd.code == FULL and "maximum" in ended.value.rcvd.reason

    def is_free():
        try:
            with client.socket() as again:
                return talk(again, what="hello")[0]["number"] == 1
        except ConnectionClosed:
            return False

    wait_for(is_free)  # the server learns of it a moment later


class Slow(Answers):
    """Answers that last until they are let go, and that count."""

    def __init__(self, shelf):
        super().__init__(shelf, LIMITS)
        self.begun, self.ended, self.go = [], [], threading.Event()

    def answer(self, request):
        self.begun.append(request.number)
        try:
            while not self.go.wait(0.005):
                request.on_progress(Progress(0))
        finally:
            self.ended.append(request.number)
        return Answer({})


def test_a_newer_question_takes_the_place_of_one_that_waits(shelf):
    slow = Slow(shelf)
    with serving(slow) as client, client.socket() as page:
        for number in range(50):
            page.send(json.dumps({"what": "hello", "number": number}))
        wait_for(lambda: 49 in slow.begun)
        slow.go.set()
        assert parts(page.recv(timeout=30))[0]["number"] == 49
        assert slow.begun == sorted(slow.begun)


def test_questions_of_other_slots_wait_for_their_turn(shelf):
    slow = Slow(shelf)
    slow.go.set()
    with serving(slow) as client, client.socket() as page:
        for panel in range(3):
            page.send(json.dumps({"what": "chain", "panel": panel, "number": panel}))
        assert [parts(page.recv(timeout=30))[0]["number"] for _ in range(3)] == [0, 1, 2]


def test_closing_the_page_ends_its_work(shelf):
    slow = Slow(shelf)
    with serving(slow) as client:
        with client.socket() as page:
            page.send(json.dumps({"what": "hello", "number": 7}))
            wait_for(lambda: slow.begun == [7])
            assert not slow.ended
        wait_for(lambda: slow.ended == [7])


DISTANCE = dict(what="distance", model="small", n=200, sampler="euler", steps=4)


def test_the_same_question_of_many_pages_is_computed_once(shelf):
    answers = Answers(shelf, LIMITS)
    first = answers.ask(**DISTANCE, seed=9)
    with ThreadPoolExecutor(4) as pool:
        assert all(found is first for found in pool.map(lambda _: answers.ask(**DISTANCE, seed=9), range(8)))
    assert answers.ask(**DISTANCE, seed=8) is not first


def test_what_is_kept_is_bounded(shelf):
    answers = Answers(shelf, replace(LIMITS, kept=10_000))
    first, last = (answers.ask(**DISTANCE, seed=seed) for seed in (0, 1))
    assert answers.ask(**DISTANCE, seed=1) is last and answers.ask(**DISTANCE, seed=0) is not first


# --- models ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_models_that_ship_are_small_and_good():
    assert {"moons", "swiss_roll"} <= set(shipped(SHAPES))
    assert (FILES / "models" / "penguins.safetensors").stat().st_size <= 300_000
    penguins = motes.dataset("penguins")
    species = Shelf().table("penguins").model.predict(penguins, "species")["label"]
    assert (species == penguins["species"]).mean() > 0.95
    for name in shipped(SHAPES):
        path = FILES / "models" / f"{name}.safetensors"
        assert path.stat().st_size < 150_000
        subject = Shelf().subject(name)
        assert subject.oracle is not None and subject.model.source == name
        x, real = subject.model.sample(2_000, seed=3), subject.data(2_000, 11)
        assert motes.sliced_w2(x, real) < 0.15, name


def test_a_subject_is_a_shape_a_folder_or_a_file(tmp_path, small_model):
    trains = []
    assert open_subject("moons", trains.append).name == "moons" and not trains
    assert open_subject("rings", lambda shape: small_model).name == "rings"
    (tmp_path / "my run").mkdir()
    path = tmp_path / "my run" / "model.safetensors"
    small_model.save(path)
    assert open_subject(str(path), trains.append).name == open_subject(str(path.parent), trains.append).name == "my run"
    with pytest.raises(motes.errors.NoModelError):
        open_subject(str(tmp_path / "nowhere"), trains.append)


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_opens_what_is_asked_for(motes_command, monkeypatch):
    seen = []
    monkeypatch.setattr(exploring, "_leave", lambda code: None)
    monkeypatch.setattr(exploring, "_open_browser", lambda address, folder: seen.append(address))

    def served(shelf, *, host, port, on_start):
        on_start(f"http://{host}:{port}/?token=x {shelf.names[0]}")

    assert [is_loopback(one) for one in ("localhost", "127.0.0.1", "::1", "192.0.2.7", "my-machine")] == [1, 1, 1, 0, 0]
    monkeypatch.setattr("motes.explorer.server.serve", served)
    assert motes_command("explore", "moons")[:2] == (0, "http://127.0.0.1:0/?token=x moons\n") and len(seen) == 1
    code, out, err = motes_command("explore", "--host", "0.0.0.0", "--port", "81", "--no-browser")
    assert code == 0 and out == "http://0.0.0.0:81/?token=x swiss_roll\n" and "warning: --host 0.0.0.0" in err
    assert len(seen) == 1
    assert motes_command("explore", "--port", "70000")[0] == 2
    assert motes_command("explore", "nowhere/at-all")[0] == 2


def test_a_name_that_is_unknown_has_a_nearest_one(motes_command):
    """As `motes train` has it."""
    for wrong, near in [("monos", "moons"), ("peguins", "penguins")]:
        code, out, err = motes_command("explore", wrong)
        assert code == 2 and not out and f"Did you mean '{near}'?" in err and "model.safetensors" in err
        assert (
            f"unknown shape or data set '{wrong}'" in err
            and f"Did you mean '{near}'?" in motes_command("train", wrong)[2]
        )
    code, _, err = motes_command("explore", "iris")
    assert code == 2 and "motes train iris" in err and "motes explore runs/iris" in err


def test_without_a_server_installed_the_command_says_what_to_install(motes_command, monkeypatch):
    monkeypatch.delitem(sys.modules, "motes.explorer.server")
    monkeypatch.setitem(sys.modules, "uvicorn", None)  # as if it were not there
    code, out, err = motes_command("explore", "moons", "--no-browser")
    assert (
        code == 2
        and not out
        and "the explorer needs uvicorn" in err
        and "pip install starlette uvicorn websockets" in err
    )


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_within_two_seconds(environment, number):
    def wakeful():
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(
        [sys.executable, "-m", "motes", "explore", "moons", "--no-browser"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, preexec_fn=wakeful,
    ) as server:  # fmt: skip
        try:
            address = server.stdout.readline().strip()
            assert address.startswith("http://localhost:"), server.stderr.read()
            begin = time.monotonic()
            server.send_signal(number)
            server.wait(20)
            assert time.monotonic() - begin <= 2
            assert server.returncode == (0 if number == signal.SIGINT else 143)
        finally:
            server.kill()


# --- particles -------------------------------------------------------------------------------------------------------


def test_a_particle_goes_to_data_and_to_noise_as_the_flow_does(answers, small_model):
    subject, place = answers.shelf.subject("small"), 700
    said, found = answers.ask(what="paths", model="small", of="both", place=place, at=[0.3, 0.4], many=5, seed=1)
    clock = found["clock"]
    assert (np.diff(clock) > 0).all() and clock[0] == 0 and clock[-1] == PLACES
    legs = len(clock) // 2
    for side, denoiser in (("learned", small_model.denoiser), ("exact", subject.oracle)):
        middle = found[side][legs]
        assert middle == pytest.approx([0.3, 0.4], abs=1e-5)  # where it was dropped
        t = float(subject.clock[0][place])
        start = jnp.asarray(subject.standardised(np.array([[0.3, 0.4]]), t)[0])
        fine = flow_path(denoiser, start, jnp.linspace(t, 0.0, 400))[-1]
        assert found[side][0] == pytest.approx(small_model.standardiser.inverse(fine), abs=0.03)
    assert found["futures"].shape == (5, legs + 1, 2)
    assert found["futures"][:, 0] == pytest.approx(np.tile([0.3, 0.4], (5, 1)), abs=1e-5)
    assert np.ptp(found["futures"][:, -1], axis=0).max() > 0.05  # they end in different places
    rows, units = subject.origin.training.x, small_model.standardiser
    away = np.linalg.norm(units.forward(rows) - units.forward(found["learned"][:1]), axis=1)
    assert said["nearest"] == {
        "at": rows[away.argmin()].tolist(), "distance": pytest.approx(away.min(), abs=1e-5), "rows": len(rows)
    }  # fmt: skip


# --- training --------------------------------------------------------------------------------------------------------

CHANGES = {
    "training.steps": 60, "training.batch": 64, "network.width": 16, "network.depth": 2, "data.rows": 400,
}  # fmt: skip
WHOLE = {"training.steps": 20_000}  # of trainings that end before: one program for all of them
RUN = dict(what="train", do="start", number=5, seed=3, recipe="default", changes=CHANGES, shape="moons")
DRAWING = [[float(np.cos(angle)), float(np.sin(angle))] for angle in np.linspace(0, 5, 60)]


def started(changes=(), trainings=None, **asked):
    request = Request.of(json.dumps(RUN | {"changes": CHANGES | dict(changes)} | asked), ["train"])
    return (trainings or Trainings(Limits())).start(request, lambda: None)


def test_a_training_on_the_page_is_that_of_fit():
    """However it is paced: the same losses and the same weights to the bit."""
    with closing(started()) as live:
        live.advance(1)
        wait_for(lambda: live.done == 1 and not live.plays)
        live.advance(7)
        wait_for(lambda: live.done == 8 and not live.plays)
        live.advance(live.recipe.training.steps)
        wait_for(lambda: live.done == 60 and 60 in live.snapshots and not live.plays, 60)
        about, losses = live.news(0)
        assert about["step"] == about["steps"] == 60 and not about["error"] and about["snapshots"][:2] == [0, 1]
        model = fit_points(live.origin.training, live.recipe, seed=3)
        assert np.array_equal(losses, model.training.losses)
        end = live.subject(60, averaged=True).model
        assert np.array_equal(end.sample(50), model.sample(50))
        assert about["floor"] == pytest.approx(0.6, abs=0.5) and about["floor"] < losses.mean()
    live._thread.join(10)
    assert not live._thread.is_alive()


@pytest.mark.slow
def test_a_training_is_paused_and_goes_on():
    with closing(started(WHOLE)) as live:
        live.advance(live.recipe.training.steps, pace=100)
        wait_for(lambda: live.done > 20, 60)
        live.advance(0)
        time.sleep(0.3)
        still = live.done
        time.sleep(0.3)
        assert live.done == still and not live.plays
        live.advance(live.recipe.training.steps)
        wait_for(lambda: live.done > still)
    live._thread.join(10)
    assert not live._thread.is_alive() and live.done < 20_000


@pytest.mark.slow
def test_snapshots_are_few_and_evenly_spread():
    with closing(started(WHOLE)) as live:
        for _ in range(100):
            done = live.done
            live.advance(2)
            wait_for(lambda done=done: live.done == done + 2 and live.done in live.snapshots, 60)
        steps = sorted(live.snapshots)
        assert len(steps) <= 48 and steps[0] == 0 and steps[-1] == live.done == 200
        assert max(np.diff(steps)) <= 16


def drawn(points, noise=0.1, rows=300, **asked):
    """What a training on a drawing learns from."""
    live = started({"data.noise": noise, "data.rows": rows}, shape=None, sketch=points, seed=2, **asked)
    live.close()
    return live.origin


def test_what_is_drawn_by_hand_has_an_exact_distribution():
    sketch = drawn(DRAWING)
    assert sketch.training.x.shape == (300, 2)
    away = np.linalg.norm(sketch.training.x[:, None] - np.array(DRAWING), axis=2).min(axis=1)
    assert away.max() < 0.6 and np.array_equal(sketch.draw(5, 1), sketch.draw(5, 1))
    first, second = sketch.real(20)
    assert not np.array_equal(first, second)
    assert sketch.truth.log_density([[1.0, 0.0]]) > sketch.truth.log_density([[0.0, 0.0]])
    for few in ([], DRAWING[:7], [[0.0, 0.0]] * 20, [[x, 0.0] for x in range(20)]):
        with pytest.raises(UsageError, match="span the plane"):
            drawn(few)


def test_colours_of_a_drawing_are_classes():
    colours = [3 * (k >= 30) for k in range(len(DRAWING))]
    sketch = drawn(DRAWING, 0.05, 400, colours=colours)
    assert sorted(set(sketch.training.labels)) == [0, 1]
    nearest = np.linalg.norm(sketch.training.x[:, None] - np.array(DRAWING), axis=2).argmin(axis=1)
    assert (sketch.training.labels == (nearest >= 30)).mean() > 0.95
    assert np.array_equal(sketch.training.x, sketch.truth.sample(400, seed=2))
    uneven = drawn(DRAWING, 0.05, 4_000, colours=[int(k < 2) for k in range(len(DRAWING))])
    assert uneven.training.labels.mean() == pytest.approx(0.5, abs=0.03)  # as many of either
    assert drawn(DRAWING, 0.05, 40, colours=[1] * len(DRAWING)).training.labels is None


WRONG_RUNS = [
    {"training.steps": 0}, {"training.steps": 20_001}, {"network.width": 129}, {"network.depth": 0},
    {"data.rows": 100_001}, {"training.batch": 1e9}, {"training.batch": 1.5}, {"training.learning_rate": 0},
    {"training.learning_rate": "1"}, {"data.noise": -1},
]  # fmt: skip
WRONG_ROWS = [
    {"shape": "../moons"}, {"shape": None}, {"sketch": [[1, 2, 3]]}, {"sketch": DRAWING},
    *({"sketch": DRAWING, "colours": wrong} for wrong in ([0], [4] * 60, [True] * 60, ["0"] * 60)),
    {"sketch": [[0.0, float(k)] for k in range(1_501)]},
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG_RUNS)
def test_a_training_has_limits_and_a_recipe_that_can_be_followed(wrong):
    with pytest.raises(MotesError, match="expected"):
        started(wrong)


@pytest.mark.parametrize("wrong", WRONG_ROWS)
def test_a_training_has_rows(wrong):
    """A drawing needs a noise, for it has none of its own."""
    with pytest.raises(UsageError, match=r"^got .*; expected"):
        started(**wrong)


def answer_to(page, number):
    """The answer of that number."""
    while (found := parts(page.recv(timeout=60)))[0]["number"] != number:
        pass
    return found


def news_of(page, **until):
    """The next news in which something has a value."""
    while True:
        header, arrays = parts(page.recv(timeout=60))
        if header.get("what") == "news" and all(header[name] == value for name, value in until.items()):
            return header, arrays


def test_a_page_trains_and_draws_from_what_is_learned(client):
    with client.socket() as page:
        assert "Start one first" in talk(page, what="train", do="play")[0]["error"]
        page.send(json.dumps(RUN))
        header, _ = news_of(page, step=0)
        assert header["snapshots"] == [0] and header["steps"] == 60
        page.send(json.dumps({"what": "train", "do": "play", "number": 6}))
        header, _ = news_of(page, step=60, plays=False)
        question = dict(what="chain", model="training", n=20, steps=4, seed=0, sampler="euler", weights="averaged")
        page.send(json.dumps(question | {"number": 8, "snapshot": 60}))
        found = answer_to(page, 8)
        assert found[1]["points"].shape == (5, 20, 2)
        page.send(json.dumps(question | {"number": 9, "snapshot": 31}))
        found = answer_to(page, 9)
        assert "expected one of 0, " in found[0]["error"]
    wait_for(lambda: not any(one.name.startswith("explorer-training") for one in threading.enumerate()))


def test_closing_the_page_ends_its_training(client):
    with client.socket() as page:
        page.send(json.dumps(RUN | {"changes": CHANGES | WHOLE}))
        news_of(page, step=0)
        page.send(json.dumps({"what": "train", "do": "play", "number": 6, "pace": 100}))  # 200 seconds, if left alone
        news_of(page, plays=True)
        assert any(one.name.startswith("explorer-training") for one in threading.enumerate())
    wait_for(lambda: not any(one.name.startswith("explorer-training") for one in threading.enumerate()), 30)


# --- the page without a server ---------------------------------------------------------------------------------------


def page_alone(name, model):
    shelf = Shelf(Subject(name, model))
    return Answers(shelf, LIMITS).ask(what="export", model=name, form="page", seed=0).header["text"]


def test_the_page_alone_is_small_and_whole_and_no_name_breaks_out_of_it(answers, small_model):
    html = answers.ask(what="export", model="moons", form="page", seed=0).header["text"]
    assert len(html.encode()) < 300_000 and "{{" not in html and html.count("</script>") == 2
    assert not any(word in html for word in ("http://", "https://", "src=", "import "))
    html = page_alone("</script><script>alert(1)</script>{{ model }}", small_model)
    assert html.count("<script") == 2 and html.count("</script>") == 2
    assert "alert(1)" in html  # it is there, as text


def test_another_network_has_no_page_alone(small_model):
    oracle = GaussianOracle(np.zeros(2), np.eye(2), small_model.denoiser.schedule)
    scales = LogScales(1, 2, key=jax.random.key(0))
    scaled = eqx.tree_at(
        lambda one: one.network.scales, small_model.denoiser, scales, is_leaf=lambda part: part is None
    )
    for other in (oracle, scaled):
        with pytest.raises(UsageError, match="'other' differs"):
            page_alone("other", small_model.with_denoiser(other))


@pytest.mark.slow
def test_the_python_that_the_page_says_gives_the_same_model():
    known = eval(Shelf().subject("moons").python, {"motes": motes})
    assert np.array_equal(known.sample(20), Shelf().subject("moons").model.sample(20))


def test_trainings_are_few():
    trainings = Trainings(Limits(trainings=2))
    with closing(started(trainings=trainings)) as first, closing(started(trainings=trainings)):
        with pytest.raises(UsageError, match="the maximum"):
            started(trainings=trainings)
        first.close()
        started(trainings=trainings).close()


# --- files -----------------------------------------------------------------------------------------------------------

POINTS_CSV = "x,y,name\n" + "".join(f"{k * 0.1},{(k * 7) % 13},row{k}\n" for k in range(60))


def post(client, body, **headers):
    given = {"origin": client.here} | headers
    status, _, answer = client.request("POST", f"/data?token={TOKEN}", given, body)
    return status, json.loads(answer)


def test_a_file_is_read_as_columns_of_numbers_and_trained_on(client):
    status, found = post(client, POINTS_CSV.encode())
    assert status == 200 and found["columns"] == ["x", "y"] and found["rows"] == 60
    with client.socket() as page:
        run = {name: value for name, value in RUN.items() if name != "shape"}
        page.send(json.dumps(run | {"upload": found["upload"], "first": 1, "second": 0}))
        news_of(page, step=0)
        question = {"what": "open", "number": 4, "model": "training", "snapshot": 0, "weights": "last"}
        page.send(json.dumps(question))
        answer = answer_to(page, 4)
        about = answer[0]["about"]
        assert about["columns"] == ["y", "x"] and about["data"] and not about["exact"] and not about["python"]
        for wrong in ({"first": 0, "second": 0}, {"first": 0, "second": 2}, {"upload": "nothing"}, {"upload": 5}):
            page.send(json.dumps(run | {"upload": found["upload"], "first": 1, "second": 0, "number": 9} | wrong))
            answer = answer_to(page, 9)
            assert answer[0]["error"].startswith(("got ", "the file is no longer in memory"))


BAD_FILES = {
    "": "is empty", "x,y\n": "has no rows", "1,2\n": "1 rows; expected 2 to", "a,b\nc,d\ne,f\n": "0 columns",
    "x,y\n1,z\n2,3\n": "1 columns", "1,2\n3\n": "line 2 of 'the file' has 1 cell; expected 2",
    ",".join("1" * 21): "21 columns", "1,nan\n2,inf\n": "[01] columns", "x,x\n1,2\n3,4\n": "two columns named 'x'",
    "x,y\n1,2\n" + "3,4\n" * 100_000: "100,001 rows; expected 2 to 100,000", '"' + "x" * 200_000: "not a row of cells",
}  # fmt: skip


@pytest.mark.parametrize("text", BAD_FILES, ids=range(len(BAD_FILES)))
def test_a_file_that_cannot_be_used_is_told_so(text):
    with pytest.raises(DataError, match=BAD_FILES[text]):
        Trainings(Limits()).upload(text.encode())


def test_a_file_in_memory_is_read_as_one_on_a_disk(tmp_path):
    """Its decimal commas, its names, its codes, which are no numbers, and its dates, which are none either."""
    text = "a;b;code;day\n1,5;2,5;0123;2020-01-02\n3,25;4;0045;2020-01-03\n5;6,5;0001;2020-01-04\n"
    path = tmp_path / "a.csv"
    path.write_text(text)
    _, found = Trainings(Limits()).upload(text.encode())
    with pytest.warns(UserWarning, match="read as"):
        frame = read_frame(path, motes.data.TextOptions(sep=";"))
    assert found.columns == ("a", "b") and found.x.tolist() == [[1.5, 2.5], [3.25, 4.0], [5.0, 6.5]]
    assert all(np.array_equal(frame.columns[name].values, found.x[:, k]) for k, name in enumerate(("a", "b")))
    assert Trainings(Limits()).upload(b"1;2\n3;4\n")[1].columns == ("x", "y")


def test_what_is_read_otherwise_than_it_is_written_is_said_to_the_page_and_not_in_the_terminal(client, recwarn):
    text = "# by hand, in 2026\na;<script>;<i>day</i>\n1,5;2,5;2020-01-02\n3,25;4;2020-01-03\n5;6,5;2020-01-04\n"
    status, found = post(client, text.encode())
    assert status == 200 and found["columns"] == ["a", "<script>"] and not recwarn.list
    assert "'the file', column 'a': read as numbers with the decimal sign ','." in found["notes"]
    assert found["notes"][-1] == "Omitted columns, which do not contain only numbers: <i>day</i>."
    assert post(client, b"1,2\n3,4\n")[1]["notes"] == []


def test_a_file_that_is_too_large_is_not_read(shelf):
    answers = Answers(shelf, Limits(upload=1_000))
    with serving(answers) as client:
        for bad in (b"\xff\xfe\x00\x01", b"cos\nsystem\n(S'echo hello'\ntR."):  # no text, and a pickle
            assert post(client, bad)[0] == 422
        assert post(client, b"1,2\n" * 200)[0] == 200
        status, found = post(client, b"1,2\n" * 100_000)
        assert status == 413 and "1,000 bytes" in found["error"]


# --- other models ----------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_model_whose_schedule_and_network_know_steps_is_shown():
    small = {"training.steps": 2, "network.width": 8, "network.depth": 1}
    model = motes.fit("moons", "tutorial", changes=small, verbose=False)
    answers = Answers(Shelf(Subject("own", model)), Limits())
    about = answers.ask(what="open", model="own").header["about"]
    assert about["steps"] == 100 and about["sampler"] == "ancestral"
    for steps in (100, 4):
        found = answers.ask(what="chain", model="own", n=20, steps=steps, seed=0, sampler="ddim").arrays
        assert np.isfinite(found["points"]).all() and len(found["stops"]) == min(steps + 1, 65)
    for what, more in {
        "score": {"of": "both", "cells": 4},
        "density": {"of": "both", "cells": 4},
        "paths": {"of": "learned", "at": [0.1, 0.2], "many": 2, "seed": 0},
        "probe": {"at": [0.1, 0.2]},
    }.items():
        for place in (0, 600):
            answer = answers.ask(what=what, model="own", place=place, **more)
            assert all(np.isfinite(array).all() for array in answer.arrays.values()), (what, place)


@pytest.mark.slow
def test_of_a_model_of_more_columns_two_are_drawn():
    x = np.random.default_rng(0).standard_normal((60, 3))
    model = motes.fit(x, "default", changes={"training.steps": 2, "network.width": 8}, verbose=False)
    answers = Answers(Shelf(Subject("own", model)), Limits())
    about = answers.ask(what="open", model="own").header["about"]
    assert about["columns"] == ["x0", "x1"] and not about["layers"]
    points = answers.ask(what="chain", model="own", n=20, steps=4, seed=0, sampler="euler").arrays["points"]
    assert np.array_equal(points[-1], model.sample(20, sampling={"sampler": "euler", "steps": 4})[:, :2])
    with pytest.raises(UsageError, match="need a model with two"):
        answers.ask(what="score", model="own", of="learned", place=500, cells=4)
