"""One image with many settings: maps and counts equal those of the dense merge, at the ground truth's size."""

from __future__ import annotations

import pytest
import torch

from opsnet.evaluation import scored_image
from opsnet.evaluation.scored_image import ImageMasks, score_image
from opsnet.metrics.panoptic_quality import count_image
from opsnet.panoptic.mask_filtering import Filtered
from opsnet.panoptic.merge import merge_panoptic, upsample_masks
from opsnet.structures import GroundTruth, Segment

IS_THING = [True, False, True]
QUERIES, SETTINGS = 6, 5


def scene(size: tuple[int, int]) -> tuple[ImageMasks, GroundTruth, Filtered]:
    """A batch of 16 x 24 pixels with an image of 15 x 20, whose ground truth has ``size``."""
    generator = torch.Generator().manual_seed(0)
    masks = ImageMasks(
        4 * torch.randn(QUERIES, 4, 6, generator=generator), torch.rand(QUERIES), (16, 24), (15, 20), size
    )
    ids = torch.zeros(size, dtype=torch.int64)
    ids[: size[0] // 2], ids[size[0] // 2 :, size[1] // 3 :] = 4, 9
    truth = GroundTruth(ids, (Segment(4, 0, True), Segment(9, 1, False)))
    scores = torch.rand(SETTINGS, QUERIES, generator=generator)
    labels = torch.randint(3, (SETTINGS, QUERIES), generator=generator)
    keep = torch.rand(SETTINGS, QUERIES, generator=generator) < 0.7
    keep[1] = False
    merge_scores = torch.rand(SETTINGS, QUERIES, generator=generator)
    rows = Filtered(scores, labels, keep, merge_scores)
    for values in rows:
        values[3] = values[0]
    return masks, truth, rows


@pytest.mark.parametrize("most_bytes", [2**31, 0])  # 0: masks do not fit into memory at full size
@pytest.mark.parametrize("size", [(15, 20), (30, 41), (9, 13)])
def test_every_setting_is_scored_as_the_dense_merge_would_be(
    size: tuple[int, int], most_bytes: int, monkeypatch
) -> None:
    monkeypatch.setattr(scored_image, "MOST_MASK_BYTES", most_bytes)
    masks, truth, rows = scene(size)
    found = score_image(masks, truth, rows, with_map=[True] * SETTINGS, is_thing=IS_THING, overlaps=[0.2] * SETTINGS)
    full = upsample_masks(masks.logits, masks.padded, masks.valid, size)
    assert full.shape == (QUERIES, *size)
    seen = 0
    for result, *named, merge_scores in zip(found, *rows, strict=True):
        dense = merge_panoptic(full, *named, IS_THING, iou=masks.iou, merge_scores=merge_scores, overlap=0.2)
        assert result.map is not None
        assert result.map.segments == dense.segments
        assert torch.equal(result.map.ids, dense.ids)
        counts = count_image(dense, truth, 3)
        assert [getattr(result.segments, k).tolist() for k in ("tp", "fp", "fn", "iou_sum")] == [
            getattr(counts, k).tolist() for k in ("tp", "fp", "fn", "iou_sum")
        ]
        seen += len(dense.segments)
    assert seen > 5


def test_equal_settings_are_scored_once_with_a_map_if_any_requests_it() -> None:
    masks, truth, rows = scene((15, 20))
    asked = [False, False, True, True, False]
    found = score_image(masks, truth, rows, with_map=asked, is_thing=IS_THING, overlaps=[0.2] * SETTINGS)
    assert found[0] is found[3]
    assert [result.map is not None for result in found] == [True, True, True, True, False]  # nothing kept costs nothing


def test_maps_that_differ_only_in_their_scores_share_their_counts() -> None:
    masks, truth, rows = scene((15, 20))
    first = Filtered(*(values[0] for values in rows))
    halved = first._replace(scores=first.scores / 2)
    rows = Filtered(*(torch.stack(pair) for pair in zip(first, halved, strict=True)))
    one, other = score_image(masks, truth, rows, with_map=[True, True], is_thing=IS_THING, overlaps=[0.2] * 2)
    assert one.segments is other.segments
    assert one.map is not None
    assert other.map is not None
    assert [s.score / 2 for s in one.map.segments] == [s.score for s in other.map.segments]


def test_settings_that_differ_only_in_what_competes_are_scored_apart() -> None:
    masks, truth, rows = scene((15, 20))
    first = Filtered(*(values[0] for values in rows))
    other = first._replace(merge_scores=first.merge_scores.flip(0))
    found = score_image(
        masks, truth, Filtered(*(torch.stack(pair) for pair in zip(first, other, strict=True))), with_map=[True, True],
        is_thing=IS_THING, overlaps=[0.2] * 2,
    )  # fmt: skip
    assert not torch.equal(found[0].map.ids, found[1].map.ids)
