"""What a batch with image-level labels teaches (paper, section 3.4): from the pictures to the losses."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from opsnet.losses.decoupled_supervision import DecoupledSupervision, inside_padding, mask_sum_loss
from opsnet.model import OPSNet
from opsnet.recognition.recognizer import PreparedNames, Recognizer
from opsnet.structures import Batch, Embeddings, ImageLabels, Proposals


class ImageLabelSupervision(nn.Module):
    """Modulated embeddings of the proposals, named by the label vocabulary, and the losses on them.

    CLIP's side of an embedding passes no gradient: CLIP is frozen and pools inside binary masks.

    Args:
        criterion: the losses.
        modulation: query and CLIP embeddings -> logits. s and H lie between the label names and the training names.
        sampled_names: names a step, those of the batch and others at random, where the vocabulary has more (21K);
            ``None`` takes all.

    Raises:
        ValueError: fewer than one name a step.
    """

    def __init__(
        self, *, criterion: DecoupledSupervision, modulation: Recognizer, sampled_names: int | None = None
    ) -> None:
        super().__init__()
        if sampled_names is not None and sampled_names < 1:
            raise ValueError(f"image_labels.sampled_names must be at least 1, or null for all, got {sampled_names}")
        self.criterion, self.modulation, self.sampled_names = criterion, modulation, sampled_names

    def forward(
        self, model: OPSNet, batch: Batch, names: PreparedNames, *, seed: int
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Losses of one batch.

        Args:
            model: proposes and embeds.
            batch: B pictures with ``ImageLabels``.
            names: the C names of the label vocabulary beside the N of the panoptic one.
            seed: of the names that are sampled.

        Returns:
            Losses by name with their sum ``loss``, and figures to log: ``label_proposals``, valid ones an image, and
            ``layout_error``, the sum loss (RMS, no weight), which tells how far the masks are from sharing out the
            image.
        """
        assert isinstance(batch.targets, ImageLabels)
        size = (batch.images.shape[-2], batch.images.shape[-1])
        # Of the last layer alone is anything asked.
        proposals, clip_map = model(batch.images, batch.valid_sizes, every_layer=False)
        embeddings = model.embed(proposals, clip_map, size)
        logits, labels = self._logits(embeddings, model.no_object_embed, batch.targets.labels, names, seed)
        inside = inside_padding(batch.valid_sizes, size, proposals.mask_logits)
        losses = self.criterion(logits, proposals.iou, proposals.mask_logits, labels, inside)
        return losses, self._figures(proposals, inside)

    def _logits(
        self, embeddings: Embeddings, void: Tensor, labels: list[Tensor], prepared: PreparedNames, seed: int
    ) -> tuple[Tensor, list[Tensor]]:
        """Logits (B, K, C') of the names of this step, and the labels as indices into them."""
        names = prepared.target
        if self.sampled_names is not None and self.sampled_names < len(names.names):
            chosen = sample_names(labels, len(names.names), self.sampled_names, seed)
            labels = [torch.searchsorted(chosen, found) for found in labels]
            prepared = prepared.select(chosen)
        logits, _ = self.modulation(embeddings, prepared, void)
        return logits, labels

    @torch.no_grad()
    def _figures(self, proposals: Proposals, inside: Tensor) -> dict[str, Tensor]:
        valid = proposals.iou > self.criterion.iou_threshold
        return {
            "label_proposals": valid.sum(1).float().mean(),
            "layout_error": mask_sum_loss(proposals.mask_logits.float(), inside),
        }


def sample_names(labels: list[Tensor], names: int, count: int, seed: int) -> Tensor:
    """The labels of a batch and others at random: ``count`` of ``names`` in rising order.

    All labels stay, even where they are more than ``count``.
    """
    device = labels[0].device
    present = torch.cat(labels).unique()
    order = torch.randperm(names, generator=torch.Generator().manual_seed(seed)).to(device)
    others = order[~torch.isin(order, present)][: max(0, count - len(present))]
    return torch.cat((present, others)).sort().values
