"""Responses to visitors: one forward pass per image, and errors of one sentence."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from opsnet.prediction.cautions import NoSegmentWarning
from opsnet.recognition.vocabulary_fit import VocabularyFit
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary
from opsnet.web_demo.responses import Controls, parse_words, segment_image, warnings_of

WORDS = "red circle, sea"
FULL = Controls("full", 10, 0.5)


@pytest.fixture
def image(tmp_path) -> str:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)).save(path)
    return str(path)


@pytest.fixture
def passes(predictor, monkeypatch) -> list[int]:
    """Counts the forward passes."""
    counted: list[int] = []
    propose = predictor.propose

    def count(images):
        counted.append(1)
        return propose(images)

    monkeypatch.setattr(predictor, "propose", count)
    return counted


def test_names_and_sliders_need_no_further_pass(predictor, image, passes) -> None:
    first = segment_image(predictor, None, image, WORDS, FULL)
    assert first.map.ids.shape == (40, 60)
    assert first.network_seconds > 0
    other = segment_image(predictor, first.seen, image, "blue waves, tree, moon", Controls("full", 0, 0))
    assert other.network_seconds == 0
    assert other.map.vocabulary.names == ("blue waves", "tree", "moon")
    assert other.fit.strength == 0
    assert len(passes) == 1
    fresh = segment_image(predictor, None, image, "blue waves, tree, moon", Controls("full", 0, 0))
    assert len(passes) == 2
    assert (fresh.map.ids == other.map.ids).all()
    assert [s.top for s in fresh.map.segments] == [s.top for s in other.map.segments]


def test_the_predictor_is_not_modified(predictor, image) -> None:
    before = segment_image(predictor, None, image, WORDS, FULL)
    segment_image(predictor, before.seen, image, WORDS, Controls("full", 20, 2))
    again = segment_image(predictor, before.seen, image, WORDS, FULL)
    assert [s.top for s in again.map.segments] == [s.top for s in before.map.segments]
    assert len(before.map.segments) > 0


def test_another_image_runs_the_network(predictor, image, tmp_path, passes) -> None:
    seen = segment_image(predictor, None, image, WORDS, FULL).seen
    Image.new("RGB", (32, 32)).save(tmp_path / "b.png")
    found = segment_image(predictor, seen, str(tmp_path / "b.png"), WORDS, FULL)
    assert len(passes) == 2
    assert found.map.ids.shape == (32, 32)


def test_the_threshold_needs_no_further_pass(predictor, image, passes) -> None:
    first = segment_image(predictor, None, image, WORDS, FULL)
    scores = sorted(s.score for s in first.map.segments)
    middle = sum(scores[:2]) / 2
    fewer = segment_image(predictor, first.seen, image, WORDS, Controls("full", threshold=middle))
    assert all(s.score > middle for s in fewer.map.segments)
    assert len(passes) == 1
    none = segment_image(predictor, first.seen, image, WORDS, Controls("full", threshold=1.0))
    assert none.map.segments == ()
    assert any(isinstance(warning, NoSegmentWarning) for warning in none.map.warnings)
    assert {str(warning) for warning in none.map.warnings} <= set(none.warnings)


def test_the_recognizer_is_the_chosen_one(predictor, image) -> None:
    for name in ("clip_only", "geometric_ensemble", "full"):
        found = segment_image(predictor, None, image, WORDS, Controls(name))
        (expected,) = predictor.name(found.seen.output, ["red circle", "sea"], modulation=name, top_k=5)
        assert [s.top for s in found.map.segments] == [s.top for s in expected.segments], name
        assert found.modulated == (name == "full")


def test_what_a_visitor_should_know(predictor, image) -> None:
    alike = segment_image(predictor, None, image, "sea, SEA!, " + "very " * 19 + "long", FULL)
    assert any("CLIP can hardly distinguish" in line for line in alike.warnings) == bool(alike.fit.look_alikes)
    cut = VocabularyFit(1, 0, (), (("sea", "ocean", 0.99),))
    assert warnings_of(alike.map, cut, ("a long name",))[-2:] == (
        "CLIP can hardly distinguish sea and ocean", "CLIP does not read these names to their end: a long name",
    )  # fmt: skip


# --- class names ------------------------------------------------------------------------------------------------------


def test_names_are_read_as_in_the_commands() -> None:
    text = " sea,  red   circle\nlake; tree,,"
    assert parse_words(text).names == Vocabulary.load(text).names == ("sea", "red circle", "lake", "tree")
    assert parse_words("sea, tree, Sea").names == ("sea", "tree")


def test_names_are_never_a_file_or_a_packaged_vocabulary(tmp_path) -> None:
    (tmp_path / "secret.txt").write_text("secret\n")
    assert parse_words(f"{tmp_path / 'secret.txt'}").names == (str(tmp_path / "secret.txt"),)
    assert parse_words("coco").names == ("coco",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there are no class names"),
        (" , \n", "there are no class names"),
        (", ".join(f"word {i}" for i in range(5000)), "5,000 names are more than the 1,000 that this page accepts"),
        ("sea, " + "x" * 101, "is longer than 100 characters"),
    ],
)
def test_names_that_are_refused(text, message, predictor, image, passes) -> None:
    with pytest.raises(InputError, match=message):
        segment_image(predictor, None, image, text, FULL)
    assert passes == []


@pytest.mark.parametrize("value", [None, "1", True, float("nan"), float("inf"), [1], {}])
def test_a_setting_that_is_no_number_is_refused(value) -> None:
    for place, label in enumerate(("α", "β", "score threshold")):
        numbers = [1.0, 1.0, 0.5]
        numbers[place] = value
        with pytest.raises(InputError, match=f"{label} must be a number, got .*: move its slider"):
            Controls.checked("full", *numbers)
    assert Controls.checked("full", 1, 0.5, 0) == Controls("full", 1.0, 0.5, 0.0)
