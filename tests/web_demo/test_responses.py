"""Responses to visitors: one forward pass per image, and errors of one sentence."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from opsnet.recognition.modulation import ClipOnly
from opsnet.utils.errors import InputError
from opsnet.web_demo.responses import parse_words, read_upload, segment_image

WORDS = "red circle, sea"


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
    first = segment_image(predictor, None, image, WORDS, 10, 0.5)
    assert first.map.ids.shape == (40, 60)
    assert first.network_seconds > 0
    other = segment_image(predictor, first.seen, image, "blue waves, tree, moon", 0, 0)
    assert other.network_seconds == 0
    assert other.map.vocabulary.names == ("blue waves", "tree", "moon")
    assert other.fit.strength == 0
    assert len(passes) == 1
    fresh = segment_image(predictor, None, image, "blue waves, tree, moon", 0, 0)
    assert len(passes) == 2
    assert (fresh.map.ids == other.map.ids).all()
    assert [s.top for s in fresh.map.segments] == [s.top for s in other.map.segments]


def test_a_mask2former_is_labelled_by_its_own_recognizer(predictor, image, monkeypatch) -> None:
    """The sliders are for Embedding Modulation, which needs query embeddings that it does not have."""
    monkeypatch.setattr(type(predictor.trained.model), "has_query_embeddings", False)
    monkeypatch.setattr(predictor, "recognizer", ClipOnly())
    found = segment_image(predictor, None, image, WORDS, 10, 0.5)
    (expected,) = predictor.name(found.seen.output, WORDS, modulation="clip_only", top_k=5)
    assert found.map.segments == expected.segments


def test_the_predictor_is_not_modified(predictor, image) -> None:
    before = segment_image(predictor, None, image, WORDS, 10, 0.5)
    segment_image(predictor, before.seen, image, WORDS, 20, 2)
    again = segment_image(predictor, before.seen, image, WORDS, 10, 0.5)
    assert [s.top for s in again.map.segments] == [s.top for s in before.map.segments]
    assert len(before.map.segments) > 0


def test_another_image_runs_the_network(predictor, image, tmp_path, passes) -> None:
    seen = segment_image(predictor, None, image, WORDS, 10, 0.5).seen
    Image.new("RGB", (32, 32)).save(tmp_path / "b.png")
    found = segment_image(predictor, seen, str(tmp_path / "b.png"), WORDS, 10, 0.5)
    assert len(passes) == 2
    assert found.map.ids.shape == (32, 32)


# --- class names ------------------------------------------------------------------------------------------------------


def test_names_are_separated_by_commas_or_lines_and_deduplicated() -> None:
    assert parse_words(" sea,  red   circle\nSea; tree,,").names == ("sea", "red circle", "tree")


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
        segment_image(predictor, None, image, text, 10, 0.5)
    assert passes == []


# --- images ---------------------------------------------------------------------------------------------------------


def png_header(path: Path, width: int, height: int) -> Path:
    """A PNG with a header for width x height pixels, but no pixels."""
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), b"IDAT")
    written = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(written))
    return path


@pytest.mark.parametrize(("width", "height", "size"), [(10_000, 6_000, "60 megapixels"), (5_001, 5_000, "25")])
def test_a_large_image_is_refused_by_its_header(width, height, size, tmp_path) -> None:
    path = png_header(tmp_path / "large.png", width, height)
    with pytest.raises(InputError, match=rf"large\.png has {size}.* more than the 25 that this page accepts"):
        read_upload(str(path))


def test_a_bomb_is_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="cannot be read as an image"):
        read_upload(str(png_header(tmp_path / "bomb.png", 60_000, 60_000)))


def test_what_is_no_image(tmp_path) -> None:
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(InputError, match=r"text\.png cannot be read as an image: give a PNG, JPEG or WebP file"):
        read_upload(str(tmp_path / "text.png"))
    with pytest.raises(InputError, match=r"a\.png cannot be read"):
        read_upload(str(png_header(tmp_path / "a.png", 30, 30)))
    with pytest.raises(InputError, match="there is no image"):
        read_upload(None)
