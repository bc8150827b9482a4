"""Query distillation (not in the paper): keeps what the queries were trained to recognise during a fine-tuning.

With image labels (OPSNet+) it addresses a drop in Table 3: PQ in the training domain falls from 52.4 to 51.7. With
other masks it limits what is forgotten: segments of names that the new data does not label count as background, so
their queries learn no-object.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from opsnet.losses.base import SegmentLoss
from opsnet.losses.context import SegmentContext
from opsnet.model import OPSNet
from opsnet.structures import Proposals, TextBank
from opsnet.vocabulary import Vocabulary


class QueryDistillation(SegmentLoss):
    """KL divergence between a proposal's probabilities of some names in the initial network and now.

    The two networks are compared query by query, since they started from the same queries. Embedding directions
    orthogonal to all these names are unconstrained, so new names can be learned. Masks are not compared.

    The initial network is a copy that moves to devices with this module but is not registered as a submodule: it is
    neither trained nor saved, and always in evaluation mode. A resumed training loads it from ``init_from`` again.

    Args:
        weight: factor of the loss.
        names: a vocabulary, usually that of the initial training, see :meth:`Vocabulary.load`; ``None``: the panoptic
            names of this training.

    Raises:
        VocabularyError: ``names`` is no vocabulary.
    """

    needs_initial_weights = True

    def __init__(self, *, weight: float, names: str | Path | None = None) -> None:
        super().__init__(weight=weight)
        self._vocabulary = None if names is None else Vocabulary.load(names)
        self._bank: TextBank | None = None
        self._start: tuple[OPSNet, ...] = ()  # a tuple, so that nn.Module does not register it

    def setup(self, model: OPSNet) -> None:
        """Copies the network except CLIP, which is frozen and whose map is an input."""
        encoder = model.clip.image_encoder  # which a shared backbone keeps using
        start = copy.deepcopy(model, {id(model.clip): None, id(encoder): encoder})
        self._start = (start.requires_grad_(False).eval(),)
        self._bank = None if self._vocabulary is None else model.clip.text_encoder(self._vocabulary)

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
        batch, logits, bank = context.batch, context.layers[-1].logits, context.names.train
        if self._bank is not None:
            bank = self._bank = self._bank.to(logits.device)
            logits = context.model.training_logits(context.proposals, bank)
        with torch.no_grad():
            initial: Proposals = self.start.propose(batch.images, context.clip_map, batch.valid_sizes)
            target = self.start.training_logits(initial, bank).float().log_softmax(-1)
        divergence = (target.exp() * (target - logits.float().log_softmax(-1))).sum(-1)
        # Weighted by the initial predicted IoU: otherwise dozens of queries without an object would dominate.
        shares = initial.iou / initial.iou.sum(dim=1, keepdim=True).clamp(min=1e-6)
        return (shares * divergence).sum(dim=1).mean()
