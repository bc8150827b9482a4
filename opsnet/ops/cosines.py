"""Cosines of proposals with names, also of very many names (paper, section 4.4, "Prediction with 21K concepts").

On a CPU that multiplies bf16 the product with 40,000 names takes a third of the time in bf16; the best names of each
proposal are then computed again in fp32. Elsewhere all is fp32.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.ops.precision import full_precision, widened

MANY = 8192  # names; below, the product is a small part of naming an image
KEPT = 64  # of 100 random proposals in a cone as narrow as CLIP's, 32 lose one of the best five


def cosines(embeds: Tensor, text: Tensor, divisor: Tensor | None = None) -> Tensor:
    """Cosines of proposals with names, of which the best are exact.

    Args:
        embeds: (B, K, D).
        text: (R, D), L2-normalised.
        divisor: (R,) that the cosines will be divided by (Logits Debiasing): the best are the best after it.

    Returns:
        (B, K, R) fp32 or fp64, not divided: those of :func:`cosines_reference`, except where
        :func:`should_shortlist` says that :func:`shortlisted_cosines` does.
    """
    if should_shortlist(embeds, text):
        return shortlisted_cosines(embeds, text, divisor)
    return cosines_reference(embeds, text)


def cosines_reference(embeds: Tensor, text: Tensor) -> Tensor:
    """(B, K, D), (R, D) -> (B, K, R), in fp32 under autocast too."""
    with full_precision(embeds):
        embeds, text = (F.normalize(widened(x), dim=-1) for x in (embeds, text))
        return torch.einsum("bkd, md -> bkm", embeds, text)


def shortlisted_cosines(embeds: Tensor, text: Tensor, divisor: Tensor | None = None, *, keep: int = KEPT) -> Tensor:
    """Cosines of which each proposal's best are exact to fp32, and the others rounded to bf16 (to 0.004).

    The others only matter in the sum that turns logits into probabilities, where their roundings average out.

    Args:
        embeds, text, divisor: see :func:`cosines`.
        keep: how many are exact; the first few of them are those of fp32 unless dozens lie within a rounding of bf16.
    """
    embeds = F.normalize(embeds, dim=-1)
    rough = (embeds.bfloat16() @ text.bfloat16().T).float()
    ranked = rough if divisor is None else rough / divisor
    best = ranked.topk(min(keep, len(text)), dim=-1).indices
    exact = torch.einsum("bkd, bkjd -> bkj", embeds, text[best])
    return rough.scatter_(-1, best, exact)


def should_shortlist(embeds: Tensor, text: Tensor) -> bool:
    """Whether :func:`shortlisted_cosines` is faster: many names, in prediction, on a CPU that multiplies bf16."""
    in_prediction = torch.is_inference_mode_enabled() and embeds.device.type == "cpu"
    return in_prediction and embeds.dtype == torch.float32 and len(text) >= MANY and _multiplies_bf16()


@cache
def _multiplies_bf16() -> bool:
    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))
