"""Mask Pooling on maps of a few numbers."""

from __future__ import annotations

import pytest
import torch

from opsnet.clip.mask_pooling import mask_pooling


def masks(*rows: list[list[int]]) -> torch.Tensor:
    """Binary masks of one image as logits of +-3, (1, K, h, w)."""
    return 6 * torch.tensor([rows], dtype=torch.float32) - 3


def test_a_mask_of_one_pixel_returns_that_pixel_exactly() -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 7, 4, 5)
    logits = torch.full((2, 20, 4, 5), -1.0)
    for k in range(20):
        logits[:, k].view(2, -1)[:, k] = 2.0
    assert torch.equal(mask_pooling(features, logits), features.flatten(2).transpose(1, 2))


def test_a_mask_averages_what_it_covers() -> None:
    features = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[10.0, 20.0], [30.0, 40.0]]]])
    logits = masks([[1, 0], [0, 1]], [[1, 1], [1, 1]], [[0, 0], [1, 1]])
    assert mask_pooling(features, logits)[0].tolist() == [[2.5, 25.0], [2.5, 25.0], [3.5, 35.0]]


def test_an_empty_mask_gives_zeros() -> None:
    features = torch.randn(1, 3, 2, 2)
    pooled = mask_pooling(features, masks([[0, 0], [0, 0]], [[1, 0], [0, 0]]))
    assert pooled[0, 0].tolist() == [0.0, 0.0, 0.0]
    assert torch.equal(pooled[0, 1], features[0, :, 0, 0])


def test_a_logit_of_zero_is_inside() -> None:
    features = torch.tensor([[[[1.0, 5.0]]]])
    assert mask_pooling(features, torch.tensor([[[[0.0, -1e-6]]]])).item() == 1.0


def test_a_coarse_map_is_weighted_by_coverage() -> None:
    # Masks of 2 x 4 over a map of 1 x 2: each position of the map covers 2 x 2 mask pixels.
    features = torch.tensor([[[[10.0, 20.0]]]])
    logits = masks([[1, 1, 1, 0], [1, 1, 0, 0]], [[0, 0, 0, 1], [0, 0, 0, 0]])
    pooled = mask_pooling(features, logits)[0, :, 0]
    assert pooled[0].item() == pytest.approx((4 * 10 + 1 * 20) / 5)
    assert pooled[1].item() == pytest.approx(20.0)  # one of four pixels is enough where nothing else is covered


def test_a_coarse_map_that_does_not_divide_the_masks() -> None:
    # 3 columns over 2 positions: the middle column belongs to both.
    features = torch.tensor([[[[10.0, 20.0]]]])
    pooled = mask_pooling(features, masks([[0, 1, 0]], [[1, 1, 0]]))[0, :, 0]
    assert pooled.tolist() == pytest.approx([(0.5 * 10 + 0.5 * 20) / 1, (1 * 10 + 0.5 * 20) / 1.5])


def test_the_magnitude_of_a_logit_does_not_matter() -> None:
    torch.manual_seed(0)
    features, logits = torch.randn(1, 3, 4, 4), torch.randn(1, 5, 4, 4)
    assert torch.equal(mask_pooling(features, logits), mask_pooling(features, 100 * logits))


def test_images_and_proposals_are_independent() -> None:
    torch.manual_seed(0)
    features, logits = torch.randn(3, 4, 4, 6), torch.randn(3, 5, 8, 12)
    pooled = mask_pooling(features, logits)
    assert pooled.shape == (3, 5, 4)
    torch.testing.assert_close(pooled[1:2, 2:3], mask_pooling(features[1:2], logits[1:2, 2:3]))
