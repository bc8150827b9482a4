"""The page and the predictor under many clients at once."""

from __future__ import annotations

import io
import itertools
import os
import re
import warnings
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from opsnet.prediction.predictor import Predictor, load
from scripts.gpu_check.report import Table
from scripts.soak.clients import Case, Outcome, require_distinct, run_clients
from scripts.soak.network import draw
from scripts.soak.options import Options
from scripts.soak.watching import COLUMNS, Watch, growing, row
from scripts.web_demo.client import API, Client, checked
from scripts.web_demo.visitor import served_process

STORED = 16
"""MB of stored network outputs, instead of 2,048: full after the warm-up, so that what grows later is a leak."""

LEAD = 0.6
"""Share of the time that the page is asked before memory is watched: its threads and caches take three minutes."""

STATUS, WARNINGS, FIGURE, SEGMENTS, DOCTOR, OVERLAY, PANOPTIC, LISTED = range(8)


def load_page(options: Options) -> list[Table]:
    """A real server, asked by clients as a browser would: uploads, names, and downloads."""
    arguments = (f"checkpoint={options.network}", "device=cpu", "threshold=0", f"stored_mb={STORED}")
    with served_process(options.folder, *arguments) as (page, pid), Watch(pid) as watch:
        clients = [Client(page, patience=300) for _ in range(options.clients)]
        cases = [_page_cases(number, client, options.folder) for number, client in enumerate(clients)]
        require_distinct(cases)
        before = run_clients(cases, LEAD * options.minutes)
        warm = len(watch.samples)
        outcome = run_clients(cases, options.minutes)
    outcome.failures += before.failures
    outcome.mixed += before.mixed
    return _tables("page", outcome, options, watch, warm)


def _page_cases(number: int, client: Client, folder: Path) -> list[Case]:
    """Two requests of a client: a new image, then other names for it. What is expected is the page's result alone."""
    pixels, names = draw(number)
    words = (", ".join([*names, f"own name {number}"]), ", ".join([*reversed(names), f"second name {number}", "moon"]))
    state: dict[str, str] = {}
    counter = itertools.count()

    def first() -> Hashable:
        path = folder / f"client{number}.png"
        path.write_bytes(_unique_png(pixels, f"{number} {next(counter)}"))  # the network runs for a new file only
        state["path"] = client.upload(path)
        return _shown(client, client.segment(state["path"], words[0]))

    def second() -> Hashable:
        return _shown(client, client.segment(state["path"], words[1]))

    pairs = ((f"page client {number}, new image", first), (f"page client {number}, other names", second))
    return [(name, request, request()) for name, request in pairs]


def _unique_png(pixels: NDArray[np.uint8], text: str) -> bytes:
    """A file that differs from all others, with the same pixels."""
    info = PngImagePlugin.PngInfo()
    info.add_text("number", text)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def _shown(client: Client, outputs: list[Any]) -> Hashable:
    """All that a visitor sees and downloads, without times and paths.

    Raises:
        ValueError: the page shows an error.
    """
    if "bad" in outputs[STATUS]:
        raise ValueError(outputs[STATUS])
    files = [checked(client.http.get(f"{API}/file={_path(outputs[i])}")).content for i in (OVERLAY, PANOPTIC, LISTED)]
    count = re.sub(r";.*|data-time=\S+", "", outputs[STATUS])
    return (count, *(outputs[i] for i in (WARNINGS, FIGURE, SEGMENTS, DOCTOR)), *files)


def _path(output: Any) -> str:
    """The path in the description of a download, however gradio wraps it."""
    while "path" not in output:
        output = output.get("value") or output["props"]
    return str(output["path"])


def load_predictor(options: Options) -> list[Table]:
    """One predictor, called from many threads at once."""
    warnings.simplefilter("ignore")  # names that mean nothing to the network
    predictor = load(options.network, device="cpu")
    predictor.filtering.threshold = 0
    with Watch(os.getpid()) as watch:
        cases = [_predictor_cases(number, predictor) for number in range(options.clients)]
        require_distinct(cases)
        warm = len(watch.samples)
        outcome = run_clients(cases, options.minutes)
    return _tables("predictor", outcome, options, watch, warm)


def _predictor_cases(number: int, predictor: Predictor) -> list[Case]:
    pixels, names = draw(number)
    sides = (96 + 8 * (number % 4), 96)

    def request(image: NDArray[np.uint8], words: list[str]) -> Hashable:
        found = predictor(image, words)
        return (found.ids.numpy().tobytes(), repr(found.segments), found.vocabulary.names)

    high = np.array(Image.fromarray(pixels).resize(sides))
    inputs = ((pixels, [*names, f"own name {number}"]), (high, [f"second name {number}", *names]))
    cases: list[Case] = []
    for order, given in enumerate(inputs):

        def ask(given: Any = given) -> Hashable:
            return request(*given)

        cases.append((f"predictor client {number}, request {order}", ask, ask()))
    return cases


def _tables(name: str, outcome: Outcome, options: Options, watch: Watch, warm: int) -> list[Table]:
    faults, samples = outcome.faults(), watch.samples[warm:]
    requests = max(1, outcome.requests)
    under_load = Table(f"Load: {name}", Outcome.COLUMNS, failures=faults)
    under_load.rows.append(outcome.row(name, options.clients, options.minutes, watch.peak))
    over_time = Table(f"Load: {name}, over time", COLUMNS, failures=growing(samples, requests))
    over_time.rows.append(row(f"{name} (a step is a request)", samples, requests))
    return [under_load, over_time]
