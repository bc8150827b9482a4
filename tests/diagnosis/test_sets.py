"""Every set opened and read: what training needs must be sound, what only evaluation reads may be missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from opsnet.diagnosis.checklist import Checklist
from opsnet.diagnosis.sets import OpenedSets, open_sets, read_batches


def opened(cfg) -> tuple[OpenedSets, Checklist]:
    checklist = Checklist()
    return open_sets(cfg, checklist), checklist


def read(cfg, **shares: int) -> tuple[float, dict[str, str]]:
    checklist = Checklist()
    seconds = read_batches(open_sets(cfg, Checklist()), shares, checklist)
    assert not checklist.of("failure")
    return seconds, {result.check: result.sentence for result in checklist.of("ok")}


def test_a_batch_of_every_set_is_read(r50) -> None:
    sets = opened(r50())[0]
    assert sets.usable
    assert {key: sets.images(key) for key in sets.built} == {"train": 1, "val": 1, "test/coco": 1}
    seconds, told = read(r50(), train=1)
    assert seconds > 0
    assert told["set train"] == "1 images; a batch of 1 x 64 x 64 pixels (width x height) with 3 segments"
    assert told["set val"] == "1 images; a batch of 1 x 96 x 64 pixels (width x height) with 3 segments"
    assert told["set test/coco"] == told["set val"]


def test_an_image_that_cannot_be_read_is_named(r50, coco: Path) -> None:
    (coco / "coco" / "train2017" / "000000000009.jpg").write_bytes(b"no image")
    sets, checklist = opened(r50())[0], Checklist()
    read_batches(sets, {"train": 1}, checklist)
    assert "000000000009.jpg cannot be read" in checklist.of("failure")[0].sentence


def test_equal_sets_are_built_once(r50) -> None:
    builders = opened(r50())[0].data.builders
    assert builders["val"] is builders["test/coco"]
    assert builders["val"] is not builders["train"]


@pytest.mark.parametrize(("key", "split", "stem"), [
    ("train", "train2017", "000000000009"), ("val", "val2017", "000000000139"),
])  # fmt: skip
@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_a_missing_file_is_named(key: str, split: str, stem: str, kind: str, r50, coco: Path) -> None:
    folder = coco / "coco" / "annotations" / f"panoptic_{split}" if kind == "png" else coco / "coco" / split
    (folder / f"{stem}.{kind}").unlink()
    sets, checklist = opened(r50())
    assert not sets.usable
    (failure,) = checklist.of("failure")
    assert failure.check == f"set {key}"
    assert f"{stem}.{kind}" in failure.sentence
    assert str(folder) in failure.sentence


def test_a_png_of_other_segments_is_found_before_the_first_step(r50, coco: Path) -> None:
    path = coco / "coco" / "annotations" / "panoptic_train2017" / "000000000009.png"
    Image.fromarray(np.full((40, 60, 3), 9, np.uint8)).save(path)
    sets, checklist = opened(r50())
    assert not sets.usable
    assert path.name in checklist.of("failure")[0].sentence


def test_a_set_that_only_evaluation_reads_may_be_missing(compose, coco: Path, tmp_path: Path) -> None:
    given = ["experiment=opsnet_r50", "data.module.batch_size=1", f"paths.data={coco}", f"output={tmp_path}"]
    sets, checklist = opened(compose("train", *given))
    assert sets.usable
    assert not checklist.of("failure")
    warnings = {result.check: result.sentence for result in checklist.of("warning")}
    assert list(warnings) == [
        f"set test/{name}" for name in ("ade20k", "ade20k_semantic", "cityscapes", "pascal_context")
    ]
    assert "'~data.module.test.cityscapes'" in warnings["set test/cityscapes"]
    probed, checklist = opened(compose("train", *given, "probes.domains=[cityscapes]"))
    assert not probed.usable
    assert [result.check for result in checklist.of("failure")] == ["set test/cityscapes"]


def test_image_labels_are_a_set_too(train_config, tmp_path: Path) -> None:
    cfg = train_config(tmp_path, "data=scenes_plus", "image_labels=cls")
    told = read(cfg, train=8, train_labels=4)[1]
    assert told["set train_labels"].startswith("8 images; a batch of 4 x 96 x 96 pixels (width x height) with ")
    assert told["set train_labels"].endswith(" labels")
    assert told["set train"].startswith("32 images; a batch of 8 x 96 x 96 pixels (width x height) with ")
    assert told["set train"].endswith(" segments")
