"""The network's output for masks from elsewhere, which take the place of the segmenter's.

Everything after it is as for proposals: recognizer, filter and merge. The masks have no queries, so they have no query
embeddings where these come from the query alone (OPSNet); where the embedding head also pools the pixel embeddings
inside the mask (FC-CLIP), that part is used, with zeros for the query.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.inference.network_output import POOLING, NetworkOutput, require_finite
from opsnet.model import OPSNet
from opsnet.ops.adaptive_average import adaptive_average
from opsnet.structures import Batch, Proposals

GROUP_ELEMENTS = 2**24
"""Number of mask values that are processed at a time, at the size of the padded image."""

Size = tuple[int, int]


@torch.no_grad()
def run_with_masks(model: OPSNet, batch: Batch, masks: Tensor, iou: Tensor) -> NetworkOutput:
    """One pass of the network for an image, with given masks; the query decoder does not run.

    The output has the size of the image, so that the merge uses exactly these masks.

    Args:
        model: the network.
        batch: one image, on the network's device.
        masks: (K, H, W) bool, at the image's original size; none is empty.
        iou: (K,) in 0..1, how good each mask is.

    Raises:
        InputError: an embedding is not finite.
    """
    padded = (batch.images.shape[-2], batch.images.shape[-1])
    pixels, clip_map = model.embed_pixels(batch.images, batch.valid_sizes)
    features = model.clip.image_encoder.for_pooling(clip_map, padded)
    query, clip = [], []
    for cover in _coverage(masks, batch.valid_sizes[0], padded):
        clip.append(_pool(model, features, cover))
        if pixels is not None:
            query.append(model.embed_masks(pixels, cells(cover, (pixels.shape[-2], pixels.shape[-1]))[None])[0])
    pooled = torch.cat([*clip, features.new_zeros(0, model.clip.embed_dim)])
    queries = torch.cat([*query, pooled.new_zeros(0, pooled.shape[-1])]) if pixels is not None else pooled * 0
    size = (masks.shape[-2], masks.shape[-1])
    output = NetworkOutput(
        Proposals(masks[None], queries[None], iou[None]), {POOLING: pooled[None]}, size, (size,), (size,),
        tuple(batch.image_ids), (float(model.query_scale()), model.clip_scale()),
    )  # fmt: skip
    return require_finite(output)


def _coverage(masks: Tensor, valid: Size, padded: Size) -> Iterator[Tensor]:
    """Groups of masks (n, H, W) as the fraction of each pixel of the padded image that they cover, (n, *padded)."""
    step = max(1, GROUP_ELEMENTS // (padded[0] * padded[1]))
    for first in range(0, len(masks), step):
        group = masks[first : first + step]
        cover = adaptive_average(group.float(), valid)
        yield F.pad(cover, (0, padded[1] - valid[1], 0, padded[0] - valid[0]))


def _pool(model: OPSNet, features: Tensor, cover: Tensor) -> Tensor:
    """CLIP embeddings (n, D) of masks (n, H', W') from CLIP's map (1, C, h, w); none is that of an empty mask."""
    pooling = model.clip.image_encoder.pooling
    logits = 2 * cover[None] - 1
    pooled = pooling.pool(features, logits)[0]
    lost = pooling.is_lost(features, logits)[0]
    if lost.any():
        own = cells(cover[lost], (features.shape[-2], features.shape[-1]))
        pooled = pooled.index_copy(0, lost.nonzero()[:, 0], pooling.pool(features, 2.0 * own[None] - 1)[0])
    return pooled


def cells(cover: Tensor, size: Size) -> Tensor:
    """The cells of a grid that are at least half inside each mask, (n, H, W) in 0..1 -> bool (n, *size).

    A mask that fills no cell by half has the cells of which it covers most, so that a small mask is not lost.
    """
    inside = adaptive_average(cover, size)
    most = inside.flatten(1).amax(1)[:, None, None]
    return (inside >= torch.where(most >= 0.5, 0.5, most)) & (inside > 0)
