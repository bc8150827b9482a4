"""Results that no one reads are limited, and dropped."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from opsnet.web_demo import unread
from opsnet.web_demo.unread import MOST, MOST_PER_SESSION, Refusal, Unread

RESULT = {"type": "http.response.body", "body": b'data: {"msg":"process_completed"}\n\n', "more_body": True}


class Gradio:
    """Stands for gradio: stores a result per request until its session's stream reads it."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.stored: dict[str, int] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": self.status if scope["method"] == "POST" else 200})
        if scope["method"] == "POST":
            if self.status == 200:
                self.stored[scope["name"]] = self.stored.get(scope["name"], 0) + 1
            return
        name = scope["query_string"].decode().removeprefix("session_hash=")
        while self.stored.get(name):
            self.stored[name] -= 1
            await send(RESULT)
        if scope.get("stays") or (scope["method"] == "GET" and scope["path"] != "own"):
            await asyncio.Event().wait()


async def ignore(_: Any) -> None:
    pass


def join(page: Unread, name: str) -> Any:
    return page.join(name, {"method": "POST", "name": name, "path": "own"}, None, ignore)


def read(page: Unread, name: str) -> Any:
    scope = {"method": "GET", "path": "own", "query_string": f"session_hash={name}".encode()}
    return page.read(name, scope, None, ignore)


def test_a_session_that_reads_nothing_is_limited_and_one_that_reads_is_not() -> None:
    async def run() -> None:
        page = Unread(Gradio())
        for _ in range(MOST_PER_SESSION):
            await join(page, "a")
        with pytest.raises(Refusal, match=r"8 requests of yours are still being processed") as refusal:
            await join(page, "a")
        assert refusal.value.status == 429
        await join(page, "b")
        for _ in range(3):
            await read(page, "a")
            for _ in range(MOST_PER_SESSION):
                await join(page, "a")

    asyncio.run(run())


def test_all_sessions_together_are_limited() -> None:
    async def run() -> None:
        page = Unread(Gradio())
        for number in range(MOST):
            await join(page, str(number))
        for number in range(1000, 1010):
            with pytest.raises(Refusal, match="busy with other visitors"):
                await join(page, str(number))
        assert len(page._sessions) == MOST  # refused ones are not remembered

    asyncio.run(run())


def test_what_gradio_refuses_does_not_count() -> None:
    async def run() -> None:
        page = Unread(Gradio(status=503))
        for _ in range(3 * MOST_PER_SESSION):
            await join(page, "a")

    asyncio.run(run())


def test_results_that_no_one_reads_are_read_in_their_place(monkeypatch) -> None:
    monkeypatch.setattr(unread, "DRAIN", 0.1)

    async def run() -> None:
        gradio = Gradio()
        page = Unread(gradio, patience=0.05)
        for _ in range(MOST_PER_SESSION):
            await join(page, "silent")
        await asyncio.sleep(0.1)
        assert gradio.stored["silent"] == MOST_PER_SESSION
        await join(page, "next")
        await asyncio.sleep(0.05)
        assert gradio.stored == {"silent": 0, "next": 1}
        assert list(page._sessions) == ["next"]
        await asyncio.sleep(0.2)
        assert not page._draining

    asyncio.run(run())


def test_a_visitor_who_leaves_lets_nothing_behind(monkeypatch) -> None:
    monkeypatch.setattr(unread, "DRAIN", 0.1)

    async def run() -> None:
        gradio = Gradio()
        page = Unread(gradio)
        await join(page, "a")
        await join(page, "a")

        async def leave(message: Any) -> None:
            if message is RESULT:
                raise OSError("the connection is closed")

        scope = {"method": "GET", "path": "own", "query_string": b"session_hash=a"}
        with pytest.raises(OSError, match="closed"):
            await page.read("a", scope, None, leave)
        await asyncio.sleep(0.05)
        assert gradio.stored == {"a": 0} and page._sessions == {}

    asyncio.run(run())
