"""A visitor of the page without a browser: sends the requests that a browser would send."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

API = "/gradio_api"


class Refused(Exception):
    """The page refused a request; the message is what it told the visitor."""


class Client:
    """One visitor, with a session of their own.

    Args:
        address: of the page.
        patience: seconds that a response may take.
    """

    def __init__(self, address: str, patience: float = 300) -> None:
        self.address, self.session = address, secrets.token_hex(8)
        self.http = httpx.Client(base_url=address, timeout=patience)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()

    @cached_property
    def config(self) -> dict[str, Any]:
        """The page's description: its controls, and what they call."""
        return dict(checked(self.http.get("/config")).json())

    @cached_property
    def controls(self) -> dict[str, int]:
        """Name of each control -> its number."""
        return {c["props"]["elem_id"]: c["id"] for c in self.config["components"] if c["props"].get("elem_id")}

    def log_in(self, user: str, password: str) -> None:
        """Enters a name and a password; the session's cookie is kept.

        Raises:
            Refused: they are wrong.
        """
        checked(self.http.post("/login", data={"username": user, "password": password}))

    def upload(self, path: Path, name: str | None = None) -> str:
        """Uploads a file and returns its path on the server.

        Raises:
            Refused: the page does not accept it.
        """
        files = {"files": (name or path.name, path.read_bytes())}
        return str(checked(self.http.post(f"{API}/upload", files=files)).json()[0])

    def call(self, control: str, event: str, values: Mapping[str, Any], **more: Any) -> list[Any]:
        """Does what a control does in the browser and returns its outputs.

        Args:
            control, event: such as ``go`` and ``click``.
            values: name of a control -> its value; the others have those with which the page starts.
            more: further fields of the request.

        Raises:
            Refused: the page is busy, or an error came back.
        """
        wanted = [self.controls[control], event]
        number, function = next((i, f) for i, f in enumerate(self.config["dependencies"]) if wanted in f["targets"])
        first = {c["id"]: c["props"].get("value") for c in self.config["components"]}
        given = {**first, **{self.controls[name]: value for name, value in values.items()}}
        self.join(number, [given[i] for i in function["inputs"]], **more)
        for message in self.messages():
            if message["msg"] == "process_completed":
                if not message["success"]:
                    raise Refused(str((message["output"] or {}).get("error")))
                return list(message["output"]["data"])
        raise Refused("the page ended the connection without a result")

    def segment(self, image: str | None, words: str, **values: Any) -> list[Any]:
        """Presses *Segment*: status, warnings, figure, segments, doctor and three downloads."""
        file = None if image is None else {"path": image, "meta": {"_type": "gradio.FileData"}}
        return self.call("go", "click", {"image": file, "words": words, **values})

    def join(self, number: int, data: Any, **more: Any) -> str:
        """Puts a request into the queue and returns its name."""
        body = {"data": data, "fn_index": number, "session_hash": self.session, **more}
        return str(checked(self.http.post(f"{API}/queue/join", json=body)).json()["event_id"])

    def messages(self) -> Iterator[dict[str, Any]]:
        """What the page sends to this session."""
        with self.http.stream("GET", f"{API}/queue/data", params={"session_hash": self.session}) as stream:
            for line in checked(stream).iter_lines():
                if line.startswith("data:"):
                    yield json.loads(line.removeprefix("data:"))


def checked(response: httpx.Response) -> httpx.Response:
    """The response, if it is one.

    Raises:
        Refused: its status is an error; the message is its text.
    """
    if response.status_code >= 400:
        response.read()
        text = response.text
        with suppress(ValueError, AttributeError):
            text = str(response.json().get("detail", text))
        raise Refused(f"{response.status_code}: {text}")
    return response
