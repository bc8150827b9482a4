"""Real COCO annotations through reader and transforms and back to PNG and json: nothing may be lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional

from opsnet.data.coco_panoptic_writing import SegmentLabel, describe
from opsnet.data.panoptic_dataset import PanopticDataset, Sample
from opsnet.data.panoptic_png import ids_to_rgb
from opsnet.data.transforms import EvalTransform, TrainTransform
from opsnet.evaluation.score import score
from opsnet.vocabulary import Vocabulary

REAL = Path(__file__).parents[3] / "shared" / "data" / "panoptic"
COCO = Vocabulary.load("coco")
pytestmark = pytest.mark.skipif(not REAL.is_dir(), reason=f"real annotations are not at {REAL}")


def panopticapi_sample() -> tuple[dict[str, Any], Path, Path]:
    """Json, images and PNGs of panopticapi's two images."""
    folder = REAL / "panopticapi_sample"
    return (
        json.loads((folder / "panoptic_examples.json").read_text()),
        folder / "input_images",
        folder / "panoptic_examples",
    )


def transformers_fixture() -> tuple[dict[str, Any], Path, Path]:
    """The same of transformers' one, whose file holds the segments alone."""
    folder = REAL / "hf_transformers" / "COCO"
    segments = json.loads((folder / "coco_panoptic_annotations.txt").read_text())
    image = {"id": 39769, "file_name": "000000039769.png", "height": 480, "width": 640}
    annotation = {"image_id": 39769, "file_name": "000000039769.png", "segments_info": segments}
    return {"images": [image], "annotations": [annotation]}, folder, folder / "coco_panoptic"


def ids_after(sample: Sample) -> np.ndarray:
    """Ids (H, W): segments from the masks, which were mirrored, and crowd, which has none, from the truth."""
    plain = [s for s in sample.truth.segments if not s.is_crowd]
    crowd = torch.tensor([s.id for s in sample.truth.segments if s.is_crowd])
    ids = torch.where(torch.isin(sample.truth.ids, crowd), sample.truth.ids, 0)
    for segment, mask in zip(plain, functional.horizontal_flip(sample.masks), strict=True):
        assert not ids[mask].any()  # no two segments share a pixel
        ids[mask] = segment.id
    return ids.numpy()


@pytest.mark.parametrize("source", [panopticapi_sample, transformers_fixture])
def test_ids_areas_boxes_and_crowd_flags_come_back(source, tmp_path: Path) -> None:
    content, images, pngs = source()
    content["categories"] = COCO.categories()
    (tmp_path / "truth.json").write_text(json.dumps(content))
    mirrored = TrainTransform(size=None, flip=1)
    dataset = PanopticDataset(
        images=images, annotations=tmp_path / "truth.json", segments=pngs, vocabulary=COCO, transform=mirrored
    )
    (tmp_path / "back").mkdir()
    annotations = []
    for sample, given in zip((dataset[i] for i in range(len(dataset))), content["annotations"], strict=True):
        ids = ids_after(sample)
        assert np.array_equal(ids_to_rgb(ids), np.array(Image.open(pngs / given["file_name"]).convert("RGB")))
        labels = [SegmentLabel(s.id, COCO.ids[s.label], s.is_crowd) for s in sample.truth.segments]
        segments = describe(ids, labels)
        assert by_id(segments) == by_id(given["segments_info"])
        Image.fromarray(ids_to_rgb(ids)).save(tmp_path / "back" / given["file_name"])
        annotations.append({**given, "segments_info": segments})
    assert sum(len(a["segments_info"]) for a in annotations) in (6, 50)
    (tmp_path / "back.json").write_text(json.dumps({**content, "annotations": annotations}))
    result = score(tmp_path / "truth.json", tmp_path / "back.json", gt_dir=pngs).result
    assert (result.all.pq, result.all.sq, result.all.rq) == (100, 100, 100)


def by_id(segments: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """What both sides say of a segment."""
    keys = ("category_id", "iscrowd", "area", "bbox")
    return {s["id"]: {key: s[key] for key in keys} for s in segments}


@pytest.mark.parametrize("source", [panopticapi_sample, transformers_fixture])
def test_no_segment_is_lost_or_grows_in_evaluation(source, tmp_path: Path) -> None:
    content, images, pngs = source()
    (tmp_path / "truth.json").write_text(json.dumps(content))
    options = {"images": images, "annotations": tmp_path / "truth.json", "segments": pngs, "vocabulary": COCO}
    dataset = PanopticDataset(**options, transform=EvalTransform())
    for sample in (dataset[i] for i in range(len(dataset))):
        height, width = sample.truth.ids.shape
        assert min(sample.image.shape[1:]) == 800 or max(sample.image.shape[1:]) == 1333
        scale = sample.masks.shape[1] * sample.masks.shape[2] / (height * width)
        plain = [s for s in sample.truth.segments if not s.is_crowd]
        assert len(plain) == len(sample.masks)
        for segment, mask in zip(plain, sample.masks, strict=True):
            assert mask.sum().item() == pytest.approx(segment.area * scale, rel=0.1, abs=20)
