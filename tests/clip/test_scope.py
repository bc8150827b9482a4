"""What the tiny CLIP was trained on: its words exactly, and its images by measures with known errors."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from opsnet.clip.scope import SCENES, ImageMeasures, scope_of
from opsnet.clip.tiny import tiny_clip
from opsnet.miniature.drawing import DOMAINS, draw_scene, make_rng
from opsnet.miniature.painting import finish
from opsnet.utils.errors import InputError
from opsnet.vocabulary import Vocabulary

PHOTOS = Path(__file__).parents[3] / "shared" / "data" / "photos"


def drawn(seeds: range, count: int) -> list[np.ndarray]:
    images = []
    for seed in seeds:
        for name, domain in DOMAINS.items():
            for i in range(count):
                rng = make_rng(seed, name, "test", i)
                images.append(finish(draw_scene(domain, rng)[0], rng))
    return images


def test_the_measures_of_an_image_by_hand() -> None:
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[:, 1] = (30, 0, 0)  # chroma 30, two steps of 30 in one channel
    assert ImageMeasures.of(pixels) == ImageMeasures(chroma=10.0, contrast=10.0)
    assert ImageMeasures.of(np.full((5, 1, 3), 7, np.uint8)) == ImageMeasures(0.0, 0.0)  # no neighbours


def test_large_images_are_measured_in_evenly_spaced_rows() -> None:
    row = np.random.default_rng(0).integers(0, 256, (1, 1000, 3), dtype=np.uint8)
    assert ImageMeasures.of(np.repeat(row, 1000, 0)) == ImageMeasures.of(row)


def test_the_words_are_those_of_the_captions() -> None:
    scope = scope_of(SCENES)
    assert scope is not None and len(scope.words) == 28
    for name in ("scenes", "scenes_novel", "scenes_street", "scenes_labels"):
        assert all(scope.has_name(n) for c in Vocabulary.load(name).concepts for n in c.names)
    assert scope.has_name("Red Circle")
    assert not scope.has_name("coffee cup")
    assert not scope.has_name("red cup")


def test_a_tiny_clip_says_what_it_was_trained_on() -> None:
    assert tiny_clip(captions=SCENES).scope == scope_of(SCENES)
    assert tiny_clip().scope is None  # as in checkpoints older than the argument: nothing is known, nothing is said
    with pytest.raises(InputError, match="captions=coco is none of scenes_world: give null"):
        tiny_clip(captions="coco")


def test_no_false_alarm_on_drawn_scenes_of_new_seeds() -> None:
    scope = scope_of(SCENES)
    images = drawn(range(100, 103), 20)
    assert all(scope.has_image(pixels) for pixels in images)
    for quality in (95, 70):
        for pixels in images[::6]:
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
            assert scope.has_image(np.array(Image.open(buffer)))


@pytest.mark.skipif(not PHOTOS.is_dir(), reason=f"the photographs are not at {PHOTOS}")
@pytest.mark.parametrize(
    ("pattern", "count", "missed"),
    [("camvid/test/*.jpg", 233, 0), ("coco128_seg/**/*.jpg", 128, 5), ("ade20k_sceneparsing/**/*.jpg", 3, 0)],
)
def test_photographs_are_told_apart(pattern: str, count: int, missed: int) -> None:
    scope = scope_of(SCENES)
    files = sorted(PHOTOS.glob(pattern))
    found = [scope.has_image(np.array(Image.open(file).convert("RGB"))) for file in files]
    assert len(found) == count
    assert sum(found) == missed
