"""The files of the three tasks."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_masks

from opsnet.data.panoptic_records import ImageFile
from opsnet.prediction.carriers import NamedSegment, NameScore, PanopticResult
from opsnet.prediction.output import check_output
from opsnet.prediction.task_maps import for_task
from opsnet.prediction.writing import PredictionWriter
from opsnet.utils.errors import InputError
from opsnet.utils.files import WriteError
from opsnet.vocabulary import Concept, Vocabulary

VOCABULARY = Vocabulary("v", (Concept(7, "cat", True, ("kitty",)), Concept(300, "sky", False)))
PIXELS = np.zeros((4, 6, 3), np.uint8)


@pytest.fixture
def named() -> PanopticResult:
    ids = torch.tensor([[1, 1, 0, 2, 2, 2]] * 2 + [[3, 3, 0, 2, 2, 2]] * 2)
    top = (NameScore(0, 7, "cat", 0.8, ("kitty",)), NameScore(1, 300, "sky", 0.1))
    return PanopticResult(
        ids,
        (
            NamedSegment(1, 0, True, 0.5, 4, 0.6, name="cat", box=(0, 0, 2, 2), top=top),
            NamedSegment(2, 1, False, 0.7, 12, 0.8, name="sky", box=(3, 0, 3, 4)),
            NamedSegment(3, 0, True, 0.9, 4, 0.95, name="cat", box=(0, 2, 2, 2)),
        ),
        VOCABULARY,
    )


def written(folder: Path, task: str, named: PanopticResult, *images: str) -> None:
    writer = PredictionWriter(folder, task)
    for image in images or ("a.png",):
        writer.add(Path(image), PIXELS, named)
    writer.finish()


def test_semantic_has_one_segment_per_class(named, tmp_path) -> None:
    cat, sky = for_task(named, "semantic").segments
    assert (cat.area, cat.box, cat.score) == (8, (0, 0, 2, 4), 0.9)
    assert (sky.area, sky.box) == (12, (3, 0, 3, 4))
    written(tmp_path, "semantic", named)
    values = np.asarray(Image.open(tmp_path / "semantic" / "a.png"))
    assert values.dtype == np.uint8
    assert values.tolist() == [[1, 1, 0, 2, 2, 2]] * 4
    data = json.loads((tmp_path / "semantic.json").read_text())
    assert [c["name"] for c in data["categories"]] == ["cat", "sky"]
    assert data["annotations"] == [{"image_id": 0, "file_name": "a.png"}]


def test_many_names_need_sixteen_bits(named, tmp_path) -> None:
    many = Vocabulary("many", tuple(Concept(i, f"n{i}", True) for i in range(400)))
    segments = (NamedSegment(1, 399, True, 1.0, 4, name="n399", box=(0, 0, 2, 2)),)
    written(tmp_path, "semantic", PanopticResult((named.ids == 1).long(), segments, many))
    assert np.asarray(Image.open(tmp_path / "semantic" / "a.png")).max() == 400


def test_instances_are_cocos_results(named, tmp_path) -> None:
    assert [s.id for s in for_task(named, "instance").segments] == [1, 2]
    written(tmp_path, "instance", named)
    first, second = json.loads((tmp_path / "instances.json").read_text())
    assert (first["category_id"], first["score"], first["bbox"]) == (7, 0.5, [0, 0, 2, 2])
    assert np.array_equal(coco_masks.decode(second["segmentation"]), (named.ids == 3).numpy())


def test_panoptic_with_the_best_names_and_the_table(named, tmp_path) -> None:
    written(tmp_path, "panoptic", named, "a.png", "b.jpg")
    data = json.loads((tmp_path / "panoptic.json").read_text())
    assert [a["file_name"] for a in data["annotations"]] == ["a.png", "b.png"]
    cat = data["annotations"][1]["segments_info"][0]
    assert cat["names"] == [["cat", 0.8], ["sky", 0.1]]
    with (tmp_path / "segments.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert [r["file"] for r in rows] == ["a.png"] * 3 + ["b.jpg"] * 3
    assert rows[0]["names"] == "cat, kitty 0.800; sky 0.100"
    assert (rows[1]["kind"], rows[1]["category_id"], rows[1]["left"], rows[1]["area"]) == ("stuff", "300", "3", "12")


def test_images_of_equal_names_do_not_overwrite_each_other(named, tmp_path) -> None:
    written(tmp_path, "panoptic", named, "x/a.png", "x/a.jpg", "y/a.jpg")
    found = {p.name for p in (tmp_path / "panoptic").iterdir()}
    assert found == {"a.png", "a.jpg.png", "a.jpg_2.png"}


def test_ids_and_file_names_may_be_given(named, tmp_path) -> None:
    for task in ("panoptic", "semantic", "instance"):
        writer = PredictionWriter(tmp_path / task, task)
        writer.add(Path("a.png"), PIXELS, named, ImageFile(39769, "val/a.jpg"))
        writer.finish()
    for task in ("panoptic", "semantic"):
        data = json.loads((tmp_path / task / f"{task}.json").read_text())
        assert (data["images"][0]["id"], data["images"][0]["file_name"]) == (39769, "val/a.jpg")
        assert (data["annotations"][0]["image_id"], data["annotations"][0]["file_name"]) == (39769, "a.png")
    assert [r["image_id"] for r in json.loads((tmp_path / "instance" / "instances.json").read_text())] == [39769] * 2
    with (tmp_path / "panoptic" / "segments.csv").open(encoding="utf-8", newline="") as file:
        assert {row["file"] for row in csv.DictReader(file)} == {"val/a.jpg"}


def test_names_are_no_formulas_of_a_spreadsheet(named, tmp_path) -> None:
    segment = replace(named.segments[0], name="=HYPERLINK(0)", top=(NameScore(0, 7, "@sum", 0.8),) * 2)
    written(tmp_path, "panoptic", replace(named, segments=(segment,), ids=(named.ids == 1).long()), "-1+1.png")
    with (tmp_path / "segments.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["file"], row["name"], row["left"]) == ("'-1+1.png", "'=HYPERLINK(0)", "0")
    assert row["names"] == "'@sum 0.800; @sum 0.800"


def test_nothing_is_written_if_nothing_was_predicted(tmp_path) -> None:
    PredictionWriter(tmp_path, "panoptic").finish()
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_task(named) -> None:
    with pytest.raises(InputError, match="task must be one of panoptic, semantic, instance, got 'depth'"):
        for_task(named, "depth")


def test_a_result_may_be_saved_again_under_a_name_like_a_formula(named, tmp_path) -> None:
    result = replace(named, image=PIXELS, file_name="-1+1.png")
    for _ in range(2):
        result.save(tmp_path)
        assert "\n'-1+1.png," in (tmp_path / "segments.csv").read_text()


def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match=r"file.* cannot be made \(.*\): choose another folder"):
            PredictionWriter(folder, "panoptic")


def listed(folder: Path) -> tuple[int, int]:
    """Number of images in the json, and of rows in the table."""
    images = json.loads((folder / "panoptic.json").read_text())["images"]
    return len(images), len((folder / "segments.csv").read_text().splitlines()) - 1


def test_tables_are_written_as_images_come_and_after_an_error(named, tmp_path) -> None:
    with pytest.raises(KeyboardInterrupt), PredictionWriter(tmp_path, "panoptic") as writer:
        writer.add(Path("a.png"), PIXELS, named)
        assert listed(tmp_path) == (1, 3)  # a killed process keeps them
        writer._due = float("inf")
        writer.add(Path("b.png"), PIXELS, named)
        assert listed(tmp_path) == (1, 3)
        raise KeyboardInterrupt
    assert listed(tmp_path) == (2, 6)


def test_a_full_disk_keeps_what_was_listed(named, tmp_path, monkeypatch) -> None:
    def full(self, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    message = r"b_overlay\.png cannot be written \(No space left on device\): make room"
    with pytest.raises(WriteError, match=message), PredictionWriter(tmp_path, "panoptic") as writer:
        writer.add(Path("a.png"), PIXELS, named)
        monkeypatch.setattr(Image.Image, "save", full)
        monkeypatch.setattr(Path, "write_text", full)
        writer.add(Path("b.png"), PIXELS, named)
    assert listed(tmp_path) == (1, 3)
    assert not list(tmp_path.glob(".*"))


def test_a_folder_that_is_removed_is_not_made_again(named, tmp_path) -> None:
    folder = tmp_path / "out"
    message = r"out \(output\) was removed while images"
    with pytest.raises(InputError, match=message), PredictionWriter(folder, "panoptic") as writer:
        writer.add(Path("a.png"), PIXELS, named)
        shutil.rmtree(folder)
        writer.add(Path("b.png"), PIXELS, named)
    assert not folder.exists()


def test_a_folder_that_is_removed_while_an_image_is_written(named, tmp_path, monkeypatch) -> None:
    """The image's own files make a folder of the same name, which lacks those of the images before."""
    folder = tmp_path / "out"
    with pytest.raises(InputError, match="was removed while images"), PredictionWriter(folder, "panoptic") as writer:
        writer.add(Path("a.png"), PIXELS, named)
        save = writer.files._annotations

        def removed(*arguments):
            shutil.rmtree(folder)
            return save(*arguments)

        monkeypatch.setattr(writer.files, "_annotations", removed)
        writer.add(Path("b.png"), PIXELS, named)
    assert not (folder / "panoptic.json").exists()


def test_a_folder_that_is_removed_after_the_last_image_is_no_success(named, tmp_path) -> None:
    folder = tmp_path / "out"
    with pytest.raises(InputError, match="was removed while images"), PredictionWriter(folder, "panoptic") as writer:
        writer.add(Path("a.png"), PIXELS, named)
        shutil.rmtree(folder)


def test_names_that_are_too_long_or_no_utf8(named, tmp_path) -> None:
    names = ["n" * 247 + ".png", "n" * 246 + "m.png", os.fsdecode(b"caf\xe9.png")]
    written(tmp_path, "panoptic", named, *names)
    data = json.loads((tmp_path / "panoptic.json").read_text())
    pngs = [a["file_name"] for a in data["annotations"]]
    assert len(set(pngs)) == 3
    assert all((tmp_path / "panoptic" / png).is_file() for png in pngs)
    assert [image["file_name"] for image in data["images"]] == [*names[:2], r"caf\udce9.png"]
    assert (tmp_path / "segments.csv").read_bytes().decode("utf-8").count("udce9") == 3


def test_earlier_results_are_kept_unless_they_may_be_replaced(named, tmp_path) -> None:
    check_output(tmp_path, overwrite=False)
    written(tmp_path, "panoptic", named)
    message = r"has the results of an earlier prediction \(segments\.csv, panoptic\.json\): .*overwrite=true"
    with pytest.raises(InputError, match=message):
        check_output(tmp_path, overwrite=False)
    check_output(tmp_path, overwrite=True)
