"""Who may ask, and what every answer says to the browser.

A page of another site may send requests to a server on this machine. Three things keep it out: the Host header has to
be a name of this machine, so that no foreign name can be pointed here; the Origin of what is more than reading has to
be this page; and a token, new at each start, has to be in the address.
"""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Collection
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from motes.explorer._limits import Limits

LOOPBACK = ("localhost", "127.0.0.1", "::1")

POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
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
    "This address lacks the token of this start. Open the address that `motes explore` printed; after a new start it "
    "is another one.\n"
)


class Guard:
    """Lets through what this page asks, and refuses all else before anything reads it.

    Args:
        app: what answers.
        host: that the server listens at.
        token: of this start.
        limits: of the length of an address.
        open_to_all: paths that need no token: files that are the same in every installation.
    """

    def __init__(self, app: ASGIApp, *, host: str, token: str, limits: Limits, open_to_all: Collection[str]):
        self.app, self.host, self.token, self.limits = app, host, token, limits
        self.open_to_all = frozenset(open_to_all)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        refusal = self.refusal(scope)
        if refusal is None:
            await self.app(scope, receive, _with_headers(send))
        else:
            await _refuse(scope, receive, send, *refusal)

    def refusal(self, scope: Scope) -> tuple[int, str] | None:
        """The status and the sentence of what is refused; None: it is let through."""
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
            return 403, "The Origin header is not that of this page.\n"
        if scope["path"] not in self.open_to_all and not self._knows_token(scope["query_string"]):
            return 403, NO_TOKEN
        return None

    def _knows_token(self, query: bytes) -> bool:
        found = parse_qs(query.decode("latin-1")).get("token", [])
        return len(found) == 1 and secrets.compare_digest(found[0].encode(), self.token.encode())


def accepted(header: str, host: str) -> bool:
    """Whether a Host header names a server that listens at `host`.

    The port may be another: it is where a tunnel begins. A server that listens everywhere (0.0.0.0, ::) is known by
    numbers alone, for a foreign name could be pointed at any of them.
    """
    try:
        parts = urlsplit(f"//{header}")
        name = (parts.hostname or "").lower()
        _ = parts.port  # which raises where it is none
    except ValueError:
        return False
    if parts.username is not None or parts.path or parts.query or parts.fragment or "@" in header:
        return False
    if name in LOOPBACK or name == host.lower():
        return bool(name)
    return is_everywhere(host) and _is_number(name)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens at `host`."""
    return host == "localhost" or (_is_number(host) and ipaddress.ip_address(host).is_loopback)


def is_everywhere(host: str) -> bool:
    """Whether `host` stands for all addresses of this machine."""
    return _is_number(host) and ipaddress.ip_address(host).is_unspecified


def _is_number(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            message["headers"] = [*message.get("headers", []), *_raw(HEADERS)]
        await send(message)

    return sending


def _raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


async def _refuse(scope: Scope, receive: Receive, send: Send, status: int, text: str) -> None:
    response = PlainTextResponse(text, status, headers=HEADERS)
    if scope["type"] == "http":
        await response(scope, receive, send)
    elif "websocket.http.response" in scope.get("extensions", {}):
        await receive()  # the request to connect
        start = {"type": "websocket.http.response.start", "status": status, "headers": response.raw_headers}
        await send(start)
        await send({"type": "websocket.http.response.body", "body": response.body})
    else:
        await receive()
        await send({"type": "websocket.close", "code": 1008})  # which a server answers with 403
