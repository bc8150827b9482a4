"""OPSNet as an ``nn.Module``: the forward pass reads like the paper's Figure 2."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from opsnet.clip.frozen_clip import FrozenClip
from opsnet.clip.shared_backbone import SharedClipBackbone
from opsnet.ops.normalization import Sizes, inside_images
from opsnet.recognition.recognizer import cosine_logits
from opsnet.segmenter.backbone import Backbone
from opsnet.segmenter.embedding_heads import MaskPooledHead
from opsnet.segmenter.pixel_decoder import PixelDecoder
from opsnet.segmenter.published.checkpoints import load_published
from opsnet.segmenter.query_decoder import QueryDecoder
from opsnet.structures import LOGIT_SCALE, Embeddings, LayerQueries, Proposals, TextBank


class OPSNet(nn.Module):
    """Open-vocabulary panoptic segmentation.

    Args:
        backbone: feature pyramid; a :class:`SharedClipBackbone` is that of ``clip``.
        pixel_decoder: builder; receives ``in_channels``.
        query_decoder: builder; receives ``clip_dim`` and ``clip_map_dim``.
        clip: frozen CLIP; not part of checkpoints.
        weights: weights of a published Mask2Former to start from, see
            :func:`opsnet.segmenter.published.checkpoints.load_published`.
        zero_shot: the network will not be trained: the no-object score of ``weights`` replaces the predicted IoU.
        learn_logit_scale: multiply the cosines of query embeddings by a learned factor, and those of CLIP embeddings by
            CLIP's own (FC-CLIP), instead of both by 100 (the paper's temperature of 0.01).

    Raises:
        WeightsError: ``weights`` cannot be read or belong to another network.
    """

    def __init__(
        self,
        *,
        backbone: Backbone | SharedClipBackbone,
        pixel_decoder: Callable[..., PixelDecoder],
        query_decoder: Callable[..., QueryDecoder],
        clip: FrozenClip,
        weights: str | Path | None = None,
        zero_shot: bool = False,
        learn_logit_scale: bool = False,
    ) -> None:
        super().__init__()
        self.shares_clip = isinstance(backbone, SharedClipBackbone)
        if isinstance(backbone, SharedClipBackbone):
            backbone.share(clip.image_encoder)
        self.backbone = backbone
        self.pixel_decoder = pixel_decoder(in_channels=backbone.channels)
        self.query_decoder = query_decoder(clip_dim=clip.embed_dim, clip_map_dim=clip.image_encoder.map_dim)
        # Row 4 of Table 1 filters by class score alone, which needs a no-object class.
        self.no_object_embed = nn.Parameter(F.normalize(torch.randn(clip.embed_dim), dim=0))
        self.log_logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07))) if learn_logit_scale else None
        self.clip = clip
        if weights is not None:
            load_published(self, weights, class_head=zero_shot)
        self.to(memory_format=torch.channels_last)

    def forward(
        self, images: Tensor, valid_sizes: Sizes | None = None, *, return_intermediate: bool | None = None
    ) -> tuple[Proposals, Tensor]:
        """Images (B, 3, H, W), RGB in 0..1 -> proposals, and CLIP's map (B, C, h, w).

        Args:
            images: images padded at the right and bottom.
            valid_sizes: (height, width) in pixels of each image inside the padding; ``None``: no padding.
            return_intermediate: whether the query decoder predicts after every layer; default: in training mode.
        """
        maps, clip_map = self._encode(images, valid_sizes)
        return self._propose(maps, clip_map, return_intermediate), clip_map

    def _encode(self, images: Tensor, valid_sizes: Sizes | None) -> tuple[list[Tensor], Tensor]:
        """The backbone's maps, and CLIP's."""
        inside, images = inside_images(valid_sizes, images), _channels_last(images)
        if isinstance(self.backbone, SharedClipBackbone):
            return self.backbone.with_clip_map(images, inside)
        clip_map = self.clip.image_encoder(images, inside)
        return self.backbone(images, inside), clip_map

    def propose(
        self, images: Tensor, clip_map: Tensor | None, valid_sizes: Sizes | None = None, *,
        return_intermediate: bool | None = None,
    ) -> Proposals:  # fmt: skip
        """Like :meth:`forward`, with a given CLIP map; ``None`` if the queries do not attend to one."""
        maps = self.backbone(_channels_last(images), inside_images(valid_sizes, images))
        return self._propose(maps, clip_map, return_intermediate)

    def _propose(self, maps: list[Tensor], clip_map: Tensor | None, return_intermediate: bool | None) -> Proposals:
        features = self.pixel_decoder(maps)
        return self.query_decoder(features, clip_map, return_intermediate=return_intermediate)  # type: ignore[no-any-return]

    def embed(self, proposals: Proposals, clip_map: Tensor, size: tuple[int, int]) -> Embeddings:
        """Both embeddings of each proposal, query embedding and pooled CLIP, for images of ``size`` in pixels."""
        pooled = self.clip.image_encoder.pool(clip_map, proposals.mask_logits, size)
        return Embeddings(proposals.query_embeds, pooled, self.query_scale(), self.clip_scale())

    @property
    def names_masks(self) -> bool:
        """Whether masks without queries have an embedding for names besides CLIP's, see :meth:`embed_masks`."""
        return isinstance(self.query_decoder.embed_head, MaskPooledHead) and self.has_query_embeddings

    def embed_pixels(self, images: Tensor, valid_sizes: Sizes | None = None) -> tuple[Tensor | None, Tensor]:
        """What names given masks: images (B, 3, H, W) -> pixel embeddings (B, C, h, w), and CLIP's map (B, C', h', w').

        The pixel embeddings are ``None`` if masks cannot be named by them; then only CLIP's encoder runs.
        """
        if not self.names_masks:
            return None, self.clip.image_encoder(_channels_last(images), inside_images(valid_sizes, images))
        maps, clip_map = self._encode(images, valid_sizes)
        return self.pixel_decoder(maps).pixels, clip_map

    def embed_masks(self, pixels: Tensor, inside: Tensor) -> Tensor:
        """Embeddings (B, K, D) of masks without queries, bool (B, K, h, w), from pixel embeddings (B, C, h, w).

        Raises:
            ValueError: the network's embedding head does not pool pixels, see :attr:`names_masks`.
        """
        head = self.query_decoder.embed_head
        if not isinstance(head, MaskPooledHead):
            raise ValueError("only embed_head=mask_pooled (FC-CLIP's) embeds masks that are not of its queries")
        return head.of_masks(pixels, inside)

    @property
    def has_query_embeddings(self) -> bool:
        """Whether query embeddings are trained for names; a published Mask2Former with its own class head has none."""
        return self.query_decoder.class_head is None

    def query_scale(self) -> float | Tensor:
        """By which cosines of query embeddings are multiplied; at most 100, if it is learned."""
        return LOGIT_SCALE if self.log_logit_scale is None else self.log_logit_scale.exp().clamp(max=LOGIT_SCALE)

    def clip_scale(self) -> float:
        """By which cosines of CLIP embeddings are multiplied."""
        return LOGIT_SCALE if self.log_logit_scale is None else self.clip.logit_scale

    def training_logits(self, proposals: Proposals | LayerQueries, train: TextBank) -> Tensor:
        """Cosine logits of the training names and no-object, (B, K, N + 1)."""
        rows = torch.cat((train.embeds, self.no_object_embed[None]))
        logits = cosine_logits(proposals.query_embeds, rows, self.query_scale())
        if train.concept is None:
            return logits
        return torch.cat((train.max_per_concept(logits[..., :-1]), logits[..., -1:]), dim=-1)


def _channels_last(images: Tensor) -> Tensor:
    """Converts to channels-last, with which convolutions are nearly twice as fast on a CPU."""
    return images.contiguous(memory_format=torch.channels_last)
