"""Masks of padded batches against transformers' Mask2Former behind its own image processor."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from opsnet_from_peer import BACKBONES, opsnet_of, small_peer
from torch import Tensor
from transformers import Mask2FormerImageProcessor

from opsnet.data.batching import collate
from opsnet.data.panoptic_dataset import Sample
from opsnet.structures import GroundTruth

# No side is a multiple of 32. The last is a COCO image, 481 x 641, at a quarter.
SIZES = ((97, 141), (131, 101), (120, 160))


def photograph(height: int, width: int, seed: int) -> Tensor:
    """A smooth random image, uint8 (3, H, W), its border far from black."""
    noise = torch.rand(1, 3, 6, 7, generator=torch.Generator().manual_seed(seed))
    smooth = F.interpolate(noise, size=(height, width), mode="bicubic", align_corners=False)[0]
    return (255 * smooth.clamp(0, 1)).byte()


def sample(image: Tensor) -> Sample:
    size, none = image.shape[-2:], torch.zeros(0, dtype=torch.int64)
    truth = GroundTruth(torch.zeros(size, dtype=torch.int64), ())
    return Sample(image, torch.zeros(size, dtype=torch.int64), none, none, truth, 0)


@pytest.mark.parametrize("sizes", [SIZES, SIZES[:1]], ids=["batch", "alone"])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_masks_of_padded_images_equal_the_peers(backbone: str, sizes: tuple[tuple[int, int], ...]) -> None:
    peer = small_peer(backbone).eval()
    model = opsnet_of(peer).eval()
    images = [photograph(*size, seed) for seed, size in enumerate(sizes)]
    batch = collate([sample(image) for image in images], vocabulary="custom")
    processed = Mask2FormerImageProcessor(do_resize=False)(
        [image.permute(1, 2, 0).numpy() for image in images], return_tensors="pt"
    )["pixel_values"]
    # The processor pads to the largest image; detectron2 and we go on to a multiple of 32.
    height, width = batch.images.shape[-2:]
    padded = F.pad(processed, (0, width - processed.shape[-1], 0, height - processed.shape[-2]))
    with torch.no_grad():
        found, _ = model(batch.images, batch.valid_sizes)
        expected = peer(padded).masks_queries_logits
    torch.testing.assert_close(found.mask_logits, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(found.mask_logits >= 0, expected >= 0)
    assert expected.std() > 0.1
