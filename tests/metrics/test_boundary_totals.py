"""Boundary PQ and mBIoU over images: worked out by hand, added up in any order, as PQ where masks are right."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from opsnet.metrics.boundary_totals import BoundaryTotals
from opsnet.metrics.image_overlaps import image_overlaps
from opsnet.metrics.merging import add_state, state_of
from opsnet.structures import GroundTruth, PanopticMap, Segment

THINGS = [True, False]


def image(shift: int = 0, crowd: bool = False) -> tuple[PanopticMap, GroundTruth]:
    """Two squares on stuff, 20 x 20 (the boundary is 1 wide); the prediction's first is ``shift`` to the right."""
    maps = []
    for left in (2, 2 + shift):
        ids = torch.full((20, 20), 3)
        ids[3:9, left : left + 6], ids[12:17, 12:17] = 1, 2
        maps.append(ids)
    segments = [
        (Segment(1, 0, True), Segment(2, 0, True, is_crowd=flag), Segment(3, 1, False)) for flag in (crowd, False)
    ]
    return PanopticMap(maps[1], segments[1]), GroundTruth(maps[0], segments[0])


def totals(*images) -> BoundaryTotals:
    found = BoundaryTotals(2)
    for prediction, truth in images:
        found.add(prediction, truth, image_overlaps(prediction, truth, 2))
    return found


def test_the_right_map_has_100() -> None:
    found = totals(image()).as_dict(THINGS)
    assert found == dict.fromkeys(("BPQ", "BPQth", "BPQst", "BSQ", "BRQ", "mBIoU"), 100.0)


def test_by_hand() -> None:
    """A square moved by one: of its 20 boundary pixels, the two rows share 5 each: 10 of 30; the other's 16 are right.

    With IoU 30 / 42 it would be a match. The two squares are one for the class: 26 of 46.
    """
    found = totals(image(shift=1))
    assert found.scores(THINGS).per_class[0].tp == 1
    assert found.scores(THINGS).per_class[0].pq == pytest.approx(100 * 1 / 2)
    assert found.class_ious()[0] == pytest.approx(100 * 26 / 46)


def test_crowd_counts_in_the_classes_pixels_only() -> None:
    found = totals(image(crowd=True))
    assert found.scores(THINGS).per_class[0].tp == 1
    assert found.class_ious()[0] == 100.0


def test_images_add_up_in_any_order() -> None:
    first, second = image(shift=1), image(shift=0)
    parts = [state_of({"b": totals(one)}) for one in (second, first)]
    merged = BoundaryTotals(2)
    for part in parts:
        add_state({"b": merged}, part)
    assert merged.as_dict(THINGS) == totals(first, second).as_dict(THINGS)


def test_a_class_without_ground_truth_is_not_in_the_mean() -> None:
    prediction, truth = image()
    prediction = PanopticMap(prediction.ids, tuple(Segment(s.id, 0, True) for s in prediction.segments))
    found = totals((prediction, truth))
    assert np.isnan(totals((prediction, GroundTruth(truth.ids * 0, ()))).class_ious()).all()
    assert "mBIoU" not in totals((prediction, GroundTruth(truth.ids * 0, ()))).as_dict(THINGS)
    assert found.class_ious()[1] == 0.0
