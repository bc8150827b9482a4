"""The page as a visitor has it: served by its command, opened in headless Chromium through selenium."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from opsnet.utils.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
MISSING = "no chromium: apt-get install chromium chromium-driver"
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
PATIENCE = 400  # seconds


@contextmanager
def served(folder: Path, *arguments: str) -> Iterator[str]:
    """The address of a page, served by its command with ``arguments`` from ``folder``.

    Raises:
        InputError: the command ends; the message is its output.
    """
    with served_process(folder, *arguments) as (address, _):
        yield address


@contextmanager
def served_process(folder: Path, *arguments: str) -> Iterator[tuple[str, int]]:
    """The address of a page as for :func:`served`, and the number of its process.

    Raises:
        InputError: the command ends; the message is its output.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "opsnet.demo", *arguments, f"port={port}"], cwd=folder, stdout=log,
            stderr=subprocess.STDOUT, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    try:
        wait_until(lambda: server.poll() is not None or _is_served(port))
        if server.poll() is not None:
            raise InputError(f"opsnet-demo ended: {(folder / 'log').read_text()}")
        yield f"http://127.0.0.1:{port}", server.pid
    finally:
        server.terminate()
        server.wait()


def _is_served(port: int) -> bool:
    try:
        return bool(urllib.request.urlopen(f"http://127.0.0.1:{port}/").status == 200)
    except OSError:
        return False


def wait_until(condition: Callable[[], Any]) -> Any:
    """The first truthy value of a condition."""
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, "the page did not answer in time"
        time.sleep(0.1)
    return value


class Visitor:
    """One browser on the page.

    Args:
        address: of the page.
        folder: for the browser's profile and downloads.
        width, height: of the window in CSS pixels.
    """

    def __init__(self, address: str, folder: Path, width: int = 1366, height: int = 900) -> None:
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = str(CHROMIUM)
        for flag in [*FLAGS.split(), f"--user-data-dir={folder / 'profile'}"]:
            options.add_argument(flag)
        self.downloads = folder / "downloads"
        options.add_experimental_option("prefs", {"download.default_directory": str(self.downloads)})
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        self.browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
        # A window cannot be narrower than 500 pixels; a phone is emulated.
        phone = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
        self.width = width
        self.browser.get(address)
        wait_until(lambda: self.all("#go"))

    def all(self, css: str) -> list[Any]:
        """All elements that match a selector."""
        return self.browser.find_elements("css selector", css)

    def one(self, css: str) -> Any:
        """The only element that matches a selector."""
        (element,) = self.all(css)
        return element

    def run(self, script: str, *arguments: Any) -> Any:
        """The value that a script returns."""
        return self.browser.execute_script(script, *arguments)

    def text(self, css: str) -> str:
        """The text of the first element, or ""."""
        return str(self.run("return document.querySelector(arguments[0])?.textContent.trim() ?? ''", css))

    def attribute(self, css: str, name: str) -> str:
        """An attribute of the first element, or ""."""
        return str(self.run("return document.querySelector(arguments[0])?.getAttribute(arguments[1]) ?? ''", css, name))

    def click(self, css: str) -> None:
        """Clicks the first element, visible or not."""
        self.run("document.querySelector(arguments[0]).click()", css)

    def acting(self, act: Callable[[], Any]) -> str:
        """Performs an action and returns the new status."""
        before = self.attribute("#status .status", "data-time")
        act()
        wait_until(lambda: self.attribute("#status .status", "data-time") not in ("", before))
        return self.text("#status .status")

    def upload(self, path: Path) -> None:
        """Replaces the image."""
        if self.all("#image button[aria-label='Remove Image']"):
            self.acting(lambda: self.click("#image button[aria-label='Remove Image']"))
        wait_until(lambda: not self.all("#image img"))
        self.acting(lambda: self.one("#image input[type=file]").send_keys(str(path)))
        wait_until(lambda: self.all("#image img"))

    def write(self, words: str) -> None:
        """Replaces the class names."""
        self.run(
            "const box = document.querySelector('#words textarea'); box.value = arguments[0];"
            "box.dispatchEvent(new Event('input', {bubbles: true}))",
            words,
        )

    def segment(self) -> str:
        """Presses the button and returns the new status."""
        return self.acting(lambda: self.click("#go"))

    def slide(self, name: str, value: float) -> str:
        """Moves a slider and returns the new status."""
        script = (
            "const s = document.querySelector(`#${arguments[0]} input[type=range]`); s.value = arguments[1];"
            "for (const kind of ['input', 'change']) s.dispatchEvent(new Event(kind, {bubbles: true}))"
        )
        return self.acting(lambda: self.run(script, name, value))

    def choose(self, name: str, choice: str) -> None:
        """Chooses an option of a dropdown."""
        box = self.one(f"#{name} input")
        self.run("arguments[0].scrollIntoView({block: 'center'})", box)
        box.click()
        option = wait_until(lambda: self.all(f"#{name} [role=option][aria-label='{choice}']"))
        option[0].click()

    def choose_example(self, number: int) -> str:
        """Chooses an example, counted from 0, and returns the status of its result."""
        self.acting(lambda: self.run("document.querySelectorAll('#examples button')[arguments[0]].click()", number))
        wait_until(lambda: self.all("#figure .figure") or self.all("#status .bad"))
        return self.text("#status .status")

    def segments(self) -> dict[str, Any]:
        """Id -> description of each segment of the result; empty without a result."""
        return dict(json.loads(self.attribute("#figure .figure", "data-segments") or "{}"))

    def names(self) -> list[str]:
        """The names of the segments."""
        return sorted(s["name"] for s in self.segments().values())

    def open_doctor(self) -> None:
        """Opens the doctor's tab, which is rendered only then."""
        tab = next(t for t in self.all("button[role=tab]") if "doctor" in t.get_attribute("textContent"))
        self.run("arguments[0].click()", tab)
        wait_until(lambda: self.all("#doctor .lead"))

    def download(self, button_id: str, file_name: str) -> Path:
        """Downloads the file of one of the three buttons."""
        button = self.one(f"#{button_id}")
        self.run("arguments[0].scrollIntoView({block: 'center'})", button)
        button.click()
        wait_until((self.downloads / file_name).is_file)
        return self.downloads / file_name

    def screenshot(self, height: int | None = None) -> Image.Image:
        """The page from its top to ``height``, or to its end."""
        height = height or self.run("return document.documentElement.scrollHeight")
        clip = {"x": 0, "y": 0, "width": self.width, "height": height, "scale": 1}
        shot = self.browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
        return Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")

    def close(self) -> None:
        """Closes the browser."""
        self.browser.quit()


@contextmanager
def visiting(address: str, folder: Path, sizes: Sequence[tuple[int, int]]) -> Iterator[list[Visitor]]:
    """Independent browsers on the same page, one of each size (width, height)."""
    opened: list[Visitor] = []
    try:
        for number, size in enumerate(sizes):
            own = folder / f"visitor{number}"
            own.mkdir()
            opened.append(Visitor(address, own, *size))
        yield opened
    finally:
        for visitor in opened:
            visitor.close()
