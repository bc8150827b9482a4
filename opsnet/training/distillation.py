"""Query distillation, beyond the paper: fine-tuning with image labels keeps what the queries know of panoptic names.

Table 3 shows the loss that it is for: with image labels, PQ in the training domain falls from 52.4 to 51.7.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from opsnet.model import OPSNet
from opsnet.structures import Batch, Proposals, TextBank


class QueryDistillation(nn.Module):
    """Kullback-Leibler divergence of a proposal's panoptic names from those that the network gave it at the start.

    The two networks are compared query by query, since they started from the same queries. Directions of the embedding
    in which no panoptic name lies are free, so new names can be learned.

    Args:
        model: with the weights of the start, which are copied; CLIP is not.
        weight: of the loss.

    Raises:
        ValueError: the weight is not above 0.
    """

    def __init__(self, model: OPSNet, *, weight: float) -> None:
        super().__init__()
        if not weight > 0:
            raise ValueError(f"the weight of the distillation must be above 0, got {weight}")
        self.weight = weight
        self.initial: OPSNet = copy.deepcopy(model, {id(model.clip): None})  # CLIP's map is given: it never changes
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> QueryDistillation:
        """Stays in evaluation mode."""
        return super().train(False)

    def forward(self, batch: Batch, clip_map: Tensor, logits: Tensor, train: TextBank) -> Tensor:
        """The weighted loss of one panoptic batch, a scalar.

        Args:
            batch: B images.
            clip_map: CLIP's adapted map (B, D, h, w) of these.
            logits: (B, K, N + 1), of the training names and no-object, of the last layer.
            train: the training names.
        """
        with torch.no_grad():
            initial: Proposals = self.initial.propose(batch.images, clip_map, batch.valid_sizes)
            target = self.initial.training_logits(initial, train).float().log_softmax(-1)
        divergence = (target.exp() * (target - logits.float().log_softmax(-1))).sum(-1)
        # By the predicted IoU of then: dozens of queries without an object would outvote the few that have one.
        shares = initial.iou / initial.iou.sum(dim=1, keepdim=True).clamp(min=1e-6)
        return self.weight * (shares * divergence).sum(dim=1).mean()
