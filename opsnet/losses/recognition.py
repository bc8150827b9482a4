"""What a recognizer that learns is trained by: naming segments whose names the queries do not learn.

Names in ``held_out`` of conf/train.yaml stand in for those that a user will ask for: their masks are learned and their
names are not. Each step asks for all of them, and for a random share of the names that the queries do learn, so that
the recognizer meets target vocabularies near to and far from the training names.
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
    """Cross-entropy of the recognizer's logits over target names and no-object, of the last decoder layer.

    Its gradient reaches the recognizer alone, not the embeddings.

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
        asked = self._asked(context)
        names = prepare(context.names.target.select(asked), context.names.train)
        embeddings = Embeddings(context.embeddings.query.detach(), context.embeddings.clip.detach())
        logits, no_object = context.recognizer(embeddings, names, context.model.no_object_embed.detach())
        logits = torch.cat((logits, no_object[..., None]), dim=-1)
        weight = torch.ones(len(asked) + 1, device=logits.device, dtype=logits.dtype)
        weight[-1] = self.no_object_weight
        target = self._target(context, asked, logits.shape[:2]).flatten()
        total = weight[target[target != UNNAMED]].sum().clamp(min=1)
        return F.cross_entropy(logits.flatten(0, 1), target, weight, reduction="sum") / total

    @staticmethod
    def _asked(context: SegmentContext) -> Tensor:
        """The target names of this step, int64 (C,) in rising order: those held out, and a random share of the rest."""
        learned = context.names.seen.cpu()
        rest = learned.nonzero()[:, 0]
        share = int(torch.randint(len(rest) + 1, ()))
        chosen = torch.cat(((~learned).nonzero()[:, 0], rest[torch.randperm(len(rest))[:share]]))
        if len(chosen) == 0:  # nothing is held out, and nothing was drawn
            chosen = rest
        return chosen.sort().values.to(context.pixels.device)

    @staticmethod
    def _target(context: SegmentContext, asked: Tensor, shape: torch.Size) -> Tensor:
        """The name of each proposal (B, K) among C names; C for no-object, ``UNNAMED`` where it is not asked for."""
        place = torch.full((len(context.names.target.names),), UNNAMED, device=asked.device)
        place[asked] = torch.arange(len(asked), device=asked.device)
        target = torch.full(shape, len(asked), device=asked.device)
        image, proposal, row = context.matches[-1]
        target[image, proposal] = place[context.name_labels[row]]
        return target
