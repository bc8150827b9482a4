"""Counts from regions are those from the maps."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from opsnet.metrics.ground_truth_regions import GroundTruthRegions
from opsnet.metrics.image_overlaps import image_overlaps
from opsnet.metrics.panoptic_arithmetic import UnlistedSegmentError
from opsnet.structures import GroundTruth, PanopticMap, Segment

CLASSES = 3


def random_truth(seed: int) -> GroundTruth:
    """Blocks of void and of segments whose ids are neither dense nor ordered; one segment has no pixel."""
    generator = torch.Generator().manual_seed(seed)
    names = torch.tensor([0, 700_000, 3, 41])
    ids = names[torch.randint(4, (4, 5), generator=generator)].repeat_interleave(3, 0).repeat_interleave(2, 1)
    listed = [Segment(i, label, True, is_crowd=i == 41) for label, i in enumerate((700_000, 3, 41))]
    return GroundTruth(ids, (*listed, Segment(9, 0, True)))


@pytest.mark.parametrize("seed", range(5))
def test_counts_equal_those_of_the_maps(seed: int) -> None:
    truth, other = random_truth(seed), random_truth(seed + 10)
    prediction = PanopticMap(other.ids[:, torch.arange(10) // 2 * 2], tuple(s for s in other.segments if s.id != 9))
    prediction = PanopticMap(torch.where(torch.rand(12, 10) < 0.7, truth.ids, prediction.ids), prediction.segments)
    regions = GroundTruthRegions.of(truth, CLASSES)
    overlaps = torch.zeros(len(regions), 1 + len(prediction.segments), dtype=torch.int64)
    columns = sum((1 + i) * (prediction.ids == s.id) for i, s in enumerate(prediction.segments))
    overlaps.index_put_((regions.index, columns), torch.tensor(1), accumulate=True)
    ours, theirs = regions.overlaps(prediction.segments, overlaps), image_overlaps(prediction, truth, CLASSES)
    assert theirs.pixels[1:, 1:].sum() > 0
    assert (ours.pixels == theirs.pixels).all()
    for side in ("truth", "prediction"):
        for column in ("ids", "labels", "is_crowd"):
            assert (getattr(getattr(ours, side), column) == getattr(getattr(theirs, side), column)).all()


def test_an_id_that_is_not_listed() -> None:
    truth = random_truth(0)
    with pytest.raises(UnlistedSegmentError, match="segment 700000"):
        GroundTruthRegions.of(dataclasses.replace(truth, segments=truth.segments[1:]), CLASSES)
