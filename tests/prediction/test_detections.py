"""Detections of supervision as given masks."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from opsnet.prediction.given_masks import from_memory
from opsnet.utils.errors import InputError

SIZE = (4, 6)
MASKS = np.zeros((2, *SIZE), bool)
MASKS[0, :2], MASKS[1, 2:, 3:] = True, True
BOXES = np.array([[0, 0, 6, 2], [3, 2, 6, 4]], np.float32)


def test_masks_with_the_trackers_ids_and_the_confidence() -> None:
    sv = pytest.importorskip("supervision", reason="the extra supervision is not installed")
    given = sv.Detections(
        BOXES, mask=MASKS, confidence=np.array([0.5, 0.25]), class_id=np.array([3, 3]), tracker_id=np.array([12, 7])
    )
    found = from_memory(given, SIZE)
    assert (found.ids, found.scores.tolist()) == ((12, 7), [0.5, 0.25])
    assert np.array_equal(found.masks, MASKS)
    assert from_memory(sv.Detections(BOXES, mask=MASKS), SIZE).ids == (0, 1)
    assert from_memory(given, SIZE, scores=[1, 0]).scores.tolist() == [1, 0]
    assert len(from_memory(sv.Detections.empty(), SIZE)) == 0
    with pytest.raises(InputError, match=r"masks: what is given has 2 boxes and no masks"):
        from_memory(sv.Detections(BOXES), SIZE)


def test_other_objects_of_this_form() -> None:
    assert from_memory(SimpleNamespace(xyxy=BOXES, mask=MASKS), SIZE).ids == (0, 1)
    with pytest.raises(InputError, match="has 2 masks and 1 values of id: give one for each"):
        from_memory(SimpleNamespace(xyxy=BOXES, mask=MASKS, tracker_id=[1]), SIZE)
    with pytest.raises(InputError, match="the id 7 occurs twice"):
        from_memory(SimpleNamespace(xyxy=BOXES, mask=MASKS, tracker_id=[7, 7]), SIZE)


def test_records_of_several_images_are_refused() -> None:
    records = [{"segmentation": mask, "image_id": i} for i, mask in enumerate(MASKS)]
    with pytest.raises(InputError, match=r"masks of several images \(image_id 0, 1\): give those of this image"):
        from_memory(records, SIZE)
    assert len(from_memory(records[:1], SIZE)) == 1
