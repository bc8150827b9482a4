"""What the page's controls do, without a browser."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

gr = pytest.importorskip("gradio")

import opsnet  # noqa: E402
from opsnet.utils.errors import InputError  # noqa: E402
from opsnet.web_demo import handlers  # noqa: E402
from opsnet.web_demo.examples import Example, examples_for  # noqa: E402
from opsnet.web_demo.handlers import Handlers, preset_words, warning_lines  # noqa: E402
from opsnet.web_demo.models import Models  # noqa: E402
from opsnet.web_demo.uploads import ProcessedImages  # noqa: E402

PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "data" / "published_models" / "fcclip_small" / "convnext"
FULL = ("full", 10.0, 0.5, 0.0)
OUTPUTS = 8
EVIL = "<img src=x onerror=alert(1)>"


def publish():
    return opsnet.load(PUBLISHED / "model_final.pth", clip=PUBLISHED / "open_clip_config.json", device="cpu")


def damaged():
    raise InputError("b.pth is <damaged>")


@pytest.fixture
def page(predictor, tmp_path) -> Handlers:
    models = Models({"own": lambda: predictor, "published": publish, "broken": damaged})
    return Handlers(models, lambda train: examples_for(train, tmp_path), tmp_path, ProcessedImages())


@pytest.fixture
def image(tmp_path) -> str:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(path)
    return str(path)


def test_memory_of_a_pass_is_given_back(page, image, monkeypatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(handlers, "return_free_memory", lambda: calls.append(1))
    page.respond("own", image, "red circle", *FULL)
    assert len(calls) == 1
    page.respond("own", image, "blue square", *FULL)
    assert len(calls) == 1  # the network did not run again


def test_a_response_fills_every_output(page, image) -> None:
    status, _, figure, segments, doctor, *buttons = page.respond("own", image, "red circle, sea", *FULL)
    assert "segment" in status and "; network 0." in status
    assert 'class="figure"' in figure and 'alt="photo.png with ' in figure
    assert "<table>" in segments
    assert "s = " in doctor and "α (1 − s)" in doctor
    files = [button["value"] for button in buttons]
    assert [Path(file).name for file in files] == ["photo_overlay.png", "photo.png", "panoptic.json"]
    assert all(Path(file).is_relative_to(page.folder) for file in files)
    again = page.respond("own", image, "red circle, sea", "full", 0, 0.5, 0.0)
    assert "network not run again" in again[0]
    assert "network 0." in page.respond("own", shutil.copy(image, f"{image[:-4]}2.png"), "sea", *FULL)[0]


def test_an_output_that_made_room_is_computed_again(page, image, predictor) -> None:
    small = Handlers(page.models, page.examples, page.folder, ProcessedImages(limit=1))
    for _ in range(2):
        assert "network 0." in small.respond("own", image, "sea", *FULL)[0]


def test_invalid_input_changes_only_the_status(page, tmp_path, image) -> None:
    (tmp_path / "<b>.png").write_text("no image")
    for path, words, part in [
        (str(tmp_path / "<b>.png"), "sea", "&lt;b&gt;.png cannot be read as an image"),
        (image, "", "there are no class names"),
        (image, f"{EVIL * 5}", "&lt;img src=x onerror=alert(1)&gt;"),
        (None, "sea", "there is no image"),
        (__file__, "sea", "the image is not on the server (any more)"),
        ({"path": __file__}, "sea", "the image is not on the server (any more)"),
        ({"path": ["a"]}, "sea", "the image is not on the server (any more)"),
        ({"path": "a\0b"}, "sea", "the image is not on the server (any more)"),
        (image, None, "there are no class names"),
        (image, ["sea"], "there are no class names"),
    ]:
        status, *others = page.respond("own", path, words, *FULL)
        assert part in status and 'class="status bad"' in status and "<img" not in status
        assert others == [gr.skip()] * (OUTPUTS - 1)
    assert "there is no model" in page.respond("none", image, "sea", *FULL)[0]
    for controls in (("full", None, 0.5, 0.0), ("full", 10.0, "a", 0.0), ("full", 10.0, 0.5, [1])):  # emptied sliders
        assert "must be a number, got" in page.respond("own", image, "sea", *controls)[0]
    assert "does not work with this model" in page.respond("own", image, "sea", ["full"], 10.0, 0.5, 0.0)[0]
    assert "; network 0." in page.respond("own", {"path": image}, "sea", *FULL)[0]


def test_a_class_name_is_never_html(page, image) -> None:
    _, *texts = page.respond("own", image, f"{EVIL}, </div>{EVIL}", *FULL)[:5]
    assert not any(EVIL in text or "</div>&lt;" in text for text in texts)
    assert "&lt;img src=x onerror=alert(1)&gt;" in texts[1] + texts[2]
    assert EVIL not in warning_lines([EVIL])


def test_another_model_clears_the_result_and_brings_its_own_settings(page, image) -> None:
    about, recognizer, alpha, beta, threshold, examples, *outputs = page.choose_model("own")
    assert "18 names (scenes)" in about
    assert (recognizer["value"], alpha["value"], beta["value"]) == ("full", 10.0, 0.5)
    assert alpha["visible"] and beta["visible"]
    assert (threshold["minimum"], threshold["value"]) == (0, 0)
    assert len(examples["samples"] if isinstance(examples, dict) else examples.samples) == 3
    assert len(outputs) == OUTPUTS
    assert "ready" in outputs[0] and "placeholder" in outputs[2]
    assert all(button["interactive"] is False for button in outputs[5:])
    *view, status = page.choose_model("broken")[:7]
    assert view == [gr.skip()] * 6
    assert "b.pth is &lt;damaged&gt;" in status


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason=f"the published models are not at {PUBLISHED}")
def test_published_weights_start_with_their_own_recognizer(page, image) -> None:
    _, recognizer, alpha, beta, threshold, *_ = page.choose_model("published")
    assert recognizer["value"] == "geometric_ensemble"
    assert not alpha["visible"] and not beta["visible"]
    assert threshold["value"] == 0
    doctor = page.respond("published", image, "sea, tree", "geometric_ensemble", 10, 0.5, 0)[4]
    assert "s = " in doctor and "α" not in doctor
    assert [s["visible"] for s in page.choose_recognizer("published", "full")] == [True, True]


def test_sliders_follow_the_recognizer(page) -> None:
    alpha, beta = page.choose_recognizer("own", "fusion_only")
    assert (alpha["value"], beta["value"], alpha["visible"]) == (10.0, 0.0, True)
    assert [s["visible"] for s in page.choose_recognizer("own", "query_only")] == [False, False]
    assert page.choose_recognizer("own", "none") == [gr.skip()] * 2


def test_an_example_brings_its_names_and_clears_the_result(page, predictor) -> None:
    path, words, *outputs = page.choose_example("own", 1)
    assert Path(path).name == "scenes_novel.png"
    assert len(words.split(", ")) > 2
    assert "placeholder" in outputs[2] and len(outputs) == OUTPUTS
    own = Handlers(page.models, lambda train: (Example("a.png", None),), page.folder, page.images)
    assert own.choose_example("own", 0)[1] == gr.skip()
    for index in (-1, 3, "x", None, [0]):
        path, _, status, *others = page.choose_example("own", index)
        assert path == gr.skip() and "there is no such example" in status and len(others) == OUTPUTS - 1


def test_a_packaged_vocabulary_as_text() -> None:
    assert preset_words("scenes").startswith("red circle, blue square, ")
    for name in (None, "/etc/passwd", "scenes.json", ["scenes"]):
        assert preset_words(name) == gr.skip()
