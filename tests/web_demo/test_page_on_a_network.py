"""Attacks on a real page: paths, addresses, formats, sizes, passwords, silent and impatient visitors."""

from __future__ import annotations

import io
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio")

from opsnet.web_demo.access import VARIABLE
from opsnet.web_demo.unread import MOST_PER_SESSION
from scripts.web_demo.client import API, Client, Refused
from scripts.web_demo.visitor import served

pytestmark = pytest.mark.slow
META = {"meta": {"_type": "gradio.FileData"}}
PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """Where the page runs; with an image and a pipe that are none of its uploads."""
    folder = tmp_path_factory.mktemp("page")
    Image.new("RGB", (40, 40), (200, 30, 30)).save(folder / "secret.png")
    os.mkfifo(folder / "pipe.png")
    return folder


@pytest.fixture(scope="module")
def address(lenient_checkpoint, place) -> Iterator[str]:
    with served(place, f"checkpoint={lenient_checkpoint}", "device=cpu", "threshold=0") as address:
        yield address
    assert "Traceback" not in (place / "log").read_text()


@pytest.fixture
def visitor(address) -> Iterator[Client]:
    with Client(address) as client:
        yield client


def png(seed: int, size: tuple[int, int] = (60, 40)) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def go(client: Client, image: object, **values: object) -> str:
    """The status after *Segment*, or what the visitor is told instead."""
    try:
        return str(client.call("go", "click", {"image": image, "words": "sea", **values})[0])
    except Refused as refusal:
        return str(refusal)


@pytest.mark.parametrize("more", [{}, META], ids=["plain", "meta"])
def test_no_path_leads_out_of_the_folder(more, visitor, place) -> None:
    mine = visitor.upload(write(place / "a.png", png(0)))
    assert "segment" in go(visitor, {"path": mine, **more})
    root = Path(mine).parents[1]
    paths = [
        str(place / "secret.png"), str(place / "pipe.png"), f"file://{place}/secret.png", f"{root}/../../../etc/passwd",
        "/proc/self/environ", "/dev/zero", "http://127.0.0.1:1/a.png", "https://example.com/a.png", str(root), "a\0b",
    ]  # fmt: skip
    for path in paths:
        assert "the image is not on the server" in go(visitor, {"path": path, **more}), path
        response = visitor.http.get(f"{API}/file={path.replace(chr(0), '%00')}")
        assert response.status_code == 404, path
        assert b"PNG" not in response.content[:8]
    url = {"path": None, "url": f"{visitor.address}{API}/file=/etc/passwd", **more}
    assert "there is no image" in go(visitor, url)


def test_another_visitors_files_cannot_be_found(address, visitor, place) -> None:
    mine = Path(visitor.upload(write(place / "mine.png", png(1))))
    outputs = visitor.segment(str(mine), "sea")
    assert "segment" in outputs[0]
    with Client(address) as other:
        for path in (mine.parent, mine.parents[1], mine.parents[1] / "results", mine.with_name("other.png")):
            assert other.http.get(f"{API}/file={path}").status_code == 404
        assert "the image is not on the server" in go(other, {"path": str(mine.parents[1] / ("0" * 64) / "mine.png")})
        assert other.config["components"] and str(mine) not in other.http.get("/config").text
    # The names of both cannot be guessed: a hash of the content, and a random name.
    assert len(mine.parent.name) == 64


def test_hostile_files_are_a_sentence_and_cost_little(visitor, place) -> None:
    from test_uploads import png_header

    bombs = {
        "header.png": png_header(place / "h.png", 60_000, 60_000).read_bytes(),
        "large.png": png_header(place / "l.png", 9_000, 9_000).read_bytes(),
        "text.png": b"<script>alert(1)</script>",
        "a.eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(/etc/passwd) run\n",
        "cut.png": png(2)[:200],
        "empty.png": b"",
    }
    for name, content in bombs.items():
        start = time.monotonic()
        status = go(visitor, {"path": visitor.upload(write(place / "bomb", content), name)})
        assert "cannot be read as an image" in status or "megapixels" in status, name
        assert time.monotonic() - start < 30
    html = visitor.upload(write(place / "x.html", b"<script>alert(1)</script>"))
    response = visitor.http.get(f"{API}/file={html}")
    assert response.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in response.headers["content-security-policy"]


def test_many_and_long_names_are_a_sentence(visitor, place) -> None:
    mine = visitor.upload(write(place / "a.png", png(0)))
    words = ", ".join(f"word {i}" for i in range(50_000))
    assert "names are more than the 1,000" in go(visitor, {"path": mine}, words=words)
    assert "is larger than the 1 MB" in go(visitor, {"path": mine}, words=words * 3)
    assert "is longer than 100 characters" in go(visitor, {"path": mine}, words="w" * 500_000)


def test_nothing_goes_around_the_queue(visitor) -> None:
    number = next(
        i for i, f in enumerate(visitor.config["dependencies"]) if [visitor.controls["go"], "click"] in f["targets"]
    )
    direct = visitor.http.post(f"{API}/run/predict", json={"data": [None] * 7, "fn_index": number, "session_hash": "a"})
    assert "does not accept direct HTTP POST requests" in direct.text


def test_a_visitor_who_reads_nothing_is_stopped_and_others_are_served(address, visitor, place) -> None:
    mine = visitor.upload(write(place / "a.png", png(0)))
    with Client(address) as silent:
        number, function = next(
            (i, f)
            for i, f in enumerate(silent.config["dependencies"])
            if [silent.controls["go"], "click"] in f["targets"]
        )
        values = {c["id"]: c["props"].get("value") for c in silent.config["components"]}
        values |= {silent.controls["image"]: {"path": mine}, silent.controls["words"]: "sea"}
        data = [values[i] for i in function["inputs"]]
        for _ in range(MOST_PER_SESSION):
            silent.join(number, data)
        with pytest.raises(Refused, match=r"429: 8 requests of yours are still being processed"):
            silent.join(number, data)
    assert "segment" in go(visitor, {"path": mine})


def test_slow_clients_do_not_stop_others(address, visitor, place) -> None:
    host = address.removeprefix("http://").split(":")
    kind = "multipart/form-data; boundary=B"
    head = f"POST {API}/upload HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: 9999\r\n\r\n"
    slow = [socket.create_connection(host) for _ in range(200)]
    try:
        for number, connection in enumerate(slow):
            connection.sendall((head if number < 20 else "GET / HTTP/1.1\r\nHost: a\r\n").encode())
        mine = visitor.upload(write(place / "a.png", png(0)))
        assert "segment" in go(visitor, {"path": mine})
    finally:
        for connection in slow:
            connection.close()


def test_the_headers_are_sent(visitor) -> None:
    headers = visitor.http.get("/").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert headers["referrer-policy"] == "no-referrer"
    assert "frame-ancestors 'self'" in headers["content-security-policy"]


def test_a_password_is_asked_for_and_never_written(lenient_checkpoint, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(VARIABLE, PASSWORD)
    arguments = (f"checkpoint={lenient_checkpoint}", "device=cpu", "host=0.0.0.0", "auth=visitor")
    with served(tmp_path, *arguments) as address:
        with Client(address) as stranger:
            for path in ("/config", f"{API}/file=/etc/passwd", f"{API}/queue/data?session_hash=a"):
                assert stranger.http.get(path).status_code in (401, 404), path
            assert stranger.http.post(f"{API}/upload", files={"files": ("a.png", png(0))}).status_code == 401
            for user, password in (
                ("visitor", "wrong"),
                ("visitor", ""),
                ("other", PASSWORD),
                ("visitor", f"{PASSWORD} "),
            ):
                with pytest.raises(Refused):
                    stranger.log_in(user, password)
            assert stranger.http.get("/config").status_code == 401
        with Client(address) as known:
            known.log_in("visitor", PASSWORD)
            assert known.controls["go"]
            assert known.upload(write(tmp_path / "a.png", png(0)))
    log = (tmp_path / "log").read_text()
    assert "reachable from every machine" in log and "with the password" in log
    written = [p for p in tmp_path.rglob("*") if p.is_file() and PASSWORD.encode() in p.read_bytes()]
    assert written == []


def test_a_host_without_a_password_says_so(lenient_checkpoint, tmp_path) -> None:
    with served(tmp_path, f"checkpoint={lenient_checkpoint}", "device=cpu", "host=0.0.0.0") as address:
        assert httpx.get(f"{address}/config").status_code == 200
    assert "no password (auth=NAME and OPSNET_DEMO_PASSWORD set one)" in (tmp_path / "log").read_text()
