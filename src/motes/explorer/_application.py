"""The web application: the files of the page, and the socket that answers it.

The files are read once, before anyone asks; a request is looked up among them by its whole path. So no path that comes
from outside is ever opened.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib import resources

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from motes.errors import MotesError
from motes.explorer._answers import Answers
from motes.explorer._guard import Guard
from motes.explorer._limits import Limits
from motes.explorer._starting import Seats
from motes.explorer._subjects import Shelf
from motes.explorer._uploads import Uploads, read
from motes.explorer._visit import Visit

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
INDEX = "index.html"
READERS = 2  # files that are read at a time
FULL = 4001  # the code of a socket that is one too many


def page_files() -> dict[str, bytes]:
    """The files of the page by their names."""
    folder = resources.files("motes") / "explorer" / "page"
    return {file.name: file.read_bytes() for file in folder.iterdir() if f".{file.name.rpartition('.')[2]}" in KINDS}


def application(
    shelf: Shelf, *, token: str, host: str = "127.0.0.1", limits: Limits = Limits(), answers: Answers | None = None
) -> Starlette:
    """The explorer as an ASGI application, for a server of your own; `serve` starts one.

    Args:
        shelf: the models to choose from.
        token: that has to be in the address.
        host: that the server listens at.
        limits: of the work of a visitor.
        answers: what has been computed already; None: nothing has.

    Example:
        >>> from motes.explorer import Shelf, application
        >>> app = application(Shelf(), token="secret")
        >>> [route.path for route in app.routes][-1]
        '/socket'
    """
    files = page_files()
    answers = answers or Answers(shelf, limits)
    # A thread for each page, which asks one thing at a time: none waits for what another one has asked.
    threads = ThreadPoolExecutor(limits.sockets, thread_name_prefix="explorer")
    readers = ThreadPoolExecutor(READERS, thread_name_prefix="explorer-files")
    visits: set[Visit] = set()
    seats, uploads = Seats(limits), Uploads()

    async def page(request: Request) -> Response:
        name = request.url.path.removeprefix("/") or INDEX
        return Response(files[name], media_type=KINDS[f".{name.rpartition('.')[2]}"])

    async def socket(websocket: WebSocket) -> None:
        await websocket.accept()
        if len(visits) >= limits.sockets:
            await websocket.close(FULL, f"{limits.sockets} pages are open, which is the most.")
            return
        visit = Visit(websocket, answers, threads, seats, uploads)
        visits.add(visit)
        try:
            await visit.run()
        finally:
            visits.discard(visit)

    async def upload(request: Request) -> Response:
        data = bytearray()
        try:
            async with asyncio.timeout(limits.seconds):
                async for part in request.stream():
                    data += part
                    if len(data) > limits.upload:
                        message = f"The file is larger than {limits.upload:,} bytes, which is the most."
                        return JSONResponse({"error": message}, 413, headers={"connection": "close"})
        except TimeoutError:
            message = f"The file did not arrive within {limits.seconds:g} seconds."
            return JSONResponse({"error": message}, 408, headers={"connection": "close"})
        loop = asyncio.get_running_loop()
        try:
            found = await loop.run_in_executor(readers, read, bytes(data), limits)
        except MotesError as error:
            return JSONResponse({"error": str(error)}, 422)
        word = uploads.keep(found)
        return JSONResponse({"upload": word, "columns": found.columns, "rows": len(found.x), "notes": found.notes})

    async def nothing(request: Request, error: Exception) -> Response:
        return PlainTextResponse("There is nothing at this address.\n", 404)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        for pool in (threads, readers):
            pool.shutdown(wait=False, cancel_futures=True)

    names = ["", *(name for name in files if name != INDEX)]
    guard = Middleware(Guard, host=host, token=token, limits=limits, open_to_all=[f"/{name}" for name in names if name])
    pages = [Route(f"/{name}", page, methods=["GET"]) for name in names]
    routes = [*pages, Route("/data", upload, methods=["POST"]), WebSocketRoute("/socket", socket)]
    return Starlette(routes=routes, middleware=[guard], lifespan=lifespan, exception_handlers={404: nothing})
