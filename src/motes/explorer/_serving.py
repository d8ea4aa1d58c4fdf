"""The server of the page, from its start to Ctrl-C."""

from __future__ import annotations

import asyncio
import secrets
import socket
import threading
from collections.abc import Callable
from json import dumps
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from motes.errors import UsageError
from motes.explorer._answers import Answers
from motes.explorer._application import application
from motes.explorer._frames import Answer
from motes.explorer._guard import is_everywhere
from motes.explorer._limits import Limits
from motes.explorer._requests import Request
from motes.explorer._subjects import PLACES, Shelf

GRACE = 1  # seconds that open pages have to end
CONNECTIONS = 128


def serve(
    shelf: Shelf,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    limits: Limits = Limits(),
    on_start: Callable[[str], None] = print,
) -> None:
    """Serve the explorer until Ctrl-C or SIGTERM.

    Args:
        shelf: the models to choose from.
        host: to listen at. Others than this machine reach any but a loopback address.
        port: to listen at; 0 takes a free one.
        limits: of the work of a visitor.
        on_start: called with the address, once the first picture is there and the server listens.

    Raises:
        UsageError: an address that cannot be listened at.

    Example:
        >>> from motes.explorer import Shelf, serve
        >>> serve(Shelf(), host="192.0.2.1")  # no address of this machine
        Traceback (most recent call last):
            ...
        motes.errors.UsageError: cannot listen at 192.0.2.1, port 0: ...
    """
    listening = _listen(host, port)
    with listening:
        answers = Answers(shelf, limits)
        token = secrets.token_urlsafe(24)
        app = application(shelf, token=token, host=host, limits=limits, answers=answers)
        first_picture(answers)
        name = "localhost" if host == "127.0.0.1" or is_everywhere(host) else f"[{host}]" if ":" in host else host
        address = f"http://{name}:{listening.getsockname()[1]}/?token={token}"

        def started() -> None:
            on_start(address)
            threading.Thread(target=first_layers, args=(answers,), daemon=True, name="explorer-first").start()

        _Server(configured(app, limits), started).run(sockets=[listening])


def configured(app: Starlette, limits: Limits) -> uvicorn.Config:
    """How the server treats who connects."""
    return uvicorn.Config(
        app,
        http=_impatient(limits.seconds),
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        ws="websockets-sansio",
        ws_max_size=limits.message,
        ws_max_queue=8,
        ws_per_message_deflate=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=GRACE,
    )


def _impatient(seconds: float) -> type[H11Protocol]:
    """The protocol of connections that are closed where a request has not arrived whole after so many seconds.

    uvicorn waits for ever for the first one, and for the rest of any.
    """

    class Impatient(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._wait()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._wait()

        def _wait(self) -> None:
            answering = self.cycle is not None and not self.cycle.response_complete
            if self._deadline is not None and answering:
                self._deadline.cancel()
                self._deadline = None
            elif self._deadline is None and not answering:
                self._deadline = self.loop.call_later(seconds, self._give_up)

        def _give_up(self) -> None:
            self._deadline = None
            # A request may have arrived meanwhile, and may have made a socket of the connection.
            if self.transport.get_protocol() is self and (self.cycle is None or self.cycle.response_complete):
                self.transport.close()

    return Impatient


class _Server(uvicorn.Server):
    """A server that says when it listens."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None]):
        super().__init__(config)
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if not self.should_exit:
            self._on_start()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
    except (OSError, OverflowError) as error:
        listening.close()
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot listen at {host}, port {port}: {why}. Choose another --host or --port.") from None
    return listening


FIRST_POINTS = 5_000  # of the page, before anything is chosen
FIRST_CELLS = 36  # of its densities


def first_picture(answers: Answers) -> None:
    """Compute what a page asks first, so that it is there when it is opened."""
    if answers.shelf.opens == "table":
        table = answers.shelf.tables[0]
        about = _ask(answers, what="table", table=table).header["about"]
        column, value = next((one["name"], one["values"][0]) for one in about["columns"])
        for row in ({}, {} if value is None else {column: value}):
            _ask(answers, what="row", table=table, row=row)
        return
    model = answers.shelf.names[0]
    about = _ask(answers, what="open", model=model).header["about"]
    how = {"sampler": about["sampler"], "steps": about["steps"]}
    _ask(answers, what="chain", model=model, n=FIRST_POINTS, seed=0, **how)


def first_layers(answers: Answers) -> None:
    """Compute a layer of each kind, so that their programs are compiled when a visitor wants one."""
    model = answers.shelf.names[0]
    if answers.shelf.subject(model).has_layers:
        for what in ("score", "density"):
            sides = "both" if answers.shelf.subject(model).oracle is not None else "learned"
            _ask(answers, what=what, model=model, of=sides, place=PLACES // 2, cells=FIRST_CELLS)


def _ask(answers: Answers, **options: Any) -> Answer:
    request = Request.of(dumps({"number": 0, **options}), answers.kinds)
    return answers.answer(request, lambda done: None)
