"""The examination of one image: exact numbers of what is wrong, and that reading is quick and complete."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from planted_defects import CAT, DOG, GRASS, IDS, LABELS

from opsnet.data.coco_panoptic_writing import describe
from opsnet.data.inspection import AnnotatedImage, inspect_image, read_sample
from opsnet.data.panoptic_png import ids_to_rgb
from opsnet.vocabulary import Concept, Vocabulary

VOCABULARY = Vocabulary("pets", (Concept(3, "cat", True), Concept(5, "grass", False), Concept(9, "dog", True)))


@pytest.fixture
def files(tmp_path):
    """(ids, image's size, segments) -> the image on disk."""

    def make(ids=IDS, size=None, segments=None, image=None):
        image_file, png = tmp_path / "a.jpg", tmp_path / "a.png"
        Image.new("RGB", size or ids.shape[::-1], "green").save(image_file)
        Image.fromarray(ids_to_rgb(ids)).save(png)
        infos = describe(ids, LABELS) if segments is None else segments
        return AnnotatedImage(image or {}, {"file_name": "a.png", "segments_info": infos}, image_file, png)

    return make


def messages(annotated: AnnotatedImage) -> list[str]:
    return [f"{f.kind.name}: {f.where} {f.message}" for f in inspect_image(annotated, VOCABULARY).findings]


def test_a_sound_image(files):
    report = inspect_image(files(), VOCABULARY)
    assert report.findings == ()
    assert report.is_drawable
    assert [(s.id, s.category_id, s.is_crowd) for s in report.segments] == [
        (CAT, 3, False), (GRASS, 5, False), (DOG, 9, False), (5, 3, True),
    ]  # fmt: skip


def test_area_and_box_are_optional(files):
    segments = [{k: s[k] for k in ("id", "category_id", "iscrowd")} for s in describe(IDS, LABELS)]
    assert messages(files(segments=segments)) == []
    assert messages(files(segments=[{**s, "area": None, "bbox": None} for s in segments])) == []


def test_areas_and_boxes_are_given_beside_the_pixels_own(files):
    segments = describe(IDS, LABELS)
    segments[0].update(area=9, bbox=[1, 0, 2, 5])
    assert messages(files(segments=segments)) == [
        f"wrong area: a.png segment {CAT} has area 9 in the json, but 8 pixels",
        f"wrong bbox: a.png segment {CAT} has bbox [1, 0, 2, 5] in the json, but lies in [1, 0, 2, 4]",
    ]


def test_many_unlisted_ids_are_one_finding(files):
    ids = 1 + np.arange(48).reshape(8, 6)
    found = messages(files(ids=ids, segments=[{"id": 2, "category_id": 3, "area": 1, "bbox": [1, 0, 1, 1]}]))
    assert found == ["id that the json does not list: a.png holds 1, 3, 4 and 44 more in 47 pixels"]


def test_an_unlisted_id_above_all_listed_ones_is_no_part_of_the_last(files):
    ids = np.where(IDS == 0, 256**3 - 1, IDS)
    assert messages(files(ids=ids)) == ["id that the json does not list: a.png holds 16777215 in 4 pixels"]


def test_both_sizes_are_compared_width_first(files):
    found = messages(files(size=(8, 6), image={"width": 8, "height": 6}))
    assert found == [
        "image and PNG of different sizes: a.png is 6 x 8 pixels, its image 8 x 6",
        "wrong width or height: a.png is 6 x 8 pixels, but 8 x 6 in `images`",
    ]


def test_a_rotated_image_is_measured_upright(files):
    annotated = files()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 6)).save(annotated.image_file, exif=exif)
    assert messages(annotated) == []


def test_every_byte_of_a_jpeg_is_read_and_its_full_size_known(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (200, 304, 3), np.uint8)
    path = tmp_path / "a.jpg"
    Image.fromarray(noise).save(path)
    annotated = AnnotatedImage({"width": 304, "height": 200}, {"file_name": "a.png", "segments_info": []}, path, None)
    assert messages(annotated) == []
    path.write_bytes(path.read_bytes()[:-2000])
    assert "unreadable image: a.jpg OSError: image file is truncated" in messages(annotated)[0]


def test_a_palette_png_is_read_as_its_colours(files):
    annotated = files()
    with Image.open(annotated.png) as png:
        png.convert("P", palette=Image.Palette.ADAPTIVE).save(annotated.png)
    assert messages(annotated) == []


def test_two_crowds_overlap_only_in_one_category(files):
    segments = [{**s, "iscrowd": 1} for s in describe(IDS, LABELS) if s["category_id"] != 5]
    segments += [s for s in describe(IDS, LABELS) if s["category_id"] == 5]
    assert messages(files(segments=segments)) == ["overlapping crowds: a.png has 2 crowd segments of 'cat'"]


def test_a_missing_file_leaves_the_other_examined(files):
    annotated = files(segments=[])
    alone = AnnotatedImage({}, annotated.annotation, None, annotated.png)
    assert "does not list" in messages(alone)[0]
    assert not inspect_image(alone, VOCABULARY).is_drawable
    with pytest.raises(ValueError, match=r"a\.png lacks one of its files"):
        read_sample(alone, VOCABULARY)


def test_a_sample_holds_the_known_segments_and_crowd(files):
    segments = describe(IDS, LABELS)
    segments[2]["category_id"] = 4
    pixels, truth = read_sample(files(segments=segments), VOCABULARY)
    assert pixels.shape == (8, 6, 3)
    assert truth.ids.tolist() == IDS.tolist()
    assert [(s.id, s.label, s.is_thing, s.is_crowd) for s in truth.segments] == [
        (CAT, 0, True, False), (GRASS, 1, False, False), (5, 0, True, True),
    ]  # fmt: skip
