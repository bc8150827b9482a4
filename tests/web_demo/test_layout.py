"""Responses of the page's controls, without a browser."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

gr = pytest.importorskip("gradio")

from opsnet.web_demo.layout import build_page, launch_options, respond, uploaded  # noqa: E402


@pytest.fixture
def image(tmp_path) -> str:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(path)
    return str(path)


def test_a_response_fills_every_output(predictor, image) -> None:
    seen, status, figure, segments, doctor, *buttons = respond(predictor, None, image, "red circle, sea", 10, 0.5)
    assert seen.path == image
    assert "segments; network 0." in status
    assert 'class="figure"' in figure
    assert "<table>" in segments
    assert "s = " in doctor
    assert [Path(b.value["path"] if isinstance(b.value, dict) else b.value).name for b in buttons] == [
        "photo_overlay.png", "photo.png", "panoptic.json",
    ]  # fmt: skip
    again = respond(predictor, seen, image, "red circle, sea", 0, 0.5)
    assert "network not run again" in again[1]


def test_warnings_stand_below_the_status(predictor, image) -> None:
    status = respond(predictor, None, image, "red circle, <cup>", 10, 0.5)[1]
    assert "1 of 2 names mean nothing to this model (&#x27;&lt;cup&gt;&#x27;)" in status
    assert "the image is unlike the drawn scenes" in status  # it is noise
    assert status.count('role="alert"') == 3  # and its network is hardly trained
    assert "mean nothing to this model" not in respond(predictor, None, image, "red circle", 10, 0.5)[1]


def test_invalid_input_changes_only_the_status(predictor, tmp_path, image) -> None:
    (tmp_path / "<b>.png").write_text("no image")
    for path, words, part in [
        (str(tmp_path / "<b>.png"), "sea", "&lt;b&gt;.png cannot be read as an image"),
        (image, "", "there are no class names"),
        (None, "sea", "there is no image"),
    ]:
        state, status, *others = respond(predictor, None, path, words, 10, 0.5)
        assert part in status and 'class="status bad"' in status
        assert len(others) == 6
        assert all(other == gr.skip() for other in [state, *others])


def test_a_broken_upload_reaches_the_page_as_it_came() -> None:
    assert uploaded(SimpleNamespace(path="/tmp/text.png")) == "/tmp/text.png"
    assert uploaded(None) is None


def test_the_page_is_built_and_tells_nobody(predictor, image) -> None:
    page = build_page(predictor, [(image, "sea, tree")], ["coco", "scenes"])
    assert page.analytics_enabled is False
    assert any(isinstance(block, gr.State) for block in page.blocks.values())
    options = launch_options()
    assert options["share"] is False
    assert "https://fonts" not in options["theme"]._get_theme_css()
    assert ".figure" in options["css"]
