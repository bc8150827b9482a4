"""Mask losses and matching against transformers' Mask2Former, with the same predictions, targets and points."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from ranks import on_two_ranks
from torch import Tensor
from transformers import Mask2FormerConfig
from transformers.models.mask2former import modeling_mask2former as peer

from opsnet.losses.cross_entropy import CrossEntropy
from opsnet.losses.dice import dice
from opsnet.losses.layer_predictions import LayerPredictions
from opsnet.losses.mask_bce import mask_bce
from opsnet.losses.matching import HungarianMatcher, matching_cost
from opsnet.losses.point_sampling import StepPoints, StepSeeds
from opsnet.losses.predictions import MatchedPredictions
from opsnet.losses.sampled_masks import GroundTruthAtPoints
from opsnet.structures import SegmentTargets

NAMES, QUERIES, POINTS = 7, 12, 200
COUNTS = (5, 0, 15)  # one image without a segment, one with more segments than queries


class Predictions(NamedTuple):
    """Segments of three images."""

    logits: Tensor
    mask_embeds: Tensor
    pixels: Tensor

    @property
    def mask_logits(self) -> Tensor:
        return torch.einsum("bkc, bchw -> bkhw", self.mask_embeds, self.pixels)


@pytest.fixture(params=range(3))
def case(request) -> tuple[Predictions, SegmentTargets]:
    """Random predictions for 3 images at a quarter of the targets' size, not square."""
    torch.manual_seed(request.param)
    layer = Predictions(
        logits=3 * torch.randn(3, QUERIES, NAMES + 1),
        mask_embeds=torch.randn(3, QUERIES, 16),
        pixels=torch.randn(3, 16, 12, 20),
    )
    # Blobs: a quarter of the pixels, in patches of four, as in an image.
    masks = [
        torch.nn.functional.interpolate((torch.rand(1, n, 12, 20) > 0.75).float(), scale_factor=4)[0].bool()
        if n
        else torch.zeros(0, 48, 80, dtype=torch.bool)
        for n in COUNTS
    ]
    return layer, SegmentTargets(masks=masks, labels=[torch.randint(0, NAMES, (n,)) for n in COUNTS])


def serve(monkeypatch: pytest.MonkeyPatch, points: Tensor) -> None:
    """Makes ``torch.rand(n, P, 2)`` return the next n rows of ``points``."""
    rows = iter(points.split(1))

    def rand(*size: int, device: object = None) -> Tensor:
        assert size[1:] == points.shape[1:]
        return torch.cat([next(rows) for _ in range(size[0])])

    monkeypatch.setattr(torch, "rand", rand)


def step_points(matching: Tensor, candidates: Tensor | None = None, at_random: Tensor | None = None) -> StepPoints:
    """The points of a step; those that are not given are not used."""
    nothing = torch.zeros(len(matching), 0, 2)
    return StepPoints(
        matching, nothing[0] if candidates is None else candidates, nothing if at_random is None else at_random
    )


@pytest.mark.parametrize("count", [200, 300])  # fewer and more than the 240 pixels of a mask
def test_matching_is_the_peers(case, count, monkeypatch) -> None:
    layer, targets = case
    points = torch.rand(len(COUNTS), count, 2)
    matcher = peer.Mask2FormerHungarianMatcher(cost_class=2.0, cost_mask=5.0, cost_dice=5.0, num_points=count)
    serve(monkeypatch, points)
    theirs = matcher(layer.mask_logits, layer.logits, [m.float() for m in targets.masks], targets.labels)
    predictions = LayerPredictions(layer.logits, layer.mask_embeds, torch.zeros(3, QUERIES))
    truth = torch.cat(targets.masks).float()
    (found,) = HungarianMatcher(points=count)([predictions], layer.pixels, targets, truth, points)
    starts = [sum(COUNTS[:i]) for i in range(len(COUNTS))]
    expected = [
        (i, k, starts[i] + t)
        for i, (ks, ts) in enumerate(theirs)
        for k, t in zip(ks.tolist(), ts.tolist(), strict=True)
    ]
    assert [tuple(column) for column in found.T.tolist()] == expected
    assert len(expected) == sum(min(n, QUERIES) for n in COUNTS)


def test_mask_losses_are_the_peers(case) -> None:
    layer, targets = case
    truth = torch.cat(targets.masks).float()[:QUERIES]
    predicted = layer.mask_logits[2]
    # All candidates are used, and some points of each image; the mean does not depend on the order of points.
    candidates, at_random = torch.rand(POINTS - 40, 2), torch.rand(3, 40, 2)
    step = step_points(torch.zeros(3, POINTS, 2), candidates, at_random)
    image, row = torch.full((QUERIES,), 2), torch.arange(QUERIES)
    masks = GroundTruthAtPoints(step, truth, [0, 0, QUERIES]).sample(predicted, image, row)
    bce, dices = mask_bce(masks).sum(), dice(masks).sum()
    points = torch.cat((candidates, at_random[2])).expand(QUERIES, -1, -1)
    logits = peer.sample_point(predicted[:, None], points, align_corners=False).squeeze(1)
    labels = peer.sample_point(truth[:, None], points, align_corners=False).squeeze(1)
    torch.testing.assert_close(bce / 7, peer.sigmoid_cross_entropy_loss(logits, labels, 7), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(dices / 7, peer.dice_loss(logits, labels, 7), rtol=1e-5, atol=1e-5)
    assert bce > 0
    assert dices > 0


def test_costs_are_the_peers(case) -> None:
    layer, targets = case
    truth = torch.cat(targets.masks).float().flatten(1)[:, ::17]
    masks = layer.mask_logits[0].repeat(1, 4, 4).flatten(1)[:, ::17]
    ours = matching_cost(
        layer.logits[0], masks, torch.cat(targets.labels), truth, class_weight=0.0, bce_weight=5.0, dice_weight=3.0
    )
    theirs = 5 * peer.pair_wise_sigmoid_cross_entropy_loss(masks, truth) + 3 * peer.pair_wise_dice_loss(masks, truth)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def class_losses_on_rank(rank: int) -> dict[str, Tensor]:
    """Our and the peer's weighted class loss; one process has an image with 5 segments, the other one with 15."""
    torch.manual_seed(0)
    logits, embeds, pixels = torch.randn(2, QUERIES, NAMES + 1), torch.randn(2, QUERIES, 16), torch.randn(2, 16, 12, 20)
    layer = LayerPredictions(logits[rank, None], embeds[rank, None], torch.zeros(1, QUERIES))
    count = (5, 15)[rank]
    targets = SegmentTargets([torch.rand(count, 48, 80) > 0.7], [torch.randint(0, NAMES, (count,))])
    seeds = StepSeeds.of(0, 0, [rank])
    matched = MatchedPredictions.match([layer], pixels[rank, None], targets, HungarianMatcher(points=POINTS), seeds)
    found = {kind: 2 * CrossEntropy(weight=2.0, normalization=kind)(matched)[0] for kind in ("rank", "global")}
    (match,) = matched.matches
    theirs = peer.Mask2FormerLoss(Mask2FormerConfig(num_labels=NAMES), {})
    loss = theirs.loss_labels(layer.logits, targets.labels, [(match[1], match[2])])["loss_cross_entropy"]
    return {**found, "peer": 2 * loss}


def test_the_class_loss_of_a_rank_is_the_peers(tmp_path: Path) -> None:
    """A weighted mean over the proposals of the rank only: DDP averages gradients, not the divisors."""
    for found in on_two_ranks(class_losses_on_rank, tmp_path):
        torch.testing.assert_close(found["rank"], found["peer"], rtol=1e-6, atol=1e-6)
        assert abs(found["global"] / found["peer"] - 1) > 0.1
