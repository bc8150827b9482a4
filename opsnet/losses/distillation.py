"""Query distillation, beyond the paper: fine-tuning with image labels keeps what the queries know of panoptic names.

Table 3 shows the loss that it is for: with image labels, PQ in the training domain falls from 52.4 to 51.7.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from opsnet.losses.base import SegmentLoss
from opsnet.losses.context import SegmentContext
from opsnet.model import OPSNet
from opsnet.structures import Proposals


class QueryDistillation(SegmentLoss):
    """Kullback-Leibler divergence of a proposal's panoptic names from those that the network gave it at the start.

    The two networks are compared query by query, since they started from the same queries. Directions of the embedding
    in which no panoptic name lies are free, so new names can be learned.

    The network of the start is a copy that moves with this module to a device, but is none of its submodules: it is
    neither trained nor saved, and always in evaluation mode. A resumed training gets it from ``init_from`` again.
    """

    needs_initial_weights = True

    def __init__(self, *, weight: float) -> None:
        super().__init__(weight=weight)
        self._start: tuple[OPSNet, ...] = ()  # a tuple, or nn.Module would register it

    def setup(self, model: OPSNet) -> None:
        """Copies the network, but for CLIP, whose map is given and never changes."""
        start = copy.deepcopy(model, {id(model.clip): None})
        self._start = (start.requires_grad_(False).eval(),)

    @property
    def start(self) -> OPSNet:
        """The network of the start."""
        return self._start[0]

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> QueryDistillation:
        """What ``nn.Module`` does at ``to(device)`` and the like, for the copy too."""
        for network in self._start:
            network._apply(fn, recurse)
        return super()._apply(fn, recurse)  # type: ignore[return-value]

    def forward(self, context: SegmentContext) -> Tensor:
        """The loss of the last decoder layer, a scalar."""
        batch, logits = context.batch, context.layers[-1].logits
        with torch.no_grad():
            initial: Proposals = self.start.propose(batch.images, context.clip_map, batch.valid_sizes)
            target = self.start.training_logits(initial, context.names.train).float().log_softmax(-1)
        divergence = (target.exp() * (target - logits.float().log_softmax(-1))).sum(-1)
        # By the predicted IoU of then: dozens of queries without an object would outvote the few that have one.
        shares = initial.iou / initial.iou.sum(dim=1, keepdim=True).clamp(min=1e-6)
        return (shares * divergence).sum(dim=1).mean()
