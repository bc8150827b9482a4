"""The network's output for a batch of images, from which inference labels segments with any class names."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from opsnet.clip.pooling import AttentionPooling
from opsnet.model import OPSNet
from opsnet.ops.normalization import inside_images
from opsnet.recognition.proposal_crops import crop_images, embed_crops, mask_images
from opsnet.structures import LOGIT_SCALE, Batch, Embeddings, Proposals
from opsnet.utils.errors import InputError

Size = tuple[int, int]
POOLING = "pooling"
MASKED_ATTENTION = "masked_attention"


@dataclass(frozen=True)
class NetworkOutput:
    """The network's predictions for B images; labelling them with other names costs no further forward pass.

    Attributes:
        proposals: masks (B, K, h, w), query embeddings (B, K, D) and predicted IoU (B, K).
        clip: CLIP embedding of each proposal, (B, K, D), by its source, a key of :data:`CLIP_SOURCES`.
        padded: (height, width) in pixels of the batch.
        valid_sizes: (height, width) in pixels of each image inside the padding.
        map_sizes: (height, width) in pixels of each image's panoptic map.
        image_ids: the dataset's id of each image.
        scales: by which cosines of query and CLIP embeddings are multiplied, see :class:`Embeddings`.
        warnings: about each image and its output, from :mod:`opsnet.prediction.cautions`; empty if nobody looked.
    """

    proposals: Proposals
    clip: Mapping[str, Tensor]
    padded: Size
    valid_sizes: tuple[Size, ...]
    map_sizes: tuple[Size, ...]
    image_ids: tuple[int | str, ...]
    scales: tuple[float, float] = (LOGIT_SCALE, LOGIT_SCALE)
    warnings: tuple[tuple[UserWarning, ...], ...] = ()

    @classmethod
    def of(
        cls, proposals: Proposals, batch: Batch, clip: Mapping[str, Tensor] | None = None,
        scales: tuple[float, float] = (LOGIT_SCALE, LOGIT_SCALE),
    ) -> NetworkOutput:  # fmt: skip
        """The output for a batch, with the batch's sizes and ids."""
        padded = (batch.images.shape[-2], batch.images.shape[-1])
        sizes = tuple(batch.valid_sizes), tuple(batch.map_sizes)
        return cls(proposals, clip or {}, padded, *sizes, tuple(batch.image_ids), scales)

    def __len__(self) -> int:
        return len(self.valid_sizes)

    @property
    def is_finite(self) -> bool:
        """Whether no tensor contains NaN or infinity; found by sums, which are one pass over the masks."""
        tensors = [self.proposals.mask_logits, self.proposals.query_embeds, self.proposals.iou, *self.clip.values()]
        sums = [tensor.sum(dtype=torch.float32) for tensor in tensors if tensor.is_floating_point()]
        return bool(torch.stack(sums).isfinite().all())

    def embeddings(self, source: str = POOLING) -> Embeddings:
        """Query and CLIP embeddings of the proposals, (B, K, D) each; ``source`` is a key of ``clip``."""
        return Embeddings(self.proposals.query_embeds, self.clip[source], *self.scales)

    def to(self, device: torch.device | str) -> NetworkOutput:
        """The same output with every tensor on ``device``."""
        clip = {source: embeds.to(device) for source, embeds in self.clip.items()}
        return dataclasses.replace(self, proposals=self.proposals.to(device), clip=clip)


@torch.no_grad()
def run_network(model: OPSNet, batch: Batch, sources: Collection[str] = (POOLING,)) -> NetworkOutput:
    """One forward pass.

    Args:
        model: the network.
        batch: B images, on the network's device.
        sources: keys of :data:`CLIP_SOURCES`.

    Raises:
        InputError: the output is not finite.
    """
    try:
        proposals, clip_map = model(batch.images, batch.valid_sizes)
    except FloatingPointError as error:
        raise _not_finite(batch.image_ids) from error
    clip = {source: CLIP_SOURCES[source](model, batch, proposals, clip_map) for source in sources}
    output = NetworkOutput.of(proposals, batch, clip, (float(model.query_scale()), model.clip_scale()))
    return require_finite(output)


def require_finite(output: NetworkOutput) -> NetworkOutput:
    """Returns an output after checking that it is finite: NaN would silently find nothing.

    Raises:
        InputError: it is not.
    """
    if not output.is_finite:
        raise _not_finite(output.image_ids)
    return output


def _not_finite(image_ids: Sequence[int | str]) -> InputError:
    return InputError(
        f"the network's output for image {', '.join(map(str, image_ids))} contains NaN or infinity: its weights do not "
        "fit, or its precision is too low; check the checkpoint, or compute in fp32"
    )


def _pooled(model: OPSNet, batch: Batch, proposals: Proposals, clip_map: Tensor) -> Tensor:
    return model.embed(proposals, clip_map, (batch.images.shape[-2], batch.images.shape[-1])).clip


def _masked(model: OPSNet, batch: Batch, proposals: Proposals, clip_map: Tensor) -> Tensor:
    encoder = model.clip.image_encoder
    images = mask_images(batch.images, proposals.mask_logits, encoder.image_size, encoder.mean)
    return embed_crops(encoder.embed_whole, images, len(batch.images))


def _cropped(model: OPSNet, batch: Batch, proposals: Proposals, clip_map: Tensor) -> Tensor:
    encoder = model.clip.image_encoder
    images = crop_images(batch.images, proposals.mask_logits, encoder.image_size)
    return embed_crops(encoder.embed_whole, images, len(batch.images))


def _attended(model: OPSNet, batch: Batch, proposals: Proposals, clip_map: Tensor) -> Tensor:
    encoder = model.clip.image_encoder
    if isinstance(encoder.pooling, AttentionPooling):
        return _pooled(model, batch, proposals, clip_map)
    maps, _ = encoder.pyramid(batch.images, inside_images(batch.valid_sizes, batch.images))
    return AttentionPooling(encoder.visual).pool(maps[-1], proposals.mask_logits)


CLIP_SOURCES: Mapping[str, Callable[[OPSNet, Batch, Proposals, Tensor], Tensor]] = {
    POOLING: _pooled,
    MASKED_ATTENTION: _attended,
    "masking": _masked,
    "cropping": _cropped,
}
"""Sources of a CLIP embedding for each proposal, (B, K, D).

- pooling: the network's own pooling of CLIP's map, for OPSNet Mask Pooling;
- masked_attention: CLIP's attention pool on the trunk's map, limited to the mask, as in FC-CLIP with ResNets; one more
  pass of CLIP per image, if the network's own pooling is another;
- masking, cropping: Table 5's baselines, a pass of CLIP per proposal.
"""


def check_sources(model: OPSNet, sources: Collection[str]) -> None:
    """Checks before the first image that a network has the parts that the sources need.

    Raises:
        InputError: the network's CLIP has no attention pool, and "masked_attention" is among the sources.
    """
    if MASKED_ATTENTION in sources and getattr(model.clip.image_encoder.visual, "attnpool", None) is None:
        raise InputError(
            f"setting {MASKED_ATTENTION}/... needs the attention pool of a CLIP ResNet, and this network's CLIP has "
            "none: leave it out of `settings`, or of table=5 by row=[1,2,3]"
        )
