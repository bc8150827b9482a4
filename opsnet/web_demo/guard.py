"""What the page lets in from a network: an ASGI middleware in front of gradio, which offers more than the page uses.

It serves the routes of :data:`ROUTES` only, sends the security headers, and limits sizes and times of requests. Those
that it refuses get one sentence.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from opsnet.utils.errors import InputError
from opsnet.web_demo.downloads import make_room
from opsnet.web_demo.unread import API, BUSY, App, Message, Receive, Refusal, Scope, Send, Unread
from opsnet.web_demo.uploads import checked_upload, is_below

LARGEST_FILE = 50 << 20  # bytes
LARGEST_BODY = 1 << 20  # bytes of all other requests; a thousand names of a hundred characters take a tenth
UPLOAD_SECONDS, BODY_SECONDS, SILENCE = 300, 30, 20  # to send an upload, to send anything else, between two parts
MOST_UPLOADS, MOST_LOGINS, MOST_OPEN = 32, 4, 400  # requests at the same time
WRONG_PASSWORD = 1.0  # seconds that the reply to a wrong password takes

FILE = f"{API}/file="
ROUTES = {
    "GET": re.compile(
        rf"/|/config|/theme\.css|/favicon\.ico|/manifest\.json|/robots\.txt|/(assets|static|svelte)/.+|{FILE}.+|"
        rf"{API}/(theme\.css|queue/data|upload_progress|heartbeat/\w+|startup-events|app_id|login_check)"
    ),
    "POST": re.compile(rf"/login/?|{API}/(upload|queue/join|run/predict|cancel|reset)"),
}
"""Method -> paths that the page's browser side asks for."""

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'self'"
)
"""Gradio builds scripts in the browser; nothing may be loaded from, sent to, or framed by other hosts."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "SAMEORIGIN",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
FILE_HEADERS = {**HEADERS, "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'self'"}


class Guard:
    """The middleware.

    Args:
        app: gradio's.
        folder: the page's upload folder; what lies in it now is never deleted.
    """

    def __init__(self, app: App, folder: Path) -> None:
        self._app, self._folder = app, folder
        self._lasting = frozenset(path for path in folder.rglob("*") if path.is_file())
        self._unread = Unread(app)
        self._running = {"/login": 0, f"{API}/upload": 0, "": 0}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or refuses it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        sending = _Sending(send, FILE_HEADERS if scope["path"].startswith(FILE) else HEADERS)
        try:
            with self._slot("", MOST_OPEN):
                await self._admit(scope, receive, sending)
        except Refusal as refusal:
            await sending.refuse(refusal)

    async def _admit(self, scope: Scope, receive: Receive, send: _Sending) -> None:
        path, method = scope["path"], "GET" if scope["method"] == "HEAD" else scope["method"]
        if method not in ROUTES or not ROUTES[method].fullmatch(path):
            raise Refusal(404, "the page has nothing at this address")
        if path.startswith(FILE):
            self._check_file(path.removeprefix(FILE))
            await self._app(scope, receive, send)
        elif path == f"{API}/upload":
            await self._upload(scope, receive, send)
        elif path == f"{API}/queue/data":
            (session,) = parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])[:1]
            await self._unread.read(session, scope, receive, send)
        elif method == "POST":
            await self._post(path.rstrip("/"), scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _slot(self, name: str, most: int) -> _Slot:
        if self._running[name] >= most:
            raise Refusal(503, BUSY)
        return _Slot(self._running, name)

    def _check_file(self, path: str) -> None:
        try:
            checked_upload(path, self._folder)
        except InputError as error:
            raise Refusal(404, str(error)) from error

    async def _upload(self, scope: Scope, receive: Receive, send: _Sending) -> None:
        size = _length(scope)
        if size is None:
            raise Refusal(411, "an upload must state its size")
        if size > LARGEST_FILE + LARGEST_BODY:
            raise Refusal(413, f"the file is larger than the {LARGEST_FILE >> 20} MB that this page accepts")
        with self._slot(f"{API}/upload", MOST_UPLOADS):
            await asyncio.to_thread(make_room, self._folder, self._lasting)
            await self._app(scope, _Deadline(receive, UPLOAD_SECONDS), send)

    async def _post(self, path: str, scope: Scope, receive: Receive, send: _Sending) -> None:
        body = await _read(_Deadline(receive, BODY_SECONDS), LARGEST_BODY)
        again = _Replay(body, receive)
        if path == "/login":
            with self._slot(path, MOST_LOGINS):
                send.delay = WRONG_PASSWORD
                await self._app(scope, again, send)
            return
        content = _parsed(body)
        if not all(is_below(file, self._folder) for file in _paths(content)):
            raise Refusal(400, "the image is not on the server: upload it, or choose an example")
        if path == f"{API}/queue/join":
            await self._unread.join(str(content.get("session_hash")), scope, again, send)
        else:
            await self._app(scope, again, send)


class _Slot:
    """Counts a request while it runs."""

    def __init__(self, running: dict[str, int], name: str) -> None:
        self._running, self._name = running, name

    def __enter__(self) -> None:
        self._running[self._name] += 1

    def __exit__(self, *_: object) -> None:
        self._running[self._name] -= 1


class _Sending:
    """Adds headers to a response, and delays it if it says that something was wrong."""

    def __init__(self, send: Send, headers: dict[str, str]) -> None:
        self._send, self._headers = send, [(k.lower().encode(), v.encode()) for k, v in headers.items()]
        self._started, self.delay = False, 0.0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._started = True
            if message["status"] >= 400:
                await asyncio.sleep(self.delay)
            message = {**message, "headers": [*message.get("headers", []), *self._headers]}
        await self._send(message)

    async def refuse(self, refusal: Refusal) -> None:
        """Sends the sentence, in the form that gradio's browser side shows."""
        if self._started:  # the connection breaks off
            return
        body = json.dumps({"detail": str(refusal)}).encode()
        headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
        await self({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await self({"type": "http.response.body", "body": body})


class _Deadline:
    """Receives a request's body, which must come within a time, without long silence."""

    def __init__(self, receive: Receive, seconds: float) -> None:
        self._receive, self._ends, self._complete = receive, asyncio.get_running_loop().time() + seconds, False

    async def __call__(self) -> Message:
        if self._complete:  # waits for the end of the connection, as long as the response takes
            return await self._receive()
        left = self._ends - asyncio.get_running_loop().time()
        try:
            message = await asyncio.wait_for(self._receive(), min(left, SILENCE))
        except asyncio.TimeoutError as error:
            raise Refusal(408, "the request took too long to arrive: try again with a smaller file") from error
        if message["type"] == "http.disconnect":  # gradio would log a traceback
            raise Refusal(400, "the request broke off")
        self._complete = not message.get("more_body", False)
        return message


class _Replay:
    """Receives a body that was read before."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


def _length(scope: Scope) -> int | None:
    value = dict(scope["headers"]).get(b"content-length", b"")
    return int(value) if value.isdigit() else None


async def _read(receive: Receive, limit: int) -> bytes:
    parts, size = [], 0
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise Refusal(413, f"the request is larger than the {limit >> 20} MB that this page accepts: enter less")
        if not message.get("more_body", False):
            return b"".join(parts)


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "the request is not JSON") from error
    if not isinstance(content, dict):
        raise Refusal(400, "the request is not a JSON object")
    return content


def _paths(content: Any) -> Iterator[Any]:
    """What stands under "path" at any depth: gradio fetches addresses and checks only part of the files."""
    waiting = [content]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if part.get("path"):
                yield part["path"]
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
