"""A server that speaks as much of wandb's protocol as a run needs, and can go away in the middle of it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class WandbServer:
    """Listens on a free port of this machine until it is closed.

    Attributes:
        address: for ``WANDB_BASE_URL``.
        asked: the number of requests so far.
    """

    def __init__(self) -> None:
        self.asked = 0
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer({})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                server.asked += 1
                self._answer(_graphql(json.loads(body), server.address) if self.path == "/graphql" else {})

            do_PUT = do_POST

            def _answer(self, content: dict[str, Any]) -> None:
                text = json.dumps(content).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *args: Any) -> None:
                """Nothing in the terminal."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Refuses connections from now on."""
        self._server.shutdown()
        self._server.server_close()


def _graphql(request: dict[str, Any], address: str) -> dict[str, Any]:
    """The response to a query or mutation; ``null`` for those that a run can do without."""
    query, given = request["query"], request.get("variables") or {}
    if "upsertBucket" in query:
        name, project = str(given.get("name")), str(given.get("project"))
        bucket = {
            "id": "run", "name": name, "displayName": name, "description": "", "config": "{}", "sweepName": None,
            "historyLineCount": 0, "project": {"id": "p", "name": project, "entity": {"id": "e", "name": "me"}},
        }  # fmt: skip
        return {"data": {"upsertBucket": {"bucket": bucket, "inserted": True}}}
    if "createRunFiles" in query:
        files = [{"name": name, "uploadUrl": f"{address}/files/{name}"} for name in given.get("files") or ()]
        return {"data": {"createRunFiles": {"runID": "run", "uploadHeaders": [], "files": files}}}
    if "viewer" in query:
        viewer = {"id": "v", "entity": "me", "username": "me", "flags": "{}", "teams": {"edges": []}}
        return {"data": {"viewer": viewer, "serverInfo": None}}
    return {"data": {"serverInfo": {"features": []}, "model": None, "project": None}}
