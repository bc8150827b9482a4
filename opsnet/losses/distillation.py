"""Query distillation (not in the paper): keeps the queries' panoptic classification while fine-tuning on image labels.

It addresses a drop in Table 3: with image labels, PQ in the training domain falls from 52.4 to 51.7.
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
    """KL divergence between a proposal's probabilities of the panoptic names in the initial network and now.

    The two networks are compared query by query, since they started from the same queries. Embedding directions
    orthogonal to all panoptic names are unconstrained, so new names can be learned.

    The initial network is a copy that moves to devices with this module but is not registered as a submodule: it is
    neither trained nor saved, and always in evaluation mode. A resumed training loads it from ``init_from`` again.
    """

    needs_initial_weights = True

    def __init__(self, *, weight: float) -> None:
        super().__init__(weight=weight)
        self._start: tuple[OPSNet, ...] = ()  # a tuple, so that nn.Module does not register it

    def setup(self, model: OPSNet) -> None:
        """Copies the network except CLIP, which is frozen and whose map is an input."""
        encoder = model.clip.image_encoder  # which a shared backbone keeps using
        start = copy.deepcopy(model, {id(model.clip): None, id(encoder): encoder})
        self._start = (start.requires_grad_(False).eval(),)

    @property
    def start(self) -> OPSNet:
        """The initial network."""
        return self._start[0]

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> QueryDistillation:
        """Applies ``to(device)`` and the like to the copy too."""
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
        # Weighted by the initial predicted IoU: otherwise dozens of queries without an object would dominate.
        shares = initial.iou / initial.iou.sum(dim=1, keepdim=True).clamp(min=1e-6)
        return (shares * divergence).sum(dim=1).mean()
