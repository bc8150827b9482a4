"""The sheet of samples: large images are reduced, and odd ones are drawn all the same."""

from __future__ import annotations

import numpy as np
from PIL import Image

from opsnet.data.inspection import AnnotatedImage
from opsnet.data.panoptic_png import ids_to_rgb
from opsnet.visualization.sample_sheet import sample_sheet
from opsnet.vocabulary import Concept, Vocabulary

VOCABULARY = Vocabulary("pets", (Concept(3, "cat", True), Concept(5, "grass", False)))


def on_disk(tmp_path, ids, *segments) -> AnnotatedImage:
    image, png = tmp_path / "a.png", tmp_path / "ids.png"
    Image.new("RGB", ids.shape[::-1], "black").save(image)
    Image.fromarray(ids_to_rgb(ids)).save(png)
    infos = [{"id": i, "category_id": category, "iscrowd": crowd} for i, category, crowd in segments]
    return AnnotatedImage({}, {"file_name": "ids.png", "segments_info": infos}, image, png)


def test_large_images_are_reduced_and_stay_in_proportion(tmp_path):
    ids = np.ones((1000, 2000), int)
    ids[:, 1000:] = 2
    out = sample_sheet([on_disk(tmp_path, ids, (1, 3, 0), (2, 5, 0))], VOCABULARY, tmp_path / "sheet.png")
    with Image.open(out) as sheet:
        pixels = np.asarray(sheet).astype(int)
    assert pixels.shape[1] == 2 * (640 + 12) + 12
    truth = pixels[100:300, 664:1304]
    left, right = truth[:, 20:60].mean((0, 1)), truth[:, -60:-20].mean((0, 1))
    assert abs(left - right).max() > 50  # the two segments' colours, half of the width each
    assert (pixels[100:300, 12:652] == 0).all()


def test_crowd_is_marked_and_unknown_categories_are_grey(tmp_path):
    ids = np.ones((96, 96), int)
    single = sample_sheet([on_disk(tmp_path, ids, (1, 3, 0))], VOCABULARY, tmp_path / "a_sheet.png").read_bytes()
    crowd = sample_sheet([on_disk(tmp_path, ids, (1, 3, 1))], VOCABULARY, tmp_path / "b_sheet.png").read_bytes()
    assert single != crowd
    out = sample_sheet([on_disk(tmp_path, ids, (1, 77, 0))], VOCABULARY, tmp_path / "c_sheet.png")
    with Image.open(out) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    assert (pixels.max(-1) == pixels.min(-1)).all()


def test_an_image_of_one_pixel_is_drawn(tmp_path):
    out = sample_sheet([on_disk(tmp_path, np.ones((1, 1), int), (1, 3, 0))], VOCABULARY, tmp_path / "sheet.png")
    assert out.is_file()
