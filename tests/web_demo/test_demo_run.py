"""The page's command, and the whole page in headless Chromium: two visitors, every control, and bad input."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from opsnet.commands.demo import main
from opsnet.utils.errors import InputError
from opsnet.web_demo.run import draw_examples, newest_checkpoint


def test_the_newest_run_is_found_in_any_folder(tmp_path) -> None:
    for age, folder in ((30, "a/2026"), (10, "make_run_seed0/first/opsnet"), (20, "b")):
        path = tmp_path / folder / "checkpoints" / "last.ckpt"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
        os.utime(path, (time.time() - age, time.time() - age))
    assert newest_checkpoint(tmp_path) == tmp_path / "make_run_seed0/first/opsnet/checkpoints/last.ckpt"


def test_no_run_is_one_sentence(command, tmp_path) -> None:
    with pytest.raises(InputError, match="no trained network under"):
        newest_checkpoint(tmp_path)
    code, error = command(main, f"hydra.run.dir={tmp_path / 'run'}", f"paths.runs={tmp_path / 'runs'}")
    assert code == 2
    assert "train the miniature with `make run`, or give checkpoint=PATH" in error.splitlines()[-1]


def test_a_missing_gradio_is_one_sentence(command, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, error = command(main, f"hydra.run.dir={tmp_path / 'run'}")
    assert (code, error.splitlines()[-1]) == (2, "error: the page needs gradio: pip install 'opsnet[demo]'")


def test_examples_are_images_with_class_names(tmp_path) -> None:
    rows = draw_examples(tmp_path)
    assert len({path for path, _ in rows}) == 3
    for path, words in rows:
        with Image.open(path) as image:
            assert image.size == (96, 96)
        assert len(words.split(", ")) > 10


# --- in a browser -----------------------------------------------------------------------------------------------------

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1400,1150"
)
WORDS = "red circle, green stripes, blue square, sea"
PATIENCE = 400  # seconds


@pytest.fixture(scope="module")
def address(lenient_checkpoint, tmp_path_factory) -> Iterator[str]:
    """The page, served by its command from a separate folder."""
    folder = tmp_path_factory.mktemp("demo")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [f"checkpoint={lenient_checkpoint}", f"port={port}", "device=cpu", "threshold=0"]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "opsnet.demo", *arguments], cwd=folder, stdout=log, stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip
    try:
        wait_until(lambda: server.poll() is not None or is_served(port))
        assert server.poll() is None, (folder / "log").read_text()
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def is_served(port: int) -> bool:
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/config").status == 200  # type: ignore[no-any-return]
    except OSError:
        return False


def wait_until(condition: Callable[[], Any]) -> Any:
    """Its first truthy value."""
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < end, "the page did not answer in time"
        time.sleep(0.2)
    return value


class Visitor:
    """One browser on the page."""

    def __init__(self, address: str, folder: Path) -> None:
        from selenium import webdriver

        options = webdriver.ChromeOptions()
        options.binary_location = str(CHROMIUM)
        for flag in [*FLAGS.split(), f"--user-data-dir={folder / 'profile'}"]:
            options.add_argument(flag)
        self.downloads = folder / "downloads"
        options.add_experimental_option("prefs", {"download.default_directory": str(self.downloads)})
        options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
        self.browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
        self.browser.get(address)
        wait_until(lambda: self.all("#go"))

    def all(self, css: str) -> list[Any]:
        return self.browser.find_elements("css selector", css)

    def text(self, css: str) -> str:
        return self.browser.execute_script("return document.querySelector(arguments[0])?.textContent ?? ''", css)

    def attribute(self, css: str, name: str) -> str:
        script = "return document.querySelector(arguments[0])?.getAttribute(arguments[1]) ?? ''"
        return self.browser.execute_script(script, css, name)

    def upload(self, path: Path) -> None:
        for remove in self.all("#image button[aria-label='Remove Image']"):
            self.browser.execute_script("arguments[0].click()", remove)
        wait_until(lambda: not self.all("#image img"))
        (chooser,) = self.all("#image input[type=file]")
        chooser.send_keys(str(path))
        wait_until(lambda: self.attribute("#image img", "src").endswith(f"/{path.name}"))

    def write(self, words: str) -> None:
        script = (
            "const box = document.querySelector('#words textarea'); box.value = arguments[0];"
            "box.dispatchEvent(new Event('input', {bubbles: true}))"
        )
        self.browser.execute_script(script, words)

    def segment(self) -> str:
        """Presses the button and returns the new status."""
        return self.acting(lambda: self.browser.execute_script("document.querySelector('#go').click()"))

    def acting(self, act: Callable[[], Any]) -> str:
        """Performs an action and returns the new status."""
        script = "const s = document.querySelector('#status .status'); if (s) s.textContent = arguments[0]"
        self.browser.execute_script(script, "waiting")
        act()
        return wait_until(lambda: (now := self.text("#status .status")) != "waiting" and now)

    def names(self) -> list[str]:
        segments = json.loads(self.attribute("#figure .figure", "data-segments"))
        return sorted(s["name"] for s in segments.values())

    def open_doctor(self) -> None:
        """Opens the doctor's tab, which is rendered only then."""
        (tab,) = (t for t in self.all("button[role=tab]") if "doctor" in t.get_attribute("textContent"))
        self.browser.execute_script("arguments[0].click()", tab)
        wait_until(lambda: self.all("#doctor .lead"))

    def examined(self) -> list[str]:
        """The class names in the doctor's table."""
        script = "return [...document.querySelectorAll('#doctor td:first-child')].map(cell => cell.textContent)"
        return sorted(self.browser.execute_script(script))

    def download(self, button_id: str, file_name: str) -> Path:
        """Downloads the file of one of the three buttons."""
        (button,) = self.all(f"#{button_id}")
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
        button.click()
        wait_until((self.downloads / file_name).is_file)
        return self.downloads / file_name

    def close(self) -> None:
        self.browser.quit()


@pytest.fixture
def visitors(address, tmp_path) -> Iterator[tuple[Visitor, Visitor]]:
    """Two independent browsers on the same page."""
    opened: list[Visitor] = []
    try:
        for name in ("first", "second"):
            (tmp_path / name).mkdir()
            opened.append(Visitor(address, tmp_path / name))
        yield opened[0], opened[1]
    finally:
        for visitor in opened:
            visitor.close()


def draw(path: Path, size: tuple[int, int], seed: int) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)
    pixels[size[1] // 4 : size[1] // 2, : size[0] // 2] = (220, 30, 30)
    Image.fromarray(pixels).save(path)
    return path


def hosts(visitor: Visitor) -> set[str]:
    """Every host that the page made the browser contact."""
    messages = (json.loads(entry["message"])["message"] for entry in visitor.browser.get_log("performance"))
    urls = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    return {url.split("/")[2] for url in urls if url.startswith(("http", "ws"))}


@pytest.mark.slow
@pytest.mark.skipif(None in (CHROMIUM, DRIVER), reason="no chromium: apt-get install chromium chromium-driver")
def test_two_visitors_use_every_control(visitors, address, tmp_path) -> None:
    first, second = visitors
    first.upload(draw(tmp_path / "wide.png", (90, 60), 0))
    second.upload(draw(tmp_path / "high.png", (50, 80), 1))
    first.write(WORDS)
    second.write("blue waves, tree, moon")
    assert "segments; network" in first.segment()
    assert "segments; network" in second.segment()

    # Each has their own image and class names.
    assert set(first.names()) <= set(WORDS.split(", "))
    assert set(second.names()) <= {"blue waves", "tree", "moon"}
    for visitor in visitors:
        visitor.open_doctor()
    assert first.examined() == sorted(WORDS.split(", "))
    assert second.examined() == ["blue waves", "moon", "tree"]

    # The slider names again, without the network, for the one who moved it.
    before = second.attribute("#figure .figure", "data-segments")
    strength = first.text("#doctor .lead")
    slide = (
        "const s = document.querySelector('#alpha input[type=range]'); s.value = 0;"
        "s.dispatchEvent(new Event('input', {bubbles: true})); s.dispatchEvent(new Event('change', {bubbles: true}));"
        "s.dispatchEvent(new PointerEvent('pointerup', {bubbles: true}))"
    )
    assert "network not run again" in first.acting(lambda: first.browser.execute_script(slide))
    assert "α (1 − s) = 0.00" in first.text("#doctor .lead") != strength
    assert second.attribute("#figure .figure", "data-segments") == before

    hover_and_download(first, tmp_path)
    assert hosts(first) == {address.removeprefix("http://")}


def hover_and_download(visitor: Visitor, tmp_path: Path) -> None:
    """Hovering shows the names of the segment under the pointer, and the files have the same names."""
    from selenium.webdriver.common.action_chains import ActionChains

    described = json.loads(visitor.attribute("#figure .figure", "data-segments"))
    files = [visitor.download(*file) for file in (("panoptic", "wide.png"), ("json", "panoptic.json"))]
    ids = np.array(Image.open(files[0]).convert("RGB"), dtype=np.int64) @ (1, 256, 65_536)
    assert ids.shape == (60, 90)
    listed = json.loads(files[1].read_text())["annotations"][0]["segments_info"]
    assert {str(s["id"]): s["names"] for s in listed} == {key: s["top"] for key, s in described.items()}
    with Image.open(visitor.download("overlay", "wide_overlay.png")) as overlay_file:
        assert overlay_file.size[0] / overlay_file.size[1] == pytest.approx(1.5, abs=0.1)

    largest = max(listed, key=lambda s: s["area"])
    y, x = (int(middle) for middle in np.median(np.argwhere(ids == largest["id"]), axis=0))
    y, x = min(np.argwhere(ids == largest["id"]).tolist(), key=lambda place: abs(place[0] - y) + abs(place[1] - x))
    (overlay,) = visitor.all("#figure .overlay")
    visitor.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", overlay)
    across, down = (x + 0.5) / 90 - 0.5, (y + 0.5) / 60 - 0.5
    offset = round(across * overlay.size["width"]), round(down * overlay.size["height"])
    ActionChains(visitor.browser).move_to_element(overlay).move_to_element_with_offset(overlay, *offset).perform()
    wait_until(lambda: visitor.all("#figure .tip:not([hidden])"))
    assert visitor.text("#figure .tip b") == described[str(largest["id"])]["name"]
    rows = [row.text.split("\n")[0] for row in visitor.all("#figure .tip .row")]
    assert rows == [name for name, _ in largest["names"]]


@pytest.mark.slow
@pytest.mark.skipif(None in (CHROMIUM, DRIVER), reason="no chromium: apt-get install chromium chromium-driver")
def test_invalid_input_is_a_message_and_the_page_still_works(visitors, tmp_path) -> None:
    visitor, _ = visitors
    visitor.write(WORDS)
    assert "there is no image: upload one" in visitor.segment()
    (tmp_path / "text.png").write_text("not an image")
    visitor.upload(tmp_path / "text.png")
    assert re.search(r"text.*\.png cannot be read as an image", visitor.segment())
    Image.new("RGB", (10_000, 6_000)).save(tmp_path / "large.png")
    visitor.upload(tmp_path / "large.png")
    assert "60 megapixels (10000 x 6000), more than the 25 that this page accepts" in visitor.segment()
    visitor.upload(draw(tmp_path / "good.png", (90, 60), 0))
    visitor.write(", ".join(f"word {i}" for i in range(5000)))
    assert "5,000 names are more than the 1,000 that this page accepts" in visitor.segment()
    visitor.write(WORDS)
    assert "segments; network" in visitor.segment()
    assert visitor.names()
