"""Decoupled Supervision: what image-level labels and the layout of masks teach without a mask's truth (section 3.4).

Matching loss    L_match = 1 - mean over the image's c labels of max_j softmax(S)[j, label]            (equation 1)
Sum loss         L_sum = || 1 - sum_k sigmoid(M_k) ||_2                                                (equation 2)

S (J, C) are the logits, cosine over the temperature, of the J proposals whose predicted IoU exceeds a threshold. A
label is satisfied by one proposal: further ones, and proposals of what nobody labelled, cost nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from opsnet.losses.criterion import mean_over_ranks

FORMS = ("probability", "log")
REDUCTIONS = ("rms", "norm")


class DecoupledSupervision(nn.Module):
    """Both losses of a batch with image-level labels.

    Args:
        match_weight, sum_weight: the paper's 1.0 and 0.4; a weight of 0 leaves the loss out.
        iou_threshold: a proposal is valid where its predicted IoU is higher. Not published.
        form: "probability" is equation 1; "log" takes the mean of -log instead of 1 - mean, whose gradient does not
            vanish for a name that no proposal is near yet.
        reduction: of the sum loss. "rms" divides the norm by the root of the number of pixels, so that its weight means
            the same for every picture size; "norm" is the norm as printed.

    Raises:
        ValueError: an unknown form or reduction, a negative weight, or no weight at all.
    """

    def __init__(
        self, *, match_weight: float = 1.0, sum_weight: float = 0.4, iou_threshold: float = 0.5,
        form: str = "probability", reduction: str = "rms",
    ) -> None:  # fmt: skip
        super().__init__()
        if form not in FORMS or reduction not in REDUCTIONS:
            raise ValueError(
                f"form must be one of {', '.join(FORMS)}, and reduction one of {', '.join(REDUCTIONS)}, "
                f"got '{form}' and '{reduction}'"
            )
        if min(match_weight, sum_weight) < 0 or max(match_weight, sum_weight) == 0:
            raise ValueError(
                f"match_weight and sum_weight must not be negative, and not both 0, got {match_weight} and {sum_weight}"
            )
        self.match_weight, self.sum_weight = match_weight, sum_weight
        self.iou_threshold, self.form, self.reduction = iou_threshold, form, reduction

    def forward(
        self, logits: Tensor, iou: Tensor, mask_logits: Tensor, labels: Sequence[Tensor], inside: Tensor
    ) -> dict[str, Tensor]:
        """Weighted losses by name.

        Args:
            logits: (B, K, C), cosine over the temperature, of the modulated embeddings.
            iou: (B, K), predicted, in 0..1.
            mask_logits: (B, K, h, w).
            labels: int64, any length, of each image.
            inside: (B, h, w) bool, pixels that are not padding.

        Returns:
            ``image_label_matching`` and ``mask_sum``, as far as they have a weight, and their sum ``loss``; scalars.
        """
        losses = {}
        if self.match_weight:
            valid = iou > self.iou_threshold
            loss = image_label_matching_loss(logits.float(), valid, labels, form=self.form)
            losses["image_label_matching"] = self.match_weight * loss
        if self.sum_weight:
            losses["mask_sum"] = self.sum_weight * mask_sum_loss(mask_logits.float(), inside, reduction=self.reduction)
        return {**losses, "loss": torch.stack(list(losses.values())).sum()}


def image_label_matching_loss(
    logits: Tensor, valid: Tensor, labels: Sequence[Tensor], *, form: str = "probability"
) -> Tensor:
    """Equation 1, averaged over the images that have a label and a valid proposal; 0 where none has.

    Those of all ranks count: the mean of the ranks' losses is that of their images as one batch.

    Args:
        logits: (B, K, C), over the temperature.
        valid: (B, K) bool, which proposals count.
        labels: int64 (c,) of each image; one that is repeated counts once.
        form: see :class:`DecoupledSupervision`.
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


def mask_sum_loss(mask_logits: Tensor, inside: Tensor, *, reduction: str = "rms") -> Tensor:
    """Equation 2, averaged over the images.

    Args:
        mask_logits: (B, K, h, w); all K masks count, as in the paper.
        inside: (B, h, w) bool, pixels that are not padding; one or more an image.
        reduction: see :class:`DecoupledSupervision`.
    """
    missing = (1 - mask_logits.sigmoid().sum(dim=1)) * inside
    # vector_norm has a gradient where a layout is perfect; a root of the mean would have none.
    norms = torch.linalg.vector_norm(missing.flatten(1), dim=1)
    if reduction == "rms":
        norms = norms / inside.flatten(1).sum(dim=1).clamp(min=1).sqrt()
    return norms.mean()


def inside_padding(valid_sizes: Sequence[tuple[int, int]], padded: tuple[int, int], like: Tensor) -> Tensor:
    """Which pixels of masks (B, K, h, w) have their centre in the image and not in its padding: (B, h, w) bool.

    Args:
        valid_sizes: (height, width) in pixels of each image.
        padded: the same of the batch.
        like: the masks, for their size and device.
    """
    height, width = like.shape[-2:]
    rows = (torch.arange(height, device=like.device) + 0.5) * (padded[0] / height)
    columns = (torch.arange(width, device=like.device) + 0.5) * (padded[1] / width)
    inside = [(rows < h)[:, None] & (columns < w)[None] for h, w in valid_sizes]
    return torch.stack(inside)
