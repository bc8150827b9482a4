"""OPSNet as an ``nn.Module``: the forward pass reads like the paper's Figure 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from opsnet.clip.frozen_clip import FrozenClip
from opsnet.ops.normalization import Sizes, inside_images
from opsnet.recognition.mask_pooling import mask_pooling
from opsnet.recognition.recognizer import cosine_logits
from opsnet.segmenter.backbone import Backbone
from opsnet.segmenter.pixel_decoder import PixelDecoder
from opsnet.segmenter.published.checkpoints import load_published
from opsnet.segmenter.query_decoder import QueryDecoder
from opsnet.structures import Embeddings, LayerQueries, Proposals, TextBank


class OPSNet(nn.Module):
    """Open-vocabulary panoptic segmentation.

    Args:
        backbone: feature pyramid.
        pixel_decoder: builder; receives ``in_channels``.
        query_decoder: builder; receives ``clip_dim``.
        clip: frozen; never part of a checkpoint.
        weights: of a published Mask2Former to start from, see
            :func:`opsnet.segmenter.published.checkpoints.load_published`.
        zero_shot: nothing will be trained: the no-object score of ``weights`` stands for the predicted IoU.

    Raises:
        WeightsError: ``weights`` cannot be read or are of another network.
    """

    def __init__(
        self,
        *,
        backbone: Backbone,
        pixel_decoder: Callable[..., PixelDecoder],
        query_decoder: Callable[..., QueryDecoder],
        clip: FrozenClip,
        weights: str | Path | None = None,
        zero_shot: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pixel_decoder = pixel_decoder(in_channels=backbone.channels)
        self.query_decoder = query_decoder(clip_dim=clip.embed_dim)
        # Row 4 of Table 1 filters by class score alone, which needs a rival for the names.
        self.no_object_embed = nn.Parameter(F.normalize(torch.randn(clip.embed_dim), dim=0))
        self.clip = clip
        if weights is not None:
            load_published(self, weights, class_head=zero_shot)
        self.to(memory_format=torch.channels_last)

    def forward(
        self, images: Tensor, valid_sizes: Sizes | None = None, *, return_intermediate: bool | None = None
    ) -> tuple[Proposals, Tensor]:
        """Images (B, 3, H, W), RGB in 0..1 -> proposals, and CLIP's adapted map (B, D, h, w).

        Args:
            images: padded at the right and bottom.
            valid_sizes: (height, width) in pixels of each image inside the padding; ``None``: nothing is padded.
            return_intermediate: whether the query decoder predicts after every layer, by default in training mode.
        """
        inside = inside_images(valid_sizes, images)
        clip_map = self.clip.image_encoder(_channels_last(images), inside)
        return self._propose(images, clip_map, inside, return_intermediate), clip_map

    def propose(
        self, images: Tensor, clip_map: Tensor | None, valid_sizes: Sizes | None = None, *,
        return_intermediate: bool | None = None,
    ) -> Proposals:  # fmt: skip
        """As :meth:`forward` for a CLIP map that is known; ``None`` where the queries do not look at one."""
        return self._propose(images, clip_map, inside_images(valid_sizes, images), return_intermediate)

    def _propose(
        self, images: Tensor, clip_map: Tensor | None, inside: Tensor | None, return_intermediate: bool | None
    ) -> Proposals:
        features = self.pixel_decoder(self.backbone(_channels_last(images), inside))
        return self.query_decoder(features, clip_map, return_intermediate=return_intermediate)  # type: ignore[no-any-return]

    def embed(self, proposals: Proposals, clip_map: Tensor, size: tuple[int, int]) -> Embeddings:
        """Both embeddings of each proposal, trained and by Mask Pooling, of images of ``size`` (pixels)."""
        features = self.clip.image_encoder.for_pooling(clip_map, size)
        return Embeddings(query=proposals.query_embeds, clip=mask_pooling(features, proposals.mask_logits))

    def training_logits(self, proposals: Proposals | LayerQueries, train: TextBank) -> Tensor:
        """Cosine logits of the training names and no-object, (B, K, N + 1)."""
        rows = torch.cat((train.embeds, self.no_object_embed[None]))
        logits = cosine_logits(proposals.query_embeds, rows)
        if train.concept is None:
            return logits
        return torch.cat((train.max_per_concept(logits[..., :-1]), logits[..., -1:]), dim=-1)


def _channels_last(images: Tensor) -> Tensor:
    """Convolutions are nearly twice as fast on a CPU."""
    return images.contiguous(memory_format=torch.channels_last)
