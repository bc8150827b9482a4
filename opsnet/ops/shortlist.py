"""Logits of very many names (paper, section 4.4, "Prediction with 21K concepts"): all in bf16, the best again in fp32.

On a CPU that multiplies bf16 the product with 40,000 names takes a third of the time; elsewhere all is fp32.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

MANY = 8192  # names; below, the product is a small part of naming a picture
KEPT = 64  # of 100 random proposals in a cone as narrow as CLIP's, 32 lose one of the best five


def shortlisted_cosines(embeds: Tensor, text: Tensor, divisor: Tensor | None = None, *, keep: int = KEPT) -> Tensor:
    """Cosines of which each proposal's best are exact to fp32, and the others rounded to bf16.

    The others only matter in the sum that turns logits into probabilities, where their roundings average out.

    Args:
        embeds: (B, K, D), not normalised.
        text: (R, D), L2-normalised.
        divisor: (R,) that the cosines will be divided by (Logits Debiasing): the best are the best after it.
        keep: how many are exact; the first few of them are those of fp32 unless dozens lie within a rounding of bf16.

    Returns:
        (B, K, R) fp32, not divided.
    """
    embeds = F.normalize(embeds, dim=-1)
    cosines = (embeds.bfloat16() @ text.bfloat16().T).float()
    ranked = cosines if divisor is None else cosines / divisor
    best = ranked.topk(min(keep, len(text)), dim=-1).indices
    exact = torch.einsum("bkd, bkjd -> bkj", embeds, text[best])
    return cosines.scatter_(-1, best, exact)


def pays(embeds: Tensor, text: Tensor) -> bool:
    """Whether :func:`shortlisted_cosines` is worth it: many names, in prediction, on a CPU that multiplies bf16."""
    in_prediction = torch.is_inference_mode_enabled() and embeds.device.type == "cpu"
    return in_prediction and embeds.dtype == torch.float32 and len(text) >= MANY and _multiplies_bf16()


@cache
def _multiplies_bf16() -> bool:
    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))
