"""The page without a browser: its parts, and that it tells nobody about its visitors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

gr = pytest.importorskip("gradio")

from opsnet.web_demo.examples import Example  # noqa: E402
from opsnet.web_demo.guard import Guard  # noqa: E402
from opsnet.web_demo.layout import build_page, launch_options  # noqa: E402
from opsnet.web_demo.models import Models  # noqa: E402
from opsnet.web_demo.unread import MOST  # noqa: E402


@pytest.fixture
def page(predictor, tmp_path, monkeypatch) -> Any:
    monkeypatch.setenv("GRADIO_TEMP_DIR", "/elsewhere")  # the page changes it
    path = tmp_path / "example.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    examples = (Example(str(path), "sea, tree"),)
    models = Models({"miniature": lambda: predictor, "other": lambda: predictor})
    return build_page(models, lambda train: examples, ["coco", "scenes"], tmp_path)


def control(page: Any, name: str) -> Any:
    return next(block for block in page.blocks.values() if getattr(block, "elem_id", None) == name)


def test_the_controls_start_with_the_models_own_values(page, predictor) -> None:
    assert control(page, "recognizer").value == "full"
    assert (control(page, "alpha").value, control(page, "beta").value) == (10.0, 0.5)
    assert control(page, "threshold").value == predictor.filtering.threshold == control(page, "threshold").minimum
    assert control(page, "model").value == "miniature" and control(page, "model").visible
    assert control(page, "examples").visible


def test_uploads_lie_in_the_private_folder(page, tmp_path) -> None:
    assert Path(page.GRADIO_CACHE) == tmp_path
    assert {Path(b.GRADIO_CACHE) for b in page.blocks.values() if hasattr(b, "GRADIO_CACHE")} == {tmp_path}


def test_every_control_has_a_label(page) -> None:
    controls = (gr.Image, gr.Textbox, gr.Dropdown, gr.Slider, gr.Dataset, gr.DownloadButton)
    labels = [block.label for block in page.blocks.values() if isinstance(block, controls)]
    assert len(labels) == 13 and all(labels)
    assert len(set(labels)) == len(labels)


def test_the_queue_is_limited_and_there_is_no_way_around_it(page) -> None:
    assert page._queue.max_size == MOST
    assert page._queue.ANALYTICS_MAX_EVENTS == 100
    assert page.api_open is False
    assert all(f.preprocess is False for f in page.fns.values() if f.fn and f.inputs)


def test_nothing_is_told_to_others(page, tmp_path) -> None:
    options = launch_options(tmp_path)
    (guard,) = options["app_kwargs"]["middleware"]
    assert guard.cls is Guard and guard.kwargs == {"folder": tmp_path}
    assert page.analytics_enabled is False
    assert options["share"] is False
    assert "https://fonts" not in options["theme"]._get_theme_css()
    assert ".figure" in options["css"]
    assert all(f.api_visibility == "private" for f in page.fns.values())
