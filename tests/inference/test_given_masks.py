"""Given masks in place of the segmenter's: their embeddings are those of the pools, computed by hand."""

from __future__ import annotations

import pytest
import torch
from published_files import small_network
from torch import Tensor

from opsnet.inference import given_masks
from opsnet.inference.given_masks import cells, run_with_masks
from opsnet.model import OPSNet
from opsnet.prediction.images import NetworkSize, to_batch
from opsnet.structures import Batch

IOU = torch.tensor([0.5, 1.0, 0.25])


@pytest.fixture(scope="module", params=["convnext", "resnet"])
def network(request) -> OPSNet:
    return small_network(request.param)


def image(height: int, width: int, longest: int | None = None) -> Batch:
    pixels = torch.randint(0, 255, (height, width, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return to_batch([pixels.numpy()], size=NetworkSize(longest=longest))


def rectangles(height: int, width: int) -> Tensor:
    masks = torch.zeros(3, height, width, dtype=torch.bool)
    masks[0, : height // 2] = True
    masks[1, height // 4 :, width // 2 :] = True
    masks[2, height - 40 :, : width // 2] = True
    return masks


def test_the_masks_are_pooled_on_clips_map(network: OPSNet) -> None:
    batch, masks = image(64, 96), rectangles(64, 96)
    output = run_with_masks(network, batch, masks, IOU)
    with torch.no_grad():
        clip_map = network.clip.image_encoder(batch.images)
        expected = network.clip.image_encoder.pool(clip_map, 2.0 * masks[None] - 1, (64, 96))
    assert torch.allclose(output.clip["pooling"], expected, atol=1e-6)
    assert torch.equal(output.proposals.mask_logits, masks[None])
    assert (output.padded, output.valid_sizes, output.map_sizes) == ((64, 96), ((64, 96),), ((64, 96),))
    assert output.proposals.iou.tolist() == [IOU.tolist()]


def test_a_head_that_pools_pixels_embeds_the_masks_without_a_query(network: OPSNet) -> None:
    batch, masks = image(64, 96), rectangles(64, 96)
    output = run_with_masks(network, batch, masks, IOU)
    head = network.query_decoder.embed_head
    with torch.no_grad():
        pixels, _ = network.embed_pixels(batch.images)
        inside = masks.float().unflatten(1, (16, 4)).unflatten(3, (24, 4)).mean((2, 4)) >= 0.5  # stride 4
        means = torch.stack([pixels[0][:, one].mean(1) for one in inside])
        expected = head.mlp(head.project(means))
    assert torch.allclose(output.proposals.query_embeds[0], expected, atol=1e-5)


def test_the_segmenter_does_not_run_where_only_clip_names_the_masks(lenient_model, monkeypatch) -> None:
    model = lenient_model.model
    monkeypatch.setattr(model.backbone, "forward", None)
    monkeypatch.setattr(model.pixel_decoder, "forward", None)
    output = run_with_masks(model, image(64, 96), rectangles(64, 96), IOU)
    assert not model.names_masks
    assert not output.proposals.query_embeds.any()
    assert output.clip["pooling"].abs().sum(-1).gt(0).all()
    with pytest.raises(ValueError, match="only embed_head=mask_pooled"):
        model.embed_masks(torch.zeros(1, 8, 4, 4), torch.zeros(1, 1, 4, 4))


def test_a_mask_smaller_than_a_cell_of_the_map_has_the_embedding_of_its_cell(network: OPSNet) -> None:
    """FC-CLIP's rule leaves it without one."""
    batch, stride = image(64, 96), 32
    masks = torch.zeros(2, 64, 96, dtype=torch.bool)
    masks[0, 33, 70] = True
    masks[1, stride : 2 * stride, 2 * stride : 3 * stride] = True
    output = run_with_masks(network, batch, masks, IOU[:2])
    small, cell = output.clip["pooling"][0]
    assert torch.allclose(small, cell, atol=1e-5)
    assert small.any()


def test_masks_of_a_large_image_are_made_smaller_with_it(network: OPSNet) -> None:
    """And keep their own size in the output; a line of one pixel is not lost."""
    batch, masks = image(250, 300, longest=96), rectangles(250, 300)
    masks[2] = False
    masks[2, 100, 20:200] = True
    output = run_with_masks(network, batch, masks, IOU)
    assert output.proposals.mask_logits.shape == (1, 3, 250, 300)
    assert batch.valid_sizes == [(80, 96)]
    assert (output.clip["pooling"][0] - output.clip["pooling"][0].roll(1, 0)).abs().amax(1).gt(1e-3).all()
    half = torch.zeros(3, 80, 96, dtype=torch.bool)
    half[0, :40] = True
    direct = run_with_masks(network, Batch(batch.images, [(80, 96)], [0], ""), half[:1], IOU[:1])
    assert torch.allclose(direct.clip["pooling"][0, 0], output.clip["pooling"][0, 0], atol=1e-4)


def test_groups_of_masks_give_the_same(network: OPSNet, monkeypatch) -> None:
    batch, masks = image(64, 96), rectangles(64, 96)
    together = run_with_masks(network, batch, masks, IOU)
    monkeypatch.setattr(given_masks, "GROUP_ELEMENTS", 1)
    alone = run_with_masks(network, batch, masks, IOU)
    assert torch.allclose(together.clip["pooling"], alone.clip["pooling"], atol=1e-5)
    assert torch.allclose(together.proposals.query_embeds, alone.proposals.query_embeds, atol=1e-5)


def test_no_masks(network: OPSNet) -> None:
    output = run_with_masks(network, image(64, 96), torch.zeros(0, 64, 96, dtype=torch.bool), IOU[:0])
    assert output.clip["pooling"].shape == output.proposals.query_embeds.shape == (1, 0, 32)


def test_cells_by_hand() -> None:
    cover = torch.zeros(3, 4, 4)
    cover[0, :2, :3] = 1  # one cell whole, its neighbour by half
    cover[1, 0, 0] = cover[1, 3, 3] = 1  # a quarter of two cells
    found = cells(cover, (2, 2))
    assert found.int().tolist() == [[[1, 1], [0, 0]], [[1, 0], [0, 1]], [[0, 0], [0, 0]]]
