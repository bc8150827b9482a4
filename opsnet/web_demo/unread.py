"""Results that wait for their visitors: gradio stores them until they are read, however many there are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

API = "/gradio_api"
MOST_PER_SESSION, MOST = 8, 64  # requests whose results were not read yet; a result takes up to 5 MB
PATIENCE = 60  # seconds after which the results of a session that reads nothing are dropped
DRAIN = 5  # seconds
COMPLETED = b'"msg":"process_completed"'

BUSY = "the page is busy with other visitors: try again in a minute"

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Refusal(Exception):
    """A request is refused.

    Args:
        status: HTTP status.
        message: one sentence for the visitor.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class _Session:
    """A session with unread results: their number, its readers, when it last did something, and its last request."""

    scope: Scope
    count: int = 0
    readers: int = 0
    seen: float = field(default_factory=time.monotonic)


class Unread:
    """Counts the results that were asked for and not yet read, and drops those that no one reads.

    Args:
        app: gradio's ASGI application.
        patience: seconds after which a session without a reader is dropped.
    """

    def __init__(self, app: App, patience: float = PATIENCE) -> None:
        self._app, self._patience = app, patience
        self._sessions: dict[str, _Session] = {}
        self._draining: set[asyncio.Task[None]] = set()

    async def join(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Puts a session's request into the queue.

        Raises:
            Refusal: too many results of this session, or of all, are unread.
        """
        self._drop_silent()
        count = self._sessions[name].count if name in self._sessions else 0
        if count >= MOST_PER_SESSION:
            raise Refusal(429, f"{count} requests of yours are still being processed: wait for their results")
        if sum(s.count for s in self._sessions.values()) >= MOST:
            raise Refusal(503, BUSY)

        async def counting(message: Message) -> None:
            if message.get("status", 200) != 200:
                session.count -= 1
            await send(message)

        session = self._sessions.setdefault(name, _Session(scope))
        session.count, session.seen, session.scope = session.count + 1, time.monotonic(), scope
        await self._app(scope, receive, counting)

    async def read(self, name: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves a session's stream of results."""
        session = self._sessions.get(name)
        if session is None:
            await self._app(scope, receive, send)
            return

        async def counting(message: Message) -> None:
            await send(message)
            if COMPLETED in message.get("body", b""):
                session.count -= 1

        session.readers += 1
        try:
            await self._app(scope, receive, counting)
        finally:
            session.readers -= 1
            session.seen = time.monotonic()
            if not session.readers:
                self._sessions.pop(name, None)
                if session.count > 0:  # the visitor has left
                    self._start_draining(name, session.scope)

    def _drop_silent(self) -> None:
        oldest = time.monotonic() - self._patience
        for name in [n for n, s in self._sessions.items() if not s.readers and s.seen < oldest]:
            self._start_draining(name, self._sessions.pop(name).scope)

    def _start_draining(self, name: str, scope: Scope) -> None:
        task = asyncio.create_task(self._drain(name, scope))
        self._draining.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._draining.discard)

    async def _drain(self, name: str, scope: Scope) -> None:
        """Reads a session's results in its place, and leaves: gradio then forgets them."""
        stay: asyncio.Future[Message] = asyncio.get_running_loop().create_future()

        async def discard(_: Message) -> None:
            pass

        path = f"{API}/queue/data"
        query = urlencode({"session_hash": name}).encode()
        reading = {**scope, "method": "GET", "path": path, "raw_path": path.encode(), "query_string": query}
        try:
            await asyncio.wait_for(self._app(reading, lambda: stay, discard), DRAIN)
        except Exception:  # the time is over, or gradio has dropped the session itself
            return
