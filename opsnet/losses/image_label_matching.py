"""Decoupled Supervision: what image labels teach without masks (paper, section 3.4, equation 1).

L_match = 1 - mean over the image's c labels of max_j softmax(S)[j, label]

S (J, C) are the logits, cosine over the temperature, of the J proposals whose predicted IoU exceeds a threshold. A
label is satisfied by one proposal: further ones, and proposals of what nobody labelled, cost nothing.
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
        weight: the paper's 1.0.
        recognizer: both embeddings -> S. s and H lie between the label names and the training names.
        iou_threshold: a proposal is valid where its predicted IoU is higher. Not published.
        form: "probability" is equation 1; "log" takes the mean of -log instead of 1 - mean, whose gradient does not
            vanish for a name that no proposal is near yet.
        sampled_names: names per step, those of the batch and others at random, where the vocabulary has more (21K);
            ``None`` takes all.

    Raises:
        ValueError: an unknown form, or fewer than one name per step.
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
        """``label_proposals``: valid ones per image."""
        return {"label_proposals": self._valid(context).sum(1).float().mean()}

    def _valid(self, context: ImageLabelContext) -> Tensor:
        """Which proposals count, (B, K) bool."""
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
    """Equation 1, averaged over the images that have a label and a valid proposal; 0 where none has.

    Those of all ranks count: the mean of the ranks' losses is that of their images as one batch.

    Args:
        logits: (B, K, C), over the temperature.
        valid: (B, K) bool, which proposals count.
        labels: int64 (c,) of each image; one that is repeated counts once.
        form: see :class:`ImageLabelMatching`.
    """
    log_probabilities = logits.log_softmax(dim=-1)
    terms = []
    for rows, chosen, found in zip(log_probabilities, valid, labels, strict=True):
        if len(found) and bool(chosen.any()):
            best = rows[chosen][:, found.unique()].amax(dim=0)
            terms.append(1 - best.exp().mean() if form == "probability" else -best.mean())
    images = mean_over_ranks((len(terms),), logits.device)[0]
    # A sum over nothing keeps the graph, so that a rank without labels takes part in the backward pass.
    return torch.stack(terms).sum() / images if terms else logits.sum() * 0


def sample_names(labels: list[Tensor], names: int, count: int, seed: int) -> Tensor:
    """The labels of a batch and others at random: ``count`` of ``names`` in rising order.

    All labels stay, even where they are more than ``count``.
    """
    device = labels[0].device
    present = torch.cat(labels).unique()
    order = torch.randperm(names, generator=torch.Generator().manual_seed(seed)).to(device)
    others = order[~torch.isin(order, present)][: max(0, count - len(present))]
    return torch.cat((present, others)).sort().values
