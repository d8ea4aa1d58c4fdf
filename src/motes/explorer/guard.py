"""Access control of the server.

A page of another site may send requests to a server on this machine. Three checks refuse them. The Host header must be
a name of this machine, so that DNS rebinding fails. The Origin of any request other than GET and HEAD must be this
page. And the address must contain a token that is new at each start.
"""

import ipaddress
import secrets
from collections.abc import Collection
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from motes.explorer.messages import Limits

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
        >>> from motes.explorer.guard import is_loopback
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
