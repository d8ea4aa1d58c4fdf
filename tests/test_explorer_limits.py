"""What one page of the explorer asks for is bounded, and keeps no other page waiting."""

import dataclasses
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import pytest

import motes
from explorers import TOKEN, serving
from motes.errors import MotesError, UsageError
from motes.explorer.answers import Answers
from motes.explorer.messages import Limits
from motes.explorer.subjects import Shelf, Subject
from motes.ranges import Checked, number
from motes.recipes import kinds_of
from motes.training.recipe import keys_of, members_of
from test_explorer_plan import SMALL, look

pytestmark = pytest.mark.usefixtures("own_kinds")


SECTIONS = ("schedule", "network", "denoiser", "loss", "times", "training", "sampler", "grid", "data")


def numbers():
    """(section, kind, key, types, range) of every number that a page may set."""
    for section in SECTIONS:
        classes = kinds_of(section)
        for kind, cls in classes.items():
            for field in dataclasses.fields(cls):
                if kinds := {int, float} & set(members_of(keys_of(cls).get(field.name))):
                    yield section, kind, field.name, kinds, field.metadata.get("range")


NUMBERS = [pytest.param(*one, id=".".join(filter(None, one[:3]))) for one in numbers()]


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
        {"training.snapshots": 10**6},
        {"training.snapshots": 65},
        {"network.members": 64, "network.width": 128, "network.depth": 8},
        {"network.members": 65},
        {"sampler.kind": "langevin", "sampler.corrections": 65},
        {"network.scales": 65},
    ],
)
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
