"""Cosines between proposals and names, also for very many names (paper, section 4.4, "Prediction with 21K concepts").

On a CPU with bf16 support the product with 40,000 names takes a third of the time in bf16; the best names of each
proposal are then recomputed in fp32. Otherwise everything is computed in fp32.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from opsnet.ops.precision import full_precision, widened

MANY = 8192  # names; with fewer, the product is a small part of the time per image
KEPT = 64  # keeping 32 would lose one of the best five for some of 100 random proposals in a cone as narrow as CLIP's


def cosines(embeds: Tensor, text: Tensor, divisor: Tensor | None = None) -> Tensor:
    """Cosines between proposals and names, of which the best are exact.

    Args:
        embeds: (B, K, D).
        text: (R, D), L2-normalised.
        divisor: (R,) by which the cosines will be divided (Logits Debiasing); the best are those after the division.

    Returns:
        (B, K, R) fp32 or fp64, not divided; from :func:`shortlisted_cosines` if :func:`should_shortlist`, otherwise
        from :func:`cosines_reference`.
    """
    if should_shortlist(embeds, text):
        return shortlisted_cosines(embeds, text, divisor)
    return cosines_reference(embeds, text)


def cosines_reference(embeds: Tensor, text: Tensor) -> Tensor:
    """(B, K, D), (R, D) -> (B, K, R), in fp32 also under autocast."""
    with full_precision(embeds):
        embeds, text = (F.normalize(widened(x), dim=-1) for x in (embeds, text))
        return torch.einsum("bkd, md -> bkm", embeds, text)


def shortlisted_cosines(embeds: Tensor, text: Tensor, divisor: Tensor | None = None, *, keep: int = KEPT) -> Tensor:
    """Cosines of which each proposal's best are exact in fp32 and the others rounded to bf16 (to 0.004).

    The others only contribute to the normalisation of the softmax, where the rounding errors average out.

    Args:
        embeds, text, divisor: see :func:`cosines`.
        keep: number of exact cosines; the best few of them are the true ones unless dozens are equal in bf16.
    """
    embeds = F.normalize(embeds, dim=-1)
    rough = (embeds.bfloat16() @ text.bfloat16().T).float()
    ranked = rough if divisor is None else rough / divisor
    best = ranked.topk(min(keep, len(text)), dim=-1).indices
    exact = torch.einsum("bkd, bkjd -> bkj", embeds, text[best])
    return rough.scatter_(-1, best, exact)


def should_shortlist(embeds: Tensor, text: Tensor) -> bool:
    """Whether :func:`shortlisted_cosines` is faster: many names, at inference, on a CPU with bf16 support."""
    in_prediction = torch.is_inference_mode_enabled() and embeds.device.type == "cpu"
    return in_prediction and embeds.dtype == torch.float32 and len(text) >= MANY and _multiplies_bf16()


@cache
def _multiplies_bf16() -> bool:
    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))
