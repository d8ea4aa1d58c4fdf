"""The server: access control, the files of the page, the socket that answers it, and startup and shutdown.

The files are read once, at startup; a request is looked up among them by its whole path. So no path from outside is
ever opened.

A request waits in a slot, and a newer one in the same slot replaces it. So a page that asks faster than it is answered,
or reads slowly, needs no memory, and a few threads answer all pages. When a page is closed, its requests end.
"""

import asyncio
import ipaddress
import logging
import secrets
import socket
from collections import OrderedDict
from collections.abc import Callable, Collection
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from importlib import resources
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from uvicorn.protocols.http.h11_impl import H11Protocol

from motes.errors import MotesError, UsageError
from motes.explorer.answers import KINDS, Answers
from motes.explorer.live import Live
from motes.explorer.messages import Answer, Limits, Request
from motes.explorer.subjects import Shelf
from motes.explorer.training import Trainings

SLOTS = 32  # maximum waiting requests of one page
TRAIN, PLAN, NEWS = "train", "plan", "news"
SLOWEST = 20.0  # seconds for which a page may leave an answer unread
INDEX = "index.html"
READERS = 2  # threads for uploaded files, in addition to one per page
FULL = 4001  # close code if too many pages are open
CONNECTIONS = 128
FIRST_POINTS = 5_000  # points of the first picture

log = logging.getLogger("motes.explorer")


# --- access control ---------------------------------------------------------------------------------------------------
#
# A page of another site may send requests to a server on this machine. Three checks refuse them. The Host header must
# be a name of this machine, so that DNS rebinding fails. The Origin of any request other than GET and HEAD must be
# this page. And the address must contain a token that is new at each start.

LOOPBACK = ("localhost", "127.0.0.1", "::1")

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",  # the token is in the address
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}

NO_TOKEN = (
    "This address lacks the token of the running server. Open the address that `motes explore` printed; each start has "
    "a new one.\n"
)


class Guard:
    """Middleware that passes on the requests of this page and refuses all others before they are read.

    Args:
        app: the application.
        host: host at which the server listens.
        token: token of this start.
        limits: limit of the length of an address.
        open_to_all: paths that need no token: files that are the same in every installation.
    """

    def __init__(self, app: ASGIApp, *, host: str, token: str, limits: Limits, open_to_all: Collection[str]):
        self.app, self.host, self.token, self.limits, self.open_to_all = app, host, token, limits, open_to_all

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refusal = self.refusal(scope)
        answer: ASGIApp = self.app if refusal is None else PlainTextResponse(refusal[1], refusal[0])
        await answer(scope, receive, _with_headers(send))

    def refusal(self, scope: Scope) -> tuple[int, str] | None:
        """Return status and message if a request is refused; None if it is accepted."""
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1:
            return 400, "Expected one Host header.\n"
        if not accepted(hosts[0], self.host):
            return 421, "The Host header names no address of this server. Open it as http://localhost:PORT.\n"
        if len(scope.get("raw_path", b"")) + len(scope["query_string"]) > self.limits.address:
            return 414, f"The address is longer than {self.limits.address:,} bytes.\n"
        reads = scope["type"] == "http" and scope["method"] in ("GET", "HEAD")
        if not reads and origins != [f"http://{hosts[0]}"]:
            return 403, "The Origin header does not match this page.\n"
        if scope["path"] not in self.open_to_all and not self._knows_token(scope["query_string"]):
            return 403, NO_TOKEN
        return None

    def _knows_token(self, query: bytes) -> bool:
        found = parse_qs(query.decode("latin-1")).get("token", [])
        return len(found) == 1 and secrets.compare_digest(found[0].encode(), self.token.encode())


def accepted(header: str, host: str) -> bool:
    """Return whether a Host header names a server that listens at `host`.

    The port may differ, as with a tunnel. A server that listens everywhere (0.0.0.0, ::) accepts only numeric
    addresses, since a foreign name could be pointed at any of them.
    """
    try:
        parts = urlsplit(f"//{header}")
        name = (parts.hostname or "").lower()
        _ = parts.port  # raises if it is invalid
    except ValueError:
        return False
    if parts.netloc != header or "@" in header:  # more than a name and a port
        return False
    if name in LOOPBACK or name == host.lower():
        return bool(name)
    return is_everywhere(host) and _is_number(name)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a server that listens at `host`.

    Example:
        >>> from motes.explorer.server import is_loopback
        >>> is_loopback("127.0.0.1"), is_loopback("0.0.0.0")
        (True, False)
    """
    return host == "localhost" or (_is_number(host) and ipaddress.ip_address(host).is_loopback)


def is_everywhere(host: str) -> bool:
    """Return whether `host` stands for all addresses of this machine."""
    return _is_number(host) and ipaddress.ip_address(host).is_unspecified


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"].endswith("response.start"):  # of a page, or of a refused socket
            MutableHeaders(scope=message).update(HEADERS)
        await send(message)

    return sending


# --- the connection to a page -------------------------------------------------------------------------------------


class Abandoned(BaseException):
    """The page no longer needs this answer. Not an `Exception`, so that it is not reported as a bug."""


class Visit:
    """The connection to one page.

    Args:
        socket: an accepted socket.
        answers: computes the answers.
        threads: threads in which they are computed.
        trainings: the trainings of all pages.
    """

    def __init__(self, socket: WebSocket, answers: Answers, threads: Executor, trainings: Trainings):
        self.socket, self.answers, self.threads, self.trainings = socket, answers, threads, trainings
        self._loop = asyncio.get_running_loop()
        self._waiting: OrderedDict[str, Request] = OrderedDict()
        self._asked, self._gone = asyncio.Event(), False
        self._live: Live | None = None
        self._told = 0

    async def run(self) -> None:
        """Serve the page until it is closed."""
        answering = asyncio.create_task(self._answer())
        try:
            with suppress(WebSocketDisconnect):
                await self._listen()
        finally:
            self._gone = True
            self._waiting.clear()
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)
            self._close()

    async def _listen(self) -> None:
        while True:
            message = await self.socket.receive()
            if message["type"] == "websocket.disconnect":
                return
            text = message.get("text")
            if text is None or len(text) > self.answers.limits.message:
                await self.socket.close(1009)
                return
            try:
                request = Request.of(text, [*KINDS, TRAIN, PLAN])
            except MotesError as error:
                await self._send(Answer({"number": 0, "error": str(error)}))
                continue
            self._waiting.pop(request.slot, None)
            if len(self._waiting) < SLOTS:
                self._waiting[request.slot] = request
            self._asked.set()

    async def _answer(self) -> None:
        while True:
            await self._asked.wait()
            if not self._waiting:
                self._asked.clear()
                continue
            slot, request = self._waiting.popitem(last=False)
            if slot == NEWS:
                await self._send(self._news())
                continue
            with suppress(Abandoned):
                await self._send(await self._loop.run_in_executor(self.threads, self._compute, request))

    async def _send(self, answer: Answer) -> None:
        try:
            await asyncio.wait_for(self.socket.send_bytes(answer.to_bytes()), SLOWEST)
        except TimeoutError:
            await self.socket.close(1008)

    def _compute(self, request: Request) -> Answer:
        """Answer a request, in a thread."""

        def stop_if_abandoned(now: object = None) -> None:
            if self._gone or request.slot in self._waiting:
                raise Abandoned

        stop_if_abandoned()
        try:
            if request.what == TRAIN:
                found = self._train(request)
            elif request.what == PLAN:
                found = self.trainings.preview(request)
            else:
                found = self.answers.answer(replace(request, live=self._live, on_progress=stop_if_abandoned))
        except MotesError as error:
            found = Answer({"error": str(error)})
        except Exception:
            log.exception("a request could not be answered")
            found = Answer({"error": "This is a bug; the terminal shows details."})
        return Answer({"number": request.number, "what": request.what, **found.header}, found.arrays)

    # --- training ---

    def _train(self, request: Request) -> Answer:
        """Start or control the training, in a thread."""
        if request.options.get("do") == "start":
            self._close()
            self._live, self._told = self.trainings.start(request, self._on_news), 0
            if self._gone:  # meanwhile
                self._close()
        elif self._live is None:
            raise UsageError("there is no training to control. Start one first.")
        else:
            self._live.control(request)
        return Answer({"run": self._live and self._live.number})

    def _close(self) -> None:
        if self._live is not None:
            self._live.close()
            self._live = None

    def _on_news(self) -> None:
        """Wake the event loop, called in the training's thread."""

        def tell() -> None:
            self._waiting[NEWS] = Request(NEWS, 0, NEWS, {})
            self._waiting.move_to_end(NEWS, last=False)
            self._asked.set()

        if not self._gone:
            with suppress(RuntimeError):  # the server has ended
                self._loop.call_soon_threadsafe(tell)

    def _news(self) -> Answer:
        """Return the state of the training, and the losses since the last message."""
        if self._live is None:
            return Answer({"number": 0, "what": NEWS, "step": 0, "run": None})
        about, losses = self._live.news(self._told)
        self._told = about["step"]
        return Answer({"number": 0, "what": NEWS, **about}, {"losses": losses})


TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def application(answers: Answers, *, token: str, host: str = "127.0.0.1") -> Starlette:
    """Build the explorer as an ASGI application for your own server; `serve` starts one.

    Args:
        answers: computes the answers to the pages.
        token: token that the address must contain.
        host: host at which the server listens.

    Example:
        >>> from motes.explorer.answers import Answers
        >>> from motes.explorer.messages import Limits
        >>> from motes.explorer.server import application
        >>> from motes.explorer.subjects import Shelf
        >>> app = application(Answers(Shelf(), Limits()), token="secret")
        >>> [route.path for route in app.routes][-1]
        '/socket'
    """
    limits = answers.limits
    folder = resources.files("motes") / "explorer" / "page"
    files = {file.name: file.read_bytes() for file in folder.iterdir() if Path(file.name).suffix in TYPES}
    # One thread per page, which has one request at a time, so that pages do not wait for each other.
    threads = ThreadPoolExecutor(limits.sockets + READERS, thread_name_prefix="explorer")
    visits: set[Visit] = set()
    trainings = Trainings(limits)

    async def page(request: HttpRequest) -> Response:
        name = request.path_params.get("name", INDEX)
        if name not in files:
            raise HTTPException(404)
        return Response(files[name], media_type=TYPES[Path(name).suffix])

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        if len(visits) >= limits.sockets:
            await websocket.close(FULL, f"{limits.sockets} pages are open, the maximum. Close another one.")
            return
        visit = Visit(websocket, answers, threads, trainings)
        visits.add(visit)
        try:
            await visit.run()
        finally:
            visits.discard(visit)

    async def upload(request: HttpRequest) -> Response:
        data = bytearray()
        try:
            async with asyncio.timeout(limits.seconds):
                async for part in request.stream():
                    data += part
                    if len(data) > limits.upload:
                        return refusal(413, f"The file is larger than {limits.upload:,} bytes, the maximum.")
        except TimeoutError:
            return refusal(408, f"The file did not arrive within {limits.seconds:g} seconds.")
        try:
            word, file = await asyncio.get_running_loop().run_in_executor(threads, trainings.upload, bytes(data))
        except MotesError as error:
            return JSONResponse({"error": str(error)}, 422)
        return JSONResponse({"upload": word, "columns": file.columns, "rows": len(file.x), "notes": file.notes})

    def refusal(status: int, message: str) -> Response:
        return JSONResponse({"error": message}, status, headers={"connection": "close"})

    parts = {f"/{name}" for name in files if name != INDEX}  # the same in every installation
    guard = Middleware(Guard, host=host, token=token, limits=limits, open_to_all=parts)
    routes = [
        Route("/", page, methods=["GET"]),
        Route("/data", upload, methods=["POST"]),
        Route("/{name}", page, methods=["GET"]),
        WebSocketRoute("/socket", socket),
    ]
    return Starlette(routes=routes, middleware=[guard])


def serve(shelf: Shelf, *, host: str = "127.0.0.1", port: int = 0, on_start: Callable[[str], None] = print) -> None:
    """Serve the explorer until Ctrl-C or SIGTERM.

    Args:
        shelf: the models to choose from.
        host: address to listen at. Unless it is a loopback address, other machines can reach the server.
        port: port to listen at; 0 chooses a free one.
        on_start: called with the address, once the first picture is computed and the server accepts connections.

    Raises:
        UsageError: if the server cannot listen at this address.

    Example:
        >>> from motes.explorer.subjects import Shelf
        >>> from motes.explorer.server import serve
        >>> serve(Shelf(), host="192.0.2.1")  # no address of this machine
        Traceback (most recent call last):
            ...
        motes.errors.UsageError: cannot listen at 192.0.2.1, port 0: ...
    """
    try:
        family, dual = (socket.AF_INET6, socket.has_dualstack_ipv6()) if ":" in host else (socket.AF_INET, False)
        listening = socket.create_server((host, port), family=family, dualstack_ipv6=dual)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"cannot listen at {host}, port {port}: {why}. Choose another --host or --port.") from None
    with listening:
        answers, token = Answers(shelf, Limits()), secrets.token_urlsafe(24)
        _compute_first_picture(answers)
        server = uvicorn.Server(server_config(application(answers, token=token, host=host), answers.limits))
        name = "localhost" if host == "127.0.0.1" or is_everywhere(host) else f"[{host}]" if ":" in host else host
        # The socket already accepts connections; they wait a moment until the server runs.
        on_start(f"http://{name}:{listening.getsockname()[1]}/?token={token}")
        server.run(sockets=[listening])


def server_config(app: Starlette, limits: Limits) -> uvicorn.Config:
    """Configure uvicorn to serve the application within limits; `serve` does so."""
    return uvicorn.Config(
        app,
        http=_timeout_protocol(limits.seconds),
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="websockets-sansio",
        ws_max_size=limits.message,
        ws_max_queue=8,
        ws_per_message_deflate=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=1,
    )


def _timeout_protocol(seconds: float) -> type[H11Protocol]:
    """Return a protocol that closes a connection if a request has not fully arrived after some seconds.

    uvicorn itself would wait forever for the first request and for the rest of any request. It would also refuse
    requests while there are CONNECTIONS connections, even without requests; of these, the oldest is closed instead.
    """

    class TimeoutProtocol(H11Protocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._wait()
            if len(self.connections) >= CONNECTIONS:
                timed = (each for each in self.connections if isinstance(each, TimeoutProtocol))
                waiting = ((each._deadline.when(), each) for each in timed if each._deadline is not None)
                oldest = min(waiting, key=lambda pair: pair[0])[1]
                self.connections.discard(oldest)
                oldest.transport.close()

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
            # A request may have arrived meanwhile, or the connection may have become a WebSocket.
            if self.transport.get_protocol() is self and (self.cycle is None or self.cycle.response_complete):
                self.transport.close()

    return TimeoutProtocol


def _compute_first_picture(answers: Answers) -> None:
    """Compute the first answers of a page, so that they are ready when it is opened."""
    if answers.shelf.opens == "table":
        answers.ask(what="row", table=answers.shelf.tables[0], row={})
        return
    model = answers.shelf.names[0]
    about = answers.ask(what="open", model=model).header["about"]
    answers.ask(what="chain", model=model, n=FIRST_POINTS, seed=0, sampler=about["sampler"], steps=about["steps"])
