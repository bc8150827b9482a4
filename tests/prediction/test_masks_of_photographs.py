"""SAM-like masks of real photographs, COCO's own polygons, named by published weights and by CLIP alone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import opsnet
from opsnet.data.images import read_rgb
from opsnet.prediction.mask_records import mask_of
from opsnet.prediction.predictor import Predictor
from opsnet.vocabulary import Vocabulary

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
PHOTOS, MODEL = DATA / "photos" / "coco128_seg", DATA / "published_models" / "fcclip_small" / "convnext"
pytestmark = pytest.mark.skipif(not (PHOTOS.is_dir() and MODEL.is_dir()), reason=f"no photographs or model at {DATA}")
COUNT = 12


@pytest.fixture(scope="module")
def published() -> Predictor:
    loaded = opsnet.load(MODEL / "model_final.pth", clip=MODEL / "open_clip_config.json", device="cpu")
    return Predictor(loaded.trained, shortest=256)


def records(labels: Path, height: int, width: int) -> list[dict[str, Any]]:
    """YOLO's polygons, relative to the image, as SAM's records: a mask as an array, an id and a predicted IoU."""
    found = []
    for number, line in enumerate(labels.read_text().splitlines()):
        points = np.array(line.split()[1:], float).reshape(-1, 2) * (width, height)
        mask = mask_of([points.flatten().tolist()], (height, width))
        found.append({"segmentation": mask, "id": 1000 + number, "predicted_iou": 0.8 + 0.2 / (1 + number)})
    return found


@pytest.mark.parametrize("modulation", [None, "clip_only"])
def test_every_mask_is_named_once_and_keeps_its_id(published: Predictor, modulation: str | None) -> None:
    things = Vocabulary("things", tuple(c for c in Vocabulary.load("coco").concepts if c.is_thing))
    masks = seconds = 0
    overlapping = 0
    for labels in sorted((PHOTOS / "labels" / "train2017").glob("*.txt"))[:COUNT]:
        image = read_rgb(PHOTOS / "images" / "train2017" / f"{labels.stem}.jpg")
        given = records(labels, *image.shape[:2])
        published.text(things)
        start = time.process_time()
        found = published.label(image, given, things, top_k=2, modulation=modulation)
        seconds += time.process_time() - start
        masks += len(given)
        by_id = {record["id"]: record["segmentation"] for record in given}
        shown = [i for s in found.segments for i in s.source_ids]
        assert sorted([*shown, *(d.source_id for d in found.dropped)]) == sorted(by_id)
        assert len(set(shown)) == len(shown)
        ids = found.ids.numpy()
        for segment in found.segments:
            (source,) = segment.source_ids
            part = ids == segment.id
            assert part.sum() == segment.area > 0
            assert (by_id[source] | ~part).all()  # inside the mask that was given
            assert segment.top[0].name == segment.name in things.names
        covered = np.any(list(by_id.values()), axis=0) if by_id else np.zeros(ids.shape, bool)
        assert np.array_equal(ids > 0, covered)  # every pixel of a mask has one name
        overlapping += int((np.sum(list(by_id.values()), axis=0) > 1).any())
    assert masks > 20
    assert overlapping > 0
    print(
        f"{masks} masks of {COUNT} photographs, {1000 * seconds / masks:.0f} ms of CPU time per mask, images included"
    )
