"""A server of the explorer in a thread, and a client that asks it word for word."""

import http.client
import json
import socket
import struct
import threading
import time
from contextlib import contextmanager

import numpy as np
import uvicorn
from websockets.sync.client import connect

from motes.explorer.server import application, server_config

TOKEN = "the-token-of-this-start"


class Client:
    """Asks a server on this machine, word for word: nothing tidies a path or a header."""

    def __init__(self, port):
        self.port, self.here = port, f"http://localhost:{port}"

    def request(self, method, path, headers=(), body=b""):
        """The status, the headers by their names in lower case, and what was answered."""
        own = dict(headers)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in ({"host": f"localhost:{self.port}"} | own).items():
                for one in value if isinstance(value, list) else [value]:
                    connection.putheader(name, one)
            if body:
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body or None)
            found = connection.getresponse()
            return found.status, {name.lower(): text for name, text in found.getheaders()}, found.read()
        finally:
            connection.close()

    def get(self, path, headers=()):
        return self.request("GET", path, headers)

    def upgrade(self, query=f"?token={TOKEN}", headers=()):
        """The status of the answer to who wants a socket: 101 gives one."""
        asks = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
        return self.request(
            "GET", f"/socket{query}", asks | {"sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="} | dict(headers)
        )[0]

    def socket(self):
        return connect(f"ws://localhost:{self.port}/socket?token={TOKEN}", origin=self.here, compression=None)


@contextmanager
def serving(answers, host="127.0.0.1"):
    """A server in a thread, as `serve` has it; it takes itself for one that listens at `host`."""
    app = application(answers, token=TOKEN, host=host)
    server = uvicorn.Server(server_config(app, answers.limits))
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        wait_for(lambda: server.started)
        yield Client(listening.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def parts(data):
    """The header and the arrays of a frame, as the page reads it."""
    (length,) = struct.unpack_from("<I", data)
    header, arrays, place = json.loads(data[4 : 4 + length]), {}, 4 + length
    for one in header.pop("arrays"):
        count = int(np.prod(one["shape"], dtype=int))
        arrays[one["name"]] = np.frombuffer(data, "<f4", count, place).reshape(one["shape"])
        place += 4 * count
    return header, arrays


def wait_for(true, seconds=10.0):
    begin = time.monotonic()
    while not true():
        assert time.monotonic() - begin < seconds
        time.sleep(0.005)
