"""Semantic maps from proposals: scores worked out by hand, and computed in parts."""

from __future__ import annotations

import math

import pytest
import torch

from opsnet.inference import semantic as module
from opsnet.inference.semantic import class_probabilities, mask_probabilities, semantic_labels, semantic_scores
from opsnet.panoptic.merge import upsample_masks


def test_no_object_takes_its_share_of_the_probability() -> None:
    logits = torch.tensor([[[math.log(2), math.log(1)], [0.0, 0.0]]])
    found = class_probabilities(logits, torch.tensor([[math.log(5), -math.inf]]))
    assert found.flatten().tolist() == pytest.approx([0.25, 0.125, 0.5, 0.5])


def test_scores_by_hand() -> None:
    # Two weak proposals of class 1 outweigh a stronger one of class 0 where all three overlap.
    masks = torch.tensor([[[1.0, 1.0, 0.0]], [[0.0, 0.8, 0.5]], [[0.0, 0.8, 0.0]]])
    classes = torch.tensor([[0.6, 0.0], [0.0, 0.5], [0.1, 0.4]])
    scores = semantic_scores(masks, classes)
    assert scores.shape == (2, 1, 3)
    assert scores.flatten().tolist() == pytest.approx([0.6, 0.68, 0.0, 0.0, 0.72, 0.25])
    assert semantic_labels(masks, classes).tolist() == [[0, 1, 1]]


@pytest.mark.parametrize("at_once", [1, 1000, 2**30])
def test_parts_equal_the_whole_and_stay_small(at_once: int, monkeypatch) -> None:
    draw = torch.Generator().manual_seed(0)
    masks = torch.rand(12, 37, 53, generator=draw)
    classes = torch.rand(12, 9, generator=draw).softmax(-1)
    expected = torch.einsum("km, khw -> mhw", classes, masks).argmax(0)
    sizes, scores = [], module.semantic_scores
    monkeypatch.setattr(module, "SCORES_AT_ONCE", {"cpu": at_once})
    monkeypatch.setattr(module, "semantic_scores", lambda *a: sizes.append(scores(*a).numel()) or scores(*a))
    assert torch.equal(semantic_labels(masks, classes), expected)
    assert len(expected.unique()) > 1
    assert max(sizes) <= max(at_once, 9)
    assert sum(sizes) == 9 * 37 * 53


def test_masks_in_bf16_are_resized_in_fp32() -> None:
    logits = torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    found = mask_probabilities(logits, (16, 16), (16, 16), (16, 16))
    torch.testing.assert_close(found, upsample_masks(logits.float(), (16, 16), (16, 16)))


def test_bf16_masks_are_summed_in_the_precision_of_the_classes() -> None:
    masks = torch.ones(300, 1, 1, dtype=torch.bfloat16)
    classes = torch.full((300, 2), 1 / 300)
    classes[:, 1] += 1e-5  # lost in bf16, whose sum of 300 is exact to 1
    assert semantic_labels(masks, classes).item() == 1


@pytest.mark.parametrize("size", [(90, 70), (45, 60)])
def test_masks_of_one_image_at_its_own_size(size: tuple[int, int], monkeypatch) -> None:
    """Resized a few at a time, they are those of the merge."""
    monkeypatch.setattr("opsnet.ops.contest.CACHE_ELEMENTS", 2 * 96 * 96)
    logits = 4 * torch.randn(5, 24, 24, generator=torch.Generator().manual_seed(0))
    found = mask_probabilities(logits, (96, 96), (90, 70), size)
    assert found.shape == (5, *size)
    torch.testing.assert_close(found, upsample_masks(logits, (96, 96), (90, 70), size))
