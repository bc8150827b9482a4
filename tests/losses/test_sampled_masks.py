"""Matched masks at sampled points: the most uncertain and random ones."""

from __future__ import annotations

import torch

from opsnet.losses.point_sampling import StepPoints, sample_points
from opsnet.losses.sampled_masks import GroundTruthAtPoints

# Two images, with one segment and two; of four candidates, two are used, and one random point per image.
TRIED = torch.tensor([[0.125, 0.5], [0.375, 0.5], [0.625, 0.5], [0.875, 0.5]])
REST = torch.tensor([[[0.25, 0.25]], [[0.75, 0.75]]])
POINTS = StepPoints(torch.zeros(2, 3, 2), TRIED, REST)
TRUTH = (torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0)) > 0.5).float()


def test_masks_and_their_truth_are_read_at_the_same_points() -> None:
    # Columns of 9, -1, 2, -9: the second and third are the most uncertain.
    predicted = torch.tensor([9.0, -1.0, 2.0, -9.0]).expand(1, 4, 4)
    found = GroundTruthAtPoints(POINTS, TRUTH, [1, 2]).sample(predicted, torch.tensor([1]), torch.tensor([2]))
    places = torch.cat((TRIED[1:3], REST[1]))[None]
    expected = sample_points(predicted[:, None], places)[:, 0], sample_points(TRUTH[2:, None], places)[:, 0]
    for values, wanted in zip((found.logits, found.truth), expected, strict=True):
        assert sorted(values[0].tolist()) == sorted(wanted[0].tolist())
    assert sorted(found.logits[0, :2].tolist()) == [-1, 2]


def test_no_match_gives_empty_masks_that_keep_the_graph() -> None:
    predicted = torch.zeros(0, 4, 4, requires_grad=True)
    none = torch.zeros(0, dtype=torch.int64)
    found = GroundTruthAtPoints(POINTS, TRUTH[:0], [0, 0]).sample(predicted, none, none)
    assert (len(found.logits), len(found.truth)) == (0, 0)
    assert found.logits.requires_grad and not found.truth.requires_grad
