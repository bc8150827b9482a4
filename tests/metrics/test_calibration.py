"""Calibration of segment scores, worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from opsnet.metrics.calibration import calibration, right_segments
from opsnet.metrics.image_overlaps import image_overlaps
from opsnet.structures import GroundTruth, PanopticMap, Segment


def test_the_error_by_hand() -> None:
    found = calibration([0.9, 0.95, 0.3, 0.35, 1.0], [True, False, False, True, True])
    # 0.9-1.0: three with mean 0.95, two right; 0.3-0.4: two with mean 0.325, one right
    assert found.ece == pytest.approx((3 * (0.95 - 2 / 3) + 2 * (0.5 - 0.325)) / 5)
    assert (found.count, found.score, found.right) == (5, pytest.approx(0.7), pytest.approx(0.6))
    assert [b.count for b in found.bins] == [0, 0, 0, 2, 0, 0, 0, 0, 0, 3]
    assert math.isnan(found.bins[0].right)


def test_perfect_scores_and_no_segments() -> None:
    assert calibration([1.0, 1.0, 0.0], [True, True, False]).ece == 0
    assert math.isnan(calibration([], []).ece)
    with pytest.raises(ValueError, match="scores must lie in 0..1, got 0.5 to 1.5"):
        calibration([0.5, 1.5], [True, True])


def test_right_segments_are_the_true_positives_of_pq() -> None:
    truth = torch.zeros(1, 20, dtype=torch.int64)
    truth[0, :10], truth[0, 10:14] = 1, 2  # class 0; a crowd of class 1; six pixels of void
    segments = (Segment(1, 0, True), Segment(2, 1, True, is_crowd=True))
    ids = torch.zeros(1, 20, dtype=torch.int64)
    ids[0, :6], ids[0, 6:10], ids[0, 10:14], ids[0, 14:18], ids[0, 18:] = 1, 2, 3, 4, 5
    predicted = (
        Segment(1, 0, True),  # IoU 0.6
        Segment(2, 1, True),  # the other class
        Segment(3, 1, True),  # on crowd of its class: ignored
        Segment(4, 0, True),  # on void: ignored
        Segment(5, 0, True),
    )
    right, counts = right_segments(image_overlaps(PanopticMap(ids, predicted), GroundTruth(truth, segments), 2))
    assert right.tolist() == [True, False, False, False, False]
    assert counts.tolist() == [True, True, False, False, False]
    other = tuple(Segment(s.id, 1 - s.label, True) for s in predicted)
    right, counts = right_segments(image_overlaps(PanopticMap(ids, other), GroundTruth(truth, segments), 2))
    assert not right.any()
    assert counts.tolist() == [True, True, True, False, False]  # crowd of another class does not excuse it
