"""A server of images on this machine."""

from __future__ import annotations

import http.server
import io
import time
from contextlib import suppress

import numpy as np
from PIL import Image

PIXELS = np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3)


class Handler(http.server.BaseHTTPRequestHandler):
    """Sends PIXELS as a PNG; /missing.png, /moved, /page and /slow are what they say."""

    def do_GET(self) -> None:
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", "/a.png" if self.path == "/moved" else "file:///etc/hostname")
            self.end_headers()
            return
        if self.path == "/missing.png":
            self.send_error(404)
            return
        self.send_response(200)
        self.end_headers()
        if self.path == "/page":
            self.wfile.write(b"<html>")
        elif self.path == "/slow":
            with suppress(OSError):  # the client leaves
                for _ in range(20):
                    self.wfile.write(b"x")
                    self.wfile.flush()
                    time.sleep(0.1)
        else:
            file = io.BytesIO()
            Image.fromarray(PIXELS).save(file, "PNG")
            self.wfile.write(file.getvalue())

    def log_message(self, *_: object) -> None:
        pass
