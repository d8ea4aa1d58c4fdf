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
from contextlib import suppress
from dataclasses import replace

from starlette.websockets import WebSocket, WebSocketDisconnect

from motes.errors import MotesError, UsageError
from motes.explorer._answers import Answers
from motes.explorer._frames import Answer, frame
from motes.explorer._live import Live
from motes.explorer._requests import Request
from motes.explorer._starting import Seats, begun, looked_ahead, obey
from motes.explorer._uploads import Uploads

SLOTS = 32  # questions that wait, of one page
TRAIN, PLAN, NEWS = "train", "plan", "news"
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
        seats: room for trainings.
        uploads: files that a training may be about.
    """

    def __init__(self, socket: WebSocket, answers: Answers, threads: Executor, seats: Seats, uploads: Uploads):
        self.socket, self.answers, self.threads, self.seats, self.uploads = socket, answers, threads, seats, uploads
        self._loop = asyncio.get_running_loop()
        self._waiting: OrderedDict[str, Request] = OrderedDict()
        self._asked, self._gone = asyncio.Event(), False
        self._live: Live | None = None
        self._has_news, self._told = False, 0

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
            self._close()
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)
            self._close()  # of what was begun meanwhile

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
                request = Request.of(text, [*self.answers.kinds, TRAIN, PLAN])
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
            if self._has_news:
                await self._deliver(self._news())
            elif self._waiting:
                _, request = self._waiting.popitem(last=False)
                request = replace(request, live=self._live)
                try:
                    found = await self._loop.run_in_executor(self.threads, self._compute, request)
                except Abandoned:
                    continue
                await self._deliver(found)
            else:
                self._asked.clear()

    async def _deliver(self, answer: Answer) -> None:
        try:
            await asyncio.wait_for(self._send(answer), SLOWEST)
        except TimeoutError:
            await self.socket.close(1008)

    def _compute(self, request: Request) -> Answer:
        """In a thread."""
        self._stop_if_abandoned(request)
        try:
            if request.what == TRAIN:
                found = self._train(request)
            elif request.what == PLAN:
                found = looked_ahead(request, self.answers.limits, self.uploads)
            else:
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

    # --- training ---

    def _train(self, request: Request) -> Answer:
        """In a thread."""
        do = request.options.get("do")
        if do == "start":
            self.seats.take(self)
            if self._live is not None:
                self._live.close()
            self._live, self._told = begun(request, self.answers.limits, self.uploads, self._on_news), 0
            if self._gone:  # meanwhile
                self._close()
        elif self._live is None:
            raise UsageError("got a word for a training, and there is none. Start one first.")
        elif do == "close":
            self._close()
        else:
            obey(self._live, request, self.answers.limits)
        return Answer({} if self._live is None else {"run": self._live.number})

    def _close(self) -> None:
        if self._live is not None:
            self._live.close()
            self._live = None
        self.seats.leave(self)

    def _on_news(self) -> None:
        """In the thread of the training."""

        def tell() -> None:
            self._has_news = True
            self._asked.set()

        if not self._gone:
            with suppress(RuntimeError):  # the server has ended
                self._loop.call_soon_threadsafe(tell)

    def _news(self) -> Answer:
        """What happened since the page was last told."""
        self._has_news = False
        if self._live is None:
            return Answer({"number": 0, "what": NEWS, "step": 0, "run": None})
        about, losses = self._live.news(self._told)
        self._told = about["step"]
        return Answer({"number": 0, "what": NEWS, **about}, {"losses": losses})
