"""Decoupled Supervision: learning from image labels without masks (paper, section 3.4, equation 1).

L_match = 1 - mean over the image's c labels of max_j softmax(S)[j, label]

S (J, C) are the logits (cosine over temperature) of the J proposals whose predicted IoU exceeds a threshold. One
proposal per label suffices: further proposals, and proposals of unlabelled objects, are not penalised.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from opsnet.losses.base import ImageLabelLoss
from opsnet.losses.context import ImageLabelContext
from opsnet.losses.ranks import mean_over_ranks
from opsnet.recognition.recognizer import PreparedNames, Recognizer

FORMS = ("probability", "log")


class ImageLabelMatching(ImageLabelLoss):
    """Equation 1, averaged over the images.

    Args:
        weight: 1.0 in the paper.
        recognizer: maps both embeddings to S. s and H compare the label names with the training names.
        iou_threshold: a proposal is valid if its predicted IoU is higher. Not published.
        form: "probability" is equation 1; "log" uses the mean of -log instead of 1 - mean, whose gradient does not
            vanish for names that no proposal is close to yet.
        sampled_names: number of names per step for large vocabularies (21K): those of the batch and random others;
            ``None`` uses all.

    Raises:
        ValueError: the form is unknown, or there is less than one name per step.
    """

    def __init__(
        self, *, weight: float, recognizer: Recognizer, iou_threshold: float = 0.5, form: str = "probability",
        sampled_names: int | None = None,
    ) -> None:  # fmt: skip
        super().__init__(weight=weight)
        if form not in FORMS:
            raise ValueError(f"form must be one of {', '.join(FORMS)}, got '{form}'")
        if sampled_names is not None and sampled_names < 1:
            raise ValueError(f"sampled_names must be at least 1, or null for all, got {sampled_names}")
        self.recognizer, self.iou_threshold, self.form, self.sampled_names = (
            recognizer, iou_threshold, form, sampled_names,
        )  # fmt: skip

    def forward(self, context: ImageLabelContext) -> Tensor:
        """The loss, a scalar."""
        prepared, labels = self._names(context)
        logits, _ = self.recognizer(context.embeddings, prepared, context.model.no_object_embed)
        return image_label_matching_loss(logits.float(), self._valid(context), labels, form=self.form)

    def metrics(self, context: ImageLabelContext) -> dict[str, Tensor]:
        """``label_proposals``: number of valid proposals per image."""
        return {"label_proposals": self._valid(context).sum(1).float().mean()}

    def _valid(self, context: ImageLabelContext) -> Tensor:
        """Which proposals are valid, (B, K) bool."""
        return context.proposals.iou > self.iou_threshold

    def _names(self, context: ImageLabelContext) -> tuple[PreparedNames, list[Tensor]]:
        """The names of this step, and the labels as indices into them."""
        prepared, labels = context.names, context.targets.labels
        count = len(prepared.target.names)
        if self.sampled_names is None or self.sampled_names >= count:
            return prepared, labels
        chosen = sample_names(labels, count, self.sampled_names, context.seed)
        return prepared.select(chosen), [torch.searchsorted(chosen, found) for found in labels]


def image_label_matching_loss(
    logits: Tensor, valid: Tensor, labels: Sequence[Tensor], *, form: str = "probability"
) -> Tensor:
    """Equation 1, averaged over the images that have a label and a valid proposal; 0 if there is none.

    The average is over the images of all ranks: the mean of the ranks' losses equals the loss of one large batch.

    Args:
        logits: (B, K, C), divided by the temperature.
        valid: (B, K) bool, which proposals to use.
        labels: int64 (c,) of each image; duplicates count once.
        form: see :class:`ImageLabelMatching`.
    """
    log_probabilities = logits.log_softmax(dim=-1)
    terms = []
    for rows, chosen, found in zip(log_probabilities, valid, labels, strict=True):
        if len(found) and bool(chosen.any()):
            best = rows[chosen][:, found.unique()].amax(dim=0)
            terms.append(1 - best.exp().mean() if form == "probability" else -best.mean())
    images = mean_over_ranks((len(terms),), logits.device)[0]
    # Times zero rather than a constant, so that a rank without labels takes part in the backward pass.
    return torch.stack(terms).sum() / images if terms else logits.sum() * 0


def sample_names(labels: list[Tensor], names: int, count: int, seed: int) -> Tensor:
    """The labels of a batch and random other names: ``count`` of ``names``, in ascending order.

    All labels are included, even if there are more than ``count``.
    """
    device = labels[0].device
    present = torch.cat(labels).unique()
    order = torch.randperm(names, generator=torch.Generator().manual_seed(seed)).to(device)
    others = order[~torch.isin(order, present)][: max(0, count - len(present))]
    return torch.cat((present, others)).sort().values
