"""Masked and cropped images of proposals, on images with one colour per quarter."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from opsnet.recognition import proposal_crops
from opsnet.recognition.proposal_crops import crop_images, embed_crops, mask_images

# Quarters of an 8 x 8 image: 0.1 0.2 / 0.3 0.4; masks have half of its resolution.
QUARTERS = torch.tensor([[0.1, 0.2], [0.3, 0.4]])
IMAGE = QUARTERS.repeat_interleave(4, 0).repeat_interleave(4, 1).expand(1, 3, 8, 8)
GREY = torch.full((3, 1, 1), 0.5)


def mask(*cells: tuple[int, int]) -> Tensor:
    """Logits (4, 4) that are positive at these cells."""
    logits = torch.full((4, 4), -2.0)
    for row, column in cells:
        logits[row, column] = 2.0
    return logits


UPPER_RIGHT = mask((0, 2), (0, 3), (1, 2), (1, 3))


def test_masking_keeps_the_inside_and_fills_the_outside() -> None:
    (image,) = mask_images(IMAGE, UPPER_RIGHT[None, None], 8, GREY)
    expected = torch.full((3, 8, 8), 0.5)
    expected[:, :4, 4:] = 0.2
    torch.testing.assert_close(image, expected)


def test_masking_fills_with_the_colour_it_is_given() -> None:
    fill = torch.tensor([0.6, 0.7, 0.8]).view(3, 1, 1)
    (image,) = mask_images(IMAGE, mask()[None, None], 2, fill)
    torch.testing.assert_close(image, fill.expand(3, 2, 2))


def test_masking_resizes_to_clips_size() -> None:
    (image,) = mask_images(IMAGE, torch.ones(1, 1, 4, 4), 2, GREY)
    # Antialiased halving mixes neighbours, but the order of the quarters stays.
    assert image.shape == (3, 2, 2)
    assert image[0].flatten().tolist() == sorted(image[0].flatten().tolist())
    assert image[0].mean().item() == pytest.approx(0.25)


def test_cropping_takes_the_box_and_keeps_the_background() -> None:
    diagonal = mask((0, 0), (1, 3))  # its box is the upper half
    (image,) = crop_images(IMAGE, diagonal[None, None], 8)
    assert image.shape == (3, 8, 8)
    assert image[:, :, 0].unique().item() == pytest.approx(0.1)
    assert image[:, :, -1].unique().item() == pytest.approx(0.2)


def test_a_crop_of_one_cell_has_one_colour() -> None:
    (image,) = crop_images(IMAGE, mask((3, 0))[None, None], 5)
    torch.testing.assert_close(image, torch.full((3, 5, 5), 0.3))


def test_a_proposal_with_an_empty_mask_crops_the_whole_image() -> None:
    (image,) = crop_images(IMAGE, mask()[None, None], 8)
    torch.testing.assert_close(image, IMAGE[0].contiguous())


@pytest.mark.parametrize("make", [crop_images, lambda i, m, s: mask_images(i, m, s, GREY)])
def test_crops_are_ordered_by_image_and_proposal(make) -> None:
    images = torch.cat((IMAGE, IMAGE + 0.5))
    masks = torch.stack((UPPER_RIGHT, mask((3, 0), (2, 1)), torch.ones(4, 4)))
    together = make(images, torch.stack((masks, masks.flip(0))), 4)
    assert together.shape == (6, 3, 4, 4)
    torch.testing.assert_close(together[1], make(images[:1], masks[None, 1:2], 4)[0])
    torch.testing.assert_close(together[5], make(images[1:], masks[None, :1], 4)[0])


def test_embedding_goes_through_clip_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposal_crops, "CHUNK", 4)
    seen: list[int] = []

    def encode(crops: Tensor) -> Tensor:
        seen.append(len(crops))
        return crops.flatten(1)[:, :2]

    crops = torch.arange(6.0)[:, None, None, None].expand(6, 3, 2, 2).clone().requires_grad_()
    embeds = embed_crops(encode, crops, batch=2)
    assert seen == [4, 2]
    assert embeds[..., 0].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert embeds.shape == (2, 3, 2)
    assert not embeds.requires_grad
