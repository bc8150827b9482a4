"""What the network says of pictures: all that settings of inference need, and nothing that they change."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from opsnet.inference.trained_model import TrainedModel
from opsnet.structures import Batch, Proposals, TextBank
from opsnet.vocabulary import Vocabulary


@dataclass(frozen=True)
class DomainText:
    """What naming needs of a domain beside the pictures, all on one device.

    Attributes:
        target, train: banks with M and N names.
        seen: of each target name, whether the training knew it.
        void: (D,), the learned no-object embedding.
        overlap: of the merge.
    """

    target: TextBank
    train: TextBank
    seen: tuple[bool, ...]
    void: Tensor
    overlap: float

    @classmethod
    def of(cls, trained: TrainedModel, vocabulary: Vocabulary) -> DomainText:
        """Names the pictures of a set with its own vocabulary."""
        known = trained.train_vocabulary
        return cls(
            trained.text(vocabulary), trained.text(known), tuple(vocabulary.seen_in(known)),
            trained.model.void_embed.detach(), trained.overlap,
        )  # fmt: skip

    def to(self, device: torch.device | str) -> DomainText:
        """The same with every tensor on ``device``."""
        return dataclasses.replace(
            self, target=self.target.to(device), train=self.train.to(device), void=self.void.to(device)
        )


@dataclass(frozen=True)
class Outputs:
    """What the network said of one batch.

    Attributes:
        proposals: of B images.
        clip: CLIP's embedding of each proposal, (B, K, D), by where it comes from: "pooling", "masking", "cropping".
        padded: (height, width) in pixels of the batch.
        valid_sizes: (height, width) in pixels of each image in it.
        image_ids: the data set's.
    """

    proposals: Proposals
    clip: Mapping[str, Tensor]
    padded: tuple[int, int]
    valid_sizes: list[tuple[int, int]]
    image_ids: list[int | str]

    def to(self, device: torch.device | str) -> Outputs:
        """The same with every tensor on ``device``."""
        clip = {source: embeds.to(device) for source, embeds in self.clip.items()}
        return dataclasses.replace(self, proposals=self.proposals.to(device), clip=clip)


@torch.no_grad()
def run_network(trained: TrainedModel, batch: Batch, sources: Collection[str] = ("pooling",)) -> Outputs:
    """One pass of the network.

    Args:
        batch: on the network's device.
        sources: of CLIP's embeddings; all but "pooling" run CLIP once a proposal (Table 5's baselines).
    """
    proposals, clip_map = trained.model(batch.images, batch.valid_sizes)
    clip = {source: _clip_embeds(trained, source, batch, proposals, clip_map) for source in sources}
    return Outputs(proposals, clip, _size(batch), batch.valid_sizes, batch.image_ids)


def _clip_embeds(
    trained: TrainedModel, source: str, batch: Batch, proposals: Proposals, clip_map: Tensor
) -> Tensor:  # fmt: skip
    """CLIP's embedding of each proposal, (B, K, D), by Mask Pooling or one of Table 5's baselines."""
    from opsnet.recognition.proposal_crops import cropped_pictures, embed_pictures, masked_pictures

    model, encoder = trained.model, trained.model.clip.image_encoder
    if source == "pooling":
        return model.embed(proposals, clip_map, _size(batch)).clip
    if source == "masking":
        pictures = masked_pictures(batch.images, proposals.mask_logits, encoder.image_size, encoder.mean)
    else:
        pictures = cropped_pictures(batch.images, proposals.mask_logits, encoder.image_size)
    return embed_pictures(encoder.embed_whole, pictures, len(batch.images))


def _size(batch: Batch) -> tuple[int, int]:
    return batch.images.shape[-2], batch.images.shape[-1]
