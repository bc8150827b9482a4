"""Recognises a network that was never trained, whose maps look like results.

Two kinds of evidence, measured on trained and on random networks (docs/scores.md has both):

- weights: PyTorch's layer norms start with weights of exactly 1 and biases of exactly 0, and the first step of training
  changes them, so decoders in which all of them are still so are untrained for certain;
- outputs: set prediction needs proposals that differ. Training leaves most of them as no-object and gives the others
  different masks. In an untrained network the proposals nearly agree: one mask, one objectness.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from opsnet.inference.network_output import NetworkOutput
from opsnet.model import OPSNet
from opsnet.structures import TextBank

POINTS = 4096
"""Points per mask that are compared."""
LIVE, AGREEMENT, OBJECTNESS_RATIO = 0.5, 0.3, 3.0
"""Bounds of :func:`proposals_agree`: share of proposals that have a mask, mean IoU of two masks, best over median
objectness."""


def has_initial_norms(model: OPSNet) -> bool:
    """Whether every layer norm of the decoders still has its initial weights; ``False`` if there is none."""
    parts = (model.pixel_decoder, model.query_decoder)
    norms = [m for part in parts for m in part.modules() if isinstance(m, nn.LayerNorm) and m.elementwise_affine]
    return bool(norms) and all(bool((m.weight == 1).all()) and not bool(m.bias.any()) for m in norms)


@torch.no_grad()
def proposals_agree(model: OPSNet, output: NetworkOutput, train: TextBank) -> list[bool]:
    """For each of B images, whether the proposals nearly agree.

    Objectness is one minus the trained probability of no-object among the training names, whatever names and recognizer
    the user chooses; for a published Mask2Former that of its own class head.

    Args:
        model: the network.
        output: its output for B images.
        train: bank of the N training names, on the network's device.
    """
    live, agreement = mask_agreement(output.proposals.mask_logits)
    flat = objectness_ratio(model, output, train) < OBJECTNESS_RATIO
    return ((live >= LIVE) & (agreement >= AGREEMENT) & flat).tolist()  # type: ignore[no-any-return]


@torch.no_grad()
def objectness_ratio(model: OPSNet, output: NetworkOutput, train: TextBank) -> Tensor:
    """Objectness of the best proposal over that of the median one, (B,). Arguments as in :func:`proposals_agree`."""
    objectness = output.proposals.iou
    if model.has_query_embeddings:
        objectness = 1 - model.training_logits(output.proposals, train).softmax(-1)[..., -1]
    return objectness.amax(-1) / objectness.median(-1).values.clamp(min=1e-6)


def mask_agreement(mask_logits: Tensor) -> tuple[Tensor, Tensor]:
    """Share of proposals with a mask, (B,), and the mean IoU of two such masks, (B,); 0 with fewer than two.

    Args:
        mask_logits: (B, K, h, w).
    """
    step = max(1, int((mask_logits.shape[-2] * mask_logits.shape[-1] / POINTS) ** 0.5))
    masks = (mask_logits[..., ::step, ::step] > 0).flatten(2).float()
    area = masks.sum(-1)
    shared = masks @ masks.mT
    union = area[:, :, None] + area[:, None] - shared
    is_live = area > 0
    pairs = (is_live[:, :, None] & is_live[:, None]).float().triu(1)
    mean = (pairs * shared / union.clamp(min=1)).sum((1, 2)) / pairs.sum((1, 2)).clamp(min=1)
    return is_live.float().mean(-1), mean
