"""What the guard lets through, with an application behind it that answers everything."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from opsnet.web_demo import guard
from opsnet.web_demo.guard import HEADERS, LARGEST_BODY, LARGEST_FILE, Guard


class Behind:
    """Stands for gradio: reads the body and answers 200, or what it is told to; remembers what came through."""

    def __init__(self, status: int = 200) -> None:
        self.status, self.seen = status, []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", scope["method"] == "POST"
        while more:
            message = await receive()
            body, more = body + message["body"], message.get("more_body", False)
        self.seen.append((scope["path"], body))
        await send({"type": "http.response.start", "status": self.status, "headers": [(b"x-own", b"1")]})
        await send({"type": "http.response.body", "body": b"answer"})


def request(
    page: Guard, method: str, path: str, parts: tuple[bytes, ...] = (b"",), *, length: int | None = None,
    pause: float = 0, query: str = "",
) -> tuple[int, dict[str, str], str]:  # fmt: skip
    """Status, headers and text that a request gets; its body comes in ``parts``, with a pause before each."""
    sent: list[dict[str, Any]] = []
    left = list(parts)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(pause)
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    size = sum(map(len, parts)) if length is None else length
    headers = [(b"content-length", str(size).encode())] if size >= 0 else []
    scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": headers}
    asyncio.run(page(scope, receive, send))
    text = b"".join(m.get("body", b"") for m in sent).decode()
    return sent[0]["status"], {k.decode(): v.decode() for k, v in sent[0]["headers"]}, text


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "uploads"
    (path / "hash").mkdir(parents=True)
    (path / "hash" / "a.png").write_bytes(b"a")
    (tmp_path / "secret.png").write_bytes(b"s")
    (path / "link.png").symlink_to(tmp_path / "secret.png")
    return path


@pytest.fixture
def page(folder) -> Guard:
    return Guard(Behind(), folder)


def test_only_the_routes_of_the_page_are_served(page) -> None:
    for path in ("/", "/config", "/assets/index.js", "/gradio_api/heartbeat/abc", "/gradio_api/upload_progress"):
        assert request(page, "GET", path)[0] == 200, path
    closed = [
        "/monitoring", "/openapi.json", "/docs", "/gradio_api/info", "/gradio_api/proxy=http://a", "/gradio_api/token",
        "/gradio_api/dev/reload", "/gradio_api/runs", "/gradio_api/component_server", "/gradio_api/file/etc/passwd",
    ]  # fmt: skip
    for path in closed:
        assert request(page, "GET", path)[::2] == (404, '{"detail": "the page has nothing at this address"}'), path
    for path in ("/gradio_api/component_server", "/gradio_api/vibe-edit", "/gradio_api/call/respond", "/"):
        assert request(page, "POST", path, (b"{}",))[0] == 404, path
    assert request(page, "DELETE", "/")[0] == 404


def test_every_response_has_the_security_headers(page, folder) -> None:
    for path in ("/", "/monitoring"):
        headers = request(page, "GET", path)[1]
        assert {name: headers[name.lower()] for name in HEADERS} == HEADERS
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "SAMEORIGIN" and "frame-ancestors 'self'" in headers["content-security-policy"]
    policy = request(page, "GET", f"/gradio_api/file={folder / 'hash' / 'a.png'}")[1]["content-security-policy"]
    assert policy.startswith("default-src 'none'; sandbox")


def test_only_files_of_the_folder_are_sent(page, folder, tmp_path) -> None:
    assert request(page, "GET", f"/gradio_api/file={folder / 'hash' / 'a.png'}")[0] == 200
    outside = [tmp_path / "secret.png", folder / ".." / "secret.png", folder / "link.png", folder, folder / "none.png"]
    for path in [*outside, "/etc/passwd", "http://127.0.0.1/a.png", "file:///etc/passwd", f"{folder}/a\0.png"]:
        status, _, text = request(page, "GET", f"/gradio_api/file={path}")
        assert (status, "is not on the server" in text) == (404, True), path


@pytest.mark.parametrize("inside", [True, False])
def test_a_request_names_only_files_of_the_folder(inside, page, folder, tmp_path) -> None:
    paths = [str(folder / "hash" / "a.png")] if inside else [
        str(tmp_path / "secret.png"), "http://127.0.0.1:1/a.png", "https://example.com/a.png", "file:///etc/passwd",
        f"{folder}/../secret.png", str(folder / "link.png"), 7, ["a"], "a\0b", "/proc/self/environ", " ",
    ]  # fmt: skip
    for path in paths:
        for data in ([{"path": path}], [{"value": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}]):
            body = json.dumps({"data": data, "session_hash": f"{path}"}).encode()
            status, _, text = request(page, "POST", "/gradio_api/queue/join", (body,))
            assert status == (200 if inside else 400), path
            assert inside or "the image is not on the server: upload it" in text


def test_a_body_arrives_as_it_was_sent(page) -> None:
    body = (b'{"data": [', b"1]", b"}")
    assert request(page, "POST", "/gradio_api/run/predict", body)[0] == 200
    assert page._app.seen == [("/gradio_api/run/predict", b'{"data": [1]}')]


def test_a_large_body_is_refused_with_the_limit(page) -> None:
    for parts in ((b"x" * (LARGEST_BODY + 1),), (b"x" * LARGEST_BODY, b"x")):
        status, _, text = request(page, "POST", "/gradio_api/queue/join", parts, length=-1)
        assert status == 413 and "larger than the 1 MB that this page accepts" in text
    status, _, text = request(page, "POST", "/gradio_api/upload", length=LARGEST_FILE + 2 * LARGEST_BODY)
    assert status == 413 and "larger than the 50 MB that this page accepts" in text
    assert request(page, "POST", "/gradio_api/upload", length=-1)[0] == 411
    assert request(page, "POST", "/gradio_api/upload", (b"file",))[0] == 200


@pytest.mark.parametrize("body", [b"[" * 200_000, b"{", b"[1]", b"\xff", b"", b'{"data": ' + b"[" * 990 + b"]" * 990])
def test_what_is_no_json_object_is_refused(body, page) -> None:
    assert request(page, "POST", "/gradio_api/queue/join", (body,))[0] == 400


def test_a_silent_client_is_refused(page, monkeypatch) -> None:
    monkeypatch.setattr(guard, "SILENCE", 0.05)
    for path in ("upload", "queue/join"):
        status, _, text = request(page, "POST", f"/gradio_api/{path}", (b"a", b"b"), pause=0.2)
        assert status == 408 and "took too long to arrive" in text
    monkeypatch.setattr(guard, "SILENCE", 1)
    monkeypatch.setattr(guard, "BODY_SECONDS", 0.1)  # a byte now and then is not enough
    assert request(page, "POST", "/gradio_api/queue/join", (b"a",) * 20, pause=0.02)[0] == 408


@pytest.mark.parametrize("path", ["upload", "queue/join"])
def test_a_client_who_leaves_is_no_error(path, page) -> None:
    async def leave() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def ignore(_: Any) -> None:
        pass

    headers = [(b"content-length", b"10")]
    scope = {"type": "http", "method": "POST", "path": f"/gradio_api/{path}", "query_string": b"", "headers": headers}
    asyncio.run(page(scope, leave, ignore))
    assert page._app.seen == []


def test_too_many_requests_at_once_are_told_so(page, monkeypatch) -> None:
    monkeypatch.setattr(guard, "MOST_OPEN", 0)
    assert request(page, "GET", "/")[::2] == (
        503, '{"detail": "the page is busy with other visitors: try again in a minute"}'
    )  # fmt: skip
    monkeypatch.setattr(guard, "MOST_OPEN", 1)
    for _ in range(3):  # a request that ended does not count
        assert request(page, "GET", "/")[0] == 200
    monkeypatch.setattr(guard, "MOST_UPLOADS", 0)
    assert request(page, "POST", "/gradio_api/upload")[0] == 503


def test_a_wrong_password_takes_its_time(folder, monkeypatch) -> None:
    slept = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    for status, expected in ((400, [1.0]), (200, [])):
        with monkeypatch.context() as patch:
            patch.setattr(guard.asyncio, "sleep", sleep)
            assert request(Guard(Behind(status), folder), "POST", "/login", (b"username=a",))[0] == status
        assert [s for s in slept if s] == expected
        slept.clear()
