"""Padding is zero after normalisation, for both normalisations of a network."""

from __future__ import annotations

import pytest
import torch
from hydra.utils import instantiate

from opsnet.ops.normalization import inside_images, normalize


def test_the_padding_of_a_batch_is_zero_after_normalisation() -> None:
    images = torch.full((2, 3, 4, 4), 0.5)
    mean, std = torch.tensor([0.5, 0.25, 0.0]).view(3, 1, 1), torch.tensor([1.0, 0.5, 2.0]).view(3, 1, 1)
    inside = inside_images([(2, 3), (4, 1)], images)
    normalized = normalize(images, mean, std, inside)
    assert normalized[0, 1].tolist() == [[0.5, 0.5, 0.5, 0], [0.5, 0.5, 0.5, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert normalized[1, 2].tolist() == [[0.25, 0, 0, 0]] * 4
    assert (normalized[:, 0] == 0).all()


def test_sizes_as_a_tensor_and_none() -> None:
    images = torch.zeros(1, 3, 2, 3)
    assert inside_images(torch.tensor([[1, 2]]), images).tolist() == [[[[True, True, False], [False, False, False]]]]
    assert inside_images(None, images) is None
    assert inside_images([(2, 3)], images) is None  # no padding: nothing to multiply


def test_every_image_needs_a_size() -> None:
    with pytest.raises(ValueError, match="2 images need as many valid sizes, got 1"):
        inside_images([(1, 1)], torch.zeros(2, 3, 2, 2))


def test_the_colour_of_the_padding_does_not_reach_the_network(compose) -> None:
    torch.manual_seed(0)
    cfg = compose("train", "clip.model.weights=random", "model.query_decoder.queries=4", "output=nowhere")
    model = instantiate(cfg.model, backbone=cfg.backbone, clip=cfg.clip).eval()
    black, white = torch.zeros(1, 3, 64, 96), torch.ones(1, 3, 64, 96)
    for images in (black, white):
        images[:, :, :50, :70] = torch.rand(1, 3, 50, 70, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        outputs = [model(images, [(50, 70)]) for images in (black, white)]
    assert torch.equal(outputs[0][0].mask_logits, outputs[1][0].mask_logits)
    assert torch.equal(outputs[0][0].query_embeds, outputs[1][0].query_embeds)
    assert torch.equal(outputs[0][1], outputs[1][1])
