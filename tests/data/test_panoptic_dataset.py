"""PanopticDataset: what it reads, by hand, and every way in which a set can be wrong."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional

from opsnet.data.panoptic_dataset import PanopticDataset
from opsnet.utils.errors import DatasetError
from opsnet.vocabulary import Vocabulary

REAL = Path(__file__).parents[3] / "shared" / "data" / "panoptic" / "panopticapi_sample"


def test_masks_labels_and_truth_by_hand(tiny):
    sample = PanopticDataset(**tiny.options)[0]

    expected = torch.zeros(3, 4, 6, dtype=torch.bool)
    expected[0, :2, 1:3] = True  # id 10, cat
    expected[1, :2, 3:] = True  # id 300, dog
    expected[2, 2] = expected[2, 3, :2] = True  # id 70000, grass
    assert sample.masks.dtype == torch.bool
    assert torch.equal(sample.masks, expected)
    assert sample.labels.dtype == torch.int64
    assert sample.labels.tolist() == [0, 2, 1]
    assert sample.image_id == 7

    assert sample.truth.ids.dtype == torch.int64
    assert sample.truth.ids[0].tolist() == [0, 10, 10, 300, 300, 300]
    assert sample.truth.ids[3].tolist() == [70000, 70000, 5, 5, 5, 5]
    found = {s.id: (s.label, s.is_thing, s.area, s.is_crowd) for s in sample.truth.segments}
    assert found == {
        5: (0, True, 4, True),
        10: (0, True, 4, False),
        300: (2, True, 6, False),
        70000: (1, False, 8, False),
    }


def test_image_is_rgb_bytes(tiny):
    image = PanopticDataset(**tiny.options)[1].image
    assert type(image) is Tensor
    assert image.dtype == torch.uint8
    assert image.shape == (3, 5, 3)
    assert image[0].unique().tolist() == [1]
    assert image[1].unique().tolist() == [100]
    assert image[2, 4].tolist() == [0, 1, 2]


def test_image_without_segments_has_no_masks(tiny):
    sample = PanopticDataset(**tiny.options)[2]
    assert sample.masks.shape == (0, 4, 4)
    assert sample.labels.shape == (0,)
    assert sample.truth.segments == ()


def test_crowd_only_image_has_no_masks_but_truth(tiny):
    tiny.edit(lambda d: [s.update(iscrowd=1) for s in d["annotations"][1]["segments_info"]])
    sample = PanopticDataset(**tiny.options)[1]
    assert sample.masks.shape == (0, 5, 3)
    assert [s.is_crowd for s in sample.truth.segments] == [True, True]


def test_transform_moves_masks_drops_empty_ones_and_leaves_truth(tiny):
    def left_three_columns(image, segments):
        return functional.crop(image, 0, 0, 4, 3), functional.crop(segments, 0, 0, 4, 3)

    sample = PanopticDataset(**tiny.options, transform=left_three_columns)[0]
    assert sample.image.shape == (3, 4, 3)
    assert sample.labels.tolist() == [0, 1]  # the dog of id 300 lies outside
    assert sample.masks.flatten(1).sum(1).tolist() == [4, 5]
    assert sample.truth.ids.shape == (4, 6)
    assert len(sample.truth.segments) == 4


def test_what_a_crop_cuts_away_may_stay_as_an_empty_target(tiny):
    dataset = PanopticDataset(**tiny.options, keep_empty=True, transform=lambda image, m: (image[:, :, :3], m[:, :3]))
    assert dataset[0].labels.tolist() == [0, 2, 1]  # without crowd
    assert dataset[0].masks.flatten(1).sum(1).tolist() == [4, 0, 5]


def test_rotation_tag_is_honoured(tiny):
    tagged = Image.fromarray(np.zeros((3, 5, 3), np.uint8))  # 5 wide, 3 high; upright it is 3 wide, 5 high
    exif = Image.Exif()
    exif[0x0112] = 6
    tagged.save(tiny.images / "p1.jpg", exif=exif)
    tiny.edit(lambda d: d["images"][1].update(file_name="p1.jpg"))
    assert PanopticDataset(**tiny.options)[1].image.shape == (3, 5, 3)


def test_limit_keeps_the_first_and_forgives_files_of_the_rest(tiny):
    (tiny.images / "p2.bmp").unlink()
    dataset = PanopticDataset(**tiny.options, limit=2)
    assert [dataset[i].image_id for i in range(len(dataset))] == [7, 8]


def test_files_in_sub_folders_and_an_own_png_folder(tiny, tmp_path):
    (tiny.images / "town").mkdir()
    shutil.move(tiny.images / "p0.bmp", tiny.images / "town" / "p0.bmp")
    tiny.edit(lambda d: d["images"][0].update(file_name="town/p0.bmp"))
    shutil.move(tiny.segments, tmp_path / "elsewhere")
    dataset = PanopticDataset(**tiny.options, segments=tmp_path / "elsewhere")
    assert dataset[0].image.shape == (3, 4, 6)


def test_construction_lists_each_folder_once_and_opens_no_image(tiny, monkeypatch):
    listed = []
    real = os.listdir
    monkeypatch.setattr(os, "listdir", lambda folder: listed.append(Path(folder).name) or real(folder))
    monkeypatch.setattr(Image, "open", lambda *_: pytest.fail("opened an image"))
    PanopticDataset(**tiny.options)
    assert sorted(listed) == ["images", "panoptic"]


def test_vocabulary_by_name_and_strings_for_paths(tiny):
    def person_and_sky(data):
        data.pop("categories")
        for annotation in data["annotations"]:
            for segment in annotation["segments_info"]:
                segment["category_id"] = {3: 1, 5: 187, 9: 1}[segment["category_id"]]

    tiny.edit(person_and_sky)
    dataset = PanopticDataset(images=str(tiny.images), annotations=str(tiny.annotations), vocabulary="coco")
    assert dataset.vocabulary.name == "coco"
    assert [s.is_thing for s in dataset[1].truth.segments] == [True, False]


def test_pickles_for_worker_processes(tiny):
    dataset = pickle.loads(pickle.dumps(PanopticDataset(**tiny.options)))
    assert dataset[0].labels.tolist() == [0, 2, 1]


def _first(key: str, **values: object) -> Callable[[dict], None]:
    return lambda data: data[key][0].update(values)


def _segment(**values: object) -> Callable[[dict], None]:
    return lambda data: data["annotations"][0]["segments_info"][0].update(values)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda d: d.pop("images"), ["'images' is missing: add it"]),
        (lambda d: d.update(images=3), ["'images' is 3, not a list"]),
        (lambda d: d["annotations"][1].pop("segments_info"), ["annotations[1] (image 8): 'segments_info' is missing"]),
        (lambda d: d["annotations"].clear(), ["has no annotations", "check `annotations`"]),
        (_first("annotations", image_id=99), ["image 99", "not in its `images`"]),
        (_first("annotations", image_id=8), ["annotates image 8 twice", "remove one"]),
        (_segment(category_id=4), ["image 7", "category_id 4", "vocabulary 'tiny' lacks", "set `vocabulary`"]),
        (_segment(id=10), ["image 7", "segment id 10 occurs twice", "its own id"]),
        (_segment(id=0), ["segment id 0", "1..16777215"]),
        (_segment(id=256**3), ["segment id 16777216", "1..16777215"]),
        (_first("images", file_name="gone.bmp"), ["gone.bmp", "1 of 3 files are missing", "check `images`"]),
        (_first("annotations", file_name="gone.png"), ["gone.png", "1 of 3 files are missing", "check `segments`"]),
        (_first("annotations", file_name="no/p0.png"), ["no/p0.png", "check `segments`"]),
        (_first("categories", isthing=0), ["category 3", "isthing 0", "isthing 1, in vocabulary 'tiny'"]),
    ],
)
def test_faults_of_the_json_are_found_at_construction(tiny, change, parts):
    tiny.edit(change)
    with pytest.raises(DatasetError) as error:
        PanopticDataset(**tiny.options)
    message = str(error.value)
    assert str(tiny.annotations) in message
    assert [part for part in parts if part not in message] == []
    assert "\n" not in message


def test_missing_json_broken_json_and_missing_folders(tiny, tmp_path):
    for name in ("images", "segments"):
        with pytest.raises(DatasetError, match=f"folder .*nowhere does not exist: check `{name}`"):
            PanopticDataset(**{**tiny.options, name: tmp_path / "nowhere"})
    with pytest.raises(DatasetError, match="nowhere.json does not exist: check `annotations`"):
        PanopticDataset(**{**tiny.options, "annotations": tmp_path / "nowhere.json"})
    tiny.annotations.write_text("{")
    with pytest.raises(DatasetError, match=r"panoptic.json is not valid json \("):
        PanopticDataset(**tiny.options)
    tiny.annotations.write_text("[]")
    with pytest.raises(DatasetError, match="holds a list, not COCO's panoptic format"):
        PanopticDataset(**tiny.options)


def test_limit_below_one(tiny):
    with pytest.raises(DatasetError, match="limit must be at least 1 .* got 0: change `limit`"):
        PanopticDataset(**tiny.options, limit=0)


def test_json_id_without_pixels(tiny):
    tiny.edit(lambda d: d["annotations"][1]["segments_info"].append({"id": 77, "category_id": 3}))
    dataset = PanopticDataset(**tiny.options)
    for read in (lambda: dataset[1], dataset.check_pixels):
        with pytest.raises(DatasetError, match=r"segment id 77 of image 8 of .*panoptic.json has no pixel in .*p1.png"):
            read()


def test_png_id_without_a_segment(tiny):
    tiny.edit(lambda d: d["annotations"][1]["segments_info"].pop())
    dataset = PanopticDataset(**tiny.options)
    with pytest.raises(
        DatasetError, match=r"p1.png holds segment id 2, .* of image 8 of .*panoptic.json: list .*\(void\)"
    ):
        dataset[1]
    with pytest.raises(DatasetError, match="segment id 2"):
        dataset.check_pixels()


def test_grey_png_of_ids(tiny):
    Image.fromarray(np.ones((5, 3), np.uint8)).save(tiny.segments / "p1.png")
    with pytest.raises(DatasetError, match="p1.png has mode L: save segment ids as an RGB PNG"):
        PanopticDataset(**tiny.options)[1]


def test_unreadable_files(tiny):
    (tiny.images / "p0.bmp").write_bytes(b"no image")
    (tiny.segments / "p1.png").write_bytes((tiny.segments / "p1.png").read_bytes()[:-30])
    dataset = PanopticDataset(**tiny.options)
    with pytest.raises(DatasetError, match="p0.bmp cannot be read as an image .* replace the file"):
        dataset[0]
    with pytest.raises(DatasetError, match="p1.png cannot be read as an image .* replace the file"):
        dataset.check_pixels()


def test_image_and_png_of_different_sizes(tiny):
    Image.new("RGB", (4, 5)).save(tiny.images / "p1.bmp")
    with pytest.raises(DatasetError, match=r"p1.bmp is 4 x 5, but its segments .*p1.png are 3 x 5: give both"):
        PanopticDataset(**tiny.options)[1]


def test_check_pixels_reads_only_its_shard(tiny):
    tiny.edit(lambda d: d["annotations"][1]["segments_info"].pop())
    dataset = PanopticDataset(**tiny.options)
    dataset.check_pixels((0, 2))
    with pytest.raises(DatasetError, match="segment id 2"):
        dataset.check_pixels((1, 2))


def test_check_pixels_shows_progress_for_long_sets_only(tiny, monkeypatch, capsys):
    dataset = PanopticDataset(**tiny.options)
    dataset.check_pixels()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("opsnet.data.panoptic_dataset.QUIET_BELOW", 3)
    dataset.check_pixels()
    assert "Checking panoptic.json" in capsys.readouterr().err


@pytest.mark.skipif(not REAL.is_dir(), reason=f"panopticapi's sample images are not at {REAL}")
def test_real_coco_images_agree_with_the_areas_of_their_json():
    options = {"images": REAL / "input_images", "annotations": REAL / "panoptic_examples.json"}
    dataset = PanopticDataset(**options, segments=REAL / "panoptic_examples", vocabulary="coco")
    dataset.check_pixels()
    vocabulary = Vocabulary.load("coco")
    annotations = json.loads(options["annotations"].read_text())["annotations"]
    crowds = 0
    for sample, annotation in zip((dataset[i] for i in range(len(dataset))), annotations, strict=True):
        infos = {s["id"]: s for s in annotation["segments_info"]}
        assert {s.id: s.area for s in sample.truth.segments} == {i: s["area"] for i, s in infos.items()}
        assert all(vocabulary.ids[s.label] == infos[s.id]["category_id"] for s in sample.truth.segments)
        plain = sorted((i, s) for i, s in infos.items() if not s["iscrowd"])
        assert sample.masks.flatten(1).sum(1).tolist() == [s["area"] for _, s in plain]
        assert [vocabulary.ids[label] for label in sample.labels.tolist()] == [s["category_id"] for _, s in plain]
        for mask, (_, info) in zip(sample.masks, plain, strict=True):
            rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
            x, y, width, height = info["bbox"]
            assert (columns[0], rows[0]) == (x, y)
            assert (columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1) == (width, height)
        crowds += sum(s.is_crowd for s in sample.truth.segments)
    assert (sum(len(a["segments_info"]) for a in annotations), crowds) == (50, 3)
