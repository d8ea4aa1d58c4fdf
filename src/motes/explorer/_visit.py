"""One open page: it asks, and is answered one question after another.

A question waits in a slot; a newer one of the same slot takes its place. So a page that asks faster than it is
answered, or reads slowly, costs no memory, and the answers of all pages come from a few threads. What a page has asked
for ends when it is closed.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from concurrent.futures import Executor

from starlette.websockets import WebSocket, WebSocketDisconnect

from motes.errors import MotesError
from motes.explorer._answers import Answer, Answers
from motes.explorer._frames import frame
from motes.explorer._requests import Request

SLOTS = 32  # questions that wait, of one page
SLOWEST = 20.0  # seconds for which a page may leave an answer unread

log = logging.getLogger("motes.explorer")


class Abandoned(Exception):
    """Nobody waits for this answer any more."""


class Visit:
    """The conversation with one page.

    Args:
        socket: accepted.
        answers: what computes.
        threads: where.
    """

    def __init__(self, socket: WebSocket, answers: Answers, threads: Executor):
        self.socket, self.answers, self.threads = socket, answers, threads
        self._waiting: OrderedDict[str, Request] = OrderedDict()
        self._asked, self._gone = asyncio.Event(), False
        self._current: Request | None = None

    async def run(self) -> None:
        """Until the page is closed."""
        answering = asyncio.create_task(self._answer())
        try:
            await self._listen()
        except WebSocketDisconnect:
            pass
        finally:
            self._gone = True
            self._waiting.clear()
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)

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
                request = Request.of(text, self.answers.kinds)
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
            _, request = self._waiting.popitem(last=False)
            self._current = request
            try:
                found = await asyncio.get_running_loop().run_in_executor(self.threads, self._compute, request)
            except Abandoned:
                continue
            try:
                await asyncio.wait_for(self._send(found), SLOWEST)
            except TimeoutError:
                await self.socket.close(1008)
                return

    def _compute(self, request: Request) -> Answer:
        """In a thread."""
        self._stop_if_abandoned(request)
        try:
            found = self.answers.answer(request, lambda done: self._stop_if_abandoned(request))
        except MotesError as error:
            found = Answer({"error": str(error)})
        except Abandoned:
            raise
        except Exception:
            log.exception("a question could not be answered")
            found = Answer({"error": "This should not happen; the terminal says more."})
        return Answer({"number": request.number, "what": request.what, **found.header}, found.arrays)

    def _stop_if_abandoned(self, request: Request) -> None:
        if self._gone or request.slot in self._waiting:
            raise Abandoned

    async def _send(self, answer: Answer) -> None:
        await self.socket.send_bytes(frame(*answer))
