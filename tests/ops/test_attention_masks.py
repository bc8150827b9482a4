"""Attention masks from resized pixel embeddings equal masks resized from full resolution."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.ops.attention_masks import attention_masks, attention_masks_reference, resize_pixels


def inside(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Positions of a map of ``size`` to which queries with masks (K, h, w) may attend, (K, h * w)."""
    each = torch.eye(len(logits))[None]  # one channel of the pixels is one query's mask
    like = torch.empty(1, 1, *size)
    found = attention_masks(each, resize_pixels(logits[None], like))
    assert torch.equal(found, attention_masks_reference(each, logits[None], like))
    return found[0]


def test_inside_is_where_the_logit_is_not_negative() -> None:
    logits = torch.tensor([[3.0, -3.0], [0.0, -0.1]])[None]
    assert inside(logits, (2, 2)).tolist() == [[True, False, True, False]]


def test_a_query_with_an_empty_mask_attends_everywhere() -> None:
    logits = torch.stack((torch.full((2, 2), -1.0), torch.tensor([[-1.0, 1.0], [-1.0, -1.0]])))
    assert inside(logits, (2, 2)).tolist() == [[True] * 4, [False, True, False, False]]


def test_masks_are_resized_to_the_memory() -> None:
    logits = torch.tensor([[4.0, 4.0, -4.0, -4.0]] * 2)[None]
    assert inside(logits, (1, 2)).tolist() == [[True, False]]
    assert inside(logits, (2, 8))[0].view(2, 8)[0].tolist() == [True] * 4 + [False] * 4


@pytest.mark.parametrize("size", [(4, 5), (9, 13), (1, 1), (20, 17)])
def test_resized_pixels_give_the_resized_masks(size: tuple[int, int]) -> None:
    """Equal unless a mask logit is 0 up to rounding, which is rare."""
    torch.manual_seed(0)
    pixels, embeds, like = torch.randn(2, 5, 9, 13), torch.randn(2, 4, 5), torch.empty(2, 1, *size)
    full = torch.einsum("bkc, bchw -> bkhw", embeds, pixels)
    decided = F.interpolate(full, size=size, mode="bilinear", align_corners=False).flatten(2).abs() > 1e-5
    assert decided.float().mean() > 0.99
    found, expected = (
        attention_masks(embeds, resize_pixels(pixels, like)),
        attention_masks_reference(embeds, pixels, like),
    )
    assert torch.equal(found[decided], expected[decided])


def test_it_has_no_gradient() -> None:
    pixels, embeds = torch.randn(1, 3, 4, 4, requires_grad=True), torch.randn(1, 2, 3, requires_grad=True)
    resized = resize_pixels(pixels, torch.empty(1, 1, 2, 2))
    assert not resized.requires_grad and not attention_masks(embeds, resized).requires_grad
