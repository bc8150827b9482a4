"""The loss of a recognizer with parameters: classify segments whose names the queries do not learn.

Names in ``held_out`` of conf/train.yaml stand in for the unseen names that a user will ask for: the network learns
their masks but not their names. The target names of each step are all of them and a random subset of the names that
the queries learn, so that the recognizer is trained on vocabularies both close to and far from the training names.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.losses.base import SegmentLoss
from opsnet.losses.context import SegmentContext
from opsnet.recognition.recognizer import prepare
from opsnet.structures import UNNAMED, Embeddings


class Recognition(SegmentLoss):
    """Cross-entropy of the recognizer's logits over target names and no-object, for the last decoder layer.

    Gradients flow to the recognizer only, not to the embeddings.

    Args:
        weight: of the loss; it scales gradients of the recognizer alone, to which AdamW is indifferent.
        no_object_weight: of proposals without a match, as no-object. By default they do not count: most of them lie on
            a segment that another proposal is matched with, and CLIP is right to name it. Counted with 0.1, they teach
            the recognizer to distrust CLIP: alpha falls from 10 to 1.4 and names held out are not found.
    """

    trains_recognizer = True

    def __init__(self, *, weight: float, no_object_weight: float = 0.0) -> None:
        super().__init__(weight=weight)
        self.no_object_weight = no_object_weight

    def forward(self, context: SegmentContext) -> Tensor:
        """The loss, a scalar."""
        chosen = self._choose_names(context)
        names = prepare(context.names.target.select(chosen), context.names.train)
        known = context.embeddings
        scale = float(known.query_scale), float(known.clip_scale)
        embeddings = Embeddings(known.query.detach(), known.clip.detach(), *scale)
        logits, no_object = context.recognizer(embeddings, names, context.model.no_object_embed.detach())
        logits = torch.cat((logits, no_object[..., None]), dim=-1)
        weight = torch.ones(len(chosen) + 1, device=logits.device, dtype=logits.dtype)
        weight[-1] = self.no_object_weight
        target = self._target(context, chosen, logits.shape[:2]).flatten()
        total = weight[target[target != UNNAMED]].sum().clamp(min=1)
        return F.cross_entropy(logits.flatten(0, 1), target, weight, reduction="sum") / total

    @staticmethod
    def _choose_names(context: SegmentContext) -> Tensor:
        """Target names of this step, int64 (C,) in ascending order: all held-out names and random others."""
        learned = context.names.seen.cpu()
        others = learned.nonzero()[:, 0]
        count = int(torch.randint(len(others) + 1, ()))
        chosen = torch.cat(((~learned).nonzero()[:, 0], others[torch.randperm(len(others))[:count]]))
        if len(chosen) == 0:  # no name is held out and none was drawn
            chosen = others
        return chosen.sort().values.to(context.pixels.device)

    @staticmethod
    def _target(context: SegmentContext, chosen: Tensor, shape: torch.Size) -> Tensor:
        """Index of each proposal's name (B, K) among C names; C for no-object, ``UNNAMED`` if it was not chosen."""
        place = torch.full((len(context.names.target.names),), UNNAMED, device=chosen.device)
        place[chosen] = torch.arange(len(chosen), device=chosen.device)
        target = torch.full(shape, len(chosen), device=chosen.device)
        image, proposal, row = context.matches[-1]
        target[image, proposal] = place[context.name_labels[row]]
        return target
